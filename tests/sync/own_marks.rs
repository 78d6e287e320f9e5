//! Each CRM's own mark of who wrote, as a two-way sync uses it: the echo of our write costs no read, and what a person wrote is
//! kept, in whatever order and company it is told.

#![cfg(all(feature = "salesforce", feature = "hubspot", feature = "pipedrive"))]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that fails should stop"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use crm_sync::adapter::CrmAdapter;
use crm_sync::host::{Host, ManualClock};
use crm_sync::hubspot::{HubSpot, HubSpotConfig, HubSpotEvents, OwnWrites};
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Change, Entity, Fields, Origin, RecordId, Value};
use crm_sync::pipedrive::{Pipedrive, PipedriveConfig, PipedriveEvents};
use crm_sync::salesforce::stream::{StreamLog, StreamOptions};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::{MemoryStore, Store};
use crm_sync::sync::{ChangeLog, Engine, LogItem, MemoryRecords, TwoWay};
use crm_sync::webhook::{EventFormat, Verified};
use futures_util::FutureExt;
use serde_json::json;

const MAPPINGS: &str = r#"{
    "salesforce": {"row": {"last": "LastName", "company": "Company", "one": "Title", "two": "Phone"}},
    "hubspot": {"row": {"last": "lastname", "email": "email", "one": "jobtitle", "two": "phone"}},
    "pipedrive": {"row": {"one": "title", "two": "value"}}
}"#;

/// How the CRM tells what happened.
enum Tells {
    Stream(Box<StreamLog>, Mutex<String>),
    HubSpot(Arc<OwnWrites>),
    Pipedrive,
}

struct World {
    host: Host,
    clock: Arc<ManualClock>,
    sandbox: Sandbox,
    people: MemoryRecords,
    store: Arc<dyn Store>,
}

