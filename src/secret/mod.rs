//! Secrets, the placeholders that stand for them, and the ways from one to the other.
//!
//! A guest holds placeholders. [`Injector`] turns them into secrets in a request to a verified upstream that
//! may have them; [`Scrubber`] turns secrets back into placeholders in everything such a host answers;
//! [`Secrets::misplaced`] finds placeholders on their way to where they have no business. Nothing here
//! dials, waits or knows HTTP's framing; only [`Source`] looks outside the process. Invariant: the bytes of
//! a secret leave this module through [`SecretValue::expose`] or inside a request that an [`Injector`], which
//! only a [`VerifiedPeer`](crate::tls::VerifiedPeer) makes, has rewritten.

#![warn(clippy::indexing_slicing)]

mod basic;
mod book;
mod detect;
mod inject;
mod kinds;
mod life;
mod location;
mod patterns;
mod placeholder;
mod renewal;
mod replace;
mod scrub;
mod shape;
mod source;
mod spec;
mod store;
#[cfg(test)]
mod tests;
mod time;
mod value;

pub use self::time::text as moment;
pub use detect::Misplaced;
pub use inject::{InjectError, Injection, Injector};
pub use life::{Hand, Loaded, Origins, RotateError, Rotation, SecretState, SecretStatus};
pub use location::{Location, LocationError};
pub use patterns::PatternError;
pub use placeholder::{Placeholder, PlaceholderError};
pub use replace::{Replacements, Replacer};
pub use scrub::{Carried, ScrubStream, Scrubber, Uninspectable};
pub use shape::{Shape, ShapeError};
pub(crate) use source::Stamp;
pub use source::{Argv, CommandError, Source, SourceError};
pub use spec::{SecretError, SecretHost, SecretHostError, SecretSpec};
pub use store::Secrets;
pub use value::{SecretValue, ValueError};
