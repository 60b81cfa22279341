//! Verdicts, at every point where one is asked for.

mod floors;
mod lint;
mod model;
mod reach;

use std::time::{Duration, Instant};

use super::address::{Kind, special_use};
use super::*;
use crate::dns::{Family, Gateways, MappedPrefix, Names};
use crate::limits::Limits;
use crate::name::{HOST_ALIAS, Host, Scheme};

pub(super) const PUBLIC: &str = "93.184.216.34";

pub(super) fn name(text: &str) -> HostName {
    HostName::parse(text).unwrap()
}

pub(super) fn policy(allow: &[&str], connect_to: &[&str]) -> Policy {
    let mut builder = Policy::builder();
    for text in allow {
        builder = builder.rule(Rule::allowing(text, RuleSource::Flag((*text).to_owned())).unwrap());
    }
    for text in connect_to {
        builder = builder.connect_to(ConnectTo::parse(text).unwrap());
    }
    builder.build()
}

fn origin(text: &str, port: u16) -> Origin {
    let scheme = if port == 80 { Scheme::Http } else { Scheme::Https };
    Origin { scheme, host: name(text), port }
}

pub(super) fn names() -> Names {
    let gateways = Gateways { v4: Ipv4Addr::new(172, 16, 0, 1), v6: "fd7a::1".parse().unwrap() };
    Names::new(Arc::new(Limits::default()), gateways, MappedPrefix::from_random([7; 7]))
}

pub(super) fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn denial<T: std::fmt::Debug>(verdict: Verdict<T>) -> Denial {
    match verdict {
        Verdict::Deny(denial) => denial,
        Verdict::Allow(proof) => panic!("allowed: {proof:?}"),
    }
}

fn refused(at_syn: AtSyn) -> Denial {
    match at_syn {
        AtSyn::Refuse(denial) => denial,
        AtSyn::Sniff | AtSyn::DialFirst { .. } | AtSyn::DialByName(_) => panic!("not refused: {at_syn:?}"),
    }
}

fn dialled(at_syn: AtSyn) -> (Vec<SocketAddr>, Vec<String>) {
    match at_syn {
        AtSyn::DialFirst { permits, opened: Opened::Names(names) } => (
            permits.iter().map(Permit::addr).collect(),
            names.iter().map(|name| format!("{} by {}", name.host(), name.rule())).collect(),
        ),
        AtSyn::Sniff | AtSyn::DialFirst { .. } | AtSyn::DialByName(_) | AtSyn::Refuse(_) => {
            panic!("not dialled: {at_syn:?}")
        }
    }
}

#[test]
fn names_are_allowed_by_the_rules_and_by_nothing_else() {
    let policy = policy(
        &["pypi.org", "*.pythonhosted.org:443", "git.example:22", "host.portcullis.internal:8080"],
        &[],
    );
    let table = [
        ("pypi.org", 443, true),
        ("pypi.org", 80, true),
        ("pypi.org", 8443, false),
        ("a.pypi.org", 443, false),
        ("evilpypi.org", 443, false),
        ("files.pythonhosted.org", 443, true),
        ("a.b.pythonhosted.org", 443, true),
        ("files.pythonhosted.org", 80, false),
        ("pythonhosted.org", 443, false),
        ("git.example", 22, true),
        ("git.example", 443, false),
        (HOST_ALIAS, 8080, true),
        (HOST_ALIAS, 443, false),
        ("other.example", 443, false),
    ];
    for (host, port, allowed) in table {
        let verdict = policy.at_name(&origin(host, port));
        assert_eq!(matches!(verdict, Verdict::Allow(_)), allowed, "{host}:{port}");
    }
}

