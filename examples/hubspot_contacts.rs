//! Contacts with their company, what they did with an email, and the form they filled in, into HubSpot; run twice.
//!
//! ```text
//! cargo run --example hubspot_contacts                       # into a pretend account in this process
//! HUBSPOT_ACCESS_TOKEN=pat-... cargo run --example hubspot_contacts -- --portal 62515 --company 9000000017
//! ```
//!
//! The second round writes nothing but what HubSpot itself keeps single. A real account needs a unique property `crm_sync_id` on
//! notes, which hold the email engagements; the form is filled in only if `--form` names one. The token is read from the environment: an
//! argument can be seen by every process.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to its user")]

use std::process::ExitCode;
use std::sync::Arc;

use crm_sync::error::{Error, Result, chain};
use crm_sync::host::Host;
use crm_sync::http::{HttpTransport, ReqwestTransport};
use crm_sync::hubspot::entity::{COMPANIES, CONTACTS, NOTES};
use crm_sync::hubspot::flows::{ContactSync, EmailEngagement, MarketingContact, Telling};
use crm_sync::hubspot::{FormSubmission, HubSpot, HubSpotConfig, Property};
use crm_sync::model::Fields;
use crm_sync::sandbox::Sandbox;

#[allow(dead_code, reason = "each example uses its own part of this module")]
#[path = "support/args.rs"]
mod args;

use args::Args;

const USAGE: &str = "usage: hubspot_contacts [--contacts COUNT] [--portal ID] [--company RECORD_ID] [--form GUID]
  --contacts  how many made-up contacts, 1 to 1000; default 20
  --portal    the account's id, for form submissions
  --company   the company they belong to
  --form      the form each of them filled in
With HUBSPOT_ACCESS_TOKEN in the environment the account is a real one, else a pretend one in this process.";

struct Goal {
    client: HubSpot,
    company: Option<String>,
    form: Option<String>,
    /// The account is a pretend one, to be furnished first.
    pretend: bool,
}

fn connect(args: &Args) -> Result<Goal> {
    let host = Host::tokio();
    let (mut company, mut form) = (args.get("--company").map(str::to_owned), args.get("--form").map(str::to_owned));
    let token = std::env::var("HUBSPOT_ACCESS_TOKEN").ok().filter(|token| !token.is_empty());
    let pretend = token.is_none();
    let (config, transport): (_, Arc<dyn HttpTransport>) = match token {
        Some(token) => {
            let config = HubSpotConfig::with_access_token(token.into());
            let config = args.get("--portal").map_or_else(|| config.clone(), |portal| config.clone().portal_id(portal));
            (config, Arc::new(ReqwestTransport::builder().build()?))
        }
        None => {
            let sandbox = Sandbox::new(host.clone(), 1);
            let access = sandbox.hubspot(Sandbox::IN_PROCESS_URL);
            let acme: Fields = [("name", "Acme"), ("domain", "acme.example")].into_iter().collect();
            company = Some(company.map_or_else(|| sandbox.hubspot_create("companies", &acme).map(|id| id.to_string()), Ok)?);
            form = form.or(Some(access.form_id));
            let config = HubSpotConfig::with_access_token(access.access_token.into()).base_url(&access.base_url);
            (config.forms_url(&access.base_url).portal_id(access.portal_id.to_string()), sandbox.transport())
        }
    };
    Ok(Goal { client: HubSpot::new(config, transport, host)?, company, form, pretend })
}

async fn round(goal: &Goal, name: &str, contacts: &[MarketingContact]) -> Result<()> {
    let schema = crm_sync::adapter::CrmAdapter::describe(&goal.client, &CONTACTS).await?;
    let flow = ContactSync::new(&goal.client).telling(Telling::Note("crm_sync_id".to_owned())).schema(schema);
    let (mut created, mut changed, mut associated, mut told, mut submitted) = (0, 0, 0, 0, 0);
    for (at, contact) in contacts.iter().enumerate() {
        let done = flow.sync(contact).await?;
        created += usize::from(done.created);
        changed += usize::from(!done.changed.is_empty());
        associated += done.associated;
        told += done.told;
        submitted += done.submitted;
        // A line now and then, so that a pipe can be read as well as a terminal.
        if (at + 1) % 10 == 0 || at + 1 == contacts.len() {
            eprintln!("{name}: {} of {} contacts", at + 1, contacts.len());
        }
    }
    println!(
        r#"{{"round":"{name}","contacts":{},"created":{created},"changed":{changed},"associated":{associated},"told":{told},"submitted":{submitted}}}"#,
        contacts.len()
    );
    Ok(())
}

async fn run(goal: Goal, count: usize) -> Result<()> {
    let account = crm_sync::adapter::CrmAdapter::authenticate(&goal.client).await?;
    let kind = if goal.pretend { "pretend account" } else { "account" };
    eprintln!("{kind} {}", account.account.as_deref().unwrap_or("without an id"));
    if goal.pretend {
        let group = goal.client.properties(&NOTES).await?.into_iter().map(|property| property.group_name).find(|group| !group.is_empty());
        let mark = Property::new("crm_sync_id", "Sync id", "string", "text", group.unwrap_or_default()).unique(true);
        goal.client.ensure_property(&NOTES, &mark).await?;
    }
    let at = Host::tokio().now();
    let contacts: Vec<MarketingContact> = (0..count)
        .map(|n| {
            let email = format!("person{n:04}@acme.example");
            let fields: Fields = [("firstname", format!("First{n}")), ("lastname", format!("Last{n}"))].into_iter().collect();
            let mut contact = MarketingContact::new(&email, fields).email_engagement(EmailEngagement::new(
                format!("spring-{n}"),
                "Spring news",
                1 + n as u64 % 3,
                n as u64 % 2,
                at,
            ));
            if let Some(company) = &goal.company {
                contact = contact.about(COMPANIES, company.as_str());
            }
            if let Some(form) = &goal.form {
                contact = contact.submission(FormSubmission::new(form).field("email", &email).at(at));
            }
            contact
        })
        .collect();
    round(&goal, "first", &contacts).await?;
    round(&goal, "second", &contacts).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let known = ["--contacts", "--portal", "--company", "--form"];
    let args = match args::or_end(Args::read(USAGE, &known), USAGE) {
        Ok(args) => args,
        Err(code) => return code,
    };
    let count = args.get("--contacts").unwrap_or("20").parse::<usize>().ok().filter(|count| (1..=1_000).contains(count));
    let Some(count) = count else {
        eprintln!("{}", args.wrong("--contacts takes a number from 1 to 1000"));
        return ExitCode::from(2);
    };
    let told = |error: Error| {
        eprintln!("{}", chain(&error));
        ExitCode::FAILURE
    };
    match connect(&args) {
        Ok(goal) => run(goal, count).await.map_or_else(told, |()| ExitCode::SUCCESS),
        Err(error) => told(error),
    }
}
