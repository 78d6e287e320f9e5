//! Recovery over real sockets: which answers are tried again, when, how often, and which never. The clock is the tests' own, so
//! that waiting costs nothing and every wait is known exactly.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use std::time::Duration;

use crm_sync::adapter::{CrmAdapter, WriteOptions};
use crm_sync::custom::{Custom, Definition};
use crm_sync::error::{Error, ErrorKind};
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::layer::{Breaker, LayerExt, Layered, Retry};
use crm_sync::model::{Entity, Fields, RecordId};
use crm_sync::pace::{Jitter, RetryPolicy};
use serde_json::json;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

const PEOPLE: Entity = Entity::from_static("people");
const CRM: &str = r#"
name: crm
base_url: http://{host}
variables: {host: localhost}
auth: {type: none}
error_body: {message: error.message, fields: {list: error.fields, name: name, code: code}}
entities:
  people:
    get: {path: "/people/{id}"}
    create: {path: /people}
    update: {method: PATCH, path: "/people/{id}"}
"#;

fn crm(address: &str, host: &Host) -> Custom {
    let definition = Definition::from_yaml(CRM, "crm.yaml").unwrap_or_else(|error| panic!("{}", crm_sync::error::chain(&error)));
    let address = address.trim_start_matches("http://");
    Custom::builder(definition, ReqwestTransport::loopback().unwrap(), host.clone()).variable("host", address).build().unwrap()
}

fn retrying(server: &MockServer) -> (Layered<Custom, Retry>, Host) {
    let host = Host::manual(1);
    let policy = RetryPolicy::default().jitter(Jitter::None);
    (crm(&server.uri(), &host).layer(Retry::new(host.clone(), policy)), host)
}

async fn answers(server: &MockServer, verb: &str, answer: ResponseTemplate, times: u64) {
    Mock::given(method(verb)).respond_with(answer).up_to_n_times(times).mount(server).await;
}

async fn well(server: &MockServer) {
    Mock::given(method("GET")).and(path("/people/1")).respond_with(found()).with_priority(9).mount(server).await;
    let made = ResponseTemplate::new(201).set_body_json(json!({"id": "1", "name": "Ada"}));
    Mock::given(method("POST")).respond_with(made.clone()).with_priority(9).mount(server).await;
    Mock::given(method("PATCH")).respond_with(made).with_priority(9).mount(server).await;
}

fn found() -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({"id": "1", "name": "Ada"}))
}

async fn get(crm: &impl CrmAdapter) -> Result<bool, Error> {
    Ok(crm.get(&PEOPLE, &RecordId::new("1"), &["name".to_owned()]).await?.is_some())
}

async fn create(crm: &impl CrmAdapter) -> Result<RecordId, Error> {
    let fields = Fields::from_value(json!({"name": "Ada"})).unwrap();
    Ok(crm.create(&PEOPLE, &fields, &WriteOptions::new()).await?.id)
}

async fn calls(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

/// `Retry-After` as seconds, as a date, absurd, negative, as no number: kept exactly, or left to the schedule, or given up.
#[tokio::test]
async fn the_wait_a_server_names_is_kept_in_all_its_forms() {
    // Asked for, then the shortest and the longest wait; none if the call is given up, because nobody waits that long in place.
    for (header, least, most) in [
        ("7", 7_000, 7_700),
        ("0", 0, 0),
        ("Tue, 24 Nov 2026 10:00:30 GMT", 30_000, 33_000),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0, 0),
        ("-5", 1_000, 1_000),
        ("soon", 1_000, 1_000),
    ] {
        for status in [429, 503] {
            let server = MockServer::start().await;
            let refusal = ResponseTemplate::new(status)
                .insert_header("date", "Tue, 24 Nov 2026 10:00:00 GMT")
                .insert_header("retry-after", header)
                .set_body_json(json!({"error": {"message": "busy"}}));
            answers(&server, "GET", refusal, 1).await;
            well(&server).await;
            let (crm, host) = retrying(&server);
            assert!(get(&crm).await.unwrap(), "{header}");
            let waited = host.monotonic();
            assert!((Duration::from_millis(least)..=Duration::from_millis(most)).contains(&waited), "{status} {header}: {waited:?}");
            assert_eq!(calls(&server).await, 2);
        }
    }
    let server = MockServer::start().await;
    answers(&server, "GET", ResponseTemplate::new(429).insert_header("retry-after", "99999999999"), 1).await;
    well(&server).await;
    let (crm, host) = retrying(&server);
    let error = get(&crm).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(24 * 3_600))));
    assert_eq!((calls(&server).await, host.monotonic()), (1, Duration::ZERO), "the caller decides whether to wait a day");
}

