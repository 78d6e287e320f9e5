//! Senders that sign nothing: a user and password in each call (Pipedrive), or a secret in a header.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, Result};
use crate::webhook::api::{DEFAULT_BODY_LIMIT, RawRequest, Receipt, Verified, Verifier, bounded, digest_key, one_header};
use crate::webhook::error::SignatureError;
use crate::webhook::secret::Secrets;
use crate::webhook::signature::equal;

/// Compares one header with what the sender was told to send, in constant time.
///
/// It proves that the sender knows the secret, not that the body is the sender's: use it over TLS, and read the record again
/// instead of believing the payload.
#[derive(Clone)]
pub struct BasicVerifier {
    source: String,
    header: String,
    scheme: &'static str,
    expected: Secrets,
    limit: usize,
}

impl BasicVerifier {
    /// `Authorization: Basic` with this user and password.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the user holds a colon (RFC 7617) or both are empty.
    pub fn new(source: impl Into<String>, user: &str, password: impl Into<SecretString>) -> Result<Self> {
        let empty = Self {
            source: source.into(),
            header: "authorization".to_owned(),
            scheme: "basic",
            expected: Secrets::none(),
            limit: DEFAULT_BODY_LIMIT,
        };
        empty.or_user(user, password)
    }

    /// Another user and password that is valid too; the user is its label.
    ///
    /// # Errors
    /// As [`BasicVerifier::new`].
    pub fn or_user(mut self, user: &str, password: impl Into<SecretString>) -> Result<Self> {
        let password = password.into();
        if user.contains(':') {
            return Err(Error::config("the user of a webhook cannot hold a colon"));
        }
        if user.is_empty() && password.expose_secret().is_empty() {
            return Err(Error::config("the user and the password of a webhook are both empty"));
        }
        self.expected = self.expected.and_bytes(user, format!("{user}:{}", password.expose_secret()).as_bytes())?;
        Ok(self)
    }

    /// A secret that stands as it is in `header`; `label` names it.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the secret is empty.
    pub fn header(source: impl Into<String>, header: impl Into<String>, label: &str, secret: impl Into<SecretString>) -> Result<Self> {
        let expected = Secrets::new(label, secret)?;
        Ok(Self { source: source.into(), header: header.into(), scheme: "header", expected, limit: DEFAULT_BODY_LIMIT })
    }

    /// The longest body that is looked at. Default: [`DEFAULT_BODY_LIMIT`].
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }
}

impl fmt::Debug for BasicVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicVerifier").field("source", &self.source).field("header", &self.header).finish_non_exhaustive()
    }
}

impl Verifier for BasicVerifier {
    fn source(&self) -> &str {
        &self.source
    }

    fn verify<'a>(&self, request: &RawRequest<'a>, _now: Timestamp) -> Result<Verified<'a>, SignatureError> {
        bounded(request, self.limit)?;
        let given = one_header(request.headers, &self.header)?;
        let decoded;
        let given = if self.scheme == "basic" {
            let bad = || SignatureError::BadHeader(self.header.clone().into());
            let (scheme, code) = given.split_once(' ').ok_or_else(bad)?;
            if !scheme.eq_ignore_ascii_case("basic") {
                return Err(bad());
            }
            decoded = STANDARD.decode(code.trim()).map_err(|_| bad())?;
            decoded.as_slice()
        } else {
            given.as_bytes()
        };
        let mut matched = None;
        for (label, expected) in self.expected.iter() {
            if equal(given, expected) {
                matched = matched.or(Some(label));
            }
        }
        let secret = matched.ok_or(SignatureError::WrongSignature)?.to_owned();
        let key = digest_key(&[request.body]);
        Ok(Verified::new(request.body, Receipt { scheme: self.scheme, secret, id: None, at: None, key }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, Method};

    fn check(verifier: &BasicVerifier, header: &'static str, value: &str) -> Result<String, &'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header, HeaderValue::try_from(value).unwrap());
        let request = RawRequest { method: &Method::POST, url: "https://x/", headers: &headers, body: b"{}" };
        verifier.verify(&request, Timestamp::UNIX_EPOCH).map(|ok| ok.receipt().secret.clone()).map_err(|error| error.reason())
    }

    #[test]
    fn user_and_password() {
        let verifier = BasicVerifier::new("pipedrive", "sync", "pass:word").unwrap().or_user("next", "other").unwrap();
        assert_eq!(check(&verifier, "authorization", "Basic c3luYzpwYXNzOndvcmQ="), Ok("sync".to_owned()));
        assert_eq!(check(&verifier, "authorization", "basic bmV4dDpvdGhlcg=="), Ok("next".to_owned()));
        for (value, reason) in [
            ("Basic c3luYzpwYXNz", "wrong_signature"),
            ("Basic %%%", "bad_header"),
            ("Bearer c3luYzpwYXNzOndvcmQ=", "bad_header"),
            ("", "bad_header"),
        ] {
            assert_eq!(check(&verifier, "authorization", value), Err(reason), "{value}");
        }
        assert_eq!(check(&verifier, "x-other", "Basic c3luYzpwYXNzOndvcmQ="), Err("missing_header"));
        assert!(!format!("{verifier:?}").contains("pass"));
        assert!(BasicVerifier::new("x", "a:b", "c").is_err() && BasicVerifier::new("x", "", "").is_err());
    }

    #[test]
    fn secret_in_a_header() {
        let verifier = BasicVerifier::header("x", "X-Secret", "2026", "canary").unwrap();
        assert_eq!(check(&verifier, "x-secret", "canary"), Ok("2026".to_owned()));
        assert_eq!(check(&verifier, "x-secret", "canarz"), Err("wrong_signature"));
    }
}
