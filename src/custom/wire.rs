//! Forms of times on the wire.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::custom::pointer::plain;
use crate::model::{parse_date, parse_datetime};

/// How a time is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum WireFormat {
    /// `2026-11-24`.
    Date,
    /// `/Date(1763978400000)/`, as older .NET services write.
    DotNet,
    /// Thousandths of seconds since 1970.
    EpochMilliseconds,
    /// Seconds since 1970.
    EpochSeconds,
    /// An object with the parts.
    Object(Box<DateObject>),
    /// A pattern of `strftime`, in UTC unless it names an offset: `%d/%m/%Y`, `%Y-%m-%dT%H:%M:%S%:z`.
    Pattern(String),
    /// `2026-11-24T10:00:00.123Z`.
    Rfc3339,
    /// `2026-11-24T10:00:00Z`; fractions are not kept.
    #[default]
    Rfc3339Seconds,
    /// `2026-11-24 10:00:00`, in UTC.
    Sql,
}

/// A time written as an object: as a whole in one member (`value`), or in parts (`year`, `month`, `day` and perhaps the time of
/// the day), all in UTC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "json-schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct DateObject {
    /// The member with the whole.
    pub value: Option<String>,
    /// How the whole is written. Default: RFC 3339.
    pub format: WireFormat,
    /// The member with the time zone of a whole without an offset; written as `UTC`. An offset (`+01:00`) is always read, a name
    /// (`Europe/Paris`) where the host's build gives jiff a time zone database; else the value goes through as it is.
    pub zone: Option<String>,
    /// The member with the year.
    pub year: Option<String>,
    /// The member with the month, from 1.
    pub month: Option<String>,
    /// The member with the day, from 1.
    pub day: Option<String>,
    /// The member with the hour.
    pub hour: Option<String>,
    /// The member with the minute.
    pub minute: Option<String>,
    /// The member with the second.
    pub second: Option<String>,
    /// Further members that are written as they are.
    pub also: BTreeMap<String, Value>,
}

impl WireFormat {
    /// An instant in this form.
    pub(super) fn write(&self, instant: Timestamp) -> Value {
        let civil = Offset::UTC.to_datetime(instant);
        match self {
            Self::Date => Value::String(civil.date().to_string()),
            Self::DotNet => Value::String(format!("/Date({})/", instant.as_millisecond())),
            Self::EpochMilliseconds => instant.as_millisecond().into(),
            Self::EpochSeconds => instant.as_second().into(),
            Self::Object(object) => object.write(instant, civil),
            // A pattern was tried when the definition was read.
            Self::Pattern(pattern) => {
                Value::String(strtime::format(pattern, &instant.to_zoned_datetime(TimeZone::UTC)).unwrap_or_else(|_| instant.to_string()))
            }
            Self::Rfc3339 => Value::String(format!("{instant:.3}")),
            Self::Rfc3339Seconds => Value::String(format!("{instant:.0}")),
            Self::Sql => Value::String(civil.strftime("%Y-%m-%d %H:%M:%S").to_string()),
        }
    }

    /// An instant out of this form.
    pub(super) fn read(&self, value: &Value) -> Option<Timestamp> {
        match (value, self) {
            (_, Self::EpochMilliseconds) => Timestamp::from_millisecond(plain(value)?.parse().ok()?).ok(),
            (_, Self::EpochSeconds) => {
                let text = plain(value)?;
                let whole = text.split('.').next()?;
                Timestamp::from_second(whole.parse().ok()?).ok()
            }
            (Value::Object(members), Self::Object(object)) => object.read(members),
            (Value::String(text), Self::DotNet) => {
                let inside = text.strip_prefix("/Date(")?.strip_suffix(")/")?;
                // An offset after the number says where it was written, not when it was.
                let end = inside.get(1..)?.find(['+', '-']).map_or(inside.len(), |at| at + 1);
                Timestamp::from_millisecond(inside.get(..end)?.parse().ok()?).ok()
            }
            (Value::String(text), Self::Pattern(pattern)) => by_pattern(text, pattern),
            (Value::String(text), _) => parse_datetime(text).or_else(|| Offset::UTC.to_timestamp(parse_date(text)?.at(0, 0, 0, 0)).ok()),
            _ => None,
        }
    }

