//! The Pipedrive client and the pretend Pipedrive, which were written apart: the guide's flow, the engine, webhooks, tokens, limits.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    reason = "a test may panic, and writes what it means"
)]

use crate::company;
use crate::support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use company::{BUDGET, Company};
use crm_sync::adapter::{ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::error::ErrorKind;
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{ChangeKind, Fields, RecordId, Value};
use crm_sync::pipedrive::flows::{Ensured, MarketingActivity, MarketingLead, PersonSync};
use crm_sync::pipedrive::{ConversionState, Kind, ListQuery, NewSubscription, Pipedrive, PipedriveConfig, PipedriveEvents, entity};
use crm_sync::query::{Criteria, Query};
use crm_sync::sandbox::{Fault, FaultKind};
use crm_sync::store::{MemoryStore, Store};
use crm_sync::sync::{Engine, Guarantee, Incoming};
use crm_sync::webhook::{EventFormat, RawRequest, Verifier};
use futures_util::TryStreamExt;
use futures_util::future::join_all;
use secrecy::SecretString;
use serde_json::json;
use support::{Death, Life, MortalStore, MortalTransport};

// ---- the guide's person sync -------------------------------------------------------------------------------------------

fn lead() -> MarketingLead {
    let mut lead = MarketingLead::new("lead-1", "Jane", "Doe");
    lead.email = Some("jane+ads@example.com".to_owned());
    lead.phone = Some("+32 2 555 12 34".to_owned());
    lead.company = Some("Acme".to_owned());
    lead.qualified = true;
    lead.stage = Some("qualified".to_owned());
    lead.value = serde_json::from_str("1000").ok();
    lead.fields.insert("temperature", "Hot");
    lead.attribution = Some("<p>first touch: ads</p>".to_owned());
    lead.history = Some("<p>read the newsletter</p>".to_owned());
    for id in ["a1", "a2"] {
        let mut activity = MarketingActivity::new(id, "webinar");
        (activity.date, activity.time) = (Some("2026-11-20".to_owned()), Some("14:30".to_owned()));
        activity.duration = Some("01:00".to_owned());
        lead.activities.push(activity);
    }
    lead
}

fn whole(company: &Company, temperature: &str) {
    let rows = |entity: &str| company.rows(entity);
    let (organizations, persons, deals) = (rows("organization"), rows("person"), rows("deal"));
    assert_eq!((organizations.len(), persons.len(), deals.len()), (1, 1, 1));
    let (person, deal) = (&persons[0], &deals[0]);
    assert_eq!(person["org_id"], organizations[0]["id"]);
    assert!(person["custom_fields"][temperature].is_i64(), "{person}");
    assert_eq!(person["emails"], json!([{"value": "jane+ads@example.com", "primary": true, "label": "work"}]));
    assert_eq!(deal["title"], "Acme - Jane Doe");
    let stages = rows("stage");
    let stage = stages.iter().find(|stage| stage["id"] == deal["stage_id"]).unwrap();
    assert_eq!((&stage["name"], &stage["pipeline_id"]), (&json!("Qualified"), &deal["pipeline_id"]));
    assert_eq!((&deal["value"], &deal["currency"], &deal["person_id"]), (&json!(1000), &json!("USD"), &person["id"]));
    let notes = rows("note");
    assert_eq!(notes.len(), 2);
    let pinned: Vec<_> = notes.iter().filter(|note| note["pinned_to_deal_flag"] == json!(true)).collect();
    assert!(pinned.len() == 1 && pinned[0]["deal_id"] == deal["id"] && pinned[0]["content"].as_str().unwrap().contains("first touch"));
    let activities = rows("activity");
    assert_eq!(activities.len(), 2);
    for activity in &activities {
        assert_eq!((&activity["done"], &activity["type"], &activity["deal_id"]), (&json!(true), &json!("call"), &deal["id"]));
        assert_eq!((&activity["participants"][0]["person_id"], &activity["person_id"]), (&person["id"], &person["id"]));
    }
}

#[tokio::test]
async fn a_lead_comes_in_once_and_changes_are_told() {
    let company = Company::new(3_000);
    let (_, temperature) = company.furnish().await;
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(company.host.clone()));
    let sync = PersonSync::new(company.client(), store).activity_type("webinar", "Call");
    let first = sync.sync(&lead()).await.unwrap();
    assert_eq!((first.person_was, first.deal_was), (Ensured::Created, Some(Ensured::Created)));
    assert!(first.activities.iter().all(Result::is_ok));
    whole(&company, &temperature);
    let before = company.writes();
    let again = sync.sync(&lead()).await.unwrap();
    assert_eq!((again.person, again.person_was), (first.person, Ensured::Known));
    assert_eq!(company.writes(), before, "nothing to write");
    let mut news = lead();
    // What somebody may have corrected stays.
    news.first_name = "Janet".to_owned();
    news.email = Some("jane@home.example".to_owned());
    news.fields.insert("temperature", "Cold");
    news.history = Some("<p>bought</p>".to_owned());
    sync.sync(&news).await.unwrap();
    assert_eq!(company.writes(), before + 2, "the person and the history");
    let person = company.rows("person").remove(0);
    assert_eq!(person["name"], "Jane Doe");
    assert_eq!(person["emails"][1], json!({"value": "jane@home.example", "primary": false, "label": "work"}));
    assert!(company.rows("note").iter().any(|note| note["content"].as_str().unwrap().contains("bought")));
}

