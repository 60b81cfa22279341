//! Which options count for a host.
//!
//! Pure choice. Invariant: the first entry that names a host decides alone; nothing is joined from two of them.

use std::path::PathBuf;
use std::time::Duration;

use super::server::{DIRECT, Proxy};
use crate::name::{HostName, HostPattern};
use crate::policy::overlap;

/// The options of some hosts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// The hosts; never empty.
    pub hosts: Vec<HostPattern>,
    /// PEM files of the only roots trusted for them; empty means the sandbox's.
    pub ca: Vec<PathBuf>,
    /// What we show them, where they want a certificate of their client.
    pub client: Option<ClientCertificate>,
    /// The oldest TLS that is spoken with them.
    pub min_tls: MinTls,
    /// By which way they are reached.
    pub via: Via,
    /// The whole of the way there, where not as `Limits::dial`: all addresses, and a proxy's handshake.
    pub connect_timeout: Option<Duration>,
    /// The TLS handshake, where not as `Limits::handshake`.
    pub handshake_timeout: Option<Duration>,
    /// The wait for an answer's head once its request was sent; without it there is no such bound.
    pub response_timeout: Option<Duration>,
}

/// A client's certificate and its key, as PEM files.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientCertificate {
    /// The chain, the client's own first.
    pub chain: PathBuf,
    /// The key, not encrypted.
    pub key: PathBuf,
}

/// The oldest version of TLS.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MinTls {
    /// 1.2, the oldest there is here.
    #[default]
    Tls12,
    /// 1.3.
    Tls13,
}

/// By which way hosts are reached.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Via {
    /// As any other host: by the default proxy, where there is one.
    #[default]
    Default,
    /// By no proxy.
    Direct,
    /// By the proxy of this name.
    Proxy(String),
}

impl Via {
    /// Reads a proxy's name, or `direct`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        if text == DIRECT { Self::Direct } else { Self::Proxy(text.to_owned()) }
    }
}

impl Options {
    /// Whether they say anything of TLS or of HTTP, which nobody but the guest speaks with a host that is passed
    /// through.
    #[must_use]
    pub fn look_inside(&self) -> bool {
        !self.ca.is_empty()
            || self.client.is_some()
            || self.min_tls != MinTls::default()
            || self.handshake_timeout.is_some()
            || self.response_timeout.is_some()
    }

    /// Whether TLS differs from what all other hosts have.
    pub(crate) fn tls_differs(&self) -> bool {
        !self.ca.is_empty() || self.client.is_some() || self.min_tls != MinTls::default()
    }

    fn name(&self, host: &HostName) -> bool {
        self.hosts.iter().any(|pattern| pattern.matches(host))
    }
}

/// The options of all hosts, and the proxies there are.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Upstreams {
    options: Vec<Options>,
    proxies: Vec<Proxy>,
}

impl Upstreams {
    /// Joins them; the first of `options` that names a host decides.
    ///
    /// # Errors
    /// A proxy that is named is not there, is of no use, or is the second default.
    pub fn new(options: Vec<Options>, proxies: Vec<Proxy>) -> Result<Self, UpstreamsError> {
        for (at, entry) in options.iter().enumerate() {
            let Via::Proxy(name) = &entry.via else { continue };
            if !proxies.iter().any(|proxy| proxy.name() == name) {
                return Err(UpstreamsError::NoSuchProxy { at, name: name.clone() });
            }
        }
        let mut default: Option<String> = None;
        for proxy in &proxies {
            let names_it = |entry: &Options| entry.via == Via::Proxy(proxy.name().to_owned());
            if !proxy.is_default() && !options.iter().any(names_it) {
                return Err(UpstreamsError::Unused { name: proxy.name().to_owned() });
            }
            if proxy.is_default()
                && let Some(other) = default.replace(proxy.name().to_owned())
            {
                return Err(UpstreamsError::SecondDefault { name: proxy.name().to_owned(), other });
            }
        }
        Ok(Self { options, proxies })
    }

    /// All entries, in their order.
    #[must_use]
    pub fn options(&self) -> &[Options] {
        &self.options
    }

    /// All proxies.
    #[must_use]
    pub fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// Place of the entry that decides for `host`.
    pub(crate) fn position(&self, host: &HostName) -> Option<usize> {
        self.options.iter().position(|entry| entry.name(host))
    }

    /// The entry that decides for `host`.
    #[must_use]
    pub fn of(&self, host: &HostName) -> Option<&Options> {
        self.options.get(self.position(host)?)
    }

    /// The proxy that leads to `host`, but for what policy knows better: the host alias and `--connect-to`.
    pub(crate) fn proxy_of(&self, host: &HostName) -> Option<&Proxy> {
        match self.of(host).map_or(&Via::Default, |entry| &entry.via) {
            Via::Direct => None,
            Via::Default => self.proxies.iter().find(|proxy| proxy.is_default()),
            Via::Proxy(name) => self.proxies.iter().find(|proxy| proxy.name() == name),
        }
    }

    /// The first host that has options of TLS or HTTP although all of it, or part of it, is among `passed`.
    #[must_use]
    pub fn contradiction(&self, passed: &HostPattern) -> Option<&HostPattern> {
        let mut earlier: Vec<&HostPattern> = Vec::new();
        for entry in &self.options {
            for own in entry.hosts.iter().filter(|own| overlap(own, passed)) {
                let common = if contains(own, passed) { passed } else { own };
                let taken = earlier.iter().any(|other| contains(other, common));
                if entry.look_inside() && !taken {
                    return Some(own);
                }
            }
            earlier.extend(&entry.hosts);
        }
        None
    }
}

/// Whether every name that `inner` means is meant by `outer`.
fn contains(outer: &HostPattern, inner: &HostPattern) -> bool {
    match (outer, inner) {
        (_, HostPattern::Exact(name)) => outer.matches(name),
        (HostPattern::Exact(_), HostPattern::Below(_)) => false,
        (HostPattern::Below(outer), HostPattern::Below(inner)) => outer == inner || inner.is_below(outer),
    }
}

/// Why options and proxies do not go together.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum UpstreamsError {
    /// An entry names a proxy that is not there.
    #[error("there is no proxy {name:?}; add [proxy.NAME], or write \"direct\" for none")]
    NoSuchProxy {
        /// Place of the entry, from 0.
        at: usize,
        /// The name.
        name: String,
    },
    /// Nothing would ever go through it.
    #[error("nothing goes through it; name it in an [[upstream]], or add default = true")]
    Unused {
        /// The proxy.
        name: String,
    },
    /// Two proxies for all hosts.
    #[error("{other} is the default already; keep default = true at one of the two")]
    SecondDefault {
        /// The proxy.
        name: String,
        /// The first one.
        other: String,
    },
}
