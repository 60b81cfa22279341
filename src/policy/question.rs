//! Verdicts on DNS: whether a name may be asked for, and whether an answer may be told.
//!
//! Invariant: a name is asked for only where some service of it may be used, by every layer of rules.

use std::net::IpAddr;

use super::Policy;
use super::address;
use super::denial::Denial;
use super::judge::{Blocked, Layer};
use super::rule::{Action, Asked, Called, Carried, Place};
use super::service::{Protocol, Reserved, Service};
use super::target::is_localhost;
use super::verdict::{AtQuestion, Verdict};
use crate::name::HostName;

impl Policy {
    /// Judges an address in a DNS answer about an allowed name: may the guest be told?
    pub fn at_answer(&self, host: &HostName, addr: IpAddr) -> Verdict<()> {
        let Some(special) = address::special_use(addr).filter(|_| !self.opens_address(addr)) else {
            return Verdict::Allow(());
        };
        // A question has no port; the hint is for the one that is nearly always meant.
        let named = self.rules.naming(host).find(|rule| rule.action() == Action::Allow);
        let service = named.and_then(|rule| {
            let port = rule.services().ports().only();
            match (rule.services().protocols(), port) {
                ([Protocol::Udp], Some(port)) => Some(Service::Udp(port)),
                ([Protocol::Icmp], _) => Some(Service::Icmp),
                (_, port) => port.map(Service::Tcp),
            }
        });
        Verdict::Deny(Denial::by_special_use(host, service.unwrap_or(Service::Tcp(443)), addr, special))
    }

    /// Judges the name of a DNS question; one that no rule could allow never leaves the host.
    #[must_use]
    pub fn at_question(&self, host: &HostName) -> AtQuestion {
        if host.is_host_alias() {
            return AtQuestion::Gateway;
        }
        if is_localhost(host) {
            return AtQuestion::Loopback;
        }
        match self.judge_services(host) {
            Ok(()) if self.connect_to.contains_key(host) || self.is_resolved_there(host) => AtQuestion::Map,
            Ok(()) => AtQuestion::Forward,
            Err(Blocked::By(rule, layer)) => {
                AtQuestion::Forbid(Denial::by_rule(host.to_string(), rule, layer))
            }
            Err(Blocked::Unmentioned(Layer::Floor)) => AtQuestion::Deny(Denial::by_floor(host.to_string())),
            Err(Blocked::Unmentioned(Layer::Own) | Blocked::Special(..)) => {
                AtQuestion::Deny(Denial::by_question(host))
            }
        }
    }

    /// Judges what may be used of a name as long as its address is not known: one service that is allowed is enough.
    fn judge_services(&self, host: &HostName) -> Result<(), Blocked<'_>> {
        let called = Called::Name(host);
        let judge = |service: Option<Service>| {
            let carried = match service.map(Service::protocol) {
                None | Some(Protocol::Tcp) => Carried::Unknown,
                Some(Protocol::Udp | Protocol::Icmp) => Carried::Unread,
            };
            self.judge(Asked { service, called, place: Place::Unknown, carried })
        };
        let first = judge(None)?;
        let mut blocked = None;
        // What is allowed begins where leave begins, or where a denial ends.
        let own = first.services().edges(Action::Allow);
        let others = self.layers().flat_map(|(_, table)| table.about_name(host.as_str()));
        let services = own.chain(others.flat_map(|rule| rule.services().edges(rule.action())));
        for service in services.filter(|service| Reserved::of(*service).is_none()) {
            match judge(Some(service)) {
                Ok(_) => return Ok(()),
                Err(own) => blocked = blocked.or(Some(own)),
            }
        }
        Err(blocked.unwrap_or(Blocked::Unmentioned(Layer::Own)))
    }
}
