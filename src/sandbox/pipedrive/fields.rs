//! The `*Fields` endpoints of both versions.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Reply, param};
use crate::sandbox::pipedrive::errors::{self, Answer};
use crate::sandbox::pipedrive::paging::pages;
use crate::sandbox::pipedrive::read::{Params, known_params, limit, list, page};
use crate::sandbox::pipedrive::schema::{Choice, Field, KINDS};
use crate::sandbox::pipedrive::state::{Act, Pipedrive};
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::values::PARTS;
use crate::sandbox::store::Row;

/// The entity whose fields a path names.
pub(crate) fn entity_of(segment: &str) -> Option<&'static str> {
    match segment {
        "personFields" => Some("person"),
        "organizationFields" => Some("organization"),
        "dealFields" => Some("deal"),
        "productFields" => Some("product"),
        "activityFields" => Some("activity"),
        "leadFields" => Some("lead"),
        _ => None,
    }
}

fn choice_v2(choice: &Choice) -> Value {
    json!({"id": choice.id, "label": choice.label, "color": choice.color, "add_time": choice.at, "update_time": choice.at})
}

fn subfields(field: &Field) -> Value {
    let one = |suffix: &str, name: &str, kind: &str| json!({"field_code": format!("{}_{suffix}", field.code), "field_name": format!("{name} of {}", field.name), "field_type": kind});
    match field.kind.as_str() {
        "monetary" if field.custom => json!([one("currency", "Currency", "varchar")]),
        "daterange" => json!([one("until", "End date", "date")]),
        "time" => json!([one("timezone_id", "Timezone", "int")]),
        "timerange" => json!([one("until", "End time", "time"), one("timezone_id", "Timezone", "int")]),
        "address" => {
            let parts = PARTS.iter().copied().chain(["formatted_address"]);
            parts.map(|part| one(part, &part.replace('_', " "), "varchar")).collect()
        }
        _ => Value::Null,
    }
}

/// Where the app shows a field.
fn visibility(entity: &str, field: &Field) -> Value {
    let mut shown = json!({"add_visible_flag": field.mandatory, "details_visible_flag": true});
    let nowhere = json!({"show": false, "order": null});
    let more = match entity {
        "person" => json!({"show_in_add_deal_dialog": nowhere}),
        "organization" => json!({
            "org_detail_visible_flag": true, "person_detail_visible_flag": false, "deal_detail_visible_flag": false,
            "show_in_add_deal_dialog": nowhere, "show_in_add_person_dialog": nowhere,
        }),
        "deal" => json!({"projects_detail_visible_flag": false, "show_in_pipelines": {"show_in_all": true, "pipeline_ids": []}}),
        _ => json!({}),
    };
    if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
        shown.extend(more);
    }
    shown
}

fn show_v2(entity: &str, field: &Field, include: &[&str]) -> Value {
    let choices = field.has_choices().then(|| field.choices.iter().map(choice_v2).collect::<Vec<_>>());
    let mut shown = json!({
        "field_name": field.name, "field_code": field.code, "description": field.description, "field_type": field.kind,
        "options": choices, "subfields": subfields(field), "is_custom_field": field.custom, "is_optional_response_field": field.optional,
    });
    if let Value::Object(map) = &mut shown {
        for name in include {
            let value = match *name {
                "ui_visibility" => visibility(entity, field),
                "important_fields" => json!({"enabled": false, "stage_ids": []}),
                _ if entity == "deal" => json!({"enabled": field.mandatory, "stage_ids": [], "statuses": {}}),
                _ => json!({"enabled": field.mandatory}),
            };
            map.insert((*name).to_owned(), value);
        }
    }
    shown
}

fn show_v1(entity: &str, field: &Field, order: usize, user: i64) -> Value {
    // v1 has its own names for what v2 renamed.
    let key = match (entity, field.code.as_str()) {
        ("person", "emails") => "email",
        ("person", "phones") => "phone",
        ("deal", "owner_id") => "user_id",
        ("product", "is_linkable") => "selectable",
        ("person" | "organization" | "deal", "label_ids") => "label",
        (_, code) => code,
    };
    // The types of the published document; a few built-in fields have others within.
    let kind = match field.kind.as_str() {
        "int" | "stage" | "deal" => "double",
        "boolean" => "enum",
        "picture" => "varchar",
        kind => kind,
    };
    let at = text::old_stamp(&field.at);
    let choices =
        field.has_choices().then(|| field.choices.iter().map(|choice| json!({"id": choice.id, "label": choice.label})).collect::<Vec<_>>());
    json!({
        "id": field.id, "key": key, "name": field.name, "order_nr": order, "field_type": kind, "add_time": at, "update_time": at,
        "last_updated_by_user_id": user, "created_by_user_id": user, "active_flag": true, "edit_flag": field.custom,
        "index_visible_flag": true, "details_visible_flag": true, "add_visible_flag": field.mandatory, "important_flag": false,
        "bulk_edit_allowed": field.custom, "searchable_flag": field.custom && field.is_searchable(), "filtering_allowed": true,
        "sortable_flag": true, "options": choices, "options_deleted": [], "mandatory_flag": field.mandatory,
        "description": field.description, "is_subfield": false,
    })
}

