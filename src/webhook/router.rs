//! Events handed to closures by their type.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::future::Future;
use std::sync::{Mutex, PoisonError};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::error::{Error, Result};
use crate::webhook::event::WebhookEvent;

type Handler<'h> = Box<dyn Fn(WebhookEvent) -> BoxFuture<'h, Result<()>> + Send + Sync + 'h>;

/// So many different unknown types are counted by name; what comes on top is counted together, as a sender may invent types
/// without end.
const MOST_UNKNOWN: usize = 64;

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dispatched {
    /// A handler ran.
    Handled,
    /// No handler is registered for its type; it was counted, and given to [`Router::otherwise`] if there is one.
    Unknown,
}

/// A lead became a contact. Event type `lead.converted`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LeadConverted {
    /// The lead.
    #[serde(deserialize_with = "id")]
    pub lead_id: String,
    /// The contact it became.
    #[serde(default, deserialize_with = "maybe_id")]
    pub contact_id: Option<String>,
    /// The opportunity that was made, if any.
    #[serde(default, deserialize_with = "maybe_id")]
    pub opportunity_id: Option<String>,
    /// When.
    #[serde(default, rename = "timestamp")]
    pub converted_at: Option<Timestamp>,
}

/// A deal was won. Event type `deal.won`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DealWon {
    /// The deal.
    #[serde(deserialize_with = "id")]
    pub deal_id: String,
    /// Its value, exact.
    #[serde(default, deserialize_with = "amount")]
    pub amount: Option<Decimal>,
    /// When it was closed, in the sender's words: a date or a time.
    #[serde(default)]
    pub close_date: Option<String>,
    /// Who was involved.
    #[serde(default, deserialize_with = "ids")]
    pub contact_ids: Vec<String>,
}

/// A contact changed. Event type `contact.updated`.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ContactUpdated {
    /// The contact.
    #[serde(deserialize_with = "id")]
    pub contact_id: String,
    /// The names of the fields that changed.
    #[serde(default)]
    pub changes: Vec<String>,
    /// Its address.
    #[serde(default)]
    pub email: Option<String>,
    /// Whether it wants no e-mail.
    #[serde(default)]
    pub email_opt_out: Option<bool>,
}

/// Never the address.
impl Debug for ContactUpdated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContactUpdated").field("contact_id", &self.contact_id).field("changes", &self.changes).finish_non_exhaustive()
    }
}

/// A contact asked for e-mail, or to be left alone: `contact.updated` whose changes name `email_opt_out`.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct OptOutChange {
    /// The contact.
    pub contact_id: String,
    /// Its address, if the event tells.
    pub email: Option<String>,
    /// Whether it wants no e-mail.
    pub opted_out: bool,
}

/// Never the address.
impl Debug for OptOutChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OptOutChange").field("contact_id", &self.contact_id).field("opted_out", &self.opted_out).finish_non_exhaustive()
    }
}

/// Hands events to closures by their type. It runs nothing by itself: [`Router::dispatch`] returns the handler's future.
///
/// ```
/// use crm_sync::webhook::{Dispatched, LeadConverted, Router, WebhookEvent};
///
/// # async fn run() -> crm_sync::error::Result<()> {
/// let router = Router::new().on_lead_converted(|lead: LeadConverted| async move {
///     assert_eq!(lead.lead_id, "00Q1");
///     Ok(())
/// });
/// let event = WebhookEvent::new("lead.converted", serde_json::json!({"leadId": "00Q1"}));
/// assert_eq!(router.dispatch(event).await?, Dispatched::Handled);
/// assert_eq!(router.dispatch(WebhookEvent::new("lead.painted", serde_json::json!({}))).await?, Dispatched::Unknown);
/// assert_eq!(router.unknown().get("lead.painted"), Some(&1));
/// # Ok(()) }
/// # futures_util::FutureExt::now_or_never(run()).unwrap().unwrap();
/// ```
#[derive(Default)]
pub struct Router<'h> {
    handlers: BTreeMap<String, Vec<Handler<'h>>>,
    otherwise: Option<Handler<'h>>,
    unknown: Mutex<BTreeMap<String, u64>>,
}

impl Debug for Router<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("kinds", &self.handlers.keys()).field("otherwise", &self.otherwise.is_some()).finish_non_exhaustive()
    }
}

