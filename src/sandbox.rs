//! The embedder's facade: one guest's network, from its configuration to its end.
//!
//! [`Sandbox::builder`] takes a [`Config`]; [`Builder::prepare`] checks everything and makes what the guest has
//! to be given (the CA, the placeholders, its addresses); [`Prepared::start`] takes the guest's [`Link`] and
//! runs the sandbox on a thread of its own. Invariant: two sandboxes share nothing that can be changed.

mod desk;
mod error;
mod governor;
mod guest_env;
mod handle;
mod keeper;
mod load;
mod policy;
mod rules;
mod stats;
mod thread;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot};

use crate::audit::{Audit, Denials, Event, Record, Sink};
use crate::config::{Config, ConfigError};
use crate::control::Endpoint;
use crate::limits::Limits;
use crate::link::Link;
use crate::policy::{Dial, Live};
use crate::proxy::{HostDial, Port};
use crate::secret::{AwsKeySpec, SecretSpec, Secrets};
use crate::tls::{self, CertificateAuthority, Connector, Leaves, Roots};

pub use crate::proxy::{BindError, Published};
pub use error::StartError;
pub use guest_env::GuestEnv;
pub(crate) use guest_env::to_shell;
pub use rules::{Edit, PolicyChanged, PolicyError, PolicyRule, Reload};
pub use stats::Stats;

use governor::Change;
use rules::Rules;

/// What a sandbox is made of.
pub struct Builder {
    config: Config,
    secrets: Vec<SecretSpec>,
    pairs: Vec<String>,
    limits: Option<Limits>,
    slot: Option<u16>,
    dial: Box<dyn Dial + Send>,
    audit: Option<PathBuf>,
    control: Option<Endpoint>,
    reload: Option<Arc<Reload>>,
    on_termination: Option<Box<dyn FnOnce(Termination) + Send>>,
}

impl Builder {
    /// Rules, secrets and trust; everything is denied without.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// A secret whose value the embedder holds, beside those of the configuration.
    #[must_use]
    pub fn secret(mut self, secret: SecretSpec) -> Self {
        self.secrets.push(secret);
        self
    }

    /// An AWS key pair that the embedder holds: requests that the guest signs with its placeholders are signed again.
    #[must_use]
    pub fn aws_keys(mut self, keys: AwsKeySpec) -> Self {
        self.pairs.push(keys.name.clone());
        self.secrets.extend(keys.into_parts());
        self
    }

    /// Other bounds than those of the configuration.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Which of the 65,536 slots of guest addresses this sandbox has, whatever the configuration says; only a matter
    /// of taste where every guest has a link of its own. [`Config::addressing`] has all there is to set.
    #[must_use]
    pub fn slot(mut self, slot: u16) -> Self {
        self.slot = Some(slot);
        self
    }

    /// Another way to the world than the host's own TCP.
    #[must_use]
    pub fn dial(mut self, dial: impl Dial + Send + 'static) -> Self {
        self.dial = Box::new(dial);
        self
    }

    /// A file that every event is appended to. Where it cannot be written, nothing is injected.
    #[must_use]
    pub fn audit(mut self, path: &Path) -> Self {
        self.audit = Some(path.to_owned());
        self
    }

    /// Answers on a control socket too, as `portcullis status`, `env` and `ca` ask. Without, there is none.
    #[must_use]
    pub fn control(mut self, endpoint: Endpoint) -> Self {
        self.control = Some(endpoint);
        self
    }

    /// Where the configuration comes from, to be read again by [`Sandbox::reload`] and `portcullis policy NAME reload`.
    /// It is called on a thread of its own and may block.
    #[must_use]
    pub fn reload(mut self, read: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static) -> Self {
        self.reload = Some(Arc::new(read));
        self
    }

    /// Called once, on the sandbox's thread, when the sandbox ends.
    #[must_use]
    pub fn on_termination(mut self, hook: impl FnOnce(Termination) + Send + 'static) -> Self {
        self.on_termination = Some(Box::new(hook));
        self
    }

