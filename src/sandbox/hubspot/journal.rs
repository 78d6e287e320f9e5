//! The webhook journal: what happened, to be fetched, for three days.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Call, Reply};
use crate::sandbox::hubspot::errors::{Answer, Refusal, object, only, text};
use crate::sandbox::hubspot::happenings::{Happening, What, number};
use crate::sandbox::hubspot::router::{Ask, no_content};
use crate::sandbox::hubspot::state::{HubSpot, row};
use crate::sandbox::hubspot::values::stamp;
use crate::sandbox::store::Row;
use crate::webhook::signature::{hex, hmac_sha256};

const RETENTION: i64 = 3 * 86_400_000;
const LINK_LIFE: i64 = 300_000;
const MOST: usize = 100;
const KINDS: [&str; 5] = ["OBJECT", "ASSOCIATION", "APP_LIFECYCLE_EVENT", "LIST_MEMBERSHIP", "GDPR_PRIVACY_DELETION"];

/// Offsets are opaque to clients.
fn offset(key: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("journal:{key}"))
}

fn key_of(offset: &str) -> Result<String, Refusal> {
    let bytes = URL_SAFE_NO_PAD.decode(offset).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let key = bytes.and_then(|text| text.strip_prefix("journal:").map(str::to_owned));
    key.ok_or_else(|| Refusal::bad(format!("{offset} is not an offset of the journal")))
}

fn strings(row: &Row, name: &str) -> Vec<String> {
    let list = row.fields.get(name).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|one| one.as_str().map(str::to_owned).or_else(|| one.as_u64().map(|one| one.to_string())))
        .collect()
}

fn condition(condition: &Value, values: &Row) -> bool {
    let get = |name: &str| condition.get(name).and_then(Value::as_str).unwrap_or_default();
    let have = values.text(get("property"));
    let (value, text) = (get("value"), have.unwrap_or_default());
    let listed = condition.get("values").and_then(Value::as_array).is_some_and(|list| list.iter().any(|one| one.as_str() == have));
    let order = match (text.parse::<f64>(), value.parse::<f64>()) {
        (Ok(left), Ok(right)) => left.partial_cmp(&right),
        _ => Some(text.cmp(value)),
    };
    match get("operator") {
        "EQ" => text == value,
        "N_EQ" => text != value,
        "IN" => listed,
        "NOT_IN" => !listed,
        "CONTAINS" => text.contains(value),
        "STARTS_WITH" => text.starts_with(value),
        "ENDS_WITH" => text.ends_with(value),
        "GT" => have.is_some() && order.is_some_and(std::cmp::Ordering::is_gt),
        "GTE" => have.is_some() && order.is_some_and(std::cmp::Ordering::is_ge),
        "LT" => have.is_some() && order.is_some_and(std::cmp::Ordering::is_lt),
        "LTE" => have.is_some() && order.is_some_and(std::cmp::Ordering::is_le),
        "IS_EMPTY" => text.is_empty(),
        "IS_NOT_EMPTY" => !text.is_empty(),
        _ => false,
    }
}

impl HubSpot {
    /// Writes a file of the journal for what the subscriptions ask for, and forgets what is too old.
    pub(crate) fn write_journal(&mut self, all: &[Happening]) {
        let subscriptions: Vec<(&str, &Row)> = self.tables.rows("jsub").collect();
        let mut events: Vec<Value> = Vec::new();
        for happening in all {
            for (id, subscription) in &subscriptions {
                events.extend(self.journal_event(happening, id, subscription));
            }
        }
        self.append_journal(&events);
    }

    fn append_journal(&mut self, events: &[Value]) {
        if events.is_empty() {
            return;
        }
        let now = self.now.as_millisecond();
        let old: Vec<String> =
            self.tables.rows("jlog").take_while(|(_, row)| published(row) <= now - RETENTION).map(|(id, _)| id.to_owned()).collect();
        for id in old {
            self.tables.put("jlog", &id, None);
        }
        let key = format!("{:012}", self.number());
        self.tables.put("jlog", &key, Some(row(json!({"at": now, "events": events}))));
    }

