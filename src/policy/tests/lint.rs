//! What is said of rules that do nothing, or not what they seem to.

use super::*;

fn findings(texts: &[&str]) -> Vec<&'static str> {
    let rule = |text: &&str| match text.strip_prefix("--allow ") {
        Some(target) => Rule::allowing(target, RuleSource::Flag(target.to_owned())).unwrap(),
        None => Rule::parse(text, RuleSource::Owner).unwrap(),
    };
    let policy = texts.iter().map(rule).fold(Policy::builder(), Builder::rule).build();
    let word = |finding: Finding| match finding {
        Finding::Contradiction(_) => "contradiction",
        Finding::Unreached(_) => "unreached",
        Finding::Widening(_) => "widening",
        Finding::Displaced(_) => "displaced",
    };
    policy.findings().into_iter().map(word).collect()
}

#[test]
fn leave_that_opens_what_a_wider_one_does_not_is_reached() {
    for (wide, narrow) in [
        ("allow 0.0.0.0/0", "allow 169.254.169.254"),
        ("allow 0.0.0.0/0", "allow 10.0.0.0/8"),
        ("allow any", "allow 160.0.0.0/3"),
        ("allow any", "allow 93.184.216.34:22"),
        ("allow 93.184.216.0/24", "allow 93.184.216.34:22"),
        ("allow any", "allow @private"),
        ("allow ::/0", "allow fc00::/7"),
        ("allow 169.254.0.0/16", "allow 169.254.169.254"),
    ] {
        assert_eq!(findings(&[wide, narrow]), [""; 0], "{wide}, {narrow}");
    }
    for (wide, narrow) in [
        ("allow 10.0.0.0/8", "allow 10.1.0.0/16"),
        ("deny 0.0.0.0/0", "allow 10.0.0.0/8"),
        ("allow any", "allow 93.184.216.0/24"),
        ("deny *.example", "allow a.example"),
    ] {
        assert_eq!(findings(&[wide, narrow]), ["unreached"], "{wide}, {narrow}");
    }
}

#[test]
fn wide_leave_behind_leave_for_some_requests_is_told() {
    let some = "allow GET api.github.com /repos/acme/**";
    for wide in ["--allow api.github.com", "--allow *.github.com", "--allow any"] {
        assert_eq!(findings(&[some, wide]), ["widening"], "{wide}");
    }
    assert_eq!(findings(&[some, "--allow github.com"]), [""; 0]);
    assert_eq!(findings(&["--allow *.github.com", some]), ["unreached"]);
}

#[test]
fn opposites_contradict_each_other_inward_as_well() {
    for (one, other) in [
        ("deny ingress 10.0.0.0/8", "allow ingress 10.0.0.0/8"),
        ("allow 10.0.0.5", "deny 10.0.0.5"),
        ("deny 0.0.0.0/0", "allow 0.0.0.0/0"),
        ("allow 0.0.0.0/0", "deny 0.0.0.0/0"),
    ] {
        assert_eq!(findings(&[one, other]), ["contradiction"], "{one}, {other}");
    }
    assert_eq!(findings(&["deny ingress 10.0.0.0/8", "allow ingress 10.0.0.7"]), ["unreached"]);
    assert_eq!(findings(&["deny 10.0.0.0/8", "allow ingress 10.0.0.0/8"]), [""; 0]);
}
