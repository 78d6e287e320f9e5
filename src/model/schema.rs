//! What the CRM says about an entity's fields.

use serde::{Deserialize, Serialize};

use crate::model::entity::Entity;
use crate::model::value::FieldType;

/// An entity as the CRM describes it to this user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EntitySchema {
    /// The entity.
    pub entity: Entity,
    /// The name people see.
    pub label: String,
    /// Its fields, in the CRM's order.
    pub fields: Vec<FieldSchema>,
}

impl EntitySchema {
    /// A schema of `fields`.
    pub fn new(entity: Entity, label: impl Into<String>, fields: Vec<FieldSchema>) -> Self {
        Self { entity, label: label.into(), fields }
    }

    /// The field with exactly this API name, or, failing that, the only one whose name differs in case alone.
    pub fn field(&self, name: &str) -> Option<&FieldSchema> {
        self.fields.iter().find(|field| field.name == name).or_else(|| {
            let mut hits = self.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            let first = hits.next()?;
            hits.next().is_none().then_some(first)
        })
    }

    /// The fields a create must fill.
    pub fn required_on_create(&self) -> impl Iterator<Item = &FieldSchema> {
        self.fields.iter().filter(|field| field.required)
    }

    /// The type of `name`; [`FieldType::Any`] for a field the schema does not know.
    pub fn field_type(&self, name: &str) -> FieldType {
        self.field(name).map_or(FieldType::Any, |field| field.kind.clone())
    }
}

/// One field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct FieldSchema {
    /// API name.
    pub name: String,
    /// The name people see.
    pub label: String,
    /// What its values mean.
    pub kind: FieldType,
    /// Longest text, in characters.
    pub max_length: Option<u32>,
    /// Longest text, in bytes of UTF-8 (Salesforce's `byteLength`, where it is the tighter limit).
    #[serde(default)]
    pub max_bytes: Option<u32>,
    /// Most digits of a number, before and after the point (Salesforce's `digits` and `precision`).
    #[serde(default)]
    pub max_digits: Option<u8>,
    /// A create without it fails.
    pub required: bool,
    /// May be set on create.
    pub creatable: bool,
    /// May be set on update.
    pub updatable: bool,
    /// May be null.
    pub nullable: bool,
    /// Two records cannot hold the same value.
    pub unique: bool,
    /// Records can be addressed by it (Salesforce: External ID).
    pub external_id: bool,
    /// May stand in a filter.
    pub filterable: bool,
    /// Its values, for picklists.
    pub picklist: Option<Picklist>,
    /// For a dependent picklist: the field whose value decides which values are allowed.
    #[serde(default)]
    pub controller: Option<String>,
    /// For references: the entities it may point to.
    pub references: Vec<String>,
    /// For a component of a compound (`MailingStreet`): the compound (`MailingAddress`).
    pub compound: Option<String>,
}

impl FieldSchema {
    /// An optional, writable, filterable field.
    pub fn new(name: impl Into<String>, kind: FieldType) -> Self {
        let name = name.into();
        Self {
            label: name.clone(),
            name,
            kind,
            max_length: None,
            max_bytes: None,
            max_digits: None,
            required: false,
            creatable: true,
            updatable: true,
            nullable: true,
            unique: false,
            external_id: false,
            filterable: true,
            picklist: None,
            controller: None,
            references: Vec::new(),
            compound: None,
        }
    }
}

/// The values of a picklist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Picklist {
    /// True if the CRM refuses other values.
    pub restricted: bool,
    /// The values, in the CRM's order.
    pub values: Vec<PicklistValue>,
}

impl Picklist {
    /// A picklist of active values whose labels are the values.
    pub fn of(restricted: bool, values: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let values = values.into_iter().map(|value| PicklistValue::new(value)).collect();
        Self { restricted, values }
    }
}

/// One value of a picklist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PicklistValue {
    /// What is stored and filtered by.
    pub value: String,
    /// What people see.
    pub label: String,
    /// May be chosen for new data.
    pub active: bool,
    /// Chosen when nothing is given.
    pub default: bool,
    /// In a dependent picklist: the values of the controlling field it goes with. Empty in any other list.
    #[serde(default)]
    pub valid_for: Vec<String>,
}

impl PicklistValue {
    /// An active value that is its own label.
    pub fn new(value: impl Into<String>) -> Self {
        let value = value.into();
        Self { label: value.clone(), value, active: true, default: false, valid_for: Vec::new() }
    }
}
