//! A flow on a port where anything may be spoken: dialled before the guest's SYN is answered, then spliced.
//!
//! It is sniffed all the same where a host name allowed it: TLS and HTTP go by the name they carry, as on
//! any port. A server that speaks first is heard first; a guest that then begins TLS or HTTP is reset, since
//! it can no longer be intercepted.

use std::io;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::dial::dial_any;
use super::flow::{Flow, Served};
use super::leaning::Leaning;
use super::splice::splice;
use super::{plain, tls};
use crate::audit::FlowKind;
use crate::net::{self, Incoming};
use crate::policy::{Denial, Dialled, NamePermit, Permit};
use crate::sniff::{Protocol, Rewind, Sniffer};

/// Dials what was permitted, then accepts and serves.
///
/// The host alias is never inspected: it is this machine, by an explicit rule.
pub(super) async fn serve(
    flow: &Flow,
    incoming: Incoming,
    permits: Vec<Permit>,
    names: Vec<NamePermit>,
) -> Option<Served> {
    let context = &flow.context;
    let first = names.first()?;
    let _leaning = Leaning::on(context, flow.destination.ip(), first.host().clone());
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
    let served = Served {
        kind: FlowKind::Opaque,
        host: Some(first.host().clone()),
        upstream: Some(dialled.permit().addr()),
        rule: Some(first.rule().to_string()),
    };
    let stream = incoming.accept();
    flow.watch(&stream);
    if first.host().is_host_alias() {
        relay(flow, stream, dialled.stream).await;
        return Some(served);
    }
    inspect_and_relay(flow, stream, dialled, served).await
}

/// Looks for TLS and HTTP in the guest's first bytes, while the server may greet.
async fn inspect_and_relay(
    flow: &Flow,
    mut stream: net::TcpStream,
    dialled: Dialled,
    served: Served,
) -> Option<Served> {
    let limits = &flow.context.limits;
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
            let Dialled { stream: mut upstream, .. } = dialled;
            upstream.write_all(&sniffed.bytes).await.ok()?;
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

async fn relay(flow: &Flow, stream: net::TcpStream, upstream: TcpStream) {
    if let Err(error) = splice(stream, upstream, flow.context.limits.bytes_per_turn).await {
        tracing::debug!(flow = flow.id, %error, "relay ended");
    }
}
