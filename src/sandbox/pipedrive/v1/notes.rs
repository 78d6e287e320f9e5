//! Notes and their comments: v1 only.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::paging::{pages, sort};
use crate::sandbox::pipedrive::read::Params;
use crate::sandbox::pipedrive::router::{Ask, id_v1};
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::write::whole;
use crate::sandbox::store::Row;

/// Each link, the entity it names, and the flag that pins to it.
const LINKS: &[(&str, &str, &str)] = &[
    ("deal_id", "deal", "pinned_to_deal_flag"),
    ("person_id", "person", "pinned_to_person_flag"),
    ("org_id", "organization", "pinned_to_organization_flag"),
    ("lead_id", "lead", "pinned_to_lead_flag"),
    ("project_id", "project", "pinned_to_project_flag"),
    ("task_id", "task", "pinned_to_task_flag"),
];

/// What the server takes out of a note.
static SCRIPT: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?is)<(script|style|iframe)\b.*?</(script|style|iframe)\s*>|\son[a-z]+\s*=\s*("[^"]*"|'[^']*')"#).ok());

fn sanitised(html: &str) -> String {
    match SCRIPT.as_ref() {
        Some(script) => script.replace_all(html, "").into_owned(),
        None => html.to_owned(),
    }
}

/// 0 or 1; a boolean fails the schema. Forms bring texts.
fn pin(name: &str, value: &Value, form: bool) -> Result<bool, Reply> {
    match value {
        Value::Number(number) if number.as_i64() == Some(0) => Ok(false),
        Value::Number(number) if number.as_i64() == Some(1) => Ok(true),
        Value::String(text) if form && text == "0" => Ok(false),
        Value::String(text) if form && text == "1" => Ok(true),
        _ => Err(errors::bad(format!("{name} must be a number, 0 or 1"))),
    }
}

impl Pipedrive {
    /// `/notes...`.
    pub(crate) fn notes(&mut self, act: Act, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        match (rest, ask.method.as_str()) {
            ([], "GET") => self.list_notes(ask.params),
            ([], "POST") => self.write_note(act, ask.body, ask.form, None).map(|id| errors::data(self.note(id))),
            ([id], method) => {
                let id = id_v1(id)?;
                let Some(mut row) = self.live("note", id).cloned() else { return Err(errors::missing("Note not found")) };
                match method {
                    "GET" => Ok(errors::data(self.note(id))),
                    "PUT" => self.write_note(act, ask.body, ask.form, Some(id)).map(|id| errors::data(self.note(id))),
                    "DELETE" => {
                        row.deleted = true;
                        row.fields.insert("update_time".to_owned(), json!(text::stamp(act.now)));
                        self.save(act, "note", &key(id), row);
                        Ok(errors::data(true))
                    }
                    _ => Err(errors::no_method()),
                }
            }
            ([id, "comments", rest @ ..], _) => {
                let id = id_v1(id)?;
                if !self.exists("note", id) {
                    return Err(errors::missing("Note not found"));
                }
                self.comments(act, ask, id, rest)
            }
            _ => Err(errors::no_path()),
        }
    }

    fn list_notes(&self, params: &Params) -> Answer {
        let since = match param(params, "updated_since") {
            None => None,
            Some(text) => Some(text::whole_seconds(text).ok_or_else(|| errors::bad("updated_since must be RFC 3339 in whole seconds"))?),
        };
        let day = |name: &str| match param(params, name) {
            Some(day) if !text::is_day(day) => Err(errors::bad(format!("{name} must be YYYY-MM-DD"))),
            day => Ok(day),
        };
        let (from, until) = (day("start_date")?, day("end_date")?);
        let mut links = Vec::new();
        for (link, _, flag) in LINKS {
            if let Some(id) = param(params, link) {
                links.push((*link, id));
            }
            if let Some(value) = param(params, flag) {
                links.push((*flag, if value == "1" { "true" } else { "false" }));
            }
        }
        if let Some(user) = param(params, "user_id") {
            links.push(("user_id", user));
        }
        let fits = |row: &Row| {
            let at = row.text("update_time").and_then(text::instant);
            let made = row.text("add_time").and_then(|at| at.get(..10));
            !row.deleted
                && since.is_none_or(|since| at.is_some_and(|at| at >= since))
                && from.is_none_or(|from| made.is_some_and(|made| made >= from))
                && until.is_none_or(|until| made.is_some_and(|made| made <= until))
                && links.iter().all(|(name, wanted)| match row.fields.get(*name) {
                    Some(Value::String(text)) => text == wanted,
                    Some(Value::Bool(on)) => *wanted == if *on { "true" } else { "false" },
                    Some(other) => other.as_i64().is_some_and(|id| wanted.parse() == Ok(id)),
                    None => false,
                })
        };
        let ids = self.tables.rows("note").filter(|(_, row)| fits(row)).filter_map(|(_, row)| whole(&row.fields, "id"));
        let mut all: Vec<Value> = ids.map(|id| self.note(id)).collect();
        sort(&mut all, params, &["id", "user_id", "deal_id", "person_id", "org_id", "content", "add_time", "update_time"])?;
        pages(all, params)
    }

