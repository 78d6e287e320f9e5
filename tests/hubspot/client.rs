//! The HubSpot client against documented bodies: tokens, batches, associations, definitions, timeline, forms, journal.

#![cfg(feature = "hubspot")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::hubspot;

use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::{BulkOp, CrmAdapter, WriteOptions};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::hubspot::entity::{COMPANIES, CONTACTS, DEALS, NOTES};
use crm_sync::hubspot::{
    AppEvent, AssociationType, Engagement, FormSubmission, HubSpot, HubSpotConfig, HubSpotJournal, JournalSubscription, ObjectSchema,
    Pipeline, Property, Stage, TemplateEvent, Tie, Whose,
};
use crm_sync::model::{ChangeKind, ExternalKey, RecordId};
use crm_sync::store::{MemoryStore, Store};
use hubspot::{Replay, Reply, client, config, configured, fields, fixture, reply};
use serde_json::{Value, json};

fn id(text: &str) -> RecordId {
    RecordId::from(text)
}

fn results(rows: Value) -> Reply {
    let mut body = json!({"status": "COMPLETE", "startedAt": "2026-11-24T09:00:00Z", "completedAt": "2026-11-24T09:00:00Z"});
    body["results"] = rows;
    reply(200, body.to_string())
}

fn traced(id: &str, at: usize) -> Value {
    json!({"id": id, "objectWriteTraceId": format!("row-{at}"), "properties": {}})
}

#[tokio::test]
async fn refusals_of_the_token_endpoint_have_three_classes() {
    let cases = [
        (400, json!({"status": "BAD_REFRESH_TOKEN", "message": "missing or invalid refresh token"}), ErrorKind::Authentication, false),
        (
            400,
            json!({"status": "BAD_HUB", "error": "access_denied", "error_description": "missing or unknown hub id"}),
            ErrorKind::Authentication,
            false,
        ),
        (400, json!({"status": "BAD_AUTH_CODE", "message": "missing or unknown auth code"}), ErrorKind::Authentication, false),
        (400, json!({"status": "BAD_CLIENT_SECRET", "message": "x"}), ErrorKind::Config, false),
        (400, json!({"status": "BAD_CLIENT_ID", "error": "invalid_client"}), ErrorKind::Config, false),
        (400, json!({"status": "BAD_REDIRECT_URI"}), ErrorKind::Config, false),
        (429, json!({"policyName": "TEN_SECONDLY_ROLLING"}), ErrorKind::RateLimited, true),
        (503, json!({}), ErrorKind::Unavailable, true),
    ];
    for (status, body, kind, retry) in cases {
        let replay = Replay::new(vec![reply(status, body.to_string())]);
        let config = HubSpotConfig::with_refresh_token("C", "S".to_owned().into(), "R".to_owned().into());
        let oauth = config.oauth(Arc::clone(&replay) as _, Host::manual(1)).unwrap();
        let error = oauth.refresh(&"R".to_owned().into()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (kind, retry), "{body}");
    }
    let config = HubSpotConfig::with_refresh_token("C", "S".to_owned().into(), "R".to_owned().into());
    let oauth = config.oauth(Replay::new(vec![]), Host::manual(1)).unwrap();
    let url = oauth.authorize("https://a.test/cb", &["oauth", "crm.objects.contacts.read"], &[("optional_scope", "forms")]).unwrap().url;
    let text = url.as_str();
    assert!(text.starts_with("https://app.hubspot.com/oauth/authorize?"), "{text}");
    for part in ["client_id=C", "scope=oauth+crm.objects.contacts.read", "optional_scope=forms", "code_challenge_method=S256", "state="] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn a_bulk_call_keeps_the_order_of_each_record_and_gives_every_outcome() {
    let ops = vec![
        BulkOp::Update { id: id("1"), fields: fields(json!({"x": 1})) },
        BulkOp::Delete { id: id("2") },
        BulkOp::Update { id: id("1"), fields: fields(json!({"x": 2})) },
        BulkOp::Create { fields: fields(json!({"x": {"an": "object"}})) },
        BulkOp::Upsert { key: ExternalKey::new("k", "A").unwrap(), fields: fields(json!({"x": 3})) },
        BulkOp::Upsert { key: ExternalKey::new("hs_object_id", "1").unwrap(), fields: fields(json!({"x": 4})) },
    ];
    let replies = vec![
        results(json!([traced("1", 0)])),
        reply(204, ""),
        results(json!([traced("1", 0)])),
        results(json!([{"id": "9", "new": true, "objectWriteTraceId": "row-0", "properties": {}}])),
        results(json!([traced("1", 0)])),
    ];
    let (client, replay) = client(replies);
    let outcomes = client.bulk(&DEALS, &ops, &WriteOptions::new()).await.unwrap();
    let ok: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, true, true, false, true, true]);
    assert_eq!(outcomes[4].as_ref().unwrap().created, Some(true));
    let order: Vec<String> = replay
        .seen()
        .iter()
        .filter(|seen| seen.text.contains("\"1\"") || seen.text.contains("\"id\":\"1\""))
        .map(|seen| seen.json()["inputs"][0]["properties"]["x"].to_string())
        .collect();
    assert_eq!(order, ["\"1\"", "\"2\"", "\"4\""], "one record, in order");
}

