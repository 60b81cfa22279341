//! The official clients of three APIs in a real namespace, each with placeholders for keys.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningParams, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use support::pki;
use support::sandboxed::{HOST, Sandboxed, namespaces};
use support::upstream::{Seen, Upstream};
use time::PrimitiveDateTime;

const KEY_ID: &str = "AKIAQ7CANARY7CANARY7";
const KEY: &str = "canary/canary+canary/canary+canary/canar";

/// A Python that has the packages: the one that the variable names, which must, or any.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn python() -> Option<String> {
    let has_all = |python: &String| {
        let probe = Command::new(python).args(["-c", "import anthropic, boto3, openai"]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    if let Ok(named) = std::env::var("PORTCULLIS_PYTHON") {
        assert!(has_all(&named), "{named} has not all of anthropic, boto3 and openai");
        return Some(named);
    }
    let found = ["/usr/bin/python3", "python3"].map(str::to_owned).into_iter().find(has_all);
    if found.is_none() {
        eprintln!("SKIPPED: no Python with anthropic, boto3 and openai; PORTCULLIS_PYTHON can name one");
    }
    found
}

#[test]
fn official_clients_work_with_placeholders_alone() {
    if !namespaces() {
        return;
    }
    let Some(python) = python() else { return };
    let tls = pki::server_config("good", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    let upstream = Upstream::start(Some(Arc::new(tls)), None);
    let sandboxed = Sandboxed::bare();
    let secret = sandboxed.secret.clone();
    let (config, script) = (sandboxed.dir().join("keys.toml"), sandboxed.dir().join("sdks.py"));
    let keys = format!(
        "[secrets.OPENAI_API_KEY]\nhosts = ['{HOST}']\n[secrets.ANTHROPIC_API_KEY]\nhosts = ['{HOST}']\n\
         [secrets.AWS]\ntype = 'aws-sigv4'\nhosts = ['{HOST}']\n"
    );
    std::fs::write(&config, keys).unwrap();
    std::fs::copy(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/sdks.py"), script).unwrap();
    let (openai, anthropic) = (format!("sk-proj-{secret}"), format!("sk-ant-api03-{secret}"));
    let ran = sandboxed
        .env("OPENAI_API_KEY", &openai)
        .env("ANTHROPIC_API_KEY", &anthropic)
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", KEY)
        .flag("--config", config.to_str().unwrap())
        .flag("--connect-to", &format!("{HOST}:443:{}", upstream.addr))
        .flag("--upstream-ca", concat!(env!("CARGO_MANIFEST_DIR"), "/certs/ca.pem"))
        .sh(&format!("{python} sdks.py {HOST}"));
    let expected =
        ["openai True", "anthropic True", "s3 the object", "presigned the object", "dynamodb ['2']", ""];
    assert_eq!(ran.ok(), expected.join("\n"));
    let seen = upstream.seen();
    assert_eq!(seen.len(), 6);
    assert_eq!(seen[0].header("authorization"), [format!("Bearer {openai}")]);
    // One field or the other, as the client's version has it.
    let key = [seen[1].header("x-api-key"), seen[1].header("authorization")].concat().join(" ");
    assert_eq!(key.trim_start_matches("Bearer "), anthropic);
    for (signed, service) in seen[2..].iter().zip(["s3", "s3", "s3", "dynamodb"]) {
        assert_signed(signed, service);
    }
    let injections = ran.records("injection");
    let aws = injections.iter().filter(|record| record["secret"] == "AWS" && record["place"] == "aws-sigv4");
    assert_eq!(aws.count(), 4);
}

/// What a request says of its signature.
struct Said {
    date: String,
    names: String,
    signature: String,
    /// Seconds, of a presigned URL.
    expires: Option<u64>,
}

impl Said {
    fn of(seen: &Seen) -> Self {
        let query = seen.target.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let parameter = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find_map(|(own, value)| (own == name).then(|| value.replace("%3B", ";")))
        };
        if let Some(signature) = parameter("X-Amz-Signature") {
            let (date, names) = (parameter("X-Amz-Date").unwrap(), parameter("X-Amz-SignedHeaders").unwrap());
            let expires = parameter("X-Amz-Expires").unwrap().parse().unwrap();
            return Self { date, names, signature, expires: Some(expires) };
        }
        let authorization = field(seen, "authorization");
        assert!(authorization.contains(&format!("Credential={KEY_ID}/")), "{authorization}");
        let part = |name: &str| {
            let rest = authorization.split_once(name).unwrap().1;
            rest.split(',').next().unwrap().to_owned()
        };
        let (date, names) = (field(seen, "x-amz-date"), part("SignedHeaders="));
        Self { date, names, signature: part("Signature="), expires: None }
    }
}

fn field(seen: &Seen, name: &str) -> String {
    seen.header(name).join(",")
}

/// The request is what the maintained signer makes of the real key.
fn assert_signed(seen: &Seen, service: &str) {
    let Said { date, names, signature: own, expires } = Said::of(seen);
    let format =
        time::format_description::parse_borrowed::<2>("[year][month][day]T[hour][minute][second]Z").unwrap();
    let at = PrimitiveDateTime::parse(&date, &format).unwrap().assume_utc().unix_timestamp();
    let mut settings = SigningSettings::default();
    settings.excluded_headers = None;
    if service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    if let Some(expires) = expires {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(expires));
    }
    let identity = Credentials::new(KEY_ID, KEY, None, None, "test").into();
    let params: SigningParams<'_> = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name(service)
        .time(UNIX_EPOCH + Duration::from_secs(at.try_into().unwrap()))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let body = match &*field(seen, "x-amz-content-sha256") {
        _ if expires.is_some() => SignableBody::UnsignedPayload,
        "" => SignableBody::Bytes(b"{}"),
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => SignableBody::StreamingUnsignedPayloadTrailer,
        "UNSIGNED-PAYLOAD" => SignableBody::UnsignedPayload,
        hash => SignableBody::Precomputed(hash.to_owned()),
    };
    // The signer adds these itself.
    let added = ["host", "x-amz-date", "x-amz-content-sha256"];
    let signed = names.split(';').filter(|name| !added.contains(name));
    let fields: Vec<_> = signed.map(|name| (name, field(seen, name))).collect();
    let fields = fields.iter().map(|(name, value)| (*name, value.as_str()));
    let target: http::Uri = seen.target.parse().unwrap();
    let query = target.query().unwrap_or_default().split('&');
    let query: Vec<_> = query.filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-")).collect();
    let uri = format!("https://{HOST}{}?{}", target.path(), query.join("&"));
    let request = SignableRequest::new(&seen.method, uri, fields, body).unwrap();
    let (_, signature) = sign(request, &params).unwrap().into_parts();
    assert_eq!(own, signature, "{seen:?}");
}
