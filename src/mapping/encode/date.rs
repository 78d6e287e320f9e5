//! Days and instants for the CRM: exact, and never moved by a zone that nobody named.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use serde_json::Value;

use super::encoder::Encoder;
use super::profile::Profile;
use super::refused::{Encoded, Refused, refused, wrong};
use crate::model::parse_datetime;

impl Encoder {
    pub(super) fn date(&self, value: &Value) -> Result<Encoded, Refused> {
        let no_zone = || refused("no_zone", "a datetime becomes a day only in a zone; set `zone: UTC` or an offset");
        let date = match value {
            Value::String(text) => {
                let text = text.trim();
                let day = (text.len() == 10).then(|| text.parse::<Date>().ok()).flatten();
                match (day, parse_datetime(text), self.zone) {
                    (Some(day), ..) => day,
                    (None, Some(_), Some(_)) if is_civil(text) => match text.parse::<DateTime>() {
                        Ok(civil) => civil.date(),
                        Err(_) => return refused("wrong_type", "the text is not a day in the form 2026-01-31"),
                    },
                    (None, Some(at), Some(zone)) => zone.to_datetime(at).date(),
                    // Midnight UTC is a day and nothing else.
                    (None, Some(at), None) if is_midnight(at) && self.profile == Profile::Hubspot => Offset::UTC.to_datetime(at).date(),
                    (None, Some(_), None) => return no_zone(),
                    (None, None, _) => return refused("wrong_type", "the text is not a day in the form 2026-01-31"),
                }
            }
            Value::Number(number) => match (number.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok()), self.zone) {
                (Some(at), Some(zone)) => zone.to_datetime(at).date(),
                // HubSpot's own form of a day: milliseconds of midnight UTC.
                (Some(at), None) if self.profile == Profile::Hubspot && is_midnight(at) => Offset::UTC.to_datetime(at).date(),
                (Some(_), None) => return no_zone(),
                (None, _) => return refused("wrong_type", "the number is not milliseconds since 1970"),
            },
            other => return wrong("a day", other),
        };
        in_range(i64::from(date.year()))?;
        Ok((Value::String(date.to_string()), None))
    }

    pub(super) fn datetime(&self, value: &Value, whole_seconds: bool) -> Result<Encoded, Refused> {
        let at = match value {
            Value::String(text) => {
                let text = text.trim();
                let civil = if text.len() == 10 { text.parse::<Date>().ok().map(|day| day.at(0, 0, 0, 0)) } else { None };
                let civil = civil.or_else(|| is_civil(text).then(|| text.parse::<DateTime>().ok()).flatten());
                match (civil, self.zone) {
                    (Some(civil), Some(zone)) => zone.to_timestamp(civil).ok(),
                    (Some(_), None) => return refused("no_zone", "a time without a zone is no instant; set `zone: UTC` or an offset"),
                    (None, _) => parse_datetime(text),
                }
            }
            Value::Number(number) => {
                let ms = number.as_i64();
                // Ten digits are seconds written by mistake; 1970 in milliseconds is nobody's data.
                if ms.is_some_and(|ms| ms.unsigned_abs() < 100_000_000_000 && ms.unsigned_abs() > 100_000_000) {
                    return refused("wrong_type", "the number looks like seconds; the field takes milliseconds since 1970");
                }
                ms.and_then(|ms| Timestamp::from_millisecond(ms).ok())
            }
            other => return wrong("a datetime", other),
        };
        let Some(at) = at else { return refused("wrong_type", "the value is not a datetime such as 2026-01-31T09:30:00Z") };
        let kept = if whole_seconds { Timestamp::from_second(at.as_second()) } else { Timestamp::from_millisecond(at.as_millisecond()) };
        let at = kept.unwrap_or(at);
        in_range(i64::from(Offset::UTC.to_datetime(at).year()))?;
        Ok((Value::String(at.to_string()), None))
    }

    /// A time of day.
    pub(super) fn time(&self, value: &Value) -> Result<Time, Refused> {
        let Value::String(text) = value else { return wrong("a time of day", value) };
        let text = text.trim();
        match text.strip_suffix('Z').unwrap_or(text).parse() {
            Ok(time) => Ok(time),
            Err(_) => refused("wrong_type", "the field takes a time of day such as 14:30:00"),
        }
    }
}

fn is_midnight(at: Timestamp) -> bool {
    at.as_millisecond().rem_euclid(86_400_000) == 0 && at.subsec_nanosecond() == 0
}

/// A time of day without a zone: neither `Z` nor an offset nor digits alone.
fn is_civil(text: &str) -> bool {
    text.parse::<DateTime>().is_ok() && text.parse::<Timestamp>().is_err() && !text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Salesforce keeps dates from 1700 to 4000.
fn in_range(year: i64) -> Result<(), Refused> {
    if (1700..=4000).contains(&year) {
        return Ok(());
    }
    refused("out_of_range", "the year is not between 1700 and 4000")
}
