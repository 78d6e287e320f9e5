//! A real server (Kinto) by nothing but a definition: `examples/custom/kinto.yaml`.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::local;

use crm_sync::adapter::{BulkOp, ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::conformance::adapter::{Subject, check};
use crm_sync::custom::{Custom, Definition};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::model::{ChangeKind, Entity, ExternalKey, Fields, RecordId};
use crm_sync::query::{Criteria, Operator, Query};
use crm_sync::rest::Call;
use futures_util::TryStreamExt;
use http::Method;
use local::Program;
use serde_json::{Value, json};

const CONTACTS: Entity = Entity::from_static("contacts");
const PASSWORD: &str = "k1nto-password";

fn kinto(server: &Program, bucket: &str, password: &str) -> Custom {
    let text = include_str!("../../examples/custom/kinto.yaml");
    let definition = Definition::from_yaml(text, "kinto.yaml").unwrap();
    Custom::builder(definition, ReqwestTransport::loopback().unwrap(), Host::tokio())
        .variable("host", server.address())
        .variable("bucket", bucket)
        .secret("password", password.to_owned())
        .build()
        .unwrap()
}

/// A bucket with a collection of contacts that has a schema.
async fn crm(server: &Program, bucket: &str) -> Custom {
    let crm = kinto(server, bucket, PASSWORD);
    let put = |path: String, body: Value| Call::new("setup", Method::PUT, path).json(&body).unwrap();
    // The account makes itself; nobody is logged in before there is one.
    let transport = ReqwestTransport::loopback().unwrap();
    let request = http::Request::put(format!("http://{}/v1/accounts/sync", server.address()))
        .header("content-type", "application/json")
        .body(json!({"data": {"password": PASSWORD}}).to_string().into());
    crm_sync::http::HttpTransport::send(&transport, request.unwrap()).await.unwrap();
    crm.call(&put(format!("/buckets/{bucket}"), json!({}))).await.unwrap();
    let text = |more: Value| {
        let mut kind = json!({"type": "string"});
        kind.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kind
    };
    let schema = json!({
        "type": "object",
        "properties": {
            "name": text(json!({"title": "Full name", "maxLength": 80})), "email": text(json!({"format": "email"})),
            "score": {"type": "integer"}, "note": {"type": ["string", "null"]}
        },
        "required": ["name"],
        "additionalProperties": false
    });
    crm.call(&put(format!("/buckets/{bucket}/collections/contacts"), json!({"data": {"schema": schema}}))).await.unwrap();
    crm
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

async fn ids(crm: &Custom, filter: Criteria) -> Vec<String> {
    let mut names: Vec<String> = crm
        .search_all(Query::new(CONTACTS).filter(filter))
        .map_ok(|record| record.fields.text("name").unwrap().to_owned())
        .try_collect()
        .await
        .unwrap();
    names.sort();
    names
}

#[tokio::test]
async fn kinto_keeps_the_contract() {
    let Some(server) = Program::kinto() else { return };
    let crm = crm(&server, "contract").await;
    let sample = |n: u64| {
        fields(json!({"name": format!("conformance {n:04}"), "email": format!("c{n}@example.com"), "score": n, "note": "a note",
            "id": format!("conformance-{n}")}))
    };
    let without_id = move |n: u64| {
        let mut fields = sample(n);
        fields.remove("id");
        fields
    };
    let subject = Subject::new(CONTACTS, "name", without_id).clearable("note").number("score");
    let report = check(&crm, &subject).await;
    println!("{report}");
    assert!(report.is_ok(), "{report}");
    // Records may be made under ids of the host's choice: the id is the key of an upsert.
    let subject = Subject::new(CONTACTS, "name", sample).key("id").starting_at(10_000);
    let report = check(&crm, &subject).await;
    assert!(report.passed.contains(&"upsert_twice_creates_once"), "{report}");
}

#[tokio::test]
async fn records_come_page_by_page_and_by_every_filter() {
    let Some(server) = Program::kinto() else { return };
    let crm = crm(&server, "lists").await;
    for n in 0..12 {
        let note = if n % 2 == 0 { json!("even") } else { Value::Null };
        crm.create(&CONTACTS, &fields(json!({"name": format!("n{n:02}"), "score": n, "note": note})), &WriteOptions::new()).await.unwrap();
    }
    // A text of digits is a text.
    crm.create(&CONTACTS, &fields(json!({"name": "123", "score": 100})), &WriteOptions::new()).await.unwrap();
    // The server gives five at most: three pages by its Next-Page header.
    let first = crm.search(&Query::new(CONTACTS)).await.unwrap();
    assert_eq!((first.items.len(), first.next.is_some()), (5, true));
    assert_eq!(ids(&crm, Criteria::always()).await.len(), 13);
    let two = Query::new(CONTACTS).page_size(2).limit(3);
    assert_eq!(crm.search_all(two).try_collect::<Vec<_>>().await.unwrap().len(), 3);
    let compare = |op, value: i64| Criteria::compare("score", op, value);
    for (filter, wanted) in [
        (Criteria::eq("name", "n03"), vec!["n03"]),
        (Criteria::eq("name", "123"), vec!["123"]),
        (Criteria::one_of("name", ["n01", "123"]), vec!["123", "n01"]),
        (compare(Operator::Gt, 10), vec!["123", "n11"]),
        (compare(Operator::Gte, 11).and(compare(Operator::Lt, 100)), vec!["n11"]),
        (compare(Operator::Lte, 1), vec!["n00", "n01"]),
        (Criteria::ne("note", "even").and(compare(Operator::Lt, 4)), vec!["n01", "n03"]),
        (Criteria::Contains { field: "name".to_owned(), text: "11".to_owned() }, vec!["n11"]),
    ] {
        assert_eq!(ids(&crm, filter.clone()).await, wanted, "{filter:?}");
    }
    let sorted = crm.search(&Query::new(CONTACTS).order_by("score", true).page_size(2).select(["score"])).await.unwrap();
    assert_eq!(sorted.items.iter().map(|record| record.fields.get("score").unwrap().as_i64().unwrap()).collect::<Vec<_>>(), [100, 11]);
    assert!(!sorted.items[0].fields.contains("name"));
    // What the server cannot say is refused, or compared here if the caller allows it.
    let either = Criteria::eq("name", "n01").or(Criteria::eq("name", "n02"));
    assert_eq!(crm.search(&Query::new(CONTACTS).filter(either.clone())).await.unwrap_err().kind(), ErrorKind::Unsupported);
    let all: Vec<_> = crm.search_all(Query::new(CONTACTS).filter(either).allow_residual()).try_collect().await.unwrap();
    assert_eq!(all.len(), 2);
}

#[tokio::test]
async fn changes_and_tombstones_are_told_once() {
    let Some(server) = Program::kinto() else { return };
    let crm = crm(&server, "feed").await;
    let mut made = Vec::new();
    for n in 0..7 {
        made.push(crm.create(&CONTACTS, &fields(json!({"name": format!("n{n}")})), &WriteOptions::new()).await.unwrap().id);
    }
    let mut feed = ChangeFeed::new(CONTACTS, Since::Start);
    feed.deletes = true;
    // The newest of the last reading may be told again: readers drop repeats by their event.
    let mut seen = read(&crm, &mut feed).await;
    seen.sort_by(|(a, _), (b, _)| a.cmp(b));
    seen.dedup();
    assert_eq!(seen.len(), 7);
    crm.update(&CONTACTS, &made[1], &fields(json!({"name": "changed"})), &WriteOptions::new()).await.unwrap();
    crm.delete(&CONTACTS, &made[2], &WriteOptions::new()).await.unwrap();
    seen = read(&crm, &mut feed).await;
    seen.dedup();
    seen.retain(|(id, _)| *id == made[1] || *id == made[2]);
    assert_eq!(seen, [(made[1].clone(), ChangeKind::Updated), (made[2].clone(), ChangeKind::Deleted)]);
    assert!(read(&crm, &mut feed).await.len() <= 1);
}

async fn read(crm: &Custom, feed: &mut ChangeFeed) -> Vec<(RecordId, ChangeKind)> {
    let mut seen = Vec::new();
    for _ in 0..20 {
        let page = crm.changes(feed).await.unwrap();
        seen.extend(page.items.into_iter().map(|change| (change.id, change.kind)));
        let next = Since::Cursor(page.next.unwrap());
        if next == feed.since {
            return seen;
        }
        feed.since = next;
    }
    panic!("the feed does not stand still");
}

#[tokio::test]
async fn versions_ids_and_schemas() {
    let Some(server) = Program::kinto() else { return };
    let crm = crm(&server, "versions").await;
    let made = crm.create(&CONTACTS, &fields(json!({"name": "a"})), &WriteOptions::new()).await.unwrap();
    let version = made.version.unwrap();
    assert_eq!(crm.get(&CONTACTS, &made.id, &[]).await.unwrap().unwrap().version.as_ref(), Some(&version));
    let guarded = WriteOptions::new().if_version(version);
    let change = fields(json!({"name": "b"}));
    crm.update(&CONTACTS, &made.id, &change, &guarded).await.unwrap();
    let error = crm.update(&CONTACTS, &made.id, &change, &guarded).await.unwrap_err();
    assert_eq!((error.kind(), error.status().map(|status| status.as_u16())), (ErrorKind::Conflict, Some(412)));
    let error = crm.delete(&CONTACTS, &made.id, &guarded).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    // An id of the host's choice.
    let key = ExternalKey::new("id", "lead-7").unwrap();
    let created = crm.upsert(&CONTACTS, &key, &fields(json!({"name": "x"})), &WriteOptions::new()).await.unwrap();
    assert_eq!((created.id.as_str(), created.created), ("lead-7", Some(true)));
    let again = crm.upsert(&CONTACTS, &key, &fields(json!({"name": "y"})), &WriteOptions::new()).await.unwrap();
    assert_ne!(again.created, Some(true));
    // What the schema refuses names the field, not its value.
    let error = crm.create(&CONTACTS, &fields(json!({"name": 5})), &WriteOptions::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Validation, "name"));
    let schema = crm.describe(&CONTACTS).await.unwrap();
    let name = schema.field("name").unwrap();
    assert_eq!((name.label.as_str(), name.required, name.max_length), ("Full name", true, Some(80)));
    // A wrong password, a bucket that does not exist.
    assert_eq!(kinto(&server, "versions", "wrong").authenticate().await.unwrap_err().kind(), ErrorKind::Authentication);
    assert_eq!(crm.authenticate().await.unwrap().account.as_deref(), Some("versions"));
    assert_eq!(kinto(&server, "nowhere", PASSWORD).authenticate().await.unwrap_err().kind(), ErrorKind::Permission);
}

#[tokio::test]
async fn thirty_writes_are_two_requests() {
    let Some(server) = Program::kinto() else { return };
    // A path with "batch" in it would count as a batch inside of a batch.
    let crm = crm(&server, "many").await;
    let old = crm.create(&CONTACTS, &fields(json!({"name": "old"})), &WriteOptions::new()).await.unwrap().id;
    let gone = crm.create(&CONTACTS, &fields(json!({"name": "gone"})), &WriteOptions::new()).await.unwrap().id;
    let mut ops: Vec<BulkOp> = (0..28).map(|n| BulkOp::Create { fields: fields(json!({"name": format!("b{n:02}")})) }).collect();
    ops[3] = BulkOp::Create { fields: fields(json!({"nmae": "typo"})) };
    ops.push(BulkOp::Update { id: old.clone(), fields: fields(json!({"name": "new"})) });
    ops.push(BulkOp::Delete { id: gone.clone() });
    let outcomes = crm.bulk(&CONTACTS, &ops, &WriteOptions::new()).await.unwrap();
    assert_eq!(outcomes.len(), 30);
    let failed: Vec<String> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).map(ToString::to_string).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(outcomes[3].as_ref().unwrap_err().kind(), ErrorKind::Validation);
    // Each outcome belongs to its write.
    let record = crm.get(&CONTACTS, &outcomes[27].as_ref().unwrap().id, &[]).await.unwrap().unwrap();
    assert_eq!(record.fields.text("name"), Some("b27"));
    assert_eq!(crm.get(&CONTACTS, &old, &[]).await.unwrap().unwrap().fields.text("name"), Some("new"));
    assert_eq!(crm.get(&CONTACTS, &gone, &[]).await.unwrap(), None);
}
