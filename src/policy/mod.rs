//! What a guest may reach, and who may reach the guest.
//!
//! Pure judgement over names, ports and addresses: it resolves nothing and dials nothing. Everything is
//! denied that no rule allows. Invariant: only this module makes a [`Permit`] or a [`DatagramPermit`], for exactly
//! the address it judged, under a name that a rule of that protocol allows.

#![warn(clippy::indexing_slicing)]

pub mod address;
mod datagram;
mod denial;
mod destination;
mod error;
mod flows;
mod ingress;
mod judge;
mod lint;
mod live;
mod observe;
mod path;
mod permit;
mod ports;
mod proxied;
mod question;
mod reason;
mod requests;
mod rule;
mod service;
mod source;
mod subnet;
mod subnets;
mod table;
mod target;
mod verdict;

pub use denial::Denial;
pub use destination::{Destination, Group};
pub use error::RuleError;
pub use ingress::{Admission, Publish, PublishError, Transport};
pub use lint::{Finding, Pair};
pub use live::Live;
pub use path::Path;
pub use permit::{DatagramPermit, Dial, Dialled, Dialling, EchoPermit, Permit, UdpPermit};
pub use ports::{Ports, Services};
pub use proxied::Leave;
pub use reason::Reason;
pub use requests::Requests;
pub use rule::{Action, Builder as RuleBuilder, Direction, Rule};
pub use service::{Protocol, Reserved, Service};
pub use source::{RuleSource, Spot};
pub use subnet::{Subnet, SubnetError};
pub use target::{ConnectTo, Target, overlap};
pub use verdict::{AtDatagram, AtQuestion, AtSyn, NamePermit, Opened, Verdict};

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use judge::{Blocked, Layer};
pub(crate) use permit::Machine;
use requests::Readings;
use rule::{Asked, Called, Carried, Place};
use table::Table;

use crate::name::{HostName, HostPattern, Origin};
use crate::upstream::Upstreams;

/// Where the host alias is dialled, in this order.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// The rules of one sandbox; it never changes once built. [`Live`] holds the one that counts.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Each has to allow.
    floors: Vec<Table>,
    rules: Table,
    connect_to: HashMap<HostName, Vec<ConnectTo>>,
    passthrough: Vec<HostPattern>,
    upstreams: Arc<Upstreams>,
    /// What would hold if this one did not only observe.
    enforced: Option<Arc<Policy>>,
}

/// Gathers the rules of a [`Policy`].
#[derive(Debug, Default)]
#[must_use = "it becomes a policy by build()"]
pub struct Builder(Policy);

impl Builder {
    /// Adds a rule behind those there are; the first that is about a flow or request decides.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.0.rules.push(rule);
        self
    }

    /// Puts rules of the platform under the others: what these do not allow, no other rule does. Without any it has
    /// none, which allows nothing. Each call is a floor of its own, and all of them have to allow.
    pub fn floor(mut self, rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut floor = Table::default();
        rules.into_iter().for_each(|rule| floor.push(rule));
        self.0.floors.push(floor);
        self
    }

    /// Adds an operator's address for a name and port.
    pub fn connect_to(mut self, connect_to: ConnectTo) -> Self {
        self.0.connect_to.entry(connect_to.host.clone()).or_default().push(connect_to);
        self
    }

    /// Adds hosts that are spliced and never decrypted; they still need a rule.
    pub fn passthrough(mut self, pattern: HostPattern) -> Self {
        self.0.passthrough.push(pattern);
        self
    }

    /// The policy.
    #[must_use]
    pub fn build(self) -> Policy {
        self.0
    }
}

impl Policy {
    /// Starts with nothing allowed.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Judges the name and port of a request.
    pub fn at_name(&self, origin: &Origin) -> Verdict<NamePermit> {
        self.at_host(&origin.host, origin.port)
    }

    /// Judges a name and port where there is no scheme: TLS that is passed through, opaque flows. Its address and what
    /// it carries are judged later.
    pub fn at_host(&self, host: &HostName, port: u16) -> Verdict<NamePermit> {
        match self.opened(host, Service::Tcp(port)) {
            Ok(rule) => Verdict::Allow(NamePermit::new(host.clone(), port, Arc::clone(rule))),
            Err(denial) => Verdict::Deny(denial),
        }
    }

