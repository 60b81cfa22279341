//! A secret's new value on its way to a sandbox.
//!
//! Invariant: it is shown by nothing but its line of JSON, in base64, and wiped when it was used.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::secret::{SecretValue, ValueError};

/// A value that a secret is to have.
#[derive(Clone, Deserialize, Eq, PartialEq)]
#[serde(try_from = "String")]
pub struct NewValue(Zeroizing<Vec<u8>>);

impl NewValue {
    /// Takes the octets as they are.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Self {
        Self(Zeroizing::new(octets))
    }

    /// The value, where the octets can be one.
    pub fn into_value(mut self) -> Result<SecretValue, ValueError> {
        SecretValue::new(std::mem::take(&mut *self.0))
    }

    /// How long it is as it is written.
    pub(super) fn written(&self) -> usize {
        self.0.len().div_ceil(3) * 4
    }
}

impl fmt::Debug for NewValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewValue").finish_non_exhaustive()
    }
}

impl Serialize for NewValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&Zeroizing::new(STANDARD.encode(&self.0)))
    }
}

impl TryFrom<String> for NewValue {
    type Error = NoBase64;

    fn try_from(text: String) -> Result<Self, NoBase64> {
        let octets = STANDARD.decode(&*Zeroizing::new(text)).map_err(|_| NoBase64)?;
        Ok(Self::new(octets))
    }
}

/// What was sent for a value is none.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("a new value is sent in base64")]
pub struct NoBase64;
