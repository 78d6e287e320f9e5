//! Creating, changing and deleting in v2, and what every write does besides.

use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::sandbox::call::Reply;
use crate::sandbox::pipedrive::entity::{Entity, When};
use crate::sandbox::pipedrive::errors;
use crate::sandbox::pipedrive::state::{Act, Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::store::Row;

pub(crate) fn whole(fields: &Map<String, Value>, name: &str) -> Option<i64> {
    fields.get(name)?.as_i64()
}

pub(crate) fn words<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str()
}

/// The first word is the first name, the rest the last name.
pub(crate) fn split_name(name: &str) -> (Value, Value) {
    match name.trim().split_once(' ') {
        Some((first, last)) => (json!(first), json!(last.trim())),
        None => (json!(name.trim()), Value::Null),
    }
}

impl Pipedrive {
    /// Checks a body and returns the record it makes of `old`.
    fn checked(&self, entity: &Entity, body: &Value, old: Option<&Map<String, Value>>) -> Result<Map<String, Value>, Reply> {
        let Value::Object(body) = body else { return Err(errors::invalid(&["body: Expected 'object'".to_owned()])) };
        if let Some(custom) = body.get("custom_fields")
            && custom.get("custom_fields").is_some()
        {
            // One level too deep is more than Pipedrive expects.
            return Err(errors::unknown());
        }
        let new = old.is_none();
        let mut problems = Vec::new();
        let mut fields = old.cloned().unwrap_or_default();
        let mut custom = match fields.remove("custom_fields") {
            Some(Value::Object(custom)) => custom,
            _ => Map::new(),
        };
        for (name, value) in body {
            let Some(member) = entity.member(name, new) else {
                problems.push(errors::not_allowed(name));
                continue;
            };
            match member.when {
                When::ContactSync if !self.options.contact_sync => {
                    return Err(errors::forbidden(format!("The field '{name}' needs contact sync to be set up")));
                }
                When::Details if !self.options.organization_details => {
                    return Err(errors::forbidden(format!("The field '{name}' is not enabled for this company")));
                }
                _ => {}
            }
            if name == "custom_fields" {
                match value {
                    Value::Object(given) if given.is_empty() => {
                        if self.options.empty_custom_fields_clear {
                            custom.clear();
                        }
                    }
                    Value::Null => {}
                    given => self.accept_custom(entity.name, given, &mut custom, &mut problems),
                }
                continue;
            }
            match self.accept(entity, member, value) {
                Ok(value) => {
                    fields.insert(name.clone(), value);
                }
                Err(problem) if problem.starts_with('[') => problems.push(format!("{name}{problem}")),
                Err(problem) => problems.push(format!("{name}: {problem}")),
            }
        }
        if new {
            let both = entity.name == "person" && body.contains_key("first_name") && body.contains_key("last_name");
            for name in entity.required {
                if !body.contains_key(*name) && !both {
                    problems.push(format!("{name}: Required"));
                }
            }
        }
        if !problems.is_empty() {
            return Err(errors::invalid(&problems));
        }
        if entity.custom {
            fields.insert("custom_fields".to_owned(), Value::Object(custom));
        }
        Ok(fields)
    }

