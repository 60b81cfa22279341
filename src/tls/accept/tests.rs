//! The guest leg, against clients of rustls' own.

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use tokio::io::{AsyncReadExt as _, DuplexStream, duplex, join, simplex};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as GuestStream;

use super::super::testing::{guest, host, noon, sandbox};
use super::*;
use crate::sniff::{Protocol, sniff};
use crate::tls::{CertificateAuthority, Leaves};

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS13, &TLS12];
/// Room of the guest's pipe where it does not matter.
const WIDE: usize = 64 << 10;

async fn shake_hands<S>(config: ClientConfig, name: &str, stream: S) -> io::Result<GuestStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn rewound(stream: DuplexStream) -> Rewind<DuplexStream> {
    Rewind::new(stream, Bytes::new())
}

fn trusting(ca: &CertificateAuthority, alpn: &[&[u8]]) -> ClientConfig {
    let mut config = guest(ca, noon(), BOTH);
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}

fn cause(error: &io::Error) -> rustls::Error {
    rustls_cause(error).unwrap()
}

/// What is read from the ClientHello of `config`, which is then refused with `alert`; and how the guest took it.
async fn refused(
    config: ClientConfig,
    name: &str,
    alert: AlertDescription,
) -> (Sni, Vec<Alpn>, bool, rustls::Error) {
    let (far, near) = duplex(WIDE);
    let ours = async {
        let hello = hello(rewound(near), &Limits::default()).await.unwrap();
        let seen = (hello.sni.clone(), hello.alpn.clone(), hello.other_alpn);
        hello.refuse(alert).await.unwrap();
        seen
    };
    let ((sni, alpn, other), end) = tokio::join!(ours, shake_hands(config, name, far));
    (sni, alpn, other, cause(&end.unwrap_err()))
}

#[tokio::test]
async fn a_hello_tells_name_and_protocols_and_can_be_refused_with_any_alert() {
    let (ca, _) = sandbox(&Limits::default());
    let denied = AlertDescription::AccessDenied;
    let config = trusting(&ca, &[b"http/1.1", b"imap", b"h2", b"http/1.1"]);
    let (sni, alpn, other, end) = refused(config, "API.Example.COM", denied).await;
    assert_eq!(sni, Sni::Name(host("api.example.com")));
    assert_eq!((alpn, other), (vec![Alpn::Http1, Alpn::H2], true));
    assert_eq!(end, rustls::Error::AlertReceived(denied));

    let (_, alpn, other, _) = refused(trusting(&ca, &[]), "a.example", denied).await;
    assert_eq!((alpn, other), (vec![], false));
    let (_, alpn, other, _) = refused(trusting(&ca, &[b"imap"]), "a.example", denied).await;
    assert_eq!((alpn, other), (vec![], true));
}

#[tokio::test]
async fn a_hello_without_a_usable_name_says_so() {
    let (ca, _) = sandbox(&Limits::default());
    let unnamed = AlertDescription::UnrecognisedName;
    let mut nameless = trusting(&ca, &[]);
    nameless.enable_sni = false;
    let (sni, .., end) = refused(nameless, "a.example", unnamed).await;
    assert_eq!((sni, end), (Sni::Absent, rustls::Error::AlertReceived(unnamed)));
    assert_eq!(refused(trusting(&ca, &[]), "192.0.2.1", unnamed).await.0, Sni::Absent);
    assert_eq!(refused(trusting(&ca, &[]), "0x7f", unnamed).await.0, Sni::Odd(NameError::Address));
}

/// Our side of a whole handshake, from the first byte.
async fn served<S>(leaves: &Leaves, mut near: S) -> Result<TlsStream<Rewind<S>>, AcceptError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let sniffed = sniff(&mut near, &Limits::default()).await.unwrap();
    assert_eq!(sniffed.protocol, Protocol::Tls);
    let hello = hello(Rewind::new(near, sniffed.bytes), &Limits::default()).await?;
    hello.accept(leaves.server_config(&host("a.example"), &[Alpn::H2], noon()).unwrap()).await
}

async fn accepted(
    config: ClientConfig,
    leaves: &Leaves,
) -> (Result<TlsStream<Rewind<DuplexStream>>, AcceptError>, io::Result<GuestStream<DuplexStream>>) {
    let (far, near) = duplex(WIDE);
    tokio::join!(served(leaves, near), shake_hands(config, "a.example", far))
}

