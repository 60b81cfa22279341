//! Judgement of datagrams: UDP and echo requests, by the address the guest chose.
//!
//! A datagram carries no name that could be looked at, so the name is the one that DNS bound to the address, or
//! the one that an address of the sandbox's own stands for. Invariant: a permit is for the guest's own address,
//! for the operator's `--connect-to` address of that name and port, or for this machine's loopback by an explicit
//! rule; a rule of another protocol counts for nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::dns::{Meaning, Names};
use crate::name::{Host, HostName};

use super::denial::Denial;
use super::permit::{DatagramPermit, Machine};
use super::rule::{Asked, Called, Carried, Place, Rule};
use super::service::{Reserved, Service};
use super::verdict::AtDatagram;
use super::{LOOPBACK, Policy};

/// An address that was judged, with its name and the rule that opened it.
struct Judged {
    addr: SocketAddr,
    host: Option<HostName>,
    rule: Arc<Rule>,
    machine: Machine,
}

impl Policy {
    /// Judges the first UDP datagram of an association by its destination.
    ///
    /// DNS to port 53 is the sandbox's own and is not asked about here.
    pub fn at_datagram(
        &self,
        destination: SocketAddr,
        names: &Names,
        now: Instant,
    ) -> AtDatagram<SocketAddr> {
        let (addr, port) = (destination.ip(), destination.port());
        if let Some(reserved) = Reserved::of_port(port) {
            let host = Host::Address(addr).to_string();
            return AtDatagram::Refuse(Denial::by_reservation(&host, port, reserved));
        }
        verdict(self.datagram(addr, Service::Udp(port), names, now), |addr| addr)
    }

    /// Judges an echo request by its destination. The gateway answers those to itself before policy is asked.
    pub fn at_echo(&self, destination: IpAddr, names: &Names, now: Instant) -> AtDatagram<IpAddr> {
        verdict(self.datagram(destination, Service::Icmp, names, now), |addr| addr.ip())
    }

    fn datagram(
        &self,
        addr: IpAddr,
        service: Service,
        names: &Names,
        now: Instant,
    ) -> Result<(Judged, Option<Judged>), Denial> {
        let one = match names.meaning(addr) {
            Meaning::Gateway => return self.alias_datagram(addr, service),
            Meaning::Mapped(Some(name)) => self.mapped_datagram(name, service),
            Meaning::Mapped(None) => Err(Denial::forgotten(addr, service)),
            Meaning::Elsewhere => self.bound_datagram(addr, service, names.names_of(addr, now)),
        };
        Ok((one?, None))
    }

    fn alias_datagram(&self, addr: IpAddr, service: Service) -> Result<(Judged, Option<Judged>), Denial> {
        let host = HostName::alias();
        let rule = self.opened(&host, service).map_err(|_| Denial::not_loopback(addr, service))?;
        let judged = |addr| {
            let addr = self.addressed(&host, service, addr)?;
            Ok(Judged { addr, host: Some(host.clone()), rule: Arc::clone(rule), machine: Machine::Meant })
        };
        let [v4, v6] = LOOPBACK;
        Ok((judged(v4)?, Some(judged(v6)?)))
    }

    /// A name with an address of the sandbox's own is where the operator's `--connect-to` says, and nowhere else.
    fn mapped_datagram(&self, name: &HostName, service: Service) -> Result<Judged, Denial> {
        let rule = self.opened(name, service)?;
        let to = service.port().and_then(|port| self.connect_to(name, port));
        let Some(to) = to else {
            let there = self.is_resolved_there(name);
            return Err(if there { Denial::resolved_there } else { Denial::sent_nowhere }(name, service));
        };
        let addr = self.addressed(name, service, to.ip())?;
        Ok(Judged { addr, host: Some(name.clone()), rule: Arc::clone(rule), machine: Machine::Meant })
    }

    /// The first bound name that allows it decides; where none does, the first denial is told.
    fn bound_datagram<'a>(
        &self,
        addr: IpAddr,
        service: Service,
        names: impl Iterator<Item = &'a HostName>,
    ) -> Result<Judged, Denial> {
        let mut denied = None;
        for name in names {
            let place = Place::Address(addr);
            let asked =
                Asked { service: Some(service), called: Called::Name(name), place, carried: Carried::Unread };
            let rule = self.judge_place(asked).map_err(|blocked| self.denial(name, service, blocked));
            let judged = rule.and_then(|rule| {
                let machine = self.machine(Some(name), service, addr);
                let addr = self.addressed(name, service, addr)?;
                Ok(Judged { addr, host: Some(name.clone()), rule: Arc::clone(rule), machine })
            });
            match judged {
                Ok(judged) => return Ok(judged),
                Err(denial) => denied = denied.or(Some(denial)),
            }
        }
        match denied {
            Some(denial) => Err(denial),
            None => self.nameless_datagram(addr, service),
        }
    }

    /// An address that no name is bound to is judged as such.
    fn nameless_datagram(&self, addr: IpAddr, service: Service) -> Result<Judged, Denial> {
        let place = Place::Address(addr);
        let asked =
            Asked { service: Some(service), called: Called::Nothing, place, carried: Carried::Unread };
        match self.judge_place(asked) {
            Ok(rule) => {
                let machine = self.machine(None, service, addr);
                let addr = SocketAddr::new(addr, service.port().unwrap_or_default());
                Ok(Judged { addr, host: None, rule: Arc::clone(rule), machine })
            }
            Err(blocked) => Err(Denial::of_address(addr, service, blocked)),
        }
    }
}

fn verdict<A: Copy>(
    judged: Result<(Judged, Option<Judged>), Denial>,
    address: impl Fn(SocketAddr) -> A,
) -> AtDatagram<A> {
    let permit =
        |Judged { addr, host, rule, machine }| DatagramPermit::new(address(addr), host, rule, machine);
    match judged {
        Ok((first, other)) => AtDatagram::Dial(permit(first), other.into_iter().map(permit).collect()),
        Err(denial) => AtDatagram::Refuse(denial),
    }
}

#[cfg(test)]
mod tests;
