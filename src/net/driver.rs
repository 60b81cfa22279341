//! The tokio shell around the stack: one task that reads the link, keeps the time and lets flows send.
//!
//! A turn: frames are fed, the flows they woke run, and only then does the stack send, so that an ACK, the
//! window and the answer ride in one frame. The clock is read once a turn. The invariant: the stack is never
//! borrowed while anything is woken or awaited.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use smoltcp::time::Instant;
use tokio::time::Sleep;

use super::arrivals::Arrivals;
use super::config::Config;
use super::counters::Stats;
use super::guest::Guest;
use super::stack::Stack;
use super::tcp::keep;
use crate::link::{FRAME, Link};

/// Starts the network of one sandbox on a link.
///
/// Nothing happens until the driver is polled, on a tokio runtime with time and IO enabled.
pub fn start<L: Link + 'static>(link: L, config: Config) -> (Driver, Arrivals) {
    let started = tokio::time::Instant::now();
    let frames_per_turn = config.limits.frames_per_turn;
    let mut link = link;
    let stack = Stack::new(config, &mut link, Instant::ZERO);
    let shell = Rc::new(Shell { stack: RefCell::new(stack), driver: RefCell::new(None) });
    let arrivals = Arrivals::new(Rc::clone(&shell));
    let mut turns = Turns {
        link,
        shell: Rc::clone(&shell),
        buffer: vec![0; FRAME].into_boxed_slice(),
        woken: Vec::new(),
        clock: Clock { started, sleep: Box::pin(tokio::time::sleep_until(started)), set: None },
        frames_per_turn,
        step: Step::Receive,
    };
    (Driver { turns: Box::pin(poll_fn(move |cx| turns.turn(cx))), shell }, arrivals)
}

/// The task that moves frames; resolves when the link ends.
///
/// Spawn it with `spawn_local`. Dropping it unplugs the guest: all its flows are reset.
#[must_use = "nothing moves unless the driver is polled"]
pub struct Driver {
    turns: Pin<Box<dyn Future<Output = io::Result<()>>>>,
    shell: Rc<Shell>,
}

impl Driver {
    /// A handle to the counters that outlives the driver.
    #[must_use]
    pub fn counters(&self) -> Counters {
        Counters(Rc::clone(&self.shell))
    }

    /// A handle to connect to the guest with, which outlives the driver.
    #[must_use]
    pub fn guest(&self) -> Guest {
        Guest::new(Rc::clone(&self.shell))
    }
}

impl Future for Driver {
    /// The error that broke the link; none when the guest just went away.
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = ready!(self.turns.as_mut().poll(cx));
        self.shell.shut();
        Poll::Ready(ended)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.shell.shut();
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Reads what the stack has counted.
#[derive(Clone)]
pub struct Counters(Rc<Shell>);

impl Counters {
    /// All counts as of now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.stack.borrow().stats()
    }
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Counters").field(&self.stats()).finish()
    }
}

/// What the driver and all handles of a sandbox share.
pub(super) struct Shell {
    pub(super) stack: RefCell<Stack>,
    driver: RefCell<Option<Waker>>,
}

impl Shell {
    /// Does something to the stack, then wakes whom that concerns: the tasks it woke, and the driver.
    pub(super) fn with<R>(&self, f: impl FnOnce(&mut Stack) -> R) -> R {
        let mut woken = Vec::new();
        let mut stack = self.stack.borrow_mut();
        let result = f(&mut stack);
        if stack.has_woken() {
            stack.take_woken(&mut woken);
        }
        let driver = stack.has_work() || stack.is_holding();
        drop(stack);
        for waker in woken {
            waker.wake();
        }
        if driver && let Some(waker) = &*self.driver.borrow() {
            waker.wake_by_ref();
        }
        result
    }

    fn shut(&self) {
        self.with(Stack::shut);
        *self.driver.borrow_mut() = None;
    }
}

/// The driver's loop, generic over the link.
struct Turns<L> {
    link: L,
    shell: Rc<Shell>,
    buffer: Box<[u8]>,
    woken: Vec<Waker>,
    clock: Clock,
    frames_per_turn: usize,
    step: Step,
}

