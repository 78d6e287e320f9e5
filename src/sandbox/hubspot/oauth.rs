//! The authorize page, the token endpoints, and whom a token speaks for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::sandbox::call::{Call, Reply, pairs, param};
use crate::sandbox::hubspot::errors::{Answer, Refusal};
use crate::sandbox::hubspot::state::HubSpot;
use crate::sandbox::hubspot::tokens::{Bearer, Checked, Code, Refresh, SCOPES, listed};
use crate::sandbox::hubspot::values::stamp;

const CODE_LIFE: i64 = 300_000;
/// `/oauth/v1` stops on 16 February 2027 (changelog), in milliseconds since 1970.
const V1_ENDS: i64 = 1_802_736_000_000;

fn refuse(status: &str, error: &str, description: &str) -> Reply {
    let body = json!({"status": status, "message": description, "error": error, "error_description": description});
    Reply::json(StatusCode::BAD_REQUEST, body)
}

fn page(text: &str) -> Reply {
    Reply::html(StatusCode::BAD_REQUEST, format!("<html><body><h1>Authorization failed</h1><p>{text}</p></body></html>"))
}

impl HubSpot {
    /// Everything under `/oauth/`.
    pub(crate) fn oauth(&mut self, call: &Call, path: &[&str]) -> Answer {
        match (path, &call.method) {
            (["authorize"], &Method::GET) => Ok(self.authorize(call)),
            (["v1", ..], _) if call.now.as_millisecond() >= V1_ENDS => Err(Refusal::no_path()),
            ([_, "token"], &Method::POST) => Ok(self.token(call, path.first() == Some(&"v1"))),
            ([version, "token", "introspect"], &Method::POST) if *version != "v1" => Ok(self.introspect(call)),
            ([version, "token", "revoke"], &Method::POST) if *version != "v1" => Ok(self.revoke(call)),
            (["v1", "access-tokens", token], &Method::GET) => self.access_info(call, token),
            (["v1", "refresh-tokens", token], &Method::GET) => match self.auth.refresh.get(*token) {
                Some(refresh) => Ok(Reply::ok(json!({"token": token, "user": "ada@sandbox.example", "hub_domain": "sandbox.example",
                    "scopes": listed(refresh.scopes.as_ref()), "hub_id": self.portal, "client_id": self.auth.client_id, "user_id": 9_586_504,
                    "token_type": "refresh"}))),
                None => Err(Refusal::missing()),
            },
            (["v1", "refresh-tokens", token], &Method::DELETE) => match self.auth.refresh.remove(*token) {
                Some(_) => Ok(Reply::empty(StatusCode::NO_CONTENT)),
                None => Err(Refusal::missing()),
            },
            (["v2", "private-apps", "get", "access-token-info"], &Method::POST) => {
                let body: Value = serde_json::from_slice(&call.body).unwrap_or_default();
                match body.get("tokenKey").and_then(Value::as_str) {
                    Some(token) if token == self.auth.private_token => Ok(Reply::ok(json!({"userId": 9_586_504, "hubId": self.portal,
                        "appId": self.app, "scopes": listed(self.options.private_scopes.as_ref())}))),
                    _ => Err(Refusal::missing()),
                }
            }
            (["authorize"] | [_, "token"] | [_, "token", "introspect" | "revoke"] | ["v1", "access-tokens" | "refresh-tokens", _], _) => {
                Err(Refusal::method())
            }
            _ => Err(Refusal::no_path()),
        }
    }

