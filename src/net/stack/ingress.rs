//! Packets of the guest: which flow one belongs to, and what becomes of one that belongs to none.

use std::borrow::Cow;
use std::net::IpAddr;

use smoltcp::socket::tcp::State;
use smoltcp::time::Instant;

use super::{Event, Stack};
use crate::link::{Family, Link};
use crate::net::counters::Drop;
use crate::net::dhcp::{self, Lease};
use crate::net::early::Judged;
use crate::net::egress::{Egress, Wire};
use crate::net::emit::{self, Bare};
use crate::net::frame::{self, Flags, Packet, Segment};
use crate::net::rings::Charge;
use crate::net::syn::Syn;
use crate::net::table::{FlowId, Key};
use crate::net::tcp::{End, Flow, Intent, Phase, keep};
use crate::net::tombstone::{Late, Numbers};

impl Stack {
    pub(super) fn tcp<L: Link>(
        &mut self,
        link: &mut L,
        packet: &Packet<'_>,
        now: Instant,
    ) -> Result<(), Drop> {
        let segment = frame::tcp(packet, self.checksums)?;
        let key = Key {
            guest: packet.source,
            guest_port: segment.source_port,
            destination: packet.destination,
            port: segment.destination_port,
        };
        let Some(id) = self.table.find(&key) else { return self.stray(packet, &segment, key, now) };
        let Some(flow) = self.table.get_mut(id) else { return Err(Drop::Stray) };
        let connecting = flow.is_connecting();
        match &mut flow.phase {
            Phase::Open(_) if connecting => self.answered(link, (id, now), packet, &segment),
            Phase::Open(_) => {
                if let Some(packet) = self.admit(id, packet, &segment) {
                    self.feed(link, id, &packet, now);
                    self.fed(id, &segment);
                }
                Ok(())
            }
            Phase::Held(syn) if segment.flags.0 & (Flags::SYN | Flags::ACK | Flags::RST) == Flags::SYN => {
                // The same again changes nothing; another number is a new attempt, and the one to answer.
                *syn = Syn::read(packet, &segment);
                Ok(())
            }
            Phase::Held(syn) | Phase::Accepted(syn)
                if segment.flags.rst() && segment.sequence.wrapping_sub(syn.sequence) <= 1 =>
            {
                self.end(id, End::Reset);
                Ok(())
            }
            // A SYN sent again, which the first answers; nothing else can belong here yet.
            Phase::Held(_) | Phase::Accepted(_) | Phase::Refused(_) | Phase::Unread(_) | Phase::Ended(_) => {
                Err(Drop::Stray)
            }
        }
    }

