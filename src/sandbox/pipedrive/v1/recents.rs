//! `GET /recents`: what has changed lately, in the shapes of v1.

use serde_json::{Value, json};

use crate::sandbox::call::{Content, Reply, param};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::paging::{pages, window};
use crate::sandbox::pipedrive::read::Params;
use crate::sandbox::pipedrive::state::{Act, Pipedrive};
use crate::sandbox::pipedrive::text;

const ITEMS: &[&str] =
    &["activity", "activityType", "deal", "file", "filter", "note", "person", "organization", "pipeline", "product", "stage", "user"];

/// It reaches back a month, whatever is asked (since 2024-12-01).
const REACH: i64 = 31 * 86_400;

impl Pipedrive {
    pub(crate) fn recents(&self, act: Act, params: &Params) -> Answer {
        let since = param(params, "since_timestamp").unwrap_or_default();
        let from = text::old_instant(since).ok_or_else(|| errors::bad("since_timestamp is required, as YYYY-MM-DD HH:MM:SS"))?;
        let from = from.as_second().max(act.now.as_second().saturating_sub(REACH));
        let wanted: Vec<&str> = param(params, "items").into_iter().flat_map(|items| items.split(',')).map(str::trim).collect();
        if let Some(strange) = wanted.iter().find(|item| !ITEMS.contains(item)) {
            return Err(errors::bad(format!("items: '{strange}' is unknown")));
        }
        let mut found: Vec<(String, Value)> = Vec::new();
        for item in ITEMS.iter().filter(|item| wanted.is_empty() || wanted.contains(item)) {
            for (_, row) in self.tables.rows(item) {
                let at = row.text("update_time").or_else(|| row.text("add_time")).or_else(|| row.text("at"));
                let Some(at) = at.filter(|at| text::instant(at).is_some_and(|at| at.as_second() >= from)) else { continue };
                let id = row.fields.get("id").cloned().unwrap_or(Value::Null);
                let data = match *item {
                    // Of what a merge has removed nothing is left to show.
                    _ if row.fields.contains_key("_merged_into") => Value::Null,
                    "user" => self.user_record(row),
                    "filter" => Value::Object(row.fields.clone().into_iter().filter(|(name, _)| name != "conditions").collect()),
                    "note" => self.note(id.as_i64().unwrap_or(0)),
                    item => Value::Object(self.v1_record(item, row, matches!(item, "organization" | "product"))),
                };
                found.push((text::old_stamp(at), json!({"item": item, "id": id, "data": data})));
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let (start, limit) = window(params)?;
        let last = found.iter().skip(start).take(limit).next_back().map(|(at, _)| at.clone());
        let mut reply: Reply = pages(found.into_iter().map(|(_, one)| one).collect(), params)?;
        if let Content::Json(body) = &mut reply.body
            && let Some(Value::Object(more)) = body.get_mut("additional_data")
        {
            more.insert("since_timestamp".to_owned(), json!(since));
            more.insert("last_timestamp_on_page".to_owned(), json!(last));
        }
        Ok(reply)
    }
}
