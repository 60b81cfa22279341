//! The sandbox's own thread: runtime, link, flows, until one of them ends.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

use super::desk::Desk;
use super::governor::Governor;
use super::keeper::{Keeper, Kept};
use super::rules::{Reload, Rules};
use super::{Command, Stats, Termination};
use crate::audit::{Audit, Event};
use crate::dns::{Gateways, Nameserver, Resolver, Setup};
use crate::limits::Limits;
use crate::link::Link;
use crate::net;
use crate::policy::{Dial, Live};
use crate::proxy::{self, Context, Datagrams, Port, Refusals, Standings};
use crate::secret::Secrets;
use crate::tls::{Connector, Leaves};
use crate::upstream::ProxyServer;

/// Everything the thread takes with it.
pub(super) struct Parts {
    pub(super) limits: Arc<Limits>,
    pub(super) nameservers: Vec<Nameserver>,
    pub(super) secrets: Arc<Secrets>,
    pub(super) kept: Vec<Kept>,
    pub(super) policy: Arc<Live>,
    pub(super) rules: Rules,
    pub(super) reload: Option<Arc<Reload>>,
    pub(super) leaves: Leaves,
    pub(super) connector: Connector,
    pub(super) proxies: Vec<Arc<ProxyServer>>,
    pub(super) addresses: net::Config,
    pub(super) ports: Vec<Port>,
    pub(super) dial: Box<dyn Dial + Send>,
    pub(super) on_termination: Option<Box<dyn FnOnce(Termination) + Send>>,
}

/// How the thread is spoken to.
pub(super) struct Inbox {
    pub(super) commands: mpsc::Receiver<Command>,
    /// What handles did with secrets.
    pub(super) notices: mpsc::Receiver<Event>,
    pub(super) desk: Option<Desk>,
}

/// Runs a sandbox to its end.
pub(super) fn run<L: Link + 'static>(mut parts: Parts, audit: Audit, link: L, inbox: Inbox) {
    let hook = parts.on_termination.take();
    let termination = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => LocalSet::new().block_on(&runtime, serve(parts, audit, link, inbox)),
        Err(error) => Termination::Failed(format!("no runtime: {error}")),
    };
    tracing::debug!(?termination, "sandbox ended");
    if let Some(hook) = hook {
        hook(termination);
    }
}

async fn serve<L: Link + 'static>(mut parts: Parts, audit: Audit, link: L, inbox: Inbox) -> Termination {
    let Inbox { mut commands, notices, desk } = inbox;
    let limits = Arc::clone(&parts.limits);
    let (driver, arrivals) = net::start(link, parts.addresses.clone());
    let (counters, guest) = (driver.counters(), driver.guest());
    let ports = std::mem::take(&mut parts.ports);
    let kept = std::mem::take(&mut parts.kept);
    let (ending, mut ended) = mpsc::channel(1);
    let (context, governor) = match parts.into_context(Rc::new(audit), ending) {
        Ok((context, governor)) => (context, Rc::new(governor)),
        Err(error) => return Termination::Failed(format!("no randomness: {error}")),
    };
    let mut driver = tokio::task::spawn_local(driver);
    let published = tokio::task::spawn_local(proxy::serve_published(Rc::clone(&context), guest, ports));
    let flows = tokio::task::spawn_local(proxy::serve(Rc::clone(&context), arrivals));
    let keeper = Keeper { secrets: Arc::clone(&context.secrets), audit: Rc::clone(&context.audit) };
    // With the last of these the tasks of secrets would end.
    let keeping = match keeper.keep(kept, notices, &limits) {
        Ok(keeping) => Rc::new(keeping),
        Err(error) => return Termination::Failed(format!("the secrets cannot be kept: {error}")),
    };
    let desk = desk.map(|desk| {
        let parts = (Rc::clone(&keeping), Rc::clone(&governor), Rc::clone(&context.audit));
        tokio::task::spawn_local(desk.serve(Arc::clone(&limits), parts))
    });
    loop {
        tokio::select! {
            ended = &mut driver => return match ended {
                Ok(Ok(())) => Termination::LinkClosed,
                Ok(Err(error)) => Termination::Failed(error.to_string()),
                Err(error) => Termination::Failed(error.to_string()),
            },
            Some(why) = ended.recv() => return Termination::Misuse(why),
            command = commands.recv() => match command {
                Some(Command::Stats(reply)) => drop(reply.send(stats(&counters, &context))),
                Some(Command::Policy(change, reply)) => {
                    let governor = Rc::clone(&governor);
                    drop(tokio::task::spawn_local(async move {
                        // Who asked may have gone.
                        drop(reply.send(governor.change(change).await));
                    }));
                }
                Some(Command::Shutdown) => {
                    // No new flows; those there are keep the driver busy until they end.
                    flows.abort();
                    published.abort();
                    if let Some(desk) = &desk {
                        desk.abort();
                    }
                    let _ = timeout(limits.shutdown, until_idle(&counters)).await;
                    return Termination::Shutdown;
                }
                None => return Termination::Shutdown,
            },
        }
    }
}

fn stats(counters: &net::Counters, context: &Context) -> Stats {
    Stats {
        net: counters.stats(),
        dns: context.resolver.stats(),
        tls: context.handshakes.get(),
        events: context.audit.stats(),
    }
}

/// How often a sandbox that is shut down looks whether its flows have ended.
const SETTLING: Duration = Duration::from_millis(10);

async fn until_idle(counters: &net::Counters) {
    while counters.stats().flows > 0 {
        sleep(SETTLING).await;
    }
}

impl Parts {
    fn into_context(
        self,
        audit: Rc<Audit>,
        ending: mpsc::Sender<String>,
    ) -> io::Result<(Rc<Context>, Governor)> {
        let gateways = Gateways { v4: self.addresses.gateway_v4, v6: self.addresses.gateway_v6 };
        let mut setup = Setup::new(Arc::clone(&self.policy), Arc::clone(&self.limits), gateways);
        setup.nameservers = self.nameservers;
        let refusals = Refusals::new(Rc::clone(&audit), Arc::clone(&self.limits));
        setup.on_denial = Some(Rc::new({
            let refusals = Rc::clone(&refusals);
            move |denial| refusals.record(None, denial)
        }));
        let context = Rc::new(Context {
            resolver: Resolver::new(setup)?,
            leaves: self.leaves,
            policy: self.policy,
            secrets: self.secrets,
            connector: self.connector,
            proxies: self.proxies,
            dial: Rc::from(self.dial as Box<dyn Dial>),
            limits: self.limits,
            audit,
            datagrams: Datagrams::new(),
            refusals,
            standings: Standings::default(),
            handshakes: Cell::default(),
            ending,
        });
        let governor = Governor::new(self.rules, self.reload, Rc::clone(&context));
        Ok((context, governor))
    }
}
