//! How a place of a request spells text: as it is, percent-encoded, or as in a JSON string.
//!
//! It finds placeholders in that spelling and spells secrets in it. A placeholder needs no escapes, but who
//! wrote it may have escaped it all the same (`%2D`, `\u002d`), in part or whole. It keeps nothing from one
//! text to the next. Invariant: what is found in a text would be found in any longer one too.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;
use zeroize::Zeroizing;

use super::patterns::{Hit, Patterns};

/// The spelling of one place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Spelling {
    /// As it is.
    Raw,
    /// `%XX` for all but the unreserved characters (RFC 3986 §2.3), a blank too: good for URLs and forms.
    Percent,
    /// `\"`, `\\` and `\u00XX` (RFC 8259 §7).
    Json,
}

/// A placeholder in a text, as it is spelled there.
pub(super) struct Found {
    pub(super) pattern: usize,
    pub(super) span: Range<usize>,
    /// Octets of each of its characters, where one is escaped.
    widths: Option<Vec<u8>>,
}

/// What stands for a secret in one spelling; wiped when dropped.
pub(super) struct Spelled {
    text: Zeroizing<Vec<u8>>,
    /// Whether it is as long as the placeholder and each of its octets may be escaped or not.
    mirrors: bool,
}

impl Spelling {
    /// `value` in this spelling, in place of `placeholder`; `None` where it cannot be spelled.
    pub(super) fn spell(self, value: &[u8], placeholder: &[u8]) -> Option<Spelled> {
        // Room for all at once: a buffer that grows leaves its bytes behind.
        let mut text = Zeroizing::new(Vec::with_capacity(value.len() * self.widest()));
        match self {
            Self::Raw => text.extend_from_slice(value),
            Self::Percent => {
                for byte in value {
                    if is_unreserved(*byte) { text.push(*byte) } else { text.extend(percent(*byte)) }
                }
            }
            Self::Json => {
                std::str::from_utf8(value).ok()?;
                for byte in value {
                    match byte {
                        b'"' | b'\\' => text.extend([b'\\', *byte]),
                        0..0x20 => text.extend(unicode(*byte)),
                        _ => text.push(*byte),
                    }
                }
            }
        }
        let mirrors = text.len() == placeholder.len() && value.len() == text.len() && value.is_ascii();
        Some(Spelled { mirrors: mirrors || (self == Self::Raw && text.len() == placeholder.len()), text })
    }

    /// The placeholders in `text`, and from where on it must wait for more, where more may come.
    pub(super) fn find(self, patterns: &Patterns, text: &[u8], more: More) -> (Vec<Found>, usize) {
        let mut search = Search { patterns, text, found: Vec::new() };
        let mut piece = Piece::at(0);
        let mut at = 0;
        while let Some(escape) = self.next_escape(text, at) {
            match self.unit(text.get(escape..).unwrap_or_default()) {
                Unit::Escaped(byte, width) => {
                    piece.decode(text, at..escape);
                    piece.push(byte, escape);
                    at = escape + width;
                }
                Unit::Barrier(width) => {
                    piece.decode_rest(text, at..escape);
                    search.piece(&piece, escape);
                    at = escape + width;
                    piece = Piece::at(at);
                }
                Unit::Cut => {
                    piece.decode_rest(text, at..escape);
                    let hold = search.last_piece(&piece, escape);
                    return (search.found, if more == More::May { hold } else { text.len() });
                }
            }
        }
        piece.decode_rest(text, at..text.len());
        let hold = search.last_piece(&piece, text.len());
        (search.found, if more == More::May { hold } else { text.len() })
    }

    fn next_escape(self, text: &[u8], from: usize) -> Option<usize> {
        let lead = match self {
            Self::Raw => return None,
            Self::Percent => b'%',
            Self::Json => b'\\',
        };
        Some(from + memchr(lead, text.get(from..)?)?)
    }

    /// What the escape at the beginning of `text` is.
    fn unit(self, text: &[u8]) -> Unit {
        let digits = match (self, text) {
            (Self::Percent, [_, digits @ ..]) => digits.get(..2).ok_or(digits),
            (Self::Json, [_, b'u', digits @ ..]) => digits.get(..4).ok_or(digits),
            (Self::Json, [_, _, ..]) => return Unit::Barrier(2),
            (Self::Json | Self::Percent | Self::Raw, _) => return Unit::Cut,
        };
        let digits = match digits {
            Ok(digits) => digits,
            Err(cut) if cut.iter().all(u8::is_ascii_hexdigit) => return Unit::Cut,
            Err(_) => return Unit::Barrier(1),
        };
        let width = text.len().min(digits.len() + if self == Self::Json { 2 } else { 1 });
        match hexadecimal(digits) {
            Some(code) => match u8::try_from(code) {
                Ok(byte) if is_unreserved(byte) => Unit::Escaped(byte, width),
                _ => Unit::Barrier(width),
            },
            None => Unit::Barrier(1),
        }
    }

