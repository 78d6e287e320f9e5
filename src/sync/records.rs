//! The host's own records, as a two-way sync reads and writes them.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::model::{Fields, Value, Version};

/// A record of the host as it is now.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalRecord {
    /// The host's id.
    pub id: String,
    /// Its fields, in the host's words.
    pub fields: Fields,
    /// Changes with every change of the record; a write names the version it was decided on.
    pub version: Option<Version>,
    /// When it was changed last; only [`crate::sync::Policy::Newest`] reads it.
    pub modified_at: Option<Timestamp>,
    /// The key of the [`LocalWrite::Create`] that made it. Without it, a crash right behind that write may lead to a second record
    /// in the CRM.
    pub key: Option<String>,
}

/// One write into the host.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LocalWrite {
    /// A new record. `key` names the CRM's record: the same key again must not make a second one, but answer the first.
    Create {
        /// Unique; keep it with the record.
        key: String,
        /// In the host's words.
        fields: Fields,
    },
    /// The end of one. One that is gone already is deleted: that is success.
    Delete {
        /// The host's id.
        id: String,
        /// The version it was decided on.
        expected: Option<Version>,
    },
    /// Changed fields; absent ones stay, null empties, objects are merged with what stands there.
    Update {
        /// The host's id.
        id: String,
        /// In the host's words.
        fields: Fields,
        /// The version it was decided on.
        expected: Option<Version>,
    },
}

/// Records that changed, and where to go on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LocalChanges {
    /// Ids of records that are new or changed.
    pub changed: Vec<String>,
    /// Ids of records that were deleted.
    pub deleted: Vec<String>,
    /// Where to go on; kept in the store.
    pub position: String,
    /// More is there now.
    pub more: bool,
}

/// The host's records of one kind.
#[async_trait]
pub trait Records: Debug + Send + Sync {
    /// What changed behind `position` (`None`: all records), oldest first; a record may be told more than once.
    async fn changed(&self, position: Option<&str>) -> Result<LocalChanges>;

    /// The records as they are now, in the order of `ids`; `None` for those that are gone.
    async fn read(&self, ids: &[&str]) -> Result<Vec<Option<LocalRecord>>>;

    /// Carries out writes. One outcome each, in their order: the record as it then is (`None` after a deletion).
    ///
    /// # Errors
    /// As outcome of one write: [`ErrorKind::Conflict`] if the record has another version than expected; it is then decided
    /// anew. As a whole: nothing can be told of any of them.
    async fn write(&self, writes: &[LocalWrite]) -> Result<Vec<Result<Option<LocalRecord>>>>;

    /// Ids of records whose `field` has one of `values`, in the order of `values`. By default none is found: then each record
    /// of the CRM that is not linked becomes a new one.
    async fn find(&self, field: &str, values: &[Value]) -> Result<Vec<Vec<String>>> {
        let _ = field;
        Ok(vec![Vec::new(); values.len()])
    }
}

/// Changes told at once.
const PAGE: usize = 10_000;

#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<String, (Fields, u64, Timestamp)>,
    keys: BTreeMap<String, String>,
    made_by: BTreeMap<String, String>,
    log: Vec<(String, bool)>,
    next: u64,
    writes: u64,
}

/// Records in memory, for trying and testing. Clones share their records.
#[derive(Clone)]
pub struct MemoryRecords {
    host: Host,
    table: Arc<Mutex<Table>>,
}

impl Debug for MemoryRecords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRecords").field("rows", &self.table().rows.len()).finish()
    }
}

impl MemoryRecords {
    /// No records; times are the host's.
    pub fn new(host: Host) -> Self {
        Self { host, table: Arc::default() }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes or changes a record as a user of the host.
    #[allow(clippy::needless_pass_by_value, reason = "fields are made for the call")]
    pub fn put(&self, id: &str, fields: Fields) {
        let now = self.host.now();
        self.table().put(id, &fields, now);
    }

    /// Deletes a record as a user of the host.
    pub fn remove(&self, id: &str) {
        let mut table = self.table();
        if table.rows.remove(id).is_some() {
            table.log.push((id.to_owned(), true));
        }
    }

    /// All records, by id.
    pub fn all(&self) -> Vec<(String, Fields)> {
        self.table().rows.iter().map(|(id, (fields, ..))| (id.clone(), fields.clone())).collect()
    }

    /// Writes that came by [`Records::write`] and changed something.
    pub fn writes(&self) -> u64 {
        self.table().writes
    }
}

impl Table {
    fn put(&mut self, id: &str, fields: &Fields, now: Timestamp) {
        let row = self.rows.entry(id.to_owned()).or_insert((Fields::new(), 0, now));
        for (name, value) in fields {
            match (row.0.get(name).cloned(), value) {
                (Some(Value::Object(mut old)), Value::Object(new)) => {
                    old.extend(new.clone());
                    row.0.insert(name, Value::Object(old));
                }
                _ => {
                    row.0.insert(name, value.clone());
                }
            }
        }
        (row.1, row.2) = (row.1 + 1, now);
        self.log.push((id.to_owned(), false));
    }

