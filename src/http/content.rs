//! What is done to the content of a request: its coding is taken off, placeholders become secrets, the same coding is
//! put on again.
//!
//! It knows no frames and no events, and gives little at a time. Invariant: after an error nothing comes out of it any
//! more.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::deny::Refusal;
use crate::coding::{Coding, CodingError, Decoder, Encoder};
use crate::limits::Limits;
use crate::secret::{InjectError, InjectStream, Injection, Reaction};

/// The content of one request on its way upstream.
pub(super) struct Content {
    stream: InjectStream,
    coded: Option<Coded>,
    end: End,
}

struct Coded {
    decoder: Decoder,
    encoder: Encoder,
    written: Written,
}

/// How much of what went into an encoder is out.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Written {
    /// Nothing went in.
    Nothing,
    Some,
    All,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum End {
    NotYet,
    Reached,
}

impl Content {
    /// Begins a body with the coding that its head tells of; one that cannot be taken off is refused.
    pub(super) fn new(stream: InjectStream, headers: &HeaderMap, limits: &Limits) -> Result<Self, Refusal> {
        let coding = Coding::of(headers).map_err(uncoded)?;
        let coded = coding.map(|coding| Coded {
            decoder: Decoder::new(coding, limits),
            encoder: Encoder::new(coding),
            written: Written::Nothing,
        });
        Ok(Self { stream, coded, end: End::NotYet })
    }

    /// Whether it is as long as it was.
    pub(super) fn keeps_length(&self) -> bool {
        self.coded.is_none() && self.stream.keeps_length()
    }

    /// Takes the next piece and gives what may go on.
    ///
    /// While there [is more](Self::has_more), an empty piece gives the next step, and no other is to be pushed.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<Bytes, Refusal> {
        let plain = match &mut self.coded {
            Some(coded) => coded.decoder.push(piece).map_err(uncoded)?,
            None => piece,
        };
        self.pass(plain)
    }

    /// Whether more may come of what was pushed.
    pub(super) fn has_more(&self) -> bool {
        self.coded.as_ref().is_some_and(|coded| coded.decoder.has_more())
    }

    /// Gives the next step of what is left at the end; `None` after the last.
    pub(super) fn finish(&mut self) -> Result<Option<Bytes>, Refusal> {
        if self.end == End::Reached {
            return Ok(None);
        }
        if let Some(coded) = &mut self.coded {
            let left = coded.decoder.finish().map_err(uncoded)?;
            if !left.is_empty() {
                return self.pass(left).map(Some);
            }
        }
        self.end = End::Reached;
        let rest = self.stream.finish().map_err(|error| refusal(&error))?;
        let Some(coded) = &mut self.coded else { return Ok(Some(rest)) };
        let rest = coded.put_on(rest)?;
        if coded.written == Written::Nothing {
            return Ok(Some(rest));
        }
        let last = coded.encoder.finish().map_err(uncoded)?;
        Ok(Some([rest, last].concat().into()))
    }

    /// What the reader needs to have all that went in, for a source that pauses; maybe nothing.
    pub(super) fn flush(&mut self) -> Result<Bytes, Refusal> {
        let Some(coded) = self.coded.as_mut().filter(|coded| coded.written == Written::Some) else {
            return Ok(Bytes::new());
        };
        coded.written = Written::All;
        coded.encoder.flush().map_err(uncoded)
    }

    /// Whether a silence of the source lets anything go that waits for more.
    pub(super) fn is_releasable(&self, most: usize) -> bool {
        self.stream.is_releasable(most)
    }

    /// Lets it go.
    pub(super) fn release(&mut self, most: usize) -> Result<Bytes, Refusal> {
        let released = self.stream.release(most);
        match &mut self.coded {
            Some(coded) => coded.put_on(released),
            None => Ok(released),
        }
    }

    /// What was put in since this was last asked.
    pub(super) fn news(&mut self) -> Vec<Injection> {
        self.stream.news()
    }

    fn pass(&mut self, plain: Bytes) -> Result<Bytes, Refusal> {
        let swapped = self.stream.push(plain).map_err(|error| refusal(&error))?;
        match &mut self.coded {
            Some(coded) => coded.put_on(swapped),
            None => Ok(swapped),
        }
    }
}

impl Coded {
    fn put_on(&mut self, plain: Bytes) -> Result<Bytes, Refusal> {
        if plain.is_empty() {
            return Ok(plain);
        }
        self.written = Written::Some;
        self.encoder.push(plain).map_err(uncoded)
    }
}

/// What the guest is told of a request that cannot go on as it stands.
pub(super) fn refusal(error: &InjectError) -> Refusal {
    let refusal = Refusal::denied(error.to_string());
    match error {
        InjectError::Misplaced { reaction: Reaction::Terminate, .. } => refusal.that_ends_the_sandbox(),
        InjectError::Expired { .. } => {
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "proxy_internal_error", error.to_string())
        }
        InjectError::Misplaced { .. }
        | InjectError::Revoked { .. }
        | InjectError::Field { .. }
        | InjectError::BasicUser { .. }
        | InjectError::Uncarriable { .. }
        | InjectError::Target
        | InjectError::TooOften { .. } => refusal,
    }
}

/// What the guest is told of a body whose coding does not come off or on.
fn uncoded(error: CodingError) -> Refusal {
    let status = match error {
        CodingError::Unsupported | CodingError::Nested => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        CodingError::Corrupt | CodingError::Truncated => StatusCode::BAD_REQUEST,
        CodingError::Bomb => StatusCode::PAYLOAD_TOO_LARGE,
        CodingError::Failed => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refusal::new(status, "http_request_error", format!("{error}; the host may get a secret in a body"))
}
