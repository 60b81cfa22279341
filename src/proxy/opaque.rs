//! A flow on a port where anything may be spoken: dialled before the guest's SYN is answered, then spliced.
//!
//! It is sniffed all the same where a host name allowed it: TLS and HTTP go by the name they carry, as on
//! any port. A server that speaks first is heard first; a guest that then begins TLS or HTTP is reset, since
//! it can no longer be intercepted.

use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::flow::{Flow, Served};
use super::ground::{Ground, Reading};
use super::leaning::Leaning;
use super::way::Way;
use super::{plain, tls};
use crate::audit::FlowKind;
use crate::name::HostName;
use crate::net::{self, Incoming};
use crate::policy::{AtSyn, Denial, NamePermit, Opened, Permit, Service, Verdict};
use crate::sniff::{Protocol, Rewind, Sniffer};
use crate::upstream::{Connection, Stream};

/// What an opaque flow is to be connected to.
pub(super) enum Goal {
    /// These addresses, by what opened them.
    Addresses(Vec<Permit>, Opened),
    /// The name, whose addresses are found now, here or by a proxy.
    Name(NamePermit),
}

/// Dials what was permitted, then accepts and serves.
///
/// The host alias is never inspected: it is this machine, by an explicit rule.
pub(super) async fn serve(flow: &Flow, incoming: Incoming, goal: Goal) {
    let context = &flow.context;
    let (opened, permits) = match goal {
        Goal::Addresses(permits, opened) => (opened, Some(permits)),
        Goal::Name(name) => (Opened::Names(vec![name]), None),
    };
    let name = match &opened {
        Opened::Names(names) => names.first().cloned(),
        Opened::Address(_) => None,
    };
    let ground = |addr| match &opened {
        Opened::Names(names) => Ground::Named { names: names.clone(), addr, read: Reading::Perhaps },
        Opened::Address(_) => Ground::Address { destination: flow.destination, name: None },
    };
    if let Err(denial) = flow.stand.on(ground(None)) {
        flow.deny(&denial);
        return incoming.refuse();
    }
    let leaning = |name: &NamePermit| Leaning::on(context, flow.destination.ip(), name.host().clone());
    let _leaning = name.as_ref().map(leaning);
    let dialling = async {
        match (permits, name) {
            (None, Some(name)) => flow.dial_untold(&name).await,
            (permits, name) => dial(flow, permits.unwrap_or_default(), name).await,
        }
    };
    let connected = tokio::select! {
        connected = dialling => connected,
        () = incoming.cancelled() => return,
    };
    let Some(connection) = connected else { return incoming.refuse() };
    if let Err(denial) = flow.stand.on(ground(connection.leave().addr())) {
        flow.deny(&denial);
        return incoming.refuse();
    }
    let stream = incoming.accept();
    flow.watch(&stream);
    inspect_and_relay(flow, stream, connection, opened).await
}

/// Connects to the first of these addresses that answers, by the way that leads to `name`.
async fn dial(flow: &Flow, permits: Vec<Permit>, name: Option<NamePermit>) -> Option<Connection> {
    let context = &flow.context;
    let way = match &name {
        Some(name) => Way::to(context, name.host(), name.port()),
        None => Way::direct(context),
    };
    let error = match way.dial(context, permits).await {
        Ok(connection) => return Some(connection),
        Err(error) => error,
    };
    let service = Service::Tcp(flow.destination.port());
    match error.denial(flow.destination.to_string(), service) {
        Some(denial) => flow.deny(&denial),
        None => tracing::info!(flow = flow.id, destination = %flow.destination, %error, "dial failed"),
    }
    None
}

