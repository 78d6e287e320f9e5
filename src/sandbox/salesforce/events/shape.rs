//! What an event of an object looks like: its fields in order, its schema, and bodies from rows.

use std::fmt::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::events::diff::unified;
use crate::sandbox::salesforce::schema::{FieldDef, FieldKind, ObjectDef};
use crate::sandbox::store::Row;

/// A field, or a part of a compound.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// As the event names it.
    pub(crate) name: String,
    /// As the record names it.
    pub(crate) api: String,
    pub(crate) kind: FieldKind,
}

/// A field of an event.
#[derive(Clone, Debug)]
pub(crate) enum EventField {
    /// A compound; the name of a person may also be a text.
    Compound {
        name: String,
        person: bool,
        parts: Vec<Part>,
    },
    Plain(Part),
}

impl EventField {
    #[cfg_attr(not(feature = "sandbox-pubsub"), allow(dead_code, reason = "only the Pub/Sub face asks"))]
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Compound { name, .. } => name,
            Self::Plain(part) => &part.name,
        }
    }
}

/// The shape of the events of one object.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// `LeadChangeEvent`, `Signal__e`.
    pub(crate) event: String,
    /// A change event has a header before these fields.
    #[cfg_attr(not(feature = "sandbox-pubsub"), allow(dead_code, reason = "only the Pub/Sub face asks"))]
    pub(crate) change: bool,
    pub(crate) fields: Vec<EventField>,
    /// Changes with the fields.
    pub(crate) id: String,
    /// Avro.
    pub(crate) json: String,
}

/// A change, as the event shows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Delta {
    pub(crate) fields: Map<String, Value>,
    pub(crate) changed: Vec<String>,
    pub(crate) nulled: Vec<String>,
    pub(crate) diffs: Vec<String>,
}

/// Not part of change events: bookkeeping and what is derived.
const LEFT_OUT: [&str; 4] = ["Id", "IsDeleted", "LastActivityDate", "SystemModstamp"];

/// Parts every address has, though this org never fills them.
const GEO: [(&str, FieldKind); 3] =
    [("Latitude", FieldKind::Double), ("Longitude", FieldKind::Double), ("GeocodeAccuracy", FieldKind::Picklist)];

/// A stored value as events show it.
pub(crate) fn wire(kind: FieldKind, value: &Value) -> Value {
    match value.as_str() {
        Some(text) if kind == FieldKind::DateTime => {
            json!(text.strip_suffix("+0000").map_or_else(|| text.to_owned(), |rest| format!("{rest}Z")))
        }
        _ => value.clone(),
    }
}

/// `Lead` of `LeadChangeEvent`, `Thing__c` of `Thing__ChangeEvent`.
pub(crate) fn entity_of(event: &str) -> Option<String> {
    let stem = event.strip_suffix("ChangeEvent").filter(|stem| !stem.is_empty())?;
    Some(stem.strip_suffix("__").map_or_else(|| stem.to_owned(), |bare| format!("{bare}__c")))
}

pub(crate) fn event_of(entity: &str) -> String {
    entity.strip_suffix("__c").map_or_else(|| format!("{entity}ChangeEvent"), |bare| format!("{bare}__ChangeEvent"))
}

fn part(field: &FieldDef, name: &str) -> Part {
    Part { name: name.to_owned(), api: field.name.clone(), kind: field.kind }
}

fn change_fields(object: &ObjectDef) -> Vec<EventField> {
    let mut fields: Vec<EventField> = Vec::new();
    for field in &object.fields {
        let is_compound = |name: &str| object.fields.iter().any(|other| other.compound.as_deref() == Some(name));
        if LEFT_OUT.contains(&field.name.as_str()) || is_compound(&field.name) {
            continue;
        }
        let Some(compound) = &field.compound else {
            fields.push(EventField::Plain(part(field, &field.name)));
            continue;
        };
        let prefix = compound.strip_suffix("Address").unwrap_or_default();
        let one = part(field, field.name.strip_prefix(prefix).unwrap_or(&field.name));
        let known = fields.iter_mut().find_map(|field| match field {
            EventField::Compound { name, parts, .. } if name == compound => Some(parts),
            _ => None,
        });
        match known {
            Some(parts) => parts.push(one),
            None => fields.push(EventField::Compound { name: compound.clone(), person: compound == "Name", parts: vec![one] }),
        }
    }
    for field in &mut fields {
        if let EventField::Compound { person: false, parts, .. } = field {
            parts.extend(GEO.map(|(name, kind)| Part { name: name.to_owned(), api: String::new(), kind }));
        }
    }
    fields
}

