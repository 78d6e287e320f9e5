//! Spans of the `tracing` facade around calls and around the queue.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use jiff::Timestamp;
use tracing::field::Empty;
use tracing::instrument::Instrument;

use crate::error::{Error, Result};
use crate::layer::api::{Call, Middleware};
use crate::queue::{
    CauseCount, Claim, Enqueued, Lease, LeaseToken, NewEntry, Parked, ParkedFilter, ParkedPage, Queue, QueueCapabilities, QueueStats,
    Settle, Settled, Subject,
};
use crate::webhook::digest_key;

/// Op ids told by one span.
const MOST_OPS: usize = 16;

/// A span around every adapter call: `crm_sync.call` under the target `crm_sync`, of the kind `client`.
///
/// What the host's transport and observers write in the meantime stands within it. Added outside of [`crate::layer::Retry`] it
/// covers all attempts, inside of it each has its own. Fields: `crm_sync.adapter`, `crm_sync.operation`, `crm_sync.entity`,
/// `crm_sync.records`, and `error.type` (the kind) if the call failed. No id of a record, no value of a field.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spans;

impl Middleware for Spans {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let span = tracing::debug_span!(
            target: "crm_sync",
            "crm_sync.call",
            otel.kind = "client",
            crm_sync.adapter = call.adapter,
            crm_sync.operation = call.operation,
            crm_sync.entity = call.entity.map_or("", |entity| entity.as_str()),
            crm_sync.records = call.records,
            error.type = Empty,
        );
        let result = run().instrument(span.clone()).await;
        note(&span, result.as_ref().err());
        result
    }
}

fn note(span: &tracing::Span, error: Option<&Error>) {
    if let Some(error) = error {
        span.record("error.type", error.kind().as_str());
    }
}

/// Op ids may name records of the host; their hashes do not, and are the same in every process.
fn marks<'a>(ops: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for op in ops.take(MOST_OPS) {
        let mark = digest_key(&[op.as_bytes()]);
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(mark.get(..16).unwrap_or(&mark));
    }
    text
}

/// A queue with a span around what a message goes through, named as the messaging conventions of OpenTelemetry ask:
/// `send`, `receive` and `settle`, with `messaging.system` = `crm_sync`, `messaging.operation.type`,
/// `messaging.batch.message_count`, and `error.type` if it failed.
///
/// `crm_sync.ops` holds short hashes of the op ids of up to 16 entries, the same where an entry is sent and where it is received:
/// this links the two across processes, whatever the backend keeps of span links.
#[derive(Clone, Debug)]
pub struct TracedQueue<Q> {
    inner: Q,
}

impl<Q: Queue> TracedQueue<Q> {
    /// Spans around `queue`.
    pub fn new(queue: Q) -> Self {
        Self { inner: queue }
    }

    /// The queue itself.
    pub fn inner(&self) -> &Q {
        &self.inner
    }
}

macro_rules! message_span {
    ($name:literal, $kind:literal, $count:expr, $ops:expr) => {
        tracing::debug_span!(
            target: "crm_sync",
            $name,
            messaging.system = "crm_sync",
            messaging.operation.type = $kind,
            messaging.batch.message_count = $count,
            crm_sync.ops = $ops,
            error.type = Empty,
        )
    };
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<Q: Queue> Queue for TracedQueue<Q> {
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        let ops = marks(entries.iter().map(|entry| entry.op.as_str()));
        let span = message_span!("crm_sync.send", "send", entries.len(), ops);
        let outcome = self.inner.enqueue(entries).instrument(span.clone()).await;
        note(&span, outcome.as_ref().err());
        outcome
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        let span = message_span!("crm_sync.receive", "receive", Empty, Empty);
        let outcome = self.inner.claim(want).instrument(span.clone()).await;
        if let Ok(leases) = &outcome {
            let entries = || leases.iter().flat_map(|lease| &lease.entries);
            span.record("messaging.batch.message_count", entries().count());
            span.record("crm_sync.ops", marks(entries().map(|entry| entry.op.as_str())));
        }
        note(&span, outcome.as_ref().err());
        outcome
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        self.inner.extend(leases, ttl).await
    }

    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        let span = message_span!("crm_sync.settle", "settle", outcomes.iter().map(|one| one.done).sum::<usize>(), Empty);
        let outcome = self.inner.settle(outcomes).instrument(span.clone()).await;
        note(&span, outcome.as_ref().err());
        outcome
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        self.inner.parked(page).await
    }

    async fn causes(&self) -> Result<Vec<CauseCount>> {
        self.inner.causes().await
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        self.inner.replay(which).await
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        self.inner.discard(which).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.inner.stats().await
    }

    async fn purge(&self, subject: &Subject) -> Result<u64> {
        self.inner.purge(subject).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }

    fn wakeups(&self) -> Option<BoxStream<'static, ()>> {
        self.inner.wakeups()
    }
}
