//! Which of a fixed set of byte strings is where in a buffer.
//!
//! It finds whole patterns, leftmost and longest first, and the place where one may have begun that the
//! buffer's end cuts off. It keeps nothing from one buffer to the next. Invariant: what [`Patterns::find`]
//! says of a buffer holds for any longer buffer too, for all matches that start before [`Patterns::partial`].

use aho_corasick::packed::{self, Searcher};
use aho_corasick::{AhoCorasick, Input, MatchKind, Span};
use zeroize::Zeroizing;

/// Leading bytes that tell quickly that no pattern begins like this.
const HEAD: usize = 3;

/// A set of patterns; no `Debug`, since the patterns may be secrets.
pub(super) struct Patterns {
    finder: Finder,
    /// All patterns in byte order: those that a text begins stand together, right after the text.
    sorted: Vec<Zeroizing<Vec<u8>>>,
    /// For each leading position and byte, the classes of patterns that have that byte there.
    heads: [Box<[u16]>; HEAD],
    /// By index of the pattern.
    lengths: Vec<usize>,
    shortest: usize,
    longest: usize,
}

/// Vectorized search over all patterns at once where the processor and the patterns allow it, else an automaton.
///
/// An automaton alone would do, but it picks its prefilter by first bytes where they are few, and `s` and `g`
/// of `sk-…` and `ghp_…` are in every line of text.
enum Finder {
    Nothing,
    Packed(Box<Searcher>),
    Automaton(AhoCorasick),
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

impl Patterns {
    /// Takes the patterns; the index of one is its place in the slice. Of equal ones the first is found.
    pub(super) fn new(patterns: &[&[u8]]) -> Result<Self, PatternError> {
        if patterns.iter().any(|pattern| pattern.is_empty()) {
            return Err(PatternError::Empty);
        }
        let mut sorted: Vec<_> = patterns.iter().map(|pattern| Zeroizing::new(pattern.to_vec())).collect();
        sorted.sort_unstable_by(|one, other| one.as_slice().cmp(other));
        let lengths: Vec<_> = patterns.iter().map(|pattern| pattern.len()).collect();
        let shortest = lengths.iter().copied().min().unwrap_or_default();
        let longest = lengths.iter().copied().max().unwrap_or_default();
        Ok(Self { finder: Finder::new(patterns)?, heads: heads(&sorted), sorted, lengths, shortest, longest })
    }

    /// The same without vectors, as on a processor that has none.
    #[cfg(test)]
    pub(super) fn plain(patterns: &[&[u8]]) -> Result<Self, PatternError> {
        Ok(Self { finder: Finder::automaton(patterns)?, ..Self::new(patterns)? })
    }

    /// The leftmost match that starts at `from` or later; of several at one place, the longest.
    pub(super) fn find(&self, buf: &[u8], from: usize) -> Option<Hit> {
        if buf.len().saturating_sub(from) < self.shortest {
            return None;
        }
        let found = match &self.finder {
            Finder::Nothing => None,
            Finder::Packed(searcher) => searcher.find_in(buf, Span { start: from, end: buf.len() }),
            Finder::Automaton(automaton) => automaton.find(Input::new(buf).range(from..)),
        }?;
        Some(Hit { pattern: found.pattern().as_usize(), start: found.start(), end: found.end() })
    }

    /// All matches, none overlapping another.
    pub(super) fn find_all(&self, buf: &[u8]) -> impl Iterator<Item = Hit> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let hit = self.find(buf, from)?;
            from = hit.end;
            Some(hit)
        })
    }

    /// The patterns' lengths, in their order.
    pub(super) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Length of the longest pattern.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }

    /// The first place, not before `from`, from which the rest of `buf` is the beginning of a longer pattern;
    /// `buf.len()` where there is none.
    pub(super) fn partial(&self, buf: &[u8], from: usize) -> usize {
        let reach = self.longest.saturating_sub(1);
        let first = from.max(buf.len().saturating_sub(reach));
        let mut starts = first..buf.len();
        starts.find(|start| buf.get(*start..).is_some_and(|tail| self.begins(tail))).unwrap_or(buf.len())
    }

    /// Whether a pattern starts with `tail` and goes on.
    fn begins(&self, tail: &[u8]) -> bool {
        let classes = self.heads.iter().zip(tail).fold(u16::MAX, |classes, (head, byte)| {
            classes & head.get(usize::from(*byte)).copied().unwrap_or_default()
        });
        if classes == 0 {
            return false;
        }
        let after = self.sorted.partition_point(|pattern| pattern.as_slice() <= tail);
        self.sorted.get(after).is_some_and(|pattern| pattern.starts_with(tail))
    }
}

