//! The queue, and what the host sees of it.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use redis::{FromRedisValue, Script, ScriptInvocation, Value};

use crate::error::{ErrorKind, Result};
use crate::host::Host;
use crate::queue::api::{Queue, QueueCapabilities};
use crate::queue::entry::{Enqueued, EntryId, Merge, NewEntry, OP_WINDOW, check_batch, check_outcomes};
use crate::queue::lane::Lane;
use crate::queue::lease::{Claim, Lease, LeaseToken, MAX_TTL};
use crate::queue::parked::{Parked, ParkedFilter, ParkedPage, Subject};
use crate::queue::redis::rows::{self, damaged, name, time};
use crate::queue::redis::scripts::{CLAIM, ENQUEUE, EXTEND, PARKED, PURGE, SETTLE, STATS, TAKE};
use crate::queue::settle::{Settle, Settled, Then};
use crate::queue::stats::{QueueStats, ScopeStats};
use crate::sql::{RedisConnection, RedisKeys, RedisOptions, RedisSchema};

const SCHEMA: RedisSchema = RedisSchema { component: "queue", kind: ErrorKind::Queue, version: 3 };
/// Rows per script that reads or takes many.
const PAGE: usize = 1_000;

/// How a queue on Redis behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RedisQueueOptions {
    /// How the server is used.
    pub server: RedisOptions,
    /// How long an op id is remembered, in store time. Default: 7 days. Each costs about 100 bytes of the server's memory more
    /// than its length.
    pub window: Duration,
}

impl Default for RedisQueueOptions {
    fn default() -> Self {
        Self { server: RedisOptions::default(), window: OP_WINDOW }
    }
}

impl RedisQueueOptions {
    /// Sets [`RedisQueueOptions::server`].
    #[must_use]
    pub fn server(mut self, options: RedisOptions) -> Self {
        self.server = options;
        self
    }

    /// Sets [`RedisQueueOptions::window`].
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }
}

/// A queue on a Redis server (6.2 or newer, or Valkey); any number of processes may share it.
///
/// The host brings the connection. Each call is one script, so it is atomic and alone; all keys are on one node of a cluster.
/// Store time is the server's clock. Everything stays in the server's memory; nothing is encrypted. There are no wake-ups: poll.
///
/// [`RedisQueue::open`] refuses a server that may lose what it acknowledged unless [`RedisOptions::accept_loss`] is set. A
/// server that lost its data, or went back behind a write this handle has seen, is a loud [`ErrorKind::Queue`] that is not
/// retried, never an empty queue.
///
/// A dropped future leaves its call wholly done or not begun.
#[derive(Clone)]
pub struct RedisQueue<C> {
    keys: RedisKeys<C>,
    window: i64,
    /// The newest write this handle knows; the server must not be behind it.
    newest: Arc<AtomicU64>,
}

