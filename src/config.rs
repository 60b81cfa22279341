//! What one sandbox is configured to do, from a file and from flags.
//!
//! It reads and joins; it loads no secret value and opens no connection. Invariant: a [`Config`] can be started
//! as it is, but for what only the moment of the start can tell: variables of the environment and CA files.

mod error;
mod file;
mod network;
mod rule;
mod secret;
mod shape;
mod upstream;

pub use error::{ConfigError, Place, Problem};
pub use secret::SecretEntry;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dns::Nameserver;
use crate::limits::Limits;
use crate::name::HostPattern;
use crate::net::{self, Addressing};
use crate::policy::{self, Action, ConnectTo, Finding, Policy, Protocol, Publish, Rule, RuleSource, overlap};
use crate::secret::Source;
use crate::upstream::Upstreams;

/// The whole configuration of one sandbox.
///
/// From text by [`Config::parse`], from a file and flags by [`Config::load`], or from parts by its fields over
/// [`Config::default`]; what the parts say together is checked again when a sandbox is prepared.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The platform's rules, which hold whatever the others say; `None` for none.
    pub floor: Option<Vec<Rule>>,
    /// Rules in order, the flags' before the file's; the first that is about a flow or request decides.
    pub rules: Vec<Rule>,
    /// What is allowed where no rule decides, the file's before the flags'.
    pub allow: Vec<Rule>,
    /// What holds where nothing else is about it; `None` denies.
    pub default: Option<Rule>,
    /// Secrets, each with its hosts.
    pub secrets: Vec<SecretEntry>,
    /// Names dialled at an operator's address.
    pub connect_to: Vec<ConnectTo>,
    /// CA files trusted for upstreams, beside the system's roots.
    pub upstream_ca: Vec<PathBuf>,
    /// Hosts that are spliced, never decrypted.
    pub passthrough: Vec<HostPattern>,
    /// Nameservers to ask; empty means the host's own.
    pub nameservers: Vec<Nameserver>,
    /// Ports of the host's that lead into the guest.
    pub publish: Vec<Publish>,
    /// How upstreams are reached and verified, where that differs by host.
    pub upstreams: Upstreams,
    /// The addresses of the guest's link.
    pub addressing: Addressing,
    /// The bounds of the sandbox.
    pub limits: Limits,
    /// Whether what is public is let by and only told, where no rule is about it (`--observe`).
    pub observe: bool,
}

/// Flags as they were typed, to be joined with a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Flags<'a> {
    /// `--floor`.
    pub floor: Option<&'a Path>,
    /// `--rule`.
    pub rule: &'a [String],
    /// `--allow`.
    pub allow: &'a [String],
    /// `--secret`.
    pub secret: &'a [String],
    /// `--connect-to`.
    pub connect_to: &'a [String],
    /// `--upstream-ca`.
    pub upstream_ca: &'a [PathBuf],
    /// `--publish`.
    pub publish: &'a [String],
}

/// What errors call a configuration that is in no file.
const IN_MEMORY: &str = "configuration";

impl Config {
    /// Reads the file, where one is given, and joins the flags to it.
    pub fn load(file: Option<&Path>, flags: Flags<'_>) -> Result<Self, ConfigError> {
        Self::load_by(&read, file, flags)
    }

    /// The same with files that are read by `read`.
    pub(crate) fn load_by(
        read: &dyn Fn(&Path) -> Result<String, ConfigError>,
        file: Option<&Path>,
        flags: Flags<'_>,
    ) -> Result<Self, ConfigError> {
        let text = file.map(|path| Ok((path, read(path)?))).transpose()?;
        let config = match &text {
            Some((path, text)) => file::parse(path, text)?,
            None => Self::default(),
        };
        let mut config = config.join(flags)?;
        if let Some(path) = flags.floor {
            config.floor = Some(rule::parse_floor(path, &read(path)?)?);
        }
        config.check().map_err(|error| match &text {
            Some((path, text)) => file::placed(path, text, error),
            None => error,
        })?;
        Ok(config)
    }

