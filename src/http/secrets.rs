//! What becomes of the placeholders in a request, before anything of it is sent.
//!
//! It has no view of how they are found. Invariant: a secret is put into a request only for a peer that was verified
//! for the very origin, and only once that is on record.

use http::request;
use hyper::body::{Body as _, Incoming};

use super::blame::Ending;
use super::content::{self, Content};
use super::deny::Refusal;
use super::exchange::Exchanges;
use super::recorder::Recorder;
use super::request::Change;
use super::{Mirror, Subject};
use crate::name::{Origin, Scheme};
use crate::secret::{Carried, Misplaced, Reaction, Uses};
use crate::tls::VerifiedPeer;

/// What a request carries.
pub(super) struct Put {
    /// Whether it carries a secret, or may yet.
    pub(super) carried: Carried,
    /// What its body goes through.
    pub(super) change: Option<Change>,
    /// How often each secret was put into it.
    pub(super) uses: Uses,
}

impl Exchanges {
    /// Refuses a placeholder where it may not be, and makes the others secrets where the peer is proven; those of
    /// the body while it is sent.
    pub(super) async fn put_secrets(
        &self,
        parts: &mut request::Parts,
        body: &Incoming,
        peer: Option<&VerifiedPeer>,
        subject: &Subject,
    ) -> Result<Put, Ending> {
        let Mirror { origin, secrets, limits, .. } = &self.mirror;
        if let Some(misplaced) = secrets.misplaced(origin, parts, peer) {
            return Err(misplaced_refusal(&misplaced, origin).into());
        }
        let injector = peer.map_or_else(|| secrets.watcher(), |peer| secrets.injector(peer));
        let injections = injector.inject(parts).map_err(|error| content::refusal(&error))?;
        let stream = if body.is_end_stream() { None } else { injector.body(parts, limits) };
        let mut carried = Carried::of(&injections);
        if stream.as_ref().is_some_and(|stream| stream.may_inject()) {
            carried = Carried::Secret;
        }
        let content = stream.map(|stream| Content::new(stream, &parts.headers, limits)).transpose()?;
        let recorder = Recorder::new(&self.mirror, subject);
        if !injections.is_empty() && !recorder.record(injections).await {
            return Err(Recorder::unrecorded().into());
        }
        let change = content.map(|content| Change::new(content, recorder, limits));
        Ok(Put { carried, change, uses: injector.uses() })
    }
}

fn misplaced_refusal(Misplaced { secret, place, reaction }: &Misplaced, origin: &Origin) -> Refusal {
    let way = match origin.scheme {
        Scheme::Https => format!("allow it with --secret {secret}@{}", origin.authority()),
        Scheme::Http => "secrets go over HTTPS only".to_owned(),
    };
    let text = format!("the placeholder of secret {secret} ({place}) may not go to {origin}; {way}");
    let refusal = Refusal::denied(text);
    if *reaction == Reaction::Terminate { refusal.that_ends_the_sandbox() } else { refusal }
}
