//! What a flow was allowed as, and whether a policy still allows that.
//!
//! It knows no flow and ends none; [`super::standing`] does. Invariant: a flow stands only where it would be allowed
//! from its beginning to where it is now, at the very address it leads to.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use ::http::Method;

use super::standing::Fall;
use crate::dns::Names;
use crate::name::{HostName, Origin, Scheme};
use crate::net::Carried;
use crate::policy::{AtDatagram, Denial, NamePermit, Policy, Publish, Reason, Verdict};

/// What a flow was allowed as.
#[derive(Debug)]
pub(super) enum Ground {
    /// HTTP that is read, by its origin; `addr` once it is dialled.
    Read { origin: Origin, addr: Option<SocketAddr> },
    /// TLS of a host that is passed through.
    Spliced { host: HostName, port: u16, addr: Option<SocketAddr> },
    /// Whatever it is, by names that DNS bound to its address.
    Named { names: Vec<NamePermit>, addr: Option<SocketAddr>, read: Reading },
    /// Whatever it is, by its address; with the name it carries.
    Address { destination: SocketAddr, name: Option<HostName> },
    /// Datagrams or echo requests.
    Datagrams { carried: Carried, destination: SocketAddr, addr: SocketAddr },
    /// A peer of a published port.
    Peer { publish: Rc<Publish>, peer: SocketAddr },
    /// HTTP to an origin that it was refused, which its guest is told on this connection.
    Refused { origin: Origin },
}

/// A request by its method and its path and query, where these are known still.
pub(super) type Asked<'a> = (&'a Method, Option<&'a str>);

/// Whether somebody may read what a flow carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// It is not known yet what it is.
    Perhaps,
    /// It is relayed as it is.
    Never,
}

impl Ground {
    /// Whether `policy` allows it, with these requests under way.
    pub(super) fn stands<'a>(
        &self,
        requests: impl IntoIterator<Item = Asked<'a>>,
        policy: &Policy,
        (names, now): (&Names, Instant),
    ) -> Result<(), Fall> {
        let stands = match self {
            Self::Read { origin, addr } => read(policy, (origin, *addr), requests),
            Self::Spliced { host, port, addr } => spliced(policy, (host, *port), *addr),
            Self::Named { names, addr, read } => named(policy, names, *addr, *read),
            Self::Address { destination, name } => {
                policy.at_relay(*destination, name.as_ref(), (names, now)).into_result().map(drop)
            }
            Self::Datagrams { carried: Carried::Udp, destination, addr } => {
                let leads = |own: SocketAddr| own == *addr;
                datagrams(policy.at_datagram(*destination, names, now), leads, *destination)
            }
            Self::Datagrams { carried: Carried::Echo, destination, addr } => {
                let leads = |own| own == addr.ip();
                datagrams(policy.at_echo(destination.ip(), names, now), leads, *destination)
            }
            Self::Peer { publish, peer } => policy.at_peer(publish, *peer).into_result().map(drop),
            Self::Refused { origin } => {
                return match policy.at_name(origin) {
                    Verdict::Allow(_) => Err(Fall::Welcome),
                    Verdict::Deny(_) => Ok(()),
                };
            }
        };
        stands.map_err(|denial| Fall::Denied(Box::new(denial)))
    }
}

fn read<'a>(
    policy: &Policy,
    (origin, addr): (&Origin, Option<SocketAddr>),
    requests: impl IntoIterator<Item = Asked<'a>>,
) -> Result<(), Denial> {
    let _ = at_place(policy, (&origin.host, origin.port), addr)?;
    if policy.is_passed_through(&origin.host) && origin.scheme == Scheme::Https {
        return Err(otherwise(origin.authority(), "[tls] passthrough"));
    }
    for (method, path) in requests {
        let addr = addr.map(|addr| addr.ip());
        match path {
            Some(path) => {
                let _ = policy.at_request(origin, addr, (method.as_str(), path)).into_result()?;
            }
            None if policy.reads_requests_of(&origin.host) => {
                return Err(otherwise(format!("{method} {origin}"), "rules about requests"));
            }
            None => {}
        }
    }
    Ok(())
}

fn spliced(policy: &Policy, (host, port): (&HostName, u16), addr: Option<SocketAddr>) -> Result<(), Denial> {
    let permit = at_place(policy, (host, port), addr)?;
    if !policy.is_passed_through(host) {
        return Err(otherwise(format!("{host}:{port}"), "[tls] passthrough"));
    }
    policy.at_unread(&permit, addr.map(|addr| addr.ip())).into_result()
}

/// One name that allows it is enough; where none does, the first denial is told.
fn named(
    policy: &Policy,
    names: &[NamePermit],
    addr: Option<SocketAddr>,
    read: Reading,
) -> Result<(), Denial> {
    let mut denied = None;
    for name in names {
        let judged = at_place(policy, (name.host(), name.port()), addr).and_then(|name| match read {
            Reading::Never => policy.at_unread(&name, addr.map(|addr| addr.ip())).into_result(),
            Reading::Perhaps => Ok(()),
        });
        match judged {
            Ok(()) => return Ok(()),
            Err(denial) => denied = denied.or(Some(denial)),
        }
    }
    denied.map_or(Ok(()), Err)
}

/// Judges a name and port, and the address and port that it was dialled at.
fn at_place(
    policy: &Policy,
    (host, port): (&HostName, u16),
    addr: Option<SocketAddr>,
) -> Result<NamePermit, Denial> {
    let permit = policy.at_host(host, port).into_result()?;
    if let Some(addr) = addr {
        let judged = policy.at_addr(&permit, addr.ip()).into_result()?;
        if judged.addr() != addr {
            return Err(otherwise(format!("{host}:{port}"), "--connect-to"));
        }
    }
    Ok(permit)
}

fn datagrams<A: Copy>(
    verdict: AtDatagram<A>,
    leads: impl Fn(A) -> bool,
    destination: SocketAddr,
) -> Result<(), Denial> {
    match verdict {
        AtDatagram::Dial(first, others) => {
            let mut permits = std::iter::once(&first).chain(&others);
            let stays = permits.any(|permit| leads(permit.addr()));
            if stays { Ok(()) } else { Err(otherwise(format!("{destination}/udp"), "--connect-to")) }
        }
        AtDatagram::Refuse(denial) => Err(denial),
    }
}

/// The way to it is another than it was: it is allowed, and not as it is.
fn otherwise(target: String, rule: &str) -> Denial {
    let hint = "connect again".to_owned();
    Denial { reason: Reason::Rule, rule: rule.to_owned(), hint, ..Denial::uninspectable(target) }
}
