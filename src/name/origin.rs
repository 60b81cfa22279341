//! Scheme, host and port: what a request is for.
//!
//! It reads nothing. Invariant: two origins are equal exactly where [RFC 6454 §5] says so.
//!
//! [RFC 6454 §5]: https://www.rfc-editor.org/rfc/rfc6454#section-5

use std::fmt;

use super::{Authority, Host, HostName};

/// URI scheme of an origin.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `http`, never with a secret.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// The port meant where none is written.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Scheme, host and port of a request ([RFC 6454 §4]).
///
/// [RFC 6454 §4]: https://www.rfc-editor.org/rfc/rfc6454#section-4
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Origin {
    /// Scheme.
    pub scheme: Scheme,
    /// Host name; an address has no origin here, since rules are by name.
    pub host: HostName,
    /// Port of the guest's connection.
    pub port: u16,
}

impl Origin {
    /// Whether `authority` means this very origin.
    #[must_use]
    pub fn is_meant_by(&self, authority: &Authority) -> bool {
        let port = authority.port.unwrap_or_else(|| self.scheme.default_port());
        port == self.port && matches!(&authority.host, Host::Name(name) if *name == self.host)
    }

    /// `host`, or `host:port` where the port is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}
