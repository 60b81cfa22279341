//! Placeholders become secrets in the text messages of a WebSocket.
//!
//! It has no view of frames. A message that begins with `{` or `[`, white space aside, is taken for JSON (RFC 8259),
//! and what a string may not hold raw of a value is escaped in it; in every other message a value stands as it is.
//! Invariant: however a message is cut into chunks, the chunks written, joined, are what the whole would have given;
//! only the beginning of a placeholder waits, and never beyond the end of its message.

use std::mem;
use std::rc::Rc;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::before::Before;
use super::inject::InjectError;
use super::patterns::{Hit, PatternError, Patterns, Rest, Scan};
use super::replace::substitute;

/// The secrets that are for the text messages of one connection.
///
/// It has no `Debug`: it holds the values.
pub struct TextSecrets {
    placeholders: Patterns,
    /// By index of the placeholder.
    secrets: Vec<Secret>,
    keeps_length: bool,
    /// Counts one more of the secret of this index, unless it may not be put in.
    count: Box<dyn Fn(usize) -> Result<(), InjectError>>,
}

struct Secret {
    name: String,
    raw: Zeroizing<Vec<u8>>,
    json: Zeroizing<Vec<u8>>,
}

impl TextSecrets {
    /// Takes each secret's name, placeholder and value, and what judges each use of the secret of an index.
    pub(super) fn new(
        secrets: &[(&str, &[u8], &[u8])],
        count: impl Fn(usize) -> Result<(), InjectError> + 'static,
    ) -> Result<Self, PatternError> {
        let placeholders: Vec<_> = secrets.iter().map(|(_, placeholder, _)| *placeholder).collect();
        let keeps_length = secrets.iter().all(|(_, placeholder, value)| {
            value.len() == placeholder.len() && !value.iter().copied().any(is_escaped)
        });
        let secrets = secrets.iter().map(|(name, _, value)| Secret {
            name: (*name).to_owned(),
            raw: Zeroizing::new(value.to_vec()),
            json: json_escaped(value),
        });
        let placeholders = Patterns::new(&placeholders)?;
        Ok(Self { placeholders, secrets: secrets.collect(), keeps_length, count: Box::new(count) })
    }
}

/// One text message on its way upstream.
pub struct TextStream {
    secrets: Rc<TextSecrets>,
    form: Form,
    /// What went by before `held`.
    before: Before,
    /// The beginning of a placeholder; usually empty.
    held: Bytes,
    /// The secrets it was told that they are in it.
    told: Vec<usize>,
}

/// How values are written into a message.
#[derive(Clone, Copy)]
enum Form {
    /// It has been white space so far.
    Unknown,
    Plain,
    Json,
}

impl TextStream {
    /// Begins a message.
    #[must_use]
    pub fn new(secrets: Rc<TextSecrets>) -> Self {
        Self { secrets, form: Form::Unknown, before: Before::default(), held: Bytes::new(), told: Vec::new() }
    }

    /// Whether a message has the length it had, whatever is in it.
    #[must_use]
    pub fn keeps_length(&self) -> bool {
        self.secrets.keeps_length
    }

    /// Octets that wait for more.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes the next octets and gives what is settled, maybe nothing; a secret's name is put into `injected` when it
    /// is first in the message.
    ///
    /// A chunk without a placeholder comes back uncopied. After an error nothing more of the message may go on.
    pub fn push(&mut self, chunk: Bytes, injected: &mut Vec<String>) -> Result<Bytes, InjectError> {
        self.look(&chunk);
        let mut text = match mem::take(&mut self.held) {
            held if held.is_empty() => chunk,
            held => [held, chunk].concat().into(),
        };
        let placeholders = &self.secrets.placeholders;
        // No placeholder lies in another or begins one, so the first found is the one that is there.
        let Scan { mut hits, hold: settled } = placeholders.scan(&text, Rest::Unknown);
        self.held = Bytes::copy_from_slice(text.get(settled..).unwrap_or_default());
        text.truncate(settled);
        // Of a secret after an escape that is open a reader would miss the beginning.
        hits.retain(|hit| !self.before.is_open_after(text.get(..hit.start).unwrap_or_default()));
        self.before.pass(&text);
        hits.iter().try_for_each(|hit| (self.secrets.count)(hit.pattern))?;
        for hit in &hits {
            if !self.told.contains(&hit.pattern) {
                self.told.push(hit.pattern);
                injected.extend(self.secrets.secrets.get(hit.pattern).map(|secret| secret.name.clone()));
            }
        }
        Ok(if hits.is_empty() { text } else { self.write(&text, &hits) })
    }

    /// Ends the message and gives what waited.
    pub fn finish(&mut self) -> Bytes {
        mem::take(&mut self.held)
    }

    /// Looks what kind of message it is, while that is not known.
    fn look(&mut self, chunk: &[u8]) {
        if let Form::Unknown = self.form {
            self.form = match chunk.iter().find(|octet| !b" \t\r\n".contains(octet)) {
                None => Form::Unknown,
                Some(b'{' | b'[') => Form::Json,
                Some(_) => Form::Plain,
            };
        }
    }

