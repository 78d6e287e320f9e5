//! How the queue behaves.

use std::time::Duration;

use crate::queue::entry::OP_WINDOW;

/// How a queue on NATS behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NatsQueueOptions {
    /// The name of the stream; a second one of this name and `_snapshots` stands beside it. Default: `crm_sync_queue`.
    pub name: String,
    /// How many servers of a cluster keep the streams. Default: 1.
    pub replicas: usize,
    /// How long an op id is remembered, in store time. Default: 7 days. Each handle keeps them in memory.
    pub window: Duration,
    /// How long one call may take, measured by the host's sleep. Default: 30 seconds.
    pub call_timeout: Duration,
    /// The generation the stream must have; see [`NatsQueue::generation`](crate::queue::NatsQueue::generation). Default: whichever is found first.
    pub generation: Option<String>,
    /// After so many calls the log is put into a snapshot. Default: 10,000.
    pub compact_after: u64,
}

impl Default for NatsQueueOptions {
    fn default() -> Self {
        Self {
            name: "crm_sync_queue".to_owned(),
            replicas: 1,
            window: OP_WINDOW,
            call_timeout: Duration::from_secs(30),
            generation: None,
            compact_after: 10_000,
        }
    }
}

impl NatsQueueOptions {
    /// Sets [`NatsQueueOptions::name`].
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets [`NatsQueueOptions::replicas`].
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.replicas = replicas;
        self
    }

    /// Sets [`NatsQueueOptions::window`].
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Sets [`NatsQueueOptions::call_timeout`].
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Sets [`NatsQueueOptions::generation`].
    #[must_use]
    pub fn generation(mut self, generation: impl Into<String>) -> Self {
        self.generation = Some(generation.into());
        self
    }

    /// Sets [`NatsQueueOptions::compact_after`].
    #[must_use]
    pub fn compact_after(mut self, calls: u64) -> Self {
        self.compact_after = calls;
        self
    }
}