#[tokio::test]
async fn won_is_a_status_and_an_unknown_type_fails_alone() {
    let company = Company::new(0);
    company.furnish().await;
    let sync = PersonSync::new(company.client(), Arc::new(MemoryStore::new(company.host.clone()))).activity_type("webinar", "Call");
    let mut lead = lead();
    lead.stage = Some("Won".to_owned());
    lead.activities[0].kind = "dance".to_owned();
    let synced = sync.sync(&lead).await.unwrap();
    let deal = company.rows("deal").remove(0);
    let first = company.rows("stage").remove(0);
    assert_eq!((&deal["status"], &deal["stage_id"]), (&json!("won"), &first["id"]), "it is where new deals are");
    assert!(synced.activities[0].is_err() && synced.activities[1].is_ok());
    assert_eq!(company.rows("activity").len(), 1);
}

#[tokio::test]
async fn whenever_the_process_dies_nothing_is_made_twice() {
    let mut deaths = 0;
    for at in 0.. {
        let mut ended = true;
        for death in [Death::Before(at), Death::After(at)] {
            let company = Company::new(30_000);
            let (_, temperature) = company.furnish().await;
            let kept: Arc<dyn Store> = Arc::new(MemoryStore::new(company.host.clone()));
            let life = Life::new(Some(death));
            let transport = Arc::new(MortalTransport { inner: company.sandbox.transport(), life: Arc::clone(&life) });
            let store = Arc::new(MortalStore { inner: Arc::clone(&kept), life: Arc::clone(&life) });
            let sync = PersonSync::new(company.client_over(transport), store).activity_type("webinar", "Call");
            if sync.sync(&lead()).await.is_err() {
                (ended, deaths) = (false, deaths + 1);
            }
            let sync = PersonSync::new(company.client(), kept).activity_type("webinar", "Call");
            let mut tries = 0;
            while let Err(error) = sync.sync(&lead()).await {
                tries += 1;
                assert!(tries < 4, "{death:?}: {error:?}");
                company.host.sleep(error.retry_after().unwrap_or_else(|| panic!("{death:?}: {error:?}"))).await;
            }
            whole(&company, &temperature);
        }
        if ended {
            break;
        }
    }
    assert!(deaths > 40, "{deaths}");
}

// ---- the engine --------------------------------------------------------------------------------------------------------

async fn engine(company: &Company, client: &Pipedrive, store: Arc<dyn Store>, key: &str) -> Engine {
    let set = json!({"pipedrive": {"person": {"name": "name", "email": "emails", "heat": "temperature"}}}).to_string();
    let set = MappingSet::from_json(&set, "mapping.json").unwrap();
    let schema = client.describe(&entity::PERSONS).await.unwrap();
    let mapping = Mapping::compile(set.entity("pipedrive", "person").unwrap(), Some(&schema)).unwrap();
    Engine::builder(Arc::new(client.clone()), store, company.host.clone(), schema, mapping).external_key(key).build().unwrap()
}

