//! One rule: what it is about, and whether that is allowed or denied.
//!
//! It matches what is known of a flow or a request so far; the order of rules is [`super::table`]'s. Invariant: a rule
//! means at least one flow that a guest can really have, and it remembers where it was written.

mod builder;
mod grammar;

pub use builder::Builder;

use std::net::IpAddr;

use super::address;
use super::destination::{Destination, Group, is_alias};
use super::path::Path;
use super::ports::Services;
use super::requests::{Readings, Requests};
use super::service::Service;
use super::source::RuleSource;
use super::subnet::Subnet;
use crate::name::{HostName, HostPattern};

/// What a rule does with what it is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Lets it be.
    Allow,
    /// Refuses it.
    Deny,
}

/// Which way a rule looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// What the guest starts.
    Egress,
    /// What comes in by a published port.
    Ingress,
    /// Both.
    Any,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    action: Action,
    direction: Direction,
    destination: Destination,
    services: Services,
    requests: Option<Requests>,
    source: RuleSource,
}

/// Where a flow would lead, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Its name is not resolved yet, or not asked for.
    Unknown,
    /// Its name is resolved where nobody here sees it: a rule about addresses allows nothing there, and denies.
    Unknowable,
    /// This machine's loopback, by the host alias.
    Loopback,
    /// This address.
    Address(IpAddr),
}

/// What a flow is called, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Called<'a> {
    /// It may carry a name yet.
    Unknown,
    /// It has none.
    Nothing,
    /// This.
    Name(&'a HostName),
}

/// What a flow carries, as far as that is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carried<'a> {
    /// It may be HTTP.
    Unknown,
    /// Nothing that will be read; it may be HTTP all the same, in a form that some server takes for it.
    Unread,
    /// This request.
    Request { method: &'a str, path: &'a Path<'a> },
}

/// What policy is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    /// `None` for a name that is only looked up.
    pub(super) service: Option<Service>,
    pub(super) called: Called<'a>,
    pub(super) place: Place,
    pub(super) carried: Carried<'a>,
}

/// Whether a rule is about what was asked.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Match {
    No,
    /// It depends on what is not known yet.
    Perhaps,
    Yes,
}

impl From<bool> for Match {
    fn from(yes: bool) -> Self {
        if yes { Self::Yes } else { Self::No }
    }
}

impl Rule {
    /// A rule to be described further: about every service there is and every request.
    pub fn builder(action: Action, destination: Destination) -> Builder {
        Builder::new(action, destination)
    }

    /// Reads `HOST`, `HOST:PORTS`, `HOST:PORTS/udp`, `HOST/icmp` or the same with `*.SUFFIX`, an address, a subnet,
    /// `@GROUP` or `any` for the host: leave to go there. A host without ports is TCP at 80 and 443, `any` everything
    /// public; addresses need ports.
    pub fn allowing(text: &str, source: RuleSource) -> Result<Self, super::RuleError> {
        grammar::target(Action::Allow, text)?.with_ports_of_addresses()?.build(source)
    }

    /// Reads a rule in one line: `ACTION [DIRECTION] [METHOD,METHOD] DESTINATION[:PORTS][/PROTOCOL] [PATH]...`.
    ///
    /// ```
    /// use portcullis::policy::{Rule, RuleSource};
    ///
    /// let rule = Rule::parse("allow GET,HEAD api.github.com /repos/acme/**", RuleSource::Owner)?;
    /// assert_eq!(rule.to_string(), "allow GET,HEAD api.github.com:80,443/tcp /repos/acme/**");
    /// # Ok::<(), portcullis::policy::RuleError>(())
    /// ```
    pub fn parse(text: &str, source: RuleSource) -> Result<Self, super::RuleError> {
        grammar::line(text)?.build(source)
    }

