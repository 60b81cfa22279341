//! What a guest may reach, and who may reach the guest.
//!
//! Pure judgement over names, ports and addresses: it resolves nothing and dials nothing. Everything is
//! denied that no rule allows. Invariant: only this module makes a [`Permit`] or a [`DatagramPermit`], for exactly
//! the address it judged, under a name that a rule of that protocol allows.

#![warn(clippy::indexing_slicing)]

pub mod address;
mod datagram;
mod ingress;
mod live;
mod permit;
mod rule;
mod service;
mod verdict;

pub use ingress::{Admission, Publish, PublishError, Subnet, SubnetError, Transport};
pub use live::Live;
pub use permit::{DatagramPermit, Dial, Dialled, Dialling, EchoPermit, Permit, UdpPermit};
pub(crate) use rule::is_localhost;
pub use rule::{AllowRule, ConnectTo, Ports, RuleError, RuleSource, Target, overlap};
pub use service::{Protocol, Reserved, Service};
pub use verdict::{AtDatagram, AtQuestion, AtSyn, Denial, NamePermit, Reason, Verdict};

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::dns::{Meaning, Names};
use crate::name::{HostName, HostPattern, Origin};

/// Where the host alias is dialled, in this order.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// Names that an opaque flow is said to go by. More on one address are a crowded CDN, where the first that a
/// rule allows is as good as any.
const NAMES_OF_A_FLOW: usize = 16;

/// The rules of one sandbox; it never changes once built.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Arc<AllowRule>>,
    connect_to: HashMap<HostName, Vec<ConnectTo>>,
    passthrough: Vec<HostPattern>,
}

/// Gathers the rules of a [`Policy`].
#[derive(Debug, Default)]
#[must_use = "it becomes a policy by build()"]
pub struct Builder(Policy);