#[tokio::test]
async fn upserts_by_email_read_then_write_and_lose_nothing() {
    let upsert = |email: &str| BulkOp::Upsert { key: ExternalKey::new("email", email).unwrap(), fields: fields(json!({"city": email})) };
    let known = json!([{"id": "5", "properties": {"email": "main@b.test", "hs_additional_emails": "old@b.test;Other@b.test"}}]);
    let conflict = json!({"results": [], "errors": [{"category": "CONFLICT", "message": "Contact already exists. Existing ID: 77",
        "context": {"objectWriteTraceId": ["row-1"]}}]});
    let replies = vec![
        results(known),
        results(json!([traced("5", 0)])),
        reply(207, json!({"results": [traced("6", 0)], "errors": conflict["errors"]}).to_string()),
        reply(200, json!({"id": "77", "properties": {}}).to_string()),
    ];
    let (client, replay) = client(replies);
    let ops = [upsert("OTHER@b.test"), upsert("new@b.test"), upsert("raced@b.test")];
    let outcomes = client.bulk(&CONTACTS, &ops, &WriteOptions::new()).await.unwrap();
    let got: Vec<(String, Option<bool>)> =
        outcomes.iter().map(|outcome| outcome.as_ref().unwrap()).map(|done| (done.id.to_string(), done.created)).collect();
    assert_eq!(got, [("5".into(), Some(false)), ("6".into(), Some(true)), ("77".into(), Some(false))]);
    let verbs: Vec<String> = replay.lines().iter().map(|line| line.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(verbs, ["read", "update", "create", "77"]);
    assert_eq!(replay.seen()[2].json()["inputs"][0]["properties"], json!({"city": "new@b.test", "email": "new@b.test"}));
}

#[tokio::test]
async fn associations_are_read_and_written_in_batches() {
    let pages = [
        json!({"results": [{"from": {"id": "1"}, "to": [{"toObjectId": 9, "associationTypes": [{"category": "HUBSPOT_DEFINED", "typeId": 279, "label": null}]},
            {"toObjectId": "9", "associationTypes": [{"category": "USER_DEFINED", "typeId": 37, "label": "Buyer"}]}], "paging": {"next": {"after": "a1"}}}],
            "numErrors": 1, "errors": [{"category": "OBJECT_NOT_FOUND", "message": "No company is associated with contact 2."}]}),
        json!({"results": [{"from": {"id": "1"}, "to": [{"toObjectId": 10, "associationTypes": []}]}]}),
    ];
    let (hub, replay) = client(vec![reply(207, pages[0].to_string()), reply(200, pages[1].to_string())]);
    let found = hub.associated_many(&CONTACTS, &[id("1"), id("2")], &COMPANIES).await.unwrap();
    let first: Vec<(&str, usize)> = found[&id("1")].iter().map(|other| (other.id.as_str(), other.types.len())).collect();
    assert_eq!((first, found.contains_key(&id("2"))), (vec![("9", 2), ("10", 0)], false));
    assert_eq!(replay.seen()[1].json(), json!({"inputs": [{"id": "1", "after": "a1"}]}));

    let failed = json!({"results": [], "numErrors": 1, "errors": [{"category": "VALIDATION_ERROR", "message": "no"}]});
    let (hub, replay) = client(vec![reply(201, "{}"), reply(201, failed.to_string()), reply(204, "")]);
    let ties = [Tie::new("1", "9", vec![AssociationType::user(37)])];
    hub.tie_all(&CONTACTS, &COMPANIES, &ties).await.unwrap();
    assert_eq!(hub.tie_all(&CONTACTS, &COMPANIES, &ties).await.unwrap_err().kind(), ErrorKind::Validation, "inside a 201");
    hub.remove_labels(&CONTACTS, &COMPANIES, &ties).await.unwrap();
    let primary = [Tie::new("1", "9", vec![AssociationType::hubspot(1)])];
    assert_eq!(hub.tie_all(&CONTACTS, &COMPANIES, &primary).await.unwrap_err().kind(), ErrorKind::Config);
    let input =
        json!({"from": {"id": "1"}, "to": {"id": "9"}, "types": [{"associationCategory": "USER_DEFINED", "associationTypeId": 37}]});
    assert_eq!(replay.seen()[0].json(), json!({"inputs": [input]}));
}

fn schema() -> ObjectSchema {
    let guide: ObjectSchema = serde_json::from_str(&fixture("guide_campaign.json")).unwrap();
    guide.repaired().0
}

#[tokio::test]
async fn a_custom_object_is_made_once_and_then_brought_up() {
    let made = json!({"objectTypeId": "2-77", "name": "marketing_campaigns", "fullyQualifiedName": "p33_marketing_campaigns"});
    let (hub, replay) = client(vec![reply(200, json!({"results": []}).to_string()), reply(201, made.to_string())]);
    let done = hub.ensure_object(&schema()).await.unwrap();
    assert_eq!((done.created, done.object_type_id.as_str()), (true, "2-77"));
    let sent = replay.seen()[1].json();
    assert_eq!((sent["associatedObjects"].clone(), sent["properties"][2]["fieldType"].clone()), (json!(["0-1", "0-3"]), json!("select")));

    // There, with an option, a property and a list entry missing.
    let mut there = serde_json::to_value(schema()).unwrap();
    there["objectTypeId"] = json!("2-77");
    there["searchableProperties"] = json!(["campaign_name"]);
    let mut properties = there["properties"].clone();
    properties[2]["options"].as_array_mut().unwrap().pop();
    properties.as_array_mut().unwrap().pop();
    properties.as_array_mut().unwrap().iter_mut().for_each(|property| property["groupName"] = json!("campaign_info"));
    let replies = vec![
        reply(200, json!({ "results": [there] }).to_string()),
        reply(200, json!({ "results": properties }).to_string()),
        reply(200, "{}"),
        reply(201, "{}"),
        reply(200, "{}"),
    ];
    let (hub, replay) = client(replies);
    let done = hub.ensure_object(&schema()).await.unwrap();
    assert_eq!((done.created, done.properties, done.lists), (false, vec!["channel".to_owned(), "roi".to_owned()], true));
    let lines = replay.lines();
    assert_eq!(
        lines[2..],
        [
            "PATCH /crm/properties/2026-03/2-77/channel",
            "POST /crm/properties/2026-03/2-77",
            "PATCH /crm-object-schemas/2026-03/schemas/2-77"
        ]
    );
    assert_eq!(replay.seen()[2].json()["options"].as_array().unwrap().len(), 3, "all of them: the list is replaced");
    assert_eq!(replay.seen()[3].json()["groupName"], "campaign_info");
    assert_eq!(replay.seen()[4].json(), json!({"searchableProperties": ["campaign_name", "campaign_id"]}));

    // There as wanted: two reads and nothing else.
    let mut whole = serde_json::to_value(schema()).unwrap();
    whole["objectTypeId"] = json!("2-77");
    let properties = json!({ "results": whole["properties"] });
    let (hub, replay) = client(vec![reply(200, json!({ "results": [whole] }).to_string()), reply(200, properties.to_string())]);
    let done = hub.ensure_object(&schema()).await.unwrap();
    assert_eq!((done.properties.len(), done.lists, replay.left()), (0, false, 0));
}

#[tokio::test]
async fn properties_are_checked_and_made_once() {
    let good = || Property::new("lead_source", "Source", "enumeration", "select", "g").option("Web", "web").option("Fair", "fair");
    for (bad, name) in [
        (Property::new("Lead", "x", "string", "text", "g"), "capital letter"),
        (Property::new("a", "x", "enumeration", "text", "g"), "field type"),
        (Property::new("a", "x", "enumeration", "select", "g"), "no options"),
        (Property::new("a", "", "string", "text", "g"), "no label"),
    ] {
        let (hub, replay) = client(vec![]);
        assert_eq!(hub.ensure_property(&DEALS, &bad).await.unwrap_err().kind(), ErrorKind::Config, "{name}");
        assert!(replay.seen().is_empty());
    }
    let there = serde_json::to_string(&good()).unwrap();
    let (hub, _) = client(vec![reply(200, there.clone())]);
    assert!(!hub.ensure_property(&DEALS, &good()).await.unwrap());
    // Two at once: the other one was faster.
    let (hub, _) =
        client(vec![reply(404, fixture("not_found.json")), reply(409, r#"{"category":"OBJECT_ALREADY_EXISTS"}"#), reply(200, there)]);
    assert!(!hub.ensure_property(&DEALS, &good()).await.unwrap());
    let other = json!({"name": "lead_source", "type": "string", "fieldType": "text"}).to_string();
    let (hub, _) = client(vec![reply(200, other)]);
    assert_eq!(hub.ensure_property(&DEALS, &good()).await.unwrap_err().kind(), ErrorKind::Config, "another type cannot be changed");
}

#[tokio::test]
async fn a_pipeline_gets_the_stages_it_lacks() {
    let there = json!({"results": [{"id": "default", "label": "Sales", "displayOrder": 0, "archived": false,
        "stages": [{"id": "17", "label": "new", "displayOrder": 4, "metadata": {"probability": "0.1"}}]}]});
    let made = json!({"id": "18", "label": "Won", "displayOrder": 5, "metadata": {"probability": "1.0"}});
    let (hub, replay) = client(vec![reply(200, there.to_string()), reply(201, made.to_string())]);
    let wanted = Pipeline::new("Sales", [Stage::deal("New", 1), Stage::deal("Won", 10)]);
    let now = hub.ensure_pipeline(&DEALS, &wanted).await.unwrap();
    assert_eq!((now.stage("Won").unwrap().id.as_str(), now.stages.len()), ("18", 2));
    assert_eq!(replay.seen()[1].line, "POST /crm/pipelines/2026-03/deals/default/stages");
    assert_eq!(replay.seen()[1].json(), json!({"label": "Won", "displayOrder": 5, "metadata": {"probability": "1.0"}}));
}

#[tokio::test]
async fn events_are_told_once() {
    let told = || reply(409, r#"{"status":"error","category":"CONFLICT","message":"already exists"}"#);
    let (hub, replay) = client(vec![reply(201, "{}"), told(), reply(201, "{}"), reply(200, "{}"), told()]);
    let event = TemplateEvent::new("1001", "e1", Whose::Email("a@b.test".into())).token("openCount", 2);
    assert!(hub.tell(&event).await.unwrap());
    assert!(!hub.tell(&event).await.unwrap());
    let event = AppEvent::new("app_opened", "e1", Whose::Record(id("7"))).property("openCount", 2);
    assert!(hub.tell_app_event(&event).await.unwrap());
    assert!(!hub.tell_app_event(&event).await.unwrap(), "200 says that it was told before");
    assert!(!hub.tell_app_event(&event).await.unwrap());
    let lines = replay.lines();
    assert_eq!(
        (lines[0].as_str(), lines[2].as_str()),
        ("POST /integrators/timeline/v3/events", "POST /integrators/timeline/2026-03/events")
    );
}

#[tokio::test]
async fn a_marked_engagement_can_be_logged_again() {
    let row = json!([{"id": "5", "new": true, "objectWriteTraceId": "row-0", "properties": {"mark": "e1"}}]);
    let (hub, replay) = client(vec![results(row), reply(200, "{}")]);
    let note = Engagement::note("Hi", "2026-11-24T09:00:00Z".parse().unwrap()).about(CONTACTS, "7").mark("mark", "e1");
    assert_eq!(hub.log(&note).await.unwrap().id, "5");
    assert_eq!(
        replay.lines(),
        ["POST /crm/objects/2026-03/notes/batch/upsert", "PUT /crm/objects/2026-03/notes/5/associations/default/contacts/7"]
    );
    let (hub, replay) = client(vec![reply(201, json!({"id": "6", "properties": {}}).to_string())]);
    hub.log(&Engagement::note("Hi", "2026-11-24T09:00:00Z".parse().unwrap()).about(CONTACTS, "7")).await.unwrap();
    let ties = replay.seen()[0].json()["associations"].clone();
    assert_eq!(ties, json!([{"to": {"id": "7"}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 202}]}]));
    assert_eq!(NOTES.as_str(), "notes");
}

#[tokio::test]
async fn forms_go_to_their_own_host_with_a_token_or_without() {
    let form = FormSubmission::new("g-1").field("email", "A@b.test").at("2026-11-24T08:00:00Z".parse().unwrap());
    let ok = || reply(200, r#"{"inlineMessage":"Thanks"}"#);
    let (hub, replay) = client(vec![ok(), ok()]);
    hub.submit_form(&form, false).await.unwrap();
    hub.submit_form(&form, true).await.unwrap();
    let seen = replay.seen();
    assert_eq!(seen[0].line, "POST /submissions/v3/integration/submit/33/g-1");
    assert_eq!(seen[1].line, "POST /submissions/v3/integration/secure/submit/33/g-1");
    assert!(seen.iter().all(|seen| seen.origin == "https://api.hsforms.com"));
    assert_eq!((seen[0].header("authorization"), seen[1].header("authorization")), (None, Some("Bearer pat-eu1-T")));

    let refused = json!({"status": "error", "message": "The request is not valid", "correlationId": "c",
        "errors": [{"message": "Error in 'fields.email'. Invalid email address", "errorType": "INVALID_EMAIL"}]});
    let (hub, replay) = client(vec![reply(400, refused.to_string()), reply(429, "error code: 1015")]);
    let error = hub.submit_form(&form, false).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.fields()[0].field.as_str(), error.fields()[0].code.as_deref()),
        (ErrorKind::Validation, "email", Some("INVALID_EMAIL"))
    );
    let error = hub.submit_form(&form, false).await.unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(10))));
    assert_eq!(replay.left(), 0);
    let (hub, _) = configured(HubSpotConfig::with_access_token("T".to_owned().into()), vec![]);
    assert_eq!(hub.submit_form(&form, false).await.unwrap_err().kind(), ErrorKind::Config, "whose account?");
}

