//! What a JSON value means, and when two values are the same.
//!
//! CRMs give back what was written in another dress: HubSpot answers every property as text, Pipedrive writes dates with a
//! blank, Salesforce prints `1.0` for 1 and `+0000` for `Z`, and trims texts. Without one canonical form each pull looks like
//! a change, and two sides write to each other for ever.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the values of a field mean.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FieldType {
    /// A compound that is read as an object (Salesforce addresses); its components are written.
    Address,
    /// Not known: values are compared as JSON.
    #[default]
    Any,
    /// True or false.
    Boolean,
    /// Values with a label and one primary among them: a person's e-mails or phones in Pipedrive.
    ContactPoints,
    /// A calendar day without a zone.
    Date,
    /// A first and a last day, as the object `{value, until}`.
    DateRange,
    /// An instant. `whole_seconds` if the CRM drops what is below.
    DateTime {
        /// True if fractions of a second are not stored.
        whole_seconds: bool,
    },
    /// A number with a fixed count of decimals, if the CRM names one.
    Decimal {
        /// Digits after the point that are stored.
        scale: Option<u8>,
    },
    /// An e-mail address. Compared without regard to case: HubSpot stores lower case.
    Email,
    /// The record's own id.
    Id,
    /// A whole number.
    Integer,
    /// An amount with its currency, as the object `{value, currency}`.
    Monetary,
    /// Several values of a list, without order.
    MultiPicklist,
    /// A phone number, as typed.
    Phone,
    /// One value of a list.
    Picklist,
    /// The id of another record.
    Reference,
    /// Text.
    Text,
    /// A time of day.
    Time,
    /// A first and a last time of day, as the object `{value, until}`.
    TimeRange,
    /// A web address, as typed.
    Url,
}

/// The canonical form of a value: equal if and only if the values mean the same.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Canon {
    /// True or false.
    Bool(bool),
    /// A day.
    Date(Date),
    /// An instant.
    Instant(Timestamp),
    /// Whatever has no better form, as JSON with sorted keys.
    Json(String),
    /// Empty: null, or a text that is empty after trimming.
    Null,
    /// A number, without trailing zeros.
    Number(Decimal),
    /// Members of a multi-select, sorted, each once.
    Set(Vec<String>),
    /// Text, trimmed.
    Text(String),
    /// A time of day.
    Time(Time),
}

/// The canonical form of `value` in a field of type `kind`.
///
/// A value that does not fit its type (vendors' declared types lie at times) falls back to the form of its JSON kind; it is
/// never an error.
pub fn canon(value: &Value, kind: &FieldType) -> Canon {
    let typed = match (value, kind) {
        (Value::Null, _) => Some(Canon::Null),
        // Salesforce and HubSpot store an empty text as null.
        (Value::String(text), _) if text.trim().is_empty() => Some(Canon::Null),
        (Value::String(text), FieldType::Boolean) => match text.trim() {
            "true" | "TRUE" | "True" | "1" => Some(Canon::Bool(true)),
            "false" | "FALSE" | "False" | "0" => Some(Canon::Bool(false)),
            _ => None,
        },
        (_, FieldType::Integer | FieldType::Decimal { .. }) => decimal(value).map(|number| {
            let scale = match kind {
                FieldType::Integer => Some(0),
                FieldType::Decimal { scale } => scale.map(u32::from),
                _ => None,
            };
            // Salesforce rounds half away from zero to the field's scale.
            let number =
                scale.map_or(number, |scale| number.round_dp_with_strategy(scale, rust_decimal::RoundingStrategy::MidpointAwayFromZero));
            Canon::Number(number.normalize())
        }),
        (_, FieldType::Date) => date(value).map(Canon::Date),
        (_, FieldType::DateTime { whole_seconds }) => instant(value).map(|at| Canon::Instant(truncate(at, *whole_seconds))),
        (Value::String(text), FieldType::Time) => time(text).map(Canon::Time),
        // Pipedrive: an object with the time in `value`; its zone counts only where both sides name one.
        (Value::Object(map), FieldType::Time) if map.values().filter(|part| !part.is_null()).count() == 1 => {
            map.get("value").and_then(Value::as_str).and_then(time).map(Canon::Time)
        }
        (Value::Object(map), FieldType::Monetary) => map.get("value").and_then(decimal).map(|number| {
            let currency = map.get("currency").and_then(Value::as_str).unwrap_or_default();
            Canon::Text(format!("{} {currency}", number.normalize()))
        }),
        (Value::Object(_), FieldType::Address | FieldType::DateRange | FieldType::Time | FieldType::TimeRange) => {
            Some(Canon::Json(sorted(&without_nulls(value)).to_string()))
        }
        (Value::Array(items), FieldType::ContactPoints) => contact_points(items).map(Canon::Set),
        (Value::String(text), FieldType::Email) => Some(Canon::Text(text.trim().to_lowercase())),
        (_, FieldType::MultiPicklist) => set(value).map(Canon::Set),
        (Value::Number(number), FieldType::Text | FieldType::Picklist | FieldType::Id | FieldType::Reference | FieldType::Phone) => {
            Some(Canon::Text(number.to_string()))
        }
        _ => None,
    };
    typed.unwrap_or_else(|| untyped(value))
}

