//! The report of a connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::adapter::Quota;
use crate::error::Result;
use crate::observe::HealthRule;
use crate::queue::{CauseCount, Queue};
use crate::store::journal::{self, Entry};
use crate::store::{Store, ledger};

/// Lines of the journal read at once.
const PAGE: usize = 1_000;

/// Width of the bins that durations are counted in: the percentile is at most 5 % too high.
const BIN: f64 = 1.05;

/// Reads how a connection does: the journal of a period, the queue, the ledger, and what only the host can tell ([`Vitals`]).
#[derive(Clone, Debug)]
pub struct Health {
    connection: String,
    store: Arc<dyn Store>,
    queue: Option<Arc<dyn Queue>>,
    rule: HealthRule,
    period: Duration,
    stale: Option<Duration>,
}

/// What neither store nor queue know.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Vitals {
    /// The credential was refused: lanes wait for a new one.
    pub auth_refused: bool,
    /// The breaker is open ([`crate::layer::Breaker::is_open`]).
    pub breaker_open: bool,
    /// What may still be called ([`crate::adapter::CrmAdapter::quota`]).
    pub quota: Option<Quota>,
}

/// The verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum HealthStatus {
    /// Enough goes well, and nothing stands still.
    Healthy,
    /// Nothing was tried: neither well nor ill.
    Idle,
    /// Too much fails, waits or is unknown.
    Degraded,
    /// Nothing can go on: the credential is refused, the breaker open, or the allowance spent.
    Down,
}

/// One operation on one kind of record.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OperationHealth {
    /// The kind of record; empty for operations without one.
    pub entity: String,
    /// `create`, `update`, ...
    pub operation: String,
    /// How many.
    pub total: u64,
    /// Those that succeeded, skips included.
    pub succeeded: u64,
    /// The share that succeeded, from 0 to 1.
    pub success_share: f64,
    /// The mean duration in milliseconds.
    pub mean_ms: f64,
    /// 95 of 100 took no longer, in milliseconds; up to 5 % too high.
    pub p95_ms: f64,
    /// The last one.
    pub last: Timestamp,
    /// The verdict on it alone; `None` if there were too few.
    pub healthy: Option<bool>,
}

/// How a connection does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct HealthReport {
    /// The connection.
    pub connection: String,
    /// When the report was made, in store time.
    pub at: Timestamp,
    /// The verdict.
    pub status: HealthStatus,
    /// Why it is not [`HealthStatus::Healthy`], one line each.
    pub reasons: Vec<String>,
    /// By entity and operation, in the order of the names.
    pub operations: Vec<OperationHealth>,
    /// The share of all that succeeded; `None` if nothing was tried.
    pub success_share: Option<f64>,
    /// The last success in the period.
    pub last_success: Option<Timestamp>,
    /// Seconds since the last success in the period.
    pub freshness: Option<f64>,
    /// Entries that wait in the queue.
    pub backlog: u64,
    /// How many seconds the oldest of them has waited.
    pub backlog_age: f64,
    /// Dead letters of the queue.
    pub parked: u64,
    /// Writes of unknown outcome.
    pub ambiguous: u64,
    /// The credential was refused.
    pub auth_refused: bool,
    /// The breaker is open.
    pub breaker_open: bool,
    /// Calls that are left of the tightest allowance.
    pub budget_left: Option<u64>,
    /// The same as a share of it, from 0 to 1.
    pub budget_share: Option<f64>,
}

#[derive(Default)]
struct Sum {
    total: u64,
    succeeded: u64,
    micros: u128,
    last: Option<Timestamp>,
    bins: BTreeMap<u32, u64>,
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        self.total += 1;
        self.succeeded += u64::from(succeeded(entry));
        self.micros += u128::from(entry.duration_us);
        self.last = self.last.max(Some(entry.at));
        let bin = (entry.duration_us as f64 + 1.0).log(BIN).ceil();
        *self.bins.entry(bin as u32).or_default() += 1;
    }

    /// In microseconds.
    fn percentile(&self, share: f64) -> f64 {
        let wanted = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (bin, count) in &self.bins {
            seen += count;
            if seen >= wanted {
                return BIN.powf(f64::from(*bin)) - 1.0;
            }
        }
        0.0
    }
}

fn succeeded(entry: &Entry) -> bool {
    matches!(entry.status.as_str(), "ok" | "skipped")
}

impl Health {
    /// Of `connection`, over the last 24 hours, healthy from a success share of 0.95.
    pub fn new(connection: impl Into<String>, store: Arc<dyn Store>) -> Self {
        Self {
            connection: connection.into(),
            store,
            queue: None,
            rule: HealthRule::default(),
            period: Duration::from_secs(24 * 3600),
            stale: Some(Duration::from_secs(3600)),
        }
    }

    /// The queue whose backlog and dead letters count.
    #[must_use]
    pub fn queue(mut self, queue: Arc<dyn Queue>) -> Self {
        self.queue = Some(queue);
        self
    }

    /// When it counts as healthy.
    #[must_use]
    pub fn rule(mut self, rule: HealthRule) -> Self {
        self.rule = rule;
        self
    }

