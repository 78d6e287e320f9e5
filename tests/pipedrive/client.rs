//! The Pipedrive client and adapter against a pretend account: the contract of every adapter, typed records, searches, changes,
//! creates without an answer, batches, names.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::field_reassign_with_default,
    reason = "a test may panic, and writes what it means"
)]

use crate::account;
use crate::support;

use std::sync::Arc;
use std::time::Duration;

use account::{Account, CHOICE, KEY};
use crm_sync::adapter::{BulkOp, ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::conformance::adapter::{Subject, check};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{ChangeKind, Fields, RecordId, Value};
use crm_sync::pipedrive::types::{ContactPoint, Person};
use crm_sync::pipedrive::{CreateOutcome, Kind, ListQuery, PipedriveConfig, PipedriveSettings, SEARCH_LAG, entity};
use crm_sync::query::{Criteria, Query};
use crm_sync::store::MemoryStore;
use crm_sync::sync::{Engine, Guarantee, Incoming};
use futures_util::TryStreamExt;
use serde_json::json;
use support::{Death, Life, MortalTransport};

fn host() -> Host {
    let (host, clock) = Host::manual_with_clock(7);
    clock.set_wall("2026-11-24T09:00:00Z".parse().unwrap());
    host
}

fn settings(config: PipedriveConfig) -> PipedriveConfig {
    let settings: PipedriveSettings = serde_json::from_value(json!({
        "customFields": {"person": {"temperature": "Temperature"}},
        "operationFields": {"person": "External id"},
        "pipeline": {"defaultPipelineId": 1, "stages": {"new": 1, "qualified": "Qualified", "won": 5}}
    }))
    .unwrap();
    config.settings(settings)
}

fn person(n: u64) -> Fields {
    let mut fields = Fields::new();
    fields.insert("name", format!("Conformance{n:04}"));
    fields.insert("emails", json!([{"value": format!("c{n}@example.com"), "primary": true, "label": "work"}]));
    fields.insert("job_title", "Tester");
    fields
}

#[tokio::test]
async fn pipedrive_keeps_the_contract() {
    let host = host();
    let account = Account::new(host.clone(), Duration::from_secs(3));
    let adapter = account.client(settings);
    // The list compares plain values; addresses have tests of their own.
    let sample = |n: u64| {
        let mut fields = person(n);
        fields.remove("emails");
        fields
    };
    let subject = Subject::new(entity::PERSONS, "name", sample).clearable("job_title").search_lag(host, Duration::from_secs(5));
    let report = check(&adapter, &subject).await;
    assert!(report.is_ok(), "{report}");
}

#[tokio::test]
async fn typed_records_of_both_versions() {
    let account = Account::new(host(), Duration::ZERO);
    let client = account.client(settings);
    let mut jane = Person::default();
    jane.name = Some("Jane Doe".to_owned());
    let mut email = ContactPoint::default();
    email.value = Some("jane@example.com".to_owned());
    jane.emails = Some(vec![email]);
    jane.custom_fields = Some(serde_json::Map::from_iter([(CHOICE.to_owned(), json!("Hot"))]));
    let made = client.persons().create(&jane).await.unwrap();
    assert_eq!(made.custom_fields.as_ref().unwrap()[CHOICE], 1);
    let id = RecordId::new(made.id.unwrap().to_string());
    // Read, change, write: read-only members are left out.
    let mut again = client.persons().get(&id).await.unwrap().unwrap();
    again.job_title = Some("Boss".to_owned());
    let again = client.persons().update(&id, &again).await.unwrap();
    assert_eq!((again.job_title.as_deref(), again.name.as_deref()), (Some("Boss"), Some("Jane Doe")));
    let note = client.notes().create(&json!({"content": "x", "person_id": made.id, "pinned_to_deal_flag": false})).await.unwrap();
    assert_eq!(account.rows("notes")[0]["pinned_to_deal_flag"], 0);
    assert_eq!(client.notes().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert!(client.notes().list(ListQuery::new().filter("person_id", 999)).try_collect::<Vec<_>>().await.unwrap().is_empty());
    assert!(note.id.is_some());
    assert!(client.persons().delete(&id).await.unwrap());
    assert!(!client.persons().delete(&id).await.unwrap());
    assert_eq!(client.persons().get(&id).await.unwrap(), None);
    assert_eq!(client.persons().get(&RecordId::new("../me")).await.unwrap(), None);
}

#[tokio::test]
async fn streams_hide_cursors_and_offsets() {
    let account = Account::new(host(), Duration::ZERO);
    let client = account.client(settings);
    for n in 0..7 {
        client.persons().create(&json!({"name": format!("P{n}")})).await.unwrap();
        client.notes().create(&json!({"content": format!("N{n}"), "person_id": 1})).await.unwrap();
    }
    let persons: Vec<Person> = client.persons().list(ListQuery::new().limit(3)).try_collect().await.unwrap();
    assert_eq!(persons.len(), 7);
    let notes: Vec<_> = client.notes().list(ListQuery::new().limit(3)).try_collect().await.unwrap();
    assert_eq!(notes.len(), 7);
    let pages = |word: &str| account.log().iter().filter(|line| line.starts_with(&format!("GET {word}"))).count();
    assert_eq!((pages("/api/v2/persons"), pages("/v1/notes")), (3, 3));
}

#[tokio::test]
async fn a_search_is_compared_again_and_paged_by_value() {
    let account = Account::new(host(), Duration::ZERO);
    let client = account.client(settings);
    for email in ["self@example.com", "myself@example.com", "a+b@example.com"] {
        client.persons().create(&json!({"name": email, "emails": [{"value": email}]})).await.unwrap();
    }
    let find = |values: Vec<&str>| {
        let query = Query::new(entity::PERSONS).select(["name"]).filter(Criteria::one_of("emails", values));
        client.search_all(query).map_ok(|record| record.fields.text("name").unwrap().to_owned()).try_collect::<Vec<_>>()
    };
    assert_eq!(find(vec!["self@example.com"]).await.unwrap(), ["self@example.com"]);
    assert!(account.log().iter().any(|line| line.contains("exact_match=true") && line.contains("fields=email")));
    let both = find(vec!["a+b@example.com", "SELF@example.com", "nobody@example.com"]).await.unwrap();
    assert_eq!(both, ["a+b@example.com", "self@example.com"]);
    assert!(account.log().iter().any(|line| line.contains("term=a%2Bb%40example.com")));
    // Nothing to narrow the list by.
    let query = Query::new(entity::PERSONS).filter(Criteria::eq("job_title", "x"));
    assert_eq!(client.search(&query).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(client.search(&query.allow_residual()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn the_feed_tells_all_and_ends() {
    let host = host();
    let account = Account::new(host.clone(), Duration::ZERO);
    let client = account.client(settings);
    // 1,200 rows in one second, more than two pages.
    for n in 0..1_200 {
        client.create(&entity::ORGANIZATIONS, &[("name", format!("O{n}"))].into_iter().collect(), &WriteOptions::new()).await.unwrap();
    }
    let mut seen: Vec<RecordId> = Vec::new();
    let mut since = Since::Start;
    let mut polls = 0;
    loop {
        let page = client.changes(&ChangeFeed::new(entity::ORGANIZATIONS, since)).await.unwrap();
        polls += 1;
        since = Since::Cursor(page.next.unwrap());
        if page.items.is_empty() {
            break;
        }
        seen.extend(page.items.into_iter().map(|change| change.id));
        assert!(polls < 20);
    }
    seen.sort_by_key(|id| id.as_str().len() * 10_000 + id.as_str().parse::<usize>().unwrap());
    let count = seen.len();
    seen.dedup();
    assert_eq!((count, seen.len()), (1_200, 1_200));
    // A change in the second that was read already is not passed over.
    client.create(&entity::ORGANIZATIONS, &[("name", "late")].into_iter().collect(), &WriteOptions::new()).await.unwrap();
    let page = client.changes(&ChangeFeed::new(entity::ORGANIZATIONS, since)).await.unwrap();
    assert_eq!((page.items.len(), page.items[0].kind), (1, ChangeKind::Created));
    // A poll after a pause reaches back a minute.
    host.sleep(Duration::from_secs(90)).await;
    let id = page.items[0].id.clone();
    client.update(&entity::ORGANIZATIONS, &id, &[("name", "later")].into_iter().collect(), &WriteOptions::new()).await.unwrap();
    let mut since = Since::Cursor(page.next.unwrap());
    let mut last = None;
    for _ in 0..10 {
        let page = client.changes(&ChangeFeed::new(entity::ORGANIZATIONS, since)).await.unwrap();
        since = Since::Cursor(page.next.unwrap());
        match page.items.into_iter().next_back() {
            Some(change) => last = Some(change),
            None => break,
        }
    }
    let last = last.unwrap();
    assert_eq!((last.id, last.kind), (id, ChangeKind::Updated));
    assert!(account.log().iter().any(|line| line.contains("updated_since=2026-11-24T08%3A59%3A00Z")));
}

#[tokio::test]
async fn only_deals_tell_their_deletions() {
    let account = Account::new(host(), Duration::ZERO);
    let client = account.client(settings);
    let made = client.create(&entity::DEALS, &[("title", "x")].into_iter().collect(), &WriteOptions::new()).await.unwrap();
    client.delete(&entity::DEALS, &made.id, &WriteOptions::new()).await.unwrap();
    let mut feed = ChangeFeed::new(entity::DEALS, Since::Start);
    feed.deletes = true;
    let page = client.changes(&feed).await.unwrap();
    assert_eq!((page.items[0].kind, &page.items[0].id), (ChangeKind::Deleted, &made.id));
    feed.entity = entity::PERSONS;
    assert_eq!(client.changes(&feed).await.unwrap_err().kind(), ErrorKind::Unsupported);
    feed.entity = entity::STAGES;
    assert_eq!(client.changes(&feed).await.unwrap_err().kind(), ErrorKind::Unsupported);
    // What no list tells is found by asking for what is known.
    let gone = client.missing(Kind::Deal, &[made.id.clone(), RecordId::new("1")]).await.unwrap();
    assert_eq!(gone, [made.id, RecordId::new("1")]);
    assert!(!client.capabilities().changes_with_deletes);
}

/// The answer to a create is lost: it is found by the operation's id, by list at once, by search once the index has caught up.
#[tokio::test]
async fn an_unanswered_create_is_found() {
    let host = host();
    let account = Account::new(host.clone(), Duration::from_secs(20));
    let reader = account.client(settings);
    reader.fields(Kind::Person).await.unwrap();
    for (death, made) in [(Death::After(1), true), (Death::Before(1), false)] {
        let life = Life::new(Some(death));
        let mortal = Arc::new(MortalTransport { inner: Arc::clone(&account) as _, life });
        let writer = account.client_over(mortal, settings);
        let mut options = WriteOptions::new();
        options.idempotency_key = Some(format!("op-{made}"));
        let sent = host.now();
        assert!(writer.create(&entity::PERSONS, &person(1), &options).await.is_err());
        let operation = options.idempotency_key.unwrap();
        let early = reader.resolve_create(&entity::PERSONS, &operation, sent).await.unwrap();
        match (&early, made) {
            (CreateOutcome::Made(_), true) | (CreateOutcome::TooEarly(_), false) => {}
            other => panic!("{other:?}"),
        }
        host.sleep(SEARCH_LAG).await;
        let late = reader.resolve_create(&entity::PERSONS, &operation, sent).await.unwrap();
        match (&late, made) {
            (CreateOutcome::Made(_), true) => assert_eq!(early, late),
            (CreateOutcome::NotMade, false) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(account.rows("persons").len(), 1);
    let error = reader.resolve_create(&entity::DEALS, "x", host.now()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn the_engine_probes_with_lag_and_prices_in_tokens() {
    let host = host();
    let account = Account::new(host.clone(), Duration::from_secs(5));
    let client = account.client(settings);
    let set = MappingSet::from_json(
        &json!({"pipedrive": {"person": {"name": "name", "email": "emails", "heat": "temperature"}}}).to_string(),
        "mapping.json",
    )
    .unwrap();
    let schema = client.describe(&entity::PERSONS).await.unwrap();
    let mapping = Mapping::compile(set.entity("pipedrive", "person").unwrap(), Some(&schema)).unwrap();
    let store = Arc::new(MemoryStore::new(host.clone()));
    let engine = Engine::builder(Arc::new(client.clone()), store, host.clone(), schema, mapping).external_key(KEY).build().unwrap();
    let people: Vec<Incoming> = ["ann", "bob"]
        .iter()
        .map(|name| {
            let fields: Fields =
                [("name", json!(name)), ("email", json!(format!("{name}@example.com"))), ("heat", json!("Hot"))].into_iter().collect();
            Incoming::new(*name, fields)
        })
        .collect();
    let plan = engine.plan(&people).await.unwrap();
    assert!(matches!(plan.guarantee, Guarantee::ProbedWithLag { .. }), "{plan}");
    let price = client.price(&plan).unwrap();
    assert_eq!((price.creates, price.updates, price.total()), (10, 0, 10));
    assert_eq!(price.to_string(), "10 tokens to apply (10 for creates, 0 for updates)");
    let applied: Vec<_> = engine.apply(&plan).try_collect().await.unwrap();
    assert_eq!(applied.len(), 2);
    let rows = account.rows("persons");
    assert_eq!((rows.len(), &rows[0]["custom_fields"]), (2, &json!({KEY: "ann", CHOICE: 1})));
    assert_eq!(engine.plan(&people).await.unwrap().writes(), 0);
}

#[tokio::test]
async fn a_batch_keeps_the_order_of_each_record() {
    let account = Account::new(host(), Duration::ZERO);
    let client = account.client(settings);
    let made = client.create(&entity::ORGANIZATIONS, &[("name", "a")].into_iter().collect(), &WriteOptions::new()).await.unwrap();
    let update = |name: &str| BulkOp::Update { id: made.id.clone(), fields: [("name", name)].into_iter().collect() };
    let create = |name: &str| BulkOp::Create { fields: [("name", name)].into_iter().collect() };
    let bad = BulkOp::Create { fields: [("nonsense", "x")].into_iter().collect() };
    let ops = [update("b"), create("x"), bad, update("c"), create("y"), BulkOp::Delete { id: RecordId::new("999999") }];
    let outcomes = client.bulk(&entity::ORGANIZATIONS, &ops, &WriteOptions::new()).await.unwrap();
    let ok: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, true, false, true, true, true]);
    let names: Vec<Value> = account.rows("organizations").into_iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names[0], "c");
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn stages_and_types_by_name() {
    let account = Account::new(host(), Duration::ZERO);
    let client = account.client(settings);
    let place = client.place("qualified", None).await.unwrap();
    assert_eq!((place.pipeline_id, place.stage_id), (1, 2));
    assert_eq!(client.place("new", Some("Sales")).await.unwrap().stage_id, 1);
    assert_eq!(client.place("New", Some("partners")).await.unwrap().stage_id, 3);
    for wrong in ["won", "Lost", "nowhere"] {
        assert_eq!(client.place(wrong, None).await.unwrap_err().kind(), ErrorKind::Config, "{wrong}");
    }
    assert_eq!(client.activity_type("CALL").await.unwrap(), "call");
    assert_eq!(client.activity_type("old").await.unwrap_err().kind(), ErrorKind::Validation);
    let lists = account.log().iter().filter(|line| line.contains("stages") || line.contains("pipelines")).count();
    assert_eq!(lists, 2, "names are read once");
}
