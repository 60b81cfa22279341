//! The module against published vectors, and against a maintained signer.

use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningParams, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::Request;
use http::header::HOST;
use proptest::prelude::*;

use super::*;

const EXAMPLE: Keys<'_> =
    Keys { id: b"AKIDEXAMPLE", secret: b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token: None };
const GUEST: Keys<'_> =
    Keys { id: b"AKIAPLACEHOLDER00000", secret: b"placeholder+secret/0123456789abcdefghijk", token: None };
const REAL: Keys<'_> =
    Keys { id: b"AKIAREAL000000000000", secret: b"real/secret+0123456789abcdefghijklmnopqr", token: None };

/// A request and its body, from the form of the vectors.
fn parse(lines: &str) -> (Parts, String) {
    let (head, body) = lines.split_once("\n-- ").unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let mut request = Request::builder().method(first.next().unwrap()).uri(first.next().unwrap());
    for line in lines {
        let (name, value) = line.split_once(':').unwrap();
        request = request.header(name, value);
    }
    (request.body(()).unwrap().into_parts().0, body.trim_end_matches('\n').to_owned())
}

fn authority(parts: &Parts) -> String {
    parts.headers[HOST].to_str().unwrap().to_owned()
}

fn prove(parts: &Parts, body: &str, keys: &Keys<'_>) -> Result<Proven, AwsError> {
    let claimed = claim(parts, keys.id)?.expect("a claim");
    let asks = *claimed.payload() == Payload::Body;
    let hash = hash(body.as_bytes());
    claimed.prove(parts, &authority(parts), keys, asks.then_some(hash.as_str()))
}

#[test]
fn published_vectors_are_proven_and_signed_to_the_same() {
    let vectors: Vec<_> = include_str!("tests/vectors.txt").split("\n== ").skip(1).collect();
    assert!(vectors.len() > 50, "{}", vectors.len());
    for vector in vectors {
        let (name, request) = vector.split_once('\n').unwrap();
        let (mut parts, body) = parse(request);
        let proven = prove(&parts, &body, &EXAMPLE).unwrap_or_else(|error| panic!("{name}: {error}"));
        let token = parts.headers.get(TOKEN).map(|token| token.as_bytes().to_vec());
        let in_query =
            parts.uri.query().and_then(|query| canonical::parameter(query, "X-Amz-Security-Token"));
        let token = token.or(in_query.map(String::into_bytes));
        let before = (parts.headers.get(AUTHORIZATION).cloned(), sorted_query(&parts));
        let host = authority(&parts);
        proven.sign(&mut parts, &host, &Keys { token: token.as_deref(), ..EXAMPLE }).unwrap();
        assert_eq!((parts.headers.get(AUTHORIZATION).cloned(), sorted_query(&parts)), before, "{name}");
    }
}

fn sorted_query(parts: &Parts) -> Vec<String> {
    let mut pieces: Vec<_> = parts.uri.query().unwrap_or_default().split('&').map(str::to_owned).collect();
    pieces.sort();
    pieces
}

#[test]
fn any_change_of_what_was_signed_is_a_mismatch() {
    let vector =
        include_str!("tests/vectors.txt").split("\n== post-x-www-form-urlencoded (header)\n").nth(1).unwrap();
    let request = vector.split("\n== ").next().unwrap();
    let (parts, body) = parse(request);
    prove(&parts, &body, &EXAMPLE).unwrap();
    let changed = |change: &dyn Fn(&mut Parts)| {
        let (mut parts, body) = parse(request);
        change(&mut parts);
        prove(&parts, &body, &EXAMPLE).unwrap_err()
    };
    assert_eq!(changed(&|parts| parts.method = http::Method::PUT), AwsError::Mismatch);
    assert_eq!(changed(&|parts| parts.uri = "/other".parse().unwrap()), AwsError::Mismatch);
    assert_eq!(changed(&|parts| parts.uri = "/?a=b".parse().unwrap()), AwsError::Mismatch);
    assert_eq!(
        changed(&|parts| drop(parts.headers.insert(HOST, HeaderValue::from_static("evil.example")))),
        AwsError::Mismatch
    );
    let vanilla =
        include_str!("tests/vectors.txt").split("\n== ").find(|one| one.starts_with("get-vanilla (header)"));
    let (unhashed, _) = parse(vanilla.unwrap().split_once('\n').unwrap().1);
    assert_eq!(prove(&unhashed, "a body", &EXAMPLE).unwrap_err(), AwsError::Mismatch);
    assert_eq!(
        prove(&parts, &body, &Keys { secret: b"another", ..EXAMPLE }).unwrap_err(),
        AwsError::Mismatch
    );
    assert!(claim(&parts, b"AKIDEXAMPL").unwrap().is_none(), "another key is the guest's own affair");
    assert!(claim(&Request::new(()).into_parts().0, b"").unwrap().is_none());
}

