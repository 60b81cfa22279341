//! Placeholders become secrets in a request.
//!
//! Only what the guest wrote is replaced: nothing is added, so no other credential of the guest is touched.
//! One pass, never recursive. Invariant: an [`Injector`] comes from a [`VerifiedPeer`] alone, and writes no
//! secret but those that may go to that peer's name and port.

use std::sync::Arc;

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, IF_RANGE, RANGE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::basic::Basic;
use super::book::Book;
use super::patterns::Hit;
use super::replace::substitute;
use super::spec::Entry;
use super::text::TextSecrets;
use crate::name::HostName;
use crate::tls::VerifiedPeer;

/// Puts the secrets of now into a request to a verified upstream.
pub struct Injector {
    book: Arc<Book>,
    /// By index of the secret: whether it may go to the peer.
    allowed: Vec<bool>,
    /// The peer, where a secret that may go to it was revoked or has expired.
    refused_at: Option<(HostName, u16)>,
    /// Whether the peer's name may know any secret, at whatever port.
    host_of_secrets: bool,
}

/// One secret that was put into one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Injection {
    /// The secret's name.
    pub secret: String,
    /// The place, in the words of `swap`: `header:authorization`, `basic`.
    pub place: String,
}

/// Why a secret could not be written where its placeholder stands.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InjectError {
    /// The field would no longer be one.
    #[error("secret {secret} cannot stand in {place}: the header field would not be valid")]
    Field {
        /// The secret's name.
        secret: String,
        /// The place.
        place: String,
    },
    /// It was taken back.
    #[error("secret {secret} was revoked; a new value brings it back: portcullis secrets rotate {secret}")]
    Revoked {
        /// The secret's name.
        secret: String,
    },
    /// Its value is worth nothing any more.
    #[error(
        "the value of secret {secret} has expired and its source gives no other; see the log of portcullis, try again later"
    )]
    Expired {
        /// The secret's name.
        secret: String,
    },
    /// The secret's colon would end the user name early (RFC 7617 §2).
    #[error("secret {secret} contains ':' and cannot be a user name in Basic credentials")]
    BasicUser {
        /// The secret's name.
        secret: String,
    },
}

impl Injector {
    pub(super) fn new(book: Arc<Book>, peer: &VerifiedPeer) -> Self {
        let may_go = |entry: &&Entry| entry.may_go(peer.name(), peer.port());
        let allowed = book.entries().iter().map(|entry| may_go(&entry) && entry.life.is_live()).collect();
        let has_refusals = book.entries().iter().filter(may_go).any(|entry| !entry.life.is_live());
        let host_of_secrets = book.may_be_known_at(peer.name());
        let refused_at = has_refusals.then(|| (peer.name().clone(), peer.port()));
        Self { book, allowed, refused_at, host_of_secrets }
    }

    /// Whether any secret may go to this peer.
    #[must_use]
    pub fn may_inject(&self) -> bool {
        self.allowed.contains(&true)
    }

    /// Replaces the placeholders that stand where their secrets may, and tells which and where.
    ///
    /// A request to a host of secrets asks for the `identity` coding, so that the answer can be scrubbed; one
    /// that carries a secret loses `Range` and `If-Range`, since a slice of an echo is no match. On an error
    /// the request is as it was.
    pub fn inject(&self, parts: &mut Parts) -> Result<Vec<Injection>, InjectError> {
        let mut injections = Vec::new();
        self.refuse(parts)?;
        if self.may_inject() {
            let swap = |(name, value)| self.swap(name, value, &mut injections);
            let swapped = parts.headers.iter().map(swap).collect::<Result<Vec<_>, _>>()?;
            for (value, swapped) in parts.headers.values_mut().zip(swapped) {
                if let Some(swapped) = swapped {
                    *value = swapped;
                }
            }
        }
        if self.host_of_secrets {
            ask_for_identity(&mut parts.headers);
        }
        if !injections.is_empty() {
            parts.headers.remove(RANGE);
            parts.headers.remove(IF_RANGE);
        }
        Ok(injections)
    }

