//! A nameserver as the operator writes it.
//!
//! It resolves nothing. Invariant: a name in it is canonical, and a port is one that can be asked.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use crate::name::{HostName, NameError, parse_port};

use super::hosts::PORT;

/// Who is asked about allowed names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Nameserver {
    /// At this address.
    Addr(SocketAddr),
    /// At the addresses that the host's own hosts file or nameservers have for this name, and this port.
    Name(HostName, u16),
}

impl From<SocketAddr> for Nameserver {
    fn from(addr: SocketAddr) -> Self {
        Self::Addr(addr)
    }
}

impl FromStr for Nameserver {
    type Err = NameError;

    /// Reads `ADDR`, `ADDR:PORT` with an IPv6 address in brackets, `NAME` or `NAME:PORT`; port 53 where none is written.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Ok(addr) = text.parse::<IpAddr>() {
            return Ok(Self::Addr(SocketAddr::new(addr, PORT)));
        }
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return if addr.port() == 0 { Err(NameError::Port) } else { Ok(Self::Addr(addr)) };
        }
        match text.rsplit_once(':') {
            Some((name, port)) => Ok(Self::Name(HostName::parse(name)?, parse_port(port)?)),
            None => Ok(Self::Name(HostName::parse(text)?, PORT)),
        }
    }
}

impl fmt::Display for Nameserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => addr.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_read_with_and_without_a_port() {
        for (text, read) in [
            ("9.9.9.9", "9.9.9.9:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("2620:fe::fe", "[2620:fe::fe]:53"),
            ("[::1]:5353", "[::1]:5353"),
            ("NS.Example.com.", "ns.example.com:53"),
            ("ns.example.com:5353", "ns.example.com:5353"),
            ("bücher.example", "xn--bcher-kva.example:53"),
        ] {
            assert_eq!(
                text.parse::<Nameserver>().map(|server| server.to_string()),
                Ok(read.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_neither_is_refused() {
        for text in [
            "",
            ".",
            ":53",
            "9.9.9.9:0",
            "9.9.9.9:99999",
            "9.9.9",
            "0x7f.1",
            "[::1]",
            "[::1]:0",
            "ns.example:0",
            "ns.example:",
            "ns.example:+53",
            "a b",
            "udp://9.9.9.9",
            "ns.example/53",
            "fe80::1%eth0",
        ] {
            assert!(text.parse::<Nameserver>().is_err(), "{text}");
        }
    }
}