/// Whether two values of a field mean the same.
pub fn same(a: &Value, b: &Value, kind: &FieldType) -> bool {
    a == b || canon(a, kind) == canon(b, kind)
}

/// Reads an instant in any form the supported CRMs write: RFC 3339, Salesforce's `+0000`, Pipedrive's `2024-07-11 01:14:00`
/// (UTC), and milliseconds since 1970 as digits. Ten digits or fewer are refused: they are seconds written by mistake.
pub fn parse_datetime(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    if text.len() > 10 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Timestamp::from_millisecond(text.parse().ok()?).ok();
    }
    if let Ok(at) = Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text) {
        return Some(at);
    }
    // A civil time without a zone is UTC (Pipedrive).
    let civil = text.parse::<DateTime>().ok()?;
    // A bare day is a date, not an instant.
    if text.len() <= 10 {
        return None;
    }
    Offset::UTC.to_timestamp(civil).ok()
}

/// Reads a day: `2026-01-31`, or the day of an instant in UTC.
pub fn parse_date(text: &str) -> Option<Date> {
    let text = text.trim();
    if text.len() == 10
        && let Ok(date) = text.parse::<Date>()
    {
        return Some(date);
    }
    parse_datetime(text).map(|at| Offset::UTC.to_datetime(at).date())
}

fn truncate(at: Timestamp, whole_seconds: bool) -> Timestamp {
    // Below a millisecond no CRM stores anything.
    let kept = if whole_seconds { Timestamp::from_second(at.as_second()) } else { Timestamp::from_millisecond(at.as_millisecond()) };
    kept.unwrap_or(at)
}

fn decimal(value: &Value) -> Option<Decimal> {
    match value {
        Value::Number(number) => {
            let text = number.to_string();
            text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok())
        }
        Value::String(text) => {
            let text = text.trim();
            text.parse().ok().or_else(|| Decimal::from_scientific(text).ok())
        }
        _ => None,
    }
}

fn date(value: &Value) -> Option<Date> {
    match value {
        Value::String(text) => parse_date(text),
        // HubSpot: milliseconds of midnight UTC.
        Value::Number(number) => Timestamp::from_millisecond(number.as_i64()?).ok().map(|at| Offset::UTC.to_datetime(at).date()),
        _ => None,
    }
}

fn instant(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => parse_datetime(text),
        Value::Number(number) => Timestamp::from_millisecond(number.as_i64()?).ok(),
        _ => None,
    }
}

fn time(text: &str) -> Option<Time> {
    let text = text.trim();
    text.strip_suffix('Z').unwrap_or(text).parse().ok()
}

fn set(value: &Value) -> Option<Vec<String>> {
    let mut members: Vec<String> = match value {
        Value::String(text) => text.split(';').map(|member| member.trim().to_owned()).filter(|member| !member.is_empty()).collect(),
        Value::Array(items) => items
            .iter()
            .map(|item| match item {
                Value::String(text) => Some(text.trim().to_owned()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            })
            .collect::<Option<_>>()?,
        Value::Number(number) => vec![number.to_string()],
        _ => return None,
    };
    members.sort_unstable();
    members.dedup();
    Some(members)
}

/// `value`, `label` and `primary` of each; members that a vendor adds (ids, verification marks) do not count.
fn contact_points(items: &[Value]) -> Option<Vec<String>> {
    let mut points = Vec::with_capacity(items.len());
    for item in items {
        let text = item.get("value")?.as_str()?.trim().to_lowercase();
        let label = item.get("label").and_then(Value::as_str).unwrap_or_default();
        let primary = item.get("primary").and_then(Value::as_bool).unwrap_or_default();
        points.push(format!("{text}\0{label}\0{primary}"));
    }
    points.sort_unstable();
    points.dedup();
    Some(points)
}

/// An object without its empty members: vendors answer with all parts of an address, most of them null.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.iter().filter(|(_, part)| !part.is_null()).map(|(key, part)| (key.clone(), part.clone())).collect())
        }
        other => other.clone(),
    }
}

