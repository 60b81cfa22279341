//! Where placeholders become secrets, and where they must not.

use super::*;

/// Runs the injector of `peer`, and holds that it tells exactly of what it did.
fn injected(set: &Arc<Secrets>, peer: &VerifiedPeer, parts: &mut Parts) -> Vec<(String, String)> {
    let told = set.injector(peer).inject(parts).unwrap();
    told.into_iter().map(|injection| (injection.secret, injection.place)).collect()
}

fn told(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(secret, place)| (secret.to_string(), place.to_string())).collect()
}

fn assert_no_secret(parts: &Parts) {
    for value in parts.headers.values() {
        let text = String::from_utf8_lossy(value.as_bytes());
        assert!(!text.contains("canary"), "{text}");
        if let Some(token) = text.strip_prefix("Basic ") {
            assert!(!String::from_utf8_lossy(&STANDARD.decode(token).unwrap()).contains("canary"));
        }
    }
}

#[test]
fn text_messages_get_the_secrets_that_are_for_them_and_for_the_peer() {
    let for_text = |name, value, host| swapped(spec(name, value, &[host]), &["websocket"]);
    let secrets = Secrets::new(vec![
        for_text("MINE", TOKEN, "api.example:443"),
        for_text("THEIRS", OTHER, "git.example:443"),
        spec("FIELD", "field-canary-0123", &["api.example:443"]),
    ])
    .unwrap();
    let own = |name| placeholder(&secrets, name);
    let text = format!("{} {} {}", own("MINE"), own("THEIRS"), own("FIELD"));
    let mut injected = Vec::new();
    let mut stream = TextStream::new(secrets.injector(&peer("api.example")).websocket().unwrap());
    let out = [stream.push(text.into(), &mut injected).unwrap(), stream.finish()].concat();
    assert_eq!(String::from_utf8(out).unwrap(), format!("{TOKEN} {} {}", own("THEIRS"), own("FIELD")));
    assert_eq!(injected, ["MINE"]);
    assert!(secrets.injector(&peer("other.example")).websocket().is_none());
    assert!(
        only(spec("FIELD", TOKEN, &["api.example:443"])).injector(&peer("api.example")).websocket().is_none()
    );
    assert!(secrets.moment() == secrets.moment());
}

#[test]
fn a_placeholder_in_a_header_becomes_the_secret() {
    let set = secrets();
    let token = placeholder(&set, "TOKEN");
    let mut parts = request("/", &[("authorization", &format!("Bearer {token}")), ("x-plain", "as it was")]);
    assert!(set.injector(&peer("api.example")).may_inject());
    let what = injected(&set, &peer("api.example"), &mut parts);
    assert_eq!(what, told(&[("TOKEN", "header:authorization")]));
    assert_eq!(field(&parts.headers, "authorization"), format!("Bearer {TOKEN}"));
    assert!(parts.headers["authorization"].is_sensitive());
    assert_eq!(field(&parts.headers, "x-plain"), "as it was");
    assert!(!parts.headers["x-plain"].is_sensitive());
}

#[test]
fn every_value_of_a_repeated_field_is_replaced_in_its_place() {
    let set = secrets();
    let token = placeholder(&set, "TOKEN");
    let twice = format!("{token},{token}");
    let mut parts =
        request("/", &[("x-key", "first"), ("x-key", &twice), ("y-key", &token), ("x-key", "last")]);
    let what = injected(&set, &peer("api.example"), &mut parts);
    assert_eq!(what.len(), 2, "told once a place");
    let values: Vec<_> = parts.headers.get_all("x-key").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(values, ["first", &format!("{TOKEN},{TOKEN}"), "last"]);
    assert_eq!(field(&parts.headers, "y-key"), TOKEN);
}