fn labels(value: &Value) -> Result<Vec<String>, Reply> {
    let wrong = || errors::invalid_one("options", "Expected an array of objects with a label");
    let list = value.as_array().ok_or_else(wrong)?;
    list.iter().map(|one| one.get("label").and_then(Value::as_str).map(str::to_owned).ok_or_else(wrong)).collect()
}

impl Pipedrive {
    /// `/{entity}Fields...` of v2.
    pub(crate) fn fields_v2(
        &mut self,
        act: Act,
        method: &Method,
        entity: &'static str,
        rest: &[&str],
        params: &Params,
        body: &Value,
    ) -> Answer {
        if entity == "lead" {
            return Err(errors::no_path());
        }
        let at = text::stamp(act.now);
        let includes = ["ui_visibility", "important_fields", "required_fields"];
        match (rest, method.as_str()) {
            ([], "GET") => {
                known_params(params, &["include_fields", "limit", "cursor"])?;
                let include = list(params, "include_fields", &includes)?;
                let most = limit(params, 500)?;
                let rows: Vec<Row> = self
                    .schema
                    .fields(entity)
                    .iter()
                    .map(|field| Row { fields: [("id".to_owned(), json!(field.id))].into_iter().collect(), deleted: false })
                    .collect();
                page(rows.iter().collect(), ("id", "asc"), param(params, "cursor"), most, |row| {
                    let id = row.fields.get("id").and_then(Value::as_i64).unwrap_or(0);
                    self.schema.by_id(entity, id).map_or(Value::Null, |field| show_v2(entity, field, &include))
                })
            }
            ([code], "GET") => {
                known_params(params, &["include_fields"])?;
                let include = list(params, "include_fields", &includes)?;
                let field = self.schema.field(entity, code).ok_or_else(|| errors::missing("Field not found"))?;
                Ok(errors::data(show_v2(entity, field, &include)))
            }
            // The fields of activities cannot be changed here.
            (_, _) if entity == "activity" => Err(errors::no_method()),
            ([], "POST") => {
                let body = body.as_object().ok_or_else(|| errors::invalid(&["body: Expected 'object'".to_owned()]))?;
                let known = ["field_name", "field_type", "options", "ui_visibility", "important_fields", "required_fields", "description"];
                let problems: Vec<String> =
                    body.keys().filter(|name| !known.contains(&name.as_str())).map(|name| errors::not_allowed(name)).collect();
                if !problems.is_empty() {
                    return Err(errors::invalid(&problems));
                }
                let field = self.new_field(entity, body, ("field_name", "field_type"), &at)?;
                Ok(errors::data(show_v2(entity, &field, &includes)))
            }
            ([code], "PATCH") => {
                let body = body.as_object().ok_or_else(|| errors::invalid(&["body: Expected 'object'".to_owned()]))?;
                let known = ["field_name", "ui_visibility", "important_fields", "required_fields", "description"];
                let problems: Vec<String> =
                    body.keys().filter(|name| !known.contains(&name.as_str())).map(|name| errors::not_allowed(name)).collect();
                if !problems.is_empty() {
                    return Err(errors::invalid(&problems));
                }
                let field =
                    self.schema.change(entity, code).filter(|field| field.custom).ok_or_else(|| errors::missing("Field not found"))?;
                if let Some(name) = body.get("field_name") {
                    field.name = name.as_str().ok_or_else(|| errors::invalid_one("field_name", "Expected 'string'"))?.to_owned();
                }
                let shown = show_v2(entity, field, &includes);
                Ok(errors::data(shown))
            }
            ([code], "DELETE") => {
                let field = self.schema.remove(entity, code).ok_or_else(|| errors::missing("Field not found"))?;
                Ok(errors::data(show_v2(entity, &field, &[])))
            }
            ([code, "options"], "POST" | "PATCH" | "DELETE") => self.options_v2(entity, code, method, body, &at),
            _ => Err(errors::no_method()),
        }
    }

    /// All or nothing: the first thing that is wrong ends it before anything is changed.
    fn options_v2(&mut self, entity: &str, code: &str, method: &Method, body: &Value, at: &str) -> Answer {
        let field = self.schema.field(entity, code).ok_or_else(|| errors::missing("Field not found"))?;
        if !matches!(field.kind.as_str(), "enum" | "set") {
            return Err(errors::invalid_one("field_code", "the field has no options"));
        }
        let list =
            body.as_array().filter(|list| !list.is_empty()).ok_or_else(|| errors::invalid(&["body: Expected 'array'".to_owned()]))?;
        let mut ids = Vec::new();
        if method != Method::POST {
            for (at, one) in list.iter().enumerate() {
                let id = one.get("id").and_then(Value::as_i64);
                let id = id.ok_or_else(|| errors::invalid_one(&format!("[{at}].id"), "Expected 'integer'"))?;
                if field.choice(id).is_none() {
                    return Err(errors::missing(format!("Option {id} not found")));
                }
                ids.push(id);
            }
        }
        let names = if method == Method::DELETE { Vec::new() } else { labels(body)? };
        let mut touched = Vec::new();
        if method == Method::POST {
            for name in &names {
                let choice = self.schema.choice(name, at);
                touched.push(choice_v2(&choice));
                if let Some(field) = self.schema.change(entity, code) {
                    field.choices.push(choice);
                }
            }
        } else if let Some(field) = self.schema.change(entity, code) {
            for (place, id) in ids.iter().enumerate() {
                if let Some(choice) = field.choices.iter_mut().find(|choice| choice.id.as_i64() == Some(*id)) {
                    if let Some(name) = names.get(place) {
                        choice.label.clone_from(name);
                    }
                    touched.push(choice_v2(choice));
                }
            }
            if method == Method::DELETE {
                field.choices.retain(|choice| choice.id.as_i64().is_none_or(|id| !ids.contains(&id)));
            }
        }
        Ok(Reply::ok(json!({"success": true, "data": touched, "additional_data": null})))
    }

