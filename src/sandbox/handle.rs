//! What a running sandbox lets its owner do with its secrets.
//!
//! Every call is done when it returns, from whatever thread, and waits for nothing outside the process. Invariant: no
//! value ever comes back out.

use super::{Sandbox, keeper};
use crate::audit::SecretChange;
use crate::secret::{Hand, RotateError, Rotation, SecretStatus, SecretValue};
use crate::tls;

impl Sandbox {
    /// Gives a secret another value: every request from now on carries it, also on connections that are open. The
    /// guest's placeholder stays the same, and the old value is scrubbed from answers still. A revoked secret is live
    /// again, unless it is with the value that was revoked.
    ///
    /// A secret with a source keeps the value until its source gives another one.
    pub fn rotate_secret(&self, name: &str, value: SecretValue) -> Result<Rotation, RotateError> {
        let rotation = self.secrets.rotate(name, value, Hand::Owner, tls::wall_clock())?;
        match rotation {
            Rotation::Replaced => self.note(name, SecretChange::Rotated),
            Rotation::Same => {}
        }
        Ok(rotation)
    }

    /// Takes a secret back: every request that would carry it is refused from now on (403). Its values are scrubbed
    /// from answers still.
    pub fn revoke_secret(&self, name: &str) -> Result<(), RotateError> {
        self.secrets.revoke(name)?;
        self.note(name, SecretChange::Revoked);
        Ok(())
    }

    /// Each secret: where it may go, where it comes from, and how it is with it; never a value.
    #[must_use]
    pub fn secrets(&self) -> Vec<SecretStatus> {
        self.secrets.list()
    }

    /// Leaves word for the audit trail, which is the other thread's.
    fn note(&self, name: &str, change: SecretChange) {
        let event = keeper::event(name, change, String::new());
        if let Err(error) = self.notices.try_send(event) {
            tracing::warn!(secret = name, ?change, %error, "not on record");
        }
    }
}
