//! What is to be known of a rule that was put into a running policy or taken out of it.
//!
//! It changes nothing. Invariant: that the floor does not allow a rule is said only of something that a policy with
//! that very rule in front denies.

use std::collections::{BTreeSet, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use crate::name::{HostName, HostPattern, Origin, Scheme};
use crate::policy::{Action, Destination, Direction, Finding, Group, Policy, Protocol, Rule, Service};

/// Findings that are told one by one: more are read by nobody, and `portcullis check` tells all of a file's.
const TOLD: usize = 8;

/// Each in a line, up to a bound.
pub(super) fn lines(findings: &[Finding]) -> Vec<String> {
    let mut lines: Vec<String> = findings.iter().take(TOLD).map(line).collect();
    if let Some(more) = findings.len().checked_sub(TOLD).filter(|more| *more > 0) {
        lines.push(format!("{more} more rules are odd like these"));
    }
    lines
}

/// A rule put first may well say the opposite of one behind it: that one is passed by then, and nothing is wrong.
fn line(finding: &Finding) -> String {
    match finding {
        Finding::Contradiction(pair) => Finding::Unreached(pair.clone()).to_string(),
        Finding::Unreached(_) | Finding::Widening(_) | Finding::Displaced(_) => finding.to_string(),
    }
}

/// What is odd about rules of `new` that was not odd about them in `old`.
pub(super) fn since(old: &Policy, new: &Policy) -> Vec<String> {
    let known: HashSet<_> = old.findings().iter().map(subject).collect();
    let findings: Vec<_> =
        new.findings().into_iter().filter(|finding| !known.contains(&subject(finding))).collect();
    lines(&findings)
}

/// What a finding is about, whichever rule makes it so.
fn subject(finding: &Finding) -> (&'static str, String, String) {
    let (what, pair) = match finding {
        Finding::Contradiction(pair) | Finding::Unreached(pair) => ("unreached", pair),
        Finding::Widening(pair) => ("widening", pair),
        Finding::Displaced(pair) => ("displaced", pair),
    };
    (what, pair.rule.to_string(), pair.rule.source().to_string())
}

/// What the platform says to `rule`, which stands in front of all others of `policy`.
pub(super) fn of_floor(policy: &Policy, rule: &Rule) -> Option<String> {
    let looks_out = matches!(rule.direction(), Direction::Egress | Direction::Any);
    if policy.floors().next().is_none() || rule.action() == Action::Deny || !looks_out {
        return None;
    }
    let samples = samples(policy, rule);
    if samples.iter().all(|allowed| *allowed) {
        return None;
    }
    let none = !samples.contains(&true) && !may_allow(policy, rule.destination());
    Some(if none {
        format!("the floor does not allow that: '{rule}' changes nothing; ask whoever runs this machine")
    } else {
        format!("the floor does not allow all of that: what it does not stays denied, whatever '{rule}' says")
    })
}

/// Whether the floor may allow something of it that no sample was of.
fn may_allow(policy: &Policy, destination: &Destination) -> bool {
    match destination {
        Destination::Host(HostPattern::Exact(_)) => false,
        Destination::Host(pattern) => policy.floors().all(|mut floor| {
            floor.any(|own| own.action() == Action::Allow && own.destination().meets(pattern))
        }),
        Destination::Subnet(subnet) => subnet.only().is_none(),
        Destination::Any | Destination::Group(_) => true,
    }
}

/// Whether some of what the rule is about is let by. What stands in its way is the floor: the rule itself is the first
/// of the others.
fn samples(policy: &Policy, rule: &Rule) -> Vec<bool> {
    let services = rule.services().protocols().iter().flat_map(|protocol| ports(rule, *protocol));
    let services: Vec<Service> = services.collect();
    match name(rule.destination()) {
        Some(host) => match requests(rule) {
            Some(requests) => {
                let ports = services.iter().filter_map(|service| service.port());
                let origins = ports.map(|port| Origin { scheme: Scheme::Https, host: host.clone(), port });
                let judged = origins.flat_map(|origin| {
                    let allows = |(method, path): &(String, String)| {
                        policy.at_request(&origin, None, (method, path)).into_result().is_ok()
                    };
                    requests.iter().map(allows).collect::<Vec<_>>()
                });
                judged.collect()
            }
            None => services
                .iter()
                .map(|service| policy.at_service(&host, *service).into_result().is_ok())
                .collect(),
        },
        None => {
            let Some(addr) = address(rule.destination()) else { return Vec::new() };
            services.iter().map(|service| policy.at_nameless(addr, *service).into_result().is_ok()).collect()
        }
    }
}

/// Some services of the rule's by one protocol, the usual ones among them.
fn ports(rule: &Rule, protocol: Protocol) -> Vec<Service> {
    let ports = rule.services().ports();
    let last = (1..=u16::MAX).rev().find(|port| ports.contains(*port));
    let usual = [ports.first().max(1), 80, 443].into_iter().chain(last);
    let some: BTreeSet<u16> = usual.filter(|port| ports.contains(*port)).collect();
    match protocol {
        Protocol::Icmp => vec![Service::Icmp],
        // 443 is refused to all by UDP, whatever the floor says.
        Protocol::Udp => some.into_iter().filter(|port| *port != 443).map(Service::Udp).collect(),
        Protocol::Tcp => some.into_iter().map(Service::Tcp).collect(),
    }
}

/// A name that the rule is about.
fn name(destination: &Destination) -> Option<HostName> {
    match destination {
        Destination::Host(HostPattern::Exact(name)) => Some(name.clone()),
        Destination::Host(HostPattern::Below(apex)) => HostName::parse(&format!("any.{apex}")).ok(),
        Destination::Any => HostName::parse("any.example").ok(),
        Destination::Group(Group::Host) => Some(HostName::alias()),
        Destination::Group(_) | Destination::Subnet(_) => None,
    }
}

/// An address that it is about.
fn address(destination: &Destination) -> Option<IpAddr> {
    let group = match destination {
        Destination::Subnet(subnet) => return Some(subnet.first()),
        Destination::Group(group) => group,
        Destination::Any | Destination::Host(_) => return None,
    };
    match group {
        Group::Public => Some(Ipv4Addr::new(1, 1, 1, 1).into()),
        Group::Private => Some(Ipv4Addr::new(10, 0, 0, 1).into()),
        Group::Loopback => Some(Ipv4Addr::LOCALHOST.into()),
        Group::LinkLocal => Some(Ipv4Addr::new(169, 254, 0, 1).into()),
        Group::Multicast => Some(Ipv4Addr::new(224, 0, 0, 251).into()),
        // The one is opened by its name, the other by no rule for the group.
        Group::Host | Group::Metadata => None,
    }
}

/// A request for each method and path of the rule's; none where it is not about requests.
fn requests(rule: &Rule) -> Option<Vec<(String, String)>> {
    let requests = rule.requests()?;
    let or_else = |mut list: Vec<String>, usual: &str| {
        if list.is_empty() {
            list.push(usual.to_owned());
        }
        list
    };
    let methods = or_else(requests.methods().to_vec(), "GET");
    let paths =
        or_else(requests.paths().map(|path| path.replace("**", "x").replace('*', "x")).collect(), "/");
    let pairs =
        methods.iter().flat_map(|method| paths.iter().map(move |path| (method.clone(), path.clone())));
    Some(pairs.collect())
}
