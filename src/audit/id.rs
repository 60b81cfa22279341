//! Names of denials, for people who hold one line and look for another.
//!
//! Invariant: no two denials of one sandbox have the same id, and those of two sandboxes hardly ever.

use std::sync::atomic::{AtomicU64, Ordering};

/// Letters and digits that are not taken for one another.
const ALPHABET: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
/// Characters that tell sandboxes apart: a million.
const TAG: usize = 4;
/// Bits of a character.
const BITS: usize = 5;
/// Digits of a count that is never reached.
const DIGITS: usize = 20;

/// Where one sandbox's ids come from.
pub(super) struct Ids {
    tag: String,
    last: AtomicU64,
}

impl Ids {
    pub(super) fn new() -> Self {
        // A system without randomness starts no sandbox, and an id is no secret.
        let random = getrandom::u32().unwrap_or_else(|_| std::process::id());
        Self { tag: tag(random), last: AtomicU64::new(0) }
    }

    /// As in `k3f9-17`.
    pub(super) fn next(&self) -> String {
        format!("{}-{}", self.tag, self.last.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

fn tag(random: u32) -> String {
    let character = |place: usize| {
        let index = (random >> (place * BITS)) as usize % ALPHABET.len();
        ALPHABET.get(index).map(|octet| char::from(*octet))
    };
    (0..TAG).filter_map(character).collect()
}

/// Whether `text` has the form of a denial's id.
#[must_use]
pub fn is_denial_id(text: &str) -> bool {
    let Some((tag, count)) = text.split_once('-') else { return false };
    tag.len() == TAG
        && tag.bytes().all(|octet| ALPHABET.contains(&octet))
        && (1..=DIGITS).contains(&count.len())
        && count.bytes().all(|octet| octet.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_short_in_order_and_of_one_sandbox() {
        let ids = Ids { tag: tag(u32::MAX), last: AtomicU64::new(16) };
        assert_eq!((ids.next(), ids.next()), ("9999-17".to_owned(), "9999-18".to_owned()));
        assert_eq!(tag(0), "aaaa");
        assert!(is_denial_id(&Ids::new().next()));
    }

    #[test]
    fn what_is_no_id_is_told_apart() {
        for text in ["", "-", "k3f9", "k3f9-", "k3f-1", "K3F9-1", "k3f9-1x", "k3f9--1", "k3i9-1", "k3f9-1\n"]
        {
            assert!(!is_denial_id(text), "{text:?}");
        }
    }
}
