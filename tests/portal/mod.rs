//! A HubSpot account spoken to in raw HTTP.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails should stop")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crm_sync::host::{Host, ManualClock};
use crm_sync::http::{HttpErrorKind, HttpTransport};
use crm_sync::sandbox::{HubSpotAccess, HubSpotOptions, Sandbox};
use futures_util::FutureExt;
use serde_json::{Value, json};

pub struct Portal {
    pub sandbox: Sandbox,
    pub transport: Arc<dyn HttpTransport>,
    pub clock: Arc<ManualClock>,
    pub access: HubSpotAccess,
    pub token: String,
}

pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or("")
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {} {}", self.status, self.body)).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub fn results(&self) -> &[Value] {
        self.body["results"].as_array().map_or(&[], Vec::as_slice)
    }

    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

impl Portal {
    /// An account without lag and with wide limits.
    pub fn new() -> Self {
        let portal = Self::strict();
        portal.set(|options| {
            options.search_lag_millis = 0;
            options.search_per_second = 1_000;
            options.burst_limit = 100_000;
            options.oauth_burst_limit = 100_000;
            options.association_burst_limit = 100_000;
        });
        portal
    }

    /// An account as it comes.
    pub fn strict() -> Self {
        let (host, clock) = Host::manual_with_clock(1);
        Self::over(Sandbox::new(host, 1), clock)
    }

    pub fn over(sandbox: Sandbox, clock: Arc<ManualClock>) -> Self {
        let access = sandbox.hubspot(Sandbox::IN_PROCESS_URL);
        Self { transport: sandbox.transport(), sandbox, clock, token: access.access_token.clone(), access }
    }

    pub fn set(&self, change: impl FnOnce(&mut HubSpotOptions)) {
        self.sandbox.set_hubspot_options(change).unwrap();
    }

    pub fn with_token(&self, token: &str) -> Self {
        Self {
            sandbox: self.sandbox.clone(),
            transport: Arc::clone(&self.transport),
            clock: Arc::clone(&self.clock),
            access: self.access.clone(),
            token: token.to_owned(),
        }
    }

    /// The same account through the OAuth app.
    pub fn oauth(&self) -> Self {
        let answer = self.refresh("/oauth/2026-03/token", &self.access.refresh_token).expect(200);
        self.with_token(answer.text("/access_token"))
    }

    /// The app itself, with the scopes of the journal.
    pub fn app(&self) -> Self {
        let scopes = "developer.webhooks_journal.read developer.webhooks_journal.subscriptions.read \
                      developer.webhooks_journal.subscriptions.write developer.webhooks_journal.snapshots.write";
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", self.access.client_id.as_str()),
            ("client_secret", self.access.client_secret.as_str()),
            ("scope", scopes),
        ];
        self.with_token(self.form("/oauth/2026-03/token", &form).expect(200).text("/access_token"))
    }

    pub fn refresh(&self, path: &str, token: &str) -> Answer {
        self.form(
            path,
            &[
                ("grant_type", "refresh_token"),
                ("client_id", &self.access.client_id),
                ("client_secret", &self.access.client_secret),
                ("refresh_token", token),
            ],
        )
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub fn raw(&self, method: &str, path: &str, kind: Option<&str>, body: impl Into<Bytes>) -> Result<Answer, HttpErrorKind> {
        let mut request = http::Request::builder().method(method).uri(format!("http://localhost{path}"));
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(body.into()).unwrap();
        let answer = self.transport.send(request).now_or_never().expect("the manual host does not wait").map_err(|error| error.kind())?;
        let (parts, body) = answer.into_parts();
        let bytes = body.bytes(usize::MAX).now_or_never().unwrap().map_err(|error| error.kind())?;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    pub fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let kind = body.is_some().then_some("application/json");
        let bytes = body.map(|body| serde_json::to_vec(&body).unwrap()).unwrap_or_default();
        self.raw(method, path, kind, bytes).expect("an answer")
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, None)
    }

    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, Some(body))
    }

    pub fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, Some(body))
    }

    pub fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, Some(body))
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None)
    }

    pub fn form(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.raw("POST", path, Some("application/x-www-form-urlencoded"), body).expect("an answer")
    }

    pub fn create(&self, object: &str, properties: Value) -> String {
        let body = [("properties".to_owned(), properties)].into_iter().collect();
        self.post(&format!("/crm/v3/objects/{object}"), Value::Object(body)).expect(201).id()
    }

    pub fn contact(&self, email: &str) -> String {
        self.create("contacts", json!({"email": email}))
    }

    pub fn unique_key(&self) {
        let body = json!({"name": "sync_key", "label": "Key", "type": "string", "fieldType": "text", "groupName": "contactinformation",
                          "hasUniqueValue": true});
        self.post("/crm/v3/properties/contacts", body).expect(201);
    }
}
