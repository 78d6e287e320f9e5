//! Checks a mapping file against a CRM before anything is sent.
//!
//! `cargo run --example check_mapping -- --mapping FILE --crm salesforce --entity lead [--url U --token T]`
//!
//! With `--url` the fields are those of the live CRM; without, those of its sandbox in this process. The token may
//! also stand in the environment variable `CRM_TOKEN`, where the list of processes does not show it. Exits with 1 if the
//! mapping has errors, with 0 if it has none or warnings only, with 2 if the command line is wrong.

#![allow(clippy::print_stderr, clippy::print_stdout, reason = "a program speaks to its user")]

#[path = "support/args.rs"]
mod args;

use std::process::ExitCode;
use std::sync::Arc;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::chain;
use crm_sync::host::Host;
use crm_sync::http::{HttpTransport, ReqwestTransport};
use crm_sync::hubspot::{HubSpot, HubSpotConfig};
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{Entity, EntitySchema};
use crm_sync::pipedrive::{Pipedrive, PipedriveConfig};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::Sandbox;

use args::Args;

const USAGE: &str =
    "usage: check_mapping --mapping FILE --crm salesforce|hubspot|pipedrive --entity NAME [--object NAME] [--url URL --token TOKEN]

  --mapping FILE   the mapping file (.yaml, .yml, .toml or .json)
  --crm NAME       the section of the file, and the CRM: salesforce, hubspot or pipedrive
  --entity NAME    the entity in that section, e.g. lead
  --object NAME    what the CRM calls the entity, if it is not the same word, e.g. Invoice__c
  --url URL        the server to ask, e.g. https://acme.my.salesforce.com, https://api.hubapi.com or https://acme.pipedrive.com;
                   the sandbox in this process without
  --token TOKEN    an access token for it; or the environment variable CRM_TOKEN";

#[derive(Clone, Copy, PartialEq)]
enum Crm {
    HubSpot,
    Pipedrive,
    Salesforce,
}

struct Flags {
    mapping: String,
    section: String,
    crm: Crm,
    entity: String,
    object: Option<String>,
    server: Option<(String, String)>,
}

fn flags(args: &Args) -> Result<Flags, String> {
    let token = args.get("--token").map(str::to_owned);
    let server = match args.get("--url") {
        None if token.is_some() => return Err(args.wrong("--token goes with --url")),
        None => None,
        Some(url) => {
            let token = token.or_else(|| std::env::var("CRM_TOKEN").ok().filter(|token| !token.is_empty()));
            let token = token.ok_or_else(|| args.wrong("--token (or the environment variable CRM_TOKEN) is missing"))?;
            Some((url.to_owned(), token))
        }
    };
    let section = args.need("--crm")?;
    let crm = match section.to_ascii_lowercase().as_str() {
        "hubspot" => Crm::HubSpot,
        "pipedrive" => Crm::Pipedrive,
        "salesforce" => Crm::Salesforce,
        _ => return Err(format!("--crm {section}: this program can ask salesforce, hubspot and pipedrive")),
    };
    Ok(Flags {
        mapping: args.need("--mapping")?,
        section,
        crm,
        entity: args.need("--entity")?,
        object: args.get("--object").map(str::to_owned),
        server,
    })
}

/// Hosts like to write `lead` and `contact`; Salesforce spells its objects with a capital, the others name them in the plural.
fn object(flags: &Flags) -> Entity {
    let word = flags.entity.as_str();
    let name = match (&flags.object, flags.crm) {
        (Some(object), _) => object.clone(),
        (None, Crm::Salesforce) => {
            let mut chars = word.chars();
            chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
        }
        (None, Crm::HubSpot | Crm::Pipedrive) => match word.strip_suffix('y') {
            _ if word.ends_with('s') => word.to_owned(),
            Some(stem) => format!("{stem}ies"),
            None => format!("{word}s"),
        },
    };
    Entity::new(name)
}