    /// The page on which the user says yes, without the page.
    fn authorize(&mut self, call: &Call) -> Reply {
        let params = call.params();
        if param(&params, "client_id") != Some(&self.auth.client_id) {
            return page("the client id is unknown");
        }
        let Some(redirect) = param(&params, "redirect_uri").and_then(|text| url::Url::parse(text).ok()) else {
            return page("the redirect URL is missing or malformed");
        };
        let text = param(&params, "redirect_uri").unwrap_or_default().to_owned();
        let local = matches!(redirect.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
        if redirect.scheme() != "https" && !local {
            return page("the redirect URL must use https");
        }
        if !self.options.redirect_uris.is_empty() && !self.options.redirect_uris.contains(&text) {
            return page("the redirect URL does not match the app's");
        }
        let scopes: Vec<String> = ["scope", "optional_scope"]
            .iter()
            .filter_map(|name| param(&params, name))
            .flat_map(|list| list.split([' ', ',']).filter(|scope| !scope.is_empty()).map(str::to_owned))
            .collect();
        if scopes.is_empty() || scopes.iter().any(|scope| !SCOPES.contains(&scope.as_str())) {
            return page("the scopes are missing or unknown");
        }
        let challenge = match (param(&params, "code_challenge"), param(&params, "code_challenge_method")) {
            (Some(challenge), Some("S256")) => Some(challenge.to_owned()),
            (None, _) => None,
            _ => return page("the code challenge must be S256"),
        };
        let mut back = redirect;
        if self.options.deny_authorization {
            back.query_pairs_mut().append_pair("error", "access_denied").append_pair("error_description", "the user denied access");
        } else {
            let code = format!("na1-{}", self.auth.dashed("code"));
            let expires = call.now.as_millisecond() + CODE_LIFE;
            self.auth.codes.retain(|_, code| code.expires > call.now.as_millisecond());
            self.auth.codes.insert(code.clone(), Code { redirect_uri: text, challenge, expires, scopes });
            back.query_pairs_mut().append_pair("code", &code);
        }
        if let Some(state) = param(&params, "state") {
            back.query_pairs_mut().append_pair("state", state);
        }
        Reply::empty(StatusCode::FOUND).header("location", back.as_str())
    }

    /// The client and its secret; v1 also takes them from the query.
    fn client(&self, form: &[(String, String)]) -> Result<(), Reply> {
        if param(form, "client_id") != Some(&self.auth.client_id) {
            return Err(refuse("BAD_CLIENT_ID", "invalid_client", "missing or unknown client id"));
        }
        if param(form, "client_secret") != Some(&self.auth.client_secret) {
            return Err(refuse("BAD_CLIENT_SECRET", "invalid_client", "missing or invalid client secret"));
        }
        Ok(())
    }

    fn form(call: &Call) -> Result<Vec<(String, String)>, Reply> {
        let kind = call.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if !kind.starts_with("application/x-www-form-urlencoded") {
            let body = json!({"status": "error", "message": "HTTP 415 Unsupported Media Type"});
            return Err(Reply::json(StatusCode::UNSUPPORTED_MEDIA_TYPE, body));
        }
        Ok(pairs(&call.body))
    }

    fn token(&mut self, call: &Call, v1: bool) -> Reply {
        let mut form = match Self::form(call) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        if v1 {
            form.extend(call.params());
        }
        let grant = param(&form, "grant_type").unwrap_or_default().to_owned();
        if !matches!(grant.as_str(), "authorization_code" | "refresh_token") && (v1 || grant != "client_credentials") {
            return refuse("BAD_GRANT_TYPE", "unsupported_grant_type", "missing or unknown grant type");
        }
        if let Err(reply) = self.client(&form) {
            return reply;
        }
        let seconds = self.options.token_seconds;
        match grant.as_str() {
            "client_credentials" => {
                let asked: Vec<String> =
                    param(&form, "scope").unwrap_or_default().split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect();
                if asked.is_empty() || asked.iter().any(|scope| !scope.starts_with("developer.") || !SCOPES.contains(&scope.as_str())) {
                    return refuse("BAD_SCOPES", "invalid_scope", "missing or unknown scopes");
                }
                let token = self.auth.grant(Bearer::App, Some(asked.clone()), call.now, seconds);
                Reply::ok(json!({"access_token": token, "expires_in": seconds, "token_type": "bearer", "token_use": "client_credentials",
                    "scopes": asked}))
            }
            "authorization_code" => {
                let code = param(&form, "code").and_then(|code| self.auth.codes.remove(code));
                let Some(code) = code.filter(|code| code.expires > call.now.as_millisecond()) else {
                    return refuse("BAD_AUTH_CODE", "invalid_grant", "missing or unknown auth code");
                };
                if param(&form, "redirect_uri") != Some(&code.redirect_uri) {
                    return refuse("BAD_REDIRECT_URI", "invalid_grant", "missing or mismatched redirect URI");
                }
                let verifier = param(&form, "code_verifier").map(|verifier| URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)));
                if code.challenge.is_some() && verifier != code.challenge {
                    return refuse("BAD_CODE_VERIFIER", "invalid_grant", "missing or mismatched code verifier");
                }
                let refresh = format!("na1-{}", self.auth.dashed("refresh"));
                self.auth.refresh.insert(refresh.clone(), Refresh { scopes: Some(code.scopes.clone()) });
                let access = self.auth.grant(Bearer::OAuth, Some(code.scopes.clone()), call.now, seconds);
                self.tokens(&access, &refresh, Some(&code.scopes), v1)
            }
            _ => {
                let refresh = param(&form, "refresh_token").unwrap_or_default().to_owned();
                let Some(known) = self.auth.refresh.get(&refresh).cloned() else {
                    return refuse("BAD_REFRESH_TOKEN", "invalid_grant", "missing or invalid refresh token");
                };
                let access = self.auth.grant(Bearer::OAuth, known.scopes.clone(), call.now, seconds);
                self.tokens(&access, &refresh, known.scopes.as_ref(), v1)
            }
        }
    }

    fn tokens(&self, access: &str, refresh: &str, scopes: Option<&Vec<String>>, v1: bool) -> Reply {
        let seconds = self.options.token_seconds;
        let mut body = json!({"access_token": access, "refresh_token": refresh, "expires_in": seconds, "token_type": "bearer"});
        if let (false, Value::Object(map)) = (v1, &mut body) {
            map.insert("token_use".to_owned(), json!("access_token"));
            map.insert("hub_id".to_owned(), json!(self.portal));
            map.insert("user_id".to_owned(), json!(9_586_504));
            map.insert("scopes".to_owned(), json!(listed(scopes)));
        }
        Reply::ok(body)
    }

    fn access_info(&self, call: &Call, token: &str) -> Answer {
        match self.auth.access.get(token) {
            Some(access) if access.bearer == Bearer::OAuth => {
                let left = access.expires.map_or(0, |expires| (expires - call.now.as_millisecond()) / 1_000);
                if left <= 0 {
                    return Err(Refusal::missing());
                }
                Ok(Reply::ok(json!({"token": token, "user": "ada@sandbox.example", "hub_domain": "sandbox.example",
                    "scopes": listed(access.scopes.as_ref()), "hub_id": self.portal, "app_id": self.app, "expires_in": left,
                    "user_id": 9_586_504, "token_type": "access"})))
            }
            _ => Err(Refusal::missing()),
        }
    }

    fn introspect(&self, call: &Call) -> Reply {
        let form = match Self::form(call) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        if let Err(reply) = self.client(&form) {
            return reply;
        }
        let token = param(&form, "token").unwrap_or_default();
        let mut body: Map<String, Value> =
            json!({"active": true, "token": token, "hub_id": self.portal, "user_id": 9_586_504, "app_id": self.app,
            "client_id": self.auth.client_id, "user": "ada@sandbox.example", "hub_domain": "sandbox.example"})
            .as_object()
            .cloned()
            .unwrap_or_default();
        let mut add = |name: &str, value: Value| body.insert(name.to_owned(), value);
        if let Some(refresh) = self.auth.refresh.get(token) {
            add("scopes", json!(listed(refresh.scopes.as_ref())));
            add("token_use", json!("refresh_token"));
            return Reply::ok(Value::Object(body));
        }
        match (self.auth.check(token, call.now), self.auth.access.get(token).and_then(|access| access.expires)) {
            (Checked::Good(Bearer::OAuth, scopes), Some(expires)) => {
                let scopes = listed(scopes.as_ref());
                add("expires_in", json!((expires - call.now.as_millisecond()) / 1_000));
                add("is_private_distribution", json!(false));
                add("token_use", json!("access_token"));
                add("token_type", json!("bearer"));
                add(
                    "signed_access_token",
                    json!({"expiresAt": expires, "scopes": scopes.join(" "), "hubId": self.portal, "userId": 9_586_504,
                    "appId": self.app, "hublet": "na1", "isPrivateDistribution": false, "isServiceAccount": false, "isUserLevel": false,
                    "installingUserId": 9_586_504, "signature": "", "newSignature": "", "scopeToScopeGroupPks": "", "trialScopes": "",
                    "trialScopeToScopeGroupPks": ""}),
                );
                add("scopes", json!(scopes));
                Reply::ok(Value::Object(body))
            }
            _ => Reply::ok(json!({"active": false})),
        }
    }

    /// Issued access tokens live on until they expire.
    fn revoke(&mut self, call: &Call) -> Reply {
        let form = match Self::form(call) {
            Ok(form) => form,
            Err(reply) => return reply,
        };
        if let Err(reply) = self.client(&form) {
            return reply;
        }
        let token = param(&form, "token").unwrap_or_default();
        self.auth.refresh.remove(token);
        if self.auth.access.get(token).is_some_and(|access| access.bearer != Bearer::Private) {
            self.auth.access.remove(token);
        }
        Reply::empty(StatusCode::OK)
    }

    /// Whom the request's bearer token speaks for.
    pub(crate) fn bearer(&self, call: &Call) -> Result<(Bearer, Option<Vec<String>>), Refusal> {
        let absent = || {
            let message = "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at \
                           https://developers.hubspot.com/docs/methods/auth/oauth-overview";
            Refusal::new(401, "INVALID_AUTHENTICATION", message)
        };
        let token = call.header("authorization").and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("Bearer")).map(|(_, token)| token.trim()).ok_or_else(absent)?;
        match self.auth.check(token, call.now) {
            Checked::Good(Bearer::Private, _) => Ok((Bearer::Private, self.options.private_scopes.clone())),
            Checked::Good(bearer, scopes) => Ok((bearer, scopes)),
            Checked::Expired(at) => {
                let ago = (call.now.as_millisecond() - at) / 1_000;
                let message = format!("The OAuth token used to make this call expired {ago} second(s) ago.");
                Err(Refusal::new(401, "EXPIRED_AUTHENTICATION", message).context("expire time", [stamp(at)]))
            }
            Checked::Unknown => Err(absent()),
        }
    }
}
