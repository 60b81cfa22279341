//! Flows that are dialled before they are accepted: what the guest sees meanwhile, and what it is spared.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use portcullis::audit::{Event, FlowKind};
use portcullis::limits::Limits;
use portcullis::policy::{Dial, Dialled, Dialling, Permit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};

use crate::memory::{Bed, HOST, Origin, Plan, Reply, run};

const HOST_PORT: (&str, u16) = ("db.example.net", 5432);

/// A sandbox that may reach one port of a host, and who listens there.
async fn opened(change: impl FnOnce(Plan) -> Plan) -> (Bed, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (host, port) = HOST_PORT;
    let plan =
        Plan::new().allow(&format!("{host}:{port}")).connect(host, port, listener.local_addr().unwrap());
    (change(plan).start(), listener)
}

/// Dials when it is let, and tells of each dial that began, and of each that was given up.
struct Gated {
    gate: Arc<Semaphore>,
    told: mpsc::Sender<Told>,
}

#[derive(Debug, Eq, PartialEq)]
enum Told {
    Began(SocketAddr),
    GivenUp,
}

struct GivesUp(mpsc::Sender<Told>);

impl Drop for GivesUp {
    fn drop(&mut self) {
        let _ = self.0.try_send(Told::GivenUp);
    }
}

impl Dial for Gated {
    fn dial(&self, permit: Permit) -> Dialling<'_> {
        Box::pin(async move {
            self.told.try_send(Told::Began(permit.addr())).unwrap();
            let gives_up = GivesUp(self.told.clone());
            self.gate.acquire().await.unwrap().forget();
            std::mem::forget(gives_up);
            Ok(Dialled::new(TcpStream::connect(permit.addr()).await?, permit))
        })
    }
}

fn gated() -> (Gated, Arc<Semaphore>, mpsc::Receiver<Told>) {
    let (told, heard) = mpsc::channel(16);
    let gate = Arc::new(Semaphore::new(0));
    (Gated { gate: Arc::clone(&gate), told }, gate, heard)
}

#[test]
fn the_syn_is_answered_when_the_dial_succeeds_and_a_syn_again_is_no_second_dial() {
    run(async {
        let (dial, gate, mut heard) = gated();
        let (bed, listener) = opened(|plan| plan.dial(dial)).await;
        let to = SocketAddr::new(bed.address(HOST_PORT.0).await, HOST_PORT.1);
        let guest = bed.guest.clone();
        let mut connecting = tokio::task::spawn_local(async move { guest.connect(to).await });
        assert_eq!(heard.recv().await, Some(Told::Began(listener.local_addr().unwrap())));
        // The guest's stack sends its SYN again; what it gets for that is the one answer below.
        let before = bed.sandbox().stats().await.unwrap();
        while bed.sandbox().stats().await.unwrap().net.frames_in == before.net.frames_in {
            assert!(!connecting.is_finished());
        }
        gate.add_permits(1);
        let stream = (&mut connecting).await.unwrap().unwrap();
        listener.accept().await.unwrap();
        assert!(heard.try_recv().is_err(), "one dial");
        drop(stream);
        bed.finish().await;
    });
}

#[test]
fn a_guest_that_gives_up_while_its_flow_is_dialled_ends_the_dial() {
    run(async {
        let (dial, _gate, mut heard) = gated();
        let (bed, _listener) = opened(|plan| plan.dial(dial)).await;
        let to = SocketAddr::new(bed.address(HOST_PORT.0).await, HOST_PORT.1);
        let raw = bed.guest.raw(4_321, to, 8);
        assert!(matches!(heard.recv().await, Some(Told::Began(_))));
        raw.reset();
        assert_eq!(heard.recv().await, Some(Told::GivenUp));
        bed.finish().await;
    });
}

#[test]
fn a_guest_that_resets_a_flow_dialled_by_name_ends_the_dial() {
    run(async {
        let (dial, _gate, mut heard) = gated();
        let bed =
            Plan::new().allow(HOST).connect(HOST, 80, "127.0.0.1:9".parse().unwrap()).dial(dial).start();
        let mut stream = bed.tcp(HOST, 80).await.unwrap();
        stream.write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n\r\n").as_bytes()).await.unwrap();
        assert!(matches!(heard.recv().await, Some(Told::Began(_))));
        stream.inner.reset();
        assert_eq!(heard.recv().await, Some(Told::GivenUp));
        bed.finish().await;
    });
}

