//! Marketing leads as persons with organization, deal, notes and activities in Pipedrive; run twice.
//!
//! ```text
//! cargo run --example pipedrive_persons                      # into a pretend account in this process
//! cargo run --example pipedrive_persons -- --leads 50 --json # the same, for a program to read
//! PIPEDRIVE_API_TOKEN=... cargo run --example pipedrive_persons -- --company acme --stage "Contact Made"
//! ```
//!
//! Every third lead is qualified and becomes a deal, with its attribution pinned to it. The second round has heard news of the
//! first lead alone and writes nothing else. The client keeps Pipedrive's burst limits by itself, so a real account takes about a
//! second for each lead. The token is read from the environment: an argument can be seen by every process.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program speaks to its user")]

use std::process::ExitCode;
use std::sync::Arc;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{Error, Result, chain};
use crm_sync::host::Host;
use crm_sync::http::{HttpTransport, ReqwestTransport};
use crm_sync::pipedrive::flows::{Ensured, MarketingActivity, MarketingLead, PersonSync};
use crm_sync::pipedrive::{Kind, Pipedrive, PipedriveConfig, PipedriveSettings};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::MemoryStore;

#[allow(dead_code, reason = "each example uses its own part of this module")]
#[path = "support/args.rs"]
mod args;

use args::Args;

const USAGE: &str = "usage: pipedrive_persons [--leads COUNT] [--company NAME] [--pipeline NAME] [--stage NAME] [--score FIELD] [--json]
  --leads     how many made-up leads, 1 to 1000; default 20
  --company   the account: the name in front of .pipedrive.com
  --pipeline  where deals go; default the pipeline of the stage
  --stage     the stage deals begin in; default Qualified
  --score     a custom field of persons that takes a number, by its name
  --json      one line of JSON for each round instead of a sentence
With PIPEDRIVE_API_TOKEN in the environment the account is a real one, else a pretend one in this process.";

struct Goal {
    client: Pipedrive,
    host: Host,
    stage: String,
    score: Option<String>,
}

/// What a round has done.
#[derive(Default)]
struct Round {
    persons: usize,
    deals: usize,
    activities: usize,
    refused: usize,
    tokens: u64,
}

async fn connect(args: &Args) -> Result<Goal> {
    let host = Host::tokio();
    let token = std::env::var("PIPEDRIVE_API_TOKEN").ok().filter(|token| !token.is_empty());
    let pretend = token.is_none();
    let mut score = args.get("--score").map(str::to_owned);
    let mut settings = PipedriveSettings::default();
    settings.pipeline.default_pipeline = args.get("--pipeline").map(str::to_owned);
    let (config, transport): (_, Arc<dyn HttpTransport>) = match token {
        Some(token) => {
            let mut config = PipedriveConfig::with_api_token("", token.into());
            config.company_domain = args.get("--company").map(str::to_owned);
            (config, Arc::new(ReqwestTransport::builder().build()?))
        }
        None => {
            let sandbox = Sandbox::new(host.clone(), 1);
            let access = sandbox.pipedrive(Sandbox::IN_PROCESS_URL);
            // Nobody waits in a pretend account.
            sandbox.set_pipedrive_options(|options| (options.burst, options.search_burst) = (Some(1_000_000), 1_000_000))?;
            let config = PipedriveConfig::with_api_token(access.base_url, access.api_token.into()).pace(false);
            (config, sandbox.transport())
        }
    };
    let client = Pipedrive::new(config.settings(settings), transport, host.clone())?;
    let me = client.authenticate().await?;
    eprintln!("{} {}", if pretend { "pretend account" } else { "account" }, me.account.as_deref().unwrap_or("without a name"));
    if pretend && score.is_none() {
        score = Some(client.ensure_field(Kind::Person, "Lead score", "double", &[]).await?.name);
    }
    let stage = args.get("--stage").unwrap_or("Qualified").to_owned();
    // Before anything is written: a stage that is not there would stop the first deal.
    client.place(&stage, None).await?;
    Ok(Goal { client, host, stage, score })
}

