//! Changes that were set aside while their lane went on, and the fields that younger changes have written since.
//!
//! A refused change goes to the dead letters and the changes behind it are written. Replayed later it is the older one: what was
//! written over it meanwhile stays, the rest of it is written. There is a row only while a record has such changes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::Entity;
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// One change that was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// The op id of its entry.
    pub op: String,
    /// Its place in the lane: a younger change has a greater one.
    pub place: u64,
    /// The host's fields that younger changes have spoken of since. No values.
    pub fields: BTreeSet<String>,
}

/// The changes of one record that were set aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overtaken {
    /// Each of them.
    pub changes: Vec<SetAside>,
}

impl Overtaken {
    /// The change of this op id.
    pub fn of(&self, op: &str) -> Option<&SetAside> {
        self.changes.iter().find(|change| change.op == op)
    }

    /// Sets a change aside; one that is known already keeps what was written over it.
    pub fn set_aside(&mut self, op: &str, place: u64) {
        if self.of(op).is_none() {
            self.changes.push(SetAside { op: op.to_owned(), place, fields: BTreeSet::new() });
        }
    }

    /// The change of `op` at `place` was written: it is set aside no longer, and older ones are overtaken in `fields`.
    pub fn written(&mut self, op: &str, place: u64, fields: &[String]) {
        self.changes.retain(|change| change.op != op);
        for change in self.changes.iter_mut().filter(|change| change.place < place) {
            change.fields.extend(fields.iter().cloned());
        }
    }
}

/// The rows of host records with their versions, in the order of `locals`.
///
/// # Errors
/// [`crate::error::ErrorKind::Store`] if the store fails or a row cannot be read.
pub async fn get_many(store: &dyn Store, connection: &str, entity: &Entity, locals: &[&str]) -> Result<Vec<Option<(Overtaken, u64)>>> {
    let keys: Vec<Key> = locals.iter().map(|local| key(connection, entity, local)).collect();
    let rows = store.load_many(&keys).await?;
    let read = |(key, row): (&Key, Option<crate::store::Row>)| row.map(|row| Ok((decode(key, FORMAT, &row)?, row.version))).transpose();
    keys.iter().zip(rows).map(read).collect()
}

/// Replaces the row that was read at `version` (`None`: there was none); without changes it is removed. The commit is refused
/// with a conflict if it has changed since.
///
/// # Errors
/// [`crate::error::ErrorKind::Internal`] if it does not serialise.
pub fn put(batch: &mut Batch, connection: &str, entity: &Entity, local: &str, overtaken: &Overtaken, version: Option<u64>) -> Result<()> {
    let key = key(connection, entity, local);
    match version {
        Some(version) => batch.require_version(key.clone(), version),
        None => batch.require_absent(key.clone()),
    };
    if overtaken.changes.is_empty() {
        batch.delete(key);
    } else {
        let value = encode(&key, FORMAT, overtaken)?;
        batch.put(key, value);
    }
    Ok(())
}

/// Forgets what is known of a host record.
pub fn remove(batch: &mut Batch, connection: &str, entity: &Entity, local: &str) {
    batch.delete(Key::new(Family::Overtaken, &[connection, entity.as_str(), local]));
}

fn key(connection: &str, entity: &Entity, local: &str) -> Key {
    Key::new(Family::Overtaken, &[connection, entity.as_str(), local])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::host::Host;
    use crate::store::memory::MemoryStore;

    #[test]
    fn only_what_is_younger_overtakes() {
        let mut row = Overtaken::default();
        row.set_aside("b", 2);
        row.set_aside("d", 4);
        row.written("a", 1, &["x".to_owned()]);
        row.written("c", 3, &["y".to_owned()]);
        row.set_aside("b", 2);
        let fields = |op: &str| row.of(op).unwrap().fields.iter().map(String::as_str).collect::<Vec<_>>();
        assert_eq!((fields("b"), fields("d")), (vec!["y"], vec![]));
        row.written("d", 4, &["z".to_owned()]);
        assert!(row.of("d").is_none());
        assert_eq!(row.of("b").unwrap().fields.len(), 2);
    }

    #[tokio::test]
    async fn a_row_is_replaced_only_as_it_was_read() {
        let store = MemoryStore::new(Host::manual(1));
        let entity = Entity::from_static("Lead");
        let mut row = Overtaken::default();
        row.set_aside("a", 1);
        let put_at = async |row: &Overtaken, version: Option<u64>| {
            let mut batch = Batch::new();
            put(&mut batch, "c", &entity, "1", row, version).unwrap();
            store.commit(batch).await
        };
        put_at(&row, None).await.unwrap();
        assert_eq!(put_at(&row, None).await.unwrap_err().kind(), ErrorKind::Conflict);
        let (read, version) = get_many(&store, "c", &entity, &["1", "2"]).await.unwrap().remove(0).unwrap();
        assert_eq!(read, row);
        put_at(&Overtaken::default(), Some(version)).await.unwrap();
        assert_eq!(get_many(&store, "c", &entity, &["1"]).await.unwrap(), [None]);
    }
}
