//! Timeline events, in two models that do not mix.
//!
//! Templates ([`TemplateEvent`]) exist only for apps that have some already: new apps cannot make them, private apps never could.
//! Apps of the developer projects have event types of their own ([`AppEvent`]), under a dated path. Neither kind can be changed
//! once it is told, and an id is told once.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::dialect::Complaint;
use crate::hubspot::limits::BATCH_LIMIT;
use crate::model::RecordId;
use crate::rest::Call;

/// Whose timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Whose {
    /// The company of this domain.
    Domain(String),
    /// The contact of this address; an unknown one is made.
    Email(String),
    /// The record.
    Record(RecordId),
    /// The contact of this tracking cookie.
    Utk(String),
}

impl Whose {
    fn put(&self, body: &mut Map<String, Value>) {
        let (name, value) = match self {
            Self::Domain(domain) => ("domain", domain.as_str()),
            Self::Email(email) => ("email", email.as_str()),
            Self::Record(id) => ("objectId", id.as_str()),
            Self::Utk(utk) => ("utk", utk.as_str()),
        };
        body.insert(name.to_owned(), json!(value));
    }
}

/// An event of a template.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TemplateEvent {
    /// The template's id: a number, not a name.
    pub template: String,
    /// The host's id of the event: it is told once.
    pub id: String,
    /// Whose timeline.
    pub whose: Whose,
    /// When; now, if left out.
    pub at: Option<Timestamp>,
    /// Values of the template's tokens. Sent as texts; dates in milliseconds.
    pub tokens: Vec<(String, String)>,
    /// More data for the template's `{{extraData}}`.
    pub extra: Option<Value>,
}

impl TemplateEvent {
    /// An event without tokens.
    pub fn new(template: impl Into<String>, id: impl Into<String>, whose: Whose) -> Self {
        Self { template: template.into(), id: id.into(), whose, at: None, tokens: Vec::new(), extra: None }
    }

    /// Sets [`TemplateEvent::at`].
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// Adds a token.
    #[must_use]
    pub fn token(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.tokens.push((name.into(), text(value.into())));
        self
    }

    fn body(&self) -> Result<Value> {
        if self.template.is_empty() || !self.template.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Error::config(
                "a timeline template is named by its number, not by a name; apps that have no templates cannot make any: use app events",
            ));
        }
        let tokens: Map<String, Value> = self.tokens.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        Ok(whole(("eventTemplateId", &self.template), &self.id, &self.whose, ("tokens", tokens), self.at, self.extra.as_ref()))
    }
}

/// An event of a type that an app of the developer projects defines.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AppEvent {
    /// The type's full name, see [`HubSpot::app_event_type`].
    pub kind: String,
    /// The host's id of the event: it is told once.
    pub id: String,
    /// Whose timeline.
    pub whose: Whose,
    /// When; now, if left out.
    pub at: Option<Timestamp>,
    /// Values of the type's properties.
    pub properties: Vec<(String, String)>,
    /// More data.
    pub extra: Option<Value>,
}

impl AppEvent {
    /// An event without properties.
    pub fn new(kind: impl Into<String>, id: impl Into<String>, whose: Whose) -> Self {
        Self { kind: kind.into(), id: id.into(), whose, at: None, properties: Vec::new(), extra: None }
    }

    /// Sets [`AppEvent::at`].
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// Adds a property.
    #[must_use]
    pub fn property(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.properties.push((name.into(), text(value.into())));
        self
    }

    fn body(&self) -> Result<Value> {
        if self.kind.is_empty() || self.id.is_empty() {
            return Err(Error::config("an app event needs its type's full name and an id"));
        }
        let properties: Map<String, Value> = self.properties.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        Ok(whole(("eventTypeName", &self.kind), &self.id, &self.whose, ("properties", properties), self.at, self.extra.as_ref()))
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) => text,
        other => other.to_string(),
    }
}

fn whole(
    kind: (&str, &str),
    id: &str,
    whose: &Whose,
    values: (&str, Map<String, Value>),
    at: Option<Timestamp>,
    extra: Option<&Value>,
) -> Value {
    let mut body = Map::new();
    body.insert(kind.0.to_owned(), json!(kind.1));
    if !id.is_empty() {
        body.insert("id".to_owned(), json!(id));
    }
    whose.put(&mut body);
    body.insert(values.0.to_owned(), Value::Object(values.1));
    if let Some(at) = at {
        body.insert("timestamp".to_owned(), json!(at.to_string()));
    }
    if let Some(extra) = extra {
        body.insert("extraData".to_owned(), extra.clone());
    }
    Value::Object(body)
}

