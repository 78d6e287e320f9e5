//! Events as lines of the `tracing` facade.

use crate::observe::api::{BreakerStep, Event, Observer, Outcome, TokenStep, WebhookOutcome};

/// Hands events to the subscriber that the host installed for the [`tracing`](https://docs.rs/tracing) crate, under the target
/// `crm_sync`.
///
/// What went well is `debug`, what a person may have to look at is `warn`. Lines hold names, numbers, error kinds and the
/// vendor's codes: no id of a host record, no message of a CRM and no value of a field.
#[derive(Clone, Copy, Debug, Default)]
pub struct TracingObserver;

impl Observer for TracingObserver {
    fn on(&self, event: &Event<'_>) {
        let name = event.name();
        let entity = event.entity().map_or("", |entity| entity.as_str());
        match event {
            Event::Ambiguous { error, .. } => {
                ::tracing::warn!(target: "crm_sync", event = name, entity, error.type = error.kind().as_str(), "the outcome of a write is unknown");
            }
            Event::Call { adapter, operation, records, elapsed, error, .. } => {
                let seconds = elapsed.as_secs_f64();
                match error {
                    None => {
                        ::tracing::debug!(target: "crm_sync", event = name, adapter, operation, entity, records, seconds, "a call was answered")
                    }
                    Some(error) => ::tracing::warn!(
                        target: "crm_sync",
                        event = name,
                        adapter,
                        operation,
                        entity,
                        records,
                        seconds,
                        error.type = error.kind().as_str(),
                        error.code = error.code().unwrap_or_default(),
                        "a call failed"
                    ),
                }
            }
            Event::Conflict { fields, .. } => {
                ::tracing::warn!(target: "crm_sync", event = name, entity, fields = fields.len(), "both sides changed the same fields");
            }
            Event::Duplicate { candidates, .. } => {
                ::tracing::debug!(target: "crm_sync", event = name, entity, candidates = candidates.len(), "a record has likely counterparts");
            }
            Event::Frozen { fields, .. } => {
                ::tracing::warn!(target: "crm_sync", event = name, entity, fields = fields.len(), "a record went back and forth and is frozen");
            }
            Event::LogLost { adapter, since, .. } => {
                let since = since.map(|at| at.to_string()).unwrap_or_default();
                ::tracing::warn!(target: "crm_sync", event = name, adapter, entity, since, "a log of changes has a hole, which is read again");
            }
            Event::MassDelete { adapter, missing, known, .. } => {
                ::tracing::warn!(target: "crm_sync", event = name, adapter, entity, missing, known, "a mass deletion is held back");
            }
            Event::Echo { fields, whole, .. } => {
                ::tracing::debug!(target: "crm_sync", event = name, entity, fields, whole, "our own write came back");
            }
            Event::Retry { adapter, operation, attempt, wait, error, .. } => ::tracing::debug!(
                target: "crm_sync",
                event = name,
                adapter,
                operation,
                entity,
                attempt,
                seconds = wait.as_secs_f64(),
                error.type = error.kind().as_str(),
                "a call is tried again"
            ),
            Event::Synced { operation, outcome, elapsed, .. } => {
                let (status, seconds) = (outcome.as_str(), elapsed.as_secs_f64());
                match outcome {
                    Outcome::Failed | Outcome::Parked => {
                        ::tracing::warn!(target: "crm_sync", event = name, entity, operation, status, seconds, "a record was not synced");
                    }
                    Outcome::Skipped | Outcome::Succeeded => {
                        ::tracing::debug!(target: "crm_sync", event = name, entity, operation, status, seconds, "a record was synced");
                    }
                }
            }
            Event::Throttle { adapter, operation, wait, .. } => {
                let seconds = wait.as_secs_f64();
                ::tracing::debug!(target: "crm_sync", event = name, adapter, operation, entity, seconds, "a call waits for its turn");
            }
            Event::Token { adapter, step } => match step {
                TokenStep::Refused => ::tracing::warn!(target: "crm_sync", event = name, adapter, "a credential was refused"),
                TokenStep::Renewed => ::tracing::debug!(target: "crm_sync", event = name, adapter, "a credential was renewed"),
            },
            Event::Webhook { source, outcome, changes } => match outcome {
                WebhookOutcome::Refused => ::tracing::warn!(target: "crm_sync", event = name, source, "a webhook was refused"),
                WebhookOutcome::Repeated => ::tracing::debug!(target: "crm_sync", event = name, source, "a webhook came again"),
                WebhookOutcome::Accepted => ::tracing::debug!(target: "crm_sync", event = name, source, changes, "a webhook was accepted"),
            },
            Event::Breaker { adapter, step } => match step {
                BreakerStep::Opened => ::tracing::warn!(target: "crm_sync", event = name, adapter, "the breaker opened"),
                BreakerStep::Probing => ::tracing::debug!(target: "crm_sync", event = name, adapter, "the breaker probes"),
                BreakerStep::Closed => ::tracing::info!(target: "crm_sync", event = name, adapter, "the breaker closed"),
            },
        }
    }
}
