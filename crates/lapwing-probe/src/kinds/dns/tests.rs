use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Edns, OpCode, Query},
    rr::{
        Name,
        rdata::{A, CNAME, MX, NS, PTR, TXT},
    },
};
use lapwing_core::{
    monitor::{Family, ProbeSettings},
    observation::Sample,
};
use lapwing_net::Net;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

use super::*;
use crate::testkit::{
    Ask, Closed, FAMILIES, MachineClock, Row, all, detail, fact, loopback, phases, verdict,
};

/// What a server sends for a query; the flag tells that it came over TCP. Nothing to send over TCP closes.
type Script = Arc<dyn Fn(&Message, bool) -> Vec<Vec<u8>> + Send + Sync>;

/// A scripted name server on UDP and TCP of one port.
struct Server {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Server {
    async fn start<F>(family: Family, script: F) -> Self
    where
        F: Fn(&Message, bool) -> Vec<Vec<u8>> + Send + Sync + 'static,
    {
        let script: Script = Arc::new(script);
        for _ in 0..100 {
            if let Some(server) = Self::at(loopback(family), &script).await {
                return server;
            }
        }
        panic!("no port is free for TCP and UDP");
    }

    async fn at(address: SocketAddr, script: &Script) -> Option<Self> {
        let listener = TcpListener::bind(address).await.ok()?;
        let address = listener.local_addr().ok()?;
        let socket = UdpSocket::bind(address).await.ok()?;
        let tasks = [
            tokio::spawn(serve_udp(socket, script.clone())),
            tokio::spawn(serve_tcp(listener, script.clone())),
        ];
        Some(Self { address, tasks })
    }

