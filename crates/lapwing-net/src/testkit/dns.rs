//! A name server that follows a script, on UDP and TCP of one port.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use hickory_proto::{
    op::{Message, OpCode, Query, ResponseCode},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{CNAME, SOA},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

/// What the server does with a question.
#[derive(Clone)]
pub(crate) enum Reply {
    /// These addresses with this TTL; those of the other family are left out.
    Found(&'static [&'static str], u32),
    /// CNAMEs in turn, then the address.
    Aliases(&'static [&'static str], &'static str),
    Code(ResponseCode),
    /// Cut short over UDP, this many addresses over TCP.
    Long(u8),
    /// Answers that are not to be believed, then the address.
    Spoofed(&'static str),
    Silence,
}

/// A running name server; it ends when it is dropped.
pub(crate) struct NameServer {
    pub(crate) addr: SocketAddr,
    asked: Arc<AtomicUsize>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl NameServer {
    /// `script` gets the name without its final dot, and how often it was asked before.
    pub(crate) async fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let script = Arc::new(script);
        let asked = Arc::new(AtomicUsize::new(0));
        let (udp, tcp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let addr = udp.local_addr().unwrap();
        let tasks = [
            tokio::spawn(over_udp(udp, script.clone(), asked.clone())),
            tokio::spawn(over_tcp(tcp, script, asked.clone())),
        ];
        Self { addr, asked, tasks }
    }

    /// How many questions came.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn over_udp(
    socket: UdpSocket,
    script: Arc<impl Fn(&str, usize) -> Reply + Send + Sync + 'static>,
    asked: Arc<AtomicUsize>,
) {
    let mut buffer = [0; 4096];
    while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
        let (query, reply) = scripted(&buffer[..len], &*script, &asked);
        for packet in packets(&query, &reply, false) {
            socket.send_to(&packet, from).await.unwrap();
        }
    }
}

async fn over_tcp(
    listener: TcpListener,
    script: Arc<impl Fn(&str, usize) -> Reply + Send + Sync + 'static>,
    asked: Arc<AtomicUsize>,
) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let mut buffer = vec![0; stream.read_u16().await.unwrap().into()];
        stream.read_exact(&mut buffer).await.unwrap();
        let (query, reply) = scripted(&buffer, &*script, &asked);
        for packet in packets(&query, &reply, true) {
            stream.write_u16(packet.len() as u16).await.unwrap();
            stream.write_all(&packet).await.unwrap();
        }
    }
}

fn scripted(bytes: &[u8], script: &impl Fn(&str, usize) -> Reply, asked: &AtomicUsize) -> (Message, Reply) {
    let query = Message::from_vec(bytes).unwrap();
    let name = query.queries[0].name().to_string();
    let reply = script(name.trim_end_matches('.'), asked.fetch_add(1, Ordering::SeqCst));
    (query, reply)
}

fn packets(query: &Message, reply: &Reply, tcp: bool) -> Vec<Vec<u8>> {
    let question = &query.queries[0];
    let mut answer = Message::response(query.id, OpCode::Query);
    answer.add_query(question.clone());
    match reply {
        Reply::Silence => return Vec::new(),
        Reply::Code(code) => {
            answer.metadata.response_code = *code;
            let root = Name::root();
            let soa = SOA::new(root.clone(), root.clone(), 1, 60, 60, 60, 3);
            answer.add_authority(Record::from_rdata(root, 900, RData::SOA(soa)));
        }
        Reply::Found(addresses, ttl) => {
            answer.add_answers(
                addresses
                    .iter()
                    .filter_map(|a| address(question, question.name(), a, *ttl)),
            );
        }
        Reply::Aliases(names, addr) => {
            let mut owner = question.name().clone();
            for name in *names {
                let target = Name::from_ascii(name).unwrap();
                answer.add_answer(Record::from_rdata(owner, 9, RData::CNAME(CNAME(target.clone()))));
                owner = target;
            }
            answer.add_answers(address(question, &owner, addr, 60));
        }
        Reply::Long(_) if !tcp => answer.metadata.truncation = true,
        Reply::Long(count) => {
            let addresses = (1..=*count).map(|i| format!("10.9.8.{i}"));
            answer.add_answers(addresses.filter_map(|a| address(question, question.name(), &a, 60)));
        }
        Reply::Spoofed(addr) => return spoofed(answer, question, addr),
    }
    vec![answer.to_vec().unwrap()]
}

fn spoofed(answer: Message, question: &Query, addr: &str) -> Vec<Vec<u8>> {
    let stranger = "10.66.66.66";
    let mut wrong_id = answer.clone();
    wrong_id.metadata.id ^= 1;
    wrong_id.add_answers(address(question, question.name(), stranger, 60));
    let mut wrong_name = answer.clone();
    wrong_name.queries[0].set_name(Name::from_ascii("other.example.").unwrap());
    wrong_name.add_answers(address(question, question.name(), stranger, 60));
    let mut question_back = answer.clone().to_vec().unwrap();
    question_back[2] &= 0x7f;
    let mut cut = answer.clone().to_vec().unwrap();
    cut.truncate(13);
    // In the right answer, an address that belongs to another name.
    let mut right = answer;
    right.add_answers(address(
        question,
        &Name::from_ascii("stranger.example.").unwrap(),
        stranger,
        60,
    ));
    right.add_answers(address(question, question.name(), addr, 60));
    let messages = [wrong_id, wrong_name].map(|m| m.to_vec().unwrap());
    let bytes = [question_back, cut, b"\xff\xff".to_vec(), right.to_vec().unwrap()];
    messages.into_iter().chain(bytes).collect()
}

fn address(question: &Query, owner: &Name, addr: &str, ttl: u32) -> Option<Record> {
    let addr: IpAddr = addr.parse().unwrap();
    let kind = if addr.is_ipv4() {
        RecordType::A
    } else {
        RecordType::AAAA
    };
    (kind == question.query_type()).then(|| Record::from_rdata(owner.clone(), ttl, RData::from(addr)))
}
