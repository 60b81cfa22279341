//! A guest's side of TLS, for the tests of its leg. It makes no network.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::client::{ClientConnection, ClientSessionMemoryCache, ClientSessionStore};
use rustls::client::{Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ServerConnection;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, NamedGroup, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::{CertificateAuthority, Leaves};
use crate::limits::Limits;
use crate::name::HostName;

/// Some time in 2027.
pub(super) fn noon() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

pub(super) fn host(name: &str) -> HostName {
    HostName::parse(name).unwrap()
}

/// A sandbox's CA and leaves, made at [`noon`].
pub(super) fn sandbox(limits: &Limits) -> (Arc<CertificateAuthority>, Leaves) {
    let ca = Arc::new(CertificateAuthority::new(noon()).unwrap());
    let leaves = Leaves::new(Arc::clone(&ca), limits).unwrap();
    (ca, leaves)
}

#[derive(Debug)]
struct Clock(SystemTime);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.duration_since(SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// A guest that trusts `ca` and whose clock shows `wall`.
pub(super) fn guest(
    ca: &CertificateAuthority,
    wall: SystemTime,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(ca.der().clone()).unwrap();
    ClientConfig::builder_with_details(Arc::new(default_provider()), Arc::new(Clock(wall)))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A handshake and one byte from the server, so that tickets have arrived.
pub(super) fn shake(
    guest: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Result<(ClientConnection, ServerConnection), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::clone(guest), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    let mut sent = false;
    while client.wants_write() || server.wants_write() || !sent {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |from| server.read_tls(from));
        server.process_new_packets()?;
        if !sent && !server.is_handshaking() {
            std::io::Write::write_all(&mut server.writer(), b"x").unwrap();
            sent = true;
        }
        wire.clear();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        feed(&wire, |from| client.read_tls(from));
        client.process_new_packets()?;
    }
    Ok((client, server))
}

fn feed(mut wire: &[u8], mut read: impl FnMut(&mut &[u8]) -> std::io::Result<usize>) {
    while !wire.is_empty() {
        read(&mut wire).unwrap();
    }
}

/// The leaf a guest was shown.
pub(super) fn shown(client: &ClientConnection) -> CertificateDer<'static> {
    client.peer_certificates().unwrap()[0].clone().into_owned()
}

/// A guest that offers the tickets of any name to every other.
pub(super) fn promiscuous() -> Resumption {
    Resumption::store(Arc::new(Promiscuous(ClientSessionMemoryCache::new(8))))
}

#[derive(Debug)]
struct Promiscuous(ClientSessionMemoryCache);

fn anyone() -> ServerName<'static> {
    ServerName::try_from("anyone.example").unwrap()
}

impl ClientSessionStore for Promiscuous {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(anyone(), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&anyone())
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(anyone(), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&anyone())
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&anyone());
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(anyone(), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&anyone())
    }
}