#[tokio::test]
async fn a_form_is_submitted_once() {
    let at = 1_795_507_200_000_i64;
    let form = FormSubmission::new("g-1").field("email", "A@b.test").at(jiff::Timestamp::from_millisecond(at).unwrap());
    let entry = |at: i64, email: &str| json!({"submittedAt": at, "values": [{"name": "email", "value": email, "objectTypeId": "0-1"}]});
    let page = |rows: Vec<Value>, next: Option<&str>| {
        let mut page = json!({ "results": rows });
        if let Some(next) = next {
            page["paging"] = json!({"next": {"after": next}});
        }
        reply(200, page.to_string())
    };
    let (hub, replay) = client(vec![page(vec![entry(at + 9, "x@b.test")], Some("p2")), page(vec![entry(at, "a@b.test")], None)]);
    assert!(!hub.submit_once(&form, true).await.unwrap());
    assert_eq!(replay.lines()[1], "GET /form-integrations/v1/submissions/forms/g-1?limit=50&after=p2");
    let (hub, _) = client(vec![page(vec![entry(at, "other@b.test"), entry(at - 5, "a@b.test")], None), reply(200, "{}")]);
    assert!(hub.submit_once(&form, true).await.unwrap(), "another person, another moment");
    let nameless = FormSubmission::new("g-1").field("city", "Oslo");
    assert_eq!(hub.submit_once(&nameless, true).await.unwrap_err().kind(), ErrorKind::Config);
}

