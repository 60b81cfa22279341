//! One request and its answer, from the gate to the first byte for the guest.
//!
//! The same for h1 and h2, and top to bottom: gate, secrets, upstream, scrub. The connections themselves are
//! [`super::h1`]'s and [`super::h2`]'s. Invariant: [`Exchanges::send`] is the one place where something goes
//! upstream, and everything before it can only refuse.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;

use http::header::{CONTENT_LENGTH, IF_NONE_MATCH};
use http::uri::PathAndQuery;
use http::{Request, Response, StatusCode, request, response};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::Service;
use rustls::AlertDescription;

use super::answer::Answer;
use super::blame::{self, Abandoned, Ending, Sent};
use super::body::GuestBody;
use super::deny::{self, Asked, Refusal, cut};
use super::fields::{self, Length, Target};
use super::gate;
use super::linger::Latest;
use super::recorder::Recorder;
use super::request::{Change, RequestBody};
use super::secrets::Put;
use super::signed::Signed;
use super::upgrade::{Handshake, Stage, Switch};
use super::watch::Progress;
use super::{Answered, Event, Leave, Mirror, Subject};
use crate::name::{Origin, Scheme};
use crate::secret::{Carried, Scrubber};
use crate::tls::VerifiedPeer;

/// What one guest connection's exchanges share.
pub(super) struct Exchanges {
    pub(super) mirror: Mirror,
    pub(super) switch: Switch,
    target: Target,
    way: Way,
    /// Whether the guest has asked for anything yet.
    begun: Cell<bool>,
    /// Whether the upstream has answered on this connection before.
    proven: Cell<bool>,
    /// Leave for what the connection was upgraded to.
    upgraded: RefCell<Option<Leave>>,
}

/// Answers the requests of one connection, for hyper.
#[derive(Clone)]
pub(super) struct Answering {
    pub(super) exchanges: Rc<Exchanges>,
    /// The exchange begun last.
    pub(super) latest: Latest,
}

impl Answering {
    pub(super) fn new(mirror: Mirror, way: Way, latest: Latest) -> Result<Self, http::Error> {
        Ok(Self { exchanges: Rc::new(Exchanges::new(mirror, way)?), latest })
    }
}

impl Service<Request<Incoming>> for Answering {
    type Response = Response<GuestBody>;
    type Error = Abandoned;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Abandoned>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let progress = Rc::new(Progress::default());
        *self.latest.borrow_mut() = Some(Rc::clone(&progress));
        self.exchanges.begun.set(true);
        self.exchanges.switch.saw(&request);
        Box::pin(Rc::clone(&self.exchanges).answer(request, progress))
    }
}

/// Where requests go on.
pub(super) enum Way {
    Open {
        sender: Sender,
        peer: Option<VerifiedPeer>,
    },
    Refused(Refusal),
    /// The upstream closed its connection at once, by this alert of TLS if by one.
    Gone(Option<AlertDescription>),
}

impl Way {
    /// The way to `origin`: a peer that was verified for another is as good as none.
    fn to(self, origin: &Origin) -> Self {
        let is_it = |peer: &VerifiedPeer| {
            origin.scheme == Scheme::Https && *peer.name() == origin.host && peer.port() == origin.port
        };
        match self {
            Self::Open { sender, peer } => Self::Open { sender, peer: peer.filter(is_it) },
            Self::Refused(_) | Self::Gone(_) => self,
        }
    }
}

/// hyper's side of the one upstream connection.
pub(super) enum Sender {
    H1(RefCell<http1::SendRequest<RequestBody>>),
    H2(http2::SendRequest<RequestBody>),
}

/// A request ready to be sent.
struct Prepared<'a> {
    parts: request::Parts,
    sender: &'a Sender,
    handshake: Option<Handshake>,
    scrubber: Option<Scrubber>,
    carried: Carried,
    change: Option<Change>,
    signed: Option<Signed>,
}

impl Exchanges {
    fn new(mirror: Mirror, way: Way) -> Result<Self, http::Error> {
        let target = Target::new(&mirror.origin)?;
        let way = way.to(&mirror.origin);
        Ok(Self {
            mirror,
            switch: Switch::default(),
            target,
            way,
            begun: Cell::default(),
            proven: Cell::default(),
            upgraded: RefCell::default(),
        })
    }

    /// Whether a connection whose upstream is gone may be ended without a word. Before the first request it may
    /// not: the guest is owed the reason.
    pub(super) fn may_end(&self) -> bool {
        self.begun.get() && self.switch.stage() == Stage::Http
    }

