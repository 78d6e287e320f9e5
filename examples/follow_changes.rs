//! Follows the changes of an object as they happen, and goes on where it stopped.
//!
//! `cargo run --example follow_changes -- [--url https://acme.my.salesforce.com --token TOKEN] [--entity Lead] [--position FILE]`
//!
//! Without `--url` it speaks to the sandbox in this process, makes two leads and ends when it has heard of them. Against an org of
//! yours it runs until it is stopped; the object must be selected in Setup under "Change Data Capture". With `--position` the
//! place is kept in a file, so that the next run begins behind the last change that was shown.

#![allow(clippy::print_stdout, reason = "a program speaks to its user")]

#[path = "support/org.rs"]
mod org;

use std::process::ExitCode;

use crm_sync::error::{Error, Result, chain};
use crm_sync::model::{Entity, Fields};
use crm_sync::salesforce::stream::{Position, RereadScope, StreamEvent, StreamOptions, Subscription};
use crm_sync::salesforce::{Salesforce, entity};
use futures_util::StreamExt;

struct Flags {
    url: Option<String>,
    token: String,
    entity: Entity,
    position: Option<String>,
}

fn flags(mut args: impl Iterator<Item = String>) -> Result<Flags> {
    let mut flags = Flags { url: None, token: String::new(), entity: entity::LEAD, position: None };
    while let Some(name) = args.next() {
        let value = args.next().ok_or_else(|| Error::config(format!("{name} needs a value")))?;
        match name.as_str() {
            "--url" => flags.url = Some(value),
            "--token" => flags.token = value,
            "--entity" => flags.entity = Entity::new(value),
            "--position" => flags.position = Some(value),
            _ => return Err(Error::config("usage: follow_changes [--url URL --token TOKEN] [--entity NAME] [--position FILE]")),
        }
    }
    Ok(flags)
}

fn stored(path: Option<&str>) -> Result<Option<Position>> {
    let Some(text) = path.and_then(|path| std::fs::read_to_string(path).ok()) else { return Ok(None) };
    serde_json::from_str(&text).map(Some).map_err(|_| Error::config("the position file is not one of this example"))
}

fn store(path: Option<&str>, position: &Position) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let text = serde_json::to_string(position).map_err(|_| Error::config("the position cannot be written"))?;
    std::fs::write(path, text).map_err(|error| Error::config("the position file cannot be written").with_source(error))
}

/// Two leads, so that there is something to hear of.
async fn make(crm: &Salesforce) -> Result<()> {
    for name in ["Ada", "Grace"] {
        let mut fields = Fields::new();
        fields.insert("LastName", name);
        fields.insert("Company", "Example Ltd");
        let id = crm.create(&entity::LEAD, &fields).await?;
        println!("made lead {id}");
    }
    Ok(())
}

async fn run(flags: &Flags) -> Result<()> {
    let crm = org::connect(flags.url.as_deref(), &flags.token)?;
    let path = flags.position.as_deref();
    let subscription = Subscription::changes(&flags.entity).from(stored(path)?.as_ref());
    let mut stream = crm.listen([subscription], StreamOptions::new())?;
    if flags.url.is_none() {
        make(&crm).await?;
    }
    let mut changes = 0;
    while let Some(event) = stream.next().await {
        let event = event?;
        match &event {
            StreamEvent::Change(change) => {
                let names: Vec<&str> = change.change.fields.names().collect();
                println!("{:?} {} {}: {}", change.change.kind, change.change.entity, change.change.id, names.join(", "));
                changes += 1;
            }
            StreamEvent::Reread(reread) => match &reread.scope {
                RereadScope::Records(ids) => println!("read again ({:?}): {} records", reread.reason, ids.len()),
                scope => println!("read again ({:?}): {scope:?}", reread.reason),
            },
            StreamEvent::Health(health) => println!("the stream is {}", health.state.as_str()),
            _ => {}
        }
        // Once the work of the event is done.
        if let Some(position) = event.position() {
            store(path, position)?;
        }
        if flags.url.is_none() && changes == 2 {
            break;
        }
    }
    stream.close().await;
    Ok(())
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match flags(std::env::args().skip(1)) {
        Ok(flags) => run(&flags).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("{}", chain(&error));
            ExitCode::FAILURE
        }
    }
}
