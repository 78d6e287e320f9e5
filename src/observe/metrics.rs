//! Events as numbers of the `metrics` facade.

use crate::observe::api::{BreakerStep, Event, Observer, Outcome, TokenStep, WebhookOutcome};

/// Hands events to the recorder that the host installed for the [`metrics`](https://docs.rs/metrics) crate.
///
/// | name | kind | labels |
/// | --- | --- | --- |
/// | `crm_sync_total` | counter | `entity`, `operation`, `status` |
/// | `crm_sync_duration` | histogram, milliseconds | `entity`, `operation` |
/// | `crm_rate_limits` | counter | `entity` |
/// | `crm_sync.operation.duration` | histogram, seconds | `adapter`, `entity`, `operation`, `error.type` |
/// | `crm_sync.records` | counter | `adapter`, `entity`, `operation` |
/// | `crm_sync.echo.dropped` | counter, fields | `entity` |
/// | `crm_sync.noop.skipped` | counter | `entity` |
/// | `crm_sync.ambiguous`, `crm_sync.conflicts`, `crm_sync.duplicates` | counter | `entity` |
/// | `crm_sync.retries` | counter | `adapter`, `operation` |
/// | `crm_sync.tokens` | counter | `adapter`, `status` |
/// | `crm_sync.webhooks` | counter | `source`, `status` |
/// | `crm_sync.breaker` | counter | `adapter`, `step` |
///
/// The first three are those of the original guide. Labels hold names alone: no id of a record and no value of a field, so that
/// their number stays small. How the queue stands is told by [`crate::observe::metrics_gauge`].
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsObserver;

/// Sets a gauge, such as those of a health report: `crm_sync.queue.depth`, `crm_sync.queue.oldest_age` (seconds),
/// `crm_sync.dead_letters`, `crm_sync.budget.remaining`, ...
pub fn metrics_gauge(name: &'static str, connection: &str, value: f64) {
    ::metrics::gauge!(name, "connection" => connection.to_owned()).set(value);
}

impl Observer for MetricsObserver {
    fn on(&self, event: &Event<'_>) {
        let entity = event.entity().map_or("", |entity| entity.as_str()).to_owned();
        match event {
            Event::Synced { operation, outcome, elapsed, .. } => {
                let status = match outcome {
                    Outcome::Succeeded | Outcome::Skipped => "success",
                    Outcome::Failed | Outcome::Parked => "failure",
                };
                if *outcome == Outcome::Skipped {
                    ::metrics::counter!("crm_sync.noop.skipped", "entity" => entity.clone()).increment(1);
                }
                let labels = [("entity", entity), ("operation", (*operation).to_owned())];
                ::metrics::histogram!("crm_sync_duration", &labels).record(elapsed.as_secs_f64() * 1_000.0);
                let [entity, operation] = labels;
                ::metrics::counter!("crm_sync_total", &[entity, operation, ("status", status.to_owned())]).increment(1);
            }
            Event::Call { adapter, operation, records, elapsed, error, .. } => {
                let labels = [("adapter", (*adapter).to_owned()), ("entity", entity.clone()), ("operation", (*operation).to_owned())];
                ::metrics::counter!("crm_sync.records", &labels).increment(*records as u64);
                let kind = error.map_or("", |error| error.kind().as_str());
                let [adapter, label, operation] = labels;
                let labels = [adapter, label, operation, ("error.type", kind.to_owned())];
                ::metrics::histogram!("crm_sync.operation.duration", &labels).record(elapsed.as_secs_f64());
                if kind == crate::error::ErrorKind::RateLimited.as_str() {
                    ::metrics::counter!("crm_rate_limits", "entity" => entity).increment(1);
                }
            }
            Event::Ambiguous { .. } => ::metrics::counter!("crm_sync.ambiguous", "entity" => entity).increment(1),
            Event::Conflict { .. } => ::metrics::counter!("crm_sync.conflicts", "entity" => entity).increment(1),
            Event::Duplicate { .. } => ::metrics::counter!("crm_sync.duplicates", "entity" => entity).increment(1),
            Event::Frozen { .. } => ::metrics::counter!("crm_sync.frozen", "entity" => entity).increment(1),
            Event::LogLost { .. } => ::metrics::counter!("crm_sync.log.lost", "entity" => entity).increment(1),
            Event::MassDelete { .. } => ::metrics::counter!("crm_sync.mass_deletes", "entity" => entity).increment(1),
            Event::Echo { fields, .. } => ::metrics::counter!("crm_sync.echo.dropped", "entity" => entity).increment(*fields as u64),
            Event::Retry { adapter, operation, error, .. } => {
                ::metrics::counter!("crm_sync.retries", "adapter" => (*adapter).to_owned(), "operation" => *operation).increment(1);
                if error.kind() == crate::error::ErrorKind::RateLimited {
                    ::metrics::counter!("crm_rate_limits", "entity" => entity).increment(1);
                }
            }
            Event::Throttle { .. } => ::metrics::counter!("crm_rate_limits", "entity" => entity).increment(1),
            Event::Token { adapter, step } => {
                let status = match step {
                    TokenStep::Refused => "refused",
                    TokenStep::Renewed => "renewed",
                };
                ::metrics::counter!("crm_sync.tokens", "adapter" => (*adapter).to_owned(), "status" => status).increment(1);
            }
            Event::Webhook { source, outcome, .. } => {
                let status = match outcome {
                    WebhookOutcome::Accepted => "accepted",
                    WebhookOutcome::Repeated => "repeated",
                    WebhookOutcome::Refused => "refused",
                };
                ::metrics::counter!("crm_sync.webhooks", "source" => (*source).to_owned(), "status" => status).increment(1);
            }
            Event::Breaker { adapter, step } => {
                let step = match step {
                    BreakerStep::Closed => "closed",
                    BreakerStep::Opened => "opened",
                    BreakerStep::Probing => "probing",
                };
                ::metrics::counter!("crm_sync.breaker", "adapter" => (*adapter).to_owned(), "step" => step).increment(1);
            }
        }
    }
}
