//! What bites everybody who meets HubSpot's API for the first time: one test for each trap.

#![cfg(feature = "hubspot")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::hubspot;

use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::{Association, BulkOp, CrmAdapter, WriteOptions};
use crm_sync::error::{ErrorKind, Retry};
use crm_sync::host::Host;
use crm_sync::hubspot::entity::{COMPANIES, CONTACTS, DEALS, NOTES};
use crm_sync::hubspot::{
    ApiVersion, AssociationType, HubSpot, HubSpotConfig, HubSpotEvents, HubSpotVerifier, ObjectSchema, OwnWrites, Owner, TemplateEvent,
    Whose, check_dates, decode, encode,
};
use crm_sync::model::{Entity, EntitySchema, ExternalKey, FieldSchema, FieldType, RecordId};
use crm_sync::query::{Criteria, Query};
use crm_sync::webhook::{EventFormat, RawRequest, Secrets, Verified, Verifier};
use http::{HeaderMap, Method};
use hubspot::{client, config, configured, fields, fixture, reply};
use serde_json::{Value, json};

fn row(id: &str, properties: Value) -> Value {
    let mut row = json!({"id": id, "createdAt": "2026-02-17T18:56:16Z", "updatedAt": "2026-02-17T18:56:16.511Z", "archived": false});
    row["properties"] = properties;
    row
}

fn traced(id: &str, trace: usize, properties: Value) -> Value {
    let mut row = row(id, properties);
    row["objectWriteTraceId"] = json!(format!("row-{trace}"));
    row
}

fn creates(names: &[&str]) -> Vec<BulkOp> {
    names.iter().map(|name| BulkOp::Create { fields: fields(json!({ "name": name })) }).collect()
}

fn id(text: &str) -> RecordId {
    RecordId::from(text)
}

#[tokio::test]
async fn trap_01_results_of_a_batch_come_in_any_order() {
    let by_trace =
        json!({"status": "COMPLETE", "results": [traced("3", 2, json!({})), traced("1", 0, json!({})), traced("2", 1, json!({}))]});
    let by_value = json!({"results": [row("2", json!({"name": "b"})), row("1", json!({"name": "a"}))]});
    let (client, replay) = client(vec![reply(201, by_trace.to_string()), reply(201, by_value.to_string())]);
    for names in [&["a", "b", "c"][..], &["a", "b"]] {
        let outcomes = client.bulk(&COMPANIES, &creates(names), &WriteOptions::new()).await.unwrap();
        for (n, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.as_ref().unwrap().id.as_str(), (n + 1).to_string());
        }
    }
    let inputs = replay.seen()[0].json()["inputs"].clone();
    let traces: Vec<&Value> = inputs.as_array().unwrap().iter().map(|input| &input["objectWriteTraceId"]).collect();
    assert_eq!(traces, ["row-0", "row-1", "row-2"], "every input is marked");
}

#[tokio::test]
async fn trap_02_a_success_may_hold_failures_under_any_2xx() {
    for status in [200, 201, 207] {
        let (client, _) = client(vec![reply(status, fixture("batch_with_errors.json"))]);
        let outcomes = client.bulk(&COMPANIES, &creates(&["a", "b", "c"]), &WriteOptions::new()).await.unwrap();
        assert_eq!(outcomes[0].as_ref().unwrap().id.as_str(), "11");
        let error = outcomes[1].as_ref().unwrap_err();
        assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Validation, "channel"), "{status}");
        assert_eq!(outcomes[2].as_ref().unwrap().id.as_str(), "13");
    }
}

