//! Connections into the guest: our SYN, and what the guest answers; and UDP associations that we begin.
//!
//! They come from the gateway's address and a port of a range of their own, so that the one table finds them.
//! Afterwards such a flow is like any other. Not here: who may connect, and for how long the guest is waited
//! for. The invariant: a SYN of the guest's own never becomes a connection of ours, nor the other way round.

use std::io;
use std::task::{Poll, Waker};

use smoltcp::time::Instant;

use super::Stack;
use super::ingress::family;
use crate::link::{Family, Link};
use crate::net::counters::Drop;
use crate::net::egress::Egress;
use crate::net::emit;
use crate::net::frame::{ETHERNET, Packet, Segment};
use crate::net::syn::Syn;
use crate::net::table::{FlowId, Key};
use crate::net::tcp::{End, Flow, Opener, Phase, reset};
use crate::net::udp::{self, AssociationId, Carried};

/// The first port our connections come from; the last is 65,535. Linux begins there too.
const FIRST_PORT: u16 = 32_768;

/// The connections there are, and the port of the next one.
#[derive(Debug)]
pub(super) struct Connections {
    len: usize,
    /// Ports follow each other from a random one: a guest remembers the last connection of a port for a minute,
    /// and nobody else is on its link to guess one.
    next_port: u16,
}

impl Connections {
    pub(super) fn new(seed: u64) -> Self {
        let [.., high, low] = seed.to_be_bytes();
        Self { len: 0, next_port: FIRST_PORT | u16::from_be_bytes([high, low]) }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// All ports there are, the next one first.
    fn ports(&self) -> impl Iterator<Item = u16> + Clone + use<> {
        (self.next_port..=u16::MAX).chain(FIRST_PORT..self.next_port)
    }

    fn took(&mut self, port: u16) {
        self.next_port = port.checked_add(1).unwrap_or(FIRST_PORT);
    }

    /// A flow is gone.
    pub(super) fn forget(&mut self, opener: Opener) {
        match opener {
            Opener::Guest => {}
            Opener::Host => self.len -= 1,
        }
    }
}

impl Stack {
    /// Begins a connection to a port of the guest's.
    ///
    /// # Errors
    /// `QuotaExceeded` at a cap, `AddrNotAvailable` without a free port, `InvalidInput` for port 0,
    /// `NetworkDown` after the link's end.
    pub(in crate::net) fn connect(&mut self, family: Family, guest_port: u16) -> io::Result<FlowId> {
        if self.over {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        let limits = &self.config.limits;
        let capped = self.table.len() >= limits.flows || self.connections.len >= limits.published_connections;
        if capped || !self.pool.fits() {
            self.stats.connections_over_limit += 1;
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let key = self.free_key(family, guest_port).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mut rings = self.pool.take();
        let (to, from) = ((key.guest, guest_port), (key.destination, key.port));
        if rings.socket_mut().connect(self.interface.context(), to, from).is_err() {
            self.pool.give_back(rings);
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mss = Egress::mss(self.egress.mtu(), family);
        let id = self.table.insert(Flow::connecting(key, rings, mss)).ok_or(io::ErrorKind::QuotaExceeded)?;
        self.connections.len += 1;
        self.stats.flows_opened += 1;
        self.stats.connections_opened += 1;
        self.mark(id);
        Ok(id)
    }

    /// The next key that no flow has and, where possible, none had lately.
    fn free_key(&mut self, family: Family, guest_port: u16) -> Option<Key> {
        let destination = self.config.gateway(family);
        let guest = self.config.guest(destination);
        let key = |port| Key { guest, guest_port, destination, port };
        let mut ports = self.connections.ports();
        let is_free = |port: &u16| self.table.find(&key(*port)).is_none();
        let is_fresh = |port: &u16| is_free(port) && !self.tombstones.has(&key(*port));
        let port = ports.clone().find(is_fresh).or_else(|| ports.find(is_free))?;
        self.connections.took(port);
        Some(key(port))
    }

    /// Begins a UDP association with a port of the guest's, accepted from the start.
    ///
    /// # Errors
    /// `AddrNotAvailable` without a free port, `InvalidInput` for port 0, `NetworkDown` after the link's end.
    pub(in crate::net) fn associate(&mut self, family: Family, guest_port: u16) -> io::Result<AssociationId> {
        if self.over {
            return Err(io::ErrorKind::NetworkDown.into());
        }
        if guest_port == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let destination = self.config.gateway(family);
        let guest = self.config.guest(destination);
        let key = |port| udp::Key { carried: Carried::Udp, guest, guest_port, destination, port };
        let port = self.connections.ports().find(|port| !self.associations.has(&key(*port)));
        let port = port.ok_or(io::ErrorKind::AddrNotAvailable)?;
        self.connections.took(port);
        let (id, evicted) = self.associations.open(key(port));
        self.stats.associations_opened += 1;
        self.evict(evicted);
        Ok(id)
    }

    pub(in crate::net) fn poll_connected(&mut self, id: FlowId, waker: &Waker) -> Poll<io::Result<()>> {
        if self.over {
            return Poll::Ready(Err(io::ErrorKind::NetworkDown.into()));
        }
        let Some(flow) = self.table.get_mut(id) else { return Poll::Ready(Err(reset())) };
        flow.poll_connected(waker)
    }

    /// Takes in what the guest says to our SYN; RFC 9293 §3.10.7.3.
    ///
    /// # Errors
    /// It is no answer. A SYN without an ACK is none either: it is the guest's own attempt to connect to a port
    /// that is ours, and its stack answers our SYN all the same if it means to open at the same time.
    pub(super) fn answered<L: Link>(
        &mut self,
        link: &mut L,
        (id, now): (FlowId, Instant),
        packet: &Packet<'_>,
        segment: &Segment,
    ) -> Result<(), Drop> {
        let Some(flow) = self.table.get_mut(id) else { return Err(Drop::Stray) };
        let flags = segment.flags;
        if !flags.ack() {
            return Err(Drop::Stray);
        }
        if flow.sent.next != Some(segment.acknowledgment) {
            if !flags.rst() {
                self.reset(packet, segment);
            }
            return Err(Drop::Stray);
        }
        if flags.rst() {
            self.stats.connections_refused += 1;
            self.end(id, End::Reset);
            return Ok(());
        }
        if !flags.syn() || flags.fin() {
            return Err(Drop::Stray);
        }
        let syn = Syn::read(packet, segment);
        flow.mss = syn.mss.min(Egress::mss(self.egress.mtu(), family(packet.source)));
        if let Phase::Open(rings) = &mut flow.phase {
            rings.begin(segment.sequence.wrapping_add(1));
        }
        let mss = self.egress.device_mss(flow.mss, family(packet.source));
        let mut scratch = std::mem::take(&mut self.scratch);
        emit::syn(&mut scratch, &self.egress.ends, (packet.source, packet.destination), &syn, mss);
        self.feed(link, id, scratch.get(ETHERNET..).unwrap_or_default(), now);
        scratch.clear();
        self.scratch = scratch;
        self.fed(id, segment);
        Ok(())
    }
}
