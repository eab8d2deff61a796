//! The engine against the loopback of this machine.

use std::{process::Command, time::Duration};

use lapwing_core::time::Clock;

use super::*;
use crate::{engine::icmp_sockets::Mode, testkit::MachineClock};

fn ask(clock: &Arc<dyn Clock>, to: &str) -> Ask {
    let asked = clock.mono();
    Ask {
        to: SocketAddr::new(to.parse().unwrap(), 0),
        packets: 1,
        spacing: Duration::from_millis(10),
        until_answered: true,
        payload: 56,
        path: Path::default(),
        asked,
        deadline: asked + Duration::from_secs(2),
        tally: Arc::default(),
    }
}

fn engine() -> (Arc<dyn Clock>, IcmpEngine) {
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::new());
    let engine = IcmpEngine::new(&clock);
    (clock, engine)
}

#[tokio::test]
async fn answers_of_both_families() {
    let (clock, engine) = engine();
    for to in ["127.0.0.1", "127.1.2.3", "::1"] {
        let round = engine.ping(ask(&clock, to)).await.unwrap();
        assert_eq!((round.sent, round.lost, round.answers.len()), (1, 0, 1), "{to}");
        assert!(
            round.answers[0].rtt < Duration::from_millis(500),
            "{to}: {:?}",
            round.answers[0].rtt
        );
        assert_eq!(round.ttl, Some(64), "{to}");
    }
}

#[tokio::test]
async fn large_small_and_counted() {
    let (clock, engine) = engine();
    for to in ["127.0.0.1", "::1"] {
        for payload in [8, 1472, 9000, 60_000] {
            let mut ask = ask(&clock, to);
            (ask.payload, ask.packets, ask.until_answered) = (payload, 5, false);
            ask.spacing = Duration::from_millis(1);
            let round = engine.ping(ask).await.unwrap();
            assert_eq!(
                (round.sent, round.lost, round.duplicates),
                (5, 0, 0),
                "{to} {payload}"
            );
        }
    }
}

#[tokio::test]
async fn a_thousand_rounds_at_once_do_not_mix() {
    let (clock, engine) = engine();
    let engine = Arc::new(engine);
    let mut rounds = tokio::task::JoinSet::new();
    for n in 0..1000u32 {
        let (engine, mut ask) = (
            Arc::clone(&engine),
            ask(&clock, &format!("127.9.{}.{}", n / 250, n % 250)),
        );
        ask.path.ttl = Some(1 + (n % 100) as u8); // more paths than sockets: the idle ones make room
        rounds.spawn(async move { engine.ping(ask).await });
    }
    let mut refused = 0;
    for round in rounds.join_all().await {
        match round {
            Ok(round) => assert_eq!((round.sent, round.lost), (1, 0)),
            Err(fault) => {
                assert_eq!(fault.reason().code.as_str(), "ours.descriptors");
                refused += 1;
            }
        }
    }
    assert!(refused < 1000, "some found a socket");
}

#[tokio::test]
async fn our_own_errors_are_ours() {
    let (clock, engine) = engine();
    let source = |source| Path {
        source,
        ..Path::default()
    };
    for (to, path, code) in [
        (
            "127.0.0.1",
            source(Source::Address("127.0.0.1".parse().unwrap())),
            "",
        ),
        ("127.0.0.1", source(Source::Interface("lo".into())), ""),
        ("::1", source(Source::Interface("lo".into())), ""),
        (
            "127.0.0.1",
            source(Source::Address("::1".parse().unwrap())),
            "ours.source",
        ),
        (
            "127.0.0.1",
            source(Source::Address("198.51.100.7".parse().unwrap())),
            "ours.source",
        ),
        (
            "127.0.0.1",
            source(Source::Interface("nosuch0".into())),
            "ours.source",
        ),
    ] {
        let mut ask = ask(&clock, to);
        ask.path = path.clone();
        match engine.ping(ask).await {
            Ok(round) => assert_eq!((round.lost, code), (0, ""), "{to} {path:?}"),
            Err(fault) => assert_eq!(fault.reason().code.as_str(), code, "{to} {path:?}: {fault}"),
        }
    }
}

#[tokio::test]
async fn a_deadline_in_the_past_is_ours() {
    let (clock, engine) = engine();
    let mut late = ask(&clock, "127.0.0.1");
    late.deadline = late.asked;
    assert_eq!(
        engine.ping(late).await.unwrap_err().reason().code.as_str(),
        "ours.overload"
    );
}

#[test]
fn dropping_the_engine_ends_its_thread() {
    let (clock, engine) = engine();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(engine.ping(ask(&clock, "127.0.0.1"))).unwrap();
    let wake = Arc::downgrade(&engine.running.lock().unwrap().as_ref().unwrap().wake);
    drop(engine);
    assert_eq!(wake.strong_count(), 0, "the thread gave back what it held");
}

/// Runs one round with sockets of `mode` on this thread.
fn round_by(mode: Mode, to: &str) -> Result<Round, Fault> {
    round_of(mode, to, |_| {})
}

