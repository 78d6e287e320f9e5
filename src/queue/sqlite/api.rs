//! The queue itself.

use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::error::Result;
use crate::host::Host;
use crate::queue::api::{Queue, QueueCapabilities};
use crate::queue::entry::{Enqueued, NewEntry, OP_WINDOW, check_batch, check_outcomes};
use crate::queue::lease::{Claim, Lease, LeaseToken};
use crate::queue::parked::{CauseCount, Parked, ParkedFilter, ParkedPage, Subject};
use crate::queue::settle::{Settle, Settled};
use crate::queue::sqlite::rows::{failure, micros, time};
use crate::queue::sqlite::{claim, enqueue, parking, settling};
use crate::queue::stats::{QueueStats, ScopeStats};
use crate::sql::{Database, QUEUE, SqliteOptions, Synchronous};

/// Keeps lanes and dead letters in one SQLite file in WAL mode; several processes of one machine may share it.
///
/// One commit per call, so large calls are cheap and small ones cost a disk flush each; see [`Synchronous`]. A claim reads as
/// many rows as it hands out, however many lanes wait. Store time is the host's wall clock: if it jumps back, leases and waits
/// last that much longer; if it jumps ahead they end early, which the fencing tokens make harmless.
///
/// A file that is deleted, moved or replaced while it is open is a loud [`crate::error::ErrorKind::Queue`] that is not retried
/// (on Unix), never an empty queue; see [`SqliteQueue::generation`] for one that is gone at the next start.
///
/// Clones share the connection. With a store on the same file see `SqliteStore::queue`.
#[derive(Clone, Debug)]
pub struct SqliteQueue {
    database: Database,
    window: Duration,
}

impl SqliteQueue {
    /// Opens or makes the file at `path`; its folder must exist. `:memory:` makes a queue that ends with its last clone.
    /// Opens the file on the calling thread. Call [`SqliteQueue::migrate`] before the first use.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the file cannot be opened or is not a SQLite database;
    /// [`crate::error::ErrorKind::Config`] if its file system does not allow WAL mode.
    pub fn open(path: impl AsRef<Path>, host: Host) -> Result<Self> {
        Self::open_with(path, host, &SqliteOptions::default())
    }

    /// As [`SqliteQueue::open`], with options.
    ///
    /// # Errors
    /// As [`SqliteQueue::open`].
    pub fn open_with(path: impl AsRef<Path>, host: Host, options: &SqliteOptions) -> Result<Self> {
        Ok(Self::on(Database::open(path.as_ref(), host, options)?))
    }

    pub(crate) fn on(database: Database) -> Self {
        Self { database, window: OP_WINDOW }
    }

    /// Sets how long op ids are remembered. All processes must use the same time. Default: [`OP_WINDOW`].
    #[must_use]
    pub fn op_window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Makes or updates the tables. Does nothing if they are up to date; safe to call from several processes at once.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the tables are newer than this version of the library;
    /// [`crate::error::ErrorKind::Store`] if the database fails. Nothing is changed then.
    pub async fn migrate(&self) -> Result<()> {
        self.database.migrate(QUEUE).await
    }

    /// A mark the file got when its first tables were made. A host that keeps it elsewhere and gives it back in
    /// [`SqliteOptions::generation`] is told, also after its own restart, when the file was replaced by an empty one.
    ///
    /// # Errors
    /// As all calls of a queue.
    pub async fn generation(&self) -> Result<String> {
        self.database.generation(QUEUE).await
    }

    /// Enqueues within a transaction of the host's on the same file: the entries are there exactly if the host's own data is.
    /// The transaction should be an immediate one; it is neither committed nor rolled back here. Blocks the thread.
    ///
    /// # Errors
    /// As [`Queue::enqueue`]. Roll the transaction back after an error.
    pub fn enqueue_in(&self, transaction: &mut Transaction<'_>, entries: &[NewEntry]) -> Result<Vec<Enqueued>> {
        check_batch(entries)?;
        let now = self.database.host().now().as_microsecond();
        enqueue::enqueue(transaction, entries, now, micros(self.window)).map_err(|error| failure("could not enqueue", error))
    }

    /// Runs `work` in one immediate transaction. The time counts from when the turn came.
    async fn write<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Connection, i64) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.database.run_at_leisure(QUEUE, move |connection, host| in_transaction(connection, host, what, work)).await
    }

    async fn read<T: Send + 'static>(&self, work: impl FnOnce(&Connection, i64) -> Result<T> + Send + 'static) -> Result<T> {
        self.database
            .run(QUEUE, move |connection, host| {
                let transaction = connection.transaction().map_err(|error| failure(READ, error))?;
                work(&transaction, host.now().as_microsecond())
            })
            .await
    }
}

const READ: &str = "could not read from the queue";

