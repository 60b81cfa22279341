//! By which way a destination is reached: by a dial of its own, or through a tunnel of the operator's proxy.
//!
//! It never judges: it spends what policy permitted. Invariant: a proxy is connected to only for a [`Leave`], and asked
//! for that and nothing else; one time is for all of it, from the proxy's name to its last word.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::Context;
use super::dial::{Attempt, dial_any, race};
use super::machine;
use crate::http::Refusal;
use crate::name::HostName;
use crate::policy::{Denial, Leave, Permit, Service};
use crate::upstream::stream::Wire;
use crate::upstream::tunnel::{Handshake, Next, Target, TunnelError};
use crate::upstream::{Connection, ProxyServer, Resolve, Scheme, Stream};

/// The way to one host.
pub(super) struct Way {
    by: By,
    limit: Duration,
}

enum By {
    Itself,
    Proxy(Arc<ProxyServer>),
    /// It is to be reached through a proxy that this sandbox has not.
    Nothing,
}

/// Why nothing is connected.
#[derive(Debug, thiserror::Error)]
pub(super) enum DialError {
    #[error("{0}")]
    Direct(io::Error),
    #[error("proxy {proxy} {cause}")]
    Tunnel { proxy: String, cause: TunnelError },
    #[error("its proxy is not configured")]
    NoProxy,
}

impl Way {
    /// The way to `host` at `port`.
    pub(super) fn to(context: &Context, host: &HostName, port: u16) -> Self {
        let policy = context.policy.current();
        let by = match policy.proxy_of(host, port) {
            None => By::Itself,
            Some(proxy) => match context.proxies.iter().find(|server| server.proxy() == proxy) {
                Some(server) => By::Proxy(Arc::clone(server)),
                None => By::Nothing,
            },
        };
        let own = policy.options_of(host).and_then(|options| options.connect_timeout);
        Self { by, limit: own.unwrap_or(context.limits.dial) }
    }

    /// The way to an address that no name opened: no proxy is for it.
    pub(super) fn direct(context: &Context) -> Self {
        Self { by: By::Itself, limit: context.limits.dial }
    }

    /// Whether the host's addresses are the proxy's to find.
    pub(super) fn resolves_there(&self) -> bool {
        match &self.by {
            By::Proxy(server) => server.proxy().resolve() == Resolve::There,
            By::Itself | By::Nothing => false,
        }
    }

    /// Connects to the first of `permits` that answers.
    pub(super) async fn dial(
        &self,
        context: &Context,
        permits: Vec<Permit>,
    ) -> Result<Connection, DialError> {
        match &self.by {
            By::Itself => {
                let dialled = dial_any(&context.dial, permits, self.limit).await;
                dialled.map(Connection::from).map_err(DialError::Direct)
            }
            By::Proxy(_) | By::Nothing => {
                self.tunnel(context, permits.into_iter().map(Leave::Address).collect()).await
            }
        }
    }

    /// Opens a tunnel to the first of `destinations` that the proxy can reach.
    pub(super) async fn tunnel(
        &self,
        context: &Context,
        destinations: Vec<Leave>,
    ) -> Result<Connection, DialError> {
        let By::Proxy(server) = &self.by else { return Err(DialError::NoProxy) };
        let nowhere = TunnelError::Unreachable(io::ErrorKind::AddrNotAvailable.into());
        let attempts = destinations.into_iter().map(|destination| -> Attempt<'_, Connection, TunnelError> {
            Box::pin(open(context, server, destination))
        });
        let tunnel = timeout(self.limit, race(attempts, nowhere, TunnelError::is_of_the_address));
        let opened = tunnel.await.unwrap_or(Err(TunnelError::Timeout));
        opened.map_err(|cause| DialError::Tunnel { proxy: server.proxy().name().to_owned(), cause })
    }
}

