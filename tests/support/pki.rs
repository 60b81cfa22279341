//! The test PKI of `certs/`, as test servers use it. Not for anything outside of tests: its keys are public.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, SupportedProtocolVersion};

/// A file of `certs/`.
pub(crate) fn path(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "certs", file].iter().collect()
}

/// A server that shows `certs/{certificate}.pem`, speaks `versions`, and chooses from `alpn`.
///
/// The certificates are those of `certs/README.md`: `good`, `other`, `wrong-name`, `expired`, `not-yet`,
/// `self-signed`, `self-signed-ca`, `untrusted`.
pub(crate) fn server_config(
    certificate: &str,
    versions: &[&'static SupportedProtocolVersion],
    alpn: &[&[u8]],
) -> ServerConfig {
    let chain = vec![CertificateDer::from_pem_file(path(&format!("{certificate}.pem"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(path("server.key")).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config
}
