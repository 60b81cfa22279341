//! Secrets become placeholders in everything a host of secrets answers.
//!
//! Every secret of the sandbox is looked for, not only those that the host may have: an upstream that got one
//! by other means must not hand it to the guest. It does not frame messages: who changes a body's length must
//! see to Content-Length ([`Scrubber::keeps_length`]). Invariant: what leaves here holds no secret in a form
//! that [`super::spec`] lists; what cannot be searched is [`Uninspectable`].

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::inject::{Injection, ask_for_identity};
use super::patterns::Patterns;
use super::renewal::Renewal;
use super::replace::{Replacements, Replacer};

/// Scrubs the responses of one host.
pub struct Scrubber {
    replacements: Arc<Replacements>,
    /// The secrets in lower case, for header names.
    lower: Arc<Patterns>,
    /// Where the secrets may change while it is in use.
    renewal: Option<Renewal>,
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
    /// A content or transfer coding.
    #[error("the answer is compressed or otherwise coded, though identity was asked for")]
    Coded,
    /// A slice, where a request with a secret asked for the whole.
    #[error("the answer to a request with a secret is a part (206), which could cut the secret in two")]
    Part,
    /// Several slices in one body.
    #[error("the answer is in several parts (multipart/byteranges), which could cut a secret in two")]
    Parts,
}

impl Scrubber {
    pub(super) fn new(replacements: Replacements, lower: Arc<Patterns>) -> Self {
        Self { replacements: Arc::new(replacements), lower, renewal: None }
    }

    pub(super) fn renewed_by(self, renewal: Renewal) -> Self {
        Self { renewal: Some(renewal), ..self }
    }

    /// The one of now, where the secrets have changed since this one was made.
    fn next(&self) -> Option<Self> {
        self.renewal.as_ref().and_then(Renewal::next)
    }

    /// Prepares a request to this host: it asks for the `identity` coding, so that the answer can be scrubbed.
    ///
    /// An injector does the same; plain HTTP has none.
    pub fn request(&self, headers: &mut HeaderMap) {
        ask_for_identity(headers);
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
        self.lower.find(name.as_str().as_bytes(), 0).is_some()
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

    /// Whether the body can be searched as it comes; if not, the response must be refused.
    ///
    /// To be asked before [`Scrubber::headers`], and not of an answer to HEAD, which has no body to hide in.
    pub fn inspectable(&self, parts: &Parts, carried: Carried) -> Result<(), Uninspectable> {
        if is_bodiless(parts.status) {
            return Ok(());
        }
        let coded = |name, plain| !parts.headers.get_all(name).iter().all(|value| is_list_of(value, plain));
        if coded(CONTENT_ENCODING, "identity") || coded(TRANSFER_ENCODING, "chunked") {
            return Err(Uninspectable::Coded);
        }
        if parts.status == StatusCode::PARTIAL_CONTENT && carried == Carried::Secret {
            return Err(Uninspectable::Part);
        }
        if parts.headers.get_all(CONTENT_TYPE).iter().any(is_byteranges) {
            return Err(Uninspectable::Parts);
        }
        Ok(())
    }
}

/// RFC 9110 §6.4.1: these have no content whatever their fields say.
fn is_bodiless(status: StatusCode) -> bool {
    status.is_informational() || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED
}

/// Whether every member of a comma-separated list is `word`, in any case; an empty list is one.
fn is_list_of(value: &HeaderValue, word: &str) -> bool {
    let members = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.into_iter().all(|member| member.is_empty() || member.eq_ignore_ascii_case(word.as_bytes()))
}

fn is_byteranges(value: &HeaderValue) -> bool {
    let mut parts = value.as_bytes().split(|byte| matches!(byte, b';' | b','));
    parts.any(|part| part.trim_ascii().eq_ignore_ascii_case(b"multipart/byteranges"))
}

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
