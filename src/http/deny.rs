//! What a guest is told when its request goes no further.
//!
//! A [`Refusal`] is a status, an error type of RFC 9209 and one line for a human; this module makes the
//! response of it. It decides nothing. Invariant: whatever text goes in, one printable ASCII line comes out.

use std::fmt::Write as _;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode, Version};

use super::body::GuestBody;
use super::watch::Progress;

/// Why a request is not served, for the guest to read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    status: StatusCode,
    error: &'static str,
    text: String,
    weight: Weight,
}

/// What a refusal comes to beyond the request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Weight {
    Request,
    Sandbox,
}

impl Refusal {
    /// Policy does not allow it: 403, `http_request_denied`.
    pub fn denied(text: impl AsRef<str>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "http_request_denied", text)
    }

    /// It is no request, or has more than one meaning: 400, `http_request_error`.
    pub fn bad_request(text: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "http_request_error", text)
    }

    /// It is meant for another origin than its connection: 421, `http_request_error`.
    pub fn misdirected(text: impl AsRef<str>) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "http_request_error", text)
    }

    /// The upstream failed: 502, with the [error type] that says how.
    ///
    /// [error type]: https://www.rfc-editor.org/rfc/rfc9209#section-2.3
    pub fn bad_gateway(error: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, error, text)
    }

    /// The upstream took too long: 504, with the error type that says at what.
    pub fn gateway_timeout(error: &'static str, text: impl AsRef<str>) -> Self {
        Self::new(StatusCode::GATEWAY_TIMEOUT, error, text)
    }

    /// Any other status, with its error type ([RFC 9209 §2.3]).
    ///
    /// [RFC 9209 §2.3]: https://www.rfc-editor.org/rfc/rfc9209#section-2.3
    pub fn new(status: StatusCode, error: &'static str, text: impl AsRef<str>) -> Self {
        Self { status, error, text: printable(text.as_ref()), weight: Weight::Request }
    }

    /// The same for a request that ends its sandbox.
    #[must_use]
    pub fn that_ends_the_sandbox(self) -> Self {
        Self { weight: Weight::Sandbox, ..self }
    }

    /// Whether the sandbox is to end.
    #[must_use]
    pub fn ends_the_sandbox(&self) -> bool {
        self.weight == Weight::Sandbox
    }

    /// The status answered.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The error type of `proxy-status`.
    #[must_use]
    pub fn error(&self) -> &'static str {
        self.error
    }

    /// One printable line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The field `proxy-status` ([RFC 9209 §2]).
    ///
    /// [RFC 9209 §2]: https://www.rfc-editor.org/rfc/rfc9209#section-2
    #[must_use]
    pub fn proxy_status(&self) -> String {
        let mut details = String::with_capacity(self.text.len());
        for char in self.text.chars() {
            if matches!(char, '"' | '\\') {
                details.push('\\');
            }
            details.push(char);
        }
        format!("portcullis; error={}; details=\"{details}\"", self.error)
    }

    /// Whether what came after the request on the same h1 connection is better not read.
    fn ends_connection(&self) -> bool {
        matches!(self.status, StatusCode::BAD_REQUEST | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    }
}

/// The response that carries `refusal` to a request of `method` in `version`; it holds `progress` until it is out.
pub(super) fn response(
    refusal: &Refusal,
    method: &Method,
    version: Version,
    progress: Rc<Progress>,
) -> Response<GuestBody> {
    let line = format!("{}\n", refusal.text);
    let length = line.len();
    let content = if *method == Method::HEAD { Bytes::new() } else { Bytes::from(line) };
    let body = GuestBody::whole(content, progress);
    let mut response = Response::new(body);
    *response.status_mut() = refusal.status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(status) = HeaderValue::try_from(refusal.proxy_status()) {
        fields.insert("proxy-status", status);
    }
    if refusal.ends_connection() && version < Version::HTTP_2 {
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// `text` on one line of printable ASCII, the rest escaped as in a string of Rust.
fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            ' '..='~' => line.push(char),
            other => drop(write!(line, "{}", other.escape_unicode())),
        }
    }
    line
}

/// The start of a guest's text, at most `limit` octets.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_guest_wrote_the_line_is_one_and_printable() {
        let refusal = Refusal::misdirected("host \"a\\b\"\r\nSet-Cookie: x\0é");
        assert_eq!(refusal.text(), r#"host "a\b"\u{d}\u{a}Set-Cookie: x\u{0}\u{e9}"#);
        assert!(HeaderValue::try_from(refusal.proxy_status()).is_ok());
    }

    #[test]
    fn details_are_a_string_of_structured_fields() {
        let refusal = Refusal::denied(r#"say "no" with \"#);
        assert_eq!(
            refusal.proxy_status(),
            r#"portcullis; error=http_request_denied; details="say \"no\" with \\""#
        );
    }

    #[test]
    fn a_refused_head_has_no_body_and_says_how_long_it_would_be() {
        let refusal = Refusal::denied("no");
        let response = response(&refusal, &Method::HEAD, Version::HTTP_2, Rc::default());
        assert_eq!(response.headers()[CONTENT_LENGTH], "3");
        assert!(hyper::body::Body::is_end_stream(response.body()));
    }

    #[test]
    fn quoted_text_is_cut_between_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("ab", 5), "ab");
    }
}
