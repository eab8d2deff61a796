//! Against name servers that follow a script.

use std::{fs, path::Path};

use hickory_proto::op::ResponseCode;

use super::*;
use crate::testkit::{
    ClosedPort, Hand, code,
    dns::{NameServer, Reply},
    net,
};

/// Silence is waited for by several tests: long enough for a busy machine, short enough for us.
const WITHIN: Duration = Duration::from_secs(2);
const SHORT: Duration = Duration::from_millis(300);

fn asking(servers: &[&NameServer]) -> Net {
    Net::with_resolvers(
        Arc::new(Hand::default()),
        servers.iter().map(|s| s.addr).collect(),
    )
}

async fn found(net: &Net, name: &str, family: Family) -> Result<Vec<String>, Fault> {
    let found = net
        .resolve_within(&Host::parse(name).unwrap(), family, WITHIN)
        .await?;
    Ok(found.iter().map(ToString::to_string).collect())
}

async fn fault(net: &Net, name: &str) -> Fault {
    found(net, name, Family::V4).await.unwrap_err()
}

#[tokio::test]
async fn answers_are_kept_for_their_ttl() {
    let server = NameServer::start(|_, _| Reply::Found(&["10.0.0.2", "10.0.0.1"], 60)).await;
    let clock = Arc::new(Hand::default());
    let net = Net::with_resolvers(clock.clone(), vec![server.addr]);
    for (wait, asked) in [(0, 1), (59, 1), (1, 2)] {
        clock.advance(Duration::from_secs(wait));
        // The server's order stays, and case does not matter.
        assert_eq!(
            found(&net, "A.example", Family::V4).await.unwrap(),
            ["10.0.0.2", "10.0.0.1"]
        );
        assert_eq!(server.asked(), asked);
    }
}

#[tokio::test]
async fn every_negative_answer_has_its_code_and_is_soon_forgotten() {
    for (rcode, code, detail) in [
        (
            ResponseCode::NXDomain,
            "dns.nxdomain",
            "the name x.example does not exist",
        ),
        (
            ResponseCode::NoError,
            "dns.nodata",
            "the name x.example has no IPv4 address",
        ),
        (
            ResponseCode::ServFail,
            "dns.servfail",
            "the resolver failed to look up x.example",
        ),
        (
            ResponseCode::FormErr,
            "dns.servfail",
            "the resolver failed to look up x.example",
        ),
        (
            ResponseCode::Refused,
            "dns.refused",
            "the resolver refused to look up x.example",
        ),
    ] {
        let server = NameServer::start(move |_, before| match before {
            0 => Reply::Code(rcode),
            _ => Reply::Found(&["10.0.0.1"], 60),
        })
        .await;
        let clock = Arc::new(Hand::default());
        let net = Net::with_resolvers(clock.clone(), vec![server.addr]);
        let first = fault(&net, "x.example").await;
        assert_eq!(first, Fault::target(code, detail));
        assert_eq!(fault(&net, "x.example").await, first);
        assert_eq!(server.asked(), 1);
        clock.advance(Duration::from_secs(3)); // the SOA's minimum
        assert_eq!(found(&net, "x.example", Family::V4).await.unwrap(), ["10.0.0.1"]);
    }
}

#[tokio::test]
async fn silence_for_all_names_is_ours() {
    let server = NameServer::start(|_, _| Reply::Silence).await;
    let host = Host::parse("x.example").unwrap();
    let fault = asking(&[&server])
        .resolve_within(&host, Family::Any, SHORT)
        .await
        .unwrap_err();
    assert_eq!(
        fault,
        Fault::ours(
            "ours.resolver",
            "no answer from any configured resolver (127.0.0.1)"
        )
    );
}

#[tokio::test]
async fn silence_for_one_name_is_the_targets() {
    let server = NameServer::start(|name, _| match name {
        "slow.example" => Reply::Silence,
        _ => Reply::Found(&["10.0.0.1"], 60),
    })
    .await;
    let net = asking(&[&server]);
    let slow = Host::parse("slow.example").unwrap();
    let (slow, other) = tokio::join!(
        net.resolve_within(&slow, Family::V4, SHORT),
        found(&net, "a.example", Family::V4)
    );
    assert_eq!(other.unwrap(), ["10.0.0.1"]);
    assert_eq!(
        slow.unwrap_err(),
        Fault::target("timeout.resolve", "name not resolved within 300ms")
    );
}

