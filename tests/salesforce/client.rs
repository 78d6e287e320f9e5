//! The Salesforce client against recorded shapes of its REST API.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests")]

use std::sync::Arc;

use crm_sync::adapter::{Association, BulkOp, ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::auth::{MemoryTokenCache, TokenCache};
use crm_sync::error::{ErrorKind, Retry};
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::model::{Entity, ExternalKey, Fields, RecordId};
use crm_sync::query::{Criteria, Query};
use crm_sync::salesforce::types::Lead;
use crm_sync::salesforce::{AutoAssign, DuplicateRule, Salesforce, SalesforceConfig, entity};
use futures_util::TryStreamExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use wiremock::matchers::{body_json, body_string_contains, header, method, path, query_param};
use wiremock::{Match, Mock, MockServer, Request, ResponseTemplate};

const ID: &str = "00QAb00000Xy12ZMAR";

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/salesforce/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn json_body(status: u16, body: impl Into<String>) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.into(), "application/json;charset=UTF-8")
}

fn error(status: u16, code: &str, message: &str) -> ResponseTemplate {
    json_body(status, json!([{ "errorCode": code, "message": message }]).to_string())
}

fn connect(config: SalesforceConfig) -> Salesforce {
    Salesforce::new(config, Arc::new(ReqwestTransport::loopback().unwrap()), Host::manual(1)).unwrap()
}

