//! Datagrams both ways: those of the guest to the DNS service or to their association, and what their handles
//! send back.
//!
//! A handle has no link at hand: what it sends is queued, and the driver hands it over in its turn. Each datagram
//! is sent whole, queued whole, or lost and counted.

use std::net::{IpAddr, SocketAddr};
use std::task::{Poll, Waker};

use super::{Event, Payload, Stack};
use crate::net::counters::Drop;
use crate::net::cut::Cut;
use crate::net::emit::{self, Envelope, HOP_LIMIT};
use crate::net::frame::{
    self, ETHERNET, IPV4, IPV6, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_UDP, Packet, UDP,
};
use crate::net::gateway::{self, Asked, Problem, Quoted, Unreachable};
use crate::net::udp::{Arrived, AssociationId, Carried, Ended, Key, Taken};

/// Everything to this port goes to the DNS service, whatever the address.
const DNS: u16 = 53;

/// Type, code, checksum and identifier of an echo request; what follows is the payload of its association.
const ECHO: usize = 6;

/// In the seventh octet of an IPv4 header; RFC 791 §3.1.
const DONT_FRAGMENT: u8 = 0x40;

impl Stack {
    pub(super) fn udp(&mut self, packet: &Packet<'_>) -> Result<(), Drop> {
        let datagram = frame::udp(packet, self.checksums)?;
        if datagram.destination_port == DNS {
            return self.query(packet, &datagram);
        }
        let key = Key {
            carried: Carried::Udp,
            guest: packet.source,
            guest_port: datagram.source_port,
            destination: packet.destination,
            port: datagram.destination_port,
        };
        let start = header_len(packet.destination) + UDP;
        self.take_in(packet, key, Arrived { packet: packet.bytes, start, len: datagram.payload.len() })
    }

    /// Answers an ICMP or ICMPv6 message, or takes it to its association.
    pub(super) fn icmp(&mut self, packet: &Packet<'_>) -> Result<(), Drop> {
        let Asked::Echo(message) = gateway::icmp(&mut self.scratch, &self.config, packet)? else {
            return Ok(());
        };
        let key = Key {
            carried: Carried::Echo,
            guest: packet.source,
            guest_port: message.identifier(),
            destination: packet.destination,
            port: 0,
        };
        let start = header_len(packet.destination) + ECHO;
        let len = packet.bytes.len().saturating_sub(start);
        self.take_in(packet, key, Arrived { packet: packet.bytes, start, len })
    }

    fn query(&mut self, packet: &Packet<'_>, datagram: &frame::Udp<'_>) -> Result<(), Drop> {
        if self.arrivals.closed || self.arrivals.datagrams >= self.config.limits.datagrams {
            return Err(Drop::Datagram);
        }
        self.arrivals.datagrams += 1;
        self.stats.datagrams += 1;
        self.arrive(Event::Datagram(Payload {
            source: SocketAddr::new(packet.source, datagram.source_port),
            destination: SocketAddr::new(packet.destination, datagram.destination_port),
            octets: datagram.payload.to_vec(),
        }));
        Ok(())
    }

    fn take_in(&mut self, packet: &Packet<'_>, key: Key, arrived: Arrived<'_>) -> Result<(), Drop> {
        if self.arrivals.closed {
            self.complain(packet, Unreachable::Port);
            return Err(Drop::Udp);
        }
        match self.associations.take_in(key, arrived) {
            Taken::Queued(reader) => {
                self.woken.extend(reader);
                Ok(())
            }
            Taken::New(id) => {
                self.stats.associations_opened += 1;
                self.arrive(Event::Association(id));
                Ok(())
            }
            Taken::Full => Err(Drop::Queue),
            Taken::TooMany => Err(Drop::Datagram),
        }
    }

    /// Answers a packet with an ICMP error.
    pub(super) fn complain(&mut self, packet: &Packet<'_>, why: Unreachable) {
        if self.may_complain() {
            gateway::error(&mut self.scratch, &self.config, packet.into(), Problem::Unreachable(why));
        }
    }

    fn may_complain(&mut self) -> bool {
        let may = self.icmp_errors.take();
        self.stats.icmp_errors_over_limit += u64::from(!may);
        may
    }

    /// The guest's end and the far end of an association.
    pub(in crate::net) fn association_ends(&self, id: AssociationId) -> (SocketAddr, SocketAddr) {
        let Key { guest, guest_port, destination, port, .. } = id.key;
        (SocketAddr::new(guest, guest_port), SocketAddr::new(destination, port))
    }

    pub(in crate::net) fn accept_association(&mut self, id: AssociationId) {
        let evicted = self.associations.accept(id);
        self.evict(evicted);
    }

    /// Ends the association that had to go for another.
    pub(super) fn evict(&mut self, evicted: Option<Ended>) {
        if let Some(evicted) = evicted {
            self.stats.associations_evicted += 1;
            self.bury_association(evicted);
        }
    }

    /// Ends an association that waits for a verdict, and tells the guest why.
    pub(in crate::net) fn refuse_association(&mut self, id: AssociationId, why: Unreachable) {
        self.tell(id, Problem::Unreachable(why));
        if let Some(refused) = self.associations.remove(id) {
            self.bury_association(refused);
        }
    }

    /// The handle is gone: an association that nobody accepted is refused, any other just ends.
    pub(in crate::net) fn release_association(&mut self, id: AssociationId) {
        if self.associations.is_held(id) {
            self.refuse_association(id, Unreachable::Port);
        } else if let Some(ended) = self.associations.remove(id) {
            self.bury_association(ended);
        }
    }

    fn bury_association(&mut self, ended: Ended) {
        self.woken.extend(ended.reader);
        self.stats.dropped.add(Drop::Udp, ended.unread);
    }

