//! IPv4 and IPv6 fragments of the guest, put together before anything else looks at the packet.
//!
//! Stricter than RFC 791 asks: a fragment that overlaps another spoils its whole packet, in both families, as
//! RFC 5722 has it for IPv6, so that there is never more than one reading of a packet. IPv4 networks may double
//! packets, so an IPv4 fragment that repeats octets which are there already is ignored. The first fragment must
//! hold the header of the transport (RFC 7112, RFC 8200 §4.5). Memory is bounded by `Limits::fragment_sets`
//! packets of 64 KiB; `now` comes in with each fragment and with the stack's timers.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use smoltcp::time::Instant;

use super::buffers::Buffers;
use super::checksum;
use super::emit::patch;
use super::frame::{
    Fragment, IPV4, IPV6, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP, TCP, UDP,
};
use crate::limits::Limits;

/// The most octets behind the IP header, of which IPv4 counts the header too.
const MOST: usize = 65_535;

/// Packets of which not all fragments are there.
#[derive(Debug)]
pub(super) struct Fragments {
    /// In order of their first arrival, which is the order in which they expire.
    sets: VecDeque<Set>,
    buffers: Buffers,
    limits: Arc<Limits>,
    lost: u64,
}

/// What a fragment came to.
#[derive(Debug)]
pub(super) enum Put {
    /// More are needed.
    Kept,
    /// The packet is whole: its protocol, and its octets from the IP header on.
    Whole(u8, Vec<u8>),
    /// It spoils its packet, or belongs to one that was spoilt.
    Spoilt,
}

/// The fragments of one packet; its source is the guest.
#[derive(Debug)]
struct Set {
    name: Name,
    expires: Instant,
    progress: Progress,
}

/// What fragments of one packet have in common; RFC 791 §3.2, RFC 8200 §4.5.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Name {
    source: IpAddr,
    destination: IpAddr,
    identification: u32,
    /// Part of the name in IPv4 only.
    protocol: Option<u8>,
}

#[derive(Debug)]
enum Progress {
    Growing(Partial),
    /// Nothing that comes for it until it expires makes a packet; RFC 8200 §4.5.
    Spoilt,
}

/// A packet with holes.
#[derive(Debug)]
struct Partial {
    /// The IP header of the first fragment and room for what follows it.
    packet: Vec<u8>,
    /// What the first fragment is about, once it is there.
    protocol: Option<u8>,
    /// Where octets are, behind the header: in order, with a hole after each.
    present: Vec<Range<usize>>,
    /// Octets behind the header, once the last fragment is there.
    total: Option<usize>,
    count: usize,
}

/// Whether a set goes on after a fragment.
enum Grown {
    Yes,
    Whole,
    Spoilt,
}

