//! What an operator says of one secret, and when that makes sense.
//!
//! It decides nothing about a request. Invariant: an [`Entry`] has a value that can stand where it may be
//! injected, at least one host, and no host that is any host.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::elsewhere::Elsewhere;
use super::forms::{self, Form};
use super::life::Life;
use super::location::Location;
use super::patterns::PatternError;
use super::placeholder::{Placeholder, PlaceholderError};
use super::shape::Shape;
use super::source::is_variable;
use super::value::SecretValue;
use crate::name::{HostName, HostPattern};
use crate::policy::{RuleError, Target};

/// Where a secret may go: to these names, at this port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SecretHost {
    /// The names.
    pub pattern: HostPattern,
    /// The port; 443 where none was written.
    pub port: u16,
}

impl SecretHost {
    /// Reads `HOST[:PORT]`, where HOST may be `*.SUFFIX`; the port is 443 where none is written.
    pub fn parse(text: &str) -> Result<Self, SecretHostError> {
        let target = Target::parse(text)?;
        let port = match (target.port, &target.pattern) {
            (Some(HTTP), _) => return Err(SecretHostError::PlainHttp),
            (Some(port), _) => port,
            (None, HostPattern::Exact(name)) if name.is_host_alias() => {
                return Err(RuleError::AliasPort.into());
            }
            (None, HostPattern::Exact(_) | HostPattern::Below(_)) => HTTPS,
        };
        Ok(Self { pattern: target.pattern, port })
    }

    /// Whether the secret may go to `host` at `port`.
    #[must_use]
    pub fn admits(&self, host: &HostName, port: u16) -> bool {
        self.port == port && self.pattern.matches(host)
    }
}

impl fmt::Display for SecretHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.pattern, self.port)
    }
}

/// Port of plain HTTP, which never carries a secret.
const HTTP: u16 = 80;
/// Port of a host where none is written.
const HTTPS: u16 = 443;

/// One secret as configured.
///
/// It has no `Debug`: it holds the value.
pub struct SecretSpec {
    /// Its name, and that of the guest's variable that holds the placeholder.
    pub name: String,
    /// The value.
    pub value: SecretValue,
    /// Where it may go; at least one.
    pub hosts: Vec<SecretHost>,
    /// Where in a request; at least one. [`Location::defaults`] where nothing else is said.
    pub swap: Vec<Location>,
    /// What its placeholder looks like; that of its kind where nothing is said.
    pub shape: Option<Shape>,
    /// What is done about its placeholder toward hosts that may not have it.
    pub elsewhere: Elsewhere,
    /// Most times it may be put into one request; any number where nothing is said. A WebSocket's messages are
    /// one request with the one it came from.
    pub max_per_request: Option<NonZeroU32>,
}

impl SecretSpec {
    /// The secret `name` for `hosts`, each as [`SecretHost::parse`] reads it, at [`Location::defaults`].
    pub fn new(name: &str, value: SecretValue, hosts: &[&str]) -> Result<Self, SecretError> {
        let host = |text: &&str| {
            SecretHost::parse(text).map_err(|cause| SecretError::Host {
                name: name.to_owned(),
                host: (*text).to_owned(),
                cause,
            })
        };
        let hosts = hosts.iter().map(host).collect::<Result<_, _>>()?;
        Ok(Self {
            name: name.to_owned(),
            value,
            hosts,
            swap: Location::defaults(),
            shape: None,
            elsewhere: Elsewhere::default(),
            max_per_request: None,
        })
    }

    /// What can be judged of a secret alone.
    pub(super) fn check(&self) -> Result<(), SecretError> {
        let name = || self.name.clone();
        if !is_variable(&self.name) {
            return Err(SecretError::Name);
        }
        if self.hosts.is_empty() {
            return Err(SecretError::NoHost { name: name() });
        }
        if self.swap.is_empty() {
            return Err(SecretError::NoSwap { name: name() });
        }
        if let Some(host) = self.hosts.iter().find(|host| is_too_wide(&host.pattern)) {
            return Err(SecretError::HostTooWide { name: name(), host: host.pattern.to_string() });
        }
        can_stand(&self.name, &self.value, &self.swap)
    }
}

/// Makes sure that a value can stand in each of these places.
pub(super) fn can_stand(name: &str, value: &SecretValue, swap: &[Location]) -> Result<(), SecretError> {
    if swap.iter().any(Location::is_field) && HeaderValue::from_bytes(value.expose()).is_err() {
        return Err(SecretError::FieldValue { name: name.to_owned() });
    }
    if swap.contains(&Location::WebSocket) && std::str::from_utf8(value.expose()).is_err() {
        return Err(SecretError::TextValue { name: name.to_owned() });
    }
    if swap.iter().any(Location::is_json) && std::str::from_utf8(value.expose()).is_err() {
        return Err(SecretError::JsonValue { name: name.to_owned() });
    }
    Ok(())
}

