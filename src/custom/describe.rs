//! The description of fields.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::custom::connection::Custom;
use crate::custom::definition::{EntitySpec, FieldSpec, ValueType};
use crate::custom::pointer::{Paths, plain};
use crate::custom::request::Draft;
use crate::error::{Error, Result};
use crate::model::{Entity, EntitySchema, FieldSchema, Picklist};

impl Custom {
    pub(super) async fn described(&self, entity: &Entity) -> Result<EntitySchema> {
        let spec = self.spec(entity)?;
        let keep = spec.schema.as_ref().map_or(0, |schema| schema.cache);
        let now = self.shared.host.monotonic();
        if let Some(schema) = self.shared.kept(entity.as_str(), now).filter(|_| keep > 0) {
            return Ok(schema);
        }
        let schema = self.asked(entity, spec).await?;
        if keep > 0 {
            self.shared.keep(entity.as_str(), now.saturating_add(Duration::from_secs(keep)), schema.clone());
        }
        Ok(schema)
    }

    async fn asked(&self, entity: &Entity, spec: &EntitySpec) -> Result<EntitySchema> {
        let mut fields: Vec<FieldSchema> = spec.fields.iter().map(|(name, field)| declared(name, field, spec)).collect();
        let Some(schema) = &spec.schema else {
            if fields.is_empty() {
                return Err(Error::unsupported("the definition describes no fields"));
            }
            return Ok(EntitySchema::new(entity.clone(), entity.as_str(), fields));
        };
        let names = self.shared.names().with("entity", entity.as_str());
        let none = BTreeMap::new();
        let draft = Draft {
            operation: "describe",
            method: "GET",
            path: &schema.path,
            params: Vec::new(),
            query: &none,
            headers: &none,
            body: None,
            encoding: Default::default(),
            read_only: true,
        };
        let answer = self.send(&self.shared.call(draft, &names)?, &[]).await?;
        let body: Value = answer.json()?;
        let required: Vec<&str> = match schema.required.as_ref().and_then(|path| path.find(&body)) {
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let entries: Vec<(Option<&str>, &Value)> = match schema.fields.find(&body) {
            Some(Value::Array(items)) => items.iter().map(|item| (None, item)).collect(),
            Some(Value::Object(members)) => members.iter().map(|(name, value)| (Some(name.as_str()), value)).collect(),
            _ => return Err(Error::decode(format!("the answer has no fields at {}", schema.fields.told()))),
        };
        for (key, entry) in entries {
            let name =
                key.map(ToOwned::to_owned).or_else(|| schema.name.as_ref().and_then(|path| path.text(entry))).or_else(|| plain(entry));
            let name = name.ok_or_else(|| Error::decode("a field of the description has no name"))?;
            // What the definition says of a field is said on purpose.
            if fields
                .iter()
                .any(|field| field.name == name || spec.fields.get(&field.name).and_then(|own| own.path.as_deref()) == Some(name.as_str()))
            {
                continue;
            }
            let told = schema.kind.as_ref().and_then(|path| path.text(entry));
            let kind = told.as_deref().and_then(|told| schema.types.get(told).copied().or_else(|| usual_type(told))).unwrap_or_default();
            let like = FieldSpec { kind, ..Default::default() };
            let mut field = FieldSchema::new(name.clone(), like.field_type());
            let flag = |path: &Option<Paths>| path.as_ref().and_then(|path| path.find(entry)).and_then(Value::as_bool).unwrap_or(false);
            if let Some(label) = schema.label.as_ref().and_then(|path| path.text(entry)) {
                field.label = label;
            }
            field.required = flag(&schema.required) || required.contains(&name.as_str());
            field.unique = flag(&schema.unique);
            if flag(&schema.read_only) {
                (field.creatable, field.updatable, field.required) = (false, false, false);
            }
            field.max_length = schema.max_length.as_ref().and_then(|path| path.number(entry)).and_then(|length| u32::try_from(length).ok());
            if let Some(Value::Array(options)) = schema.options.as_ref().and_then(|path| path.find(entry)) {
                let value = |option: &Value| schema.option.as_ref().and_then(|path| path.text(option)).or_else(|| plain(option));
                field.picklist = Some(Picklist::of(true, options.iter().filter_map(value)));
            }
            field.external_id = spec.keys.contains(&name) && field.unique;
            fields.push(field);
        }
        Ok(EntitySchema::new(entity.clone(), entity.as_str(), fields))
    }
}

fn declared(name: &str, field: &FieldSpec, spec: &EntitySpec) -> FieldSchema {
    let mut described = FieldSchema::new(name, field.field_type());
    described.required = field.required;
    described.unique = field.unique;
    described.max_length = field.max_length;
    (described.creatable, described.updatable) = (!field.read_only, !field.read_only);
    described.external_id = spec.keys.iter().any(|key| key == name) && (spec.upsert.is_some() || spec.client_id);
    described.references = field.references.clone();
    if !field.options.is_empty() {
        described.picklist = Some(Picklist::of(true, field.options.keys().cloned()));
    }
    described
}

/// The words most APIs and JSON Schema use.
fn usual_type(told: &str) -> Option<ValueType> {
    Some(match told.to_ascii_lowercase().as_str() {
        "boolean" | "bool" | "checkbox" => ValueType::Boolean,
        "date" => ValueType::Date,
        "datetime" | "date-time" | "timestamp" => ValueType::Datetime,
        "number" | "decimal" | "double" | "float" | "currency" | "money" => ValueType::Decimal,
        "integer" | "int" | "bigint" => ValueType::Integer,
        "email" => ValueType::Email,
        "phone" | "tel" => ValueType::Phone,
        "select" | "enum" | "picklist" | "choice" | "dropdown" => ValueType::Picklist,
        "multiselect" | "multi_select" | "set" | "tags" => ValueType::MultiPicklist,
        "url" | "uri" => ValueType::Url,
        "string" | "text" | "textarea" | "varchar" => ValueType::Text,
        _ => return None,
    })
}
