//! OAuth 2.0 grants: refresh token, client credentials, authorization code with PKCE, JWT bearer.
//!
//! Failures come in three classes. *Revoked*: [`ErrorKind::Authentication`], never retried, "authorize again". *Configuration*
//! (wrong client, redirect URI, scope): [`ErrorKind::Config`]. *Transient* (429, 5xx, a proxy's HTML page): retryable.
//! The decision is taken by the `error` member; `error_description` is shown to people only.

use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::auth::cache::StoredToken;
use crate::auth::token::Exchange;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::http::{HttpTransport, retry_after};

/// A token answer is a few kilobytes; more is not one.
const ANSWER_LIMIT: usize = 1 << 20;

/// An application registered with a CRM's OAuth server.
#[derive(Clone)]
pub struct OAuthClient {
    transport: Arc<dyn HttpTransport>,
    host: Host,
    token_url: Url,
    authorize_url: Option<Url>,
    pub(super) revoke_url: Option<Url>,
    pub(super) introspect_url: Option<Url>,
    client_id: String,
    client_secret: Option<SecretString>,
    basic: bool,
}

/// A person's way to the consent page, and what has to be kept until they come back.
#[derive(Clone)]
pub struct Authorization {
    /// Where to send the person's browser.
    pub url: Url,
    /// Compare it with the `state` that comes back; another one is somebody else's answer.
    pub state: String,
    /// Hand it to [`OAuthClient::exchange_code`].
    pub verifier: SecretString,
}

/// Never the state or the verifier.
impl Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

impl OAuthClient {
    /// A public client: `client_id` at the token endpoint `token_url`.
    pub fn new(transport: Arc<dyn HttpTransport>, host: Host, token_url: Url, client_id: impl Into<String>) -> Self {
        Self {
            transport,
            host,
            token_url,
            authorize_url: None,
            revoke_url: None,
            introspect_url: None,
            client_id: client_id.into(),
            client_secret: None,
            basic: false,
        }
    }

    /// The consent page, for the authorization-code grant.
    #[must_use]
    pub fn authorize_url(mut self, url: Url) -> Self {
        self.authorize_url = Some(url);
        self
    }

    /// The secret of a confidential client.
    #[must_use]
    pub fn client_secret(mut self, secret: SecretString) -> Self {
        self.client_secret = Some(secret);
        self
    }

    /// Sends id and secret in an `Authorization: Basic` header instead of the form.
    #[must_use]
    pub fn basic(mut self, basic: bool) -> Self {
        self.basic = basic;
        self
    }

    /// The way to the consent page, with a fresh state and PKCE verifier (S256) from the host's entropy. `scopes` are joined
    /// by blanks; `extra` holds the vendor's own parameters, e.g. `("prompt", "login")`.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] without [`OAuthClient::authorize_url`].
    pub fn authorize(&self, redirect_uri: &str, scopes: &[&str], extra: &[(&str, &str)]) -> Result<Authorization> {
        let Some(base) = &self.authorize_url else {
            return Err(Error::config("the client has no authorize_url; set it to start the authorization-code grant"));
        };
        let verifier = self.random_text();
        let state = self.random_text();
        let mut url = base.clone();
        {
            let mut query = url.query_pairs_mut();
            query.append_pair("response_type", "code").append_pair("client_id", &self.client_id).append_pair("redirect_uri", redirect_uri);
            if !scopes.is_empty() {
                query.append_pair("scope", &scopes.join(" "));
            }
            query
                .append_pair("state", &state)
                .append_pair("code_challenge", &pkce_challenge(&verifier))
                .append_pair("code_challenge_method", "S256");
            for (name, value) in extra {
                query.append_pair(name, value);
            }
        }
        Ok(Authorization { url, state, verifier: SecretString::from(verifier) })
    }

