//! Asks one name server for the addresses of one name: UDP, then TCP where the answer was cut short (RFC 1035 section
//! 4.2, RFC 7766). It waits until it is dropped, believes only answers to its own question, and keeps no state.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, MessageType, Query, ResponseCode},
    rr::{DNSClass, Name, RData, RecordType},
};
use lapwing_core::{monitor::Source, observation::Fault};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
    time::timeout,
};

use crate::{
    connect,
    error::{Moment, closed, fault_of},
};

/// A datagram unanswered for this long is sent again, then after twice as long, and so on.
const RESEND: Duration = Duration::from_millis(400);

/// Most addresses of one answer that are kept.
const ADDRESSES_MAX: usize = 64;

/// Most CNAMEs that are followed within an answer.
const ALIASES_MAX: usize = 16;

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Negative {
    NxDomain,
    NoData,
    Refused,
    /// This and every other code that says nothing about the name itself.
    ServFail,
}

impl Negative {
    /// True where another server may know better.
    pub(crate) fn is_soft(self) -> bool {
        matches!(self, Self::ServFail | Self::Refused)
    }
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Not empty when `Ok`.
    pub(crate) found: Result<Vec<IpAddr>, Negative>,
    pub(crate) ttl: Duration,
}

/// Asks `server` for the `kind` (A or AAAA) records of `name`. Silence never ends; the caller's deadline does.
pub(crate) async fn ask(server: SocketAddr, name: Name, kind: RecordType) -> Result<Answer, Fault> {
    let mut query = Message::query();
    query.metadata.recursion_desired = true;
    query.add_query(Query::query(name, kind));
    let packet = query
        .to_vec()
        .map_err(|e| Fault::ours("ours.other", format!("the name cannot be asked for: {e}")))?;
    let answer = over_udp(server, &query, &packet).await?;
    let answer = if answer.truncation {
        over_tcp(server, &query, &packet).await?
    } else {
        answer
    };
    Ok(read(&answer, &query.queries[0]))
}

async fn over_udp(server: SocketAddr, query: &Message, packet: &[u8]) -> Result<Message, Fault> {
    let socket = connect::datagram(server, &Source::Any)?;
    let mut wait = RESEND;
    loop {
        socket
            .send(packet)
            .await
            .map_err(|e| fault_of(&e, Moment::Call))?;
        if let Ok(answer) = timeout(wait, receive(&socket, query)).await {
            return answer;
        }
        wait *= 2;
    }
}

async fn receive(socket: &UdpSocket, query: &Message) -> Result<Message, Fault> {
    let mut buffer = [0; 4096];
    loop {
        let len = socket
            .recv(&mut buffer)
            .await
            .map_err(|e| fault_of(&e, Moment::Later))?;
        if let Some(answer) = matching(&buffer[..len], query) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &Message, packet: &[u8]) -> Result<Message, Fault> {
    let later = |error: std::io::Error| fault_of(&error, Moment::Later);
    let mut stream = connect::stream(server, &Source::Any).await?;
    let mut framed = (packet.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(packet);
    stream.write_all(&framed).await.map_err(later)?;
    let mut buffer = vec![0; stream.read_u16().await.map_err(later)?.into()];
    stream.read_exact(&mut buffer).await.map_err(later)?;
    matching(&buffer, query).ok_or_else(closed)
}

/// The answer to `query` that these bytes are, if they are one (RFC 5452 section 9).
fn matching(bytes: &[u8], query: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let fits = answer.id == query.id
        && answer.message_type == MessageType::Response
        && answer.queries == query.queries;
    fits.then_some(answer)
}

/// The addresses in `answer`, its CNAMEs followed.
fn read(answer: &Message, question: &Query) -> Answer {
    let negative_ttl = answer.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(record.ttl.min(soa.minimum)), // RFC 2308 section 5
        _ => None,
    });
    let negative = |negative| Answer {
        found: Err(negative),
        ttl: Duration::from_secs(negative_ttl.unwrap_or(0).into()),
    };
    match answer.response_code {
        ResponseCode::NoError => {}
        ResponseCode::NXDomain => return negative(Negative::NxDomain),
        ResponseCode::Refused => return negative(Negative::Refused),
        _ => return negative(Negative::ServFail),
    }
    let (mut name, mut ttl) = (question.name(), u32::MAX);
    for _ in 0..ALIASES_MAX {
        let records = || {
            answer
                .answers
                .iter()
                .filter(|r| r.dns_class == DNSClass::IN && r.name == *name)
        };
        let found = records().filter(|r| r.record_type() == question.query_type());
        ttl = found.clone().map(|r| r.ttl).fold(ttl, u32::min);
        let found: Vec<IpAddr> = found
            .filter_map(|r| r.data.ip_addr())
            .take(ADDRESSES_MAX)
            .collect();
        if !found.is_empty() {
            return Answer {
                found: Ok(found),
                ttl: Duration::from_secs(ttl.into()),
            };
        }
        let alias = records().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((&target.0, record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else { break };
        (name, ttl) = (target, ttl.min(alias_ttl));
    }
    negative(Negative::NoData)
}
