//! The fields of a kind as data: names and option labels to keys and ids, and back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, FieldError, Result};
use crate::model::{FieldSchema, FieldType, Picklist, PicklistValue};
use crate::pipedrive::custom::{CustomType, is_key};
use crate::pipedrive::resource::Kind;

/// An option of a field. The id is a number for custom fields and a text for built-in ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldOption {
    /// The id, in digits or words.
    pub id: String,
    /// What people see.
    pub label: String,
}

/// A field as the account describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldInfo {
    /// The key: 40 hexadecimal digits for custom fields.
    pub key: String,
    /// What people see; not unique.
    pub name: String,
    /// Its type.
    pub kind: CustomType,
    /// Its options, for single and multiple choices.
    pub options: Vec<FieldOption>,
    /// True if somebody of the account made it.
    pub custom: bool,
}

impl FieldInfo {
    /// From an entry of a field list: `field_code`, `field_name`, `is_custom_field` in v2, `key`, `name`, `edit_flag` in v1.
    pub(crate) fn read(row: &Map<String, Value>) -> Option<Self> {
        let text = |names: [&str; 2]| names.iter().find_map(|name| row.get(*name)).and_then(Value::as_str).map(str::to_owned);
        let flag = |names: [&str; 2]| names.iter().find_map(|name| row.get(*name)).and_then(Value::as_bool);
        let key = text(["field_code", "key"])?;
        let options = row.get("options").and_then(Value::as_array).into_iter().flatten().filter_map(|option| {
            let id = match option.get("id")? {
                Value::String(id) => id.clone(),
                Value::Number(id) => id.to_string(),
                Value::Bool(id) => id.to_string(),
                _ => return None,
            };
            Some(FieldOption { id, label: option.get("label").and_then(Value::as_str).unwrap_or_default().to_owned() })
        });
        Some(Self {
            name: text(["field_name", "name"]).unwrap_or_else(|| key.clone()),
            kind: CustomType::of(row.get("field_type").and_then(Value::as_str).unwrap_or_default()),
            options: options.collect(),
            custom: flag(["is_custom_field", "edit_flag"]).unwrap_or_else(|| is_key(&key)),
            key,
        })
    }

    /// The id of the option with this label or id; labels win, for they may look like ids.
    pub fn option_id(&self, text: &str) -> Option<&str> {
        let text = text.trim();
        let by_label = self.options.iter().find(|option| option.label == text);
        let by_id = || self.options.iter().find(|option| option.id == text);
        let folded = || {
            let mut hits = self.options.iter().filter(|option| option.label.to_lowercase() == text.to_lowercase());
            hits.next().filter(|_| hits.next().is_none())
        };
        by_label.or_else(by_id).or_else(folded).map(|option| option.id.as_str())
    }

    /// The label of the option with this id.
    pub fn option_label(&self, id: &str) -> Option<&str> {
        self.options.iter().find(|option| option.id == id).map(|option| option.label.as_str())
    }

    pub(crate) fn field(&self, name: &str) -> FieldSchema {
        let kind = match &self.kind {
            CustomType::Address => FieldType::Address,
            CustomType::Date => FieldType::Date,
            CustomType::DateRange => FieldType::DateRange,
            CustomType::Double => FieldType::Decimal { scale: None },
            CustomType::Enum => FieldType::Picklist,
            CustomType::Monetary => FieldType::Monetary,
            CustomType::Phone => FieldType::Phone,
            CustomType::Reference(_) => FieldType::Reference,
            CustomType::Set => FieldType::MultiPicklist,
            CustomType::Text => FieldType::Text,
            CustomType::Time => FieldType::Time,
            CustomType::TimeRange => FieldType::TimeRange,
            CustomType::Other(_) => FieldType::Any,
        };
        let mut field = FieldSchema::new(name, kind);
        field.label.clone_from(&self.name);
        field.filterable = self.kind.is_searchable();
        if let CustomType::Reference(entity) = self.kind {
            field.references = vec![entity.to_owned()];
        }
        field.picklist = self.picklist();
        field
    }

    pub(crate) fn picklist(&self) -> Option<Picklist> {
        if self.options.is_empty() {
            return None;
        }
        let mut list = Picklist::of(true, self.options.iter().map(|option| option.id.clone()));
        for (value, option) in list.values.iter_mut().zip(&self.options) {
            let value: &mut PicklistValue = value;
            value.label.clone_from(&option.label);
        }
        Some(list)
    }
}

