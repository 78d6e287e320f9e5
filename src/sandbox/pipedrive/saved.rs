//! Whether a record satisfies a saved filter.

use serde_json::Value;

use crate::sandbox::store::Row;

/// By the filter's conditions: all of the first group, and one of the second if it has some.
pub(crate) fn satisfies(filter: &Row, row: &Row) -> bool {
    let groups = filter.fields.get("conditions").and_then(|conditions| conditions.get("conditions")).and_then(Value::as_array);
    groups.into_iter().flatten().all(|group| {
        let list: Vec<&Value> = group.get("conditions").and_then(Value::as_array).into_iter().flatten().collect();
        if group.get("glue").and_then(Value::as_str) == Some("or") {
            list.is_empty() || list.iter().any(|condition| holds(condition, row))
        } else {
            list.iter().all(|condition| holds(condition, row))
        }
    })
}

fn holds(condition: &Value, row: &Row) -> bool {
    let code = condition.get("field_code").and_then(Value::as_str).unwrap_or_default();
    let stored = row.fields.get(code).or_else(|| row.fields.get("custom_fields")?.get(code)).unwrap_or(&Value::Null);
    let stored = texts(stored);
    let wanted = condition.get("value").map(texts).unwrap_or_default().into_iter().next().unwrap_or_default();
    let any = |test: &dyn Fn(&str) -> bool| stored.iter().any(|text| test(text));
    let compare = |text: &str| match (text.parse::<f64>(), wanted.parse::<f64>()) {
        (Ok(one), Ok(other)) => one.total_cmp(&other),
        _ => text.cmp(wanted.as_str()),
    };
    match condition.get("operator").and_then(Value::as_str).unwrap_or_default() {
        "IS NULL" => stored.is_empty(),
        "IS NOT NULL" => !stored.is_empty(),
        "=" => any(&|text| compare(text).is_eq()),
        "!=" => !any(&|text| compare(text).is_eq()),
        "<" => any(&|text| compare(text).is_lt()),
        "<=" => any(&|text| compare(text).is_le()),
        ">" => any(&|text| compare(text).is_gt()),
        ">=" => any(&|text| compare(text).is_ge()),
        "LIKE '%$%'" => any(&|text| text.contains(&wanted)),
        "NOT LIKE '%$%'" => !any(&|text| text.contains(&wanted)),
        "LIKE '$%'" => any(&|text| text.starts_with(&wanted)),
        "NOT LIKE '$%'" => !any(&|text| text.starts_with(&wanted)),
        "LIKE '%$'" => any(&|text| text.ends_with(&wanted)),
        _ => false,
    }
}

/// The parts of a value that a condition is compared with, in lower case.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => vec![text.to_lowercase()],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(map) => map.get("value").or_else(|| map.get("id")).map(texts).unwrap_or_default(),
        other => vec![other.to_string()],
    }
}