    fn new_field(&mut self, entity: &str, body: &Map<String, Value>, (name, kind): (&str, &str), at: &str) -> Result<Field, Reply> {
        let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        let title = text(name).ok_or_else(|| errors::invalid_one(name, "Required"))?;
        let chosen = text(kind).filter(|kind| KINDS.contains(kind));
        let chosen = chosen.ok_or_else(|| errors::invalid_one(kind, &format!("must be one of {}", KINDS.join(", "))))?;
        let options = match body.get("options") {
            None | Some(Value::Null) => Vec::new(),
            Some(list) => labels(list)?,
        };
        if matches!(chosen, "enum" | "set") == options.is_empty() {
            let problem = if options.is_empty() { "Required for this field type" } else { "not allowed for this field type" };
            return Err(errors::invalid_one("options", problem));
        }
        if options.len() > 10_000 {
            return Err(errors::invalid_one("options", "at most 10000 options are allowed"));
        }
        Ok(self.schema.add(entity, title, chosen, &options, at))
    }

    /// `/{entity}Fields...` of v1.
    pub(crate) fn fields_v1(
        &mut self,
        act: Act,
        method: &Method,
        entity: &'static str,
        rest: &[&str],
        params: &Params,
        body: &Value,
    ) -> Answer {
        let user = self.user;
        let shown: Vec<Value> =
            self.schema.fields(entity).iter().enumerate().map(|(order, field)| show_v1(entity, field, order + 1, user)).collect();
        let at = text::stamp(act.now);
        let known = |id: &str, pipedrive: &Self| id.parse().ok().and_then(|id| pipedrive.schema.by_id(entity, id)).cloned();
        match (rest, method.as_str()) {
            ([], "GET") => pages(shown, params),
            (_, _) if matches!(entity, "lead" | "activity") => Err(errors::no_method()),
            ([id], "GET") => {
                let at = known(id, self).and_then(|field| shown.iter().position(|one| one.get("id") == Some(&json!(field.id))));
                at.and_then(|at| shown.get(at).cloned()).map(errors::data).ok_or_else(|| errors::missing("Field not found"))
            }
            ([], "POST") => {
                let body = body.as_object().ok_or_else(|| errors::bad("Bad request"))?;
                let wrong = |reply: Reply| match reply.status {
                    StatusCode::BAD_REQUEST => errors::bad("name and field_type are required, and options for enum and set"),
                    _ => reply,
                };
                let field = self.new_field(entity, body, ("name", "field_type"), &at).map_err(wrong)?;
                let order = self.schema.fields(entity).len();
                Ok(errors::data(show_v1(entity, &field, order, user)))
            }
            ([id], "PUT") => {
                let code = known(id, self)
                    .filter(|field| field.custom)
                    .map(|field| field.code)
                    .ok_or_else(|| errors::missing("Field not found"))?;
                let mut fresh: Option<Vec<Choice>> = None;
                if let Some(list) = body.get("options").and_then(Value::as_array) {
                    // The whole list: options without an id are new, those left out go.
                    let mut kept = Vec::new();
                    for one in list {
                        let label = one.get("label").and_then(Value::as_str).ok_or_else(|| errors::bad("options need a label"))?;
                        let mut choice = match one.get("id") {
                            Some(id) => Choice { id: id.clone(), label: label.to_owned(), color: None, at: at.clone() },
                            None => self.schema.choice(label, &at),
                        };
                        choice.at.clone_from(&at);
                        kept.push(choice);
                    }
                    fresh = Some(kept);
                }
                let field = self.schema.change(entity, &code).ok_or_else(|| errors::missing("Field not found"))?;
                if let Some(name) = body.get("name").and_then(Value::as_str) {
                    name.clone_into(&mut field.name);
                }
                if let Some(fresh) = fresh {
                    field.choices = fresh;
                }
                let shown = show_v1(entity, field, 0, user);
                Ok(errors::data(shown))
            }
            ([id], "DELETE") => {
                let field = known(id, self).and_then(|field| self.schema.remove(entity, &field.code));
                let field = field.ok_or_else(|| errors::missing("Field not found"))?;
                Ok(errors::data(json!({"id": field.id})))
            }
            _ => Err(errors::no_method()),
        }
    }
}
