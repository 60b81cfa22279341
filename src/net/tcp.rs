//! One TCP flow: what its guest and its handle want of it, and what either may do now.
//!
//! Not the protocol, which is smoltcp's, and not the table. A flow never looks at another: its cost does not
//! grow with their number.

use std::io;
use std::task::{Poll, Waker};

use smoltcp::socket::tcp::State;
use smoltcp::time::{Duration, Instant};

use super::egress::Sent;
use super::rings::Rings;
use super::syn::Syn;
use super::table::Key;
use super::timers::Timer;

/// A flow, from its SYN until its handle is gone and the guest has had what is due to it.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) key: Key,
    pub(super) phase: Phase,
    pub(super) intent: Intent,
    pub(super) owner: Owner,
    pub(super) opener: Opener,
    /// In the list of flows to serve.
    pub(super) dirty: bool,
    /// Woken when there is something to read, or when a held SYN is cancelled.
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    pub(super) timer: Timer,
    pub(super) patience: Option<Patience>,
    /// Set while something is in flight that no timer of smoltcp watches.
    pub(super) unwatched: Option<Unwatched>,
    /// Payload octets the guest takes in one segment.
    pub(super) mss: u16,
    pub(super) sent: Sent,
}

/// How far a flow has come.
#[derive(Debug)]
pub(super) enum Phase {
    /// Waiting for a verdict.
    Held(Syn),
    /// Allowed; its SYN is fed to a socket when the flow is served.
    Accepted(Syn),
    /// Denied; an RST goes out when the flow is served.
    Refused(Syn),
    /// In the hands of a socket.
    Open(Rings),
    /// Closed both ways, remembered by a tombstone; what the guest sent last is still to be read.
    Unread(Rings),
    /// Over.
    Ended(End),
}

/// How a flow ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum End {
    /// Both sides said FIN and had it acknowledged.
    Clean,
    /// Either side reset it, or the link ended.
    Reset,
}

/// What the handle wants of our direction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Intent {
    /// There may be more to send.
    Send,
    /// FIN after what is queued.
    Finish,
    /// RST at once.
    Abort,
}

/// What came of lending a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Filled {
    pub(super) octets: usize,
    /// How much of the ring was never used before, octets.
    pub(super) touched: usize,
}

/// Whose SYN began a flow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opener {
    Guest,
    /// Ours, toward a port of the guest's.
    Host,
}

/// Who waits for a flow's events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Owner {
    /// An `Incoming` or a `TcpStream`.
    Handle,
    /// Nobody: what is queued is drained, what comes is thrown away.
    Nobody,
}

/// Until when the guest has to move.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) until: Instant,
    /// Octets queued when the guest moved last.
    pub(super) queued: usize,
}

/// What the guest has not acknowledged while no timer of smoltcp watches it, and when we do something about it.
///
/// smoltcp 0.14 turns its retransmission timer off for a fast retransmit, and then has nothing to send if the FIN
/// alone is in flight. It also turns it off where a window closes over what is in flight, and forgets what is in
/// flight when a window it probed opens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unwatched {
    pub(super) what: Pending,
    pub(super) at: Instant,
    interval: Duration,
}

/// What waits for an acknowledgment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Pending {
    /// Our FIN alone; it is sent again.
    Fin,
    /// Octets; smoltcp is made to send them again, or to probe.
    Octets,
}

impl Unwatched {
    /// The least and the most RFC 6298 lets pass between retransmissions.
    const FIRST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(60);

    /// Goes on with `before` if that was about the same.
    pub(super) fn since(before: Option<Self>, what: Pending, now: Instant) -> Self {
        let first = Self { what, at: now + Self::FIRST, interval: Self::FIRST };
        before.filter(|before| before.what == what).unwrap_or(first)
    }

    pub(super) fn next(self, now: Instant) -> Self {
        let interval = Self::MOST.min(self.interval * 2);
        Self { at: now + interval, interval, ..self }
    }
}

/// A flow's writer is woken when this part of its ring is free: small gaps would cost a wake each.
const WRITABLE_PART: usize = 4;

impl Flow {
    /// A flow the guest begins.
    pub(super) fn held(key: Key, syn: Syn, mss: u16) -> Self {
        Self::new(key, Phase::Held(syn), Opener::Guest, mss)
    }

    /// A flow into the guest, whose socket is about to send its SYN.
    pub(super) fn connecting(key: Key, rings: Rings, mss: u16) -> Self {
        Self::new(key, Phase::Open(rings), Opener::Host, mss)
    }

    fn new(key: Key, phase: Phase, opener: Opener, mss: u16) -> Self {
        Self {
            key,
            phase,
            intent: Intent::Send,
            owner: Owner::Handle,
            opener,
            dirty: false,
            reader: None,
            writer: None,
            timer: Timer::default(),
            patience: None,
            unwatched: None,
            mss,
            sent: Sent::default(),
        }
    }

