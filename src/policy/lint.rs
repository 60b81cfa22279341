//! Rules that do nothing, or not what they seem to.
//!
//! For whoever wrote them, before a sandbox starts; no verdict depends on it. Invariant: a rule that is called
//! unreached is wholly covered by one that stands before it.

use std::fmt;
use std::sync::Arc;

use super::Policy;
use super::destination::Destination;
use super::rule::{Action, Rule};
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
                rule.destination(),
                other.source()
            ),
        }
    }
}

impl Policy {
    /// What is odd about the rules, in their order.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.layers().flat_map(Table::findings).collect()
    }
}

impl Table {
    fn findings(&self) -> Vec<Finding> {
        let rules = self.rules().iter().enumerate();
        rules.filter_map(|(place, rule)| self.finding(place, rule)).collect()
    }

    fn finding(&self, place: usize, rule: &Arc<Rule>) -> Option<Finding> {
        let pair = |other: &Arc<Rule>| Pair { rule: Arc::clone(rule), other: Arc::clone(other) };
        let mut earlier = self.before(place, rule);
        if let Some(other) = earlier.clone().find(|other| other.covers(rule)) {
            if other.action() != rule.action() && rule.covers(other) {
                return Some(Finding::Contradiction(pair(other)));
            }
            // Leave may be given twice, by a flag and a file or by two secrets.
            let is_repeated_leave = other.action() == rule.action() && !is_written_as_rule(rule);
            return (!is_repeated_leave).then(|| Finding::Unreached(pair(other)));
        }
        let is_listed = matches!(rule.source(), RuleSource::Flag(_) | RuleSource::File { .. });
        let narrower = |other: &&Arc<Rule>| {
            other.action() == Action::Allow
                && other.requests().is_some()
                && rule.destination().covers(other.destination())
        };
        let other = earlier.find(narrower).filter(|_| is_listed)?;
        Some(Finding::Widening(pair(other)))
    }

    /// The rules before `place` that may have to do with `rule`.
    fn before<'a>(&'a self, place: usize, rule: &Rule) -> impl Iterator<Item = &'a Arc<Rule>> + Clone {
        let name = match rule.destination() {
            Destination::Host(HostPattern::Exact(name)) => name.to_string(),
            // Found like a name below it.
            Destination::Host(HostPattern::Below(apex)) => format!("*.{apex}"),
            Destination::Any | Destination::Subnet(_) | Destination::Group(_) => String::new(),
        };
        self.places_about(&name).take_while(move |(own, _)| *own < place).map(|(_, rule)| rule)
    }
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