fn journal(replies: Vec<Reply>) -> (HubSpotJournal, Arc<Replay>) {
    let token = json!({"access_token": "APP", "expires_in": 1800, "token_type": "bearer"}).to_string();
    let replay = Replay::new(std::iter::once(reply(200, token)).chain(replies).collect());
    let config: HubSpotConfig = serde_json::from_value(json!({"clientId": "C", "clientSecret": "S"})).unwrap();
    (HubSpotJournal::new(config, Arc::clone(&replay) as _, Host::manual(1)).unwrap(), replay)
}

#[tokio::test]
async fn the_journal_is_read_from_offset_to_offset() {
    let fetch = |offset: &str| {
        json!({"url": "https://files.test/j?sig=1", "expiresAt": "2026-11-24T09:05:00Z", "currentOffset": offset}).to_string()
    };
    let (journal, replay) = journal(vec![reply(200, fetch("o1")), reply(200, fixture("journal_file.json")), reply(204, "")]);
    let page = journal.next(None).await.unwrap().unwrap();
    assert_eq!(page.offset, "o1");
    let changes = page.changes(Some(33));
    let told: Vec<(&str, &str, ChangeKind)> =
        changes.iter().map(|change| (change.entity.as_str(), change.id.as_str(), change.kind)).collect();
    let wanted = [("contacts", "123", ChangeKind::Updated), ("2-77", "5", ChangeKind::Created), ("contacts", "124", ChangeKind::Deleted)];
    assert_eq!(told, wanted);
    assert_eq!(changes[0].fields.text("email"), Some("new@b.test"));
    assert_eq!(page.changes(None).len(), 4, "another account's too");
    assert!(journal.next(Some(&page.offset)).await.unwrap().is_none(), "nothing new");
    let seen = replay.seen();
    assert!(
        seen[0].text.contains("grant_type=client_credentials") && seen[0].text.contains("scope=developer.webhooks_journal.read+"),
        "{}",
        seen[0].text
    );
    assert_eq!(seen[1].line, "GET /webhooks-journal/journal/2026-03/earliest");
    assert_eq!(
        (seen[2].origin.as_str(), seen[2].header("authorization")),
        ("https://files.test", None),
        "no credential leaves for the file"
    );
    assert_eq!(seen[3].line, "GET /webhooks-journal/journal/2026-03/offset/o1/next");
}

