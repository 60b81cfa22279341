//! Where programs look for certificate authorities, and what they find there in the sandbox.
//!
//! Names and paths only; `mounts` puts the files in place. Invariant: a variable or path that replaces the
//! system's bundle gets the merged bundle, never our CA alone.

use std::path::{Path, PathBuf};

/// Directory of the sandbox's own files; a read-only tmpfs, gone with the sandbox.
pub const DIRECTORY: &str = "/run/portcullis";
/// Our CA alone.
pub const CA: &str = "/run/portcullis/ca.pem";
/// The system's CAs and ours.
pub const BUNDLE: &str = "/run/portcullis/bundle.pem";

/// Variables whose file is added to the program's own roots.
pub const ADDING: &[&str] = &["NODE_EXTRA_CA_CERTS"];

/// Variables whose file replaces the program's own roots.
pub const REPLACING: &[&str] = &[
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "AWS_CA_BUNDLE",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "DENO_CERT",
    "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NIX_SSL_CERT_FILE",
    "npm_config_cafile",
];

/// The distributions' bundles. Debian's directory of hashed links is left as it is: OpenSSL asks the file
/// first.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",     // Debian, Arch, Alpine, NixOS
    "/etc/ssl/certs/ca-bundle.crt",           // NixOS, older Fedora
    "/etc/ssl/cert.pem",                      // Alpine, Arch
    "/etc/ssl/ca-bundle.pem",                 // SUSE
    "/var/lib/ca-certificates/ca-bundle.pem", // SUSE
    "/etc/pki/tls/certs/ca-bundle.crt",       // Fedora
    "/etc/pki/tls/cert.pem",                  // Fedora
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // Fedora
    "/etc/ca-certificates/extracted/tls-ca-bundle.pem", // Arch
    "/usr/lib/ssl/cert.pem",                  // OpenSSL's own default on Debian
    "/usr/local/etc/ssl/cert.pem",            // OpenSSL built by hand
];

/// The files that hold the system's bundle on this host, each once, links resolved.
pub(super) fn system_bundles() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for bundle in BUNDLES.iter().filter_map(|path| Path::new(path).canonicalize().ok()) {
        if bundle.is_file() && !found.contains(&bundle) {
            found.push(bundle);
        }
    }
    found
}
