//! One question to one server, over UDP with EDNS(0), over TCP where the answer is too long or where it is wanted.
//!
//! Takes only what answers this question: our id, our question, from the address that was asked. All else is counted
//! and ignored, so that nobody beside the path can answer in the server's name or end the wait.

use std::net::SocketAddr;

use hickory_proto::{
    op::{Edns, Header, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Name, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};
use lapwing_core::observation::{Fault, Reason, clean};
use lapwing_net::{Moment, fault_of};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::Cx;

/// The UDP payload that we announce: what passes everywhere without fragments (DNS flag day 2020).
const PAYLOAD: u16 = 1232;

/// Largest datagram taken, whatever was announced.
const DATAGRAM_MAX: usize = 4096;

/// What is asked.
#[derive(Clone, Debug)]
pub(super) struct Question {
    pub(super) name: Name,
    pub(super) kind: RecordType,
    pub(super) class: DNSClass,
}

impl Question {
    /// The query with a fresh random id.
    fn query(&self, edns: bool) -> Result<(u16, Vec<u8>), Fault> {
        let mut query = Query::query(self.name.clone(), self.kind);
        query.set_query_class(self.class);
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        // Asks for the AD bit of the answer (RFC 6840, section 5.7).
        message.metadata.authentic_data = true;
        message.add_query(query);
        if edns {
            let mut edns = Edns::new();
            edns.set_max_payload(PAYLOAD);
            message.set_edns(edns);
        }
        let bytes = message.to_vec();
        let bytes =
            bytes.map_err(|e| Fault::ours("ours.other", format!("the query cannot be written: {e}")))?;
        Ok((message.metadata.id, bytes))
    }

    fn is(&self, query: &Query) -> bool {
        let same_name = query.name().eq_ignore_root(&self.name);
        same_name && query.query_type() == self.kind && query.query_class() == self.class
    }
}

/// An answer, and how it came.
pub(super) struct Answer {
    pub(super) message: Message,
    pub(super) server: SocketAddr,
    pub(super) transport: &'static str,
}

/// Asks one question, of one server after another, and counts what was ignored on the way.
pub(super) struct Exchange<'a, 'c> {
    cx: &'a Cx<'c>,
    question: &'a Question,
    tcp: bool,
    ignored: u32,
}

impl<'a, 'c> Exchange<'a, 'c> {
    pub(super) fn new(cx: &'a Cx<'c>, question: &'a Question, tcp: bool) -> Self {
        Self {
            cx,
            question,
            tcp,
            ignored: 0,
        }
    }

    /// Waits for the answer of `server` without an end: deadlines are the caller's.
    pub(super) async fn ask(&mut self, server: SocketAddr, expected: ResponseCode) -> Result<Answer, Fault> {
        let answer = self.ask_with(server, true).await?;
        let code = answer.message.metadata.response_code;
        // A server from before EDNS refuses the unknown record, without one of its own (RFC 6891, section 7).
        let old = code == ResponseCode::FormErr && code != expected && answer.message.edns.is_none();
        if old {
            self.ask_with(server, false).await
        } else {
            Ok(answer)
        }
    }

    async fn ask_with(&mut self, server: SocketAddr, edns: bool) -> Result<Answer, Fault> {
        if self.tcp {
            let message = self.over_tcp(server, edns).await?;
            return Ok(Answer {
                message,
                server,
                transport: "tcp",
            });
        }
        if let Some(message) = self.over_udp(server, edns).await? {
            return Ok(Answer {
                message,
                server,
                transport: "udp",
            });
        }
        let message = self.over_tcp(server, edns).await.map_err(after_truncation)?;
        Ok(Answer {
            message,
            server,
            transport: "tcp",
        })
    }

    /// None when the answer was truncated.
    async fn over_udp(&mut self, server: SocketAddr, edns: bool) -> Result<Option<Message>, Fault> {
        let (id, query) = self.question.query(edns)?;
        let socket = self.cx.net.udp(server, &self.cx.settings.source)?;
        self.cx.enter("answer");
        socket
            .send(&query)
            .await
            .map_err(|e| fault_of(&e, Moment::Call))?;
        let mut buffer = [0; DATAGRAM_MAX];
        loop {
            let count = socket
                .recv(&mut buffer)
                .await
                .map_err(|e| fault_of(&e, Moment::Later))?;
            match hear(self.question, id, &buffer[..count]) {
                Heard::Nothing => self.ignore(),
                Heard::Truncated => return Ok(None),
                Heard::Malformed(why) => return Err(malformed(&why)),
                Heard::Answer(message) => return Ok(Some(*message)),
            }
        }
    }

    /// RFC 7766.
    async fn over_tcp(&mut self, server: SocketAddr, edns: bool) -> Result<Message, Fault> {
        let (id, query) = self.question.query(edns)?;
        let (cx, later) = (self.cx, |e: std::io::Error| fault_of(&e, Moment::Later));
        let connect = cx.net.connect(server, &cx.settings.source);
        let mut stream = cx
            .limited("connect", cx.settings.connect_timeout, connect)
            .await?;
        cx.enter("answer");
        let mut framed = (query.len() as u16).to_be_bytes().to_vec();
        framed.extend(query);
        stream.write_all(&framed).await.map_err(later)?;
        loop {
            let len = stream.read_u16().await.map_err(|e| ended(&e))?;
            let mut message = vec![0; usize::from(len)];
            stream.read_exact(&mut message).await.map_err(|e| ended(&e))?;
            match hear(self.question, id, &message) {
                Heard::Nothing => self.ignore(),
                Heard::Truncated => return Err(malformed("truncated, though it came over TCP")),
                Heard::Malformed(why) => return Err(malformed(&why)),
                Heard::Answer(message) => return Ok(*message),
            }
        }
    }

    fn ignore(&mut self) {
        self.ignored = self.ignored.saturating_add(1);
        self.cx.fact("dns.ignored", self.ignored);
    }
}

fn malformed(why: &str) -> Fault {
    Fault::target("dns.malformed", format!("malformed answer: {why}"))
}

fn ended(error: &std::io::Error) -> Fault {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Fault::target(
            "connect.closed",
            "the server closed the connection before its answer was complete",
        ),
        _ => fault_of(error, Moment::Later),
    }
}