fn avro_type(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Boolean => "boolean",
        FieldKind::Int => "int",
        FieldKind::Currency | FieldKind::Double | FieldKind::Percent => "double",
        FieldKind::Date | FieldKind::DateTime => "long",
        _ => "string",
    }
}

fn avro_field(part: &Part) -> Value {
    json!({"name": part.name, "type": ["null", avro_type(part.kind)], "default": null})
}

fn header_schema() -> Value {
    let texts = json!({"type": "array", "items": "string"});
    json!({"name": "ChangeEventHeader", "type": {"type": "record", "name": "ChangeEventHeader", "fields": [
        {"name": "entityName", "type": "string"},
        {"name": "recordIds", "type": texts},
        {"name": "changeType", "type": {"type": "enum", "name": "ChangeType", "symbols": KINDS}},
        {"name": "changeOrigin", "type": "string"},
        {"name": "transactionKey", "type": "string"},
        {"name": "sequenceNumber", "type": "int"},
        {"name": "commitTimestamp", "type": "long"},
        {"name": "commitNumber", "type": "long"},
        {"name": "commitUser", "type": "string"},
        {"name": "nulledFields", "type": texts},
        {"name": "diffFields", "type": texts},
        {"name": "changedFields", "type": texts},
    ]}})
}

/// What a change event can tell.
pub(crate) const KINDS: [&str; 10] =
    ["CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_CREATE", "GAP_UPDATE", "GAP_DELETE", "GAP_UNDELETE", "GAP_OVERFLOW", "SNAPSHOT"];

