//! Custom-field values and the three shapes they travel in: nested (v2), flat (v1 and leads), typed (webhooks).
//!
//! Stored is the shape of v2; null is absent.

use serde_json::{Map, Value, json};

use crate::sandbox::pipedrive::schema::Field;
use crate::sandbox::pipedrive::state::Pipedrive;
use crate::sandbox::pipedrive::text;

/// The parts of an address besides its text.
pub(crate) const PARTS: &[&str] = &[
    "street_number",
    "route",
    "subpremise",
    "sublocality",
    "locality",
    "admin_area_level_1",
    "admin_area_level_2",
    "country",
    "postal_code",
];

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

pub(crate) fn expected(what: &str, value: &Value) -> String {
    format!("Expected '{what}', received '{}'", type_name(value))
}

/// An address in full: parts that were left out become null.
pub(crate) fn address(value: &Value) -> Result<Value, String> {
    let Value::Object(given) = value else { return Err(expected("object", value)) };
    let mut whole = Map::new();
    for (name, part) in given {
        let known = name == "value" || name == "formatted_address" || PARTS.contains(&name.as_str());
        if !known {
            return Err(crate::sandbox::pipedrive::errors::not_allowed(name));
        }
        if !part.is_string() && !part.is_null() {
            return Err(format!("{name}: {}", expected("string", part)));
        }
    }
    let Some(text) = given.get("value").and_then(Value::as_str) else { return Err("value: Required".to_owned()) };
    whole.insert("value".to_owned(), json!(text));
    for name in PARTS {
        whole.insert((*name).to_owned(), given.get(*name).cloned().unwrap_or(Value::Null));
    }
    whole.insert("formatted_address".to_owned(), given.get("formatted_address").cloned().unwrap_or_else(|| json!(text)));
    Ok(Value::Object(whole))
}

/// The members of an object, none besides `known`.
fn members<'a>(value: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let Value::Object(map) = value else { return Err(expected("object", value)) };
    match map.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(crate::sandbox::pipedrive::errors::not_allowed(name)),
        None => Ok(map),
    }
}

fn part(map: &Map<String, Value>, name: &str, check: fn(&str) -> bool, what: &str) -> Result<Value, String> {
    match map.get(name) {
        Some(Value::String(text)) if check(text) => Ok(json!(text)),
        Some(other) => Err(format!("{name}: {}", expected(what, other))),
        None => Err(format!("{name}: Required")),
    }
}

