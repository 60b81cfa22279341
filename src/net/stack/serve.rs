//! Serving one flow: what its handle asked for, what its socket has to send, and how it ends.

use smoltcp::iface::PollResult;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::{Duration, Instant};

use super::Stack;
use super::ingress::family;
use crate::link::Link;
use crate::net::egress::{Sent, Wire};
use crate::net::emit::{self, Bare};
use crate::net::frame::{ETHERNET, Flags};
use crate::net::rings::Rings;
use crate::net::syn::Syn;
use crate::net::table::FlowId;
use crate::net::tcp::{End, Flow, Intent, Owner, Patience, Pending, Phase, Unwatched};
use crate::net::tombstone::Numbers;

/// When a socket is looked at again that says "now" but has nothing to send: soon, but not at once, or a
/// deadline in the past would spin.
const NOT_YET: Duration = Duration::from_millis(1);

impl Stack {
    /// Does for a flow what is due.
    pub(super) fn serve<L: Link>(&mut self, link: &mut L, id: FlowId, now: Instant) {
        let Some(flow) = self.table.get_mut(id) else { return };
        flow.dirty = false;
        match &flow.phase {
            Phase::Open(_) => self.run(link, id, now),
            Phase::Accepted(syn) => {
                let syn = *syn;
                self.open(link, id, syn, now);
                self.run(link, id, now);
            }
            Phase::Refused(syn) => {
                let syn = *syn;
                self.refuse_now(link, id, &syn);
            }
            Phase::Unread(rings) => {
                if flow.owner == Owner::Nobody || !rings.socket().can_recv() {
                    self.end(id, End::Clean);
                }
            }
            Phase::Held(_) | Phase::Ended(_) => {}
        }
    }

    /// Feeds the SYN of an accepted flow to a socket that listens for it alone.
    fn open<L: Link>(&mut self, link: &mut L, id: FlowId, syn: Syn, now: Instant) {
        let Some(mut flow) = self.table.get_mut(id) else { return };
        let key = flow.key;
        let guest = key.guest;
        let Some(mut rings) = self.pool.listen(key.destination, key.port) else {
            self.refuse_now(link, id, &syn);
            return;
        };
        let mss = self.egress.device_mss(flow.mss, family(guest));
        emit::syn(&mut self.scratch, &self.egress.ends, (guest, key.destination), &syn, mss);
        let packet = self.scratch.get(ETHERNET..);
        let Self { table, interface, egress, stats, .. } = self;
        flow = match table.get_mut(id) {
            Some(flow) => flow,
            None => return,
        };
        let sent = &mut flow.sent;
        let mut wire = Wire { link, egress, stats, ingress: packet, mss: flow.mss, sent };
        interface.poll_ingress_single(now, &mut wire, &mut rings.set);
        let remote = rings.socket().remote_endpoint();
        if remote.is_some_and(|remote| remote.addr == guest.into() && remote.port == key.guest_port) {
            flow.patience = Some(Patience { until: now + self.config.limits.drain.into(), queued: 0 });
            rings.begin(syn.sequence.wrapping_add(1));
            flow.phase = Phase::Open(rings);
        } else {
            self.pool.give_back(rings);
            self.refuse_now(link, id, &syn);
        }
    }

    /// Lets the socket of a flow send, and sets the flow's timer.
    fn run<L: Link>(&mut self, link: &mut L, id: FlowId, now: Instant) {
        let Self { table, interface, egress, stats, config, timers, .. } = self;
        let limits = &config.limits;
        let Some(flow) = table.get_mut(id) else { return };
        be_patient(flow, now, limits.drain.into());
        if flow.patience.is_some_and(|patience| patience.until <= now) && flow.intent != Intent::Abort {
            flow.intent = Intent::Abort;
            stats.stalled += 1;
        }
        let Phase::Open(rings) = &mut flow.phase else { return };
        apply(flow.intent, flow.owner, rings, &flow.sent);

        flow.sent.octets = 0;
        let mut wire = Wire { link, egress, stats, ingress: None, mss: flow.mss, sent: &mut flow.sent };
        let mut idle = false;
        while !idle && wire.sent.octets < limits.bytes_per_turn.max(1) {
            idle = interface.poll_egress(now, &mut wire, &mut rings.set) == PollResult::None
                // What was sent may have been the last before the FIN, which then goes with it.
                && !finish(flow.intent, rings.socket_mut(), wire.sent);
        }
        let holding = egress.is_holding();
        let due = interface.poll_at(now, &rings.set);
        let more = due.is_some_and(|due| due <= now);
        let due = if more { Some(now + NOT_YET) } else { due };
        let pending = if due.is_none() { pending(rings.socket()) } else { None };
        flow.unwatched = pending.map(|what| Unwatched::since(flow.unwatched, what, now));
        let again = flow.unwatched.map(|unwatched| unwatched.at);
        let until = flow.patience.map(|patience| patience.until);
        let deadline = due.into_iter().chain(until).chain(again).min();
        timers.set(id, &mut flow.timer, deadline);
        if more && (holding || !idle) {
            self.mark(id);
        } else if again.is_some_and(|at| at <= now) {
            self.remind(link, id, now);
        } else {
            self.settle(id, now);
        }
    }

