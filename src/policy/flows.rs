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
        let (mut allowed, mut permit, mut by_address, mut denied) = (Vec::new(), None, None, None);
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
                Err(denial) => {
                    denied = denied.or(Some(denial));
                    by_address =
                        by_address.or(self.at_address(destination, Called::Name(name)).into_result().ok());
                }
            }
            if allowed.len() == NAMES_OF_A_FLOW {
                break;
            }
        }
        match (permit, by_address, denied) {
            (Some(permit), _, _) => {
                AtSyn::DialFirst { permits: vec![permit], opened: Opened::Names(allowed) }
            }
            (None, Some((permit, rule)), _) => {
                AtSyn::DialFirst { permits: vec![permit], opened: Opened::Address(rule) }
            }
            (None, None, Some(denial)) => AtSyn::Refuse(denial),
            (None, None, None) => self.address_at_syn(destination),
        }
    }

    fn address_at_syn(&self, destination: SocketAddr) -> AtSyn {
        match self.at_address(destination, Called::Nothing) {
            Verdict::Allow((permit, rule)) => {
                AtSyn::DialFirst { permits: vec![permit], opened: Opened::Address(rule) }
            }
            Verdict::Deny(denial) => AtSyn::Refuse(denial),
        }
    }

    /// Judges a flow that no name opened, to be relayed unread to the very address that the guest chose; `name` is
    /// what it turned out to carry. Without one it goes by any that DNS bound to its address.
    pub fn at_relay(
        &self,
        destination: SocketAddr,
        name: Option<&HostName>,
        (names, now): (&Names, Instant),
    ) -> Verdict<(Permit, Arc<Rule>)> {
        if let Some(name) = name {
            return self.at_address(destination, Called::Name(name));
        }
        let mut denied = None;
        for name in names.names_of(destination.ip(), now) {
            match self.at_address(destination, Called::Name(name)) {
                Verdict::Allow(leave) => return Verdict::Allow(leave),
                Verdict::Deny(denial) => denied = denied.or(Some(denial)),
            }
        }
        denied.map_or_else(|| self.at_address(destination, Called::Nothing), Verdict::Deny)
    }

    fn at_address(&self, destination: SocketAddr, called: Called<'_>) -> Verdict<(Permit, Arc<Rule>)> {
        let service = Service::Tcp(destination.port());
        let asked = Asked {
            service: Some(service),
            called,
            place: Place::Address(destination.ip()),
            carried: Carried::Unread,
        };
        match self.judge_place(asked) {
            Ok(rule) => {
                let machine = self.machine(None, service, destination.ip());
                Verdict::Allow((Permit::new(destination, None, machine), Arc::clone(rule)))
            }
            Err(Blocked::By(rule, layer)) => Verdict::Deny(match called {
                Called::Name(name) => Denial::by_rule(format!("{name}{service}"), rule, layer),
                Called::Unknown | Called::Nothing => Denial::by_rule(destination.to_string(), rule, layer),
            }),
            Err(blocked) => Verdict::Deny(Denial::of_address(destination.ip(), service, blocked)),
        }
    }

    /// Judges what an allowed name is relayed as, where nobody will read it: a rule about requests does not allow that.
    pub fn at_unread(&self, name: &NamePermit, addr: Option<IpAddr>) -> Verdict<()> {
        self.at_carried(name, addr, Carried::Unread)
    }

    /// The same of what is neither HTTP nor TLS, which no rule about requests is about.
    pub fn at_other(&self, name: &NamePermit, addr: Option<IpAddr>) -> Verdict<()> {
        // What leads to this machine is not looked at.
        let carried = if name.host().is_host_alias() { Carried::Unread } else { Carried::Other };
        self.at_carried(name, addr, carried)
    }

    fn at_carried(&self, name: &NamePermit, addr: Option<IpAddr>, carried: Carried<'_>) -> Verdict<()> {
        let (host, service) = (name.host(), Service::Tcp(name.port()));
        let place = self.place(host, name.port(), addr);
        let asked = Asked { service: Some(service), called: Called::Name(host), place, carried };
        match self.judge_place(asked) {
            Ok(_) => Verdict::Allow(()),
            Err(blocked) => Verdict::Deny(self.denial(host, service, blocked)),
        }
    }
}