    /// Most octets that one octet is spelled with.
    pub(super) fn widest(self) -> usize {
        match self {
            Self::Raw => 1,
            Self::Percent => 3,
            Self::Json => 6,
        }
    }
}

/// Whether more of a text may follow.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum More {
    May,
    Never,
}

enum Unit {
    /// An unreserved character, and its width.
    Escaped(u8, usize),
    /// Something that is in no placeholder, and its width.
    Barrier(usize),
    /// The text's end cuts it off.
    Cut,
}

/// A stretch of text without anything that is in no placeholder and escaped.
struct Piece {
    start: usize,
    /// Its characters and where each begins, once one of them is escaped.
    decoded: Option<(Vec<u8>, Vec<usize>)>,
}

impl Piece {
    fn at(start: usize) -> Self {
        Self { start, decoded: None }
    }

    /// Takes in what stands unescaped before an escape.
    fn decode(&mut self, text: &[u8], plain: Range<usize>) {
        let (bytes, places) = self.decoded.get_or_insert_default();
        bytes.extend_from_slice(text.get(plain.clone()).unwrap_or_default());
        places.extend(plain);
    }

    /// The same at its end: where nothing was escaped it stays undecoded.
    fn decode_rest(&mut self, text: &[u8], plain: Range<usize>) {
        if self.decoded.is_some() {
            self.decode(text, plain);
        }
    }

    fn push(&mut self, byte: u8, at: usize) {
        let (bytes, places) = self.decoded.get_or_insert_default();
        bytes.push(byte);
        places.push(at);
    }
}

struct Search<'a> {
    patterns: &'a Patterns,
    text: &'a [u8],
    found: Vec<Found>,
}

impl Search<'_> {
    /// Finds what is in a piece that ends at `end`; gives how far into its characters that reaches.
    fn piece(&mut self, piece: &Piece, end: usize) -> usize {
        let mut reach = 0;
        match &piece.decoded {
            None => {
                let plain = self.text.get(piece.start..end).unwrap_or_default();
                for Hit { pattern, start, end } in self.patterns.find_all(plain) {
                    let span = piece.start + start..piece.start + end;
                    self.found.push(Found { pattern, span, widths: None });
                    reach = end;
                }
            }
            Some((bytes, places)) => {
                let place = |index: usize| places.get(index).copied().unwrap_or(end);
                for hit in self.patterns.find_all(bytes) {
                    let width = |index| u8::try_from(place(index + 1) - place(index)).unwrap_or(u8::MAX);
                    let widths: Vec<u8> = (hit.start..hit.end).map(width).collect();
                    let widths = widths.iter().any(|width| *width > 1).then_some(widths);
                    let span = place(hit.start)..place(hit.end);
                    self.found.push(Found { pattern: hit.pattern, span, widths });
                    reach = hit.end;
                }
            }
        }
        reach
    }

    /// The same, and where in the text a placeholder may begin that its end cuts off.
    ///
    /// No placeholder lies within another, so what was found stays found.
    fn last_piece(&mut self, piece: &Piece, end: usize) -> usize {
        let reach = self.piece(piece, end);
        match &piece.decoded {
            None => {
                let plain = self.text.get(piece.start..end).unwrap_or_default();
                piece.start + self.patterns.partial(plain, reach)
            }
            Some((bytes, places)) => places.get(self.patterns.partial(bytes, reach)).copied().unwrap_or(end),
        }
    }
}

impl Spelled {
    /// Whether it is always as long as what it replaces.
    pub(super) fn keeps_length(&self) -> bool {
        self.mirrors
    }

