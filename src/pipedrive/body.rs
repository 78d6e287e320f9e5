//! A record's fields as the body of a write: nothing unknown, nothing of the other version's form.

use std::borrow::Cow;

use jiff::civil::Time;
use jiff::tz::Offset;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
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

/// The body of a write. Texts and lists are those of the record: it goes into its text without another copy.
#[derive(Default)]
pub(crate) struct Body<'a> {
    members: Vec<(&'a str, Member<'a>)>,
    /// Custom fields of v1, which stand beside the others.
    flat: Map<String, Value>,
    /// Custom fields of v2.
    custom: Map<String, Value>,
}

/// A value in the form the API takes.
enum Member<'a> {
    Points(Points<'a>),
    Text(Cow<'a, str>),
    Value(Value),
    Whole(&'a Value),
}

/// Values with their labels, and which of them is the primary one.
struct Points<'a>(Vec<(&'a str, &'a str)>, usize);

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, member) in &self.members {
            map.serialize_entry(name, member)?;
        }
        for (name, value) in &self.flat {
            map.serialize_entry(name, value)?;
        }
        // An empty object is reported to clear every custom field of the record.
        if !self.custom.is_empty() {
            map.serialize_entry("custom_fields", &self.custom)?;
        }
        map.end()
    }
}

impl Serialize for Member<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Points(points) => points.serialize(serializer),
            Self::Text(text) => text.serialize(serializer),
            Self::Value(value) => value.serialize(serializer),
            Self::Whole(value) => value.serialize(serializer),
        }
    }
}

impl Serialize for Points<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Point<'a> {
            value: &'a str,
            primary: bool,
            label: &'a str,
        }
        let Self(points, primary) = self;
        serializer.collect_seq(points.iter().enumerate().map(|(at, (value, label))| Point { value, primary: at == *primary, label }))
    }
}

impl Member<'_> {
    /// Without a tie to the record.
    fn into_owned(self) -> Result<Member<'static>> {
        Ok(match self {
            Self::Text(text) => Member::Text(Cow::Owned(text.into_owned())),
            Self::Value(value) => Member::Value(value),
            Self::Points(_) | Self::Whole(_) => {
                Member::Value(serde_json::to_value(&self).map_err(|_| Error::internal("a value does not serialise"))?)
            }
        })
    }

    fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Value(value) => value.as_str(),
            Self::Whole(value) => value.as_str(),
            Self::Points(_) => None,
        }
    }
}

