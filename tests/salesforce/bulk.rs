//! Bulk API 2.0 against recorded shapes, and against an org in miniature that fails as told.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking, like the tests")]

use crate::bulk_org;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bulk_org::{BulkOrg, Fault};
use crm_sync::error::{ErrorKind, Retry};
use crm_sync::host::Host;
use crm_sync::http::ReqwestTransport;
use crm_sync::model::{Entity, Fields};
use crm_sync::salesforce::bulk::{
    Bulk, Delimiter, IngestEvent, IngestOperation, IngestReport, JobState, JobTicket, LineEnding, Polling, RowOutcome, RowResult,
};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity};
use futures_util::{StreamExt, TryStreamExt, stream};
use secrecy::SecretString;
use serde_json::{Value, json};
use wiremock::matchers::{body_json, body_string, header, method, path, query_param, query_param_is_missing};
use wiremock::{Mock, MockServer, ResponseTemplate};

const JOB: &str = "/services/data/v68.0/jobs/ingest/750Ab00000JobIdIAJ";

fn fixture(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/fixtures/salesforce/bulk/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn bulk_at(url: &str, host: Host) -> Bulk {
    let config = SalesforceConfig::with_access_token(url, SecretString::from("T"));
    Salesforce::new(config, Arc::new(ReqwestTransport::loopback().unwrap()), host).unwrap().bulk()
}

fn bulk_over(org: &BulkOrg) -> Bulk {
    let config = SalesforceConfig::with_access_token("http://org.example", SecretString::from("T"));
    Salesforce::new(config, Arc::new(org.clone()), Host::manual(1)).unwrap().bulk()
}

fn json_body(status: u16, body: impl Into<String>) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_raw(body.into(), "application/json;charset=UTF-8")
}

fn csv_body(body: impl Into<String>) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body.into(), "text/csv")
}

struct Ran {
    tickets: Vec<JobTicket>,
    rows: Vec<RowOutcome>,
    reports: Vec<IngestReport>,
}

async fn run(events: impl futures_util::Stream<Item = crm_sync::error::Result<IngestEvent>>) -> Ran {
    let mut ran = Ran { tickets: Vec::new(), rows: Vec::new(), reports: Vec::new() };
    for event in events.try_collect::<Vec<_>>().await.unwrap() {
        match event {
            IngestEvent::Uploaded(ticket) => ran.tickets.push(ticket),
            IngestEvent::Finished(report) => ran.reports.push(*report),
            event => ran.rows.push(event.into_row().unwrap()),
        }
    }
    ran
}

