//! Parts of SOQL that show fields otherwise, in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::raw_http;

use raw_http::Org;
use serde_json::{Value, json};

#[test]
fn typeof_shows_each_parent_by_its_type() {
    let org = Org::new();
    let account = org.post("/sobjects/Account", json!({"Name": "A", "Phone": "1"})).id();
    let opportunity =
        org.post("/sobjects/Opportunity", json!({"Name": "O", "StageName": "Prospecting", "CloseDate": "2026-02-01", "Amount": 5})).id();
    let campaign = org.post("/sobjects/Campaign", json!({"Name": "C"})).id();
    for (subject, what) in [("a", Some(&account)), ("b", Some(&opportunity)), ("c", Some(&campaign)), ("d", None)] {
        assert_eq!(org.post("/sobjects/Task", json!({"Subject": subject, "WhatId": what})).status, 201);
    }
    let whats = |soql: &str| {
        let answer = org.query(soql);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["records"].as_array().unwrap().iter().map(|row| row["What"].clone()).collect::<Vec<_>>()
    };
    let rows = whats(
        "SELECT Subject, TYPEOF What WHEN Account THEN Phone, Name WHEN Opportunity THEN Amount ELSE Name END FROM Task ORDER BY Subject",
    );
    assert_eq!((&rows[0]["Phone"], &rows[0]["Name"], &rows[0]["attributes"]["type"]), (&json!("1"), &json!("A"), &json!("Account")));
    assert_eq!((&rows[1]["Amount"], rows[1].get("Name")), (&json!(5.0), None));
    assert_eq!(rows[2]["Name"], "C");
    assert_eq!(rows[3], Value::Null);
    let rows = whats("SELECT TYPEOF What WHEN Account THEN Phone END FROM Task ORDER BY Subject");
    assert!(rows[0]["Phone"] == "1" && rows[1].is_null());
    for soql in [
        "SELECT TYPEOF What ELSE Name END FROM Task",
        "SELECT TYPEOF What WHEN Lead THEN Name END FROM Task",
        "SELECT TYPEOF What WHEN Account THEN Name FROM Task",
    ] {
        assert_eq!(org.query(soql).code(), "MALFORMED_QUERY", "{soql}");
    }
    assert_eq!(org.query("SELECT TYPEOF Account WHEN Account THEN Name END FROM Contact").code(), "INVALID_FIELD");
    assert_eq!(org.query("SELECT TYPEOF What WHEN Account THEN Amount END FROM Task").code(), "INVALID_FIELD");
    let bulk = org.post("/jobs/query", json!({"operation": "query", "query": "SELECT TYPEOF What WHEN Account THEN Phone END FROM Task"}));
    assert_eq!(bulk.code(), "API_ERROR");
}

#[test]
fn shown_fields_have_names_of_their_own() {
    let org = Org::new();
    org.post("/sobjects/Lead", json!({"LastName": "L", "Company": "C", "AnnualRevenue": 12.5}));
    let soql = "SELECT toLabel(Status), convertCurrency(AnnualRevenue) Money, FORMAT(AnnualRevenue) Shown FROM Lead";
    let row = org.query(soql).body["records"][0].clone();
    assert_eq!((&row["Status"], &row["Money"], &row["Shown"]), (&json!("Open - Not Contacted"), &json!(12.5), &json!("12.5")));
    assert_eq!(org.query("SELECT LastName Name2 FROM Lead").code(), "MALFORMED_QUERY");
}

#[test]
fn a_stage_brings_its_probability() {
    let org = Org::new();
    let id = org.post("/sobjects/Opportunity", json!({"Name": "O", "StageName": "Prospecting", "CloseDate": "2026-02-01"})).id();
    let path = format!("/sobjects/Opportunity/{id}");
    assert_eq!(org.patch(&path, json!({"StageName": "Closed Won"})).status, 204);
    let row = org.get(&path).body;
    assert_eq!((&row["Probability"], &row["IsWon"], row["LastStageChangeDate"].is_string()), (&json!(100.0), &json!(true), true));
    assert_eq!(org.patch(&path, json!({"StageName": "Prospecting", "Probability": 35})).status, 204);
    assert_eq!(org.get(&path).body["Probability"], 35.0);
}
