//! Search: partial unless told otherwise, behind the writes by the lag that is set.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::read::{Params, decode_cursor, flag, known_params, limit, list, number};
use crate::sandbox::pipedrive::state::Pipedrive;
use crate::sandbox::pipedrive::write::{whole, words};
use crate::sandbox::store::Row;

/// What can be searched, and in which fields.
const TYPES: &[(&str, &[&str])] = &[
    ("deal", &["title", "notes", "custom_fields"]),
    ("person", &["name", "email", "phone", "notes", "custom_fields"]),
    ("organization", &["name", "address", "notes", "custom_fields"]),
    ("product", &["name", "code", "custom_fields"]),
    ("lead", &["title", "notes", "custom_fields"]),
];

/// The weight of a field and of how it matched.
fn score(field: &str, value: &str, term: &str) -> f64 {
    let weight = match field {
        "name" | "title" => 1.0,
        "email" | "phone" | "code" => 0.8,
        "address" => 0.5,
        _ => 0.3,
    };
    let fit = if value == term {
        1.2
    } else if value.starts_with(term) {
        0.7
    } else {
        0.4
    };
    weight * fit
}

/// HTML without its tags.
fn plain(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for letter in html.chars() {
        match letter {
            '<' => inside = true,
            '>' => inside = false,
            _ if !inside => text.push(letter),
            _ => {}
        }
    }
    text.trim().to_owned()
}

#[derive(Debug)]
struct Wanted<'a> {
    term: String,
    exact: bool,
    fields: Vec<&'a str>,
}

fn term(params: &Params, exact: bool) -> Result<String, Reply> {
    let term = param(params, "term").unwrap_or_default().trim().to_owned();
    let least = if exact { 1 } else { 2 };
    if term.chars().count() < least {
        return Err(errors::invalid_one("term", &format!("String must contain at least {least} character(s)")));
    }
    Ok(term)
}

impl Pipedrive {
    /// The rows as the index knows them.
    fn indexed<'a>(&'a self, entity: &'a str) -> impl Iterator<Item = &'a Row> {
        let now = self.tables.rows(entity).filter_map(move |(key, row)| match self.unindexed.get(&(entity.to_owned(), key.to_owned())) {
            Some((_, before)) => before.as_ref(),
            None => Some(row),
        });
        now.filter(|row| !row.deleted)
    }

    fn notes_of(&self, entity: &str, row: &Row) -> Vec<String> {
        let link = match entity {
            "organization" => "org_id",
            "deal" => "deal_id",
            "lead" => "lead_id",
            _ => "person_id",
        };
        let notes = self.tables.rows("note").filter(|(_, note)| !note.deleted && note.fields.get(link) == row.fields.get("id"));
        notes.filter_map(|(_, note)| note.text("content")).map(plain).collect()
    }

    fn custom_texts(&self, entity: &str, row: &Row) -> Vec<String> {
        let Some(Value::Object(stored)) = row.fields.get("custom_fields") else { return Vec::new() };
        let fields = self.schema.custom(entity).filter(|field| field.is_searchable());
        fields
            .filter_map(|field| stored.get(&field.code))
            .map(|value| match value {
                Value::String(text) => text.clone(),
                Value::Object(parts) => match parts.get("value") {
                    Some(Value::String(text)) => text.clone(),
                    Some(other) => other.to_string(),
                    None => String::new(),
                },
                other => other.to_string(),
            })
            .collect()
    }

    fn texts(&self, entity: &str, row: &Row, field: &str) -> Vec<String> {
        let values = |name: &str| -> Vec<String> {
            let list = row.fields.get(name).and_then(Value::as_array);
            list.into_iter().flatten().filter_map(|one| one.get("value")?.as_str()).map(str::to_owned).collect()
        };
        match field {
            "email" => values("emails"),
            "phone" => values("phones"),
            "address" => row.fields.get("address").and_then(|one| one.get("value")?.as_str()).map(str::to_owned).into_iter().collect(),
            "notes" => self.notes_of(entity, row),
            "custom_fields" => self.custom_texts(entity, row),
            name => row.text(name).map(str::to_owned).into_iter().collect(),
        }
    }

