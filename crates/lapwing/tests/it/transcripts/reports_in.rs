//! The guides about who reports in: jobs and sensors.

use super::page;

#[test]
fn needs_root_needs_ip_needs_bash_needs_curl_cron_jobs() {
    page("docs/guide/cron-jobs.md", |page| {
        page.run("lapwing sensor keygen --out backup.key");
        page.run_of_the_tests("lapwing sensor keygen --out queue.key");
        page.configure("name     = \"backup\"");
        page.start_of_the_tests("lapwing run", "watching 2 series");
        let before = page.run_of_the_tests("lapwing status");
        assert!(before.out.contains("never reported in"), "{before:?}");
        let key = page.home.read("backup.key").trim().to_owned();
        let pinged = page.run_with(
            "curl -fsS http://monitor.example.com:7778/ping/KEY",
            &[("KEY", &key)],
            0,
        );
        assert_eq!(pinged.out, "OK");
        page.run("lapwing status --all");
        let line = page.take_shown("30 2 * * *");
        let job = line.trim().trim_start_matches("30 2 * * *").trim().to_owned();
        let of_ours = [("KEY", key.as_str()), ("/usr/local/bin/backup", "true")];
        page.run_with(&job, &of_ours, 0);
        page.run_script(&[
            ("/etc/backup.key", "backup.key"),
            ("/usr/local/bin/backup", "sh -c 'echo the disk is full; exit 3'"),
            ("/tmp/", "./"),
        ]);
        let after = page.run_of_the_tests("lapwing status || true");
        assert!(after.out.contains("the disk is full"), "{after:?}");
    });
}

/// A monitor's file as the netmonitor scripts have it.
const NETMONITOR: &str = r#"{
    "username": "me@example.com", "password": "secret", "smtp_server": "smtp.example.com", "smtp_port": 587,
    "alert_address": "5551234567@sms.example.com", "client_log_dir": "/var/log/netmonitor",
    "listen_port": 7777, "listen_address": "0.0.0.0", "down_interval": {"minutes": 3}
}"#;

#[test]
fn needs_root_needs_ip_needs_bash_from_netmonitor() {
    page("docs/guide/from-netmonitor.md", |page| {
        page.write("config.json", NETMONITOR, 0o644);
        let looked = page.run("lapwing import netmonitor config.json");
        page.run("lapwing import netmonitor config.json --out lapwing.toml");
        page.run("lapwing config check --config lapwing.toml");
        let text = page.home.read("lapwing.toml");
        assert!(looked.out.contains("[heartbeat]"), "{looked:?}");
        for block in page.blocks.iter().filter(|block| block.text.contains("adopt")) {
            assert!(
                text.ends_with(&block.text),
                "not this comes of it:\n{}\n{text}",
                block.text
            );
        }
        // There is no mail server here.
        let (before, after) = text.split_once("\n[notify.mail]\n").unwrap();
        let after = after
            .split_once("\n\n")
            .unwrap()
            .1
            .replace("/var/log/netmonitor", "logs");
        page.write("lapwing.toml", &format!("{before}{after}"), 0o644);
        let run = page.start(
            "lapwing run --config lapwing.toml --verify-notifiers",
            "watching 0 series",
        );
        page.stop(run);

        page.run("lapwing sensor keygen --out home.key");
        page.configure("key        = { file = \"home.key\" }");
        page.start_of_the_tests("lapwing run", "watching 1 series");
        page.until(
            "lapwing sensor --server monitor.example.com:7777 --id home --key-file home.key",
            "heard by",
        );
    });
}

#[test]
fn needs_root_needs_ip_needs_bash_needs_nc_sensors() {
    page("docs/guide/sensors.md", |page| {
        page.run("lapwing sensor keygen --out home.key");
        page.configure("key        = { file = \"home.key\" }");
        let run = page.start_of_the_tests("lapwing run", "watching 1 series");
        let said = page.until(
            "lapwing sensor --server monitor.example.com --id home --key-file home.key",
            "heard by",
        );
        page.shows("heard by", &said);
        page.stop(run);
        page.not_run(
            "sudo lapwing service install sensor --server monitor.example.com --id home --key-file /etc/lapwing/home.key",
            "tests/service does it, in a container that systemd has booted",
        );
        page.configure_with("name   = \"router\"", &[("203.0.113.0/24", "127.0.0.0/8")]);
        page.start_of_the_tests("lapwing run", "watching 1 series");
        let plain = page.take_shown("BOOT");
        page.run_of_the_tests(plain.lines().next().unwrap());
        page.wait_state("router", "up");
        page.write(
            "sensor.json",
            "{\"server\": \"monitor.example.com\", \"port\": 7777}",
            0o644,
        );
        page.until("lapwing sensor --config sensor.json", "every 30s");
    });
}