    /// The leave that comes with being a host of the secret `name`.
    #[must_use]
    pub fn for_secret(pattern: HostPattern, port: u16, name: &str) -> Self {
        Self {
            action: Action::Allow,
            direction: Direction::Egress,
            destination: Destination::Host(pattern),
            services: Services::tcp(super::Ports::one(port)),
            requests: None,
            source: RuleSource::Secret { name: name.to_owned() },
        }
    }

    /// Leave for all that is public, for a sandbox that only observes.
    pub(super) fn for_observing() -> Self {
        Self {
            action: Action::Allow,
            direction: Direction::Egress,
            destination: Destination::Group(Group::Public),
            services: Services::all(),
            requests: None,
            source: RuleSource::Observe,
        }
    }

    /// Whether what is asked of an outward flow is meant.
    pub(super) fn matches(&self, asked: Asked<'_>) -> Match {
        if self.direction == Direction::Ingress {
            return Match::No;
        }
        let service = match asked.service {
            Some(service) => self.services.contains(service).into(),
            None if self.services.is_all() => Match::Yes,
            None => Match::Perhaps,
        };
        let place = if service == Match::No { Match::No } else { self.leads_to(asked.called, asked.place) };
        let carried = if place == Match::No { Match::No } else { self.carries(asked.carried) };
        service.min(place).min(carried)
    }

    fn leads_to(&self, called: Called<'_>, place: Place) -> Match {
        let by_alias = match (called, place) {
            (_, Place::Loopback) => true,
            (Called::Name(name), _) => name.is_host_alias(),
            (Called::Unknown | Called::Nothing, _) => false,
        };
        match (&self.destination, self.action) {
            // This machine is opened by its own name alone, and shut by any.
            (Destination::Any, Action::Allow) => (!by_alias).into(),
            (Destination::Any, Action::Deny) => Match::Yes,
            (Destination::Host(pattern), action) => match called {
                Called::Unknown if by_alias => (is_alias(pattern)).into(),
                Called::Unknown => Match::Perhaps,
                Called::Nothing => Match::No,
                Called::Name(name) => {
                    let suffices = action == Action::Deny || !by_alias || is_alias(pattern);
                    (suffices && pattern.matches(name)).into()
                }
            },
            (Destination::Group(Group::Host), _) => by_alias.into(),
            (Destination::Subnet(_) | Destination::Group(_), _) if by_alias => Match::No,
            (Destination::Subnet(_) | Destination::Group(_), action)
                if matches!(place, Place::Unknowable) =>
            {
                (action == Action::Deny).into()
            }
            (Destination::Subnet(subnet), _) => match place {
                Place::Unknown | Place::Unknowable => Match::Perhaps,
                Place::Loopback => Match::No,
                Place::Address(addr) => subnet.contains(addr).into(),
            },
            (Destination::Group(group), _) => match place {
                Place::Unknown | Place::Unknowable => Match::Perhaps,
                Place::Loopback => Match::No,
                Place::Address(addr) => (Group::of(addr) == Some(*group)).into(),
            },
        }
    }

    /// A request that servers may read differently is not what an allowing rule is about, and is what a denying one
    /// is about; so is a flow that cannot be read.
    fn carries(&self, carried: Carried<'_>) -> Match {
        let Some(requests) = &self.requests else { return Match::Yes };
        let denies = self.action == Action::Deny;
        match carried {
            Carried::Unknown => Match::Perhaps,
            Carried::Unread => denies.into(),
            Carried::Request { method, path } => match requests.matches(method, path) {
                Readings::None => Match::No,
                Readings::Some => denies.into(),
                Readings::All => Match::Yes,
            },
        }
    }

    /// Whether a connection from `peer` to `service` of the guest is meant.
    pub(super) fn admits(&self, peer: IpAddr, service: Service) -> bool {
        let by_address = match &self.destination {
            Destination::Any => true,
            Destination::Host(_) => false,
            Destination::Subnet(subnet) => subnet.contains(peer),
            Destination::Group(group) => Group::of(peer) == Some(*group),
        };
        self.direction != Direction::Egress && by_address && self.services.contains(service)
    }

