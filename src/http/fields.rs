//! The head that goes on, written anew from the head that came.
//!
//! Fields that belong to one connection end here ([RFC 9110 §7.6.1]); the target, the host and the length
//! are ours. It judges nothing: [`super::gate`] did. Invariant: whatever the guest wrote, the upstream gets
//! one request with one host, one length and the origin of its connection.
//!
//! [RFC 9110 §7.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1

use http::header::{self, HeaderName, HeaderValue};
use http::request;
use http::uri::{self, PathAndQuery};
use http::{HeaderMap, Uri, Version};

use super::gate::lists;
use crate::name::{Origin, Scheme};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// The origin of a connection, in the forms requests need.
#[derive(Debug)]
pub(super) struct Target {
    host: HeaderValue,
    authority: uri::Authority,
    scheme: uri::Scheme,
}

impl Target {
    pub(super) fn new(origin: &Origin) -> Result<Self, http::Error> {
        let text = origin.authority();
        Ok(Self {
            host: HeaderValue::try_from(&text)?,
            authority: uri::Authority::try_from(text)?,
            scheme: match origin.scheme {
                Scheme::Http => uri::Scheme::HTTP,
                Scheme::Https => uri::Scheme::HTTPS,
            },
        })
    }

    /// The host that goes upstream, with its port where that is not the scheme's own.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }
}

/// How long a request's body is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Length {
    /// There is no body, and none was announced.
    NoBody,
    /// So many octets.
    Exact(u64),
    /// Until it ends.
    Unknown,
}

/// Turns an admitted head into the one that goes upstream.
pub(super) fn write_request(
    parts: &mut request::Parts,
    target: &Target,
    length: Length,
) -> Result<(), http::Error> {
    let guest = std::mem::take(&mut parts.headers);
    let trailers = lists(&guest, &header::TE, "trailers");
    let mut fields = HeaderMap::with_capacity(guest.len() + 2);
    if parts.version < Version::HTTP_2 {
        // HTTP/1.0 ends here too: the upstream is always asked in 1.1.
        parts.version = Version::HTTP_11;
        parts.uri = Uri::from(path(&parts.uri)?);
        fields.insert(header::HOST, target.host.clone());
    } else {
        let mut uri = uri::Parts::default();
        uri.scheme = Some(target.scheme.clone());
        uri.authority = Some(target.authority.clone());
        uri.path_and_query = Some(path(&parts.uri)?);
        parts.uri = Uri::from_parts(uri)?;
    }
    copy(guest, &mut fields, is_dropped_from_requests);
    if trailers {
        fields.insert(header::TE, HeaderValue::from_static("trailers"));
        if parts.version < Version::HTTP_2 {
            fields.insert(header::CONNECTION, HeaderValue::from_static("te"));
        }
    }
    parts.headers = fields;
    write_length(parts, length);
    Ok(())
}

/// Says how long a request's body is, whatever was said before.
pub(super) fn write_length(parts: &mut request::Parts, length: Length) {
    let fields = &mut parts.headers;
    fields.remove(header::CONTENT_LENGTH);
    fields.remove(header::TRANSFER_ENCODING);
    match length {
        Length::NoBody => {}
        Length::Exact(octets) => drop(fields.insert(header::CONTENT_LENGTH, octets.into())),
        Length::Unknown if parts.version < Version::HTTP_2 => {
            fields.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        Length::Unknown => {}
    }
}

/// Turns an upstream's fields into those the guest gets. The length is the caller's to say.
pub(super) fn write_response(fields: &mut HeaderMap) {
    let upstream = std::mem::take(fields);
    fields.reserve(upstream.len());
    copy(upstream, fields, is_dropped_from_responses);
}

/// Drops trailer fields whose meaning belongs before the content ([RFC 9110 §6.5.1]).
///
/// [RFC 9110 §6.5.1]: https://www.rfc-editor.org/rfc/rfc9110#section-6.5.1
pub(super) fn keep_allowed_trailers(trailers: &mut HeaderMap) {
    let forbidden: Vec<HeaderName> = trailers.keys().filter(|name| !may_be_trailer(name)).cloned().collect();
    for name in forbidden {
        trailers.remove(name);
    }
}

fn path(uri: &Uri) -> Result<PathAndQuery, http::Error> {
    match uri.path_and_query() {
        None => Ok(PathAndQuery::from_static("/")),
        Some(path) if path.as_str().starts_with('?') => {
            Ok(PathAndQuery::try_from(format!("/{}", path.as_str()))?)
        }
        Some(path) => Ok(path.clone()),
    }
}

/// Copies all fields but those of the connection and those `is_dropped`; order and repetition stay.
fn copy(from: HeaderMap, to: &mut HeaderMap, is_dropped: fn(&HeaderName) -> bool) {
    let nominated = nominated(&from);
    let mut current = None;
    for (name, value) in from {
        // HeaderMap gives a repeated field's name only the first time.
        current = name.or(current);
        let Some(name) = &current else { continue };
        if is_of_connection(name) || is_dropped(name) || nominated.contains(name) {
            continue;
        }
        if *name == header::TRAILER {
            if let Some(value) = allowed_trailer_names(&value) {
                to.append(name, value);
            }
            continue;
        }
        to.append(name, value);
    }
}

/// The fields a `Connection` field names as its own.
fn nominated(fields: &HeaderMap) -> Vec<HeaderName> {
    fields
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect()
}

fn is_of_connection(name: &HeaderName) -> bool {
    [
        header::CONNECTION,
        header::TE,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        HTTP2_SETTINGS,
        header::CONTENT_LENGTH,
    ]
    .contains(name)
}

/// Credentials for a proxy are for nobody here: there is none the guest knows of, and an origin is not one.
fn is_dropped_from_requests(name: &HeaderName) -> bool {
    [header::HOST, header::EXPECT, header::PROXY_AUTHORIZATION].contains(name)
}

/// Alt-Svc would lead the guest to QUIC, which goes nowhere.
fn is_dropped_from_responses(name: &HeaderName) -> bool {
    [header::ALT_SVC, header::PROXY_AUTHENTICATE, PROXY_AUTHENTICATION_INFO].contains(name)
}

fn allowed_trailer_names(announced: &HeaderValue) -> Option<HeaderValue> {
    let names: Vec<&str> = announced
        .to_str()
        .ok()?
        .split(',')
        .map(str::trim)
        .filter(|name| HeaderName::from_bytes(name.as_bytes()).is_ok_and(|name| may_be_trailer(&name)))
        .collect();
    if names.is_empty() { None } else { HeaderValue::try_from(names.join(", ")).ok() }
}

/// Framing, routing, request modifiers, authentication, content format and response control are no trailers.
fn may_be_trailer(name: &HeaderName) -> bool {
    let forbidden = is_of_connection(name)
        || is_dropped_from_requests(name)
        || is_dropped_from_responses(name)
        || [
            header::TRAILER,
            header::AGE,
            header::AUTHORIZATION,
            header::CACHE_CONTROL,
            header::CONTENT_ENCODING,
            header::CONTENT_RANGE,
            header::CONTENT_TYPE,
            header::COOKIE,
            header::DATE,
            header::EXPIRES,
            header::LOCATION,
            header::MAX_FORWARDS,
            header::PRAGMA,
            header::RANGE,
            header::RETRY_AFTER,
            header::SET_COOKIE,
            header::VARY,
            header::WARNING,
            header::WWW_AUTHENTICATE,
        ]
        .contains(name)
        || name.as_str().starts_with("if-")
        || name.as_str().starts_with("sec-websocket-");
    !forbidden
}
