//! Resolution of names: for the guest's questions, and for what we dial ourselves.
//!
//! Shell: the hosts file, the cache, the nameservers. Invariant: only a [`NamePermit`] and the service beside it lead
//! here, and no address is handed out that was not judged by the policy of that moment.

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hickory_proto::rr::RecordType;
use tokio::time::timeout;

use crate::name::HostName;
use crate::policy::{AtQuestion, Denial, NamePermit, Permit, Policy, Verdict};

use super::answer::{Records, Topic};
use super::flights::Landed;
use super::forwarder::ForwardError;
use super::reply::address;
use super::{Family, Resolver};

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
                | ForwardError::Nameless(_)
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
pub(super) enum Patience {
    /// A guest's own question: it asks again, and may ask without end.
    Drop,
    /// For a flow, which is bounded itself.
    Wait,
}

/// What is known of a topic, as it was received, and for how long.
pub(super) type Found = Result<(Rc<Records>, Duration), ForwardError>;

impl Resolver {
    /// Where an allowed name may be dialled, in the order to try: never empty.
    ///
    /// `--connect-to` first, then the hosts file, the cache, the nameservers.
    pub async fn resolve(&self, name: &NamePermit) -> Result<Vec<Permit>, ResolveFailure> {
        let host = name.host();
        let policy = self.policy();
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
                Some(Ok((records, _))) => addresses.extend(records.addresses()),
                Some(Err(cause)) => failure = ResolveFailure::Unanswered { host: host.clone(), cause },
                None => {}
            }
        }
        let [v6, v4] = families;
        if v6.is_empty() && v4.is_empty() {
            return Err(failure);
        }
        // Judged by what holds now, after the wait.
        judge(&self.policy(), name, interleave(v6, v4))
    }

    /// IPv6 and IPv4, asked at once; when one has addresses that may be used the other is waited for only a moment.
    async fn both_families(&self, host: &HostName) -> [Option<Found>; 2] {
        let mut v6 = pin!(self.lookup(host, RecordType::AAAA, Patience::Wait));
        let mut v4 = pin!(self.lookup(host, RecordType::A, Patience::Wait));
        tokio::select! {
            biased;
            found = &mut v6 => {
                let other = self.second(host, &found, v4).await;
                [Some(found), other]
            }
            found = &mut v4 => {
                let other = self.second(host, &found, v6).await;
                [other, Some(found)]
            }
        }
    }

    async fn second(
        &self,
        host: &HostName,
        first: &Found,
        other: Pin<&mut impl Future<Output = Found>>,
    ) -> Option<Found> {
        let policy = self.policy();
        let usable = |addr| matches!(policy.at_answer(host, addr), Verdict::Allow(()));
        if first.as_ref().is_ok_and(|(records, _)| records.addresses().any(usable)) {
            timeout(self.limits.dns_second_family, other).await.ok()
        } else {
            Some(other.await)
        }
    }

    /// One record type of an allowed name: the hosts file, the cache, the nameservers. It is not judged yet.
    pub(super) async fn lookup(&self, host: &HostName, wanted: RecordType, patience: Patience) -> Found {
        if let Some(family) = Family::asked_by(wanted)
            && let Some(addrs) = self.hosts.read().get(host)
        {
            let data =
                addrs.iter().filter(|addr| Family::of(**addr) == family).map(|addr| address(*addr)).collect();
            let records = Records { data, ..Records::default() };
            return Ok((Rc::new(records), self.limits.dns_local_ttl));
        }
        let topic = Topic { host: host.clone(), wanted };
        if let Some(found) = self.cache.borrow_mut().find(&topic, now()) {
            return Ok(found);
        }
        // Whoever waits for an answer has a turn, be it asked for once or for many.
        let _turn = match patience {
            Patience::Drop => self.in_flight.try_acquire().ok(),
            Patience::Wait => self.in_flight.acquire().await.ok(),
        }
        .ok_or(ForwardError::Busy)?;
        // Boxed: the way to the network is rare and its state large.
        let records = Box::pin(self.flights.land(&topic, || self.forward(&topic))).await?;
        let ttl = records.ttl;
        Ok((records, ttl))
    }

    async fn forward(&self, topic: &Topic) -> Landed {
        self.count(|counts| counts.forwarded += 1);
        let records = Rc::new(self.forwarder.ask(topic).await?);
        if matches!(self.policy().at_question(&topic.host), AtQuestion::Forward) {
            self.cache.borrow_mut().keep(topic.clone(), Rc::clone(&records), now() + records.ttl);
        }
        Ok(records)
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
pub(super) fn interleave(one: Vec<IpAddr>, other: Vec<IpAddr>) -> Vec<IpAddr> {
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
