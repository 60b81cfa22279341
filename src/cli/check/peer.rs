//! `check --peer`: whether somebody outside would be let in by a published port.
//!
//! It binds nothing; whether a packet gets here at all is the network's to say. Invariant: each port that leads to the
//! one of the guest's is judged by the very question that the sandbox asks when somebody connects.

use std::net::{IpAddr, SocketAddr};

use super::asked::{Unreadable, Usage};
use super::judged::Judged;
use crate::config::Config;
use crate::name::parse_port;
use crate::policy::{Denial, Policy, Publish, Transport};

/// A port of the guest's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Inward {
    port: u16,
    transport: Transport,
}

impl Inward {
    /// Reads `GUESTPORT`, `GUESTPORT/tcp` or `GUESTPORT/udp`.
    pub(super) fn parse(words: &[String]) -> Result<Self, Unreadable> {
        let [text] = words else { return Err(Unreadable::Usage(Usage::Peer)) };
        let (digits, transport) = match text.split_once('/') {
            None | Some((_, "tcp")) => (text.strip_suffix("/tcp").unwrap_or(text), Transport::Tcp),
            Some((digits, "udp")) => (digits, Transport::Udp),
            Some(_) => return Err(Unreadable::Usage(Usage::Peer)),
        };
        let port = parse_port(digits).map_err(|_| Unreadable::Usage(Usage::Peer))?;
        Ok(Self { port, transport })
    }

    fn is_led_to_by(self, publish: &Publish) -> bool {
        publish.guest_port() == self.port && publish.transport() == self.transport
    }

    fn suffix(self) -> &'static str {
        match self.transport {
            Transport::Tcp => "",
            Transport::Udp => "/udp",
        }
    }
}

/// Judges `peer` at each published port that leads to the guest's. One that lets it in is enough; the others are told.
pub(super) fn judge(config: &Config, peer: IpAddr, inward: Inward) -> Judged {
    let policy = config.policy();
    let judged: Vec<_> = config
        .publish
        .iter()
        .filter(|publish| inward.is_led_to_by(publish))
        .map(|publish| (publish, denial(&policy, publish, peer)))
        .collect();
    let Some((first, denied)) = judged.iter().find(|(_, denied)| denied.is_none()).or(judged.first()) else {
        return unpublished(peer, inward);
    };
    let request = format!("{peer} to {first}");
    let own = unreachable(first, peer);
    let others =
        judged.iter().filter(|(publish, _)| publish != first).map(|(publish, denied)| match denied {
            None => format!("also open: {publish}"),
            Some(Denial { reason, rule, .. }) => format!("closed: {publish}, {reason} (rule: {rule})"),
        });
    let told = own.into_iter().chain(others).collect();
    match denied {
        None => Judged::Allowed {
            request,
            rule: format!("publish {first}"),
            address: format!("{peer}, let in"),
            notes: told,
            secrets: None,
        },
        Some(denial) => Judged::denied(request, denial.clone()).with(told),
    }
}

/// A peer's own port decides nothing.
fn denial(policy: &Policy, publish: &Publish, peer: IpAddr) -> Option<Denial> {
    policy.at_peer(publish, SocketAddr::new(peer, 1)).into_result().err()
}

/// What no rule says: who can get at the port at all.
fn unreachable(publish: &Publish, peer: IpAddr) -> Option<String> {
    let bound = publish.bind().ip();
    let is_elsewhere = bound.is_loopback() && !peer.to_canonical().is_loopback();
    is_elsewhere.then(|| format!("bound: to {bound}, which is reached from this machine alone"))
}

fn unpublished(peer: IpAddr, inward: Inward) -> Judged {
    let Inward { port, .. } = inward;
    let suffix = inward.suffix();
    Judged::Denied {
        request: Some(format!("{peer} to port {port}{suffix} of the guest")),
        reason: "no published port leads there".to_owned(),
        rule: "default".to_owned(),
        hint: format!("--publish HOST:{port}{suffix}"),
        notes: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
