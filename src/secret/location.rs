//! The places of a request where a placeholder becomes a secret.
//!
//! It says where, and does nothing there. Invariant: no location reaches a field that frames or routes the
//! message, and `header` reaches none that servers are known to repeat, store or log.

use std::fmt;

use http::HeaderName;
use http::header::InvalidHeaderName;

/// One place where a secret may be injected; a value of the config key `swap`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Location {
    /// `header`: any header field but the reflective ones, which servers echo, log, hand on, or act on before
    /// they ask who speaks.
    Header,
    /// `header:NAME`: this field, be it a reflective one.
    HeaderNamed(HeaderName),
    /// `basic`: user or password of `Authorization: Basic`, inside its base64.
    Basic,
    /// `websocket`: the text messages of a WebSocket.
    WebSocket,
}

impl Location {
    /// Reads `header`, `header:NAME`, `basic` or `websocket`.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        match text {
            "header" => Ok(Self::Header),
            "basic" => Ok(Self::Basic),
            "websocket" => Ok(Self::WebSocket),
            _ => {
                let name = text.strip_prefix("header:").ok_or_else(|| LocationError::Unknown(text.into()))?;
                let name = HeaderName::try_from(name).map_err(LocationError::Name)?;
                if frames_or_routes(name.as_str()) {
                    return Err(LocationError::Framing(name));
                }
                Ok(Self::HeaderNamed(name))
            }
        }
    }

    /// What `swap` is where nothing is written: `header` and `basic`.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        vec![Self::Header, Self::Basic]
    }

    /// Whether a placeholder that stands in the value of the field `name` becomes its secret.
    pub(super) fn admits_field(&self, name: &HeaderName) -> bool {
        match self {
            Self::Header => !is_reflective(name.as_str()) && !frames_or_routes(name.as_str()),
            Self::HeaderNamed(own) => own == name && !frames_or_routes(name.as_str()),
            Self::Basic | Self::WebSocket => false,
        }
    }

    /// Whether a placeholder inside Basic credentials becomes its secret.
    pub(super) fn admits_basic(&self) -> bool {
        match self {
            Self::Basic => true,
            Self::Header | Self::HeaderNamed(_) | Self::WebSocket => false,
        }
    }

    /// Whether its values stand in header fields as they are.
    pub(super) fn is_field(&self) -> bool {
        match self {
            Self::Header | Self::HeaderNamed(_) => true,
            Self::Basic | Self::WebSocket => false,
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::HeaderNamed(name) => write!(f, "header:{name}"),
            Self::Basic => f.write_str("basic"),
            Self::WebSocket => f.write_str("websocket"),
        }
    }
}

/// Why a text is no location.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Not a word we know.
    #[error("{0:?} is no place to swap; there are header, header:NAME, basic and websocket")]
    Unknown(String),
    /// What follows `header:` is no field name.
    #[error("the name after header: is no header field's: {0}")]
    Name(InvalidHeaderName),
    /// A secret there would change how the message is read, or is dropped on the way.
    #[error("header:{0} cannot hold a secret: it frames or routes the message")]
    Framing(HeaderName),
}

/// Fields that say where a message goes and how it is read (RFC 9110 §7, RFC 9112, RFC 9113 §8.2.2), and
/// those Portcullis itself writes or drops.
fn frames_or_routes(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "accept-encoding",
        "alt-used",
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "if-range",
        "keep-alive",
        "max-forwards",
        "proxy-connection",
        "range",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-version",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    NAMES.contains(&name)
}

