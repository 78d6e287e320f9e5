//! What the host says about its HubSpot account.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use url::Url;

use crate::auth::{OAuthClient, OAuthGrant, Renewable, StaticToken, TokenCache, TokenSource, optional_secret};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::hubspot::paths::ApiVersion;
use crate::hubspot::token::TokenEndpoint;

/// An account and the way in. Plain data: readable by serde (secrets are read, never written).
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct HubSpotConfig {
    /// The connection's name, in labels, links and errors. Default: `hubspot`.
    pub name: String,
    /// A private app's token, a service key, or an OAuth access token that the host renews itself.
    #[serde(alias = "accessToken", deserialize_with = "optional_secret")]
    pub access_token: Option<SecretString>,
    /// The OAuth app's client id.
    #[serde(alias = "clientId")]
    pub client_id: String,
    /// Its client secret.
    #[serde(alias = "clientSecret", deserialize_with = "optional_secret")]
    pub client_secret: Option<SecretString>,
    /// The refresh token to begin with. Access tokens live 30 minutes and are renewed by the clock.
    #[serde(alias = "refreshToken", deserialize_with = "optional_secret")]
    pub refresh_token: Option<SecretString>,
    /// Not usable: account API keys ended on 30 November 2022. Set, it is refused with a message that says so.
    #[serde(alias = "apiKey", deserialize_with = "optional_secret")]
    pub api_key: Option<SecretString>,
    /// The account (portal, hub) id. Form submissions and the journal's subscriptions need it.
    #[serde(alias = "portalId", deserialize_with = "number_or_text")]
    pub portal_id: Option<String>,
    /// Default: 2026-03.
    #[serde(alias = "apiVersion")]
    pub api_version: ApiVersion,
    /// Default: `https://api.hubapi.com`, for every region.
    #[serde(alias = "baseUrl")]
    pub base_url: String,
    /// Where forms are submitted. Default: `https://api.hsforms.com`.
    #[serde(alias = "formsUrl")]
    pub forms_url: String,
    /// Default: `https://app.hubspot.com/oauth/authorize`.
    #[serde(alias = "authorizeUrl")]
    pub authorize_url: String,
    /// The account's time zone, at whose midnight the daily allowance comes back: an offset (`-05:00`), or a name (`US/Eastern`)
    /// in programs whose `jiff` has a time zone database. Default: the account's name or else its offset, learned by
    /// [`authenticate`](crate::adapter::CrmAdapter::authenticate); UTC until then.
    #[serde(alias = "timeZone")]
    pub time_zone: Option<String>,
}

impl Default for HubSpotConfig {
    fn default() -> Self {
        Self {
            name: "hubspot".to_owned(),
            access_token: None,
            client_id: String::new(),
            client_secret: None,
            refresh_token: None,
            api_key: None,
            portal_id: None,
            api_version: ApiVersion::default(),
            base_url: "https://api.hubapi.com".to_owned(),
            forms_url: "https://api.hsforms.com".to_owned(),
            authorize_url: "https://app.hubspot.com/oauth/authorize".to_owned(),
            time_zone: None,
        }
    }
}

fn absolute(text: &str, option: &str) -> Result<Url> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some());
    url.ok_or_else(|| Error::config(format!("the HubSpot {option} must be an absolute http or https URL")))
}

fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Number(u64),
        Text(String),
    }
    Ok(Option::<Form>::deserialize(deserializer)?.map(|form| match form {
        Form::Number(number) => number.to_string(),
        Form::Text(text) => text,
    }))
}

impl HubSpotConfig {
    /// In with a private app's token or a service key.
    pub fn with_access_token(token: SecretString) -> Self {
        Self { access_token: Some(token), ..Self::default() }
    }

    /// In with an OAuth app's refresh token.
    pub fn with_refresh_token(client_id: impl Into<String>, client_secret: SecretString, refresh_token: SecretString) -> Self {
        Self { client_id: client_id.into(), client_secret: Some(client_secret), refresh_token: Some(refresh_token), ..Self::default() }
    }

