//! What a datagram costs, and guests that mean harm with datagrams and fragments.

use std::net::SocketAddr;
use std::task::{Poll, Waker};

use smoltcp::time::Duration;

use super::{Bed, Rng, noise};
use crate::limits::Limits;
use crate::link::Offload;
use crate::net::emit::{self, Envelope, HOP_LIMIT};
use crate::net::frame::{ETHERNET, PROTOCOL_ICMP, PROTOCOL_UDP};
use crate::net::gateway::Unreachable;
use crate::net::stack::Event;
use crate::net::udp::AssociationId;

impl Bed {
    fn packet(&self, protocol: u8, parts: &[&[u8]]) -> Vec<u8> {
        let envelope =
            Envelope { source: self.guest(), destination: self.to, protocol, hop_limit: HOP_LIMIT };
        let mut frame = Vec::new();
        assert!(emit::packet(&mut frame, &self.ends(), &envelope, parts));
        frame
    }

    fn datagram(&self, port: u16, payload: &[u8]) -> Vec<u8> {
        let [p0, p1] = port.to_be_bytes();
        let [l0, l1] = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
        self.packet(PROTOCOL_UDP, &[&[p0, p1, 1, 187, l0, l1, 0, 0], payload])
    }

    fn association(&mut self) -> Option<AssociationId> {
        match self.stack.next_event(Waker::noop())? {
            Event::Association(id) => Some(id),
            Event::Flow(id) => {
                self.stack.refuse(id);
                self.association()
            }
            Event::Datagram(_) => self.association(),
        }
    }

    fn read(&mut self, id: AssociationId) -> Option<usize> {
        let mut buffer = vec![0; 65_535];
        match self.stack.poll_receive(id, Waker::noop(), &mut buffer) {
            Poll::Ready(len) => len,
            Poll::Pending => None,
        }
    }
}

#[test]
fn buffers_of_datagrams_go_round() {
    let mut bed = Bed::new(Offload::Vnet, "192.0.2.1", Limits::default());
    let frame = bed.datagram(5_000, &noise(1_400));
    bed.receive(&frame);
    let id = bed.association().unwrap();
    bed.stack.accept_association(id);
    let mut used = std::collections::HashSet::new();
    for round in 0..100 {
        assert_eq!(bed.read(id), Some(1_400), "round {round}");
        assert!(bed.stack.send_datagram(id, &noise(1_400)));
        used.insert(bed.stack.egress.outbox.front().unwrap().bytes.as_ptr());
        bed.turn();
        bed.link.sent.clear();
        bed.receive(&frame);
    }
    assert_eq!(used.len(), 1, "the frame toward the guest is written into the same buffer");
}

#[test]
fn memory_of_all_queues_is_bounded_whatever_the_sizes() {
    let limits = Limits { udp_memory: 1 << 20, associations_held: 1_000, ..Limits::default() };
    let mut bed = Bed::new(Offload::Vnet, "2001:db8::1", limits);
    let mut rng = Rng(0x5eed);
    let octets = noise(60_000);
    let mut ids = Vec::new();
    for round in 0..5_000_u16 {
        let len = [0, 10, 1_400, 3_000, 60_000][rng.below(5)];
        let frame = bed.datagram(1 + round % 900, &octets[..len]);
        bed.receive(&frame);
        if let Some(id) = bed.association() {
            bed.stack.accept_association(id);
            ids.push(id);
        }
        if !ids.is_empty() && rng.below(3) == 0 {
            let id = ids[rng.below(ids.len())];
            bed.read(id);
        }
        // The last one taken may be over by the difference of its buffer and its octets.
        assert!(bed.stack.stats().udp_memory <= (1 << 20) + 2_048, "round {round}");
    }
    assert!(bed.stack.stats().dropped.queue > 1_000);
    for id in ids {
        bed.stack.release_association(id);
    }
    assert_eq!((bed.stack.stats().udp_memory, bed.stack.stats().associations), (0, 0));
}

