//! What the guest does, wherever it is: two HTTPS requests over HTTP/2, and a report.
//!
//! It knows nothing of Portcullis. It trusts the certificates it was given and no other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::{Failure, HOST, OTHER};

/// How long the guest tries at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// All that the guest knows at the end.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Report {
    /// The value of its variable.
    pub(crate) token: String,
    /// Its request to the host that may have the secret.
    pub(crate) allowed: Exchange,
    /// Its request to another host.
    pub(crate) denied: Exchange,
}

/// One request and its answer, as the guest sent and got them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Exchange {
    /// Method, URL and version.
    pub(crate) request: String,
    /// The field `authorization` that was sent.
    pub(crate) authorization: String,
    /// The answer's status.
    pub(crate) status: u16,
    /// The answer's body.
    pub(crate) body: String,
}

/// Makes both requests, each on a connection of its own that `connect` opens to port 443 of a host.
pub(crate) async fn tour<S>(
    connect: impl AsyncFn(&str) -> io::Result<S>,
    trust: &str,
    token: &str,
) -> Result<Report, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let tls = TlsConnector::from(Arc::new(trusting(trust)?));
    let both = async {
        let stream = connect(HOST).await?;
        let allowed = exchange(stream, &tls, HOST, token).await?;
        let stream = connect(OTHER).await?;
        let denied = exchange(stream, &tls, OTHER, token).await?;
        Ok(Report { token: token.to_owned(), allowed, denied })
    };
    let gave_up = |_| Failure::from(format!("the guest had no answer after {} seconds", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, both).await.map_err(gave_up)?
}

/// One request over TLS and HTTP/2; the same whatever carries the bytes.
async fn exchange<S>(stream: S, tls: &TlsConnector, host: &str, token: &str) -> Result<Exchange, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let stream = tls.connect(ServerName::try_from(host.to_owned())?, stream).await?;
    let (mut sender, connection) = hyper::client::conn::http2::handshake(Local, TokioIo::new(stream)).await?;
    tokio::task::spawn_local(connection);

    let url = format!("https://{host}/v1/models");
    let mut request = Request::get(&url).body(Empty::<Bytes>::new())?;
    let mut authorization = String::new();
    // A placeholder on its way to a host that may not have the secret would be a denial for that reason.
    if host == HOST {
        authorization = format!("Bearer {token}");
        request.headers_mut().insert("authorization", authorization.parse()?);
    }
    let response = sender.send_request(request).await?;
    let (version, status): (_, StatusCode) = (response.version(), response.status());
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Exchange {
        request: format!("GET {url} {version:?}"),
        authorization,
        status: status.as_u16(),
        body: String::from_utf8(body.into())?.trim_end().to_owned(),
    })
}

fn trusting(pem: &str) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>()?;
    roots.add_parsable_certificates(certificates);
    let mut config = ClientConfig::builder_with_provider(portcullis::tls::provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Runs hyper's own tasks on this thread: the stream of the in-memory guest cannot leave it.
#[derive(Clone, Copy, Debug)]
struct Local;

impl<F> hyper::rt::Executor<F> for Local
where
    F: Future + 'static,
    F::Output: 'static,
{
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
