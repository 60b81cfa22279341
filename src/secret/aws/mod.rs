//! Requests signed with AWS Signature Version 4: proven to be signed with the guest's key pair, which consists of
//! placeholders, and signed again with the real one ([AWS's description]).
//!
//! A signature covers the request, so the real key cannot simply be written where its placeholder stands: the
//! secret access key is never sent at all. It reads no body; where the signature covers one that no field names
//! the hash of, the caller has to give it. Invariant: what leaves here is signed with the real key only if it came
//! signed with the guest's, over the same method, path, query, payload hash and fields.
//!
//! [AWS's description]: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

mod canonical;
mod claim;
mod signature;
#[cfg(test)]
mod tests;

use http::header::AUTHORIZATION;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, Uri};
use zeroize::Zeroizing;

use canonical::{Canonical, PathForm};
use claim::Claim;
pub(crate) use claim::Payload;

const DATE: &str = "x-amz-date";
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// Credentials as AWS gives them out; a token makes them temporary.
#[derive(Clone, Copy)]
pub(crate) struct Keys<'a> {
    pub(crate) id: &'a [u8],
    pub(crate) secret: &'a [u8],
    pub(crate) token: Option<&'a [u8]>,
}

/// A request that was proven to be signed with the guest's keys.
#[derive(Debug)]
pub(crate) struct Proven {
    claim: Claim,
    form: PathForm,
    payload: String,
}

/// Why a request with the guest's key id is not signed again.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum AwsError {
    /// What the signature consists of cannot be read.
    #[error("its {0} is not of AWS Signature Version 4")]
    Malformed(&'static str),
    /// Each piece of the body carries a signature of its own.
    #[error(
        "its body is signed piece by piece ({0}), which is not supported; \
         have the client send an unsigned payload (payload_signing_enabled = false in the AWS configuration)"
    )]
    Chunked(String),
    /// The asymmetric variant.
    #[error("it is signed with Signature Version 4A, which is not supported; use a regional endpoint")]
    Asymmetric,
    /// Another key, or another request.
    #[error("its signature is not one of the sandbox's key pair over this request")]
    Mismatch,
    /// The real keys cannot stand in a request.
    #[error("the key pair has a character that no request may hold")]
    Keys,
}

/// What the request says of its signature, if it claims to be made with the key `id`.
pub(crate) fn claim(parts: &Parts, id: &[u8]) -> Result<Option<Claimed>, AwsError> {
    Ok(claim::read(parts, id)?.map(Claimed))
}

/// A request that says that it is signed with the guest's keys.
#[derive(Debug)]
pub(crate) struct Claimed(Claim);

impl Claimed {
    /// What the signature covers of the body.
    pub(crate) fn payload(&self) -> &Payload {
        &self.0.payload
    }

    /// Proves the signature to be that of the guest's keys; `hash` is that of the body in lower-case hexadecimal,
    /// where [`Claimed::payload`] asks for it. `authority` is the host as the guest wrote it.
    pub(crate) fn prove(
        self,
        parts: &Parts,
        authority: &str,
        guest: &Keys<'_>,
        hash: Option<&str>,
    ) -> Result<Proven, AwsError> {
        let claim = self.0;
        let payload = match (&claim.payload, hash) {
            (Payload::Said(text), _) => text.clone(),
            (Payload::Body, Some(hash)) => hash.to_owned(),
            (Payload::Body, None) => return Err(AwsError::Mismatch),
        };
        for form in PathForm::of(&claim.scope.service) {
            let canonical = Canonical { form, authority, payload: &payload };
            let text = canonical.text(parts, &claim.signed, claim.place)?;
            if signature::is_valid(&claim, guest.secret, &text) {
                return Ok(Proven { claim, form, payload });
            }
        }
        Err(AwsError::Mismatch)
    }
}

impl Proven {
    /// Signs the request as it goes on, whose host is `authority`, with the real keys.
    ///
    /// Fields that were signed and no longer exist are signed no longer.
    pub(crate) fn sign(
        mut self,
        parts: &mut Parts,
        authority: &str,
        real: &Keys<'_>,
    ) -> Result<(), AwsError> {
        self.claim.signed.retain(|name| name == "host" || parts.headers.contains_key(name.as_str()));
        match self.claim.place {
            Place::Field => self.sign_field(parts, authority, real),
            Place::Query => self.sign_query(parts, authority, real),
        }
    }

