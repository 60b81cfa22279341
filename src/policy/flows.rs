//! Verdicts on TCP flows: by address when they begin, by name once they carry one, and as they are relayed.
//!
//! Invariant: an opaque flow is judged by the address that the guest chose and by the names that DNS bound to it; one
//! that carries a name, by that name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use super::denial::Denial;
use super::judge::Blocked;
use super::permit::{Machine, Permit};
use super::rule::{Asked, Called, Carried, Place, Rule};
use super::service::Service;
use super::target::is_web;
use super::verdict::{AtSyn, NamePermit, Opened, Verdict};
use super::{LOOPBACK, Policy};
use crate::dns::{Meaning, Names};
use crate::name::HostName;

/// Names that an opaque flow is said to go by. More on one address are a crowded CDN, where the first that a
/// rule allows is as good as any.
const NAMES_OF_A_FLOW: usize = 16;

impl Policy {
    /// Judges a SYN by its destination and by what this sandbox's addresses mean now.
    ///
    /// 80 and 443 are sniffed: the name the flow carries decides, and a denial can be explained there. Only what a
    /// rule denies by its address is refused at once. TCP port 53 and 853 are the sandbox's own DNS and are not asked
    /// about here.
    pub fn at_syn(&self, destination: SocketAddr, names: &Names, now: Instant) -> AtSyn {
        let is_web = is_web(destination.port());
        match names.meaning(destination.ip()) {
            Meaning::Gateway | Meaning::Mapped(_) if is_web => AtSyn::Sniff,
            Meaning::Gateway => self.alias_at_syn(destination),
            Meaning::Mapped(Some(name)) => self.mapped_at_syn(name, destination.port()),
            Meaning::Mapped(None) => {
                AtSyn::Refuse(Denial::forgotten(destination.ip(), Service::Tcp(destination.port())))
            }
            Meaning::Elsewhere if is_web => self.web_at_syn(destination),
            Meaning::Elsewhere => self.opaque_at_syn(destination, names, now),
        }
    }

    /// What it carries may lead elsewhere, unless no name could help.
    fn web_at_syn(&self, destination: SocketAddr) -> AtSyn {
        let asked = Asked {
            service: Some(Service::Tcp(destination.port())),
            called: Called::Unknown,
            place: Place::Address(destination.ip()),
            carried: Carried::Unknown,
        };
        match self.judge(asked) {
            Err(Blocked::By(rule, layer)) => {
                AtSyn::Refuse(Denial::by_rule(destination.to_string(), rule, layer))
            }
            Err(Blocked::Unmentioned(_) | Blocked::Special(..)) | Ok(_) => AtSyn::Sniff,
        }
    }

    /// A name with an address of the sandbox's own: an operator's `--connect-to` says where it is; else a proxy finds it,
    /// or it is resolved now, since its rule came later than its address, or is about another port.
    fn mapped_at_syn(&self, name: &HostName, port: u16) -> AtSyn {
        let name = match self.at_host(name, port) {
            Verdict::Allow(name) => name,
            Verdict::Deny(denial) => return AtSyn::Refuse(denial),
        };
        let Some(to) = self.connect_to(name.host(), port) else { return AtSyn::DialByName(name) };
        match self.at_addr(&name, to.ip()) {
            Verdict::Allow(permit) => {
                AtSyn::DialFirst { permits: vec![permit], opened: Opened::Names(vec![name]) }
            }
            Verdict::Deny(denial) => AtSyn::Refuse(denial),
        }
    }

    fn alias_at_syn(&self, destination: SocketAddr) -> AtSyn {
        let port = destination.port();
        match self.at_host(&HostName::alias(), port) {
            Verdict::Allow(name) => {
                let host = name.host().clone();
                let permit =
                    |addr| Permit::new(SocketAddr::new(addr, port), Some(host.clone()), Machine::Meant);
                AtSyn::DialFirst { permits: LOOPBACK.map(permit).into(), opened: Opened::Names(vec![name]) }
            }
            Verdict::Deny(_) => AtSyn::Refuse(Denial::not_loopback(destination.ip(), Service::Tcp(port))),
        }
    }

