//! The flags that subcommands share.
//!
//! Texts only; [`crate::config`] gives them meaning, so that a fault reads the same from a flag and from a file.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::config::{Config, ConfigError, Flags, Place, Problem};

/// What a sandbox may reach and with which secrets.
#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Read this configuration file
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Allow this host, at ports 80 and 443 or at PORT; *.SUFFIX is any host below it. HOST:PORT/udp allows UDP,
    /// HOST/icmp allows ping
    #[arg(long, value_name = "HOST[:PORT][/PROTOCOL]")]
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

/// Ports of the host's that lead into the guest, for whatever starts one.
#[derive(Args, Clone, Debug, Default)]
pub struct Ports {
    /// Let port HOST of this machine lead to port GUEST inside; bound to 127.0.0.1 unless ADDR says otherwise,
    /// HOST 0 is any free one
    #[arg(short, long, value_name = "[ADDR:]HOST:GUEST[/udp]")]
    pub publish: Vec<String>,
}

impl Options {
    /// The configuration they come to, together with the file.
    pub fn load(&self) -> Result<Config, ConfigError> {
        self.load_with(&Ports::default())
    }

    /// The configuration they come to, together with the file and with ports that lead into the guest.
    pub fn load_with(&self, ports: &Ports) -> Result<Config, ConfigError> {
        let flags = Flags {
            allow: &self.allow,
            secret: &self.secret,
            connect_to: &self.connect_to,
            upstream_ca: &self.upstream_ca,
            publish: &ports.publish,
        };
        Config::load(self.config.as_deref(), flags)
    }
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
