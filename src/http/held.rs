//! Scrubbing what comes from a source that may fall silent in the middle of what looks like a secret.
//!
//! A message may end as a secret begins, and its reader answers only when it has read it to its end. So what
//! waits is let go after [`Limits::scrub_silence`], where it is too short to be of use
//! ([`Limits::released_octets`]). Invariant: of a secret the guest never sees more than that.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Sleep, sleep};

use crate::limits::Limits;
use crate::secret::ScrubStream;

/// A stream being scrubbed, and the patience with what it holds back.
pub(super) struct Held {
    stream: ScrubStream,
    silence: Duration,
    most: usize,
    /// Runs while something waits that may be let go.
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Held {
    pub(super) fn new(stream: ScrubStream, limits: &Limits) -> Self {
        Self { stream, silence: limits.scrub_silence, most: limits.released_octets, sleep: None }
    }

    /// As [`ScrubStream::push`].
    pub(super) fn push(&mut self, chunk: Bytes) -> Bytes {
        self.sleep = None;
        self.stream.push(chunk)
    }

    /// As [`ScrubStream::finish`].
    pub(super) fn finish(&mut self) -> Bytes {
        self.sleep = None;
        self.stream.finish()
    }

    /// What a silence lets go, which is never nothing; to be polled while the source has nothing.
    pub(super) fn poll_released(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        if !self.stream.is_releasable(self.most) {
            return Poll::Pending;
        }
        let silence = self.silence;
        ready!(self.sleep.get_or_insert_with(|| Box::pin(sleep(silence))).as_mut().poll(cx));
        self.sleep = None;
        Poll::Ready(self.stream.release(self.most))
    }
}
