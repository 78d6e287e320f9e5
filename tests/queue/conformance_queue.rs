//! The queues of this crate pass the common list, and a queue that breaks a rule does not.

#![allow(clippy::disallowed_methods, clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::conformance::queue::{self, QueueBench};
use crm_sync::error::{ErrorKind, Result};
use crm_sync::host::{Clock, Host, ManualClock, ManualSleep, TokioBlocking};
use crm_sync::model::Entity;
use crm_sync::queue::{
    Claim, Enqueued, Lane, Lease, LeaseToken, MemoryQueue, NewEntry, OP_WINDOW, Parked, ParkedFilter, ParkedPage, Queue, QueueCapabilities,
    QueueStats, Settle, Settled, SqliteQueue, Subject, Then,
};
use crm_sync::store::{Batch, Family, Key, SqliteOptions, SqliteStore, Store, Synchronous};
use jiff::Timestamp;

#[derive(Debug)]
struct Memory {
    host: Host,
    clock: Arc<ManualClock>,
    fault: Option<Fault>,
}

impl Memory {
    fn new(fault: Option<Fault>) -> Self {
        let (host, clock) = Host::manual_with_clock(1);
        Self { host, clock, fault }
    }
}

#[async_trait]
impl QueueBench for Memory {
    async fn queue(&self) -> Result<Arc<dyn Queue>> {
        let inner = MemoryQueue::new(self.host.clone());
        Ok(match self.fault {
            None => Arc::new(inner),
            Some(fault) => Arc::new(Broken { inner, fault, held: Mutex::default(), count: AtomicU64::new(0) }),
        })
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn op_window(&self) -> Option<Duration> {
        Some(OP_WINDOW)
    }
}

#[tokio::test]
async fn the_memory_queue_passes() {
    let report = queue::all(&Memory::new(None)).await;
    assert!(report.is_ok() && report.skipped.is_empty(), "{report}");
    println!("{report}");
}

/// Files in a folder of their own; blocking work on tokio's pool, so that calls really run side by side.
#[derive(Debug)]
struct Sqlite {
    folder: tempfile::TempDir,
    files: AtomicU64,
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
        Self { folder: tempfile::tempdir().unwrap(), files: AtomicU64::new(0), host, clock, synchronous }
    }

    async fn open(&self, number: u64) -> Result<SqliteQueue> {
        let options = SqliteOptions::default().synchronous(self.synchronous);
        let queue = SqliteQueue::open_with(self.folder.path().join(format!("{number}.db")), self.host.clone(), &options)?;
        queue.migrate().await?;
        Ok(queue)
    }
}