    /// How well a row fits; `None` if it does not.
    fn fit(&self, entity: &str, row: &Row, wanted: &Wanted<'_>) -> Option<f64> {
        let mut best: Option<f64> = None;
        for field in &wanted.fields {
            for value in self.texts(entity, row, field) {
                let value = value.to_lowercase();
                let hit = if wanted.exact { value == wanted.term } else { value.contains(&wanted.term) };
                if hit {
                    let found = score(field, &value, &wanted.term);
                    best = Some(best.map_or(found, |best| best.max(found)));
                }
            }
        }
        best
    }

    fn brief(&self, entity: &str, id: Option<i64>) -> Value {
        let Some(id) = id else { return Value::Null };
        let mut brief = json!({"id": id, "name": self.name_of(entity, Some(id), "name")});
        if entity == "organization"
            && let Value::Object(map) = &mut brief
        {
            let address = self.name_of("organization", Some(id), "address").get("value").cloned().unwrap_or(Value::Null);
            map.insert("address".to_owned(), address);
        }
        brief
    }

    fn item(&self, entity: &str, row: &Row, include: &[&str]) -> Value {
        let fields = &row.fields;
        let value = |name: &str| fields.get(name).cloned().unwrap_or(Value::Null);
        let mut item = Map::new();
        let mut put = |name: &str, value: Value| drop(item.insert(name.to_owned(), value));
        put("id", value("id"));
        put("type", json!(entity));
        put("owner", json!({"id": value("owner_id")}));
        put(
            "visible_to",
            match value("visible_to") {
                Value::String(text) => json!(text.parse::<i64>().unwrap_or(3)),
                other => other,
            },
        );
        put("custom_fields", json!(self.custom_texts(entity, row)));
        match entity {
            "person" => {
                put("name", value("name"));
                let emails = self.texts(entity, row, "email");
                put("primary_email", json!(emails.first()));
                put("emails", json!(emails));
                put("phones", json!(self.texts(entity, row, "phone")));
                put("organization", self.brief("organization", whole(fields, "org_id")));
                put("notes", json!(self.notes_of(entity, row)));
                put("update_time", value("update_time"));
                if include.contains(&"person.picture") {
                    put("picture", Value::Null);
                }
            }
            "organization" => {
                put("name", value("name"));
                put("address", value("address").get("value").cloned().unwrap_or(Value::Null));
                put("notes", json!(self.notes_of(entity, row)));
            }
            "product" => {
                put("name", value("name"));
                put("code", value("code"));
                if include.contains(&"product.price") {
                    put("product.price", value("prices"));
                }
            }
            _ => {
                put("title", value("title"));
                put("notes", json!(self.notes_of(entity, row)));
                put("person", self.brief("person", whole(fields, "person_id")));
                put("is_archived", value("is_archived"));
                if entity == "deal" {
                    put("value", value("value"));
                    put("currency", value("currency"));
                    put("status", value("status"));
                    let stage = whole(fields, "stage_id");
                    put("stage", json!({"id": stage, "name": self.name_of("stage", stage, "name")}));
                    put("organization", self.brief("organization", whole(fields, "org_id")));
                    if include.contains(&"deal.cc_email") {
                        put("cc_email", json!(self.bcc("deal", whole(fields, "id").unwrap_or(0))));
                    }
                } else {
                    let worth = value("value");
                    put("value", worth.get("amount").cloned().unwrap_or(Value::Null));
                    put("currency", worth.get("currency").cloned().unwrap_or(Value::Null));
                    put("organization", self.brief("organization", whole(fields, "organization_id")));
                    let person = whole(fields, "person_id").and_then(|id| self.live("person", id));
                    let texts = |field| person.map(|row| self.texts("person", row, field)).unwrap_or_default();
                    put("emails", json!(texts("email")));
                    put("phones", json!(texts("phone")));
                    if include.contains(&"lead.was_seen") {
                        put("was_seen", value("was_seen"));
                    }
                }
            }
        }
        Value::Object(item)
    }

