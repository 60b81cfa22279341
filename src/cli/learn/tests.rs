//! What is learnt, and that it says what was seen and nothing else.

use super::*;
use crate::name::{HostName, Origin, Scheme};
use crate::policy::{Policy, Service, Verdict};

struct Learnt {
    code: u8,
    text: String,
    err: String,
    policy: Policy,
}

fn learnt(flags: (bool, bool), lines: &[serde_json::Value]) -> Learnt {
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    learnt_of(flags, lines.join("\n").as_bytes())
}

fn learnt_of((denied, requests): (bool, bool), text: &[u8]) -> Learnt {
    let name = format!("portcullis-learn-{:016x}", getrandom::u64().unwrap());
    let audit = std::env::temp_dir().join(name);
    std::fs::write(&audit, text).unwrap();
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = learn(&LearnArgs { denied, requests, audit: audit.clone() }, &mut out, &mut err).unwrap();
    std::fs::remove_file(&audit).unwrap();
    let text = String::from_utf8(out).unwrap();
    let policy = Config::parse(&text).unwrap().policy();
    Learnt { code, text, err: String::from_utf8(err).unwrap(), policy }
}

fn observed(target: &str) -> serde_json::Value {
    serde_json::json!({"event": "denial", "id": "k3f9-1", "flow": 1, "target": target, "reason": "no rule allows it",
        "rule": "default", "hint": "", "observed": true})
}

fn real(target: &str, rule: &str) -> serde_json::Value {
    serde_json::json!({"event": "denial", "id": "k3f9-1", "flow": 1, "target": target, "reason": "r", "rule": rule})
}

fn request(method: &str, origin: &str, path: &str) -> serde_json::Value {
    serde_json::json!({"event": "request", "flow": 1, "method": method, "origin": origin, "path": path, "status": 200})
}

fn flow(kind: &str, destination: &str, host: Option<&str>) -> serde_json::Value {
    serde_json::json!({"event": "flow", "flow": 1, "kind": kind, "destination": destination, "host": host,
        "rule": "--observe", "millis": 1})
}

impl Learnt {
    fn allows(&self, host: &str, service: Service) -> bool {
        matches!(self.policy.at_service(&HostName::parse(host).unwrap(), service), Verdict::Allow(_))
    }

    fn allows_request(&self, method: &str, host: &str, path: &str) -> bool {
        let origin = Origin { scheme: Scheme::Https, host: HostName::parse(host).unwrap(), port: 443 };
        matches!(self.policy.at_request(&origin, None, (method, path)), Verdict::Allow(_))
    }
}

#[test]
fn flows_become_a_sorted_list_that_allows_them_and_no_more() {
    let learnt = learnt(
        (false, false),
        &[
            observed("b.example:22"),
            observed("a.example:443"),
            observed("a.example:443"),
            observed("looked-up.example"),
            flow("https", "203.0.113.9:443", Some("a.example")),
            flow("udp", "203.0.113.9:123", Some("time.example")),
            flow("icmp", "203.0.113.9:0", Some("ping.example")),
            flow("opaque", "[2001:db8::1]:22", None),
            flow("dns", "203.0.113.9:53", None),
            real("denied.example:443", "default"),
        ],
    );
    assert_eq!((learnt.code, learnt.err.as_str()), (0, ""));
    assert_eq!(
        learnt.text,
        "# The least that allows what the audit file tells of.\n\n[net]\nallow = [\n    \
         \"[2001:db8::1]:22\", # once\n    \"a.example:443\", # 2 times\n    \"b.example:22\", # once\n    \
         \"ping.example/icmp\", # once\n    \"time.example:123/udp\", # once\n]\n"
    );
    assert!(learnt.allows("a.example", Service::Tcp(443)) && !learnt.allows("a.example", Service::Tcp(80)));
    assert!(learnt.allows("time.example", Service::Udp(123)) && learnt.allows("ping.example", Service::Icmp));
    assert!(!learnt.allows("denied.example", Service::Tcp(443)));
    let addr = "2001:db8::1".parse().unwrap();
    assert!(matches!(learnt.policy.at_nameless(addr, Service::Tcp(22)), Verdict::Allow(_)));
}

#[test]
fn real_denials_count_where_they_are_asked_for() {
    let lines =
        [real("denied.example:443", "default"), real("GET https://odd.example/", "http_request_denied")];
    assert!(learnt((true, false), &lines).allows("denied.example", Service::Tcp(443)));
    let text = learnt((true, false), &lines).text;
    assert!(!text.contains("odd.example"), "{text}");
    let special = learnt((true, false), &[real("lan.example:443", "special-use addresses")]);
    assert!(!special.allows("lan.example", Service::Tcp(443)));
    assert!(special.text.contains("# Not allowed here, once: lan.example:443: r"), "{}", special.text);
}

