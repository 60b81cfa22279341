//! What a guest's request must be before anything is done about it.
//!
//! hyper has parsed the request; it lets by what has more than one meaning. This is the pure judgement over
//! the typed head that comes before policy, secrets and the upstream. It rewrites nothing ([`super::fields`]
//! does). Invariant: a request that passes means exactly the origin of its connection, and every parser
//! reads the same method, target and length in it.

use http::header::{CONTENT_LENGTH, EXPECT, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, StatusCode, Version};

use super::deny::{Refusal, cut};
use crate::limits::Limits;
use crate::name::{Authority, NameError, Origin};

/// What RFC 9113 §6.5.2 counts for each field beside its name and value.
const FIELD_OVERHEAD: usize = 32;

/// Lets a request pass, or says what is wrong with it.
pub(super) fn admit(parts: &Parts, origin: &Origin, limits: &Limits) -> Result<(), Fault> {
    size(&parts.headers, limits)?;
    method(&parts.method)?;
    target(parts)?;
    authority(parts, origin, limits)?;
    length(&parts.headers)?;
    expectation(&parts.headers)
}

fn size(fields: &HeaderMap, limits: &Limits) -> Result<(), Fault> {
    if fields.len() > limits.header_fields {
        return Err(Fault::TooManyFields { most: limits.header_fields });
    }
    let octets: usize =
        fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum();
    if octets > limits.header_bytes {
        return Err(Fault::FieldsTooLarge { most: limits.header_bytes });
    }
    Ok(())
}

/// CONNECT would open a tunnel nobody judged, TRACE gives back what was injected. A method in other letters
/// than capitals is one to a strict server and another to a lenient one.
fn method(method: &Method) -> Result<(), Fault> {
    match *method {
        Method::CONNECT | Method::TRACE => Err(Fault::ForbiddenMethod { method: method.clone() }),
        ref other if other.as_str().bytes().any(|b| b.is_ascii_lowercase()) => Err(Fault::MethodCase),
        _ => Ok(()),
    }
}

/// Origin-form and absolute-form, and `*` for OPTIONS ([RFC 9112 §3.2]); h2 has the same three in pseudo-fields.
///
/// [RFC 9112 §3.2]: https://www.rfc-editor.org/rfc/rfc9112#section-3.2
fn target(parts: &Parts) -> Result<(), Fault> {
    let uri = &parts.uri;
    let Some(path) = uri.path_and_query() else { return Err(Fault::Target) };
    match path.as_str() {
        "*" if parts.method == Method::OPTIONS => Ok(()),
        text if text.starts_with('/') => Ok(()),
        // An absolute-form may leave the path out before its query; what is written upstream has it.
        text if text.starts_with('?') && uri.authority().is_some() => Ok(()),
        _ => Err(Fault::Target),
    }
}

fn authority(parts: &Parts, origin: &Origin, limits: &Limits) -> Result<(), Fault> {
    if let Some(scheme) = parts.uri.scheme_str() {
        if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
            return Err(Fault::UnknownScheme);
        }
        if !scheme.eq_ignore_ascii_case(origin.scheme.as_str()) {
            return Err(Fault::Misdirected {
                meant: cut(scheme, limits.quoted_text).into(),
                origin: origin.to_string(),
            });
        }
    }
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (_, Some(_)) => return Err(Fault::SeveralHosts),
        (Some(value), None) => Some(value.to_str().map_err(|_| Fault::Host(NameError::Label))?),
        (None, None) => None,
    };
    let target = parts.uri.authority().map(|authority| authority.as_str());
    if host.is_none() && (target.is_none() || parts.version < Version::HTTP_2) {
        return Err(Fault::NoHost);
    }
    let meant = |text: &str| -> Result<bool, Fault> {
        Ok(origin.is_meant_by(&Authority::parse(text).map_err(Fault::Host)?))
    };
    let by_host = host.map(meant).transpose()?;
    let by_target = target.map(meant).transpose()?;
    match (by_host, by_target) {
        (Some(false), Some(true)) | (Some(true), Some(false)) if parts.version >= Version::HTTP_2 => {
            Err(Fault::HostsDiffer)
        }
        (Some(false), _) | (_, Some(false)) => {
            let wrong = if by_target == Some(false) { target } else { host };
            let meant = cut(wrong.unwrap_or_default(), limits.quoted_text).into();
            Err(Fault::Misdirected { meant, origin: origin.to_string() })
        }
        (Some(true) | None, Some(true) | None) => Ok(()),
    }
}