impl<C> fmt::Debug for RedisQueue<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQueue").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl<C: RedisConnection> RedisQueue<C> {
    /// A queue on the server behind `connection`. Asks the server for its settings. Call [`RedisQueue::migrate`] before the first
    /// use.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the server may lose what it acknowledged and that is not accepted, or if its keys are of another
    /// version; [`ErrorKind::Queue`] if it cannot be asked or has another generation than the one wanted.
    pub async fn open(connection: C, host: Host) -> Result<Self> {
        Self::open_with(connection, host, RedisQueueOptions::default()).await
    }

    /// As [`RedisQueue::open`], with options.
    ///
    /// # Errors
    /// As [`RedisQueue::open`].
    pub async fn open_with(connection: C, host: Host, options: RedisQueueOptions) -> Result<Self> {
        let keys = RedisKeys::open(connection, host, options.server, SCHEMA).await?;
        Ok(Self { keys, window: micros(options.window), newest: Arc::default() })
    }

    /// Marks the keys as this library's. Does nothing if that was done; safe to call from several processes at once.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the keys are of another version; [`ErrorKind::Queue`] if the server fails or lost the data this
    /// queue has used.
    pub async fn migrate(&self) -> Result<()> {
        self.keys.migrate().await
    }

    /// A mark the data got when the queue was prepared. A host that keeps it elsewhere and gives it back in
    /// [`RedisOptions::generation`] is told, also after its own restart, when the server has lost its data.
    ///
    /// # Errors
    /// As all calls of a queue.
    pub async fn generation(&self) -> Result<String> {
        Ok(self.keys.generation().await?.to_owned())
    }

    async fn prepare(&self, script: &'static Script) -> Result<ScriptInvocation<'static>> {
        let mut invocation = script.key(self.keys.key("meta"));
        invocation.arg(self.keys.generation().await?).arg(self.newest.load(Ordering::Acquire));
        Ok(invocation)
    }

    /// Runs a script whose answer begins with the number of the write; answers the rest.
    async fn write(&self, what: &str, invocation: &ScriptInvocation<'_>) -> Result<std::vec::IntoIter<Value>> {
        let answer: Vec<Value> = self.keys.write(what, invocation).await?;
        let mut answer = answer.into_iter();
        let number: u64 = next(&mut answer)?;
        self.newest.fetch_max(number, Ordering::AcqRel);
        Ok(answer)
    }

    /// Raw dead letters, the oldest id first.
    async fn raw_parked(&self, after: u64, limit: usize) -> Result<Vec<Parked>> {
        let mut invocation = self.prepare(&PARKED).await?;
        invocation.arg(after).arg(limit);
        let rows: Vec<(u64, Vec<u8>)> = self.keys.run("could not read the dead letters", &invocation).await?;
        rows.into_iter().map(|(id, raw)| rows::parked(id, raw)).collect()
    }

    async fn take(&self, which: &ParkedFilter, back: bool) -> Result<u64> {
        let what = if back { "could not replay dead letters" } else { "could not discard dead letters" };
        let (mut after, mut total) = (0, 0);
        loop {
            let found = self.raw_parked(after, PAGE).await?;
            let Some(last) = found.last() else { return Ok(total) };
            after = last.entry.id.0;
            let ids: Vec<u64> = found.iter().filter(|parked| which.matches(parked)).map(|parked| parked.entry.id.0).collect();
            if !ids.is_empty() {
                let mut invocation = self.prepare(&TAKE).await?;
                invocation.arg(if back { "1" } else { "0" }).arg(ids);
                let taken: u64 = next(&mut self.write(what, &invocation).await?)?;
                total += taken;
            }
            if found.len() < PAGE {
                return Ok(total);
            }
        }
    }
}

/// Items in their order, those together that follow each other and have `K` in common: it is sent once for all of them.
struct Runs<K, T>(Vec<(K, Vec<T>)>);

impl<K, T> Default for Runs<K, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, T> Runs<K, T> {
    fn add(&mut self, key: K, item: T) {
        match self.0.last_mut() {
            Some((last, items)) if *last == key => items.push(item),
            _ => self.0.push((key, vec![item])),
        }
    }
}

/// The lanes that stand in a call only once.
fn once(lanes: &[String]) -> HashSet<&str> {
    let mut times: HashMap<&str, usize> = HashMap::with_capacity(lanes.len());
    for lane in lanes {
        *times.entry(lane).or_default() += 1;
    }
    times.into_iter().filter(|(_, times)| *times == 1).map(|(lane, _)| lane).collect()
}

fn micros(duration: Duration) -> i64 {
    // The scripts count in doubles, which are exact up to 2^53.
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX).min(100 * 365 * 24 * 3_600_000_000)
}

fn next<T: FromRedisValue>(answer: &mut std::vec::IntoIter<Value>) -> Result<T> {
    let value = answer.next().ok_or_else(|| damaged("an answer is too short"))?;
    redis::from_redis_value(value).map_err(|_| damaged("an answer has another shape"))
}

fn flags(answer: std::vec::IntoIter<Value>, count: usize) -> Result<Vec<bool>> {
    let flags: Vec<bool> =
        answer.map(|value| redis::from_redis_value(value).map_err(|_| damaged("an answer has another shape"))).collect::<Result<_>>()?;
    if flags.len() == count { Ok(flags) } else { Err(damaged("an answer has another length")) }
}

