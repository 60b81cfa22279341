//! Addresses of the operator's own proxies.
//!
//! By the same hosts file and nameservers as all else, but not judged: a configuration names them, and they may well be in a
//! private network. Invariant: no guest gets to see these answers; they are kept apart from those about its names.

use std::net::IpAddr;
use std::rc::Rc;

use super::{Family, ForwardError, Known, Resolver, interleave, now};
use crate::name::HostName;

impl Resolver {
    /// Where the operator's proxy `host` is, in the order to try; may be empty.
    pub(crate) async fn addresses_of_proxy(&self, host: &HostName) -> Result<Vec<IpAddr>, ForwardError> {
        let (v6, v4) =
            tokio::join!(self.operators_own(host, Family::V6), self.operators_own(host, Family::V4));
        match (v6, v4) {
            (Ok(v6), Ok(v4)) => Ok(interleave(v6.addresses.clone(), v4.addresses.clone())),
            (Ok(one), Err(_)) | (Err(_), Ok(one)) if !one.addresses.is_empty() => Ok(one.addresses.clone()),
            (Err(cause), _) | (_, Err(cause)) => Err(cause),
        }
    }

    async fn operators_own(&self, host: &HostName, family: Family) -> Result<Rc<Known>, ForwardError> {
        if let Some(addrs) = self.hosts.read().get(host) {
            let addresses = addrs.iter().copied().filter(|addr| Family::of(*addr) == family).collect();
            return Ok(Rc::new(Known { addresses, ..Known::default() }));
        }
        if let Some((known, _)) = self.operators.borrow_mut().find(host, family, now()) {
            return Ok(known);
        }
        let _turn = self.in_flight.acquire().await.map_err(|_| ForwardError::Busy)?;
        let records = Box::pin(self.forwarder.ask(host, family)).await?;
        let ttl = if records.addresses.is_empty() { self.limits.dns_negative_ttl } else { records.ttl };
        let known = Rc::new(Known { addresses: records.addresses, ..Known::default() });
        self.operators.borrow_mut().keep(host, family, Rc::clone(&known), now() + ttl);
        Ok(known)
    }
}
