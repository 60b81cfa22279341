//! All UDP and echo associations: who talks to whom, and what waits to be read.
//!
//! Not a judge and not a clock: an association lasts until its handle is gone or it is the least recently used
//! one and there are too many. Its invariant: a datagram costs one hash lookup, however many associations there
//! are, and a flood of new ones that nobody has accepted ends none that was.

use std::collections::{HashMap, VecDeque};
use std::hash::RandomState;
use std::net::IpAddr;
use std::sync::Arc;
use std::task::{Poll, Waker};

use lru::LruCache;

use super::buffers::Buffers;
use super::gateway::QUOTE;
use super::tcp::keep;
use crate::limits::Limits;

/// What an association carries.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Carried {
    /// UDP datagrams.
    Udp,
    /// ICMP or ICMPv6 echo requests of one identifier, and the replies to them.
    Echo,
}

/// The two ends of an association. The guest has many IPv6 addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) carried: Carried,
    pub(super) guest: IpAddr,
    /// The guest's port, or the identifier of its echo requests.
    pub(super) guest_port: u16,
    pub(super) destination: IpAddr,
    /// 0 for echo.
    pub(super) port: u16,
}

/// Names one association for as long as it lives, and never another of the same ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct AssociationId {
    pub(super) key: Key,
    generation: u64,
}

/// A datagram of the guest: its IP packet, and where in it the payload is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived<'a> {
    pub(super) packet: &'a [u8],
    pub(super) start: usize,
    pub(super) len: usize,
}

/// What became of a datagram.
#[derive(Debug)]
pub(super) enum Taken {
    /// It waits for this reader, if one waits for it.
    Queued(Option<Waker>),
    /// It is the first of a new association.
    New(AssociationId),
    /// The queue it belongs to is full, or all queues together are.
    Full,
    /// Too many new associations wait for a verdict.
    TooMany,
}

/// An association that ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Who waits to read from it.
    pub(super) reader: Option<Waker>,
    /// Datagrams that nobody will read.
    pub(super) unread: usize,
}

/// All associations.
#[derive(Debug)]
pub(super) struct Associations {
    held: HashMap<Key, Association, RandomState>,
    /// The least recently used is the first to go.
    accepted: LruCache<Key, Association, RandomState>,
    generation: u64,
    /// Octets of all queued buffers.
    memory: usize,
    buffers: Buffers,
    limits: Arc<Limits>,
}

#[derive(Debug)]
struct Association {
    generation: u64,
    queue: VecDeque<Queued>,
    /// Octets of the packets in the queue.
    octets: usize,
    /// The start of the packet last read, for an ICMP error about it.
    last: Vec<u8>,
    reader: Option<Waker>,
}

#[derive(Debug)]
struct Queued {
    packet: Vec<u8>,
    start: usize,
    len: usize,
}

