//! The stores of this crate pass the common list, and a store that breaks a rule does not.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::conformance::store::{self, StoreBench};
use crm_sync::error::Result;
use crm_sync::host::{Clock, Host, ManualClock, ManualSleep, TokioBlocking};
use crm_sync::store::{Batch, Family, Key, MemoryStore, Mutation, Row, SqliteOptions, SqliteStore, Store, StoreCapabilities, Synchronous};
use jiff::Timestamp;

#[derive(Debug)]
struct Memory {
    host: Host,
    clock: Arc<ManualClock>,
}

impl Memory {
    fn new() -> Self {
        let (host, clock) = Host::manual_with_clock(1);
        Self { host, clock }
    }
}

#[async_trait]
impl StoreBench for Memory {
    async fn store(&self) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(MemoryStore::new(self.host.clone())))
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

/// Files in a folder of their own; blocking work on tokio's pool, so that commits really run side by side.
#[derive(Debug)]
struct Sqlite {
    folder: tempfile::TempDir,
    files: AtomicUsize,
    host: Host,
    clock: Arc<ManualClock>,
    synchronous: Synchronous,
}

impl Sqlite {
    fn new(synchronous: Synchronous) -> Self {
        let clock = Arc::new(ManualClock::new("2026-01-01T00:00:00Z".parse().unwrap()));
        let host = Host::builder(ManualSleep::new(Arc::clone(&clock)))
            .clock_shared(Arc::clone(&clock) as Arc<dyn Clock>)
            .offload(TokioBlocking)
            .build();
        Self { folder: tempfile::tempdir().unwrap(), files: AtomicUsize::new(0), host, clock, synchronous }
    }

    fn file(&self, number: usize) -> PathBuf {
        self.folder.path().join(format!("store {number}.db"))
    }

    async fn open(&self, number: usize) -> Result<Arc<dyn Store>> {
        let options = SqliteOptions::default().synchronous(self.synchronous);
        let store = SqliteStore::open_with(self.file(number), self.host.clone(), &options)?;
        store.migrate().await?;
        Ok(Arc::new(store))
    }
}

#[async_trait]
impl StoreBench for Sqlite {
    async fn store(&self) -> Result<Arc<dyn Store>> {
        self.open(self.files.fetch_add(1, Ordering::SeqCst)).await
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    async fn reopen(&self, store: Arc<dyn Store>) -> Result<Option<Arc<dyn Store>>> {
        drop(store);
        Ok(Some(self.open(self.files.load(Ordering::SeqCst) - 1).await?))
    }
}

#[tokio::test]
async fn the_memory_store_passes() {
    let report = store::all(&Memory::new()).await;
    assert!(report.is_ok(), "{report}");
    println!("{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_store_passes() {
    for synchronous in [Synchronous::Full, Synchronous::Normal] {
        let report = store::all(&Sqlite::new(synchronous)).await;
        assert!(report.is_ok(), "{report}");
        println!("{synchronous:?}: {report}");
    }
}

/// Every call goes to another connection of one file, as if each came from another process.
#[derive(Debug)]
struct ManyConnections {
    all: Vec<Arc<dyn Store>>,
    next: AtomicUsize,
}

impl ManyConnections {
    fn one(&self) -> &dyn Store {
        &*self.all[self.next.fetch_add(1, Ordering::SeqCst) % self.all.len()]
    }
}

#[async_trait]
impl Store for ManyConnections {
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
        self.one().commit(batch).await
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.one().load_many(keys).await
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
        self.one().scan(prefix, after, limit).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.one().now().await
    }

    fn capabilities(&self) -> StoreCapabilities {
        StoreCapabilities::default()
    }
}

#[derive(Debug)]
struct SharedSqlite(Sqlite);

#[async_trait]
impl StoreBench for SharedSqlite {
    async fn store(&self) -> Result<Arc<dyn Store>> {
        let number = self.0.files.fetch_add(1, Ordering::SeqCst);
        // All open and migrate the new file at once.
        let all = futures_util::future::join_all((0..4).map(|_| self.0.open(number))).await;
        Ok(Arc::new(ManyConnections { all: all.into_iter().collect::<Result<_>>()?, next: AtomicUsize::new(0) }))
    }

