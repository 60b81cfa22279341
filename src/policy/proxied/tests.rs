//! Which names are a proxy's, and what that changes of judgements.

use std::sync::Arc;

use super::*;
use crate::config::Config;
use crate::dns::{Gateways, Names};
use crate::limits::Limits;
use crate::name::HOST_ALIAS;
use crate::policy::{AtDatagram, AtQuestion, AtSyn, ConnectTo, Live, Rule, RuleSource, Verdict};

fn host(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

/// `a.example` is found by a proxy, `b.example` here, `c.example` by none; `sent.example:22` is sent elsewhere.
fn policy() -> Policy {
    let config = Config::parse(
        "[[upstream]]\nhosts = ['b.example']\nproxy = 'here'\n\
         [[upstream]]\nhosts = ['c.example']\nproxy = 'direct'\n\
         [proxy.here]\nurl = 'http://10.0.0.1:3128'\n\
         [proxy.there]\nurl = 'http://10.0.0.2:3128'\nresolve = 'there'\ndefault = true",
    );
    let mut builder = Policy::builder().upstreams(Arc::clone(config.unwrap().policy().upstreams()));
    for rule in ["a.example:22", "a.example:5000/udp", "a.example", "b.example:22", "sent.example:22"] {
        builder = builder.rule(Rule::allowing(rule, RuleSource::Flag(rule.to_owned())).unwrap());
    }
    builder.connect_to(ConnectTo::parse("sent.example:22:127.0.0.1:22").unwrap()).build()
}

#[test]
fn the_host_alias_and_connect_to_lead_through_no_proxy() {
    let policy = policy();
    let proxy = |name: &str, port| policy.proxy_of(&host(name), port).map(Proxy::name);
    assert_eq!(proxy("a.example", 443), Some("there"));
    assert_eq!(proxy("b.example", 443), Some("here"));
    assert_eq!(proxy("c.example", 443), None);
    assert_eq!(proxy(HOST_ALIAS, 443), None);
    assert_eq!(proxy("sent.example", 22), None);
    assert_eq!(proxy("sent.example", 23), Some("there"));
}

#[test]
fn a_name_that_a_proxy_resolves_is_asked_of_no_nameserver() {
    let policy = policy();
    assert!(matches!(policy.at_question(&host("a.example")), AtQuestion::Map));
    assert!(matches!(policy.at_question(&host("b.example")), AtQuestion::Forward));
    assert!(matches!(policy.at_question(&host("c.example")), AtQuestion::Deny(_)), "a proxy is no rule");
    assert!(matches!(policy.at_question(&host(HOST_ALIAS)), AtQuestion::Gateway));
}

#[test]
fn a_name_that_a_proxy_resolves_is_dialled_by_its_name_at_allowed_ports_and_by_tcp_alone() {
    let policy = policy();
    let gateways = Gateways { v4: "10.0.0.1".parse().unwrap(), v6: "fd00::1".parse().unwrap() };
    let mut names =
        Names::new(Arc::new(Limits::default()), gateways, crate::dns::MappedPrefix::from_random([7; 7]));
    let now = tokio::time::Instant::now().into_std();
    let at = |names: &mut Names, name: &str, port| {
        SocketAddr::new(names.map(&host(name), crate::dns::Family::V4), port)
    };
    let to = at(&mut names, "a.example", 22);
    match policy.at_syn(to, &names, now) {
        AtSyn::DialByName(name) => assert_eq!((name.host(), name.port()), (&host("a.example"), 22)),
        other @ (AtSyn::Sniff | AtSyn::DialFirst { .. } | AtSyn::Refuse(_)) => panic!("{other:?}"),
    }
    let to = at(&mut names, "a.example", 23);
    assert!(matches!(policy.at_syn(to, &names, now), AtSyn::Refuse(_)));
    let to = at(&mut names, "sent.example", 22);
    assert!(matches!(policy.at_syn(to, &names, now), AtSyn::DialFirst { .. }));
    let to = at(&mut names, "a.example", 5000);
    match policy.at_datagram(to, &names, now) {
        AtDatagram::Refuse(denial) => {
            assert_eq!(denial.reason, Reason::ResolvedThere);
            assert!(
                denial.to_string().contains("a.example:5000/udp is refused: the name is resolved by a proxy")
            );
        }
        AtDatagram::Dial(..) => panic!("a proxy takes no datagrams"),
    }
}

#[test]
fn a_policy_that_takes_the_place_of_another_keeps_its_ways() {
    let live = Live::new(policy());
    let mut other = Policy::builder();
    other = other.rule(Rule::allowing("d.example", RuleSource::Flag("d.example".to_owned())).unwrap());
    live.replace(other.build());
    let current = live.current();
    assert!(matches!(current.at_host(&host("d.example"), 443), Verdict::Allow(_)));
    assert_eq!(current.proxy_of(&host("d.example"), 443).map(Proxy::name), Some("there"));
}
