//! An upstream's content as the guest gets it: without its coding, then without secrets.
//!
//! It frames nothing and pulls nothing: whoever has the upstream's frames pushes them, one at a time, and takes what
//! becomes of them step by step. Invariant: what cannot be decoded to its end never ends well.

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, ETAG};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::held::Held;
use crate::coding::{Coding, CodingError, Decoder};
use crate::limits::Limits;
use crate::secret::ScrubStream;

/// A content on its way to the guest.
pub(super) struct Identity {
    /// None where the content has no coding.
    decoder: Option<Box<Decoder>>,
    /// What a match may still begin with is held back to the next piece, the end, or a silence.
    pub(super) held: Held,
}

impl Identity {
    pub(super) fn new(coding: Option<Coding>, scrub: ScrubStream, limits: &Limits) -> Self {
        let decoder = coding.map(|coding| Box::new(Decoder::new(coding, limits)));
        Self { decoder, held: Held::new(scrub, limits) }
    }

    /// Whether the content has the octets that were sent, but for what scrubbing changes.
    pub(super) fn is_as_sent(&self) -> bool {
        self.decoder.is_none()
    }

    /// Takes what the upstream sent, once nothing is [left](Self::has_more) of what it sent before.
    pub(super) fn push(&mut self, chunk: Bytes) -> Result<Bytes, CodingError> {
        let plain = match &mut self.decoder {
            Some(decoder) => decoder.push(chunk)?,
            None => chunk,
        };
        // A step of nothing is no sign of life to what waits for a silence.
        Ok(if plain.is_empty() { plain } else { self.held.push(plain) })
    }

    /// Whether [`Identity::push`] of nothing would give more.
    pub(super) fn has_more(&self) -> bool {
        self.decoder.as_ref().is_some_and(|decoder| decoder.has_more())
    }

    /// Gives what waited, if the content may end here. To be called when there is no more.
    pub(super) fn finish(&mut self) -> Result<Bytes, CodingError> {
        if let Some(decoder) = &mut self.decoder {
            decoder.finish()?;
        }
        Ok(self.held.finish())
    }
}

/// Fields that vouch for the octets of the coded content.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// Makes the fields, or trailers, of a coded answer those of its content without the coding ([RFC 9110 §7.7]). The
/// length is the caller's to say.
///
/// [RFC 9110 §7.7]: https://www.rfc-editor.org/rfc/rfc9110#section-7.7
pub(super) fn rewrite(fields: &mut HeaderMap) {
    fields.remove(CONTENT_ENCODING);
    for name in DIGESTS {
        fields.remove(name);
    }
    // A range would be one of the coded octets.
    if fields.contains_key(ACCEPT_RANGES) {
        fields.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    }
    weaken(fields);
}

/// A strong tag stands for octets the guest does not get ([RFC 9110 §8.8.1]).
///
/// [RFC 9110 §8.8.1]: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.1
fn weaken(fields: &mut HeaderMap) {
    if let Some(tag) = fields.remove(ETAG)
        && let Some(weak) = weak(&tag)
    {
        fields.insert(ETAG, weak);
    }
}

fn weak(tag: &HeaderValue) -> Option<HeaderValue> {
    match tag.as_bytes() {
        [b'W', b'/', ..] => Some(tag.clone()),
        strong @ [b'"', ..] => HeaderValue::from_bytes(&[b"W/", strong].concat()).ok(),
        _ => None,
    }
}

/// Has a 304 name its tag as the guest does that `asked` (If-None-Match): by the weak one that a coded answer got.
pub(super) fn name_as_asked(fields: &mut HeaderMap, asked: Option<&HeaderValue>) {
    let Some(weak) = fields.get(ETAG).and_then(weak) else { return };
    let is_named = |asked: &HeaderValue| memchr::memmem::find(asked.as_bytes(), weak.as_bytes()).is_some();
    if asked.is_some_and(is_named) {
        fields.insert(ETAG, weak);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let named = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        fields.iter().map(named).collect()
    }

    #[test]
    fn what_speaks_of_the_coded_octets_is_gone_and_the_rest_stays() {
        let mut coded = fields(&[
            ("content-encoding", "gzip"),
            ("content-digest", "sha-256=:x:"),
            ("repr-digest", "sha-256=:x:"),
            ("digest", "md5=x"),
            ("content-md5", "x"),
            ("accept-ranges", "bytes"),
            ("etag", "\"v1\""),
            ("vary", "accept-encoding"),
            ("content-type", "text/plain"),
        ]);
        rewrite(&mut coded);
        let left = [
            ("accept-ranges", "none"),
            ("etag", "W/\"v1\""),
            ("vary", "accept-encoding"),
            ("content-type", "text/plain"),
        ];
        assert_eq!(coded, fields(&left));
    }

    #[test]
    fn a_tag_is_weak_or_gone() {
        for (tag, weak) in [
            ("\"a\"", Some("W/\"a\"")),
            ("W/\"a\"", Some("W/\"a\"")),
            ("a", None),
            ("w/\"a\"", None),
            ("", None),
        ] {
            let mut coded = fields(&[("etag", tag)]);
            rewrite(&mut coded);
            assert_eq!(coded.get(ETAG).map(|tag| tag.to_str().unwrap()), weak, "{tag}");
        }
    }

    #[test]
    fn a_304_names_its_tag_as_it_was_asked_for() {
        let named = |asked: Option<&'static str>| {
            let mut answer = fields(&[("etag", "\"a\"")]);
            name_as_asked(&mut answer, asked.map(HeaderValue::from_static).as_ref());
            answer[ETAG].to_str().unwrap().to_owned()
        };
        assert_eq!(named(Some("W/\"b\", W/\"a\"")), "W/\"a\"");
        for other in [None, Some("\"a\""), Some("W/\"b\""), Some("*")] {
            assert_eq!(named(other), "\"a\"", "{other:?}");
        }
    }
}
