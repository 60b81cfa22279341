//! Rules that do nothing, or not what they seem to.
//!
//! For whoever wrote them, before a sandbox starts; no verdict depends on it. Invariant: a rule that is called
//! unreached is wholly covered by one that stands before it.

use std::fmt;
use std::sync::Arc;

use super::Policy;
use super::destination::Destination;
use super::rule::{Action, Direction, Rule};
use super::source::RuleSource;
use super::table::Table;
use crate::name::HostPattern;

/// What is odd about a rule.
#[derive(Clone, Debug)]
pub enum Finding {
    /// It says the opposite of an earlier one about the very same.
    Contradiction(Pair),
    /// An earlier one is about all that it is about.
    Unreached(Pair),
    /// It allows every request to a host for which another one allows only some.
    Widening(Pair),
    /// Leave that comes with a secret, in whose place is a denial of some requests and nothing else.
    Displaced(Pair),
}

/// A rule and the one that makes it odd.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The odd one.
    pub rule: Arc<Rule>,
    /// The other.
    pub other: Arc<Rule>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Contradiction(Pair { rule, other }) => {
                write!(f, "'{rule}' contradicts '{other}' ({})", other.source())
            }
            Self::Unreached(Pair { rule, other }) => {
                write!(
                    f,
                    "'{rule}' ({}) is never reached: '{other}' ({}) comes first",
                    rule.source(),
                    other.source()
                )
            }
            Self::Widening(Pair { rule, other }) => write!(
                f,
                "{} allows every request to {}, of which '{other}' ({}) allows some",
                rule.source(),
                other.destination(),
                other.source()
            ),
            Self::Displaced(Pair { rule, other }) => write!(
                f,
                "'{other}' ({}) takes the place of the leave that comes with {}: add a rule that allows what else {} may get",
                other.source(),
                rule.source(),
                rule.destination()
            ),
        }
    }
}

impl Policy {
    /// What is odd about the rules, in their order.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        let odd = self.layers().flat_map(|(_, table)| table.findings());
        odd.chain(self.rules.displaced()).collect()
    }
}

impl Table {
    fn findings(&self) -> Vec<Finding> {
        let about_requests = |rule: &Arc<Rule>| rule.action() == Action::Allow && rule.requests().is_some();
        let rules = || self.rules().iter().enumerate();
        let narrow: Vec<_> = rules().filter(|(_, rule)| about_requests(rule)).collect();
        rules().filter_map(|(place, rule)| self.finding((place, rule), &narrow)).collect()
    }

    /// What is odd about one rule, `narrow` being all leave for some requests.
    fn finding(&self, (place, rule): (usize, &Arc<Rule>), narrow: &[(usize, &Arc<Rule>)]) -> Option<Finding> {
        let pair = |other: &Arc<Rule>| Pair { rule: Arc::clone(rule), other: Arc::clone(other) };
        let covering = if rule.direction() == Direction::Ingress {
            self.inward_before(place).find(|other| other.covers(rule))
        } else {
            self.before(place, rule).find(|other| other.covers(rule))
        };
        if let Some(other) = covering {
            if other.action() != rule.action() && rule.covers(other) {
                return Some(Finding::Contradiction(pair(other)));
            }
            // Leave may be given twice, by a flag and a file or by two secrets.
            let is_repeated_leave = other.action() == rule.action() && !is_written_as_rule(rule);
            return (!is_repeated_leave).then(|| Finding::Unreached(pair(other)));
        }
        if !is_listed(rule) {
            return None;
        }
        let mut narrow = narrow.iter().filter(|(own, _)| *own < place);
        let (_, other) = narrow.find(|(_, other)| rule.destination().covers(other.destination()))?;
        Some(Finding::Widening(pair(other)))
    }

    /// Leave that came with a secret and gave way to a denial, with nothing that allows the rest.
    fn displaced(&self) -> impl Iterator<Item = Finding> {
        self.rules().iter().filter(|rule| is_of_secret(rule)).filter_map(|rule| {
            let Destination::Host(pattern) = rule.destination() else { return None };
            let mut others = self
                .rules()
                .iter()
                .filter(|other| !is_of_secret(other) && other.destination().meets(pattern));
            let allows = |other: &Arc<Rule>| {
                let some = other.requests().is_some();
                let all = other.destination().covers(rule.destination())
                    && other.services().covers(rule.services());
                other.action() == Action::Allow && (some || all)
            };
            let is_allowed = others.clone().any(allows);
            let is_named = |other: &&Arc<Rule>| matches!(other.destination(), Destination::Host(_));
            let other = others.find(|other| other.requests().is_some() && is_named(other))?;
            let pair = Pair { rule: Arc::clone(rule), other: Arc::clone(other) };
            (!is_allowed).then_some(Finding::Displaced(pair))
        })
    }

    /// The rules before `place` that may have to do with `rule`.
    fn before<'a>(&'a self, place: usize, rule: &Rule) -> impl Iterator<Item = &'a Arc<Rule>> {
        let name = match rule.destination() {
            Destination::Host(HostPattern::Exact(name)) => name.to_string(),
            // Found like a name below it.
            Destination::Host(HostPattern::Below(apex)) => format!("*.{apex}"),
            Destination::Any | Destination::Subnet(_) | Destination::Group(_) => String::new(),
        };
        self.places_about(&name).take_while(move |(own, _)| *own < place).map(|(_, rule)| rule)
    }

    fn inward_before(&self, place: usize) -> impl Iterator<Item = &Arc<Rule>> {
        let before = self.rules().get(..place).unwrap_or_default();
        before.iter().filter(|rule| rule.direction() != Direction::Egress)
    }
}

/// Whether it is leave of the short kind, which is easily wider than a rule before it.
fn is_listed(rule: &Rule) -> bool {
    match rule.source() {
        RuleSource::Flag(_) | RuleSource::File { .. } | RuleSource::Default(_) => {
            rule.action() == Action::Allow
        }
        RuleSource::RuleFlag(_)
        | RuleSource::Table(_)
        | RuleSource::Secret { .. }
        | RuleSource::Owner
        | RuleSource::Observe => false,
    }
}

fn is_of_secret(rule: &Rule) -> bool {
    matches!(rule.source(), RuleSource::Secret { .. })
}

fn is_written_as_rule(rule: &Rule) -> bool {
    match rule.source() {
        RuleSource::RuleFlag(_) | RuleSource::Table(_) | RuleSource::Owner => true,
        RuleSource::Flag(_)
        | RuleSource::File { .. }
        | RuleSource::Secret { .. }
        | RuleSource::Default(_)
        | RuleSource::Observe => false,
    }
}
