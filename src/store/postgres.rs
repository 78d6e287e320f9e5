//! A store in the host's PostgreSQL database.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;
use sqlx::postgres::{PgConnection, PgPool};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::queue::{PostgresQueue, Settle, Settled};
use crate::sql::{PostgresOptions, PostgresSchema, PostgresTables, micros, wait_for_disk};
use crate::store::api::{Store, StoreCapabilities};
use crate::store::batch::{Batch, Conflict, Mutation, Row};
use crate::store::key::Key;

const SCHEMA: PostgresSchema = PostgresSchema {
    component: "store",
    kind: ErrorKind::Store,
    steps: &["
        CREATE TABLE crm_sync_store (
            family  text   COLLATE \"C\" NOT NULL,
            key     text   COLLATE \"C\" NOT NULL,
            value   bytea  NOT NULL,
            version bigint NOT NULL,
            expires bigint,
            PRIMARY KEY (family, key)
        );
        CREATE INDEX crm_sync_store_expires ON crm_sync_store (expires) WHERE expires IS NOT NULL;
        CREATE SEQUENCE crm_sync_store_version;
    "],
};

/// Rows are guarded by stripes, not one by one: a row that is not there cannot be locked, and the server's memory for locks is
/// small and shared with the host.
const STRIPES: u64 = 64;
const LOCK_CLASS: i32 = 0x6372_6D73;

const READ: &str = "could not read from the store";
const WRITE: &str = "could not write to the store";

/// Every so many commits one clears away a bounded number of expired rows.
const SWEEP_EVERY: u64 = 32;
const SWEEP: &str = "DELETE FROM crm_sync_store WHERE ctid = ANY (ARRAY(\
    SELECT ctid FROM crm_sync_store WHERE expires <= $1 LIMIT 1000 FOR UPDATE SKIP LOCKED))";
const LOCK: &str = concat!(
    "SELECT locks.held, ",
    micros!(),
    ", (SELECT generation FROM crm_sync_schema WHERE component = 'store'), current_setting('transaction_isolation'), ",
    wait_for_disk!(),
    " FROM (SELECT count(pg_advisory_xact_lock($1, stripe)) AS held FROM unnest($2::int[]) AS stripe) AS locks"
);
const FIND: &str = concat!(
    "SELECT wanted.place, stored.value, stored.version \
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS wanted (family, key, place) \
    JOIN crm_sync_store AS stored ON stored.family = wanted.family AND stored.key = wanted.key \
    WHERE stored.expires IS NULL OR stored.expires > (SELECT ",
    micros!(),
    ")"
);
const NOW: &str = concat!("SELECT ", micros!());
const CHECK: &str = "SELECT \
    ARRAY(SELECT nextval('crm_sync_store_version') FROM generate_series(1, $1)), \
    ARRAY(SELECT coalesce(stored.version, 0) \
        FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS wanted (family, key, place) \
        LEFT JOIN crm_sync_store AS stored \
            ON stored.family = wanted.family AND stored.key = wanted.key AND (stored.expires IS NULL OR stored.expires > $4) \
        ORDER BY wanted.place)";
const WRITE_ROWS: &str = "WITH gone AS (\
        DELETE FROM crm_sync_store AS stored USING unnest($1::text[], $2::text[]) AS gone (family, key) \
        WHERE stored.family = gone.family AND stored.key = gone.key) \
    INSERT INTO crm_sync_store (family, key, value, version, expires) \
    SELECT * FROM unnest($3::text[], $4::text[], $5::bytea[], $6::bigint[], $7::bigint[]) \
    ON CONFLICT (family, key) DO UPDATE SET value = excluded.value, version = excluded.version, expires = excluded.expires";
const SCAN: &str = concat!(
    "SELECT key, value, version FROM crm_sync_store \
    WHERE family = $1 AND key >= $2 AND ($3::text IS NULL OR key > $3) AND ($4::text IS NULL OR key < $4) \
    AND (expires IS NULL OR expires > (SELECT ",
    micros!(),
    ")) ORDER BY key LIMIT $5"
);

/// Keeps everything in tables of the host's PostgreSQL database (14 or newer); any number of processes may share it.
///
/// The tables begin with `crm_sync_` and stand in the first schema of the connections' `search_path`; what they hold is
/// private to this crate and not encrypted. Store time is the server's clock. An acknowledged commit is on the server's disk:
/// a role's `synchronous_commit = off` is overruled, the server's own `fsync = off` cannot be and is reported by
/// [`PostgresStore::migrate`]. Commits that touch the same rows wait for each other; one of some hundred rows is one
/// transaction of three statements.
///
/// A dropped future rolls its transaction back, unless the commit itself was under way. The pool is the host's: its size, its
/// TLS and its limits.
#[derive(Clone, Debug)]
pub struct PostgresStore {
    tables: PostgresTables,
    commits: Arc<AtomicU64>,
}

impl PostgresStore {
    /// A store on `pool`. Nothing is sent yet. Call [`PostgresStore::migrate`] before the first use.
    pub fn new(pool: PgPool, host: Host) -> Self {
        Self::with_options(pool, host, PostgresOptions::default())
    }

    /// As [`PostgresStore::new`], with options.
    pub fn with_options(pool: PgPool, host: Host, options: PostgresOptions) -> Self {
        Self { tables: PostgresTables::new(pool, host, options, SCHEMA), commits: Arc::default() }
    }

    /// Makes or updates the tables. Does nothing if they are up to date; safe to call from several processes at once.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the tables are newer than this version of the library, or if the server runs with
    /// `fsync = off`; [`ErrorKind::Store`] if the server fails or lost the tables this store has used. Nothing is changed then.
    pub async fn migrate(&self) -> Result<()> {
        let fsync: (String,) = self
            .tables
            .bounded(READ, async {
                sqlx::query_as("SHOW fsync").fetch_one(self.tables.pool()).await.map_err(|error| self.tables.failure(READ, error))
            })
            .await?;
        if fsync.0 == "off" {
            return Err(Error::config("the server runs with fsync = off and may lose what it acknowledged; turn it on for a store"));
        }
        self.tables.migrate().await
    }

    /// A mark the tables got when they were made. A host that keeps it elsewhere and gives it back in
    /// [`PostgresOptions::generation`] is told, also after its own restart, when the database was replaced by an empty one.
    ///
    /// # Errors
    /// As [`Store::load_many`].
    pub async fn generation(&self) -> Result<String> {
        self.tables.ask_generation().await
    }

    /// As [`Store::commit`], inside the transaction `connection` is in: the batch happens with the host's own changes or not at
    /// all. Commit that transaction soon: others who touch the same rows wait for it. It must be READ COMMITTED, the
    /// server's default. Outside a transaction the batch is one by itself.
    ///
    /// # Errors
    /// As [`Store::commit`]; the transaction goes on without the batch then.
    pub async fn commit_in(&self, connection: &mut PgConnection, batch: Batch) -> Result<Vec<u64>> {
        self.tables
            .bounded(WRITE, async {
                let mut inner = self.tables.nested(connection, WRITE).await?;
                let versions = self.apply(&mut inner, batch, false).await?;
                inner.commit().await.map_err(|error| self.tables.failure(WRITE, error))?;
                Ok(versions)
            })
            .await
    }

    /// Commits `batch` and ends leases of a queue in the same database, both or neither: work that is recorded is settled, and
    /// work that is settled is recorded. `None` if a lease was lost: then nothing was changed, somebody else has its work.
    ///
    /// # Errors
    /// As [`Store::commit`] and [`crate::queue::Queue::settle`]; nothing was changed then, unless `may_have_applied()`.
    pub async fn commit_and_settle(&self, batch: Batch, queue: &PostgresQueue, outcomes: Vec<Settle>) -> Result<Option<Vec<u64>>> {
        let (transaction, versions) = self
            .tables
            .bounded(WRITE, async {
                let mut transaction = self.tables.begin(WRITE).await?;
                // The queue first, in the order in which a settle alone would lock.
                let settled = queue.settle_in(&mut transaction, outcomes).await?;
                if settled.contains(&Settled::LeaseLost) {
                    return Ok((transaction, None));
                }
                let versions = self.apply(&mut transaction, batch, false).await?;
                Ok((transaction, Some(versions)))
            })
            .await?;
        if versions.is_some() {
            self.tables.commit(transaction, WRITE).await?;
        }
        Ok(versions)
    }

    async fn apply(&self, connection: &mut PgConnection, batch: Batch, may_sweep: bool) -> Result<Vec<u64>> {
        let wrap = |error| self.tables.failure(WRITE, error);
        // The time counts from when the turn came, not from before the wait.
        let (_, now, generation, isolation, _): (i64, i64, Option<String>, String, String) =
            sqlx::query_as(LOCK).bind(LOCK_CLASS).bind(stripes(&batch)).fetch_one(&mut *connection).await.map_err(wrap)?;
        self.tables.expect_generation(generation.as_deref().unwrap_or("none"))?;
        if isolation != "read committed" {
            return Err(Error::config(format!(
                "{WRITE}: the host's transaction is {isolation}, so it would not see what others committed since it began; use READ COMMITTED"
            )));
        }

        let puts = batch.mutations().iter().filter(|mutation| matches!(mutation, Mutation::Put { .. })).count();
        let (families, keys): (Vec<&str>, Vec<&str>) = batch.preconditions().iter().map(|condition| parts(condition.key())).unzip();
        let (versions, found): (Vec<i64>, Vec<i64>) = sqlx::query_as(CHECK)
            .bind(i64::try_from(puts).unwrap_or(i64::MAX))
            .bind(families)
            .bind(keys)
            .bind(now)
            .fetch_one(&mut *connection)
            .await
            .map_err(wrap)?;
        for (condition, found) in batch.preconditions().iter().zip(found) {
            // A version is at least 1.
            if !condition.holds(u64::try_from(found).ok().filter(|version| *version > 0)) {
                return Err(Conflict::new(condition.key().clone()).into());
            }
        }
        if !batch.mutations().is_empty() {
            Rows::of(batch.mutations(), &versions).write(connection).await.map_err(wrap)?;
            if may_sweep && self.commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
                // Last, so that whoever waits for one of these rows waits only for the commit.
                sqlx::query(SWEEP).bind(now).execute(connection).await.map_err(wrap)?;
            }
        }
        versions.into_iter().map(unsigned).collect()
    }
}

