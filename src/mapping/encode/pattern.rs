//! `format:`, the other spelling of a date: strftime, or the count of (milli)seconds since 1970.
//!
//! On a date, datetime or time field it is the *host's* spelling: read outbound, written inbound. On a text field it is the
//! *CRM's* spelling of a date that the host has in ISO form: written outbound, read inbound.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::strtime::BrokenDownTime;
use jiff::tz::Offset;
use serde_json::Value;

use crate::model::{FieldType, parse_datetime};

/// A spelling of dates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Seconds since 1970 as a number.
    Seconds,
    /// Milliseconds since 1970 as a number.
    Milliseconds,
    /// A pattern of strftime.
    Strftime(String),
}

impl Pattern {
    /// Reads the key of a mapping file; the message says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "epoch_ms" => return Ok(Self::Milliseconds),
            "epoch_s" => return Ok(Self::Seconds),
            _ => {}
        }
        let mut made = String::new();
        let sample = DateTime::constant(2026, 1, 31, 14, 30, 5, 0);
        let mut broken = BrokenDownTime::from(sample);
        broken.set_offset(Some(Offset::UTC));
        if !text.contains('%') || broken.format(text, &mut made).is_err() {
            return Err("it must be `epoch_ms`, `epoch_s` or a pattern of strftime such as `%d.%m.%Y`".to_owned());
        }
        Ok(Self::Strftime(text.to_owned()))
    }

    /// A date in this spelling, as ISO text of `kind` (date, time, or else whatever the pattern holds).
    pub(crate) fn read(&self, value: &Value, kind: &FieldType, zone: Option<Offset>) -> Option<Value> {
        let at = match self {
            Self::Milliseconds => Timestamp::from_millisecond(number(value)?).ok()?,
            Self::Seconds => Timestamp::from_second(number(value)?).ok()?,
            Self::Strftime(pattern) => {
                let text = value.as_str()?.trim();
                let parsed = BrokenDownTime::parse(pattern, text).ok()?;
                if *kind == FieldType::Time {
                    return parsed.to_time().ok().map(|time| Value::String(time.to_string()));
                }
                if let Ok(at) = parsed.to_timestamp() {
                    return Some(Value::String(at.to_string()));
                }
                if parsed.hour().is_none() || *kind == FieldType::Date {
                    return parsed.to_date().ok().map(|date| Value::String(date.to_string()));
                }
                let civil = parsed.to_datetime().ok()?;
                return Some(Value::String(match zone {
                    Some(zone) => zone.to_timestamp(civil).ok()?.to_string(),
                    None => civil.to_string(),
                }));
            }
        };
        Some(Value::String(match (kind, zone) {
            (FieldType::Date, zone) => zone.unwrap_or(Offset::UTC).to_datetime(at).date().to_string(),
            _ => at.to_string(),
        }))
    }

    /// An ISO date, datetime or time in this spelling.
    pub(crate) fn write(&self, value: &Value, zone: Option<Offset>) -> Option<Value> {
        let text = value.as_str()?.trim();
        let zone = zone.unwrap_or(Offset::UTC);
        let instant =
            || parse_datetime(text).or_else(|| text.parse::<Date>().ok().and_then(|day| zone.to_timestamp(day.at(0, 0, 0, 0)).ok()));
        let pattern = match self {
            Self::Milliseconds => return Some(Value::from(instant()?.as_millisecond())),
            Self::Seconds => return Some(Value::from(instant()?.as_second())),
            Self::Strftime(pattern) => pattern,
        };
        let broken = if let (10, Ok(day)) = (text.len(), text.parse::<Date>()) {
            BrokenDownTime::from(day)
        } else if let Some(at) = parse_datetime(text) {
            let mut broken = BrokenDownTime::from(zone.to_datetime(at));
            broken.set_offset(Some(zone));
            broken
        } else {
            BrokenDownTime::from(text.strip_suffix('Z').unwrap_or(text).parse::<Time>().ok()?)
        };
        let mut made = String::new();
        broken.format(pattern, &mut made).ok()?;
        Some(Value::String(made))
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_ways() {
        for (pattern, kind, ours, iso) in [
            ("%d.%m.%Y", FieldType::Date, json!("31.01.2026"), json!("2026-01-31")),
            ("epoch_s", FieldType::DateTime { whole_seconds: true }, json!(1_767_323_045), json!("2026-01-02T03:04:05Z")),
            ("epoch_ms", FieldType::Date, json!(1_769_817_600_000_i64), json!("2026-01-31")),
            (
                "%Y-%m-%d %H:%M:%S%z",
                FieldType::DateTime { whole_seconds: true },
                json!("2026-01-02 03:04:05+0000"),
                json!("2026-01-02T03:04:05Z"),
            ),
            ("%I:%M %p", FieldType::Time, json!("02:30 PM"), json!("14:30:00")),
        ] {
            let read = Pattern::parse(pattern).unwrap();
            assert_eq!(read.read(&ours, &kind, None).as_ref(), Some(&iso), "{pattern}");
            assert_eq!(read.write(&iso, None).as_ref(), Some(&ours), "{pattern}");
        }
        let civil = Pattern::parse("%d.%m.%Y %H:%M").unwrap();
        let kind = FieldType::DateTime { whole_seconds: true };
        assert_eq!(civil.read(&json!("31.01.2026 10:00"), &kind, None), Some(json!("2026-01-31T10:00:00")));
        assert_eq!(civil.read(&json!("31.01.2026 10:00"), &kind, Some(jiff::tz::offset(1))), Some(json!("2026-01-31T09:00:00Z")));
        assert_eq!(civil.read(&json!("junk"), &kind, None), None);
        assert_eq!(civil.write(&json!("junk"), None), None);
        for text in ["", "dd.mm.yyyy", "%", "%!"] {
            assert!(Pattern::parse(text).is_err(), "{text}");
        }
    }
}
