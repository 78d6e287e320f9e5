//! The engine against the Salesforce sandbox, under scripted trouble.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{Error, ErrorKind};
use crm_sync::host::Host;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Entity, Fields, Link, RecordId, Value};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::{Fault, FaultKind, Sandbox};
use crm_sync::store::{Batch, MemoryStore, Store, links};
use crm_sync::sync::{Action, Applied, Engine, Incoming, Outcome, Plan};
use futures_util::StreamExt;
use serde_json::json;

const MAPPING: &str = r#"{"salesforce": {"lead": {"firstName": "FirstName", "lastName": "LastName", "email": "Email", "score": "Marketing_Score__c",
    "company": {"field": "Company", "default": "[not provided]"}}}}"#;

struct World {
    host: Host,
    sandbox: Sandbox,
    store: Arc<dyn Store>,
}

impl World {
    fn new(seed: u64) -> Self {
        let host = Host::manual(seed);
        Self { sandbox: Sandbox::new(host.clone(), seed), store: Arc::new(MemoryStore::new(host.clone())), host }
    }

    async fn engine(&self, key: Option<&str>) -> Engine {
        self.engine_with(MAPPING, key).await
    }

    async fn engine_with(&self, mapping: &str, key: Option<&str>) -> Engine {
        let access = self.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into()).name("salesforce:test");
        let crm: Arc<dyn CrmAdapter> = Arc::new(Salesforce::new(config, self.sandbox.transport(), self.host.clone()).unwrap());
        let schema = crm.describe(&entity::LEAD).await.unwrap();
        let set = MappingSet::from_json(mapping, "mapping.json").unwrap();
        let mapping = Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&schema)).unwrap();
        let mut builder = Engine::builder(crm, Arc::clone(&self.store), self.host.clone(), schema, mapping).match_on("Email");
        if let Some(key) = key {
            builder = builder.external_key(key);
        }
        let engine = builder.build().unwrap();
        self.sandbox.clear_requests();
        engine
    }

    fn writes(&self) -> usize {
        self.sandbox.requests().iter().filter(|request| request.method != "GET").count()
    }

    fn reads(&self) -> usize {
        self.sandbox.requests().iter().filter(|request| request.method == "GET").count()
    }

    fn leads(&self) -> usize {
        self.sandbox.records("Lead").len()
    }
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn lead(n: usize) -> Incoming {
    let value = json!({"firstName": format!("F{n}"), "lastName": format!("L{n}"), "email": format!("p{n}@example.org"), "score": n, "company": "Acme"});
    Incoming::new(format!("lead-{n}"), fields(value))
}

fn leads(count: usize) -> Vec<Incoming> {
    (0..count).map(lead).collect()
}

async fn apply(engine: &Engine, plan: &Plan) -> (Vec<Applied>, Option<Error>) {
    let mut done = Vec::new();
    let mut failure = None;
    let mut stream = engine.apply(plan);
    while let Some(item) = stream.next().await {
        assert!(failure.is_none(), "an item after the error");
        match item {
            Ok(applied) => done.push(applied),
            Err(error) => failure = Some(error),
        }
    }
    (done, failure)
}

fn created(done: &[Applied]) -> usize {
    done.iter().filter(|applied| matches!(applied.outcome, Outcome::Created(_))).count()
}

const KEY: Option<&str> = Some("External_Id__c");

#[tokio::test]
async fn the_fewest_calls() {
    let world = World::new(1);
    let engine = world.engine(KEY).await;
    let input = leads(450);
    let plan = engine.plan(&input).await.unwrap();
    // Is there any record with a key; is there any without: two searches, however many leads.
    assert_eq!((world.reads(), world.writes()), (2, 0));
    assert_eq!((plan.cost.read_calls, plan.cost.write_calls), (2, 3));
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none());
    assert_eq!((created(&done), world.leads()), (450, 450));
    assert_eq!((world.reads(), world.writes()), (2, 3));

    // A second run: no call at all.
    world.sandbox.clear_requests();
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!(plan.summary().skip, 450);
    assert_eq!(apply(&engine, &plan).await.0.len(), 0);
    assert_eq!((world.reads(), world.writes()), (0, 0));

    // Some change: one call for up to 200 of them, with the changed fields alone.
    let mut input = input;
    for record in input.iter_mut().take(5) {
        record.fields.insert("score", 0);
        record.fields.insert("firstName", Value::Null);
    }
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!((plan.summary().update, plan.summary().skip, plan.cost.write_calls), (5, 445, 1));
    // Lead 0 had the score 0 already.
    assert_eq!(plan.rows[0].changes.iter().map(|change| change.field.as_str()).collect::<Vec<_>>(), ["FirstName"]);
    assert_eq!(plan.rows[4].changes.iter().map(|change| change.field.as_str()).collect::<Vec<_>>(), ["FirstName", "Marketing_Score__c"]);
    assert_eq!(apply(&engine, &plan).await.0.len(), 5);
    assert_eq!((world.reads(), world.writes()), (0, 1));
    let changed: Vec<_> = world.sandbox.records("Lead").into_iter().filter(|lead| lead.get("FirstName") == Some(&Value::Null)).collect();
    assert_eq!(changed.len(), 5);
    assert!(changed.iter().all(|lead| lead.get("Marketing_Score__c").and_then(Value::as_f64) == Some(0.0)));
}