    /// `GET /{entities}/search`.
    pub(crate) fn search_entity(&self, entity: &str, params: &Params) -> Answer {
        let Some((entity, searchable)) = TYPES.iter().find(|(name, _)| *name == entity).copied() else { return Err(errors::no_path()) };
        let mut known = vec!["term", "fields", "exact_match", "include_fields", "limit", "cursor"];
        match entity {
            "person" => known.push("organization_id"),
            "deal" => known.extend(["person_id", "organization_id", "status"]),
            "lead" => known.extend(["person_id", "organization_id"]),
            _ => {}
        }
        known_params(params, &known)?;
        let most = limit(params, 500)?;
        let exact = flag(params, "exact_match")?;
        let mut fields = list(params, "fields", searchable)?;
        if fields.is_empty() {
            fields = searchable.to_vec();
        }
        let includes: &[&str] = match entity {
            "person" => &["person.picture"],
            "deal" => &["deal.cc_email"],
            "product" => &["product.price"],
            "lead" => &["lead.was_seen"],
            _ => &[],
        };
        let include = list(params, "include_fields", includes)?;
        let (person, organization) = (number(params, "person_id")?, number(params, "organization_id")?);
        let status = list(params, "status", &["open", "won", "lost"])?;
        let wanted = Wanted { term: term(params, exact)?.to_lowercase(), exact, fields };
        let mut found: Vec<(f64, &Row)> = Vec::new();
        for row in self.indexed(entity) {
            let link = if entity == "lead" { "organization_id" } else { "org_id" };
            if organization.is_some_and(|id| whole(&row.fields, link) != Some(id))
                || person.is_some_and(|id| whole(&row.fields, "person_id") != Some(id))
                || (!status.is_empty() && !status.contains(&row.text("status").unwrap_or_default()))
            {
                continue;
            }
            if let Some(score) = self.fit(entity, row, &wanted) {
                found.push((score, row));
            }
        }
        let items = found.into_iter().map(|(score, row)| (score, self.item(entity, row, &include))).collect();
        answer(items, params, most, None)
    }

    /// `GET /itemSearch`.
    pub(crate) fn item_search(&self, params: &Params) -> Answer {
        known_params(
            params,
            &["term", "item_types", "fields", "search_for_related_items", "exact_match", "include_fields", "limit", "cursor"],
        )?;
        let most = limit(params, 100)?;
        let exact = flag(params, "exact_match")?;
        let types =
            list(params, "item_types", &["deal", "person", "organization", "product", "lead", "file", "mail_attachment", "project"])?;
        let all = ["address", "code", "custom_fields", "email", "name", "notes", "phone", "title", "description"];
        let given = list(params, "fields", &all)?;
        let include = list(params, "include_fields", &["deal.cc_email", "person.picture", "product.price"])?;
        let term = term(params, exact)?.to_lowercase();
        let mut items = Vec::new();
        let mut related = Vec::new();
        for (entity, searchable) in TYPES {
            if !types.is_empty() && !types.contains(entity) {
                continue;
            }
            let fields = searchable.iter().copied().filter(|field| given.is_empty() || given.contains(field)).collect();
            let wanted = Wanted { term: term.clone(), exact, fields };
            for row in self.indexed(entity) {
                let Some(score) = self.fit(entity, row, &wanted) else { continue };
                items.push((score, self.item(entity, row, &include)));
                let mut near = |entity: &str, id: Option<i64>| {
                    if let Some(row) = id.and_then(|id| self.live(entity, id)) {
                        related.push(json!({"result_score": 0, "item": self.item(entity, row, &[])}));
                    }
                };
                near("person", whole(&row.fields, "person_id"));
                near("organization", whole(&row.fields, "org_id").or_else(|| whole(&row.fields, "organization_id")));
            }
        }
        let related = flag(params, "search_for_related_items")?.then_some(related);
        answer(items, params, most, related)
    }

