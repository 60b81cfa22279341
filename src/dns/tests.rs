//! The DNS service against a scripted nameserver on loopback.

mod asking;
mod failing;
mod live;
mod malformed;
mod records;
mod resolving;
mod service;
mod streams;
mod upstream;

use std::cell::RefCell;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType, rdata};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::LocalSet;

use super::*;
use crate::limits::Limits;
use crate::name::HostName;
use crate::policy::{ConnectTo, Live, NamePermit, Policy, Rule, RuleSource};

/// What the nameserver does with a question.
#[derive(Clone)]
enum Script {
    Answer(Vec<Record>),
    /// Cut over UDP, whole over TCP.
    OverTcp(Vec<Record>),
    Code(ResponseCode),
    /// Datagrams sent one after the other, each made from the question.
    Raw(Vec<fn(Message) -> Message>),
    Silence,
    /// Whatever there is to say to a question that came this way.
    Custom(Custom),
}

type Custom = Rc<dyn Fn(&Message, Transport) -> Option<Message>>;

type Log = Rc<RefCell<Vec<String>>>;

/// A nameserver on a port of its own; it ends with the `LocalSet` it was started on.
struct Nameserver {
    addr: SocketAddr,
    asked: Log,
}

impl Nameserver {
    async fn start(script: impl Fn(&str) -> Script + 'static) -> Self {
        // One port for both; another process may hold it for TCP, so try again with the next.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
                break (udp, tcp);
            }
        };
        let server = Self { addr: udp.local_addr().unwrap(), asked: Log::default() };
        let script = Rc::new(script);
        let (asked, of_udp) = (Rc::clone(&server.asked), Rc::clone(&script));
        tokio::task::spawn_local(async move {
            let mut datagram = vec![0; 4096];
            loop {
                let (length, from) = udp.recv_from(&mut datagram).await.unwrap();
                let query = Message::from_vec(&datagram[..length]).unwrap();
                for reply in play(&of_udp(&note(&asked, "udp", &query)), &query, Transport::Udp) {
                    udp.send_to(&reply, from).await.unwrap();
                }
            }
        });
        let asked = Rc::clone(&server.asked);
        tokio::task::spawn_local(async move {
            loop {
                let (mut stream, _) = tcp.accept().await.unwrap();
                let length = stream.read_u16().await.unwrap();
                let mut query = vec![0; usize::from(length)];
                stream.read_exact(&mut query).await.unwrap();
                let query = Message::from_vec(&query).unwrap();
                for reply in play(&script(&note(&asked, "tcp", &query)), &query, Transport::Tcp) {
                    stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
                    stream.write_all(&reply).await.unwrap();
                }
            }
        });
        server
    }

    fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}

fn note(log: &Log, way: &str, query: &Message) -> String {
    let name = query.queries[0].name.to_string().to_ascii_lowercase();
    let question = format!("{name} {}", query.queries[0].query_type);
    log.borrow_mut().push(format!("{way} {question}"));
    question
}

fn play(script: &Script, query: &Message, transport: Transport) -> Vec<Vec<u8>> {
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.add_query(query.queries[0].clone());
    match (script, transport) {
        (Script::Silence, _) => return Vec::new(),
        (Script::Custom(say), transport) => {
            return say(query, transport).map(|reply| reply.to_vec().unwrap()).into_iter().collect();
        }
        (Script::Raw(makers), _) => {
            return makers.iter().map(|make| make(reply.clone()).to_vec().unwrap()).collect();
        }
        (Script::Code(code), _) => reply.metadata.response_code = *code,
        (Script::OverTcp(_), Transport::Udp) => reply.metadata.truncation = true,
        (Script::Answer(records), _) | (Script::OverTcp(records), Transport::Tcp) => {
            reply.add_answers(records.iter().cloned());
        }
    }
    vec![reply.to_vec().unwrap()]
}

