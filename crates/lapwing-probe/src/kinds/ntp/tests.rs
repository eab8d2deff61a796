use std::sync::{
    Arc,
    atomic::{AtomicI64, AtomicUsize, Ordering},
};

use lapwing_core::{
    monitor::Family,
    observation::{Observation, Requests, Value},
    time::Clock,
};
use lapwing_net::Net;
use lapwing_wire::ntp::{HEADER_LEN, Leap, Short, Timestamp, mode};

use super::*;
use crate::testkit::{
    Ask, Closed, Datagrams, FAMILIES, MachineClock, Row, all, detail, fact, phases, verdict,
};

/// The answer of a good stratum 2 server whose clock is `ahead` microseconds of ours.
fn answer(request: &[u8], ahead: i64) -> Packet {
    let asked = Packet::parse(request).unwrap();
    let now = Timestamp::from_unix_micros(MachineClock::new().now().wall.0 + ahead);
    Packet {
        leap: Leap::None,
        version: asked.version,
        mode: mode::SERVER,
        stratum: 2,
        poll: 6,
        precision: -23,
        root_delay: Short(0x800),      // 31.25 ms
        root_dispersion: Short(0x400), // 15.625 ms
        reference_id: [192, 0, 2, 1],
        reference: now,
        origin: asked.transmit,
        receive: now,
        transmit: now,
    }
}

/// A server that sends `change` of its good answer.
async fn server(family: Family, change: impl Fn(Packet) -> Packet + Send + 'static) -> Datagrams {
    Datagrams::answer(family, move |request| {
        vec![change(answer(request, 0)).to_bytes().to_vec()]
    })
    .await
}

fn number(found: &Observation, name: &str) -> f64 {
    match found.sample.fact(name) {
        Some(Value::Float(value)) => *value,
        other => panic!("{name}: {other:?}"),
    }
}

fn row(name: String, peer: Datagrams, options: &str, verdict: &'static str, detail: &'static str) -> Row {
    let ask = Ask::new(peer.url("ntp") + options).millis(600);
    Row {
        name,
        ask,
        verdict,
        detail,
        peer: Box::new(peer),
    }
}

#[tokio::test]
async fn a_good_server() {
    for family in FAMILIES {
        let peer = server(family, |packet| packet).await;
        let found = Ask::new(peer.url("ntp"))
            .option("offset", "100ms")
            .millis(400)
            .observe()
            .await;
        assert_eq!(verdict(&found), "up", "{}", detail(&found));
        assert_eq!(found.sample.requests, Some(Requests { sent: 4, lost: 0 }));
        assert_eq!(phases(&found), ["answer"]);
        assert!(
            number(&found, "ntp.offset").abs() < 0.1 && (0.0..0.1).contains(&number(&found, "ntp.delay"))
        );
        assert!((0.031..0.1).contains(&number(&found, "ntp.root_distance")));
        for (name, value) in [
            ("ntp.stratum", "2"),
            ("ntp.leap", "none"),
            ("ntp.root_delay", "0.03125"),
            ("ntp.root_dispersion", "0.015625"),
            ("ntp.reference_id", "192.0.2.1"),
            ("ntp.samples", "4"),
            ("ntp.ignored", ""),
        ] {
            assert_eq!(fact(&found, name), value, "{name}");
        }
        assert!(
            found
                .sample
                .facts
                .iter()
                .all(|f| INFO.facts.iter().any(|known| known.name == f.name))
        );
    }
}

#[tokio::test]
async fn requests_give_nothing_away() {
    let peer = server(Family::V4, |packet| packet).await;
    Ask::new(peer.url("ntp")).millis(300).observe().await;
    let received = peer.received();
    let mut nonces: Vec<_> = received.iter().map(|r| r[40..].to_vec()).collect();
    for request in &received {
        assert_eq!(request.len(), HEADER_LEN);
        assert_eq!(request[0], 0x23);
        assert!(request[1..40].iter().all(|b| *b == 0));
    }
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 4);
}