    /// Has sent again what smoltcp has forgotten about.
    fn remind<L: Link>(&mut self, link: &mut L, id: FlowId, now: Instant) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let Some(unwatched) = flow.unwatched else { return };
        flow.unwatched = Some(unwatched.next(now));
        match unwatched.what {
            Pending::Fin => self.send_fin_again(link, id),
            Pending::Octets => self.send_octets_again(link, id, now),
        }
        self.mark(id);
    }

    fn send_fin_again<L: Link>(&mut self, link: &mut L, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let Some(next) = flow.sent.next else { return };
        let key = flow.key;
        let bare = Bare {
            source_port: key.port,
            destination_port: key.guest_port,
            sequence: next.wrapping_sub(1),
            acknowledgment: flow.sent.acknowledged,
            flags: Flags::FIN | Flags::ACK,
            window: flow.sent.window,
        };
        self.stats.retransmits += 1;
        emit::tcp(&mut self.scratch, &self.egress.ends, (key.destination, key.guest), &bare);
        self.egress.send(link, &self.scratch, &mut self.stats);
    }

    /// Repeats to the socket what the guest said last until it takes that for the sign of a loss, RFC 5681 §3.2, or
    /// of a closed window to be probed.
    fn send_octets_again<L: Link>(&mut self, link: &mut L, id: FlowId, now: Instant) {
        let Some(flow) = self.table.get(id) else { return };
        let (key, sent) = (flow.key, flow.sent);
        let mut packet = std::mem::take(&mut self.scratch);
        // Another window first, so that duplicates are counted anew; one to take it back, and three that count.
        for window in [sent.offered ^ 1, sent.offered, sent.offered, sent.offered, sent.offered] {
            let bare = Bare {
                source_port: key.guest_port,
                destination_port: key.port,
                sequence: sent.acknowledged,
                acknowledgment: sent.heard,
                flags: Flags::ACK,
                window,
            };
            emit::tcp(&mut packet, &self.egress.ends, (key.guest, key.destination), &bare);
            self.feed(link, id, packet.get(ETHERNET..).unwrap_or_default(), now);
        }
        self.scratch = packet;
    }

    /// Ends a flow whose socket has nothing more to do.
    fn settle(&mut self, id: FlowId, now: Instant) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let Phase::Open(rings) = &mut flow.phase else { return };
        let socket = rings.socket();
        match socket.state() {
            State::Listen => self.end(id, End::Reset),
            State::Closed if socket.remote_endpoint().is_some() => {}
            State::Closed if flow.intent == Intent::Abort => self.end(id, End::Reset),
            State::Closed | State::TimeWait => {
                let unread = socket.can_recv() && flow.owner == Owner::Handle;
                self.bury(id, now);
                if unread {
                    self.keep_unread(id);
                } else {
                    self.end(id, End::Clean);
                }
            }
            State::SynSent
            | State::SynReceived
            | State::Established
            | State::FinWait1
            | State::FinWait2
            | State::CloseWait
            | State::Closing
            | State::LastAck => flow.wake(&mut self.woken),
        }
    }

    /// Remembers how a flow ended and frees its 4-tuple.
    fn bury(&mut self, id: FlowId, now: Instant) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let key = flow.key;
        if let Some(send_next) = flow.sent.next {
            let numbers = Numbers { send_next, receive_next: flow.sent.acknowledged };
            self.tombstones.insert(key, numbers, now);
        }
        self.table.unlink(id, &key);
    }

    fn keep_unread(&mut self, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let phase = std::mem::replace(&mut flow.phase, Phase::Ended(End::Clean));
        flow.phase = if let Phase::Open(rings) = phase { Phase::Unread(rings) } else { phase };
        flow.wake(&mut self.woken);
    }

    /// Ends a flow: its rings go back, its waiters wake, and it is gone once its handle is.
    pub(super) fn end(&mut self, id: FlowId, end: End) {
        let Some(flow) = self.table.get_mut(id) else { return };
        match std::mem::replace(&mut flow.phase, Phase::Ended(end)) {
            Phase::Open(rings) | Phase::Unread(rings) => self.pool.give_back(rings),
            Phase::Held(_) => self.half_open -= 1,
            Phase::Accepted(_) | Phase::Refused(_) | Phase::Ended(_) => {}
        }
        flow.wake(&mut self.woken);
        let (key, owner) = (flow.key, flow.owner);
        self.table.unlink(id, &key);
        if owner == Owner::Nobody {
            self.remove(id);
        }
    }

    pub(super) fn remove(&mut self, id: FlowId) {
        if let Some(flow) = self.table.remove(id) {
            self.stats.flows_closed += 1;
            self.connections.forget(flow.opener);
        }
    }

    /// Answers a SYN with RST; RFC 9293 §3.10.7.1.
    fn refuse_now<L: Link>(&mut self, link: &mut L, id: FlowId, syn: &Syn) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let key = flow.key;
        let bare = Bare {
            source_port: syn.destination_port,
            destination_port: syn.source_port,
            sequence: 0,
            acknowledgment: syn.sequence.wrapping_add(1),
            flags: Flags::RST | Flags::ACK,
            window: 0,
        };
        emit::tcp(&mut self.scratch, &self.egress.ends, (key.destination, key.guest), &bare);
        self.egress.send(link, &self.scratch, &mut self.stats);
        self.end(id, End::Reset);
    }
}

