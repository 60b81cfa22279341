//! Rules in one line, as flags and lists have them, and the line that a rule comes to.
//!
//! It reads and writes; [`super::Builder`] decides what can be. Invariant: the line of a rule reads as that rule again.

use std::fmt;
use std::net::Ipv6Addr;

use http::Method;

use super::{Action, Builder, Direction, Rule};
use crate::policy::destination::{Destination, Group};
use crate::policy::error::RuleError;
use crate::policy::ports::Ports;
use crate::policy::requests::Requests;
use crate::policy::service::Protocol;
use crate::policy::subnet::Subnet;
use crate::policy::target::{Target, is_address};

/// Reads `ACTION [DIRECTION] [METHOD,METHOD] DESTINATION[:PORTS][/PROTOCOL,PROTOCOL] [PATH]...`.
pub(super) fn line(text: &str) -> Result<Builder, RuleError> {
    let mut words = text.split_ascii_whitespace().peekable();
    let action = words.next().ok_or(RuleError::Action)?.parse()?;
    // A destination may be "any" too: it is the direction only where a destination follows.
    let has_destination = words.clone().nth(1).is_some_and(|word| !word.starts_with('/'));
    let direction = words.peek().and_then(|word| word.parse::<Direction>().ok()).filter(|_| has_destination);
    if direction.is_some() {
        words.next();
    }
    let mut target_word = words.next().ok_or(RuleError::Destination)?;
    let mut methods = None;
    if target_word.starts_with(|c: char| c.is_ascii_uppercase()) && is_bare(target_word) {
        methods = Some(target_word);
        target_word = words.next().ok_or(RuleError::Destination)?;
    }
    let next = words.peek().copied();
    if let Some(unknown) = next.filter(|word| !word.starts_with('/')) {
        // One of the two is a word too many; the first is, where it could be meant for something else.
        let is_method = is_bare(target_word) && target_word.bytes().all(|byte| byte.is_ascii_lowercase());
        return Err(match Method::from_bytes(target_word.to_ascii_uppercase().as_bytes()) {
            Ok(method) if is_method && is_common(&method) => RuleError::Method,
            _ if is_method && methods.is_none() => RuleError::word(target_word),
            _ => RuleError::word(unknown),
        });
    }
    let is_direction = target_word != "any" && target_word.parse::<Direction>().is_ok();
    if is_direction || target_word.starts_with('/') {
        return Err(RuleError::Destination);
    }
    let mut builder = target(action, target_word)?.direction(direction.unwrap_or(Direction::Egress));
    for method in methods.into_iter().flat_map(|list| list.split(',')) {
        builder = builder.method(method);
    }
    for path in words {
        if !path.starts_with('/') {
            return Err(RuleError::word(path));
        }
        builder = builder.path(path);
    }
    Ok(builder)
}

/// Whether a word can be no host with a dot or a port, no address and no group.
fn is_bare(word: &str) -> bool {
    !word.contains(['.', ':', '/', '@'])
}

fn is_common(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS]
        .contains(method)
}

/// Reads `DESTINATION[:PORTS][/PROTOCOL,PROTOCOL]`.
pub(super) fn target(action: Action, text: &str) -> Result<Builder, RuleError> {
    if text.contains("://") {
        return Err(RuleError::Url);
    }
    let (rest, protocols) = split_protocols(text)?;
    let (place, ports) = split_ports(rest)?;
    let ports = ports.map(Ports::parse).transpose()?;
    let mut builder = Builder::new(action, destination(place)?);
    for protocol in protocols {
        builder = builder.protocol(protocol);
    }
    if let Some(ports) = ports {
        builder = builder.ports(ports);
    }
    Ok(builder)
}

/// Takes the protocols off the end. The slash of a subnet is none of theirs.
fn split_protocols(text: &str) -> Result<(&str, Vec<Protocol>), RuleError> {
    let Some((rest, words)) = text.rsplit_once('/') else { return Ok((text, Vec::new())) };
    match words.split(',').map(Protocol::parse).collect::<Option<_>>() {
        Some(protocols) => Ok((rest, protocols)),
        None if is_address(text) => Ok((text, Vec::new())),
        None => Err(RuleError::Protocol),
    }
}

/// An IPv6 address or subnet stands in brackets where ports follow it.
fn split_ports(text: &str) -> Result<(&str, Option<&str>), RuleError> {
    if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(RuleError::Destination)?;
        return match after.strip_prefix(':') {
            Some(ports) => Ok((inside, Some(ports))),
            None if after.is_empty() => Ok((inside, None)),
            None => Err(RuleError::Destination),
        };
    }
    match text.split_once(':') {
        // Whether its end is a port cannot be told; a subnet has none.
        Some(_) if text.parse::<Ipv6Addr>().is_ok() => Err(RuleError::Brackets),
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((place, ports)) => Ok((place, Some(ports))),
        None => Ok((text, None)),
    }
}

/// Reads a destination without ports: `any`, `@GROUP`, an address, a subnet, a host or `*.SUFFIX`.
pub(super) fn destination(text: &str) -> Result<Destination, RuleError> {
    if text == "any" {
        return Ok(Destination::Any);
    }
    if let Some(group) = text.strip_prefix('@') {
        return Group::parse(group).map(Destination::Group);
    }
    if is_address(text) {
        return text.parse::<Subnet>().map(Destination::Subnet).map_err(RuleError::Subnet);
    }
    if text.contains('/') {
        return Err(RuleError::Protocol);
    }
    let Target { pattern, port: _ } = Target::parse(text)?;
    Ok(Destination::Host(pattern))
}

impl std::str::FromStr for Action {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text {
            "allow" => Ok(Self::Allow),
            "deny" => Ok(Self::Deny),
            "ask" => Err(RuleError::Ask),
            _ => Err(RuleError::Action),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        })
    }
}

impl std::str::FromStr for Direction {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Self, RuleError> {
        match text {
            "egress" => Ok(Self::Egress),
            "ingress" => Ok(Self::Ingress),
            "any" => Ok(Self::Any),
            _ => Err(RuleError::Direction),
        }
    }
}

/// The rule in one line.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.action)?;
        match self.direction {
            Direction::Egress => {}
            Direction::Ingress => f.write_str("ingress ")?,
            Direction::Any => f.write_str("any ")?,
        }
        if let Some(requests) = self.requests().filter(|requests| !requests.methods().is_empty()) {
            write!(f, "{} ", requests.methods().join(","))?;
        }
        let place = self.destination.to_string();
        if place.contains(':') {
            write!(f, "[{place}]")?
        } else {
            f.write_str(&place)?
        }
        if !self.services.is_all() {
            let has_ports = *self.services.protocols() != [Protocol::Icmp];
            if has_ports && !self.services.ports().is_all() {
                let ports = self.services.ports().to_string();
                write!(f, ":{}", ports.replace(" and ", ","))?;
            }
            let words: Vec<_> = self.services.protocols().iter().map(|protocol| protocol.as_str()).collect();
            write!(f, "/{}", words.join(","))?;
        }
        for path in self.requests().into_iter().flat_map(Requests::paths) {
            write!(f, " {path}")?;
        }
        Ok(())
    }
}