fn config(server: &MockServer) -> SalesforceConfig {
    SalesforceConfig::with_access_token(format!("{}/prefix", server.uri()), SecretString::from("T"))
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

/// The path as it was sent, escapes included.
struct RawPath(&'static str);

impl Match for RawPath {
    fn matches(&self, request: &Request) -> bool {
        request.url.path() == self.0
    }
}

async fn mount(server: &MockServer, verb: &str, at: &str, answer: ResponseTemplate) {
    Mock::given(method(verb)).and(path(format!("/prefix/services/data/v68.0{at}"))).respond_with(answer).expect(1).mount(server).await;
}

#[tokio::test]
async fn rows_come_and_go() {
    let server = MockServer::start().await;
    let client = connect(config(&server));
    let id = RecordId::from(ID);
    Mock::given(method("POST"))
        .and(path("/prefix/services/data/v68.0/sobjects/Lead"))
        .and(header("authorization", "Bearer T"))
        .and(header("content-type", "application/json"))
        .and(body_json(json!({"LastName": "Ng", "Email": null})))
        .respond_with(
            json_body(201, json!({"id": "00QAb00000Xy12Z", "success": true, "errors": []}).to_string())
                .insert_header("Sforce-Limit-Info", "api-usage=10018/100000; api-bursts=1/750"),
        )
        .expect(1)
        .mount(&server)
        .await;
    assert_eq!(client.usage(), None);
    let made = client.create(&entity::LEAD, &fields(json!({"Id": "x", "LastName": "Ng", "Email": null}))).await.unwrap();
    assert_eq!(made, id, "always 18 characters, and the id is never written");
    assert_eq!(client.usage().unwrap().remaining(), 89_982);
    assert_eq!(client.quota().await.unwrap().unwrap().left(), Some(89_982));

    mount(&server, "PATCH", &format!("/sobjects/Lead/{ID}"), ResponseTemplate::new(204)).await;
    client.update(&entity::LEAD, &id, &fields(json!({"Title": "CTO"}))).await.unwrap();

    Mock::given(method("GET"))
        .and(path(format!("/prefix/services/data/v68.0/sobjects/Lead/{ID}")))
        .and(query_param("fields", "Id,Email"))
        .respond_with(json_body(200, json!({"attributes": {"type": "Lead"}, "Id": ID, "Email": "a@b.c"}).to_string()))
        .mount(&server)
        .await;
    let row = client.retrieve(&entity::LEAD, &id, &["Id", "Email"]).await.unwrap().unwrap();
    assert_eq!(row.to_value(), json!({"Id": ID, "Email": "a@b.c"}));

    mount(&server, "DELETE", &format!("/sobjects/Lead/{ID}"), error(404, "ENTITY_IS_DELETED", "entity is deleted")).await;
    assert!(!client.delete(&entity::LEAD, &id).await.unwrap(), "gone already");
}

#[tokio::test]
async fn upserts_by_external_id() {
    let server = MockServer::start().await;
    let client = connect(config(&server));
    let key = ExternalKey::new("Ext__c", "A/B #1").unwrap();
    let saved = |created: bool| json!({"id": ID, "success": true, "errors": [], "created": created}).to_string();
    let place = || Mock::given(method("PATCH")).and(RawPath("/prefix/services/data/v68.0/sobjects/Lead/Ext__c/A%2FB%20%231"));
    place().and(body_json(json!({"LastName": "Ng"}))).respond_with(json_body(201, saved(true))).up_to_n_times(1).mount(&server).await;
    let made = client.upsert(&entity::LEAD, &key, &fields(json!({"LastName": "Ng", "Ext__c": "A/B #1"}))).await.unwrap();
    assert!(made.created);
    place().respond_with(json_body(200, saved(false))).up_to_n_times(1).mount(&server).await;
    assert!(!client.upsert(&entity::LEAD, &key, &fields(json!({"LastName": "Ng"}))).await.unwrap().created);

    place().and(query_param("updateOnly", "true")).respond_with(error(404, "NOT_FOUND", "none")).up_to_n_times(1).mount(&server).await;
    let missing = client.update_by(&entity::LEAD, &key, &fields(json!({"LastName": "Ng"}))).await.unwrap_err();
    assert_eq!((missing.kind(), missing.operation()), (ErrorKind::NotFound, Some("upsert")));

    let urls = json!([format!("/services/data/v68.0/sobjects/Lead/{ID}"), "/services/data/v68.0/sobjects/Lead/001D000000Kv3g5"]);
    place().respond_with(json_body(300, urls.to_string())).up_to_n_times(1).mount(&server).await;
    let several = client.upsert(&entity::LEAD, &key, &Fields::new()).await.unwrap_err();
    assert_eq!(several.kind(), ErrorKind::Duplicate);
    assert_eq!(several.duplicates(), [RecordId::from(ID), RecordId::from("001D000000Kv3g5IAB")]);
    assert!(!several.may_have_applied());

    for value in [".", ".."] {
        let key = ExternalKey::new("Ext__c", value).unwrap();
        assert_eq!(client.upsert(&entity::LEAD, &key, &Fields::new()).await.unwrap_err().kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn old_versions_answer_an_upsert_without_a_body() {
    let server = MockServer::start().await;
    let client = connect(config(&server).api_version("v45.0".parse().unwrap()));
    let place = "/prefix/services/data/v45.0/sobjects/Lead/Ext__c/1";
    Mock::given(method("PATCH")).and(path(place)).respond_with(ResponseTemplate::new(204)).mount(&server).await;
    Mock::given(method("GET")).and(path(place)).respond_with(json_body(200, json!({ "Id": ID }).to_string())).mount(&server).await;
    let saved = client.upsert(&entity::LEAD, &ExternalKey::new("Ext__c", "1").unwrap(), &Fields::new()).await.unwrap();
    assert_eq!((saved.id.as_str(), saved.created), (ID, false));
}

#[tokio::test]
async fn queries_page_by_page() {
    let server = MockServer::start().await;
    let client = connect(config(&server).batch_size(2000).client_name("crm-sync/1"));
    let soql = r"SELECT Id, Email FROM Lead WHERE LastName = 'O\'Brien + Söhne'";
    Mock::given(method("GET"))
        .and(path("/prefix/services/data/v68.0/query"))
        .and(query_param("q", soql))
        .and(header("Sforce-Query-Options", "batchSize=2000"))
        .and(header("Sforce-Call-Options", "client=crm-sync/1"))
        .respond_with(json_body(200, fixture("query_page_1.json")))
        .expect(2)
        .mount(&server)
        .await;
    Mock::given(path("/prefix/services/data/v68.0/query/01gAb00000LocAtIAJ-2000"))
        .and(header("Sforce-Query-Options", "batchSize=2000"))
        .respond_with(json_body(200, fixture("query_page_2.json")))
        .expect(2)
        .mount(&server)
        .await;
    let leads: Vec<Lead> = client.query_all::<Lead>(soql).try_collect().await.unwrap();
    assert_eq!(leads.iter().map(|lead| lead.email.as_deref()).collect::<Vec<_>>(), [Some("a@example.com"), None, Some("c@example.com")]);

    let page = client.query_fields(soql).await.unwrap();
    assert_eq!((page.total, page.records.len()), (3, 2));
    assert!(Arc::ptr_eq(page.records[0].shape(), page.records[1].shape()), "rows share their keys");
    assert_eq!(page.records[0].get("Owner"), Some(&json!({"Email": "o@example.com"})), "no decoration");
    let last = client.query_fields_more(&page.next.unwrap()).await.unwrap();
    assert!(last.next.is_none() && last.records.len() == 1);
}

#[tokio::test]
async fn a_next_page_is_followed_only_at_home() {
    for link in [
        "https://evil.example/services/data/v68.0/query/01g-2000",
        "//evil.example/services/data/v68.0/query/01g",
        "/services/data/v68.0/sobjects/Lead/1",
        "/services/data/v68.0/query/../limits",
        "/services/data/v68.0/query/",
    ] {
        let server = MockServer::start().await;
        let body = json!({"totalSize": 2, "done": false, "nextRecordsUrl": link, "records": []});
        mount(&server, "GET", "/query", json_body(200, body.to_string())).await;
        let error = connect(config(&server)).query_all::<Value>("SELECT Id FROM Lead").try_collect::<Vec<_>>().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Decode, "{link}");
    }
    let server = MockServer::start().await;
    mount(&server, "GET", "/query", json_body(200, json!({"totalSize": 2, "done": false, "records": []}).to_string())).await;
    let error = connect(config(&server)).query_fields("SELECT Id FROM Lead").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "rows would be lost in silence");
}

#[tokio::test]
async fn what_does_not_fit_is_named_by_its_path() {
    let server = MockServer::start().await;
    let body = json!({"totalSize": 1, "done": true, "records": [{"attributes": {}, "LastName": {"secret": 1}}]});
    mount(&server, "GET", "/query", json_body(200, body.to_string())).await;
    #[derive(Debug, serde::Deserialize)]
    struct Row {
        #[serde(rename = "LastName")]
        _last_name: String,
    }
    let error = connect(config(&server)).query::<Row>("SELECT LastName FROM Lead").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.message().contains("records[0].LastName"), "{error}");
}

#[tokio::test]
async fn collections_have_an_outcome_per_row() {
    let server = MockServer::start().await;
    let rule = DuplicateRule { allow_save: true, ..DuplicateRule::default() };
    let client = connect(config(&server).auto_assign(AutoAssign::Off).duplicate_rule(rule));
    let body = json!({"allOrNone": false, "records": [
        {"attributes": {"type": "Lead"}, "LastName": "A"}, {"attributes": {"type": "Lead"}, "Company": "B"}]});
    Mock::given(method("POST"))
        .and(path("/prefix/services/data/v68.0/composite/sobjects"))
        .and(header("Sforce-Auto-Assign", "FALSE"))
        .and(header("Sforce-Duplicate-Rule-Header", "allowSave=true; includeRecordDetails=false; runAsCurrentUser=false"))
        .and(body_json(body))
        .respond_with(json_body(200, fixture("collection_mixed.json")))
        .mount(&server)
        .await;
    let rows = [fields(json!({"LastName": "A"})), fields(json!({"Company": "B"}))];
    let outcomes = client.create_collection(&[(&entity::LEAD, &rows[0]), (&entity::LEAD, &rows[1])]).await.unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().id.as_str(), ID);
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.code(), error.may_have_applied()), (ErrorKind::Validation, Some("REQUIRED_FIELD_MISSING"), false));
    assert_eq!(error.fields()[0].field, "LastName");

    mount(&server, "PATCH", "/composite/sobjects", json_body(200, fixture("collection_rolled_back.json"))).await;
    let ids = [RecordId::from("001D000000Kv3g5IAB"), RecordId::from("x")];
    let updates = [(&entity::ACCOUNT, &ids[0], &rows[0]), (&entity::ACCOUNT, &ids[1], &rows[1])];
    let outcomes = client.update_collection(&updates).await.unwrap();
    let victim = outcomes[0].as_ref().unwrap_err();
    assert_eq!((victim.kind(), victim.retry(), victim.record()), (ErrorKind::Cancelled, Retry::Backoff, Some(&ids[0])));

    let lead = entity::LEAD;
    let many = vec![(&lead, &rows[0]); 201];
    assert_eq!(client.create_collection(&many).await.unwrap_err().kind(), ErrorKind::Config);
    assert!(client.create_collection(&[]).await.unwrap().is_empty(), "nothing is sent");

    let found = json!([{"attributes": {"type": "Lead"}, "Id": ID}, null]).to_string();
    mount(&server, "POST", "/composite/sobjects/Lead", json_body(200, found)).await;
    let found = client.retrieve_collection(&entity::LEAD, &[&ids[0], &ids[1]], &["Id"]).await.unwrap();
    assert!(found[0].is_some() && found[1].is_none());
}

