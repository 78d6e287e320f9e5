//! Pipelines that write by jobs of the CRM: chosen by volume, safe at every death.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::support;

use std::collections::BTreeMap;
use std::sync::Arc;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{Error, Result};
use crm_sync::host::Host;
use crm_sync::http::HttpTransport;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Fields, Value};
use crm_sync::salesforce::{AutoAssign, Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::{MemoryStore, Store};
use crm_sync::sync::{Applied, Engine, Incoming, Outcome, Plan, Way};
use futures_util::StreamExt;

use support::{Death, Life, MortalStore, MortalTransport};

const MAPPING: &str = r#"{"salesforce": {"lead": {"firstName": "FirstName", "lastName": "LastName", "company": "Company",
    "score": "Marketing_Score__c"}}}"#;
const KEY: &str = "External_Id__c";

fn leads(count: usize, score: usize) -> Vec<Incoming> {
    let lead = |n: usize| {
        let mut fields: Fields = [("firstName", format!("First{n}")), ("lastName", format!("Last \"{n}\", x"))].into_iter().collect();
        fields.insert("company", "Acme");
        fields.insert("score", score + n);
        Incoming::new(format!("lead-{n}"), fields)
    };
    (0..count).map(lead).collect()
}

struct World {
    host: Host,
    sandbox: Sandbox,
    store: Arc<dyn Store>,
    assign: AutoAssign,
    from: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let host = Host::manual(seed);
        let sandbox = Sandbox::new(host.clone(), seed);
        sandbox
            .set_options(|options| {
                options.bulk.queue_millis = 1_500;
                options.bulk.shuffle = true;
            })
            .unwrap();
        Self { sandbox, store: Arc::new(MemoryStore::new(host.clone())), host, assign: AutoAssign::Off, from: 50 }
    }

    fn bulk(&self, change: impl FnOnce(&mut crm_sync::sandbox::BulkOptions)) {
        self.sandbox.set_options(|options| change(&mut options.bulk)).unwrap();
    }

    async fn engine_of(&self, transport: Arc<dyn HttpTransport>, store: Arc<dyn Store>) -> Result<Engine> {
        let access = self.sandbox.salesforce("http://sandbox.test");
        let mut config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into());
        config.auto_assign = self.assign.clone();
        let crm: Arc<dyn CrmAdapter> = Arc::new(Salesforce::new(config, transport, self.host.clone())?);
        let schema = crm.describe(&entity::LEAD).await?;
        let set = MappingSet::from_json(MAPPING, "mapping.json").unwrap();
        let mapping = Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&schema)).unwrap();
        Engine::builder(crm, store, self.host.clone(), schema, mapping).external_key(KEY).jobs_from(self.from).build()
    }

    async fn engine(&self) -> Engine {
        let engine = self.engine_of(self.sandbox.transport(), Arc::clone(&self.store)).await.unwrap();
        self.sandbox.clear_requests();
        engine
    }

    fn requests(&self, path: &str) -> usize {
        self.sandbox.requests().iter().filter(|request| request.path.contains(path)).count()
    }

    /// How often each key is in the CRM, and the scores.
    fn assert_holds(&self, count: usize, score: usize, context: &str) {
        let mut seen: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for lead in self.sandbox.records("Lead") {
            let score = lead.get("Marketing_Score__c").and_then(Value::as_f64).unwrap_or(-1.0);
            seen.entry(lead.text(KEY).unwrap_or("no key").to_owned()).or_default().push(score);
        }
        assert_eq!(seen.len(), count, "{context}: lost");
        for n in 0..count {
            let scores = &seen[&format!("lead-{n}")];
            assert_eq!(scores.len(), 1, "{context}: lead-{n} is doubled");
            assert!((scores[0] - f64::from(u32::try_from(score + n).unwrap())).abs() < 0.5, "{context}: lead-{n} has {scores:?}");
        }
    }
}

