//! Health, alerts and the load on a CRM in trouble, over a whole sync against the sandbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use crate::support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::adapter::{CrmAdapter, Quota, QuotaWindow};
use crm_sync::error::{Error, Result};
use crm_sync::layer::{Breaker, LayerExt};
use crm_sync::model::Fields;
use crm_sync::queue::{MemoryQueue, Queue};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::{DuplicateRule, Fault, FaultKind, RuleAction, Sandbox};
use crm_sync::store::Recorder;
use crm_sync::sync::{Alert, AlertRule, AlertSink, AlertState, Alerts, Engine, Health, HealthStatus, Signal, Vitals, WorkItem, Worker};
use serde_json::json;

use support::org::{KEYED, Org, People, people};

const CONNECTION: &str = "salesforce:test";

struct Bench {
    org: Org,
    queue: Arc<dyn Queue>,
    recorder: Recorder,
    breaker: Breaker,
    engine: Engine,
    worker: Worker,
    health: Health,
}

impl Bench {
    async fn new(seed: u64) -> Self {
        let org = Org::new(seed).await;
        org.sandbox.clear_requests();
        let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(org.host.clone()));
        let recorder = Recorder::new(org.host.clone(), CONNECTION);
        let breaker = Breaker::new(org.host.clone());
        let access = org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into()).name(CONNECTION);
        let crm = Salesforce::new(config, org.sandbox.transport(), org.host.clone()).unwrap();
        let crm: Arc<dyn CrmAdapter> = Arc::new(crm.layer(breaker.clone()));
        let engine = org.engine_of(KEYED, crm, Arc::clone(&org.store));
        let worker =
            Worker::builder(Arc::clone(&queue), org.host.clone()).engine(engine.clone()).observer(recorder.clone()).build().unwrap();
        let health = Health::new(CONNECTION, Arc::clone(&org.store)).queue(Arc::clone(&queue));
        Self { org, queue, recorder, breaker, engine, worker, health }
    }

    async fn put(&self, people: &People, round: usize) {
        let items = people.iter().map(|(id, person)| {
            let fields = json!({"firstName": person.first, "lastName": person.last, "score": person.score});
            WorkItem::new(Fields::from_value(fields).unwrap()).entry(&self.engine, id, format!("{round}/{id}")).unwrap()
        });
        self.queue.enqueue(items.collect()).await.unwrap();
    }

    async fn drain(&self) {
        for _ in 0..5_000 {
            if self.worker.step().await.unwrap().is_idle() {
                if self.queue.stats().await.unwrap().entries == 0 {
                    self.recorder.flush(&*self.org.store).await.unwrap();
                    return;
                }
                self.org.host.sleep(Duration::from_secs(1)).await;
            }
        }
        panic!("the queue does not get empty");
    }
}

#[tokio::test]
async fn the_report_tells_what_happened_and_nothing_is_not_well() {
    let bench = Bench::new(1).await;
    let idle = bench.health.report(&Vitals::default()).await.unwrap();
    assert_eq!((idle.status, idle.success_share, idle.operations.len()), (HealthStatus::Idle, None, 0));

    let rule = DuplicateRule { action: RuleAction::Block, ..DuplicateRule::new("Same_Name", "Lead", &["LastName"]) };
    bench.org.sandbox.set_options(|options| options.duplicate_rules = vec![rule]).unwrap();
    let mut people = people(20);
    people.get_mut("lead-2").unwrap().last = "L0".to_owned();
    bench.put(&people, 0).await;
    bench.drain().await;
    let report = bench.health.report(&Vitals::default()).await.unwrap();
    let row = report.operations.iter().find(|row| row.operation == "create").unwrap();
    assert_eq!((row.entity.as_str(), row.total, row.succeeded, row.healthy), ("Lead", 20, 19, Some(true)), "{report:?}");
    assert_eq!((report.status, report.parked, report.backlog, report.ambiguous), (HealthStatus::Healthy, 1, 0, 0), "{:?}", report.reasons);
    assert!(row.p95_ms >= 0.0 && report.freshness.unwrap() >= 0.0);
    assert!(report.gauges().contains(&("crm_sync.dead_letters", 1.0)));

    // One more of 20 is too many; what stands still is worse than what fails.
    people.get_mut("lead-3").unwrap().last = "L0".to_owned();
    bench.put(&[("lead-3".to_owned(), people["lead-3"].clone())].into(), 1).await;
    bench.drain().await;
    let report = bench.health.report(&Vitals::default()).await.unwrap();
    assert_eq!(report.status, HealthStatus::Degraded, "{report:?}");
    let mut vitals = Vitals::default();
    vitals.quota = Some(Quota::new(vec![QuotaWindow::new("day", 100, 100), QuotaWindow::new("second", 0, 10)]));
    let report = bench.health.report(&vitals).await.unwrap();
    assert_eq!((report.status, report.budget_left, report.budget_share), (HealthStatus::Down, Some(0), Some(0.0)));
    // After the period nothing is known any more.
    bench.org.host.sleep(Duration::from_secs(25 * 3600)).await;
    assert_eq!(bench.health.report(&Vitals::default()).await.unwrap().status, HealthStatus::Idle);
}

