//! Questions a second and the time of one, through the resolver, beside dnsmasq where it is installed.
//!
//! Each server has a thread of its own behind a UDP socket on loopback, and asks the same authoritative responder; the
//! client is the same for all. Cached names are answered from memory, those with a TTL of 0 are asked for each time.
//! Each figure is the median of several rounds.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a terminal"
)]

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use portcullis::dns::{Gateways, Resolver, Setup, Transport};
use portcullis::limits::Limits;
use portcullis::policy::{Live, Policy, Rule, RuleSource};
use tokio::task::LocalSet;
use tokio::time::Instant;

const SUFFIX: &str = "bench.example";
/// Names of each kind.
const NAMES: usize = 100;
/// Questions in flight where questions a second are counted.
const WINDOW: usize = 32;
const DNSMASQ: &str = "/usr/sbin/dnsmasq";

fn main() {
    // `cargo bench` says so; anything else only makes sure that it works.
    let quick = !std::env::args().any(|argument| argument == "--bench");
    let (rounds, questions) = if quick { (1, 200) } else { (7, 20_000) };
    let upstream = responder();
    let dnsmasq = Dnsmasq::start(upstream);
    let mut servers = vec![("portcullis", resolver(upstream))];
    match &dnsmasq {
        Some(dnsmasq) => servers.push(("dnsmasq", dnsmasq.addr)),
        None => println!("{DNSMASQ} is not installed"),
    }
    servers.push(("responder itself", upstream));
    println!("{:<12}{:<20}{:>16}{:>16}", "", "", "questions/s", "one takes µs");
    for (what, letter) in [("cached", 'c'), ("forwarded", 'f')] {
        let queries: Vec<Vec<u8>> = (0..NAMES).map(|n| query(&format!("{letter}{n}.{SUFFIX}."))).collect();
        for (_, addr) in &servers {
            ask(*addr, &queries, NAMES, 1);
        }
        let mut figures = vec![(Vec::new(), Vec::new()); servers.len()];
        // In turns, so that a noisy neighbour disturbs all.
        for _ in 0..rounds {
            for ((_, addr), (rates, times)) in servers.iter().zip(&mut figures) {
                rates.push(1e9 / ask(*addr, &queries, questions, WINDOW));
                times.push(ask(*addr, &queries, questions / 10, 1) / 1e3);
            }
        }
        for ((name, _), (rates, times)) in servers.iter().zip(figures) {
            println!("{what:<12}{name:<20}{:>16.0}{:>16.1}", median(rates), median(times));
        }
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn query(name: &str) -> Vec<u8> {
    let mut message = Message::new(1, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}

/// Asks so many questions, so many of them at once; nanoseconds for each, lost ones asked again.
fn ask(server: SocketAddr, queries: &[Vec<u8>], questions: usize, window: usize) -> f64 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let started = Instant::now();
    let mut sent = 0;
    let mut send = || {
        let mut query = queries[sent % queries.len()].clone();
        query[..2].copy_from_slice(&u16::try_from(sent % 65_536).unwrap().to_be_bytes());
        socket.send(&query).unwrap();
        sent += 1;
    };
    (0..window.min(questions)).for_each(|_| send());
    let mut datagram = [0; 2048];
    for left in (0..questions).rev() {
        while socket.recv(&mut datagram).is_err() {
            send();
        }
        assert_eq!(datagram[3] & 15, 0, "an error of {server}");
        if left >= window {
            send();
        }
    }
    started.elapsed().as_nanos() as f64 / questions as f64
}

/// An authoritative server that has an address for every name; those with `f` in front are not to be kept.
fn responder() -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut datagram) {
            let query = &datagram[..length];
            let name = query[12..].iter().position(|octet| *octet == 0).unwrap();
            let ttl: u32 = if query[13].eq_ignore_ascii_case(&b'f') { 0 } else { 3_600 };
            let head = [query[0], query[1], 0x85, 0x80, 0, 1, 0, 1, 0, 0, 0, 0];
            let record: [u8; 6] = [0xc0, 12, 0, 1, 0, 1];
            let data: [u8; 6] = [0, 4, 151, 101, 0, 223];
            let question = &query[12..12 + name + 5];
            let reply = [&head[..], question, &record, &ttl.to_be_bytes(), &data].concat();
            socket.send_to(&reply, from).unwrap();
        }
    });
    addr
}

/// A sandbox's resolver behind a socket.
fn resolver(upstream: SocketAddr) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    let addr = socket.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let text = format!("*.{SUFFIX}");
            let rule = Rule::allowing(&text, RuleSource::Flag(text.clone())).unwrap();
            let policy = Arc::new(Live::new(Policy::builder().rule(rule).build()));
            let gateways = Gateways { v4: Ipv4Addr::new(172, 16, 0, 1), v6: "fd7a::1".parse().unwrap() };
            let mut setup = Setup::new(policy, Arc::new(Limits::default()), gateways);
            setup.nameservers = vec![upstream.into()];
            let resolver = Rc::new(Resolver::new(setup).unwrap());
            let socket = Rc::new(tokio::net::UdpSocket::from_std(socket).unwrap());
            let mut datagram = [0; 2048];
            loop {
                let (length, from) = socket.recv_from(&mut datagram).await.unwrap();
                let (resolver, socket, query) =
                    (Rc::clone(&resolver), Rc::clone(&socket), datagram[..length].to_vec());
                tokio::task::spawn_local(async move {
                    let answer = resolver.answer(&query, Transport::Udp).await;
                    socket.send_to(&answer, from).await.unwrap();
                });
            }
        });
    });
    addr
}

/// dnsmasq, which ends with this.
struct Dnsmasq {
    addr: SocketAddr,
    process: Child,
}

impl Dnsmasq {
    fn start(upstream: SocketAddr) -> Option<Self> {
        let addr = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let process = Command::new(DNSMASQ)
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--bind-interfaces",
            ])
            .args([
                "--user=root",
                "--group=root",
                "--pid-file=",
                "--listen-address=127.0.0.1",
                "--cache-size=1000",
            ])
            .arg(format!("--port={}", addr.port()))
            .arg(format!("--server=127.0.0.1#{}", upstream.port()))
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        // It answers when it is ready; until then its port is closed.
        let dnsmasq = Self { addr, process };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.connect(addr).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let query = query(&format!("c0.{SUFFIX}."));
        let ready = (0..200).any(|_| {
            thread::sleep(Duration::from_millis(10));
            socket.send(&query).is_ok() && socket.recv(&mut [0; 2048]).is_ok()
        });
        assert!(ready, "{DNSMASQ} does not answer");
        Some(dnsmasq)
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.process.kill().and_then(|()| self.process.wait()).expect("its end");
    }
}
