//! Events read out of a verified body.

use std::fmt::{self, Debug};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::{Change, ChangeKind, Entity, EventId, RecordId, parse_datetime};
use crate::webhook::api::Verified;

/// One event of a delivery.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct WebhookEvent {
    /// Its type in the sender's words, e.g. `lead.converted`, `contact.propertyChange`, `deal.change`.
    pub kind: String,
    /// The sender's id of the event; not every sender's ids are unique.
    pub id: Option<EventId>,
    /// When it happened, by the sender's clock.
    pub at: Option<Timestamp>,
    /// Which record it is about, as far as the event tells. A hint: read the record again where order matters.
    pub change: Option<Change>,
    /// The event's own data, as it came.
    pub data: Value,
}

/// Type, id, time and record, never the data.
impl Debug for WebhookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.change.as_ref().map(|change| (&change.entity, &change.id));
        f.debug_struct("WebhookEvent")
            .field("kind", &self.kind)
            .field("id", &self.id)
            .field("at", &self.at)
            .field("record", &record)
            .finish_non_exhaustive()
    }
}

impl WebhookEvent {
    /// An event of `kind` with `data`, nothing else known.
    pub fn new(kind: impl Into<String>, data: Value) -> Self {
        Self { kind: kind.into(), id: None, at: None, change: None, data }
    }
}

/// Reads the events out of a body. It is object-safe.
pub trait EventFormat: Debug + Send + Sync {
    /// The events, in the order of the body.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] with the place of what does not fit; never a value.
    fn events(&self, verified: &Verified<'_>) -> Result<Vec<WebhookEvent>>;
}

/// A JSON body whose members are named by data. The default reads the guide's form:
/// `{"type": "lead.converted", "id": …, "timestamp": …, "data": {…}}`, or a list of such events.
///
/// Each member is named by a JSON pointer (RFC 6901) from the event, e.g. `/meta/action`; an empty text means "there is none".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct JsonEvents {
    /// Where the list of events is; empty: the body itself, a list or a single event.
    pub events: String,
    /// The type of an event; several members are joined by a dot (`/meta/entity`, `/meta/action` gives `deal.change`).
    pub kind: Vec<String>,
    /// The sender's id of the event.
    pub id: String,
    /// When it happened: RFC 3339, or seconds or milliseconds since 1970.
    pub at: String,
    /// The event's data; empty: the event itself.
    pub data: String,
    /// The entity of the record, in the CRM's spelling.
    pub entity: String,
    /// The id of the record: text or a whole number.
    pub record: String,
}

impl Default for JsonEvents {
    fn default() -> Self {
        Self {
            events: String::new(),
            kind: vec!["/type".to_owned()],
            id: "/id".to_owned(),
            at: "/timestamp".to_owned(),
            data: "/data".to_owned(),
            entity: String::new(),
            record: String::new(),
        }
    }
}

impl JsonEvents {
    /// Checks the pointers.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] naming the one that is no JSON pointer, or that no member gives the type.
    pub fn validate(&self) -> Result<()> {
        if self.kind.is_empty() {
            return Err(Error::config("no member of a webhook event is named as its type"));
        }
        let all = [&self.events, &self.id, &self.at, &self.data, &self.entity, &self.record].into_iter().chain(&self.kind);
        match all.into_iter().find(|pointer| !pointer.is_empty() && !pointer.starts_with('/')) {
            Some(pointer) => Err(Error::config(format!("{pointer:?} is not a JSON pointer: it must begin with a slash"))),
            None => Ok(()),
        }
    }

    fn event(&self, event: Value, at: usize) -> Result<WebhookEvent> {
        let place = |pointer: &str| format!("event {at}{pointer}");
        let mut kind = String::new();
        for pointer in &self.kind {
            let part = event.pointer(pointer).and_then(Value::as_str);
            let part = part.ok_or_else(|| Error::decode(format!("the webhook has no text at {}", place(pointer))))?;
            if !kind.is_empty() {
                kind.push('.');
            }
            kind.push_str(part);
        }
        let member = |pointer: &str| if pointer.is_empty() { None } else { event.pointer(pointer) };
        let id = member(&self.id).and_then(plain).map(EventId::new);
        let time = member(&self.at).and_then(moment);
        let entity = member(&self.entity).and_then(Value::as_str).filter(|text| !text.is_empty());
        let record = member(&self.record).and_then(plain);
        let change = entity.zip(record).map(|(entity, record)| {
            let mut change = Change::new(Entity::new(entity), RecordId::new(record), kind_of(&kind));
            (change.at, change.event) = (time, id.clone());
            change
        });
        let data = if self.data.is_empty() { event } else { event.pointer(&self.data).cloned().unwrap_or(Value::Null) };
        Ok(WebhookEvent { kind, id, at: time, change, data })
    }
}

