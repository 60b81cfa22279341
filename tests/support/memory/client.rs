//! The guest's HTTPS client: DNS, TCP, TLS that trusts the sandbox's CA, HTTP/1.1 or HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Bed;
use super::origin::LocalExecutor;
use crate::canary::{Canary, Tapped};
use crate::guest::GuestStream;

/// A version of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Http {
    One,
    Two,
}

impl Http {
    /// Its name in ALPN.
    pub(crate) fn alpn(self) -> &'static [u8] {
        match self {
            Self::One => b"http/1.1",
            Self::Two => b"h2",
        }
    }
}

/// How a guest begins TLS.
pub(crate) struct Offer(pub(crate) ClientConfig);

impl Offer {
    /// Trusts `pem` and speaks `versions`; offers no ALPN yet.
    pub(crate) fn trusting(pem: &str, versions: &[&'static SupportedProtocolVersion]) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(config)
    }

    pub(crate) fn alpn(mut self, names: &[&[u8]]) -> Self {
        self.0.alpn_protocols = names.iter().map(|name| name.to_vec()).collect();
        self
    }

    pub(crate) fn without_sni(mut self) -> Self {
        self.0.enable_sni = false;
        self
    }
}

impl Bed {
    /// What a guest of this sandbox trusts, with every version of TLS.
    pub(crate) fn offer(&self) -> Offer {
        Offer::trusting(self.sandbox().ca_cert_pem(), ALL_VERSIONS)
    }

    /// A TCP connection to a name.
    pub(crate) async fn tcp(&self, host: &str, port: u16) -> io::Result<Tapped<GuestStream>> {
        let to = SocketAddr::new(self.address(host).await, port);
        let inner = self.guest.connect(to).await?;
        Ok(self.canary.tapped("a TCP stream", inner))
    }

    /// TLS with a name at 443.
    pub(crate) async fn tls(&self, host: &str, offer: Offer) -> io::Result<TlsStream<Tapped<GuestStream>>> {
        self.tls_with(host, Arc::new(offer.0)).await
    }

    /// The same with a configuration that remembers sessions.
    pub(crate) async fn tls_with(
        &self,
        host: &str,
        config: Arc<ClientConfig>,
    ) -> io::Result<TlsStream<Tapped<GuestStream>>> {
        let stream = self.tcp(host, 443).await?;
        TlsConnector::from(config).connect(ServerName::try_from(host.to_owned()).unwrap(), stream).await
    }

    /// An HTTPS connection; the sandbox must have agreed to `http`.
    pub(crate) async fn https(&self, http: Http, host: &str) -> Client {
        let stream = self.tls(host, self.offer().alpn(&[http.alpn()])).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(http.alpn()));
        self.client(http, stream, ("https", host)).await
    }

    /// A plain HTTP/1.1 connection to port 80.
    pub(crate) async fn http(&self, host: &str) -> Client {
        let stream = self.tcp(host, 80).await.unwrap();
        self.client(Http::One, stream, ("http", host)).await
    }

    /// HTTP on any stream.
    pub(crate) async fn client<S>(
        &self,
        http: Http,
        stream: S,
        (scheme, host): (&'static str, &str),
    ) -> Client
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let io = TokioIo::new(self.canary.tapped("the inside of TLS", stream));
        let sender = match http {
            Http::One => {
                let (sender, conn) = http1::handshake(io).await.unwrap();
                tokio::task::spawn_local(conn);
                Sender::One(sender)
            }
            Http::Two => {
                let (sender, conn) = http2::handshake(LocalExecutor, io).await.unwrap();
                tokio::task::spawn_local(conn);
                Sender::Two(sender)
            }
        };
        Client { sender, scheme, host: host.to_owned(), canary: self.canary.clone() }
    }
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// One HTTP connection of a guest.
pub(crate) struct Client {
    sender: Sender,
    scheme: &'static str,
    host: String,
    canary: Canary,
}

impl Client {
    /// GET with these fields.
    pub(crate) async fn get(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let host = self.host.clone();
        self.get_for(&host, path, fields).await
    }

    /// GET for an authority that may not be the connection's.
    pub(crate) async fn get_for(&mut self, authority: &str, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.send("GET", (authority, path), fields, Bytes::new()).await
    }

    pub(crate) async fn post(
        &mut self,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let host = self.host.clone();
        self.send("POST", (&host, path), fields, body.into()).await
    }

    async fn send(
        &mut self,
        method: &str,
        target: (&str, &str),
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> Answer {
        let head = self.begin(method, target, fields, body).await.unwrap();
        self.finish(head).await
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn begin(
        &mut self,
        method: &str,
        (authority, path): (&str, &str),
        fields: &[(&str, &str)],
        body: Bytes,
    ) -> hyper::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        match &mut self.sender {
            Sender::One(sender) => {
                let request = request.uri(path).header("host", authority).body(Full::new(body)).unwrap();
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                let uri = format!("{}://{authority}{path}", self.scheme);
                sender.ready().await?;
                sender.send_request(request.uri(uri).body(Full::new(body)).unwrap()).await
            }
        }
    }

    /// Reads the rest of an answer.
    pub(crate) async fn finish(&self, head: Response<Incoming>) -> Answer {
        let (parts, mut body) = head.into_parts();
        let mut answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body: Vec::new(),
            chunks: 0,
            trailers: HeaderMap::new(),
            end: End::Clean,
        };
        while let Some(frame) = body.frame().await {
            match frame.map(Frame::into_data) {
                Ok(Ok(data)) => {
                    answer.chunks += 1;
                    answer.body.extend_from_slice(&data);
                }
                Ok(Err(frame)) => answer.trailers = frame.into_trailers().unwrap(),
                Err(_) => {
                    answer.end = End::Broken;
                    break;
                }
            }
        }
        answer.check(&self.canary);
        answer
    }
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) chunks: usize,
    pub(crate) trailers: HeaderMap,
    pub(crate) end: End,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    Clean,
    Broken,
}

impl Answer {
    /// A field of the header; empty where there is none.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// Asserts a refusal of the sandbox's own: its status, its error type, and a word of its text.
    pub(crate) fn assert_refused(&self, status: u16, error: &str, text: &str) {
        let proxy_status = self.field("proxy-status");
        assert_eq!(self.status, status, "{self:?}");
        assert!(proxy_status.starts_with(&format!("portcullis; error={error};")), "{proxy_status}");
        assert!(self.text().contains(text), "{text:?} is not in {:?}", self.text());
        assert_eq!(self.end, End::Clean);
    }

    /// HPACK hides values from a look at the stream.
    fn check(&self, canary: &Canary) {
        for (name, value) in self.headers.iter().chain(&self.trailers) {
            canary.check("a field name", name.as_str().as_bytes());
            canary.check("a field", value.as_bytes());
        }
        canary.check("a body", &self.body);
    }
}