impl<'h> Router<'h> {
    /// No handler.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `handler` for events of `kind`; several handlers of one kind run one after the other, in the order they were
    /// registered, until one fails.
    #[must_use]
    pub fn on<F, R>(mut self, kind: impl Into<String>, handler: F) -> Self
    where
        F: Fn(WebhookEvent) -> R + Send + Sync + 'h,
        R: Future<Output = Result<()>> + Send + 'h,
    {
        self.handlers.entry(kind.into()).or_default().push(Box::new(move |event| Box::pin(handler(event))));
        self
    }

    /// Runs `handler` for events of `kind`, whose data is read as `T`. Data that does not fit is
    /// [`crate::error::ErrorKind::Decode`] of [`Router::dispatch`].
    #[must_use]
    pub fn on_typed<T, F, R>(self, kind: impl Into<String>, handler: F) -> Self
    where
        T: DeserializeOwned + Send + 'h,
        F: Fn(T) -> R + Send + Sync + 'h,
        R: Future<Output = Result<()>> + Send + 'h,
    {
        self.on(kind, move |event: WebhookEvent| {
            let read = typed::<T>(event).map(&handler);
            async move { read?.await }
        })
    }

    /// `lead.converted`.
    #[must_use]
    pub fn on_lead_converted<F, R>(self, handler: F) -> Self
    where
        F: Fn(LeadConverted) -> R + Send + Sync + 'h,
        R: Future<Output = Result<()>> + Send + 'h,
    {
        self.on("lead.converted", move |event: WebhookEvent| {
            let at = event.at;
            let read = typed::<LeadConverted>(event).map(|mut lead| {
                lead.converted_at = lead.converted_at.or(at);
                handler(lead)
            });
            async move { read?.await }
        })
    }

    /// `deal.won`.
    #[must_use]
    pub fn on_deal_won<F, R>(self, handler: F) -> Self
    where
        F: Fn(DealWon) -> R + Send + Sync + 'h,
        R: Future<Output = Result<()>> + Send + 'h,
    {
        self.on_typed("deal.won", handler)
    }

    /// `contact.updated`.
    #[must_use]
    pub fn on_contact_updated<F, R>(self, handler: F) -> Self
    where
        F: Fn(ContactUpdated) -> R + Send + Sync + 'h,
        R: Future<Output = Result<()>> + Send + 'h,
    {
        self.on_typed("contact.updated", handler)
    }

    /// `contact.updated`, if `email_opt_out` is among the changes and its new value is told.
    #[must_use]
    pub fn on_opt_out<F, R>(self, handler: F) -> Self
    where
        F: Fn(OptOutChange) -> R + Send + Sync + 'h,
        R: Future<Output = Result<()>> + Send + 'h,
    {
        self.on("contact.updated", move |event: WebhookEvent| {
            let running = typed::<ContactUpdated>(event).map(|contact| {
                let changed = contact.changes.iter().any(|name| name.eq_ignore_ascii_case("email_opt_out") || name == "emailOptOut");
                let opted_out = contact.email_opt_out.filter(|_| changed);
                opted_out.map(|opted_out| handler(OptOutChange { contact_id: contact.contact_id, email: contact.email, opted_out }))
            });
            async move {
                match running? {
                    Some(running) => running.await,
                    None => Ok(()),
                }
            }
        })
    }

    /// Runs `handler` for events of types nobody registered.
    #[must_use]
    pub fn otherwise<F, R>(mut self, handler: F) -> Self
    where
        F: Fn(WebhookEvent) -> R + Send + Sync + 'h,
        R: Future<Output = Result<()>> + Send + 'h,
    {
        self.otherwise = Some(Box::new(move |event| Box::pin(handler(event))));
        self
    }

    /// Gives `event` to the handlers of its type.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] if the data does not fit a typed handler; else what the handler says. Dropping the
    /// future drops the handler's where it was.
    pub async fn dispatch(&self, event: WebhookEvent) -> Result<Dispatched> {
        let Some(handlers) = self.handlers.get(&event.kind) else {
            self.count(&event.kind);
            if let Some(handler) = &self.otherwise {
                handler(event).await?;
            }
            return Ok(Dispatched::Unknown);
        };
        for handler in handlers {
            handler(event.clone()).await?;
        }
        Ok(Dispatched::Handled)
    }

    /// How many events of which type found no handler; past 64 types the rest stands under `other`.
    pub fn unknown(&self) -> BTreeMap<String, u64> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, kind: &str) {
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let known = unknown.contains_key(kind) || unknown.len() < MOST_UNKNOWN;
        *unknown.entry(if known { kind } else { "other" }.to_owned()).or_default() += 1;
    }
}

