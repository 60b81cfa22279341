//! The certificates a guest is shown, minted when a name is first asked for.
//!
//! It decides for no name whether it may be asked for, and accepts no connection. Minting takes tens of
//! microseconds on the sandbox's only thread, so two flows never mint one name at once. Invariant: a leaf
//! names exactly one host or address, lives at most a day, and its session tickets open no other name's sessions.

use std::cell::RefCell;
use std::collections::hash_map::RandomState;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use lru::LruCache;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{Ticketer, sign};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use time::OffsetDateTime;

use super::ca::{BACKDATE, CertificateAuthority, named, serial};
use super::verified::wire_list;
use super::{Alpn, provider};
use crate::limits::Limits;
use crate::name::HostName;

/// The most [`Limits::leaf_life`] may be.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 3600);

/// ALPN of DNS over TLS ([RFC 7858 §6](https://www.rfc-editor.org/rfc/rfc7858#section-6)).
const DOT: &[u8] = b"dot";

/// Longest common name ([RFC 5280 appendix A.1](https://www.rfc-editor.org/rfc/rfc5280#appendix-A.1)).
const MAX_COMMON_NAME: usize = 64;

/// One sandbox's leaves: one key for all, at most [`Limits::leaves`] kept, the least recently used dropped first.
pub struct Leaves {
    ca: Arc<CertificateAuthority>,
    key: KeyPair,
    signer: Arc<dyn SigningKey>,
    provider: Arc<CryptoProvider>,
    life: Duration,
    kept: RefCell<LruCache<Subject, Leaf, RandomState>>,
}

/// Whom a leaf names.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Subject {
    /// A host.
    Host(HostName),
    /// An address, for clients that were given no name ([RFC 7858 §3.2]).
    ///
    /// [RFC 7858 §3.2]: https://www.rfc-editor.org/rfc/rfc7858#section-3.2
    Addr(IpAddr),
}

/// A leaf ready to be served. The configuration lacks only its ALPN, and owns the key of its tickets.
struct Leaf {
    fresh: Range<OffsetDateTime>,
    config: ServerConfig,
}

impl Leaves {
    /// Makes the leaf key; mints nothing yet.
    pub fn new(ca: Arc<CertificateAuthority>, limits: &Limits) -> Result<Self, LeafError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialized_der()));
        let signer = sign::any_ecdsa_type(&der)?;
        let room = NonZeroUsize::new(limits.leaves).unwrap_or(NonZeroUsize::MIN);
        // std's hasher: the guest picks the names.
        let kept = RefCell::new(LruCache::with_hasher(room, RandomState::new()));
        Ok(Self { ca, key, signer, provider: provider(), life: limits.leaf_life.min(LONGEST_LIFE), kept })
    }

    /// How to serve `host` at `wall`, negotiating one of `alpn`, the first that the guest offers too.
    ///
    /// An empty `alpn` negotiates nothing. A guest that offers ALPN but none of `alpn` is refused in the
    /// handshake. The leaf is minted now unless a kept one is still good for a while.
    pub fn server_config(
        &self,
        host: &HostName,
        alpn: &[Alpn],
        wall: SystemTime,
    ) -> Result<Arc<ServerConfig>, LeafError> {
        self.serving_as(Subject::Host(host.clone()), wire_list(alpn), wall)
    }

    /// How to serve DNS over TLS as `subject` at `wall`. A guest that offers ALPN but not `dot` is refused in the
    /// handshake.
    pub(crate) fn dns_config(
        &self,
        subject: Subject,
        wall: SystemTime,
    ) -> Result<Arc<ServerConfig>, LeafError> {
        self.serving_as(subject, vec![DOT.to_vec()], wall)
    }

    fn serving_as(
        &self,
        subject: Subject,
        alpn: Vec<Vec<u8>>,
        wall: SystemTime,
    ) -> Result<Arc<ServerConfig>, LeafError> {
        let now = OffsetDateTime::from(wall);
        let mut kept = self.kept.borrow_mut();
        let mut config = match kept.get(&subject) {
            Some(leaf) if leaf.fresh.contains(&now) => leaf.config.clone(),
            Some(_) | None => {
                let leaf = self.mint(&subject, now)?;
                let config = leaf.config.clone();
                kept.put(subject, leaf);
                config
            }
        };
        config.alpn_protocols = alpn;
        Ok(Arc::new(config))
    }

    fn mint(&self, subject: &Subject, now: OffsetDateTime) -> Result<Leaf, LeafError> {
        let (validity, fresh) = self.window(now)?;
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial()?);
        params.not_before = validity.start;
        params.not_after = validity.end;
        let (name, common) = match subject {
            Subject::Host(host) => (SanType::DnsName(host.as_str().try_into()?), host.to_string()),
            Subject::Addr(addr) => (SanType::IpAddress(*addr), addr.to_string()),
        };
        params.distinguished_name =
            if common.len() <= MAX_COMMON_NAME { named(&common) } else { DistinguishedName::new() };
        params.subject_alt_names = vec![name];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = self.ca.sign(&params, &self.key)?;
        let shown = CertifiedKey::new(vec![certificate.into()], Arc::clone(&self.signer));
        Ok(Leaf { fresh, config: self.serving(shown)? })
    }

    fn serving(&self, shown: CertifiedKey) -> Result<ServerConfig, LeafError> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
        // Our order of cipher suites: guest and host are one machine, with the same AES instructions.
        config.ignore_client_order = true;
        // Tickets keep their state at the guest, so a guest cannot fill our memory with sessions.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new()?;
        config.send_tls13_tickets = 1;
        Ok(config)
    }

    /// What the certificate says, and the shorter time in which it is served.
    ///
    /// Both ends of a certificate's validity belong to it, hence the second less.
    fn window(
        &self,
        now: OffsetDateTime,
    ) -> Result<(Range<OffsetDateTime>, Range<OffsetDateTime>), LeafError> {
        let margin = BACKDATE.min(self.life / 4);
        let start = now - margin;
        let end = (start + self.life - Duration::from_secs(1)).min(self.ca.not_after());
        if end <= now {
            return Err(LeafError::CaExpired);
        }
        Ok((start..end, start..end - margin))
    }

    /// How many leaves are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.borrow().len()
    }
}

/// Why there is no leaf.
#[derive(Debug, thiserror::Error)]
pub enum LeafError {
    /// The system gave no random bytes.
    #[error("no random bytes for a leaf: {0}")]
    Random(#[from] getrandom::Error),
    /// Key or certificate could not be made.
    #[error("the leaf could not be made: {0}")]
    Certificate(#[from] rcgen::Error),
    /// rustls would not serve it.
    #[error("the leaf could not be served: {0}")]
    Serving(#[from] rustls::Error),
    /// The clock is past the end of the sandbox's CA.
    #[error("the sandbox's CA has expired: it has run for years, or the clock jumped")]
    CaExpired,
}

#[cfg(test)]
mod tests;
