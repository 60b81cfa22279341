//! Networks and MAC addresses as people write them.
//!
//! What is read here is well formed and nothing more; whether a sandbox can have it is its addressing's to say.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An address and how much of it is its network's, written `ADDR/LEN`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cidr<A> {
    /// The address.
    pub address: A,
    /// Length of the network's part, bits.
    pub prefix: u8,
}

impl<A: fmt::Display> fmt::Display for Cidr<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A text that is no address and length.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is no network; write ADDR/LEN")]
pub struct CidrError;

impl<A: FromStr> FromStr for Cidr<A> {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = text.split_once('/').ok_or(CidrError)?;
        let digits = prefix.bytes().all(|octet| octet.is_ascii_digit());
        let prefix = prefix.parse().ok().filter(|_| digits).ok_or(CidrError)?;
        Ok(Self { address: address.parse().map_err(|_| CidrError)?, prefix })
    }
}

impl Cidr<Ipv4Addr> {
    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix.into())).unwrap_or(0)
    }

    /// The network, its first address for its address.
    pub(super) fn network(self) -> Self {
        Self { address: Ipv4Addr::from_bits(self.address.to_bits() & self.mask()), ..self }
    }

    pub(super) fn contains(self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.address.to_bits()) & self.mask() == 0
    }

    pub(super) fn overlaps(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// Whether an address in it is its first or its last, which are no host's; RFC 1122 §3.2.1.3.
    pub(super) fn is_edge(self, address: Ipv4Addr) -> bool {
        let host = address.to_bits() & !self.mask();
        host == 0 || host == !self.mask()
    }
}

/// A MAC address, to be shown and read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// A text that is no MAC address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is no MAC address; write six pairs of hexadecimal digits, as in 02:00:00:00:00:02")]
pub struct MacError;

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let octet = |pair: &str| {
            let digits = pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
            u8::from_str_radix(pair, 16).ok().filter(|_| digits).ok_or(MacError)
        };
        let octets: Vec<u8> = text.split(':').map(octet).collect::<Result<_, _>>()?;
        octets.try_into().map(Self).map_err(|_| MacError)
    }
}
