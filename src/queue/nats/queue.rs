//! The queue, and what the host sees of it.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_trait::async_trait;
use futures_util::stream::{self, BoxStream, StreamExt};
use jiff::Timestamp;

use crate::error::Result;
use crate::host::Host;
use crate::queue::api::{Queue, QueueCapabilities};
use crate::queue::entry::{Enqueued, NewEntry, check_batch, check_outcomes};
use crate::queue::lease::{Claim, Lease, LeaseToken};
use crate::queue::memory::time;
use crate::queue::nats::command::{Command, Outcome, WireNew, WireSettle, damaged, micros};
use crate::queue::nats::log::Log;
use crate::queue::nats::options::NatsQueueOptions;
use crate::queue::parked::{Parked, ParkedFilter, ParkedPage, Subject};
use crate::queue::settle::{Settle, Settled};
use crate::queue::stats::QueueStats;

/// A queue on NATS JetStream (server 2.9 or newer); any number of processes may share it. Clones share one copy of the state.
///
/// JetStream has no transactions and no list of what waits, so the stream is a log of calls: each call is one message (a large
/// enqueue or settle several), the order of the stream is the order of the calls, and each handle does them all in that order
/// on its own copy in memory. So leases, fences and order are the same everywhere without any lock. Store time is the time the
/// server gave the message, and never goes back: if the server's clock is set back, it goes on at half its speed until the clock
/// is there again. Now and then a handle writes its copy into a snapshot and drops the log before it.
///
/// What that costs: each process holds the whole queue in memory, payloads and remembered op ids included, and reads every
/// call of the others. For a backlog of millions use PostgreSQL.
///
/// JetStream writes to the disk some time after it acknowledges (2 minutes by default, `sync_interval`): what was acknowledged
/// survives the end of the server's process, not a power cut on all servers that keep the stream. A stream that is gone or made
/// anew is a loud [`crate::error::ErrorKind::Queue`] that is not retried, never an empty queue.
///
/// A dropped future leaves its call done or not begun, a large one perhaps in part; repeating it is safe.
#[derive(Clone, Debug)]
pub struct NatsQueue {
    log: Arc<Log>,
    window: i64,
}

impl NatsQueue {
    /// A queue on `context`. Nothing is sent yet. Call [`NatsQueue::migrate`] before the first use.
    pub fn new(context: Context, host: Host) -> Self {
        Self::with_options(context, host, NatsQueueOptions::default())
    }

    /// As [`NatsQueue::new`], with options.
    pub fn with_options(context: Context, host: Host, options: NatsQueueOptions) -> Self {
        let window = i64::try_from(micros(options.window)).unwrap_or(i64::MAX);
        Self { log: Arc::new(Log::new(context, host, options)), window }
    }

    /// Makes the streams. Does nothing if they are there; safe to call from several processes at once.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if a stream of this name is of another version or not this library's;
    /// [`crate::error::ErrorKind::Queue`] if the server fails or lost the stream this queue has used.
    pub async fn migrate(&self) -> Result<()> {
        self.log.migrate().await
    }

    /// A mark the stream got when it was made. A host that keeps it elsewhere and gives it back in
    /// [`NatsQueueOptions::generation`] is told, also after its own restart, when the server has lost its data.
    ///
    /// # Errors
    /// As all calls of a queue.
    pub async fn generation(&self) -> Result<String> {
        Ok(self.log.generation().await?.to_owned())
    }

    async fn take(&self, which: &ParkedFilter, back: bool) -> Result<u64> {
        let what = if back { "could not replay dead letters" } else { "could not discard dead letters" };
        let ids: Vec<u64> = {
            let replica = self.log.read(what).await?;
            replica.state.parked.iter().filter(|(_, (parked, _))| which.matches(parked)).map(|(id, _)| *id).collect()
        };
        let mut total = 0;
        for ids in ids.chunks(10_000) {
            match self.log.append(what, Command::Take { ids: ids.to_vec(), back }).await? {
                Outcome::Count(count) => total += count,
                _ => return Err(damaged("a command came to something else")),
            }
        }
        Ok(total)
    }
}

/// Parts of at most so many bytes, by an estimate that is above the truth.
fn parts<T>(items: Vec<T>, limit: usize, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut all: Vec<Vec<T>> = Vec::new();
    let mut used = usize::MAX;
    for item in items {
        let bytes = size(&item);
        if used.saturating_add(bytes) > limit {
            all.push(Vec::new());
            used = 0;
        }
        used = used.saturating_add(bytes);
        if let Some(part) = all.last_mut() {
            part.push(item);
        }
    }
    all
}