#[tokio::test]
async fn bulk_groups_by_kind_and_keeps_the_order() {
    let server = MockServer::start().await;
    let client = connect(config(&server));
    let ok = |ids: &[&str]| {
        let rows: Vec<Value> = ids.iter().map(|id| json!({"id": id, "success": true, "errors": []})).collect();
        json_body(200, Value::from(rows).to_string())
    };
    mount(&server, "POST", "/composite/sobjects", ok(&["001D000000Kv3g5IAB", "003D000000QV9n2IAD"])).await;
    mount(&server, "PATCH", "/composite/sobjects", ok(&[ID])).await;
    let gone = json!([{"id": ID, "success": false, "errors": [{"statusCode": "ENTITY_IS_DELETED", "message": "entity is deleted", "fields": []}]}]);
    mount(&server, "DELETE", "/composite/sobjects", json_body(200, gone.to_string())).await;
    mount(&server, "PATCH", "/composite/sobjects/Lead/Ext__c", error(503, "SERVER_UNAVAILABLE", "")).await;
    let some = || fields(json!({"LastName": "A"}));
    let id = RecordId::from(ID);
    let ops = [
        BulkOp::Create { fields: some() },
        BulkOp::Update { id: id.clone(), fields: some() },
        BulkOp::Upsert { key: ExternalKey::new("Ext__c", "1").unwrap(), fields: some() },
        BulkOp::Create { fields: some() },
        BulkOp::Delete { id: id.clone() },
    ];
    let outcomes = CrmAdapter::bulk(&client, &entity::LEAD, &ops, &WriteOptions::new()).await.unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().id.as_str(), "001D000000Kv3g5IAB");
    assert_eq!(outcomes[1].as_ref().unwrap().created, Some(false));
    let upsert = outcomes[2].as_ref().unwrap_err();
    assert!(upsert.kind() == ErrorKind::Unavailable && upsert.may_have_applied(), "{upsert}");
    assert_eq!(outcomes[3].as_ref().unwrap().id.as_str(), "003D000000QV9n2IAD");
    assert!(outcomes[4].is_ok(), "gone already is deleted");
}

