//! Answers about allowed names, until their TTL ends.
//!
//! It asks nobody and judges nothing: what it holds is what was received, and who reads it judges it by the policy of
//! that moment. Invariant: bounded by [`Limits::dns_cached_answers`] and by [`Limits::dns_cache_memory`].

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::limits::Limits;
use crate::name::HostName;

use super::answer::{Records, Topic};
use super::weight;

/// The part of the memory that one answer may have: so many at least have room beside one another.
const SHARE: usize = 64;
/// Octets that an answer costs beside its records: the name, twice in the table, and the table's own pointers.
const ENTRY: usize = size_of::<(Topic, Known)>() + 128;

#[derive(Debug)]
pub(super) struct Cache {
    answers: LruCache<Topic, Known>,
    /// Octets of all of them.
    held: usize,
    limits: Arc<Limits>,
}

#[derive(Debug)]
struct Known {
    records: Rc<Records>,
    expires: Instant,
    octets: usize,
}

impl Cache {
    pub(super) fn new(limits: Arc<Limits>) -> Self {
        let capacity = NonZeroUsize::new(limits.dns_cached_answers).unwrap_or(NonZeroUsize::MIN);
        Self { answers: LruCache::sparse(capacity), held: 0, limits }
    }

    /// What is known and for how much longer.
    pub(super) fn find(&mut self, topic: &Topic, now: Instant) -> Option<(Rc<Records>, Duration)> {
        let Known { records, expires, .. } = self.answers.get(topic)?;
        match expires.checked_duration_since(now).filter(|left| !left.is_zero()) {
            Some(left) => Some((Rc::clone(records), left)),
            None => {
                self.drop(topic);
                None
            }
        }
    }

    /// Keeps `records` until `expires`, unless they are too large.
    pub(super) fn keep(&mut self, topic: Topic, records: Rc<Records>, expires: Instant) {
        let octets = ENTRY + topic.host.as_str().len() + weight::octets(&records, &self.limits);
        if octets > self.limits.dns_cache_memory / SHARE {
            self.drop(&topic);
            return;
        }
        self.held += octets;
        // Either what was known of the topic before, or the least recently used.
        if let Some((_, gone)) = self.answers.push(topic, Known { records, expires, octets }) {
            self.held -= gone.octets;
        }
        while self.held > self.limits.dns_cache_memory
            && let Some((_, gone)) = self.answers.pop_lru()
        {
            self.held -= gone.octets;
        }
    }

    fn drop(&mut self, topic: &Topic) {
        if let Some(gone) = self.answers.pop(topic) {
            self.held -= gone.octets;
        }
    }

    /// Drops what is known of every other host.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&HostName) -> bool) {
        let gone: Vec<Topic> =
            self.answers.iter().map(|(topic, _)| topic).filter(|topic| !keep(&topic.host)).cloned().collect();
        for topic in gone {
            self.drop(&topic);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.answers.len()
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::rdata::TXT;
    use hickory_proto::rr::{RData, RecordType};

    use super::*;

    fn topic(number: usize) -> Topic {
        let host = HostName::parse(&format!("n{number}.cdn.example")).unwrap();
        Topic { host, wanted: RecordType::TXT }
    }

    /// So many strings of one octet.
    fn strings(count: usize) -> Rc<Records> {
        let data = vec![RData::TXT(TXT::new(vec!["x".to_owned(); count]))];
        Rc::new(Records { data, ..Records::default() })
    }

    fn cache() -> (Cache, Arc<Limits>, Instant) {
        let limits = Arc::new(Limits::default());
        (Cache::new(Arc::clone(&limits)), limits, tokio::time::Instant::now().into_std())
    }

    #[test]
    fn answers_are_bounded_in_octets_and_the_least_recently_used_go() {
        let (mut cache, limits, now) = cache();
        let until = now + Duration::from_secs(60);
        for number in 0..2_000 {
            cache.keep(topic(number), strings(2_000), until);
            assert!(cache.find(&topic(0), now).is_some(), "it is in use");
            assert!(cache.held <= limits.dns_cache_memory);
        }
        let least = 2_000 * size_of::<Box<[u8]>>();
        assert!((20..limits.dns_cache_memory / least).contains(&cache.len()), "{}", cache.len());
        assert!(cache.find(&topic(1), now).is_none() && cache.find(&topic(1_999), now).is_some());
    }

    #[test]
    fn what_alone_is_too_large_is_not_kept_nor_what_was_there_before() {
        let (mut cache, _, now) = cache();
        let until = now + Duration::from_secs(60);
        cache.keep(topic(1), strings(1), until);
        cache.keep(topic(2), strings(1), until);
        cache.keep(topic(1), strings(8_192), until);
        assert!(cache.find(&topic(1), now).is_none() && cache.find(&topic(2), now).is_some());
    }

    #[test]
    fn what_goes_is_no_longer_counted() {
        let (mut cache, limits, now) = cache();
        let until = now + Duration::from_secs(60);
        for number in 0..limits.dns_cached_answers * 2 {
            cache.keep(topic(number), strings(1), until);
            cache.keep(topic(number), strings(2), until);
        }
        assert_eq!(cache.len(), limits.dns_cached_answers);
        let last = limits.dns_cached_answers * 2 - 1;
        assert!(cache.find(&topic(last), until).is_none(), "it expires");
        cache.retain(|_| false);
        assert_eq!((cache.len(), cache.held), (0, 0));
    }
}
