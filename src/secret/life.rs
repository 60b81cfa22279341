//! What becomes of a secret while its sandbox runs: other values, an end.
//!
//! It reads no clock and loads nothing; whoever does tells it. Invariant: a secret that is not [`SecretState::Live`]
//! is injected nowhere, and every value it ever had, but the oldest beyond a bound, is scrubbed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::inject::InjectError;
use super::source::Source;
use super::spec::{Entry, SecretError};
use super::value::SecretValue;

/// Whether a secret may be injected.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecretState {
    /// Yes.
    Live,
    /// No: its value was good until now, and its source has given no other.
    Expired,
    /// No: it was taken back.
    Revoked,
}

/// The course of one secret's life.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) state: SecretState,
    /// Where its values come from; `None` for one that the embedder gave.
    pub(super) source: Option<Source>,
    /// When its value is worth nothing any more.
    pub(super) expires: Option<SystemTime>,
    /// When its value was last replaced.
    pub(super) rotated: Option<SystemTime>,
    /// The values it had, the oldest first.
    pub(super) retired: Vec<Retired>,
}

/// A value that a secret had.
#[derive(Clone)]
pub(super) struct Retired {
    pub(super) value: Arc<SecretValue>,
    was_revoked: bool,
}

/// A value, and until when it is good.
///
/// It has no `Debug`: it holds the value.
pub struct Loaded {
    /// The value.
    pub value: SecretValue,
    /// When it is worth nothing any more, where that is known.
    pub expires: Option<SystemTime>,
}

impl From<SecretValue> for Loaded {
    fn from(value: SecretValue) -> Self {
        Self { value, expires: None }
    }
}

/// Where values were loaded from, and until when each is good, by the secret's name.
pub type Origins = HashMap<String, (Source, Option<SystemTime>)>;

/// Who replaces a value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hand {
    /// Its owner, whose word brings a revoked secret back, if with another value.
    Owner,
    /// Its source, by itself: what was revoked stays so.
    Source,
}

/// What a new value came to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rotation {
    /// It is injected from the next request on.
    Replaced,
    /// It was the value already.
    Same,
}

/// Why a secret is as it was; no text holds a value.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// No secret has this name.
    #[error("there is no secret of that name; `portcullis secrets list` has them all")]
    Unknown,
    /// Its value was revoked.
    #[error("that value of secret {name} was revoked; give it another one")]
    RevokedValue {
        /// The secret.
        name: String,
    },
    /// It was revoked, and its source has no say any more.
    #[error("secret {name} was revoked; rotate it to bring it back")]
    Revoked {
        /// The secret.
        name: String,
    },
    /// The new value contains a placeholder, or lies within one.
    #[error(
        "the new value of secret {name} has a placeholder in it, or is a part of one; give it another one"
    )]
    Clash {
        /// The secret.
        name: String,
    },
    /// The value cannot stand where the secret goes, or be searched for.
    #[error(transparent)]
    Value(#[from] SecretError),
}

/// What can be told of one secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SecretStatus {
    /// Its name.
    pub name: String,
    /// Where it may go.
    pub hosts: Vec<String>,
    /// Where in a request, in the words of `swap`.
    pub places: Vec<String>,
    /// Where its value comes from: `env://NAME`, `file:///PATH`, `cmd://PROGRAM`; nothing for an embedder's own.
    pub source: Option<String>,
    /// Whether it may be injected.
    pub state: SecretState,
    /// When its value was last replaced.
    #[serde(with = "super::time")]
    pub rotated: Option<SystemTime>,
    /// When its value is worth nothing any more, where that is known.
    #[serde(with = "super::time")]
    pub expires: Option<SystemTime>,
}

impl Life {
    pub(super) fn begun(origin: Option<&(Source, Option<SystemTime>)>) -> Self {
        let (source, expires) =
            origin.cloned().map_or((None, None), |(source, expires)| (Some(source), expires));
        Self { state: SecretState::Live, source, expires, rotated: None, retired: Vec::new() }
    }

    pub(super) fn is_live(&self) -> bool {
        match self.state {
            SecretState::Live => true,
            SecretState::Expired | SecretState::Revoked => false,
        }
    }
}

impl Entry {
    /// Why the secret may not be injected now, whatever the place.
    pub(super) fn refusal(&self) -> Option<InjectError> {
        match self.life.state {
            SecretState::Live => None,
            SecretState::Expired => Some(InjectError::Expired { secret: self.name.clone() }),
            SecretState::Revoked => Some(InjectError::Revoked { secret: self.name.clone() }),
        }
    }

    /// The secret with another value, and at most `most` of those it had.
    ///
    /// The oldest goes first: refusing the new value in its place would keep one in use that its owner wants gone,
    /// and the oldest is the likeliest to be worth nothing by now.
    pub(super) fn with_value(
        &self,
        new: Loaded,
        hand: Hand,
        (now, most): (SystemTime, usize),
    ) -> Result<(Self, Rotation), RotateError> {
        let Loaded { value, expires } = new;
        let was_revoked = self.life.state == SecretState::Revoked;
        let name = || self.name.clone();
        if was_revoked && hand == Hand::Source {
            return Err(RotateError::Revoked { name: name() });
        }
        let is_it = |other: &SecretValue| other.expose() == value.expose();
        let revoked_before = self.life.retired.iter().any(|old| old.was_revoked && is_it(&old.value));
        let is_same = is_it(&self.value);
        if revoked_before || (is_same && was_revoked) {
            return Err(RotateError::RevokedValue { name: name() });
        }
        let mut entry = self.clone();
        entry.life.state = SecretState::Live;
        entry.life.expires = expires;
        if is_same {
            return Ok((entry, Rotation::Same));
        }
        entry.life.retired.retain(|old| !is_it(&old.value));
        entry.life.retired.push(Retired { value: Arc::clone(&self.value), was_revoked });
        let beyond = entry.life.retired.len().saturating_sub(most);
        entry.life.retired.drain(..beyond);
        entry.life.rotated = Some(now);
        entry.value = Arc::new(value);
        Ok((entry, Rotation::Replaced))
    }

    pub(super) fn status(&self) -> SecretStatus {
        SecretStatus {
            name: self.name.clone(),
            hosts: self.hosts.iter().map(ToString::to_string).collect(),
            places: self.swap.iter().map(ToString::to_string).collect(),
            source: self.life.source.as_ref().map(ToString::to_string),
            state: self.life.state,
            rotated: self.life.rotated,
            expires: self.life.expires,
        }
    }
}
