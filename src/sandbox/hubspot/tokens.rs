//! What clients, codes and tokens there are.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::sandbox::hubspot::ids::uuid;

/// A token nobody renews needs no place after this long, in milliseconds.
const FORGOTTEN: i64 = 86_400_000;

/// What the user of the pretend account can grant.
pub(crate) const SCOPES: &[&str] = &[
    "oauth",
    "crm.objects.contacts.read",
    "crm.objects.contacts.write",
    "crm.objects.companies.read",
    "crm.objects.companies.write",
    "crm.objects.deals.read",
    "crm.objects.deals.write",
    "crm.objects.custom.read",
    "crm.objects.custom.write",
    "crm.objects.owners.read",
    "crm.objects.leads.read",
    "crm.objects.leads.write",
    "crm.objects.line_items.read",
    "crm.objects.line_items.write",
    "crm.schemas.contacts.read",
    "crm.schemas.contacts.write",
    "crm.schemas.companies.read",
    "crm.schemas.companies.write",
    "crm.schemas.deals.read",
    "crm.schemas.deals.write",
    "crm.schemas.custom.read",
    "crm.schemas.custom.write",
    "tickets",
    "e-commerce",
    "timeline",
    "forms",
    "sales-email-read",
    "crm.lists.read",
    "crm.lists.write",
    "crm.import",
    "crm.export",
    "developer.webhooks_journal.read",
    "developer.webhooks_journal.subscriptions.read",
    "developer.webhooks_journal.subscriptions.write",
    "developer.webhooks_journal.snapshots.read",
    "developer.webhooks_journal.snapshots.write",
];

/// What a bearer token stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Bearer {
    /// An app-level token, from client credentials.
    App,
    /// An account that installed the OAuth app.
    OAuth,
    /// The private app.
    Private,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Access {
    pub(crate) bearer: Bearer,
    /// Milliseconds since 1970; never if absent.
    pub(crate) expires: Option<i64>,
    pub(crate) scopes: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refresh {
    pub(crate) scopes: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Code {
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<String>,
    pub(crate) expires: i64,
    pub(crate) scopes: Vec<String>,
}

/// Clients and tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Auth {
    seed: u64,
    made: u64,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) developer_key: String,
    pub(crate) refresh_token: String,
    pub(crate) private_token: String,
    pub(crate) access: BTreeMap<String, Access>,
    pub(crate) refresh: BTreeMap<String, Refresh>,
    pub(crate) codes: BTreeMap<String, Code>,
}

/// How a token fared.
#[derive(Clone, Debug)]
pub(crate) enum Checked {
    Good(Bearer, Option<Vec<String>>),
    /// It ended at this instant, in milliseconds since 1970.
    Expired(i64),
    Unknown,
}

impl Auth {
    pub(crate) fn new(seed: u64) -> Self {
        let mut auth = Self {
            seed,
            made: 0,
            client_id: String::new(),
            client_secret: String::new(),
            developer_key: String::new(),
            refresh_token: String::new(),
            private_token: String::new(),
            access: BTreeMap::new(),
            refresh: BTreeMap::new(),
            codes: BTreeMap::new(),
        };
        auth.client_id = auth.dashed("client");
        auth.client_secret = auth.dashed("secret");
        auth.developer_key = auth.dashed("developer");
        auth.refresh_token = format!("na1-{}", auth.dashed("refresh"));
        auth.private_token = format!("pat-na1-{}", auth.dashed("private"));
        auth.refresh.insert(auth.refresh_token.clone(), Refresh { scopes: None });
        auth.access.insert(auth.private_token.clone(), Access { bearer: Bearer::Private, expires: None, scopes: None });
        auth
    }

    /// The same seed makes the same secrets in the same order.
    fn secret(&mut self, what: &str) -> String {
        self.made += 1;
        let digest = Sha256::digest(format!("hubspot:{}:{}:{what}", self.seed, self.made));
        URL_SAFE_NO_PAD.encode(digest).replace(['-', '_'], "x")
    }

    pub(crate) fn dashed(&mut self, what: &str) -> String {
        self.made += 1;
        uuid(self.seed, what, self.made)
    }

    pub(crate) fn grant(&mut self, bearer: Bearer, scopes: Option<Vec<String>>, now: Timestamp, seconds: u64) -> String {
        let now = now.as_millisecond();
        self.access.retain(|_, access| access.expires.is_none_or(|expires| expires + FORGOTTEN > now));
        let token = format!("CJ{}", self.secret("access"));
        let expires = Some(now + i64::try_from(seconds).unwrap_or(1_800) * 1_000);
        self.access.insert(token.clone(), Access { bearer, expires, scopes });
        token
    }

    pub(crate) fn check(&self, token: &str, now: Timestamp) -> Checked {
        match self.access.get(token) {
            None => Checked::Unknown,
            Some(access) => match access.expires.filter(|expires| *expires <= now.as_millisecond()) {
                Some(expires) => Checked::Expired(expires),
                None => Checked::Good(access.bearer, access.scopes.clone()),
            },
        }
    }

    /// Ends a token as time does.
    pub(crate) fn expire(&mut self, token: &str, now: Timestamp) {
        if let Some(access) = self.access.get_mut(token) {
            access.expires = Some(now.as_millisecond());
        }
    }

    /// Ends all OAuth access tokens as time does.
    pub(crate) fn expire_all(&mut self, now: Timestamp) {
        let now = now.as_millisecond();
        for access in self.access.values_mut().filter(|access| access.bearer != Bearer::Private) {
            access.expires = Some(access.expires.map_or(now, |expires| expires.min(now)));
        }
    }

    /// The app is gone from the account.
    pub(crate) fn uninstall(&mut self) {
        self.access.retain(|_, access| access.bearer != Bearer::OAuth);
        self.refresh.clear();
    }
}

/// The scopes by name; a token without a list has all.
pub(crate) fn listed(scopes: Option<&Vec<String>>) -> Vec<String> {
    scopes.cloned().unwrap_or_else(|| SCOPES.iter().map(|scope| (*scope).to_owned()).collect())
}
