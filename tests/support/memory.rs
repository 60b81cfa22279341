//! A sandbox behind its public facade, a guest on an in-memory cable, and a canary for its secret.
//!
//! The sandbox runs on its own thread in real time, as it does anywhere; guest, client and upstream share the
//! test's. Every frame, stream, answer and log line on the guest's side is watched for the canary, and
//! [`Bed::finish`] fails where it was seen.

#[path = "memory/client.rs"]
mod client;
#[path = "memory/dns.rs"]
mod dns;
#[path = "memory/origin.rs"]
mod origin;

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use portcullis::audit::{Event, Record};
use portcullis::config::{Config, Flags};
use portcullis::limits::Limits;
use portcullis::link::{Link, memory};
use portcullis::name::HostPattern;
use portcullis::net;
use portcullis::policy::{ConnectTo, Dial, Publish, Rule, RuleSource};
use portcullis::sandbox::{Builder, Sandbox, Termination};
use portcullis::secret::{Location, SecretSpec, SecretValue};
use tokio::sync::broadcast;
use tokio::task::LocalSet;

use crate::canary::{self, Watched};
use crate::guest::Guest;
use crate::pki;

pub(crate) use crate::canary::Canary;
pub(crate) use client::{End, Http, Offer};
pub(crate) use dns::{addresses, question};
pub(crate) use origin::{Origin, Reply, Seen};

/// The host that may have the secret.
pub(crate) const HOST: &str = "api.example.com";
/// A host that may be reached and may not have it.
pub(crate) const OTHER: &str = "other.example.com";

/// What a test waits at most: a hang is a failure, not a hang.
const WATCHDOG: Duration = Duration::from_secs(30);
/// Frames in each direction of the cable.
const CABLE: usize = 256;
/// The IP MTU of the guest.
const MTU: usize = 1500;

/// Runs a test on one thread.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    canary::over(|| {
        LocalSet::new().block_on(&runtime, async {
            tokio::time::timeout(WATCHDOG, Box::pin(test)).await.expect("the test hangs");
        });
    });
}

/// A sandbox to be started.
pub(crate) struct Plan {
    config: Config,
    limits: Limits,
    slot: u16,
    builder: Builder,
    canary: Canary,
}

impl Plan {
    /// The test CA for upstreams, and the secret `TOKEN` for [`HOST`]; nothing leads anywhere yet.
    pub(crate) fn new() -> Self {
        Self::with_swap(Location::defaults())
    }

    /// The same with other places of injection.
    pub(crate) fn with_swap(swap: Vec<Location>) -> Self {
        let canary = Canary::new();
        // No question leaves this machine: nobody listens there.
        let nameservers = vec![SocketAddr::from(([127, 0, 0, 1], 9)).into()];
        let config = Config { upstream_ca: vec![pki::path("ca.pem")], nameservers, ..Config::default() };
        // Flows that a test left open are not waited for.
        let limits = Limits { shutdown: Duration::from_millis(50), ..Limits::default() };
        let builder = Sandbox::builder().secret(secret("TOKEN", canary.value(), HOST, swap));
        Self { config, limits, slot: 0, builder, canary }
    }

    /// The secret's value.
    pub(crate) fn canary(&self) -> String {
        self.canary.value().to_owned()
    }

    /// Another secret, for another host.
    pub(crate) fn secret(mut self, name: &str, value: &str, host: &str) -> Self {
        self.builder = self.builder.secret(secret(name, value, host, Location::defaults()));
        self
    }

    /// A secret with all that can be said of one.
    pub(crate) fn spec(mut self, spec: SecretSpec) -> Self {
        self.builder = self.builder.secret(spec);
        self
    }

    pub(crate) fn on_termination(mut self, hook: impl FnOnce(Termination) + Send + 'static) -> Self {
        self.builder = self.builder.on_termination(hook);
        self
    }

    /// `--allow`.
    pub(crate) fn allow(mut self, rule: &str) -> Self {
        self.config.allow.push(Rule::allowing(rule, RuleSource::Flag(rule.to_owned())).unwrap());
        self
    }

    /// `--rule`.
    pub(crate) fn rule(mut self, rule: &str) -> Self {
        self.config.rules.push(Rule::parse(rule, RuleSource::RuleFlag(rule.to_owned())).unwrap());
        self
    }

    /// `--connect-to`.
    pub(crate) fn connect(mut self, host: &str, port: u16, to: SocketAddr) -> Self {
        self.config.connect_to.push(ConnectTo::parse(&format!("{host}:{port}:{to}")).unwrap());
        self
    }

    /// [`HOST`] at 443 is `origin`.
    pub(crate) fn to(self, origin: &Origin) -> Self {
        self.connect(HOST, 443, origin.addr)
    }

    /// A secret of the configuration, for [`HOST`].
    pub(crate) fn from(mut self, name: &str, source: &str) -> Self {
        let text = format!("[secrets.{name}]\nhosts = [\"{HOST}\"]\nfrom = {source}\n");
        self.config.secrets.extend(Config::parse(&text).unwrap().secrets);
        self
    }

