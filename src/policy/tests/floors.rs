//! What the platform's rules hold, whatever the sandbox's own say.

use super::*;
use crate::config::Config;

fn rules(texts: &[&str]) -> Vec<Rule> {
    texts.iter().map(|text| Rule::parse(text, RuleSource::Owner).unwrap()).collect()
}

fn under(floor: &[&str], own: &[&str], sent: &[&str]) -> Policy {
    let builder = rules(own).into_iter().fold(Policy::builder().floor(rules(floor)), Builder::rule);
    let sent = sent.iter().map(|text| ConnectTo::parse(text).unwrap());
    sent.fold(builder, Builder::connect_to).build()
}

fn at_addr(policy: &Policy, host: &str, addr: &str) -> Result<Permit, Denial> {
    let name = policy.at_name(&origin(host, 443)).into_result()?;
    policy.at_addr(&name, addr.parse().unwrap()).into_result()
}

#[test]
fn an_operators_address_for_a_name_is_judged_by_the_floor() {
    let sent = ["api.example:443:169.254.169.254:80"];
    let policy = under(&["deny @metadata", "allow api.example"], &["allow api.example"], &sent);
    assert_eq!(at_addr(&policy, "api.example", "169.254.169.254").unwrap_err().reason, Reason::Floor);
    let sent = ["api.example:443:10.0.0.5:8443"];
    for (floor, is_allowed) in [
        (&["allow api.example"][..], false),
        (&["allow any"], false),
        (&["allow api.example", "allow 10.0.0.5:443"], false),
        (&["allow api.example", "allow 10.0.0.5:8443"], true),
        (&["allow api.example", "allow 10.0.0.0/8"], true),
        (&["deny 10.0.0.5", "allow api.example", "allow 10.0.0.0/8"], false),
    ] {
        let policy = under(floor, &["allow api.example"], &sent);
        assert_eq!(at_addr(&policy, "api.example", "10.0.0.5").is_ok(), is_allowed, "{floor:?}");
    }
    let sent = ["api.example:443:93.184.216.34:25"];
    let mail = under(&["deny 93.184.216.0/24:25", "allow any:443,53"], &["allow api.example"], &sent);
    assert!(at_addr(&mail, "api.example", "93.184.216.34").is_err());
    let public = under(&["allow any"], &["allow api.example"], &["api.example:443:93.184.216.34:8443"]);
    assert!(at_addr(&public, "api.example", "93.184.216.34").is_ok());
}

#[test]
fn where_datagrams_are_led_is_judged_by_the_floor_as_udp() {
    let sent = ["x.example:5000:10.9.9.9:123"];
    for (floor, is_allowed) in [
        (&["allow x.example:5000/udp", "deny 10.9.9.9:123/udp", "allow 10.0.0.0/8"][..], false),
        (&["allow x.example:5000/udp", "allow 10.9.9.9:123/tcp"], false),
        (&["allow x.example:5000/udp", "allow 10.9.9.9:123/udp"], true),
    ] {
        let policy = under(floor, &["allow x.example:5000/udp"], &sent);
        let addr = "10.9.9.9".parse().unwrap();
        let judged = policy.at_service_addr(&name("x.example"), Service::Udp(5000), addr).into_result();
        assert_eq!(judged.is_ok(), is_allowed, "{floor:?}");
    }
}

fn with_proxy(floor: &[&str], proxy: &str) -> Policy {
    let config =
        Config::parse(&format!("[proxy.p]\nurl = '{proxy}'\nresolve = 'there'\ndefault = true")).unwrap();
    let builder = Policy::builder().floor(rules(floor)).upstreams(Arc::clone(config.policy().upstreams()));
    rules(&["allow any"]).into_iter().fold(builder, Builder::rule).build()
}

#[test]
fn a_floor_about_addresses_does_not_allow_what_only_a_proxy_can_resolve() {
    for (floor, is_allowed) in [
        (&["allow 93.184.216.0/24"][..], false),
        (&["allow @public"], false),
        (&["deny @private", "allow any"], false),
        (&["allow any"], true),
        (&["allow a.example", "deny @private"], true),
        (&["allow b.example"], false),
    ] {
        let policy = with_proxy(floor, "http://192.0.2.1:3128");
        assert_eq!(policy.at_name(&origin("a.example", 443)).into_result().is_ok(), is_allowed, "{floor:?}");
    }
}