#[async_trait]
impl QueueBench for Sqlite {
    async fn queue(&self) -> Result<Arc<dyn Queue>> {
        Ok(Arc::new(self.open(self.files.fetch_add(1, Ordering::SeqCst)).await?))
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn op_window(&self) -> Option<Duration> {
        Some(OP_WINDOW)
    }

    async fn reopen(&self, queue: Arc<dyn Queue>) -> Result<Option<Arc<dyn Queue>>> {
        drop(queue);
        Ok(Some(Arc::new(self.open(self.files.load(Ordering::SeqCst) - 1).await?)))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sqlite_queue_passes() {
    for synchronous in [Synchronous::Full, Synchronous::Normal] {
        let report = queue::all(&Sqlite::new(synchronous)).await;
        assert!(report.is_ok() && report.skipped.is_empty(), "{report}");
        println!("{synchronous:?}: {report}");
    }
}

#[tokio::test]
async fn an_outbox_entry_is_there_exactly_if_the_hosts_data_is() {
    let bench = Sqlite::new(Synchronous::Normal);
    let queue = bench.open(0).await.unwrap();
    let mut connection = rusqlite::Connection::open(bench.folder.path().join("0.db")).unwrap();
    connection.execute_batch("CREATE TABLE orders (id INTEGER)").unwrap();
    for (op, keep) in [("1", false), ("2", true)] {
        let mut transaction = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).unwrap();
        transaction.execute("INSERT INTO orders VALUES (1)", []).unwrap();
        let entry = NewEntry::new(Lane::new("sf", Entity::from_static("Lead"), "1"), op, "x");
        queue.enqueue_in(&mut transaction, &[entry]).unwrap();
        if keep {
            transaction.commit().unwrap();
        }
    }
    let orders: i64 = connection.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    let leases = queue.claim(&Claim::new("w")).await.unwrap();
    let ops: Vec<_> = leases.iter().flat_map(|lease| &lease.entries).map(|entry| entry.op.as_str()).collect();
    assert_eq!((orders, ops), (1, vec!["2"]));
}

#[tokio::test]
async fn commit_and_settle_are_one() {
    let bench = Sqlite::new(Synchronous::Normal);
    let store = SqliteStore::open(bench.folder.path().join("both.db"), bench.host.clone()).unwrap();
    store.migrate().await.unwrap();
    let queue = store.queue();
    queue.migrate().await.unwrap();
    let key = |name: &str| Key::new(Family::Base, &[name]);
    let entry = |op: &str| NewEntry::new(Lane::new("sf", Entity::from_static("Lead"), "1"), op, "x");
    queue.enqueue(vec![entry("1"), entry("2")]).await.unwrap();
    let lease = queue.claim(&Claim::new("w").entries(1)).await.unwrap().remove(0);
    let mut batch = Batch::new();
    batch.put(key("a"), "1");
    // A refused batch settles nothing.
    let mut refused = batch.clone();
    refused.require_version(key("b"), 7);
    let error = store.commit_settling(refused, vec![Settle::done(lease.token.clone(), 1)]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(queue.stats().await.unwrap().leased, 1);
    // A lost lease commits nothing.
    let mut stale = lease.token.clone();
    stale.fence += 1;
    let outcomes = vec![Settle::done(lease.token.clone(), 1), Settle::done(stale, 1)];
    let error = store.commit_settling(batch.clone(), outcomes).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Queue && !error.is_retryable(), "{error}");
    assert!(store.load(&key("a")).await.unwrap().is_none());
    assert_eq!(queue.stats().await.unwrap().entries, 2);
    store.commit_settling(batch, vec![Settle::done(lease.token, 1)]).await.unwrap();
    assert!(store.load(&key("a")).await.unwrap().is_some());
    assert_eq!(queue.stats().await.unwrap().entries, 1);
}

#[tokio::test]
async fn a_queue_without_tables_or_with_newer_ones_says_so() {
    let bench = Sqlite::new(Synchronous::Normal);
    let path = bench.folder.path().join("new.db");
    let queue = SqliteQueue::open(&path, bench.host.clone()).unwrap();
    let error = queue.claim(&Claim::new("w")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("migrate()"), "{error}");
    queue.migrate().await.unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute("UPDATE crm_sync_schema SET version = 99 WHERE component = 'queue'", []).unwrap();
    let error = queue.migrate().await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("99"), "{error}");
    let error = SqliteQueue::open(&path, bench.host.clone()).unwrap().claim(&Claim::new("w")).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("99"), "{error}");
}

/// A file that is gone is an error, at once and after a restart, never an empty queue.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_was_lost_is_loud_and_never_an_empty_queue() {
    let bench = Sqlite::new(Synchronous::Full);
    let path = bench.folder.path().join("0.db");
    let entry = |op: &str| NewEntry::new(Lane::new("sf", Entity::from_static("Lead"), "1"), op, "x");
    let queue = bench.open(0).await.unwrap();
    queue.enqueue(vec![entry("1")]).await.unwrap();
    let generation = queue.generation().await.unwrap();
    for file in ["0.db", "0.db-wal", "0.db-shm"] {
        std::fs::remove_file(bench.folder.path().join(file)).unwrap();
    }
    // Somebody else makes it anew, and uses it.
    let is_lost = |error: &crm_sync::error::Error, word: &str| {
        error.kind() == ErrorKind::Queue && !error.is_retryable() && error.to_string().contains(word)
    };
    for anew in [false, true] {
        if anew {
            bench.open(0).await.unwrap().enqueue(vec![entry("other")]).await.unwrap();
        }
        let page = ParkedPage::new(ParkedFilter::all(), 10);
        for error in [
            queue.claim(&Claim::new("w")).await.unwrap_err(),
            queue.enqueue(vec![entry("2")]).await.unwrap_err(),
            queue.stats().await.unwrap_err(),
            queue.parked(&page).await.unwrap_err(),
            queue.migrate().await.unwrap_err(),
        ] {
            assert!(is_lost(&error, "deleted, moved or replaced"), "{error:?}");
        }
    }
    // After a restart: whoever remembers the mark is told.
    let remembering = SqliteQueue::open_with(&path, bench.host.clone(), &SqliteOptions::default().generation(&generation)).unwrap();
    for error in [remembering.claim(&Claim::new("w")).await.unwrap_err(), remembering.migrate().await.unwrap_err()] {
        assert!(is_lost(&error, &generation), "{error:?}");
    }
    let own = bench.open(0).await.unwrap().generation().await.unwrap();
    let remembering = SqliteQueue::open_with(&path, bench.host.clone(), &SqliteOptions::default().generation(own)).unwrap();
    assert_eq!(remembering.claim(&Claim::new("w")).await.unwrap().len(), 1);
}

