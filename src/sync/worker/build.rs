//! Putting a worker together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::observe::{Ignore, Observer};
use crate::pace::{RetryBudget, RetryPolicy};
use crate::queue::Queue;
use crate::sync::engine::Engine;
use crate::sync::worker::api::Worker;
use crate::sync::worker::gate::Gate;
use crate::sync::worker::shared::Inner;

impl Worker {
    /// A worker of `queue`.
    pub fn builder(queue: Arc<dyn Queue>, host: Host) -> WorkerBuilder {
        WorkerBuilder::new(queue, host)
    }
}

/// Puts a [`Worker`] together.
#[derive(Debug)]
pub struct WorkerBuilder {
    queue: Arc<dyn Queue>,
    host: Host,
    engines: Vec<Engine>,
    policy: RetryPolicy,
    budget: RetryBudget,
    ttl: Duration,
    entries: usize,
    concurrency: usize,
    poll: Duration,
    deliveries: u32,
    credential_pause: Duration,
    observer: Arc<dyn Observer>,
}

impl WorkerBuilder {
    fn new(queue: Arc<dyn Queue>, host: Host) -> Self {
        Self {
            queue,
            host,
            engines: Vec::new(),
            policy: RetryPolicy::default(),
            budget: RetryBudget::default(),
            ttl: Duration::from_secs(60),
            entries: 20,
            concurrency: 8,
            poll: Duration::from_secs(1),
            deliveries: 5,
            credential_pause: Duration::from_secs(300),
            observer: Arc::new(Ignore),
        }
    }

    /// Adds an engine: the worker takes the lanes of its connection and entity. In-call retries are cut to one.
    #[must_use]
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engines.push(engine);
        self
    }

    /// When and how often an entry is tried again. Default: that of the original guide (1 s doubling to 60 s, five attempts).
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// What in-call retries are paid from; share one among all workers of a process. Default: one of its own.
    #[must_use]
    pub fn retry_budget(mut self, budget: RetryBudget) -> Self {
        self.budget = budget;
        self
    }

    /// How long leases last; they are extended every third of it. Default: 60 s; at least 1 s.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl.max(Duration::from_secs(1));
        self
    }

    /// At most so many changes of one record are merged into one. Default: 20.
    #[must_use]
    pub fn entries(mut self, entries: usize) -> Self {
        self.entries = entries.max(1);
        self
    }

    /// At most so many write batches under way at once; it starts with one and adapts. Default: 8.
    #[must_use]
    pub fn concurrency(mut self, batches: usize) -> Self {
        self.concurrency = batches.max(1);
        self
    }

    /// How long an idle worker waits before it looks again. Default: 1 s.
    #[must_use]
    pub fn poll(mut self, wait: Duration) -> Self {
        self.poll = wait;
        self
    }

    /// After how many deliveries in a row that nobody settled an entry is parked as `poison`. Default: 5.
    #[must_use]
    pub fn deliveries(mut self, deliveries: u32) -> Self {
        self.deliveries = deliveries.max(1);
        self
    }

    /// How long the lanes of a connection wait after its credential was refused. Default: 5 minutes.
    #[must_use]
    pub fn credential_pause(mut self, wait: Duration) -> Self {
        self.credential_pause = wait;
        self
    }

    /// Who hears of [`crate::observe::Event::Synced`], one for each record that came to an end or failed, and of
    /// [`crate::observe::Event::Ambiguous`]. Default: nobody.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// The worker.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if there is no engine, or two for one connection and entity.
    pub fn build(self) -> Result<Worker> {
        // The lane tries again: retries on two floors multiply.
        let in_call = self.policy.clone().attempts(2).longest_hint(Duration::from_secs(2));
        let mut engines = HashMap::new();
        for engine in self.engines {
            let key = (engine.inner.connection().to_owned(), engine.entity().clone());
            let message = format!("two engines are for {} of {}", key.1, key.0);
            if engines.insert(key, engine.retrying(in_call.clone(), self.budget.clone())).is_some() {
                return Err(Error::config(message));
            }
        }
        if engines.is_empty() {
            return Err(Error::config("a worker needs an engine"));
        }
        let inner = Inner {
            name: self.host.new_id(),
            queue: self.queue,
            host: self.host,
            engines,
            policy: self.policy,
            ttl: self.ttl,
            entries: self.entries,
            poll: self.poll,
            deliveries: self.deliveries,
            credential_pause: self.credential_pause,
            observer: self.observer,
            gate: Mutex::new(Gate::new(self.concurrency)),
        };
        Ok(Worker { inner: Arc::new(inner) })
    }
}
