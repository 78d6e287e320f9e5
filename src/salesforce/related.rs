//! Lookups by external id: `{"Account": {"Ext__c": "A-1"}}` instead of the account's id.
//!
//! Salesforce finds the record of the lookup by an external id, in creates, upserts, collections and composites. The key is the
//! relationship's name (`Account` for the field `AccountId`, `Parent__r` for `Parent__c`), and the object inside holds exactly
//! one external id field; a lookup of several kinds needs the kind as well (REST API Developer Guide, "Insert or Update (Upsert)
//! a Record Using an External ID").
//!
//! Typed rows hold a [`Related`]; plain rows may name the path: the field `Account.Ext__c` is written as the object above.

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, FieldError, Result};
use crate::model::Fields;
use crate::salesforce::soql::identifier;

/// The record a lookup shall point to, by external id. `Debug` does not show the value.
#[derive(Clone, PartialEq, Eq)]
pub struct Related {
    kind: Option<String>,
    field: String,
    value: Value,
}

impl std::fmt::Debug for Related {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Related").field("kind", &self.kind).field("field", &self.field).finish_non_exhaustive()
    }
}

impl Related {
    /// The record whose external id `field` has this value.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if `field` is no name; [`ErrorKind::Validation`] for an empty value, which finds nothing.
    pub fn by(field: impl Into<String>, value: impl Into<Value>) -> Result<Self> {
        let (field, value) = (field.into(), value.into());
        if identifier(&field)?.contains('.') {
            return Err(Error::config("a record is related by a field of its own, not by a path"));
        }
        if !key(&value) {
            let error = Error::new(ErrorKind::Validation, "an external id is a text or a number, and not empty");
            return Err(error.with_fields(vec![FieldError::new(field, None)]));
        }
        Ok(Self { kind: None, field, value })
    }

    /// Says of which kind the record is, for lookups that may point to several (`Owner`, `What`).
    #[must_use]
    pub fn of(mut self, entity: &crate::model::Entity) -> Self {
        self.kind = Some(entity.as_str().to_owned());
        self
    }
}

fn key(value: &Value) -> bool {
    value.is_number() || value.as_str().is_some_and(|text| !text.is_empty())
}

impl Serialize for Related {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(kind) = &self.kind {
            map.serialize_entry("attributes", &std::collections::BTreeMap::from([("type", kind)]))?;
        }
        map.serialize_entry(&self.field, &self.value)?;
        map.end()
    }
}

/// Read back from a row that selected one field of the relationship (`Account.Ext__c`).
impl<'de> Deserialize<'de> for Related {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Related;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object with one external id field")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Related, A::Error> {
                let mut kind = None;
                let mut found = None;
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if name == "attributes" {
                        kind = value.get("type").and_then(Value::as_str).map(ToOwned::to_owned);
                    } else if found.replace((name, value)).is_some() {
                        return Err(A::Error::custom("more than one field; expected one external id field"));
                    }
                }
                let (field, value) = found.ok_or_else(|| A::Error::custom("no field; expected one external id field"))?;
                Ok(Related { kind, field, value })
            }
        }
        deserializer.deserialize_map(One)
    }
}

/// `fields` as they are written: names that are paths become objects. `None` if there are none, which is the usual case.
///
/// # Errors
/// [`ErrorKind::Validation`] naming the field, if a path has no value (set the lookup's own id field to null to clear it), goes
/// over two relationships, or meets another field of the same relationship.
pub(super) fn nested(fields: &Fields) -> Result<Option<Fields>> {
    if !fields.shape().is_dotted() || !fields.names().any(|name| name.contains('.')) {
        return Ok(None);
    }
    let mut out = Fields::new();
    for (name, value) in fields {
        let Some((relation, field)) = name.split_once('.') else {
            if out.contains(name) {
                return Err(refused(name, "one lookup is given twice"));
            }
            out.insert(name, value.clone());
            continue;
        };
        if identifier(relation).is_err() || identifier(field).is_err() || field.contains('.') {
            return Err(refused(name, "a lookup by external id is written Relationship.Field"));
        }
        if !key(value) {
            return Err(refused(name, "a lookup by external id needs a value; to clear it set the lookup's own field to null"));
        }
        if out.contains(relation) {
            return Err(refused(name, "one lookup is given twice"));
        }
        let inside = Map::from_iter([(field.to_owned(), value.clone())]);
        out.insert(relation, Value::Object(inside));
    }
    Ok(Some(out))
}

fn refused(field: &str, message: &str) -> Error {
    Error::new(ErrorKind::Validation, message).with_fields(vec![FieldError::new(field, None)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_become_objects() {
        let fields = |value| Fields::from_value(value).unwrap();
        assert_eq!(nested(&fields(json!({"LastName": "Ng"}))).unwrap(), None);
        let out = nested(&fields(json!({"LastName": "Ng", "Account.Ext__c": "A-1", "Parent__r.No__c": 7}))).unwrap().unwrap();
        assert_eq!(out.to_value(), json!({"LastName": "Ng", "Account": {"Ext__c": "A-1"}, "Parent__r": {"No__c": 7}}));
        for bad in [
            json!({"Account.Ext__c": null}),
            json!({"Account.Ext__c": ""}),
            json!({"Account.Ext__c": "A", "Account.Other__c": "B"}),
            json!({"Account.Owner.Ext__c": "A"}),
            json!({"Acc ount.Ext__c": "A"}),
        ] {
            let error = nested(&fields(bad.clone())).unwrap_err();
            assert_eq!((error.kind(), error.fields().len()), (ErrorKind::Validation, 1), "{bad}");
        }
    }

    #[test]
    fn typed() {
        let account = Related::by("Ext__c", "A-1").unwrap();
        assert_eq!(serde_json::to_value(&account).unwrap(), json!({"Ext__c": "A-1"}));
        let owner = Related::by("Ext__c", 5).unwrap().of(&crate::salesforce::entity::USER);
        assert_eq!(serde_json::to_value(&owner).unwrap(), json!({"attributes": {"type": "User"}, "Ext__c": 5}));
        assert_eq!(serde_json::from_value::<Related>(json!({"attributes": {"type": "User"}, "Ext__c": 5})).unwrap(), owner);
        assert!(serde_json::from_value::<Related>(json!({"A": 1, "B": 2})).is_err());
        assert!(Related::by("Ext__c", "").is_err() && Related::by("a b", "x").is_err() && Related::by("A.b", "x").is_err());
        assert!(!format!("{account:?}").contains("A-1"));
    }
}
