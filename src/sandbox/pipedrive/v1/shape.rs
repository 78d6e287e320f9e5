//! Records as v1 shows them: flat, with objects for what they link to.

use serde_json::{Map, Value, json};

use crate::sandbox::pipedrive::entity::Entity;
use crate::sandbox::pipedrive::state::{Pipedrive, key};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::values::PARTS;
use crate::sandbox::pipedrive::write::whole;
use crate::sandbox::store::Row;

fn value(row: &Row, name: &str) -> Value {
    row.fields.get(name).cloned().unwrap_or(Value::Null)
}

fn old(row: &Row, name: &str) -> Value {
    row.text(name).map_or(Value::Null, |at| json!(text::old_stamp(at)))
}

fn visible(row: &Row) -> Value {
    match value(row, "visible_to") {
        Value::Number(number) => json!(number.to_string()),
        other => other,
    }
}

/// v1 shows no list as one empty entry.
fn contacts(row: &Row, name: &str) -> Value {
    match value(row, name) {
        Value::Array(list) if !list.is_empty() => Value::Array(list),
        _ => json!([{"value": "", "primary": true}]),
    }
}

fn first_label(row: &Row) -> Value {
    row.fields.get("label_ids").and_then(Value::as_array).and_then(|ids| ids.first()).cloned().unwrap_or(Value::Null)
}

fn parts(record: &mut Map<String, Value>, prefix: &str, address: &Value) {
    record.insert(prefix.to_owned(), address.get("value").cloned().unwrap_or(Value::Null));
    for part in PARTS.iter().copied().chain(["formatted_address"]) {
        record.insert(format!("{prefix}_{part}"), address.get(part).cloned().unwrap_or(Value::Null));
    }
}

impl Pipedrive {
    pub(crate) fn user_object(&self, id: Option<i64>) -> Value {
        let Some(row) = id.and_then(|id| self.tables.get("user", &key(id))) else { return Value::Null };
        json!({"id": id, "name": value(row, "name"), "email": value(row, "email"), "has_pic": 0, "pic_hash": null, "active_flag": true, "value": id})
    }

    fn org_object(&self, id: Option<i64>) -> Value {
        let Some(row) = id.and_then(|id| self.tables.get("organization", &key(id))) else { return Value::Null };
        let address = value(row, "address").get("value").cloned().unwrap_or(Value::Null);
        json!({"name": value(row, "name"), "people_count": self.derived("organization", row, "people_count"), "owner_id": value(row, "owner_id"),
               "address": address, "active_flag": !row.deleted, "cc_email": self.bcc("organization", 0), "value": id})
    }

    fn person_object(&self, id: Option<i64>) -> Value {
        let Some(row) = id.and_then(|id| self.tables.get("person", &key(id))) else { return Value::Null };
        json!({"active_flag": !row.deleted, "name": value(row, "name"), "email": contacts(row, "emails"), "phone": contacts(row, "phones"),
               "owner_id": value(row, "owner_id"), "value": id})
    }

    /// What v1 repeats of the next and the last activity.
    fn activity_facts(&self, entity: &str, row: &Row, put: &mut dyn FnMut(&str, Value)) {
        let of = |name: &str| self.derived(entity, row, name).as_i64().and_then(|id| self.tables.get("activity", &key(id)));
        let (next, last) = (of("next_activity_id"), of("last_activity_id"));
        let member = |row: Option<&Row>, name: &str| row.map_or(Value::Null, |row| value(row, name));
        put("next_activity_date", member(next, "due_date"));
        put("next_activity_time", member(next, "due_time"));
        put("last_activity_date", member(last, "due_date"));
        put("last_incoming_mail_time", Value::Null);
        put("last_outgoing_mail_time", Value::Null);
        if entity == "deal" {
            for name in ["subject", "type", "duration", "note"] {
                put(&format!("next_activity_{name}"), member(next, name));
            }
        }
    }

