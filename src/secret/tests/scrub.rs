//! What a host of secrets answers, as the guest gets it.

use bytes::Bytes;
use http::response::Parts as ResponseParts;
use http::{HeaderName, HeaderValue, Response};

use super::*;
use crate::coding::{Coding, CodingError};

fn response(status: u16, fields: &[(&str, &str)]) -> ResponseParts {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap().into_parts().0
}

#[test]
fn only_hosts_of_a_secret_are_scrubbed_at_every_port() {
    let set = secrets();
    for name in ["api.example", "git.example", "deep.x.git.example"] {
        assert!(set.scrubber(&host(name)).is_some());
    }
    for name in ["evil.example", "x.api.example", "example"] {
        assert!(set.scrubber(&host(name)).is_none());
    }
}

#[test]
fn every_value_of_every_field_is_scrubbed_of_every_secret() {
    let set = secrets();
    let (token, other) = (placeholder(&set, "TOKEN"), placeholder(&set, "OTHER"));
    let mut headers = response(
        200,
        &[
            ("location", &format!("/?k={TOKEN}&o={OTHER}")),
            ("set-cookie", "clean"),
            ("set-cookie", &format!("k={TOKEN}")),
            ("content-type", "text/plain"),
        ],
    )
    .headers;
    headers
        .insert("x-binary", HeaderValue::from_bytes(&[b"\xff", OTHER.as_bytes(), b"\xfe"].concat()).unwrap());
    set.scrubber(&host("api.example")).unwrap().headers(&mut headers);
    assert_eq!(field(&headers, "location"), format!("/?k={token}&o={other}"));
    let cookies: Vec<_> = headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(cookies, ["clean", &format!("k={token}")]);
    assert_eq!(headers["x-binary"].as_bytes(), [b"\xff", other.as_bytes(), b"\xfe"].concat());
    assert_eq!(field(&headers, "content-type"), "text/plain");
}

#[test]
fn a_field_named_after_a_secret_is_removed() {
    let set = secrets();
    let mut headers = response(200, &[("x-kept", "1"), ("etag", "2")]).headers;
    let name = HeaderName::try_from(format!("x-{TOKEN}")).unwrap();
    headers.append(&name, HeaderValue::from_static("1"));
    headers.append(&name, HeaderValue::from_static("2"));
    set.scrubber(&host("api.example")).unwrap().headers(&mut headers);
    assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-kept", "etag"]);
}

#[test]
fn a_body_is_scrubbed_across_every_split() {
    let set = secrets();
    let scrubber = set.scrubber(&host("api.example")).unwrap();
    let body =
        format!("{{\"key\":\"{TOKEN}\",\"almost\":\"{}\",\"other\":\"{OTHER}{TOKEN}\"}}", &TOKEN[..20]);
    let clean = body.replace(TOKEN, &placeholder(&set, "TOKEN")).replace(OTHER, &placeholder(&set, "OTHER"));
    for split in 0..=body.len() {
        let (head, tail) = body.as_bytes().split_at(split);
        let mut stream = scrubber.body();
        let mut out = stream.push(Bytes::copy_from_slice(head)).to_vec();
        out.extend(stream.push(Bytes::copy_from_slice(tail)));
        out.extend(stream.finish());
        assert_eq!(out, clean.as_bytes(), "split at {split}");
    }
    let mut stream = scrubber.body();
    let mut out: Vec<u8> =
        body.bytes().flat_map(|byte| stream.push(Bytes::copy_from_slice(&[byte]))).collect();
    out.extend(stream.finish());
    assert_eq!(out, clean.as_bytes());
}

#[test]
fn an_event_that_ends_in_no_beginning_is_not_held() {
    let set = secrets();
    let mut stream = set.scrubber(&host("api.example")).unwrap().body();
    for event in ["data: {\"delta\":\"Hello\"}\n\n", ": ping\n\n", "data: [DONE]\n\n"] {
        assert_eq!(stream.push(Bytes::from_static(event.as_bytes())), event);
        assert_eq!(stream.held(), 0);
    }
}

#[test]
fn a_body_keeps_its_length_if_all_placeholders_are_as_long_as_their_secrets() {
    let keeps = |set: &Arc<Secrets>| set.scrubber(&host("api.example")).unwrap().keeps_length();
    assert!(keeps(&secrets()));
    assert!(!keeps(&only(spec("PIN", "12345678", &["api.example:443"]))));
}

#[test]
fn what_can_be_read_as_it_comes_is_inspectable() {
    let scrubber = secrets().scrubber(&host("api.example")).unwrap();
    let passes = |status, fields: &[(&str, &str)], carried| {
        scrubber.inspectable(&response(status, fields), carried) == Ok(None)
    };
    assert!(passes(200, &[], Carried::Secret));
    for coding in ["identity", "IDENTITY", "", " ", "identity, identity", ",identity ,"] {
        assert!(passes(200, &[("content-encoding", coding)], Carried::Secret), "{coding}");
    }
    assert!(passes(200, &[("transfer-encoding", "Chunked")], Carried::Secret));
    assert!(passes(200, &[("content-type", "multipart/form-data; boundary=x")], Carried::Secret));
}