impl Pipedrive {
    /// The stored form of a value in the shape of v2.
    pub(crate) fn custom_value(&self, field: &Field, value: &Value) -> Result<Value, String> {
        let whole = |value: &Value| value.as_i64().ok_or_else(|| expected("number", value));
        match field.kind.as_str() {
            "varchar" | "varchar_auto" | "text" | "phone" => {
                let text = value.as_str().ok_or_else(|| expected("string", value))?;
                let longest = if field.kind == "text" { 65_535 } else { 255 };
                if text.chars().count() > longest {
                    return Err(format!("String must contain at most {longest} character(s)"));
                }
                Ok(value.clone())
            }
            "double" => value.is_number().then(|| value.clone()).ok_or_else(|| expected("number", value)),
            "monetary" => {
                let map = members(value, &["value", "currency"])?;
                let amount = map.get("value").ok_or_else(|| "value: Required".to_owned())?;
                if !amount.is_number() {
                    return Err(format!("value: {}", expected("number", amount)));
                }
                let currency = part(map, "currency", text::is_currency, "currency code")?;
                Ok(json!({"value": amount, "currency": currency}))
            }
            "enum" => {
                let id = value
                    .as_i64()
                    .ok_or_else(|| format!("Expected 'number' as value for single option custom field, received '{}'", type_name(value)))?;
                field.choice(id).map(|_| value.clone()).ok_or_else(|| format!("Option with id '{id}' does not exist"))
            }
            "set" => {
                let list = value.as_array().ok_or_else(|| {
                    format!("Expected 'array' as value for multiple options custom field, received '{}'", type_name(value))
                })?;
                if list.is_empty() {
                    return Err("Array must contain at least 1 element(s)".to_owned());
                }
                let mut ids: Vec<i64> = Vec::new();
                for value in list {
                    let id = whole(value)?;
                    if field.choice(id).is_none() {
                        return Err(format!("Option with id '{id}' does not exist"));
                    }
                    if !ids.contains(&id) {
                        ids.push(id);
                    }
                }
                Ok(json!(ids))
            }
            "user" | "org" | "people" => {
                let id = whole(value)?;
                let entity = match field.kind.as_str() {
                    "org" => "organization",
                    "people" => "person",
                    _ => "user",
                };
                self.exists(entity, id).then(|| value.clone()).ok_or_else(|| format!("{entity} with id '{id}' does not exist"))
            }
            "date" => match value.as_str() {
                Some(day) if text::is_day(day) => Ok(value.clone()),
                _ => Err(expected("date (YYYY-MM-DD)", value)),
            },
            "daterange" => {
                let map = members(value, &["value", "until"])?;
                let from = part(map, "value", text::is_day, "date (YYYY-MM-DD)")?;
                let until = part(map, "until", text::is_day, "date (YYYY-MM-DD)")?;
                Ok(json!({"value": from, "until": until}))
            }
            "time" | "timerange" => {
                let range = field.kind == "timerange";
                let known: &[&str] =
                    if range { &["value", "until", "timezone_id", "timezone_name"] } else { &["value", "timezone_id", "timezone_name"] };
                let map = members(value, known)?;
                let from = part(map, "value", text::is_clock, "time (HH:MM:SS)")?;
                let zone = map.get("timezone_name").filter(|zone| zone.is_string()).cloned().unwrap_or_else(|| json!("Europe/Berlin"));
                let mut whole = json!({"value": text::seconds(&from), "timezone_id": map.get("timezone_id").cloned().unwrap_or(json!(1)), "timezone_name": zone});
                if range && let Value::Object(whole) = &mut whole {
                    let until = part(map, "until", text::is_clock, "time (HH:MM:SS)")?;
                    whole.insert("until".to_owned(), text::seconds(&until));
                }
                Ok(whole)
            }
            "address" => address(value),
            other => Err(format!("the field type '{other}' cannot be written")),
        }
    }

    /// Puts the flat members of a v1 body into `stored`. Keys that are no field's are ignored, as v1 does.
    pub(crate) fn flat_values(&self, entity: &str, body: &Map<String, Value>, stored: &mut Map<String, Value>) -> Result<(), String> {
        for field in self.schema.custom(entity) {
            let suffixed = |suffix: &str| body.get(&format!("{}_{suffix}", field.code));
            let Some(value) = body.get(&field.code) else {
                // A sub-key alone changes what is stored.
                if let (Some(currency), Some(Value::Object(old))) = (suffixed("currency"), stored.get_mut(&field.code)) {
                    old.insert("currency".to_owned(), currency.clone());
                }
                continue;
            };
            let empty = value.is_null() || value.as_str().is_some_and(str::is_empty);
            if empty {
                stored.remove(&field.code);
                continue;
            }
            let lenient = |value: &Value| match value {
                Value::String(text) => text.trim().parse::<i64>().map_or_else(|_| value.clone(), |id| json!(id)),
                other => other.clone(),
            };
            let nested = match field.kind.as_str() {
                "enum" | "user" | "org" | "people" => lenient(value),
                "set" => match value {
                    Value::String(text) => Value::Array(text.split(',').map(|id| lenient(&json!(id))).collect()),
                    other => other.clone(),
                },
                "double" => match value.as_str().and_then(|text| text.trim().parse::<f64>().ok()) {
                    Some(number) => json!(number),
                    None => value.clone(),
                },
                "monetary" => {
                    let kept = stored.get(&field.code).and_then(|old| old.get("currency")).cloned();
                    let currency = suffixed("currency").cloned().or(kept).unwrap_or_else(|| json!("EUR"));
                    json!({"value": value, "currency": currency})
                }
                "daterange" => json!({"value": value, "until": suffixed("until").cloned().unwrap_or_else(|| value.clone())}),
                "time" => json!({"value": value}),
                "timerange" => json!({"value": value, "until": suffixed("until").cloned().unwrap_or_else(|| value.clone())}),
                "address" => json!({"value": value}),
                _ => value.clone(),
            };
            let kept = self.custom_value(field, &nested).map_err(|problem| format!("{}: {problem}", field.code))?;
            stored.insert(field.code.clone(), kept);
        }
        Ok(())
    }