    /// The smallest step.
    pub(super) fn step(&self) -> Duration {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        match self {
            Self::Date => DAY,
            Self::DotNet | Self::EpochMilliseconds | Self::Rfc3339 => Duration::from_millis(1),
            Self::EpochSeconds | Self::Rfc3339Seconds | Self::Sql => Duration::from_secs(1),
            Self::Object(object) if object.value.is_some() => object.format.step(),
            Self::Object(object) if object.second.is_some() => Duration::from_secs(1),
            Self::Object(object) if object.minute.is_some() => Duration::from_secs(60),
            Self::Object(_) => DAY,
            Self::Pattern(pattern) if pattern.contains(['S', 'T', 's', 'c', 'r']) => Duration::from_secs(1),
            Self::Pattern(pattern) if pattern.contains(['M', 'R']) => Duration::from_secs(60),
            Self::Pattern(_) => DAY,
        }
    }

    /// True if fractions of seconds are lost.
    pub(super) fn whole_seconds(&self) -> bool {
        match self {
            Self::Pattern(pattern) => !pattern.contains(['f', 'N']),
            other => other.step() >= Duration::from_secs(1),
        }
    }

    /// What keeps times of this form from being written or read.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let sample = Timestamp::from_second(1_700_006_400).ok()?;
        match self {
            Self::Object(object) => object.problem(),
            Self::Pattern(pattern) => {
                let Ok(text) = strtime::format(pattern, &sample.to_zoned_datetime(TimeZone::UTC)) else {
                    return Some("this is no pattern of times");
                };
                by_pattern(&text, pattern).is_none().then_some("times written by this pattern could not be read again")
            }
            _ => None,
        }
    }
}

impl DateObject {
    fn parts(&self) -> [&Option<String>; 6] {
        [&self.year, &self.month, &self.day, &self.hour, &self.minute, &self.second]
    }

    fn write(&self, instant: Timestamp, civil: DateTime) -> Value {
        let mut members: Map<String, Value> = self.also.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        if let Some(name) = &self.value {
            members.insert(name.clone(), self.format.write(instant));
        }
        if let Some(name) = &self.zone {
            members.insert(name.clone(), "UTC".into());
        }
        let numbers =
            [civil.year(), civil.month().into(), civil.day().into(), civil.hour().into(), civil.minute().into(), civil.second().into()];
        for (name, number) in self.parts().into_iter().zip(numbers) {
            if let Some(name) = name {
                members.insert(name.clone(), number.into());
            }
        }
        Value::Object(members)
    }

    fn read(&self, members: &Map<String, Value>) -> Option<Timestamp> {
        if let Some(name) = &self.value {
            let value = members.get(name)?;
            let zone = self.zone.as_ref().and_then(|name| members.get(name)?.as_str());
            // A whole that names an offset of its own is not moved by the zone beside it.
            let civil = value.as_str().and_then(|text| text.parse::<DateTime>().ok().filter(|_| !text.ends_with(['Z', 'z'])));
            if let (Some(zone), Some(civil)) = (zone.filter(|zone| !matches!(*zone, "UTC" | "Z")), civil) {
                let named = || TimeZone::get(zone).ok()?.to_timestamp(civil).ok();
                return format!("{civil}{zone}").parse().ok().or_else(named);
            }
            return self.format.read(value);
        }
        let mut numbers = [0_i16, 1, 1, 0, 0, 0];
        for (name, number) in self.parts().into_iter().zip(&mut numbers) {
            if let Some(name) = name {
                *number = plain(members.get(name)?)?.trim().parse().ok()?;
            }
        }
        let [year, rest @ ..] = numbers;
        let mut small = [0_i8; 5];
        for (number, slot) in rest.into_iter().zip(&mut small) {
            *slot = i8::try_from(number).ok()?;
        }
        let [month, day, hour, minute, second] = small;
        Offset::UTC.to_timestamp(DateTime::new(year, month, day, hour, minute, second, 0).ok()?).ok()
    }

    fn problem(&self) -> Option<&'static str> {
        if self.value.is_some() {
            return if matches!(self.format, WireFormat::Object(_)) {
                Some("an object in an object is no time")
            } else {
                self.format.problem()
            };
        }
        (self.year.is_none() || self.month.is_none() || self.day.is_none())
            .then_some("the object names neither a value nor year, month and day")
    }
}

