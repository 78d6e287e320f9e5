//! Webhooks of Pipedrive, as events.
//!
//! Nothing is signed: a delivery is believed for its user and password ([`BasicVerifier`](crate::webhook::BasicVerifier)) over
//! TLS, and is a hint. Only key members are there, in a shape that is neither API's; read the record again.
//!
//! Version 2.0 says what happened in `meta` and types every custom field; version 1.0 sends `current` and `previous` in the shape
//! of API v1. Won and lost are changes of a deal's status, and a merge is a deletion and a change; both are told apart here.

use std::fmt::{self, Debug};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::model::{Change, ChangeKind, Entity, EventId, Fields, Origin, RecordId, Successor, Version, parse_datetime};
use crate::pipedrive::custom::{CustomValue, is_key};
use crate::pipedrive::merge::Merged;
use crate::pipedrive::resource::Kind;
use crate::webhook::{EventFormat, Verified, WebhookEvent};

/// A delivery of version 2.0.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WebhookPayload {
    /// What happened.
    pub meta: WebhookMeta,
    /// The record's key members after it; null for deletions.
    #[serde(default)]
    pub data: Option<Map<String, Value>>,
    /// The old values of what changed; for deletions the last state.
    #[serde(default)]
    pub previous: Option<Map<String, Value>>,
}

/// What happened, to what, by whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct WebhookMeta {
    /// `create`, `change` or `delete`.
    pub action: String,
    /// The kind, in the singular.
    pub entity: String,
    /// The record's id, a text here.
    #[serde(deserialize_with = "text_or_number")]
    pub entity_id: Option<String>,
    /// The event's id, the same for all attempts.
    #[serde(deserialize_with = "text_or_number")]
    pub id: Option<String>,
    /// 1 to 4.
    pub attempt: Option<u32>,
    /// RFC 3339 with milliseconds.
    pub timestamp: Option<String>,
    /// The account.
    #[serde(deserialize_with = "text_or_number")]
    pub company_id: Option<String>,
    /// Who made the change.
    #[serde(deserialize_with = "text_or_number")]
    pub user_id: Option<String>,
    /// `app` or `api`; `api` is every client of the API, not just this one.
    pub change_source: Option<String>,
    /// The webhook that sent it.
    #[serde(deserialize_with = "text_or_number", skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<String>,
    /// Pipedrive's own mark of what led to the event, for its support.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// True for one of many records changed at once in the app.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_bulk_edit: Option<bool>,
    /// On a deletion by a merge: the survivor.
    #[serde(deserialize_with = "text_or_number", skip_serializing_if = "Option::is_none")]
    pub merged_to_id: Option<String>,
    /// On a change by a merge: the record that is gone.
    #[serde(deserialize_with = "text_or_number", skip_serializing_if = "Option::is_none")]
    pub merged_from_id: Option<String>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) if !text.is_empty() => Some(text),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

/// Never the data.
impl Debug for WebhookPayload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let meta = &self.meta;
        f.debug_struct("WebhookPayload")
            .field("action", &meta.action)
            .field("entity", &meta.entity)
            .field("entity_id", &meta.entity_id)
            .field("id", &meta.id)
            .finish_non_exhaustive()
    }
}

impl WebhookPayload {
    /// The status a deal has just got, if this is about one.
    pub fn new_status(&self) -> Option<&str> {
        let before = self.previous.as_ref()?.get("status")?;
        let now = self.data.as_ref()?.get("status")?;
        (self.meta.action == "change" && self.meta.entity == "deal" && before != now).then_some(())?;
        now.as_str()
    }

    /// The two records of a merge, if this is one half of its pair.
    pub fn merged(&self) -> Option<Merged> {
        let own = RecordId::new(self.meta.entity_id.as_deref()?);
        match (&self.meta.merged_to_id, &self.meta.merged_from_id) {
            (Some(survivor), _) => Some(Merged { survivor: RecordId::new(survivor.as_str()), removed: own }),
            (None, Some(removed)) => Some(Merged { survivor: own, removed: RecordId::new(removed.as_str()) }),
            (None, None) => None,
        }
    }

