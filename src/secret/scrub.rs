//! Secrets become placeholders in everything a host of secrets answers.
//!
//! Every secret of the sandbox is looked for, not only those that the host may have: an upstream that got one
//! by other means must not hand it to the guest. It does not frame messages: who changes a body's length must
//! see to Content-Length ([`Scrubber::keeps_length`]). Invariant: what leaves here holds no secret in a form
//! that [`super::forms`] lists, each character as it is or escaped ([`super::escape`]); what cannot be searched is [`Uninspectable`].

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, IF_RANGE, RANGE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::inject::{Injection, ask_for_identity};
use super::patterns::Patterns;
use super::renewal::Renewal;
use super::replace::{Replacements, Replacer};
use crate::coding::{Coding, CodingError};

/// Scrubs the responses of one host.
pub struct Scrubber {
    replacements: Arc<Replacements>,
    /// The secrets in lower case, for header names.
    lower: Arc<Patterns>,
    /// Where the secrets may change while it is in use.
    renewal: Option<Renewal>,
    slices: Slices,
}

/// Whether a host may answer with a part of what it has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slices {
    /// Only secrets that sign requests are known there: none was ever in a place that it could serve again.
    Fine,
    /// What the guest had it store with a secret could come back slice by slice.
    Never,
}

/// Whether a request carried a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Carried {
    /// None.
    Nothing,
    /// One or more.
    Secret,
}

impl Carried {
    /// By what [`super::Injector::inject`] told.
    #[must_use]
    pub fn of(injections: &[Injection]) -> Self {
        if injections.is_empty() { Self::Nothing } else { Self::Secret }
    }
}

/// Why a response cannot be searched for secrets, and must be refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Uninspectable {
    /// A content coding that cannot be taken off.
    #[error("the answer cannot be searched: {0}, though identity was asked for")]
    Coded(CodingError),
    /// A transfer coding.
    #[error("the answer cannot be searched: it has a transfer coding that was not asked for")]
    TransferCoded,
    /// A slice of a coded content.
    #[error("the answer is a part (206) of a coded content, which cannot be decoded")]
    CodedPart,
    /// A slice, where a request with a secret asked for the whole.
    #[error("the answer to a request with a secret is a part (206), which could cut the secret in two")]
    Part,
    /// A slice that nobody asked for.
    #[error("the answer is a part (206) though the whole was asked for, and could cut a secret in two")]
    UnaskedPart,
    /// Several slices in one body.
    #[error("the answer is in several parts (multipart/byteranges), which could cut a secret in two")]
    Parts,
}

impl Scrubber {
    pub(super) fn new(replacements: Arc<Replacements>, lower: Arc<Patterns>, slices: Slices) -> Self {
        Self { replacements, lower, renewal: None, slices }
    }

    pub(super) fn renewed_by(self, renewal: Renewal) -> Self {
        Self { renewal: Some(renewal), ..self }
    }

    /// The one of now, where the secrets have changed since this one was made.
    fn next(&self) -> Option<Self> {
        self.renewal.as_ref().and_then(Renewal::next)
    }

    /// Prepares a request to this host, with a secret or without: it asks for the whole, in the `identity` coding, so
    /// that the answer can be scrubbed. Ranges of the guest's choice would bring a secret slice by slice; only a host
    /// that knows no secrets but those that sign requests is asked for them.
    pub fn request(&self, headers: &mut HeaderMap) {
        ask_for_identity(headers);
        if self.slices == Slices::Never {
            for name in [RANGE, IF_RANGE, REQUEST_RANGE] {
                headers.remove(name);
            }
        }
    }

    /// Scrubs the fields of a response, a 1xx or the trailers.
    ///
    /// Every value is; a field whose very name holds a secret, in whatever case, is removed.
    pub fn headers(&self, headers: &mut HeaderMap) {
        if let Some(next) = self.next() {
            return next.headers(headers);
        }
        for value in headers.values_mut() {
            let Some(scrubbed) = self.text(value.as_bytes()) else { continue };
            let sensitive = value.is_sensitive();
            // A placeholder is always a valid value; should the rest not be, nothing is shown.
            *value = HeaderValue::try_from(scrubbed).unwrap_or(HeaderValue::from_static(""));
            value.set_sensitive(sensitive);
        }
        let named: Vec<HeaderName> = headers.keys().filter(|name| self.is_named(name)).cloned().collect();
        for name in named {
            headers.remove(name);
        }
    }

    fn is_named(&self, name: &HeaderName) -> bool {
        self.lower.is_in(name.as_str().as_bytes())
    }