/// The fields of one kind.
#[derive(Clone, Debug, Default)]
pub struct FieldMap {
    fields: Vec<FieldInfo>,
    by_key: HashMap<String, usize>,
    aliases: HashMap<String, String>,
}

impl FieldMap {
    pub(crate) fn new(fields: Vec<FieldInfo>, aliases: impl IntoIterator<Item = (String, String)>) -> Self {
        let by_key = fields.iter().enumerate().map(|(at, field)| (field.key.clone(), at)).collect();
        Self { fields, by_key, aliases: aliases.into_iter().collect() }
    }

    /// All fields, in the account's order.
    pub fn fields(&self) -> &[FieldInfo] {
        &self.fields
    }

    /// The field with this key.
    pub fn by_key(&self, key: &str) -> Option<&FieldInfo> {
        self.fields.get(*self.by_key.get(key)?)
    }

    /// The custom field with this key, host's name or visible name.
    ///
    /// # Errors
    /// [`ErrorKind::Validation`] if there is none, or several have the name: names are not unique, keys are.
    pub fn find(&self, name: &str) -> Result<&FieldInfo> {
        let told = self.aliases.get(name).map_or(name, String::as_str);
        if let Some(field) = self.by_key(told).filter(|field| field.custom) {
            return Ok(field);
        }
        let unknown = |message: &str| Error::new(ErrorKind::Validation, message).with_fields(vec![FieldError::new(name, None)]);
        let mut hits = self.fields.iter().filter(|field| field.custom && field.name == told);
        match (hits.next(), hits.next()) {
            (Some(field), None) => Ok(field),
            (Some(_), Some(_)) => Err(unknown("several custom fields have this name; use the key of one of them")),
            (None, _) => Err(unknown("the account has no such field; v2 refuses a whole record for one unknown member")),
        }
    }

    /// The host's names of a field's key.
    pub(crate) fn aliases_of<'a>(&'a self, field: &'a FieldInfo) -> impl Iterator<Item = &'a str> {
        self.aliases.iter().filter(|(_, told)| **told == field.key || **told == field.name).map(|(alias, _)| alias.as_str())
    }
}

/// Field maps, each with the mark of when it was read.
pub(crate) type FieldCache = Arc<Mutex<HashMap<Kind, (Duration, Arc<FieldMap>)>>>;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn info(value: &Value) -> FieldInfo {
        FieldInfo::read(value.as_object().unwrap()).unwrap()
    }

    #[test]
    fn both_versions_describe_the_same() {
        let key = "9dc80c50d78a15643bfc4ca79d76156a73a1ca0e".replace('g', "a");
        let v2 = info(&json!({"field_name": "Type", "field_code": key, "field_type": "enum", "is_custom_field": true,
            "options": [{"id": 190, "label": "Private"}, {"id": 191, "label": "190"}]}));
        let v1 = info(&json!({"id": 2, "key": key, "name": "Type", "field_type": "enum", "edit_flag": true,
            "options": [{"id": 190, "label": "Private"}, {"id": 191, "label": "190"}]}));
        assert_eq!(v1, v2);
        assert_eq!(v2.option_id("private"), Some("190"));
        // A label that looks like another option's id.
        assert_eq!((v2.option_id("190"), v2.option_id("191"), v2.option_id("x")), (Some("191"), Some("191"), None));
        assert_eq!(v2.option_label("190"), Some("Private"));
    }

    #[test]
    fn names_are_not_unique_and_keys_are() {
        let field =
            |key: &str, name: &str| info(&json!({"field_name": name, "field_code": key, "field_type": "varchar", "is_custom_field": true}));
        let (a, b, c) = ("a".repeat(40), "b".repeat(40), "c".repeat(40));
        let map =
            FieldMap::new(vec![field(&a, "Score"), field(&b, "Score"), field(&c, "UTM")], [("utmSource".to_owned(), "UTM".to_owned())]);
        assert_eq!(map.find(&a).unwrap().key, a);
        assert_eq!(map.find("UTM").unwrap().key, c);
        assert_eq!(map.find("utmSource").unwrap().key, c);
        assert_eq!(map.find("Score").unwrap_err().kind(), ErrorKind::Validation);
        assert_eq!(map.find("Nope").unwrap_err().fields()[0].field, "Nope");
        assert_eq!(map.aliases_of(map.by_key(&c).unwrap()).collect::<Vec<_>>(), ["utmSource"]);
    }
}