#[async_trait]
impl<C: RedisConnection> Queue for RedisQueue<C> {
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        check_batch(&entries)?;
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let lanes: Vec<String> = entries.iter().map(|entry| entry.lane.encode()).collect();
        let alone = once(&lanes);
        // Of two equal op ids of one call the first is the one.
        let mut ops = HashSet::with_capacity(entries.len());
        let sent: Vec<bool> = entries.iter().map(|entry| ops.insert(entry.op.as_str())).collect();
        let form = |entry: &NewEntry, lane: &str| {
            let takes = entry.coalesce.as_ref().is_some_and(|coalesce| coalesce.merge == Merge::TakeNew);
            let not_before = entry.not_before.map_or(0, Timestamp::as_microsecond);
            (not_before, entry.priority.rank(), rows::group(entry), rows::joining(entry), takes, alone.contains(lane))
        };
        let mut runs = Runs::default();
        for ((entry, lane), _) in entries.iter().zip(&lanes).zip(&sent).filter(|(_, sent)| **sent) {
            runs.add(form(entry, lane), (entry, lane));
        }
        let mut invocation = self.prepare(&ENQUEUE).await?;
        invocation.arg(self.window).arg(runs.0.len());
        for ((not_before, rank, group, joining, takes, alone), of) in &runs.0 {
            invocation.arg(of.len()).arg(not_before).arg(rank).arg(group).arg(joining);
            invocation.arg(if *takes { "t" } else { "" }).arg(u8::from(*alone));
            for (entry, lane) in of {
                invocation.arg(lane).arg(name(&entry.op)).arg(rows::rest(entry));
            }
        }
        let mut answer = self.write("could not enqueue", &invocation).await?;
        sent.into_iter()
            .map(|sent| {
                let id: i64 = if sent { next(&mut answer)? } else { 0 };
                Ok(match id {
                    0 => Enqueued::Duplicate,
                    1.. => Enqueued::New(EntryId(id.unsigned_abs())),
                    _ => Enqueued::Coalesced(EntryId(id.unsigned_abs())),
                })
            })
            .collect()
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        if want.lanes == 0 {
            return Ok(Vec::new());
        }
        let ttl = micros(want.ttl.min(MAX_TTL));
        let mut invocation = self.prepare(&CLAIM).await?;
        invocation.arg(want.lanes.min(100_000)).arg(want.entries.clamp(1, 100_000)).arg(ttl).arg(want.skip_scopes.len());
        want.skip_scopes.iter().for_each(|scope| {
            invocation.arg(name(scope));
        });
        invocation.arg(want.kinds.len());
        want.kinds.iter().for_each(|kind| {
            invocation.arg(name(kind));
        });
        let mut answer = self.write("could not claim", &invocation).await?;
        let now: i64 = next(&mut answer)?;
        let expires = time(now + ttl)?;
        let mut leases = Vec::with_capacity(answer.len() / 7);
        while answer.len() > 0 {
            let (lane, fence): (String, u64) = (next(&mut answer)?, next(&mut answer)?);
            let (deliveries, attempts, count): (u32, u32, usize) = (next(&mut answer)?, next(&mut answer)?, next(&mut answer)?);
            let lane = Lane::decode(&lane).ok_or_else(|| damaged("a lane does not parse"))?;
            let mut entries = Vec::with_capacity(count.min(answer.len()));
            for _ in 0..count {
                let id: u64 = next(&mut answer)?;
                entries.push(rows::entry(id, next(&mut answer)?)?);
            }
            leases.push(Lease::new(LeaseToken { lane, fence }, expires, deliveries, attempts, entries));
        }
        Ok(leases)
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let mut invocation = self.prepare(&EXTEND).await?;
        invocation.arg(micros(ttl.min(MAX_TTL)));
        for token in leases {
            invocation.arg(token.lane.encode()).arg(token.fence);
        }
        let held = flags(self.write("could not extend leases", &invocation).await?, leases.len())?;
        Ok(leases.iter().zip(held).filter(|(_, held)| !held).map(|(token, _)| token.clone()).collect())
    }

    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        check_outcomes(outcomes.len())?;
        if outcomes.is_empty() {
            return Ok(Vec::new());
        }
        let lanes: Vec<String> = outcomes.iter().map(|outcome| outcome.token.lane.encode()).collect();
        let alone = once(&lanes);
        let mut runs = Runs::default();
        for (outcome, lane) in outcomes.iter().zip(&lanes) {
            runs.add((outcome.done, &outcome.then, alone.contains(lane.as_str())), (lane, outcome.token.fence));
        }
        let mut invocation = self.prepare(&SETTLE).await?;
        invocation.arg(runs.0.len());
        for ((done, then, alone), of) in &runs.0 {
            invocation.arg(of.len()).arg(done);
            match then {
                Then::Park { entries, cause, freeze } => {
                    let json = serde_json::to_string(cause).map_err(|_| damaged("a cause does not serialise"))?;
                    invocation.arg("park").arg((*entries).clamp(1, 1_000_000)).arg(u8::from(*freeze));
                    invocation.arg(name(&cause.group())).arg(json);
                }
                Then::Defer { wait } => {
                    invocation.arg("defer").arg(micros(*wait)).arg("0").arg("").arg("");
                }
                Then::Release => {
                    invocation.arg("release").arg(0).arg("0").arg("").arg("");
                }
                Then::Retry { wait } => {
                    invocation.arg("retry").arg(micros(*wait)).arg("0").arg("").arg("");
                }
            }
            invocation.arg(u8::from(*alone));
            for (lane, fence) in of {
                invocation.arg(lane).arg(fence);
            }
        }
        let applied = flags(self.write("could not settle", &invocation).await?, outcomes.len())?;
        Ok(applied.into_iter().map(|applied| if applied { Settled::Applied } else { Settled::LeaseLost }).collect())
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        let mut found = Vec::new();
        let mut after = page.after.map_or(0, |id| id.0);
        while found.len() < page.limit {
            let rows = self.raw_parked(after, PAGE).await?;
            let more = rows.len() == PAGE;
            after = rows.last().map_or(after, |parked| parked.entry.id.0);
            found.extend(rows.into_iter().filter(|parked| page.filter.matches(parked)));
            if !more {
                break;
            }
        }
        found.truncate(page.limit);
        Ok(found)
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        self.take(which, true).await
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        self.take(which, false).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        let invocation = self.prepare(&STATS).await?;
        let answer: Vec<Value> = self.keys.run("could not count the queue", &invocation).await?;
        let mut answer = answer.into_iter();
        let mut stats = QueueStats::new(time(next(&mut answer)?)?);
        stats.entries = next(&mut answer)?;
        stats.lanes = next(&mut answer)?;
        stats.leased = next(&mut answer)?;
        stats.frozen = next(&mut answer)?;
        stats.parked = next(&mut answer)?;
        while answer.len() >= 3 {
            let (scope, entries, oldest): (String, u64, i64) = (next(&mut answer)?, next(&mut answer)?, next(&mut answer)?);
            let scope = crate::queue::lane::unescape(&scope).ok_or_else(|| damaged("a scope is not escaped"))?;
            stats.scopes.push(ScopeStats::new(scope, entries, Some(time(oldest)?)));
        }
        stats.scopes.sort_by(|one, other| one.scope.cmp(&other.scope));
        stats.oldest = stats.scopes.iter().filter_map(|scope| scope.oldest).min();
        Ok(stats)
    }

    /// Reads through all lanes in small steps, unless the subject names its connection and entity.
    async fn purge(&self, subject: &Subject) -> Result<u64> {
        const WHAT: &str = "could not purge";
        let mut filter = ParkedFilter::all().record(subject.record.clone());
        filter.connection.clone_from(&subject.connection);
        filter.entity.clone_from(&subject.entity);
        let (mut total, mut cursor) = (0, 0);
        loop {
            let lanes = if let (Some(connection), Some(entity)) = (&subject.connection, &subject.entity) {
                vec![Lane::new(connection.clone(), entity.clone(), subject.record.clone()).encode()]
            } else {
                let (next, found) = self.keys.scan_names("lanes", cursor, PAGE, WHAT).await?;
                cursor = next;
                found.into_iter().filter(|lane| Lane::decode(lane).is_some_and(|lane| subject.matches(&lane))).collect()
            };
            if !lanes.is_empty() {
                let mut invocation = self.prepare(&PURGE).await?;
                invocation.arg(lanes);
                let erased: u64 = next(&mut self.write(WHAT, &invocation).await?)?;
                total += erased;
            }
            if cursor == 0 {
                break;
            }
        }
        // Last: what somebody parked until its lease was lost just now.
        Ok(total + self.take(&filter, false).await?)
    }

    async fn now(&self) -> Result<Timestamp> {
        time(self.keys.micros("could not ask the queue for its time").await?)
    }

    fn capabilities(&self) -> QueueCapabilities {
        QueueCapabilities {
            durable: self.keys.logged(),
            survives_power_loss: self.keys.flushed(),
            shared: true,
            atomic_enqueue: true,
            atomic_with_store: false,
            coalesces: true,
            notify: false,
            op_window: Duration::from_micros(u64::try_from(self.window).unwrap_or(0)),
        }
    }
}
