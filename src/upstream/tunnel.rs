//! What is said to a proxy before a tunnel through it is open.
//!
//! Sans-IO: octets go in and come out, whoever holds the stream moves them. Invariant: no octet behind the proxy's last
//! word is taken for a part of it; those are the upstream's, and stay in the buffer.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use zeroize::Zeroizing;

use super::connect::Connect;
use super::server::{Credentials, Scheme};
use super::socks5::Socks5;
use crate::limits::Limits;
use crate::name::HostName;
use crate::policy::Denial;
use crate::tls::ConnectError;

pub(crate) use super::socks5::Reply;

/// Where a tunnel is to lead.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Address(SocketAddr),
    Name(HostName, u16),
}

impl fmt::Display for Target {
    /// As it stands in a CONNECT request.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => write!(f, "{addr}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
        }
    }
}

/// A message that may hold the password.
pub(super) type Message = Zeroizing<Vec<u8>>;

/// What is to be done next.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// Read more into the buffer.
    Read,
    /// Send this, then look into the buffer again.
    Send(Message),
    /// The tunnel is open; what is left in the buffer came through it.
    Open,
}

/// A conversation with a proxy.
pub(crate) enum Handshake {
    Connect(Connect),
    Socks5(Socks5),
}

impl Handshake {
    /// The conversation, and what is said first.
    pub(crate) fn begin(
        scheme: Scheme,
        credentials: Option<&Credentials>,
        target: &Target,
        limits: &Limits,
    ) -> (Self, Message) {
        match scheme {
            Scheme::Http | Scheme::Https => {
                let (connect, first) = Connect::begin(credentials, target, limits);
                (Self::Connect(connect), first)
            }
            Scheme::Socks5 => {
                let (socks, first) = Socks5::begin(credentials, target);
                (Self::Socks5(socks), first)
            }
        }
    }

    /// Takes what it understands off the front of `heard`.
    pub(crate) fn hear(&mut self, heard: &mut BytesMut) -> Result<Next, TunnelError> {
        match self {
            Self::Connect(connect) => connect.hear(heard),
            Self::Socks5(socks) => socks.hear(heard),
        }
    }
}

/// Why a proxy gave no tunnel. The text follows its name, and holds nothing that it said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TunnelError {
    #[error("has no address: {0}")]
    Unresolved(String),
    #[error("is not allowed: {0}")]
    Denied(Denial),
    #[error("did not open the tunnel in time")]
    Timeout,
    #[error("cannot be reached: {0}")]
    Unreachable(io::Error),
    #[error("cannot be spoken to over TLS: {0}")]
    Tls(ConnectError),
    #[error("closed the connection before the tunnel was open")]
    Closed,
    #[error("broke off before the tunnel was open: {0}")]
    Broken(io::ErrorKind),
    #[error("answered with something that is no {0}")]
    Garbage(&'static str),
    #[error("answered with a head that is too large")]
    TooLarge,
    #[error("wants a login, or another one (status {0}); see its username and password")]
    Unauthenticated(u16),
    #[error("refused it with status {0}")]
    Status(u16),
    #[error("takes no way of login that we have; see its username and password")]
    NoMethod,
    #[error("did not accept the login; see its username and password")]
    BadLogin,
    #[error("{0}")]
    Refused(Reply),
}

impl TunnelError {
    /// Whether another address of the host may do better.
    pub(crate) fn is_of_the_address(&self) -> bool {
        match self {
            // Bad gateway, unavailable, gateway timeout: what lies behind the proxy.
            Self::Status(status) => matches!(status, 502..=504),
            Self::Refused(reply) => reply.is_of_the_address(),
            Self::Unresolved(_)
            | Self::Denied(_)
            | Self::Timeout
            | Self::Unreachable(_)
            | Self::Tls(_)
            | Self::Closed
            | Self::Broken(_)
            | Self::Garbage(_)
            | Self::TooLarge
            | Self::Unauthenticated(_)
            | Self::NoMethod
            | Self::BadLogin => false,
        }
    }

    /// The error token of `proxy-status` ([RFC 9209 §2.3](https://www.rfc-editor.org/rfc/rfc9209#section-2.3)).
    pub(crate) fn proxy_status(&self) -> &'static str {
        match self {
            Self::Unresolved(_) => "dns_error",
            Self::Denied(_) => "destination_ip_prohibited",
            Self::Timeout => "connection_timeout",
            Self::Unreachable(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                "connection_refused"
            }
            Self::Unreachable(_) => "destination_ip_unroutable",
            Self::Tls(error) => error.proxy_status(),
            Self::Closed | Self::Broken(_) => "connection_terminated",
            Self::Garbage(_) => "http_protocol_error",
            Self::TooLarge => "http_response_header_section_size",
            Self::Unauthenticated(_) | Self::NoMethod | Self::BadLogin => "proxy_configuration_error",
            Self::Status(403) => "http_request_denied",
            Self::Status(_) => "destination_unavailable",
            Self::Refused(reply) => reply.proxy_status(),
        }
    }
}