    /// Whether the guest has yet to answer our SYN.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(&self.phase, Phase::Open(rings) if rings.socket().state() == State::SynSent)
    }

    /// Ready when the guest has answered our SYN.
    pub(super) fn poll_connected(&mut self, waker: &Waker) -> Poll<io::Result<()>> {
        match &self.phase {
            Phase::Open(_) if self.is_connecting() => self.wait_to_write(waker),
            Phase::Open(_) | Phase::Unread(_) => Poll::Ready(Ok(())),
            Phase::Held(_) | Phase::Accepted(_) | Phase::Refused(_) | Phase::Ended(_) => {
                Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into()))
            }
        }
    }

    /// Lends the received octets that lie in one piece; `f` says how many it took.
    ///
    /// Ready with 0 at the end of the guest's stream, where `f` is not called.
    pub(super) fn poll_drain(
        &mut self,
        waker: &Waker,
        f: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let rings = match &mut self.phase {
            Phase::Open(rings) | Phase::Unread(rings) => rings,
            Phase::Held(_) | Phase::Accepted(_) => return self.wait_to_read(waker),
            Phase::Ended(End::Clean) => return Poll::Ready(Ok(0)),
            Phase::Ended(End::Reset) | Phase::Refused(_) => return Poll::Ready(Err(reset())),
        };
        let socket = rings.socket_mut();
        if !socket.can_recv() {
            return if finished(socket.state()) { Poll::Ready(Ok(0)) } else { self.wait_to_read(waker) };
        }
        let taken = socket.recv(|octets| match f(octets) {
            Ok(taken) => (taken.min(octets.len()), Ok(taken.min(octets.len()))),
            Err(e) => (0, Err(e)),
        });
        let taken = taken.unwrap_or_else(|_| Err(reset()));
        rings.took(*taken.as_ref().unwrap_or(&0));
        Poll::Ready(taken)
    }

    /// Lends the free octets that lie in one piece; `f` says how many it filled.
    ///
    /// `memory` is how much of the ring may be newly touched.
    pub(super) fn poll_fill(
        &mut self,
        waker: &Waker,
        memory: usize,
        f: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<Filled>> {
        if self.intent != Intent::Send {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let rings = match &mut self.phase {
            Phase::Open(rings) => rings,
            Phase::Held(_) | Phase::Accepted(_) => return self.wait_to_write(waker),
            Phase::Unread(_) | Phase::Ended(End::Clean) => {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            Phase::Ended(End::Reset) | Phase::Refused(_) => return Poll::Ready(Err(reset())),
        };
        let socket = rings.socket_mut();
        if !socket.may_send() {
            if is_opening(socket.state()) {
                return self.wait_to_write(waker);
            }
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if !socket.can_send() {
            return self.wait_to_write(waker);
        }
        let before = socket.send_queue();
        let most = rings.lendable(before, memory);
        let filled = rings.socket_mut().send(|octets| {
            let room = octets.len().min(most);
            match f(octets.get_mut(..room).unwrap_or_default()) {
                Ok(filled) => (filled.min(room), Ok(filled.min(room))),
                Err(e) => (0, Err(e)),
            }
        });
        let filled = filled.unwrap_or_else(|_| Err(reset()));
        Poll::Ready(filled.map(|octets| Filled { octets, touched: rings.wrote(octets, before) }))
    }

    fn wait_to_read<T>(&mut self, waker: &Waker) -> Poll<T> {
        keep(&mut self.reader, waker);
        Poll::Pending
    }

    fn wait_to_write<T>(&mut self, waker: &Waker) -> Poll<T> {
        keep(&mut self.writer, waker);
        Poll::Pending
    }

    /// Moves the wakers of what has become possible into `woken`.
    pub(super) fn wake(&mut self, woken: &mut Vec<Waker>) {
        let (readable, writable) = match &self.phase {
            Phase::Held(_) | Phase::Accepted(_) => (false, false),
            Phase::Refused(_) | Phase::Unread(_) | Phase::Ended(_) => (true, true),
            Phase::Open(rings) => {
                let socket = rings.socket();
                let state = socket.state();
                let free = socket.send_capacity() - socket.send_queue();
                let roomy = free >= socket.send_capacity() / WRITABLE_PART;
                let may_not = !socket.may_send() && !is_opening(state);
                (socket.can_recv() || finished(state), may_not || (socket.may_send() && roomy))
            }
        };
        if readable {
            woken.extend(self.reader.take());
        }
        if writable {
            woken.extend(self.writer.take());
        }
    }
}

/// Keeps a waker for later, without a clone if it is the one that is kept.
pub(super) fn keep(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(kept) => kept.clone_from(waker),
        None => *slot = Some(waker.clone()),
    }
}

/// Whether the handshake is under way.
fn is_opening(state: State) -> bool {
    matches!(state, State::SynSent | State::SynReceived)
}

/// Whether the guest has said FIN, so that nothing more will come once the ring is empty.
pub(super) fn finished(state: State) -> bool {
    match state {
        State::CloseWait | State::LastAck | State::Closing | State::TimeWait | State::Closed => true,
        State::Listen
        | State::SynSent
        | State::SynReceived
        | State::Established
        | State::FinWait1
        | State::FinWait2 => false,
    }
}

pub(super) fn reset() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}
