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
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client::{special, usual};
use super::verified::wire_list;
use super::{Alpn, ConnectError, Roots, TlsConfigError, VerifiedPeer};
use crate::limits::Limits;
use crate::name::{Host, HostName, Origin};
use crate::upstream::{Connection, Options, Stream, Upstreams};

/// Makes verified upstreams for one sandbox, and remembers their sessions by name.
pub struct Connector {
    usual: ClientConfig,
    upstreams: Arc<Upstreams>,
    /// What entries of `upstreams` need, each distinct set once.
    special: Vec<(usize, ClientConfig)>,
    proxies: ClientConfig,
    handshake: Duration,
}

impl Connector {
    /// Verifies against `roots` and nothing else, with TLS 1.3 or 1.2.
    ///
    /// Of the sessions to be resumed at most [`Limits::upstream_sessions`] are kept, up to eight a name.
    pub fn new(roots: &Roots, limits: &Limits) -> Result<Self, TlsConfigError> {
        Self::for_upstreams(roots, Arc::default(), limits)
    }

    /// The same, but for hosts that have roots, a certificate of ours or a version of their own. Each set of those
    /// keeps as many sessions for itself.
    pub fn for_upstreams(
        roots: &Roots,
        upstreams: Arc<Upstreams>,
        limits: &Limits,
    ) -> Result<Self, TlsConfigError> {
        let mut special_ = Vec::new();
        for (at, options) in upstreams.options().iter().enumerate().filter(|(_, own)| own.tls_differs()) {
            if first_like(&upstreams, options) == Some(at) {
                special_.push((at, special(roots, options, limits)?));
            }
        }
        let (usual, proxies) = (usual(roots, limits)?, usual(roots, limits)?);
        Ok(Self { usual, upstreams, special: special_, proxies, handshake: limits.handshake })
    }

    /// Verifies that `connection` leads to `origin`'s host, offering the protocols of `offer` in their order.
    ///
    /// An empty `offer` sends no ALPN. A permit that was given for a name must have been given for this one.
    pub async fn connect(
        &self,
        connection: Connection,
        origin: &Origin,
        offer: &[Alpn],
    ) -> Result<VerifiedUpstream, ConnectError> {
        if !covers(connection.leave().host(), &origin.host) {
            return Err(ConnectError::NotPermitted);
        }
        self.verify(connection.stream, origin, offer).await
    }

    async fn verify(
        &self,
        stream: Stream,
        origin: &Origin,
        offer: &[Alpn],
    ) -> Result<VerifiedUpstream, ConnectError> {
        let name = ServerName::try_from(origin.host.to_string()).map_err(|_| ConnectError::Name)?;
        let options = self.upstreams.of(&origin.host);
        // A clone shares verifier, certificate and sessions with the original, so every offer resumes what another began.
        let mut config = self.config(options).clone();
        config.alpn_protocols = wire_list(offer);
        let limit = options.and_then(|own| own.handshake_timeout).unwrap_or(self.handshake);
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        let stream = match timeout(limit, connecting).await.map_err(|_| ConnectError::Timeout)? {
            Ok(stream) => stream,
            Err(error) => return Err(blamed(error.into(), options)),
        };
        let alpn = match stream.get_ref().1.alpn_protocol() {
            Some(chosen) => Alpn::from_wire(chosen).ok_or(ConnectError::Alpn)?,
            None => Alpn::Http1,
        };
        let peer = VerifiedPeer::new(origin.host.clone(), origin.port);
        Ok(VerifiedUpstream { stream, peer, alpn })
    }

    /// What a host with these options is met with.
    fn config(&self, options: Option<&Options>) -> &ClientConfig {
        let at = options.filter(|own| own.tls_differs()).and_then(|own| first_like(&self.upstreams, own));
        let own = self.special.iter().find(|(own, _)| Some(*own) == at);
        own.map_or(&self.usual, |(_, config)| config)
    }

    /// Verifies that `stream` leads to the operator's proxy at `host`; whoever dials it holds it to a time.
    pub(crate) async fn connect_proxy(
        &self,
        stream: TcpStream,
        host: &Host,
    ) -> Result<TlsStream<TcpStream>, ConnectError> {
        let name = match host {
            Host::Name(name) => ServerName::try_from(name.to_string()).map_err(|_| ConnectError::Name)?,
            Host::Address(addr) => ServerName::from(*addr),
        };
        let mut config = self.proxies.clone();
        config.alpn_protocols = wire_list(&[Alpn::Http1]);
        Ok(TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
    }
}

/// Place of the first entry whose TLS is that of `options`.
fn first_like(upstreams: &Upstreams, options: &Options) -> Option<usize> {
    let like = |own: &Options| {
        own.ca == options.ca && own.client == options.client && own.min_tls == options.min_tls
    };
    upstreams.options().iter().position(like)
}

/// Why there is no upstream, where its host may have roots of its own.
fn blamed(error: ConnectError, options: Option<&Options>) -> ConnectError {
    let own_roots = options.is_some_and(|own| !own.ca.is_empty());
    if own_roots && matches!(error, ConnectError::UnknownIssuer) { ConnectError::OtherIssuer } else { error }
}

/// Whether a permit for `permitted` may be used for `name`.
fn covers(permitted: Option<&HostName>, name: &HostName) -> bool {
    permitted.is_none_or(|host| host == name)
}

/// An upstream after its handshake.
#[derive(Debug)]
pub struct VerifiedUpstream {
    stream: TlsStream<Stream>,
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
    pub fn into_parts(self) -> (TlsStream<Stream>, VerifiedPeer, Alpn) {
        (self.stream, self.peer, self.alpn)
    }
}

#[cfg(test)]
mod tests;