#[tokio::test]
async fn the_journals_offset_moves_with_what_was_done() {
    let page = |offset: &str| {
        let fetch = json!({"url": "https://files.test/j", "expiresAt": "x", "currentOffset": offset});
        [reply(200, fetch.to_string()), reply(200, fixture("journal_file.json"))]
    };
    let replies = ["o1", "o1", "o2"].into_iter().flat_map(page).chain([reply(204, "")]).collect();
    let (journal, replay) = journal(replies);
    let store = MemoryStore::new(Host::manual(1));
    let (_, lost) = journal.follow(&store, "hubspot").await.unwrap().unwrap();
    let (page, batch) = journal.follow(&store, "hubspot").await.unwrap().unwrap();
    assert_eq!(page.offset, "o1", "read again: nothing was committed");
    store.commit(batch).await.unwrap();
    assert_eq!(store.commit(lost).await.unwrap_err().kind(), ErrorKind::Conflict, "one reader moves it");
    let (page, batch) = journal.follow(&store, "hubspot").await.unwrap().unwrap();
    assert_eq!(page.offset, "o2");
    store.commit(batch).await.unwrap();
    assert!(journal.follow(&store, "hubspot").await.unwrap().is_none());
    let read: Vec<String> = replay.lines().into_iter().filter(|line| line.contains("/webhooks-journal/")).collect();
    let wanted =
        ["earliest", "earliest", "offset/o1/next", "offset/o2/next"].map(|end| format!("GET /webhooks-journal/journal/2026-03/{end}"));
    assert_eq!(read, wanted);
}