    fn journal_event(&self, happening: &Happening, id: &str, subscription: &Row) -> Option<Value> {
        let (kind, action) = match &happening.what {
            What::Created(_) => ("OBJECT", "CREATE"),
            What::Changed(_) => ("OBJECT", "UPDATE"),
            What::Deleted => ("OBJECT", "DELETE"),
            What::Merged { .. } => ("OBJECT", "MERGE"),
            What::Restored => ("OBJECT", "RESTORE"),
            What::Linked { removed: false, .. } => ("ASSOCIATION", "ASSOCIATION_ADDED"),
            What::Linked { removed: true, .. } => ("ASSOCIATION", "ASSOCIATION_REMOVED"),
            What::Purged => ("GDPR_PRIVACY_DELETION", "GDPR_DELETE"),
        };
        if subscription.text("subscriptionType") != Some(kind) || subscription.text("objectTypeId") != Some(&happening.kind.id) {
            return None;
        }
        let actions = strings(subscription, "actions");
        let objects = strings(subscription, "objectIds");
        if !actions.iter().any(|known| known == action) || !(objects.is_empty() || objects.contains(&happening.id)) {
            return None;
        }
        let wanted = strings(subscription, "properties");
        let mut event = json!({"type": kind, "portalId": self.portal, "occurredAt": stamp(self.now.as_millisecond()), "action": action,
            "objectTypeId": happening.kind.id, "objectId": number(&happening.id)});
        let map = event.as_object_mut()?;
        match &happening.what {
            What::Created(values) | What::Changed(values) => {
                let changes: Map<String, Value> = values
                    .iter()
                    .filter(|(name, _)| wanted.is_empty() || wanted.contains(name))
                    .map(|(name, value)| (name.clone(), json!(value)))
                    .collect();
                if changes.is_empty() && action == "UPDATE" {
                    return None;
                }
                let row = self.tables.live(&happening.kind.table(), &happening.id)?;
                let mut filters =
                    self.tables.rows("jfil").filter(|(_, row)| row.fields.get("subscriptionId") == Some(&number(id))).peekable();
                let passes = |filter: &Row| {
                    let list = filter.fields.get("filter").and_then(|filter| filter.get("conditions")).and_then(Value::as_array);
                    list.into_iter().flatten().all(|one| condition(one, row))
                };
                if filters.peek().is_some() && !filters.any(|(_, filter)| passes(filter)) {
                    return None;
                }
                map.insert("propertyChanges".to_owned(), Value::Object(changes));
            }
            What::Linked { to, other, type_id, .. } => {
                let kinds = strings(subscription, "associatedObjectTypeIds");
                if !kinds.is_empty() && !kinds.contains(&to.id) {
                    return None;
                }
                map.insert("toObjectTypeId".to_owned(), json!(to.id));
                map.insert("toObjectId".to_owned(), number(other));
                map.insert("associationTypeId".to_owned(), json!(type_id));
            }
            What::Merged { merged, new, .. } => {
                map.insert("mergedObjectIds".to_owned(), json!(merged.iter().map(|id| number(id)).collect::<Vec<_>>()));
                map.insert("newObjectId".to_owned(), number(new));
            }
            What::Deleted | What::Purged | What::Restored => {}
        }
        Some(event)
    }

