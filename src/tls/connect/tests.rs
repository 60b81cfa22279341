//! The upstream leg, against every certificate of `certs/`.

use std::io;
use std::net::SocketAddr;

use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateError, HandshakeKind, ProtocolVersion, ServerConfig,
    SupportedProtocolVersion,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::super::pki;
use super::super::testing::host;
use super::*;
use crate::name::Scheme;
use crate::tls::{CertificateAuthority, Leaves};

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const API: &str = "api.example.com";

fn connector() -> Connector {
    Connector::new(&Roots::only(&[pki::path("ca.pem")]).unwrap(), &Limits::default()).unwrap()
}

fn origin(name: &str) -> Origin {
    Origin { scheme: Scheme::Https, host: host(name), port: 443 }
}

type Served = io::Result<tokio_rustls::server::TlsStream<TcpStream>>;

/// One connection from a connector to a server of its own on loopback.
async fn meet(
    connector: &Connector,
    server: &Arc<ServerConfig>,
    name: &str,
    offer: &[Alpn],
) -> (Result<VerifiedUpstream, ConnectError>, Served) {
    let (client, served) = pair().await;
    let acceptor = TlsAcceptor::from(Arc::clone(server));
    let origin = origin(name);
    tokio::join!(connector.verify(client.into(), &origin, offer), acceptor.accept(served))
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (client, served) = tokio::join!(TcpStream::connect(addr), listener.accept());
    (client.unwrap(), served.unwrap().0)
}

/// A whole connection in which the tickets arrive; how its handshake was done.
async fn kind(
    connector: &Connector,
    server: &Arc<ServerConfig>,
    name: &str,
    offer: &[Alpn],
) -> HandshakeKind {
    let (upstream, served) = meet(connector, server, name, offer).await;
    let (mut upstream, mut served) = (upstream.unwrap().into_parts().0, served.unwrap());
    served.write_all(b"x").await.unwrap();
    served.flush().await.unwrap();
    assert_eq!(upstream.read_u8().await.unwrap(), b'x');
    upstream.get_ref().1.handshake_kind().unwrap()
}

async fn failure(certificate: &str) -> ConnectError {
    let server = Arc::new(pki::server_config(certificate, BOTH, &[]));
    let (upstream, served) = meet(&connector(), &server, API, &[]).await;
    assert!(served.is_err(), "{certificate}: the upstream was told");
    upstream.unwrap_err()
}

#[tokio::test]
async fn a_bad_certificate_of_each_kind_is_refused_with_its_own_cause() {
    assert!(matches!(failure("expired").await, ConnectError::Expired));
    assert!(matches!(failure("not-yet").await, ConnectError::NotYetValid));
    assert!(matches!(failure("wrong-name").await, ConnectError::WrongName));
    assert!(matches!(failure("self-signed").await, ConnectError::UnknownIssuer));
    assert!(matches!(failure("untrusted").await, ConnectError::UnknownIssuer));
    let own_ca = failure("self-signed-ca").await;
    assert!(matches!(own_ca, ConnectError::BadCertificate(CertificateError::Other(_))), "{own_ca:?}");
    assert_eq!(own_ca.to_string(), "the upstream's certificate was not accepted: CaUsedAsEndEntity");
    assert!(own_ca.is_distrust());
}

#[tokio::test]
async fn a_good_certificate_makes_a_peer_of_that_name_and_the_origins_port() {
    let server = Arc::new(pki::server_config("good", BOTH, &[]));
    let (upstream, _) = meet(&connector(), &server, API, &[]).await;
    let upstream = upstream.unwrap();
    assert_eq!((upstream.peer().name(), upstream.peer().port()), (&host(API), 443));
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the connector reads the clock, so the leaf must be valid by it"
)]
async fn a_sandboxs_own_ca_is_not_trusted_upstream() {
    let now = std::time::SystemTime::now();
    let ca = Arc::new(CertificateAuthority::new(now).unwrap());
    let leaves = Leaves::new(ca, &Limits::default()).unwrap();
    let server = leaves.server_config(&host(API), &[], now).unwrap();
    let error = meet(&connector(), &server, API, &[]).await.0.unwrap_err();
    assert!(matches!(error, ConnectError::UnknownIssuer), "{error:?}");
}

#[tokio::test]
async fn an_upstream_with_one_version_only_is_spoken_to_in_it() {
    for (version, number) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let server = Arc::new(pki::server_config("good", &[version], &[]));
        let (upstream, _) = meet(&connector(), &server, API, &[Alpn::H2]).await;
        let (stream, ..) = upstream.unwrap().into_parts();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(number));
    }
}

