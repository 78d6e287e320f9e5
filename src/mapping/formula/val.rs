//! Values while a formula runs.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::{Number, Value};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Val<'a> {
    Bool(bool),
    Date(Date),
    Instant(Timestamp),
    List(Vec<Val<'a>>),
    Null,
    Number(Decimal),
    Object(Cow<'a, Value>),
    Text(Cow<'a, str>),
}

impl<'a> Val<'a> {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    pub(crate) fn integer(number: usize) -> Self {
        Self::Number(Decimal::from(number))
    }

    /// From JSON; a number outside of 28 digits is kept as its text, so that it goes through unchanged.
    pub(crate) fn from_value(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(_) => value_to_decimal(value).map_or_else(|| Self::text(value.to_string()), Self::Number),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(items) => Self::List(items.iter().map(Self::from_value).collect()),
            Value::Object(_) => Self::Object(Cow::Borrowed(value)),
        }
    }

    pub(crate) fn from_owned(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(_) => value_to_decimal(&value).map_or_else(|| Self::text(value.to_string()), Self::Number),
            Value::String(text) => Self::Text(Cow::Owned(text)),
            Value::Array(items) => Self::List(items.into_iter().map(Self::from_owned).collect()),
            Value::Object(_) => Self::Object(Cow::Owned(value)),
        }
    }

    pub(crate) fn into_value(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(value),
            Self::Number(number) => decimal_to_value(number).0,
            Self::Text(text) => Value::String(text.into_owned()),
            Self::Date(date) => Value::String(date.to_string()),
            Self::Instant(at) => Value::String(at.to_string()),
            Self::List(items) => items.into_iter().map(Self::into_value).collect(),
            Self::Object(value) => value.into_owned(),
        }
    }

    pub(crate) fn what(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a boolean",
            Self::Date(_) => "a date",
            Self::Instant(_) => "a datetime",
            Self::List(_) => "a list",
            Self::Null => "null",
            Self::Number(_) => "a number",
            Self::Object(_) => "an object",
            Self::Text(_) => "a text",
        }
    }

    /// As text where a text is wanted and nothing can be lost.
    pub(crate) fn to_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => Cow::Borrowed(""),
            Self::Text(text) => Cow::Borrowed(text.as_ref()),
            Self::Number(number) => Cow::Owned(number.normalize().to_string()),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Date(date) => Cow::Owned(date.to_string()),
            Self::Instant(at) => Cow::Owned(at.to_string()),
            Self::List(_) | Self::Object(_) => return None,
        })
    }

    pub(crate) fn is_blank(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Text(text) => text.trim().is_empty(),
            Self::List(items) => items.is_empty(),
            _ => false,
        }
    }

    /// `=`: null equals null alone; `None` if the types cannot be compared.
    pub(crate) fn same(&self, other: &Self) -> Option<bool> {
        Some(match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Null, _) | (_, Self::Null) => false,
            (Self::List(a), Self::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b) == Some(true)),
            (Self::Object(a), Self::Object(b)) => a == b,
            _ => self.order(other)?.is_eq(),
        })
    }

    pub(crate) fn order(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(match (self, other) {
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a), Self::Number(b)) => a.cmp(b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (Self::Instant(a), Self::Instant(b)) => a.cmp(b),
            (Self::Date(a), Self::Instant(b)) => midnight(*a)?.cmp(b),
            (Self::Instant(a), Self::Date(b)) => a.cmp(&midnight(*b)?),
            _ => return None,
        })
    }
}

fn midnight(date: Date) -> Option<Timestamp> {
    Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()
}

/// A JSON number as a decimal; `None` beyond 28 digits.
pub(crate) fn value_to_decimal(value: &Value) -> Option<Decimal> {
    let Value::Number(number) = value else { return None };
    if let Some(whole) = number.as_i64() {
        return Some(Decimal::from(whole));
    }
    let text = number.to_string();
    text.parse().ok().or_else(|| Decimal::from_scientific(&text).ok())
}

/// A decimal as a JSON number, and whether it is exactly that number. Whole numbers of 64 bits and fractions of up to 15
/// digits always are; JSON numbers here hold no more.
pub(crate) fn decimal_to_value(number: Decimal) -> (Value, bool) {
    let number = number.normalize();
    if number.scale() == 0 {
        if let Some(whole) = number.to_i64() {
            return (Value::Number(whole.into()), true);
        }
        if let Some(whole) = number.to_u64() {
            return (Value::Number(whole.into()), true);
        }
    }
    // Through the text: the nearest double, whose shortest spelling is the decimal itself if it has up to 15 digits.
    let json = number.to_string().parse::<f64>().ok().and_then(Number::from_f64);
    match json {
        Some(json) => {
            let value = Value::Number(json);
            let exact = value_to_decimal(&value).is_some_and(|back| back == number);
            (value, exact)
        }
        None => (Value::String(number.to_string()), true),
    }
}

/// A zone that needs no database: `UTC`, `Z`, `GMT`, `+02:00`, `-0530`.
pub(crate) fn parse_zone(text: &str) -> Option<Offset> {
    let text = text.trim();
    if matches!(text, "Z" | "z") || text.eq_ignore_ascii_case("utc") || text.eq_ignore_ascii_case("gmt") {
        return Some(Offset::UTC);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = match digits.split_once(':') {
        Some((hours, minutes)) => (hours, minutes),
        None if digits.len() == 4 => digits.split_at_checked(2)?,
        None => (digits, "0"),
    };
    let number = |text: &str| (text.len() <= 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i32>().ok()).flatten();
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if hours > 15 || minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn decimals_stay_exact() {
        for (text, wanted, exact) in [
            ("1.50", json!(1.5), true),
            ("1234567890123.45", json!(1_234_567_890_123.45), true),
            ("9223372036854775807", json!(i64::MAX), true),
            ("18446744073709551615", json!(u64::MAX), true),
            ("-0.1", json!(-0.1), true),
            ("0.3333333333333333333333333333", json!(0.333_333_333_333_333_3), false),
        ] {
            assert_eq!(decimal_to_value(text.parse().unwrap()), (wanted, exact), "{text}");
        }
    }

    #[test]
    fn zones_without_a_database() {
        assert_eq!(parse_zone("UTC"), Some(Offset::UTC));
        assert_eq!(parse_zone("+02:00"), Offset::from_seconds(7_200).ok());
        assert_eq!(parse_zone("-0530"), Offset::from_seconds(-19_800).ok());
        for text in ["Europe/Berlin", "+2x", "", "+", "+99", "02:00", "+é"] {
            assert_eq!(parse_zone(text), None, "{text}");
        }
    }
}