#[test]
fn a_rule_for_datagrams_opens_no_tcp_port_and_lets_the_name_be_asked_for() {
    let policy = policy(&["ntp.example:123/udp", "ping.example/icmp", "both.example:22"], &[]);
    for (host, port) in
        [("ntp.example", 123), ("ntp.example", 443), ("ntp.example", 80), ("ping.example", 443)]
    {
        let denial = denial(policy.at_host(&name(host), port));
        assert!(matches!(denial.reason, Reason::OtherProtocol(_)), "{denial}");
        let port = if port == 123 { ":123" } else { "" };
        assert_eq!(denial.hint, format!("--allow {host}{port}"));
    }
    for host in ["ntp.example", "ping.example", "both.example"] {
        assert!(matches!(policy.at_question(&name(host)), AtQuestion::Forward), "{host}");
    }
    let denial = denial(policy.at_name(&origin("ntp.example", 443)));
    let told = "ntp.example:443 is refused: the host is allowed only for UDP (rule: --allow ntp.example:123/udp); \
                to allow it: --allow ntp.example";
    assert_eq!(denial.to_string(), told);
    let mut names = names();
    names.bind(&name("ntp.example"), &[PUBLIC.parse().unwrap()], Duration::ZERO, start());
    let destination = SocketAddr::new(PUBLIC.parse().unwrap(), 123);
    assert_eq!(refused(policy.at_syn(destination, &names, start())).hint, "--allow ntp.example:123");
}

#[test]
fn nothing_is_allowed_without_a_rule() {
    let policy = policy(&[], &["api.example:443:127.0.0.1:8443"]);
    assert_eq!(denial(policy.at_name(&origin("pypi.org", 443))).reason, Reason::NoRule);
    assert_eq!(denial(policy.at_name(&origin("api.example", 443))).reason, Reason::NoRule);
}

#[test]
fn a_permit_names_the_rule_that_gave_it() {
    let rule = Rule::for_secret(HostPattern::parse("api.example").unwrap(), 443, "TOKEN");
    let file = RuleSource::File {
        spot: Spot { file: "p.toml".into(), line: 3, column: 1 },
        index: 2,
        text: "*.example".to_owned(),
    };
    let policy = Policy::builder().rule(rule).rule(Rule::allowing("*.example", file).unwrap()).build();
    let rule_of = |host, port| policy.at_name(&origin(host, port)).into_result().unwrap().rule().to_string();
    assert_eq!(rule_of("api.example", 443), "secret TOKEN");
    assert_eq!(rule_of("api.example", 80), "p.toml:3: [net] allow[2] \"*.example\"");
}

#[test]
fn a_denial_says_which_flag_would_allow_it() {
    let policy = policy(&["git.example:22"], &[]);
    let table = [
        ("other.example", 443, "--allow other.example", "no rule allows it", "default"),
        ("other.example", 80, "--allow other.example", "no rule allows it", "default"),
        ("other.example", 8443, "--allow other.example:8443", "no rule allows it", "default"),
        (
            "git.example",
            443,
            "--allow git.example",
            "the host is allowed only at port 22",
            "--allow git.example:22",
        ),
        ("localhost", 80, "--allow host.portcullis.internal:80", "no rule allows it", "default"),
        (
            HOST_ALIAS,
            443,
            "--allow host.portcullis.internal:443",
            "this machine's loopback is closed at that port",
            "default",
        ),
    ];
    for (host, port, hint, reason, rule) in table {
        let denial = denial(policy.at_name(&origin(host, port)));
        assert_eq!(
            (denial.hint.as_str(), denial.reason.to_string().as_str(), denial.rule.as_str()),
            (hint, reason, rule)
        );
        assert_eq!(denial.target, format!("{host}:{port}"));
        assert!(!denial.to_string().contains('\n'));
    }
}

#[test]
fn special_use_addresses_get_no_permit_under_any_name() {
    let policy = policy(&["api.example"], &[]);
    let name = policy.at_name(&origin("api.example", 443)).into_result().unwrap();
    for text in
        ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "::ffff:8.8.8.8", "198.18.0.1"]
    {
        let denial = denial(policy.at_addr(&name, text.parse().unwrap()));
        assert!(matches!(denial.reason, Reason::SpecialUse { .. }), "{text}");
        if special_use(text.parse().unwrap()).is_some_and(|special| special.kind == Kind::Metadata) {
            assert_eq!(denial.hint, "only a rule for that very address opens it");
            continue;
        }
        assert!(denial.hint.starts_with("--connect-to api.example:443:"), "{}", denial.hint);
        assert!(
            ConnectTo::parse(denial.hint.strip_prefix("--connect-to ").unwrap()).is_ok(),
            "{}",
            denial.hint
        );
    }
    let permit = policy.at_addr(&name, PUBLIC.parse().unwrap()).into_result().unwrap();
    assert_eq!(permit.addr(), SocketAddr::new(PUBLIC.parse().unwrap(), 443));
    assert_eq!(permit.host(), Some(&"api.example".parse().unwrap()));
}