#[tokio::test]
async fn trap_02_an_error_that_names_no_input_is_found_by_halves() {
    let refused = json!({"status": "error", "category": "VALIDATION_ERROR", "message": "one of them"}).to_string();
    let one = |id: &str, at: usize| json!({"results": [traced(id, at, json!({}))]}).to_string();
    let replies = vec![
        reply(400, refused.clone()),
        reply(201, json!({"results": [traced("2", 1, json!({})), traced("1", 0, json!({}))]}).to_string()),
        reply(400, refused.clone()),
        reply(201, one("3", 2)),
        reply(400, refused),
    ];
    let (client, replay) = client(replies);
    let outcomes = client.bulk(&COMPANIES, &creates(&["a", "b", "c", "d"]), &WriteOptions::new()).await.unwrap();
    assert_eq!(outcomes.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!(replay.left(), 0);
}

#[tokio::test]
async fn trap_03_contacts_are_not_upserted_by_email_in_a_batch() {
    let (client, replay) = client(vec![reply(404, fixture("not_found.json")), reply(201, row("7", json!({})).to_string())]);
    let error = client.upsert_by(&CONTACTS, "email", "a@b.test", &fields(json!({"city": "Oslo"}))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let key = ExternalKey::new("email", "a@b.test").unwrap();
    let made = CrmAdapter::upsert(&client, &CONTACTS, &key, &fields(json!({"city": "Oslo"})), &WriteOptions::new()).await.unwrap();
    assert_eq!((made.id.as_str(), made.created), ("7", Some(true)));
    let lines = replay.lines();
    assert_eq!(lines, ["PATCH /crm/objects/2026-03/contacts/a%40b.test?idProperty=email", "POST /crm/objects/2026-03/contacts"]);
    let domain = ExternalKey::new("domain", "acme.test").unwrap();
    let error = CrmAdapter::upsert(&client, &COMPANIES, &domain, &fields(json!({})), &WriteOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "a domain is not unique");
}

#[tokio::test]
async fn trap_04_search_is_no_check_after_a_write_and_has_limits() {
    let (client, replay) = client(vec![]);
    assert!(!client.capabilities().search_read_your_writes);
    let seven = Criteria::All((0..7).map(|n| Criteria::ne("x", n)).collect());
    assert_eq!(client.search(&Query::new(DEALS).filter(seven)).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(replay.seen().is_empty(), "told before it is sent");
}

#[tokio::test]
async fn trap_05_the_primary_company_is_moved_on_request_only() {
    let known =
        json!({"results": [{"toObjectId": 9, "associationTypes": [{"category": "HUBSPOT_DEFINED", "typeId": 279, "label": null}]}]});
    let (client, replay) = client(vec![reply(200, known.to_string()), reply(201, "{}")]);
    let (contact, company) = ((&CONTACTS, &id("7")), (&COMPANIES, &id("9")));
    let primary = [AssociationType::hubspot(1)];
    assert_eq!(client.add_labels(contact, company, &primary, false).await.unwrap_err().kind(), ErrorKind::Config);
    assert!(client.add_labels(contact, company, &primary, true).await.unwrap());
    assert_eq!(replay.seen().len(), 2);
    assert_eq!(AssociationType::plain(&CONTACTS, &COMPANIES).unwrap().type_id, 279);
}

#[tokio::test]
async fn trap_06_labels_are_added_to_those_there_are() {
    let labels = json!({"results": [{"category": "USER_DEFINED", "typeId": 37, "label": "Advisor"}, {"category": "HUBSPOT_DEFINED", "typeId": 279, "label": null}]});
    let known = json!({"results": [{"toObjectId": "9", "associationTypes": [
        {"category": "HUBSPOT_DEFINED", "typeId": 279, "label": null}, {"category": "USER_DEFINED", "typeId": 35, "label": "Buyer"}]}]});
    let (client, replay) = client(vec![reply(200, labels.to_string()), reply(200, known.to_string()), reply(201, "{}")]);
    let link = Association { from: (CONTACTS, id("7")), to: (COMPANIES, id("9")), relation: "advisor".into() };
    client.associate(&link).await.unwrap();
    let seen = replay.seen();
    assert_eq!(seen[2].line, "PUT /crm/objects/2026-03/contacts/7/associations/companies/9");
    let types: Vec<u64> = seen[2].json().as_array().unwrap().iter().map(|kind| kind["associationTypeId"].as_u64().unwrap()).collect();
    assert_eq!(types, [279, 35, 37]);
}

#[tokio::test]
async fn trap_07_values_are_texts_or_null_and_cleared_by_an_empty_text() {
    let sent = encode(&fields(json!({"n": 5, "b": true, "gone": null, "text": "x", "many": ["A", "B"]}))).unwrap();
    assert_eq!(Value::Object(sent), json!({"n": "5", "b": "true", "gone": "", "text": "x", "many": "A;B"}));
    let kinds = [("n", FieldType::Decimal { scale: None }), ("b", FieldType::Boolean), ("many", FieldType::MultiPicklist)];
    let schema = EntitySchema::new(CONTACTS, "Contacts", kinds.into_iter().map(|(name, kind)| FieldSchema::new(name, kind)).collect());
    let mut got = fields(json!({"n": "5.50", "b": "false", "many": "A;B", "none": null, "empty": ""}));
    decode(&mut got, &schema);
    assert_eq!(got.to_value(), json!({"n": 5.50, "b": false, "many": ["A", "B"], "none": null, "empty": null}));
}

#[tokio::test]
async fn trap_08_a_list_overwrites_and_a_leading_semicolon_appends() {
    let sent = encode(&fields(json!({"set": ["A"], "append": ";B"}))).unwrap();
    assert_eq!((&sent["set"], &sent["append"]), (&json!("A"), &json!(";B")), "which one is the caller's choice");
}

#[tokio::test]
async fn trap_09_dates_are_days() {
    let schema = EntitySchema::new(DEALS, "Deals", vec![FieldSchema::new("day", FieldType::Date)]);
    let mut good = fields(json!({"day": 1_764_547_200_000_i64}));
    check_dates(&mut good, &schema).unwrap();
    assert_eq!(good.text("day"), Some("2025-12-01"));
    let error = check_dates(&mut fields(json!({"day": 1_764_547_200_001_i64})), &schema).unwrap_err();
    assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Validation, "day"));
}

#[tokio::test]
async fn trap_10_each_object_has_its_own_time_of_change() {
    for (entity, property) in [(CONTACTS, "lastmodifieddate"), (DEALS, "hs_lastmodifieddate"), (NOTES, "hs_lastmodifieddate")] {
        let (client, replay) = client(vec![reply(200, json!({"total": 0, "results": []}).to_string())]);
        let feed = crm_sync::adapter::ChangeFeed::new(entity, crm_sync::adapter::Since::Start);
        client.changes(&feed).await.unwrap();
        let sent = replay.seen()[0].json();
        assert_eq!(sent["filterGroups"][0]["filters"][0]["propertyName"], property);
        assert_eq!(sent["sorts"][0]["propertyName"], property, "sorted by what is filtered");
    }
}

#[tokio::test]
async fn trap_11_an_owner_is_not_a_user() {
    let owner = json!({"id": "41629779", "email": "o@b.test", "type": "PERSON", "userId": 7, "archived": false});
    let (client, replay) = client(vec![reply(200, owner.to_string()), reply(404, fixture("not_found.json"))]);
    let found: Owner = client.owner_of_user(7).await.unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.user_id), ("41629779", Some(7)));
    assert!(client.owner_of_user(8).await.unwrap().is_none());
    assert_eq!(replay.lines()[0], "GET /crm/owners/2026-03/7?idProperty=userId");
}

