//! What the host says about its org.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use url::Url;

use crate::auth::{Exchange, JwtBearer, OAuthClient, OAuthGrant, Renewable, Signer, StaticToken, TokenCache, TokenSource, optional_secret};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::salesforce::route::Volume;
use crate::salesforce::version::ApiVersion;

/// Which assignment rule gives a new lead its owner (`Sforce-Auto-Assign`). It is a header, never a field of the record.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AutoAssign {
    /// The org's active rule; what Salesforce does by itself.
    #[default]
    Default,
    /// None.
    Off,
    /// This assignment rule, by id.
    Rule(String),
}

/// How duplicate rules treat writes (`Sforce-Duplicate-Rule-Header`, API 52.0 and later). Salesforce's default for each is no.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "snake_case")]
pub struct DuplicateRule {
    /// Saves although a rule with an alert found duplicates. A rule that blocks still blocks.
    #[serde(alias = "allowSave")]
    pub allow_save: bool,
    /// Answers the fields of the records in the way, not just their ids.
    #[serde(alias = "includeRecordDetails")]
    pub include_record_details: bool,
    /// Looks for duplicates with the rights of the user, not of the system.
    #[serde(alias = "runAsCurrentUser")]
    pub run_as_current_user: bool,
}

/// An org, how to get in, and how writes behave. Plain data: readable by serde (secrets are read, never written), and built by
/// `with_…` for the grant and setters for the rest.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct SalesforceConfig {
    /// The connection's name, in labels, links and errors. Default: `salesforce`.
    pub name: String,
    /// `https://login.salesforce.com`, `https://test.salesforce.com` or the org's My Domain; client credentials need the latter.
    #[serde(alias = "loginUrl")]
    pub login_url: String,
    /// The consumer key of the connected or external client app.
    #[serde(alias = "clientId")]
    pub client_id: String,
    /// Its consumer secret.
    #[serde(alias = "clientSecret", deserialize_with = "optional_secret")]
    pub client_secret: Option<SecretString>,
    /// The refresh token to begin with. If rotation is on, the newest one is in the token cache.
    #[serde(alias = "refreshToken", deserialize_with = "optional_secret")]
    pub refresh_token: Option<SecretString>,
    /// The user a JWT bearer grant acts for; needs a key.
    pub username: Option<String>,
    /// The private key of the JWT bearer grant, in PEM (PKCS#8 or PKCS#1); needs the feature `jwt`. See
    /// [`SalesforceConfig::with_jwt`] for a key that lives elsewhere.
    #[serde(alias = "privateKey", deserialize_with = "optional_secret")]
    pub private_key: Option<SecretString>,
    /// The audience of the JWT bearer grant. Default: the login URL if it is `https://login.salesforce.com` or
    /// `https://test.salesforce.com`; for a My Domain the host it belongs to.
    pub audience: Option<String>,
    /// What signs the JWT bearer grant's assertions, if the key is not given as `private_key`.
    #[serde(skip)]
    pub signer: Option<Arc<dyn Signer>>,
    /// A token the host brings and renews itself. Used if there is no refresh token.
    #[serde(alias = "accessToken", deserialize_with = "optional_secret")]
    pub access_token: Option<SecretString>,
    /// Where the API answers, if the token does not say so (a static token). The token's word comes first.
    #[serde(alias = "instanceUrl")]
    pub instance_url: Option<String>,
    /// Uses `instance_url` whatever the token says: for a proxy in front of the org.
    #[serde(alias = "pinInstanceUrl")]
    pub pin_instance_url: bool,
    /// Default: [`ApiVersion::DEFAULT`].
    #[serde(alias = "apiVersion")]
    pub api_version: ApiVersion,
    /// Default: the org's active rule.
    #[serde(alias = "autoAssign")]
    pub auto_assign: AutoAssign,
    /// Default: `None`, no header.
    #[serde(alias = "duplicateRule")]
    pub duplicate_rule: Option<DuplicateRule>,
    /// Announced in `Sforce-Call-Options: client=`; change events repeat it as their origin, so that own changes are known.
    #[serde(alias = "clientName")]
    pub client_name: Option<String>,
    /// Whether one bad row of a collection rolls back the others. Default: false.
    #[serde(alias = "allOrNone")]
    pub all_or_none: bool,
    /// From how many records on a job is the better way. Default: that of the guide, see [`Volume`].
    pub volume: Volume,
    /// Rows per query page, 200 to 2,000; a hint. Default: the server's.
    #[serde(alias = "batchSize")]
    pub batch_size: Option<u16>,
}

