//! Where flows live: a slab with generations, and the seeded hash from 4-tuple to flow.
//!
//! The guest picks the keys, so the hash is keyed at random ([`RandomState`]). An id outlives its flow and then
//! finds nothing; it never finds another flow.

use std::collections::HashMap;
use std::hash::RandomState;
use std::net::IpAddr;

use super::tcp::Flow;

/// A flow's 4-tuple. The guest has many IPv6 addresses.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) guest: IpAddr,
    pub(super) guest_port: u16,
    pub(super) destination: IpAddr,
    pub(super) port: u16,
}

/// Names one flow for as long as it lives.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct FlowId {
    index: u32,
    generation: u32,
}

/// All flows.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_key: HashMap<Key, FlowId, RandomState>,
    len: usize,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    flow: Option<Box<Flow>>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The flow that segments of this 4-tuple belong to.
    pub(super) fn find(&self, key: &Key) -> Option<FlowId> {
        self.by_key.get(key).copied()
    }

    pub(super) fn get(&self, id: FlowId) -> Option<&Flow> {
        let slot = self.slots.get(usize::try_from(id.index).ok()?)?;
        if slot.generation == id.generation { slot.flow.as_deref() } else { None }
    }

    pub(super) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        let slot = self.slots.get_mut(usize::try_from(id.index).ok()?)?;
        if slot.generation == id.generation { slot.flow.as_deref_mut() } else { None }
    }

    /// Adds a flow under its key; none if there can be no more.
    pub(super) fn insert(&mut self, flow: Flow) -> Option<FlowId> {
        let key = flow.key;
        let flow = Some(Box::new(flow));
        let id = match self.free.pop() {
            Some(index) => {
                let slot = self.slots.get_mut(usize::try_from(index).ok()?)?;
                slot.flow = flow;
                FlowId { index, generation: slot.generation }
            }
            None => {
                let index = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot { generation: 0, flow });
                FlowId { index, generation: 0 }
            }
        };
        self.len += 1;
        self.by_key.insert(key, id);
        Some(id)
    }

    /// Frees a flow's key for the next one, while its handle may still hold the flow.
    pub(super) fn unlink(&mut self, id: FlowId, key: &Key) {
        if self.by_key.get(key) == Some(&id) {
            self.by_key.remove(key);
        }
    }

    /// Takes a flow out for good.
    pub(super) fn remove(&mut self, id: FlowId) -> Option<Box<Flow>> {
        let slot = self.slots.get_mut(usize::try_from(id.index).ok()?)?;
        if slot.generation != id.generation {
            return None;
        }
        let flow = slot.flow.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(id.index);
        self.len -= 1;
        self.unlink(id, &flow.key);
        Some(flow)
    }

    /// Every flow there is; for the end of the link, not for any packet.
    pub(super) fn ids(&self) -> Vec<FlowId> {
        let occupied = self.slots.iter().enumerate().filter(|(_, slot)| slot.flow.is_some());
        occupied
            .filter_map(|(at, slot)| {
                Some(FlowId { index: u32::try_from(at).ok()?, generation: slot.generation })
            })
            .collect()
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }
}
