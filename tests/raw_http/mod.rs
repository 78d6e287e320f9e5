//! An org spoken to in raw HTTP.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test that fails should stop")]

use std::sync::Arc;

use bytes::Bytes;
use crm_sync::host::{Host, ManualClock};
use crm_sync::http::{HttpErrorKind, HttpTransport};
use crm_sync::sandbox::Sandbox;
use futures_util::FutureExt;
use serde_json::{Value, json};

pub struct Org {
    pub sandbox: Sandbox,
    pub transport: Arc<dyn HttpTransport>,
    pub clock: Arc<ManualClock>,
    pub token: String,
    pub headers: Vec<(String, String)>,
}

pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn code(&self) -> &str {
        self.body[0]["errorCode"].as_str().unwrap_or("")
    }

    pub fn id(&self) -> String {
        self.body["id"].as_str().unwrap_or_else(|| panic!("no id in {} {}", self.status, self.body)).to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

pub fn enc(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

impl Org {
    pub fn new() -> Self {
        Self::seeded(1)
    }

    pub fn seeded(seed: u64) -> Self {
        let (host, clock) = Host::manual_with_clock(seed);
        Self::over(Sandbox::new(host, seed), clock)
    }

    pub fn over(sandbox: Sandbox, clock: Arc<ManualClock>) -> Self {
        let token = sandbox.salesforce(Sandbox::IN_PROCESS_URL).access_token;
        Self { transport: sandbox.transport(), sandbox, clock, token, headers: Vec::new() }
    }

    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut headers = self.headers.clone();
        headers.push((name.to_owned(), value.to_owned()));
        Self {
            sandbox: self.sandbox.clone(),
            transport: Arc::clone(&self.transport),
            clock: Arc::clone(&self.clock),
            token: self.token.clone(),
            headers,
        }
    }

    pub fn try_send(&self, method: &str, path: &str, body: Option<Value>) -> Result<Answer, HttpErrorKind> {
        let path = if path.starts_with("/services") || path.starts_with("/salesforce") || path.starts_with("/_sandbox") {
            path.to_owned()
        } else {
            format!("/services/data/v68.0{path}")
        };
        let mut request = http::Request::builder().method(method).uri(format!("http://localhost{path}"));
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let bytes = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Bytes::from(serde_json::to_vec(&body).unwrap())
            }
            None => Bytes::new(),
        };
        let request = request.body(bytes).unwrap();
        let answer = self.transport.send(request).now_or_never().expect("the manual host does not wait").map_err(|error| error.kind())?;
        let (parts, body) = answer.into_parts();
        let bytes = body.bytes(usize::MAX).now_or_never().unwrap().map_err(|error| error.kind())?;
        let body = serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes)));
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body })
    }

    /// Any bytes of any type; the answer's body as it came.
    pub fn raw(&self, method: &str, path: &str, kind: &str, body: impl Into<Bytes>) -> (u16, http::HeaderMap, Bytes) {
        let mut request = http::Request::builder().method(method).uri(format!("http://localhost/services/data/v68.0{path}"));
        request = request.header("authorization", format!("Bearer {}", self.token)).header("content-type", kind);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = self.transport.send(request.body(body.into()).unwrap()).now_or_never().unwrap().unwrap();
        let (parts, body) = answer.into_parts();
        (parts.status.as_u16(), parts.headers, body.bytes(usize::MAX).now_or_never().unwrap().unwrap())
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

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, None)
    }

    pub fn query(&self, soql: &str) -> Answer {
        self.get(&format!("/query?q={}", enc(soql)))
    }

    /// The first column of a query's rows, as texts.
    pub fn column(&self, soql: &str, field: &str) -> Vec<String> {
        let answer = self.query(soql);
        assert_eq!(answer.status, 200, "{soql}: {}", answer.body);
        let rows = answer.body["records"].as_array().unwrap();
        rows.iter().map(|row| row[field].as_str().unwrap_or("").to_owned()).collect()
    }

    /// The clock, in seconds since 1970.
    pub fn clock_now(&self) -> i64 {
        crm_sync::host::Clock::now(self.clock.as_ref()).as_second()
    }

    pub fn lead(&self, last: &str) -> String {
        let answer = self.post("/sobjects/Lead", json!({"LastName": last, "Company": "Acme"}));
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.id()
    }

    pub fn form(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = http::Request::post(format!("http://localhost{path}"))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Bytes::from(body))
            .unwrap();
        let answer = self.transport.send(request).now_or_never().unwrap().unwrap();
        let (parts, body) = answer.into_parts();
        let bytes = body.bytes(usize::MAX).now_or_never().unwrap().unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { status: parts.status.as_u16(), headers: parts.headers, body }
    }
}