/// The CRM to ask, and what to call it.
fn crm(flags: &Flags) -> Result<(Box<dyn CrmAdapter>, String), String> {
    let host = Host::tokio();
    let (url, token, transport, place): (String, String, Arc<dyn HttpTransport>, String) = match &flags.server {
        Some((url, token)) => {
            let transport = if is_loopback(url) { ReqwestTransport::loopback() } else { ReqwestTransport::builder().build() };
            let transport = transport.map_err(|error| chain(&error))?;
            (url.clone(), token.clone(), Arc::new(transport), url.clone())
        }
        None => {
            let sandbox = Sandbox::new(host.clone(), 1);
            let (url, token) = match flags.crm {
                Crm::HubSpot => {
                    let access = sandbox.hubspot(Sandbox::IN_PROCESS_URL);
                    (access.base_url, access.access_token)
                }
                Crm::Pipedrive => {
                    let access = sandbox.pipedrive(Sandbox::IN_PROCESS_URL);
                    (access.api_domain, access.access_token)
                }
                Crm::Salesforce => {
                    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
                    (access.instance_url, access.access_token)
                }
            };
            (url, token, sandbox.transport(), "the sandbox in this process".to_owned())
        }
    };
    let token = token.into();
    let adapter: Result<Box<dyn CrmAdapter>, _> = match flags.crm {
        Crm::HubSpot => {
            let mut config = HubSpotConfig::with_access_token(token);
            config.base_url = url;
            HubSpot::new(config, transport, host).map(|crm| Box::new(crm) as _)
        }
        Crm::Pipedrive => Pipedrive::new(PipedriveConfig::with_access_token(url, token), transport, host).map(|crm| Box::new(crm) as _),
        Crm::Salesforce => Salesforce::new(SalesforceConfig::with_access_token(url, token), transport, host).map(|crm| Box::new(crm) as _),
    };
    Ok((adapter.map_err(|error| chain(&error))?, place))
}

async fn schema(flags: &Flags) -> Result<EntitySchema, String> {
    let object = object(flags);
    let (crm, place) = crm(flags)?;
    crm.describe(&object)
        .await
        .map_err(|error| format!("{place} does not describe {object}: {}; check --url, --token and --object", chain(&error)))
}

fn is_loopback(url: &str) -> bool {
    let rest = url.strip_prefix("http://").unwrap_or_default();
    ["127.0.0.1", "localhost", "[::1]"]
        .iter()
        .any(|host| rest.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with(':') || rest.starts_with('/')))
}

/// The warnings, rendered.
async fn check(flags: &Flags) -> Result<String, String> {
    let file = &flags.mapping;
    let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: cannot be read ({error})"))?;
    let set = MappingSet::from_path_text(&text, file).map_err(|problems| problems.to_string())?;
    let config = set.require(&flags.section, &flags.entity).map_err(|problems| problems.to_string())?;
    let schema = schema(flags).await?;
    let mapping = Mapping::compile(config, Some(&schema)).map_err(|problems| problems.to_string())?;
    let warnings = mapping.warnings();
    let summary = format!(
        "{file}: {} {} maps {} fields to {}, version {}, {} warning{}",
        mapping.crm(),
        mapping.entity(),
        mapping.host_fields().len(),
        schema.entity,
        mapping.version(),
        warnings.len(),
        if warnings.len() == 1 { "" } else { "s" }
    );
    Ok(if warnings.is_empty() { summary } else { format!("{warnings}\n\n{summary}") })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let flags = match Args::read(USAGE, &["--mapping", "--crm", "--entity", "--object", "--url", "--token"]) {
        Ok(Some(args)) => flags(&args),
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => Err(message),
    };
    let flags = match flags {
        Ok(flags) => flags,
        Err(message) => {
            eprintln!("{message}");
            return ExitCode::from(2);
        }
    };
    match check(&flags).await {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::FAILURE
        }
    }
}
