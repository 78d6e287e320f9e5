//! The schema of an event: its Avro form, the names bitmaps count by, and which numbers are times.

use std::collections::HashMap;

use apache_avro::Schema;

use crate::error::{Error, Result};
use crate::model::{Entity, EntitySchema, FieldType};

/// How a number is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    Date,
    DateTime,
    Plain,
    /// Nobody says: the name decides.
    Unknown,
}

/// A top-level field.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) name: String,
    /// The fields of the record it is or may be; of the header, none.
    pub(super) components: Vec<String>,
    pub(super) meaning: Meaning,
}

impl Shape {
    #[cfg(test)]
    pub(super) fn of(name: &str, components: &[&str]) -> Self {
        let components = components.iter().map(|&component| component.to_owned()).collect();
        Self { name: name.to_owned(), components, meaning: Meaning::Unknown }
    }
}

/// A schema, read once for each id.
pub(super) struct EventSchema {
    pub(super) avro: Schema,
    /// The event's name: `LeadChangeEvent`, `Order_Placed__e`.
    pub(super) name: String,
    pub(super) fields: Vec<Shape>,
}

impl EventSchema {
    pub(super) fn parse(json: &str) -> Result<Self> {
        let unreadable = || Error::decode("the schema of an event is not an Avro record");
        let avro = Schema::parse_str(json).map_err(|_| unreadable())?;
        let Schema::Record(record) = &avro else { return Err(unreadable()) };
        let mut known = HashMap::new();
        for field in &record.fields {
            collect(&field.schema, &mut known);
        }
        let fields = record.fields.iter().map(|field| Shape {
            name: field.name.clone(),
            components: if field.name == "ChangeEventHeader" { Vec::new() } else { components(&field.schema, &known) },
            meaning: field.doc.as_deref().map_or(Meaning::Unknown, documented),
        });
        Ok(Self { name: record.name.name().to_owned(), fields: fields.collect(), avro })
    }

    /// The entity whose description knows the fields.
    pub(super) fn entity(&self) -> Entity {
        match self.name.strip_suffix("ChangeEvent") {
            Some(custom) if custom.ends_with("__") => Entity::new(format!("{custom}c")),
            Some(standard) if !standard.is_empty() => Entity::new(standard),
            _ => Entity::new(&self.name),
        }
    }

    /// Takes over what the org's description says.
    pub(super) fn describe(&mut self, schema: &EntitySchema) {
        for field in &mut self.fields {
            let described = schema.field(&field.name).map(|known| &known.kind);
            match described {
                Some(FieldType::DateTime { .. }) => field.meaning = Meaning::DateTime,
                Some(FieldType::Date) => field.meaning = Meaning::Date,
                Some(_) => field.meaning = Meaning::Plain,
                None => {}
            }
        }
    }
}

/// Some schemas say the type in a field's documentation, as `Data:DateTime:00N…`.
fn documented(doc: &str) -> Meaning {
    match doc.split(':').nth(1).unwrap_or_default() {
        "DateTime" => Meaning::DateTime,
        "DateOnly" | "Date" => Meaning::Date,
        _ => Meaning::Unknown,
    }
}

/// Named records, which are defined once and referred to later.
fn collect(schema: &Schema, known: &mut HashMap<String, Vec<String>>) {
    match schema {
        Schema::Record(record) => {
            known.insert(record.name.name().to_owned(), record.fields.iter().map(|field| field.name.clone()).collect());
            record.fields.iter().for_each(|field| collect(&field.schema, known));
        }
        Schema::Union(union) => union.variants().iter().for_each(|variant| collect(variant, known)),
        Schema::Array(array) => collect(&array.items, known),
        _ => {}
    }
}

fn components(schema: &Schema, known: &HashMap<String, Vec<String>>) -> Vec<String> {
    match schema {
        Schema::Record(record) => record.fields.iter().map(|field| field.name.clone()).collect(),
        Schema::Ref { name } => known.get(name.name()).cloned().unwrap_or_default(),
        Schema::Union(union) => {
            let all = union.variants().iter().map(|variant| components(variant, known));
            all.into_iter().find(|names| !names.is_empty()).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}