    /// Scrubs a text that is all there, such as a reason phrase; `None` where it is clean.
    #[must_use]
    pub fn text(&self, text: &[u8]) -> Option<Vec<u8>> {
        let next = self.next();
        next.as_ref().unwrap_or(self).replacements.replace(text)
    }

    /// Begins to scrub a body.
    #[must_use]
    pub fn body(&self) -> ScrubStream {
        let next = self.next();
        let Self { replacements, renewal, .. } = next.as_ref().unwrap_or(self);
        ScrubStream { replacer: Replacer::new(Arc::clone(replacements)), renewal: renewal.clone() }
    }

    /// Whether a scrubbed body has the length it had. If not, a response loses its Content-Length.
    #[must_use]
    pub fn keeps_length(&self) -> bool {
        let next = self.next();
        next.as_ref().unwrap_or(self).replacements.keeps_length()
    }

    /// Whether the body can be searched as it comes, and the coding to be taken off first; if not, the response
    /// must be refused.
    ///
    /// To be asked before [`Scrubber::headers`], and of whatever may have content, 204 and 304 too: h2 has no rule
    /// that keeps an upstream from sending it.
    pub fn inspectable(&self, parts: &Parts, carried: Carried) -> Result<Option<Coding>, Uninspectable> {
        let coding = Coding::of(&parts.headers).map_err(Uninspectable::Coded)?;
        let transfer = parts.headers.get_all(TRANSFER_ENCODING);
        if !transfer.iter().all(|value| is_list_of(value, "chunked")) {
            return Err(Uninspectable::TransferCoded);
        }
        if parts.status == StatusCode::PARTIAL_CONTENT && coding.is_some() {
            return Err(Uninspectable::CodedPart);
        }
        if parts.status == StatusCode::PARTIAL_CONTENT
            && (self.slices == Slices::Never || carried == Carried::Secret)
        {
            return Err(match carried {
                Carried::Secret => Uninspectable::Part,
                Carried::Nothing => Uninspectable::UnaskedPart,
            });
        }
        if parts.headers.get_all(CONTENT_TYPE).iter().any(is_byteranges) {
            return Err(Uninspectable::Parts);
        }
        Ok(coding)
    }
}

/// Whether every member of a comma-separated list is `word`, in any case; an empty list is one.
fn is_list_of(value: &HeaderValue, word: &str) -> bool {
    let members = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.into_iter().all(|member| member.is_empty() || member.eq_ignore_ascii_case(word.as_bytes()))
}

fn is_byteranges(value: &HeaderValue) -> bool {
    let mut parts = value.as_bytes().split(|byte| matches!(byte, b';' | b','));
    let kinds: [&[u8]; 2] = [b"multipart/byteranges", b"multipart/x-byteranges"];
    parts.any(|part| kinds.iter().any(|kind| part.trim_ascii().eq_ignore_ascii_case(kind)))
}

/// `Range` as it was before RFC 2068, which some servers still know.
const REQUEST_RANGE: HeaderName = HeaderName::from_static("request-range");

/// One body on its way to the guest.
pub struct ScrubStream {
    replacer: Replacer,
    renewal: Option<Renewal>,
}

impl ScrubStream {
    /// Takes note of what the secrets have become.
    fn renew(&mut self) {
        let Some(next) = self.renewal.as_ref().and_then(Renewal::next) else { return };
        self.replacer.renew(next.replacements);
        self.renewal = next.renewal;
    }

    /// Takes the next chunk and gives what is clean, maybe nothing.
    ///
    /// A chunk without a secret comes back uncopied; no more waits than the beginning of a secret.
    pub fn push(&mut self, chunk: Bytes) -> Bytes {
        self.renew();
        self.replacer.push(chunk)
    }

    /// Ends the body and gives what waited.
    pub fn finish(&mut self) -> Bytes {
        self.renew();
        self.replacer.finish()
    }

    /// Bytes that wait for more.
    #[must_use]
    pub fn held(&self) -> usize {
        self.replacer.held()
    }

    /// Lets what waits go, where that is `most` bytes or less: the source has fallen silent.
    ///
    /// A peer may wait for the end of a message that happens to end as a secret begins. Should the rest of
    /// a secret follow all the same, the guest sees no more of it than these bytes.
    pub fn release(&mut self, most: usize) -> Bytes {
        self.replacer.release(most)
    }

    /// Whether [`ScrubStream::release`] would let anything go.
    #[must_use]
    pub fn is_releasable(&self, most: usize) -> bool {
        self.replacer.releasable(most) > 0
    }
}