    /// The verified upstream, which alone may have secrets.
    pub(super) fn peer(&self) -> Option<&VerifiedPeer> {
        match &self.way {
            Way::Open { peer, .. } => peer.as_ref(),
            Way::Refused(_) | Way::Gone(_) => None,
        }
    }

    /// Answers `request`, by the upstream's answer or our own.
    pub(super) async fn answer(
        self: Rc<Self>,
        request: Request<Incoming>,
        progress: Rc<Progress>,
    ) -> Result<Response<GuestBody>, Abandoned> {
        let asked = Asked::of(&request);
        let subject = self.subject(&request);
        let ending = match self.pass(request, &progress, &subject).await {
            Ok(response) => {
                self.proven.set(true);
                self.tell(Event::Request { subject, status: response.status() });
                return Ok(response);
            }
            Err(ending) => ending,
        };
        self.switch.forget();
        progress.end_response();
        match ending {
            Ending::Denied(refusal) => {
                let refusal = refusal.named(&*self.mirror.denial_id);
                let response = deny::response(&refusal, &asked, progress);
                self.tell(Event::Denied { subject, refusal, answered: Answered::ByRefusal });
                Ok(response)
            }
            Ending::Failed(refusal) => {
                let response = deny::response(&refusal, &asked, progress);
                self.tell(Event::Failed { subject, refusal });
                Ok(response)
            }
            Ending::Abandoned(abandoned) => Err(abandoned),
        }
    }

    async fn pass(
        &self,
        request: Request<Incoming>,
        progress: &Rc<Progress>,
        subject: &Subject,
    ) -> Result<Response<GuestBody>, Ending> {
        let (parts, body) = request.into_parts();
        match self.prepare(parts, &body, (progress, subject)).await {
            Ok(prepared) => self.forward(prepared, body, (progress, subject)).await,
            Err(ending) => {
                progress.keep_unread(body);
                Err(ending)
            }
        }
    }

