//! The DNS service of one sandbox, and the resolution of names we dial ourselves.
//!
//! Shell around the parts beside it: it reads the clock and the host's files, and waits for nameservers.
//! Invariant: only [`AtQuestion::Forward`] and a [`NamePermit`] lead to a question that leaves the host, and no
//! address is told to the guest or handed out for a dial that policy has not judged.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::limits::Limits;
use crate::name::HostName;
use crate::policy::{AtQuestion, Denial, Live, NamePermit, Permit, Policy, Verdict};

use super::Family;
use super::answer::Records;
use super::cache::{Cache, Known};
use super::forwarder::{ForwardError, Forwarder};
use super::hosts::{Hosts, parse_hosts};
use super::mapped::MappedPrefix;
use super::names::{Gateways, Names};
use super::question::{Kind, Parsed, Question};
use super::reply::{self, Content, Transport};
use super::stats::Stats;
use super::watched::Watched;

/// Hears of denials; it must not call the resolver.
pub type OnDenial = Rc<dyn Fn(&Denial)>;

/// What a [`Resolver`] is made of.
pub struct Setup {
    /// The sandbox's rules.
    pub policy: Arc<Live>,
    /// Its bounds.
    pub limits: Arc<Limits>,
    /// The gateway's addresses, which the host alias has.
    pub gateways: Gateways,
    /// Nameservers to ask; empty means those of `resolv_conf`.
    pub nameservers: Vec<SocketAddr>,
    /// The host's resolv.conf, read again when it changes.
    pub resolv_conf: PathBuf,
    /// The host's hosts file, read again when it changes.
    pub hosts: PathBuf,
    /// Told of each question that was denied and of each name whose addresses were all refused.
    pub on_denial: Option<OnDenial>,
}

impl Setup {
    /// With the host's own files.
    #[must_use]
    pub fn new(policy: Arc<Live>, limits: Arc<Limits>, gateways: Gateways) -> Self {
        let (resolv_conf, hosts) = ("/etc/resolv.conf".into(), "/etc/hosts".into());
        Self { policy, limits, gateways, nameservers: Vec::new(), resolv_conf, hosts, on_denial: None }
    }
}

/// The DNS of one sandbox; it lives on the sandbox's thread.
pub struct Resolver {
    policy: Arc<Live>,
    limits: Arc<Limits>,
    names: RefCell<Names>,
    cache: RefCell<Cache>,
    hosts: Watched<Hosts>,
    forwarder: Forwarder,
    in_flight: Semaphore,
    on_denial: Option<OnDenial>,
    counts: Cell<Stats>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("forwarder", &self.forwarder).finish_non_exhaustive()
    }
}

/// Why an allowed name cannot be dialled.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ResolveFailure {
    /// It has addresses, none of which may be dialled.
    #[error("{0}")]
    Denied(Denial),
    /// It has no address.
    #[error("{0} has no address")]
    NotFound(HostName),
    /// Nobody could say.
    #[error("{host} cannot be resolved: {cause}")]
    Unanswered {
        /// The name.
        host: HostName,
        /// Why not.
        cause: ForwardError,
    },
}

impl ResolveFailure {
    /// The error token for `proxy-status` ([RFC 9209 §2.3](https://www.rfc-editor.org/rfc/rfc9209#section-2.3)).
    #[must_use]
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Denied(_) => "destination_ip_prohibited",
            Self::NotFound(_) => "dns_error",
            Self::Unanswered { cause, .. } => match cause {
                ForwardError::Timeout(_) => "dns_timeout",
                ForwardError::NoNameserver
                | ForwardError::Busy
                | ForwardError::Name
                | ForwardError::Unreachable(..)
                | ForwardError::Failed(..) => "dns_error",
            },
        }
    }
}

/// Whether a question waits for its turn or is given up.
#[derive(Clone, Copy)]
enum Patience {
    /// A guest's own question: it asks again, and may ask without end.
    Drop,
    /// For a flow, which is bounded itself.
    Wait,
}

type Found = Result<(Rc<Known>, Duration), ForwardError>;

impl Resolver {
    /// Fails only where the system has no randomness.
    pub fn new(setup: Setup) -> io::Result<Self> {
        let mut random = [0; 7];
        getrandom::fill(&mut random)?;
        let Setup { policy, limits, gateways, nameservers, resolv_conf, hosts, on_denial } = setup;
        let names = Names::new(
            Arc::clone(&limits),
            gateways,
            MappedPrefix::from_random(random).apart_from(gateways.v6),
        );
        Ok(Self {
            names: RefCell::new(names),
            cache: RefCell::new(Cache::new(&limits)),
            hosts: Watched::new(hosts, limits.dns_host_file, parse_hosts),
            forwarder: Forwarder::new(nameservers, resolv_conf, Arc::clone(&limits)),
            in_flight: Semaphore::new(limits.dns_in_flight),
            policy,
            limits,
            on_denial,
            counts: Cell::default(),
        })
    }

