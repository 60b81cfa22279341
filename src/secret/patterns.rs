//! Which of a fixed set of byte strings is where in a buffer, also with characters of it escaped.
//!
//! It finds whole patterns, leftmost and longest first, and the place where one may have begun that the
//! buffer's end cuts off. It keeps nothing from one buffer to the next. Invariant: what [`Patterns::scan`]
//! says of a buffer holds for any longer buffer too, for all matches that start before its `hold`.
//!
//! Every pattern is at least as long as the shortest. So a buffer is sampled: one block of octets in so many is
//! looked up among the first blocks of all patterns, which sees every pattern wherever it lies and whatever the
//! number of patterns. One that is escaped before its first blocks are over is found by its first escape.

mod escapes;
mod places;
mod walk;

use zeroize::Zeroizing;

use super::escape::LEADS;
use escapes::{Case, Escapes};
use places::{Hash, Place, Places};
use walk::End;

/// Most octets from one sample to the next: as many of each pattern are in the table, which must stay small.
const STRIDE: usize = 32;
/// Octets by which the beginning of a pattern is looked up.
const NEAR: usize = 4;

/// A set of patterns; no `Debug`, since the patterns may be secrets.
pub(super) struct Patterns {
    patterns: Vec<Pattern>,
    /// Octets of a sample.
    block: usize,
    /// Octets from one sample to the next.
    stride: usize,
    /// The first blocks of each pattern, as many as there are octets in a stride.
    blocks: Places,
    /// The beginnings of each pattern of up to [`NEAR`] octets.
    beginnings: Places,
    /// What finds escaped characters, where they count.
    escapes: Option<Escapes>,
    longest: usize,
}

struct Pattern {
    text: Zeroizing<Vec<u8>>,
    /// The first octet that could itself begin an escape; the length where none does.
    first_lead: usize,
}

/// One pattern in one buffer.
#[derive(Clone, Copy)]
pub(super) struct Hit {
    /// Index of the pattern.
    pub(super) pattern: usize,
    /// First byte.
    pub(super) start: usize,
    /// Past the last byte.
    pub(super) end: usize,
}

/// Whether more may follow a buffer.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Rest {
    Unknown,
    Nothing,
}

/// What is in a buffer.
pub(super) struct Scan {
    /// The matches that no later byte can change, in order, none overlapping another.
    pub(super) hits: Vec<Hit>,
    /// The place from which the buffer is the beginning of what may be a match; its length where none is.
    pub(super) hold: usize,
}

/// What a place may be the start of.
#[derive(Clone, Copy)]
struct Found {
    start: usize,
    /// The pattern and its end; `None` where that takes more of the text to tell.
    whole: Option<(usize, usize)>,
}

impl Patterns {
    /// Takes the patterns, to be found as they are; the index of one is its place in the slice. Of equal ones the
    /// first is found.
    pub(super) fn new(patterns: &[&[u8]]) -> Result<Self, PatternError> {
        Self::with(patterns, None)
    }

    /// The same, found with any of their characters escaped, too.
    pub(super) fn escaped(patterns: &[&[u8]]) -> Result<Self, PatternError> {
        Self::with(patterns, Some(Case::Kept))
    }

    /// As [`Patterns::escaped`] in texts that are in lower case, as the patterns must be.
    pub(super) fn escaped_lower_case(patterns: &[&[u8]]) -> Result<Self, PatternError> {
        Self::with(patterns, Some(Case::Lower))
    }

    fn with(texts: &[&[u8]], escaped: Option<Case>) -> Result<Self, PatternError> {
        if texts.iter().any(|text| text.is_empty()) {
            return Err(PatternError::Empty);
        }
        if escaped.is_some() && texts.iter().any(|text| leads(text) > walk::BRANCHES) {
            return Err(PatternError::Ambiguous);
        }
        let shortest = texts.iter().map(|text| text.len()).min().unwrap_or(1);
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or_default();
        let block = match shortest {
            0..3 => 1,
            3..6 => 2,
            6..12 => 4,
            12.. => 8,
        };
        let stride = STRIDE.min(shortest - block + 1);
        let first_lead =
            |text: &[u8]| text.iter().position(|octet| LEADS.contains(octet)).unwrap_or(text.len());
        let pattern =
            |text: &&[u8]| Pattern { text: Zeroizing::new(text.to_vec()), first_lead: first_lead(text) };
        let blocks = places(texts, |text, offset| {
            (offset < stride).then(|| text.get(offset..offset + block).map(key)).flatten()
        });
        let beginnings =
            places(texts, |text, offset| (offset < NEAR).then(|| text.get(..=offset).map(key)).flatten());
        let escapes = escaped.map(|case| Escapes::new(texts, stride + block - 1, case));
        Ok(Self {
            patterns: texts.iter().map(pattern).collect(),
            block,
            stride,
            blocks,
            beginnings,
            escapes,
            longest,
        })
    }

