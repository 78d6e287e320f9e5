//! Leads and their labels: v1 only, UUIDs, custom fields flat with the keys of deals.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::lead::lead_record;
use crate::sandbox::pipedrive::paging::{pages, sort};
use crate::sandbox::pipedrive::read::Params;
use crate::sandbox::pipedrive::router::Ask;
use crate::sandbox::pipedrive::saved::satisfies;
use crate::sandbox::pipedrive::state::{Act, Pipedrive};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::write::whole;
use crate::sandbox::store::Row;

const SORT: &[&str] =
    &["id", "title", "owner_id", "creator_id", "was_seen", "expected_close_date", "next_activity_id", "add_time", "update_time"];

const COLORS: &[&str] = &["blue", "brown", "dark-gray", "gray", "green", "orange", "pink", "purple", "red", "yellow"];

fn no_lead() -> Reply {
    errors::missing("requested lead not found")
}

fn wrong(name: &str, what: &str) -> Reply {
    errors::bad(format!("{name} must be {what}"))
}

impl Pipedrive {
    /// `/leads...`.
    pub(crate) fn leads(&mut self, act: Act, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        if ask.form {
            return Err(errors::bad("Content-Type must be application/json"));
        }
        match (rest, ask.method.as_str()) {
            ([], "GET") => self.list_leads(ask.params, false),
            (["archived"], "GET") => self.list_leads(ask.params, true),
            (["search"], "GET") => {
                // v1 takes fields and exact_match as v2 does.
                let params: Vec<(String, String)> = ask.params.iter().filter(|(name, _)| name != "start").cloned().collect();
                self.search_entity("lead", &params)
            }
            ([], "POST") => {
                let id = self.write_lead(act, ask.body, None)?;
                Ok(Reply::json(StatusCode::CREATED, json!({"success": true, "data": self.lead(&id)})))
            }
            ([id], "GET") => {
                self.tables.live("lead", id).ok_or_else(no_lead)?;
                Ok(errors::data(self.lead(id)))
            }
            ([id], "PATCH") => {
                let id = self.write_lead(act, ask.body, Some(id))?;
                Ok(errors::data(self.lead(&id)))
            }
            ([id], "DELETE") => {
                self.remove_lead(act, id)?;
                Ok(errors::data(json!({"id": id})))
            }
            ([id, "permittedUsers"], "GET") => {
                self.tables.live("lead", id).ok_or_else(no_lead)?;
                Ok(errors::data(json!([self.user, self.other])))
            }
            ([] | [_], _) => Err(errors::no_method()),
            _ => Err(errors::no_path()),
        }
    }

    pub(crate) fn remove_lead(&mut self, act: Act, id: &str) -> Result<(), Reply> {
        let mut row = self.tables.live("lead", id).ok_or_else(no_lead)?.clone();
        row.deleted = true;
        row.fields.insert("update_time".to_owned(), json!(text::stamp_millis(act.now)));
        self.save(act, "lead", id, row);
        Ok(())
    }

    fn list_leads(&self, params: &Params, archived: bool) -> Answer {
        let since = match param(params, "updated_since") {
            None => None,
            Some(text) => Some(text::whole_seconds(text).ok_or_else(|| errors::bad("updated_since must be RFC 3339 in whole seconds"))?),
        };
        let number = |name: &str| match param(params, name) {
            None => Ok(None),
            Some(value) => value.parse::<i64>().map(Some).map_err(|_| wrong(name, "a number")),
        };
        let equal =
            [("owner_id", number("owner_id")?), ("person_id", number("person_id")?), ("organization_id", number("organization_id")?)];
        let filter = number("filter_id")?.map(|id| self.filter_of("lead", id).ok_or_else(|| errors::missing("Filter not found")));
        let filter = filter.transpose()?;
        let fits = |row: &Row| {
            !row.deleted
                && row.is_true("is_archived") == archived
                && filter.is_none_or(|filter| satisfies(filter, row))
                && since.is_none_or(|since| row.text("update_time").and_then(text::instant).is_some_and(|at| at >= since))
                && equal.iter().all(|(name, wanted)| wanted.is_none_or(|wanted| whole(&row.fields, name) == Some(wanted)))
        };
        let mut rows: Vec<(&str, &Row)> = self.tables.rows("lead").filter(|(_, row)| fits(row)).collect();
        rows.sort_by_key(|(_, row)| whole(&row.fields, "_nr"));
        let mut all: Vec<Value> = rows.into_iter().map(|(id, _)| self.lead(id)).collect();
        sort(&mut all, params, SORT)?;
        let mut reply = pages(all, params)?;
        // Lead lists are never null.
        if let crate::sandbox::call::Content::Json(Value::Object(body)) = &mut reply.body
            && body.get("data").is_some_and(Value::is_null)
        {
            body.insert("data".to_owned(), json!([]));
        }
        Ok(reply)
    }

