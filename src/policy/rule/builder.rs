//! From what a rule says to a rule that can be kept.
//!
//! Flags, files and programs all come through here, so that they mean the same. Invariant: what contradicts itself, or
//! could never match, is refused with what to write instead.

use super::{Action, Direction, Rule};
use crate::policy::destination::{Destination, Group, is_alias};
use crate::policy::error::RuleError;
use crate::policy::ports::{Ports, Services};
use crate::policy::requests::Requests;
use crate::policy::service::{Protocol, Reserved};
use crate::policy::source::RuleSource;

/// A rule as far as it is described.
///
/// Where nothing is said, leave for a host is for TCP at ports 80 and 443, and so is leave with methods or paths; a
/// denial of those is about TCP at every port. Any other rule is about every protocol and port.
#[derive(Clone, Debug)]
#[must_use = "it becomes a rule by build()"]
pub struct Builder {
    action: Action,
    direction: Direction,
    destination: Destination,
    protocols: Vec<Protocol>,
    ports: Option<Ports>,
    methods: Vec<String>,
    paths: Vec<String>,
}

/// All DNS of a guest ends in the sandbox, over TLS too.
const DNS: [u16; 2] = [53, 853];

impl Builder {
    pub(super) fn new(action: Action, destination: Destination) -> Self {
        Self {
            action,
            direction: Direction::Egress,
            destination,
            protocols: Vec::new(),
            ports: None,
            methods: Vec::new(),
            paths: Vec::new(),
        }
    }

    /// Looks this way instead of outward.
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = direction;
        self
    }

    /// Only by this protocol too.
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.protocols.push(protocol);
        self
    }

    /// Only at these ports too.
    pub fn ports(mut self, ports: Ports) -> Self {
        self.ports = Some(match self.ports {
            Some(own) => own.and(ports),
            None => ports,
        });
        self
    }

    /// Only requests with this method too, in capitals.
    pub fn method(mut self, method: &str) -> Self {
        self.methods.push(method.to_owned());
        self
    }

    /// Only requests for these paths too: `*` is any text within a segment, `**` as a whole segment any number of them.
    pub fn path(mut self, glob: &str) -> Self {
        self.paths.push(glob.to_owned());
        self
    }

    /// Fails where it is about addresses and says nothing of ports, which would be all of them.
    pub(super) fn with_ports_of_addresses(self) -> Result<Self, RuleError> {
        let by_address = match &self.destination {
            Destination::Any | Destination::Host(_) | Destination::Group(Group::Host | Group::Metadata) => {
                false
            }
            Destination::Subnet(_) | Destination::Group(_) => true,
        };
        let has_ports = self.ports.is_some() || self.protocols.as_slice() == [Protocol::Icmp];
        if by_address && !has_ports { Err(RuleError::AddressPort) } else { Ok(self) }
    }

    /// The rule.
    pub fn build(self, source: RuleSource) -> Result<Rule, RuleError> {
        let requests = self.requests()?;
        let services = self.services(requests.is_some())?;
        if self.direction == Direction::Ingress && matches!(self.destination, Destination::Host(_)) {
            return Err(RuleError::PeerByName);
        }
        if self.action == Action::Allow && self.destination == Destination::Group(Group::Metadata) {
            return Err(RuleError::MetadataByGroup);
        }
        let Self { action, direction, destination, .. } = self;
        Ok(Rule { action, direction, destination, services, requests, source })
    }

    fn requests(&self) -> Result<Option<Requests>, RuleError> {
        if self.methods.is_empty() && self.paths.is_empty() {
            return Ok(None);
        }
        if self.direction != Direction::Egress {
            return Err(RuleError::RequestsInward);
        }
        let is_read = match &self.destination {
            Destination::Any | Destination::Group(Group::Public) => true,
            Destination::Host(pattern) => !is_alias(pattern),
            Destination::Subnet(_) | Destination::Group(_) => false,
        };
        if !is_read || self.protocols.iter().any(|protocol| *protocol != Protocol::Tcp) {
            return Err(RuleError::RequestsUnread);
        }
        let methods = self.methods.iter().map(String::as_str);
        Requests::new(methods, self.paths.iter().map(String::as_str)).map(Some)
    }

    fn services(&self, has_requests: bool) -> Result<Services, RuleError> {
        let only = |protocol| self.protocols.as_slice() == [protocol];
        if only(Protocol::Icmp) && self.ports.is_some() {
            return Err(RuleError::IcmpPort);
        }
        if self.action == Action::Allow && self.direction == Direction::Egress {
            self.refuse_the_shut()?;
        }
        let lets_a_host = self.action == Action::Allow && matches!(self.destination, Destination::Host(_));
        let web_alone = has_requests || lets_a_host && self.protocols.is_empty();
        let ports = match &self.ports {
            Some(ports) => ports.clone(),
            None if lets_a_host && !only(Protocol::Icmp) => Ports::web(),
            // HTTP is read on any port, so that a request is denied on any; leave is for where it usually is.
            None if has_requests && self.action == Action::Allow => Ports::web(),
            None => Ports::all(),
        };
        let named = if web_alone { &[Protocol::Tcp] } else { self.protocols.as_slice() };
        let all = [Protocol::Tcp, Protocol::Udp, Protocol::Icmp];
        // Ports without a protocol are those of TCP, as everybody writes them; as a denial they are those of UDP too.
        let implied = match (&self.ports, self.action) {
            (Some(_), Action::Allow) => &all[..1],
            (Some(_), Action::Deny) => &all[..2],
            (None, _) => &all[..],
        };
        let named = if named.is_empty() { implied } else { named };
        Services::new(named, ports).ok_or(RuleError::Empty)
    }

    /// What no rule can open.
    fn refuse_the_shut(&self) -> Result<(), RuleError> {
        let is_host_alias = match &self.destination {
            Destination::Host(pattern) => is_alias(pattern),
            Destination::Group(Group::Host) => true,
            Destination::Any | Destination::Subnet(_) | Destination::Group(_) => false,
        };
        if is_host_alias && self.protocols.contains(&Protocol::Icmp) {
            return Err(RuleError::AliasEcho);
        }
        let by_udp = self.protocols.contains(&Protocol::Udp);
        if by_udp && self.ports.is_none() && matches!(self.destination, Destination::Host(_)) {
            return Err(RuleError::UdpPort);
        }
        if is_host_alias && self.ports.is_none() {
            return Err(RuleError::AliasPort);
        }
        let Some(port) = self.ports.as_ref().and_then(Ports::only) else { return Ok(()) };
        match Reserved::of_port(port) {
            Some(reserved) if by_udp => Err(RuleError::UdpReserved(reserved)),
            _ if DNS.contains(&port) => Err(RuleError::Dns),
            Some(_) | None => Ok(()),
        }
    }
}
