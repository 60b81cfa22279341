//! The judgement behind every verdict: layers of rules, and the addresses that need a rule of their own.
//!
//! It gives no proofs, only the rule that counts or what stands in the way. Invariant: every layer has to allow, and
//! every form of an address.

use std::iter;
use std::net::IpAddr;
use std::sync::Arc;

use super::Policy;
use super::address::{self, SpecialUse};
use super::destination::Destination;
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
    /// A rule that denies it.
    By(&'a Rule),
    /// No rule of this layer allows it.
    Unmentioned(Layer),
    /// An address that is nobody's by accident, which no rule names.
    Special(IpAddr, SpecialUse),
}

impl Policy {
    /// The rule that allows it, or may once more is known.
    ///
    /// A name is not resolved for the sake of a rule about addresses: anybody could ask for any name then.
    pub(super) fn judge(&self, asked: Asked<'_>) -> Result<&Arc<Rule>, Blocked<'_>> {
        for floor in &self.floors {
            settle(floor.judge(asked, |_| true), Layer::Floor)?;
        }
        let names_only = matches!((asked.called, asked.place), (Called::Name(_), Place::Unknown));
        let counts =
            |rule: &Rule| (!names_only || rule.opens_names()) && !self.is_displaced(rule, asked.called);
        settle(self.rules.judge(asked, counts), Layer::Own)
    }

    /// Judges all forms of the address in `asked` and the address itself; for no address, `asked` alone.
    pub(super) fn judge_place(&self, asked: Asked<'_>) -> Result<&Arc<Rule>, Blocked<'_>> {
        let (Place::Address(addr), Some(service)) = (asked.place, asked.service) else {
            return self.judge(asked);
        };
        let mut allowed = Err(Blocked::Unmentioned(Layer::Own));
        // The address's own form is the last, and the one that is told.
        for form in address::carried(addr).map(IpAddr::V4).chain(iter::once(addr)) {
            let asked = Asked { place: Place::Address(form), ..asked };
            allowed = Ok(self.judge(asked)?);
            self.judge_special(form, service)?;
        }
        allowed
    }

    /// An address of special use is opened by a rule about that address in each layer, not by a name that leads there.
    fn judge_special(&self, addr: IpAddr, service: Service) -> Result<(), Blocked<'_>> {
        let Some(special) = address::special_use(addr) else { return Ok(()) };
        for layer in self.layers() {
            match layer.by_address(addr, service) {
                Standing::Allowed(_) => {}
                Standing::Denied(rule) => return Err(Blocked::By(rule)),
                Standing::Unmentioned => return Err(Blocked::Special(addr, special)),
            }
        }
        Ok(())
    }

    /// Whether `addr` may be this machine's own: an operator's word or a rule about addresses names it.
    pub(super) fn machine(&self, host: Option<&HostName>, service: Service, addr: IpAddr) -> Machine {
        let sent = |host: &HostName| {
            host.is_host_alias() || service.port().is_some_and(|port| self.connect_to(host, port).is_some())
        };
        let by_address = match self.rules.by_address(addr, service) {
            Standing::Allowed(rule) => matches!(rule.destination(), Destination::Subnet(_)),
            Standing::Denied(_) | Standing::Unmentioned => false,
        };
        if host.is_some_and(sent) || by_address { Machine::Meant } else { Machine::Other }
    }

    /// Whether a rule for this very address might tell the guest of it: any service will do.
    pub(super) fn opens_address(&self, addr: IpAddr) -> bool {
        let forms = || address::carried(addr).map(IpAddr::V4).chain(iter::once(addr));
        let special = |form: &IpAddr| address::special_use(*form).is_some();
        self.layers().all(|layer| forms().filter(special).all(|form| layer.mentions(form)))
    }

    pub(super) fn layers(&self) -> impl Iterator<Item = &Table> {
        self.floors.iter().chain(iter::once(&self.rules))
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

fn settle(standing: Standing<'_>, layer: Layer) -> Result<&Arc<Rule>, Blocked<'_>> {
    match standing {
        Standing::Allowed(rule) => Ok(rule),
        Standing::Denied(rule) => Err(Blocked::By(rule)),
        Standing::Unmentioned => Err(Blocked::Unmentioned(layer)),
    }
}