    pub(in crate::net) fn poll_receive(
        &mut self,
        id: AssociationId,
        waker: &Waker,
        into: &mut [u8],
    ) -> Poll<Option<usize>> {
        self.associations.poll_receive(id, waker, into)
    }

    /// What the header of the last datagram of an association says of fragmenting it.
    pub(in crate::net) fn may_fragment(&self, id: AssociationId) -> bool {
        let head = self.associations.quote(id).unwrap_or_default();
        match (id.key.destination, head) {
            (IpAddr::V4(_), [_, _, _, _, _, _, flags, ..]) => flags & DONT_FRAGMENT == 0,
            (IpAddr::V6(_), [_, _, _, _, high, low, ..]) => {
                IPV6 + usize::from(u16::from_be_bytes([*high, *low])) > self.egress.mtu()
            }
            (IpAddr::V4(_) | IpAddr::V6(_), _) => true,
        }
    }

    /// Queues an ICMP error about the last datagram of an association.
    pub(in crate::net) fn tell(&mut self, id: AssociationId, problem: Problem) {
        if self.associations.quote(id).is_none() || !self.may_complain() {
            return;
        }
        let bytes = self.associations.quote(id).unwrap_or_default();
        let destination = id.key.destination;
        let quoted = Quoted { source: id.key.guest, destination, bytes };
        let mut frame = self.egress.outbox.buffer(ETHERNET + self.egress.mtu());
        gateway::error(&mut frame, &self.config, quoted, problem);
        self.queue(frame);
    }

    /// Queues a payload for the guest; false if it is lost.
    pub(in crate::net) fn send_datagram(&mut self, id: AssociationId, octets: &[u8]) -> bool {
        if !self.associations.touch(id) {
            return self.lose();
        }
        let (guest, from) = self.association_ends(id);
        match id.key.carried {
            Carried::Udp => self.send_udp(from, guest, octets),
            Carried::Echo => self.send_echo(from.ip(), guest, octets),
        }
    }

    fn send_echo(&mut self, from: IpAddr, guest: SocketAddr, octets: &[u8]) -> bool {
        let protocol = if from.is_ipv4() { PROTOCOL_ICMP } else { PROTOCOL_ICMPV6 };
        // Without a sequence number it is no reply.
        if octets.len() < 2 {
            return self.lose();
        }
        let envelope = Envelope { source: from, destination: guest.ip(), protocol, hop_limit: HOP_LIMIT };
        self.send_packet(&envelope, &[&gateway::echo_header(from, guest.port()), octets])
    }

    fn send_udp(&mut self, from: SocketAddr, to: SocketAddr, octets: &[u8]) -> bool {
        let Ok(len) = u16::try_from(UDP + octets.len()) else { return self.lose() };
        let [s0, s1] = from.port().to_be_bytes();
        let [d0, d1] = to.port().to_be_bytes();
        let [l0, l1] = len.to_be_bytes();
        let envelope = Envelope {
            source: from.ip(),
            destination: to.ip(),
            protocol: PROTOCOL_UDP,
            hop_limit: HOP_LIMIT,
        };
        self.send_packet(&envelope, &[&[s0, s1, d0, d1, l0, l1, 0, 0], octets])
    }

    fn send_packet(&mut self, envelope: &Envelope, parts: &[&[u8]]) -> bool {
        let len = header_len(envelope.source) + parts.iter().map(|part| part.len()).sum::<usize>();
        if len > self.egress.mtu() {
            return self.send_fragments(envelope, parts);
        }
        let mut frame = self.egress.outbox.buffer(ETHERNET + len);
        if !emit::packet(&mut frame, &self.egress.ends, envelope, parts) {
            return self.lose();
        }
        self.queue(frame)
    }

    /// Queues a packet that is longer than the guest's MTU, in as many frames as it takes.
    fn send_fragments(&mut self, envelope: &Envelope, parts: &[&[u8]]) -> bool {
        if !emit::packet(&mut self.scratch, &self.egress.ends, envelope, parts) {
            return self.lose();
        }
        self.cut_scratch()
    }

    /// Queues the frame in `scratch` in fragments.
    pub(super) fn cut_scratch(&mut self) -> bool {
        self.identification = self.identification.wrapping_add(1);
        let Self { scratch, egress, .. } = self;
        let Some(cut) = Cut::new(scratch, egress.mtu(), self.identification) else { return self.lose() };
        if self.over || !egress.outbox.has_room(cut.frames(), cut.octets()) {
            return self.lose();
        }
        for number in 0..cut.frames() {
            let mut frame = egress.outbox.buffer(cut.longest());
            if cut.write(number, &mut frame) {
                egress.outbox.push(frame);
            }
        }
        true
    }

    pub(super) fn queue(&mut self, frame: Vec<u8>) -> bool {
        if self.over || !self.egress.outbox.has_room(1, frame.len()) {
            return self.lose();
        }
        self.egress.outbox.push(frame);
        true
    }

    fn lose(&mut self) -> bool {
        self.stats.dropped.count(Drop::Egress);
        false
    }

    /// Octets a reply to a datagram may have to go in one piece.
    pub(in crate::net) fn reply_capacity(&self, payload: &Payload) -> usize {
        self.egress.mtu().saturating_sub(header_len(payload.source.ip()) + UDP)
    }

    /// Queues the reply to a query; one that does not fit is counted and lost.
    pub(in crate::net) fn reply(&mut self, payload: &Payload, octets: &[u8]) {
        self.send_udp(payload.destination, payload.source, octets);
    }
}

/// Length of the IP header in the family of an address.
fn header_len(addr: IpAddr) -> usize {
    match addr {
        IpAddr::V4(_) => IPV4,
        IpAddr::V6(_) => IPV6,
    }
}
