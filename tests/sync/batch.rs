//! The guide's batch sync and its sync rules, against the sandbox.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may panic"
)]

use crate::support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{Error, ErrorKind};
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Entity, Fields};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::{DuplicateRule, Fault, FaultKind, RuleAction, Sandbox};
use crm_sync::sync::{Action, BatchRecord, BatchSync, Engine, Incoming, Outcome, SyncRules};
use futures_util::stream;
use jiff::Timestamp;
use serde_json::json;

use support::org::{KEYED, Org, People, incoming, people, run};

/// What the host changed at or after `since`.
fn changed(people: &People, times: &BTreeMap<String, Timestamp>, since: Option<Timestamp>) -> Vec<Result<BatchRecord, Error>> {
    let all = incoming(people).into_iter();
    let recent = all.filter(|record| since.is_none_or(|since| times[&record.id] >= since));
    recent.map(|record| Ok(BatchRecord::new("lead", times[&record.id], record))).collect()
}

fn batch(org: &Org, engine: Engine) -> BatchSync {
    BatchSync::new(Arc::clone(&org.store), org.host.clone(), "nightly").engine("lead", engine).chunk(4)
}

#[tokio::test]
async fn a_run_takes_what_changed_and_what_could_not_be_written_comes_again() {
    let org = Org::new(1).await;
    let mut people = people(10);
    let mut times: BTreeMap<String, Timestamp> = people.keys().map(|id| (id.clone(), org.host.now())).collect();
    let rule = DuplicateRule { action: RuleAction::Block, ..DuplicateRule::new("Same_Name", "Lead", &["LastName"]) };
    org.sandbox.set_options(|options| options.duplicate_rules = vec![rule]).unwrap();
    people.get_mut("lead-9").unwrap().last = "L0".to_owned();
    let sync = batch(&org, org.engine(KEYED));

    // The first run takes all; one is refused for good.
    org.host.sleep(Duration::from_secs(60)).await;
    let run = sync.begin().await.unwrap();
    let begun = org.host.now();
    assert_eq!(run.since(), None);
    let mut each = Vec::new();
    let records = stream::iter(changed(&people, &times, None));
    let report = run
        .run(records, |entity, applied| each.push((entity.to_owned(), applied.local, matches!(applied.outcome, Outcome::Created(_)))))
        .await;
    let report = report.unwrap();
    assert_eq!((report.created, report.failed, report.again, report.cutoff), (9, 1, 0, Some(begun)));
    assert!(
        each.len() == 10 && each.iter().all(|(entity, local, created)| entity == "lead" && *created == (local != "lead-9")),
        "{each:?}"
    );

    // Only what changed since; unchanged records cost no write.
    org.host.sleep(Duration::from_secs(60)).await;
    for id in ["lead-1", "lead-2"] {
        times.insert(id.to_owned(), org.host.now());
    }
    people.get_mut("lead-1").unwrap().score = Some(77);
    let run = sync.begin().await.unwrap();
    assert_eq!(run.since(), Some(begun));
    let found = changed(&people, &times, run.since());
    assert_eq!(found.len(), 2);
    let report = run.run(stream::iter(found), |_, _| {}).await.unwrap();
    assert_eq!((report.updated, report.not_written, report.created), (1, 1, 0));

    // The CRM is down for a while: what could not be written is in the next run, whatever its time.
    org.host.sleep(Duration::from_secs(60)).await;
    let late = org.host.now();
    times.insert("lead-3".to_owned(), late);
    people.get_mut("lead-3").unwrap().score = Some(88);
    org.sandbox.fault(Fault::new(FaultKind::Unavailable { html: false, retry_after: None }).method("PATCH").times(50));
    org.host.sleep(Duration::from_secs(60)).await;
    let run = sync.begin().await.unwrap();
    let found = changed(&people, &times, run.since());
    let outcome = run.run(stream::iter(found), |_, _| {}).await;
    if let Ok(report) = &outcome {
        assert_eq!((report.again, report.cutoff), (1, Some(late)), "{report:?}");
    }
    org.sandbox.clear_faults();
    let run = sync.begin().await.unwrap();
    assert!(run.since().unwrap() <= late);
    let found = changed(&people, &times, run.since());
    assert_eq!(run.run(stream::iter(found), |_, _| {}).await.unwrap().again, 0);
    people.remove("lead-9");
    org.assert_whole(KEYED, &people, "batch");
}

#[tokio::test]
async fn a_run_that_breaks_keeps_its_time_and_two_runs_do_not_overtake_each_other() {
    let org = Org::new(2).await;
    let people = people(6);
    let times: BTreeMap<String, Timestamp> = people.keys().map(|id| (id.clone(), org.host.now())).collect();
    let sync = batch(&org, org.engine(KEYED));
    let mut records = changed(&people, &times, None);
    records.insert(5, Err(Error::new(ErrorKind::Network, "the host's database is away")));
    let error = sync.begin().await.unwrap().run(stream::iter(records), |_, _| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network);
    let (one, other) = (sync.begin().await.unwrap(), sync.begin().await.unwrap());
    assert_eq!((one.since(), other.since()), (None, None));
    let report = one.run(stream::iter(changed(&people, &times, None)), |_, _| {}).await.unwrap();
    // The first chunk was written before the stream broke.
    assert_eq!((report.created, report.not_written), (2, 4));
    let error = other.run(stream::iter(changed(&people, &times, None)), |_, _| {}).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    org.assert_whole(KEYED, &people, "broken");
    let stray = BatchRecord::new("deal", org.host.now(), incoming(&people).remove(0));
    let error = sync.begin().await.unwrap().run(stream::iter([Ok(stray)]), |_, _| {}).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("deal"), "{error}");
}

