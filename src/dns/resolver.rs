//! The DNS service of one sandbox, and the resolution of names we dial ourselves.
//!
//! Shell around the parts beside it: it reads the clock and the host's files, and waits for nameservers.
//! Invariant: only [`AtQuestion::Forward`] and a [`NamePermit`](crate::policy::NamePermit) lead to a question that
//! leaves the host, and no address is told to the guest that the policy of that moment does not allow.

mod operator;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use hickory_proto::rr::{Name, RData, RecordType, rdata};
use tokio::sync::Semaphore;

use crate::limits::Limits;
use crate::name::{HOST_ALIAS, HostName};
use crate::policy::{AtQuestion, Denial, Live, Policy, Verdict};

use super::Family;
use super::answer::Records;
use super::cache::Cache;
use super::flights::Flights;
use super::forwarder::Forwarder;
use super::hosts::{Hosts, parse_hosts};
use super::lookup::Patience;
use super::mapped::MappedPrefix;
use super::names::{Gateways, Meaning, Names};
use super::nameserver::Nameserver;
use super::observe;
use super::question::{Kind, Parsed, Question, wire_name};
use super::reply::{self, Content, Transport};
use super::reverse;
use super::room::Room;
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
    pub nameservers: Vec<Nameserver>,
    /// The host's resolv.conf, read again when it changes.
    pub resolv_conf: PathBuf,
    /// The host's hosts file, read again when it changes.
    pub hosts: PathBuf,
    /// Told of each name that was denied and of each that has an address which was refused; not of the same twice in
    /// a row within [`Limits::dns_local_ttl`].
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
    /// The policy that the cache was last swept by.
    swept: RefCell<Arc<Policy>>,
    pub(super) limits: Arc<Limits>,
    names: RefCell<Names>,
    pub(super) cache: RefCell<Cache>,
    operators: RefCell<Cache>,
    pub(super) hosts: Rc<Watched<Hosts>>,
    pub(super) forwarder: Forwarder,
    pub(super) flights: Flights,
    pub(super) in_flight: Semaphore,
    pub(super) streams: Room,
    on_denial: Option<OnDenial>,
    /// What was told last, and when.
    told: RefCell<Option<(Denial, Instant)>>,
    counts: Cell<Stats>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("forwarder", &self.forwarder).finish_non_exhaustive()
    }
}

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
        let hosts = Rc::new(Watched::new(hosts, &limits, parse_hosts));
        let forwarder = Forwarder::new(nameservers, resolv_conf, Rc::clone(&hosts), Arc::clone(&limits));
        Ok(Self {
            swept: RefCell::new(policy.current()),
            names: RefCell::new(names),
            cache: RefCell::new(Cache::new(Arc::clone(&limits))),
            operators: RefCell::new(Cache::new(Arc::clone(&limits))),
            hosts,
            forwarder,
            flights: Flights::default(),
            in_flight: Semaphore::new(limits.dns_in_flight),
            streams: Room::new(limits.dns_stream_memory),
            policy,
            limits,
            on_denial,
            told: RefCell::default(),
            counts: Cell::default(),
        })
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

    pub(super) fn count(&self, count: impl FnOnce(&mut Stats)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The policy as it is now. What is known of names it no longer allows is forgotten.
    pub(super) fn policy(&self) -> Arc<Policy> {
        let current = self.policy.current();
        if !Arc::ptr_eq(&current, &self.swept.borrow()) {
            self.policy_changed();
        }
        current
    }

    /// Forgets at once what is known of names that the policy no longer allows.
    ///
    /// Addresses of the mapped range stay, and bindings: whoever reads those judges the name anew.
    pub(crate) fn policy_changed(&self) {
        let policy = self.policy.current();
        self.cache.borrow_mut().retain(|host| matches!(policy.at_question(host), AtQuestion::Forward));
        self.swept.replace(policy);
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
        let kind = question.kind();
        if kind == Kind::Transfer {
            return Content::Refused;
        }
        if question.query.name.is_root() {
            return Content::NoData;
        }
        let is_reverse = kind == Kind::Pointer && reverse::is_reverse(&question.query.name);
        if is_reverse && let Some(name) = self.name_of(question) {
            return self.local(RData::PTR(rdata::PTR(name)));
        }
        let Some(host) = question.host() else {
            return Content::NxDomain;
        };
        let policy = self.policy();
        let standing = policy.at_question(&host);
        if let AtQuestion::Deny(denial) | AtQuestion::Forbid(denial) = &standing {
            // Every ping and every log with names asks for those of addresses; none leaves, nothing is denied.
            if is_reverse {
                return Content::NxDomain;
            }
            self.deny(denial, (&host, kind));
        }
        observe::watch(self, &policy, (question, &host));
        match kind {
            Kind::Address(family) => self.address(&host, family, &standing).await,
            // By a rule, the name is not there at all; by default it has an address.
            Kind::Service if matches!(standing, AtQuestion::Forbid(_)) => Content::NxDomain,
            Kind::Service => Content::NoData,
            Kind::Any | Kind::Record(_) | Kind::Pointer | Kind::Other | Kind::Transfer => match standing {
                AtQuestion::Deny(_) | AtQuestion::Forbid(_) => Content::NxDomain,
                AtQuestion::Gateway | AtQuestion::Loopback | AtQuestion::Map => Content::NoData,
                AtQuestion::Forward => self.record(&host, kind).await,
            },
        }
    }

    fn deny(&self, denial: &Denial, (host, kind): (&HostName, Kind)) {
        self.count(|counts| counts.denied += 1);
        // Once for both families, and not again while the guest holds on to the address.
        let told = matches!(kind, Kind::Address(_)) && self.names.borrow().is_mapped(host);
        if !told {
            self.report(denial);
        }
    }

    async fn address(&self, host: &HostName, family: Family, standing: &AtQuestion) -> Content {
        let own = match standing {
            AtQuestion::Gateway => self.names.borrow().gateways().of(family),
            AtQuestion::Loopback => match family {
                Family::V4 => Ipv4Addr::LOCALHOST.into(),
                Family::V6 => Ipv6Addr::LOCALHOST.into(),
            },
            AtQuestion::Map | AtQuestion::Deny(_) => self.names.borrow_mut().map(host, family),
            AtQuestion::Forward => return self.forwarded(host, family).await,
            AtQuestion::Forbid(_) => return Content::NxDomain,
        };
        self.local(reply::address(own))
    }

    /// An answer of this program's own.
    fn local(&self, data: RData) -> Content {
        Content::Records { chain: Vec::new(), data: vec![data], ttl: self.limits.dns_local_ttl }
    }

    /// The answer about an allowed name; its addresses are bound to it before the guest hears of them.
    async fn forwarded(&self, host: &HostName, family: Family) -> Content {
        let Ok((records, ttl)) = self.lookup(host, family.asks_for(), Patience::Drop).await else {
            return self.failed();
        };
        // The policy may have changed during the wait; the guest asks again.
        let policy = self.policy();
        if !matches!(policy.at_question(host), AtQuestion::Forward) {
            return self.failed();
        }
        let (told, refused) = sift(&policy, host, &records);
        refused.iter().for_each(|denial| self.report(denial));
        if told.is_empty() {
            return none(&records);
        }
        self.names.borrow_mut().bind(host, &told, ttl, now());
        let data = told.into_iter().map(reply::address).collect();
        Content::Records { chain: records.chain.clone(), data, ttl }
    }

    /// Records that are no addresses, for a name that a rule names.
    async fn record(&self, host: &HostName, kind: Kind) -> Content {
        let wanted = match kind {
            Kind::Record(wanted) => wanted,
            Kind::Pointer => RecordType::PTR,
            // RFC 8482 §4.2: something true that is worth nothing.
            Kind::Any => return self.local(RData::HINFO(rdata::HINFO::new("RFC8482".into(), String::new()))),
            Kind::Address(_) | Kind::Service | Kind::Transfer | Kind::Other => return Content::NoData,
        };
        if !self.policy().is_named(host) {
            return Content::NoData;
        }
        let Ok((records, ttl)) = self.lookup(host, wanted, Patience::Drop).await else {
            return self.failed();
        };
        if !self.policy().is_named(host) {
            return self.failed();
        }
        if records.data.is_empty() {
            return none(&records);
        }
        Content::Records { chain: records.chain.clone(), data: records.data.clone(), ttl }
    }

    fn failed(&self) -> Content {
        self.count(|counts| counts.failed += 1);
        Content::ServerFailure
    }

    /// The name that this sandbox gave the address of a PTR question, while policy allows it; a mapped address has its
    /// name in any case, for it leads to a denial.
    fn name_of(&self, question: &Question) -> Option<Name> {
        let addr = reverse::address_of(&question.query.name)?;
        let (policy, names) = (self.policy(), self.names.borrow());
        match names.meaning(addr) {
            Meaning::Gateway => wire_name(HOST_ALIAS),
            Meaning::Mapped(name) => wire_name(name?.as_str()),
            Meaning::Elsewhere => {
                let allowed = |name: &&HostName| matches!(policy.at_question(name), AtQuestion::Forward);
                wire_name(names.names_of(addr, now()).filter(allowed).min()?.as_str())
            }
        }
    }

    /// Tells of a denial; a guest asks for a name's addresses, its services and their texts at once, which is one.
    pub(super) fn report(&self, denial: &Denial) {
        let Some(on_denial) = &self.on_denial else { return };
        let now = now();
        let is_same = |(last, when): &(Denial, Instant)| {
            last == denial && now.saturating_duration_since(*when) < self.limits.dns_local_ttl
        };
        if !self.told.borrow().as_ref().is_some_and(is_same) {
            self.told.replace(Some((denial.clone(), now)));
            on_denial(denial);
        }
    }
}

/// The addresses that the guest may be told, and why it may not be told another, where there is one.
fn sift(policy: &Policy, host: &HostName, records: &Records) -> (Vec<IpAddr>, Option<Denial>) {
    let (mut told, mut refused) = (Vec::new(), None);
    for addr in records.addresses() {
        match policy.at_answer(host, addr) {
            Verdict::Allow(()) => told.push(addr),
            Verdict::Deny(denial) => refused = refused.or(Some(denial)),
        }
    }
    (told, refused)
}

/// What there is to say where there is nothing.
fn none(records: &Records) -> Content {
    if records.missing { Content::NxDomain } else { Content::NoData }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