fn after_truncation(fault: Fault) -> Fault {
    let say = |reason: Reason| {
        let detail = format!("the answer needs TCP: {}", reason.detail);
        Reason {
            detail: clean(&detail, Reason::DETAIL_MAX),
            code: reason.code,
        }
    };
    match fault {
        Fault::Target(reason) => Fault::Target(say(reason)),
        Fault::Ours(reason) => Fault::Ours(say(reason)),
    }
}

/// What a message turned out to be.
#[derive(Debug)]
enum Heard {
    /// Not an answer to this question.
    Nothing,
    /// Our answer, cut short (TC).
    Truncated,
    Malformed(String),
    Answer(Box<Message>),
}

fn hear(question: &Question, id: u16, bytes: &[u8]) -> Heard {
    // The head is judged alone first: a server may cut a long answer anywhere.
    let mut decoder = BinDecoder::new(bytes);
    let Ok(header) = Header::read(&mut decoder) else {
        return Heard::Nothing;
    };
    let meta = header.metadata;
    if meta.id != id || meta.message_type != MessageType::Response || meta.op_code != OpCode::Query {
        return Heard::Nothing;
    }
    let queries = match Message::read_queries(&mut decoder, usize::from(header.counts.queries)) {
        Ok(queries) => queries,
        Err(error) => return Heard::Malformed(error.to_string()),
    };
    let ours = match &*queries {
        [query] => question.is(query),
        // Some servers leave the question out of an error.
        [] => meta.response_code != ResponseCode::NoError,
        _ => false,
    };
    if !ours {
        return Heard::Nothing;
    }
    if meta.truncation {
        return Heard::Truncated;
    }
    match Message::from_vec(bytes) {
        Ok(message) => Heard::Answer(Box::new(message)),
        Err(error) => Heard::Malformed(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::{RData, Record, rdata::A};
    use proptest::prelude::*;

    use super::*;
    use crate::kinds::dns::text::{answer_text, read_name};

    fn question() -> Question {
        Question {
            name: read_name("www.example.com").unwrap(),
            kind: RecordType::A,
            class: DNSClass::IN,
        }
    }

    fn answer(id: u16) -> Vec<u8> {
        let mut message = Message::response(id, OpCode::Query);
        message.add_query(Query::query(question().name, RecordType::A));
        message.add_answer(Record::from_rdata(
            question().name,
            60,
            RData::A(A::new(192, 0, 2, 1)),
        ));
        message.to_vec().unwrap()
    }

    #[test]
    fn the_query_is_what_dns_wants() {
        let (id, bytes) = question().query(true).unwrap();
        let mut expected = id.to_be_bytes().to_vec();
        expected.extend(b"\x01\x20\x00\x01\x00\x00\x00\x00\x00\x01"); // RD AD, one question, one additional
        expected.extend(b"\x03www\x07example\x03com\x00\x00\x01\x00\x01");
        expected.extend(b"\x00\x00\x29\x04\xd0\x00\x00\x00\x00\x00\x00"); // OPT, 1232
        assert_eq!(bytes, expected);
    }

    #[test]
    fn only_answers_to_this_question_are_heard() {
        let good = answer(7);
        assert!(matches!(hear(&question(), 7, &good), Heard::Answer(_)));
        assert!(matches!(hear(&question(), 8, &good), Heard::Nothing));
        let mut query = good.clone();
        query[2] &= 0x7f;
        assert!(matches!(hear(&question(), 7, &query), Heard::Nothing));
        let mut other = good.clone();
        other[13] = b'x';
        assert!(matches!(hear(&question(), 7, &other), Heard::Nothing));
        let mut upper = good.clone();
        upper[13] = b'W';
        assert!(matches!(hear(&question(), 7, &upper), Heard::Answer(_)));
        let mut cut = good.clone();
        cut[2] |= 2;
        cut.truncate(40);
        assert!(matches!(hear(&question(), 7, &cut), Heard::Truncated));
        assert!(matches!(
            hear(&question(), 7, b"\x00\x07\x80\x02\0\0\0\0\0\0\0\0"),
            Heard::Answer(_)
        ));
        assert!(matches!(
            hear(&question(), 7, b"\x00\x07\x80\x00\0\0\0\0\0\0\0\0"),
            Heard::Nothing
        ));
    }

    #[test]
    fn every_truncation_is_no_answer() {
        let good = answer(7);
        for len in 0..good.len() {
            let heard = hear(&question(), 7, &good[..len]);
            assert!(
                matches!(heard, Heard::Nothing | Heard::Malformed(_)),
                "{len}: {heard:?}"
            );
        }
    }

    #[test]
    fn records_without_data_are_survived() {
        for kind in 0..=300u16 {
            let mut message = answer(7);
            message.truncate(33); // header and question
            message.extend(b"\xc0\x0c");
            message.extend(kind.to_be_bytes());
            message.extend(b"\x00\x01\x00\x00\x00\x3c\x00\x00");
            let heard = hear(&question(), 7, &message);
            assert!(matches!(heard, Heard::Malformed(_)), "{kind}: {heard:?}");
        }
    }

    #[test]
    fn a_compression_loop_is_malformed() {
        let mut message = answer(7);
        message.truncate(33); // header and question
        message.extend(b"\xc0\x21\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xc0\x00\x02\x01"); // a name that points at itself
        assert!(matches!(hear(&question(), 7, &message), Heard::Malformed(_)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..600), head in any::<bool>()) {
            let mut bytes = if head { answer(7)[..33].to_vec() } else { vec![0, 7, 0x80] };
            if head {
                bytes[6..12].fill(0);
                bytes[7] = 20;
            }
            bytes.extend(body);
            if let Heard::Answer(message) = hear(&question(), 7, &bytes) {
                for record in &message.answers {
                    prop_assert!(!answer_text(RecordType::ANY, &record.data).is_empty());
                }
            }
        }

        #[test]
        fn any_record_is_survived(kind in any::<u16>(), data in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut bytes = answer(7)[..33].to_vec();
            bytes.extend(b"\xc0\x0c");
            bytes.extend(kind.rem_euclid(300).to_be_bytes());
            bytes.extend(b"\x00\x01\x00\x00\x00\x3c");
            bytes.extend((data.len() as u16).to_be_bytes());
            bytes.extend(&data);
            if let Heard::Answer(message) = hear(&question(), 7, &bytes) {
                for record in &message.answers {
                    prop_assert!(!answer_text(RecordType::ANY, &record.data).is_empty());
                }
            }
        }
    }
}
