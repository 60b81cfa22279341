//! What wide rules do not open, and what rules about requests mean where nothing is read.

use super::*;

fn with(texts: &[&str]) -> Policy {
    let rules = texts.iter().map(|text| Rule::parse(text, RuleSource::Owner).unwrap());
    rules.fold(Policy::builder(), Builder::rule).build()
}

fn is_dialled(policy: &Policy, destination: &str) -> bool {
    matches!(policy.at_syn(destination.parse().unwrap(), &names(), start()), AtSyn::DialFirst { .. })
}

#[test]
fn leave_for_all_addresses_is_leave_for_no_special_one() {
    for wide in ["allow 0.0.0.0/0", "allow 128.0.0.0/1", "allow 8.0.0.0/5", "allow 168.0.0.0/5", "allow any"]
    {
        let policy = with(&[wide]);
        for special in [
            "127.0.0.1:5432",
            "0.0.0.0:22",
            "192.168.1.1:22",
            "10.0.0.1:22",
            "169.254.1.1:22",
            "169.254.169.254:8080",
            "100.64.0.1:22",
            "224.0.0.1:22",
            "172.16.0.9:22",
        ] {
            assert!(!is_dialled(&policy, special), "{wide} {special}");
        }
    }
    assert!(is_dialled(&with(&["allow 0.0.0.0/0"]), "93.184.216.34:22"));
    assert!(!is_dialled(&with(&["allow ::/0"]), "[fd00::1]:22"));
    assert!(!is_dialled(&with(&["allow 4000::/3"]), "[5f00::1]:22"));
    assert!(is_dialled(&with(&["allow 0.0.0.0/0", "allow 10.0.0.0/8"]), "10.0.0.1:22"));
    for (block, addr) in [
        ("10.0.0.0/8", "10.1.2.3:22"),
        ("192.168.0.0/16", "192.168.1.1:22"),
        ("127.0.0.0/8", "127.0.0.1:22"),
        ("fc00::/7", "[fd00::1]:22"),
        ("10.0.0.7", "10.0.0.7:22"),
        ("169.254.0.0/16", "169.254.1.1:22"),
    ] {
        assert!(is_dialled(&with(&[&format!("allow {block}")]), addr), "{block}");
    }
}

#[test]
fn a_request_is_judged_by_the_address_inside_as_well() {
    let policy = with(&["allow GET api.example /v1/**", "deny 93.184.216.0/24", "allow api.example"]);
    let judged = |addr: &str, method| {
        let addr = Some(addr.parse().unwrap());
        policy.at_request(&origin("api.example", 443), addr, (method, "/v1/x")).into_result().is_ok()
    };
    for addr in ["93.184.216.34", "64:ff9b::5db8:d822", "2002:5db8:d822::1"] {
        assert!(judged(addr, "GET") && !judged(addr, "POST"), "{addr}");
    }
    assert!(judged("2606:2800::1", "POST"));
}

#[test]
fn a_denial_of_requests_is_about_every_port() {
    let policy = with(&["deny DELETE api.example", "allow api.example:8443", "allow api.example:22"]);
    let request =
        |method| policy.at_request(&origin("api.example", 8443), None, (method, "/x")).into_result().is_ok();
    assert!(request("GET") && !request("DELETE"));
    let ssh = policy.at_host(&name("api.example"), 22).into_result().unwrap();
    assert!(policy.at_unread(&ssh, None).into_result().is_err(), "what nobody reads may hold one");
    let first = with(&["allow api.example:22", "deny DELETE api.example"]);
    let ssh = first.at_host(&name("api.example"), 22).into_result().unwrap();
    assert!(first.at_unread(&ssh, None).into_result().is_ok());
}

#[test]
fn a_flow_without_a_name_is_judged_by_those_that_are_bound_to_its_address() {
    let (mut names, now) = (names(), start());
    let addr: IpAddr = "93.184.216.34".parse().unwrap();
    let at = |policy: &Policy, names: &Names| {
        policy.at_relay(SocketAddr::new(addr, 443), None, (names, now)).into_result().is_ok()
    };
    let named = with(&["deny api.test", "allow 93.184.216.34"]);
    let some = with(&["deny DELETE api.test", "allow 93.184.216.34"]);
    assert!(at(&named, &names) && at(&some, &names));
    names.bind(&name("api.test"), &[addr], Duration::from_secs(60), now);
    assert!(!at(&named, &names) && !at(&some, &names));
    let open = with(&["allow api.test", "allow cdn.test"]);
    assert!(!at(&open, &names), "a name that nobody verifies opens nothing");
    // Shared addresses are open where one of their names is not denied.
    names.bind(&name("cdn.test"), &[addr], Duration::from_secs(60), now);
    assert!(at(&named, &names) && at(&some, &names));
}

