//! The traps of the Salesforce API that the REST side has to know, one test each.
//!
//! | trap | where |
//! |---|---|
//! | 1 rate limits are 403, 2 locks are 400, 3 shapes of errors, 4 offsets without a colon, 5 the instance moves, 6 refresh tokens rotate, 7 401s a renewal does not cure, 8 rules are headers, 16 a 2xx is not every record, 17 null clears, 20 external ids in paths | here |
//! | 9 `HasResponded` is read-only | campaigns, with the flows |
//! | 10 names of PushTopics, 11 and 12 replay ids, 14 many ids and wildcards, 15 gaps | streaming |
//! | 13 bitmaps of changed fields | Pub/Sub |
//! | 17 empty cell and `#N/A`, 18 `contentUrl` and versions, 19 the locator `null` | bulk |

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail by panicking, like the tests")]

use crate::replay;

use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::CrmAdapter;
use crm_sync::auth::{MemoryTokenCache, TokenCache};
use crm_sync::error::{Error, ErrorKind, Retry};
use crm_sync::host::Host;
use crm_sync::model::{ExternalKey, Fields, RecordId};
use crm_sync::salesforce::composite::Composite;
use crm_sync::salesforce::entity::{ACCOUNT, LEAD};
use crm_sync::salesforce::{AutoAssign, DuplicateRule, Salesforce, SalesforceConfig};
use replay::{Replay, Reply, client, configured, fixture, reply};
use secrecy::SecretString;
use serde_json::{Value, json};

const ID: &str = "00QAb00000Xy12ZMAR";

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn refusal(status: u16, code: &str, message: &str) -> Reply {
    reply(status, json!([{"errorCode": code, "message": message}]).to_string())
}

/// What a limits call makes of an answer.
async fn judged(answer: Reply) -> Error {
    client(vec![answer]).0.limits().await.unwrap_err()
}