impl Default for SalesforceConfig {
    fn default() -> Self {
        Self {
            name: "salesforce".to_owned(),
            login_url: "https://login.salesforce.com".to_owned(),
            client_id: String::new(),
            client_secret: None,
            refresh_token: None,
            username: None,
            private_key: None,
            audience: None,
            signer: None,
            access_token: None,
            instance_url: None,
            pin_instance_url: false,
            api_version: ApiVersion::DEFAULT,
            auto_assign: AutoAssign::Default,
            duplicate_rule: None,
            client_name: None,
            all_or_none: false,
            volume: Volume::default(),
            batch_size: None,
        }
    }
}

impl SalesforceConfig {
    /// In with a refresh token.
    pub fn with_refresh_token(login_url: impl Into<String>, client_id: impl Into<String>, refresh_token: SecretString) -> Self {
        let refresh_token = Some(refresh_token);
        Self { login_url: login_url.into(), client_id: client_id.into(), refresh_token, ..Self::default() }
    }

    /// In with the application's own credentials; `login_url` must be the org's My Domain.
    pub fn with_client_credentials(login_url: impl Into<String>, client_id: impl Into<String>, client_secret: SecretString) -> Self {
        let client_secret = Some(client_secret);
        Self { login_url: login_url.into(), client_id: client_id.into(), client_secret, ..Self::default() }
    }

    /// In as `username` with assertions that `signer` signs (JWT bearer): no person, no refresh token. The certificate of the key
    /// is uploaded to the app, and the user must be approved for it.
    pub fn with_jwt(
        login_url: impl Into<String>,
        client_id: impl Into<String>,
        username: impl Into<String>,
        signer: Arc<dyn Signer>,
    ) -> Self {
        let (username, signer) = (Some(username.into()), Some(signer));
        Self { login_url: login_url.into(), client_id: client_id.into(), username, signer, ..Self::default() }
    }

    /// In with a token the host brings.
    pub fn with_access_token(instance_url: impl Into<String>, access_token: SecretString) -> Self {
        Self { instance_url: Some(instance_url.into()), access_token: Some(access_token), ..Self::default() }
    }

