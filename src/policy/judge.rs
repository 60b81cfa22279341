//! The judgement behind every verdict: layers of rules, and the addresses that need a rule of their own.
//!
//! It gives no proofs, only the rule that counts or what stands in the way. Invariant: every layer has to allow, and
//! every form of an address.

use std::iter;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::Policy;
use super::address::{self, SpecialUse};
use super::permit::Machine;
use super::rule::{Asked, Called, Place, Rule};
use super::service::Service;
use super::source::RuleSource;
use super::table::{Standing, Table};
use crate::name::HostName;

/// Who wrote a layer of rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Layer {
    /// The platform.
    Floor,
    /// The sandbox's owner.
    Own,
}

/// What stands in the way.
#[derive(Clone, Copy, Debug)]
pub(super) enum Blocked<'a> {
    /// A rule of this layer that denies it.
    By(&'a Rule, Layer),
    /// No rule of this layer allows it.
    Unmentioned(Layer),
    /// An address that is nobody's by accident, which no rule of the sandbox's own names.
    Special(IpAddr, SpecialUse),
}

impl Policy {
    /// The rule that allows it, or may once more is known.
    ///
    /// A name is not resolved for the sake of a rule about addresses: anybody could ask for any name then. Under a floor
    /// that allows it by address alone, the sandbox's own rules have to name the host.
    pub(super) fn judge(&self, asked: Asked<'_>) -> Result<&Arc<Rule>, Blocked<'_>> {
        let unresolved = match (asked.called, asked.place) {
            (Called::Name(name), Place::Unknown) => Some(name),
            _ => None,
        };
        let port = asked.service.and_then(Service::port);
        let is_sent = |name| port.is_some_and(|port| self.connect_to(name, port).is_some());
        let beyond = unresolved.is_some_and(|name| self.is_resolved_there(name) && !is_sent(name));
        let at_floor = if beyond { Asked { place: Place::Unknowable, ..asked } } else { asked };
        let mut by_name = true;
        for floor in &self.floors {
            by_name &= settle(floor.judge(at_floor, |_| true), Layer::Floor)?.opens_names();
        }
        let counts = |rule: &Rule| {
            let is_due = match unresolved {
                Some(_) if by_name => rule.opens_names(),
                Some(name) => rule.names(name),
                None => true,
            };
            is_due && !self.is_displaced(rule, asked.called)
        };
        settle(self.rules.judge(asked, counts), Layer::Own)
    }

    /// Judges all forms of the address in `asked` and the address itself; for no address, `asked` alone.
    pub(super) fn judge_place(&self, asked: Asked<'_>) -> Result<&Arc<Rule>, Blocked<'_>> {
        let (Place::Address(addr), Some(service)) = (asked.place, asked.service) else {
            return self.judge(asked);
        };
        let mut allowed = Err(Blocked::Unmentioned(Layer::Own));
        // The address's own form is the last, and the one that is told.
        for form in forms(addr) {
            let asked = Asked { place: Place::Address(form), ..asked };
            allowed = Ok(self.judge(asked)?);
            self.layers().try_for_each(|layer| judge_special(layer, form, service))?;
        }
        allowed
    }

    /// Judges by the platform's rules alone an address and port that an operator leads to in place of what was asked.
    pub(super) fn judge_detour(&self, asked: Asked<'_>, to: SocketAddr) -> Result<(), Blocked<'_>> {
        let Some(asked_for) = asked.service else { return Ok(()) };
        let service = asked_for.protocol().at(to.port());
        for (layer, floor) in self.layers().filter(|(layer, _)| *layer == Layer::Floor) {
            for form in forms(to.ip()) {
                let asked = Asked { service: Some(service), place: Place::Address(form), ..asked };
                settle(floor.judge(asked, |_| true), layer)?;
                judge_special((layer, floor), form, service)?;
            }
        }
        Ok(())
    }

    /// Whether `addr` may be this machine's own: an operator's word leads there, or each layer has a rule for that very
    /// address.
    pub(super) fn machine(&self, host: Option<&HostName>, service: Service, addr: IpAddr) -> Machine {
        let sent = |host: &HostName| {
            host.is_host_alias() || service.port().is_some_and(|port| self.connect_to(host, port).is_some())
        };
        let by_address = || self.layers().all(|(_, layer)| layer.names_address(addr, service));
        if host.is_some_and(sent) || by_address() { Machine::Meant } else { Machine::Other }
    }

    /// Whether a rule for this very address might tell the guest of it: any service will do.
    pub(super) fn opens_address(&self, addr: IpAddr) -> bool {
        let special = |form: &IpAddr| address::special_use(*form).is_some();
        self.layers().all(|(_, layer)| forms(addr).filter(special).all(|form| layer.mentions(form)))
    }

    /// The tables of rules and who wrote them, the platform's first.
    pub(super) fn layers(&self) -> impl Iterator<Item = (Layer, &Table)> {
        let floors = self.floors.iter().map(|floor| (Layer::Floor, floor));
        floors.chain(iter::once((Layer::Own, &self.rules)))
    }

    /// Leave that only comes with a secret gives way where another rule says which requests the host may get.
    fn is_displaced(&self, rule: &Rule, called: Called<'_>) -> bool {
        let Called::Name(host) = called else { return false };
        matches!(rule.source(), RuleSource::Secret { .. }) && self.names_requests_of(host)
    }

    /// Whether some rule is about requests to `host` by name.
    pub(super) fn names_requests_of(&self, host: &HostName) -> bool {
        self.rules.naming(host).any(|rule| rule.requests().is_some())
    }
}

/// The addresses that `addr` carries, then its own form.
fn forms(addr: IpAddr) -> impl Iterator<Item = IpAddr> {
    address::carried(addr).map(IpAddr::V4).chain(iter::once(addr))
}

/// An address of special use is opened by a rule about that address in each layer, not by a name that leads there.
fn judge_special((layer, table): (Layer, &Table), addr: IpAddr, service: Service) -> Result<(), Blocked<'_>> {
    let Some(special) = address::special_use(addr) else { return Ok(()) };
    match (table.by_address(addr, service), layer) {
        (Standing::Allowed(_), _) => Ok(()),
        (Standing::Denied(rule), layer) => Err(Blocked::By(rule, layer)),
        (Standing::Unmentioned, Layer::Floor) => Err(Blocked::Unmentioned(layer)),
        (Standing::Unmentioned, Layer::Own) => Err(Blocked::Special(addr, special)),
    }
}

fn settle(standing: Standing<'_>, layer: Layer) -> Result<&Arc<Rule>, Blocked<'_>> {
    match standing {
        Standing::Allowed(rule) => Ok(rule),
        Standing::Denied(rule) => Err(Blocked::By(rule, layer)),
        Standing::Unmentioned => Err(Blocked::Unmentioned(layer)),
    }
}
