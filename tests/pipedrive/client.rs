//! The Pipedrive client and adapter in a pretend company: typed records, searches, changes,
//! creates without an answer, batches, names.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::field_reassign_with_default,
    reason = "a test may panic, and writes what it means"
)]

use crate::company;
use crate::support;

use std::sync::Arc;
use std::time::Duration;

use company::Company;
use crm_sync::adapter::{BulkOp, ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::error::ErrorKind;
use crm_sync::model::{ChangeKind, Fields, RecordId, Value};
use crm_sync::pipedrive::types::{ContactPoint, Person};
use crm_sync::pipedrive::{CreateOutcome, Kind, ListQuery, SEARCH_LAG, entity};
use crm_sync::query::{Criteria, Query};
use futures_util::TryStreamExt;
use serde_json::json;
use support::{Death, Life, MortalTransport};

fn person(n: u64) -> Fields {
    let mut fields = Fields::new();
    fields.insert("name", format!("Conformance{n:04}"));
    fields.insert("emails", json!([{"value": format!("c{n}@example.com"), "primary": true, "label": "work"}]));
    fields.insert("job_title", "Tester");
    fields
}

#[tokio::test]
async fn typed_records_of_both_versions() {
    let company = Company::new(0);
    let (_, choice) = company.furnish().await;
    let client = company.client();
    let mut jane = Person::default();
    jane.name = Some("Jane Doe".to_owned());
    let mut email = ContactPoint::default();
    email.value = Some("jane@example.com".to_owned());
    jane.emails = Some(vec![email]);
    jane.custom_fields = Some(serde_json::Map::from_iter([(choice.clone(), json!("Hot"))]));
    let made = client.persons().create(&jane).await.unwrap();
    assert!(made.custom_fields.as_ref().unwrap()[&choice].is_i64());
    let id = RecordId::new(made.id.unwrap().to_string());
    // Read, change, write: read-only members are left out.
    let mut again = client.persons().get(&id).await.unwrap().unwrap();
    again.job_title = Some("Boss".to_owned());
    let again = client.persons().update(&id, &again).await.unwrap();
    assert_eq!((again.job_title.as_deref(), again.name.as_deref()), (Some("Boss"), Some("Jane Doe")));
    let note = client.notes().create(&json!({"content": "x", "person_id": made.id, "pinned_to_deal_flag": false})).await.unwrap();
    assert_eq!(company.rows("note")[0]["pinned_to_deal_flag"], false);
    assert_eq!(client.notes().list(ListQuery::new()).try_collect::<Vec<_>>().await.unwrap().len(), 1);
    assert!(client.notes().list(ListQuery::new().filter("deal_id", 999)).try_collect::<Vec<_>>().await.unwrap().is_empty());
    assert!(note.id.is_some());
    assert!(client.persons().delete(&id).await.unwrap());
    assert!(!client.persons().delete(&id).await.unwrap());
    assert_eq!(client.persons().get(&id).await.unwrap(), None);
    assert_eq!(client.persons().get(&RecordId::new("../me")).await.unwrap(), None);
}

#[tokio::test]
async fn streams_hide_cursors_and_offsets() {
    let company = Company::new(0);
    let client = company.client();
    let one = client.persons().create(&json!({"name": "P"})).await.unwrap().id;
    for n in 0..6 {
        client.persons().create(&json!({"name": format!("P{n}")})).await.unwrap();
        client.notes().create(&json!({"content": format!("N{n}"), "person_id": one})).await.unwrap();
    }
    let persons: Vec<Person> = client.persons().list(ListQuery::new().limit(3)).try_collect().await.unwrap();
    assert_eq!(persons.len(), 7);
    let notes: Vec<_> = client.notes().list(ListQuery::new().limit(3)).try_collect().await.unwrap();
    assert_eq!(notes.len(), 6);
    let pages = |word: &str| company.log().iter().filter(|line| line.starts_with(&format!("GET {word}"))).count();
    assert_eq!((pages("/api/v2/persons?"), pages("/v1/notes?")), (3, 2));
}

#[tokio::test]
async fn a_search_is_compared_again_and_paged_by_value() {
    let company = Company::new(0);
    let client = company.client();
    for email in ["self@example.com", "myself@example.com", "a+b@example.com"] {
        client.persons().create(&json!({"name": email, "emails": [{"value": email}]})).await.unwrap();
    }
    let find = |values: Vec<&str>| {
        let query = Query::new(entity::PERSONS).select(["name"]).filter(Criteria::one_of("emails", values));
        client.search_all(query).map_ok(|record| record.fields.text("name").unwrap().to_owned()).try_collect::<Vec<_>>()
    };
    assert_eq!(find(vec!["self@example.com"]).await.unwrap(), ["self@example.com"]);
    assert!(company.log().iter().any(|line| line.contains("exact_match=true") && line.contains("fields=email")));
    let both = find(vec!["a+b@example.com", "SELF@example.com", "nobody@example.com"]).await.unwrap();
    assert_eq!(both, ["a+b@example.com", "self@example.com"]);
    assert!(company.log().iter().any(|line| line.contains("term=a%2Bb%40example.com")));
    // Nothing to narrow the list by.
    let query = Query::new(entity::PERSONS).filter(Criteria::eq("job_title", "x"));
    assert_eq!(client.search(&query).await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(client.search(&query.allow_residual()).await.unwrap().items.is_empty());
}

#[tokio::test]
async fn the_feed_tells_all_and_ends() {
    let company = Company::new(0);
    let client = company.client();
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
    company.host.sleep(Duration::from_secs(90)).await;
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
    assert!(company.log().iter().any(|line| line.contains("updated_since=2026-11-24T08%3A59%3A00Z")));
}

#[tokio::test]
async fn only_deals_tell_their_deletions() {
    let company = Company::new(0);
    let client = company.client();
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
    let company = Company::new(20_000);
    company.furnish().await;
    let reader = company.client();
    reader.fields(Kind::Person).await.unwrap();
    for (death, made) in [(Death::After(1), true), (Death::Before(1), false)] {
        let life = Life::new(Some(death));
        let mortal = Arc::new(MortalTransport { inner: company.sandbox.transport(), life });
        let writer = company.client_over(mortal);
        let mut options = WriteOptions::new();
        options.idempotency_key = Some(format!("op-{made}"));
        let sent = company.host.now();
        assert!(writer.create(&entity::PERSONS, &person(1), &options).await.is_err());
        let operation = options.idempotency_key.unwrap();
        let early = reader.resolve_create(&entity::PERSONS, &operation, sent).await.unwrap();
        match (&early, made) {
            (CreateOutcome::Made(_), true) | (CreateOutcome::TooEarly(_), false) => {}
            other => panic!("{other:?}"),
        }
        company.host.sleep(SEARCH_LAG).await;
        let late = reader.resolve_create(&entity::PERSONS, &operation, sent).await.unwrap();
        match (&late, made) {
            (CreateOutcome::Made(_), true) => assert_eq!(early, late),
            (CreateOutcome::NotMade, false) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(company.rows("person").len(), 1);
    let error = reader.resolve_create(&entity::DEALS, "x", company.host.now()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

#[tokio::test]
async fn a_batch_keeps_the_order_of_each_record() {
    let company = Company::new(0);
    let client = company.client();
    let made = client.create(&entity::ORGANIZATIONS, &[("name", "a")].into_iter().collect(), &WriteOptions::new()).await.unwrap();
    let update = |name: &str| BulkOp::Update { id: made.id.clone(), fields: [("name", name)].into_iter().collect() };
    let create = |name: &str| BulkOp::Create { fields: [("name", name)].into_iter().collect() };
    let bad = BulkOp::Create { fields: [("nonsense", "x")].into_iter().collect() };
    let ops = [update("b"), create("x"), bad, update("c"), create("y"), BulkOp::Delete { id: RecordId::new("999999") }];
    let outcomes = client.bulk(&entity::ORGANIZATIONS, &ops, &WriteOptions::new()).await.unwrap();
    let ok: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(ok, [true, true, false, true, true, true]);
    let names: Vec<Value> = company.rows("organization").into_iter().map(|row| row["name"].clone()).collect();
    assert_eq!(names[0], "c");
    assert_eq!(names.len(), 3);
}

#[tokio::test]
async fn stages_and_types_by_name() {
    let company = Company::new(0);
    let client = company.client();
    let partners = client.pipelines().create(&json!({"name": "Partners"})).await.unwrap().id.unwrap();
    let other = client.stages().create(&json!({"name": "Qualified", "pipeline_id": partners})).await.unwrap().id.unwrap();
    let lunch = company.rows("activityType").iter().find(|row| row["key_string"] == "lunch").unwrap()["id"].to_string();
    client.activity_types().delete(&RecordId::new(lunch)).await.unwrap();
    let stage = |name: &str| company.rows("stage").iter().find(|row| row["name"] == name).unwrap()["id"].as_i64().unwrap();
    let before = company.log().len();
    let place = client.place("qualified", None).await.unwrap();
    assert_eq!((place.pipeline_id, place.stage_id), (1, stage("Qualified")));
    assert_eq!(client.place("new", Some("Pipeline")).await.unwrap().stage_id, stage("Contact Made"));
    assert_eq!(client.place("Qualified", Some("partners")).await.unwrap().stage_id, other);
    for wrong in ["won", "Lost", "nowhere"] {
        assert_eq!(client.place(wrong, None).await.unwrap_err().kind(), ErrorKind::Config, "{wrong}");
    }
    assert_eq!(client.activity_type("CALL").await.unwrap(), "call");
    assert_eq!(client.activity_type("lunch").await.unwrap_err().kind(), ErrorKind::Validation);
    let lists = company.log()[before..].iter().filter(|line| line.contains("stages") || line.contains("pipelines")).count();
    assert_eq!(lists, 2, "names are read once");
}