#[test]
fn a_denial_of_an_address_says_what_opens_it() {
    let hint = |policy: &Policy, text: &str| refused(policy.at_syn(text.parse().unwrap(), &names(), start()));
    let policy = with(&["allow 169.254.0.0/16"]);
    let by_name = "--allow HOST:22, and let the client use the name; or, by its address, ";
    assert_eq!(hint(&policy, "93.184.216.34:22").hint, format!("{by_name}--allow 93.184.216.34:22"));
    let metadata = hint(&policy, "169.254.169.254:22");
    assert_eq!(
        metadata.to_string(),
        "169.254.169.254:22 is refused: 169.254.169.254 is a cloud metadata service (169.254.169.254) (rule: special-use addresses); to allow it: --allow 169.254.169.254:22"
    );
    let carried = hint(&policy, "[64:ff9b::a00:1]:22");
    assert_eq!(carried.hint, "--allow 10.0.0.1:22 --allow [64:ff9b::a00:1]:22");
    let pasted = ["allow 10.0.0.1:22", "allow [64:ff9b::a00:1]:22"];
    assert!(is_dialled(&with(&pasted), "[64:ff9b::a00:1]:22"));
    assert!(is_dialled(&with(&["allow 10.0.0.0/8", "allow 64:ff9b::/96"]), "[64:ff9b::a00:1]:22"));
    assert!(!is_dialled(&with(&["allow 64:ff9b::/96"]), "[64:ff9b::a00:1]:22"));
}

#[test]
fn leave_that_gave_way_and_what_nobody_reads_have_reasons_of_their_own() {
    let pattern = HostPattern::parse("api.example").unwrap();
    let policy = Policy::builder()
        .rule(Rule::parse("deny DELETE api.example", RuleSource::Owner).unwrap())
        .rule(Rule::for_secret(pattern, 443, "KEY"))
        .build();
    let denial = policy.at_name(&origin("api.example", 443)).into_result().unwrap_err();
    assert_eq!((denial.reason, denial.rule.as_str()), (Reason::Displaced, "secret KEY"));
    let findings = policy.findings();
    assert!(matches!(findings.as_slice(), [Finding::Displaced(_)]), "{findings:?}");
    let some = with(&["allow GET api.example /v1/**"]);
    let permit = some.at_name(&origin("api.example", 443)).into_result().unwrap();
    assert_eq!(some.at_unread(&permit, None).into_result().unwrap_err().reason, Reason::Unread);
}

#[test]
fn who_may_come_in_is_said_by_the_rules_where_any_does() {
    let publish = Publish::parse("0.0.0.0:8080:80").unwrap();
    let is_in = |policy: &Policy, peer: &str| {
        policy.at_peer(&publish, SocketAddr::new(peer.parse().unwrap(), 9)).into_result().is_ok()
    };
    let from_inside = with(&["allow ingress 10.0.0.0/8"]);
    assert!(is_in(&from_inside, "10.1.2.3") && !is_in(&from_inside, "192.0.2.1"));
    let but_one = with(&["deny ingress 10.0.0.7"]);
    assert!(is_in(&but_one, "192.0.2.1") && !is_in(&but_one, "10.0.0.7"));
    let outward = with(&["allow 10.0.0.0/8"]);
    assert!(is_in(&outward, "192.0.2.1"));
    let rule = || Rule::parse("allow ingress 10.0.0.0/8:80", RuleSource::Owner).unwrap();
    let floor = Policy::builder().floor([rule()]).build();
    assert!(is_in(&floor, "10.1.2.3") && !is_in(&floor, "192.0.2.1"));
    let denial = from_inside.at_peer(&publish, "192.0.2.1:9".parse().unwrap()).into_result().unwrap_err();
    assert_eq!(denial.hint, "--rule 'allow ingress 192.0.2.1:80'");
}
