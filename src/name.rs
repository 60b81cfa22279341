//! Host names, in one canonical form.
//!
//! Whatever spells a host (a DNS question, an SNI, a `Host` field, a rule, a flag) becomes a [`HostName`]
//! or an address here, or is refused. It resolves nothing and judges nothing. Invariant: two spellings of
//! one host compare equal, and no address in disguise is ever a `HostName`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// The name by which a guest reaches the host's own loopback, where a rule allows it.
pub const HOST_ALIAS: &str = "host.portcullis.internal";

/// Longest name in presentation form, without the final dot ([RFC 1035 §2.3.4]).
///
/// [RFC 1035 §2.3.4]: https://www.rfc-editor.org/rfc/rfc1035#section-2.3.4
const MAX_NAME: usize = 253;
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
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.starts_with('[') || text.parse::<Ipv6Addr>().is_ok() {
            return Err(NameError::Address);
        }
        let ascii = idna::domain_to_ascii(text).map_err(|_| NameError::Idna)?;
        if ascii.len() > MAX_NAME {
            return Err(NameError::TooLong);
        }
        if !ascii.split('.').all(is_label) {
            return Err(NameError::Label);
        }
        if ascii.rsplit('.').next().is_some_and(reads_as_number) {
            return Err(NameError::Address);
        }
        Ok(Self(ascii.into()))
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
            Some(apex) => HostName::parse(apex).map(Self::Below),
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

/// The host of an authority: a name, or a literal address.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Host {
    /// A name.
    Name(HostName),
    /// An address in its canonical spelling; odd spellings are refused before they get here.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => write!(f, "{name}"),
            Self::Address(IpAddr::V4(addr)) => write!(f, "{addr}"),
            Self::Address(IpAddr::V6(addr)) => write!(f, "[{addr}]"),
        }
    }
}

/// `host[:port]` as it stands in a `Host` field or `:authority` ([RFC 9110 §7.2]).
///
/// [RFC 9110 §7.2]: https://www.rfc-editor.org/rfc/rfc9110#section-7.2
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, where one is written.
    pub port: Option<u16>,
}

impl Authority {
    /// Reads `example.com`, `example.com:8443`, `192.0.2.1:80` or `[2001:db8::1]:443`; nothing before or after.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.contains('@') {
            return Err(NameError::Userinfo);
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (inside, after) = rest.split_once(']').ok_or(NameError::Address)?;
            let addr = inside.parse::<Ipv6Addr>().map_err(|_| NameError::Address)?;
            let port = match after.strip_prefix(':') {
                Some(digits) => Some(parse_port(digits)?),
                None if after.is_empty() => None,
                None => return Err(NameError::Port),
            };
            return Ok(Self { host: Host::Address(addr.into()), port });
        }
        let (host, port) = match text.split_once(':') {
            Some((host, digits)) => (host, Some(parse_port(digits)?)),
            None => (text, None),
        };
        let host = match host.parse::<Ipv4Addr>() {
            Ok(addr) => Host::Address(addr.into()),
            Err(_) => Host::Name(HostName::parse(host)?),
        };
        Ok(Self { host, port })
    }
}

/// Reads a port in plain decimal: no sign, no leading zero, 1 to 65535.
pub fn parse_port(digits: &str) -> Result<u16, NameError> {
    if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NameError::Port);
    }
    digits.parse().map_err(|_| NameError::Port)
}

/// URI scheme of an origin.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// `http`, never with a secret.
    Http,
    /// `https`.
    Https,
}

impl Scheme {
    /// The port meant where none is written.
    #[must_use]
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// `http` or `https`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Scheme, host and port of a request ([RFC 6454 §4]).
///
/// [RFC 6454 §4]: https://www.rfc-editor.org/rfc/rfc6454#section-4
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Origin {
    /// Scheme.
    pub scheme: Scheme,
    /// Host name; an address has no origin here, since rules are by name.
    pub host: HostName,
    /// Port of the guest's connection.
    pub port: u16,
}

impl Origin {
    /// Whether `authority` means this very origin.
    #[must_use]
    pub fn is_meant_by(&self, authority: &Authority) -> bool {
        let port = authority.port.unwrap_or_else(|| self.scheme.default_port());
        port == self.port && matches!(&authority.host, Host::Name(name) if *name == self.host)
    }

    /// `host`, or `host:port` where the port is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.port == self.scheme.default_port() {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_host_are_one_name() {
        for text in ["API.Example.COM", "api.example.com.", "api.example.com"] {
            assert_eq!(HostName::parse(text).unwrap().as_str(), "api.example.com");
        }
        assert_eq!(HostName::parse("bücher.example").unwrap().as_str(), "xn--bcher-kva.example");
        assert_eq!(HostName::parse("ｅxample.com").unwrap().as_str(), "example.com");
    }

    #[test]
    fn addresses_in_disguise_are_no_names() {
        for text in
            ["127.0.0.1", "127.1", "0x7f.1", "2130706433", "0x7f000001", "[::1]", "::1", "1.2.3.4.", "①.1"]
        {
            assert_eq!(HostName::parse(text), Err(NameError::Address), "{text}");
        }
    }

    #[test]
    fn what_has_no_single_meaning_is_refused() {
        for text in [
            "",
            ".",
            "a..b",
            "-a.example",
            "a-.example",
            "a b",
            "a/b",
            "a:1",
            "a%00b",
            "a\0",
            "*.x",
            "a@b",
            "a.b..",
        ] {
            assert!(HostName::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(HostName::parse(&format!("{}.x", "a".repeat(64))).ok(), None);
        assert_eq!(HostName::parse(&"a.".repeat(130)).ok(), None);
    }

    #[test]
    fn a_star_is_any_name_below_and_not_the_apex() {
        let pattern = HostPattern::parse("*.Example.com").unwrap();
        let meant = |text| pattern.matches(&HostName::parse(text).unwrap());
        assert!(meant("a.example.com") && meant("a.b.example.com"));
        assert!(!meant("example.com") && !meant("badexample.com") && !meant("example.com.evil.org"));
        for text in ["*", "a.*.com", "*a.com", "*.*.com", "**.com"] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_authority_is_host_and_port_and_nothing_else() {
        assert_eq!(Authority::parse("a.example:8443").unwrap().port, Some(8443));
        assert_eq!(Authority::parse("[::1]:443").unwrap().host, Host::Address(Ipv6Addr::LOCALHOST.into()));
        for text in [
            "u@a.example",
            "a.example:",
            "a.example:+5",
            "a.example:080",
            "a.example:0",
            "a.example:70000",
            "[::1",
            "[::1]x",
            "[fe80::1%25lo]",
            "a:1:2",
            "",
        ] {
            assert!(Authority::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_origin_is_meant_only_with_its_own_host_and_port() {
        let origin = Origin { scheme: Scheme::Https, host: HostName::parse("a.example").unwrap(), port: 443 };
        let meant = |text| origin.is_meant_by(&Authority::parse(text).unwrap());
        assert!(meant("a.example") && meant("A.EXAMPLE.:443"));
        assert!(!meant("a.example:80") && !meant("b.example") && !meant("127.0.0.1"));
        assert_eq!(origin.authority(), "a.example");
    }
}
