//! The causes of denials, and their words for people.
//!
//! Invariant: no text a guest chose is in a cause.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use super::address::SpecialUse;
use super::service::{Protocol, Reserved};

/// The cause of a denial.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Reason {
    /// No rule names the host.
    NoRule,
    /// A rule names the host, at these other ports.
    OtherPorts(String),
    /// A rule names the host, for this other protocol.
    OtherProtocol(Protocol),
    /// The UDP port is closed to every guest.
    Reserved(Reserved),
    /// The name is reached by `--connect-to`, which says nothing of this port or protocol.
    NotSentAnywhere,
    /// The name is for a proxy to resolve, which takes no such protocol.
    ResolvedThere,
    /// The name resolves to no ordinary address.
    SpecialUse {
        /// The address judged.
        addr: IpAddr,
        /// What it is.
        special: Box<SpecialUse>,
    },
    /// The address is no ordinary one.
    SpecialAddress {
        /// The address judged, which the one asked for may carry.
        addr: IpAddr,
        /// What it is.
        special: Box<SpecialUse>,
    },
    /// It leads to an address of this machine's own, which nobody named.
    ThisMachine(IpAddr),
    /// The name is to be dialled at another address than this one.
    NotWhereSent {
        /// Where `--connect-to` sends it.
        to: SocketAddr,
    },
    /// The address is not one that an allowed name was resolved to lately.
    Unbound,
    /// The port of this machine's loopback is not opened.
    HostLoopback,
    /// It carries no name that a rule could be asked about.
    Nameless,
    /// It asks for an address, and rules are by name.
    Address,
    /// It is neither HTTP nor TLS with HTTP inside, so nothing can be said of it.
    Uninspectable,
    /// It comes from an address that a published port is not open to.
    Peer,
    /// It was allowed when it began; by another policy it is not, for this reason.
    NoLonger(Box<Reason>),
    /// Leave that came with a secret gave way to rules about requests.
    Displaced,
    /// Some requests are allowed, and nobody reads this.
    Unread,
    /// A rule says so.
    Rule,
    /// The platform allows no more, whatever the sandbox's own rules say.
    Floor,
    /// Other requests to the host are allowed, and not this one.
    Requests {
        /// Whether servers may read its path in more than one way, each of which has to be allowed.
        is_ambiguous: bool,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("no rule allows it"),
            Self::OtherPorts(ports) => write!(f, "the host is allowed only at {ports}"),
            Self::OtherProtocol(protocol) => write!(f, "the host is allowed only for {protocol}"),
            Self::Reserved(reserved) => write!(f, "{reserved}"),
            Self::NotSentAnywhere => {
                f.write_str("the name is dialled at an address of its own for other ports only")
            }
            Self::ResolvedThere => f.write_str("the name is resolved by a proxy, which takes TCP alone"),
            Self::SpecialUse { addr, special } => write!(f, "the name resolves to {addr}, {special}"),
            Self::SpecialAddress { addr, special } => write!(f, "{addr} is {special}"),
            Self::ThisMachine(addr) => write!(f, "{addr} is an address of this machine"),
            Self::NotWhereSent { to } => write!(f, "the name is to be dialled at {to}"),
            Self::Unbound => {
                f.write_str("no rule allows the address, and no allowed name was resolved to it")
            }
            Self::HostLoopback => f.write_str("this machine's loopback is closed at that port"),
            Self::Nameless => f.write_str("it names no host (no SNI, or no single Host field)"),
            Self::Address => f.write_str("it is an address, which no rule allows"),
            Self::Uninspectable => f.write_str("it is not HTTP, so it cannot be inspected"),
            Self::Peer => f.write_str("the port is not open to that address"),
            Self::NoLonger(reason) => write!(f, "the policy changed: {reason}"),
            Self::Displaced => {
                f.write_str("rules about requests to the host replace the leave that came with its secret")
            }
            Self::Unread => f.write_str("only some requests are allowed there, and this cannot be read"),
            Self::Rule => f.write_str("a rule denies it"),
            Self::Floor => f.write_str("the platform does not allow it"),
            Self::Requests { is_ambiguous: false } => {
                f.write_str("the host is allowed only for other methods or paths")
            }
            Self::Requests { is_ambiguous: true } => {
                f.write_str("its path can be read in more than one way, and not all of them are allowed")
            }
        }
    }
}