    /// Whether this very address is what it is about, by `service`. Leave for more than one kind of address is about
    /// none that is special, and leave for a metadata service is by its address alone.
    pub(super) fn is_about(&self, addr: IpAddr, service: Service) -> bool {
        let by_address = match &self.destination {
            Destination::Any | Destination::Host(_) => false,
            Destination::Subnet(subnet) => {
                subnet.contains(addr) && (self.action == Action::Deny || opens(subnet, addr))
            }
            Destination::Group(group) => Group::of(addr) == Some(*group),
        };
        self.direction != Direction::Ingress && by_address && self.services.contains(service)
    }

    /// Whether it allows `service` of this one address and of no other.
    pub(super) fn is_only_for(&self, addr: IpAddr, service: Service) -> bool {
        let is_it = match &self.destination {
            Destination::Subnet(subnet) => subnet.only() == Some(addr),
            Destination::Any | Destination::Host(_) | Destination::Group(_) => false,
        };
        is_it
            && self.action == Action::Allow
            && self.direction != Direction::Ingress
            && self.services.contains(service)
    }

    /// Whether a name may be looked up because of it: it is about names, or about all that is public.
    pub(super) fn opens_names(&self) -> bool {
        self.action == Action::Allow
            && match &self.destination {
                Destination::Any | Destination::Host(_) | Destination::Group(Group::Public) => true,
                Destination::Subnet(_) | Destination::Group(_) => false,
            }
    }

    /// Whether it is about `host` by name, whatever the service.
    #[must_use]
    pub fn names(&self, host: &HostName) -> bool {
        match &self.destination {
            Destination::Host(pattern) => {
                pattern.matches(host) && (!host.is_host_alias() || is_alias(pattern))
            }
            Destination::Any | Destination::Subnet(_) | Destination::Group(_) => false,
        }
    }

    /// Whether all that `other` is about is what this is about.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let requests = match (&self.requests, &other.requests) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(inner)) => own.covers(inner),
        };
        requests
            && (self.direction == Direction::Any || self.direction == other.direction)
            && self.destination.covers(&other.destination)
            && !(self.action == Action::Allow && other.opens_more_than(self))
            && self.services.covers(&other.services)
    }

    /// Whether as leave it opens what the wider leave `wide` does not: this machine, and addresses that are special.
    fn opens_more_than(&self, wide: &Self) -> bool {
        self.action == Action::Allow
            && self.destination != wide.destination
            && match &self.destination {
                Destination::Any => false,
                Destination::Host(pattern) => is_alias(pattern),
                Destination::Group(group) => *group != Group::Public,
                Destination::Subnet(subnet) => {
                    let is_opened =
                        matches!(&wide.destination, Destination::Subnet(wide) if wide.is_of_one_kind());
                    subnet.only().is_some() || !is_opened && subnet.holds_special()
                }
            }
    }

    /// What it does.
    #[must_use]
    pub fn action(&self) -> Action {
        self.action
    }

    /// Which way it looks.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// What it is about.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Its protocols and ports.
    #[must_use]
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Its requests; `None` where it is not about HTTP alone.
    #[must_use]
    pub fn requests(&self) -> Option<&Requests> {
        self.requests.as_ref()
    }

    /// Where it was written.
    #[must_use]
    pub fn source(&self) -> &RuleSource {
        &self.source
    }
}

/// Whether leave for `subnet` is leave for `addr` in it, should that be special.
fn opens(subnet: &Subnet, addr: IpAddr) -> bool {
    match Group::of(addr) {
        Some(Group::Public) => true,
        _ if subnet.only() == Some(addr) => true,
        Some(Group::Metadata) => false,
        Some(Group::Host | Group::Loopback | Group::Private | Group::LinkLocal | Group::Multicast) | None => {
            // One that is special only by what it carries: that is judged by itself.
            subnet.is_of_one_kind() || address::own_use(addr).is_none()
        }
    }
}

#[cfg(test)]
mod tests;
