//! Tokens bought the way a definition says.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, SET_COOKIE};
use http::{HeaderMap, HeaderValue, Method, Request};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use url::Url;
use url::form_urlencoded::Serializer;

use crate::auth::{Exchange, StoredToken};
use crate::custom::auth::{AuthSpec, Expiry, Placement, TokenAnswer, TokenGrant, TokenRequest};
use crate::custom::filter::said;
use crate::custom::jwt::Minter;
use crate::custom::operation::BodyEncoding;
use crate::custom::pointer::plain;
use crate::custom::template::{Names, Template, fill};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::http::{HttpError, HttpTransport, retry_after};
use crate::model::parse_datetime;

const ANSWER_LIMIT: usize = 1 << 20;

/// A login or token request as the definition describes it.
pub(super) struct DefinedExchange {
    auth: AuthSpec,
    variables: BTreeMap<String, String>,
    secrets: BTreeMap<String, SecretString>,
    minter: Option<Minter>,
    base: Url,
    transport: Arc<dyn HttpTransport>,
    host: Host,
}

/// Never a secret.
impl fmt::Debug for DefinedExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefinedExchange").field("host", &self.base.host_str()).finish_non_exhaustive()
    }
}

impl DefinedExchange {
    pub(super) fn new(
        auth: &AuthSpec,
        variables: &BTreeMap<String, String>,
        secrets: &BTreeMap<String, SecretString>,
        minter: Option<Minter>,
        base: Url,
        transport: Arc<dyn HttpTransport>,
        host: Host,
    ) -> Result<Self> {
        let (auth, variables, secrets) = (auth.clone(), variables.clone(), secrets.clone());
        let exchange = Self { auth, variables, secrets, minter, base, transport, host };
        if let AuthSpec::Oauth2 { token_url, .. } = &exchange.auth {
            exchange.token_url(token_url)?;
        }
        Ok(exchange)
    }

