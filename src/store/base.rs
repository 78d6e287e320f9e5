//! The last state both sides agreed on, per record: the middle of the three-way comparison.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Entity, Fields, Version};
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// What was agreed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Base {
    /// The CRM's fields, as the CRM returned them (it may have trimmed or rounded what was written).
    pub fields: Fields,
    /// What the host's record came to in the CRM's fields, where that is spelled otherwise than in `fields`: the CRM has another
    /// form of the same phone number. Both forms are agreed.
    #[serde(default, skip_serializing_if = "Fields::is_empty")]
    pub local: Fields,
    /// The CRM record's version then, where the CRM has one.
    pub version: Option<Version>,
    /// Fingerprint of the mapping that made `fields`; another mapping makes the base worthless for comparing.
    pub mapping: String,
    /// Hash of the host's record then: equal means that the host has nothing new.
    pub source_hash: String,
    /// When the CRM's state was last seen.
    pub checked_at: Timestamp,
}

impl Base {
    /// What the host's side of a field was when it was agreed.
    pub fn host_side(&self, field: &str) -> Option<&crate::model::Value> {
        self.local.get(field).or_else(|| self.fields.get(field))
    }
}

/// Field names, not values.
impl fmt::Debug for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Base")
            .field("fields", &self.fields)
            .field("version", &self.version)
            .field("mapping", &self.mapping)
            .field("checked_at", &self.checked_at)
            .finish_non_exhaustive()
    }
}

/// Remembers the base of a host record, over an older one.
///
/// # Errors
/// [`crate::error::ErrorKind::Internal`] if it does not serialise.
pub fn put(batch: &mut Batch, connection: &str, entity: &Entity, local: &str, base: &Base) -> Result<()> {
    let key = key(connection, entity, local);
    let value = encode(&key, FORMAT, base)?;
    batch.put(key, value);
    Ok(())
}

/// Forgets the base of a host record.
pub fn remove(batch: &mut Batch, connection: &str, entity: &Entity, local: &str) {
    batch.delete(key(connection, entity, local));
}

/// The bases of host records, in the order of `locals`.
///
/// # Errors
/// [`crate::error::ErrorKind::Store`] if the store fails or a row cannot be read.
pub async fn get_many(store: &dyn Store, connection: &str, entity: &Entity, locals: &[&str]) -> Result<Vec<Option<Base>>> {
    let keys: Vec<Key> = locals.iter().map(|local| key(connection, entity, local)).collect();
    let rows = store.load_many(&keys).await?;
    keys.iter().zip(rows).map(|(key, row)| row.map(|row| decode(key, FORMAT, &row)).transpose()).collect()
}

fn key(connection: &str, entity: &Entity, local: &str) -> Key {
    Key::new(Family::Base, &[connection, entity.as_str(), local])
}
