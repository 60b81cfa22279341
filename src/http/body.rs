//! The bodies of an exchange, as each side pulls them from the other.
//!
//! They pass frames on as they come and buffer none; they report every frame to the exchange's
//! [`Progress`], drop trailer fields that may not be trailers, and scrub what goes to the guest. They frame
//! nothing: hyper does; what goes upstream is [`super::request`]'s. Invariant: a body whose source broke off fails,
//! it never ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::timeout;

use super::fields;
use super::identity::{self, Identity};
use super::watch::Progress;
use crate::coding::{Coding, CodingError};
use crate::limits::Limits;
use crate::secret::Scrubber;

/// Why a body did not end as it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The guest broke off, or sent what is no body.
    #[error("the guest's body broke off")]
    Guest(#[source] hyper::Error),
    /// The upstream broke off, or sent what is no body.
    #[error("the upstream's body broke off")]
    Upstream(#[source] hyper::Error),
    /// The upstream's content is not in its coding, or becomes too much.
    #[error("the upstream's body: {0}")]
    Coding(#[from] CodingError),
    /// Nothing moved for too long.
    #[error("the exchange stalled")]
    Stalled,
    /// What it holds may not go on; the exchange knows why.
    #[error("the request's body was refused")]
    Refused,
}

/// A response's body on its way to the guest.
pub(super) struct GuestBody(Source);

enum Source {
    Nothing,
    Whole {
        line: Bytes,
        #[expect(dead_code, reason = "its drop is what it is for")]
        exchange: Exchange,
    },
    Passed(Passed),
    Scrubbed(Box<Scrubbed>),
}

impl GuestBody {
    pub(super) fn empty() -> Self {
        Self(Source::Nothing)
    }

    /// A body of our own.
    pub(super) fn whole(line: Bytes, progress: Rc<Progress>) -> Self {
        Self(Source::Whole { line, exchange: Exchange(progress) })
    }

    /// An upstream's body as it is.
    pub(super) fn passed(inner: Incoming, progress: Rc<Progress>) -> Self {
        Self(Source::Passed(Passed::new(inner, progress)))
    }

    /// An upstream's body without its coding and without the secrets `scrubber` knows.
    pub(super) fn scrubbed(
        inner: Incoming,
        coding: Option<Coding>,
        scrubber: Scrubber,
        progress: Rc<Progress>,
        limits: &Limits,
    ) -> Self {
        if inner.is_end_stream() {
            return Self::passed(inner, progress);
        }
        let content = Identity::new(coding, scrubber.body(), limits);
        let keeps_length = scrubber.keeps_length() && content.is_as_sent();
        let length = if keeps_length { inner.size_hint().exact() } else { None };
        let passed = Passed::new(inner, progress);
        Self(Source::Scrubbed(Box::new(Scrubbed {
            passed,
            scrubber,
            content,
            ahead: None,
            length,
            end: End::NotYet,
        })))
    }
}

impl GuestBody {
    /// Waits for the beginning of a coded content, no longer than `patience`; fails where it is in no such coding.
    pub(super) async fn begin(&mut self, patience: Duration) -> Result<(), CodingError> {
        let Source::Scrubbed(scrubbed) = &mut self.0 else { return Ok(()) };
        if scrubbed.content.is_as_sent() {
            return Ok(());
        }
        match timeout(patience, poll_fn(|cx| scrubbed.poll_clean(cx))).await {
            Ok(Err(BodyError::Coding(fault))) => Err(fault),
            Ok(ahead) => {
                scrubbed.ahead = Some(ahead).filter(|ahead| !matches!(ahead, Ok(ahead) if ahead.is_empty()));
                Ok(())
            }
            Err(_silence) => Ok(()),
        }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Source::Nothing => Poll::Ready(None),
            Source::Whole { line, .. } if line.is_empty() => Poll::Ready(None),
            Source::Whole { line, .. } => Poll::Ready(Some(Ok(Frame::data(std::mem::take(line))))),
            Source::Passed(passed) => passed.poll_frame(cx),
            Source::Scrubbed(scrubbed) => scrubbed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Nothing => true,
            Source::Whole { line, .. } => line.is_empty(),
            Source::Passed(passed) => passed.inner.is_end_stream(),
            Source::Scrubbed(scrubbed) => scrubbed.ahead.is_none() && matches!(scrubbed.end, End::Told),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Nothing => SizeHint::with_exact(0),
            Source::Whole { line, .. } => SizeHint::with_exact(line.len() as u64),
            Source::Passed(passed) => passed.inner.size_hint(),
            Source::Scrubbed(scrubbed) => {
                scrubbed.length.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

/// An exchange that is over when its answer is dropped.
struct Exchange(Rc<Progress>);

impl Drop for Exchange {
    fn drop(&mut self) {
        self.0.end_response();
        self.0.release_unread();
    }
}

/// Frames of an upstream, counted.
struct Passed {
    inner: Incoming,
    exchange: Exchange,
}

impl Passed {
    fn new(inner: Incoming, progress: Rc<Progress>) -> Self {
        progress.open_response();
        Self { inner, exchange: Exchange(progress) }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) else {
            self.exchange.0.await_response();
            return Poll::Pending;
        };
        self.exchange.0.open_response();
        Poll::Ready(frame.map(|frame| frame.map(with_allowed_trailers).map_err(BodyError::Upstream)))
    }
}

/// Frames of an upstream, decoded and scrubbed, of which no more than one step is there at once.
struct Scrubbed {
    passed: Passed,
    scrubber: Scrubber,
    content: Identity,
    /// What came of the beginning, before anyone asked for it.
    ahead: Option<Result<Bytes, BodyError>>,
    /// Octets still to come, where nothing changes the length.
    length: Option<u64>,
    end: End,
}

/// How far the end of a scrubbed body is.
enum End {
    NotYet,
    /// The held-back bytes are out, trailers are due.
    Trailers(HeaderMap),
    Told,
}

impl Scrubbed {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(ahead) = self.ahead.take() {
                return Poll::Ready(Some(ahead.map(Frame::data)));
            }
            match std::mem::replace(&mut self.end, End::NotYet) {
                End::NotYet => {}
                End::Trailers(trailers) => {
                    self.end = End::Told;
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                End::Told => {
                    self.end = End::Told;
                    return Poll::Ready(None);
                }
            }
            let clean = match ready!(self.poll_clean(cx)) {
                Ok(clean) => clean,
                Err(error) => {
                    tracing::debug!(%error, "an answer broke off");
                    return Poll::Ready(Some(Err(error)));
                }
            };
            if !clean.is_empty() {
                self.length = self.length.map(|length| length.saturating_sub(clean.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(clean))));
            }
        }
    }

    /// What comes next, maybe nothing; a fault leaves the end untold for ever.
    fn poll_clean(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, BodyError>> {
        if self.content.has_more() {
            self.passed.exchange.0.moved();
            return Poll::Ready(Ok(self.content.push(Bytes::new())?));
        }
        Poll::Ready(match self.passed.poll_frame(cx) {
            Poll::Ready(Some(frame)) => self.clean(frame?),
            Poll::Ready(None) => {
                let rest = self.content.finish()?;
                self.end = End::Told;
                Ok(rest)
            }
            Poll::Pending => Ok(ready!(self.content.held.poll_released(cx))),
        })
    }

    fn clean(&mut self, frame: Frame<Bytes>) -> Result<Bytes, BodyError> {
        match frame.into_data() {
            Ok(data) => Ok(self.content.push(data)?),
            Err(frame) => {
                let rest = self.content.finish()?;
                let mut trailers = frame.into_trailers().unwrap_or_default();
                if !self.content.is_as_sent() {
                    identity::rewrite(&mut trailers);
                }
                self.scrubber.headers(&mut trailers);
                self.end = End::Trailers(trailers);
                Ok(rest)
            }
        }
    }
}

pub(super) fn with_allowed_trailers(frame: Frame<Bytes>) -> Frame<Bytes> {
    match frame.into_trailers() {
        Ok(mut trailers) => {
            fields::keep_allowed_trailers(&mut trailers);
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }
}
