//! The guide's batch sync: what the host changed since the last run, grouped by entity, in chunks.
//!
//! The time kept for the next run is that of the beginning of this one, and never later than a record that is to be tried again:
//! what changes during a run, or could not be written, is in the next one. Records that did not change cost no write.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use futures_util::{Stream, StreamExt, stream};
use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::store::{Batch, Store, cursors};
use crate::sync::api::{Applied, Incoming, Outcome};
use crate::sync::engine::Engine;

/// A record of the host that changed.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BatchRecord {
    /// The name its engine was added by.
    pub entity: String,
    /// When it changed, by the host's clock.
    pub modified: Timestamp,
    /// The record.
    pub incoming: Incoming,
}

impl BatchRecord {
    /// A record.
    pub fn new(entity: impl Into<String>, modified: Timestamp, incoming: Incoming) -> Self {
        Self { entity: entity.into(), modified, incoming }
    }
}

/// What a run did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchReport {
    /// Records made.
    pub created: u64,
    /// Records changed.
    pub updated: u64,
    /// Records that needed no write, or must not have one.
    pub not_written: u64,
    /// Records the CRM refused for good; they do not come again by themselves.
    pub failed: u64,
    /// Records that come again in the next run.
    pub again: u64,
    /// The time the next run begins from.
    pub cutoff: Option<Timestamp>,
}

/// Runs of several engines under one time.
#[derive(Debug)]
pub struct BatchSync {
    store: Arc<dyn Store>,
    host: Host,
    name: String,
    chunk: usize,
    engines: BTreeMap<String, Engine>,
}

impl BatchSync {
    /// `name` tells the times of several batch syncs in one store apart.
    pub fn new(store: Arc<dyn Store>, host: Host, name: impl Into<String>) -> Self {
        Self { store, host, name: name.into(), chunk: 2_000, engines: BTreeMap::new() }
    }

    /// Adds the engine for records of this name.
    #[must_use]
    pub fn engine(mut self, entity: impl Into<String>, engine: Engine) -> Self {
        self.engines.insert(entity.into(), engine);
        self
    }

    /// Records held and planned at once. Default: 2,000. How many one write call carries is the engine's own matter.
    #[must_use]
    pub fn chunk(mut self, records: usize) -> Self {
        self.chunk = records.max(1);
        self
    }

    /// Begins a run: ask the host for what changed at or after [`BatchRun::since`].
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the store fails.
    pub async fn begin(&self) -> Result<BatchRun<'_>> {
        // Before the host is asked: a record that changes while it answers is in the next run.
        let begun = self.host.now();
        let kept = cursors::load::<Timestamp>(self.store.as_ref(), &self.name, FEED).await?;
        let generation = kept.as_ref().map(|kept| kept.generation);
        Ok(BatchRun { sync: self, begun, since: kept.map(|kept| kept.position), generation })
    }
}

const FEED: &str = "batch";

/// One run.
#[derive(Debug)]
#[must_use = "nothing is written before BatchRun::run"]
pub struct BatchRun<'a> {
    sync: &'a BatchSync,
    begun: Timestamp,
    since: Option<Timestamp>,
    generation: Option<u64>,
}

impl BatchRun<'_> {
    /// Records changed at or after this time belong to the run; all of them if there is none.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Writes the records, chunk by chunk, each chunk entity by entity, and keeps the time for the next run. Each record's outcome
    /// goes to `each` with the record's entity.
    ///
    /// Dropping it leaves what was written written and the time where it was: the next run plans the same records, and writes what
    /// is missing.
    ///
    /// # Errors
    /// Those of the host's stream, the plan and the store end the run with the time where it was; an entity without an engine is
    /// [`crate::error::ErrorKind::Config`]; [`crate::error::ErrorKind::Conflict`] if another run ended meanwhile.
    pub async fn run(
        self,
        records: impl Stream<Item = Result<BatchRecord>> + Send,
        mut each: impl FnMut(&str, Applied) + Send,
    ) -> Result<BatchReport> {
        let mut report = BatchReport::default();
        let mut cutoff = self.begun;
        let mut chunks = pin!(records.chunks(self.sync.chunk));
        while let Some(chunk) = chunks.next().await {
            let mut groups: BTreeMap<String, Vec<BatchRecord>> = BTreeMap::new();
            for record in chunk {
                let record = record?;
                groups.entry(record.entity.clone()).or_default().push(record);
            }
            for (entity, records) in groups {
                let Some(engine) = self.sync.engines.get(&entity) else {
                    return Err(Error::config(format!("the batch sync {} has no engine for {entity}", self.sync.name)));
                };
                let times: BTreeMap<String, Timestamp> =
                    records.iter().rev().map(|record| (record.incoming.id.clone(), record.modified)).collect();
                let mut results = engine.batch(stream::iter(records.into_iter().map(|record| record.incoming)));
                while let Some(applied) = results.next().await {
                    let applied = applied?;
                    let again = match &applied.outcome {
                        Outcome::Ambiguous(_) | Outcome::Moved => true,
                        Outcome::Failed(error) => error.is_retryable(),
                        _ => false,
                    };
                    match &applied.outcome {
                        _ if again => {
                            report.again += 1;
                            cutoff = cutoff.min(times.get(&applied.local).copied().unwrap_or(cutoff));
                        }
                        Outcome::Created(_) => report.created += 1,
                        Outcome::Updated(_) => report.updated += 1,
                        Outcome::NotWritten { .. } => report.not_written += 1,
                        _ => report.failed += 1,
                    }
                    each(&entity, applied);
                }
            }
        }
        let mut batch = Batch::new();
        cursors::advance(&mut batch, &self.sync.name, FEED, self.generation, &cutoff)?;
        self.sync.store.commit(batch).await?;
        report.cutoff = Some(cutoff);
        Ok(report)
    }
}
