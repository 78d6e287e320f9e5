//! The OAuth server, and the tokens of both kinds (Pipedrive docs, OAuth authorization).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::sandbox::call::{Call, Reply, pairs, param};
use crate::sandbox::pipedrive::errors;
use crate::sandbox::pipedrive::state::Pipedrive;

/// Every scope of the OpenAPI document of v2, and those of webhooks.
pub(crate) const ALL_SCOPES: &str = "base,deals:full,activities:full,contacts:full,products:full,leads:full,projects:full,users:read,\
                                     recents:read,search:read,mail:full,goals:full,admin,deal-fields:full,product-fields:full,\
                                     contact-fields:full,project-fields:full,webhooks:full";

/// 60 days; used again, a refresh token lives as long again.
const REFRESH_LIFE: i64 = 60 * 86_400_000;
/// A code lives five minutes.
const CODE_LIFE: i64 = 300_000;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Access {
    family: u64,
    expires: i64,
    scope: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Refresh {
    family: u64,
    expires: i64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Code {
    redirect_uri: String,
    expires: i64,
}

/// Clients and tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Auth {
    seed: u64,
    made: u64,
    pub(crate) api_token: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    access: BTreeMap<String, Access>,
    refresh: BTreeMap<String, Refresh>,
    codes: BTreeMap<String, Code>,
}

/// Who is asking.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) token: String,
    pub(crate) oauth: bool,
    pub(crate) scope: String,
}

impl Auth {
    pub(crate) fn new(seed: u64, now: Timestamp, lifetime: u64) -> Self {
        let mut auth = Self {
            seed,
            made: 0,
            api_token: String::new(),
            client_id: String::new(),
            client_secret: String::new(),
            access_token: String::new(),
            refresh_token: String::new(),
            access: BTreeMap::new(),
            refresh: BTreeMap::new(),
            codes: BTreeMap::new(),
        };
        auth.api_token = auth.hex("api token", 40);
        // The prefix tells at the shared `/oauth/authorize` whose app it is.
        auth.client_id = format!("pd{}", auth.hex("client", 14));
        auth.client_secret = auth.hex("client secret", 40);
        auth.refresh_token = auth.new_refresh(0, now);
        auth.access_token = auth.new_access(0, now, lifetime, ALL_SCOPES.to_owned());
        auth
    }

    fn digest(&mut self, what: &str) -> [u8; 32] {
        self.made += 1;
        Sha256::digest(format!("pipedrive:{}:{}:{what}", self.seed, self.made)).into()
    }

    fn hex(&mut self, what: &str, length: usize) -> String {
        let text: String = self.digest(what).iter().map(|byte| format!("{byte:02x}")).collect();
        text.get(..length).unwrap_or(&text).to_owned()
    }

    fn new_access(&mut self, family: u64, now: Timestamp, lifetime: u64, scope: String) -> String {
        // Access tokens are long (store 768 characters at least).
        let mut token = String::from("v1u:");
        for _ in 0..8 {
            token.push_str(&URL_SAFE_NO_PAD.encode(self.digest("access")));
        }
        let expires = now.as_millisecond().saturating_add_unsigned(lifetime.saturating_mul(1000));
        self.access.insert(token.clone(), Access { family, expires, scope });
        token
    }

    fn new_refresh(&mut self, family: u64, now: Timestamp) -> String {
        let token = format!("{}:{}", self.hex("refresh", 7), self.hex("refresh", 40));
        self.refresh.insert(token.clone(), Refresh { family, expires: now.as_millisecond().saturating_add(REFRESH_LIFE) });
        token
    }

    fn bearer(&self, token: &str, now: Timestamp) -> Option<Caller> {
        let access = self.access.get(token).filter(|access| now.as_millisecond() < access.expires)?;
        Some(Caller { token: token.to_owned(), oauth: true, scope: access.scope.clone() })
    }

    /// Ends one session.
    pub(crate) fn expire(&mut self, token: &str) {
        self.access.remove(token);
    }

    /// Ends every session; refresh tokens and the API token stay good.
    pub(crate) fn expire_all(&mut self) {
        self.access.clear();
    }

    /// A new API token; the old one is refused from now on.
    pub(crate) fn regenerate_api_token(&mut self) -> String {
        self.api_token = self.hex("api token", 40);
        self.api_token.clone()
    }

    /// The user takes the app away: all its tokens are dead.
    pub(crate) fn uninstall(&mut self) {
        self.access.clear();
        self.refresh.clear();
    }

    fn end_family(&mut self, family: u64) {
        self.access.retain(|_, access| access.family != family);
        self.refresh.retain(|_, refresh| refresh.family != family);
    }
}

fn refuse(error: &str, message: &str) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, json!({"success": false, "message": message, "error": error}))
}

impl Pipedrive {
    /// Who is asking; refuses who may not ask.
    pub(crate) fn caller(&self, call: &Call) -> Result<Caller, Reply> {
        let by_token = |token: &str| {
            let known = !token.is_empty() && token == self.auth.api_token;
            known.then(|| Caller { token: token.to_owned(), oauth: false, scope: ALL_SCOPES.to_owned() })
        };
        let found = if let Some(token) = call.header("x-api-token") {
            by_token(token.trim())
        } else if let Some(value) = call.header("authorization") {
            let Some(("Bearer", token)) = value.trim().split_once(' ') else {
                return Err(errors::bad("Authorization header is malformed"));
            };
            self.auth.bearer(token.trim(), call.now)
        } else if self.options.query_token {
            by_token(param(&call.params(), "api_token").unwrap_or_default())
        } else {
            None
        };
        found.ok_or_else(|| errors::unauthorized(&self.uuid("correlation", u64::try_from(call.now.as_millisecond()).unwrap_or(0))))
    }

