//! What lies behind an operator's proxy.
//!
//! A proxy is no rule: it is a way to what a rule allows. Invariant: leave to connect to a proxy is given only for
//! a destination that was judged, and the host alias and `--connect-to` never lead through one.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::name::{Host, HostName};
use crate::upstream::{Options, Proxy, Resolve, Upstreams};

use super::denial::Denial;
use super::permit::{Machine, Permit};
use super::reason::Reason;
use super::rule::{Asked, Called, Carried, Place};
use super::service::Service;
use super::verdict::{NamePermit, Verdict};
use super::{Builder, Policy};

/// What a connection leads to in the end, as policy allowed it.
#[derive(Debug)]
#[must_use = "a permit that is not dialled is a decision thrown away"]
pub enum Leave {
    /// The address that was judged.
    Address(Permit),
    /// A name whose addresses are the proxy's to find, and to judge.
    Name(NamePermit),
}

impl Leave {
    /// The name it was judged for; none for an address allowed by itself.
    #[must_use]
    pub fn host(&self) -> Option<&HostName> {
        match self {
            Self::Address(permit) => permit.host(),
            Self::Name(permit) => Some(permit.host()),
        }
    }

    /// The address, where it is known here.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(permit) => Some(permit.addr()),
            Self::Name(_) => None,
        }
    }
}

impl Builder {
    /// Sets which hosts are reached by which way.
    pub fn upstreams(mut self, upstreams: Arc<Upstreams>) -> Self {
        self.0.upstreams = upstreams;
        self
    }
}

impl Policy {
    /// Which hosts are reached by which way.
    #[must_use]
    pub fn upstreams(&self) -> &Arc<Upstreams> {
        &self.upstreams
    }

    /// The options of `host`, where it has any.
    #[must_use]
    pub fn options_of(&self, host: &HostName) -> Option<&Options> {
        self.upstreams.of(host)
    }

    /// The proxy that leads to `host` at `port`, if one does.
    #[must_use]
    pub fn proxy_of(&self, host: &HostName, port: u16) -> Option<&Proxy> {
        if host.is_host_alias() || self.connect_to(host, port).is_some() {
            return None;
        }
        self.upstreams.proxy_of(host)
    }

    /// Judges one address of the operator's proxy, which is to be asked for what was allowed and for nothing else: the
    /// platform's rules have to allow it, and those of the sandbox's own say nothing of it.
    pub(crate) fn at_proxy(&self, proxy: &Proxy, addr: IpAddr, _: &Leave) -> Verdict<Permit> {
        let (to, service) = (SocketAddr::new(addr, proxy.port()), Service::Tcp(proxy.port()));
        let called = match proxy.host() {
            Host::Name(name) => Called::Name(name),
            Host::Address(_) => Called::Nothing,
        };
        let carried = Carried::Unread;
        let asked = Asked { service: Some(service), called, place: Place::Address(addr), carried };
        match self.judge_detour(asked, to) {
            Ok(()) => Verdict::Allow(Permit::new(to, None, Machine::Meant)),
            Err(_) => Verdict::Deny(Denial::by_floor(format!("proxy {}{service}", proxy.host()))),
        }
    }

    /// Whether the addresses of `host` are for a proxy to find.
    pub(super) fn is_resolved_there(&self, host: &HostName) -> bool {
        !host.is_host_alias()
            && self.upstreams.proxy_of(host).is_some_and(|proxy| proxy.resolve() == Resolve::There)
    }
}

impl Denial {
    /// `host` is reached through a proxy that finds its addresses, and a proxy takes TCP alone.
    pub(super) fn resolved_there(host: &HostName, service: Service) -> Self {
        Self {
            reason: Reason::ResolvedThere,
            target: format!("{host}{service}"),
            rule: "[proxy] resolve".to_owned(),
            hint: format!("send {host} to a proxy with resolve = \"here\", or to none"),
            observed: false,
        }
    }
}

#[cfg(test)]
mod tests;
