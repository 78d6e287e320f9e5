//! The process dies at every step of a run, before and after the step is done: the next run loses no lead and doubles none.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::support;

use std::collections::BTreeMap;
use std::sync::Arc;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::Result;
use crm_sync::host::Host;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::Fields;
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::{MemoryStore, Store};
use crm_sync::sync::{Action, Engine, Incoming, Outcome};
use futures_util::StreamExt;

use support::{Death, Life, MortalStore, MortalTransport};

const LEADS: usize = 450;
const MAPPING: &str =
    r#"{"salesforce": {"lead": {"firstName": "FirstName", "lastName": "LastName", "company": "Company", "email": "Email"}}}"#;

fn incoming() -> Vec<Incoming> {
    (0..LEADS)
        .map(|n| {
            let fields: Fields = [
                ("firstName", format!("First{n}")),
                ("lastName", format!("Last {n}")),
                ("company", "Acme".to_owned()),
                ("email", format!("p{n}@example.org")),
            ]
            .into_iter()
            .collect();
            Incoming::new(format!("lead-{n}"), fields)
        })
        .collect()
}

struct World {
    host: Host,
    sandbox: Sandbox,
    store: Arc<dyn Store>,
    key: &'static str,
}

impl World {
    fn new(seed: u64, key: &'static str) -> Self {
        let host = Host::manual(seed);
        Self { sandbox: Sandbox::new(host.clone(), seed), store: Arc::new(MemoryStore::new(host.clone())), host, key }
    }

    /// One life of the process: resolve, plan, apply. Returns how many records it wrote.
    async fn live(&self, life: &Arc<Life>) -> Result<usize> {
        let access = self.sandbox.salesforce("http://sandbox.test");
        let transport = Arc::new(MortalTransport { inner: self.sandbox.transport(), life: Arc::clone(life) });
        let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into()).name("salesforce:test");
        let crm: Arc<dyn CrmAdapter> = Arc::new(Salesforce::new(config, transport, self.host.clone())?);
        let schema = crm.describe(&entity::LEAD).await?;
        let set = MappingSet::from_json(MAPPING, "mapping.json").unwrap();
        let mapping = Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&schema)).unwrap();
        let store = Arc::new(MortalStore { inner: Arc::clone(&self.store), life: Arc::clone(life) });
        let engine = Engine::builder(crm, store, self.host.clone(), schema, mapping).external_key(self.key).build()?;
        engine.resolve().await?;
        let plan = engine.plan(&incoming()).await?;
        assert_eq!(plan.rows_to(Action::Review).count() + plan.rows_to(Action::Invalid).count(), 0);
        let mut written = 0;
        let mut results = engine.apply(&plan);
        while let Some(applied) = results.next().await {
            match applied?.outcome {
                Outcome::Created(_) | Outcome::Updated(_) => written += 1,
                other => panic!("{other:?}"),
            }
        }
        Ok(written)
    }

    fn assert_whole(&self, context: &str) {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for lead in self.sandbox.records("Lead") {
            *seen.entry(lead.text(self.key).unwrap_or("no key").to_owned()).or_default() += 1;
        }
        let doubled: Vec<_> = seen.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "{context}: doubled {doubled:?}");
        assert_eq!(seen.len(), LEADS, "{context}: lost");
    }
}

async fn every_death(key: &'static str) {
    let mut step = 0;
    loop {
        let mut survived = true;
        for death in [Death::Before(step), Death::After(step)] {
            let context = format!("{key}, {death:?}");
            let world = World::new(step + 1, key);
            let life = Life::new(Some(death));
            let first = world.live(&life).await;
            survived &= !life.is_dead();
            assert_eq!(first.is_err(), life.is_dead(), "{context}: {first:?}");
            // It starts again, and again: the second run finishes the job, the third has nothing to do.
            let life = Life::new(None);
            world.live(&life).await.unwrap_or_else(|error| panic!("{context}: {error}"));
            world.assert_whole(&context);
            let written = world.live(&Life::new(None)).await.unwrap();
            assert_eq!(written, 0, "{context}: the third run wrote again");
        }
        if survived {
            assert!(step > 8, "only {step} steps: the run did not do its work");
            return;
        }
        step += 1;
    }
}

#[tokio::test]
async fn keyed_creates_survive_every_death() {
    every_death("External_Id__c").await;
}

#[tokio::test]
async fn probed_creates_survive_every_death() {
    // An ordinary text field: no upsert, so the ledger and the search must do it.
    every_death("UTM_Campaign__c").await;
}
