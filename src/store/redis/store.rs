//! The store: one script per batch.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use jiff::Timestamp;
use redis::Script;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::sql::{RedisConnection, RedisKeys, RedisOptions, RedisSchema};
use crate::store::api::{Store, StoreCapabilities};
use crate::store::batch::{Batch, Conflict, Mutation, Precondition, Row};
use crate::store::key::{Family, Key};
use crate::store::redis::rows;

const SCHEMA: RedisSchema = RedisSchema { component: "store", kind: ErrorKind::Store, version: 1 };

static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("commit.lua")));
static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("load.lua")));
static SCAN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scan.lua")));

const READ: &str = "could not read from the store";
const WRITE: &str = "could not write to the store";

/// Keeps everything on a Redis server (6 or newer, or Valkey); any number of processes may share it.
///
/// The host brings the connection. Each batch is one script, so it is atomic and alone; all keys are on one node of a cluster.
/// Store time is the server's clock. Everything stays in the server's memory, a row costs about 250 bytes more than its key and
/// value; nothing is encrypted.
///
/// [`RedisStore::open`] refuses a server that may lose what it acknowledged unless [`RedisOptions::accept_loss`] is set. A
/// server that lost its data, or went back behind a version this handle has seen, is a loud [`ErrorKind::Store`] that is not
/// retried. A failover to a replica can still lose the last writes, as Redis replicates after it acknowledges; what this handle
/// has seen is then missed.
///
/// A dropped future leaves the batch wholly done or not begun.
#[derive(Clone)]
pub struct RedisStore<C> {
    keys: RedisKeys<C>,
    /// The newest version this handle knows; the server must not be behind it.
    newest: Arc<AtomicU64>,
}

impl<C> fmt::Debug for RedisStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl<C: RedisConnection> RedisStore<C> {
    /// A store on the server behind `connection`. Asks the server for its settings. Call [`RedisStore::migrate`] before the first
    /// use.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the server may lose what it acknowledged and that is not accepted, or if its keys are of another
    /// version; [`ErrorKind::Store`] if it cannot be asked or has another generation than the one wanted.
    pub async fn open(connection: C, host: Host) -> Result<Self> {
        Self::open_with(connection, host, RedisOptions::default()).await
    }

    /// As [`RedisStore::open`], with options.
    ///
    /// # Errors
    /// As [`RedisStore::open`].
    pub async fn open_with(connection: C, host: Host, options: RedisOptions) -> Result<Self> {
        Ok(Self { keys: RedisKeys::open(connection, host, options, SCHEMA).await?, newest: Arc::default() })
    }

    /// Marks the keys as this library's. Does nothing if that was done; safe to call from several processes at once.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the keys are of another version; [`ErrorKind::Store`] if the server fails or lost the data this
    /// store has used.
    pub async fn migrate(&self) -> Result<()> {
        self.keys.migrate().await
    }

    /// A mark the data got when the store was prepared. A host that keeps it elsewhere and gives it back in
    /// [`RedisOptions::generation`] is told, also after its own restart, when the server has lost its data.
    ///
    /// # Errors
    /// As [`Store::load_many`].
    pub async fn generation(&self) -> Result<String> {
        Ok(self.keys.generation().await?.to_owned())
    }
}

/// The families of a call, each with its number in the script.
#[derive(Default)]
struct Families(Vec<Family>);

impl Families {
    fn number(&mut self, family: Family) -> usize {
        let found = self.0.iter().position(|known| *known == family);
        found.unwrap_or_else(|| {
            self.0.push(family);
            self.0.len() - 1
        }) + 1
    }
}

