//! What `check` says of many requests is what policy says of them when they are asked of it directly.

use crate::config::{Config, Flags};
use crate::name::{HostName, Origin, Scheme};
use crate::policy::{Policy, Verdict};

/// Rules as flags: `--rule`, then `--allow`.
const SETS: [(&[&str], &[&str]); 6] = [
    (&[], &[]),
    (&[], &["api.example", "*.cdn.example:8443", "host.portcullis.internal:8080"]),
    (
        &[
            "allow GET,HEAD api.example /v1/**",
            "deny POST any",
            "allow api.example:8443",
            "deny *.cdn.example",
        ],
        &["*.cdn.example"],
    ),
    (&["deny any /admin /admin/**", "allow @public:80,443,8443/tcp"], &["xn--bcher-kva.example"]),
    (&["allow any"], &[]),
    (
        &["deny GET api.example /v1/secret/**", "allow GET,PUT any /v1/** /", "deny any:8443"],
        &["api.example:8443"],
    ),
];
/// As somebody spells it, and the name that it means.
const HOSTS: [(&str, &str); 8] = [
    ("api.example", "api.example"),
    ("API.Example.", "api.example"),
    ("x.cdn.example", "x.cdn.example"),
    ("a.b.CDN.example", "a.b.cdn.example"),
    ("cdn.example", "cdn.example"),
    ("b\u{fc}cher.example", "xn--bcher-kva.example"),
    ("host.portcullis.internal", "host.portcullis.internal"),
    ("other.example", "other.example"),
];
/// As somebody spells it behind the host, its scheme, and the port that it means.
const PORTS: [(&str, Scheme, &str, u16); 7] = [
    ("https", Scheme::Https, "", 443),
    ("HTTPS", Scheme::Https, ":443", 443),
    ("http", Scheme::Http, "", 80),
    ("http", Scheme::Http, ":8080", 8080),
    ("https", Scheme::Https, ":8443", 8443),
    ("https", Scheme::Https, ":80", 80),
    ("http", Scheme::Http, ":443", 443),
];
/// As somebody spells it behind the port, and the target that is asked for.
const PATHS: [(&str, &str); 14] = [
    ("", "/"),
    ("/", "/"),
    ("?q", "/?q"),
    ("/v1/x", "/v1/x"),
    ("/v1/x?y=/admin", "/v1/x?y=/admin"),
    ("/v1/x#/admin", "/v1/x"),
    ("/v1/secret/x", "/v1/secret/x"),
    ("/v1/../admin", "/v1/../admin"),
    ("/v1/%2e%2e/admin", "/v1/%2e%2e/admin"),
    ("//v1/x", "//v1/x"),
    ("/%76%31/x", "/%76%31/x"),
    ("/v1/..;/admin", "/v1/..;/admin"),
    ("/admin", "/admin"),
    ("/admin/", "/admin/"),
];
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PROPFIND"];
const REQUESTS: usize = 400;

/// Numbers that look random and are the same each time (Knuth's MMIX generator).
struct Numbers(u64);

impl Numbers {
    fn of<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        &list[usize::try_from(self.0 >> 33).unwrap() % list.len()]
    }
}

fn is_allowed(policy: &Policy, origin: &Origin, asked: (&str, &str)) -> bool {
    matches!(policy.at_name(origin), Verdict::Allow(_))
        && matches!(policy.at_request(origin, None, asked), Verdict::Allow(_))
}

#[test]
fn check_says_of_many_requests_what_policy_says_of_them() {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let (mut numbers, mut counts) = (Numbers(2026), Vec::new());
    for (rule, allow) in SETS {
        let flags = Flags { rule: &owned(rule), allow: &owned(allow), ..Flags::default() };
        let policy = Config::load(None, flags).unwrap().policy();
        let flags = rule.iter().flat_map(|rule| ["--rule", *rule]);
        let flags: Vec<&str> = flags.chain(allow.iter().flat_map(|host| ["--allow", *host])).collect();
        let mut allowed = 0;
        for _ in 0..REQUESTS {
            let (host, name) = numbers.of(&HOSTS);
            let (scheme, read, port, number) = numbers.of(&PORTS);
            let (path, target) = numbers.of(&PATHS);
            let method = *numbers.of(&METHODS);
            let origin = Origin { scheme: *read, host: HostName::parse(name).unwrap(), port: *number };
            let expected = is_allowed(&policy, &origin, (method, target));
            let url = format!("{scheme}://{host}{port}{path}");
            let (code, out, _) = super::run(&[&flags[..], &[method, &url]].concat());
            assert_eq!(code, if expected { 0 } else { 3 }, "{rule:?} {allow:?} {method} {url}: {out}");
            allowed += usize::from(expected);
        }
        counts.push(allowed);
    }
    // Neither always nor never, but for a policy that says nothing.
    assert!(
        counts[0] == 0 && counts[1..].iter().all(|count| (20..REQUESTS - 20).contains(count)),
        "{counts:?}"
    );
}
