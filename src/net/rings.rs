//! Sockets with their ring buffers, and the pool that keeps closed ones for the next flow.
//!
//! Rings come from `vec![0; n]`, which the allocator maps and nobody touches: an idle flow owns the pages its
//! bytes have been on. A ring is never zeroed again, and the last one used, whose pages are warm, is the first
//! one given out.

use std::net::IpAddr;

use smoltcp::iface::{SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp;
use smoltcp::wire::IpListenEndpoint;

use super::early::{Early, Judged};
use super::frame::Segment;
use super::tcp::finished;
use crate::limits::Limits;

/// The least a ring may hold, octets: some segments of the usual size.
const RING_MIN: usize = 16 << 10;
/// A ring under memory pressure, octets.
const RING_SMALL: usize = 64 << 10;

/// The least lent of a ring at once, octets, memory or not: a page.
const LEND_MIN: usize = 4 << 10;

/// A set of exactly one TCP socket.
#[derive(Debug)]
pub(super) struct Rings {
    pub(super) set: SocketSet<'static>,
    handle: SocketHandle,
    received: Extent,
    queued: Extent,
    /// Sequence number of the first octet that was not taken from the ring yet.
    unread: u32,
    early: Early,
}

/// How far a ring has ever been written, which is what it costs in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    capacity: usize,
    touched: usize,
    /// Where the next octet goes, or the sequence number of the first one.
    mark: u32,
}

impl Extent {
    fn new(capacity: usize) -> Self {
        Self { capacity, touched: 0, mark: 0 }
    }

    /// Notes that octets up to `end` were written; how many of these are new to the ring.
    fn reach(&mut self, end: usize) -> usize {
        let touched = end.min(self.capacity).max(self.touched);
        std::mem::replace(&mut self.touched, touched).abs_diff(touched)
    }
}

impl Rings {
    fn new(receive: usize, transmit: usize) -> Self {
        let (receive, transmit) = (vec![0; receive], vec![0; transmit]);
        let mut socket = tcp::Socket::new(tcp::SocketBuffer::new(receive), tcp::SocketBuffer::new(transmit));
        let (received, queued) = (Extent::new(socket.recv_capacity()), Extent::new(socket.send_capacity()));
        // Both would hold back what is ready to go: Nagle until an ACK, the delayed ACK for 10 ms.
        socket.set_nagle_enabled(false);
        socket.set_ack_delay(None);
        let mut set = SocketSet::new(vec![SocketStorage::EMPTY]);
        let handle = set.add(socket);
        Self { set, handle, received, queued, unread: 0, early: Early::default() }
    }

    /// Begins with a flow whose first octet has this sequence number.
    pub(super) fn begin(&mut self, first: u32) {
        self.received.mark = first;
        self.queued.mark = 0;
        self.unread = first;
    }

    /// The sequence number of the octet that is awaited, as long as the guest has not said FIN.
    fn next(&self) -> u32 {
        self.unread.wrapping_add(u32::try_from(self.socket().recv_queue()).unwrap_or(0))
    }

    /// Notes octets taken from the ring.
    pub(super) fn took(&mut self, octets: usize) {
        self.unread = self.unread.wrapping_add(u32::try_from(octets).unwrap_or(0));
    }

    /// Judges the payload of a segment: what is to be fed of it, so that no octet contradicts an earlier one.
    pub(super) fn judge<'a>(&mut self, segment: &Segment, payload: &'a [u8]) -> Judged<'a> {
        let next = self.next();
        // Without an ACK, or with one of what was never sent, it is ignored; so is the payload of SYN and RST.
        let counts = segment.flags.ack() && !segment.flags.syn() && !segment.flags.rst();
        let in_order = segment.sequence == next && self.early.is_empty();
        if in_order || !counts || payload.is_empty() || finished(self.socket().state()) {
            return Judged::Feed(payload.into());
        }
        let room = self.socket().recv_capacity().saturating_sub(self.socket().recv_queue());
        self.early.judge(payload, segment.sequence, next, room)
    }

    /// Forgets what came early and has been taken in since.
    pub(super) fn settle(&mut self) {
        let next = self.next();
        self.early.settle(next);
    }

    /// Notes octets that came up to a sequence number, in order or not.
    pub(super) fn came(&mut self, end: u32) {
        let Ok(end) = usize::try_from(end.wrapping_sub(self.received.mark)) else { return };
        // While the ring is not touched all over, nothing beyond twice its size is in the window.
        if end <= self.received.capacity * 2 {
            self.received.reach(end);
        }
    }

    /// How far the receive ring was ever written.
    pub(super) fn received(&self) -> Extent {
        self.received
    }

    /// Takes back what was noted of a segment that is not fed, and forgets what came early: there is no more to come.
    pub(super) fn give_up(&mut self, received: Extent) {
        self.received = received;
        self.early = Early::default();
    }

    /// Octets that may be lent of the free part behind `before` queued ones, while `memory` is left.
    pub(super) fn lendable(&self, before: usize, memory: usize) -> usize {
        let start = if before == 0 { 0 } else { usize::try_from(self.queued.mark).unwrap_or(usize::MAX) };
        // At least a little, so that a flow that needs memory when there is none is found out.
        self.queued.touched.saturating_sub(start).saturating_add(memory).max(LEND_MIN)
    }

    /// Notes `len` octets queued behind `before` others; how much of the ring is newly touched.
    pub(super) fn wrote(&mut self, len: usize, before: usize) -> usize {
        // smoltcp starts anew at the front of an empty ring.
        let start = if before == 0 { 0 } else { usize::try_from(self.queued.mark).unwrap_or(usize::MAX) };
        let end = start.saturating_add(len).min(self.queued.capacity);
        self.queued.mark = u32::try_from(end).unwrap_or(u32::MAX);
        self.queued.reach(end)
    }

    /// What the rings, and what is kept beside them, cost in memory.
    pub(super) fn touched(&self) -> usize {
        self.received.touched + self.queued.touched + self.early.cost()
    }

    pub(super) fn socket(&self) -> &tcp::Socket<'static> {
        self.set.get(self.handle)
    }

    pub(super) fn socket_mut(&mut self) -> &mut tcp::Socket<'static> {
        self.set.get_mut(self.handle)
    }
}

