//! The flags that subcommands share: what `check` judges, and what `run` and `serve` start with.
//!
//! Texts only; [`crate::config`] gives them meaning, so that a fault reads the same from a flag and from a file.

use std::path::{Path, PathBuf};

use clap::Args;

use super::Failure;
use super::process::Log;
use super::reload::Originals;
use crate::config::{self, Config, ConfigError, Flags, Place, Problem};
use crate::control::{self, ClaimError, Endpoint, SandboxName};
use crate::sandbox::{Builder, Sandbox};

/// What a sandbox may reach and with which secrets.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Read this configuration file; run and serve read it again on SIGHUP
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Allow this host, at ports 80 and 443 or at PORT; *.SUFFIX is any host below it. HOST:PORT/udp allows UDP,
    /// HOST/icmp allows ping
    #[arg(long, value_name = "HOST[:PORT][/PROTOCOL]")]
    pub allow: Vec<String>,
    /// Rules, in one line each; they come before those of the file.
    #[arg(
        long,
        value_name = "RULE",
        help = "Judge by this rule before those of the file: ACTION [DIRECTION] [METHOD,METHOD] DESTINATION[:PORTS][/PROTOCOL] \
                [PATH]..., as in 'deny *.ads.example' or 'allow GET api.github.com /repos/acme/**'. DESTINATION is a host, an \
                address, a subnet, any, or @public, @private, @loopback, @link-local, @metadata, @multicast, @host"
    )]
    pub rule: Vec<String>,
    /// Allow nothing that the rules in this file do not allow too
    #[arg(long, value_name = "FILE")]
    pub floor: Option<PathBuf>,
    /// Give the secret in the variable NAME to these hosts, and allow them
    #[arg(long, value_name = "NAME@HOST[,HOST]")]
    pub secret: Vec<String>,
    /// Dial ADDR:PORT for HOST:PORT; the host still has to be allowed
    #[arg(long, value_name = "HOST:PORT:ADDR:PORT")]
    pub connect_to: Vec<String>,
    /// Trust the CA certificates in this file for upstreams, beside the system's roots
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Vec<PathBuf>,
}

/// Ports of the host's that lead into the guest, for whatever starts one.
#[derive(Args, Clone, Debug, Default)]
pub struct Ports {
    /// Let port HOST of this machine lead to port GUEST inside; bound to 127.0.0.1 unless ADDR says otherwise,
    /// HOST 0 is any free one
    #[arg(short, long, value_name = "[ADDR:]HOST:GUEST[/udp]")]
    pub publish: Vec<String>,
}

impl Options {
    /// The files that some of it stands in, which may be read again.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.config.iter().chain(&self.floor).map(PathBuf::as_path)
    }

    /// Whether there are any.
    #[must_use]
    pub fn has_file(&self) -> bool {
        self.files().next().is_some()
    }

    /// The configuration they come to, together with the file.
    pub fn load(&self) -> Result<Config, ConfigError> {
        self.load_with(&Ports::default())
    }

    /// The configuration they come to, together with the file and with ports that lead into the guest.
    pub fn load_with(&self, ports: &Ports) -> Result<Config, ConfigError> {
        self.load_by(&config::read, ports)
    }

    fn load_by(
        &self,
        read: &dyn Fn(&Path) -> Result<String, ConfigError>,
        ports: &Ports,
    ) -> Result<Config, ConfigError> {
        let flags = Flags {
            floor: self.floor.as_deref(),
            rule: &self.rule,
            allow: &self.allow,
            secret: &self.secret,
            connect_to: &self.connect_to,
            upstream_ca: &self.upstream_ca,
            publish: &ports.publish,
        };
        Config::load_by(read, self.config.as_deref(), flags)
    }
}

/// What a sandbox is started with, whatever its guest is.
#[derive(Args, Clone, Debug, Default)]
pub struct SandboxArgs {
    /// What the guest may reach.
    #[command(flatten)]
    pub options: Options,
    /// Who may come in.
    #[command(flatten)]
    pub ports: Ports,
    /// Let by whatever is public, and only tell what would have been denied; what a rule denies stays denied
    #[arg(long)]
    pub observe: bool,
    /// Append one JSON object a line for each flow, request, injection and denial
    #[arg(long, value_name = "FILE")]
    pub audit: Option<String>,
    /// Append what happens to FILE; the variable PORTCULLIS_LOG says how much
    #[arg(long, value_name = "FILE")]
    pub log: Option<String>,
    /// Call the sandbox NAME; status, env, secrets, policy and ca know it by that [default: the subcommand and our process]
    #[arg(long, value_name = "NAME")]
    pub name: Option<SandboxName>,
}

