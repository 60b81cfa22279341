//! Answers about allowed names, until their TTL ends.
//!
//! It asks nobody and judges nothing: what it holds is what was received, and who reads it judges it by the policy of
//! that moment. Invariant: bounded by [`Limits::dns_cached_answers`].

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::limits::Limits;
use crate::name::HostName;

use super::answer::{Records, Topic};

#[derive(Debug)]
pub(super) struct Cache {
    answers: LruCache<Topic, (Instant, Rc<Records>)>,
}

impl Cache {
    pub(super) fn new(limits: &Limits) -> Self {
        let capacity = NonZeroUsize::new(limits.dns_cached_answers).unwrap_or(NonZeroUsize::MIN);
        Self { answers: LruCache::sparse(capacity) }
    }

    /// What is known and for how much longer.
    pub(super) fn find(&mut self, topic: &Topic, now: Instant) -> Option<(Rc<Records>, Duration)> {
        let (expires, records) = self.answers.get(topic)?;
        match expires.checked_duration_since(now).filter(|left| !left.is_zero()) {
            Some(left) => Some((Rc::clone(records), left)),
            None => {
                self.answers.pop(topic);
                None
            }
        }
    }

    /// Keeps `records` until `expires`.
    pub(super) fn keep(&mut self, topic: Topic, records: Rc<Records>, expires: Instant) {
        self.answers.put(topic, (expires, records));
    }

    /// Drops what is known of every other host.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&HostName) -> bool) {
        let gone: Vec<Topic> =
            self.answers.iter().map(|(topic, _)| topic).filter(|topic| !keep(&topic.host)).cloned().collect();
        for topic in gone {
            self.answers.pop(&topic);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }
}
