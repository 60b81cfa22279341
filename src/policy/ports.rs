//! Protocols and ports, as rules write them.
//!
//! Sets and their texts; it judges nothing. Invariant: a set of ports is kept as ranges in order that neither touch
//! nor overlap, so that two texts of one set are one value.

use std::fmt;
use std::ops::RangeInclusive;

use super::error::RuleError;
use super::rule::Action;
use super::service::{Protocol, Service};
use crate::name::parse_port;

/// Ports of a rule.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Ports(Vec<RangeInclusive<u16>>);

impl Ports {
    /// 80 and 443, where a flow always carries its name.
    #[must_use]
    pub fn web() -> Self {
        Self(vec![80..=80, 443..=443])
    }

    /// Every port.
    #[must_use]
    pub fn all() -> Self {
        Self(vec![0..=u16::MAX])
    }

    /// This one.
    #[must_use]
    pub fn one(port: u16) -> Self {
        Self(vec![port..=port])
    }

    /// Reads `443`, `8000-8999` or several with commas between.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let ranges: Result<Vec<_>, _> = text.split(',').map(|part| range(part.trim())).collect();
        Ok(Self::from_ranges(ranges?))
    }

    /// Those in any of `ranges`.
    fn from_ranges(mut ranges: Vec<RangeInclusive<u16>>) -> Self {
        ranges.sort_by_key(|range| *range.start());
        let mut merged: Vec<RangeInclusive<u16>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if u32::from(*range.start()) <= u32::from(*last.end()) + 1 => {
                    *last = *last.start()..=*last.end().max(range.end());
                }
                Some(_) | None => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The ports of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::from_ranges([self.0, other.0].concat())
    }

    /// Whether `port` is among them.
    #[must_use]
    pub fn contains(&self, port: u16) -> bool {
        self.0.iter().any(|range| range.contains(&port))
    }

    /// Whether all of `other` are among them.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other
            .0
            .iter()
            .all(|part| self.0.iter().any(|range| range.start() <= part.start() && part.end() <= range.end()))
    }

    /// Whether any port is among them.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::all()
    }

    /// The lowest.
    #[must_use]
    pub fn first(&self) -> u16 {
        self.0.first().map_or(0, |range| *range.start())
    }

    /// The only one, where there is one only.
    #[must_use]
    pub fn only(&self) -> Option<u16> {
        match self.0.as_slice() {
            [range] if range.start() == range.end() => Some(*range.start()),
            _ => None,
        }
    }
}

fn range(text: &str) -> Result<RangeInclusive<u16>, RuleError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |digits| parse_port(digits).map_err(|_| RuleError::Ports);
    match (port(first)?, port(last)?) {
        (first, last) if first <= last => Ok(first..=last),
        _ => Err(RuleError::Ports),
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_all() {
            return f.write_str("any");
        }
        if *self == Self::web() {
            return f.write_str("80 and 443");
        }
        for (index, range) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}

/// What of its destination a rule is about: protocols, and ports for those that have them.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Services {
    /// Never empty.
    protocols: Vec<Protocol>,
    ports: Ports,
}

/// In the order in which texts name them.
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];

impl Services {
    /// TCP at these ports.
    #[must_use]
    pub fn tcp(ports: Ports) -> Self {
        Self { protocols: vec![Protocol::Tcp], ports }
    }

    /// Whatever there is.
    #[must_use]
    pub fn all() -> Self {
        Self { protocols: PROTOCOLS.into(), ports: Ports::all() }
    }

    /// These protocols at these ports; `None` where no protocol is named.
    pub(super) fn new(protocols: &[Protocol], ports: Ports) -> Option<Self> {
        let protocols: Vec<_> = PROTOCOLS.into_iter().filter(|own| protocols.contains(own)).collect();
        (!protocols.is_empty()).then_some(Self { protocols, ports })
    }

    /// Whether `service` is among them.
    #[must_use]
    pub fn contains(&self, service: Service) -> bool {
        self.protocols.contains(&service.protocol())
            && service.port().is_none_or(|port| self.ports.contains(port))
    }

    /// Whether all of `other` are among them.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let ports_count = other.protocols.iter().any(|protocol| *protocol != Protocol::Icmp);
        other.protocols.iter().all(|protocol| self.protocols.contains(protocol))
            && (!ports_count || self.ports.covers(&other.ports))
    }

    /// Whether nothing is left out.
    pub(super) fn is_all(&self) -> bool {
        *self == Self::all()
    }

    /// The least services of what a rule that does `action` may begin: its own ranges, or what is behind them.
    pub(super) fn edges(&self, action: Action) -> impl Iterator<Item = Service> {
        let behind = |range: &RangeInclusive<u16>| range.end().checked_add(1);
        self.protocols.iter().flat_map(move |protocol| {
            self.ports.0.iter().filter_map(move |range| match action {
                // There is no port 0.
                Action::Allow => Some(protocol.at((*range.start()).max(1))),
                Action::Deny => behind(range).map(|port| protocol.at(port)),
            })
        })
    }

    /// Its protocols, never none.
    #[must_use]
    pub fn protocols(&self) -> &[Protocol] {
        &self.protocols
    }

    /// Its ports; they mean nothing for ICMP.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_as_sets_and_told_in_order() {
        let told = |text: &str| Ports::parse(text).unwrap().to_string();
        assert_eq!(told("443"), "443");
        assert_eq!(told("443,80"), "80 and 443");
        assert_eq!(told("9000-9100, 22, 23-30"), "22-30,9000-9100");
        assert_eq!(told("1-65535"), "1-65535");
        for text in ["", "0", "65536", "9-1", "a", "1-", "-1", "1,", "+5", "080", "1--2", "1-2-3"] {
            assert_eq!(Ports::parse(text), Err(RuleError::Ports), "{text}");
        }
    }

    #[test]
    fn a_set_covers_what_is_wholly_in_it() {
        let ports = |text: &str| Ports::parse(text).unwrap();
        assert!(ports("1-100").covers(&ports("5,7-9")) && Ports::all().covers(&ports("1-65535")));
        assert!(!ports("1-100").covers(&ports("99-101")) && !ports("80,82").covers(&ports("80-82")));
        assert!(ports("80,81-82").covers(&ports("80-82")));
        let icmp = Services::new(&[Protocol::Icmp], Ports::all()).unwrap();
        let both = Services::new(&[Protocol::Icmp, Protocol::Tcp], Ports::one(22)).unwrap();
        assert!(both.covers(&icmp) && !icmp.covers(&both) && Services::all().covers(&both));
    }
}
