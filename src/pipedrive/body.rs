//! A record's fields as the body of a write: nothing unknown, nothing of the other version's form.

use std::borrow::Cow;

use jiff::civil::Time;
use jiff::tz::Offset;
use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, FieldError, Result};
use crate::model::{Fields, parse_date, parse_datetime};
use crate::pipedrive::builtin::{Builtin, C, Means, U, builtin, renamed};
use crate::pipedrive::client::Pipedrive;
use crate::pipedrive::custom::{CustomType, CustomValue, number};
use crate::pipedrive::field_map::FieldInfo;
use crate::pipedrive::resource::{ApiVersion, Kind, Op};

pub(crate) fn refused(kind: Kind, field: &str, why: &str) -> Error {
    let message = format!("the field {field} of {kind} {why}");
    Error::new(ErrorKind::Validation, message).on(&kind.entity()).with_fields(vec![FieldError::new(field, None)])
}

impl Pipedrive {
    /// The body of a create or an update. One page of field descriptions, if there are custom fields and they are not known yet.
    pub(crate) async fn body(&self, kind: Kind, op: Op, fields: &Fields) -> Result<Map<String, Value>> {
        let mut body = Map::new();
        let mut custom = Map::new();
        let flag = if op == Op::Create { C } else { U };
        for (name, value) in fields {
            if let Some(field) = builtin(kind, name) {
                if !field.has(flag) {
                    let why = renamed(kind, name).map_or_else(|| "is read-only here".to_owned(), |new| format!("is written as {new}"));
                    return Err(refused(kind, name, &why));
                }
                let value = if name == "label_ids" { self.label_ids(kind, value).await? } else { Cow::Borrowed(value) };
                body.insert(name.to_owned(), plain(kind, field, &value)?);
                continue;
            }
            if let Some(new) = renamed(kind, name) {
                return Err(refused(kind, name, &format!("is written as {new}")));
            }
            if !kind.has_custom_fields() {
                return Err(refused(kind, name, "does not exist"));
            }
            let info = self.field(kind, name).await?;
            let value = self.custom_value(kind, &info, value)?;
            match kind.version() {
                ApiVersion::V2 => {
                    custom.insert(info.key.clone(), value.to_v2());
                }
                ApiVersion::V1 => value.put_flat(&info.kind, &info.key, &mut body),
            }
        }
        if kind == Kind::Person {
            person_name(&mut body)?;
        }
        // An empty object is reported to clear every custom field of the record.
        if !custom.is_empty() {
            body.insert("custom_fields".to_owned(), Value::Object(custom));
        }
        Ok(body)
    }

    /// Labels become ids, plain texts and numbers the objects their types have.
    fn custom_value(&self, kind: Kind, info: &FieldInfo, value: &Value) -> Result<CustomValue> {
        let wrong = |why: &str| refused(kind, &info.key, why);
        let option = |value: &Value| -> Result<Value> {
            let text = match value {
                Value::Number(number) => return Ok(Value::Number(number.clone())),
                Value::String(text) => text,
                Value::Object(map) => return map.get("id").cloned().ok_or_else(|| wrong("takes the id or the label of an option")),
                _ => return Err(wrong("takes the id or the label of an option")),
            };
            let id = info.option_id(text).ok_or_else(|| wrong("has no option of this label or id"))?;
            Ok(id.parse::<i64>().map_or_else(|_| json!(id), Value::from))
        };
        let ready = match (&info.kind, value) {
            (_, Value::Null) => return Ok(CustomValue::Empty),
            (CustomType::Enum, Value::String(text)) if text.is_empty() => return Ok(CustomValue::Empty),
            (CustomType::Enum, value) => option(value)?,
            (CustomType::Set, Value::Array(items)) => Value::Array(items.iter().map(option).collect::<Result<_>>()?),
            (CustomType::Set, Value::String(list)) => {
                let parts = list.split([';', ',']).map(str::trim).filter(|part| !part.is_empty());
                match option(value) {
                    // A label may hold a comma.
                    Ok(one) => json!([one]),
                    Err(_) => Value::Array(parts.map(|part| option(&json!(part))).collect::<Result<_>>()?),
                }
            }
            (CustomType::Set, value) => json!([option(value)?]),
            (CustomType::Monetary, Value::Number(_) | Value::String(_)) => match &self.config.settings.pipeline.currency {
                Some(currency) => json!({"value": number(value).ok_or_else(|| wrong("takes an amount"))?, "currency": currency}),
                None => return Err(wrong("takes an amount with its currency: {value, currency}")),
            },
            (CustomType::Time, Value::String(text)) => json!({"value": time(text, true).ok_or_else(|| wrong("takes a time of day"))?}),
            (CustomType::DateRange | CustomType::TimeRange, Value::String(text)) => match text.split_once('/') {
                Some((from, until)) => json!({"value": from, "until": until}),
                None => return Err(wrong("takes a range: {value, until}, or from/until in one text")),
            },
            (CustomType::Double, Value::String(text)) if !text.trim().is_empty() => {
                Value::Number(number(value).ok_or_else(|| wrong("takes a number"))?)
            }
            (CustomType::Text | CustomType::Phone, Value::Number(number)) => json!(number.to_string()),
            (CustomType::Text | CustomType::Phone, Value::Bool(flag)) => json!(flag.to_string()),
            (CustomType::Text, Value::Array(_) | Value::Object(_)) => return Err(wrong("takes a text")),
            (CustomType::Address, Value::Object(map)) if !map.get("value").is_some_and(Value::is_string) => {
                return Err(wrong("takes an address with its whole text in `value`"));
            }
            (_, value) => value.clone(),
        };
        Ok(CustomValue::from_v2(&info.kind, &ready))
    }
}

