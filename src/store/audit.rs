//! What was written to a record, when, why, and from which change.
//!
//! Values stand here as salted hashes, unless the host asks for the values themselves: equal values have equal hashes within
//! one connection, so that one can tell where a value came from without being told the value.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::model::{Entity, EventId, RecordId, Value};
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// A value of a field, as the audit keeps it.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kept {
    /// Its salted hash.
    Hash(String),
    /// The value.
    Value(Value),
}

/// The hash, or that there is a value.
impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash(hash) => write!(f, "Hash({hash})"),
            Self::Value(_) => f.write_str("Value(_)"),
        }
    }
}

/// One field of a write.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditField {
    /// The field, in the words of the side that was written.
    pub field: String,
    /// What stood there, as far as known.
    pub from: Option<Kept>,
    /// What was written.
    pub to: Kept,
}

/// Which side was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Wrote {
    /// The host's record.
    Host,
    /// The CRM's record.
    Crm,
}

/// One write, or one that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When, in store time.
    pub at: Timestamp,
    /// Which side was written.
    pub wrote: Wrote,
    /// `create`, `update`, `delete`, `merge`, `convert`.
    pub action: String,
    /// The CRM's record.
    pub remote: Option<RecordId>,
    /// Why.
    pub reason: String,
    /// What told of the change that led to it.
    pub cause: String,
    /// The event that told of it, if it has an id.
    pub event: Option<EventId>,
    /// The version of the mapping.
    pub mapping: String,
    /// `ok`, or the kind of the error.
    pub status: String,
    /// The fields.
    pub fields: Vec<AuditField>,
}

/// Adds an entry to the record of the host id `local`. `id` tells entries of one microsecond apart; after `keep` the entry is
/// forgotten, `None` keeps it until the record is erased.
///
/// # Errors
/// [`crate::error::ErrorKind::Internal`] if it does not serialise.
pub fn append(
    batch: &mut Batch,
    (connection, entity, local): (&str, &Entity, &str),
    id: &str,
    entry: &AuditEntry,
    keep: Option<Duration>,
) -> Result<()> {
    let moment = format!("{:018}", entry.at.as_microsecond().saturating_sub(Timestamp::MIN.as_microsecond()));
    let key = Key::new(Family::Audit, &[connection, entity.as_str(), local, &moment, id]);
    let value = encode(&key, FORMAT, entry)?;
    match keep {
        Some(keep) => batch.put_until(key, value, entry.at.checked_add(keep).unwrap_or(Timestamp::MAX)),
        None => batch.put(key, value),
    };
    Ok(())
}

/// At most `limit` entries of a record, the oldest first.
///
/// # Errors
/// [`crate::error::ErrorKind::Store`] if the store fails or an entry cannot be read.
pub async fn of(store: &dyn Store, connection: &str, entity: &Entity, local: &str, limit: usize) -> Result<Vec<AuditEntry>> {
    let rows = store.scan(&Key::new(Family::Audit, &[connection, entity.as_str(), local]), None, limit).await?;
    rows.iter().map(|(key, row)| decode(key, FORMAT, row)).collect()
}
