//! The sandbox's own certificate authority.
//!
//! A P-256 key that never leaves memory and dies with the sandbox, and the certificate the guest is told to
//! trust. It signs leaves and nothing else. Invariant: two sandboxes share neither key, name nor identifier.

use std::fmt;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

/// How far certificates reach into the past, for guests whose clock is behind.
pub(super) const BACKDATE: Duration = Duration::from_secs(3600);

/// Life of the CA certificate: longer than any sandbox runs, so that it never ends first. The key is gone
/// when the sandbox ends, so a nearer date would protect nothing.
const LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Octets of a serial number: 128 bits, of which two are fixed.
const SERIAL: usize = 16;

/// Key and certificate that sign a sandbox's leaves.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
    pem: String,
    not_after: OffsetDateTime,
}

impl CertificateAuthority {
    /// Makes a new one, valid from an hour before `wall`.
    pub fn new(wall: SystemTime) -> Result<Self, CaError> {
        let not_before = OffsetDateTime::from(wall) - BACKDATE;
        let not_after = not_before + LIFE;
        let mut id = [0; 8];
        getrandom::fill(&mut id)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&format!("Portcullis sandbox {:016x}", u64::from_be_bytes(id)));
        params.serial_number = Some(serial()?);
        params.not_before = not_before;
        params.not_after = not_after;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.self_signed(&key)?;
        let pem = certificate.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate, pem, not_after })
    }

    /// The certificate, for the guest's trust store.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The certificate in DER.
    #[must_use]
    pub fn der(&self) -> &CertificateDer<'static> {
        self.certificate.der()
    }

    /// When it ends; no leaf may end later.
    pub(super) fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// Signs a leaf.
    pub(super) fn sign(&self, leaf: &CertificateParams, key: &KeyPair) -> Result<Certificate, rcgen::Error> {
        leaf.signed_by(key, &self.issuer)
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("pem", &self.pem).finish_non_exhaustive()
    }
}

/// A subject with a common name and nothing else.
pub(super) fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

/// A random serial number, positive and always of 16 octets: the sign bit clear, the next one set.
pub(super) fn serial() -> Result<SerialNumber, getrandom::Error> {
    let mut octets = [0; SERIAL];
    getrandom::fill(&mut octets)?;
    octets[0] = octets[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&octets))
}

/// Why there is no certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The system gave no random bytes.
    #[error("no random bytes for the sandbox's CA: {0}")]
    Random(#[from] getrandom::Error),
    /// Key or certificate could not be made.
    #[error("the sandbox's CA could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
}
