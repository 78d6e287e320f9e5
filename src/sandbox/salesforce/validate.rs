//! Values into the form they are stored in, or the refusal Salesforce gives.

use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::prelude::{FromPrimitive, ToPrimitive};
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::{Number, Value, json};

use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::schema::{FieldDef, FieldKind};

/// `2026-01-31`, between the years 1700 and 4000.
pub(crate) fn canonical_date(text: &str) -> Option<String> {
    let date: Date = (text.len() == 10).then(|| text.parse().ok())??;
    (1700..=4000).contains(&date.year()).then(|| date.to_string())
}

/// ISO 8601 with a zone, to `2026-01-31T10:00:00.000+0000`. The form sorts as the instants do.
pub(crate) fn canonical_datetime(text: &str) -> Option<String> {
    let zone = text.get(19..)?;
    let zoned = zone.ends_with('Z') || zone.contains('+') || zone.contains('-');
    if text.as_bytes().get(10) != Some(&b'T') || !zoned {
        return None;
    }
    let at = text.parse::<Timestamp>().ok().or_else(|| Timestamp::strptime("%Y-%m-%dT%H:%M:%S%.f%z", text).ok())?;
    let form = at.strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string();
    (form.len() == 28 && ("1700".."4001").contains(&form.get(..4)?)).then_some(form)
}

/// The clock's time as system fields show it: whole seconds.
pub(crate) fn stamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.000+0000").to_string()
}

/// Milliseconds since 1970 as events show an instant.
pub(crate) fn stamp_millis(at: i64) -> String {
    Timestamp::from_millisecond(at).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

fn unreadable(kind: &str, value: &Value) -> ApiError {
    let (token, shown) = match value {
        Value::String(text) => ("VALUE_STRING", text.clone()),
        Value::Bool(true) => ("VALUE_TRUE", "true".to_owned()),
        Value::Bool(false) => ("VALUE_FALSE", "false".to_owned()),
        Value::Number(number) if number.is_f64() => ("VALUE_NUMBER_FLOAT", number.to_string()),
        Value::Number(number) => ("VALUE_NUMBER_INT", number.to_string()),
        Value::Array(_) => ("START_ARRAY", "[".to_owned()),
        _ => ("START_OBJECT", "{".to_owned()),
    };
    ApiError::json(format!(
        "Cannot deserialize instance of {kind} from {token} value {shown} or request may be missing a required field at [line:1, column:1]"
    ))
}

/// The stored form of `value`; `None` is null.
pub(crate) fn coerce(field: &FieldDef, value: &Value) -> Result<Option<Value>, ApiError> {
    let name = field.name.as_str();
    if value.is_null() {
        if field.kind == FieldKind::Boolean {
            let message = format!("{name}: value not of required type: ");
            return Err(ApiError::field("INVALID_TYPE_ON_FIELD_IN_RECORD", message, &[name]));
        }
        return Ok(None);
    }
    if let Value::String(text) = value
        && text.trim().is_empty()
        && field.kind != FieldKind::Boolean
        && !(field.kind.is_number() || matches!(field.kind, FieldKind::Date | FieldKind::DateTime))
    {
        return Ok(None);
    }
    match field.kind {
        FieldKind::Boolean => match value {
            Value::Bool(_) => Ok(Some(value.clone())),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Some(json!(true))),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Some(json!(false))),
            _ => Err(unreadable("boolean", value)),
        },
        FieldKind::Int | FieldKind::Double | FieldKind::Currency | FieldKind::Percent => number(field, value).map(Some),
        FieldKind::Date => {
            let Value::String(text) = value else { return Err(unreadable("date", value)) };
            let date = canonical_date(text).or_else(|| canonical_datetime(text).and_then(|at| at.get(..10).map(str::to_owned)));
            date.map(|date| Some(json!(date))).ok_or_else(|| unreadable("date", value))
        }
        FieldKind::DateTime => {
            let Value::String(text) = value else { return Err(unreadable("datetime", value)) };
            let at = canonical_datetime(text).ok_or_else(|| unreadable("datetime", value))?;
            Ok(Some(json!(format!("{}.000+0000", at.get(..19).unwrap_or_default()))))
        }
        FieldKind::Id | FieldKind::Reference => {
            let Value::String(text) = value else { return Err(unreadable("reference", value)) };
            let bad = || ApiError::field("MALFORMED_ID", format!("{}: id value of incorrect type: {text}", field.label), &[name]);
            ids::normalize(text.trim()).map(|id| Some(json!(id))).ok_or_else(bad)
        }
        FieldKind::Address => Err(unreadable("address", value)),
        _ => {
            let Value::String(text) = value else { return Err(unreadable("string", value)) };
            words(field, text.trim()).map(|()| Some(json!(text.trim())))
        }
    }
}