/// Where in a turn the driver is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Step {
    Receive,
    /// Frames were fed and tasks woken at this time; the tasks have run by the next poll.
    Send(Instant, Read),
}

/// Why a turn read no more frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Read {
    /// The link had no more, and will wake the task.
    Drained,
    /// There may be more, but others have their turn first.
    Enough,
    /// The guest is gone.
    Ended,
}

impl<L: Link> Turns<L> {
    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        keep(&mut self.shell.driver.borrow_mut(), cx.waker());
        let (now, read) = match std::mem::replace(&mut self.step, Step::Receive) {
            Step::Send(now, read) => {
                // A frame that came since then had its wake merged with the one that brought us here.
                if read == Read::Drained && self.link.poll_receive_ready(cx)?.is_ready() {
                    (now, Read::Enough)
                } else {
                    (now, read)
                }
            }
            Step::Receive => {
                let now = self.clock.now();
                let read = self.receive(cx, now)?;
                self.shell.stack.borrow_mut().expire(now);
                if self.wake() && read != Read::Ended {
                    // Back of the queue, behind the tasks just woken: they relay first.
                    self.step = Step::Send(now, read);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                (now, read)
            }
        };
        if read == Read::Ended {
            return Poll::Ready(Ok(()));
        }
        self.send(cx, now, read)
    }

    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> io::Result<Read> {
        if self.link.poll_receive_ready(cx)?.is_pending() {
            return Ok(Read::Drained);
        }
        let mut stack = self.shell.stack.borrow_mut();
        for _ in 0..self.frames_per_turn {
            // A guest that sends but does not receive is not read until it does: its replies have no room.
            if !stack.can_receive() {
                return Ok(Read::Drained);
            }
            match self.link.try_receive(&mut self.buffer) {
                Ok(len) => {
                    let frame = self.buffer.get(..len).unwrap_or_default();
                    stack.receive(&mut self.link, frame, now);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let more = self.link.poll_receive_ready(cx)?.is_ready();
                    return Ok(if more { Read::Enough } else { Read::Drained });
                }
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(Read::Ended),
                // Another guest may come; nothing of this one's is to reach it.
                Err(e) if e.kind() == io::ErrorKind::ConnectionReset => stack.hang_up(),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(Read::Enough)
    }

    fn send(&mut self, cx: &mut Context<'_>, now: Instant, read: Read) -> Poll<io::Result<()>> {
        let mut stack = self.shell.stack.borrow_mut();
        stack.transmit(&mut self.link, now);
        let holding = stack.is_holding();
        let more = read == Read::Enough || (stack.has_work() && !holding);
        let deadline = stack.deadline();
        drop(stack);
        self.wake();
        let room = holding && self.link.poll_send_ready(cx)?.is_ready();
        let due = self.clock.poll_until(cx, deadline).is_ready();
        if more || room || due {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Wakes the tasks the stack collected; whether there were any.
    fn wake(&mut self) -> bool {
        self.shell.stack.borrow_mut().take_woken(&mut self.woken);
        let any = !self.woken.is_empty();
        for waker in self.woken.drain(..) {
            waker.wake();
        }
        any
    }
}

/// The stack's time: microseconds since the start, and one sleep for its earliest timer.
struct Clock {
    started: tokio::time::Instant,
    sleep: Pin<Box<Sleep>>,
    set: Option<Instant>,
}

impl Clock {
    fn now(&self) -> Instant {
        let elapsed = tokio::time::Instant::now().saturating_duration_since(self.started);
        Instant::from_micros(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    fn poll_until(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else { return Poll::Pending };
        // One that is later is found when the earlier has passed: an earlier one would have to wake the runtime.
        if self.set.is_none_or(|set| deadline < set || self.sleep.is_elapsed()) {
            self.set = Some(deadline);
            let micros = u64::try_from(deadline.total_micros()).unwrap_or(0);
            self.sleep.as_mut().reset(self.started + Duration::from_micros(micros));
        }
        self.sleep.as_mut().poll(cx)
    }
}
