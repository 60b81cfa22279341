//! Host names, in one canonical form.
//!
//! Whatever spells a host (a DNS question, an SNI, a `Host` field, a rule, a flag) becomes a [`HostName`]
//! or an address here, or is refused. It resolves nothing and judges nothing. Invariant: two spellings of
//! one host compare equal, and no address in disguise is ever a `HostName`.

mod authority;
mod host;
mod origin;

pub use authority::{Authority, Host, parse_port};
pub use host::{HOST_ALIAS, HostName, HostPattern, NameError};
pub use origin::{Origin, Scheme};

#[cfg(test)]
mod tests;
