//! The log in a stream, and this handle's copy of what it comes to.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use async_nats::HeaderMap;
use async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
use async_nats::jetstream::Context;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{GetStreamErrorKind, PublishErrorKind};
use async_nats::jetstream::stream::{Config, Info, LastRawMessageErrorKind, StorageType};
use futures_util::StreamExt;
use futures_util::lock::Mutex as AsyncMutex;
use futures_util::stream;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::queue::memory::State;
use crate::queue::nats::command::{Command, Envelope, Outcome, apply, damaged};
use crate::queue::nats::options::NatsQueueOptions;
use crate::queue::nats::snapshot::{self, End};
use crate::sql::within;

/// The version of what stands in the log and of what it does.
const VERSION: u32 = 2;

pub(super) struct Log {
    context: Context,
    host: Host,
    options: NatsQueueOptions,
    generation: OnceLock<String>,
    replica: AsyncMutex<Replica>,
    /// Random: tells this handle's commands from those of others.
    origin: String,
    counter: AtomicU64,
    /// The last message that was done: a log that ends before it has lost data.
    seen: AtomicU64,
    /// Commands of this handle whose outcome somebody waits for.
    pending: Mutex<HashSet<u64>>,
}

#[derive(Default)]
pub(super) struct Replica {
    pub(super) state: State,
    /// The last message that was done.
    applied: u64,
    /// The server's time of it.
    stamp: i64,
    /// Its store time; never goes back.
    now: i64,
    /// The last message that the newest snapshot known holds.
    kept: u64,
    outcomes: HashMap<u64, Outcome>,
    /// What to add to the host's monotonic mark for a time that the server's has not reached yet.
    ahead: Option<i64>,
}

/// Stops waiting for an outcome when dropped.
struct Waiting<'a>(&'a Log, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.pending().remove(&self.1);
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("stream", &self.options.name).finish_non_exhaustive()
    }
}

impl Log {
    pub(super) fn new(context: Context, host: Host, options: NatsQueueOptions) -> Self {
        let origin = host.new_id();
        Self {
            context,
            host,
            options,
            generation: OnceLock::new(),
            replica: AsyncMutex::default(),
            origin,
            counter: AtomicU64::new(0),
            seen: AtomicU64::new(0),
            pending: Mutex::default(),
        }
    }

