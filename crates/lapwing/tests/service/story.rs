//! From `service install` to `service uninstall`, with the real program in a real systemd.

use std::path::Path;

use crate::machine::Machine;

/// What every test configures: a ping that needs the capability, and a secret that only root may read.
const CONFIGURE: &str = r#"
set -e
mkdir -p /etc/lapwing
printf 'https://127.0.0.1:9/secret-path' > /etc/lapwing/hook.url
printf 'NAMED=127.0.0.1\n' > /srv/variables
chmod 600 /etc/lapwing/hook.url /srv/variables
cat > /etc/lapwing/lapwing.toml <<'END'
[defaults]
interval = "200ms"
timeout = "200ms"
[web]
listen = "off"
[log]
level = "debug"
format = "journald"
[heartbeat]
listen = "127.0.0.1:7777"
[[monitor]]
name = "ping"
target = "icmp://${NAMED}"
[notify.hook]
type = "webhook"
url = { file = "hook.url" }
[notify.file]
type = "file"
path = "{date}.txt"
on = ["monitoring"]
END
"#;

const INSTALL: &str = "lapwing service install --environment-file /srv/variables";

fn boot() -> Machine {
    let program = Path::new(env!("CARGO_BIN_EXE_lapwing"));
    Machine::boot(program, "/usr/local/bin/lapwing")
}

/// The state of a series, as the daemon's status has it.
fn state(series: &str) -> String {
    format!(
        "lapwing status --json | tr -d '\\n ' | grep -o '\"series\":\"{series}\".*' | grep -o '\"state\":\"[a-z]*\"' | head -1"
    )
}

#[test]
fn needs_root_needs_systemd_nspawn_a_service_from_install_to_uninstall() {
    let machine = boot();
    refuses_what_cannot_work(&machine);
    machine.does(INSTALL);
    runs_with_no_more_than_it_needs(&machine);
    applies_changes(&machine);
    stays_what_it_is(&machine);
    is_restarted_when_it_hangs(&machine);

    let said = machine.does("lapwing service uninstall");
    assert!(
        said.contains("stay in /var/lib/lapwing, /var/log/lapwing, /etc/lapwing"),
        "{said}"
    );
    assert_eq!(machine.property("lapwing", "LoadState"), "not-found");
    machine.does("test -e /var/lib/lapwing/ledger.db && ! pgrep -x lapwing");
    let why = machine.fails("lapwing service uninstall", 2);
    assert!(why.contains("has not been used"), "{why}");
    let why = machine.fails("lapwing service status", 2);
    assert!(why.contains("there is no lapwing.service"), "{why}");
    says_why_it_does_not_start(&machine);
}