    /// Buys tokens for the code that came back to `redirect_uri`, which must be the one the code was asked for.
    ///
    /// # Errors
    /// [`ErrorKind::Authentication`] if the code is used or too old; see the module for the rest.
    pub async fn exchange_code(&self, code: &str, redirect_uri: &str, verifier: &SecretString) -> Result<StoredToken> {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.expose_secret()),
        ];
        self.ask(&pairs, Grant::Code).await
    }

    /// Buys an access token for `refresh_token`, which may be used up by that.
    ///
    /// # Errors
    /// [`ErrorKind::Authentication`] if the token is dead; [`Error::may_have_applied`] if no answer came; see the module.
    pub async fn refresh(&self, refresh_token: &SecretString) -> Result<StoredToken> {
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh_token.expose_secret())];
        self.ask(&pairs, Grant::Refresh).await
    }

    /// Buys an access token for the application itself.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the server does not grant it; see the module.
    pub async fn client_credentials(&self) -> Result<StoredToken> {
        self.ask(&[("grant_type", "client_credentials")], Grant::Client).await
    }

    /// Buys an access token for a signed assertion; see [`JwtBearer`](crate::auth::JwtBearer). Neither client id nor secret is
    /// sent: the assertion names and proves the client.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the server does not take the assertion: wrong key, user, audience or clock, or a user who was not
    /// approved for the application; see the module for the rest.
    pub async fn jwt_bearer(&self, assertion: &SecretString) -> Result<StoredToken> {
        let pairs = [("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion.expose_secret())];
        let form = Serializer::new(String::new()).extend_pairs(pairs).finish();
        let request = form_request(&self.token_url).body(Bytes::from(form)).map_err(|_| no_url())?;
        self.answer(request, Grant::Jwt).await
    }

    /// 43 characters out of 32 random bytes: the length RFC 7636 recommends.
    fn random_text(&self) -> String {
        let mut bytes = [0; 32];
        self.host.fill(&mut bytes);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// `pairs` as a form for `url`, with the client's credentials.
    pub(super) fn request_to(&self, url: &Url, pairs: &[(&str, &str)]) -> Result<Request<Bytes>> {
        let mut form = Serializer::new(String::new());
        form.extend_pairs(pairs);
        let mut request = form_request(url);
        match &self.client_secret {
            Some(secret) if self.basic => {
                // RFC 6749 2.3.1: both parts are form-encoded before they are joined.
                let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encode(&self.client_id), encode(secret.expose_secret()));
                let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))
                    .map_err(|_| Error::config("the client id or secret cannot be sent in a header"))?;
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            }
            secret => {
                form.append_pair("client_id", &self.client_id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret.expose_secret());
                }
            }
        }
        request.body(Bytes::from(form.finish())).map_err(|_| no_url())
    }

    async fn ask(&self, pairs: &[(&str, &str)], grant: Grant) -> Result<StoredToken> {
        self.answer(self.request_to(&self.token_url, pairs)?, grant).await
    }

    async fn answer(&self, request: Request<Bytes>, grant: Grant) -> Result<StoredToken> {
        let (head, body) = self.exchange_bytes(request).await?;
        if head.status.is_success() {
            if let Ok(answer) = serde_json::from_slice::<TokenAnswer>(&body) {
                return Ok(answer.into_stored(self.host.now()));
            }
            let message = if is_html(&head.headers, &body) {
                "the token endpoint answered a web page; check the login URL, or a proxy is in the way"
            } else {
                "the token endpoint answered without an access_token"
            };
            return Err(Error::decode(message).with_status(head.status).ambiguous());
        }
        Err(refusal(head.status, &head.headers, &body, grant))
    }

    /// Head and body of the answer. An error says whether the request may have been carried out.
    pub(super) async fn exchange_bytes(&self, request: Request<Bytes>) -> Result<(http::response::Parts, Bytes)> {
        let unknown = |error: crate::http::HttpError| {
            let sent = error.may_have_executed();
            let error = Error::from(error);
            if sent { error.ambiguous() } else { error }
        };
        let answer = self.transport.send(request).await.map_err(unknown)?;
        let (head, body) = answer.into_parts();
        let body = body.bytes(ANSWER_LIMIT).await.map_err(unknown)?;
        Ok((head, body))
    }
}

