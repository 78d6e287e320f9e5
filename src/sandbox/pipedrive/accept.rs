//! A member of a v2 body: checked strictly, and brought into its stored form.

use serde_json::{Map, Value, json};

use crate::sandbox::pipedrive::entity::{Entity, Kind, Member};
use crate::sandbox::pipedrive::errors::not_allowed;
use crate::sandbox::pipedrive::state::Pipedrive;
use crate::sandbox::pipedrive::text;
use crate::sandbox::pipedrive::values::{address, expected};

/// Refuses members of an object that are not among `known`.
fn only<'a>(value: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, String> {
    let Value::Object(map) = value else { return Err(expected("object", value)) };
    match map.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(not_allowed(name)),
        None => Ok(map),
    }
}

fn whole(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| expected("integer", value))
}

fn words(value: &Value) -> Result<&str, String> {
    value.as_str().ok_or_else(|| expected("string", value))
}

/// E-mails, phones, instant messengers: at most one is primary; if none says so, the first is.
fn contacts(value: &Value) -> Result<Value, String> {
    let list = value.as_array().ok_or_else(|| expected("array", value))?;
    let mut kept: Vec<(String, bool, String)> = Vec::new();
    for (at, one) in list.iter().enumerate() {
        let within = |problem: String| format!("[{at}]: {problem}");
        let map = only(one, &["value", "primary", "label"]).map_err(within)?;
        let text = map.get("value").ok_or_else(|| format!("[{at}].value: Required"))?;
        let text = words(text).map_err(|problem| format!("[{at}].value: {problem}"))?;
        let primary = match map.get("primary") {
            None => false,
            Some(Value::Bool(primary)) => *primary,
            Some(other) => return Err(format!("[{at}].primary: {}", expected("boolean", other))),
        };
        let label = match map.get("label") {
            None | Some(Value::Null) => "work",
            Some(label) => words(label).map_err(|problem| format!("[{at}].label: {problem}"))?,
        };
        kept.push((text.to_owned(), primary, label.to_owned()));
    }
    if kept.iter().filter(|(_, primary, _)| *primary).count() > 1 {
        return Err("Only one item can be primary".to_owned());
    }
    if !kept.iter().any(|(_, primary, _)| *primary)
        && let Some(first) = kept.first_mut()
    {
        first.1 = true;
    }
    Ok(kept.into_iter().map(|(value, primary, label)| json!({"value": value, "primary": primary, "label": label})).collect())
}

impl Pipedrive {
    fn reference(&self, entity: &str, value: &Value) -> Result<Value, String> {
        let id = whole(value)?;
        if self.exists(entity, id) { Ok(value.clone()) } else { Err(format!("{entity} with id '{id}' does not exist")) }
    }

    /// The stored form of a member.
    pub(crate) fn accept(&self, entity: &Entity, member: &Member, value: &Value) -> Result<Value, String> {
        if value.is_null() {
            return if member.null { Ok(Value::Null) } else { Err(expected("a value", value)) };
        }
        match member.kind {
            Kind::Text => words(value).map(|_| value.clone()),
            Kind::Name => match words(value)? {
                text if text.trim().is_empty() => Err("String must contain at least 1 character(s)".to_owned()),
                text => Ok(json!(text.trim())),
            },
            Kind::Int => whole(value).map(|_| value.clone()),
            Kind::Num => value.is_number().then(|| value.clone()).ok_or_else(|| expected("number", value)),
            Kind::Bool => value.is_boolean().then(|| value.clone()).ok_or_else(|| expected("boolean", value)),
            Kind::Day => match words(value)? {
                day if text::is_day(day) => Ok(value.clone()),
                _ => Err("not a valid date, use YYYY-MM-DD".to_owned()),
            },
            Kind::Clock => match words(value)? {
                clock if text::is_clock(clock) => Ok(text::seconds(value)),
                _ => Err("not a valid time, use HH:MM".to_owned()),
            },
            Kind::Length => match words(value)? {
                length if text::is_length(length) => Ok(text::seconds(value)),
                _ => Err("not a valid duration, use HH:MM".to_owned()),
            },
            Kind::Instant => match text::whole_seconds(words(value)?) {
                Some(at) => Ok(json!(text::stamp(at))),
                None => Err("not a valid datetime".to_owned()),
            },
            Kind::OldInstant => match words(value).map(|given| text::old_instant(given).or_else(|| text::whole_seconds(given)))? {
                Some(at) => Ok(json!(text::stamp(at))),
                None => Err("not a valid datetime, use YYYY-MM-DD HH:MM:SS".to_owned()),
            },
            Kind::OneOf(list) => match words(value)? {
                word if list.contains(&word) => Ok(value.clone()),
                _ => Err(format!("must be one of {}", list.join(", "))),
            },
            Kind::Visible => match whole(value)? {
                1 | 3 | 5 | 7 => Ok(value.clone()),
                _ => Err("must be one of 1, 3, 5, 7".to_owned()),
            },
            Kind::Currency => match words(value)? {
                code if text::is_currency(code) => Ok(value.clone()),
                _ => Err("not a currency of this company".to_owned()),
            },
            Kind::User => self.reference("user", value),
            Kind::Org => self.reference("organization", value),
            Kind::Person => self.reference("person", value),
            Kind::Deal => self.reference("deal", value),
            Kind::Pipeline => self.reference("pipeline", value),
            Kind::Stage => self.reference("stage", value),
            Kind::Lead => match words(value)? {
                id if self.tables.live("lead", id).is_some() => Ok(value.clone()),
                _ => Err("lead does not exist".to_owned()),
            },
            Kind::Category => match value {
                // Written as a number, read as one or as a label.
                Value::Number(_) => self.choice_of("product", "category", value),
                _ => Err(expected("number", value)),
            },
            Kind::Choice => self.choice_of(entity.name, member.name, value),
            Kind::ActivityType => {
                let word = words(value)?;
                let known =
                    self.tables.rows("activityType").any(|(_, row)| row.text("key_string") == Some(word) && row.is_true("active_flag"));
                if known { Ok(value.clone()) } else { Err(format!("activity type '{word}' does not exist or is not active")) }
            }
            Kind::Labels => {
                let list = value.as_array().ok_or_else(|| expected("array", value))?;
                for id in list {
                    self.choice_of(entity.name, "label_ids", id)?;
                }
                Ok(value.clone())
            }
            Kind::Contacts => contacts(value),
            Kind::Address => address(value),
            Kind::Participants => self.participants(value),
            Kind::Attendees => {
                let known = ["email", "name", "status", "is_organizer", "person_id", "user_id"];
                let list = value.as_array().ok_or_else(|| expected("array", value))?;
                for (at, one) in list.iter().enumerate() {
                    only(one, &known).map_err(|problem| format!("[{at}]: {problem}"))?;
                }
                Ok(value.clone())
            }
            Kind::Prices => prices(value),
            Kind::Custom => Err(expected("object", value)),
            Kind::Forgotten => Ok(Value::Null),
        }
    }