/// What a batch comes to: each key once.
#[derive(Default)]
struct Rows<'a> {
    gone: (Vec<&'a str>, Vec<&'a str>),
    put: (Vec<&'a str>, Vec<&'a str>),
    values: Vec<&'a [u8]>,
    versions: Vec<i64>,
    expires: Vec<Option<i64>>,
}

impl<'a> Rows<'a> {
    fn of(mutations: &'a [Mutation], versions: &[i64]) -> Self {
        let mut versions = versions.iter().copied();
        let mut last: HashMap<&Key, (&Mutation, i64)> = HashMap::with_capacity(mutations.len());
        for mutation in mutations {
            let version = if matches!(mutation, Mutation::Put { .. }) { versions.next().unwrap_or(0) } else { 0 };
            last.insert(mutation.key(), (mutation, version));
        }
        let mut rows = Self::default();
        for (key, (mutation, version)) in last {
            let (family, text) = parts(key);
            match mutation {
                Mutation::Put { value, expires, .. } => {
                    rows.put.0.push(family);
                    rows.put.1.push(text);
                    rows.values.push(value);
                    rows.versions.push(version);
                    rows.expires.push(expires.map(Timestamp::as_microsecond));
                }
                Mutation::Delete(_) => {
                    rows.gone.0.push(family);
                    rows.gone.1.push(text);
                }
            }
        }
        rows
    }

