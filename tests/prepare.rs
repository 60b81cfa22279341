//! What a sandbox needs to be prepared, and what it refuses before it starts.

use std::path::PathBuf;
use std::process::Command;

use portcullis::config::Config;
use portcullis::sandbox::{Prepared, Sandbox, StartError};
use portcullis::secret::{SecretSpec, SecretValue};

/// Says to the first test that it is the process in which there are none.
const INNER: &str = "PORTCULLIS_TEST_WITHOUT_ROOTS";

fn prepare(upstream_ca: &[&str]) -> Result<Prepared, StartError> {
    let certs: PathBuf = [env!("CARGO_MANIFEST_DIR"), "certs"].iter().collect();
    let upstream_ca = upstream_ca.iter().map(|file| certs.join(file)).collect();
    Sandbox::builder().config(Config { upstream_ca, ..Config::default() }).prepare()
}

/// The roots are found through the environment, which a process must not change once it has threads; so this
/// test runs itself in an environment where they are nowhere.
#[test]
fn without_system_roots_an_upstream_ca_is_enough_and_none_is_told() {
    if std::env::var_os(INNER).is_none() {
        let inner = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "without_system_roots_an_upstream_ca_is_enough_and_none_is_told"])
            .env(INNER, "1")
            .env("SSL_CERT_FILE", "/nonexistent/ca.pem")
            .env("SSL_CERT_DIR", "/nonexistent")
            .output()
            .unwrap();
        assert!(inner.status.success(), "{}", String::from_utf8_lossy(&inner.stdout));
        return;
    }
    let prepared = prepare(&["ca.pem"]).unwrap();
    let count = |pem: &str| pem.matches("-----BEGIN CERTIFICATE-----").count();
    assert_eq!(count(prepared.ca_cert_pem()), 1);
    assert_eq!(count(&prepared.bundle_pem()), 2, "the operator's and the sandbox's");
    let error = prepare(&[]).err().unwrap().to_string();
    assert!(error.contains("ca-certificates") && error.contains("--upstream-ca"), "{error}");
}

#[test]
fn a_secret_of_the_embedders_on_a_pass_through_host_does_not_start() {
    let config =
        Config::parse("[net]\nallow = ['*.a.example']\n[tls]\npassthrough = ['*.a.example']").unwrap();
    let value = SecretValue::new(b"canary-0123456789".to_vec()).unwrap();
    let secret = SecretSpec::new("TOKEN", value, &["api.a.example"]).unwrap();
    let error = Sandbox::builder().config(config).secret(secret).prepare().err().unwrap().to_string();
    assert!(error.contains("secret TOKEN could never be injected there"), "{error}");
}