    fn pending(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn context(&self) -> &Context {
        &self.context
    }

    fn snapshots(&self) -> String {
        format!("{}_snapshots", self.options.name)
    }

    pub(super) fn subject(&self, generation: &str) -> String {
        format!("{}.{generation}.log", self.options.name)
    }

    fn snapshot_subject(&self, generation: &str, name: &str) -> String {
        format!("{}.{generation}.snapshot.{name}", self.options.name)
    }

    /// The largest message to write, with room for what the server adds.
    pub(super) fn limit(&self) -> usize {
        self.context.client().server_info().max_payload.clamp(64 * 1024, 8 * 1024 * 1024) / 10 * 9
    }

    async fn bounded<T>(&self, what: &str, work: impl Future<Output = Result<T>> + Send) -> Result<T> {
        within(&self.host, self.options.call_timeout, ErrorKind::Queue, what, work).await
    }

    fn lost(&self, found: &str) -> Error {
        let wanted = self.generation.get().or(self.options.generation.as_ref()).map_or("unknown", String::as_str);
        let message = format!(
            "the queue on NATS lost its data: the stream {} had generation {wanted}, now there is {found}; restore the server's store, or \
             start over knowingly with another name",
            self.options.name
        );
        Error::new(ErrorKind::Queue, message).retrying(Retry::Never)
    }

    async fn info(&self, what: &str) -> Result<Option<Info>> {
        let asked = async {
            match self.context.get_stream(&self.options.name).await {
                Ok(stream) => Ok(Some(stream.cached_info().clone())),
                Err(error) => match error.kind() {
                    GetStreamErrorKind::JetStream(inner) if inner.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
                    _ => Err(failure(what, error)),
                },
            }
        };
        self.bounded(what, asked).await
    }

    /// The stream, if it is the one that is known. Its generation is remembered.
    async fn known(&self, what: &str) -> Result<Info> {
        let Some(info) = self.info(what).await? else {
            if self.generation.get().or(self.options.generation.as_ref()).is_some() {
                return Err(self.lost("no stream"));
            }
            return Err(Error::config(format!(
                "{what}: there is no stream {}; call migrate() once before using it, and if that was done, the server has lost its data",
                self.options.name
            )));
        };
        let (version, generation) = self.marks(&info)?;
        if version != VERSION {
            let remedy = if version > VERSION { "use a newer version of the library" } else { "use the version that made it" };
            let name = &self.options.name;
            return Err(Error::config(format!("{what}: the stream {name} has version {version}, this library knows {VERSION}; {remedy}")));
        }
        let wanted = self.options.generation.as_ref().unwrap_or_else(|| self.generation.get_or_init(|| generation.clone()));
        if *wanted != generation {
            return Err(self.lost(&format!("generation {generation}")));
        }
        self.generation.get_or_init(|| generation);
        Ok(info)
    }

    fn marks(&self, info: &Info) -> Result<(u32, String)> {
        let foreign = || Error::config(format!("the stream {} was not made by this library; choose another name", self.options.name));
        let version = info.config.description.as_deref().and_then(|text| text.strip_prefix("crm-sync queue, version "));
        let version = version.and_then(|version| version.parse().ok()).ok_or_else(foreign)?;
        let subject = info.config.subjects.first().ok_or_else(foreign)?;
        let generation = subject.strip_prefix(&format!("{}.", self.options.name)).and_then(|rest| rest.strip_suffix(".log"));
        Ok((version, generation.ok_or_else(foreign)?.to_owned()))
    }

    pub(super) async fn generation(&self) -> Result<&str> {
        if self.generation.get().is_none() {
            self.known("could not use the queue on NATS").await?;
        }
        self.generation.get().map(String::as_str).ok_or_else(|| self.lost("no stream"))
    }

    pub(super) async fn migrate(&self) -> Result<()> {
        let what = "could not prepare the queue on NATS";
        if self.info(what).await?.is_none() {
            if self.generation.get().or(self.options.generation.as_ref()).is_some() {
                return Err(self.lost("no stream"));
            }
            let subject = self.subject(&self.host.new_id());
            let description = Some(format!("crm-sync queue, version {VERSION}"));
            let config = self.config(self.options.name.clone(), subject, description);
            // Of several that begin at once one makes the stream; the others find it.
            let made = self.bounded(what, async { self.context.create_stream(config).await.map_err(|error| failure(what, error)) }).await;
            if let Err(error) = made
                && self.info(what).await?.is_none()
            {
                return Err(error);
            }
        }
        self.known(what).await?;
        let subject = self.snapshot_subject(self.generation().await?, ">");
        let config = self.config(self.snapshots(), subject, None);
        self.bounded(what, async { self.context.get_or_create_stream(config).await.map_err(|error| failure(what, error)) }).await?;
        Ok(())
    }

    fn config(&self, name: String, subject: String, description: Option<String>) -> Config {
        Config {
            name,
            subjects: vec![subject],
            storage: StorageType::File,
            num_replicas: self.options.replicas,
            description,
            ..Config::default()
        }
    }

    /// Writes a command and answers what it came to.
    pub(super) async fn append(&self, what: &str, command: Command) -> Result<Outcome> {
        let generation = self.generation().await?;
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        let envelope = Envelope { origin: self.origin.clone(), number, command };
        let message = serde_json::to_vec(&envelope).map_err(|_| damaged("a command does not serialise"))?;
        if message.len() > self.limit() {
            let (size, limit) = (message.len(), self.limit());
            let text = format!("{what}: a message of {size} bytes is more than the server takes ({limit}); use smaller batches");
            return Err(Error::new(ErrorKind::Queue, text).retrying(Retry::Never));
        }
        self.pending().insert(number);
        let waiting = Waiting(self, number);
        let (before, seen) = (self.host.monotonic(), self.seen.load(Ordering::Acquire));
        let published = async {
            let sent = self.context.publish(self.subject(generation), message.into()).await;
            let outcome = match sent {
                Ok(sent) => sent.await,
                Err(error) => Err(error),
            };
            outcome.map_err(|error| match error.kind() {
                PublishErrorKind::StreamNotFound => self.lost("no stream that takes its messages"),
                PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => failure(what, error).ambiguous(),
                _ => failure(what, error),
            })
        };
        let timed_out = |error: Error| if error.code() == Some("timeout") { error.ambiguous() } else { error };
        let sequence = self.bounded(what, published).await.map_err(timed_out)?.sequence;
        if sequence <= seen {
            return Err(self.lost("a log that went back in time"));
        }
        // It is in the log from here on; only what it came to is still unknown.
        let mut replica = self.replica.lock().await;
        let caught_up = self.bounded(what, self.catch_up(what, &mut replica, sequence)).await;
        caught_up.map_err(Error::ambiguous)?;
        let micros = |mark: std::time::Duration| i64::try_from(mark.as_micros()).unwrap_or(i64::MAX);
        replica.ahead = Some(replica.now.saturating_sub(micros(before)));
        let outcome = replica.outcomes.remove(&number);
        drop(waiting);
        // A failed snapshot is no failure of the command; the next one tries again.
        if replica.applied.saturating_sub(replica.kept) >= self.options.compact_after {
            let _ = self.bounded(what, self.compact(what, &mut replica, false)).await;
        }
        // Only an erasure drops messages that are so new.
        outcome.ok_or_else(|| {
            Error::new(ErrorKind::Queue, format!("{what}: it was done, but another handle rewrote the log before its answer was read"))
                .ambiguous()
        })
    }

    /// Rewrites the log, so that what was erased is gone from it.
    pub(super) async fn forget(&self, what: &str) -> Result<()> {
        let mut replica = self.replica.lock().await;
        self.bounded(what, self.compact(what, &mut replica, true)).await
    }

    /// This handle's copy, with all that is in the log now.
    pub(super) async fn read(&self, what: &str) -> Result<futures_util::lock::MutexGuard<'_, Replica>> {
        let seen = self.seen.load(Ordering::Acquire);
        let last = self.known(what).await?.state.last_sequence;
        let mut replica = self.replica.lock().await;
        if last < seen {
            return Err(self.lost("a log that went back in time"));
        }
        self.bounded(what, self.catch_up(what, &mut replica, last)).await?;
        Ok(replica)
    }

