//! What a property accepts, and the form in which it is kept: always a text.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde_json::{Map, Value};

/// Longest text of a property (Properties guide).
const LONGEST: usize = 65_536;

/// Code and message of a refusal.
pub(crate) type Refused = (&'static str, String);

/// `2026-02-17T18:56:16.511Z`; no fraction on the full second.
pub(crate) fn stamp(millis: i64) -> String {
    let Ok(at) = Timestamp::from_millisecond(millis) else { return String::new() };
    let text = if millis.rem_euclid(1_000) == 0 { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%3fZ" };
    jiff::fmt::strtime::format(text, at).unwrap_or_default()
}

/// Milliseconds since 1970 of an ISO 8601 instant, a day, or a number of milliseconds.
pub(crate) fn millis(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return Timestamp::from_millisecond(number).ok().map(|at| at.as_millisecond());
    }
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    if text.len() == 10 {
        let date: Date = text.parse().ok()?;
        return Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok().map(|at| at.as_millisecond());
    }
    None
}

/// The day an instant lies in, in UTC: `2026-02-17`.
fn day(millis: i64) -> Option<String> {
    Timestamp::from_millisecond(millis).ok().map(|at| Offset::UTC.to_datetime(at).date().to_string())
}

pub(crate) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let clean = |part: &str| !part.is_empty() && !part.contains(|letter: char| letter.is_whitespace() || "@,;<>()".contains(letter));
    clean(local)
        && clean(domain)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && domain.contains('.')
        && domain.split('.').all(|label| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-'))
}

fn text_of(definition: &Map<String, Value>, name: &str) -> String {
    definition.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The options' internal values.
pub(crate) fn options(definition: &Map<String, Value>) -> Vec<&str> {
    let list = definition.get("options").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|option| option.get("value").and_then(Value::as_str)).collect()
}

fn not_an_option(value: &str, allowed: &[&str]) -> Refused {
    ("INVALID_OPTION", format!("{value} was not one of the allowed options: [{}]", allowed.join(", ")))
}

/// The text to keep for a value, `None` for an empty one. `old` is what is there, for multiple choices that append.
pub(crate) fn accept(definition: &Map<String, Value>, value: &Value, old: Option<&str>) -> Result<Option<String>, Refused> {
    let name = text_of(definition, "name");
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Null => return Err(("INVALID_VALUE", format!("{name} must be a string, not null; an empty string clears it"))),
        Value::Array(_) | Value::Object(_) => return Err(("INVALID_VALUE", format!("{name} must be a string"))),
    };
    if text.is_empty() {
        return Ok(None);
    }
    let multiple = text_of(definition, "fieldType") == "checkbox";
    let external = definition.get("externalOptions").and_then(Value::as_bool).unwrap_or(false);
    let kept = match text_of(definition, "type").as_str() {
        "number" => {
            let number: f64 = text.trim().parse().map_err(|_| ("INVALID_INTEGER", format!("{text} was not a valid number.")))?;
            if !number.is_finite() {
                return Err(("INVALID_INTEGER", format!("{text} was not a valid number.")));
            }
            text.trim().to_owned()
        }
        "bool" => match text.as_str() {
            "true" | "false" => text,
            other => return Err(not_an_option(other, &["true", "false"])),
        },
        "date" => {
            let at = millis(&text).ok_or_else(|| ("INVALID_DATE", format!("{text} was not a valid date.")))?;
            if at.rem_euclid(86_400_000) != 0 {
                return Err(("INVALID_DATE", format!("{text} is at {}, not midnight!", stamp(at))));
            }
            day(at).ok_or_else(|| ("INVALID_DATE", format!("{text} was not a valid date.")))?
        }
        "datetime" => stamp(millis(&text).ok_or_else(|| ("INVALID_DATE", format!("{text} was not a valid timestamp.")))?),
        "enumeration" if external || options(definition).is_empty() => text,
        "enumeration" => {
            let allowed = options(definition);
            if multiple {
                return choices(&text, &allowed, old).map(Some);
            }
            if !allowed.contains(&text.as_str()) {
                return Err(not_an_option(&text, &allowed));
            }
            text
        }
        _ if text.chars().count() > LONGEST => {
            return Err(("PROPERTY_VALUE_TOO_LONG", format!("{name} is longer than {LONGEST} characters")));
        }
        _ => text,
    };
    Ok(Some(kept))
}