    /// `GET /itemSearch/field`: minds upper and lower case.
    pub(crate) fn field_search(&self, params: &Params) -> Answer {
        known_params(params, &["term", "entity_type", "match", "field", "limit", "cursor"])?;
        let most = limit(params, 500)?;
        let how = param(params, "match").unwrap_or("exact");
        if !["exact", "beginning", "middle"].contains(&how) {
            return Err(errors::invalid_one("match", "must be one of exact, beginning, middle"));
        }
        let term = term(params, how == "exact")?;
        let entity = param(params, "entity_type").unwrap_or_default();
        if !["deal", "lead", "person", "organization", "product", "project"].contains(&entity) {
            return Err(errors::invalid_one("entity_type", "must be one of deal, lead, person, organization, product, project"));
        }
        let code = param(params, "field").unwrap_or_default();
        let found = self.schema.field(entity, code).filter(|field| field.is_searchable() || !field.custom);
        let Some(field) = found else { return Err(errors::invalid_one("field", "the field does not exist or cannot be searched")) };
        let mut hits = Vec::new();
        for row in self.indexed(entity) {
            let stored = match row.fields.get("custom_fields") {
                Some(Value::Object(custom)) if field.custom => custom.get(code),
                _ if field.custom => None,
                _ => row.fields.get(code),
            };
            let texts: Vec<String> = match stored {
                None | Some(Value::Null) => continue,
                Some(Value::Array(list)) => list.iter().filter_map(|one| one.get("value")?.as_str()).map(str::to_owned).collect(),
                Some(Value::String(text)) => vec![text.clone()],
                Some(Value::Object(parts)) => {
                    parts.get("value").map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)).into_iter().collect()
                }
                Some(other) => vec![other.to_string()],
            };
            let hit = texts.into_iter().find(|value| match how {
                "exact" => *value == term,
                "beginning" => value.starts_with(&term),
                _ => value.contains(&term),
            });
            if let Some(value) = hit {
                let mut one = Map::new();
                one.insert("id".to_owned(), row.fields.get("id").cloned().unwrap_or(Value::Null));
                one.insert(code.to_owned(), json!(value));
                hits.push(Value::Object(one));
            }
        }
        let (hits, next) = cut(hits, params, most)?;
        Ok(Reply::ok(json!({"success": true, "data": hits, "additional_data": {"next_cursor": next}})))
    }
}

/// The page of a list that has no order of its own.
fn cut(all: Vec<Value>, params: &Params, most: usize) -> Result<(Vec<Value>, Option<String>), Reply> {
    let start = match param(params, "cursor") {
        None => 0,
        Some(cursor) => {
            let cursor = decode_cursor(cursor)?;
            let start = cursor.as_object().filter(|map| words(map, "field") == Some("offset")).and_then(|map| whole(map, "fieldValue"));
            start.and_then(|start| usize::try_from(start).ok()).ok_or_else(|| errors::invalid_one("cursor", "Invalid cursor"))?
        }
    };
    let end = start.saturating_add(most);
    let next = (all.len() > end).then(|| STANDARD_NO_PAD.encode(json!({"field": "offset", "fieldValue": end}).to_string()));
    Ok((all.into_iter().skip(start).take(most).collect(), next))
}

fn answer(mut items: Vec<(f64, Value)>, params: &Params, most: usize, related: Option<Vec<Value>>) -> Answer {
    items.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let items = items.into_iter().map(|(score, item)| json!({"result_score": score, "item": item})).collect();
    let (items, next) = cut(items, params, most)?;
    let mut data = json!({"items": items});
    if let (Some(related), Value::Object(map)) = (related, &mut data) {
        map.insert("related_items".to_owned(), json!(related));
    }
    Ok(Reply::ok(json!({"success": true, "data": data, "additional_data": {"next_cursor": next}})))
}