fn json_size<T: serde::Serialize>(item: &T) -> usize {
    serde_json::to_vec(item).map_or(usize::MAX / 2, |json| json.len() + 1)
}

#[async_trait]
impl Queue for NatsQueue {
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        check_batch(&entries)?;
        let wire: Vec<WireNew> = entries.iter().map(WireNew::new).collect();
        let mut enqueued = Vec::with_capacity(entries.len());
        for entries in parts(wire, self.log.limit() - 1_000, json_size) {
            match self.log.append("could not enqueue", Command::Enqueue { window: self.window, entries }).await? {
                Outcome::Enqueued(mut part) => enqueued.append(&mut part),
                _ => return Err(damaged("a command came to something else")),
            }
        }
        Ok(enqueued)
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        const WHAT: &str = "could not claim";
        // An empty queue is asked often; that must not fill the log.
        if want.lanes == 0 || self.log.is_idle(&*self.log.read(WHAT).await?) {
            return Ok(Vec::new());
        }
        let command = Command::Claim {
            lanes: want.lanes,
            entries: want.entries,
            ttl: micros(want.ttl),
            skip: want.skip_scopes.clone(),
            kinds: want.kinds.clone(),
        };
        match self.log.append(WHAT, command).await? {
            Outcome::Claimed(leases) => Ok(leases),
            _ => Err(damaged("a command came to something else")),
        }
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        let mut lost = Vec::new();
        for leases in parts(leases.to_vec(), self.log.limit() - 1_000, json_size) {
            match self.log.append("could not extend leases", Command::Extend { leases, ttl: micros(ttl) }).await? {
                Outcome::Lost(mut part) => lost.append(&mut part),
                _ => return Err(damaged("a command came to something else")),
            }
        }
        Ok(lost)
    }

    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        check_outcomes(outcomes.len())?;
        let wire: Vec<WireSettle> = outcomes.into_iter().map(WireSettle::new).collect();
        let mut settled = Vec::with_capacity(wire.len());
        for outcomes in parts(wire, self.log.limit() - 1_000, json_size) {
            match self.log.append("could not settle", Command::Settle { outcomes }).await? {
                Outcome::Settled(mut part) => settled.append(&mut part),
                _ => return Err(damaged("a command came to something else")),
            }
        }
        Ok(settled)
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        let replica = self.log.read("could not read the dead letters").await?;
        let after = page.after.map_or(0, |id| id.0.saturating_add(1));
        let all = replica.state.parked.range(after..).map(|(_, (parked, _))| parked);
        Ok(all.filter(|parked| page.filter.matches(parked)).take(page.limit).cloned().collect())
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        self.take(which, true).await
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        self.take(which, false).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        const WHAT: &str = "could not count the queue";
        let now = match self.log.append(WHAT, Command::Look).await? {
            Outcome::Looked(now) => now,
            _ => return Err(damaged("a command came to something else")),
        };
        Ok(self.log.read(WHAT).await?.state.stats(now))
    }

    /// The log is rewritten, so that what was erased is not in it either.
    async fn purge(&self, subject: &Subject) -> Result<u64> {
        const WHAT: &str = "could not purge";
        let command =
            Command::Purge { connection: subject.connection.clone(), entity: subject.entity.clone(), record: subject.record.clone() };
        match self.log.append(WHAT, command).await? {
            Outcome::Count(count) => {
                self.log.forget(WHAT).await?;
                Ok(count)
            }
            _ => Err(damaged("a command came to something else")),
        }
    }

    async fn now(&self) -> Result<Timestamp> {
        match self.log.append("could not ask the queue for its time", Command::Look).await? {
            Outcome::Looked(now) => Ok(time(now)),
            _ => Err(damaged("a command came to something else")),
        }
    }

    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities {
            durable: true,
            survives_power_loss: false,
            shared: true,
            atomic_enqueue: false,
            atomic_with_store: false,
            coalesces: true,
            notify: true,
            op_window: Duration::from_micros(u64::try_from(self.window).unwrap_or(0)),
        }
    }

    fn wakeups(&self) -> Option<BoxStream<'static, ()>> {
        let log = Arc::clone(&self.log);
        let subscribed = stream::once(async move {
            let subject = log.subject(log.generation().await.ok()?);
            log.context().client().subscribe(subject).await.ok()
        });
        let messages = subscribed.filter_map(|subscriber| async { subscriber }).flatten();
        Some(messages.map(|_| ()).boxed())
    }
}
