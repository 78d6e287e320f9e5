//! One test for each place where Pipedrive's two APIs differ, and for each caution of its documentation.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::field_reassign_with_default,
    reason = "a test may panic, and writes what it means"
)]

use crate::replay;

use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::{CrmAdapter, WriteOptions};
use crm_sync::error::{ErrorKind, Retry};
use crm_sync::host::Host;
use crm_sync::model::{Fields, RecordId};
use crm_sync::pipedrive::{Kind, ListQuery, NewSubscription, Pipedrive, PipedriveConfig, PipedriveSettings, Plan, entity};
use crm_sync::query::{Criteria, Query};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use replay::{Replay, Reply, reply};
use secrecy::SecretString;
use serde_json::{Value, json};

const KEY: &str = "0123456789abcdef0123456789abcdef01234567";
const SET: &str = "89abcdef0123456789abcdef0123456789abcdef";
const MONEY: &str = "fedcba9876543210fedcba9876543210fedcba98";
const LEAD: &str = "adf21080-0e10-11eb-879b-05d71fb426ec";

fn config() -> PipedriveConfig {
    PipedriveConfig::with_api_token("acme", SecretString::from("canary"))
}

fn over(config: PipedriveConfig, replies: Vec<Reply>) -> (Pipedrive, Arc<Replay>) {
    let replay = Replay::new(replies);
    let (host, clock) = Host::manual_with_clock(1);
    clock.set_wall("2026-11-24T09:00:00Z".parse().unwrap());
    (Pipedrive::new(config, Arc::clone(&replay) as _, host).unwrap(), replay)
}

fn client(replies: Vec<Reply>) -> (Pipedrive, Arc<Replay>) {
    over(config(), replies)
}

fn ok(data: Value) -> Reply {
    reply(200, json!({"success": true, "data": data}).to_string())
}

/// A description with a text, a set and an amount.
fn schema() -> Reply {
    let field = |code: &str, name: &str, kind: &str| {
        json!({"field_code": code, "field_name": name, "field_type": kind, "is_custom_field": true,
            "options": [{"id": 1, "label": "Hot"}, {"id": 2, "label": "Cold, wet"}]})
    };
    ok(json!([field(KEY, "Source", "varchar"), field(SET, "Tags", "set"), field(MONEY, "Budget", "monetary")]))
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

async fn created(kind: &crm_sync::model::Entity, value: Value, described: bool) -> Value {
    let mut replies = if described { vec![schema()] } else { Vec::new() };
    replies.push(ok(json!({"id": 7})));
    let (client, replay) = client(replies);
    client.create(kind, &fields(value), &WriteOptions::new()).await.unwrap();
    assert_eq!(replay.left(), 0);
    replay.seen().pop().unwrap().json()
}

async fn refused(kind: &crm_sync::model::Entity, value: Value) -> String {
    let (client, replay) = client(vec![schema(), schema()]);
    let error = client.create(kind, &fields(value), &WriteOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);
    assert!(replay.seen().iter().all(|seen| seen.line.starts_with("GET")), "nothing was sent");
    error.to_string()
}

// ---- credentials --------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_users_token_travels_in_its_header_alone() {
    let (client, replay) = client(vec![ok(json!({"id": 5, "company_domain": "acme"}))]);
    let identity = client.authenticate().await.unwrap();
    assert_eq!((identity.user.as_deref(), identity.account.as_deref()), (Some("5"), Some("acme")));
    let seen = replay.seen().remove(0);
    assert_eq!((seen.origin.as_str(), seen.line.as_str()), ("https://acme.pipedrive.com", "GET /v1/users/me"));
    assert_eq!((seen.header("x-api-token"), seen.header("authorization")), (Some("canary"), None));
    assert!(!format!("{client:?}").contains("canary"));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (client, replay) = client(vec![reply(302, "").header("location", "https://evil.example/")]);
    let error = client.me().await.unwrap_err();
    assert_eq!((error.kind(), replay.seen().len()), (ErrorKind::Config, 1));
}