impl Builder {
    /// Adds a rule; the first that allows a host and port is the one that is named for it.
    pub fn allow(mut self, rule: AllowRule) -> Self {
        self.0.rules.push(Arc::new(rule));
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

    /// Judges a SYN by its destination and by what this sandbox's addresses mean now.
    ///
    /// 80 and 443 are always sniffed: the name the flow carries decides, and a denial can be explained there.
    /// TCP port 53 is the sandbox's own DNS and is not asked about here.
    pub fn at_syn(&self, destination: SocketAddr, names: &Names, now: Instant) -> AtSyn {
        if rule::is_web(destination.port()) {
            return AtSyn::Sniff;
        }
        match names.meaning(destination.ip()) {
            Meaning::Gateway => self.alias_at_syn(destination),
            Meaning::Mapped(Some(name)) => self.mapped_at_syn(name, destination.port()),
            Meaning::Mapped(None) => AtSyn::Refuse(unbound(destination)),
            Meaning::Elsewhere => self.opaque_at_syn(destination, names, now),
        }
    }

    /// A name with an address of the sandbox's own: an operator's `--connect-to` says where it is, else its
    /// rule came later than its address, and only a name that the flow carries can be resolved.
    fn mapped_at_syn(&self, name: &HostName, port: u16) -> AtSyn {
        let name = match self.at_host(name, port) {
            Verdict::Allow(name) => name,
            Verdict::Deny(denial) => return AtSyn::Refuse(denial),
        };
        let Some(to) = self.connect_to(name.host(), port) else { return AtSyn::Sniff };
        match self.at_addr(&name, to.ip()) {
            Verdict::Allow(permit) => AtSyn::DialFirst { permits: vec![permit], names: vec![name] },
            Verdict::Deny(denial) => AtSyn::Refuse(denial),
        }
    }

    fn alias_at_syn(&self, destination: SocketAddr) -> AtSyn {
        let port = destination.port();
        let opened = self.rules.iter().find_map(|rule| {
            let alias = rule.alias().filter(|_| rule.opens(Service::Tcp(port)))?;
            Some(NamePermit::new(alias.clone(), port, Arc::clone(rule)))
        });
        let Some(name) = opened else {
            return AtSyn::Refuse(Denial::not_loopback(destination.ip(), Service::Tcp(port)));
        };
        let permit = |addr| Permit::new(SocketAddr::new(addr, port), Some(name.host().clone()));
        AtSyn::DialFirst { permits: LOOPBACK.map(permit).into(), names: vec![name] }
    }

    fn opaque_at_syn(&self, destination: SocketAddr, names: &Names, now: Instant) -> AtSyn {
        let mut allowed = Vec::new();
        let mut permits = Vec::new();
        let mut denied = None;
        for name in names.names_of(destination.ip(), now) {
            let verdict = match self.at_host(name, destination.port()) {
                Verdict::Allow(name) => match self.at_addr(&name, destination.ip()) {
                    Verdict::Allow(permit) => Ok((name, permit)),
                    Verdict::Deny(denial) => Err(denial),
                },
                Verdict::Deny(denial) => Err(denial),
            };
            match verdict {
                Ok((name, permit)) => {
                    allowed.push(name);
                    // One address, one dial: the first name's permit stands for all.
                    if permits.is_empty() {
                        permits.push(permit);
                    }
                }
                Err(denial) => denied = denied.or(Some(denial)),
            }
            if allowed.len() == NAMES_OF_A_FLOW {
                break;
            }
        }
        if permits.is_empty() {
            AtSyn::Refuse(denied.unwrap_or_else(|| unbound(destination)))
        } else {
            AtSyn::DialFirst { permits, names: allowed }
        }
    }

    /// Judges the name and port of a request.
    pub fn at_name(&self, origin: &Origin) -> Verdict<NamePermit> {
        self.at_host(&origin.host, origin.port)
    }

    /// Judges a name and port where there is no scheme: TLS that is passed through, opaque flows.
    pub fn at_host(&self, host: &HostName, port: u16) -> Verdict<NamePermit> {
        match self.opened(host, Service::Tcp(port)) {
            Ok(rule) => Verdict::Allow(NamePermit::new(host.clone(), port, Arc::clone(rule))),
            Err(denial) => Verdict::Deny(denial),
        }
    }

    /// The rule that opens a service of a host; where none does, the denial tells of the rule that comes nearest.
    fn opened(&self, host: &HostName, service: Service) -> Result<&Arc<AllowRule>, Denial> {
        self.rules.iter().find(|rule| rule.reaches(host, service)).ok_or_else(|| {
            let same = |rule: &&Arc<AllowRule>| rule.protocol() == service.protocol();
            let mut named = self.rules.iter().filter(|rule| rule.names(host));
            let nearest = named.clone().find(same).or_else(|| named.next());
            Denial::by_name(host, service, nearest.map(Arc::as_ref))
        })
    }

    /// Judges one address that an allowed name has.
    ///
    /// An operator's `--connect-to` is the only address then; the host alias has loopback and nothing else; all
    /// other names have ordinary public addresses.
    pub fn at_addr(&self, name: &NamePermit, addr: IpAddr) -> Verdict<Permit> {
        match self.addressed(name.host(), Service::Tcp(name.port()), addr) {
            Ok(addr) => Verdict::Allow(Permit::new(addr, Some(name.host().clone()))),
            Err(denial) => Verdict::Deny(denial),
        }
    }

    /// What is dialled for an allowed service of `host` at `addr`; the port of a service without one is 0.
    fn addressed(&self, host: &HostName, service: Service, addr: IpAddr) -> Result<SocketAddr, Denial> {
        let port = service.port().unwrap_or_default();
        if let Some(to) = service.port().and_then(|port| self.connect_to(host, port)) {
            return if to.ip() == addr { Ok(to) } else { Err(Denial::by_redirection(host, port, to)) };
        }
        if host.is_host_alias() {
            return if LOOPBACK.contains(&addr) {
                Ok(SocketAddr::new(addr, port))
            } else {
                Err(Denial::not_loopback(addr, service))
            };
        }
        match address::special_use(addr) {
            None => Ok(SocketAddr::new(addr, port)),
            Some(special) => Err(Denial::by_special_use(host, service, addr, special)),
        }
    }

    /// Judges an address in a DNS answer about an allowed name: may the guest be told?
    pub fn at_answer(&self, host: &HostName, addr: IpAddr) -> Verdict<()> {
        match address::special_use(addr) {
            None => Verdict::Allow(()),
            Some(special) => {
                // A question has no port; the hint is for the one that is nearly always meant.
                let named = self.rules.iter().find(|rule| rule.names(host));
                let service = named.map_or(Service::Tcp(443), |rule| match (rule.protocol(), rule.ports()) {
                    (Protocol::Udp, Ports::One(port)) => Service::Udp(port),
                    (Protocol::Tcp, Ports::One(port)) => Service::Tcp(port),
                    (Protocol::Icmp, _) => Service::Icmp,
                    (Protocol::Tcp | Protocol::Udp, Ports::Web | Ports::None) => Service::Tcp(443),
                });
                Verdict::Deny(Denial::by_special_use(host, service, addr, special))
            }
        }
    }

    /// Judges the name of a DNS question; one that no rule could allow never leaves the host.
    #[must_use]
    pub fn at_question(&self, host: &HostName) -> AtQuestion {
        if host.is_host_alias() {
            AtQuestion::Gateway
        } else if is_localhost(host) {
            AtQuestion::Loopback
        } else if !self.rules.iter().any(|rule| rule.names(host)) {
            AtQuestion::Deny(Denial::by_question(host))
        } else if self.connect_to.contains_key(host) {
            AtQuestion::Map
        } else {
            AtQuestion::Forward
        }
    }

    /// Whether a rule names `host`, by itself or as one of all below a name.
    #[must_use]
    pub fn is_named(&self, host: &HostName) -> bool {
        self.rules.iter().any(|rule| rule.names(host))
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
}

fn unbound(destination: SocketAddr) -> Denial {
    Denial::unbound(destination.ip(), Service::Tcp(destination.port()))
}

#[cfg(test)]
mod tests;