    /// Checks everything, loads the secrets, makes the CA and the placeholders. Starts no thread.
    pub fn prepare(mut self) -> Result<Prepared, StartError> {
        let limits = self.limits.unwrap_or_else(|| self.config.limits.clone());
        limits.check()?;
        let limits = Arc::new(limits);
        // As its files have it, for what is read again to be compared with.
        let start = self.config.clone();
        self.config.addressing.slot = self.slot.unwrap_or(self.config.addressing.slot);
        let policy = Arc::new(Live::new(load::policy(&self.config, &self.secrets)?));
        let upstreams = Arc::clone(policy.current().upstreams());
        let own = load::hosts(&self.secrets);
        let rules = Rules::new(Arc::clone(&policy), start, own, limits.live_rules);
        let (secrets, kept) = load::secrets(&self.config, (self.secrets, self.pairs), &limits)?;
        let authority = Arc::new(CertificateAuthority::new(tls::wall_clock())?);
        let roots = Roots::system(&self.config.upstream_ca)?;
        let sink = self.audit.as_deref().map(Sink::open).transpose()?;
        let addresses = self.config.network(Arc::clone(&limits))?;
        let ports: Result<Vec<_>, _> = self.config.publish.into_iter().map(Port::bind).collect();
        Ok(Prepared {
            guest_env: GuestEnv::new(&addresses, &secrets),
            parts: thread::Parts {
                nameservers: self.config.nameservers,
                secrets,
                kept,
                rules,
                reload: self.reload,
                leaves: Leaves::new(Arc::clone(&authority), &limits)?,
                connector: Connector::for_upstreams(&roots, Arc::clone(&upstreams), &limits)?,
                proxies: load::proxies(&upstreams, &limits)?,
                policy,
                limits,
                addresses,
                ports: ports?,
                dial: self.dial,
                on_termination: self.on_termination,
            },
            control: self.control,
            authority,
            roots,
            sink,
        })
    }
}

/// A sandbox that only waits for its guest's link.
pub struct Prepared {
    guest_env: GuestEnv,
    parts: thread::Parts,
    control: Option<Endpoint>,
    authority: Arc<CertificateAuthority>,
    roots: Roots,
    sink: Option<File>,
}

impl Prepared {
    /// The CA's certificate, to be added to the guest's trust store.
    #[must_use]
    pub fn ca_cert_pem(&self) -> &str {
        self.authority.pem()
    }

    /// The system's roots, those of the configuration and the sandbox's CA, for a guest that takes one file only.
    #[must_use]
    pub fn bundle_pem(&self) -> String {
        self.roots.to_pem() + self.authority.pem()
    }

    /// The guest's addresses and variables.
    #[must_use]
    pub fn guest_env(&self) -> &GuestEnv {
        &self.guest_env
    }

    /// The published ports as they are bound, in the order of the configuration.
    #[must_use]
    pub fn published(&self) -> Vec<Published> {
        self.parts.ports.iter().map(Port::published).collect()
    }

    /// The secrets, for whoever has to keep their values out of somewhere.
    #[must_use]
    pub fn secrets(&self) -> &Arc<Secrets> {
        &self.parts.secrets
    }

    /// Whether `text` holds a password of the operator's proxies, which no guest is to see.
    #[must_use]
    pub fn holds_a_password(&self, text: &[u8]) -> bool {
        let mut credentials = self.parts.proxies.iter().filter_map(|server| server.credentials());
        credentials.any(|credentials| credentials.stand_in(text))
    }