    /// Judges a request and writes it anew; nothing of it has gone anywhere when this fails.
    async fn prepare(
        &self,
        mut parts: request::Parts,
        body: &Incoming,
        (progress, subject): (&Progress, &Subject),
    ) -> Result<Prepared<'_>, Ending> {
        let (sender, peer) = match &self.way {
            Way::Open { sender, peer } => (sender, peer.as_ref()),
            // Where nothing goes upstream, why is worth more than what is wrong with the request.
            Way::Refused(refusal) => return Err(refusal.clone().into()),
            Way::Gone(_) => return Err(Ending::Failed(self.gone())),
        };
        gate::admit(&parts, &self.mirror.origin, &self.mirror.limits).map_err(Refusal::from)?;
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        progress.keep_leave((self.mirror.judge)(&parts.method, path)?);
        let signed = Signed::claimed(&self.mirror.secrets, peer, &parts)?;
        let mut handshake = Handshake::asked(&parts, body, subject);
        let scrubber = self.mirror.secrets.scrubber(&self.mirror.origin.host);
        let length = length(&parts, body);
        fields::write_request(&mut parts, &self.target, length)
            .map_err(|_| Refusal::bad_request("the request target cannot be passed on"))?;
        let Put { carried, change, uses } = self.put_secrets(&mut parts, body, peer, subject).await?;
        if let Some(scrubber) = &scrubber {
            scrubber.request(&mut parts.headers);
        }
        if let Some(handshake) = &mut handshake {
            handshake.ask(&mut parts.headers, scrubber.as_ref(), uses);
            self.switch.ask();
        }
        Ok(Prepared { parts, sender, handshake, scrubber, carried, change, signed })
    }

    /// Sends a request and writes its answer anew.
    async fn forward(
        &self,
        prepared: Prepared<'_>,
        body: Incoming,
        (progress, subject): (&Rc<Progress>, &Subject),
    ) -> Result<Response<GuestBody>, Ending> {
        let Prepared { mut parts, sender, handshake, scrubber, carried, change, signed } = prepared;
        let method = parts.method.clone();
        let none_match = parts.headers.get(IF_NONE_MATCH).cloned();
        let mut body = RequestBody::new(body, change, Rc::clone(progress));
        match body.settle(&self.mirror.limits).await {
            Ok(Some(length)) => fields::write_length(&mut parts, length),
            Ok(None) => {}
            Err(_) => return Err(blame::of_the_guest(progress)),
        }
        if let Some(signed) = signed {
            let told = (Recorder::new(&self.mirror, subject), &**progress);
            signed.sign((&mut parts, self.target.authority()), &mut body, told, &self.mirror.limits).await?;
        }
        let request = Request::from_parts(parts, body);
        let (parts, body) = self.send(sender, request, progress).await?.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            *self.upgraded.borrow_mut() = progress.take_leave();
            progress.end_response();
            return self.switch_protocols(handshake, parts, scrubber);
        }
        self.switch.forget();
        let answer = Answer { parts, body, method, none_match, progress: Rc::clone(progress) };
        match scrubber {
            None => Ok(answer.pass()),
            Some(scrubber) => {
                Ok(answer.scrub(scrubber, carried, &self.mirror.limits).await.map_err(Ending::Failed)?)
            }
        }
    }

    /// Sends `request` and waits for the head of its answer, as long as the host's options say, or for ever.
    async fn send(
        &self,
        sender: &Sender,
        request: Request<RequestBody>,
        progress: &Progress,
    ) -> Result<Response<Incoming>, Ending> {
        let sending = async {
            match sender {
                Sender::H1(sender) => {
                    // A closed connection shows here; try_send below gives the request back.
                    let _ = poll_fn(|cx| sender.borrow_mut().poll_ready(cx)).await;
                    let sending = sender.borrow_mut().try_send_request(request);
                    sending.await
                }
                Sender::H2(sender) => sender.clone().try_send_request(request).await,
            }
        };
        let sent = match self.mirror.response_timeout {
            None => sending.await,
            Some(limit) => tokio::select! {
                sent = sending => sent,
                () = progress.unanswered(limit) => {
                    return Err(Ending::Failed(blame::unanswered(&self.mirror.origin.host, limit)));
                }
            },
        };
        sent.map_err(|mut failed| {
            let sent = if failed.take_message().is_some() { Sent::No } else { Sent::Perhaps };
            if sent == Sent::No && self.proven.get() {
                return Ending::unprocessed();
            }
            match (blame::ending(&failed.into_error(), &self.mirror.origin.host, progress), self.alert()) {
                (Ending::Failed(_), Some(alert)) => {
                    Ending::Failed(blame::alerted(&self.mirror.origin.host, alert))
                }
                (ending, _) => ending,
            }
        })
    }

    fn gone(&self) -> Refusal {
        let host = &self.mirror.origin.host;
        self.alert().map_or_else(|| blame::gone(host), |alert| blame::alerted(host, alert))
    }

    /// The alert by which the upstream ended its TLS, if it did.
    fn alert(&self) -> Option<AlertDescription> {
        match &self.way {
            Way::Open { peer, .. } => peer.as_ref().and_then(VerifiedPeer::alert),
            Way::Gone(alert) => *alert,
            Way::Refused(_) => None,
        }
    }

    /// Agrees to an upgrade that was asked for and is rightly answered; the connection does the rest.
    fn switch_protocols(
        &self,
        handshake: Option<Handshake>,
        mut parts: response::Parts,
        scrubber: Option<Scrubber>,
    ) -> Result<Response<GuestBody>, Ending> {
        let Some(handshake) = handshake.filter(|asked| asked.is_answered_by(&parts.headers)) else {
            return Err(Ending::Failed(Refusal::bad_gateway(
                "http_upgrade_failed",
                format!("{} switched to a protocol that was not asked for", self.mirror.origin.host),
            )));
        };
        fields::write_response(&mut parts.headers);
        if let Some(scrubber) = &scrubber {
            scrubber.headers(&mut parts.headers);
            parts.extensions.clear();
        }
        handshake.confirm(&mut parts.headers);
        self.switch.agree(scrubber.map(|_| handshake.into_asked()));
        Ok(Response::from_parts(parts, GuestBody::empty()))
    }

    fn subject(&self, request: &Request<Incoming>) -> Subject {
        let path = request.uri().path_and_query().map_or("", |path| path.as_str());
        let path = cut(path, self.mirror.limits.quoted_text).to_owned();
        Subject { method: request.method().clone(), path }
    }

    fn tell(&self, event: Event) {
        (self.mirror.events)(event);
    }
}

fn length(parts: &request::Parts, body: &Incoming) -> Length {
    let announced = parts.headers.contains_key(CONTENT_LENGTH);
    if body.is_end_stream() {
        return if announced { Length::Exact(0) } else { Length::NoBody };
    }
    body.size_hint().exact().map_or(Length::Unknown, Length::Exact)
}