/// One length, told in one way. hyper has dropped some of what it found superfluous before this sees it;
/// the request is written anew, so nobody after us reads what it dropped.
fn length(fields: &HeaderMap) -> Result<(), Fault> {
    let mut lengths = fields.get_all(CONTENT_LENGTH).iter();
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    match (lengths.next(), codings.next()) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => Err(Fault::TwoLengths),
        (Some(length), None) if lengths.next().is_none() && is_plain_decimal(length.as_bytes()) => Ok(()),
        (Some(_), None) => Err(Fault::ContentLength),
        (None, Some(coding))
            if codings.next().is_none() && coding.as_bytes().eq_ignore_ascii_case(b"chunked") =>
        {
            Ok(())
        }
        (None, Some(_)) => Err(Fault::TransferEncoding),
    }
}

/// Digits without sign or leading zero.
pub(super) fn is_plain_decimal(text: &[u8]) -> bool {
    match text {
        [] => false,
        [b'0'] => true,
        [b'0', ..] => false,
        digits => digits.iter().all(u8::is_ascii_digit),
    }
}

fn expectation(fields: &HeaderMap) -> Result<(), Fault> {
    let mut all = fields.get_all(EXPECT).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(()),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(()),
        (Some(_), _) => Err(Fault::Expectation),
    }
}

/// Whether `fields` has `token` in the comma-separated list that the lines of `name` make.
pub(super) fn lists(fields: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    fields
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .any(|item| item.trim().eq_ignore_ascii_case(token))
}

/// What is wrong with a request.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the request has more than {most} header fields")]
    TooManyFields { most: usize },
    #[error("the request's header fields take more than {most} octets")]
    FieldsTooLarge { most: usize },
    #[error("{method} is not passed on")]
    ForbiddenMethod { method: Method },
    #[error("the method is not in capital letters")]
    MethodCase,
    #[error("the request target is neither a path nor a URL, nor * with OPTIONS")]
    Target,
    #[error("the request target has a scheme other than http and https")]
    UnknownScheme,
    #[error("the request names no host")]
    NoHost,
    #[error("the request has more than one Host field")]
    SeveralHosts,
    #[error("the request's host {0}")]
    Host(NameError),
    #[error("the Host field and :authority are not the same")]
    HostsDiffer,
    #[error("the request is for {meant}, its connection for {origin}")]
    Misdirected { meant: String, origin: String },
    #[error("the request has both Content-Length and Transfer-Encoding")]
    TwoLengths,
    #[error("Content-Length is not one plain decimal number")]
    ContentLength,
    #[error("Transfer-Encoding is not exactly \"chunked\"")]
    TransferEncoding,
    #[error("Expect has a value other than 100-continue")]
    Expectation,
}

impl Fault {
    /// The status a guest gets for it.
    fn status(&self) -> StatusCode {
        match self {
            Self::TooManyFields { .. } | Self::FieldsTooLarge { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Self::ForbiddenMethod { .. } => StatusCode::FORBIDDEN,
            Self::Misdirected { .. } => StatusCode::MISDIRECTED_REQUEST,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::MethodCase
            | Self::Target
            | Self::UnknownScheme
            | Self::NoHost
            | Self::SeveralHosts
            | Self::Host(_)
            | Self::HostsDiffer
            | Self::TwoLengths
            | Self::ContentLength
            | Self::TransferEncoding => StatusCode::BAD_REQUEST,
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        let denied = matches!(fault, Fault::ForbiddenMethod { .. });
        let error = if denied { "http_request_denied" } else { "http_request_error" };
        Refusal::new(fault.status(), error, fault.to_string())
    }
}