/// Trap 18: the contentUrl has no leading slash, rows come in any order, headers may be unquoted. Trap 17: `#N/A` and empty cells.
#[tokio::test]
async fn an_upsert_as_it_is_documented() {
    let server = MockServer::start().await;
    let bulk = bulk_at(&server.uri(), Host::manual(1));
    Mock::given(method("POST"))
        .and(path("/services/data/v68.0/jobs/ingest"))
        .and(body_json(json!({
            "object": "Lead", "operation": "upsert", "externalIdFieldName": "Ext__c", "contentType": "CSV",
            "columnDelimiter": "COMMA", "lineEnding": "LF", "assignmentRuleId": "01Q000000000AbCEAU",
        })))
        .respond_with(json_body(200, fixture("job_open.json")))
        .expect(1)
        .mount(&server)
        .await;
    let csv = "Ext__c,LastName,Title\nE-1,\" Smith\",\"line one\nline two\"\nE-2,,\nE-3,\"Ångström, \"\"K\"\"\",#N/A\n";
    Mock::given(method("PUT"))
        .and(path(format!("{JOB}/batches")))
        .and(header("content-type", "text/csv"))
        .and(header("authorization", "Bearer T"))
        .and(body_string(csv))
        .respond_with(ResponseTemplate::new(201))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("PATCH"))
        .and(path(JOB))
        .and(body_json(json!({"state": "UploadComplete"})))
        .respond_with(json_body(200, json!({"id": "750Ab00000JobIdIAJ", "state": "UploadComplete", "apiVersion": 68.0}).to_string()))
        .expect(1)
        .mount(&server)
        .await;
    let working = json!({"id": "750Ab00000JobIdIAJ", "state": "InProgress", "apiVersion": 68.0}).to_string();
    Mock::given(method("GET")).and(path(JOB)).respond_with(json_body(200, working)).up_to_n_times(3).mount(&server).await;
    Mock::given(method("GET")).and(path(JOB)).respond_with(json_body(200, fixture("job_complete.json"))).expect(1).mount(&server).await;
    for (name, file) in
        [("successfulResults/", "successful.csv"), ("failedResults/", "failed.csv"), ("unprocessedrecords/", "unprocessed.csv")]
    {
        let at = format!("{JOB}/{name}");
        Mock::given(method("GET")).and(path(at)).respond_with(csv_body(fixture(file))).expect(1).mount(&server).await;
    }

    let rows = [
        json!({"Ext__c": "E-1", "LastName": " Smith", "Title": "line one\nline two"}),
        json!({"Ext__c": "E-2"}),
        json!({"Ext__c": "E-3", "LastName": "Ångström, \"K\"", "Title": null, "attributes": {"type": "Lead"}, "Id": "00Q"}),
    ];
    let ingest = bulk.ingest(&entity::LEAD, IngestOperation::upsert("Ext__c")).assignment_rule("01Q000000000AbC");
    let ran = run(ingest.run(stream::iter(rows.map(fields)))).await;
    assert_eq!(ran.tickets.len(), 1);
    assert_eq!((ran.tickets[0].rows, ran.tickets[0].key.as_deref()), (Some(3), Some("Ext__c")));
    let by_key: BTreeMap<&str, &RowOutcome> = ran.rows.iter().map(|row| (row.key.as_deref().unwrap(), row)).collect();
    assert_eq!(by_key.len(), 3);
    assert!(matches!(&by_key["E-1"].result, RowResult::Saved { id, created: Some(true) } if id.as_str() == "0010000000AbCdEAAV"));
    assert_eq!(by_key["E-1"].fields().text("LastName"), Some(" Smith"));
    assert!(matches!(&by_key["E-3"].result, RowResult::Saved { created: Some(false), .. }));
    let RowResult::Failed { id: None, error } = &by_key["E-2"].result else { panic!("{:?}", by_key["E-2"]) };
    assert_eq!((error.kind(), error.code()), (ErrorKind::Validation, Some("REQUIRED_FIELD_MISSING")));
    assert_eq!(by_key["E-2"].fields().to_value(), json!({"Ext__c": "E-2"}), "whole, to be sent again");
    let report = &ran.reports[0];
    assert!(report.is_complete());
    assert_eq!((report.saved, report.failed, report.unprocessed, report.info.state), (2, 1, 0, JobState::JobComplete));
}

fn numbered(count: u32) -> impl Iterator<Item = Fields> {
    (0..count).map(|n| fields(json!({"Ext__c": format!("k{n}"), "LastName": format!("Name, \"{n}\"\nß"), "Title": null})))
}

fn keys(rows: &[RowOutcome]) -> Vec<String> {
    let mut keys: Vec<String> = rows.iter().map(|row| row.key.clone().unwrap()).collect();
    keys.sort_by_key(|key| key[1..].parse::<u32>().unwrap());
    keys
}

#[tokio::test]
async fn a_long_stream_is_cut_into_jobs_and_every_row_has_one_outcome() {
    for (delimiter, ending) in
        [(Delimiter::Comma, LineEnding::Lf), (Delimiter::Tab, LineEnding::Crlf), (Delimiter::Backquote, LineEnding::Lf)]
    {
        let org = BulkOrg::new();
        let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::upsert("Ext__c"));
        let ingest = ingest.delimiter(delimiter).line_ending(ending).job_bytes(4_000).job_rows(100).in_flight(3);
        let ran = run(ingest.run(stream::iter(numbered(1_000)))).await;
        assert_eq!(keys(&ran.rows), (0..1_000).map(|n| format!("k{n}")).collect::<Vec<_>>());
        assert!(ran.rows.iter().all(|row| matches!(row.result, RowResult::Saved { .. })));
        assert!(ran.reports.iter().all(IngestReport::is_complete));
        assert_eq!(ran.reports.iter().map(|report| report.saved).sum::<u64>(), 1_000);
        let sizes = org.upload_sizes();
        assert!(sizes.len() >= 10 && sizes.iter().all(|size| *size <= 4_000), "{sizes:?}");
        let stored = org.rows();
        assert_eq!(stored.len(), 1_000);
        assert_eq!(stored["k7"], json!({"Ext__c": "k7", "LastName": "Name, \"7\"\nß", "Title": "#N/A"}), "cells arrive as they are");
    }
}

