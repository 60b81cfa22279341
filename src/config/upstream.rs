//! `[[upstream]]` and `[proxy.NAME]`: text to [`Upstreams`], each fault at its place.
//!
//! Files that are named are read when a sandbox is prepared. Invariant: a password is never written here, only where
//! it comes from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;

use super::error::{ConfigError, Problem};
use super::file::{From, Source, quoted};
use crate::limits::{self, Amount};
use crate::name::HostPattern;
use crate::policy::Target;
use crate::upstream::{
    ClientCertificate, MinTls, Options, Proxy as Server, ProxyError, Resolve, Upstreams, UpstreamsError, Via,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with hosts, and what is special about them")]
pub(super) struct Upstream {
    hosts: Spanned<Vec<Spanned<String>>>,
    ca: Option<Spanned<Vec<PathBuf>>>,
    client_cert: Option<Spanned<PathBuf>>,
    client_key: Option<Spanned<PathBuf>>,
    min_tls: Option<Spanned<String>>,
    proxy: Option<Spanned<String>>,
    connect_timeout: Option<Spanned<String>>,
    handshake_timeout: Option<Spanned<String>>,
    response_timeout: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a table with url, and username, password, resolve and default where needed"
)]
pub(super) struct Proxy {
    url: Spanned<String>,
    username: Option<Spanned<String>>,
    password: Option<Spanned<From>>,
    resolve: Option<Spanned<String>>,
    #[serde(default)]
    default: bool,
}

