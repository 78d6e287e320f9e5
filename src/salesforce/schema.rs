//! What a description says, decoded.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use serde::Deserialize;

use crate::model::{Entity, EntitySchema, FieldSchema, FieldType, Picklist, PicklistValue, RecordId};
use crate::salesforce::ids;

/// A description as the connection keeps it.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) schema: Arc<EntitySchema>,
    pub(super) detail: Arc<ObjectDetail>,
    /// What to ask with the next time.
    pub(super) modified: Option<HeaderValue>,
}

/// What a description says beside the fields.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ObjectDetail {
    /// API name.
    pub name: String,
    /// The name people see.
    pub label: String,
    /// The first three characters of its ids.
    pub key_prefix: Option<String>,
    /// Record types, the master among them.
    pub record_types: Vec<RecordType>,
    /// Objects that point here.
    pub children: Vec<ChildRelationship>,
    /// Fields that point elsewhere.
    pub lookups: Vec<Lookup>,
    /// Picklists whose values depend on another field.
    pub dependent_picklists: Vec<DependentPicklist>,
}

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

/// A record type.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordType {
    /// Its id.
    pub id: RecordId,
    /// The name people see.
    pub name: String,
    /// The name programs use.
    pub developer_name: String,
    /// This user may use it.
    pub available: bool,
    /// It is in use.
    pub active: bool,
    /// The one every object has.
    pub master: bool,
    /// What this user's new records get.
    pub default: bool,
}

/// A relationship from another object to this one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildRelationship {
    /// The other object.
    pub entity: String,
    /// Its field.
    pub field: String,
    /// The name for subqueries; none for relationships that cannot be queried.
    pub relationship: Option<String>,
    /// Children are deleted with their parent.
    pub cascade_delete: bool,
}

/// A field that points to another record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lookup {
    /// The field that holds the id (`AccountId`).
    pub field: String,
    /// The name of the relationship (`Account`), for paths and for lookups by external id.
    pub relationship: String,
    /// What it may point to.
    pub kinds: Vec<String>,
}

impl Lookup {
    /// True if it may point to several kinds of records.
    pub fn is_polymorphic(&self) -> bool {
        self.kinds.len() > 1
    }
}

/// A picklist whose values depend on what another field holds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DependentPicklist {
    /// The picklist.
    pub field: String,
    /// The field it depends on: a picklist or a checkbox.
    pub controller: String,
    values: Vec<(String, Vec<u8>)>,
}

