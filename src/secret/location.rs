//! The places of a request where a placeholder becomes a secret.
//!
//! It says where, and does nothing there. Invariant: no location reaches a field that frames or routes the
//! message, and `header` reaches none that servers are known to repeat, store or log.

use std::fmt;

use http::HeaderName;
use http::header::InvalidHeaderName;

use super::fields::{frames_or_routes, is_reflective};
use super::path::{JsonPath, PathError};

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
    /// The signature of a request (`type = "aws-sigv4"`), with which the secret signs and is never sent.
    Signature,
    /// `query`: anywhere in the query of the URL, percent-encoded.
    Query,
    /// `query:NAME`: the values of this parameter.
    QueryNamed(String),
    /// `path`: anywhere in the path of the URL, percent-encoded; a `/` of the secret's is no separator.
    Path,
    /// `body`: anywhere in the body, in the spelling of its type: escaped as in a JSON string, percent-encoded
    /// in a form, as it is in any other.
    Body,
    /// `body:json:PATH`: the strings at this path of a JSON body.
    BodyJson(JsonPath),
    /// `body:form:NAME`: the values of this field of an `application/x-www-form-urlencoded` body.
    BodyForm(String),
    /// `body:multipart:NAME`: the parts of this name of a `multipart/form-data` body.
    BodyMultipart(String),
}

impl Location {
    /// Reads one of the words that [`Location`]'s variants name.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let named = |place: &'static str, name: &str| match name {
            "" => Err(LocationError::NoName { place }),
            name => Ok(name.to_owned()),
        };
        match text.split_once(':') {
            None => match text {
                "header" => Ok(Self::Header),
                "basic" => Ok(Self::Basic),
                "websocket" => Ok(Self::WebSocket),
                "query" => Ok(Self::Query),
                "path" => Ok(Self::Path),
                "body" => Ok(Self::Body),
                _ => Err(LocationError::Unknown(text.into())),
            },
            Some(("header", name)) => {
                let name = HeaderName::try_from(name).map_err(LocationError::Name)?;
                if frames_or_routes(name.as_str()) {
                    return Err(LocationError::Framing(name));
                }
                Ok(Self::HeaderNamed(name))
            }
            Some(("query", name)) => named("query:", name).map(Self::QueryNamed),
            Some(("body", rest)) => match rest.split_once(':') {
                Some(("json", path)) => Ok(Self::BodyJson(JsonPath::parse(path)?)),
                Some(("form", name)) => named("body:form:", name).map(Self::BodyForm),
                Some(("multipart", name)) => named("body:multipart:", name).map(Self::BodyMultipart),
                _ => Err(LocationError::Unknown(text.into())),
            },
            Some(_) => Err(LocationError::Unknown(text.into())),
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
            Self::Basic
            | Self::WebSocket
            | Self::Signature
            | Self::Query
            | Self::QueryNamed(_)
            | Self::Path
            | Self::Body
            | Self::BodyJson(_)
            | Self::BodyForm(_)
            | Self::BodyMultipart(_) => false,
        }
    }

    /// Whether it is a header field's value as it stands, which not every octet may be in.
    pub(super) fn is_field(&self) -> bool {
        matches!(self, Self::Header | Self::HeaderNamed(_))
    }

    /// Whether it is a JSON string and nothing else.
    pub(super) fn is_json(&self) -> bool {
        matches!(self, Self::BodyJson(_))
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("header"),
            Self::HeaderNamed(name) => write!(f, "header:{name}"),
            Self::Basic => f.write_str("basic"),
            Self::WebSocket => f.write_str("websocket"),
            Self::Signature => f.write_str("aws-sigv4"),
            Self::Query => f.write_str("query"),
            Self::QueryNamed(name) => write!(f, "query:{name}"),
            Self::Path => f.write_str("path"),
            Self::Body => f.write_str("body"),
            Self::BodyJson(path) => write!(f, "body:json:{path}"),
            Self::BodyForm(name) => write!(f, "body:form:{name}"),
            Self::BodyMultipart(name) => write!(f, "body:multipart:{name}"),
        }
    }
}

/// Why a text is no location.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// Not a word we know.
    #[error(
        "{0:?} is no place to swap; there are header, header:NAME, basic, websocket, query, query:NAME, path, body, \
         body:json:PATH, body:form:NAME and body:multipart:NAME"
    )]
    Unknown(String),
    /// What follows `header:` is no field name.
    #[error("the name after header: is no header field's: {0}")]
    Name(InvalidHeaderName),
    /// Nothing follows the colon.
    #[error("{place} needs a name after the colon")]
    NoName {
        /// The place, with its colon.
        place: &'static str,
    },
    /// What follows `body:json:` is no path.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A secret there would change how the message is read, or is dropped on the way.
    #[error("header:{0} cannot hold a secret: it frames or routes the message, or ends at this proxy")]
    Framing(HeaderName),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(location: &str, name: &str) -> bool {
        Location::parse(location).unwrap().admits_field(&HeaderName::try_from(name).unwrap())
    }

    #[test]
    fn words_are_read_and_written_back() {
        for text in [
            "header",
            "header:x-api-key",
            "basic",
            "websocket",
            "query",
            "query:api key",
            "path",
            "body",
            "body:json:a.b[0].*",
            "body:json:/a/b~1c/0",
            "body:form:token",
            "body:multipart:a:b",
        ] {
            assert_eq!(Location::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Location::parse("header:X-API-Key").unwrap().to_string(), "header:x-api-key");
        for text in [
            "",
            "Header",
            "header:",
            "header:a b",
            "query:",
            "path:a",
            "body:",
            "body:json",
            "body:json:",
            "body:form:",
            "body:xml:a",
            "basic:",
            " header",
            "WebSocket",
            "websocket:text",
            "aws-sigv4",
        ] {
            assert!(Location::parse(text).is_err(), "{text}");
        }
        assert!(
            Location::parse("cookie")
                .unwrap_err()
                .to_string()
                .contains("header:NAME, basic, websocket, query")
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
        for name in ["host", "Content-Length", "proxy-authorization", "connection", "te", "range", "upgrade"]
        {
            let text = format!("header:{name}");
            assert!(matches!(Location::parse(&text), Err(LocationError::Framing(_))), "{name}");
            let built = Location::HeaderNamed(HeaderName::try_from(name).unwrap());
            assert!(!built.admits_field(&HeaderName::try_from(name).unwrap()));
        }
    }
}
