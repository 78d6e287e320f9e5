//! What every answer is wrapped in, and how its list goes on.

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::pipedrive::dialect::Complaint;
use crate::rest::{Answer, from_json};

/// An answer of either version: `success`, `data`, and what stands beside them.
///
/// `data` may be null where a list is expected (v1, an empty list), and some answers lack `success`: the status has decided by
/// then, and only an explicit `false` is a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Envelope<T> {
    /// Whether it worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub success: Option<bool>,
    /// What was asked for.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub data: Option<T>,
    /// Where the list goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub additional_data: Option<AdditionalData>,
    /// Everything else (`related_objects`, `status`, `error`, …), as it came.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn none<T>() -> Option<T> {
    None
}

/// Where a list goes on, in the words of both versions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AdditionalData {
    /// v2: the next page; null or absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// v1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pagination: Option<Pagination>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Where a list of v1 goes on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Pagination {
    /// The first row of this page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// Rows of a page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Whether there is more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more_items_in_collection: Option<bool>,
    /// The first row of the next page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_start: Option<u64>,
    /// Everything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl AdditionalData {
    /// The next page: a cursor of v2, or an offset of v1 in digits.
    pub(crate) fn next(&self) -> Option<String> {
        if let Some(cursor) = self.next_cursor.as_ref().filter(|cursor| !cursor.is_empty()) {
            return Some(cursor.clone());
        }
        let pagination = self.pagination.as_ref().filter(|pagination| pagination.more_items_in_collection == Some(true))?;
        pagination.next_start.map(|start| start.to_string())
    }
}

/// A page of a list as it came.
#[derive(Debug)]
pub(crate) struct Rows {
    pub(crate) rows: Vec<Map<String, Value>>,
    pub(crate) next: Option<String>,
}

/// The record in an answer; `None` if the answer holds none.
pub(crate) fn record(answer: &Answer) -> Result<Option<Map<String, Value>>> {
    let envelope = open(answer)?;
    match envelope.data {
        Some(Value::Object(map)) => Ok(Some(map)),
        // Lists of one are seen where v1 answers a single thing.
        Some(Value::Array(items)) => Ok(items.into_iter().find_map(object)),
        _ => Ok(None),
    }
}

/// Of the record in an answer, `id` and `update_time` alone: all that is told of a write, and the rest need not be read.
pub(crate) fn marks(answer: &Answer) -> Result<Option<Map<String, Value>>> {
    #[derive(Deserialize)]
    struct Marks {
        id: Value,
        #[serde(default)]
        update_time: Option<Value>,
    }
    /// A derived struct would take a list for its members in order.
    fn object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Marks, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Marks;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a record")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Marks, A::Error> {
                Marks::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_map(Object)
    }
    #[derive(Deserialize)]
    struct Marked {
        #[serde(default)]
        success: Option<bool>,
        #[serde(deserialize_with = "object")]
        data: Marks,
    }
    match from_json::<Marked>(answer.bytes()) {
        Ok(Marked { success, data: Marks { id, update_time } }) if success != Some(false) => {
            let stamp = update_time.map(|stamp| ("update_time".to_owned(), stamp));
            Ok(Some([("id".to_owned(), id)].into_iter().chain(stamp).collect()))
        }
        // In another form, or a refusal.
        _ => record(answer),
    }
}

/// The list in an answer. Search has it under `data.items[].item`; null is an empty one.
pub(crate) fn rows(answer: &Answer) -> Result<Rows> {
    rows_with_place(answer).map(|(rows, _)| rows)
}

/// As [`rows`], with what else stands beside the list.
pub(crate) fn rows_with_place(answer: &Answer) -> Result<(Rows, Map<String, Value>)> {
    let envelope = open(answer)?;
    let next = envelope.additional_data.as_ref().and_then(AdditionalData::next);
    let rows = match envelope.data {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(items)) => items.into_iter().filter_map(object).collect(),
        Some(Value::Object(mut map)) => match map.remove("items") {
            Some(Value::Array(items)) => {
                let inner = items.into_iter().filter_map(object).map(|mut hit| match hit.remove("item") {
                    Some(Value::Object(item)) => item,
                    _ => hit,
                });
                inner.collect()
            }
            _ => vec![map],
        },
        Some(_) => return Err(Error::decode("the answer's data is neither a record nor a list").with_status(answer.status())),
    };
    let place = envelope.additional_data.map(|more| more.other).unwrap_or_default();
    Ok((Rows { rows, next }, place))
}

fn object(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(map) => Some(map),
        _ => None,
    }
}

/// As [`Envelope`], without what nobody here looks at: keeping it would mean to read everything twice.
#[derive(Deserialize)]
struct Opened {
    #[serde(default)]
    success: Option<bool>,
    #[serde(default)]
    data: Option<Value>,
    #[serde(default)]
    additional_data: Option<AdditionalData>,
}

fn open(answer: &Answer) -> Result<Opened> {
    let envelope: Opened = answer.json()?;
    if envelope.success == Some(false) {
        let error = Complaint::read(answer.bytes()).unwrap_or_default().into_error();
        return Err(error.with_status(answer.status()));
    }
    Ok(envelope)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn next(value: Value) -> Option<String> {
        serde_json::from_value::<AdditionalData>(value).unwrap().next()
    }

    #[test]
    fn the_marks_of_a_write_are_those_of_its_record() {
        let told = |body: &str| {
            let (status, headers) = (http::StatusCode::CREATED, http::HeaderMap::new());
            let answer = Answer { status, headers, body: body.to_owned().into(), write: true, operation: "create" };
            (marks(&answer), record(&answer))
        };
        let whole =
            r#"{"success":true,"data":{"id":7,"name":"x","update_time":"2026-01-31T10:00:00Z","custom_fields":{"a":[1]}},"related":1}"#;
        let (mut marks, record) = told(whole);
        let (some, all) = (marks.as_mut().unwrap().take().unwrap(), record.unwrap().unwrap());
        assert_eq!((some.get("id"), some.get("update_time"), some.len()), (all.get("id"), all.get("update_time"), 2));
        for other in [
            r#"{"data":[{"id":7}]}"#,
            r#"{"data":[7]}"#,
            r#"{"data":{"name":"x"}}"#,
            r#"{"success":true,"data":null}"#,
            r#"{"success":true}"#,
        ] {
            let (marks, record) = told(other);
            assert_eq!(marks.unwrap(), record.unwrap(), "{other}");
        }
        assert!(told(r#"{"success":false,"data":{"id":7}}"#).0.is_err());
        assert!(told("no json").0.is_err());
    }

    #[test]
    fn two_pagings_and_two_ends() {
        assert_eq!(next(json!({"next_cursor": "c1"})), Some("c1".to_owned()));
        assert_eq!(next(json!({"next_cursor": null})), None);
        assert_eq!(next(json!({})), None);
        let more = |more: bool| json!({"pagination": {"start": 0, "limit": 100, "more_items_in_collection": more, "next_start": 100}});
        assert_eq!((next(more(true)), next(more(false))), (Some("100".to_owned()), None));
    }

    #[test]
    fn null_data_is_kept_apart_from_no_data() {
        let envelope: Envelope<Vec<Value>> = serde_json::from_value(json!({"success": true, "data": null})).unwrap();
        assert_eq!((envelope.success, envelope.data), (Some(true), None));
        let envelope: Envelope<Value> = serde_json::from_value(json!({"status": "ok", "data": [1]})).unwrap();
        assert_eq!(envelope.other["status"], "ok");
    }
}
