//! Why a sandbox does not start.
//!
//! Invariant: each says in one line what to do, and no value of a secret.

use crate::audit::SinkError;
use crate::config::ConfigError;
use crate::limits::LimitError;
use crate::proxy::BindError;
use crate::secret::{LocationError, SecretError, SourceError};
use crate::tls::{CaError, LeafError, TlsConfigError};
use crate::upstream::LoginError;

/// Why a sandbox does not start. Each says in one line what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration contradicts itself, or names what is not there.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its bounds cannot hold.
    #[error("limits: {0}")]
    Limit(#[from] LimitError),
    /// A secret's value could not be had.
    #[error("secret {name}: {cause}")]
    Source {
        /// The secret.
        name: String,
        /// Why not.
        cause: SourceError,
    },
    /// A secret is not usable.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A secret's places of injection make no sense.
    #[error("secret {name}: {cause}")]
    Location {
        /// The secret.
        name: String,
        /// Why not.
        cause: LocationError,
    },
    /// The sandbox's CA could not be made.
    #[error(transparent)]
    Authority(#[from] CaError),
    /// A proxy's password cannot be used.
    #[error("proxy {name}: password {cause}")]
    Proxy {
        /// The proxy.
        name: String,
        /// Why not.
        cause: Box<LoginError>,
    },
    /// Nor its leaves.
    #[error(transparent)]
    Leaf(#[from] LeafError),
    /// The upstream trust could not be set up.
    #[error(transparent)]
    Tls(#[from] TlsConfigError),
    /// A port cannot be published.
    #[error(transparent)]
    Publish(#[from] BindError),
    /// The audit file cannot be opened.
    #[error(transparent)]
    Audit(#[from] SinkError),
    /// The system gave no thread.
    #[error("cannot start a thread: {0}; raise the limit of processes (ulimit -u)")]
    Thread(std::io::Error),
}
