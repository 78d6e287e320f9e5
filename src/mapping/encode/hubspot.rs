//! HubSpot: every property is a text, the empty text clears it (API reference, "Properties": value formats).

use rust_decimal::Decimal;
use serde_json::Value;

use super::encoder::{Encoder, members};
use super::refused::{Encoded, Refused, wrong};
use crate::model::FieldType;

/// Null, or the text that stands for it.
pub(super) fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

pub(super) fn encode(encoder: &Encoder, value: &Value) -> Result<Encoded, Refused> {
    let text = |text: String| Ok((Value::String(text), None));
    match &encoder.kind {
        FieldType::Integer | FieldType::Decimal { .. } => {
            // A text holds all 28 digits: nothing passes through a double.
            let (number, rounded) = encoder.number(value)?;
            Ok((Value::String(exact(number)), rounded.then_some(super::refused::ROUNDED)))
        }
        FieldType::Boolean => text(encoder.boolean(value)?.to_string()),
        FieldType::MultiPicklist => {
            let listed = encoder.members(value)?;
            // A text that begins with `;` adds its members to those the property has; so does `append: true`.
            let append = encoder.append || value.as_str().is_some_and(|text| text.trim_start().starts_with(';'));
            match (listed.is_empty(), append) {
                (true, _) => Ok((Value::Null, None)),
                (false, true) => text(format!(";{}", listed.join(";"))),
                (false, false) => text(listed.join(";")),
            }
        }
        FieldType::Any => match value {
            Value::Bool(flag) => text(flag.to_string()),
            Value::Number(number) => text(number.to_string()),
            Value::Array(_) => {
                let listed = members(value)?;
                if listed.is_empty() { Ok((Value::Null, None)) } else { text(listed.join(";")) }
            }
            Value::Object(_) => wrong("a text, a number, true or false, or a list of texts", value),
            Value::String(_) | Value::Null => encoder.limit(value.clone()),
        },
        FieldType::Id | FieldType::Reference => match value {
            Value::String(id) => text(id.trim().to_owned()),
            Value::Number(id) => text(id.to_string()),
            other => wrong("the id of a record", other),
        },
        _ => {
            let (encoded, note) = encoder.plain(value)?;
            match encoded {
                Value::String(_) | Value::Null => Ok((encoded, note)),
                Value::Number(number) => Ok((Value::String(number.to_string()), note)),
                Value::Bool(flag) => Ok((Value::String(flag.to_string()), note)),
                other => wrong("a text", &other),
            }
        }
    }
}

fn exact(number: Decimal) -> String {
    number.normalize().to_string()
}
