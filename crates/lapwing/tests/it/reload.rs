//! A changed configuration, applied while everything runs: nothing known is forgotten, no check is dropped.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use crate::{
    kit::{Daemon, Home, PATIENCE},
    peers::{Door, HttpSink, own_address},
};

const APPLIED: &str = "configuration applied";

#[test]
fn monitors_come_and_change_and_the_others_go_on() {
    let (open, closed) = (Door::open(), Door::closed());
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n[[monitor]]\nname = \"gone\"\ntarget = \"{}\"\n\
         failure_threshold = 1000\n",
        open.url(),
        closed.url()
    ));
    let daemon = home.start();
    let before = daemon.wait_state("web", "up");
    let failing = daemon.wait_state("gone", "failing");
    daemon.wait_checks(12);

    // A new monitor, and a threshold below the streak that there is.
    let more = format!(
        "failure_threshold = 5\n[[monitor]]\nname = \"new\"\ntarget = \"{}\"\n",
        open.url()
    );
    home.edit("failure_threshold = 1000\n", &more);
    daemon.reload(APPLIED, 1);
    daemon.wait_state("new", "up");
    let down = daemon.wait_state("gone", "down");
    assert_eq!(
        down["since"], failing["since"],
        "the streak counts from where it began"
    );
    daemon.wait_checks(10);
    let after = daemon.wait_state("web", "up");
    assert_eq!(
        after["since"], before["since"],
        "what did not change is not forgotten"
    );
    let log = daemon.stop();
    assert!(log.contains("configuration applied: watching 3 series"), "{log}");
    assert_eq!(log.matches("DOWN gone").count(), 1, "{log}");
}

#[test]
fn a_bad_file_changes_nothing_and_says_where() {
    let (door, sink) = (Door::open(), HttpSink::open());
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n[notify.hook]\ntype = \"webhook\"\nurl = \"{}\"\n",
        door.url(),
        sink.url("/hook")
    ));
    let daemon = home.start();
    let before = daemon.wait_state("web", "up");
    let good = home.read("lapwing.toml");
    home.configure(&format!(
        "{good}[[monitor]]\nname = \"web\"\ntarget = \"tcq://x\"\n"
    ));
    daemon.reload("the changed configuration is not applied", 1);
    let log = daemon.log();
    let line = good.lines().count() + 2;
    assert!(log.contains(&format!("lapwing.toml:{line}:")), "the place: {log}");
    assert!(log.contains("did you mean \"tcp\"?"), "the hint: {log}");
    home.configure("this is not TOML");
    daemon.reload("the changed configuration is not applied", 2);
    std::fs::remove_file(home.path("lapwing.toml")).unwrap();
    daemon.reload("the changed configuration is not applied", 3);
    daemon.wait_checks(3);
    assert_eq!(daemon.series("web").unwrap()["since"], before["since"]);
    // And the file that is good again is taken again.
    home.configure(&good);
    daemon.reload(APPLIED, 1);
    daemon.wait_checks(3);
    let log = daemon.stop();
    assert!(
        !log.contains("panicked") && log.matches(APPLIED).count() == 1,
        "{log}"
    );
}

#[test]
fn an_open_outage_ends_with_the_watch() {
    let (open, closed, sink) = (Door::open(), Door::closed(), HttpSink::open());
    let gone = format!("[[monitor]]\nname = \"gone\"\ntarget = \"{}\"\n", closed.url());
    let home = Home::quick(&format!(
        "{gone}[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n[notify.hook]\ntype = \"webhook\"\nurl = \"{}\"\n",
        open.url(),
        sink.url("/hook")
    ));
    let daemon = home.start();
    daemon.wait_state("gone", "down");
    sink.wait_accepted("/hook", 1);
    home.edit(&gone, "");
    daemon.reload(APPLIED, 1);
    daemon.wait("gone is not watched", || {
        daemon.series("gone").is_none().then_some(())
    });
    // The disk follows what is shown, a moment later.
    let report = daemon.wait("the report says so too", || {
        let report = home.json(&["report", "--format", "json", "gone"]);
        (report["series"][0]["watched"] == false).then_some(report)
    });
    let series = &report["series"][0];
    let outages = series["outages"].as_array().unwrap();
    assert_eq!(
        (outages.len(), &outages[0]["recovered"]),
        (1, &false.into()),
        "{report:#}"
    );
    assert!(
        outages[0]["ended"].is_string(),
        "nobody knows how long it lasted after that: {report:#}"
    );
    daemon.wait_checks(3);
    daemon.stop();
    assert_eq!(
        sink.requests().len(),
        1,
        "that it is no longer watched is no recovery"
    );
}

