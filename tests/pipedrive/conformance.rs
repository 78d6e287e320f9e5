//! The Pipedrive adapter against the pretend Pipedrive, by the list every adapter passes.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use crate::company;

use std::time::Duration;

use company::Company;
use crm_sync::conformance::adapter::{Subject, check};
use crm_sync::model::Fields;
use crm_sync::pipedrive::{Kind, entity};

#[tokio::test]
async fn pipedrive_keeps_the_contract() {
    let company = Company::new(3_000);
    let adapter = company.client();
    let text = adapter.ensure_field(Kind::Person, "Motto", "varchar", &[]).await.unwrap().key;
    let number = adapter.ensure_field(Kind::Person, "Score", "double", &[]).await.unwrap().key;
    let (motto, score) = (text.clone(), number.clone());
    let sample = move |n: u64| {
        let mut fields = Fields::new();
        fields.insert("name", format!("Conformance{n:04}"));
        fields.insert(&motto, "Tester");
        fields.insert(&score, n);
        fields
    };
    let subject = Subject::new(entity::PERSONS, "name", sample)
        .clearable(text)
        .number(number)
        .search_lag(company.host.clone(), Duration::from_secs(5));
    let report = check(&adapter, &subject).await;
    assert!(report.is_ok(), "{report}");
}