    /// Reads a configuration that is in memory, in the form of the file.
    ///
    /// Relative paths in it are relative to the working directory. Errors name `configuration`, line and column.
    ///
    /// ```
    /// use portcullis::config::Config;
    ///
    /// let config = Config::parse("[net]\nallow = ['pypi.org', '*.pythonhosted.org:443']")?;
    /// assert_eq!(config.allow.len(), 2);
    /// # Ok::<(), portcullis::config::ConfigError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Self::parse_as(Path::new(IN_MEMORY), text)
    }

    /// The same of a text that people know as the file `path`.
    pub(crate) fn parse_as(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let config = file::parse(path, text)?;
        config.check().map_err(|error| file::placed(path, text, error))?;
        Ok(config)
    }

    /// Adds what the flags say.
    fn join(mut self, flags: Flags<'_>) -> Result<Self, ConfigError> {
        let rule = |text: &String| {
            Rule::parse(text, RuleSource::RuleFlag(text.clone()))
                .map_err(|error| ConfigError::flag("--rule", text, Problem::Rule(error)))
        };
        let rules = flags.rule.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
        self.rules.splice(..0, rules);
        for text in flags.allow {
            let rule = Rule::allowing(text, RuleSource::Flag(text.clone()));
            self.allow.push(rule.map_err(|error| ConfigError::flag("--allow", text, Problem::Rule(error)))?);
        }
        for text in flags.connect_to {
            let connect_to = ConnectTo::parse(text)
                .map_err(|error| ConfigError::flag("--connect-to", text, Problem::Rule(error)))?;
            let taken = |own: &&ConnectTo| own.host == connect_to.host && own.port == connect_to.port;
            if let Some(taken) = self.connect_to.iter().find(taken) {
                let problem = Problem::ConnectToTwice { to: taken.to };
                return Err(ConfigError::flag("--connect-to", text, problem));
            }
            self.connect_to.push(connect_to);
        }
        for text in flags.secret {
            let fault = |problem| ConfigError::flag("--secret", &secret::repeatable(text), problem);
            let entry = SecretEntry::from_flag(text).map_err(fault)?;
            if self.secrets.iter().any(|own| own.name == entry.name) {
                return Err(fault(Problem::SecretTwice { name: entry.name }));
            }
            self.secrets.push(entry);
        }
        for text in flags.publish {
            let fault = |problem| ConfigError::flag("--publish", text, problem);
            let publish = Publish::parse(text).map_err(|error| fault(Problem::Publish(error)))?;
            if self.publish.iter().any(|own| own.collides(&publish)) {
                return Err(fault(Problem::PublishTwice { bind: publish.bind() }));
            }
            self.publish.push(publish);
        }
        self.upstream_ca.extend(flags.upstream_ca.iter().cloned());
        Ok(self)
    }

    /// Checks what two parts say together.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.network(Arc::default())?;
        self.refuse_contradictions()?;
        for secret in &self.secrets {
            self.not_passed_through(&secret.name, secret.hosts.iter().map(|(pattern, _)| pattern))?;
        }
        for pattern in &self.passthrough {
            let allows = |rule: &&Rule| {
                rule.action() == Action::Allow && rule.services().protocols().contains(&Protocol::Tcp)
            };
            if let Some(host) = self.upstreams.contradiction(pattern) {
                let problem = Problem::UpstreamPassedThrough { host: host.to_string() };
                return Err(ConfigError { place: Place::Passthrough(pattern.to_string()), problem });
            }
            if !self.written().filter(allows).any(|rule| rule.destination().meets(pattern)) {
                let problem = Problem::PassthroughNotAllowed;
                return Err(ConfigError { place: Place::Passthrough(pattern.to_string()), problem });
            }
        }
        Ok(())
    }

    /// What is odd about the rules, and no reason not to start.
    #[must_use]
    pub fn findings(&self) -> Vec<Finding> {
        self.built(None, &[], &self.default).build().findings()
    }

    fn refuse_contradictions(&self) -> Result<(), ConfigError> {
        for finding in self.findings() {
            if let Finding::Contradiction(pair) = &finding {
                let problem = Problem::RuleContradicts {
                    other: pair.other.to_string(),
                    place: pair.other.source().to_string(),
                };
                return Err(ConfigError { place: rule::place(pair.rule.source()), problem });
            }
        }
        Ok(())
    }

    /// The rules that somebody wrote, in order.
    fn written(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().chain(&self.allow).chain(&self.default)
    }

    /// Makes sure that the secret `name` for `hosts` could be injected: none of them is passed through.
    pub(crate) fn not_passed_through<'a>(
        &self,
        name: &str,
        mut hosts: impl Iterator<Item = &'a HostPattern>,
    ) -> Result<(), ConfigError> {
        let passed = |host| self.passthrough.iter().find(|pattern| overlap(host, pattern));
        match hosts.find_map(passed) {
            Some(pattern) => {
                let problem = Problem::SecretPassedThrough { name: name.to_owned() };
                Err(ConfigError { place: Place::Passthrough(pattern.to_string()), problem })
            }
            None => Ok(()),
        }
    }

    /// The guest's network it comes to.
    ///
    /// # Errors
    /// The addresses do not hold together.
    pub fn network(&self, limits: Arc<Limits>) -> Result<net::Config, ConfigError> {
        self.addressing
            .config(limits)
            .map_err(|error| ConfigError { place: Place::Addressing, problem: Problem::Addressing(error) })
    }

    /// The policy it comes to.
    #[must_use]
    pub fn policy(&self) -> Policy {
        self.policy_with([])
    }

    /// The policy it comes to, with these rules beside those of its own secrets.
    pub fn policy_with(&self, more: impl IntoIterator<Item = Rule>) -> Policy {
        self.policy_over(None, more)
    }

    /// The same over one more floor.
    pub(crate) fn policy_over(&self, floor: Option<&[Rule]>, more: impl IntoIterator<Item = Rule>) -> Policy {
        let more: Vec<Rule> = more.into_iter().collect();
        let built = |default: &Option<Rule>| self.built(floor, &more, default);
        if !self.observe {
            return built(&self.default).build();
        }
        // "deny" as the default is what is only observed; a rule that denies is not.
        let default = self.default.clone().filter(|rule| rule.action() == Action::Allow);
        built(&default).observe(built(&self.default).build()).build()
    }

    fn built(&self, floor: Option<&[Rule]>, more: &[Rule], default: &Option<Rule>) -> policy::Builder {
        let mut builder = Policy::builder().upstreams(Arc::new(self.upstreams.clone()));
        for floor in floor.into_iter().chain(self.floor.as_deref()) {
            builder = builder.floor(floor.iter().cloned());
        }
        for rule in self.rules.iter().chain(&self.allow) {
            builder = builder.rule(rule.clone());
        }
        for secret in &self.secrets {
            for (pattern, port) in &secret.hosts {
                builder = builder.rule(Rule::for_secret(pattern.clone(), *port, &secret.name));
            }
        }
        for rule in more.iter().chain(default) {
            builder = builder.rule(rule.clone());
        }
        for connect_to in &self.connect_to {
            builder = builder.connect_to(connect_to.clone());
        }
        for pattern in &self.passthrough {
            builder = builder.passthrough(pattern.clone());
        }
        builder
    }

    /// Makes sure that each secret's variable is set, as `lookup` sees the environment.
    pub fn require_variables(&self, lookup: impl Fn(&str) -> Option<OsString>) -> Result<(), ConfigError> {
        for entry in &self.secrets {
            let Source::Env(variable) = &entry.from else { continue };
            if lookup(variable).is_none() {
                let shown = |name: &str| secret::repeatable_name(name).to_owned();
                let problem = Problem::VariableUnset { variable: shown(variable) };
                return Err(ConfigError { place: Place::Secret(shown(&entry.name)), problem });
            }
        }
        Ok(())
    }
}

/// Reads a file from wherever it is.
pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|error| ConfigError {
        place: Place::File(path.to_owned()),
        problem: Problem::Unreadable(error.kind()),
    })
}

#[cfg(test)]
mod tests;