impl EventFormat for JsonEvents {
    fn events(&self, verified: &Verified<'_>) -> Result<Vec<WebhookEvent>> {
        let mut body: Value = serde_json::from_slice(verified.body())
            .map_err(|error| Error::decode(format!("the webhook is not JSON: line {}, column {}", error.line(), error.column())))?;
        let list = if self.events.is_empty() { Some(&mut body) } else { body.pointer_mut(&self.events) };
        let list = list.ok_or_else(|| Error::decode(format!("the webhook has no events at {}", self.events)))?;
        match list.take() {
            Value::Array(events) => events.into_iter().enumerate().map(|(at, event)| self.event(event, at)).collect(),
            event @ Value::Object(_) => Ok(vec![self.event(event, 0)?]),
            _ => Err(Error::decode("the webhook is neither an event nor a list of events")),
        }
    }
}

/// What the last word of an event's type says about the record; most senders use one of a few.
fn kind_of(kind: &str) -> ChangeKind {
    let word = kind.rsplit(['.', ':', '/']).next().unwrap_or(kind).to_ascii_lowercase();
    match word.as_str() {
        "added" | "create" | "created" | "creation" | "insert" | "inserted" | "new" => ChangeKind::Created,
        "delete" | "deleted" | "deletion" | "destroyed" | "removed" => ChangeKind::Deleted,
        "restore" | "restored" | "undelete" | "undeleted" => ChangeKind::Restored,
        _ => ChangeKind::Updated,
    }
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => {
            number.as_i64().map(|number| number.to_string()).or_else(|| number.as_u64().map(|number| number.to_string()))
        }
        _ => None,
    }
}

/// A time as senders write it. Whole numbers past the year 5138 in seconds are milliseconds.
pub(crate) fn moment(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => parse_datetime(text),
        Value::Number(number) => {
            let number = number.as_i64()?;
            let read =
                if number.unsigned_abs() < 100_000_000_000 { Timestamp::from_second(number) } else { Timestamp::from_millisecond(number) };
            read.ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &JsonEvents, body: &[u8]) -> Result<Vec<WebhookEvent>> {
        format.events(&Verified::trust_without_verifying(body, "test", "k"))
    }

    #[test]
    fn the_guides_form_alone_and_in_a_list() {
        let body = br#"{"type":"lead.converted","id":"e1","timestamp":"2026-11-24T10:00:00Z","data":{"leadId":"1"}}"#;
        let events = read(&JsonEvents::default(), body).unwrap();
        assert_eq!(events.len(), 1);
        let event = &events[0];
        assert_eq!((event.kind.as_str(), event.data["leadId"].as_str()), ("lead.converted", Some("1")));
        assert_eq!(event.at, Some("2026-11-24T10:00:00Z".parse().unwrap()));
        let list = [b"[", &body[..], b",", &body[..], b"]"].concat();
        assert_eq!(read(&JsonEvents::default(), &list).unwrap().len(), 2);
        assert_eq!(read(&JsonEvents::default(), b"[]").unwrap().len(), 0);
    }

    #[test]
    fn members_by_pointer() {
        let format: JsonEvents = serde_json::from_value(serde_json::json!({
            "events": "/payload/items", "kind": ["/meta/entity", "/meta/action"], "id": "/meta/id", "at": "/meta/when",
            "data": "", "entity": "/meta/entity", "record": "/meta/entity_id"
        }))
        .unwrap();
        format.validate().unwrap();
        let body = br#"{"payload":{"items":[{"meta":{"entity":"deal","action":"deleted","id":9,"when":1700000000,"entity_id":42}}]}}"#;
        let event = read(&format, body).unwrap().remove(0);
        let change = event.change.unwrap();
        assert_eq!((event.kind.as_str(), change.id.as_str(), change.kind), ("deal.deleted", "42", ChangeKind::Deleted));
        assert_eq!(change.event, Some(EventId::new("9")));
        assert_eq!(event.at.unwrap().as_second(), 1_700_000_000);
        assert_eq!(moment(&serde_json::json!(1_700_000_000_123_i64)).unwrap().as_millisecond(), 1_700_000_000_123);
    }

    #[test]
    fn what_does_not_fit_is_told_by_place() {
        let format = JsonEvents::default();
        assert_eq!(read(&format, b"<x>").unwrap_err().message(), "the webhook is not JSON: line 1, column 1");
        assert_eq!(read(&format, br#"[{"type":"a"},{"type":7}]"#).unwrap_err().message(), "the webhook has no text at event 1/type");
        assert_eq!(read(&format, b"7").unwrap_err().message(), "the webhook is neither an event nor a list of events");
        let bad = JsonEvents { id: "id".to_owned(), ..JsonEvents::default() };
        assert!(bad.validate().is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_it_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let _either = read(&JsonEvents::default(), &body);
        }
    }
}
