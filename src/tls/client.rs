//! What we show upstreams that want to know their client, and how rustls is told of all that differs by host.
//!
//! Invariant: sessions are remembered by each distinct set of roots, certificate and versions for itself, so that none
//! begun with one is resumed with another.

use std::fs;
use std::path::Path;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, SupportedProtocolVersion};
use zeroize::Zeroizing;

use super::{Roots, TlsConfigError, provider};
use crate::limits::Limits;
use crate::upstream::{ClientCertificate, MinTls, Options};

/// What most upstreams are met with: these roots, no certificate of ours, TLS 1.2 or 1.3.
pub(super) fn usual(roots: &Roots, limits: &Limits) -> Result<ClientConfig, TlsConfigError> {
    config(roots, (MinTls::Tls12, None), limits)
}

/// What `options` say; `roots` where they name none.
pub(super) fn special(
    roots: &Roots,
    options: &Options,
    limits: &Limits,
) -> Result<ClientConfig, TlsConfigError> {
    let rest = (options.min_tls, options.client.as_ref());
    if options.ca.is_empty() {
        config(roots, rest, limits)
    } else {
        config(&Roots::only(&options.ca)?, rest, limits)
    }
}

fn config(
    roots: &Roots,
    (min_tls, client): (MinTls, Option<&ClientCertificate>),
    limits: &Limits,
) -> Result<ClientConfig, TlsConfigError> {
    let versions: &[&SupportedProtocolVersion] = match min_tls {
        MinTls::Tls12 => &[&TLS13, &TLS12],
        MinTls::Tls13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_root_certificates(roots.store());
    let mut config = match client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let (chain, key) = (chain(&client.chain)?, key(&client.key)?);
            builder.with_client_auth_cert(chain, key).map_err(|cause| TlsConfigError::ClientPair {
                chain: client.chain.clone(),
                key: client.key.clone(),
                cause: Box::new(cause),
            })?
        }
    };
    config.resumption = Resumption::in_memory_sessions(limits.upstream_sessions);
    Ok(config)
}

fn chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) | Err(_) => Err(TlsConfigError::NoClientCertificate { path: path.to_owned() }),
    }
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsConfigError> {
    let pem = read(path)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsConfigError::NoClientKey { path: path.to_owned() })
}

/// The file, which is wiped after use: it may hold a key.
fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsConfigError> {
    let unreadable = |source| TlsConfigError::UnreadableClient { path: path.to_owned(), source };
    fs::read(path).map(Zeroizing::new).map_err(unreadable)
}
