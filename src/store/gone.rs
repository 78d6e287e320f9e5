//! Records that have ended, so that a late event does not bring them back. Their ids are kept as salted hashes only.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::Entity;
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::pending::Side;
use crate::store::salt::Salt;
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// How a record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum End {
    /// Became a record of another entity.
    Converted,
    /// Deleted on both sides, or on one while the other one was let be.
    Deleted,
    /// Forgotten on request; nothing brings it back.
    Erased,
    /// Merged into another record.
    Merged,
    /// Deleted here and kept there, as the rules say.
    LetBe,
}

impl End {
    /// Whether what is left of it on the other side is let be.
    pub(crate) fn stays(self) -> bool {
        matches!(self, Self::Converted | Self::LetBe | Self::Merged)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) end: End,
    pub(crate) at: Timestamp,
}

pub(crate) fn put(
    batch: &mut Batch,
    salt: &Salt,
    (connection, entity): (&str, &Entity),
    side: Side,
    id: &str,
    tombstone: Tombstone,
) -> Result<()> {
    let key = key(salt, connection, entity, side, id);
    let value = encode(&key, FORMAT, &tombstone)?;
    batch.put(key, value);
    Ok(())
}

pub(crate) fn remove(batch: &mut Batch, salt: &Salt, (connection, entity): (&str, &Entity), side: Side, id: &str) {
    batch.delete(key(salt, connection, entity, side, id));
}

/// The tombstones of these ids, in their order.
pub(crate) async fn get_many(
    store: &dyn Store,
    salt: &Salt,
    (connection, entity): (&str, &Entity),
    ids: &[(Side, &str)],
) -> Result<Vec<Option<Tombstone>>> {
    let keys: Vec<Key> = ids.iter().map(|(side, id)| key(salt, connection, entity, *side, id)).collect();
    let rows = store.load_many(&keys).await?;
    keys.iter().zip(rows).map(|(key, row)| row.map(|row| decode(key, FORMAT, &row)).transpose()).collect()
}

fn key(salt: &Salt, connection: &str, entity: &Entity, side: Side, id: &str) -> Key {
    let side = if side == Side::Local { "l" } else { "r" };
    let hash = salt.hash(&[connection, entity.as_str(), side, id]);
    Key::new(Family::Gone, &["end", connection, entity.as_str(), &hash])
}