#[test]
fn requests_become_rules_for_their_methods_and_paths() {
    let lines = [
        observed("api.example:443"),
        request("GET", "https://api.example", "/v1/a?q=1"),
        request("GET", "https://api.example", "/v1/a?q=2"),
        request("GET", "https://api.example", "/x%20y/z"),
        request("GET", "https://api.example", "/a/*"),
        request("POST", "https://api.example", "/v1/b"),
        request("GET", "https://other.example", "/not-let-by"),
        observed("GET https://half.example/only"),
        observed("plain.example:443"),
    ];
    let whole = learnt((false, false), &lines);
    assert!(!whole.text.contains("[[rule]]") && whole.allows_request("PUT", "api.example", "/any"));
    let learnt = learnt((false, true), &lines);
    for (method, host, path) in [
        ("GET", "api.example", "/v1/a?q=3"),
        ("GET", "api.example", "/x%20y/z"),
        ("GET", "api.example", "/a/*"),
        ("POST", "api.example", "/v1/b"),
        ("GET", "half.example", "/only"),
        ("PUT", "plain.example", "/any"),
    ] {
        assert!(learnt.allows_request(method, host, path), "{method} {host} {path}: {}", learnt.text);
    }
    for (method, host, path) in [
        ("POST", "api.example", "/v1/a"),
        ("GET", "api.example", "/v1/b"),
        ("GET", "api.example", "/v1/a/b"),
        ("GET", "other.example", "/not-let-by"),
        ("GET", "half.example", "/"),
    ] {
        assert!(!learnt.allows_request(method, host, path), "{method} {host} {path}: {}", learnt.text);
    }
    assert!(
        learnt
            .text
            .contains("# 4 times\n[[rule]]\naction = \"allow\"\nhost = \"api.example\"\nports = [\"443\"]\n")
    );
}

#[test]
fn what_a_guest_wrote_is_not_obeyed() {
    let evil = "x\"]\n[net]\ndefault = \"allow\"\n#";
    let learnt = learnt(
        (true, true),
        &[
            observed(evil),
            observed("*:443"),
            observed("any:443"),
            observed("@public"),
            observed("0.0.0.0/0"),
            observed("a.example:443"),
            request("GET", "https://a.example", "/**"),
            request("GET", "https://a.example", evil),
            request(evil, "https://a.example", "/m"),
            request("GET", &format!("https://{evil}"), "/"),
            request("GET", "https://a.example", "/../../x"),
            observed(&format!("GET https://b.example/{}", "x".repeat(300))),
            flow("https", evil, Some(evil)),
        ],
    );
    assert!(!learnt.allows("unseen.example", Service::Tcp(443)), "{}", learnt.text);
    assert!(!learnt.allows_request("GET", "a.example", "/a/b"), "{}", learnt.text);
    assert!(learnt.allows_request("GET", "a.example", "/**"), "{}", learnt.text);
    assert!(learnt.text.is_ascii());
}

#[test]
fn a_request_that_was_answered_with_a_denial_is_not_learnt() {
    let mut denied = request("DELETE", "https://a.example", "/v1");
    denied["denial"] = "k3f9-1".into();
    let lines = [
        flow("https", "192.0.2.1:443", Some("a.example")),
        request("GET", "https://a.example", "/v1"),
        denied,
        real("DELETE https://a.example/v1", "--rule 'deny DELETE any'"),
    ];
    let let_by = learnt((false, true), &lines);
    assert!(let_by.allows_request("GET", "a.example", "/v1"));
    assert!(!let_by.allows_request("DELETE", "a.example", "/v1"), "{}", let_by.text);
    assert!(learnt((true, true), &lines).allows_request("DELETE", "a.example", "/v1"));
}

#[test]
fn a_file_that_was_cut_is_read_as_far_as_it_goes() {
    let text = format!("{}\n{{\"event\":\"deni", observed("a.example:443"));
    let learnt = learnt_of((false, false), text.as_bytes());
    assert!(learnt.allows("a.example", Service::Tcp(443)));
    assert_eq!(learnt.err, "portcullis: warning: 1 line is no whole record and was left out\n");
    let learnt = learnt_of((false, false), b"nonsense\n\xff\n");
    assert_eq!(learnt.err, "portcullis: warning: 2 lines are no whole records and were left out\n");
    assert_eq!(learnt_of((false, false), b"").code, 0);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let args = LearnArgs { denied: false, requests: false, audit: "/nonexistent".into() };
    assert_eq!(learn(&args, &mut out, &mut err).unwrap(), 125);
}