    /// A lead as v1 shows it: custom fields without a value are absent.
    pub(crate) fn lead(&self, id: &str) -> Value {
        let Some(row) = self.tables.get("lead", id) else { return Value::Null };
        let mut shown = row.fields.clone();
        shown.retain(|name, _| !name.starts_with('_'));
        if let Some(Value::Object(stored)) = shown.remove("custom_fields") {
            self.flatten("lead", &stored, &mut shown);
        }
        Value::Object(shown)
    }

    pub(crate) fn write_lead(&mut self, act: Act, body: &Value, id: Option<&str>) -> Result<String, Reply> {
        let body = body.as_object().ok_or_else(|| errors::bad("Content-Type must be application/json and the body an object"))?;
        let mut fields = match id {
            Some(id) => self.tables.live("lead", id).ok_or_else(no_lead)?.fields.clone(),
            None => Map::new(),
        };
        let new = id.is_none();
        let id = match id {
            Some(id) => id.to_owned(),
            None => {
                let id = self.new_uuid("lead");
                fields = lead_record(&id, act, &self.domain);
                fields.insert("_nr".to_owned(), json!(self.new_id("lead row")));
                id
            }
        };
        if !new && fields.get("is_archived") == Some(&json!(true)) && body.get("is_archived") != Some(&json!(false)) {
            return Err(errors::forbidden("Archived leads cannot be edited"));
        }
        for (name, value) in body {
            let kept = match name.as_str() {
                "title" => match value.as_str().map(str::trim).filter(|text| !text.is_empty()) {
                    Some(text) => json!(text),
                    None => return Err(wrong(name, "a text that is not empty")),
                },
                "owner_id" => match value.as_i64().filter(|id| self.exists("user", *id)) {
                    Some(_) => value.clone(),
                    None => return Err(wrong(name, "the id of a user")),
                },
                "person_id" | "organization_id" if value.is_null() => Value::Null,
                "person_id" => match value.as_i64().filter(|id| self.exists("person", *id)) {
                    Some(_) => value.clone(),
                    None => return Err(wrong(name, "the id of a person")),
                },
                "organization_id" => match value.as_i64().filter(|id| self.exists("organization", *id)) {
                    Some(_) => value.clone(),
                    None => return Err(wrong(name, "the id of an organization")),
                },
                "label_ids" => {
                    let known = |id: &Value| id.as_str().is_some_and(|id| self.tables.live("leadLabel", id).is_some());
                    match value.as_array().filter(|list| list.iter().all(known)) {
                        Some(_) => value.clone(),
                        None => return Err(wrong(name, "ids of lead labels")),
                    }
                }
                "value" if value.is_null() => Value::Null,
                "value" => {
                    let amount = value.get("amount").filter(|amount| amount.is_number());
                    let currency = value.get("currency").and_then(Value::as_str).filter(|code| text::is_currency(code));
                    match (amount, currency) {
                        (Some(amount), Some(currency)) => json!({"amount": amount, "currency": currency}),
                        _ => return Err(wrong(name, "an object with amount and currency")),
                    }
                }
                "expected_close_date" => match value {
                    Value::Null => Value::Null,
                    Value::String(day) if text::is_day(day) => value.clone(),
                    _ => return Err(wrong(name, "a date (YYYY-MM-DD)")),
                },
                "visible_to" => match value.as_str() {
                    Some("1" | "3" | "5" | "7") => value.clone(),
                    _ => return Err(wrong(name, "one of \"1\", \"3\", \"5\", \"7\"")),
                },
                "was_seen" => match value {
                    Value::Bool(_) => value.clone(),
                    _ => return Err(wrong(name, "a boolean")),
                },
                "is_archived" if !new => match value {
                    Value::Bool(_) => value.clone(),
                    _ => return Err(wrong(name, "a boolean")),
                },
                "origin_id" if new => value.clone(),
                "channel_id" => match value {
                    Value::Null | Value::String(_) => value.clone(),
                    _ => return Err(wrong(name, "a string")),
                },
                "channel" => match value {
                    Value::Null | Value::Number(_) => value.clone(),
                    _ => return Err(wrong(name, "a number")),
                },
                // Custom fields come below; what is nobody's is ignored.
                _ => continue,
            };
            fields.insert(name.clone(), kept);
        }
        if fields.get("title").is_none_or(Value::is_null) {
            return Err(errors::bad("title is required"));
        }
        let linked = ["person_id", "organization_id"].iter().any(|name| whole(&fields, name).is_some());
        if !linked {
            return Err(errors::bad("A lead must be linked to a person or an organization: person_id or organization_id is required"));
        }
        let mut stored = match fields.remove("custom_fields") {
            Some(Value::Object(stored)) => stored,
            _ => Map::new(),
        };
        self.flat_values("lead", body, &mut stored).map_err(errors::bad)?;
        fields.insert("custom_fields".to_owned(), Value::Object(stored));
        fields.insert("update_time".to_owned(), json!(text::stamp_millis(act.now)));
        self.save(act, "lead", &id, Row { fields, deleted: false });
        Ok(id)
    }