struct Side {
    world: World,
    sync: TwoWay,
    tells: Tells,
    /// The CRM's names of the host's two fields.
    names: [&'static str; 2],
    object: &'static str,
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

impl World {
    fn new() -> Self {
        let (host, clock) = Host::manual_with_clock(4);
        let sandbox = Sandbox::new(host.clone(), 4);
        let (people, store) = (MemoryRecords::new(host.clone()), Arc::new(MemoryStore::new(host.clone())));
        Self { host, clock, sandbox, people, store }
    }

    fn raw(&self, method: &str, path: &str, header: (&str, &str), body: &Value) {
        let request = http::Request::builder().method(method).uri(format!("{}{path}", Sandbox::IN_PROCESS_URL));
        let request = request.header(header.0, header.1).header("content-type", "application/json");
        let request = request.body(Bytes::from(body.to_string())).unwrap();
        let answer = self.sandbox.transport().send(request).now_or_never().unwrap().unwrap();
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
    }

    async fn sync(&self, name: &str, crm: Arc<dyn CrmAdapter>, entity: &'static str, ours: Origin) -> TwoWay {
        let schema = crm.describe(&Entity::from_static(entity)).await.unwrap();
        let set = MappingSet::from_json(MAPPINGS, "mappings.json").unwrap();
        let mapping = Mapping::compile(set.require(name, "row").unwrap(), Some(&schema)).unwrap();
        let engine = Engine::builder(crm, Arc::clone(&self.store), self.host.clone(), schema, mapping).build().unwrap();
        TwoWay::builder(engine, Arc::new(self.people.clone())).own_origin(ours).build()
    }
}

async fn salesforce() -> Side {
    let world = World::new();
    let access = world.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into()).client_name("this-sync");
    let crm = Salesforce::new(config, world.sandbox.transport(), world.host.clone()).unwrap();
    let lead = Entity::from_static("Lead");
    let log = StreamLog::cometd(&crm, &lead, StreamOptions::new()).wait(Duration::from_secs(1));
    let mark = log.mark().await.unwrap();
    let sync = world.sync("salesforce", Arc::new(crm), "Lead", Origin::new().client("this-sync")).await;
    Side { world, sync, tells: Tells::Stream(Box::new(log), Mutex::new(mark)), names: ["Title", "Phone"], object: "Lead" }
}

async fn hubspot() -> Side {
    let world = World::new();
    world.sandbox.set_hubspot_options(|options| options.search_lag_millis = 0).unwrap();
    let access = world.sandbox.hubspot(Sandbox::IN_PROCESS_URL);
    let (app, key, token) = (access.app_id, &access.developer_api_key, format!("Bearer {}", access.access_token));
    let settings = json!({"targetUrl": "https://hooks.test/in", "throttling": {"maxConcurrentRequests": 10}});
    world.raw("PUT", &format!("/webhooks/v3/{app}/settings?hapikey={key}"), ("authorization", &token), &settings);
    for name in ["jobtitle", "phone"] {
        let kind = json!({"eventType": "contact.propertyChange", "propertyName": name, "active": true});
        world.raw("POST", &format!("/webhooks/v3/{app}/subscriptions?hapikey={key}"), ("authorization", &token), &kind);
    }
    let own = Arc::new(OwnWrites::default().kept_in(Arc::clone(&world.store), "hubspot"));
    let config = HubSpotConfig::with_access_token(access.access_token.clone().into()).base_url(&access.base_url);
    let crm = HubSpot::new(config, world.sandbox.transport(), world.host.clone()).unwrap().with_own_writes(Arc::clone(&own));
    let sync = world.sync("hubspot", Arc::new(crm), "contacts", Origin::new().client("this-sync")).await;
    Side { world, sync, tells: Tells::HubSpot(own), names: ["jobtitle", "phone"], object: "contacts" }
}

async fn pipedrive() -> Side {
    let world = World::new();
    world.sandbox.set_pipedrive_options(|options| (options.burst, options.search_burst) = (Some(1_000_000), 1_000_000)).unwrap();
    let access = world.sandbox.pipedrive(Sandbox::IN_PROCESS_URL);
    let hook = json!({"subscription_url": "https://hooks.test/in", "event_action": "*", "event_object": "deal", "name": "n"});
    world.raw("POST", "/v1/webhooks", ("x-api-token", &access.api_token), &hook);
    let config = PipedriveConfig::with_api_token(&access.base_url, access.api_token.clone().into());
    let crm = Pipedrive::new(config, world.sandbox.transport(), world.host.clone()).unwrap();
    let ours = Origin::new().client("api").user(access.user_id.to_string());
    let sync = world.sync("pipedrive", Arc::new(crm), "deals", ours).await;
    Side { world, sync, tells: Tells::Pipedrive, names: ["title", "value"], object: "deal" }
}

impl Side {
    /// What has happened since this was asked last.
    async fn told(&self) -> Vec<Change> {
        let events = |format: &dyn EventFormat, body: &str| {
            let events = format.events(&Verified::trust_without_verifying(body.as_bytes(), "test", "k")).unwrap();
            events.into_iter().filter_map(|event| event.change).collect::<Vec<_>>()
        };
        let sandbox = &self.world.sandbox;
        let mut told = Vec::new();
        match &self.tells {
            Tells::Stream(log, place) => loop {
                let mark = place.lock().unwrap().clone();
                let page = log.read(&mark).await.unwrap();
                *place.lock().unwrap() = page.next;
                if page.items.is_empty() {
                    return told;
                }
                told.extend(page.items.into_iter().map(|item| match item {
                    LogItem::Change(change) => change,
                    other => panic!("{other:?}"),
                }));
            },
            Tells::HubSpot(own) => {
                for delivery in sandbox.hubspot_deliveries() {
                    told.extend(events(&HubSpotEvents::new(), &delivery.body));
                    sandbox.hubspot_delivered(&delivery, 204).unwrap();
                }
                own.claim(told, "this-sync", self.world.host.now()).await.unwrap()
            }
            Tells::Pipedrive => {
                for delivery in sandbox.pipedrive_deliveries() {
                    told.extend(events(&PipedriveEvents, &delivery.body));
                    sandbox.pipedrive_delivered(&delivery, 200).unwrap();
                }
                told
            }
        }
    }

    async fn rest(&self) {
        for _ in 0..4 {
            self.world.clock.advance(Duration::from_secs(1));
            self.sync.read_host().await.unwrap();
            self.sync.settle().await.unwrap();
        }
    }

    fn crm(&self) -> Fields {
        let sandbox = &self.world.sandbox;
        let mut rows = match &self.tells {
            Tells::Stream(..) => sandbox.records(self.object),
            Tells::HubSpot(_) => sandbox.hubspot_records(self.object),
            Tells::Pipedrive => sandbox.pipedrive_records(self.object).into_iter().map(fields).collect(),
        };
        rows.retain(|row| row.get(self.names[0]).is_some_and(|title| title.as_str().is_some_and(|title| title.starts_with("ours"))));
        assert_eq!(rows.len(), 1, "{:?}", rows.len());
        rows.remove(0)
    }

    /// A person writes the second field.
    fn edit(&self, value: &Value) {
        let (row, sandbox) = (self.crm(), &self.world.sandbox);
        let id = ["Id", "hs_object_id", "id"].iter().find_map(|name| row.get(name)).unwrap();
        let id = RecordId::new(id.as_str().map_or_else(|| id.to_string(), str::to_owned));
        let change = json!({ self.names[1]: value });
        match &self.tells {
            Tells::Stream(..) => sandbox.update(self.object, &id, &fields(change)).unwrap(),
            Tells::HubSpot(_) => sandbox.hubspot_update(self.object, &id, &fields(change)).unwrap(),
            Tells::Pipedrive => sandbox.pipedrive_update(self.object, &id, &change).unwrap(),
        }
    }

