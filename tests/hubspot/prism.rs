//! The client's requests through a validating server that nobody here wrote (Prism), over HubSpot's API as OpenAPI: each request
//! is one the API declares, and each declared answer is one the client reads.
//!
//! Skipped with a printed reason where node or npm is missing; with `CI=1` that is a failure.

#![cfg(all(feature = "hubspot", feature = "reqwest"))]
#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::npm;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::adapter::{BulkOp, ChangeFeed, CrmAdapter, Since, WriteOptions};
use crm_sync::host::Host;
use crm_sync::http::{Body, HttpError, HttpTransport, ReqwestTransport};
use crm_sync::hubspot::entity::{CALLS, COMPANIES, CONTACTS, DEALS, NOTES, TICKETS};
use crm_sync::hubspot::{
    ApiVersion, AppEvent, AssociationType, EmailDirection, Engagement, EventTemplate, HubSpot, HubSpotConfig, HubSpotJournal,
    HubSpotTemplates, JournalCondition, JournalSubscription, NewAssociation, ObjectSchema, Pipeline, Property, ReadOptions, Stage,
    TemplateEvent, TemplateToken, Tie, Whose,
};
use crm_sync::model::{Entity, ExternalKey, Fields, RecordId};
use crm_sync::query::{Criteria, Query};
use serde_json::{Value, json};

const SCRIPT: &str = r"
import { createRequire } from 'module';
import fs from 'fs';
const require = createRequire(process.cwd() + '/here.js');
const { getHttpOperationsFromSpec } = require('@stoplight/prism-http');
const { createServer } = require('@stoplight/prism-http-server');
const { createLogger } = require('@stoplight/prism-core');
const dir = DIRECTORY;
let operations = [];
for (const file of fs.readdirSync(dir).filter(name => name.endsWith('.json'))) {
    const text = fs.readFileSync(dir + '/' + file, 'utf8');
    // For what is checked here, the version of September differs in its paths alone.
    for (const version of file.includes('2026-03') && !file.includes('app-events') ? ['2026-03', '2026-09'] : ['2026-03']) {
        operations = operations.concat(await getHttpOperationsFromSpec(JSON.parse(text.replaceAll('2026-03', version))));
    }
}
const config = { isProxy: false, validateRequest: true, validateResponse: true, checkSecurity: true, errors: true,
    upstreamProxy: undefined, mock: { dynamic: false, ignoreExamples: false } };
const server = createServer(operations, { cors: false, config, components: { logger: createLogger('x', { level: 'silent' }) } });
console.log(await server.listen(0, '127.0.0.1'));
";

const VERSIONS: &[ApiVersion] = &[ApiVersion::V2026_03, ApiVersion::V2026_09, ApiVersion::V3];

/// An answer that is made up may say nothing of what was asked: what counts is the request.
fn asked<T>(_: crm_sync::error::Result<T>) {}

/// Passes on, and notes what was refused.
#[derive(Debug)]
struct Noting {
    inner: ReqwestTransport,
    base: String,
    sent: Mutex<Vec<String>>,
    refused: Mutex<Vec<String>>,
}