#[tokio::test]
async fn trap_12_a_merge_may_give_a_new_id() {
    let (client, replay) = client(vec![reply(200, row("900", json!({"hs_merged_object_ids": "1;2"})).to_string())]);
    let merged = client.merge(&CONTACTS, &id("1"), &id("2")).await.unwrap();
    assert_eq!(merged.id, "900");
    assert_eq!(replay.seen()[0].json(), json!({"primaryObjectId": "1", "objectIdToMerge": "2"}));
    let body = json!([{"subscriptionType": "contact.merge", "portalId": 33, "objectId": 1, "primaryObjectId": 1, "mergedObjectIds": [1, 2],
        "newObjectId": 900, "occurredAt": 1_764_547_200_000_i64, "eventId": 5}]);
    let body = body.to_string();
    let events = HubSpotEvents::new().events(&Verified::trust_without_verifying(body.as_bytes(), "test", "k")).unwrap();
    let told: Vec<(String, String)> = events
        .iter()
        .filter_map(|event| event.change.as_ref())
        .map(|change| (change.id.to_string(), format!("{:?}", change.kind)))
        .collect();
    let wanted = [("1", "Deleted"), ("2", "Deleted"), ("900", "Updated")].map(|(id, kind)| (id.to_owned(), kind.to_owned()));
    assert_eq!(told, wanted);
}