#[tokio::test]
async fn a_row_with_another_column_begins_another_job() {
    let org = BulkOrg::new();
    let rows = [
        json!({"Ext__c": "k0", "A__c": 1}),
        json!({"Ext__c": "k1"}),
        json!({"Ext__c": "k2", "B__c": true}),
        json!({"Ext__c": "k3", "A__c": 2}),
    ];
    let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::upsert("Ext__c"));
    let ran = run(ingest.clone().run(stream::iter(rows.clone().map(fields)))).await;
    assert_eq!((ran.reports.len(), ran.rows.len()), (2, 4));
    let stored = org.rows();
    assert_eq!(stored["k1"], json!({"Ext__c": "k1", "A__c": ""}), "an empty cell leaves the field alone");
    assert_eq!(stored["k3"], json!({"Ext__c": "k3", "A__c": "2", "B__c": ""}));
    let org = BulkOrg::new();
    let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::upsert("Ext__c")).columns(["Ext__c", "A__c", "B__c"]);
    assert_eq!(run(ingest.run(stream::iter(rows.map(fields)))).await.reports.len(), 1, "known beforehand: one job");
}

#[tokio::test]
async fn what_a_job_cannot_say_is_refused_here_and_handed_back_as_it_came() {
    let org = BulkOrg::new();
    let rows = [json!({"Ext__c": "k0"}), json!({"LastName": "x", "Score__c": 7}), json!({"Ext__c": "k1", "Note__c": "#N/A"})];
    let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::upsert("Ext__c"));
    let ran = run(ingest.run(stream::iter(rows.map(fields)))).await;
    assert_eq!((ran.rows.len(), ran.reports[0].saved, org.rows().len()), (3, 1, 1));
    let refused: Vec<Value> =
        ran.rows.iter().filter(|row| matches!(row.result, RowResult::Failed { .. })).map(|row| row.fields().to_value()).collect();
    assert_eq!(refused, [json!({"LastName": "x", "Score__c": 7}), json!({"Ext__c": "k1", "Note__c": "#N/A"})]);
}

#[tokio::test]
async fn failed_and_unreached_rows_come_back_whole_and_can_be_sent_again() {
    let org = BulkOrg::new();
    org.fail(Fault::LockRows(vec!["k3".to_owned(), "k5".to_owned()]));
    org.fail(Fault::StopAfter(8));
    let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::upsert("Ext__c"));
    let ran = run(ingest.clone().run(stream::iter(numbered(12)))).await;
    let report = &ran.reports[0];
    assert_eq!((report.saved, report.failed, report.unprocessed, report.missing), (6, 2, 4, 0));
    let error = report.error.as_ref().unwrap();
    assert_eq!((error.kind(), error.retry(), error.code()), (ErrorKind::Unavailable, Retry::Backoff, Some("TooManyLockFailure")));
    let again: Vec<Fields> = ran
        .rows
        .into_iter()
        .filter(|row| match &row.result {
            RowResult::Failed { error, .. } => {
                assert_eq!((error.code(), error.retry()), (Some("UNABLE_TO_LOCK_ROW"), Retry::Backoff));
                true
            }
            RowResult::Unprocessed => true,
            _ => false,
        })
        .map(RowOutcome::into_fields)
        .collect();
    assert_eq!(again.len(), 6);
    let ran = run(ingest.run(stream::iter(again))).await;
    assert_eq!(ran.reports[0].saved, 6);
    assert_eq!(org.rows().len(), 12);
    assert_eq!(org.rows()["k3"], json!({"Ext__c": "k3", "LastName": "Name, \"3\"\nß", "Title": "#N/A"}), "nothing was lost on the way");
}

