//! An observer that counts.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::observe::api::{BreakerStep, Event, Observer, Outcome, TokenStep, WebhookOutcome};

/// Counts events; read it with [`Counts::tally`]. Clones share the counters. Enough for tests, health pages and exports.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    calls: AtomicU64,
    failed_calls: AtomicU64,
    records: AtomicU64,
    retries: AtomicU64,
    throttles: AtomicU64,
    waited_micros: AtomicU64,
    renewals: AtomicU64,
    refused_renewals: AtomicU64,
    conflicts: AtomicU64,
    duplicates: AtomicU64,
    ambiguous: AtomicU64,
    echoes: AtomicU64,
    webhooks: AtomicU64,
    refused_webhooks: AtomicU64,
    breaker_opened: AtomicU64,
    succeeded: AtomicU64,
    skipped: AtomicU64,
    parked: AtomicU64,
    failed: AtomicU64,
    by_operation: Mutex<BTreeMap<(String, &'static str), CallCount>>,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tally {
    /// Adapter calls that ended.
    pub calls: u64,
    /// Those of them that failed.
    pub failed_calls: u64,
    /// Records the calls carried.
    pub records: u64,
    /// Repeated attempts.
    pub retries: u64,
    /// Calls that had to wait for their turn.
    pub throttles: u64,
    /// Time waited before retries and turns.
    pub waited: Duration,
    /// Credentials renewed.
    pub renewals: u64,
    /// Credentials that could not be renewed.
    pub refused_renewals: u64,
    /// Records changed on both sides.
    pub conflicts: u64,
    /// Records with likely counterparts.
    pub duplicates: u64,
    /// Writes of unknown outcome.
    pub ambiguous: u64,
    /// Changes that were, as a whole or in part, our own writes.
    pub echoes: u64,
    /// Webhooks that arrived.
    pub webhooks: u64,
    /// Those of them that were refused.
    pub refused_webhooks: u64,
    /// How often a breaker opened.
    pub breaker_opened: u64,
    /// Records carried out.
    pub succeeded: u64,
    /// Records without anything to do.
    pub skipped: u64,
    /// Records put aside.
    pub parked: u64,
    /// Records that failed.
    pub failed: u64,
    /// Calls and failures by entity (empty for calls without one) and operation.
    pub by_operation: BTreeMap<(String, &'static str), CallCount>,
}

/// Calls of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallCount {
    /// Those that ended.
    pub calls: u64,
    /// Those of them that failed.
    pub failed: u64,
}

impl Counts {
    /// Counters at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// The counters now.
    pub fn tally(&self) -> Tally {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let inner = &self.inner;
        Tally {
            calls: read(&inner.calls),
            failed_calls: read(&inner.failed_calls),
            records: read(&inner.records),
            retries: read(&inner.retries),
            throttles: read(&inner.throttles),
            waited: Duration::from_micros(read(&inner.waited_micros)),
            renewals: read(&inner.renewals),
            refused_renewals: read(&inner.refused_renewals),
            conflicts: read(&inner.conflicts),
            duplicates: read(&inner.duplicates),
            ambiguous: read(&inner.ambiguous),
            echoes: read(&inner.echoes),
            webhooks: read(&inner.webhooks),
            refused_webhooks: read(&inner.refused_webhooks),
            breaker_opened: read(&inner.breaker_opened),
            succeeded: read(&inner.succeeded),
            skipped: read(&inner.skipped),
            parked: read(&inner.parked),
            failed: read(&inner.failed),
            by_operation: inner.by_operation.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Observer for Counts {
    fn on(&self, event: &Event<'_>) {
        let inner = &self.inner;
        let add = |counter: &AtomicU64, by: u64| {
            counter.fetch_add(by, Ordering::Relaxed);
        };
        let waited = |wait: &Duration| add(&inner.waited_micros, u64::try_from(wait.as_micros()).unwrap_or(u64::MAX));
        match event {
            Event::Ambiguous { .. } => add(&inner.ambiguous, 1),
            Event::Breaker { step, .. } => add(&inner.breaker_opened, u64::from(*step == BreakerStep::Opened)),
            Event::Call { operation, entity, records, error, .. } => {
                add(&inner.calls, 1);
                add(&inner.records, *records as u64);
                add(&inner.failed_calls, u64::from(error.is_some()));
                let key = (entity.map(|entity| entity.as_str().to_owned()).unwrap_or_default(), *operation);
                let mut table = inner.by_operation.lock().unwrap_or_else(PoisonError::into_inner);
                let row = table.entry(key).or_default();
                row.calls += 1;
                row.failed += u64::from(error.is_some());
            }
            Event::Conflict { .. } => add(&inner.conflicts, 1),
            Event::Duplicate { .. } => add(&inner.duplicates, 1),
            // Whoever wants to know how many there are asks the sync.
            Event::Frozen { .. } | Event::LogLost { .. } | Event::MassDelete { .. } => {}
            Event::Echo { .. } => add(&inner.echoes, 1),
            Event::Retry { wait, .. } => {
                add(&inner.retries, 1);
                waited(wait);
            }
            Event::Synced { outcome, .. } => match outcome {
                Outcome::Failed => add(&inner.failed, 1),
                Outcome::Parked => add(&inner.parked, 1),
                Outcome::Skipped => add(&inner.skipped, 1),
                Outcome::Succeeded => add(&inner.succeeded, 1),
            },
            Event::Throttle { wait, .. } => {
                add(&inner.throttles, 1);
                waited(wait);
            }
            Event::Token { step, .. } => match step {
                TokenStep::Refused => add(&inner.refused_renewals, 1),
                TokenStep::Renewed => add(&inner.renewals, 1),
            },
            Event::Webhook { outcome, .. } => {
                add(&inner.webhooks, 1);
                add(&inner.refused_webhooks, u64::from(*outcome == WebhookOutcome::Refused));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::model::Entity;

    #[test]
    fn counts_what_it_hears() {
        let counts = Counts::new();
        let lead = Entity::from_static("Lead");
        let error = Error::new(ErrorKind::Network, "x");
        let call =
            |error| Event::Call { adapter: "a", operation: "create", entity: Some(&lead), records: 2, elapsed: Duration::ZERO, error };
        let heard: &dyn Observer = &(counts.clone(), counts.clone());
        heard.on(&call(None));
        counts.on(&call(Some(&error)));
        counts.on(&Event::Throttle { adapter: "a", operation: "create", entity: None, wait: Duration::from_millis(3) });
        counts.on(&Event::Synced { entity: &lead, operation: "create", outcome: Outcome::Parked, elapsed: Duration::ZERO });
        let tally = counts.tally();
        assert_eq!((tally.calls, tally.failed_calls, tally.records), (3, 1, 6));
        assert_eq!(tally.by_operation[&("Lead".to_owned(), "create")], CallCount { calls: 3, failed: 1 });
        assert_eq!((tally.throttles, tally.waited, tally.parked), (1, Duration::from_millis(3), 1));
    }
}