    fn write_note(&mut self, act: Act, body: &Value, form: bool, id: Option<i64>) -> Result<i64, Reply> {
        let body = body.as_object().ok_or_else(|| errors::bad("Bad request"))?;
        let mut row = match id {
            Some(id) => self.live("note", id).cloned().unwrap_or_default(),
            None => {
                let mut fields = Map::new();
                LINKS.iter().for_each(|(link, _, flag)| {
                    fields.insert((*link).to_owned(), Value::Null);
                    fields.insert((*flag).to_owned(), json!(false));
                });
                fields.insert("user_id".to_owned(), json!(act.user));
                fields.insert("add_time".to_owned(), json!(text::stamp(act.now)));
                Row { fields, deleted: false }
            }
        };
        match body.get("content") {
            Some(Value::String(html)) if !html.is_empty() => drop(row.fields.insert("content".to_owned(), json!(sanitised(html)))),
            None if id.is_some() => {}
            _ => return Err(errors::bad("content is required")),
        }
        for (link, entity, _) in LINKS {
            let Some(value) = body.get(*link) else { continue };
            if value.is_null() {
                row.fields.insert((*link).to_owned(), Value::Null);
                continue;
            }
            let found = if *link == "lead_id" {
                value.as_str().filter(|id| self.tables.live("lead", id).is_some()).map(|id| json!(id))
            } else {
                let number = value.as_i64().or_else(|| value.as_str().filter(|_| form).and_then(|text| text.parse().ok()));
                number.filter(|id| self.exists(entity, *id)).map(|id| json!(id))
            };
            let found = found.ok_or_else(|| errors::bad(format!("{link}: the {entity} does not exist")))?;
            row.fields.insert((*link).to_owned(), found);
        }
        if !LINKS.iter().any(|(link, ..)| row.fields.get(*link).is_some_and(|id| !id.is_null())) {
            return Err(errors::bad("One of deal_id, person_id, org_id, lead_id, project_id or task_id is required"));
        }
        for (link, _, flag) in LINKS {
            let Some(value) = body.get(*flag) else { continue };
            let on = pin(flag, value, form)?;
            if on && row.fields.get(*link).is_none_or(Value::is_null) {
                return Err(errors::bad(format!("{flag} needs {link}")));
            }
            row.fields.insert((*flag).to_owned(), json!(on));
        }
        if let Some(at) = body.get("add_time") {
            let at = at.as_str().and_then(text::old_instant).ok_or_else(|| errors::bad("add_time must be YYYY-MM-DD HH:MM:SS"))?;
            row.fields.insert("add_time".to_owned(), json!(text::stamp(at)));
        }
        if let Some(user) = body.get("user_id") {
            let user = user.as_i64().or_else(|| user.as_str()?.parse().ok()).filter(|user| self.exists("user", *user));
            row.fields.insert("user_id".to_owned(), json!(user.ok_or_else(|| errors::bad("user_id: the user does not exist"))?));
        }
        row.fields.insert("update_time".to_owned(), json!(text::stamp(act.now)));
        row.fields.insert("last_update_user_id".to_owned(), json!(act.user));
        let number = id.unwrap_or_else(|| self.new_id("note"));
        row.fields.insert("id".to_owned(), json!(number));
        self.save(act, "note", &key(number), row);
        Ok(number)
    }

    /// Writes as another user.
    pub(crate) fn edit_note(&mut self, act: Act, id: Option<i64>, body: &Value) -> Result<i64, Reply> {
        if id.is_some_and(|id| !self.exists("note", id)) {
            return Err(errors::missing("Note not found"));
        }
        self.write_note(act, body, false, id)
    }