    fn names(&self) -> Names<'_> {
        Names { of: self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect() }
    }

    fn token_url(&self, text: &str) -> Result<Url> {
        let unset = |name: String| Error::config(format!("the variable {name:?} is not set"));
        let text = Template::parse(text).map_err(Error::config)?.plain(&self.names()).map_err(unset)?;
        let url = if text.starts_with('/') { self.under_base(&text) } else { Url::parse(&text).ok() };
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
        url.ok_or_else(|| Error::config("the token URL is no absolute http or https URL once its variables are filled in"))
    }

    fn under_base(&self, path: &str) -> Option<Url> {
        let mut url = self.base.clone();
        let path = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&path);
        Some(url)
    }

    fn secret(&self, name: &str) -> Result<&str> {
        let secret = self.secrets.get(name).map(|secret| secret.expose_secret());
        secret.ok_or_else(|| Error::config(format!("the secret {name:?} that the definition names was not given")))
    }

    fn oauth(&self, newest: Option<&SecretString>, assertion: Option<&SecretString>) -> Result<Request<Bytes>> {
        let AuthSpec::Oauth2 {
            token_url, grant, client_id, client_secret, refresh_token, scopes, scope_separator, placement, extra, ..
        } = &self.auth
        else {
            return Err(Error::internal("an OAuth exchange without an OAuth definition"));
        };
        let unset = |name: String| Error::config(format!("the variable {name:?} is not set"));
        let text =
            |template: &str| -> Result<String> { Template::parse(template).map_err(Error::config)?.plain(&self.names()).map_err(unset) };
        let (id, secret) = (text(client_id)?, client_secret.as_deref().map(|name| self.secret(name)).transpose()?);
        let mut form = Serializer::new(String::new());
        match grant {
            TokenGrant::ClientCredentials => form.append_pair("grant_type", "client_credentials"),
            TokenGrant::JwtBearer => {
                let assertion = assertion.ok_or_else(|| Error::internal("a JWT grant without an assertion"))?;
                form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
                    .append_pair("assertion", assertion.expose_secret())
            }
            TokenGrant::RefreshToken => {
                let initial = refresh_token.as_deref().map(|name| self.secret(name)).transpose()?;
                let token = newest.map(|token| token.expose_secret()).or(initial);
                let token = token.ok_or_else(|| Error::config("there is no refresh token to begin with"))?;
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token)
            }
        };
        if !scopes.is_empty() {
            form.append_pair("scope", &scopes.join(scope_separator.as_deref().unwrap_or(" ")));
        }
        for (name, value) in extra {
            form.append_pair(name, &text(value)?);
        }
        let mut url = self.token_url(token_url)?;
        let mut headers = HeaderMap::new();
        match placement {
            Placement::Basic => {
                // RFC 6749 2.3.1: both parts are form-encoded before they are joined.
                let encode = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                let pair = format!("{}:{}", encode(&id), encode(secret.unwrap_or_default()));
                headers.insert(AUTHORIZATION, sensitive(&format!("Basic {}", STANDARD.encode(pair)))?);
            }
            Placement::Body => {
                form.append_pair("client_id", &id);
                if let Some(secret) = secret {
                    form.append_pair("client_secret", secret);
                }
            }
            Placement::Query => {
                let mut query = url.query_pairs_mut();
                query.append_pair("client_id", &id);
                if let Some(secret) = secret {
                    query.append_pair("client_secret", secret);
                }
            }
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        request(Method::POST, &url, headers, form.finish().into())
    }

    fn session(&self, spec: &TokenRequest, newest: Option<&SecretString>) -> Result<Request<Bytes>> {
        let secrets: Vec<(String, &str)> =
            self.secrets.iter().map(|(name, secret)| (format!("secret:{name}"), secret.expose_secret())).collect();
        let mut names = self.names();
        for (name, secret) in &secrets {
            names = names.with(name, secret);
        }
        if let Some(token) = newest {
            names = names.with("refresh_token", token.expose_secret());
        }
        let unset = |name: String| Error::config(format!("{name:?} stands for nothing in the login request"));
        let text = |template: &str| -> Result<String> { Template::parse(template).map_err(Error::config)?.plain(&names).map_err(unset) };
        let mut headers = HeaderMap::new();
        for (name, value) in &spec.headers {
            let name =
                HeaderName::try_from(name.as_str()).map_err(|_| Error::config("a header of the login request has an impossible name"))?;
            headers.insert(name, sensitive(&text(value)?)?);
        }
        let path = text(&spec.path)?;
        let url = self.under_base(&path).ok_or_else(|| Error::config("the login request has no URL"))?;
        let method = Method::try_from(spec.method.as_deref().unwrap_or("POST").to_ascii_uppercase().as_str());
        let method = method.map_err(|_| Error::config("the login request has an impossible method"))?;
        let body = match &spec.body {
            None => Bytes::new(),
            Some(template) => {
                let body = fill(template, &names, &BTreeMap::new()).map_err(unset)?;
                encode(&body, spec.encoding, &mut headers)?
            }
        };
        request(method, &url, headers, body)
    }

    async fn minted(&self) -> Result<(SecretString, Timestamp)> {
        let minter = self.minter.as_ref().ok_or_else(|| Error::internal("a signed token without a signer"))?;
        minter.mint(&self.names(), &self.host).await
    }

    async fn ask(&self, request: Request<Bytes>, answer: &TokenAnswer) -> Result<StoredToken> {
        let unknown = |error: HttpError| {
            let sent = error.may_have_executed();
            let error = Error::from(error);
            if sent { error.ambiguous() } else { error }
        };
        let (head, body) = self.transport.send(request).await.map_err(unknown)?.into_parts();
        let body = body.bytes(ANSWER_LIMIT).await.map_err(unknown)?;
        let value: Option<Value> = serde_json::from_slice(&body).ok();
        let code =
            value.as_ref().and_then(|value| ["error", "code", "error_code"].into_iter().find_map(|name| value.get(name).and_then(plain)));
        let revoked = code.as_ref().is_some_and(|code| answer.revoked.contains(code));
        if !head.status.is_success() || revoked {
            let status = head.status;
            let error = if status.as_u16() == 429 {
                Error::new(ErrorKind::RateLimited, "the token endpoint answers too many requests").retrying(hint(&head.headers))
            } else if status.is_server_error() {
                Error::new(ErrorKind::Unavailable, "the token endpoint is not available").retrying(hint(&head.headers))
            } else if revoked || status.as_u16() == 401 {
                Error::new(ErrorKind::Authentication, "the credentials were refused; authorize again").retrying(Retry::Never)
            } else {
                Error::config("the token endpoint refuses the request; check client, secret and scopes")
            };
            let error = error.with_status(status);
            return Err(match code {
                Some(code) if code.len() <= 64 => error.with_code(code),
                _ => error,
            });
        }
        let value = value.unwrap_or(Value::Null);
        let header = answer.token_header.as_deref().and_then(|name| head.headers.get(name)).and_then(|value| value.to_str().ok());
        let given = answer.token_cookie.as_deref().and_then(|name| cookie(&head.headers, name));
        let token = given.or(header).map(ToOwned::to_owned).or_else(|| answer.token.text(&value));
        let token = token.ok_or_else(|| {
            let place = answer.token_cookie.clone().or_else(|| answer.token_header.clone()).unwrap_or_else(|| answer.token.told());
            Error::decode(format!("the token endpoint answered without a token at {place}")).with_status(head.status).ambiguous()
        })?;
        let now = self.host.now();
        Ok(StoredToken {
            access_token: token,
            refresh_token: answer.refresh_token.text(&value),
            instance_url: answer.instance_url.text(&value).map(|url| url.trim_end_matches('/').to_owned()),
            issued_at: Some(now),
            expires_at: expiry(answer, &value, now),
        })
    }
}

