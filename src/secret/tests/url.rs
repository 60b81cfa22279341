//! Placeholders in the path and the query of a URL.

use super::*;

fn target(
    swap: &[&str],
    value: &str,
    before: impl Fn(&str) -> String,
) -> Result<(String, Vec<String>), InjectError> {
    let set = only(swapped(spec("TOKEN", value, &["api.example"]), swap));
    let mut parts = request(&before(&placeholder(&set, "TOKEN")), &[]);
    let told = set.injector(&peer("api.example")).inject(&mut parts)?;
    Ok((parts.uri.to_string(), told.into_iter().map(|injection| injection.place).collect()))
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn a_placeholder_in_a_query_becomes_the_secret() {
    let both = |token: &str| format!("/a?x={token}&k={token}&k=1");
    let (uri, told) = target(&["query:k"], TOKEN, |token| both(token).replacen("x=", "y=x", 1)).unwrap();
    assert!(uri.ends_with(&format!("&k={TOKEN}&k=1")) && uri.matches(TOKEN).count() == 1, "{uri}");
    assert_eq!(told, ["query:k"]);
    let (uri, told) = target(&["query"], TOKEN, both).unwrap();
    assert_eq!((uri, told), (both(TOKEN), vec!["query".to_owned()]));
    let (uri, told) = target(&["path"], TOKEN, both).unwrap();
    assert!(!uri.contains(TOKEN) && told.is_empty());
}

#[test]
fn a_placeholder_in_a_path_becomes_the_secret() {
    let (uri, told) = target(&["path"], TOKEN, |token| format!("/bot{token}/send?t=%20")).unwrap();
    assert_eq!((uri, told), (format!("/bot{TOKEN}/send?t=%20"), vec!["path".to_owned()]));
}

#[test]
fn a_secret_stays_one_segment_and_one_parameter() {
    let (uri, _) = target(&["path"], "canary/../x?y#z", |token| format!("/a/{token}/b")).unwrap();
    assert_eq!(uri, "/a/canary%2F..%2Fx%3Fy%23z/b");
    let (uri, _) = target(&["query:k"], "canary &+=%\u{e9}", |token| format!("/?k={token}")).unwrap();
    assert_eq!(uri, "/?k=canary%20%26%2B%3D%25%C3%A9");
}

#[test]
fn an_escaped_placeholder_is_found() {
    let (uri, _) = target(&["query"], TOKEN, |token| format!("/?k=%20{}", percent_encoded(token))).unwrap();
    assert_eq!(super::super::spelling::percent_decoded(uri.as_bytes()), format!("/?k= {TOKEN}").as_bytes());
}

/// Else an upstream would read the secret without its beginning, and give it back so.
#[test]
fn no_secret_is_written_where_an_escape_would_take_its_beginning() {
    const DIGITS: &str = "3f9a0c7be1d2f4a68895canary";
    for swap in ["query", "query:k"] {
        for before in ["%", "%4", "%25", "%254", "%5C", "%5cu00"] {
            let with = |token: &str| format!("/?k={before}{token}&l=%41");
            let (uri, told) = target(&[swap], DIGITS, with).unwrap();
            assert!(!uri.contains(&DIGITS[4..]) && told.is_empty(), "{uri}");
        }
        let (uri, _) = target(&[swap], DIGITS, |token| format!("/?k=%41{token}&l=%4")).unwrap();
        assert_eq!(uri, format!("/?k=%41{DIGITS}&l=%4"));
    }
    let (uri, told) = target(&["path"], DIGITS, |token| format!("/a%{token}")).unwrap();
    assert!(!uri.contains(&DIGITS[4..]) && told.is_empty(), "{uri}");
}

#[test]
fn what_is_no_url_any_more_is_refused_before_anything_is_written() {
    let long = format!("canary{}", "/".repeat(11_000));
    let set = only(swapped(spec("TOKEN", &long, &["api.example"]), &["query", "header"]));
    let token = placeholder(&set, "TOKEN");
    let mut parts = request(&format!("/?k={token}&k={token}&k={token}"), &[("x-key", "plain")]);
    let before = parts.uri.clone();
    assert_eq!(set.injector(&peer("api.example")).inject(&mut parts), Err(InjectError::Target));
    assert_eq!(parts.uri, before);
}

#[test]
fn no_secret_goes_into_a_url_more_often_than_it_may() {
    let mut spec = swapped(spec("TOKEN", TOKEN, &["api.example"]), &["query", "header"]);
    spec.max_per_request = std::num::NonZeroU32::new(2);
    let set = only(spec);
    let token = placeholder(&set, "TOKEN");
    let mut parts = request(&format!("/?k={token}"), &[("x-key", &token)]);
    assert_eq!(set.injector(&peer("api.example")).inject(&mut parts).unwrap().len(), 2);
    let mut parts = request(&format!("/?k={token}&l={token}"), &[("x-key", &token)]);
    let error = set.injector(&peer("api.example")).inject(&mut parts).unwrap_err();
    assert_eq!(error, InjectError::TooOften { secret: "TOKEN".into(), most: 2 });
    assert_eq!(field(&parts.headers, "x-key"), token, "nothing was injected by halves");
}
