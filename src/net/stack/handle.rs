//! What the handles of flows do to the stack.
//!
//! Every call only records and marks; the driver does the rest when it serves the flow. An id whose flow is gone
//! is answered like a flow that was reset.

use std::io;
use std::net::SocketAddr;
use std::task::{Poll, Waker};

use super::Stack;
use crate::net::counters::Drop;
use crate::net::gateway::Unreachable;
use crate::net::router::Router;
use crate::net::table::FlowId;
use crate::net::tcp::{End, Intent, Owner, Phase, keep, reset};

impl Stack {
    /// The guest's end and the far end of a flow.
    pub(in crate::net) fn addresses(&self, id: FlowId) -> Option<(SocketAddr, SocketAddr)> {
        let key = self.table.get(id)?.key;
        let guest = SocketAddr::new(key.guest, key.guest_port);
        Some((guest, SocketAddr::new(key.destination, key.port)))
    }

    pub(in crate::net) fn poll_cancelled(&mut self, id: FlowId, waker: &Waker) -> Poll<()> {
        match self.table.get_mut(id) {
            Some(flow) if matches!(flow.phase, Phase::Held(_)) => {
                keep(&mut flow.reader, waker);
                Poll::Pending
            }
            Some(_) | None => Poll::Ready(()),
        }
    }

    /// Ready once a flow was reset.
    pub(in crate::net) fn poll_lost(&mut self, id: FlowId, waker: &Waker) -> Poll<()> {
        let Some(flow) = self.table.get_mut(id) else { return Poll::Ready(()) };
        match flow.phase {
            Phase::Ended(End::Reset) | Phase::Refused(_) => Poll::Ready(()),
            Phase::Held(_)
            | Phase::Accepted(_)
            | Phase::Open(_)
            | Phase::Unread(_)
            | Phase::Ended(End::Clean) => {
                keep(&mut flow.reader, waker);
                Poll::Pending
            }
        }
    }

    /// Lets a held SYN be answered.
    pub(in crate::net) fn accept(&mut self, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        if let Phase::Held(syn) = flow.phase {
            flow.phase = Phase::Accepted(syn);
            self.half_open -= 1;
            self.mark(id);
        }
    }

    /// Has a held SYN answered with RST, or forgets one that was cancelled.
    pub(in crate::net) fn refuse(&mut self, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        if let Phase::Held(syn) = flow.phase {
            flow.phase = Phase::Refused(syn);
            flow.owner = Owner::Nobody;
            self.half_open -= 1;
            self.stats.refused += 1;
            self.mark(id);
        } else {
            self.release(id);
        }
    }

    pub(in crate::net) fn poll_drain(
        &mut self,
        id: FlowId,
        waker: &Waker,
        f: impl FnOnce(&[u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let Some(flow) = self.table.get_mut(id) else { return Poll::Ready(Err(reset())) };
        let polled = flow.poll_drain(waker, f);
        if let Poll::Ready(Ok(1..)) = polled {
            // The window has grown; whether the guest hears of it is the socket's to say.
            self.mark(id);
        }
        polled
    }

    pub(in crate::net) fn poll_fill(
        &mut self,
        id: FlowId,
        waker: &Waker,
        f: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let memory = self.pool.left();
        let Some(flow) = self.table.get_mut(id) else { return Poll::Ready(Err(reset())) };
        flow.poll_fill(waker, memory, f).map_ok(|filled| {
            self.charge(id, (0, filled.touched));
            if filled.octets > 0 {
                self.mark(id);
            }
            filled.octets
        })
    }

    /// Sends FIN after what is queued.
    ///
    /// # Errors
    /// The flow was reset.
    pub(in crate::net) fn finish(&mut self, id: FlowId) -> io::Result<()> {
        let Some(flow) = self.table.get_mut(id) else { return Err(reset()) };
        match flow.phase {
            Phase::Ended(End::Reset) | Phase::Refused(_) => Err(reset()),
            Phase::Ended(End::Clean) | Phase::Unread(_) => Ok(()),
            Phase::Held(_) | Phase::Accepted(_) | Phase::Open(_) => {
                if flow.intent == Intent::Send {
                    flow.intent = Intent::Finish;
                    self.mark(id);
                }
                Ok(())
            }
        }
    }

    /// Sends RST when the flow is served.
    pub(in crate::net) fn abort(&mut self, id: FlowId) {
        if let Some(flow) = self.table.get_mut(id) {
            flow.intent = Intent::Abort;
        }
        self.release(id);
    }

    /// The handle is gone: a finished flow drains by itself, any other is reset.
    pub(in crate::net) fn release(&mut self, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        flow.owner = Owner::Nobody;
        (flow.reader, flow.writer) = (None, None);
        match (&flow.phase, flow.intent) {
            (Phase::Ended(_), _) => self.remove(id),
            (Phase::Unread(_), _) => self.end(id, End::Clean),
            (Phase::Held(_), _) => self.refuse(id),
            (Phase::Accepted(syn), Intent::Send | Intent::Abort) => {
                flow.phase = Phase::Refused(*syn);
                self.mark(id);
            }
            // No RST: an answer that still comes is one of no flow, and is reset. RFC 9293 §3.10.5.
            (Phase::Open(_), _) if flow.is_connecting() => self.end(id, End::Reset),
            (Phase::Open(_), Intent::Send) => {
                flow.intent = Intent::Abort;
                self.mark(id);
            }
            (Phase::Accepted(_) | Phase::Refused(_) | Phase::Open(_), _) => self.mark(id),
        }
    }

    /// Nobody takes arrivals any more: those queued are refused, and so is what comes.
    pub(in crate::net) fn close_arrivals(&mut self) {
        self.arrivals.closed = true;
        self.arrivals.datagrams = 0;
        for event in std::mem::take(&mut self.arrivals.events) {
            match event {
                super::Event::Flow(id) => self.refuse(id),
                super::Event::Datagram(_) => self.stats.dropped.count(Drop::Datagram),
                super::Event::Association(id) => self.refuse_association(id, Unreachable::Port),
            }
        }
    }

    /// The guest is gone: every flow and association ends, every waiter wakes, and nothing is left for the next guest.
    pub(in crate::net) fn hang_up(&mut self) {
        for id in self.table.ids() {
            self.end(id, End::Reset);
        }
        self.woken.extend(self.associations.clear());
        self.fragments.clear();
        self.tombstones.clear();
        self.router = Router::default();
        self.egress.discard(&mut self.stats);
    }

    /// The link is gone, and with it the guest.
    pub(in crate::net) fn shut(&mut self) {
        self.over = true;
        self.arrivals.closed = true;
        self.hang_up();
        self.woken.extend(self.arrivals.waker.take());
    }

    pub(in crate::net) fn is_over(&self) -> bool {
        self.over
    }
}