    /// Forgets what was judged by a policy that counts no longer.
    pub fn policy_changed(&self) {
        *self.cache.borrow_mut() = Cache::new(&self.limits);
    }

    /// What this sandbox's addresses stand for.
    #[must_use]
    pub fn names(&self) -> &RefCell<Names> {
        &self.names
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.counts.get()
    }

    fn count(&self, count: impl FnOnce(&mut Stats)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Answers a guest's message; an empty answer is silence.
    pub async fn answer(&self, query: &[u8], transport: Transport) -> Vec<u8> {
        self.count(|counts| counts.messages += 1);
        match Question::parse(query) {
            Parsed::Question(question) => {
                let content = self.content(&question).await;
                reply::write(&question, &content, transport, &self.limits)
            }
            Parsed::Answered(message) => {
                self.count(|counts| counts.malformed += 1);
                message
            }
            Parsed::Silence => {
                self.count(|counts| counts.malformed += 1);
                Vec::new()
            }
        }
    }

    async fn content(&self, question: &Question) -> Content {
        if question.query.name.is_root() {
            return Content::NoData;
        }
        let Some(host) = question.host() else {
            return Content::NxDomain;
        };
        let standing = self.policy.current().at_question(&host);
        if let AtQuestion::Deny(denial) | AtQuestion::Forbid(denial) = &standing {
            self.count(|counts| counts.denied += 1);
            // Once for both families, and not again while the guest holds on to the address.
            let told = matches!(question.kind(), Kind::Address(_)) && self.names.borrow().is_mapped(&host);
            if !told {
                self.report(denial);
            }
        }
        let family = match question.kind() {
            Kind::Address(family) => family,
            Kind::Service => return Content::NoData,
            Kind::Other => {
                return match standing {
                    AtQuestion::Deny(_) | AtQuestion::Forbid(_) => Content::NxDomain,
                    AtQuestion::Gateway | AtQuestion::Loopback | AtQuestion::Map | AtQuestion::Forward => {
                        Content::NoData
                    }
                };
            }
        };
        let own = match standing {
            AtQuestion::Gateway => self.names.borrow().gateways().of(family),
            AtQuestion::Loopback => match family {
                Family::V4 => Ipv4Addr::LOCALHOST.into(),
                Family::V6 => Ipv6Addr::LOCALHOST.into(),
            },
            AtQuestion::Map | AtQuestion::Deny(_) => self.names.borrow_mut().map(&host, family),
            AtQuestion::Forward => return self.forwarded(&host, family).await,
            AtQuestion::Forbid(_) => return Content::NxDomain,
        };
        Content::Addresses { chain: Vec::new(), addresses: vec![own], ttl: self.limits.dns_local_ttl }
    }

    /// The answer about an allowed name; its addresses are bound to it before the guest hears of them.
    async fn forwarded(&self, host: &HostName, family: Family) -> Content {
        let Ok((known, ttl)) = self.lookup(host, family, Patience::Drop).await else {
            self.count(|counts| counts.failed += 1);
            return Content::ServerFailure;
        };
        if known.addresses.is_empty() {
            if let Some(Verdict::Deny(denial)) =
                known.refused.map(|addr| self.policy.current().at_answer(host, addr))
            {
                self.report(&denial);
            }
            return if known.missing { Content::NxDomain } else { Content::NoData };
        }
        self.names.borrow_mut().bind(host, &known.addresses, ttl, now());
        Content::Addresses { chain: known.chain.clone(), addresses: known.addresses.clone(), ttl }
    }

    fn report(&self, denial: &Denial) {
        if let Some(on_denial) = &self.on_denial {
            on_denial(denial);
        }
    }

    /// Where an allowed name may be dialled, in the order to try: never empty.
    ///
    /// `--connect-to` first, then the hosts file, the cache, the nameservers.
    pub async fn resolve(&self, name: &NamePermit) -> Result<Vec<Permit>, ResolveFailure> {
        let host = name.host();
        let policy = self.policy.current();
        if let Some(to) = policy.connect_to(host, name.port()) {
            return judge(&policy, name, [to.ip()]);
        }
        if host.is_host_alias() {
            return judge(&policy, name, policy.alias_addresses());
        }
        let found = self.both_families(host).await;
        let mut failure = ResolveFailure::NotFound(host.clone());
        let mut families = [Vec::new(), Vec::new()];
        for (addresses, found) in families.iter_mut().zip(found) {
            match found {
                // A refused address is judged once more, for a denial that names this port.
                Some(Ok((known, _))) => {
                    addresses.extend(known.addresses.iter().copied().chain(known.refused));
                }
                Some(Err(cause)) => failure = ResolveFailure::Unanswered { host: host.clone(), cause },
                None => {}
            }
        }
        let [v6, v4] = families;
        if v6.is_empty() && v4.is_empty() {
            return Err(failure);
        }
        // Judged by what holds now, after the wait.
        judge(&self.policy.current(), name, interleave(v6, v4))
    }

    /// IPv6 and IPv4, asked at once; when one has addresses the other is waited for only a moment.
    async fn both_families(&self, host: &HostName) -> [Option<Found>; 2] {
        let mut v6 = pin!(self.lookup(host, Family::V6, Patience::Wait));
        let mut v4 = pin!(self.lookup(host, Family::V4, Patience::Wait));
        tokio::select! {
            biased;
            found = &mut v6 => {
                let other = self.second(&found, v4).await;
                [Some(found), other]
            }
            found = &mut v4 => {
                let other = self.second(&found, v6).await;
                [other, Some(found)]
            }
        }
    }

    async fn second(&self, first: &Found, other: Pin<&mut impl Future<Output = Found>>) -> Option<Found> {
        if first.as_ref().is_ok_and(|(known, _)| !known.addresses.is_empty()) {
            timeout(self.limits.dns_second_family, other).await.ok()
        } else {
            Some(other.await)
        }
    }

    /// One family of an allowed name: the hosts file, the cache, the nameservers; judged, and for how long.
    async fn lookup(&self, host: &HostName, family: Family, patience: Patience) -> Found {
        if let Some(addrs) = self.hosts.read().get(host) {
            let addresses = addrs.iter().copied().filter(|addr| Family::of(*addr) == family).collect();
            let records = Records { addresses, ..Records::default() };
            return Ok((Rc::new(self.sift(host, records)), self.limits.dns_local_ttl));
        }
        if let Some(found) = self.cache.borrow_mut().find(host, family, now()) {
            return Ok(found);
        }
        let _turn = match patience {
            Patience::Drop => self.in_flight.try_acquire().ok(),
            Patience::Wait => self.in_flight.acquire().await.ok(),
        }
        .ok_or(ForwardError::Busy)?;
        // Boxed: the way to the network is rare and its state large.
        self.count(|counts| counts.forwarded += 1);
        let records = Box::pin(self.forwarder.ask(host, family)).await?;
        let ttl = records.ttl;
        let known = Rc::new(self.sift(host, records));
        let ttl = if known.addresses.is_empty() { self.limits.dns_negative_ttl } else { ttl };
        self.cache.borrow_mut().keep(host, family, Rc::clone(&known), now() + ttl);
        Ok((known, ttl))
    }

    /// Takes out the addresses that policy does not let be told.
    fn sift(&self, host: &HostName, records: Records) -> Known {
        let policy = self.policy.current();
        let Records { chain, addresses, missing, ttl: _ } = records;
        let mut known = Known { chain, missing, ..Known::default() };
        for addr in addresses {
            match policy.at_answer(host, addr) {
                Verdict::Allow(()) => known.addresses.push(addr),
                Verdict::Deny(_) => known.refused = known.refused.or(Some(addr)),
            }
        }
        known
    }
}

fn judge(
    policy: &Policy,
    name: &NamePermit,
    addresses: impl IntoIterator<Item = IpAddr>,
) -> Result<Vec<Permit>, ResolveFailure> {
    let mut permits = Vec::new();
    let mut denied = None;
    for addr in addresses {
        match policy.at_addr(name, addr) {
            Verdict::Allow(permit) => permits.push(permit),
            Verdict::Deny(denial) => denied = denied.or(Some(denial)),
        }
    }
    match denied {
        Some(denial) if permits.is_empty() => Err(ResolveFailure::Denied(denial)),
        Some(_) | None => Ok(permits),
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// First of each in turn, then what is left of the longer one.
fn interleave(one: Vec<IpAddr>, other: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut one, mut other) = (one.into_iter(), other.into_iter());
    let mut mixed = Vec::with_capacity(one.len() + other.len());
    loop {
        let (first, second) = (one.next(), other.next());
        if first.is_none() && second.is_none() {
            return mixed;
        }
        mixed.extend(first.into_iter().chain(second));
    }
}
