//! Rules in their order, and which of them is the first that counts.
//!
//! Rules about hosts are found by the name's labels and those about subnets by the address, so that their number costs
//! nothing; the few that are about kinds of address or anything are looked through. It knows of no special addresses and of no names' meaning. Invariant:
//! what it finds is what a walk through all rules in order would find.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::destination::Destination;
use super::rule::{Action, Asked, Called, Direction, Match, Place, Rule};
use super::service::Service;
use super::subnets::Subnets;
use crate::name::{HostName, HostPattern};

/// The rules of one author.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rules: Vec<Arc<Rule>>,
    /// Places in `rules`, in order.
    exact: HashMap<HostName, Vec<usize>>,
    below: HashMap<HostName, Vec<usize>>,
    subnets: Subnets,
    /// Of rules about kinds of address and about anything.
    wide: Vec<usize>,
    /// Of rules that look inward.
    inward: Vec<usize>,
    /// Of the first rule that allows a host.
    first_host: Option<usize>,
}

/// What the rules come to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing<'a> {
    /// This one allows it, or may once more is known.
    Allowed(&'a Arc<Rule>),
    /// This one denies it.
    Denied(&'a Arc<Rule>),
    /// None is about it.
    Unmentioned,
}

impl Table {
    pub(super) fn push(&mut self, rule: Rule) {
        let place = self.rules.len();
        if rule.direction() != Direction::Egress {
            self.inward.push(place);
        }
        if rule.direction() != Direction::Ingress {
            let allows_host =
                rule.action() == Action::Allow && matches!(rule.destination(), Destination::Host(_));
            self.first_host = self.first_host.or(allows_host.then_some(place));
            match rule.destination() {
                Destination::Host(HostPattern::Exact(name)) => {
                    self.exact.entry(name.clone()).or_default().push(place);
                }
                Destination::Host(HostPattern::Below(apex)) => {
                    self.below.entry(apex.clone()).or_default().push(place);
                }
                Destination::Subnet(subnet) => self.subnets.push(place, subnet, &rule),
                Destination::Any | Destination::Group(_) => self.wide.push(place),
            }
        }
        self.rules.push(Arc::new(rule));
    }

    /// All rules, in order.
    pub(super) fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// Those that may be about a host of this name or about any address, in order.
    pub(super) fn places_about<'a>(&'a self, name: &str) -> InOrder<'a> {
        let mut lists = self.named(name);
        lists.extend([self.wide.as_slice(), self.subnets.all()]);
        self.in_order(lists)
    }

    /// Those that may be about a host of this name whose address is not known, in order.
    pub(super) fn about_name<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Rule>> + use<'a> {
        let mut lists = self.named(name);
        lists.push(&self.wide);
        lists.extend(self.subnets.about(Place::Unknown));
        self.in_order(lists).map(|(_, rule)| rule)
    }

    /// Those that may be about what is asked, in order.
    fn about<'a>(&'a self, asked: Asked<'_>) -> InOrder<'a> {
        let mut lists = match asked.called {
            Called::Name(name) => self.named(name.as_str()),
            Called::Unknown | Called::Nothing => Vec::new(),
        };
        lists.push(&self.wide);
        lists.extend(self.subnets.about(asked.place));
        self.in_order(lists)
    }

    /// Those that may be about an address alone, in order.
    fn about_address(&self, addr: IpAddr) -> impl Iterator<Item = &Arc<Rule>> {
        let mut lists = self.subnets.about(Place::Address(addr));
        lists.push(&self.wide);
        self.in_order(lists).map(|(_, rule)| rule)
    }

    /// Those about hosts of this name.
    fn named(&self, name: &str) -> Vec<&[usize]> {
        let mut lists: Vec<_> = self.exact.get(name).map(Vec::as_slice).into_iter().collect();
        let mut rest = name;
        while let Some((_, parent)) = rest.split_once('.') {
            lists.extend(self.below.get(parent).map(Vec::as_slice));
            rest = parent;
        }
        lists
    }

    fn in_order<'a>(&'a self, lists: Vec<&'a [usize]>) -> InOrder<'a> {
        InOrder { rules: &self.rules, lists }
    }

    /// The first rule that counts, where one that allows counts already if it may, and one that denies only if it
    /// does; `counts` says which of those that allow may count at all.
    pub(super) fn judge(&self, asked: Asked<'_>, counts: impl Fn(&Rule) -> bool) -> Standing<'_> {
        let judge = |rule| judged(rule, asked, &counts);
        let found = match asked.called {
            Called::Name(_) | Called::Nothing => self.about(asked).find_map(|(_, rule)| judge(rule)),
            // Any name may follow, so that a rule which allows some host may.
            Called::Unknown => {
                let first = self.first_host.and_then(|place| Some((place, self.rules.get(place)?)));
                let mut others = self.about(asked).map(|(place, rule)| match first {
                    Some((earlier, host)) if earlier < place => Some(Standing::Allowed(host)),
                    Some(_) | None => judge(rule),
                });
                others.find_map(|standing| standing).or(first.map(|(_, host)| Standing::Allowed(host)))
            }
        };
        found.unwrap_or(Standing::Unmentioned)
    }

    /// The first rule that is about this very address.
    pub(super) fn by_address(&self, addr: IpAddr, service: Service) -> Standing<'_> {
        match self.about_address(addr).find(|rule| rule.is_about(addr, service)) {
            Some(rule) => rule.standing(),
            None => Standing::Unmentioned,
        }
    }

    /// Whether some rule allows `service` of this one address alone.
    pub(super) fn names_address(&self, addr: IpAddr, service: Service) -> bool {
        self.about_address(addr).any(|rule| rule.is_only_for(addr, service))
    }

    /// The first rule that is about a connection from `peer` to `service` of the guest.
    pub(super) fn inward(&self, peer: IpAddr, service: Service) -> Standing<'_> {
        let mut inward = self.inward_rules();
        match inward.find(|rule| rule.admits(peer, service)) {
            Some(rule) => rule.standing(),
            None => Standing::Unmentioned,
        }
    }

    /// Whether some rule says who may come in, so that nobody else may.
    pub(super) fn lets_in(&self) -> bool {
        self.inward_rules().any(|rule| rule.action() == Action::Allow)
    }

    fn inward_rules(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.inward.iter().filter_map(|place| self.rules.get(*place))
    }

    /// Whether some rule allows something at this very address.
    pub(super) fn mentions(&self, addr: IpAddr) -> bool {
        self.about_address(addr).any(|rule| {
            let port = rule.services().ports().first();
            let mut services = rule.services().protocols().iter().map(|protocol| protocol.at(port));
            rule.action() == Action::Allow && services.any(|service| rule.is_about(addr, service))
        })
    }

    /// Whether some rule that may be about `host` is about requests.
    pub(super) fn reads_requests_of(&self, host: &HostName) -> bool {
        self.about_name(host.as_str()).any(|rule| rule.requests().is_some())
    }

    /// The rules that name `host`, in order.
    pub(super) fn naming<'a, 'h>(
        &'a self,
        host: &'h HostName,
    ) -> impl Iterator<Item = &'a Arc<Rule>> + Clone + use<'a, 'h> {
        let rules = self.in_order(self.named(host.as_str())).map(|(_, rule)| rule);
        rules.filter(move |rule| rule.names(host))
    }
}

