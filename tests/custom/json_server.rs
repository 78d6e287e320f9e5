//! A real server (json-server) by nothing but a definition: `examples/custom/json-server.yaml`.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::local;

use crm_sync::adapter::{ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::conformance::adapter::{Subject, check};
use crm_sync::custom::{Custom, Definition};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::model::{Entity, Fields};
use crm_sync::query::{Criteria, Operator, Query};
use futures_util::TryStreamExt;
use local::Program;
use serde_json::{Value, json};

const CONTACTS: Entity = Entity::from_static("contacts");
const COMPANIES: Entity = Entity::from_static("companies");
const EMAILS: Entity = Entity::from_static("emails");

fn start() -> Option<(Program, Custom)> {
    let server = Program::json_server(&json!({"contacts": [], "companies": [], "emails": []}))?;
    let definition = Definition::from_yaml(include_str!("../../examples/custom/json-server.yaml"), "json-server.yaml").unwrap();
    let crm = Custom::builder(definition, ReqwestTransport::loopback().unwrap(), Host::tokio()).variable("host", server.address());
    let crm = crm.build().unwrap();
    Some((server, crm))
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

async fn names(crm: &Custom, filter: Criteria) -> Vec<String> {
    let mut names: Vec<String> = crm
        .search_all(Query::new(CONTACTS).filter(filter).page_size(2))
        .map_ok(|record| record.fields.text("name").unwrap().to_owned())
        .try_collect()
        .await
        .unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn json_server_keeps_the_contract() {
    let Some((_server, crm)) = start() else { return };
    let sample = |n: u64| {
        fields(json!({"name": format!("conformance {n:04}"), "city": "Paris", "note": "a note", "score": n, "stage": "Hot",
            "updated_at": "2026-11-24T10:00:00Z"}))
    };
    let report = check(&crm, &Subject::new(CONTACTS, "name", sample).clearable("note").number("score")).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
    let sample = |n: u64| fields(json!({"name": format!("conformance {n:04}"), "city": "Paris", "size": n}));
    let report = check(&crm, &Subject::new(COMPANIES, "name", sample).clearable("city").number("size")).await;
    assert!(report.is_ok(), "{report}");
}

#[tokio::test]
async fn lists_filters_and_changes() {
    let Some((_server, crm)) = start() else { return };
    for n in 0..7 {
        let row = json!({"name": format!("n{n}"), "score": n, "stage": if n < 3 { "Cold" } else { "Hot" }, "city": "Lyon",
            "updated_at": format!("2026-11-24T10:00:0{n}Z")});
        crm.create(&CONTACTS, &fields(row), &WriteOptions::new()).await.unwrap();
    }
    // Without a page the answer is a bare list, with one an envelope: both are read.
    assert_eq!(names(&crm, Criteria::always()).await.len(), 7);
    let page = crm.search(&Query::new(CONTACTS).page_size(3)).await.unwrap();
    assert_eq!((page.items.len(), page.total, page.next.is_some()), (3, Some(7), true));
    let between = Criteria::compare("score", Operator::Gte, 2).and(Criteria::compare("score", Operator::Lt, 4));
    assert_eq!(names(&crm, between).await, ["n2", "n3"]);
    assert_eq!(names(&crm, Criteria::eq("stage", "Cold").and(Criteria::ne("name", "n1"))).await, ["n0", "n2"]);
    assert_eq!(names(&crm, Criteria::eq("score", 1).or(Criteria::eq("name", "n5"))).await, ["n1", "n5"]);
    assert_eq!(names(&crm, Criteria::StartsWith { field: "name".to_owned(), text: "N6".to_owned() }).await, ["n6"]);
    // A label on this side is a number on the other, a field of an object has a name of its own.
    let found = crm.find_one(Query::new(CONTACTS).filter(Criteria::eq("name", "n4"))).await.unwrap().unwrap();
    assert_eq!((found.fields.text("stage"), found.fields.text("city")), (Some("Hot"), Some("Lyon")));
    assert!(!found.fields.contains("address"));
    let error = crm.create(&CONTACTS, &fields(json!({"nmae": "x"})), &WriteOptions::new()).await.unwrap_err();
    assert!(error.message().contains("the field nmae cannot be written: the definition names no such field"), "{error}");

    let mut feed = ChangeFeed::new(CONTACTS, Since::At("2026-11-24T10:00:05Z".parse().unwrap()));
    let mut told = Vec::new();
    loop {
        let page = crm.changes(&feed).await.unwrap();
        told.extend(page.items.iter().map(|change| change.fields.text("name").unwrap_or_default().to_owned()));
        let next = Since::Cursor(page.next.unwrap());
        if next == feed.since {
            break;
        }
        feed.since = next;
    }
    told.sort();
    told.dedup();
    assert_eq!(told, ["n5", "n6"]);
}

#[tokio::test]
async fn a_put_that_replaces_loses_nothing() {
    let Some((_server, crm)) = start() else { return };
    let id = crm.create(&COMPANIES, &fields(json!({"name": "Acme", "city": "Rome", "size": 9})), &WriteOptions::new()).await.unwrap().id;
    crm.update(&COMPANIES, &id, &fields(json!({"city": "Oslo"})), &WriteOptions::new()).await.unwrap();
    let record = crm.get(&COMPANIES, &id, &[]).await.unwrap().unwrap();
    assert_eq!((record.fields.text("name"), record.fields.text("city")), (Some("Acme"), Some("Oslo")));
    crm.delete(&COMPANIES, &id, &WriteOptions::new()).await.unwrap();
    crm.delete(&COMPANIES, &id, &WriteOptions::new()).await.unwrap();
    let error = crm.update(&COMPANIES, &id, &fields(json!({"city": "x"})), &WriteOptions::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn an_address_is_a_record_of_its_own() {
    let Some((_server, crm)) = start() else { return };
    let options = WriteOptions::new();
    let ada = crm.create(&CONTACTS, &fields(json!({"name": "Ada", "email": "ada@x.io"})), &options).await.unwrap().id;
    let bob = crm.create(&CONTACTS, &fields(json!({"name": "Bob"})), &options).await.unwrap().id;
    let addresses: Vec<_> = crm.search_all(Query::new(EMAILS)).try_collect().await.unwrap();
    assert_eq!(addresses.len(), 1);
    assert_eq!((addresses[0].fields.text("contact_id"), addresses[0].fields.text("kind")), (Some(ada.as_str()), Some("work")));
    // Read with its record, in lists and alone; found by it.
    assert_eq!(crm.get(&CONTACTS, &ada, &[]).await.unwrap().unwrap().fields.text("email"), Some("ada@x.io"));
    let all: Vec<_> = crm.search_all(Query::new(CONTACTS).select(["name", "email"])).try_collect().await.unwrap();
    let email = |name: &str| all.iter().find(|record| record.fields.text("name") == Some(name)).unwrap().fields.get("email").cloned();
    assert_eq!((email("Ada"), email("Bob")), (Some(json!("ada@x.io")), Some(Value::Null)));
    assert_eq!(names(&crm, Criteria::eq("email", "ada@x.io")).await, ["Ada"]);
    assert_eq!(names(&crm, Criteria::eq("email", "ada@x.io").and(Criteria::eq("name", "Bob"))).await, [""; 0]);
    assert_eq!(names(&crm, Criteria::eq("email", "nobody@x.io")).await, [""; 0]);
    // Changed, added, cleared, deleted with its record.
    crm.update(&CONTACTS, &ada, &fields(json!({"email": "ada@y.io"})), &options).await.unwrap();
    crm.update(&CONTACTS, &bob, &fields(json!({"email": "bob@x.io", "note": "n"})), &options).await.unwrap();
    assert_eq!(names(&crm, Criteria::one_of("email", ["ada@y.io", "bob@x.io"])).await, ["Ada", "Bob"]);
    crm.update(&CONTACTS, &bob, &fields(json!({"email": null})), &options).await.unwrap();
    assert_eq!(crm.get(&CONTACTS, &bob, &["email".to_owned()]).await.unwrap().unwrap().fields.get("email"), Some(&Value::Null));
    crm.delete(&CONTACTS, &ada, &options).await.unwrap();
    assert!(crm.search_all(Query::new(EMAILS)).try_collect::<Vec<_>>().await.unwrap().is_empty());
}
