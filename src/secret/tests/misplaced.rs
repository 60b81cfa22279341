//! Placeholders toward those who may not have the secret.

use super::*;

/// The place where `TOKEN`'s placeholder is found misplaced, if it is; the peer is the origin's own, verified.
fn place(set: &Secrets, name: &str, parts: &Parts) -> Option<String> {
    let peer = peer(name);
    set.misplaced(&origin(Scheme::Https, name), &mut parts.clone(), Some(&peer)).map(|found| {
        assert_eq!(found.secret, "TOKEN");
        found.place
    })
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn a_placeholder_toward_a_stranger_is_found_wherever_it_stands() {
    let set = secrets();
    let token = placeholder(&set, "TOKEN");
    let half = format!("{}{}", &token[..9], percent_encoded(&token[9..]));
    for (target, name, value, place_of) in [
        ("/".into(), "authorization", format!("Bearer {token}"), "header:authorization"),
        ("/".into(), "cookie", format!("a={token}; b"), "header:cookie"),
        ("/".into(), "authorization", basic(&format!("u:{token}")), "basic"),
        (
            "/".into(),
            "authorization",
            basic(&format!("{token}:x")).to_uppercase()[..5].to_owned() + &basic(&format!("{token}:x"))[5..],
            "basic",
        ),
        ("/".into(), "proxy-authorization", basic(&token), "basic"),
        ("/".into(), "x-other", basic(&token).trim_end_matches('=').to_owned(), "basic"),
        (format!("/v1/{token}/x"), "x", "y".into(), "url"),
        (format!("/?key={token}"), "x", "y".into(), "url"),
        (format!("/?key={}", percent_encoded(&token)), "x", "y".into(), "url"),
        (format!("/{}", percent_encoded(&token).to_uppercase()), "x", "y".into(), "url"),
        (format!("/%zz%{half}"), "x", "y".into(), "url"),
        ("/".into(), token.as_str(), "y".into(), "header name"),
    ] {
        let parts = request(&target, &[(name, &value)]);
        assert_eq!(
            place(&set, "evil.example", &parts).as_deref(),
            Some(place_of),
            "{target} {name}: {value}"
        );
        assert_eq!(place(&set, "git.example", &parts).as_deref(), Some(place_of), "another secret's host");
        assert_eq!(place(&set, "api.example", &parts), None, "toward its own host it is text");
    }
}

#[test]
fn a_placeholder_in_the_host_name_is_found() {
    let set = only(spec("TOKEN", "0123456789abcdefghij", &["api.example:443"]));
    let name = format!("{}.evil.example", placeholder(&set, "TOKEN"));
    assert_eq!(place(&set, &name, &request("/", &[])).as_deref(), Some("host"));
}

#[test]
fn nobody_may_have_a_secret_without_a_verified_certificate() {
    let set = secrets();
    let token = placeholder(&set, "TOKEN");
    let parts = request("/", &[("x-key", &token)]);
    let misplaced = |scheme, verified: Option<&VerifiedPeer>| {
        set.misplaced(&origin(scheme, "api.example"), &mut parts.clone(), verified).is_some()
    };
    assert!(!misplaced(Scheme::Https, Some(&peer("api.example"))));
    assert!(misplaced(Scheme::Https, None));
    assert!(misplaced(Scheme::Http, None));
    assert!(misplaced(Scheme::Http, Some(&peer("api.example"))));
    assert!(misplaced(Scheme::Https, Some(&peer("git.example"))), "the peer is not the origin");
    assert!(
        misplaced(Scheme::Https, Some(&VerifiedPeer::new(host("api.example"), 8443))),
        "the port is not the secret's"
    );
}

#[test]
fn a_clean_request_may_go_anywhere() {
    let set = secrets();
    let foreign = placeholder(&secrets(), "TOKEN");
    let fields =
        [("authorization", basic("user:password")), ("cookie", foreign), ("x-percent", "%41%".into())];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let parts = request("/path?query=%20", &fields);
    assert_eq!(place(&set, "evil.example", &parts), None);
    assert_eq!(set.misplaced(&origin(Scheme::Http, "evil.example"), &mut parts.clone(), None), None);
}

#[test]
fn the_second_of_two_placeholders_is_found_behind_one_that_is_in_place() {
    let set = secrets();
    let both = format!("{} {}", placeholder(&set, "OTHER"), placeholder(&set, "TOKEN"));
    let parts = request("/", &[("x-key", &both)]);
    assert_eq!(place(&set, "git.example", &parts).as_deref(), Some("header:x-key"));
}

#[test]
fn what_is_told_holds_names_and_no_placeholder() {
    let set = secrets();
    let token = placeholder(&set, "TOKEN");
    let parts = request("/", &[(token.as_str(), "x")]);
    let found = set.misplaced(&origin(Scheme::Https, "evil.example"), &mut parts.clone(), None).unwrap();
    assert!(!format!("{found:?}").to_lowercase().contains(&token.to_lowercase()));
}

fn reacting(url: Reaction, header: Reaction) -> Arc<Secrets> {
    let mut spec = spec("TOKEN", TOKEN, &["api.example"]);
    spec.elsewhere = Elsewhere { url, header, ..Elsewhere::default() };
    only(spec)
}

#[test]
fn a_placeholder_in_disguise_or_in_pieces_is_found() {
    let set = secrets();
    let token = placeholder(&set, "TOKEN");
    let (one, two) = token.split_at(15);
    let twice = percent_encoded(&token).replace('%', "%25");
    let escaped: String = token.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    for before in ["", "x", "xy", "user:"] {
        let coded = STANDARD.encode(format!("{before}{token};"));
        let parts = request("/", &[("x-key", &coded)]);
        assert_eq!(place(&set, "evil.example", &parts).as_deref(), Some("header:x-key"), "{coded}");
        let parts = request(&format!("/?q={}", coded.replace('=', "%3D")), &[]);
        assert_eq!(place(&set, "evil.example", &parts).as_deref(), Some("url"), "{coded}");
    }
    for (target, fields, place_of) in [
        (format!("/?q={twice}"), vec![], "url"),
        (format!("/{one}/{two}"), vec![], "url"),
        (format!("/?a={one}&b={two}"), vec![], "url"),
        ("/".into(), vec![("x", escaped.as_str())], "header:x"),
        ("/".into(), vec![("x", twice.as_str())], "header:x"),
        ("/".into(), vec![("x", one), ("x", two)], "header"),
        ("/".into(), vec![("x", one), ("y", two)], "header"),
    ] {
        let parts = request(&target, &fields);
        assert_eq!(place(&set, "evil.example", &parts).as_deref(), Some(place_of), "{target} {fields:?}");
        assert_eq!(place(&set, "api.example", &parts), None);
    }
}

#[test]
fn what_is_to_be_redacted_is_cut_out_or_denied() {
    let set = reacting(Reaction::Redact, Reaction::Redact);
    let token = placeholder(&set, "TOKEN");
    let gone = "x".repeat(token.len());
    let coded = STANDARD.encode(format!("user:{token}"));
    let escaped = percent_encoded(&token);
    let mut parts = request(
        &format!("/a/{token}?k={escaped}"),
        &[("x-key", &format!("a {token} b")), ("authorization", &format!("Basic {coded}"))],
    );
    let stranger = origin(Scheme::Https, "evil.example");
    assert_eq!(set.misplaced(&stranger, &mut parts, None), None);
    assert_eq!(parts.uri.to_string(), format!("/a/{gone}?k={}", "x".repeat(escaped.len())));
    assert_eq!(field(&parts.headers, "x-key"), format!("a {gone} b"));
    let basic = field(&parts.headers, "authorization");
    assert!(basic.starts_with("Basic ") && basic.contains("xxxxxxxxxxxx"), "{basic}");

    let mut parts = request(&format!("/?k={}", escaped.replace('%', "%25")), &[]);
    let found = set.misplaced(&stranger, &mut parts, None).unwrap();
    assert_eq!(found.reaction, Reaction::Deny, "what cannot be cut out is denied");
    let mut own = request(&format!("/{token}"), &[]);
    assert_eq!(
        set.misplaced(&origin(Scheme::Https, "api.example"), &mut own, Some(&peer("api.example"))),
        None
    );
    assert_eq!(own.uri.to_string(), format!("/{token}"));
}

#[test]
fn the_worst_that_is_found_is_told() {
    let reaction = |set: &Secrets| {
        let token = placeholder(set, "TOKEN");
        let mut parts = request(&format!("/{token}"), &[("x-key", &token)]);
        set.misplaced(&origin(Scheme::Https, "evil.example"), &mut parts, None).map(|found| found.reaction)
    };
    assert_eq!(reaction(&reacting(Reaction::Deny, Reaction::Terminate)), Some(Reaction::Terminate));
    assert_eq!(reaction(&reacting(Reaction::Inert, Reaction::Deny)), Some(Reaction::Deny));
    assert_eq!(reaction(&reacting(Reaction::Terminate, Reaction::Inert)), Some(Reaction::Terminate));
    assert_eq!(reaction(&reacting(Reaction::Inert, Reaction::Inert)), None);
}
