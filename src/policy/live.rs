//! The policy of a running sandbox, which its owner may exchange as a whole.
//!
//! It says which policy counts now and who has to look again; it judges nothing. Invariant: whoever judges sees one
//! policy from the first question to the last, the old one or the new one, never a mixture.

use std::sync::{Arc, PoisonError, RwLock};

use super::Policy;

/// The policy that counts now.
#[derive(Debug, Default)]
pub struct Live(RwLock<Arc<Policy>>);

impl Live {
    /// Begins with this one.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self(RwLock::new(Arc::new(policy)))
    }

    /// The policy as it is now. What is judged together is to be judged by one of these.
    #[must_use]
    pub fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in its place, but for how upstreams are reached: that holds for the life of a sandbox.
    pub fn replace(&self, mut policy: Policy) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        policy.upstreams = Arc::clone(current.upstreams());
        *current = Arc::new(policy);
    }
}
