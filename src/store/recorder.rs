//! Events that become lines of the journal.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::Result;
use crate::host::Host;
use crate::observe::{Event, Observer, Outcome};
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::journal::{self, Entry};

/// Lines of one commit.
const BATCH: usize = 500;

/// An observer that keeps what happened until [`Recorder::flush`] writes it into the journal of a connection.
///
/// It records every [`Event::Synced`], and with [`Recorder::calls`] every [`Event::Call`]. An observer cannot wait, so the lines
/// stand in memory first: flush after each round. Past [`Recorder::limit`] the oldest lines are dropped and counted. Clones share
/// the lines.
#[derive(Clone, Debug)]
pub struct Recorder {
    host: Host,
    connection: String,
    keep: Option<Duration>,
    limit: usize,
    calls: bool,
    lines: Arc<Mutex<Lines>>,
}

#[derive(Debug, Default)]
struct Lines {
    waiting: VecDeque<Entry>,
    dropped: u64,
}

impl Recorder {
    /// For the journal of `connection`. Lines are kept for 7 days; at most 10,000 wait to be written.
    pub fn new(host: Host, connection: impl Into<String>) -> Self {
        let keep = Some(Duration::from_secs(7 * 24 * 3600));
        Self { host, connection: connection.into(), keep, limit: 10_000, calls: false, lines: Arc::default() }
    }

    /// How long lines stay in the journal; `None` for ever.
    #[must_use]
    pub fn keep(mut self, keep: Option<Duration>) -> Self {
        self.keep = keep;
        self
    }

    /// How many lines may wait to be written; at least 1.
    #[must_use]
    pub fn limit(mut self, lines: usize) -> Self {
        self.limit = lines.max(1);
        self
    }

    /// Records adapter calls too: for hosts that use an adapter without a worker. Default: no.
    #[must_use]
    pub fn calls(mut self, record: bool) -> Self {
        self.calls = record;
        self
    }

    /// How many lines were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits; answers how many lines. A line is in the journal at most once, unless a commit got no answer: then its
    /// lines may be there and are not written again. Dropping the future loses at most one batch of lines.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the store fails; lines that were certainly not written wait for the next flush.
    pub async fn flush(&self, store: &dyn Store) -> Result<usize> {
        let mut written = 0;
        loop {
            let lines: Vec<Entry> = {
                let mut lines = self.lock();
                let count = lines.waiting.len().min(BATCH);
                lines.waiting.drain(..count).collect()
            };
            if lines.is_empty() {
                return Ok(written);
            }
            let mut batch = Batch::new();
            for line in &lines {
                journal::append(&mut batch, &self.connection, &self.host.new_id(), line, self.keep)?;
            }
            if let Err(error) = store.commit(batch).await {
                if !error.may_have_applied() {
                    let mut waiting = self.lock();
                    for line in lines.into_iter().rev() {
                        waiting.waiting.push_front(line);
                    }
                }
                return Err(error);
            }
            written += lines.len();
        }
    }

    fn push(&self, entry: Entry) {
        let mut lines = self.lock();
        if lines.waiting.len() >= self.limit {
            lines.waiting.pop_front();
            lines.dropped += 1;
        }
        lines.waiting.push_back(entry);
    }
}

impl Observer for Recorder {
    fn on(&self, event: &Event<'_>) {
        let (operation, status, elapsed) = match event {
            Event::Synced { operation, outcome, elapsed, .. } => {
                let status = match outcome {
                    Outcome::Succeeded => "ok",
                    other => other.as_str(),
                };
                (*operation, status, *elapsed)
            }
            Event::Call { operation, elapsed, error, .. } if self.calls => {
                (*operation, error.map_or("ok", |error| error.kind().as_str()), *elapsed)
            }
            _ => return,
        };
        self.push(Entry {
            at: self.host.now(),
            entity: event.entity().cloned(),
            record: None,
            operation: operation.to_owned(),
            status: status.to_owned(),
            duration_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Entity;
    use crate::store::memory::MemoryStore;

    #[tokio::test]
    async fn lines_are_written_once_and_the_oldest_dropped() {
        let host = Host::manual(1);
        let store = MemoryStore::new(host.clone());
        let recorder = Recorder::new(host.clone(), "acme").limit(1_200);
        let lead = Entity::from_static("Lead");
        for number in 0..1_300 {
            let elapsed = Duration::from_micros(number);
            recorder.on(&Event::Synced { entity: &lead, operation: "create", outcome: Outcome::Succeeded, elapsed });
        }
        recorder.on(&Event::Throttle { adapter: "a", operation: "create", entity: None, wait: Duration::ZERO });
        assert_eq!(recorder.flush(&store).await.unwrap(), 1_200);
        assert_eq!((recorder.flush(&store).await.unwrap(), recorder.dropped()), (0, 100));
        let lines = journal::since(&store, "acme", host.now() - Duration::from_secs(1), 5_000).await.unwrap();
        let mut times: Vec<u64> = lines.iter().map(|line| line.duration_us).collect();
        times.sort_unstable();
        assert_eq!(times, (100..1_300).collect::<Vec<_>>());
        assert!(lines.iter().all(|line| line.status == "ok" && line.entity == Some(lead.clone())));
    }
}