    fn choice_of(&self, entity: &str, code: &str, value: &Value) -> Result<Value, String> {
        let id = whole(value)?;
        let known = self.schema.field(entity, code).is_some_and(|field| field.choice(id).is_some());
        if known { Ok(value.clone()) } else { Err(format!("Option with id '{id}' does not exist")) }
    }

    fn participants(&self, value: &Value) -> Result<Value, String> {
        let list = value.as_array().ok_or_else(|| expected("array", value))?;
        let mut kept: Vec<(i64, bool)> = Vec::new();
        for (at, one) in list.iter().enumerate() {
            let map = only(one, &["person_id", "primary"]).map_err(|problem| format!("[{at}]: {problem}"))?;
            let person = map.get("person_id").ok_or_else(|| format!("[{at}].person_id: Required"))?;
            self.reference("person", person).map_err(|problem| format!("[{at}].person_id: {problem}"))?;
            let primary = match map.get("primary") {
                None => false,
                Some(Value::Bool(primary)) => *primary,
                Some(other) => return Err(format!("[{at}].primary: {}", expected("boolean", other))),
            };
            kept.push((whole(person)?, primary));
        }
        if kept.iter().filter(|(_, primary)| *primary).count() > 1 {
            return Err("Only one participant can be primary".to_owned());
        }
        if !kept.iter().any(|(_, primary)| *primary)
            && let Some(first) = kept.first_mut()
        {
            first.1 = true;
        }
        Ok(kept.into_iter().map(|(person, primary)| json!({"person_id": person, "primary": primary})).collect())
    }

    /// `custom_fields` of a body into what is stored. Errors name the key.
    pub(crate) fn accept_custom(&self, entity: &str, given: &Value, stored: &mut Map<String, Value>, problems: &mut Vec<String>) {
        let Value::Object(given) = given else {
            problems.push(format!("custom_fields: {}", expected("object", given)));
            return;
        };
        for (code, value) in given {
            let Some(field) = self.schema.field(entity, code).filter(|field| field.custom) else {
                problems.push(format!("custom_fields: {}", not_allowed(code)));
                continue;
            };
            if value.is_null() {
                stored.remove(code);
                continue;
            }
            match self.custom_value(field, value) {
                Ok(value) => {
                    stored.insert(code.clone(), value);
                }
                Err(problem) => problems.push(format!("custom_fields.{code}: {problem}")),
            }
        }
    }
}

/// One price a currency.
fn prices(value: &Value) -> Result<Value, String> {
    let list = value.as_array().ok_or_else(|| expected("array", value))?;
    let mut seen: Vec<&str> = Vec::new();
    let mut kept = Vec::new();
    for (at, one) in list.iter().enumerate() {
        let known = ["currency", "price", "cost", "direct_cost", "notes"];
        let map = only(one, &known).map_err(|problem| format!("[{at}]: {problem}"))?;
        let currency = map.get("currency").and_then(Value::as_str).filter(|code| text::is_currency(code));
        let currency = currency.ok_or_else(|| format!("[{at}].currency: not a currency of this company"))?;
        if seen.contains(&currency) {
            return Err(format!("[{at}].currency: there can be only one price for a currency"));
        }
        seen.push(currency);
        for name in ["price", "cost", "direct_cost"] {
            if let Some(other) = map.get(name)
                && !other.is_number()
            {
                return Err(format!("[{at}].{name}: {}", expected("number", other)));
            }
        }
        let member = |name: &str| map.get(name).cloned();
        let zero = || json!(0);
        kept.push(json!({
            "currency": currency, "price": member("price").unwrap_or_else(zero), "cost": member("cost").unwrap_or_else(zero),
            "direct_cost": member("direct_cost").unwrap_or(Value::Null), "notes": member("notes").unwrap_or_else(|| json!("")),
        }));
    }
    Ok(Value::Array(kept))
}
