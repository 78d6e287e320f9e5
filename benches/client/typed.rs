//! The same reads by hand and by this crate: into the same structs.

use std::sync::Arc;

use crm_sync::error::Result;
use crm_sync::host::Host;
use crm_sync::http::HttpTransport;
use crm_sync::pipedrive::{Kind, ListQuery};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;

use crate::ceiling::{Lead, Person, Properties};
use crate::jobs::{columns, entity, hubspot, pipedrive, salesforce};
use crate::options::{Crm, Options};

pub(crate) async fn run(options: &Options, transport: Arc<dyn HttpTransport>) -> Result<u64> {
    let host = Host::tokio();
    match options.crm {
        Crm::HubSpot => {
            let client = hubspot(options, transport, &host)?;
            count(client.list_as::<Properties>(&entity(options.crm), &columns(options)?)).await
        }
        Crm::Pipedrive => count(pipedrive(options, transport, &host)?.list_as::<Person>(Kind::Person, ListQuery::new().limit(500))).await,
        Crm::Salesforce => count(salesforce(options, transport, &host)?.query_all::<Lead>("SELECT Id FROM Lead")).await,
    }
}

async fn count<T: Send + 'static>(rows: BoxStream<'static, Result<T>>) -> Result<u64> {
    rows.map_ok(|_| 1).try_fold(0, |sum, one| async move { Ok(sum + one) }).await
}
