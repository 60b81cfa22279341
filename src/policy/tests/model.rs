//! The verdicts on a request, against a walk through all rules with everything known.
//!
//! The model reads what was generated, not what was parsed, and has no index, no stages and no third answer.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::name::Scheme;

const HOSTS: [&str; 5] = ["a.example", "b.a.example", "c.b.a.example", "b.example", "other.test"];
const PATTERNS: [&str; 6] =
    ["a.example", "*.a.example", "b.a.example", "*.example", "b.example", "*.b.a.example"];
const ADDRS: [&str; 6] =
    ["93.184.216.34", "93.184.217.1", "10.0.0.7", "10.1.0.7", "169.254.169.254", "2606:2800::1"];
const SUBNETS: [(&str, u8); 6] = [
    ("93.184.216.0", 24),
    ("93.184.216.34", 32),
    ("10.0.0.0", 8),
    ("10.0.0.0", 24),
    ("169.254.169.254", 32),
    ("169.254.0.0", 16),
];
const GROUPS: [&str; 3] = ["public", "private", "link-local"];
const PORTS: [u16; 4] = [80, 443, 8080, 9000];
const METHODS: [&str; 3] = ["GET", "POST", "PUT"];
const PATHS: [&str; 4] = ["/", "/v1/chat", "/v1/files/7", "/admin"];
type Meant = fn(&str) -> bool;
const GLOBS: [(&str, Meant); 3] = [
    ("/v1/**", |path| path.starts_with("/v1/")),
    ("/admin", |path| path == "/admin"),
    ("/v1/*", |path| path == "/v1/chat"),
];

#[derive(Clone, Debug)]
enum Whom {
    Any,
    Host(usize),
    Subnet(usize),
    Group(usize),
}

#[derive(Clone, Debug)]
struct Spec {
    allow: bool,
    whom: Whom,
    ports: Option<(u16, u16)>,
    method: Option<&'static str>,
    glob: Option<usize>,
}

impl Spec {
    /// Whether its destination is read, so that methods and paths may stand in it.
    fn is_read(&self) -> bool {
        matches!(self.whom, Whom::Any | Whom::Host(_) | Whom::Group(0))
    }

    /// Not about addresses: a rule that is never reached may still let a name be looked up, for one about addresses.
    fn about_names(self) -> Self {
        match self.whom {
            Whom::Any | Whom::Host(_) => self,
            Whom::Subnet(_) | Whom::Group(_) => Self { whom: Whom::Any, ..self },
        }
    }

    fn has_requests(&self) -> bool {
        self.is_read() && (self.method.is_some() || self.glob.is_some())
    }

    fn text(&self) -> String {
        let action = if self.allow { "allow" } else { "deny" };
        let whom = match self.whom {
            Whom::Any => "any".to_owned(),
            Whom::Host(index) => PATTERNS[index].to_owned(),
            Whom::Subnet(index) => format!("{}/{}", SUBNETS[index].0, SUBNETS[index].1),
            Whom::Group(index) => format!("@{}", GROUPS[index]),
        };
        let ports = self.ports.map_or(String::new(), |(first, last)| format!(":{first}-{last}"));
        let method =
            self.method.filter(|_| self.is_read()).map_or(String::new(), |method| format!("{method} "));
        let path =
            self.glob.filter(|_| self.is_read()).map_or(String::new(), |glob| format!(" {}", GLOBS[glob].0));
        format!("{action} {method}{whom}{ports}{path}")
    }

    fn has_port(&self, port: u16) -> bool {
        match self.ports {
            Some((first, last)) => (first..=last).contains(&port),
            None if self.allow && (self.has_requests() || matches!(self.whom, Whom::Host(_))) => {
                port == 80 || port == 443
            }
            None => true,
        }
    }

    fn has_address(&self, addr: &str) -> bool {
        let Whom::Subnet(index) = self.whom else { return false };
        let (net, length) = SUBNETS[index];
        let (Ok(net), Ok(addr)) = (net.parse::<Ipv4Addr>(), addr.parse::<Ipv4Addr>()) else { return false };
        (net.to_bits() ^ addr.to_bits()).leading_zeros() >= u32::from(length)
    }

    fn has_host(&self, host: &str) -> bool {
        let Whom::Host(index) = self.whom else { return false };
        match PATTERNS[index].strip_prefix('*') {
            Some(suffix) => host.ends_with(suffix),
            None => PATTERNS[index] == host,
        }
    }

    fn has_destination(&self, host: &str, addr: &str) -> bool {
        match self.whom {
            Whom::Any => true,
            Whom::Host(_) => self.has_host(host),
            Whom::Subnet(_) => self.has_address(addr),
            Whom::Group(index) => group_of(addr) == Some(GROUPS[index]),
        }
    }

    fn has_request(&self, method: &str, path: &str) -> bool {
        !self.has_requests()
            || self.method.is_none_or(|own| own == method) && self.glob.is_none_or(|glob| GLOBS[glob].1(path))
    }
}

fn group_of(addr: &str) -> Option<&'static str> {
    match addr {
        "10.0.0.7" | "10.1.0.7" => Some("private"),
        "169.254.169.254" => Some("metadata"),
        _ => Some("public"),
    }
}

#[derive(Clone, Debug)]
struct Want {
    host: &'static str,
    addr: &'static str,
    port: u16,
    method: &'static str,
    path: &'static str,
}

