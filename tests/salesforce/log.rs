//! The snapshot joined with change data capture: what happens in between, over streams that are cut and places that are gone.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use crate::mirror::LEAD;
use crate::raw_http::Org;
use crate::virtual_time::VirtualTime;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::model::{Change, ChangeKind};
use crm_sync::salesforce::stream::{StreamLog, StreamOptions};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::{Fault, FaultKind, Sandbox};
use crm_sync::store::{Batch, MemoryStore};
use crm_sync::sync::{ChangeLog, LogItem, Reader};
use serde_json::json;

/// Titles by id, as the changes tell them.
fn take(copy: &mut BTreeMap<String, String>, changes: &[Change]) {
    for change in changes {
        let id = change.id.as_str().to_owned();
        if change.kind == ChangeKind::Deleted {
            copy.remove(&id);
        } else if let Some(title) = change.fields.get("Title") {
            copy.insert(id, title.as_str().unwrap_or_default().to_owned());
        }
    }
}

#[test]
fn a_snapshot_is_joined_with_change_data_capture() {
    for seed in 0..3_usize {
        let time = VirtualTime::default();
        time.run(async {
            let host = time.host(seed as u64);
            let org = Org::over(Sandbox::new(host.clone(), seed as u64), Host::manual_with_clock(1).1);
            let access = org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
            let config = SalesforceConfig::with_refresh_token(&access.instance_url, &access.client_id, access.refresh_token.clone().into())
                .client_secret(access.client_secret.clone().into());
            let crm = Salesforce::new(config, org.sandbox.transport(), host.clone()).unwrap();
            let store = Arc::new(MemoryStore::new(host.clone()));
            let mut truth: BTreeMap<String, String> = BTreeMap::new();
            let mut number = 0;
            let mut title = |truth: &mut BTreeMap<String, String>, id: Option<usize>| {
                number += 1;
                let id = match id {
                    Some(at) => truth.keys().nth(at % truth.len()).unwrap().clone(),
                    None => org.lead(&format!("L{number}")),
                };
                org.patch(&format!("/sobjects/Lead/{id}"), json!({ "Title": format!("T{number}") }));
                truth.insert(id, format!("T{number}"));
            };
            let remove = |truth: &mut BTreeMap<String, String>, at: usize| {
                let id = truth.keys().nth(at % truth.len()).unwrap().clone();
                org.delete(&format!("/sobjects/Lead/{id}"));
                truth.remove(&id);
            };
            for _ in 0..40 {
                title(&mut truth, None);
            }
            host.sleep(Duration::from_secs(3_600)).await;
            let build = || {
                let log = StreamLog::cometd(&crm, &LEAD, StreamOptions::new()).wait(Duration::from_secs(20));
                let reader = Reader::builder(Arc::new(crm.clone()), store.clone(), host.clone(), LEAD).select(["LastName", "Title"]);
                reader.log(Arc::new(log)).build().unwrap()
            };
            let (mut copy, mut reader, mut pages) = (BTreeMap::new(), build(), 0);
            while let Some(page) = reader.next().await.unwrap() {
                take(&mut copy, &page.changes);
                reader.commit(page, Batch::new()).await.unwrap();
                if pages < 2 {
                    title(&mut truth, Some(7 * pages + seed));
                    title(&mut truth, None);
                    remove(&mut truth, 11 * pages + seed);
                }
                pages += 1;
            }
            for round in 0..12 {
                title(&mut truth, Some(5 * round + seed));
                if round % 3 == 1 {
                    title(&mut truth, None);
                    remove(&mut truth, 3 * round + seed);
                }
                if round % 4 == 2 {
                    org.sandbox.fault(Fault::new(FaultKind::DropAfter).path("/cometd"));
                }
                if round % 5 == 4 {
                    // Another process: its stream begins at the kept place.
                    reader = build();
                }
                host.sleep(Duration::from_secs(400)).await;
                while let Some(page) = reader.next().await.unwrap() {
                    take(&mut copy, &page.changes);
                    reader.commit(page, Batch::new()).await.unwrap();
                }
            }
            assert_eq!(copy, truth, "seed {seed}");
            println!("seed {seed}: {} leads as in the org", copy.len());
        });
    }
}

#[tokio::test]
async fn a_quiet_stream_lets_others_wait_where_time_moves_by_waiting() {
    let (host, clock) = Host::manual_with_clock(4);
    let org = Org::over(Sandbox::new(host.clone(), 4), clock);
    let access = org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into());
    let crm = Salesforce::new(config, org.sandbox.transport(), host).unwrap();
    let log = StreamLog::cometd(&crm, &LEAD, StreamOptions::new());
    let mut mark = log.mark().await.unwrap();
    for round in 0..3 {
        let page = log.read(&mark).await.unwrap();
        assert!(page.items.is_empty(), "nothing has happened: {page:?}");
        org.lead(&format!("L{round}"));
        let page = log.read(&page.next).await.unwrap();
        assert!(matches!(page.items.as_slice(), [LogItem::Change(change)] if change.kind == ChangeKind::Created), "{page:?}");
        mark = page.next;
    }
}