#[tokio::test]
async fn an_outage_is_waited_out_for_reads_and_told_for_creates() {
    let server = MockServer::start().await;
    answers(&server, "GET", ResponseTemplate::new(502).set_body_string("<html>bad gateway</html>"), 3).await;
    answers(&server, "POST", ResponseTemplate::new(502).set_body_string("<html>bad gateway</html>"), 1).await;
    well(&server).await;
    let (crm, host) = retrying(&server);
    assert!(get(&crm).await.unwrap());
    assert_eq!((calls(&server).await, host.monotonic()), (4, Duration::from_secs(1 + 2 + 4)));
    // A gateway may have passed the create on: it is not made twice.
    let error = create(&crm).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Unavailable && error.may_have_applied(), "{error:?}");
    assert_eq!(calls(&server).await, 5);
}

/// Nobody listens: nothing can have happened, so that even a create is tried again.
#[tokio::test]
async fn a_refused_connection_is_tried_again_for_every_call() {
    let server = MockServer::start().await;
    let address = server.uri();
    drop(server);
    let host = Host::manual(1);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_ne!(address, format!("http://{closed}"));
    let crm = crm(&closed.to_string(), &host).layer(Retry::new(host.clone(), RetryPolicy::default().jitter(Jitter::None)));
    let error = create(&crm).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Network && !error.may_have_applied(), "{error:?}");
    assert_eq!(host.monotonic(), Duration::from_secs(1 + 2 + 4 + 8), "five attempts");
}

#[tokio::test]
async fn what_cannot_pass_is_asked_once_and_says_why() {
    let server = MockServer::start().await;
    let refused = json!({"error": {"message": "not good", "fields": [{"name": "email", "code": "INVALID"}]}});
    answers(&server, "POST", ResponseTemplate::new(422).set_body_json(refused), 1).await;
    answers(&server, "GET", ResponseTemplate::new(401), 1).await;
    well(&server).await;
    let (crm, host) = retrying(&server);
    let error = create(&crm).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);
    let fields: Vec<_> = error.fields().iter().map(|field| (field.field.as_str(), field.code.as_deref())).collect();
    assert_eq!(fields, [("email", Some("INVALID"))]);
    assert_eq!(get(&crm).await.unwrap_err().kind(), ErrorKind::Authentication);
    assert_eq!((calls(&server).await, host.monotonic()), (2, Duration::ZERO));
}

#[tokio::test]
async fn a_breaker_keeps_calls_away_and_lets_one_probe_through() {
    let server = MockServer::start().await;
    answers(&server, "GET", ResponseTemplate::new(503), 4).await;
    well(&server).await;
    let (host, clock) = Host::manual_with_clock(1);
    let breaker = Breaker::new(host.clone()).failures(3).pause(Duration::from_secs(30), Duration::from_secs(600));
    let crm = crm(&server.uri(), &host).layer(breaker.clone());
    for _ in 0..3 {
        assert_eq!(get(&crm).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(breaker.is_open());
    for _ in 0..20 {
        let error = get(&crm).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
    }
    assert_eq!(calls(&server).await, 3, "nothing reaches the CRM while it is open");
    clock.advance(Duration::from_secs(30));
    get(&crm).await.unwrap_err();
    assert_eq!(calls(&server).await, 4, "one probe, which fails");
    assert_eq!(get(&crm).await.unwrap_err().retry_after(), Some(Duration::from_secs(60)), "twice as long");
    clock.advance(Duration::from_secs(60));
    assert!(get(&crm).await.unwrap() && get(&crm).await.unwrap());
    assert!(!breaker.is_open());
    assert_eq!(calls(&server).await, 6);
}
