//! Property values: texts or null on the wire, typed here.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::model::{EntitySchema, FieldType, Fields};

/// The properties as HubSpot takes them: texts. Null becomes the empty text, which clears; a list is joined by `;`. A text
/// that begins with `;` appends to a multiple choice, any other replaces it; that is the caller's choice and passes through.
///
/// # Errors
/// [`crate::error::ErrorKind::Config`] naming the property that holds an object or a nested list.
pub fn encode(fields: &Fields) -> Result<Map<String, Value>> {
    let mut properties = Map::new();
    for (name, value) in fields {
        properties.insert(name.to_owned(), Value::String(text_of(name, value)?.into_owned()));
    }
    Ok(properties)
}

/// Fields as [`encode`] writes them, on the way into a body.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a>(&'a Fields);

impl<'a> Texts<'a> {
    /// Looks at every value first: nothing is sent of fields that cannot be written whole.
    pub(super) fn new(fields: &'a Fields) -> Result<Self> {
        match fields.iter().find(|(_, value)| !writable(value)) {
            Some((name, _)) => Err(no_text(name)),
            None => Ok(Self(fields)),
        }
    }

    pub(super) fn fields(self) -> &'a Fields {
        self.0
    }
}

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0 {
            map.serialize_entry(name, &text_of(name, value).map_err(serde::ser::Error::custom)?)?;
        }
        map.end()
    }
}

/// One value as [`encode`] writes it.
pub(super) fn text_of<'a>(name: &str, value: &'a Value) -> Result<Cow<'a, str>> {
    let text = match value {
        Value::Array(items) => {
            let items: Option<Vec<Cow<'_, str>>> = items.iter().map(scalar).collect();
            items.map(|items| Cow::Owned(items.join(";")))
        }
        value => scalar(value),
    };
    text.ok_or_else(|| no_text(name))
}

/// True if [`text_of`] has a text for it.
fn writable(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.iter().any(|item| item.is_array() || item.is_object()),
        value => !value.is_object(),
    }
}

fn no_text(name: &str) -> Error {
    Error::config(format!("the property {name} holds an object or a nested list; hubspot takes texts"))
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => Some(Cow::Borrowed("")),
        Value::Bool(yes) => Some(Cow::Borrowed(if *yes { "true" } else { "false" })),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Array(_) | Value::Object(_) => None,
    }
}

/// Writes dates as days: a `date` property takes midnight UTC and refuses any other instant.
///
/// # Errors
/// [`crate::error::ErrorKind::Validation`] naming a date property whose value is an instant within a day.
pub fn check_dates(fields: &mut Fields, schema: &EntitySchema) -> Result<()> {
    for field in schema.fields.iter().filter(|field| field.kind == FieldType::Date) {
        let Some(millis) = fields.get(&field.name).and_then(|value| match value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) if text.len() > 8 => text.parse().ok(),
            _ => None,
        }) else {
            continue;
        };
        if millis.rem_euclid(86_400_000) != 0 {
            let error =
                Error::new(crate::error::ErrorKind::Validation, format!("the date property {} takes a day or midnight UTC", field.name));
            return Err(error.with_fields(vec![crate::error::FieldError::new(&field.name, Some("INVALID_DATE".to_owned()))]));
        }
        let day = Timestamp::from_millisecond(millis).map(|at| at.strftime("%Y-%m-%d").to_string());
        fields.insert(&field.name, day.map_err(|_| Error::config(format!("the date property {} is out of range", field.name)))?);
    }
    Ok(())
}

/// Gives texts the types of the schema: numbers, booleans and lists. What does not fit its type stays text; empty is null.
pub fn decode(fields: &mut Fields, schema: &EntitySchema) {
    let names: Vec<String> = fields.names().map(ToOwned::to_owned).collect();
    for name in names {
        let Some(text) = fields.text(&name).map(ToOwned::to_owned) else { continue };
        let typed = match schema.field_type(&name) {
            _ if text.is_empty() => Some(Value::Null),
            FieldType::Boolean => text.parse::<bool>().ok().map(Value::Bool),
            FieldType::Integer | FieldType::Decimal { .. } => serde_json::from_str::<serde_json::Number>(&text).ok().map(Value::Number),
            FieldType::MultiPicklist => Some(json!(text.split(';').filter(|item| !item.is_empty()).collect::<Vec<_>>())),
            _ => None,
        };
        if let Some(typed) = typed {
            fields.insert(&name, typed);
        }
    }
}
