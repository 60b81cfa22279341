//! The leg toward an upstream.
//!
//! It dials nothing, resolves nothing and judges nothing: it takes a connection that was permitted, and
//! verifies who is at its other end. Invariant: a [`VerifiedPeer`] is made only after a handshake that ended
//! with a certificate valid for that very name, or that resumed a session which once did.
//!
//! A clean end of what the upstream sends is its close_notify; without one, reading ends in
//! [`io::ErrorKind::UnexpectedEof`](std::io::ErrorKind::UnexpectedEof), and the answer may be cut short.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::verified::wire_list;
use super::{Alpn, ConnectError, Roots, TlsConfigError, VerifiedPeer, provider};
use crate::limits::Limits;
use crate::name::{HostName, Origin};
use crate::policy::Dialled;

/// Makes verified upstreams for one sandbox, and remembers their sessions by name.
pub struct Connector {
    config: ClientConfig,
    handshake: Duration,
}

impl Connector {
    /// Verifies against `roots` and nothing else, with TLS 1.3 or 1.2.
    ///
    /// Of the sessions to be resumed at most [`Limits::upstream_sessions`] are kept, up to eight a name.
    pub fn new(roots: &Roots, limits: &Limits) -> Result<Self, TlsConfigError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots.store())
            .with_no_client_auth();
        config.resumption = Resumption::in_memory_sessions(limits.upstream_sessions);
        Ok(Self { config, handshake: limits.handshake })
    }

    /// Verifies that `dialled` leads to `origin`'s host, offering the protocols of `offer` in their order.
    ///
    /// An empty `offer` sends no ALPN. A permit that was given for a name must have been given for this one.
    pub async fn connect(
        &self,
        dialled: Dialled,
        origin: &Origin,
        offer: &[Alpn],
    ) -> Result<VerifiedUpstream, ConnectError> {
        if !covers(dialled.permit().host(), &origin.host) {
            return Err(ConnectError::NotPermitted);
        }
        self.verify(dialled.stream, origin, offer).await
    }

    async fn verify(
        &self,
        stream: TcpStream,
        origin: &Origin,
        offer: &[Alpn],
    ) -> Result<VerifiedUpstream, ConnectError> {
        let name = ServerName::try_from(origin.host.to_string()).map_err(|_| ConnectError::Name)?;
        // A clone shares verifier and sessions with the original, so every offer resumes what another began.
        let mut config = self.config.clone();
        config.alpn_protocols = wire_list(offer);
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = timeout(self.handshake, connecting).await.map_err(|_| ConnectError::Timeout)??;
        let alpn = match stream.get_ref().1.alpn_protocol() {
            Some(chosen) => Alpn::from_wire(chosen).ok_or(ConnectError::Alpn)?,
            None => Alpn::Http1,
        };
        let peer = VerifiedPeer::new(origin.host.clone(), origin.port);
        Ok(VerifiedUpstream { stream, peer, alpn })
    }
}

/// Whether a permit for `permitted` may be used for `name`.
fn covers(permitted: Option<&HostName>, name: &HostName) -> bool {
    permitted.is_none_or(|host| host == name)
}

/// An upstream after its handshake.
#[derive(Debug)]
pub struct VerifiedUpstream {
    stream: TlsStream<TcpStream>,
    peer: VerifiedPeer,
    alpn: Alpn,
}

impl VerifiedUpstream {
    /// The protocol it chose; HTTP/1 where it chose none.
    #[must_use]
    pub fn alpn(&self) -> Alpn {
        self.alpn
    }

    /// Who it proved to be.
    #[must_use]
    pub fn peer(&self) -> &VerifiedPeer {
        &self.peer
    }

    /// The stream, its proof, and its protocol.
    #[must_use]
    pub fn into_parts(self) -> (TlsStream<TcpStream>, VerifiedPeer, Alpn) {
        (self.stream, self.peer, self.alpn)
    }
}

#[cfg(test)]
mod tests;
