//! The queue, and what the host sees of it.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;
use sqlx::postgres::{PgConnection, PgListener, PgPool};

use crate::error::Result;
use crate::host::Host;
use crate::queue::api::{Queue, QueueCapabilities};
use crate::queue::entry::{Enqueued, NewEntry, OP_WINDOW};
use crate::queue::lease::{Claim, Lease, LeaseToken};
use crate::queue::parked::{CauseCount, Parked, ParkedFilter, ParkedPage, Subject};
use crate::queue::postgres::schema::{SCHEMA, preamble, timestamp};
use crate::queue::settle::{Settle, Settled};
use crate::queue::stats::QueueStats;
use crate::sql::{PostgresOptions, PostgresTables};

/// How a queue on PostgreSQL behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PostgresQueueOptions {
    /// How the database is used.
    pub database: PostgresOptions,
    /// How long an op id is remembered, in store time. Default: 7 days.
    pub window: Duration,
    /// Whether an enqueue wakes those who listen ([`Queue::wakeups`]). The server sends notices one commit after the other, so
    /// turn it off where many processes enqueue thousands of batches a second. Default: true.
    pub notify: bool,
}

impl Default for PostgresQueueOptions {
    fn default() -> Self {
        Self { database: PostgresOptions::default(), window: OP_WINDOW, notify: true }
    }
}

impl PostgresQueueOptions {
    /// Sets [`PostgresQueueOptions::database`].
    #[must_use]
    pub fn database(mut self, options: PostgresOptions) -> Self {
        self.database = options;
        self
    }

    /// Sets [`PostgresQueueOptions::window`].
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets [`PostgresQueueOptions::notify`].
    #[must_use]
    pub fn notify(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }
}

/// A queue in tables of the host's PostgreSQL database (14 or newer); any number of processes may share it.
///
/// The tables begin with `crm_sync_queue_` and stand in the first schema of the connections' `search_path`; what they hold is
/// private to this crate and not encrypted. Store time is the server's clock. What is acknowledged is on the server's disk, as
/// with [`crate::store::PostgresStore`].
///
/// [`PostgresQueue::enqueue_in`] is the outbox: a job is committed with the host's own data.
///
/// A dropped future rolls its transaction back, unless the commit itself was under way.
#[derive(Clone, Debug)]
pub struct PostgresQueue {
    pub(super) tables: PostgresTables,
    pub(super) window: i64,
    pub(super) notify: bool,
    /// For how many settles the long way is taken at once.
    pub(super) long_ways: Arc<AtomicU32>,
}

pub(super) const CHANNEL: &str = "crm_sync_queue";

impl PostgresQueue {
    /// A queue on `pool`. Nothing is sent yet. Call [`PostgresQueue::migrate`] before the first use.
    pub fn new(pool: PgPool, host: Host) -> Self {
        Self::with_options(pool, host, PostgresQueueOptions::default())
    }

    /// As [`PostgresQueue::new`], with options.
    pub fn with_options(pool: PgPool, host: Host, options: PostgresQueueOptions) -> Self {
        let window = i64::try_from(options.window.as_micros()).unwrap_or(i64::MAX / 4);
        Self {
            tables: PostgresTables::new(pool, host, options.database, SCHEMA),
            window,
            notify: options.notify,
            long_ways: Arc::default(),
        }
    }

    /// Makes or updates the tables. Does nothing if they are up to date; safe to call from several processes at once.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the tables are newer than this version of the library; [`crate::error::ErrorKind::Queue`] if the server fails
    /// or lost the tables this queue has used. Nothing is changed then.
    pub async fn migrate(&self) -> Result<()> {
        self.tables.migrate().await
    }

    /// A mark the tables got when they were made. A host that keeps it elsewhere and gives it back in
    /// [`PostgresOptions::generation`] is told, also after its own restart, when the database was replaced by an empty one.
    ///
    /// # Errors
    /// As all calls of a queue.
    pub async fn generation(&self) -> Result<String> {
        self.tables.ask_generation().await
    }

    /// As [`Queue::enqueue`], inside the transaction `connection` is in: the entries are there once the host commits, together
    /// with the host's own data, or never. Commit soon: until then settling the same lanes and enqueueing the same op ids wait.
    /// It must be READ COMMITTED, the server's default. Outside a transaction the call is one by itself.
    ///
    /// # Errors
    /// As [`Queue::enqueue`]; the transaction goes on without the entries then.
    pub async fn enqueue_in(&self, connection: &mut PgConnection, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        const WHAT: &str = "could not enqueue";
        self.tables
            .bounded(WHAT, async {
                let mut inner = self.tables.nested(connection, WHAT).await?;
                let outcome = self.enqueue_on(&mut inner, entries).await?;
                inner.commit().await.map_err(|error| self.tables.failure(WHAT, error))?;
                Ok(outcome)
            })
            .await
    }

