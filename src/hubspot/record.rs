//! A record as HubSpot answers it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::hubspot::dialect::{Complaint, plain};
use crate::model::{Entity, Fields, FieldsSeed, Projection, Record, RecordId, ShapeCache, Version, parse_datetime};
use crate::rest::Answer;

/// A CRM object.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[non_exhaustive]
pub struct HubSpotRecord {
    /// Its id; unique within its type only. A merge may answer a new one.
    pub id: String,
    /// Its properties: texts or null.
    pub properties: Fields,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
    /// When it last changed, RFC 3339.
    pub updated_at: Option<String>,
    /// True in the recycle bin.
    pub archived: bool,
    /// Since when.
    pub archived_at: Option<String>,
    /// Its page in HubSpot.
    pub url: Option<String>,
    /// The mark the write gave it.
    pub object_write_trace_id: Option<String>,
    /// Of an upsert: whether it is new.
    pub new: Option<bool>,
    /// Associated records by type, as asked for; one id may occur once for each type of association.
    pub associations: BTreeMap<String, Value>,
    /// Earlier values, as asked for.
    pub properties_with_history: BTreeMap<String, Value>,
}

impl HubSpotRecord {
    /// The ids associated under `kind` (`companies`), each once.
    pub fn associated(&self, kind: &str) -> Vec<RecordId> {
        let mut ids: Vec<RecordId> = Vec::new();
        let results = self.associations.get(kind).and_then(|list| list.get("results")).and_then(Value::as_array);
        for id in results.into_iter().flatten().filter_map(|item| plain(item.get("id")?)) {
            let id = RecordId::new(id);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    }

    /// When it last changed: by its own property, else by the record's mark.
    pub(super) fn modified(&self) -> Option<Timestamp> {
        let stamp = ["lastmodifieddate", "hs_lastmodifieddate"].into_iter().find_map(|name| self.properties.text(name));
        stamp.or(self.updated_at.as_deref()).and_then(parse_datetime)
    }

    pub(super) fn into_record(self, entity: &Entity, select: &[String]) -> Result<Record> {
        self.into_record_of(entity, &mut projection(select))
    }

    /// As [`Self::into_record`], for many rows.
    pub(super) fn into_record_of(self, entity: &Entity, select: &mut Option<Projection>) -> Result<Record> {
        if self.id.is_empty() {
            return Err(Error::decode("a record came without its id").on(entity));
        }
        let modified = self.modified();
        // Left out and null mean the same to HubSpot.
        let fields = match select {
            Some(select) => select.apply(self.properties),
            None => self.properties,
        };
        let mut record = Record::new(entity.clone(), RecordId::new(self.id), fields);
        record.version = self.updated_at.map(Version::new);
        record.modified_at = modified;
        record.deleted = self.archived;
        Ok(record)
    }
}

/// What the selection makes of rows; an empty one leaves them as they came.
pub(super) fn projection(select: &[String]) -> Option<Projection> {
    (!select.is_empty()).then(|| Projection::new(select))
}

/// Its records share the names of their properties.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) results: Vec<HubSpotRecord>,
    pub(super) errors: Vec<Complaint>,
    pub(super) total: Option<u64>,
    pub(super) paging: Option<Paging>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Paging {
    next: Option<Next>,
}

#[derive(Debug, Deserialize)]
struct Next {
    #[serde(default)]
    after: Option<Value>,
}

impl Paging {
    /// The token of the next page; its link may name another version of the API and is not followed.
    pub(super) fn after(paging: Option<&Self>) -> Option<String> {
        paging?.next.as_ref()?.after.as_ref().and_then(plain)
    }
}

impl<'de> Deserialize<'de> for Listing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Listed;
        impl<'de> Visitor<'de> for Listed {
            type Value = Listing;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of records")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Listing, A::Error> {
                #[derive(Deserialize)]
                #[serde(field_identifier, rename_all = "snake_case")]
                enum Key {
                    Errors,
                    Paging,
                    Results,
                    Total,
                    #[serde(other)]
                    Other,
                }
                let mut listing = Listing::default();
                while let Some(key) = map.next_key()? {
                    match key {
                        Key::Errors => listing.errors = map.next_value()?,
                        Key::Paging => listing.paging = map.next_value()?,
                        Key::Results => listing.results = map.next_value_seed(Rows(&mut ShapeCache::default()))?,
                        Key::Total => listing.total = map.next_value()?,
                        Key::Other => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok(listing)
            }
        }
        deserializer.deserialize_map(Listed)
    }
}

