//! Keeps Salesforce leads and HubSpot contacts in step through the host's own people, and shows what it would write first.
//!
//! ```text
//! cargo run --example two_way                       # the plans as tables
//! cargo run --example two_way -- --policy local     # the host wins where both sides changed a field
//! cargo run --example two_way -- --json             # one object: all plans, and what became of Ada
//! ```
//!
//! Both CRMs are the sandbox in this process. People edit on all three sides, one field on two sides at once; each plan is shown,
//! carried out, and followed by the next one until nothing is left to write.

#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{Error, Result, chain};
use crm_sync::host::{Host, ManualClock};
use crm_sync::hubspot::{HubSpot, HubSpotConfig, entity::CONTACTS};
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Entity, Fields, RecordId};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity::LEAD};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::{MemoryStore, Store};
use crm_sync::sync::{Engine, MemoryRecords, Policy, Reader, TwoWay, TwoWayPlan};
use serde_json::{Value, json};

#[allow(dead_code, reason = "each example uses its own part of this module")]
#[path = "support/args.rs"]
mod args;

use args::Args;

const USAGE: &str = "usage: two_way [--policy newest|local|remote|review] [--json]
  --policy  who wins where the host and a CRM changed a field; default newest
  --json    one JSON object instead of tables
Keeps Salesforce leads and HubSpot contacts of the sandbox in step: prints each plan, and carries it out.";

/// Whose value wins stands with the field: the host's title, the CRM's telephone number.
const MAPPINGS: &str = r#"{
  "salesforce": {"lead": {
    "email": "Email", "first": "FirstName", "last": "LastName", "company": "Company",
    "title": {"field": "Title", "owner": "ours"}, "phone": {"field": "Phone", "owner": "theirs"}}},
  "hubspot": {"contact": {
    "email": "email", "first": "firstname", "last": "lastname", "company": "company",
    "title": {"field": "jobtitle", "owner": "ours"}, "phone": {"field": "phone", "owner": "theirs"}}}
}"#;

/// A line for whoever reads; nobody may.
macro_rules! say {
    ($($part:tt)*) => {
        let _ = writeln!(std::io::stdout(), $($part)*);
    };
}

/// One CRM: who reads what changed in it, and who keeps it in step.
struct Side {
    reader: Reader,
    sync: TwoWay,
}

struct World {
    clock: Arc<ManualClock>,
    sandbox: Sandbox,
    people: MemoryRecords,
    sides: Vec<Side>,
}

fn fields(value: Value) -> Result<Fields> {
    Fields::from_value(value)
}

async fn side(
    crm: Arc<dyn CrmAdapter>,
    (store, host): (&Arc<dyn Store>, &Host),
    people: &MemoryRecords,
    (name, ours, entity): (&str, &str, Entity),
    (key, email): (Option<&str>, &str),
    policy: &Policy,
) -> Result<Side> {
    let schema = crm.describe(&entity).await?;
    let set = MappingSet::from_json(MAPPINGS, "mappings.json").map_err(|error| Error::config(error.to_string()))?;
    let mapping = Mapping::compile(set.require(name, ours)?, Some(&schema)).map_err(|error| Error::config(error.to_string()))?;
    let mut engine = Engine::builder(Arc::clone(&crm), Arc::clone(store), host.clone(), schema, mapping).match_on(email);
    if let Some(key) = key {
        engine = engine.external_key(key);
    }
    let sync = TwoWay::builder(engine.build()?, Arc::new(people.clone())).policy(policy.clone()).match_on("email", email).build();
    let reader = Reader::builder(crm, Arc::clone(store), host.clone(), entity).build()?;
    Ok(Side { reader, sync })
}

async fn world(policy: &Policy) -> Result<World> {
    let (host, clock) = Host::manual_with_clock(1);
    let sandbox = Sandbox::new(host.clone(), 1);
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
    let people = MemoryRecords::new(host.clone());
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into()).name("salesforce");
    let salesforce: Arc<dyn CrmAdapter> = Arc::new(Salesforce::new(config, sandbox.transport(), host.clone())?);
    let access = sandbox.hubspot(Sandbox::IN_PROCESS_URL);
    let config = HubSpotConfig::with_access_token(access.access_token.into()).base_url(access.base_url).name("hubspot");
    let hubspot: Arc<dyn CrmAdapter> = Arc::new(HubSpot::new(config, sandbox.transport(), host.clone())?);
    let sides = vec![
        side(salesforce, (&store, &host), &people, ("salesforce", "lead", LEAD), (Some("External_Id__c"), "Email"), policy).await?,
        side(hubspot, (&store, &host), &people, ("hubspot", "contact", CONTACTS), (None, "email"), policy).await?,
    ];
    Ok(World { clock, sandbox, people, sides })
}