    /// As [`Queue::settle`], inside the transaction `connection` is in: the leases end once the host commits. It must be READ
    /// COMMITTED.
    ///
    /// # Errors
    /// As [`Queue::settle`]; the transaction goes on without it then.
    pub async fn settle_in(&self, connection: &mut PgConnection, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        const WHAT: &str = "could not settle";
        self.tables
            .bounded(WHAT, async {
                let mut inner = self.tables.nested(connection, WHAT).await?;
                let outcome = self.settle_on(&mut inner, &outcomes).await?;
                inner.commit().await.map_err(|error| self.tables.failure(WHAT, error))?;
                Ok(outcome)
            })
            .await
    }
}

/// Runs a body in a transaction of its own and commits it.
macro_rules! transaction {
    ($queue:expr, $what:expr, |$connection:ident| $body:expr) => {{
        let what = $what;
        let (transaction, outcome) = $queue
            .tables
            .bounded(what, async {
                let mut $connection = $queue.tables.begin(what).await?;
                let outcome = $body?;
                Ok(($connection, outcome))
            })
            .await?;
        $queue.tables.commit(transaction, what).await?;
        Ok(outcome)
    }};
}

#[async_trait]
impl Queue for PostgresQueue {
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        transaction!(self, "could not enqueue", |connection| self.enqueue_on(&mut connection, entries).await)
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        if want.lanes == 0 {
            return Ok(Vec::new());
        }
        transaction!(self, "could not claim", |connection| self.claim_on(&mut connection, want).await)
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        transaction!(self, "could not extend leases", |connection| self.extend_on(&mut connection, leases, ttl).await)
    }

    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        if outcomes.is_empty() {
            return Ok(Vec::new());
        }
        const WHAT: &str = "could not settle";
        if self.may_be_short(&outcomes) {
            let (transaction, done) = self
                .tables
                .bounded(WHAT, async {
                    let mut transaction = self.tables.begin(WHAT).await?;
                    let done = self.settle_short(&mut transaction, &outcomes).await?;
                    Ok((transaction, done))
                })
                .await?;
            if done {
                self.tables.commit(transaction, WHAT).await?;
                return Ok(vec![Settled::Applied; outcomes.len()]);
            }
            let undone = async { transaction.rollback().await.map_err(|error| self.tables.failure(WHAT, error)) };
            self.tables.bounded(WHAT, undone).await?;
        }
        transaction!(self, WHAT, |connection| self.settle_on(&mut connection, &outcomes).await)
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        self.parked_page(page).await
    }

    async fn causes(&self) -> Result<Vec<CauseCount>> {
        self.cause_counts().await
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        self.take_parked(which, true).await
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        self.take_parked(which, false).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.count().await
    }

    async fn purge(&self, subject: &Subject) -> Result<u64> {
        transaction!(self, "could not purge", |connection| self.purge_on(&mut connection, subject).await)
    }

    async fn now(&self) -> Result<Timestamp> {
        const WHAT: &str = "could not ask the queue for its time";
        let now =
            self.tables.bounded(WHAT, async { preamble(&self.tables, &mut *self.tables.connection(WHAT).await?, WHAT).await }).await?;
        timestamp(now)
    }

    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities {
            durable: true,
            survives_power_loss: true,
            shared: true,
            atomic_enqueue: true,
            atomic_with_store: true,
            coalesces: true,
            notify: self.notify,
            op_window: Duration::from_micros(u64::try_from(self.window).unwrap_or(0)),
        }
    }

    /// Takes one connection of the pool for as long as the stream lives.
    fn wakeups(&self) -> Option<BoxStream<'static, ()>> {
        if !self.notify {
            return None;
        }
        let pool = self.tables.pool().clone();
        let listening = stream::once(async move {
            let mut listener = PgListener::connect_with(&pool).await.ok()?;
            listener.listen(CHANNEL).await.ok()?;
            Some(listener)
        });
        let notices = listening.filter_map(|listener| async { listener }).flat_map(|listener| {
            stream::unfold(listener, |mut listener| async move {
                // A broken connection is made anew by the listener; what came in between is missed, hence the extra item.
                match listener.try_recv().await {
                    Ok(_) => Some(((), listener)),
                    Err(_) => None,
                }
            })
        });
        Some(notices.boxed())
    }
}
