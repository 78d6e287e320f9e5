//! What the host says about its Pipedrive account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

use crate::auth::{OAuthClient, OAuthGrant, Renewable, StaticToken, TokenCache, TokenSource, optional_secret};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::pipedrive::limits::Plan;
use crate::pipedrive::tokens::{CheckedTokens, Scheme, origin};

/// Where the API answers if neither the token nor the host names the account (OpenAPI documents, `servers`).
const GENERIC: &str = "https://api.pipedrive.com";
const OAUTH: &str = "https://oauth.pipedrive.com";

/// An account, how to get in, and the account's own names. Plain data: readable by serde (secrets are read, never written).
///
/// ```
/// # use crm_sync::pipedrive::PipedriveConfig;
/// let config: PipedriveConfig = serde_json::from_value(serde_json::json!({
///     "apiToken": "t0k3n", "companyDomain": "acme",
///     "config": {
///         "customFields": {"person": {"marketingScore": "Marketing score"}},
///         "pipeline": {"defaultPipelineId": 1, "stages": {"new": 1, "qualified": "Qualified", "won": 5}}
///     }
/// })).unwrap();
/// assert!(!format!("{config:?}").contains("t0k3n"));
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PipedriveConfig {
    /// The connection's name, in labels, links and errors. Default: `pipedrive`.
    pub name: String,
    /// The personal token of a user, sent as `x-api-token`. There is one per user and company: making a new one ends the old.
    #[serde(alias = "apiToken", deserialize_with = "optional_secret")]
    pub api_token: Option<SecretString>,
    /// The account: `acme`, `acme.pipedrive.com` or its URL. Default: the generic host `api.pipedrive.com`.
    #[serde(alias = "companyDomain")]
    pub company_domain: Option<String>,
    /// The origin the API answers at, instead of `company_domain`. With OAuth the token's own word comes first.
    #[serde(alias = "apiDomain")]
    pub api_domain: Option<String>,
    /// Uses the configured origin whatever the token says: for a proxy in front of the account.
    #[serde(alias = "pinApiDomain")]
    pub pin_api_domain: bool,
    /// The OAuth server. Default: `https://oauth.pipedrive.com`.
    #[serde(alias = "oauthUrl")]
    pub oauth_url: String,
    /// The OAuth app's client id.
    #[serde(alias = "clientId")]
    pub client_id: String,
    /// The OAuth app's secret.
    #[serde(alias = "clientSecret", deserialize_with = "optional_secret")]
    pub client_secret: Option<SecretString>,
    /// The refresh token to begin with; it lives 60 days from its last use.
    #[serde(alias = "refreshToken", deserialize_with = "optional_secret")]
    pub refresh_token: Option<SecretString>,
    /// An OAuth access token that the host brings and renews itself.
    #[serde(alias = "accessToken", deserialize_with = "optional_secret")]
    pub access_token: Option<SecretString>,
    /// The path in front of API v1: `/v1` (default) or `/api/v1`. On the generic host some resources answer under `/v1` only.
    #[serde(alias = "v1Prefix")]
    pub v1_prefix: String,
    /// The account's plan, for limits: the API does not tell it. Default: the smallest.
    pub plan: Plan,
    /// Seats of the account, for the daily budget. Default: unknown, then the budget is what the answers' headers say.
    pub seats: Option<u32>,
    /// Waits for a turn before each request, so that neither burst limit is met: who goes on after a 429 is shut out. Default:
    /// true. Without it whoever calls has to keep the limits.
    pub pace: bool,
    /// The account's own names.
    #[serde(alias = "config")]
    pub settings: PipedriveSettings,
}

/// Names of the account: fields, pipeline, stages.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
#[non_exhaustive]
pub struct PipedriveSettings {
    /// For each entity (`person`, `deal`, …) the host's name of a custom field and its key or visible name. Records are read and
    /// written under the host's names as well as under the key.
    #[serde(alias = "customFields")]
    pub custom_fields: BTreeMap<String, BTreeMap<String, String>>,
    /// For each entity the custom text field that keeps the id of the operation that made a record, by any of its names: the only
    /// way to find out what became of a create that got no answer.
    #[serde(alias = "operationFields")]
    pub operation_fields: BTreeMap<String, String>,
    /// Where new deals go.
    pub pipeline: PipelineSettings,
    /// Seconds for which descriptions of fields, pipelines, stages and activity types are believed. Default: one hour.
    #[serde(alias = "schemaTtl")]
    pub schema_ttl: u64,
    /// Calls of a batch under way at once. Default: 4.
    pub concurrency: usize,
}

/// Where new deals go.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PipelineSettings {
    /// The pipeline, by id.
    #[serde(alias = "defaultPipelineId")]
    pub default_pipeline_id: Option<i64>,
    /// The pipeline, by name; used without an id.
    #[serde(alias = "defaultPipeline")]
    pub default_pipeline: Option<String>,
    /// The host's names of stages and the account's: an id or a name. `won` and `lost` are statuses whatever stands here.
    pub stages: BTreeMap<String, StageRef>,
    /// The currency of deals that come without one. Default: the user's.
    pub currency: Option<String>,
}