#[tokio::test]
async fn errors_are_told_apart() {
    for (answer, kind, retryable, ambiguous) in [
        (error(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."), ErrorKind::QuotaExhausted, false, false),
        (error(403, "REQUEST_LIMIT_EXCEEDED", "ConcurrentRequests Limit exceeded."), ErrorKind::RateLimited, true, false),
        (error(400, "UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access"), ErrorKind::Unavailable, true, false),
        (error(400, "INVALID_FIELD", "No such column 'X__c' on sobject of type Lead"), ErrorKind::Config, false, false),
        (json_body(400, fixture("duplicates_detected.json")), ErrorKind::Duplicate, false, false),
        (ResponseTemplate::new(503).set_body_raw("<html>maintenance</html>", "text/html"), ErrorKind::Unavailable, true, true),
        (error(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."), ErrorKind::Unavailable, true, true),
        (json_body(201, "{"), ErrorKind::Decode, false, true),
        (ResponseTemplate::new(302).insert_header("Location", "https://evil.example/"), ErrorKind::Config, false, false),
    ] {
        let server = MockServer::start().await;
        mount(&server, "POST", "/sobjects/Lead", answer).await;
        let error = connect(config(&server)).create(&entity::LEAD, &fields(json!({"LastName": "A"}))).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable(), error.may_have_applied()), (kind, retryable, ambiguous), "{error}");
        assert_eq!((error.operation(), error.entity()), (Some("create"), Some(&entity::LEAD)));
    }
    let nobody = connect(SalesforceConfig::with_access_token("http://127.0.0.1:9", SecretString::from("T")));
    let error = nobody.create(&entity::LEAD, &Fields::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_applied()), (ErrorKind::Network, false), "nothing was sent");
}

#[tokio::test]
async fn a_dead_session_is_renewed_once_and_the_rotated_token_is_kept() {
    let server = MockServer::start().await;
    let moved = MockServer::start().await;
    let cache = Arc::new(MemoryTokenCache::new(Host::manual(1)));
    let config = SalesforceConfig::with_refresh_token(server.uri(), "C", SecretString::from("R1")).client_secret(SecretString::from("S"));
    let client = connect(config.clone()).with_token_cache(Arc::clone(&cache) as Arc<dyn TokenCache>);

    let token = |access: &str, refresh: &str, instance: &MockServer| {
        let text = fixture("token.json")
            .replace("00DAb0000001Org!A2", access)
            .replace("R2", refresh)
            .replace("INSTANCE", &format!("{}/", instance.uri()));
        json_body(200, text)
    };
    let endpoint = || Mock::given(method("POST")).and(path("/services/oauth2/token"));
    endpoint()
        .and(body_string_contains("grant_type=refresh_token&refresh_token=R1&client_id=C&client_secret=S"))
        .respond_with(token("A1", "R2", &server))
        .expect(1)
        .mount(&server)
        .await;
    endpoint().and(body_string_contains("refresh_token=R2&")).respond_with(token("A2", "R3", &moved)).expect(1).mount(&server).await;
    let dead = error(401, "INVALID_SESSION_ID", "Session expired or invalid");
    Mock::given(method("POST")).and(header("authorization", "Bearer A1")).respond_with(dead).expect(1).mount(&server).await;
    Mock::given(method("POST"))
        .and(path("/services/data/v68.0/sobjects/Lead"))
        .and(header("authorization", "Bearer A2"))
        .respond_with(json_body(201, json!({"id": ID, "success": true, "errors": []}).to_string()))
        .expect(1)
        .mount(&moved)
        .await;
    let id = client.create(&entity::LEAD, &fields(json!({"LastName": "A"}))).await.unwrap();
    assert_eq!(id.as_str(), ID);

    // Another process with the same cache goes on with what was kept.
    Mock::given(method("GET")).and(header("authorization", "Bearer A2")).respond_with(json_body(200, "{}")).expect(1).mount(&moved).await;
    let other = connect(config).with_token_cache(cache);
    other.limits().await.unwrap();
}

#[tokio::test]
async fn a_dead_refresh_token_asks_for_a_person() {
    let server = MockServer::start().await;
    let refused = json!({"error": "invalid_grant", "error_description": "expired access/refresh token"});
    Mock::given(path("/services/oauth2/token")).respond_with(json_body(400, refused.to_string())).expect(1).mount(&server).await;
    let client = connect(SalesforceConfig::with_refresh_token(server.uri(), "C", SecretString::from("R1")));
    let error = client.create(&entity::LEAD, &Fields::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.code()), (ErrorKind::Authentication, Retry::Never, Some("invalid_grant")));
    assert!(error.to_string().contains("authorize again") && !error.may_have_applied());
    assert!(!format!("{error:?} {client:?}").contains("R1"));
}