    fn write(&self, text: &[u8], hits: &[Hit]) -> Bytes {
        let value = |hit: &Hit| {
            let secret = self.secrets.secrets.get(hit.pattern)?;
            Some(match self.form {
                Form::Json => secret.json.as_slice(),
                Form::Unknown | Form::Plain => secret.raw.as_slice(),
            })
        };
        let swaps: Vec<_> = hits.iter().filter_map(|hit| Some((*hit, value(hit)?))).collect();
        Bytes::from(mem::take(&mut *substitute(text, &swaps)))
    }
}

/// Whether a JSON string holds `octet` in an escape only (RFC 8259 §7).
fn is_escaped(octet: u8) -> bool {
    matches!(octet, b'"' | b'\\' | ..b' ')
}

fn json_escaped(value: &[u8]) -> Zeroizing<Vec<u8>> {
    // Of the largest size at once: a buffer that grows leaves its octets behind.
    let mut out = Zeroizing::new(Vec::with_capacity(value.len() * b"\\u0000".len()));
    for octet in value {
        match octet {
            b'"' | b'\\' => out.extend([b'\\', *octet]),
            ..b' ' => {
                let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
                out.extend(b"\\u00");
                out.extend([digit(octet >> 4), digit(octet & 0x0f)]);
            }
            _ => out.push(*octet),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: (&str, &[u8], &[u8]) = ("ONE", b"placeholder-1", b"the-1st-value");
    const QUOTED: (&str, &[u8], &[u8]) = ("QUOTED", b"placeholder-2", b"a\"b\\c\n");

    fn secrets() -> Rc<TextSecrets> {
        Rc::new(TextSecrets::new(&[ONE, QUOTED], |_| Ok(())).unwrap())
    }

    fn passed<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (String, Vec<String>) {
        let (mut stream, mut injected, mut out) = (TextStream::new(secrets()), Vec::new(), Vec::new());
        for chunk in chunks {
            out.extend(stream.push(Bytes::copy_from_slice(chunk), &mut injected).unwrap());
        }
        out.extend(stream.finish());
        assert_eq!(stream.held(), 0);
        (String::from_utf8(out).unwrap(), injected)
    }

    #[test]
    fn values_stand_as_they_are_but_escaped_in_json_at_every_split() {
        for (text, expected) in [
            ("placeholder-1", "the-1st-value"),
            ("placeholder-2 placeholder-1", "a\"b\\c\n the-1st-value"),
            ("say {\"x\":\"placeholder-2\"}", "say {\"x\":\"a\"b\\c\n\"}"),
            (" \r\n\t{\"x\":\"placeholder-2\"}", " \r\n\t{\"x\":\"a\\\"b\\\\c\\u000a\"}"),
            ("[\"placeholder-2\"]", "[\"a\\\"b\\\\c\\u000a\"]"),
            ("placeholder-", "placeholder-"),
            ("[\"\\placeholder-1 \\u00placeholder-1\"]", "[\"\\placeholder-1 \\u00placeholder-1\"]"),
            ("[\"\\nplaceholder-1\"]", "[\"\\nthe-1st-value\"]"),
            ("%placeholder-1 %4placeholder-1", "%placeholder-1 %4placeholder-1"),
            ("placeholder-placeholder-1placeholder", "placeholder-the-1st-valueplaceholder"),
            ("", ""),
        ] {
            for split in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(split);
                assert_eq!(passed([head, tail]).0, expected, "split at {split}");
            }
            assert_eq!(passed(text.as_bytes().chunks(1)).0, expected);
        }
        assert_eq!(
            serde_json::from_str::<[String; 1]>(&passed([&b"[\"placeholder-2\"]"[..]]).0).unwrap(),
            ["a\"b\\c\n"]
        );
    }

    #[test]
    fn each_secret_is_told_of_once_a_message() {
        let text = b"placeholder-2 placeholder-1 placeholder-2";
        for size in [1, 5, text.len()] {
            assert_eq!(passed(text.chunks(size)).1, ["QUOTED", "ONE"]);
        }
        assert_eq!(passed([&b"placeholder-3"[..]]).1, [""; 0]);
    }

    #[test]
    fn what_may_not_be_put_in_ends_the_message_at_every_split() {
        let text = b"clean placeholder-1 placeholder-2";
        for split in 0..=text.len() {
            let refused = |at| match at {
                0 => Ok(()),
                _ => Err(InjectError::Revoked { secret: "QUOTED".into() }),
            };
            let secrets = TextSecrets::new(&[ONE, QUOTED], refused).unwrap();
            let (mut stream, mut injected) = (TextStream::new(Rc::new(secrets)), Vec::new());
            let (head, tail) = text.split_at(split);
            let pushed = [head, tail].map(|part| stream.push(Bytes::copy_from_slice(part), &mut injected));
            let [Ok(first), Err(InjectError::Revoked { .. })] = pushed else {
                assert!(split == text.len() && pushed[0].is_err(), "split at {split}");
                continue;
            };
            // Told of if, and only if, it is among what goes on.
            assert_eq!(injected.len(), usize::from(first.ends_with(b"value") || first.ends_with(b"value ")));
        }
    }

    #[test]
    fn a_length_is_kept_only_if_it_is_in_every_form() {
        let keeps = |secrets: &[_]| TextSecrets::new(secrets, |_| Ok(())).unwrap().keeps_length;
        assert!(keeps(&[ONE]));
        assert!(!keeps(&[ONE, QUOTED]));
        assert!(!keeps(&[("EQUAL", b"1234567890", b"12345\"7890")]));
    }
}
