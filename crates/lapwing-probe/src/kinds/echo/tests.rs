//! Echo against Lapwing's own server, plain ones, and peers that are none.

use std::{net::SocketAddr, sync::Arc};

use lapwing_core::{
    monitor::Family,
    observation::{Observation, Requests},
};
use lapwing_link::echo::{EchoServer, EchoSettings};
use lapwing_wire::echo::{HEADER_LEN, Stamp, answer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::oneshot,
    task::JoinHandle,
};

use crate::testkit::{
    Ask, Closed, Datagrams, FAMILIES, Full, MachineClock, Peer, Row, Step, all, fact, loopback, phases,
    verdict,
};

/// Lapwing's echo server; it ends when this is dropped.
struct Own {
    address: SocketAddr,
    task: JoinHandle<()>,
    _stop: oneshot::Sender<()>,
}

impl Own {
    fn start(family: Family) -> Self {
        let server =
            EchoServer::bind(EchoSettings::new(loopback(family)), Arc::new(MachineClock::new())).unwrap();
        let address = server.address();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.serve(async move {
            let _ = stopped.await;
        }));
        Self {
            address,
            task,
            _stop: stop,
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn stamped(bytes: &[u8], received: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    answer(&mut bytes, Stamp { received, at: 1 }).unwrap();
    bytes
}

fn counts(found: &Observation) -> (u32, u32) {
    found
        .requests()
        .map_or((0, 0), |Requests { sent, lost }| (sent, lost))
}

#[tokio::test]
async fn own_server() {
    for family in FAMILIES {
        let own = Own::start(family);
        let one = Ask::new(format!("udp-echo://{}", own.address)).observe().await;
        assert_eq!(
            (verdict(&one).as_str(), counts(&one)),
            ("up", (1, 0)),
            "{family:?}"
        );
        assert_eq!(
            (
                fact(&one, "echo.server").as_str(),
                fact(&one, "echo.loss_out").as_str()
            ),
            ("lapwing", "0")
        );
        let many = Ask::new(format!("udp-echo://{}?count=20&size=1200", own.address))
            .millis(400)
            .observe()
            .await;
        assert_eq!(
            (verdict(&many).as_str(), counts(&many)),
            ("up", (20, 0)),
            "{family:?}"
        );
        for name in [
            "echo.rtt_min",
            "echo.rtt_max",
            "echo.jitter",
            "echo.jitter_out",
            "echo.jitter_back",
            "echo.change_out",
            "echo.change_back",
        ] {
            assert!(
                fact(&many, name)
                    .parse::<f64>()
                    .is_ok_and(|v| (0.0..0.4).contains(&v)),
                "{name}"
            );
        }
        for name in [
            "echo.loss",
            "echo.loss_out",
            "echo.loss_back",
            "echo.duplicates",
            "echo.reordered",
        ] {
            assert_eq!(fact(&many, name), "0", "{name}");
        }
        let stream = Ask::new(format!("tcp-echo://{}?count=3&size=200000", own.address))
            .observe()
            .await;
        assert_eq!(
            (verdict(&stream).as_str(), counts(&stream)),
            ("up", (3, 0)),
            "{family:?}"
        );
        assert_eq!(phases(&stream), ["connect", "answer"]);
        let short = Ask::new(format!("tcp-echo://{}?size=1", own.address))
            .observe()
            .await;
        assert_eq!(verdict(&short), "up");
    }
}

#[tokio::test]
async fn plain_servers_do_as_well() {
    for family in FAMILIES {
        let plain = Datagrams::answer(family, |bytes| vec![bytes.to_vec()]).await;
        let found = Ask::new(plain.url("udp-echo"))
            .option("count", "3")
            .millis(200)
            .observe()
            .await;
        assert_eq!((verdict(&found).as_str(), counts(&found)), ("up", (3, 0)));
        assert_eq!(
            (
                fact(&found, "echo.server").as_str(),
                fact(&found, "echo.loss_out").as_str()
            ),
            ("plain", "")
        );
    }
}

#[tokio::test]
async fn loss_duplicates_and_order() {
    let mut held = None;
    let mut number = 0;
    // Of six: the second is lost on the way out, the third on the way back, the fourth comes twice, the fifth late.
    let peer = Datagrams::answer(Family::V4, move |bytes| {
        number += 1;
        match number {
            1 => vec![stamped(bytes, 1)],
            4 => vec![stamped(bytes, 3), stamped(bytes, 3)],
            5 => {
                held = Some(stamped(bytes, 4));
                Vec::new()
            }
            6 => [Some(stamped(bytes, 5)), held.take()]
                .into_iter()
                .flatten()
                .collect(),
            _ => Vec::new(),
        }
    })
    .await;
    let found = Ask::new(peer.url("udp-echo"))
        .option("count", "6")
        .millis(300)
        .observe()
        .await;
    assert_eq!((verdict(&found).as_str(), counts(&found)), ("up", (6, 2)));
    assert_eq!(
        (
            fact(&found, "echo.duplicates").as_str(),
            fact(&found, "echo.reordered").as_str()
        ),
        ("1", "1")
    );
    for (name, share) in [
        ("echo.loss", 200.0 / 6.0),
        ("echo.loss_out", 100.0 / 6.0),
        ("echo.loss_back", 100.0 / 6.0),
    ] {
        assert!(
            (fact(&found, name).parse::<f64>().unwrap() - share).abs() < 1e-9,
            "{name}"
        );
    }
}

#[tokio::test]
async fn every_udp_code() {
    let mut rows = Vec::new();
    for family in FAMILIES {
        let mut row = |name: &str, url: String, verdict, detail, peer: Box<dyn std::any::Any + Send>| {
            let ask = Ask::new(url).millis(250);
            rows.push(Row {
                name: format!("{name} {family:?}"),
                ask,
                verdict,
                detail,
                peer,
            });
        };
        let silent = Datagrams::silent(family).await;
        let url = silent.url("udp-echo");
        row(
            "silent",
            url.clone(),
            "down timeout.answer",
            "no echo within 250ms",
            Box::new(()),
        );
        let text = "no echo of 3 messages within 250ms";
        row(
            "all lost",
            format!("{url}?count=3"),
            "down timeout.answer",
            text,
            Box::new(silent),
        );
        let closed = Closed::new(family);
        row(
            "closed",
            closed.url("udp-echo"),
            "down connect.refused",
            "",
            Box::new(closed),
        );
        let other = Datagrams::answer(family, |_| vec![b"who are you?".to_vec()]).await;
        let text = "12 bytes came back that are no echo of the 64 bytes sent";
        row(
            "other",
            other.url("udp-echo"),
            "down echo.mismatch",
            text,
            Box::new(other),
        );
        let changed = Datagrams::answer(family, |bytes| {
            let mut bytes = bytes.to_vec();
            bytes[HEADER_LEN] ^= 1;
            vec![bytes]
        })
        .await;
        let text = "what came back is not what was sent";
        row(
            "changed",
            changed.url("udp-echo"),
            "down echo.mismatch",
            text,
            Box::new(changed),
        );
        let longer = Datagrams::answer(family, |bytes| vec![[bytes, &[0]].concat()]).await;
        row(
            "longer",
            longer.url("udp-echo"),
            "down echo.mismatch",
            "65 bytes",
            Box::new(longer),
        );
    }
    all(rows).await;
}

#[tokio::test]
async fn every_tcp_code() {
    let mut rows = Vec::new();
    for family in FAMILIES {
        let mut row = |name: &str, url: String, verdict, detail, peer: Box<dyn std::any::Any + Send>| {
            let ask = Ask::new(url).millis(250);
            rows.push(Row {
                name: format!("{name} {family:?}"),
                ask,
                verdict,
                detail,
                peer,
            });
        };
        let closed = Closed::new(family);
        row(
            "closed",
            closed.url("tcp-echo"),
            "down connect.refused",
            "",
            Box::new(closed),
        );
        let full = Full::new(family);
        row(
            "full",
            full.url("tcp-echo"),
            "down timeout.connect",
            "",
            Box::new(full),
        );
        let hold = Peer::tcp(family, [Step::Hold]).await;
        row(
            "silent",
            hold.url("tcp-echo"),
            "down timeout.answer",
            "no echo within 250ms",
            Box::new(hold),
        );
        let banner = Peer::tcp(family, [Step::send("220 smtp ready\r\n"), Step::Hold]).await;
        row(
            "banner",
            banner.url("tcp-echo"),
            "down echo.mismatch",
            "not what was sent",
            Box::new(banner),
        );
        let flood = Peer::tcp(family, [Step::Flood(vec![7; 4096])]).await;
        row(
            "flood",
            flood.url("tcp-echo"),
            "down echo.mismatch",
            "",
            Box::new(flood),
        );
        let ends = Peer::tcp(family, [Step::Close]).await;
        row(
            "closes",
            ends.url("tcp-echo"),
            "down connect.closed",
            "before all came back",
            Box::new(ends),
        );
        let resets = Peer::tcp(family, [Step::until("LWec"), Step::Reset]).await;
        row(
            "resets",
            resets.url("tcp-echo"),
            "down connect.reset",
            "",
            Box::new(resets),
        );
    }
    all(rows).await;
}

#[tokio::test]
async fn a_stream_that_stalls_says_how_far_it_came() {
    // Echoes the first message alone.
    let listener = tokio::net::TcpListener::bind(loopback(Family::V4)).await.unwrap();
    let url = format!("tcp-echo://{}?count=3", listener.local_addr().unwrap());
    let peer = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut message = [0; 64];
        stream.read_exact(&mut message).await.unwrap();
        stream.write_all(&message).await.unwrap();
        stream
    };
    let (found, _stream) = tokio::join!(Ask::new(url).millis(250).observe(), peer);
    assert_eq!(
        (verdict(&found).as_str(), counts(&found)),
        ("down timeout.answer", (3, 2))
    );
    assert_eq!(
        crate::testkit::detail(&found),
        "only 1 of 3 messages came back within 250ms"
    );
}

#[test]
fn options() {
    for (url, message) in [
        (
            "udp-echo://h?size=39",
            "size = \"39\" is not a whole number from 40 to 65507",
        ),
        ("udp-echo://h?count=0", "count = \"0\""),
        ("tcp-echo://h?size=0", "size = \"0\""),
        ("tcp-echo://h?cuont=1", "no option \"cuont\""),
    ] {
        let errors = Ask::new(url).errors();
        assert!(
            errors.iter().any(|e| e.message.contains(message)),
            "{url}: {errors:?}"
        );
    }
}