#[test]
fn an_operators_proxy_is_judged_by_the_floor() {
    let leave =
        |policy: &Policy| Leave::Name(policy.at_name(&origin("a.example", 443)).into_result().unwrap());
    for (floor, proxy, is_allowed) in [
        (&["allow any"][..], "http://169.254.169.254:3128", false),
        (&["allow any"], "http://10.0.0.1:3128", false),
        (&["allow any"], "http://93.184.216.34:3128", true),
        (&["allow a.example"], "http://93.184.216.34:3128", false),
        (&["allow a.example", "allow 10.0.0.1:3128"], "http://10.0.0.1:3128", true),
        (&["allow a.example", "allow 10.0.0.1:80"], "http://10.0.0.1:3128", false),
    ] {
        let policy = with_proxy(floor, proxy);
        let server = policy.proxy_of(&name("a.example"), 443).unwrap();
        let Host::Address(addr) = server.host() else { panic!("an address") };
        let judged = policy.at_proxy(server, *addr, &leave(&policy)).into_result();
        assert_eq!(judged.is_ok(), is_allowed, "{floor:?} {proxy}");
    }
}

#[test]
fn under_a_floor_of_addresses_only_names_that_the_owner_names_are_asked_for() {
    let policy = under(&["allow 93.184.216.0/24"], &["allow any", "allow git.example:443,22"], &[]);
    assert!(matches!(policy.at_question(&name("git.example")), AtQuestion::Forward));
    assert!(matches!(policy.at_question(&name("stolen-data.evil.test")), AtQuestion::Deny(_)));
    assert!(at_addr(&policy, "git.example", "93.184.216.34").is_ok());
    assert!(at_addr(&policy, "git.example", "93.184.217.34").is_err());
    assert!(at_addr(&policy, "evil.test", "93.184.216.34").is_err());
}

#[test]
fn a_name_of_which_no_service_is_left_never_leaves_the_host() {
    let cases: [(&[&str], &[&str], bool); 9] = [
        (&["allow any"], &["deny evil.example:443", "allow *.example:443"], false),
        (&["allow any"], &["deny evil.example:443", "allow *.example:443,8443"], true),
        (&["allow any"], &["deny evil.example:1-65535", "allow any"], true),
        (&["allow any"], &["deny evil.example:1-65535", "deny evil.example/icmp", "allow any"], false),
        (&["allow any"], &["deny evil.example", "allow any"], false),
        (&["allow *.example:80"], &["allow evil.example:443"], false),
        (&["allow *.example:80-1000"], &["allow evil.example:443"], true),
        (&["allow *.example/icmp"], &["allow evil.example:443"], false),
        // No rule opens these ports.
        (&["allow any"], &["allow evil.example:853,5353/udp"], false),
    ];
    for (floor, own, is_asked) in cases {
        let policy = under(floor, own, &[]);
        let asked = policy.at_question(&name("evil.example"));
        assert_eq!(matches!(asked, AtQuestion::Forward), is_asked, "{floor:?} {own:?}: {asked:?}");
    }
}

#[test]
fn a_denial_of_the_floor_says_so_and_gives_no_flag() {
    let policy = under(
        &["deny DELETE x.example", "allow GET x.example", "allow y.example"],
        &["allow GET,POST x.example /v1/**", "allow 93.184.216.34:22"],
        &[],
    );
    let request =
        |method| policy.at_request(&origin("x.example", 443), None, (method, "/v1/x")).into_result();
    assert!(request("GET").is_ok());
    let AtQuestion::Deny(question) = policy.at_question(&name("z.example")) else { panic!("a denial") };
    let address = policy.at_syn("93.184.216.34:22".parse().unwrap(), &names(), start());
    for denial in [request("POST").unwrap_err(), request("DELETE").unwrap_err(), question, refused(address)] {
        assert_eq!(denial.reason, Reason::Floor, "{denial}");
        assert!(denial.rule.starts_with("floor"), "{denial}");
        assert_eq!(denial.hint, "ask whoever runs this machine");
    }
}

#[test]
fn the_machines_own_address_has_to_be_named_by_every_layer() {
    let at = "93.184.216.34:22";
    let machine = |floor: &[&str], own: &[&str]| {
        let at_syn = under(floor, own, &[]).at_syn(at.parse().unwrap(), &names(), start());
        let AtSyn::DialFirst { permits, .. } = at_syn else { panic!("{at_syn:?}") };
        permits[0].machine()
    };
    assert_eq!(machine(&["allow any"], &["allow 93.184.216.34:22"]), Machine::Other);
    assert_eq!(machine(&["allow 93.184.216.34:22"], &["allow 93.184.216.0/24"]), Machine::Other);
    let both = ["allow @public", "allow 93.184.216.34:22"];
    assert_eq!(machine(&both, &both), Machine::Meant);
}
