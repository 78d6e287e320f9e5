//! The retry layer: what is tried again, when, how often, and what never is. The clock moves by sleeping alone.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::scripted;

use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::{BulkOp, CrmAdapter, WriteOptions};
use crm_sync::error::{Error, ErrorKind, Retry as Verdict};
use crm_sync::host::Host;
use crm_sync::layer::{LayerExt, Layered, Retry};
use crm_sync::model::{Entity, ExternalKey, Fields, RecordId, Version};
use crm_sync::observe::Counts;
use crm_sync::pace::{Jitter, RetryBudget, RetryPolicy};
use crm_sync::query::Query;
use scripted::Scripted;

const LEAD: Entity = Entity::from_static("Lead");

fn plain() -> RetryPolicy {
    RetryPolicy::default().jitter(Jitter::None)
}

fn retrying(script: Vec<Error>, policy: RetryPolicy) -> (Layered<Arc<Scripted>, Retry>, Host) {
    let host = Host::manual(1);
    (Arc::new(Scripted::failing(script)).layer(Retry::new(host.clone(), policy)), host)
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "the CRM is down")
}

fn lost() -> Error {
    Error::new(ErrorKind::Timeout, "no answer").ambiguous()
}

#[tokio::test]
async fn waits_double_until_it_works() {
    let (adapter, host) = retrying(vec![down(), down(), down()], plain());
    adapter.search(&Query::new(LEAD)).await.unwrap();
    assert_eq!(adapter.inner().calls(), 4);
    assert_eq!(host.monotonic(), Duration::from_secs(1 + 2 + 4));
}

#[tokio::test]
async fn five_attempts_and_no_more() {
    let (adapter, host) = retrying((0..9).map(|_| down()).collect(), plain());
    let error = adapter.search(&Query::new(LEAD)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(adapter.inner().calls(), 5);
    assert_eq!(host.monotonic(), Duration::from_secs(15));
}

#[tokio::test]
async fn jitter_adds_and_never_takes() {
    for seed in 0..50 {
        let host = Host::manual(seed);
        let adapter = Scripted::failing(vec![down()]).layer(Retry::new(host.clone(), RetryPolicy::default()));
        adapter.search(&Query::new(LEAD)).await.unwrap();
        assert!(host.monotonic() >= Duration::from_secs(1) && host.monotonic() < Duration::from_millis(1_300));
    }
}

#[tokio::test]
async fn what_cannot_pass_is_not_repeated() {
    for kind in [ErrorKind::Validation, ErrorKind::Authentication, ErrorKind::NotFound, ErrorKind::QuotaExhausted, ErrorKind::Duplicate] {
        let (adapter, host) = retrying(vec![Error::new(kind, "x")], plain());
        assert_eq!(adapter.search(&Query::new(LEAD)).await.unwrap_err().kind(), kind);
        assert_eq!((adapter.inner().calls(), host.monotonic()), (1, Duration::ZERO));
    }
}

#[tokio::test]
async fn a_create_that_may_have_happened_is_not_repeated() {
    let (adapter, _) = retrying(vec![lost()], plain());
    let error = adapter.create(&LEAD, &Fields::new(), &WriteOptions::new()).await.unwrap_err();
    assert!(error.may_have_applied());
    assert_eq!(adapter.inner().calls(), 1);
}

#[tokio::test]
async fn a_create_that_was_refused_is_repeated() {
    let (adapter, _) = retrying(vec![Error::new(ErrorKind::RateLimited, "slow down")], plain());
    adapter.create(&LEAD, &Fields::new(), &WriteOptions::new()).await.unwrap();
    assert_eq!(adapter.inner().calls(), 2);
}

#[tokio::test]
async fn absolute_writes_are_repeated_though_they_may_have_happened() {
    let (id, options) = (RecordId::new("1"), WriteOptions::new());
    let key = ExternalKey::new("Key__c", "7").unwrap();
    let (adapter, _) = retrying(vec![lost()], plain());
    adapter.update(&LEAD, &id, &Fields::new(), &options).await.unwrap();
    let (adapter, _) = retrying(vec![lost()], plain());
    adapter.upsert(&LEAD, &key, &Fields::new(), &options).await.unwrap();
    let (adapter, _) = retrying(vec![lost()], plain());
    adapter.delete(&LEAD, &id, &options).await.unwrap();
    let (adapter, _) = retrying(vec![lost()], plain());
    let ops = [BulkOp::Delete { id: id.clone() }, BulkOp::Update { id, fields: Fields::new() }];
    adapter.bulk(&LEAD, &ops, &options).await.unwrap();
    assert_eq!(adapter.inner().calls(), 2);
}

#[tokio::test]
async fn a_write_under_a_version_and_a_bulk_with_a_create_are_not() {
    let (adapter, _) = retrying(vec![lost()], plain());
    let options = WriteOptions::new().if_version(Version::new("1"));
    assert!(adapter.update(&LEAD, &RecordId::new("1"), &Fields::new(), &options).await.is_err());
    assert_eq!(adapter.inner().calls(), 1);
    let (adapter, _) = retrying(vec![lost()], plain());
    let ops = [BulkOp::Delete { id: RecordId::new("1") }, BulkOp::Create { fields: Fields::new() }];
    assert!(adapter.bulk(&LEAD, &ops, &WriteOptions::new()).await.is_err());
    assert_eq!(adapter.inner().calls(), 1);
}

#[tokio::test]
async fn doubt_survives_later_attempts() {
    let (adapter, _) = retrying(vec![lost(), Error::new(ErrorKind::Validation, "refused")], plain());
    let error = adapter.update(&LEAD, &RecordId::new("1"), &Fields::new(), &WriteOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);
    assert!(error.may_have_applied(), "the first attempt may have been applied");
}

#[tokio::test]
async fn the_time_the_crm_names_is_kept() {
    let hinted = |seconds| Error::new(ErrorKind::RateLimited, "slow down").retrying(Verdict::After(Duration::from_secs(seconds)));
    let (adapter, host) = retrying(vec![hinted(20)], plain());
    adapter.search(&Query::new(LEAD)).await.unwrap();
    assert!(host.monotonic() >= Duration::from_secs(20) && host.monotonic() <= Duration::from_secs(22));
    let (adapter, host) = retrying(vec![hinted(3_600)], plain());
    let error = adapter.search(&Query::new(LEAD)).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(3_600)), "left to whoever can park the work");
    assert_eq!(host.monotonic(), Duration::ZERO);
}