impl Shape {
    /// The shape of a change event of `object`, or of the platform event it is.
    pub(crate) fn of(object: &ObjectDef) -> Self {
        let change = !object.name.ends_with("__e");
        let (event, fields) = if change {
            (event_of(&object.name), change_fields(object))
        } else {
            let custom = object.fields.iter().filter(|field| field.is_custom()).map(|field| EventField::Plain(part(field, &field.name)));
            let stamps = [("CreatedDate", FieldKind::DateTime), ("CreatedById", FieldKind::Reference)]
                .map(|(name, kind)| EventField::Plain(Part { name: name.to_owned(), api: name.to_owned(), kind }));
            (object.name.clone(), stamps.into_iter().chain(custom).collect())
        };
        let mut schema: Vec<Value> = change.then(header_schema).into_iter().collect();
        let mut defined = false;
        for field in &fields {
            schema.push(match field {
                // Who and when are never missing.
                EventField::Plain(part) if !change && part.name.starts_with("Created") => {
                    json!({"name": part.name, "type": avro_type(part.kind)})
                }
                EventField::Plain(part) => avro_field(part),
                EventField::Compound { name, person, parts } => {
                    let list: Vec<Value> = parts.iter().map(avro_field).collect();
                    let union = match (*person, defined) {
                        (true, _) => json!(["null", "string", {"type": "record", "name": "Switchable_PersonName", "fields": list}]),
                        (false, true) => json!(["null", "Address"]),
                        (false, false) => json!(["null", {"type": "record", "name": "Address", "fields": list}]),
                    };
                    defined |= !*person;
                    json!({"name": name, "type": union, "default": null})
                }
            });
        }
        let json = json!({"name": event, "namespace": "com.sforce.eventbus", "type": "record", "fields": schema}).to_string();
        let digest = Sha256::digest(&json);
        let id = URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default());
        Self { event, change, fields, id, json }
    }

    /// Every field of a row that holds something.
    pub(crate) fn full(&self, row: &Row) -> Map<String, Value> {
        let mut body = Map::new();
        for field in &self.fields {
            match field {
                EventField::Plain(part) => {
                    if let Some(value) = row.fields.get(&part.api) {
                        body.insert(part.name.clone(), wire(part.kind, value));
                    }
                }
                EventField::Compound { name, parts, .. } => {
                    let inner: Map<String, Value> =
                        parts.iter().filter_map(|part| Some((part.name.clone(), wire(part.kind, row.fields.get(&part.api)?)))).collect();
                    if !inner.is_empty() {
                        body.insert(name.clone(), Value::Object(inner));
                    }
                }
            }
        }
        body
    }

    /// What differs between two states of a row. `LastModifiedDate` counts as changed by any update.
    pub(crate) fn delta(&self, old: &Row, new: &Row, stamped: bool) -> Delta {
        let mut delta = Delta::default();
        for field in &self.fields {
            match field {
                EventField::Plain(part) => {
                    let (before, after) = (old.fields.get(&part.api), new.fields.get(&part.api));
                    let touched = before != after || (stamped && part.name == "LastModifiedDate");
                    if !touched {
                        continue;
                    }
                    let mut value = after.map_or(Value::Null, |value| wire(part.kind, value));
                    if let (Some(Value::String(before)), Some(Value::String(after)), FieldKind::LongText) = (before, after, part.kind)
                        && let Some(text) = unified(before, after)
                    {
                        value = json!(text);
                        delta.diffs.push(part.name.clone());
                    } else {
                        delta.changed.push(part.name.clone());
                    }
                    if after.is_none() {
                        delta.nulled.push(part.name.clone());
                    }
                    delta.fields.insert(part.name.clone(), value);
                }
                EventField::Compound { name, parts, .. } => {
                    let changed: Vec<&Part> = parts.iter().filter(|part| old.fields.get(&part.api) != new.fields.get(&part.api)).collect();
                    if changed.is_empty() {
                        continue;
                    }
                    let gone: Vec<&&Part> = changed.iter().filter(|part| !new.fields.contains_key(&part.api)).collect();
                    if parts.iter().all(|part| !new.fields.contains_key(&part.api)) {
                        // All components are gone: the compound as a whole is.
                        delta.nulled.push(name.clone());
                    } else {
                        delta.nulled.extend(gone.iter().map(|part| format!("{name}.{}", part.name)));
                    }
                    delta.changed.extend(changed.iter().map(|part| format!("{name}.{}", part.name)));
                    let inner = changed
                        .iter()
                        .map(|part| (part.name.clone(), new.fields.get(&part.api).map_or(Value::Null, |value| wire(part.kind, value))))
                        .collect();
                    delta.fields.insert(name.clone(), Value::Object(inner));
                }
            }
        }
        delta
    }

    /// Field names as bitmaps over the schema: `0x400800` for fields of the event, `4-0x01` for parts of the compound at 4.
    #[cfg_attr(not(feature = "sandbox-pubsub"), allow(dead_code, reason = "only the Pub/Sub face asks"))]
    pub(crate) fn bitmaps(&self, names: &[String]) -> Vec<String> {
        let mut top = Vec::new();
        let mut nested: Vec<(usize, Vec<u8>)> = Vec::new();
        let header = usize::from(self.change);
        for (at, field) in self.fields.iter().enumerate() {
            let at = at + header;
            if names.iter().any(|name| name == field.name()) {
                set(&mut top, at);
            }
            let EventField::Compound { name, parts, .. } = field else { continue };
            let mut inner = Vec::new();
            for (child, part) in parts.iter().enumerate() {
                if names.iter().any(|known| known.split_once('.') == Some((name, &part.name))) {
                    set(&mut inner, child);
                }
            }
            if !inner.is_empty() {
                nested.push((at, inner));
            }
        }
        let mut maps: Vec<String> = (!top.is_empty()).then(|| hex(&top)).into_iter().collect();
        maps.extend(nested.iter().map(|(at, inner)| format!("{at}-{}", hex(inner))));
        maps
    }
}

#[cfg_attr(not(feature = "sandbox-pubsub"), allow(dead_code, reason = "only the Pub/Sub face asks"))]
fn set(bits: &mut Vec<u8>, at: usize) {
    if bits.len() <= at / 8 {
        bits.resize(at / 8 + 1, 0);
    }
    if let Some(byte) = bits.get_mut(at / 8) {
        *byte |= 1 << (at % 8);
    }
}

/// The first byte is the least significant one.
#[cfg_attr(not(feature = "sandbox-pubsub"), allow(dead_code, reason = "only the Pub/Sub face asks"))]
fn hex(bits: &[u8]) -> String {
    bits.iter().rev().fold("0x".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02X}");
        text
    })
}

