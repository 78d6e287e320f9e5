//! The HubSpot adapter by the list every adapter passes, against the sandbox.

#![cfg(feature = "hubspot")]
#![allow(clippy::indexing_slicing, reason = "a test that fails should stop")]

use crate::portal;

use std::time::Duration;

use crm_sync::conformance::adapter::{Subject, check};
use crm_sync::host::Host;
use crm_sync::hubspot::entity::CONTACTS;
use crm_sync::model::Fields;
use portal::Portal;

#[tokio::test]
async fn hubspot_keeps_the_contract() {
    let host = Host::manual(7);
    let portal = Portal::new(host.clone(), 7);
    portal.set(|options| options.search_lag_millis = 5_000);
    let adapter = portal.client();
    let sample = |n: u64| {
        let mut fields = Fields::new();
        fields.insert("email", format!("conformance{n}@example.com"));
        fields.insert("firstname", format!("Conformance{n:04}"));
        fields.insert("jobtitle", "Tester");
        fields.insert("score", n);
        fields.insert("crm_sync_id", format!("conformance-{n}"));
        fields
    };
    let subject = Subject::new(CONTACTS, "firstname", sample)
        .clearable("jobtitle")
        .number("score")
        .key("crm_sync_id")
        .search_lag(host, Duration::from_secs(6));
    let report = check(&adapter, &subject).await;
    assert!(report.is_ok(), "{report}");
    let skipped: Vec<&str> = report.skipped.iter().map(|(name, _)| *name).collect();
    assert_eq!(skipped, ["unclaimed_is_unsupported"], "{report}");
}
