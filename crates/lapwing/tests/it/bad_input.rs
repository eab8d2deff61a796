//! Everything that can be wrong around us: each gets one clear sentence, a code that is not 0, and loses nothing.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions, Permissions},
    io::{Read, Seek, SeekFrom, Write},
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use lapwing_core::{lookout::Change, state::State, time::Wall};
use lapwing_store::{DataDir, Key, Ledger, book};

use crate::{
    kit::{Daemon, Home, PATIENCE, QUICK, Ran, instant, look},
    peers::{Answer, Door, HttpSink},
    terminal::Terminal,
};

/// A daemon that must refuse to start: it is killed when it does not.
fn refuses(command: &mut Command) -> Ran {
    let mut child = command
        .arg("run")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    if look(|| child.try_wait().unwrap()).is_none() {
        child.kill().unwrap();
        let ran = Ran::from(child.wait_with_output().unwrap());
        panic!("it runs: {ran:?}");
    }
    Ran::from(child.wait_with_output().unwrap())
}

/// The last line of what it said, which is why it does not start.
fn last_words(ran: &Ran) -> &str {
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(!ran.err.contains("panicked"), "{ran:?}");
    ran.err.lines().last().unwrap_or_default()
}

fn one_monitor(door: &Door) -> Home {
    Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n",
        door.url()
    ))
}

#[test]
fn every_mistake_of_a_configuration_is_told_at_once() {
    let home = Home::new(
        "[defaults]\nintervall = \"30s\"\n[[monitor]]\nname = \"a\"\ntarget = \"tcq://127.0.0.1:1\"\n\
         [[monitor]]\nname = \"a\"\ntarget = \"tcp://127.0.0.1:1\"\ntimeout = \"2x\"\n\
         [notify.ops]\ntype = \"slack\"\nwebhook_url = \"${NO_SUCH_VARIABLE}\"\n[wep]\nlisten = \"off\"\n",
    );
    let expected = [
        ("lapwing.toml:2:1", "\"interval\""),
        ("lapwing.toml:5:10", "\"tcp\""),
        ("lapwing.toml:7:8", "\"a\""),
        ("lapwing.toml:9:11", "2x"),
        ("lapwing.toml:12:16", "NO_SUCH_VARIABLE is not set"),
        ("lapwing.toml:13:2", "\"web\""),
    ];
    for args in [&["config", "check"][..], &["run"], &["notify", "test"]] {
        let ran = home.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {ran:?}");
        for (place, words) in expected {
            let found = ran
                .err
                .find(place)
                .unwrap_or_else(|| panic!("{args:?} names no {place}:\n{}", ran.err));
            let all = &ran.err;
            assert!(
                all[..found].len() < all.len() && all.contains(words),
                "{args:?} says no {words}:\n{all}"
            );
        }
        assert!(!ran.err.contains('\u{1b}'), "a pipe gets no colours: {ran:?}");
    }
    assert!(!home.path("data").exists(), "nothing was begun");
}

#[test]
fn a_configuration_that_is_not_there_or_not_text() {
    let home = Home::new("");
    let missing = home.run(&["run", "--config", "gone.toml"]);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(
        missing.err.contains("gone.toml") && missing.err.contains("does not exist"),
        "{missing:?}"
    );
    fs::remove_file(home.path("lapwing.toml")).unwrap();
    let none = home.run(&["run"]);
    assert_eq!(none.code, 2, "{none:?}");
    assert!(none.err.contains("config init"), "the way out: {none:?}");
    fs::write(home.path("lapwing.toml"), [0xff, 0xfe, 0x00, 0x80]).unwrap();
    let garbage = home.run(&["run"]);
    assert!(
        garbage.code == 2 && garbage.err.contains("lapwing.toml"),
        "{garbage:?}"
    );
    fs::write(home.path("lapwing.toml"), "").unwrap();
    let empty = home.run(&["config", "check"]);
    assert!(empty.code == 2 && empty.err.contains("monitor"), "{empty:?}");
}