    /// True if surely no lane can be claimed yet.
    pub(super) fn is_idle(&self, replica: &Replica) -> bool {
        if !replica.state.ready.is_empty() {
            return false;
        }
        let Some((earliest, _)) = replica.state.later.first() else { return true };
        let mark = i64::try_from(self.host.monotonic().as_micros()).unwrap_or(i64::MAX);
        replica.ahead.is_some_and(|ahead| mark.saturating_add(ahead) < *earliest)
    }

    async fn catch_up(&self, what: &str, replica: &mut Replica, target: u64) -> Result<()> {
        let log = self.context.get_stream_no_info(&self.options.name).await.map_err(|error| failure(what, error))?;
        if replica.applied == 0 && target > 0 {
            self.load(what, replica).await?;
        }
        while replica.applied < target {
            let from = replica.applied + 1;
            let mut messages = stream::iter(from..=target).map(|sequence| log.get_raw_message(sequence)).buffered(32);
            while let Some(message) = messages.next().await {
                let message = match message {
                    Ok(message) => message,
                    // Somebody put the log up to here into a snapshot.
                    Err(error) if is_missing(&error) => break,
                    Err(error) => return Err(failure(what, error)),
                };
                let time = SystemTime::from(message.time).duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let stamp = i64::try_from(time.as_micros()).unwrap_or(i64::MAX);
                let now = store_time(replica.now, replica.stamp, stamp);
                let envelope: Envelope =
                    serde_json::from_slice(&message.payload).map_err(|_| damaged("a command does not parse; is it of a newer version?"))?;
                let outcome = apply(&mut replica.state, envelope.command, now)?;
                (replica.applied, replica.stamp, replica.now) = (message.sequence, stamp, now);
                if envelope.origin == self.origin && self.pending().contains(&envelope.number) {
                    replica.outcomes.insert(envelope.number, outcome);
                }
            }
            drop(messages);
            if replica.applied < target && !self.load(what, replica).await? && replica.applied < from {
                return Err(self.lost("a log with a hole"));
            }
        }
        self.seen.fetch_max(replica.applied, Ordering::AcqRel);
        let pending = self.pending();
        replica.outcomes.retain(|number, _| pending.contains(number));
        Ok(())
    }

    /// Takes the newest snapshot over, if it is newer than what is here.
    async fn load(&self, what: &str, replica: &mut Replica) -> Result<bool> {
        let generation = self.generation().await?;
        let snapshots = self.context.get_stream_no_info(self.snapshots()).await.map_err(|error| failure(what, error))?;
        let end = match snapshots.get_last_raw_message_by_subject(&self.snapshot_subject(generation, "end")).await {
            Ok(message) => message,
            Err(error) if is_missing(&error) => return Ok(false),
            Err(error) => return Err(failure(what, error)),
        };
        let end: End = serde_json::from_slice(&end.payload).map_err(|_| damaged("the end of a snapshot does not parse"))?;
        if end.applied <= replica.applied {
            return Ok(false);
        }
        let subject = self.snapshot_subject(generation, &end.id);
        let mut pieces = Vec::new();
        let mut messages = stream::iter(end.first..=end.last).map(|sequence| snapshots.get_raw_message(sequence)).buffered(8);
        while let Some(message) = messages.next().await {
            match message {
                Ok(message) if message.subject.as_str() == subject => pieces.push(message.payload),
                Ok(_) => {}
                // A newer snapshot has replaced it meanwhile; whoever asked comes again.
                Err(error) if is_missing(&error) => return Ok(false),
                Err(error) => return Err(failure(what, error)),
            }
        }
        replica.state = snapshot::read(&pieces, end.now)?;
        (replica.applied, replica.stamp, replica.now) = (end.applied, end.stamp, end.now);
        replica.kept = end.applied;
        Ok(true)
    }

