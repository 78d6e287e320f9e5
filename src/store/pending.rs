//! Records that a two-way sync has yet to look at.
//!
//! A change is first noted here, in the same commit that moves the reader's cursor, and the note goes in the commit that
//! remembers what was done. So a crash leaves a note, never a hole.
//!
//! Of what the CRM told there is a note for each different thing that was told: a late event, or the echo of our own write, would
//! otherwise take the place of the news that waits there.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::model::{Entity, EventId, Fields, Successor, Version};
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// Rows read at once.
const PAGE: usize = 1_000;

/// Whose record the id names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Side {
    Local,
    Remote,
}

impl Side {
    fn as_str(self) -> &'static str {
        match self {
            Self::Local => "l",
            Self::Remote => "r",
        }
    }
}

/// Why a record is to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Note {
    /// What told of it.
    pub(crate) cause: String,
    /// The change said that the record is gone.
    #[serde(default)]
    pub(crate) deleted: bool,
    /// The record's version after the change.
    pub(crate) version: Option<Version>,
    /// When, by the clock of the side it happened on.
    pub(crate) at: Option<Timestamp>,
    pub(crate) event: Option<EventId>,
    /// The record that goes on for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) successor: Option<Successor>,
    /// What the change said of fields that are synced, if it said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) said: Option<Fields>,
    /// The CRM says that it was ours.
    #[serde(default)]
    pub(crate) own: bool,
    /// Looks that came to nothing.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Not before this instant of store time.
    pub(crate) not_before: Option<Timestamp>,
}

