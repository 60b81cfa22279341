//! Placeholders on their way to where their secrets have no business.
//!
//! A placeholder is worthless to who gets it; but one in a header or a URL toward a stranger is a mistake or
//! an attempt. It is found as it stands, percent-encoded once or twice, escaped as in JSON, in base64, and in
//! pieces over several fields. Bodies stream by elsewhere. Invariant: it tells names and places, never a value,
//! and changes nothing but placeholders to be redacted.

use std::borrow::Cow;

use http::HeaderMap;
use http::HeaderValue;
use http::Uri;
use http::request::Parts;
use http::uri::PathAndQuery;

use super::basic::Basic;
use super::book::Book;
use super::elsewhere::Reaction;
use super::spec::Entry;
use super::spelling::{More, Spelling, percent_decoded};
use crate::name::{Origin, Scheme};
use crate::tls::VerifiedPeer;

/// A placeholder in a request to an origin that may not have its secret, nor get the placeholder.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Misplaced {
    /// The secret's name.
    pub secret: String,
    /// The place: `host`, `url`, `header:NAME`, `basic`, `header name`, or `header` for pieces in several.
    pub place: String,
    /// What is to be done about it: it is denied, or the sandbox ends.
    pub reaction: Reaction,
}

/// Who gets a request: by entry, whether it may not have the secret.
struct Strangers<'a> {
    book: &'a Book,
    peer: Option<&'a VerifiedPeer>,
    found: Option<Misplaced>,
}

impl Book {
    /// As [`super::Secrets::misplaced`].
    pub(super) fn misplaced(
        &self,
        origin: &Origin,
        parts: &mut Parts,
        verified: Option<&VerifiedPeer>,
    ) -> Option<Misplaced> {
        let peer = verified.filter(|peer| origin.scheme == Scheme::Https && *peer.name() == origin.host);
        let mut strangers = Strangers { book: self, peer, found: None };
        let is_concerned = |entry: &Entry| {
            strangers.is_stranger(entry)
                && [entry.elsewhere.url, entry.elsewhere.header].iter().any(|own| *own != Reaction::Inert)
        };
        if !self.entries().iter().any(is_concerned) {
            return None;
        }
        strangers.redact(parts);
        for (_, entry) in self.find_lower(origin.host.as_str().as_bytes()) {
            strangers.tell(entry, entry.elsewhere.url, "host");
        }
        let target = parts.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
        strangers.in_url(target);
        strangers.in_fields(&parts.headers);
        strangers.found
    }
}

