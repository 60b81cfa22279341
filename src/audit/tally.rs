//! How often each target was denied, for one line at the end.
//!
//! Invariant: however many targets a guest thinks up, the tally stays small.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How often each target was denied, and how often it would have been.
#[derive(Default)]
pub struct Denials {
    denied: Tally,
    observed: Tally,
}

#[derive(Default)]
struct Tally(Mutex<BTreeMap<String, u64>>);

/// Distinct targets that are told apart; later ones count as one, so that a scan costs no memory.
const TARGETS_TOLD_APART: usize = 256;
/// What those later ones are counted as.
const OTHERS: &str = "others";
/// Targets named in the one line at exit.
const TARGETS_NAMED: usize = 4;

impl Denials {
    pub(super) fn count(&self, observed: bool, flow: Option<u64>, target: &str) {
        match flow {
            Some(_) => self.of(observed).count(target),
            None => self.of(observed).count_question(target),
        }
    }

    fn of(&self, observed: bool) -> &Tally {
        if observed { &self.observed } else { &self.denied }
    }

    /// One line for people, or nothing where nothing was denied.
    #[must_use]
    pub fn summary(&self) -> Option<String> {
        let (total, named) = self.denied.named()?;
        let noun = if total == 1 { "denial" } else { "denials" };
        Some(format!("{total} {noun}: {named}"))
    }

    /// One line of what was only observed, or nothing where nothing would have been denied.
    #[must_use]
    pub fn observed(&self) -> Option<String> {
        let (total, named) = self.observed.named()?;
        Some(format!("would have denied {total}: {named}"))
    }
}

impl Tally {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a name that was only looked up; a denied flow to it says the same with a port.
    fn count_question(&self, name: &str) {
        let prefix = format!("{name}:");
        let mut tally = self.lock();
        let has_flow =
            tally.range(prefix.clone()..).next().is_some_and(|(target, _)| target.starts_with(&prefix));
        if has_flow {
            return;
        }
        if tally.len() < TARGETS_TOLD_APART || tally.contains_key(name) {
            tally.insert(name.to_owned(), 1);
        } else {
            *tally.entry(OTHERS.to_owned()).or_default() += 1;
        }
    }

    fn count(&self, target: &str) {
        let mut tally = self.lock();
        if let Some((name, _port)) = target.rsplit_once(':') {
            tally.remove(name);
        }
        if let Some(count) = tally.get_mut(target) {
            *count += 1;
        } else {
            let key = if tally.len() < TARGETS_TOLD_APART { target } else { OTHERS };
            *tally.entry(key.to_owned()).or_default() += 1;
        }
    }

    /// All there are, and the most frequent by name.
    fn named(&self) -> Option<(u64, String)> {
        let tally = self.lock();
        let total: u64 = tally.values().sum();
        if total == 0 {
            return None;
        }
        let mut by_count: Vec<_> = tally.iter().collect();
        by_count.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        let named: Vec<String> = by_count
            .iter()
            .take(TARGETS_NAMED)
            .map(|(target, count)| format!("{target} ({count})"))
            .collect();
        let rest = by_count.len().saturating_sub(TARGETS_NAMED);
        let more = if rest > 0 { format!(" and {rest} more") } else { String::new() };
        Some((total, format!("{}{more}", named.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scan_costs_no_memory() {
        let denials = Denials::default();
        for port in 0..10_000 {
            denials.count(false, Some(1), &format!("a:{port}"));
        }
        assert!(denials.denied.lock().len() <= TARGETS_TOLD_APART + 1);
        assert!(denials.summary().unwrap().starts_with("10000 denials: others (9744)"));
    }

    #[test]
    fn a_flood_of_names_is_counted_whole() {
        let denials = Denials::default();
        for name in 0..10_000 {
            denials.count(false, None, &format!("n{name}.example"));
        }
        assert!(denials.denied.lock().len() <= TARGETS_TOLD_APART + 1);
        assert!(denials.summary().unwrap().starts_with("10000 denials: others (9744)"));
    }

    #[test]
    fn what_was_only_observed_is_no_denial() {
        let denials = Denials::default();
        denials.count(true, None, "a");
        denials.count(true, Some(1), "a:443");
        denials.count(true, Some(2), "a:443");
        assert_eq!(denials.summary(), None);
        assert_eq!(denials.observed().as_deref(), Some("would have denied 2: a:443 (2)"));
    }
}