fn form_request(url: &Url) -> http::request::Builder {
    Request::post(url.as_str()).header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(ACCEPT, "application/json")
}

fn no_url() -> Error {
    Error::config("the OAuth URL cannot be requested; it must be an absolute http or https URL")
}

/// Never the secret.
impl Debug for OAuthClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthClient")
            .field("token_host", &self.token_url.host_str())
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// The S256 challenge of a PKCE verifier (RFC 7636).
pub fn pkce_challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// The ready [`Exchange`]: a refresh token to begin with, or the client's own credentials.
#[derive(Clone, Debug)]
pub struct OAuthGrant {
    client: OAuthClient,
    refresh_token: Option<SecretString>,
}

impl OAuthGrant {
    /// Renews with `refresh_token`, or whatever it was rotated to since.
    pub fn refresh_token(client: OAuthClient, refresh_token: SecretString) -> Self {
        Self { client, refresh_token: Some(refresh_token) }
    }

    /// Renews with the client's id and secret.
    pub fn client_credentials(client: OAuthClient) -> Self {
        Self { client, refresh_token: None }
    }
}

#[async_trait]
impl Exchange for OAuthGrant {
    async fn exchange(&self, refresh_token: Option<&SecretString>) -> Result<StoredToken> {
        match (&self.refresh_token, refresh_token) {
            (None, _) => self.client.client_credentials().await,
            (Some(initial), newest) => self.client.refresh(newest.unwrap_or(initial)).await,
        }
    }

    fn initial_refresh_token(&self) -> Option<SecretString> {
        self.refresh_token.clone()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    Client,
    Code,
    Jwt,
    /// Revocation and introspection: nothing is granted.
    Manage,
    Refresh,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
    #[serde(default)]
    instance_url: Option<String>,
    /// Pipedrive's word for the same.
    #[serde(default)]
    api_domain: Option<String>,
    /// Milliseconds since 1970 as text (Salesforce).
    #[serde(default)]
    issued_at: Option<serde_json::Value>,
    /// Seconds; some servers write them as text.
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

impl TokenAnswer {
    fn into_stored(self, now: Timestamp) -> StoredToken {
        let issued_at = self.issued_at.as_ref().and_then(integer).and_then(|millis| Timestamp::from_millisecond(millis).ok());
        let expires_at = self
            .expires_in
            .as_ref()
            .and_then(integer)
            .filter(|seconds| *seconds > 0)
            .and_then(|seconds| now.checked_add(Duration::from_secs(u64::try_from(seconds).ok()?)).ok());
        StoredToken {
            access_token: self.access_token,
            refresh_token: self.refresh_token.filter(|token| !token.is_empty()),
            instance_url: self.instance_url.or(self.api_domain).map(|url| url.trim_end_matches('/').to_owned()),
            issued_at: issued_at.or(Some(now)),
            expires_at,
        }
    }
}

pub(super) fn integer(value: &serde_json::Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    error_description: Option<String>,
}

pub(super) fn refusal(status: StatusCode, headers: &HeaderMap, body: &[u8], grant: Grant) -> Error {
    let retry = retry_after(headers).map_or(Retry::Backoff, Retry::After);
    let error = if status == StatusCode::TOO_MANY_REQUESTS {
        Error::new(ErrorKind::RateLimited, "the token endpoint answers too many requests").retrying(retry)
    } else if status.is_server_error() {
        Error::new(ErrorKind::Unavailable, "the token endpoint is not available").retrying(retry)
    } else if let Ok(refusal) = serde_json::from_slice::<Refusal>(body) {
        let reason = refusal.error_description.as_deref().map(tidy).filter(|text| !text.is_empty());
        let reason = reason.map_or_else(|| refusal.error.clone(), |text| format!("{}: {text}", refusal.error));
        let error = match (refusal.error.as_str(), grant) {
            ("invalid_grant", Grant::Client) => {
                let text =
                    format!("the client credentials grant is not usable ({reason}); check the application's run-as user and login URL");
                Error::config(text)
            }
            ("invalid_grant", Grant::Jwt) => Error::config(format!(
                "the signed assertion was refused ({reason}); check the certificate, user, audience, clock and the user's approval"
            )),
            ("invalid_grant", Grant::Code) => revoked(format!("the authorization code was refused ({reason}); authorize again")),
            ("invalid_grant", Grant::Refresh) => revoked(format!("the refresh token was refused ({reason}); authorize again")),
            ("access_denied" | "immediate_unsuccessful" | "inactive_user", _) => {
                revoked(format!("the authorization was refused ({reason}); authorize again"))
            }
            ("server_error" | "temporarily_unavailable" | "unknown_error" | "slow_down", _) => {
                Error::new(ErrorKind::Unavailable, format!("the token endpoint is not available ({reason})")).retrying(retry)
            }
            _ => Error::config(format!("the token request was refused ({reason}); check client id, secret, redirect URI and grants")),
        };
        error.with_code(refusal.error)
    } else if status == StatusCode::NOT_FOUND || status == StatusCode::GONE || status.is_redirection() {
        Error::config("there is no token endpoint at this login URL; check the host")
    } else {
        // Not an OAuth answer at all: a proxy or a maintenance page.
        Error::new(ErrorKind::Unavailable, "the token endpoint answered something that is not OAuth; a proxy may be in the way")
    };
    error.with_status(status)
}

fn revoked(message: String) -> Error {
    Error::new(ErrorKind::Authentication, message).retrying(Retry::Never)
}

fn is_html(headers: &HeaderMap, body: &[u8]) -> bool {
    let typed = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| value.contains("html"));
    typed || body.trim_ascii_start().first() == Some(&b'<')
}

/// A server's sentence for people: one short line, nothing that looks like a credential.
fn tidy(text: &str) -> String {
    let words = text.split_whitespace().filter(|word| word.len() <= 40);
    words.collect::<Vec<_>>().join(" ").chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuse(status: u16, body: &str, grant: Grant) -> Error {
        refusal(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), body.as_bytes(), grant)
    }

