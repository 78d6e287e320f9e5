//! The declarative adapter: definitions that cannot work are refused with their place; those that can are followed.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::adapter::{BulkOp, ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::custom::{Custom, CustomBuilder, Definition};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::model::{ChangeKind, Entity, ExternalKey, Fields, RecordId};
use crm_sync::query::{Criteria, Query};
use futures_util::{FutureExt, TryStreamExt};
use serde_json::{Value, json};

/// A server that is a function.
struct Fake<F>(F, Arc<Mutex<Vec<String>>>);

impl<F> std::fmt::Debug for Fake<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Fake")
    }
}

type Answered = (u16, Vec<(&'static str, String)>, Value);

#[async_trait]
impl<F: Fn(&http::Request<Bytes>) -> Answered + Send + Sync> HttpTransport for Fake<F> {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        self.1.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path_and_query().unwrap()));
        let (status, headers, body) = (self.0)(&request);
        let mut response = http::Response::builder().status(status);
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

fn builder<F>(yaml: &str, answer: F) -> (CustomBuilder, Arc<Mutex<Vec<String>>>)
where
    F: Fn(&http::Request<Bytes>) -> Answered + Send + Sync + 'static,
{
    let definition = Definition::from_yaml(yaml, "test.yaml").unwrap_or_else(|error| panic!("{}", crm_sync::error::chain(&error)));
    let log = Arc::new(Mutex::new(Vec::new()));
    (Custom::builder(definition, Fake(answer, Arc::clone(&log)), Host::manual(1)), log)
}

fn run<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("nothing waits here")
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn query(request: &http::Request<Bytes>, name: &str) -> Option<String> {
    let query = request.uri().query().unwrap_or_default();
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn body(request: &http::Request<Bytes>) -> Value {
    serde_json::from_slice(request.body()).unwrap_or(Value::Null)
}

/// The guide's own CRM in ten lines.
const GUIDE: &str = r#"
name: custom
base_url: https://crm.example/api
auth: {type: bearer, secret: api_key}
check: {path: /auth/validate}
defaults:
  search: {method: POST, path: "/{entity}/search", filter: {style: json, and: merge, operators: {eq: {"{field}": "{value}"}}}}
  create: {path: "/{entity}"}
  update: {method: PUT, path: "/{entity}/{id}"}
"#;

#[test]
fn the_guides_crm() {
    let (builder, log) = builder(GUIDE, |request| {
        assert_eq!(request.headers()["authorization"], "Bearer k3y");
        match (request.method().as_str(), request.uri().path()) {
            ("GET", "/api/auth/validate") => (200, vec![], json!({"ok": true})),
            ("POST", "/api/leads/search") => {
                assert_eq!(body(request), json!({"email": "a@b.c", "city": "x"}));
                (200, vec![], json!([{"id": 7, "email": "a@b.c"}]))
            }
            ("POST", "/api/leads") => (201, vec![], json!({"id": 8, "email": body(request)["email"]})),
            ("PUT", "/api/leads/a%20b") => (200, vec![], json!({"id": "a b"})),
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("api_key", "k3y".to_owned()).build().unwrap();
    run(crm.authenticate()).unwrap();
    let leads = Entity::from_static("leads");
    let found = run(crm.search(&Query::new(leads.clone()).filter(Criteria::eq("email", "a@b.c").and(Criteria::eq("city", "x"))))).unwrap();
    assert_eq!(found.items[0].id.as_str(), "7");
    let made = run(crm.create(&leads, &fields(json!({"email": "n@b.c"})), &WriteOptions::new())).unwrap();
    assert_eq!((made.id.as_str(), made.created), ("8", Some(true)));
    run(crm.update(&leads, &RecordId::new("a b"), &fields(json!({"email": null})), &WriteOptions::new())).unwrap();
    assert_eq!(log.lock().unwrap().len(), 4);
    // What the guide's API has no way for is told, not tried.
    let error = run(crm.delete(&leads, &RecordId::new("7"), &WriteOptions::new())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!format!("{crm:?}").contains("k3y"));
}

/// Every definition here is wrong in one place, which the message names.
#[test]
fn wrong_definitions_name_the_line() {
    let with = |line: &str| format!("name: x\nbase_url: https://x.io\n{line}\ndefaults: {{create: {{}}}}\n");
    let mut wrong = Vec::new();
    for (text, said) in [
        (with("auht: {type: none}"), "test.yaml:3:1: [D001] unknown key \"auht\" (did you mean \"auth\"?)"),
        (with("auth: {type: beaerer, secret: a}"), "test.yaml:3:14: [D001] unknown \"beaerer\" (did you mean \"bearer\"?)"),
        (with("auth: {type: bearer}"), "test.yaml:3:7: [D001] the key \"secret\" is missing"),
        (with("check: {path: validate}"), "test.yaml:3:15: [D002] the path leaves the host of the base URL"),
        (with("check: {path: //evil.example/x}"), "test.yaml:3:15: [D002] the path leaves the host"),
        (with("check: {path: /a/../b}"), "the path climbs out of the base URL"),
        (with("check: {path: /a, method: FETCH}"), "\"FETCH\" is not a method"),
        (with("variables: {a: '{b}', b: '{a}'}"), "need each other"),
        (with("headers: {X-A: '{tenannt}'}\nvariables: {tenant: t}"), "test.yaml:3:16: [D002] {tenannt} stands for nothing here (did you mean \"tenant\"?)"),
        (with("errors: [{status: [7], class: not_found}]"), "a status is a number such as 404, or 4xx"),
        (with("errors: [{status: [404], class: not_fond}]"), "unknown \"not_fond\" (did you mean \"not_found\"?)"),
        (with("errors: [{class: transient}]"), "this rule matches every failure"),
        (with("name: y"), "the key \"name\" occurs twice"),
        ("name: x\nbase_url: ftp://x\ndefaults: {create: {}}\n".to_owned(), "test.yaml:2:11: [D002] the base URL is not an absolute http or https URL"),
        ("name: x\nbase_url: https://x.io\n".to_owned(), "there is no entity"),
        (
            "name: x\nbase_url: https://x.io\nentities:\n  a:\n    search:\n      filter: {style: params, operators: {eqq: '{field}'}}\n".to_owned(),
            "test.yaml:6:43: [D001] unknown \"eqq\" (did you mean \"eq\"?)",
        ),
        (
            "name: x\nbase_url: https://x.io\nentities:\n  a:\n    search:\n      filter: {style: query, operators: {eq: '{field}:{value}'}}\n".to_owned(),
            "a value stands in the query language without quotes",
        ),
        (
            "name: x\nbase_url: https://x.io\nentities:\n  a:\n    update: {path: /a}\n".to_owned(),
            "test.yaml:5:20: [D002] the request does not say which record: {id} occurs nowhere",
        ),
        (
            "name: x\nbase_url: https://x.io\nentities:\n  a:\n    search: {}\n    changes: {since: from}\n".to_owned(),
            "changes need to know where a record says when it was changed",
        ),
        ("name: x\n  base_url: y\n".to_owned(), "this is not valid YAML"),
    ] {
        let error = Definition::from_yaml(&text, "test.yaml").expect_err(&text);
        assert_eq!(error.kind(), ErrorKind::Config);
        if !error.message().contains(said) {
            wrong.push(format!("expected «{said}» of\n{text}\ngot: {}\n", error.message()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn secrets_and_variables_are_asked_for_by_name() {
    let definition = || Definition::from_yaml(GUIDE, "x").unwrap();
    let fake = || Fake(|_: &http::Request<Bytes>| (200, vec![], Value::Null), Arc::default());
    let error = Custom::builder(definition(), fake(), Host::manual(1)).build().unwrap_err();
    assert_eq!(error.message(), "the secret \"api_key\" that the definition names was not given");
    let error =
        Custom::builder(definition(), fake(), Host::manual(1)).secret("api_key", "x".to_owned()).secret("other", "y".to_owned()).build();
    assert_eq!(error.unwrap_err().message(), "the definition names no secret \"other\"");
    let error = Custom::builder(definition(), fake(), Host::manual(1)).secret("api_key", "x".to_owned()).variable("t", "y").build();
    assert_eq!(error.unwrap_err().message(), "the definition has no variable \"t\"");
}

fn paged(
    paging: &str,
    extra: &str,
    records: &str,
    answer: impl Fn(&http::Request<Bytes>) -> Answered + Send + Sync + 'static,
) -> (Result<Vec<String>, ErrorKind>, usize) {
    let yaml = format!("name: x\nbase_url: https://x.io/v1\ndefaults:\n  records: {records}\n  search: {{paging: {paging}{extra}}}\n");
    let (builder, log) = builder(&yaml, answer);
    let crm = builder.build().unwrap();
    let all =
        run(crm.search_all(Query::new(Entity::from_static("contacts"))).map_ok(|record| record.id.into_string()).try_collect::<Vec<_>>());
    let calls = log.lock().unwrap().len();
    (all.map_err(|error| error.kind()), calls)
}

fn rows(from: u64, to: u64) -> Value {
    (from..to).map(|id| json!({"id": id})).collect()
}

fn names(count: u64) -> Result<Vec<String>, ErrorKind> {
    Ok((0..count).map(|id| id.to_string()).collect())
}

#[test]
fn every_way_from_page_to_page() {
    let number = |request: &http::Request<Bytes>, name: &str| query(request, name).map_or(0, |text| text.parse::<u64>().unwrap());
    // 25 records, 10 a page.
    let page = |from: u64| rows(from.min(25), (from + 10).min(25));

    let (all, calls) = paged("{type: page_number, size: 10, size_param: per_page}", "", "data", move |request| {
        (200, vec![], json!({"data": page((number(request, "page") - 1) * 10)}))
    });
    assert_eq!((all, calls), (names(25), 3));
    let (all, calls) = paged("{type: page_number, pages: meta.pages, first: 0, param: p}", "", "data", move |request| {
        (200, vec![], json!({"data": page(number(request, "p") * 10), "meta": {"pages": 3}}))
    });
    assert_eq!((all, calls), (names(25), 3));
    let (all, calls) = paged("{type: offset, size: 10}", ", total: total", "''", move |request| {
        let from = number(request, "offset");
        // The server gives fewer than asked for; the total tells that there is more.
        (200, vec![], if from == 0 { json!({"total": 25}) } else { Value::Null })
    });
    assert_eq!((all, calls), (Err(ErrorKind::Decode), 1));
    let (all, calls) = paged("{type: offset, size: 10}", ", total: total", "data", move |request| {
        let from = number(request, "offset");
        (200, vec![], json!({"total": 25, "data": rows(from, (from + 7).min(25))}))
    });
    assert_eq!((all, calls), (names(25), 4));
    let (all, calls) = paged("{type: cursor, param: after, next: {path: [paging.next, next]}}", "", "data", move |request| {
        let from = number(request, "after");
        let next = if from + 10 < 25 { json!(from + 10) } else { Value::Null };
        (200, vec![], json!({"data": page(from), "next": next}))
    });
    assert_eq!((all, calls), (names(25), 3));
    let (all, calls) = paged("{type: next_link, next: {link: next}}", "", "''", move |request| {
        let from = number(request, "from");
        let link = (from + 10 < 25).then(|| ("link", format!("</v1/contacts?from={}>; rel=\"next\"", from + 10)));
        (200, link.into_iter().collect(), page(from))
    });
    assert_eq!((all, calls), (names(25), 3));
    let (all, calls) = paged("{type: next_link, next: {header: Next-Page}}", "", "''", move |request| {
        let from = number(request, "from");
        let link = (from + 10 < 25).then(|| ("next-page", format!("https://x.io/v1/contacts?from={}", from + 10)));
        (200, link.into_iter().collect(), page(from))
    });
    assert_eq!((all, calls), (names(25), 3));
    let (all, calls) = paged("{type: keyset, param: after_id, size: 10}", "", "''", move |request| {
        let from = query(request, "after_id").map_or(0, |last| last.parse::<u64>().unwrap() + 1);
        (200, vec![], page(from))
    });
    assert_eq!((all, calls), (names(25), 3));
    let (all, calls) = paged("{type: range, size: 10}", "", "''", move |request| {
        let range = request.headers()["range"].to_str().unwrap().strip_prefix("items=").unwrap().to_owned();
        let from: u64 = range.split('-').next().unwrap().parse().unwrap();
        (206, vec![("content-range", format!("items {from}-{}/25", (from + 10).min(25) - 1))], page(from))
    });
    assert_eq!((all, calls), (names(25), 3));
}

#[test]
fn lists_that_never_end_or_lead_away_are_told() {
    let (all, calls) =
        paged("{type: cursor, param: after, next: {path: next}}", "", "data", |_| (200, vec![], json!({"data": [], "next": "same"})));
    assert_eq!((all, calls), (Err(ErrorKind::Decode), 2));
    let (all, calls) = paged("{type: next_link, next: {path: next}}", "", "data", |_| {
        (200, vec![], json!({"data": [{"id": 1}], "next": "https://evil.example/v1"}))
    });
    assert_eq!((all, calls), (Err(ErrorKind::Decode), 1));
    let yaml = "name: x\nbase_url: https://x.io\nmax_pages: 5\ndefaults: {search: {paging: {type: page_number}}}\n";
    let (builder, log) = builder(yaml, |_| (200, vec![], json!([{"id": 1}])));
    let crm = builder.build().unwrap();
    let all = run(crm.search_all(Query::new(Entity::from_static("a"))).try_collect::<Vec<_>>());
    assert!(all.unwrap_err().message().contains("seems to have no end"));
    assert_eq!(log.lock().unwrap().len(), 5);
}

#[test]
fn a_web_page_and_an_endless_body_are_told() {
    let (builder, _) =
        builder("name: x\nbase_url: https://x.io\nmax_body: 1000\ndefaults: {search: {}}\n", |request| match request.uri().path() {
            "/html" => (200, vec![("content-type", "text/html".to_owned())], json!("<html><body>Sign in</body></html>")),
            "/error" => (502, vec![("content-type", "text/html".to_owned())], json!("<html>bad gateway</html>")),
            _ => (200, vec![], json!("x".repeat(2000))),
        });
    let crm = builder.build().unwrap();
    let ask = |entity: &'static str| run(crm.search(&Query::new(Entity::from_static(entity)))).unwrap_err();
    assert_eq!(ask("html").kind(), ErrorKind::Decode);
    let error = ask("error");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true));
    assert!(error.message().contains("web page"));
    assert!(ask("large").message().contains("longer"));
}

#[test]
fn errors_by_rule() {
    let yaml = r#"
name: x
base_url: https://x.io
errors:
  - {status: [403], operations: [get], path: code, equals: FORBIDDEN, class: not_found}
  - {status: [200], path: success, equals: false, class: validation}
  - {status: [409], operations: [delete], class: success}
  - {status: [418], class: rate_limited, wait: {path: retry_in}}
error_body: {fields: {list: details, name: field}}
defaults: {search: {}, create: {}, update: {}, delete: {}}
"#;
    let (builder, _) = builder(yaml, |request| match (request.method().as_str(), request.uri().path()) {
        ("GET", "/a/1") => (403, vec![], json!({"code": "FORBIDDEN"})),
        ("GET", "/a/2") => (403, vec![], json!({"code": "OTHER"})),
        ("POST", "/a") => (200, vec![], json!({"success": false, "message": "canary@example.com is bad", "details": [{"field": "email"}]})),
        ("DELETE", "/a/1") => (409, vec![], json!({})),
        ("DELETE", "/a/2") => (410, vec![], Value::Null),
        ("PATCH", _) => (418, vec![], json!({"retry_in": 7})),
        other => panic!("{other:?}"),
    });
    let crm = builder.build().unwrap();
    let a = Entity::from_static("a");
    assert_eq!(run(crm.get(&a, &RecordId::new("1"), &[])).unwrap(), None);
    assert_eq!(run(crm.get(&a, &RecordId::new("2"), &[])).unwrap_err().kind(), ErrorKind::Permission);
    let error = run(crm.create(&a, &fields(json!({"email": "x"})), &WriteOptions::new())).unwrap_err();
    assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Validation, "email"));
    assert!(!error.to_string().contains("canary"));
    run(crm.delete(&a, &RecordId::new("1"), &WriteOptions::new())).unwrap();
    run(crm.delete(&a, &RecordId::new("2"), &WriteOptions::new())).unwrap();
    let error = run(crm.update(&a, &RecordId::new("1"), &fields(json!({"x": 1})), &WriteOptions::new())).unwrap_err();
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(7)));
}

#[test]
fn replacing_updates_keep_what_they_do_not_change() {
    let yaml = r#"
name: x
base_url: https://x.io
defaults:
  wrap: data
  record: data
  version: {etag: true}
  update: {style: replace}
"#;
    let (builder, log) = builder(yaml, |request| match request.method().as_str() {
        "GET" => {
            (200, vec![("etag", "\"v1\"".to_owned())], json!({"data": {"id": "1", "name": "a", "address": {"city": "x", "zip": "9"}}}))
        }
        "PUT" => {
            assert_eq!(request.headers()["if-match"], "\"v1\"");
            assert_eq!(body(request), json!({"data": {"id": "1", "name": "a", "address": {"city": "y", "zip": "9"}}}));
            (200, vec![("etag", "\"v2\"".to_owned())], json!({"data": {"id": "1"}}))
        }
        other => panic!("{other}"),
    });
    let crm = builder.build().unwrap();
    let written =
        run(crm.update(&Entity::from_static("a"), &RecordId::new("1"), &fields(json!({"address": {"city": "y"}})), &WriteOptions::new()));
    assert_eq!(written.unwrap().version.unwrap().as_str(), "\"v2\"");
    assert_eq!(*log.lock().unwrap(), ["GET /a/1", "PUT /a/1"]);
}

#[test]
fn batches_are_matched_by_index_in_any_order() {
    let yaml = r#"
name: x
base_url: https://x.io/v1
defaults:
  keys: [ext]
  upsert: {path: "/{entity}/by/{field}/{key}"}
  create: {}
  batch:
    path: /batch
    max: 2
    mixed: true
    operations: [create, upsert, delete]
    body: {requests: "{items}"}
    item: {n: "{index}", method: "{method}", path: "{path}", body: "{body}"}
    results: responses
    status: status
    answer: body
    match: {index: n}
"#;
    let (builder, log) = builder(yaml, |request| {
        let requests = body(request)["requests"].as_array().unwrap().clone();
        let answer = |request: &Value| {
            let path = request["path"].as_str().unwrap().to_owned();
            assert!(path.starts_with("/v1/a"), "{path}");
            let status = if request["body"]["bad"] == json!(true) { 400 } else { 201 };
            json!({"n": request["n"], "status": status, "body": {"id": format!("{}:{path}", request["method"].as_str().unwrap())}})
        };
        (200, vec![], json!({"responses": requests.iter().rev().map(answer).collect::<Vec<_>>()}))
    });
    let crm = builder.build().unwrap();
    let create = |value: Value| BulkOp::Create { fields: fields(value) };
    let ops = [
        create(json!({"x": 1})),
        create(json!({"bad": true})),
        BulkOp::Upsert { key: ExternalKey::new("ext", "k/1").unwrap(), fields: fields(json!({"x": 2})) },
    ];
    let outcomes = run(crm.bulk(&Entity::from_static("a"), &ops, &WriteOptions::new())).unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().id.as_str(), "POST:/v1/a");
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), ErrorKind::Validation);
    assert_eq!(outcomes[2].as_ref().unwrap().id.as_str(), "PUT:/v1/a/by/ext/k%2F1");
    assert_eq!(log.lock().unwrap().len(), 2);
}

#[test]
fn sessions_are_renewed_and_rotated() {
    let yaml = r#"
name: x
base_url: https://x.io
auth:
  type: session
  login: {path: /login, body: {user: u, password: "{secret:password}"}}
  refresh: {path: /renew, body: {token: "{refresh_token}"}}
  answer: {token: session.id, refresh_token: session.next, expires: none}
  inject: {header: X-Session, prefix: "S "}
defaults: {search: {}}
"#;
    let valid = Arc::new(Mutex::new("none".to_owned()));
    let shared = Arc::clone(&valid);
    let (builder, log) = builder(yaml, move |request| {
        let mut valid = shared.lock().unwrap();
        match request.uri().path() {
            "/login" => {
                assert_eq!(body(request), json!({"user": "u", "password": "p4ss"}));
                *valid = "one".to_owned();
                (200, vec![], json!({"session": {"id": "one", "next": "r1"}}))
            }
            "/renew" => {
                assert_eq!(body(request), json!({"token": "r1"}));
                *valid = "two".to_owned();
                (200, vec![], json!({"session": {"id": "two", "next": "r2"}}))
            }
            _ if request.headers()["x-session"] == format!("S {valid}").as_str() => (200, vec![], json!([])),
            _ => (401, vec![], json!({})),
        }
    });
    let crm = builder.secret("password", "p4ss".to_owned()).build().unwrap();
    let ask = || run(crm.search(&Query::new(Entity::from_static("a")))).map(drop);
    ask().unwrap();
    *valid.lock().unwrap() = "gone".to_owned();
    ask().unwrap();
    assert_eq!(*log.lock().unwrap(), ["POST /login", "GET /a", "GET /a", "POST /renew", "GET /a"]);
}

#[test]
fn changes_come_with_tombstones_and_stand_still_at_the_end() {
    let yaml = r#"
name: x
base_url: https://x.io
defaults:
  modified: last_modified
  modified_format: epoch_milliseconds
  version: {path: last_modified}
  deleted: {path: deleted}
  search: {paging: {type: next_link, next: {header: next-page}}}
  changes: {since: _since, deletes: true}
"#;
    let (builder, log) = builder(yaml, |request| {
        let all = [
            json!({"id": "a", "last_modified": 1000}),
            json!({"id": "b", "last_modified": 2000, "deleted": true}),
            json!({"id": "c", "last_modified": 3000}),
        ];
        let since: u64 = query(request, "_since").map_or(0, |text| text.parse().unwrap());
        let rows: Vec<&Value> = all.iter().filter(|row| row["last_modified"].as_u64().unwrap() >= since).collect();
        (200, vec![], json!(rows))
    });
    let crm = builder.build().unwrap();
    let mut feed = ChangeFeed::new(Entity::from_static("a"), Since::Start);
    feed.deletes = true;
    let first = run(crm.changes(&feed)).unwrap();
    let kinds: Vec<_> = first.items.iter().map(|change| (change.id.as_str(), change.kind)).collect();
    assert_eq!(kinds, [("a", ChangeKind::Updated), ("b", ChangeKind::Deleted), ("c", ChangeKind::Updated)]);
    feed.since = Since::Cursor(first.next.unwrap());
    let second = run(crm.changes(&feed)).unwrap();
    assert_eq!(second.items.len(), 1);
    assert_eq!(second.next.as_ref().unwrap(), if let Since::Cursor(cursor) = &feed.since { cursor } else { unreachable!() });
    assert_eq!(*log.lock().unwrap(), ["GET /a", "GET /a?_since=3000"]);
}

#[test]
fn a_wish_for_a_pause_is_kept() {
    let yaml = "name: x\nbase_url: https://x.io\nrate: {backoff: Backoff, limit: X-Limit, remaining: X-Left}\ndefaults: {search: {}}\n";
    let definition = Definition::from_yaml(yaml, "x").unwrap();
    let (host, clock) = Host::manual_with_clock(1);
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let answer = |_: &http::Request<Bytes>| {
        (200, vec![("backoff", "30".to_owned()), ("x-limit", "100".to_owned()), ("x-left", "40".to_owned())], json!([]))
    };
    let crm = Custom::builder(definition, Fake(answer, Arc::clone(&log)), host).build().unwrap();
    let ask = || run(crm.search(&Query::new(Entity::from_static("a")))).map(drop);
    ask().unwrap();
    let error = ask().unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(std::time::Duration::from_secs(30))));
    clock.advance(std::time::Duration::from_secs(31));
    ask().unwrap();
    assert_eq!(log.lock().unwrap().len(), 2);
    assert_eq!(run(crm.quota()).unwrap().unwrap().left(), Some(40));
}
