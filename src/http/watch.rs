//! Whether an exchange still moves.
//!
//! Both bodies of an exchange report to one [`Progress`]; a [`Stall`] ends the exchange when for
//! [`Limits::stalled_body`](crate::limits::Limits::stalled_body) a guest neither sends what it announced nor takes
//! what is there for it. It has no view of content. Invariant: silence of an upstream never runs out (a stream
//! of events may be quiet for hours), nor that of a guest whose body has no announced length.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::Leave;
use super::deny::Refusal;

/// Where one direction of an exchange is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Leg {
    #[default]
    Awaited,
    /// More of it is due from the guest, or to the guest.
    Open,
    /// More of it may come from whoever sends it, at any time.
    Quiet,
    Over,
}

/// What both bodies of one exchange have to tell.
#[derive(Debug, Default)]
pub(super) struct Progress {
    moved: Cell<u64>,
    request: Cell<Leg>,
    /// When all of the request was handed on.
    sent: Cell<Option<Instant>>,
    response: Cell<Leg>,
    /// The guest's body broke off or was ended: the upstream is not to blame.
    broken: Cell<bool>,
    stalled: Cell<bool>,
    /// Why the request's body was ended, where what it held is the reason.
    refusal: RefCell<Option<Refusal>>,
    /// Wakes the request's body, which an upstream connection polls on its own.
    sending: RefCell<Option<Waker>>,
    /// Wakes the reader of an upstream that has ended its side.
    reading: RefCell<Option<Waker>>,
    /// A request's body that nobody reads any more. Dropped before the answer is out it would have an h2
    /// stream reset with CANCEL, which clients take for a failure; after it, with NO_ERROR (RFC 9113 §8.1).
    unread: RefCell<Option<Incoming>>,
    /// Kept until both directions are over.
    leave: RefCell<Option<Leave>>,
}

impl Progress {
    pub(super) fn moved(&self) {
        self.moved.set(self.moved.get().wrapping_add(1));
    }

    /// A request's body is on its way, announced to be `length` octets.
    pub(super) fn open_request(&self, length: Option<u64>) {
        self.request.set(if length.is_some() { Leg::Open } else { Leg::Quiet });
    }

    pub(super) fn end_request(&self) {
        self.request.set(Leg::Over);
        self.sent.set(self.sent.get().or_else(|| Some(Instant::now())));
        wake(&self.reading);
        self.give_leave_back();
    }

    /// Keeps leave for the exchange until it is over.
    pub(super) fn keep_leave(&self, leave: Leave) {
        *self.leave.borrow_mut() = Some(leave);
    }

    /// For what the exchange becomes.
    pub(super) fn take_leave(&self) -> Option<Leave> {
        self.leave.borrow_mut().take()
    }

    fn give_leave_back(&self) {
        if !self.is_sending() && self.response.get() == Leg::Over {
            drop(self.take_leave());
        }
    }

    /// Resolves when no answer has begun so long after the request was sent. Whoever gets one drops this.
    pub(super) async fn unanswered(&self, limit: Duration) {
        let begun = Instant::now();
        let mut end = begun + limit;
        loop {
            sleep_until(end).await;
            let now = Instant::now();
            end = if self.is_sending() { now } else { self.sent.get().unwrap_or(begun).max(begun) } + limit;
            if end <= now {
                return;
            }
        }
    }

    /// Whether some of the request is still to be sent.
    pub(super) fn is_sending(&self) -> bool {
        matches!(self.request.get(), Leg::Open | Leg::Quiet)
    }

    pub(super) fn open_response(&self) {
        self.moved();
        self.response.set(Leg::Open);
    }

    /// All there is of the answer was taken, and it is not over.
    pub(super) fn await_response(&self) {
        self.response.set(Leg::Quiet);
        wake(&self.reading);
    }

    /// Whether the guest waits for something of its upstream.
    pub(super) fn wants_answer(&self) -> bool {
        matches!(self.response.get(), Leg::Awaited | Leg::Quiet)
    }