/// The name may be looked up: of the rules that may be about it, one that allows names comes before one that surely
/// denies it.
fn is_resolved(rules: &[Spec], want: &Want) -> bool {
    for rule in rules.iter().filter(|rule| rule.has_port(want.port)) {
        let by_name = matches!(rule.whom, Whom::Any) || rule.has_host(want.host);
        if rule.allow && (by_name || matches!(rule.whom, Whom::Group(0))) {
            return true;
        }
        if !rule.allow && by_name && !rule.has_requests() {
            return false;
        }
    }
    false
}

fn is_allowed(rules: &[Spec], want: &Want) -> bool {
    let about = |rule: &&Spec| {
        rule.has_port(want.port)
            && rule.has_destination(want.host, want.addr)
            && rule.has_request(want.method, want.path)
    };
    if !is_resolved(rules, want) || !rules.iter().find(about).is_some_and(|rule| rule.allow) {
        return false;
    }
    if group_of(want.addr) == Some("public") {
        return true;
    }
    let of_the_address = |rule: &&Spec| {
        let is_it = match rule.whom {
            Whom::Subnet(index) if want.addr == "169.254.169.254" && rule.allow => SUBNETS[index].1 == 32,
            Whom::Any | Whom::Host(_) | Whom::Subnet(_) | Whom::Group(_) => true,
        };
        let by_address = rule.has_address(want.addr) && is_it;
        let by_group = matches!(rule.whom, Whom::Group(index) if group_of(want.addr) == Some(GROUPS[index]));
        rule.has_port(want.port) && (by_address || by_group)
    };
    rules.iter().find(of_the_address).is_some_and(|rule| rule.allow)
}

fn judged(policy: &Policy, want: &Want) -> bool {
    let scheme = if want.port == 80 { Scheme::Http } else { Scheme::Https };
    let origin = Origin { scheme, host: name(want.host), port: want.port };
    let addr = want.addr.parse().unwrap();
    let Verdict::Allow(permit) = policy.at_name(&origin) else { return false };
    let Verdict::Allow(_) = policy.at_addr(&permit, addr) else { return false };
    matches!(policy.at_request(&origin, Some(addr), (want.method, want.path)), Verdict::Allow(_))
}

fn whom() -> impl Strategy<Value = Whom> {
    prop_oneof![
        1 => Just(Whom::Any),
        5 => (0..PATTERNS.len()).prop_map(Whom::Host),
        3 => (0..SUBNETS.len()).prop_map(Whom::Subnet),
        2 => (0..GROUPS.len()).prop_map(Whom::Group),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let ports = option::of(select(vec![(443, 443), (80, 443), (8_000, 9_000), (9_000, 9_000)]));
    let method = option::weighted(0.3, select(METHODS.to_vec()));
    let glob = option::weighted(0.3, 0..GLOBS.len());
    (any::<bool>(), whom(), ports, method, glob).prop_map(|(allow, whom, ports, method, glob)| Spec {
        allow,
        whom,
        ports,
        method,
        glob,
    })
}

fn want() -> impl Strategy<Value = Want> {
    let parts = (
        select(HOSTS.to_vec()),
        select(ADDRS.to_vec()),
        select(PORTS.to_vec()),
        select(METHODS.to_vec()),
        select(PATHS.to_vec()),
    );
    parts.prop_map(|(host, addr, port, method, path)| Want { host, addr, port, method, path })
}

fn built(specs: &[Spec]) -> Vec<Rule> {
    specs.iter().map(|spec| Rule::parse(&spec.text(), RuleSource::Owner).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn a_request_is_allowed_where_a_walk_through_all_rules_allows_it(
        rules in vec(spec(), 0..8), wants in vec(want(), 1..12),
    ) {
        let policy = built(&rules).into_iter().fold(Policy::builder(), |builder, rule| builder.rule(rule)).build();
        for want in wants {
            let texts: Vec<_> = rules.iter().map(Spec::text).collect();
            prop_assert_eq!(judged(&policy, &want), is_allowed(&rules, &want), "{:?} under {:#?}", want, texts);
        }
    }

    #[test]
    fn a_floor_takes_away_and_never_gives(
        floor in vec(spec(), 0..5), rules in vec(spec(), 0..6), wants in vec(want(), 1..8),
    ) {
        let own = built(&rules).into_iter().fold(Policy::builder(), |builder, rule| builder.rule(rule)).build();
        let both = built(&rules).into_iter().fold(Policy::builder().floor(built(&floor)), |builder, rule| builder.rule(rule));
        let both = both.build();
        for want in wants {
            prop_assert!(!judged(&both, &want) || judged(&own, &want), "{want:?}");
        }
    }

    #[test]
    fn a_rule_that_is_never_reached_changes_nothing(rules in vec(spec().prop_map(Spec::about_names), 2..8), wants in vec(want(), 1..12)) {
        let whole = built(&rules).into_iter().fold(Policy::builder(), |builder, rule| builder.rule(rule)).build();
        let odd: Vec<_> = whole.findings().into_iter().filter_map(|finding| match finding {
            Finding::Contradiction(pair) | Finding::Unreached(pair) => Some(pair.rule),
            Finding::Widening(_) | Finding::Displaced(_) => None,
        }).collect();
        let kept = whole.rules.rules().iter().filter(|rule| !odd.iter().any(|own| Arc::ptr_eq(own, rule)));
        let less = kept.map(|rule| Rule::clone(rule)).fold(Policy::builder(), |builder, rule| builder.rule(rule)).build();
        for want in wants {
            prop_assert_eq!(judged(&whole, &want), judged(&less, &want), "{:?}", want);
        }
    }
}
