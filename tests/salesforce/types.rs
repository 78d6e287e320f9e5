//! The type generator: what it prints is a module that compiles, is formatted, and reads rows.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests")]

use std::process::Command;

use crm_sync::salesforce::codegen;
use serde_json::json;

#[allow(dead_code, unnameable_types, unreachable_pub, reason = "a generated module has more than a test uses")]
mod generated {
    include!("../fixtures/salesforce/lead_types.rs");
}

fn path(name: &str) -> String {
    format!("{}/tests/fixtures/salesforce/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn printed() -> String {
    let describe = std::fs::read(path("describe_lead.json")).unwrap();
    codegen::module(&[codegen::schema(&describe).unwrap()])
}

#[test]
fn the_fixture_is_what_the_generator_prints() {
    if std::env::var_os("UPDATE_FIXTURES").is_some() {
        std::fs::write(path("lead_types.rs"), printed()).unwrap();
    }
    assert_eq!(printed(), std::fs::read_to_string(path("lead_types.rs")).unwrap());
}

#[test]
fn it_is_formatted_as_rustfmt_does_by_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("types.rs");
    std::fs::write(&file, printed()).unwrap();
    let formatted = Command::new("rustfmt").args(["--edition", "2024", "--check"]).arg(&file).current_dir(dir.path()).output();
    match formatted {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(error) => println!("skipped: rustfmt does not run: {error}"),
    }
}

#[test]
fn a_row_is_read_and_written() {
    let row = json!({
        "attributes": {"type": "Lead", "url": "/x"}, "Id": "00QAb00000Xy12ZMAR", "LastName": "Ng", "Status": "Disqualified",
        "AnnualRevenue": 12.5, "Email": null, "New__c": 7
    });
    let lead: generated::Lead = serde_json::from_value(row).unwrap();
    assert_eq!(lead.status, Some(generated::LeadStatus::Disqualified));
    assert_eq!((lead.last_name.as_deref(), lead.email, lead.annual_revenue), (Some("Ng"), None, Some(12.5)));
    assert_eq!(lead.other["New__c"], 7);
    let unknown: generated::Lead = serde_json::from_value(json!({"Status": "Invented"})).unwrap();
    assert_eq!(unknown.status, Some(generated::LeadStatus::Other("Invented".into())));
    let status = Some(generated::LeadStatus::OpenNotContacted);
    let fresh = generated::Lead { last_name: Some("Ng".into()), status, ..generated::Lead::default() };
    assert_eq!(serde_json::to_value(&fresh).unwrap(), json!({"LastName": "Ng", "Status": "Open - Not Contacted"}));
    assert!(codegen::schema(b"{}").is_err());
}
