//! Merging: the record in the URL goes, `merge_with_id` stays.

use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::router::Ask;
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::write::whole;
use crate::sandbox::store::Row;

fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// The survivor's entries, then those of the other that it has not got.
fn joined(kept: &Value, gone: &Value) -> Value {
    let mut list: Vec<Value> = kept.as_array().cloned().unwrap_or_default();
    for one in gone.as_array().into_iter().flatten() {
        let text = |one: &Value| one.get("value").and_then(Value::as_str).map(str::to_lowercase);
        if list.iter().any(|known| if one.is_object() { text(known) == text(one) } else { known == one }) {
            continue;
        }
        let mut one = one.clone();
        if let (Value::Object(map), false) = (&mut one, list.is_empty()) {
            map.insert("primary".to_owned(), json!(false));
        }
        list.push(one);
    }
    Value::Array(list)
}

impl Pipedrive {
    /// `PUT /{entities}/{id}/merge`.
    pub(crate) fn merge(&mut self, act: Act, ask: &Ask<'_>, entity: &str, gone: i64) -> Answer {
        let given = ask.body.get("merge_with_id");
        let kept = given.and_then(|id| id.as_i64().or_else(|| id.as_str().filter(|_| ask.form).and_then(|id| id.parse().ok())));
        let kept = kept.ok_or_else(|| errors::bad("merge_with_id is required"))?;
        self.merge_records(act, entity, gone, kept)?;
        if entity == "organization" {
            return Ok(errors::data(json!({"id": kept})));
        }
        let row = self.live(entity, kept).ok_or_else(errors::unknown)?;
        let mut shown = self.v1_record(entity, row, false);
        shown.insert("merge_what_id".to_owned(), json!(gone));
        Ok(errors::data(shown))
    }

    pub(crate) fn merge_records(&mut self, act: Act, entity: &str, gone: i64, kept: i64) -> Result<(), Reply> {
        if gone == kept {
            return Err(errors::bad("A record cannot be merged with itself"));
        }
        let missing = || errors::missing(format!("{entity} not found"));
        let mut loser = self.live(entity, gone).cloned().ok_or_else(missing)?;
        let mut survivor = self.live(entity, kept).cloned().ok_or_else(missing)?;
        let at = text::stamp(act.now);
        let fill = |to: &mut Map<String, Value>, from: &Map<String, Value>| {
            for (name, value) in from.iter().filter(|(_, value)| !empty(value)) {
                if to.get(name).is_none_or(empty) {
                    to.insert(name.clone(), value.clone());
                }
            }
        };
        for name in ["emails", "phones", "im", "label_ids"] {
            if let (Some(mine), Some(other)) = (survivor.fields.get(name), loser.fields.get(name)) {
                let all = joined(mine, other);
                survivor.fields.insert(name.to_owned(), all);
            }
        }
        let mut custom = survivor.fields.get("custom_fields").and_then(Value::as_object).cloned().unwrap_or_default();
        if let Some(Value::Object(other)) = loser.fields.get("custom_fields") {
            fill(&mut custom, other);
        }
        fill(&mut survivor.fields, &loser.fields);
        survivor.fields.insert("custom_fields".to_owned(), Value::Object(custom));
        survivor.fields.insert("update_time".to_owned(), json!(at));
        loser.deleted = true;
        loser.fields.insert("is_deleted".to_owned(), json!(true));
        loser.fields.insert("update_time".to_owned(), json!(at));
        loser.fields.insert("_merged_into".to_owned(), json!(kept));
        // What hung on the one hangs on the other from now on.
        let links: &[(&str, &str)] = match entity {
            "person" => &[("deal", "person_id"), ("activity", "person_id"), ("note", "person_id"), ("lead", "person_id")],
            "organization" => {
                &[("person", "org_id"), ("deal", "org_id"), ("activity", "org_id"), ("note", "org_id"), ("lead", "organization_id")]
            }
            _ => &[("activity", "deal_id"), ("note", "deal_id"), ("dealProduct", "deal_id")],
        };
        for (of, link) in links {
            let hanging = self.tables.rows(of).filter(|(_, row)| !row.deleted && whole(&row.fields, link) == Some(gone));
            let hanging: Vec<(String, Row)> = hanging.map(|(key, row)| (key.to_owned(), row.clone())).collect();
            for (place, mut row) in hanging {
                row.fields.insert((*link).to_owned(), json!(kept));
                if let Some(Value::Array(people)) = row.fields.get_mut("participants")
                    && entity == "person"
                {
                    for one in people.iter_mut().filter_map(Value::as_object_mut) {
                        if whole(one, "person_id") == Some(gone) {
                            one.insert("person_id".to_owned(), json!(kept));
                        }
                    }
                }
                self.tables.put(of, &place, Some(row));
            }
        }
        let before = (self.tables.get(entity, &key(gone)).cloned(), self.tables.get(entity, &key(kept)).cloned());
        self.tables.put(entity, &key(gone), Some(loser));
        self.tables.put(entity, &key(kept), Some(survivor));
        // First the deletion that names the survivor, then the change that names the deleted.
        self.announce(act, entity, &key(gone), before.0.as_ref(), Some(("merged_to_id", kept)));
        self.announce(act, entity, &key(kept), before.1.as_ref(), Some(("merged_from_id", gone)));
        Ok(())
    }
}
