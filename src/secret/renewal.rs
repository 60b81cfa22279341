//! What keeps a scrubber as good as the secrets are, for answers that outlive them.
//!
//! An answer may stream for hours, and a secret get another value meanwhile, which the same host may be told in another
//! request. Invariant: what is scrubbed after a change is scrubbed of every value since.

use std::sync::Arc;

use super::scrub::Scrubber;
use super::store::Secrets;
use crate::name::HostName;

/// The secrets that a scrubber was made of, and as of when.
#[derive(Clone)]
pub(super) struct Renewal {
    secrets: Arc<Secrets>,
    host: HostName,
    edition: u64,
}

impl Renewal {
    pub(super) fn new(secrets: Arc<Secrets>, host: HostName, edition: u64) -> Self {
        Self { secrets, host, edition }
    }

    /// The scrubber of now, where there is another since.
    pub(super) fn next(&self) -> Option<Scrubber> {
        let is_due = self.secrets.edition() != self.edition;
        is_due.then(|| self.secrets.scrubber(&self.host)).flatten()
    }
}