impl Strangers<'_> {
    fn is_stranger(&self, entry: &Entry) -> bool {
        !self.peer.is_some_and(|peer| entry.may_go(peer.name(), peer.port()))
    }

    /// Notes what was found, the worst of it first; what was to be redacted and is still there cannot be.
    fn tell(&mut self, entry: &Entry, reaction: Reaction, place: &str) {
        let reaction = match reaction {
            Reaction::Inert => return,
            Reaction::Redact | Reaction::Deny => Reaction::Deny,
            Reaction::Terminate => Reaction::Terminate,
        };
        let worse = self
            .found
            .as_ref()
            .is_none_or(|known| known.reaction == Reaction::Deny && reaction == Reaction::Terminate);
        if worse && self.is_stranger(entry) {
            self.found = Some(Misplaced { secret: entry.name.clone(), place: place.to_owned(), reaction });
        }
    }

    /// Looks for every placeholder in every reading of `text`.
    fn look(&mut self, text: &[u8], reaction: fn(&Entry) -> Reaction, place: &str) {
        let book = self.book;
        for reading in readings(text) {
            for hit in book.spread().find_all(&reading) {
                let Some(entry) = book.entries().get(book.owner(hit.pattern)) else { continue };
                self.tell(entry, reaction(entry), place);
            }
        }
    }

    fn in_url(&mut self, target: &str) {
        let reaction = |entry: &Entry| entry.elsewhere.url;
        self.look(target.as_bytes(), reaction, "url");
        // In pieces: over the segments of the path, over the parameters of the query.
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let values = query.split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        self.look(path.replace('/', "").as_bytes(), reaction, "url");
        self.look(values.collect::<String>().as_bytes(), reaction, "url");
    }

    fn in_fields(&mut self, headers: &HeaderMap) {
        let (book, reaction) = (self.book, |entry: &Entry| entry.elsewhere.header);
        for (name, value) in headers {
            if let Some(basic) = Basic::parse(value.as_bytes()) {
                self.look(basic.credentials(), reaction, "basic");
            }
            self.look(value.as_bytes(), reaction, &format!("header:{name}"));
            for (_, entry) in book.find_lower(name.as_str().as_bytes()) {
                self.tell(entry, entry.elsewhere.header, "header name");
            }
        }
        let together: Vec<u8> = headers.values().flat_map(HeaderValue::as_bytes).copied().collect();
        self.look(&together, reaction, "header");
    }

    /// Cuts out what is to be redacted and stands in one piece.
    fn redact(&self, parts: &mut Parts) {
        for value in parts.headers.values_mut() {
            let cut = self.redacted(value.as_bytes(), Spelling::Raw, |entry| entry.elsewhere.header);
            if let Some(cut) = cut.and_then(|cut| HeaderValue::try_from(cut).ok()) {
                *value = cut;
            }
        }
        let target = parts.uri.path_and_query().map(PathAndQuery::as_str).unwrap_or_default();
        let Some(cut) = self.redacted(target.as_bytes(), Spelling::Percent, |entry| entry.elsewhere.url)
        else {
            return;
        };
        let mut uri = parts.uri.clone().into_parts();
        uri.path_and_query = PathAndQuery::try_from(cut).ok();
        if let Ok(uri) = Uri::from_parts(uri) {
            parts.uri = uri;
        }
    }

    fn redacted(&self, text: &[u8], spelling: Spelling, reaction: fn(&Entry) -> Reaction) -> Option<Vec<u8>> {
        let (found, _) = spelling.find(self.book.spread(), text, More::Never);
        let is_cut = |pattern: usize| {
            let entry = self.book.entries().get(self.book.owner(pattern));
            entry.is_some_and(|entry| reaction(entry) == Reaction::Redact && self.is_stranger(entry))
        };
        let mut out: Option<Vec<u8>> = None;
        for found in found.iter().filter(|found| is_cut(found.pattern)) {
            let out = out.get_or_insert_with(|| text.to_vec());
            out.get_mut(found.span.clone()).unwrap_or_default().fill(b'x');
        }
        out
    }
}

/// `text` as it stands, and with its escapes resolved where it has any.
fn readings(text: &[u8]) -> Vec<Cow<'_, [u8]>> {
    let mut readings = vec![Cow::Borrowed(text)];
    if text.contains(&b'%') {
        let once = percent_decoded(text).into_owned();
        if once.contains(&b'%') {
            readings.push(Cow::Owned(percent_decoded(&once).into_owned()));
        }
        readings.push(Cow::Owned(once));
    }
    let escaped = readings.iter().filter(|reading| reading.contains(&b'\\'));
    let unescaped: Vec<_> = escaped.map(|reading| Cow::Owned(json_decoded(reading))).collect();
    readings.extend(unescaped);
    readings
}

/// `text` with `\uXXXX` resolved where it is ASCII, and any other backslash left out.
fn json_decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = match after {
            [b'u', b'0', b'0', high, low, after @ ..] if *byte == b'\\' => {
                out.extend_from_slice(&percent_decoded(&[b'%', *high, *low]));
                after
            }
            [escaped, after @ ..] if *byte == b'\\' => {
                out.push(*escaped);
                after
            }
            _ => {
                out.push(*byte);
                after
            }
        };
    }
    out
}