fn by_pattern(text: &str, pattern: &str) -> Option<Timestamp> {
    let parsed = strtime::parse(pattern, text).ok()?;
    let utc = |civil: DateTime| Offset::UTC.to_timestamp(civil).ok();
    parsed.to_timestamp().ok().or_else(|| utc(parsed.to_datetime().ok()?)).or_else(|| utc(parsed.to_date().ok()?.at(0, 0, 0, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn both_ways(format: Value, instant: &str, wire: &Value) {
        let format: WireFormat = serde_json::from_value(format).unwrap();
        let instant: Timestamp = instant.parse().unwrap();
        assert_eq!(format.problem(), None);
        assert_eq!(format.write(instant), *wire);
        assert_eq!(format.read(wire), Some(instant), "{wire}");
    }

    #[test]
    fn every_form_both_ways() {
        let noon = "2026-11-24T12:30:05Z";
        both_ways(json!("dot_net"), noon, &json!("/Date(1795523405000)/"));
        both_ways(json!("epoch_seconds"), noon, &json!(1795523405));
        both_ways(json!("rfc3339"), noon, &json!("2026-11-24T12:30:05.000Z"));
        both_ways(json!("sql"), noon, &json!("2026-11-24 12:30:05"));
        both_ways(json!({"pattern": "%Y-%m-%dT%H:%M:%S%:z"}), noon, &json!("2026-11-24T12:30:05+00:00"));
        both_ways(json!({"pattern": "%d/%m/%Y"}), "2026-11-24T00:00:00Z", &json!("24/11/2026"));
        both_ways(
            json!({"object": {"year": "y", "month": "m", "day": "d"}}),
            "2026-11-24T00:00:00Z",
            &json!({"y": 2026, "m": 11, "d": 24}),
        );
        let parts = json!({"object": {"year": "y", "month": "m", "day": "d", "hour": "h", "minute": "i", "second": "s"}});
        both_ways(parts, noon, &json!({"y": 2026, "m": 11, "d": 24, "h": 12, "i": 30, "s": 5}));
        let whole = json!({"object": {"value": "date", "format": "sql", "zone": "timezone", "also": {"timezone_type": 3}}});
        both_ways(whole, noon, &json!({"date": "2026-11-24 12:30:05", "timezone_type": 3, "timezone": "UTC"}));
    }

    #[test]
    fn zones_and_offsets_are_kept_in_mind() {
        let read =
            |format: Value, value: Value| serde_json::from_value::<WireFormat>(format).unwrap().read(&value).map(|at| at.to_string());
        let php = json!({"object": {"value": "date", "format": "sql", "zone": "timezone"}});
        let paris = json!({"date": "2026-11-24 12:30:05.000000", "timezone_type": 1, "timezone": "+01:00"});
        assert_eq!(read(php, paris).as_deref(), Some("2026-11-24T11:30:05Z"));
        assert_eq!(read(json!("dot_net"), json!("/Date(1795523405000+0200)/")).as_deref(), Some("2026-11-24T12:30:05Z"));
        assert_eq!(
            read(json!({"pattern": "%Y-%m-%dT%H:%M:%S%:z"}), json!("2026-11-24T12:30:05+02:00")).as_deref(),
            Some("2026-11-24T10:30:05Z")
        );
        let parts = json!({"object": {"year": "y", "month": "m", "day": "d"}});
        for odd in [json!({"y": 2026, "m": 13, "d": 1}), json!({"y": 2026, "m": 1}), json!({"y": 2026, "m": 1, "d": 999}), json!("2026")] {
            assert_eq!(read(parts.clone(), odd.clone()), None, "{odd}");
        }
        assert_eq!(read(json!("dot_net"), json!("/Date(é)/")), None);
    }

    #[test]
    fn forms_that_cannot_work_are_told() {
        for odd in [json!({"pattern": "%Q"}), json!({"pattern": "%H:%M"}), json!({"object": {"year": "y"}}), json!({"object": {}})] {
            assert!(serde_json::from_value::<WireFormat>(odd.clone()).unwrap().problem().is_some(), "{odd}");
        }
    }
}