    /// A record in the shape of v1. With `objects` false, links are plain ids, as merges and recents show deals.
    pub(crate) fn v1_record(&self, entity: &str, row: &Row, objects: bool) -> Map<String, Value> {
        let link = |name: &str| whole(&row.fields, name);
        let plain = |name: &str| value(row, name);
        let pick = |object: Value, name: &str| if objects { object } else { plain(name) };
        let mut record = Map::new();
        let mut put = |name: &str, value: Value| drop(record.insert(name.to_owned(), value));
        put("id", plain("id"));
        put("company_id", json!(self.company));
        put("add_time", old(row, "add_time"));
        put("update_time", old(row, "update_time"));
        let counts = |put: &mut dyn FnMut(&str, Value), entity: &str| {
            let Some(known) = Entity::named(entity) else { return };
            for name in known.include.iter().filter(|name| name.ends_with("_count") || name.ends_with("activity_id")) {
                put(name, self.derived(entity, row, name));
            }
        };
        match entity {
            "person" => {
                put("name", plain("name"));
                put("first_name", plain("first_name"));
                put("last_name", plain("last_name"));
                put(
                    "first_char",
                    plain("name")
                        .as_str()
                        .and_then(|name| name.chars().next())
                        .map_or(Value::Null, |letter| json!(letter.to_lowercase().to_string())),
                );
                put("email", contacts(row, "emails"));
                put("phone", contacts(row, "phones"));
                put("owner_id", pick(self.user_object(link("owner_id")), "owner_id"));
                put("owner_name", self.name_of("user", link("owner_id"), "name"));
                put("org_id", pick(self.org_object(link("org_id")), "org_id"));
                put("org_name", self.name_of("organization", link("org_id"), "name"));
                put("active_flag", json!(!row.deleted));
                put("visible_to", visible(row));
                put("label", first_label(row));
                put("label_ids", plain("label_ids"));
                put("picture_id", Value::Null);
                put("cc_email", json!(self.bcc(entity, 0)));
                counts(&mut put, entity);
                self.activity_facts(entity, row, &mut put);
            }
            "organization" => {
                put("name", plain("name"));
                put(
                    "first_char",
                    plain("name")
                        .as_str()
                        .and_then(|name| name.chars().next())
                        .map_or(Value::Null, |letter| json!(letter.to_lowercase().to_string())),
                );
                put("owner_id", pick(self.user_object(link("owner_id")), "owner_id"));
                put("owner_name", self.name_of("user", link("owner_id"), "name"));
                put("active_flag", json!(!row.deleted));
                put("visible_to", visible(row));
                put("label", first_label(row));
                put("label_ids", plain("label_ids"));
                put("cc_email", json!(self.bcc(entity, 0)));
                for name in ["website", "linkedin", "industry", "annual_revenue", "employee_count"] {
                    put(name, plain(name));
                }
                counts(&mut put, entity);
                self.activity_facts(entity, row, &mut put);
                parts(&mut record, "address", &plain("address"));
            }
            "deal" => {
                put("title", plain("title"));
                put("creator_user_id", pick(self.user_object(link("creator_user_id")), "creator_user_id"));
                put("user_id", pick(self.user_object(link("owner_id")), "owner_id"));
                put("owner_name", self.name_of("user", link("owner_id"), "name"));
                put("person_id", pick(self.person_object(link("person_id")), "person_id"));
                put("person_name", self.name_of("person", link("person_id"), "name"));
                put("org_id", pick(self.org_object(link("org_id")), "org_id"));
                put("org_name", self.name_of("organization", link("org_id"), "name"));
                for name in [
                    "stage_id",
                    "pipeline_id",
                    "value",
                    "currency",
                    "status",
                    "probability",
                    "lost_reason",
                    "expected_close_date",
                    "origin",
                    "origin_id",
                    "channel",
                    "channel_id",
                ] {
                    put(name, plain(name));
                }
                put("stage_order_nr", self.name_of("stage", link("stage_id"), "order_nr"));
                for name in ["stage_change_time", "won_time", "first_won_time", "lost_time", "close_time"] {
                    put(name, old(row, name));
                }
                put("active", json!(!row.deleted && row.text("status") == Some("open")));
                put("deleted", json!(row.deleted));
                put("visible_to", visible(row));
                let labels: Vec<String> = plain("label_ids").as_array().into_iter().flatten().map(Value::to_string).collect();
                put("label", if labels.is_empty() { Value::Null } else { json!(labels.join(",")) });
                put("weighted_value", plain("value"));
                put("weighted_value_currency", plain("currency"));
                put("cc_email", json!(self.bcc(entity, link("id").unwrap_or(0))));
                let worth = format!("{} {}", plain("currency").as_str().unwrap_or_default(), plain("value"));
                put("formatted_value", json!(worth));
                put("formatted_weighted_value", json!(worth));
                put("org_hidden", json!(false));
                put("person_hidden", json!(false));
                for name in ["rotten_time", "acv", "arr", "mrr", "acv_currency", "arr_currency", "mrr_currency"] {
                    put(name, plain(name));
                }
                counts(&mut put, entity);
                self.activity_facts(entity, row, &mut put);
            }
            "activity" => {
                for name in [
                    "subject",
                    "type",
                    "done",
                    "deal_id",
                    "lead_id",
                    "person_id",
                    "org_id",
                    "project_id",
                    "note",
                    "public_description",
                    "priority",
                ] {
                    put(name, plain(name));
                }
                put("user_id", plain("owner_id"));
                put("assigned_to_user_id", plain("owner_id"));
                put("created_by_user_id", plain("creator_user_id"));
                put("owner_name", self.name_of("user", link("owner_id"), "name"));
                put("person_name", self.name_of("person", link("person_id"), "name"));
                put("org_name", self.name_of("organization", link("org_id"), "name"));
                put("deal_title", self.name_of("deal", link("deal_id"), "title"));
                let short = |name: &str| plain(name).as_str().map_or(json!(""), |text| json!(text.get(..5).unwrap_or(text)));
                put("due_date", plain("due_date"));
                put("due_time", short("due_time"));
                put("duration", short("duration"));
                put("busy_flag", plain("busy"));
                put("marked_as_done_time", row.text("marked_as_done_time").map_or(json!(""), |at| json!(text::old_stamp(at))));
                put("active_flag", json!(!row.deleted));
                let people = plain("participants");
                let people = people.as_array().into_iter().flatten();
                put(
                    "participants",
                    people.map(|one| json!({"person_id": one.get("person_id"), "primary_flag": one.get("primary")})).collect(),
                );
                parts(&mut record, "location", &plain("location"));
            }
            "product" => {
                for name in
                    ["name", "code", "description", "unit", "tax", "category", "prices", "billing_frequency", "billing_frequency_cycles"]
                {
                    put(name, plain(name));
                }
                put("selectable", plain("is_linkable"));
                put("active_flag", json!(!row.deleted));
                put("owner_id", pick(self.user_object(link("owner_id")), "owner_id"));
                put("visible_to", visible(row));
            }
            "pipeline" => {
                put("name", plain("name"));
                put("url_title", plain("name"));
                put("order_nr", plain("order_nr"));
                put("active", json!(!row.deleted));
                put("deal_probability", plain("is_deal_probability_enabled"));
            }
            "stage" => {
                for name in ["name", "order_nr", "pipeline_id", "deal_probability"] {
                    put(name, plain(name));
                }
                put("active_flag", json!(!row.deleted));
                put("rotten_flag", plain("is_deal_rot_enabled"));
                put("rotten_days", plain("days_to_rotten"));
                put("pipeline_name", self.name_of("pipeline", link("pipeline_id"), "name"));
            }
            _ => row.fields.iter().filter(|(name, _)| !name.starts_with('_')).for_each(|(name, value)| put(name, value.clone())),
        }
        if let Some(Value::Object(stored)) = row.fields.get("custom_fields")
            && entity != "lead"
        {
            self.flatten(entity, stored, &mut record);
        }
        record
    }
}