#[test]
fn basic_credentials_are_decoded_replaced_and_encoded_again() {
    let set = secrets();
    let other = placeholder(&set, "OTHER");
    for (before, after) in [
        (format!("user:{other}"), format!("user:{OTHER}")),
        (format!("{other}:x-oauth-basic"), format!("{OTHER}:x-oauth-basic")),
        (format!("a:b:{other}!"), format!("a:b:{OTHER}!")),
        (other.clone(), OTHER.to_owned()),
    ] {
        let mut parts = request("/", &[("authorization", &basic(&before))]);
        let what = injected(&set, &peer("git.example"), &mut parts);
        assert_eq!(what, told(&[("OTHER", "basic")]));
        assert_eq!(field(&parts.headers, "authorization"), basic(&after));
        assert!(parts.headers["authorization"].is_sensitive());
    }
}

#[test]
fn basic_credentials_may_lack_their_padding() {
    let set = secrets();
    let other = placeholder(&set, "OTHER");
    for user in ["u", "us", "use"] {
        let bare = |secret: &str| basic(&format!("{user}:{secret}")).trim_end_matches('=').to_owned();
        let mut parts = request("/", &[("authorization", &bare(&other))]);
        injected(&set, &peer("git.example"), &mut parts);
        assert_eq!(field(&parts.headers, "authorization"), bare(OTHER));
    }
}

#[test]
fn other_credentials_are_not_touched() {
    let set = secrets();
    let own = [basic("user:password"), "Basic not*base64".into(), "Bearer mine".into(), "Basic".into()];
    for value in own {
        let mut parts = request("/", &[("authorization", &value)]);
        assert_eq!(injected(&set, &peer("git.example"), &mut parts), []);
        assert_eq!(field(&parts.headers, "authorization"), value);
    }
}

#[test]
fn no_secret_goes_to_another_host_or_port() {
    let set = secrets();
    let (token, other) = (placeholder(&set, "TOKEN"), placeholder(&set, "OTHER"));
    let strangers =
        [("evil.example", 443), ("api.example", 8443), ("x.git.example", 443), ("git.example.evil", 443)];
    for (name, port) in strangers {
        let peer = VerifiedPeer::new(host(name), port);
        let mut parts =
            request("/", &[("x-key", &token), ("y-key", &other), ("authorization", &basic(&token))]);
        assert!(!set.injector(&peer).may_inject());
        assert_eq!(injected(&set, &peer, &mut parts), []);
        assert_no_secret(&parts);
    }
    let mut parts = request("/", &[("x-key", &token), ("y-key", &other), ("authorization", &basic(&token))]);
    let what = injected(&set, &peer("git.example"), &mut parts);
    assert_eq!(what, told(&[("OTHER", "header:y-key")]), "each secret goes to its own host only");
    assert_eq!(field(&parts.headers, "x-key"), token);
    assert_eq!(field(&parts.headers, "authorization"), basic(&token));
}

#[test]
fn a_pattern_host_gets_the_secret_at_its_port() {
    let set = secrets();
    let mut parts = request("/", &[("x-key", &placeholder(&set, "OTHER"))]);
    let peer = VerifiedPeer::new(host("deep.x.git.example"), 8443);
    assert_eq!(injected(&set, &peer, &mut parts).len(), 1);
    assert_eq!(field(&parts.headers, "x-key"), OTHER);
}

#[test]
fn reflective_headers_and_the_url_keep_the_placeholder() {
    let set = secrets();
    let token = placeholder(&set, "TOKEN");
    for name in
        ["user-agent", "referer", "cookie", "x-forwarded-for", "via", "traceparent", "accept", "if-match"]
    {
        let mut parts = request(&format!("/?k={token}"), &[(name, &token)]);
        assert_eq!(injected(&set, &peer("api.example"), &mut parts), []);
        assert_eq!(field(&parts.headers, name), token);
        assert!(parts.uri.to_string().contains(&token));
    }
}

