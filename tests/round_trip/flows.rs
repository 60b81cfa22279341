//! Flows that are no HTTPS: plain HTTP, opaque TCP by a rule, and what is refused.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use hickory_proto::op::{Message, OpCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record, RecordType};
use portcullis::audit::{Event, FlowKind};
use portcullis::name::HOST_ALIAS;
use portcullis::policy::{Dial, Dialled, Dialling, Permit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

use crate::memory::{Bed, HOST, OTHER, Origin, Plan, Reply, run};

#[test]
fn plain_http_is_served_and_scrubbed() {
    run(async {
        let plan = Plan::new().allow(HOST);
        let secret = plan.canary();
        let origin = Origin::start(None, move |_| Reply::pieces(&format!("it is {secret}!"), 5)).await;
        let mut bed = plan.connect(HOST, 80, origin.addr).start();
        let mut client = bed.http(HOST).await;
        let answer = client.get("/path", &[("user-agent", "test")]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*format!("it is {}!", bed.token())));
        let seen = origin.latest();
        assert_eq!(
            (seen.target.as_str(), seen.field("host"), seen.field("user-agent")),
            ("/path", HOST, "test")
        );
        drop(client);
        let kind =
            bed.event(|event| if let Event::Flow { kind, .. } = event { Some(*kind) } else { None }).await;
        assert_eq!(kind, FlowKind::Http);
        bed.finish().await;
    });
}

#[test]
fn a_denied_plain_request_is_told_which_flag_allows_it() {
    run(async {
        let bed = Plan::new().start();
        let answer = bed.http("denied.example").await.get("/", &[]).await;
        answer.assert_refused(403, "http_request_denied", "--allow denied.example");
        bed.finish().await;
    });
}

#[test]
fn an_unknown_protocol_on_a_web_port_is_reset() {
    run(async {
        let origin = Origin::start(Some(crate::good()), |_| Reply::text("never")).await;
        let mut bed = Plan::new().to(&origin).allow(HOST).connect(HOST, 80, origin.addr).start();
        for port in [443, 80] {
            let mut stream = bed.tcp(HOST, port).await.unwrap();
            stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await.unwrap();
            let error = stream.read(&mut [0; 100]).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
            let target =
                bed.event(
                    |event| {
                        if let Event::Denial { target, .. } = event { Some(target.clone()) } else { None }
                    },
                );
            assert!(target.await.ends_with(&format!(":{port}")));
        }
        assert_eq!(origin.connections(), 0);
        bed.finish().await;
    });
}

#[test]
fn other_ports_are_reset_at_the_syn() {
    run(async {
        let bed = Plan::new().allow(OTHER).connect(OTHER, 443, "127.0.0.1:9".parse().unwrap()).start();
        for host in [OTHER, "denied.example", HOST_ALIAS] {
            let error = bed.tcp(host, 22).await.err().expect("nobody is there");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{host}");
        }
        let error = bed.guest.connect("93.184.216.34:22".parse().unwrap()).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        bed.finish().await;
    });
}

/// A sandbox whose guest may reach one port of this machine's, and who listens there.
async fn opened() -> (Bed, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (Plan::new().allow(&format!("{HOST_ALIAS}:{port}")).start(), listener)
}

#[test]
fn this_machine_is_reached_at_the_port_a_rule_opens() {
    run(async {
        let (mut bed, listener) = opened().await;
        let port = listener.local_addr().unwrap().port();
        let (stream, accepted) = tokio::join!(bed.tcp(HOST_ALIAS, port), listener.accept());
        let (mut guest, (mut server, _)) = (stream.unwrap(), accepted.unwrap());
        // The server speaks first, and neither side ends with the other.
        server.write_all(b"220 ready\r\n").await.unwrap();
        let mut greeting = [0; 11];
        guest.read_exact(&mut greeting).await.unwrap();
        assert_eq!(&greeting, b"220 ready\r\n");
        guest.write_all(b"\0any bytes\xff").await.unwrap();
        guest.shutdown().await.unwrap();
        let mut said = Vec::new();
        server.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, b"\0any bytes\xff");
        let answer = vec![7; 100_000];
        server.write_all(&answer).await.unwrap();
        drop(server);
        let mut heard = Vec::new();
        guest.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, answer);
        let kind =
            bed.event(|event| if let Event::Flow { kind, .. } = event { Some(*kind) } else { None }).await;
        assert_eq!(kind, FlowKind::Opaque);
        let error = bed.tcp(HOST_ALIAS, port ^ 1).await.err().expect("only one port is open");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        bed.finish().await;
    });
}

#[test]
fn a_server_may_end_first() {
    run(async {
        let (bed, listener) = opened().await;
        let port = listener.local_addr().unwrap().port();
        let (stream, accepted) = tokio::join!(bed.tcp(HOST_ALIAS, port), listener.accept());
        let (mut guest, (mut server, _)) = (stream.unwrap(), accepted.unwrap());
        server.write_all(b"all I say").await.unwrap();
        server.shutdown().await.unwrap();
        let mut heard = Vec::new();
        guest.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"all I say");
        guest.write_all(&[1; 50_000]).await.unwrap();
        guest.shutdown().await.unwrap();
        let mut said = Vec::new();
        server.read_to_end(&mut said).await.unwrap();
        assert_eq!(said, [1; 50_000]);
        bed.finish().await;
    });
}

