//! The sandbox's HubSpot account as the client's tests use it: people who write in it, and a record of what was asked of it.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, like the tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::hubspot::{HubSpot, HubSpotConfig};
use crm_sync::model::{Fields, RecordId};
use crm_sync::sandbox::{HubSpotAccess, HubSpotOptions, Sandbox};
use futures_util::FutureExt;
use serde_json::{Value, json};

#[derive(Debug, Default)]
struct Asked {
    log: Vec<String>,
    bodies: Vec<String>,
    search_times: Vec<i64>,
    /// Milliseconds a write may stay hidden from searches.
    lag: u64,
    random: u64,
}

/// An account with three properties more: `score`, and a unique `crm_sync_id` on contacts and on notes.
#[derive(Clone, Debug)]
pub struct Portal {
    pub sandbox: Sandbox,
    pub host: Host,
    inner: Arc<dyn HttpTransport>,
    asked: Arc<Mutex<Asked>>,
}

impl Portal {
    /// Without lag; the limits are HubSpot's.
    pub fn new(host: Host, seed: u64) -> Self {
        let sandbox = Sandbox::new(host.clone(), seed);
        let asked = Asked { random: seed | 1, ..Asked::default() };
        let portal = Self { inner: sandbox.transport(), sandbox, host, asked: Arc::new(Mutex::new(asked)) };
        portal.set(|options| options.search_lag_millis = 0);
        portal.property("contacts", "score", "number", "number", false);
        portal.property("contacts", "crm_sync_id", "string", "text", true);
        portal.property("notes", "crm_sync_id", "string", "text", true);
        portal
    }

    pub fn access(&self) -> HubSpotAccess {
        self.sandbox.hubspot(Sandbox::IN_PROCESS_URL)
    }

    pub fn config(&self) -> HubSpotConfig {
        let access = self.access();
        HubSpotConfig::with_access_token(access.access_token.into())
            .base_url(&access.base_url)
            .forms_url(&access.base_url)
            .portal_id(access.portal_id.to_string())
    }

    pub fn client(&self) -> HubSpot {
        HubSpot::new(self.config(), Arc::new(self.clone()), self.host.clone()).unwrap()
    }

    pub fn set(&self, change: impl FnOnce(&mut HubSpotOptions)) {
        self.sandbox.set_hubspot_options(change).unwrap();
    }

    /// Asks past the record of what was asked, as the account's administrator.
    pub fn raw(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = http::Request::builder().method(method).uri(format!("{}{path}", Sandbox::IN_PROCESS_URL));
        let request = request.header("authorization", format!("Bearer {}", self.access().access_token));
        let request = request.header("content-type", "application/json").body(Bytes::from(body.to_string())).unwrap();
        let answer = self.inner.send(request).now_or_never().unwrap().unwrap();
        let status = answer.status();
        let bytes = answer.into_body().bytes(usize::MAX).now_or_never().unwrap().unwrap();
        assert!(status.is_success(), "{status} {}", String::from_utf8_lossy(&bytes));
        serde_json::from_slice(&bytes).unwrap_or(Value::Null)
    }

    pub fn property(&self, object: &str, name: &str, kind: &str, field: &str, unique: bool) {
        let groups = self.raw("GET", &format!("/crm/v3/properties/{object}/groups"), &Value::Null);
        let body = json!({"name": name, "label": name, "type": kind, "fieldType": field, "hasUniqueValue": unique,
            "groupName": groups["results"][0]["name"]});
        self.raw("POST", &format!("/crm/v3/properties/{object}"), &body);
    }

    /// Each write from now on shows in searches after a time of its own, up to this.
    pub fn lag(&self, millis: u64) {
        self.asked.lock().unwrap().lag = millis;
    }

    /// A number below `below`, by the seed.
    pub fn random(&self, below: u64) -> u64 {
        let mut asked = self.asked.lock().unwrap();
        asked.random = asked.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (asked.random >> 33) % below.max(1)
    }

    /// Writes as somebody else.
    pub fn put(&self, object: &str, id: Option<u64>, properties: &[(&str, &str)]) -> u64 {
        let lag = self.asked.lock().unwrap().lag;
        if lag > 0 {
            let own = self.random(lag + 1);
            self.set(|options| options.search_lag_millis = own);
        }
        let fields: Fields = properties.iter().copied().collect();
        match id {
            Some(id) => {
                self.sandbox.hubspot_update(object, &RecordId::new(id.to_string()), &fields).unwrap();
                id
            }
            None => self.sandbox.hubspot_create(object, &fields).unwrap().as_str().parse().unwrap(),
        }
    }

    /// Lets ten milliseconds pass.
    pub fn tick(&self) {
        self.host.sleep(Duration::from_millis(10)).now_or_never().unwrap();
    }

    pub fn remove(&self, object: &str, id: u64) {
        self.sandbox.hubspot_delete(object, &RecordId::new(id.to_string())).unwrap();
    }

    pub fn log(&self) -> Vec<String> {
        self.asked.lock().unwrap().log.clone()
    }

    pub fn forget(&self) {
        let mut asked = self.asked.lock().unwrap();
        asked.log.clear();
        asked.bodies.clear();
        asked.search_times.clear();
    }

    pub fn writes(&self) -> usize {
        let reads = |line: &&String| line.starts_with("GET ") || line.contains("/search") || line.contains("/batch/read");
        self.log().iter().filter(|line| !reads(line)).count()
    }

    pub fn bodies(&self) -> Vec<String> {
        self.asked.lock().unwrap().bodies.clone()
    }

    /// When searches came, in milliseconds of the host's clock.
    pub fn search_times(&self) -> Vec<i64> {
        self.asked.lock().unwrap().search_times.clone()
    }

    pub fn rows(&self, object: &str) -> Vec<Fields> {
        self.sandbox.hubspot_records(object)
    }

    pub fn count(&self, object: &str) -> usize {
        self.rows(object).len()
    }
}

#[async_trait]
impl HttpTransport for Portal {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        {
            let uri = request.uri();
            let mut asked = self.asked.lock().unwrap();
            asked.log.push(format!("{} {}", request.method(), uri.path_and_query().unwrap()));
            asked.bodies.push(String::from_utf8_lossy(request.body()).into_owned());
            if uri.path().ends_with("/search") {
                asked.search_times.push(self.host.now().as_millisecond());
            }
        }
        self.inner.send(request).await
    }
}