#[async_trait]
impl<C: RedisConnection> Store for RedisStore<C> {
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let newest = self.newest.load(Ordering::Acquire);
        let mut invocation = COMMIT.arg(self.keys.generation().await?);
        invocation.arg(newest).arg(batch.preconditions().len()).arg(batch.mutations().len());
        let mut families = Families::default();
        for condition in batch.preconditions() {
            let key = condition.key();
            invocation.arg(families.number(key.family)).arg(&key.key);
            match condition {
                Precondition::Absent(_) => invocation.arg(""),
                Precondition::Version(_, version) => invocation.arg(*version),
            };
        }
        let mut puts = 0;
        for mutation in batch.mutations() {
            let key = mutation.key();
            invocation.arg(families.number(key.family)).arg(&key.key);
            match mutation {
                Mutation::Put { value, expires, .. } => {
                    puts += 1;
                    match expires {
                        Some(at) => invocation.arg(at.as_microsecond()),
                        None => invocation.arg(""),
                    };
                    invocation.arg(value.as_ref());
                }
                Mutation::Delete(_) => {
                    invocation.arg("d").arg("");
                }
            }
        }
        invocation.key(self.keys.key("meta"));
        for family in &families.0 {
            for part in ["rows", "index", "ends"] {
                invocation.key(self.keys.key(&format!("{part}:{family}")));
            }
        }
        let (done, number): (u8, u64) = self.keys.write(WRITE, &invocation).await?;
        if done == 0 {
            let place = usize::try_from(number).unwrap_or(0).wrapping_sub(1);
            let culprit = batch.preconditions().get(place).map(|condition| condition.key().clone());
            return Err(culprit
                .map_or_else(|| Error::store("the store on Redis refused a batch and does not say why"), |key| Conflict::new(key).into()));
        }
        self.newest.fetch_max(number, Ordering::AcqRel);
        Ok((number - puts + 1..=number).collect())
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut invocation = LOAD.arg(self.keys.generation().await?);
        let mut families = Families::default();
        for key in keys {
            invocation.arg(families.number(key.family)).arg(&key.key);
        }
        invocation.key(self.keys.key("meta"));
        for family in &families.0 {
            invocation.key(self.keys.key(&format!("rows:{family}")));
        }
        let found: Vec<Option<Vec<u8>>> = self.keys.run(READ, &invocation).await?;
        let mut found = found.into_iter();
        let now: i64 = found
            .next()
            .flatten()
            .and_then(|now| std::str::from_utf8(&now).ok()?.parse().ok())
            .ok_or_else(|| Error::store("the store on Redis does not tell its time").retrying(Retry::Never))?;
        found
            .map(|raw| {
                let Some(raw) = raw else { return Ok(None) };
                let (row, ends) = rows::parse(raw)?;
                Ok(Some(row).filter(|_| ends.is_none_or(|at| at > now)))
            })
            .collect()
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
        // A key of an earlier family, or before the prefix, excludes nothing; one of a later family excludes all.
        let after = match after {
            Some(after) if after < prefix => None,
            Some(after) if after.family != prefix.family => return Ok(Vec::new()),
            after => after,
        };
        let mut found = Vec::new();
        let mut from = after.map(|after| after.key.clone());
        // Pages, so that neither a script nor an answer is large.
        while found.len() < limit {
            let page = (limit - found.len()).min(1000);
            let mut invocation = SCAN.arg(self.keys.generation().await?);
            invocation.arg(&prefix.key).arg(from.as_deref().unwrap_or("")).arg(page);
            invocation.key(self.keys.key("meta"));
            for part in ["rows", "index"] {
                invocation.key(self.keys.key(&format!("{part}:{}", prefix.family)));
            }
            let rows: Vec<(String, Vec<u8>)> = self.keys.run(READ, &invocation).await?;
            let full = rows.len() == page;
            for (key, raw) in rows {
                found.push((Key { family: prefix.family, key }, rows::parse(raw)?.0));
            }
            from = found.last().map(|(key, _)| key.key.clone());
            if !full {
                break;
            }
        }
        Ok(found)
    }

    async fn now(&self) -> Result<Timestamp> {
        Timestamp::from_microsecond(self.keys.micros(READ).await?)
            .map_err(|error| Error::store("the server's clock is out of range").retrying(Retry::Never).with_source(error))
    }

    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities { durable: self.keys.logged(), survives_power_loss: self.keys.flushed(), shared: true }
    }
}
