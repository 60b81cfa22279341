//! Serving one flow: what its handle asked for, what its socket has to send, and how it ends.

use smoltcp::iface::PollResult;
use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::{Duration, Instant};

use super::Stack;
use super::ingress::family;
use crate::link::Link;
use crate::net::egress::{Egress, Wire};
use crate::net::emit::{self, Bare};
use crate::net::frame::{ETHERNET, Flags};
use crate::net::rings::Rings;
use crate::net::syn::Syn;
use crate::net::table::FlowId;
use crate::net::tcp::{End, Flow, Intent, LoneFin, Owner, Patience, Phase};
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
        let guest = self.config.guest(key.destination);
        let Some(mut rings) = self.pool.listen(key.destination, key.port) else {
            self.refuse_now(link, id, &syn);
            return;
        };
        // Where the link cuts segments, smoltcp is to think that the guest takes the largest there are.
        let mss = Egress::mss(self.egress.device_mtu(), family(guest));
        let mss = if self.egress.device_mtu() == self.egress.mtu() { flow.mss } else { mss };
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
        apply(flow.intent, flow.owner, rings);

        flow.sent.octets = 0;
        let mut wire = Wire { link, egress, stats, ingress: None, mss: flow.mss, sent: &mut flow.sent };
        let mut idle = false;
        while !idle && wire.sent.octets < limits.bytes_per_turn.max(1) {
            idle = interface.poll_egress(now, &mut wire, &mut rings.set) == PollResult::None;
        }
        let holding = egress.is_holding();
        let due = interface.poll_at(now, &rings.set);
        let more = due.is_some_and(|due| due <= now);
        let due = if more { Some(now + NOT_YET) } else { due };
        let lone = due.is_none() && is_lone_fin(rings.socket());
        flow.lone_fin = if lone { flow.lone_fin.or_else(|| Some(LoneFin::first(now))) } else { None };
        let fin = flow.lone_fin.map(|fin| fin.at);
        let until = flow.patience.map(|patience| patience.until);
        let deadline = due.into_iter().chain(until).chain(fin).min();
        timers.set(id, &mut flow.timer, deadline);
        if more && (holding || !idle) {
            self.mark(id);
        } else if fin.is_some_and(|at| at <= now) {
            self.send_fin_again(link, id, now);
        } else {
            self.settle(id, now);
        }
    }

    /// Writes a FIN that smoltcp has forgotten about.
    fn send_fin_again<L: Link>(&mut self, link: &mut L, id: FlowId, now: Instant) {
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
        flow.lone_fin = flow.lone_fin.map(|fin| fin.next(now));
        self.stats.retransmits += 1;
        let guest = self.config.guest(key.destination);
        emit::tcp(&mut self.scratch, &self.egress.ends, (key.destination, guest), &bare);
        self.egress.send(link, &self.scratch, &mut self.stats);
        self.mark(id);
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
        if self.table.remove(id).is_some() {
            self.stats.flows_closed += 1;
        }
    }

    /// Answers a SYN with RST; RFC 9293 §3.10.7.1.
    fn refuse_now<L: Link>(&mut self, link: &mut L, id: FlowId, syn: &Syn) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let destination = flow.key.destination;
        let bare = Bare {
            source_port: syn.destination_port,
            destination_port: syn.source_port,
            sequence: 0,
            acknowledgment: syn.sequence.wrapping_add(1),
            flags: Flags::RST | Flags::ACK,
            window: 0,
        };
        let guest = self.config.guest(destination);
        emit::tcp(&mut self.scratch, &self.egress.ends, (destination, guest), &bare);
        self.egress.send(link, &self.scratch, &mut self.stats);
        self.end(id, End::Reset);
    }
}

/// Passes on to the socket what the handle wants.
fn apply(intent: Intent, owner: Owner, rings: &mut Rings) {
    let socket = rings.socket_mut();
    match intent {
        Intent::Send => {}
        // smoltcp would lose the SYN-ACK if it were closed before the handshake is done.
        Intent::Finish if matches!(socket.state(), State::Established | State::CloseWait) => socket.close(),
        Intent::Finish => {}
        Intent::Abort => socket.abort(),
    }
    if owner == Owner::Nobody {
        let mut discarded = 0;
        while let Ok(taken @ 1..) = socket.recv(|octets| (octets.len(), octets.len())) {
            discarded += taken;
        }
        rings.took(discarded);
    }
}

/// Whether all but our FIN has been acknowledged.
fn is_lone_fin(socket: &Socket<'static>) -> bool {
    matches!(socket.state(), State::FinWait1 | State::Closing | State::LastAck) && socket.send_queue() == 0
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