/// An answer to `query` with these records.
fn reply_to(query: &Message, records: Vec<Record>) -> Message {
    let mut reply = Message::response(query.metadata.id, OpCode::Query);
    reply.add_query(query.queries[0].clone());
    reply.add_answers(records);
    reply
}

fn wire(name: &str) -> Name {
    let mut name = Name::from_ascii(name).unwrap();
    name.set_fqdn(true);
    name
}

/// An A or AAAA record.
fn address(owner: &str, ttl: u32, addr: &str) -> Record {
    let data = match addr.parse().unwrap() {
        IpAddr::V4(addr) => RData::A(rdata::A(addr)),
        IpAddr::V6(addr) => RData::AAAA(rdata::AAAA(addr)),
    };
    Record::from_rdata(wire(owner), ttl, data)
}

fn alias(owner: &str, ttl: u32, target: &str) -> Record {
    Record::from_rdata(wire(owner), ttl, RData::CNAME(rdata::CNAME(wire(target))))
}

/// The rules most tests use.
fn policy() -> Policy {
    let mut builder = Policy::builder();
    for text in
        ["pypi.org", "*.cdn.example", "git.example:22", "api.example", "host.portcullis.internal:8080"]
    {
        builder = builder.rule(Rule::allowing(text, RuleSource::Flag(text.to_owned())).unwrap());
    }
    builder.connect_to(ConnectTo::parse("api.example:443:127.0.0.1:8443").unwrap()).build()
}

/// A resolver, and the denials it told of.
struct World {
    resolver: Box<Resolver>,
    denials: Log,
}

impl World {
    fn new(nameservers: &[&Nameserver], change: impl FnOnce(&mut Setup)) -> Self {
        let gateways = Gateways { v4: Ipv4Addr::new(172, 16, 0, 1), v6: "fd7a::1".parse().unwrap() };
        let denials = Log::default();
        let heard = Rc::clone(&denials);
        let nowhere = PathBuf::from("/nonexistent");
        let mut setup = Setup {
            nameservers: nameservers.iter().map(|server| server.addr.into()).collect(),
            resolv_conf: nowhere.clone(),
            hosts: nowhere,
            on_denial: Some(Rc::new(move |denial| heard.borrow_mut().push(denial.to_string()))),
            ..Setup::new(Arc::new(Live::new(policy())), Arc::new(Limits::default()), gateways)
        };
        change(&mut setup);
        Self { resolver: Box::new(Resolver::new(setup).unwrap()), denials }
    }

    async fn ask(&self, name: &str, wanted: RecordType) -> Message {
        let bytes = self.resolver.answer(&question(name, wanted, None), Transport::Udp).await;
        Message::from_vec(&bytes).unwrap()
    }

    /// `NOERROR 1.2.3.4 5.6.7.8`.
    async fn short(&self, name: &str, wanted: RecordType) -> String {
        summary(&self.ask(name, wanted).await)
    }

    fn permit(&self, host: &str, port: u16) -> NamePermit {
        policy().at_host(&HostName::parse(host).unwrap(), port).into_result().unwrap()
    }

    fn bound(&self, addr: &str) -> Vec<String> {
        let names = self.resolver.names().borrow();
        let now = tokio::time::Instant::now().into_std();
        names.names_of(addr.parse().unwrap(), now).map(ToString::to_string).collect()
    }
}

fn summary(message: &Message) -> String {
    let mut words = vec![format!("{:?}", message.metadata.response_code)];
    words.extend(message.answers.iter().map(|record| record.data.to_string()));
    words.join(" ")
}

/// A guest's question; `payload` is what it offers by EDNS.
fn question(name: &str, wanted: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(wire(name), wanted));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

/// A file of the test's own, gone when it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portcullis-dns-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    /// Replaced as editors and resolvconf do it: a new file in its place.
    fn replace(&self, text: &str) {
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &self.0).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

async fn local<F: Future>(test: F) -> F::Output {
    LocalSet::new().run_until(test).await
}