#[test]
fn what_cannot_be_signed_again_says_why() {
    let with = |authorization: &str, hash: &str| {
        let request = Request::builder()
            .uri("/")
            .header("authorization", authorization)
            .header("x-amz-date", "20261121T000000Z")
            .header("x-amz-content-sha256", hash);
        claim(&request.body(()).unwrap().into_parts().0, GUEST.id).map(|claimed| claimed.is_some())
    };
    let good = format!(
        "AWS4-HMAC-SHA256 Credential=AKIAPLACEHOLDER00000/20261121/eu-west-1/s3/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={}",
        "0".repeat(64)
    );
    assert_eq!(with(&good, "UNSIGNED-PAYLOAD"), Ok(true));
    assert_eq!(with(&good, "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), Ok(true));
    for chunked in ["STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"] {
        assert_eq!(with(&good, chunked), Err(AwsError::Chunked(chunked.into())));
    }
    assert_eq!(with(&good.replace("HMAC-SHA256 ", "ECDSA-P256-SHA256 "), ""), Err(AwsError::Asymmetric));
    for (from, to) in [
        ("20261121/", ""),
        ("aws4_request", "aws5_request"),
        ("/s3/", "/s3/x/"),
        ("host;", ""),
        ("Signature=0", "Signature=g"),
        ("SignedHeaders", "Headers"),
        ("/eu-west-1/", "/eu west/"),
    ] {
        let bad = with(&good.replacen(from, to, 1), "UNSIGNED-PAYLOAD");
        assert!(matches!(bad, Err(AwsError::Malformed(_))), "{from}: {bad:?}");
    }
    assert!(matches!(with(&good, "no hash"), Err(AwsError::Malformed(_))));
}

#[test]
fn a_signature_ends_up_with_the_real_id_and_token_alone() {
    let vector =
        include_str!("tests/vectors.txt").split("\n== ").find(|one| one.starts_with("get-vanilla (header)"));
    let (mut parts, body) = parse(vector.unwrap().split_once('\n').unwrap().1);
    let proven = prove(&parts, &body, &EXAMPLE).unwrap();
    proven.sign(&mut parts, "example.amazonaws.com", &Keys { token: Some(b"the-token"), ..REAL }).unwrap();
    let value = parts.headers[AUTHORIZATION].clone();
    assert!(value.is_sensitive());
    let text = value.to_str().unwrap();
    assert!(text.contains("Credential=AKIAREAL000000000000/20150830/"), "{text}");
    assert!(text.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"), "{text}");
    assert_eq!(parts.headers[TOKEN], "the-token");
    prove(&parts, "", &Keys { token: Some(b"the-token"), ..REAL }).unwrap();
}

/// What the maintained signer makes of a request: its parts, signed.
fn signed_by_the_library(
    (method, path, query): (&str, &str, &str),
    fields: &[(String, String)],
    (service, presigned): (&str, bool),
    keys: &Keys<'_>,
) -> Parts {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    let identity: Identity =
        Credentials::new(text(keys.id), text(keys.secret), keys.token.map(text), None, "test").into();
    let mut settings = SigningSettings::default();
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    if presigned {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(300));
    }
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name(service)
        .time(UNIX_EPOCH + Duration::from_secs(1_795_000_000))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let uri = format!("https://bucket.example:8443{path}{}{query}", if query.is_empty() { "" } else { "?" });
    let body = if presigned && service == "s3" {
        SignableBody::UnsignedPayload
    } else {
        SignableBody::Bytes(b"body")
    };
    let pairs = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let request = SignableRequest::new(method, uri.as_str(), pairs, body).unwrap();
    let (instructions, _) = sign(request, &params).unwrap().into_parts();
    let mut request = Request::builder().method(method).uri(&uri).header(HOST, "bucket.example:8443");
    for (name, value) in fields {
        request = request.header(name, value);
    }
    let mut request = request.body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    request.into_parts().0
}

proptest! {
    /// Whatever the maintained signer signs is proven, and signed again to what it would have made of the real keys.
    #[test]
    fn the_maintained_signer_and_this_one_agree(
        method in "GET|PUT|POST|DELETE",
        path in "(/[a-zA-Z0-9._~-]{1,6}|/%[2-7][0-9A-F]|/\\.|/){1,4}",
        query in "([a-z-]{1,4}=[a-zA-Z0-9._~-]{0,5}(%2[0-9A-F])?(&[A-Z]{1,3}=[a-z]{0,3}){0,2})?",
        values in proptest::collection::vec("[!-~]{1,8}( {1,3}[!-~]{1,5}){0,2}", 0..3),
        (service, presigned, with_token) in ("s3|execute-api", any::<bool>(), any::<bool>()),
    ) {
        let fields: Vec<_> =
            values.into_iter().enumerate().map(|(at, value)| (format!("x-field-{at}"), value)).collect();
        let token = with_token.then_some(&b"token/of+the=guest"[..]);
        let guest = Keys { token, ..GUEST };
        let real = Keys { token: with_token.then_some(&b"real/token+="[..]), ..REAL };
        let request = (method.as_str(), path.as_str(), query.as_str());
        let mut parts = signed_by_the_library(request, &fields, (&service, presigned), &guest);
        let expected = signed_by_the_library(request, &fields, (&service, presigned), &real);
        let proven = prove(&parts, "body", &guest).unwrap();
        proven.sign(&mut parts, "bucket.example:8443", &real).unwrap();
        prop_assert_eq!(sorted_query(&parts), sorted_query(&expected));
        let plain = |parts: &Parts| parts.headers.get(AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
        prop_assert_eq!(plain(&parts), plain(&expected));
        prop_assert_eq!(parts.headers.get(TOKEN), expected.headers.get(TOKEN));
    }

    #[test]
    fn no_claim_panics(authorization in "(AWS4-HMAC-SHA256 Credential=K/)?[ -~]{0,80}", query in "[!-~]{0,80}") {
        let mut request = Request::builder().header("authorization", authorization);
        if let Ok(uri) = format!("/?X-Amz-Credential=K/{}", query.replace('#', "")).parse::<Uri>() {
            request = request.uri(uri);
        }
        let parts = request.body(()).unwrap().into_parts().0;
        if let Ok(Some(claimed)) = claim(&parts, b"K") {
            let proven = claimed.prove(&parts, "h", &Keys { id: b"K", ..GUEST }, Some("0"));
            prop_assert!(proven.is_err());
        }
    }
}