/// A file that somebody else keeps locked is as a server that does not answer: a failure that may pass, never an empty queue.
#[tokio::test]
async fn a_file_that_is_locked_is_a_failure_that_may_pass() {
    let bench = Sqlite::new(Synchronous::Normal);
    let entry = |op: &str| NewEntry::new(Lane::new("sf", Entity::from_static("Lead"), "1"), op, "x");
    bench.open(0).await.unwrap().enqueue(vec![entry("1")]).await.unwrap();
    let path = bench.folder.path().join("0.db");
    let options = SqliteOptions::default().busy_timeout(Duration::from_millis(50));
    let queue = SqliteQueue::open_with(&path, bench.host.clone(), &options).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for error in [queue.claim(&Claim::new("w")).await.unwrap_err(), queue.enqueue(vec![entry("2")]).await.unwrap_err()] {
        assert!(error.kind() == ErrorKind::Queue && error.is_retryable() && !error.may_have_applied(), "{error:?}");
    }
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(queue.enqueue(vec![entry("2")]).await.unwrap()[..], [Enqueued::New(_)]));
    assert_eq!(queue.claim(&Claim::new("w")).await.unwrap()[0].entries.len(), 2);
}

/// What a claim costs is what it hands out, not what waits: the plan of every statement of a claim is a search.
#[tokio::test]
async fn a_claim_among_many_waiting_lanes_costs_the_same() {
    let bench = Sqlite::new(Synchronous::Normal);
    let mut medians = Vec::new();
    for (number, lanes) in [(0, 2_000), (1, 60_000)] {
        let queue = bench.open(number).await.unwrap();
        for chunk in 0..lanes / 2_000 {
            let entries = (0..2_000).map(|at| {
                let at = chunk * 2_000 + at;
                NewEntry::new(Lane::new("sf", Entity::from_static("Lead"), format!("{at}")), format!("{at}"), "x")
            });
            queue.enqueue(entries.collect()).await.unwrap();
        }
        let mut times = Vec::new();
        for _ in 0..15 {
            let started = std::time::Instant::now();
            assert_eq!(queue.claim(&Claim::new("w").lanes(100)).await.unwrap().len(), 100);
            times.push(started.elapsed());
        }
        times.sort();
        medians.push(times[times.len() / 2]);
    }
    println!("claim of 100 among 2,000: {:?}, among 60,000: {:?}", medians[0], medians[1]);
    // A scan would take thirty times as long; other work on the machine does not.
    assert!(medians[1] < medians[0] * 8, "{medians:?}");
}

/// One rule broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    AttemptsOfDeferrals,
    DeliversBeforeTime,
    DropsDeadLetters,
    FencesBeginAnew,
    ForgetsOpIds,
    ForgetsPriority,
    HandsOutSkippedScopes,
    JoinsNothing,
    KindsMixedUp,
    LosesLastOfBatch,
    LosesOrder,
    LosesPayload,
    NeverFreezes,
    NeverLetsGo,
    PurgeKeepsDeadLetters,
    ReplaysAtTheEnd,
    SaysExtended,
    SettlesWithoutToken,
    SilentAboutWakeups,
    StatisticsOfNothing,
    TakesAnySize,
    TwoLeases,
}