#[test]
fn a_policy_that_changes_while_a_flow_is_dialled_ends_the_dial() {
    run(async {
        let (dial, gate, mut heard) = gated();
        let (bed, listener) = opened(|plan| plan.dial(dial)).await;
        let (host, port) = HOST_PORT;
        let to = SocketAddr::new(bed.address(host).await, port);
        let guest = bed.guest.clone();
        let connecting = tokio::task::spawn_local(async move { guest.connect(to).await });
        assert!(matches!(heard.recv().await, Some(Told::Began(_))));
        assert_eq!(bed.sandbox().allow("a.example:443").await.unwrap().ended, 0);
        assert!(heard.try_recv().is_err(), "it is allowed still");
        assert_eq!(bed.sandbox().deny(&format!("{host}:{port}")).await.unwrap().ended, 1);
        assert_eq!(heard.recv().await, Some(Told::GivenUp));
        let error = connecting.await.unwrap().err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        // Leave that comes later is for later flows.
        gate.add_permits(1);
        assert_eq!(bed.sandbox().allow(&format!("{host}:{port}/tcp")).await.unwrap().ended, 0);
        let (stream, accepted) = tokio::join!(bed.tcp(host, port), listener.accept());
        assert!(stream.is_ok() && accepted.is_ok());
        bed.finish().await;
    });
}

#[test]
fn a_dial_that_hangs_is_a_reset_at_its_limit() {
    run(async {
        let (dial, _gate, mut heard) = gated();
        let limit = |limits: &mut Limits| limits.dial = Duration::from_millis(20);
        let (bed, _listener) = opened(|plan| plan.dial(dial).limits(limit)).await;
        let error = bed.tcp(HOST_PORT.0, HOST_PORT.1).await.err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(matches!(heard.recv().await, Some(Told::Began(_))));
        assert_eq!(heard.recv().await, Some(Told::GivenUp));
        bed.finish().await;
    });
}

/// Fails as a process does that has no descriptor left.
struct Exhausted(Arc<AtomicUsize>);

/// Too many open files; errno(3).
const EMFILE: i32 = 24;

impl Dial for Exhausted {
    fn dial(&self, _: Permit) -> Dialling<'_> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Err(io::Error::from_raw_os_error(EMFILE)) })
    }
}

#[test]
fn no_descriptor_left_is_a_reset_and_one_attempt() {
    run(async {
        let attempts = Arc::new(AtomicUsize::new(0));
        let dial = Exhausted(Arc::clone(&attempts));
        let (bed, _listener) = opened(|plan| plan.dial(dial)).await;
        for attempt in 1..=3 {
            let error = bed.tcp(HOST_PORT.0, HOST_PORT.1).await.err().unwrap();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            assert_eq!(attempts.load(Ordering::SeqCst), attempt);
        }
        bed.finish().await;
    });
}

/// Neither side reads: the server's octets fill everything before the guest begins.
#[test]
fn a_flow_that_turns_out_to_be_http_gives_up_its_first_connection() {
    run(async {
        let (bed, listener) = opened(|plan| plan).await;
        let (host, port) = HOST_PORT;
        let mut stream = bed.tcp(host, port).await.unwrap();
        let (mut first, _) = listener.accept().await.unwrap();
        stream.write_all(format!("GET / HTTP/1.1\r\nhost: {host}:{port}\r\n\r\n").as_bytes()).await.unwrap();
        let (mut second, _) = listener.accept().await.unwrap();
        assert_eq!(first.read(&mut [0; 1]).await.unwrap(), 0);
        let mut head = [0; 4];
        second.read_exact(&mut head).await.unwrap();
        assert_eq!(&head, b"GET ");
        bed.finish().await;
    });
}

#[test]
fn a_guest_that_only_writes_is_heard_by_a_server_that_only_streams() {
    run(async {
        let (mut bed, listener) = opened(|plan| plan.limits(|limits| limits.transmit_ring = 16 << 10)).await;
        let (stream, accepted) = tokio::join!(bed.tcp(HOST_PORT.0, HOST_PORT.1), listener.accept());
        let (mut guest, (server, _)) = (stream.unwrap(), accepted.unwrap());
        let (mut server_reads, mut server_writes) = server.into_split();
        let flood = tokio::task::spawn_local(async move {
            while server_writes.write_all(&[b'x'; 64 << 10]).await.is_ok() {}
        });
        guest.inner.full().await;
        // Each time it is asked the sandbox has had a turn, so that its own ring is full too.
        for _ in 0..200 {
            bed.sandbox().stats().await.unwrap();
        }
        let said = vec![b'!'; 1 << 20];
        guest.write_all(&said).await.unwrap();
        let mut heard = vec![0; said.len()];
        server_reads.read_exact(&mut heard).await.unwrap();
        assert!(heard == said);
        assert!(!flood.is_finished());
        guest.inner.reset();
        drop(server_reads);
        flood.await.unwrap();
        let kind =
            bed.event(|event| if let Event::Flow { kind, .. } = event { Some(*kind) } else { None }).await;
        assert_eq!(kind, FlowKind::Opaque);
        bed.finish().await;
    });
}