/// Both CRMs in turn, until nothing is left to write; how many records were written. Plans that write something go to `show`.
async fn in_step(world: &World, mut show: impl FnMut(usize, &TwoWayPlan) -> Result<()>) -> Result<usize> {
    let mut written = 0;
    for round in 1..=8 {
        // Indexes lag behind writes, and the readers wait until they have settled.
        world.clock.advance(Duration::from_secs(600));
        let mut now = 0;
        for side in &world.sides {
            side.sync.read_host().await?;
            side.sync.pull(&side.reader).await?;
            let plan = side.sync.plan().await?;
            if plan.writes() != (0, 0) {
                show(round, &plan)?;
            }
            let report = side.sync.apply(&plan).await?;
            now += report.wrote_remote + report.wrote_local;
        }
        written += now;
        if now == 0 {
            return Ok(written);
        }
    }
    Err(Error::internal("the two CRMs do not come to rest"))
}

async fn run(policy: &Policy, json: bool) -> Result<()> {
    let world = world(policy).await?;
    let mut plans: Vec<Value> = Vec::new();
    let mut show = |round: usize, plan: &TwoWayPlan| {
        if json {
            plans.push(serde_json::to_value(plan).map_err(|_| Error::internal("the plan is not JSON"))?);
        } else {
            say!("round {round}: {plan}");
        }
        Ok(())
    };
    world.people.put("1", fields(json!({"email": "ada@example.org", "first": "Ada", "last": "Lovelace", "company": "Acme"}))?);
    world.sandbox.create("Lead", &fields(json!({"Email": "grace@example.org", "LastName": "Hopper", "Company": "Navy"}))?)?;
    world.sandbox.hubspot_create("contacts", &fields(json!({"email": "alan@example.org", "lastname": "Turing", "company": "NPL"}))?)?;
    let first = in_step(&world, &mut show).await?;

    let id = |rows: Vec<Fields>, field: &str, email: &str, id: &str| {
        let row = rows.into_iter().find(|row| row.text(field) == Some(email));
        row.and_then(|row| row.text(id).map(RecordId::from)).ok_or_else(|| Error::internal("a person is missing"))
    };
    let lead = id(world.sandbox.records("Lead"), "Email", "ada@example.org", "Id")?;
    let contact = id(world.sandbox.hubspot_records("contacts"), "email", "ada@example.org", "hs_object_id")?;
    if !json {
        say!("Edits: the host's title of Ada is Countess and her company Analytical Engines; in Salesforce she is a Programmer of");
        say!("Babbage & Co with a telephone; in HubSpot her first name is Augusta Ada.\n");
    }
    world.people.put("1", fields(json!({"title": "Countess", "company": "Analytical Engines"}))?);
    world.clock.advance(Duration::from_secs(1));
    let edit = json!({"Phone": "+44 20 1", "Title": "Programmer", "Company": "Babbage & Co"});
    world.sandbox.update("Lead", &lead, &fields(edit)?)?;
    world.sandbox.hubspot_update("contacts", &contact, &fields(json!({"firstname": "Augusta Ada"}))?)?;
    let second = in_step(&world, &mut show).await?;
    let third = in_step(&world, &mut show).await?;

    let mut waiting = Vec::new();
    for side in &world.sides {
        let found = side.sync.attention(None, 100).await?;
        waiting.extend(found.into_iter().flat_map(|one| one.conflicts.into_keys().map(move |field| format!("{}.{field}", one.local))));
    }
    let (leads, contacts) = (world.sandbox.records("Lead").len(), world.sandbox.hubspot_records("contacts").len());
    let ada = world.people.all().into_iter().find(|(id, _)| id == "1").map(|(_, fields)| fields.to_value()).unwrap_or_default();
    if json {
        let written = [first, second, third];
        let whole = json!({"plans": plans, "written": written, "leads": leads, "contacts": contacts, "ada": ada, "waiting": waiting});
        say!("{whole}");
        return Ok(());
    }
    say!("{leads} leads and {contacts} contacts; written {first}, then {second}, then {third}: at rest. Ada: {ada}");
    if !waiting.is_empty() {
        say!("Waiting for a person: {}", waiting.join(", "));
    }
    Ok(())
}

/// `--json` stands alone; the rest are names with values.
fn asked() -> std::result::Result<Option<(Policy, bool)>, String> {
    let mut line: Vec<String> = std::env::args().skip(1).collect();
    let all = line.len();
    line.retain(|word| word != "--json");
    let json = line.len() < all;
    let Some(args) = Args::of(USAGE, &["--policy"], line)? else { return Ok(None) };
    let policies = [("newest", 0), ("local", 1), ("remote", 2), ("review", 3)];
    let policy = match args.choice("--policy", &policies)? {
        1 => Policy::Local,
        2 => Policy::Remote,
        3 => Policy::Review,
        _ => Policy::Newest,
    };
    Ok(Some((policy, json)))
}

#[tokio::main]
async fn main() -> ExitCode {
    let (policy, json) = match args::or_end(asked(), USAGE) {
        Ok(asked) => asked,
        Err(code) => return code,
    };
    match run(&policy, json).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
