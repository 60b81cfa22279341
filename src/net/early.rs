//! Octets that came before their turn, kept so that the first to come for a place in the stream stays there.
//!
//! Not the reassembly, which is smoltcp's. But smoltcp 0.14 lets a later segment overwrite what an earlier one
//! left behind a hole; whoever looks at segments as they pass would then have seen another stream than the one
//! that is read here. So what is fed to it never contradicts itself: this is the one invariant.

use std::borrow::Cow;
use std::ops::Range;

use super::egress::after;

/// Pieces kept of one flow, no fewer than smoltcp's assembler keeps. A segment that needs one more is lost, which
/// only a segment out of order ever is.
const PIECES: usize = 32;
/// What a piece costs beside its octets: its place in the list and the allocator's own.
const PIECE: usize = 64;

/// The octets a flow has received beyond a hole, in order, none twice.
#[derive(Debug, Default)]
pub(super) struct Early {
    pieces: Vec<Piece>,
    cost: usize,
}

#[derive(Debug)]
struct Piece {
    /// Sequence number of the first octet.
    start: u32,
    octets: Vec<u8>,
}

impl Piece {
    /// Where the piece is, counted from `next`, before which none of it lies.
    fn range(&self, next: u32) -> Range<usize> {
        let start = distance(next, self.start);
        start..start + self.octets.len()
    }
}

/// What becomes of a segment.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Judged<'a> {
    /// These octets are to be fed.
    Feed(Cow<'a, [u8]>),
    /// There are too many pieces to keep another; it is to be lost.
    Lost,
}

impl Early {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// What the pieces cost in memory, octets.
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Forgets what lies before `next`, the sequence number that is now awaited.
    pub(super) fn settle(&mut self, next: u32) {
        if self.is_empty() {
            return;
        }
        self.pieces.retain_mut(|piece| {
            if after(piece.start, next) {
                return true;
            }
            let passed = distance(piece.start, next).min(piece.octets.len());
            piece.octets.drain(..passed);
            piece.start = next;
            !piece.octets.is_empty()
        });
        if self.is_empty() {
            self.pieces = Vec::new();
        }
        self.count();
    }

    /// Judges octets that came for `start`, while `next` is awaited and `room` octets from there may be taken.
    ///
    /// Places that are taken are given the octets they have; the others are kept, if they lie beyond a hole.
    pub(super) fn judge<'a>(&mut self, octets: &'a [u8], start: u32, next: u32, room: usize) -> Judged<'a> {
        self.settle(next);
        // What lies before `next` was read, and is ignored by smoltcp.
        let (passed, at) =
            if after(start, next) { (0, distance(next, start)) } else { (distance(start, next), 0) };
        let fresh = octets.get(passed..).unwrap_or_default();
        let fresh = fresh.get(..room.saturating_sub(at).min(fresh.len())).unwrap_or_default();
        let range = at..at + fresh.len();
        if at > 0 && !range.is_empty() {
            let gaps = self.gaps(&range, next);
            if self.pieces.len() + gaps.len() > PIECES && !self.extends(&gaps, next) {
                return Judged::Lost;
            }
            for gap in gaps {
                let octets = fresh.get(gap.start - at..gap.end - at).unwrap_or_default();
                self.keep(octets, gap.start, next);
            }
            self.count();
        }
        Judged::Feed(self.overlay(octets, passed, &range, next))
    }

    /// `octets`, which from `passed` on are for `range`, with what is kept there written over them; copied only if
    /// that makes a difference.
    fn overlay<'a>(&self, octets: &'a [u8], passed: usize, range: &Range<usize>, next: u32) -> Cow<'a, [u8]> {
        let mut result = Cow::Borrowed(octets);
        for piece in &self.pieces {
            let kept = piece.range(next);
            let common = kept.start.max(range.start)..kept.end.min(range.end);
            if common.is_empty() {
                continue;
            }
            let kept = piece.octets.get(common.start - kept.start..common.end - kept.start);
            let place = passed + common.start - range.start..passed + common.end - range.start;
            if let Some(kept) = kept
                && result.get(place.clone()).is_some_and(|came| came != kept)
                && let Some(place) = result.to_mut().get_mut(place)
            {
                place.copy_from_slice(kept);
            }
        }
        result
    }

    /// The parts of a range that no piece has.
    fn gaps(&self, range: &Range<usize>, next: u32) -> Vec<Range<usize>> {
        let mut gaps = Vec::new();
        let mut from = range.start;
        for piece in &self.pieces {
            let taken = piece.range(next);
            if taken.start >= range.end {
                break;
            }
            if taken.start > from {
                gaps.push(from..taken.start);
            }
            from = from.max(taken.end);
        }
        if from < range.end {
            gaps.push(from..range.end);
        }
        gaps
    }

    /// Whether there is no gap, or one right behind a piece, so that no piece more is needed.
    fn extends(&self, gaps: &[Range<usize>], next: u32) -> bool {
        match gaps {
            [] => true,
            [gap] => self.pieces.iter().any(|piece| piece.range(next).end == gap.start),
            [_, _, ..] => false,
        }
    }

    fn keep(&mut self, octets: &[u8], at: usize, next: u32) {
        let place = self.pieces.partition_point(|piece| piece.range(next).start < at);
        if let Some(before) = place.checked_sub(1).and_then(|before| self.pieces.get_mut(before))
            && before.range(next).end == at
        {
            before.octets.extend_from_slice(octets);
            return;
        }
        let start = next.wrapping_add(u32::try_from(at).unwrap_or(u32::MAX));
        self.pieces.insert(place, Piece { start, octets: octets.to_vec() });
    }

    fn count(&mut self) {
        self.cost = self.pieces.iter().map(|piece| piece.octets.capacity() + PIECE).sum();
    }
}

