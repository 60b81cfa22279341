//! A flow that speaks TLS: judged by its SNI, upstream verified first, then terminated and mirrored.

use std::net::SocketAddr;

use rustls::AlertDescription;

use super::address;
use super::flow::{Flow, Served, Told, explained};
use super::ground::Ground;
use crate::audit::FlowKind;
use crate::http::{self, Refusal, Upstream};
use crate::name::{Origin, Scheme};
use crate::net;
use crate::policy::{Denial, NamePermit, Verdict};
use crate::sniff::Rewind;
use crate::tls::{self, Alpn, Hello, Sni, VerifiedUpstream};

type Guest = Hello<net::TcpStream>;

/// Serves one TLS flow to its end.
pub(super) async fn serve(flow: &Flow, stream: Rewind<net::TcpStream>) {
    let context = &flow.context;
    let hello = match tls::hello(stream, &context.limits).await {
        Ok(hello) => hello,
        Err(error) => {
            context.handshake(|counts| counts.guest_failed += 1);
            tracing::debug!(flow = flow.id, %error, "no ClientHello");
            return;
        }
    };
    let host = match &hello.sni {
        Sni::Name(host) => host.clone(),
        Sni::Absent | Sni::Odd(_) => {
            let denial = Denial::nameless(flow.destination);
            return match address::judge(flow, None, denial) {
                Ok(by) => address::relay(flow, by, hello.into_unread().into_parts()).await,
                Err(denial) => refuse(flow, hello, &denial, AlertDescription::UnrecognisedName).await,
            };
        }
    };
    let origin = Origin { scheme: Scheme::Https, host, port: flow.destination.port() };
    let policy = context.policy.current();
    let verdict = match policy.at_name(&origin) {
        Verdict::Allow(permit) => {
            flow.observe(|enforced| enforced.at_name(&origin).into_result().err());
            Verdict::Allow(permit)
        }
        Verdict::Deny(denial) => match address::judge(flow, Some(&origin.host), denial) {
            Ok(by) => return address::relay(flow, by, hello.into_unread().into_parts()).await,
            Err(denial) => Verdict::Deny(denial),
        },
    };
    if policy.is_passed_through(&origin.host) {
        return match verdict {
            Verdict::Allow(permit) => pass_through(flow, hello, &permit).await,
            Verdict::Deny(denial) => refuse(flow, hello, &denial, AlertDescription::AccessDenied).await,
        };
    }
    if hello.alpn.is_empty() && hello.other_alpn {
        let denial = Denial::uninspectable(origin.authority());
        return refuse(flow, hello, &denial, AlertDescription::NoApplicationProtocol).await;
    }
    let reached = match verdict {
        Verdict::Allow(permit) => reach(flow, &origin, &permit, &hello.alpn).await,
        Verdict::Deny(denial) => Err(flow.refuse(explained(&denial), &denial)),
    };
    terminate(flow, hello, origin, reached).await
}

/// Ends a handshake that no answer of HTTP can explain.
async fn refuse(flow: &Flow, hello: Guest, denial: &Denial, alert: AlertDescription) {
    flow.deny(denial);
    flow.context.handshake(|counts| counts.guest_refused += 1);
    if let Err(error) = hello.refuse(alert).await {
        tracing::debug!(flow = flow.id, %error, "alert not sent");
    }
}

/// An upstream that proved its name, and the address it was reached at.
struct Reached {
    upstream: VerifiedUpstream,
    addr: Option<SocketAddr>,
    rule: String,
}

/// Resolves, judges, dials and verifies; a failure is what the guest will be told.
async fn reach(
    flow: &Flow,
    origin: &Origin,
    permit: &NamePermit,
    offer: &[Alpn],
) -> Result<Reached, Refusal> {
    flow.stand_on(Ground::Read { origin: origin.clone(), addr: None })?;
    let connection = flow.dial(permit).await?;
    let addr = connection.leave().addr();
    flow.stand_on(Ground::Read { origin: origin.clone(), addr })?;
    let upstream = flow.context.connector.connect(connection, origin, offer).await.map_err(|error| {
        flow.context.handshake(|counts| counts.upstream_failed += 1);
        tracing::info!(flow = flow.id, host = %permit.host(), %error, "upstream not verified");
        Refusal::new(error.status(), error.proxy_status(), error.to_string())
    })?;
    flow.context.handshake(|counts| counts.upstream_verified += 1);
    Ok(Reached { upstream, addr, rule: permit.rule().to_string() })
}

/// Answers the guest's handshake and mirrors HTTP.
async fn terminate(flow: &Flow, hello: Guest, origin: Origin, reached: Result<Reached, Refusal>) {
    let (alpn, upstream, addr, rule) = match reached {
        Ok(Reached { upstream, addr, rule }) => {
            let (stream, peer, alpn) = upstream.into_parts();
            (alpn, Upstream::Verified { stream: peer.hear(stream), peer }, addr, Some(rule))
        }
        Err(refusal) => {
            let _ = flow.stand.on(Ground::Refused { origin: origin.clone() });
            let alpn = hello.alpn.first().copied().unwrap_or(Alpn::Http1);
            (alpn, Upstream::Refused(refusal), None, None)
        }
    };
    let negotiated: &[Alpn] = if hello.alpn.is_empty() { &[] } else { &[alpn] };
    let config = match flow.context.leaves.server_config(&origin.host, negotiated, tls::wall_clock()) {
        Ok(config) => config,
        Err(error) => {
            tracing::error!(flow = flow.id, host = %origin.host, %error, "no leaf");
            return;
        }
    };
    let guest = match hello.accept(config).await {
        Ok(guest) => guest,
        Err(error) => {
            flow.context.handshake(|counts| counts.guest_failed += 1);
            tracing::info!(flow = flow.id, host = %origin.host, %error, "handshake with the guest failed");
            return;
        }
    };
    flow.context.handshake(|counts| counts.guest_accepted += 1);
    let told = if rule.is_some() { Told::Nothing } else { Told::Denial };
    flow.serves(Served { kind: FlowKind::Https, host: Some(origin.host.clone()), upstream: addr, rule });
    Box::pin(http::serve(guest, alpn, upstream, flow.mirror(origin, addr, told))).await;
}

/// Splices TLS to a host that is never decrypted.
async fn pass_through(flow: &Flow, hello: Guest, permit: &NamePermit) {
    let ground = |addr| Ground::Spliced { host: permit.host().clone(), port: permit.port(), addr };
    if let Err(denial) = flow.stand.on(ground(None)) {
        return refuse(flow, hello, &denial, AlertDescription::AccessDenied).await;
    }
    // Without one the guest's side is reset by its drop: there is no TLS of ours to say more in.
    let Some(connection) = flow.dial_untold(permit).await else { return };
    let addr = connection.leave().addr();
    if let Err(denial) = flow.stand.on(ground(addr)) {
        return refuse(flow, hello, &denial, AlertDescription::AccessDenied).await;
    }
    flow.serves(Served {
        kind: FlowKind::Passthrough,
        host: Some(permit.host().clone()),
        upstream: addr,
        rule: Some(permit.rule().to_string()),
    });
    flow.relay(hello.into_unread().into_parts(), connection.stream).await;
}