    /// True if the change may be an echo of our own write: made through the API by our own user. Not proof: another client of
    /// the same user looks the same. Compare with what was written; a user of its own for this connection makes it sharp.
    pub fn may_be_own(&self, user: &str) -> bool {
        self.meta.change_source.as_deref() == Some("api") && self.meta.user_id.as_deref() == Some(user)
    }

    /// The change as the rest of the crate speaks of it; `None` for kinds this client does not know.
    pub fn change(&self) -> Option<Change> {
        let kind = Kind::of(&Entity::new(self.meta.entity.as_str())).ok()?;
        let what = match self.meta.action.as_str() {
            "create" => ChangeKind::Created,
            "delete" => ChangeKind::Deleted,
            _ => ChangeKind::Updated,
        };
        let mut change = Change::new(kind.entity(), RecordId::new(self.meta.entity_id.as_deref()?), what);
        change.at = self.meta.timestamp.as_deref().and_then(parse_datetime);
        change.event = self.meta.id.as_deref().map(EventId::new);
        change.origin = Origin { user: self.meta.user_id.clone(), client: self.meta.change_source.clone() };
        if let Some(data) = self.data.as_ref().filter(|_| what != ChangeKind::Deleted) {
            change.fields = fields(kind, data);
            change.version = data.get("update_time").and_then(Value::as_str).map(Version::new);
        }
        if let (ChangeKind::Deleted, Some(merged)) = (what, self.merged()) {
            change.fields.insert("merged_to_id", merged.survivor.as_str());
            change.successor = Some(Successor::new(kind.entity(), merged.survivor));
        }
        Some(change)
    }
}

/// Members in the words and types of the record API.
fn fields(kind: Kind, data: &Map<String, Value>) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in data {
        match (kind, name.as_str()) {
            (_, "custom_fields") => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    fields.insert(key, CustomValue::from_webhook(value).to_v2());
                }
            }
            // A text here, a number in v2; leads have it as a text everywhere.
            (kind, "visible_to") if kind != Kind::Lead => {
                let number = value.as_str().and_then(|text| text.parse::<i64>().ok());
                fields.insert(name, number.map_or_else(|| value.clone(), Value::from));
            }
            (Kind::Activity, "busy_flag") => {
                fields.insert("busy", value.clone());
            }
            (Kind::Activity, "due_time" | "duration") => {
                let time = value.get("value").cloned().unwrap_or_else(|| value.clone());
                fields.insert(name, time);
            }
            (Kind::Activity, "active_flag") => {
                fields.insert("is_deleted", value.as_bool().map_or(Value::Null, |active| json!(!active)));
            }
            (_, name) => {
                fields.insert(name, value.clone());
            }
        }
    }
    fields
}

/// Reads deliveries of both versions. Events are named `deal.change`, `person.delete`, …; beside them `deal.won` and `deal.lost`,
/// whose data is what [`Router::on_deal_won`](crate::webhook::Router::on_deal_won) takes, and `person.merge` and the like.
#[derive(Clone, Copy, Debug, Default)]
pub struct PipedriveEvents;

impl EventFormat for PipedriveEvents {
    fn events(&self, verified: &Verified<'_>) -> Result<Vec<WebhookEvent>> {
        let body: Value = serde_json::from_slice(verified.body())
            .map_err(|error| Error::decode(format!("the webhook is not JSON: line {}, column {}", error.line(), error.column())))?;
        let old = body.pointer("/meta/object").is_some() || body.get("v").is_some_and(|v| v == 1);
        if old {
            return Ok(vec![version_one(body)?]);
        }
        let misfit = |_| Error::decode("the webhook is not one of Pipedrive's: meta does not fit");
        let payload: WebhookPayload = WebhookPayload::deserialize(&body).map_err(misfit)?;
        if payload.meta.action.is_empty() || payload.meta.entity.is_empty() {
            return Err(Error::decode("the webhook has no text at meta/action or meta/entity"));
        }
        let change = payload.change();
        let event = |kind: String, data: Value| {
            let mut event = WebhookEvent::new(kind, data);
            event.id = payload.meta.id.as_deref().map(EventId::new);
            event.at = change.as_ref().and_then(|change| change.at);
            event.change.clone_from(&change);
            event
        };
        let (entity, action) = (payload.meta.entity.as_str(), payload.meta.action.as_str());
        let mut events = vec![event(format!("{entity}.{action}"), body.clone())];
        if let Some(status @ ("won" | "lost")) = payload.new_status() {
            events.push(event(format!("deal.{status}"), closed(&payload)));
        }
        if let Some(merged) = payload.merged().filter(|_| action == "delete") {
            let data = json!({"survivor": merged.survivor.as_str(), "removed": merged.removed.as_str()});
            events.push(event(format!("{entity}.merge"), data));
        }
        Ok(events)
    }
}