    /// All custom fields in the shape of v2: those without a value are null.
    pub(crate) fn nested(&self, entity: &str, stored: &Map<String, Value>, only: Option<&[&str]>, labels: bool) -> Value {
        let wanted = |field: &&Field| only.is_none_or(|only| only.contains(&field.code.as_str()));
        let show = |field: &Field| {
            let value = stored.get(&field.code).cloned().unwrap_or(Value::Null);
            if !labels || !field.has_choices() {
                return value;
            }
            let labelled = |id: &Value| match id.as_i64().and_then(|id| field.choice(id)) {
                Some(choice) => json!({"id": choice.id, "label": choice.label}),
                None => id.clone(),
            };
            match &value {
                Value::Array(ids) => ids.iter().map(labelled).collect(),
                other => labelled(other),
            }
        };
        self.schema.custom(entity).filter(wanted).map(|field| (field.code.clone(), show(field))).collect::<Map<_, _>>().into()
    }

    /// Puts custom fields flat into `record`. Leads leave out what has no value; the old entities show null.
    pub(crate) fn flatten(&self, entity: &str, stored: &Map<String, Value>, record: &mut Map<String, Value>) {
        for field in self.schema.custom(entity) {
            let code = &field.code;
            let Some(value) = stored.get(code) else {
                if entity != "lead" {
                    record.insert(code.clone(), Value::Null);
                }
                continue;
            };
            let mut put = |suffix: &str, value: &Value| {
                let name = if suffix.is_empty() { code.clone() } else { format!("{code}_{suffix}") };
                record.insert(name, value.clone());
            };
            let member = |name: &str| value.get(name).unwrap_or(&Value::Null);
            match field.kind.as_str() {
                "enum" => put("", &json!(value.to_string())),
                "set" => {
                    let ids: Vec<String> = value.as_array().into_iter().flatten().map(Value::to_string).collect();
                    put("", &json!(ids.join(",")));
                }
                "monetary" => {
                    put("", member("value"));
                    put("currency", member("currency"));
                }
                "daterange" => {
                    put("", member("value"));
                    put("until", member("until"));
                }
                "time" | "timerange" => {
                    put("", member("value"));
                    put("timezone_id", member("timezone_id"));
                    if field.kind == "timerange" {
                        put("until", member("until"));
                    }
                }
                "address" => {
                    put("", member("value"));
                    PARTS.iter().for_each(|name| put(name, member(name)));
                    put("formatted_address", member("formatted_address"));
                }
                _ => put("", value),
            }
        }
    }

    /// All custom fields in the shape of webhooks v2.
    pub(crate) fn typed(&self, entity: &str, stored: &Map<String, Value>) -> Value {
        let show = |field: &Field| {
            let Some(value) = stored.get(&field.code) else { return Value::Null };
            let kind = field.kind.as_str();
            let member = |name: &str| value.get(name).cloned().unwrap_or(Value::Null);
            match kind {
                "enum" | "user" | "org" | "people" => json!({"type": kind, "id": value}),
                "set" => {
                    let ids: Vec<Value> = value.as_array().into_iter().flatten().map(|id| json!({"id": id})).collect();
                    json!({"type": kind, "values": ids})
                }
                "monetary" => json!({"type": kind, "value": member("value"), "currency": member("currency")}),
                "daterange" => json!({"type": kind, "from": member("value"), "until": member("until")}),
                "time" => json!({"type": kind, "value": member("value"), "timezone_id": member("timezone_id")}),
                "timerange" => {
                    json!({"type": kind, "from": member("value"), "until": member("until"), "timezone_id": member("timezone_id")})
                }
                "address" => {
                    let mut whole = value.clone();
                    if let Value::Object(map) = &mut whole {
                        map.insert("type".to_owned(), json!(kind));
                    }
                    whole
                }
                _ => json!({"type": kind, "value": value}),
            }
        };
        self.schema.custom(entity).map(|field| (field.code.clone(), show(field))).collect::<Map<_, _>>().into()
    }
}
