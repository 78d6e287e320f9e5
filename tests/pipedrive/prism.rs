//! The client's calls through a validating server that nobody here wrote: Prism, with a strict copy of Pipedrive's documents.
//!
//! The copy is made by `tests/pipedrive_specs.py`, which says what is corrected. Prism answers 422 to whatever the copy does not
//! allow, and the documents' examples to the rest.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::field_reassign_with_default,
    reason = "a test may panic, and writes what it means"
)]

use crate::npm;

use std::sync::Arc;

use crm_sync::adapter::{ChangeFeed, CrmAdapter, Since, WriteOptions};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::model::{Entity, Fields, RecordId};
use crm_sync::pipedrive::types::Resource;
use crm_sync::pipedrive::{Kind, ListQuery, NewSubscription, Pipedrive, PipedriveConfig, Records, entity};
use crm_sync::query::{Criteria, Query};
use futures_util::StreamExt;
use secrecy::SecretString;
use serde_json::{Value, json};

const PACKAGE: (&str, &str) = ("@stoplight/prism-cli", "5.16.0");
const LEAD: &str = "adf21080-0e10-11eb-879b-05d71fb426ec";

/// Unpacks the copy, takes a free port, and says where Prism listens once it does.
const SCRIPT: &str = r"
import { spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { readFileSync, writeFileSync, mkdtempSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
const file = join(mkdtempSync(join(tmpdir(), 'prism-')), 'strict.json');
writeFileSync(file, gunzipSync(readFileSync(process.env.CRM_SYNC_STRICT ?? STRICT)));
const probe = createServer();
probe.listen(0, '127.0.0.1', () => {
  const { port } = probe.address();
  probe.close(() => {
    const prism = spawn(process.execPath, ['node_modules/@stoplight/prism-cli/dist/index.js', 'mock', '--errors', '-h', '127.0.0.1', '-p', String(port), file]);
    process.on('exit', () => prism.kill());
    let told = false;
    prism.stdout.on('data', (chunk) => {
      if (!told && String(chunk).includes('listening')) { told = true; console.log(`http://127.0.0.1:${port}`); }
    });
    prism.on('exit', () => process.exit(1));
  });
});
";

fn prism() -> Option<npm::Server> {
    let dir = npm::package(PACKAGE.0, PACKAGE.1)?;
    let strict = format!("{}/tests/fixtures/pipedrive/strict.json.gz", env!("CARGO_MANIFEST_DIR"));
    Some(npm::Server::start(&dir, &format!("const STRICT = {};\n{SCRIPT}", json!(strict))))
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

async fn first<T: Resource>(records: Records<'_, T>, query: ListQuery) {
    // The examples go on for ever at the same place; one record is enough.
    let record = records.list(query).next().await.unwrap_or_else(|| panic!("{}: no example", T::KIND));
    record.unwrap_or_else(|error| panic!("{}: {error:?}", T::KIND));
}

#[tokio::test]
async fn what_the_client_sends_is_what_the_documents_allow() {
    let Some(server) = prism() else { return };
    let config = PipedriveConfig::with_api_token(&server.ready, SecretString::from("T"));
    let client = Pipedrive::new(config, Arc::new(ReqwestTransport::loopback().unwrap()), Host::tokio()).unwrap();

    // The server refuses what the API refuses: else the rest proves nothing.
    for (path, body) in [
        ("/api/v2/persons", json!({"name": "x", "email": "y"})),
        ("/api/v2/persons", json!({"name": 5})),
        ("/api/v2/deals", json!({"title": "x", "0123456789abcdef0123456789abcdef01234567": 1})),
        ("/api/v2/activities", json!({"subject": "x", "person_id": 1})),
        ("/v1/notes", json!({"content": "x", "pinned_to_deal_flag": true})),
    ] {
        let error = client.call(http::Method::POST, path, Some(&body), 0).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Validation, "{path} {body}");
    }
    let error = client.call(http::Method::GET, "/api/v2/persons?updated_since=2026-01-01T00:00:00.5Z", None, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Validation);

    let all = || ListQuery::new().limit(500);
    first(client.persons(), all().filter("org_id", 1).include(["next_activity_id", "notes_count"]).option_labels(true).sort("id", true))
        .await;
    first(client.organizations(), all().filter("owner_id", 1)).await;
    first(client.deals(), all().filter("status", "open,won,lost,deleted").filter("stage_id", 1)).await;
    first(client.activities(), all().filter("done", true).include(["attendees"])).await;
    first(client.products(), all()).await;
    first(client.pipelines(), all()).await;
    first(client.stages(), all().filter("pipeline_id", 1)).await;
    first(client.notes(), all().filter("deal_id", 1).filter("pinned_to_deal_flag", 1)).await;
    first(client.leads(), all().filter("organization_id", 1)).await;
    first(client.users(), ListQuery::new()).await;
    first(client.activity_types(), ListQuery::new()).await;
    first(client.lead_labels(), ListQuery::new()).await;
    assert!(client.authenticate().await.unwrap().user.is_some());

    // Everything that may be written, created and changed.
    let at = "2026-01-31T10:00:00.5+01:00";
    let person = json!({"name": "Jane Doe", "owner_id": "1", "org_id": 1, "emails": ["a@x.com", {"value": "b@x.com", "label": "home"}], "phones": [],
        "visible_to": "3", "label_ids": [1], "postal_address": "Main St 1", "notes": "x", "im": ["x"], "birthday": "2000-01-31",
        "job_title": null, "marketing_status": "no_consent"});
    let organization = json!({"name": "Acme", "owner_id": 1, "visible_to": 3, "label_ids": [1], "address": {"value": "Main St 1", "country": null},
        "website": "https://x.com", "linkedin": null, "industry": 1, "annual_revenue": 1, "employee_count": 1});
    let deal = json!({"title": "x", "owner_id": 1, "person_id": 1, "org_id": null, "pipeline_id": 1, "stage_id": 1, "value": "10.5", "currency": "EUR",
        "is_archived": false, "archive_time": at, "status": "lost", "probability": 50, "lost_reason": "x", "visible_to": 3, "close_time": at,
        "lost_time": at, "expected_close_date": "2026-01-31", "label_ids": [1]});
    let activity = json!({"subject": "x", "type": "call", "owner_id": 1, "deal_id": 1, "lead_id": LEAD, "org_id": 1, "project_id": 1,
        "due_date": "2026-01-31", "due_time": "10:00:00", "duration": "01:00", "busy": 0, "done": "1", "location": "Main St 1",
        "participants": [{"person_id": 1, "primary": true}], "public_description": "x", "priority": 1, "note": "x"});
    let product = json!({"name": "x", "code": "c", "description": "d", "unit": "u", "tax": 1, "category": 1, "owner_id": 1, "is_linkable": 1,
        "visible_to": 3, "prices": [{"currency": "EUR", "price": 1}], "billing_frequency": "monthly", "billing_frequency_cycles": 4});
    let stage = json!({"name": "x", "pipeline_id": 1, "deal_probability": 50, "is_deal_rot_enabled": true, "days_to_rotten": 5});
    let note = json!({"content": "x", "deal_id": 1, "person_id": 1, "org_id": 1, "lead_id": LEAD, "user_id": 1, "add_time": at,
        "pinned_to_deal_flag": true, "pinned_to_person_flag": false});
    let lead = json!({"title": "x", "owner_id": 1, "label_ids": [LEAD], "person_id": 1, "organization_id": 1, "value": {"amount": 1, "currency": "EUR"},
        "expected_close_date": "2026-01-31", "visible_to": 3, "was_seen": true, "channel": 1, "channel_id": "x"});
    for (entity, body) in [
        (entity::PERSONS, person),
        (entity::ORGANIZATIONS, organization),
        (entity::DEALS, deal),
        (entity::ACTIVITIES, activity),
        (entity::PRODUCTS, product),
        (entity::PIPELINES, json!({"name": "x", "is_deal_probability_enabled": 1})),
        (entity::STAGES, stage),
        (entity::NOTES, note),
        (entity::LEADS, lead),
        (entity::ACTIVITY_TYPES, json!({"name": "x", "icon_key": "call", "color": "FFFFFF"})),
        (entity::LEAD_LABELS, json!({"name": "x", "color": "red"})),
    ] {
        round(&client, &entity, &fields(body)).await;
    }

    // Searches, changes, descriptions, merges, webhooks.
    for (entity, field) in [
        (entity::PERSONS, "emails"),
        (entity::ORGANIZATIONS, "name"),
        (entity::DEALS, "title"),
        (entity::LEADS, "title"),
        (entity::PRODUCTS, "code"),
    ] {
        let query = Query::new(entity.clone()).filter(Criteria::eq(field, "a+b c"));
        client.search(&query).await.unwrap_or_else(|error| panic!("search {entity}: {error:?}"));
    }
    for entity in
        [entity::PERSONS, entity::ORGANIZATIONS, entity::DEALS, entity::ACTIVITIES, entity::PRODUCTS, entity::LEADS, entity::NOTES]
    {
        let mut feed = ChangeFeed::new(entity.clone(), Since::At("2026-01-01T00:00:00.9Z".parse().unwrap()));
        feed.deletes = entity == entity::DEALS;
        let page = client.changes(&feed).await.unwrap_or_else(|error| panic!("changes {entity}: {error:?}"));
        assert!(!page.items.is_empty(), "{entity}");
    }
    for kind in [Kind::Person, Kind::Organization, Kind::Deal] {
        // The survivor of the example is 1.
        let merged = client.merge(kind, &RecordId::new("7"), &RecordId::new("1")).await;
        assert!(merged.is_ok_and(|merged| merged.removed.as_str() == "7") || kind != Kind::Person, "{kind}");
    }
    for kind in [entity::NOTES, entity::PERSONS, entity::DEALS, entity::PRODUCTS, entity::ACTIVITIES] {
        client.describe(&kind).await.unwrap_or_else(|error| panic!("describe {kind}: {error:?}"));
    }
    let kinds = [Kind::Activity, Kind::Deal, Kind::Note, Kind::Organization, Kind::Person, Kind::Product, Kind::User];
    let since = Since::At(Host::tokio().now());
    assert!(!client.recents(&kinds, &since).await.unwrap().items.is_empty());
    let begun = client.convert_lead(&RecordId::new(LEAD), None).await.unwrap();
    client.conversion(&begun).await.unwrap();
    let begun = client.convert_deal(&RecordId::new("1")).await.unwrap();
    client.conversion(&begun).await.unwrap();
    let hook = NewSubscription::new("x", "https://host.example/hook", Some(Kind::Deal), "u", SecretString::from("p")).user_id(1);
    client.subscribe(&hook).await.unwrap();
    client.subscriptions().await.unwrap();
    assert!(client.unsubscribe(&RecordId::new("1")).await.unwrap());
}

async fn round(client: &Pipedrive, entity: &Entity, body: &Fields) {
    let options = WriteOptions::new();
    let id = RecordId::new(if matches!(entity.as_str(), "leads" | "leadLabels") { LEAD } else { "1" });
    client.create(entity, body, &options).await.unwrap_or_else(|error| panic!("create {entity}: {error:?}"));
    client.update(entity, &id, body, &options).await.unwrap_or_else(|error| panic!("update {entity}: {error:?}"));
    client.get(entity, &id, &[]).await.unwrap_or_else(|error| panic!("get {entity}: {error:?}"));
    client.delete(entity, &id, &options).await.unwrap_or_else(|error| panic!("delete {entity}: {error:?}"));
}