#[tokio::test]
async fn trap_13_a_conflict_names_the_record_and_is_never_retried() {
    let conflict = || reply(409, fixture("conflict.json"));
    let (hub, _) = client(vec![conflict()]);
    let error = HubSpot::create(&hub, &CONTACTS, &fields(json!({"email": "a@b.test"}))).await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.duplicates()), (ErrorKind::Duplicate, Retry::Never, &[id("101")][..]));
    let (hub, replay) = client(vec![conflict(), reply(200, row("101", json!({})).to_string())]);
    let (record, new) = hub.create_or_update(&CONTACTS, &fields(json!({"email": "a@b.test"}))).await.unwrap();
    assert_eq!((record.id.as_str(), new, replay.lines()[1].as_str()), ("101", false, "PATCH /crm/objects/2026-03/contacts/101"));
    // Another unique property may belong to somebody else, and its value may be digits.
    let other = json!({"status": "error", "category": "VALIDATION_ERROR", "message": "my_key 4711 already has that value"});
    let (hub, replay) = client(vec![reply(400, other.to_string())]);
    let error = hub.create_or_update(&CONTACTS, &fields(json!({"my_key": "4711"}))).await.unwrap_err();
    assert_eq!((error.kind(), error.duplicates().len(), replay.left()), (ErrorKind::Duplicate, 0, 0));
}

#[tokio::test]
async fn trap_14_too_many_requests_has_three_bodies() {
    let cases = [
        (fixture("429_ten_secondly.json"), ErrorKind::RateLimited, Retry::After(Duration::from_secs(10))),
        (fixture("429_secondly.json"), ErrorKind::RateLimited, Retry::After(Duration::from_secs(1))),
        ("error code: 1015".to_owned(), ErrorKind::RateLimited, Retry::Backoff),
    ];
    for (body, kind, retry) in cases {
        let (client, _) = client(vec![reply(429, body)]);
        let error = client.search(&Query::new(DEALS).filter(Criteria::eq("amount", 1))).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, retry));
    }
    let (client, _) = client(vec![reply(429, fixture("429_secondly.json")).header("retry-after", "7")]);
    let error = client.object_schemas().await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)), "honoured if it is ever there");
}

#[tokio::test]
async fn trap_15_a_spent_day_ends_at_the_accounts_midnight() {
    // 09:00 in UTC is 04:00 in the account: twenty hours to its midnight.
    let (client, replay) = configured(config().time_zone("-05:00"), vec![reply(429, fixture("429_daily.json"))]);
    let error = client.pipelines(&DEALS).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::QuotaExhausted, Some(Duration::from_secs(20 * 3_600))));
    let parked = client.clone().pipelines(&DEALS).await.unwrap_err();
    assert_eq!((parked.kind(), replay.seen().len()), (ErrorKind::QuotaExhausted, 1), "not even sent");

    let account = json!({"portalId": 33, "timeZone": "Nowhere/Nothing", "utcOffsetMilliseconds": 3_600_000});
    let (client, _) = hubspot::client(vec![reply(200, account.to_string()), reply(429, fixture("429_daily.json"))]);
    assert_eq!(client.authenticate().await.unwrap().account.as_deref(), Some("33"));
    let error = client.pipelines(&DEALS).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(14 * 3_600)), "learned from the account");
}

