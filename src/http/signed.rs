//! Requests that the guest signed with placeholder keys, and that are signed again with the real ones.
//!
//! What is signed and how is [`crate::secret`]'s affair. Invariant: a request that claims to be signed with the
//! sandbox's keys goes on signed anew, or not at all; and not before that is on record.

use http::header::HOST;
use http::request;

use super::blame::{self, Ending};
use super::content;
use super::deny::Refusal;
use super::recorder::Recorder;
use super::request::RequestBody;
use super::watch::Progress;
use crate::limits::Limits;
use crate::secret::{Secrets, SignError, Signing};
use crate::tls::VerifiedPeer;

/// A request that says that it is signed with the sandbox's keys.
pub(super) struct Signed {
    signing: Signing,
    /// The head as the guest signed it.
    head: request::Parts,
    authority: String,
}

impl Signed {
    /// Looks whether a request that the gate let pass claims so; `None` where it does not.
    pub(super) fn claimed(
        secrets: &Secrets,
        peer: Option<&VerifiedPeer>,
        parts: &request::Parts,
    ) -> Result<Option<Self>, Refusal> {
        let Some(peer) = peer else { return Ok(None) };
        let Some(signing) = secrets.signing(peer, parts).map_err(|error| refusal(&error))? else {
            return Ok(None);
        };
        let field = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        let authority = parts.uri.authority().map(http::uri::Authority::as_str).or(field).unwrap_or_default();
        Ok(Some(Self { signing, authority: authority.to_owned(), head: parts.clone() }))
    }

    /// Proves the guest's signature and signs the request as it goes on, to the host `authority`.
    pub(super) async fn sign(
        self,
        (parts, authority): (&mut request::Parts, &str),
        body: &mut RequestBody,
        (recorder, progress): (Recorder, &Progress),
        limits: &Limits,
    ) -> Result<(), Ending> {
        let Self { signing, head, authority: signed_for } = self;
        let whole = if signing.needs_body() {
            let whole = body.collect(limits.collected_body).await;
            whole.map_err(|_| blame::of_the_guest(progress))?
        } else {
            bytes::Bytes::new()
        };
        let resigning = signing.prove(&head, &signed_for, &whole).map_err(|error| refusal(&error))?;
        if !recorder.record(vec![resigning.injection()]).await {
            return Err(Recorder::unrecorded().into());
        }
        resigning.sign(parts, authority).map_err(|error| refusal(&error).into())
    }
}

fn refusal(error: &SignError) -> Refusal {
    match error {
        SignError::Claim { .. } => Refusal::denied(error.to_string()),
        SignError::Part(error) => content::refusal(error),
    }
}
