//! Alerts: rules as data, with a memory against flapping.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::sync::health::report::HealthReport;

/// A number of a report that a rule looks at. All grow with the trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Signal {
    /// Writes of unknown outcome.
    Ambiguous,
    /// 1 if the credential was refused, else 0.
    AuthRefused,
    /// Entries that wait.
    Backlog,
    /// Seconds the oldest entry has waited.
    BacklogAge,
    /// 1 if the breaker is open, else 0.
    BreakerOpen,
    /// The share of the allowance that is spent, from 0 to 1.
    BudgetSpent,
    /// The share that failed, from 0 to 1. Not there without traffic.
    FailureShare,
    /// Dead letters.
    Parked,
    /// Seconds since the last success. Not there if there was none in the period.
    Silence,
}

impl Signal {
    /// Its value; `None` if the report does not have it.
    pub fn of(self, report: &HealthReport) -> Option<f64> {
        let flag = |set: bool| Some(if set { 1.0 } else { 0.0 });
        match self {
            Self::Ambiguous => Some(report.ambiguous as f64),
            Self::AuthRefused => flag(report.auth_refused),
            Self::Backlog => Some(report.backlog as f64),
            Self::BacklogAge => Some(report.backlog_age),
            Self::BreakerOpen => flag(report.breaker_open),
            Self::BudgetSpent => report.budget_share.map(|left| 1.0 - left),
            Self::FailureShare => report.success_share.map(|share| 1.0 - share),
            Self::Parked => Some(report.parked as f64),
            Self::Silence => report.freshness,
        }
    }
}

/// When to raise an alert, and when to let it go.
///
/// ```
/// let rule: crm_sync::sync::AlertRule = serde_json::from_str(
///     r#"{"name": "failures", "signal": "failure_share", "raise_above": 0.05, "clear_below": 0.02, "hold_seconds": 300}"#,
/// ).unwrap();
/// assert!(rule.validate().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct AlertRule {
    /// Its name.
    pub name: String,
    /// What it looks at.
    pub signal: Signal,
    /// Raised when the signal is above this ...
    pub raise_above: f64,
    /// ... and cleared when it is at or below this. Default: the same; lower keeps an alert from flapping.
    #[serde(default)]
    pub clear_below: Option<f64>,
    /// Both only after it has held for so many seconds. Default: 0.
    #[serde(default)]
    pub hold_seconds: u64,
}

impl AlertRule {
    /// Raised above a value, cleared at or below it, at once.
    pub fn new(name: impl Into<String>, signal: Signal, raise_above: f64) -> Self {
        Self { name: name.into(), signal, raise_above, clear_below: None, hold_seconds: 0 }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if a threshold is no number, or it would clear above what raises it.
    pub fn validate(&self) -> Result<()> {
        let clear = self.clear_below.unwrap_or(self.raise_above);
        if !self.raise_above.is_finite() || !clear.is_finite() {
            return Err(Error::config(format!("the thresholds of the alert {:?} must be numbers", self.name)));
        }
        if clear > self.raise_above {
            return Err(Error::config(format!("the alert {:?} would clear above what raises it; lower clear_below", self.name)));
        }
        Ok(())
    }
}

/// What an alert says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AlertState {
    /// The trouble is over.
    Cleared,
    /// There is trouble.
    Raised,
}

/// An alert that is delivered.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Alert {
    /// The rule's name.
    pub rule: String,
    /// The connection.
    pub connection: String,
    /// Raised or cleared.
    pub state: AlertState,
    /// What the rule looks at.
    pub signal: Signal,
    /// Its value now.
    pub value: f64,
    /// When.
    pub at: Timestamp,
}

/// Where alerts go: a mail, a pager, a chat. It is object-safe.
#[async_trait]
pub trait AlertSink: Debug + Send + Sync {
    /// Delivers one.
    ///
    /// # Errors
    /// That it could not; it is tried again at the next check.
    async fn deliver(&self, alert: &Alert) -> Result<()>;
}

/// The rules of one connection and what they said last.
#[derive(Clone, Debug)]
pub struct Alerts {
    rules: Vec<(AlertRule, Memory)>,
}

#[derive(Clone, Debug, Default)]
struct Memory {
    raised: bool,
    /// Since when the signal says the opposite of `raised`.
    turning: Option<Timestamp>,
}

impl Alerts {
    /// Nothing is raised yet.
    ///
    /// # Errors
    /// Those of [`AlertRule::validate`].
    pub fn new(rules: impl IntoIterator<Item = AlertRule>) -> Result<Self> {
        let rules: Vec<_> = rules.into_iter().map(|rule| (rule, Memory::default())).collect();
        rules.iter().try_for_each(|(rule, _)| rule.validate())?;
        Ok(Self { rules })
    }

    /// Those that are raised.
    pub fn raised(&self) -> Vec<&str> {
        self.rules.iter().filter(|(_, memory)| memory.raised).map(|(rule, _)| rule.name.as_str()).collect()
    }

    /// Looks at a report and delivers what changed; answers how many alerts. A signal that the report does not have changes
    /// nothing. A dropped future delivers the alert again at the next check.
    ///
    /// # Errors
    /// The sink's first; the other rules were looked at all the same, and what was not delivered is tried again.
    pub async fn check(&mut self, report: &HealthReport, sink: &dyn AlertSink) -> Result<usize> {
        let mut delivered = 0;
        let mut failed = None;
        for (rule, memory) in &mut self.rules {
            let Some(value) = rule.signal.of(report) else { continue };
            let turns = if memory.raised { value <= rule.clear_below.unwrap_or(rule.raise_above) } else { value > rule.raise_above };
            if !turns {
                memory.turning = None;
                continue;
            }
            let since = *memory.turning.get_or_insert(report.at);
            let held = Duration::try_from(report.at.duration_since(since)).unwrap_or(Duration::ZERO);
            if held < Duration::from_secs(rule.hold_seconds) {
                continue;
            }
            let state = if memory.raised { AlertState::Cleared } else { AlertState::Raised };
            let (name, connection) = (rule.name.clone(), report.connection.clone());
            let alert = Alert { rule: name, connection, state, signal: rule.signal, value, at: report.at };
            match sink.deliver(&alert).await {
                Ok(()) => {
                    delivered += 1;
                    *memory = Memory { raised: !memory.raised, turning: None };
                }
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(delivered), Err)
    }
}
