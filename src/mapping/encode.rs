//! Values in the form the CRM's field takes, and back.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::Offset;
use rust_decimal::{Decimal, RoundingStrategy};
use serde_json::Value;

use crate::mapping::email;
use crate::mapping::field::OnTooLong;
use crate::mapping::formula::{boolean, decimal_to_value, value_to_decimal};
use crate::model::{FieldSchema, FieldType, parse_date, parse_datetime};

/// How one CRM field takes its values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoder {
    pub(crate) kind: FieldType,
    pub(crate) max: Option<u32>,
    pub(crate) on_too_long: OnTooLong,
    pub(crate) lenient: bool,
    pub(crate) zone: Option<Offset>,
    /// Active values, if the list is known.
    values: Vec<String>,
    restricted: bool,
}

/// An encoded value and what was lost.
pub(crate) type Encoded = (Value, Option<Note>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) code: &'static str,
    pub(crate) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

fn refused<T>(code: &'static str, reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, reason: reason.into() })
}

fn what(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wrong<T>(wanted: &str, value: &Value) -> Result<T, Refused> {
    refused("wrong_type", format!("the field takes {wanted}, and this is {}", what(value)))
}

fn bad_email<T>(fault: &str) -> Result<T, Refused> {
    refused("wrong_format", format!("this is no e-mail address: {fault}; correct it at its source"))
}

impl Encoder {
    pub(crate) fn new(field: Option<&FieldSchema>) -> Self {
        let Some(field) = field else { return Self::default() };
        let list = field.picklist.as_ref();
        Self {
            kind: field.kind.clone(),
            max: field.max_length,
            values: list
                .map_or_else(Vec::new, |list| list.values.iter().filter(|value| value.active).map(|value| value.value.clone()).collect()),
            restricted: list.is_some_and(|list| list.restricted),
            ..Self::default()
        }
    }

    /// True if every value goes through as it is.
    pub(crate) fn is_copy(&self) -> bool {
        self.kind == FieldType::Any && self.max.is_none()
    }

    /// Encodes a value that is not null.
    pub(crate) fn encode(&self, value: &Value) -> Result<Encoded, Refused> {
        match &self.kind {
            FieldType::Text => self.text(value, false),
            FieldType::Email => self.email(value),
            FieldType::Phone | FieldType::Url => self.text(value, true),
            FieldType::Picklist => self.picklist(value),
            FieldType::MultiPicklist => self.multi(value),
            FieldType::Boolean => self.boolean(value),
            FieldType::Integer => self.number(value, Some(0)),
            FieldType::Decimal { scale } => self.number(value, scale.map(u32::from)),
            FieldType::Date => self.date(value),
            FieldType::DateTime { whole_seconds } => self.datetime(value, *whole_seconds),
            FieldType::Id | FieldType::Reference => match value {
                Value::String(text) => Ok((Value::String(text.trim().to_owned()), None)),
                Value::Number(_) => Ok((value.clone(), None)),
                other => wrong("the id of a record", other),
            },
            FieldType::Time => match value {
                Value::String(text) => {
                    let time = text.trim();
                    if time.strip_suffix('Z').unwrap_or(time).parse::<jiff::civil::Time>().is_err() {
                        return refused("wrong_type", "the field takes a time of day such as 14:30:00");
                    }
                    Ok((Value::String(time.to_owned()), None))
                }
                other => wrong("a time of day", other),
            },
            _ => match value {
                Value::String(_) => self.limit(value.clone()),
                _ => Ok((value.clone(), None)),
            },
        }
    }

    fn limit(&self, value: Value) -> Result<Encoded, Refused> {
        let (Some(max), Value::String(text)) = (self.max, &value) else { return Ok((value, None)) };
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        // A text has at most as many characters as bytes: the count is rarely needed.
        if text.len() <= max {
            return Ok((value, None));
        }
        let Some((cut, _)) = text.char_indices().nth(max) else { return Ok((value, None)) };
        match self.on_too_long {
            OnTooLong::Error => {
                let length = text.chars().count();
                refused(
                    "too_long",
                    format!("the field takes {max} characters, and this has {length}; shorten it or set `on_too_long: truncate`"),
                )
            }
            OnTooLong::Truncate => {
                let cut = text.get(..cut).unwrap_or_default().to_owned();
                Ok((Value::String(cut), Some(Note { code: "truncated", reason: "the text was cut to the length of the field" })))
            }
        }
    }

    fn text(&self, value: &Value, trim: bool) -> Result<Encoded, Refused> {
        match value {
            Value::String(text) if trim => self.limit(Value::String(text.trim().to_owned())),
            Value::String(_) => self.limit(value.clone()),
            Value::Number(number) => self.limit(Value::String(number.to_string())),
            Value::Bool(value) if !trim => self.limit(Value::String(value.to_string())),
            other => wrong("a text", other),
        }
    }

    /// A cut address may be another one or none: what is left must be one still.
    fn email(&self, value: &Value) -> Result<Encoded, Refused> {
        let Value::String(text) = value else { return wrong("an e-mail address", value) };
        let text = text.trim();
        let encoded = self.limit(Value::String(text.to_owned()))?;
        // Blank texts are for `blank:` to judge.
        let fault = if text.is_empty() { None } else { email::fault(text) };
        let cut = || encoded.1.and(encoded.0.as_str()).and_then(email::fault);
        match fault.or_else(cut) {
            Some(fault) => bad_email(fault),
            None => Ok(encoded),
        }
    }

    fn member(&self, text: &str) -> Result<(), Refused> {
        if !self.restricted || self.values.iter().any(|known| known == text) {
            return Ok(());
        }
        let near = self.values.iter().find(|known| known.eq_ignore_ascii_case(text));
        let hint = near.map_or_else(String::new, |near| format!("; the list spells it {near:?}"));
        refused("picklist_value", format!("the value is not in the CRM's restricted list{hint}"))
    }

    fn picklist(&self, value: &Value) -> Result<Encoded, Refused> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(value) => value.to_string(),
            other => return wrong("one value of a list", other),
        };
        self.member(&text)?;
        self.limit(Value::String(text))
    }

    fn multi(&self, value: &Value) -> Result<Encoded, Refused> {
        let mut members: Vec<String> = match value {
            Value::String(text) => text.split(';').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect(),
            Value::Array(items) => {
                let mut members = Vec::with_capacity(items.len());
                for item in items {
                    match item {
                        Value::String(text) if text.contains(';') => {
                            return refused("picklist_value", "a value of a multi-select must not contain `;`");
                        }
                        Value::String(text) if text.trim().is_empty() => {}
                        Value::String(text) => members.push(text.trim().to_owned()),
                        Value::Number(number) => members.push(number.to_string()),
                        Value::Null => {}
                        other => return wrong("a list of texts", other),
                    }
                }
                members
            }
            Value::Number(number) => vec![number.to_string()],
            other => return wrong("a list of values", other),
        };
        for member in &members {
            self.member(member)?;
        }
        // The CRM's order, so that the same members always give the same text; strangers keep theirs at the end.
        members.sort_by_key(|member| self.values.iter().position(|known| known == member).unwrap_or(usize::MAX));
        let mut seen = std::collections::HashSet::new();
        members.retain(|member| seen.insert(member.clone()));
        if members.is_empty() {
            return Ok((Value::Null, None));
        }
        Ok((Value::String(members.join(";")), None))
    }

    fn boolean(&self, value: &Value) -> Result<Encoded, Refused> {
        match value {
            Value::Bool(_) => Ok((value.clone(), None)),
            Value::String(text) if self.lenient => match boolean(text) {
                Some(value) => Ok((Value::Bool(value), None)),
                None => refused("wrong_type", "the text is none of true/false, yes/no, y/n, 1/0, on/off"),
            },
            Value::Number(number) if self.lenient => match number.as_i64() {
                Some(0) => Ok((Value::Bool(false), None)),
                Some(1) => Ok((Value::Bool(true), None)),
                _ => wrong("true or false", value),
            },
            Value::String(_) => wrong("true or false (`lenient: true` reads texts)", value),
            other => wrong("true or false", other),
        }
    }

    fn number(&self, value: &Value, scale: Option<u32>) -> Result<Encoded, Refused> {
        let number = match value {
            Value::Number(_) => value_to_decimal(value),
            Value::String(text) if self.lenient => {
                let text = text.trim();
                text.parse::<Decimal>().ok().or_else(|| Decimal::from_scientific(text).ok())
            }
            Value::String(_) => return wrong("a number (`lenient: true` reads texts)", value),
            other => return wrong("a number", other),
        };
        let Some(number) = number else { return refused("wrong_type", "the value is not a number of up to 28 digits") };
        let rounded = scale.map_or(number, |scale| number.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero));
        let (encoded, exact) = decimal_to_value(rounded);
        let note =
            (!exact || rounded != number).then_some(Note { code: "rounded", reason: "the number has more digits than the field keeps" });
        Ok((encoded, note))
    }

    fn date(&self, value: &Value) -> Result<Encoded, Refused> {
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
                    (None, Some(_), None) => return no_zone(),
                    (None, None, _) => return refused("wrong_type", "the text is not a day in the form 2026-01-31"),
                }
            }
            Value::Number(number) => match (number.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok()), self.zone) {
                (Some(at), Some(zone)) => zone.to_datetime(at).date(),
                (Some(_), None) => return no_zone(),
                (None, _) => return refused("wrong_type", "the number is not milliseconds since 1970"),
            },
            other => return wrong("a day", other),
        };
        in_range(i64::from(date.year()))?;
        Ok((Value::String(date.to_string()), None))
    }

    fn datetime(&self, value: &Value, whole_seconds: bool) -> Result<Encoded, Refused> {
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

    /// A value as the host gets it. A value that does not fit its type is passed on as it is, with a note.
    pub(crate) fn decode(&self, value: &Value) -> Encoded {
        let odd = Some(Note { code: "kept_as_text", reason: "the value does not fit the type the CRM declares, and was kept as it is" });
        let decoded = match (&self.kind, value) {
            (_, Value::Null) => Some(Value::Null),
            (FieldType::Boolean, Value::String(text)) => match text.trim() {
                "" => Some(Value::Null),
                "true" | "TRUE" | "True" | "1" => Some(Value::Bool(true)),
                "false" | "FALSE" | "False" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            (FieldType::Integer | FieldType::Decimal { .. }, Value::String(text)) => {
                if text.trim().is_empty() {
                    Some(Value::Null)
                } else {
                    let number = text.trim().parse::<Decimal>().ok().or_else(|| Decimal::from_scientific(text.trim()).ok());
                    number.map(decimal_to_value).filter(|(_, exact)| *exact).map(|(value, _)| value)
                }
            }
            // Salesforce prints 1.0 for 1.
            (FieldType::Integer | FieldType::Decimal { .. }, Value::Number(_)) => {
                Some(value_to_decimal(value).map_or_else(|| value.clone(), |number| decimal_to_value(number).0))
            }
            (FieldType::DateTime { .. }, Value::String(text)) if !text.trim().is_empty() => {
                parse_datetime(text).map(|at| Value::String(at.to_string()))
            }
            (FieldType::DateTime { .. }, Value::Number(number)) => {
                number.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok()).map(|at| Value::String(at.to_string()))
            }
            (FieldType::Date, Value::String(text)) if !text.trim().is_empty() => {
                parse_date(text).map(|date| Value::String(date.to_string()))
            }
            (FieldType::Date, Value::Number(number)) => {
                let at = number.as_i64().and_then(|ms| Timestamp::from_millisecond(ms).ok());
                at.map(|at| Value::String(Offset::UTC.to_datetime(at).date().to_string()))
            }
            (FieldType::MultiPicklist, Value::String(text)) => {
                Some(text.split(';').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().into())
            }
            _ => Some(value.clone()),
        };
        decoded.map_or_else(|| (value.clone(), odd), |value| (value, None))
    }
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