/// Looks for TLS and HTTP in the guest's first bytes, while the server may greet.
async fn inspect_and_relay(
    flow: &Flow,
    mut stream: net::TcpStream,
    mut connection: Connection,
    opened: Opened,
) {
    let limits = &flow.context.limits;
    let is_this_machine = match &opened {
        Opened::Names(names) => names.iter().any(|name| name.host().is_host_alias()),
        Opened::Address(_) => false,
    };
    if is_this_machine {
        return relay(flow, (Bytes::new(), stream), connection, opened).await;
    }
    let mut sniffer = Sniffer::new(limits);
    let mut greeting = Greeting::None;
    let protocol = loop {
        let greet = |cx: &mut Context<'_>, stream: &mut net::TcpStream| {
            pass_greeting(cx, (stream, &mut connection.stream), &mut greeting, limits.bytes_per_turn)
        };
        let Ok(protocol) = sniffer.run_beside(&mut stream, greet).await else { return };
        if protocol != Protocol::Silent {
            break protocol;
        }
        // It waits for the server. What it says first is looked at whenever it comes.
        sniffer = Sniffer::new(limits);
    };
    let sniffed = sniffer.finish(protocol);
    match (protocol, greeting) {
        // It goes by the name it carries, and to that name's own upstream.
        (Protocol::Tls, Greeting::None) => {
            drop(connection);
            Box::pin(tls::serve(flow, Rewind::new(stream, sniffed.bytes))).await
        }
        (Protocol::Http1 | Protocol::Http2PriorKnowledge, Greeting::None) => {
            drop(connection);
            Box::pin(plain::serve(flow, stream, sniffed)).await
        }
        (Protocol::Tls | Protocol::Http1 | Protocol::Http2PriorKnowledge, Greeting::Passed) => {
            flow.deny(&Denial::uninspectable(flow.destination.to_string()));
            stream.abort();
        }
        (Protocol::Unknown | Protocol::Silent | Protocol::Eof, _) => {
            relay(flow, (sniffed.bytes, stream), connection, opened).await
        }
    }
}

/// Relays what nobody reads, where a rule lets it be relayed so.
async fn relay(
    flow: &Flow,
    (bytes, stream): (Bytes, net::TcpStream),
    connection: Connection,
    opened: Opened,
) {
    let addr = connection.leave().addr();
    let (host, rule) = match unread(flow, &opened, addr.map(|addr| addr.ip())) {
        Ok(leave) => leave,
        Err(denial) => {
            flow.deny(&denial);
            return stream.abort();
        }
    };
    observe(flow, &opened, addr.map(|addr| addr.ip()));
    if let Opened::Names(names) = opened
        && let Err(denial) = flow.stand.on(Ground::Named { names, addr, read: Reading::Never })
    {
        flow.deny(&denial);
        return stream.abort();
    }
    flow.serves(Served { kind: FlowKind::Opaque, host, upstream: addr, rule: Some(rule) });
    flow.relay((bytes, stream), connection.stream).await;
}

/// The name and the rule by which a flow may be relayed unread. A rule about its address was judged so already.
fn unread(flow: &Flow, opened: &Opened, addr: Option<IpAddr>) -> Result<(Option<HostName>, String), Denial> {
    let names = match opened {
        Opened::Address(rule) => return Ok((None, rule.source().to_string())),
        Opened::Names(names) => names,
    };
    let policy = flow.context.policy.current();
    let mut denied = None;
    for name in names {
        match policy.at_unread(name, addr) {
            Verdict::Allow(()) => return Ok((Some(name.host().clone()), name.rule().to_string())),
            Verdict::Deny(denial) => denied = denied.or(Some(denial)),
        }
    }
    Err(denied.unwrap_or_else(|| Denial::uninspectable(flow.destination.to_string())))
}

/// Tells where only an observing policy relays this unread. One that carries a name is told by that name.
fn observe(flow: &Flow, opened: &Opened, addr: Option<IpAddr>) {
    flow.observe(|enforced| {
        let names = flow.context.resolver.names().borrow();
        match enforced.at_syn(flow.destination, &names, flow.started.into_std()) {
            AtSyn::Refuse(denial) => Some(denial),
            AtSyn::Sniff | AtSyn::DialFirst { .. } | AtSyn::DialByName(_) => match opened {
                Opened::Names(names) => {
                    let mut denied =
                        names.iter().map(|name| enforced.at_unread(name, addr).into_result().err());
                    denied.next().flatten().filter(|_| denied.all(|denial| denial.is_some()))
                }
                Opened::Address(_) => None,
            },
        }
    });
}

/// What a server said before its guest spoke.
enum Greeting {
    None,
    Passed,
}

/// Passes on what the server says while the guest is looked at; ready when the server has ended.
///
/// Octets go straight into the guest's ring, so none is on the way when the guest has shown what it speaks.
fn pass_greeting(
    cx: &mut Context<'_>,
    (guest, server): (&mut net::TcpStream, &mut Stream),
    greeting: &mut Greeting,
    budget: usize,
) -> Poll<io::Result<Protocol>> {
    let (mut moved, waker) = (0, cx.waker());
    while moved < budget {
        let read = |ring: &mut [u8]| server.try_read(&mut Context::from_waker(waker), ring);
        match ready!(guest.poll_fill(cx, read)) {
            // The relay will find the end again, and pass it on.
            Ok(0) => return Poll::Ready(Ok(Protocol::Unknown)),
            Ok(count) => {
                moved += count;
                *greeting = Greeting::Passed;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
