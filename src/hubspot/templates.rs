//! Templates of timeline events, as an app keeps them.
//!
//! They belong to the app and not to an account, so they are managed with the developer API key, which HubSpot takes in the
//! query of these calls alone (developer guide, "Timeline events"). Apps of the developer projects define event types in their
//! project instead.

use std::sync::Arc;

use http::{HeaderMap, Method};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;

use crate::auth::{AccessToken, StaticToken, TokenSource};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::hubspot::config::HubSpotConfig;
use crate::hubspot::dialect::HubSpotDialect;
use crate::hubspot::limiter::{HubSpotLimiter, Lane};
use crate::hubspot::paths::segment;
use crate::hubspot::properties::PropertyOption;
use crate::rest::{Answer, Call, Client, Dialect, Failure};

/// Tokens of one template.
const MOST_TOKENS: usize = 500;

/// A value that events of a template carry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct TemplateToken {
    /// Its name in events and in the layouts (`{{name}}`).
    pub name: String,
    /// What people see.
    pub label: String,
    /// `date`, `enumeration`, `number` or `string`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The choices of an enumeration.
    pub options: Vec<PropertyOption>,
    /// A property of the record that each event writes too.
    pub object_property_name: Option<String>,
}

impl TemplateToken {
    /// A token; `kind` is `date`, `enumeration`, `number` or `string`.
    pub fn new(name: impl Into<String>, label: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), label: label.into(), kind: kind.into(), ..Self::default() }
    }

    /// Sets [`TemplateToken::object_property_name`].
    #[must_use]
    pub fn property(mut self, name: impl Into<String>) -> Self {
        self.object_property_name = Some(name.into());
        self
    }

    /// Adds a choice.
    #[must_use]
    pub fn option(mut self, label: impl Into<String>, value: impl Into<String>) -> Self {
        self.options.push(PropertyOption { label: label.into(), value: value.into(), ..PropertyOption::default() });
        self
    }

    fn body(&self) -> serde_json::Value {
        let mut body = json!({ "name": self.name, "label": self.label, "type": self.kind });
        if let Some(object) = body.as_object_mut() {
            if !self.options.is_empty() {
                let options: Vec<_> = self.options.iter().map(|option| json!({ "label": option.label, "value": option.value })).collect();
                object.insert("options".to_owned(), json!(options));
            }
            if let Some(name) = &self.object_property_name {
                object.insert("objectPropertyName".to_owned(), json!(name));
            }
        }
        body
    }
}

/// A template.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct EventTemplate {
    /// Its number, given by HubSpot; what [`TemplateEvent::template`](crate::hubspot::TemplateEvent::template) holds.
    pub id: String,
    /// What people see.
    pub name: String,
    /// `contacts`, `companies`, `deals`, `tickets`, or a custom object's type id. Fixed.
    pub object_type: String,
    /// The layout of an event in the timeline, with `{{token}}`s.
    pub header_template: Option<String>,
    /// The layout of its details.
    pub detail_template: Option<String>,
    /// Values that events carry; up to 500.
    pub tokens: Vec<TemplateToken>,
}

impl EventTemplate {
    /// A template without tokens.
    pub fn new(name: impl Into<String>, object_type: impl Into<String>) -> Self {
        Self { name: name.into(), object_type: object_type.into(), ..Self::default() }
    }

    /// Sets [`EventTemplate::header_template`].
    #[must_use]
    pub fn header(mut self, layout: impl Into<String>) -> Self {
        self.header_template = Some(layout.into());
        self
    }

    /// Sets [`EventTemplate::detail_template`].
    #[must_use]
    pub fn detail(mut self, layout: impl Into<String>) -> Self {
        self.detail_template = Some(layout.into());
        self
    }

    /// Adds a token.
    #[must_use]
    pub fn token(mut self, token: TemplateToken) -> Self {
        self.tokens.push(token);
        self
    }

    fn body(&self) -> Result<serde_json::Map<String, serde_json::Value>> {
        let words = ["date", "enumeration", "number", "string"];
        if self.name.is_empty() || self.tokens.len() > MOST_TOKENS {
            return Err(Error::config(format!("an event template needs a name and takes up to {MOST_TOKENS} tokens")));
        }
        if let Some(token) = self.tokens.iter().find(|token| !words.contains(&token.kind.as_str())) {
            return Err(Error::config(format!("the token {:?} of an event template must be one of {}", token.name, words.join(", "))));
        }
        let tokens: Vec<_> = self.tokens.iter().map(TemplateToken::body).collect();
        let mut body = serde_json::Map::from_iter([("name".to_owned(), json!(self.name)), ("tokens".to_owned(), json!(tokens))]);
        for (name, layout) in [("headerTemplate", &self.header_template), ("detailTemplate", &self.detail_template)] {
            if let Some(layout) = layout {
                body.insert(name.to_owned(), json!(layout));
            }
        }
        Ok(body)
    }
}

#[derive(Deserialize)]
struct Templates {
    #[serde(default = "Vec::new")]
    results: Vec<EventTemplate>,
}

/// HubSpot's conventions, with the developer key in the query.
#[derive(Debug)]
struct KeyDialect(HubSpotDialect);

