//! Addresses of the operator's own proxies.
//!
//! By the same hosts file and nameservers as all else, but not judged: a configuration names them, and they may well be in a
//! private network. Invariant: no guest gets to see these answers; they are kept apart from those about its names.

use std::net::IpAddr;
use std::rc::Rc;

use hickory_proto::rr::RecordType;

use super::{Family, Resolver, now};
use crate::dns::answer::{Records, Topic};
use crate::dns::forwarder::ForwardError;
use crate::dns::lookup::interleave;
use crate::dns::reply::address;
use crate::name::HostName;

impl Resolver {
    /// Where the operator's proxy `host` is, in the order to try; may be empty.
    pub(crate) async fn addresses_of_proxy(&self, host: &HostName) -> Result<Vec<IpAddr>, ForwardError> {
        let (v6, v4) =
            tokio::join!(self.operators_own(host, RecordType::AAAA), self.operators_own(host, RecordType::A));
        let addresses = |records: &Rc<Records>| records.addresses().collect::<Vec<_>>();
        match (v6, v4) {
            (Ok(v6), Ok(v4)) => Ok(interleave(addresses(&v6), addresses(&v4))),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) if one.addresses().next().is_some() => Ok(addresses(&one)),
            (Err(cause), _) | (_, Err(cause)) => Err(cause),
        }
    }

    async fn operators_own(&self, host: &HostName, wanted: RecordType) -> Result<Rc<Records>, ForwardError> {
        if let Some(addrs) = self.hosts.read().get(host) {
            let is_wanted = |addr: &&IpAddr| Family::asked_by(wanted) == Some(Family::of(**addr));
            let data = addrs.iter().filter(is_wanted).map(|addr| address(*addr)).collect();
            return Ok(Rc::new(Records { data, ..Records::default() }));
        }
        let topic = Topic { host: host.clone(), wanted };
        if let Some((records, _)) = self.operators.borrow_mut().find(&topic, now()) {
            return Ok(records);
        }
        let _turn = self.in_flight.acquire().await.map_err(|_| ForwardError::Busy)?;
        let records = Rc::new(Box::pin(self.forwarder.ask(&topic)).await?);
        let expires = now() + records.ttl;
        self.operators.borrow_mut().keep(topic, Rc::clone(&records), expires);
        Ok(records)
    }
}