impl Associations {
    pub(super) fn new(limits: &Arc<Limits>) -> Self {
        Self {
            held: HashMap::default(),
            accepted: LruCache::unbounded_with_hasher(RandomState::new()),
            generation: 0,
            memory: 0,
            buffers: Buffers::new(limits.spare_datagrams),
            limits: Arc::clone(limits),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.held.len() + self.accepted.len()
    }

    /// Octets of all buffers that are queued.
    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    /// Takes in a datagram of the guest.
    pub(super) fn take_in(&mut self, key: Key, arrived: Arrived<'_>) -> Taken {
        let Self { held, accepted, memory, buffers, limits, .. } = self;
        let room = limits.udp_memory.saturating_sub(*memory);
        if let Some(association) = accepted.get_mut(&key).or_else(|| held.get_mut(&key)) {
            if !association.has_room(&arrived, limits) || arrived.packet.len() > room {
                return Taken::Full;
            }
            *memory += association.queue(arrived, buffers);
            return Taken::Queued(association.reader.take());
        }
        if arrived.packet.len() > room {
            return Taken::Full;
        }
        if held.len() >= limits.associations_held {
            return Taken::TooMany;
        }
        self.generation += 1;
        let mut association = Association::new(self.generation);
        *memory += association.queue(arrived, buffers);
        held.insert(key, association);
        Taken::New(AssociationId { key, generation: self.generation })
    }

    /// Whether an association still waits for a verdict.
    pub(super) fn is_held(&self, id: AssociationId) -> bool {
        self.held.get(&id.key).is_some_and(|association| association.generation == id.generation)
    }

    /// Whether there is an association of these ends.
    pub(super) fn has(&self, key: &Key) -> bool {
        self.accepted.contains(key) || self.held.contains_key(key)
    }

    /// Begins an association into the guest, accepted from the start; also the one that had to go for it, if any.
    pub(super) fn open(&mut self, key: Key) -> (AssociationId, Option<Ended>) {
        self.generation += 1;
        let id = AssociationId { key, generation: self.generation };
        let association = Association::new(self.generation);
        (id, self.admit(key, association))
    }

    /// Moves an association among the accepted ones; the one that had to go for it, if any.
    pub(super) fn accept(&mut self, id: AssociationId) -> Option<Ended> {
        if !self.is_held(id) {
            return None;
        }
        let association = self.held.remove(&id.key)?;
        self.admit(id.key, association)
    }

    fn admit(&mut self, key: Key, association: Association) -> Option<Ended> {
        let full = self.accepted.len() >= self.limits.associations.max(1);
        let evicted = if full { self.accepted.pop_lru() } else { None };
        self.accepted.put(key, association);
        evicted.map(|(_, association)| self.bury(association))
    }

    /// Ends an association.
    pub(super) fn remove(&mut self, id: AssociationId) -> Option<Ended> {
        let association = if self.is_held(id) {
            self.held.remove(&id.key)
        } else {
            self.get(id)?;
            self.accepted.pop(&id.key)
        };
        association.map(|association| self.bury(association))
    }

    /// Ends all associations, and says who waits to read from them.
    pub(super) fn clear(&mut self) -> Vec<Waker> {
        self.held = HashMap::default();
        self.memory = 0;
        let readers = self.accepted.iter_mut().filter_map(|(_, association)| association.reader.take());
        let readers = readers.collect();
        self.accepted.clear();
        readers
    }

    /// Copies the payload of the next datagram into `into` and says how long it is, cut if it does not fit.
    /// None if the association is over.
    pub(super) fn poll_receive(
        &mut self,
        id: AssociationId,
        waker: &Waker,
        into: &mut [u8],
    ) -> Poll<Option<usize>> {
        let Some(association) = self.accepted.peek_mut(&id.key) else { return Poll::Ready(None) };
        if association.generation != id.generation {
            return Poll::Ready(None);
        }
        let Some(next) = association.queue.pop_front() else {
            keep(&mut association.reader, waker);
            return Poll::Pending;
        };
        let len = copy(next.payload(), into);
        association.octets -= next.packet.len();
        association.last.clear();
        association.last.extend_from_slice(head(&next.packet));
        self.memory -= next.packet.capacity();
        self.buffers.give(next.packet);
        Poll::Ready(Some(len))
    }

    /// Whether an accepted association is still there; it counts as used.
    pub(super) fn touch(&mut self, id: AssociationId) -> bool {
        self.accepted.get_mut(&id.key).is_some_and(|association| association.generation == id.generation)
    }

    /// The start of the packet last read, or else of the first to read.
    pub(super) fn quote(&self, id: AssociationId) -> Option<&[u8]> {
        let association = self.get(id).or_else(|| self.held.get(&id.key))?;
        if association.generation != id.generation {
            return None;
        }
        if association.last.is_empty() {
            return association.queue.front().map(|first| head(&first.packet));
        }
        Some(&association.last)
    }

    fn get(&self, id: AssociationId) -> Option<&Association> {
        self.accepted.peek(&id.key).filter(|association| association.generation == id.generation)
    }

    fn bury(&mut self, association: Association) -> Ended {
        let unread = association.queue.len();
        for queued in association.queue {
            self.memory -= queued.packet.capacity();
            self.buffers.give(queued.packet);
        }
        Ended { reader: association.reader, unread }
    }
}

impl Association {
    fn new(generation: u64) -> Self {
        Self { generation, queue: VecDeque::new(), octets: 0, last: Vec::new(), reader: None }
    }

    fn has_room(&self, arrived: &Arrived<'_>, limits: &Limits) -> bool {
        self.queue.len() < limits.udp_queue
            && self.octets.saturating_add(arrived.packet.len()) <= limits.udp_queue_bytes
    }

    /// Queues a datagram; how large its buffer is.
    fn queue(&mut self, arrived: Arrived<'_>, buffers: &mut Buffers) -> usize {
        let mut packet = buffers.take(arrived.packet.len());
        packet.extend_from_slice(arrived.packet);
        let capacity = packet.capacity();
        self.octets += packet.len();
        self.queue.push_back(Queued { packet, start: arrived.start, len: arrived.len });
        capacity
    }
}

impl Queued {
    fn payload(&self) -> &[u8] {
        self.packet.get(self.start..self.start + self.len).unwrap_or_default()
    }
}

/// As much of a packet as an ICMP error quotes.
fn head(packet: &[u8]) -> &[u8] {
    packet.get(..QUOTE).unwrap_or(packet)
}

fn copy(from: &[u8], into: &mut [u8]) -> usize {
    let len = from.len().min(into.len());
    if let (Some(into), Some(from)) = (into.get_mut(..len), from.get(..len)) {
        into.copy_from_slice(from);
    }
    len
}