impl Dialect for KeyDialect {
    fn name(&self) -> &'static str {
        "hubspot"
    }

    fn classify(&self, failure: Failure<'_>) -> Error {
        self.0.classify(failure)
    }

    fn query_credential(&self, token: &AccessToken) -> Option<(String, String)> {
        Some(("hapikey".to_owned(), token.secret().expose_secret().to_owned()))
    }

    fn authorize(&self, _: &AccessToken, _: &mut HeaderMap) -> Result<()> {
        Ok(())
    }
}

/// The event templates of one app. Cloning copies a few pointers.
#[derive(Clone, Debug)]
pub struct HubSpotTemplates {
    rest: Arc<Client<KeyDialect>>,
    limiter: HubSpotLimiter,
    base: String,
}

impl HubSpotTemplates {
    /// The templates of the app `app`, by the developer API key of the account it was made in. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the configured URL is none.
    pub fn new(config: &HubSpotConfig, app: u64, key: SecretString, transport: Arc<dyn HttpTransport>, host: Host) -> Result<Self> {
        let tokens: Arc<dyn TokenSource> = Arc::new(StaticToken::new(key, None));
        let rest = Client::new(transport, tokens, KeyDialect(HubSpotDialect::new(host.clone())), Some(config.base()?)).pinned(true);
        let base = format!("/integrators/timeline/v3/{app}/event-templates");
        Ok(Self { rest: Arc::new(rest), limiter: HubSpotLimiter::new(host), base })
    }

    async fn send(&self, call: &Call) -> Result<Answer> {
        self.limiter.turn(Lane::Api).await.map_err(|error| error.not_applied().during(call.operation))?;
        let answer = self.rest.send(call).await;
        if let Err(error) = &answer {
            self.limiter.refused(Lane::Api, error);
        }
        answer
    }

    fn at(&self, id: &str) -> String {
        format!("{}/{}", self.base, segment(id))
    }

    /// Every template of the app.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn all(&self) -> Result<Vec<EventTemplate>> {
        Ok(self.send(&Call::get("templates", self.base.clone())).await?.json::<Templates>()?.results)
    }

    /// One template, or `None`.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn get(&self, id: &str) -> Result<Option<EventTemplate>> {
        match self.send(&Call::get("templates", self.at(id))).await {
            Ok(answer) => answer.json().map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a template. Apps that have none yet may be refused: new ones cannot make any.
    ///
    /// # Errors
    /// As [`Client::send`]; [`ErrorKind::Config`] for a template that HubSpot would refuse, before it is asked.
    pub async fn create(&self, template: &EventTemplate) -> Result<EventTemplate> {
        let mut body = template.body().map_err(|error| error.during("templates"))?;
        body.insert("objectType".to_owned(), json!(template.object_type));
        self.send(&Call::post("templates", self.base.clone()).json(&body)?).await?.json()
    }

    /// Makes the template unless one of its name and object is there; one that is there gets the tokens it lacks and, where they
    /// differ, the layouts, and loses nothing. True if something was written. One request if nothing is missing; repeatable.
    ///
    /// # Errors
    /// As [`HubSpotTemplates::create`].
    pub async fn ensure(&self, wanted: &EventTemplate) -> Result<(EventTemplate, bool)> {
        wanted.body().map_err(|error| error.during("templates"))?;
        let same = |known: &EventTemplate| known.name == wanted.name && known.object_type.eq_ignore_ascii_case(&wanted.object_type);
        let Some(there) = self.all().await?.into_iter().find(same) else {
            return self.create(wanted).await.map(|made| (made, true));
        };
        let mut next = there.clone();
        next.header_template = wanted.header_template.clone().or(next.header_template);
        next.detail_template = wanted.detail_template.clone().or(next.detail_template);
        for token in &wanted.tokens {
            if !next.tokens.iter().any(|known| known.name == token.name) {
                next.tokens.push(token.clone());
            }
        }
        if next == there {
            return Ok((there, false));
        }
        self.replace(&next).await.map(|changed| (changed, true))
    }

    /// Writes name, layouts and tokens of a template: tokens that it does not name are gone.
    ///
    /// # Errors
    /// As [`HubSpotTemplates::create`].
    pub async fn replace(&self, template: &EventTemplate) -> Result<EventTemplate> {
        let mut body = template.body().map_err(|error| error.during("templates"))?;
        body.insert("id".to_owned(), json!(template.id));
        self.send(&Call::new("templates", Method::PUT, self.at(&template.id)).json(&body)?).await?.json()
    }

    /// Adds a token to a template.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn add_token(&self, template: &str, token: &TemplateToken) -> Result<TemplateToken> {
        self.send(&Call::post("templates", format!("{}/tokens", self.at(template))).json(&token.body())?).await?.json()
    }

    /// Takes a token out of a template. One that is gone is success.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn remove_token(&self, template: &str, name: &str) -> Result<()> {
        self.gone(format!("{}/tokens/{}", self.at(template), segment(name))).await
    }

    /// Deletes a template; its events stay without a layout. One that is gone is success.
    ///
    /// # Errors
    /// As [`Client::send`].
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.gone(self.at(id)).await
    }

    async fn gone(&self, path: String) -> Result<()> {
        match self.send(&Call::delete("templates", path)).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}
