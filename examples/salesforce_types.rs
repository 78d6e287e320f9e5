//! Prints Rust types for the objects of an org.
//!
//! `cargo run --example salesforce_types -- --entity Lead [--entity Account ...] [--url INSTANCE_URL [--token TOKEN]]`
//! `cargo run --example salesforce_types -- --describe lead.json`
//!
//! Descriptions are read from the org, or from files that hold what `/sobjects/Lead/describe` answered. Without `--url` the objects are those of the pretend Salesforce. The token may also be in `SALESFORCE_ACCESS_TOKEN`, where other
//! users of the machine do not see it.

#![allow(clippy::print_stderr, reason = "a program speaks to its user")]

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use crm_sync::error::chain;
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::model::Entity;
use crm_sync::salesforce::{Salesforce, SalesforceConfig, codegen};
use crm_sync::sandbox::Sandbox;

const USAGE: &str =
    "usage: salesforce_types --entity NAME [--entity NAME ...] [--url INSTANCE_URL [--token TOKEN]], or --describe FILE ...";

#[derive(Default)]
struct Flags {
    entities: Vec<String>,
    files: Vec<String>,
    url: Option<String>,
    token: Option<String>,
}

fn flags(mut args: impl Iterator<Item = String>) -> Result<Flags, String> {
    let mut flags = Flags::default();
    while let Some(flag) = args.next() {
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag, None),
        };
        if !["--entity", "--describe", "--url", "--token"].contains(&name.as_str()) {
            return Err(format!("unknown argument {name}; {USAGE}"));
        }
        let value = value.or_else(|| args.next()).filter(|value| !value.is_empty()).ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--entity" => flags.entities.push(value),
            "--describe" => flags.files.push(value),
            "--url" => flags.url = Some(value),
            _ => flags.token = Some(value),
        }
    }
    if flags.entities.is_empty() && flags.files.is_empty() {
        return Err(format!("--entity is missing; {USAGE}"));
    }
    Ok(flags)
}

fn connect(flags: &Flags) -> Result<Salesforce, String> {
    let told = |error: crm_sync::error::Error| chain(&error);
    let host = Host::tokio();
    let Some(url) = &flags.url else {
        let sandbox = Sandbox::new(host.clone(), 1);
        let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
        let config = SalesforceConfig::with_access_token(access.instance_url.clone(), access.access_token.clone().into());
        return Salesforce::new(config, sandbox.transport(), host).map_err(told);
    };
    let token = flags.token.clone().or_else(|| std::env::var("SALESFORCE_ACCESS_TOKEN").ok()).filter(|token| !token.is_empty());
    let token = token.ok_or("--url needs --token or SALESFORCE_ACCESS_TOKEN")?;
    let local = url::Url::parse(url).is_ok_and(|url| matches!(url.host_str(), Some("127.0.0.1" | "localhost")));
    let transport = if local { ReqwestTransport::loopback() } else { ReqwestTransport::builder().build() }.map_err(told)?;
    Salesforce::new(SalesforceConfig::with_access_token(url, token.into()), Arc::new(transport), host).map_err(told)
}

async fn run(flags: Flags) -> Result<(), String> {
    let mut schemas = Vec::new();
    for file in &flags.files {
        let text = std::fs::read(file).map_err(|error| format!("could not read {file}: {error}"))?;
        schemas.push(codegen::schema(&text).map_err(|error| format!("{file} is no description: {}", chain(&error)))?);
    }
    let client = connect(&flags)?;
    for name in &flags.entities {
        let schema = client.describe_object(&Entity::new(name.clone())).await;
        schemas.push(schema.map_err(|error| format!("{name} could not be described: {}", chain(&error)))?);
    }
    let mut out = std::io::stdout();
    out.write_all(codegen::module(&schemas).as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| format!("could not write to stdout: {error}"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let outcome = match flags(std::env::args().skip(1)) {
        Ok(flags) => run(flags).await,
        Err(message) => Err(message),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("salesforce_types: {message}");
            ExitCode::FAILURE
        }
    }
}
