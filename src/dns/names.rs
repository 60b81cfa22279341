//! What the addresses a guest uses stand for.
//!
//! The gateway, the mapped range, and the bindings that DNS answers made: address → names, each until its
//! TTL ends. It resolves nothing and judges nothing. Invariant: never more bindings than [`Limits`] says, and
//! a binding that a live flow leans on is not given up for a new one.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::limits::Limits;
use crate::name::HostName;

use super::Family;
use super::mapped::{Mapped, MappedPrefix};

/// The gateway's addresses, by which a guest reaches the host alias.
#[derive(Clone, Copy, Debug)]
pub struct Gateways {
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Ipv6Addr,
}

impl Gateways {
    /// The one of this family.
    #[must_use]
    pub fn of(&self, family: Family) -> IpAddr {
        match family {
            Family::V4 => self.v4.into(),
            Family::V6 => self.v6.into(),
        }
    }
}

/// What a destination is to the sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning<'a> {
    /// The gateway: the host alias.
    Gateway,
    /// The mapped range, and the name that the address stands for, where one does.
    Mapped(Option<&'a HostName>),
    /// Anywhere else.
    Elsewhere,
}

type Binding = (IpAddr, HostName);

/// A binding with flows on it.
#[derive(Debug)]
struct Pinned {
    expires: Instant,
    flows: usize,
}

/// The table of one sandbox.
#[derive(Debug)]
pub struct Names {
    limits: Arc<Limits>,
    gateways: Gateways,
    mapped: Mapped,
    /// Bindings without a flow and when they end, the least lately answered last.
    idle: LruCache<Binding, Instant>,
    pinned: HashMap<Binding, Pinned>,
    by_addr: HashMap<IpAddr, HashSet<HostName>>,
    by_name: HashMap<HostName, HashSet<IpAddr>>,
}

impl Names {
    /// An empty table.
    #[must_use]
    pub fn new(limits: Arc<Limits>, gateways: Gateways, prefix: MappedPrefix) -> Self {
        let mapped = Mapped::new(prefix, limits.dns_mapped_names);
        Self {
            limits,
            gateways,
            mapped,
            idle: LruCache::unbounded(),
            pinned: HashMap::new(),
            by_addr: HashMap::new(),
            by_name: HashMap::new(),
        }
    }

