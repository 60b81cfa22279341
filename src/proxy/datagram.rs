//! A guest's UDP or echo association from its first datagram to its record in the audit trail.
//!
//! Invariant: nothing is sent anywhere before policy has judged the destination, and what is refused is refused
//! audibly, at once, with nothing sent.

use std::cell::{Cell, RefCell, RefMut};
use std::rc::Rc;
use std::{io, iter};

use super::Context;
use super::flow::{Flow, Served};
use super::ground::Ground;
use super::leaning::Leaning;
use super::machine;
use super::relay::{BUFFER, Relay};
use super::socket::{HostSocket, Permitted};
use crate::audit::FlowKind;
use crate::name::{Host, HostName};
use crate::net::{Carried, NewAssociation, Unreachable};
use crate::policy::{AtDatagram, DatagramPermit, Denial, Policy, Service};

/// What the associations of one sandbox share.
pub(crate) struct Datagrams {
    /// Whichever relay runs has it: none holds it while it waits.
    buffer: RefCell<Box<[u8]>>,
    warned_of_ping: Cell<bool>,
}

impl Datagrams {
    pub(crate) fn new() -> Self {
        let buffer = RefCell::new(vec![0; BUFFER].into());
        Self { buffer, warned_of_ping: Cell::new(false) }
    }

    pub(super) fn buffer(&self) -> RefMut<'_, [u8]> {
        RefMut::map(self.buffer.borrow_mut(), Box::as_mut)
    }
}

/// Leave, with what the record will say of it.
struct Allowed {
    /// Where to, the first first; never empty.
    permits: Vec<Permitted>,
    kind: FlowKind,
    host: Option<HostName>,
    rule: String,
}

/// Judges a new association, and refuses it or has it relayed.
pub(super) fn begin(context: Rc<Context>, new: NewAssociation) {
    let flow = Flow::new(context, new.destination());
    let carried = new.carried();
    match judge(&flow, &flow.context.policy.current(), carried) {
        Ok(allowed) => {
            let would_deny =
                flow.context.policy.current().would_deny(|enforced| judge(&flow, enforced, carried).err());
            if let Some(denial) = would_deny {
                flow.deny(&denial);
            }
            drop(tokio::task::spawn_local(serve(flow, new, allowed)));
        }
        Err(denial) => {
            flow.deny(&denial);
            new.refuse(unreachable(carried));
        }
    }
}

/// What the guest is told of what it may not reach.
fn unreachable(carried: Carried) -> Unreachable {
    match carried {
        Carried::Udp => Unreachable::Port,
        Carried::Echo => Unreachable::Prohibited,
    }
}

fn judge(flow: &Flow, policy: &Policy, carried: Carried) -> Result<Allowed, Denial> {
    let now = flow.started.into_std();
    let names = flow.context.resolver.names().borrow();
    match carried {
        Carried::Udp => {
            allowed(policy.at_datagram(flow.destination, &names, now), FlowKind::Udp, Permitted::Udp)
        }
        Carried::Echo => {
            allowed(policy.at_echo(flow.destination.ip(), &names, now), FlowKind::Icmp, Permitted::Echo)
        }
    }
}

fn allowed<A: Copy>(
    verdict: AtDatagram<A>,
    kind: FlowKind,
    permitted: fn(DatagramPermit<A>) -> Permitted,
) -> Result<Allowed, Denial> {
    match verdict {
        AtDatagram::Dial(first, others) => {
            let (host, rule) = (first.host().cloned(), first.rule().to_string());
            let permits = iter::once(first).chain(others).map(permitted).collect();
            Ok(Allowed { permits, kind, host, rule })
        }
        AtDatagram::Refuse(denial) => Err(denial),
    }
}

/// Relays until nothing passes any more.
async fn serve(flow: Flow, new: NewAssociation, allowed: Allowed) {
    let Allowed { permits, kind, host, rule } = allowed;
    let _leaning = host.clone().map(|host| Leaning::on(&flow.context, flow.destination.ip(), host));
    let mut permits = permits.into_iter();
    let Some(first) = permits.next() else { return };
    let upstream = first.addr();
    let socket = match HostSocket::connect(first) {
        Ok(socket) => socket,
        Err(error) => return new.refuse(unopened(&flow, kind, &error)),
    };
    let context = Rc::clone(&flow.context);
    let carried = new.carried();
    let ground = Ground::Datagrams { carried, destination: flow.destination, addr: upstream };
    if let Err(denial) = flow.stand.on(ground) {
        flow.deny(&denial);
        return new.refuse(unreachable(carried));
    }
    flow.serves(Served { kind, host, upstream: Some(upstream), rule: Some(rule) });
    let relay = Relay::new(context, new.accept(), socket, permits.collect());
    flow.stand.hold(relay).await;
}

/// What the guest is told where the host gives no socket.
fn unopened(flow: &Flow, kind: FlowKind, error: &io::Error) -> Unreachable {
    let datagrams = &flow.context.datagrams;
    if let Some(addr) = machine::refused(error) {
        let (service, unreachable) = if kind == FlowKind::Icmp {
            (Service::Icmp, Unreachable::Prohibited)
        } else {
            (Service::Udp(flow.destination.port()), Unreachable::Port)
        };
        flow.deny(&Denial::this_machine(format!("{}{service}", Host::Address(addr)), service, addr));
        return unreachable;
    }
    if error.kind() == io::ErrorKind::PermissionDenied && kind == FlowKind::Icmp {
        if !datagrams.warned_of_ping.replace(true) {
            tracing::warn!("this host lets nobody ping: set net.ipv4.ping_group_range to hold this group");
        }
        return Unreachable::Prohibited;
    }
    tracing::info!(flow = flow.id, destination = %flow.destination, %error, "no socket for an association");
    Unreachable::Host
}
