//! HTTP between a guest and one upstream, both legs in the same version.
//!
//! A guest's request is judged (`gate`), written anew for the upstream (`fields`), and its answer written
//! anew for the guest, frame by frame as they come. It dials nothing and has no view of frames or TLS: it gets
//! two streams. Invariant: one guest connection has one upstream connection, and before a request has passed
//! the gate no byte of it goes there.

mod answer;
mod blame;
mod body;
mod content;
mod deny;
mod exchange;
mod fields;
mod framed;
mod gate;
mod h1;
mod h2;
mod held;
mod hold;
mod identity;
mod linger;
mod recorder;
mod request;
mod secrets;
mod signed;
#[cfg(test)]
mod tests;
mod upgrade;
mod watch;
mod wire;

use std::any::Any;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

pub use deny::{Explanation, Refusal};
pub use hold::Hold;

use crate::limits::Limits;
use crate::name::Origin;
use crate::secret::Secrets;
use crate::tls::{Alpn, VerifiedPeer};

/// Whether a request's head may be passed on at all to `origin`, whatever policy says.
pub(crate) fn admit(head: &Parts, origin: &Origin, limits: &Limits) -> Result<(), Refusal> {
    gate::admit(head, origin, limits).map_err(Refusal::from)
}

/// What the exchanges of one guest connection have in common.
pub struct Mirror {
    /// What every request of the connection must be for.
    pub origin: Origin,
    /// The sandbox's secrets.
    pub secrets: Arc<Secrets>,
    /// The sandbox's bounds.
    pub limits: Arc<Limits>,
    /// How long an answer's head is waited for once its request was sent; without it, for ever.
    pub response_timeout: Option<Duration>,
    /// Told what happens; called within a poll, so it must not block.
    pub events: Rc<dyn Fn(Event)>,
    /// Whether an injection could be recorded now; where not, nothing is injected.
    pub can_record: Rc<dyn Fn() -> bool>,
    /// The name that the record of the next denied request will have; `None` where one is recorded already.
    pub denial_id: Rc<dyn Fn() -> Option<String>>,
    /// Says whether a request of this method for this path and query may be made.
    pub judge: Rc<Judge>,
}

/// Judges a request by its method and its path and query.
pub type Judge = dyn Fn(&Method, &str) -> Result<Leave, Refusal>;

/// Leave to make a request; dropped when the request and its answer, or what it was upgraded to, are over.
#[derive(Default)]
#[must_use = "it says how long the request is under way"]
pub struct Leave(Option<Box<dyn Any>>);

impl Leave {
    /// Keeps `kept` for as long as the request is under way.
    pub fn keeping(kept: impl Any) -> Self {
        Self(Some(Box::new(kept)))
    }
}

impl fmt::Debug for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Leave").field(&self.0.is_some()).finish()
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// Where requests go.
#[derive(Debug)]
pub enum Upstream<U> {
    /// A TLS stream to a verified peer, which may get secrets.
    Verified {
        /// The stream, after its handshake.
        stream: U,
        /// Whose it is.
        peer: VerifiedPeer,
    },
    /// A plain stream, which never gets a secret.
    Plain(U),
    /// Nowhere: every request is answered with this.
    Refused(Refusal),
}

/// What happened in an exchange. Text of the guest's is cut at [`Limits::quoted_text`] and not escaped.
#[derive(Clone, Debug)]
pub enum Event {
    /// A request was answered by the upstream.
    Request {
        /// What was asked.
        subject: Subject,
        /// What was answered.
        status: StatusCode,
    },
    /// A secret was put into a request, which is sent when `hold` lets it go.
    Injected {
        /// What was asked.
        subject: Subject,
        /// The secret's name.
        secret: String,
        /// Where it went.
        place: String,
        /// Holds the request back until this is on record.
        hold: Hold,
    },
    /// A request was refused.
    Denied {
        /// What was asked.
        subject: Subject,
        /// Why, and how it was answered where it was by this.
        refusal: Refusal,
        /// Whether that was it.
        answered: Answered,
    },
    /// The upstream, or the guest's own body, failed before an answer came.
    Failed {
        /// What was asked.
        subject: Subject,
        /// How it was answered.
        refusal: Refusal,
    },
}

/// How a refused request was answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answered {
    /// By the refusal.
    ByRefusal,
    /// By what was on its way already, and told, when the rest of the request was refused.
    Already,
}

/// A request, as far as events tell of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    /// Its method.
    pub method: Method,
    /// Its path and query as the guest wrote them, placeholders and all; possibly cut.
    pub path: String,
}

/// Serves a guest connection until it ends; an upgraded one too.
///
/// `alpn` is the version of both streams. To be called within a [`tokio::task::LocalSet`]; whoever drops the
/// future ends both connections and everything spawned for them.
pub async fn serve<G, U>(guest: G, alpn: Alpn, upstream: Upstream<U>, mirror: Mirror)
where
    G: AsyncRead + AsyncWrite + Unpin + 'static,
    U: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let outcome = match alpn {
        Alpn::Http1 => h1::serve(guest, upstream, mirror).await,
        Alpn::H2 => h2::serve(guest, upstream, mirror).await,
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, "the connection ended");
    }
}

/// Why a connection ended otherwise than by a side closing it.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("the guest's connection: {0}")]
    Guest(#[source] hyper::Error),
    #[error("the guest reset its connection: {0}")]
    Reset(#[source] std::io::Error),
    #[error("the upstream's connection: {0}")]
    Upstream(#[source] hyper::Error),
    #[error("an exchange stalled")]
    Stalled,
    #[error("the origin cannot be written as an authority: {0}")]
    Origin(#[from] http::Error),
    #[error("an upgraded connection: {0}")]
    Relay(#[source] std::io::Error),
    #[error("a WebSocket: {0}")]
    Socket(#[from] framed::Fault),
}