/// A person is named by `name`; first and last name are joined, and one of them alone cannot be written.
fn person_name(body: &mut Map<String, Value>) -> Result<()> {
    let (first, last) = (body.remove("first_name"), body.remove("last_name"));
    if body.contains_key("name") {
        return Ok(());
    }
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::trim).unwrap_or_default().to_owned();
    match (&first, &last) {
        (None, None) => Ok(()),
        (Some(_), Some(_)) => {
            let name = format!("{} {}", text(&first), text(&last));
            body.insert("name".to_owned(), json!(name.trim()));
            Ok(())
        }
        _ => Err(refused(Kind::Person, "name", "is written whole: give name, or first_name and last_name together")),
    }
}

/// A built-in field in the form its version takes. v2 is strict: booleans are booleans and numbers are numbers.
fn plain(kind: Kind, field: &Builtin, value: &Value) -> Result<Value> {
    let wrong = |why: &str| refused(kind, field.name, why);
    let flagged = kind == Kind::Note && field.name.starts_with("pinned_to");
    let made = match (field.means, value) {
        // A list that is emptied is an empty list.
        (Means::Points, Value::Null) => json!([]),
        (_, Value::Null) => Value::Null,
        (Means::Bool, value) => {
            let flag = boolean(value).ok_or_else(|| wrong("takes true or false"))?;
            if flagged { json!(u8::from(flag)) } else { json!(flag) }
        }
        (Means::Ref | Means::Int, Value::String(text)) if text.trim().is_empty() => Value::Null,
        (Means::Ref | Means::Int, value) => {
            let whole = match value {
                Value::Number(number) => number.as_i64(),
                Value::String(text) => text.trim().parse().ok(),
                Value::Object(map) => map.get("id").or_else(|| map.get("value")).and_then(Value::as_i64),
                _ => None,
            };
            json!(whole.ok_or_else(|| wrong("takes a whole number"))?)
        }
        (Means::Number, value) => Value::Number(number(value).ok_or_else(|| wrong("takes a number"))?),
        (Means::At, Value::String(text)) => {
            let at = parse_datetime(text).ok_or_else(|| wrong("takes a time such as 2026-01-31T09:30:00Z"))?;
            let civil = Offset::UTC.to_datetime(at);
            // The old form in v1, and for `archive_time` in v2 too.
            let old = kind.version() == ApiVersion::V1 || field.name == "archive_time";
            Value::String(civil.strftime(if old { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%dT%H:%M:%SZ" }).to_string())
        }
        (Means::Date, Value::String(text)) => json!(parse_date(text).ok_or_else(|| wrong("takes a day such as 2026-01-31"))?.to_string()),
        (Means::Time, Value::String(text)) if text.is_empty() => Value::Null,
        (Means::Time, Value::String(text)) => json!(time(text, false).ok_or_else(|| wrong("takes a time of day such as 14:30"))?),
        (Means::Address, Value::String(text)) => json!({"value": text}),
        (Means::Address, Value::Object(map)) if !map.get("value").is_some_and(Value::is_string) => {
            return Err(wrong("takes an address with its whole text in `value`"));
        }
        (Means::Address, Value::Object(map)) => {
            // Answered, never written.
            let kept = map.iter().filter(|(name, part)| !part.is_null() && *name != "formatted_address");
            Value::Object(kept.map(|(name, part)| (name.clone(), part.clone())).collect())
        }
        (Means::Points, value) => points(value).ok_or_else(|| wrong("takes a list of {value, primary, label}"))?,
        (Means::Ids, Value::Array(items)) if kind == Kind::Lead => Value::Array(items.clone()),
        (Means::Ids, Value::Array(items)) => {
            let ids = items.iter().map(|item| number(item.get("id").unwrap_or(item)).and_then(|id| id.as_i64()));
            json!(ids.collect::<Option<Vec<i64>>>().ok_or_else(|| wrong("takes a list of the labels' ids"))?)
        }
        // v1 and leads write the visibility as a text.
        (Means::Text, Value::Number(number)) => json!(number.to_string()),
        (Means::Text, Value::String(text)) => json!(text),
        (Means::Any, value) => value.clone(),
        _ => return Err(wrong("takes another type of value")),
    };
    Ok(made)
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Value::String(text) => match text.trim() {
            "true" | "1" => Some(true),
            "false" | "0" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

/// `HH:MM`, or `HH:MM:SS` for custom fields.
fn time(text: &str, seconds: bool) -> Option<String> {
    let text = text.trim();
    let time: Time = text.strip_suffix('Z').unwrap_or(text).parse().ok()?;
    Some(if seconds || time.second() != 0 {
        format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())
    } else {
        format!("{:02}:{:02}", time.hour(), time.minute())
    })
}

/// Objects of value, label and primary; each value once; exactly one primary, the first if none is marked.
fn points(value: &Value) -> Option<Value> {
    let items = match value {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut points: Vec<(&str, &str)> = Vec::with_capacity(items.len());
    let mut primary = None;
    for item in items {
        let (text, label, marked) = match item {
            Value::String(text) => (text.as_str(), "work", false),
            Value::Object(map) => {
                let label = map.get("label").and_then(Value::as_str).unwrap_or("work");
                (map.get("value")?.as_str()?, label, map.get("primary").and_then(Value::as_bool).unwrap_or_default())
            }
            Value::Null => continue,
            _ => return None,
        };
        let text = text.trim();
        if text.is_empty() || points.iter().any(|(known, _)| *known == text) {
            continue;
        }
        if marked {
            primary.get_or_insert(points.len());
        }
        points.push((text, label));
    }
    let primary = primary.unwrap_or(0);
    let member = |name: &str, value: Value| (name.to_owned(), value);
    let made = points.into_iter().enumerate().map(|(at, (value, label))| {
        Map::from_iter([member("value", value.into()), member("primary", (at == primary).into()), member("label", label.into())])
    });
    Some(made.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(kind: Kind, name: &str, value: &Value) -> Result<Value> {
        plain(kind, builtin(kind, name).unwrap(), value)
    }

    #[test]
    fn v2_is_strict_and_v1_is_old() {
        assert_eq!(made(Kind::Activity, "done", &json!(1)).unwrap(), json!(true));
        assert_eq!(made(Kind::Note, "pinned_to_deal_flag", &json!(true)).unwrap(), json!(1));
        assert_eq!(made(Kind::Deal, "org_id", &json!("7")).unwrap(), json!(7));
        assert_eq!(made(Kind::Person, "visible_to", &json!("3")).unwrap(), json!(3));
        assert_eq!(made(Kind::Lead, "visible_to", &json!(3)).unwrap(), json!("3"));
        assert_eq!(made(Kind::Deal, "won_time", &json!("2026-01-31T10:00:00.5+01:00")).unwrap(), json!("2026-01-31T09:00:00Z"));
        assert_eq!(made(Kind::Note, "add_time", &json!("2026-01-31T10:00:00Z")).unwrap(), json!("2026-01-31 10:00:00"));
        assert_eq!(made(Kind::Deal, "archive_time", &json!("2026-01-31T10:00:00Z")).unwrap(), json!("2026-01-31 10:00:00"));
        assert_eq!(made(Kind::Activity, "due_time", &json!("09:30:00")).unwrap(), json!("09:30"));
        assert_eq!(made(Kind::Person, "label_ids", &json!(["3", 7])).unwrap(), json!([3, 7]));
        assert!(made(Kind::Deal, "value", &json!("ten")).is_err());
    }

    #[test]
    fn one_primary_and_no_repeats() {
        let list =
            json!(["a@x.com", {"value": "b@x.com", "primary": true, "label": "home", "id": 9}, {"value": "a@x.com"}, null, {"value": " "}]);
        assert_eq!(
            made(Kind::Person, "emails", &list).unwrap(),
            json!([{"value": "a@x.com", "primary": false, "label": "work"}, {"value": "b@x.com", "primary": true, "label": "home"}])
        );
        assert_eq!(made(Kind::Person, "phones", &json!("1")).unwrap(), json!([{"value": "1", "primary": true, "label": "work"}]));
        assert_eq!(made(Kind::Person, "phones", &Value::Null).unwrap(), json!([]));
        assert!(made(Kind::Person, "emails", &json!([{"email": "a"}])).is_err());
    }

    #[test]
    fn half_a_name_is_not_written() {
        let mut body = Map::from_iter([("first_name".to_owned(), json!("Jo")), ("last_name".to_owned(), json!("Doe"))]);
        person_name(&mut body).unwrap();
        assert_eq!(Value::Object(body), json!({"name": "Jo Doe"}));
        assert!(person_name(&mut Map::from_iter([("first_name".to_owned(), json!("Jo"))])).is_err());
    }
}
