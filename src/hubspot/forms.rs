//! Form submissions, which go to a host and have a limit of their own.
//!
//! A submission has no key: sent again it is a second one. [`HubSpot::submit_once`] looks for it first.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::auth::{AccessToken, StaticToken, TokenSource};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::hubspot::client::HubSpot;
use crate::hubspot::dialect::{HubSpotDialect, plain};
use crate::hubspot::limiter::Lane;
use crate::hubspot::paths::segment;
use crate::hubspot::record::Paging;
use crate::rest::{Call, Client, Dialect, Failure};

/// The oldest submission HubSpot takes.
const OLDEST: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Pages of 50 looked through for an earlier submission.
const LOOK_BACK: usize = 20;

/// A filled-in form.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FormSubmission {
    /// The form's GUID.
    pub form: String,
    /// Object type id, property and value; 1 to 1,000.
    pub fields: Vec<(String, String, String)>,
    /// When it was filled in, at most a month ago. Makes it recognisable: see [`HubSpot::submit_once`].
    pub at: Option<Timestamp>,
    /// `pageUri`, `pageName`, `hutk`, `ipAddress` and others; empty values are left out, as HubSpot refuses them.
    pub context: Vec<(String, String)>,
    /// `legalConsentOptions`, as HubSpot's guide shows them.
    pub consent: Option<Value>,
}

impl FormSubmission {
    /// An empty form.
    pub fn new(form: impl Into<String>) -> Self {
        Self { form: form.into(), fields: Vec::new(), at: None, context: Vec::new(), consent: None }
    }

    /// Adds a property of the contact.
    #[must_use]
    pub fn field(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.field_of("0-1", name, value)
    }

    /// Adds a property of another object, by its type id.
    #[must_use]
    pub fn field_of(mut self, object: impl Into<String>, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.fields.push((object.into(), name.into(), value.into()));
        self
    }

    /// Sets [`FormSubmission::at`].
    #[must_use]
    pub fn at(mut self, at: Timestamp) -> Self {
        self.at = Some(at);
        self
    }

    /// Adds to [`FormSubmission::context`].
    #[must_use]
    pub fn context(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.context.push((name.into(), value.into()));
        self
    }

    /// Sets [`FormSubmission::consent`].
    #[must_use]
    pub fn consent(mut self, consent: Value) -> Self {
        self.consent = Some(consent);
        self
    }

    fn email(&self) -> Option<&str> {
        self.fields.iter().find(|(_, name, _)| name == "email").map(|(.., value)| value.as_str())
    }

    fn body(&self, now: Timestamp) -> Result<Value> {
        if self.fields.is_empty() || self.fields.len() > 1_000 {
            return Err(Error::config("a form submission holds 1 to 1,000 fields"));
        }
        let fields: Vec<Value> =
            self.fields.iter().map(|(object, name, value)| json!({ "objectTypeId": object, "name": name, "value": value })).collect();
        let mut body = json!({ "fields": fields });
        let Some(whole) = body.as_object_mut() else { return Ok(body) };
        if let Some(at) = self.at {
            if now.duration_since(at) > OLDEST {
                return Err(Error::new(ErrorKind::Validation, "hubspot takes no form submission older than a month"));
            }
            whole.insert("submittedAt".to_owned(), json!(at.as_millisecond().to_string()));
        }
        let context: serde_json::Map<String, Value> =
            self.context.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.clone(), json!(value))).collect();
        if !context.is_empty() {
            whole.insert("context".to_owned(), Value::Object(context));
        }
        if let Some(consent) = &self.consent {
            whole.insert("legalConsentOptions".to_owned(), consent.clone());
        }
        Ok(body)
    }
}

/// A submission as HubSpot keeps it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct FormEntry {
    /// Milliseconds since 1970.
    pub submitted_at: i64,
    /// Names and values.
    #[serde(default)]
    pub values: Vec<FormValue>,
    /// Where.
    #[serde(default)]
    pub page_url: Option<String>,
}

/// One value of a submission.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct FormValue {
    /// The field.
    pub name: String,
    /// Its value.
    #[serde(default)]
    pub value: Value,
}

#[derive(Deserialize)]
struct Entries {
    #[serde(default = "Vec::new")]
    results: Vec<FormEntry>,
    #[serde(default)]
    paging: Option<Paging>,
}

/// As HubSpot's, without a token where none is wanted.
#[derive(Debug)]
struct FormsDialect {
    inner: HubSpotDialect,
    secure: bool,
}

impl Dialect for FormsDialect {
    fn name(&self) -> &'static str {
        "hubspot"
    }

    fn classify(&self, failure: Failure<'_>) -> Error {
        let error = self.inner.classify(failure);
        // The body may be plain text; after ten refusals within a second the address is blocked for a minute.
        match (failure.status.as_u16(), error.retry_after()) {
            (429, None) => error.retrying(Retry::After(Duration::from_secs(10))),
            _ => error,
        }
    }

    fn session_expired(&self, failure: Failure<'_>) -> bool {
        self.secure && self.inner.session_expired(failure)
    }

    fn authorize(&self, token: &AccessToken, headers: &mut HeaderMap) -> Result<()> {
        if self.secure { self.inner.authorize(token, headers) } else { Ok(()) }
    }
}