/// A stage, by id or by name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum StageRef {
    /// By id.
    Id(i64),
    /// By the name people see.
    Name(String),
}

impl Default for PipedriveSettings {
    fn default() -> Self {
        Self {
            custom_fields: BTreeMap::new(),
            operation_fields: BTreeMap::new(),
            pipeline: PipelineSettings::default(),
            schema_ttl: 3600,
            concurrency: 4,
        }
    }
}

impl PipedriveSettings {
    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_secs(self.schema_ttl)
    }
}

impl Default for PipedriveConfig {
    fn default() -> Self {
        Self {
            name: "pipedrive".to_owned(),
            api_token: None,
            company_domain: None,
            api_domain: None,
            pin_api_domain: false,
            oauth_url: OAUTH.to_owned(),
            client_id: String::new(),
            client_secret: None,
            refresh_token: None,
            access_token: None,
            v1_prefix: "/v1".to_owned(),
            plan: Plan::default(),
            seats: None,
            pace: true,
            settings: PipedriveSettings::default(),
        }
    }
}

impl PipedriveConfig {
    /// In with a user's token; `company` as in [`PipedriveConfig::company_domain`].
    pub fn with_api_token(company: impl Into<String>, token: SecretString) -> Self {
        Self { company_domain: Some(company.into()), api_token: Some(token), ..Self::default() }
    }

    /// In as an OAuth app, for the user who gave it this refresh token.
    pub fn with_refresh_token(client_id: impl Into<String>, client_secret: SecretString, refresh_token: SecretString) -> Self {
        let (client_secret, refresh_token) = (Some(client_secret), Some(refresh_token));
        Self { client_id: client_id.into(), client_secret, refresh_token, ..Self::default() }
    }

    /// In with an OAuth access token that the host brings; `api_domain` is the origin that came with it.
    pub fn with_access_token(api_domain: impl Into<String>, token: SecretString) -> Self {
        Self { api_domain: Some(api_domain.into()), access_token: Some(token), ..Self::default() }
    }

    /// Sets [`PipedriveConfig::name`].
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`PipedriveConfig::api_domain`].
    #[must_use]
    pub fn api_domain(mut self, origin: impl Into<String>) -> Self {
        self.api_domain = Some(origin.into());
        self
    }

    /// Sets [`PipedriveConfig::pin_api_domain`].
    #[must_use]
    pub fn pin_api_domain(mut self, pin: bool) -> Self {
        self.pin_api_domain = pin;
        self
    }

    /// Sets [`PipedriveConfig::oauth_url`].
    #[must_use]
    pub fn oauth_url(mut self, url: impl Into<String>) -> Self {
        self.oauth_url = url.into();
        self
    }

    /// Sets [`PipedriveConfig::plan`] and [`PipedriveConfig::seats`].
    #[must_use]
    pub fn plan(mut self, plan: Plan, seats: u32) -> Self {
        (self.plan, self.seats) = (plan, Some(seats));
        self
    }

    /// Sets [`PipedriveConfig::pace`].
    #[must_use]
    pub fn pace(mut self, pace: bool) -> Self {
        self.pace = pace;
        self
    }

    /// Sets [`PipedriveConfig::settings`].
    #[must_use]
    pub fn settings(mut self, settings: PipedriveSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The app at the OAuth server, for the authorization-code grant: send a person to [`OAuthClient::authorize`], hand the code
    /// (valid for five minutes, once) to [`OAuthClient::exchange_code`] and keep the refresh token it answers.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the URL, the client id or its secret is missing or wrong.
    pub fn oauth(&self, transport: Arc<dyn HttpTransport>, host: Host) -> Result<OAuthClient> {
        let Some(secret) = self.client_secret.clone().filter(|_| !self.client_id.is_empty()) else {
            return Err(Error::config("the Pipedrive client_id or client_secret is missing; both stand in the app's settings"));
        };
        let server = origin("oauth_url", &self.oauth_url)?;
        // No slash at the end: `/oauth/token/` is redirected, and a redirect drops the body.
        let endpoint = |tail: &str| origin("oauth_url", &format!("{}{tail}", server.as_str().trim_end_matches('/')));
        let client = OAuthClient::new(transport, host, endpoint("/oauth/token")?, &self.client_id).client_secret(secret).basic(true);
        Ok(client.authorize_url(endpoint("/oauth/authorize")?).revoke_url(endpoint("/oauth/revoke")?))
    }

    pub(crate) fn scheme(&self) -> Scheme {
        if self.refresh_token.is_none() && self.access_token.is_none() { Scheme::ApiToken } else { Scheme::Bearer }
    }

    /// Where the API answers unless the token knows better.
    pub(crate) fn base(&self) -> Result<Url> {
        match (&self.api_domain, &self.company_domain) {
            (Some(domain), _) => origin("api_domain", domain),
            (None, Some(company)) => account(company),
            (None, None) => origin("api_domain", GENERIC),
        }
    }

    pub(crate) fn v1(&self) -> Result<String> {
        let prefix = self.v1_prefix.trim_end_matches('/');
        match prefix {
            "/v1" | "/api/v1" => Ok(prefix.to_owned()),
            _ => Err(Error::config("the v1_prefix must be /v1 or /api/v1")),
        }
    }

    pub(crate) fn tokens(
        &self,
        transport: Arc<dyn HttpTransport>,
        host: Host,
        cache: Option<Arc<dyn TokenCache>>,
    ) -> Result<Arc<dyn TokenSource>> {
        let source: Arc<dyn TokenSource> = match (&self.refresh_token, &self.access_token, &self.api_token) {
            (Some(refresh), ..) => {
                let grant = Arc::new(OAuthGrant::refresh_token(self.oauth(transport, host.clone())?, refresh.clone()));
                match cache {
                    Some(cache) => Arc::new(Renewable::new(grant, cache, self.cache_key(refresh), host)),
                    None => Arc::new(Renewable::in_memory(grant, self.cache_key(refresh), host)),
                }
            }
            (None, Some(token), _) | (None, None, Some(token)) => return Ok(Arc::new(StaticToken::new(token.clone(), None))),
            (None, None, None) => {
                return Err(Error::config("no way into Pipedrive: configure an api_token, a refresh_token or an access_token"));
            }
        };
        let official = origin("oauth_url", &self.oauth_url)?.host_str() == Some("oauth.pipedrive.com");
        Ok(Arc::new(CheckedTokens::new(source, official)))
    }

    /// The configured refresh token is part of it (as a hash): a newly authorized one begins a new chain.
    fn cache_key(&self, refresh: &SecretString) -> String {
        let hash = Sha256::digest(refresh.expose_secret().as_bytes());
        let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("pipedrive:{}:{}:{short}", self.oauth_url.trim_end_matches('/'), self.client_id)
    }
}

