//! One flow, end to end.
//!
//! This is where the layers meet: a held SYN is judged, the protocol is sniffed, the name is judged, the
//! upstream is dialled and verified, and only then is the guest answered. Each step is a plain async function
//! in a file of its own. UDP and echo requests have a shorter way: judged by address, then relayed. Invariant: every path that ends a flow without serving it records a denial or a failure.

mod address;
mod datagram;
mod dial;
mod dns;
mod flow;
mod ground;
mod leaning;
mod machine;
mod opaque;
mod plain;
mod publish;
mod records;
mod refusals;
mod relay;
mod socket;
mod splice;
mod standing;
mod tls;
mod way;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::audit::Audit;
use crate::dns::Resolver;
use crate::limits::Limits;
use crate::net::{Arrival, Arrivals};
use crate::policy::{Dial, Live};
use crate::secret::Secrets;
use crate::tls::{Connector, Leaves, Stats};
use crate::upstream::ProxyServer;

pub(crate) use datagram::Datagrams;
pub(crate) use dial::HostDial;
pub use publish::{BindError, Published};
pub(crate) use publish::{Port, serve as serve_published};
pub(crate) use refusals::Refusals;
pub(crate) use standing::Standings;

/// What every flow of one sandbox shares.
pub(crate) struct Context {
    pub(crate) policy: Arc<Live>,
    pub(crate) resolver: Resolver,
    pub(crate) secrets: Arc<Secrets>,
    pub(crate) leaves: Leaves,
    pub(crate) connector: Connector,
    pub(crate) proxies: Vec<Arc<ProxyServer>>,
    pub(crate) dial: Rc<dyn Dial>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) audit: Rc<Audit>,
    pub(crate) datagrams: Datagrams,
    pub(crate) refusals: Rc<Refusals>,
    /// What flows stand on, to be judged again when the policy is another.
    pub(crate) standings: Standings,
    /// Handshakes so far.
    pub(crate) handshakes: Cell<Stats>,
    /// Takes the reason why the sandbox is to end.
    pub(crate) ending: mpsc::Sender<String>,
}

impl Context {
    /// Ends the sandbox; the first reason counts.
    fn terminate(&self, why: &str) {
        // An error says that it is ending already.
        let _ = self.ending.try_send(why.to_owned());
    }

    /// Counts a handshake.
    fn handshake(&self, count: impl FnOnce(&mut Stats)) {
        let mut handshakes = self.handshakes.get();
        count(&mut handshakes);
        self.handshakes.set(handshakes);
    }
}

/// Serves everything the guest starts, until its link ends.
pub(crate) async fn serve(context: Rc<Context>, mut arrivals: Arrivals) {
    while let Some(arrival) = arrivals.next().await {
        let context = Rc::clone(&context);
        match arrival {
            Arrival::Tcp(incoming) => drop(tokio::task::spawn_local(flow::serve(context, incoming))),
            Arrival::Datagram(query) => drop(tokio::task::spawn_local(dns::datagram(context, query))),
            Arrival::Association(new) => datagram::begin(context, new),
        }
    }
}