/// A handshake, then a question that is answered with itself. The guest's bytes come `room` at a time; ours
/// do not, since both sides write at once when the tickets go out.
async fn asked(config: ClientConfig, leaves: &Leaves, room: usize) -> (rustls::ClientConnection, Vec<u8>) {
    let ((theirs, to_guest), (ours, from_guest)) = (simplex(WIDE), simplex(room));
    let (far, near) = (join(theirs, from_guest), join(ours, to_guest));
    let asking = async {
        let mut stream = shake_hands(config, "a.example", far).await.unwrap();
        stream.write_all(b"question").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        (stream.into_inner().1, answer)
    };
    let answering = async {
        let mut stream = served(leaves, near).await.unwrap();
        let mut question = Vec::new();
        stream.read_to_end(&mut question).await.unwrap();
        stream.write_all(&question).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    tokio::join!(asking, answering).0
}

#[tokio::test]
async fn a_handshake_ends_well_in_both_versions_also_byte_by_byte() {
    let (ca, leaves) = sandbox(&Limits::default());
    for version in BOTH {
        for room in [1, 7, WIDE] {
            let mut config = guest(&ca, noon(), &[version]);
            config.alpn_protocols = vec![b"h2".to_vec()];
            let (conn, answer) = asked(config, &leaves, room).await;
            assert_eq!(answer, b"question");
            assert_eq!(conn.protocol_version(), Some(version.version));
            assert_eq!(conn.alpn_protocol(), Some(&b"h2"[..]));
        }
    }
}

#[tokio::test]
async fn a_guest_that_does_not_trust_the_leaf_or_shares_no_protocol_is_told_apart() {
    let (_, leaves) = sandbox(&Limits::default());
    let (another, _) = sandbox(&Limits::default());
    let (ours, _) = accepted(trusting(&another, &[b"h2"]), &leaves).await;
    let ours = ours.map(|_| ()).unwrap_err();
    assert!(matches!(ours, AcceptError::Alert(_)), "{ours:?}");

    let (ca, leaves) = sandbox(&Limits::default());
    let (ours, theirs) = accepted(trusting(&ca, &[b"http/1.1"]), &leaves).await;
    assert!(matches!(ours, Err(AcceptError::Protocol(rustls::Error::NoApplicationProtocol))));
    let told = rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol);
    assert_eq!(cause(&theirs.unwrap_err()), told);
}

#[tokio::test]
async fn a_guest_that_ends_without_close_notify_is_not_a_clean_end() {
    let (ca, leaves) = sandbox(&Limits::default());
    let (ours, theirs) = accepted(trusting(&ca, &[b"h2"]), &leaves).await;
    drop(theirs.unwrap());
    let end = ours.unwrap().read_to_end(&mut Vec::new()).await;
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

/// Records of a ClientHello that claims 60,000 bytes.
fn endless_hello() -> Vec<u8> {
    let mut wire = Vec::new();
    let mut message = vec![1, 0, 0xea, 0x60];
    message.resize(60_004, 0);
    for part in message.chunks(0x4000) {
        wire.extend_from_slice(&[0x16, 3, 1]);
        wire.extend_from_slice(&u16::try_from(part.len()).unwrap().to_be_bytes());
        wire.extend_from_slice(part);
    }
    wire
}

#[tokio::test]
async fn a_huge_hello_is_read_no_further_than_the_limit() {
    let (mut far, near) = duplex(WIDE);
    far.write_all(&endless_hello()).await.unwrap();
    let limits = Limits::default();
    let (ours, answer) = tokio::join!(hello(rewound(near), &limits), async {
        let mut answer = [0; 7];
        far.read_exact(&mut answer).await.unwrap();
        answer
    });
    assert!(matches!(ours.map(|_| ()), Err(AcceptError::TooLarge)));
    assert_eq!(answer, [0x15, 3, 3, 0, 2, 2, 50]);
}

#[tokio::test]
async fn a_broken_hello_is_answered_with_an_alert_and_an_ended_one_with_nothing() {
    let (mut far, near) = duplex(WIDE);
    far.write_all(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00").await.unwrap();
    let broken = hello(rewound(near), &Limits::default()).await.map(|_| ());
    assert!(matches!(broken, Err(AcceptError::Protocol(_))), "{broken:?}");
    let mut answer = Vec::new();
    far.read_to_end(&mut answer).await.unwrap();
    assert_eq!((answer[0], answer[5]), (0x15, 2));

    let (mut far, near) = duplex(WIDE);
    far.write_all(b"\x16\x03\x01").await.unwrap();
    drop(far);
    let ended = hello(rewound(near), &Limits::default()).await.map(|_| ());
    assert!(matches!(ended, Err(AcceptError::Closed)), "{ended:?}");
}

#[tokio::test(start_paused = true)]
async fn hello_and_handshake_share_one_time_limit() {
    let limits = Limits::default();
    let started = Instant::now();
    let (_far, near) = duplex(WIDE);
    assert!(matches!(hello(rewound(near), &limits).await.map(|_| ()), Err(AcceptError::Timeout)));
    assert_eq!(started.elapsed(), limits.handshake);

    let (ca, leaves) = sandbox(&limits);
    let (far, near) = duplex(WIDE);
    let name = ServerName::try_from("a.example").unwrap();
    let mut client = rustls::ClientConnection::new(Arc::new(trusting(&ca, &[])), name).unwrap();
    let mut wire = Vec::new();
    client.write_tls(&mut wire).unwrap();
    let mut far = far;
    let late = limits.handshake - Duration::from_secs(1);
    let (hello, ()) = tokio::join!(hello(rewound(near), &limits), async {
        tokio::time::advance(late).await;
        far.write_all(&wire).await.unwrap();
    });
    let config = leaves.server_config(&host("a.example"), &[], noon()).unwrap();
    let started = Instant::now();
    assert!(matches!(hello.unwrap().accept(config).await, Err(AcceptError::Timeout)));
    assert_eq!(started.elapsed(), Duration::from_secs(1));
}