fn people(count: usize) -> Vec<Incoming> {
    (0..count)
        .map(|n| {
            let fields: Fields = [("name", json!(format!("P {n}"))), ("email", json!(format!("p{n}@example.com"))), ("heat", json!("Hot"))]
                .into_iter()
                .collect();
            Incoming::new(format!("host-{n}"), fields)
        })
        .collect()
}

/// What the company has spent, by its own count.
fn spent(client: &Pipedrive) -> u64 {
    BUDGET - client.usage().tokens_left.unwrap()
}

#[tokio::test]
async fn the_engine_loads_and_what_it_costs() {
    let company = Company::new(3_000);
    let (key, temperature) = company.furnish().await;
    let client = company.client();
    let engine = engine(&company, &client, Arc::new(MemoryStore::new(company.host.clone())), &key).await;
    let mut people = people(100);
    let start = spent(&client);
    let plan = engine.plan(&people).await.unwrap();
    assert!(matches!(plan.guarantee, Guarantee::ProbedWithLag { .. }), "{plan}");
    let planned = spent(&client);
    // One page of the list tells that nobody has a key yet, so that no key has to be searched for (20 each).
    assert_eq!(planned - start, 10);
    assert_eq!(company.lines().last().unwrap(), "GET /api/v2/persons");
    let price = plan.cost.price.as_ref().unwrap();
    assert_eq!(price.to_string(), "500 tokens");
    assert!(plan.to_string().contains("100 needed to apply, for 500 tokens, "), "{plan}");
    engine.apply(&plan).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(spent(&client) - planned, price.amount, "the plan's price is what applying it costs");
    let rows = company.rows("person");
    assert_eq!((rows.len(), &rows[7]["custom_fields"][&key]), (100, &json!("host-7")));
    assert!(rows[7]["custom_fields"][&temperature].is_i64());
    // Nothing has changed: nothing is asked.
    let before = spent(&client);
    assert_eq!(engine.plan(&people).await.unwrap().writes(), 0);
    assert_eq!(spent(&client), before);
    // One of a hundred: the records that change are read again (10 for up to 100), then written (5).
    people[3].fields.insert("name", "Somebody else");
    let plan = engine.plan(&people).await.unwrap();
    assert_eq!((plan.writes(), plan.cost.price.as_ref().unwrap().amount), (1, 5));
    engine.apply(&plan).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(company.rows("person")[3]["name"], "Somebody else");
    assert_eq!(spent(&client) - before, 5);
    // Its own count is the company's.
    assert_eq!(client.usage().spent, spent(&client) - start + 10, "and the description, read once");
}

/// The create is done and the connection breaks: found by the key once the search has caught up, not made again.
#[tokio::test]
async fn a_create_without_an_answer_is_found_after_the_lag() {
    for kind in [FaultKind::DropAfter, FaultKind::Truncate, FaultKind::DropBefore] {
        let company = Company::new(20_000);
        let (key, _) = company.furnish().await;
        let client = company.client();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(company.host.clone()));
        let first = engine(&company, &client, Arc::clone(&store), &key).await;
        let plan = first.plan(&people(3)).await.unwrap();
        company.sandbox.fault(Fault::new(kind.clone()).method("POST").path("/api/v2/persons"));
        let _outcome = first.apply(&plan).try_collect::<Vec<_>>().await;
        // Another life with the same store.
        let second = engine(&company, &client, store, &key).await;
        let resolved = second.resolve().await.unwrap();
        assert_eq!(resolved.unknown, 0, "{kind:?}: {resolved:?}");
        let plan = second.plan(&people(3)).await.unwrap();
        second.apply(&plan).try_collect::<Vec<_>>().await.unwrap();
        let mut keys: Vec<String> =
            company.rows("person").iter().map(|row| row["custom_fields"][&key].as_str().unwrap().to_owned()).collect();
        keys.sort();
        assert_eq!(keys, ["host-0", "host-1", "host-2"], "{kind:?}");
    }
}

