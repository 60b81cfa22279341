//! The official clients of some APIs in a real namespace, each with placeholders for keys.
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
use support::sandboxed::{HOST, Ran, Sandboxed, client, namespaces};
use support::upstream::{Seen, Upstream};
use support::websocket::sha256;
use time::PrimitiveDateTime;

const KEY_ID: &str = "AKIAQ7CANARY7CANARY7";
const KEY: &str = "canary/canary+canary/canary+canary/canar";

/// What the scripts import.
const PACKAGES: &str = "anthropic, boto3, httpx, openai, slack_sdk, zstandard";

/// A Python that has the packages: the one that the variable names, which must, or any.
#[expect(clippy::print_stderr, reason = "a skipped test must be seen")]
fn python() -> Option<String> {
    let has_all = |python: &String| {
        let probe = Command::new(python).args(["-c", &format!("import {PACKAGES}")]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    if let Ok(named) = std::env::var("PORTCULLIS_PYTHON") {
        assert!(has_all(&named), "{named} has not all of {PACKAGES}");
        return Some(named);
    }
    let found = ["/usr/bin/python3", "python3"].map(str::to_owned).into_iter().find(has_all);
    if found.is_none() {
        eprintln!("SKIPPED: no Python with {PACKAGES}; PORTCULLIS_PYTHON can name one");
    }
    found
}

fn upstream() -> Upstream {
    let tls = pki::server_config("good", rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
    Upstream::start(Some(Arc::new(tls)), None)
}

/// Runs one of the scripts beside this file with the secrets of `config`.
fn run(sandboxed: Sandboxed, upstream: &Upstream, config: &str, script: &str) -> Ran {
    let Some(python) = python() else { unreachable!("it was there before") };
    let file = sandboxed.dir().join("keys.toml");
    std::fs::write(&file, config).unwrap();
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support");
    std::fs::copy(format!("{scripts}/{script}"), sandboxed.dir().join(script)).unwrap();
    sandboxed
        .flag("--config", file.to_str().unwrap())
        .flag("--connect-to", &format!("{HOST}:443:{}", upstream.addr))
        .flag("--upstream-ca", concat!(env!("CARGO_MANIFEST_DIR"), "/certs/ca.pem"))
        .sh(&format!("{python} {script} {HOST}"))
}

#[test]
fn official_clients_work_with_placeholders_alone() {
    if !namespaces() || python().is_none() {
        return;
    }
    let upstream = upstream();
    let sandboxed = Sandboxed::bare();
    let secret = sandboxed.secret.clone();
    let keys = format!(
        "[secrets.OPENAI_API_KEY]\nhosts = ['{HOST}']\n[secrets.ANTHROPIC_API_KEY]\nhosts = ['{HOST}']\n\
         [secrets.AWS]\ntype = 'aws-sigv4'\nhosts = ['{HOST}']\n"
    );
    let (openai, anthropic) = (format!("sk-proj-{secret}"), format!("sk-ant-api03-{secret}"));
    let sandboxed = sandboxed
        .env("OPENAI_API_KEY", &openai)
        .env("ANTHROPIC_API_KEY", &anthropic)
        .env("AWS_ACCESS_KEY_ID", KEY_ID)
        .env("AWS_SECRET_ACCESS_KEY", KEY);
    let ran = run(sandboxed, &upstream, &keys, "sdks.py");
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

#[test]
fn slacks_client_has_its_token_in_a_field_in_a_form_and_in_basic() {
    if !namespaces() || python().is_none() {
        return;
    }
    let upstream = upstream();
    let sandboxed = Sandboxed::bare();
    let bot = format!("xoxb-{}", sandboxed.secret);
    // These have to be escaped where they go, and so are longer there than their placeholders.
    let user = format!("xoxp-{}&a=b+c%41", sandboxed.secret);
    let app = format!("{}:/+=", sandboxed.secret);
    let config = format!(
        "[secrets.SLACK_BOT_TOKEN]\nhosts = ['{HOST}']\nswap = ['header:authorization']\n\
         [secrets.SLACK_USER_TOKEN]\nhosts = ['{HOST}']\nswap = ['body:form:token']\n\
         [secrets.SLACK_CLIENT_SECRET]\nhosts = ['{HOST}']\nswap = ['basic']\n"
    );
    let sandboxed = sandboxed
        .env("SLACK_BOT_TOKEN", &bot)
        .env("SLACK_USER_TOKEN", &user)
        .env("SLACK_CLIENT_SECRET", &app);
    let ran = run(sandboxed, &upstream, &config, "slack.py");
    let expected = format!(
        "chat.postMessage {} True\nauth.test {} True\noauth.v2.access {} True\n",
        sha256(&bot),
        sha256(&user),
        sha256(&app)
    );
    assert_eq!(ran.ok(), expected);
    let mut places = injected(&ran);
    places.sort();
    let expected = [
        "SLACK_BOT_TOKEN header:authorization",
        "SLACK_CLIENT_SECRET basic",
        "SLACK_USER_TOKEN body:form:token",
    ];
    assert_eq!(places, expected);
}

#[test]
fn a_body_in_zstd_arrives_in_zstd_with_the_secret_and_comes_back_without() {
    if !namespaces() || python().is_none() || !client("curl --version") {
        return;
    }
    // As long as its placeholder, and not, and to be escaped.
    for (place, end) in [("body", ""), ("body:json:/token", ""), ("body:json:/token", "\"\\é")] {
        let upstream = upstream();
        let mut sandboxed = Sandboxed::bare();
        sandboxed.secret = format!("{}{end}", sandboxed.secret);
        let secret = sandboxed.secret.clone();
        let config = format!("[secrets.TOKEN]\nhosts = ['{HOST}']\nswap = ['{place}']\n");
        let ran = run(sandboxed.env("TOKEN", &secret), &upstream, &config, "coded.py");
        let digest = sha256(&secret);
        assert_eq!(ran.ok(), format!("whole {digest} True\npieces {digest} True\ncurl 2 {digest} True\n"));
        assert_eq!(
            injected(&ran),
            [format!("TOKEN {place}"), format!("TOKEN {place}"), format!("TOKEN {place}")]
        );
    }
}

/// The secrets injected, each with its place.
fn injected(ran: &Ran) -> Vec<String> {
    let records = ran.records("injection").into_iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    records.map(|record| format!("{} {}", text(&record["secret"]), text(&record["place"]))).collect()
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
