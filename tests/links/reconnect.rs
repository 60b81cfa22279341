//! A guest that is started again: the sandbox stays, its connections do not.

use std::io;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::task::{Context, Poll};

use portcullis::link::datagram::DatagramLink;
use portcullis::link::stream::StreamLink;
use portcullis::link::{Frame, Link, Offload};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::memory::{HOST, Http, OTHER, Origin, Plan, Reply, run};
use crate::{MTU, pki, scratch};

/// A guest of QEMU.
fn qemu(path: &Path, _: usize) -> StreamLink {
    StreamLink::connected(UnixStream::connect(path).unwrap(), MTU).unwrap()
}

/// A guest of libkrun: with a socket of its own, a greeting, and checksums that it leaves to others.
fn krun(path: &Path, number: usize) -> Unfinished {
    let socket = UnixDatagram::bind(path.with_extension(number.to_string())).unwrap();
    socket.connect(path).unwrap();
    socket.send(b"VFKT").unwrap();
    Unfinished(DatagramLink::connected(socket, MTU).unwrap())
}

/// Spoils the checksum of every TCP segment and UDP datagram that is sent.
struct Unfinished(DatagramLink);

impl Link for Unfinished {
    fn offload(&self) -> Offload {
        self.0.offload()
    }

    fn mtu(&self) -> usize {
        self.0.mtu()
    }

    fn try_receive(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.try_receive(buf)
    }

    fn try_send(&mut self, frame: Frame<'_>) -> io::Result<()> {
        let mut bytes = frame.bytes.to_vec();
        let (protocol, payload) = if bytes[12] == 8 { (bytes[23], 34) } else { (bytes[20], 54) };
        let at = payload + if protocol == 6 { 16 } else { 6 };
        if protocol == 6 || protocol == 17 {
            bytes[at] ^= 0x55;
        }
        self.0.try_send(Frame { bytes: &bytes, partial: None })
    }

    fn poll_receive_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_receive_ready(cx)
    }

    fn poll_send_ready(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.poll_send_ready(cx)
    }
}

async fn guests_come_and_go<O, T>(ours: O, theirs: impl Fn(usize) -> T)
where
    O: Link + Send + 'static,
    T: Link + 'static,
{
    let tls = pki::server_config("good", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let origin = Origin::start(Some(tls), |seen| Reply::text(seen.field("x-api-key").to_owned())).await;
    let opaque = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = opaque.local_addr().unwrap();
    let plan = Plan::new().to(&origin).allow(&format!("{OTHER}:7")).connect(OTHER, 7, at);
    let mut bed = plan.start_on(ours, theirs(0));
    let (token, secret) = (bed.token(), bed.canary.value().to_owned());
    let ca = bed.sandbox().ca_cert_pem().to_owned();
    for number in 1..=3 {
        let answer = bed.https(Http::Two, HOST).await.get("/", &[("x-api-key", &token)]).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, &*token));
        assert_eq!(origin.latest().field("x-api-key"), secret);

        let (guest, accepted) = tokio::join!(bed.tcp(OTHER, 7), opaque.accept());
        let (mut guest, (mut upstream, _)) = (guest.unwrap(), accepted.unwrap());
        guest.write_all(b"hello").await.unwrap();
        upstream.read_exact(&mut [0; 5]).await.unwrap();
        guest.inner.forget();
        drop(guest);
        // The next is there before the last is known to have gone.
        bed.replug(theirs(number));
        let left = upstream.read(&mut [0; 5]).await;
        assert!(!matches!(left, Ok(1..)), "the connection of a guest that is gone is open: {left:?}");
    }
    assert_eq!(bed.sandbox().ca_cert_pem(), ca);
    // Everything of the last guest's was open when it went.
    let flows = bed.sandbox().stats().await.unwrap().net.flows;
    assert!(flows <= 1, "{flows} flows of guests that are gone");
    bed.finish().await;
}

#[test]
fn a_stream_guest_that_is_started_again_finds_the_sandbox_as_it_was() {
    run(async {
        let (_scratch, path) = scratch();
        guests_come_and_go(StreamLink::listen(&path, MTU).unwrap(), |number| qemu(&path, number)).await;
    });
}

#[test]
fn a_datagram_guest_that_is_started_again_finds_the_sandbox_as_it_was() {
    run(async {
        let (_scratch, path) = scratch();
        guests_come_and_go(DatagramLink::bind(&path, MTU).unwrap(), |number| krun(&path, number)).await;
    });
}