    /// What to write for `found`: escaped where the placeholder was, if that keeps the length.
    pub(super) fn write(&self, found: &Found, spelling: Spelling) -> Cow<'_, [u8]> {
        let Some(widths) = found.widths.as_ref().filter(|_| self.mirrors) else {
            return Cow::Borrowed(&self.text);
        };
        let mut out = Vec::with_capacity(found.span.len());
        for (byte, width) in self.text.iter().zip(widths) {
            match (spelling, width) {
                (Spelling::Raw, _) | (_, 1) => out.push(*byte),
                (Spelling::Percent, _) => out.extend(percent(*byte)),
                (Spelling::Json, _) => out.extend(unicode(*byte)),
            }
        }
        Cow::Owned(out)
    }
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn percent(byte: u8) -> [u8; 3] {
    [b'%', digit(byte >> 4), digit(byte & 0xf)]
}

fn unicode(byte: u8) -> [u8; 6] {
    [b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xf)]
}

fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |code, digit| Some(code << 4 | char::from(*digit).to_digit(16)?))
}

/// `text` with every well-formed percent escape resolved, once; the rest as it stands.
pub(super) fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = match after.split_at_checked(2) {
            Some((digits, after)) if *byte == b'%' => hexadecimal(digits).map(|code| (code, after)),
            _ => None,
        };
        let code = escaped.and_then(|(code, after)| Some((u8::try_from(code).ok()?, after)));
        let (byte, after) = code.unwrap_or((*byte, after));
        out.push(byte);
        rest = after;
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved_once_and_the_malformed_left() {
        for (text, decoded) in [
            ("/plain", "/plain"),
            ("/%41%62%2d%5F", "/Ab-_"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%%41", "%A"),
            ("%2541", "%41"),
        ] {
            assert_eq!(percent_decoded(text.as_bytes()), decoded.as_bytes(), "{text}");
        }
    }

    #[test]
    fn a_placeholder_is_found_however_it_is_escaped() {
        let patterns = Patterns::new(&[b"ab-cd"]).unwrap();
        let spans = |spelling: Spelling, text: &str, more| {
            let (found, hold) = spelling.find(&patterns, text.as_bytes(), more);
            (found.into_iter().map(|found| found.span).collect::<Vec<_>>(), hold)
        };
        let found = |start, end, hold| (vec![Range { start, end }], hold);
        assert_eq!(spans(Spelling::Percent, "xab%2dcd", More::May), found(1, 8, 8));
        assert_eq!(spans(Spelling::Percent, "%61b-c%64a", More::May), found(0, 9, 9));
        assert_eq!(spans(Spelling::Percent, "%61b-c%6", More::May), (vec![], 0));
        assert_eq!(spans(Spelling::Percent, "x%20%6", More::May), (vec![], 4));
        assert_eq!(spans(Spelling::Percent, "x%20%6", More::Never), (vec![], 6));
        assert_eq!(spans(Spelling::Percent, "ab%zzab-cdx%a", More::May), found(5, 10, 11));
        assert_eq!(spans(Spelling::Json, r"\\u0061ab\u002Dcd\n", More::May), found(7, 17, 19));
        assert_eq!(spans(Spelling::Json, r"ab\n\u0061b-cd\u00", More::May), found(4, 14, 14));
        assert_eq!(spans(Spelling::Raw, r"\u0061b-cd ab-cd ab", More::May), found(11, 16, 17));
    }

    #[test]
    fn a_value_is_escaped_for_its_place_and_mirrors_what_it_replaces() {
        let spell = |spelling: Spelling, value: &[u8]| spelling.spell(value, b"ab-cd");
        let text = |spelling, value: &[u8]| spell(spelling, value).unwrap().text.to_vec();
        assert_eq!(text(Spelling::Percent, b"a b/\xff~"), b"a%20b%2F%FF~");
        assert_eq!(text(Spelling::Json, "a\"\\\u{1}é".as_bytes()), "a\\\"\\\\\\u0001é".as_bytes());
        assert!(spell(Spelling::Json, b"\xff").is_none());
        let patterns = Patterns::new(&[b"ab-cd"]).unwrap();
        for (spelling, text, written) in [
            (Spelling::Percent, "a%62-%63d", "v%57-%59z"),
            (Spelling::Json, r"ab\u002dcd", r"vW\u002DYz"),
            (Spelling::Raw, "ab-cd", "vW-Yz"),
        ] {
            let (found, _) = spelling.find(&patterns, text.as_bytes(), More::Never);
            let spelled = spell(spelling, b"vW-Yz").unwrap();
            assert!(spelled.keeps_length());
            assert_eq!(spelled.write(&found[0], spelling), written.as_bytes());
        }
        assert!(!spell(Spelling::Percent, b"a/b/c").unwrap().keeps_length());
        assert!(spell(Spelling::Raw, b"\xff/b/c").unwrap().keeps_length());
    }
}
