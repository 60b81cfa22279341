//! Key pairs that sign requests and are never sent: from the sandbox's book to [`super::aws`] and back.
//!
//! The parts of a pair are secrets like any other, with placeholders that the guest signs with and values that are
//! scrubbed; they are swapped nowhere. Invariant: a request is signed with a real key only toward a
//! [`VerifiedPeer`] that may have it.

use std::sync::Arc;

use http::request::Parts;

use super::aws::{self, AwsError, Claimed, Keys, Payload, Proven};
use super::book::Book;
use super::elsewhere::Elsewhere;
use super::inject::{InjectError, Injection};
use super::location::Location;
use super::spec::{Entry, SecretHost, SecretSpec};
use super::value::SecretValue;
use crate::tls::VerifiedPeer;

/// An AWS key pair as configured.
///
/// It has no `Debug`: it holds the values.
pub struct AwsKeySpec {
    /// What the guest's variables begin with: `AWS` for `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
    /// `AWS_SESSION_TOKEN`.
    pub name: String,
    /// The access key id.
    pub access_key_id: SecretValue,
    /// The secret access key.
    pub secret_access_key: SecretValue,
    /// The session token of temporary credentials.
    pub session_token: Option<SecretValue>,
    /// The hosts to which requests are signed.
    pub hosts: Vec<SecretHost>,
}

/// What the names of a pair's parts end in.
const PARTS: [&str; 3] = ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"];

impl AwsKeySpec {
    /// The pair's parts, each a secret of its own.
    #[must_use]
    pub fn into_parts(self) -> Vec<SecretSpec> {
        let Self { name, access_key_id, secret_access_key, session_token, hosts } = self;
        let values = [Some(access_key_id), Some(secret_access_key), session_token];
        let part = |(suffix, value): (&str, Option<SecretValue>)| {
            Some(SecretSpec {
                name: format!("{name}_{suffix}"),
                value: value?,
                hosts: hosts.clone(),
                swap: vec![Location::Signature],
                shape: None,
                elsewhere: Elsewhere::default(),
                max_per_request: None,
            })
        };
        PARTS.into_iter().zip(values).filter_map(part).collect()
    }
}

/// A pair by the indexes of its parts in the book.
#[derive(Clone)]
pub(super) struct Pair {
    name: String,
    id: usize,
    secret: usize,
    token: Option<usize>,
}

impl Pair {
    /// The pair whose parts' names begin with `name`, where there are such.
    pub(super) fn named(name: &str, entries: &[Entry]) -> Option<Self> {
        let at = |suffix: &str| {
            let part = format!("{name}_{suffix}");
            entries.iter().position(|entry| entry.name == part)
        };
        let [id, secret, token] = PARTS.map(at);
        Some(Self { name: name.to_owned(), id: id?, secret: secret?, token })
    }

    /// The pair, each part as `side` has it.
    fn keys<'a>(&self, entries: &'a [Entry], side: impl Fn(&'a Entry) -> &'a [u8]) -> Option<Keys<'a>> {
        let part = |at: usize| entries.get(at).map(&side);
        Some(Keys { id: part(self.id)?, secret: part(self.secret)?, token: self.token.and_then(part) })
    }

    /// Refuses a pair of which a part was revoked or has expired.
    fn admit(&self, entries: &[Entry]) -> Result<(), InjectError> {
        let mut parts = [self.id, self.secret].into_iter().chain(self.token);
        parts.find_map(|part| entries.get(part)?.refusal()).map_or(Ok(()), Err)
    }
}

/// Why a request that names the guest's key is not sent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SignError {
    /// It is not signed as it says.
    #[error("the request claims to be signed with the keys of secret {secret}, but {cause}")]
    Claim {
        /// The pair's name.
        secret: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A part of the pair was revoked or has expired.
    #[error(transparent)]
    Part(#[from] InjectError),
}

impl SignError {
    fn claim(secret: String, cause: &AwsError) -> Self {
        Self::Claim { secret, cause: cause.to_string() }
    }
}

/// A request that says that it is signed with one of the sandbox's pairs, toward a host that may have it.
pub struct Signing {
    book: Arc<Book>,
    pair: usize,
    claimed: Claimed,
}

impl Signing {
    pub(super) fn claimed(
        book: &Arc<Book>,
        peer: &VerifiedPeer,
        parts: &Parts,
    ) -> Result<Option<Self>, SignError> {
        for (at, pair) in book.pairs().iter().enumerate() {
            let Some(entry) = book.entries().get(pair.id) else { continue };
            if !entry.may_go(peer.name(), peer.port()) {
                continue;
            }
            let claimed = aws::claim(parts, entry.placeholder.as_bytes());
            let claimed = claimed.map_err(|cause| SignError::claim(pair.name.clone(), &cause))?;
            if let Some(claimed) = claimed {
                pair.admit(book.entries())?;
                return Ok(Some(Self { book: Arc::clone(book), pair: at, claimed }));
            }
        }
        Ok(None)
    }

    /// Whether the signature covers a hash of the body that the request does not say.
    #[must_use]
    pub fn needs_body(&self) -> bool {
        *self.claimed.payload() == Payload::Body
    }

    /// Proves the signature to be the guest's own, over the request as it came; `authority` is its host, and
    /// `body` all of its body where [`Signing::needs_body`].
    pub fn prove(self, parts: &Parts, authority: &str, body: &[u8]) -> Result<Resigning, SignError> {
        let Self { book, pair, claimed } = self;
        let hash = (*claimed.payload() == Payload::Body).then(|| aws::hash(body));
        let own = book.pairs().get(pair);
        let guest = own.and_then(|own| own.keys(book.entries(), |entry| entry.placeholder.as_bytes()));
        let name = own.map(|own| own.name.clone()).unwrap_or_default();
        let proven = guest
            .ok_or(AwsError::Mismatch)
            .and_then(|guest| claimed.prove(parts, authority, &guest, hash.as_deref()))
            .map_err(|cause| SignError::claim(name, &cause))?;
        Ok(Resigning { book, pair, proven })
    }
}

/// A request that is to be signed with the real keys before it goes on.
pub struct Resigning {
    book: Arc<Book>,
    pair: usize,
    proven: Proven,
}

impl Resigning {
    /// What is recorded of it.
    #[must_use]
    pub fn injection(&self) -> Injection {
        let secret = self.book.pairs().get(self.pair).map(|pair| pair.name.clone()).unwrap_or_default();
        Injection { secret, place: Location::Signature.to_string() }
    }

    /// Signs the request as it goes on, to the host `authority`.
    pub fn sign(self, parts: &mut Parts, authority: &str) -> Result<(), SignError> {
        let Self { book, pair, proven } = self;
        let own = book.pairs().get(pair);
        let real = own.and_then(|own| own.keys(book.entries(), |entry| entry.value.expose()));
        let name = own.map(|own| own.name.clone()).unwrap_or_default();
        real.ok_or(AwsError::Keys)
            .and_then(|real| proven.sign(parts, authority, &real))
            .map_err(|cause| SignError::claim(name, &cause))
    }
}