#[test]
fn a_secret_file_that_others_may_read_is_refused() {
    let door = Door::open();
    let home = one_monitor(&door);
    let with = format!(
        "{}[notify.ops]\ntype = \"slack\"\nwebhook_url = {{ file = \"hook\" }}\n",
        home.read("lapwing.toml")
    );
    home.configure(&with);
    fs::write(home.path("hook"), "https://127.0.0.1:1/C4nary\n").unwrap();
    fs::set_permissions(home.path("hook"), Permissions::from_mode(0o644)).unwrap();
    let ran = refuses(&mut home.lapwing());
    assert_eq!(ran.code, 2);
    assert!(
        ran.err.contains("can be read by others") && ran.err.contains("chmod 600"),
        "{ran:?}"
    );
    assert!(!ran.err.contains("C4nary"), "{ran:?}");
    fs::set_permissions(home.path("hook"), Permissions::from_mode(0o600)).unwrap();
    assert_eq!(home.run(&["config", "check"]).code, 0);
}

#[test]
fn a_port_in_use() {
    let (door, target) = (Door::open(), Door::open());
    for table in ["web", "echo"] {
        let home = one_monitor(&target);
        let text = home.read("lapwing.toml").replace("[web]\nlisten = \"off\"\n", "");
        let off = if table == "web" {
            ""
        } else {
            "[web]\nlisten = \"off\"\n"
        };
        home.configure(&format!(
            "{text}{off}[{table}]\nlisten = \"{}\"\n",
            door.address()
        ));
        let ran = refuses(&mut home.lapwing());
        let words = last_words(&ran);
        assert!(
            words.contains(&format!("cannot listen on {}", door.address())),
            "{words}"
        );
        assert!(
            words.contains(&format!("[{table}] listen")),
            "what to do: {words}"
        );
        assert!(words.contains("in use"), "why: {words}");
    }
    let echo = Home::new("").run(&["echo", "serve", "--listen", &door.address().to_string()]);
    assert!(echo.refused().contains("in use"), "{echo:?}");
}

#[test]
fn a_second_daemon_on_one_folder_names_the_first() {
    let door = Door::open();
    let home = one_monitor(&door);
    let daemon = home.start();
    daemon.wait_state("web", "up");
    let ran = refuses(&mut home.lapwing());
    let words = last_words(&ran);
    assert!(words.contains(&format!("process {}", daemon.pid())), "{words}");
    assert!(words.contains("one daemon at a time"), "{words}");
    daemon.wait_checks(3);
    assert!(daemon.try_status().is_some(), "the first has kept its socket");
    daemon.stop();
}

/// A folder in which a daemon has seen an outage.
fn with_an_outage() -> Home {
    let door = Door::closed();
    let home = one_monitor(&door);
    let daemon = home.start();
    daemon.wait_state("web", "down");
    daemon.wait_checks(3);
    daemon.stop();
    home
}

fn write_at(path: &Path, at: u64, bytes: &[u8]) {
    let mut file = OpenOptions::new().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(bytes).unwrap();
}

/// `PRAGMA user_version` lies at offset 60 of an `SQLite` file (fileformat2, section 1.3).
const USER_VERSION: u64 = 60;

#[test]
fn a_damaged_ledger_stops_the_start_and_is_left_alone() {
    let home = with_an_outage();
    let path = home.path("data/ledger.db");
    let good = fs::read(&path).unwrap();
    let cases: [(&str, Vec<u8>, &str); 4] = [
        ("truncated", good[..good.len() / 2].to_vec(), "lapwing restore"),
        (
            "garbage",
            b"this is no database at all. ".repeat(200),
            "lapwing restore",
        ),
        ("shredded", shredded(&good), "lapwing restore"),
        ("newer", newer(&good), "use a newer lapwing"),
    ];
    for (what, bytes, hint) in cases {
        fs::write(&path, &bytes).unwrap();
        let ran = refuses(&mut home.lapwing());
        let words = last_words(&ran);
        assert!(
            words.contains("ledger.db") && words.contains(hint),
            "{what}: {words}"
        );
        assert_eq!(
            fs::read(&path).unwrap(),
            bytes,
            "{what}: it is evidence, and was changed"
        );
        for args in [&["report"][..], &["status"]] {
            let ran = home.run(args);
            assert!(
                ran.code == 2 && ran.err.contains("ledger.db"),
                "{what}, {args:?}: {ran:?}"
            );
        }
    }
    fs::write(&path, &good).unwrap();
    let daemon = home.start();
    daemon.wait_state("web", "down");
    daemon.stop();
}

