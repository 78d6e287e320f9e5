//! Several processes drain one queue into a CRM.
//!
//! ```text
//! cargo run --example queue_worker
//! cargo run --release --all-features --example queue_worker -- --changes 100000 --workers 4 --processes 2 \
//!     --backend redis --url redis://127.0.0.1:6379
//! ```
//!
//! The parent serves a pretend CRM on loopback, enqueues changes of a host's records (each record is changed several times, in
//! order) and starts the processes. Each process runs workers that claim lanes, merge the changes of a record, and write many
//! records in one call. At the end the parent compares the CRM with the host: nothing may be lost or doubled. What it did goes
//! to stderr; the last line of stdout is one JSON object.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its user")]
#![allow(clippy::disallowed_methods, reason = "a program may spawn, and measures")]

mod backend;
#[allow(dead_code, reason = "each example uses its own part")]
#[path = "../support/args.rs"]
mod support;

use std::collections::HashMap;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crm_sync::adapter::CrmAdapter;
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Fields, Value};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::Sandbox;
use crm_sync::sync::{Engine, WorkItem, Worker};
use serde_json::{Value as Json, json};

use backend::{Backend, Open};
use support::Args;

const USAGE: &str =
    "usage: queue_worker [--backend sqlite|memory|postgres|redis|nats] [--url URL] [--workers N] [--processes M] [--changes N]

  --backend    where queue and store are; default sqlite, in a folder of its own. memory has one process; with nats the
               store is SQLite
  --url        the server, for postgres, redis and nats; its queue must be empty
  --workers    workers in each process; default 2
  --processes  default 2
  --changes    default 2000";

const KEY: &str = "External_Id__c";
const CONNECTION: &str = "salesforce:example";
const MAPPING: &str = r#"{"salesforce": {"lead": {"lastName": "LastName", "score": "Marketing_Score__c",
    "company": {"field": "Company", "default": "[not provided]"}}}}"#;
/// Each record is changed so often.
const CHANGES_OF_ONE: u64 = 4;
/// Says to a child what it is; the rest is on its command line.
const CHILD: &str = "CRM_SYNC_QUEUE_WORKER_TOKEN";

type Fault = Box<dyn std::error::Error + Send + Sync>;

struct Plan {
    backend: Backend,
    url: Option<String>,
    folder: Option<String>,
    crm: Option<String>,
    workers: u64,
    processes: u64,
    changes: u64,
}

