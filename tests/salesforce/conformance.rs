//! The Salesforce adapter against the pretend Salesforce, by the list every adapter passes.

use std::time::Duration;

use crm_sync::conformance::adapter::{Subject, check};
use crm_sync::host::Host;
use crm_sync::model::{Entity, Fields};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::Sandbox;

#[tokio::test]
async fn salesforce_keeps_the_contract() {
    let host = Host::manual(7);
    let sandbox = Sandbox::new(host.clone(), 7);
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(access.instance_url.clone(), access.access_token.clone().into());
    let adapter = Salesforce::new(config, sandbox.transport(), host.clone()).unwrap();
    let sample = |n: u64| {
        let mut fields = Fields::new();
        fields.insert("LastName", format!("Conformance{n:04}"));
        fields.insert("Company", "Conformance Ltd");
        fields.insert("Email", format!("conformance{n}@example.com"));
        fields.insert("Title", "Tester");
        fields.insert("NumberOfEmployees", n);
        fields.insert("External_Id__c", format!("conformance-{n}"));
        fields
    };
    let subject = Subject::new(Entity::from_static("Lead"), "LastName", sample)
        .clearable("Title")
        .number("NumberOfEmployees")
        .key("External_Id__c")
        .search_lag(host, Duration::from_secs(2));
    let report = check(&adapter, &subject).await;
    assert!(report.is_ok(), "{report}");
    let skipped: Vec<&str> = report.skipped.iter().map(|(name, _)| *name).collect();
    assert_eq!(skipped, ["unclaimed_is_unsupported"], "{report}");
}