    /// Creates, and returns the id.
    pub(crate) fn create(&mut self, act: Act, entity: &'static Entity, body: &Value) -> Result<i64, Reply> {
        let mut fields = self.checked(entity, body, None)?;
        let at = text::stamp(act.now);
        let default = |fields: &mut Map<String, Value>, name: &str, value: Value| {
            if fields.get(name).is_none_or(Value::is_null) {
                fields.insert(name.to_owned(), value);
            }
        };
        default(&mut fields, "add_time", json!(at));
        fields.insert("update_time".to_owned(), json!(at));
        default(&mut fields, "is_deleted", json!(false));
        if matches!(entity.name, "person" | "organization" | "deal" | "activity" | "product") {
            default(&mut fields, "owner_id", json!(act.user));
        }
        if matches!(entity.name, "person" | "organization" | "deal" | "product") {
            default(&mut fields, "visible_to", json!(3));
            default(&mut fields, "label_ids", json!([]));
        }
        match entity.name {
            "person" => {
                default(&mut fields, "emails", json!([]));
                default(&mut fields, "phones", json!([]));
                default(&mut fields, "marketing_status", json!("no_consent"));
            }
            "deal" => {
                let open = self.tables.rows("deal").filter(|(_, row)| !row.deleted && row.text("status") == Some("open")).count();
                if self.options.open_deals_limit.is_some_and(|limit| open >= limit) {
                    let body = json!({"success": false, "error": "Couldn't add the deal. Open deals limit reached.", "error_info": "",
                                      "data": null, "additional_data": null, "code": "feature_capping_deals_limit"});
                    return Err(Reply::json(StatusCode::FORBIDDEN, body));
                }
                default(&mut fields, "currency", json!("EUR"));
                default(&mut fields, "value", json!(0));
                default(&mut fields, "status", json!("open"));
                default(&mut fields, "is_archived", json!(false));
                fields.insert("creator_user_id".to_owned(), json!(act.user));
                fields.insert("stage_change_time".to_owned(), json!(at));
                fields.insert("origin".to_owned(), json!("API"));
            }
            "activity" => {
                default(&mut fields, "type", json!("call"));
                let kind = words(&fields, "type").unwrap_or_default().to_owned();
                let name = self.tables.rows("activityType").find(|(_, row)| row.text("key_string") == Some(kind.as_str()));
                let name = name.and_then(|(_, row)| row.fields.get("name").cloned()).unwrap_or_else(|| json!(kind));
                default(&mut fields, "subject", name);
                default(&mut fields, "done", json!(false));
                default(&mut fields, "busy", json!(false));
                default(&mut fields, "participants", json!([]));
                fields.insert("creator_user_id".to_owned(), json!(act.user));
            }
            "product" => {
                default(&mut fields, "tax", json!(0));
                default(&mut fields, "unit", json!(""));
                default(&mut fields, "is_linkable", json!(true));
                default(&mut fields, "billing_frequency", json!("one-time"));
                default(&mut fields, "prices", json!([{"currency": "EUR", "price": 0, "cost": 0, "direct_cost": null, "notes": ""}]));
            }
            "pipeline" => {
                let last = self.tables.rows("pipeline").filter_map(|(_, row)| whole(&row.fields, "order_nr")).max().unwrap_or(0);
                fields.insert("order_nr".to_owned(), json!(last + 1));
                default(&mut fields, "is_deal_probability_enabled", json!(false));
            }
            "stage" => {
                let pipeline = whole(&fields, "pipeline_id");
                let orders = self.tables.rows("stage").filter(|(_, row)| whole(&row.fields, "pipeline_id") == pipeline);
                let last = orders.filter_map(|(_, row)| whole(&row.fields, "order_nr")).max().unwrap_or(0);
                fields.insert("order_nr".to_owned(), json!(last + 1));
                default(&mut fields, "deal_probability", json!(100));
                default(&mut fields, "is_deal_rot_enabled", json!(false));
            }
            _ => {}
        }
        self.finish(act, entity, body, &mut fields, None)?;
        let id = self.new_id(entity.name);
        fields.insert("id".to_owned(), json!(id));
        self.save(act, entity.name, &key(id), Row { fields, deleted: false });
        Ok(id)
    }

    /// Changes a record.
    pub(crate) fn change(&mut self, act: Act, entity: &'static Entity, id: i64, body: &Value) -> Result<(), Reply> {
        let Some(row) = self.live(entity.name, id).cloned() else { return Err(errors::missing(format!("{} not found", entity.title()))) };
        if row.is_true("is_archived") && body.as_object().is_none_or(|body| body.keys().any(|name| name != "is_archived")) {
            return Err(errors::forbidden("Archived deals cannot be edited"));
        }
        let mut fields = self.checked(entity, body, Some(&row.fields))?;
        self.finish(act, entity, body, &mut fields, Some(&row.fields))?;
        fields.insert("update_time".to_owned(), json!(text::stamp(act.now)));
        self.save(act, entity.name, &key(id), Row { fields, deleted: false });
        Ok(())
    }

