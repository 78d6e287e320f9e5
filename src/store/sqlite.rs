//! A store in a SQLite file.

use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::queue::{Settle, Settled, SqliteQueue, check_outcomes, settle_in};
use crate::sql::{Database, STORE, SqliteOptions, Synchronous, failure};
use crate::store::api::{Store, StoreCapabilities};
use crate::store::batch::{Batch, Conflict, Mutation, Row};
use crate::store::key::Key;

const FIND: &str = "SELECT value, version FROM crm_sync_store WHERE family = ?1 AND key = ?2 AND (expires IS NULL OR expires > ?3)";
const FIND_VERSION: &str = "SELECT version FROM crm_sync_store WHERE family = ?1 AND key = ?2 AND (expires IS NULL OR expires > ?3)";
const PUT: &str = "INSERT INTO crm_sync_store (family, key, value, version, expires) VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (family, key) DO UPDATE SET value = excluded.value, version = excluded.version, expires = excluded.expires";
const DELETE: &str = "DELETE FROM crm_sync_store WHERE family = ?1 AND key = ?2";
const SCAN_FROM: &str = "SELECT key, value, version FROM crm_sync_store \
    WHERE family = ?1 AND key >= ?2 AND (expires IS NULL OR expires > ?3) ORDER BY key";
const SCAN_AFTER: &str = "SELECT key, value, version FROM crm_sync_store \
    WHERE family = ?1 AND key > ?2 AND (expires IS NULL OR expires > ?3) ORDER BY key";
/// A commit clears away a bounded number of expired rows, so that no commit is slow because of old ones.
const SWEEP: &str = "DELETE FROM crm_sync_store WHERE rowid IN (SELECT rowid FROM crm_sync_store WHERE expires <= ?1 LIMIT 1000)";

/// Keeps everything in one SQLite file in WAL mode; several processes of one machine may share it.
///
/// With the default options an acknowledged commit survives a power cut; see [`Synchronous`] for the faster choice. SQLite
/// has one writer at a time: batches of some hundred puts are quick, single puts cost a disk flush each. Calls run through
/// [`Host::offload`]; work that has begun is finished even if the future is dropped. Store time is the host's clock.
///
/// The file is made readable by its owner alone. Nothing in it is encrypted. If it is deleted, moved or replaced while it is open,
/// every call is a loud [`crate::error::ErrorKind::Store`] that is not retried (on Unix); see [`SqliteStore::generation`] for one
/// that is gone at the next start.
#[derive(Clone, Debug)]
pub struct SqliteStore {
    database: Database,
}

impl SqliteStore {
    /// Opens or makes the file at `path`; its folder must exist. `:memory:` makes a store that ends with its last clone.
    /// Opens the file on the calling thread. Call [`SqliteStore::migrate`] before the first use.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the file cannot be opened or is not a SQLite database;
    /// [`crate::error::ErrorKind::Config`] if its file system does not allow WAL mode.
    pub fn open(path: impl AsRef<Path>, host: Host) -> Result<Self> {
        Self::open_with(path, host, &SqliteOptions::default())
    }

    /// As [`SqliteStore::open`], with options.
    ///
    /// # Errors
    /// As [`SqliteStore::open`].
    pub fn open_with(path: impl AsRef<Path>, host: Host, options: &SqliteOptions) -> Result<Self> {
        Ok(Self { database: Database::open(path.as_ref(), host, options)? })
    }

    /// Makes or updates the tables. Does nothing if they are up to date; safe to call from several processes at once.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the tables are newer than this version of the library;
    /// [`crate::error::ErrorKind::Store`] if the database fails. Nothing is changed then.
    pub async fn migrate(&self) -> Result<()> {
        self.database.migrate(STORE).await
    }

    /// A mark the file got when its first tables were made. A host that keeps it elsewhere and gives it back in
    /// [`SqliteOptions::generation`] is told, also after its own restart, when the file was replaced by an empty one.
    ///
    /// # Errors
    /// As all calls of a store.
    pub async fn generation(&self) -> Result<String> {
        self.database.generation(STORE).await
    }

    /// The queue in the same file, over the same connection. Call [`SqliteQueue::migrate`] before its first use.
    pub fn queue(&self) -> SqliteQueue {
        SqliteQueue::on(self.database.clone())
    }

    /// [`Store::commit`] and [`crate::queue::Queue::settle`] of a queue in the same file, in one transaction: what was written
    /// and what is thereby finished are there together or not at all.
    ///
    /// # Errors
    /// As [`Store::commit`]; and [`crate::error::ErrorKind::Queue`], never retryable, if one of the leases has ended. Nothing
    /// was changed then, neither in the store nor in the queue.
    pub async fn commit_settling(&self, batch: Batch, outcomes: Vec<Settle>) -> Result<Vec<u64>> {
        check_outcomes(outcomes.len())?;
        self.database.run_at_leisure(STORE, move |connection, host| commit(connection, host, batch, &outcomes)).await
    }

