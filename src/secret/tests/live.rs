//! Secrets that get other values, expire and are taken back.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::*;

const NEW: &str = "sk-proj-Ncanary0123456789abcdefghijklmnop";
const LONGER: &str = "a-canary-of-another-length-than-the-first-one-had";

fn value(text: &str) -> SecretValue {
    SecretValue::new(text.as_bytes().to_vec()).unwrap()
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn rotate(set: &Secrets, to: &str, hand: Hand) -> Result<Rotation, RotateError> {
    set.rotate("TOKEN", value(to), hand, at(1))
}

/// What becomes of a request with the placeholder of `TOKEN`.
fn sent(set: &Secrets) -> Result<String, InjectError> {
    let token = placeholder(set, "TOKEN");
    let mut parts = request("/", &[("authorization", &basic(&format!("u:{token}"))), ("x-key", &token)]);
    let injected = set.injector(&peer("api.example")).inject(&mut parts);
    match injected {
        Ok(_) => Ok(field(&parts.headers, "x-key").to_owned()),
        Err(error) => {
            assert_eq!(field(&parts.headers, "x-key"), token, "the request is as it was");
            Err(error)
        }
    }
}

fn scrubbed(set: &Arc<Secrets>, text: &str) -> String {
    let clean = set.scrubber(&host("api.example")).unwrap().text(text.as_bytes());
    clean.map_or(text.to_owned(), |clean| String::from_utf8(clean).unwrap())
}

#[test]
fn the_next_request_carries_the_new_value_under_the_old_placeholder() {
    let set = secrets();
    let token = placeholder(&set, "TOKEN");
    let before = set.injector(&peer("api.example"));
    for new in [NEW, LONGER] {
        assert_eq!(rotate(&set, new, Hand::Source).unwrap(), Rotation::Replaced);
        assert_eq!(placeholder(&set, "TOKEN"), token);
        assert_eq!(sent(&set), Ok(new.to_owned()));
    }
    for known in [TOKEN, NEW, LONGER] {
        assert_eq!(scrubbed(&set, known), token);
        assert_eq!(set.rewrite(known.as_bytes()), Some(token.clone().into_bytes()));
    }
    let mut parts = request("/", &[("x-key", &token)]);
    before.inject(&mut parts).unwrap();
    assert_eq!(field(&parts.headers, "x-key"), TOKEN, "a request under way keeps what it began with");
    assert_eq!(rotate(&set, LONGER, Hand::Owner).unwrap(), Rotation::Same);
    assert!(matches!(set.rotate("NONE", value(NEW), Hand::Owner, at(1)), Err(RotateError::Unknown)));
}

#[test]
fn an_answer_that_outlives_a_value_is_scrubbed_of_the_next_at_every_split() {
    for split in 0..=NEW.len() {
        let set = secrets();
        let token = placeholder(&set, "TOKEN");
        let scrubber = set.scrubber(&host("api.example")).unwrap();
        let mut body = scrubber.body();
        let mut out = body.push(Bytes::from(format!("{} {}", TOKEN, &TOKEN[..7]))).to_vec();
        rotate(&set, NEW, Hand::Source).unwrap();
        for piece in [&format!("{} {}", &TOKEN[7..], &NEW[..split]), &NEW[split..]] {
            out.extend_from_slice(&body.push(Bytes::from(piece.to_owned())));
        }
        out.extend_from_slice(&body.finish());
        assert_eq!(String::from_utf8(out).unwrap(), format!("{token} {token} {token}"));
        // So are its trailers, and what is asked of the scrubber later.
        let mut trailers = HeaderMap::new();
        trailers.insert("x-last", NEW.parse().unwrap());
        scrubber.headers(&mut trailers);
        assert_eq!(field(&trailers, "x-last"), token);
        assert_eq!(scrubber.text(NEW.as_bytes()), Some(token.clone().into_bytes()));
        assert_eq!(&scrubber.body().push(Bytes::from_static(NEW.as_bytes()))[..], token.as_bytes());
        rotate(&set, LONGER, Hand::Source).unwrap();
        assert!(!scrubber.keeps_length());
    }
}

#[test]
fn what_was_revoked_is_refused_where_it_would_stand_and_scrubbed_still() {
    let set = secrets();
    let (token, other) = (placeholder(&set, "TOKEN"), placeholder(&set, "OTHER"));
    set.revoke("TOKEN").unwrap();
    assert_eq!(sent(&set), Err(InjectError::Revoked { secret: "TOKEN".into() }));
    let in_basic = request("/", &[("authorization", &basic(&format!("u:{token}")))]);
    assert!(set.injector(&peer("api.example")).inject(&mut in_basic.clone()).is_err());
    // Where it would not have been swapped it is text, as ever.
    for fields in [&[("user-agent", token.as_str())][..], &[("x-key", other.as_str())], &[]] {
        let mut parts = request("/", fields);
        assert_eq!(set.injector(&peer("api.example")).inject(&mut parts), Ok(vec![]));
    }
    assert_eq!(scrubbed(&set, TOKEN), token);
    assert!(matches!(rotate(&set, NEW, Hand::Source), Err(RotateError::Revoked { .. })));
    assert!(matches!(rotate(&set, TOKEN, Hand::Owner), Err(RotateError::RevokedValue { .. })));
    assert_eq!(rotate(&set, NEW, Hand::Owner).unwrap(), Rotation::Replaced);
    assert_eq!(sent(&set), Ok(NEW.to_owned()));
    assert!(
        matches!(rotate(&set, TOKEN, Hand::Source), Err(RotateError::RevokedValue { .. })),
        "and never again"
    );
    assert_eq!(sent(&set), Ok(NEW.to_owned()));
}

#[test]
fn what_was_revoked_is_refused_in_text_messages_that_may_have_it_and_text_elsewhere() {
    let set = Secrets::new(vec![
        swapped(spec("TOKEN", TOKEN, &["api.example"]), &["websocket"]),
        swapped(spec("OTHER", OTHER, &["api.example"]), &["header"]),
    ])
    .unwrap();
    let pushed = |name| {
        let text = Bytes::from(format!("<{}>", placeholder(&set, name)));
        let mut injected = Vec::new();
        let pushed = TextStream::new(set.injector(&peer("api.example")).websocket().unwrap())
            .push(text.clone(), &mut injected);
        pushed.map(|out| (out == text, injected))
    };
    assert_eq!(pushed("TOKEN"), Ok((false, vec!["TOKEN".to_owned()])));
    for name in ["TOKEN", "OTHER"] {
        set.revoke(name).unwrap();
    }
    assert_eq!(pushed("TOKEN"), Err(InjectError::Revoked { secret: "TOKEN".into() }));
    assert_eq!(pushed("OTHER"), Ok((true, vec![])));
}

#[test]
fn a_request_that_claims_the_signature_of_a_revoked_pair_is_refused() {
    let part = |value: &str| SecretValue::new(value.into()).unwrap();
    for revoked in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"] {
        let pair = AwsKeySpec {
            name: "AWS".into(),
            access_key_id: part("AKIACANARY0123456789"),
            secret_access_key: part("canary/0123456789abcdefghijklmnopqrstuvw"),
            session_token: Some(part("a-session-token-canary")),
            hosts: vec![SecretHost::parse("api.example").unwrap()],
        };
        let (names, limits) = (["AWS".to_owned()], crate::limits::Limits::default());
        let set = Secrets::within((pair.into_parts(), &names), &Origins::new(), &limits).unwrap();
        let id = placeholder(&set, "AWS_ACCESS_KEY_ID");
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential={id}/20260101/eu-west-1/s3/aws4_request, \
             SignedHeaders=host;x-amz-date, Signature={}",
            "0".repeat(64)
        );
        let parts = request("/", &[("authorization", &signed), ("x-amz-date", "20260101T000000Z")]);
        assert!(set.signing(&peer("api.example"), &parts).unwrap().is_some());
        set.revoke(revoked).unwrap();
        let error = set.signing(&peer("api.example"), &parts).err();
        assert_eq!(error, Some(SignError::Part(InjectError::Revoked { secret: revoked.into() })));
    }
}