    /// Sets [`HubSpotConfig::name`].
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`HubSpotConfig::api_version`].
    #[must_use]
    pub fn api_version(mut self, version: ApiVersion) -> Self {
        self.api_version = version;
        self
    }

    /// Sets [`HubSpotConfig::base_url`].
    #[must_use]
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = url.into();
        self
    }

    /// Sets [`HubSpotConfig::portal_id`].
    #[must_use]
    pub fn portal_id(mut self, id: impl Into<String>) -> Self {
        self.portal_id = Some(id.into());
        self
    }

    /// Sets [`HubSpotConfig::forms_url`].
    #[must_use]
    pub fn forms_url(mut self, url: impl Into<String>) -> Self {
        self.forms_url = url.into();
        self
    }

    /// Sets [`HubSpotConfig::time_zone`].
    #[must_use]
    pub fn time_zone(mut self, zone: impl Into<String>) -> Self {
        self.time_zone = Some(zone.into());
        self
    }

    /// The OAuth app, for the authorization-code grant: send a person to [`OAuthClient::authorize`], then hand the code to
    /// [`OAuthClient::exchange_code`].
    ///
    /// A refusal of the token endpoint has one of three classes: [`Authentication`](crate::error::ErrorKind::Authentication)
    /// (the grant is gone: authorize again), [`Config`](crate::error::ErrorKind::Config) (our client id, secret, redirect or
    /// scopes are wrong: every account fails alike), and the retryable ones.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the client id is missing or a URL is none.
    pub fn oauth(&self, transport: Arc<dyn HttpTransport>, host: Host) -> Result<OAuthClient> {
        self.oauth_over(TokenEndpoint::new(transport), host)
    }

    pub(super) fn oauth_over(&self, endpoint_transport: TokenEndpoint, host: Host) -> Result<OAuthClient> {
        if self.client_id.is_empty() {
            return Err(Error::config("the HubSpot client_id is missing"));
        }
        let base = self.base()?;
        let base = base.as_str().trim_end_matches('/');
        let path = self.api_version.token();
        let endpoint =
            |tail: &str| Url::parse(&format!("{base}{path}{tail}")).map_err(|_| Error::config("the HubSpot base_url is not a URL"));
        let authorize = Url::parse(&self.authorize_url).map_err(|_| Error::config("the HubSpot authorize_url is not a URL"))?;
        let client = OAuthClient::new(Arc::new(endpoint_transport), host, endpoint("")?, &self.client_id).authorize_url(authorize);
        let client = client.revoke_url(endpoint("/revoke")?).introspect_url(endpoint("/introspect")?);
        Ok(match &self.client_secret {
            Some(secret) => client.client_secret(secret.clone()),
            None => client,
        })
    }

    pub(super) fn base(&self) -> Result<Url> {
        absolute(&self.base_url, "base_url")
    }

    pub(super) fn forms(&self) -> Result<Url> {
        absolute(&self.forms_url, "forms_url")
    }

    pub(super) fn tokens(
        &self,
        transport: Arc<dyn HttpTransport>,
        host: Host,
        cache: Option<Arc<dyn TokenCache>>,
    ) -> Result<Arc<dyn TokenSource>> {
        if let Some(refresh) = &self.refresh_token {
            let hash = Sha256::digest(refresh.expose_secret().as_bytes());
            let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            let key = format!("hubspot:{}:{short}", self.client_id);
            let grant = Arc::new(OAuthGrant::refresh_token(self.oauth(transport, host.clone())?, refresh.clone()));
            return Ok(match cache {
                Some(cache) => Arc::new(Renewable::new(grant, cache, key, host)),
                None => Arc::new(Renewable::in_memory(grant, key, host)),
            });
        }
        match (&self.access_token, &self.api_key) {
            (Some(token), _) => Ok(Arc::new(StaticToken::new(token.clone(), None))),
            (None, Some(_)) => Err(Error::config(
                "hubspot no longer accepts apiKey: account API keys ended on 30 November 2022; use a private app's token as access_token, or OAuth",
            )),
            (None, None) => {
                Err(Error::config("no way into HubSpot: configure an access_token, or a refresh_token with client_id and client_secret"))
            }
        }
    }
}