    #[test]
    fn pkce_matches_the_vector_of_rfc_7636() {
        assert_eq!(pkce_challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn three_classes() {
        let dead = refuse(400, r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#, Grant::Refresh);
        assert_eq!((dead.kind(), dead.retry(), dead.code()), (ErrorKind::Authentication, Retry::Never, Some("invalid_grant")));
        assert!(dead.message().contains("authorize again"));
        for code in ["invalid_client", "invalid_client_id", "redirect_uri_mismatch", "unsupported_grant_type", "invalid_app_access"] {
            let error = refuse(400, &format!(r#"{{"error":"{code}"}}"#), Grant::Refresh);
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Config, Retry::Never), "{code}");
        }
        assert_eq!(refuse(400, r#"{"error":"invalid_grant"}"#, Grant::Client).kind(), ErrorKind::Config);
        for (status, body) in [(503, "<html>maintenance</html>"), (429, ""), (500, r#"{"error":"invalid_grant"}"#), (403, "<html/>")] {
            assert!(refuse(status, body, Grant::Refresh).is_retryable(), "{status}");
        }
        assert_eq!(refuse(404, "<html>no such page</html>", Grant::Refresh).kind(), ErrorKind::Config);
    }

    #[test]
    fn the_answer_of_salesforce() {
        let text = r#"{"access_token":"00D!A","instance_url":"https://acme.my.salesforce.com/","issued_at":"1761234567890","token_type":"Bearer"}"#;
        let stored = serde_json::from_str::<TokenAnswer>(text).unwrap().into_stored(Timestamp::UNIX_EPOCH);
        assert_eq!(stored.instance_url.as_deref(), Some("https://acme.my.salesforce.com"));
        assert_eq!(stored.issued_at.unwrap().as_millisecond(), 1_761_234_567_890);
        assert_eq!((stored.expires_at, stored.refresh_token), (None, None));
    }

    #[test]
    fn a_description_is_one_short_line_without_long_words() {
        let token = "5Aep861".repeat(12);
        assert_eq!(tidy(&format!("bad\n token {token} end")), "bad token end");
    }
}