#[test]
fn a_server_that_speaks_first_is_heard_and_then_spoken_to() {
    run(async {
        for (greeting, reply) in [
            (&b"SSH-2.0-OpenSSH_9.9\r\n"[..], &b"SSH-2.0-client\r\n"[..]),
            (b"220 mail.example.net ESMTP\r\n", b"EHLO guest\r\n"),
        ] {
            let (bed, listener) = opened(|plan| plan).await;
            let (stream, accepted) = tokio::join!(bed.tcp(HOST_PORT.0, HOST_PORT.1), listener.accept());
            let (mut guest, (mut server, _)) = (stream.unwrap(), accepted.unwrap());
            let mut heard = vec![0; greeting.len()];
            for half in [&greeting[..7], &greeting[7..]] {
                server.write_all(half).await.unwrap();
                guest.read_exact(&mut heard[..half.len()]).await.unwrap();
                assert_eq!(&heard[..half.len()], half);
            }
            guest.write_all(reply).await.unwrap();
            let mut said = vec![0; reply.len()];
            server.read_exact(&mut said).await.unwrap();
            assert_eq!(said, reply);
            // And a server that ends after its greeting is heard to end.
            server.shutdown().await.unwrap();
            assert_eq!(guest.read(&mut [0; 8]).await.unwrap(), 0);
            bed.finish().await;
        }
    });
}

/// Whoever watches the segments and whoever reads the stream see one request, whatever overlaps.
#[test]
fn a_request_in_overlapping_segments_is_judged_and_forwarded_as_its_first_octets() {
    run(async {
        for early_first in [true, false] {
            let (bed, listener) = opened(|plan| plan).await;
            let to = SocketAddr::new(bed.address(HOST_PORT.0).await, HOST_PORT.1);
            let raw = bed.guest.raw(4_000, to, 1_000);
            let (connected, accepted) = tokio::join!(raw.connected(), listener.accept());
            let mut server = accepted.unwrap().0;
            let early = [(4, &b"open.sesame"[..]), (2, b"--EVIL.sesame--")];
            let late = [(2, &b"--EVIL.sesame--"[..]), (4, b"open.sesame")];
            for (at, octets) in if early_first { early } else { late } {
                connected.send(at, octets);
            }
            connected.send(0, b"\0\0\0\0????");
            let expected = if early_first { b"\0\0--open.sesame--" } else { b"\0\0--EVIL.sesame--" };
            let mut heard = [0; 17];
            server.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, expected);
            bed.finish().await;
        }
    });
}

/// Sends a request whose `Host` comes twice to the same place, behind a hole that is filled last.
async fn overlapping_request(bed: &Bed, port: u16, [first, then]: [&str; 2]) {
    let to = SocketAddr::new(bed.address(HOST).await, 80);
    let connected = bed.guest.raw(port, to, u32::MAX - 20).connected().await;
    let line = "GET /first HTTP/1.1\r\n";
    connected.send(27, first.as_bytes());
    connected.send(25, format!(": {then}").as_bytes());
    connected.send(42, b"\r\n\r\n");
    connected.send(0, format!("{line}Host: {then}\r\n\r\n").as_bytes());
}

#[test]
fn an_http_head_in_overlapping_segments_is_judged_and_forwarded_as_its_first_octets() {
    run(async {
        let (done, mut seen) = mpsc::channel(4);
        let origin = Origin::start(None, move |seen| {
            done.try_send((seen.target.clone(), seen.field("host").to_owned())).unwrap();
            Reply::text("here")
        })
        .await;
        let mut bed = Plan::new().allow(HOST).connect(HOST, 80, origin.addr).start();
        let evil = "evil.example.co";
        assert_eq!(evil.len(), HOST.len());
        overlapping_request(&bed, 4_000, [HOST, evil]).await;
        assert_eq!(seen.recv().await, Some(("/first".to_owned(), HOST.to_owned())));
        overlapping_request(&bed, 4_001, [evil, HOST]).await;
        let target = bed.event(|event| match event {
            Event::Denial { target, .. } => Some(target.clone()),
            _ => None,
        });
        assert_eq!(target.await, format!("{evil}:80"));
        assert_eq!(origin.connections(), 1);
        bed.finish().await;
    });
}
