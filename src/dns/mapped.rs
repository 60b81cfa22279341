//! The sandbox's own addresses, each standing for a name.
//!
//! 198.18.0.0/15 ([RFC 2544], never on the Internet) and a random /64 of unique local space
//! ([RFC 4193](https://www.rfc-editor.org/rfc/rfc4193)). Nothing of it is ever dialled. Invariant: a slot
//! stands for one name at a time, and a freed slot is given out again as late as possible.
//!
//! [RFC 2544]: https://www.rfc-editor.org/rfc/rfc2544

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;

use lru::LruCache;

use crate::name::HostName;

use super::Family;

/// First address of the IPv4 range.
const BASE_V4: u32 = Ipv4Addr::new(198, 18, 0, 0).to_bits();
/// Addresses in a /15.
const RANGE_V4: u32 = 1 << 17;
/// Bits of an IPv6 address below its /64.
const HOST_BITS: u128 = u64::MAX as u128;

/// The random /64 of one sandbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MappedPrefix(u128);

impl MappedPrefix {
    /// `fd`, a random global id of 40 bits and a random subnet of 16.
    #[must_use]
    pub fn from_random(random: [u8; 7]) -> Self {
        let [a, b, c, d, e, f, g] = random;
        Self(u128::from(u64::from_be_bytes([0xfd, a, b, c, d, e, f & !1, g])) << 64)
    }
}

impl MappedPrefix {
    /// The prefix, or the next one where `taken` lies in it.
    #[must_use]
    pub fn apart_from(self, taken: Ipv6Addr) -> Self {
        if taken.to_bits() & !HOST_BITS == self.0 { Self(self.0 ^ 1 << 64) } else { self }
    }
}

/// Which names the mapped range stands for.
#[derive(Debug)]
pub(super) struct Mapped {
    prefix: MappedPrefix,
    slots: LruCache<HostName, u32>,
    names: HashMap<u32, HostName>,
    next: u32,
}

impl Mapped {
    pub(super) fn new(prefix: MappedPrefix, capacity: usize) -> Self {
        // Half of the range at most, so that a freed slot rests before it is used again.
        let capacity = capacity.clamp(1, RANGE_V4 as usize / 2);
        let capacity = NonZeroUsize::new(capacity).unwrap_or(NonZeroUsize::MIN);
        Self { prefix, slots: LruCache::sparse(capacity), names: HashMap::new(), next: 0 }
    }

    /// The address that stands for `name`, given out now where it had none; the least lately asked loses its own.
    pub(super) fn address(&mut self, name: &HostName, family: Family) -> IpAddr {
        let slot = match self.slots.get(name) {
            Some(slot) => *slot,
            None => self.give(name),
        };
        match family {
            Family::V4 => Ipv4Addr::from_bits(BASE_V4 + slot).into(),
            Family::V6 => Ipv6Addr::from_bits(self.prefix.0 | u128::from(slot)).into(),
        }
    }

    fn give(&mut self, name: &HostName) -> u32 {
        if self.slots.len() >= self.slots.cap().get()
            && let Some((_, freed)) = self.slots.pop_lru()
        {
            self.names.remove(&freed);
        }
        // Neither the network's first address nor its last; at most half is in use, so this ends.
        loop {
            self.next = if self.next + 2 >= RANGE_V4 { 1 } else { self.next + 1 };
            if !self.names.contains_key(&self.next) {
                break;
            }
        }
        self.slots.put(name.clone(), self.next);
        self.names.insert(self.next, name.clone());
        self.next
    }

    /// Whether an address stands for `name`; asking does not keep it.
    pub(super) fn stands_for(&self, name: &HostName) -> bool {
        self.slots.contains(name)
    }

    /// Whether `addr` lies in the range, and the name it stands for, if any.
    pub(super) fn name_of(&self, addr: IpAddr) -> Option<Option<&HostName>> {
        let slot = match addr {
            IpAddr::V4(addr) => addr.to_bits().checked_sub(BASE_V4).filter(|slot| *slot < RANGE_V4)?,
            IpAddr::V6(addr) => {
                let bits = addr.to_bits();
                if bits & !HOST_BITS != self.prefix.0 {
                    return None;
                }
                match u32::try_from(bits & HOST_BITS) {
                    Ok(slot) => slot,
                    Err(_) => return Some(None),
                }
            }
        };
        Some(self.names.get(&slot))
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(capacity: usize) -> Mapped {
        Mapped::new(MappedPrefix::from_random([1, 2, 3, 4, 5, 6, 7]), capacity)
    }

    fn name(index: usize) -> HostName {
        HostName::parse(&format!("n{index}.example")).unwrap()
    }

    #[test]
    fn the_guests_own_network_is_never_the_range() {
        let prefix = MappedPrefix::from_random([1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(prefix.apart_from("fd01:203:405:608::1".parse().unwrap()), prefix);
        let other = prefix.apart_from("fd01:203:405:607::1".parse().unwrap());
        let first = Mapped::new(other, 1).address(&name(1), Family::V6);
        assert_eq!(first, "fd01:203:405:606::1".parse::<IpAddr>().unwrap());
    }

    #[test]
    fn both_families_of_a_name_lead_back_to_it() {
        let mut mapped = mapped(10);
        let (v4, v6) = (mapped.address(&name(1), Family::V4), mapped.address(&name(1), Family::V6));
        assert_eq!(v4, "198.18.0.1".parse::<IpAddr>().unwrap());
        assert!(v6.to_string().starts_with("fd01:203:405:607:"), "{v6}");
        assert_eq!(mapped.name_of(v4), Some(Some(&name(1))));
        assert_eq!(mapped.name_of(v6), Some(Some(&name(1))));
        assert_eq!(mapped.address(&name(1), Family::V4), v4);
    }

    #[test]
    fn the_range_is_known_where_it_stands_for_nothing() {
        let mapped = mapped(10);
        for text in ["198.18.0.0", "198.19.255.255", "fd01:203:405:607::1", "fd01:203:405:607:ffff::"] {
            assert_eq!(mapped.name_of(text.parse().unwrap()), Some(None), "{text}");
        }
        for text in ["198.17.255.255", "198.20.0.0", "fd01:203:405:608::1", "::1", "::ffff:198.18.0.1"] {
            assert_eq!(mapped.name_of(text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_the_least_lately_asked_goes() {
        let mut mapped = mapped(3);
        let first = mapped.address(&name(0), Family::V4);
        let second = mapped.address(&name(1), Family::V4);
        mapped.address(&name(2), Family::V4);
        mapped.address(&name(0), Family::V6);
        let fourth = mapped.address(&name(3), Family::V4);
        assert_eq!(mapped.len(), 3);
        assert_eq!(mapped.name_of(second), Some(None));
        assert_eq!(mapped.name_of(first), Some(Some(&name(0))));
        assert!(fourth != second, "a freed address rests");
    }

    #[test]
    fn slots_go_round_the_whole_range_and_never_stand_for_two() {
        let mut mapped = mapped(2);
        let rounds = RANGE_V4 as usize + 10;
        for index in 0..rounds {
            let addr = mapped.address(&name(index), Family::V4);
            assert_eq!(mapped.name_of(addr), Some(Some(&name(index))));
            assert!(addr != IpAddr::from([198, 18, 0, 0]) && addr != IpAddr::from([198, 19, 255, 255]));
        }
        assert_eq!(mapped.len(), 2);
    }
}