    /// A script ends the session that a request shows.
    pub(crate) fn expire_shown(&mut self, call: &Call) {
        if let Some((_, token)) = call.header("authorization").and_then(|value| value.split_once(' ')) {
            let token = token.trim().to_owned();
            self.auth.expire(&token);
        }
    }

    /// Everything under `/oauth/`.
    pub(crate) fn oauth(&mut self, call: &Call) -> Reply {
        match (call.path.as_str(), &call.method) {
            ("/oauth/authorize", &Method::GET) => self.authorize(call),
            ("/oauth/token", &Method::POST) => self.token(call),
            ("/oauth/revoke", &Method::POST) => self.revoke(call),
            // The slash form is redirected, which makes a GET without a body of it.
            ("/oauth/token/" | "/oauth/authorize/" | "/oauth/revoke/", _) => {
                let target = format!("{}{}", call.origin, call.path.trim_end_matches('/'));
                Reply::empty(StatusCode::MOVED_PERMANENTLY).header("location", target)
            }
            ("/oauth/authorize" | "/oauth/token" | "/oauth/revoke", _) => errors::no_method(),
            _ => Reply::html(StatusCode::NOT_FOUND, "<html><body>Not Found</body></html>"),
        }
    }

    fn authorize(&mut self, call: &Call) -> Reply {
        let params = call.params();
        if param(&params, "client_id") != Some(&self.auth.client_id) {
            return refuse("invalid_client", "client_id is missing or invalid");
        }
        let redirect = param(&params, "redirect_uri").unwrap_or_default().to_owned();
        let Ok(mut url) = url::Url::parse(&redirect) else { return refuse("invalid_request", "redirect_uri is missing or invalid") };
        let mut answer = Vec::new();
        if self.options.deny_consent {
            answer.push(("error", "user_denied".to_owned()));
        } else {
            let code = self.auth.hex("code", 40);
            let expires = call.now.as_millisecond().saturating_add(CODE_LIFE);
            self.auth.codes.insert(code.clone(), Code { redirect_uri: redirect, expires });
            answer.push(("code", code));
        }
        if let Some(state) = param(&params, "state") {
            answer.push(("state", state.to_owned()));
        }
        url.query_pairs_mut().extend_pairs(answer);
        Reply::empty(StatusCode::FOUND).header("location", url.to_string())
    }

    /// The form of a request whose client has shown its id and secret.
    fn client_form(&self, call: &Call) -> Result<Vec<(String, String)>, Reply> {
        let kind = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            return Err(refuse("invalid_request", "Content-Type must be application/x-www-form-urlencoded"));
        }
        let basic = call
            .header("authorization")
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|encoded| STANDARD.decode(encoded.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok());
        if basic.as_deref() != Some(format!("{}:{}", self.auth.client_id, self.auth.client_secret).as_str()) {
            return Err(refuse("invalid_client", "client credentials are missing or invalid"));
        }
        Ok(pairs(&call.body))
    }

    fn token(&mut self, call: &Call) -> Reply {
        let form = match self.client_form(call) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        match param(&form, "grant_type") {
            None => refuse("invalid_request", "grant_type is missing"),
            Some("authorization_code") => {
                let found = param(&form, "code").and_then(|code| self.auth.codes.remove(code));
                let Some(code) = found.filter(|code| call.now.as_millisecond() < code.expires) else {
                    return refuse("invalid_grant", "authorization_code is invalid or expired");
                };
                if param(&form, "redirect_uri") != Some(&code.redirect_uri) {
                    return refuse("invalid_grant", "redirect_uri is invalid");
                }
                self.auth.made += 1;
                let family = self.auth.made;
                let refresh = self.auth.new_refresh(family, call.now);
                self.grant(call, family, &refresh)
            }
            Some("refresh_token") => {
                let shown = param(&form, "refresh_token").unwrap_or_default().to_owned();
                let now = call.now.as_millisecond();
                let Some(known) = self.auth.refresh.get_mut(&shown).filter(|refresh| now < refresh.expires) else {
                    return refuse("invalid_grant", "refresh_token is invalid");
                };
                known.expires = now.saturating_add(REFRESH_LIFE);
                let family = known.family;
                let refresh = if self.options.rotate_refresh_tokens {
                    self.auth.refresh.remove(&shown);
                    self.auth.new_refresh(family, call.now)
                } else {
                    shown
                };
                self.grant(call, family, &refresh)
            }
            Some(_) => refuse("unsupported_grant_type", "grant_type is not supported"),
        }
    }

    fn grant(&mut self, call: &Call, family: u64, refresh: &str) -> Reply {
        let scope = self.options.scopes.clone().unwrap_or_else(|| ALL_SCOPES.to_owned());
        let lifetime = self.options.token_lifetime;
        let access = self.auth.new_access(family, call.now, lifetime, scope.clone());
        let mut answer = json!({
            "access_token": access, "token_type": "Bearer", "refresh_token": refresh, "scope": scope,
            "expires_in": lifetime.saturating_sub(1),
        });
        if !self.options.omit_api_domain
            && let Value::Object(map) = &mut answer
        {
            map.insert("api_domain".to_owned(), json!(self.options.api_domain.as_ref().unwrap_or(&call.origin)));
        }
        Reply::ok(answer).header("cache-control", "no-store")
    }

    fn revoke(&mut self, call: &Call) -> Reply {
        let form = match self.client_form(call) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        let token = param(&form, "token").unwrap_or_default();
        if let Some(family) = self.auth.refresh.get(token).map(|refresh| refresh.family) {
            self.auth.end_family(family);
        } else if self.auth.access.remove(token).is_none() {
            return refuse("invalid_request", "token is invalid");
        }
        Reply::ok(json!({"success": true}))
    }
}
