//! A proxy of the operator's between us and upstreams.
//!
//! Invariant: it is the operator's own word, from a configuration and from nothing a guest said; its password has no
//! `Debug` and is wiped.

use std::fmt;
use std::net::IpAddr;

use crate::limits::Limits;
use crate::name::{Authority, Host, HostName, NameError};
use crate::secret::{SecretValue, Source, SourceError};

/// One proxy, without its password.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Proxy {
    name: String,
    scheme: Scheme,
    host: Host,
    port: u16,
    login: Option<(String, Source)>,
    resolve: Resolve,
    default: bool,
}

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// `http://`: CONNECT ([RFC 9110 §9.3.6](https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6)).
    Http,
    /// `https://`: the same inside of TLS, verified for the proxy's own name.
    Https,
    /// `socks5://` ([RFC 1928](https://www.rfc-editor.org/rfc/rfc1928)).
    Socks5,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }
}

/// Who finds the addresses of the hosts behind a proxy.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Resolve {
    /// We do, and judge them; the proxy is asked for the very address judged.
    #[default]
    Here,
    /// The proxy does. It is asked for the name, and which addresses may be reached is for the proxy alone to say.
    There,
}

impl Proxy {
    /// The proxy called `name` at `url`: scheme, host and port, nothing else.
    pub fn parse(name: &str, url: &str) -> Result<Self, ProxyError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name == DIRECT || !name.chars().all(plain) {
            return Err(ProxyError::Name);
        }
        let (scheme, rest) = url.split_once("://").ok_or(ProxyError::Scheme)?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            "socks5" => Scheme::Socks5,
            "socks5h" => return Err(ProxyError::RemoteSocks),
            _ => return Err(ProxyError::Scheme),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains('@') {
            return Err(ProxyError::Userinfo);
        }
        if authority.contains(['/', '?', '#']) {
            return Err(ProxyError::Path);
        }
        let Authority { host, port } = Authority::parse(authority)?;
        let port = port.ok_or(ProxyError::Port)?;
        let name = name.to_owned();
        Ok(Self { name, scheme, host, port, login: None, resolve: Resolve::Here, default: false })
    }

    /// The same, which wants a user's name and a password.
    pub fn with_login(mut self, username: &str, password: Source) -> Result<Self, ProxyError> {
        let colon = username.contains(':') && self.scheme != Scheme::Socks5;
        if username.is_empty() || username.len() > LONGEST || colon || username.contains(char::is_control) {
            return Err(ProxyError::Username);
        }
        self.login = Some((username.to_owned(), password));
        Ok(self)
    }

    /// The same, with another finder of addresses.
    #[must_use]
    pub fn with_resolve(mut self, resolve: Resolve) -> Self {
        self.resolve = resolve;
        self
    }

    /// The same, for every host that is not sent elsewhere.
    #[must_use]
    pub fn by_default(mut self) -> Self {
        self.default = true;
        self
    }

    /// What the configuration calls it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it is spoken to.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where it is.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// At which port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Who finds addresses.
    #[must_use]
    pub fn resolve(&self) -> Resolve {
        self.resolve
    }

    /// Whether it is for every host that is not sent elsewhere.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.default
    }

    /// Where its password comes from, if it wants one.
    #[must_use]
    pub fn password(&self) -> Option<&Source> {
        self.login.as_ref().map(|(_, source)| source)
    }

    /// Its user's name with the password, once that was read.
    ///
    /// # Errors
    /// The password is longer than SOCKS can say.
    pub fn credentials(&self, password: SecretValue) -> Result<Option<Credentials>, ProxyError> {
        let Some((username, _)) = &self.login else { return Ok(None) };
        if self.scheme == Scheme::Socks5 && password.expose().len() > LONGEST {
            return Err(ProxyError::Password);
        }
        Ok(Some(Credentials { username: username.clone(), password }))
    }

    /// The name to be resolved, or the address that is written.
    pub(crate) fn place(&self) -> Result<IpAddr, &HostName> {
        match &self.host {
            Host::Address(addr) => Ok(*addr),
            Host::Name(name) => Err(name),
        }
    }
}

impl fmt::Display for Proxy {
    /// Its name and its URL, which has no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}://{}:{})", self.name, self.scheme.as_str(), self.host, self.port)
    }
}

/// A proxy that can be spoken to.
#[derive(Debug)]
pub(crate) struct ProxyServer {
    proxy: Proxy,
    credentials: Option<Credentials>,
}

impl ProxyServer {
    /// Reads the password, where it wants one; as any secret it has at least 8 octets. This may block.
    pub(crate) fn load(proxy: &Proxy, limits: &Limits) -> Result<Self, LoginError> {
        let credentials = match proxy.password() {
            Some(source) => proxy.credentials(source.load(limits)?.value)?,
            None => None,
        };
        Ok(Self { proxy: proxy.clone(), credentials })
    }

    pub(crate) fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

/// Why a proxy's password cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LoginError {
    /// It cannot be had.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It cannot be sent.
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// What a proxy is shown.
pub struct Credentials {
    pub(super) username: String,
    pub(super) password: SecretValue,
}

impl Credentials {
    /// Whether `text` holds the password.
    #[must_use]
    pub fn stand_in(&self, text: &[u8]) -> bool {
        memchr::memmem::find(text, self.password.expose()).is_some()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// No proxy at all, where a proxy is to be named.
pub(super) const DIRECT: &str = "direct";
/// Longest user's name and password, octets ([RFC 1929 §2](https://www.rfc-editor.org/rfc/rfc1929#section-2)).
const LONGEST: usize = 255;

/// Why there is no such proxy, and what to write instead.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ProxyError {
    /// A name that cannot be one.
    #[error("a proxy's name is letters, digits, '-', '_' and '.', and not \"direct\"")]
    Name,
    /// Another scheme, or none.
    #[error("is no URL of a proxy; write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT")]
    Scheme,
    /// curl's spelling of SOCKS with names.
    #[error("socks5h is written socks5://HOST:PORT with resolve = \"there\" beside it")]
    RemoteSocks,
    /// A login in the URL.
    #[error("a login does not stand in the URL; write username, and password as env://NAME or file:///PATH")]
    Userinfo,
    /// More than scheme, host and port.
    #[error("a proxy's URL has no path; write its scheme, host and port alone")]
    Path,
    /// No port: the usual ones differ from tool to tool.
    #[error("needs its port, as in http://HOST:3128")]
    Port,
    /// No host.
    #[error("{0}; write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT")]
    Host(#[from] NameError),
    /// A name that could not be sent.
    #[error("a username is 1 to {LONGEST} octets, and for HTTP it has no ':' (RFC 7617)")]
    Username,
    /// A password that could not be sent.
    #[error("the password is longer than the {LONGEST} octets that SOCKS can say (RFC 1929)")]
    Password,
}