#[tokio::test]
async fn a_spent_budget_stops_retries_and_success_fills_it() {
    let host = Host::manual(1);
    let budget = RetryBudget::new(40);
    let script = (0..20).map(|_| down()).collect();
    let adapter = Scripted::failing(script).layer(Retry::new(host, plain()).budget(budget.clone()));
    let query = Query::new(LEAD);
    assert!(adapter.search(&query).await.is_err());
    assert_eq!((adapter.inner().calls(), budget.left()), (3, 12), "two retries of fourteen");
    assert!(adapter.search(&query).await.is_err());
    assert_eq!(adapter.inner().calls(), 4, "no retry is left");
    adapter.inner().forget();
    for _ in 0..10 {
        adapter.search(&query).await.unwrap();
    }
    assert_eq!(budget.left(), 22);
}

#[tokio::test]
async fn each_retry_is_told() {
    let counts = Counts::new();
    let host = Host::manual(1);
    let adapter = Scripted::failing(vec![down(), down()]).layer(Retry::new(host, plain()).observer(counts.clone()));
    adapter.search(&Query::new(LEAD)).await.unwrap();
    let tally = counts.tally();
    assert_eq!((tally.retries, tally.waited), (2, Duration::from_secs(3)));
}

/// The whole way: client, pretend CRM, a connection that breaks.
async fn create_through(kind: crm_sync::sandbox::FaultKind, method: &str) -> (Result<(), Error>, usize, usize) {
    use crm_sync::salesforce::{Salesforce, SalesforceConfig};
    use crm_sync::sandbox::{Fault, Sandbox};
    let host = Host::manual(7);
    let sandbox = Sandbox::new(host.clone(), 7);
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(access.instance_url.clone(), access.access_token.clone().into());
    let adapter = Salesforce::new(config, sandbox.transport(), host.clone()).unwrap().layer(Retry::new(host, plain()));
    let fields: Fields = [("LastName", "Broken"), ("Company", "Line Ltd")].into_iter().collect();
    sandbox.fault(Fault::new(kind).method(method).path("/services/data"));
    let options = WriteOptions::new();
    let made = adapter.create(&LEAD, &fields, &options).await;
    let result = match made {
        Ok(written) => adapter.update(&LEAD, &written.id, &fields, &options).await.map(|_| ()),
        Err(error) => Err(error),
    };
    let sent = sandbox.requests().iter().filter(|request| request.method == method).count();
    (result, sandbox.records("Lead").len(), sent)
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_stays_one_record() {
    let (result, records, sent) = create_through(crm_sync::sandbox::FaultKind::DropAfter, "POST").await;
    assert!(result.unwrap_err().may_have_applied());
    assert_eq!((records, sent), (1, 1));
}

#[tokio::test]
async fn an_update_whose_answer_was_lost_is_sent_again() {
    let (result, records, sent) = create_through(crm_sync::sandbox::FaultKind::DropAfter, "PATCH").await;
    result.unwrap();
    assert_eq!((records, sent), (1, 2));
}