#[tokio::test]
async fn the_journal_says_what_failed() {
    let fetch = |url: &str| reply(200, json!({"url": url, "expiresAt": "x", "currentOffset": "o1"}).to_string());
    let (journal_, _) = journal(vec![
        fetch("https://files.test/j"),
        reply(403, "expired"),
        fetch("http://files.test/j"),
        reply(404, fixture("not_found.json")),
    ]);
    let error = journal_.next(None).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "another address is given for the asking");
    assert_eq!(journal_.next(None).await.unwrap_err().kind(), ErrorKind::Decode, "not over a bare line");
    assert_eq!(journal_.next(Some("old")).await.unwrap_err().kind(), ErrorKind::NotFound, "three days have passed");

    let known = json!({"results": [{"id": 4, "portalId": 33, "subscriptionType": "OBJECT", "objectTypeId": "0-1",
        "actions": ["CREATE", "UPDATE", "DELETE", "MERGE", "RESTORE"], "properties": ["email", "city"]}]});
    let (journal, replay) =
        journal(vec![reply(200, known.to_string()), reply(200, known.to_string()), reply(200, json!({"id": 5}).to_string())]);
    assert!(!journal.ensure_subscription(&JournalSubscription::object(33, "0-1", ["email"])).await.unwrap());
    assert!(journal.ensure_subscription(&JournalSubscription::object(33, "0-1", ["phone"])).await.unwrap());
    assert_eq!(replay.seen()[3].json()["subscriptionType"], "OBJECT");
}