/// Asks a page over TCP; None when nobody listens.
fn health(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Where the log says that the page is, the `nth` time it says so.
fn page(daemon: &Daemon, nth: usize) -> SocketAddr {
    daemon.wait("the address of the page", || {
        let log = daemon.log();
        let mut said = log
            .lines()
            .filter_map(|line| line.split_once("status page on http://"));
        said.nth(nth)?.1.split('/').next()?.parse().ok()
    })
}

#[test]
fn the_page_moves_with_the_configuration() {
    let door = Door::open();
    let [first, second] = [own_address(), own_address()];
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n",
        door.url()
    ));
    home.edit("\"off\"", &format!("\"{first}:0\""));
    let daemon = home.start();
    let old = page(&daemon, 0);
    assert!(health(old).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));

    home.edit(&first.to_string(), &second.to_string());
    daemon.reload(APPLIED, 1);
    let new = page(&daemon, 1);
    assert_eq!(new.ip(), second);
    assert!(health(new).is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
    daemon.wait("the old page is gone", || health(old).is_none().then_some(()));

    // An address that somebody else has: the page stays where it is.
    home.edit(&format!("{second}:0"), &door.address().to_string());
    daemon.reload(APPLIED, 2);
    let error = daemon.wait_log("cannot listen on");
    assert!(error.contains(&door.address().to_string()), "{error}");
    assert!(health(new).is_some(), "a page that cannot move stays");

    home.edit(&door.address().to_string(), "off");
    daemon.reload(APPLIED, 3);
    daemon.wait("no page", || health(new).is_none().then_some(()));
    daemon.wait_checks(2);
    daemon.stop();
}

#[test]
fn the_echo_server_moves_with_the_configuration() {
    let (target, taken) = (Door::open(), Door::open());
    let own = own_address();
    let home = Home::quick(&format!(
        "[[monitor]]\nname = \"web\"\ntarget = \"{}\"\n",
        target.url()
    ));
    let plain = home.read("lapwing.toml");
    let listening = |listen: &str| home.configure(&format!("{plain}[echo]\nlisten = \"{listen}\"\n"));
    let echoes = |address: SocketAddr| home.run(&["check", &format!("udp-echo://{address}")]).code == 0;
    // Below the ports that systems give out by themselves: it must be free on all addresses later.
    let port = 10_000 + std::process::id() % 20_000;
    listening(&format!("{own}:{port}"));
    let daemon = home.start();
    let said = daemon.wait_log("echo server on udp-echo://");
    let first: SocketAddr = said
        .split("udp-echo://")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .parse()
        .unwrap();
    assert!(echoes(first));

    listening(&taken.address().to_string());
    daemon.reload(APPLIED, 1);
    daemon.wait_log("cannot listen on");
    assert!(echoes(first), "an echo server that cannot move stays");

    // The same port on all addresses: the old one must make room first.
    listening(&format!("0.0.0.0:{}", first.port()));
    daemon.reload(APPLIED, 2);
    daemon.wait_log(&format!("echo server on udp-echo://0.0.0.0:{}", first.port()));
    assert!(echoes(SocketAddr::from((own_address(), first.port()))));

    home.configure(&plain);
    daemon.reload(APPLIED, 3);
    assert!(!echoes(first));
    daemon.stop();
}
