//! What happened, told to whoever listens.
//!
//! An [`Observer`] gets one call for each [`Event`]: counters, logs, traces and alarms are all made of it. The library itself
//! logs nothing. Events carry names, ids, counts and times, and never a token or the value of a field.

mod api;
mod counts;
mod health;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "metrics")]
pub use self::metrics::{MetricsObserver, metrics_gauge};
#[cfg(feature = "tracing")]
pub use self::tracing::TracingObserver;
pub use api::{BreakerStep, Event, Ignore, Observer, Outcome, TokenStep, WebhookOutcome};
pub use counts::{CallCount, Counts, Tally};
pub use health::{HealthRule, HealthVerdict};
