//! The secrets of a running sandbox: the [`Book`] of now, and the next one in its place.
//!
//! Whoever needs secrets takes the book that is there, once a request: a change is seen by the next request of
//! any connection, and never by half a request. Invariant: a placeholder stands for the same secret for as long
//! as the sandbox lives.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::SystemTime;

use super::book::Book;
use super::detect::Misplaced;
use super::inject::Injector;
use super::life::{Hand, Loaded, Origins, RotateError, Rotation, SecretState, SecretStatus};
use super::placeholder::Placeholder;
use super::renewal::Renewal;
use super::scrub::Scrubber;
use super::signing::{SignError, Signing};
use super::spec::{Entry, SecretError, SecretSpec};
use crate::limits::Limits;
use crate::name::{HostName, Origin};
use crate::tls::VerifiedPeer;

/// The secrets of one sandbox.
///
/// It has no `Debug`: it holds the values.
pub struct Secrets {
    /// Held for as long as it takes to clone or replace the pointer.
    book: RwLock<Arc<Book>>,
    /// Held while the next book is made, which takes longer.
    changing: Mutex<()>,
    /// How many books there were before this one.
    edition: AtomicU64,
    /// Values that a secret had and that are scrubbed still, each secret.
    retired_values: usize,
}

/// One state of the secrets of a sandbox; it keeps none of them.
pub struct Moment(Weak<Book>);

impl PartialEq for Moment {
    fn eq(&self, other: &Self) -> bool {
        Weak::ptr_eq(&self.0, &other.0)
    }
}

impl Secrets {
    /// Takes the secrets of a sandbox and draws a fresh placeholder for each.
    pub fn new(specs: Vec<SecretSpec>) -> Result<Arc<Self>, SecretError> {
        Self::within((specs, &[]), &Origins::new(), &Limits::default())
    }

    /// The same with the names of the [key pairs](super::AwsKeySpec) whose parts are among them, other bounds, and what is
    /// known of where values were loaded from.
    pub fn within(
        (specs, pairs): (Vec<SecretSpec>, &[String]),
        origins: &Origins,
        limits: &Limits,
    ) -> Result<Arc<Self>, SecretError> {
        let book = RwLock::new(Arc::new(Book::new(specs, pairs, origins)?));
        let retired_values = limits.retired_values;
        Ok(Arc::new(Self { book, changing: Mutex::default(), edition: AtomicU64::new(0), retired_values }))
    }

    /// Gives a secret another value, which every request from now on carries; the one it had stays scrubbed, and its
    /// placeholder stands for the new one whatever its length.
    pub fn rotate(
        &self,
        name: &str,
        new: impl Into<Loaded>,
        hand: Hand,
        now: SystemTime,
    ) -> Result<Rotation, RotateError> {
        let new = new.into();
        let mut outcome = Rotation::Same;
        self.change(name, |entry| {
            let (entry, rotation) = entry.with_value(new, hand, (now, self.retired_values))?;
            outcome = rotation;
            Ok(entry)
        })?;
        Ok(outcome)
    }

    /// Takes a secret back: from now on a request that would carry it is refused. Its values stay scrubbed.
    pub fn revoke(&self, name: &str) -> Result<(), RotateError> {
        self.change(name, |entry| {
            let mut entry = entry.clone();
            entry.life.state = SecretState::Revoked;
            Ok(entry)
        })
    }

    /// Takes note that it is `now`: a live value that was good until then is injected no more. Whether it was such.
    pub fn expire(&self, name: &str, now: SystemTime) -> bool {
        let is_over =
            |entry: &Entry| entry.life.is_live() && entry.life.expires.is_some_and(|expires| expires <= now);
        // Mostly not, and then there is no book to be made.
        if !self.book().entry(name).is_some_and(is_over) {
            return false;
        }
        let mut expired = false;
        let changed = self.change(name, |entry| {
            expired = is_over(entry);
            let mut entry = entry.clone();
            if expired {
                entry.life.state = SecretState::Expired;
            }
            Ok(entry)
        });
        changed.is_ok() && expired
    }