#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    errors: Vec<Complaint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeName {
    fully_qualified_name: String,
}

const TEMPLATES: &str = "/integrators/timeline/v3/events";

impl HubSpot {
    /// Tells an event of a template. True if it is new, false if its id was told before.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Config`] for a template that is not named by its number.
    pub async fn tell(&self, event: &TemplateEvent) -> Result<bool> {
        self.tell_one(TEMPLATES, &event.body()?).await
    }

    /// Tells many events of templates, 100 for each request. Repeatable where every event has an id.
    ///
    /// # Errors
    /// As [`HubSpot::tell`]; the first error inside an answer, after which later requests were not sent.
    pub async fn tell_all(&self, events: &[TemplateEvent]) -> Result<()> {
        let bodies = events.iter().map(TemplateEvent::body).collect::<Result<Vec<_>>>()?;
        self.tell_many(&format!("{TEMPLATES}/batch/create"), &bodies).await
    }

    /// Tells an event of an app's own type. True if it is new, false if the same was told before.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn tell_app_event(&self, event: &AppEvent) -> Result<bool> {
        self.tell_one(self.config.api_version.app_events(), &event.body()?).await
    }

    /// Tells many events of an app's own types, 100 for each request. Repeatable.
    ///
    /// # Errors
    /// See [`HubSpot`]; the first error inside an answer, after which later requests were not sent.
    pub async fn tell_app_events(&self, events: &[AppEvent]) -> Result<()> {
        let bodies = events.iter().map(AppEvent::body).collect::<Result<Vec<_>>>()?;
        self.tell_many(&format!("{}/batch", self.config.api_version.app_events()), &bodies).await
    }

    /// The full name of an event type, by the project's name and the type's own.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn app_event_type(&self, project: &str, symbol: &str) -> Result<String> {
        let path = self.config.api_version.app_events().replace("/events", "/types/projects");
        let call = Call::post("timeline", path).read_only().json(&json!({ "projectName": project, "developerSymbol": symbol }))?;
        Ok(self.send(&call).await?.json::<TypeName>()?.fully_qualified_name)
    }

    async fn tell_one(&self, path: &str, body: &Value) -> Result<bool> {
        match self.send(&Call::post("timeline", path).json(body)?).await {
            // App events that were told before answer 200 instead of 201.
            Ok(answer) => Ok(answer.status() != http::StatusCode::OK),
            Err(error) if error.kind() == ErrorKind::Duplicate => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn tell_many(&self, path: &str, bodies: &[Value]) -> Result<()> {
        for chunk in bodies.chunks(BATCH_LIMIT) {
            let answer = self.send(&Call::post("timeline", path).json(&json!({ "inputs": chunk }))?).await?;
            if answer.bytes().is_empty() {
                continue;
            }
            let told: Told = answer.json()?;
            let mut errors = told.errors.iter().map(|complaint| complaint.error(None));
            if let Some(error) = errors.find(|error| error.kind() != ErrorKind::Duplicate) {
                return Err(error.during("timeline"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_numbers() {
        let event = |template: &str| TemplateEvent::new(template, "e1", Whose::Record("7".into())).token("openCount", 3);
        assert_eq!(event("email_opened").body().unwrap_err().kind(), ErrorKind::Config);
        let body = event("1001").body().unwrap();
        assert_eq!(body, json!({"eventTemplateId": "1001", "id": "e1", "objectId": "7", "tokens": {"openCount": "3"}}));
    }

    #[test]
    fn app_events_have_another_shape() {
        let at = "2026-03-01T10:00:00Z".parse().unwrap();
        let body = AppEvent::new("app_1_opened", "e1", Whose::Email("a@b.test".into())).property("subject", "Hi").at(at).body().unwrap();
        let wanted = json!({"eventTypeName": "app_1_opened", "id": "e1", "email": "a@b.test", "properties": {"subject": "Hi"},
            "timestamp": "2026-03-01T10:00:00Z"});
        assert_eq!(body, wanted);
        assert!(AppEvent::new("x", "", Whose::Utk("u".into())).body().is_err());
    }
}
