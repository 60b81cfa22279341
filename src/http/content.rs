//! What is done to the content of a request: placeholders become secrets.
//!
//! It knows no frames and no events. Invariant: after an error nothing comes out of it any more.

use bytes::Bytes;

use super::deny::Refusal;
use crate::secret::{InjectError, InjectStream, Injection, Reaction};

/// The content of one request on its way upstream.
pub(super) struct Content(InjectStream);

impl Content {
    pub(super) fn new(stream: InjectStream) -> Self {
        Self(stream)
    }

    /// Whether it is as long as it was.
    pub(super) fn keeps_length(&self) -> bool {
        self.0.keeps_length()
    }

    /// Takes the next piece and gives what may go on.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<Bytes, Refusal> {
        self.0.push(piece).map_err(|error| refusal(&error))
    }

    /// Gives what waited for more.
    pub(super) fn finish(&mut self) -> Result<Bytes, Refusal> {
        self.0.finish().map_err(|error| refusal(&error))
    }

    /// What was put in since this was last asked.
    pub(super) fn news(&mut self) -> Vec<Injection> {
        self.0.news()
    }
}

/// What the guest is told of a request that cannot go on as it stands.
pub(super) fn refusal(error: &InjectError) -> Refusal {
    let refusal = Refusal::denied(error.to_string());
    match error {
        InjectError::Misplaced { reaction: Reaction::Terminate, .. } => refusal.that_ends_the_sandbox(),
        _ => refusal,
    }
}