#[tokio::test]
async fn records_of_several_entities_are_written_entity_by_entity() {
    let org = Org::new(4).await;
    let access = org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into()).name("salesforce:test");
    let crm: Arc<dyn CrmAdapter> = Arc::new(Salesforce::new(config, org.sandbox.transport(), org.host.clone()).unwrap());
    let schema = crm.describe(&Entity::from_static("Account")).await.unwrap();
    let set = MappingSet::from_json(r#"{"salesforce": {"account": {"name": "Name", "site": "Website"}}}"#, "mapping.json").unwrap();
    let mapping = Mapping::compile(set.entity("salesforce", "account").unwrap(), Some(&schema)).unwrap();
    let accounts = Engine::builder(crm, Arc::clone(&org.store), org.host.clone(), schema, mapping).build().unwrap();
    let sync = BatchSync::new(Arc::clone(&org.store), org.host.clone(), "all")
        .engine("lead", org.engine(KEYED))
        .engine("account", accounts)
        .chunk(8);
    // As the host's log has them: one of each kind in turn. One account has no name, which the CRM asks for.
    let (people, now) = (people(8), org.host.now());
    let company = |n: usize| {
        let name = (n != 3).then(|| format!("Company {n}"));
        Incoming::new(format!("company-{n}"), Fields::from_value(json!({"name": name, "site": format!("https://c{n}.example")})).unwrap())
    };
    let mixed = || {
        let pairs = incoming(&people).into_iter().enumerate();
        let records = pairs.flat_map(|(n, lead)| [BatchRecord::new("lead", now, lead), BatchRecord::new("account", now, company(n))]);
        stream::iter(records.map(Ok).collect::<Vec<_>>())
    };
    org.sandbox.clear_requests();
    let mut each: Vec<(String, String, bool)> = Vec::new();
    let run = sync.begin().await.unwrap();
    let report = run.run(mixed(), |entity, applied| {
        each.push((entity.to_owned(), applied.local, matches!(applied.outcome, Outcome::Created(_))));
    });
    let report = report.await.unwrap();
    assert_eq!((report.created, report.failed + report.not_written, report.again), (15, 1, 0), "{report:?}");
    // Each record has a result of its own, under its entity, and none is held up by the one that cannot be written.
    assert_eq!(each.len(), 16);
    for (entity, local, created) in &each {
        assert!(local.starts_with(if entity == "lead" { "lead-" } else { "company-" }), "{entity}: {local}");
        assert_eq!(*created, local != "company-3", "{local}");
    }
    // Two chunks of four leads and four accounts; the engine of the leads writes three at once.
    let writes: Vec<String> = (org.sandbox.requests().iter().filter(|request| request.method != "GET"))
        .map(|request| format!("{} {}", request.method, request.path))
        .collect();
    println!("{writes:#?}");
    assert!(writes.len() <= 7, "grouped: {writes:?}");
    org.assert_whole(KEYED, &people, "several entities");
    let again = sync.begin().await.unwrap().run(mixed(), |_, _| {}).await.unwrap();
    assert_eq!((again.created, again.updated), (0, 0));
    assert_eq!(
        org.sandbox.records("Account").iter().filter(|row| row.text("Name").is_some_and(|name| name.starts_with("Company "))).count(),
        7
    );
}

#[tokio::test]
async fn the_engine_keeps_the_guides_rules() {
    let rules = |text: serde_json::Value| serde_json::from_value::<SyncRules>(text).unwrap();
    let org = Org::new(3).await;
    let mut people = people(6);
    let with = |rules: SyncRules| org.builder(KEYED).rules("lead", rules).build().unwrap();
    let counts = async |engine: &Engine, people: &People| {
        let plan = engine.plan(&incoming(people)).await.unwrap();
        let count = |action| plan.rows.iter().filter(|row| row.action == action).count();
        (
            count(Action::Create),
            count(Action::Update),
            count(Action::Skip),
            plan.rows.iter().map(|row| row.reason.clone()).collect::<Vec<_>>(),
        )
    };
    let low = rules(json!({"leadCriteria": "Marketing_Score__c < 4", "batchSize": 2}));
    let (create, update, skip, reasons) = counts(&with(low.clone()), &people).await;
    assert_eq!((create, update, skip), (4, 0, 2));
    assert!(reasons[5].contains("leadCriteria"), "{reasons:?}");
    for (text, why) in
        [(json!({"syncDirection": "pull"}), "read from the CRM only"), (json!({"createOrUpdate": false}), "leave out every create")]
    {
        let (create, update, skip, reasons) = counts(&with(rules(text)), &people).await;
        assert_eq!((create, update, skip), (0, 0, 6), "{reasons:?}");
        assert!(reasons.iter().all(|reason| reason.contains(why)), "{reasons:?}");
    }
    // What was left out is written once the rules allow it.
    let engine = with(low);
    run(&engine, &people).await.unwrap();
    assert_eq!(org.sandbox.records("Lead").len(), 4);
    people.get_mut("lead-0").unwrap().first = Some("New".to_owned());
    let (create, update, skip, _) = counts(&with(rules(json!({"createOrUpdate": "createOnly"}))), &people).await;
    assert_eq!((create, update, skip), (2, 0, 4));
    let (create, update, skip, _) = counts(&with(rules(json!({"createOrUpdate": "updateOnly"}))), &people).await;
    assert_eq!((create, update, skip), (0, 1, 5));
    run(&with(rules(json!({"createOrUpdate": true}))), &people).await.unwrap();
    org.assert_whole(KEYED, &people, "rules");
}