#[tokio::test]
async fn lost_state_is_found_again_without_a_write() {
    let mut world = World::new(2);
    let engine = world.engine(KEY).await;
    let plan = engine.plan(&leads(450)).await.unwrap();
    apply(&engine, &plan).await;
    world.store = Arc::new(MemoryStore::new(world.host.clone()));
    let engine = world.engine(KEY).await;
    let plan = engine.plan(&leads(451)).await.unwrap();
    assert_eq!((plan.summary().skip, plan.summary().create), (450, 1));
    assert!(world.reads() <= 8, "{} searches for 451 leads", world.reads());
    let (done, _) = apply(&engine, &plan).await;
    assert_eq!((done.len(), world.leads()), (1, 451));
    world.sandbox.clear_requests();
    assert_eq!(engine.plan(&leads(451)).await.unwrap().summary().skip, 451);
    assert_eq!(world.reads(), 0);
}

#[tokio::test]
async fn records_of_others_are_taken_over_or_held_for_review() {
    let world = World::new(3);
    let theirs = |n: usize, last: &str| fields(json!({"LastName": last, "Company": "Theirs", "Email": format!("p{n}@example.org")}));
    let one = world.sandbox.create("Lead", &theirs(1, "L1")).unwrap();
    world.sandbox.create("Lead", &theirs(2, "L2")).unwrap();
    world.sandbox.create("Lead", &theirs(2, "L2 again")).unwrap();
    let engine = world.engine(KEY).await;
    let plan = engine.plan(&leads(4)).await.unwrap();
    let actions: Vec<Action> = plan.rows.iter().map(|row| row.action).collect();
    assert_eq!(actions, [Action::Create, Action::Update, Action::Review, Action::Create]);
    assert_eq!(plan.rows[1].remote.as_ref(), Some(&one));
    assert!(plan.rows[2].reason.contains("2 records in the CRM have the same Email"), "{}", plan.rows[2].reason);
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none() && done.len() == 3);
    let taken = world.sandbox.records("Lead").into_iter().find(|lead| lead.text("Id") == Some(one.as_str())).unwrap();
    assert_eq!(taken.text("External_Id__c"), Some("lead-1"));
    assert_eq!(taken.text("Company"), Some("Acme"));
    assert_eq!(world.leads(), 5);
    let again = engine.plan(&leads(4)).await.unwrap();
    assert_eq!((again.writes(), again.summary().review), (0, 1));
}

#[tokio::test]
async fn a_linked_alias_is_the_same_record() {
    let world = World::new(4);
    let engine = world.engine(KEY).await;
    apply(&engine, &engine.plan(&leads(3)).await.unwrap()).await;
    // The record is now known under another id, and holds the old one as an alias.
    let mut input = vec![Incoming::new("lead-9", lead(1).fields).aliases(vec!["lead-1".to_owned()])];
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!((plan.rows[0].action, plan.rows[0].local.as_str()), (Action::Skip, "lead-1"));
    input[0].fields.insert("company", "Moved");
    let plan = engine.plan(&input).await.unwrap();
    apply(&engine, &plan).await;
    assert_eq!(world.leads(), 3);
    assert!(world.sandbox.records("Lead").iter().any(|lead| lead.text("Company") == Some("Moved")));
}

#[tokio::test]
async fn a_lost_answer_to_a_keyed_create_is_repeated() {
    for kind in [FaultKind::DropAfter, FaultKind::DropBefore, FaultKind::Truncate, FaultKind::Unavailable { html: true, retry_after: None }]
    {
        let world = World::new(5);
        let engine = world.engine(KEY).await;
        let plan = engine.plan(&leads(300)).await.unwrap();
        world.sandbox.fault(Fault::new(kind.clone()).method("PATCH"));
        let (done, failure) = apply(&engine, &plan).await;
        assert!(failure.is_none(), "{kind:?}: {failure:?}");
        assert_eq!((done.len(), world.leads()), (300, 300), "{kind:?}");
        assert_eq!(world.writes(), 3, "{kind:?}: two chunks and one repetition");
        assert_eq!(engine.plan(&leads(300)).await.unwrap().writes(), 0);
    }
}