    /// Sets [`SalesforceConfig::name`].
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`SalesforceConfig::client_secret`].
    #[must_use]
    pub fn client_secret(mut self, secret: SecretString) -> Self {
        self.client_secret = Some(secret);
        self
    }

    /// Sets [`SalesforceConfig::audience`].
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// Sets [`SalesforceConfig::instance_url`].
    #[must_use]
    pub fn instance_url(mut self, url: impl Into<String>) -> Self {
        self.instance_url = Some(url.into());
        self
    }

    /// Sets [`SalesforceConfig::pin_instance_url`].
    #[must_use]
    pub fn pin_instance_url(mut self, pin: bool) -> Self {
        self.pin_instance_url = pin;
        self
    }

    /// Sets [`SalesforceConfig::api_version`].
    #[must_use]
    pub fn api_version(mut self, version: ApiVersion) -> Self {
        self.api_version = version;
        self
    }

    /// Sets [`SalesforceConfig::auto_assign`].
    #[must_use]
    pub fn auto_assign(mut self, rule: AutoAssign) -> Self {
        self.auto_assign = rule;
        self
    }

    /// Sets [`SalesforceConfig::duplicate_rule`].
    #[must_use]
    pub fn duplicate_rule(mut self, rule: DuplicateRule) -> Self {
        self.duplicate_rule = Some(rule);
        self
    }

    /// Sets [`SalesforceConfig::client_name`].
    #[must_use]
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.client_name = Some(name.into());
        self
    }

    /// Sets [`SalesforceConfig::all_or_none`].
    #[must_use]
    pub fn all_or_none(mut self, all_or_none: bool) -> Self {
        self.all_or_none = all_or_none;
        self
    }

    /// Sets [`SalesforceConfig::batch_size`].
    #[must_use]
    pub fn batch_size(mut self, rows: u16) -> Self {
        self.batch_size = Some(rows);
        self
    }

    /// The application at this org's login host, for the authorization-code grant: send a person to
    /// [`OAuthClient::authorize`], then hand the code to [`OAuthClient::exchange_code`] and keep the refresh token it answers.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the login URL or the client id is missing or wrong.
    pub fn oauth(&self, transport: Arc<dyn HttpTransport>, host: Host) -> Result<OAuthClient> {
        if self.client_id.is_empty() {
            return Err(Error::config("the Salesforce client_id is missing; it is the app's consumer key"));
        }
        let login = base_url("login_url", &self.login_url)?;
        let endpoint = |tail: &str| base_url("login_url", &format!("{}{tail}", login.as_str().trim_end_matches('/')));
        let client = OAuthClient::new(transport, host, endpoint("/services/oauth2/token")?, &self.client_id);
        let client = client.authorize_url(endpoint("/services/oauth2/authorize")?);
        let client = client.revoke_url(endpoint("/services/oauth2/revoke")?).introspect_url(endpoint("/services/oauth2/introspect")?);
        Ok(match &self.client_secret {
            Some(secret) => client.client_secret(secret.clone()),
            None => client,
        })
    }

    pub(crate) fn base(&self) -> Result<Option<Url>> {
        self.instance_url.as_deref().map(|url| base_url("instance_url", url)).transpose()
    }

    /// The source of tokens: refresh token, then JWT bearer, then access token, then client credentials.
    pub(crate) fn tokens(
        &self,
        transport: Arc<dyn HttpTransport>,
        host: Host,
        cache: Option<Arc<dyn TokenCache>>,
    ) -> Result<Arc<dyn TokenSource>> {
        let grant: Arc<dyn Exchange> = match (&self.refresh_token, &self.access_token, &self.client_secret) {
            (Some(token), _, _) => Arc::new(OAuthGrant::refresh_token(self.oauth(transport, host.clone())?, token.clone())),
            _ if self.username.is_some() || self.private_key.is_some() || self.signer.is_some() => {
                Arc::new(self.jwt(self.oauth(transport, host.clone())?, host.clone())?)
            }
            (None, Some(token), _) => {
                if self.instance_url.is_none() {
                    return Err(Error::config("an access token without an instance_url: say where the Salesforce API answers"));
                }
                return Ok(Arc::new(StaticToken::new(token.clone(), None)));
            }
            (None, None, Some(_)) => {
                let login = base_url("login_url", &self.login_url)?;
                if shared_login(&login) {
                    return Err(Error::config(
                        "client credentials work on the org's My Domain only; set login_url to https://YOUR-DOMAIN.my.salesforce.com",
                    ));
                }
                Arc::new(OAuthGrant::client_credentials(self.oauth(transport, host.clone())?))
            }
            (None, None, None) => {
                return Err(Error::config(
                    "no way into Salesforce: configure a refresh token, a JWT key, a client secret or an access token",
                ));
            }
        };
        let key = self.cache_key();
        Ok(match cache {
            Some(cache) => Arc::new(Renewable::new(grant, cache, key, host)),
            None => Arc::new(Renewable::in_memory(grant, key, host)),
        })
    }

    fn jwt(&self, client: OAuthClient, host: Host) -> Result<JwtBearer> {
        let Some(username) = self.username.as_deref().filter(|name| !name.is_empty()) else {
            return Err(Error::config("the JWT bearer grant needs the username it acts for"));
        };
        let login = base_url("login_url", &self.login_url)?;
        let audience = match &self.audience {
            Some(audience) => audience.clone(),
            None if login.host_str().is_some_and(|host| host.ends_with(".sandbox.my.salesforce.com")) => {
                "https://test.salesforce.com".to_owned()
            }
            None if login.host_str().is_some_and(|host| host.ends_with(".my.salesforce.com")) => "https://login.salesforce.com".to_owned(),
            None => login.as_str().trim_end_matches('/').to_owned(),
        };
        Ok(JwtBearer::new(client, self.signing()?, host, &self.client_id, username, audience))
    }

    fn signing(&self) -> Result<Arc<dyn Signer>> {
        if let Some(signer) = &self.signer {
            return Ok(Arc::clone(signer));
        }
        #[cfg(feature = "jwt")]
        if let Some(key) = &self.private_key {
            return Ok(Arc::new(crate::auth::RsaSigner::from_pem(key)?));
        }
        #[cfg(not(feature = "jwt"))]
        if self.private_key.is_some() {
            return Err(Error::config("a private_key needs the feature jwt; enable it or bring a signer"));
        }
        Err(Error::config("the JWT bearer grant needs a private_key or a signer"))
    }

    /// Tells chains of tokens apart. The configured refresh token is part of it (as a hash): a newly authorized one begins a
    /// new chain instead of losing to the dead one in the cache.
    fn cache_key(&self) -> String {
        let own = self.username.as_deref().unwrap_or("client_credentials");
        let seed = self.refresh_token.as_ref().map_or(own, |token| token.expose_secret());
        let hash = Sha256::digest(seed.as_bytes());
        let short: String = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("salesforce:{}:{}:{short}", self.login_url.trim_end_matches('/'), self.client_id)
    }

    /// Headers of every call.
    pub(crate) fn common_headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(name) = &self.client_name {
            if name.contains([',', ';', '=']) {
                return Err(Error::config("the client_name must not hold a comma, semicolon or equals sign"));
            }
            headers.insert(HeaderName::from_static("sforce-call-options"), header("client_name", &format!("client={name}"))?);
        }
        Ok(headers)
    }

    /// Headers of queries, beside the common ones.
    pub(crate) fn query_headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(rows) = self.batch_size {
            if !(200..=2000).contains(&rows) {
                return Err(Error::config("the batch_size must be between 200 and 2000 rows (Query Options header)"));
            }
            let value = header("batch_size", &format!("batchSize={rows}"))?;
            headers.insert(HeaderName::from_static("sforce-query-options"), value);
        }
        Ok(headers)
    }

    /// Headers of writes, beside the common ones.
    pub(crate) fn write_headers(auto_assign: &AutoAssign, duplicate_rule: Option<DuplicateRule>) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let assign = match auto_assign {
            AutoAssign::Default => None,
            AutoAssign::Off => Some("FALSE".to_owned()),
            AutoAssign::Rule(id) => Some(crate::salesforce::ids::to_18(id)?),
        };
        if let Some(assign) = assign {
            headers.insert(HeaderName::from_static("sforce-auto-assign"), header("auto_assign", &assign)?);
        }
        if let Some(rule) = duplicate_rule {
            let text = format!(
                "allowSave={}; includeRecordDetails={}; runAsCurrentUser={}",
                rule.allow_save, rule.include_record_details, rule.run_as_current_user
            );
            headers.insert(HeaderName::from_static("sforce-duplicate-rule-header"), header("duplicate_rule", &text)?);
        }
        Ok(headers)
    }
}