    /// How far back the journal is read. Default: 24 hours.
    #[must_use]
    pub fn period(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// The oldest entry may wait so long before the connection counts as degraded. Default: an hour; `None` for ever.
    #[must_use]
    pub fn stale(mut self, age: Option<Duration>) -> Self {
        self.stale = age;
        self
    }

    /// The report now. Memory is bounded by the number of entities and operations, however long the journal is.
    ///
    /// # Errors
    /// Those of the store and the queue.
    pub async fn report(&self, vitals: &Vitals) -> Result<HealthReport> {
        let at = self.store.now().await?;
        let since = at.checked_sub(self.period).unwrap_or(Timestamp::MIN);
        let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
        let mut last_success = None;
        let mut after = None;
        loop {
            let page = journal::page(&*self.store, &self.connection, since, after.as_ref(), PAGE).await?;
            let full = page.len() == PAGE;
            for (key, entry) in page {
                if succeeded(&entry) {
                    last_success = last_success.max(Some(entry.at));
                }
                let entity = entry.entity.as_ref().map_or("", |entity| entity.as_str()).to_owned();
                sums.entry((entity, entry.operation.clone())).or_default().add(&entry);
                after = Some(key);
            }
            if !full {
                break;
            }
        }
        let ambiguous = ledger::ambiguous(&*self.store, &self.connection).await?;
        let stats = match &self.queue {
            Some(queue) => Some(queue.stats().await?),
            None => None,
        };
        let (total, good) = sums.values().fold((0, 0), |(total, good), sum| (total + sum.total, good + sum.succeeded));
        let verdict = self.rule.judge(good, total - good);
        let tightest = vitals.quota.iter().flat_map(|quota| &quota.windows).min_by_key(|window| window.left());
        let age = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64().max(0.0);
        let mut report = HealthReport {
            connection: self.connection.clone(),
            at,
            status: HealthStatus::Healthy,
            reasons: Vec::new(),
            operations: sums.into_iter().filter_map(|(names, sum)| self.operation(names, &sum)).collect(),
            success_share: verdict.success_share,
            last_success,
            freshness: last_success.map(|last| age(last, at)),
            backlog: stats.as_ref().map_or(0, |stats| stats.entries),
            backlog_age: stats.as_ref().and_then(|stats| Some(age(stats.oldest?, stats.now))).unwrap_or(0.0),
            parked: stats.as_ref().map_or(0, |stats| stats.parked),
            ambiguous,
            auth_refused: vitals.auth_refused,
            breaker_open: vitals.breaker_open,
            budget_left: tightest.map(|window| window.left()),
            budget_share: tightest.filter(|window| window.max > 0).map(|window| window.left() as f64 / window.max as f64),
        };
        self.judge(&mut report, verdict.healthy);
        Ok(report)
    }

    fn operation(&self, (entity, operation): (String, String), sum: &Sum) -> Option<OperationHealth> {
        let verdict = self.rule.judge(sum.succeeded, sum.total - sum.succeeded);
        Some(OperationHealth {
            entity,
            operation,
            total: sum.total,
            succeeded: sum.succeeded,
            success_share: verdict.success_share?,
            mean_ms: sum.micros as f64 / sum.total as f64 / 1_000.0,
            p95_ms: sum.percentile(0.95) / 1_000.0,
            last: sum.last?,
            healthy: verdict.healthy,
        })
    }

    fn judge(&self, report: &mut HealthReport, healthy: Option<bool>) {
        let mut worst = if healthy.is_none() { HealthStatus::Idle } else { HealthStatus::Healthy };
        if worst == HealthStatus::Idle {
            report.reasons.push("too little was tried in the period to tell".to_owned());
        }
        let mut because = |holds: bool, status: HealthStatus, reason: String| {
            if holds {
                worst = worst.max(status);
                report.reasons.push(reason);
            }
        };
        because(report.auth_refused, HealthStatus::Down, "the credential was refused".to_owned());
        because(report.breaker_open, HealthStatus::Down, "the breaker is open: the CRM does not answer".to_owned());
        because(report.budget_left == Some(0), HealthStatus::Down, "the allowance of calls is spent".to_owned());
        let share = report.success_share.unwrap_or(1.0) * 100.0;
        because(
            healthy == Some(false),
            HealthStatus::Degraded,
            format!("{share:.1} % succeeded, less than {:.1} %", self.rule.success_share * 100.0),
        );
        because(report.ambiguous > 0, HealthStatus::Degraded, format!("{} writes have an unknown outcome", report.ambiguous));
        let stale = self.stale.is_some_and(|stale| report.backlog > 0 && report.backlog_age > stale.as_secs_f64());
        because(stale, HealthStatus::Degraded, format!("the oldest entry has waited for {:.0} s", report.backlog_age));
        for row in &report.operations {
            let name = if row.entity.is_empty() { row.operation.clone() } else { format!("{} {}", row.entity, row.operation) };
            because(row.healthy == Some(false), HealthStatus::Degraded, format!("{:.1} % of {name} succeeded", row.success_share * 100.0));
        }
        report.status = worst;
    }
}

impl HealthReport {
    /// The numbers as gauges, named as OpenTelemetry asks, for an exporter.
    pub fn gauges(&self) -> Vec<(&'static str, f64)> {
        let mut gauges = vec![
            ("crm_sync.queue.depth", self.backlog as f64),
            ("crm_sync.queue.oldest_age", self.backlog_age),
            ("crm_sync.dead_letters", self.parked as f64),
        ];
        gauges.extend(self.budget_left.map(|left| ("crm_sync.budget.remaining", left as f64)));
        gauges.extend(self.freshness.map(|age| ("crm_sync.cursor.lag", age)));
        gauges
    }

    /// The dead letters by cause, for a page: the largest group first.
    ///
    /// # Errors
    /// Those of the queue.
    pub async fn causes(queue: &dyn Queue) -> Result<Vec<CauseCount>> {
        let mut causes = queue.causes().await?;
        causes.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.group.cmp(&other.group)));
        Ok(causes)
    }
}
