//! Where escapes may begin in a text.
//!
//! Text without any is passed over by vectors, text full of them eight octets at a time. Invariant: every
//! octet of [`LEADS`] is told, in order, and no other.

use memchr::memchr3;

use super::escape::LEADS;

const WORD: usize = size_of::<u64>();
/// Words without a lead after which the next is looked for by vectors: what it costs to begin with these.
const PATIENCE: usize = 4;

/// The places of [`LEADS`] in a text.
pub(super) struct Leads<'t> {
    text: &'t [u8],
    /// Where the word of `found` begins.
    word: usize,
    /// The highest bit of each octet of that word that is a lead yet to be told.
    found: u64,
}

impl<'t> Leads<'t> {
    pub(super) fn new(text: &'t [u8]) -> Self {
        let mut leads = Self { text, word: 0, found: 0 };
        leads.jump(0);
        leads
    }

    /// Goes to the first lead not before `from`.
    fn jump(&mut self, from: usize) {
        let [one, two, three] = LEADS;
        let rest = self.text.get(from..).unwrap_or_default();
        self.word = memchr3(one, two, three, rest).map_or(self.text.len(), |lead| from + lead);
        self.found = leads(word(self.text, self.word));
    }

    /// Goes to the next word that has a lead, or to the end.
    fn advance(&mut self) {
        for _ in 0..PATIENCE {
            self.word += WORD;
            self.found = leads(word(self.text, self.word));
            if self.found != 0 {
                return;
            }
        }
        self.jump(self.word + WORD);
    }
}

impl Iterator for Leads<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.found == 0 {
            if self.word >= self.text.len() {
                return None;
            }
            self.advance();
            if self.found == 0 {
                return None;
            }
        }
        let octet = self.found.trailing_zeros() as usize / 8;
        self.found &= self.found - 1;
        Some(self.word + octet)
    }
}

/// The word at `at`; past the end of the text zeros, which are no lead.
fn word(text: &[u8], at: usize) -> u64 {
    let rest = text.get(at..).unwrap_or_default();
    match rest.first_chunk::<WORD>() {
        Some(octets) => u64::from_le_bytes(*octets),
        None => rest.iter().rev().fold(0, |word, octet| word << 8 | u64::from(*octet)),
    }
}

/// The highest bit of each octet that is a lead.
fn leads(word: u64) -> u64 {
    let [one, two, three] = LEADS.map(|lead| zeros(word ^ u64::from_le_bytes([lead; WORD])));
    one | two | three
}

/// The highest bit of each octet that is zero; no carry goes from one octet to another.
fn zeros(word: u64) -> u64 {
    const LOW: u64 = u64::from_le_bytes([0x7f; WORD]);
    !((word & LOW).wrapping_add(LOW) | word | LOW)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_lead_is_told_and_nothing_else(
            text in vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'%'), 1 => Just(b'\\'), 1 => Just(b'&')], 0..200),
            gap in 0..100_usize,
        ) {
            let text = [text.as_slice(), &vec![b'x'; gap], b"&", &text].concat();
            let expected: Vec<_> = (0..text.len()).filter(|at| LEADS.contains(&text[*at])).collect();
            prop_assert_eq!(Leads::new(&text).collect::<Vec<_>>(), expected);
        }
    }
}