impl Note {
    /// What sets it apart from other notes of the record; `None` for a bare hint.
    fn mark(&self) -> Option<String> {
        let told = (&self.version, &self.said, self.own, self.deleted, &self.successor);
        if told == (&None, &None, false, false, &None) {
            return None;
        }
        let text = serde_json::to_vec(&told).unwrap_or_default();
        Some(Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// A note and the version of its row, to remove exactly this one.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) side: Side,
    pub(crate) id: String,
    pub(crate) note: Note,
    pub(crate) version: u64,
    key: Key,
}

impl Noted {
    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Whether a bare hint would take its place.
    pub(crate) fn is_bare(&self) -> bool {
        self.side == Side::Local || self.note.mark().is_none()
    }
}

pub(crate) fn put(batch: &mut Batch, connection: &str, entity: &Entity, side: Side, id: &str, note: &Note) -> Result<()> {
    let key = key(connection, entity, side, id);
    let key = match note.mark().filter(|_| side == Side::Remote) {
        Some(mark) => key.child(&mark),
        None => key,
    };
    let value = encode(&key, FORMAT, note)?;
    batch.put(key, value);
    Ok(())
}

/// Removes all notes of a record.
pub(crate) async fn remove(store: &dyn Store, batch: &mut Batch, connection: &str, entity: &Entity, side: Side, id: &str) -> Result<()> {
    let prefix = key(connection, entity, side, id);
    let mut after: Option<Key> = None;
    loop {
        let rows = store.scan(&prefix, after.as_ref(), PAGE).await?;
        let more = rows.len() == PAGE;
        for (key, _) in rows {
            batch.delete(key.clone());
            after = Some(key);
        }
        if !more {
            return Ok(());
        }
    }
}

/// Removes the note if nobody has put a newer one in its place; the commit is refused if somebody does meanwhile.
pub(crate) fn settle(batch: &mut Batch, noted: &Noted) {
    batch.require_version(noted.key.clone(), noted.version).delete(noted.key.clone());
}

/// Notes that are due at `now`, at most `limit`, local ones first; and the earliest time of one that is not due.
pub(crate) async fn due(
    store: &dyn Store,
    connection: &str,
    entity: &Entity,
    now: Timestamp,
    limit: usize,
) -> Result<(Vec<Noted>, Option<Timestamp>)> {
    let mut found = Vec::new();
    let mut next: Option<Timestamp> = None;
    for side in [Side::Local, Side::Remote] {
        let prefix = Key::new(Family::Pending, &[connection, entity.as_str(), side.as_str()]);
        let mut after: Option<Key> = None;
        loop {
            let rows = store.scan(&prefix, after.as_ref(), PAGE).await?;
            let more = rows.len() == PAGE;
            for (key, row) in rows {
                let note: Note = decode(&key, FORMAT, &row)?;
                match note.not_before.filter(|at| *at > now) {
                    Some(later) => next = Some(next.map_or(later, |next| next.min(later))),
                    None if found.len() < limit => {
                        if let Some(id) = record_of(&key) {
                            found.push(Noted { side, id, note, version: row.version, key: key.clone() });
                        }
                    }
                    None => return Ok((found, Some(now))),
                }
                after = Some(key);
            }
            if !more {
                break;
            }
        }
    }
    Ok((found, next))
}

/// How many records of a side a note says are gone; counted page by page.
pub(crate) async fn deletions(store: &dyn Store, connection: &str, entity: &Entity, side: Side) -> Result<usize> {
    let prefix = Key::new(Family::Pending, &[connection, entity.as_str(), side.as_str()]);
    let mut after: Option<Key> = None;
    let mut count = 0;
    let mut counted: Option<String> = None;
    loop {
        let rows = store.scan(&prefix, after.as_ref(), PAGE).await?;
        let more = rows.len() == PAGE;
        for (key, row) in rows {
            // The notes of one record stand together.
            if decode::<Note>(&key, FORMAT, &row)?.deleted {
                let id = record_of(&key);
                count += usize::from(id != counted);
                counted = id;
            }
            after = Some(key);
        }
        if !more {
            return Ok(count);
        }
    }
}

/// The rows of these notes as they are now.
pub(crate) async fn versions(store: &dyn Store, noted: &[Noted]) -> Result<Vec<Option<u64>>> {
    let keys: Vec<Key> = noted.iter().map(|noted| noted.key.clone()).collect();
    Ok(store.load_many(&keys).await?.into_iter().map(|row| row.map(|row| row.version)).collect())
}

/// The id of the record whose note this is.
fn record_of(key: &Key) -> Option<String> {
    key.parts().and_then(|parts| parts.into_iter().nth(3))
}

fn key(connection: &str, entity: &Entity, side: Side, id: &str) -> Key {
    Key::new(Family::Pending, &[connection, entity.as_str(), side.as_str(), id])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn what_was_told_is_not_lost_behind_what_is_told_later() {
        let store = MemoryStore::new(Host::manual(1));
        let entity = Entity::from_static("Lead");
        let told = |version: Option<&str>, deleted: bool| Note { version: version.map(Version::new), deleted, ..Note::default() };
        let notes = [told(Some("9"), false), told(Some("7"), false), told(None, true), told(None, false), told(Some("9"), false)];
        let mut batch = Batch::new();
        for note in &notes {
            put(&mut batch, "c", &entity, Side::Remote, "r/1", note).unwrap();
        }
        put(&mut batch, "c", &entity, Side::Remote, "r/10", &told(None, true)).unwrap();
        put(&mut batch, "c", &entity, Side::Local, "l", &told(None, true)).unwrap();
        put(&mut batch, "c", &entity, Side::Local, "l", &told(None, false)).unwrap();
        store.commit(batch).await.unwrap();
        let now = store.now().await.unwrap();
        let (found, next) = due(&store, "c", &entity, now, 100).await.unwrap();
        let ids: Vec<&str> = found.iter().map(|noted| noted.id.as_str()).collect();
        assert_eq!((ids, next), (vec!["l", "r/1", "r/1", "r/1", "r/1", "r/10"], None));
        assert!(notes.iter().all(|note| found.iter().any(|noted| noted.note == *note)));
        assert_eq!(deletions(&store, "c", &entity, Side::Remote).await.unwrap(), 2);
        assert_eq!(deletions(&store, "c", &entity, Side::Local).await.unwrap(), 0);

        let mut batch = Batch::new();
        settle(&mut batch, &found[1]);
        store.commit(batch).await.unwrap();
        assert_eq!(versions(&store, &found[1..3]).await.unwrap(), [None, Some(found[2].version)]);
        let mut batch = Batch::new();
        remove(&store, &mut batch, "c", &entity, Side::Remote, "r/1").await.unwrap();
        store.commit(batch).await.unwrap();
        let left = due(&store, "c", &entity, now, 100).await.unwrap().0;
        assert_eq!(left.iter().map(|noted| noted.id.as_str()).collect::<Vec<_>>(), ["l", "r/10"]);
    }
}
