//! Segments that overlap and say different things: the first to come for a place is what is read.

use std::task::{Poll, Waker};

use super::{Bed, Peer, Rng};
use crate::limits::Limits;
use crate::link::Offload;
use crate::net::frame::Flags;
use crate::net::table::FlowId;

fn read(bed: &mut Bed, id: FlowId) -> Vec<u8> {
    let mut read = Vec::new();
    while let Poll::Ready(Ok(1..)) = bed.stack.poll_drain(id, Waker::noop(), |octets| {
        read.extend_from_slice(octets);
        Ok(octets.len())
    }) {}
    read
}

/// Sends octets to a place in the stream.
fn place(bed: &mut Bed, peer: &Peer, at: usize, octets: &[u8]) {
    let next = peer.next.wrapping_add(u32::try_from(at).unwrap());
    bed.send(&mut Peer { next, ..*peer }, Flags::ACK, octets);
}

#[test]
fn what_came_first_behind_a_hole_is_not_overwritten() {
    for to in ["192.0.2.1", "2001:db8::1"] {
        for same_turn in [true, false] {
            let mut bed = Bed::new(Offload::None, to, Limits::default());
            let (id, peer) = bed.open(5_000, 1_460);
            for (at, octets) in
                [(6, &b"allowed.example"[..]), (5, b"\ndenied!.example?"), (3, b"e: evil"), (0, b"Host: bad")]
            {
                place(&mut bed, &peer, at, octets);
                if !same_turn {
                    bed.turn();
                }
            }
            // The places 3 to 5 are the third segment's, but for 5, which is the second's.
            assert_eq!(read(&mut bed, id), b"Hose:\nallowed.example?");
        }
    }
}

#[test]
fn overlapping_segments_in_any_order_are_read_as_their_first_octets() {
    const SPAN: usize = 400;
    for seed in 1..200 {
        let to = ["192.0.2.1", "2001:db8::1"][usize::try_from(seed % 2).unwrap()];
        let mut bed = Bed::new([Offload::None, Offload::Vnet][usize::try_from(seed % 3 / 2).unwrap()], to, {
            Limits { receive_ring: 1 << 14, ..Limits::default() }
        });
        // Half of them wrap.
        let first = if seed % 4 < 2 { u32::MAX - 200 } else { 1_000 };
        let (id, peer) = bed.open_at(5_000, first);
        let mut rng = Rng(seed);
        let mut first: Vec<Option<u8>> = vec![None; SPAN + 150];
        let mut got = Vec::new();
        for round in 0.. {
            let (at, len) = (rng.below(SPAN), 1 + rng.below(60));
            // What is not in order may be lost to a full table of pieces; few enough rounds do not fill it.
            let at = if round > 25 { got.len() } else { at };
            let octets = vec![rng.next().to_le_bytes()[0]; len];
            for place in &mut first[at..at + len] {
                place.get_or_insert(octets[0]);
            }
            place(&mut bed, &peer, at, &octets);
            if rng.below(2) == 0 {
                got.extend(read(&mut bed, id));
            }
            if rng.below(3) == 0 {
                bed.turn();
            }
            if got.len() >= SPAN {
                break;
            }
            if round > 25 {
                got.extend(read(&mut bed, id));
            }
        }
        let expected: Vec<u8> = first.iter().take(got.len()).map(|octet| octet.unwrap()).collect();
        assert_eq!(got, expected, "seed {seed}");
        bed.stack.abort(id);
        bed.turn();
        assert!(bed.stack.stats().ring_memory <= 2 * SPAN as u64, "{:?}", bed.stack.stats());
    }
}

#[test]
fn octets_kept_beyond_a_hole_are_in_the_account_until_it_is_filled() {
    let mut bed = Bed::new(Offload::Vnet, "192.0.2.1", Limits::default());
    let (id, peer) = bed.open(5_000, 1_460);
    for piece in 0..100 {
        place(&mut bed, &peer, 100 + piece * 2_000, &[7; 1_000]);
    }
    let held = bed.stack.stats().ring_memory;
    // The ring as far as it was reached by 32 pieces, these pieces, and what a piece costs.
    assert!((32 * 3_000..32 * 3_000 + 200_000).contains(&held), "{held}");
    for piece in 0..200 {
        place(&mut bed, &peer, piece * 1_000, &[8; 1_000]);
    }
    assert_eq!(read(&mut bed, id).len(), 200_000);
    assert!(bed.stack.stats().ring_memory <= 200_100, "{}", bed.stack.stats().ring_memory);
    bed.stack.abort(id);
    bed.turn();
    assert_eq!(bed.stack.stats().flows, 0);
}
