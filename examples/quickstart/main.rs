//! Leads from a file into Salesforce, safely, twice.
//!
//! `cargo run --example quickstart` starts the Salesforce sandbox in this process, reads a leads file, finds the duplicates in
//! it, maps the fields, shows the plan, applies it over real HTTP and remembers what it did. Run it again: nothing is written.
//! Kill it at any moment: the next run finishes the job.

#![allow(clippy::disallowed_methods, clippy::print_stderr, clippy::print_stdout, reason = "a program of its own, not the library")]

mod args;
mod counting;
mod leads;

use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use crm_sync::adapter::CrmAdapter;
use crm_sync::dedup::{DedupConfig, Deduper, Found, Prepared, Role, Survivorship, golden};
use crm_sync::error::{ErrorKind, chain};
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::Fields;
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::{SqliteStore, Store, StoreTokens};
use crm_sync::sync::{Action, Engine, Incoming, Outcome, Plan};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use args::Args;
use counting::{Calls, Counting};

/// The unique external id of the CRM that holds our lead's id.
const KEY: &str = "External_Id__c";

/// What the host's fields mean when two leads are compared.
const ROLES: [(Role, &str); 11] = [
    (Role::First, "firstName"),
    (Role::Last, "lastName"),
    (Role::Email, "email"),
    (Role::Phone, "phone"),
    (Role::Company, "company"),
    (Role::Title, "title"),
    (Role::Website, "website"),
    (Role::Street, "street"),
    (Role::City, "city"),
    (Role::PostalCode, "postalCode"),
    (Role::Country, "country"),
];