#[tokio::test]
async fn the_engine_dies_at_each_step_and_goes_on() {
    let mut deaths = 0;
    for at in 0.. {
        let mut ended = true;
        for death in [Death::Before(at), Death::After(at)] {
            let company = Company::new(20_000);
            let (key, _) = company.furnish().await;
            let kept: Arc<dyn Store> = Arc::new(MemoryStore::new(company.host.clone()));
            let life = Life::new(Some(death));
            let client = company.client();
            let mortal = company.client_over(Arc::new(MortalTransport { inner: company.sandbox.transport(), life: Arc::clone(&life) }));
            // Descriptions are read by the living: the deaths that matter come later.
            let set = MappingSet::from_json(&json!({"pipedrive": {"person": {"name": "name"}}}).to_string(), "m.json").unwrap();
            let schema = client.describe(&entity::PERSONS).await.unwrap();
            let build = |client: &Pipedrive, store: Arc<dyn Store>| {
                let mapping = Mapping::compile(set.entity("pipedrive", "person").unwrap(), Some(&schema)).unwrap();
                let builder = Engine::builder(Arc::new(client.clone()), store, company.host.clone(), schema.clone(), mapping);
                builder.external_key(&key).build().unwrap()
            };
            let first = build(&mortal, Arc::new(MortalStore { inner: Arc::clone(&kept), life: Arc::clone(&life) }));
            if let Ok(plan) = first.plan(&people(2)).await {
                let _outcome = first.apply(&plan).try_collect::<Vec<_>>().await;
            }
            if life.is_dead() {
                (ended, deaths) = (false, deaths + 1);
            }
            let second = build(&client, kept);
            second.resolve().await.unwrap();
            let plan = second.plan(&people(2)).await.unwrap();
            second.apply(&plan).try_collect::<Vec<_>>().await.unwrap();
            let mut keys: Vec<String> =
                company.rows("person").iter().map(|row| row["custom_fields"][&key].as_str().unwrap().to_owned()).collect();
            keys.sort();
            assert_eq!(keys, ["host-0", "host-1"], "{death:?}");
        }
        if ended {
            break;
        }
    }
    assert!(deaths >= 8, "{deaths}");
}

// ---- search, changes ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_search_lags_and_is_compared_again() {
    let company = Company::new(5_000);
    let client = company.client();
    for email in ["self@example.com", "myself@example.com", "a+b@example.com"] {
        client.persons().create(&json!({"name": email, "emails": [{"value": email}]})).await.unwrap();
    }
    let find = |value: &str| {
        let query = Query::new(entity::PERSONS).select(["name"]).filter(Criteria::eq("emails", value));
        client.search_all(query).map_ok(|record| record.fields.text("name").unwrap().to_owned()).try_collect::<Vec<_>>()
    };
    assert!(find("self@example.com").await.unwrap().is_empty(), "the index has not caught up");
    company.host.sleep(Duration::from_secs(6)).await;
    assert_eq!(find("SELF@example.com").await.unwrap(), ["self@example.com"]);
    assert_eq!(find("a+b@example.com").await.unwrap(), ["a+b@example.com"]);
}

#[tokio::test]
async fn changes_are_polled_and_deletions_of_deals_told() {
    let company = Company::new(0);
    let client = company.client();
    for n in 0..7 {
        client.create(&entity::DEALS, &[("title", format!("D{n}"))].into_iter().collect(), &WriteOptions::new()).await.unwrap();
    }
    let gone = RecordId::new(company.rows("deal")[2]["id"].to_string());
    company.host.sleep(Duration::from_secs(2)).await;
    company.sandbox.pipedrive_delete("deal", &gone).unwrap();
    let mut feed = ChangeFeed::new(entity::DEALS, Since::Start);
    feed.deletes = true;
    let mut told = Vec::new();
    for _ in 0..10 {
        let page = client.changes(&feed).await.unwrap();
        feed.since = Since::Cursor(page.next.unwrap());
        if page.items.is_empty() {
            break;
        }
        told.extend(page.items);
    }
    assert_eq!(told.len(), 7);
    let last = told.last().unwrap();
    assert_eq!((&last.id, last.kind), (&gone, ChangeKind::Deleted));
    for kind in [entity::PERSONS, entity::ORGANIZATIONS, entity::ACTIVITIES, entity::PRODUCTS, entity::LEADS, entity::NOTES] {
        client
            .changes(&ChangeFeed::new(kind.clone(), Since::At(company.host.now())))
            .await
            .unwrap_or_else(|error| panic!("{kind}: {error:?}"));
    }
    assert_eq!(client.missing(Kind::Deal, std::slice::from_ref(&gone)).await.unwrap(), [gone]);
}

// ---- webhooks ----------------------------------------------------------------------------------------------------------

