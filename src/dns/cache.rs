//! Answers about allowed names, until their TTL ends.
//!
//! It asks nobody. Invariant: bounded by [`Limits::dns_cached_answers`], and what is handed out was judged when
//! it was put in.

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use hickory_proto::rr::Name;
use lru::LruCache;

use crate::limits::Limits;
use crate::name::HostName;

use super::Family;

/// What is known about one family of a name, after judgement.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Targets of CNAMEs.
    pub(super) chain: Vec<Name>,
    /// The addresses that may be used.
    pub(super) addresses: Vec<IpAddr>,
    /// An address that may not, where there was one.
    pub(super) refused: Option<IpAddr>,
    /// Whether there is no such name.
    pub(super) missing: bool,
}

#[derive(Debug)]
pub(super) struct Cache {
    answers: LruCache<(HostName, Family), (Instant, Rc<Known>)>,
}

impl Cache {
    pub(super) fn new(limits: &Limits) -> Self {
        let capacity = NonZeroUsize::new(limits.dns_cached_answers).unwrap_or(NonZeroUsize::MIN);
        Self { answers: LruCache::sparse(capacity) }
    }

    /// What is known and for how much longer.
    pub(super) fn find(
        &mut self,
        host: &HostName,
        family: Family,
        now: Instant,
    ) -> Option<(Rc<Known>, Duration)> {
        let key = (host.clone(), family);
        let (expires, known) = self.answers.get(&key)?;
        match expires.checked_duration_since(now).filter(|left| !left.is_zero()) {
            Some(left) => Some((Rc::clone(known), left)),
            None => {
                self.answers.pop(&key);
                None
            }
        }
    }

    /// Keeps `known` until `expires`.
    pub(super) fn keep(&mut self, host: &HostName, family: Family, known: Rc<Known>, expires: Instant) {
        self.answers.put((host.clone(), family), (expires, known));
    }
}