#[test]
fn addresses_of_an_association_are_those_of_its_datagram() {
    for to in ["192.0.2.1", "2001:db8::1"] {
        let mut bed = Bed::new(Offload::None, to, Limits::default());
        let frame = bed.datagram(5_000, b"?");
        bed.receive(&frame);
        let id = bed.association().unwrap();
        let ends = (SocketAddr::new(bed.guest(), 5_000), SocketAddr::new(bed.to, 443));
        assert_eq!(bed.stack.association_ends(id), ends);
    }
}

#[test]
fn mutated_datagrams_and_fragments_never_panic_and_leave_nothing() {
    for to in ["192.0.2.1", "2001:db8::1"] {
        for offload in [Offload::None, Offload::Vnet] {
            let limits = Limits { associations: 8, associations_held: 4, ..Limits::default() };
            let mut bed = Bed::new(offload, to, limits);
            let mut rng = Rng(0xf1a6);
            let octets = noise(5_000);
            let mut open = Vec::new();
            for _ in 0..8_000 {
                let payload = &octets[..[40, 40, 40, rng.below(300)][rng.below(4)]];
                let port = u16::try_from(1 + rng.below(12)).unwrap();
                let mut frame = if rng.below(4) == 0 {
                    bed.packet(PROTOCOL_ICMP, &[&[8, 0, 0, 0, 0, 1, 0, 1], payload])
                } else {
                    bed.datagram(port, payload)
                };
                if rng.below(2) == 0 {
                    fragment(&mut frame, &mut rng);
                }
                for _ in 0..rng.below(3) {
                    let at = rng.below(frame.len());
                    frame[at] = rng.next().to_le_bytes()[0];
                }
                bed.receive(&frame);
                bed.turn();
                bed.link.sent.clear();
                if let Some(id) = bed.association() {
                    match rng.below(3) {
                        0 => bed.stack.refuse_association(id, Unreachable::Host),
                        _ => {
                            bed.stack.accept_association(id);
                            open.push(id);
                        }
                    }
                }
                let recent = open.len().saturating_sub(8);
                if let Some(id) = open.get(recent + rng.below(8)).copied() {
                    bed.read(id);
                    bed.stack.send_datagram(id, &octets[..rng.below(5_000)]);
                }
                bed.now += Duration::from_millis(u64::try_from(rng.below(50)).unwrap());
            }
            let stats = bed.stack.stats();
            assert!(stats.associations <= 12 && stats.fragment_sets <= 64, "{stats:?}");
            assert!(
                stats.associations_opened > 100 && stats.dropped.fragment > 100 && stats.reassembled > 10,
                "{stats:?}"
            );
            for id in open {
                bed.stack.release_association(id);
            }
            while let Some(id) = bed.association() {
                bed.stack.refuse_association(id, Unreachable::Port);
            }
            bed.now += Duration::from_secs(10);
            bed.turn();
            let stats = bed.stack.stats();
            assert_eq!((stats.associations, stats.udp_memory, stats.fragment_sets), (0, 0, 0));
        }
    }
}

/// Makes a frame a fragment of one of a few packets, mostly with right lengths.
fn fragment(frame: &mut Vec<u8>, rng: &mut Rng) {
    // Two of them in the right order are a packet.
    let place = [0, 48, 48, 40][rng.below(4)];
    let more = u16::from(place == 0 || rng.below(5) == 0);
    let name = u8::try_from(rng.below(6)).unwrap();
    if frame[ETHERNET] >> 4 == 4 {
        frame[ETHERNET + 5] = name;
        emit::patch(frame, ETHERNET + 6, (place / 8) | (more << 13));
        emit::patch(frame, ETHERNET + 10, 0);
        let check = crate::net::checksum::finish(crate::net::checksum::sum(&frame[ETHERNET..ETHERNET + 20]));
        emit::patch(frame, ETHERNET + 10, check);
        return;
    }
    let len = u16::from_be_bytes([frame[ETHERNET + 4], frame[ETHERNET + 5]]) + 8;
    emit::patch(frame, ETHERNET + 4, len);
    let protocol = std::mem::replace(&mut frame[ETHERNET + 6], 44);
    let [f0, f1] = (place | more).to_be_bytes();
    frame.splice(ETHERNET + 40..ETHERNET + 40, [protocol, 0, f0, f1, 0, 0, 0, name]);
}