/// What became of a deal, in the words of the router.
fn closed(payload: &WebhookPayload) -> Value {
    let member = |name: &str| payload.data.as_ref().and_then(|data| data.get(name)).filter(|value| !value.is_null());
    let person = member("person_id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
    json!({
        "dealId": payload.meta.entity_id,
        "amount": member("value"),
        "currency": member("currency"),
        "closeDate": member("won_time").or_else(|| member("lost_time")).or_else(|| member("close_time")),
        "lostReason": member("lost_reason"),
        "contactIds": person.into_iter().collect::<Vec<_>>(),
    })
}

/// `{"v": 1, "event": "updated.deal", "current": {…}, "previous": {…}, "meta": {"action": "updated", "object": "deal", "id": 7}}`.
fn version_one(body: Value) -> Result<WebhookEvent> {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
    let (Some(action), Some(object)) = (text("/meta/action"), text("/meta/object")) else {
        return Err(Error::decode("the webhook has no text at meta/action or meta/object"));
    };
    let (word, what) = match action {
        "added" => ("create", ChangeKind::Created),
        "deleted" => ("delete", ChangeKind::Deleted),
        "merged" => ("merge", ChangeKind::Updated),
        _ => ("change", ChangeKind::Updated),
    };
    let id = body.pointer("/meta/id").and_then(|id| id.as_str().map(str::to_owned).or_else(|| id.as_i64().map(|id| id.to_string())));
    let at = body.pointer("/meta/timestamp").and_then(Value::as_i64).and_then(|seconds| Timestamp::from_second(seconds).ok());
    let change = id.zip(Kind::of(&Entity::new(object)).ok()).map(|(id, kind)| {
        let mut change = Change::new(kind.entity(), RecordId::new(id), what);
        change.at = at;
        let user = body.pointer("/meta/user_id").map(|id| id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        change.origin = Origin { user, client: body.pointer("/meta/change_source").and_then(Value::as_str).map(str::to_owned) };
        // The flat shape of v1 needs the account's description; only what every shape has is told.
        let current = body.get("current").and_then(Value::as_object).filter(|_| what != ChangeKind::Deleted);
        for (name, value) in current.into_iter().flatten() {
            if !value.is_object() && !name.get(..40).is_some_and(is_key) {
                change.fields.insert(name, value.clone());
            }
        }
        change
    });
    let mut event = WebhookEvent::new(format!("{object}.{word}"), Value::Null);
    (event.at, event.change) = (at, change);
    event.data = body;
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "0123456789abcdef0123456789abcdef01234567";

    fn read(body: &Value) -> Vec<WebhookEvent> {
        PipedriveEvents.events(&Verified::trust_without_verifying(body.to_string().as_bytes(), "test", "k")).unwrap()
    }

    fn meta(action: &str, entity: &str) -> Value {
        json!({"action": action, "entity": entity, "entity_id": "42", "id": "e-1", "attempt": 1, "timestamp": "2026-01-01T10:00:00.123Z",
            "company_id": "9", "user_id": "5", "change_source": "api", "version": "2.0", "permitted_user_ids": ["5"]})
    }

    #[test]
    fn a_change_in_the_words_of_the_record_api() {
        let body = json!({"meta": meta("change", "person"), "previous": {"name": "x", "custom_fields": {KEY: null}},
            "data": {"id": 42, "name": "y", "visible_to": "3", "update_time": "2026-01-01T10:00:00Z",
                "custom_fields": {KEY: {"type": "daterange", "from": "2026-01-01", "until": "2026-01-02"}}}});
        let event = read(&body).remove(0);
        let change = event.change.unwrap();
        assert_eq!((event.kind.as_str(), change.entity.as_str(), change.id.as_str()), ("person.change", "persons", "42"));
        assert_eq!(change.fields.get("visible_to"), Some(&json!(3)));
        assert_eq!(change.fields.get(KEY), Some(&json!({"value": "2026-01-01", "until": "2026-01-02"})));
        assert_eq!(
            (change.event, change.origin.user.as_deref(), change.origin.client.as_deref()),
            (Some(EventId::new("e-1")), Some("5"), Some("api"))
        );
        let payload: WebhookPayload = serde_json::from_value(body).unwrap();
        assert!(payload.may_be_own("5") && !payload.may_be_own("6") && !format!("{payload:?}").contains("2026-01-02"));
    }

    #[test]
    fn won_is_a_change_of_status_and_comes_once() {
        let mut body = json!({"meta": meta("change", "deal"), "previous": {"status": "open"},
            "data": {"id": 42, "status": "won", "value": 10.5, "won_time": "2026-01-01T10:00:00Z", "person_id": 7, "stage_id": 3}});
        let events = read(&body);
        assert_eq!(events.iter().map(|event| event.kind.as_str()).collect::<Vec<_>>(), ["deal.change", "deal.won"]);
        let won: crate::webhook::DealWon = serde_json::from_value(events[1].data.clone()).unwrap();
        assert_eq!((won.deal_id.as_str(), won.contact_ids.len()), ("42", 1));
        body["previous"] = json!({"value": 1});
        assert_eq!(read(&body).len(), 1);
    }

    #[test]
    fn a_merge_names_the_survivor_in_both_halves() {
        let mut gone = json!({"meta": meta("delete", "person"), "data": null, "previous": {"name": "x"}});
        gone["meta"]["merged_to_id"] = json!("50");
        let events = read(&gone);
        assert_eq!((events.len(), events[1].kind.as_str()), (2, "person.merge"));
        let change = events[0].change.as_ref().unwrap();
        assert_eq!((change.kind, change.fields.text("merged_to_id")), (ChangeKind::Deleted, Some("50")));
        let mut stays = json!({"meta": meta("change", "person"), "data": {"id": 42}, "previous": {}});
        stays["meta"]["merged_from_id"] = json!("41");
        let payload: WebhookPayload = serde_json::from_value(stays.clone()).unwrap();
        assert_eq!(payload.merged(), Some(Merged { survivor: "42".into(), removed: "41".into() }));
        assert_eq!(read(&stays).len(), 1);
    }

    #[test]
    fn the_old_version_and_what_is_none() {
        let body = json!({"v": 1, "event": "updated.deal", "retry": 0, "current": {"id": 7, "title": "x"}, "previous": {"title": "y"},
            "meta": {"action": "updated", "object": "deal", "id": 7, "user_id": 5, "timestamp": 1_767_261_600}});
        let event = read(&body).remove(0);
        assert_eq!((event.kind.as_str(), event.change.unwrap().entity.as_str()), ("deal.change", "deals"));
        let lead = read(
            &json!({"meta": {"action": "delete", "entity": "lead", "entity_id": "adf21080-0e10-11eb-879b-05d71fb426ec"}, "data": null}),
        );
        assert_eq!(lead[0].change.as_ref().unwrap().entity.as_str(), "leads");
        assert!(read(&json!({"meta": {"action": "create", "entity": "board", "entity_id": "1"}}))[0].change.is_none());
        for bad in ["{}", "[]", "7", "{\"meta\": 7}"] {
            assert!(PipedriveEvents.events(&Verified::trust_without_verifying(bad.as_bytes(), "test", "k")).is_err(), "{bad}");
        }
    }
}
