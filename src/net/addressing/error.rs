//! Why a sandbox cannot have the addresses it was given.
//!
//! Invariant: one line, with the address first and what to do about it last.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::text::{Cidr, Mac};

/// Why addresses do not hold together.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AddressingError {
    /// The pool ends before the slot.
    #[error("pool {pool} has no network for slot {slot}; take a larger pool, or a slot below {slots}")]
    PoolTooSmall {
        /// The pool.
        pool: Cidr<Ipv4Addr>,
        /// The slot.
        slot: u16,
        /// How many slots the pool has.
        slots: u32,
    },
    /// The pool is none.
    #[error("pool {0} is no network; write ADDR/LEN with a length from 8 to 30 and ADDR its first address")]
    Pool(Cidr<Ipv4Addr>),
    /// The prefix is no /48.
    #[error("prefix {0} has no /64 for each slot; write ADDR/48 with ADDR its first address")]
    Prefix(Cidr<Ipv6Addr>),
    /// The prefix length of the guest's link.
    #[error("guest {0}: the link needs room for two hosts; write a length from 8 to 30")]
    PrefixLength(Cidr<Ipv4Addr>),
    /// An address that no host can have.
    #[error(
        "{0} is no host's address (multicast, loopback, link-local IPv6, unspecified or reserved); take another"
    )]
    NotAHost(IpAddr),
    /// The first or last address of the link.
    #[error("{address} is the first or the last address of {link}, which no host can have; take one between")]
    Edge {
        /// The address.
        address: IpAddr,
        /// The link.
        link: Cidr<IpAddr>,
    },
    /// Guest and gateway are one.
    #[error("{0} is both guest and gateway; set guest and gateway to different addresses of one network")]
    GatewayIsGuest(IpAddr),
    /// Guest and gateway cannot see each other.
    #[error("gateway {gateway} is not on the guest's link {link}; set guest and gateway in one network")]
    NotOnLink {
        /// The gateway's address.
        gateway: IpAddr,
        /// The link.
        link: Cidr<IpAddr>,
    },
    /// The link would hide the addresses of names that are denied.
    #[error("{0} overlaps 198.18.0.0/15, which stands for names inside the sandbox; take another network")]
    Mapped(Cidr<Ipv4Addr>),
    /// A MAC address of more than one station, or of none.
    #[error("MAC address {0} is a group's or none; take one such as 02:00:00:00:00:02")]
    Mac(Mac),
    /// One MAC address twice.
    #[error("MAC address {0} is both the guest's and the gateway's; take different ones")]
    MacTwice(Mac),
    /// An MTU that IP or the link cannot have.
    #[error("an MTU of {0} is none of IPv6 over Ethernet; take one from 1280 to 65520")]
    Mtu(u16),
}