impl Finder {
    fn new(patterns: &[&[u8]]) -> Result<Self, PatternError> {
        if patterns.is_empty() {
            return Ok(Self::Nothing);
        }
        let mut packed = packed::Config::new().match_kind(packed::MatchKind::LeftmostLongest).builder();
        if let Some(searcher) = packed.extend(patterns).build() {
            return Ok(Self::Packed(Box::new(searcher)));
        }
        Self::automaton(patterns)
    }

    fn automaton(patterns: &[&[u8]]) -> Result<Self, PatternError> {
        let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns);
        // The cause is dropped: nothing promises that its text is free of the patterns.
        built.map(Self::Automaton).map_err(|_| PatternError::TooLarge)
    }
}

/// Sixteen classes of patterns by their order, so that patterns alike are in one class.
fn heads(sorted: &[Zeroizing<Vec<u8>>]) -> [Box<[u16]>; HEAD] {
    std::array::from_fn(|position| {
        let mut head = vec![0; 256].into_boxed_slice();
        for (index, pattern) in sorted.iter().enumerate() {
            let class = 1_u16 << (index * 16 / sorted.len());
            // A pattern that ends before this position is no longer begun by a text that reaches it.
            let Some(byte) = pattern.get(position) else { continue };
            if let Some(classes) = head.get_mut(usize::from(*byte)) {
                *classes |= class;
            }
        }
        head
    })
}

/// Why patterns cannot be searched for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// An empty pattern is everywhere.
    #[error("an empty text cannot be searched for")]
    Empty,
    /// The automaton would not fit.
    #[error("the texts to search for are too many or too long together")]
    TooLarge,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_finders_see_the_same() {
        let patterns: [&[u8]; 4] = [b"abcdefgh", b"abcdefghij", b"cdefghijklmn", b"zzzzzzzz"];
        let text = b"..abcdefghijklmn.zzzzzzzzz.abcdefgh.cdefghijklmn".repeat(3);
        let own = Patterns::new(&patterns).unwrap();
        let spans = |set: &Patterns| {
            set.find_all(&text).map(|hit| (hit.pattern, hit.start, hit.end)).collect::<Vec<_>>()
        };
        let found = spans(&own);
        assert_eq!(found, spans(&Patterns::plain(&patterns).unwrap()));
        assert_eq!(found[..2], [(1, 2, 12), (3, 17, 25)]);
        assert_eq!(found.len(), 12);
    }

    #[test]
    fn only_the_beginning_of_a_pattern_is_partial() {
        let set = Patterns::new(&[b"abcab", b"bcd"]).unwrap();
        for (text, start) in
            [("", 0), ("x", 1), ("xa", 1), ("xabca", 1), ("xabcab", 4), ("xabcb", 4), ("bcd", 3), ("abcd", 4)]
        {
            assert_eq!(set.partial(text.as_bytes(), 0), start, "{text}");
        }
        assert_eq!(set.partial(b"abca", 1), 3, "what was consumed does not count");
    }

    #[test]
    fn an_empty_set_finds_nothing_and_an_empty_pattern_is_refused() {
        let set = Patterns::new(&[]).unwrap();
        assert!(set.find(b"abc", 0).is_none());
        assert_eq!(set.partial(b"abc", 0), 3);
        assert!(matches!(Patterns::new(&[b"a", b""]), Err(PatternError::Empty)));
    }
}