impl Salesforce {
    /// The shape of the events of an object, by the object's name.
    pub(crate) fn shape(&mut self, object: &str) -> Option<Arc<Shape>> {
        if let Some(shape) = self.events.shapes.get(object) {
            return Some(Arc::clone(shape));
        }
        let object = self.schema.object(object)?;
        let shape = Arc::new(Shape::of(object));
        self.events.shapes.insert(object.name.clone(), Arc::clone(&shape));
        self.events.schemas.insert(shape.id.clone(), Arc::clone(&shape));
        Some(shape)
    }

    /// A schema by its id. One that the events no longer use is known too, if this process has used it.
    pub(crate) fn schema_by_id(&mut self, id: &str) -> Option<Arc<Shape>> {
        if !self.events.schemas.contains_key(id) {
            let names: Vec<String> = self.schema.objects().map(|object| object.name.clone()).collect();
            for name in names {
                self.shape(&name);
            }
        }
        self.events.schemas.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::salesforce::org;

    fn row(value: &Value) -> Row {
        Row { fields: value.as_object().cloned().unwrap(), deleted: false }
    }

    fn index(shape: &Shape, name: &str) -> usize {
        shape.fields.iter().position(|field| field.name() == name).unwrap() + 1
    }

    #[test]
    fn compounds_nest_and_bitmaps_name_their_parts() {
        let shape = Shape::of(org::schema().object("Account").unwrap());
        let old = row(&json!({"Name": "A", "BillingStreet": "s", "BillingCity": "c", "ShippingCity": "x", "Industry": "Energy"}));
        let new = row(&json!({"Name": "B", "BillingStreet": "t", "BillingCity": "c", "LastModifiedDate": "2026-01-01T00:00:00.000+0000"}));
        let delta = shape.delta(&old, &new, true);
        assert_eq!(delta.fields["BillingAddress"], json!({"Street": "t"}));
        assert_eq!(delta.fields["ShippingAddress"], json!({"City": null}));
        assert_eq!(delta.fields["LastModifiedDate"], "2026-01-01T00:00:00.000Z");
        assert_eq!(delta.fields["Industry"], Value::Null);
        let changed: Vec<&str> = delta.changed.iter().map(String::as_str).collect();
        assert!(changed.contains(&"BillingAddress.Street") && changed.contains(&"ShippingAddress.City") && changed.contains(&"Name"));
        let nulled: Vec<&str> = delta.nulled.iter().map(String::as_str).collect();
        assert!(nulled.contains(&"ShippingAddress") && nulled.contains(&"Industry") && nulled.len() == 2);
        let maps = shape.bitmaps(&["BillingAddress.Street".to_owned(), "Industry".to_owned()]);
        let top = u64::from_str_radix(maps[0].strip_prefix("0x").unwrap(), 16).unwrap();
        assert_eq!(top, 1 << index(&shape, "Industry"));
        assert_eq!(maps[1], format!("{}-0x01", index(&shape, "BillingAddress")));
        assert!(shape.bitmaps(&[]).is_empty());
    }

    #[test]
    fn a_full_body_leaves_out_what_is_empty() {
        let shape = Shape::of(org::schema().object("Lead").unwrap());
        let body = shape.full(&row(&json!({"Id": "x", "LastName": "L", "FirstName": "F", "City": "Bern", "SystemModstamp": "x"})));
        assert_eq!(Value::Object(body), json!({"Name": {"LastName": "L", "FirstName": "F"}, "Address": {"City": "Bern"}}));
    }

    #[test]
    fn the_schema_id_follows_the_fields() {
        let mut schema = org::schema();
        let before = Shape::of(schema.object("Lead").unwrap());
        let mut object = ObjectDef::clone(schema.object("Lead").unwrap());
        object.fields.push(FieldDef::text("New__c", 10));
        schema.add(object);
        let after = Shape::of(schema.object("Lead").unwrap());
        assert_ne!(before.id, after.id);
        assert_eq!(before.id.len(), 22);
        assert_eq!(Shape::of(org::schema().object("Lead").unwrap()).id, before.id);
    }

    #[test]
    fn events_are_named_after_their_objects() {
        assert_eq!(entity_of("LeadChangeEvent").as_deref(), Some("Lead"));
        assert_eq!(entity_of("Thing__ChangeEvent").as_deref(), Some("Thing__c"));
        assert_eq!(entity_of("ChangeEvent"), None);
        assert_eq!((event_of("Lead").as_str(), event_of("Thing__c").as_str()), ("LeadChangeEvent", "Thing__ChangeEvent"));
    }
}
