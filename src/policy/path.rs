//! The path of a request, in every reading that a server may give it.
//!
//! Servers differ in what `%2e`, `//`, `;` and `\` mean, in which order they undo them, and how often. A rule that
//! allows has to hold for every reading, one that denies for any, so that no spelling gets round a rule; where servers
//! differ in how far up `..` leads, no reading is tried at all. It matches nothing by itself. Invariant: a path that all
//! servers read alike has one reading, which costs no allocation.

use std::borrow::Cow;

/// Times that a server, and what stands before it, undo escapes.
const DECODINGS: usize = 2;

/// The readings of one path, without its query ([RFC 3986 §3.3]).
///
/// [RFC 3986 §3.3]: https://www.rfc-editor.org/rfc/rfc3986#section-3.3
#[derive(Debug)]
pub struct Path<'a> {
    /// The canonical one first; never none.
    readings: Vec<Cow<'a, str>>,
    is_unclear: bool,
}

impl<'a> Path<'a> {
    /// Takes the path of an origin-form target, with or without a query behind it; an empty one reads `/`.
    #[must_use]
    pub fn new(target: &'a str) -> Self {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let path = if path.is_empty() { "/" } else { path };
        if is_plain(path) {
            return Self { readings: vec![Cow::Borrowed(path)], is_unclear: false };
        }
        let Some(forms) = forms(canonical(path)) else {
            return Self { readings: vec![Cow::Borrowed(path)], is_unclear: true };
        };
        let mut readings = Vec::new();
        for form in &forms {
            // A backslash is a slash to some, empty segments are none, and dots and blanks at the end of one do not count.
            for text in [form.clone(), form.replace('\\', "/")] {
                let (merged, bare) = (merged(&text), bare(&text));
                keep(&mut readings, text);
                keep(&mut readings, merged);
                keep(&mut readings, bare);
            }
        }
        Self { readings: readings.into_iter().map(Cow::Owned).collect(), is_unclear: false }
    }

    /// All of them, the canonical one first; never none.
    pub(super) fn readings(&self) -> impl Iterator<Item = &str> {
        self.readings.iter().map(AsRef::as_ref)
    }

    /// Whether no list of readings is sure to hold all: it has dot segments, escapes that are none, or ASCII in a form
    /// that is too long for it.
    pub(super) fn is_unclear(&self) -> bool {
        self.is_unclear
    }

    /// Whether servers may differ about it.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.is_unclear || self.readings.len() > 1
    }
}

/// Whether every server reads the same in it: plain text without escapes, empty or dot segments, or parameters.
fn is_plain(path: &str) -> bool {
    path.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b';' | b'\\'))
        && !["//", "/.", "./"].iter().any(|odd| path.contains(odd))
        && !path.ends_with('.')
}

/// `path` with needless escapes undone, the needed ones in capitals (RFC 3986 §6.2.2) and what must be escaped escaped:
/// what stays is what was meant to be data.
pub(super) fn canonical(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, octet(after)) {
            (b'%', Some(octet)) => {
                if is_unreserved(octet) {
                    out.push(char::from(octet));
                } else {
                    escape(&mut out, octet);
                }
                rest = after.get(2..).unwrap_or_default();
            }
            (byte, _) if byte.is_ascii_graphic() => out.push(char::from(*byte)),
            (byte, _) => escape(&mut out, *byte),
        }
    }
    out
}

/// RFC 3986 §2.3.
fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

fn escape(out: &mut String, octet: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().map_or('0', char::from);
    out.extend(['%', digit(octet >> 4), digit(octet & 15)]);
}

/// The octet that two digits at the start of `text` stand for.
fn octet(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

/// `path` as it is, and with escapes undone, parameters left out and an end cut off in every order, the first as it is;
/// `None` where that is unclear.
fn forms(path: String) -> Option<Vec<String>> {
    let mut all = vec![path.clone()];
    let mut last = vec![path];
    for round in 0..=DECODINGS {
        let mut next = Vec::new();
        for form in &last {
            let form = match round {
                0 => form.clone(),
                1 => decoded(form, Fault::Unclear)?,
                _ => decoded(form, Fault::Data)?,
            };
            keep(&mut next, without_parameters(&form, &['/', '\\']));
            keep(&mut next, without_parameters(&form, &['/']));
            // What looks like a query, or NUL, ends it for some.
            keep(&mut next, form.split(['?', '#', '\0']).next().unwrap_or_default().to_owned());
            keep(&mut next, form);
        }
        if next.iter().any(|form| has_dots(form)) {
            return None;
        }
        for form in &next {
            keep(&mut all, form.clone());
        }
        last = next;
    }
    Some(all)
}

fn keep(texts: &mut Vec<String>, text: String) {
    if !texts.contains(&text) {
        texts.push(text);
    }
}

/// What becomes of a `%` without two digits behind it.
#[derive(Clone, Copy)]
pub(super) enum Fault {
    /// Nobody can say what it is.
    Unclear,
    /// It stands for itself: it was escaped before.
    Data,
}

/// `path` with every escape undone once; `None` where it is unclear what that gives. Octets that are no UTF-8 become
/// one mark, but for the long forms of ASCII that some decoders take for it.
pub(super) fn decoded(path: &str, fault: Fault) -> Option<String> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (byte, octet(after), fault) {
            (b'%', Some(octet), _) => {
                out.push(octet);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'%', None, Fault::Unclear) => return None,
            _ => out.push(*byte),
        }
    }
    (!has_long_forms(&out)).then(|| String::from_utf8_lossy(&out).into_owned())
}

/// Whether a sequence is longer than its character needs (RFC 3629 §3).
fn has_long_forms(octets: &[u8]) -> bool {
    let starts = |pair: &[u8]| matches!(pair, [0xC0 | 0xC1, _] | [0xE0, 0x80..=0x9F] | [0xF0, 0x80..=0x8F]);
    octets.windows(2).any(starts)
}

/// Each segment up to its first `;`.
fn without_parameters(path: &str, slashes: &[char]) -> String {
    let mut out = String::with_capacity(path.len());
    let mut is_kept = true;
    for c in path.chars() {
        is_kept = slashes.contains(&c) || is_kept && c != ';';
        if is_kept {
            out.push(c);
        }
    }
    out
}

/// Whether a segment leads up or nowhere; blanks around it count for nothing on some systems.
pub(super) fn has_dots(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| {
        let is_blank = |c: char| c.is_whitespace() || c.is_control();
        matches!(segment.trim_matches(is_blank), "." | "..")
    })
}

/// `path` without empty segments.
fn merged(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

/// `path` with neither dots nor blanks at the end of a segment, which some file systems leave out.
fn bare(path: &str) -> String {
    let segments = path.split('/').map(|segment| segment.trim_end_matches(['.', ' ']));
    merged(&segments.collect::<Vec<_>>().join("/"))
}

#[cfg(test)]
mod tests;