    /// A note as v1 shows it.
    pub(crate) fn note(&self, id: i64) -> Value {
        let Some(row) = self.tables.get("note", &key(id)) else { return Value::Null };
        let mut shown = row.fields.clone();
        shown.remove("task_id");
        for name in ["add_time", "update_time"] {
            let at = row.text(name).map_or(Value::Null, |at| json!(text::old_stamp(at)));
            shown.insert(name.to_owned(), at);
        }
        shown.insert("active_flag".to_owned(), json!(!row.deleted));
        let linked = |entity: &str, link: &str, member: &str| match whole(&row.fields, link) {
            Some(id) => {
                let mut one = Map::new();
                one.insert(member.to_owned(), self.name_of(entity, Some(id), member));
                Value::Object(one)
            }
            None => Value::Null,
        };
        shown.insert("deal".to_owned(), linked("deal", "deal_id", "title"));
        shown.insert("person".to_owned(), linked("person", "person_id", "name"));
        shown.insert("organization".to_owned(), linked("organization", "org_id", "name"));
        shown.insert("project".to_owned(), Value::Null);
        let user = whole(&row.fields, "user_id");
        let author = json!({"email": self.name_of("user", user, "email"), "icon_url": null, "is_you": user == Some(self.user), "name": self.name_of("user", user, "name")});
        shown.insert("user".to_owned(), author);
        Value::Object(shown)
    }

    fn comments(&mut self, act: Act, ask: &Ask<'_>, note: i64, rest: &[&str]) -> Answer {
        let of = note.to_string();
        let mine = |row: &Row| !row.deleted && row.text("object_id") == Some(of.as_str());
        let shown = |row: &Row| {
            let mut fields = row.fields.clone();
            fields.remove("_nr");
            fields.insert("active_flag".to_owned(), json!(!row.deleted));
            Value::Object(fields)
        };
        let at = text::stamp_millis(act.now);
        let content = || {
            ask.body
                .get("content")
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
                .ok_or_else(|| errors::bad("content is required"))
        };
        match (rest, ask.method.as_str()) {
            ([], "GET") => {
                let mut rows: Vec<&Row> = self.tables.rows("comment").map(|(_, row)| row).filter(|row| mine(row)).collect();
                rows.sort_by_key(|row| whole(&row.fields, "_nr"));
                pages(rows.into_iter().map(shown).collect(), ask.params)
            }
            ([], "POST") => {
                let content = sanitised(content()?);
                let id = self.new_uuid("comment");
                let number = self.new_id("comment row");
                let row = json!({"uuid": id, "add_time": at, "update_time": at, "company_id": self.company, "content": content, "object_id": of,
                                 "object_type": "note", "updater_id": act.user, "user_id": act.user, "_nr": number});
                let row = Row { fields: row.as_object().cloned().unwrap_or_default(), deleted: false };
                let data = shown(&row);
                self.tables.put("comment", &id, Some(row));
                Ok(errors::data(data))
            }
            ([id], method) => {
                let found = self.tables.live("comment", id).filter(|row| mine(row)).cloned();
                let mut row = found.ok_or_else(|| errors::missing("Comment not found"))?;
                match method {
                    "GET" => return Ok(errors::data(shown(&row))),
                    "PUT" => {
                        row.fields.insert("content".to_owned(), json!(sanitised(content()?)));
                        row.fields.insert("update_time".to_owned(), json!(at));
                    }
                    "DELETE" => row.deleted = true,
                    _ => return Err(errors::no_method()),
                }
                let data = if row.deleted { json!(true) } else { shown(&row) };
                self.tables.put("comment", id, Some(row));
                Ok(errors::data(data))
            }
            _ => Err(errors::no_path()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_do_not_stay() {
        assert_eq!(sanitised("<b onclick=\"x()\">a</b><script>alert(1)</script>"), "<b>a</b>");
        assert_eq!(sanitised("plain & simple"), "plain & simple");
    }

    #[test]
    fn a_pin_is_a_number() {
        assert!(pin("f", &json!(1), false).unwrap());
        assert!(pin("f", &json!(true), false).is_err());
        assert!(pin("f", &json!("1"), false).is_err());
        assert!(pin("f", &json!("1"), true).unwrap());
    }
}