/// A record without its properties: what is told of a write, where nobody looks at the rest.
pub(super) fn marks(answer: &Answer) -> Result<HubSpotRecord> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Marks {
        #[serde(default)]
        id: String,
        #[serde(default)]
        new: Option<bool>,
        #[serde(default)]
        updated_at: Option<String>,
    }
    let Marks { id, new, updated_at } = answer.json()?;
    Ok(HubSpotRecord { id, new, updated_at, ..HubSpotRecord::default() })
}

struct Rows<'a>(&'a mut ShapeCache);

impl<'de> DeserializeSeed<'de> for Rows<'_> {
    type Value = Vec<HubSpotRecord>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Rows<'_> {
    type Value = Vec<HubSpotRecord>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut rows = Vec::with_capacity(100);
        while let Some(row) = items.next_element_seed(Row(self.0))? {
            rows.push(row);
        }
        Ok(rows)
    }
}

struct Row<'a>(&'a mut ShapeCache);

impl<'de> DeserializeSeed<'de> for Row<'_> {
    type Value = HubSpotRecord;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<HubSpotRecord, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Row<'_> {
    type Value = HubSpotRecord;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a record")
    }

    /// As the derived form of [`HubSpotRecord`] does it, member by member.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<HubSpotRecord, A::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "camelCase")]
        enum Key {
            Archived,
            ArchivedAt,
            Associations,
            CreatedAt,
            Id,
            New,
            ObjectWriteTraceId,
            Properties,
            PropertiesWithHistory,
            UpdatedAt,
            Url,
            #[serde(other)]
            Other,
        }
        let mut row = HubSpotRecord::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Archived => row.archived = map.next_value()?,
                Key::ArchivedAt => row.archived_at = map.next_value()?,
                Key::Associations => row.associations = map.next_value()?,
                Key::CreatedAt => row.created_at = map.next_value()?,
                Key::Id => row.id = map.next_value()?,
                Key::New => row.new = map.next_value()?,
                Key::ObjectWriteTraceId => row.object_write_trace_id = map.next_value()?,
                Key::Properties => row.properties = map.next_value_seed(FieldsSeed { cache: self.0 })?,
                Key::PropertiesWithHistory => row.properties_with_history = map.next_value()?,
                Key::UpdatedAt => row.updated_at = map.next_value()?,
                Key::Url => row.url = map.next_value()?,
                Key::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_list_is_what_its_records_are_one_by_one() {
        let one = json!({
            "id": "1", "properties": {"email": "a@b.c", "phone": null}, "createdAt": "2026-01-01T00:00:00Z", "updatedAt": null, "archived": true,
            "archivedAt": "2026-01-02T00:00:00Z", "url": "https://x.example", "objectWriteTraceId": "t", "new": true, "surprise": [1],
            "associations": {"companies": {"results": [{"id": "7"}]}}, "propertiesWithHistory": {"email": []},
        });
        let two = json!({"id": "2", "properties": {"phone": "1", "more": "2"}});
        let text = json!({"status": "COMPLETE", "results": [one, two, {}], "total": 3, "errors": [], "paging": {"next": {"after": "9"}}});
        let listing: Listing = serde_json::from_str(&text.to_string()).unwrap();
        let alone: Vec<HubSpotRecord> = [one, two, json!({})].into_iter().map(|row| serde_json::from_value(row).unwrap()).collect();
        assert_eq!(format!("{:?}", listing.results), format!("{alone:?}"));
        assert!(listing.results.iter().zip(&alone).all(|(a, b)| a.properties == b.properties && a.associations == b.associations));
        assert_eq!((listing.total, Paging::after(listing.paging.as_ref()).as_deref()), (Some(3), Some("9")));
    }
}
