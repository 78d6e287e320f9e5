//! The Pipedrive face spoken to in raw HTTP.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::needless_pass_by_value,
    reason = "helpers of tests fail by panicking, like the tests"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crm_sync::host::{Host, ManualClock};
use crm_sync::http::{HttpErrorKind, HttpTransport};
use crm_sync::sandbox::{PipedriveAccess, Sandbox};
use futures_util::FutureExt;
use serde_json::{Value, json};

pub struct Company {
    pub sandbox: Sandbox,
    pub transport: Arc<dyn HttpTransport>,
    pub clock: Arc<ManualClock>,
    pub access: PipedriveAccess,
    pub headers: Vec<(String, String)>,
}

pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn data(&self) -> &Value {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.body);
        assert_eq!(self.body["success"], true, "{}", self.body);
        &self.body["data"]
    }

    pub fn id(&self) -> i64 {
        self.data()["id"].as_i64().unwrap_or_else(|| panic!("no id in {}", self.body))
    }

    pub fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or("")
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub fn ids(&self) -> Vec<i64> {
        self.data().as_array().unwrap().iter().map(|one| one["id"].as_i64().unwrap()).collect()
    }

    /// Ids of what a search has found.
    pub fn found(&self) -> Vec<i64> {
        self.data()["items"].as_array().unwrap().iter().map(|one| one["item"]["id"].as_i64().unwrap()).collect()
    }

    pub fn refused(&self, status: u16, text: &str) {
        assert_eq!(self.status, status, "{}", self.body);
        assert!(self.body.to_string().contains(text), "{text} is not in {}", self.body);
        assert_eq!(self.body["success"], false);
    }

    /// A 400 of v2.
    pub fn invalid(&self, text: &str) {
        self.refused(400, text);
        assert_eq!(self.body["code"], "ERR_SCHEMA_VALIDATION_FAILED");
        assert!(self.error().starts_with("Validation failed: "), "{}", self.body);
    }
}

impl Company {
    pub fn new() -> Self {
        let (host, clock) = Host::manual_with_clock(1);
        Self::over(Sandbox::new(host, 1), clock)
    }

    pub fn over(sandbox: Sandbox, clock: Arc<ManualClock>) -> Self {
        let access = sandbox.pipedrive(Sandbox::IN_PROCESS_URL);
        let headers = vec![("x-api-token".to_owned(), access.api_token.clone())];
        // Tests that are not about the limits do not meet them.
        sandbox
            .set_pipedrive_options(|options| {
                options.burst = Some(1_000_000);
                options.search_burst = 1_000_000;
                options.daily_budget = Some(1_000_000_000);
            })
            .unwrap();
        Self { transport: sandbox.transport(), sandbox, clock, access, headers }
    }

    pub fn with(&self, headers: &[(&str, &str)]) -> Self {
        Self {
            sandbox: self.sandbox.clone(),
            transport: Arc::clone(&self.transport),
            clock: Arc::clone(&self.clock),
            access: self.access.clone(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }
    }

    pub fn raw(&self, method: &str, path: &str, kind: Option<&str>, body: Bytes) -> Result<Answer, HttpErrorKind> {
        let path = if ["/v1", "/api", "/oauth", "/pipedrive", "/_sandbox"].iter().any(|prefix| path.starts_with(prefix)) {
            path.to_owned()
        } else {
            format!("/api/v2{path}")
        };
        let mut request = http::Request::builder().method(method).uri(format!("http://localhost{path}"));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let request = request.body(body).unwrap();
        let answer = self.transport.send(request).now_or_never().expect("the manual host does not wait").map_err(|error| error.kind())?;
        let (parts, body) = answer.into_parts();
        let bytes = body.bytes(usize::MAX).now_or_never().unwrap().map_err(|error| error.kind())?;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    pub fn try_send(&self, method: &str, path: &str, body: Option<Value>) -> Result<Answer, HttpErrorKind> {
        match body {
            Some(body) => self.raw(method, path, Some("application/json"), Bytes::from(serde_json::to_vec(&body).unwrap())),
            None => self.raw(method, path, None, Bytes::new()),
        }
    }

    pub fn send(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.try_send(method, path, body).expect("an answer")
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
        self.raw("POST", path, Some("application/x-www-form-urlencoded"), Bytes::from(body)).unwrap()
    }

    pub fn person(&self, name: &str, email: &str) -> i64 {
        self.post("/persons", json!({"name": name, "emails": [{"value": email}]})).id()
    }

    pub fn wait(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A custom field, by its key.
    pub fn field(&self, entity: &str, kind: &str, options: &[&str]) -> (String, Vec<i64>) {
        let mut body = json!({"field_name": format!("My {kind}"), "field_type": kind});
        if !options.is_empty() {
            body["options"] = options.iter().map(|label| json!({"label": label})).collect();
        }
        let made = self.post(&format!("/{entity}Fields"), body);
        let ids = made.data()["options"].as_array().into_iter().flatten().map(|one| one["id"].as_i64().unwrap()).collect();
        (made.data()["field_code"].as_str().unwrap().to_owned(), ids)
    }
}

/// The members that an official example has and `shown` lacks.
pub fn lacking(shape: &str, shown: &Value) -> Vec<String> {
    let all: Value = serde_json::from_str(include_str!("../fixtures/pipedrive/example_members.json")).unwrap();
    let members = all[shape].as_array().unwrap_or_else(|| panic!("no shape {shape}"));
    let shown = shown.as_object().unwrap_or_else(|| panic!("{shape}: not an object: {shown}"));
    members.iter().map(|name| name.as_str().unwrap()).filter(|name| !shown.contains_key(*name)).map(str::to_owned).collect()
}
