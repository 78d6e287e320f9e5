//! What a record shows for a field.

use serde_json::{Value, json};

use crate::sandbox::salesforce::schema::{FieldDef, FieldKind};
use crate::sandbox::store::Row;

/// What a record shows for a field; null if it holds nothing.
pub(crate) fn field_value(row: &Row, field: &FieldDef) -> Value {
    if field.kind != FieldKind::Address {
        return row.fields.get(&field.name).cloned().unwrap_or(Value::Null);
    }
    let prefix = field.name.strip_suffix("Address").unwrap_or_default();
    let part = |name: &str| row.fields.get(&format!("{prefix}{name}")).cloned().unwrap_or(Value::Null);
    let parts = [("street", "Street"), ("city", "City"), ("state", "State"), ("postalCode", "PostalCode"), ("country", "Country")]
        .map(|(key, name)| (key, part(name)));
    if parts.iter().all(|(_, value)| value.is_null()) {
        return Value::Null;
    }
    let mut address = json!({"latitude": null, "longitude": null, "geocodeAccuracy": null});
    if let Some(map) = address.as_object_mut() {
        map.extend(parts.into_iter().map(|(key, value)| (key.to_owned(), value)));
    }
    address
}