/// Runs `work` in one immediate transaction. The time counts from when the turn came.
fn in_transaction<T>(
    connection: &mut Connection,
    host: &Host,
    what: &'static str,
    work: impl FnOnce(&Connection, i64) -> Result<T>,
) -> Result<T> {
    let wrap = |error| failure(what, error);
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrap)?;
    let answer = work(&transaction, host.now().as_microsecond())?;
    transaction.commit().map_err(|error| {
        // Only a failing disk leaves the fate of a commit open; a refused one is rolled back.
        let open = error.sqlite_error_code() == Some(rusqlite::ErrorCode::SystemIoFailure);
        let failed = failure(what, error);
        if open { failed.ambiguous() } else { failed }
    })?;
    Ok(answer)
}

/// Settles within an open transaction; the outcomes in order.
pub(crate) fn settle_in(connection: &Connection, outcomes: &[Settle], now: i64) -> Result<Vec<Settled>> {
    settling::settle(connection, outcomes, now).map_err(|error| failure("could not settle", error))
}

#[async_trait]
impl Queue for SqliteQueue {
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        check_batch(&entries)?;
        let window = micros(self.window);
        const WHAT: &str = "could not enqueue";
        self.write(WHAT, move |connection, now| enqueue::enqueue(connection, &entries, now, window).map_err(|error| failure(WHAT, error)))
            .await
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        if want.lanes == 0 {
            return Ok(Vec::new());
        }
        let want = want.clone();
        const WHAT: &str = "could not claim";
        self.database
            .run(QUEUE, move |connection, host| {
                // Polling an idle queue must not make its workers wait for each other.
                if !claim::any(connection, host.now().as_microsecond()).map_err(|error| failure(READ, error))? {
                    return Ok(Vec::new());
                }
                in_transaction(connection, host, WHAT, |connection, now| claim::claim(connection, &want, now))
            })
            .await
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        const WHAT: &str = "could not extend leases";
        let leases = leases.to_vec();
        self.write(WHAT, move |connection, now| settling::extend(connection, &leases, ttl, now).map_err(|error| failure(WHAT, error))).await
    }

    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        check_outcomes(outcomes.len())?;
        if outcomes.is_empty() {
            return Ok(Vec::new());
        }
        self.write("could not settle", move |connection, now| settle_in(connection, &outcomes, now)).await
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        let page = page.clone();
        self.read(move |connection, _| parking::parked(connection, &page)).await
    }

    async fn causes(&self) -> Result<Vec<CauseCount>> {
        self.read(|connection, _| parking::causes(connection)).await
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        let which = which.clone();
        self.write("could not replay", move |connection, now| parking::take(connection, &which, now, true)).await
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        let which = which.clone();
        self.write("could not discard", move |connection, now| parking::take(connection, &which, now, false)).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.read(|connection, now| stats(connection, now).map_err(|error| failure(READ, error))).await
    }

    async fn purge(&self, subject: &Subject) -> Result<u64> {
        let subject = subject.clone();
        self.write("could not erase a subject", move |connection, _| parking::purge(connection, &subject)).await
    }

    async fn now(&self) -> Result<Timestamp> {
        Ok(time(self.database.host().now().as_microsecond()))
    }

    fn capabilities(&self) -> QueueCapabilities {
        let durable = !self.database.in_memory();
        QueueCapabilities {
            durable,
            survives_power_loss: durable && self.database.synchronous() == Synchronous::Full,
            shared: durable,
            atomic_enqueue: true,
            atomic_with_store: true,
            coalesces: true,
            notify: false,
            op_window: self.window,
        }
    }
}

fn stats(connection: &Connection, now: i64) -> rusqlite::Result<QueueStats> {
    let mut stats = QueueStats::new(time(now));
    let count = |sql: &str| -> rusqlite::Result<u64> {
        Ok(connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
    };
    stats.frozen = count("SELECT count(DISTINCT lane) FROM crm_sync_queue_parked WHERE froze = 1")?;
    stats.parked = count("SELECT count(*) FROM crm_sync_queue_parked")?;
    // What is leased is a number above 0, or a text, which is more than any number.
    let sql = "SELECT names.scope, sum(entries), min(oldest), sum(lanes), sum(leased) FROM \
        (SELECT grp, count(*) AS entries, min(enqueued_at) AS oldest, sum(state < 3) AS lanes, \
            sum(state < 3 AND expires > ?1 AND leased > 0) AS leased FROM crm_sync_queue_jobs GROUP BY grp) AS counted \
        JOIN crm_sync_queue_groups AS names ON names.id = counted.grp GROUP BY names.scope ORDER BY names.scope";
    let mut scopes = connection.prepare_cached(sql)?;
    let mut rows = scopes.query([now])?;
    while let Some(row) = rows.next()? {
        let (entries, lanes, leased): (i64, i64, i64) = (row.get(1)?, row.get(3)?, row.get(4)?);
        stats.lanes += lanes.unsigned_abs();
        stats.leased += leased.unsigned_abs();
        stats.scopes.push(ScopeStats::new(row.get::<_, String>(0)?, entries.unsigned_abs(), Some(time(row.get(2)?))));
    }
    stats.entries = stats.scopes.iter().map(|scope| scope.entries).sum();
    stats.oldest = stats.scopes.iter().filter_map(|scope| scope.oldest).min();
    Ok(stats)
}
