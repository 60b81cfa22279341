//! The canonical request: the one text that client and service both derive from a request.

use http::request::Parts;

use super::{AwsError, Place};

/// How a path becomes canonical, which depends on the service.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum PathForm {
    /// As it is sent: S3, whose keys may contain dot segments.
    Sent,
    /// Escaped once more: every other service.
    Escaped,
    /// Without dot segments and empty segments, then escaped once more: those again, as most clients have it.
    Normal,
}

impl PathForm {
    /// The forms in which clients sign for a service, the likeliest first.
    pub(super) fn of(service: &str) -> [Self; 3] {
        if service.starts_with("s3") {
            [Self::Sent, Self::Escaped, Self::Normal]
        } else {
            [Self::Normal, Self::Escaped, Self::Sent]
        }
    }

    fn write(self, path: &str) -> String {
        match self {
            Self::Sent => path.to_owned(),
            Self::Escaped => escaped(path),
            Self::Normal => escaped(&normal(path)),
        }
    }
}

/// What a canonical request has that is not in the request, or not in this form.
pub(super) struct Canonical<'a> {
    pub(super) form: PathForm,
    pub(super) authority: &'a str,
    pub(super) payload: &'a str,
}

impl Canonical<'_> {
    /// The canonical request that covers the fields `signed`.
    pub(super) fn text(&self, parts: &Parts, signed: &[String], place: Place) -> Result<Vec<u8>, AwsError> {
        let path = Some(parts.uri.path()).filter(|path| !path.is_empty()).unwrap_or("/");
        let mut text = Vec::new();
        for line in [parts.method.as_str(), &self.form.write(path), &query(parts.uri.query(), place)] {
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        for name in signed {
            text.extend_from_slice(name.as_bytes());
            text.push(b':');
            self.write_values(&mut text, parts, name)?;
            text.push(b'\n');
        }
        text.push(b'\n');
        text.extend_from_slice(signed.join(";").as_bytes());
        text.push(b'\n');
        text.extend_from_slice(self.payload.as_bytes());
        Ok(text)
    }

    fn write_values(&self, text: &mut Vec<u8>, parts: &Parts, name: &str) -> Result<(), AwsError> {
        if name == "host" {
            text.extend_from_slice(self.authority.as_bytes());
            return Ok(());
        }
        let mut values = parts.headers.get_all(name).iter().peekable();
        if values.peek().is_none() {
            return Err(AwsError::Malformed("list of signed headers"));
        }
        while let Some(value) = values.next() {
            write_folded(text, value.as_bytes());
            if values.peek().is_some() {
                text.push(b',');
            }
        }
        Ok(())
    }
}

/// A field's value without blanks around it, and with one for several inside.
fn write_folded(text: &mut Vec<u8>, value: &[u8]) {
    let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    text.extend_from_slice(words.next().unwrap_or_default());
    for word in words {
        text.push(b' ');
        text.extend_from_slice(word);
    }
}

/// The parameters in canonical escapes and in order, without the signature itself.
fn query(query: Option<&str>, place: Place) -> String {
    let mut pairs: Vec<(String, String)> = query
        .unwrap_or_default()
        .split('&')
        .filter(|piece| !piece.is_empty())
        .map(|piece| {
            let (name, value) = piece.split_once('=').unwrap_or((piece, ""));
            (encoded(&decoded(name)), encoded(&decoded(value)))
        })
        .filter(|(name, _)| place == Place::Field || name != "X-Amz-Signature")
        .collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// The name of one piece of a query, its escapes resolved.
pub(super) fn name_of(piece: &str) -> String {
    let (name, _) = piece.split_once('=').unwrap_or((piece, ""));
    String::from_utf8(decoded(name)).unwrap_or_default()
}

/// The value of the only parameter of this name.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    let mut found = query.split('&').filter(|piece| name_of(piece) == name);
    let piece = found.next().filter(|_| found.next().is_none())?;
    let (_, value) = piece.split_once('=')?;
    String::from_utf8(decoded(value)).ok()
}

/// Percent escapes resolved; what is none stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*byte);
                rest = after;
            }
        }
    }
    out
}

/// Every octet but the unreserved as a percent escape (RFC 3986 §2.3), in upper case.
pub(super) fn encoded(octets: &[u8]) -> String {
    let mut out = String::with_capacity(octets.len());
    for octet in octets {
        write_escaped(&mut out, *octet, b"-_.~");
    }
    out
}

/// A path escaped once more; slashes stay.
fn escaped(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for octet in path.bytes() {
        write_escaped(&mut out, octet, b"-_.~/");
    }
    out
}

fn write_escaped(out: &mut String, octet: u8, plain: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    if octet.is_ascii_alphanumeric() || plain.contains(&octet) {
        out.push(char::from(octet));
        return;
    }
    out.push('%');
    for nibble in [octet >> 4, octet & 15] {
        out.push(char::from(DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0')));
    }
}

/// A path without dot segments and empty segments (RFC 3986 §5.2.4, then runs of slashes).
fn normal(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            _ => kept.push(segment),
        }
    }
    let ends_open = ["/", "/.", "/.."].iter().any(|end| path.ends_with(end));
    let joined = kept.join("/");
    if ends_open && !kept.is_empty() { format!("/{joined}/") } else { format!("/{joined}") }
}