#[tokio::test]
async fn rows_no_file_names_are_told() {
    let org = BulkOrg::new();
    org.fail(Fault::Forget(vec!["k1".to_owned()]));
    let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::upsert("Ext__c"));
    let ran = run(ingest.run(stream::iter(numbered(3)))).await;
    let missing: Vec<&RowOutcome> = ran.rows.iter().filter(|row| matches!(row.result, RowResult::Missing)).collect();
    assert_eq!((ran.rows.len(), missing.len(), missing[0].key.as_deref()), (3, 1, Some("k1")));
    assert_eq!(missing[0].fields().to_value(), json!({"Ext__c": "k1", "LastName": "Name, \"1\"\nß", "Title": null}));
    assert!(!ran.reports[0].is_complete());

    let org = BulkOrg::new();
    org.fail(Fault::RefuseFile("InvalidBatch : Field name not found : Nope__c"));
    let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::upsert("Ext__c"));
    let ran = run(ingest.run(stream::iter(numbered(3)))).await;
    assert!(ran.rows.iter().all(|row| matches!(row.result, RowResult::Unprocessed)) && ran.rows.len() == 3);
    let error = ran.reports[0].error.as_ref().unwrap();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Config, false));
}

#[tokio::test]
async fn inserts_are_matched_by_a_key_of_ours_or_by_all_their_cells() {
    let rows = || numbered(20).chain(numbered(2));
    for key in [Some("Ext__c"), None] {
        let org = BulkOrg::new();
        org.fail(Fault::Forget(vec!["k9".to_owned()]));
        let mut ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::Insert);
        if let Some(key) = key {
            ingest = ingest.key(key);
        }
        let ran = run(ingest.run(stream::iter(rows()))).await;
        let report = &ran.reports[0];
        assert_eq!((ran.rows.len(), report.saved, report.missing, report.unexpected), (22, 21, 1, 0), "{key:?}");
        let missing = ran.rows.iter().find(|row| matches!(row.result, RowResult::Missing)).unwrap();
        assert_eq!((missing.key.as_deref(), missing.fields().text("Ext__c")), (key.map(|_| "k9"), Some("k9")));
    }
}

/// An upload whose outcome is unknown is never repeated into the same job.
#[tokio::test]
async fn a_broken_upload_goes_to_a_new_job() {
    let org = BulkOrg::new();
    org.fail(Fault::DropUpload);
    org.fail(Fault::Busy(1));
    let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::Insert).key("Ext__c");
    let ran = run(ingest.run(stream::iter(numbered(5)))).await;
    assert_eq!((ran.tickets.len(), ran.reports[0].saved, org.rows().len()), (1, 5, 5));
    assert_eq!(org.states(), [JobState::Aborted, JobState::JobComplete]);
    assert_eq!(org.inserted(), 5, "nothing twice");

    let org = BulkOrg::new();
    (0..3).for_each(|_| org.fail(Fault::DropUpload));
    let mut rest = stream::iter(numbered(9));
    let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::Insert).key("Ext__c").job_rows(4);
    let events: Vec<_> = ingest.run(&mut rest).collect().await;
    let mut returned: Vec<String> = Vec::new();
    let mut errors = Vec::new();
    for event in events {
        match event {
            Ok(event) => {
                let row = event.into_row().unwrap();
                assert!(matches!(row.result, RowResult::Unprocessed));
                returned.push(row.key.unwrap());
            }
            Err(error) => errors.push(error),
        }
    }
    assert_eq!(errors.len(), 1);
    assert!(!errors[0].may_have_applied() && errors[0].is_retryable(), "{}", errors[0]);
    let left: Vec<String> = rest.map(|row| row.text("Ext__c").unwrap().to_owned()).collect().await;
    returned.extend(left);
    assert_eq!(returned, (0..9).map(|n| format!("k{n}")).collect::<Vec<_>>(), "each row is with the caller again");
    assert!(org.rows().is_empty());
}

