//! A record as HubSpot answers it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::hubspot::dialect::{Complaint, plain};
use crate::model::{Entity, Fields, Record, RecordId, Version, parse_datetime};

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
        if self.id.is_empty() {
            return Err(Error::decode("a record came without its id").on(entity));
        }
        let modified = self.modified();
        let mut fields = self.properties;
        if !select.is_empty() {
            fields.retain(|name, _| select.iter().any(|wanted| wanted == name));
            // Left out and null mean the same to HubSpot.
            for name in select.iter().filter(|name| !fields.contains(name)).cloned().collect::<Vec<_>>() {
                fields.insert(name, Value::Null);
            }
        }
        let mut record = Record::new(entity.clone(), RecordId::new(self.id), fields);
        record.version = self.updated_at.map(Version::new);
        record.modified_at = modified;
        record.deleted = self.archived;
        Ok(record)
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
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
