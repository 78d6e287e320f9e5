//! A request as it came in, and what a verifier makes of it.

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::time::Duration;

use http::{HeaderMap, Method};
use jiff::Timestamp;

use crate::model::EventId;
use crate::webhook::error::SignatureError;
use crate::webhook::signature::{hex, sha256};

/// How far a timestamp may be off, either way, unless the host says otherwise: five minutes, as Standard Webhooks, Stripe and
/// HubSpot recommend.
pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// The longest body that is hashed, unless the host says otherwise: 1 MiB.
pub const DEFAULT_BODY_LIMIT: usize = 1 << 20;

/// A request as it came in. The body is the bytes on the wire: parsed and written again they are other bytes.
#[derive(Clone, Copy)]
pub struct RawRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The public URL the sender called: scheme, host, path and query. Behind a proxy build it from configuration; the Host
    /// header of the inner request is not it.
    pub url: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
}

/// Neither URL nor headers nor body.
impl Debug for RawRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRequest").field("method", &self.method).field("body_bytes", &self.body.len()).finish_non_exhaustive()
    }
}

/// What is known of a delivery that was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The scheme, e.g. `hmac`, `standard_webhooks_v1`, `hubspot_v3`.
    pub scheme: &'static str,
    /// The label of the secret that matched; watch it during a rotation.
    pub secret: String,
    /// The sender's id of the delivery, if the scheme has one that is signed.
    pub id: Option<EventId>,
    /// When the sender signed it, if the scheme says.
    pub at: Option<Timestamp>,
    /// What tells this delivery from others: the id, or a digest of what was signed. Keep it for as long as the sender repeats.
    pub key: String,
}

/// A body whose sender is known. Only a [`Verifier`] makes one.
#[derive(Clone)]
pub struct Verified<'a> {
    body: &'a [u8],
    receipt: Receipt,
}

/// Never the body.
impl Debug for Verified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("receipt", &self.receipt).field("body_bytes", &self.body.len()).finish()
    }
}

impl<'a> Verified<'a> {
    pub(crate) fn new(body: &'a [u8], receipt: Receipt) -> Self {
        Self { body, receipt }
    }

    /// Believes a body without looking at a signature: for bodies that were verified elsewhere (a gateway, a dead letter), and
    /// for verifiers written outside this crate. `scheme` and `key` as in [`Receipt`].
    pub fn trust_without_verifying(body: &'a [u8], scheme: &'static str, key: impl Into<String>) -> Self {
        Self { body, receipt: Receipt { scheme, secret: String::new(), id: None, at: None, key: key.into() } }
    }

    /// The bytes.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// What is known of the delivery.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }
}

/// Decides whether a request is from whom it claims to be. It is object-safe.
pub trait Verifier: Debug + Send + Sync {
    /// The sender, for counters and messages.
    fn source(&self) -> &str;

    /// Looks at the bytes; `now` is when they arrived.
    ///
    /// # Errors
    /// Why they are not believed.
    fn verify<'a>(&self, request: &RawRequest<'a>, now: Timestamp) -> Result<Verified<'a>, SignatureError>;
}

/// Refuses what no honest sender sends, before anything is hashed.
pub(crate) fn bounded(request: &RawRequest<'_>, limit: usize) -> Result<(), SignatureError> {
    if request.body.len() > limit {
        return Err(SignatureError::BodyTooLarge { length: request.body.len(), limit });
    }
    let plain = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if request.headers.get_all(http::header::CONTENT_ENCODING).iter().any(|value| !plain(value)) {
        return Err(SignatureError::Encoded);
    }
    Ok(())
}

/// The text of a header that must occur exactly once.
pub(crate) fn one_header<'a>(headers: &'a HeaderMap, name: &str) -> Result<&'a str, SignatureError> {
    let mut values = headers.get_all(name).iter();
    let name = || Cow::Owned(name.to_owned());
    let value = values.next().ok_or_else(|| SignatureError::MissingHeader(name()))?;
    if values.next().is_some() {
        return Err(SignatureError::DuplicateHeader(name()));
    }
    value.to_str().map(str::trim).map_err(|_| SignatureError::BadHeader(name()))
}

/// The key of a delivery that has no id: two equal texts are one delivery.
pub(crate) fn digest_key(parts: &[&[u8]]) -> String {
    hex(&sha256(parts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_safe() {
        fn takes(_: Option<&dyn Verifier>) {}
        takes(None);
    }

    #[test]
    fn debug_shows_no_content() {
        let headers = HeaderMap::new();
        let request = RawRequest { method: &Method::POST, url: "https://x/?token=canary", headers: &headers, body: b"canary" };
        assert!(!format!("{request:?}").contains("canary"));
        assert!(!format!("{:?}", Verified::trust_without_verifying(b"canary", "test", "k")).contains("canary"));
    }
}