    /// `/leadLabels...`.
    pub(crate) fn lead_labels(&mut self, act: Act, ask: &Ask<'_>, rest: &[&str]) -> Answer {
        let show = |row: &Row| {
            let mut fields = row.fields.clone();
            fields.remove("_nr");
            Value::Object(fields)
        };
        let at = text::stamp_millis(act.now);
        let name = ask.body.get("name").and_then(Value::as_str).filter(|name| !name.trim().is_empty());
        let color = ask.body.get("color").and_then(Value::as_str).filter(|color| COLORS.contains(color));
        match (rest, ask.method.as_str()) {
            ([], "GET") => {
                let mut rows: Vec<&Row> = self.tables.rows("leadLabel").map(|(_, row)| row).filter(|row| !row.deleted).collect();
                rows.sort_by_key(|row| whole(&row.fields, "_nr"));
                Ok(errors::data(rows.into_iter().map(show).collect::<Vec<_>>()))
            }
            ([], "POST") => {
                let (Some(name), Some(color)) = (name, color) else { return Err(errors::bad("name and a known color are required")) };
                let id = self.new_uuid("leadLabel");
                let number = self.new_id("leadLabel");
                let row = json!({"id": id, "name": name, "color": color, "add_time": at, "update_time": at, "_nr": number});
                let row = Row { fields: row.as_object().cloned().unwrap_or_default(), deleted: false };
                let data = show(&row);
                self.tables.put("leadLabel", &id, Some(row));
                Ok(errors::data(data))
            }
            ([id], method @ ("PATCH" | "DELETE")) => {
                let mut row = self.tables.live("leadLabel", id).ok_or_else(|| errors::missing("requested lead label not found"))?.clone();
                if method == "DELETE" {
                    row.deleted = true;
                    self.tables.put("leadLabel", id, Some(row));
                    return Ok(errors::data(json!({"id": id})));
                }
                if (name.is_none() && ask.body.get("name").is_some()) || (color.is_none() && ask.body.get("color").is_some()) {
                    return Err(errors::bad("name or color is not valid"));
                }
                for (member, value) in [("name", name), ("color", color)] {
                    if let Some(value) = value {
                        row.fields.insert(member.to_owned(), json!(value));
                    }
                }
                row.fields.insert("update_time".to_owned(), json!(at));
                let data = show(&row);
                self.tables.put("leadLabel", id, Some(row));
                Ok(errors::data(data))
            }
            _ => Err(errors::no_method()),
        }
    }
}