fn untyped(value: &Value) -> Canon {
    match value {
        Value::Null => Canon::Null,
        Value::Bool(value) => Canon::Bool(*value),
        Value::Number(_) => decimal(value).map_or_else(|| Canon::Json(value.to_string()), |number| Canon::Number(number.normalize())),
        Value::String(text) => Canon::Text(text.trim().to_owned()),
        Value::Array(_) | Value::Object(_) => Canon::Json(sorted(value).to_string()),
    }
}

/// The value with object keys in order, whichever map `serde_json` was built with.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().collect())
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_vendors_instants() {
        for text in
            ["2026-01-02T03:04:05.000+0000", "2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00", "2026-01-02 03:04:05", "1767323045000"]
        {
            assert_eq!(parse_datetime(text), Some(at("2026-01-02T03:04:05Z")), "{text}");
        }
        assert_eq!(parse_datetime("2018-12-18T22:51:36.000+0000"), Some(at("2018-12-18T22:51:36Z")));
        for text in ["1767323045", "yesterday", "", "2026-01-02", "2026-13-02T00:00:00Z"] {
            assert_eq!(parse_datetime(text), None, "{text}");
        }
    }

    #[test]
    fn the_same_in_another_dress() {
        let number = FieldType::Decimal { scale: Some(2) };
        assert!(same(&json!(1), &json!("1.0"), &number));
        assert!(same(&json!(1.005), &json!("1.01"), &number));
        assert!(same(&json!("1.0E7"), &json!(10_000_000), &number));
        assert!(same(&json!(true), &json!("true"), &FieldType::Boolean));
        assert!(!same(&json!(false), &json!(null), &FieldType::Boolean));
        assert!(same(&json!(" Smith "), &json!("Smith"), &FieldType::Text));
        assert!(same(&json!(""), &json!(null), &FieldType::Text));
        assert!(!same(&json!(0), &json!(null), &number));
        assert!(same(&json!("A;B"), &json!(["B", "A", "A"]), &FieldType::MultiPicklist));
        assert!(same(&json!("Ann@Example.com"), &json!("ann@example.com"), &FieldType::Email));
        assert!(same(&json!("2026-01-31"), &json!(1_769_817_600_000_i64), &FieldType::Date));
        let seconds = FieldType::DateTime { whole_seconds: true };
        assert!(same(&json!("2026-01-02T03:04:05.678Z"), &json!("2026-01-02T03:04:05.000+0000"), &seconds));
        let millis = FieldType::DateTime { whole_seconds: false };
        assert!(!same(&json!("2026-01-02T03:04:05.678Z"), &json!("2026-01-02T03:04:05Z"), &millis));
        assert!(same(&json!({"b": 1, "a": 2}), &json!({"a": 2, "b": 1}), &FieldType::Any));
    }

    #[test]
    fn objects_of_pipedrive_are_compared_by_what_they_mean() {
        assert!(same(&json!({"value": 10, "currency": "EUR"}), &json!({"value": 10.00, "currency": "EUR"}), &FieldType::Monetary));
        assert!(!same(&json!({"value": 10, "currency": "EUR"}), &json!({"value": 10, "currency": "USD"}), &FieldType::Monetary));
        assert!(same(&json!({"value": "Main St 1"}), &json!({"value": "Main St 1", "route": null}), &FieldType::Address));
        assert!(same(&json!({"value": "10:00:00"}), &json!({"value": "10:00:00", "timezone_name": null}), &FieldType::Time));
        let ours = json!([{"value": "Ann@x.com", "primary": true, "label": "work"}]);
        let theirs = json!([{"label": "work", "value": "ann@x.com", "primary": true, "id": 7}]);
        assert!(same(&ours, &theirs, &FieldType::ContactPoints));
        assert!(same(&json!([1, 2]), &json!([2, 1]), &FieldType::MultiPicklist));
    }

    #[test]
    fn what_does_not_fit_its_type_is_compared_as_it_is() {
        assert!(same(&json!("1234;5678"), &json!("1234;5678"), &FieldType::Integer));
        assert!(!same(&json!("1234;5678"), &json!("1234"), &FieldType::Integer));
    }
}
