//! Answers of a nameserver to the question that was asked of it: whatever it says, the guest is told no address that is
//! not public, in a message that can be read, and all that it is told is bound.
#![no_main]

use std::cell::OnceCell;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use libfuzzer_sys::fuzz_target;
use portcullis::dns::{Gateways, Resolver, Setup, Transport};
use portcullis::limits::Limits;
use portcullis::policy::address::special_use;
use portcullis::policy::{Rule, Live, Policy, RuleSource};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

const NAME: &str = "a.example";
const TYPES: [RecordType; 5] =
    [RecordType::A, RecordType::AAAA, RecordType::TXT, RecordType::SRV, RecordType::CNAME];

thread_local! {
    static RUNTIME: OnceCell<Runtime> = const { OnceCell::new() };
}

/// Id and question of `query`, flags and counts and all the rest of the fuzzer's.
fn reply(query: &[u8], octets: &[u8]) -> Vec<u8> {
    let (head, rest) = octets.split_at_checked(8).unwrap_or((&[0x81, 0x80, 0, 1, 0, 1, 0, 0], octets));
    let name = query.iter().skip(12).position(|octet| *octet == 0).unwrap_or_default();
    [&query[..2], &head[..2], &[0, 1], &head[4..8], &[0, head[3] & 1], &query[12..12 + name + 5], rest].concat()
}

async fn one(wanted: RecordType, octets: &[u8]) {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
        let addr = udp.local_addr().expect("its address");
        if let Ok(tcp) = TcpListener::bind(addr).await {
            break (udp, tcp);
        }
    };
    let limits = Arc::new(Limits::default());
    let rule = Rule::allowing(NAME, RuleSource::Flag(NAME.to_owned())).expect("a rule");
    let policy = Arc::new(Live::new(Policy::builder().rule(rule).build()));
    let gateways = Gateways { v4: Ipv4Addr::new(172, 16, 0, 1), v6: Ipv6Addr::LOCALHOST };
    let mut setup = Setup::new(policy, limits, gateways);
    setup.nameservers = vec![udp.local_addr().expect("its address").into()];
    setup.hosts = "/nonexistent".into();
    let resolver = Resolver::new(setup).expect("a resolver");
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    let mut name = Name::from_ascii(NAME).expect("a name");
    name.set_fqdn(true);
    message.add_query(Query::query(name, wanted));
    let query = message.to_vec().expect("a question");
    let by_datagram = async {
        let mut datagram = [0; 512];
        while let Ok((length, from)) = udp.recv_from(&mut datagram).await {
            udp.send_to(&reply(&datagram[..length], octets), from).await.expect("a reply");
        }
    };
    let by_connection = async {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let mut query = vec![0; stream.read_u16().await.expect("a length").into()];
            stream.read_exact(&mut query).await.expect("a question");
            let reply = reply(&query, octets);
            let length = u16::try_from(reply.len()).unwrap_or(u16::MAX).to_be_bytes();
            // It may have heard enough.
            let _ = stream.write_all(&[&length[..], &reply].concat()).await;
        }
    };
    let answer = tokio::select! {
        answer = resolver.answer(&query, Transport::Tcp) => answer,
        () = by_datagram => return,
        () = by_connection => return,
    };
    let answer = Message::from_vec(&answer).expect("a message");
    let names = resolver.names().borrow();
    for addr in answer.answers.iter().filter_map(|record| record.data.ip_addr()) {
        assert!(special_use(addr).is_none(), "{addr}");
        assert_eq!(names.names_of(addr, Instant::now().into_std()).count(), 1, "{addr}");
    }
}

fuzz_target!(|octets: &[u8]| {
    let Some((first, octets)) = octets.split_first() else { return };
    let wanted = TYPES[usize::from(*first) % TYPES.len()];
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| {
            // Silence is waited for in no time.
            Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime")
        });
        runtime.block_on(one(wanted, &octets[..octets.len().min(60_000)]));
    });
});