fn header(option: &str, text: &str) -> Result<HeaderValue> {
    HeaderValue::try_from(text).map_err(|_| Error::config(format!("the Salesforce option {option} cannot stand in a header")))
}

/// The hosts every org shares; they know no org until somebody has logged in.
fn shared_login(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    host.eq_ignore_ascii_case("login.salesforce.com") || host.eq_ignore_ascii_case("test.salesforce.com")
}

fn base_url(option: &str, text: &str) -> Result<Url> {
    let url = Url::parse(text.trim()).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.filter(|url| url.query().is_none() && url.fragment().is_none() && url.username().is_empty());
    url.ok_or_else(|| Error::config(format!("the Salesforce {option} must be an absolute http or https URL without a query")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_three_spellings() {
        for text in ["v57.0", "57.0", "57", " V57 "] {
            assert_eq!(text.parse::<ApiVersion>().unwrap().to_string(), "57.0");
        }
        for text in ["", "v", "57.5", "six", "-1", "3"] {
            assert!(text.parse::<ApiVersion>().is_err(), "{text}");
        }
        assert!(ApiVersion::new(100) > ApiVersion::new(68));
    }

    #[test]
    fn read_from_json_and_never_shown() {
        let text = r#"{"loginUrl":"https://test.salesforce.com","clientId":"c","clientSecret":"hidden","refresh_token":"hidden","apiVersion":57.0,
            "auto_assign":{"rule":"01QAb0000000001"},"duplicate_rule":{"allowSave":true}}"#;
        let config: SalesforceConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.api_version, ApiVersion::new(57));
        assert!(!format!("{config:?}").contains("hidden"));
        let headers = SalesforceConfig::write_headers(&config.auto_assign, config.duplicate_rule).unwrap();
        assert!(headers.get("sforce-auto-assign").unwrap().to_str().unwrap().starts_with("01QAb0000000001"));
        let rule = headers.get("sforce-duplicate-rule-header").unwrap();
        assert_eq!(rule, "allowSave=true; includeRecordDetails=false; runAsCurrentUser=false");
        assert!(serde_json::from_str::<SalesforceConfig>(r#"{"pasword":"x"}"#).is_err());
    }

    #[test]
    fn client_credentials_need_a_my_domain() {
        let build = |login: &str| {
            let transport = Arc::new(crate::http::ReqwestTransport::loopback().unwrap());
            SalesforceConfig::with_client_credentials(login, "c", SecretString::from("s")).tokens(transport, Host::manual(1), None)
        };
        for login in ["https://login.salesforce.com", "https://TEST.salesforce.com/"] {
            let error = build(login).unwrap_err();
            assert_eq!(error.kind(), crate::error::ErrorKind::Config);
            assert!(error.to_string().contains("My Domain"), "{error}");
        }
        assert!(build("https://acme.my.salesforce.com").is_ok());
    }

    #[test]
    fn a_new_refresh_token_begins_a_new_chain() {
        let key = |token: &str| SalesforceConfig::with_refresh_token("https://x.example", "c", SecretString::from(token)).cache_key();
        assert_ne!(key("one"), key("two"));
        assert!(!key("secret-token").contains("secret-token"));
    }
}
