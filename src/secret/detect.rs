//! Placeholders on their way to where their secrets have no business.
//!
//! A placeholder is worthless to who gets it; but one in a header or a URL toward a stranger is a mistake or
//! an attempt, and the request is denied. Bodies are not looked at: a transcript full of placeholders must
//! not kill a session. Invariant: it tells names and places, never a value, and changes nothing.

use std::borrow::Cow;

use http::HeaderMap;
use http::request::Parts;

use super::basic::Basic;
use super::book::Book;
use super::patterns::Hit;
use super::spec::Entry;
use crate::name::{Origin, Scheme};
use crate::tls::VerifiedPeer;

/// A placeholder in a request to an origin that may not have its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Misplaced {
    /// The secret's name.
    pub secret: String,
    /// The place: `host`, `url`, `header:NAME`, `basic`, or `header name`.
    pub place: String,
}

impl Book {
    /// As [`super::Secrets::misplaced`].
    pub(super) fn misplaced(
        &self,
        origin: &Origin,
        parts: &Parts,
        verified: Option<&VerifiedPeer>,
    ) -> Option<Misplaced> {
        if self.entries().is_empty() {
            return None;
        }
        let peer = verified.filter(|peer| origin.scheme == Scheme::Https && *peer.name() == origin.host);
        let stranger = |entry: &Entry| !peer.is_some_and(|peer| entry.may_go(peer.name(), peer.port()));
        let at =
            |place: &str, entry: &Entry| Misplaced { secret: entry.name.clone(), place: place.to_owned() };
        if let Some(entry) = first(self.find_lower(origin.host.as_str().as_bytes()), stranger) {
            return Some(at("host", entry));
        }
        let target = parts.uri.path_and_query().map(|target| target.as_str()).unwrap_or_default();
        if let Some(entry) = first(self.find(&percent_decoded(target.as_bytes())), stranger) {
            return Some(at("url", entry));
        }
        self.misplaced_in(&parts.headers, stranger)
    }

    fn misplaced_in(&self, headers: &HeaderMap, stranger: impl Fn(&Entry) -> bool) -> Option<Misplaced> {
        headers.iter().find_map(|(name, value)| {
            let at = |place: String, entry: &Entry| Misplaced { secret: entry.name.clone(), place };
            if let Some(entry) = first(self.find(value.as_bytes()), &stranger) {
                return Some(at(format!("header:{name}"), entry));
            }
            if let Some(entry) = first(self.find_lower(name.as_str().as_bytes()), &stranger) {
                return Some(at("header name".to_owned(), entry));
            }
            let basic = Basic::parse(value.as_bytes())?;
            let entry = first(self.find(basic.credentials()), &stranger)?;
            Some(at("basic".to_owned(), entry))
        })
    }
}

fn first<'a>(
    mut found: impl Iterator<Item = (Hit, &'a Entry)>,
    stranger: impl Fn(&Entry) -> bool,
) -> Option<&'a Entry> {
    found.find_map(|(_, entry)| stranger(entry).then_some(entry))
}

/// `text` with every well-formed percent escape resolved, once; the rest as it stands.
fn percent_decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let escaped = (*byte == b'%').then(|| escape(after)).flatten();
        let (byte, after) = escaped.unwrap_or((*byte, after));
        out.push(byte);
        rest = after;
    }
    Cow::Owned(out)
}

/// The octet that two hexadecimal digits spell, and what follows them.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([high, low], after) = text.split_first_chunk()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(*high)? << 4 | digit(*low)?, after))
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
}
