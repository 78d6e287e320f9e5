//! A page of a v2 list read straight into rows that share their names: the way of whole lists, where nothing has to be translated.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::Result;
use crate::model::{Fields, FieldsSeed, Projection, Record, ShapeCache};
use crate::pipedrive::client::Pipedrive;
use crate::pipedrive::envelope::{AdditionalData, Rows, rows};
use crate::pipedrive::list::ListQuery;
use crate::pipedrive::record::Head;
use crate::pipedrive::resource::{Kind, Op};
use crate::rest::{Call, from_json};

/// Rows and where the list goes on.
#[derive(Debug, Default)]
pub(crate) struct FlatPage {
    pub(crate) rows: Vec<Fields>,
    pub(crate) next: Option<String>,
    refused: bool,
}

/// A page in the form it came.
#[derive(Debug)]
pub(crate) enum Listed {
    Flat(FlatPage),
    Long(Rows),
}

impl Pipedrive {
    /// One page of a v2 list with the custom fields beside the others, under their keys; as [`Pipedrive::list_rows`] has it if the
    /// answer is of another form.
    pub(crate) async fn flat_page(&self, kind: Kind, query: &ListQuery) -> Result<Listed> {
        let path = self.path(kind.version(), kind.path(), "", &query.pairs(kind)?);
        let answer = self.send(&Call::get("search", path), kind.price(Op::List)).await?;
        let page = match from_json::<FlatPage>(answer.bytes()) {
            Ok(page) if !page.refused => Listed::Flat(page),
            _ => Listed::Long(rows(&answer).map_err(|error| error.on(&kind.entity()))?),
        };
        let (Listed::Flat(FlatPage { next, .. }) | Listed::Long(Rows { next, .. })) = &page;
        query.goes_on(next.as_deref()).map_err(|error| error.during("search").on(&kind.entity()))?;
        Ok(page)
    }
}

/// A flat row as a record; the projection is that of the selected fields, if there are some.
pub(crate) fn flat_record(kind: Kind, fields: Fields, select: &mut Option<Projection>) -> Result<Record> {
    let head = Head::of(kind, |name| fields.get(name))?;
    let deleted = flat_is_deleted(&fields);
    let fields = match select {
        Some(select) => select.apply(fields),
        None => fields,
    };
    Ok(head.record(kind, fields, deleted))
}

/// True for the tombstone of a record.
pub(crate) fn flat_is_deleted(fields: &Fields) -> bool {
    fields.get("is_deleted").and_then(Value::as_bool) == Some(true)
}

impl<'de> Deserialize<'de> for FlatPage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Envelope;
        impl<'de> Visitor<'de> for Envelope {
            type Value = FlatPage;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a page of a list")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FlatPage, A::Error> {
                #[derive(Deserialize)]
                #[serde(field_identifier, rename_all = "snake_case")]
                enum Key {
                    AdditionalData,
                    Data,
                    Success,
                    #[serde(other)]
                    Other,
                }
                let mut page = FlatPage::default();
                while let Some(key) = map.next_key()? {
                    match key {
                        Key::AdditionalData => {
                            page.next = map.next_value::<Option<AdditionalData>>()?.as_ref().and_then(AdditionalData::next);
                        }
                        Key::Data => page.rows = map.next_value_seed(FlatRows)?,
                        Key::Success => page.refused = map.next_value::<Option<bool>>()? == Some(false),
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(page)
            }
        }
        deserializer.deserialize_map(Envelope)
    }
}

struct FlatRows;

impl<'de> DeserializeSeed<'de> for FlatRows {
    type Value = Vec<Fields>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<Fields>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FlatRows {
    type Value = Vec<Fields>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    /// Null is an empty list.
    fn visit_unit<E>(self) -> Result<Vec<Fields>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Fields>, A::Error> {
        let mut cache = ShapeCache::flattening("custom_fields");
        let mut rows = Vec::with_capacity(500);
        while let Some(row) = items.next_element_seed(FieldsSeed { cache: &mut cache })? {
            rows.push(row);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipedrive::field_map::FieldMap;
    use crate::pipedrive::record::record;
    use serde_json::json;

    #[test]
    fn the_same_records_as_the_long_way() {
        let key = "0123456789abcdef0123456789abcdef01234567";
        let rows = json!([
            {"id": 1, "name": "a", "update_time": "2026-01-01T00:00:00Z", "custom_fields": {key: {"value": 1, "currency": "EUR"}, "x": null}},
            {"id": 2, "name": "b", "add_time": "2026-01-01T00:00:00Z", "is_deleted": true, "custom_fields": {}, "late": 1},
            {"id": "3", "custom_fields": null},
        ]);
        let text = json!({"success": true, "data": rows, "additional_data": {"next_cursor": "c"}, "related": {"x": [1]}}).to_string();
        let page: FlatPage = serde_json::from_str(&text).unwrap();
        assert_eq!((page.next.as_deref(), page.refused), (Some("c"), false));
        for select in [vec![], vec!["name".to_owned(), key.to_owned(), "org_id".to_owned()]] {
            let mut projection = (!select.is_empty()).then(|| Projection::new(&select));
            for (row, flat) in rows.as_array().unwrap().iter().zip(&page.rows) {
                let long = record(Kind::Person, row.as_object().unwrap(), &select, &FieldMap::default()).unwrap();
                assert_eq!(flat_record(Kind::Person, flat.clone(), &mut projection).unwrap(), long);
            }
        }
        let empty: FlatPage = serde_json::from_str(r#"{"success":true,"data":null}"#).unwrap();
        assert!(empty.rows.is_empty() && empty.next.is_none());
        assert!(serde_json::from_str::<FlatPage>(r#"{"data":{"items":[]}}"#).is_err(), "of another form");
    }
}
