//! The OAuth server, and who a request comes from (Pipedrive docs, OAuth authorization).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::sandbox::call::{Call, Reply, pairs, param};
use crate::sandbox::pipedrive::auth::{ALL_SCOPES, Caller};
use crate::sandbox::pipedrive::errors;
use crate::sandbox::pipedrive::state::Pipedrive;

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
            answer.push(("code", self.auth.new_code(redirect, call.now)));
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
                let found = param(&form, "code").and_then(|code| self.auth.take_code(code, call.now));
                let Some(redirect) = found else { return refuse("invalid_grant", "authorization_code is invalid or expired") };
                if param(&form, "redirect_uri") != Some(&redirect) {
                    return refuse("invalid_grant", "redirect_uri is invalid");
                }
                let family = self.auth.new_family();
                let refresh = self.auth.new_refresh(family, call.now);
                self.grant(call, family, &refresh)
            }
            Some("refresh_token") => {
                let shown = param(&form, "refresh_token").unwrap_or_default();
                match self.auth.renew(shown, call.now, self.options.rotate_refresh_tokens) {
                    Some((family, refresh)) => self.grant(call, family, &refresh),
                    None => refuse("invalid_grant", "refresh_token is invalid"),
                }
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
        // The official Node client encodes the access token once more than the form does.
        let twice = pairs(format!("t={token}").as_bytes()).into_iter().next().map_or_else(String::new, |(_, token)| token);
        if !self.auth.revoke(token) && !self.auth.revoke(&twice) {
            return refuse("invalid_request", "token is invalid");
        }
        Reply::ok(json!({"success": true}))
    }
}
