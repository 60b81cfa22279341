//! The path of a request, in every reading that a server may give it.
//!
//! Servers differ in what `%2e`, `//`, `;` and `\` mean. A rule that allows has to hold for every reading, one that
//! denies for any, so that no spelling gets round a rule. It matches nothing by itself. Invariant: a path that all
//! servers read alike has one reading, which costs no allocation.

use std::borrow::Cow;

/// The readings of one path, without its query ([RFC 3986 §3.3]).
///
/// [RFC 3986 §3.3]: https://www.rfc-editor.org/rfc/rfc3986#section-3.3
#[derive(Debug)]
pub struct Path<'a>(Vec<Cow<'a, str>>);

impl<'a> Path<'a> {
    /// Takes the path of an origin-form target, with or without a query behind it; an empty one reads `/`.
    #[must_use]
    pub fn new(target: &'a str) -> Self {
        let path = target.split(['?', '#']).next().unwrap_or_default();
        let path = if path.is_empty() { "/" } else { path };
        if is_plain(path) {
            return Self(vec![Cow::Borrowed(path)]);
        }
        let once = decoded(path);
        let twice = decoded(&once);
        // What stands behind ';' in a segment is a parameter to some, a part of its name to others.
        let parameterless = [folded(&without_parameters(&once)), folded(&without_parameters(&twice))];
        let whole = [canonical(path), folded(&once), folded(&twice)];
        let mut readings: Vec<Cow<'a, str>> = vec![Cow::Borrowed(path)];
        for text in whole.into_iter().chain(parameterless) {
            if !readings.iter().any(|own| **own == *text) {
                readings.push(Cow::Owned(text));
            }
        }
        Self(readings)
    }

    /// All of them, the literal one first; never none.
    pub(super) fn readings(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Whether servers may differ about it.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        self.0.len() > 1
    }
}

/// Whether every server reads the same in it: no escapes, no empty or dot segments, no parameters.
fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    !bytes.iter().any(|byte| matches!(byte, b'%' | b';' | b'\\') || byte.is_ascii_control())
        && !path.contains("//")
        && !path.contains("/.")
}

/// `path` with needless escapes undone and the needed ones in capitals (RFC 3986 §6.2.2): what stays is what was meant
/// to be data.
fn canonical(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        match octet(escape) {
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') => {
                out.push(char::from(byte));
            }
            Some(_) => out.push_str(&escape.get(..3).unwrap_or_default().to_ascii_uppercase()),
            None => {
                out.push('%');
                rest = escape.get(1..).unwrap_or_default();
                continue;
            }
        }
        rest = escape.get(3..).unwrap_or_default();
    }
    out.push_str(rest);
    out
}

/// The octet that `%XX` at the start of `text` stands for.
fn octet(text: &str) -> Option<u8> {
    let digits = text.get(1..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u8::from_str_radix(digits, 16).ok()
}

/// `path` with every escape undone once; octets that are no text become one mark.
fn decoded(path: &str) -> String {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        match octet(escape) {
            Some(byte) => {
                out.push(byte);
                rest = escape.get(3..).unwrap_or_default();
            }
            None => {
                out.push(b'%');
                rest = escape.get(1..).unwrap_or_default();
            }
        }
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// Each segment up to its first `;`.
fn without_parameters(path: &str) -> String {
    let segments = path.split(['/', '\\']).map(|segment| segment.split(';').next().unwrap_or_default());
    segments.collect::<Vec<_>>().join("/")
}

/// `\` as `/`, what a query or NUL would cut off cut off, empty and dot segments removed (RFC 3986 §5.2.4).
fn folded(path: &str) -> String {
    let path = path.split(['?', '#', '\0']).next().unwrap_or_default();
    let mut kept: Vec<&str> = Vec::new();
    let mut is_directory = true;
    for segment in path.split(['/', '\\']) {
        is_directory = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let end = if is_directory && !kept.is_empty() { "/" } else { "" };
    format!("/{}{end}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(target: &str) -> Vec<String> {
        Path::new(target).readings().map(str::to_owned).collect()
    }

    #[test]
    fn a_plain_path_has_one_reading() {
        for (target, path) in
            [("/a/b?x=/../y", "/a/b"), ("/", "/"), ("", "/"), ("/a/", "/a/"), ("/a-b_~", "/a-b_~")]
        {
            assert_eq!(readings(target), [path], "{target}");
        }
    }

    #[test]
    fn what_some_server_reads_otherwise_has_that_reading_too() {
        let table = [
            ("/a/../b", "/b"),
            ("/a/%2e%2e/b", "/b"),
            ("/a/.%2E/b", "/b"),
            ("/a/%252e%252e/b", "/b"),
            ("/a//b", "/a/b"),
            ("//a", "/a"),
            ("/a/./b", "/a/b"),
            ("/a%2fb", "/a/b"),
            ("/a%252Fb", "/a/b"),
            ("/a\\b", "/a/b"),
            ("/a%5c..%5cb", "/b"),
            ("/a;x=1/b", "/a/b"),
            ("/a/..;/b", "/b"),
            ("/%61dmin", "/admin"),
            ("/a%00b", "/a"),
            ("/a%3Fb", "/a"),
            ("/../../a", "/a"),
            ("/a/b/..", "/a/"),
        ];
        for (target, reading) in table {
            assert!(readings(target).iter().any(|own| own == reading), "{target}: {:?}", readings(target));
        }
    }

    #[test]
    fn escapes_of_data_stay_in_one_reading() {
        assert!(readings("/p/%67roup%2fname").contains(&"/p/group%2Fname".to_owned()));
        assert!(readings("/a%zz").contains(&"/a%zz".to_owned()));
    }
}
