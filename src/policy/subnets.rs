//! Rules about subnets, found by an address without a walk through all of them.
//!
//! Places in a list of rules, and no judgement. Invariant: for a known address it finds all rules whose subnet holds
//! it; where the address is not known, a rule for each thing that any of them could say.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

use super::ports::Services;
use super::rule::{Action, Place, Rule};
use super::subnet::{Subnet, masked};

/// Places of rules about subnets, each list in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Subnets {
    all: Vec<usize>,
    /// By the prefix's length, then by the first address: as many look-ups as there are lengths.
    by_prefix: BTreeMap<u8, HashMap<IpAddr, Vec<usize>>>,
    leave: Firsts,
    denials: Firsts,
}

/// The first rule of each set of services: the others say the same of an address that is not known.
#[derive(Clone, Debug, Default)]
struct Firsts {
    known: HashSet<Services>,
    places: Vec<usize>,
}

impl Subnets {
    /// Adds a rule behind those there are.
    pub(super) fn push(&mut self, place: usize, subnet: &Subnet, rule: &Rule) {
        self.all.push(place);
        let heads = self.by_prefix.entry(subnet.prefix()).or_default();
        heads.entry(subnet.first()).or_default().push(place);
        let firsts = match rule.action() {
            Action::Allow => &mut self.leave,
            Action::Deny => &mut self.denials,
        };
        if firsts.known.insert(rule.services().clone()) {
            firsts.places.push(place);
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[usize] {
        &self.all
    }

    /// Lists of those that may say something of `place`.
    pub(super) fn about(&self, place: Place) -> Vec<&[usize]> {
        match place {
            Place::Address(addr) => {
                let holding =
                    self.by_prefix.iter().filter_map(|(prefix, heads)| heads.get(&masked(addr, *prefix)));
                holding.map(Vec::as_slice).collect()
            }
            Place::Unknown => vec![&self.leave.places],
            Place::Unknowable => vec![&self.denials.places],
            Place::Loopback => Vec::new(),
        }
    }
}
