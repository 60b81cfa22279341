//! A request's body on its way upstream, with what becomes of the placeholders in it.
//!
//! Frames are passed on as they come; where secrets may come to stand in them, the first that holds one waits until
//! that is on record. Only a body whose length secrets change is collected, up to a bound, so that its new length can
//! be told. Where no length was announced, a few octets that may begin a placeholder go on when the guest falls silent:
//! it may wait for an answer to what it sent. It frames nothing: hyper does. Invariant: a body whose source broke off, or that was refused, fails; it
//! never ends.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};

use super::body::{BodyError, with_allowed_trailers};
use super::content::Content;
use super::deny::Refusal;
use super::fields::Length;
use super::recorder::{Recorded, Recorder};
use super::watch::Progress;
use crate::limits::Limits;

type Next = Option<Result<Frame<Bytes>, BodyError>>;

/// A request's body on its way upstream.
pub(super) struct RequestBody {
    /// There until it is dropped.
    inner: Option<Incoming>,
    progress: Rc<Progress>,
    change: Option<Box<Change>>,
    collected: Option<Collected>,
}

/// All of a body, read before any of it is sent.
struct Collected {
    data: Bytes,
    trailers: Option<HeaderMap>,
}

/// What is done to a body, and what of it is ready.
pub(super) struct Change {
    content: Content,
    recorder: Recorder,
    /// Octets still to be given, where that is known.
    length: Option<u64>,
    /// What has to be on record before anything goes on.
    waiting: Option<Recorded>,
    ready: Bytes,
    trailers: Option<HeaderMap>,
    end: End,
    silence: Silence,
}

/// The patience with a guest that sends nothing while something of its body waits for more.
struct Silence {
    lasts: Duration,
    /// Octets it lets go at most; none where more is sure to come.
    most: usize,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// Whether the source has ended.
#[derive(Clone, Copy, Eq, PartialEq)]
enum End {
    NotYet,
    /// It has, and what is done to it goes on.
    Near,
    Reached,
}

impl Change {
    pub(super) fn new(content: Content, recorder: Recorder, limits: &Limits) -> Self {
        let (ready, end) = (Bytes::new(), End::NotYet);
        let silence = Silence { lasts: limits.scrub_silence, most: limits.released_octets, sleep: None };
        Self { content, recorder, length: None, waiting: None, ready, trailers: None, end, silence }
    }

    fn take(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Refusal> {
        self.silence.sleep = None;
        match frame.map(Frame::into_data) {
            Some(Ok(data)) => self.ready = self.content.push(data)?,
            Some(Err(frame)) => {
                self.trailers = frame.into_trailers().ok();
                self.end = End::Near;
            }
            None => self.end = End::Near,
        }
        self.tell();
        Ok(())
    }

    /// Does what can be done without more of the source; whether that was anything.
    fn go_on(&mut self) -> Result<bool, Refusal> {
        if self.content.has_more() {
            self.ready = self.content.push(Bytes::new())?;
        } else if self.end == End::Near {
            match self.content.finish()? {
                Some(data) => self.ready = data,
                None => self.end = End::Reached,
            }
        } else {
            return Ok(false);
        }
        self.tell();
        Ok(true)
    }

    /// Gives what the reader should have while the source has nothing; pending where it has all.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Refusal>> {
        self.ready = self.content.flush()?;
        if !self.ready.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Silence { lasts, most, sleep: slot } = &mut self.silence;
        if !self.content.is_releasable(*most) {
            return Poll::Pending;
        }
        let lasts = *lasts;
        ready!(slot.get_or_insert_with(|| Box::pin(sleep(lasts))).as_mut().poll(cx));
        *slot = None;
        self.ready = self.content.release(*most)?;
        Poll::Ready(Ok(()))
    }

    fn tell(&mut self) {
        let news = self.content.news();
        if !news.is_empty() {
            self.waiting = Some(self.recorder.record(news));
        }
    }

    /// What is ready to go on; `Pending` while it must wait, `None` where more must be taken first.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Refusal>>> {
        if let Some(waiting) = &mut self.waiting {
            let recorded = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            if !recorded {
                self.ready = Bytes::new();
                return Poll::Ready(Some(Err(Recorder::unrecorded())));
            }
        }
        if !self.ready.is_empty() {
            let data = std::mem::take(&mut self.ready);
            self.length = self.length.map(|length| length.saturating_sub(data.len() as u64));
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let trailers = if self.end == End::Reached { self.trailers.take() } else { None };
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_over(&self) -> bool {
        self.end == End::Reached && self.ready.is_empty() && self.trailers.is_none() && self.waiting.is_none()
    }
}

impl RequestBody {
    pub(super) fn new(inner: Incoming, change: Option<Change>, progress: Rc<Progress>) -> Self {
        if !inner.is_end_stream() {
            progress.open_request(inner.size_hint().exact());
        }
        Self { inner: Some(inner), progress, change: change.map(Box::new), collected: None }
    }

