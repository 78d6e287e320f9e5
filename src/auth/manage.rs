//! What can be asked about a token, and how one is taken back: revocation (RFC 7009) and introspection (RFC 7662).

use std::collections::BTreeMap;

use http::header::{ACCEPT, CONTENT_TYPE};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use crate::auth::oauth::{Grant, OAuthClient, integer};
use crate::error::{Error, Result};

/// What the server says about a token.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Introspection {
    /// False for a token that is expired, revoked, unknown or of another client.
    pub active: bool,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Whom it acts for.
    pub username: Option<String>,
    /// Whatever else was answered.
    pub other: BTreeMap<String, Value>,
}

impl OAuthClient {
    /// Where tokens are revoked.
    #[must_use]
    pub fn revoke_url(mut self, url: Url) -> Self {
        self.revoke_url = Some(url);
        self
    }

    /// Where tokens are introspected.
    #[must_use]
    pub fn introspect_url(mut self, url: Url) -> Self {
        self.introspect_url = Some(url);
        self
    }

    /// Takes a token back. Revoking a refresh token ends its access tokens as well. Repeatable: a token that is dead already is
    /// no error.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] without [`OAuthClient::revoke_url`] or for a wrong client; see the module of
    /// [`OAuthClient`] for the rest.
    pub async fn revoke(&self, token: &SecretString) -> Result<()> {
        let url = self.revoke_url.as_ref().ok_or_else(|| Error::config("the client has no revoke_url; set it to revoke tokens"))?;
        let request = self.request_to(url, &[("token", token.expose_secret())])?;
        let (head, body) = self.exchange_bytes(request).await?;
        if head.status.is_success() {
            return Ok(());
        }
        let error = super::oauth::refusal(head.status, &head.headers, &body, Grant::Manage);
        // Salesforce tells of a dead token (400 invalid_token, unsupported_token_type of RFC 7009 is something else).
        if matches!(error.code(), Some("invalid_token" | "invalid_grant")) { Ok(()) } else { Err(error) }
    }

    /// What the server says about a token.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] without [`OAuthClient::introspect_url`] or for a wrong client; see the module of
    /// [`OAuthClient`] for the rest.
    pub async fn introspect(&self, token: &SecretString) -> Result<Introspection> {
        let url = self.introspect_url.as_ref();
        let url = url.ok_or_else(|| Error::config("the client has no introspect_url; set it to introspect tokens"))?;
        let request = self.request_to(url, &[("token", token.expose_secret())])?;
        let (head, body) = self.exchange_bytes(request).await?;
        if !head.status.is_success() {
            return Err(super::oauth::refusal(head.status, &head.headers, &body, Grant::Manage).not_applied());
        }
        let answer: Answer = serde_json::from_slice(&body)
            .map_err(|_| Error::decode("the introspection endpoint answered something else").with_status(head.status))?;
        let expires_at = answer.exp.as_ref().and_then(integer).and_then(|second| Timestamp::from_second(second).ok());
        let scopes = answer.scope.unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect();
        Ok(Introspection { active: answer.active, expires_at, scopes, username: answer.username, other: answer.other })
    }

    /// Who the access token acts for, as the OpenID userinfo endpoint at `url` answers.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Authentication`] for a token that is refused; see the module of [`OAuthClient`] for the rest.
    pub async fn user_info(&self, url: &Url, token: &SecretString) -> Result<BTreeMap<String, Value>> {
        let mut value = http::HeaderValue::try_from(format!("Bearer {}", token.expose_secret()))
            .map_err(|_| Error::config("the access token holds characters that cannot stand in a header"))?;
        value.set_sensitive(true);
        let request = http::Request::get(url.as_str()).header(ACCEPT, "application/json").header(http::header::AUTHORIZATION, value);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(bytes::Bytes::new());
        let request = request.map_err(|_| Error::config("the userinfo URL cannot be requested"))?;
        let (head, body) = self.exchange_bytes(request).await.map_err(Error::not_applied)?;
        if head.status == http::StatusCode::UNAUTHORIZED || head.status == http::StatusCode::FORBIDDEN {
            let error = Error::new(crate::error::ErrorKind::Authentication, "the access token was refused by the userinfo endpoint");
            return Err(error.with_status(head.status));
        }
        if !head.status.is_success() {
            return Err(super::oauth::refusal(head.status, &head.headers, &body, Grant::Manage).not_applied());
        }
        serde_json::from_slice(&body).map_err(|_| Error::decode("the userinfo endpoint answered something else").with_status(head.status))
    }
}

#[derive(Deserialize)]
struct Answer {
    active: bool,
    #[serde(default)]
    exp: Option<Value>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(flatten)]
    other: BTreeMap<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, Retry};
    use crate::host::Host;
    use crate::http::{Body, HttpError, HttpTransport};
    use async_trait::async_trait;
    use bytes::Bytes;
    use futures_util::FutureExt;
    use std::sync::{Arc, Mutex};

    #[derive(Debug)]
    struct Fixed(u16, &'static str, Mutex<Vec<String>>);

    #[async_trait]
    impl HttpTransport for Fixed {
        async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
            let line = format!("{} {}", request.uri().path(), String::from_utf8_lossy(request.body()));
            self.2.lock().unwrap().push(line);
            Ok(http::Response::builder().status(self.0).body(Body::from_bytes(self.1)).unwrap())
        }
    }

    fn client(status: u16, body: &'static str) -> (OAuthClient, Arc<Fixed>) {
        let transport = Arc::new(Fixed(status, body, Mutex::default()));
        let at = |tail: &str| Url::parse(&format!("https://acme.my.salesforce.com/services/oauth2/{tail}")).unwrap();
        let client = OAuthClient::new(Arc::clone(&transport) as _, Host::manual(1), at("token"), "key");
        (client.client_secret(SecretString::from("s")).revoke_url(at("revoke")).introspect_url(at("introspect")), transport)
    }

    #[test]
    fn revoking_is_repeatable() {
        let token = SecretString::from("R1");
        let (done, seen) = client(200, "");
        done.revoke(&token).now_or_never().unwrap().unwrap();
        assert_eq!(seen.2.lock().unwrap()[0], "/services/oauth2/revoke token=R1&client_id=key&client_secret=s");
        client(400, r#"{"error":"invalid_token"}"#).0.revoke(&token).now_or_never().unwrap().unwrap();
        let down = client(503, "<html>").0.revoke(&token).now_or_never().unwrap().unwrap_err();
        assert_eq!((down.kind(), down.retry()), (ErrorKind::Unavailable, Retry::Backoff));
    }

    #[test]
    fn introspection() {
        let token = SecretString::from("A1");
        let body = r#"{"active":true,"scope":"api refresh_token","exp":1761234567,"username":"ann@acme.example","client_id":"key"}"#;
        let told = client(200, body).0.introspect(&token).now_or_never().unwrap().unwrap();
        assert!(told.active);
        assert_eq!(told.scopes, ["api", "refresh_token"]);
        assert_eq!(told.expires_at.unwrap().as_second(), 1_761_234_567);
        assert!(!client(200, r#"{"active":false}"#).0.introspect(&token).now_or_never().unwrap().unwrap().active);
        let wrong = client(401, r#"{"error":"invalid_client"}"#).0.introspect(&token).now_or_never().unwrap().unwrap_err();
        assert_eq!((wrong.kind(), wrong.may_have_applied()), (ErrorKind::Config, false));
    }
}
