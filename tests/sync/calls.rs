//! What a first load, a run without changes and a run with one change in a hundred cost, for the main kinds of record: counted
//! beforehand by the vendors' own rules, and met exactly.
//!
//! Salesforce writes 200 records in a call, HubSpot 100, Pipedrive one, for 5 tokens each; a page of Pipedrive's list is 10.
//! Records with a key of ours are not searched for one by one: a first load asks once whether any record has a key.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test that fails should stop")]

use std::sync::Arc;

use crm_sync::adapter::CrmAdapter;
use crm_sync::host::Host;
use crm_sync::hubspot::{HubSpot, HubSpotConfig};
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Entity, Fields};
use crm_sync::pipedrive::{Kind, Pipedrive, PipedriveConfig};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::MemoryStore;
use crm_sync::sync::{Applied, Engine, Incoming, Outcome};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::company::Company;
use crate::portal::Portal;

const RECORDS: u64 = 1_000;
const CHANGED: u64 = 10;

/// Reads, writes, and what the CRM charges for the writes, where it charges.
type Calls = (u64, u64, u64);

struct World {
    sandbox: Sandbox,
    crm: Arc<dyn CrmAdapter>,
    host: Host,
    key: String,
}

impl World {
    fn salesforce() -> Self {
        let host = Host::manual(1);
        let sandbox = Sandbox::new(host.clone(), 1);
        let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into());
        let crm = Arc::new(Salesforce::new(config, sandbox.transport(), host.clone()).unwrap());
        Self { sandbox, crm, host, key: "External_Id__c".to_owned() }
    }

    fn hubspot(entity: &str) -> Self {
        let host = Host::manual(1);
        let portal = Portal::new(host.clone(), 1);
        if entity != "contacts" {
            portal.property(entity, "crm_sync_id", "string", "text", true);
        }
        let access = portal.access();
        let config = HubSpotConfig::with_access_token(access.access_token.into()).base_url(&access.base_url);
        let crm = Arc::new(HubSpot::new(config, portal.sandbox.transport(), host.clone()).unwrap());
        Self { sandbox: portal.sandbox, crm, host, key: "crm_sync_id".to_owned() }
    }

    async fn pipedrive(entity: &str) -> Self {
        let company = Company::new(3_000);
        let kind = match entity {
            "persons" => Kind::Person,
            "organizations" => Kind::Organization,
            _ => Kind::Deal,
        };
        let key = company.client().ensure_field(kind, "External id", "varchar", &[]).await.unwrap().key;
        let config = PipedriveConfig::with_api_token(&company.access.base_url, company.access.api_token.clone().into());
        let crm = Arc::new(Pipedrive::new(config, company.sandbox.transport(), company.host.clone()).unwrap());
        Self { sandbox: company.sandbox, crm, host: company.host, key }
    }

    /// Calls since the last time. A search by POST is a read.
    fn calls(&self) -> (u64, u64) {
        let requests = self.sandbox.requests();
        let reads = requests.iter().filter(|request| request.method == "GET" || request.path.ends_with("/search")).count() as u64;
        self.sandbox.clear_requests();
        (reads, requests.len() as u64 - reads)
    }

    /// First load, a run without changes, a run with one change in a hundred.
    async fn runs(&self, entity: &'static str, fields: &[&str]) -> [Calls; 3] {
        let entity = Entity::from_static(entity);
        let schema = self.crm.describe(&entity).await.unwrap();
        let names: Value = fields.iter().map(|field| ((*field).to_owned(), json!(field))).collect();
        let mapping = json!({"crm": {entity.as_str(): names}}).to_string();
        let set = MappingSet::from_json(&mapping, "mapping.json").unwrap();
        let mapping = Mapping::compile(set.iter().next().unwrap(), Some(&schema)).unwrap();
        let store = Arc::new(MemoryStore::new(self.host.clone()));
        let builder = Engine::builder(Arc::clone(&self.crm), store, self.host.clone(), schema, mapping);
        let engine = builder.external_key(&self.key).build().unwrap();
        self.calls();

        let mut records: Vec<Incoming> = (0..RECORDS).map(|n| Incoming::new(format!("host-{n}"), record(fields, n))).collect();
        let mut counted = [(0, 0, 0); 3];
        for (changed, counted) in [RECORDS, 0, CHANGED].into_iter().zip(&mut counted) {
            if changed == CHANGED {
                records.iter_mut().take(10).for_each(|one| drop(one.fields.insert(fields[0], "Changed")));
            }
            let plan = engine.plan(&records).await.unwrap();
            let done: Vec<_> = engine.apply(&plan).try_collect().await.unwrap();
            let failed = |one: &&Applied| !matches!(one.outcome, Outcome::Created(_) | Outcome::Updated(_));
            assert!(!done.iter().any(|one| failed(&one)), "{entity}: {:?}", done.iter().find(failed));
            assert_eq!(done.len() as u64, changed, "{entity}");
            let (reads, writes) = self.calls();
            assert_eq!((plan.cost.read_calls, plan.cost.write_calls), (reads, writes), "{entity}: what was foretold");
            *counted = (reads, writes, plan.cost.price.map_or(0, |price| price.amount));
        }
        counted
    }
}

fn record(fields: &[&str], n: u64) -> Fields {
    fields.iter().map(|field| (*field, format!("{field} {n}"))).collect()
}

#[tokio::test]
async fn salesforce_writes_two_hundred_at_once() {
    for (entity, fields) in
        [("Lead", ["LastName", "Company"]), ("Contact", ["LastName", "FirstName"]), ("Account", ["Name", "AccountNumber"])]
    {
        let runs = World::salesforce().runs(entity, &fields).await;
        assert_eq!(runs, [(1, RECORDS.div_ceil(200), 0), (0, 0, 0), (0, CHANGED.div_ceil(200), 0)], "{entity}");
    }
}

#[tokio::test]
async fn hubspot_writes_a_hundred_at_once() {
    for (entity, fields) in [("contacts", ["lastname", "firstname"]), ("companies", ["name", "city"])] {
        let runs = World::hubspot(entity).runs(entity, &fields).await;
        assert_eq!(runs, [(1, RECORDS.div_ceil(100), 0), (0, 0, 0), (0, CHANGED.div_ceil(100), 0)], "{entity}");
    }
}

#[tokio::test]
async fn pipedrive_spends_the_fewest_tokens() {
    for (entity, fields) in [("persons", ["name"]), ("organizations", ["name"]), ("deals", ["title"])] {
        let runs = World::pipedrive(entity).await.runs(entity, &fields).await;
        assert_eq!(runs, [(1, RECORDS, 5 * RECORDS), (0, 0, 0), (0, CHANGED, 5 * CHANGED)], "{entity}");
    }
}
