//! The sans-IO core: frames and the time go in, frames and wakes come out.
//!
//! A demultiplexer finds the flow of a packet by its 4-tuple and feeds the packet to that flow alone; a flow is
//! served only when it had a packet, a due timer, or its handle did something. The usual design, one
//! `SocketSet` for all flows, has smoltcp look at every socket for every packet. Here each flow is a `SocketSet`
//! of one, so nothing a packet costs grows with the number of idle flows. The `Interface` is one for all: with
//! one each the cost was measured as flat, but every flow would carry the interface's buffers too. It keeps
//! no state between packets that a flow could feel: no neighbours (`Medium::Ip`), no fragments, no routes
//! (`any_ip` makes smoltcp take any destination, IPv4 or IPv6, before it looks at routes).
//!
//! Not here: reading the link, the clock, tasks. The invariant: a frame toward the guest is emitted, or held,
//! or counted.
#![warn(clippy::indexing_slicing)]

mod connect;
mod datagrams;
mod handle;
mod ingress;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Waker;

use smoltcp::iface::Interface;
use smoltcp::time::Instant;
use smoltcp::wire::HardwareAddress;

use self::connect::Connections;
use super::allowance::Allowance;
use super::config::Config;
use super::counters::{Drop, Stats};
use super::dhcp;
use super::egress::{Egress, Sent, Wire};
use super::fragments::{Fragments, Put};
use super::frame::{
    self, Checksums, ETHERNET, Fragment, Inbound, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP,
    Packet,
};
use super::gateway::{self, Unreachable};
use super::rings::Pool;
use super::router::{self, Router};
use super::table::{FlowId, Table};
use super::timers::{Surfaced, Timers};
use super::tombstone::Tombstones;
use super::udp::{AssociationId, Associations};
use crate::link::Link;

/// Timer entries looked at in one turn; a thousand flows opened at once surface a thousand a second later.
const TIMERS_PER_TURN: usize = 256;

/// Everything between the cable and the streams.
pub(super) struct Stack {
    config: Config,
    checksums: Checksums,
    interface: Interface,
    egress: Egress,
    table: Table,
    tombstones: Tombstones,
    timers: Timers,
    router: Router,
    pool: Pool,
    /// Flows to serve, in order.
    dirty: VecDeque<FlowId>,
    arrivals: Queue,
    associations: Associations,
    fragments: Fragments,
    icmp_errors: Allowance,
    /// Names the next packet that is cut into fragments.
    identification: u32,
    /// Tasks to wake once the stack is no longer borrowed.
    woken: Vec<Waker>,
    /// Where a reply is written.
    scratch: Vec<u8>,
    stats: Stats,
    half_open: usize,
    connections: Connections,
    /// The link has ended.
    over: bool,
}

/// What waits to be taken by `Arrivals`.
#[derive(Debug, Default)]
struct Queue {
    /// Bounded by the flows and associations held and by `Limits::datagrams`.
    events: VecDeque<Event>,
    datagrams: usize,
    waker: Option<Waker>,
    /// Nobody will take any more.
    closed: bool,
}

/// Something new from the guest.
#[derive(Debug)]
pub(super) enum Event {
    /// A SYN is held.
    Flow(FlowId),
    /// A datagram for the DNS service.
    Datagram(Payload),
    /// An association's first datagram is held.
    Association(AssociationId),
}

/// A datagram, owned.
#[derive(Debug)]
pub(super) struct Payload {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    pub(super) octets: Vec<u8>,
}

impl Stack {
    pub(super) fn new<L: Link>(config: Config, link: &mut L, now: Instant) -> Self {
        let limits = &config.limits;
        let mut egress = Egress::new(config.ends(), link, limits);
        let interface = interface(&config, link, &mut egress, now);
        Self {
            checksums: if link.is_trusted() { Checksums::TrustTransport } else { Checksums::Verify },
            interface,
            egress,
            table: Table::default(),
            tombstones: Tombstones::new(limits.tombstones, limits.time_wait.into()),
            timers: Timers::default(),
            router: Router::default(),
            pool: Pool::new(limits),
            dirty: VecDeque::new(),
            arrivals: Queue::default(),
            associations: Associations::new(&config.limits),
            fragments: Fragments::new(&config.limits),
            icmp_errors: Allowance::new(config.limits.icmp_errors, now),
            identification: low(config.seed),
            woken: Vec::new(),
            scratch: Vec::new(),
            stats: Stats::default(),
            half_open: 0,
            connections: Connections::new(config.seed),
            over: false,
            config,
        }
    }

    /// Takes in one frame of the guest.
    pub(super) fn receive<L: Link>(&mut self, link: &mut L, frame: &[u8], now: Instant) {
        self.icmp_errors.refill(now);
        self.stats.frames_in += 1;
        self.stats.bytes_in += u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.scratch.clear();
        let result = match frame::parse(frame, &self.egress.ends) {
            Ok(_) if !link.is_trusted() && self.egress.is_jumbo(frame) => Err(Drop::Jumbo),
            Ok(Inbound::Ip(packet)) => self.packet(link, &packet, now),
            Ok(Inbound::Fragment(fragment)) => self.fragment(link, &fragment, now),
            Ok(Inbound::Arp(arp)) => gateway::arp(&mut self.scratch, &self.config, &arp),
            Err(reason) => Err(reason),
        };
        if self.scratch.len() > ETHERNET + self.egress.mtu() {
            self.cut_scratch();
        } else if !self.scratch.is_empty() {
            self.egress.send(link, &self.scratch, &mut self.stats);
        }
        if let Err(reason) = result {
            self.stats.dropped.count(reason);
        }
    }