/// A data folder with an entry of every kind, and the backup `good.tar` of it.
fn with_a_backup() -> Home {
    let sink = HttpSink::open();
    sink.answer(Answer::status(404));
    let (door, nobody) = (Door::closed(), Door::closed());
    // One notifier gives up at once, the other one goes on trying.
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n[notify.gone]\ntype = \"webhook\"\nurl = \"{}\"\n\
         [notify.waits]\ntype = \"webhook\"\nurl = \"http://{}/\"\n",
        door.url(),
        sink.url("/gone"),
        nobody.address()
    ));
    let daemon = home.start();
    daemon.wait_state("web", "down");
    daemon.wait("a message given up and one that waits", || {
        let listed = home.run(&["notify", "list"]).out;
        let waits = daemon.status()["notifiers"]
            .as_array()
            .unwrap()
            .iter()
            .any(|n| n["waiting"] == 1);
        (listed.contains("Given up:") && waits).then_some(())
    });
    daemon.stop();
    let dir = DataDir::open(&home.path("data"), Wall(0)).unwrap();
    let ledger = dir.ledger().unwrap();
    let key: Arc<str> = book::restore(&ledger).unwrap().standings[0].0.clone();
    let mut ops = Vec::new();
    let unknown = Change::Unknown {
        series: key,
        state: State::Inconclusive,
        from: Wall(1),
        to: Wall(2),
    };
    book::operations(&unknown, &mut ops);
    ledger.commit(&[], &ops).unwrap();
    drop((ledger, dir));
    let made = home.run(&["backup", "good.tar"]);
    assert_eq!(made.code, 0, "{made:?}");
    home
}