impl Plan {
    fn read() -> Result<Option<Self>, String> {
        let known = ["--backend", "--url", "--workers", "--processes", "--changes", "--folder", "--crm"];
        let Some(args) = Args::read(USAGE, &known)? else { return Ok(None) };
        let number = |name: &str, default: u64| match args.get(name).map(str::parse) {
            None => Ok(default),
            Some(Ok(number)) if number > 0 => Ok(number),
            Some(_) => Err(args.wrong(&format!("{name} takes a whole number from 1"))),
        };
        let backend = args.choice("--backend", &Backend::CHOICES)?;
        let plan = Self {
            backend,
            url: args.get("--url").map(str::to_owned),
            folder: args.get("--folder").map(str::to_owned),
            crm: args.get("--crm").map(str::to_owned),
            workers: number("--workers", 2)?,
            processes: if backend == Backend::Memory { 1 } else { number("--processes", 2)? },
            changes: number("--changes", 2_000)?,
        };
        if backend.is_server() && plan.url.is_none() {
            return Err(args.wrong("this back end needs --url"));
        }
        Ok(Some(plan))
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let plan = match support::or_end(Plan::read(), USAGE) {
        Ok(plan) => plan,
        Err(code) => return code,
    };
    let outcome = match std::env::var(CHILD) {
        Ok(token) => child(&plan, token).await.map(|()| true),
        Err(_) => parent(&plan).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{}", crm_sync::error::chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The engine of a process that reaches the CRM at `url`.
async fn engine(url: &str, token: String, open: &Open, host: &Host) -> Result<Engine, Fault> {
    let config = SalesforceConfig::with_access_token(url, token.into()).name(CONNECTION);
    let crm = Salesforce::new(config, Arc::new(ReqwestTransport::loopback()?), host.clone())?;
    let schema = crm.describe(&entity::LEAD).await?;
    let set = MappingSet::from_json(MAPPING, "mapping.json")?;
    let leads = set.entity("salesforce", "lead").ok_or("the mapping has no leads")?;
    let mapping = Mapping::compile(leads, Some(&schema))?;
    let builder = Engine::builder(Arc::new(crm), Arc::clone(&open.store), host.clone(), schema, mapping);
    Ok(builder.external_key(KEY).build()?)
}

/// Works until nothing waits; answers how many changes it finished.
async fn drain(engine: &Engine, open: &Open, workers: u64, host: &Host) -> Result<u64, Fault> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let worker = Worker::builder(Arc::clone(&open.queue), host.clone()).engine(engine.clone()).build()?;
        let (queue, host) = (Arc::clone(&open.queue), host.clone());
        tasks.spawn(async move {
            let mut done = 0;
            loop {
                let report = worker.step().await?;
                done += report.done as u64;
                if let Some(error) = &report.error {
                    eprintln!("{}", crm_sync::error::chain(error));
                }
                if report.is_idle() {
                    if queue.stats().await?.entries == 0 {
                        return Ok::<u64, crm_sync::error::Error>(done);
                    }
                    // Others have leases, or something waits for its time.
                    host.sleep(Duration::from_millis(50)).await;
                }
            }
        });
    }
    let mut done = 0;
    while let Some(task) = tasks.join_next().await {
        done += task??;
    }
    Ok(done)
}

async fn child(plan: &Plan, token: String) -> Result<(), Fault> {
    let host = Host::tokio();
    let folder = plan.folder.as_deref().ok_or("a child is told its folder")?;
    let open = plan.backend.open(plan.url.as_deref(), folder.as_ref(), &host).await?;
    let crm = plan.crm.as_deref().ok_or("a child is told where the CRM is")?;
    let engine = engine(crm, token, &open, &host).await?;
    println!("{}", drain(&engine, &open, plan.workers, &host).await?);
    Ok(())
}

/// The records of the host after all its changes: the score is the number of the last one.
fn host_records(changes: u64) -> HashMap<String, u64> {
    let records = changes.div_ceil(CHANGES_OF_ONE);
    let mut all = HashMap::new();
    for change in 0..changes {
        all.insert(format!("lead-{}", change % records), change);
    }
    all
}

async fn enqueue(plan: &Plan, open: &Open, engine: &Engine) -> Result<(), Fault> {
    let records = plan.changes.div_ceil(CHANGES_OF_ONE);
    let mut batch = Vec::new();
    for change in 0..plan.changes {
        let id = format!("lead-{}", change % records);
        let fields: Fields = [("lastName", Value::from(format!("Last {id}"))), ("score", Value::from(change))].into_iter().collect();
        batch.push(WorkItem::new(fields).entry(engine, &id, format!("change {change}"))?);
        if batch.len() == 1_000 || change + 1 == plan.changes {
            open.queue.enqueue(std::mem::take(&mut batch)).await?;
        }
    }
    Ok(())
}

async fn parent(plan: &Plan) -> Result<bool, Fault> {
    let host = Host::tokio();
    let folder = tempfile::tempdir()?;
    let sandbox = Sandbox::new(host.clone(), 1);
    // A day's calls are no matter here.
    sandbox.set_options(|options| options.daily_limit = u64::MAX / 2)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let access = sandbox.salesforce(&format!("http://{}", listener.local_addr()?));
    let serving = tokio::spawn({
        let sandbox = sandbox.clone();
        async move { sandbox.serve(listener, std::future::pending::<()>()).await }
    });

    let open = plan.backend.open(plan.url.as_deref(), folder.path(), &host).await?;
    if open.queue.stats().await?.entries > 0 {
        return Err("the queue is not empty; give a database, prefix or server of its own".into());
    }
    let engine = engine(&access.instance_url, access.access_token.clone(), &open, &host).await?;
    enqueue(plan, &open, &engine).await?;
    eprintln!("{} changes wait; {} processes of {} workers begin", plan.changes, plan.processes, plan.workers);

    let began = Instant::now();
    let mut applied = 0;
    if plan.backend == Backend::Memory {
        applied = drain(&engine, &open, plan.workers, &host).await?;
    } else {
        let mut children = Vec::new();
        for _ in 0..plan.processes {
            let mut command = std::process::Command::new(std::env::current_exe()?);
            command.args(["--backend", plan.backend.name(), "--workers", &plan.workers.to_string(), "--crm", &access.instance_url]);
            command.arg("--folder").arg(folder.path()).env(CHILD, &access.access_token).stdout(Stdio::piped());
            if let Some(url) = &plan.url {
                command.args(["--url", url]);
            }
            children.push(command.spawn()?);
        }
        for child in children {
            let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
            if !output.status.success() {
                return Err("a process failed; what it said is above".into());
            }
            applied += String::from_utf8_lossy(&output.stdout).trim().parse::<u64>()?;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    serving.abort();

    let (lost, repeated) = compare(&sandbox, plan.changes, applied);
    let told = json!({
        "backend": plan.backend.name(), "changes": plan.changes, "applied": applied, "lost": lost, "repeated": repeated,
        "seconds": (seconds * 1_000.0).round() / 1_000.0, "per_second": (plan.changes as f64 / seconds).round(),
        "processes": plan.processes, "workers": plan.workers,
    });
    println!("{told}");
    Ok(lost == 0 && repeated == 0)
}

/// Changes whose outcome the CRM has not, and what was written twice: records that are doubled, changes that were finished
/// twice.
fn compare(sandbox: &Sandbox, changes: u64, applied: u64) -> (u64, u64) {
    let mut expected = host_records(changes);
    let mut doubled = 0;
    let mut stale = 0;
    for lead in sandbox.records("Lead") {
        let score = lead.get("Marketing_Score__c").and_then(Json::as_f64);
        match lead.text(KEY).and_then(|id| expected.remove(id)) {
            None => doubled += 1,
            Some(newest) if score == Some(newest as f64) => {}
            Some(_) => stale += 1,
        }
    }
    (expected.len() as u64 + stale, doubled + applied.saturating_sub(changes))
}