    async fn pass(&self, time: Duration) {
        self.0.pass(time).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn several_connections_to_one_file_pass() {
    let report = store::all(&SharedSqlite(Sqlite::new(Synchronous::Normal))).await;
    assert!(report.is_ok(), "{report}");
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Sin {
    DropsTheLastPut,
    IgnoresPreconditions,
    KeepsExpired,
    ReadsBackwards,
    WritesBeforeItRefuses,
}

/// A memory store with one fault.
#[derive(Debug)]
struct Sinner {
    store: MemoryStore,
    sin: Sin,
}

#[async_trait]
impl Store for Sinner {
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
        let mut changed = Batch::new();
        if self.sin != Sin::IgnoresPreconditions && self.sin != Sin::WritesBeforeItRefuses {
            for condition in batch.preconditions() {
                match condition {
                    crm_sync::store::Precondition::Version(key, version) => changed.require_version(key.clone(), *version),
                    other => changed.require_absent(other.key().clone()),
                };
            }
        }
        for mutation in batch.mutations() {
            match mutation {
                Mutation::Put { key, value, expires: Some(at) } if self.sin != Sin::KeepsExpired => {
                    changed.put_until(key.clone(), value.clone(), *at)
                }
                Mutation::Put { key, value, .. } => changed.put(key.clone(), value.clone()),
                other => changed.delete(other.key().clone()),
            };
        }
        match self.sin {
            Sin::DropsTheLastPut if batch.len() > 1000 => {
                changed.delete(batch.mutations().last().unwrap().key().clone());
                self.store.commit(changed).await
            }
            Sin::WritesBeforeItRefuses => {
                let held = self.store.commit(batch).await;
                if held.is_err() {
                    self.store.commit(changed).await?;
                }
                held
            }
            _ => self.store.commit(changed).await,
        }
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        self.store.load_many(keys).await
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
        let mut rows = self.store.scan(prefix, after, limit).await?;
        if self.sin == Sin::ReadsBackwards {
            rows.reverse();
        }
        Ok(rows)
    }

    async fn now(&self) -> Result<Timestamp> {
        self.store.now().await
    }

    fn capabilities(&self) -> StoreCapabilities {
        self.store.capabilities()
    }
}

#[derive(Debug)]
struct Sinful(Memory, Sin);

#[async_trait]
impl StoreBench for Sinful {
    async fn store(&self) -> Result<Arc<dyn Store>> {
        Ok(Arc::new(Sinner { store: MemoryStore::new(self.0.host.clone()), sin: self.1 }))
    }

    async fn pass(&self, time: Duration) {
        self.0.pass(time).await;
    }
}

#[tokio::test]
async fn a_store_that_breaks_a_rule_is_caught() {
    for (sin, caught) in [
        (Sin::DropsTheLastPut, "large_batches_work"),
        (Sin::IgnoresPreconditions, "one_of_many_inserts_wins"),
        (Sin::IgnoresPreconditions, "conflicts_name_the_first_key"),
        (Sin::IgnoresPreconditions, "links_are_unique_both_ways"),
        (Sin::IgnoresPreconditions, "locks_exclude_and_fence"),
        (Sin::KeepsExpired, "expired_rows_are_absent"),
        (Sin::ReadsBackwards, "scans_are_ordered_and_bounded"),
        (Sin::WritesBeforeItRefuses, "batches_are_all_or_nothing"),
    ] {
        let report = store::all(&Sinful(Memory::new(), sin)).await;
        assert!(!report.is_ok() && report.has_failed(caught), "{sin:?} was not caught by {caught}: {report}");
    }
}

#[tokio::test]
async fn without_tables_the_error_says_what_to_do() {
    let store = SqliteStore::open(":memory:", Host::manual(1)).unwrap();
    let error = store.load(&Key::new(Family::Base, &["a"])).await.unwrap_err();
    assert!(error.to_string().contains("migrate()"), "{error}");
    store.migrate().await.unwrap();
    assert!(store.load(&Key::new(Family::Base, &["a"])).await.unwrap().is_none());
    assert!(!store.capabilities().durable);
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "measures real time")]
async fn ten_thousand_rows_are_quick() {
    let bench = Sqlite::new(Synchronous::Full);
    let store = bench.store().await.unwrap();
    let keys: Vec<Key> = (0..10_000).map(|row| Key::new(Family::Base, &["acme", "Lead", &row.to_string()])).collect();
    let value = "x".repeat(500);
    let started = std::time::Instant::now();
    for chunk in keys.chunks(400) {
        let mut batch = Batch::new();
        for key in chunk {
            batch.require_absent(key.clone()).put(key.clone(), value.clone());
        }
        store.commit(batch).await.unwrap();
    }
    let written = started.elapsed();
    let started = std::time::Instant::now();
    for chunk in keys.chunks(1000) {
        assert!(store.load_many(chunk).await.unwrap().iter().all(Option::is_some));
    }
    let read = started.elapsed();
    println!("10,000 rows: written in {written:?}, read in {read:?}");
    // Ten times what a busy two-core machine needs; a statement prepared per row or a flush per row is far above.
    assert!(written < Duration::from_secs(20) && read < Duration::from_secs(10), "written in {written:?}, read in {read:?}");
}