#[tokio::test]
async fn trap_16_three_statuses_of_hubspots_own() {
    let cases = [
        (423, None, Retry::After(Duration::from_secs(2))),
        (477, Some("86400"), Retry::After(Duration::from_secs(86_400))),
        (414, None, Retry::Never),
        (524, None, Retry::Backoff),
        (530, None, Retry::Backoff),
    ];
    for (status, after, retry) in cases {
        let answer = reply(status, "<html></html>");
        let (client, _) = client(vec![match after {
            Some(after) => answer.header("retry-after", after),
            None => answer,
        }]);
        let error = client.pipelines(&DEALS).await.unwrap_err();
        assert_eq!(error.retry(), retry, "{status}");
    }
}

#[tokio::test]
async fn trap_17_only_an_expired_token_is_renewed() {
    let token = |access: &str| {
        reply(200, json!({"access_token": access, "refresh_token": "R2", "expires_in": 1800, "token_type": "bearer"}).to_string())
    };
    let garbled = || reply(401, json!({"status": "error", "category": "INVALID_AUTHENTICATION", "message": "x"}).to_string());
    let oauth = || HubSpotConfig::with_refresh_token("C", "S".to_owned().into(), "R1".to_owned().into());
    let (hub, replay) = configured(oauth(), vec![token("A1"), garbled()]);
    assert_eq!(hub.pipelines(&DEALS).await.unwrap_err().kind(), ErrorKind::Authentication);
    assert_eq!(replay.seen().len(), 2, "no second token");
    let expired = reply(401, fixture("401_expired.json"));
    let (hub, replay) = configured(oauth(), vec![token("A1"), expired, token("A2"), reply(200, json!({"results": []}).to_string())]);
    hub.pipelines(&DEALS).await.unwrap();
    assert_eq!(replay.seen()[3].header("authorization"), Some("Bearer A2"));
    assert_eq!(replay.lines()[0], "POST /oauth/2026-03/token");
    assert!(!replay.seen()[0].line.contains("secret"), "secrets go into the body");
}

#[tokio::test]
async fn trap_18_the_link_of_a_page_is_not_followed() {
    let page = json!({"results": [row("1", json!({}))], "paging": {"next": {"after": "5", "link": "https://evil.test/crm/v3/objects/deals?after=9"}}});
    let (client, replay) = client(vec![reply(200, page.to_string()), reply(200, json!({"results": []}).to_string())]);
    let first = client.list(&DEALS, &[], None, 100, false).await.unwrap();
    client.list(&DEALS, &[], first.next.as_ref().map(|next| next.as_str()), 100, false).await.unwrap();
    assert_eq!(replay.lines()[1], "GET /crm/objects/2026-03/deals?limit=100&after=5");
}

#[tokio::test]
async fn trap_19_details_stand_inside_the_message() {
    let (client, _) = client(vec![reply(400, fixture("validation_in_message.json"))]);
    let error = HubSpot::create(&client, &CONTACTS, &fields(json!({"x": "secret value"}))).await.unwrap_err();
    let details: Vec<(&str, Option<&str>)> = error.fields().iter().map(|field| (field.field.as_str(), field.code.as_deref())).collect();
    assert_eq!(details, [("x", Some("PROPERTY_DOESNT_EXIST")), ("email", Some("INVALID_EMAIL"))]);
    assert_eq!(error.request_id(), Some("8a3f6c3a-0000"));
    assert!(!format!("{error} {error:?}").contains("secret value"), "messages quote values");
}