    /// What can be told of each secret, in the order configured; never a value.
    #[must_use]
    pub fn list(&self) -> Vec<SecretStatus> {
        self.book().entries().iter().map(Entry::status).collect()
    }

    /// What can be told of one.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<SecretStatus> {
        self.book().entry(name).map(Entry::status)
    }

    /// Whether no value can be swapped out.
    #[must_use]
    pub fn are_locked(&self) -> bool {
        self.book().entries().iter().all(|entry| entry.value.is_locked())
    }

    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&Entry) -> Result<Entry, RotateError>,
    ) -> Result<(), RotateError> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let next = Arc::new(self.book().with(name, change)?);
        let mut book = self.book.write().unwrap_or_else(PoisonError::into_inner);
        let last = std::mem::replace(&mut *book, next);
        self.edition.fetch_add(1, Ordering::Release);
        // It may be the last to hold the values, which take their time to wipe.
        drop(book);
        drop(last);
        Ok(())
    }

    /// Each secret's name and placeholder, in the order configured.
    #[must_use]
    pub fn placeholders(&self) -> Vec<(String, Placeholder)> {
        let book = self.book();
        book.entries().iter().map(|entry| (entry.name.clone(), entry.placeholder.clone())).collect()
    }

    /// The names of the secrets that may go to `host` at `port`.
    #[must_use]
    pub fn allowed_at(&self, host: &HostName, port: u16) -> Vec<String> {
        let book = self.book();
        let allowed = book.entries().iter().filter(|entry| entry.may_go(host, port));
        allowed.map(|entry| entry.name.clone()).collect()
    }

    /// The value of an environment variable as the guest may see it; `None` where it holds no secret.
    #[must_use]
    pub fn rewrite(&self, value: &[u8]) -> Option<Vec<u8>> {
        self.book().rewrite(value)
    }

    /// What may put secrets into a request to `peer`: only those that may go to its name and port.
    #[must_use]
    pub fn injector(&self, peer: &VerifiedPeer) -> Injector {
        Injector::new(self.book(), peer)
    }

    /// What only watches a request that no secret may be put into.
    #[must_use]
    pub fn watcher(&self) -> Injector {
        Injector::without_peer(self.book())
    }

    /// What a request to `peer` says of its signature, where it is signed with keys of the sandbox that may go there.
    pub fn signing(
        &self,
        peer: &VerifiedPeer,
        parts: &http::request::Parts,
    ) -> Result<Option<Signing>, SignError> {
        Signing::claimed(&self.book(), peer, parts)
    }

    /// What takes secrets out of the responses of `host`, whatever the port, those that they get later too; `None`
    /// where no secret may be known there.
    #[must_use]
    pub fn scrubber(self: &Arc<Self>, host: &HostName) -> Option<Scrubber> {
        // Before the book: should another come between the two, it is looked for once more.
        let edition = self.edition();
        let scrubber = self.book().scrubber(host)?;
        Some(scrubber.renewed_by(Renewal::new(Arc::clone(self), host.clone(), edition)))
    }

    pub(super) fn edition(&self) -> u64 {
        self.edition.load(Ordering::Acquire)
    }

    /// A placeholder in the URL or the header of a request to an origin that may not have its secret, and may not
    /// have the placeholder either; those to be redacted are, where they can be.
    ///
    /// `verified` is the upstream the request would go to, once its certificate was verified. Without one, as
    /// over plain HTTP, no secret may go. Toward its own host a placeholder is never misplaced: where it is
    /// not swapped it goes on as text.
    #[must_use]
    pub fn misplaced(
        &self,
        origin: &Origin,
        parts: &mut http::request::Parts,
        verified: Option<&VerifiedPeer>,
    ) -> Option<Misplaced> {
        self.book().misplaced(origin, parts, verified)
    }

    /// Which secrets these are: another moment after each change, for what outlives a request.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(Arc::downgrade(&self.book()))
    }

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }
}