#[tokio::test]
async fn allowances_are_told_by_the_headers() {
    let page = || reply(200, r#"{"results":[]}"#);
    let first = page()
        .header("x-hubspot-ratelimit-max", "190")
        .header("x-hubspot-ratelimit-remaining", "3")
        .header("x-hubspot-ratelimit-interval-milliseconds", "10000")
        .header("x-hubspot-ratelimit-daily", "250000")
        .header("x-hubspot-ratelimit-daily-remaining", "249970");
    let (hub, _) = client(vec![first]);
    assert!(hub.quota().await.unwrap().is_none());
    hub.pipelines(&DEALS).await.unwrap();
    let quota = hub.quota().await.unwrap().unwrap();
    let windows: Vec<(&str, u64, u64)> = quota.windows.iter().map(|window| (window.name.as_str(), window.max, window.left())).collect();
    assert_eq!(windows, [("ten_secondly_rolling", 190, 3), ("daily", 250_000, 249_970)]);
    assert_eq!(hub.clone().quota().await.unwrap().unwrap().left(), Some(3), "clones share it");
}

#[tokio::test]
async fn a_scope_that_is_missing_is_named() {
    let body = json!({"status": "error", "category": "MISSING_SCOPES", "message": "x", "correlationId": "c",
        "errors": [{"message": "x", "context": {"requiredGranularScopes": ["crm.objects.deals.read", "crm.objects.deals.write"]}}]});
    let (hub, _) = client(vec![reply(403, body.to_string())]);
    let error = HubSpot::create(&hub, &DEALS, &fields(json!({"dealname": "x"}))).await.unwrap_err();
    assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Permission, "crm.objects.deals.read"));
    assert!(config().access_token.is_some());
}