    fn ours(&self, name: &str) -> Value {
        let all = self.world.people.all();
        assert_eq!(all.iter().filter(|(id, _)| id == "h").count(), 1);
        all.into_iter().find(|(id, _)| id == "h").and_then(|(_, row)| row.get(name).cloned()).unwrap_or_default()
    }

    /// The host writes the first field, and it is in the CRM.
    async fn write(&self, value: &str) {
        self.world.people.put("h", fields(json!({ "one": value })));
        self.rest().await;
        assert_eq!(self.crm().text(self.names[0]), Some(value));
    }
}

fn means(one: &Value, two: &Value) -> bool {
    one == two || (one.as_f64().is_some() && one.as_f64() == two.as_f64())
}

async fn own_marks(name: &str, side: Side, ours: &Origin, values: [Value; 3]) {
    let [first, second, third] = values;
    let mut row = fields(json!({"last": "Ada", "company": "Acme", "email": "ada@example.org", "one": "ours 1"}));
    row.insert("two", first);
    side.world.people.put("h", row);
    side.rest().await;
    side.sync.note(&side.told().await).await.unwrap();
    side.rest().await;

    // The echo alone: nobody is asked anything.
    side.write("ours 2").await;
    let echo = side.told().await;
    assert!(!echo.is_empty() && echo.iter().all(|change| ours.covers(&change.origin)), "{name}: {echo:?}");
    side.world.sandbox.clear_requests();
    side.sync.note(&echo).await.unwrap();
    side.sync.settle().await.unwrap();
    let asked = side.world.sandbox.requests();
    assert!(asked.is_empty(), "{name}: an echo was asked about: {asked:?}");

    // A person's change and then, told later, our echo.
    side.write("ours 3").await;
    let mut told = side.told().await;
    side.edit(&second);
    let theirs = side.told().await;
    assert!(!theirs.is_empty(), "{name}");
    told.splice(0..0, theirs);
    for change in &told {
        side.sync.note(std::slice::from_ref(change)).await.unwrap();
    }
    side.rest().await;
    assert!(means(&side.ours("two"), &second), "{name}: the echo took the place of a person's change");

    // Both in one event, which bears our mark.
    side.edit(&third);
    side.told().await;
    let mut mixed = told.into_iter().rev().find(|change| ours.covers(&change.origin)).unwrap();
    mixed.fields.insert(side.names[1], third.clone());
    side.sync.note(&[mixed]).await.unwrap();
    side.rest().await;
    assert!(means(&side.ours("two"), &third), "{name}: the real change of a mixed event is lost");
    assert_eq!(side.ours("one"), "ours 3", "{name}");
    println!("{name}: {} echoes without a read, a mixed event keeps the real change", echo.len());
}

#[tokio::test]
async fn salesforce_tells_the_client() {
    let values = ["+44 1", "+44 2", "+44 3"].map(Value::from);
    own_marks("salesforce", salesforce().await, &Origin::new().client("this-sync"), values).await;
}

#[tokio::test]
async fn hubspot_is_known_by_what_was_sent() {
    let values = ["+44 1", "+44 2", "+44 3"].map(Value::from);
    own_marks("hubspot", hubspot().await, &Origin::new().client("this-sync"), values).await;
}

#[tokio::test]
async fn pipedrive_tells_the_door_and_the_user() {
    let side = pipedrive().await;
    let user = side.world.sandbox.pipedrive(Sandbox::IN_PROCESS_URL).user_id;
    own_marks("pipedrive", side, &Origin::new().client("api").user(user.to_string()), [1, 2, 3].map(Value::from)).await;
}

#[tokio::test]
async fn a_return_to_a_value_of_ours_is_a_change() {
    let side = hubspot().await;
    side.world.people.put("h", fields(json!({"last": "Ada", "email": "ada@example.org", "one": "ours 1", "two": "+44 1"})));
    side.rest().await;
    side.edit(&json!("+44 9"));
    side.sync.note(&side.told().await).await.unwrap();
    side.rest().await;
    assert_eq!(side.ours("two"), "+44 9");
    // Within the window, a person puts back what we wrote.
    side.edit(&json!("+44 1"));
    side.sync.note(&side.told().await).await.unwrap();
    side.rest().await;
    assert_eq!(side.ours("two"), "+44 1");
}
