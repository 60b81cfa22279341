//! One host's name, in its canonical form, and patterns over names.
//!
//! It resolves nothing and judges nothing. Invariant: a canonical name reads as itself again, and as an address
//! nowhere.

use std::borrow::Borrow;
use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;
use std::sync::Arc;

/// The name by which a guest reaches the host's own loopback, where a rule allows it.
pub const HOST_ALIAS: &str = "host.portcullis.internal";

/// Longest name in presentation form, without the final dot ([RFC 1035 §2.3.4]).
///
/// [RFC 1035 §2.3.4]: https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
const MAX_NAME: usize = 253;
/// Longest spelling, in octets: as many characters of UTF-8 as a name has octets, its final dot among them.
const MAX_SPELLING: usize = 4 * (MAX_NAME + 1);
/// Longest label, in octets (RFC 1035 §2.3.4).
const MAX_LABEL: usize = 63;

/// A canonical host name: lower-case A-labels, no final dot, at most 253 octets, never an address.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HostName(Arc<str>);

impl HostName {
    /// Reads a name in any spelling that has one meaning; refuses the rest with the reason.
    ///
    /// U-labels become A-labels by [UTS 46](https://www.unicode.org/reports/tr46/), a single final dot is dropped.
    /// Anything that some resolver would read as an address (`127.1`, `0x7f.1`, `2130706433`) is refused.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_SPELLING {
            return Err(NameError::TooLong);
        }
        if text.contains('@') {
            return Err(NameError::Userinfo);
        }
        if text.starts_with('[') || is_ipv6(text) {
            return Err(NameError::Address);
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| NameError::Idna)?;
        // Only now: the dots of other scripts are dots too.
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        if name.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        if !name.split('.').all(is_label) {
            return Err(NameError::Label);
        }
        if name.rsplit('.').next().is_some_and(reads_as_number) {
            return Err(NameError::Address);
        }
        Ok(Self(name.into()))
    }

    /// A name that means no host ([RFC 6761 §6.4](https://www.rfc-editor.org/rfc/rfc6761#section-6.4)), where
    /// there has to be one.
    #[must_use]
    pub fn nobody() -> Self {
        Self("nobody.invalid".into())
    }

    /// [`HOST_ALIAS`].
    #[must_use]
    pub fn alias() -> Self {
        Self(HOST_ALIAS.into())
    }

    /// The canonical spelling.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this name lies strictly below `apex`.
    #[must_use]
    pub fn is_below(&self, apex: &HostName) -> bool {
        self.0.strip_suffix(apex.as_str()).is_some_and(|head| head.ends_with('.'))
    }

    /// Whether this is [`HOST_ALIAS`].
    #[must_use]
    pub fn is_host_alias(&self) -> bool {
        &*self.0 == HOST_ALIAS
    }
}

/// IPv6, with a zone or without; what cannot be a name must not be told so for a colon.
pub(super) fn is_ipv6(text: &str) -> bool {
    text.split('%').next().is_some_and(|addr| addr.parse::<Ipv6Addr>().is_ok())
}

/// LDH and underscore (service labels, and names in the wild), hyphens inside only, 1 to 63 octets.
fn is_label(label: &str) -> bool {
    (1..=MAX_LABEL).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

/// The "ends in a number" rule of the [WHATWG URL standard](https://url.spec.whatwg.org/#ends-in-a-number-checker):
/// such a host is an address or nothing, never a name.
fn reads_as_number(label: &str) -> bool {
    label.bytes().all(|b| b.is_ascii_digit())
        || label.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Two names are equal where their texts are.
impl Borrow<str> for HostName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

/// Why a text is no host name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameError {
    /// Nothing there, or only a dot.
    #[error("is empty")]
    Empty,
    /// It is an address, or some resolver would read it as one.
    #[error("is an address, or reads as one; a host name is needed")]
    Address,
    /// Not representable by IDNA.
    #[error("is not a valid internationalized name")]
    Idna,
    /// More than 253 octets.
    #[error("is longer than 253 octets")]
    TooLong,
    /// An empty or overlong label, or a character outside letters, digits, `-` and `_`.
    #[error("has a label that is empty, longer than 63 octets, or not made of letters, digits, '-' and '_'")]
    Label,
    /// A port that is not 1 to 65535 in plain decimal.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    /// `user@` before the host.
    #[error("has user information before the host")]
    Userinfo,
    /// `*` anywhere but as the whole first label.
    #[error("has a '*' that is not the whole first label, as in *.example.com")]
    Wildcard,
}

/// Longest name that another can be below: a label of one octet and its dot.
const MAX_APEX: usize = MAX_NAME - 2;

/// What a rule's host may be: one name, or every name below one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostPattern {
    /// Exactly this name.
    Exact(HostName),
    /// Every name below this one, at any depth; not the name itself.
    Below(HostName),
}

impl HostPattern {
    /// Reads `example.com` or `*.example.com`.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix("*.") {
            Some(apex) if apex.contains('*') => Err(NameError::Wildcard),
            Some(apex) => match HostName::parse(apex)? {
                apex if apex.as_str().len() > MAX_APEX => Err(NameError::TooLong),
                apex => Ok(Self::Below(apex)),
            },
            None if text.contains('*') => Err(NameError::Wildcard),
            None => HostName::parse(text).map(Self::Exact),
        }
    }

    /// Whether `name` is meant.
    #[must_use]
    pub fn matches(&self, name: &HostName) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Below(apex) => name.is_below(apex),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => write!(f, "{name}"),
            Self::Below(apex) => write!(f, "*.{apex}"),
        }
    }
}
