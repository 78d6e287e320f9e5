//! Which CRM's form a value takes.

use serde_json::Value;

use super::encoder::Encoder;
use super::list::Choices;
use super::profile::Profile;
use super::refused::{Encoded, Refused, refused, wrong};
use super::{hubspot, id, pipedrive};
use crate::model::{FieldSchema, FieldType};

impl Encoder {
    pub(crate) fn new(profile: Profile, name: &str, field: Option<&FieldSchema>) -> Self {
        let mut made = Self { profile, name: name.to_owned(), ..Self::default() };
        if let Some(field) = field {
            made.kind = field.kind.clone();
            made.max = field.max_length;
            made.max_bytes = field.max_bytes;
            made.max_digits = field.max_digits.map(u32::from);
            made.choices = Choices::of(field);
            made.references.clone_from(&field.references);
        }
        if profile == Profile::Pipedrive {
            pipedrive::refine(&mut made);
        }
        made
    }

    /// Encodes a value that is not null. A null result stands for an emptied field.
    pub(crate) fn encode(&self, value: &Value) -> Result<Encoded, Refused> {
        let read;
        let mut value = value;
        if let Some(pattern) = &self.pattern {
            let dated = matches!(self.kind, FieldType::Date | FieldType::DateTime { .. } | FieldType::Time);
            let made = if dated { pattern.read(value, &self.kind, self.zone) } else { pattern.write(value, self.zone) };
            let Some(made) = made else { return refused("wrong_format", "the value does not have the field's `format`") };
            read = made;
            value = &read;
        }
        match self.profile {
            Profile::Hubspot => hubspot::encode(self, value),
            Profile::Pipedrive => pipedrive::encode(self, value),
            Profile::Salesforce => self.salesforce(value),
            Profile::Custom => self.plain(value),
        }
    }

    fn salesforce(&self, value: &Value) -> Result<Encoded, Refused> {
        match (&self.kind, value) {
            (FieldType::Id | FieldType::Reference, Value::String(text)) if text.trim().is_empty() => Ok((Value::Null, None)),
            (FieldType::Id | FieldType::Reference, Value::String(text)) => {
                Ok((Value::String(id::reference(text, &self.references)?), None))
            }
            (FieldType::Id | FieldType::Reference, other) => wrong("the id of a record", other),
            (FieldType::Time, value) => {
                let time = self.time(value)?;
                let text = format!("{:02}:{:02}:{:02}.{:03}Z", time.hour(), time.minute(), time.second(), time.millisecond());
                Ok((Value::String(text), None))
            }
            _ => self.plain(value),
        }
    }
}