#[tokio::test]
async fn a_crash_after_the_upload_is_resumed_without_a_second_one() {
    for polls in [1, 2] {
        let org = BulkOrg::new();
        let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::Insert).key("Ext__c");
        let mut events = ingest.run(stream::iter(numbered(5)));
        let Some(Ok(IngestEvent::Uploaded(ticket))) = events.next().await else { panic!("the ticket comes first") };
        assert_eq!(org.states(), [JobState::Open], "nothing runs before the ticket is kept");
        if polls == 2 {
            events.next().await.unwrap().unwrap();
        }
        drop(events);

        let kept = serde_json::to_string(&ticket).unwrap();
        let ticket: JobTicket = serde_json::from_str(&kept).unwrap();
        let ran = run(bulk_over(&org).job(ticket).resume()).await;
        assert_eq!((ran.rows.len(), org.inserted(), org.upload_sizes().len()), (5, 5, 1));
        assert!(ran.reports[0].is_complete());
        assert!(ran.rows.iter().all(|row| row.key.is_some()));
        // The id alone finds it too.
        let ran = run(bulk_over(&org).job(org.job_id(0)).resume()).await;
        assert_eq!((ran.rows.len(), ran.reports[0].saved), (5, 5));
    }
}

#[tokio::test]
async fn a_start_without_an_answer_is_looked_up() {
    let org = BulkOrg::new();
    org.fail(Fault::DropStart);
    let ingest = bulk_over(&org).ingest(&entity::LEAD, IngestOperation::Insert).key("Ext__c");
    let ran = run(ingest.run(stream::iter(numbered(5)))).await;
    assert_eq!((ran.reports[0].saved, org.inserted()), (5, 5));
}

#[tokio::test]
async fn waiting_grows_is_capped_and_outlasts_passing_trouble() {
    let org = BulkOrg::new();
    org.fail(Fault::SlowBy(12));
    org.fail(Fault::Unavailable(5));
    let (host, clock) = Host::manual_with_clock(1);
    let config = SalesforceConfig::with_access_token("http://org.example", SecretString::from("T"));
    let bulk = Salesforce::new(config, Arc::new(org.clone()), host).unwrap().bulk();
    let polling = Polling::new().between(Duration::from_secs(1), Duration::from_secs(10));
    let job = bulk.create_job(&entity::LEAD, &IngestOperation::Insert, Delimiter::Comma, LineEnding::Lf).await.unwrap().polling(polling);
    job.upload("LastName\nNg\n").await.unwrap();
    job.start().await.unwrap();
    let before = clock_now(&clock);
    assert_eq!(job.wait().await.unwrap().state, JobState::JobComplete);
    // 1, 2, 4, 8 and thirteen pauses of 10 seconds.
    assert_eq!(clock_now(&clock) - before, 1 + 2 + 4 + 8 + 13 * 10);
    assert!(job.delete().await.unwrap());
    assert!(!job.delete().await.unwrap(), "gone already");
    assert_eq!(job.info().await.unwrap_err().kind(), ErrorKind::NotFound);
}

fn clock_now(clock: &crm_sync::host::ManualClock) -> i64 {
    crm_sync::host::Clock::now(clock).as_second()
}

#[tokio::test]
async fn jobs_are_given_up_listed_and_classified() {
    let org = BulkOrg::new();
    let bulk = bulk_over(&org);
    let job = bulk.create_job(&entity::LEAD, &IngestOperation::Insert, Delimiter::Comma, LineEnding::Lf).await.unwrap();
    job.abort().await.unwrap();
    let state = job.abort().await.unwrap_err();
    assert_eq!((state.kind(), state.code()), (ErrorKind::Conflict, Some("INVALIDJOBSTATE")));
    assert_eq!(job.start().await.unwrap().state, JobState::Aborted, "the job knows better");
    for _ in 0..4 {
        bulk.create_job(&entity::LEAD, &IngestOperation::Delete, Delimiter::Comma, LineEnding::Lf).await.unwrap();
    }
    let jobs: Vec<_> = bulk.ingest_jobs().try_collect().await.unwrap();
    assert_eq!(jobs.iter().filter(|job| job.state == JobState::Open).count(), 4);
    assert_eq!(jobs.iter().filter(|job| job.job_type.as_deref() == Some("Classic")).count(), 1, "its apiVersion is a text");
    org.fail(Fault::Busy(1));
    let busy = bulk.create_job(&entity::LEAD, &IngestOperation::Insert, Delimiter::Comma, LineEnding::Lf).await.unwrap_err();
    assert_eq!((busy.kind(), busy.retry(), busy.code()), (ErrorKind::Unavailable, Retry::Backoff, Some("TOO_MANY_JOBS")));
}