/// Connects to the proxy, and has it connect to `destination`.
async fn open(
    context: &Context,
    server: &ProxyServer,
    destination: Leave,
) -> Result<Connection, TunnelError> {
    let proxy = server.proxy();
    let addrs = match proxy.place() {
        Ok(addr) => vec![addr],
        Err(name) => {
            let found = context.resolver.addresses_of_proxy(name).await;
            found.map_err(|cause| TunnelError::Unresolved(cause.to_string()))?
        }
    };
    if addrs.is_empty() {
        return Err(TunnelError::Unresolved("its name is not known".to_owned()));
    }
    let policy = context.policy.current();
    let judged = addrs.into_iter().map(|addr| policy.at_proxy(proxy, addr, &destination).into_result());
    let permits = judged.collect::<Result<Vec<_>, _>>().map_err(TunnelError::Denied)?;
    let attempts = permits.into_iter().map(|permit| context.dial.dial(permit));
    let nowhere = io::ErrorKind::AddrNotAvailable.into();
    let dialled = race(attempts, nowhere, |_| true).await.map_err(TunnelError::Unreachable)?;
    let (stream, _) = dialled.into_parts();
    let mut wire = match proxy.scheme() {
        Scheme::Http | Scheme::Socks5 => Wire::Plain(stream),
        Scheme::Https => {
            let stream = context.connector.connect_proxy(stream, proxy.host()).await;
            Wire::Tls(Box::new(stream.map_err(TunnelError::Tls)?))
        }
    };
    let target = match &destination {
        Leave::Address(permit) => Target::Address(permit.addr()),
        Leave::Name(permit) => Target::Name(permit.host().clone(), permit.port()),
    };
    let ahead = shake(&mut wire, (server, &target), context).await?;
    Ok(Connection::through(Stream::tunnel(wire, ahead), destination))
}

/// Speaks with the proxy until the tunnel is open; what is returned came through it already.
async fn shake(
    wire: &mut Wire,
    (server, target): (&ProxyServer, &Target),
    context: &Context,
) -> Result<Bytes, TunnelError> {
    let broken = |error: io::Error| {
        let closed = error.kind() == io::ErrorKind::UnexpectedEof;
        if closed { TunnelError::Closed } else { TunnelError::Broken(error.kind()) }
    };
    let scheme = server.proxy().scheme();
    let (mut handshake, first) = Handshake::begin(scheme, server.credentials(), target, &context.limits);
    let mut next = Next::Send(first);
    let mut heard = BytesMut::new();
    loop {
        next = match next {
            Next::Open => return Ok(heard.freeze()),
            Next::Send(message) => {
                wire.write_all(&message).await.map_err(broken)?;
                wire.flush().await.map_err(broken)?;
                handshake.hear(&mut heard)?
            }
            Next::Read => {
                heard.reserve(PIECE);
                if wire.read_buf(&mut heard).await.map_err(broken)? == 0 {
                    return Err(TunnelError::Closed);
                }
                handshake.hear(&mut heard)?
            }
        };
    }
}

/// Room for one reading of a proxy's answer, octets; few are longer.
const PIECE: usize = 1024;

impl DialError {
    /// Policy's word against it, where that is the cause: against this machine's own address, or against the proxy.
    pub(super) fn denial(&self, target: String, service: Service) -> Option<Denial> {
        match self {
            Self::Direct(error) => {
                machine::refused(error).map(|addr| Denial::this_machine(target, service, addr))
            }
            Self::Tunnel { cause: TunnelError::Denied(denial), .. } => Some(denial.clone()),
            Self::Tunnel { .. } | Self::NoProxy => None,
        }
    }

    /// What a guest is told of `host` at `port`, which could not be reached.
    pub(super) fn refusal(&self, host: &HostName, port: u16) -> Refusal {
        let target = format!("{host}:{port}");
        match self {
            Self::Direct(error) => undialled(&target, error),
            Self::Tunnel { proxy, cause } => {
                let text = format!("{target} is reached through the proxy {proxy}, which {cause}");
                match cause {
                    TunnelError::Timeout => Refusal::gateway_timeout(cause.proxy_status(), text),
                    TunnelError::Unresolved(_)
                    | TunnelError::Denied(_)
                    | TunnelError::Unreachable(_)
                    | TunnelError::Tls(_)
                    | TunnelError::Closed
                    | TunnelError::Broken(_)
                    | TunnelError::Garbage(_)
                    | TunnelError::TooLarge
                    | TunnelError::Unauthenticated(_)
                    | TunnelError::Status(_)
                    | TunnelError::NoMethod
                    | TunnelError::BadLogin
                    | TunnelError::Refused(_) => Refusal::bad_gateway(cause.proxy_status(), text),
                }
            }
            Self::NoProxy => Refusal::bad_gateway("proxy_configuration_error", format!("{target}: {self}")),
        }
    }
}

/// What a guest is told of an upstream that could not be dialled.
fn undialled(target: &str, error: &io::Error) -> Refusal {
    if error.kind() == io::ErrorKind::TimedOut {
        Refusal::gateway_timeout("connection_timeout", format!("{target} did not answer the dial in time"))
    } else if error.kind() == io::ErrorKind::ConnectionRefused {
        Refusal::bad_gateway("connection_refused", format!("{target} refused the connection"))
    } else {
        Refusal::bad_gateway("destination_ip_unroutable", format!("{target} cannot be reached: {error}"))
    }
}