    /// Serves `link` on a thread of its own until the link ends or [`Sandbox::shutdown`].
    pub fn start<L: Link + Send + 'static>(self, link: L) -> Result<Sandbox, StartError> {
        let published = self.published();
        let sink = self.sink.map(|file| Sink::start(file, &self.parts.limits)).transpose();
        let audit = Audit::new(sink.map_err(StartError::Thread)?, &self.parts.limits);
        let (subscribers, denials) = (audit.subscribers(), audit.denials());
        let ca_cert_pem = self.authority.pem().to_owned();
        let (commands, inbox) = mpsc::channel(1);
        let (notices, noticed) = mpsc::channel(self.parts.limits.event_queue);
        let secrets = Arc::clone(&self.parts.secrets);
        let policy = Arc::clone(&self.parts.policy);
        let desk = self
            .control
            .map(|endpoint| desk::Desk::new(endpoint, commands.downgrade(), &self.guest_env, &ca_cert_pem));
        let thread = std::thread::Builder::new()
            .name("portcullis".into())
            .spawn(move || {
                thread::run(
                    self.parts,
                    audit,
                    link,
                    thread::Inbox { commands: inbox, notices: noticed, desk },
                )
            })
            .map_err(StartError::Thread)?;
        Ok(Sandbox {
            ca_cert_pem,
            guest_env: self.guest_env,
            published,
            secrets,
            policy,
            commands,
            notices,
            subscribers,
            denials,
            thread,
        })
    }
}

/// A running sandbox. Dropping it ends it at once; [`Sandbox::shutdown`] lets flows end first.
pub struct Sandbox {
    ca_cert_pem: String,
    guest_env: GuestEnv,
    published: Vec<Published>,
    secrets: Arc<Secrets>,
    policy: Arc<Live>,
    commands: mpsc::Sender<Command>,
    /// What this handle did by itself, for the record.
    notices: mpsc::Sender<Event>,
    subscribers: broadcast::Sender<Record>,
    denials: Arc<Denials>,
    thread: std::thread::JoinHandle<()>,
}

/// What a handle asks of the sandbox's thread.
enum Command {
    Stats(oneshot::Sender<Stats>),
    Policy(Change, oneshot::Sender<Result<PolicyChanged, PolicyError>>),
    Shutdown,
}

impl Sandbox {
    /// A sandbox that denies everything, to be configured.
    #[must_use]
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            secrets: Vec::new(),
            pairs: Vec::new(),
            limits: None,
            slot: None,
            dial: Box::new(HostDial),
            audit: None,
            control: None,
            reload: None,
            on_termination: None,
        }
    }

    /// The CA's certificate, to be added to the guest's trust store.
    #[must_use]
    pub fn ca_cert_pem(&self) -> &str {
        &self.ca_cert_pem
    }

    /// The guest's addresses and variables.
    #[must_use]
    pub fn guest_env(&self) -> &GuestEnv {
        &self.guest_env
    }

    /// The published ports as they are bound, in the order of the configuration.
    #[must_use]
    pub fn published(&self) -> &[Published] {
        &self.published
    }

    /// What was counted so far; `None` once the sandbox has ended.
    pub async fn stats(&self) -> Option<Stats> {
        let (reply, stats) = oneshot::channel();
        self.commands.send(Command::Stats(reply)).await.ok()?;
        stats.await.ok()
    }

    /// Events from now on. A slow reader misses the oldest (`Limits::event_queue`).
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Record> {
        self.subscribers.subscribe()
    }

    /// What was denied so far, in one line.
    #[must_use]
    pub fn denials(&self) -> Option<String> {
        self.denials.summary()
    }

    /// Takes no new flows, waits for those there are (`Limits::shutdown` at most), writes the audit file to its end.
    pub async fn shutdown(self) {
        // An error says that it has ended by itself.
        let _ = self.commands.send(Command::Shutdown).await;
        let thread = self.thread;
        // The thread ends by its own bound; a blocking join must not hold up the caller's runtime.
        let _ = tokio::task::spawn_blocking(move || thread.join()).await;
    }

    /// [`Sandbox::shutdown`] for callers without a runtime.
    pub fn shutdown_blocking(self) {
        let _ = self.commands.blocking_send(Command::Shutdown);
        let _ = self.thread.join();
    }
}

/// Why a sandbox ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Termination {
    /// Its owner asked for it, or dropped it.
    Shutdown,
    /// The guest's link ended.
    LinkClosed,
    /// The guest sent a placeholder where its secret's `elsewhere` says `terminate`; with the refusal's text.
    Misuse(String),
    /// The link failed, or the runtime could not be made.
    Failed(String),
}
