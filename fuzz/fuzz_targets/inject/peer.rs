//! A peer that was verified, since nothing else makes an injector: a handshake on loopback, once a process.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use portcullis::limits::Limits;
use portcullis::name::{HostName, Origin, Scheme};
use portcullis::policy::{Rule, ConnectTo, Dialled, Policy, RuleSource};
use portcullis::tls::{Connector, Roots, VerifiedPeer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The name in the certificate.
pub(crate) const HOST: &str = "api.example.com";

pub(crate) fn verified() -> VerifiedPeer {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime").block_on(meet()).expect("a handshake")
}

async fn meet() -> io::Result<VerifiedPeer> {
    let certs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../certs");
    let chain = CertificateDer::from_pem_file(certs.join("good.pem")).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(certs.join("server.key")).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.expect("versions").with_no_client_auth().with_single_cert(vec![chain], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("a certificate with its key")));

    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let addr = listener.local_addr()?;
    let host = HostName::parse(HOST).expect("a name");
    let source = RuleSource::Flag(HOST.to_owned());
    let to = ConnectTo::parse(&format!("{HOST}:443:{addr}")).expect("a rule");
    let policy =
        Policy::builder().rule(Rule::allowing(HOST, source).expect("a rule")).connect_to(to).build();
    let origin = Origin { scheme: Scheme::Https, host, port: 443 };
    let name = policy.at_name(&origin).into_result().expect("an allowed name");
    let permit = policy.at_addr(&name, addr.ip()).into_result().expect("an allowed address");
    let (stream, served) = tokio::join!(TcpStream::connect(addr), listener.accept());
    let roots = Roots::only(&[certs.join("ca.pem")]).expect("a root");
    let connector = Connector::new(&roots, &Limits::default()).expect("a connector");
    let dialled = Dialled::new(stream?, permit);
    let (upstream, _) = tokio::join!(connector.connect(dialled.into(), &origin, &[]), acceptor.accept(served?.0));
    let (_, peer, _) = upstream.expect("an upstream of that name").into_parts();
    Ok(peer)
}
