//! What the org says about its objects.

use http::HeaderMap;
use serde::Deserialize;

use crate::error::Result;
use crate::model::{Entity, EntitySchema, FieldSchema, FieldType, Picklist, PicklistValue};
use crate::rest::Call;
use crate::salesforce::client::Salesforce;
use crate::salesforce::soql::identifier;

/// All objects of the org this user sees.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct GlobalDescribe {
    /// Rows a collection takes.
    #[serde(default)]
    pub max_batch_size: Option<u32>,
    /// The objects.
    pub sobjects: Vec<ObjectInfo>,
}

/// One object, without its fields.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct ObjectInfo {
    /// API name.
    pub name: String,
    /// The name people see.
    #[serde(default)]
    pub label: String,
    /// The first three characters of its ids; none for objects that have no records of their own.
    #[serde(default)]
    pub key_prefix: Option<String>,
    /// Made by the org, not by Salesforce.
    #[serde(default)]
    pub custom: bool,
    /// Records can be made.
    #[serde(default)]
    pub createable: bool,
    /// Records can be changed.
    #[serde(default)]
    pub updateable: bool,
    /// Records can be deleted.
    #[serde(default)]
    pub deletable: bool,
    /// Records can be queried.
    #[serde(default)]
    pub queryable: bool,
    /// `updated` and `deleted` work.
    #[serde(default)]
    pub replicateable: bool,
}

impl Salesforce {
    /// `GET /sobjects`: the objects this user sees.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn describe_global(&self) -> Result<GlobalDescribe> {
        self.send(Call::get("describe", self.path("/sobjects")), &HeaderMap::new()).await?.json()
    }

    /// `GET /sobjects/{entity}/describe`: the fields this user sees. The answer can take megabytes; keep the result.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`crate::error::ErrorKind::NotFound`] for an object that does not exist or is hidden.
    pub async fn describe_object(&self, entity: &Entity) -> Result<EntitySchema> {
        let path = self.path(&format!("/sobjects/{}/describe", identifier(entity.as_str())?));
        let answer = self.send(Call::get("describe", path), &HeaderMap::new()).await.map_err(|error| error.on(entity))?;
        Ok(answer.json::<ObjectDescribe>().map_err(|error| error.on(entity))?.into_schema())
    }
}

#[derive(Deserialize)]
struct ObjectDescribe {
    name: String,
    #[serde(default)]
    label: String,
    fields: Vec<FieldDescribe>,
}

impl ObjectDescribe {
    fn into_schema(self) -> EntitySchema {
        let fields = self.fields.into_iter().map(FieldDescribe::into_field).collect();
        let label = if self.label.is_empty() { self.name.clone() } else { self.label };
        EntitySchema::new(Entity::new(self.name), label, fields)
    }
}

/// The members read here; the answer has some sixty.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct FieldDescribe {
    name: String,
    label: String,
    #[serde(rename = "type")]
    kind: String,
    length: u32,
    scale: i32,
    nillable: bool,
    createable: bool,
    updateable: bool,
    defaulted_on_create: bool,
    filterable: Option<bool>,
    unique: bool,
    external_id: bool,
    id_lookup: bool,
    restricted_picklist: bool,
    picklist_values: Option<Vec<PicklistEntry>>,
    reference_to: Option<Vec<String>>,
    compound_field_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PicklistEntry {
    active: bool,
    default_value: bool,
    label: Option<String>,
    value: String,
}

impl FieldDescribe {
    fn into_field(self) -> FieldSchema {
        let kind = self.field_type();
        let mut field = FieldSchema::new(self.name, kind);
        if !self.label.is_empty() {
            field.label = self.label;
        }
        field.max_length = (self.length > 0).then_some(self.length);
        field.required = !self.nillable && !self.defaulted_on_create && self.createable;
        field.creatable = self.createable;
        field.updatable = self.updateable;
        field.nullable = self.nillable;
        field.unique = self.unique;
        // Id has idLookup too, but it is the record's own name, not one from outside.
        field.external_id = self.external_id || (self.id_lookup && self.kind != "id");
        field.filterable = self.filterable.unwrap_or(true);
        if matches!(self.kind.as_str(), "picklist" | "multipicklist" | "combobox") {
            let mut picklist = Picklist::of(self.restricted_picklist, Vec::<String>::new());
            picklist.values = self.picklist_values.into_iter().flatten().map(PicklistEntry::into_value).collect();
            field.picklist = Some(picklist);
        }
        field.references = self.reference_to.unwrap_or_default();
        // Name is its own compound for persons; a field that names itself is not a component.
        field.compound = self.compound_field_name.filter(|compound| *compound != field.name);
        field
    }

    fn field_type(&self) -> FieldType {
        match self.kind.as_str() {
            "id" => FieldType::Id,
            "reference" => FieldType::Reference,
            "boolean" => FieldType::Boolean,
            "int" | "long" => FieldType::Integer,
            "double" | "currency" | "percent" => FieldType::Decimal { scale: u8::try_from(self.scale).ok() },
            "date" => FieldType::Date,
            "datetime" => FieldType::DateTime { whole_seconds: true },
            "time" => FieldType::Time,
            "email" => FieldType::Email,
            "phone" => FieldType::Phone,
            "url" => FieldType::Url,
            "picklist" | "combobox" => FieldType::Picklist,
            "multipicklist" => FieldType::MultiPicklist,
            "address" | "location" => FieldType::Address,
            "string" | "textarea" | "encryptedstring" => FieldType::Text,
            _ => FieldType::Any,
        }
    }
}

impl PicklistEntry {
    fn into_value(self) -> PicklistValue {
        let mut value = PicklistValue::new(self.value);
        value.active = self.active;
        value.default = self.default_value;
        if let Some(label) = self.label {
            value.label = label;
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_as_salesforce_describes_them() {
        let text = include_str!("../../tests/fixtures/salesforce/describe_lead.json");
        let schema = serde_json::from_str::<ObjectDescribe>(text).unwrap().into_schema();
        let field = |name: &str| schema.field(name).unwrap();
        assert_eq!(schema.entity, Entity::from_static("Lead"));
        assert_eq!(schema.required_on_create().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["LastName", "Company"]);
        assert_eq!(field("LastName").max_length, Some(80));
        assert_eq!(field("Id").kind, FieldType::Id);
        assert!(!field("Id").external_id && field("Email").external_id && field("Ext__c").external_id && field("Ext__c").unique);
        assert_eq!(field("Street").compound.as_deref(), Some("Address"));
        assert_eq!((&field("Address").kind, field("Address").updatable), (&FieldType::Address, false));
        assert_eq!(field("AnnualRevenue").kind, FieldType::Decimal { scale: Some(2) });
        assert_eq!(field("SystemModstamp").kind, FieldType::DateTime { whole_seconds: true });
        assert_eq!(field("OwnerId").references, ["Group", "User"]);
        let status = field("Status").picklist.as_ref().unwrap();
        assert!(status.restricted);
        assert_eq!(
            status.values.iter().map(|value| (value.value.as_str(), value.active, value.default)).collect::<Vec<_>>(),
            [("Open - Not Contacted", true, true), ("Disqualified", true, false), ("Old", false, false),]
        );
    }
}
