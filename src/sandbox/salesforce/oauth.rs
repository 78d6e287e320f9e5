//! The token endpoint and the tokens.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::sandbox::call::{Call, Content, Reply, pairs, param};
use crate::sandbox::salesforce::Salesforce;

/// The grant's name (RFC 7523).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Access {
    family: u64,
    /// Milliseconds since 1970; never if absent.
    expires: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Refresh {
    family: u64,
    /// Replaced by a newer one.
    used: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Code {
    redirect_uri: String,
    challenge: Option<String>,
    expires: i64,
}

/// Clients and tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Auth {
    seed: u64,
    made: u64,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) refresh_token: String,
    pub(crate) access_token: String,
    access: BTreeMap<String, Access>,
    refresh: BTreeMap<String, Refresh>,
    codes: BTreeMap<String, Code>,
}

impl Auth {
    pub(crate) fn new(seed: u64) -> Self {
        let mut auth = Self {
            seed,
            made: 0,
            client_id: String::new(),
            client_secret: String::new(),
            refresh_token: String::new(),
            access_token: String::new(),
            access: BTreeMap::new(),
            refresh: BTreeMap::new(),
            codes: BTreeMap::new(),
        };
        auth.client_id = format!("3MVG9{}", auth.secret("client"));
        auth.client_secret = auth.secret("secret").to_uppercase();
        auth.refresh_token = format!("5Aep861{}", auth.secret("refresh"));
        auth
    }

    /// The first tokens.
    pub(crate) fn start(&mut self, org: &str) {
        self.refresh.insert(self.refresh_token.clone(), Refresh { family: 0, used: false });
        self.access_token = self.new_access(org, 0, None);
    }

    /// The same seed makes the same secrets in the same order.
    fn secret(&mut self, what: &str) -> String {
        self.made += 1;
        let digest = Sha256::digest(format!("{}:{}:{what}", self.seed, self.made));
        URL_SAFE_NO_PAD.encode(digest).replace(['-', '_'], "x")
    }

    fn new_access(&mut self, org: &str, family: u64, expires: Option<i64>) -> String {
        let token = format!("{}!AQ{}", org.get(..15).unwrap_or(org), self.secret("access"));
        self.access.insert(token.clone(), Access { family, expires });
        token
    }

    /// Whether a session is alive.
    pub(crate) fn accepts(&self, token: &str, now: Timestamp) -> bool {
        self.access.get(token).is_some_and(|access| access.expires.is_none_or(|expires| now.as_millisecond() < expires))
    }

    /// Whether a session was not revoked; it may have run out.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.access.contains_key(token)
    }

    /// Ends one session.
    pub(crate) fn expire(&mut self, token: &str) {
        self.access.remove(token);
    }

    /// Ends all sessions.
    pub(crate) fn expire_all(&mut self) {
        self.access.clear();
    }

    /// A user approves an app five times; the sixth ends the oldest approval's refresh token without a word.
    fn keep_newest(&mut self) {
        let families: BTreeSet<u64> = self.refresh.values().map(|refresh| refresh.family).collect();
        if families.len() > 5
            && let Some(oldest) = families.first()
        {
            self.refresh.retain(|_, refresh| refresh.family != *oldest);
        }
    }

    fn end_family(&mut self, family: u64) {
        self.access.retain(|_, access| access.family != family);
        self.refresh.retain(|_, refresh| refresh.family != family);
    }
}

pub(crate) fn refuse(error: &str, description: &str) -> Reply {
    Reply::json(StatusCode::BAD_REQUEST, json!({"error": error, "error_description": description}))
}

