//! The guides about who is told.

use serde_json::json;

use super::page;
use crate::peers::{Answer, HttpSink};

#[test]
fn needs_root_needs_ip_needs_bash_notifiers() {
    page("docs/guide/notifiers.md", |page| {
        let sink = HttpSink::open();
        let config = |slack: &str| {
            format!(
                "[defaults]\ninterval = \"200ms\"\nfailure_threshold = 1\n\
                 [[monitor]]\nname = \"ports\"\nhosts = [\"127.0.0.[1-6]\"]\ntarget = \"tcp://{{host}}:1\"\nnotify = [\"log\"]\n\
                 [notify.log]\ntype = \"file\"\npath = \"alerts/{{date}}.txt\"\nrate_limit = \"3/1s\"\n\
                 [notify.slack]\ntype = \"slack\"\nwebhook_url = \"{slack}\"\n"
            )
        };
        page.write("lapwing.toml", &config("http://127.0.0.1:7801/x"), 0o644);
        let refused = page.run_of_the_tests("lapwing run --verify-notifiers 2>&1 || true");
        page.shows("these notifiers are not valid", &refused.out);
        page.write("lapwing.toml", &config(&sink.url("/x")), 0o644);
        page.run("lapwing notify test");
        page.start("lapwing run --verify-notifiers", "DOWN ports");
        page.wait_alert("were held back by the rate limit", 1);
        let alerts = page.run_of_the_tests("cat alerts/*.txt").out;
        // In which order the ports are asked is chance.
        let alike = alerts.replace(['2', '3', '4', '5', '6'], "1");
        page.shows("were held back", &alike);
        page.run("lapwing notify list");
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_ports_with_slack() {
    page("docs/guide/ports-with-slack.md", |page| {
        let sink = HttpSink::open();
        let quick = [
            ("interval          = \"30s\"", "interval = \"200ms\""),
            ("recovery_interval = \"5s\"", "recovery_interval = \"200ms\""),
        ];
        page.configure("name   = \"ssh\"");
        let unset = page.run_of_the_tests("lapwing config check 2>&1 || true");
        page.shows_exactly("is not set", &unset.out);
        page.configure_with("name   = \"ssh\"", &quick);
        page.run_with(
            "export SLACK_WEBHOOK_URL=https://hooks.slack.com/services/…",
            &[("https://hooks.slack.com/services/…", &sink.url("/services/x"))],
            0,
        );
        page.run("lapwing config check");
        let proven = page.run("lapwing notify test slack");
        assert!(proven.out.contains("slack: delivered"), "{proven:?}");
        let echo = page.start_of_the_tests("lapwing echo serve --listen 127.0.0.1:22", ":22");
        page.start("lapwing run --verify-notifiers", "watching 2 series");
        page.wait_state("ssh", "up");
        page.stop(echo);
        page.wait("out-1", "DOWN ssh");
        page.start_of_the_tests("lapwing echo serve --listen 127.0.0.1:22", ":22");
        page.wait("out-1", "UP ssh");
        sink.wait_requests(3);
        let told = || {
            let all = sink
                .requests()
                .into_iter()
                .map(|request| request.json()["text"].to_string());
            let all: Vec<String> = all.map(|text| text.trim_matches('"').to_owned()).collect();
            all.iter()
                .any(|text| text.starts_with("UP ssh"))
                .then(|| all.join("\n"))
        };
        let told = crate::kit::wait("UP ssh on Slack", told);
        page.shows("DOWN ssh", &told.replace("server.example.com", "127.0.0.1"));
    });
}

#[test]
fn needs_root_needs_ip_needs_nft_needs_bash_telegram() {
    page("docs/guide/telegram.md", |page| {
        let sink = HttpSink::open();
        let chats = json!({ "ok": true, "result": [
            { "update_id": 1, "message": { "chat": { "id": 424_242, "type": "private", "first_name": "Ada" } } },
            { "update_id": 2, "channel_post": { "chat": { "id": -1_001_234_567_890_i64, "type": "channel", "title": "Alerts" } } },
        ]});
        sink.answer(Answer::Status(200, chats.to_string()));
        page.run_with(
            "(umask 077; cat > telegram.token)",
            &[("cat >", "echo 123456:secret | cat >")],
            0,
        );
        let api = format!("[notify.telegram]\napi = \"{}\"", sink.url(""));
        let ours = [
            ("[notify.telegram]", api.as_str()),
            ("\"2s\"", "\"300ms\""),
            ("[\"10m\", \"30m\", \"1h\"]", "[\"400ms\", \"700ms\", \"1s\"]"),
        ];
        page.configure_with("name   = \"server\"", &ours);
        let found = page.run("lapwing notify telegram-chats telegram");
        page.shows_exactly("424242  private", &found.out);
        page.run("lapwing notify test telegram");
        page.run_of_the_tests("chmod 644 telegram.token");
        let refused = page.run_of_the_tests("lapwing run 2>&1 || true");
        page.shows("can be read by others", &refused.out);
        page.run_of_the_tests("chmod 600 telegram.token");
        page.start("lapwing run --verify-notifiers", "watching 1 series");
        page.wait_state("server", "up");
        page.run_of_the_tests("ip link set lo mtu 1500; nft add table ip cut; nft 'add chain ip cut out { type filter hook input priority 0; }'; nft add rule ip cut out icmp type echo-request drop");
        page.wait("out-0", "This is the last reminder");
        page.run_of_the_tests("nft flush ruleset");
        page.wait("out-0", "UP server");
        let said = page
            .home
            .read("out-0")
            .replace("server.example.com", "127.0.0.99");
        let told: Vec<&str> = said
            .lines()
            .filter_map(|line| {
                line.split_once(" INFO ")?
                    .1
                    .split_once(" event=")
                    .map(|(text, _)| text.trim())
            })
            .collect();
        page.shows("STILL DOWN", &told.join("\n"));
    });
}