async fn apply(engine: &Engine, plan: &Plan) -> (Vec<Applied>, Option<Error>) {
    let (mut done, mut failure) = (Vec::new(), None);
    let mut stream = engine.apply(plan);
    while let Some(item) = stream.next().await {
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

#[tokio::test]
async fn many_records_go_as_a_job_and_the_plan_says_so() {
    let world = World::new(1);
    let engine = world.engine().await;
    let plan = engine.plan(&leads(120, 0)).await.unwrap();
    assert_eq!(plan.creates, Way::Jobs { size: 10_000, calls: 10 });
    assert_eq!(plan.updates, Way::Batches { size: 200 });
    assert_eq!(plan.cost.write_calls, 10);
    assert!(plan.to_string().contains("creates go as 1 job of up to 10000 records"), "{plan}");
    let (done, failure) = apply(&engine, &plan).await;
    assert!(failure.is_none());
    assert_eq!(created(&done), 120);
    world.assert_holds(120, 0, "created");
    assert_eq!(world.requests("/composite/"), 0);

    // Nothing to do; then all of them change, then few of them.
    assert_eq!(engine.plan(&leads(120, 0)).await.unwrap().writes(), 0);
    let plan = engine.plan(&leads(120, 7)).await.unwrap();
    assert!(matches!(plan.updates, Way::Jobs { .. }));
    let (done, _) = apply(&engine, &plan).await;
    assert_eq!(done.len(), 120);
    world.assert_holds(120, 7, "updated");
    assert_eq!(world.requests("/composite/"), 0);
    let mut few = leads(120, 7);
    few.truncate(3);
    for lead in &mut few {
        lead.fields.insert("firstName", Value::Null);
    }
    let plan = engine.plan(&few).await.unwrap();
    assert_eq!((plan.updates, plan.summary().update), (Way::Batches { size: 200 }, 3));
    apply(&engine, &plan).await;
    assert_eq!(world.sandbox.records("Lead").iter().filter(|lead| lead.get("FirstName") == Some(&Value::Null)).count(), 3);
    assert_eq!(engine.plan(&few).await.unwrap().writes(), 0);
}

#[tokio::test]
async fn rows_with_different_fields_share_a_job_and_untouched_fields_stay() {
    let world = World::new(2);
    let engine = world.engine().await;
    apply(&engine, &engine.plan(&leads(60, 0)).await.unwrap()).await;
    let mut changed = leads(60, 0);
    for (n, lead) in changed.iter_mut().enumerate() {
        if n % 2 == 0 {
            lead.fields.insert("firstName", Value::Null);
        } else {
            lead.fields.insert("company", format!("New {n}"));
        }
    }
    let plan = engine.plan(&changed).await.unwrap();
    assert!(matches!(plan.updates, Way::Jobs { .. }));
    assert!(apply(&engine, &plan).await.1.is_none());
    for lead in world.sandbox.records("Lead") {
        let n: usize = lead.text(KEY).unwrap().trim_start_matches("lead-").parse().unwrap();
        let expected = if n.is_multiple_of(2) { (None, "Acme".to_owned()) } else { (Some(format!("First{n}")), format!("New {n}")) };
        assert_eq!((lead.text("FirstName").map(str::to_owned), lead.text("Company").unwrap().to_owned()), expected);
    }
}

#[tokio::test]
async fn no_job_where_it_would_not_do_the_same() {
    // The org's active assignment rule runs for single calls and collections only.
    let mut world = World::new(3);
    world.assign = AutoAssign::Default;
    let engine = world.engine().await;
    assert_eq!(engine.plan(&leads(120, 0)).await.unwrap().creates, Way::Batches { size: 200 });
    // The guide's volume, unless the host names another one.
    let world = World { from: usize::MAX, ..World::new(4) };
    assert_eq!(world.engine().await.plan(&leads(3_000, 0)).await.unwrap().creates, Way::Batches { size: 200 });
}

#[tokio::test]
async fn what_a_job_does_not_reach_is_sent_in_calls() {
    let world = World::new(5);
    let engine = world.engine().await;
    world.bulk(|bulk| bulk.fail_after = Some(40));
    let (done, failure) = apply(&engine, &engine.plan(&leads(100, 0)).await.unwrap()).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(created(&done), 100);
    world.assert_holds(100, 0, "a job that failed half way");

    world.bulk(|bulk| {
        bulk.fail_after = None;
        bulk.locked_rows = vec![3, 50];
    });
    let (done, failure) = apply(&engine, &engine.plan(&leads(100, 5)).await.unwrap()).await;
    assert!(failure.is_none() && done.len() == 100, "{failure:?}");
    world.assert_holds(100, 5, "rows that were locked");
}

/// One life of the process: resolve, plan, apply. Returns how many records it wrote.
async fn live(world: &World, life: &Arc<Life>, score: usize) -> Result<usize> {
    let transport = Arc::new(MortalTransport { inner: world.sandbox.transport(), life: Arc::clone(life) });
    let store = Arc::new(MortalStore { inner: Arc::clone(&world.store), life: Arc::clone(life) });
    let engine = world.engine_of(transport, store).await?;
    engine.resolve().await?;
    let plan = engine.plan(&leads(60, score)).await?;
    let mut results = engine.apply(&plan);
    let mut written = 0;
    while let Some(applied) = results.next().await {
        match applied?.outcome {
            Outcome::Created(_) | Outcome::Updated(_) => written += 1,
            Outcome::Ambiguous(_) => {}
            other => panic!("{other:?}"),
        }
    }
    Ok(written)
}

#[tokio::test]
async fn every_death_loses_and_doubles_nothing_and_brings_no_old_value_back() {
    let mut step = 0;
    let mut survived = 0;
    while survived < 2 {
        survived = 0;
        for death in [Death::Before(step), Death::After(step)] {
            let context = format!("{death:?}");
            let world = World::new(step + 100);
            let life = Life::new(Some(death));
            // It dies while it creates; the next life has newer values.
            let _dead = live(&world, &life, 0).await;
            survived += usize::from(!life.is_dead());
            live(&world, &Life::new(None), 1_000).await.unwrap_or_else(|error| panic!("{context}: {error}"));
            world.assert_holds(60, 1_000, &context);
            assert_eq!(live(&world, &Life::new(None), 1_000).await.unwrap(), 0, "{context}: the third life wrote again");

            // It dies while it updates.
            let life = Life::new(Some(death));
            let _dead = live(&world, &life, 2_000).await;
            live(&world, &Life::new(None), 3_000).await.unwrap_or_else(|error| panic!("{context}: {error}"));
            world.host.sleep(std::time::Duration::from_secs(3_600)).await;
            world.assert_holds(60, 3_000, &context);
            assert_eq!(live(&world, &Life::new(None), 3_000).await.unwrap(), 0, "{context}: the last life wrote again");
        }
        step += 1;
    }
    assert!(step > 10, "only {step} steps: the run did not do its work");
}

#[tokio::test]
async fn a_small_allowance_prefers_the_way_that_fits() {
    let world = World { from: 1_000_000, ..World::new(7) };
    let engine = world.engine().await;
    world.sandbox.set_options(|options| options.daily_limit = 15).unwrap();
    let plan = engine.plan(&leads(3_000, 0)).await.unwrap();
    assert!(matches!(plan.creates, Way::Jobs { .. }), "15 collections do not fit into {:?} calls", plan.cost.left);
}