#[tokio::test]
async fn a_lost_answer_to_a_probed_create_is_looked_up() {
    let world = World::new(6);
    let engine = world.engine(Some("UTM_Campaign__c")).await;
    let plan = engine.plan(&leads(300)).await.unwrap();
    world.sandbox.fault(Fault::new(FaultKind::DropAfter).method("POST"));
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none());
    let ambiguous = done.iter().filter(|applied| matches!(&applied.outcome, Outcome::Ambiguous(error) if error.may_have_applied())).count();
    assert_eq!((ambiguous, created(&done)), (200, 100));
    // Until it is resolved nobody writes these records.
    assert_eq!(engine.plan(&leads(300)).await.unwrap().summary().review, 200);
    let resolved = engine.resolve().await.unwrap();
    assert_eq!((resolved.applied, resolved.not_applied, resolved.unknown), (200, 0, 0));
    assert_eq!(engine.plan(&leads(300)).await.unwrap().writes(), 0);
    assert_eq!(world.leads(), 300);
}

#[tokio::test]
async fn without_a_guarantee_an_unanswered_create_waits_for_the_host() {
    let world = World::new(7);
    let engine = world.engine(None).await;
    let input = vec![Incoming::new("only", fields(json!({"lastName": "L", "company": "C"})))];
    let plan = engine.plan(&input).await.unwrap();
    assert!(plan.to_string().contains("guarantee for creates: None"));
    world.sandbox.fault(Fault::new(FaultKind::DropBefore).method("POST"));
    let (done, _) = apply(&engine, &plan).await;
    assert!(matches!(&done[0].outcome, Outcome::Ambiguous(_)), "{done:?}");
    assert_eq!(engine.resolve().await.unwrap().unknown, 1);
    assert_eq!(engine.plan(&input).await.unwrap().rows[0].action, Action::Review);
    assert!(engine.answer("only", None).await.unwrap());
    assert!(!engine.answer("only", None).await.unwrap());
    apply(&engine, &engine.plan(&input).await.unwrap()).await;
    assert_eq!(world.leads(), 1);
}

#[tokio::test]
async fn retry_after_is_never_cut_short() {
    let world = World::new(8);
    let engine = world.engine(KEY).await;
    let plan = engine.plan(&leads(10)).await.unwrap();
    world.sandbox.fault(Fault::new(FaultKind::TooManyRequests { retry_after: Some("30".to_owned()) }).method("PATCH"));
    let before = world.host.monotonic();
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none() && created(&done) == 10);
    let waited = world.host.monotonic() - before;
    assert!(waited >= Duration::from_secs(30) && waited < Duration::from_secs(36), "{waited:?}");
    assert_eq!(world.writes(), 2);
}

#[tokio::test]
async fn a_locked_row_is_repeated_alone() {
    let world = World::new(9);
    let engine = world.engine(KEY).await;
    let plan = engine.plan(&leads(50)).await.unwrap();
    world.sandbox.fault(Fault::new(FaultKind::RowLock { rows: vec![3, 17] }).method("PATCH"));
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none());
    assert_eq!((created(&done), world.leads(), world.writes()), (50, 50, 2));
}

#[tokio::test]
async fn what_the_crm_refuses_is_parked_until_it_changes() {
    let world = World::new(10);
    let engine = world.engine(KEY).await;
    let mut input = leads(3);
    // A rule of the org's own refuses the next call, whichever it is.
    world.sandbox.fault(Fault::new(FaultKind::Status {
        status: 400,
        body: json!([{"errorCode": "FIELD_CUSTOM_VALIDATION_EXCEPTION", "message": "no", "fields": ["Company"]}]),
    }));
    let plan = engine.plan(&[]).await.unwrap();
    assert_eq!(plan.rows.len(), 0);
    let plan = engine.plan(&input).await;
    // The fault hit the search: a refused search is an error, not an empty CRM.
    assert_eq!(plan.unwrap_err().code(), Some("FIELD_CUSTOM_VALIDATION_EXCEPTION"));

    input[1].fields.insert("lastName", "x".repeat(80));
    let id = world.sandbox.create("Lead", &fields(json!({"LastName": "Gone", "Company": "C", "Email": "p2@example.org"}))).unwrap();
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!(plan.rows[2].action, Action::Update);
    world.sandbox.delete("Lead", &id).unwrap();
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none());
    assert!(matches!(&done[2].outcome, Outcome::Failed(error) if error.kind() == ErrorKind::NotFound), "{:?}", done[2]);
    world.sandbox.clear_requests();
    let again = engine.plan(&input).await.unwrap();
    assert_eq!(again.rows.iter().map(|row| row.action).collect::<Vec<_>>(), [Action::Skip, Action::Skip, Action::Review]);
    assert!(again.rows[2].reason.contains("nothing has changed since"), "{}", again.rows[2].reason);
    assert_eq!(engine.unpark(None).await.unwrap(), 1);
    assert_eq!(engine.plan(&input).await.unwrap().rows[2].action, Action::Create);
}