#[tokio::test]
async fn offsets() {
    let mut rows = Vec::new();
    for family in FAMILIES {
        let shifted = |ahead| {
            Datagrams::answer(family, move |request| {
                vec![answer(request, ahead).to_bytes().to_vec()]
            })
        };
        for (ahead, options, verdict, detail) in [
            (1_500_000, "", "up", ""),
            (
                1_500_000,
                "?offset=1s",
                "down ntp.offset",
                "ahead, expected at most 1s",
            ),
            (1_500_000, "?offset=2s", "up", ""),
            (-1_500_000, "?offset=1s", "down ntp.offset", "clock is 1."),
            (
                -1_500_000,
                "?offset=1s",
                "down ntp.offset",
                "behind, expected at most 1s",
            ),
            (300_000_000_000, "?offset=1h", "down ntp.offset", "clock is 3d11h"),
        ] {
            rows.push(row(
                format!("{ahead} {options}"),
                shifted(ahead).await,
                options,
                verdict,
                detail,
            ));
        }
    }
    all(rows).await;
}

const FINE: Leap = Leap::None;
const IP: [u8; 4] = [192, 0, 2, 1];

/// Stratum, leap and reference id of an answer, options, verdict, detail.
type State = (u8, Leap, [u8; 4], &'static str, &'static str, &'static str);

const STATES: [State; 10] = [
    (1, FINE, *b"GPS\0", "?stratum=1", "up", ""),
    (
        4,
        FINE,
        IP,
        "?stratum=3",
        "down ntp.stratum",
        "stratum 4, expected at most 3",
    ),
    (4, FINE, IP, "?stratum=4", "up", ""),
    (15, Leap::Insert, IP, "", "up", ""),
    (
        16,
        FINE,
        IP,
        "",
        "down ntp.unsynchronized",
        "not synchronized (stratum 16)",
    ),
    (0, FINE, [0; 4], "", "down ntp.unsynchronized", "(stratum 0)"),
    (
        0,
        Leap::Unknown,
        *b"INIT",
        "",
        "down ntp.unsynchronized",
        "(INIT)",
    ),
    (
        2,
        Leap::Unknown,
        IP,
        "",
        "down ntp.unsynchronized",
        "(leap alarm)",
    ),
    (
        0,
        Leap::Unknown,
        *b"RATE",
        "",
        "down ntp.kiss",
        "kiss-o'-death RATE: the server is asked too often",
    ),
    (
        0,
        FINE,
        *b"DENY",
        "",
        "down ntp.kiss",
        "kiss-o'-death DENY: the server refuses",
    ),
];

#[tokio::test]
async fn states_of_the_server() {
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (stratum, leap, reference_id, options, verdict, detail) in STATES {
            let change = move |p| Packet {
                stratum,
                leap,
                reference_id,
                ..p
            };
            rows.push(row(
                format!("{stratum} {leap:?}"),
                server(family, change).await,
                options,
                verdict,
                detail,
            ));
        }
    }
    all(rows).await;
}

#[tokio::test]
async fn root_distances() {
    let wide = |p| Packet {
        root_dispersion: Short(0x2_0000),
        ..p
    };
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (options, verdict, detail) in [
            (
                "?root_distance=500ms",
                "down ntp.root_distance",
                "root distance 2.0",
            ),
            ("?root_distance=3s", "up", ""),
            ("", "up", ""),
        ] {
            rows.push(row(
                format!("{family:?} {options}"),
                server(family, wide).await,
                options,
                verdict,
                detail,
            ));
        }
    }
    all(rows).await;
}

#[tokio::test]
async fn impossible_answers() {
    type Change = fn(&mut Packet);
    let changes: [(Change, &str, &str); 5] = [
        (
            |p| p.transmit = Timestamp(0),
            "down ntp.malformed",
            "lacks the server's time",
        ),
        (
            |p| p.receive.0 += 9 << 32,
            "down ntp.malformed",
            "sent before its request",
        ),
        (
            |p| p.receive.0 -= 9 << 32,
            "down ntp.malformed",
            "claims more time",
        ),
        (
            |p| p.origin = Timestamp(0),
            "down timeout.answer",
            "no answer within 600ms",
        ),
        (|p| p.version = 3, "up", ""),
    ];
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (n, (change, verdict, detail)) in changes.into_iter().enumerate() {
            let changed = move |mut packet| {
                change(&mut packet);
                packet
            };
            rows.push(row(
                format!("{family:?} {n}"),
                server(family, changed).await,
                "",
                verdict,
                detail,
            ));
        }
    }
    all(rows).await;
}

