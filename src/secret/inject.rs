//! Placeholders become secrets in a request.
//!
//! Only what the guest wrote is replaced: nothing is added, so no other credential of the guest is touched.
//! One pass, never recursive. Invariant: an [`Injector`] comes from a [`VerifiedPeer`] alone, and writes no
//! secret but those that may go to that peer's name and port.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, IF_RANGE, RANGE};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::basic::Basic;
use super::book::Book;
use super::elsewhere::Reaction;
use super::location::Location;
use super::patterns::Hit;
use super::places::{Kind, query_name};
use super::replace::substitute;
use super::spec::Entry;
use super::spelling::Spelling;
use super::stream::{InjectStream, Rules};
use super::tally::{Tally, Uses};
use super::text::TextSecrets;
use super::walk::{FormWalk, Walk};
use crate::limits::Limits;
use crate::tls::VerifiedPeer;

/// Puts the secrets of now into one request to a verified upstream.
///
/// It counts what it puts in, so another request takes another one.
pub struct Injector {
    pub(super) tally: Rc<Tally>,
    /// By index of the secret: whether it is for the peer. Where it was revoked or has expired, what would have it
    /// is refused.
    pub(super) allowed: Vec<bool>,
    /// Whether the peer's name may know any secret, at whatever port.
    host_of_secrets: bool,
}

/// One secret that was put into one place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Injection {
    /// The secret's name.
    pub secret: String,
    /// The place, in the words of `swap`: `header:authorization`, `basic`, `body:json:/key`.
    pub place: String,
}

/// Why a request with a placeholder cannot go on as it stands.
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
    /// What the place is part of could not be read any more.
    #[error("secret {secret} cannot stand in {place}: it is no text, or has the body's own boundary in it")]
    Uncarriable {
        /// The secret's name.
        secret: String,
        /// The place.
        place: String,
    },
    /// The URL would be longer than any may be.
    #[error("the URL would be too long with its secrets in it")]
    Target,
    /// More of one secret than its `max_per_request`.
    #[error("the request has the placeholder of secret {secret} more often than max_per_request = {most}")]
    TooOften {
        /// The secret's name.
        secret: String,
        /// How often it may be.
        most: u32,
    },
    /// A placeholder in a body toward a host that may not have its secret.
    #[error("the placeholder of secret {secret} (body) may not go there")]
    Misplaced {
        /// The secret's name.
        secret: String,
        /// What is to be done about it: it is denied, or the sandbox ends.
        reaction: Reaction,
    },
}

impl Injector {
    pub(super) fn new(book: Arc<Book>, peer: &VerifiedPeer) -> Self {
        let allowed = book.entries().iter().map(|entry| entry.may_go(peer.name(), peer.port())).collect();
        let host_of_secrets = book.may_be_known_at(peer.name());
        Self { tally: Rc::new(Tally { book, uses: Uses::default() }), allowed, host_of_secrets }
    }

    /// One that puts nothing in and only watches.
    pub(super) fn without_peer(book: Arc<Book>) -> Self {
        let allowed = vec![false; book.entries().len()];
        Self { tally: Rc::new(Tally { book, uses: Uses::default() }), allowed, host_of_secrets: false }
    }

    /// The same for more of a request that had so many of each secret before.
    #[must_use]
    pub fn after(self, uses: Uses) -> Self {
        let book = Arc::clone(&self.tally.book);
        Self { tally: Rc::new(Tally { book, uses }), ..self }
    }

    /// How often each secret was put into the request; it goes on counting.
    #[must_use]
    pub fn uses(&self) -> Uses {
        self.tally.uses.clone()
    }

    /// Whether any secret is for this peer.
    #[must_use]
    pub fn may_inject(&self) -> bool {
        self.allowed.contains(&true)
    }

    /// Replaces the placeholders of the head that stand where their secrets may, and tells which and where.
    ///
    /// A request to a host of secrets asks for the `identity` coding, so that the answer can be scrubbed; one
    /// that carries a secret loses `Range` and `If-Range`, since a slice of an echo is no match. On an error
    /// the request is as it was.
    pub fn inject(&self, parts: &mut Parts) -> Result<Vec<Injection>, InjectError> {
        let mut injections = Vec::new();
        if self.may_inject() {
            let swap = |(name, value)| self.swap(name, value, &mut injections);
            let swapped = parts.headers.iter().map(swap).collect::<Result<Vec<_>, _>>()?;
            let target = self.target(&parts.uri, &mut injections)?;
            for (value, swapped) in parts.headers.values_mut().zip(swapped) {
                if let Some(swapped) = swapped {
                    *value = swapped;
                }
            }
            if let Some(target) = target {
                parts.uri = target;
            }
        }
        if self.host_of_secrets {
            ask_for_identity(&mut parts.headers);
        }
        if !injections.is_empty() {
            lose_range(&mut parts.headers);
        }
        Ok(injections)
    }

