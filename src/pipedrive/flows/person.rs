//! What of a lead is written into a person, an organization and a deal that are there already.
//!
//! The host's own fields are the host's to say. What a person of the CRM may have corrected (name, organization, the primary
//! address) is filled where it is empty and left alone where it is not.

use serde_json::{Map, Value, json};

use crate::error::Result;
use crate::model::{FieldType, Fields, same};
use crate::pipedrive::client::Pipedrive;
use crate::pipedrive::custom::CustomType;
use crate::pipedrive::record::{all_fields, chosen};
use crate::pipedrive::resource::Kind;

/// The stored list with `value` added, if it is not in it: an update replaces the whole list.
pub(super) fn with_point(row: &Map<String, Value>, member: &str, value: Option<&str>) -> Option<Value> {
    let value = value?;
    let fold = |text: &str| match member {
        "phones" => text.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect::<String>(),
        _ => text.trim().to_lowercase(),
    };
    let stored: Vec<&Value> = row.get(member).and_then(Value::as_array).into_iter().flatten().collect();
    let text = |point: &Value| point.get("value").and_then(Value::as_str).unwrap_or_default().to_owned();
    if stored.iter().any(|point| fold(&text(point)) == fold(value)) {
        return None;
    }
    let mut points: Vec<Value> = stored.into_iter().filter(|point| !text(point).trim().is_empty()).cloned().collect();
    points.push(json!({"value": value, "primary": points.is_empty(), "label": "work"}));
    Some(Value::Array(points))
}

pub(super) fn is_empty(row: &Map<String, Value>, member: &str) -> bool {
    match row.get(member) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => text.trim().is_empty(),
        _ => false,
    }
}

/// Those of `fields` that differ from what the record holds, compared by their types.
pub(super) async fn differing(client: &Pipedrive, kind: Kind, row: &Map<String, Value>, fields: &Fields) -> Result<Fields> {
    if fields.is_empty() {
        return Ok(Fields::new());
    }
    let map = client.fields(kind).await?;
    let names: Vec<String> = fields.names().map(str::to_owned).collect();
    let stored = chosen(kind, &all_fields(kind, row, &map), &names, &map);
    let mut changed = Fields::new();
    for (name, wanted) in fields {
        let held = stored.get(name).cloned().unwrap_or_default();
        let info = if Pipedrive::is_custom(kind, name) { Some(client.field(kind, name).await?) } else { None };
        let option = |value: &Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            info.as_ref().and_then(|info| info.option_id(&text)).map_or_else(|| value.clone(), Value::from)
        };
        let (wanted_id, kind) = match info.as_ref().map(|info| &info.kind) {
            Some(CustomType::Enum) => (option(wanted), FieldType::Picklist),
            Some(CustomType::Set) => {
                let list = wanted.as_array().map(|items| items.iter().map(&option).collect::<Value>());
                (list.unwrap_or_else(|| wanted.clone()), FieldType::MultiPicklist)
            }
            Some(CustomType::Monetary) => (wanted.clone(), FieldType::Monetary),
            Some(CustomType::Double) => (wanted.clone(), FieldType::Decimal { scale: None }),
            Some(CustomType::Time) if wanted.is_string() => (json!({"value": wanted}), FieldType::Time),
            Some(CustomType::Address) if wanted.is_string() => (json!({"value": wanted}), FieldType::Any),
            _ => (wanted.clone(), FieldType::Any),
        };
        // An address comes back with parts that nobody wrote.
        let held = match (&wanted_id, &held) {
            (Value::Object(w), Value::Object(h)) if w.len() == 1 && kind == FieldType::Any => {
                json!({"value": h.get("value").cloned().unwrap_or_default()})
            }
            _ => held,
        };
        if !same(&wanted_id, &held, &kind) {
            changed.insert(name, wanted.clone());
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_added_and_none_is_lost() {
        let row = json!({"emails": [{"value": "A@x.com", "primary": true, "label": "home"}], "phones": [{"value": "", "primary": true}]});
        let row = row.as_object().unwrap();
        assert_eq!(with_point(row, "emails", Some("a@X.com ")), None);
        let both = with_point(row, "emails", Some("b@x.com")).unwrap();
        assert_eq!(both[0], json!({"value": "A@x.com", "primary": true, "label": "home"}));
        assert_eq!(both[1], json!({"value": "b@x.com", "primary": false, "label": "work"}));
        assert_eq!(with_point(row, "phones", Some("1")).unwrap(), json!([{"value": "1", "primary": true, "label": "work"}]));
        assert_eq!(with_point(row, "phones", None), None);
    }
}
