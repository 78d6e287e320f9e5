//! The edges of definitions: webhooks whose proof is their address, writes at once, and what is refused when a definition is read.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::fake;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::adapter::{BulkOp, CrmAdapter, WriteOptions};
use crm_sync::custom::{Custom, Definition};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::model::{Entity, RecordId};
use crm_sync::webhook::RawRequest;
use fake::{custom, fields};
use http::{HeaderMap, Method, Request, Response};
use serde_json::{Value, json};

/// The secret in a step of the path, and in the query: right, wrong, twice, missing.
#[test]
fn webhooks_whose_address_is_the_proof() {
    let events = "events: {kind: [/type], record: /data/id}";
    for (style, good, bad) in [
        (
            "style: path, path: '/hooks/{secret}/*'",
            "https://host.example/hooks/s3cret/contacts",
            ["https://host.example/hooks/other/contacts", "https://host.example/hooks/s3cret", "https://host.example/?s=s3cret"],
        ),
        (
            "style: query, param: token",
            "https://host.example/in?x=1&token=s3cret",
            ["https://host.example/in?token=other", "https://host.example/in", "https://host.example/in?token=s3cret&token=s3cret"],
        ),
    ] {
        let yaml = format!("name: x\nbase_url: https://x.io\ndefaults: {{search: {{}}}}\nwebhook: {{{style}, secret: hook, {events}}}\n");
        let (builder, _) = custom(&yaml, |_| (200, vec![], Value::Null));
        let crm = builder.secret("hook", "s3cret".to_owned()).build().unwrap();
        let (verifier, _) = crm.webhook().unwrap();
        let headers = HeaderMap::new();
        let body = br#"{"type": "contact.changed", "data": {"id": 7}}"#;
        let verify = |url: &str| {
            let request = RawRequest { method: &Method::POST, url, headers: &headers, body };
            verifier.verify(&request, "2026-11-24T10:00:00Z".parse().unwrap()).is_ok()
        };
        assert!(verify(good), "{style}");
        for url in bad {
            assert!(!verify(url), "{style}: {url}");
        }
        assert!(!format!("{verifier:?} {crm:?}").contains("s3cret"));
        let (builder, _) = custom(&yaml, |_| (200, vec![], Value::Null));
        assert_eq!(builder.build().unwrap().webhook().unwrap_err().kind(), ErrorKind::Config);
    }
}

/// How many requests are under way, and how many were at most.
#[derive(Debug, Default)]
struct Busy(AtomicUsize, AtomicUsize);

#[derive(Debug)]
struct Counting(Arc<Busy>);

#[async_trait]
impl HttpTransport for Counting {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Body>, HttpError> {
        let now = self.0.0.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.1.fetch_max(now, Ordering::SeqCst);
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
        self.0.0.fetch_sub(1, Ordering::SeqCst);
        let sent: Value = serde_json::from_slice(request.body()).unwrap_or(Value::Null);
        let status = if sent["name"] == "bad" { 422 } else { 201 };
        Ok(Response::builder().status(status).body(Body::from_bytes(json!({"id": sent["name"]}).to_string())).unwrap())
    }
}

/// An API without batches is written to by several requests at once, as many as the definition allows; results keep their order,
/// and two writes of one record are never under way together.
#[tokio::test]
async fn writes_at_once_keep_their_order() {
    for (line, most) in [("", 4), ("  concurrency: 2\n", 2), ("  concurrency: 1\n", 1)] {
        let yaml = format!("name: x\nbase_url: https://x.io\ndefaults:\n{line}  create: {{}}\n  update: {{}}\n");
        let busy = Arc::new(Busy::default());
        let definition = Definition::from_yaml(&yaml, "x.yaml").unwrap();
        let crm = Custom::builder(definition, Counting(Arc::clone(&busy)), Host::manual(1)).build().unwrap();
        let a = Entity::from_static("a");
        let names: Vec<String> = (0..12).map(|at| if at == 5 { "bad".to_owned() } else { format!("n{at}") }).collect();
        let ops: Vec<BulkOp> = names.iter().map(|name| BulkOp::Create { fields: fields(json!({"name": name})) }).collect();
        let outcomes = crm.bulk(&a, &ops, &WriteOptions::new()).await.unwrap();
        let told: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().map_or("bad", |written| written.id.as_str())).collect();
        assert_eq!(told, names);
        assert_eq!(outcomes[5].as_ref().unwrap_err().kind(), ErrorKind::Validation);
        assert_eq!(busy.1.load(Ordering::SeqCst), most, "{line}");
        // The same record over and over: one after the other.
        busy.1.store(0, Ordering::SeqCst);
        let same: Vec<BulkOp> =
            (0..4).map(|at| BulkOp::Update { id: RecordId::new("1"), fields: fields(json!({"name": at.to_string()})) }).collect();
        crm.bulk(&a, &same, &WriteOptions::new()).await.unwrap();
        assert_eq!(busy.1.load(Ordering::SeqCst), 1);
    }
}