fn lead(goal: &Goal, n: usize) -> MarketingLead {
    let mut lead = MarketingLead::new(format!("lead-{n:04}"), format!("First{n}"), format!("Last{n}"));
    lead.email = Some(format!("first{n}@company{}.example", n / 5));
    lead.company = Some(format!("Company {}", n / 5));
    if let Some(field) = &goal.score {
        lead.fields.insert(field.as_str(), n as u64 % 100);
    }
    lead.history = Some("<p>read the newsletter</p>".to_owned());
    if n.is_multiple_of(3) {
        lead.qualified = true;
        lead.stage = Some(goal.stage.clone());
        lead.attribution = Some("<p>first touch: a search</p>".to_owned());
        let mut call = MarketingActivity::new(format!("call-{n:04}"), "call");
        call.date = Some("2026-01-30".to_owned());
        lead.activities.push(call);
    }
    lead
}

async fn round(goal: &Goal, flow: &PersonSync, name: &str, leads: &[MarketingLead], json: bool) -> Result<()> {
    let before = goal.client.usage().spent;
    let mut done = Round::default();
    for (at, lead) in leads.iter().enumerate() {
        let synced = flow.sync(lead).await?;
        done.persons += usize::from(synced.person_was == Ensured::Created);
        done.deals += usize::from(synced.deal_was == Some(Ensured::Created));
        done.activities += synced.activities.iter().filter(|activity| activity.is_ok()).count();
        done.refused += synced.activities.iter().filter(|activity| activity.is_err()).count();
        // A line now and then, so that a pipe can be read as well as a terminal.
        if (at + 1) % 10 == 0 || at + 1 == leads.len() {
            eprintln!("{name}: {} of {} leads", at + 1, leads.len());
        }
    }
    done.tokens = goal.client.usage().spent - before;
    let Round { persons, deals, activities, refused, tokens } = done;
    let count = leads.len();
    if json {
        println!(
            r#"{{"round":"{name}","leads":{count},"persons":{persons},"deals":{deals},"activities":{activities},"refused":{refused},"tokens":{tokens}}}"#
        );
    } else {
        println!(
            "{name} round: {count} leads, {persons} new persons, {deals} new deals, {activities} activities ({refused} refused), {tokens} tokens"
        );
    }
    Ok(())
}

async fn run(goal: &Goal, count: usize, json: bool) -> Result<()> {
    let flow = PersonSync::new(goal.client.clone(), Arc::new(MemoryStore::new(goal.host.clone())));
    let mut leads: Vec<MarketingLead> = (0..count).map(|n| lead(goal, n)).collect();
    round(goal, &flow, "first", &leads, json).await?;
    if let Some(first) = leads.first_mut() {
        first.history = Some("<p>bought</p>".to_owned());
    }
    round(goal, &flow, "second", &leads, json).await
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let known = ["--leads", "--company", "--pipeline", "--stage", "--score"];
    let mut line: Vec<String> = std::env::args().skip(1).collect();
    let words = line.len();
    line.retain(|word| word != "--json");
    let json = line.len() < words;
    let wrong = |message: &str| {
        // The usage is for who asks for it.
        eprintln!("{}; --help tells more", message.lines().next().unwrap_or_default());
        ExitCode::from(2)
    };
    let args = match Args::of(USAGE, &known, line) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(message) => return wrong(&message),
    };
    let count = args.get("--leads").unwrap_or("20").parse::<usize>().ok().filter(|count| (1..=1_000).contains(count));
    let Some(count) = count else { return wrong("--leads takes a number from 1 to 1000") };
    let told = |error: Error| {
        eprintln!("{}", chain(&error));
        ExitCode::FAILURE
    };
    match connect(&args).await {
        Ok(goal) => run(&goal, count, json).await.map_or_else(told, |()| ExitCode::SUCCESS),
        Err(error) => told(error),
    }
}