    /// One address, one dial: the first name's permit stands for all. What no name opens, a rule about the address may.
    fn opaque_at_syn(&self, destination: SocketAddr, names: &Names, now: Instant) -> AtSyn {
        let (mut allowed, mut permit, mut denied) = (Vec::new(), None, None);
        for name in names.names_of(destination.ip(), now) {
            let verdict = self.at_host(name, destination.port()).into_result().and_then(|name| {
                let permit = self.at_addr(&name, destination.ip()).into_result()?;
                Ok((name, permit))
            });
            match verdict {
                Ok((name, own)) => {
                    allowed.push(name);
                    permit = permit.or(Some(own));
                }
                Err(denial) => denied = denied.or(Some(denial)),
            }
            if allowed.len() == NAMES_OF_A_FLOW {
                break;
            }
        }
        if let Some(permit) = permit {
            return AtSyn::DialFirst { permits: vec![permit], opened: Opened::Names(allowed) };
        }
        match self.at_relay(destination, None, (names, now)) {
            Verdict::Allow((permit, rule)) => {
                AtSyn::DialFirst { permits: vec![permit], opened: Opened::Address(rule) }
            }
            Verdict::Deny(own) => AtSyn::Refuse(denied.unwrap_or(own)),
        }
    }

    /// Judges a flow that no name opened, to be relayed unread to the very address that the guest chose; `name` is
    /// what it turned out to carry. Without one it goes by those that DNS bound to its address. A name opens nothing
    /// here, since nobody verifies it; a denial of it holds, of several names that of all.
    pub fn at_relay(
        &self,
        destination: SocketAddr,
        name: Option<&HostName>,
        (names, now): (&Names, Instant),
    ) -> Verdict<(Permit, Arc<Rule>)> {
        let mut denied = None;
        let bound = names.names_of(destination.ip(), now).filter(|_| name.is_none());
        for name in name.into_iter().chain(bound) {
            match self.denied_as(destination, name) {
                None => return self.at_address(destination),
                Some(denial) => denied = denied.or(Some(denial)),
            }
        }
        denied.map_or_else(|| self.at_address(destination), Verdict::Deny)
    }

    /// Why a flow to `destination` is denied under this name, where a rule does so.
    fn denied_as(&self, destination: SocketAddr, name: &HostName) -> Option<Denial> {
        let service = Service::Tcp(destination.port());
        match self.judge_place(unread(destination, Called::Name(name))) {
            Err(Blocked::By(rule, layer)) => Some(Denial::by_rule(format!("{name}{service}"), rule, layer)),
            Ok(_) | Err(Blocked::Unmentioned(_) | Blocked::Special(..)) => None,
        }
    }

    /// Judges an address by the rules about addresses.
    fn at_address(&self, destination: SocketAddr) -> Verdict<(Permit, Arc<Rule>)> {
        let service = Service::Tcp(destination.port());
        match self.judge_place(unread(destination, Called::Nothing)) {
            Ok(rule) => {
                let machine = self.machine(None, service, destination.ip());
                Verdict::Allow((Permit::new(destination, None, machine), Arc::clone(rule)))
            }
            Err(blocked) => Verdict::Deny(Denial::of_address(destination.ip(), service, blocked)),
        }
    }

    /// Judges what an allowed name is relayed as, where nobody will read it: a rule about requests does not allow that.
    pub fn at_unread(&self, name: &NamePermit, addr: Option<IpAddr>) -> Verdict<()> {
        let (host, service) = (name.host(), Service::Tcp(name.port()));
        let place = self.place(host, name.port(), addr);
        let asked =
            Asked { service: Some(service), called: Called::Name(host), place, carried: Carried::Unread };
        match self.judge_place(asked) {
            Ok(_) => Verdict::Allow(()),
            Err(blocked) => Verdict::Deny(self.denial(host, service, blocked)),
        }
    }
}

/// What is asked of a flow that nobody will read.
fn unread(destination: SocketAddr, called: Called<'_>) -> Asked<'_> {
    let service = Some(Service::Tcp(destination.port()));
    Asked { service, called, place: Place::Address(destination.ip()), carried: Carried::Unread }
}
