//! Records the CRM refused for good: not sent again until they, their mapping or a person's mind changes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::Entity;
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::ext::StoreExt;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// A refusal. It holds no value of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// The hash of what was refused, mapping version included: another hash is another record, and is tried.
    pub source_hash: String,
    /// The kind of the error, as [`crate::error::ErrorKind::as_str`] writes it.
    pub kind: String,
    /// The CRM's code, e.g. `INVALID_EMAIL_ADDRESS`.
    pub code: Option<String>,
    /// The fields the CRM complained about.
    pub fields: Vec<String>,
    /// When, in store time.
    pub at: Timestamp,
}

/// Parks a record, or replaces the reason.
///
/// # Errors
/// [`crate::error::ErrorKind::Internal`] if it does not serialise.
pub fn put(batch: &mut Batch, connection: &str, entity: &Entity, local: &str, parked: &Parked) -> Result<()> {
    let key = key(connection, entity, local);
    let value = encode(&key, FORMAT, parked)?;
    batch.put(key, value);
    Ok(())
}

/// Lets a record go, so that the next plan tries it.
pub fn remove(batch: &mut Batch, connection: &str, entity: &Entity, local: &str) {
    batch.delete(key(connection, entity, local));
}

/// Everything parked for one entity, with the host's ids.
///
/// # Errors
/// [`crate::error::ErrorKind::Store`] if the store fails or a row cannot be read.
pub async fn all(store: &dyn Store, connection: &str, entity: &Entity) -> Result<Vec<(String, Parked)>> {
    let rows = store.scan_all(&Key::new(Family::Parked, &[connection, entity.as_str()])).await?;
    rows.iter()
        .map(|(key, row)| {
            let local = key.parts().and_then(|mut parts| parts.pop()).unwrap_or_default();
            Ok((local, decode(key, FORMAT, row)?))
        })
        .collect()
}

/// The refusals of host records, in the order of `locals`.
///
/// # Errors
/// As [`all`].
pub async fn get_many(store: &dyn Store, connection: &str, entity: &Entity, locals: &[&str]) -> Result<Vec<Option<Parked>>> {
    let keys: Vec<Key> = locals.iter().map(|local| key(connection, entity, local)).collect();
    let rows = store.load_many(&keys).await?;
    keys.iter().zip(rows).map(|(key, row)| row.map(|row| decode(key, FORMAT, &row)).transpose()).collect()
}

/// Whether anything is parked for an entity.
///
/// # Errors
/// As [`all`].
pub async fn any(store: &dyn Store, connection: &str, entity: &Entity) -> Result<bool> {
    let prefix = Key::new(Family::Parked, &[connection, entity.as_str()]);
    Ok(!store.scan(&prefix, None, 1).await?.is_empty())
}

fn key(connection: &str, entity: &Entity, local: &str) -> Key {
    Key::new(Family::Parked, &[connection, entity.as_str(), local])
}