impl DependentPicklist {
    /// The values allowed while the controlling field holds its value at `position` (from 0, in the order of its picklist,
    /// inactive values counted; false is 0 and true is 1 for a checkbox).
    pub fn allowed_by(&self, position: usize) -> impl Iterator<Item = &str> {
        self.values.iter().filter(move |(_, bits)| bit(bits, position)).map(|(value, _)| value.as_str())
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ObjectDescribe {
    name: String,
    #[serde(default)]
    label: String,
    #[serde(default)]
    key_prefix: Option<String>,
    fields: Vec<FieldDescribe>,
    #[serde(default)]
    record_type_infos: Option<Vec<RecordTypeInfo>>,
    #[serde(default)]
    child_relationships: Option<Vec<ChildDescribe>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RecordTypeInfo {
    record_type_id: String,
    name: String,
    developer_name: Option<String>,
    available: bool,
    active: bool,
    master: bool,
    default_record_type_mapping: bool,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ChildDescribe {
    #[serde(rename = "childSObject")]
    child: String,
    field: String,
    relationship_name: Option<String>,
    cascade_delete: bool,
}

impl ObjectDescribe {
    pub(super) fn into_parts(self) -> (EntitySchema, ObjectDetail) {
        let label = if self.label.is_empty() { self.name.clone() } else { self.label };
        let types = self.record_type_infos.into_iter().flatten().map(|info| RecordType {
            id: ids::record_id(&info.record_type_id),
            developer_name: info.developer_name.unwrap_or_else(|| info.name.clone()),
            name: info.name,
            available: info.available,
            active: info.active,
            master: info.master,
            default: info.default_record_type_mapping,
        });
        let children = self.child_relationships.into_iter().flatten().map(|child| ChildRelationship {
            entity: child.child,
            field: child.field,
            relationship: child.relationship_name,
            cascade_delete: child.cascade_delete,
        });
        let detail = ObjectDetail {
            name: self.name.clone(),
            label: label.clone(),
            key_prefix: self.key_prefix,
            record_types: types.collect(),
            children: children.collect(),
            lookups: self.fields.iter().filter_map(FieldDescribe::lookup).collect(),
            dependent_picklists: self.fields.iter().filter_map(FieldDescribe::dependent).collect(),
        };
        let controlled: Vec<_> = self.fields.iter().map(|field| controlled_values(field, &self.fields)).collect();
        let mut fields: Vec<FieldSchema> = self.fields.into_iter().map(FieldDescribe::into_field).collect();
        for (field, controlled) in fields.iter_mut().zip(controlled) {
            let (Some((controller, valid_for)), Some(picklist)) = (controlled, &mut field.picklist) else { continue };
            field.controller = Some(controller);
            for (value, valid_for) in picklist.values.iter_mut().zip(valid_for) {
                value.valid_for = valid_for;
            }
        }
        (EntitySchema::new(Entity::new(self.name), label, fields), detail)
    }
}

/// The controlling field of a dependent picklist and, for each of the picklist's values, the controlling values it goes with.
/// A controlling field this user cannot see leaves the picklist an ordinary one: nothing can be said about its values.
fn controlled_values(field: &FieldDescribe, all: &[FieldDescribe]) -> Option<(String, Vec<Vec<String>>)> {
    let dependent = field.dependent()?;
    let controller = all.iter().find(|other| other.name == dependent.controller)?;
    // Bit n stands for the controlling value at position n; a checkbox has two, false and true.
    let controlling: Vec<&str> = if controller.kind == "boolean" {
        vec!["false", "true"]
    } else {
        controller.picklist_values.iter().flatten().map(|entry| entry.value.as_str()).collect()
    };
    let goes_with = |bits: &Vec<u8>| {
        let named = controlling.iter().enumerate().filter(|(position, _)| bit(bits, *position)).map(|(_, value)| (*value).to_owned());
        named.collect()
    };
    let valid_for = dependent.values.iter().map(|(_, bits)| goes_with(bits)).collect();
    Some((dependent.controller, valid_for))
}

/// Bits are counted from the left of the first byte.
fn bit(bits: &[u8], position: usize) -> bool {
    bits.get(position / 8).is_some_and(|byte| byte >> (7 - position % 8) & 1 == 1)
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
    byte_length: u32,
    digits: u32,
    precision: u32,
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
    relationship_name: Option<String>,
    dependent_picklist: bool,
    controller_name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PicklistEntry {
    active: bool,
    default_value: bool,
    label: Option<String>,
    value: String,
    valid_for: Option<String>,
}

impl FieldDescribe {
    fn lookup(&self) -> Option<Lookup> {
        let relationship = self.relationship_name.clone()?;
        Some(Lookup { field: self.name.clone(), relationship, kinds: self.reference_to.clone().unwrap_or_default() })
    }

    fn dependent(&self) -> Option<DependentPicklist> {
        let controller = self.controller_name.clone().filter(|_| self.dependent_picklist)?;
        let bits = |entry: &PicklistEntry| {
            let bits = STANDARD.decode(entry.valid_for.as_deref().unwrap_or_default()).unwrap_or_default();
            (entry.value.clone(), bits)
        };
        let values = self.picklist_values.iter().flatten().map(bits).collect();
        Some(DependentPicklist { field: self.name.clone(), controller, values })
    }

    fn into_field(self) -> FieldSchema {
        let kind = self.field_type();
        let mut field = FieldSchema::new(self.name, kind);
        if !self.label.is_empty() {
            field.label = self.label;
        }
        field.max_length = (self.length > 0).then_some(self.length);
        field.max_bytes = (self.byte_length > 0).then_some(self.byte_length);
        // Whole numbers are described by `digits`, all others by `precision`; what does not apply is 0.
        let digits = if self.digits > 0 { self.digits } else { self.precision };
        field.max_digits = u8::try_from(digits).ok().filter(|digits| *digits > 0);
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
        let schema = serde_json::from_str::<ObjectDescribe>(text).unwrap().into_parts().0;
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

    #[test]
    fn limits_of_texts_and_numbers() {
        let text = r#"{"name":"X","fields":[
            {"name":"Name","type":"string","length":80,"byteLength":240},
            {"name":"Count__c","type":"int","digits":9},
            {"name":"Amount__c","type":"currency","precision":18,"scale":2},
            {"name":"Flag__c","type":"boolean"}]}"#;
        let schema = serde_json::from_str::<ObjectDescribe>(text).unwrap().into_parts().0;
        let limits = |name: &str| schema.field(name).map(|field| (field.max_length, field.max_bytes, field.max_digits)).unwrap();
        assert_eq!(limits("Name"), (Some(80), Some(240), None));
        assert_eq!(limits("Count__c"), (None, None, Some(9)));
        assert_eq!(limits("Amount__c"), (None, None, Some(18)));
        assert_eq!(limits("Flag__c"), (None, None, None));
    }

    #[test]
    fn dependent_values_are_in_the_schema_with_the_values_they_go_with() {
        let text = r#"{"name":"X","fields":[
            {"name":"Country__c","type":"picklist","picklistValues":[
                {"active":true,"value":"Germany"},{"active":false,"value":"Old"},{"active":true,"value":"USA"}]},
            {"name":"Vip__c","type":"boolean"},
            {"name":"State__c","type":"picklist","dependentPicklist":true,"controllerName":"Country__c","picklistValues":[
                {"active":true,"value":"Bavaria","validFor":"gAAA"},{"active":true,"value":"Texas","validFor":"IAAA"},
                {"active":true,"value":"Other","validFor":"oAAA"}]},
            {"name":"Gift__c","type":"picklist","dependentPicklist":true,"controllerName":"Vip__c","picklistValues":[
                {"active":true,"value":"Cake","validFor":"QAAA"}]},
            {"name":"Hidden__c","type":"picklist","dependentPicklist":true,"controllerName":"Unseen__c","picklistValues":[
                {"active":true,"value":"A","validFor":"QAAA"}]}]}"#;
        let schema = serde_json::from_str::<ObjectDescribe>(text).unwrap().into_parts().0;
        let valid = |name: &str| {
            let field = schema.field(name).unwrap();
            let values = field.picklist.iter().flat_map(|list| &list.values).map(|value| (value.value.as_str(), value.valid_for.join("|")));
            (field.controller.as_deref(), values.map(|(value, with)| format!("{value}={with}")).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(valid("State__c"), (Some("Country__c"), "Bavaria=Germany Texas=USA Other=Germany|USA".to_owned()));
        assert_eq!(valid("Gift__c"), (Some("Vip__c"), "Cake=true".to_owned()));
        assert_eq!(valid("Hidden__c"), (None, "A=".to_owned()));
        assert_eq!(valid("Country__c"), (None, "Germany= Old= USA=".to_owned()));
    }

    #[test]
    fn record_types_lookups_and_dependent_values() {
        let text = r#"{"name":"Lead","label":"Lead","fields":[
            {"name":"OwnerId","type":"reference","referenceTo":["Group","User"],"relationshipName":"Owner"},
            {"name":"State__c","type":"picklist","dependentPicklist":true,"controllerName":"Country__c","picklistValues":[
                {"active":true,"value":"Bavaria","validFor":"gAAA"},{"active":true,"value":"Texas","validFor":"QAAA"}]}],
            "recordTypeInfos":[{"recordTypeId":"012Ab0000000001","name":"B2B","developerName":"B2B","available":true,"active":true,
                "master":false,"defaultRecordTypeMapping":true}],
            "childRelationships":[{"childSObject":"Task","field":"WhoId","relationshipName":"Tasks","cascadeDelete":true},
                {"childSObject":"X","field":"Y","relationshipName":null}]}"#;
        let (_, detail) = serde_json::from_str::<ObjectDescribe>(text).unwrap().into_parts();
        assert_eq!(detail.lookups[0].relationship, "Owner");
        assert!(detail.lookups[0].is_polymorphic());
        assert_eq!(detail.record_types[0].id, ids::record_id("012Ab0000000001"));
        assert!(detail.record_types[0].default && detail.record_types[0].available);
        assert_eq!(detail.children[0].relationship.as_deref(), Some("Tasks"));
        let state = &detail.dependent_picklists[0];
        assert_eq!((state.field.as_str(), state.controller.as_str()), ("State__c", "Country__c"));
        assert_eq!(state.allowed_by(0).collect::<Vec<_>>(), ["Bavaria"]);
        assert_eq!(state.allowed_by(1).collect::<Vec<_>>(), ["Texas"]);
        assert_eq!(state.allowed_by(900).count(), 0);
    }
}
