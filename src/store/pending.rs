//! Records that a two-way sync has yet to look at.
//!
//! A change is first noted here, in the same commit that moves the reader's cursor, and the note goes in the commit that
//! remembers what was done. So a crash leaves a note, never a hole.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// What the change said, if the CRM says that it was ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) own: Option<Fields>,
    /// Looks that came to nothing.
    #[serde(default)]
    pub(crate) attempts: u32,
    /// Not before this instant of store time.
    pub(crate) not_before: Option<Timestamp>,
}

/// A note and the version of its row, to remove exactly this one.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) side: Side,
    pub(crate) id: String,
    pub(crate) note: Note,
    pub(crate) version: u64,
}

pub(crate) fn put(batch: &mut Batch, connection: &str, entity: &Entity, side: Side, id: &str, note: &Note) -> Result<()> {
    let key = key(connection, entity, side, id);
    let value = encode(&key, FORMAT, note)?;
    batch.put(key, value);
    Ok(())
}

pub(crate) fn remove(batch: &mut Batch, connection: &str, entity: &Entity, side: Side, id: &str) {
    batch.delete(key(connection, entity, side, id));
}

/// Removes the note if nobody has put a newer one in its place; the commit is refused if somebody does meanwhile.
pub(crate) fn settle(batch: &mut Batch, connection: &str, entity: &Entity, noted: &Noted) {
    let key = key(connection, entity, noted.side, &noted.id);
    batch.require_version(key.clone(), noted.version).delete(key);
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
                        if let Some(id) = key.parts().and_then(|mut parts| parts.pop()) {
                            found.push(Noted { side, id, note, version: row.version });
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

/// How many notes of a side say that a record is gone; counted page by page.
pub(crate) async fn deletions(store: &dyn Store, connection: &str, entity: &Entity, side: Side) -> Result<usize> {
    let prefix = Key::new(Family::Pending, &[connection, entity.as_str(), side.as_str()]);
    let mut after: Option<Key> = None;
    let mut count = 0;
    loop {
        let rows = store.scan(&prefix, after.as_ref(), PAGE).await?;
        let more = rows.len() == PAGE;
        for (key, row) in rows {
            count += usize::from(decode::<Note>(&key, FORMAT, &row)?.deleted);
            after = Some(key);
        }
        if !more {
            return Ok(count);
        }
    }
}

/// The rows of these notes as they are now.
pub(crate) async fn versions(store: &dyn Store, connection: &str, entity: &Entity, noted: &[Noted]) -> Result<Vec<Option<u64>>> {
    let keys: Vec<Key> = noted.iter().map(|noted| key(connection, entity, noted.side, &noted.id)).collect();
    Ok(store.load_many(&keys).await?.into_iter().map(|row| row.map(|row| row.version)).collect())
}

fn key(connection: &str, entity: &Entity, side: Side, id: &str) -> Key {
    Key::new(Family::Pending, &[connection, entity.as_str(), side.as_str(), id])
}