#[tokio::test]
async fn sessions_resume_for_their_name_whatever_is_offered_and_for_no_other() {
    for version in [&TLS12, &TLS13] {
        let server = Arc::new(pki::server_config("good", &[version], &[b"h2", b"http/1.1"]));
        let connector_ = connector();
        assert_eq!(kind(&connector_, &server, API, &[Alpn::H2]).await, HandshakeKind::Full);
        assert_eq!(kind(&connector_, &server, API, &[Alpn::H2]).await, HandshakeKind::Resumed);
        assert_eq!(kind(&connector_, &server, API, &[Alpn::Http1]).await, HandshakeKind::Resumed);
        assert_eq!(kind(&connector_, &server, "localhost", &[Alpn::H2]).await, HandshakeKind::Full);
        assert_eq!(kind(&connector(), &server, API, &[Alpn::H2]).await, HandshakeKind::Full);
    }
}

#[tokio::test]
async fn the_upstream_chooses_from_the_offer_and_none_means_http1() {
    let chosen = async |offer: &[Alpn], spoken: &[&[u8]]| {
        let server = Arc::new(pki::server_config("good", BOTH, spoken));
        meet(&connector(), &server, API, offer).await.0.map(|upstream| upstream.alpn())
    };
    assert!(matches!(chosen(&[Alpn::H2, Alpn::Http1], &[b"h2"]).await, Ok(Alpn::H2)));
    assert!(matches!(chosen(&[Alpn::H2, Alpn::Http1], &[b"http/1.1"]).await, Ok(Alpn::Http1)));
    assert!(matches!(chosen(&[Alpn::H2], &[]).await, Ok(Alpn::Http1)));
    assert!(matches!(chosen(&[], &[b"h2"]).await, Ok(Alpn::Http1)));
    assert!(matches!(chosen(&[Alpn::Http1], &[b"h2"]).await, Err(ConnectError::Alpn)));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_says_nothing_is_given_up_in_time() {
    let (client, _silent) = pair().await;
    let started = tokio::time::Instant::now();
    let error = connector().verify(client.into(), &origin(API), &[]).await.unwrap_err();
    assert!(matches!(error, ConnectError::Timeout));
    assert_eq!(started.elapsed(), Limits::default().handshake);
}

#[tokio::test]
async fn an_upstream_that_closes_or_speaks_no_tls_is_told_apart() {
    let answer = async |bytes: &[u8]| {
        let (client, mut served) = pair().await;
        let closing = async move {
            let mut hello = [0; 4096];
            assert!(served.read(&mut hello).await.unwrap() > 0);
            served.write_all(bytes).await.unwrap();
            served.shutdown().await.unwrap();
        };
        let connector = connector();
        let origin = origin(API);
        let (verified, ()) = tokio::join!(connector.verify(client.into(), &origin, &[]), closing);
        verified.unwrap_err()
    };
    assert!(matches!(answer(b"").await, ConnectError::Closed));
    assert!(matches!(answer(b"HTTP/1.1 400 Bad Request\r\n\r\n").await, ConnectError::Protocol(_)));
    let refused = answer(b"\x15\x03\x03\x00\x02\x02\x28").await;
    assert!(matches!(refused, ConnectError::Alert(AlertDescription::HandshakeFailure)), "{refused:?}");
}

#[tokio::test]
async fn an_answer_cut_short_is_not_a_clean_end() {
    let server = Arc::new(pki::server_config("good", BOTH, &[]));
    for clean in [true, false] {
        let (upstream, served) = meet(&connector(), &server, API, &[]).await;
        let (mut upstream, mut served) = (upstream.unwrap().into_parts().0, served.unwrap());
        served.write_all(b"half").await.unwrap();
        served.flush().await.unwrap();
        if clean {
            served.shutdown().await.unwrap();
        }
        drop(served);
        let mut answer = Vec::new();
        let end = upstream.read_to_end(&mut answer).await.map_err(|error| error.kind());
        assert_eq!(answer, b"half");
        assert_eq!(end, if clean { Ok(4) } else { Err(io::ErrorKind::UnexpectedEof) });
    }
}

#[test]
fn a_permit_for_another_name_is_not_used() {
    assert!(covers(Some(&host(API)), &host(API)) && covers(None, &host(API)));
    assert!(!covers(Some(&host("other.example.com")), &host(API)));
}

#[test]
fn every_failure_has_a_line_a_status_and_a_token() {
    let unoffered = rustls::PeerMisbehaved::SelectedUnofferedApplicationProtocol;
    assert!(matches!(ConnectError::from(rustls::Error::from(unoffered)), ConnectError::Alpn));
    let cases = [
        (ConnectError::Expired, 502, "tls_certificate_error"),
        (ConnectError::NotYetValid, 502, "tls_certificate_error"),
        (ConnectError::WrongName, 502, "tls_certificate_error"),
        (ConnectError::UnknownIssuer, 502, "tls_certificate_error"),
        (ConnectError::BadCertificate(CertificateError::BadEncoding), 502, "tls_certificate_error"),
        (ConnectError::Name, 502, "tls_certificate_error"),
        (ConnectError::Alert(AlertDescription::AccessDenied), 502, "tls_alert_received"),
        (ConnectError::Alpn, 502, "tls_protocol_error"),
        (ConnectError::Protocol(rustls::Error::DecryptError), 502, "tls_protocol_error"),
        (ConnectError::Timeout, 504, "connection_timeout"),
        (ConnectError::Closed, 502, "connection_terminated"),
        (ConnectError::Io(io::ErrorKind::ConnectionReset), 502, "connection_terminated"),
        (ConnectError::NotPermitted, 502, "proxy_internal_error"),
    ];
    for (error, status, token) in cases {
        assert_eq!((error.status().as_u16(), error.proxy_status()), (status, token), "{error:?}");
        let text = error.to_string();
        assert!(text.len() > 20 && !text.contains(['\r', '\n']), "{text:?}");
    }
}

#[test]
fn what_the_certificate_says_of_itself_is_not_repeated() {
    let presented = vec!["evil\r\nname".to_owned()];
    let error = CertificateError::InvalidPurposeContext {
        required: rustls::ExtendedKeyPurpose::ServerAuth,
        presented: vec![rustls::ExtendedKeyPurpose::Other(vec![1, 2])],
    };
    let text = ConnectError::from(error).to_string();
    assert_eq!(text, "the upstream's certificate was not accepted: InvalidPurposeContext");
    let expected = ServerName::try_from(API).unwrap();
    let text =
        ConnectError::from(CertificateError::NotValidForNameContext { expected, presented }).to_string();
    assert!(!text.contains("evil"));
}

#[test]
fn operator_files_are_whole_certificates_or_nothing_starts() {
    let fault = |file: &str| Roots::only(&[pki::path(file)]).unwrap_err();
    assert!(matches!(fault("no-such.pem"), TlsConfigError::Unreadable { .. }));
    assert!(matches!(fault("server.key"), TlsConfigError::NoCertificate { .. }));
    assert!(matches!(fault("make.sh"), TlsConfigError::NoCertificate { .. }));
    assert!(matches!(Roots::only(&[]), Err(TlsConfigError::NoRoots { .. })));
    for text in ["no-such.pem", "server.key"].map(|file| fault(file).to_string()) {
        assert!(text.contains("certs/") && !text.contains('\n'), "{text}");
    }
    assert!(Roots::system(&[pki::path("ca.pem")]).is_ok());
    assert!(matches!(Roots::system(&[pki::path("server.key")]), Err(TlsConfigError::NoCertificate { .. })));
    let damaged = std::env::temp_dir().join(format!("portcullis-damaged-{}.pem", std::process::id()));
    std::fs::write(&damaged, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    let fault = Roots::only(std::slice::from_ref(&damaged)).unwrap_err();
    std::fs::remove_file(&damaged).unwrap();
    assert!(matches!(fault, TlsConfigError::BadCertificate { .. }));
}

#[test]
fn entries_with_the_same_tls_share_one_configuration_and_others_none() {
    let ca = pki::path("ca.pem");
    let text = format!(
        "[[upstream]]\nhosts = ['a.example']\nca = ['{ca}']\n[[upstream]]\nhosts = ['b.example']\nmin_tls = '1.3'\n\
         [[upstream]]\nhosts = ['c.example']\nca = ['{ca}']\nconnect_timeout = '1s'\n\
         [[upstream]]\nhosts = ['d.example']\nconnect_timeout = '1s'\n",
        ca = ca.display()
    );
    let upstreams = Arc::new(crate::config::Config::parse(&text).unwrap().upstreams);
    let roots = Roots::only(&[ca]).unwrap();
    let connector = Connector::for_upstreams(&roots, Arc::clone(&upstreams), &Limits::default()).unwrap();
    let config = |name: &str| std::ptr::from_ref(connector.config(upstreams.of(&host(name))));
    assert_eq!(config("a.example"), config("c.example"));
    assert_ne!(config("a.example"), config("b.example"));
    assert_eq!(config("d.example"), config("nobody.example"));
    for special in ["a.example", "b.example"] {
        assert_ne!(config(special), config("nobody.example"));
    }
}