#[tokio::test]
async fn client_credentials_and_the_way_to_consent() {
    let server = MockServer::start().await;
    let answer = json!({"access_token": "A", "instance_url": server.uri()});
    Mock::given(path("/services/oauth2/token"))
        .and(body_string_contains("grant_type=client_credentials"))
        .respond_with(json_body(200, answer.to_string()))
        .expect(1)
        .mount(&server)
        .await;
    let user = json!({"user_id": "005", "organization_id": "00D"});
    Mock::given(path("/services/oauth2/userinfo"))
        .and(header("authorization", "Bearer A"))
        .respond_with(json_body(200, user.to_string()))
        .mount(&server)
        .await;
    let config = SalesforceConfig::with_client_credentials(server.uri(), "C", SecretString::from("S"));
    let who = connect(config.clone()).authenticate().await.unwrap();
    assert_eq!((who.user.as_deref(), who.account.as_deref(), who.api_version.as_deref()), (Some("005"), Some("00D"), Some("68.0")));

    let oauth = config.oauth(Arc::new(ReqwestTransport::loopback().unwrap()), Host::manual(1)).unwrap();
    let way = oauth.authorize("https://app.example/cb", &["api", "refresh_token"], &[("prompt", "consent")]).unwrap();
    let pairs: std::collections::HashMap<_, _> = way.url.query_pairs().into_owned().collect();
    assert_eq!(
        (pairs["scope"].as_str(), pairs["code_challenge_method"].as_str(), pairs["state"].as_str()),
        ("api refresh_token", "S256", way.state.as_str())
    );
    Mock::given(path("/services/oauth2/token"))
        .and(body_string_contains("grant_type=authorization_code&code=XYZ&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&code_verifier="))
        .respond_with(json_body(200, json!({"access_token": "A", "refresh_token": "R"}).to_string()))
        .expect(1)
        .mount(&server)
        .await;
    let stored = oauth.exchange_code("XYZ", "https://app.example/cb", &way.verifier).await.unwrap();
    assert_eq!(stored.refresh_token.as_deref(), Some("R"));
}