    /// What follows from a body: names, stages, statuses, what is done.
    fn finish(
        &mut self,
        act: Act,
        entity: &Entity,
        body: &Value,
        fields: &mut Map<String, Value>,
        old: Option<&Map<String, Value>>,
    ) -> Result<(), Reply> {
        let given = |name: &str| body.get(name).is_some();
        match entity.name {
            "person" => {
                if given("name") && !given("first_name") && !given("last_name") {
                    let (first, last) = split_name(words(fields, "name").unwrap_or_default());
                    fields.insert("first_name".to_owned(), first);
                    fields.insert("last_name".to_owned(), last);
                } else if !given("name") && (given("first_name") || given("last_name")) {
                    let parts: Vec<&str> = ["first_name", "last_name"].into_iter().filter_map(|name| words(fields, name)).collect();
                    let name = parts.join(" ").trim().to_owned();
                    if name.is_empty() {
                        return Err(errors::invalid_one("name", "String must contain at least 1 character(s)"));
                    }
                    fields.insert("name".to_owned(), json!(name));
                }
                for name in ["emails", "phones", "label_ids"] {
                    if fields.get(name).is_none_or(Value::is_null) {
                        fields.insert(name.to_owned(), json!([]));
                    }
                }
            }
            "deal" => self.finish_deal(act, body, fields, old)?,
            "activity" => {
                let done = fields.get("done").and_then(Value::as_bool).unwrap_or(false);
                let was = old.and_then(|old| old.get("done")).and_then(Value::as_bool).unwrap_or(false);
                if done != was {
                    fields.insert("marked_as_done_time".to_owned(), if done { json!(text::stamp(act.now)) } else { Value::Null });
                }
                let people = fields.get("participants").and_then(Value::as_array).cloned().unwrap_or_default();
                let primary = people.iter().find(|one| one.get("primary") == Some(&json!(true)));
                let person = primary.and_then(|one| one.get("person_id")).cloned().unwrap_or(Value::Null);
                fields.insert("person_id".to_owned(), person);
                if fields.get("participants").is_none_or(Value::is_null) {
                    fields.insert("participants".to_owned(), json!([]));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish_deal(
        &mut self,
        act: Act,
        body: &Value,
        fields: &mut Map<String, Value>,
        old: Option<&Map<String, Value>>,
    ) -> Result<(), Reply> {
        let given = |name: &str| body.get(name).is_some_and(|value| !value.is_null());
        let at = text::stamp(act.now);
        if fields.get("is_deleted") == Some(&json!(true)) {
            return Err(errors::invalid_one("is_deleted", "a deal cannot be deleted this way, use DELETE"));
        }
        // The pipeline follows the stage; without a stage it is the first of the pipeline.
        if given("stage_id") {
            let stage = whole(fields, "stage_id").and_then(|id| self.live("stage", id));
            let pipeline = stage.and_then(|row| row.fields.get("pipeline_id").cloned()).unwrap_or(Value::Null);
            fields.insert("pipeline_id".to_owned(), pipeline);
        } else if given("pipeline_id") || old.is_none() {
            let first = || self.tables.rows("pipeline").find(|(_, row)| !row.deleted).and_then(|(_, row)| whole(&row.fields, "id"));
            let Some(pipeline) = whole(fields, "pipeline_id").or_else(first) else {
                return Err(errors::invalid_one("pipeline_id", "there is no pipeline"));
            };
            let moved = old.and_then(|old| whole(old, "pipeline_id")) != Some(pipeline);
            if moved {
                let stages =
                    self.tables.rows("stage").filter(|(_, row)| !row.deleted && whole(&row.fields, "pipeline_id") == Some(pipeline));
                let stage = stages.min_by_key(|(_, row)| whole(&row.fields, "order_nr")).and_then(|(_, row)| whole(&row.fields, "id"));
                let Some(stage) = stage else { return Err(errors::invalid_one("pipeline_id", "the pipeline has no stage")) };
                fields.insert("stage_id".to_owned(), json!(stage));
            }
            fields.insert("pipeline_id".to_owned(), json!(pipeline));
        }
        if let Some(old) = old
            && old.get("stage_id") != fields.get("stage_id")
        {
            fields.insert("stage_change_time".to_owned(), json!(at));
        }
        let status = words(fields, "status").unwrap_or("open").to_owned();
        let only = [
            ("lost_reason", status == "lost"),
            ("won_time", status == "won"),
            ("lost_time", status == "lost"),
            ("close_time", status != "open"),
        ];
        for (name, allowed) in only {
            if given(name) && !allowed {
                return Err(errors::invalid_one(name, &format!("can not be set when the status is {status}")));
            }
            if !allowed {
                fields.insert(name.to_owned(), Value::Null);
            }
        }
        let before = old.and_then(|old| words(old, "status")).unwrap_or("open");
        if status != before || old.is_none() {
            let own = match status.as_str() {
                "won" => Some("won_time"),
                "lost" => Some("lost_time"),
                _ => None,
            };
            if let Some(own) = own {
                if !given(own) {
                    fields.insert(own.to_owned(), json!(at));
                }
                if !given("close_time") {
                    let closed = fields.get(own).cloned().unwrap_or(Value::Null);
                    fields.insert("close_time".to_owned(), closed);
                }
                if status == "won" && fields.get("first_won_time").is_none_or(Value::is_null) {
                    let won = fields.get("won_time").cloned().unwrap_or(Value::Null);
                    fields.insert("first_won_time".to_owned(), won);
                }
            }
        }
        for (time, date) in [("won_time", "local_won_date"), ("lost_time", "local_lost_date"), ("close_time", "local_close_date")] {
            let day = words(fields, time).and_then(|at| at.get(..10)).map_or(Value::Null, |day| json!(day));
            fields.insert(date.to_owned(), day);
        }
        let archived = fields.get("is_archived") == Some(&json!(true));
        if !archived {
            fields.insert("archive_time".to_owned(), Value::Null);
        } else if fields.get("archive_time").is_none_or(Value::is_null) {
            fields.insert("archive_time".to_owned(), json!(at));
        }
        Ok(())
    }

    /// Marks as deleted; `update_time` is when.
    pub(crate) fn remove(&mut self, act: Act, entity: &'static Entity, id: i64) -> Result<(), Reply> {
        let Some(mut row) = self.live(entity.name, id).cloned() else {
            return Err(errors::missing(format!("{} not found", entity.title())));
        };
        if entity.name == "stage" && self.tables.rows("deal").any(|(_, row)| !row.deleted && whole(&row.fields, "stage_id") == Some(id)) {
            return Err(errors::bad("The stage still has deals"));
        }
        row.deleted = true;
        row.fields.insert("is_deleted".to_owned(), json!(true));
        row.fields.insert("update_time".to_owned(), json!(text::stamp(act.now)));
        if entity.name == "deal" {
            row.fields.insert("status".to_owned(), json!("deleted"));
        }
        self.save(act, entity.name, &key(id), row);
        Ok(())
    }

    /// Keeps a row, and tells the webhooks.
    pub(crate) fn save(&mut self, act: Act, entity: &str, key: &str, row: Row) {
        let old = self.tables.get(entity, key).cloned();
        self.tables.put(entity, key, Some(row));
        self.log_change(act, entity, old.as_ref(), key);
        self.announce(act, entity, key, old.as_ref(), None);
    }
}
