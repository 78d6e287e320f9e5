//! A store in memory: for tests, for one-off runs, and as the model the others are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use jiff::Timestamp;

use crate::error::Result;
use crate::host::Host;
use crate::store::api::{Store, StoreCapabilities};
use crate::store::batch::{Batch, Conflict, Mutation, Row};
use crate::store::key::Key;

/// Forgets everything at the end of the process. Store time is the host's clock.
pub struct MemoryStore {
    host: Host,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Key, Stored>,
    /// Rows with an end, the earliest first.
    expiring: BTreeSet<(i64, Key)>,
    /// One counter for all keys: it is what makes versions grow over delete and re-create.
    version: u64,
}

struct Stored {
    value: Bytes,
    version: u64,
    expires: Option<i64>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(host: Host) -> Self {
        Self { host, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self) -> i64 {
        self.host.now().as_microsecond()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("rows", &self.state().rows.len()).finish_non_exhaustive()
    }
}

impl State {
    fn live(&self, key: &Key, now: i64) -> Option<&Stored> {
        self.rows.get(key).filter(|stored| stored.lives(now))
    }

    fn remove(&mut self, key: &Key) {
        if let Some(stored) = self.rows.remove(key)
            && let Some(at) = stored.expires
        {
            self.expiring.remove(&(at, key.clone()));
        }
    }

    fn drop_expired(&mut self, now: i64) {
        while let Some((at, _)) = self.expiring.first()
            && *at <= now
            && let Some((_, key)) = self.expiring.pop_first()
        {
            self.rows.remove(&key);
        }
    }
}

impl Stored {
    fn lives(&self, now: i64) -> bool {
        self.expires.is_none_or(|at| at > now)
    }

    fn row(&self) -> Row {
        Row { value: self.value.clone(), version: self.version }
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
        let now = self.micros();
        let mut state = self.state();
        for precondition in batch.preconditions() {
            if !precondition.holds(state.live(precondition.key(), now).map(|stored| stored.version)) {
                return Err(Conflict::new(precondition.key().clone()).into());
            }
        }
        state.drop_expired(now);
        let mut versions = Vec::with_capacity(batch.len());
        for mutation in batch.into_mutations() {
            match mutation {
                Mutation::Put { key, value, expires } => {
                    state.remove(&key);
                    state.version += 1;
                    let version = state.version;
                    let expires = expires.map(Timestamp::as_microsecond);
                    if let Some(at) = expires {
                        state.expiring.insert((at, key.clone()));
                    }
                    state.rows.insert(key, Stored { value, version, expires });
                    versions.push(version);
                }
                Mutation::Delete(key) => state.remove(&key),
            }
        }
        Ok(versions)
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let now = self.micros();
        let state = self.state();
        Ok(keys.iter().map(|key| state.live(key, now).map(Stored::row)).collect())
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
        let now = self.micros();
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let state = self.state();
        Ok(state
            .rows
            .range::<Key, _>((from, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, stored)| stored.lives(now))
            .take(limit)
            .map(|(key, stored)| (key.clone(), stored.row()))
            .collect())
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.host.now())
    }

    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities::default()
    }
}
