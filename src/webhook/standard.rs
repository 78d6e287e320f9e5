//! Standard Webhooks: HMAC (`v1`) and Ed25519 (`v1a`), as Svix and others send them.
//!
//! Source: the Standard Webhooks specification. Signed is `id.timestamp.body`; the signature header is a list separated by
//! blanks, so that several secrets can be valid during a rotation.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::error::{Error, Result};
use crate::model::EventId;
use crate::webhook::api::{DEFAULT_BODY_LIMIT, DEFAULT_TOLERANCE, RawRequest, Receipt, Verified, Verifier, bounded, one_header};
use crate::webhook::error::SignatureError;
use crate::webhook::hmac::{MOST_SIGNATURES, TimeUnit, timely, unbase64};
use crate::webhook::secret::Secrets;
use crate::webhook::signature::{ed25519, ed25519_sign, equal, hmac_sha256};

/// The headers' prefixes, the standard's first.
const PREFIXES: [&str; 2] = ["webhook-", "svix-"];

/// Verifies Standard Webhooks. Secrets are `whsec_…` (or the bare base64), public keys `whpk_…`.
#[derive(Clone)]
pub struct StandardWebhooks {
    source: String,
    secrets: Secrets,
    public: Vec<(String, [u8; 32])>,
    signer: Option<SecretSlice<u8>>,
    tolerance: Duration,
    limit: usize,
}

impl StandardWebhooks {
    /// No key yet: add those that are valid.
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            secrets: Secrets::none(),
            public: Vec::new(),
            signer: None,
            tolerance: DEFAULT_TOLERANCE,
            limit: DEFAULT_BODY_LIMIT,
        }
    }

    /// A symmetric secret: `whsec_` and base64; the prefix may be missing. The standard asks senders for 24 to 64 bytes, and its
    /// own examples have 18: what is accepted here begins at 16.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is not base64, or of another length.
    pub fn secret(mut self, label: impl Into<String>, secret: impl Into<SecretString>) -> Result<Self> {
        let (label, secret) = (label.into(), secret.into());
        let text = secret.expose_secret();
        let bytes = unbase64(text.strip_prefix("whsec_").unwrap_or(text));
        let bytes = bytes.ok_or_else(|| Error::config(format!("the webhook secret {label:?} is not whsec_ and base64")))?;
        if !(16..=64).contains(&bytes.len()) {
            return Err(Error::config(format!("the webhook secret {label:?} has {} bytes; it must have 16 to 64", bytes.len())));
        }
        self.secrets = self.secrets.and_bytes(label, &bytes)?;
        Ok(self)
    }

    /// A public key: `whpk_` and base64 of 32 bytes.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is not.
    pub fn public_key(mut self, label: impl Into<String>, key: &str) -> Result<Self> {
        let label = label.into();
        let bytes = unbase64(key.strip_prefix("whpk_").unwrap_or(key)).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| Error::config(format!("the webhook public key {label:?} is not whpk_ and base64 of 32 bytes")))?;
        self.public.push((label, bytes));
        Ok(self)
    }

    /// A private key to [`StandardWebhooks::sign`] with: `whsk_` and base64 of 32 bytes, or of 64 (seed and public half).
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if it is not.
    pub fn signing_key(mut self, key: impl Into<SecretString>) -> Result<Self> {
        let key = key.into();
        let text = key.expose_secret();
        let bytes = unbase64(text.strip_prefix("whsk_").unwrap_or(text)).filter(|bytes| matches!(bytes.len(), 32 | 64));
        let mut bytes = bytes.ok_or_else(|| Error::config("the webhook signing key is not whsk_ and base64 of 32 or 64 bytes"))?;
        bytes.truncate(32);
        self.signer = Some(SecretSlice::from(bytes));
        Ok(self)
    }

    /// How far the time may be off, either way. Default: [`DEFAULT_TOLERANCE`].
    #[must_use]
    pub fn tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The longest body that is hashed. Default: [`DEFAULT_BODY_LIMIT`].
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The headers of a delivery `id` of `body`, signed at `now` with every secret and the signing key.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if `id` cannot stand in a header, or there is nothing to sign with.
    pub fn sign(&self, id: &str, body: &[u8], now: Timestamp) -> Result<HeaderMap> {
        let time = now.as_second().to_string();
        let mut signatures: Vec<String> = self
            .secrets
            .iter()
            .map(|(_, secret)| format!("v1,{}", STANDARD.encode(hmac_sha256(secret, &pieces(id, &time, body)))))
            .collect();
        if let Some(seed) = self.signer.as_ref().and_then(|seed| <&[u8; 32]>::try_from(seed.expose_secret()).ok()) {
            signatures.push(format!("v1a,{}", STANDARD.encode(ed25519_sign(seed, &pieces(id, &time, body).concat()))));
        }
        if signatures.is_empty() {
            return Err(Error::config("there is no secret to sign with"));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in [("webhook-id", id), ("webhook-timestamp", &time), ("webhook-signature", &signatures.join(" "))] {
            let value = HeaderValue::try_from(value).map_err(|_| Error::config("the id of a webhook cannot stand in a header"))?;
            headers.insert(HeaderName::from_static(name), value);
        }
        Ok(headers)
    }
}

