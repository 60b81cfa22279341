//! Where escapes may begin in a text that are worth reading.
//!
//! Text without any lead is passed over by vectors; text full of them octet by octet, each by the pair it makes
//! with the next, since nearly all of JSON's and HTML's escapes (`\\"`, `\\n`, `&lt;`) can be in no token. Invariant:
//! every lead is told, in order, that is the last octet or is followed by one that is worth it; and no other octet.

use memchr::memchr3;

use super::escape::LEADS;

/// Octets that are looked at together.
const BLOCK: usize = 32;
/// The bits of an octet that say which of [`LEADS`] it is; those above, which of them it is worth reading after.
const LEAD: u8 = 0b111;
const FOLLOWS: u32 = 4;

/// Which octets are leads, and which are worth reading after which.
pub(super) struct Pairs([u8; 256]);

impl Pairs {
    /// Takes what says whether an octet after a lead is worth it.
    pub(super) fn new(is_worth: impl Fn(u8, u8) -> bool) -> Self {
        let mut pairs = [0; 256];
        for (octet, bits) in (0..=u8::MAX).zip(&mut pairs) {
            for (lead, bit) in LEADS.into_iter().zip([1, 2, 4]) {
                *bits |= if octet == lead { bit } else { 0 };
                *bits |= if is_worth(lead, octet) { bit << FOLLOWS } else { 0 };
            }
        }
        Self(pairs)
    }

    fn of(&self, octet: u8) -> u8 {
        self.0.get(usize::from(octet)).copied().unwrap_or_default()
    }
}

/// The places of leads in a text.
pub(super) struct Leads<'t> {
    text: &'t [u8],
    pairs: &'t Pairs,
    /// Where the octets after those of `found` begin.
    next: usize,
    /// A bit for each of the [`BLOCK`] octets before `next` that is yet to be told.
    found: u32,
}

impl<'t> Leads<'t> {
    pub(super) fn new(text: &'t [u8], pairs: &'t Pairs) -> Self {
        Self { text, pairs, next: jump(text, 0), found: 0 }
    }

    /// Looks at the next octets, and goes on to where a lead is if none is there.
    fn advance(&mut self) {
        let rest = self.text.get(self.next..).unwrap_or_default();
        let Some(block) = rest.first_chunk::<{ BLOCK + 1 }>() else {
            self.found = self.mask(rest);
            self.next += BLOCK;
            return;
        };
        let (mut leads, mut worth) = (0, 0);
        for (octet, follower) in block.iter().zip(block.iter().skip(1)) {
            let (octet, follower) = (self.pairs.of(*octet), self.pairs.of(*follower));
            leads |= octet;
            worth |= octet & follower >> FOLLOWS;
        }
        self.next += BLOCK;
        if worth & LEAD != 0 {
            self.found = self.mask(block);
        } else if leads & LEAD == 0 {
            self.next = jump(self.text, self.next);
        }
    }

    /// The bits of the first octets of a text.
    fn mask(&self, text: &[u8]) -> u32 {
        let worth = |at: usize, octet: u8| {
            let follows = text.get(at + 1).map_or(u8::MAX, |octet| self.pairs.of(*octet));
            self.pairs.of(octet) & follows >> FOLLOWS & LEAD != 0
        };
        let octets = text.iter().take(BLOCK).enumerate();
        octets.fold(0, |mask, (at, octet)| mask | u32::from(worth(at, *octet)) << at)
    }
}

/// The first lead not before `from`, or the end.
fn jump(text: &[u8], from: usize) -> usize {
    let [one, two, three] = LEADS;
    let rest = text.get(from..).unwrap_or_default();
    memchr3(one, two, three, rest).map_or(text.len(), |lead| from + lead)
}

impl Iterator for Leads<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        while self.found == 0 {
            if self.next >= self.text.len() {
                return None;
            }
            self.advance();
        }
        let octet = self.found.trailing_zeros() as usize;
        self.found &= self.found - 1;
        Some(self.next - BLOCK + octet)
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_lead_that_is_worth_it_is_told_and_nothing_else(
            text in vec(prop_oneof![4 => any::<u8>(), 1 => Just(b'%'), 1 => Just(b'\\'), 1 => Just(b'&')], 0..200),
            gap in 0..100_usize,
        ) {
            let is_worth = |lead: u8, next: u8| (lead ^ next).is_multiple_of(3);
            let text = [text.as_slice(), &vec![b'x'; gap], b"&", &text].concat();
            let is_told = |at: &usize| {
                LEADS.contains(&text[*at]) && text.get(at + 1).is_none_or(|next| is_worth(text[*at], *next))
            };
            let expected: Vec<_> = (0..text.len()).filter(is_told).collect();
            prop_assert_eq!(Leads::new(&text, &Pairs::new(is_worth)).collect::<Vec<_>>(), expected);
        }
    }
}