fn words(field: &FieldDef, text: &str) -> Result<(), ApiError> {
    let name = field.name.as_str();
    if text.chars().count() > field.length && field.length > 0 {
        let message = format!("{}: data value too large: {text} (max length={})", field.label, field.length);
        return Err(ApiError::field("STRING_TOO_LONG", message, &[name]));
    }
    let listed = |value: &str| field.picklist.iter().any(|known| known.eq_ignore_ascii_case(value));
    match field.kind {
        FieldKind::Email if !is_email(text) => {
            Err(ApiError::field("INVALID_EMAIL_ADDRESS", format!("{}: invalid email address: {text}", field.label), &[name]))
        }
        FieldKind::Picklist if field.restricted && !listed(text) => Err(restricted(field, text)),
        FieldKind::MultiPicklist => {
            let values: Vec<&str> = text.split(';').collect();
            if values.len() > 100 {
                return Err(ApiError::field("TOO_MANY_ENUM_VALUE", format!("{}: too many values", field.label), &[name]));
            }
            match values.iter().find(|value| field.restricted && !listed(value.trim())) {
                Some(value) => Err(restricted(field, value)),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

fn restricted(field: &FieldDef, text: &str) -> ApiError {
    let message = format!("{}: bad value for restricted picklist field: {text}", field.label);
    ApiError::field("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, &[field.name.as_str()])
}

fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let odd = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '(' | ')' | '<' | '>' | ',' | ';' | ':' | '\\' | '"' | '[' | ']' | '@')
    };
    !local.is_empty()
        && !local.contains(odd)
        && !local.starts_with('.')
        && !local.ends_with('.')
        && !local.contains("..")
        && domain.contains('.')
        && domain.split('.').all(|label| {
            !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-') && !label.starts_with('-') && !label.ends_with('-')
        })
}

fn number(field: &FieldDef, value: &Value) -> Result<Value, ApiError> {
    let kind = if field.kind == FieldKind::Int { "int" } else { field.kind.word() };
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_owned(),
        _ => return Err(unreadable(kind, value)),
    };
    let large = || {
        let message = format!("{}: value outside of valid range on numeric field: {text}", field.label);
        ApiError::field("NUMBER_OUTSIDE_VALID_RANGE", message, &[field.name.as_str()])
    };
    let exact = text.parse::<Decimal>().or_else(|_| Decimal::from_scientific(&text)).ok();
    let Some(exact) = exact.or_else(|| text.parse::<f64>().ok().and_then(Decimal::from_f64)) else {
        return Err(if text.parse::<f64>().is_ok() { large() } else { unreadable(kind, value) });
    };
    let whole_digits = field.precision.saturating_sub(field.scale);
    let limit = Decimal::from(10u64.checked_pow(whole_digits.min(18)).unwrap_or(u64::MAX));
    let rounded = exact.round_dp_with_strategy(field.scale, RoundingStrategy::MidpointAwayFromZero);
    if field.kind == FieldKind::Int {
        if !exact.fract().is_zero() {
            return Err(unreadable("int", value));
        }
        return match exact.to_i64() {
            Some(whole) if exact.abs() < limit => Ok(json!(whole)),
            _ => Err(large()),
        };
    }
    if rounded.abs() >= limit {
        return Err(large());
    }
    rounded.to_f64().and_then(Number::from_f64).map(Value::Number).ok_or_else(large)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times() {
        assert_eq!(canonical_datetime("2026-01-02T03:04:05Z").as_deref(), Some("2026-01-02T03:04:05.000+0000"));
        assert_eq!(canonical_datetime("2026-01-02T03:04:05.250+0100").as_deref(), Some("2026-01-02T02:04:05.250+0000"));
        assert_eq!(canonical_datetime("2026-01-02T03:04:05+01:00").as_deref(), Some("2026-01-02T02:04:05.000+0000"));
        assert_eq!(canonical_datetime("2026-01-02T03:04:05"), None);
        assert_eq!(canonical_datetime("2026-01-02"), None);
        assert_eq!(canonical_date("2026-02-30"), None);
        assert_eq!(canonical_date("01/02/2026"), None);
    }

    #[test]
    fn emails() {
        for good in ["a@b.co", "o'brien+x@mail.example.com", "ü@exämple.de"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["a", "a@b", "a b@c.d", "@b.c", "a@.c", "a@b..c", ".a@b.c"] {
            assert!(!is_email(bad), "{bad}");
        }
    }

    #[test]
    fn numbers_round_and_overflow() {
        let field = FieldDef::number("N__c", 5, 2);
        assert_eq!(coerce(&field, &json!(1.005)).unwrap(), Some(json!(1.01)));
        assert_eq!(coerce(&field, &json!("12")).unwrap(), Some(json!(12.0)));
        assert_eq!(coerce(&field, &json!(1000)).unwrap_err().code, "NUMBER_OUTSIDE_VALID_RANGE");
        assert_eq!(coerce(&field, &json!("abc")).unwrap_err().code, "JSON_PARSER_ERROR");
        let text = FieldDef::text("T__c", 3);
        assert_eq!(coerce(&text, &json!("  ab ")).unwrap(), Some(json!("ab")));
        assert_eq!(coerce(&text, &json!("")).unwrap(), None);
        assert_eq!(coerce(&text, &json!("äöüß")).unwrap_err().code, "STRING_TOO_LONG");
        assert_eq!(coerce(&text, &json!(5)).unwrap_err().code, "JSON_PARSER_ERROR");
    }
}
