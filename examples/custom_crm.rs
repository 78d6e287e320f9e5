//! Any REST API by a definition: is it right, and what do its records look like?
//!
//! ```text
//! cargo run --example custom_crm -- --definition examples/custom/kinto.yaml --check
//! KINTO_PASSWORD=... cargo run --example custom_crm -- --definition examples/custom/kinto.yaml \
//!     --url http://127.0.0.1:8888/v1 --secret password=KINTO_PASSWORD --entity contacts --filter "score >= 5" --limit 10
//! ```
//!
//! A definition that cannot work is refused with file, line and column. Secrets are read from the environment: an argument can be
//! seen by every process.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own, not the library")]

use std::process::ExitCode;

use crm_sync::adapter::{CrmAdapter, CrmAdapterExt};
use crm_sync::custom::{Custom, Definition};
use crm_sync::error::{Error, chain};
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::model::Entity;
use crm_sync::query::{Criteria, Query};
use futures_util::TryStreamExt;

const USAGE: &str = "usage: custom_crm --definition FILE [--check] [--url URL] [--variable NAME=VALUE]... [--secret NAME=ENV_VARIABLE]...
                  [--entity NAME] [--filter CONDITION] [--limit COUNT]
  --definition  the file: .yaml, .json or .toml
  --check       only reads the definition and names its entities; nothing is sent
  --url         where the API answers, instead of what the definition says
  --variable    what a variable of the definition stands for
  --secret      the name of a secret, and the environment variable that holds it
  --entity      whose records are listed, one JSON object a line; without it the first one
  --filter      a condition: \"score >= 5 AND city = 'Oslo'\"
  --limit       the most records, 100 unless told";

#[derive(Default)]
struct Flags {
    definition: String,
    check: bool,
    url: Option<String>,
    variables: Vec<(String, String)>,
    secrets: Vec<(String, String)>,
    entity: Option<String>,
    filter: Option<String>,
    limit: u64,
}

fn flags(mut args: impl Iterator<Item = String>) -> Result<Flags, String> {
    let mut flags = Flags { limit: 100, ..Flags::default() };
    while let Some(flag) = args.next() {
        if flag == "--check" {
            flags.check = true;
            continue;
        }
        let mut value = || args.next().filter(|value| !value.is_empty()).ok_or_else(|| format!("{flag} needs a value\n\n{USAGE}"));
        let pair = |text: String| {
            let pair = text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
            pair.ok_or_else(|| format!("{flag} takes NAME=VALUE\n\n{USAGE}"))
        };
        match flag.as_str() {
            "--definition" => flags.definition = value()?,
            "--url" => flags.url = Some(value()?),
            "--variable" => flags.variables.push(pair(value()?)?),
            "--secret" => flags.secrets.push(pair(value()?)?),
            "--entity" => flags.entity = Some(value()?),
            "--filter" => flags.filter = Some(value()?),
            "--limit" => flags.limit = value()?.parse().map_err(|_| format!("--limit takes a number\n\n{USAGE}"))?,
            other => return Err(format!("unknown argument {other}\n\n{USAGE}")),
        }
    }
    if flags.definition.is_empty() {
        return Err(format!("--definition is missing\n\n{USAGE}"));
    }
    Ok(flags)
}

fn read(path: &str) -> Result<Definition, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
    let read = match path.rsplit('.').next() {
        Some("json") => Definition::from_json(&text, path),
        Some("toml") => Definition::from_toml(&text, path),
        _ => Definition::from_yaml(&text, path),
    };
    // The source lists all problems, each with its line.
    read.map_err(|error| chain(&error))
}

async fn run(flags: Flags) -> Result<(), String> {
    let mut definition = read(&flags.definition)?;
    if flags.check {
        let entities: Vec<&str> = definition.entities.keys().map(String::as_str).collect();
        println!(
            "{}: {} is right; entities: {}",
            flags.definition,
            definition.name,
            if entities.is_empty() { "any".to_owned() } else { entities.join(", ") }
        );
        return Ok(());
    }
    if let Some(url) = flags.url {
        definition.base_url = url;
    }
    let known = definition.entities.keys().next().cloned();
    let transport = ReqwestTransport::builder();
    let transport = if definition.base_url.starts_with("http://127.0.0.1") { transport.loopback() } else { transport };
    let transport = transport.build().map_err(|error| chain(&error))?;
    let mut builder = Custom::builder(definition, transport, Host::tokio());
    for (name, value) in flags.variables {
        builder = builder.variable(name, value);
    }
    for (name, variable) in flags.secrets {
        let secret = std::env::var(&variable).map_err(|_| format!("the environment variable {variable} is not set"))?;
        builder = builder.secret(name, secret);
    }
    let told = |error: Error| chain(&error);
    let crm = builder.build().map_err(told)?;
    let identity = crm.authenticate().await.map_err(told)?;
    eprintln!("connected to {} as {}", crm.name(), identity.user.or(identity.account).unwrap_or_else(|| "somebody".to_owned()));
    let entity = flags.entity.or(known).ok_or("--entity is missing: the definition names none")?;
    let mut query = Query::new(Entity::new(entity)).limit(flags.limit).allow_residual();
    if let Some(filter) = flags.filter {
        query = query.filter(Criteria::parse(&filter).map_err(|error| error.to_string())?);
    }
    let mut records = crm.search_all(query);
    while let Some(record) = records.try_next().await.map_err(told)? {
        println!("{}", serde_json::json!({"id": record.id, "fields": record.fields}));
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if std::env::args().skip(1).any(|flag| matches!(flag.as_str(), "--help" | "-h")) {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let outcome = match flags(std::env::args().skip(1)) {
        Ok(flags) => run(flags).await,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