    fn ask(&self, rest: &str) -> Ask {
        Ask::new(format!("dns://{}/{rest}", self.address))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn serve_udp(socket: UdpSocket, script: Script) {
    let mut buffer = [0; 2048];
    while let Ok((count, from)) = socket.recv_from(&mut buffer).await {
        let query = Message::from_vec(&buffer[..count]).unwrap();
        for answer in script(&query, false) {
            socket.send_to(&answer, from).await.unwrap();
        }
    }
}

async fn serve_tcp(listener: TcpListener, script: Script) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut query = vec![0; usize::from(stream.read_u16().await.unwrap())];
        stream.read_exact(&mut query).await.unwrap();
        for answer in script(&Message::from_vec(&query).unwrap(), true) {
            stream.write_u16(answer.len() as u16).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    }
}

fn reply(query: &Message) -> Message {
    let mut message = Message::response(query.metadata.id, OpCode::Query);
    message.metadata.recursion_available = true;
    message.add_queries(query.queries.iter().cloned());
    message
}

fn name(text: &str) -> Name {
    text::read_name(text).unwrap()
}

fn with(query: &Message, ttl: u32, datas: impl IntoIterator<Item = RData>) -> Message {
    let mut message = reply(query);
    for data in datas {
        message.add_answer(Record::from_rdata(query.queries[0].name.clone(), ttl, data));
    }
    message
}

fn addresses(query: &Message, last: &[u8]) -> Vec<u8> {
    bytes(&with(
        query,
        300,
        last.iter().map(|n| RData::A(A::new(192, 0, 2, *n))),
    ))
}

fn bytes(message: &Message) -> Vec<u8> {
    message.to_vec().unwrap()
}

/// A server that gives `192.0.2.N` for each of `last`.
async fn giving(family: Family, last: &'static [u8]) -> Server {
    Server::start(family, move |query, _| vec![addresses(query, last)]).await
}

async fn coded(family: Family, code: ResponseCode) -> Server {
    Server::start(family, move |query, _| {
        let mut message = reply(query);
        message.metadata.response_code = code;
        vec![bytes(&message)]
    })
    .await
}

fn row(
    name: impl Into<String>,
    server: Server,
    rest: &str,
    verdict: &'static str,
    detail: &'static str,
) -> Row {
    let ask = server.ask(rest).millis(1500);
    Row {
        name: name.into(),
        ask,
        verdict,
        detail,
        peer: Box::new(server),
    }
}

#[tokio::test]
async fn response_codes() {
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (code, rest, verdict, detail) in [
            (
                ResponseCode::NXDomain,
                "x.example",
                "down dns.nxdomain",
                "x.example does not exist (NXDOMAIN)",
            ),
            (
                ResponseCode::ServFail,
                "x.example",
                "down dns.servfail",
                "the server could not answer for x.example (SERVFAIL)",
            ),
            (
                ResponseCode::Refused,
                "x.example",
                "down dns.refused",
                "the server refused to answer for x.example (REFUSED)",
            ),
            (
                ResponseCode::NotImp,
                "x.example",
                "down dns.rcode",
                "response code NOTIMP, expected NOERROR",
            ),
            (
                ResponseCode::Unknown(13),
                "x.example",
                "down dns.rcode",
                "response code RCODE13, expected NOERROR",
            ),
            (ResponseCode::NXDomain, "x.example?rcode=NXDOMAIN", "up", ""),
            (ResponseCode::FormErr, "x.example?rcode=formerr", "up", ""),
            (
                ResponseCode::NoError,
                "x.example?rcode=NXDOMAIN",
                "down dns.rcode",
                "response code NOERROR, expected NXDOMAIN",
            ),
            (
                ResponseCode::ServFail,
                "x.example?rcode=NXDOMAIN",
                "down dns.servfail",
                "(SERVFAIL), expected NXDOMAIN",
            ),
            (
                ResponseCode::NoError,
                "x.example?type=ANY",
                "down dns.nodata",
                "x.example has no record",
            ),
            (
                ResponseCode::NoError,
                "x.example?type=AAAA",
                "down dns.nodata",
                "x.example has no AAAA record",
            ),
        ] {
            rows.push(row(
                format!("{family:?} {code:?} {rest}"),
                coded(family, code).await,
                rest,
                verdict,
                detail,
            ));
        }
    }
    all(rows).await;
}

#[tokio::test]
async fn expectations() {
    let mut rows = Vec::new();
    for family in FAMILIES {
        for (last, rest, verdict, detail) in [
            (&[9, 10][..], "", "up", ""),
            (&[9, 10], "&expect=192.0.2.10", "up", ""),
            (&[9, 10], "&expect=192.0.2.1,192.0.2.9", "up", ""),
            (
                &[9, 10],
                "&expect=192.0.2.1",
                "down dns.mismatch",
                "expected 192.0.2.1, got 192.0.2.10, 192.0.2.9",
            ),
            (
                &[9],
                "&expect=192.0.2.1,192.0.2.2",
                "down dns.mismatch",
                "expected one of 192.0.2.1, 192.0.2.2, got 192.0.2.9",
            ),
            (&[9, 10], "&match=all&expect=192.0.2.9", "up", ""),
            (
                &[9],
                "&match=all&expect=192.0.2.9,192.0.2.10",
                "down dns.mismatch",
                "expected all of 192.0.2.10, 192.0.2.9, got",
            ),
            (&[9, 10, 9], "&match=exact&expect=192.0.2.10,192.0.2.9", "up", ""),
            (
                &[9, 10],
                "&match=exact&expect=192.0.2.9",
                "down dns.mismatch",
                "expected exactly 192.0.2.9, got 192.0.2.10, 192.0.2.9",
            ),
            (
                &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
                "&expect=192.0.2.99",
                "down dns.mismatch",
                "192.0.2.7 and 2 more",
            ),
        ] {
            let rest = format!("www.example.com?type=A{rest}");
            rows.push(row(
                format!("{family:?} {rest}"),
                giving(family, last).await,
                &rest,
                verdict,
                detail,
            ));
        }
    }
    all(rows).await;
}

#[tokio::test]
async fn failures_of_the_server() {
    let mut rows = Vec::new();
    for family in FAMILIES {
        let malformed = Server::start(family, |query, _| {
            let mut answer = addresses(query, &[1]);
            answer.truncate(answer.len() - 2);
            vec![answer]
        });
        let closing = Server::start(family, |_, _| Vec::new());
        let half = Server::start(family, |query, _| vec![addresses(query, &[1])[..20].to_vec()]);
        let always_cut = Server::start(family, |query, _| {
            let mut message = reply(query);
            message.metadata.truncation = true;
            vec![bytes(&message)]
        });
        let (www, www_tcp) = ("www.example.com", "www.example.com?transport=tcp");
        rows.extend([
            row(
                "malformed",
                malformed.await,
                www,
                "down dns.malformed",
                "malformed answer: ",
            ),
            row(
                "closing",
                closing.await,
                www_tcp,
                "down connect.closed",
                "closed the connection before",
            ),
            row(
                "half over TCP",
                half.await,
                www_tcp,
                "down dns.malformed",
                "malformed answer: ",
            ),
            row(
                "cut over TCP",
                always_cut.await,
                www,
                "down dns.malformed",
                "truncated, though it came over TCP",
            ),
        ]);
        for (closed, rest) in [(Closed::new(family), www), (Closed::new(family), www_tcp)] {
            let ask = Ask::new(closed.url("dns") + "/" + rest);
            let name = format!("{family:?} closed {rest}");
            rows.push(Row {
                name,
                ask,
                verdict: "down connect.refused",
                detail: "refused",
                peer: Box::new(closed),
            });
        }
        let silent = Server::start(family, |_, _| Vec::new()).await;
        let ask = silent.ask(www).millis(150);
        rows.push(Row {
            name: "silent".into(),
            ask,
            verdict: "down timeout.answer",
            detail: "no answer within 150ms",
            peer: Box::new(silent),
        });
    }
    all(rows).await;
}

#[tokio::test]
async fn what_answers_another_question_is_ignored() {
    for family in FAMILIES {
        let server = Server::start(family, |query, _| {
            let mut other_id = query.clone();
            other_id.metadata.id ^= 1;
            let mut other_name = query.clone();
            other_name.queries = vec![Query::query(name("evil.example"), RecordType::A)];
            let garbage = vec![0xff; 3];
            vec![
                addresses(&other_id, &[66]),
                addresses(&other_name, &[66]),
                garbage,
                bytes(query),
                addresses(query, &[1]),
            ]
        })
        .await;
        for transport in ["udp", "tcp"] {
            let found = server
                .ask("www.example.com")
                .option("transport", transport)
                .option("expect", "192.0.2.1")
                .observe()
                .await;
            assert_eq!(verdict(&found), "up", "{found:?}");
            assert_eq!(
                (fact(&found, "dns.ignored"), fact(&found, "dns.transport")),
                ("4".into(), transport.into())
            );
        }
    }
}

#[tokio::test]
async fn forgeries_alone_never_end_the_wait() {
    let server = Server::start(Family::V4, |query, _| {
        let forged = |n| {
            let mut query = query.clone();
            query.metadata.id = query.metadata.id.wrapping_add(n);
            addresses(&query, &[66])
        };
        (1..200).map(forged).collect()
    })
    .await;
    let found = server.ask("www.example.com").millis(200).observe().await;
    assert_eq!(verdict(&found), "down timeout.answer");
    assert_eq!(fact(&found, "dns.ignored"), "199");
}

#[tokio::test]
async fn a_truncated_answer_is_fetched_over_tcp() {
    for family in FAMILIES {
        let server = Server::start(family, |query, tcp| {
            if tcp {
                let many = (0..2000u32).map(|n| RData::A(A(Ipv4Addr::from(0x0a00_0000 + n))));
                return vec![bytes(&with(query, 60, many))];
            }
            let mut cut = with(query, 60, [RData::A(A::new(10, 0, 0, 0))]);
            cut.metadata.truncation = true;
            let mut cut = bytes(&cut);
            cut.truncate(cut.len() - 3);
            vec![cut]
        })
        .await;
        let found = server.ask("big.example?expect=10.0.7.207").observe().await;
        assert_eq!(verdict(&found), "up", "{}", detail(&found));
        assert_eq!(
            (fact(&found, "dns.count"), fact(&found, "dns.transport")),
            ("2000".into(), "tcp".into())
        );
        assert!(fact(&found, "dns.answers").len() <= 1024);
        assert_eq!(phases(&found), ["answer", "connect"]);
    }
}

#[tokio::test]
async fn a_truncated_answer_without_tcp_says_so() {
    let peer = crate::testkit::Datagrams::answer(Family::V4, |query| {
        let mut cut = reply(&Message::from_vec(query).unwrap());
        cut.metadata.truncation = true;
        vec![bytes(&cut)]
    });
    let found = Ask::new(peer.await.url("dns") + "/big.example").observe().await;
    assert_eq!(verdict(&found), "down connect.refused");
    assert!(
        detail(&found).starts_with("the answer needs TCP: "),
        "{}",
        detail(&found)
    );
}

#[tokio::test]
async fn a_server_from_before_edns_is_asked_again() {
    let server = Server::start(Family::V4, |query, _| {
        if query.edns.is_none() {
            return vec![addresses(query, &[1])];
        }
        let mut message = reply(query);
        message.metadata.response_code = ResponseCode::FormErr;
        vec![bytes(&message)]
    })
    .await;
    assert_eq!(verdict(&server.ask("www.example.com").observe().await), "up");
    let broken = Server::start(Family::V4, |query, _| {
        let mut message = reply(query);
        message.metadata.response_code = ResponseCode::FormErr;
        message.set_edns(Edns::new());
        vec![bytes(&message)]
    })
    .await;
    let found = broken.ask("www.example.com").observe().await;
    assert_eq!(detail(&found), "response code FORMERR, expected NOERROR");
}

#[tokio::test]
async fn facts_of_an_answer() {
    let server = Server::start(Family::V6, |query, _| {
        let mut message = with(
            query,
            300,
            [
                RData::MX(MX::new(20, name("B.example"))),
                RData::MX(MX::new(10, name("a.example."))),
            ],
        );
        message.answers[1].ttl = 60;
        message.metadata.authoritative = true;
        message.metadata.authentic_data = query.metadata.authentic_data;
        vec![bytes(&message)]
    })
    .await;
    let found = server.ask("example.com?type=mx").observe().await;
    assert_eq!(verdict(&found), "up");
    assert_eq!(phases(&found), ["answer"]);
    for (name, value) in [
        ("dns.answers", "10 a.example, 20 b.example"),
        ("dns.count", "2"),
        ("dns.rcode", "NOERROR"),
        ("dns.ttl", "60"),
        ("dns.authoritative", "true"),
        ("dns.ad", "true"),
        ("dns.transport", "udp"),
        ("dns.server", &server.address.to_string()),
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

#[tokio::test]
async fn aliases_lead_to_the_records_and_strangers_do_not() {
    let server = Server::start(Family::V4, |query, _| {
        let mut message = with(query, 60, [RData::CNAME(CNAME(name("one.example")))]);
        for (owner, data) in [
            ("stranger.example", RData::A(A::new(192, 0, 2, 66))),
            ("two.example", RData::A(A::new(192, 0, 2, 2))),
            ("ONE.example", RData::CNAME(CNAME(name("two.example")))),
            ("two.example", RData::CNAME(CNAME(name("one.example")))),
        ] {
            message.add_answer(Record::from_rdata(name(owner), 60, data));
        }
        vec![bytes(&message)]
    })
    .await;
    let found = server.ask("www.example.com").observe().await;
    assert_eq!(
        (verdict(&found), fact(&found, "dns.answers")),
        ("up".into(), "192.0.2.2".into())
    );
    let found = server
        .ask("www.example.com?type=CNAME&expect=One.Example.")
        .observe()
        .await;
    assert_eq!(verdict(&found), "up", "{}", detail(&found));
}

#[tokio::test]
async fn a_referral_is_no_data() {
    let server = Server::start(Family::V4, |query, _| {
        let mut message = reply(query);
        message.add_authority(Record::from_rdata(
            name("example.com"),
            60,
            RData::NS(NS(name("ns.example.com"))),
        ));
        vec![bytes(&message)]
    })
    .await;
    let found = server.ask("www.example.com").observe().await;
    assert_eq!(
        detail(&found),
        "www.example.com has no A record: the server refers to other servers"
    );
}

#[tokio::test]
async fn reverse_names_and_classes() {
    let server = Server::start(Family::V4, |query, _| {
        let asked = &query.queries[0];
        let data = match (asked.query_type(), text::name_text(asked.name()).as_str()) {
            (RecordType::PTR, "80.2.0.192.in-addr.arpa") => RData::PTR(PTR(name("v4.example."))),
            (RecordType::PTR, ptr)
                if ptr.starts_with("1.0.0.0.") && ptr.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa") =>
            {
                RData::PTR(PTR(name("v6.example.")))
            }
            (RecordType::TXT, "commas.example") => RData::TXT(TXT::new(vec!["a,b; c".into()])),
            (RecordType::TXT, "version.bind") => RData::TXT(TXT::new(vec!["9.".into(), "20".into()])),
            _ => return vec![bytes(&reply(query))],
        };
        let mut message = with(query, 0, [data]);
        message.answers[0].dns_class = asked.query_class();
        vec![bytes(&message)]
    })
    .await;
    for (rest, expect) in [
        ("192.0.2.80?type=PTR", "v4.example"),
        ("2001:db8::1?type=PTR", "v6.example"),
        ("commas.example?type=TXT", "a,b; c"),
        ("version.bind?type=TXT&class=CH", "9.20"),
        ("version%2Ebind?type=TXT;class=ch", "9.20"),
    ] {
        let found = server.ask(rest).option("expect", expect).observe().await;
        assert_eq!(verdict(&found), "up", "{rest}: {}", detail(&found));
    }
}

#[test]
fn bad_targets_and_options() {
    for (url, options, message, hint) in [
        ("dns://192.0.2.1", &[][..], "lacks the name", "dns://"),
        ("dns:", &[], "lacks the name", ""),
        ("dns://192.0.2.1/a..b", &[], "is not a domain name", ""),
        ("dns://192.0.2.1/%f", &[], "lacks the name", ""),
        ("dns://192.0.2.1/192.0.2.80", &[], "is an address", "type=PTR"),
        (
            "dns://192.0.2.1/a.b",
            &[("type", "AAA")],
            "not a record type",
            "did you mean \"AAAA\"?",
        ),
        (
            "dns://192.0.2.1/a.b",
            &[("type", "AXFR")],
            "not a record type",
            "",
        ),
        (
            "dns://192.0.2.1/a.b",
            &[("class", "XX")],
            "not known",
            "IN, CH, HS",
        ),
        (
            "dns://192.0.2.1/a.b",
            &[("rcode", "NXDOMAINE")],
            "not known",
            "NXDOMAIN",
        ),
        ("dns://192.0.2.1/a.b", &[("transport", "tls")], "not known", ""),
        (
            "dns://192.0.2.1/a.b",
            &[("expect", "x.y")],
            "not an IPv4 address",
            "",
        ),
        (
            "dns://192.0.2.1/a.b",
            &[("rcode", "NXDOMAIN"), ("expect", "192.0.2.1")],
            "no answers to look at",
            "leave out",
        ),
        (
            "dns://192.0.2.1/a.b",
            &[("expcet", "x")],
            "no option",
            "did you mean \"expect\"?",
        ),
    ] {
        let ask = options
            .iter()
            .fold(Ask::new(url), |ask, (name, value)| ask.option(name, *value));
        let errors = ask.errors();
        assert_eq!(errors.len(), 1, "{url} {options:?}: {errors:?}");
        assert!(
            errors[0].message.contains(message),
            "{url} {options:?}: {}",
            errors[0].message
        );
        assert!(
            errors[0].hint.clone().unwrap_or_default().contains(hint),
            "{url} {options:?}: {:?}",
            errors[0].hint
        );
    }
}

#[test]
fn the_examples_are_targets() {
    for example in INFO.examples {
        let target = Target::parse(example, &[&INFO]).unwrap();
        assert!(options::read(&target, &target.options).is_ok(), "{example}");
    }
}

/// Asks the "system's" servers: these addresses, all on one port.
async fn observe_system(addresses: &[&str], port: u16, timeout: u64) -> (Verdict, Sample) {
    let target = Target::parse("dns:www.example.com", &[&INFO]).unwrap();
    let probe = options::read(&target, &target.options).unwrap();
    let servers = addresses
        .iter()
        .map(|a| SocketAddr::new(a.parse().unwrap(), port));
    let net = Net::with_resolvers(Arc::new(MachineClock::new()), servers.collect());
    let settings = ProbeSettings {
        timeout: Duration::from_millis(timeout),
        family: Family::V4,
        ..ProbeSettings::default()
    };
    let cx = Cx::new(&net, &settings, net.clock().now(), None);
    let verdict = tokio::time::timeout(settings.timeout, probe.run(&cx))
        .await
        .expect("ends by itself");
    (verdict, cx.into_record().0)
}

/// Servers at 127.0.0.1, 127.0.0.2 … on one port, each with its script.
async fn servers(scripts: &[Script]) -> (Vec<Server>, u16) {
    for _ in 0..100 {
        let mut servers: Vec<Server> = Vec::new();
        for (n, script) in scripts.iter().enumerate() {
            let port = servers.first().map_or(0, |s| s.address.port());
            servers.extend(Server::at((Ipv4Addr::new(127, 0, 0, 1 + n as u8), port).into(), script).await);
        }
        if servers.len() == scripts.len() {
            let port = servers[0].address.port();
            return (servers, port);
        }
    }
    panic!("no port is free at every address");
}

fn failing(code: ResponseCode) -> Script {
    Arc::new(move |query, _| {
        let mut message = reply(query);
        message.metadata.response_code = code;
        vec![bytes(&message)]
    })
}

#[tokio::test]
async fn the_systems_servers_are_asked_in_turn() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let silent: Script = Arc::new(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        Vec::new()
    });
    let good: Script = Arc::new(|query, _| vec![addresses(query, &[1])]);
    let (peers, port) = servers(&[silent, good]).await;
    let (result, sample) = observe_system(&["127.0.0.1", "127.0.0.2"], port, 600).await;
    assert_eq!(result, Ok(()));
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    assert_eq!(
        sample.fact("dns.server").map(ToString::to_string),
        Some(peers[1].address.to_string())
    );
}

#[tokio::test]
async fn the_silence_of_all_servers_is_ours() {
    let silent: Script = Arc::new(|_, _| Vec::new());
    let (_peers, port) = servers(&[silent]).await;
    // Nothing listens at the second: a refusal is no answer either.
    let (result, _) = observe_system(&["127.0.0.1", "127.0.0.2"], port, 200).await;
    let Err(Fault::Ours(reason)) = result else {
        panic!("{result:?}")
    };
    assert_eq!(reason.code.as_str(), "ours.resolver");
    assert!(
        reason.detail.contains("127.0.0.1: no answer within") && reason.detail.contains("127.0.0.2: "),
        "{reason}"
    );
}

#[tokio::test]
async fn without_any_server_it_is_ours() {
    for (addresses, detail) in [
        (&[][..], "no name server configured"),
        (&["::1"], "wanted family"),
    ] {
        let (result, _) = observe_system(addresses, 53, 200).await;
        let Err(Fault::Ours(reason)) = result else {
            panic!("{result:?}")
        };
        assert!(
            reason.code.as_str() == "ours.resolver" && reason.detail.contains(detail),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn a_resolver_that_cannot_tell_is_heard_last() {
    let good: Script = Arc::new(|query, _| vec![addresses(query, &[1])]);
    let (_peers, port) = servers(&[failing(ResponseCode::ServFail), good]).await;
    assert_eq!(
        observe_system(&["127.0.0.1", "127.0.0.2"], port, 1000).await.0,
        Ok(())
    );
    let silent: Script = Arc::new(|_, _| Vec::new());
    let (_peers, port) = servers(&[failing(ResponseCode::ServFail), silent]).await;
    let (result, _) = observe_system(&["127.0.0.1", "127.0.0.2"], port, 300).await;
    assert!(
        matches!(&result, Err(Fault::Target(reason)) if reason.code.as_str() == "dns.servfail"),
        "{result:?}"
    );
    let (_peers, port) = servers(&[failing(ResponseCode::NXDomain)]).await;
    let (result, _) = observe_system(&["127.0.0.1"], port, 1000).await;
    assert!(
        matches!(&result, Err(Fault::Target(reason)) if reason.code.as_str() == "dns.nxdomain"),
        "{result:?}"
    );
}
