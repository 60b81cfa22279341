//! What stands before a placeholder and would read on into the secret in its place.
//!
//! In `%4TOKEN` the token can be read, and is no longer there once a secret that begins with `1` stands for it: whoever
//! decodes `%41…` takes the secret's first character away, and what an upstream then gives back of it is no secret to
//! look for. Here nothing is written or found. Invariant: after an escape that may be open, in the text as it stands or
//! with one layer of escapes taken off, no secret is written.

use std::borrow::Cow;

/// Most octets of an escape that is open: `\u` and three digits.
const OPEN: usize = 5;
/// The most that one octet is spelled with: `\u0000`.
const SPELLED: usize = 6;

/// The end of what has gone by of a text that comes in pieces.
#[derive(Default)]
pub(super) struct Before(Vec<u8>);

impl Before {
    /// Octets that can say whether an escape is open.
    const MOST: usize = OPEN * SPELLED;

    /// Takes what goes by.
    pub(super) fn pass(&mut self, text: &[u8]) {
        if text.len() < Self::MOST {
            self.0.drain(..(self.0.len() + text.len()).saturating_sub(Self::MOST));
            self.0.extend_from_slice(text);
        } else {
            self.0.clear();
            self.0.extend_from_slice(end(text));
        }
    }

    /// Whether an escape is open at the end of `text`, which is what follows.
    pub(super) fn is_open_after(&self, text: &[u8]) -> bool {
        if text.len() < Self::MOST {
            is_open(end(&[self.0.as_slice(), text].concat()))
        } else {
            is_open(end(text))
        }
    }
}

fn end(text: &[u8]) -> &[u8] {
    text.get(text.len().saturating_sub(Before::MOST)..).unwrap_or_default()
}

fn is_open(text: &[u8]) -> bool {
    ends_open(text) || ends_open(&decoded_end(text))
}

/// Whether a text ends in `%`, `%4`, `\`, `\u` or up to `\u004`; a `\` that is escaped itself counts.
fn ends_open(text: &[u8]) -> bool {
    let digits = text.iter().rev().take_while(|octet| octet.is_ascii_hexdigit()).count();
    let before = |digits: usize| text.get(..text.len().saturating_sub(digits)).unwrap_or_default();
    text.ends_with(b"\\")
        || (0..=digits.min(1)).any(|digits| before(digits).ends_with(b"%"))
        || (0..=digits.min(3)).any(|digits| before(digits).ends_with(b"\\u"))
}

/// The last octets of a text, each as it is or as its escape says.
fn decoded_end(mut text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|octet| matches!(octet, b'%' | b'\\')) {
        return Cow::Borrowed(text);
    }
    let mut reversed = Vec::with_capacity(OPEN);
    while reversed.len() < OPEN {
        let Some((last, before)) = text.split_last() else { break };
        let (octet, rest) = match escape(text) {
            Some(escape) => escape,
            None => (*last, before),
        };
        reversed.push(octet);
        text = rest;
    }
    reversed.reverse();
    Cow::Owned(reversed)
}

/// The octet that a text's last escape stands for, if it ends in one, and what is before it.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let at = text.len().checked_sub(2)?;
    let (before, digits) = text.split_at_checked(at)?;
    let digit = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let [high, low] = digits else { return None };
    let octet = digit(high)? << 4 | digit(low)?;
    before.strip_suffix(b"%").or_else(|| before.strip_suffix(b"\\u00")).map(|rest| (octet, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENINGS: [&str; 14] = [
        "%",
        "x%4",
        "%F",
        "\\",
        "\\\\",
        "\\u",
        "\\u0",
        "\\u00",
        "\\u004",
        "%5C",
        "%255",
        "%5cu00",
        "%5C%75%30%30%34",
        "\\u005c\\u0075\\u0030\\u0030\\u0034",
    ];
    const CLOSED: [&str; 11] =
        ["", "x", "4", "%41", "%4x", "\\n", "\\u0041", "%2541", "%5Cn", "u00", "\\u005cn"];

    fn is_open_at(text: &str, split: usize) -> bool {
        let (head, tail) = text.as_bytes().split_at(split);
        let mut before = Before::default();
        head.chunks(3).for_each(|chunk| before.pass(chunk));
        assert!(before.0.len() <= Before::MOST);
        before.is_open_after(tail)
    }

    #[test]
    fn an_escape_that_is_open_is_seen_at_every_split() {
        for lead in ["", "k=", &"abc%41".repeat(20)] {
            for text in OPENINGS.map(|text| format!("{lead}{text}")) {
                (0..=text.len()).for_each(|split| assert!(is_open_at(&text, split), "{text} {split}"));
            }
            for text in CLOSED.map(|text| format!("{lead}{text}")) {
                (0..=text.len()).for_each(|split| assert!(!is_open_at(&text, split), "{text} {split}"));
            }
        }
    }
}
