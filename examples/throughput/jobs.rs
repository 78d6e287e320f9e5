//! The jobs.

use std::sync::Arc;

use crm_sync::adapter::{BulkOp, CrmAdapter, CrmAdapterExt, Dictionary, WriteOptions};
use crm_sync::error::{Error, Result};
use crm_sync::host::Host;
use crm_sync::http::HttpTransport;
use crm_sync::hubspot::{HubSpot, HubSpotConfig, HubSpotLimiter};
use crm_sync::layer::{Guard, LayerExt, Observe, RateLimit, Retry};
use crm_sync::mapping::{Mapping, Mode};
use crm_sync::model::{Entity, ExternalKey, Fields};
use crm_sync::observe::Counts;
use crm_sync::pace::{RetryPolicy, Window};
use crm_sync::pipedrive::{Pipedrive, PipedriveConfig, PipedriveSettings};
use crm_sync::query::Query;
use crm_sync::salesforce::bulk::{IngestEvent, IngestOperation, RowResult};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde_json::Value;

use crate::options::{Crm, Job, Options};
use crate::records::{MadeUp, mapping};

/// What was done.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) records: u64,
    pub(crate) sum: Option<f64>,
}

/// Does the job over `transport`.
///
/// # Errors
/// The first one; a record that was refused is one.
pub(crate) async fn run(options: &Options, transport: Arc<dyn HttpTransport>) -> Result<Done> {
    let host = Host::tokio();
    if options.job == Job::Bulk {
        return bulk(options, &salesforce(options, transport, &host)?).await;
    }
    let adapter: Box<dyn CrmAdapter> = match options.crm {
        Crm::HubSpot => Box::new(hubspot(options, transport, &host)?),
        Crm::Pipedrive => Box::new(pipedrive(options, transport, &host)?),
        Crm::Salesforce => Box::new(salesforce(options, transport, &host)?),
    };
    let again = Retry::new(host.clone(), RetryPolicy::default().attempts(10));
    match options.job {
        Job::Bulk | Job::Nothing => Ok(Done::default()),
        Job::Read if options.neutral => {
            let words = Dictionary::new().entity(entity(options.crm), mapping(options.crm)?);
            read(options, &adapter.layer(again).mapped(words), entity(options.crm), Vec::new()).await
        }
        Job::Read => read(options, &adapter.layer(again), entity(options.crm), columns(options)?).await,
        Job::Single => {
            // Every layer a host would put on, with a limit that never makes a call wait: what they cost is the question.
            let limit = RateLimit::new(host.clone(), [Window::per_second(1_000_000_000)]);
            let adapter = adapter.layer(limit).layer(again).layer(Guard::new()).layer(Observe::new(host.clone(), Counts::new()));
            single(options, &adapter).await
        }
        Job::Upsert | Job::Write => write(options, &adapter.layer(again)).await,
    }
}

pub(crate) fn entity(crm: Crm) -> Entity {
    match crm {
        Crm::HubSpot => Entity::from_static("contacts"),
        Crm::Pipedrive => Entity::from_static("persons"),
        Crm::Salesforce => Entity::from_static("Lead"),
    }
}

pub(crate) fn salesforce(options: &Options, transport: Arc<dyn HttpTransport>, host: &Host) -> Result<Salesforce> {
    let mut config = SalesforceConfig::with_access_token(&options.url, SecretString::from(options.token.as_str()));
    if let Some(version) = &options.version {
        config.api_version = version.trim_start_matches('v').parse()?;
    }
    Salesforce::new(config, transport, host.clone())
}

pub(crate) fn hubspot(options: &Options, transport: Arc<dyn HttpTransport>, host: &Host) -> Result<HubSpot> {
    let mut config = HubSpotConfig::with_access_token(SecretString::from(options.token.as_str())).base_url(&options.url);
    if let Some(version) = &options.version {
        let version: serde::de::value::StrDeserializer<'_, serde::de::value::Error> = version.as_str().into_deserializer();
        config.api_version = Deserialize::deserialize(version).map_err(|error| Error::config(format!("--api-version: {error}")))?;
    }
    // The server's own word is the only limit here; an account that says nothing would have ten requests a second.
    let limiter = HubSpotLimiter::new(host.clone()).requests_in_ten_seconds(u32::MAX);
    HubSpot::new(config, transport, host.clone())?.with_limiter(limiter)
}

pub(crate) fn pipedrive(options: &Options, transport: Arc<dyn HttpTransport>, host: &Host) -> Result<Pipedrive> {
    let mut settings = PipedriveSettings::default();
    settings.concurrency = options.in_flight;
    let config = PipedriveConfig::with_api_token(&options.url, SecretString::from(options.token.as_str())).settings(settings).pace(false);
    Pipedrive::new(config, transport, host.clone())
}

