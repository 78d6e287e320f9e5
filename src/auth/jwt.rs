//! The JWT bearer grant (RFC 7523): a signed assertion instead of a person and instead of a refresh token.
//!
//! Every token is bought with an assertion of its own: short lived, with a fresh `jti`, never kept. There is nothing to rotate
//! and nothing to lose, so a renewal whose answer got lost may simply be done again.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde::Serialize;

use crate::auth::cache::StoredToken;
use crate::auth::oauth::OAuthClient;
use crate::auth::token::Exchange;
use crate::error::{Error, Result};
use crate::host::Host;

/// How long an assertion is good. Salesforce takes at most 5 minutes and forgives some skew of the clocks.
const LIFETIME: Duration = Duration::from_secs(180);

/// Makes RSASSA-PKCS1-v1_5 signatures over SHA-256 (RS256). It is object-safe, and asynchronous so that the key may live in a
/// key management service. `RsaSigner` (feature `jwt`) signs here, with a key in PEM.
#[async_trait]
pub trait Signer: Debug + Send + Sync {
    /// The signature over `message`, as bytes.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the key cannot sign; a retryable kind if a service is not available just now.
    async fn sign(&self, message: &[u8]) -> Result<Vec<u8>>;
}

/// Buys tokens with signed assertions.
#[derive(Clone, Debug)]
pub struct JwtBearer {
    client: OAuthClient,
    signer: Arc<dyn Signer>,
    host: Host,
    issuer: String,
    subject: String,
    audience: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    exp: i64,
    jti: String,
}

impl JwtBearer {
    /// `issuer` is the application's client id, `subject` the user the token acts for, `audience` what the server calls itself
    /// (Salesforce: `https://login.salesforce.com`, `https://test.salesforce.com` or the URL of an Experience Cloud site).
    pub fn new(
        client: OAuthClient,
        signer: Arc<dyn Signer>,
        host: Host,
        issuer: impl Into<String>,
        subject: impl Into<String>,
        audience: impl Into<String>,
    ) -> Self {
        Self { client, signer, host, issuer: issuer.into(), subject: subject.into(), audience: audience.into() }
    }

    /// A fresh assertion.
    ///
    /// # Errors
    /// What the signer says.
    pub async fn assertion(&self) -> Result<SecretString> {
        let expires = self.host.now().checked_add(LIFETIME).map_err(|_| Error::internal("the host's clock is out of range"))?;
        let claims =
            Claims { iss: &self.issuer, sub: &self.subject, aud: &self.audience, exp: expires.as_second(), jti: self.host.new_id() };
        let claims = serde_json::to_vec(&claims).map_err(|_| Error::internal("the claims of an assertion do not serialise"))?;
        compact(br#"{"alg":"RS256","typ":"JWT"}"#, &claims, &*self.signer).await
    }
}

/// Header and claims as one signed text (RFC 7515, compact serialisation).
pub(crate) async fn compact(header: &[u8], claims: &[u8], signer: &dyn Signer) -> Result<SecretString> {
    let mut text = URL_SAFE_NO_PAD.encode(header);
    text.push('.');
    text.push_str(&URL_SAFE_NO_PAD.encode(claims));
    let signature = signer.sign(text.as_bytes()).await?;
    text.push('.');
    text.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(SecretString::from(text))
}

#[async_trait]
impl Exchange for JwtBearer {
    async fn exchange(&self, _refresh_token: Option<&SecretString>) -> Result<StoredToken> {
        let assertion = self.assertion().await?;
        // Nothing was used up: a lost answer is asked for again with a new assertion.
        self.client.jwt_bearer(&assertion).await.map_err(Error::not_applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Body, HttpError, HttpTransport};
    use bytes::Bytes;
    use futures_util::FutureExt;
    use http::{Request, Response};
    use secrecy::ExposeSecret;
    use std::sync::Mutex;

    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<String>>);

    #[async_trait]
    impl HttpTransport for Recorder {
        async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, HttpError> {
            self.0.lock().unwrap().push(String::from_utf8(request.body().to_vec()).unwrap());
            let body = r#"{"access_token":"A","instance_url":"https://acme.my.salesforce.com","token_type":"Bearer"}"#;
            Ok(Response::builder().status(200).body(Body::from_bytes(body)).unwrap())
        }
    }

    #[derive(Debug)]
    struct Upper;

    #[async_trait]
    impl Signer for Upper {
        async fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
            Ok(message.len().to_be_bytes().to_vec())
        }
    }

    #[test]
    fn assertions_are_short_lived_and_never_the_same() {
        let host = Host::manual(7);
        let transport = Arc::new(Recorder::default());
        let url = url::Url::parse("https://login.salesforce.com/services/oauth2/token").unwrap();
        let client = OAuthClient::new(Arc::clone(&transport) as _, host.clone(), url, "key");
        let grant = JwtBearer::new(client, Arc::new(Upper), host.clone(), "key", "ann@acme.example", "https://login.salesforce.com");
        for _ in 0..2 {
            let stored = grant.exchange(None).now_or_never().unwrap().unwrap();
            assert_eq!((stored.access_token.as_str(), stored.refresh_token), ("A", None));
        }
        let seen = transport.0.lock().unwrap().clone();
        assert_ne!(seen[0], seen[1]);
        assert!(seen[0].starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion="), "{}", seen[0]);
        assert!(!seen[0].contains("client_secret"));
        let assertion = grant.assertion().now_or_never().unwrap().unwrap();
        let parts: Vec<&str> = assertion.expose_secret().split('.').collect();
        let claims: serde_json::Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let left = claims["exp"].as_i64().unwrap() - host.now().as_second();
        assert!((1..=300).contains(&left), "{left}");
        assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("key"), Some("ann@acme.example")));
        assert_eq!(parts.len(), 3);
    }
}