    /// Lets SQLite check the whole file; takes seconds for large ones.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if it is damaged or cannot be read.
    pub async fn check(&self) -> Result<()> {
        let found = self.database.integrity().await?;
        match found.first() {
            None => Ok(()),
            Some(first) => {
                Err(Error::store(format!("the database is damaged in {} places; the first: {first}", found.len())).retrying(Retry::Never))
            }
        }
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
        self.database.run_at_leisure(STORE, move |connection, host| commit(connection, host, batch, &[])).await
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let keys = keys.to_vec();
        self.database.run(STORE, move |connection, host| load(connection, host, &keys).map_err(|error| failure(READ, error))).await
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
        // A key of an earlier family, or before the prefix, excludes nothing; one of a later family excludes all.
        let after = match after {
            Some(after) if after < prefix => None,
            Some(after) if after.family != prefix.family => return Ok(Vec::new()),
            after => after.cloned(),
        };
        let prefix = prefix.clone();
        self.database
            .run(STORE, move |connection, host| {
                scan(connection, host, &prefix, after.as_ref(), limit).map_err(|error| failure(READ, error))
            })
            .await
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.database.host().now())
    }

    fn capabilities(&self) -> StoreCapabilities {
        let durable = !self.database.in_memory();
        StoreCapabilities { durable, survives_power_loss: durable && self.database.synchronous() == Synchronous::Full, shared: durable }
    }
}

const READ: &str = "could not read from the store";
const WRITE: &str = "could not write to the store";

fn commit(connection: &mut Connection, host: &Host, batch: Batch, outcomes: &[Settle]) -> Result<Vec<u64>> {
    // Reading first and writing later in a deferred transaction fails at once when another process wrote in between.
    let behavior =
        if batch.mutations().is_empty() && outcomes.is_empty() { TransactionBehavior::Deferred } else { TransactionBehavior::Immediate };
    let transaction = connection.transaction_with_behavior(behavior).map_err(|error| failure(WRITE, error))?;
    // The time counts from when the turn came, not from before the wait.
    let now = host.now().as_microsecond();
    if let Some(key) = failed_precondition(&transaction, &batch, now).map_err(|error| failure(READ, error))? {
        return Err(Conflict::new(key).into());
    }
    if let Some(at) = settle_in(&transaction, outcomes, now)?.iter().position(|settled| *settled == Settled::LeaseLost) {
        let message = format!("lease {at} of {} has ended, so nothing was committed; the lane is worked by somebody else", outcomes.len());
        return Err(Error::new(ErrorKind::Queue, message).retrying(Retry::Never));
    }
    let versions = apply(&transaction, batch, now).map_err(|error| failure(WRITE, error))?;
    transaction.commit().map_err(|error| {
        // Only a failing disk leaves the fate of a commit open; a refused one is rolled back.
        let open = error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
        let failed = failure(WRITE, error);
        if open { failed.ambiguous() } else { failed }
    })?;
    versions.into_iter().map(unsigned).collect()
}

fn failed_precondition(connection: &Connection, batch: &Batch, now: i64) -> rusqlite::Result<Option<Key>> {
    if batch.preconditions().is_empty() {
        return Ok(None);
    }
    let mut find = connection.prepare_cached(FIND_VERSION)?;
    for precondition in batch.preconditions() {
        let key = precondition.key();
        let found: Option<i64> = find.query_row(params![key.family.as_str(), key.key, now], |row| row.get(0)).optional()?;
        if !precondition.holds(found.and_then(|version| u64::try_from(version).ok())) {
            return Ok(Some(key.clone()));
        }
    }
    Ok(None)
}

fn apply(connection: &Connection, batch: Batch, now: i64) -> rusqlite::Result<Vec<i64>> {
    if batch.mutations().is_empty() {
        return Ok(Vec::new());
    }
    connection.prepare_cached(SWEEP)?.execute([now])?;
    let mut version: i64 =
        connection.prepare_cached("SELECT last FROM crm_sync_store_version WHERE id = 1")?.query_row([], |row| row.get(0))?;
    let mut put = connection.prepare_cached(PUT)?;
    let mut delete = connection.prepare_cached(DELETE)?;
    let mut versions = Vec::with_capacity(batch.len());
    for mutation in batch.into_mutations() {
        match mutation {
            Mutation::Put { key, value, expires } => {
                version += 1;
                let expires = expires.map(Timestamp::as_microsecond);
                put.execute(params![key.family.as_str(), key.key, value.as_ref(), version, expires])?;
                versions.push(version);
            }
            Mutation::Delete(key) => {
                delete.execute(params![key.family.as_str(), key.key])?;
            }
        }
    }
    if !versions.is_empty() {
        connection.prepare_cached("UPDATE crm_sync_store_version SET last = ?1 WHERE id = 1")?.execute([version])?;
    }
    Ok(versions)
}

