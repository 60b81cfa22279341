//! Secrets, the placeholders that stand for them, and the ways from one to the other.
//!
//! A guest holds placeholders. [`Injector`] turns them into secrets in a request to a verified upstream that
//! may have them; [`Scrubber`] turns secrets back into placeholders in everything such a host answers;
//! [`Secrets::misplaced`] finds placeholders on their way to where they have no business. Nothing here
//! dials, waits or knows HTTP's framing; only [`Source`] looks outside the process. Invariant: the bytes of
//! a secret leave this module through [`SecretValue::expose`] or inside a request that an [`Injector`], which
//! only a [`VerifiedPeer`](crate::tls::VerifiedPeer) makes, has rewritten.

#![warn(clippy::indexing_slicing)]

mod aws;
mod basic;
mod before;
mod book;
mod detect;
mod elsewhere;
mod escape;
mod fields;
mod forms;
mod inject;
mod kinds;
mod leads;
mod life;
mod location;
mod path;
mod patterns;
mod placeholder;
mod places;
mod renewal;
mod replace;
mod scrub;
mod shape;
mod signing;
mod source;
mod spec;
mod spelling;
mod store;
mod stream;
mod tally;
#[cfg(test)]
mod tests;
mod text;
mod time;
mod value;
mod walk;

pub use self::time::text as moment;
pub use detect::Misplaced;
pub use elsewhere::{Elsewhere, Reaction, ReactionError};
pub use inject::{InjectError, Injection, Injector};
pub use life::{Hand, Loaded, Origins, RotateError, Rotation, SecretState, SecretStatus};
pub use location::{Location, LocationError};
pub use path::{JsonPath, PathError};
pub use patterns::PatternError;
pub use placeholder::{Placeholder, PlaceholderError};
pub use replace::{Replacements, Replacer};
pub use scrub::{Carried, ScrubStream, Scrubber, Uninspectable};
pub use shape::{Shape, ShapeError};
pub use signing::{AwsKeySpec, Resigning, SignError, Signing};
pub(crate) use source::Stamp;
pub use source::{Argv, CommandError, Source, SourceError};
pub use spec::{SecretError, SecretHost, SecretHostError, SecretSpec};
pub use store::{Moment, Secrets};
pub use stream::InjectStream;
pub use tally::Uses;
pub use text::{TextSecrets, TextStream};
pub use value::{SecretValue, ValueError};
pub use walk::{Cut, FormWalk, JsonWalk, MultipartWalk, Walk};