fn account() -> Value {
    json!({"name": "Account", "label": "Account", "fields": [
        {"name": "Id", "label": "Id", "type": "id"}, {"name": "Name", "label": "Name", "type": "string"},
        {"name": "IsDeleted", "label": "Deleted", "type": "boolean"}, {"name": "NumberOfEmployees", "label": "Employees", "type": "int"},
        {"name": "AnnualRevenue", "label": "Revenue", "type": "currency", "precision": 18, "scale": 2},
    ]})
}

/// Traps 18 and 19: the version that made the job, and the literal "null" at the end.
#[tokio::test]
async fn a_query_page_by_page() {
    let server = MockServer::start().await;
    let bulk = bulk_at(&server.uri(), Host::manual(1));
    let at = "/services/data/v66.0/jobs/query/750R0000000zlh9IAA";
    Mock::given(method("POST"))
        .and(path("/services/data/v68.0/jobs/query"))
        .and(body_json(json!({"operation": "queryAll", "query": "SELECT Id FROM Account", "columnDelimiter": "COMMA", "lineEnding": "LF"})))
        .respond_with(json_body(200, fixture("query_job.json")))
        .expect(1)
        .mount(&server)
        .await;
    let done = fixture("query_job.json").replace("UploadComplete", "JobComplete");
    Mock::given(method("GET")).and(path(at)).respond_with(json_body(200, done)).mount(&server).await;
    Mock::given(method("GET"))
        .and(path("/services/data/v68.0/sobjects/Account/describe"))
        .respond_with(json_body(200, account().to_string()))
        .expect(1)
        .mount(&server)
        .await;
    let page = |csv: &str, locator: &str, rows: &str| {
        csv_body(csv).insert_header("Sforce-Locator", locator).insert_header("Sforce-NumberOfRecords", rows)
    };
    let head = "\"Id\",\"Name\",\"IsDeleted\",\"NumberOfEmployees\",\"AnnualRevenue\",\"Owner.Name\"\n";
    Mock::given(method("GET"))
        .and(path(format!("{at}/results")))
        .and(query_param("maxRecords", "2"))
        .and(query_param_is_missing("locator"))
        .respond_with(page(
            &format!("{head}\"001\",\"A, \"\"B\"\"\nC\",\"false\",\"12\",\"1.0E7\",\"Ng\"\n\"002\",\"007\",\"true\",\"\",\"\",\"\"\n"),
            "MTAwMDA",
            "2",
        ))
        .mount(&server)
        .await;
    Mock::given(method("GET"))
        .and(path(format!("{at}/results")))
        .and(query_param("locator", "MTAwMDA"))
        .respond_with(page(&format!("{head}\"003\",\"D\",\"false\",\"1\",\"2.50\",\"Ng\"\n"), "null", "1"))
        .mount(&server)
        .await;

    let job = bulk.query_all("SELECT Id FROM Account").await.unwrap().page_rows(2);
    assert_eq!(job.wait().await.unwrap().object, Some(entity::ACCOUNT));
    let rows: Vec<Fields> = job.rows().try_collect().await.unwrap();
    let first = json!({"Id": "001", "Name": "A, \"B\"\nC", "IsDeleted": false, "NumberOfEmployees": 12, "AnnualRevenue": 1.0e7, "Owner.Name": "Ng"});
    let second =
        json!({"Id": "002", "Name": "007", "IsDeleted": true, "NumberOfEmployees": null, "AnnualRevenue": null, "Owner.Name": null});
    assert_eq!([rows[0].to_value(), rows[1].to_value()], [first, second]);
    assert_eq!((rows.len(), rows[2].text("Name")), (3, Some("D")));
    assert!(Arc::ptr_eq(rows[0].shape(), rows[1].shape()));

    let page = job.page(None).await.unwrap();
    let kept = serde_json::to_string(&page.next.unwrap()).unwrap();
    let ticket = serde_json::to_string(job.ticket()).unwrap();
    let again = bulk.query_job(serde_json::from_str::<JobTicket>(&ticket).unwrap());
    let rest: Vec<Fields> = again.rows_from(serde_json::from_str(&kept).unwrap()).try_collect().await.unwrap();
    assert_eq!((rest.len(), rest[0].text("Id")), (1, Some("003")));

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Named {
        #[serde(rename = "Name")]
        name: String,
    }
    let typed: Vec<Named> = job.rows_as().try_collect().await.unwrap();
    assert_eq!(typed[2], Named { name: "D".to_owned() });
    let pages: Vec<_> = job.pages(None).try_collect().await.unwrap();
    assert_eq!(pages.iter().map(|page| page.rows.len()).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn a_page_without_its_locator_or_with_rows_missing_is_no_page() {
    let server = MockServer::start().await;
    let at = "/services/data/v68.0/jobs/query/750R0000000zlh9IAA/results";
    let job = bulk_at(&server.uri(), Host::manual(1)).query_job("750R0000000zlh9IAA").untyped();
    Mock::given(method("GET"))
        .and(path("/services/data/v68.0/jobs/query/750R0000000zlh9IAA"))
        .respond_with(json_body(200, fixture("query_job.json")))
        .mount(&server)
        .await;
    Mock::given(method("GET")).and(path(at)).respond_with(csv_body("\"Id\"\n\"1\"\n")).up_to_n_times(1).mount(&server).await;
    let error = job.rows().try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    let short = csv_body("\"Id\"\n\"1\"\n").insert_header("Sforce-Locator", "null").insert_header("Sforce-NumberOfRecords", "2");
    Mock::given(method("GET")).and(path(at)).respond_with(short).up_to_n_times(1).mount(&server).await;
    let whole = csv_body("\"Id\"\n\"1\"\n\"2\"\n").insert_header("Sforce-Locator", "null").insert_header("Sforce-NumberOfRecords", "2");
    Mock::given(method("GET")).and(path(at)).respond_with(whole).mount(&server).await;
    let ids: Vec<String> = job.rows().map_ok(|row| row.text("Id").unwrap().to_owned()).try_collect().await.unwrap();
    assert_eq!(ids, ["1", "2"], "asked for again, and nothing twice");
}

#[tokio::test]
async fn pages_that_break_off_lose_and_double_nothing() {
    let org = BulkOrg::new();
    org.hold("Account", (0..1_000).map(|n| format!("\"{n:05}\",\"Name\n{n}\"")).collect());
    org.fail(Fault::CutPages(3));
    let job = bulk_over(&org).query("SELECT Id, Name FROM Account").await.unwrap().page_rows(300).untyped();
    job.wait().await.unwrap();
    let ids: Vec<String> = job.rows().map_ok(|row| row.text("Id").unwrap().to_owned()).try_collect().await.unwrap();
    assert_eq!(ids, (0..1_000).map(|n| format!("{n:05}")).collect::<Vec<_>>());
    let parallel: Vec<String> = job.rows_parallel(3).map_ok(|row| row.text("Id").unwrap().to_owned()).try_collect().await.unwrap();
    assert_eq!(parallel, ids);
    let queries: Vec<_> = bulk_over(&org).query_jobs().try_collect().await.unwrap();
    assert_eq!((queries.len(), queries[0].object.clone()), (1, Some(Entity::from_static("Account"))));
    assert!(job.delete().await.unwrap());
}

#[tokio::test]
async fn a_failed_query_says_so() {
    let org = BulkOrg::new();
    org.fail(Fault::RefuseFile("InvalidBatch : secret"));
    let job = bulk_over(&org).query("SELECT Id FROM Account").await.unwrap();
    let error = job.wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(!error.to_string().contains("secret"));
    let stranger = bulk_over(&org).query("SELECT Id FROM Account").await.unwrap();
    stranger.abort().await.unwrap();
    assert_eq!(stranger.wait().await.unwrap_err().kind(), ErrorKind::Cancelled);
}
