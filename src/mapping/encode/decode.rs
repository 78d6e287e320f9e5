//! CRM to host: plain JSON, whatever dress the CRM gave the value.

use jiff::Timestamp;
use jiff::tz::Offset;
use rust_decimal::Decimal;
use serde_json::Value;

use super::encoder::Encoder;
use super::profile::Profile;
use super::refused::{Encoded, Note};
use super::{hubspot, pipedrive};
use crate::mapping::formula::{decimal_to_value, value_to_decimal};
use crate::model::{FieldType, parse_date, parse_datetime};

const ODD: Note = Note { code: "kept_as_text", reason: "the value does not fit the type the CRM declares, and was kept as it is" };

impl Encoder {
    /// A value as the host gets it. A value that does not fit its type is passed on as it is, with a note.
    pub(crate) fn decode(&self, value: &Value) -> Encoded {
        let (decoded, note) = match self.profile {
            Profile::Hubspot if hubspot::is_empty(value) => (Value::Null, None),
            Profile::Pipedrive => pipedrive::decode(self, value).map_or_else(|| self.plain_decode(value), |decoded| (decoded, None)),
            _ => self.plain_decode(value),
        };
        let Some(pattern) = &self.pattern else { return (decoded, note) };
        if decoded.is_null() {
            return (decoded, note);
        }
        // On a text field the CRM has the pattern's spelling, on a date field the host has.
        let dated = matches!(self.kind, FieldType::Date | FieldType::DateTime { .. } | FieldType::Time);
        let made = if dated { pattern.write(&decoded, self.zone) } else { pattern.read(&decoded, &self.kind, self.zone) };
        made.map_or_else(|| (decoded, Some(ODD)), |made| (made, note))
    }

    pub(super) fn plain_decode(&self, value: &Value) -> Encoded {
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
            // Salesforce writes a time of day as 10:00:00.000Z.
            (FieldType::Time, Value::String(text)) if !text.trim().is_empty() => {
                let text = text.trim();
                text.strip_suffix('Z').unwrap_or(text).parse::<jiff::civil::Time>().ok().map(|time| Value::String(time.to_string()))
            }
            (FieldType::MultiPicklist, Value::String(text)) => {
                Some(text.split(';').map(str::trim).filter(|part| !part.is_empty()).collect::<Vec<_>>().into())
            }
            _ => Some(value.clone()),
        };
        decoded.map_or_else(|| (value.clone(), Some(ODD)), |value| (value, None))
    }
}
