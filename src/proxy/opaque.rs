//! A flow on a port where anything may be spoken: dialled before the guest's SYN is answered, then spliced.
//!
//! It is sniffed all the same where a host name allowed it: TLS and HTTP go by the name they carry, as on
//! any port. A server that speaks first is heard first; a guest that then begins TLS or HTTP is reset, since
//! it can no longer be intercepted.

use std::io;

use tokio::io::AsyncWriteExt as _;

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
        tokio::select! {
            biased;
            protocol = sniffer.run(&mut stream) => {
                let protocol = protocol.ok()?;
                if protocol != Protocol::Silent {
                    break protocol;
                }
                // It waits for the server. What it says first is looked at whenever it comes.
                sniffer = Sniffer::new(limits);
            }
            ready = dialled.stream.readable() => {
                ready.ok()?;
                match pass_greeting(&mut stream, &dialled).await.ok()? {
                    Greeting::Ended => break Protocol::Unknown,
                    Greeting::Passed => greeting = Greeting::Passed,
                    Greeting::None => {}
                }
            }
        }
    };
    let sniffed = sniffer.finish(protocol);
    match (protocol, greeting) {
        (Protocol::Tls, Greeting::None) => {
            Box::pin(tls::serve(flow, Rewind::new(stream, sniffed.bytes))).await
        }
        (Protocol::Http1 | Protocol::Http2PriorKnowledge, Greeting::None) => {
            Box::pin(plain::serve(flow, stream, sniffed)).await
        }
        (
            Protocol::Tls | Protocol::Http1 | Protocol::Http2PriorKnowledge,
            Greeting::Passed | Greeting::Ended,
        ) => {
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
    Ended,
}

/// Octets of a greeting passed on at once.
const GREETING: usize = 4096;

/// Passes on what the server has sent so far.
async fn pass_greeting(stream: &mut net::TcpStream, dialled: &Dialled) -> io::Result<Greeting> {
    let mut buffer = [0; GREETING];
    match dialled.stream.try_read(&mut buffer) {
        Ok(0) => Ok(Greeting::Ended),
        Ok(count) => {
            stream.write_all(buffer.get(..count).unwrap_or_default()).await?;
            Ok(Greeting::Passed)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Greeting::None),
        Err(error) => Err(error),
    }
}

async fn relay(flow: &Flow, stream: net::TcpStream, upstream: tokio::net::TcpStream) {
    if let Err(error) = splice(stream, upstream, flow.context.limits.bytes_per_turn).await {
        tracing::debug!(flow = flow.id, %error, "relay ended");
    }
}
