//! Guests that mean harm: windows overrun, mutated frames, impossible numbers.

use std::task::{Poll, Waker};

use smoltcp::time::Duration;

use super::{Bed, Peer, Rng, noise};
use crate::limits::Limits;
use crate::link::Offload;
use crate::net::frame::Flags;

#[test]
fn more_than_the_ring_right_after_the_handshake_does_no_harm() {
    for size in [1_400, 60_000] {
        let mut bed = Bed::new(Offload::Vnet, "192.0.2.1", Limits::default());
        let (id, mut peer) = bed.open(5_000, 1_460);
        let octets = noise(size);
        for _ in 0..(2 << 20) / size {
            bed.send(&mut peer, Flags::ACK, &octets);
        }
        bed.turn();
        let mut taken = 0;
        while let Poll::Ready(Ok(len @ 1..)) =
            bed.stack.poll_drain(id, Waker::noop(), |octets| Ok(octets.len()))
        {
            taken += len;
        }
        assert!(taken < Limits::default().receive_ring, "{taken}");
        assert!(taken > 400_000, "{taken}");
    }
}

#[test]
fn mutated_frames_cost_at_most_one_reply_each_and_never_panic() {
    for to in ["192.0.2.1", "2001:db8::1"] {
        for offload in [Offload::None, Offload::Vnet] {
            let limits = Limits { flows: 64, half_open: 16, ..Limits::default() };
            let mut bed = Bed::new(offload, to, limits);
            let (_, mut peer) = bed.open(5_000, 1_460);
            let mut rng = Rng(0x5eed);
            let octets = noise(200);
            for round in 0..20_000 {
                let flags = [Flags::ACK, Flags::SYN, Flags::ACK | Flags::FIN, Flags::RST][rng.below(4)];
                let mut frame = bed.segment(&peer, flags, &octets[..rng.below(200)]);
                for _ in 0..rng.below(6) {
                    let at = rng.below(frame.len());
                    frame[at] = rng.next().to_le_bytes()[0];
                }
                if rng.below(4) == 0 {
                    frame.truncate(frame.len().saturating_sub(rng.below(60)));
                }
                let before = bed.link.sent.len();
                bed.receive(&frame);
                assert!(bed.link.sent.len() <= before + 1, "round {round}");
                bed.turn();
                bed.link.sent.clear();
                if let Some(id) = bed.arrival() {
                    if rng.below(2) == 0 { bed.stack.accept(id) } else { bed.stack.refuse(id) }
                }
                bed.now += Duration::from_millis(i64::try_from(rng.below(50)).unwrap().unsigned_abs());
                peer.port = 5_000 + u16::try_from(rng.below(40)).unwrap();
            }
            assert!(bed.stack.stats().flows <= 64);
        }
    }
}

#[test]
fn hostile_numbers_on_an_open_flow_never_panic() {
    for to in ["192.0.2.1", "2001:db8::1"] {
        for seed in 1..40 {
            let limits = Limits { receive_ring: 65_536, transmit_ring: 65_536, ..Limits::default() };
            let mut bed = Bed::new(Offload::Vnet, to, limits);
            let (id, start) = bed.open(5_000, 1_460);
            let mut rng = Rng(seed);
            let octets = noise(65_000);
            for _ in 0..1_500 {
                let far = [3, 3_000, 70_000, 1 << 31][rng.below(4)];
                let back = u32::try_from(rng.below(4_000)).unwrap();
                let mut peer = start;
                peer.next =
                    start.next.wrapping_add(u32::try_from(rng.below(far)).unwrap()).wrapping_sub(back);
                let ack = u32::try_from(rng.below(far)).unwrap();
                peer.acknowledged = start.acknowledged.wrapping_add(ack).wrapping_sub(back / 1_000);
                let flags = match rng.below(60) {
                    0 => Flags::ACK | Flags::FIN,
                    1 => Flags::SYN,
                    2 => Flags::SYN | Flags::ACK,
                    3 => 0,
                    _ => Flags::ACK,
                };
                let len = [0, 1, 1_400, 65_000][rng.below(4)];
                let frame = bed.segment(&peer, flags, &octets[..rng.below(len + 1)]);
                bed.receive(&frame);
                bed.write(id, &octets[..rng.below(3_000)]);
                let take = rng.below(5_000);
                let _ = bed.stack.poll_drain(id, Waker::noop(), |octets| Ok(octets.len().min(take)));
                if rng.below(3) == 0 {
                    bed.turn();
                }
                bed.now += Duration::from_millis(u64::try_from(rng.below(300)).unwrap());
                bed.link.sent.clear();
            }
        }
    }
}

#[test]
fn rings_of_all_flows_together_stay_within_their_memory() {
    let limits = Limits { ring_memory: 20 << 20, spare_rings: 4, half_open: 500, ..Limits::default() };
    let mut bed = Bed::new(Offload::Vnet, "192.0.2.1", limits);
    let octets = noise(60_000);
    let mut open = Vec::new();
    for port in 0..300 {
        bed.syn(3_000 + port, 1_000, 1_460);
        let Some(id) = bed.arrival() else { continue };
        bed.stack.accept(id);
        bed.turn();
        let (answer, ..) = bed.sent().unwrap();
        let mut peer =
            Peer { port: 3_000 + port, next: 1_001, acknowledged: answer.sequence.wrapping_add(1) };
        bed.send(&mut peer, Flags::ACK, &[]);
        open.push((id, peer));
        bed.link.sent.clear();
    }
    assert_eq!(open.len(), 300, "untouched rings cost nothing");
    for (id, peer) in &mut open {
        // Behind a hole, so that nothing is ever read.
        peer.next = peer.next.wrapping_add(1);
        for _ in 0..9 {
            bed.send(peer, Flags::ACK, &octets);
        }
        while bed.write(*id, &octets) > 0 {}
        bed.turn();
        bed.link.sent.clear();
        let within = bed.stack.stats().ring_memory;
        assert!(within <= (20 << 20) + (4 << 10), "{within}");
    }
    let stats = bed.stack.stats();
    assert!(stats.reset_over_limit > 200, "{stats:?}");
    assert!(stats.flows >= 10, "{stats:?}");
    // What is left is enough for small flows, or says so.
    bed.syn(9_999, 1_000, 1_460);
    let refused = bed.arrival().is_none();
    assert_eq!(refused, bed.stack.stats().refused_over_limit > 0);
    for (id, _) in open {
        bed.stack.abort(id);
    }
    bed.turn();
    assert_eq!(bed.stack.stats().flows, u64::from(!refused));
    let spare = bed.stack.stats().ring_memory;
    assert!(spare <= 4 * (3 << 19), "{spare}");
}

#[test]
fn segments_over_the_memory_are_neither_taken_nor_charged_for() {
    let limits = Limits { ring_memory: 100_000, ..Limits::default() };
    let mut bed = Bed::new(Offload::Vnet, "192.0.2.1", limits);
    let octets = noise(40_000);
    let mut peers: Vec<Peer> = (0..6).map(|port| bed.open(3_000 + port, 1_460).1).collect();
    // All in one turn, in order and behind a hole.
    for (number, peer) in peers.iter_mut().enumerate() {
        peer.next = peer.next.wrapping_add(u32::try_from(number % 2).unwrap());
        bed.send(peer, Flags::ACK, &octets);
        assert!(bed.stack.stats().ring_memory <= 100_000, "{:?}", bed.stack.stats());
    }
    assert_eq!(bed.stack.stats().reset_over_limit, 4);
    bed.turn();
    assert_eq!(bed.stack.stats().flows, 6, "their handles are still there");
}