#[tokio::test]
async fn at_half_the_answers_503_the_load_stays_near_what_is_needed() {
    let (mut calls, mut served) = (0, 0);
    for seed in 0..20 {
        let bench = Bench::new(seed).await;
        let people = people(60);
        bench.put(&people, 0).await;
        let mut fault = Fault::new(FaultKind::Unavailable { html: false, retry_after: None });
        (fault.times, fault.probability) = (None, Some(0.5));
        bench.org.sandbox.fault(fault);
        bench.drain().await;
        bench.org.assert_whole(KEYED, &people, &format!("seed {seed}"));
        let requests = bench.org.sandbox.requests();
        calls += requests.len();
        served += requests.iter().filter(|request| request.status < 500).count();
        // What is served was needed: 60 records in calls of 3, and nothing is written twice.
        assert!(requests.iter().filter(|request| request.status < 500 && request.method != "GET").count() <= 20, "seed {seed}");
    }
    // Every other call fails whatever anybody does: twice what is served is the least.
    assert!(calls as f64 <= 1.3 * 2.0 * served as f64, "{calls} calls, {served} served");
    println!("{calls} calls for {served} that were served: {:.2} of the least", calls as f64 / (2 * served) as f64);
}

#[tokio::test]
async fn a_crm_that_is_down_is_asked_by_probes_alone() {
    let bench = Bench::new(1).await;
    let people = people(30);
    bench.put(&people, 0).await;
    let mut fault = Fault::new(FaultKind::Unavailable { html: false, retry_after: None });
    fault.times = None;
    bench.org.sandbox.fault(fault);
    let until = bench.org.host.monotonic() + Duration::from_secs(3600);
    while bench.org.host.monotonic() < until {
        bench.worker.step().await.unwrap();
        bench.org.host.sleep(Duration::from_secs(1)).await;
    }
    let calls = bench.org.sandbox.requests().len();
    assert!(bench.breaker.is_open() && (5..=5 + 12).contains(&calls), "{calls} calls in an hour");
    let mut vitals = Vitals::default();
    vitals.breaker_open = bench.breaker.is_open();
    assert_eq!(bench.health.report(&vitals).await.unwrap().status, HealthStatus::Down);
    bench.org.sandbox.clear_faults();
    bench.drain().await;
    assert!(!bench.breaker.is_open());
    bench.org.assert_whole(KEYED, &people, "after the outage");
}

#[derive(Debug, Default)]
struct Pager {
    told: Mutex<Vec<(String, AlertState)>>,
    broken: Mutex<bool>,
}

#[async_trait]
impl AlertSink for Pager {
    async fn deliver(&self, alert: &Alert) -> Result<()> {
        if *self.broken.lock().unwrap() {
            return Err(Error::internal("the pager is broken"));
        }
        self.told.lock().unwrap().push((alert.rule.clone(), alert.state));
        Ok(())
    }
}

#[tokio::test]
async fn alerts_hold_do_not_flap_and_are_delivered_once() {
    let bench = Bench::new(1).await;
    let mut report = bench.health.report(&Vitals::default()).await.unwrap();
    let mut rule = AlertRule::new("failures", Signal::FailureShare, 0.05);
    (rule.clear_below, rule.hold_seconds) = (Some(0.02), 60);
    let mut alerts = Alerts::new([rule.clone(), AlertRule::new("auth", Signal::AuthRefused, 0.5)]).unwrap();
    let pager = Pager::default();
    // Without traffic there is nothing to fail.
    assert_eq!(alerts.check(&report, &pager).await.unwrap(), 0);
    let start = report.at;
    // At a second of time: the share that fails. Above for less than a minute; above and held; between; below and held.
    for (second, failing) in [(0, 0.5), (30, 0.0), (40, 0.5), (99, 0.5), (100, 0.5), (160, 0.03), (200, 0.06), (300, 0.01), (359, 0.01)] {
        (report.at, report.success_share) = (start + Duration::from_secs(second), Some(1.0 - failing));
        alerts.check(&report, &pager).await.unwrap();
        assert_eq!(alerts.raised().len(), usize::from(second >= 100), "at {second}");
    }
    *pager.broken.lock().unwrap() = true;
    report.at = start + Duration::from_secs(360);
    alerts.check(&report, &pager).await.unwrap_err();
    *pager.broken.lock().unwrap() = false;
    assert_eq!(alerts.check(&report, &pager).await.unwrap(), 1);
    let told = pager.told.lock().unwrap().clone();
    assert_eq!(told, [("failures".to_owned(), AlertState::Raised), ("failures".to_owned(), AlertState::Cleared)]);
    rule.clear_below = Some(0.5);
    assert!(Alerts::new([rule]).is_err() && Alerts::new([AlertRule::new("x", Signal::Parked, f64::NAN)]).is_err());
}