    /// All matches in a text that is all there, none overlapping another: the leftmost, and of those that start
    /// at one place the longest.
    pub(super) fn find_all(&self, text: &[u8]) -> impl Iterator<Item = Hit> + use<> {
        self.scan(text, Rest::Nothing).hits.into_iter()
    }

    /// Whether there is a match in a text that is all there.
    pub(super) fn is_in(&self, text: &[u8]) -> bool {
        !self.scan(text, Rest::Nothing).hits.is_empty()
    }

    /// The first place, not before `from`, from which a text is the beginning of an unescaped pattern; its length where
    /// there is none. Behind `from` nothing was found.
    pub(super) fn partial(&self, text: &[u8], from: usize) -> usize {
        let from = from.max(text.len().saturating_sub(self.longest));
        from + self.scan(text.get(from..).unwrap_or_default(), Rest::Unknown).hold
    }

    /// The patterns' lengths, in their order.
    pub(super) fn lengths(&self) -> impl Iterator<Item = usize> {
        self.patterns.iter().map(|pattern| pattern.text.len())
    }

    /// Length of the longest pattern.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// Most zeros that any pattern has in a row; `None` where no escapes are looked for.
    pub(super) fn zeros(&self) -> Option<usize> {
        self.escapes.as_ref().map(|escapes| escapes.zeros)
    }

    /// Finds what is in a buffer.
    pub(super) fn scan(&self, buf: &[u8], rest: Rest) -> Scan {
        let mut escaped =
            self.escapes.as_ref().map(|escapes| self.by_escapes(escapes, buf)).unwrap_or_default();
        escaped.retain(|found| found.whole.is_some() || rest == Rest::Unknown);
        escaped.sort_by_key(|found| found.start);
        let mut escaped = escaped.into_iter().peekable();
        let (mut hits, mut from) = (Vec::new(), 0);
        let mut sampled = self.by_samples(buf, from, rest);
        loop {
            while escaped.next_if(|found| found.start < from).is_some() {}
            if sampled.is_some_and(|found| found.start < from) {
                sampled = self.by_samples(buf, from, rest);
            }
            let starts = sampled.iter().chain(escaped.peek()).map(|found| found.start);
            let Some(start) = starts.min() else { break };
            let mut best = sampled.filter(|found| found.start == start);
            while let Some(found) = escaped.next_if(|found| found.start == start) {
                best = Some(best.map_or(found, |best| best.or_better(found)));
            }
            let Some((pattern, end)) = best.and_then(|found| found.whole) else {
                let hold = self.beginning(buf, from, rest).min(start);
                return Scan { hits, hold };
            };
            hits.push(Hit { pattern, start, end });
            from = end;
        }
        Scan { hits, hold: self.beginning(buf, from, rest) }
    }

    /// The first pattern that starts at `from` or later with its first blocks unescaped.
    fn by_samples(&self, buf: &[u8], from: usize, rest: Rest) -> Option<Found> {
        match self.block {
            1 => self.by_blocks::<1>(buf, from, rest),
            2 => self.by_blocks::<2>(buf, from, rest),
            4 => self.by_blocks::<4>(buf, from, rest),
            _ => self.by_blocks::<8>(buf, from, rest),
        }
    }

    fn by_blocks<const BLOCK: usize>(&self, buf: &[u8], from: usize, rest: Rest) -> Option<Found> {
        let mut at = from;
        while let Some(block) = buf.get(at..).and_then(|tail| tail.first_chunk::<BLOCK>()) {
            let hash = Hash::of(key(block));
            if self.blocks.may_have(hash) {
                let found = self.blocks.at(hash).filter_map(|place| self.at_block(buf, from, at, place));
                // The first pattern of all: another that starts before it would have been seen at a sample before.
                let found = found.filter(|found| found.whole.is_some() || rest == Rest::Unknown);
                if let Some(found) = found.reduce(Found::or_better) {
                    return Some(found);
                }
            }
            at += self.stride;
        }
        None
    }

