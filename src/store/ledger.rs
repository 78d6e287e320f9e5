//! Writes that were begun.
//!
//! Before a write leaves for the CRM its intent is committed; with the outcome (link, base) it is closed in the same commit.
//! An intent that is still there after a crash, or whose answer was lost, is a write nobody knows the outcome of: it must be
//! resolved by looking into the CRM before the record is written again, or a second create makes a duplicate.
//!
//! A record has one open intent at most: opening a second one is refused, so two workers cannot create the same record.
//! Closing leaves a mark for some days, so that a worker that was given up for dead and wakes up later cannot close, or
//! commit over, what was resolved in its absence.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::{Entity, ExternalKey, RecordId};
use crate::store::api::Store;
use crate::store::batch::{Batch, Conflict};
use crate::store::ext::StoreExt;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// How long after its opening a closed intent is still told apart from an unknown one.
const CLOSED_KEPT: Duration = Duration::from_secs(3 * 24 * 3600);

/// What kind of write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IntentKind {
    /// A new record.
    Create,
    /// The end of one.
    Delete,
    /// Fields of a known record.
    Update,
    /// A new record or fields of an old one, by a unique field.
    Upsert,
}

/// What is known about the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum IntentState {
    /// It was sent and no answer came: it may have happened.
    Ambiguous,
    /// It is under way, or its worker died.
    Open,
}

/// A write that was begun.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// Id of the operation; unique.
    pub op: String,
    /// The CRM's entity.
    pub entity: Entity,
    /// The host's id of the record.
    pub local: String,
    /// What kind of write.
    pub kind: IntentKind,
    /// The unique field the record can be found by, if it has one.
    pub key: Option<ExternalKey>,
    /// The CRM's id, if it is known before the write.
    pub remote: Option<RecordId>,
    /// Hash of the fields that are written.
    pub fields_hash: String,
    /// Fingerprint of the mapping.
    pub mapping: String,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// What is known about it.
    pub state: IntentState,
    /// The ticket of the CRM's job it is part of, if it went out as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

/// Without the value of the unique field, which may be an e-mail address.
impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Intent")
            .field("op", &self.op)
            .field("entity", &self.entity)
            .field("local", &self.local)
            .field("kind", &self.kind)
            .field("key", &self.key.as_ref().map(|key| &key.field))
            .field("remote", &self.remote)
            .field("opened_at", &self.opened_at)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Opens an intent; commit it before the write is sent. The commit is refused with a conflict if the record has an open
/// intent.
///
/// # Errors
/// [`crate::error::ErrorKind::Conflict`] if the batch opens one for this record already.
pub fn open(batch: &mut Batch, connection: &str, intent: &Intent) -> Result<()> {
    let key = record_key(connection, &intent.entity, &intent.local);
    let value = encode(&key, FORMAT, intent)?;
    batch.insert(key, value)?;
    // The same operation tried again after its first try was closed.
    batch.delete(closed_key(connection, &intent.op));
    Ok(())
}

/// Closes an intent; put what the write led to into the same batch. The commit is refused with a conflict if the intent was
/// closed before, by a resolver or another worker.
///
/// # Errors
/// [`crate::error::ErrorKind::Conflict`] if the batch closes it already.
pub fn close(batch: &mut Batch, connection: &str, intent: &Intent) -> Result<()> {
    let until = intent.opened_at.checked_add(CLOSED_KEPT).unwrap_or(Timestamp::MAX);
    batch.insert_until(closed_key(connection, &intent.op), "1", until)?;
    batch.delete(record_key(connection, &intent.entity, &intent.local));
    Ok(())
}

/// Says that the write is part of a job; commit it before the job begins. The commit is refused with a conflict if the intent was
/// closed before.
///
/// # Errors
/// [`crate::error::ErrorKind::Internal`] if it does not serialise.
pub fn mark_job(batch: &mut Batch, connection: &str, intent: &Intent, ticket: &str) -> Result<()> {
    let key = record_key(connection, &intent.entity, &intent.local);
    let value = encode(&key, FORMAT, &Intent { job: Some(ticket.to_owned()), ..intent.clone() })?;
    batch.require_absent(closed_key(connection, &intent.op)).put(key, value);
    Ok(())
}

/// Says that the write was sent and no answer came. The commit is refused with a conflict if the intent was closed before.
///
/// # Errors
/// [`crate::error::ErrorKind::Internal`] if it does not serialise.
pub fn mark_ambiguous(batch: &mut Batch, connection: &str, intent: &Intent) -> Result<()> {
    let key = record_key(connection, &intent.entity, &intent.local);
    let value = encode(&key, FORMAT, &Intent { state: IntentState::Ambiguous, ..intent.clone() })?;
    batch.require_absent(closed_key(connection, &intent.op)).put(key, value);
    Ok(())
}

/// Every intent of an entity that is not closed, ambiguous ones too, in the order of the encoded host ids.
///
/// # Errors
/// [`crate::error::ErrorKind::Store`] if the store fails or a row cannot be read.
pub async fn open_intents(store: &dyn Store, connection: &str, entity: &Entity) -> Result<Vec<Intent>> {
    let rows = store.scan_all(&Key::new(Family::Ledger, &["open", connection, entity.as_str()])).await?;
    rows.iter().map(|(key, row)| decode(key, FORMAT, row)).collect()
}

/// How many writes of a connection are known to have an unknown outcome. Reads every open write, page by page.
///
/// # Errors
/// As [`open_intents`].
pub async fn ambiguous(store: &dyn Store, connection: &str) -> Result<u64> {
    let prefix = Key::new(Family::Ledger, &["open", connection]);
    let (mut after, mut count) = (None, 0);
    loop {
        let rows = store.scan(&prefix, after.as_ref(), 1_000).await?;
        for (key, row) in &rows {
            let intent: Intent = decode(key, FORMAT, row)?;
            count += u64::from(intent.state == IntentState::Ambiguous);
        }
        match rows.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return Ok(count),
        }
    }
}

/// The open intents of host records, in the order of `locals`.
///
/// # Errors
/// As [`open_intents`].
pub async fn by_local(store: &dyn Store, connection: &str, entity: &Entity, locals: &[&str]) -> Result<Vec<Option<Intent>>> {
    let keys: Vec<Key> = locals.iter().map(|local| record_key(connection, entity, local)).collect();
    let rows = store.load_many(&keys).await?;
    keys.iter().zip(rows).map(|(key, row)| row.map(|row| decode(key, FORMAT, &row)).transpose()).collect()
}

/// The host id of the record whose open intent made a commit be refused; `None` if the error is something else. Whoever
/// opens intents for many rows in one batch leaves that row out and commits the others.
pub fn blocked_by(error: &Error) -> Option<String> {
    let key = &Conflict::of(error)?.key;
    let mut parts = key.parts().filter(|_| key.family == Family::Ledger)?;
    (parts.first().is_some_and(|part| part == "open")).then(|| parts.pop()).flatten()
}

fn record_key(connection: &str, entity: &Entity, local: &str) -> Key {
    Key::new(Family::Ledger, &["open", connection, entity.as_str(), local])
}

fn closed_key(connection: &str, op: &str) -> Key {
    Key::new(Family::Ledger, &["closed", connection, op])
}
