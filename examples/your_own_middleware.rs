//! A middleware of your own: one method around every call of any adapter. This one keeps a diary of writes and spends a budget.
//!
//! `cargo run --example your_own_middleware`

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program of its own, not the library")]

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crm_sync::adapter::{CrmAdapter, WriteOptions};
use crm_sync::error::{Error, ErrorKind, Result};
use crm_sync::host::Host;
use crm_sync::layer::{Call, LayerExt, Middleware};
use crm_sync::model::Fields;
use crm_sync::query::{Criteria, Query};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use crm_sync::sandbox::Sandbox;
use futures_util::future::BoxFuture;

/// Notes what was written, never which values, and stops when the day's budget of calls is spent.
#[derive(Debug)]
struct Diary {
    budget: AtomicUsize,
    lines: Mutex<Vec<String>>,
}

impl Middleware for Diary {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let spend = |left: usize| left.checked_sub(1);
        if self.budget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, spend).is_err() {
            // Nothing is sent; whoever retries waits for tomorrow.
            return Err(Error::new(ErrorKind::QuotaExhausted, "the day's budget of calls is spent").during(call.operation));
        }
        let outcome = run().await;
        if call.is_write() {
            let entity = call.entity.map_or("", |entity| entity.as_str());
            let became = outcome.as_ref().map_or_else(|error| error.kind().as_str(), |_| "done");
            self.lines.lock().unwrap().push(format!("{} {entity}: {became}", call.operation));
        }
        outcome
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let host = Host::manual(7);
    let sandbox = Sandbox::new(host.clone(), 7);
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(access.instance_url, access.access_token.into());
    let salesforce = Salesforce::new(config, sandbox.transport(), host)?;

    let crm = salesforce.layer(Diary { budget: AtomicUsize::new(4), lines: Mutex::default() });
    let lead: Fields = [("LastName", "Curie"), ("Company", "Sorbonne")].into_iter().collect();
    let nameless: Fields = [("Company", "Nobody Ltd")].into_iter().collect();
    let options = WriteOptions::new();

    let id = crm.create(&entity::LEAD, &lead, &options).await?.id;
    let refused = crm.create(&entity::LEAD, &nameless, &options).await.unwrap_err();
    crm.delete(&entity::LEAD, &id, &options).await?;
    crm.search(&Query::new(entity::LEAD).filter(Criteria::eq("LastName", "Curie"))).await?;
    let spent = crm.authenticate().await.unwrap_err();

    let lines = crm.middleware().lines.lock().unwrap().clone();
    println!("{}", lines.join("\n"));
    assert_eq!(lines, ["create Lead: done", &format!("create Lead: {}", refused.kind()), "delete Lead: done"]);
    assert_eq!(spent.kind(), ErrorKind::QuotaExhausted);
    println!("then: {spent}");
    Ok(())
}