/// How far `to` is after `from`, in sequence space.
fn distance(from: u32, to: u32) -> usize {
    usize::try_from(to.wrapping_sub(from)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: usize = 1 << 16;

    fn fed(judged: Judged<'_>) -> Vec<u8> {
        match judged {
            Judged::Feed(octets) => octets.into_owned(),
            Judged::Lost => panic!("lost"),
        }
    }

    #[test]
    fn what_came_first_is_written_over_what_comes_later() {
        for next in [7_u32, u32::MAX - 4] {
            let mut early = Early::default();
            let at = |offset: u32| next.wrapping_add(offset);
            assert_eq!(fed(early.judge(b"CDE", at(2), next, ROOM)), b"CDE");
            assert_eq!(fed(early.judge(b"xxxxxx", at(1), next, ROOM)), b"xCDExx");
            assert_eq!(fed(early.judge(b"yyyyyyyyy", at(0), next, ROOM)), b"yxCDExxyy");
            // Read as far as the D; what lies before is no longer known, nor needed.
            assert_eq!(fed(early.judge(b"zzzzzz", at(2), at(3), ROOM)), b"zDExxz");
            early.settle(at(7));
            assert!(early.is_empty());
            assert_eq!(early.cost(), 0);
        }
    }

    #[test]
    fn in_order_octets_are_never_kept_nor_lost() {
        let mut early = Early::default();
        for piece in 0..PIECES {
            let start = 100 + 2 * u32::try_from(piece).unwrap();
            assert_eq!(fed(early.judge(b"a", start, 10, ROOM)), b"a");
        }
        assert_eq!(early.judge(b"b", 301, 10, ROOM), Judged::Lost);
        assert_eq!(fed(early.judge(b"cccc", 10, 10, ROOM)), b"cccc");
        assert_eq!(fed(early.judge(b"dd", 100, 10, ROOM)), b"ad", "it lengthens a piece");
        assert_eq!(early.pieces.len(), PIECES);
    }

    #[test]
    fn no_more_is_kept_than_the_window_can_take() {
        let mut early = Early::default();
        assert_eq!(fed(early.judge(&[7; 100], 50, 10, 60)), [7; 100]);
        assert_eq!(fed(early.judge(&[8; 100], 50, 10, 60)), [[7; 20].as_slice(), &[8; 80]].concat());
        assert_eq!(fed(early.judge(b"far", 1_000, 10, 60)), b"far");
        assert_eq!(early.pieces.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn every_place_keeps_its_first_octet(
            first in proptest::prelude::any::<u32>(),
            segments in proptest::collection::vec((0_usize..60, 1_usize..30), 1..60),
        ) {
            let mut early = Early::default();
            let mut model: Vec<Option<u8>> = vec![None; 100];
            let mut next = 0;
            for (number, (at, len)) in segments.into_iter().enumerate() {
                let octets = vec![u8::try_from(number).unwrap(); len];
                let of = |offset: usize| first.wrapping_add(u32::try_from(offset).unwrap());
                let Judged::Feed(fed) = early.judge(&octets, of(at), of(next), ROOM) else { continue };
                for (offset, octet) in fed.iter().enumerate().skip(next.saturating_sub(at)) {
                    let place = &mut model[at + offset];
                    proptest::prop_assert_eq!(*place.get_or_insert(*octet), *octet);
                }
                if at <= next {
                    next = next.max(at + len);
                    while model[next].is_some() { next += 1; }
                }
            }
        }
    }
}