fn pieces<'a>(id: &'a str, time: &'a str, body: &'a [u8]) -> [&'a [u8]; 5] {
    [id.as_bytes(), b".", time.as_bytes(), b".", body]
}

/// Labels only.
impl fmt::Debug for StandardWebhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public: Vec<&String> = self.public.iter().map(|(label, _)| label).collect();
        f.debug_struct("StandardWebhooks")
            .field("source", &self.source)
            .field("secrets", &self.secrets)
            .field("public_keys", &public)
            .finish_non_exhaustive()
    }
}

impl Verifier for StandardWebhooks {
    fn source(&self) -> &str {
        &self.source
    }

    fn verify<'a>(&self, request: &RawRequest<'a>, now: Timestamp) -> Result<Verified<'a>, SignatureError> {
        bounded(request, self.limit)?;
        // One family of headers is used as a whole: mixing them would let one be signed and the other be read.
        let prefix = PREFIXES.into_iter().find(|prefix| request.headers.contains_key(format!("{prefix}signature")));
        let prefix = prefix.unwrap_or(PREFIXES[0]);
        let id = one_header(request.headers, &format!("{prefix}id"))?;
        let time = one_header(request.headers, &format!("{prefix}timestamp"))?;
        let name = format!("{prefix}signature");
        let given = one_header(request.headers, &name)?;
        if id.is_empty() || id.contains('.') {
            return Err(SignatureError::BadHeader(format!("{prefix}id").into()));
        }
        let at = timely(time, TimeUnit::Seconds, now, self.tolerance)?;
        let pieces = pieces(id, time, request.body);
        let codes: Vec<(&str, [u8; 32])> = self.secrets.iter().map(|(label, secret)| (label, hmac_sha256(secret, &pieces))).collect();
        let message = if self.public.is_empty() { Vec::new() } else { pieces.concat() };
        let mut matched = None;
        for (count, signature) in given.split_ascii_whitespace().enumerate() {
            if count >= MOST_SIGNATURES {
                return Err(SignatureError::TooManySignatures(MOST_SIGNATURES));
            }
            let (version, bytes) = match signature.split_once(',') {
                Some((version @ ("v1" | "v1a"), code)) => (version, unbase64(code)),
                _ => continue,
            };
            let Some(bytes) = bytes else { continue };
            let hit = if version == "v1" {
                codes.iter().find(|(_, code)| equal(code, &bytes)).map(|(label, _)| ("standard_webhooks_v1", *label))
            } else {
                let key = self.public.iter().find(|(_, key)| ed25519(key, &message, &bytes));
                key.map(|(label, _)| ("standard_webhooks_v1a", label.as_str()))
            };
            matched = matched.or(hit);
        }
        let (scheme, label) = matched.ok_or(SignatureError::WrongSignature)?;
        let receipt = Receipt { scheme, secret: label.to_owned(), id: Some(EventId::new(id)), at: Some(at), key: id.to_owned() };
        Ok(Verified::new(request.body, receipt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Method;

    fn headers(prefix: &str, id: &str, time: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in [("id", id), ("timestamp", time), ("signature", signature)] {
            headers.insert(HeaderName::try_from(format!("{prefix}{name}")).unwrap(), HeaderValue::try_from(value).unwrap());
        }
        headers
    }

    fn check(verifier: &StandardWebhooks, headers: &HeaderMap, body: &[u8], now: i64) -> Result<Receipt, &'static str> {
        let request = RawRequest { method: &Method::POST, url: "https://x/", headers, body };
        let verified = verifier.verify(&request, Timestamp::from_second(now).unwrap());
        verified.map(|verified| verified.receipt().clone()).map_err(|error| error.reason())
    }

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const BODY: &[u8] = b"{\"test\": 2432232314}";
    const GOOD: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    /// The published vectors of the specification and its libraries.
    #[test]
    fn published_vectors() {
        let verifier = StandardWebhooks::new("x").secret("a", SECRET).unwrap();
        for prefix in PREFIXES {
            let receipt = check(&verifier, &headers(prefix, ID, "1614265330", GOOD), BODY, 1_614_265_330).unwrap();
            assert_eq!((receipt.scheme, receipt.key.as_str()), ("standard_webhooks_v1", ID));
        }
        let bare = StandardWebhooks::new("x").secret("a", SECRET.trim_start_matches("whsec_")).unwrap();
        assert!(check(&bare, &headers("webhook-", ID, "1614265330", GOOD), BODY, 1_614_265_330).is_ok());

        let second = StandardWebhooks::new("x").secret("a", "whsec_plJ3nmyCDGBKInavdOK15jsl").unwrap();
        let signature = "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=";
        let body = br#"{"event_type":"ping","data":{"success":true}}"#;
        assert!(check(&second, &headers("webhook-", "msg_loFOjxBNrRLzqYUf", "1731705121", signature), body, 1_731_705_121).is_ok());

        let public = StandardWebhooks::new("x").public_key("k", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=").unwrap();
        let signature = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
        let receipt = check(&public, &headers("webhook-", ID, "1614265330", signature), BODY, 1_614_265_330).unwrap();
        assert_eq!(receipt.scheme, "standard_webhooks_v1a");
        // The right bytes under the wrong version tag are not a signature.
        let wrong = signature.replace("v1a,", "v1,");
        assert_eq!(check(&public, &headers("webhook-", ID, "1614265330", &wrong), BODY, 1_614_265_330), Err("wrong_signature"));
    }

    #[test]
    fn one_bit_is_enough() {
        let verifier = StandardWebhooks::new("x").secret("a", SECRET).unwrap();
        let now = 1_614_265_330;
        let good = headers("webhook-", ID, "1614265330", GOOD);
        for at in 0..BODY.len() * 8 {
            let mut body = BODY.to_vec();
            body[at / 8] ^= 1 << (at % 8);
            assert_eq!(check(&verifier, &good, &body, now), Err("wrong_signature"));
        }
        assert_eq!(
            check(&verifier, &headers("webhook-", "msg_p5jXN8AQM9LWM0D4loKWxJel", "1614265330", GOOD), BODY, now),
            Err("wrong_signature")
        );
        assert_eq!(check(&verifier, &headers("webhook-", ID, "1614265331", GOOD), BODY, now), Err("wrong_signature"));
        for signature in ["", "v1,", "v1,Z", &GOOD.replace("v1", "v2"), &GOOD.replace("v1,", "")] {
            assert_eq!(
                check(&verifier, &headers("webhook-", ID, "1614265330", signature), BODY, now),
                Err("wrong_signature"),
                "{signature}"
            );
        }
        let many = format!("{}{GOOD}", "v1,AAAA ".repeat(100));
        assert_eq!(check(&verifier, &headers("webhook-", ID, "1614265330", &many), BODY, now), Err("too_many_signatures"));
        let few = format!("{}{GOOD}", "v1,AAAA ".repeat(10));
        assert!(check(&verifier, &headers("webhook-", ID, "1614265330", &few), BODY, now).is_ok());
        assert_eq!(check(&verifier, &good, BODY, now + 301), Err("too_old"));
        assert_eq!(check(&verifier, &good, BODY, now - 301), Err("too_new"));
    }

    #[test]
    fn what_is_signed_is_believed() {
        let key = format!("whsk_{}", STANDARD.encode([7u8; 32]));
        let public = STANDARD.encode(ed25519_dalek::SigningKey::from_bytes(&[7; 32]).verifying_key().to_bytes());
        let sender = StandardWebhooks::new("x").secret("a", SECRET).unwrap().signing_key(key).unwrap();
        let signed = sender.sign("msg_1", b"\xff\x00", Timestamp::from_second(50).unwrap()).unwrap();
        let receiver = StandardWebhooks::new("x").public_key("k", &public).unwrap();
        assert!(check(&receiver, &signed, b"\xff\x00", 50).is_ok());
        assert!(check(&sender, &signed, b"\xff\x00", 50).is_ok());
        assert!(!format!("{sender:?}").contains("MfKQ9"));
    }

    #[test]
    fn keys_of_another_form_are_refused_at_once() {
        assert!(StandardWebhooks::new("x").secret("a", "whsec_%%%").is_err());
        assert!(StandardWebhooks::new("x").secret("a", "whsec_c2hvcnQ=").is_err());
        assert!(StandardWebhooks::new("x").public_key("a", "whpk_c2hvcnQ=").is_err());
        assert!(StandardWebhooks::new("x").sign("id", b"", Timestamp::UNIX_EPOCH).is_err());
    }
}