/// `acme`, `acme.pipedrive.com` or the account's URL.
fn account(company: &str) -> Result<Url> {
    let company = company.trim();
    if company.contains("://") {
        return origin("company_domain", company);
    }
    let name = company.trim_end_matches('/').strip_suffix(".pipedrive.com").unwrap_or(company);
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if name.is_empty() || name.len() > 63 || !plain || name.starts_with('-') || name.ends_with('-') {
        return Err(Error::config("the company_domain is not the name in front of .pipedrive.com: letters, digits and hyphens"));
    }
    origin("company_domain", &format!("https://{}.pipedrive.com", name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The block of the integration guide, with its values.
    #[test]
    fn the_guides_block_loads() {
        let config: PipedriveConfig = serde_json::from_str(
            r#"{"apiToken": "canary", "companyDomain": "acme", "config": {
                "customFields": {
                    "person": {"marketingScore": "abc123", "leadSource": "def456", "utmSource": "ghi789", "utmMedium": "jkl012", "utmCampaign": "mno345"},
                    "deal": {"marketingInfluence": "pqr678", "attributionPath": "stu901", "firstTouchChannel": "vwx234"}},
                "pipeline": {"defaultPipelineId": 1, "stages": {"new": 1, "qualified": 2, "proposal": 3, "negotiation": 4, "won": 5, "lost": 6}}}}"#,
        )
        .unwrap();
        assert_eq!(config.settings.custom_fields["person"]["utmSource"], "ghi789");
        assert_eq!(config.settings.pipeline.default_pipeline_id, Some(1));
        assert_eq!(config.settings.pipeline.stages["proposal"], StageRef::Id(3));
        assert_eq!(config.base().unwrap().as_str(), "https://acme.pipedrive.com/");
        assert!(!format!("{config:?}").contains("canary"));
        assert!(serde_json::from_str::<PipedriveConfig>(r#"{"apiTocken": "x"}"#).is_err());
    }

    #[test]
    fn an_account_is_named_in_three_ways_and_no_other() {
        for company in ["acme", "ACME.pipedrive.com", "https://acme.pipedrive.com/", " acme "] {
            let base = PipedriveConfig::with_api_token(company, SecretString::from("t")).base().unwrap();
            assert_eq!(base.as_str().to_lowercase(), "https://acme.pipedrive.com/", "{company}");
        }
        for company in ["", "acme.evil.example", "acme/..", "-a", "http://acme.pipedrive.com", "https://u:p@acme.pipedrive.com", "ä"] {
            assert!(PipedriveConfig::with_api_token(company, SecretString::from("t")).base().is_err(), "{company}");
        }
        assert_eq!(PipedriveConfig::default().base().unwrap().host_str(), Some("api.pipedrive.com"));
        assert!(PipedriveConfig { v1_prefix: "/v2".to_owned(), ..PipedriveConfig::default() }.v1().is_err());
    }
}