/// Passes on to the socket what the handle wants.
fn apply(intent: Intent, owner: Owner, rings: &mut Rings, sent: &Sent) {
    let socket = rings.socket_mut();
    if intent == Intent::Abort {
        socket.abort();
    }
    finish(intent, socket, sent);
    if owner == Owner::Nobody {
        let mut discarded = 0;
        while let Ok(taken @ 1..) = socket.recv(|octets| (octets.len(), octets.len())) {
            discarded += taken;
        }
        rings.took(discarded);
    }
}

/// Closes our side if the handle wants it and it can be; whether it was done.
///
/// smoltcp would lose the SYN-ACK if it were closed before the handshake is done. And in LAST-ACK it is deaf to a
/// window that opens, so it gets there only when all octets are on their way.
fn finish(intent: Intent, socket: &mut Socket<'static>, sent: &Sent) -> bool {
    let queued = u32::try_from(socket.send_queue()).unwrap_or(u32::MAX);
    let all_sent = sent.next == Some(sent.heard.wrapping_add(queued));
    let state = socket.state();
    let can = state == State::Established || (state == State::CloseWait && all_sent);
    let close = intent == Intent::Finish && can;
    if close {
        socket.close();
    }
    close
}

/// What the guest has still to acknowledge.
fn pending(socket: &Socket<'static>) -> Option<Pending> {
    if socket.state() == State::Closed {
        None
    } else if socket.send_queue() > 0 {
        Some(Pending::Octets)
    } else if matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck) {
        Some(Pending::Fin)
    } else {
        None
    }
}

/// Gives a flow time: to finish its handshake, or, with its handle gone, to take what is queued.
fn be_patient(flow: &mut Flow, now: Instant, drain: Duration) {
    let Phase::Open(rings) = &flow.phase else { return };
    let (state, queued) = (rings.socket().state(), rings.socket().send_queue());
    if state == State::SynReceived {
        return;
    }
    let moved = flow.patience.is_none_or(|patience| queued < patience.queued);
    match flow.owner {
        Owner::Handle => flow.patience = None,
        Owner::Nobody if moved => flow.patience = Some(Patience { until: now + drain, queued }),
        Owner::Nobody => {}
    }
}
