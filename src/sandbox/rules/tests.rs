//! What rules come to, change after change.

use super::*;
use crate::name::{HostName, HostPattern};
use crate::policy::Verdict;

const FILE: &str =
    "[net]\nallow = ['a.example', 'b.example']\n[[rule]]\nhost = 'c.example'\naction = 'allow'\n";

fn config(text: &str) -> Config {
    Config::parse(text).unwrap()
}

fn rules_of(text: &str) -> Vec<Rule> {
    config(text).allow
}

/// Rules with these, over a floor where there is one, and with a secret of the embedder's for `s.example`.
fn rules(text: &str, floor: Option<&str>) -> Rules {
    let start = Config { floor: floor.map(rules_of), ..config(text) };
    let host = SecretHost { pattern: HostPattern::parse("s.example").unwrap(), port: 443 };
    let own = vec![("OWN".to_owned(), vec![host])];
    let live = Arc::new(Live::default());
    let mut rules = Rules::new(live, start.clone(), own, 3);
    rules.put(start, Vec::new()).unwrap();
    rules
}

/// Which of some hosts may be reached at 443.
fn open(rules: &Rules) -> String {
    let policy = rules.live.current();
    let host = |letter: &&str| {
        let host = HostName::parse(&format!("{letter}.example")).unwrap();
        matches!(policy.at_host(&host, 443), Verdict::Allow(_))
    };
    ["a", "b", "c", "d", "s"].iter().filter(|letter| host(letter)).copied().collect()
}

fn lines(rules: &Rules) -> Vec<String> {
    Rules::list(&rules.live.current()).into_iter().map(|rule| rule.rule).collect()
}

#[test]
fn no_change_lifts_the_floor_that_was_there_at_the_start() {
    const FLOOR: &str = "[net]\nallow = ['a.example', 'd.example']";
    let mut rules = rules(FILE, Some(FLOOR));
    assert_eq!(open(&rules), "a");
    rules.add(Action::Allow, "any").unwrap();
    assert_eq!(open(&rules), "ad");
    let all = || config("[net]\ndefault = 'allow'");
    rules.replace(all(), PolicyChange::Replaced).unwrap();
    assert_eq!(open(&rules), "ad");
    for (floor, expected) in [("[net]\nallow = ['a.example', 'b.example']", "a"), (FLOOR, "ad"), ("", "")] {
        let config = Config { floor: Some(rules_of(floor)), ..all() };
        rules.replace(config, PolicyChange::Replaced).unwrap();
        assert_eq!(open(&rules), expected, "{floor}");
    }
    rules.replace(all(), PolicyChange::Replaced).unwrap();
    assert_eq!(open(&rules), "ad", "what was added goes with what added it");
}

#[test]
fn a_secret_keeps_its_leave_until_a_rule_takes_it() {
    let mut rules = rules(FILE, None);
    assert_eq!(open(&rules), "abcs");
    rules.replace(Config::default(), PolicyChange::Replaced).unwrap();
    assert_eq!(open(&rules), "s");
    rules.add(Action::Deny, "s.example:443/tcp").unwrap();
    assert_eq!(open(&rules), "");
    let passing = config("[net]\nallow = ['s.example']\n[tls]\npassthrough = ['*.example', 's.example']\n");
    let error = rules.replace(passing, PolicyChange::Replaced).err().unwrap().to_string();
    assert!(error.contains("OWN"), "{error}");
    assert_eq!(open(&rules), "");
}

#[test]
fn the_last_rule_put_first_decides_and_each_is_there_once() {
    let mut rules = rules(FILE, None);
    rules.add(Action::Deny, "a.example").unwrap();
    rules.add(Action::Allow, "a.example").unwrap();
    assert_eq!(open(&rules), "abcs");
    rules.add(Action::Deny, "a.example").unwrap();
    assert_eq!(open(&rules), "bcs");
    assert_eq!(lines(&rules).len(), 6);
    rules.add(Action::Deny, "d.example").unwrap();
    let error = rules.add(Action::Deny, "e.example").err().unwrap().to_string();
    assert!(error.contains("live_rules"), "{error}");
    rules.add(Action::Allow, "a.example").unwrap();
    assert_eq!(open(&rules), "abcs");
}

#[test]
fn each_rule_but_a_secrets_can_be_dropped() {
    let mut rules = rules(FILE, None);
    rules.add(Action::Deny, "b.example").unwrap();
    let all = lines(&rules);
    assert_eq!(all.len(), 5, "{all:?}");
    assert!(matches!(rules.remove(5), Err(PolicyError::OfSecret { number: 5, .. })));
    for (number, expected) in [(4, "ac"), (2, "a"), (1, "a"), (1, "")] {
        rules.remove(number).unwrap();
        assert_eq!(open(&rules), format!("{expected}s"), "{number}");
    }
    assert!(matches!(rules.remove(2), Err(PolicyError::NoSuchRule(2))));
    rules.replace(config("[net]\ndefault = 'allow'"), PolicyChange::Replaced).unwrap();
    assert_eq!(open(&rules), "abcds");
    rules.remove(2).unwrap();
    assert_eq!(open(&rules), "s");
}