#[async_trait]
impl Exchange for DefinedExchange {
    async fn exchange(&self, refresh_token: Option<&SecretString>) -> Result<StoredToken> {
        match &self.auth {
            AuthSpec::Jwt { .. } => {
                let (token, ends) = self.minted().await?;
                Ok(StoredToken {
                    access_token: token.expose_secret().to_owned(),
                    refresh_token: None,
                    instance_url: None,
                    issued_at: Some(self.host.now()),
                    expires_at: Some(ends),
                })
            }
            AuthSpec::Oauth2 { answer, grant: TokenGrant::JwtBearer, .. } => {
                let (assertion, _) = self.minted().await?;
                // Nothing is used up by it: a lost answer is asked for again with a new assertion.
                self.ask(self.oauth(None, Some(&assertion))?, answer).await.map_err(Error::not_applied)
            }
            AuthSpec::Oauth2 { answer, .. } => self.ask(self.oauth(refresh_token, None)?, answer).await,
            AuthSpec::Session { login, refresh, answer, .. } => {
                if let (Some(refresh), Some(token)) = (refresh, refresh_token) {
                    match self.ask(self.session(refresh, Some(token))?, answer).await {
                        // A session that cannot be prolonged is begun anew.
                        Err(error) if error.kind() == ErrorKind::Authentication => {}
                        outcome => return outcome,
                    }
                }
                self.ask(self.session(login, None)?, answer).await
            }
            _ => Err(Error::internal("a token exchange without a way to log in")),
        }
    }

    fn initial_refresh_token(&self) -> Option<SecretString> {
        match &self.auth {
            AuthSpec::Oauth2 { grant: TokenGrant::RefreshToken, refresh_token: Some(name), .. } => self.secrets.get(name).cloned(),
            _ => None,
        }
    }
}

/// The value a cookie is set to; an empty one takes it away.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut pairs = headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()?.split(';').next()?.split_once('='));
    pairs.find(|(known, _)| known.trim() == name).map(|(_, value)| value.trim()).filter(|value| !value.is_empty())
}

fn hint(headers: &HeaderMap) -> Retry {
    retry_after(headers).map_or(Retry::Backoff, Retry::After)
}

fn expiry(answer: &TokenAnswer, value: &Value, now: Timestamp) -> Option<Timestamp> {
    let lifetime = || answer.lifetime.and_then(|seconds| now.checked_add(Duration::from_secs(seconds)).ok());
    let Some(found) = answer.expires.find(value) else { return lifetime() };
    let number = || plain(found).and_then(|text| text.trim().parse::<i64>().ok()).filter(|number| *number > 0);
    let after = |millis: i64| now.checked_add(Duration::from_millis(u64::try_from(millis).ok()?)).ok();
    let told = match answer.expiry {
        Expiry::Date => found.as_str().and_then(parse_datetime),
        Expiry::EpochMilliseconds => number().and_then(|number| Timestamp::from_millisecond(number).ok()),
        Expiry::EpochSeconds => number().and_then(|number| Timestamp::from_second(number).ok()),
        Expiry::Milliseconds => number().and_then(after),
        Expiry::Seconds => number().and_then(|number| after(number.checked_mul(1000)?)),
    };
    told.or_else(lifetime)
}

fn sensitive(text: &str) -> Result<HeaderValue> {
    let mut value =
        HeaderValue::try_from(text).map_err(|_| Error::config("a credential holds characters that cannot stand in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn request(method: Method, url: &Url, headers: HeaderMap, body: Bytes) -> Result<Request<Bytes>> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = url.as_str().parse().map_err(|_| Error::config("the token URL cannot be requested"))?;
    *request.headers_mut() = headers;
    request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("application/json"));
    Ok(request)
}

/// A body in its encoding, with its content type.
pub(super) fn encode(body: &Value, encoding: BodyEncoding, headers: &mut HeaderMap) -> Result<Bytes> {
    let (kind, bytes) = match encoding {
        BodyEncoding::Json => {
            let bytes = serde_json::to_vec(body).map_err(|_| Error::config("the request body does not serialise"))?;
            ("application/json", Bytes::from(bytes))
        }
        BodyEncoding::Form => {
            let Value::Object(members) = body else { return Err(Error::config("a form body must be an object")) };
            let mut form = Serializer::new(String::new());
            for (name, value) in members {
                flatten(&mut form, name, value)?;
            }
            ("application/x-www-form-urlencoded", form.finish().into())
        }
    };
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(kind));
    Ok(bytes)
}

/// Members of members in brackets, as PHP and Rails read them.
fn flatten(form: &mut Serializer<'_, String>, name: &str, value: &Value) -> Result<()> {
    match value {
        Value::Object(members) => members.iter().try_for_each(|(key, value)| flatten(form, &format!("{name}[{key}]"), value)),
        Value::Array(items) => items.iter().try_for_each(|item| flatten(form, &format!("{name}[]"), item)),
        plain => {
            form.append_pair(name, &said(plain)?);
            Ok(())
        }
    }
}