#[tokio::test]
async fn trap_01_a_rate_limit_is_a_403_with_a_code() {
    let total = judged(refusal(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")).await;
    assert_eq!((total.kind(), total.retry()), (ErrorKind::QuotaExhausted, Retry::Never));
    let text = "ConcurrentRequests (Concurrent API Requests) Limit exceeded.";
    let concurrent = judged(refusal(403, "REQUEST_LIMIT_EXCEEDED", text)).await;
    assert_eq!(concurrent.kind(), ErrorKind::RateLimited);
    assert!(concurrent.retry_after().unwrap() >= Duration::from_secs(20));
    let forbidden = judged(refusal(403, "INSUFFICIENT_ACCESS", "no")).await;
    assert_eq!((forbidden.kind(), forbidden.retry()), (ErrorKind::Permission, Retry::Never));
    let gateway = judged(reply(429, "").header("Retry-After", "7")).await;
    assert_eq!(gateway.retry_after(), Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn trap_02_a_lock_is_a_400_that_passes_also_by_row() {
    let lock = judged(refusal(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")).await;
    assert_eq!((lock.kind(), lock.retry()), (ErrorKind::Unavailable, Retry::Backoff));
    let rows = json!([
        {"id": ID, "success": true, "errors": []},
        {"success": false, "errors": [{"statusCode": "UNABLE_TO_LOCK_ROW", "message": "x", "fields": []}]},
        {"success": false, "errors": [{"statusCode": "STRING_TOO_LONG", "message": "x", "fields": ["Title"]}]}
    ]);
    let lead = fields(json!({"LastName": "Ng"}));
    let (client, _) = client(vec![reply(200, rows.to_string())]);
    let outcomes = client.create_collection(&[(&LEAD, &lead), (&LEAD, &lead), (&LEAD, &lead)]).await.unwrap();
    let retries: Vec<bool> = outcomes.iter().map(|outcome| outcome.as_ref().is_err_and(Error::is_retryable)).collect();
    assert_eq!(retries, [false, true, false]);
}

#[tokio::test]
async fn trap_03_errors_have_four_shapes() {
    for body in [
        json!([{"errorCode": "STRING_TOO_LONG", "message": "x", "fields": ["Title"]}]),
        json!({"errorCode": "STRING_TOO_LONG", "message": "x", "fields": ["Title"]}),
        json!([{"statusCode": "STRING_TOO_LONG", "message": "x", "fields": ["Title"]}]),
    ] {
        let error = judged(reply(400, body.to_string())).await;
        assert_eq!((error.kind(), error.code()), (ErrorKind::Validation, Some("STRING_TOO_LONG")), "{body}");
        assert_eq!(error.fields()[0].field, "Title");
    }
    let oauth = judged(reply(403, r#"{"error":"invalid_app_access","error_description":"x"}"#)).await;
    assert_eq!((oauth.kind(), oauth.code()), (ErrorKind::Permission, Some("invalid_app_access")));
    for page in ["<html>maintenance</html>", "", "[]", "{}", "[1]"] {
        let error = judged(reply(503, page)).await;
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff), "{page}");
    }
}

#[tokio::test]
async fn trap_04_instants_come_without_a_colon_in_their_offset() {
    let row = |stamp: &str| json!({"attributes": {"type": "Lead", "url": "/x"}, "Id": ID, "SystemModstamp": stamp}).to_string();
    let spellings = ["2026-01-02T03:04:05.000+0000", "2026-01-02T03:04:05.000Z", "2026-01-02T03:04:05Z", "2026-01-02T04:04:05.000+0100"];
    for stamp in spellings {
        let (client, _) = client(vec![reply(200, row(stamp))]);
        let record = client.get(&LEAD, &RecordId::from(ID), &["Id".to_owned()]).await.unwrap().unwrap();
        assert_eq!(record.modified_at, Some("2026-01-02T03:04:05Z".parse().unwrap()), "{stamp}");
        assert_eq!(record.version.unwrap().as_str(), stamp, "the version stays as it came");
    }
}

fn token(access: &str, refresh: Option<&str>, instance: &str) -> Reply {
    let mut body = json!({"access_token": access, "instance_url": instance, "issued_at": "1761234567890", "token_type": "Bearer"});
    if let Some(refresh) = refresh {
        body["refresh_token"] = json!(refresh);
    }
    reply(200, body.to_string())
}

fn expired() -> Reply {
    refusal(401, "INVALID_SESSION_ID", "Session expired or invalid")
}

fn with_refresh_token() -> SalesforceConfig {
    SalesforceConfig::with_refresh_token("https://login.salesforce.com", "key", SecretString::from("R1"))
}

#[tokio::test]
async fn trap_05_the_instance_may_move_with_any_renewal() {
    let (one, two) = ("https://one.my.salesforce.com/", "https://two.my.salesforce.com");
    let replies =
        vec![token("A1", None, one), expired(), token("A2", None, two), reply(200, "{}"), expired(), token("A3", None, one), expired()];
    let (client, replay) = configured(with_refresh_token(), replies);
    client.limits().await.unwrap();
    let seen = replay.seen();
    assert_eq!(seen[1].origin, "https://one.my.salesforce.com");
    assert_eq!((seen[3].origin.as_str(), seen[3].header("authorization")), (two, Some("Bearer A2")));
    assert_eq!(seen[3].line, seen[1].line);
    // Refused again with a fresh token: it is told, not tried for ever.
    let error = client.limits().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Authentication, Retry::Never));
    assert_eq!(replay.left(), 0);
}

#[tokio::test]
async fn trap_06_a_rotated_refresh_token_is_kept_before_use_and_presented_once() {
    let host = Host::manual(1);
    let cache: Arc<dyn TokenCache> = Arc::new(MemoryTokenCache::new(host.clone()));
    let org = replay::INSTANCE;
    // A: buys, expires, renews. B: has the old token, is refused, and takes what A has bought.
    let replay = Replay::new(vec![
        token("A1", Some("R2"), org),
        reply(200, "{}"),
        reply(200, "{}"),
        expired(),
        token("A2", Some("R3"), org),
        reply(200, "{}"),
        expired(),
        reply(200, "{}"),
        expired(),
        token("A3", Some("R4"), org),
        reply(200, "{}"),
    ]);
    let connect = || {
        let client = Salesforce::new(with_refresh_token(), Arc::clone(&replay) as _, host.clone()).unwrap();
        client.with_token_cache(Arc::clone(&cache))
    };
    let (a, b) = (connect(), connect());
    for client in [&a, &b, &a, &b, &b] {
        client.limits().await.unwrap();
    }
    let asked: Vec<String> = replay.seen().into_iter().filter(|seen| seen.line.ends_with("/token")).map(|seen| seen.text).collect();
    let presented: Vec<_> =
        asked.iter().map(|text| text.split('&').find_map(|pair| pair.strip_prefix("refresh_token=")).unwrap()).collect();
    assert_eq!(presented, ["R1", "R2", "R3"], "each is presented once, and the newest is known to both");
    let dead = vec![reply(400, r#"{"error":"invalid_grant","error_description":"expired access/refresh token"}"#)];
    let (client, replay) = configured(with_refresh_token(), dead);
    let error = client.limits().await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), replay.seen().len()), (ErrorKind::Authentication, Retry::Never, 1));
}

#[tokio::test]
async fn trap_07_some_401s_are_not_cured_by_a_renewal() {
    for text in ["Connected app is not attached to Agent", "This session is not valid for use with the REST API"] {
        let replies = vec![token("A1", None, replay::INSTANCE), refusal(401, "INVALID_SESSION_ID", text)];
        let (client, replay) = configured(with_refresh_token(), replies);
        let error = client.limits().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Authentication, "{text}");
        assert_eq!(replay.seen().len(), 2, "no renewal: {text}");
    }
    let page = vec![token("A1", None, replay::INSTANCE), reply(401, "<html>proxy</html>")];
    let (client, replay) = configured(with_refresh_token(), page);
    assert!(client.limits().await.is_err());
    assert_eq!(replay.left(), 0);
}

#[tokio::test]
async fn trap_08_assignment_and_duplicate_rules_are_headers() {
    let made = || reply(201, json!({"id": ID, "success": true, "errors": []}).to_string());
    let rows = reply(200, json!([{"id": ID, "success": true, "errors": []}]).to_string());
    let (client, replay) = client(vec![made(), made(), rows]);
    let lead = fields(json!({"LastName": "Ng", "Company": "Acme"}));
    client.create(&LEAD, &lead).await.unwrap();
    let ruled = client.with_auto_assign(AutoAssign::Rule("01QAb0000000001".into())).unwrap();
    let ruled = ruled.with_duplicate_rule(DuplicateRule { allow_save: true, ..DuplicateRule::default() }).unwrap();
    ruled.create(&LEAD, &lead).await.unwrap();
    ruled.create_collection(&[(&LEAD, &lead)]).await.unwrap();
    let seen = replay.seen();
    assert_eq!(seen[0].header("sforce-auto-assign"), None, "the org's default");
    for request in &seen[1..] {
        assert!(request.header("sforce-auto-assign").unwrap().starts_with("01QAb0000000001"));
        assert!(request.header("sforce-duplicate-rule-header").unwrap().contains("allowSave=true"));
        assert!(!request.text.contains("ssign") && !request.text.contains("allowSave"), "{}", request.text);
    }
}

#[tokio::test]
async fn trap_16_a_2xx_does_not_mean_that_every_record_was_saved() {
    let (client, _) = client(vec![
        reply(200, fixture("collection_mixed.json")),
        reply(200, fixture("collection_rolled_back.json")),
        reply(200, fixture("composite.json")),
    ]);
    let lead = fields(json!({"LastName": "Ng"}));
    let count = serde_json::from_str::<Vec<Value>>(&fixture("collection_mixed.json")).unwrap().len();
    let outcomes = client.create_collection(&vec![(&LEAD, &lead); count]).await.unwrap();
    assert!(outcomes.iter().any(Result::is_ok) && outcomes.iter().any(Result::is_err));
    let count = serde_json::from_str::<Vec<Value>>(&fixture("collection_rolled_back.json")).unwrap().len();
    let outcomes = client.create_collection(&vec![(&LEAD, &lead); count]).await.unwrap();
    assert!(outcomes.iter().all(Result::is_err), "an id is printed and nothing was saved");
    let mut composite = Composite::new();
    for name in ["acc", "con", "fix"] {
        composite.create(name, &ACCOUNT, &Fields::new(), &[]).unwrap();
    }
    let parts = client.composite(&composite).await.unwrap();
    assert!(parts[0].1.is_ok() && parts[1].1.is_err());
}

#[tokio::test]
async fn trap_17_null_clears_and_what_is_absent_stays() {
    let (client, replay) = client(vec![reply(204, "")]);
    let change = fields(json!({"Title": null, "Phone": "", "Id": ID, "attributes": {"type": "Lead"}}));
    client.update(&LEAD, &RecordId::from(ID), &change).await.unwrap();
    assert_eq!(replay.seen()[0].json(), json!({"Title": null, "Phone": ""}));
}

#[tokio::test]
async fn trap_20_an_external_id_is_one_segment_of_the_path() {
    let made = || reply(200, json!({"id": ID, "success": true, "errors": [], "created": false}).to_string());
    for (value, segment) in
        [("A/B #1", "A%2FB%20%231"), ("50%", "50%25"), ("a?b=c&d", "a%3Fb%3Dc%26d"), ("é", "%C3%A9"), ("../x", "..%2Fx")]
    {
        let (client, replay) = client(vec![made()]);
        let key = ExternalKey::new("Ext__c", value).unwrap();
        client.upsert(&LEAD, &key, &fields(json!({"LastName": "Ng"}))).await.unwrap();
        assert_eq!(replay.lines(), [format!("PATCH /sobjects/Lead/Ext__c/{segment}")]);
    }
    let (client, replay) = client(vec![reply(404, "")]);
    for value in [".", ".."] {
        let key = ExternalKey::new("Ext__c", value).unwrap();
        let error = client.upsert(&LEAD, &key, &Fields::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{value} would be another resource");
    }
    assert!(ExternalKey::new("Ext__c", "").is_err(), "an empty value is another resource");
    assert_eq!(replay.seen().len(), 0);
    // Values that end like blocked files are 404 whatever is done: it is told, and not repeated.
    let key = ExternalKey::new("Ext__c", "setup.exe").unwrap();
    let error = client.update_by(&LEAD, &key, &fields(json!({"Title": "x"}))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::NotFound, Retry::Never));
}
