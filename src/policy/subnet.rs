//! Addresses that begin alike, as rules and published ports write them.
//!
//! Invariant: a subnet has no bit set behind its prefix, so that two texts of one subnet are one value.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::address::{self, Kind};

/// The addresses that begin alike.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subnet {
    addr: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// Whether an address lies in it; an IPv4 address is never in an IPv6 subnet, nor the other way round.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        masked(addr, self.prefix) == self.addr
    }

    /// Whether all of `other` lies in it.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.prefix <= other.prefix && self.contains(other.addr)
    }

    /// Its address, where it is one only.
    #[must_use]
    pub fn only(&self) -> Option<IpAddr> {
        let most = if self.addr.is_ipv4() { 32 } else { 128 };
        (self.prefix == most).then_some(self.addr)
    }

    /// How many bits its addresses share.
    pub(super) fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Its first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.addr
    }

    /// Its last address.
    #[must_use]
    pub fn last(&self) -> IpAddr {
        let others = |bits: u32| bits.saturating_sub(self.prefix.into());
        match self.addr {
            IpAddr::V4(addr) => {
                let rest = u32::MAX.checked_shr(u32::BITS - others(32)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(addr.to_bits() | rest))
            }
            IpAddr::V6(addr) => {
                let rest = u128::MAX.checked_shr(u128::BITS - others(128)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() | rest))
            }
        }
    }

    /// Whether all of it is special in one way, as by a block of the registries that holds it.
    pub(super) fn is_of_one_kind(&self) -> bool {
        let kind = |addr| address::own_use(addr).map(|special| special.kind);
        let (first, last) = (kind(self.first()), kind(self.last()));
        // A metadata service within is opened by its own address, whatever is around it.
        let is_like = |addr| kind(addr) == first || kind(addr) == Some(Kind::Metadata);
        first.is_some() && first == last && address::blocks().filter(|addr| self.contains(*addr)).all(is_like)
    }

    /// Whether an address in it is special.
    pub(super) fn holds_special(&self) -> bool {
        address::own_use(self.first()).is_some()
            || address::own_use(self.last()).is_some()
            || address::blocks().any(|first| self.contains(first) && address::own_use(first).is_some())
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.only() {
            Some(addr) => write!(f, "{addr}"),
            None => write!(f, "{}/{}", self.addr, self.prefix),
        }
    }
}

/// The first `prefix` bits of an address, the others zero.
pub(super) fn masked(addr: IpAddr, prefix: u8) -> IpAddr {
    match addr {
        IpAddr::V4(addr) => {
            let host = 32_u32.saturating_sub(prefix.into());
            IpAddr::V4(Ipv4Addr::from_bits(addr.to_bits() & u32::MAX.checked_shl(host).unwrap_or(0)))
        }
        IpAddr::V6(addr) => {
            let host = 128_u32.saturating_sub(prefix.into());
            IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & u128::MAX.checked_shl(host).unwrap_or(0)))
        }
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    /// Reads `ADDR` or `ADDR/PREFIX`.
    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let (addr, prefix) = match text.split_once('/') {
            Some((addr, prefix)) => (addr, Some(prefix)),
            None => (text, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| SubnetError::Address)?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => {
                prefix.parse().ok().filter(|prefix| *prefix <= most).ok_or(SubnetError::Prefix { most })?
            }
            None => most,
        };
        let first = masked(addr, prefix);
        if first != addr {
            return Err(SubnetError::HostBits { first, prefix });
        }
        Ok(Self { addr, prefix })
    }
}

/// Why a text is no subnet.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SubnetError {
    /// No address.
    #[error("is no address; write ADDR or ADDR/PREFIX")]
    Address,
    /// No length of a prefix.
    #[error("has no prefix length between 0 and {most} behind the '/'")]
    Prefix {
        /// The longest there is.
        most: u8,
    },
    /// An address inside rather than the subnet's own.
    #[error("has bits set behind its prefix; write {first}/{prefix}, or the address alone")]
    HostBits {
        /// The subnet's own address.
        first: IpAddr,
        /// Its length.
        prefix: u8,
    },
}
