//! Questions to the host's nameservers.
//!
//! Shell: which servers there are, in which order they are asked, and who is asked next where one fails. It judges
//! nothing. Invariant: nobody is asked but the configured servers or, where there are none, those of resolv.conf; a
//! question ends within [`Limits::dns_patience`]; what is logged is about servers, however many questions there are.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::RecordType;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::limits::Limits;
use crate::name::HostName;

use super::answer::{Records, Topic};
use super::exchange::Asking;
use super::hosts::{Hosts, Listed, ResolvConf, parse_resolv_conf};
use super::nameserver::Nameserver;
use super::sockets::Sockets;
use super::standing::Standing;
use super::watched::Watched;
use super::zone;

/// Times the list of servers is gone through where nobody says otherwise: a datagram may be lost.
const ATTEMPTS: u32 = 2;

/// The host's nameservers.
#[derive(Debug)]
pub(super) struct Forwarder {
    configured: Vec<Nameserver>,
    system: Watched<ResolvConf>,
    hosts: Rc<Watched<Hosts>>,
    /// Of those that are asked for the guest.
    standing: RefCell<Standing>,
    /// Of those that are asked where those are.
    system_standing: RefCell<Standing>,
    /// Addresses of nameservers that are configured by name, and until when.
    named: RefCell<HashMap<HostName, (Instant, Vec<IpAddr>)>>,
    /// Whoever looks for such addresses has it; others wait and find them.
    naming: Mutex<()>,
    sockets: Sockets,
    /// Whether there is nobody to ask, as it was told last.
    alone: Cell<bool>,
    /// The list of which it was told that a part cannot be used.
    partial: RefCell<Option<Rc<ResolvConf>>>,
    limits: Arc<Limits>,
}

/// Why no nameserver answered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ForwardError {
    /// None is configured, and resolv.conf names none.
    #[error("no nameserver is known; set [net] nameservers")]
    NoNameserver,
    /// None but this one, which this host cannot resolve.
    #[error("the nameserver {0} has no address; write its address in [net] nameservers")]
    Nameless(HostName),
    /// As many questions are under way as may be.
    #[error("too many DNS questions are under way")]
    Busy,
    /// The name has no form on the wire.
    #[error("the name does not fit a DNS question")]
    Name,
    /// The last one asked did not answer in time.
    #[error("nameserver {0} did not answer in time")]
    Timeout(SocketAddr),
    /// The last one asked could not be reached.
    #[error("nameserver {0} cannot be reached: {1}")]
    Unreachable(SocketAddr, io::ErrorKind),
    /// The last one asked answered with an error.
    #[error("nameserver {0} answered {1}")]
    Failed(SocketAddr, ResponseCode),
}

/// Whom to ask, and how patiently.
struct Plan<'a> {
    standing: &'a RefCell<Standing>,
    servers: Vec<SocketAddr>,
    timeout: Duration,
    /// For the last try of all.
    last_timeout: Duration,
    attempts: u32,
    deadline: Instant,
}

impl Forwarder {
    /// Asks `configured`, or where that is empty the nameservers of the file `resolv_conf`.
    pub(super) fn new(
        configured: Vec<Nameserver>,
        resolv_conf: PathBuf,
        hosts: Rc<Watched<Hosts>>,
        limits: Arc<Limits>,
    ) -> Self {
        let system = Watched::new(resolv_conf, &limits, parse_resolv_conf);
        Self {
            configured,
            system,
            hosts,
            standing: RefCell::default(),
            system_standing: RefCell::default(),
            named: RefCell::default(),
            naming: Mutex::default(),
            sockets: Sockets::new(limits.dns_spare_sockets),
            alone: Cell::default(),
            partial: RefCell::default(),
            limits,
        }
    }

    /// Asks about `topic`, server after server.
    pub(super) async fn ask(&self, topic: &Topic) -> Result<Records, ForwardError> {
        let deadline = Instant::now() + self.limits.dns_patience;
        let plan = if self.configured.is_empty() {
            self.by_system(&self.standing, deadline)
        } else {
            self.by_config(deadline).await
        };
        self.tell_of_plan(plan.as_ref().err());
        self.ask_each(plan?, topic).await
    }

    /// Logs that there is nobody to ask, once, and once that there is again.
    fn tell_of_plan(&self, error: Option<&ForwardError>) {
        if self.alone.replace(error.is_some()) == error.is_some() {
            return;
        }
        match error {
            Some(error) => tracing::warn!(%error, "no name can be resolved"),
            None => tracing::warn!("there is a nameserver again"),
        }
    }

    /// Logs that a server is behind an interface that is not there, once for a list.
    fn tell_of_zone(&self, conf: &Rc<ResolvConf>, server: &Listed) {
        let mut partial = self.partial.borrow_mut();
        if !partial.as_ref().is_some_and(|told| Rc::ptr_eq(told, conf)) {
            tracing::warn!(%server, "this host has no such interface; the nameserver is not asked");
            *partial = Some(Rc::clone(conf));
        }
    }