    /// The rule that opens a service of a host, whatever its address.
    fn opened(&self, host: &HostName, service: Service) -> Result<&Arc<Rule>, Denial> {
        let asked = Asked {
            service: Some(service),
            called: Called::Name(host),
            place: if host.is_host_alias() { Place::Loopback } else { Place::Unknown },
            carried: if service.protocol() == Protocol::Tcp { Carried::Unknown } else { Carried::Unread },
        };
        self.judge(asked).map_err(|blocked| self.denial(host, service, blocked))
    }

    /// Judges one address that an allowed name has.
    ///
    /// An operator's `--connect-to` is the only address then; the host alias has loopback and nothing else; an
    /// address of special use needs a rule that is about it.
    pub fn at_addr(&self, name: &NamePermit, addr: IpAddr) -> Verdict<Permit> {
        match self.addressed(name.host(), Service::Tcp(name.port()), addr) {
            Ok(to) => {
                let machine = self.machine(Some(name.host()), Service::Tcp(name.port()), addr);
                Verdict::Allow(Permit::new(to, Some(name.host().clone()), machine))
            }
            Err(denial) => Verdict::Deny(denial),
        }
    }

    /// What is dialled for an allowed service of `host` at `addr`; the port of a service without one is 0.
    fn addressed(&self, host: &HostName, service: Service, addr: IpAddr) -> Result<SocketAddr, Denial> {
        let port = service.port().unwrap_or_default();
        if let Some(to) = service.port().and_then(|port| self.connect_to(host, port)) {
            if to.ip() != addr {
                return Err(Denial::by_redirection(host, port, to));
            }
            let place = Place::Address(addr);
            let asked = Asked {
                service: Some(service),
                called: Called::Name(host),
                place,
                carried: Carried::Unknown,
            };
            let judged = self.judge_detour(asked, to);
            return judged.map(|()| to).map_err(|blocked| self.denial(host, service, blocked));
        }
        if host.is_host_alias() {
            return if LOOPBACK.contains(&addr) {
                Ok(SocketAddr::new(addr, port))
            } else {
                Err(Denial::not_loopback(addr, service))
            };
        }
        let asked = Asked {
            service: Some(service),
            called: Called::Name(host),
            place: Place::Address(addr),
            carried: Carried::Unknown,
        };
        match self.judge_place(asked) {
            Ok(_) => Ok(SocketAddr::new(addr, port)),
            Err(blocked) => Err(self.denial(host, service, blocked)),
        }
    }

    /// Judges a request to a host that is allowed, at the address it goes to; `target` is its path and query.
    pub fn at_request(
        &self,
        origin: &Origin,
        addr: Option<IpAddr>,
        (method, target): (&str, &str),
    ) -> Verdict<Arc<Rule>> {
        let service = Service::Tcp(origin.port);
        let place = self.place(&origin.host, origin.port, addr);
        let path = Path::new(target);
        let carried = Carried::Request { method, path: &path };
        let asked = Asked { service: Some(service), called: Called::Name(&origin.host), place, carried };
        let target = || format!("{method} {origin}");
        match self.judge_place(asked) {
            Ok(rule) => Verdict::Allow(Arc::clone(rule)),
            Err(Blocked::By(rule, layer)) => Verdict::Deny(Denial::by_rule(target(), rule, layer)),
            Err(Blocked::Unmentioned(Layer::Floor)) => Verdict::Deny(Denial::by_floor(target())),
            Err(blocked @ (Blocked::Unmentioned(Layer::Own) | Blocked::Special(..))) => {
                Verdict::Deny(match self.requested(&origin.host, service) {
                    Some(rule)
                        if path.is_ambiguous() && self.allows_a_reading(&origin.host, (method, &path)) =>
                    {
                        Denial::by_reading(origin, method, rule)
                    }
                    Some(rule) => Denial::by_requests(origin, (method, &path), rule),
                    None => self.denial(&origin.host, service, blocked),
                })
            }
        }
    }

