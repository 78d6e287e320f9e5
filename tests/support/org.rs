//! A sandbox org, a store, people of the host, and what must hold once everything is healed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::sync::Arc;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{Error, Result};
use crm_sync::host::Host;
use crm_sync::http::HttpTransport;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{EntitySchema, Fields, Value};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::{MemoryStore, Store};
use crm_sync::sync::{Action, Applied, Engine, EngineBuilder, Incoming, Outcome, Plan};
use futures_util::StreamExt;
use serde_json::json;

const MAPPING: &str = r#"{"salesforce": {"lead": {"firstName": "FirstName", "lastName": "LastName", "email": "Email",
    "score": "Marketing_Score__c", "company": {"field": "Company", "default": "[not provided]"}}}}"#;

/// The unique external id: creates are keyed.
pub const KEYED: &str = "External_Id__c";
/// An ordinary text field: creates are probed.
pub const PROBED: &str = "UTM_Campaign__c";

/// A record of the host.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    pub first: Option<String>,
    pub last: String,
    pub score: Option<i64>,
}

/// The host's records by id.
pub type People = BTreeMap<String, Person>;

pub fn people(count: usize) -> People {
    (0..count)
        .map(|n| {
            let score = i64::try_from(n).ok();
            (format!("lead-{n}"), Person { first: Some(format!("F{n}")), last: format!("L{n}"), score })
        })
        .collect()
}

pub fn incoming(people: &People) -> Vec<Incoming> {
    people
        .iter()
        .map(|(id, person)| {
            let value = json!({"firstName": person.first, "lastName": person.last, "score": person.score});
            Incoming::new(id.as_str(), Fields::from_value(value).unwrap())
        })
        .collect()
}

pub struct Org {
    pub host: Host,
    pub sandbox: Sandbox,
    pub store: Arc<dyn Store>,
    schema: EntitySchema,
}

impl Org {
    pub async fn new(seed: u64) -> Self {
        Self::on(Host::manual(seed), seed).await
    }

    pub async fn on(host: Host, seed: u64) -> Self {
        let sandbox = Sandbox::new(host.clone(), seed);
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
        let schema = Self::client(&sandbox, sandbox.transport(), host.clone()).describe(&entity::LEAD).await.unwrap();
        Self { host, sandbox, store, schema }
    }

    fn client(sandbox: &Sandbox, transport: Arc<dyn HttpTransport>, host: Host) -> Arc<dyn CrmAdapter> {
        let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into()).name("salesforce:test");
        Arc::new(Salesforce::new(config, transport, host).unwrap())
    }

    pub fn engine(&self, key: &str) -> Engine {
        self.engine_over(key, self.sandbox.transport(), Arc::clone(&self.store))
    }

    pub fn engine_over(&self, key: &str, transport: Arc<dyn HttpTransport>, store: Arc<dyn Store>) -> Engine {
        self.engine_of(key, Self::client(&self.sandbox, transport, self.host.clone()), store)
    }

    pub fn engine_of(&self, key: &str, crm: Arc<dyn CrmAdapter>, store: Arc<dyn Store>) -> Engine {
        self.builder_of(key, crm, store).batch_size(3).build().unwrap()
    }

    pub fn builder(&self, key: &str) -> EngineBuilder {
        let crm = Self::client(&self.sandbox, self.sandbox.transport(), self.host.clone());
        self.builder_of(key, crm, Arc::clone(&self.store))
    }

    fn builder_of(&self, key: &str, crm: Arc<dyn CrmAdapter>, store: Arc<dyn Store>) -> EngineBuilder {
        let set = MappingSet::from_json(MAPPING, "mapping.json").unwrap();
        let mapping = Mapping::compile(set.entity("salesforce", "lead").unwrap(), Some(&self.schema)).unwrap();
        Engine::builder(crm, store, self.host.clone(), self.schema.clone(), mapping).external_key(key)
    }

    pub fn writes(&self) -> usize {
        self.sandbox.requests().iter().filter(|request| request.method != "GET").count()
    }

    /// The newest version of every record is in the CRM, once.
    pub fn assert_whole(&self, key: &str, people: &People, context: &str) {
        let mut seen = People::new();
        for lead in self.sandbox.records("Lead") {
            let Some(id) = lead.text(key) else { panic!("{context}: a lead without a key") };
            let score = lead.get("Marketing_Score__c").and_then(Value::as_f64).map(|score| score as i64);
            let first = lead.text("FirstName").map(str::to_owned);
            let person = Person { first, last: lead.text("LastName").unwrap().to_owned(), score };
            assert!(seen.insert(id.to_owned(), person).is_none(), "{context}: {id} is doubled");
        }
        assert_eq!(&seen, people, "{context}: the CRM is not what the host is");
    }

    /// A fresh process without trouble: afterwards everything is there once, and another run writes nothing.
    pub async fn heal(&self, key: &str, people: &People, context: &str) {
        self.sandbox.clear_faults();
        let input = incoming(people);
        let engine = self.engine(key);
        engine.resolve().await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
        let plan = engine.plan(&input).await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
        let held: Vec<_> = plan.rows.iter().filter(|row| matches!(row.action, Action::Review | Action::Invalid)).collect();
        assert!(held.is_empty(), "{context}: {held:?}");
        let (done, failure) = apply(&engine, &plan).await;
        assert!(failure.is_none(), "{context}: {failure:?}");
        let written = |applied: &Applied| matches!(applied.outcome, Outcome::Created(_) | Outcome::Updated(_));
        assert!(done.iter().all(written), "{context}: {done:?}");
        self.assert_whole(key, people, context);
        self.sandbox.clear_requests();
        let engine = self.engine(key);
        engine.resolve().await.unwrap();
        let plan = engine.plan(&input).await.unwrap();
        assert_eq!(plan.writes(), 0, "{context}: there is still something to write: {plan:?}");
        apply(&engine, &plan).await;
        assert_eq!(self.writes(), 0, "{context}: a run without changes wrote");
    }
}

/// Applies a plan to its end, or to its error.
pub async fn apply(engine: &Engine, plan: &Plan) -> (Vec<Applied>, Option<Error>) {
    let mut done = Vec::new();
    let mut stream = engine.apply(plan);
    while let Some(item) = stream.next().await {
        match item {
            Ok(applied) => done.push(applied),
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

/// One run of a process.
pub async fn run(engine: &Engine, people: &People) -> Result<Vec<Applied>> {
    engine.resolve().await?;
    let plan = engine.plan(&incoming(people)).await?;
    match apply(engine, &plan).await {
        (done, None) => Ok(done),
        (_, Some(error)) => Err(error),
    }
}