impl Pipedrive {
    /// The body of a create or an update. One page of field descriptions, if there are custom fields and they are not known yet.
    pub(crate) async fn body<'a>(&self, kind: Kind, op: Op, fields: &'a Fields) -> Result<Body<'a>> {
        let mut body = Body::default();
        let flag = if op == Op::Create { C } else { U };
        for (name, value) in fields {
            if let Some(field) = builtin(kind, name) {
                if !field.has(flag) {
                    let why = renamed(kind, name).map_or_else(|| "is read-only here".to_owned(), |new| format!("is written as {new}"));
                    return Err(refused(kind, name, &why));
                }
                let member = if name == "label_ids" {
                    plain(kind, field, &*self.label_ids(kind, value).await?)?.into_owned()?
                } else {
                    plain(kind, field, value)?
                };
                body.members.push((name, member));
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
                    body.custom.insert(info.key.clone(), value.to_v2());
                }
                ApiVersion::V1 => value.put_flat(&info.kind, &info.key, &mut body.flat),
            }
        }
        if kind == Kind::Person {
            person_name(&mut body.members)?;
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
fn person_name(members: &mut Vec<(&str, Member<'_>)>) -> Result<()> {
    let part = |wanted: &str| members.iter().find(|(name, _)| *name == wanted).map(|(_, part)| part.as_str().map_or("", str::trim));
    let name = match (part("first_name"), part("last_name")) {
        (None, None) => return Ok(()),
        _ if part("name").is_some() => None,
        (Some(first), Some(last)) => Some(format!("{first} {last}").trim().to_owned()),
        _ => return Err(refused(Kind::Person, "name", "is written whole: give name, or first_name and last_name together")),
    };
    members.retain(|(name, _)| !matches!(*name, "first_name" | "last_name"));
    members.extend(name.map(|name| ("name", Member::Text(Cow::Owned(name)))));
    Ok(())
}

/// `2026-01-31T09:30:00Z`, as v2 writes an instant.
fn is_utc_second(text: &str) -> bool {
    let form = |(at, byte): (usize, u8)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b'T',
        13 | 16 => byte == b':',
        19 => byte == b'Z',
        _ => byte.is_ascii_digit(),
    };
    text.len() == 20 && text.bytes().enumerate().all(form) && !text.ends_with("60Z")
}

/// A built-in field in the form its version takes. v2 is strict: booleans are booleans and numbers are numbers.
fn plain<'a>(kind: Kind, field: &Builtin, value: &'a Value) -> Result<Member<'a>> {
    let wrong = |why: &str| refused(kind, field.name, why);
    let flagged = kind == Kind::Note && field.name.starts_with("pinned_to");
    let made = match (field.means, value) {
        // A list that is emptied is an empty list.
        (Means::Points, Value::Null) => json!([]),
        (_, Value::Null) => Value::Null,
        (Means::Any, value) => return Ok(Member::Whole(value)),
        (Means::Text, Value::String(text)) => return Ok(Member::Text(Cow::Borrowed(text))),
        (Means::Points, value) => {
            return points(value).map(Member::Points).ok_or_else(|| wrong("takes a list of {value, primary, label}"));
        }
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
            // The old form in v1, and for `archive_time` in v2 too.
            let old = kind.version() == ApiVersion::V1 || field.name == "archive_time";
            if !old && is_utc_second(text) {
                return Ok(Member::Text(Cow::Borrowed(text)));
            }
            let civil = Offset::UTC.to_datetime(at);
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
        (Means::Ids, Value::Array(items)) if kind == Kind::Lead => Value::Array(items.clone()),
        (Means::Ids, Value::Array(items)) => {
            let ids = items.iter().map(|item| number(item.get("id").unwrap_or(item)).and_then(|id| id.as_i64()));
            json!(ids.collect::<Option<Vec<i64>>>().ok_or_else(|| wrong("takes a list of the labels' ids"))?)
        }
        // v1 and leads write the visibility as a text.
        (Means::Text, Value::Number(number)) => json!(number.to_string()),
        _ => return Err(wrong("takes another type of value")),
    };
    Ok(Member::Value(made))
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
fn points(value: &Value) -> Option<Points<'_>> {
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
    Some(Points(points, primary.unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(kind: Kind, name: &str, value: &Value) -> Result<Value> {
        plain(kind, builtin(kind, name).unwrap(), value).map(|member| serde_json::to_value(&member).unwrap())
    }

    #[test]
    fn v2_is_strict_and_v1_is_old() {
        assert_eq!(made(Kind::Activity, "done", &json!(1)).unwrap(), json!(true));
        assert_eq!(made(Kind::Note, "pinned_to_deal_flag", &json!(true)).unwrap(), json!(1));
        assert_eq!(made(Kind::Deal, "org_id", &json!("7")).unwrap(), json!(7));
        assert_eq!(made(Kind::Person, "visible_to", &json!("3")).unwrap(), json!(3));
        assert_eq!(made(Kind::Lead, "visible_to", &json!(3)).unwrap(), json!("3"));
        assert_eq!(made(Kind::Deal, "won_time", &json!("2026-01-31T10:00:00.5+01:00")).unwrap(), json!("2026-01-31T09:00:00Z"));
        assert_eq!(made(Kind::Deal, "won_time", &json!("2026-01-31T10:00:00Z")).unwrap(), json!("2026-01-31T10:00:00Z"));
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
        let text = |name: &'static str, text: &'static str| (name, Member::Text(Cow::Borrowed(text)));
        let mut members = vec![text("first_name", "Jo"), text("last_name", "Doe")];
        person_name(&mut members).unwrap();
        let body = Body { members, ..Body::default() };
        assert_eq!(serde_json::to_value(&body).unwrap(), json!({"name": "Jo Doe"}));
        let mut whole = vec![text("first_name", "Jo"), text("name", "Ann")];
        person_name(&mut whole).unwrap();
        assert_eq!(whole.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["name"]);
        assert!(person_name(&mut vec![text("first_name", "Jo")]).is_err());
    }
}
