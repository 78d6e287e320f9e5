//! A transport that answers as told, in order, and remembers what it was asked.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking, like the tests")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use secrecy::SecretString;
use serde_json::Value;

/// A request as it was sent.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method and target: `GET /services/data/v68.0/limits`.
    pub line: String,
    pub origin: String,
    pub headers: http::HeaderMap,
    pub text: String,
}

impl Seen {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

pub fn reply(status: u16, body: impl Into<String>) -> Reply {
    Reply { status, headers: Vec::new(), body: body.into() }
}

/// A documented body.
pub fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/salesforce/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

#[derive(Default)]
pub struct Replay {
    replies: Mutex<VecDeque<Reply>>,
    seen: Mutex<Vec<Seen>>,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

impl Replay {
    pub fn new(replies: Vec<Reply>) -> Arc<Self> {
        Arc::new(Self { replies: Mutex::new(replies.into()), seen: Mutex::default() })
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.line.replace("/services/data/v68.0", "")).collect()
    }

    pub fn left(&self) -> usize {
        self.replies.lock().unwrap().len()
    }
}

#[async_trait]
impl HttpTransport for Replay {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        let uri = request.uri();
        self.seen.lock().unwrap().push(Seen {
            line: format!("{} {}", request.method(), uri.path_and_query().unwrap()),
            origin: format!("{}://{}", uri.scheme_str().unwrap(), uri.authority().unwrap()),
            headers: request.headers().clone(),
            text: String::from_utf8(request.body().to_vec()).unwrap(),
        });
        let Some(reply) = self.replies.lock().unwrap().pop_front() else {
            panic!("nobody expected {} {uri}", request.method());
        };
        let mut response = http::Response::builder().status(reply.status);
        for (name, value) in reply.headers {
            response = response.header(name, value);
        }
        Ok(response.body(Body::from_bytes(reply.body)).unwrap())
    }
}

pub const INSTANCE: &str = "https://acme.my.salesforce.com";

/// A client with a token of its own, whose transport answers `replies`.
pub fn client(replies: Vec<Reply>) -> (Salesforce, Arc<Replay>) {
    configured(SalesforceConfig::with_access_token(INSTANCE, SecretString::from("T")), replies)
}

pub fn configured(config: SalesforceConfig, replies: Vec<Reply>) -> (Salesforce, Arc<Replay>) {
    let replay = Replay::new(replies);
    let (host, clock) = Host::manual_with_clock(1);
    clock.set_wall("2026-11-24T09:00:00Z".parse().unwrap());
    (Salesforce::new(config, Arc::clone(&replay) as _, host).unwrap(), replay)
}