#[tokio::test]
async fn servers_that_are_not_there_are_ours_and_known_at_once() {
    let closed = ClosedPort::udp("127.0.0.1:0");
    let net = Net::with_resolvers(Arc::new(Hand::default()), vec![closed.addr]);
    assert_eq!(code(&fault(&net, "x.example").await), "ours.resolver");
    let net = Net::with_resolvers(Arc::new(Hand::default()), Vec::new());
    let none = fault(&net, "x.example").await;
    assert!(
        none.reason().detail.contains("no name server configured"),
        "{none}"
    );
    assert_eq!(net.name_servers().unwrap_err(), none);
}

#[tokio::test]
async fn one_working_server_is_enough() {
    let good = NameServer::start(|_, _| Reply::Found(&["10.0.0.1"], 60)).await;
    let closed = ClosedPort::udp("127.0.0.1:0");
    let silent = NameServer::start(|_, _| Reply::Silence).await;
    let failing = NameServer::start(|_, _| Reply::Code(ResponseCode::ServFail)).await;
    let refusing = NameServer::start(|_, _| Reply::Code(ResponseCode::Refused)).await;
    for bad in [closed.addr, silent.addr, failing.addr, refusing.addr] {
        let net = Net::with_resolvers(Arc::new(Hand::default()), vec![bad, good.addr]);
        assert_eq!(found(&net, "x.example", Family::V4).await.unwrap(), ["10.0.0.1"]);
    }
    // What a server says counts even when the other one is silent.
    let net = asking(&[&failing, &silent]);
    let host = Host::parse("x.example").unwrap();
    let fault = net.resolve_within(&host, Family::V4, SHORT).await.unwrap_err();
    assert_eq!(code(&fault), "dns.servfail");
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    let server = NameServer::start(|_, before| match before {
        0 => Reply::Silence,
        _ => Reply::Found(&["10.0.0.1"], 60),
    })
    .await;
    assert_eq!(
        found(&asking(&[&server]), "x.example", Family::V4).await.unwrap(),
        ["10.0.0.1"]
    );
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn long_answers_come_over_tcp_and_are_bounded() {
    let server = NameServer::start(|_, _| Reply::Long(200)).await;
    let found = found(&asking(&[&server]), "x.example", Family::V4).await.unwrap();
    assert_eq!((found.len(), found[0].as_str()), (64, "10.9.8.1"));
}

#[tokio::test]
async fn strangers_are_not_believed() {
    let server = NameServer::start(|_, _| Reply::Spoofed("10.0.0.1")).await;
    assert_eq!(
        found(&asking(&[&server]), "x.example", Family::V4).await.unwrap(),
        ["10.0.0.1"]
    );
}

#[tokio::test]
async fn aliases_are_followed_but_not_in_circles() {
    let server = NameServer::start(|name, _| match name {
        "chain.example" => Reply::Aliases(&["b.example.", "c.example."], "10.0.0.1"),
        _ => Reply::Aliases(&["b.example.", "circle.example."], "10.0.0.1"),
    })
    .await;
    let clock = Arc::new(Hand::default());
    let net = Net::with_resolvers(clock.clone(), vec![server.addr]);
    assert_eq!(
        found(&net, "chain.example", Family::V4).await.unwrap(),
        ["10.0.0.1"]
    );
    clock.advance(Duration::from_secs(9)); // the alias' TTL
    assert_eq!(
        found(&net, "chain.example", Family::V4).await.unwrap(),
        ["10.0.0.1"]
    );
    assert_eq!(server.asked(), 2);
    // The address belongs to circle.example itself, so it counts; without it the circle ends.
    assert_eq!(
        found(&net, "circle.example", Family::V4).await.unwrap(),
        ["10.0.0.1"]
    );
    assert_eq!(
        code(&found(&net, "circle.example", Family::V6).await.unwrap_err()),
        "dns.nodata"
    );
}

#[tokio::test]
async fn families_are_kept_apart_and_joined() {
    let server = NameServer::start(|name, _| match name {
        "four.example" => Reply::Found(&["10.0.0.1"], 60),
        "none.example" => Reply::Code(ResponseCode::NoError),
        "gone.example" => Reply::Code(ResponseCode::NXDomain),
        _ => Reply::Found(&["10.0.0.1", "10.0.0.2", "::1"], 60),
    })
    .await;
    let net = asking(&[&server]);
    assert_eq!(
        found(&net, "x.example", Family::V4).await.unwrap(),
        ["10.0.0.1", "10.0.0.2"]
    );
    assert_eq!(found(&net, "x.example", Family::V6).await.unwrap(), ["::1"]);
    assert_eq!(
        found(&net, "x.example", Family::Any).await.unwrap(),
        ["::1", "10.0.0.1", "10.0.0.2"]
    );
    assert_eq!(
        found(&net, "four.example", Family::Any).await.unwrap(),
        ["10.0.0.1"]
    );
    let none = found(&net, "none.example", Family::Any).await.unwrap_err();
    assert_eq!(
        none,
        Fault::target("dns.nodata", "the name none.example has no address")
    );
    assert_eq!(
        code(&found(&net, "gone.example", Family::Any).await.unwrap_err()),
        "dns.nxdomain"
    );
    assert_eq!(
        code(&found(&net, "[::1]", Family::V4).await.unwrap_err()),
        "dns.nodata"
    );
    assert_eq!(found(&net, "[::1]", Family::Any).await.unwrap(), ["::1"]);
}

#[test]
fn what_cannot_be_reached_comes_last() {
    let clock = Arc::new(Hand::default());
    let net = Net::with_resolvers(clock.clone(), Vec::new());
    let order = |text: &[&str]| -> Vec<String> {
        let found = net
            .resolver
            .preferred(text.iter().map(|a| a.parse().unwrap()).collect());
        found.iter().map(ToString::to_string).collect()
    };
    assert_eq!(
        order(&["10.0.0.2", "10.0.0.1", "::1"]),
        ["::1", "10.0.0.2", "10.0.0.1"]
    );
    // Link-local without a zone: the connect call refuses it.
    assert_eq!(order(&["fe80::1", "10.0.0.1"]), ["10.0.0.1", "fe80::1"]);
    // The answer holds for its network for a while; one family alone asks for none.
    assert_eq!(
        order(&["2001:db8::2", "2001:db8::1"]),
        ["2001:db8::2", "2001:db8::1"]
    );
    assert_eq!(net.resolver.state().routes.len(), 2);
    for (_, reached) in net.resolver.state().routes.values_mut() {
        *reached = !*reached;
    }
    for (wait, first) in [(0, "10.0.0.1"), (4, "10.0.0.1"), (1, "::1")] {
        clock.advance(Duration::from_secs(wait));
        assert_eq!(order(&["::1", "10.0.0.1"])[0], first, "{wait}");
    }
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let server = NameServer::start(|name, _| match name {
        "gone.example" => Reply::Code(ResponseCode::NXDomain),
        _ => Reply::Found(&["10.0.0.1"], 60),
    })
    .await;
    let net = asking(&[&server]);
    for (name, total) in [("x.example", 1), ("gone.example", 2)] {
        let mut all = JoinSet::new();
        for _ in 0..1000 {
            let net = net.clone();
            all.spawn(async move { found(&net, name, Family::V4).await });
        }
        for result in all.join_all().await {
            assert_eq!(result.is_ok(), name == "x.example");
        }
        assert_eq!(server.asked(), total, "{name}");
    }
    let closed = ClosedPort::udp("127.0.0.1:0");
    let net = Net::with_resolvers(Arc::new(Hand::default()), vec![closed.addr]);
    let (a, b) = tokio::join!(fault(&net, "x.example"), fault(&net, "x.example"));
    assert_eq!((code(&a), &a), ("ours.resolver", &b));
}

#[tokio::test]
async fn who_has_more_time_asks_on() {
    let server = NameServer::start(|_, before| match before {
        0 => Reply::Silence,
        _ => Reply::Found(&["10.0.0.1"], 60),
    })
    .await;
    let net = asking(&[&server]);
    let host = Host::parse("x.example").unwrap();
    let hasty = net.resolve_within(&host, Family::V4, Duration::from_millis(100));
    let (hasty, patient) = tokio::join!(hasty, found(&net, "x.example", Family::V4));
    assert_eq!(code(&hasty.unwrap_err()), "ours.resolver");
    assert_eq!(patient.unwrap(), ["10.0.0.1"]);
    // One who leaves in the middle takes nobody along.
    let server = NameServer::start(|_, before| match before {
        0 => Reply::Silence,
        _ => Reply::Found(&["10.0.0.1"], 60),
    })
    .await;
    let net = asking(&[&server]);
    let mut leaving = Box::pin(found(&net, "x.example", Family::V4));
    assert!(timeout(Duration::from_millis(50), &mut leaving).await.is_err());
    let mut staying = Box::pin(found(&net, "x.example", Family::V4));
    assert!(timeout(Duration::from_millis(1), &mut staying).await.is_err());
    drop(leaving);
    assert_eq!(staying.await.unwrap(), ["10.0.0.1"]);
}

#[tokio::test]
async fn localhost_needs_nobody() {
    let net = Net::with_resolvers(Arc::new(Hand::default()), Vec::new());
    assert_eq!(
        found(&net, "localhost", Family::Any).await.unwrap(),
        ["127.0.0.1", "::1"]
    );
    assert_eq!(found(&net, "a.localhost", Family::V6).await.unwrap(), ["::1"]);
    // With the files of this machine, whatever they say.
    assert!(found(&self::net(), "localhost", Family::V4).await.unwrap()[0].starts_with("127."));
}

fn with_files(clock: &Arc<Hand>, dir: &Path) -> Net {
    let files = Files {
        resolv_conf: dir.join("resolv.conf"),
        hosts: dir.join("hosts"),
    };
    let resolver = Resolver::from_files(clock.clone(), files);
    Net::with(clock.clone(), resolver)
}

#[tokio::test]
async fn files_are_read_again_when_they_change() {
    let old = NameServer::start(|_, _| Reply::Found(&["10.0.0.1"], 600)).await;
    let new = NameServer::start(|_, _| Reply::Found(&["10.0.0.2"], 600)).await;
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Hand::default()));
    let net = with_files(&clock, dir.path());
    // Nothing is there: an error of ours, not of starting.
    assert_eq!(code(&fault(&net, "x.example").await), "ours.resolver");
    let conf = dir.path().join("resolv.conf");
    fs::write(&conf, format!("nameserver {}\n", old.addr)).unwrap();
    // After a failure the files are read at once.
    assert_eq!(found(&net, "x.example", Family::V4).await.unwrap(), ["10.0.0.1"]);
    assert_eq!(net.name_servers().unwrap(), [old.addr]);
    fs::write(&conf, format!("# moved\nnameserver {}\n", new.addr)).unwrap();
    assert_eq!(found(&net, "x.example", Family::V4).await.unwrap(), ["10.0.0.1"]);
    clock.advance(FILES_EVERY);
    assert_eq!(found(&net, "x.example", Family::V4).await.unwrap(), ["10.0.0.2"]);
    fs::write(dir.path().join("hosts"), "10.0.0.3 x.example other\n").unwrap();
    clock.advance(FILES_EVERY);
    assert_eq!(found(&net, "x.example", Family::Any).await.unwrap(), ["10.0.0.3"]);
}

