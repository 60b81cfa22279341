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
