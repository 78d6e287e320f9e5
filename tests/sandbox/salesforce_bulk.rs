//! Bulk API 2.0 of the sandbox, in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::raw_http;

use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::sandbox::Sandbox;
use raw_http::{Answer, Org};
use serde_json::{Value, json};

fn job(org: &Org, more: &Value) -> Answer {
    let mut body = json!({"object": "Lead", "operation": "insert", "contentType": "CSV", "lineEnding": "LF"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    org.post("/jobs/ingest", body)
}

/// Uploads `csv` and closes the job; its id.
fn run(org: &Org, more: &Value, csv: &str) -> String {
    let made = job(org, more);
    assert_eq!(made.status, 200, "{}", made.body);
    let id = made.id();
    let put = org.raw("PUT", &format!("/jobs/ingest/{id}/batches"), "text/csv", csv.to_owned());
    assert_eq!((put.0, put.2.len()), (201, 0));
    assert_eq!(org.patch(&format!("/jobs/ingest/{id}"), json!({"state": "UploadComplete"})).body["state"], "UploadComplete");
    id
}

fn state(org: &Org, id: &str) -> Value {
    org.get(&format!("/jobs/ingest/{id}")).body
}

fn results(org: &Org, id: &str, what: &str) -> String {
    let (status, headers, body) = org.raw("GET", &format!("/jobs/ingest/{id}/{what}"), "", "");
    assert_eq!(status, 200);
    assert!(headers["content-type"].to_str().unwrap().starts_with("text/csv"));
    String::from_utf8(body.to_vec()).unwrap()
}

fn rows(text: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn a_job_is_opened_filled_closed_and_read() {
    let org = Org::new();
    let made = job(&org, &json!({"operation": "upsert", "externalIdFieldName": "external_id__c"}));
    let id = made.id();
    assert_eq!(made.body["contentUrl"], format!("services/data/v68.0/jobs/ingest/{id}/batches"));
    assert_eq!((made.body["apiVersion"].to_string().as_str(), &made.body["state"]), ("68.0", &json!("Open")));
    assert_eq!(made.body["externalIdFieldName"], "External_Id__c");
    assert!(made.body.get("jobType").is_none() && id.starts_with("750"));
    let early = org.get(&format!("/jobs/ingest/{id}/successfulResults"));
    assert_eq!((early.status, early.code()), (400, "INVALIDJOBSTATE"));
    let csv = "External_Id__c,LastName,Company\nA-1,Müller,\"Acme, \"\"Inc\"\"\"\nA-2,,Acme\n";
    let path = format!("/jobs/ingest/{id}/batches");
    assert_eq!(org.raw("PUT", &path, "application/json", csv).0, 415);
    // Some clients send CSV as octets.
    assert_eq!(org.raw("PUT", &path, "application/octet-stream", csv).0, 201);
    assert_eq!(org.raw("PUT", &path, "text/csv", csv).0, 400);
    assert_eq!(org.patch(&format!("/jobs/ingest/{id}"), json!({"state": "UploadComplete"})).status, 200);
    let done = state(&org, &id);
    assert_eq!((&done["state"], &done["jobType"]), (&json!("JobComplete"), &json!("V2Ingest")));
    assert_eq!((&done["numberRecordsProcessed"], &done["numberRecordsFailed"]), (&json!(2), &json!(1)));
    let good = rows(&results(&org, &id, "successfulResults/"));
    assert_eq!(good[0], ["sf__Id", "sf__Created", "External_Id__c", "LastName", "Company"]);
    assert_eq!(good[1][1..], ["true", "A-1", "Müller", "Acme, \"Inc\""]);
    assert!(good[1][0].starts_with("00Q"));
    let bad = rows(&results(&org, &id, "failedResults"));
    assert_eq!(bad[1][1], "REQUIRED_FIELD_MISSING:Required fields are missing: [LastName]:LastName --");
    for spelling in ["unprocessedrecords", "unprocessedRecords/"] {
        assert_eq!(results(&org, &id, spelling), "External_Id__c,LastName,Company\n");
    }
    assert_eq!(org.patch(&format!("/jobs/ingest/{id}"), json!({"state": "Aborted"})).code(), "INVALIDJOBSTATE");
    assert_eq!(org.delete(&format!("/jobs/ingest/{id}")).status, 204);
    assert_eq!(org.get(&format!("/jobs/ingest/{id}")).status, 404);
}

#[test]
fn an_empty_cell_leaves_and_na_clears() {
    let org = Org::new();
    let lead = org.post("/sobjects/Lead", json!({"LastName": "L", "Company": "C", "Title": "T", "Phone": "1"})).id();
    let account = org.post("/sobjects/Account", json!({"Name": "A", "External_Id__c": "acc"})).id();
    let id = run(
        &org,
        &json!({"operation": "update"}),
        &format!("Id,Title,Phone,NumberOfEmployees\n{lead},,#N/A,12\n00Q000000000001,,,\n,,,\n"),
    );
    assert_eq!(state(&org, &id)["numberRecordsFailed"], 2);
    let row = org.get(&format!("/sobjects/Lead/{lead}")).body;
    assert_eq!((&row["Title"], &row["Phone"], &row["NumberOfEmployees"]), (&json!("T"), &Value::Null, &json!(12)));
    let csv = "LastName,Account.External_Id__c,DoNotCall,Birthdate\nX,acc,true,\nY,nobody,,\nZ,,maybe,\nW,,,01/02/2026\n";
    let id = run(&org, &json!({"object": "Contact"}), csv);
    let bad = results(&org, &id, "failedResults");
    assert!(bad.contains("Foreign key external ID: nobody not found"), "{bad}");
    assert_eq!(bad.matches("INVALID_TYPE_ON_FIELD_IN_RECORD").count(), 2, "{bad}");
    assert_eq!(org.column("SELECT AccountId FROM Contact", "AccountId"), [account]);
    let csv = "Subject,Lead:Who.Email\nCall,\nCall,x@y.zz\n";
    assert_eq!(state(&org, &run(&org, &json!({"object": "Task"}), csv))["numberRecordsFailed"], 1);
    assert_eq!(state(&org, &run(&org, &json!({"object": "Task"}), "Subject,Who.Email\nCall,\n"))["state"], "Failed");
}

#[test]
fn a_wrong_header_or_line_ending_fails_the_job() {
    let org = Org::new();
    for (more, csv, message) in [
        (json!({}), "LastName,Nope__c\nX,1\n", "InvalidBatch : Field name not found : Nope__c"),
        (json!({}), "LastName,lastname\nX,1\n", "InvalidBatch : Duplicate field name found : lastname"),
        (
            json!({}),
            "LastName,Company\r\nX,Y\r\n",
            "ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF",
        ),
        (json!({"lineEnding": "CRLF"}), "LastName,Company\nX,Y\n", "LineEnding setting is CRLF"),
        (json!({"operation": "delete"}), "Id,Company\nX,Y\n", "must contain only ids"),
        (json!({"columnDelimiter": "SEMICOLON"}), "LastName,Company\nX,Y\n", "Field name not found : LastName,Company"),
    ] {
        let id = run(&org, &more, csv);
        let done = state(&org, &id);
        assert_eq!(done["state"], "Failed", "{csv}");
        assert!(done["errorMessage"].as_str().unwrap().contains(message), "{done}");
        assert_eq!(results(&org, &id, "unprocessedrecords").lines().count(), 2);
    }
    let csv = "LastName;Company\r\n\"a;b\";Y\r\nX;\"Y\" \r\nonly\r\n";
    let id = run(&org, &json!({"columnDelimiter": "SEMICOLON", "lineEnding": "CRLF"}), csv);
    let done = state(&org, &id);
    assert_eq!(
        (&done["state"], &done["numberRecordsProcessed"], &done["numberRecordsFailed"]),
        (&json!("JobComplete"), &json!(3), &json!(2))
    );
    assert_eq!(org.column("SELECT LastName FROM Lead", "LastName"), ["a;b"]);
    assert!(results(&org, &id, "successfulResults").starts_with("\"sf__Id\";\"sf__Created\";LastName;Company\r\n"));
}

#[test]
fn what_a_job_may_not_be() {
    let org = Org::new();
    for more in [
        json!({"operation": "merge"}),
        json!({"object": "Nope"}),
        json!({"contentType": "JSON"}),
        json!({"columnDelimiter": "SPACE"}),
        json!({"operation": "upsert"}),
        json!({"operation": "upsert", "externalIdFieldName": "Title"}),
        json!({"externalIdFieldName": "External_Id__c"}),
    ] {
        let refused = job(&org, &more);
        assert_eq!((refused.status, refused.code()), (400, "INVALIDJOB"), "{more}");
    }
    assert_eq!(job(&org, &json!({"assignmentRuleId": "01Q000000000001"})).code(), "INVALID_ASSIGNMENT_RULE");
    assert_eq!(job(&org, &json!({"surprise": 1})).code(), "JSON_PARSER_ERROR");
    org.sandbox.set_options(|options| options.bulk.hard_delete = false).unwrap();
    assert_eq!(job(&org, &json!({"operation": "hardDelete"})).code(), "FEATURENOTENABLED");
    let id = job(&org, &json!({})).id();
    assert_eq!(org.delete(&format!("/jobs/ingest/{id}")).code(), "INVALIDJOBSTATE");
    assert_eq!(org.patch(&format!("/jobs/ingest/{id}"), json!({"state": "Closed"})).code(), "INVALIDJOBSTATE");
    assert_eq!(org.patch(&format!("/jobs/ingest/{id}"), json!({"state": "Aborted"})).body["state"], "Aborted");
    assert_eq!(org.raw("PUT", &format!("/jobs/ingest/{id}/batches"), "text/csv", "A\n").0, 400);
    assert_eq!(org.send("PUT", &format!("/jobs/ingest/{id}"), None).status, 405);
    assert_eq!(org.get(&format!("/jobs/query/{id}")).status, 404);
    let list = org.get("/jobs/ingest?jobType=V2Ingest").body;
    assert_eq!((&list["done"], &list["records"][0]["id"], &list["nextRecordsUrl"]), (&json!(true), &json!(id), &Value::Null));
}

#[test]
fn the_clock_moves_a_job_batch_by_batch() {
    let org = Org::new();
    org.sandbox
        .set_options(|options| {
            options.bulk.queue_millis = 1000;
            options.bulk.batch_millis = 2000;
            options.bulk.batch_rows = 2;
        })
        .unwrap();
    let csv: String = std::iter::once("LastName,Company\n".to_owned()).chain((0..5).map(|n| format!("L{n},C\n"))).collect();
    let id = run(&org, &json!({}), &csv);
    let step = |millis| {
        org.clock.advance(Duration::from_millis(millis));
        let now = state(&org, &id);
        (now["state"].as_str().unwrap().to_owned(), now["numberRecordsProcessed"].as_u64().unwrap())
    };
    assert_eq!(step(999), ("UploadComplete".to_owned(), 0));
    assert_eq!(step(1), ("InProgress".to_owned(), 0));
    assert_eq!(step(2000), ("InProgress".to_owned(), 2));
    assert_eq!(org.sandbox.records("Lead").len(), 2);
    assert_eq!(org.delete(&format!("/jobs/ingest/{id}")).code(), "INVALIDJOBSTATE");
    // Aborting rolls nothing back.
    assert_eq!(org.patch(&format!("/jobs/ingest/{id}"), json!({"state": "Aborted"})).body["state"], "Aborted");
    assert_eq!(step(60_000), ("Aborted".to_owned(), 2));
    assert_eq!(results(&org, &id, "unprocessedrecords"), "LastName,Company\nL2,C\nL3,C\nL4,C\n");
    assert_eq!(rows(&results(&org, &id, "successfulResults")).len(), 3);
    let next = run(&org, &json!({}), &csv);
    org.clock.advance(Duration::from_millis(7000));
    assert_eq!(state(&org, &next)["state"], "JobComplete");
    org.clock.advance(Duration::from_secs(8 * 24 * 3600));
    assert_eq!(org.get(&format!("/jobs/ingest/{next}")).status, 404);
}

#[test]
fn results_come_in_another_order() {
    let org = Org::new();
    let csv: String =
        std::iter::once("External_Id__c,LastName,Company\n".to_owned()).chain((0..50).map(|n| format!("K{n},L,C\n"))).collect();
    let id = run(&org, &json!({}), &csv);
    let keys: Vec<String> = rows(&results(&org, &id, "successfulResults"))[1..].iter().map(|row| row[2].clone()).collect();
    let wanted: Vec<String> = (0..50).map(|n| format!("K{n}")).collect();
    assert_ne!(keys, wanted);
    let mut sorted = keys;
    sorted.sort_by_key(|key| key[1..].parse::<u32>().unwrap());
    assert_eq!(sorted, wanted);
    // The same key twice in a chunk, and keys that exist.
    let id =
        run(&org, &json!({"operation": "upsert", "externalIdFieldName": "External_Id__c"}), "External_Id__c,Title\nK1,a\nk1,b\nK2,c\n");
    let bad = rows(&results(&org, &id, "failedResults"));
    assert!(bad.len() == 2 && bad[1][1].starts_with("DUPLICATE_VALUE:Duplicate external id specified: k1"));
    assert!(rows(&results(&org, &id, "successfulResults"))[1..].iter().all(|row| row[1] == "false"));
}

#[test]
fn locks_quotas_and_broken_jobs() {
    let org = Org::new();
    let csv = "LastName,Company\nA,C\nB,C\nC,C\n";
    org.sandbox.set_options(|options| options.bulk.locked_rows = vec![1]).unwrap();
    let id = run(&org, &json!({}), csv);
    assert!(rows(&results(&org, &id, "failedResults"))[1][1].starts_with("UNABLE_TO_LOCK_ROW:"));
    org.sandbox
        .set_options(|options| {
            options.bulk.locked_rows.clear();
            options.bulk.fail_after = Some(2);
        })
        .unwrap();
    let id = run(&org, &json!({}), csv);
    let failed = state(&org, &id);
    assert!(failed["state"] == "Failed" && failed["errorMessage"].as_str().unwrap().starts_with("TooManyLockFailure"));
    assert_eq!(results(&org, &id, "unprocessedrecords"), "LastName,Company\nC,C\n");
    // What was written before stays.
    assert_eq!(rows(&results(&org, &id, "successfulResults")).len(), 3);
    org.sandbox
        .set_options(|options| {
            options.bulk.fail_after = None;
            options.bulk.daily_batches = 0;
        })
        .unwrap();
    let id = run(&org, &json!({}), csv);
    assert!(state(&org, &id)["errorMessage"].as_str().unwrap().starts_with("ExceededQuota"));
}

#[test]
fn rows_are_deleted_softly_and_for_good() {
    let org = Org::new();
    let (a, b) = (org.lead("A"), org.lead("B"));
    let id = run(&org, &json!({"operation": "delete"}), &format!("Id\n{a}\n{a}\n"));
    assert!(rows(&results(&org, &id, "failedResults"))[1][1].starts_with("ENTITY_IS_DELETED:"));
    run(&org, &json!({"operation": "hardDelete"}), &format!("\"Id\"\n\"{b}\"\n"));
    let all = org.get("/queryAll?q=SELECT%20Id,IsDeleted%20FROM%20Lead").body;
    assert_eq!((&all["totalSize"], &all["records"][0]["Id"], &all["records"][0]["IsDeleted"]), (&json!(1), &json!(a), &json!(true)));
}

#[test]
fn one_call_makes_a_small_job() {
    let org = Org::new();
    let body = "--BOUNDARY\r\nContent-Type: application/json\r\nContent-Disposition: form-data; name=\"job\"\r\n\r\n\
                {\"object\":\"Lead\",\"contentType\":\"CSV\",\"operation\":\"insert\",\"lineEnding\":\"LF\"}\r\n--BOUNDARY\r\n\
                Content-Type: text/csv\r\nContent-Disposition: form-data; name=\"content\"; filename=\"content\"\r\n\r\n\
                LastName,Company\nX,Y\n\r\n--BOUNDARY--\r\n";
    let (status, _, answer) = org.raw("POST", "/jobs/ingest", "multipart/form-data; boundary=BOUNDARY", body);
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!((status, &answer["state"]), (200, &json!("UploadComplete")));
    assert_eq!(org.sandbox.records("Lead").len(), 1);
    let big = body.replace("X,Y", &"X,Y\n".repeat(30_000));
    assert_eq!(org.raw("POST", "/jobs/ingest", "multipart/form-data; boundary=BOUNDARY", big).0, 400);
}

#[test]
fn an_assignment_rule_gives_the_rows_away() {
    let org = Org::new();
    let queue = org.column("SELECT Id FROM Group", "Id")[0].clone();
    let rule =
        org.send("POST", "/_sandbox/records/AssignmentRule", Some(json!({"Name": "R", "SobjectType": "Lead", "Active": false}))).id();
    let entry = json!([{"rule": "R", "when": "Company = 'Acme'", "owner": queue}]);
    assert_eq!(org.send("POST", "/_sandbox/options", Some(json!({"assignment": entry}))).status, 204);
    run(&org, &json!({"assignmentRuleId": rule}), "LastName,Company\nA,Acme\nB,Other\n");
    assert_eq!(org.column("SELECT LastName FROM Lead WHERE Owner.Type = 'Group'", "LastName"), ["A"]);
    let header = org.with("sforce-auto-assign", &rule);
    let given = header.post("/sobjects/Lead", json!({"LastName": "C", "Company": "Acme"})).id();
    assert_eq!(org.get(&format!("/sobjects/Lead/{given}")).body["OwnerId"], queue);
    // No rule is active, so nothing happens without the header.
    let kept = org.post("/sobjects/Lead", json!({"LastName": "D", "Company": "Acme"})).id();
    assert_ne!(org.get(&format!("/sobjects/Lead/{kept}")).body["OwnerId"], queue);
    assert_eq!(org.send("PATCH", &format!("/_sandbox/records/AssignmentRule/{rule}"), Some(json!({"Active": true}))).status, 204);
    let active = org.post("/sobjects/Lead", json!({"LastName": "E", "Company": "Acme"})).id();
    assert_eq!(org.get(&format!("/sobjects/Lead/{active}")).body["OwnerId"], queue);
    let off = org.with("sforce-auto-assign", "FALSE").post("/sobjects/Lead", json!({"LastName": "F", "Company": "Acme"})).id();
    assert_ne!(org.get(&format!("/sobjects/Lead/{off}")).body["OwnerId"], queue);
}

#[test]
fn a_query_job_is_read_in_pages_that_can_be_read_again() {
    let org = Org::new();
    for n in 0..5 {
        org.post("/sobjects/Lead", json!({"LastName": format!("L{n}"), "Company": "a,\"b\"", "NumberOfEmployees": n}));
    }
    org.sandbox.set_options(|options| options.bulk.page_rows = 2).unwrap();
    let soql = "SELECT LastName, company, Owner.Name, NumberOfEmployees, DoNotCall, Title FROM Lead ORDER BY LastName";
    let made = org.post("/jobs/query", json!({"operation": "query", "query": soql}));
    assert_eq!((made.status, &made.body["state"], &made.body["object"]), (200, &json!("UploadComplete"), &json!("Lead")));
    assert!(made.body.get("query").is_none() && made.body.get("contentUrl").is_none());
    let base = format!("/jobs/query/{}", made.id());
    let done = org.get(&base).body;
    assert_eq!((&done["state"], &done["jobType"], &done["numberRecordsProcessed"]), (&json!("JobComplete"), &json!("V2Query"), &json!(5)));
    org.post("/sobjects/Lead", json!({"LastName": "later", "Company": "C"}));
    let mut path = format!("{base}/results?maxRecords=50000");
    let mut pages = Vec::new();
    loop {
        let (status, headers, body) = org.raw("GET", &path, "", "");
        assert_eq!(status, 200);
        pages.push((headers["sforce-numberofrecords"].to_str().unwrap().to_owned(), String::from_utf8(body.to_vec()).unwrap()));
        let locator = headers["sforce-locator"].to_str().unwrap();
        if locator == "null" {
            break;
        }
        path = format!("{base}/results?locator={locator}");
    }
    assert_eq!(pages.iter().map(|page| page.0.as_str()).collect::<Vec<_>>(), ["2", "2", "1"]);
    let lines: Vec<&str> = pages[0].1.lines().collect();
    assert_eq!(lines[0], "\"LastName\",\"Company\",\"Owner.Name\",\"NumberOfEmployees\",\"DoNotCall\",\"Title\"");
    assert_eq!(lines[1], "\"L0\",\"a,\"\"b\"\"\",\"Integration User\",\"0\",\"false\",\"\"");
    assert!(pages[2].1.starts_with(lines[0]));
    let listed = org.get(&format!("{base}/resultPages")).body;
    assert_eq!((listed["resultPages"].as_array().unwrap().len(), &listed["done"]), (3, &json!(true)));
    let second = listed["resultPages"][1]["resultUrl"].as_str().unwrap();
    assert_eq!(org.get(second).body, json!(pages[1].1));
    let other = org.get(&format!("/services/data/v60.0{base}/results"));
    assert_eq!(other.status, 409);
    assert_eq!(org.get(&format!("{base}/results?locator=!!")).code(), "INVALID_LOCATOR");
    assert_eq!(org.patch(&base, json!({"state": "Aborted"})).code(), "INVALIDJOBSTATE");
    assert_eq!(org.delete(&base).status, 204);
}

#[test]
fn bulk_refuses_parts_of_soql() {
    let org = Org::new();
    let query = |soql: &str| org.post("/jobs/query", json!({"operation": "query", "query": soql}));
    for soql in [
        "SELECT COUNT() FROM Lead",
        "SELECT COUNT(Id) FROM Lead",
        "SELECT Status FROM Lead GROUP BY Status",
        "SELECT Id FROM Lead LIMIT 5 OFFSET 1",
        "SELECT Id, (SELECT Id FROM Contacts) FROM Account",
        "SELECT Address FROM Lead",
        "SELECT FIELDS(ALL) FROM Lead LIMIT 10",
    ] {
        let refused = query(soql);
        assert_eq!((refused.status, refused.code()), (400, "API_ERROR"), "{soql}");
    }
    assert_eq!(query("SELECT Nope FROM Lead").code(), "INVALID_FIELD");
    assert_eq!(query("SELECT Id FROM").code(), "MALFORMED_QUERY");
    assert_eq!(query("SELECT FIELDS(STANDARD) FROM Lead").status, 200);
    org.sandbox.set_options(|options| options.bulk.queue_millis = 1000).unwrap();
    let id = query("SELECT Id FROM Lead").id();
    let early = org.get(&format!("/jobs/query/{id}/results"));
    assert_eq!((early.status, early.code()), (400, "INVALIDJOBSTATE"));
    assert_eq!(org.delete(&format!("/jobs/query/{id}")).code(), "API_ERROR");
    assert_eq!(org.patch(&format!("/jobs/query/{id}"), json!({"state": "Aborted"})).body["state"], "Aborted");
    assert_eq!(org.delete(&format!("/jobs/query/{id}")).status, 204);
    org.sandbox.set_options(|options| options.bulk.daily_query_jobs = 0).unwrap();
    assert_eq!(query("SELECT Id FROM Lead").code(), "EXCEEDEDQUOTA");
}

#[test]
fn a_great_upload_is_written_in_more_than_one_go() {
    let org = Org::new();
    let csv: String = std::iter::once("Name\n".to_owned()).chain((0..60_000).map(|n| format!("A{n}\n"))).collect();
    let id = run(&org, &json!({"object": "Account"}), &csv);
    let first = state(&org, &id);
    assert_eq!((&first["state"], &first["numberRecordsProcessed"]), (&json!("InProgress"), &json!(40_000)));
    let second = state(&org, &id);
    assert_eq!((&second["state"], &second["numberRecordsProcessed"]), (&json!("JobComplete"), &json!(60_000)));
    let limits = org.get("/limits").body;
    assert_eq!(limits["DailyBulkApiBatches"]["Remaining"], 15_000 - 6);
    assert_eq!(limits["DailyBulkV2QueryJobs"]["Remaining"], 10_000);
}

#[test]
fn jobs_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let (host, clock) = Host::manual_with_clock(1);
        Org::over(Sandbox::open(host, 1, dir.path()).unwrap(), clock)
    };
    let org = open();
    org.sandbox
        .set_options(|options| {
            options.bulk.batch_rows = 2;
            options.bulk.batch_millis = 1000;
        })
        .unwrap();
    let id = run(&org, &json!({}), "LastName,Company\nA,C\nB,C\n,C\nD,C\n");
    org.clock.advance(Duration::from_millis(1000));
    assert_eq!(state(&org, &id)["numberRecordsProcessed"], 2);
    drop(org);
    let org = open();
    assert_eq!(state(&org, &id)["state"], "InProgress");
    org.clock.advance(Duration::from_secs(5));
    assert_eq!(state(&org, &id)["state"], "JobComplete");
    let query = org.post("/jobs/query", json!({"operation": "query", "query": "SELECT LastName FROM Lead"})).id();
    org.clock.advance(Duration::from_secs(5));
    org.get("/limits");
    drop(org);
    let org = open();
    assert_eq!(rows(&results(&org, &id, "successfulResults")).len(), 4);
    assert_eq!(rows(&results(&org, &id, "failedResults")).len(), 2);
    let (_, _, body) = org.raw("GET", &format!("/jobs/query/{query}/results"), "", "");
    assert_eq!(rows(std::str::from_utf8(&body).unwrap()).len(), 4);
}