    async fn write(self, connection: &mut PgConnection) -> sqlx::Result<()> {
        sqlx::query(WRITE_ROWS)
            .bind(self.gone.0)
            .bind(self.gone.1)
            .bind(self.put.0)
            .bind(self.put.1)
            .bind(self.values)
            .bind(self.versions)
            .bind(self.expires)
            .execute(connection)
            .await?;
        Ok(())
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (transaction, versions) = self
            .tables
            .bounded(WRITE, async {
                let mut transaction = self.tables.begin(WRITE).await?;
                let versions = self.apply(&mut transaction, batch, true).await?;
                Ok((transaction, versions))
            })
            .await?;
        self.tables.commit(transaction, WRITE).await?;
        Ok(versions)
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let mut rows = vec![None; keys.len()];
        if keys.is_empty() {
            return Ok(rows);
        }
        let (families, texts): (Vec<&str>, Vec<&str>) = keys.iter().map(parts).unzip();
        let found: Vec<(i64, Vec<u8>, i64)> = self
            .tables
            .bounded(READ, async {
                let wrap = |error| self.tables.failure(READ, error);
                let mut connection = self.tables.connection(READ).await?;
                sqlx::query_as(FIND).bind(families).bind(texts).fetch_all(&mut *connection).await.map_err(wrap)
            })
            .await?;
        for (place, value, version) in found {
            let slot = usize::try_from(place - 1).ok().and_then(|place| rows.get_mut(place));
            if let Some(slot) = slot {
                *slot = Some(Row { value: Bytes::from(value), version: unsigned(version)? });
            }
        }
        Ok(rows)
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
        // A key of an earlier family, or before the prefix, excludes nothing; one of a later family excludes all.
        let after = match after {
            Some(after) if after < prefix => None,
            Some(after) if after.family != prefix.family => return Ok(Vec::new()),
            after => after,
        };
        let found: Vec<(String, Vec<u8>, i64)> = self
            .tables
            .bounded(READ, async {
                let mut connection = self.tables.connection(READ).await?;
                sqlx::query_as(SCAN)
                    .bind(prefix.family.as_str())
                    .bind(&prefix.key)
                    .bind(after.map(|after| after.key.as_str()))
                    .bind(end_of(&prefix.key))
                    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
                    .fetch_all(&mut *connection)
                    .await
                    .map_err(|error| self.tables.failure(READ, error))
            })
            .await?;
        found
            .into_iter()
            .map(|(key, value, version)| {
                Ok((Key { family: prefix.family, key }, Row { value: Bytes::from(value), version: unsigned(version)? }))
            })
            .collect()
    }

