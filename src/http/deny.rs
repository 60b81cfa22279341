//! What a guest is told when its request goes no further.
//!
//! A [`Refusal`] is a status, an error type of RFC 9209 and one line for a human, and where policy denied the request
//! what it had against it; this module makes the response of it. It decides nothing. Invariant: whatever text goes in,
//! one printable ASCII line comes out.

mod form;

use std::fmt::Write as _;
use std::rc::Rc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode, Version};
use serde::Serialize;

use super::body::GuestBody;
use super::watch::Progress;
use form::Form;

/// Why a request is not served, for the guest to read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    status: StatusCode,
    error: &'static str,
    text: String,
    weight: Weight,
    id: Option<String>,
    explanation: Option<Box<Explanation>>,
}

/// What stands in the way of a request that is denied.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Explanation {
    /// What was asked for.
    pub target: String,
    /// Why not, in one line.
    pub reason: String,
    /// The rule that decided.
    pub rule: String,
    /// The flag that would allow it; empty where none would.
    #[serde(rename = "allow_with", skip_serializing_if = "String::is_empty")]
    pub hint: String,
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
        let text = printable(text.as_ref());
        Self { status, error, text, weight: Weight::Request, id: None, explanation: None }
    }

    /// The same with what stands in the way.
    #[must_use]
    pub fn explained(self, explanation: Explanation) -> Self {
        let Explanation { target, reason, rule, hint } = explanation;
        let explanation = Explanation {
            target: printable(&target),
            reason: printable(&reason),
            rule: printable(&rule),
            hint: printable(&hint),
        };
        Self { explanation: Some(Box::new(explanation)), ..self }
    }

    /// The same under the name that its record has, where it has none yet.
    #[must_use]
    pub fn named(self, id: impl FnOnce() -> Option<String>) -> Self {
        Self { id: self.id.or_else(id), ..self }
    }

    /// The name of its record.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// What stands in the way, where that is known.
    #[must_use]
    pub fn explanation(&self) -> Option<&Explanation> {
        self.explanation.as_deref()
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

    /// Its text with its id.
    fn line(&self) -> String {
        match &self.id {
            Some(id) => format!("{} (denial {id})", self.text),
            None => self.text.clone(),
        }
    }

    /// The field `proxy-status` ([RFC 9209 §2]).
    ///
    /// [RFC 9209 §2]: https://www.rfc-editor.org/rfc/rfc9209#section-2
    #[must_use]
    pub fn proxy_status(&self) -> String {
        let line = self.line();
        let mut details = String::with_capacity(line.len());
        for char in line.chars() {
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

/// What the answer to a request depends on.
pub(super) struct Asked {
    pub(super) method: Method,
    pub(super) version: Version,
    form: Form,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        let form = Form::of(request.headers());
        Self { method: request.method().clone(), version: request.version(), form }
    }
}

/// The response that carries `refusal` to a request; it holds `progress` until it is out.
pub(super) fn response(refusal: &Refusal, asked: &Asked, progress: Rc<Progress>) -> Response<GuestBody> {
    let content = content(refusal, asked.form);
    let length = content.len();
    let content = if asked.method == Method::HEAD { Bytes::new() } else { content };
    let mut response = Response::new(GuestBody::whole(content, progress));
    *response.status_mut() = refusal.status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(asked.form.media_type()));
    fields.insert(CONTENT_LENGTH, HeaderValue::from(length));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(status) = HeaderValue::try_from(refusal.proxy_status()) {
        fields.insert("proxy-status", status);
    }
    if refusal.ends_connection() && asked.version < Version::HTTP_2 {
        fields.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// A refusal as `application/json`.
#[derive(Serialize)]
struct Told<'a> {
    /// `denied`, or the error type of RFC 9209.
    error: &'a str,
    #[serde(flatten)]
    more: More<'a>,
}

/// A refusal as `application/problem+json` ([RFC 9457 §3](https://www.rfc-editor.org/rfc/rfc9457#section-3)).
#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(flatten)]
    more: More<'a>,
}

#[derive(Serialize)]
struct More<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(flatten)]
    why: Why<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Why<'a> {
    Explained(&'a Explanation),
    Said { reason: &'a str },
}

fn content(refusal: &Refusal, form: Form) -> Bytes {
    let why = match refusal.explanation() {
        Some(explanation) => Why::Explained(explanation),
        None => Why::Said { reason: refusal.text() },
    };
    let more = More { id: refusal.id(), why };
    let is_denied = refusal.status == StatusCode::FORBIDDEN;
    let written = match form {
        Form::Text => return Bytes::from(refusal.line() + "\n"),
        Form::Json => {
            serde_json::to_vec(&Told { error: if is_denied { "denied" } else { refusal.error }, more })
        }
        Form::Problem => serde_json::to_vec(&Problem {
            title: refusal.status.canonical_reason().unwrap_or(refusal.error),
            status: refusal.status.as_u16(),
            detail: refusal.text(),
            more,
        }),
    };
    // Texts and numbers: nothing that JSON does not have.
    let mut written = written.unwrap_or_default();
    written.push(b'\n');
    written.into()
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
        for (form, length) in [(Form::Text, "3"), (Form::Json, "33"), (Form::Problem, "63")] {
            let asked = Asked { method: Method::HEAD, version: Version::HTTP_2, form };
            let response = response(&refusal, &asked, Rc::default());
            assert_eq!(response.headers()[CONTENT_LENGTH], length);
            assert_eq!(response.headers()[CONTENT_TYPE], form.media_type());
            assert!(hyper::body::Body::is_end_stream(response.body()));
        }
    }

    #[test]
    fn a_denial_says_the_same_in_every_form() {
        let explanation = Explanation {
            target: "a.example:443".into(),
            reason: "no \"rule\"\r\n".into(),
            rule: "default".into(),
            hint: "--allow a.example".into(),
        };
        let refusal = Refusal::denied("no").explained(explanation).named(|| Some("k3f9-1".into()));
        let refusal = refusal.named(|| unreachable!("it has an id"));
        let told = |form| String::from_utf8(content(&refusal, form).to_vec()).unwrap();
        assert_eq!(told(Form::Text), "no (denial k3f9-1)\n");
        assert!(refusal.proxy_status().ends_with("details=\"no (denial k3f9-1)\""));
        let why = r#""id":"k3f9-1","target":"a.example:443","reason":"no \"rule\"\\u{d}\\u{a}","rule":"default","allow_with":"--allow a.example"}"#;
        assert_eq!(told(Form::Json), format!("{{\"error\":\"denied\",{why}\n"));
        let problem = format!("{{\"title\":\"Forbidden\",\"status\":403,\"detail\":\"no\",{why}\n");
        assert_eq!(told(Form::Problem), problem);
    }

    #[test]
    fn quoted_text_is_cut_between_characters() {
        assert_eq!(cut("añb", 2), "a");
        assert_eq!(cut("ab", 5), "ab");
    }
}
