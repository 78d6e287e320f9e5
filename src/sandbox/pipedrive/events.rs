//! Webhooks on their way: what a write tells, in both versions, and how it is delivered (Pipedrive docs, Guide for webhooks).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::write::whole;
use crate::sandbox::store::Row;

/// Milliseconds until the second, third and fourth attempt.
const PAUSES: [i64; 3] = [3_000, 30_000, 150_000];
/// So many first attempts that failed, and the webhook is banned.
const FAILURES: i64 = 10;
/// For half an hour.
const BAN: i64 = 30 * 60_000;
/// So long without a success, and the webhook is deleted.
const GIVE_UP: i64 = 3 * 86_400_000;

/// A webhook request that is due.
#[derive(Clone)]
#[non_exhaustive]
pub struct WebhookDelivery {
    /// Names the delivery to the sandbox.
    pub id: i64,
    /// The webhook it is for.
    pub webhook_id: i64,
    /// Where it goes.
    pub url: String,
    /// The value of `Authorization`, if the webhook has a user.
    pub authorization: Option<String>,
    /// The JSON body.
    pub body: String,
    /// 1 to 4.
    pub attempt: i64,
}

/// Neither the credentials nor the record.
impl fmt::Debug for WebhookDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookDelivery").field("id", &self.id).field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

/// What happened to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Create,
    Change,
    Delete,
}

impl Action {
    /// The survivor of a merge is told changed even if it had everything already.
    fn of(old: Option<&Row>, new: Option<&Row>, merged: bool) -> Option<Self> {
        let alive = |row: Option<&Row>| row.is_some_and(|row| !row.deleted);
        match (alive(old), alive(new)) {
            (false, true) => Some(Self::Create),
            (true, true) if merged || old != new => Some(Self::Change),
            (true, false) => Some(Self::Delete),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
        }
    }

    fn old_word(self) -> &'static str {
        match self {
            Self::Create => "added",
            Self::Change => "updated",
            Self::Delete => "deleted",
        }
    }
}

/// The old values of what is different.
fn differences(old: &Map<String, Value>, new: &Map<String, Value>) -> Map<String, Value> {
    let mut changed = Map::new();
    for (name, value) in old {
        match (value, new.get(name)) {
            (Value::Object(before), Some(Value::Object(after))) if name == "custom_fields" => {
                let inner = differences(before, after);
                if !inner.is_empty() {
                    changed.insert(name.clone(), Value::Object(inner));
                }
            }
            (value, other) if other != Some(value) => drop(changed.insert(name.clone(), value.clone())),
            _ => {}
        }
    }
    changed
}

