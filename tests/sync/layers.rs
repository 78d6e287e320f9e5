//! Rate limit, guard, observe, dry run, and the order in which they stand.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::type_complexity,
    reason = "a test that fails should stop"
)]

use crate::scripted;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crm_sync::adapter::{Association, BulkOp, Capabilities, ChangeFeed, CrmAdapter, Since, WriteOptions};
use crm_sync::error::{Error, ErrorKind, Result, Retry as Verdict};
use crm_sync::host::Host;
use crm_sync::layer::{Call, DryRun, Guard, LayerExt, Middleware, Observe, Planned, RateLimit, Retry};
use crm_sync::model::{Entity, ExternalKey, Fields, RecordId};
use crm_sync::observe::Counts;
use crm_sync::pace::{Jitter, RetryPolicy, Window};
use crm_sync::query::{Criteria, Query};
use futures_util::future::BoxFuture;
use scripted::Scripted;

const LEAD: Entity = Entity::from_static("Lead");

fn second() -> Window {
    Window::per_second(10).burst(1)
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "the CRM is down")
}

/// Notes each call it sees.
#[derive(Debug, Default)]
struct Seen {
    calls: std::sync::Mutex<Vec<(&'static str, Option<String>, usize, bool)>>,
    attempts: AtomicUsize,
}

impl Middleware for Seen {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let entity = call.entity.map(|entity| entity.as_str().to_owned());
        self.calls.lock().unwrap().push((call.operation, entity, call.records, call.idempotent));
        self.attempts.fetch_add(1, Ordering::Relaxed);
        run().await
    }
}

#[tokio::test]
async fn every_method_passes_through_the_middleware() {
    let seen = Arc::new(Seen::default());
    let adapter: Arc<dyn CrmAdapter> = Arc::new(Scripted::failing(Vec::new()));
    let adapter: Box<dyn CrmAdapter> = Box::new(adapter.layer(Arc::clone(&seen)));
    let (id, options, fields) = (RecordId::new("1"), WriteOptions::new(), Fields::new());
    let key = ExternalKey::new("Key__c", "7").unwrap();
    let tie = Association { from: (LEAD, id.clone()), to: (LEAD, id.clone()), relation: "x".to_owned() };
    adapter.authenticate().await.unwrap();
    adapter.search(&Query::new(LEAD)).await.unwrap();
    adapter.create(&LEAD, &fields, &options).await.unwrap();
    adapter.update(&LEAD, &id, &fields, &options).await.unwrap();
    adapter.delete(&LEAD, &id, &options).await.unwrap();
    adapter.get(&LEAD, &id, &[]).await.unwrap();
    adapter.upsert(&LEAD, &key, &fields, &options).await.unwrap();
    adapter.bulk(&LEAD, &[BulkOp::Delete { id: id.clone() }, BulkOp::Delete { id }], &options).await.unwrap();
    adapter.changes(&ChangeFeed::new(LEAD, Since::Start)).await.unwrap_err();
    adapter.associate(&tie).await.unwrap();
    adapter.describe(&LEAD).await.unwrap_err();
    adapter.quota().await.unwrap();
    let lead = || Some("Lead".to_owned());
    let expected = [
        ("authenticate", None, 1, true),
        ("search", lead(), 1, true),
        ("create", lead(), 1, false),
        ("update", lead(), 1, true),
        ("delete", lead(), 1, true),
        ("get", lead(), 1, true),
        ("upsert", lead(), 1, true),
        ("bulk", lead(), 2, true),
        ("changes", lead(), 1, true),
        ("associate", lead(), 1, false),
        ("describe", lead(), 1, true),
        ("quota", None, 1, true),
    ];
    assert_eq!(*seen.calls.lock().unwrap(), expected);
    assert_eq!(adapter.name(), "scripted");
}

#[tokio::test]
async fn the_limit_spaces_calls() {
    let host = Host::manual(1);
    let counts = Counts::new();
    let adapter = Scripted::failing(Vec::new()).layer(RateLimit::new(host.clone(), [second()]).observer(counts.clone()));
    for _ in 0..21 {
        adapter.search(&Query::new(LEAD)).await.unwrap();
    }
    assert_eq!(host.monotonic(), Duration::from_secs(2));
    assert_eq!((counts.tally().throttles, counts.tally().waited), (20, Duration::from_secs(2)));
}

