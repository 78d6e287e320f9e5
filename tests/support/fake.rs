//! A server that is a function, behind a defined adapter.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]
#![allow(clippy::panic, clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail by panicking, like the tests")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::custom::{Custom, CustomBuilder, Definition};
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::model::Fields;
use futures_util::FutureExt;
use http::{Request, Response};
use serde_json::Value;

/// Status, headers and body; a text is sent as it is.
pub type Answered = (u16, Vec<(&'static str, String)>, Value);
/// Method, path and query of each request.
pub type Log = Arc<Mutex<Vec<String>>>;

pub struct Fake<F>(pub F, pub Log);

impl<F> std::fmt::Debug for Fake<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

#[async_trait]
impl<F: Fn(&Request<Bytes>) -> Answered + Send + Sync> HttpTransport for Fake<F> {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, HttpError> {
        self.1.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path_and_query().unwrap()));
        let (status, headers, body) = (self.0)(&request);
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(name, value);
        }
        let text = match body {
            Value::String(text) => text,
            Value::Null => String::new(),
            other => other.to_string(),
        };
        Ok(response.body(Body::from_bytes(text)).unwrap())
    }
}

pub fn custom<F>(yaml: &str, answer: F) -> (CustomBuilder, Log)
where
    F: Fn(&Request<Bytes>) -> Answered + Send + Sync + 'static,
{
    with_host(yaml, Host::manual(1), answer)
}

pub fn with_host<F>(yaml: &str, host: Host, answer: F) -> (CustomBuilder, Log)
where
    F: Fn(&Request<Bytes>) -> Answered + Send + Sync + 'static,
{
    let definition = Definition::from_yaml(yaml, "test.yaml").unwrap_or_else(|error| panic!("{}", crm_sync::error::chain(&error)));
    let log = Log::default();
    (Custom::builder(definition, Fake(answer, Arc::clone(&log)), host), log)
}

pub fn run<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing waits here")
}

pub fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

pub fn body(request: &Request<Bytes>) -> Value {
    serde_json::from_slice(request.body()).unwrap_or(Value::Null)
}

pub fn query(request: &Request<Bytes>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