#[tokio::test]
async fn searches_are_lowered_to_soql() {
    let server = MockServer::start().await;
    let client = connect(config(&server));
    let soql = r"SELECT Email, Id, SystemModstamp FROM Lead WHERE (Email = 'o\'b@x.com' OR CreatedDate > 2026-01-01T00:00:00Z) ORDER BY Email DESC LIMIT 7";
    Mock::given(path("/prefix/services/data/v68.0/query"))
        .and(query_param("q", soql))
        .and(header("Sforce-Query-Options", "batchSize=200"))
        .respond_with(json_body(200, fixture("query_page_1.json")))
        .mount(&server)
        .await;
    mount(&server, "GET", "/query/01gAb00000LocAtIAJ-2000", json_body(200, fixture("query_page_2.json"))).await;
    let filter =
        Criteria::eq("Email", "o'b@x.com").or(Criteria::compare("CreatedDate", crm_sync::query::Operator::Gt, "2026-01-01T00:00:00Z"));
    let query = Query::new(entity::LEAD).select(["Email"]).filter(filter).order_by("Email", true).limit(7).page_size(5);
    let page = client.search(&query).await.unwrap();
    assert_eq!(page.total, Some(3));
    let first = &page.items[0];
    assert_eq!((first.id.as_str(), first.version.as_ref().unwrap().as_str()), (ID, "2026-01-02T03:04:05.000+0000"));
    assert!(!first.fields.contains("Id") && !first.fields.contains("SystemModstamp"), "only what was asked for");
    assert_eq!(client.search_all(query).try_collect::<Vec<_>>().await.unwrap().len(), 3);
    let other = Query::new(entity::CONTACT).after(page.next.unwrap());
    assert_eq!(client.search(&other).await.unwrap_err().kind(), ErrorKind::Config, "a cursor belongs to its query");
}

#[tokio::test]
async fn a_date_in_an_unknown_field_asks_the_description_once() {
    let server = MockServer::start().await;
    let client = connect(config(&server));
    mount(&server, "GET", "/sobjects/Lead/describe", json_body(200, fixture("describe_lead.json"))).await;
    Mock::given(path("/prefix/services/data/v68.0/query"))
        .and(query_param("q", "SELECT Id, SystemModstamp FROM Lead WHERE Seen_At__c = 2026-01-02T00:00:00Z"))
        .respond_with(json_body(200, json!({"totalSize": 0, "done": true, "records": []}).to_string()))
        .expect(2)
        .mount(&server)
        .await;
    for _ in 0..2 {
        let query = Query::new(entity::LEAD).select(["Id"]).filter(Criteria::eq("Seen_At__c", "2026-01-02"));
        assert!(client.search(&query).await.unwrap().items.is_empty());
    }
}

