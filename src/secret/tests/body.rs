//! Placeholders in bodies, however those come.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::limits::Limits;

/// What comes out of a body that comes in pieces of `size`, and the places told.
fn through(set: &Secrets, kind: &str, body: &str, size: usize) -> Result<(String, Vec<String>), InjectError> {
    let mut parts = request("/", &[("content-type", kind), ("range", "bytes=0-1")]);
    let Some(mut stream) = set.injector(&peer("api.example")).body(&mut parts, &Limits::default()) else {
        return Ok((body.to_owned(), Vec::new()));
    };
    assert_eq!(parts.headers.contains_key("range"), !stream.may_inject());
    let (mut out, mut told) = (Vec::new(), Vec::new());
    for piece in body.as_bytes().chunks(size.max(1)) {
        out.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece))?);
        told.extend(stream.news().into_iter().map(|injection| injection.place));
    }
    out.extend_from_slice(&stream.finish()?);
    told.extend(stream.news().into_iter().map(|injection| injection.place));
    if stream.keeps_length() {
        assert_eq!(out.len(), body.len());
    }
    Ok((String::from_utf8(out).unwrap(), told))
}

/// The same for a body with `{}` in place of each placeholder, at every split; `expected` has it for the secret.
fn check(swap: &[&str], value: &str, kind: &str, body: &str, expected: &str) {
    let set = only(swapped(spec("TOKEN", value, &["api.example"]), swap));
    let token = placeholder(&set, "TOKEN");
    let (body, expected) = (body.replace("{}", &token), expected.replace("{}", &token));
    for size in (1..body.len().min(50)).chain([body.len()]) {
        let (out, _) = through(&set, kind, &body, size).unwrap();
        assert_eq!(out, expected, "{swap:?} {kind} in pieces of {size}");
    }
}

const JSON: &str = "application/json; charset=utf-8";
const FORM: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=\"b b\"";

#[test]
fn a_body_is_swapped_as_its_type_spells_it() {
    let value = "canary\"\\ /+\u{e9}\u{1}";
    check(&["body"], value, "text/plain", "a{}b{}", &format!("a{value}b{value}"));
    check(&["body"], value, "", "{}", value);
    check(&["body"], value, JSON, "{\"k\":\"x{}\"}", "{\"k\":\"xcanary\\\"\\\\ /+\u{e9}\\u0001\"}");
    check(&["body"], value, "application/problem+json", "[\"{}\"]", "[\"canary\\\"\\\\ /+\u{e9}\\u0001\"]");
    check(&["body"], value, FORM, "a={}&b=c", "a=canary%22%5C%20%2F%2B%C3%A9%01&b=c");
}

/// Else an upstream would read the secret without its beginning, and give it back so.
#[test]
fn no_secret_is_written_where_an_escape_would_take_its_beginning() {
    let value = "f00dcanary-0123456789";
    for before in ["%", "%4", "%25", "%254", "%5c", "%5Cu0"] {
        check(&["body:form:k"], value, FORM, &format!("k={before}{{}}"), &format!("k={before}{{}}"));
        check(&["body"], value, "", &format!("{before}{{}} {{}}"), &format!("{before}{{}} {value}"));
    }
    // As it was first seen: the name, not the value.
    check(&["body"], value, FORM, "b=1&a%+a=1&a%4{}=&c", "b=1&a%+a=1&a%4{}=&c");
    for before in ["\\", "\\\\", "\\u", "\\u00", "\\u004", "\\u005c", "%4"] {
        let json = |value: &str| format!("[\"{{}}{before}{value}\"]");
        check(&["body"], value, JSON, &json("{}"), &json("{}").replacen("{}", value, 1));
    }
    check(&["body"], value, JSON, "[\"\\n{}\\u0041{}\"]", &format!("[\"\\n{value}\\u0041{value}\"]"));
}