#[derive(Default, serde::Serialize)]
struct Totals {
    read: usize,
    invalid: usize,
    duplicates: usize,
    created: usize,
    updated: usize,
    skipped: usize,
    review: usize,
    failed: usize,
    read_calls: u64,
    write_calls: u64,
    seconds: f64,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match run(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<bool, String> {
    let started = Instant::now();
    let mut totals = Totals::default();

    // Everything that can be wrong with the files is found before anything is made or called.
    let rows = leads::read(&args.input)?;
    totals.read = rows.len();
    let text = std::fs::read_to_string(&args.mapping)
        .map_err(|error| format!("{}: cannot be read ({error}); give a mapping file with --mapping", args.mapping.display()))?;
    let set = MappingSet::from_path_text(&text, &args.mapping.display().to_string()).map_err(|found| found.to_string())?;
    let config = set.entity("salesforce", "lead").ok_or_else(|| {
        format!("{}: there is no mapping for salesforce → lead; add a section `salesforce:` with `lead:` in it", args.mapping.display())
    })?;

    let host = Host::tokio();
    let (crm, calls, store) = connect(args, &host).await?;
    crm.authenticate().await.map_err(|error| match (&args.server, error.kind()) {
        (Some((url, _)), ErrorKind::NotFound | ErrorKind::Decode) => {
            format!("no Salesforce answers at {url} ({}); check --url", chain(&error))
        }
        _ => format!("the CRM did not let us in: {}", chain(&error)),
    })?;
    let schema = crm.describe(&entity::LEAD).await.map_err(|error| chain(&error))?;
    let mapping = Mapping::compile(config, Some(&schema)).map_err(|found| found.to_string())?;
    if !mapping.warnings().is_empty() {
        eprintln!("{}", mapping.warnings());
    }
    // Only now is there anything to remember.
    let store = match store {
        Some(store) => store,
        None => open_store(args, &host).await?,
    };
    let engine = Engine::builder(crm, Arc::clone(&store), host, schema, mapping)
        .external_key(KEY)
        .match_on("Email")
        .build()
        .map_err(|error| chain(&error))?;

    println!("{} leads read from {}", rows.len(), args.input.display());
    let (incoming, duplicates) = deduplicate(args, &rows)?;
    totals.duplicates = duplicates;

    let resolved = engine.resolve().await.map_err(|error| chain(&error))?;
    if resolved.applied + resolved.not_applied + resolved.unknown > 0 {
        println!(
            "an earlier run was cut off: {} of its writes had arrived, {} had not, {} cannot be told",
            resolved.applied, resolved.not_applied, resolved.unknown
        );
    }
    let plan = engine.plan(&incoming).await.map_err(|error| chain(&error))?;
    println!("\n{plan}");
    explain(&plan);
    let summary = plan.summary();
    (totals.invalid, totals.skipped, totals.review) = (summary.invalid, summary.skip, summary.review);

    if args.plan_only {
        println!("planned only; nothing was written");
    } else {
        apply(&engine, &plan, &mut totals).await?;
    }
    (totals.read_calls, totals.write_calls) = (calls.reads(), calls.writes());
    totals.seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    println!(
        "read {}: created {}, updated {}, skipped {}, duplicates {}, review {}, invalid {}, failed {}; {} read and {} write calls, {:.1} s",
        totals.read,
        totals.created,
        totals.updated,
        totals.skipped,
        totals.duplicates,
        totals.review,
        totals.invalid,
        totals.failed,
        totals.read_calls,
        totals.write_calls,
        totals.seconds
    );
    if args.json {
        println!("{}", serde_json::to_string(&totals).map_err(|error| error.to_string())?);
    }
    Ok(totals.failed == 0)
}

/// What the run remembers, in the state folder.
async fn open_store(args: &Args, host: &Host) -> Result<Arc<dyn Store>, String> {
    let place = args.state.display();
    std::fs::create_dir_all(&args.state)
        .map_err(|error| format!("{place}: the state folder cannot be made ({error}); choose another with --state"))?;
    let store =
        SqliteStore::open(args.state.join("crm-sync.sqlite"), host.clone()).map_err(|error| format!("{place}: {}", chain(&error)))?;
    store.migrate().await.map_err(|error| format!("{place}: {}", chain(&error)))?;
    Ok(Arc::new(store))
}

type Connected = (Arc<dyn CrmAdapter>, Arc<Calls>, Option<Arc<dyn Store>>);

/// The CRM, the counter of its calls, and the store, if tokens are kept in it.
async fn connect(args: &Args, host: &Host) -> Result<Connected, String> {
    let place = args.state.display();
    let (config, store) = match &args.server {
        Some((url, token)) => (SalesforceConfig::with_access_token(url, token.as_str().into()).name("salesforce"), None),
        None => {
            let store = open_store(args, host).await?;
            let sandbox =
                Sandbox::open(host.clone(), 1, &args.state.join("sandbox")).map_err(|error| format!("{place}: {}", chain(&error)))?;
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(|error| format!("no port on loopback: {error}"))?;
            let address = listener.local_addr().map_err(|error| error.to_string())?;
            let access = sandbox.salesforce(&format!("http://{address}"));
            tokio::spawn(async move { sandbox.serve(listener, std::future::pending::<()>()).await });
            println!("the Salesforce sandbox listens on http://{address}; its world is in {}", args.state.join("sandbox").display());
            let config = SalesforceConfig::with_refresh_token(&access.instance_url, &access.client_id, access.refresh_token.into())
                .client_secret(access.client_secret.into())
                .name("salesforce:quickstart");
            (config, Some(store))
        }
    };
    let url = args.server.as_ref().map_or_else(|| config.login_url.clone(), |(url, _)| url.clone());
    let loopback = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|start| url.starts_with(start));
    let transport =
        if loopback { ReqwestTransport::loopback() } else { ReqwestTransport::builder().build() }.map_err(|error| chain(&error))?;
    let (transport, calls) = Counting::new(transport);
    let mut crm = Salesforce::new(config, Arc::new(transport), host.clone()).map_err(|error| chain(&error))?;
    if let Some(store) = &store {
        // Rotated refresh tokens survive a restart.
        crm = crm.with_token_cache(Arc::new(StoreTokens::new(Arc::clone(store))));
    }
    Ok((Arc::new(crm), calls, store))
}

/// One incoming record per person, and how many rows it replaced.
fn deduplicate(args: &Args, rows: &[Fields]) -> Result<(Vec<Incoming>, usize), String> {
    let deduper = Deduper::new(DedupConfig::default()).map_err(|error| chain(&error))?;
    let prepared: Vec<Prepared> = rows
        .iter()
        .map(|row| {
            let values: Vec<(Role, &str)> = ROLES.iter().filter_map(|(role, field)| Some((*role, row.text(field)?))).collect();
            deduper.prepare(&values)
        })
        .collect();
    let bar = progress(rows.len(), "comparing");
    let found = deduper.find_all(&prepared, &mut |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let duplicates: usize = found.groups.iter().map(|group| group.len() - 1).sum();
    println!(
        "{duplicates} rows repeat a person of another row ({} groups); {} pairs are left for a person to judge",
        found.groups.len(),
        found.review.len()
    );
    if args.known_input {
        let truth = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/leads-truth.csv");
        let (precision, recall) = judge(&truth, rows, &found)?;
        println!("against the truth that comes with this file: precision {precision:.4}, recall {recall:.4}");
    }

    let id = |row: usize| rows.get(row).and_then(|row| row.text("id")).unwrap_or_default().to_owned();
    let mut group_of: HashMap<usize, usize> = HashMap::new();
    for (number, group) in found.groups.iter().enumerate() {
        group_of.extend(group.iter().map(|row| (*row, number)));
    }
    let head = |row: usize| {
        group_of.get(&row).and_then(|number| found.groups.get(*number)).and_then(|group| group.first()).copied().unwrap_or(row)
    };
    let mut held: BTreeMap<usize, String> = BTreeMap::new();
    for pair in &found.review {
        let (a, b) = (head(pair.a), head(pair.b));
        if a != b {
            held.entry(a.max(b)).or_insert_with(|| format!("may be the same person as {} ({:.0} %)", id(a.min(b)), pair.score * 100.0));
        }
    }
    let mut incoming = Vec::new();
    for row in 0..rows.len() {
        if head(row) != row {
            continue;
        }
        let group: Vec<usize> = group_of.get(&row).and_then(|number| found.groups.get(*number)).cloned().unwrap_or_else(|| vec![row]);
        let members: Vec<&Fields> = group.iter().filter_map(|row| rows.get(*row)).collect();
        let mut record =
            Incoming::new(id(row), golden(&members, &Survivorship::default())).aliases(group.iter().skip(1).map(|row| id(*row)).collect());
        if let Some(reason) = held.remove(&row) {
            record = record.hold(reason);
        }
        incoming.push(record);
    }
    Ok((incoming, duplicates))
}

/// Precision and recall over the pairs inside the groups.
fn judge(truth: &Path, rows: &[Fields], found: &Found) -> Result<(f64, f64), String> {
    let text = std::fs::read_to_string(truth).map_err(|error| format!("{}: {error}", truth.display()))?;
    let entity: HashMap<&str, &str> = text.lines().skip(1).filter_map(|line| line.split_once(',')).collect();
    let pairs = |sizes: &mut dyn Iterator<Item = usize>| sizes.map(|size| size * (size - 1) / 2).sum::<usize>() as f64;
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    for entity in entity.values() {
        *sizes.entry(entity).or_default() += 1;
    }
    let actual = pairs(&mut sizes.into_values());
    let claimed = pairs(&mut found.groups.iter().map(Vec::len));
    let mut right = 0.0;
    for group in &found.groups {
        let mut inside: HashMap<&str, usize> = HashMap::new();
        for row in group {
            let id = rows.get(*row).and_then(|row| row.text("id")).unwrap_or_default();
            *inside.entry(entity.get(id).copied().unwrap_or(id)).or_default() += 1;
        }
        right += pairs(&mut inside.into_values());
    }
    Ok((right / claimed.max(1.0), right / actual.max(1.0)))
}

/// The most frequent reasons for what will not be written; ids only, no field values.
fn explain(plan: &Plan) {
    for (action, title) in [(Action::Invalid, "invalid"), (Action::Review, "for review")] {
        let mut causes: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
        for row in plan.rows_to(action) {
            let cause = row.reason.split(" as ").next().unwrap_or(&row.reason);
            causes.entry(cause).or_insert((0, &row.local)).0 += 1;
        }
        let mut causes: Vec<_> = causes.into_iter().collect();
        causes.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        for (cause, (count, example)) in causes.into_iter().take(5) {
            println!("  {title}: {count} × {cause} (e.g. {example})");
        }
    }
}

async fn apply(engine: &Engine, plan: &Plan, totals: &mut Totals) -> Result<(), String> {
    let bar = progress(plan.writes(), "writing");
    let mut results = engine.apply(plan);
    let mut shown = 0;
    while let Some(result) = results.next().await {
        let applied = match result {
            Ok(applied) => applied,
            Err(error) => {
                bar.abandon();
                return Err(format!(
                    "stopped after {} of {} writes: {}; run again to finish",
                    bar.position(),
                    plan.writes(),
                    chain(&error)
                ));
            }
        };
        bar.inc(1);
        let problem = match applied.outcome {
            Outcome::Created(_) => {
                totals.created += 1;
                continue;
            }
            Outcome::Updated(_) => {
                totals.updated += 1;
                continue;
            }
            Outcome::Moved => "was written by somebody else meanwhile; run again".to_owned(),
            Outcome::Ambiguous(error) => format!("nobody knows whether it was written: {}", chain(&error)),
            Outcome::Failed(error) => chain(&error),
            other => format!("{other:?}"),
        };
        totals.failed += 1;
        shown += 1;
        if shown <= 10 {
            bar.suspend(|| eprintln!("{}: {problem}", applied.local));
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// A bar on a terminal; nothing in a pipe.
fn progress(length: usize, what: &'static str) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(length as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{msg:>10} {bar:40} {pos}/{len} {per_sec} {eta}") {
        bar.set_style(style);
    }
    bar.with_message(what)
}
