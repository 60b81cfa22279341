//! An upstream's answer, written anew for the guest.
//!
//! It passes on what it can vouch for and scrubs what a host of secrets answers; why no answer came is
//! [`super::exchange`]'s to tell. Invariant: the guest gets one length, and no field of the upstream's own
//! connection.

use std::rc::Rc;

use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderValue, Method, Response, StatusCode, Version, response};
use hyper::body::{Body as _, Incoming};

use super::body::GuestBody;
use super::deny::Refusal;
use super::watch::Progress;
use super::{fields, gate, identity};
use crate::coding::Coding;
use crate::limits::Limits;
use crate::secret::{Carried, Scrubber};

/// What came, and what it came to.
pub(super) struct Answer {
    pub(super) parts: response::Parts,
    pub(super) body: Incoming,
    /// Of the request.
    pub(super) method: Method,
    /// Of the request: `If-None-Match`.
    pub(super) none_match: Option<HeaderValue>,
    pub(super) progress: Rc<Progress>,
}

impl Answer {
    /// As it is.
    pub(super) fn pass(mut self) -> Response<GuestBody> {
        let length = self.length();
        self.write(length);
        Response::from_parts(self.parts, GuestBody::passed(self.body, self.progress))
    }

    /// Without a content coding and without secrets, or not at all.
    ///
    /// The head of a coded answer waits for what follows it, if that comes soon: where it is in no such coding, the
    /// guest can still be told.
    pub(super) async fn scrub(
        mut self,
        scrubber: Scrubber,
        carried: Carried,
        limits: &Limits,
    ) -> Result<Response<GuestBody>, Refusal> {
        let coding = if self.body.is_end_stream() {
            // With no content, a coding that nobody can take off hides nothing.
            Coding::of(&self.parts.headers).unwrap_or_default()
        } else {
            scrubber.inspectable(&self.parts, carried).map_err(|reason| refusal(&reason))?
        };
        // Of a decoded content the length is known when it has ended, unless there is none.
        let keeps_length = |octets: &u64| scrubber.keeps_length() && (coding.is_none() || *octets == 0);
        let length = self.length().filter(keeps_length);
        self.write(length);
        if coding.is_some() {
            identity::rewrite(&mut self.parts.headers);
        } else if self.parts.status == StatusCode::NOT_MODIFIED {
            identity::name_as_asked(&mut self.parts.headers, self.none_match.as_ref());
        }
        scrubber.headers(&mut self.parts.headers);
        // The reason phrase and the spelling of field names are the upstream's text too.
        self.parts.extensions.clear();
        let mut body = GuestBody::scrubbed(self.body, coding, scrubber, self.progress, limits);
        body.begin(limits.scrub_silence).await.map_err(|fault| refusal(&fault))?;
        Ok(Response::from_parts(self.parts, body))
    }

    fn write(&mut self, length: Option<u64>) {
        let parts = &mut self.parts;
        let closes = closes(parts);
        fields::write_response(&mut parts.headers);
        if let Some(octets) = length {
            parts.headers.insert(CONTENT_LENGTH, octets.into());
        }
        if parts.version < Version::HTTP_2 {
            // Or hyper would answer in the upstream's minor version; it finds the guest's own.
            parts.version = Version::HTTP_11;
            if closes {
                parts.headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
    }

    /// The length of the content, or what an answer without content says it would be.
    fn length(&self) -> Option<u64> {
        if !self.body.is_end_stream() {
            return self.body.size_hint().exact();
        }
        let value = self.parts.headers.get(CONTENT_LENGTH)?;
        let octets =
            gate::is_plain_decimal(value.as_bytes()).then(|| value.to_str().ok()?.parse().ok())??;
        let may_lack_content = self.method == Method::HEAD || self.parts.status == StatusCode::NOT_MODIFIED;
        (octets == 0 || may_lack_content).then_some(octets)
    }
}

fn refusal(reason: &impl std::fmt::Display) -> Refusal {
    Refusal::bad_gateway("http_response_content_coding", reason.to_string())
}

/// Whether the upstream ends its h1 connection after this answer.
fn closes(parts: &response::Parts) -> bool {
    let says = |token| gate::lists(&parts.headers, &CONNECTION, token);
    says("close") || (parts.version == Version::HTTP_10 && !says("keep-alive"))
}