/// `A;B` sets, `;A;B` adds to what is there.
fn choices(text: &str, allowed: &[&str], old: Option<&str>) -> Result<String, Refused> {
    let mut list: Vec<&str> = if text.starts_with(';') { old.unwrap_or_default().split(';').collect() } else { Vec::new() };
    list.extend(text.split(';'));
    let mut kept: Vec<&str> = Vec::new();
    for choice in list.into_iter().map(str::trim).filter(|choice| !choice.is_empty()) {
        if !allowed.contains(&choice) {
            return Err(not_an_option(choice, allowed));
        }
        if !kept.contains(&choice) {
            kept.push(choice);
        }
    }
    Ok(kept.join(";"))
}

/// The national digits of a phone number: what searches for phone numbers compare.
pub(crate) fn national(phone: &str) -> Option<String> {
    let digits: String = phone.chars().filter(char::is_ascii_digit).collect();
    if digits.is_empty() {
        return None;
    }
    if !phone.trim_start().starts_with('+') {
        return Some(digits.trim_start_matches('0').to_owned());
    }
    let three = [
        "21", "22", "23", "24", "25", "26", "29", "35", "37", "38", "42", "50", "59", "67", "68", "69", "80", "85", "87", "88", "96", "97",
        "99",
    ];
    let code = match digits.as_bytes().first() {
        Some(b'1' | b'7') => 1,
        _ if three.iter().any(|prefix| digits.starts_with(prefix)) => 3,
        _ => 2,
    };
    digits.get(code..).filter(|rest| !rest.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(kind: &str, field: &str, options: &[&str]) -> Map<String, Value> {
        let options: Vec<Value> = options.iter().map(|value| json!({"label": value, "value": value})).collect();
        json!({"name": "x", "type": kind, "fieldType": field, "options": options}).as_object().cloned().unwrap()
    }

    #[test]
    fn dates_are_midnight_in_utc() {
        let date = definition("date", "date", &[]);
        let kept = |value: Value| accept(&date, &value, None);
        assert_eq!(kept(json!("2026-02-28")), Ok(Some("2026-02-28".to_owned())));
        assert_eq!(kept(json!("1772236800000")), Ok(Some("2026-02-28".to_owned())));
        assert_eq!(kept(json!(1_772_236_800_000_i64)), Ok(Some("2026-02-28".to_owned())));
        assert_eq!(kept(json!("1772236800001")).unwrap_err().0, "INVALID_DATE");
        assert_eq!(kept(json!("2026-02-30")).unwrap_err().0, "INVALID_DATE");
        assert_eq!(kept(json!("")), Ok(None));
        assert!(kept(Value::Null).is_err());
    }

    #[test]
    fn instants_show_a_fraction_only_if_there_is_one() {
        let datetime = definition("datetime", "date", &[]);
        assert_eq!(accept(&datetime, &json!("1772236800000"), None), Ok(Some("2026-02-28T00:00:00Z".to_owned())));
        assert_eq!(accept(&datetime, &json!("2026-02-28T01:00:00.5+01:00"), None), Ok(Some("2026-02-28T00:00:00.500Z".to_owned())));
        assert_eq!(accept(&datetime, &json!("soon"), None).unwrap_err().0, "INVALID_DATE");
    }

    #[test]
    fn choices_replace_or_append() {
        let many = definition("enumeration", "checkbox", &["A", "B", "C"]);
        assert_eq!(accept(&many, &json!("A;B"), Some("C")), Ok(Some("A;B".to_owned())));
        assert_eq!(accept(&many, &json!(";A;C"), Some("C")), Ok(Some("C;A".to_owned())));
        assert_eq!(accept(&many, &json!("a"), None).unwrap_err().0, "INVALID_OPTION");
        let one = definition("enumeration", "select", &["A"]);
        assert_eq!(accept(&one, &json!("A;A"), None).unwrap_err().0, "INVALID_OPTION");
    }

    #[test]
    fn numbers_and_flags_are_texts() {
        let number = definition("number", "number", &[]);
        assert_eq!(accept(&number, &json!(12.5), None), Ok(Some("12.5".to_owned())));
        assert!(accept(&number, &json!("1,200"), None).is_err() && accept(&number, &json!("NaN"), None).is_err());
        let flag = definition("bool", "booleancheckbox", &[]);
        assert_eq!(accept(&flag, &json!(true), None), Ok(Some("true".to_owned())));
        assert!(accept(&flag, &json!("yes"), None).is_err());
        assert_eq!(national("+49 30 123456").as_deref(), Some("30123456"));
        assert_eq!(national("(617) 555-0100").as_deref(), Some("6175550100"));
        assert!(is_email("a.b+c@x.test") && !is_email("a@x") && !is_email("a b@x.test") && !is_email("x.test"));
    }
}