/// The fields to read; Pipedrive answers all there are.
pub(crate) fn columns(options: &Options) -> Result<Vec<String>> {
    if options.crm == Crm::Pipedrive {
        return Ok(Vec::new());
    }
    let mapping = mapping(options.crm)?;
    let mut columns = mapping.fields_for(&[])?;
    columns.extend(options.sum.iter().filter(|name| !columns.contains(name)).cloned().collect::<Vec<_>>());
    Ok(columns)
}

/// A number, or a text that reads as one: HubSpot writes every value as a text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

async fn read(options: &Options, adapter: &dyn CrmAdapter, entity: Entity, columns: Vec<String>) -> Result<Done> {
    let most = match options.crm {
        Crm::HubSpot => 100,
        Crm::Pipedrive => 500,
        Crm::Salesforce => 2_000,
    };
    let mut query = Query::new(entity).select(columns).page_size(most);
    let mut done = Done { sum: options.sum.is_some().then_some(0.0), ..Done::default() };
    let mut numbers = 0_u64;
    loop {
        let page = adapter.search(&query).await?;
        for record in page.items {
            if let (Some(sum), Some(field)) = (&mut done.sum, &options.sum) {
                let value = record.fields.get(field).and_then(number);
                numbers += u64::from(value.is_some());
                *sum += value.unwrap_or_default();
            }
            done.records += 1;
            if done.records == options.records {
                break;
            }
        }
        match page.next.filter(|_| done.records < options.records) {
            Some(next) => query.cursor = Some(next),
            None => break,
        }
    }
    match &options.sum {
        Some(field) if numbers == 0 && done.records > 0 => Err(Error::config(format!("no record has a number in the field {field}"))),
        _ => Ok(done),
    }
}

/// The records of the job in the CRM's words.
struct Mapped {
    made_up: MadeUp,
    mapping: Mapping,
}

impl Mapped {
    fn new(crm: Crm) -> Result<Self> {
        Ok(Self { made_up: MadeUp::new(crm), mapping: mapping(crm)? })
    }

    fn record(&self, n: u64) -> Result<Fields> {
        Ok(self.mapping.outbound_from(self.made_up.record(n), Mode::Create)?.fields)
    }
}

async fn write(options: &Options, adapter: &dyn CrmAdapter) -> Result<Done> {
    let (batch, key) = match options.crm {
        Crm::HubSpot => (100, "external_id"),
        // One request for each: the adapter keeps `--in-flight` of them under way.
        Crm::Pipedrive => (100, ""),
        Crm::Salesforce => (200, "External_Id__c"),
    };
    let key = options.key.as_deref().unwrap_or(key);
    let at_once = if options.crm == Crm::Pipedrive { 1 } else { options.in_flight };
    let (mapped, entity, how) = (&Mapped::new(options.crm)?, &entity(options.crm), &WriteOptions::new());
    let starts = (0..options.records).step_by(batch);
    let mut batches = stream::iter(starts)
        .map(|start| async move {
            let mut ops = Vec::with_capacity(batch);
            for n in start..options.records.min(start + batch as u64) {
                let fields = mapped.record(n)?;
                ops.push(match options.job {
                    Job::Upsert => BulkOp::Upsert { key: ExternalKey::new(key, format!("throughput-{n}"))?, fields },
                    _ => BulkOp::Create { fields },
                });
            }
            adapter.bulk(entity, &ops, how).await?.into_iter().try_fold(0, |count, outcome| outcome.map(|_| count + 1))
        })
        .buffer_unordered(at_once);
    let mut done = Done::default();
    while let Some(written) = batches.try_next().await? {
        done.records += written;
    }
    Ok(done)
}

async fn single(options: &Options, adapter: &dyn CrmAdapter) -> Result<Done> {
    let (mapped, entity, how) = (&Mapped::new(options.crm)?, &entity(options.crm), &WriteOptions::new());
    let mut calls = stream::iter(0..options.records)
        .map(|n| async move { adapter.create(entity, &mapped.record(n)?, how).await })
        .buffer_unordered(options.in_flight);
    let mut done = Done::default();
    while calls.try_next().await?.is_some() {
        done.records += 1;
    }
    Ok(done)
}

async fn bulk(options: &Options, client: &Salesforce) -> Result<Done> {
    let mapped = Mapped::new(Crm::Salesforce)?;
    // A record that cannot be mapped would be a fault of this program: it is left out, and the count tells.
    let rows = stream::iter((0..options.records).filter_map(move |n| mapped.record(n).ok()));
    let mut events = client.bulk().ingest(&entity(Crm::Salesforce), IngestOperation::Insert).run(rows);
    let mut done = Done::default();
    while let Some(event) = events.try_next().await? {
        if let IngestEvent::Row(row) = event {
            match row.result {
                RowResult::Saved { .. } => done.records += 1,
                RowResult::Failed { error, .. } => return Err(error),
                _ => return Err(Error::decode("a row of the job has no outcome")),
            }
        }
    }
    Ok(done)
}