#[async_trait]
impl HttpTransport for Noting {
    async fn send(&self, mut request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        if request.uri().host() != Some("127.0.0.1") {
            // A journal's file: the address in a made-up answer is made up too.
            let file = json!({"offset": "o", "publishedAt": "2026-11-24T09:00:00Z", "journalEvents": []}).to_string();
            return Ok(http::Response::new(Body::from_bytes(file)));
        }
        let line = format!("{} {}", request.method(), request.uri().path_and_query().unwrap());
        let body = String::from_utf8_lossy(request.body()).into_owned();
        let target = format!("{}{}", self.base, request.uri().path_and_query().unwrap());
        *request.uri_mut() = target.parse().unwrap();
        let answer = self.inner.send(request).await?;
        self.sent.lock().unwrap().push(line.clone());
        if !answer.status().is_success() || answer.headers().contains_key("sl-violations") {
            let why = answer.headers().get("sl-violations").map(|why| String::from_utf8_lossy(why.as_bytes()).into_owned());
            let refusal = format!("{} for {line} {body}: {}", answer.status(), why.unwrap_or_default());
            self.refused.lock().unwrap().push(refusal);
        }
        Ok(answer)
    }
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn id(text: &str) -> RecordId {
    RecordId::from(text)
}

fn some() -> Fields {
    fields(json!({"name": "Acme", "employees": 5, "gone": null}))
}

fn at() -> jiff::Timestamp {
    "2026-11-24T09:00:00Z".parse().unwrap()
}

async fn records(client: &HubSpot) {
    client.describe(&DEALS).await.unwrap();
    HubSpot::create(client, &COMPANIES, &some()).await.unwrap();
    let tie = NewAssociation::plain(&CONTACTS, &COMPANIES, "9").unwrap();
    client.create_associated(&CONTACTS, &some(), &[tie]).await.unwrap();
    client.update(&DEALS, None, "7", &some()).await.unwrap();
    client.update(&CONTACTS, Some("email"), "a+b@c.test", &some()).await.unwrap();
    client.archive(&TICKETS, &id("7")).await.unwrap();
    let all = ReadOptions::new().properties(["name", "domain"]).history(["name"]).associations(["contacts"]).archived(true);
    client.read(&COMPANIES, "7", &all).await.unwrap();
    client.retrieve_by(&CONTACTS, Some("email"), "a@b.test", &["email".to_owned()]).await.unwrap();
    client.list(&Entity::new("2-77"), &["x".to_owned()], Some("7"), 100, false).await.unwrap();
    client.list(&DEALS, &[], None, 100, true).await.unwrap();
    client.batch_read(&CONTACTS, Some("email"), &["a@b.test".to_owned()], &["email".to_owned()]).await.unwrap();
    client.batch_archive(&CONTACTS, &["7".to_owned()]).await.unwrap();
    let key = ExternalKey::new("crm_sync_id", "K-1").unwrap();
    for op in [BulkOp::Create { fields: some() }, BulkOp::Update { id: id("7"), fields: some() }, BulkOp::Upsert { key, fields: some() }] {
        // The answer is made up, so it fits no input: what counts is that the request does.
        client.bulk(&COMPANIES, &[op], &WriteOptions::new()).await.unwrap();
    }

    // Searches.
    let name = |text: &str| Criteria::Contains { field: "name".into(), text: text.into() };
    let filter =
        Criteria::one_of("stage", ["a", "b"]).and(Criteria::IsNull { field: "x".into() }).or(name("acme")).or(Criteria::ne("y", 1));
    client.search(&Query::new(DEALS).filter(filter).select(["dealname"]).order_by("createdate", true)).await.unwrap();
    client.search(&Query::new(DEALS).page_size(7)).await.unwrap();
    let mut feed = ChangeFeed::new(CONTACTS, Since::At(at()));
    feed.deletes = true;
    client.changes(&feed).await.unwrap();
}

async fn associations(client: &HubSpot) {
    client.associated(&CONTACTS, &id("7"), &COMPANIES).await.unwrap();
    client.associated_many(&CONTACTS, &[id("7"), id("8")], &COMPANIES).await.unwrap();
    client.association_types(&CONTACTS, &COMPANIES).await.unwrap();
    client.associate_default((&CONTACTS, &id("7")), (&COMPANIES, &id("9"))).await.unwrap();
    asked(client.associate_all(&CONTACTS, &COMPANIES, &[(id("7"), id("9"))]).await);
    client.add_labels((&CONTACTS, &id("7")), (&COMPANIES, &id("9")), &[AssociationType::user(37)], false).await.unwrap();
    let ties = [Tie::new("7", "9", vec![AssociationType::user(37)])];
    client.tie_all(&CONTACTS, &COMPANIES, &ties).await.unwrap();
    client.remove_labels(&CONTACTS, &COMPANIES, &ties).await.unwrap();
    client.dissociate((&CONTACTS, &id("7")), (&COMPANIES, &id("9"))).await.unwrap();
    asked(client.ensure_label(&CONTACTS, &COMPANIES, "Advisor", "advisor", Some("Advised by")).await);
    client.delete_label(&CONTACTS, &COMPANIES, 37).await.unwrap();
}

async fn definitions(client: &HubSpot) {
    let channel = Property::new("channel", "Channel", "enumeration", "select", "g").option("LinkedIn", "linkedin");
    asked(client.ensure_property(&DEALS, &channel).await);
    client.ensure_property_group(&DEALS, "g", "Group").await.unwrap();
    client.update_property(&DEALS, "channel", Some("Channel"), None).await.unwrap();
    client.delete_property(&DEALS, "channel").await.unwrap();
    let title = Property::new("campaign_name", "Name", "string", "text", "");
    let mut schema = ObjectSchema::new("campaign", "Campaign", "Campaigns", title).property(channel);
    schema.associated_objects = vec!["0-1".to_owned()];
    asked(client.ensure_object(&schema).await);
    client.object_schema(&Entity::new("2-77")).await.unwrap();
    client.delete_object(&Entity::new("2-77")).await.unwrap();
    let made = client.ensure_pipeline(&DEALS, &Pipeline::new("Sales", [Stage::deal("New", 1), Stage::deal("Won", 10)])).await.unwrap();
    client.update_stage(&DEALS, &made.id, &made.stages[0]).await.unwrap();
    client.delete_stage(&DEALS, "1", "2").await.unwrap();
    client.delete_pipeline(&DEALS, "1").await.unwrap();
    client.owners(Some("a@b.test"), true).await.unwrap();
    client.owner_of_user(7).await.unwrap();
}

async fn events(client: &HubSpot) {
    let at = at();
    client.log(&Engagement::note("Hi", at).about(CONTACTS, "7").owner("9")).await.unwrap();
    client.log(&Engagement::task("Hi", at)).await.unwrap();
    client.log(&Engagement::call("Hi", at).about(DEALS, "7")).await.unwrap();
    client.log(&Engagement::email("Hi", EmailDirection::Incoming, at).about(CONTACTS, "7")).await.unwrap();
    client.log(&Engagement::meeting("Hi", at, at).about(COMPANIES, "7")).await.unwrap();
    asked(client.upsert_by(&NOTES, "mark", "e1", &some()).await);
    client.list(&CALLS, &[], None, 10, false).await.unwrap();
    let told = TemplateEvent::new("1001", "e1", Whose::Email("a@b.test".into())).token("n", 1).at(at);
    client.tell(&told).await.unwrap();
    client.tell_all(&[told]).await.unwrap();
    let event = AppEvent::new("app_opened", "e1", Whose::Record(id("7"))).property("n", 1).at(at);
    client.tell_app_event(&event).await.unwrap();
    asked(client.tell_app_events(&[event]).await);
    client.app_event_type("project", "opened").await.unwrap();
    client.forms(None).await.unwrap();
    client.form("7f3e0a39-0000-4000-8000-000000000000").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_is_one_the_api_declares() {
    let Some(dir) = npm::package("@stoplight/prism-cli", "5.14.2") else { return };
    let specs = format!("{}/tests/fixtures/specs/hubspot", env!("CARGO_MANIFEST_DIR"));
    let server = npm::Server::start(&dir, &SCRIPT.replace("DIRECTORY", &json!(specs).to_string()));
    let inner = ReqwestTransport::loopback().unwrap();
    let noting = Arc::new(Noting { inner, base: server.ready.clone(), sent: Mutex::default(), refused: Mutex::default() });
    let host = Host::tokio();
    for version in VERSIONS.iter().copied() {
        let config = HubSpotConfig::with_access_token("pat-eu1-T".to_owned().into()).base_url("http://127.0.0.1").portal_id("33");
        let client = HubSpot::new(config.api_version(version), Arc::clone(&noting) as _, host.clone()).unwrap();
        if version != ApiVersion::V3 {
            client.authenticate().await.unwrap();
            client.merge(&TICKETS, &id("1"), &id("2")).await.unwrap();
            client.gdpr_delete(&id("a@b.test"), Some("email")).await.unwrap();
        }
        records(&client).await;
        associations(&client).await;
        definitions(&client).await;
        events(&client).await;
    }

    // Tokens and the journal.
    let mut app = HubSpotConfig::with_refresh_token("C", "S".to_owned().into(), "R".to_owned().into()).base_url("http://127.0.0.1");
    let oauth = app.oauth(Arc::clone(&noting) as _, host.clone()).unwrap();
    oauth.refresh(&"R".to_owned().into()).await.unwrap();
    oauth.exchange_code("code", "https://a.test/cb", &"v".to_owned().into()).await.unwrap();
    oauth.introspect(&"T".to_owned().into()).await.unwrap();
    oauth.revoke(&"T".to_owned().into()).await.unwrap();
    app.refresh_token = None;
    let templates = HubSpotTemplates::new(&app, 9, "K".to_owned().into(), Arc::clone(&noting) as _, host.clone()).unwrap();
    let template = EventTemplate::new("Opened", "contacts").token(TemplateToken::new("n", "N", "enumeration").option("One", "1"));
    templates.create(&template).await.unwrap();
    templates.all().await.unwrap();
    let mut there = templates.get("7").await.unwrap().unwrap();
    there.tokens = template.tokens.clone();
    there.name = "Opened".to_owned();
    templates.replace(&there).await.unwrap();
    templates.add_token("7", &template.tokens[0]).await.unwrap();
    templates.remove_token("7", "n").await.unwrap();
    templates.delete("7").await.unwrap();
    let journal = HubSpotJournal::new(app, Arc::clone(&noting) as _, host).unwrap();
    journal.next(None).await.unwrap_err();
    journal.next(Some("o1")).await.unwrap_err();
    journal.ensure_subscription(&JournalSubscription::object(33, "0-1", ["email"])).await.unwrap();
    journal.subscribe(&JournalSubscription::associations(33, "0-1", ["0-2"])).await.unwrap();
    journal.subscribe(&JournalSubscription::privacy_deletions(33, "0-1")).await.unwrap();
    journal.add_filter(1, &[JournalCondition::new("score", "GT", "5"), JournalCondition::one_of("city", ["Oslo"])]).await.unwrap();
    journal.filters(1).await.unwrap();
    journal.remove_filter(1).await.unwrap();
    journal.unsubscribe_account(33).await.unwrap();
    journal.latest().await.unwrap();
    journal.files(None, 10).await.unwrap();
    journal.files(Some("o1"), 10).await.unwrap();
    journal.latest_files(10).await.unwrap();
    journal.files_at(&["o1".to_owned()]).await.unwrap();
    journal.clone().local(33).latest().await.unwrap();
    journal.clone().local(33).files_at(&["o1".to_owned()]).await.unwrap();
    journal.request_snapshots(&[(33, "0-1".to_owned(), 7)], &["email".to_owned()]).await.unwrap();
    journal.snapshot_status("7f3e0a39-0000-4000-8000-000000000000").await.unwrap();
    journal.unsubscribe(1).await.unwrap();

    let refused = noting.refused.lock().unwrap().clone();
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(noting.sent.lock().unwrap().len() > 70);
    // And it would have been told: this one the API does not declare.
    let wrong = json!({"inputs": "none"});
    let config = HubSpotConfig::with_access_token("T".to_owned().into()).base_url("http://127.0.0.1");
    let client = HubSpot::new(config, Arc::clone(&noting) as _, Host::tokio()).unwrap();
    client.call(http::Method::POST, "/crm/objects/2026-03/deals/batch/read", Some(&wrong)).await.unwrap_err();
    assert_eq!(noting.refused.lock().unwrap().len(), 1);
}
