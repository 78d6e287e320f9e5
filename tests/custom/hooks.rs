//! Code of the host's in a defined API, and refresh tokens that rotate.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::fake;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crm_sync::adapter::{CrmAdapter, CrmAdapterExt, WriteOptions};
use crm_sync::custom::Hooks;
use crm_sync::error::{Error, ErrorKind, Result};
use crm_sync::model::{Entity, RecordId};
use crm_sync::query::Query;
use crm_sync::rest::{Answer, Call, Failure};
use fake::{body, custom, fields, run};
use futures_util::TryStreamExt;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

const A: Entity = Entity::from_static("a");

/// An old service: XML-like dates, a signature, a credential of its own, pages told by the body, failures told by a word.
#[derive(Debug, Default)]
struct Old {
    prepared: AtomicUsize,
}

impl Hooks for Old {
    fn prepare(&self, call: Call) -> Result<Call> {
        let count = self.prepared.fetch_add(1, Ordering::SeqCst) + 1;
        Ok(call.header(HeaderName::from_static("x-signature"), HeaderValue::from_str(&format!("s{count}")).unwrap()))
    }

    fn encode(&self, _: &Entity, record: Value) -> Result<Value> {
        Ok(json!({"packed": record.to_string()}))
    }

    fn decode(&self, _: &Entity, record: Value) -> Result<Value> {
        let packed = record.get("packed").and_then(Value::as_str).ok_or_else(|| Error::decode("the record is not packed"))?;
        let mut inner: Value = serde_json::from_str(packed).map_err(|_| Error::decode("the packed record is not JSON"))?;
        inner["id"] = record["id"].clone();
        Ok(inner)
    }

    fn classify(&self, _: &'static str, failure: Failure<'_>) -> Option<Error> {
        failure.body.starts_with(b"BUSY").then(|| Error::new(ErrorKind::RateLimited, "the old service is busy"))
    }

    fn next_page(&self, _: &Entity, answer: &Answer) -> Option<Option<String>> {
        let body: Value = answer.json().ok()?;
        Some(body.get("more").and_then(Value::as_str).map(|more| format!("/a?from={more}")))
    }

    fn authorize(&self, headers: &mut HeaderMap) -> Result<bool> {
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Old key"));
        Ok(true)
    }
}

const YAML: &str = r#"
name: old
base_url: https://x.io
auth: {type: bearer, secret: never-asked}
defaults: {search: {records: /items}, get: {}, create: {}, update: {}, delete: {}}
"#;

#[test]
fn every_hook_is_asked_and_has_the_last_word() {
    let rows = Arc::new(Mutex::new(Vec::<Value>::new()));
    let kept = Arc::clone(&rows);
    let (builder, log) = custom(YAML, move |request| {
        assert_eq!(request.headers()["authorization"], "Old key", "the host's credential, not the definition's");
        assert!(request.headers()["x-signature"].to_str().unwrap().starts_with('s'));
        let mut rows = kept.lock().unwrap();
        match (request.method().as_str(), request.uri().path_and_query().unwrap().as_str()) {
            ("POST", "/a") => {
                let mut made = body(request);
                made["id"] = json!((rows.len() + 1).to_string());
                rows.push(made.clone());
                (201, vec![], made)
            }
            ("GET", "/a?from=2") => (200, vec![], json!({"items": rows[1..]})),
            ("GET", "/a/busy") => (200, vec![], json!("BUSY, try later")),
            ("GET", path) if path.starts_with("/a/") => (200, vec![], rows[0].clone()),
            _ => (200, vec![], json!({"items": rows[..1], "more": "2"})),
        }
    });
    let crm = builder.secret("never-asked", String::from("x")).hooks(Arc::new(Old::default())).build().unwrap();
    for name in ["Ann", "Bob"] {
        run(crm.create(&A, &fields(json!({"name": name})), &WriteOptions::new())).unwrap();
    }
    assert_eq!(rows.lock().unwrap()[0], json!({"id": "1", "packed": r#"{"name":"Ann"}"#}));
    let all: Vec<_> = run(crm.search_all(Query::new(A)).try_collect()).unwrap();
    assert_eq!(all.iter().map(|record| record.fields.text("name").unwrap()).collect::<Vec<_>>(), ["Ann", "Bob"]);
    let one = run(crm.get(&A, &RecordId::new("1"), &[])).unwrap().unwrap();
    assert_eq!((one.id.as_str(), one.fields.text("name")), ("1", Some("Ann")));
    let busy = run(crm.get(&A, &RecordId::new("busy"), &[])).unwrap_err();
    assert_eq!(busy.kind(), ErrorKind::RateLimited, "a 200 that means failure");
    assert_eq!(log.lock().unwrap().iter().filter(|line| line.starts_with("GET /a?from=2")).count(), 1);
}

#[test]
fn refresh_tokens_rotate_and_the_newest_is_used() {
    let yaml = r#"
name: x
base_url: https://x.io
auth:
  type: oauth2
  grant: refresh_token
  token_url: /token
  client_id: app
  client_secret: app-secret
  refresh_token: first
  placement: basic
defaults: {search: {}}
"#;
    let refreshed = Arc::new(Mutex::new(Vec::<String>::new()));
    let seen = Arc::clone(&refreshed);
    let (builder, log) = custom(yaml, move |request| {
        let mut seen = seen.lock().unwrap();
        if request.uri().path() == "/token" {
            // base64("app:s3cret")
            assert_eq!(request.headers()["authorization"], "Basic YXBwOnMzY3JldA==");
            let form: Vec<(String, String)> = url::form_urlencoded::parse(request.body()).into_owned().collect();
            let value = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            assert_eq!(value("grant_type").as_deref(), Some("refresh_token"));
            assert_eq!(value("client_secret"), None, "it is in the header");
            let expected = if seen.is_empty() { "r0".to_owned() } else { format!("r{}", seen.len()) };
            let sent = value("refresh_token").unwrap();
            if sent != expected {
                return (400, vec![], json!({"error": "invalid_grant"}));
            }
            seen.push(sent);
            let count = seen.len();
            return (200, vec![], json!({"access_token": format!("t{count}"), "refresh_token": format!("r{count}"), "expires_in": 3600}));
        }
        // The first two tokens die at once.
        let alive = request.headers()["authorization"].to_str().unwrap() == "Bearer t3";
        (if alive || seen.len() == 1 && request.uri().path() == "/b" { 200 } else { 401 }, vec![], json!([]))
    });
    let crm = builder.secret("app-secret", String::from("s3cret")).secret("first", String::from("r0")).build().unwrap();
    // One renewal for one call, no loop.
    let refused = run(crm.search(&Query::new(A))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Authentication);
    assert_eq!(*log.lock().unwrap(), ["POST /token", "GET /a", "POST /token", "GET /a"]);
    run(crm.search(&Query::new(A))).unwrap();
    assert_eq!(*refreshed.lock().unwrap(), ["r0", "r1", "r2"], "each refresh uses the newest token");
}