    /// Takes in one IP packet; a reply that no socket writes is left in `scratch`.
    fn packet<L: Link>(&mut self, link: &mut L, packet: &Packet<'_>, now: Instant) -> Result<(), Drop> {
        let icmp = if packet.source.is_ipv4() { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
        if packet.protocol == icmp {
            self.router.hear(packet, &self.config, now);
            if router::owns(packet) {
                return router::solicited(&mut self.scratch, &self.config, self.egress.mtu_field(), packet);
            }
            return self.icmp(packet);
        }
        if dhcp::owns(packet) {
            return self.dhcp(packet);
        }
        if !self.config.is_host(packet.destination) {
            return Err(Drop::DestinationIp);
        }
        match packet.protocol {
            PROTOCOL_TCP => self.tcp(link, packet, now),
            PROTOCOL_UDP => self.udp(packet),
            _ => {
                self.complain(packet, Unreachable::Protocol);
                Err(Drop::Protocol)
            }
        }
    }

    /// Takes in a part of an IP packet, and the packet once it is whole.
    fn fragment<L: Link>(&mut self, link: &mut L, part: &Fragment<'_>, now: Instant) -> Result<(), Drop> {
        let destination = part.destination;
        if !self.config.is_host(destination) {
            return Err(Drop::DestinationIp);
        }
        match self.fragments.put(part, now) {
            Put::Kept => Ok(()),
            Put::Spoilt => Err(Drop::Fragment),
            Put::Whole(protocol, bytes) => {
                self.stats.reassembled += 1;
                let source = part.source;
                let payload = bytes.get(part.header.len()..).unwrap_or_default();
                // NDP must not come in fragments, RFC 6980 §5, and does not pass with this hop limit.
                let hop_limit = 0;
                let packet = Packet { source, destination, protocol, hop_limit, bytes: &bytes, payload };
                let result = self.packet(link, &packet, now);
                self.fragments.give_back(bytes);
                result
            }
        }
    }

    /// Marks the flows whose timers are due, forgets fragments, and tells the guest of its router when it is time.
    pub(super) fn expire(&mut self, now: Instant) {
        self.fragments.expire(now);
        self.icmp_errors.refill(now);
        self.advertise(now);
        for _ in 0..TIMERS_PER_TURN {
            let Some(entry) = self.timers.pop(now) else { break };
            let (_, id) = entry;
            let Some(flow) = self.table.get_mut(id) else { continue };
            match self.timers.judge(entry, &mut flow.timer, now) {
                Surfaced::Due => self.mark(id),
                Surfaced::Later => {}
            }
        }
        let table = &self.table;
        self.timers.sweep(table.len(), |at, id| {
            table.get(id).is_some_and(|flow| Timers::is_armed_at(&flow.timer, at))
        });
    }

    fn advertise(&mut self, now: Instant) {
        if !self.router.due(&self.config, now) {
            return;
        }
        let mut frame = self.egress.outbox.buffer(ETHERNET + self.egress.mtu());
        router::unsolicited(&mut frame, &self.config, self.egress.mtu_field());
        self.queue(frame);
    }

    /// Hands over what is held, then serves each flow that is marked once.
    pub(super) fn transmit<L: Link>(&mut self, link: &mut L, now: Instant) {
        if !self.egress.flush(link, &mut self.stats) {
            return;
        }
        for _ in 0..self.dirty.len() {
            if self.egress.is_holding() {
                return;
            }
            let Some(id) = self.dirty.pop_front() else { return };
            self.serve(link, id, now);
        }
    }

    /// Whether a frame waits for the link.
    pub(super) fn is_holding(&self) -> bool {
        self.egress.is_holding()
    }

    /// Whether a flow waits to be served.
    pub(super) fn has_work(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether the reply to another frame could be held.
    pub(super) fn can_receive(&self) -> bool {
        !self.egress.outbox.is_full()
    }

    /// The earliest time a timer may be due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let others = self.fragments.deadline().into_iter().chain(self.router.deadline());
        self.timers.earliest().into_iter().chain(others).min()
    }

    /// Swaps the tasks to wake for an empty list.
    pub(super) fn take_woken(&mut self, into: &mut Vec<Waker>) {
        std::mem::swap(&mut self.woken, into);
    }

    pub(super) fn has_woken(&self) -> bool {
        !self.woken.is_empty()
    }

    pub(super) fn stats(&self) -> Stats {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        Stats {
            flows: count(self.table.len()),
            half_open: count(self.half_open),
            connections: count(self.connections.len()),
            tombstones: count(self.tombstones.len()),
            associations: count(self.associations.len()),
            fragment_sets: count(self.fragments.len()),
            fragment_sets_lost: self.fragments.lost(),
            udp_memory: count(self.associations.memory()),
            ring_memory: count(self.pool.touched()),
            ..self.stats
        }
    }

    /// Puts a flow on the list of those to serve.
    fn mark(&mut self, id: FlowId) {
        if let Some(flow) = self.table.get_mut(id)
            && !flow.dirty
        {
            flow.dirty = true;
            self.dirty.push_back(id);
        }
    }
}

/// The lower half of a number.
fn low(number: u64) -> u32 {
    let [.., a, b, c, d] = number.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

fn interface<L: Link>(config: &Config, link: &mut L, egress: &mut Egress, now: Instant) -> Interface {
    let mut smoltcp = smoltcp::iface::Config::new(HardwareAddress::Ip);
    smoltcp.random_seed = config.seed;
    let (mut stats, mut sent) = (Stats::default(), Sent::default());
    let mut wire = Wire { link, egress, stats: &mut stats, ingress: None, mss: 0, sent: &mut sent };
    let mut interface = Interface::new(smoltcp, &mut wire, now);
    interface.set_any_ip(true);
    interface
}