/// Where webhooks arrive; it keeps them, and answers 503 until it is up.
#[derive(Debug, Default)]
struct Receiver {
    up: AtomicBool,
    got: Mutex<Vec<http::Request<Bytes>>>,
}

impl Receiver {
    fn take(&self) -> Vec<http::Request<Bytes>> {
        std::mem::take(&mut self.got.lock().unwrap())
    }
}

#[async_trait]
impl HttpTransport for Receiver {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        self.got.lock().unwrap().push(request);
        let status = if self.up.load(Ordering::SeqCst) { 200 } else { 503 };
        Ok(http::Response::builder().status(status).body(Body::from_bytes("")).unwrap())
    }
}

#[tokio::test]
async fn webhooks_arrive_and_are_read() {
    let company = Company::new(0);
    let (_, temperature) = company.furnish().await;
    let client = company.client();
    let hook = NewSubscription::new("all", "https://host.example/hook", None, "user", SecretString::from("pass"));
    assert!(client.ensure_subscription(&hook).await.unwrap().1);
    assert!(!client.ensure_subscription(&hook).await.unwrap().1, "there already");
    let verifier = hook.verifier("pipedrive").unwrap();
    let ann = client.persons().create(&json!({"name": "Ann", "custom_fields": {&temperature: "Hot"}})).await.unwrap().id.unwrap();
    let bob = client.persons().create(&json!({"name": "Bob"})).await.unwrap().id.unwrap();
    let deal = client.deals().create(&json!({"title": "D", "person_id": ann})).await.unwrap().id.unwrap();
    client.win(&RecordId::new(deal.to_string())).await.unwrap();
    let merged = client.merge(Kind::Person, &RecordId::new(bob.to_string()), &RecordId::new(ann.to_string())).await.unwrap();
    assert_eq!(merged.survivor.as_str(), ann.to_string());
    // A receiver that is down: the deliveries stay.
    let receiver = Arc::new(Receiver::default());
    let count = company.sandbox.pipedrive_deliveries().len();
    assert_eq!(company.sandbox.send_pipedrive_webhooks(&*receiver).await.unwrap(), 0);
    assert_eq!(receiver.take().len(), count);
    company.host.sleep(Duration::from_secs(4)).await;
    receiver.up.store(true, Ordering::SeqCst);
    assert_eq!(company.sandbox.send_pipedrive_webhooks(&*receiver).await.unwrap(), count);
    assert!(company.sandbox.pipedrive_deliveries().is_empty());
    let mut kinds = Vec::new();
    for request in receiver.take() {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        assert_eq!(url, "https://host.example/hook");
        let mut headers = parts.headers;
        let request = RawRequest { method: &parts.method, url: &url, headers: &headers, body: &body };
        let verified = verifier.verify(&request, company.host.now()).unwrap();
        for event in PipedriveEvents.events(&verified).unwrap() {
            if event.kind == "person.create" && kinds.is_empty() {
                let change = event.change.as_ref().unwrap();
                assert_eq!((change.id.as_str(), change.fields.text("name")), (ann.to_string().as_str(), Some("Ann")));
                assert!(change.fields.get(&temperature).is_some_and(Value::is_i64), "{change:?}");
            }
            kinds.push(event.kind);
        }
        headers.insert("authorization", "Basic dXNlcjp3cm9uZw==".parse().unwrap());
        let request = RawRequest { method: &parts.method, url: &url, headers: &headers, body: &body };
        assert!(verifier.verify(&request, company.host.now()).is_err());
    }
    for wanted in ["person.create", "deal.create", "deal.change", "deal.won", "person.delete", "person.change", "person.merge"] {
        assert!(kinds.iter().any(|kind| kind == wanted), "{wanted} is not among {kinds:?}");
    }
}

// ---- tokens and limits -------------------------------------------------------------------------------------------------

