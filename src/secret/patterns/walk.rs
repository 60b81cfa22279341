//! One pattern along a text, each character as it is or escaped.
//!
//! Where the pattern's own character could begin an escape, the text can be read in several ways, and all are
//! followed: in the order of how much of the pattern they have, so that two that meet go on as one. Invariant: the
//! work is bounded by the pattern's length times the characters in it that could begin an escape.

use super::escapes::Case;
use super::{Pattern, Patterns};
use crate::secret::escape::{self, Escape, LEADS};

/// Most characters of a pattern that could begin an escape.
pub(super) const BRANCHES: usize = 256;

/// Where a pattern ends that starts at some place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Here; where there are several ways to read the text, by the shortest.
    At(usize),
    /// The text ends too early to tell.
    Open,
    /// It is not there.
    Nowhere,
}

/// So much of the pattern, and where the text goes on.
type Way = (usize, usize);

impl Patterns {
    /// Where `pattern` ends that starts at `start`.
    pub(super) fn follow(&self, pattern: &Pattern, buf: &[u8], start: usize) -> End {
        let text = buf.get(start..).unwrap_or_default();
        if text.starts_with(&pattern.text) {
            return End::At(start + pattern.text.len());
        }
        if pattern.text.starts_with(text) {
            return End::Open;
        }
        let same = pattern.text.iter().zip(text).take_while(|(one, other)| one == other).count();
        // Before the first character that can be read in two ways there is but one way.
        let same = same.min(pattern.first_lead);
        match &self.escapes {
            Some(_) => self.walk(&pattern.text, (same, start + same), buf),
            None => End::Nowhere,
        }
    }

    /// Where `pattern` ends, of which the text has so much already.
    pub(super) fn walk(&self, pattern: &[u8], way: Way, buf: &[u8]) -> End {
        let case = self.escapes.as_ref().map_or(Case::Kept, |escapes| escapes.case);
        let mut walk = Walk { pattern, buf, case, ways: Vec::new(), end: End::Nowhere };
        let mut next = Some(way);
        while let Some(way) = next {
            walk.go(way);
            next = walk.ways.pop();
        }
        walk.end
    }
}

struct Walk<'a> {
    pattern: &'a [u8],
    buf: &'a [u8],
    case: Case,
    /// What is still to be followed; the one with the least of the pattern last, each once.
    ways: Vec<Way>,
    end: End,
}

impl Walk<'_> {
    /// Follows one way to where the text has what may be an escape, and over that.
    fn go(&mut self, (mut matched, mut at): Way) {
        loop {
            let Some(expected) = self.pattern.get(matched) else { return self.reach(End::At(at)) };
            let Some(octet) = self.buf.get(at) else { return self.reach(End::Open) };
            if LEADS.contains(octet) {
                break;
            }
            if octet != expected {
                return;
            }
            matched += 1;
            at += 1;
        }
        match self.ways.last() {
            // Others are behind and may meet it here.
            Some((other, _)) if *other < matched => self.add((matched, at)),
            Some(_) | None => self.branch((matched, at)),
        }
    }

    /// Takes the octet at a place that may begin an escape, in every way it can be read.
    fn branch(&mut self, (matched, at): Way) {
        let Some((text, expected)) = self.buf.get(at..).zip(self.pattern.get(matched..)) else { return };
        match escape::read(text) {
            Escape::Whole { length, spelled } => {
                for octets in self.case.apply(spelled).readings() {
                    if expected.starts_with(octets) {
                        self.add((matched + octets.len(), at + length));
                    }
                }
            }
            Escape::Cut if escape::may_become(text, expected) => self.reach(End::Open),
            Escape::Cut | Escape::Not => {}
        }
        if text.first() == expected.first() {
            self.add((matched + 1, at + 1));
        }
    }

    fn add(&mut self, way: Way) {
        if let Err(place) = self.ways.binary_search_by(|other| way.cmp(other)) {
            self.ways.insert(place, way);
        }
    }

    fn reach(&mut self, end: End) {
        self.end = match (self.end, end) {
            (End::At(one), End::At(other)) => End::At(one.min(other)),
            // A way that is still open is longer than one that has ended.
            (End::At(one), End::Open | End::Nowhere) | (End::Open | End::Nowhere, End::At(one)) => {
                End::At(one)
            }
            (End::Open, End::Open | End::Nowhere) | (End::Nowhere, End::Open) => End::Open,
            (End::Nowhere, End::Nowhere) => End::Nowhere,
        };
    }
}