    /// Finds out how long the body will be, where that may not be what was announced.
    ///
    /// One of a known length up to [`Limits::collected_body`] is collected. An error says that the body broke off
    /// or was refused; [`Progress`] knows which.
    pub(super) async fn settle(&mut self, limits: &Limits) -> Result<Option<Length>, BodyError> {
        let announced = self.inner.as_ref().and_then(|inner| inner.size_hint().exact());
        let Some(change) = &mut self.change else { return Ok(None) };
        if announced.is_some() {
            change.silence.most = 0;
        }
        if change.content.keeps_length() {
            change.length = announced;
            return Ok(None);
        }
        let most = limits.collected_body;
        if announced.is_none_or(|octets| usize::try_from(octets).map_or(true, |octets| octets > most)) {
            return Ok(Some(Length::Unknown));
        }
        let (mut whole, mut trailers) = (Vec::new(), None);
        while whole.len() <= most {
            match poll_fn(|cx| self.poll_next(cx)).await.transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => whole.extend_from_slice(&data),
                Some(Err(frame)) => trailers = frame.into_trailers().ok(),
                None => break,
            }
        }
        let Some(change) = &mut self.change else { return Ok(None) };
        change.length = (change.end == End::Reached && change.ready.is_empty()).then_some(whole.len() as u64);
        change.ready = whole.into();
        change.trailers = trailers.or(change.trailers.take());
        Ok(Some(change.length.map_or(Length::Unknown, Length::Exact)))
    }

    /// Reads all of the body, up to so many octets, before any of it is sent; longer ones are refused.
    pub(super) async fn collect(&mut self, most: usize) -> Result<Bytes, BodyError> {
        let (mut whole, mut trailers) = (Vec::new(), None);
        while let Some(frame) = poll_fn(|cx| self.poll_next(cx)).await.transpose()? {
            match frame.into_data() {
                Ok(data) if data.len() <= most.saturating_sub(whole.len()) => whole.extend_from_slice(&data),
                Ok(_) => {
                    self.progress.refuse(Refusal::new(
                        StatusCode::PAYLOAD_TOO_LARGE,
                        "http_request_error",
                        format!("more than {most} octets would have to be read before they are sent; see limits.collected_body"),
                    ));
                    return Err(BodyError::Refused);
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let data = Bytes::from(whole);
        self.collected = Some(Collected { data: data.clone(), trailers });
        Ok(data)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if self.progress.is_stalled() {
            self.progress.break_off();
            return Poll::Ready(Some(Err(BodyError::Stalled)));
        }
        let Some(change) = &mut self.change else { return self.poll_source(cx) };
        loop {
            match change.poll_ready(cx) {
                Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
                Poll::Ready(Some(Err(refusal))) => return self.refuse(refusal),
                Poll::Ready(None) if change.end == End::Reached => {
                    self.progress.end_request();
                    return Poll::Ready(None);
                }
                Poll::Ready(None) => {}
                Poll::Pending => {
                    self.progress.sent_by(cx.waker());
                    return Poll::Pending;
                }
            }
            let taken = match change.go_on() {
                Ok(true) => continue,
                Ok(false) => match poll_inner(self.inner.as_mut(), cx) {
                    Poll::Ready(Some(Ok(frame))) => {
                        self.progress.moved();
                        change.take(Some(with_allowed_trailers(frame)))
                    }
                    Poll::Ready(Some(Err(error))) => {
                        self.progress.break_off();
                        return Poll::Ready(Some(Err(BodyError::Guest(error))));
                    }
                    Poll::Ready(None) => change.take(None),
                    Poll::Pending => {
                        self.progress.sent_by(cx.waker());
                        ready!(change.poll_pause(cx))
                    }
                },
                Err(refusal) => Err(refusal),
            };
            if let Err(refusal) = taken {
                return self.refuse(refusal);
            }
        }
    }

    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        let Poll::Ready(frame) = poll_inner(self.inner.as_mut(), cx) else {
            self.progress.sent_by(cx.waker());
            return Poll::Pending;
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                self.progress.moved();
                Some(Ok(with_allowed_trailers(frame)))
            }
            Some(Err(error)) => {
                self.progress.break_off();
                Some(Err(BodyError::Guest(error)))
            }
            None => {
                self.progress.end_request();
                None
            }
        })
    }

    /// Fails the body for good; where the answer is on its way already, nobody else tells of it.
    fn refuse(&mut self, refusal: Refusal) -> Poll<Next> {
        if let Some(change) = self.change.take()
            && self.progress.is_answered()
        {
            change.recorder.denied(refusal.clone());
        }
        self.progress.refuse(refusal);
        Poll::Ready(Some(Err(BodyError::Refused)))
    }
}

impl Collected {
    fn next(&mut self) -> Option<Frame<Bytes>> {
        if self.data.is_empty() {
            return self.trailers.take().map(Frame::trailers);
        }
        Some(Frame::data(std::mem::take(&mut self.data)))
    }
}

/// The next frame of a guest's body; none after it was dropped.
fn poll_inner(
    inner: Option<&mut Incoming>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
    inner.map_or(Poll::Ready(None), |inner| Pin::new(inner).poll_frame(cx))
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        if self.progress.is_refused() {
            return Poll::Ready(Some(Err(BodyError::Refused)));
        }
        match &mut self.collected {
            Some(collected) => Poll::Ready(collected.next().map(Ok)),
            None => self.poll_next(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        if let Some(collected) = &self.collected {
            return collected.data.is_empty() && collected.trailers.is_none();
        }
        match &self.change {
            Some(change) => change.is_over(),
            None => self.inner.as_ref().is_none_or(Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(collected) = &self.collected {
            return SizeHint::with_exact(collected.data.len() as u64);
        }
        match &self.change {
            Some(change) => change.length.map_or_else(SizeHint::default, SizeHint::with_exact),
            None => self.inner.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint),
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.progress.end_request();
        if let Some(unread) = self.inner.take() {
            self.progress.keep_unread(unread);
        }
    }
}