/// Line, column and a remedy for each.
#[test]
fn more_that_is_refused_when_it_is_read() {
    let search = |text: &str| format!("name: x\nbase_url: https://x.io\ndefaults:\n  search:\n    {text}\n");
    let entity = |text: &str| format!("name: x\nbase_url: https://x.io\ndefaults:\n  search: {{}}\n  modified: at\n  {text}\n");
    for (text, place, said, help) in [
        (search("sort: {param: order, target: body}"), "x.yaml:5:34", "a GET has no body to put the order into", "method: POST"),
        (
            search("select: {param: fields, target: body}"),
            "x.yaml:5:",
            "a GET has no body to put the names of fields into",
            "target: query",
        ),
        (
            search("sort: {param: order, descending: '{feld} desc'}"),
            "x.yaml:5:38",
            "{feld} stands for nothing here",
            "did you mean \"field\"?",
        ),
        (search("sort: {param: order, ascending: asc}"), "x.yaml:5:37", "{field} occurs nowhere", ""),
        (
            search("filter: {style: json, document: {all: '{part}'}, operators: {eq: {a: '{value}'}}}"),
            "x.yaml:5:",
            "{part} stands for nothing here",
            "did you mean \"parts\"?",
        ),
        (
            search("filter: {style: json, document: {all: []}, operators: {eq: {a: '{value}'}}}"),
            "x.yaml:5:",
            "{parts} occurs nowhere",
            "document: {filters: \"{parts}\"}",
        ),
        (
            search("filter: {style: params, document: '{parts}', operators: {eq: '{field}'}}"),
            "x.yaml:5:",
            "only a filter of style json",
            "style: json",
        ),
        (
            entity("changes: {since: from, format: {pattern: '%Q'}}"),
            "x.yaml:6:",
            "times written by this pattern could not be read again",
            "%Y-%m-%d",
        ),
        (entity("changes: {since: from, target: body}"), "x.yaml:6:34", "a GET has no body to put the time into", "target: query"),
        (
            entity("batch: {path: /b, max: 5, operations: [create], success: [99]}"),
            "x.yaml:6:",
            "a status of success is a number from 100 to 599",
            "success: [200, 207]",
        ),
        (entity("batch: {path: /b, max: 5, operations: [creat]}"), "x.yaml:6:", "\"creat\" is not a write", "did you mean \"create\"?"),
        (
            entity("batches: [{path: /b, max: 5, operations: [create]}, {path: /c, max: 0, operations: [update]}]"),
            "x.yaml:6:71",
            "a batch of no writes does nothing",
            "",
        ),
        (
            entity("batch: {path: /b, max: 5, operations: [create], error_equals: error}"),
            "x.yaml:6:",
            "needs an \"error\" to look at",
            "error: status",
        ),
        (entity("id_parts: {paths: [a]}"), "x.yaml:6:", "an id of parts has two to four of them", "id_parts:"),
        (
            entity("id_parts: {paths: [a, b]}\n  get: {path: '/a/{id.3}'}"),
            "x.yaml:7:",
            "{id.3} stands for nothing here",
            "did you mean \"id",
        ),
        (entity("create: {path: '/{entity}/{id}'}"), "x.yaml:6:18", "{id} stands for nothing here", ""),
        (entity("get: {method: POST, path: '/read', body: {key: '{ids}'}}"), "x.yaml:6:", "{ids} stands for nothing here", ""),
        (entity("version: {path: a..b}"), "x.yaml:6:", "is not a path", "names with dots"),
    ] {
        let error = Definition::from_yaml(&text, "x.yaml").expect_err(&text);
        let message = error.message();
        assert!(
            message.contains(place) && message.contains(said) && message.contains(help),
            "expected «{place} … {said} … {help}» of\n{text}\ngot: {message}"
        );
    }
}
