//! From a configuration to what a sandbox runs on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use crate::config::{Config, ConfigError, Place, Problem, SecretEntry};
use crate::limits::Limits;
use crate::policy::{Policy, Rule, overlap};
use crate::secret::{Loaded, Location, Origins, SecretHost, SecretSpec, Secrets, Source};
use crate::upstream::{Proxy, ProxyServer, Upstreams};

use super::StartError;
use super::keeper::Kept;

/// A secret of a configuration, and where its values come from.
struct Sourced {
    spec: SecretSpec,
    source: Source,
    expires: Option<SystemTime>,
}

/// The secrets of a configuration and those that the embedder added, and what is to be kept of the former. Commands
/// run, one after another.
pub(super) fn secrets(
    config: &Config,
    (own, mut pairs): (Vec<SecretSpec>, Vec<String>),
    limits: &Limits,
) -> Result<(Arc<Secrets>, Vec<Kept>), StartError> {
    config.require_variables(|name| std::env::var_os(name))?;
    refuse_passed_through(config, &own)?;
    let sourced = config.secrets.iter().map(|entry| secret(entry, limits));
    let sourced = sourced.collect::<Result<Vec<_>, _>>()?;
    let (mut specs, mut origins) = (Vec::new(), Origins::new());
    for Sourced { spec, source, expires } in sourced {
        origins.insert(spec.name.clone(), (source, expires));
        specs.push(spec);
    }
    specs.extend(own);
    let configured = config.secrets.iter().filter_map(|entry| entry.pair.clone());
    pairs.extend(configured.filter(|name| !pairs.contains(name)).collect::<BTreeSet<_>>());
    let secrets = Secrets::within((specs, &pairs), &origins, limits)?;
    Ok((secrets, origins.into_iter().map(|(name, (source, _))| Kept { name, source }).collect()))
}

fn secret(entry: &SecretEntry, limits: &Limits) -> Result<Sourced, StartError> {
    let place = |text: &String| {
        Location::parse(text).map_err(|cause| StartError::Location { name: entry.name.clone(), cause })
    };
    let swap = match entry.pair {
        Some(_) => vec![Location::Signature],
        None => entry.swap.iter().map(place).collect::<Result<_, _>>()?,
    };
    let loaded = entry.from.load(limits);
    let Loaded { value, expires } =
        loaded.map_err(|cause| StartError::Source { name: entry.name.clone(), cause })?;
    let spec = SecretSpec {
        name: entry.name.clone(),
        value,
        hosts: entry
            .hosts
            .iter()
            .map(|(pattern, port)| SecretHost { pattern: pattern.clone(), port: *port })
            .collect(),
        swap,
        shape: entry.shape.clone(),
        elsewhere: entry.elsewhere,
        max_per_request: entry.max_per_request,
    };
    Ok(Sourced { spec, source: entry.from.clone(), expires })
}

/// The rules of a configuration, and the hosts of secrets that the embedder added.
pub(super) fn policy(config: &Config, secrets: &[SecretSpec]) -> Result<Policy, StartError> {
    config.check()?;
    for secret in secrets {
        config.not_passed_through(&secret.name, secret.hosts.iter().map(|host| &host.pattern))?;
    }
    Ok(config.policy_with(implied(&hosts(secrets))))
}

/// The names and hosts of secrets.
pub(super) fn hosts(secrets: &[SecretSpec]) -> Vec<(String, Vec<SecretHost>)> {
    secrets.iter().map(|secret| (secret.name.clone(), secret.hosts.clone())).collect()
}

/// The rules that come with secrets.
pub(super) fn implied(secrets: &[(String, Vec<SecretHost>)]) -> Vec<Rule> {
    let of_one = |(name, hosts): &(String, Vec<SecretHost>)| -> Vec<Rule> {
        hosts.iter().map(|host| Rule::for_secret(host.pattern.clone(), host.port, name)).collect()
    };
    secrets.iter().flat_map(of_one).collect()
}

/// The operator's proxies, with their passwords. Commands run, one after another.
pub(super) fn proxies(upstreams: &Upstreams, limits: &Limits) -> Result<Vec<Arc<ProxyServer>>, StartError> {
    let load = |proxy: &Proxy| match ProxyServer::load(proxy, limits) {
        Ok(server) => Ok(Arc::new(server)),
        Err(cause) => Err(StartError::Proxy { name: proxy.name().to_owned(), cause: Box::new(cause) }),
    };
    upstreams.proxies().iter().map(load).collect()
}

/// A secret of a host that is never decrypted could never be injected.
///
/// A configuration checks its own secrets; here are those that the embedder added too.
fn refuse_passed_through(config: &Config, secrets: &[SecretSpec]) -> Result<(), ConfigError> {
    for pattern in &config.passthrough {
        let held = |secret: &&SecretSpec| secret.hosts.iter().any(|host| overlap(&host.pattern, pattern));
        if let Some(secret) = secrets.iter().find(held) {
            let problem = Problem::SecretPassedThrough { name: secret.name.clone() };
            return Err(ConfigError { place: Place::Passthrough(pattern.to_string()), problem });
        }
    }
    Ok(())
}
