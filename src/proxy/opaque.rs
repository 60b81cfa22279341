//! A flow on a port where anything may be spoken: dialled before the guest's SYN is answered, then spliced.
//!
//! It is sniffed all the same where a host name allowed it: TLS and HTTP go by the name they carry, as on
//! any port. A server that speaks first is heard first; a guest that then begins TLS or HTTP is reset, since
//! it can no longer be intercepted.

use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::dial::dial_any;
use super::flow::{Flow, Served};
use super::ground::{Ground, Reading};
use super::leaning::Leaning;
use super::splice::splice;
use super::{plain, tls};
use crate::audit::FlowKind;
use crate::name::HostName;
use crate::net::{self, Incoming};
use crate::policy::{Denial, Dialled, Opened, Permit, Verdict};
use crate::sniff::{Protocol, Rewind, Sniffer};

/// Dials what was permitted, then accepts and serves.
///
/// The host alias is never inspected: it is this machine, by an explicit rule.
pub(super) async fn serve(
    flow: &Flow,
    incoming: Incoming,
    permits: Vec<Permit>,
    opened: Opened,
) -> Option<Served> {
    let context = &flow.context;
    let host = match &opened {
        Opened::Names(names) => names.first().map(|name| name.host().clone()),
        Opened::Address(_) => None,
    };
    let ground = |addr| match &opened {
        Opened::Names(names) => Ground::Named { names: names.clone(), addr, read: Reading::Perhaps },
        Opened::Address(_) => Ground::Address { destination: flow.destination, name: None },
    };
    if let Err(denial) = flow.stand.on(ground(None)) {
        flow.deny(&denial);
        incoming.refuse();
        return None;
    }
    let _leaning = host.clone().map(|host| Leaning::on(context, flow.destination.ip(), host));
    let dialled = tokio::select! {
        dialled = dial_any(&context.dial, permits, context.limits.dial) => dialled,
        () = incoming.cancelled() => return None,
    };
    let dialled = match dialled {
        Ok(dialled) => dialled,
        Err(error) => {
            tracing::debug!(flow = flow.id, %error, "dial failed");
            incoming.refuse();
            return None;
        }
    };
    if let Err(denial) = flow.stand.on(ground(Some(dialled.permit().addr()))) {
        flow.deny(&denial);
        incoming.refuse();
        return None;
    }
    let stream = incoming.accept();
    flow.watch(&stream);
    inspect_and_relay(flow, stream, dialled, opened).await
}

/// Looks for TLS and HTTP in the guest's first bytes, while the server may greet.
async fn inspect_and_relay(
    flow: &Flow,
    mut stream: net::TcpStream,
    dialled: Dialled,
    opened: Opened,
) -> Option<Served> {
    let limits = &flow.context.limits;
    let is_this_machine = match &opened {
        Opened::Names(names) => names.iter().any(|name| name.host().is_host_alias()),
        Opened::Address(_) => false,
    };
    if is_this_machine {
        return relay(flow, (Bytes::new(), stream), dialled, opened).await;
    }
    let mut sniffer = Sniffer::new(limits);
    let mut greeting = Greeting::None;
    let protocol = loop {
        let greet = |cx: &mut Context<'_>, stream: &mut net::TcpStream| {
            pass_greeting(cx, (stream, &dialled.stream), &mut greeting, limits.bytes_per_turn)
        };
        let protocol = sniffer.run_beside(&mut stream, greet).await.ok()?;
        if protocol != Protocol::Silent {
            break protocol;
        }
        // It waits for the server. What it says first is looked at whenever it comes.
        sniffer = Sniffer::new(limits);
    };
    let sniffed = sniffer.finish(protocol);
    match (protocol, greeting) {
        (Protocol::Tls, Greeting::None) => {
            Box::pin(tls::serve(flow, Rewind::new(stream, sniffed.bytes))).await
        }
        (Protocol::Http1 | Protocol::Http2PriorKnowledge, Greeting::None) => {
            Box::pin(plain::serve(flow, stream, sniffed)).await
        }
        (Protocol::Tls | Protocol::Http1 | Protocol::Http2PriorKnowledge, Greeting::Passed) => {
            flow.deny(&Denial::uninspectable(flow.destination.to_string()));
            stream.abort();
            None
        }
        (Protocol::Unknown | Protocol::Silent | Protocol::Eof, _) => {
            relay(flow, (sniffed.bytes, stream), dialled, opened).await
        }
    }
}

/// Relays what nobody reads, where a rule lets it be relayed so.
async fn relay(
    flow: &Flow,
    (bytes, stream): (Bytes, net::TcpStream),
    dialled: Dialled,
    opened: Opened,
) -> Option<Served> {
    let addr = dialled.permit().addr();
    let (host, rule) = match unread(flow, &opened, addr.ip()) {
        Ok(leave) => leave,
        Err(denial) => {
            flow.deny(&denial);
            stream.abort();
            return None;
        }
    };
    if let Opened::Names(names) = opened
        && let Err(denial) = flow.stand.on(Ground::Named { names, addr: Some(addr), read: Reading::Never })
    {
        flow.deny(&denial);
        stream.abort();
        return None;
    }
    let mut upstream = dialled.stream;
    upstream.write_all(&bytes).await.ok()?;
    if let Err(error) = splice(stream, &mut upstream, flow.context.limits.bytes_per_turn).await {
        tracing::debug!(flow = flow.id, %error, "relay ended");
    }
    Some(Served { kind: FlowKind::Opaque, host, upstream: Some(addr), rule: Some(rule) })
}

/// The name and the rule by which a flow may be relayed unread. A rule about its address was judged so already.
fn unread(flow: &Flow, opened: &Opened, addr: IpAddr) -> Result<(Option<HostName>, String), Denial> {
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
    (guest, server): (&mut net::TcpStream, &TcpStream),
    greeting: &mut Greeting,
    budget: usize,
) -> Poll<io::Result<Protocol>> {
    let mut moved = 0;
    while moved < budget {
        match ready!(guest.poll_fill(cx, |ring| server.try_read(ring))) {
            // The relay will find the end again, and pass it on.
            Ok(0) => return Poll::Ready(Ok(Protocol::Unknown)),
            Ok(count) => {
                moved += count;
                *greeting = Greeting::Passed;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(server.poll_read_ready(cx))?,
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}