#[tokio::test]
async fn a_spent_allowance_stops_the_run_and_the_next_one_finishes_it() {
    let world = World::new(11);
    let engine = world.engine(KEY).await;
    let plan = engine.plan(&leads(450)).await.unwrap();
    world.sandbox.fault(Fault::new(FaultKind::RequestLimit { concurrent: false }).method("PATCH").skip(1).always());
    let (done, failure) = apply(&engine, &plan).await;
    assert_eq!(failure.unwrap().kind(), ErrorKind::QuotaExhausted);
    assert_eq!((created(&done), world.leads()), (200, 200));
    world.sandbox.clear_faults();
    assert_eq!(engine.resolve().await.unwrap().unknown, 0);
    let plan = engine.plan(&leads(450)).await.unwrap();
    assert_eq!((plan.summary().skip, plan.summary().create), (200, 250));
    apply(&engine, &plan).await;
    assert_eq!(world.leads(), 450);
}

#[tokio::test]
async fn a_plan_of_yesterday_does_not_overwrite_today() {
    let world = World::new(12);
    let engine = world.engine(KEY).await;
    apply(&engine, &engine.plan(&leads(2)).await.unwrap()).await;
    let mut old = leads(2);
    old[0].fields.insert("company", "Old");
    let old_plan = engine.plan(&old).await.unwrap();
    let mut new = leads(2);
    new[0].fields.insert("company", "New");
    world.host.sleep(Duration::from_secs(1)).await;
    apply(&engine, &engine.plan(&new).await.unwrap()).await;
    let (done, _) = apply(&engine, &old_plan).await;
    assert!(matches!(done[0].outcome, Outcome::Moved), "{done:?}");
    assert!(world.sandbox.records("Lead").iter().any(|lead| lead.text("Company") == Some("New")));
}

#[tokio::test]
async fn rows_that_cannot_be_mapped_name_the_field_and_never_the_value() {
    let world = World::new(13);
    let engine = world.engine(KEY).await;
    let mut input = vec![
        Incoming::new("a", fields(json!({"company": "C"}))),
        Incoming::new("b", fields(json!({"lastName": "secret".repeat(20), "company": "C"}))),
        lead(1),
        lead(1),
        Incoming::new(" ", fields(json!({"lastName": "L"}))),
    ];
    input.push(lead(2).hold("looks like lead-1"));
    let plan = engine.plan(&input).await.unwrap();
    let summary = plan.summary();
    assert_eq!((summary.invalid, summary.create, summary.review), (4, 1, 1));
    assert!(plan.rows[0].reason.contains("lastName"), "{}", plan.rows[0].reason);
    assert!(plan.rows[1].reason.contains("LastName") && !plan.rows[1].reason.contains("secret"), "{}", plan.rows[1].reason);
    assert!(plan.rows[3].reason.contains("more than once"));
    assert!(!format!("{plan}{plan:?}").contains("secret"));
}

#[tokio::test]
async fn a_record_the_mapping_leaves_out_is_skipped_and_no_failure() {
    let world = World::new(21);
    let mapping = r#"{"salesforce": {"lead": {"lastName": "LastName", "company": "Company",
        "score": {"field": "Marketing_Score__c", "on_error": "skip_record"}}}}"#;
    let engine = world.engine_with(mapping, Some("External_Id__c")).await;
    let out = Incoming::new("out", fields(json!({"lastName": "L", "company": "C", "score": "many"})));
    let kept = Incoming::new("kept", fields(json!({"lastName": "L", "company": "C", "score": 3})));
    let plan = engine.plan(&[out, kept]).await.unwrap();
    assert_eq!((plan.rows[0].action, plan.rows[1].action), (Action::Skip, Action::Create));
    assert!(plan.rows[0].reason.contains("Marketing_Score__c") && !plan.rows[0].reason.contains("many"), "{}", plan.rows[0].reason);
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none());
    assert_eq!((created(&done), world.leads()), (1, 1));
}