/// The queue in memory with a fault.
#[derive(Debug)]
struct Broken {
    inner: MemoryQueue,
    fault: Fault,
    held: Mutex<HashMap<Lane, LeaseToken>>,
    count: AtomicU64,
}

impl Broken {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

#[async_trait]
impl Queue for Broken {
    async fn enqueue(&self, mut entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        let count = entries.len();
        for entry in &mut entries {
            match self.fault {
                Fault::ForgetsOpIds => entry.op = format!("{}#{}", entry.op, self.count.fetch_add(1, Ordering::SeqCst)),
                Fault::ForgetsPriority => entry.priority = Default::default(),
                Fault::DeliversBeforeTime => entry.not_before = None,
                Fault::LosesPayload => entry.payload = entry.payload.slice(..entry.payload.len().min(1000)),
                Fault::TakesAnySize => entry.payload.truncate(100),
                Fault::JoinsNothing => entry.coalesce = None,
                Fault::KindsMixedUp => entry.kind = String::new(),
                _ => {}
            }
        }
        if self.is(Fault::LosesLastOfBatch) && count > 1 {
            entries.pop();
        }
        let mut outcomes = self.inner.enqueue(entries).await?;
        outcomes.extend(outcomes.last().copied().filter(|_| outcomes.len() < count));
        Ok(outcomes)
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        let mut want = want.clone();
        if self.is(Fault::HandsOutSkippedScopes) {
            want.skip_scopes.clear();
        }
        if self.is(Fault::NeverLetsGo) {
            want.ttl = Duration::from_secs(3600);
        }
        if self.is(Fault::TwoLeases) {
            want.ttl = Duration::ZERO;
        }
        let mut leases = self.inner.claim(&want).await?;
        for lease in &mut leases {
            self.held.lock().unwrap().insert(lease.token.lane.clone(), lease.token.clone());
            match self.fault {
                Fault::LosesOrder => lease.entries.reverse(),
                Fault::FencesBeginAnew => lease.token.fence = 1,
                _ => {}
            }
        }
        Ok(leases)
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        let lost = self.inner.extend(leases, ttl).await?;
        Ok(if self.is(Fault::SaysExtended) { Vec::new() } else { lost })
    }

    async fn settle(&self, mut outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        for outcome in &mut outcomes {
            match (self.fault, &mut outcome.then) {
                (Fault::SettlesWithoutToken | Fault::FencesBeginAnew, _) => {
                    if let Some(token) = self.held.lock().unwrap().get(&outcome.token.lane) {
                        outcome.token = token.clone();
                    }
                }
                (Fault::NeverFreezes, Then::Park { freeze, .. }) => *freeze = false,
                (Fault::AttemptsOfDeferrals, Then::Defer { wait }) => outcome.then = Then::Retry { wait: *wait },
                (Fault::DropsDeadLetters, Then::Park { entries, .. }) => {
                    outcome.done += *entries;
                    outcome.then = Then::Release;
                }
                _ => {}
            }
        }
        self.inner.settle(outcomes).await
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        self.inner.parked(page).await
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        if !self.is(Fault::ReplaysAtTheEnd) {
            return self.inner.replay(which).await;
        }
        let parked = self.inner.parked(&ParkedPage::new(which.clone(), 1000)).await?;
        self.inner.discard(which).await?;
        let count = parked.len() as u64;
        let again = parked.into_iter().map(|parked| {
            let op = format!("{}#{}", parked.entry.op, self.count.fetch_add(1, Ordering::SeqCst));
            NewEntry::new(parked.lane, op, parked.entry.payload)
        });
        self.inner.enqueue(again.collect()).await?;
        Ok(count)
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        self.inner.discard(which).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        let stats = self.inner.stats().await?;
        Ok(if self.is(Fault::StatisticsOfNothing) { QueueStats::new(stats.now) } else { stats })
    }

    async fn purge(&self, subject: &Subject) -> Result<u64> {
        if self.is(Fault::PurgeKeepsDeadLetters) {
            return Ok(0);
        }
        self.inner.purge(subject).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }

    fn wakeups(&self) -> Option<futures_util::stream::BoxStream<'static, ()>> {
        let stream = self.inner.wakeups()?;
        Some(if self.is(Fault::SilentAboutWakeups) { Box::pin(futures_util::stream::pending()) } else { stream })
    }
}