#[tokio::test]
async fn fifty_callers_share_one_refresh() {
    let company = Company::new(0);
    let access = &company.access;
    let config =
        PipedriveConfig::with_refresh_token(&access.client_id, access.client_secret.clone().into(), access.refresh_token.clone().into())
            .oauth_url(&access.oauth_url);
    let client = Pipedrive::new(config, company.sandbox.transport(), company.host.clone()).unwrap();
    let refreshes = || company.lines().iter().filter(|line| line.contains("/oauth/token")).count();
    for outcome in join_all((0..50).map(|_| client.me())).await {
        assert_eq!(outcome.unwrap().id, Some(access.user_id));
    }
    assert_eq!(refreshes(), 1);
    company.sandbox.expire_tokens().unwrap();
    for outcome in join_all((0..50).map(|_| client.me())).await {
        outcome.unwrap();
    }
    company.host.sleep(Duration::from_secs(3590)).await;
    client.me().await.unwrap();
    assert!((2..=3).contains(&refreshes()), "{}", refreshes());
}

#[tokio::test]
async fn a_spent_day_stops_everything() {
    let company = Company::new(0);
    company.sandbox.set_pipedrive_options(|options| options.daily_budget = Some(6)).unwrap();
    let client = company.client();
    client.persons().create(&json!({"name": "a"})).await.unwrap();
    assert_eq!((client.usage().tokens_max, client.usage().tokens_left), (Some(6), Some(1)));
    client.persons().create(&json!({"name": "b"})).await.unwrap();
    let error = client.persons().create(&json!({"name": "c"})).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::QuotaExhausted, false));
    let before = company.lines().len();
    assert_eq!(client.me().await.unwrap_err().kind(), ErrorKind::QuotaExhausted);
    assert_eq!(company.lines().len(), before, "nothing is sent");
    company.host.sleep(Duration::from_secs(24 * 3600)).await;
    client.me().await.unwrap();
}

#[tokio::test]
async fn a_burst_is_waited_for_and_a_web_page_ends_it() {
    let company = Company::new(0);
    company.sandbox.set_pipedrive_options(|options| (options.burst, options.block_after) = (Some(2), 2)).unwrap();
    // One who does not keep the limit.
    let client = Pipedrive::new(company.config().pace(false), company.sandbox.transport(), company.host.clone()).unwrap();
    client.me().await.unwrap();
    client.me().await.unwrap();
    let error = client.me().await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::RateLimited, true));
    company.host.sleep(error.retry_after().unwrap_or(Duration::from_secs(2))).await;
    client.me().await.unwrap();
    client.me().await.unwrap();
    let mut last = None;
    for _ in 0..4 {
        last = client.me().await.err();
    }
    assert_eq!(last.unwrap().code(), Some("BLOCKED"));
    let before = company.lines().len();
    assert!(client.me().await.is_err());
    assert_eq!(company.lines().len(), before, "nothing is sent");
}

// ---- what only one of the two versions has -----------------------------------------------------------------------------