#[tokio::test]
async fn references_become_ids_by_a_search_or_by_links() {
    let world = World::new(22);
    let mapping = r#"{"salesforce": {"lead": {"lastName": "LastName", "company": "Company",
        "owner": {"field": "OwnerId", "type": "lookup", "entity": "user", "by": "Username"}}}}"#;
    let engine = world.engine_with(mapping, KEY).await;
    let sales = world.sandbox.records("User").into_iter().find(|user| user.text("Alias") == Some("ssales")).unwrap();
    let lead = |id: &str, owner: Value| Incoming::new(id, fields(json!({"lastName": id, "company": "C", "owner": owner})));
    let name = sales.text("Username").unwrap().to_uppercase();
    let unowned = Incoming::new("four", fields(json!({"lastName": "four", "company": "C"})));
    let input = [lead("one", json!(name)), lead("two", json!("nobody@example.org")), lead("three", json!(name)), unowned];
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!(
        plan.rows.iter().map(|row| row.action).collect::<Vec<_>>(),
        [Action::Create, Action::Invalid, Action::Create, Action::Create]
    );
    assert!(plan.rows[1].reason.contains("OwnerId") && !plan.rows[1].reason.contains("nobody"), "{}", plan.rows[1].reason);
    // One search for all of them, and the one that looks for our key.
    assert_eq!((plan.cost.read_calls, world.reads()), (2, 2));
    apply(&engine, &plan).await;
    let owned = world.sandbox.records("Lead").iter().filter(|lead| lead.text("OwnerId") == sales.text("Id")).count();
    assert_eq!((owned, world.leads()), (2, 3));
    assert_eq!(engine.plan(&input).await.unwrap().writes(), 0);

    // By the host's id: the other entity's links name the record; without one the record waits.
    let mapping = r#"{"salesforce": {"lead": {"lastName": "LastName", "company": "Company",
        "owner": {"field": "OwnerId", "type": "lookup", "entity": "user"}}}}"#;
    let engine = world.engine_with(mapping, KEY).await;
    let input = [lead("five", json!("u-1"))];
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!(plan.rows[0].action, Action::Invalid);
    assert!(plan.rows[0].reason.contains("sync User first"), "{}", plan.rows[0].reason);
    let link = Link { local: "u-1".to_owned(), entity: Entity::from_static("User"), remote: RecordId::new(sales.text("Id").unwrap()) };
    let mut batch = Batch::new();
    links::put(&mut batch, "salesforce:test", &link).unwrap();
    world.store.commit(batch).await.unwrap();
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!(plan.rows[0].fields.text("OwnerId"), sales.text("Id"));
}

#[tokio::test]
async fn a_stream_of_records_is_synced_chunk_by_chunk() {
    let world = World::new(14);
    let engine = world.engine(KEY).await;
    let input = || futures_util::stream::iter(leads(4_500).into_iter().chain([Incoming::new("bad", fields(json!({"company": "C"})))]));

    // Trouble that concerns everybody: one error, at the end, and nothing is sent after it however long the stream is polled.
    world.sandbox.fault(Fault::new(FaultKind::RequestLimit { concurrent: false }).method("PATCH").skip(11).always());
    let items: Vec<_> = engine.batch(input()).collect().await;
    assert_eq!(items.iter().filter(|item| item.is_err()).count(), 1);
    assert!(items.last().unwrap().is_err());
    assert_eq!((items.len() - 1, world.leads(), world.writes()), (2_200, 2_200, 12));

    world.sandbox.clear_faults();
    let outcome = |items: &[crm_sync::error::Result<Applied>], wanted: &str| {
        items.iter().filter(|item| format!("{:?}", item.as_ref().unwrap().outcome).starts_with(wanted)).count()
    };
    let items: Vec<_> = engine.batch(input()).collect().await;
    assert_eq!((items.len(), outcome(&items, "Created"), outcome(&items, "NotWritten { action: Skip")), (4_501, 2_300, 2_200));
    assert_eq!(outcome(&items, "NotWritten { action: Invalid"), 1);
    world.sandbox.clear_requests();
    let items: Vec<_> = engine.batch(input()).collect().await;
    assert_eq!((outcome(&items, "NotWritten { action: Skip"), world.writes(), world.leads()), (4_500, 0, 4_500));
}