    fn at_block(&self, buf: &[u8], from: usize, at: usize, place: &Place) -> Option<Found> {
        let start = at.checked_sub(usize::from(place.offset)).filter(|start| *start >= from)?;
        let (index, pattern) = self.pattern(place)?;
        let (head, tail) = buf.get(start..)?.split_at_checked(usize::from(place.offset))?;
        if !pattern.text.starts_with(head)
            || !same_beginning(pattern.text.get(head.len()..)?, tail, self.block)
        {
            return None;
        }
        self.found(index, start, self.follow(pattern, buf, start))
    }

    /// The first place, not before `from`, from which the rest of the buffer is the beginning of a longer pattern,
    /// too short to be in a sample; the buffer's length where there is none.
    fn beginning(&self, buf: &[u8], from: usize, rest: Rest) -> usize {
        if rest == Rest::Nothing {
            return buf.len();
        }
        let first = from.max(buf.len().saturating_sub(self.stride + self.block - 2));
        let mut starts = first..buf.len();
        let begins = |start: &usize| {
            let tail = buf.get(*start..).unwrap_or_default();
            self.begun_by(tail).any(|pattern| pattern.text.len() > tail.len())
        };
        starts.find(begins).unwrap_or(buf.len())
    }

    /// The patterns that start with a text that is not empty.
    fn begun_by<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = &'a Pattern> {
        let head = text.get(..NEAR).unwrap_or(text);
        let places = self.beginnings.at(Hash::of(key(head)));
        let patterns = places.filter(move |place| usize::from(place.offset) + 1 == head.len());
        let patterns = patterns.filter_map(|place| self.pattern(place)).map(|(_, pattern)| pattern);
        patterns.filter(move |pattern| pattern.text.starts_with(text))
    }

    fn pattern(&self, place: &Place) -> Option<(usize, &Pattern)> {
        let index = place.pattern as usize;
        Some((index, self.patterns.get(index)?))
    }

    fn found(&self, pattern: usize, start: usize, end: End) -> Option<Found> {
        match end {
            End::At(end) => Some(Found { start, whole: Some((pattern, end)) }),
            End::Open => Some(Found { start, whole: None }),
            End::Nowhere => None,
        }
    }
}

impl Found {
    /// The one that starts first; of those the one not yet told, then the longest, then the first pattern.
    fn or_better(self, other: Self) -> Self {
        let order = |found: &Self| {
            let (pattern, end) = found.whole.unwrap_or((0, usize::MAX));
            (found.start, usize::MAX - end, pattern)
        };
        if order(&other) < order(&self) { other } else { self }
    }
}

/// The places of all patterns that have a key, by pattern and offset.
fn places(texts: &[&[u8]], key: impl Fn(&[u8], usize) -> Option<u64>) -> Places {
    let entries = texts.iter().enumerate().flat_map(|(index, text)| {
        let key = &key;
        (0..text.len().min(STRIDE + size_of::<u64>() - 1))
            .filter_map(move |offset| Some((key(text, offset)?, Place::new(index, offset))))
    });
    Places::new(entries.collect())
}

/// Up to eight octets as a key.
#[inline]
fn key(octets: &[u8]) -> u64 {
    octets.iter().rev().fold(0, |key, octet| key << 8 | u64::from(*octet))
}

fn same_beginning(one: &[u8], other: &[u8], octets: usize) -> bool {
    one.get(..octets).is_some_and(|head| other.starts_with(head))
}

fn leads(text: &[u8]) -> usize {
    text.iter().filter(|octet| LEADS.contains(octet)).count()
}

/// Why patterns cannot be searched for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// An empty pattern is everywhere.
    #[error("an empty text cannot be searched for")]
    Empty,
    /// Too many characters that could begin an escape.
    #[error(
        "a text with more than {} of the characters %, & and \\ has too many spellings to search for; use another, or \
         its base64",
        walk::BRANCHES
    )]
    Ambiguous,
}

#[cfg(test)]
mod tests;