#[tokio::test]
async fn leads_are_archived_and_converted() {
    let company = Company::new(0);
    let client = company.client();
    let person = client.persons().create(&json!({"name": "Ann"})).await.unwrap().id.unwrap();
    let lead = |title: &str| json!({"title": title, "person_id": person, "value": {"amount": 5, "currency": "EUR"}});
    let first = RecordId::new(client.leads().create(&lead("first")).await.unwrap().id.unwrap());
    let second = RecordId::new(client.leads().create(&lead("second")).await.unwrap().id.unwrap());
    client.leads().update(&second, &json!({"is_archived": true})).await.unwrap();
    let titles = |leads: Vec<crm_sync::pipedrive::types::Lead>| leads.into_iter().map(|lead| lead.title.unwrap()).collect::<Vec<_>>();
    assert_eq!(titles(client.leads().list(ListQuery::new()).try_collect().await.unwrap()), ["first"]);
    assert_eq!(titles(client.leads().archived(ListQuery::new()).try_collect().await.unwrap()), ["second"]);
    company.sandbox.set_pipedrive_options(|options| options.conversion_millis = 5_000).unwrap();
    let place = client.place("qualified", None).await.unwrap();
    let begun = client.convert_lead(&first, Some(place)).await.unwrap();
    assert_eq!(client.conversion(&begun).await.unwrap(), ConversionState::Running);
    company.host.sleep(Duration::from_secs(6)).await;
    let ConversionState::Completed(deal) = client.conversion(&begun).await.unwrap() else { panic!("not done") };
    let made = client.deals().get(&deal).await.unwrap().unwrap();
    assert_eq!((made.title.as_deref(), made.stage_id, made.person_id), (Some("first"), Some(place.stage_id), Some(person)));
    assert_eq!(client.leads().get(&first).await.unwrap(), None);
    client.deals().update(&deal, &json!({"is_archived": true})).await.unwrap();
    assert!(client.deals().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap().is_empty());
    assert_eq!(client.deals().archived(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert!(client.deals().update(&deal, &json!({"title": "x"})).await.is_err(), "archived deals are not editable");
}

#[tokio::test]
async fn fields_and_options_are_made_once() {
    let company = Company::new(0);
    let client = company.client();
    let first = client.ensure_field(Kind::Deal, "Tier", "enum", &["A", "B"]).await.unwrap();
    let writes = company.writes();
    let again = company.client().ensure_field(Kind::Deal, "Tier", "enum", &["B", "A"]).await.unwrap();
    assert_eq!((again.key, company.writes()), (first.key.clone(), writes));
    let more = client.ensure_field(Kind::Deal, "Tier", "enum", &["B", "C"]).await.unwrap();
    assert_eq!(more.options.iter().map(|option| option.label.as_str()).collect::<Vec<_>>(), ["A", "B", "C"]);
    assert_eq!(company.writes(), writes + 1);
    assert_eq!(client.ensure_field(Kind::Deal, "Tier", "varchar", &[]).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(client.ensure_field(Kind::Note, "Tier", "varchar", &[]).await.unwrap_err().kind(), ErrorKind::Unsupported);
    // The answer is lost: the next call finds the field.
    company.sandbox.fault(Fault::new(FaultKind::DropAfter).method("POST").path("/api/v2/dealFields"));
    assert!(client.ensure_field(Kind::Deal, "Origin", "varchar", &[]).await.is_err());
    let writes = company.writes();
    client.ensure_field(Kind::Deal, "Origin", "varchar", &[]).await.unwrap();
    assert_eq!(company.writes(), writes);
    // Leads have the fields of deals.
    assert_eq!(client.ensure_field(Kind::Lead, "Tier", "enum", &["A"]).await.unwrap().key, first.key);
}

#[tokio::test]
async fn every_custom_field_makes_the_round() {
    let company = Company::new(0);
    let client = company.client();
    let mut body = Fields::new();
    body.insert("title", "all");
    let mut wanted = Vec::new();
    for (word, value) in [
        ("varchar", json!("a")),
        ("text", json!("long")),
        ("double", json!(1.5)),
        ("monetary", json!({"value": 10, "currency": "EUR"})),
        ("enum", json!("A")),
        ("set", json!(["A", "B"])),
        ("date", json!("2026-01-31")),
        ("daterange", json!({"value": "2026-01-01", "until": "2026-01-02"})),
        ("time", json!("10:30")),
        ("phone", json!("+32 2 555")),
        ("address", json!("Main St 1")),
    ] {
        let options: &[&str] = if matches!(word, "enum" | "set") { &["A", "B"] } else { &[] };
        let field = client.ensure_field(Kind::Deal, word, word, options).await.unwrap();
        body.insert(&field.key, value);
        wanted.push((word, field.key));
    }
    let made = client.create(&entity::DEALS, &body, &WriteOptions::new()).await.unwrap();
    let deal = client.get(&entity::DEALS, &made.id, &[]).await.unwrap().unwrap();
    for (word, key) in &wanted {
        assert!(deal.fields.get(key).is_some_and(|value| !value.is_null()), "{word}: {deal:?}");
    }
    // The same values, read and written again, are accepted; then each is cleared, one by one, and the others stay.
    let own: Fields = wanted.iter().map(|(_, key)| (key.as_str(), deal.fields.get(key).cloned().unwrap())).collect();
    client.update(&entity::DEALS, &made.id, &own, &WriteOptions::new()).await.unwrap();
    for (at, (word, key)) in wanted.iter().enumerate() {
        client.update(&entity::DEALS, &made.id, &[(key.as_str(), Value::Null)].into_iter().collect(), &WriteOptions::new()).await.unwrap();
        let deal = client.get(&entity::DEALS, &made.id, &[]).await.unwrap().unwrap();
        let left = wanted.iter().filter(|(_, key)| deal.fields.get(key).is_some_and(|value| !value.is_null())).count();
        assert_eq!(left, wanted.len() - at - 1, "{word}");
    }
}