#[tokio::test]
async fn changes_go_on_exactly_and_stand_still_at_the_end() {
    let server = MockServer::start().await;
    let client = connect(config(&server));
    let row = |id: &str, at: &str, deleted: bool| json!({"attributes": {"type": "Lead"}, "Id": id, "Email": "x", "SystemModstamp": at, "CreatedDate": "2026-01-01T00:00:00.000+0000", "IsDeleted": deleted});
    let page = |rows: Vec<Value>| json_body(200, json!({"totalSize": rows.len(), "done": true, "records": rows}).to_string());
    let select = "SELECT Email, Id, SystemModstamp, IsDeleted, MasterRecordId, ConvertedContactId, CreatedDate FROM Lead";
    let order = "ORDER BY SystemModstamp, Id LIMIT 2000";
    let ask = |condition: &str| {
        Mock::given(path("/prefix/services/data/v68.0/queryAll")).and(query_param("q", format!("{select}{condition} {order}")))
    };
    ask("")
        .respond_with(page(vec![
            row("001D000000Kv3g5IAB", "2026-01-01T00:00:00.000+0000", false),
            row(ID, "2026-01-02T00:00:00.000+0000", true),
        ]))
        .expect(1)
        .mount(&server)
        .await;
    let behind = format!(" WHERE (SystemModstamp > 2026-01-02T00:00:00Z OR (SystemModstamp = 2026-01-02T00:00:00Z AND Id > '{ID}'))");
    ask(&behind).respond_with(page(vec![])).expect(1).mount(&server).await;
    let mut feed = ChangeFeed::new(entity::LEAD, Since::Start);
    feed.select = vec!["Email".to_owned()];
    feed.deletes = true;
    let first = client.changes(&feed).await.unwrap();
    let kinds: Vec<_> = first.items.iter().map(|change| (change.kind, change.fields.len())).collect();
    assert_eq!(kinds, [(crm_sync::model::ChangeKind::Created, 1), (crm_sync::model::ChangeKind::Deleted, 0)]);
    feed.since = Since::Cursor(first.next.clone().unwrap());
    let second = client.changes(&feed).await.unwrap();
    assert!(second.items.is_empty());
    assert_eq!(second.next, first.next, "nothing new: the cursor stands still");
}

#[tokio::test]
async fn lookups_limits_versions_and_the_raw_door() {
    let server = MockServer::start().await;
    let client = connect(config(&server));
    Mock::given(method("PATCH"))
        .and(body_json(json!({"AccountId": "001D000000Kv3g5IAB"})))
        .respond_with(ResponseTemplate::new(204))
        .expect(1)
        .mount(&server)
        .await;
    let from = (entity::CONTACT, RecordId::from("003D000000QV9n2IAD"));
    let to = (entity::ACCOUNT, RecordId::from("001D000000Kv3g5IAB"));
    client.associate(&Association { from, to, relation: "AccountId".to_owned() }).await.unwrap();
    mount(&server, "GET", "/limits", json_body(200, json!({"DailyApiRequests": {"Max": 10, "Remaining": 9}}).to_string())).await;
    assert_eq!(client.limits().await.unwrap().get("DailyApiRequests").unwrap().remaining, 9);
    let versions = json!([{"label": "Winter '27", "url": "/services/data/v68.0", "version": "68.0"}, {"label": "Spring '14", "url": "/services/data/v100.0", "version": "100.0"}]);
    Mock::given(path("/prefix/services/data")).respond_with(json_body(200, versions.to_string())).mount(&server).await;
    assert_eq!(client.versions().await.unwrap().last().unwrap().version.major(), 100);
    mount(&server, "GET", "/recent", json_body(200, "[]")).await;
    assert_eq!(client.call(http::Method::GET, "recent", None).await.unwrap().json::<Value>().unwrap(), json!([]));
    let long = format!("SELECT Id FROM Lead WHERE Name = '{}'", "x".repeat(15_000));
    assert_eq!(client.query_fields(&long).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(client.create(&Entity::new("Lead/../User"), &Fields::new()).await.unwrap_err().kind(), ErrorKind::Config);
}

#[test]
fn the_configuration_says_what_is_missing() {
    let new = |config| Salesforce::new(config, Arc::new(ReqwestTransport::loopback().unwrap()), Host::manual(1));
    let mut config = SalesforceConfig::with_refresh_token("https://login.salesforce.com", "", SecretString::from("R"));
    assert!(new(config.clone()).unwrap_err().message().contains("client_id"));
    config.client_id = "C".to_owned();
    assert!(new(config.clone()).is_ok());
    config.login_url = "login.salesforce.com".to_owned();
    assert!(new(config.clone()).unwrap_err().message().contains("login_url"));
    assert!(new(SalesforceConfig::default()).is_err());
    config.login_url = "https://login.salesforce.com".to_owned();
    assert!(new(config.batch_size(10)).unwrap_err().message().contains("batch_size"));
}
