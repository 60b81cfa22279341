//! What is accepted as a sandbox's secrets, and what placeholders they get.

use super::*;

fn refused(specs: Vec<SecretSpec>) -> String {
    let text = Secrets::new(specs).err().unwrap().to_string();
    assert!(!text.contains("canary") && !text.contains('\n'), "{text}");
    text
}

#[test]
fn what_makes_no_sense_does_not_start() {
    let good = || spec("TOKEN", TOKEN, &["api.example:443"]);
    assert!(refused(vec![good(), good()]).contains("TOKEN is given twice"));
    assert!(refused(vec![spec("TOKEN", TOKEN, &[])]).contains("TOKEN has no host"));
    assert!(refused(vec![swapped(good(), &[])]).contains("TOKEN has an empty swap list"));
    assert!(refused(vec![spec("TOKEN", TOKEN, &["api.example:443", "*.com:443"])]).contains("*.com"));
    for name in ["", "A=B", "A\nB", "A\0", "sk-canary"] {
        assert!(refused(vec![spec(name, TOKEN, &["api.example:443"])]).contains("needs a variable's name"));
    }
    let bell = || spec("TOKEN", "canary\x07canary", &["api.example:443"]);
    assert!(refused(vec![bell()]).contains("control character"));
    assert!(Secrets::new(vec![swapped(bell(), &["basic"])]).is_ok(), "base64 hides it");
    assert!(Secrets::new(vec![swapped(bell(), &["websocket"])]).is_ok(), "text holds it");
    let value = SecretValue::new(b"canary\xffcanary".to_vec()).unwrap();
    let octets = || SecretSpec { value: SecretValue::new(value.expose().to_vec()).unwrap(), ..good() };
    assert!(refused(vec![swapped(octets(), &["basic", "websocket"])]).contains("not UTF-8"));
    assert!(Secrets::new(vec![octets()]).is_ok(), "a field may hold it");
    assert!(Secrets::new(vec![]).is_ok());
}

#[test]
fn placeholders_are_fresh_for_each_sandbox_and_each_secret() {
    let (one, other) = (secrets(), secrets());
    let all = [&one, &other].map(|set| [placeholder(set, "TOKEN"), placeholder(set, "OTHER")]).concat();
    for (index, token) in all.iter().enumerate() {
        assert!(all.iter().skip(index + 1).all(|later| later != token));
        assert_eq!(one.rewrite(token.as_bytes()), None, "a placeholder is no secret");
    }
    assert!(
        placeholder(&one, "TOKEN").starts_with("sk-proj-") && placeholder(&one, "TOKEN").len() == TOKEN.len()
    );
}

#[test]
fn no_placeholder_contains_or_lies_within_a_secret() {
    // A value that is a public prefix, so that a shaped placeholder of the other would contain it.
    let set = Secrets::new(vec![
        spec("PREFIX", "sk-proj-", &["api.example:443"]),
        spec("TOKEN", TOKEN, &["api.example:443"]),
    ])
    .unwrap();
    let token = placeholder(&set, "TOKEN");
    assert!(!token.contains("sk-proj-"));
    assert_eq!(token.len(), TOKEN.len());
    assert!(!placeholder(&set, "PREFIX").contains("sk-proj-"));
}

#[test]
fn the_environment_shows_placeholders_only() {
    let set = secrets();
    let (token, other) = (placeholder(&set, "TOKEN"), placeholder(&set, "OTHER"));
    assert_eq!(set.rewrite(TOKEN.as_bytes()), Some(token.clone().into_bytes()));
    let url = format!("https://u:{OTHER}@git.example/?k={TOKEN}");
    let shown = format!("https://u:{other}@git.example/?k={token}");
    assert_eq!(set.rewrite(url.as_bytes()), Some(shown.into_bytes()));
    assert_eq!(set.rewrite(b"/usr/bin:/bin"), None);
}

#[test]
fn the_longer_of_two_secrets_that_contain_one_another_wins() {
    let long = format!("{TOKEN}-and-more");
    let set =
        Secrets::new(vec![spec("SHORT", TOKEN, &["a.example:443"]), spec("LONG", &long, &["b.example:443"])])
            .unwrap();
    assert_eq!(set.rewrite(long.as_bytes()), Some(placeholder(&set, "LONG").into_bytes()));
    assert_eq!(set.rewrite(TOKEN.as_bytes()), Some(placeholder(&set, "SHORT").into_bytes()));
}

#[test]
fn one_value_of_two_names_becomes_the_placeholder_that_the_host_takes_back() {
    let set = Secrets::new(vec![
        spec("GITHUB_TOKEN", TOKEN, &["git.example:443"]),
        spec("GH_TOKEN", TOKEN, &["api.example:443"]),
    ])
    .unwrap();
    assert_ne!(placeholder(&set, "GITHUB_TOKEN"), placeholder(&set, "GH_TOKEN"));
    let scrubbed = |name: &str| set.scrubber(&host(name)).unwrap().text(TOKEN.as_bytes());
    assert_eq!(scrubbed("git.example"), Some(placeholder(&set, "GITHUB_TOKEN").into_bytes()));
    assert_eq!(scrubbed("api.example"), Some(placeholder(&set, "GH_TOKEN").into_bytes()));
    assert_eq!(set.rewrite(TOKEN.as_bytes()), Some(placeholder(&set, "GITHUB_TOKEN").into_bytes()));
}

#[test]
fn who_may_go_where_is_told_by_host_and_port() {
    let set = secrets();
    let allowed = |name: &str, port| set.allowed_at(&host(name), port);
    assert_eq!(allowed("api.example", 443), ["TOKEN"]);
    assert_eq!(allowed("x.git.example", 8443), ["OTHER"]);
    for (name, port) in
        [("api.example", 80), ("x.git.example", 443), ("git.example", 8443), ("evil.example", 443)]
    {
        assert_eq!(allowed(name, port), [""; 0]);
    }
}

#[test]
fn a_spec_is_made_from_texts_or_names_the_faulty_one() {
    let value = || SecretValue::new(TOKEN.into()).unwrap();
    let spec = SecretSpec::new("TOKEN", value(), &["api.example", "*.git.example:8443"]).unwrap();
    let hosts: Vec<_> = spec.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["api.example:443", "*.git.example:8443"]);
    assert_eq!(spec.swap, Location::defaults());
    for (host, says) in [
        ("", "write HOST, HOST:PORT"),
        ("*", "'*' would be any host"),
        ("10.0.0.1", "is an address"),
        ("https://a.example", "is a URL"),
        ("a.example:80", "port 80 is plain HTTP"),
        ("host.portcullis.internal", "needs a port"),
    ] {
        let error = SecretSpec::new("TOKEN", value(), &["api.example", host]).err().unwrap().to_string();
        assert!(
            error.starts_with(&format!("secret TOKEN, host '{host}': ")) && error.contains(says),
            "{error}"
        );
    }
}