/// Fields whose value tends to come back or to be kept in the clear, and that no API authenticates by.
///
/// * Identity and path of the client, written to access logs and echoed by diagnostic pages: `user-agent`,
///   `referer`, `from`, `forwarded`, `via`, everything `x-forwarded-…`.
/// * Identifiers of a request or a trace, echoed in the response and stored by telemetry: `x-request-id`,
///   `idempotency-key`, `traceparent`, `baggage` and the vendors' own.
/// * What negotiates, and is answered with itself: CORS (`origin`, `access-control-…`), `accept…`, `prefer`,
///   `sec-…` (a server repeats `sec-websocket-protocol`), preconditions (`if-…`, with entity tags).
/// * What describes the body, and is stored and served again with it: `content-…`, `digest`, `link`, `slug`.
/// * Cookies, which servers set again; and targets in disguise (`destination`, `x-original-url`).
fn is_reflective(name: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "accept-",
        "access-control-",
        "content-",
        "if-",
        "proxy-",
        "sec-",
        "x-amzn-trace-",
        "x-b3-",
        "x-datadog-",
        "x-envoy-",
        "x-forwarded-",
    ];
    const NAMES: &[&str] = &[
        "accept",
        "b3",
        "baggage",
        "cache-control",
        "cf-connecting-ip",
        "cf-ray",
        "client-ip",
        "cookie",
        "correlation-id",
        "date",
        "depth",
        "destination",
        "digest",
        "dnt",
        "early-data",
        "forwarded",
        "from",
        "idempotency-key",
        "last-event-id",
        "link",
        "location",
        "origin",
        "pragma",
        "prefer",
        "priority",
        "referer",
        "repr-digest",
        "request-id",
        "save-data",
        "sentry-trace",
        "slug",
        "traceparent",
        "tracestate",
        "true-client-ip",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
        "want-content-digest",
        "want-digest",
        "want-repr-digest",
        "warning",
        "x-client-ip",
        "x-client-request-id",
        "x-cloud-trace-context",
        "x-correlation-id",
        "x-forwarded",
        "x-http-method",
        "x-http-method-override",
        "x-idempotency-key",
        "x-method-override",
        "x-original-host",
        "x-original-url",
        "x-real-ip",
        "x-request-id",
        "x-requested-with",
        "x-rewrite-url",
        "x-trace-id",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(location: &str, name: &str) -> bool {
        Location::parse(location).unwrap().admits_field(&HeaderName::try_from(name).unwrap())
    }

    #[test]
    fn words_are_read_and_written_back() {
        for text in ["header", "header:x-api-key", "basic", "websocket"] {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Location::parse("header:X-API-Key").unwrap().to_string(), "header:x-api-key");
        for text in [
            "",
            "Header",
            "header:",
            "header:a b",
            "query",
            "body",
            "basic:",
            " header",
            "WebSocket",
            "websocket:text",
        ] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
        assert!(
            Location::parse("query")
                .unwrap_err()
                .to_string()
                .contains("header, header:NAME, basic and websocket")
        );
    }

    #[test]
    fn a_header_is_any_that_authenticates() {
        for name in [
            "authorization",
            "x-api-key",
            "api-key",
            "x-goog-api-key",
            "private-token",
            "cf-access-client-secret",
        ] {
            assert!(admits("header", name), "{name}");
        }
    }

    #[test]
    fn a_header_is_none_that_comes_back() {
        for name in [
            "User-Agent",
            "referer",
            "origin",
            "cookie",
            "forwarded",
            "x-forwarded-for",
            "x-forwarded-anything",
            "via",
            "x-request-id",
            "x-correlation-id",
            "traceparent",
            "tracestate",
            "accept",
            "accept-language",
            "range",
            "if-none-match",
            "if-range",
            "host",
            "content-type",
            "content-length",
            "te",
            "expect",
            "connection",
            "idempotency-key",
            "sec-websocket-protocol",
            "proxy-authorization",
        ] {
            assert!(!admits("header", name), "{name}");
        }
    }

    #[test]
    fn a_named_header_is_that_one_be_it_reflective() {
        assert!(admits("header:cookie", "cookie"));
        assert!(!admits("header:cookie", "cookie2") && !admits("header:x-api-key", "authorization"));
        assert!(!admits("basic", "authorization") && !admits("websocket", "authorization"));
    }

    #[test]
    fn no_location_reaches_what_frames_or_routes() {
        for name in ["host", "Content-Length", "transfer-encoding", "connection", "te", "range", "upgrade"] {
            let text = format!("header:{name}");
            assert!(matches!(Location::parse(&text), Err(LocationError::Framing(_))), "{name}");
            let built = Location::HeaderNamed(HeaderName::try_from(name).unwrap());
            assert!(!built.admits_field(&HeaderName::try_from(name).unwrap()));
        }
    }
}
