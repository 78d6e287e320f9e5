//! Bulk API 2.0: writes leads by a job, reads them back by a query job, and says what it took.
//!
//! `cargo run --example bulk_api_2 -- [--url https://acme.my.salesforce.com --token TOKEN] [--rows N] [--key Ext__c]`
//!
//! Without `--url` it speaks to the sandbox in this process. Against an org of yours it makes leads (their last names begin with
//! `Bulk Example`), so use one for trying things out; `--key` names an external id field of Lead, and without one the leads are
//! inserted.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

#[path = "support/org.rs"]
mod org;

use std::process::ExitCode;

use crm_sync::error::{Error, Result, chain};
use crm_sync::model::Fields;
use crm_sync::salesforce::bulk::{IngestEvent, IngestOperation, RowResult, Volume};
use crm_sync::salesforce::entity;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde_json::json;

struct Flags {
    url: Option<String>,
    token: String,
    rows: usize,
    key: Option<String>,
}

fn flags(mut args: impl Iterator<Item = String>) -> Result<Flags> {
    let mut flags = Flags { url: None, token: String::new(), rows: 5_000, key: None };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| Error::config(format!("{name} needs a value")))?;
        match name.as_str() {
            "--url" => flags.url = Some(value),
            "--token" => flags.token = value,
            "--rows" => flags.rows = value.parse().map_err(|_| Error::config("--rows takes a number"))?,
            "--key" => flags.key = Some(value),
            _ => return Err(Error::config("usage: bulk_api_2 [--url URL --token TOKEN] [--rows N] [--key FIELD]")),
        }
    }
    Ok(flags)
}

async fn run(flags: Flags) -> Result<()> {
    let client = org::connect(flags.url.as_deref(), &flags.token)?;
    let bulk = client.bulk();
    println!("{} rows are best written by {:?}", flags.rows, Volume::default().writes(flags.rows, None));

    let operation = flags.key.as_ref().map_or(IngestOperation::Insert, |key| IngestOperation::upsert(key.as_str()));
    let mut events = bulk.ingest(&entity::LEAD, operation).run(rows(flags.rows, flags.key));
    let (mut saved, mut failed) = (0, 0);
    while let Some(event) = events.try_next().await? {
        match event {
            // A program that must survive a crash keeps the ticket here.
            IngestEvent::Uploaded(ticket) => println!("job {} has {} rows", ticket.id, ticket.rows.unwrap_or(0)),
            IngestEvent::Row(row) => match row.result {
                RowResult::Saved { .. } => saved += 1,
                RowResult::Failed { error, .. } => {
                    failed += 1;
                    if failed <= 3 {
                        println!("a row was refused: {error}");
                    }
                }
                _ => failed += 1,
            },
            IngestEvent::Finished(report) => {
                println!("job {} is {:?}; complete: {}", report.ticket.id, report.info.state, report.is_complete())
            }
            _ => {}
        }
    }
    drop(events);
    println!("{saved} rows saved, {failed} not");

    let job = bulk.query("SELECT Id, LastName, Company FROM Lead").await?;
    let info = job.wait().await?;
    println!("query job {} has {} rows", info.id, info.number_records_processed.unwrap_or(0));
    let ours = job.rows().try_fold(0, |count, row| async move {
        Ok(if row.text("LastName").is_some_and(|name| name.starts_with("Bulk Example")) { count + 1 } else { count })
    });
    println!("{} of them are ours", ours.await?);
    job.delete().await?;
    if let Some(peak) = peak() {
        println!("peak memory of this process: {peak}");
    }
    Ok(())
}

/// Rows made as they are asked for.
fn rows(count: usize, key: Option<String>) -> impl Stream<Item = Fields> + Send {
    stream::iter(0..count).map(move |n| {
        let mut row = Fields::new();
        row.insert("LastName", json!(format!("Bulk Example {n}")));
        row.insert("Company", json!("Analytical Engines, \"Ltd\""));
        if let Some(key) = &key {
            row.insert(key, json!(format!("bulk-example-{n}")));
        }
        row
    })
}

fn peak() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.trim().to_owned())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match flags(std::env::args().skip(1)) {
        Ok(flags) => run(flags).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