#[test]
fn connect_to_lifts_the_address_check_for_its_name_and_port_alone() {
    let policy = policy(&["api.example", "other.example"], &["api.example:443:127.0.0.1:8443"]);
    let at = |host, port, addr: &str| {
        let name = policy.at_name(&origin(host, port)).into_result().unwrap();
        policy.at_addr(&name, addr.parse().unwrap()).into_result()
    };
    assert_eq!(at("api.example", 443, "127.0.0.1").unwrap().addr(), "127.0.0.1:8443".parse().unwrap());
    assert!(at("api.example", 443, "127.0.0.2").is_err());
    assert!(at("api.example", 443, PUBLIC).is_err(), "the operator named the one address");
    assert!(at("api.example", 80, "127.0.0.1").is_err());
    assert!(at("other.example", 443, "127.0.0.1").is_err());
    assert_eq!(policy.connect_to(&name("api.example"), 80), None);
}

#[test]
fn the_alias_has_loopback_and_no_other_address() {
    let policy = policy(&["host.portcullis.internal:443"], &[]);
    let name = policy.at_name(&origin(HOST_ALIAS, 443)).into_result().unwrap();
    for (text, allowed) in [("127.0.0.1", true), ("::1", true), ("127.0.0.2", false), (PUBLIC, false)] {
        assert_eq!(policy.at_addr(&name, text.parse().unwrap()).into_result().is_ok(), allowed, "{text}");
    }
}

#[test]
fn web_ports_are_always_sniffed_so_that_a_denial_can_explain_itself() {
    let (policy, names) = (policy(&[], &[]), names());
    for text in ["169.254.169.254:80", "8.8.8.8:443", "172.16.0.1:443", "198.18.0.9:80", "[2001:db8::1]:443"]
    {
        let verdict = policy.at_syn(text.parse().unwrap(), &names, start());
        assert!(matches!(verdict, AtSyn::Sniff), "{text}");
    }
}

#[test]
fn an_opaque_flow_needs_a_live_binding_to_a_name_allowed_at_its_port() {
    let (policy, mut names, now) = (policy(&["git.example:22", "pypi.org"], &[]), names(), start());
    let addr: IpAddr = PUBLIC.parse().unwrap();
    let ssh = SocketAddr::new(addr, 22);
    assert_eq!(refused(policy.at_syn(ssh, &names, now)).reason, Reason::Unbound);

    names.bind(&name("pypi.org"), &[addr], Duration::ZERO, now);
    let denial = refused(policy.at_syn(ssh, &names, now));
    assert_eq!(denial.hint, "--allow pypi.org:22");

    names.bind(&name("git.example"), &[addr], Duration::ZERO, now);
    let (addrs, by) = dialled(policy.at_syn(ssh, &names, now));
    assert_eq!(addrs, [ssh]);
    assert_eq!(by, ["git.example by --allow git.example:22"]);
    refused(policy.at_syn(SocketAddr::new(addr, 23), &names, now));
    refused(policy.at_syn("93.184.216.35:22".parse().unwrap(), &names, now));
    assert_eq!(refused(policy.at_syn(ssh, &names, now + Duration::from_secs(61))).reason, Reason::Unbound);
}

#[test]
fn a_binding_never_leads_an_opaque_flow_to_a_special_address() {
    let (policy, mut names, now) = (policy(&["git.example:22"], &[]), names(), start());
    let addr: IpAddr = "10.0.0.1".parse().unwrap();
    names.bind(&name("git.example"), &[addr], Duration::ZERO, now);
    let denial = refused(policy.at_syn(SocketAddr::new(addr, 22), &names, now));
    assert!(matches!(denial.reason, Reason::SpecialUse { .. }));
}

#[test]
fn the_gateway_leads_to_loopback_only_at_ports_that_are_opened() {
    let (policy, names) = (policy(&["host.portcullis.internal:8080"], &[]), names());
    for gateway in ["172.16.0.1", "fd7a::1"] {
        let gateway: IpAddr = gateway.parse().unwrap();
        let (addrs, by) = dialled(policy.at_syn(SocketAddr::new(gateway, 8080), &names, start()));
        assert_eq!(addrs, ["127.0.0.1:8080".parse().unwrap(), "[::1]:8080".parse().unwrap()]);
        assert_eq!(by, ["host.portcullis.internal by --allow host.portcullis.internal:8080"]);
        let denial = refused(policy.at_syn(SocketAddr::new(gateway, 8081), &names, start()));
        assert_eq!(denial.hint, "--allow host.portcullis.internal:8081");
    }
}

