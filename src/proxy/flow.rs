//! A guest's TCP connection from its SYN to its record in the audit trail, and what all kinds of flow share.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use ::http::StatusCode;
use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::ground::Ground;
use super::opaque::Goal;
use super::records::records;
use super::splice::splice;
use super::standing::Stand;
use super::way::{DialError, Way};
use super::{Context, address, dns, opaque, plain, refusals, tls};
use crate::audit::{Event, FlowKind, clip};
use crate::dns::{Meaning, ResolveFailure};
use crate::http::{self, Explanation, Mirror, Refusal};
use crate::name::{HostName, Origin};
use crate::net::{self, Incoming};
use crate::policy::{AtSyn, Denial, Leave, NamePermit, Permit, Policy, Service, Verdict};
use crate::sniff::{self, Protocol, Rewind};
use crate::upstream::{Connection, Stream};

/// What is known of a flow, and where its story is told.
pub(super) struct Flow {
    pub(super) context: Rc<Context>,
    pub(super) id: u64,
    pub(super) destination: SocketAddr,
    pub(super) started: Instant,
    /// Its place among those that a new policy may end.
    pub(super) stand: Stand,
    /// What its record will say, once it is served.
    served: RefCell<Option<Served>>,
    /// Resolves when the guest has reset the flow; for a dial, while nobody reads.
    lost: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>>,
}

/// Why there is no connection.
struct Unreached {
    refusal: Refusal,
    /// Where policy says so.
    denial: Option<Denial>,
}

impl Unreached {
    fn prohibited(denial: Denial) -> Self {
        let refusal = Refusal::new(StatusCode::FORBIDDEN, "destination_ip_prohibited", denial.to_string());
        Self { refusal, denial: Some(denial) }
    }
}

/// How a flow was served, for the record.
pub(super) struct Served {
    pub(super) kind: FlowKind,
    pub(super) host: Option<HostName>,
    pub(super) upstream: Option<SocketAddr>,
    pub(super) rule: Option<String>,
}

/// Serves one flow to its end, or until a new policy ends it.
pub(super) async fn serve(context: Rc<Context>, incoming: Incoming) {
    let flow = Flow::new(context, incoming.destination());
    flow.stand.hold(flow.judge(incoming)).await;
}

impl Flow {
    /// A flow that begins now.
    pub(super) fn new(context: Rc<Context>, destination: SocketAddr) -> Self {
        let id = context.audit.next_flow();
        Self {
            id,
            stand: Stand::new(Rc::clone(&context), id),
            destination,
            started: Instant::now(),
            served: RefCell::default(),
            lost: RefCell::default(),
            context,
        }
    }

    /// Judges the SYN and serves what it opens.
    async fn judge(&self, incoming: Incoming) {
        if let Some(carrier) = dns::Carrier::of(self.destination.port()) {
            return dns::serve(self, incoming, carrier).await;
        }
        let at_syn = {
            let names = self.context.resolver.names().borrow();
            self.context.policy.current().at_syn(self.destination, &names, self.started.into_std())
        };
        match at_syn {
            AtSyn::Sniff => self.sniff(incoming).await,
            AtSyn::DialFirst { permits, opened } => {
                opaque::serve(self, incoming, Goal::Addresses(permits, opened)).await
            }
            AtSyn::DialByName(name) => opaque::serve(self, incoming, Goal::Name(name)).await,
            AtSyn::Refuse(denial) => {
                self.deny(&denial);
                incoming.refuse();
            }
        }
    }

    /// Accepts a flow whose name decides, and looks what it speaks.
    ///
    /// What serves TLS and HTTP is boxed: it is many times the size of what a spliced flow needs.
    async fn sniff(&self, incoming: Incoming) {
        let mut stream = incoming.accept();
        self.watch(&stream);
        let Ok(sniffed) = sniff::sniff(&mut stream, &self.context.limits).await else { return };
        match sniffed.protocol {
            Protocol::Tls => Box::pin(tls::serve(self, Rewind::new(stream, sniffed.bytes))).await,
            Protocol::Http1 | Protocol::Http2PriorKnowledge => {
                Box::pin(plain::serve(self, stream, sniffed)).await
            }
            Protocol::Unknown | Protocol::Silent => {
                let denial = Denial::uninspectable(self.destination.to_string());
                match address::judge(self, None, denial) {
                    Ok(by) => address::relay(self, by, (sniffed.bytes, stream)).await,
                    Err(denial) => {
                        self.deny(&denial);
                        stream.abort();
                    }
                }
            }
            Protocol::Eof => {}
        }
    }