#[tokio::test]
async fn oauth_asks_once_for_all_and_goes_where_the_token_says() {
    let token = |name: &str| {
        reply(
            200,
            json!({"access_token": name, "token_type": "Bearer", "expires_in": 3599, "refresh_token": "r", "scope": "base",
                "api_domain": "https://other.pipedrive.com"})
            .to_string(),
        )
    };
    let config = PipedriveConfig::with_refresh_token("app", SecretString::from("s"), SecretString::from("r"));
    let replies = vec![token("T1"), ok(json!({"id": 1})), ok(json!({"id": 1})), ok(json!({"id": 1}))];
    let (client, replay) = over(config.clone(), replies);
    for outcome in join_all((0..3).map(|_| client.me())).await {
        outcome.unwrap();
    }
    let seen = replay.seen();
    assert_eq!((seen[0].origin.as_str(), seen[0].line.as_str()), ("https://oauth.pipedrive.com", "POST /oauth/token"));
    assert!(seen[0].header("authorization").unwrap().starts_with("Basic ") && !seen[0].text.contains("client_secret"));
    assert!(seen[1..].iter().all(|seen| seen.origin == "https://other.pipedrive.com" && seen.header("authorization") == Some("Bearer T1")));
    assert!(seen[1..].iter().all(|seen| seen.header("x-api-token").is_none()));
    // An expired token is renewed once.
    let expired = reply(401, r#"{"success":false,"error":"unauthorized access","errorCode":401}"#);
    let (client, replay) = over(config.clone(), vec![token("T1"), expired, token("T2"), ok(json!({"id": 1}))]);
    client.me().await.unwrap();
    assert_eq!(replay.seen()[3].header("authorization"), Some("Bearer T2"));
    // A host that is not Pipedrive's gets no token.
    let evil = reply(200, json!({"access_token": "T", "api_domain": "https://pipedrive.com.evil.example"}).to_string());
    let (client, replay) = over(config, vec![evil]);
    assert_eq!((client.me().await.unwrap_err().kind(), replay.seen().len()), (ErrorKind::Decode, 1));
}

#[tokio::test]
async fn the_prefix_of_v1_can_be_chosen() {
    let mut config = config();
    config.v1_prefix = "/api/v1/".to_owned();
    let (client, replay) = over(config, vec![ok(json!(null)), ok(json!([]))]);
    client.notes().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap();
    client.persons().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(replay.lines(), ["GET /api/v1/notes", "GET /api/v2/persons"]);
}

// ---- envelopes and pages ------------------------------------------------------------------------------------------------

#[tokio::test]
async fn envelopes_of_both_versions() {
    let page = |more: Value| reply(200, json!({"success": true, "data": [{"id": 1}], "additional_data": more}).to_string());
    for (end, pages) in [(json!({"next_cursor": null}), 1), (json!({}), 1)] {
        let (client, _) = client(vec![page(end)]);
        assert_eq!(client.persons().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap().len(), pages);
    }
    let v1 = |more: bool| json!({"pagination": {"start": 0, "limit": 1, "more_items_in_collection": more, "next_start": 1}});
    let (one, replay) = client(vec![page(v1(true)), page(v1(false))]);
    let query = ListQuery::new().filter("deal_id", 3).limit(1);
    assert_eq!(one.notes().list(query).try_collect::<Vec<_>>().await.unwrap().len(), 2);
    assert_eq!(replay.lines()[1], "GET /v1/notes?deal_id=3&limit=1&start=1");
    // The same place again would never end.
    let same = || page(json!({"next_cursor": "c"}));
    let (one, _) = client(vec![same(), same()]);
    let error = one.persons().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    // Lists may be null; success may be missing; an explicit false is a failure.
    let (one, _) = client(vec![ok(json!(null)), reply(200, r#"{"data": {"id": 9}}"#), reply(200, r#"{"success": false, "error": "x"}"#)]);
    assert!(one.notes().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap().is_empty());
    assert_eq!(one.me().await.unwrap().id, Some(9));
    assert_eq!(one.me().await.unwrap_err().kind(), ErrorKind::Validation);
}

#[tokio::test]
async fn any_2xx_is_a_success_and_a_second_delete_too() {
    let made = |status| reply(status, json!({"success": true, "data": {"id": LEAD}}).to_string());
    let (client, replay) = client(vec![made(201), reply(200, r#"{"success":true,"data":{"id":1}}"#), reply(404, "{}"), reply(410, "{}")]);
    let written = client.create(&entity::LEADS, &fields(json!({"title": "x", "person_id": 1})), &WriteOptions::new()).await.unwrap();
    assert_eq!(written.id.as_str(), LEAD);
    for _ in 0..3 {
        client.delete(&entity::PERSONS, &RecordId::new("1"), &WriteOptions::new()).await.unwrap();
    }
    assert_eq!(replay.left(), 0);
}

#[tokio::test]
async fn the_deleted_are_kept_for_a_month_and_not_read() {
    let (client, _) = client(vec![ok(json!({"id": 1, "is_deleted": true})), ok(json!([{"id": 1, "is_deleted": true}, {"id": 2}]))]);
    assert_eq!(client.get(&entity::PERSONS, &RecordId::new("1"), &[]).await.unwrap(), None);
    assert_eq!(client.persons().by_ids(&[RecordId::new("1"), RecordId::new("2")]).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_a_list_answers_with_400_is_not_asked() {
    let (client, replay) = client(Vec::new());
    let since = ListQuery::new().updated_since("2026-01-01T00:00:00Z".parse().unwrap());
    assert!(client.stages().list(since.clone()).try_collect::<Vec<_>>().await.is_err());
    assert!(client.pipelines().list(since).try_collect::<Vec<_>>().await.is_err());
    let query = ListQuery::new().filter("email", "x@y.z");
    assert!(client.persons().list(query).try_collect::<Vec<_>>().await.is_err());
    assert!(replay.seen().is_empty());
}

// ---- bodies -------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn the_guides_person_in_the_words_of_v2() {
    let body = created(
        &entity::PERSONS,
        json!({"first_name": "Jane", "last_name": "Doe", "emails": ["jane@x.com"], "phones": "1", "org_id": "3", "visible_to": "3", "Source": "ads"}),
        true,
    )
    .await;
    let point = |value: &str| json!([{"value": value, "primary": true, "label": "work"}]);
    assert_eq!(
        body,
        json!({"name": "Jane Doe", "emails": point("jane@x.com"), "phones": point("1"), "org_id": 3, "visible_to": 3, "custom_fields": {KEY: "ads"}})
    );
    let message = refused(&entity::PERSONS, json!({"name": "x", "email": "y"})).await;
    assert!(message.contains("emails"), "{message}");
    assert!(refused(&entity::PERSONS, json!({"name": "x", "no such field": 1})).await.contains("no such field"));
    assert!(refused(&entity::PERSONS, json!({"name": "x", "update_time": "2026-01-01T00:00:00Z"})).await.contains("read-only"));
}

#[tokio::test]
async fn custom_fields_are_never_an_empty_object_and_a_set_never_an_empty_list() {
    let body = created(&entity::DEALS, json!({"title": "x"}), false).await;
    assert_eq!(body, json!({"title": "x"}));
    let body = created(&entity::DEALS, json!({"title": "x", SET: []}), true).await;
    assert_eq!(body, json!({"title": "x", "custom_fields": {SET: null}}));
    let body = created(&entity::DEALS, json!({"title": "x", "Tags": ["Hot", 2], MONEY: {"value": 1.5, "currency": "EUR"}}), true).await;
    assert_eq!(body["custom_fields"], json!({SET: [1, 2], MONEY: {"value": 1.5, "currency": "EUR"}}));
    // A label may hold a comma.
    let body = created(&entity::DEALS, json!({"title": "x", SET: "Cold, wet"}), true).await;
    assert_eq!(body["custom_fields"], json!({SET: [2]}));
    assert!(refused(&entity::DEALS, json!({"title": "x", SET: ["Warm"]})).await.contains("no option"));
    assert!(refused(&entity::DEALS, json!({"title": "x", MONEY: 5})).await.contains("currency"));
}

#[tokio::test]
async fn leads_are_flat_and_have_words_of_their_own() {
    let value = json!({"title": "x", "organization_id": 3, "visible_to": 3, "Source": "ads", MONEY: {"value": 2, "currency": "EUR"}, SET: ["Hot", "Cold, wet"]});
    let body = created(&entity::LEADS, value, true).await;
    let wanted = json!({"title": "x", "organization_id": 3, "visible_to": "3", KEY: "ads", MONEY: 2, format!("{MONEY}_currency"): "EUR", SET: "1,2"});
    assert_eq!(body, wanted);
    assert!(refused(&entity::LEADS, json!({"title": "x", "org_id": 3})).await.contains("organization_id"));
    let (client, _) = client(Vec::new());
    assert!(client.update(&entity::LEADS, &RecordId::new("7"), &fields(json!({"title": "x"})), &WriteOptions::new()).await.is_err());
}

#[tokio::test]
async fn notes_pin_with_numbers_and_are_put() {
    let body = created(
        &entity::NOTES,
        json!({"content": "x", "deal_id": 3, "pinned_to_deal_flag": true, "add_time": "2026-01-31T10:00:00Z"}),
        false,
    )
    .await;
    assert_eq!(body, json!({"content": "x", "deal_id": 3, "pinned_to_deal_flag": 1, "add_time": "2026-01-31 10:00:00"}));
    let (client, replay) = client(vec![ok(json!({"id": 7})), ok(json!({"id": 7}))]);
    let change = |kind: &crm_sync::model::Entity, value: Value| {
        let (client, kind, value) = (client.clone(), kind.clone(), fields(value));
        async move { client.update(&kind, &RecordId::new("7"), &value, &WriteOptions::new()).await.unwrap() }
    };
    change(&entity::NOTES, json!({"content": "y"})).await;
    change(&entity::DEALS, json!({"title": "y"})).await;
    assert_eq!(replay.lines(), ["PUT /v1/notes/7", "PATCH /api/v2/deals/7"]);
}

#[tokio::test]
async fn activities_link_persons_by_participants() {
    let body =
        created(&entity::ACTIVITIES, json!({"subject": "x", "done": 1, "participants": [{"person_id": 1, "primary": true}]}), false).await;
    assert_eq!(body, json!({"subject": "x", "done": true, "participants": [{"person_id": 1, "primary": true}]}));
    assert!(refused(&entity::ACTIVITIES, json!({"subject": "x", "person_id": 1})).await.contains("participants"));
    // They never have custom fields.
    assert!(refused(&entity::ACTIVITIES, json!({"subject": "x", KEY: 1})).await.contains("does not exist"));
}

#[tokio::test]
async fn won_and_lost_are_statuses() {
    let (client, replay) = client(vec![ok(json!({"id": 7})), ok(json!({"id": 7}))]);
    client.win(&RecordId::new("7")).await.unwrap();
    client.lose(&RecordId::new("7"), Some("price")).await.unwrap();
    let seen = replay.seen();
    assert_eq!((seen[0].json(), seen[1].json()), (json!({"status": "won"}), json!({"status": "lost", "lost_reason": "price"})));
}

#[tokio::test]
async fn an_address_is_written_with_its_whole_text() {
    let body = created(&entity::ORGANIZATIONS, json!({"name": "x", "address": "Main St 1"}), false).await;
    assert_eq!(body["address"], json!({"value": "Main St 1"}));
    let stored = json!({"value": "Main St 1", "locality": "Ghent", "country": null, "formatted_address": "Main St 1, Ghent"});
    let body = created(&entity::ORGANIZATIONS, json!({"name": "x", "address": stored}), false).await;
    assert_eq!(body["address"], json!({"value": "Main St 1", "locality": "Ghent"}));
    assert!(refused(&entity::ORGANIZATIONS, json!({"name": "x", "address": {"locality": "Ghent"}})).await.contains("value"));
}

#[tokio::test]
async fn names_are_answered_under_the_hosts_words() {
    let settings: PipedriveSettings = serde_json::from_value(json!({"customFields": {"person": {"utmSource": "Source"}}})).unwrap();
    let row = json!({"id": 1, "name": "x", "custom_fields": {KEY: "ads", "unknown": 1}});
    let (client, _) = over(config().settings(settings), vec![ok(row.clone()), schema(), ok(row)]);
    let select = ["name", "utmSource", "Budget", "unknown"].map(str::to_owned);
    let record = client.get(&entity::PERSONS, &RecordId::new("1"), &select).await.unwrap().unwrap();
    assert_eq!(record.fields.to_value(), json!({"name": "x", "utmSource": "ads", "Budget": null, "unknown": 1}));
    // Once known, the description is not read again.
    let record = client.get(&entity::PERSONS, &RecordId::new("1"), &[]).await.unwrap().unwrap();
    assert_eq!((record.fields.get(KEY), record.fields.get("utmSource")), (Some(&json!("ads")), Some(&json!("ads"))));
}

// ---- search -------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_hit_is_no_record() {
    let hit = json!({"items": [{"result_score": 0.9, "item": {"id": 1, "type": "person", "emails": ["a+b@x.com"]}}]});
    let whole = json!([{"id": 1, "name": "x", "emails": [{"value": "a+b@x.com", "primary": true}]}]);
    let (one, replay) = client(vec![ok(hit), ok(whole)]);
    let query = Query::new(entity::PERSONS).filter(Criteria::eq("emails", "a+b@x.com"));
    let page = one.search(&query).await.unwrap();
    assert_eq!(page.items[0].fields.text("name"), Some("x"));
    assert_eq!(
        replay.lines(),
        ["GET /api/v2/persons/search?term=a%2Bb%40x.com&fields=email&exact_match=true&limit=100", "GET /api/v2/persons?ids=1&limit=100"]
    );
    // One character is enough, none asks nothing.
    let (one, replay) = client(vec![ok(json!({"items": []}))]);
    assert!(one.search_exact(Kind::Person, "name", "x").await.unwrap().is_empty());
    assert!(one.search_exact(Kind::Person, "name", "  ").await.unwrap().is_empty());
    assert_eq!(replay.seen().len(), 1);
    assert_eq!(one.search_exact(Kind::Note, "content", "x").await.unwrap_err().kind(), ErrorKind::Unsupported);
}

/// The index finds parts of words, and what it finds may have changed since: the first hit is somebody else.
#[tokio::test]
async fn a_hit_is_compared_before_it_is_believed() {
    let hits = json!({"items": [{"item": {"id": 1, "emails": ["myself@x.com"]}}, {"item": {"id": 2, "emails": ["self@x.com"]}}]});
    let row = |id: u32, email: &str| json!({"id": id, "name": email, "emails": [{"value": email, "primary": true}]});
    let (one, replay) = client(vec![ok(hits), ok(json!([row(1, "myself@x.com"), row(2, "Self@x.com")]))]);
    let query = Query::new(entity::PERSONS).filter(Criteria::eq("emails", "self@x.com"));
    let page = one.search(&query).await.unwrap();
    assert_eq!(page.items.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), ["2"]);
    assert_eq!(replay.left(), 0);
}

// ---- limits -------------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_spent_day_is_not_asked_again() {
    let spent = reply(429, r#"{"success":false,"error":"Request over limit"}"#).header("x-daily-ratelimit-token-remaining", "0");
    let (client, replay) = client(vec![spent]);
    let error = client.me().await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::QuotaExhausted, Retry::Never));
    let error = client.create(&entity::DEALS, &fields(json!({"title": "x"})), &WriteOptions::new()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::QuotaExhausted && !error.may_have_applied());
    assert_eq!(replay.seen().len(), 1);
}

#[tokio::test]
async fn a_burst_names_its_wait_and_a_web_page_stops_all() {
    let busy = reply(429, "{}").header("x-ratelimit-reset", "1").header("x-daily-ratelimit-token-remaining", "9000");
    let (client, replay) = client(vec![busy, reply(403, "<html>Attention Required! | Cloudflare</html>"), ok(json!({"id": 1}))]);
    let error = client.me().await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(1))));
    assert_eq!(client.me().await.unwrap_err().code(), Some("BLOCKED"));
    assert_eq!(client.me().await.unwrap_err().retry(), Retry::Never);
    assert_eq!(replay.seen().len(), 2);
    client.resume();
    client.me().await.unwrap();
}

#[tokio::test]
async fn the_days_tokens_are_told() {
    let told = ok(json!({"id": 1})).header("x-daily-ratelimit-token-limit", "30000").header("x-daily-ratelimit-token-remaining", "29998");
    let (client, _) = over(config().plan(Plan::Growth, 2), vec![ok(json!({"id": 1})), told]);
    client.me().await.unwrap();
    let quota = client.quota().await.unwrap().unwrap();
    assert_eq!((quota.windows[0].max, quota.windows[0].used), (120_000, 2));
    client.me().await.unwrap();
    assert_eq!(client.quota().await.unwrap().unwrap().left(), Some(29_998));
    assert_eq!(client.usage().spent, 4);
}

#[tokio::test]
async fn only_a_create_without_an_answer_is_in_doubt() {
    let error = |status: u16| async move {
        let (client, _) = client(vec![reply(status, r#"{"success":false,"error":"x","code":"ERR_UNKNOWN"}"#)]);
        client.create(&entity::DEALS, &fields(json!({"title": "x"})), &WriteOptions::new()).await.unwrap_err()
    };
    assert!(error(500).await.may_have_applied() && error(503).await.may_have_applied());
    assert!(!error(400).await.may_have_applied() && !error(429).await.may_have_applied());
}

// ---- merge, versions, webhooks ------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_merge_names_the_survivor() {
    let (client, replay) = client(vec![ok(json!({"id": 50, "merge_what_id": 42})), ok(json!({"id": 42}))]);
    let (gone, stays) = (RecordId::new("42"), RecordId::new("50"));
    let merged = client.merge(Kind::Person, &gone, &stays).await.unwrap();
    assert_eq!((merged.survivor, merged.removed), (stays.clone(), gone.clone()));
    let seen = replay.seen().remove(0);
    assert_eq!((seen.line.as_str(), seen.json()), ("PUT /v1/persons/42/merge", json!({"merge_with_id": 50})));
    assert!(client.merge(Kind::Person, &gone, &stays).await.unwrap_err().may_have_applied());
    assert_eq!(client.merge(Kind::Note, &gone, &stays).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(client.merge(Kind::Deal, &gone, &gone).await.unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_version_is_looked_at_before_the_write() {
    let row = json!({"id": 7, "update_time": "2026-01-01T00:00:00Z"});
    let (client, replay) = client(vec![ok(row.clone()), ok(row.clone()), ok(row)]);
    let write = |version: &str| {
        let options = WriteOptions::new().if_version(version.into());
        let client = client.clone();
        async move { client.update(&entity::DEALS, &RecordId::new("7"), &fields(json!({"title": "x"})), &options).await }
    };
    assert_eq!(write("2025-01-01T00:00:00Z").await.unwrap_err().kind(), ErrorKind::Conflict);
    write("2026-01-01T00:00:00Z").await.unwrap();
    assert_eq!(replay.lines(), ["GET /api/v2/deals/7", "GET /api/v2/deals/7", "PATCH /api/v2/deals/7"]);
    assert!(!client.capabilities().update_with_version && !client.capabilities().search_read_your_writes);
}

#[tokio::test]
async fn a_webhook_is_made_once_and_its_password_never_shown() {
    let hook = json!({"id": 3, "name": "x", "event_action": "*", "event_object": "deal", "subscription_url": "https://host.example/hook",
        "version": "2.0", "is_active": 1, "http_auth_password": "canary"});
    let list = |rows: Value| reply(200, json!({"status": "ok", "success": true, "data": rows}).to_string());
    let (client, replay) = client(vec![
        list(json!([])),
        reply(201, json!({"status": "ok", "success": true, "data": hook}).to_string()),
        list(json!([hook])),
        list(json!([hook])),
    ]);
    let new = NewSubscription::new("x", "https://host.example/hook", Some(Kind::Deal), "user", SecretString::from("canary"));
    let (made, fresh) = client.ensure_subscription(&new).await.unwrap();
    assert!(fresh && made.active() && !format!("{made:?} {new:?}").contains("canary"));
    let body = replay.seen()[1].json();
    assert_eq!((&body["version"], &body["event_object"], &body["http_auth_password"]), (&json!("2.0"), &json!("deal"), &json!("canary")));
    let (known, fresh) = client.ensure_subscription(&new).await.unwrap();
    assert_eq!((known, fresh), (made, false));
    let page = client.search(&Query::new(Kind::Webhook.entity())).await.unwrap();
    assert!(!page.items[0].fields.to_value().to_string().contains("canary"));
    for url in ["http://host.example", "https://acme.pipedrive.com/x", "https://u:p@host.example", "host"] {
        let bad = NewSubscription::new("x", url, None, "user", SecretString::from("p"));
        assert_eq!(client.subscribe(&bad).await.unwrap_err().kind(), ErrorKind::Config, "{url}");
    }
}