    /// Writes the state into a snapshot and drops the log before the last one, or with `all` before this one: other handles still
    /// read the answers to their calls in what is kept. Of several at once one wins, by compare-and-set on the end.
    async fn compact(&self, what: &str, replica: &mut Replica, all: bool) -> Result<()> {
        let generation = self.generation().await?;
        let end_subject = self.snapshot_subject(generation, "end");
        let snapshots = self.context.get_stream_no_info(self.snapshots()).await.map_err(|error| failure(what, error))?;
        let (before, kept) = match snapshots.get_last_raw_message_by_subject(&end_subject).await {
            Ok(message) => {
                let end: End = serde_json::from_slice(&message.payload).map_err(|_| damaged("the end of a snapshot does not parse"))?;
                (message.sequence, end.applied)
            }
            Err(error) if is_missing(&error) => (0, 0),
            Err(error) => return Err(failure(what, error)),
        };
        if !all && kept > replica.kept {
            // Somebody else was quicker.
            replica.kept = kept;
            return Ok(());
        }
        let id = self.host.new_id();
        let subject = self.snapshot_subject(generation, &id);
        let (mut first, mut last) = (0, 0);
        for piece in snapshot::write(&replica.state, self.limit())? {
            let sent = self.context.publish(subject.clone(), piece.into()).await.map_err(|error| failure(what, error))?;
            last = sent.await.map_err(|error| failure(what, error))?.sequence;
            first = if first == 0 { last } else { first };
        }
        let end = End { id, first, last, applied: replica.applied, stamp: replica.stamp, now: replica.now };
        let end = serde_json::to_vec(&end).map_err(|_| damaged("a snapshot does not serialise"))?;
        let mut headers = HeaderMap::new();
        headers.insert(NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, before.to_string().as_str());
        let sent = self.context.publish_with_headers(end_subject, headers, end.into()).await.map_err(|error| failure(what, error))?;
        match sent.await {
            Ok(_) => {}
            Err(error) if error.kind() == PublishErrorKind::WrongLastSequence => {
                replica.kept = replica.applied;
                return Ok(());
            }
            Err(error) => return Err(failure(what, error)),
        }
        replica.kept = replica.applied;
        let log = self.context.get_stream_no_info(&self.options.name).await.map_err(|error| failure(what, error))?;
        // The server takes a purge up to 1, which is nothing, as one of everything.
        let up_to = if all { replica.applied } else { kept } + 1;
        if up_to > 1 {
            log.purge().sequence(up_to).await.map_err(|error| failure(what, error))?;
        }
        if first > 1 {
            snapshots.purge().sequence(first).await.map_err(|error| failure(what, error))?;
        }
        Ok(())
    }
}

/// Store time of a message with the server's time `stamp`, after one with `last` that was at `now`.
///
/// The state needs a time that never goes back. When the server's clock is set back, store time goes on at half its speed until
/// the clock is there again: what waits does so for at most twice its time, and both meet in the end.
fn store_time(now: i64, last: i64, stamp: i64) -> i64 {
    if stamp >= now { stamp } else { now.saturating_add(stamp.saturating_sub(last).max(0) / 2) }
}

fn is_missing(error: &async_nats::jetstream::stream::LastRawMessageError) -> bool {
    matches!(error.kind(), LastRawMessageErrorKind::NoMessageFound)
        || matches!(error.kind(), LastRawMessageErrorKind::JetStream(inner) if inner.error_code() == ErrorCode::NO_MESSAGE_FOUND)
}

fn failure(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Queue, format!("{what}: NATS did not do it; is the server up, with JetStream?")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_time_goes_on_after_the_clock_was_set_back() {
        const SECOND: i64 = 1_000_000;
        let (mut now, mut last) = (0, 0);
        let mut at = |stamp: i64| {
            now = store_time(now, last, stamp * SECOND);
            last = stamp * SECOND;
            now / SECOND
        };
        assert_eq!([at(100), at(110)], [100, 110]);
        // An hour ahead and back: no step back, and no standstill.
        assert_eq!([at(3_710), at(120), at(130), at(230)], [3_710, 3_710, 3_715, 3_765]);
        // Set back once more, meanwhile.
        assert_eq!([at(10), at(30)], [3_765, 3_775]);
        // Half the speed until they meet; then they are one.
        assert_eq!([at(7_000), at(7_600)], [7_000, 7_600]);
    }
}