#[tokio::test]
async fn trap_20_nothing_says_that_a_change_is_our_own() {
    let own = Arc::new(OwnWrites::default());
    let (client, _) = client(vec![reply(200, row("7", json!({"city": "Oslo"})).to_string())]);
    let client = client.with_own_writes(Arc::clone(&own));
    client.update(&CONTACTS, None, "7", &fields(json!({"city": "Oslo"}))).await.unwrap();
    let event = |value: &str, at: i64| {
        let body = json!([{"subscriptionType": "contact.propertyChange", "portalId": 33, "objectId": 7, "propertyName": "city",
            "propertyValue": value, "occurredAt": at, "eventId": 100, "changeSource": "INTEGRATION", "sourceId": "another app"}])
        .to_string();
        HubSpotEvents::new().events(&Verified::trust_without_verifying(body.as_bytes(), "test", "k")).unwrap().remove(0)
    };
    let now = "2026-11-24T09:00:05Z".parse().unwrap();
    assert!(own.without_echoes(event("Oslo", 1).change.unwrap(), now).is_none());
    assert!(own.without_echoes(event("Bergen", 2).change.unwrap(), now).is_some());
    assert_ne!(event("Oslo", 1).id, event("Oslo", 2).id, "one eventId, two events");
    assert_eq!(event("Oslo", 1).id, event("Oslo", 1).id, "a delivery that is repeated has its old id");
}

const BODY: &str = r#"[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]"#;

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
}