    /// Drops a body that was kept.
    pub(super) fn release_unread(&self) {
        let unread = self.unread.borrow_mut().take();
        drop(unread);
    }

    /// Keeps a body that is not read until the exchange is over.
    pub(super) fn keep_unread(&self, body: Incoming) {
        if !body.is_end_stream() {
            *self.unread.borrow_mut() = Some(body);
        }
    }

    pub(super) fn end_response(&self) {
        self.response.set(Leg::Over);
        self.give_leave_back();
    }

    pub(super) fn break_off(&self) {
        self.broken.set(true);
    }

    /// Whether the request's body ended before its message did.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.get()
    }

    /// Ends the request's body for what it holds.
    pub(super) fn refuse(&self, refusal: Refusal) {
        *self.refusal.borrow_mut() = Some(refusal);
        self.break_off();
    }

    /// Why the request's body was ended, where what it held is the reason.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        self.refusal.borrow().clone()
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refusal.borrow().is_some()
    }

    /// Whether the answer, or the reason why there is none, was begun.
    pub(super) fn is_answered(&self) -> bool {
        self.response.get() != Leg::Awaited
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.stalled.get()
    }

    /// Whether nothing more is read of the guest while its answer is still to come or to end.
    pub(super) fn only_answers(&self) -> bool {
        !self.is_sending() && self.response.get() != Leg::Over
    }

    /// Remembers who polls the request's body.
    pub(super) fn sent_by(&self, waker: &Waker) {
        remember(&self.sending, waker);
    }

    /// Remembers who reads the upstream.
    pub(super) fn read_by(&self, waker: &Waker) {
        remember(&self.reading, waker);
    }

    /// Makes the request's body fail, wherever it is being sent.
    fn stall(&self) {
        self.stalled.set(true);
        wake(&self.sending);
    }

    fn is_timed(&self) -> bool {
        self.request.get() == Leg::Open || self.response.get() == Leg::Open
    }
}

fn remember(slot: &RefCell<Option<Waker>>, waker: &Waker) {
    let mut slot = slot.borrow_mut();
    if !slot.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *slot = Some(waker.clone());
    }
}

fn wake(slot: &RefCell<Option<Waker>>) {
    let waker = slot.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The timer of one exchange; no timer runs for exchanges that end within one poll.
///
/// It looks every `limit` whether something moved, so a stall ends after one to two times `limit`.
#[derive(Debug)]
pub(super) struct Stall {
    limit: Duration,
    seen: u64,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub(super) fn new(limit: Duration) -> Self {
        Self { limit, seen: 0, timer: None }
    }

    /// Ready when `progress` made none; its request's body has been told.
    pub(super) fn poll(&mut self, progress: &Progress, cx: &mut Context<'_>) -> Poll<()> {
        if !progress.is_timed() {
            self.timer = None;
            return Poll::Pending;
        }
        let timer = self.timer.get_or_insert_with(|| {
            self.seen = progress.moved.get();
            Box::pin(sleep(self.limit))
        });
        loop {
            ready!(timer.as_mut().poll(cx));
            if self.seen == progress.moved.get() {
                progress.stall();
                return Poll::Ready(());
            }
            self.seen = progress.moved.get();
            timer.as_mut().reset(Instant::now() + self.limit);
        }
    }
}

pin_project! {
    /// A future that is dropped when its exchange stalls.
    pub(super) struct Watched<F> {
        #[pin]
        inner: F,
        progress: Rc<Progress>,
        stall: Stall,
    }
}

impl<F> Watched<F> {
    pub(super) fn new(inner: F, progress: Rc<Progress>, limit: Duration) -> Self {
        Self { inner, progress, stall: Stall::new(limit) }
    }
}

impl<F: Future> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        if this.inner.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        this.stall.poll(this.progress, cx)
    }
}