impl Source<'_> {
    pub(super) fn upstreams(
        &self,
        entries: &[Upstream],
        proxies: &BTreeMap<Spanned<String>, Proxy>,
        directory: &Path,
    ) -> Result<Upstreams, ConfigError> {
        let options: Result<Vec<_>, _> = entries.iter().map(|entry| self.options(entry, directory)).collect();
        let servers: Result<Vec<_>, _> =
            proxies.iter().map(|(name, proxy)| self.proxy(name, proxy)).collect();
        Upstreams::new(options?, servers?).map_err(|error| {
            let (span, key) = match &error {
                UpstreamsError::NoSuchProxy { at, .. } => {
                    let proxy = entries.get(*at).and_then(|entry| entry.proxy.as_ref());
                    (proxy.map(Spanned::span), "[[upstream]] proxy".to_owned())
                }
                UpstreamsError::Unused { name } | UpstreamsError::SecondDefault { name, .. } => {
                    let own = proxies.keys().find(|own| own.get_ref() == name);
                    (own.map(Spanned::span), format!("[proxy.{name}]"))
                }
            };
            self.fault(span.unwrap_or_default(), &key, Problem::Upstreams(Box::new(error)))
        })
    }

    fn options(&self, entry: &Upstream, directory: &Path) -> Result<Options, ConfigError> {
        let hosts: Result<Vec<_>, _> =
            entry.hosts.get_ref().iter().map(|text| self.upstream_host(text)).collect();
        let hosts = hosts?;
        if hosts.is_empty() {
            return Err(self.fault(entry.hosts.span(), "[[upstream]] hosts", Problem::UpstreamWithoutHost));
        }
        let via = entry.proxy.as_ref().map_or(Via::Default, |text| Via::parse(text.get_ref()));
        if let (Some(text), Via::Proxy(_)) = (&entry.proxy, &via)
            && hosts.iter().any(|host| matches!(host, HostPattern::Exact(name) if name.is_host_alias()))
        {
            return Err(self.fault(text.span(), &quoted("[[upstream]] proxy", text), Problem::UpstreamAlias));
        }
        Ok(Options {
            hosts,
            ca: self.roots(entry.ca.as_ref(), directory)?,
            client: self.client(entry, directory)?,
            min_tls: self.min_tls(entry.min_tls.as_ref())?,
            via,
            connect_timeout: self.duration("connect_timeout", entry.connect_timeout.as_ref())?,
            handshake_timeout: self.duration("handshake_timeout", entry.handshake_timeout.as_ref())?,
            response_timeout: self.duration("response_timeout", entry.response_timeout.as_ref())?,
        })
    }

    fn upstream_host(&self, text: &Spanned<String>) -> Result<HostPattern, ConfigError> {
        let fault = |problem| self.fault(text.span(), &quoted("[[upstream]] hosts", text), problem);
        match Target::parse(text.get_ref()) {
            Ok(Target { pattern, port: None }) => Ok(pattern),
            Ok(Target { port: Some(_), .. }) => Err(fault(Problem::UpstreamPort)),
            Err(error) => Err(fault(Problem::Rule(error))),
        }
    }

    fn roots(
        &self,
        files: Option<&Spanned<Vec<PathBuf>>>,
        directory: &Path,
    ) -> Result<Vec<PathBuf>, ConfigError> {
        let Some(files) = files else { return Ok(Vec::new()) };
        if files.get_ref().is_empty() {
            return Err(self.fault(files.span(), "[[upstream]] ca", Problem::UpstreamTrustsNobody));
        }
        Ok(files.get_ref().iter().map(|file| directory.join(file)).collect())
    }

    fn client(&self, entry: &Upstream, directory: &Path) -> Result<Option<ClientCertificate>, ConfigError> {
        let (span, key) = match (&entry.client_cert, &entry.client_key) {
            (None, None) => return Ok(None),
            (Some(chain), Some(key)) => {
                let (chain, key) = (directory.join(chain.get_ref()), directory.join(key.get_ref()));
                return Ok(Some(ClientCertificate { chain, key }));
            }
            (Some(chain), None) => (chain.span(), "[[upstream]] client_cert"),
            (None, Some(key)) => (key.span(), "[[upstream]] client_key"),
        };
        Err(self.fault(span, key, Problem::ClientPair))
    }

    fn min_tls(&self, text: Option<&Spanned<String>>) -> Result<MinTls, ConfigError> {
        let Some(text) = text else { return Ok(MinTls::default()) };
        match text.get_ref().as_str() {
            "1.2" => Ok(MinTls::Tls12),
            "1.3" => Ok(MinTls::Tls13),
            _ => Err(self.fault(text.span(), &quoted("[[upstream]] min_tls", text), Problem::MinTls)),
        }
    }

    /// A time, in the form of those of `[limits]`.
    fn duration(
        &self,
        key: &'static str,
        text: Option<&Spanned<String>>,
    ) -> Result<Option<Duration>, ConfigError> {
        let Some(text) = text else { return Ok(None) };
        let read = limits::time(key, &Amount::Text(text.get_ref().clone()));
        read.map(Some).map_err(|error| {
            let key = quoted(&format!("[[upstream]] {key}"), text);
            self.fault(text.span(), &key, Problem::Duration(Box::new(error)))
        })
    }

    fn proxy(&self, name: &Spanned<String>, proxy: &Proxy) -> Result<Server, ConfigError> {
        let key = format!("[proxy.{}]", name.get_ref().escape_debug());
        // The URL is not repeated: a password may stand in it.
        let server = Server::parse(name.get_ref(), proxy.url.get_ref());
        let mut server = server.map_err(|error| {
            let (span, key) = match error {
                ProxyError::Name => (name.span(), key.clone()),
                ProxyError::Scheme
                | ProxyError::RemoteSocks
                | ProxyError::Userinfo
                | ProxyError::Path
                | ProxyError::Port
                | ProxyError::Host(_)
                | ProxyError::Username
                | ProxyError::Password => (proxy.url.span(), format!("{key} url")),
            };
            self.fault(span, &key, Problem::Proxy(error))
        })?;
        server = match (&proxy.username, &proxy.password) {
            (None, None) => server,
            (Some(username), Some(password)) => {
                let source = password.get_ref().source().map_err(|cause| {
                    self.fault(password.span(), &key, Problem::ProxyPassword(Box::new(cause)))
                })?;
                server.with_login(username.get_ref(), source).map_err(|error| {
                    self.fault(username.span(), &format!("{key} username"), Problem::Proxy(error))
                })?
            }
            (Some(username), None) => return Err(self.fault(username.span(), &key, Problem::ProxyLogin)),
            (None, Some(password)) => return Err(self.fault(password.span(), &key, Problem::ProxyLogin)),
        };
        let resolve = match proxy.resolve.as_ref().map(|text| (text, text.get_ref().as_str())) {
            None | Some((_, "here")) => Resolve::Here,
            Some((_, "there")) => Resolve::There,
            Some((text, _)) => {
                return Err(self.fault(text.span(), &format!("{key} resolve"), Problem::ProxyResolve));
            }
        };
        server = server.with_resolve(resolve);
        Ok(if proxy.default { server.by_default() } else { server })
    }
}

#[cfg(test)]
mod tests;