    /// What `addr` is to this sandbox.
    #[must_use]
    pub fn meaning(&self, addr: IpAddr) -> Meaning<'_> {
        if addr == self.gateways.of(Family::of(addr)) {
            return Meaning::Gateway;
        }
        self.mapped.name_of(addr).map_or(Meaning::Elsewhere, Meaning::Mapped)
    }

    /// The gateway's addresses.
    #[must_use]
    pub fn gateways(&self) -> Gateways {
        self.gateways
    }

    /// The address of the mapped range that stands for `name`.
    pub fn map(&mut self, name: &HostName, family: Family) -> IpAddr {
        self.mapped.address(name, family)
    }

    /// Whether `name` has an address of the mapped range now.
    #[must_use]
    pub fn is_mapped(&self, name: &HostName) -> bool {
        self.mapped.stands_for(name)
    }

    /// Whether an address of `name` is known.
    #[must_use]
    pub fn is_bound(&self, name: &HostName) -> bool {
        self.by_name.contains_key(name)
    }

    /// The names that `addr` is bound to now, in no order.
    pub fn names_of(&self, addr: IpAddr, now: Instant) -> impl Iterator<Item = &HostName> {
        self.by_addr.get(&addr).into_iter().flatten().filter(move |name| self.is_live(addr, name, now))
    }

    /// A binding with a flow on it is live whatever its TTL: the guest may well open the next one to it.
    fn is_live(&self, addr: IpAddr, name: &HostName, now: Instant) -> bool {
        let binding = (addr, name.clone());
        self.pinned.contains_key(&binding) || self.idle.peek(&binding).is_some_and(|expires| *expires > now)
    }

    /// Binds the addresses of an answer to the name that was asked for, for `ttl` held within its bounds.
    ///
    /// Returns how many are bound now; fewer than given where everything else has a live flow.
    pub fn bind(&mut self, name: &HostName, addrs: &[IpAddr], ttl: Duration, now: Instant) -> usize {
        self.forget_expired(now);
        let ttl = ttl.clamp(self.limits.dns_ttl_floor, self.limits.dns_ttl_ceiling);
        let expires = now + ttl;
        addrs.iter().filter(|addr| self.bind_one((**addr, name.clone()), expires)).count()
    }

    fn bind_one(&mut self, binding: Binding, expires: Instant) -> bool {
        if let Some(pinned) = self.pinned.get_mut(&binding) {
            pinned.expires = pinned.expires.max(expires);
            return true;
        }
        if let Some(old) = self.idle.get_mut(&binding) {
            *old = (*old).max(expires);
            return true;
        }
        if !self.make_room_for(&binding) {
            return false;
        }
        self.by_addr.entry(binding.0).or_default().insert(binding.1.clone());
        self.by_name.entry(binding.1.clone()).or_default().insert(binding.0);
        self.idle.put(binding, expires);
        true
    }

    /// Gives up what ends soonest of the same name or address where either has its fill, then what was least
    /// lately answered where the table has.
    fn make_room_for(&mut self, (addr, name): &Binding) -> bool {
        let own = self.by_name.get(name).filter(|addrs| addrs.len() >= self.limits.dns_bindings_per_name);
        if let Some(addrs) = own {
            let Some(soonest) = self.soonest(addrs.iter().map(|addr| (*addr, name.clone()))) else {
                return false;
            };
            self.forget(&soonest);
        }
        let own = self.by_addr.get(addr).filter(|names| names.len() >= self.limits.dns_names_per_address);
        if let Some(names) = own {
            let Some(soonest) = self.soonest(names.iter().map(|name| (*addr, name.clone()))) else {
                return false;
            };
            self.forget(&soonest);
        }
        while self.len() >= self.limits.dns_bindings {
            let Some((binding, _)) = self.idle.peek_lru() else {
                return false;
            };
            let binding = binding.clone();
            self.forget(&binding);
        }
        true
    }

    /// The idle one that ends first.
    fn soonest(&self, bindings: impl Iterator<Item = Binding>) -> Option<Binding> {
        let ends = bindings.filter_map(|binding| Some((*self.idle.peek(&binding)?, binding)));
        ends.min_by_key(|(expires, _)| *expires).map(|(_, binding)| binding)
    }

    fn forget_expired(&mut self, now: Instant) {
        while let Some((binding, expires)) = self.idle.peek_lru()
            && *expires <= now
        {
            let binding = binding.clone();
            self.forget(&binding);
        }
    }

    /// Takes an idle binding out of all four tables.
    fn forget(&mut self, binding: &Binding) {
        self.idle.pop(binding);
        let (addr, name) = binding;
        if let Entry::Occupied(mut names) = self.by_addr.entry(*addr) {
            names.get_mut().remove(name);
            if names.get().is_empty() {
                names.remove();
            }
        }
        if let Entry::Occupied(mut addrs) = self.by_name.entry(name.clone()) {
            addrs.get_mut().remove(addr);
            if addrs.get().is_empty() {
                addrs.remove();
            }
        }
    }

    /// A flow starts to lean on a binding; false where there is none, and then nothing is to be unpinned.
    #[must_use = "only what was pinned is unpinned"]
    pub fn pin(&mut self, addr: IpAddr, name: &HostName) -> bool {
        let binding = (addr, name.clone());
        if let Some(expires) = self.idle.pop(&binding) {
            self.pinned.insert(binding, Pinned { expires, flows: 1 });
            return true;
        }
        match self.pinned.get_mut(&binding) {
            Some(pinned) => {
                pinned.flows = pinned.flows.saturating_add(1);
                true
            }
            None => false,
        }
    }

    /// A flow that leaned on a binding has ended.
    pub fn unpin(&mut self, addr: IpAddr, name: &HostName) {
        let Entry::Occupied(mut pinned) = self.pinned.entry((addr, name.clone())) else {
            return;
        };
        pinned.get_mut().flows -= 1;
        if pinned.get().flows == 0 {
            let (binding, Pinned { expires, .. }) = pinned.remove_entry();
            self.idle.put(binding, expires);
        }
    }

    /// Bindings held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.idle.len() + self.pinned.len()
    }

    /// Whether nothing is bound.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the mapped range.
    #[must_use]
    pub fn mapped_len(&self) -> usize {
        self.mapped.len()
    }
}

#[cfg(test)]
mod tests;