#[test]
fn only_the_swap_places_are_swapped() {
    let set = only(swapped(spec("TOKEN", TOKEN, &["api.example:443"]), &["header:x-api-key"]));
    let token = placeholder(&set, "TOKEN");
    let mut parts = request(
        "/",
        &[("x-api-key", &token), ("authorization", &format!("Bearer {token}")), ("x-other", &basic(&token))],
    );
    assert_eq!(injected(&set, &peer("api.example"), &mut parts), told(&[("TOKEN", "header:x-api-key")]));
    assert_eq!(field(&parts.headers, "authorization"), format!("Bearer {token}"));

    let set = only(swapped(spec("TOKEN", TOKEN, &["api.example:443"]), &["basic"]));
    let token = placeholder(&set, "TOKEN");
    let mut parts = request(
        "/",
        &[("x-api-key", &token), ("authorization", &basic(&token)), ("proxy-authorization", &basic(&token))],
    );
    assert_eq!(injected(&set, &peer("api.example"), &mut parts), told(&[("TOKEN", "basic")]));
    assert_eq!(field(&parts.headers, "proxy-authorization"), basic(&token));
    assert_eq!(field(&parts.headers, "x-api-key"), token);
}

#[test]
fn a_request_with_a_secret_asks_for_the_whole_answer_uncoded() {
    let set = secrets();
    let token = placeholder(&set, "TOKEN");
    let fields =
        [("accept-encoding", "gzip"), ("accept-encoding", "br"), ("range", "bytes=0-9"), ("if-range", "x")];
    let with = [fields.as_slice(), &[("x-key", token.as_str())]].concat();
    let mut parts = request("/", &with);
    injected(&set, &peer("api.example"), &mut parts);
    let codings: Vec<_> = parts.headers.get_all("accept-encoding").iter().collect();
    assert_eq!(codings, ["identity"]);
    assert!(!parts.headers.contains_key("range") && !parts.headers.contains_key("if-range"));

    let mut parts = request("/", &fields);
    injected(&set, &peer("api.example"), &mut parts);
    assert_eq!(
        field(&parts.headers, "accept-encoding"),
        "identity",
        "the host may know a secret all the same"
    );
    assert_eq!(field(&parts.headers, "range"), "bytes=0-9");

    let mut parts = request("/", &fields);
    injected(&set, &VerifiedPeer::new(host("api.example"), 8443), &mut parts);
    assert_eq!(field(&parts.headers, "accept-encoding"), "identity", "at whatever port");

    let mut parts = request("/", &with);
    let before = parts.headers.clone();
    injected(&set, &peer("evil.example"), &mut parts);
    assert_eq!(parts.headers, before, "a host of no secret is left alone");
}

#[test]
fn a_colon_cannot_move_the_end_of_the_user_name() {
    let set = only(spec("TOKEN", "canary:password", &["api.example:443"]));
    let token = placeholder(&set, "TOKEN");
    let mut parts = request("/", &[("x-key", &token), ("authorization", &basic(&format!("{token}:x")))]);
    let before = parts.headers.clone();
    let error = set.injector(&peer("api.example")).inject(&mut parts).unwrap_err();
    assert_eq!(error, InjectError::BasicUser { secret: "TOKEN".into() });
    assert!(!format!("{error} {error:?}").contains("canary"));
    assert_eq!(parts.headers, before, "nothing was injected by halves");

    for (before, after) in [(format!("u:{token}"), "u:canary:password"), (token, "canary:password")] {
        let mut parts = request("/", &[("authorization", &basic(&before))]);
        assert_eq!(injected(&set, &peer("api.example"), &mut parts).len(), 1);
        assert_eq!(field(&parts.headers, "authorization"), basic(after));
    }
}

#[test]
fn a_secret_that_no_field_can_hold_goes_inside_base64_only() {
    let set = only(swapped(spec("TOKEN", "canary\x07canary", &["api.example:443"]), &["basic"]));
    let token = placeholder(&set, "TOKEN");
    let mut parts = request("/", &[("x-key", &token), ("authorization", &basic(&token))]);
    assert_eq!(injected(&set, &peer("api.example"), &mut parts), told(&[("TOKEN", "basic")]));
    assert_eq!(field(&parts.headers, "x-key"), token);
}

#[test]
fn a_placeholder_of_another_sandbox_is_worthless() {
    let (set, foreign) = (secrets(), placeholder(&secrets(), "TOKEN"));
    let mut parts = request("/", &[("x-key", &foreign), ("authorization", &basic(&foreign))]);
    assert_eq!(injected(&set, &peer("api.example"), &mut parts), []);
    assert_no_secret(&parts);
}
