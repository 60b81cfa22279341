//! A flow on a port where anything may be spoken: dialled before the guest's SYN is answered, then spliced.
//!
//! It is sniffed all the same where a host name allowed it: TLS and HTTP go by the name they carry, as on
//! any port. A server that speaks first is heard first; a guest that then begins TLS or HTTP is reset, since
//! it can no longer be intercepted.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWriteExt as _;

use super::flow::{Flow, Served};
use super::leaning::Leaning;
use super::splice::splice;
use super::way::Way;
use super::{plain, tls};
use crate::audit::FlowKind;
use crate::net::{self, Incoming};
use crate::policy::{Denial, Destination, NamePermit, Permit};
use crate::sniff::{Protocol, Rewind, Sniffer};
use crate::upstream::Stream;

/// What an opaque flow is to be connected to.
pub(super) enum Goal {
    /// These addresses, allowed by these names.
    Addresses(Vec<Permit>, Vec<NamePermit>),
    /// The name, whose addresses a proxy finds.
    Name(NamePermit),
}

/// Dials what was permitted, then accepts and serves.
///
/// The host alias is never inspected: it is this machine, by an explicit rule.
pub(super) async fn serve(flow: &Flow, incoming: Incoming, goal: Goal) -> Option<Served> {
    let context = &flow.context;
    let (first, permits) = match goal {
        Goal::Addresses(permits, names) => (names.into_iter().next()?, Some(permits)),
        Goal::Name(name) => (name, None),
    };
    let _leaning = Leaning::on(context, flow.destination.ip(), first.host().clone());
    let way = Way::to(context, first.host(), first.port());
    let dialling = async {
        match permits {
            Some(permits) => way.dial(context, permits).await,
            None => way.tunnel(context, vec![Destination::Name(first.clone())]).await,
        }
    };
    let connected = tokio::select! {
        connected = dialling => connected,
        () = incoming.cancelled() => return None,
    };
    let connection = match connected {
        Ok(connection) => connection,
        Err(error) => {
            tracing::info!(flow = flow.id, host = %first.host(), %error, "dial failed");
            incoming.refuse();
            return None;
        }
    };
    let served = Served {
        kind: FlowKind::Opaque,
        host: Some(first.host().clone()),
        upstream: connection.destination().addr(),
        rule: Some(first.rule().to_string()),
    };
    let stream = incoming.accept();
    flow.watch(&stream);
    if first.host().is_host_alias() {
        relay(flow, stream, connection.stream).await;
        return Some(served);
    }
    inspect_and_relay(flow, stream, connection.stream, served).await
}

/// Looks for TLS and HTTP in the guest's first bytes, while the server may greet.
async fn inspect_and_relay(
    flow: &Flow,
    mut stream: net::TcpStream,
    mut upstream: Stream,
    served: Served,
) -> Option<Served> {
    let limits = &flow.context.limits;
    let mut sniffer = Sniffer::new(limits);
    let mut greeting = Greeting::None;
    let protocol = loop {
        let greet = |cx: &mut Context<'_>, stream: &mut net::TcpStream| {
            pass_greeting(cx, (stream, &mut upstream), &mut greeting, limits.bytes_per_turn)
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
            upstream.write_all(&sniffed.bytes).await.ok()?;
            upstream.flush().await.ok()?;
            relay(flow, stream, upstream).await;
            Some(served)
        }
    }
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

async fn relay(flow: &Flow, stream: net::TcpStream, upstream: Stream) {
    if let Err(error) = splice(stream, upstream, flow.context.limits.bytes_per_turn).await {
        tracing::debug!(flow = flow.id, %error, "relay ended");
    }
}
