//! Why a request got no answer, and what the guest is told of it.
//!
//! Pure: it reads an error of hyper's and what the exchange knows, and sends nothing. Invariant: a guest's own fault
//! is never put on its upstream.

use std::error::Error as _;
use std::time::Duration;

use ::h2::Reason;
use http::StatusCode;
use rustls::AlertDescription;

use super::deny::Refusal;
use super::watch::Progress;
use crate::name::HostName;

/// Whether a request that failed had begun to go upstream.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Sent {
    No,
    Perhaps,
}

/// Why a guest gets no answer of its upstream.
pub(super) enum Ending {
    Denied(Refusal),
    Failed(Refusal),
    Abandoned(Abandoned),
}

/// The request was not processed and may be sent again: h1 closes the connection, h2 refuses the stream.
#[derive(Debug, thiserror::Error)]
#[error("the upstream was gone before the request")]
pub(super) struct Abandoned(#[from] ::h2::Error);

impl Ending {
    /// The upstream did nothing about the request, and the guest may send it again.
    pub(super) fn unprocessed() -> Self {
        Self::Abandoned(Abandoned(Reason::REFUSED_STREAM.into()))
    }
}

impl From<Refusal> for Ending {
    fn from(refusal: Refusal) -> Self {
        Self::Denied(refusal)
    }
}

/// How an exchange ends that no answer came for.
pub(super) fn ending(error: &hyper::Error, host: &HostName, progress: &Progress) -> Ending {
    if progress.is_broken() || progress.is_stalled() {
        return of_the_guest(progress);
    }
    if is_unprocessed(error) {
        return Ending::unprocessed();
    }
    Ending::Failed(if error.is_parse_too_large() {
        let text = format!("the header fields of {host}'s answer are too large");
        Refusal::bad_gateway("http_response_header_section_size", text)
    } else if error.is_parse() {
        Refusal::bad_gateway("http_protocol_error", format!("{host} answered with something that is no HTTP"))
    } else {
        gone(host)
    })
}

/// How an exchange ends whose request's body failed.
pub(super) fn of_the_guest(progress: &Progress) -> Ending {
    if let Some(refusal) = progress.refusal() {
        return Ending::Denied(refusal);
    }
    if progress.is_stalled() {
        let text = "the request's body stalled";
        return Ending::Failed(Refusal::new(StatusCode::REQUEST_TIMEOUT, "connection_read_timeout", text));
    }
    Ending::Failed(Refusal::bad_request("the request's body broke off"))
}

/// The upstream's connection ended before it answered.
pub(super) fn gone(host: &HostName) -> Refusal {
    Refusal::bad_gateway("connection_terminated", format!("{host} closed the connection before it answered"))
}

/// The upstream ended its TLS with an alert before it answered. What it wants of its client's certificate it may say only
/// now (RFC 8446 §4.4.2.4).
pub(super) fn alerted(host: &HostName, alert: AlertDescription) -> Refusal {
    let asks = matches!(alert, AlertDescription::CertificateRequired);
    let advice = if asks { "; give it a client certificate with [[upstream]] client_cert" } else { "" };
    let text = format!("{host} ended TLS with the alert {alert:?}{advice}");
    Refusal::bad_gateway("tls_alert_received", text)
}

/// The upstream did not begin to answer in time.
pub(super) fn unanswered(host: &HostName, limit: Duration) -> Refusal {
    let text = format!("{host} did not answer within {limit:?}");
    Refusal::gateway_timeout("http_response_timeout", text)
}

/// Whether an h2 upstream said that it did nothing about the request.
fn is_unprocessed(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(h2) = error.downcast_ref::<::h2::Error>() {
            let left_out = h2.is_go_away() && h2.reason() == Some(Reason::NO_ERROR);
            return h2.is_remote() && (h2.reason() == Some(Reason::REFUSED_STREAM) || left_out);
        }
        cause = error.source();
    }
    false
}
