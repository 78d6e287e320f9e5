//! A store: a sorted map behind a lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::error::Result;
use crm_sync::host::Host;
use crm_sync::store::{Batch, Conflict, Key, Mutation, Row, Store, StoreCapabilities};
use jiff::Timestamp;

pub struct PlainStore {
    host: Host,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Key, (Bytes, u64, Option<Timestamp>)>,
    version: u64,
}

impl PlainStore {
    pub fn new(host: Host) -> Self {
        Self { host, state: Mutex::default() }
    }
}

impl fmt::Debug for PlainStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainStore")
    }
}

impl State {
    fn row(&self, key: &Key, now: Timestamp) -> Option<Row> {
        let (value, version, expires) = self.rows.get(key)?;
        expires.is_none_or(|at| at > now).then(|| Row { value: value.clone(), version: *version })
    }
}

#[async_trait]
impl Store for PlainStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
        let now = self.host.now();
        let mut state = self.state.lock().unwrap();
        for precondition in batch.preconditions() {
            if !precondition.holds(state.row(precondition.key(), now).map(|row| row.version)) {
                return Err(Conflict::new(precondition.key().clone()).into());
            }
        }
        let mut versions = Vec::new();
        for mutation in batch.into_mutations() {
            match mutation {
                Mutation::Put { key, value, expires } => {
                    state.version += 1;
                    let version = state.version;
                    state.rows.insert(key, (value, version, expires));
                    versions.push(version);
                }
                Mutation::Delete(key) => drop(state.rows.remove(&key)),
                other => unreachable!("a mutation of a later version: {other:?}"),
            }
        }
        Ok(versions)
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        let (now, state) = (self.host.now(), self.state.lock().unwrap());
        Ok(keys.iter().map(|key| state.row(key, now)).collect())
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
        let (now, state) = (self.host.now(), self.state.lock().unwrap());
        let rows = state.rows.keys().filter(|key| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
        Ok(rows.filter_map(|key| Some((key.clone(), state.row(key, now)?))).take(limit).collect())
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(self.host.now())
    }

    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities::default()
    }
}