#[tokio::test]
async fn no_answer() {
    let mut rows = Vec::new();
    for family in FAMILIES {
        let cut = Datagrams::answer(family, |request| vec![request[..47].to_vec()]).await;
        rows.push(row(
            "cut".into(),
            cut,
            "",
            "down timeout.answer",
            "no answer within",
        ));
        rows.push(row(
            "silent".into(),
            Datagrams::silent(family).await,
            "",
            "down timeout.answer",
            "no answer within",
        ));
        // With one request, no later one is there to bring the error back.
        for samples in [1, 4] {
            let closed = Closed::new(family);
            let ask = Ask::new(format!("{}?samples={samples}", closed.url("ntp"))).millis(600);
            let peer = Box::new(closed);
            rows.push(Row {
                name: format!("closed, {samples} samples"),
                ask,
                verdict: "down connect.refused",
                detail: "refused",
                peer,
            });
        }
    }
    all(rows).await;
}

#[tokio::test]
async fn forgeries_are_ignored_and_counted() {
    for family in FAMILIES {
        let peer = Datagrams::answer(family, |request| {
            let good = answer(request, 0);
            let far = answer(request, 3_600_000_000);
            let kiss = Packet {
                stratum: 0,
                reference_id: *b"DENY",
                ..far
            };
            let sent = [
                Packet {
                    origin: Timestamp(far.origin.0 ^ 1),
                    ..far
                },
                Packet {
                    origin: Timestamp(0),
                    ..far
                },
                Packet {
                    origin: Timestamp(0),
                    ..kiss
                },
                Packet {
                    mode: mode::CLIENT,
                    ..far
                },
                Packet { version: 1, ..far },
                good,
                far, // the same request answered twice
            ];
            let mut sent: Vec<_> = sent.iter().map(|packet| packet.to_bytes().to_vec()).collect();
            sent.insert(0, vec![0x24; 20]);
            sent
        })
        .await;
        let found = Ask::new(peer.url("ntp"))
            .option("offset", "1s")
            .millis(400)
            .observe()
            .await;
        assert_eq!(verdict(&found), "up", "{}", detail(&found));
        assert_eq!(fact(&found, "ntp.samples"), "4");
        // What follows the last good answer may come after the end.
        let ignored: u32 = fact(&found, "ntp.ignored").parse().unwrap();
        assert!((27..=28).contains(&ignored), "{ignored}");
    }
}

#[tokio::test]
async fn a_kiss_ends_the_questions() {
    for (answered, result) in [(0, "down ntp.kiss"), (1, "up")] {
        let asked = AtomicUsize::new(0);
        let peer = Datagrams::answer(Family::V4, move |request| {
            let good = answer(request, 0);
            let rate = Packet {
                stratum: 0,
                leap: Leap::Unknown,
                reference_id: *b"RATE",
                ..good
            };
            let before = asked.fetch_add(1, Ordering::SeqCst);
            vec![if before < answered { good } else { rate }.to_bytes().to_vec()]
        })
        .await;
        let found = Ask::new(peer.url("ntp")).millis(2000).observe().await;
        assert_eq!(verdict(&found), result);
        assert_eq!(fact(&found, "ntp.kiss"), "RATE");
        assert_eq!(peer.received().len(), answered + 1);
        assert_eq!(
            found.sample.requests,
            Some(Requests {
                sent: answered as u32 + 1,
                lost: 0
            })
        );
    }
}

#[tokio::test]
async fn lost_samples_are_counted() {
    let asked = AtomicUsize::new(0);
    let peer = Datagrams::answer(Family::V6, move |request| {
        let odd = asked.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        if odd {
            vec![answer(request, 0).to_bytes().to_vec()]
        } else {
            Vec::new()
        }
    })
    .await;
    let found = Ask::new(peer.url("ntp"))
        .option("samples", "6")
        .millis(300)
        .observe()
        .await;
    assert_eq!(verdict(&found), "up");
    assert_eq!(found.sample.requests, Some(Requests { sent: 6, lost: 3 }));
    assert_eq!(fact(&found, "ntp.samples"), "3");
    let found = Ask::new(Datagrams::silent(Family::V6).await.url("ntp"))
        .millis(200)
        .observe()
        .await;
    assert_eq!(found.sample.requests, Some(Requests { sent: 4, lost: 4 }));
}

