//! What a request says of its own signature, in `Authorization` or in the parameters of a presigned URL.
//!
//! It believes nothing: [`super::Claimed::prove`] does the proving.

use std::fmt;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;

use super::{AwsError, DATE, Place, canonical};

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const ASYMMETRIC: &str = "AWS4-ECDSA-P256-SHA256";
const CONTENT_HASH: &str = "x-amz-content-sha256";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const UNSIGNED_TRAILER: &str = "STREAMING-UNSIGNED-PAYLOAD-TRAILER";

/// What a request claims.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) place: Place,
    pub(super) scope: Scope,
    /// `X-Amz-Date`: `20261121T161041Z`.
    pub(super) time: String,
    /// Names of the fields signed, in lower case, as ordered by the client.
    pub(super) signed: Vec<String>,
    pub(super) signature: String,
    pub(super) payload: Payload,
}

/// What a signature covers of the body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Payload {
    /// This text, said in the request: a hash, or that the payload is unsigned.
    Said(String),
    /// The SHA-256 hash of the body, which the request does not say.
    Body,
}

/// What a key is good for: `20261121/us-east-1/s3/aws4_request`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Scope {
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
}

impl Scope {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let mut next = || parts.next().filter(|part| is_word(part)).map(str::to_owned);
        let scope = Self { date: next()?, region: next()?, service: next()? };
        let is_whole = parts.next() == Some("aws4_request") && parts.next().is_none();
        let has_date = scope.date.len() == 8 && scope.date.bytes().all(|digit| digit.is_ascii_digit());
        (is_whole && has_date).then_some(scope)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// Letters, digits and what regions and services have besides.
fn is_word(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !text.is_empty() && text.bytes().all(is_part)
}

/// Reads the claim of a request whose credential is `id`; none where it is signed with other keys or not at all.
pub(super) fn read(parts: &Parts, id: &[u8]) -> Result<Option<Claim>, AwsError> {
    if let Some(value) = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let Some((algorithm, rest)) = value.split_once(' ') else { return Ok(None) };
        let Some(fields) = Fields::of(rest) else { return Ok(None) };
        if !is_of(fields.credential, id) {
            return Ok(None);
        }
        return from_field(algorithm, &fields, &parts.headers).map(Some);
    }
    let query = parts.uri.query().unwrap_or_default();
    if !query.contains("X-Amz-Credential") {
        return Ok(None);
    }
    let parameter = |name: &str| canonical::parameter(query, name);
    match parameter("X-Amz-Credential") {
        Some(credential) if is_of(&credential, id) => {
            from_query(&credential, parameter, &parts.headers).map(Some)
        }
        _ => Ok(None),
    }
}

/// Whether a credential, `ID/DATE/REGION/SERVICE/aws4_request`, is that of the key `id`.
fn is_of(credential: &str, id: &[u8]) -> bool {
    credential.split_once('/').is_some_and(|(own, _)| own.as_bytes() == id)
}

/// The parameters of an `Authorization` field.
struct Fields<'a> {
    credential: &'a str,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let field = |name: &str| {
            let mut fields = text.split(',').filter_map(|field| field.trim().split_once('='));
            fields.find_map(|(own, value)| (own == name).then_some(value))
        };
        Some(Self {
            credential: field("Credential")?,
            signed: field("SignedHeaders").unwrap_or_default(),
            signature: field("Signature").unwrap_or_default(),
        })
    }
}

fn from_field(algorithm: &str, fields: &Fields<'_>, headers: &HeaderMap) -> Result<Claim, AwsError> {
    check_algorithm(algorithm)?;
    let only = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().and_then(|value| value.to_str().ok());
        value.filter(|_| values.next().is_none())
    };
    let payload = match headers.contains_key(CONTENT_HASH) {
        true => said(only(CONTENT_HASH).ok_or(AwsError::Malformed("x-amz-content-sha256"))?)?,
        false => Payload::Body,
    };
    claim(Place::Field, fields.credential, (fields.signed, fields.signature), only(DATE), payload)
}

fn from_query(
    credential: &str,
    parameter: impl Fn(&str) -> Option<String>,
    headers: &HeaderMap,
) -> Result<Claim, AwsError> {
    check_algorithm(&parameter("X-Amz-Algorithm").unwrap_or_default())?;
    let signed = parameter("X-Amz-SignedHeaders").unwrap_or_default();
    let signature = parameter("X-Amz-Signature").unwrap_or_default();
    let time = parameter("X-Amz-Date");
    let service = credential.split('/').nth(3).unwrap_or_default();
    let payload = match headers.get(CONTENT_HASH).and_then(|value| value.to_str().ok()) {
        Some(text) => said(text)?,
        // S3 cannot know the body of a presigned upload.
        None if service.starts_with("s3") => Payload::Said(UNSIGNED.to_owned()),
        None => Payload::Body,
    };
    claim(Place::Query, credential, (&signed, &signature), time.as_deref(), payload)
}

fn check_algorithm(algorithm: &str) -> Result<(), AwsError> {
    match algorithm {
        ALGORITHM => Ok(()),
        ASYMMETRIC => Err(AwsError::Asymmetric),
        _ => Err(AwsError::Malformed("algorithm")),
    }
}

fn claim(
    place: Place,
    credential: &str,
    (signed, signature): (&str, &str),
    time: Option<&str>,
    payload: Payload,
) -> Result<Claim, AwsError> {
    let scope = credential.split_once('/').and_then(|(_, scope)| Scope::parse(scope));
    let scope = scope.ok_or(AwsError::Malformed("credential scope"))?;
    let time = time.filter(|time| is_time(time)).ok_or(AwsError::Malformed("x-amz-date"))?;
    let signed: Vec<String> = signed.split(';').map(str::to_owned).collect();
    let is_name =
        |name: &String| name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase());
    if !signed.iter().all(is_name) || !signed.iter().any(|name| name == "host") {
        return Err(AwsError::Malformed("list of signed headers"));
    }
    if signature.len() != 64 || !signature.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(AwsError::Malformed("signature"));
    }
    Ok(Claim { place, scope, time: time.to_owned(), signed, signature: signature.to_owned(), payload })
}

/// `20261121T161041Z`.
fn is_time(text: &str) -> bool {
    let shape = b"ddddddddTddddddZ";
    text.len() == shape.len()
        && text.bytes().zip(shape).all(|(byte, kind)| match kind {
            b'd' => byte.is_ascii_digit(),
            _ => byte == *kind,
        })
}

fn said(text: &str) -> Result<Payload, AwsError> {
    let is_hash = text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if is_hash || text == UNSIGNED || text == UNSIGNED_TRAILER {
        return Ok(Payload::Said(text.to_owned()));
    }
    if text.starts_with("STREAMING-") && is_word(text) {
        return Err(AwsError::Chunked(text.to_owned()));
    }
    Err(AwsError::Malformed("x-amz-content-sha256"))
}