fn round_of(mode: Mode, to: &str, change: impl FnOnce(&mut Ask)) -> Result<Round, Fault> {
    let clock: Arc<dyn Clock> = Arc::new(MachineClock::new());
    let mut rounds = Rounds::new(Sockets::forced(mode), Arc::clone(&clock), RandomState::new());
    let Ok(event) = EventFd::from_flags(EfdFlags::EFD_NONBLOCK) else {
        panic!("no descriptor left")
    };
    let (reply, mut answer) = oneshot::channel();
    let mut ask = ask(&clock, to);
    change(&mut ask);
    rounds.begin(Job { ask, reply });
    loop {
        if let Ok(result) = answer.try_recv() {
            return result;
        }
        turn(&mut rounds, &clock, &event);
    }
}

fn turn(rounds: &mut Rounds<Sockets>, clock: &Arc<dyn Clock>, event: &EventFd) {
    let mut arrivals = Vec::new();
    rounds.wire.wait(event, rounds.until_next(clock.mono()));
    let due = clock.mono();
    rounds.wire.drain(&mut arrivals);
    for arrival in &arrivals {
        rounds.arrived(arrival, clock.now());
    }
    rounds.advance(due);
}

/// Runs the test `name` of this program again as the root of network and user namespaces of its own, where neither
/// sysctl nor routes touch the machine. `setup` is a shell script.
fn in_namespace(name: &str, setup: &str) -> bool {
    const INSIDE: &str = "LAPWING_TEST_NAMESPACE";
    if std::env::var_os(INSIDE).is_some() {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let script = format!("set -e; ip link set lo up; {setup}\nexec \"$0\" --exact \"$1\" --test-threads=1");
    let test = format!("engine::icmp::tests::{name}");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", &script])
        .arg(program)
        .arg(&test)
        .env(INSIDE, "1")
        .output()
        .expect("unshare (util-linux) is installed");
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

#[test]
fn without_a_route_nothing_is_sent() {
    // Inside there are no routes but those of loopback, so that no packet can leave the machine.
    let setup = "echo 0 0 > /proc/sys/net/ipv4/ping_group_range";
    if !in_namespace("without_a_route_nothing_is_sent", setup) {
        return;
    }
    for mode in [Mode::Ping, Mode::Raw] {
        for to in ["198.51.100.1", "2001:db8::1"] {
            let fault = round_by(mode, to).unwrap_err();
            assert_eq!(
                fault.reason().code.as_str(),
                "ours.no_route",
                "{mode:?} {to}: {fault}"
            );
        }
    }
}

#[test]
fn ping_sockets_and_raw_sockets() {
    if !in_namespace(
        "ping_sockets_and_raw_sockets",
        "echo 0 0 > /proc/sys/net/ipv4/ping_group_range",
    ) {
        return;
    }
    for mode in [Mode::Ping, Mode::Raw] {
        for to in ["127.0.0.1", "127.4.3.2", "::1"] {
            let round = round_by(mode, to).unwrap_or_else(|e| panic!("{mode:?} {to}: {e}"));
            assert_eq!((round.lost, round.ttl), (0, Some(64)), "{mode:?} {to}");
        }
    }
}

#[test]
fn errors_from_the_network_end_the_round() {
    // Addresses behind a link on which nobody answers the neighbour discovery: the kernel itself reports them.
    let setup = "echo 0 0 > /proc/sys/net/ipv4/ping_group_range; ip link add d0 type veth peer name d1; \
        ip addr add 10.77.0.1/24 dev d0; ip addr add fd77::1/64 dev d0 nodad; ip link set d0 up; ip link set d1 up; \
        for f in ipv4 ipv6; do echo 50 > /proc/sys/net/$f/neigh/d0/retrans_time_ms; done";
    if !in_namespace("errors_from_the_network_end_the_round", setup) {
        return;
    }
    for mode in [Mode::Ping, Mode::Raw] {
        for (to, unreachable) in [
            ("10.77.0.9", Complaint::Unreachable(1)),
            ("fd77::9", Complaint::Unreachable(3)),
        ] {
            let round = round_by(mode, to).unwrap_or_else(|e| panic!("{mode:?} {to}: {e}"));
            assert_eq!(
                (round.lost, round.refusal.map(|r| r.complaint)),
                (1, Some(unreachable)),
                "{mode:?} {to}"
            );
            let big = |ask: &mut Ask| (ask.payload, ask.path.df) = (1473, true);
            let fault = round_of(mode, to, big).unwrap_err();
            assert!(
                fault.reason().detail.contains("does not fit"),
                "{mode:?} {to}: {fault}"
            );
        }
    }
}

#[test]
fn without_permission_one_sentence_says_what_to_do() {
    // Not root inside, so that neither ping nor raw sockets are allowed.
    let setup = "exec setpriv --reuid 0 --bounding-set -net_raw --inh-caps -net_raw \
        \"$0\" --exact \"$1\" --test-threads=1";
    if !in_namespace("without_permission_one_sentence_says_what_to_do", setup) {
        return;
    }
    let (clock, engine) = engine();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let fault = runtime
        .block_on(engine.ping(ask(&clock, "127.0.0.1")))
        .unwrap_err();
    assert_eq!(fault.reason().code.as_str(), "ours.permission");
    for word in [
        "net.ipv4.ping_group_range",
        "CAP_NET_RAW",
        "setcap",
        "AmbientCapabilities",
    ] {
        assert!(fault.reason().detail.contains(word), "{fault}");
    }
}