/// Copies of the backup of which no one may ever be taken for data.
fn spoilt_backups(home: &Home) -> Vec<(String, Vec<u8>)> {
    let good = fs::read(home.path("good.tar")).unwrap();
    let ledger = DataDir::read(&home.path("data")).unwrap().ledger().unwrap();
    let (entries, _) = ledger.prefix(&Key::new(*b"")).unwrap();
    let records: Vec<_> = entries
        .iter()
        .filter(|e| e.value.starts_with(b"{\"v\":"))
        .collect();
    assert!(
        records.len() >= 6,
        "a series, an outage, an unknown time, a run and two messages: {entries:?}"
    );
    let mut spoilt: Vec<(String, Vec<u8>)> = records
        .iter()
        .map(|entry| (format!("{} altered", entry.key), altered(&good, &entry.value)))
        .collect();
    let mut state = 1u64;
    let noise = (0..20_000).map(|_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    spoilt.push(("random bytes".to_owned(), noise.collect()));
    for share in [1, 4, 7] {
        spoilt.push((
            format!("{share} of 8 parts"),
            good[..good.len() / 8 * share].to_vec(),
        ));
    }
    // A header of 512 bytes, with the size in octal at 124 (POSIX.1-1988, ustar), and the first file in such blocks.
    let size = usize::from_str_radix(std::str::from_utf8(&good[124..135]).unwrap(), 8).unwrap();
    let first = 512 + size.next_multiple_of(512);
    spoilt.push(("cut between the files".to_owned(), good[..first].to_vec()));
    spoilt.push(("the second file alone".to_owned(), good[first..].to_vec()));
    spoilt.push(("in its first header".to_owned(), good[..300].to_vec()));
    spoilt.push(("empty".to_owned(), Vec::new()));
    spoilt
}

/// The backup with the first byte of a record altered, also where an older copy of it lies in free space.
fn altered(good: &[u8], record: &[u8]) -> Vec<u8> {
    let begin = &record[..record.len().min(60)];
    let found: Vec<usize> = (0..good.len())
        .filter(|at| good[*at..].starts_with(begin))
        .collect();
    assert!(!found.is_empty(), "{}", String::from_utf8_lossy(record));
    let mut bytes = good.to_vec();
    for at in found {
        bytes[at] ^= 0x20;
    }
    bytes
}

/// Everything in the data folder, by name.
fn contents(home: &Home) -> Vec<(OsString, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(home.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.metadata().unwrap().is_file())
        .map(|entry| (entry.file_name(), fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_spoilt_backup_is_refused_and_changes_nothing() {
    let home = with_a_backup();
    let spoilt = spoilt_backups(&home);
    let before = contents(&home);
    for (what, bytes) in spoilt {
        fs::write(home.path("bad.tar"), bytes).unwrap();
        let ran = home.run(&["restore", "bad.tar"]);
        assert_eq!(ran.code, 2, "{what}: {ran:?}");
        assert!(ran.refused().contains("bad.tar"), "{what}: {ran:?}");
        assert!(contents(&home) == before, "{what}: the data was changed");
    }
    assert_eq!(home.run(&["restore", "good.tar"]).code, 0);
}

#[test]
fn a_running_daemon_does_not_stop_for_a_spoilt_backup() {
    let home = with_a_backup();
    let spoilt = spoilt_backups(&home);
    let daemon = home.start();
    let since = daemon.wait_state("web", "down")["since"].clone();
    for (what, bytes) in spoilt {
        fs::write(home.path("bad.tar"), bytes).unwrap();
        let ran = home.run(&["restore", "bad.tar"]);
        assert_eq!(ran.code, 2, "{what}: {ran:?}");
        assert!(ran.refused().contains("bad.tar"), "{what}: {ran:?}");
    }
    daemon.wait_checks(3);
    assert_eq!(daemon.wait_state("web", "down")["since"], since);
    let log = daemon.stop();
    assert!(!log.contains("beginning anew"), "{log}");
}

/// Every page but the first is overwritten in its middle.
fn shredded(good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for page in bytes.chunks_mut(4096).skip(1) {
        page[..2048].fill(0xA5);
    }
    bytes
}

fn newer(good: &[u8]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    let at = USER_VERSION as usize;
    bytes[at..at + 4].copy_from_slice(&9_999u32.to_be_bytes());
    bytes
}

#[test]
fn a_damaged_history_is_set_aside_and_states_live_on() {
    let home = with_an_outage();
    let path = home.path("data/history.db");
    let good = fs::read(&path).unwrap();
    for bytes in [
        b"this is no database at all. ".repeat(200),
        good[..good.len() / 2].to_vec(),
    ] {
        fs::write(&path, &bytes).unwrap();
        let daemon = home.start();
        let said = daemon.wait_log("the history was damaged");
        assert!(said.contains("states and outages are untouched"), "{said}");
        daemon.wait_state("web", "down");
        daemon.stop();
        let aside = said
            .split("it lies in ")
            .nth(1)
            .and_then(|rest| rest.split(" now,").next())
            .unwrap();
        assert_eq!(
            fs::read(home.path(aside)).unwrap(),
            bytes,
            "what was damaged is kept: {said}"
        );
        let report = home.json(&["report", "--format", "json"]);
        assert_eq!(
            report["series"][0]["outages"].as_array().unwrap().len(),
            1,
            "{report:#}"
        );
    }
    // Of a newer version nothing is wrong: it is not set aside.
    fs::write(&path, &good).unwrap();
    write_at(&path, USER_VERSION, &9_999u32.to_be_bytes());
    let ran = refuses(&mut home.lapwing());
    let words = last_words(&ran);
    assert!(
        words.contains("history.db") && words.contains("use a newer lapwing"),
        "{words}"
    );
}

#[test]
fn a_pipe_that_closes_ends_a_command_quietly() {
    let home = Home::new("");
    let targets = "tcp://127.0.0.1:1\n".repeat(3_000);
    let mut child = home
        .lapwing()
        .args(["check", "--stdin", "--json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(targets.as_bytes()).unwrap();
    let mut first = [0; 1];
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    let ran = Ran::from(child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (1, ""), "{ran:?}");
    for args in [&["config", "schema"][..], &["--help"]] {
        let mut child = home
            .lapwing()
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ran = Ran::from(child.wait_with_output().unwrap());
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args:?}: {ran:?}");
    }
}

#[test]
fn no_escapes_in_a_pipe_or_with_no_color() {
    let door = Door::closed();
    let home = one_monitor(&door);
    let daemon = home.start();
    daemon.wait_state("web", "down");
    for args in [
        &["status", "--all"][..],
        &["report"],
        &["check", "tcp://127.0.0.1:1"],
        &["config", "show"],
        &["nonsense"],
    ] {
        let ran = home.run(args);
        assert!(
            !ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'),
            "{args:?}: {ran:?}"
        );
        // A terminal with NO_COLOR; `script` would make one, but that it is set is all that can be seen here.
        let ran = Ran::of(home.lapwing().env("NO_COLOR", "1").args(args));
        assert!(
            !ran.out.contains('\u{1b}') && !ran.err.contains('\u{1b}'),
            "{args:?}: {ran:?}"
        );
    }
    assert!(!daemon.stop().contains('\u{1b}'));
}

#[test]
fn an_option_or_target_that_cannot_be() {
    let home = Home::new("");
    for (args, words) in [
        (&["check", "tcq://127.0.0.1:1"][..], "did you mean \"tcp\"?"),
        (
            &["check", "-o", "expekt=x", "tcp://127.0.0.1:1"],
            "did you mean \"expect\"?",
        ),
        (&["check", "tcp://127.0.0.1:99999"], "99999"),
        (&["check", "icmp://10.0.0.0/7"], "1048576"),
        (&["check", "tcp://10.0.0.0/30:80"], "port"),
        (
            &["check", "--timeout", "0s", "tcp://127.0.0.1:1"],
            "no time for an answer",
        ),
        (&["check", "not a target"], "not a target"),
        (&["report", "--data", "gone"], "gone"),
        (&["restore", "--data", "data", "gone"], "gone"),
    ] {
        let ran = home.run(args);
        assert!(ran.code == 2 && ran.err.contains(words), "{args:?}: {ran:?}");
        assert!(!ran.err.contains("panicked"), "{args:?}: {ran:?}");
    }
    let empty = Ran::fed(home.lapwing().args(["check", "--stdin"]), "# nobody\n\n");
    assert!(empty.refused().contains("no target"), "{empty:?}");
}

/// A user who is nobody: `setpriv` is part of util-linux.
const NOBODY: [&str; 4] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];

#[test]
fn needs_root_a_folder_that_may_not_be_written() {
    let door = Door::open();
    let home = one_monitor(&door);
    fs::set_permissions(home.folder(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.path("lapwing.toml"), Permissions::from_mode(0o644)).unwrap();
    let ran = refuses(&mut home.through(&NOBODY));
    let words = last_words(&ran);
    assert!(
        words.contains("data") && words.to_lowercase().contains("permission denied"),
        "{words}"
    );

    // A folder that was made by another user.
    fs::create_dir(home.path("data")).unwrap();
    fs::set_permissions(home.path("data"), Permissions::from_mode(0o755)).unwrap();
    let ran = refuses(&mut home.through(&NOBODY));
    let words = last_words(&ran);
    assert!(
        words.contains("data") && words.to_lowercase().contains("permission denied"),
        "{words}"
    );
}

#[test]
fn needs_root_and_needs_ip_pings_that_are_not_allowed_are_no_outage() {
    let door = Door::open();
    let home = Home::new(&format!(
        "{QUICK}[[monitor]]\nname = \"ping\"\ntarget = \"icmp://127.0.0.1\"\n[[monitor]]\nname = \"web\"\n\
         target = \"{}\"\n[store]\npath = \"data\"\n",
        door.url()
    ));
    fs::set_permissions(home.folder(), Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(home.path("lapwing.toml"), Permissions::from_mode(0o644)).unwrap();
    // A network namespace of its own has no group that may ping, whatever this machine allows.
    let script = "ip link set lo up && echo '1 0' > /proc/sys/net/ipv4/ping_group_range && exec \"$@\"";
    let mut before = vec!["unshare", "-n", "sh", "-c", script, "sh"];
    before.extend(NOBODY);
    let daemon = home.start_as(home.through(&before).arg("run"));
    let ping = daemon.wait_state("ping", "inconclusive");
    let detail = ping["reason"]["detail"].as_str().unwrap();
    assert!(
        ping["reason"]["code"].as_str().unwrap().starts_with("ours."),
        "{ping}"
    );
    assert!(
        detail.contains("ping_group_range") || detail.contains("cap_net_raw"),
        "the way out: {detail}"
    );
    daemon.wait_checks(10);
    assert_eq!(
        daemon.wait_state("ping", "inconclusive")["reason"]["detail"],
        detail
    );
    let log = daemon.stop();
    assert!(!log.contains("DOWN ping"), "{log}");
    let ran = Ran::of(home.through(&before).args(["check", "icmp://127.0.0.1"]));
    assert!(ran.code == 3 && ran.out.contains(detail), "{ran:?}");
}

#[test]
fn needs_root_a_full_disk_loses_no_alert_and_no_state() {
    let (sink, mut door) = (HttpSink::open(), Door::open());
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n[notify.hook]\ntype = \"webhook\"\nurl = \"{}\"\n",
        door.url(),
        sink.url("/hook")
    ));
    fs::create_dir(home.path("data")).unwrap();
    // The mount is seen by this daemon alone, and goes with it.
    let script = "mount -t tmpfs -o size=2m,mode=700 tmpfs data && exec \"$@\"";
    let inside = ["unshare", "-m", "sh", "-c", script, "sh"];
    let mut daemon = Daemon::spawn(home.through(&inside).arg("run"), home.path("data/lapwing.sock"));
    daemon.wait_log("watching ");
    let data = format!("/proc/{}/cwd/data", daemon.pid());
    assert!(
        fs::metadata(format!("{data}/ledger.db")).is_ok(),
        "it is the small disk that is used"
    );
    let rubbish = format!("{data}/rubbish");
    fill(&rubbish);
    door.close();
    let down = sink.wait_accepted("/hook", 1)[0].json();
    assert_eq!(
        down["event"], "down",
        "an alert goes out although nothing can be stored"
    );
    let said = daemon.log();
    assert!(
        said.contains("cannot be written") && said.contains("full"),
        "{said}"
    );
    fs::remove_file(rubbish).unwrap();
    daemon.wait_log("is writable again");
    door.reopen();
    let told = sink.wait_accepted("/hook", 2);
    assert_eq!(told[1].json()["event"], "up");
    assert_eq!(told[1].json()["since"], down["since"]);
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    let (status, log) = daemon.ended();
    assert!(status.success() && !log.contains("panicked"), "{log}");
    assert!(
        log.lines().filter(|l| l.contains("ERROR")).count() <= 4,
        "one sentence, not one a second: {log}"
    );
}

/// Writes zeros until the disk is full, again and again while it is not.
fn fill(path: &str) {
    let mut file = fs::File::create(path).unwrap();
    let until = instant() + PATIENCE;
    for size in [1 << 16, 1 << 12, 1 << 9, 1] {
        while file.write_all(&vec![0; size]).is_ok() {
            assert!(
                instant() < until + Duration::from_secs(1),
                "the disk does not become full"
            );
        }
    }
}

#[test]
fn words_of_others_do_not_steer_the_terminal() {
    let home = Home::quick("[[monitor]]\nname = \"web\"\ntarget = \"tcp://127.0.0.1:1\"\n");
    fs::create_dir(home.path("data")).unwrap();
    let socket = UnixListener::bind(home.path("data/lapwing.sock")).unwrap();
    std::thread::spawn(move || {
        for mut stream in socket.incoming().map_while(Result::ok) {
            let body = r#"{"error":"\u001b]0;pwned\u0007\u202eno\nmore"}"#;
            let head = format!("content-length: {}\r\nconnection: close", body.len());
            let answer = format!("HTTP/1.1 409 Conflict\r\n{head}\r\n\r\n{body}");
            // It reads the head, so that its end is no reset.
            let mut buffer = [0; 4096];
            drop(
                stream
                    .read(&mut buffer)
                    .and_then(|_| stream.write_all(answer.as_bytes())),
            );
        }
    });
    for (args, words) in [
        (&["status"][..], "]0;pwned  no\nmore\n"),
        (&["show", "\u{1b}[31mx"], "]0;pwned"),
        (
            &["check", "tcp://127.0.0.1:1", "--timeout", "\u{1b}[31mx"],
            "--timeout",
        ),
        (&["\u{1b}]0;x\u{7}"], "unrecognized"),
        (&["report", "--since", "1\u{1b}[31mx"], "is not a time"),
    ] {
        let ran = Ran::of(home.lapwing().env("CLICOLOR_FORCE", "1").args(args));
        assert!(ran.code == 2 && ran.err.contains(words), "{args:?}: {ran:?}");
        let steers = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!ran.err.contains(steers), "{args:?}: {ran:?}");
    }
}

#[test]
fn needs_tmux_a_dumb_terminal_gets_no_colours() {
    let door = Door::closed();
    let home = one_monitor(&door);
    let daemon = home.start();
    daemon.wait_state("web", "down");
    let lapwing = env!("CARGO_BIN_EXE_lapwing");
    let terminal = Terminal::open(
        &home,
        100,
        &format!("{lapwing} status; TERM=dumb {lapwing} status; echo done"),
    );
    terminal.wait(&["done"]);
    let seen = terminal.tmux(&["capture-pane", "-p", "-e"]);
    let lines: Vec<&str> = seen.lines().filter(|line| line.contains("1 down")).collect();
    assert_eq!(lines.len(), 2, "{seen}");
    assert!(
        lines[0].contains('\u{1b}') && !lines[1].contains('\u{1b}'),
        "{seen}"
    );
    daemon.stop();
}
