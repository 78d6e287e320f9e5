//! How one logs in.

use crate::custom::auth::{AuthSpec, Inject, TokenAnswer, TokenGrant, TokenRequest};
use crate::custom::jwt::{JwtAlgorithm, JwtSpec};
use crate::custom::validate::check::Validator;
use crate::document::suggest::did_you_mean;

impl Validator<'_> {
    pub(super) fn login(&mut self) {
        let definition = self.definition;
        let AuthSpec::Choose { by, ways } = &definition.auth else { return self.auth(&definition.auth, &["auth"]) };
        if ways.is_empty() {
            self.wrong(&["auth", "ways"], "there is no way to choose from", Some("ways: {key: {type: bearer, secret: ...}}"));
        }
        match definition.variables.get(by) {
            None if self.free(by) => {}
            None => self.unknown(by, &["auth", "by"], &[]),
            // A default that is itself made of variables is looked at when the adapter is built.
            Some(default) if default.contains('{') || ways.contains_key(default) => {}
            Some(default) => {
                let help = did_you_mean(default, ways.keys().map(String::as_str));
                self.wrong(&["variables", by], format!("there is no way to log in called {default:?}"), help.as_deref());
            }
        }
        for (name, way) in ways {
            if matches!(way, AuthSpec::Choose { .. }) {
                self.wrong(&["auth", "ways", name], "a way to log in cannot be a choice again", Some("list all ways under one choice"));
            } else {
                self.auth(way, &["auth", "ways", name]);
            }
        }
    }

    fn auth(&mut self, auth: &AuthSpec, at: &[&str]) {
        let under = |key: &'static str| -> Vec<&str> { at.iter().copied().chain([key]).collect() };
        if let Some(Inject { header, query, .. }) = &auth.inject() {
            if header.is_some() == query.is_some() {
                self.wrong(at, "the credential goes into exactly one of header and query", None);
            }
            if let Some(header) = header {
                self.header(header, &under("header"));
            }
        }
        match auth {
            AuthSpec::ApiKey { .. } | AuthSpec::Bearer { .. } | AuthSpec::Choose { .. } | AuthSpec::None => {}
            AuthSpec::Basic { user, password, .. } => {
                self.template(user, &under("user"), &["secret"]);
                if let Some(password) = password {
                    self.template(password, &under("password"), &["secret"]);
                }
            }
            AuthSpec::Pool { secrets, .. } => {
                let twice = secrets.iter().enumerate().find(|(at, name)| secrets.iter().take(*at).any(|earlier| earlier == *name));
                if let Some((_, name)) = twice {
                    self.wrong(&under("secrets"), format!("the secret {name:?} is named twice"), None);
                }
                if secrets.len() < 2 {
                    self.wrong(&under("secrets"), "a pool has at least two keys", Some("one key is type: api_key or type: bearer"));
                }
            }
            AuthSpec::Jwt { sign, .. } => self.jwt(sign, &under("sign")),
            AuthSpec::Oauth2 { token_url, client_id, grant, refresh_token, client_secret, extra, answer, assertion, .. } => {
                self.template(client_id, &under("client_id"), &[]);
                self.texts(extra, &under("extra"), &[]);
                if !token_url.starts_with('/') && !token_url.starts_with("http://") && !token_url.starts_with("https://") {
                    let help = Some("write a path that begins with a slash, or an absolute http or https URL");
                    self.wrong(&under("token_url"), "the token URL is neither a path nor an absolute URL", help);
                }
                self.template(token_url, &under("token_url"), &[]);
                match grant {
                    TokenGrant::RefreshToken if refresh_token.is_none() => {
                        let help = Some("name the secret that the host gives the first refresh token under: refresh_token: my_token");
                        self.wrong(at, "the grant refresh_token needs the key \"refresh_token\"", help);
                    }
                    TokenGrant::ClientCredentials if client_secret.is_none() => {
                        self.wrong(at, "the grant client_credentials needs the key \"client_secret\"", None);
                    }
                    TokenGrant::JwtBearer if assertion.is_none() => {
                        let help = Some("say what is signed: assertion: {issuer: ..., subject: ..., audience: ..., secret: ...}");
                        self.wrong(at, "the grant jwt_bearer needs the key \"assertion\"", help);
                    }
                    _ => {}
                }
                if let Some(sign) = assertion {
                    self.jwt(sign, &under("assertion"));
                }
                self.answer(answer, &under("answer"));
            }
            AuthSpec::Session { login, refresh, answer, .. } => {
                self.token_request(auth, login, &under("login"));
                if let Some(refresh) = refresh {
                    self.token_request(auth, refresh, &under("refresh"));
                }
                self.answer(answer, &under("answer"));
            }
        }
    }

    fn answer(&mut self, answer: &TokenAnswer, at: &[&str]) {
        for paths in [&answer.token, &answer.refresh_token, &answer.expires, &answer.instance_url] {
            self.paths(Some(paths), at);
        }
    }

    fn token_request(&mut self, auth: &AuthSpec, request: &TokenRequest, at: &[&str]) {
        let under = |key: &'static str| -> Vec<&str> { at.iter().copied().chain([key]).collect() };
        self.method(request.method.as_deref(), &under("method"));
        self.path(&request.path, &under("path"), &[]);
        let known = auth.secrets().iter().map(|name| format!("secret:{name}")).collect::<Vec<_>>();
        let mut allowed: Vec<&str> = known.iter().map(String::as_str).collect();
        allowed.push("refresh_token");
        self.texts(&request.headers, &under("headers"), &allowed);
        if let Some(body) = &request.body {
            self.body(body, &under("body"), &allowed);
        }
    }

    fn jwt(&mut self, sign: &JwtSpec, at: &[&str]) {
        for text in [&sign.key_id, &sign.issuer, &sign.subject, &sign.audience].into_iter().flatten() {
            self.template(text, at, &[]);
        }
        for claim in sign.claims.values() {
            self.body(claim, at, &[]);
        }
        if sign.lifetime == 0 {
            self.wrong(at, "a token that lasts no second is never good", Some("lifetime: 180"));
        }
        if sign.algorithm == JwtAlgorithm::Hs256 && sign.secret.is_none() {
            self.wrong(at, "hs256 needs the name of the shared secret", Some("secret: signing_key"));
        }
    }
}
