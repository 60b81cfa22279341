//! The secrets of a running sandbox: the [`Book`] of now, and the next one in its place.
//!
//! Whoever needs secrets takes the book that is there, once a request: a change is seen by the next request of
//! any connection, and never by half a request. Invariant: a placeholder stands for the same secret for as long
//! as the sandbox lives.

use std::sync::{Arc, PoisonError, RwLock};

use super::book::Book;
use super::detect::Misplaced;
use super::inject::Injector;
use super::placeholder::Placeholder;
use super::scrub::Scrubber;
use super::spec::{SecretError, SecretSpec};
use crate::name::{HostName, Origin};
use crate::tls::VerifiedPeer;

/// The secrets of one sandbox.
///
/// It has no `Debug`: it holds the values.
pub struct Secrets {
    /// Held for as long as it takes to clone or replace the pointer.
    book: RwLock<Arc<Book>>,
}

impl Secrets {
    /// Takes the secrets of a sandbox and draws a fresh placeholder for each.
    pub fn new(specs: Vec<SecretSpec>) -> Result<Arc<Self>, SecretError> {
        let book = Arc::new(Book::new(specs)?);
        Ok(Arc::new(Self { book: RwLock::new(book) }))
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

    /// What takes secrets out of the responses of `host`, whatever the port; `None` where no secret may be
    /// known there.
    #[must_use]
    pub fn scrubber(&self, host: &HostName) -> Option<Scrubber> {
        self.book().scrubber(host)
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

    fn book(&self) -> Arc<Book> {
        Arc::clone(&self.book.read().unwrap_or_else(PoisonError::into_inner))
    }
}