#[tokio::test]
async fn trap_21_signatures_are_over_raw_bytes_and_a_decoded_address() {
    let secrets = Secrets::new("new", "another").unwrap().and("old", "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy").unwrap();
    let verifier = HubSpotVerifier::new("hubspot", secrets.clone());
    let now = jiff::Timestamp::from_millisecond(1_564_113_600_123).unwrap();
    let uri = "https://www.example.com/webhook_uri";
    let escaped = "https://www.example.com/cb?next=https%3A%2F%2Fx.io%2Fa%3Fb%3D1&e=a%40b.co&sp=a%20b&pct=%25";
    let (v3, stamp) = ("x-hubspot-signature-v3", ("x-hubspot-request-timestamp", "1564113600123"));
    let v1 = ("x-hubspot-signature", "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de");
    let two = "x-hubspot-signature-version";
    let plain = (v3, "q+yg44lS7QBlv+UGAWaDm3MqZlBS65mPXB2u4RhTbvE=");
    let check = |verifier: &HubSpotVerifier, method: Method, url: &str, headers: &HeaderMap, body: &str, now| {
        let request = RawRequest { method: &method, url, headers, body: body.as_bytes() };
        verifier.verify(&request, now).map(|verified| (verified.receipt().scheme, verified.receipt().secret.clone()))
    };
    let good: [(Method, &str, HeaderMap, &str, &str); 6] = [
        (Method::POST, uri, headers(&[v1]), BODY, "hubspot_v1"),
        (Method::POST, uri, headers(&[v1, (two, "v1")]), BODY, "hubspot_v1"),
        (
            Method::GET,
            uri,
            headers(&[("x-hubspot-signature", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"), (two, "v2")]),
            "",
            "hubspot_v2",
        ),
        (
            Method::POST,
            uri,
            headers(&[("x-hubspot-signature", "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"), (two, "v2")]),
            r#"{"example_field":"example_value"}"#,
            "hubspot_v2",
        ),
        (Method::POST, uri, headers(&[plain, stamp, v1]), BODY, "hubspot_v3"),
        (Method::POST, escaped, headers(&[(v3, "IJOcWN21QWLupNvM8zEhVU/2x1FzmJaexq9r38ZQ1bU="), stamp]), BODY, "hubspot_v3"),
    ];
    for (method, url, headers, body, scheme) in good {
        let (found, secret) = check(&verifier, method, url, &headers, body, now).unwrap();
        assert_eq!((found, secret.as_str()), (scheme, "old"), "{url}");
    }
    // The public vector, whose quotes are no JSON, and the same with JSON's; then all that is nearly right.
    let (at, json) = (jiff::Timestamp::from_millisecond(1_693_657_560_000).unwrap(), "{\"example_field\":\"example_value\"}");
    let (quoted, time) = ("K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=", ("x-hubspot-request-timestamp", "1693657560000"));
    for (body, code) in [("{'example_field':'example_value'}", quoted), (json, "oaA3M5dEtt6kFsseJD/Hv/x+JNl1vsoxFj4oxmwP6Go=")] {
        let signed = headers(&[(v3, code), time]);
        assert_eq!(check(&verifier, Method::POST, uri, &signed, body, at).unwrap().0, "hubspot_v3");
        assert!(check(&verifier, Method::GET, uri, &signed, body, at).is_err());
        assert!(check(&verifier, Method::POST, "https://www.example.com/webhook_uri/", &signed, body, at).is_err());
        for other in [format!("{body}\n"), format!("\u{feff}{body}"), body.replacen('x', "y", 1), body.replace("example", "\\u0065xample")]
        {
            assert!(check(&verifier, Method::POST, uri, &signed, &other, at).is_err(), "{other}");
        }
        for stamp in ["1693657560001", "-1693657560000", "1693657560", "99999999999999999999999", "x", ""] {
            let wrong = headers(&[(v3, code), ("x-hubspot-request-timestamp", stamp)]);
            assert!(check(&verifier, Method::POST, uri, &wrong, body, at).is_err(), "{stamp}");
        }
        for wrong in ["", "A", &code[1..], &code.to_lowercase()] {
            assert!(check(&verifier, Method::POST, uri, &headers(&[(v3, wrong), time]), body, at).is_err(), "{wrong}");
        }
        assert!(check(&verifier, Method::POST, uri, &headers(&[(v3, code), (v3, code), time]), body, at).is_err(), "twice");
        assert!(check(&verifier, Method::POST, uri, &headers(&[(v3, code)]), body, at).is_err(), "no time");
    }
    // What the official helpers compute, without decoding.
    let undecoded = headers(&[(v3, "a6UAVMcy98nJfljDwuaxt5o3XskChXSXH4Xv7u1aC/c="), stamp]);
    assert!(check(&verifier, Method::POST, escaped, &undecoded, BODY, now).is_err());
    // Written again it is another body; a wrong v3 is not saved by a right v1; late and early.
    let parsed: Value = serde_json::from_str(BODY).unwrap();
    assert!(check(&verifier, Method::POST, uri, &headers(&[plain, stamp]), &parsed.to_string(), now).is_err());
    assert!(check(&verifier, Method::POST, uri, &headers(&[(v3, "AAAA"), stamp, v1]), BODY, now).is_err());
    for off in [Duration::from_secs(301), Duration::from_secs(3_600)] {
        assert!(check(&verifier, Method::POST, uri, &headers(&[plain, stamp]), BODY, now + off).is_err());
        assert!(check(&verifier, Method::POST, uri, &headers(&[plain, stamp]), BODY, now - off).is_err());
    }
    assert!(check(&verifier, Method::POST, uri, &headers(&[plain, stamp]), BODY, now + Duration::from_secs(299)).is_ok());
    // Behind a proxy the configured address counts.
    let proxied = HubSpotVerifier::new("hubspot", secrets.clone()).public_base("https://www.example.com").unwrap();
    assert!(check(&proxied, Method::POST, "http://10.0.0.7:8080/webhook_uri", &headers(&[plain, stamp]), BODY, now).is_ok());
    let strict = HubSpotVerifier::new("hubspot", secrets).require_v3(true);
    assert!(check(&strict, Method::POST, uri, &headers(&[v1]), BODY, now).is_err());
}

#[tokio::test]
async fn trap_22_versions_are_dated() {
    for (version, path) in [
        (ApiVersion::default(), "GET /crm/pipelines/2026-03/deals"),
        (ApiVersion::V2026_09, "GET /crm/pipelines/2026-09/deals"),
        (ApiVersion::V3, "GET /crm/v3/pipelines/deals"),
    ] {
        let (client, replay) = configured(config().api_version(version), vec![reply(200, r#"{"results":[]}"#)]);
        client.pipelines(&DEALS).await.unwrap();
        assert_eq!(replay.lines(), [path]);
    }
    let named: HubSpotConfig = serde_json::from_value(json!({"accessToken": "T", "apiVersion": "2026-09", "portalId": 33})).unwrap();
    assert_eq!((named.api_version, named.portal_id.as_deref()), (ApiVersion::V2026_09, Some("33")));
}

#[tokio::test]
async fn trap_23_the_guides_own_mistakes() {
    let legacy: HubSpotConfig = serde_json::from_value(json!({"apiKey": "k-1"})).unwrap();
    let error = HubSpot::new(legacy, hubspot::Replay::new(vec![]), Host::manual(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("30 November 2022") && !error.to_string().contains("k-1"), "{error}");

    let (hub, replay) = client(vec![]);
    let event = TemplateEvent::new("email_opened", "e1", Whose::Record(id("7")));
    assert_eq!(hub.tell(&event).await.unwrap_err().kind(), ErrorKind::Config);

    let guide: ObjectSchema = serde_json::from_str(&fixture("guide_campaign.json")).unwrap();
    let error = hub.ensure_object(&guide).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let faults: Vec<&str> = error.fields().iter().map(|field| field.field.as_str()).collect();
    for name in ["\"status\"", "\"channel\"", "\"CONTACT\"", "\"DEAL\""] {
        assert!(faults.iter().any(|fault| fault.contains(name)), "{name} in {faults:?}");
    }
    assert!(replay.seen().is_empty(), "told before anything is sent");
    let (fixed, done) = guide.repaired();
    assert_eq!((fixed.faults().len(), done.len()), (0, 4), "{done:?}");
    assert_eq!(
        (fixed.associated_objects.clone(), fixed.secondary_display_properties.clone()),
        (vec!["0-1".into(), "0-3".into()], vec!["channel".into()])
    );
    let (again, nothing) = fixed.clone().repaired();
    assert_eq!((again, nothing.len()), (fixed, 0));

    // Not only 429 is worth another try.
    for status in [500, 502, 503, 504] {
        let (hub, _) = client(vec![reply(status, "")]);
        assert!(hub.pipelines(&DEALS).await.unwrap_err().is_retryable(), "{status}");
    }
    assert_eq!(Entity::new("contacts"), CONTACTS);
}

/// The published vector whose body is no JSON: bytes are signed, not what they mean. And the same with a body that is.
#[test]
fn trap_21_what_is_signed_need_not_be_json() {
    let verifier = HubSpotVerifier::new("hubspot", Secrets::new("app", "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy").unwrap());
    let now = jiff::Timestamp::from_millisecond(1_693_657_560_000).unwrap();
    let vectors = [
        ("{'example_field':'example_value'}", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="),
        (r#"{"example_field":"example_value"}"#, "oaA3M5dEtt6kFsseJD/Hv/x+JNl1vsoxFj4oxmwP6Go="),
    ];
    for (at, (body, signature)) in vectors.into_iter().enumerate() {
        let headers = headers(&[("x-hubspot-signature-v3", signature), ("x-hubspot-request-timestamp", "1693657560000")]);
        let verify = |body: &str| {
            let request =
                RawRequest { method: &Method::POST, url: "https://www.example.com/webhook_uri", headers: &headers, body: body.as_bytes() };
            verifier.verify(&request, now).map(|verified| verified.receipt().scheme)
        };
        assert_eq!(verify(body).unwrap(), "hubspot_v3");
        assert!(verify(vectors[1 - at].0).is_err(), "the other body");
    }
}
