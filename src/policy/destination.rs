//! What a rule is about: names, addresses, or kinds of address.
//!
//! It resolves nothing and judges nothing. Invariant: every address is in one group at most, so that rules by group
//! never overlap.

use std::fmt;
use std::net::IpAddr;

use super::address::{self, Kind};
use super::error::RuleError;
use super::subnet::Subnet;
use super::target::{Target, overlap};
use crate::name::HostPattern;

/// Where a rule applies: the other end of a flow, seen from the guest.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Destination {
    /// Anywhere; as leave, anywhere that is public.
    Any,
    /// Hosts by name.
    Host(HostPattern),
    /// Addresses.
    Subnet(Subnet),
    /// A kind of address.
    Group(Group),
}

impl Destination {
    /// Reads a host without a port: `example.com` or `*.example.com`.
    pub fn host(text: &str) -> Result<Self, RuleError> {
        match Target::parse(text)? {
            Target { pattern, port: None } => Ok(Self::Host(pattern)),
            Target { port: Some(_), .. } => Err(RuleError::HostPort),
        }
    }

    /// Whether all that `other` is about is here too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (Self::Host(HostPattern::Below(apex)), Self::Host(HostPattern::Below(inner))) => {
                apex == inner || inner.is_below(apex)
            }
            (Self::Host(one), Self::Host(HostPattern::Exact(name))) => one.matches(name),
            (Self::Subnet(one), Self::Subnet(inner)) => one.covers(inner),
            (Self::Group(one), Self::Group(inner)) => one == inner,
            (Self::Group(one), Self::Subnet(inner)) => {
                inner.is_of_one_kind() && Group::of(inner.first()) == Some(*one)
            }
            (Self::Host(_) | Self::Subnet(_) | Self::Group(_), _) => false,
        }
    }

    /// Whether `pattern` and this have a name in common.
    pub(crate) fn meets(&self, pattern: &HostPattern) -> bool {
        match self {
            Self::Any | Self::Group(Group::Public) => true,
            Self::Host(own) => overlap(own, pattern),
            Self::Subnet(_) | Self::Group(_) => false,
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Host(pattern) => write!(f, "{pattern}"),
            Self::Subnet(subnet) => write!(f, "{subnet}"),
            Self::Group(group) => write!(f, "@{group}"),
        }
    }
}

/// Kinds of address. No address is in two; unspecified and reserved ones, and those for documents, are in none.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Group {
    /// This machine's loopback, by the host alias.
    Host,
    /// Metadata services of clouds. Only a rule for the address itself opens one.
    Metadata,
    /// Loopback addresses.
    Loopback,
    /// Private networks and those of carriers.
    Private,
    /// One link only.
    LinkLocal,
    /// Many receivers.
    Multicast,
    /// Ordinary addresses of the Internet.
    Public,
}

const GROUPS: [Group; 7] = [
    Group::Host,
    Group::Metadata,
    Group::Loopback,
    Group::Private,
    Group::LinkLocal,
    Group::Multicast,
    Group::Public,
];

impl Group {
    /// Reads the name of one.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        GROUPS.into_iter().find(|group| group.as_str() == text).ok_or(RuleError::Group)
    }

    /// The group of an address; never [`Group::Host`], which is no address.
    #[must_use]
    pub fn of(addr: IpAddr) -> Option<Self> {
        match address::special_use(addr).map(|special| special.kind) {
            None => Some(Self::Public),
            Some(Kind::Metadata) => Some(Self::Metadata),
            Some(Kind::Loopback) => Some(Self::Loopback),
            Some(Kind::Private | Kind::Shared) => Some(Self::Private),
            Some(Kind::LinkLocal) => Some(Self::LinkLocal),
            Some(Kind::Multicast) => Some(Self::Multicast),
            Some(
                Kind::Unspecified
                | Kind::Protocol
                | Kind::Documentation
                | Kind::Benchmarking
                | Kind::Broadcast
                | Kind::Transition
                | Kind::Reserved,
            ) => None,
        }
    }

    /// Its name in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Metadata => "metadata",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Multicast => "multicast",
            Self::Public => "public",
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether `pattern` is the host alias and nothing else.
pub(super) fn is_alias(pattern: &HostPattern) -> bool {
    match pattern {
        HostPattern::Exact(name) => name.is_host_alias(),
        HostPattern::Below(_) => false,
    }
}
