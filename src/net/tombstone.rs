//! TIME-WAIT without a socket: the 4-tuples of closed flows and the sequence numbers they ended with.
//!
//! RFC 9293 §3.10.7.4 needs no more than these to answer a late FIN and to keep an old duplicate out of a new
//! flow. The table is bounded; the oldest goes first.

use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;

use smoltcp::time::{Duration, Instant};

use super::egress::after;
use super::frame::Segment;
use super::table::Key;

/// All flows in TIME-WAIT.
#[derive(Debug)]
pub(super) struct Tombstones {
    by_key: HashMap<Key, Tombstone, RandomState>,
    /// In order of expiry, since every tombstone lasts equally long.
    order: VecDeque<(Instant, Key)>,
    capacity: usize,
    lasts: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Tombstone {
    numbers: Numbers,
    expires: Instant,
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Numbers {
    /// The next octet we would send.
    pub(super) send_next: u32,
    /// The next octet we expect.
    pub(super) receive_next: u32,
}

/// What to do with a segment that finds a tombstone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Late {
    /// Answer with an ACK that carries these numbers.
    Acknowledge(Numbers),
    /// It opens a new flow; the tombstone is gone.
    Reopen,
    /// Nothing.
    Ignore,
}

impl Tombstones {
    pub(super) fn new(capacity: usize, lasts: Duration) -> Self {
        Self { by_key: HashMap::default(), order: VecDeque::new(), capacity, lasts }
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether a flow of this 4-tuple is remembered, or was until lately.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.by_key.contains_key(key)
    }

    /// Forgets them all.
    pub(super) fn clear(&mut self) {
        self.by_key.clear();
        self.order.clear();
    }

    pub(super) fn insert(&mut self, key: Key, numbers: Numbers, now: Instant) {
        self.expire(now);
        while self.order.len() >= self.capacity.max(1) {
            self.drop_oldest();
        }
        let expires = now + self.lasts;
        self.by_key.insert(key, Tombstone { numbers, expires });
        self.order.push_back((expires, key));
    }

    /// Judges a segment of a flow that is not in the table; none if there is no tombstone either.
    pub(super) fn judge(&mut self, key: &Key, segment: &Segment, now: Instant) -> Option<Late> {
        let tombstone = self.by_key.get(key)?;
        let Tombstone { numbers, expires } = *tombstone;
        if expires <= now {
            self.by_key.remove(key);
            return None;
        }
        let flags = segment.flags;
        if flags.rst() {
            // A guest that has given the flow up says so with the number our ACK asked for; RFC 5961 §3.
            if segment.sequence == numbers.receive_next {
                self.by_key.remove(key);
            }
            return Some(Late::Ignore);
        }
        if flags.syn() && !flags.ack() && after(segment.sequence, numbers.receive_next) {
            self.by_key.remove(key);
            return Some(Late::Reopen);
        }
        Some(if segment.space() > 0 { Late::Acknowledge(numbers) } else { Late::Ignore })
    }

    fn expire(&mut self, now: Instant) {
        while self.order.front().is_some_and(|(expires, _)| *expires <= now) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((expires, key)) = self.order.pop_front() else { return };
        // A key that came back since has a later tombstone, or none.
        if self.by_key.get(&key).is_some_and(|tombstone| tombstone.expires == expires) {
            self.by_key.remove(&key);
        }
    }
}