    /// Connects to the first of an allowed name's judged addresses that answers, or through the proxy that leads there;
    /// a denial is recorded, and told with its id.
    pub(super) async fn dial(&self, permit: &NamePermit) -> Result<Connection, Refusal> {
        self.connect(permit).await.map_err(|Unreached { refusal, denial }| match denial {
            Some(denial) => self.refuse(refusal, &denial),
            None => refusal,
        })
    }

    /// The same for a guest that can be told nothing; why there is no connection is recorded.
    pub(super) async fn dial_untold(&self, permit: &NamePermit) -> Option<Connection> {
        let Unreached { refusal, denial } = match self.connect(permit).await {
            Ok(connection) => return Some(connection),
            Err(unreached) => unreached,
        };
        match denial {
            Some(denial) => self.deny(&denial),
            None => {
                tracing::info!(flow = self.id, host = %permit.host(), why = refusal.text(), "not reached")
            }
        }
        None
    }

    async fn connect(&self, permit: &NamePermit) -> Result<Connection, Unreached> {
        let context = &self.context;
        let way = Way::to(context, permit.host(), permit.port());
        let dialling = async {
            if way.resolves_there() {
                return Ok(way.tunnel(context, vec![Leave::Name(permit.clone())]).await);
            }
            Ok::<_, Unreached>(way.dial(context, self.resolve(permit).await?).await)
        };
        let connected = tokio::select! {
            connected = dialling => connected?,
            () = self.lost() => Err(DialError::Direct(io::ErrorKind::ConnectionAborted.into())),
        };
        connected.map_err(|error| {
            let service = Service::Tcp(permit.port());
            if let Some(denial) = error.denial(format!("{}{service}", permit.host()), service) {
                return Unreached::prohibited(denial);
            }
            tracing::info!(flow = self.id, host = %permit.host(), %error, "dial failed");
            Unreached { refusal: error.refusal(permit.host(), permit.port()), denial: None }
        })
    }

    async fn resolve(&self, permit: &NamePermit) -> Result<Vec<Permit>, Unreached> {
        self.context.resolver.resolve(permit).await.map_err(|failure| match failure {
            ResolveFailure::Denied(denial) => Unreached::prohibited(denial),
            ResolveFailure::NotFound(_) | ResolveFailure::Unanswered { .. } => {
                let refusal = Refusal::bad_gateway(failure.proxy_status(), failure.to_string());
                Unreached { refusal, denial: None }
            }
        })
    }

    /// Has a later dial end when the guest resets this stream.
    pub(super) fn watch(&self, stream: &net::TcpStream) {
        self.lost.replace(Some(Box::pin(stream.lost())));
    }

    /// Resolves when the guest has reset a flow that was accepted before its dial.
    async fn lost(&self) {
        match self.lost.take() {
            Some(lost) => lost.await,
            None => std::future::pending().await,
        }
    }

    /// The one name that the guest was told for this flow's address, where there is one.
    pub(super) fn bound_host(&self) -> Option<HostName> {
        let names = self.context.resolver.names().borrow();
        match names.meaning(self.destination.ip()) {
            Meaning::Mapped(name) => name.cloned(),
            Meaning::Gateway => Some(HostName::alias()),
            Meaning::Elsewhere => {
                let mut bound = names.names_of(self.destination.ip(), self.started.into_std());
                bound.next().filter(|_| bound.next().is_none()).cloned()
            }
        }
    }

