//! The v1 endpoints that have a v2 twin, for companies where they still answer.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::sandbox::pipedrive::entity::Entity;
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::paging::{pages, sort};
use crate::sandbox::pipedrive::router::{Ask, id_v1};
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::write::whole;

/// v1 name, v2 name.
const RENAMED: &[(&str, &str)] = &[
    ("email", "emails"),
    ("phone", "phones"),
    ("user_id", "owner_id"),
    ("busy_flag", "busy"),
    ("selectable", "is_linkable"),
    ("active_flag", ""),
    ("id", ""),
];

fn lenient(name: &str, value: &Value) -> Value {
    let number = |text: &str| text.parse::<i64>().ok().map(|id| json!(id));
    match (name, value) {
        // A text, or a list of texts or objects.
        ("emails" | "phones", Value::String(text)) => json!([{"value": text, "primary": true}]),
        ("emails" | "phones", Value::Array(list)) => {
            list.iter().map(|one| if let Value::String(text) = one { json!({"value": text}) } else { one.clone() }).collect()
        }
        ("done" | "busy", Value::Number(flag)) => json!(flag.as_i64() == Some(1)),
        ("done" | "busy", Value::String(flag)) => json!(flag == "1" || flag == "true"),
        (name, Value::String(text)) if name.ends_with("_id") || name == "visible_to" => number(text).unwrap_or_else(|| value.clone()),
        ("value", Value::String(text)) => text.parse::<f64>().map_or_else(|_| value.clone(), |number| json!(number)),
        ("address", Value::String(text)) => json!({"value": text}),
        _ => value.clone(),
    }
}

impl Pipedrive {
    /// A flat body as v2 would have it. What is unknown is ignored.
    fn modern(&self, entity: &Entity, body: &Map<String, Value>, old: &Map<String, Value>) -> Result<Value, String> {
        let mut fresh = Map::new();
        for (name, value) in body {
            let name = RENAMED.iter().find(|(old, _)| old == name).map_or(name.as_str(), |(_, new)| new);
            if entity.member(name, old.is_empty()).is_some() {
                fresh.insert(name.to_owned(), lenient(name, value));
            }
        }
        if entity.name == "activity"
            && let Some(person) = body.get("person_id").and_then(Value::as_i64)
        {
            fresh.insert("participants".to_owned(), json!([{"person_id": person, "primary": true}]));
        }
        if entity.custom {
            let before = old.get("custom_fields").and_then(Value::as_object).cloned().unwrap_or_default();
            let mut stored = before.clone();
            self.flat_values(entity.name, body, &mut stored)?;
            let mut changed: Map<String, Value> =
                stored.iter().filter(|(code, value)| before.get(*code) != Some(value)).map(|(c, v)| (c.clone(), v.clone())).collect();
            for code in before.keys().filter(|code| !stored.contains_key(*code)) {
                changed.insert(code.clone(), Value::Null);
            }
            for value in changed.values_mut().filter_map(Value::as_object_mut) {
                // What is derived is not written.
                value.retain(|name, value| !value.is_null() || name == "value");
            }
            if !changed.is_empty() {
                fresh.insert("custom_fields".to_owned(), Value::Object(changed));
            }
        }
        Ok(Value::Object(fresh))
    }

    /// `/{entities}[/{id}]` of v1.
    pub(crate) fn legacy(&mut self, act: Act, ask: &Ask<'_>, path: &[&str]) -> Answer {
        let (Some(plural), id) = (path.first(), path.get(1)) else { return Err(errors::no_path()) };
        let entity = Entity::plural(plural).ok_or_else(errors::no_path)?;
        let id = id.map(|id| id_v1(id)).transpose()?;
        let gone = || errors::missing(format!("{} not found", entity.title()));
        let shown = |pipedrive: &Self, id: i64| {
            pipedrive.tables.get(entity.name, &key(id)).map(|row| Value::Object(pipedrive.v1_record(entity.name, row, true)))
        };
        let empty = Map::new();
        let body = ask.body.as_object().unwrap_or(&empty);
        // The refusals of v2 in the words of v1.
        let old_words = |reply: crate::sandbox::call::Reply| match reply.body {
            crate::sandbox::call::Content::Json(body) if reply.status == StatusCode::BAD_REQUEST => {
                errors::bad(body.get("error").and_then(Value::as_str).unwrap_or("Bad request"))
            }
            body => crate::sandbox::call::Reply { body, ..reply },
        };
        match (id, ask.method.as_str()) {
            (None, "GET") => {
                let rows = self.tables.rows(entity.name).filter(|(_, row)| !row.deleted && !row.is_true("is_archived"));
                let mut all: Vec<Value> = rows.map(|(_, row)| Value::Object(self.v1_record(entity.name, row, true))).collect();
                sort(&mut all, ask.params, &["id", "name", "title", "add_time", "update_time", "order_nr"])?;
                pages(all, ask.params)
            }
            (Some(id), "GET") => {
                self.tables.get(entity.name, &key(id)).filter(|row| !row.fields.contains_key("_merged_into")).ok_or_else(gone)?;
                shown(self, id).map(errors::data).ok_or_else(gone)
            }
            (None, "POST") => {
                let fresh = self.modern(entity, body, &empty).map_err(errors::bad)?;
                let id = self.create(act, entity, &fresh).map_err(old_words)?;
                let mut reply = shown(self, id).map(errors::data).ok_or_else(gone)?;
                reply.status = StatusCode::CREATED;
                Ok(reply)
            }
            (Some(id), "PUT" | "PATCH") => {
                let old = self.live(entity.name, id).ok_or_else(gone)?.fields.clone();
                let fresh = self.modern(entity, body, &old).map_err(errors::bad)?;
                self.change(act, entity, id, &fresh).map_err(old_words)?;
                shown(self, id).map(errors::data).ok_or_else(gone)
            }
            (Some(id), "DELETE") => {
                self.remove(act, entity, id)?;
                let row = self.tables.get(entity.name, &key(id)).and_then(|row| whole(&row.fields, "id"));
                Ok(errors::data(json!({"id": row})))
            }
            _ => Err(errors::no_method()),
        }
    }
}
