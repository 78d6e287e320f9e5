//! One answer in twenty says "too many requests, come back in so many seconds": everything arrives once, no wait is cut short,
//! and each refusal costs one call more.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::adapter::{CrmAdapter, WriteOptions};
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::hubspot::{HubSpot, HubSpotConfig};
use crm_sync::layer::{LayerExt, Retry};
use crm_sync::model::Entity;
use crm_sync::pace::RetryPolicy;
use crm_sync::pipedrive::{Pipedrive, PipedriveConfig};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use futures_util::{StreamExt, TryStreamExt, stream};
use http::{Request, Response};
use secrecy::SecretString;

const RECORDS: usize = 400;

/// A CRM that refuses every twentieth request, and remembers who came back when.
#[derive(Debug)]
struct Grudging {
    host: Host,
    answer: &'static str,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: usize,
    refusals: usize,
    /// From when on a record may be sent again.
    not_before: HashMap<String, Duration>,
    arrived: HashMap<String, usize>,
}

#[async_trait]
impl HttpTransport for Grudging {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, HttpError> {
        let text = String::from_utf8(request.body().to_vec()).unwrap();
        let name = text.split('"').find(|part| part.starts_with("record-")).expect("a record").to_owned();
        let now = self.host.monotonic();
        let mut seen = self.seen.lock().unwrap();
        seen.calls += 1;
        if let Some(at) = seen.not_before.remove(&name) {
            assert!(now >= at, "{name} came back {:?} early", at - now);
        }
        if seen.calls % 20 == 7 {
            seen.refusals += 1;
            let seconds = 1 + seen.refusals as u64 % 5;
            seen.not_before.insert(name, now + Duration::from_secs(seconds));
            let refusal = Response::builder().status(429).header("retry-after", seconds.to_string());
            return Ok(refusal.body(Body::from_bytes(r#"{"message":"slow down"}"#)).unwrap());
        }
        *seen.arrived.entry(name).or_default() += 1;
        Ok(Response::builder().status(201).body(Body::from_bytes(self.answer)).unwrap())
    }
}

async fn everything_arrives_once<A: CrmAdapter>(
    entity: &'static str,
    field: &str,
    answer: &'static str,
    connect: impl FnOnce(Arc<Grudging>, Host) -> A,
) {
    let host = Host::manual(7);
    let crm = Arc::new(Grudging { host: host.clone(), answer, seen: Mutex::default() });
    let adapter = connect(Arc::clone(&crm), host.clone()).layer(Retry::new(host, RetryPolicy::default()));
    let (adapter, entity, options) = (&adapter, &Entity::from_static(entity), &WriteOptions::new());
    let creates = stream::iter(0..RECORDS).map(|n| async move {
        let fields = [(field, format!("record-{n}"))].into_iter().collect();
        adapter.create(entity, &fields, options).await
    });
    let written: Vec<_> = creates.buffer_unordered(5).try_collect().await.unwrap();
    assert_eq!(written.len(), RECORDS);
    let seen = crm.seen.lock().unwrap();
    assert_eq!((seen.arrived.len(), seen.arrived.values().max()), (RECORDS, Some(&1)), "each record, once");
    assert!(seen.refusals >= RECORDS / 20, "{} refusals", seen.refusals);
    assert_eq!(seen.calls, RECORDS + seen.refusals, "a refusal costs one call");
    assert!(seen.not_before.is_empty(), "nobody gave up");
}

fn token() -> SecretString {
    SecretString::from("T")
}

#[tokio::test]
async fn salesforce() {
    everything_arrives_once("Lead", "LastName", r#"{"id":"00Q000000000001AAA","success":true,"errors":[]}"#, |crm, host| {
        Salesforce::new(SalesforceConfig::with_access_token("https://one.example", token()), crm, host).unwrap()
    })
    .await;
}

#[tokio::test]
async fn hubspot() {
    everything_arrives_once("contacts", "lastname", r#"{"id":"1","properties":{},"updatedAt":"2026-01-31T10:00:00Z"}"#, |crm, host| {
        HubSpot::new(HubSpotConfig::with_access_token(token()), crm, host).unwrap()
    })
    .await;
}

#[tokio::test]
async fn pipedrive() {
    everything_arrives_once("persons", "name", r#"{"success":true,"data":{"id":1,"update_time":"2026-01-31T10:00:00Z"}}"#, |crm, host| {
        Pipedrive::new(PipedriveConfig::with_api_token("https://one.example", token()), crm, host).unwrap()
    })
    .await;
}