/// The machine's clocks, with a wall clock that can be stepped.
struct Stepped {
    real: MachineClock,
    step: Arc<AtomicI64>,
}

impl Clock for Stepped {
    fn now(&self) -> Now {
        let now = self.real.now();
        Now {
            wall: Wall(now.wall.0 + self.step.load(Ordering::SeqCst)),
            ..now
        }
    }
}

#[tokio::test]
async fn a_step_of_our_clock_during_the_exchange_does_not_matter() {
    let step = Arc::new(AtomicI64::new(0));
    let stepping = Arc::clone(&step);
    let peer = Datagrams::answer(Family::V4, move |request| {
        stepping.fetch_add(-3_600_000_000, Ordering::SeqCst);
        vec![answer(request, 0).to_bytes().to_vec()]
    })
    .await;
    let net = Net::new(Arc::new(Stepped {
        real: MachineClock::new(),
        step,
    }));
    let ask = Ask::new(peer.url("ntp"))
        .option("samples", "1")
        .option("offset", "100ms")
        .millis(500);
    let found = ask.observe_with(&net).await;
    assert_eq!(verdict(&found), "up", "{}", detail(&found));
}

#[test]
fn kernel_stamps_date_the_arrival_back() {
    let now = Now {
        wall: Wall(1_000_000_000),
        mono: Mono(50_000_000),
    };
    for (stamp, mono) in [
        (None, 50_000_000),
        (Some(999_999_300), 49_999_300),
        (Some(1_000_000_000), 50_000_000),
        (Some(1_000_000_001), 50_000_000), // our clock was set back since
        (Some(998_000_000), 50_000_000),   // or forward
    ] {
        assert_eq!(arrival(now, stamp.map(Wall)), Mono(mono));
    }
}

#[tokio::test]
async fn the_kernel_stamps_datagrams() {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    setsockopt(&socket, ReceiveTimestampns, &true).unwrap();
    peer.send_to(b"x", socket.local_addr().unwrap()).await.unwrap();
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut buffer = [0; 8];
    let fd = socket.as_raw_fd();
    let (count, stamp) = socket
        .async_io(Interest::READABLE, || stamped(fd, &mut buffer, &mut control))
        .await
        .unwrap();
    let apart = MachineClock::new().now().wall.micros_since(stamp.unwrap());
    assert!(count == 1 && (0..5_000_000).contains(&apart), "{apart}");
}

#[test]
fn reference_ids() {
    let packet = |stratum, reference_id: [u8; 4]| Packet {
        stratum,
        reference_id,
        ..Packet::default()
    };
    for (packet, text) in [
        (packet(1, *b"GPS\0"), "GPS"),
        (packet(1, *b"PPS "), "PPS"),
        (packet(1, *b"DCFa"), "DCFa"),
        (packet(1, [0; 4]), "0.0.0.0"),
        (packet(2, *b"GPS\0"), "71.80.83.0"),
    ] {
        assert_eq!(reference_text(&packet), text);
    }
}

#[test]
fn bad_options() {
    for (option, value, message) in [
        ("samples", "0", "a whole number from 1 to 16"),
        ("samples", "17", "a whole number from 1 to 16"),
        ("stratum", "16", "a whole number from 1 to 15"),
        ("offset", "5", "a length of time"),
        ("root_distance", "x", "a length of time"),
        ("ofset", "1s", "no option"),
    ] {
        let errors = Ask::new("ntp://192.0.2.1").option(option, value).errors();
        assert!(
            errors.len() == 1 && errors[0].message.contains(message),
            "{errors:?}"
        );
    }
}

#[test]
fn the_examples_are_targets() {
    for example in INFO.examples {
        let target = Target::parse(example, &[&INFO]).unwrap();
        assert_eq!(target.port, Some(123));
        assert!(parse(&target, &target.options).is_ok(), "{example}");
    }
}
