//! Datagrams to and fro between one association of the guest and one socket of the host.
//!
//! A state machine that is polled: neither direction waits for the other, and what a direction cannot pass on at
//! once is lost, as on any road. Invariant: it ends when nothing has passed either way for `Limits::udp_idle`, or
//! when the net layer has ended the association, and never sooner.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep};

use super::socket::{
    Fault, Fragmenting, HEADROOM, HostSocket, IP_HEADER, IPV6_HEADER, Permitted, TRANSPORT_HEADER,
};
use crate::net::Association;

/// Octets that hold any datagram and the room before it.
pub(super) const BUFFER: usize = HEADROOM + u16::MAX as usize;

/// One association under way; a future that ends with it.
pub(super) struct Relay {
    association: Association,
    socket: HostSocket,
    context: Rc<super::Context>,
    /// Where else to try, last first, while nobody has answered.
    others: Vec<Permitted>,
    /// The guest's last datagram, headroom included: kept while it may have to be sent elsewhere, or waits until
    /// the socket takes it.
    kept: Vec<u8>,
    waits: Option<Fragmenting>,
    /// Octets of payload that the guest was told the path takes.
    told: Option<usize>,
    used: Instant,
    idle: Pin<Box<Sleep>>,
}

/// What a step in one direction came to.
enum Step {
    /// Octets passed, or lost; there may be more.
    Moved(usize),
    /// Nothing to do until woken.
    Waits,
    /// The association is over.
    Over,
}

impl Relay {
    /// `others` are tried in order where the first address refuses before it has answered.
    pub(super) fn new(
        context: Rc<super::Context>,
        association: Association,
        socket: HostSocket,
        mut others: Vec<Permitted>,
    ) -> Self {
        others.reverse();
        let idle = Box::pin(sleep(context.limits.udp_idle));
        let used = Instant::now();
        Self { association, socket, context, others, kept: Vec::new(), waits: None, told: None, used, idle }
    }

    /// One datagram of the guest's, to the world.
    fn outward(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Step {
        if let Some(fragmenting) = self.waits {
            let mut kept = std::mem::take(&mut self.kept);
            let step = self.send(cx, &mut kept, fragmenting);
            if self.waits.is_some() || !self.others.is_empty() {
                self.kept = kept;
            }
            return step;
        }
        let Some(payload) = buffer.get_mut(HEADROOM..) else { return Step::Over };
        let length = match self.association.poll_receive(cx, payload) {
            Poll::Ready(Some(length)) => length,
            Poll::Ready(None) => return Step::Over,
            Poll::Pending => return Step::Waits,
        };
        let Some(datagram) = buffer.get_mut(..HEADROOM + length) else { return Step::Over };
        let fragmenting = self.fragmenting(length);
        if !self.others.is_empty() {
            self.keep(datagram);
        }
        let step = self.send(cx, datagram, fragmenting);
        if self.waits.is_some() {
            self.keep(datagram);
        }
        step
    }

    /// As the guest would have it. A guest that was told of a smaller MTU over IPv6 fragments by itself from then
    /// on, which a datagram that was put together again does not show.
    fn fragmenting(&self, length: usize) -> Fragmenting {
        let told = self.association.source().is_ipv6() && self.told.is_some_and(|room| length > room);
        if told || self.association.may_fragment() { Fragmenting::Allowed } else { Fragmenting::Forbidden }
    }

    fn send(&mut self, cx: &mut Context<'_>, datagram: &mut [u8], fragmenting: Fragmenting) -> Step {
        let mut sent = self.socket.poll_send(cx, datagram, fragmenting);
        if let Poll::Ready(Err(fault)) = sent {
            // The kernel may have told of an earlier one instead of sending this.
            self.tell(fault);
            sent = self.socket.poll_send(cx, datagram, fragmenting);
        }
        self.waits = sent.is_pending().then_some(fragmenting);
        if sent.is_pending() { Step::Waits } else { Step::Moved(datagram.len()) }
    }

    /// One datagram of the world's, to the guest.
    fn inward(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Step {
        match self.socket.poll_receive(cx, buffer) {
            Poll::Pending => Step::Waits,
            Poll::Ready(Ok(payload)) => {
                if let Some(payload) = payload {
                    if !self.others.is_empty() {
                        self.others = Vec::new();
                        self.kept = Vec::new();
                    }
                    // Lost where the link is busy, and counted there.
                    self.association.send(payload);
                }
                Step::Moved(payload.map_or(0, <[u8]>::len).max(HEADROOM))
            }
            Poll::Ready(Err(fault)) => {
                self.tell(fault);
                Step::Moved(HEADROOM)
            }
        }
    }

    /// Tells the guest of a fault, or tries the next address where there is one.
    fn tell(&mut self, fault: Fault) {
        match fault {
            Fault::Unreachable(why) => {
                if !self.turn_elsewhere() {
                    self.association.unreachable(why);
                }
            }
            Fault::TooBig(room) => {
                let mtu = mtu_for(self.association.source(), room);
                self.association.too_big(mtu);
                self.told = Some(room);
            }
            Fault::Lost => tracing::trace!(destination = %self.association.destination(), "datagram lost"),
        }
    }

    /// Connects to the next address, to which the kept datagram is then sent.
    fn turn_elsewhere(&mut self) -> bool {
        while let Some(permit) = self.others.pop() {
            if let Ok(socket) = HostSocket::connect(permit) {
                self.socket = socket;
                self.waits = Some(Fragmenting::Allowed);
                return true;
            }
        }
        false
    }

    /// The timer is not moved for each datagram: when it fires it is set anew for what has passed since.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.idle.as_mut().poll(cx).is_ready() {
            let end = self.used + self.context.limits.udp_idle;
            if end <= Instant::now() {
                return Poll::Ready(());
            }
            self.idle.as_mut().reset(end);
        }
        Poll::Pending
    }

    fn keep(&mut self, datagram: &[u8]) {
        self.kept.clear();
        self.kept.extend_from_slice(datagram);
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let context = Rc::clone(&this.context);
        let mut buffer = context.datagrams.buffer();
        let mut budget = context.limits.bytes_per_turn;
        let mut moved_at_all = false;
        loop {
            let mut moved = 0;
            for step in [this.outward(cx, &mut buffer), this.inward(cx, &mut buffer)] {
                match step {
                    Step::Moved(octets) => moved += octets.max(1),
                    Step::Waits => {}
                    Step::Over => return Poll::Ready(()),
                }
            }
            moved_at_all |= moved > 0;
            budget = budget.saturating_sub(moved);
            if moved == 0 {
                break;
            }
            if budget == 0 {
                cx.waker().wake_by_ref();
                break;
            }
        }
        drop(buffer);
        if moved_at_all {
            this.used = Instant::now();
        }
        this.poll_idle(cx)
    }
}

/// An IP MTU, in the guest's family, under which `room` octets of payload fit.
fn mtu_for(guest: SocketAddr, room: usize) -> u16 {
    let header = if guest.is_ipv4() { IP_HEADER } else { IPV6_HEADER };
    u16::try_from(room + header + TRANSPORT_HEADER).unwrap_or(u16::MAX)
}
