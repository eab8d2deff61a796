//! Echoes over a line that loses packets in one direction: what the client and the loss monitor say about it.

use std::{
    collections::HashMap,
    net::{SocketAddrV6, UdpSocket},
    process::Output,
    time::Duration,
};

use lapwing_store::{DataDir, History as _};
use serde_json::Value;

use super::loss::{count, until_told_as_none};
use crate::{
    certificates::Authority,
    place::{Place, Side},
    process::Process,
    scene::{LAPWING, Scene, check, monitor},
};

/// Every fifth packet of one direction is counted and dropped, at the far side's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lossy {
    Out,
    Back,
}

impl Lossy {
    fn begin(self, place: &Place) {
        let which = match self {
            Self::Out => "udp dport 7007",
            Self::Back => "udp sport 7007",
        };
        let rules = format!("{which} counter name asked\n{which} numgen inc mod 5 0 counter name lost drop");
        place.chain(self.side(), "input", &rules);
    }

    /// Where it is lost: on its arrival, so that nobody is told. A sender is told of what its own rules drop.
    fn side(self) -> Side {
        match self {
            Self::Out => Side::Far,
            Self::Back => Side::Near,
        }
    }

    /// The names of this direction and of the other one.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Out => ("out", "back"),
            Self::Back => ("back", "out"),
        }
    }
}

/// The echo server on the far side.
fn serve(place: &Place) -> Process {
    let log = place.folder().join("echo.log");
    let mut command = place.command(Side::Far, LAPWING);
    let server = Process::start(command.args(["echo", "serve", "--listen", "[::]:7007"]), log);
    for _ in 0..1500 {
        if server.said().contains("echo server on") {
            return server;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the echo server does not start: {}", server.said());
}

/// Runs the client on the near side; gives the summary.
fn send(place: &Place, args: &[&str]) -> Value {
    let mut command = place.command(Side::Near, LAPWING);
    command.args(["echo", "send", "--json", "-q"]).args(args);
    let Output { stdout, stderr, .. } = command.output().unwrap();
    let text = String::from_utf8_lossy(&stdout);
    let last = text.lines().last().unwrap_or_default();
    serde_json::from_str(last).unwrap_or_else(|e| panic!("{e}: {text}{}", String::from_utf8_lossy(&stderr)))
}

#[test]
fn needs_nft_a_fifth_lost_in_one_direction_is_told_as_lost_in_that_direction() {
    let place = Place::new();
    let mut server = serve(&place);
    for address in ["10.77.0.2", "fd77::2"] {
        for lossy in [Lossy::Out, Lossy::Back] {
            lossy.begin(&place);
            let summary = send(&place, &[address, "-c", "200", "-i", "5ms", "--timeout", "1s"]);
            let (there, other) = lossy.names();
            let number = |value: &Value| value.as_u64().unwrap();
            let lost = number(&summary["lost"]);
            // About every fifth: answers that leave together are one packet to the packet filter.
            assert!(summary["sent"] == 200 && (31..=50).contains(&lost), "{summary:#}");
            // What was lost after the last echo, nobody can tell.
            let known = lost - number(&summary["lost_unknown"]);
            assert_eq!(
                (&summary[there]["lost"], &summary[other]["lost"]),
                (&known.into(), &0.into()),
                "{lossy:?}: {summary:#}"
            );
            assert!(known >= 25, "{summary:#}");
            place.chain(lossy.side(), "input", "");
        }
    }
    assert!(server.end().success());
}

/// Watches the server while one direction is lossy. What comes after its time, because the machine is busy with other
/// tests, counts as lost on the way back.
fn watch(lossy: Lossy) {
    const WATCHED: &str = "interval = \"300ms\"\ntimeout = \"290ms\"\nfailure_threshold = 0\ncount = 10\nloss = { window = 100, change = 5, min = 50 }";
    let (place, authority) = (Place::new(), Authority::new());
    let mut server = serve(&place);
    let line = monitor("line", "udp-echo://10.77.0.2", WATCHED);
    let mut scene = Scene::start(&place, &authority, &line);
    lossy.begin(&place);
    scene.wait_until("a window since then", |_| {
        count(&place, lossy.side(), "asked") >= 200
    });
    let told = scene.status()["series"][0]["loss"].as_f64().unwrap();
    assert!((told - 20.0).abs() <= 5.0, "{told}");
    // Every fifth of all packets, those of the monitor too: of few, none or many might be ours.
    let found = check(&place, &["count=100"], "udp-echo://10.77.0.2");
    let (there, other) = lossy.names();
    let fact = |way: &str| found["facts"][format!("echo.loss_{way}")].as_f64().unwrap();
    assert!(fact(there) >= 12.0 && fact(other) == 0.0, "{found:#}");
    place.chain(lossy.side(), "input", "");
    let events = until_told_as_none(&scene, "line");
    scene.finish_with("LOSS line", events);
    let kept = kept(&place);
    let fact = |way: &str| kept[&*format!("echo.loss_{way}")];
    assert!(
        fact(there) > 200.0 && fact(other) < fact(there) / 10.0,
        "{kept:?}"
    );
    assert!(server.end().success());
}

#[test]
fn needs_nft_a_monitor_of_echoes_tells_loss_on_the_way_out_and_keeps_it_so() {
    watch(Lossy::Out);
}

#[test]
fn needs_nft_a_monitor_of_echoes_tells_loss_on_the_way_back_and_keeps_it_so() {
    watch(Lossy::Back);
}

#[test]
fn what_is_sent_to_a_whole_network_is_not_answered() {
    let place = Place::new();
    let mut server = serve(&place);
    let answers = place.inside(Side::Near, || {
        let v6 = UdpSocket::bind("[fd77::1]:0").unwrap();
        let near = nix::net::if_::if_nametoindex("near").unwrap();
        let all_nodes = SocketAddrV6::new("ff02::1".parse().unwrap(), 7007, 0, near);
        v6.send_to(b"all", all_nodes).unwrap();
        let v4 = UdpSocket::bind("10.77.0.1:0").unwrap();
        v4.set_broadcast(true).unwrap();
        v4.send_to(b"all", "10.77.0.255:7007").unwrap();
        // What comes first is the answer to the last, which went to the server alone.
        [(v6, "[fd77::2]:7007"), (v4, "10.77.0.2:7007")].map(|(socket, server)| {
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.send_to(b"one", server).unwrap();
            let mut buffer = [0; 16];
            let (length, from) = socket.recv_from(&mut buffer).unwrap();
            (
                String::from_utf8_lossy(&buffer[..length]).into_owned(),
                from.to_string(),
            )
        })
    });
    let expected = ["[fd77::2]:7007", "10.77.0.2:7007"].map(|from| ("one".to_owned(), from.to_owned()));
    assert_eq!(answers, expected);
    assert!(server.end().success());
    let said = server.said();
    assert!(
        said.contains("stopped: answered 2, not_to_us 1, send_errors 1"),
        "{said}"
    );
}

/// Of each fact that the history keeps, the sum over all observations.
fn kept(place: &Place) -> HashMap<String, f64> {
    let history = DataDir::read(&place.folder().join("data"))
        .unwrap()
        .history()
        .unwrap();
    let series = history.series().unwrap();
    assert_eq!(series.len(), 1, "{series:?}");
    let mut sums = HashMap::new();
    for point in history.tail(&series[0], 10_000).unwrap() {
        for (name, value) in point.facts {
            *sums.entry(name.to_string()).or_default() += value;
        }
    }
    sums
}