#[tokio::test]
async fn a_queue_that_breaks_a_rule_fails_the_test_of_that_rule() {
    let cases = [
        (Fault::AttemptsOfDeferrals, "deferrals_count_no_attempt"),
        (Fault::DeliversBeforeTime, "entries_wait_for_their_time"),
        (Fault::DropsDeadLetters, "parked_entries_leave_their_lane"),
        (Fault::FencesBeginAnew, "fences_grow_for_ever"),
        (Fault::ForgetsOpIds, "op_ids_are_enqueued_once"),
        (Fault::ForgetsPriority, "claims_come_by_priority_then_age"),
        (Fault::HandsOutSkippedScopes, "scopes_are_skipped"),
        (Fault::JoinsNothing, "entries_join_as_they_say"),
        (Fault::KindsMixedUp, "kinds_are_selected"),
        (Fault::LosesLastOfBatch, "large_batches_work"),
        (Fault::LosesOrder, "lanes_keep_their_order"),
        (Fault::LosesPayload, "entries_come_back"),
        (Fault::NeverFreezes, "frozen_lanes_stand_still"),
        (Fault::NeverLetsGo, "leases_end_by_themselves"),
        (Fault::PurgeKeepsDeadLetters, "subjects_are_erased"),
        (Fault::ReplaysAtTheEnd, "replayed_entries_take_their_place"),
        (Fault::SaysExtended, "extended_leases_hold"),
        (Fault::SettlesWithoutToken, "stale_tokens_change_nothing"),
        (Fault::SilentAboutWakeups, "wakeups_come"),
        (Fault::StatisticsOfNothing, "statistics_count"),
        (Fault::TakesAnySize, "bad_entries_are_refused"),
        (Fault::TwoLeases, "one_lease_per_lane"),
    ];
    for (fault, test) in cases {
        let report = queue::all(&Memory::new(Some(fault))).await;
        assert!(report.has_failed(test), "{fault:?} was not found by {test}: {report}");
    }
}

/// A file that version 1 of the tables made, with a waiting lane, one under a lease, one that is put off, and a frozen one.
#[tokio::test]
async fn tables_of_the_first_version_are_taken_over() {
    const FIRST: &str = include_str!("../fixtures/queue/first_version.sql");
    let bench = Sqlite::new(Synchronous::Normal);
    let path = bench.folder.path().join("first.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(FIRST).unwrap();
    let queue = SqliteQueue::open(&path, bench.host.clone()).unwrap();
    queue.migrate().await.unwrap();
    queue.migrate().await.unwrap();
    let stats = queue.stats().await.unwrap();
    assert_eq!((stats.entries, stats.lanes, stats.parked, stats.frozen), (5, 4, 1, 1));
    let ops = |leases: &[Lease]| -> Vec<Vec<String>> {
        leases.iter().map(|lease| lease.entries.iter().map(|entry| entry.op.clone()).collect()).collect()
    };
    // Its lease has ended long ago, its time has come long ago; the frozen one stays.
    let leases = queue.claim(&Claim::new("w").lanes(9)).await.unwrap();
    assert_eq!(ops(&leases), [vec!["plain 1", "plain 2"], vec!["leased"], vec!["put off"]]);
    assert!(leases.iter().all(|lease| lease.token.fence > 40), "{leases:?}");
    assert_eq!((leases[1].deliveries, leases[2].attempts, leases[0].entries[0].kind.as_str()), (2, 3, "record"));
    let done = leases.into_iter().map(|lease| Settle::done(lease.token, lease.entries.len())).collect();
    queue.settle(done).await.unwrap();
    assert_eq!(queue.replay(&ParkedFilter::all()).await.unwrap(), 1);
    assert_eq!(ops(&queue.claim(&Claim::new("w").lanes(9)).await.unwrap()), [vec!["parked", "behind it"]]);
    let known = NewEntry::new(Lane::new("sf", Entity::from_static("Lead"), "new"), "known", "x");
    assert_eq!(queue.enqueue(vec![known]).await.unwrap(), [Enqueued::Duplicate]);
}