    /// Refuses a request that would carry a secret that was revoked or has expired.
    fn refuse(&self, parts: &Parts) -> Result<(), InjectError> {
        let Some((host, port)) = &self.refused_at else { return Ok(()) };
        for (name, value) in &parts.headers {
            let text = value.as_bytes();
            let basic = Some(text).filter(|_| name == AUTHORIZATION).and_then(Basic::parse);
            let in_field = self.book.find(text).filter(|(_, entry)| entry.swaps_in_field(name));
            let credentials = basic.as_ref().map(Basic::credentials).unwrap_or_default();
            let in_basic = self.book.find(credentials).filter(|(_, entry)| entry.swaps_in_basic());
            let mut owned = in_field.chain(in_basic).filter(|(_, entry)| entry.may_go(host, *port));
            if let Some(refusal) = owned.find_map(|(_, entry)| entry.refusal()) {
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// What may go into the text messages of a WebSocket to this peer; `None` where nothing may.
    #[must_use]
    pub fn websocket(&self) -> Option<Arc<TextSecrets>> {
        let entries = self.book.entries().iter().zip(&self.allowed);
        let secrets: Vec<_> = entries
            .filter(|(entry, allowed)| **allowed && entry.swaps_in_websocket())
            .map(|(entry, _)| (entry.name.as_str(), entry.placeholder.as_bytes(), entry.value.expose()))
            .collect();
        // Of placeholders that cannot be searched for none is replaced.
        (!secrets.is_empty()).then(|| TextSecrets::new(&secrets).ok()).flatten().map(Arc::new)
    }

    /// One field's value with its secrets; `None` where there is none to write.
    fn swap(
        &self,
        name: &HeaderName,
        value: &HeaderValue,
        injections: &mut Vec<Injection>,
    ) -> Result<Option<HeaderValue>, InjectError> {
        let text = value.as_bytes();
        let found = self.find(text, |entry| entry.swaps_in_field(name));
        if !found.is_empty() {
            let place = format!("header:{name}");
            return self.write(&substitute(text, &values(&found)), &found, place, injections).map(Some);
        }
        if name != AUTHORIZATION {
            return Ok(None);
        }
        let Some(basic) = Basic::parse(text) else { return Ok(None) };
        let found = self.find(basic.credentials(), Entry::swaps_in_basic);
        if found.is_empty() {
            return Ok(None);
        }
        keeps_user(basic.credentials(), &found)?;
        let value = basic.with(&substitute(basic.credentials(), &values(&found)));
        self.write(&value, &found, "basic".to_owned(), injections).map(Some)
    }

    fn find(&self, text: &[u8], swaps: impl Fn(&Entry) -> bool) -> Vec<(Hit, &Entry)> {
        let allowed = |hit: &Hit| self.allowed.get(hit.pattern).copied().unwrap_or_default();
        self.book.find(text).filter(|(hit, entry)| allowed(hit) && swaps(entry)).collect()
    }

    fn write(
        &self,
        value: &[u8],
        found: &[(Hit, &Entry)],
        place: String,
        injections: &mut Vec<Injection>,
    ) -> Result<HeaderValue, InjectError> {
        for (_, entry) in found {
            let injection = Injection { secret: entry.name.clone(), place: place.clone() };
            if !injections.contains(&injection) {
                injections.push(injection);
            }
        }
        let mut value = HeaderValue::from_bytes(value).map_err(|_| {
            let secret = found.first().map(|(_, entry)| entry.name.clone()).unwrap_or_default();
            InjectError::Field { secret, place }
        })?;
        // Never indexed by HPACK, nor shown by Debug.
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Asks for a body that can be read as it comes, in place of whatever the guest would take.
pub(super) fn ask_for_identity(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

fn values<'a>(found: &[(Hit, &'a Entry)]) -> Vec<(Hit, &'a [u8])> {
    found.iter().map(|(hit, entry)| (*hit, entry.value.expose())).collect()
}

/// Refuses a secret with a colon before the credentials' own first colon.
fn keeps_user(credentials: &[u8], found: &[(Hit, &Entry)]) -> Result<(), InjectError> {
    let Some(colon) = credentials.iter().position(|byte| *byte == b':') else { return Ok(()) };
    let splits = |(hit, entry): &&(Hit, &Entry)| hit.start < colon && entry.value.expose().contains(&b':');
    match found.iter().find(splits) {
        Some((_, entry)) => Err(InjectError::BasicUser { secret: entry.name.clone() }),
        None => Ok(()),
    }
}