    fn record(&self, id: &str) -> Option<LocalRecord> {
        let (fields, version, at) = self.rows.get(id)?;
        let version = Some(Version::new(version.to_string()));
        Some(LocalRecord { id: id.to_owned(), fields: fields.clone(), version, modified_at: Some(*at), key: self.made_by.get(id).cloned() })
    }

    fn moved(&self, id: &str, expected: Option<&Version>) -> Option<Error> {
        let found = self.rows.get(id).map(|row| row.1.to_string());
        let moved = expected.is_some_and(|expected| found.as_deref() != Some(expected.as_str()));
        moved.then(|| Error::new(ErrorKind::Conflict, "the record was changed meanwhile").during("write"))
    }

    fn write(&mut self, write: &LocalWrite, now: Timestamp) -> Result<Option<LocalRecord>> {
        match write {
            LocalWrite::Create { key, fields } => {
                if let Some(id) = self.keys.get(key).filter(|id| self.rows.contains_key(*id)) {
                    return Ok(self.record(id));
                }
                self.next += 1;
                let id = format!("host-{}", self.next);
                self.keys.insert(key.clone(), id.clone());
                self.made_by.insert(id.clone(), key.clone());
                self.put(&id, fields, now);
                self.writes += 1;
                Ok(self.record(&id))
            }
            LocalWrite::Delete { id, expected } => {
                if !self.rows.contains_key(id) {
                    return Ok(None);
                }
                if let Some(error) = self.moved(id, expected.as_ref()) {
                    return Err(error);
                }
                self.rows.remove(id);
                self.log.push((id.clone(), true));
                self.writes += 1;
                Ok(None)
            }
            LocalWrite::Update { id, fields, expected } => {
                if !self.rows.contains_key(id) {
                    return Err(Error::new(ErrorKind::NotFound, "the record is gone").during("write"));
                }
                if let Some(error) = self.moved(id, expected.as_ref()) {
                    return Err(error);
                }
                self.put(id, fields, now);
                self.writes += 1;
                Ok(self.record(id))
            }
        }
    }
}

#[async_trait]
impl Records for MemoryRecords {
    async fn changed(&self, position: Option<&str>) -> Result<LocalChanges> {
        let table = self.table();
        let from = match position {
            None => 0,
            Some(text) => text.parse::<usize>().map_err(|_| Error::config("the position is not one of these records"))?,
        };
        let upto = table.log.len().min(from.saturating_add(PAGE));
        let mut changes = LocalChanges { position: upto.to_string(), more: upto < table.log.len(), ..LocalChanges::default() };
        let mut told = HashSet::new();
        for (id, deleted) in table.log.iter().take(upto).skip(from) {
            if told.insert((id, *deleted)) {
                if *deleted { &mut changes.deleted } else { &mut changes.changed }.push(id.clone());
            }
        }
        Ok(changes)
    }

    async fn read(&self, ids: &[&str]) -> Result<Vec<Option<LocalRecord>>> {
        let table = self.table();
        Ok(ids.iter().map(|id| table.record(id)).collect())
    }

    async fn write(&self, writes: &[LocalWrite]) -> Result<Vec<Result<Option<LocalRecord>>>> {
        let now = self.host.now();
        let mut table = self.table();
        Ok(writes.iter().map(|write| table.write(write, now)).collect())
    }

    async fn find(&self, field: &str, values: &[Value]) -> Result<Vec<Vec<String>>> {
        let table = self.table();
        let with = |value: &Value| {
            let text = value.as_str().map(str::trim).unwrap_or_default().to_lowercase();
            let has = |fields: &Fields| fields.text(field).is_some_and(|found| found.trim().to_lowercase() == text);
            table.rows.iter().filter(|(_, row)| !text.is_empty() && has(&row.0)).map(|(id, _)| id.clone()).collect()
        };
        Ok(values.iter().map(with).collect())
    }
}
