//! What has become of the fields of persons, organizations and deals: the change log (paged by a cursor, in v1 too) and the flow.

use serde_json::{Map, Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::paging::pages;
use crate::sandbox::pipedrive::read::{Params, limit};
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::write::whole;
use crate::sandbox::store::Row;

/// Entries of one record that are kept, the newest.
const KEPT: usize = 500;

/// The members in which two states of a record differ, custom fields by their codes.
fn changed(old: &Map<String, Value>, new: &Map<String, Value>) -> Vec<(String, Value, Value)> {
    let mut found = Vec::new();
    let nothing = Map::new();
    let custom =
        |fields: &Map<String, Value>| fields.get("custom_fields").and_then(Value::as_object).cloned().unwrap_or_else(|| nothing.clone());
    let (old_custom, new_custom) = (custom(old), custom(new));
    for (old, new) in [(old, new), (&old_custom, &new_custom)] {
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let derived = name.starts_with('_') || matches!(name.as_str(), "update_time" | "custom_fields" | "is_deleted");
            let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or(Value::Null);
            if !derived && of(old) != of(new) {
                found.push((name.clone(), of(old), of(new)));
            }
        }
    }
    found
}

/// A value as the log writes it.
fn plain(value: &Value) -> Value {
    match value {
        Value::Null | Value::String(_) => value.clone(),
        Value::Array(items) => {
            let text = |item: &Value| item.get("value").and_then(Value::as_str).map_or_else(|| item.to_string(), str::to_owned);
            json!(items.iter().map(text).collect::<Vec<_>>().join(","))
        }
        Value::Object(map) => map.get("value").map_or(Value::Null, plain),
        other => json!(other.to_string()),
    }
}

impl Pipedrive {
    /// Writes down what a save has changed.
    pub(crate) fn log_change(&mut self, act: Act, entity: &str, old: Option<&Row>, place: &str) {
        if !matches!(entity, "person" | "organization" | "deal") {
            return;
        }
        let (Some(old), Some(new)) = (old.filter(|row| !row.deleted), self.tables.live(entity, place)) else { return };
        let entries = changed(&old.fields, &new.fields);
        if entries.is_empty() {
            return;
        }
        let at = text::old_stamp(&text::stamp(act.now));
        let table = format!("{entity}:{place}");
        let mut log = self.tables.get("changelog", &table).cloned().unwrap_or_default();
        let mut all = match log.fields.remove("entries") {
            Some(Value::Array(all)) => all,
            _ => Vec::new(),
        };
        for (name, old, new) in entries {
            all.push(json!({"field_key": name, "old_value": plain(&old), "new_value": plain(&new), "actor_user_id": act.user, "time": at,
                            "change_source": act.source, "change_source_user_agent": null, "is_bulk_update_flag": false}));
        }
        let surplus = all.len().saturating_sub(KEPT);
        all.drain(..surplus);
        log.fields.insert("entries".to_owned(), Value::Array(all));
        self.tables.put("changelog", &table, Some(log));
    }

    /// Newest first.
    fn entries(&self, entity: &str, id: i64) -> Result<Vec<Value>, Reply> {
        self.live(entity, id).ok_or_else(|| errors::missing("Not found"))?;
        let log = self.tables.get("changelog", &format!("{entity}:{}", key(id)));
        let all = log.and_then(|row| row.fields.get("entries")).and_then(Value::as_array);
        Ok(all.into_iter().flatten().rev().cloned().collect())
    }

    /// `GET /{entities}/{id}/changelog`.
    pub(crate) fn changelog(&self, entity: &str, id: i64, params: &Params) -> Answer {
        let most = limit(params, 500)?;
        let start = match param(params, "cursor") {
            None => 0,
            Some(cursor) => cursor.parse::<usize>().map_err(|_| errors::bad("cursor is not valid"))?,
        };
        let all = self.entries(entity, id)?;
        let next = (all.len() > start + most).then(|| (start + most).to_string());
        let page: Vec<Value> = all.into_iter().skip(start).take(most).collect();
        Ok(Reply::ok(json!({"success": true, "data": page, "additional_data": {"next_cursor": next}})))
    }

    /// `GET /{entities}/{id}/flow`: the changes, the notes and the activities of a record, newest first.
    pub(crate) fn flow(&self, entity: &str, id: i64, params: &Params) -> Answer {
        let link = match entity {
            "organization" => "org_id",
            "deal" => "deal_id",
            _ => "person_id",
        };
        let mut all: Vec<(String, Value)> = Vec::new();
        for (at, entry) in self.entries(entity, id)?.into_iter().enumerate() {
            let time = entry.get("time").and_then(Value::as_str).unwrap_or_default().to_owned();
            let data = json!({"id": at + 1, "item_id": id, "user_id": entry.get("actor_user_id"), "field_key": entry.get("field_key"),
                              "old_value": entry.get("old_value"), "new_value": entry.get("new_value"), "is_bulk_update_flag": null,
                              "log_time": time, "change_source": entry.get("change_source"), "additional_data": {}});
            all.push((time.clone(), json!({"object": format!("{entity}Change"), "timestamp": time, "data": data})));
        }
        for object in ["note", "activity"] {
            for (_, row) in self.tables.rows(object).filter(|(_, row)| !row.deleted && whole(&row.fields, link) == Some(id)) {
                let time = row.text("add_time").map(text::old_stamp).unwrap_or_default();
                let data = match object {
                    "note" => self.note(whole(&row.fields, "id").unwrap_or(0)),
                    _ => Value::Object(self.v1_record(object, row, false)),
                };
                all.push((time.clone(), json!({"object": object, "timestamp": time, "data": data})));
            }
        }
        all.sort_by(|(one, _), (other, _)| other.cmp(one));
        pages(all.into_iter().map(|(_, one)| one).collect(), params)
    }
}