#[test]
fn what_cannot_change_is_named() {
    let start = config(FILE);
    assert_eq!(restart_needed(&start, &start), Vec::<String>::new());
    for (text, part) in [
        ("[net]\nslot = 4", "[net] addresses"),
        ("[net]\nnameservers = ['9.9.9.9']", "[net] nameservers"),
        ("[net]\npublish = ['0:80']", "published ports"),
        ("[tls]\nupstream_ca = ['ca.pem']", "[tls] upstream_ca"),
        ("[limits]\nflows = 3", "[limits]"),
        ("[secrets.X]\nhosts = ['a.example']", "[secrets]"),
    ] {
        let told = restart_needed(&start, &config(text));
        assert_eq!(told, [format!("{part} changed, which needs a restart")]);
    }
    let floor = Config { floor: Some(Vec::new()), ..start.clone() };
    assert!(restart_needed(&start, &floor)[0].contains("the floor changed"));
}

#[test]
fn the_rule_that_observes_is_nobodys_to_drop() {
    for (text, number) in [("", 1), ("[net]\ndefault = 'allow'", 2), (FILE, 4)] {
        let start = Config { observe: true, ..config(text) };
        let mut rules = Rules::new(Arc::new(Live::default()), start.clone(), Vec::new(), 3);
        rules.put(start, Vec::new()).unwrap();
        let before = lines(&rules);
        assert_eq!(before.len(), number, "{before:?}");
        let error = rules.remove(number).err().unwrap().to_string();
        assert!(error.starts_with(&format!("rule {number} comes with --observe; start without")), "{error}");
        assert_eq!(lines(&rules), before);
        if number > 1 {
            let done = rules.remove(1).unwrap();
            assert_eq!(done.what, format!("without {}", before[0]));
            assert_eq!(lines(&rules), before[1..]);
        }
    }
}

#[test]
fn what_a_change_makes_odd_is_told_once() {
    let mut rules = rules(FILE, None);
    let told = |done: Done| done.warnings.join("\n");
    assert_eq!(told(rules.add(Action::Allow, "d.example").unwrap()), "");
    let hidden = told(rules.add(Action::Deny, "a.example").unwrap());
    assert!(hidden.starts_with("'allow a.example:80,443/tcp' (configuration:2: "), "{hidden}");
    assert!(
        hidden.ends_with("is never reached: 'deny a.example' (the sandbox's owner) comes first"),
        "{hidden}"
    );
    assert_eq!(told(rules.add(Action::Allow, "e.example").unwrap()), "", "it was told already");
    let widened = told(rules.remove(1).unwrap());
    assert_eq!(widened, "");
    let narrowed = told(rules.add(Action::Allow, "GET b.example /v1").unwrap());
    assert!(
        narrowed.contains("allows every request to b.example, of which 'allow GET b.example"),
        "{narrowed}"
    );
}

#[test]
fn many_odd_rules_are_told_in_few_lines() {
    let hosts: Vec<String> = (0..40).map(|number| format!("'h{number}.example'")).collect();
    let mut rules = rules(&format!("[net]\nallow = [{}]", hosts.join(", ")), None);
    let warnings = rules.add(Action::Deny, "any").unwrap().warnings;
    assert_eq!((warnings.len(), warnings[8].as_str()), (9, "33 more rules are odd like these"));
}

#[test]
fn a_rule_that_the_floor_does_not_allow_is_told_so() {
    // A name may lead to any address, so that a floor with addresses allows each name something.
    const NAMES: &str = "[net]\nallow = ['a.example', '*.b.example', 'u.example:5000/udp']";
    const ADDRESSES: &str = "[net]\nallow = ['10.0.0.0/8:1-65535']";
    const NONE: &str = "the floor does not allow that: ";
    const SOME: &str = "the floor does not allow all of that: ";
    for (rule, says) in [
        ("a.example", None),
        ("a.example:443", None),
        ("x.b.example", None),
        ("*.b.example", None),
        ("10.1.0.0/16:22", None),
        ("10.1.2.3:22", None),
        ("u.example:5000/udp", None),
        ("GET a.example /v1/**", None),
        ("ingress 192.0.2.1", None),
        ("d.example", Some(NONE)),
        ("a.example:22", Some(NONE)),
        ("a.example/icmp", Some(NONE)),
        ("POST d.example /v1/**", Some(NONE)),
        ("*.d.example", Some(NONE)),
        ("192.168.0.1", Some(NONE)),
        ("host.portcullis.internal:8080", Some(NONE)),
        ("a.example:80-90", Some(SOME)),
        ("*.example", Some(SOME)),
        ("any", Some(SOME)),
        ("@public", Some(SOME)),
        ("172.16.0.0/12", Some(SOME)),
    ] {
        let is_address = rule.starts_with(|c: char| c.is_ascii_digit());
        let mut rules = rules("", Some(if is_address { ADDRESSES } else { NAMES }));
        let warnings = rules.add(Action::Allow, rule).unwrap().warnings;
        let told = warnings.first().map(String::as_str);
        match says {
            None => assert_eq!(told, None, "{rule}"),
            Some(says) => assert!(told.is_some_and(|told| told.starts_with(says)), "{rule}: {warnings:?}"),
        }
    }
    let floor = "[[rule]]\nhost = 'a.example'\nmethods = ['GET']\naction = 'allow'";
    let start = Config { floor: Some(config(floor).rules), ..config("") };
    let mut rules = Rules::new(Arc::new(Live::default()), start.clone(), Vec::new(), 9);
    rules.put(start, Vec::new()).unwrap();
    let mut told = |rule: &str| rules.add(Action::Allow, rule).unwrap().warnings.join("");
    assert_eq!(told("GET a.example /x"), "");
    assert!(told("POST a.example /x").starts_with(NONE));
    assert!(told("GET,POST a.example").starts_with(SOME));
}