impl HubSpot {
    /// Submits a form: with the token if `secure` (scope `forms`), else as any visitor would. Not repeatable.
    ///
    /// # Errors
    /// See [`HubSpot`]; [`ErrorKind::Config`] without a `portal_id`; [`ErrorKind::Validation`] with the fields HubSpot refuses.
    pub async fn submit_form(&self, submission: &FormSubmission, secure: bool) -> Result<()> {
        let portal = self.config.portal_id.as_deref();
        let portal = portal.ok_or_else(|| Error::config("form submissions need the portal_id of the account"))?;
        let kind = if secure { "secure/submit" } else { "submit" };
        let path = format!("/submissions/v3/integration/{kind}/{}/{}", segment(portal), segment(&submission.form));
        let call = Call::post("submit", path).json(&submission.body(self.host.now())?)?;
        let tokens: Arc<dyn TokenSource> =
            if secure { Arc::clone(self.rest.tokens()) } else { Arc::new(StaticToken::new(SecretString::from(""), None)) };
        let dialect = FormsDialect { inner: self.dialect().clone(), secure };
        let client = Client::new(Arc::clone(self.transport()), tokens, dialect, Some(self.config.forms()?)).pinned(true);
        if let Some(limiter) = self.limiter() {
            limiter.turn(Lane::Forms).await.map_err(|error| error.not_applied().during("submit"))?;
        }
        let answer = client.send(&call).await;
        if let (Err(error), Some(limiter)) = (&answer, self.limiter()) {
            limiter.refused(Lane::Forms, error);
        }
        answer.map(|_| ())
    }

    /// Submits a form unless the same address submitted it at the same moment before: up to 1,000 of its latest submissions are
    /// looked through. True if it was sent. Needs [`FormSubmission::at`] and an `email` among the fields.
    ///
    /// # Errors
    /// As [`HubSpot::submit_form`]; [`ErrorKind::Config`] without time or address, or if more than 1,000 came after that moment.
    pub async fn submit_once(&self, submission: &FormSubmission, secure: bool) -> Result<bool> {
        let (Some(at), Some(email)) = (submission.at, submission.email()) else {
            return Err(Error::config("a submission is recognised by its time and its email; it lacks one").during("submit"));
        };
        let at = at.as_millisecond();
        let mut after: Option<String> = None;
        // The newest come first as far as is known: a form whose entries are in another order is not left early.
        let (mut newest_first, mut last) = (true, i64::MAX);
        for page in 0.. {
            let entries = self.form_entries(&submission.form, after.as_deref()).await?;
            for entry in &entries.0 {
                newest_first &= entry.submitted_at <= last;
                last = entry.submitted_at;
            }
            let same = |entry: &FormEntry| {
                let texts = entry.values.iter().filter(|value| value.name == "email").filter_map(|value| plain(&value.value));
                entry.submitted_at == at && texts.into_iter().any(|text| text.eq_ignore_ascii_case(email))
            };
            if entries.0.iter().any(same) {
                return Ok(false);
            }
            let past = newest_first && !entries.0.is_empty() && entries.0.iter().all(|entry| entry.submitted_at < at);
            if past || entries.1.is_none() {
                break;
            }
            if page >= LOOK_BACK {
                return Err(Error::config("the form has more than 1,000 later submissions: whether this one is among them is not known"));
            }
            after = entries.1;
        }
        self.submit_form(submission, secure).await.map(|()| true)
    }

    /// A page of a form's submissions, up to 50, and where to go on.
    ///
    /// # Errors
    /// See [`HubSpot`].
    pub async fn form_entries(&self, form: &str, after: Option<&str>) -> Result<(Vec<FormEntry>, Option<String>)> {
        let mut path = format!("/form-integrations/v1/submissions/forms/{}?limit=50", segment(form));
        if let Some(after) = after {
            path = format!("{path}&after={}", segment(after));
        }
        let entries: Entries = self.send(&Call::get("submissions", path)).await?.json()?;
        let next = Paging::after(entries.paging.as_ref()).filter(|next| Some(next.as_str()) != after);
        Ok((entries.results, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_context_is_left_out_and_old_forms_are_refused() {
        let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
        let form = FormSubmission::new("g").field("email", "a@b.test").context("hutk", "").context("pageUri", "https://x.test");
        let body = form.clone().at(now).body(now).unwrap();
        assert_eq!(body["context"], json!({"pageUri": "https://x.test"}));
        assert_eq!(body["submittedAt"], json!("1795510800000"));
        assert_eq!(body["fields"], json!([{"objectTypeId": "0-1", "name": "email", "value": "a@b.test"}]));
        let old = form.at("2026-10-01T00:00:00Z".parse().unwrap()).body(now).unwrap_err();
        assert_eq!(old.kind(), ErrorKind::Validation);
        assert!(FormSubmission::new("g").body(now).is_err(), "nothing filled in");
    }
}
