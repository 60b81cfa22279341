//! The flags that `run` and `check` share.
//!
//! Texts only; [`crate::config`] gives them meaning, so that a fault reads the same from a flag and from a file.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{Config, ConfigError, Flags, Place, Problem};
#[cfg(target_os = "linux")]
use crate::control::{self, ClaimError, Endpoint, SandboxName};

/// What a sandbox may reach and with which secrets.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Read this configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Allow this host, at ports 80 and 443 or at PORT; *.SUFFIX is any host below it
    #[arg(long, value_name = "HOST[:PORT]")]
    pub allow: Vec<String>,
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

impl Options {
    /// The configuration they come to, together with the file.
    pub fn load(&self) -> Result<Config, ConfigError> {
        let flags = Flags {
            allow: &self.allow,
            secret: &self.secret,
            connect_to: &self.connect_to,
            upstream_ca: &self.upstream_ca,
        };
        Config::load(self.config.as_deref(), flags)
    }
}

/// What a sandbox that runs is called.
#[cfg(target_os = "linux")]
#[derive(Args, Clone, Debug, Default)]
pub struct Naming {
    /// Call the sandbox NAME, for status, env and ca
    #[arg(long, value_name = "NAME")]
    pub name: Option<SandboxName>,
}

/// A control socket, or why the sandbox goes without.
#[cfg(target_os = "linux")]
pub enum Claimed {
    /// The socket, for [`Builder::control`](crate::sandbox::Builder::control).
    Endpoint(Endpoint),
    /// Nobody asked for a name, and there is no place for a socket: worth a line in the log.
    Without(ClaimError),
}

#[cfg(target_os = "linux")]
impl Naming {
    /// Takes the name, or that of `maker` and our process where none was given. Only a name that was given and
    /// cannot be had is an error.
    pub fn claim(&self, maker: &SandboxName) -> Result<Claimed, ClaimError> {
        match &self.name {
            Some(name) => Endpoint::claim(name).map(Claimed::Endpoint),
            None => {
                let claimed = Endpoint::claim(&SandboxName::of_process(maker));
                Ok(claimed.map_or_else(Claimed::Without, Claimed::Endpoint))
            }
        }
    }
}

/// The directories of control sockets, which no guest may see: the one in use, and others that are there.
#[cfg(target_os = "linux")]
#[must_use]
pub fn control_directories() -> Vec<PathBuf> {
    // A link may be anybody's and lead anywhere.
    let is_directory = |path: &PathBuf| path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    control::places().into_iter().filter(is_directory).collect()
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