    /// What is for the text messages of a WebSocket to this peer; `None` where nothing is.
    #[must_use]
    pub fn websocket(&self) -> Option<Rc<TextSecrets>> {
        let entries = self.tally.book.entries().iter().zip(&self.allowed).enumerate();
        let (indexes, secrets): (Vec<_>, Vec<_>) = entries
            .filter(|(_, (entry, allowed))| **allowed && entry.swaps_in_websocket())
            .map(|(at, (entry, _))| {
                (at, (entry.name.as_str(), entry.placeholder.as_bytes(), entry.value.expose()))
            })
            .unzip();
        if secrets.is_empty() {
            return None;
        }
        let tally = Rc::clone(&self.tally);
        let count = move |at: usize| indexes.get(at).map_or(Ok(()), |secret| tally.count(*secret));
        // Of placeholders that cannot be searched for none is replaced.
        TextSecrets::new(&secrets, count).ok().map(Rc::new)
    }

    /// What the body has to go through; `None` where nothing is done about what it may hold.
    ///
    /// To be asked of the head as it goes upstream. Where a secret may come to stand in the body, the head loses
    /// `Range` and `If-Range`: the body is not read before it is sent.
    pub fn body(&self, parts: &mut Parts, limits: &Limits) -> Option<InjectStream> {
        let rules = self.body_rules(&Kind::of(&parts.headers), limits)?;
        let stream = InjectStream::new(rules, Rc::clone(&self.tally));
        if stream.may_inject() {
            lose_range(&mut parts.headers);
        }
        Some(stream)
    }

    /// The URL with its secrets; `None` where there is none to write.
    fn target(&self, uri: &Uri, injections: &mut Vec<Injection>) -> Result<Option<Uri>, InjectError> {
        let Some(text) = uri.path_and_query().map(PathAndQuery::as_str) else { return Ok(None) };
        let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
        let new_path = self.rewritten(path, self.path_rules(), injections)?;
        let new_query = match query {
            Some(query) => self.rewritten(query, self.query_rules(), injections)?,
            None => None,
        };
        if new_path.is_none() && new_query.is_none() {
            return Ok(None);
        }
        let mut target = new_path.unwrap_or_else(|| Bytes::copy_from_slice(path.as_bytes())).to_vec();
        if let Some(query) = query {
            target.push(b'?');
            target.extend_from_slice(new_query.as_deref().unwrap_or(query.as_bytes()));
        }
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::try_from(target).map_err(|_| InjectError::Target)?);
        Uri::from_parts(parts).map(Some).map_err(|_| InjectError::Target)
    }

    fn path_rules(&self) -> Option<Rules> {
        self.rules(Spelling::Percent, Walk::Whole, vec![Location::Path], Vec::new())
    }

    fn query_rules(&self) -> Option<Rules> {
        let (mut places, names) = self.named(query_name);
        places.insert(0, Location::Query);
        self.rules(Spelling::Percent, Walk::Form(FormWalk::new(&names)), places, Vec::new())
    }

    /// A text that is all there, with its secrets; `None` where there is none to write.
    fn rewritten(
        &self,
        text: &str,
        rules: Option<Rules>,
        injections: &mut Vec<Injection>,
    ) -> Result<Option<Bytes>, InjectError> {
        let Some(rules) = rules else { return Ok(None) };
        let mut stream = InjectStream::new(rules, Rc::clone(&self.tally));
        let head = stream.push(Bytes::copy_from_slice(text.as_bytes()))?;
        let tail = stream.finish()?;
        let news = stream.news();
        if news.is_empty() {
            return Ok(None);
        }
        injections.extend(news);
        Ok(Some(if tail.is_empty() { head } else { [head, tail].concat().into() }))
    }

    /// One field's value with its secrets; `None` where there is none to write.
    fn swap(
        &self,
        name: &HeaderName,
        value: &HeaderValue,
        injections: &mut Vec<Injection>,
    ) -> Result<Option<HeaderValue>, InjectError> {
        let text = value.as_bytes();
        let found = self.find(text, |entry| entry.swaps_in_field(name))?;
        if !found.is_empty() {
            let place = format!("header:{name}");
            return self.write(&substitute(text, &values(&found)), &found, place, injections).map(Some);
        }
        if name != AUTHORIZATION {
            return Ok(None);
        }
        let Some(basic) = Basic::parse(text) else { return Ok(None) };
        let found = self.find(basic.credentials(), Entry::swaps_in_basic)?;
        if found.is_empty() {
            return Ok(None);
        }
        keeps_user(basic.credentials(), &found)?;
        let value = basic.with(&substitute(basic.credentials(), &values(&found)));
        self.write(&value, &found, "basic".to_owned(), injections).map(Some)
    }

    fn find(&self, text: &[u8], swaps: impl Fn(&Entry) -> bool) -> Result<Vec<(Hit, &Entry)>, InjectError> {
        let allowed = |hit: &Hit| self.allowed.get(hit.pattern).copied().unwrap_or_default();
        let found: Vec<_> =
            self.tally.book.find(text).filter(|(hit, entry)| allowed(hit) && swaps(entry)).collect();
        found.iter().try_for_each(|(hit, _)| self.tally.count(hit.pattern))?;
        Ok(found)
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

/// A slice of an echo would be no match.
fn lose_range(headers: &mut HeaderMap) {
    headers.remove(RANGE);
    headers.remove(IF_RANGE);
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
