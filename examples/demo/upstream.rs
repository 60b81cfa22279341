//! The demo's real server: it remembers what it saw, and answers with an echo of the token.

use std::convert::Infallible;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use http::{Request, Response};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::Failure;

/// `api.example.com`'s certificate and key of the test PKI; public, so good for nothing else.
const CERTIFICATE: &[u8] = include_bytes!("../../certs/good.pem");
const KEY: &[u8] = include_bytes!("../../certs/server.key");
/// Requests that are remembered at most.
const REMEMBERED: usize = 16;

/// One request, as the server saw it.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Method, URL and version.
    pub(crate) request: String,
    /// The field `authorization`.
    pub(crate) authorization: String,
}

/// Serves HTTP/2 over TLS on `listener`, on a thread of its own, until the process ends.
pub(crate) fn start(listener: TcpListener) -> Result<Receiver<Seen>, Failure> {
    let (seen, receiver) = sync_channel(REMEMBERED);
    listener.set_nonblocking(true)?;
    let acceptor = TlsAcceptor::from(Arc::new(tls_config()?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    std::thread::Builder::new().spawn(move || {
        if let Err(error) = runtime.block_on(serve(listener, &acceptor, &seen)) {
            crate::complain(&format!("the upstream failed: {error}"));
        }
    })?;
    Ok(receiver)
}

async fn serve(
    listener: TcpListener,
    acceptor: &TlsAcceptor,
    seen: &SyncSender<Seen>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, _) = listener.accept().await?;
        // A client that breaks off is its own business, and told by what it did not get.
        let Ok(()) = stream.set_nodelay(true) else { continue };
        let Ok(stream) = acceptor.accept(stream).await else { continue };
        let seen = seen.clone();
        let service = service_fn(move |request| respond(request, seen.clone()));
        let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = connection.serve_connection(TokioIo::new(stream), service).await;
    }
}

async fn respond(
    request: Request<Incoming>,
    seen: SyncSender<Seen>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let authorization = request.headers().get("authorization").map(|value| value.as_bytes());
    let authorization = String::from_utf8_lossy(authorization.unwrap_or_default()).into_owned();
    let body = format!("{{\"error\": \"quota exceeded for '{authorization}'\"}}\n");
    let request = format!("{} {} {:?}", request.method(), request.uri(), request.version());
    // More than the demo asks for would show in what is remembered already.
    let _ = seen.try_send(Seen { request, authorization });
    Ok(Response::new(Full::new(body.into())))
}

fn tls_config() -> Result<rustls::ServerConfig, Failure> {
    let chain = CertificateDer::pem_slice_iter(CERTIFICATE).collect::<Result<_, _>>()?;
    let mut config = rustls::ServerConfig::builder_with_provider(portcullis::tls::provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(KEY)?)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}