#[test]
fn a_value_is_live_until_its_end_and_again_with_the_next() {
    let set = secrets();
    assert!(!set.expire("TOKEN", at(u64::from(u32::MAX))), "one without an end has none");
    let loaded = |text: &str, end| Loaded { value: value(text), expires: Some(at(end)) };
    set.rotate("TOKEN", loaded(NEW, 10), Hand::Source, at(1)).unwrap();
    assert!(!set.expire("TOKEN", at(9)));
    assert_eq!(sent(&set), Ok(NEW.to_owned()));
    assert!(set.expire("TOKEN", at(10)));
    assert!(!set.expire("TOKEN", at(11)), "told once");
    assert_eq!(sent(&set), Err(InjectError::Expired { secret: "TOKEN".into() }));
    let token = placeholder(&set, "TOKEN");
    assert_eq!(scrubbed(&set, NEW), token);
    // The same value with another end is good as well.
    assert_eq!(set.rotate("TOKEN", loaded(NEW, 20), Hand::Source, at(11)).unwrap(), Rotation::Same);
    assert_eq!(sent(&set), Ok(NEW.to_owned()));
    assert!(!set.expire("TOKEN", at(19)) && set.expire("TOKEN", at(20)));
}

#[test]
fn a_new_value_that_cannot_be_one_changes_nothing() {
    let set = secrets();
    let (token, other) = (placeholder(&set, "TOKEN"), placeholder(&set, "OTHER"));
    for clash in [token.clone(), format!("x{other}x"), token[1..20].to_owned()] {
        assert!(matches!(rotate(&set, &clash, Hand::Owner), Err(RotateError::Clash { .. })), "{clash}");
    }
    let bell = rotate(&set, "canary\x07canary", Hand::Owner).unwrap_err();
    assert!(bell.to_string().contains("control character") && !bell.to_string().contains("canary"));
    assert_eq!(sent(&set), Ok(TOKEN.to_owned()));
    assert_eq!(set.status("TOKEN").unwrap().rotated, None);
}

