//! Questions to the loopback of this machine, and what a round of the engine is called.

use std::net::IpAddr;

use lapwing_core::{
    monitor::{ProbeSettings, Source},
    observation::Requests as Counts,
};
use lapwing_wire::icmp::Version;

use super::*;
use crate::{
    engine::icmp::Answer,
    testkit::{Ask as Question, Row, all, detail, fact, net, verdict},
};

fn row(name: &str, ask: Question, verdict: &'static str, detail: &'static str) -> Row {
    Row {
        name: name.to_owned(),
        ask,
        verdict,
        detail,
        peer: Box::new(()),
    }
}

fn from(url: &str, source: Source) -> Question {
    let mut ask = Question::new(url);
    ask.settings.source = source;
    ask
}

#[tokio::test]
async fn verdicts() {
    let lo = || Source::Interface("lo".to_owned());
    all(vec![
        row("one request", Question::new("icmp://127.0.0.1"), "up", ""),
        row(
            "any loopback address",
            Question::new("ping://127.77.1.9"),
            "up",
            "",
        ),
        row("IPv6", Question::new("icmp://[::1]"), "up", ""),
        row("mapped", Question::new("icmp://[::ffff:127.0.0.1]"), "up", ""),
        row("retry", Question::new("icmp://[::1]?retry=3"), "up", ""),
        row(
            "count",
            Question::new("icmp://127.0.0.1?count=4").millis(400),
            "up",
            "",
        ),
        row(
            "ttl",
            Question::new("icmp://127.0.0.1?ttl=1&size=1400&df=true"),
            "up",
            "",
        ),
        row("interface", from("icmp://[::1]", lo()), "up", ""),
        row(
            "source",
            from("icmp://127.0.0.1", Source::Interface("nosuch0".to_owned())),
            "inconclusive ours.source",
            "nosuch0",
        ),
    ])
    .await;
}

#[tokio::test]
async fn facts_of_one_and_of_several() {
    let one = Question::new("icmp://127.0.0.1").observe().await;
    assert_eq!(
        (
            fact(&one, "icmp.address").as_str(),
            fact(&one, "icmp.ttl").as_str()
        ),
        ("127.0.0.1", "64")
    );
    assert_eq!(
        (
            fact(&one, "icmp.loss").as_str(),
            fact(&one, "icmp.rtt_min").as_str()
        ),
        ("0", "")
    );
    let rtt: f64 = fact(&one, "icmp.rtt").parse().unwrap();
    assert!(
        rtt < 0.5 && one.sample.phases.iter().any(|p| p.name == "answer"),
        "{rtt}"
    );
    let five = Question::new("icmp://[::1]?count=5").millis(200).observe().await;
    assert_eq!(five.requests(), Some(Counts { sent: 5, lost: 0 }));
    for name in ["icmp.rtt", "icmp.rtt_min", "icmp.rtt_max", "icmp.rtt_mdev"] {
        assert!(
            fact(&five, name)
                .parse::<f64>()
                .is_ok_and(|v| (0.0..0.2).contains(&v)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn one_engine_for_all_probes_of_a_net() {
    let net = net();
    for _ in 0..2 {
        let found = Question::new("icmp://127.0.0.1").observe_with(&net).await;
        assert_eq!((verdict(&found).as_str(), detail(&found).as_str()), ("up", ""));
    }
    let first = net.extension(IcmpEngine::new);
    assert!(Arc::ptr_eq(&first, &net.clone().extension(IcmpEngine::new)));
}

#[test]
fn options() {
    for (url, message) in [
        ("icmp://h?count=5&retry=3", "exclude each other"),
        (
            "icmp://h?count=0",
            "count = \"0\" is not a whole number from 1 to 1000",
        ),
        ("icmp://h?size=7", "size = \"7\""),
        ("icmp://h?size=65508", "size = \"65508\""),
        ("icmp://h?ttl=0", "ttl = \"0\""),
        ("icmp://h?df=maybe", "df = \"maybe\""),
        ("icmp://h?cuont=3", "no option \"cuont\""),
        ("icmp://224.0.0.1", "not the address of one host"),
        ("icmp://0.0.0.0", "not the address of one host"),
        ("icmp://[::]", "not the address of one host"),
    ] {
        let errors = Question::new(url).errors();
        assert!(
            errors.iter().any(|e| e.message.contains(message)),
            "{url}: {errors:?}"
        );
    }
    assert_eq!(
        Question::new("icmp://h?count=0&size=1&ttl=x").errors().len(),
        3,
        "all at once"
    );
}

#[test]
fn spacing_is_that_of_the_specification() {
    let two = Duration::from_secs(2);
    assert_eq!(
        Requests::UntilAnswered(4).spacing(two),
        Duration::from_millis(500)
    );
    assert_eq!(
        Requests::All(5).spacing(two),
        Duration::from_millis(250),
        "the last has a second for its answer"
    );
    assert_eq!(Requests::UntilAnswered(1).spacing(two), two);
}

/// Every verdict that a round can have, whatever the network would have to do for it.
#[expect(clippy::too_many_lines, reason = "one table")]
#[test]
fn verdicts_of_rounds() {
    let net = net();
    let settings = ProbeSettings::default();
    let refusal = |version, complaint| {
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        Round {
            sent: 2,
            lost: 2,
            refusal: Some(Refusal {
                version,
                complaint,
                from,
            }),
            ..Round::default()
        }
    };
    let lost = |sent| Round {
        sent,
        lost: sent,
        ..Round::default()
    };
    let some = Round {
        sent: 4,
        lost: 3,
        answers: vec![Answer {
            number: 2,
            rtt: Duration::from_millis(7),
        }],
        ..refusal(Version::V4, Complaint::Unreachable(1))
    };
    for (round, expected) in [
        (some, ""),
        (
            lost(1),
            "no answer to the echo request within 2s (timeout.answer)",
        ),
        (lost(4), "no answer to 4 echo requests within 2s (timeout.answer)"),
        (
            refusal(Version::V4, Complaint::Unreachable(1)),
            "host unreachable, reported by 192.0.2.1 (icmp.unreachable)",
        ),
        (
            refusal(Version::V6, Complaint::Unreachable(1)),
            "prohibited by a firewall or router, reported by 192.0.2.1 (icmp.unreachable)",
        ),
        (
            refusal(Version::V4, Complaint::TimeExceeded(0)),
            "time to live exceeded on the way, reported by 192.0.2.1 (icmp.ttl_exceeded)",
        ),
        (
            refusal(Version::V6, Complaint::TooBig(1280)),
            "packet too big for the path, which takes 1280 bytes, reported by 192.0.2.1 (icmp.too_big)",
        ),
        (
            refusal(Version::V4, Complaint::Parameter(0)),
            "packet rejected as malformed, reported by 192.0.2.1 (icmp.unreachable)",
        ),
    ] {
        let probe = Icmp {
            host: Host::parse("192.0.2.9").unwrap(),
            requests: Requests::All(4),
            payload: 56,
            ttl: None,
            df: false,
            tally: Arc::default(),
        };
        let cx = Cx::new(&net, &settings, net.clock().now(), None);
        let verdict = probe.judge(&cx, &round);
        assert_eq!(
            verdict.map_or_else(|fault| fault.to_string(), |()| String::new()),
            expected
        );
        let (sample, _, _) = cx.into_record();
        assert_eq!(
            sample.requests,
            Some(Counts {
                sent: round.sent,
                lost: round.lost
            })
        );
        assert!(sample.fact("icmp.loss").is_some());
    }
}
