//! A flow that no name opens and a rule about its address does: relayed unread, to that very address.
//!
//! No secret goes that way, since nobody verified who is there. Invariant: what the flow turned out to be called is
//! judged too, so that a rule against a name holds by whatever address it is reached.

use bytes::Bytes;

use super::dial::dial_any;
use super::flow::{Flow, Served};
use super::ground::Ground;
use super::machine;
use crate::audit::FlowKind;
use crate::dns::Meaning;
use crate::name::HostName;
use crate::net;
use crate::policy::{Denial, Permit, Policy, Reason, Service};

/// Leave to relay a flow by its address.
pub(super) struct ByAddress {
    permit: Permit,
    rule: String,
    host: Option<HostName>,
}

/// Judges a flow by the address that the guest chose, `name` being what it carries; `denial` is why no name opens it.
pub(super) fn judge(flow: &Flow, name: Option<&HostName>, denial: Denial) -> Result<ByAddress, Denial> {
    if !is_elsewhere(flow) {
        return Err(denial);
    }
    let at_relay = |policy: &Policy| {
        let names = flow.context.resolver.names().borrow();
        policy.at_relay(flow.destination, name, (&names, flow.started.into_std())).into_result()
    };
    match at_relay(&flow.context.policy.current()) {
        Ok((permit, rule)) => {
            flow.observe(|enforced| at_relay(enforced).err().map(|_| denial));
            Ok(ByAddress { permit, rule: rule.source().to_string(), host: name.cloned() })
        }
        // A rule or a layer that denies it is told rather than that no name opens it.
        Err(own) => Err(if matches!(own.reason, Reason::Rule | Reason::Floor) { own } else { denial }),
    }
}

/// Whether the address that the guest chose is none of the sandbox's own.
pub(super) fn is_elsewhere(flow: &Flow) -> bool {
    let names = flow.context.resolver.names().borrow();
    matches!(names.meaning(flow.destination.ip()), Meaning::Elsewhere)
}

/// Relays a flow of which `bytes` were read already.
pub(super) async fn relay(flow: &Flow, by: ByAddress, (bytes, stream): (Bytes, net::TcpStream)) {
    let ByAddress { permit, rule, host } = by;
    let context = &flow.context;
    let ground = Ground::Address { destination: flow.destination, name: host.clone() };
    if let Err(denial) = flow.stand.on(ground) {
        flow.deny(&denial);
        return stream.abort();
    }
    let dialled = match dial_any(&context.dial, vec![permit], context.limits.dial).await {
        Ok(dialled) => dialled,
        Err(error) => {
            if let Some(addr) = machine::refused(&error) {
                let service = Service::Tcp(flow.destination.port());
                flow.deny(&Denial::this_machine(flow.destination.to_string(), service, addr));
            } else {
                tracing::info!(flow = flow.id, destination = %flow.destination, %error, "dial failed");
            }
            return stream.abort();
        }
    };
    let addr = dialled.permit().addr();
    flow.serves(Served { kind: FlowKind::Opaque, host, upstream: Some(addr), rule: Some(rule) });
    flow.relay((bytes, stream), dialled.stream.into()).await;
}