#[test]
fn old_values_are_scrubbed_up_to_a_bound_the_oldest_first() {
    let limits = crate::limits::Limits { retired_values: 2, ..crate::limits::Limits::default() };
    let specs = vec![spec("TOKEN", TOKEN, &["api.example:443"])];
    let set = Secrets::within((specs, &[]), &Origins::new(), &limits).unwrap();
    let token = placeholder(&set, "TOKEN");
    let values: Vec<String> = (0..4).map(|number| format!("canary-{number}-canary-canary")).collect();
    for new in &values {
        rotate(&set, new, Hand::Source).unwrap();
    }
    let [zeroth, first, second, third] = values.as_slice() else { panic!() };
    assert_eq!((scrubbed(&set, TOKEN), scrubbed(&set, zeroth)), (TOKEN.to_owned(), zeroth.clone()));
    for known in [first, second, third] {
        assert_eq!(scrubbed(&set, known), token);
    }
    // One that comes back is no old one any more.
    rotate(&set, first, Hand::Source).unwrap();
    assert_eq!(sent(&set), Ok(first.clone()));
    for known in [first, second, third] {
        assert_eq!(scrubbed(&set, known), token);
    }
}

#[test]
fn a_list_tells_everything_but_the_value() {
    let specs = vec![
        spec("TOKEN", TOKEN, &["api.example:443"]),
        spec("OTHER", OTHER, &["git.example:443", "*.git.example:8443"]),
    ];
    let origin = (Source::parse("file:///etc/keys/other").unwrap(), Some(at(100)));
    let origins = Origins::from([("OTHER".to_owned(), origin)]);
    let set = Secrets::within((specs, &[]), &origins, &crate::limits::Limits::default()).unwrap();
    set.rotate("TOKEN", value(NEW), Hand::Owner, at(60)).unwrap();
    set.revoke("TOKEN").unwrap();
    let list = serde_json::to_value(set.list()).unwrap();
    let expected = serde_json::json!([
        {"name": "TOKEN", "hosts": ["api.example:443"], "places": ["header", "basic"], "source": null,
         "state": "revoked", "rotated": "1970-01-01T00:01:00Z", "expires": null},
        {"name": "OTHER", "hosts": ["git.example:443", "*.git.example:8443"], "places": ["header", "basic"],
         "source": "file:///etc/keys/other", "state": "live", "rotated": null, "expires": "1970-01-01T00:01:40Z"},
    ]);
    assert_eq!(list, expected);
    assert_eq!(serde_json::from_value::<Vec<SecretStatus>>(list).unwrap(), set.list());
}

#[test]
fn a_shape_asked_for_is_that_of_the_placeholder() {
    let shaped = |shape: &str, value: &str| {
        let mut spec = spec("TOKEN", value, &["api.example:443"]);
        spec.shape = Some(Shape::parse(shape, None).unwrap());
        Secrets::new(vec![spec])
    };
    let token = placeholder(&shaped("tok_{rand}", TOKEN).unwrap(), "TOKEN");
    assert!(token.starts_with("tok_") && token.len() == TOKEN.len(), "{token}");
    let error = shaped("{rand:11}", TOKEN).err().unwrap().to_string();
    assert!(error.starts_with("secret TOKEN: its shape leaves too little room"), "{error}");
}
