//! From a configuration to what a sandbox runs on.

use crate::config::{Config, ConfigError, Place, Problem, SecretEntry};
use crate::policy::{AllowRule, Policy, overlap};
use crate::secret::{Location, SecretHost, SecretSpec, Source};

use super::StartError;

/// The secrets of a configuration, with their values.
pub(super) fn secrets(config: &Config) -> Result<Vec<SecretSpec>, StartError> {
    config.require_variables(|name| std::env::var_os(name))?;
    config.secrets.iter().map(secret).collect()
}

fn secret(entry: &SecretEntry) -> Result<SecretSpec, StartError> {
    let place = |text: &String| {
        Location::parse(text).map_err(|cause| StartError::Location { name: entry.name.clone(), cause })
    };
    Ok(SecretSpec {
        name: entry.name.clone(),
        value: Source::parse(&entry.from)?.load()?,
        hosts: entry
            .hosts
            .iter()
            .map(|(pattern, port)| SecretHost { pattern: pattern.clone(), port: *port })
            .collect(),
        swap: entry.swap.iter().map(place).collect::<Result<_, _>>()?,
        elsewhere: entry.elsewhere,
        max_per_request: entry.max_per_request,
    })
}

/// The rules of a configuration, and the hosts of secrets that the embedder added.
pub(super) fn policy(config: &Config, secrets: &[SecretSpec]) -> Result<Policy, StartError> {
    config.check()?;
    let mut builder = config.rules();
    for secret in secrets {
        config.not_passed_through(&secret.name, secret.hosts.iter().map(|host| &host.pattern))?;
        for host in &secret.hosts {
            builder = builder.allow(AllowRule::for_secret(host.pattern.clone(), host.port, &secret.name));
        }
    }
    Ok(builder.build())
}

/// A secret of a host that is never decrypted could never be injected.
///
/// A configuration checks its own secrets; here are those that the embedder added too.
pub(super) fn refuse_passed_through(config: &Config, secrets: &[SecretSpec]) -> Result<(), ConfigError> {
    for pattern in &config.passthrough {
        let held = |secret: &&SecretSpec| secret.hosts.iter().any(|host| overlap(&host.pattern, pattern));
        if let Some(secret) = secrets.iter().find(held) {
            let problem = Problem::SecretPassedThrough { name: secret.name.clone() };
            return Err(ConfigError { place: Place::Passthrough(pattern.to_string()), problem });
        }
    }
    Ok(())
}