    /// Where a port of a name leads, as far as it is known; an operator's `--connect-to` stands for any address.
    fn place(&self, host: &HostName, port: u16, addr: Option<IpAddr>) -> Place {
        match addr {
            _ if host.is_host_alias() => Place::Loopback,
            Some(addr) if self.connect_to(host, port).is_none() => Place::Address(addr),
            Some(_) | None => Place::Unknown,
        }
    }

    /// The rule that says which requests of a service are allowed.
    fn requested<'a>(&'a self, host: &HostName, service: Service) -> Option<&'a Rule> {
        let is_it = |rule: &&Arc<Rule>| {
            rule.action() == Action::Allow && rule.requests().is_some() && rule.services().contains(service)
        };
        self.rules.naming(host).find(is_it).map(Arc::as_ref)
    }

    /// Whether some rule would allow a request if its path had but one reading.
    fn allows_a_reading(&self, host: &HostName, (method, path): (&str, &Path<'_>)) -> bool {
        let leave = self.rules.naming(host).filter(|rule| rule.action() == Action::Allow);
        leave.filter_map(|rule| rule.requests()).any(|own| own.matches(method, path) == Readings::Some)
    }

    /// Whether a method and path matter at `host`: some rule is about requests there.
    #[must_use]
    pub fn reads_requests_of(&self, host: &HostName) -> bool {
        self.layers().any(|(_, table)| table.reads_requests_of(host))
    }

    /// What `host` is told of what stands in its way.
    fn denial(&self, host: &HostName, service: Service, blocked: Blocked<'_>) -> Denial {
        match blocked {
            Blocked::By(rule, layer) => Denial::by_rule(format!("{host}{service}"), rule, layer),
            Blocked::Special(addr, special) => Denial::by_special_use(host, service, addr, special),
            Blocked::Unmentioned(Layer::Floor) => Denial::by_floor(format!("{host}{service}")),
            Blocked::Unmentioned(Layer::Own) => {
                // The rule that comes nearest is told of.
                let allows = |rule: &&Arc<Rule>| rule.action() == Action::Allow;
                let same = |rule: &&Arc<Rule>| rule.services().protocols().contains(&service.protocol());
                let mut named = self.rules.naming(host).filter(allows);
                match named.clone().find(|rule| rule.services().contains(service)) {
                    Some(rule) if rule.requests().is_some() => return Denial::by_unread(host, service, rule),
                    Some(rule) => return Denial::by_displaced(host, service, rule),
                    None => {}
                }
                let nearest = named.clone().find(same).or_else(|| named.next());
                Denial::by_name(host, service, nearest.map(Arc::as_ref))
            }
        }
    }

    /// Whether a rule of the sandbox's own is about `host` by name and allows it something.
    #[must_use]
    pub fn is_named(&self, host: &HostName) -> bool {
        self.rules.naming(host).any(|rule| rule.action() == Action::Allow)
    }

    /// The operator's address for `host` at `port`, where there is one.
    #[must_use]
    pub fn connect_to(&self, host: &HostName, port: u16) -> Option<SocketAddr> {
        self.connect_to.get(host)?.iter().find(|own| own.port == port).map(|own| own.to)
    }

    /// The addresses of the host alias, to be judged by [`Policy::at_addr`] like any.
    #[must_use]
    pub(crate) fn alias_addresses(&self) -> [IpAddr; 2] {
        LOOPBACK
    }

    /// Whether `host` is spliced: never decrypted, never given a secret.
    #[must_use]
    pub fn is_passed_through(&self, host: &HostName) -> bool {
        self.passthrough.iter().any(|pattern| pattern.matches(host))
    }

    /// The rules of the sandbox's own, in order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.rules.rules().iter().map(Arc::as_ref)
    }

    /// The rules of the platform that all of these stand on, floor by floor.
    pub fn floors(&self) -> impl Iterator<Item = impl Iterator<Item = &Rule>> {
        self.floors.iter().map(|floor| floor.rules().iter().map(Arc::as_ref))
    }
}

#[cfg(test)]
mod tests;