#[tokio::test]
async fn a_bulk_costs_what_it_sends() {
    let ops: Vec<BulkOp> = (0..5).map(|n| BulkOp::Delete { id: RecordId::new(n.to_string()) }).collect();
    let mut real = Capabilities::basic("Id");
    real.bulk = true;
    for (capabilities, waited) in [(Capabilities::basic("Id"), 1_300), (real, 100)] {
        let host = Host::manual(1);
        let adapter = Scripted::with(capabilities, Vec::new()).layer(RateLimit::new(host.clone(), [second()]));
        adapter.bulk(&LEAD, &ops, &WriteOptions::new()).await.unwrap();
        adapter.bulk(&LEAD, &ops, &WriteOptions::new()).await.unwrap();
        assert_eq!(host.monotonic(), Duration::from_millis(waited));
    }
}

#[tokio::test]
async fn one_operation_may_be_slower_than_the_rest() {
    let host = Host::manual(1);
    let limit = RateLimit::new(host.clone(), []).operation("search", [Window::per_second(1)]);
    let adapter = Scripted::failing(Vec::new()).layer(limit);
    for _ in 0..3 {
        adapter.search(&Query::new(LEAD)).await.unwrap();
        adapter.authenticate().await.unwrap();
    }
    assert_eq!(host.monotonic(), Duration::from_secs(2));
}

#[tokio::test]
async fn a_named_time_holds_for_every_call() {
    let host = Host::manual(1);
    let error = down().retrying(Verdict::After(Duration::from_secs(30)));
    let adapter = Scripted::failing(vec![error]).layer(RateLimit::new(host.clone(), [second()]));
    adapter.search(&Query::new(LEAD)).await.unwrap_err();
    adapter.authenticate().await.unwrap();
    assert_eq!(host.monotonic(), Duration::from_secs(30));
}

#[tokio::test]
async fn too_long_a_wait_is_an_error_that_says_when() {
    let host = Host::manual(1);
    let limit = RateLimit::new(host.clone(), [Window::new(1, Duration::from_secs(600))]);
    let adapter = Scripted::failing(Vec::new()).layer(limit);
    adapter.search(&Query::new(LEAD)).await.unwrap();
    let error = adapter.search(&Query::new(LEAD)).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(600))));
    assert_eq!((error.operation(), error.entity()), (Some("search"), Some(&LEAD)));
    assert!(!error.may_have_applied());
    assert_eq!((adapter.inner().calls(), host.monotonic()), (1, Duration::ZERO));
    // The refused call took no turn.
    host.sleep(Duration::from_secs(600)).await;
    adapter.search(&Query::new(LEAD)).await.unwrap();
}

#[tokio::test]
async fn what_the_crm_says_is_left_is_kept() {
    let host = Host::manual(1);
    let limit = RateLimit::new(host.clone(), []);
    limit.allow(1, Duration::from_secs(45));
    let adapter = Scripted::failing(Vec::new()).layer(limit);
    adapter.authenticate().await.unwrap();
    assert_eq!(host.monotonic(), Duration::ZERO);
    adapter.authenticate().await.unwrap();
    assert_eq!(host.monotonic(), Duration::from_secs(45));
}

#[tokio::test]
async fn every_attempt_takes_its_turn_in_the_right_order() {
    let host = Host::manual(1);
    let counts = Counts::new();
    let policy = RetryPolicy::default().initial(Duration::ZERO).cap(Duration::ZERO).jitter(Jitter::None);
    let adapter = Scripted::failing(vec![down(), down(), down()])
        .layer(RateLimit::new(host.clone(), [second()]))
        .layer(Retry::new(host.clone(), policy.clone()))
        .layer(Observe::new(host.clone(), counts.clone()));
    adapter.search(&Query::new(LEAD)).await.unwrap();
    assert_eq!(host.monotonic(), Duration::from_millis(300), "three retries, three turns");
    assert_eq!((counts.tally().calls, counts.tally().failed_calls), (1, 0));
    // The wrong order, which the docs warn of: the retries pass the limit by.
    let host = Host::manual(1);
    let wrong = Scripted::failing(vec![down(), down(), down()])
        .layer(Retry::new(host.clone(), policy))
        .layer(RateLimit::new(host.clone(), [second()]));
    wrong.search(&Query::new(LEAD)).await.unwrap();
    assert_eq!(host.monotonic(), Duration::ZERO);
}

async fn refused<T: std::fmt::Debug>(call: impl Future<Output = Result<T>>, kind: ErrorKind, operation: &str) {
    let error = call.await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (kind, Some(operation)), "{error}");
}

