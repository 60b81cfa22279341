//! What upstream certificates are verified against.
//!
//! The system's roots and the operator's files; never a sandbox's CA, which is in neither. Invariant: a
//! [`Roots`] is not empty, and every file the operator named is in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

/// Trusted roots, read once and shared.
#[derive(Clone, Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// The system's roots and those of the PEM files `extra`.
    ///
    /// A system certificate that cannot be used is passed over; a file of `extra` must be whole.
    pub fn system(extra: &[PathBuf]) -> Result<Self, TlsConfigError> {
        let found = rustls_native_certs::load_native_certs();
        let mut store = RootCertStore::empty();
        let mut certificates = found.certs;
        store.add_parsable_certificates(certificates.iter().cloned());
        certificates.extend(add_files(&mut store, extra)?);
        if store.is_empty() {
            let cause = found.errors.first().map_or_else(|| "none found".to_owned(), ToString::to_string);
            return Err(TlsConfigError::NoRoots { cause });
        }
        Ok(Self { store: Arc::new(store), certificates })
    }

    /// Only those of the PEM `files`, which are at least one.
    pub fn only(files: &[PathBuf]) -> Result<Self, TlsConfigError> {
        let mut store = RootCertStore::empty();
        let certificates = add_files(&mut store, files)?;
        if store.is_empty() {
            return Err(TlsConfigError::NoRoots { cause: "no file given".to_owned() });
        }
        Ok(Self { store: Arc::new(store), certificates })
    }

    /// All of them as a PEM bundle, for a guest's trust store.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let mut bundle = String::new();
        for certificate in &self.certificates {
            bundle.push_str("-----BEGIN CERTIFICATE-----\n");
            let text = STANDARD.encode(certificate);
            for line in text.as_bytes().chunks(PEM_LINE) {
                bundle.extend(line.iter().copied().map(char::from));
                bundle.push('\n');
            }
            bundle.push_str("-----END CERTIFICATE-----\n");
        }
        bundle
    }

    pub(super) fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }
}

/// Characters on a line of PEM ([RFC 7468 §2](https://www.rfc-editor.org/rfc/rfc7468#section-2)).
const PEM_LINE: usize = 64;

type Certificates = Vec<CertificateDer<'static>>;

fn add_files(store: &mut RootCertStore, files: &[PathBuf]) -> Result<Certificates, TlsConfigError> {
    let mut added = Vec::new();
    for path in files {
        added.extend(add_file(store, path)?);
    }
    Ok(added)
}

fn add_file(store: &mut RootCertStore, path: &Path) -> Result<Certificates, TlsConfigError> {
    let pem =
        fs::read(path).map_err(|source| TlsConfigError::Unreadable { path: path.to_owned(), source })?;
    let mut added = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let usable = certificate.ok().filter(|der| store.add(der.clone()).is_ok());
        added.push(usable.ok_or_else(|| TlsConfigError::BadCertificate { path: path.to_owned() })?);
    }
    if added.is_empty() {
        return Err(TlsConfigError::NoCertificate { path: path.to_owned() });
    }
    Ok(added)
}

/// Why upstreams cannot be verified; nothing starts with one of these.
#[derive(Debug, thiserror::Error)]
pub enum TlsConfigError {
    /// Nothing to verify against.
    #[error(
        "no trusted root certificates ({cause}): install the system's (package ca-certificates) or name a file with --upstream-ca"
    )]
    NoRoots {
        /// What the system said.
        cause: String,
    },
    /// A file of the operator's cannot be read.
    #[error("cannot read the upstream CA file {}: {source}; name a PEM file that this user can read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file of the operator's has no certificate.
    #[error("no PEM certificate in the upstream CA file {}; name one with -----BEGIN CERTIFICATE-----", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file of the operator's has something that is no usable certificate.
    #[error("a certificate in the upstream CA file {} is damaged or no X.509 certificate; get the file anew from who made it", path.display())]
    BadCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file of a client's certificate or key cannot be read.
    #[error("cannot read the file {} of a client certificate: {source}; name a PEM file that this user can read", path.display())]
    UnreadableClient {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no certificate where a client's should be.
    #[error("no PEM certificate in {}, the client_cert of an [[upstream]]; name one with -----BEGIN CERTIFICATE-----", path.display())]
    NoClientCertificate {
        /// The file.
        path: PathBuf,
    },
    /// There is no key where a client's should be.
    #[error("no usable key in {}, the client_key of an [[upstream]]; name a PEM file with a private key that is not encrypted", path.display())]
    NoClientKey {
        /// The file.
        path: PathBuf,
    },
    /// A certificate and a key that are of no use together.
    #[error("the certificate {} and the key {} are of no use together: {cause}; see that they are a pair", chain.display(), key.display())]
    ClientPair {
        /// The file of the certificate.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What rustls says.
        cause: Box<rustls::Error>,
    },
    /// rustls refuses our parameters.
    #[error("TLS cannot be set up: {0}")]
    Rustls(#[from] rustls::Error),
}