    async fn ask_each(&self, mut plan: Plan<'_>, topic: &Topic) -> Result<Records, ForwardError> {
        let mut failure = ForwardError::NoNameserver;
        for attempt in 1..=plan.attempts {
            plan.standing.borrow_mut().order(&mut plan.servers, now());
            let mut silent = Vec::new();
            for (place, server) in plan.servers.iter().copied().enumerate() {
                if Instant::now() >= plan.deadline {
                    return Err(failure);
                }
                let is_last = attempt == plan.attempts && place + 1 == plan.servers.len();
                let timeout = if is_last { plan.last_timeout } else { plan.timeout };
                match self.ask_one((server, timeout), topic, &plan).await {
                    Ok(records) => return Ok(records),
                    Err(error) => {
                        if matches!(error, ForwardError::Timeout(_)) {
                            silent.push(server);
                        }
                        failure = error;
                    }
                }
            }
            // A server's word is not changed by asking again; a datagram may have been lost.
            if silent.is_empty() {
                break;
            }
            plan.servers = silent;
        }
        Err(failure)
    }

    async fn ask_one(
        &self,
        (server, timeout): (SocketAddr, Duration),
        topic: &Topic,
        &Plan { standing, deadline, .. }: &Plan<'_>,
    ) -> Result<Records, ForwardError> {
        let manner = standing.borrow().manner(server);
        let (sockets, limits) = (&self.sockets, &self.limits);
        let asking = Asking { server, topic, timeout, deadline, sockets, limits };
        let answered = asking.ask(manner).await;
        let mut standing = standing.borrow_mut();
        match answered {
            Ok((records, manner)) => {
                if standing.answered(server, manner, (&self.limits, now())) {
                    tracing::warn!(%server, "nameserver answers again");
                }
                Ok(records)
            }
            Err(error) => {
                // That a name has no form on the wire is no fault of the server's.
                let is_its = error != ForwardError::Name;
                if is_its && standing.failed(server, &self.limits, now()) {
                    tracing::warn!(%error, "nameserver fails");
                }
                Err(error)
            }
        }
    }

    fn by_system<'a>(
        &self,
        standing: &'a RefCell<Standing>,
        deadline: Instant,
    ) -> Result<Plan<'a>, ForwardError> {
        let conf = self.system.read();
        let mut servers = Vec::with_capacity(conf.servers.len());
        for server in &conf.servers {
            match server.socket_addr(zone::number_of) {
                Some(addr) => servers.push(addr),
                None => self.tell_of_zone(&conf, server),
            }
        }
        if servers.is_empty() {
            return Err(ForwardError::NoNameserver);
        }
        Ok(Plan {
            standing,
            servers,
            timeout: conf.timeout.unwrap_or(self.limits.dns_timeout),
            last_timeout: conf.timeout.unwrap_or(self.limits.dns_last_timeout),
            attempts: conf.attempts.unwrap_or(ATTEMPTS),
            deadline,
        })
    }

    /// Fails where all servers are names, none of which has an address.
    async fn by_config(&self, deadline: Instant) -> Result<Plan<'_>, ForwardError> {
        let mut servers = Vec::new();
        let mut nameless = None;
        for server in &self.configured {
            match server {
                Nameserver::Addr(addr) => servers.push(*addr),
                Nameserver::Name(name, port) => {
                    let before = servers.len();
                    let addrs = self.addresses(name, deadline).await;
                    servers.extend(addrs.into_iter().map(|addr| SocketAddr::new(addr, *port)));
                    if servers.len() == before {
                        nameless = Some(name);
                    }
                }
            }
        }
        match nameless {
            Some(name) if servers.is_empty() => Err(ForwardError::Nameless(name.clone())),
            Some(_) | None => {
                let Limits { dns_timeout: timeout, dns_last_timeout: last_timeout, .. } = *self.limits;
                let standing = &self.standing;
                Ok(Plan { standing, servers, timeout, last_timeout, attempts: ATTEMPTS, deadline })
            }
        }
    }

    /// Where a nameserver with a name is, by this host's own files and nameservers; IPv4 first, for that is there on
    /// every host. Where it cannot be said now, the last answer counts on.
    async fn addresses(&self, name: &HostName, deadline: Instant) -> Vec<IpAddr> {
        if let Some(addrs) = self.hosts.read().get(name) {
            return addrs.clone();
        }
        let _turn = self.naming.lock().await;
        if let Some((until, addrs)) = self.named.borrow().get(name)
            && *until > Instant::now()
        {
            return addrs.clone();
        }
        let [v4, v6] = [RecordType::A, RecordType::AAAA].map(|wanted| Topic { host: name.clone(), wanted });
        // Half of the time at most: the question itself is still to come.
        let deadline = deadline.min(Instant::now() + self.limits.dns_patience / 2);
        let ask = async |topic| self.ask_each(self.by_system(&self.system_standing, deadline)?, topic).await;
        let (v4, v6) = tokio::join!(ask(&v4), ask(&v6));
        let found: Vec<Records> =
            [v4, v6].into_iter().flatten().filter(|records| !records.data.is_empty()).collect();
        let ttl = found.iter().map(|records| records.ttl).min();
        let ttl = ttl.map(|ttl| ttl.clamp(self.limits.dns_ttl_floor, self.limits.dns_ttl_ceiling));
        let until = Instant::now() + ttl.unwrap_or(self.limits.dns_negative_ttl_floor);
        let mut named = self.named.borrow_mut();
        let known = named.entry(name.clone()).or_insert_with(|| (until, Vec::new()));
        known.0 = until;
        if !found.is_empty() {
            known.1 = found.iter().flat_map(Records::addresses).collect();
        }
        known.1.clone()
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
