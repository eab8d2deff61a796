//! The guides about lines that lose and drop.

use super::{Page, page};

impl Page {
    /// Drops every so-many-th packet of a kind that arrives.
    fn drops(&mut self, what: &str, every: u32) {
        let which = match every {
            1 => String::new(),
            _ => format!("numgen inc mod {every} == 1 "),
        };
        self.run_of_the_tests(&format!(
            "nft flush ruleset; nft add table inet cut; \
             nft 'add chain inet cut in {{ type filter hook input priority 0; }}'; \
             nft 'add rule inet cut in {what} {which}drop'"
        ));
    }

    fn drops_nothing(&mut self) {
        self.run_of_the_tests("nft flush ruleset");
    }
}

#[test]
fn needs_root_needs_ip_needs_nft_needs_bash_home_line() {
    page("docs/guide/home-line.md", |page| {
        page.until("lapwing watch 192.168.1.1 1.1.1.1", "1.1.1.1");
        let quick = [
            ("interval          = \"5s\"", "interval = \"400ms\""),
            ("timeout           = \"2s\"", "timeout = \"300ms\""),
            ("recovery_interval = \"2s\"", "recovery_interval = \"200ms\""),
        ];
        page.configure_with("name    = \"internet\"", &quick);
        page.start_of_the_tests("lapwing run", "watching 3 series");
        page.wait_up(3);
        page.drops("ip daddr { 1.1.1.1, 9.9.9.9 } icmp type echo-request", 1);
        page.wait("out-1", "DOWN internet/1.1.1.1");
        page.wait("out-1", "DOWN internet/9.9.9.9");
        let status = page.run_of_the_tests("lapwing status || true");
        page.shows("2 down, 1 up", &status.out);
        page.drops_nothing();
        page.wait("out-1", "UP internet/1.1.1.1");
        page.wait("out-1", "UP internet/9.9.9.9");
        page.run_of_the_tests("for a in 1.1.1.1 9.9.9.9 192.168.1.1; do ip address del $a/32 dev lo; done");
        page.wait("out-1", "OFFLINE since");
        page.run_of_the_tests("for a in 1.1.1.1 9.9.9.9 192.168.1.1; do ip address add $a dev lo; done");
        page.wait("out-1", "ONLINE again");
        page.wait_up(3);
        let alerts = page.run_of_the_tests("cat alerts/*.txt").out;
        page.shows("OFFLINE since", &alerts);
        page.run("lapwing report internet --last 30d");
        page.run("lapwing report --since 2026-11-01 --until 2026-12-01 --format csv > november.csv");
        page.run("lapwing report --last 30d --format html --out evidence.html");
        let report = page.run_of_the_tests("lapwing report --last 1h").out;
        page.shows("UPTIME", &report);
        let report = page
            .run_of_the_tests("lapwing report internet/1.1.1.1 --format classic")
            .out;
        page.shows("Entry: ", &report);

        page.run("lapwing sensor keygen --out home.key");
        page.beside.clear();
        page.configure("name       = \"home\"");
        page.start_of_the_tests("lapwing run", "watching 1 series");
        page.until(
            "lapwing sensor --server monitor.example.com:7777 --id home --key-file home.key",
            "heard by",
        );
    });
}

#[test]
fn needs_root_needs_ip_needs_nft_needs_bash_is_it_my_provider() {
    page("docs/guide/is-it-my-provider.md", |page| {
        page.run("lapwing sensor keygen --out home.key");
        page.configure("name       = \"home line\"");
        let outside = page.start("lapwing run", "watching 1 series");
        page.until(
            "lapwing sensor --server monitor.example.com --id home --key-file home.key",
            "heard by",
        );
        page.run("lapwing report \"home line\" --last 30d --format html --out evidence.html");
        page.drops("udp sport 7007", 8);
        let quick = "lapwing echo send monitor.example.com -c 200 -i 50ms -q";
        let said = page.run_with(quick, &[("50ms", "5ms"), ("-q", "-q --timeout 500ms")], 0);
        page.shows("on the way back", &said.out);
        page.drops_nothing();
        page.stop(outside);

        // The same machine is the one at home now; the echo server goes on.
        page.start_of_the_tests("lapwing echo serve", "7007");
        page.configure("name   = \"outside\"");
        page.start("lapwing run", "watching 2 series");
        page.run("lapwing report router outside --last 30d --format html --out from-home.html");
        let cut =
            "it needs minutes without a beat: tests/it/heartbeats.rs and tests/it/report.rs have the same";
        page.not_shown("CAUSE", cut);
        page.not_shown("outside  ", cut);
    });
}

#[test]
fn needs_root_needs_ip_needs_nft_needs_bash_measure_a_line() {
    page("docs/guide/measure-a-line.md", |page| {
        page.start("lapwing echo serve", "7007");
        page.drops("udp sport 7007", 2);
        let said = page.until("lapwing echo send server.example.com", "lost: no echo within");
        page.shows("64 bytes from", &said);
        page.drops("udp sport 7007", 10);
        let quick = [
            ("3000", "300"),
            ("20ms", "2ms"),
            ("--size 200", "--size 200 --quiet --timeout 500ms"),
        ];
        let said = page.run_with(
            "lapwing echo send server.example.com --count 3000 --interval 20ms --size 200",
            &quick,
            0,
        );
        // Here the last one is not lost.
        let lost = said.out.replace("%)\nrtt", "%), after the last echo 1\nrtt");
        page.shows("delay change: how much", &lost);
        let said = page.run("lapwing check -o count=20 udp-echo://server.example.com");
        page.shows("on the way back", &said.out);
    });
}

#[test]
fn needs_root_needs_ip_needs_nft_needs_bash_packet_loss() {
    page("docs/guide/packet-loss.md", |page| {
        page.configure_with(
            "name              = \"router\"",
            &[
                ("\"1s\"", "\"100ms\""),
                ("\"900ms\"", "\"90ms\""),
                ("window = 300", "window = 40"),
                ("min = 30", "min = 5"),
            ],
        );
        page.start_of_the_tests("lapwing run", "watching 1 series");
        page.wait_up(1);
        page.drops("ip daddr 192.0.2.1 icmp type echo-request", 2);
        page.wait_alert("rose from", 1);
        page.drops_nothing();
        page.wait_alert("fell from", 1);
        let alerts = page.run_of_the_tests("cat alerts/*_192.0.2.1_ICMP.txt").out;
        page.shows("LOSS router", &alerts);
        page.until("lapwing watch 192.0.2.1", "ms");
        page.until("lapwing watch 192.0.2.1 -s 100 -c 10", "ms");
        page.until("lapwing watch 192.0.2.1 -p 443 -t 5", "connection refused");
    });
}