impl Pipedrive {
    /// A record in the shape of webhooks v2, which is not that of REST v2.
    fn hook_data(&self, entity: &str, row: &Row) -> Map<String, Value> {
        let mut data: Map<String, Value> = row
            .fields
            .iter()
            .filter(|(name, _)| !name.starts_with('_') && !matches!(name.as_str(), "is_deleted" | "custom_fields"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let nothing = Map::new();
        let stored = row.fields.get("custom_fields").and_then(Value::as_object).unwrap_or(&nothing);
        if let Some(Value::Number(number)) = data.get("visible_to") {
            let text = json!(number.to_string());
            data.insert("visible_to".to_owned(), text);
        }
        if matches!(entity, "person" | "organization" | "deal" | "lead" | "product") {
            data.insert("custom_fields".to_owned(), self.typed(entity, stored));
        }
        if matches!(entity, "person" | "organization") {
            let label = data.get("label_ids").and_then(Value::as_array).and_then(|ids| ids.first()).cloned();
            data.insert("label".to_owned(), label.unwrap_or(Value::Null));
        }
        match entity {
            "note" => drop(data.insert("active_flag".to_owned(), json!(!row.deleted))),
            "activity" => {
                data.insert("active_flag".to_owned(), json!(!row.deleted));
                let busy = data.remove("busy").unwrap_or(Value::Null);
                data.insert("busy_flag".to_owned(), busy);
                for name in ["due_time", "duration"] {
                    if let Some(Value::String(clock)) = data.get(name) {
                        let typed = json!({"timezone_id": null, "value": clock});
                        data.insert(name.to_owned(), typed);
                    }
                }
            }
            _ => {}
        }
        data
    }

    /// Tells the webhooks what has become of a row.
    pub(crate) fn announce(&mut self, act: Act, entity: &str, place: &str, old: Option<&Row>, merge: Option<(&str, i64)>) {
        let new = self.tables.get(entity, place).cloned();
        let Some(action) = Action::of(old, new.as_ref(), merge.is_some()) else { return };
        let now = act.now.as_millisecond();
        let listens = |row: &Row| {
            let fits = |name: &str, word: &str| row.text(name).is_some_and(|wanted| wanted == "*" || wanted == word);
            let banned = whole(&row.fields, "_banned_until").is_some_and(|until| now < until);
            !banned && fits("event_action", action.word()) && fits("event_object", entity)
        };
        let hooks: Vec<Row> = self.tables.rows("webhook").filter(|(_, row)| listens(row)).map(|(_, row)| row.clone()).collect();
        for hook in hooks {
            let id = self.new_id("delivery");
            let body = if hook.text("version") == Some("1.0") {
                self.old_payload(act, &hook, entity, action, (old, new.as_ref()), merge)
            } else {
                self.payload(act, &hook, entity, action, (old, new.as_ref()), merge, id)
            };
            let delivery = json!({"id": id, "hook": hook.fields.get("id"), "body": body, "attempt": 1, "due": now});
            let row = Row { fields: delivery.as_object().cloned().unwrap_or_default(), deleted: false };
            self.tables.put("delivery", &key(id), Some(row));
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one event")]
    fn payload(
        &self,
        act: Act,
        hook: &Row,
        entity: &str,
        action: Action,
        (old, new): (Option<&Row>, Option<&Row>),
        merge: Option<(&str, i64)>,
        number: i64,
    ) -> Value {
        let before = old.filter(|row| !row.deleted).map(|row| self.hook_data(entity, row));
        let after = new.filter(|row| !row.deleted).map(|row| self.hook_data(entity, row));
        let subject = new.or(old).and_then(|row| row.fields.get("id"));
        let as_text = |value: Option<&Value>| match value {
            Some(Value::String(text)) => json!(text),
            Some(other) => json!(other.to_string()),
            None => Value::Null,
        };
        let count = u64::try_from(number).unwrap_or(0);
        let mut meta = json!({
            "action": action.word(), "attempt": 1, "change_source": act.source, "company_id": self.company.to_string(),
            "correlation_id": self.uuid("event correlation", count), "entity": entity, "entity_id": as_text(subject),
            "host": format!("{}.pipedrive.com", self.domain), "id": self.uuid("event", count), "is_bulk_edit": false,
            "permitted_user_ids": [self.user.to_string(), self.other.to_string()], "timestamp": text::stamp_millis(act.now),
            "type": "general", "user_id": act.user.to_string(), "version": "2.0",
            "webhook_id": as_text(hook.fields.get("id")), "webhook_owner_id": as_text(hook.fields.get("owner_id")),
        });
        if let (Some((name, id)), Value::Object(meta)) = (merge, &mut meta) {
            meta.insert(name.to_owned(), json!(id.to_string()));
        }
        let previous = match (action, before, &after) {
            (Action::Change, Some(before), Some(after)) => Some(differences(&before, after)),
            (Action::Delete, before, _) => before,
            _ => None,
        };
        json!({"meta": meta, "data": after, "previous": previous})
    }

    fn old_payload(
        &self,
        act: Act,
        hook: &Row,
        entity: &str,
        action: Action,
        (old, new): (Option<&Row>, Option<&Row>),
        merge: Option<(&str, i64)>,
    ) -> Value {
        let shape = |row: &Row| {
            let record = match entity {
                "note" => self.note(whole(&row.fields, "id").unwrap_or(0)),
                "lead" => self.lead(row.text("id").unwrap_or_default()),
                "user" => json!([self.user_record(row)]),
                entity => Value::Object(self.v1_record(entity, row, false)),
            };
            Some(record)
        };
        let word = if merge.is_some_and(|(name, _)| name == "merged_from_id") { "merged" } else { action.old_word() };
        let subject = new.or(old).and_then(|row| row.fields.get("id"));
        let current = new.filter(|row| !row.deleted).and_then(shape);
        let previous = old.filter(|row| !row.deleted).and_then(shape);
        json!({
            "v": 1, "event": format!("{word}.{entity}"), "retry": 0, "current": current, "previous": previous,
            "matches_filters": {"current": [], "previous": []},
            "meta": {
                "v": 1, "action": word, "object": entity, "id": subject, "company_id": self.company, "user_id": act.user,
                "host": format!("{}.pipedrive.com", self.domain), "timestamp": act.now.as_second(), "timestamp_micro": act.now.as_microsecond(),
                "permitted_user_ids": [self.user, self.other], "trans_pending": false, "is_bulk_update": false, "change_source": act.source,
                "webhook_id": hook.fields.get("id").map(Value::to_string),
            },
        })
    }

    /// The requests that are due, oldest first.
    pub(crate) fn webhooks_due(&self, now: Timestamp) -> Vec<WebhookDelivery> {
        let now = now.as_millisecond();
        let mut due = Vec::new();
        for (_, row) in self.tables.rows("delivery") {
            let (Some(id), Some(hook_id)) = (whole(&row.fields, "id"), whole(&row.fields, "hook")) else { continue };
            let Some(hook) = self.live("webhook", hook_id) else { continue };
            let banned = whole(&hook.fields, "_banned_until").is_some_and(|until| now < until);
            if banned || whole(&row.fields, "due").is_none_or(|at| at > now) {
                continue;
            }
            let attempt = whole(&row.fields, "attempt").unwrap_or(1);
            let mut body = row.fields.get("body").cloned().unwrap_or(Value::Null);
            if let Some(meta) = body.get_mut("meta").and_then(Value::as_object_mut)
                && meta.contains_key("attempt")
            {
                meta.insert("attempt".to_owned(), json!(attempt));
            }
            if let Some(map) = body.as_object_mut()
                && map.contains_key("retry")
            {
                map.insert("retry".to_owned(), json!(attempt - 1));
            }
            let authorization = hook.text("http_auth_user").map(|user| {
                let password = hook.text("http_auth_password").unwrap_or_default();
                format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
            });
            let url = hook.text("subscription_url").unwrap_or_default().to_owned();
            due.push(WebhookDelivery { id, webhook_id: hook_id, url, authorization, body: body.to_string(), attempt });
        }
        due
    }

    /// Settles a delivery; a status of 0 says that nobody answered.
    pub(crate) fn webhook_delivered(&mut self, id: i64, status: u16, now: Timestamp) -> bool {
        let success = (200..300).contains(&status);
        let Some(mut row) = self.tables.get("delivery", &key(id)).cloned() else { return success };
        let hook_id = whole(&row.fields, "hook").unwrap_or(0);
        let Some(mut hook) = self.live("webhook", hook_id).cloned() else { return success };
        let millis = now.as_millisecond();
        hook.fields.insert("last_delivery_time".to_owned(), json!(text::stamp_millis(now)));
        hook.fields.insert("last_http_status".to_owned(), if status == 0 { Value::Null } else { json!(status) });
        if success {
            hook.fields.insert("_last_success".to_owned(), json!(millis));
            self.tables.put("webhook", &key(hook_id), Some(hook));
            self.tables.put("delivery", &key(id), None);
            return true;
        }
        let attempt = whole(&row.fields, "attempt").unwrap_or(1);
        if attempt == 1 {
            let failures = whole(&hook.fields, "_failures").unwrap_or(0) + 1;
            let banned = failures >= FAILURES;
            hook.fields.insert("_failures".to_owned(), json!(if banned { 0 } else { failures }));
            if banned {
                hook.fields.insert("_banned_until".to_owned(), json!(millis.saturating_add(BAN)));
            }
        }
        let given_up = whole(&hook.fields, "_last_success").is_some_and(|last| millis.saturating_sub(last) >= GIVE_UP);
        self.tables.put("webhook", &key(hook_id), Some(hook));
        if given_up {
            self.drop_hook(hook_id);
            return false;
        }
        let pause = usize::try_from(attempt - 1).ok().and_then(|at| PAUSES.get(at));
        match pause {
            Some(pause) => {
                row.fields.insert("attempt".to_owned(), json!(attempt + 1));
                row.fields.insert("due".to_owned(), json!(millis.saturating_add(*pause)));
                self.tables.put("delivery", &key(id), Some(row));
            }
            None => self.tables.put("delivery", &key(id), None),
        }
        false
    }
}