#[tokio::test]
async fn endings_are_tried_for_short_names_alone() {
    let server = NameServer::start(|name, _| match name {
        "web.b.example" | "gone.net.b.example" => Reply::Found(&["10.0.0.1"], 60),
        "half.a.example" => Reply::Code(ResponseCode::NoError),
        _ => Reply::Code(ResponseCode::NXDomain),
    })
    .await;
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(Hand::default()));
    let conf = format!("nameserver {}\nsearch a.example b.example\n", server.addr);
    fs::write(dir.path().join("resolv.conf"), conf).unwrap();
    let net = with_files(&clock, dir.path());
    assert_eq!(found(&net, "web", Family::V4).await.unwrap(), ["10.0.0.1"]);
    assert_eq!(code(&fault(&net, "gone.net").await), "dns.nxdomain");
    assert_eq!(code(&fault(&net, "nowhere").await), "dns.nxdomain");
    assert_eq!(code(&fault(&net, "half").await), "dns.nodata");
}

#[tokio::test]
async fn the_cache_is_bounded() {
    let server = NameServer::start(|_, _| Reply::Found(&["10.0.0.1"], 60)).await;
    let net = asking(&[&server]);
    let answer = Answer {
        found: Err(Negative::NoData),
        ttl: Duration::from_secs(5),
    };
    for i in 0..=CACHE_MAX {
        net.resolver.keep((format!("n{i}"), RecordType::A), &answer);
    }
    assert_eq!(net.resolver.state().cache.len(), 1);
}
