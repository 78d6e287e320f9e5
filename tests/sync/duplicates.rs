//! New records are recognised by all their signs, in the CRM and among each other.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails should stop")]

use std::sync::Arc;

use crm_sync::adapter::{CrmAdapter, WriteOptions};
use crm_sync::dedup::{DedupConfig, Deduper, Distinct, Role};
use crm_sync::host::Host;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::Fields;
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::MemoryStore;
use crm_sync::sync::{Action, DuplicateCheck, Engine, Incoming};
use serde_json::{Value, json};

const MAPPING: &str = r#"{"salesforce": {"lead": {"firstName": "FirstName", "lastName": "LastName", "email": "Email", "phone": "Phone",
    "company": {"field": "Company", "default": "[not provided]"}}}}"#;

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn lead(id: &str, first: &str, last: &str, email: &str, company: &str) -> Incoming {
    Incoming::new(id, fields(json!({"firstName": first, "lastName": last, "email": email, "company": company})))
}

/// An engine, and the ids of what the CRM holds already.
async fn engine(held: &[Value], distinct: &[(&str, usize)]) -> (Engine, Vec<String>) {
    let host = Host::manual(7);
    let sandbox = Sandbox::new(host.clone(), 7);
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into());
    let crm: Arc<dyn CrmAdapter> = Arc::new(Salesforce::new(config, sandbox.transport(), host.clone()).unwrap());
    let mut ids = Vec::new();
    for record in held {
        let written = crm.create(&entity::LEAD, &fields(record.clone()), &WriteOptions::default()).await.unwrap();
        ids.push(written.id.as_str().to_owned());
    }
    let schema = crm.describe(&entity::LEAD).await.unwrap();
    let set = MappingSet::from_json(MAPPING, "mapping.json").unwrap();
    let mapping = Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&schema)).unwrap();
    let roles =
        [(Role::First, "FirstName"), (Role::Last, "LastName"), (Role::Email, "Email"), (Role::Phone, "Phone"), (Role::Company, "Company")];
    let decided: Distinct = distinct.iter().map(|(local, at)| (*local, ids[*at].as_str())).collect();
    let check = DuplicateCheck::new(Deduper::new(DedupConfig::default()).unwrap(), roles).distinct(decided);
    let store = Arc::new(MemoryStore::new(host.clone()));
    let engine = Engine::builder(crm, store, host, schema, mapping).duplicates(check).build().unwrap();
    (engine, ids)
}

#[tokio::test]
async fn a_record_under_other_words_is_taken_over_and_a_stranger_is_made() {
    let held = json!({"FirstName": "Ann", "LastName": "Müller", "Email": "ann.mueller@firm.com", "Company": "Firm GmbH"});
    let (engine, ids) = engine(&[held], &[]).await;
    let input = [
        lead("1", "Ann", "Mueller", "Ann.Mueller+crm@firm.com", "Firm"),
        lead("2", "Bert", "Müller", "bert.mueller@firm.com", "Firm GmbH"),
        lead("3", "Eve", "Stone", "eve@other.org", "Other"),
    ];
    let plan = engine.plan(&input).await.unwrap();
    let rows: Vec<(Action, Option<&str>)> = plan.rows.iter().map(|row| (row.action, row.remote.as_ref().map(|id| id.as_str()))).collect();
    assert_eq!(rows, [(Action::Update, Some(ids[0].as_str())), (Action::Create, None), (Action::Create, None)], "{:?}", plan.rows);
}

#[tokio::test]
async fn several_in_the_crm_and_twins_in_the_input_are_held_with_the_reason() {
    let held = json!({"FirstName": "Ann", "LastName": "Keller", "Email": "ann.keller@firm.com", "Company": "Firm"});
    let (engine, ids) = engine(&[held.clone(), held], &[]).await;
    let input = [
        lead("1", "Ann", "Keller", "ann.keller@firm.com", "Firm"),
        lead("2", "Tom", "Frost", "tom.frost@frost.org", "Frost Ltd"),
        lead("3", "Tom", "Frost", "Tom.Frost+x@frost.org", "Frost"),
    ];
    let plan = engine.plan(&input).await.unwrap();
    assert_eq!(plan.rows.iter().map(|row| row.action).collect::<Vec<_>>(), [Action::Review, Action::Create, Action::Review]);
    assert!(ids.iter().all(|id| plan.rows[0].reason.contains(id)), "{}", plan.rows[0].reason);
    assert!(plan.rows[2].reason.contains("same as 2 of the input") && plan.rows[2].reason.contains("same e-mail address"));
    assert!(!plan.rows.iter().any(|row| row.reason.contains("frost.org") || row.reason.contains("Keller")), "no values in reasons");
}

#[tokio::test]
async fn what_was_said_not_to_be_one_is_not_asked_again() {
    let held = json!({"FirstName": "Ann", "LastName": "Keller", "Email": "ann.keller@firm.com", "Company": "Firm"});
    let (engine, _) = engine(&[held], &[("1", 0)]).await;
    let plan = engine.plan(&[lead("1", "Ann", "Keller", "ann.keller@firm.com", "Firm")]).await.unwrap();
    assert_eq!(plan.rows[0].action, Action::Create, "{}", plan.rows[0].reason);
}