    async fn now(&self) -> Result<Timestamp> {
        let micros: i64 = self
            .tables
            .bounded(READ, async {
                sqlx::query_scalar(NOW).fetch_one(self.tables.pool()).await.map_err(|error| self.tables.failure(READ, error))
            })
            .await?;
        Timestamp::from_microsecond(micros)
            .map_err(|error| Error::store("the server's clock is out of range").retrying(Retry::Never).with_source(error))
    }

    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities { durable: true, survives_power_loss: true, shared: true }
    }
}

fn parts(key: &Key) -> (&str, &str) {
    (key.family.as_str(), &key.key)
}

/// The least text that is greater than all that begin with `prefix`, in the order of bytes; `None` if there is no end.
///
/// [`Key`] ends its prefixes with `/`, whose successor is `0`.
fn end_of(prefix: &str) -> Option<String> {
    prefix.strip_suffix('/').map(|start| format!("{start}0"))
}

/// The stripes a batch touches, in the order in which everybody takes them. Other versions of this library must come to the
/// same stripes, so the hash is spelled out.
fn stripes(batch: &Batch) -> Vec<i32> {
    let keys = batch.preconditions().iter().map(|condition| condition.key()).chain(batch.mutations().iter().map(Mutation::key));
    let stripes: BTreeSet<u64> = keys
        .map(|key| {
            let mut hasher = Fnv::default();
            hasher.write(key.family.as_str().as_bytes());
            hasher.write(key.key.as_bytes());
            hasher.finish() % STRIPES
        })
        .collect();
    stripes.into_iter().filter_map(|stripe| i32::try_from(stripe).ok()).collect()
}

/// FNV-1a (<http://www.isthe.com/chongo/tech/comp/fnv/>).
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        // The low bits of FNV alone are weak.
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

fn unsigned(version: i64) -> Result<u64> {
    u64::try_from(version).map_err(|_| Error::store("the store's versions are damaged: one is negative").retrying(Retry::Never))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::key::Family;

    #[test]
    fn stripes_are_few_sorted_and_spread() {
        let mut batch = Batch::new();
        for number in 0..1000 {
            batch.put(Key::new(Family::Base, &["acme", &number.to_string()]), "1");
        }
        let all = stripes(&batch);
        assert_eq!(all, (0..64).collect::<Vec<i32>>());
        let mut one = Batch::new();
        one.require_absent(Key::new(Family::Locks, &["a"])).put(Key::new(Family::Locks, &["a"]), "1");
        assert_eq!(stripes(&one).len(), 1);
    }

    #[test]
    fn a_prefix_ends_where_its_parts_do() {
        let prefix = Key::new(Family::Base, &["acme", "Lead"]);
        let end = end_of(&prefix.key).unwrap();
        assert!(prefix.child("\u{10FFFF}").key < end && Key::new(Family::Base, &["acme", "Leads"]).key > end);
        assert_eq!(end_of(""), None);
    }

    #[test]
    fn of_two_changes_to_a_key_the_later_is_written() {
        let (a, b) = (Key::new(Family::Base, &["a"]), Key::new(Family::Base, &["b"]));
        let mut batch = Batch::new();
        batch.put(a.clone(), "1").put(b.clone(), "2").put(a.clone(), "3").delete(b);
        let rows = Rows::of(batch.mutations(), &[10, 11, 12]);
        assert_eq!((rows.put.1, rows.values, rows.versions), (vec![a.key.as_str()], vec![b"3".as_slice()], vec![12]));
        assert_eq!(rows.gone.1, ["b/"]);
    }
}