#[test]
fn a_mapped_address_is_dialled_by_its_name_where_that_is_allowed_and_refused_elsewhere() {
    let policy = policy(&["api.example:8443"], &[]);
    let mut names = names();
    let allowed = names.map(&name("api.example"), Family::V4);
    let denied = names.map(&name("evil.example"), Family::V6);
    let by_name = policy.at_syn(SocketAddr::new(allowed, 8443), &names, start());
    assert!(matches!(by_name, AtSyn::DialByName(permit) if permit.host().as_str() == "api.example"));
    refused(policy.at_syn(SocketAddr::new(allowed, 22), &names, start()));
    let denial = refused(policy.at_syn(SocketAddr::new(denied, 8443), &names, start()));
    assert_eq!(denial.hint, "--allow evil.example:8443");
    let nobody = refused(policy.at_syn("198.18.99.99:8443".parse().unwrap(), &names, start()));
    assert_eq!(nobody.reason, Reason::Unbound);
}

#[test]
fn a_mapped_name_on_an_opaque_port_is_dialled_where_the_operator_sends_it() {
    let policy = policy(&["db.example:5432"], &["db.example:5432:127.0.0.1:6000"]);
    let mut names = names();
    let mapped = names.map(&name("db.example"), Family::V6);
    let (permits, allowed) = dialled(policy.at_syn(SocketAddr::new(mapped, 5432), &names, start()));
    assert_eq!(permits, ["127.0.0.1:6000".parse().unwrap()]);
    assert_eq!(allowed, ["db.example by --allow db.example:5432"]);
    refused(policy.at_syn(SocketAddr::new(mapped, 5433), &names, start()));
}

#[test]
fn questions_are_sorted_by_what_may_be_known() {
    let policy = policy(&["pypi.org", "api.example", "*.internal"], &["api.example:443:127.0.0.1:1"]);
    let at = |text| policy.at_question(&name(text));
    assert!(matches!(at("pypi.org"), AtQuestion::Forward));
    assert!(matches!(at("a.internal"), AtQuestion::Forward));
    assert!(matches!(at("api.example"), AtQuestion::Map));
    assert!(matches!(at(HOST_ALIAS), AtQuestion::Gateway));
    assert!(matches!(at("localhost"), AtQuestion::Loopback));
    assert!(matches!(at("x.pypi.org"), AtQuestion::Deny(denial) if denial.hint == "--allow x.pypi.org"));
}

#[test]
fn pass_through_is_by_pattern_and_gives_no_leave() {
    let policy = Policy::builder().passthrough(HostPattern::parse("*.apple.com").unwrap()).build();
    assert!(
        policy.is_passed_through(&name("api.apple.com")) && !policy.is_passed_through(&name("apple.com"))
    );
    denial(policy.at_host(&name("api.apple.com"), 443));
}

#[test]
fn a_rule_about_an_address_opens_what_its_name_does_not_and_a_rule_against_the_name_holds() {
    let destination = |port| SocketAddr::new(PUBLIC.parse().unwrap(), port);
    let mut names = names();
    names.bind(&name("git.example"), &[PUBLIC.parse().unwrap()], Duration::from_secs(60), start());
    let built = |rules: &[&str]| {
        let rule = |text: &&str| Rule::parse(text, RuleSource::Owner).unwrap();
        rules.iter().map(rule).fold(Policy::builder(), |builder, rule| builder.rule(rule)).build()
    };
    let open = built(&["allow git.example", "allow 93.184.216.0/24:22/tcp,udp"]);
    let at_syn = open.at_syn(destination(22), &names, start());
    assert!(matches!(at_syn, AtSyn::DialFirst { opened: Opened::Address(_), .. }), "{at_syn:?}");
    let datagram = open.at_datagram(destination(22), &names, start());
    assert!(matches!(datagram, AtDatagram::Dial(..)), "{datagram:?}");
    let shut = built(&["deny git.example", "allow 93.184.216.0/24:22/tcp,udp"]);
    assert_eq!(refused(shut.at_syn(destination(22), &names, start())).reason, Reason::Rule);
    assert!(matches!(shut.at_datagram(destination(22), &names, start()), AtDatagram::Refuse(_)));
}