    /// The `[[upstream]]` and `[proxy]` of a configuration.
    pub(crate) fn toml(mut self, text: &str) -> Self {
        self.config.upstreams = Config::parse(text).unwrap().upstreams;
        self
    }

    /// The same of a file in that directory.
    pub(crate) fn toml_in(mut self, directory: &Path, text: &str) -> Self {
        let file = directory.join("portcullis.toml");
        std::fs::write(&file, text).unwrap();
        self.config.upstreams = Config::load(Some(&file), Flags::default()).unwrap().upstreams;
        self
    }

    /// `[tls] passthrough`.
    pub(crate) fn passthrough(mut self, host: &str) -> Self {
        self.config.passthrough.push(HostPattern::parse(host).unwrap());
        self
    }

    /// `--publish`.
    pub(crate) fn publish(mut self, port: &str) -> Self {
        self.config.publish.push(Publish::parse(port).unwrap());
        self
    }

    /// `[net] nameservers`.
    pub(crate) fn nameserver(mut self, addr: SocketAddr) -> Self {
        self.config.nameservers = vec![addr.into()];
        self
    }

    pub(crate) fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    pub(crate) fn slot(mut self, slot: u16) -> Self {
        self.slot = slot;
        self
    }

    pub(crate) fn dial(mut self, dial: impl Dial + Send + 'static) -> Self {
        self.builder = self.builder.dial(dial);
        self
    }

    pub(crate) fn audit(mut self, path: &Path) -> Self {
        self.builder = self.builder.audit(path);
        self
    }

    /// Why it does not start.
    pub(crate) fn refusal(self) -> String {
        let Self { config, builder, .. } = self;
        builder.config(config).prepare().err().expect("it would start").to_string()
    }

    /// Starts the sandbox, and plugs a guest in.
    pub(crate) fn start(self) -> Bed {
        let (ours, theirs) = memory::pair(CABLE, MTU);
        self.start_on(ours, theirs)
    }

    /// The same on another cable.
    pub(crate) fn start_on<O, T>(self, ours: O, theirs: T) -> Bed
    where
        O: Link + Send + 'static,
        T: Link + 'static,
    {
        let Self { config, limits, slot, builder, canary } = self;
        let prepared = builder.config(config).limits(limits).slot(slot).prepare().unwrap();
        let sandbox = prepared.start(ours).unwrap();
        let network = net::Config::for_slot(slot);
        let guest = Guest::new(watched(&canary, theirs), &network);
        Bed { guest, events: sandbox.events(), sandbox: Some(sandbox), network, canary }
    }
}

fn watched<L: Link>(canary: &Canary, theirs: L) -> Watched<L> {
    canary.watched(canary::End::Guests, theirs)
}

fn secret(name: &str, value: &str, host: &str, swap: Vec<Location>) -> SecretSpec {
    let value = SecretValue::new(value.into()).unwrap();
    SecretSpec { swap, ..SecretSpec::new(name, value, &[host]).unwrap() }
}

/// A running sandbox and its guest. It is to be [finished](Self::finish).
pub(crate) struct Bed {
    pub(crate) guest: Guest,
    sandbox: Option<Sandbox>,
    events: broadcast::Receiver<Record>,
    network: net::Config,
    pub(crate) canary: Canary,
}

impl Bed {
    pub(crate) fn sandbox(&self) -> &Sandbox {
        self.sandbox.as_ref().unwrap()
    }

    /// Unplugs the guest and plugs another in.
    pub(crate) fn replug<T: Link + 'static>(&mut self, theirs: T) {
        self.guest = Guest::new(watched(&self.canary, theirs), &self.network);
    }

    /// The gateway's IPv4 address.
    pub(crate) fn gateway(&self) -> IpAddr {
        self.network.gateway_v4.into()
    }

    /// The placeholder of `TOKEN`.
    pub(crate) fn token(&self) -> String {
        self.placeholder("TOKEN")
    }

    pub(crate) fn placeholder(&self, name: &str) -> String {
        let env = self.sandbox().guest_env();
        let (_, placeholder) = env.placeholders.iter().find(|(own, _)| own == name).unwrap();
        assert!(!placeholder.contains(self.canary.value()));
        placeholder.clone()
    }

    /// The next event that `wanted` makes something of; others are passed over.
    pub(crate) async fn event<T>(&mut self, wanted: impl Fn(&Event) -> Option<T>) -> T {
        loop {
            let record = self.events.recv().await.expect("the sandbox has ended");
            self.canary.check("an event", serde_json::to_string(&record).unwrap().as_bytes());
            if let Some(found) = wanted(&record.event) {
                return found;
            }
        }
    }

    /// Ends the sandbox; the canary must have been nowhere.
    pub(crate) async fn finish(mut self) {
        self.sandbox.take().unwrap().shutdown().await;
        while let Ok(record) = self.events.try_recv() {
            self.canary.check("an event", serde_json::to_string(&record).unwrap().as_bytes());
        }
        self.canary.assert_unseen();
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        assert!(self.sandbox.is_none() || std::thread::panicking(), "Bed::finish was not called");
    }
}