    /// Enters what a segment will cost into the account, and makes it agree with what came before; none if it is
    /// not to be fed.
    fn admit<'a>(&mut self, id: FlowId, packet: &Packet<'a>, segment: &Segment) -> Option<Cow<'a, [u8]>> {
        let flow = self.table.get_mut(id)?;
        let Phase::Open(rings) = &mut flow.phase else { return None };
        if flow.intent == Intent::Abort {
            return None;
        }
        let payload = packet.payload.get(segment.header..)?;
        let (before, extent) = (rings.touched(), rings.received());
        let judged = rings.judge(segment, payload);
        rings.came(segment.sequence.wrapping_add(segment.payload));
        let after = rings.touched();
        if self.charge(id, (before, after)) == Charge::Over {
            // The flow is about to be reset, and its ring is not written any more.
            let Phase::Open(rings) = &mut self.table.get_mut(id)?.phase else { return None };
            rings.give_up(extent);
            let left = rings.touched();
            self.pool.refund(after.saturating_sub(left));
            return None;
        }
        match judged {
            Judged::Lost => None,
            Judged::Feed(Cow::Borrowed(_)) => Some(Cow::Borrowed(packet.bytes)),
            Judged::Feed(Cow::Owned(payload)) => {
                let headers = packet.bytes.len().checked_sub(payload.len())?;
                Some([packet.bytes.get(..headers)?, &payload].concat().into())
            }
        }
    }

    /// Gives an IP packet to the socket of its flow.
    pub(super) fn feed<L: Link>(&mut self, link: &mut L, id: FlowId, packet: &[u8], now: Instant) {
        let Self { table, interface, egress, stats, .. } = self;
        let Some(flow) = table.get_mut(id) else { return };
        let Phase::Open(rings) = &mut flow.phase else { return };
        let (mss, sent) = (flow.mss, &mut flow.sent);
        let mut wire = Wire { link, egress, stats, ingress: Some(packet), mss, sent };
        interface.poll_ingress_single(now, &mut wire, &mut rings.set);
    }

    /// Wakes whom a segment concerns, and has its flow served; a reset ends it at once.
    pub(super) fn fed(&mut self, id: FlowId, segment: &Segment) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let Phase::Open(rings) = &mut flow.phase else { return };
        if segment.flags.rst() && matches!(rings.socket().state(), State::Closed | State::Listen) {
            self.end(id, End::Reset);
            return;
        }
        flow.sent.hear(segment);
        let before = rings.touched();
        rings.settle();
        let after = rings.touched();
        flow.wake(&mut self.woken);
        self.charge(id, (before, after));
        self.mark(id);
    }

    /// Enters a change of what a flow's memory costs into the account; over the limit the flow is reset.
    pub(super) fn charge(&mut self, id: FlowId, (before, after): (usize, usize)) -> Charge {
        self.pool.refund(before.saturating_sub(after));
        let charge = self.pool.charge(after.saturating_sub(before));
        match charge {
            Charge::Fits => {}
            Charge::Over => {
                if let Some(flow) = self.table.get_mut(id) {
                    flow.intent = Intent::Abort;
                    self.stats.reset_over_limit += 1;
                    self.mark(id);
                }
            }
        }
        charge
    }

    /// A segment of no flow: a late one, the first of a new flow, or one to reset.
    fn stray(&mut self, packet: &Packet<'_>, segment: &Segment, key: Key, now: Instant) -> Result<(), Drop> {
        match self.tombstones.judge(&key, segment, now) {
            Some(Late::Acknowledge(numbers)) => {
                self.acknowledge(packet, segment, numbers);
                return Err(Drop::Stray);
            }
            Some(Late::Ignore) => return Err(Drop::Stray),
            Some(Late::Reopen) | None => {}
        }
        let flags = segment.flags;
        if flags.rst() {
            return Err(Drop::Stray);
        }
        if flags.syn() && !flags.ack() && !flags.fin() {
            self.begin(packet, segment, key);
            return Ok(());
        }
        self.reset(packet, segment);
        Err(Drop::Stray)
    }

    /// Holds the SYN of a new flow, or refuses it over a cap.
    fn begin(&mut self, packet: &Packet<'_>, segment: &Segment, key: Key) {
        let limits = &self.config.limits;
        let capped =
            self.table.len() >= limits.flows || self.half_open >= limits.half_open || !self.pool.fits();
        if capped || self.arrivals.closed {
            self.stats.refused_over_limit += 1;
            self.reset(packet, segment);
            return;
        }
        let syn = Syn::read(packet, segment);
        let mss = syn.mss.min(Egress::mss(self.egress.mtu(), family(packet.source)));
        let Some(id) = self.table.insert(Flow::held(key, syn, mss)) else { return };
        self.half_open += 1;
        self.stats.flows_opened += 1;
        self.arrive(Event::Flow(id));
    }

    pub(super) fn dhcp(&mut self, packet: &Packet<'_>) -> Result<(), Drop> {
        let datagram = frame::udp(packet, self.checksums)?;
        let lease = Lease { config: &self.config, mtu: self.egress.mtu_field() };
        dhcp::answer(&mut self.scratch, &lease, packet, &datagram)
    }

    pub(super) fn arrive(&mut self, event: Event) {
        self.arrivals.events.push_back(event);
        self.woken.extend(self.arrivals.waker.take());
    }

    /// Takes the next event; those of flows that ended meanwhile are passed over.
    pub(in crate::net) fn next_event(&mut self, waker: &std::task::Waker) -> Option<Event> {
        loop {
            match self.arrivals.events.pop_front() {
                Some(Event::Flow(id)) => {
                    if self.table.get(id).is_some_and(|flow| matches!(flow.phase, Phase::Held(_))) {
                        return Some(Event::Flow(id));
                    }
                    self.release(id);
                }
                Some(Event::Datagram(payload)) => {
                    self.arrivals.datagrams -= 1;
                    return Some(Event::Datagram(payload));
                }
                Some(Event::Association(id)) => {
                    if self.associations.is_held(id) {
                        return Some(Event::Association(id));
                    }
                }
                None => {
                    keep(&mut self.arrivals.waker, waker);
                    return None;
                }
            }
        }
    }

    /// Writes the answer RFC 9293 §3.10.7.1 gives to a segment of no connection.
    pub(super) fn reset(&mut self, packet: &Packet<'_>, segment: &Segment) {
        let (sequence, acknowledgment, flags) = if segment.flags.ack() {
            (segment.acknowledgment, 0, Flags::RST)
        } else {
            (0, segment.sequence.wrapping_add(segment.space()), Flags::RST | Flags::ACK)
        };
        self.answer(packet, segment, (sequence, acknowledgment, flags));
    }

    fn acknowledge(&mut self, packet: &Packet<'_>, segment: &Segment, numbers: Numbers) {
        self.answer(packet, segment, (numbers.send_next, numbers.receive_next, Flags::ACK));
    }

    fn answer(&mut self, packet: &Packet<'_>, segment: &Segment, numbers: (u32, u32, u8)) {
        let (sequence, acknowledgment, flags) = numbers;
        let bare = Bare {
            source_port: segment.destination_port,
            destination_port: segment.source_port,
            sequence,
            acknowledgment,
            flags,
            window: 0,
        };
        emit::tcp(&mut self.scratch, &self.egress.ends, (packet.destination, packet.source), &bare);
    }
}

pub(super) fn family(addr: IpAddr) -> Family {
    match addr {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}