impl Fragments {
    pub(super) fn new(limits: &Arc<Limits>) -> Self {
        Self { sets: VecDeque::new(), buffers: Buffers::new(1), limits: Arc::clone(limits), lost: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// Packets that were never whole, and are forgotten.
    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    /// When the oldest set expires.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sets.front().map(|set| set.expires)
    }

    /// Forgets the sets that are due.
    pub(super) fn expire(&mut self, now: Instant) {
        while self.sets.front().is_some_and(|set| set.expires <= now) {
            self.drop_oldest();
        }
    }

    /// Takes in a fragment.
    pub(super) fn put(&mut self, fragment: &Fragment<'_>, now: Instant) -> Put {
        self.expire(now);
        if fragment.offset == 0 && !fragment.more {
            // An atomic fragment has nothing to do with any other; RFC 6946 §4.
            return self.whole(fragment);
        }
        let Some(at) = self.find(fragment, now) else { return Put::Spoilt };
        let Some(set) = self.sets.get_mut(at) else { return Put::Spoilt };
        let Progress::Growing(partial) = &mut set.progress else { return Put::Spoilt };
        match partial.grow(fragment, self.limits.fragments_per_set) {
            Grown::Yes => Put::Kept,
            Grown::Spoilt => {
                let Progress::Growing(partial) = std::mem::replace(&mut set.progress, Progress::Spoilt)
                else {
                    return Put::Spoilt;
                };
                self.buffers.give(partial.packet);
                Put::Spoilt
            }
            Grown::Whole => {
                let Some(Set { progress: Progress::Growing(partial), .. }) = self.sets.remove(at) else {
                    return Put::Spoilt;
                };
                finish(partial.packet, fragment.destination, partial.protocol)
            }
        }
    }

    /// Takes the buffer of a whole packet back.
    pub(super) fn give_back(&mut self, packet: Vec<u8>) {
        self.buffers.give(packet);
    }

    fn whole(&mut self, fragment: &Fragment<'_>) -> Put {
        if fragment.payload.len() < transport_header(fragment) {
            return Put::Spoilt;
        }
        let mut packet = self.buffers.take(fragment.header.len() + fragment.payload.len());
        packet.extend_from_slice(fragment.header);
        packet.extend_from_slice(fragment.payload);
        finish(packet, fragment.destination, Some(fragment.protocol))
    }

    /// Where the set of a fragment is; a new one takes the place of the oldest where there are too many.
    fn find(&mut self, fragment: &Fragment<'_>, now: Instant) -> Option<usize> {
        let name = Name {
            source: fragment.source,
            destination: fragment.destination,
            identification: fragment.identification,
            protocol: fragment.destination.is_ipv4().then_some(fragment.protocol),
        };
        // The next fragment is most often of the set that came last.
        if let Some(at) = self.sets.iter().rposition(|set| set.name == name) {
            return Some(at);
        }
        while self.sets.len() >= self.limits.fragment_sets.max(1) {
            self.drop_oldest();
        }
        let partial = Partial {
            packet: self.buffers.take(0),
            protocol: None,
            present: Vec::new(),
            total: None,
            count: 0,
        };
        let expires = now + self.limits.fragment_life.into();
        self.sets.push_back(Set { name, expires, progress: Progress::Growing(partial) });
        self.sets.len().checked_sub(1)
    }

    /// Forgets them all.
    pub(super) fn clear(&mut self) {
        while !self.sets.is_empty() {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(set) = self.sets.pop_front() else { return };
        self.lost += 1;
        if let Progress::Growing(partial) = set.progress {
            self.buffers.give(partial.packet);
        }
    }
}

impl Partial {
    fn grow(&mut self, fragment: &Fragment<'_>, most: usize) -> Grown {
        self.count += 1;
        let range = fragment.offset..fragment.offset + fragment.payload.len();
        let header = fragment.header.len();
        if self.count > most || !self.fits(fragment, &range) {
            return Grown::Spoilt;
        }
        // Where it belongs among the ranges; the one before may touch it, the one after too.
        let at = self.present.partition_point(|present| present.end <= range.start);
        if self.present.get(at).is_some_and(|next| next.start < range.end) {
            return if self.repeats(fragment, &range) { Grown::Yes } else { Grown::Spoilt };
        }
        if self.packet.len() < header + range.end {
            self.packet.resize(header + range.end, 0);
        }
        let Some(room) = self.packet.get_mut(header + range.start..header + range.end) else {
            return Grown::Spoilt;
        };
        room.copy_from_slice(fragment.payload);
        if range.start == 0 {
            if let Some(room) = self.packet.get_mut(..header) {
                room.copy_from_slice(fragment.header);
            }
            self.protocol = Some(fragment.protocol);
        }
        if !fragment.more {
            self.total = Some(range.end);
        }
        self.enter(at, range);
        match (self.total, self.present.as_slice()) {
            (Some(total), [all]) if *all == (0..total) => Grown::Whole,
            _ => Grown::Yes,
        }
    }

    /// Whether a fragment agrees with itself and with how long the packet is.
    fn fits(&self, fragment: &Fragment<'_>, range: &Range<usize>) -> bool {
        let most = if fragment.destination.is_ipv4() { MOST - IPV4 } else { MOST };
        // All but the last are multiples of eight octets, and none is empty.
        let whole_units = !fragment.more || fragment.payload.len().is_multiple_of(8);
        let headed = range.start > 0 || fragment.payload.len() >= transport_header(fragment);
        let last = self.present.last().map_or(0, |last| last.end);
        let agrees = match self.total {
            Some(total) => range.end <= total && (fragment.more || range.end == total),
            None => fragment.more || last <= range.end,
        };
        !range.is_empty() && range.end <= most && whole_units && headed && agrees
    }

    /// Whether an IPv4 fragment says again what is there.
    fn repeats(&self, fragment: &Fragment<'_>, range: &Range<usize>) -> bool {
        let header = fragment.header.len();
        let there =
            self.present.iter().any(|present| present.start <= range.start && range.end <= present.end);
        fragment.destination.is_ipv4()
            && there
            && self.packet.get(header + range.start..header + range.end) == Some(fragment.payload)
    }

    /// Enters a range before the one at `at`, joined with those it touches.
    fn enter(&mut self, at: usize, range: Range<usize>) {
        let touches_next = self.present.get(at).is_some_and(|next| next.start == range.end);
        let end = if touches_next { self.present.remove(at).end } else { range.end };
        match at.checked_sub(1).and_then(|before| self.present.get_mut(before)) {
            Some(before) if before.end == range.start => before.end = end,
            Some(_) | None => self.present.insert(at, range.start..end),
        }
    }
}

/// Octets the first fragment must have: the header of its transport, options and all.
fn transport_header(fragment: &Fragment<'_>) -> usize {
    match fragment.protocol {
        PROTOCOL_TCP => {
            let offset = fragment.payload.get(12).map_or(0, |octet| octet >> 4);
            (usize::from(offset) * 4).max(TCP)
        }
        PROTOCOL_UDP | PROTOCOL_ICMP | PROTOCOL_ICMPV6 => UDP,
        _ => 0,
    }
}

/// Writes into the IP header of a packet that it is no fragment, and how long it is.
fn finish(mut packet: Vec<u8>, destination: IpAddr, protocol: Option<u8>) -> Put {
    let (Ok(total), Some(protocol)) = (u32::try_from(packet.len()), protocol) else { return Put::Spoilt };
    match destination {
        IpAddr::V4(_) => {
            let Ok(total) = u16::try_from(total) else { return Put::Spoilt };
            patch(&mut packet, 2, total);
            patch(&mut packet, 6, 0);
            patch(&mut packet, 10, 0);
            let check = checksum::finish(checksum::sum(packet.get(..IPV4).unwrap_or_default()));
            patch(&mut packet, 10, check);
        }
        IpAddr::V6(_) => {
            let Ok(len) = u16::try_from(packet.len().saturating_sub(IPV6)) else { return Put::Spoilt };
            patch(&mut packet, 4, len);
            if let Some(next_header) = packet.get_mut(6) {
                *next_header = protocol;
            }
        }
    }
    Put::Whole(protocol, packet)
}