impl SandboxArgs {
    /// Reads what they name; a fault in any of them starts nothing. `maker` is the subcommand.
    pub fn load(&self, maker: &str, reader: Reader) -> Result<Loaded, Failure> {
        let mut config = self.options.load_with(&self.ports)?;
        config.observe = self.observe;
        let audit = self.audit.as_deref().map(|text| output_file("--audit", text)).transpose()?;
        let log = self.log.as_deref().map(|text| output_file("--log", text)).transpose()?;
        if audit.is_some() && audit == log {
            return Err("--audit and --log name the same file; give each one of its own".into());
        }
        let private = private_files(&config);
        let mut opened = Log::open(log.as_deref())?;
        config.findings().iter().for_each(|finding| opened.tell_later(finding.to_string()));
        let mut builder = Sandbox::builder().config(config);
        if self.options.has_file() {
            let (options, ports) = (self.options.clone(), self.ports.clone());
            builder = match reader {
                Reader::Command => {
                    let originals = Originals::of(options.files());
                    builder.reload(move || options.load_by(&|path| originals.read(path), &ports))
                }
                Reader::Nobody => builder.reload(move || options.load_with(&ports)),
            };
        }
        if let Some(audit) = &audit {
            builder = builder.audit(audit);
        }
        match self.claim(maker)? {
            Ok(endpoint) => builder = builder.control(endpoint),
            Err(why) => opened.tell_later(format!("no control socket: {why}")),
        }
        let hidden = audit.into_iter().chain(log).chain(control_directories()).collect();
        Ok(Loaded { builder, log: opened, hidden, private })
    }

    /// Takes the name, or one made of the subcommand and our process. Only a name that was asked for and cannot be had
    /// is a failure; without one the inner error is worth a line in the log.
    fn claim(&self, maker: &str) -> Result<Result<Endpoint, ClaimError>, Failure> {
        match &self.name {
            Some(name) => Ok(Ok(Endpoint::claim(name)?)),
            None => Ok(Endpoint::claim(&SandboxName::of_process(&SandboxName::parse(maker)?))),
        }
    }
}

/// Who else can get at this user's files while the sandbox runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reader {
    /// The command of `run`, which is this user's process.
    Command,
    /// The guest has files of its own.
    Nobody,
}

/// The files that secrets and passwords come from, and the keys of client certificates.
fn private_files(config: &Config) -> Vec<PathBuf> {
    let secrets = config.secrets.iter().filter_map(|secret| secret.from.file());
    let proxies = config.upstreams.proxies().iter().filter_map(|proxy| proxy.password()?.file());
    let clients = config.upstreams.options().iter().filter_map(|options| options.client.as_ref());
    let keys = clients.map(|client| client.key.as_path());
    secrets.chain(proxies).chain(keys).map(Path::to_owned).collect()
}

/// The directories of control sockets: the one in use, and others of this user's that are there.
fn control_directories() -> impl Iterator<Item = PathBuf> {
    // A link may be anybody's and lead anywhere.
    let is_directory = |path: &PathBuf| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    control::places().into_iter().filter(is_directory)
}

/// A sandbox that is configured, and the log that is not started yet.
pub struct Loaded {
    /// The sandbox.
    pub builder: Builder,
    /// Where to log to.
    pub(super) log: Log,
    /// The files written to and the directories of control sockets, which no guest may see.
    pub hidden: Vec<PathBuf>,
    /// The files that secrets, passwords and keys come from, which no guest may see either.
    pub private: Vec<PathBuf>,
}

/// Reads the value of `--audit` or `--log`: a file that can be made or added to.
pub fn output_file(flag: &'static str, text: &str) -> Result<PathBuf, ConfigError> {
    let path = PathBuf::from(text);
    let directory = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new(""),
    };
    if text.is_empty() || text.ends_with('/') || path.is_dir() || !directory.is_dir() {
        let place = Place::Flag { flag, text: text.to_owned() };
        return Err(ConfigError { place, problem: Problem::Output });
    }
    Ok(path)
}