#[test]
fn only_the_named_place_is_swapped() {
    let json = r#"{"k":"{}","l":["{}","{}"],"t":"say {} twice"}"#;
    check(&["body:json:k"], TOKEN, JSON, json, &json.replacen("{}", TOKEN, 1));
    check(
        &["body:json:/l/1"],
        TOKEN,
        JSON,
        json,
        r#"{"k":"{}","l":["{}","V"],"t":"say {} twice"}"#.replace('V', TOKEN).as_str(),
    );
    check(&["body:json:k"], TOKEN, "text/plain", json, json);
    check(&["body:form:k", "body:multipart:k", "query", "header"], TOKEN, JSON, json, json);
    check(&["body:form:k"], TOKEN, FORM, "l={}&k={}&{}=k&k", &format!("l={{}}&k={TOKEN}&{{}}=k&k"));
    let parts = "--b b\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n{}\r\n--b b\r\n\
                 Content-Disposition: form-data; name=\"l\"; filename=\"k\"\r\n\r\n{}\r\n--b b--\r\n";
    check(&["body:multipart:k"], TOKEN, PARTS, parts, &parts.replacen("{}", TOKEN, 1));
    check(
        &["body"],
        "canary of another length",
        PARTS,
        parts,
        &parts.replace("{}", "canary of another length"),
    );
    check(&["body:json:k"], TOKEN, JSON, r#"{"k" "{}"}{"k":"{}"}"#, r#"{"k" "{}"}{"k":"{}"}"#);
}

#[test]
fn an_escaped_placeholder_is_found_and_the_length_kept() {
    let set = only(swapped(spec("TOKEN", TOKEN, &["api.example"]), &["body"]));
    let token = placeholder(&set, "TOKEN");
    let unicode: String = token.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let percent: String = token.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let half = format!("{}{}", &token[..11], &percent[33..]);
    for size in 1..80 {
        let (out, told) = through(&set, JSON, &format!("[\"\\n{unicode}\"]"), size).unwrap();
        let read: Vec<String> = serde_json::from_str(&out).unwrap();
        assert_eq!((read, told), (vec![format!("\n{TOKEN}")], vec!["body".to_owned()]));
        for escaped in [&percent, &half] {
            let (out, _) = through(&set, FORM, &format!("k={escaped}&l=%zz"), size).unwrap();
            assert!(!out.contains(&token), "{out}");
            let read = super::super::spelling::percent_decoded(out.as_bytes()).into_owned();
            assert_eq!(String::from_utf8(read).unwrap(), format!("k={TOKEN}&l=%zz"));
        }
    }
    let (out, _) = through(&set, "text/plain", &percent, 7).unwrap();
    assert_eq!(out, percent, "plain text has no escapes");
}

#[test]
fn what_a_silence_let_go_is_not_written_twice() {
    for (value, comes) in [(TOKEN, true), ("canary-of-no-public-prefix-but-long-enough", false)] {
        let set = only(swapped(spec("TOKEN", value, &["api.example"]), &["body"]));
        let token = placeholder(&set, "TOKEN");
        for (begun, rest) in [(3, token.len()), (2, 9), (1, 1)] {
            let mut stream =
                set.injector(&peer("api.example")).body(&mut request("/", &[]), &Limits::default()).unwrap();
            let mut out = stream.push(Bytes::from(format!("= {}", &token[..begun]))).unwrap().to_vec();
            assert_eq!(out, b"= ");
            assert!(stream.release(begun - 1).is_empty());
            out.extend_from_slice(&stream.release(3));
            assert!(!stream.is_releasable(3) && stream.release(3).is_empty());
            let (middle, end) = token[begun..].split_at(rest.min(token.len()) - begun.min(rest));
            for piece in [middle, end, &token, "."] {
                out.extend_from_slice(&stream.push(Bytes::copy_from_slice(piece.as_bytes())).unwrap());
            }
            out.extend_from_slice(&stream.finish().unwrap());
            let first = if comes { value } else { &token };
            assert_eq!(String::from_utf8(out).unwrap(), format!("= {first}{value}."));
            assert_eq!(stream.news().len(), 1);
        }
        let mut stream =
            set.injector(&peer("api.example")).body(&mut request("/", &[]), &Limits::default()).unwrap();
        stream.push(Bytes::from(token[..2].to_owned())).unwrap();
        let released = stream.release(3);
        assert_eq!(
            [released, stream.push("!".into()).unwrap(), stream.finish().unwrap()].concat(),
            format!("{}!", &token[..2]).as_bytes()
        );
    }
}

#[test]
fn a_place_is_told_once_by_its_most_exact_name() {
    let set = only(swapped(spec("TOKEN", TOKEN, &["api.example"]), &["body", "body:json:k"]));
    let token = placeholder(&set, "TOKEN");
    let body = format!(r#"{{"k":"{token}{token}","l":"{token}"}}"#);
    for size in [1, 5, body.len()] {
        let (out, told) = through(&set, JSON, &body, size).unwrap();
        assert_eq!(out, body.replace(&token, TOKEN));
        assert_eq!(told, ["body:json:k", "body"]);
    }
}

#[test]
fn nothing_of_a_secret_goes_to_a_host_that_may_not_have_it() {
    let set = only(swapped(spec("TOKEN", TOKEN, &["api.example"]), &["body"]));
    let mut parts = request("/", &[]);
    assert!(set.injector(&peer("evil.example")).body(&mut parts, &Limits::default()).is_none());
    assert!(set.watcher().body(&mut parts, &Limits::default()).is_none());
}

#[test]
fn a_value_that_its_place_cannot_carry_is_refused_where_it_is_asked_for() {
    let set = |value: &[u8]| {
        let mut own = swapped(spec("TOKEN", TOKEN, &["api.example"]), &["body"]);
        own.value = SecretValue::new(value.to_vec()).unwrap();
        only(own)
    };
    let binary = set(b"canary\xff\xfe");
    let token = placeholder(&binary, "TOKEN");
    let error = through(&binary, JSON, &format!("[\"{token}\"]"), 9).unwrap_err();
    assert!(error.to_string().starts_with("secret TOKEN cannot stand in body: it is no text"), "{error}");
    assert!(through(&binary, JSON, "[\"none\"]", 9).is_ok(), "where there is none it does not matter");
    let bound = set(b"canary--b b");
    let body = format!("--b b\r\n\r\n{}\r\n--b b--", placeholder(&bound, "TOKEN"));
    assert!(matches!(through(&bound, PARTS, &body, 9), Err(InjectError::Uncarriable { .. })));
    assert!(through(&bound, "multipart/form-data; boundary=c", &body, 9).is_ok());
}

#[test]
fn no_secret_goes_into_a_body_more_often_than_it_may() {
    let mut spec = swapped(spec("TOKEN", TOKEN, &["api.example"]), &["body"]);
    spec.max_per_request = std::num::NonZeroU32::new(2);
    let set = only(spec);
    let token = placeholder(&set, "TOKEN");
    for size in [1, 3, 400] {
        assert!(through(&set, "", &token.repeat(2), size).is_ok());
        let error = through(&set, "", &token.repeat(3), size).unwrap_err();
        assert!(error.to_string().contains("max_per_request = 2"), "{error}");
    }
}

#[test]
fn a_placeholder_in_a_strangers_body_is_treated_as_configured() {
    let run = |reaction: Reaction, body: &dyn Fn(&str) -> String| {
        let mut spec = spec("TOKEN", TOKEN, &["other.example"]);
        spec.elsewhere = Elsewhere { body: reaction, ..Elsewhere::default() };
        let set = only(spec);
        let body = body(&placeholder(&set, "TOKEN"));
        let sizes = [1, 7, body.len()];
        let mut outs = sizes.into_iter().map(|size| through(&set, JSON, &body, size).map(|(out, _)| out));
        let first = outs.next().unwrap();
        assert!(outs.all(|out| out == first));
        first.map(|out| (out, body))
    };
    let plain = |token: &str| format!("[\"{token}\", 1]");
    let coded = |token: &str| format!("[\"{}\"]", STANDARD.encode(format!("ab{token}")));
    for body in [&plain as &dyn Fn(&str) -> String, &coded] {
        let (out, before) = run(Reaction::Inert, body).unwrap();
        assert_eq!(out, before);
        let (out, before) = run(Reaction::Redact, body).unwrap();
        assert_eq!(out.len(), before.len());
        assert!(out.contains("xxxxxxxxxxxxxxxxxxxxxxxxxx"), "{out}");
        for reaction in [Reaction::Deny, Reaction::Terminate] {
            let error = run(reaction, body).unwrap_err();
            assert_eq!(error, InjectError::Misplaced { secret: "TOKEN".into(), reaction });
        }
    }
    assert!(run(Reaction::Deny, &|token| token[1..].to_owned()).is_ok());
}

/// A JSON text with placeholders here and there, and what a plain rewriting of the whole makes of it.
fn text() -> impl Strategy<Value = Vec<(usize, String)>> {
    // None ends in what could be the beginning of an escape.
    let gap = "([a-tv-z\"\\\\/ \u{e9}s-]{0,6}[a-tv-z\"/ \u{e9}s-])?";
    prop::collection::vec((0_usize..4, gap), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]
    #[test]
    fn exactly_the_configured_places_change(
        strings in prop::collection::vec(text(), 1..5),
        equal in any::<bool>(),
        size in 1_usize..120,
    ) {
        let value = if equal { TOKEN } else { "canary \"quoted\" \\ \u{e9} and long enough to differ in length" };
        let set = Secrets::new(vec![
            swapped(spec("TOKEN", value, &["api.example"]), &["body:json:k[*].v"]),
            swapped(spec("OTHER", OTHER, &["api.example"]), &["body", "header"]),
            spec("THIRD", "canary-of-a-third-secret", &["api.example"]),
            spec("FAR", "canary-of-a-distant-host", &["git.example"]),
        ]).unwrap();
        let names = ["TOKEN", "OTHER", "THIRD", "FAR"].map(|name| placeholder(&set, name));
        let render = |string: &Vec<(usize, String)>, texts: &[&str; 4]| -> String {
            string.iter().map(|(which, gap)| format!("{gap}{}", texts[*which])).collect()
        };
        let own: [&str; 4] = [&names[0], &names[1], &names[2], &names[3]];
        let at_path = [value, OTHER, &names[2], &names[3]];
        let elsewhere = [own[0], OTHER, &names[2], &names[3]];
        let document = |within: &[&str; 4], without: &[&str; 4]| serde_json::json!({
            "t": strings.iter().map(|string| render(string, without)).collect::<Vec<_>>(),
            "k": strings.iter().map(|string| serde_json::json!({
                "v": render(string, within), "w": render(string, without),
            })).collect::<Vec<_>>(),
        });
        let before = document(&own, &own).to_string();
        let (out, _) = through(&set, JSON, &before, size).unwrap();
        let read: serde_json::Value = serde_json::from_str(&out).unwrap();
        prop_assert_eq!(read, document(&at_path, &elsewhere));

        // The same octets as a form and as plain text: a naive replacement of the whole.
        let plain = before.replace(&names[1], OTHER);
        prop_assert_eq!(through(&set, "text/plain", &before, size).unwrap().0, plain);
    }
}