    pub(crate) fn journal(&mut self, ask: &Ask<'_>, part: &str, rest: &[&str]) -> Answer {
        match part {
            "journal" | "journal-local" => self.read_journal(ask, rest),
            "subscriptions" => self.journal_subscriptions(ask, rest),
            "snapshots" if rest == ["crm"] && ask.is(&Method::POST) => self.snapshots(ask),
            "snapshots" if rest == ["crm"] => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    fn file_link(&self, ask: &Ask<'_>, key: &str) -> Value {
        let expires = ask.now.as_millisecond() + LINK_LIFE;
        let signature = hex(&hmac_sha256(self.auth.client_secret.as_bytes(), &[format!("{key}:{expires}").as_bytes()]));
        json!({"url": format!("{}/webhooks-journal/files/{key}-{expires}-{signature}", ask.origin), "expiresAt": stamp(expires), "currentOffset": offset(key)})
    }

    /// The files not older than three days, oldest first.
    fn kept(&self, now: i64) -> Vec<&str> {
        self.tables.rows("jlog").filter(|(_, row)| published(row) > now - RETENTION).map(|(key, _)| key).collect()
    }

    fn read_journal(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        if rest == ["batch", "read"] && ask.is(&Method::POST) {
            let body = object(ask.body()?)?;
            only(body, &["inputs"])?;
            let list = body.get("inputs").and_then(Value::as_array).filter(|list| !list.is_empty() && list.len() <= MOST);
            let list = list.ok_or_else(|| Refusal::bad(format!("inputs must hold from 1 to {MOST} offsets")))?;
            let (mut results, mut errors) = (Vec::new(), Vec::new());
            for one in list {
                let wanted = one.as_str().ok_or_else(|| Refusal::bad("an offset must be a string"))?;
                let key = key_of(wanted)?;
                if self.kept(ask.now.as_millisecond()).contains(&key.as_str()) {
                    results.push(self.file_link(ask, &key));
                } else {
                    errors.push(Refusal::new(404, "OBJECT_NOT_FOUND", "The journal has no such offset").context("offset", [wanted]));
                }
            }
            return Ok(self.batch(ask, StatusCode::OK, results, errors));
        }
        if !ask.is(&Method::GET) {
            return Err(Refusal::method());
        }
        let keys = self.kept(ask.now.as_millisecond());
        let behind = |offset: &str| -> Result<Vec<&str>, Refusal> {
            let key = key_of(offset)?;
            Ok(keys.iter().copied().filter(|known| *known > key.as_str()).collect())
        };
        let count = |text: &str| match text.parse::<usize>() {
            Ok(count) if (1..=MOST).contains(&count) => Ok(count),
            _ => Err(Refusal::bad(format!("the count must be a number from 1 to {MOST}"))),
        };
        let one = |key: Option<&&str>| Ok(key.map_or_else(no_content, |key| Reply::ok(self.file_link(ask, key))));
        let many: Vec<&str> = match rest {
            ["earliest"] => return one(keys.first()),
            ["latest"] => return one(keys.last()),
            ["offset", offset, "next"] => return one(behind(offset)?.first()),
            ["status", id] => {
                let row = self.tables.live("snap", id).ok_or_else(Refusal::missing)?;
                return Ok(Reply::ok(Value::Object(row.fields.clone())));
            }
            ["batch", "earliest", most] => keys.iter().copied().take(count(most)?).collect(),
            ["batch", "latest", most] => keys.iter().copied().skip(keys.len().saturating_sub(count(most)?)).collect(),
            ["batch", offset, "next", most] => behind(offset)?.into_iter().take(count(most)?).collect(),
            _ => return Err(Refusal::no_path()),
        };
        let now = stamp(ask.now.as_millisecond());
        // Files come in their order: what they tell is ordered.
        let results: Vec<Value> = many.into_iter().map(|key| self.file_link(ask, key)).collect();
        Ok(Reply::ok(json!({"status": "COMPLETE", "results": results, "startedAt": now, "completedAt": now})))
    }

    /// A file, to whoever has its signed link.
    pub(crate) fn journal_file(&self, call: &Call, name: &str) -> Answer {
        let mut parts = name.split('-');
        let (key, expires, signature) =
            (parts.next().unwrap_or_default(), parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let right = hex(&hmac_sha256(self.auth.client_secret.as_bytes(), &[format!("{key}:{expires}").as_bytes()]));
        let alive = expires.parse::<i64>().is_ok_and(|expires| call.now.as_millisecond() < expires);
        if signature != right || !alive {
            return Err(Refusal::new(403, "INVALID_AUTHENTICATION", "The link is not valid or has expired"));
        }
        let row = self.tables.live("jlog", key).ok_or_else(Refusal::missing)?;
        let events = row.fields.get("events").cloned().unwrap_or_default();
        Ok(Reply::ok(json!({"offset": offset(key), "publishedAt": stamp(published(row)), "journalEvents": events})))
    }

    fn journal_subscriptions(&mut self, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        let known = |hubspot: &Self, id: &str| hubspot.tables.live("jsub", id).cloned().ok_or_else(Refusal::missing);
        match (rest, ask.method) {
            ([], &Method::GET) => {
                let list: Vec<Value> = self.tables.rows("jsub").map(|(_, row)| Value::Object(row.fields.clone())).collect();
                Ok(Reply::ok(json!({"results": list})))
            }
            ([], &Method::POST) => self.journal_subscribe(ask),
            (["filters"], &Method::POST) => {
                let body = object(ask.body()?)?;
                only(body, &["subscriptionId", "filter"])?;
                let subscription = crate::sandbox::hubspot::errors::id_of(body.get("subscriptionId"))
                    .ok_or_else(|| Refusal::bad("some of required attributes are not set [subscriptionId]"))?;
                known(self, &subscription)?;
                let list = body
                    .get("filter")
                    .and_then(|filter| filter.get("conditions"))
                    .and_then(Value::as_array)
                    .filter(|list| !list.is_empty());
                for one in list.ok_or_else(|| Refusal::bad("filter.conditions must hold at least one condition"))? {
                    let one = object(one)?;
                    only(one, &["filterType", "property", "operator", "value", "values"])?;
                    text(one, "property")?;
                    let operators = [
                        "EQ",
                        "N_EQ",
                        "IN",
                        "NOT_IN",
                        "CONTAINS",
                        "STARTS_WITH",
                        "ENDS_WITH",
                        "GT",
                        "GTE",
                        "LT",
                        "LTE",
                        "IS_EMPTY",
                        "IS_NOT_EMPTY",
                    ];
                    if text(one, "filterType")? != "CRM_OBJECT_PROPERTY" || !operators.contains(&text(one, "operator")?) {
                        return Err(Refusal::bad("a condition must be a CRM_OBJECT_PROPERTY with a known operator"));
                    }
                }
                let id = self.number();
                let filter = json!({"id": id, "subscriptionId": number(&subscription), "filter": body.get("filter"), "createdAt": ask.now.as_millisecond()});
                self.tables.put("jfil", &id.to_string(), Some(row(filter)));
                Ok(Reply::ok(json!({"filterId": id})))
            }
            (["filters", "subscription", id], &Method::GET) => {
                let list: Vec<Value> = self
                    .tables
                    .rows("jfil")
                    .filter(|(_, row)| row.fields.get("subscriptionId") == Some(&number(id)))
                    .map(|(_, row)| shown(row))
                    .collect();
                Ok(Reply::ok(json!(list)))
            }
            (["filters", id], &Method::GET) => {
                let row = self.tables.live("jfil", id).ok_or_else(Refusal::missing)?;
                Ok(Reply::ok(shown(row)))
            }
            (["filters", id], &Method::DELETE) => {
                self.tables.live("jfil", id).ok_or_else(Refusal::missing)?;
                self.tables.put("jfil", id, None);
                Ok(no_content())
            }
            (["portals", portal], &Method::DELETE) => {
                let all: Vec<String> = self
                    .tables
                    .rows("jsub")
                    .filter(|(_, row)| row.fields.get("portalId") == Some(&number(portal)))
                    .map(|(id, _)| id.to_owned())
                    .collect();
                for id in all {
                    self.tables.put("jsub", &id, None);
                }
                Ok(no_content())
            }
            ([id], &Method::GET) => Ok(Reply::ok(Value::Object(known(self, id)?.fields))),
            ([id], &Method::DELETE) => {
                known(self, id)?;
                self.tables.put("jsub", id, None);
                Ok(no_content())
            }
            ([] | [_] | ["filters", _] | ["filters", "subscription", _] | ["portals", _], _) => Err(Refusal::method()),
            _ => Err(Refusal::no_path()),
        }
    }

    fn journal_subscribe(&mut self, ask: &Ask<'_>) -> Answer {
        let body = object(ask.body()?)?;
        only(
            body,
            &[
                "subscriptionType",
                "portalId",
                "objectTypeId",
                "actions",
                "properties",
                "objectIds",
                "associatedObjectTypeIds",
                "listIds",
                "eventTypeId",
            ],
        )?;
        let kind = text(body, "subscriptionType")?;
        if !KINDS.contains(&kind) {
            return Err(Refusal::bad(format!("{kind} is not a subscription type")));
        }
        let allowed: &[&str] = match kind {
            "OBJECT" => &["CREATE", "UPDATE", "DELETE", "MERGE", "RESTORE"],
            "ASSOCIATION" => &["ASSOCIATION_ADDED", "ASSOCIATION_REMOVED"],
            "LIST_MEMBERSHIP" => &["ADDED_TO_LIST", "REMOVED_FROM_LIST"],
            "GDPR_PRIVACY_DELETION" => &["GDPR_DELETE"],
            _ => &[],
        };
        if !allowed.is_empty() {
            let actions = body.get("actions").and_then(Value::as_array).filter(|list| !list.is_empty());
            let actions = actions.ok_or_else(|| Refusal::bad("some of required attributes are not set [actions]"))?;
            if let Some(other) = actions.iter().find(|one| !one.as_str().is_some_and(|one| allowed.contains(&one))) {
                return Err(Refusal::bad(format!("{other} is not an action of a subscription of type {kind}")));
            }
            if body.get("portalId").and_then(Value::as_u64) != Some(self.portal) {
                return Err(Refusal::bad("portalId must be an account that has the app installed"));
            }
        }
        let mut kept = body.clone();
        if matches!(kind, "OBJECT" | "ASSOCIATION" | "GDPR_PRIVACY_DELETION") {
            let object_type = self.kind_or(text(body, "objectTypeId")?)?;
            kept.insert("objectTypeId".to_owned(), json!(object_type.id));
        }
        let id = self.number() + 1_000;
        let now = stamp(ask.now.as_millisecond());
        for (name, value) in [("id", json!(id)), ("appId", json!(self.app)), ("createdAt", json!(now)), ("updatedAt", json!(now))] {
            kept.insert(name.to_owned(), value);
        }
        self.tables.put("jsub", &id.to_string(), Some(Row { fields: kept.clone(), deleted: false }));
        Ok(Reply::ok(Value::Object(kept)))
    }

    /// Puts records as they are into the journal.
    fn snapshots(&mut self, ask: &Ask<'_>) -> Answer {
        let body = object(ask.body()?)?;
        only(body, &["snapshotRequests"])?;
        let list = body.get("snapshotRequests").and_then(Value::as_array).filter(|list| !list.is_empty() && list.len() <= MOST);
        let list = list.ok_or_else(|| Refusal::bad(format!("snapshotRequests must hold from 1 to {MOST} requests")))?;
        let now = ask.now.as_millisecond();
        let (mut answers, mut events) = (Vec::new(), Vec::new());
        for request in list {
            let request = object(request)?;
            only(request, &["portalId", "objectTypeId", "objectId", "properties"])?;
            let kind = self.kind_or(text(request, "objectTypeId")?)?;
            let id = crate::sandbox::hubspot::errors::id_of(request.get("objectId"))
                .ok_or_else(|| Refusal::bad("some of required attributes are not set [objectId]"))?;
            let wanted: Vec<&str> =
                request.get("properties").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
            let status_id = self.uuid("snapshot");
            let found = self.tables.live(&kind.table(), &id).map(|row| {
                wanted.iter().map(|name| ((*name).to_owned(), row.fields.get(*name).cloned().unwrap_or_else(|| json!("")))).collect::<Map<
                    String,
                    Value,
                >>(
                )
            });
            let mut status = json!({"id": status_id, "initiatedAt": now, "completedAt": now, "status": if found.is_some() { "COMPLETED" } else { "FAILED" }});
            match found {
                Some(values) => events
                    .push(json!({"type": "OBJECT", "portalId": self.portal, "occurredAt": stamp(now), "action": "SNAPSHOT",
                    "objectTypeId": kind.id, "objectId": number(&id), "propertyChanges": values})),
                None => {
                    if let Some(map) = status.as_object_mut() {
                        map.insert("errorCode".to_owned(), json!("VALIDATION_ERROR"));
                        map.insert("message".to_owned(), json!("the record does not exist"));
                    }
                }
            }
            self.tables.put("snap", &status_id, Some(row(status)));
            answers.push(json!({"portalId": self.portal, "objectTypeId": kind.id, "objectId": number(&id), "snapshotStatusId": status_id}));
        }
        self.append_journal(&events);
        Ok(Reply::ok(json!({"snapshotResponses": answers})))
    }
}

fn published(row: &Row) -> i64 {
    row.fields.get("at").and_then(Value::as_i64).unwrap_or(0)
}

fn shown(row: &Row) -> Value {
    let get = |name: &str| row.fields.get(name).cloned().unwrap_or_default();
    json!({"id": get("id"), "filter": get("filter"), "createdAt": get("createdAt")})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_opaque_and_come_back() {
        assert_eq!(key_of(&offset("000000000042")).unwrap(), "000000000042");
        assert!(key_of("000000000042").is_err() && key_of("").is_err());
    }

    #[test]
    fn conditions_compare_texts_and_numbers() {
        let values = row(json!({"amount": "9", "name": "Acme"}));
        let holds = |text: &str| condition(&serde_json::from_str(text).unwrap(), &values);
        assert!(holds(r#"{"property":"amount","operator":"LT","value":"10"}"#));
        assert!(holds(r#"{"property":"name","operator":"IN","values":["Acme","Bolt"]}"#));
        assert!(holds(r#"{"property":"other","operator":"IS_EMPTY"}"#) && !holds(r#"{"property":"other","operator":"LT","value":"1"}"#));
        assert!(!holds(r#"{"property":"name","operator":"SOUNDS_LIKE","value":"Acme"}"#));
    }
}