#[test]
fn a_reset_is_passed_on_as_one() {
    run(async {
        let (bed, listener) = opened().await;
        let port = listener.local_addr().unwrap().port();
        let (stream, accepted) = tokio::join!(bed.tcp(HOST_ALIAS, port), listener.accept());
        let (mut guest, (server, _)) = (stream.unwrap(), accepted.unwrap());
        server.set_zero_linger().unwrap();
        drop(server);
        let error = guest.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);

        let (stream, accepted) = tokio::join!(bed.tcp(HOST_ALIAS, port), listener.accept());
        let (guest, (mut server, _)) = (stream.unwrap(), accepted.unwrap());
        guest.inner.reset();
        let mut heard = Vec::new();
        // However it is told, it is over.
        let _ = server.read_to_end(&mut heard).await;
        assert_eq!(heard, b"");
        bed.finish().await;
    });
}

#[test]
fn nobody_behind_an_open_port_is_a_reset() {
    run(async {
        let (bed, listener) = opened().await;
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = bed.tcp(HOST_ALIAS, port).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        bed.finish().await;
    });
}

/// The address that [`Detour`] leads home from.
const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(93, 184, 216, 34);

/// Dials one loopback address whatever was permitted, and tells what that was.
struct Detour {
    to: SocketAddr,
    permitted: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Dial for Detour {
    fn dial(&self, permit: Permit) -> Dialling<'_> {
        Box::pin(async move {
            self.permitted.lock().unwrap().push(permit.addr());
            Ok(Dialled::new(TcpStream::connect(self.to).await?, permit))
        })
    }
}

/// A nameserver to which every name has [`ELSEWHERE`].
pub(crate) async fn nameserver() -> SocketAddr {
    nameserver_of(ELSEWHERE).await
}

/// A nameserver to which every name has this address.
pub(crate) async fn nameserver_of(address: Ipv4Addr) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let addr = socket.local_addr().unwrap();
    tokio::task::spawn_local(async move {
        let mut datagram = [0; 2000];
        while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
            let query = Message::from_vec(&datagram[..length]).unwrap();
            let asked = query.queries[0].clone();
            let mut reply = Message::response(query.metadata.id, OpCode::Query);
            if asked.query_type == RecordType::A {
                reply.add_answer(Record::from_rdata(asked.name.clone(), 300, RData::A(A(address))));
            }
            reply.add_query(asked);
            socket.send_to(&reply.to_vec().unwrap(), from).await.unwrap();
        }
    });
    addr
}

#[test]
fn an_opaque_flow_goes_where_an_allowed_name_is_bound_and_nowhere_else() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let permitted = Arc::default();
        let detour = Detour { to: listener.local_addr().unwrap(), permitted: Arc::clone(&permitted) };
        let plan = Plan::new().allow("db.example.net:5432").nameserver(nameserver().await).dial(detour);
        let bed = plan.start();
        let bound = SocketAddr::new(ELSEWHERE.into(), 5432);

        let early = bed.guest.connect(bound).await.err().expect("the name was not asked for yet");
        assert_eq!(early.kind(), io::ErrorKind::ConnectionRefused);
        assert_eq!(bed.address("db.example.net").await, bound.ip());
        for port in [22, 5433] {
            assert!(bed.guest.connect(SocketAddr::new(bound.ip(), port)).await.is_err());
        }
        assert_eq!(*permitted.lock().unwrap(), []);

        let (stream, accepted) = tokio::join!(bed.tcp("db.example.net", 5432), listener.accept());
        let (mut guest, (mut server, _)) = (stream.unwrap(), accepted.unwrap());
        assert_eq!(*permitted.lock().unwrap(), [bound]);
        server.write_all(b"greeting").await.unwrap();
        let mut heard = [0; 8];
        guest.read_exact(&mut heard).await.unwrap();
        guest.write_all(b"\0\0\0\x08login").await.unwrap();
        let mut said = [0; 9];
        server.read_exact(&mut said).await.unwrap();
        assert_eq!((&heard, &said), (b"greeting", b"\0\0\0\x08login"));
        bed.finish().await;
    });
}

/// TLS that begins late, as STARTTLS does, can no longer be intercepted.
#[test]
fn tls_after_a_greeting_is_reset() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let detour = Detour { to: listener.local_addr().unwrap(), permitted: Arc::default() };
        let plan = Plan::new().allow("mail.example.net:25").nameserver(nameserver().await).dial(detour);
        let bed = plan.start();
        let (stream, accepted) = tokio::join!(bed.tcp("mail.example.net", 25), listener.accept());
        let (mut guest, (mut server, _)) = (stream.unwrap(), accepted.unwrap());
        server.write_all(b"220 ready\r\n").await.unwrap();
        guest.read_exact(&mut [0; 11]).await.unwrap();
        guest.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
        let error = guest.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let mut said = Vec::new();
        let _ = server.read_to_end(&mut said).await;
        assert_eq!(said, b"");
        bed.finish().await;
    });
}
