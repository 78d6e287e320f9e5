//! A client of the pretend Pipedrive company, in process.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests")]

use std::sync::Arc;

use crm_sync::host::Host;
use crm_sync::http::HttpTransport;
use crm_sync::pipedrive::{Kind, Pipedrive, PipedriveConfig, PipedriveSettings};
use crm_sync::sandbox::{PipedriveAccess, Sandbox};
use serde_json::{Value, json};

/// Tokens a day; enough for every test.
pub const BUDGET: u64 = 1_000_000;

pub struct Company {
    pub host: Host,
    pub sandbox: Sandbox,
    pub access: PipedriveAccess,
}

impl Company {
    /// A company whose search lags so much, and whose bursts nobody meets.
    pub fn new(lag_millis: u64) -> Self {
        let (host, clock) = Host::manual_with_clock(3);
        clock.set_wall("2026-11-24T09:00:00Z".parse().unwrap());
        let sandbox = Sandbox::new(host.clone(), 3);
        sandbox
            .set_pipedrive_options(|options| {
                (options.burst, options.search_burst, options.daily_budget) = (Some(1_000_000), 1_000_000, Some(BUDGET));
                options.search_lag_millis = lag_millis;
                options.contact_sync = true;
            })
            .unwrap();
        let access = sandbox.pipedrive(Sandbox::IN_PROCESS_URL);
        Self { host, sandbox, access }
    }

    pub fn config(&self) -> PipedriveConfig {
        PipedriveConfig::with_api_token(&self.access.base_url, self.access.api_token.clone().into()).settings(settings())
    }

    pub fn client(&self) -> Pipedrive {
        self.client_over(self.sandbox.transport())
    }

    pub fn client_over(&self, transport: Arc<dyn HttpTransport>) -> Pipedrive {
        Pipedrive::new(self.config(), transport, self.host.clone()).unwrap()
    }

    /// The custom fields the settings speak of; the keys of the operation's id and of the temperature.
    pub async fn furnish(&self) -> (String, String) {
        let client = self.client();
        let operation = client.ensure_field(Kind::Person, "External id", "varchar", &[]).await.unwrap();
        let temperature = client.ensure_field(Kind::Person, "Temperature", "enum", &["Hot", "Cold"]).await.unwrap();
        (operation.key, temperature.key)
    }

    pub fn rows(&self, entity: &str) -> Vec<Value> {
        self.sandbox.pipedrive_records(entity)
    }

    /// Method and path of all requests so far.
    pub fn lines(&self) -> Vec<String> {
        self.sandbox.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    /// Method, path and query of all requests so far.
    pub fn log(&self) -> Vec<String> {
        self.sandbox.requests().iter().map(|request| format!("{} {}?{}", request.method, request.path, request.query)).collect()
    }

    pub fn writes(&self) -> usize {
        self.lines().iter().filter(|line| !line.starts_with("GET")).count()
    }
}

fn settings() -> PipedriveSettings {
    serde_json::from_value(json!({
        "customFields": {"person": {"temperature": "Temperature"}},
        "operationFields": {"person": "External id"},
        "pipeline": {"defaultPipeline": "Pipeline", "currency": "USD", "stages": {"new": "Contact Made", "qualified": "Qualified", "won": 5}}
    }))
    .unwrap()
}