/// What a rule comes to by itself; `None` where the next one has its turn.
fn judged<'a>(rule: &'a Arc<Rule>, asked: Asked<'_>, counts: impl Fn(&Rule) -> bool) -> Option<Standing<'a>> {
    match (rule.matches(asked), rule.action()) {
        (Match::Yes, Action::Deny) => Some(Standing::Denied(rule)),
        (Match::Yes | Match::Perhaps, Action::Allow) if counts(rule) => Some(Standing::Allowed(rule)),
        (Match::No | Match::Perhaps | Match::Yes, _) => None,
    }
}

impl Rule {
    fn standing(self: &Arc<Self>) -> Standing<'_> {
        match self.action() {
            Action::Allow => Standing::Allowed(self),
            Action::Deny => Standing::Denied(self),
        }
    }
}

/// Rules of several lists of places, in order.
#[derive(Clone)]
pub(super) struct InOrder<'a> {
    rules: &'a [Arc<Rule>],
    lists: Vec<&'a [usize]>,
}

impl<'a> Iterator for InOrder<'a> {
    type Item = (usize, &'a Arc<Rule>);

    fn next(&mut self) -> Option<Self::Item> {
        let firsts = self.lists.iter_mut().filter_map(|list| Some((*list.first()?, list)));
        let (place, list) = firsts.min_by_key(|(place, _)| *place)?;
        *list = list.get(1..).unwrap_or_default();
        Some((place, self.rules.get(place)?))
    }
}
