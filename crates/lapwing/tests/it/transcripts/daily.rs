//! The README, and the guides for every day.

use std::fs;

use nix::sys::signal::Signal;

use super::page;
use crate::peers::Door;

#[test]
fn needs_root_needs_ip_needs_bash_needs_setcap_the_readme() {
    page("README.md", |page| {
        let run = page.start("cargo run --release -- run --starter", "DOWN demo");
        let status = page.run_with("target/release/lapwing status", &[], 1);
        assert!(status.out.contains("demo"), "{status:?}");
        // It is ended as soon as it has done its part.
        let echo = page.start_with(
            "timeout 10 target/release/lapwing echo serve --listen 127.0.0.1:7009",
            &[("timeout 10 ", "")],
            "127.0.0.1:7009",
        );
        page.wait_alert("UP demo", 1);
        page.stop(echo);
        page.wait_alert("last seen up", 1);
        let alerts = page.run("cat alerts/*.txt").out;
        page.shows("UP demo", &alerts);
        let said = page.stop(run);
        page.shows("Wrote the starter", &said);

        page.not_run("cargo xtask test", "it runs this test");
        page.not_run(
            "cargo install --path crates/lapwing",
            "it builds everything anew, for minutes",
        );
        page.run("mkdir -p ~/.local/share/bash-completion/completions");
        page.run("lapwing completions bash > ~/.local/share/bash-completion/completions/lapwing");
        page.run("sudo sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"");
        fs::copy(
            env!("CARGO_BIN_EXE_lapwing"),
            page.home.path(".cargo/bin/lapwing"),
        )
        .unwrap();
        page.run("sudo setcap cap_net_raw+ep ~/.cargo/bin/lapwing");

        let found = page.run_with("lapwing check https://www.example.com icmp://192.0.2.1", &[], 1);
        assert!(found.out.contains("2 checked: 1 up, 1 down"), "{found:?}");
        fs::remove_file(page.home.path("lapwing.toml")).unwrap();
        page.run("lapwing config init");
        page.configure("expect_body = \"ok\"");
        page.exported = "export SLACK_WEBHOOK_URL=http://127.0.0.1:9/\n".to_owned();
        page.run("lapwing config check");
        page.start("lapwing run", "watching 38 series");
        page.wait_state("servers/web01.example.com:22", "inconclusive");
        page.run_with("lapwing status", &[], 3);
        page.run("lapwing report --last 7d");
        page.not_run("lapwing top", "it draws on a terminal: tests/it/top.rs has one");
        let typed = [("lapwing console", "echo list | lapwing console")];
        let console = page.run_with("lapwing console", &typed, 0);
        assert!(console.out.contains("website"), "{console:?}");
        let added = page.run("lapwing add ssh tcp://192.0.2.1:22");
        assert!(added.out.contains("ssh"), "{added:?}");
        let done = page.run("lapwing silence website --for 30m --reason deploy");
        assert!(done.out.starts_with("silenced website until "), "{done:?}");
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_configuration() {
    page("docs/guide/configuration.md", |page| {
        page.run("lapwing config init");
        page.write(
            "lapwing.toml",
            "[defaults]\nintervall = \"30s\"\n\n[[monitor]]\nname = \"web\"\ntarget = \"htps://www.example.com\"\n",
            0o644,
        );
        let wrong = page.run_with("lapwing config check", &[], 2);
        page.shows_exactly("intervall", &wrong.err);
        page.write(
            "lapwing.toml",
            "[defaults]\nfailure_threshold = 1\n[[monitor]]\nname = \"front\"\ntargets = [\"http://127.0.0.1:9\", \
             \"icmp://127.0.0.1\", \"icmp://127.0.0.2\"]\n[[monitor]]\nname = \"web\"\nhosts = [\"127.0.0.[1-2]\"]\n\
             target = \"tcp://{host}:9\"\n",
            0o644,
        );
        page.run("lapwing config show");
        let run = page.start_of_the_tests("lapwing run", "watching 5 series");
        for series in ["web/127.0.0.1:9", "web/127.0.0.2:9", "front/http"] {
            page.wait_state(series, "down");
        }
        page.wait_state("front/127.0.0.2", "up");
        let status = page.run_of_the_tests("lapwing status --all || true");
        page.shows("front/http", &status.out);

        let good = page.run("lapwing config check && lapwing reload");
        assert!(
            good.out.contains("configuration applied: watching 5 series"),
            "{good:?}"
        );
        let text = page.home.read("lapwing.toml");
        page.write(
            "lapwing.toml",
            &format!("{text}[[monitor]]\nname = \"bad\"\n\n\ntarget = \"htps://x\"\n"),
            0o644,
        );
        page.signal(run, Signal::SIGHUP);
        page.wait("out-0", "-->");
        let said = page.home.read("out-0");
        page.shows("the changed configuration is not applied", &said);
        page.write("lapwing.toml", &text, 0o644);

        let made = page.run("lapwing backup lapwing-2026-11-20.tar");
        let back = page.run("lapwing restore lapwing-2026-11-20.tar");
        // The daemon says whole paths.
        let folder = page.home.folder().canonicalize().unwrap();
        let back = back.out.replace(folder.to_str().unwrap(), "/home/anna");
        page.shows("and verified", &format!("{}{back}", made.out));

        page.write(
            "conf/a.toml",
            "[[monitor]]\nname = \"a\"\nhosts = [\"127.0.0.[1-6]\"]\ntarget = \"icmp://{host}\"\n",
            0o644,
        );
        page.write(
            "conf/b.toml",
            "[[monitor]]\nname = \"b\"\ntarget = \"icmp://127.0.0.1\"\n[notify.f]\ntype = \"file\"\npath = \"a.txt\"\n",
            0o644,
        );
        let good = page.run("lapwing config check --config conf");
        page.shows_exactly("7 series", &good.out);
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_adding() {
    page("docs/guide/adding.md", |page| {
        page.write(
            "lapwing.toml",
            "[notify.ops]\ntype = \"file\"\npath = \"alerts.txt\"\n",
            0o644,
        );
        page.start_of_the_tests("lapwing run", "watching 0 series");
        let added = page.run("lapwing add web https://www.example.com/");
        page.shows_exactly("telling ops", &added.out);
        for line in [
            "lapwing add web2 https://www.example.com/ -o interval=60s -o expect_body=ok --notify ops --label team=shop",
            "lapwing add google http://www.google.com icmp://www.google.com",
            "lapwing add office icmp://192.0.2.0/28 -o 'loss={ window = 300, change = 5 }'",
            "lapwing edit web2 --interval 10s --unset expect_body",
            "lapwing edit web -o target=https://www.example.com/health",
        ] {
            page.run(line);
        }
        let list = page.run("lapwing list");
        assert!(
            list.out.contains("google") && list.out.contains("root"),
            "{list:?}"
        );
        page.run("lapwing config export -o added.toml");
        let both = page.home.read("lapwing.toml") + &page.home.read("added.toml");
        page.write("lapwing.toml", &both, 0o644);
        page.run("lapwing config check && lapwing reload");
        let refused = page.run_of_the_tests("lapwing edit web -o interval=20s 2>&1 || true");
        page.shows("is defined in", &refused.out);
        page.run("lapwing remove web google");
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_list_of_services() {
    page("docs/guide/list-of-services.md", |page| {
        page.configure("www.google.com");
        let good = page.run_of_the_tests("lapwing config check");
        page.shows_exactly("is good", &good.out);
        page.start("LAPWING_LOG=debug lapwing run", "series=\"localhost\"");
        let found = page.run("lapwing check -v udp-echo://localhost tcp-echo://localhost");
        page.shows("echo.loss", &found.out);
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_run_as_a_service() {
    page("docs/guide/run-as-a-service.md", |page| {
        page.run("sudo lapwing config init /etc/lapwing/lapwing.toml");
        let systemd = "tests/service does it, in a container that systemd has booted";
        for line in [
            "sudo lapwing service install",
            "sudo lapwing service install sensor --server monitor.example.com --id home --key-file /etc/lapwing/home.key",
            "lapwing service status",
            "journalctl --unit lapwing.service --since today",
            "sudo lapwing service uninstall",
            "sudo lapwing service uninstall sensor",
            "sudo apt install ./lapwing_0.1.0_amd64.deb",
            "sudo systemctl enable --now lapwing",
        ] {
            page.not_run(line, systemd);
        }
        page.not_shown("starts at each boot, and runs", systemd);
        page.not_shown("at boot  starts", systemd);
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_needs_curl_needs_jq_steering() {
    page("docs/guide/steering.md", |page| {
        let (mut web, mut db) = (Door::open(), Door::open());
        db.close();
        page.write(
            "lapwing.toml",
            &format!(
                "[defaults]\ninterval = \"200ms\"\nfailure_threshold = 1\n\
                 [[monitor]]\nname = \"web\"\ntarget = \"{}\"\n[[monitor]]\nname = \"db\"\ntarget = \"{}\"\n",
                web.url(),
                db.url()
            ),
            0o644,
        );
        page.start_of_the_tests("lapwing run", "DOWN db");
        let done = page.run("lapwing ack db --reason \"on my way\"");
        page.shows("no reminders until it is up", &done.out);
        page.run("lapwing ack db --for 4h");
        page.run("lapwing silence web --for 30m --reason deploy");
        page.run("lapwing silence web db --until 06:00");
        page.run("lapwing silence web --end");
        page.run_of_the_tests("lapwing silence db --end");
        page.run("lapwing pause db");
        page.run("lapwing resume db");
        // The next outage is not acknowledged.
        db.reopen();
        page.wait_state("db", "up");
        db.close();
        page.wait_state("db", "down");
        page.run("lapwing pause db --until 18:00 --reason \"new disk\"");
        page.run_of_the_tests("SUDO_USER=anna lapwing silence web --for 30m --reason deploy");

        let events = page.start("lapwing events --follow", "");
        let down = page.start(
            "lapwing events --follow --json | jq -r 'select(.event == \"down\") | .series'",
            "",
        );
        let stream = page.start(
            "curl --unix-socket data/lapwing.sock 'http://localhost/api/v1/events?monitor=web&monitor=db' -N",
            "",
        );
        super::wait_connected(3);
        web.close();
        page.wait("out-3", "\"event\":\"down\"");
        page.wait("out-1", "(silenced: told to nobody)");
        page.stop(stream);
        page.stop(down);
        page.stop(events);
        let watch = page.until("lapwing status --watch", "db");
        assert!(watch.contains("1 down, 1 paused"), "{watch}");
        let status = page.run_with("lapwing status", &[], 1);
        page.shows("SINCE", &status.out.replace("root", "anna"));
        let past = page.run("lapwing events");
        page.shows("DOWN web", &past.out);
        page.run("lapwing events web --last 100");

        let text = page.home.read("lapwing.toml");
        let more = "[[monitor]]\nname = \"new\"\ntarget = \"icmp://127.0.0.1\"\n";
        page.write("lapwing.toml", &(text + more), 0o644);
        let applied = page.run("lapwing config check && lapwing reload");
        page.shows("1 of them new", &applied.out);
        let asked = page.run(
            "curl --unix-socket data/lapwing.sock http://localhost/api/v1/wishes --json '{\"wish\": \"silence\", \"names\": [\"web\"], \"by\": \"deploy job\", \"until\": \"2027-01-01T00:00:00Z\"}'",
        );
        assert!(asked.out.contains("\"series\":[\"web\"]"), "{asked:?}");
        let asked = page.run("curl --unix-socket data/lapwing.sock http://localhost/api/v1/reload -X POST");
        assert!(asked.out.contains("\"refused\":[]"), "{asked:?}");
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_needs_setcap_needs_setpriv_troubleshooting() {
    page("docs/guide/troubleshooting.md", |page| {
        // The one privilege that pings need is given away.
        let check = "setpriv --reuid 65534 --regid 65534 --clear-groups lapwing check icmp://127.0.0.1";
        page.run("sysctl net.ipv4.ping_group_range");
        page.run_of_the_tests("chmod 755 .");
        let found = page.run_of_the_tests(&format!("{check} || true"));
        page.shows("may not send pings", &found.out);
        page.run("sudo sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"");
        let found = page.run_of_the_tests(check);
        assert!(found.out.starts_with("up "), "{found:?}");
        page.run("echo 'net.ipv4.ping_group_range = 0 2147483647' | sudo tee /etc/sysctl.d/60-ping.conf");
        fs::copy(
            env!("CARGO_BIN_EXE_lapwing"),
            page.home.path(".cargo/bin/lapwing"),
        )
        .unwrap();
        page.run("sudo setcap cap_net_raw+ep ~/.cargo/bin/lapwing");

        page.write(
            "lapwing.toml",
            "[[monitor]]\nname = \"x\"\ntarget = \"tcp://127.0.0.1:1\"\n[web]\nlisten = \"127.0.0.1:8491\"\n",
            0o644,
        );
        page.start_of_the_tests("lapwing run", "watching 1 series");
        let second = page.run_of_the_tests("lapwing run 2>&1 || true");
        page.shows("serves one daemon at a time", &second.out);
        page.run_of_the_tests("lapwing backup lapwing-2026-11-20.tar");
        let other = "mkdir other; sed 's/^\\[web\\]/[store]\\npath = \"other\"\\n&/' lapwing.toml > other.toml; \
                     lapwing run --config other.toml 2>&1 || true";
        let second = page.run_of_the_tests(other);
        page.shows("Address already in use", &second.out);
        page.beside.clear();
        page.run_of_the_tests(
            "rm data/ledger.db-* || true; echo nonsense that is no database at all > data/ledger.db",
        );
        let damaged = page.run_of_the_tests("lapwing run 2>&1 || true");
        page.shows("is damaged", &damaged.out);
        page.run("lapwing restore lapwing-2026-11-20.tar");
        page.not_shown(
            "free some space",
            "it needs a disk that is full: tests/it/bad_input.rs has one",
        );
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_understanding_down() {
    page("docs/guide/understanding-down.md", |page| {
        let again = "the lines of home-line.md, for which they are told";
        page.not_shown("DOWN internet/1.1.1.1", again);
        page.not_shown("UPTIME", again);
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_needs_tmux_top() {
    page("docs/guide/top.md", |page| {
        page.write(
            "lapwing.toml",
            "[defaults]\ninterval = \"200ms\"\n\
             [[monitor]]\nname = \"db\"\ntarget = \"tcp://127.0.0.1:5432\"\n\
             [[monitor]]\nname = \"net\"\nhosts = [\"127.7.0.[10-49]\"]\ntarget = \"icmp://{host}\"\ninterval = \"1m\"\n",
            0o644,
        );
        page.start_of_the_tests("lapwing run", "DOWN db");
        page.not_run("lapwing top", "it draws on the terminal below");
        page.run_of_the_tests("tmux -S tmux -f /dev/null new-session -d -x 80 -y 16 lapwing top");
        let screen = crate::kit::wait("a full bar of failures", || {
            let screen = page.run_of_the_tests("tmux -S tmux capture-pane -p").out;
            let is_whole = screen.contains("xxxxxxxxxxx") && screen.contains("40 up") && screen.contains('█');
            is_whole.then_some(screen)
        });
        page.run_of_the_tests("tmux -S tmux kill-server");
        page.shows("1 down", &screen);
        page.not_run("lapwing top team=shop", "the same, with fewer lines");
    });
}
