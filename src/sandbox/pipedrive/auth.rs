//! Clients and their tokens of both kinds (Pipedrive docs, OAuth authorization).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

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

    pub(crate) fn new_access(&mut self, family: u64, now: Timestamp, lifetime: u64, scope: String) -> String {
        // Access tokens are long (store 768 characters at least).
        let mut token = String::from("v1u:");
        for _ in 0..8 {
            token.push_str(&URL_SAFE_NO_PAD.encode(self.digest("access")));
        }
        let expires = now.as_millisecond().saturating_add_unsigned(lifetime.saturating_mul(1000));
        self.access.insert(token.clone(), Access { family, expires, scope });
        token
    }

    pub(crate) fn new_refresh(&mut self, family: u64, now: Timestamp) -> String {
        let token = format!("{}:{}", self.hex("refresh", 7), self.hex("refresh", 40));
        self.refresh.insert(token.clone(), Refresh { family, expires: now.as_millisecond().saturating_add(REFRESH_LIFE) });
        token
    }

    /// Whose access token it is, if it lives.
    pub(crate) fn bearer(&self, token: &str, now: Timestamp) -> Option<Caller> {
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

    /// A code for one use, good for five minutes.
    pub(crate) fn new_code(&mut self, redirect_uri: String, now: Timestamp) -> String {
        let code = self.hex("code", 40);
        let expires = now.as_millisecond().saturating_add(CODE_LIFE);
        self.codes.insert(code.clone(), Code { redirect_uri, expires });
        code
    }

    /// Uses a code up; what it was given for, if it is still good.
    pub(crate) fn take_code(&mut self, code: &str, now: Timestamp) -> Option<String> {
        let code = self.codes.remove(code)?;
        (now.as_millisecond() < code.expires).then_some(code.redirect_uri)
    }

    /// A number for the tokens of one consent.
    pub(crate) fn new_family(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// Uses a refresh token, which begins its sixty days anew; its family, and the token to show next time.
    pub(crate) fn renew(&mut self, shown: &str, now: Timestamp, rotate: bool) -> Option<(u64, String)> {
        let known = self.refresh.get_mut(shown).filter(|refresh| now.as_millisecond() < refresh.expires)?;
        known.expires = now.as_millisecond().saturating_add(REFRESH_LIFE);
        let family = known.family;
        if !rotate {
            return Some((family, shown.to_owned()));
        }
        self.refresh.remove(shown);
        Some((family, self.new_refresh(family, now)))
    }

    /// Ends an access token alone, or a refresh token with all that came of it. False if there is no such token.
    pub(crate) fn revoke(&mut self, token: &str) -> bool {
        match self.refresh.get(token).map(|refresh| refresh.family) {
            Some(family) => {
                self.access.retain(|_, access| access.family != family);
                self.refresh.retain(|_, refresh| refresh.family != family);
                true
            }
            None => self.access.remove(token).is_some(),
        }
    }
}