    /// The context of an HTTP connection on this flow, which leads to `origin` at `addr` or was refused for it.
    pub(super) fn mirror(&self, origin: Origin, addr: Option<SocketAddr>, verdict: Told) -> Mirror {
        let (policies, judged) = (Arc::clone(&self.context.policy), origin.clone());
        let audit = || Rc::clone(&self.context.audit);
        let (naming, observing, recording, audit) = (audit(), audit(), audit(), audit());
        let flow = self.id;
        // Who asked for nobody by name asked for an address.
        let told = if origin.host == HostName::nobody() {
            format!("{}://{}", origin.scheme.as_str(), self.destination)
        } else {
            origin.to_string()
        };
        let (context, policy) = (Rc::clone(&self.context), self.context.policy.current());
        let under_way = self.stand.requests();
        Mirror {
            secrets: Arc::clone(&self.context.secrets),
            limits: Arc::clone(&self.context.limits),
            response_timeout: policy.options_of(&origin.host).and_then(|own| own.response_timeout),
            events: Rc::new(move |event| {
                if let http::Event::Denied { refusal, .. } = &event
                    && refusal.ends_the_sandbox()
                {
                    context.terminate(refusal.text());
                }
                if let (http::Event::Denied { refusal, .. }, Told::Nothing) = (&event, verdict) {
                    tracing::info!(flow, id = refusal.id(), target = told, reason = refusal.text(), "denied");
                }
                let hold =
                    if let http::Event::Injected { hold, .. } = &event { Some(hold.clone()) } else { None };
                for event in records(flow, &told, (event, verdict)) {
                    audit.record(event);
                }
                if let Some(hold) = hold {
                    hold.until(audit.recorded());
                }
            }),
            can_record: Rc::new(move || recording.can_record()),
            denial_id: Rc::new(move || match verdict {
                Told::Nothing => Some(naming.next_denial()),
                Told::Denial => None,
            }),
            judge: Rc::new(move |method, target| {
                let (addr, asked) = (addr.map(|addr| addr.ip()), (method.as_str(), target));
                let policy = policies.current();
                let judge = |policy: &Policy| policy.at_request(&judged, addr, asked).into_result();
                judge(&policy).map_err(|denial| explained(&denial))?;
                // That of the whole host was told when the flow began.
                let would_deny = policy.would_deny(|enforced| match enforced.at_name(&judged) {
                    Verdict::Allow(_) => judge(enforced).err(),
                    Verdict::Deny(_) => None,
                });
                if let Some(denial) = would_deny {
                    let target = clip(&format!("{method} {judged}{target}"));
                    observing.deny(Some(flow), &Denial { target, ..denial });
                }
                Ok(http::Leave::keeping(under_way(method, target)))
            }),
            origin,
        }
    }

    /// Says that it is allowed as this from now on; where the policy has changed meanwhile and does not allow it, what
    /// the guest is told.
    pub(super) fn stand_on(&self, ground: Ground) -> Result<(), Refusal> {
        self.stand.on(ground).map_err(|denial| self.refuse(Refusal::denied(denial.to_string()), &denial))
    }

    /// Records a denial that the guest is told no id of.
    pub(super) fn deny(&self, denial: &Denial) {
        refusals::record(&self.context, Some(self.id), denial);
    }

    /// Records a denial, and says so in what the guest is answered.
    pub(super) fn refuse(&self, refusal: Refusal, denial: &Denial) -> Refusal {
        let id = self.context.audit.deny(Some(self.id), denial);
        refusal.explained(explanation(denial)).named(|| Some(id))
    }

    /// Records what would be denied if the sandbox did not only observe.
    pub(super) fn observe(&self, judge: impl FnOnce(&Policy) -> Option<Denial>) {
        if let Some(denial) = self.context.policy.current().would_deny(judge) {
            self.deny(&denial);
        }
    }

    /// Relays what nobody reads any further, and of which `bytes` were read already, to its end.
    pub(super) async fn relay(&self, (bytes, stream): (Bytes, net::TcpStream), mut upstream: Stream) {
        let relayed = async {
            upstream.write_all(&bytes).await?;
            upstream.flush().await?;
            splice(stream, &mut upstream, self.context.limits.bytes_per_turn).await
        };
        if let Err(error) = relayed.await {
            tracing::debug!(flow = self.id, %error, "relay ended");
        }
    }

    /// Has the flow recorded as this when it ends, in whatever way.
    pub(super) fn serves(&self, served: Served) {
        self.served.replace(Some(served));
    }
}

/// A flow that was served is recorded however it ends: a sandbox that ends waits for none.
impl Drop for Flow {
    fn drop(&mut self) {
        let Some(served) = self.served.take() else { return };
        let millis = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(flow = self.id, kind = ?served.kind, host = ?served.host, millis, "ended");
        self.context.audit.record(Event::Flow {
            flow: self.id,
            kind: served.kind,
            destination: self.destination,
            peer: None,
            host: served.host.map(|host| host.to_string()),
            upstream: served.upstream,
            rule: served.rule,
            millis,
        });
    }
}

/// What a guest is told of a denial.
pub(super) fn explained(denial: &Denial) -> Refusal {
    Refusal::denied(denial.to_string()).explained(explanation(denial))
}

fn explanation(denial: &Denial) -> Explanation {
    let Denial { reason, target, rule, hint, observed: _ } = denial;
    let (target, reason) = (target.clone(), reason.to_string());
    Explanation { target, reason, rule: rule.clone(), hint: hint.clone() }
}

/// Whether the audit trail has this flow's denial already.
#[derive(Clone, Copy)]
pub(super) enum Told {
    /// The flow was allowed; a denial is that of a request.
    Nothing,
    /// The flow was denied, and its requests are only answered with that.
    Denial,
}