impl Salesforce {
    /// Everything under `/services/oauth2/`.
    pub(crate) fn oauth(&mut self, call: &Call, what: &str) -> Reply {
        match (what, &call.method) {
            ("token", &Method::POST) => self.token(call),
            ("authorize", &Method::GET) => self.authorize(call),
            ("revoke", &Method::POST | &Method::GET) => self.revoke(call),
            ("introspect", &Method::POST) => self.introspect(call),
            ("userinfo", &Method::GET | &Method::POST) => self.identity(call),
            ("token" | "authorize" | "revoke" | "introspect" | "userinfo", _) => refuse("invalid_request", "must use HTTP POST"),
            _ => Reply::html(StatusCode::NOT_FOUND, "<html><body>URL No Longer Exists</body></html>"),
        }
    }

    fn form(call: &Call) -> Result<Vec<(String, String)>, Reply> {
        let kind = call.header("content-type").unwrap_or("application/x-www-form-urlencoded");
        if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
            return Err(refuse("unsupported_grant_type", "grant type not supported"));
        }
        let mut form = pairs(&call.body);
        form.extend(call.params());
        Ok(form)
    }

    /// Id and secret, from the body or from the Basic header.
    fn client(&self, call: &Call, form: &[(String, String)], secret_needed: bool) -> Result<(), Reply> {
        let basic = call
            .header("authorization")
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|encoded| STANDARD.decode(encoded.trim()).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.split_once(':').map(|(id, secret)| (id.to_owned(), secret.to_owned())));
        let id = basic.as_ref().map(|(id, _)| id.as_str()).or_else(|| param(form, "client_id"));
        let secret = basic.as_ref().map(|(_, secret)| secret.as_str()).or_else(|| param(form, "client_secret"));
        match (id, secret) {
            (None, _) => Err(refuse("invalid_client_id", "client identifier invalid")),
            (Some(id), _) if id != self.auth.client_id => Err(refuse("invalid_client_id", "client identifier invalid")),
            (_, None) if !secret_needed => Ok(()),
            (_, Some(secret)) if secret == self.auth.client_secret => Ok(()),
            _ => Err(refuse("invalid_client", "invalid client credentials")),
        }
    }

    fn token(&mut self, call: &Call) -> Reply {
        let form = match Self::form(call) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        let Some(grant) = param(&form, "grant_type") else {
            return refuse("unsupported_grant_type", "grant type not supported");
        };
        let secret_needed = self.options.require_secret || grant == "client_credentials";
        if grant == JWT_BEARER {
            return self.by_assertion(call, &form);
        }
        if !matches!(grant, "refresh_token" | "authorization_code" | "client_credentials") {
            return refuse("unsupported_grant_type", "grant type not supported");
        }
        if let Err(reply) = self.client(call, &form, secret_needed) {
            return reply;
        }
        match grant {
            "refresh_token" => {
                let Some(token) = param(&form, "refresh_token") else {
                    return refuse("invalid_request", "refresh token required");
                };
                let token = token.to_owned();
                let Some(known) = self.auth.refresh.get(&token).cloned() else {
                    return refuse("invalid_grant", "expired access/refresh token");
                };
                if known.used {
                    self.auth.end_family(known.family);
                    return refuse("invalid_grant", "expired access/refresh token");
                }
                let fresh = self.options.rotate_refresh_tokens.then(|| {
                    let fresh = format!("5Aep861{}", self.auth.secret("refresh"));
                    self.auth.refresh.insert(token, Refresh { family: known.family, used: true });
                    self.auth.refresh.insert(fresh.clone(), Refresh { family: known.family, used: false });
                    fresh
                });
                self.grant(call, known.family, fresh)
            }
            "client_credentials" => {
                // Only the org's own domain knows whom such an app runs as.
                if ["https://login.salesforce.com", "https://test.salesforce.com"].contains(&call.origin.as_str()) {
                    return refuse("invalid_grant", "request not supported on this domain");
                }
                self.auth.made += 1;
                let family = self.auth.made;
                self.grant(call, family, None)
            }
            _ => self.by_code(call, &form),
        }
    }

    fn by_code(&mut self, call: &Call, form: &[(String, String)]) -> Reply {
        let Some(code) = param(form, "code").and_then(|code| self.auth.codes.remove(code)) else {
            return refuse("invalid_grant", "invalid authorization code");
        };
        if call.now.as_millisecond() >= code.expires {
            return refuse("invalid_grant", "expired authorization code");
        }
        if param(form, "redirect_uri") != Some(&code.redirect_uri) {
            return refuse("redirect_uri_mismatch", "redirect_uri must match configuration");
        }
        let shown = param(form, "code_verifier").map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
        if shown != code.challenge {
            return refuse("invalid_grant", "invalid code verifier");
        }
        self.auth.made += 1;
        let family = self.auth.made;
        let fresh = format!("5Aep861{}", self.auth.secret("refresh"));
        self.auth.refresh.insert(fresh.clone(), Refresh { family, used: false });
        self.auth.keep_newest();
        self.grant(call, family, Some(fresh))
    }

    /// A session without a refresh token, as the JWT bearer grant gives: neither `issued_at` nor `signature`.
    pub(crate) fn fresh_grant(&mut self, call: &Call) -> Reply {
        self.auth.made += 1;
        let family = self.auth.made;
        let mut reply = self.grant(call, family, None);
        if let Content::Json(Value::Object(map)) = &mut reply.body {
            map.remove("issued_at");
            map.remove("signature");
        }
        reply
    }

    fn grant(&mut self, call: &Call, family: u64, refresh: Option<String>) -> Reply {
        let now = call.now.as_millisecond();
        let expires = self.options.token_lifetime.map(|seconds| now.saturating_add_unsigned(seconds.saturating_mul(1000)));
        let access = self.auth.new_access(&self.org, family, expires);
        let issued = now.to_string();
        let id = format!("{}/id/{}/{}", call.origin, self.org, self.user);
        let signature = STANDARD.encode(hmac(self.auth.client_secret.as_bytes(), format!("{id}{issued}").as_bytes()));
        let instance = self.options.instance_url.clone().unwrap_or_else(|| call.origin.clone());
        let mut answer = json!({
            "access_token": access, "instance_url": instance, "id": id, "token_type": "Bearer", "issued_at": issued,
            "signature": signature, "scope": "api refresh_token",
        });
        if let (Some(refresh), Value::Object(map)) = (refresh, &mut answer) {
            map.insert("refresh_token".to_owned(), json!(refresh));
        }
        Reply::ok(answer).header("cache-control", "no-store")
    }

    fn authorize(&mut self, call: &Call) -> Reply {
        let params = call.params();
        if param(&params, "client_id") != Some(&self.auth.client_id) {
            return refuse("invalid_client_id", "client identifier invalid");
        }
        let Some(target) = param(&params, "redirect_uri").and_then(|uri| url::Url::parse(uri).ok().map(|url| (uri.to_owned(), url))) else {
            return refuse("redirect_uri_missing", "redirect_uri not provided");
        };
        let (redirect_uri, mut url) = target;
        let mut answer: Vec<(&str, String)> = Vec::new();
        let challenge = param(&params, "code_challenge").map(str::to_owned);
        if param(&params, "response_type") != Some("code") {
            answer.push(("error", "unsupported_response_type".to_owned()));
            answer.push(("error_description", "response type not supported".to_owned()));
        } else if challenge.is_some() && param(&params, "code_challenge_method").is_some_and(|method| method != "S256") {
            answer.push(("error", "invalid_request".to_owned()));
            answer.push(("error_description", "code challenge method not supported".to_owned()));
        } else {
            let code = format!("aPrx{}", self.auth.secret("code"));
            // About 15 minutes.
            let expires = call.now.as_millisecond().saturating_add(900_000);
            self.auth.codes.insert(code.clone(), Code { redirect_uri, challenge, expires });
            answer.push(("code", code));
        }
        if let Some(state) = param(&params, "state") {
            answer.push(("state", state.to_owned()));
        }
        url.query_pairs_mut().extend_pairs(answer);
        Reply::empty(StatusCode::FOUND).header("location", url.to_string())
    }

    fn revoke(&mut self, call: &Call) -> Reply {
        let form = Self::form(call).unwrap_or_default();
        let Some(token) = param(&form, "token") else { return refuse("invalid_request", "token required") };
        if let Some(refresh) = self.auth.refresh.get(token) {
            let family = refresh.family;
            self.auth.end_family(family);
        } else if self.auth.access.remove(token).is_none() {
            return refuse("invalid_token", "invalid token");
        }
        Reply::empty(StatusCode::OK)
    }

    fn introspect(&self, call: &Call) -> Reply {
        let form = match Self::form(call) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        if let Err(reply) = self.client(call, &form, true) {
            return reply;
        }
        let token = param(&form, "token").unwrap_or_default();
        let access = self.auth.accepts(token, call.now);
        if !access && self.auth.refresh.get(token).is_none_or(|refresh| refresh.used) {
            return Reply::ok(json!({"active": false}));
        }
        let name = self.tables.get("User", &self.user).and_then(|row| row.text("Username"));
        let kind = if access { "access_token" } else { "refresh_token" };
        let mut answer = json!({
            "active": true, "client_id": self.auth.client_id, "scope": "api refresh_token", "username": name, "token_type": kind,
            "sub": format!("{}/id/{}/{}", call.origin, self.org, self.user),
        });
        if let Some(expires) = self.auth.access.get(token).and_then(|access| access.expires)
            && let Value::Object(map) = &mut answer
        {
            map.insert("exp".to_owned(), json!(expires / 1000));
        }
        Reply::ok(answer)
    }

    /// UserInfo and the identity URL.
    pub(crate) fn identity(&self, call: &Call) -> Reply {
        let token = call.header("authorization").and_then(|value| value.split_once(' ')).map_or("", |(_, token)| token.trim());
        if !self.auth.accepts(token, call.now) {
            return Reply::html(StatusCode::FORBIDDEN, "Bad_OAuth_Token");
        }
        let user = self.tables.get("User", &self.user);
        let text = |field: &str| user.and_then(|row| row.text(field)).unwrap_or_default();
        let rest = format!("{}/services/data/v{{version}}/", call.origin);
        let id = format!("{}/id/{}/{}", call.origin, self.org, self.user);
        Reply::ok(json!({
            "id": id, "sub": id, "user_id": self.user, "organization_id": self.org, "username": text("Username"),
            "preferred_username": text("Username"), "display_name": text("Name"), "name": text("Name"), "nick_name": text("Alias"),
            "email": text("Email"), "email_verified": true, "first_name": text("FirstName"), "last_name": text("LastName"),
            "active": true, "user_type": "STANDARD", "language": "en_US", "locale": "en_US", "utcOffset": 0, "timezone": "GMT",
            "urls": {"rest": rest, "sobjects": format!("{rest}sobjects/"), "query": format!("{rest}query/"), "search": format!("{rest}search/"),
                     "enterprise": format!("{}/services/Soap/c/{{version}}/{}", call.origin, self.org),
                     "partner": format!("{}/services/Soap/u/{{version}}/{}", call.origin, self.org)},
        }))
    }
}

/// HMAC-SHA256 (RFC 2104).
fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut block = [0u8; 64];
    if key.len() > 64 {
        let digest = Sha256::digest(key);
        block.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    } else {
        block.iter_mut().zip(key).for_each(|(to, from)| *to = *from);
    }
    let mut inner = Sha256::new();
    inner.update(block.map(|byte| byte ^ 0x36));
    inner.update(message);
    let mut outer = Sha256::new();
    outer.update(block.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hmac_matches_rfc_4231() {
        let mac = hmac(b"Jefe", b"what do ya want for nothing?");
        let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    }
}