#[tokio::test]
async fn the_guard_holds_calls_against_capabilities() {
    let mut can = Capabilities::basic("Id");
    can.bulk_max_ops = 1;
    can.search_max_clauses = 2;
    can.delete = false;
    let adapter = Scripted::with(can, Vec::new()).layer(Guard::new());
    let options = WriteOptions::new();
    let id = RecordId::new("1");
    let key = ExternalKey::new("Key__c", "7").unwrap();
    let or = Criteria::eq("A", 1).or(Criteria::eq("B", 2));
    let three = Criteria::eq("A", 1).and(Criteria::eq("B", 2)).and(Criteria::eq("C", 3));
    let ops = [BulkOp::Delete { id: id.clone() }, BulkOp::Delete { id: id.clone() }];
    use ErrorKind::Unsupported;
    refused(adapter.delete(&LEAD, &id, &options), Unsupported, "delete").await;
    refused(adapter.upsert(&LEAD, &key, &Fields::new(), &options), Unsupported, "upsert").await;
    refused(adapter.describe(&LEAD), Unsupported, "describe").await;
    refused(adapter.bulk(&LEAD, &ops, &options), Unsupported, "bulk").await;
    refused(adapter.search(&Query::new(LEAD).filter(or.clone())), Unsupported, "search").await;
    refused(adapter.search(&Query::new(LEAD).filter(three)), Unsupported, "search").await;
    refused(adapter.search(&Query::new(LEAD).order_by("A", true)), Unsupported, "search").await;
    refused(adapter.search(&Query::new(LEAD).filter(Criteria::Not(Box::new(Criteria::eq("A", 1))))), Unsupported, "search").await;
    assert_eq!(adapter.inner().calls(), 0, "nothing was sent");
    adapter.search(&Query::new(LEAD).filter(or).allow_residual()).await.unwrap();
    adapter.update(&LEAD, &id, &Fields::new(), &options).await.unwrap();
    assert_eq!(adapter.inner().operations(), ["search", "update"]);
}

#[tokio::test]
async fn the_guard_keeps_the_hosts_rules() {
    let (id, options, fields) = (RecordId::new("1"), WriteOptions::new(), Fields::new());
    use ErrorKind::Permission;
    let adapter = Scripted::failing(Vec::new()).layer(Guard::new().read_only());
    refused(adapter.create(&LEAD, &fields, &options), Permission, "create").await;
    refused(adapter.bulk(&LEAD, &[], &options), Permission, "bulk").await;
    adapter.search(&Query::new(LEAD)).await.unwrap();
    let adapter = Scripted::failing(Vec::new()).layer(Guard::new().no_deletes());
    refused(adapter.delete(&LEAD, &id, &options), Permission, "delete").await;
    adapter.create(&LEAD, &fields, &options).await.unwrap();
    let adapter = Scripted::failing(Vec::new()).layer(Guard::new().entities([LEAD]));
    let contact = Entity::from_static("Contact");
    refused(adapter.search(&Query::new(contact)), Permission, "search").await;
    adapter.search(&Query::new(LEAD)).await.unwrap();
    adapter.authenticate().await.unwrap();
}

#[tokio::test]
async fn a_dry_run_reads_and_notes() {
    let adapter = DryRun::new(Scripted::failing(Vec::new()));
    let options = WriteOptions::new();
    let id = RecordId::new("1");
    adapter.search(&Query::new(LEAD)).await.unwrap();
    let made = adapter.create(&LEAD, &Fields::new(), &options).await.unwrap();
    let changed = adapter.update(&LEAD, &id, &Fields::new(), &options).await.unwrap();
    let outcomes = adapter.bulk(&LEAD, &[BulkOp::Delete { id: id.clone() }], &options).await.unwrap();
    assert_eq!((made.created, changed.id, outcomes.len()), (Some(true), id.clone(), 1));
    assert_eq!(adapter.planned().len(), 3);
    assert_eq!(adapter.planned().last(), Some(&Planned::Write { entity: LEAD, op: BulkOp::Delete { id } }));
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing_behind() {
    let host = Host::manual(1);
    let adapter = Scripted::failing(vec![down()]).layer(Retry::new(host, RetryPolicy::default()));
    let query = Query::new(LEAD);
    drop(adapter.search(&query));
    assert_eq!(adapter.inner().calls(), 0, "a future does nothing until it is polled");
}
