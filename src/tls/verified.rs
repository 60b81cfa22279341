//! Proof that an upstream's certificate was verified for a name.
//!
//! Only [`Connector`](super::Connector) makes a [`VerifiedPeer`] outside of unit tests, after a whole
//! handshake; only a [`VerifiedPeer`] makes an injector.

use rustls::AlertDescription;
use tokio_rustls::client::TlsStream;

use super::farewell::{Farewell, Heard};
use crate::name::HostName;
use crate::upstream::Stream;

/// The HTTP version both legs speak, by ALPN ([RFC 7301](https://www.rfc-editor.org/rfc/rfc7301)).
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Alpn {
    /// `h2`.
    H2,
    /// `http/1.1`, also meant where nothing was negotiated.
    Http1,
}

impl Alpn {
    /// The identifier on the wire.
    #[must_use]
    pub fn wire(self) -> &'static [u8] {
        match self {
            Self::H2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }

    /// Reads an identifier; none for every other protocol.
    #[must_use]
    pub fn from_wire(identifier: &[u8]) -> Option<Self> {
        [Self::H2, Self::Http1].into_iter().find(|alpn| alpn.wire() == identifier)
    }
}

/// What rustls wants to have for an offer.
pub(super) fn wire_list(offer: &[Alpn]) -> Vec<Vec<u8>> {
    offer.iter().map(|alpn| alpn.wire().to_vec()).collect()
}

/// Name and port that an upstream proved to be, in a handshake verified to the end.
#[derive(Debug)]
pub struct VerifiedPeer {
    name: HostName,
    port: u16,
    farewell: Farewell,
}

impl VerifiedPeer {
    /// Made when a handshake verified for `name` has ended.
    pub(crate) fn new(name: HostName, port: u16) -> Self {
        Self { name, port, farewell: Farewell::default() }
    }

    /// The name in the upstream's certificate that was asked for.
    #[must_use]
    pub fn name(&self) -> &HostName {
        &self.name
    }

    /// The port of the origin, which the guest asked for; an operator's `--connect-to` may have dialled
    /// another one for it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its stream, of which an alert at the end will be known.
    #[must_use]
    pub fn hear(&self, stream: TlsStream<Stream>) -> Heard {
        self.farewell.hear(stream)
    }

    /// The alert by which it ended its TLS, where it was heard and did.
    #[must_use]
    pub fn alert(&self) -> Option<AlertDescription> {
        self.farewell.alert()
    }
}