/// Closed sockets kept for the next flows, and the account of all there are.
#[derive(Debug)]
pub(super) struct Pool {
    spare: Vec<Rings>,
    capacity: usize,
    receive: usize,
    transmit: usize,
    /// Octets touched of the rings given out and of those kept.
    touched: usize,
    memory: usize,
}

/// What the account says to more memory.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Charge {
    Fits,
    /// Over `Limits::ring_memory`.
    Over,
}

impl Pool {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            spare: Vec::new(),
            capacity: limits.spare_rings,
            receive: receive_ring(limits.receive_ring),
            transmit: limits.transmit_ring.max(RING_MIN),
            touched: 0,
            memory: limits.ring_memory,
        }
    }

    /// A closed socket.
    pub(super) fn take(&mut self) -> Rings {
        match self.spare.pop() {
            Some(rings) => rings,
            None if self.touched < self.memory / 2 => Rings::new(self.receive, self.transmit),
            None => Rings::new(self.receive.min(receive_ring(RING_SMALL)), self.transmit.min(RING_SMALL)),
        }
    }

    /// A socket that listens for one destination; none if it will not.
    pub(super) fn listen(&mut self, addr: IpAddr, port: u16) -> Option<Rings> {
        let mut rings = self.take();
        if rings.socket_mut().listen(IpListenEndpoint { addr: Some(addr.into()), port }).is_err() {
            self.discard(&rings);
            return None;
        }
        Some(rings)
    }

    /// Takes back the socket of a flow that is over.
    pub(super) fn give_back(&mut self, mut rings: Rings) {
        self.refund(rings.early.cost());
        rings.early = Early::default();
        let whole = rings.received.capacity == self.receive && rings.queued.capacity == self.transmit;
        if whole && self.spare.len() < self.capacity && self.touched <= self.memory / 2 {
            // A socket that listens again has to be closed first; the reset of its state comes with `listen`.
            rings.socket_mut().abort();
            self.spare.push(rings);
        } else {
            self.discard(&rings);
        }
    }

    /// Enters newly touched octets into the account.
    pub(super) fn charge(&mut self, octets: usize) -> Charge {
        self.touched += octets;
        if octets == 0 || self.fits() { Charge::Fits } else { Charge::Over }
    }

    /// Whether there is memory for another flow; spare rings give way to it.
    pub(super) fn fits(&mut self) -> bool {
        while self.touched > self.memory {
            let Some(rings) = self.spare.pop() else { return false };
            self.discard(&rings);
        }
        true
    }

    fn discard(&mut self, rings: &Rings) {
        self.refund(rings.touched());
    }

    /// Takes octets that were given up out of the account.
    pub(super) fn refund(&mut self, octets: usize) {
        self.touched = self.touched.saturating_sub(octets);
    }

    /// Octets that can still be touched before spare rings have to give way.
    pub(super) fn left(&self) -> usize {
        self.memory.saturating_sub(self.touched)
    }

    /// Octets of rings touched.
    pub(super) fn touched(&self) -> usize {
        self.touched
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.spare.len()
    }
}

/// The size of a receive ring: one less than a power of two.
///
/// The window of a SYN-ACK is not scaled, but smoltcp 0.14 holds the guest to it as if it were, that is to
/// 65,535 shifted left by the scale, until the next ACK goes out. With any other size this is more than the
/// ring holds, and a guest that sends it all at once makes the ring panic. With 2^k - 1 it never is.
fn receive_ring(wanted: usize) -> usize {
    // RFC 7323 §2.3 ends at 1 GiB, where smoltcp ends too.
    let wanted = wanted.clamp(RING_MIN, (1 << 30) - 1);
    let bits = wanted.saturating_add(1).ilog2();
    (1 << bits) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receive_ring_holds_what_the_window_of_a_syn_ack_promises_scaled() {
        for wanted in [0, 1 << 14, 65_535, 65_536, 300_000, 512 << 10, (512 << 10) - 1, usize::MAX] {
            let ring = receive_ring(wanted);
            let bits = usize::BITS - ring.leading_zeros();
            let promised = 65_535_usize.min(ring) << bits.saturating_sub(16);
            assert!(promised <= ring, "{wanted} gives {ring}, promised {promised}");
        }
    }

    #[test]
    fn pool_gives_out_the_socket_given_back_last_and_keeps_no_more_than_its_capacity() {
        let limits = Limits { spare_rings: 1, receive_ring: 20_000, ..Limits::default() };
        let mut pool = Pool::new(&limits);
        let addr = IpAddr::from([192, 0, 2, 1]);
        let (first, second) = (pool.listen(addr, 80).unwrap(), pool.listen(addr, 80).unwrap());
        pool.give_back(first);
        pool.give_back(second);
        assert_eq!(pool.len(), 1);
        let again = pool.listen(addr, 443).unwrap();
        assert!(again.socket().is_listening());
        assert_eq!(pool.len(), 0);
    }
}
