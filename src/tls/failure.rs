//! Why an upstream could not be spoken to over TLS, and what the guest is told.
//!
//! Causes are told apart once, here; the reactions are pure functions beside the enum. Invariant: no text
//! holds anything but our own words and fixed names of errors, and none is empty.

use std::io;

use http::StatusCode;
use rustls::{AlertDescription, CertificateError, PeerMisbehaved};

/// Why there is no verified upstream. Its text is one line, fit for the guest.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `notAfter` has passed.
    #[error("the upstream's certificate has expired")]
    Expired,
    /// `notBefore` has not come.
    #[error("the upstream's certificate is not valid yet")]
    NotYetValid,
    /// Its names do not include the one asked for.
    #[error("the upstream's certificate is for another name")]
    WrongName,
    /// No trusted root stands behind it; self-signed certificates end here too.
    #[error("the upstream's certificate comes from no issuer trusted here (--upstream-ca FILE adds one)")]
    UnknownIssuer,
    /// No root that is named for this host stands behind it.
    #[error(
        "the upstream's certificate comes from no issuer that is trusted for this host ([[upstream]] ca)"
    )]
    OtherIssuer,
    /// Any other fault of the certificate; one that is its own CA is among them.
    #[error("the upstream's certificate was not accepted: {}", certificate_fault(.0))]
    BadCertificate(CertificateError),
    /// The upstream ended the handshake with an alert.
    #[error("the upstream ended the TLS handshake with the alert {0:?}")]
    Alert(AlertDescription),
    /// No protocol that the guest offered is spoken there, or one was chosen that was not offered.
    #[error("the upstream speaks no application protocol that was offered (ALPN)")]
    Alpn,
    /// The upstream broke the protocol, or has no version or cipher suite in common with us.
    #[error("the TLS handshake with the upstream failed: {0}")]
    Protocol(rustls::Error),
    /// The handshake took longer than [`Limits::handshake`](crate::limits::Limits::handshake).
    #[error("the upstream did not finish the TLS handshake in time")]
    Timeout,
    /// The upstream closed the connection during the handshake.
    #[error("the upstream closed the connection during the TLS handshake")]
    Closed,
    /// The socket failed during the handshake.
    #[error("the connection to the upstream failed during the TLS handshake: {0}")]
    Io(io::ErrorKind),
    /// The permit was given for another name than the one to be verified; a fault of ours, and nothing was sent.
    #[error("the connection was permitted for another name")]
    NotPermitted,
    /// The name cannot stand in a certificate.
    #[error("the name is none that a certificate can be verified for")]
    Name,
}

impl ConnectError {
    /// The status of a local answer to the guest.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Expired
            | Self::NotYetValid
            | Self::WrongName
            | Self::UnknownIssuer
            | Self::OtherIssuer
            | Self::BadCertificate(_)
            | Self::Alert(_)
            | Self::Alpn
            | Self::Protocol(_)
            | Self::Closed
            | Self::Io(_)
            | Self::NotPermitted
            | Self::Name => StatusCode::BAD_GATEWAY,
        }
    }

    /// The error token of `proxy-status` ([RFC 9209 §2.3](https://www.rfc-editor.org/rfc/rfc9209#section-2.3)).
    #[must_use]
    pub fn proxy_status(&self) -> &'static str {
        match self {
            Self::Expired
            | Self::NotYetValid
            | Self::WrongName
            | Self::UnknownIssuer
            | Self::OtherIssuer
            | Self::BadCertificate(_)
            | Self::Name => "tls_certificate_error",
            Self::Alert(_) => "tls_alert_received",
            Self::Alpn | Self::Protocol(_) => "tls_protocol_error",
            Self::Timeout => "connection_timeout",
            Self::Closed | Self::Io(_) => "connection_terminated",
            Self::NotPermitted => "proxy_internal_error",
        }
    }

    /// Whether the upstream proved to be someone else, or nobody: what a log should not pass over.
    #[must_use]
    pub fn is_distrust(&self) -> bool {
        self.proxy_status() == "tls_certificate_error"
    }
}

impl From<io::Error> for ConnectError {
    /// Tells apart what tokio-rustls folds into one error.
    fn from(error: io::Error) -> Self {
        match rustls_cause(&error) {
            Some(cause) => Self::from(cause),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Io(error.kind()),
        }
    }
}

impl From<rustls::Error> for ConnectError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an enum of rustls, which grows")]
    fn from(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(cause) => Self::from(cause),
            rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)
            | rustls::Error::NoApplicationProtocol
            | rustls::Error::PeerMisbehaved(PeerMisbehaved::SelectedUnofferedApplicationProtocol) => {
                Self::Alpn
            }
            rustls::Error::AlertReceived(alert) => Self::Alert(alert),
            other => Self::Protocol(other),
        }
    }
}

impl From<CertificateError> for ConnectError {
    #[expect(clippy::wildcard_enum_match_arm, reason = "an enum of rustls, which grows")]
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            other => Self::BadCertificate(other),
        }
    }
}

/// The error of rustls inside one of tokio-rustls'.
pub(super) fn rustls_cause(error: &io::Error) -> Option<rustls::Error> {
    error.get_ref()?.downcast_ref::<rustls::Error>().cloned()
}

/// The fixed name of a fault, without what the certificate itself says.
fn certificate_fault(error: &CertificateError) -> String {
    let text =
        if let CertificateError::Other(inner) = error { inner.to_string() } else { format!("{error:?}") };
    text.chars().take_while(|char| char.is_ascii_alphanumeric()).collect::<String>()
}