fn load(connection: &mut Connection, host: &Host, keys: &[Key]) -> rusqlite::Result<Vec<Option<Row>>> {
    // One transaction: all rows are of one state.
    let transaction = connection.transaction()?;
    let now = host.now().as_microsecond();
    let mut rows = Vec::with_capacity(keys.len());
    {
        let mut find: CachedStatement<'_> = transaction.prepare_cached(FIND)?;
        for key in keys {
            rows.push(find.query_row(params![key.family.as_str(), key.key, now], |row| stored(row, 0)).optional()?);
        }
    }
    transaction.finish()?;
    Ok(rows)
}

fn scan(connection: &Connection, host: &Host, prefix: &Key, after: Option<&Key>, limit: usize) -> rusqlite::Result<Vec<(Key, Row)>> {
    let now = host.now().as_microsecond();
    let (sql, from) = match after {
        Some(after) => (SCAN_AFTER, &after.key),
        None => (SCAN_FROM, &prefix.key),
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![prefix.family.as_str(), from, now])?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let key = Key { family: prefix.family, key: row.get(0)? };
        if !key.starts_with(prefix) {
            break;
        }
        found.push((key, stored(row, 1)?));
    }
    Ok(found)
}

fn stored(row: &rusqlite::Row<'_>, at: usize) -> rusqlite::Result<Row> {
    let value: Vec<u8> = row.get(at)?;
    let version: i64 = row.get(at + 1)?;
    Ok(Row { value: Bytes::from(value), version: version.unsigned_abs() })
}

fn unsigned(version: i64) -> Result<u64> {
    u64::try_from(version).map_err(|_| Error::store("the store's versions are damaged: one is negative").retrying(Retry::Never))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Family;
    use std::time::Duration;

    fn key(name: &str) -> Key {
        Key::new(Family::Inbox, &[name])
    }

    async fn open(path: &Path, host: &Host) -> SqliteStore {
        let options = SqliteOptions::default().busy_timeout(Duration::from_millis(20));
        let store = SqliteStore::open_with(path, host.clone(), &options).unwrap();
        store.migrate().await.unwrap();
        store
    }

    #[tokio::test]
    async fn a_commit_clears_expired_rows_away() {
        let (host, clock) = Host::manual_with_clock(1);
        let store = open(Path::new(":memory:"), &host).await;
        let mut batch = Batch::new();
        for number in 0..1500 {
            batch.put_until(key(&number.to_string()), "1", host.now() + Duration::from_secs(1));
        }
        batch.put(key("ever"), "1");
        store.commit(batch).await.unwrap();
        let rows = || {
            let sql = "SELECT count(*) FROM crm_sync_store";
            store
                .database
                .run(STORE, move |connection, _| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|e| failure(READ, e)))
        };
        assert_eq!(rows().await.unwrap(), 1501);
        clock.advance(Duration::from_secs(1));
        for left in [501, 1] {
            let mut batch = Batch::new();
            batch.put(key("ever"), "2");
            store.commit(batch).await.unwrap();
            assert_eq!(rows().await.unwrap(), left);
        }
    }

    #[tokio::test]
    async fn a_writer_that_does_not_end_is_a_failure_that_may_pass() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared.db");
        let host = Host::manual(1);
        let (here, there) = (open(&path, &host).await, open(&path, &host).await);
        let run = |sql: &'static str| {
            there.database.run(STORE, move |connection, _| connection.execute_batch(sql).map_err(|e| failure(WRITE, e)))
        };
        run("BEGIN IMMEDIATE").await.unwrap();
        let mut batch = Batch::new();
        batch.insert(key("a"), "1").unwrap();
        let error = here.commit(batch.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.retry(), error.may_have_applied()), (ErrorKind::Store, Retry::Backoff, false));
        // Readers do not wait for a writer.
        assert!(here.load(&key("a")).await.unwrap().is_none());
        run("ROLLBACK").await.unwrap();
        here.commit(batch).await.unwrap();
        assert!(there.load(&key("a")).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn damage_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("damaged.db");
        let host = Host::manual(1);
        let store = open(&path, &host).await;
        let mut batch = Batch::new();
        for number in 0..2000 {
            batch.put(key(&number.to_string()), "x".repeat(100));
        }
        store.commit(batch).await.unwrap();
        store.check().await.unwrap();
        drop(store);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 8192].fill(0xFF);
        std::fs::write(&path, bytes).unwrap();
        let error = open(&path, &host).await.check().await.unwrap_err();
        assert!(error.kind() == ErrorKind::Store && !error.is_retryable() && error.to_string().contains("damaged"), "{error}");
    }
}