    fn sign_field(mut self, parts: &mut Parts, authority: &str, real: &Keys<'_>) -> Result<(), AwsError> {
        parts.headers.remove(AUTHORIZATION);
        match real.token {
            None => {
                parts.headers.remove(TOKEN);
                self.claim.signed.retain(|name| name != TOKEN.as_str());
            }
            Some(token) => {
                parts.headers.insert(TOKEN, sensitive(token)?);
                if !self.claim.signed.iter().any(|name| name == TOKEN.as_str()) {
                    self.claim.signed.push(TOKEN.as_str().to_owned());
                    self.claim.signed.sort_unstable();
                }
            }
        }
        let signature = self.signature(parts, authority, real)?;
        let id = std::str::from_utf8(real.id).map_err(|_| AwsError::Keys)?;
        let value = Zeroizing::new(format!(
            "{} Credential={id}/{}, SignedHeaders={}, Signature={signature}",
            claim::ALGORITHM,
            self.claim.scope,
            self.claim.signed.join(";"),
        ));
        parts.headers.insert(AUTHORIZATION, sensitive(value.as_bytes())?);
        Ok(())
    }

    fn sign_query(self, parts: &mut Parts, authority: &str, real: &Keys<'_>) -> Result<(), AwsError> {
        let id = std::str::from_utf8(real.id).map_err(|_| AwsError::Keys)?;
        let query = parts.uri.query().unwrap_or_default();
        let scope = self.claim.scope.to_string().replace('/', "%2F");
        let mut pieces: Vec<Zeroizing<String>> = Vec::new();
        for piece in query.split('&').filter(|piece| !piece.is_empty()) {
            let written = match canonical::name_of(piece).as_str() {
                "X-Amz-Signature" | "X-Amz-Security-Token" => continue,
                "X-Amz-Credential" => {
                    format!("X-Amz-Credential={}%2F{scope}", canonical::encoded(id.as_bytes()))
                }
                "X-Amz-SignedHeaders" => {
                    format!("X-Amz-SignedHeaders={}", self.claim.signed.join("%3B"))
                }
                _ => piece.to_owned(),
            };
            pieces.push(Zeroizing::new(written));
        }
        if let Some(token) = real.token {
            pieces.push(Zeroizing::new(format!("X-Amz-Security-Token={}", canonical::encoded(token))));
        }
        write_query(parts, &pieces)?;
        let signature = self.signature(parts, authority, real)?;
        pieces.push(Zeroizing::new(format!("X-Amz-Signature={signature}")));
        write_query(parts, &pieces)
    }

    fn signature(&self, parts: &Parts, authority: &str, real: &Keys<'_>) -> Result<String, AwsError> {
        let canonical = Canonical { form: self.form, authority, payload: &self.payload };
        let text = canonical.text(parts, &self.claim.signed, self.claim.place)?;
        Ok(signature::sign(&self.claim, real.secret, &text))
    }
}

/// The SHA-256 hash of a body, for [`Claimed::prove`].
pub(crate) fn hash(body: &[u8]) -> String {
    signature::hash(body)
}

/// Where a request carries its signature.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// `Authorization`.
    Field,
    /// The parameters of a presigned URL.
    Query,
}

fn sensitive(value: &[u8]) -> Result<HeaderValue, AwsError> {
    let mut value = HeaderValue::from_bytes(value).map_err(|_| AwsError::Keys)?;
    value.set_sensitive(true);
    Ok(value)
}

fn write_query(parts: &mut Parts, pieces: &[Zeroizing<String>]) -> Result<(), AwsError> {
    let mut target = Zeroizing::new(parts.uri.path().to_owned());
    for (number, piece) in pieces.iter().enumerate() {
        target.push(if number == 0 { '?' } else { '&' });
        target.push_str(piece);
    }
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.path_and_query = Some(PathAndQuery::try_from(target.as_str()).map_err(|_| AwsError::Keys)?);
    parts.uri = Uri::from_parts(uri).map_err(|_| AwsError::Keys)?;
    Ok(())
}
