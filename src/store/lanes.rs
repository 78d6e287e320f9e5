//! What a two-way sync keeps about one record beside its base: how often its fields went back and forth, conflicts that wait
//! for a person, a freeze.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Entity, Value};
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// One write of a field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Turn {
    /// Into the host (true) or the CRM.
    pub(crate) inward: bool,
    /// Mark of the value.
    pub(crate) mark: String,
    pub(crate) at: Timestamp,
}

/// A person's answer to a conflict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    Local,
    Remote,
    Value(Value),
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lane {
    /// The last writes by field, the oldest first.
    #[serde(default)]
    pub(crate) turns: BTreeMap<String, Vec<Turn>>,
    /// Since when it is frozen, and the fields that flipped.
    #[serde(default)]
    pub(crate) frozen: Option<(Timestamp, Vec<String>)>,
    /// Fields whose conflict waits for a person, since when.
    #[serde(default)]
    pub(crate) conflicts: BTreeMap<String, Timestamp>,
    /// What the person said.
    #[serde(default)]
    pub(crate) answers: BTreeMap<String, Answer>,
}

pub(crate) fn put(batch: &mut Batch, connection: &str, entity: &Entity, local: &str, lane: &Lane) -> Result<()> {
    let key = key(connection, entity, local);
    if *lane == Lane::default() {
        batch.delete(key);
        return Ok(());
    }
    let value = encode(&key, FORMAT, lane)?;
    batch.put(key, value);
    Ok(())
}

pub(crate) fn remove(batch: &mut Batch, connection: &str, entity: &Entity, local: &str) {
    batch.delete(key(connection, entity, local));
}

pub(crate) async fn get_many(store: &dyn Store, connection: &str, entity: &Entity, locals: &[&str]) -> Result<Vec<Lane>> {
    let keys: Vec<Key> = locals.iter().map(|local| key(connection, entity, local)).collect();
    let rows = store.load_many(&keys).await?;
    keys.iter().zip(rows).map(|(key, row)| row.map_or_else(|| Ok(Lane::default()), |row| decode(key, FORMAT, &row))).collect()
}

/// At most `limit` lanes behind that of `after`, by host id.
pub(crate) async fn page(
    store: &dyn Store,
    connection: &str,
    entity: &Entity,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<(String, Lane)>> {
    let prefix = Key::new(Family::Lanes, &[connection, entity.as_str()]);
    let after = after.map(|local| key(connection, entity, local));
    let rows = store.scan(&prefix, after.as_ref(), limit).await?;
    rows.iter()
        .filter_map(|(key, row)| Some((key.parts()?.pop()?, key, row)))
        .map(|(local, key, row)| Ok((local, decode(key, FORMAT, row)?)))
        .collect()
}

fn key(connection: &str, entity: &Entity, local: &str) -> Key {
    Key::new(Family::Lanes, &[connection, entity.as_str(), local])
}
