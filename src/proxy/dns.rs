//! DNS as the guest sees it: any address, port 53 over UDP and TCP, port 853 over TLS.
//!
//! It answers no question itself. Invariant: nothing of these ports goes anywhere but to the sandbox's own service.

use std::rc::Rc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Context;
use super::flow::{Flow, Served};
use crate::audit::FlowKind;
use crate::dns::Transport;
use crate::net::{self, Datagram, Incoming};
use crate::sniff::Rewind;
use crate::tls::{self, Sni, Subject};

/// How a connection carries DNS.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Carrier {
    /// As it is (RFC 7766).
    Tcp,
    /// Under TLS (RFC 7858).
    Tls,
}

impl Carrier {
    /// The carrier of connections to `port`, where those are DNS.
    pub(super) fn of(port: u16) -> Option<Self> {
        match port {
            53 => Some(Self::Tcp),
            853 => Some(Self::Tls),
            _ => None,
        }
    }
}

/// Answers one datagram, or stays silent.
pub(super) async fn datagram(context: Rc<Context>, query: Datagram) {
    let answer = context.resolver.answer(query.payload(), Transport::Udp).await;
    if !answer.is_empty() {
        query.reply(&answer);
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(flow: &Flow, incoming: Incoming, carrier: Carrier) {
    let stream = incoming.accept();
    match carrier {
        Carrier::Tcp => answer(flow, stream).await,
        Carrier::Tls => Box::pin(under_tls(flow, stream)).await,
    }
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(flow: &Flow, stream: S) {
    flow.serves(Served { kind: FlowKind::Dns, host: None, upstream: None, rule: None });
    if let Err(error) = flow.context.resolver.serve(stream).await {
        tracing::debug!(flow = flow.id, %error, "DNS over a connection ended");
    }
}

/// Serves DNS under TLS.
///
/// Whatever name or address the guest took for its resolver's, the leaf says so: it leads nowhere else.
async fn under_tls(flow: &Flow, stream: net::TcpStream) {
    let context = &flow.context;
    let hello = match tls::hello(Rewind::new(stream, Bytes::new()), &context.limits).await {
        Ok(hello) => hello,
        Err(error) => {
            context.handshake(|counts| counts.guest_failed += 1);
            tracing::debug!(flow = flow.id, %error, "no ClientHello");
            return;
        }
    };
    let subject = match &hello.sni {
        Sni::Name(host) => Subject::Host(host.clone()),
        Sni::Absent | Sni::Odd(_) => Subject::Addr(flow.destination.ip()),
    };
    let config = match context.leaves.dns_config(subject, tls::wall_clock()) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(flow = flow.id, %error, "no leaf");
            return;
        }
    };
    match hello.accept(config).await {
        Ok(stream) => {
            context.handshake(|counts| counts.guest_accepted += 1);
            answer(flow, stream).await;
        }
        Err(error) => {
            context.handshake(|counts| counts.guest_failed += 1);
            tracing::info!(flow = flow.id, %error, "handshake for DNS failed");
        }
    }
}
