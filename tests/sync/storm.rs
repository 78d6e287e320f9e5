//! A storm of 429s on each of the sandbox's faces: no call before the time that the last refusal named.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::{CrmAdapter, WriteOptions};
use crm_sync::host::Host;
use crm_sync::hubspot::{HubSpot, HubSpotConfig};
use crm_sync::layer::{LayerExt, RateLimit, Retry};
use crm_sync::model::{Entity, Fields};
use crm_sync::pace::{RetryPolicy, Window};
use crm_sync::pipedrive::{Pipedrive, PipedriveConfig};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::{Fault, FaultKind, RequestRecord, Sandbox};
use futures_util::future::join_all;
use serde_json::{Value, json};

const FACES: [&str; 3] = ["salesforce", "hubspot", "pipedrive"];

struct Face {
    sandbox: Sandbox,
    adapter: Arc<dyn CrmAdapter>,
    entity: Entity,
}

impl Face {
    fn new(face: &str, host: &Host, seed: u64) -> Self {
        let sandbox = Sandbox::new(host.clone(), seed);
        let transport = sandbox.transport();
        let (adapter, entity): (Arc<dyn CrmAdapter>, _) = match face {
            "salesforce" => {
                let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
                let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into());
                (Arc::new(Salesforce::new(config, transport, host.clone()).unwrap()), "Lead")
            }
            "hubspot" => {
                let access = sandbox.hubspot(Sandbox::IN_PROCESS_URL);
                let config = HubSpotConfig::with_access_token(access.access_token.into()).base_url(&access.base_url);
                (Arc::new(HubSpot::new(config, transport, host.clone()).unwrap()), "contacts")
            }
            _ => {
                let access = sandbox.pipedrive(Sandbox::IN_PROCESS_URL);
                let config = PipedriveConfig::with_access_token(access.api_domain, access.access_token.into());
                (Arc::new(Pipedrive::new(config, transport, host.clone()).unwrap()), "persons")
            }
        };
        let limited = adapter.layer(RateLimit::new(host.clone(), [Window::per_second(5)]));
        let adapter = Arc::new(limited.layer(Retry::new(host.clone(), RetryPolicy::default().attempts(20))));
        Self { sandbox, adapter, entity: Entity::from_static(entity) }
    }

    fn fields(&self, number: usize) -> Fields {
        let value: Value = match self.entity.as_str() {
            "Lead" => json!({"LastName": format!("L{number}"), "Company": "C"}),
            "contacts" => json!({"email": format!("p{number}@example.org")}),
            _ => json!({"name": format!("P{number}")}),
        };
        Fields::from_value(value).unwrap()
    }
}

#[tokio::test]
async fn no_call_comes_before_its_time_on_any_face() {
    for face in FACES {
        let (mut calls, mut refused) = (0, 0);
        for seed in 0..10_u64 {
            let host = Host::manual(seed);
            let there = Face::new(face, &host, seed);
            there.adapter.authenticate().await.unwrap();
            let before = there.sandbox.requests().len();
            let seconds = 2 + i64::try_from(seed).unwrap() * 5;
            // A wave of three, a pause, then as many again.
            for skip in [seed % 3, 4 + seed % 5] {
                let storm = FaultKind::TooManyRequests { retry_after: Some(seconds.to_string()) };
                there.sandbox.fault(Fault::new(storm).method("POST").skip(skip).times(3));
            }
            let (options, entity, adapter) = (WriteOptions::new(), there.entity.clone(), &there.adapter);
            let created = join_all((0..15).map(|number| {
                let fields = there.fields(number);
                let (options, entity) = (&options, &entity);
                async move { adapter.create(entity, &fields, options).await }
            }))
            .await;
            for outcome in created {
                outcome.unwrap_or_else(|error| panic!("{face}, seed {seed}: {error}"));
            }
            let log = there.sandbox.requests().split_off(before);
            let named: Vec<&RequestRecord> = log.iter().filter(|request| request.status == 429).collect();
            assert_eq!(named.len(), 6, "{face}, seed {seed}: {log:?}");
            let mut not_before = None;
            for request in &log {
                if let Some(time) = not_before {
                    assert!(request.at >= time, "{face}, seed {seed}: {request:?} came at {}, asked for {time}", request.at);
                }
                if request.status == 429 {
                    not_before = Some(request.at + Duration::from_secs(u64::try_from(seconds).unwrap()));
                }
            }
            (calls, refused) = (calls + log.len(), refused + named.len());
        }
        println!("{face}: {calls} calls, {refused} refused with a time, none earlier than the time");
    }
}
