//! Values that were sent and not read back yet, as marks.
//!
//! As long as the answer to a write has not been read back, a value of ours that the CRM tells of must not pass for somebody
//! else's change. Once it has been read back the base says all there is to say, and the marks go.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::Result;
use crate::model::Entity;
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// A write that was in doubt for so long is no longer told apart.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// Marks by field.
pub(crate) type Marks = BTreeMap<String, Vec<String>>;

/// Remembers the marks of a host record, over older ones.
pub(crate) fn put(batch: &mut Batch, connection: &str, entity: &Entity, local: &str, marks: &Marks, now: Timestamp) -> Result<()> {
    let key = key(connection, entity, local);
    let value = encode(&key, FORMAT, marks)?;
    batch.put_until(key, value, now.checked_add(KEPT).unwrap_or(Timestamp::MAX));
    Ok(())
}

pub(crate) fn remove(batch: &mut Batch, connection: &str, entity: &Entity, local: &str) {
    batch.delete(key(connection, entity, local));
}

/// The marks of host records, in the order of `locals`; empty where there are none.
pub(crate) async fn get_many(store: &dyn Store, connection: &str, entity: &Entity, locals: &[&str]) -> Result<Vec<Marks>> {
    let keys: Vec<Key> = locals.iter().map(|local| key(connection, entity, local)).collect();
    let rows = store.load_many(&keys).await?;
    keys.iter().zip(rows).map(|(key, row)| row.map_or_else(|| Ok(Marks::new()), |row| decode(key, FORMAT, &row))).collect()
}

fn key(connection: &str, entity: &Entity, local: &str) -> Key {
    Key::new(Family::Own, &[connection, entity.as_str(), local])
}
