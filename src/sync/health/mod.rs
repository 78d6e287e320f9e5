//! How a connection does: the report over the journal, and the alerts made of it.

mod alert;
mod report;

pub use alert::{Alert, AlertRule, AlertSink, AlertState, Alerts, Signal};
pub use report::{Health, HealthReport, HealthStatus, OperationHealth, Vitals};