/// What only the start can find out.
fn says_why_it_does_not_start(machine: &Machine) {
    machine.does("printf '[store]\\npath = \"/etc/lapwing/data\"\\n' > /etc/lapwing/store.toml");
    let why = machine.fails(INSTALL, 2);
    assert!(why.contains("is installed but does not start"), "{why}");
    assert!(
        why.contains("/etc/lapwing/data") && why.contains("service uninstall"),
        "{why}"
    );
    // Between two tries it waits for ten seconds; a busy machine may still be at one of them.
    let mut ran = machine.run("lapwing service status");
    for _ in 0..100 {
        if ran.said.contains("activating (auto-restart)") {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
        ran = machine.run("lapwing service status");
    }
    assert!(
        ran.code == Some(1) && ran.said.contains("activating (auto-restart)"),
        "{ran:?}"
    );
    machine.does("lapwing service uninstall");
}

fn refuses_what_cannot_work(machine: &Machine) {
    let nobody = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    for (script, reason) in [
        (
            format!("{nobody} lapwing service install"),
            "only root may install services",
        ),
        (
            "lapwing service install".to_owned(),
            "there is no configuration in /etc/lapwing",
        ),
        (
            "mkdir /home/x; echo > /home/x/a.toml; lapwing service install --config /home/x".to_owned(),
            "cannot see /home/x",
        ),
        (
            "cp /usr/local/bin/lapwing /tmp/; /tmp/lapwing service install sensor --server a".to_owned(),
            "cannot see /tmp/lapwing",
        ),
    ] {
        let why = machine.fails(&script, 2);
        assert!(why.contains(reason), "{script}: {why}");
    }
    machine.does(CONFIGURE);
    for (script, reason) in [
        (
            "lapwing service install",
            "the environment variable NAMED is not set",
        ),
        ("lapwing service install", "--environment-file FILE"),
        (
            "lapwing service install --user nosuchuser",
            "there is no user nosuchuser",
        ),
        (
            "lapwing service install --credential a=/nonexistent",
            "/nonexistent cannot be read",
        ),
        (
            &format!("chmod 600 /etc/lapwing/lapwing.toml; {INSTALL}"),
            "chmod 644",
        ),
    ] {
        let why = machine.fails(script, 2);
        assert!(why.contains(reason), "{script}: {why}");
    }
    machine.does("chmod 644 /etc/lapwing/lapwing.toml && ! test -e /etc/systemd/system/lapwing.service");
}

fn runs_with_no_more_than_it_needs(machine: &Machine) {
    assert_eq!(
        machine.does("systemctl is-enabled lapwing && systemctl is-active lapwing"),
        "enabled\nactive\n"
    );
    assert_eq!(machine.property("lapwing", "Type"), "notify");
    let pid = machine.property("lapwing", "MainPID");
    assert_eq!(machine.does(&format!("ps -o user= -p {pid}")).trim(), "lapwing");
    machine.does("! grep ^lapwing: /etc/passwd");
    // CAP_NET_RAW is number 13; without it, a ping of this user would not go out.
    let capabilities = machine.does(&format!(
        "grep -E '^Cap(Eff|Prm|Bnd|Amb)' /proc/{pid}/status | cut -f2 | uniq"
    ));
    assert_eq!(capabilities.trim(), "0000000000002000");
    assert_eq!(
        machine.does("cat /proc/sys/net/ipv4/ping_group_range").trim(),
        "1\t0"
    );
    machine.until(&state("ping"), "\"state\":\"up\"");
    machine.until(
        "systemctl show --value --property StatusText lapwing",
        "watching 1 series: 1 up",
    );
    // The secret is the service's alone, and the alerts lie where it may write.
    machine.does("test -s /run/credentials/lapwing.service/hook.url");
    machine.until("ls /var/log/lapwing | grep -c txt", "1");
    machine.does("! grep -r secret-path /etc/systemd /var/log/lapwing");

    machine.until(
        "journalctl --unit lapwing F_SERIES=ping --lines 1 --output cat",
        "up",
    );
    let json = machine.does("lapwing service status --json");
    for part in [
        "\"answers\": true",
        "\"enabled\": true",
        &format!("\"pid\": {pid}"),
    ] {
        assert!(json.contains(part), "{part} {json}");
    }
    let text = machine.does("lapwing service status");
    assert!(
        text.contains("active (running) since ") && text.contains("answers  yes"),
        "{text}"
    );
}

fn applies_changes(machine: &Machine) {
    let pid = machine.property("lapwing", "MainPID");
    machine.does("printf '[[monitor]]\\nname = \"second\"\\ntarget = \"icmp://127.0.0.2\"\\n' > /etc/lapwing/more.toml");
    machine.does("systemctl reload lapwing");
    machine.until(&state("second"), "\"state\":\"up\"");
    machine.fails(
        "echo nonsense > /etc/lapwing/bad.toml && systemctl reload lapwing",
        1,
    );
    machine.fails(
        "printf '[[monitor]]\\nname = \"third\"\\n' > /etc/lapwing/bad.toml && systemctl reload lapwing",
        1,
    );
    machine.does("journalctl --unit lapwing --no-pager | grep -q bad.toml:1");
    machine.until(
        "systemctl show --value --property StatusText lapwing",
        "watching 2 series: 2 up; the changed configuration is not applied, the log says why",
    );
    machine.does("rm /etc/lapwing/bad.toml && systemctl reload lapwing");
    machine.until(
        "systemctl show --value --property StatusText lapwing",
        "watching 2 series: 2 up",
    );
    assert_eq!(machine.property("lapwing", "MainPID"), pid);
}

fn stays_what_it_is(machine: &Machine) {
    let why = machine.fails(&format!("{INSTALL} --user nobody"), 2);
    assert!(
        why.contains("--force replaces it") && why.contains("\n  + User=nobody\n"),
        "{why}"
    );
    machine.does(INSTALL);
    machine.does("sed -i 1d /etc/systemd/system/lapwing.service");
    let why = machine.fails("lapwing service uninstall", 2);
    assert!(why.contains("was not written by"), "{why}");
    machine.does(&format!("{INSTALL} --force --no-start"));
    let said =
        machine.does("lapwing backup /srv/backup.tar && lapwing report && lapwing service install --print");
    assert!(said.contains("[Service]"), "{said}");
}

/// In a drop-in of the administrator's, the times are short.
fn is_restarted_when_it_hangs(machine: &Machine) {
    machine.does(
        "mkdir -p /etc/systemd/system/lapwing.service.d && \
         printf '[Service]\\nWatchdogSec=3\\nRestartSec=100ms\\n' > /etc/systemd/system/lapwing.service.d/quick.conf && \
         systemctl daemon-reload && systemctl restart lapwing",
    );
    let pid = machine.property("lapwing", "MainPID");
    let fed = machine.property("lapwing", "WatchdogTimestampMonotonic");
    machine.until(
        &format!("test \"$(systemctl show --value --property WatchdogTimestampMonotonic lapwing)\" != {fed} && echo fed"),
        "fed",
    );
    machine.does(&format!("kill -STOP {pid}"));
    machine.until("systemctl show --value --property NRestarts lapwing", "1");
    machine.until("systemctl is-active lapwing", "active");
    assert_ne!(machine.property("lapwing", "MainPID"), pid);
    let log = machine.does("journalctl --unit lapwing --no-pager");
    assert!(log.contains("Watchdog timeout"), "{log}");
    machine.until(&state("ping"), "\"state\":\"up\"");
}

#[test]
fn needs_root_needs_systemd_nspawn_a_sensor_beside_its_monitor() {
    let machine = boot();
    machine.does(CONFIGURE);
    machine.does(
        "lapwing sensor keygen --out /etc/lapwing/home.key && \
         printf '[[monitor]]\\nname = \"home\"\\ntarget = \"heartbeat:home\"\\nkey = { file = \"home.key\" }\\n' > /etc/lapwing/home.toml",
    );
    let said = machine.does(INSTALL);
    assert!(
        said.contains("secret   home.key from /etc/lapwing/home.key"),
        "{said}"
    );
    machine.does(
        "mkdir -p /etc/systemd/system/lapwing-sensor.service.d && \
         printf '[Service]\\nWatchdogSec=2\\n' > /etc/systemd/system/lapwing-sensor.service.d/quick.conf",
    );
    machine
        .does("lapwing service install sensor --server 127.0.0.1 --id home --key-file /etc/lapwing/home.key");
    machine.until(&state("home"), "\"state\":\"up\"");

    let pid = machine.property("lapwing-sensor", "MainPID");
    assert_eq!(
        machine.does(&format!("ps -o user= -p {pid}")).trim(),
        "lapwing-sensor"
    );
    assert_eq!(
        machine
            .does(&format!("grep ^CapBnd /proc/{pid}/status | cut -f2"))
            .trim(),
        "0000000000000000"
    );
    machine.does("test -s /var/lib/lapwing-sensor/sensor.home.state");
    // Between two beats lie 30 s, and the watchdog is content.
    for _ in 0..3 {
        let fed = machine.property("lapwing-sensor", "WatchdogTimestampMonotonic");
        machine.until(
            &format!("test \"$(systemctl show --value --property WatchdogTimestampMonotonic lapwing-sensor)\" != {fed} && echo fed"),
            "fed",
        );
    }
    assert_eq!(machine.property("lapwing-sensor", "NRestarts"), "0");
    let text = machine.does("lapwing service status sensor");
    assert!(text.contains("heard by 127.0.0.1:7777"), "{text}");
    machine.does("lapwing service uninstall sensor");
    machine.until(
        "journalctl --unit lapwing-sensor --no-pager | grep -c 'the monitor knows'",
        "1",
    );
}