fn typed<T: DeserializeOwned>(event: WebhookEvent) -> Result<T> {
    serde_json::from_value(event.data).map_err(|error| {
        // serde's text may quote a value: its class is told, and the names of members alone.
        let text = error.to_string();
        let place =
            text.strip_prefix("missing field ").map_or_else(|| "a member has another type".to_owned(), |name| format!("{name} is missing"));
        Error::decode(format!("the data of the webhook event {:?} does not fit: {place}", event.kind))
    })
}

/// Ids are texts or whole numbers, by sender.
#[derive(Deserialize)]
#[serde(untagged)]
enum Id {
    Number(i64),
    Text(String),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Number(number) => number.to_string(),
            Id::Text(text) => text,
        }
    }
}

fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Id::deserialize(deserializer).map(Into::into)
}

fn maybe_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<Id>::deserialize(deserializer)?.map(Into::into))
}

fn ids<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::<Vec<Id>>::deserialize(deserializer)?.unwrap_or_default().into_iter().map(Into::into).collect())
}

/// Money as text or number, without a detour through binary fractions where the sender wrote a text.
fn amount<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Decimal>, D::Error> {
    let number = Option::<serde_json::Value>::deserialize(deserializer)?;
    let text = match number {
        None | Some(serde_json::Value::Null) => return Ok(None),
        Some(serde_json::Value::String(text)) => text,
        Some(number) => number.to_string(),
    };
    let read = text.trim().parse().or_else(|_| Decimal::from_scientific(text.trim()));
    read.map(Some).map_err(|_| serde::de::Error::custom("an amount"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use serde_json::json;

    use super::*;

    fn run(router: &Router<'_>, kind: &str, data: serde_json::Value) -> Result<Dispatched> {
        router.dispatch(WebhookEvent::new(kind, data)).now_or_never().unwrap()
    }

    #[test]
    fn the_guides_three_events() {
        let seen = Arc::new(Mutex::new(Vec::<String>::new()));
        let note = |text: String| seen.lock().unwrap().push(text);
        let router = Router::new()
            .on_deal_won(|deal| {
                note(format!("{} {:?} {:?}", deal.deal_id, deal.amount, deal.contact_ids));
                async { Ok(()) }
            })
            .on_opt_out(|change| {
                note(format!("{} {}", change.contact_id, change.opted_out));
                async { Ok(()) }
            });
        assert_eq!(run(&router, "deal.won", json!({"dealId": 7, "amount": "10.10", "contactIds": [1, "b"]})).unwrap(), Dispatched::Handled);
        run(&router, "deal.won", json!({"dealId": "8", "amount": 0.3})).unwrap();
        run(&router, "contact.updated", json!({"contactId": "c", "changes": ["email_opt_out"], "emailOptOut": true})).unwrap();
        run(&router, "contact.updated", json!({"contactId": "c", "changes": ["name"], "emailOptOut": true})).unwrap();
        assert_eq!(*seen.lock().unwrap(), [r#"7 Some(10.10) ["1", "b"]"#, "8 Some(0.3) []", "c true"]);
    }

    #[test]
    fn an_unknown_type_is_counted_and_handed_on() {
        let count = Arc::new(AtomicUsize::new(0));
        let hook = Arc::clone(&count);
        let router = Router::new().otherwise(move |_| {
            hook.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        });
        for at in 0..100 {
            assert_eq!(run(&router, &format!("kind.{at}"), json!({})).unwrap(), Dispatched::Unknown);
        }
        assert_eq!(count.load(Ordering::Relaxed), 100);
        let unknown = router.unknown();
        assert_eq!((unknown.len(), unknown["other"], unknown["kind.0"]), (65, 36, 1));
    }

    #[test]
    fn data_that_does_not_fit_is_told_without_its_values() {
        let router = Router::new().on_deal_won(|_| async { Ok(()) });
        let error = run(&router, "deal.won", json!({"dealId": {"canary": 1}})).unwrap_err();
        assert!(!error.to_string().contains("canary"));
        let error = run(&router, "deal.won", json!({})).unwrap_err();
        assert_eq!(error.message(), "the data of the webhook event \"deal.won\" does not fit: `dealId` is missing");
    }

    #[test]
    fn handlers_of_one_type_run_in_order_until_one_fails() {
        let seen = Mutex::new(Vec::new());
        let router = Router::new()
            .on("a", |_| {
                seen.lock().unwrap().push(1);
                async { Ok(()) }
            })
            .on("a", |_| async { Err(Error::config("no")) })
            .on("a", |_| {
                seen.lock().unwrap().push(3);
                async { Ok(()) }
            });
        assert!(run(&router, "a", json!({})).is_err());
        assert_eq!(*seen.lock().unwrap(), [1]);
    }
}