/// `*.com` is half the internet.
fn is_too_wide(pattern: &HostPattern) -> bool {
    match pattern {
        HostPattern::Exact(_) => false,
        HostPattern::Below(apex) => !apex.as_str().contains('.'),
    }
}

/// One secret of a sandbox, with its placeholder.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) value: Arc<SecretValue>,
    pub(super) placeholder: Placeholder,
    pub(super) hosts: Vec<SecretHost>,
    pub(super) swap: Vec<Location>,
    pub(super) life: Life,
    pub(super) elsewhere: Elsewhere,
    pub(super) max_per_request: Option<NonZeroU32>,
}

impl Entry {
    /// Whether the secret may go to `host` at `port`.
    pub(super) fn may_go(&self, host: &HostName, port: u16) -> bool {
        self.hosts.iter().any(|own| own.admits(host, port))
    }

    /// Whether the secret may go to `host` at some port, so that any port of it may know the secret.
    pub(super) fn may_be_known_at(&self, host: &HostName) -> bool {
        self.hosts.iter().any(|own| own.pattern.matches(host))
    }

    /// Whether a placeholder in the value of the field `name` becomes the secret.
    pub(super) fn swaps_in_field(&self, name: &HeaderName) -> bool {
        self.swap.iter().any(|location| location.admits_field(name))
    }

    /// Whether a placeholder inside Basic credentials becomes the secret.
    pub(super) fn swaps_in_basic(&self) -> bool {
        self.swap.contains(&Location::Basic)
    }

    /// Whether the secret signs requests and stands in none.
    pub(super) fn only_signs(&self) -> bool {
        self.swap.iter().all(|location| *location == Location::Signature)
    }

    /// Whether a placeholder in a text message of a WebSocket becomes the secret.
    pub(super) fn swaps_in_websocket(&self) -> bool {
        self.swap.contains(&Location::WebSocket)
    }

    /// Everything that must not come back: the value, and those it had.
    fn values(&self) -> impl Iterator<Item = &SecretValue> {
        let retired = self.life.retired.iter().map(|old| &*old.value);
        std::iter::once(&*self.value).chain(retired)
    }

    /// The forms in which a response may bring the secret, each with what the guest gets instead.
    pub(super) fn forms(&self) -> impl Iterator<Item = Form> {
        self.values().flat_map(|value| forms::of(value.expose(), self.placeholder.as_bytes()))
    }
}

/// Why a text is no host of a secret.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecretHostError {
    /// It is no host, or none that a guest can reach.
    #[error(transparent)]
    Target(#[from] RuleError),
    /// Port 80.
    #[error("port 80 is plain HTTP, which never carries a secret; leave the port out for 443")]
    PlainHttp,
}

/// Why secrets are not accepted; no text holds a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A name that no environment variable can have. It is not repeated: it may be the value, in the wrong place.
    #[error("a secret needs a variable's name: letters, digits and '_', as in API_TOKEN")]
    Name,
    /// Two secrets of one name.
    #[error("secret {name} is given twice; name each secret once, with all its hosts")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// A secret that may go nowhere.
    #[error("secret {name} has no host; name the hosts that may have it, as in {name}@api.example.com")]
    NoHost {
        /// The secret.
        name: String,
    },
    /// A host that is none.
    #[error("secret {name}, host '{}': {cause}", host.escape_debug())]
    Host {
        /// The secret.
        name: String,
        /// What was written for a host.
        host: String,
        /// Why not.
        cause: SecretHostError,
    },
    /// A secret that may stand nowhere.
    #[error("secret {name} has an empty swap list; leave swap out for header and basic")]
    NoSwap {
        /// The secret.
        name: String,
    },
    /// A pattern over a whole top-level domain.
    #[error("secret {name} would go to {host}, which is nearly any host; name a domain below it")]
    HostTooWide {
        /// The secret.
        name: String,
        /// The pattern.
        host: String,
    },
    /// Control characters in a secret for header fields.
    #[error("the value of secret {name} has a control character, which no header field may hold")]
    FieldValue {
        /// The secret.
        name: String,
    },
    /// No text for a text message.
    #[error("the value of secret {name} is not UTF-8, which a WebSocket's text must be")]
    TextValue {
        /// The secret.
        name: String,
    },
    /// A secret for JSON strings that is no text.
    #[error("the value of secret {name} is no UTF-8, which a string in JSON must be")]
    JsonValue {
        /// The secret.
        name: String,
    },
    /// No placeholder for it.
    #[error("secret {name}: {cause}")]
    Placeholder {
        /// The secret.
        name: String,
        /// Why.
        cause: PlaceholderError,
    },
    /// Too much to search for.
    #[error("the secrets cannot be searched for: {0}")]
    Patterns(#[from] PatternError),
}