#[test]
fn a_known_coding_is_to_be_taken_off() {
    let scrubber = secrets().scrubber(&host("api.example")).unwrap();
    for (name, coding) in [
        ("gzip", Coding::Gzip),
        ("X-GZip", Coding::Gzip),
        ("deflate", Coding::Deflate),
        ("identity, br", Coding::Br),
        ("ZSTD", Coding::Zstd),
    ] {
        // An upstream may send content with any status on h2.
        for status in [200, 204, 304, 500] {
            let told =
                scrubber.inspectable(&response(status, &[("content-encoding", name)]), Carried::Secret);
            assert_eq!(told, Ok(Some(coding)), "{name} {status}");
        }
    }
}

#[test]
fn what_cannot_be_read_as_it_comes_is_refused() {
    let scrubber = secrets().scrubber(&host("api.example")).unwrap();
    let refused = |status, fields: &[(&str, &str)], carried| {
        scrubber.inspectable(&response(status, fields), carried).err()
    };
    for (coding, because) in [
        ("compress", CodingError::Unsupported),
        ("canary", CodingError::Unsupported),
        ("gzip, br", CodingError::Nested),
        ("gzip,gzip", CodingError::Nested),
    ] {
        for status in [200, 204, 206, 304] {
            let error = refused(status, &[("content-encoding", coding)], Carried::Nothing);
            assert_eq!(error, Some(Uninspectable::Coded(because)), "{coding} {status}");
        }
    }
    let two_lines = [("content-encoding", "gzip"), ("content-encoding", "br")];
    let nested = Some(Uninspectable::Coded(CodingError::Nested));
    assert_eq!(refused(200, &two_lines, Carried::Nothing), nested);
    for transfer in ["gzip, chunked", "gzip", "identity", "x-gzip,Chunked"] {
        let error = refused(200, &[("transfer-encoding", transfer)], Carried::Nothing);
        assert_eq!(error, Some(Uninspectable::TransferCoded), "{transfer}");
    }
    let part = refused(206, &[("content-encoding", "gzip")], Carried::Nothing);
    assert_eq!(part, Some(Uninspectable::CodedPart));
    assert_eq!(refused(206, &[], Carried::Secret), Some(Uninspectable::Part));
    let range = [("content-range", "bytes 0-9/99")];
    assert_eq!(refused(206, &range, Carried::Nothing), Some(Uninspectable::UnaskedPart));
    for kind in [
        "multipart/byteranges; boundary=x",
        "Multipart/ByteRanges",
        " multipart/byteranges ;x",
        "MULTIPART/BYTERANGES;BOUNDARY=\"x\"",
        "text/plain, multipart/byteranges",
        "multipart/X-byteranges; boundary=x",
    ] {
        let error = refused(200, &[("content-type", kind)], Carried::Nothing);
        assert_eq!(error, Some(Uninspectable::Parts), "{kind}");
        assert!(refused(206, &[("content-type", kind)], Carried::Nothing).is_some());
    }
    let coded = Uninspectable::Coded(CodingError::Unsupported);
    let parts = [Uninspectable::Part, Uninspectable::UnaskedPart, Uninspectable::CodedPart];
    for error in [coded, Uninspectable::TransferCoded, Uninspectable::Parts].into_iter().chain(parts) {
        assert!(!error.to_string().contains('\n'));
    }
}

#[test]
fn a_request_to_a_host_of_secrets_asks_for_the_whole_in_identity() {
    let scrubber = secrets().scrubber(&host("api.example")).unwrap();
    let fields = [
        ("accept-encoding", "gzip"),
        ("range", "bytes=0-9"),
        ("if-range", "x"),
        ("request-range", "bytes=0-9"),
    ];
    let mut parts = request("/", &fields);
    scrubber.request(&mut parts.headers);
    assert_eq!(field(&parts.headers, "accept-encoding"), "identity");
    assert_eq!(parts.headers.len(), 1);
}

#[test]
fn what_carried_a_secret_is_told_by_its_injections() {
    assert_eq!(Carried::of(&[]), Carried::Nothing);
    let injection = Injection { secret: "TOKEN".into(), place: "basic".into() };
    assert_eq!(Carried::of(&[injection]), Carried::Secret);
}

#[test]
fn a_reason_phrase_is_scrubbed_as_text() {
    let set = secrets();
    let scrubber = set.scrubber(&host("api.example")).unwrap();
    let phrase = format!("No such key {TOKEN}");
    let clean = phrase.replace(TOKEN, &placeholder(&set, "TOKEN"));
    assert_eq!(scrubber.text(phrase.as_bytes()), Some(clean.into_bytes()));
    assert_eq!(scrubber.text(b"Not Found"), None);
}
