//! Watching instead of denying: what is public is let by, and what would have stood in its way is told.
//!
//! Invariant: what a rule denies, what the floor does not allow and addresses of special use stay denied.

use std::net::IpAddr;
use std::sync::Arc;

use super::denial::Denial;
use super::rule::{Asked, Called, Carried, Place, Rule};
use super::service::{Protocol, Reserved, Service};
use super::verdict::{AtQuestion, Verdict};
use super::{Builder, Policy};
use crate::name::{Host, HostName};

impl Builder {
    /// Lets whatever is public by that the rules so far say nothing about; `enforced` is what would hold otherwise,
    /// and what only this lets by is told as that would have denied it ([`Policy::would_deny`]).
    pub fn observe(mut self, enforced: Policy) -> Self {
        self.0.rules.push(Rule::for_observing());
        self.0.enforced = Some(Arc::new(enforced));
        self
    }
}

impl Policy {
    /// What the policy would deny if it did not only observe, of something that this one allows; `judge` asks it.
    pub fn would_deny(&self, judge: impl FnOnce(&Self) -> Option<Denial>) -> Option<Denial> {
        let denial = judge(self.enforced.as_deref()?)?;
        Some(Denial { observed: true, ..denial })
    }

    /// The same of a name that is looked up.
    #[must_use]
    pub fn would_deny_question(&self, host: &HostName) -> Option<Denial> {
        let denial = |policy: &Self| match policy.at_question(host) {
            AtQuestion::Deny(denial) | AtQuestion::Forbid(denial) => Some(denial),
            AtQuestion::Gateway | AtQuestion::Loopback | AtQuestion::Map | AtQuestion::Forward => None,
        };
        self.would_deny(denial).filter(|_| denial(self).is_none())
    }
}

/// Judgements for whoever asks before there is a flow.
impl Policy {
    /// Judges a service of a name, whatever its address and whatever it carries.
    pub fn at_service(&self, host: &HostName, service: Service) -> Verdict<Arc<Rule>> {
        if let Some(denial) = reserved(host.as_str(), service) {
            return Verdict::Deny(denial);
        }
        match self.opened(host, service) {
            Ok(rule) => Verdict::Allow(Arc::clone(rule)),
            Err(denial) => Verdict::Deny(denial),
        }
    }

    /// Judges one address of an allowed service of a name.
    pub fn at_service_addr(&self, host: &HostName, service: Service, addr: IpAddr) -> Verdict<()> {
        match self.addressed(host, service, addr) {
            Ok(_) => Verdict::Allow(()),
            Err(denial) => Verdict::Deny(denial),
        }
    }

    /// Judges a service of an address that no name leads to; nothing in it is read.
    pub fn at_nameless(&self, addr: IpAddr, service: Service) -> Verdict<Arc<Rule>> {
        let target = Host::Address(addr).to_string();
        if let Some(denial) = reserved(&target, service) {
            return Verdict::Deny(denial);
        }
        let place = Place::Address(addr);
        let asked =
            Asked { service: Some(service), called: Called::Nothing, place, carried: Carried::Unread };
        match self.judge_place(asked) {
            Ok(rule) => Verdict::Allow(Arc::clone(rule)),
            Err(blocked) => Verdict::Deny(Denial::of_address(addr, service, blocked)),
        }
    }
}

fn reserved(host: &str, service: Service) -> Option<Denial> {
    if service.protocol() != Protocol::Udp {
        return None;
    }
    let port = service.port()?;
    Reserved::of_port(port).map(|reserved| Denial::by_reservation(host, port, reserved))
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::{source::RuleSource, tests};
    use super::*;
    use crate::config::Config;
    use crate::name::{Origin, Scheme};

    fn observing(text: &str) -> Policy {
        let mut config = Config::parse(text).unwrap();
        config.observe = true;
        config.policy()
    }

    fn origin(host: &str) -> Origin {
        Origin { scheme: Scheme::Https, host: HostName::parse(host).unwrap(), port: 443 }
    }

    #[test]
    fn what_is_public_is_let_by_and_told() {
        for text in ["", "[net]\ndefault = 'deny'"] {
            let policy = observing(text);
            let any = origin("any.example");
            let permit = policy.at_name(&any).into_result().unwrap();
            assert_eq!(permit.rule(), &RuleSource::Observe);
            let denial = policy.would_deny(|enforced| enforced.at_name(&any).into_result().err()).unwrap();
            assert!(denial.observed && denial.hint == "--allow any.example");
            assert!(policy.would_deny_question(&any.host).is_some_and(|denial| denial.observed));
            let (public, private) = ("8.8.8.8".parse().unwrap(), "10.0.0.1".parse().unwrap());
            drop(policy.at_addr(&permit, public).into_result().unwrap());
            assert!(policy.at_addr(&permit, private).into_result().is_err());
            assert!(policy.at_nameless(public, Service::Udp(123)).into_result().is_ok());
            assert!(policy.at_nameless(private, Service::Tcp(22)).into_result().is_err());
            let metadata = SocketAddr::from(([169, 254, 169, 254], 8080));
            let known = (&tests::names(), tests::start());
            assert!(policy.at_relay(metadata, None, known).into_result().is_err());
        }
    }

    #[test]
    fn what_a_rule_is_about_stays_as_it_is() {
        let policy = observing(
            "[net]\nallow = ['a.example']\n[[rule]]\naction = 'deny'\nhost = 'evil.example'\n\
             [[rule]]\naction = 'allow'\nhost = 'api.example'\npaths = ['/v1']",
        );
        let evil = origin("evil.example");
        assert!(policy.at_name(&evil).into_result().is_err());
        assert_eq!(policy.would_deny_question(&evil.host), None, "it is denied for real");
        let known = origin("a.example");
        assert!(policy.at_name(&known).into_result().is_ok());
        assert_eq!(policy.would_deny(|enforced| enforced.at_name(&known).into_result().err()), None);
        assert_eq!(policy.would_deny_question(&known.host), None);
        let api = origin("api.example");
        let rule =
            |path| policy.at_request(&api, None, ("GET", path)).into_result().unwrap().source().clone();
        assert_ne!(rule("/v1"), RuleSource::Observe);
        assert_eq!(rule("/v2"), RuleSource::Observe);
        assert!(policy.at_name(&origin("host.portcullis.internal")).into_result().is_err());
    }

    #[test]
    fn a_policy_that_enforces_would_deny_nothing_else() {
        let policy = Config::default().policy();
        assert_eq!(policy.would_deny(|_| Some(Denial::nameless(SocketAddr::from(([1, 1, 1, 1], 1))))), None);
    }
}
