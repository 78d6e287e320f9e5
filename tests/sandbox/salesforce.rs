//! The Salesforce face of the sandbox, spoken to in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::raw_http;

use std::sync::Arc;
use std::time::Duration;

use crm_sync::host::Host;
use crm_sync::http::HttpErrorKind;
use crm_sync::model::{Fields, RecordId};
use crm_sync::sandbox::{DuplicateRule, Fault, FaultKind, FieldDef, ObjectDef, RuleAction, Sandbox};
use raw_http::{Org, enc};
use serde_json::{Value, json};

#[test]
fn versions_need_no_token_and_retired_ones_are_gone() {
    let org = Org { token: String::new(), ..Org::new() };
    let versions = org.get("/services/data");
    assert_eq!(versions.status, 200);
    assert_eq!(versions.body[0]["version"], "31.0");
    assert_eq!(versions.body[37]["label"], "Winter '27");
    assert!(!versions.headers.contains_key("sforce-limit-info"));
    assert_eq!(org.get("/services/data/v30.0/limits").status, 410);
    assert_eq!(org.get("/services/data/v69.0/limits").status, 404);
    let refused = org.get("/limits");
    assert_eq!((refused.status, refused.code()), (401, "INVALID_SESSION_ID"));
    let org = Org::new();
    assert_eq!(org.get("/limits").header("sforce-limit-info"), "api-usage=1/100000");
    assert_eq!(org.get("/salesforce/services/data/v68.0/limits").body["DailyApiRequests"]["Remaining"], 99_998);
    assert_eq!(org.get("/nothing").code(), "NOT_FOUND");
    assert_eq!(org.send("PUT", "/sobjects/Lead/x", None).status, 405);
}

#[test]
fn a_row_lives_its_life() {
    let org = Org::new();
    let made = org.post(
        "/sobjects/Lead",
        json!({"LastName": "  Müller ", "FirstName": "Eva", "Company": "Acme", "Email": "eva@example.com",
        "Title": "", "AnnualRevenue": 1000, "NumberOfEmployees": "12", "Last_Engagement_Date__c": "2026-01-02T03:04:05+01:00"}),
    );
    assert_eq!(made.status, 201);
    assert_eq!(made.body["success"], true);
    let id = made.id();
    assert_eq!(made.header("location"), format!("/services/data/v68.0/sobjects/Lead/{id}"));
    assert!(id.starts_with("00Q") && id.len() == 18);
    let row = org.get(&format!("/sobjects/Lead/{}", &id[..15])).body;
    assert_eq!(row["Name"], "Eva Müller");
    assert_eq!(row["Title"], Value::Null);
    assert_eq!(row["AnnualRevenue"].to_string(), "1000.0");
    assert_eq!(row["NumberOfEmployees"], 12);
    assert_eq!(row["Last_Engagement_Date__c"], "2026-01-02T02:04:05.000+0000");
    assert_eq!(row["Status"], "Open - Not Contacted");
    assert_eq!(row["IsConverted"], false);
    assert_eq!(row["CreatedDate"], "2026-01-01T00:00:00.000+0000");
    assert_eq!(row["attributes"]["type"], "Lead");
    org.clock.advance(Duration::from_secs(61));
    assert_eq!(org.patch(&format!("/sobjects/Lead/{id}"), json!({"Title": "CTO", "Email": null})).status, 204);
    let row = org.get(&format!("/sobjects/Lead/{id}?fields=Title,Email,SystemModstamp,CreatedDate")).body;
    assert_eq!(row["Title"], "CTO");
    assert_eq!(row["Email"], Value::Null);
    assert_eq!(row["SystemModstamp"], "2026-01-01T00:01:01.000+0000");
    assert_eq!(row["CreatedDate"], "2026-01-01T00:00:00.000+0000");
    assert_eq!(org.delete(&format!("/sobjects/Lead/{id}")).status, 204);
    let gone = org.delete(&format!("/sobjects/Lead/{id}"));
    assert_eq!((gone.status, gone.code()), (404, "ENTITY_IS_DELETED"));
    assert_eq!(org.get("/sobjects/Lead/00Qxx0000000001").status, 404);
    assert_eq!(org.patch("/sobjects/Lead/nonsense", json!({})).code(), "MALFORMED_ID");
    let all = org.get(&format!("/queryAll?q={}", enc("SELECT Id, IsDeleted FROM Lead WHERE IsDeleted = true")));
    assert_eq!(all.body["totalSize"], 1);
    assert_eq!(org.query("SELECT Id FROM Lead").body["totalSize"], 0);
}

#[test]
fn refusals_carry_salesforces_codes() {
    let org = Org::new();
    let good = json!({"LastName": "X", "Company": "Y"});
    let cases = [
        (json!({"LastName": "X"}), "REQUIRED_FIELD_MISSING", Some("Company")),
        (json!({"FirstName": "x".repeat(41)}), "STRING_TOO_LONG", Some("FirstName")),
        (json!({"Nope__c": 1}), "INVALID_FIELD", None),
        (json!({"Name": "X"}), "INVALID_FIELD_FOR_INSERT_UPDATE", Some("Name")),
        (json!({"Id": "00Q000000000001"}), "INVALID_FIELD_FOR_INSERT_UPDATE", Some("Id")),
        (json!({"Email": "not an email"}), "INVALID_EMAIL_ADDRESS", Some("Email")),
        (json!({"DoNotCall": null}), "INVALID_TYPE_ON_FIELD_IN_RECORD", Some("DoNotCall")),
        (json!({"AnnualRevenue": "much"}), "JSON_PARSER_ERROR", None),
        (json!({"Last_Engagement_Date__c": "yesterday"}), "JSON_PARSER_ERROR", None),
        (json!({"OwnerId": "nobody"}), "MALFORMED_ID", Some("OwnerId")),
        (json!({"OwnerId": "00Q000000000001EAA"}), "MALFORMED_ID", Some("OwnerId")),
        (json!({"OwnerId": "005000000000001AAA"}), "INVALID_CROSS_REFERENCE_KEY", None),
        (json!({"Address": {"city": "X"}}), "INVALID_FIELD_FOR_INSERT_UPDATE", Some("Address")),
        (json!({"Assignment_Rule_Header__c": {"useDefaultRule": true}}), "INVALID_FIELD", None),
    ];
    for (change, code, field) in cases {
        let mut body = if change.get("LastName").is_some() { json!({}) } else { good.clone() };
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let answer = org.post("/sobjects/Lead", body);
        assert_eq!((answer.status, answer.code()), (400, code), "{change}: {}", answer.body);
        if let Some(field) = field {
            assert_eq!(answer.body[0]["fields"][0], field, "{change}");
        }
    }
    let missing = org.post("/sobjects/Lead", json!({}));
    assert_eq!(missing.body[0]["message"], "Required fields are missing: [LastName, Company]");
    assert_eq!(org.post("/sobjects/Nope", json!({})).status, 404);
    let topic = |name: &str, query: &str| org.post("/sobjects/PushTopic", json!({"Name": name, "Query": query, "ApiVersion": 68.0}));
    assert_eq!(topic("MarketingEngineLeadUpdates", "SELECT Id FROM Lead").code(), "STRING_TOO_LONG");
    assert_eq!(topic("LeadUpdates", "SELECT Email FROM Lead").code(), "INVALID_FIELD");
    assert_eq!(topic("LeadUpdates", "SELECT Id, Owner.Name FROM Lead").code(), "INVALID_FIELD");
    assert_eq!(topic("LeadUpdates", "SELECT Id FROM CampaignMember").code(), "INVALID_FIELD");
    assert_eq!(topic("LeadUpdates", "SELECT Id, Email FROM Lead WHERE Status != 'Closed'").status, 201);
    let restricted =
        org.post("/sobjects/PushTopic", json!({"Name": "n", "Query": "SELECT Id FROM Lead", "ApiVersion": 68, "NotifyForFields": "Some"}));
    assert_eq!(restricted.code(), "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST");
    assert_eq!(org.with("content-encoding", "gzip").post("/sobjects/Lead", good).status, 415);
    assert_eq!(org.query("SELECT COUNT() FROM Lead").body["totalSize"], 0);
}

#[test]
fn external_ids_upsert_and_choose() {
    let org = Org::new();
    let path = format!("/sobjects/Lead/External_Id__c/{}", enc("A/B #1"));
    let body = json!({"LastName": "X", "Company": "Y"});
    let made = org.patch(&path, body.clone());
    assert_eq!((made.status, &made.body["created"]), (201, &json!(true)));
    let again = org.patch(&path, json!({"Title": "T"}));
    assert_eq!((again.status, &again.body["created"], again.id()), (200, &json!(false), made.id()));
    assert_eq!(org.get(&path.replace("A%2FB", "a%2fb")).body["Title"], "T");
    assert_eq!(
        org.patch(&path.replace("v68.0", "v45.0").replace("/sobjects", "/services/data/v45.0/sobjects"), json!({"Title": "U"})).status,
        204
    );
    assert_eq!(org.patch(&path, json!({"External_Id__c": "other"})).status, 400);
    assert_eq!(org.patch("/sobjects/Lead/External_Id__c/new?updateOnly=true", body.clone()).status, 404);
    let unknown = org.patch("/sobjects/Lead/Title/x", body.clone());
    assert_eq!((unknown.status, unknown.code()), (404, "NOT_FOUND"));
    let taken = org.post("/sobjects/Lead", json!({"LastName": "X", "Company": "Y", "External_Id__c": "a/b #1"}));
    assert_eq!(taken.code(), "DUPLICATE_VALUE");
    assert!(taken.body[0]["message"].as_str().unwrap().ends_with(&made.id()));
    org.sandbox.add_field("Lead", FieldDef::text("Code__c", 20).external_id()).unwrap();
    for _ in 0..2 {
        assert_eq!(org.post("/sobjects/Lead", json!({"LastName": "X", "Company": "Y", "Code__c": "twin"})).status, 201);
    }
    let several = org.patch("/sobjects/Lead/Code__c/twin", json!({"Title": "T"}));
    assert_eq!(several.status, 300);
    assert!(several.body[0].as_str().unwrap().starts_with("/services/data/v68.0/sobjects/Lead/00Q"));
    assert_eq!(org.delete(&path).status, 204);
    assert_eq!(org.get(&path).status, 404);
    org.post("/sobjects/Account", json!({"Name": "Acme", "External_Id__c": "acme"}));
    let contact = org.post("/sobjects/Contact", json!({"LastName": "C", "Account": {"External_Id__c": "ACME"}}));
    assert_eq!(contact.status, 201, "{}", contact.body);
    assert_eq!(org.column("SELECT Account.Name FROM Contact", "Account").len(), 1);
    assert_eq!(org.query("SELECT Account.Name FROM Contact").body["records"][0]["Account"]["Name"], "Acme");
    assert_eq!(org.post("/sobjects/Contact", json!({"LastName": "C", "Account": {"External_Id__c": "no"}})).code(), "INVALID_FIELD");
}

#[test]
fn soql_filters_sorts_and_groups() {
    let org = Org::new();
    for (last, title, score) in
        [("O'Brien", Some("CTO"), 10.0), ("50%_x", None, 20.0), ("a\\b", Some("cto"), 30.0), ("Zed", Some("Dev"), 40.0)]
    {
        let body =
            json!({"LastName": last, "Company": "Acme", "Title": title, "Marketing_Score__c": score, "Email": format!("{score}@x.org")});
        assert_eq!(org.post("/sobjects/Lead", body).status, 201);
    }
    let names = |filter: &str| org.column(&format!("SELECT LastName FROM Lead WHERE {filter} ORDER BY Marketing_Score__c"), "LastName");
    assert_eq!(names(r"LastName = 'O\'Brien'"), ["O'Brien"]);
    assert_eq!(names(r"LastName = 'a\\b'"), [r"a\b"]);
    assert_eq!(names("LastName = '50%_x'"), ["50%_x"]);
    assert_eq!(names(r"LastName LIKE '50\%\_x'"), ["50%_x"]);
    assert_eq!(names("LastName LIKE '5%'"), ["50%_x"]);
    assert_eq!(names("Title = 'CTO'"), ["O'Brien", r"a\b"]);
    assert_eq!(names("Title != 'cto'"), ["50%_x", "Zed"]);
    assert_eq!(names("Title NOT IN ('cto', 'x')"), ["50%_x", "Zed"]);
    assert_eq!(names("Title = null"), ["50%_x"]);
    assert_eq!(names("(NOT Title LIKE 'c%') AND Marketing_Score__c > 30"), ["Zed"]);
    assert_eq!(names("Email IN ('10@x.org', '40@X.ORG')"), ["O'Brien", "Zed"]);
    assert_eq!(names("Title = 'Dev' OR (Marketing_Score__c >= 10 AND Marketing_Score__c < 20)"), ["O'Brien", "Zed"]);
    assert_eq!(names("CreatedDate = TODAY AND CreatedDate >= LAST_N_DAYS:3").len(), 4);
    assert_eq!(names("CreatedDate < 2026-01-01T00:00:00Z").len(), 0);
    assert_eq!(names("CreatedDate >= 2026-01-01T01:00:00+01:00").len(), 4);
    assert_eq!(names("Owner.Name = 'integration user' AND DoNotCall = false").len(), 4);
    assert_eq!(
        org.column("SELECT LastName FROM Lead ORDER BY Title NULLS LAST, LastName DESC LIMIT 2 OFFSET 1", "LastName"),
        [r"a\b", "Zed"]
    );
    let groups = org.query("SELECT Title, COUNT(Id) n, AVG(Marketing_Score__c) FROM Lead GROUP BY Title HAVING COUNT(Id) > 1");
    assert_eq!(groups.body["records"], json!([{"attributes": {"type": "AggregateResult"}, "Title": "CTO", "n": 2, "expr0": 20.0}]));
    assert_eq!(org.query("SELECT COUNT() FROM Lead WHERE Title != null").body, json!({"totalSize": 3, "done": true, "records": []}));
    let owner = org.query("SELECT Id, Owner.Email, Owner.Type FROM Lead LIMIT 1");
    assert_eq!(owner.body["records"][0]["Owner"]["Email"], "integration@sandbox.example");
    assert_eq!(owner.body["records"][0]["Owner"]["Type"], "User");
    for (soql, code) in [
        ("SELECT Nope FROM Lead", "INVALID_FIELD"),
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT Id FROM Lead WHERE Title = 'a' AND Title = 'b' OR Title = 'c'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Title = 5", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Marketing_Score__c = '5'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE CreatedDate > '2026-01-01T00:00:00Z'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE CreatedDate > 2026-01-01", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE CreatedDate > 2026-01-01T00:00:00", "INVALID_FIELD"),
        (r"SELECT Id FROM Lead WHERE Title = 'a\d'", "MALFORMED_QUERY"),
        (r"SELECT Id FROM Lead WHERE Title = 'a\%'", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead WHERE Conversion_Path__c = 'x'", "INVALID_FIELD"),
        ("SELECT Id FROM Lead WHERE Id = 'short'", "INVALID_QUERY_FILTER_OPERATOR"),
        ("SELECT Id, LastName FROM Lead GROUP BY LastName", "MALFORMED_QUERY"),
        ("SELECT FIELDS(ALL) FROM Lead", "MALFORMED_QUERY"),
        ("SELECT Id FROM Lead LIMIT 1 OFFSET 2001", "NUMBER_OUTSIDE_VALID_RANGE"),
        ("SELECT Id, Id FROM Lead", "INVALID_FIELD"),
    ] {
        let answer = org.query(soql);
        assert_eq!((answer.status, answer.code()), (400, code), "{soql}: {}", answer.body);
    }
    assert_eq!(org.query("SELECT FIELDS(ALL) FROM Lead LIMIT 200").body["records"][0]["Company"], "Acme");
    // A plus sign that was not encoded is a blank.
    assert_eq!(org.get("/query?q=SELECT+Id+FROM+Lead+WHERE+CreatedDate+%3E+2026-01-01T00:00:00+01:00").status, 400);
}

#[test]
fn children_and_semi_joins() {
    let org = Org::new();
    let (a, b) = (org.lead("A"), org.lead("B"));
    org.post("/sobjects/Task", json!({"WhoId": a, "Subject": "Call"}));
    let rows = org.query("SELECT Id, (SELECT Subject, Status FROM Tasks) FROM Lead ORDER BY LastName").body;
    assert_eq!(rows["records"][0]["Tasks"]["records"][0]["Subject"], "Call");
    assert_eq!(rows["records"][0]["Tasks"]["totalSize"], 1);
    assert_eq!(rows["records"][1]["Tasks"], Value::Null);
    assert_eq!(org.column("SELECT Id FROM Lead WHERE Id IN (SELECT WhoId FROM Task)", "Id"), std::slice::from_ref(&a));
    assert_eq!(org.column("SELECT Id FROM Lead WHERE Id NOT IN (SELECT WhoId FROM Task)", "Id"), [b]);
    assert_eq!(org.query("SELECT Who.Name, Who.Type FROM Task").body["records"][0]["Who"]["Type"], "Lead");
}

#[test]
fn pages_follow_the_locator() {
    let org = Org::new();
    for batch in 0..3 {
        let records: Vec<Value> = (0..200)
            .map(|n| json!({"attributes": {"type": "Lead"}, "LastName": format!("{}", batch * 200 + n), "Company": "Acme"}))
            .collect();
        assert_eq!(org.post("/composite/sobjects", json!({"records": records})).status, 200);
    }
    let small = org.with("sforce-query-options", "batchSize=250");
    let mut page = small.query("SELECT LastName FROM Lead");
    let mut seen = 0;
    loop {
        assert_eq!(page.body["totalSize"], 600);
        seen += page.body["records"].as_array().unwrap().len();
        match page.body["nextRecordsUrl"].as_str() {
            Some(next) => {
                assert_eq!(page.body["done"], false);
                assert!(next.starts_with("/services/data/v68.0/query/01g"), "{next}");
                page = {
                    let next = next.to_owned();
                    small.get(&next)
                };
            }
            None => break,
        }
    }
    assert_eq!((seen, &page.body["done"]), (600, &json!(true)));
    let first = small.query("SELECT LastName FROM Lead");
    let next = first.body["nextRecordsUrl"].as_str().unwrap();
    org.clock.advance(Duration::from_secs(3 * 24 * 3600));
    assert_eq!(small.get(next).code(), "INVALID_QUERY_LOCATOR");
    assert_eq!(small.get("/query/01gxx-2000").code(), "INVALID_QUERY_LOCATOR");
    assert_eq!(org.with("sforce-query-options", "batchSize=x").query("SELECT Id FROM Lead").code(), "INVALID_BATCH_SIZE");
}

#[test]
fn collections_answer_row_by_row() {
    let org = Org::new();
    let row = |last: Value, key: &str| json!({"attributes": {"type": "Lead"}, "LastName": last, "Company": "Acme", "External_Id__c": key});
    let records = json!([row(json!("A"), "a"), row(Value::Null, "b"), row(json!("C"), "c")]);
    let path = "/composite/sobjects/Lead/External_Id__c";
    let undone = org.patch(path, json!({"allOrNone": true, "records": records})).body;
    assert_eq!(undone[0]["errors"][0]["statusCode"], "ALL_OR_NONE_OPERATION_ROLLED_BACK");
    assert_eq!(undone[0]["success"], false);
    assert!(undone[0]["id"].is_string());
    assert_eq!(undone[1]["errors"][0]["statusCode"], "REQUIRED_FIELD_MISSING");
    assert_eq!(org.query("SELECT COUNT() FROM Lead").body["totalSize"], 0);
    let partly = org.patch(path, json!({"allOrNone": false, "records": records})).body;
    assert_eq!([&partly[0]["created"], &partly[1]["success"], &partly[2]["success"]], [&json!(true), &json!(false), &json!(true)]);
    let again = org.patch(path, json!({"records": records})).body;
    assert_eq!((&again[0]["created"], &again[0]["id"]), (&json!(false), &partly[0]["id"]));
    let id = partly[0]["id"].as_str().unwrap();
    let update = json!({"records": [{"attributes": {"type": "Lead"}, "id": id, "Title": "T"}, {"attributes": {"type": "Lead"}, "Title": "T"},
        {"attributes": {"type": "Lead"}, "id": "00Q000000000001EAA", "Title": "T"}]});
    let updated = org.patch("/composite/sobjects", update).body;
    assert_eq!(updated[0], json!({"id": id, "success": true, "errors": []}));
    assert_eq!(updated[1]["errors"][0]["statusCode"], "MISSING_ARGUMENT");
    assert_eq!(updated[2]["errors"][0]["statusCode"], "INVALID_CROSS_REFERENCE_KEY");
    let got = org.get(&format!("/composite/sobjects/Lead?ids={id},00Q000000000001EAA&fields=Title")).body;
    assert_eq!((&got[0]["Title"], &got[1]), (&json!("T"), &Value::Null));
    let got = org.post("/composite/sobjects/Lead", json!({"ids": [id], "fields": ["Id", "LastName"]})).body;
    assert_eq!(got[0]["LastName"], "A");
    let deleted = org.delete(&format!("/composite/sobjects?ids={id},nonsense&allOrNone=false")).body;
    assert_eq!((&deleted[0]["success"], &deleted[1]["errors"][0]["statusCode"]), (&json!(true), &json!("MALFORMED_ID")));
    let many: Vec<Value> = (0..201).map(|n| row(json!("X"), &n.to_string())).collect();
    assert_eq!(org.post("/composite/sobjects", json!({"records": many})).status, 400);
    assert_eq!(org.post("/composite/sobjects", json!({"records": [{"LastName": "no type"}]})).status, 400);
    let unknown = json!({"records": [{"attributes": {"type": "Lead"}, "LastName": "A", "Company": "B", "Nope__c": 1}]});
    assert_eq!(org.post("/composite/sobjects", unknown).body[0]["errors"][0]["statusCode"], "INVALID_FIELD");
}

#[test]
fn composite_references_and_rolls_back() {
    let org = Org::new();
    let v = "/services/data/v68.0/sobjects";
    let request = |last: Value| {
        json!({"allOrNone": true, "compositeRequest": [
            {"method": "POST", "url": format!("{v}/Account"), "referenceId": "acc", "body": {"Name": "A"}},
            {"method": "POST", "url": format!("{v}/Contact"), "referenceId": "con", "body": {"LastName": last, "AccountId": "@{acc.id}"}},
            {"method": "GET", "url": format!("{v}/Contact/@{{con.id}}?fields=AccountId"), "referenceId": "get"}]})
    };
    let bad = org.post("/composite", request(Value::Null));
    assert_eq!(bad.status, 200);
    assert_eq!(bad.body["compositeResponse"][0]["body"][0]["errorCode"], "PROCESSING_HALTED");
    assert_eq!(bad.body["compositeResponse"][1]["body"][0]["errorCode"], "REQUIRED_FIELD_MISSING");
    assert_eq!(org.query("SELECT COUNT() FROM Account").body["totalSize"], 0);
    let good = org.post("/composite", request(json!("B"))).body;
    assert_eq!(good["compositeResponse"][0]["httpStatusCode"], 201);
    assert!(good["compositeResponse"][0]["httpHeaders"]["Location"].is_string());
    assert_eq!(good["compositeResponse"][2]["body"]["AccountId"], good["compositeResponse"][0]["body"]["id"]);
    let wrong = json!({"compositeRequest": [{"method": "GET", "url": "/sobjects", "referenceId": "x"}]});
    assert_eq!(org.post("/composite", wrong).status, 400);
    let batch = org.post("/composite/batch", json!({"haltOnError": true, "batchRequests": [
        {"method": "GET", "url": "v68.0/limits"}, {"method": "POST", "url": "v68.0/sobjects/Lead", "richInput": {}}, {"method": "GET", "url": "v68.0/limits"}]}));
    assert_eq!(batch.body["hasErrors"], true);
    let codes: Vec<_> = batch.body["results"].as_array().unwrap().iter().map(|result| result["statusCode"].as_u64().unwrap()).collect();
    assert_eq!(codes, [200, 400, 412]);
    let tree = |last: Value| {
        json!({"records": [{"attributes": {"type": "Account", "referenceId": "r1"}, "Name": "T",
        "Contacts": {"records": [{"attributes": {"type": "Contact", "referenceId": "r2"}, "LastName": last}]}}]})
    };
    let failed = org.post("/composite/tree/Account", tree(Value::Null));
    assert_eq!((failed.status, &failed.body["hasErrors"]), (400, &json!(true)));
    assert_eq!(failed.body["results"][0]["referenceId"], "r2");
    assert_eq!(org.query("SELECT COUNT() FROM Account WHERE Name = 'T'").body["totalSize"], 0);
    assert_eq!(org.post("/composite/tree/Account", tree(json!("K"))).status, 201);
    assert_eq!(org.query("SELECT COUNT() FROM Contact WHERE Account.Name = 'T'").body["totalSize"], 1);
    let graph = org.post("/composite/graph", json!({"graphs": [
        {"graphId": "1", "compositeRequest": [{"method": "POST", "url": format!("{v}/Account"), "referenceId": "a", "body": {"Name": "G"}}]},
        {"graphId": "2", "compositeRequest": [{"method": "POST", "url": format!("{v}/Account"), "referenceId": "a", "body": {}}]}]})).body;
    assert_eq!((&graph["graphs"][0]["isSuccessful"], &graph["graphs"][1]["isSuccessful"]), (&json!(true), &json!(false)));
}

#[test]
fn campaign_members_follow_their_rules() {
    let org = Org::new();
    let lead = org.lead("A");
    let campaign = org.post("/sobjects/Campaign", json!({"Name": "Spring", "Marketing_Campaign_ID__c": "c1"})).id();
    let member = |body: Value| {
        let mut all = json!({"CampaignId": campaign});
        all.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        org.post("/sobjects/CampaignMember", all)
    };
    assert_eq!(member(json!({"LeadId": lead, "HasResponded": true})).code(), "INVALID_FIELD_FOR_INSERT_UPDATE");
    assert_eq!(member(json!({})).status, 400);
    let contact = org.post("/sobjects/Contact", json!({"LastName": "C"})).id();
    assert_eq!(member(json!({"LeadId": lead, "ContactId": contact})).status, 400);
    let made = member(json!({"LeadId": lead}));
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(member(json!({"LeadId": lead})).code(), "DUPLICATE_VALUE");
    let path = format!("/sobjects/CampaignMember/{}", made.id());
    assert_eq!(org.get(&path).body["Status"], "Sent");
    assert_eq!(org.patch(&path, json!({"Status": "Responded"})).status, 204);
    let row = org.get(&path).body;
    assert_eq!((&row["HasResponded"], &row["FirstRespondedDate"]), (&json!(true), &json!("2026-01-01")));
    assert_eq!(org.patch(&path, json!({"LeadId": lead})).code(), "INVALID_FIELD_FOR_INSERT_UPDATE");
    org.delete(&format!("/sobjects/Lead/{lead}"));
    assert_eq!(org.query("SELECT COUNT() FROM CampaignMember").body["totalSize"], 0);
}

#[test]
fn tokens_are_renewed_rotated_and_revoked() {
    let org = Org::new();
    let access = org.sandbox.salesforce("http://localhost/");
    assert_eq!(access.instance_url, "http://localhost");
    let refresh = |token: &str, secret: &str| {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", &access.client_id), ("client_secret", secret)];
        org.form("/services/oauth2/token", &form)
    };
    let fresh = refresh(&access.refresh_token, &access.client_secret);
    assert_eq!(fresh.status, 200);
    assert_eq!(fresh.body["instance_url"], "http://localhost");
    assert!(fresh.body["issued_at"].is_string() && fresh.body.get("refresh_token").is_none());
    let token = fresh.body["access_token"].as_str().unwrap().to_owned();
    assert_eq!(Org { token: token.clone(), ..Org::over(org.sandbox.clone(), Arc::clone(&org.clock)) }.get("/limits").status, 200);
    assert_eq!(refresh(&access.refresh_token, "wrong").body["error"], "invalid_client");
    assert_eq!(refresh("nonsense", &access.client_secret).body["error"], "invalid_grant");
    org.sandbox.set_options(|options| options.rotate_refresh_tokens = true).unwrap();
    let rotated = refresh(&access.refresh_token, &access.client_secret);
    let second = rotated.body["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(refresh(&access.refresh_token, &access.client_secret).body["error_description"], "expired access/refresh token");
    assert_eq!(refresh(&second, &access.client_secret).status, 400, "the whole family is dead");
    assert_eq!(org.get("/limits").status, 401);
    let form =
        [("grant_type", "client_credentials"), ("client_id", access.client_id.as_str()), ("client_secret", access.client_secret.as_str())];
    let by_client = org.form("/salesforce/services/oauth2/token", &form);
    assert_eq!(by_client.status, 200);
    let token = by_client.body["access_token"].as_str().unwrap();
    assert_eq!(org.form("/services/oauth2/revoke", &[("token", token)]).status, 200);
    assert_eq!(org.form("/services/oauth2/token", &[("grant_type", "password")]).body["error"], "unsupported_grant_type");
}

#[test]
fn the_code_flow_checks_pkce() {
    let org = Org::new();
    let access = org.sandbox.salesforce("http://localhost");
    // RFC 7636, appendix B.
    let (verifier, challenge) = ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let code = || {
        let query = format!(
            "response_type=code&client_id={}&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&state=s1&code_challenge={challenge}&code_challenge_method=S256",
            access.client_id
        );
        let answer = org.get(&format!("/services/oauth2/authorize?{query}"));
        assert_eq!(answer.status, 302);
        let url = url::Url::parse(answer.header("location")).unwrap();
        assert!(url.query_pairs().any(|(name, value)| name == "state" && value == "s1"));
        url.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    };
    let exchange = |code: &str, verifier: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", "https://app.example/cb"),
            ("client_id", &access.client_id),
            ("client_secret", &access.client_secret),
            ("code_verifier", verifier),
        ];
        org.form("/services/oauth2/token", &form)
    };
    let once = code();
    let good = exchange(&once, verifier);
    assert_eq!(good.status, 200, "{}", good.body);
    assert!(good.body["refresh_token"].is_string());
    assert_eq!(exchange(&once, verifier).body["error"], "invalid_grant");
    assert_eq!(exchange(&code(), "wrong").body["error"], "invalid_grant");
}

#[test]
fn faults_strike_as_scripted() {
    let org = Org::new();
    let lead = json!({"LastName": "X", "Company": "Y"});
    org.sandbox.fault(Fault::new(FaultKind::TooManyRequests { retry_after: Some("7".into()) }));
    let answer = org.get("/limits");
    assert_eq!((answer.status, answer.header("retry-after")), (429, "7"));
    org.sandbox.fault(Fault::new(FaultKind::DropAfter).method("POST"));
    assert_eq!(org.get("/limits").status, 200);
    assert_eq!(org.try_send("POST", "/sobjects/Lead", Some(lead.clone())).err(), Some(HttpErrorKind::Sent));
    assert_eq!(org.sandbox.records("Lead").len(), 1);
    org.sandbox.fault(Fault::new(FaultKind::DropBefore));
    assert_eq!(org.try_send("POST", "/sobjects/Lead", Some(lead.clone())).err(), Some(HttpErrorKind::Sent));
    assert_eq!(org.sandbox.records("Lead").len(), 1);
    org.sandbox.fault(Fault::new(FaultKind::Truncate));
    assert_eq!(org.try_send("GET", "/limits", None).err(), Some(HttpErrorKind::Body));
    org.sandbox.fault(Fault::new(FaultKind::RowLock { rows: vec![1] }).contains("/composite/sobjects"));
    let record = json!({"attributes": {"type": "Lead"}, "LastName": "X", "Company": "Y"});
    let rows = org.post("/composite/sobjects", json!({"records": [record, record, record]})).body;
    assert_eq!(rows[1]["errors"][0]["statusCode"], "UNABLE_TO_LOCK_ROW");
    assert_eq!((&rows[0]["success"], &rows[2]["success"]), (&json!(true), &json!(true)));
    org.sandbox.fault(Fault::new(FaultKind::RowLock { rows: vec![] }));
    assert_eq!(org.post("/sobjects/Lead", lead.clone()).code(), "UNABLE_TO_LOCK_ROW");
    org.sandbox.fault(Fault::new(FaultKind::Delay { millis: 1500 }));
    org.post("/sobjects/Lead", lead.clone());
    assert_eq!(org.column("SELECT CreatedDate FROM Lead ORDER BY CreatedDate DESC", "CreatedDate")[0], "2026-01-01T00:00:01.000+0000");
    org.sandbox.fault(Fault::new(FaultKind::ExpireToken));
    assert_eq!(org.get("/limits").code(), "INVALID_SESSION_ID");
    assert_eq!(org.get("/limits").code(), "INVALID_SESSION_ID");
    let seen = org.sandbox.requests();
    assert_eq!((seen[0].status, seen[2].status, seen[2].method.as_str()), (429, 0, "POST"));
}

#[test]
fn the_daily_limit_ends_the_day() {
    let org = Org::new();
    org.sandbox.set_options(|options| options.daily_limit = 2).unwrap();
    assert_eq!(org.get("/limits").header("sforce-limit-info"), "api-usage=1/2");
    assert_eq!(org.get("/limits").status, 200);
    let over = org.get("/limits");
    assert_eq!((over.status, over.code()), (403, "REQUEST_LIMIT_EXCEEDED"));
    org.clock.advance(Duration::from_secs(25 * 3600));
    assert_eq!(org.get("/limits").status, 200);
}

#[test]
fn duplicate_rules_and_their_header() {
    let org = Org::new();
    let lead = json!({"LastName": "X", "Company": "Y", "Email": "x@y.org"});
    let first = org.post("/sobjects/Lead", lead.clone()).id();
    org.sandbox.set_options(|options| options.duplicate_rules.push(DuplicateRule::new("Same_Email", "Lead", &["Email"]))).unwrap();
    let hit = org.post("/sobjects/Lead", lead.clone());
    assert_eq!((hit.status, hit.code()), (400, "DUPLICATES_DETECTED"));
    let result = &hit.body[0]["duplicateResult"];
    assert_eq!(result["allowSave"], true);
    assert_eq!(result["matchResults"][0]["matchRecords"][0]["record"]["Id"], json!(first));
    assert_eq!(org.with("sforce-duplicate-rule-header", "allowSave=true").post("/sobjects/Lead", lead.clone()).status, 201);
    assert_eq!(org.with("sforce-duplicate-rule-header", "allowSave=yes").post("/sobjects/Lead", lead.clone()).status, 400);
    org.sandbox.set_options(|options| options.duplicate_rules[0].action = RuleAction::Block).unwrap();
    let blocked = org.with("sforce-duplicate-rule-header", "allowSave=true").post("/sobjects/Lead", lead.clone());
    assert_eq!(blocked.body[0]["duplicateResult"]["allowSave"], false);
    assert_eq!(org.with("sforce-auto-assign", "FALSE").post("/sobjects/Lead", json!({"LastName": "Z", "Company": "Y"})).status, 201);
    assert_eq!(org.with("sforce-auto-assign", "maybe").post("/sobjects/Lead", lead).code(), "INVALID_ASSIGNMENT_RULE");
}

#[test]
fn describes_and_replication() {
    let org = Org::new();
    let lead = org.get("/sobjects/Lead/describe");
    let fields = lead.body["fields"].as_array().unwrap();
    let field = |name: &str| fields.iter().find(|field| field["name"] == name).unwrap();
    assert_eq!((&field("Email")["type"], &field("Email")["length"]), (&json!("email"), &json!(80)));
    assert_eq!(field("External_Id__c")["externalId"], true);
    assert_eq!(field("OwnerId")["referenceTo"], json!(["User", "Group"]));
    assert_eq!(field("LeadSource")["picklistValues"][0]["value"], "Web");
    assert!(field("Conversion_Path__c")["filterable"] == false);
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| field["nillable"] == false && field["defaultedOnCreate"] == false && field["createable"] == true)
        .map(|field| field["name"].as_str().unwrap())
        .collect();
    assert_eq!(required, ["LastName", "Company"]);
    assert_eq!(org.with("if-modified-since", "Thu, 01 Jan 2026 00:00:00 GMT").get("/sobjects/Lead/describe").status, 304);
    assert_eq!(org.with("if-modified-since", "Wed, 31 Dec 2025 00:00:00 GMT").get("/sobjects/Lead/describe").status, 200);
    assert!(org.get("/sobjects").body["sobjects"].as_array().unwrap().iter().any(|object| object["keyPrefix"] == "00v"));
    let (a, b) = (org.lead("A"), org.lead("B"));
    org.delete(&format!("/sobjects/Lead/{b}"));
    org.clock.advance(Duration::from_secs(120));
    let window = format!("start={}&end={}", enc("2026-01-01T00:00:00+00:00"), enc("2026-01-01T00:02:00+00:00"));
    assert_eq!(org.get(&format!("/sobjects/Lead/updated/?{window}")).body["ids"], json!([a]));
    let deleted = org.get(&format!("/sobjects/Lead/deleted/?{window}")).body;
    assert_eq!((&deleted["deletedRecords"][0]["id"], &deleted["latestDateCovered"]), (&json!(b), &json!("2026-01-01T00:02:00.000+0000")));
    let old = format!("start={}&end={}", enc("2025-11-01T00:00:00Z"), enc("2026-01-01T00:02:00Z"));
    assert_eq!(org.get(&format!("/sobjects/Lead/updated?{old}")).code(), "INVALID_REPLICATION_DATE");
}

#[test]
fn others_edit_the_org() {
    let org = Org::new();
    let fields: Fields = [("LastName", json!("Theirs")), ("Company", json!("Y"))].into_iter().collect();
    let id: RecordId = org.sandbox.create("Lead", &fields).unwrap();
    let converted: Fields = [("IsConverted", true)].into_iter().collect();
    org.sandbox.update("Lead", &id, &converted).unwrap();
    assert_eq!(org.patch(&format!("/sobjects/Lead/{id}"), json!({"Title": "T"})).code(), "CANNOT_UPDATE_CONVERTED_LEAD");
    assert_eq!(org.query("SELECT CreatedBy.Name FROM Lead").body["records"][0]["CreatedBy"]["Name"], "Sandy Sales");
    let error = org.sandbox.create("Lead", &Fields::new()).unwrap_err();
    assert_eq!(error.code(), Some("REQUIRED_FIELD_MISSING"));
    org.sandbox.delete("Lead", &id).unwrap();
    assert!(org.sandbox.records("Lead").is_empty());
    let fields = vec![FieldDef::text("Name", 80), FieldDef::lookup("Parent__c", ["Account"], "Parent__r").children("Invoices__r")];
    org.sandbox.add_object(ObjectDef::new("Invoice__c", "a00", fields)).unwrap();
    assert_eq!(org.post("/sobjects/Invoice__c", json!({"Name": "I-1"})).status, 201);
    assert_eq!(org.get("/_sandbox/state").body["salesforce"]["Invoice__c"][0]["Name"], "I-1");
    assert_eq!(org.post("/_sandbox/faults", json!({"kind": "unavailable", "html": true})).status, 201);
    let down = org.get("/limits");
    assert_eq!((down.status, down.header("content-type")), (503, "text/html; charset=UTF-8"));
    assert_eq!(org.post("/_sandbox/options", json!({"daily_limit": 5})).status, 204);
    assert_eq!(org.sandbox.options().daily_limit, 5);
    assert_eq!(org.get("/_sandbox/requests").body.as_array().unwrap().len(), org.sandbox.requests().len());
    assert_eq!(org.delete("/_sandbox/state").status, 204);
    assert_eq!(org.sandbox.records("Invoice__c").len(), 0);
}

#[test]
fn the_same_seed_says_the_same() {
    let story = |seed: u64| {
        let org = Org::seeded(seed);
        let id = org.lead("A");
        (org.token.clone(), id, org.query("SELECT FIELDS(ALL) FROM Lead LIMIT 10").body)
    };
    assert_eq!(story(5), story(5));
    assert_ne!(story(5).1, story(6).1);
}

#[test]
fn a_world_on_disk_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let (host, clock) = Host::manual_with_clock(3);
        Org::over(Sandbox::open(host, 3, dir.path()).unwrap(), clock)
    };
    let org = open();
    org.sandbox.add_field("Lead", FieldDef::text("Extra__c", 10).unique()).unwrap();
    let id = org.post("/sobjects/Lead", json!({"LastName": "Kept", "Company": "Y", "Extra__c": "e", "Email": "k@x.org"})).id();
    let gone = org.lead("Gone");
    org.delete(&format!("/sobjects/Lead/{gone}"));
    let form = [("grant_type", "client_credentials")];
    let access = org.sandbox.salesforce("http://localhost");
    let mut form = form.to_vec();
    form.extend([("client_id", access.client_id.as_str()), ("client_secret", access.client_secret.as_str())]);
    let token = org.form("/services/oauth2/token", &form).body["access_token"].as_str().unwrap().to_owned();
    // Nothing is closed in order: the log alone must do.
    std::mem::forget(org);
    for _ in 0..2 {
        let org = Org { token: token.clone(), ..open() };
        assert_eq!(org.column("SELECT Id FROM Lead WHERE Email = 'k@x.org'", "Id"), std::slice::from_ref(&id));
        assert_eq!(org.get(&format!("/sobjects/Lead/{id}")).body["Extra__c"], "e");
        assert_eq!(org.delete(&format!("/sobjects/Lead/{gone}")).code(), "ENTITY_IS_DELETED");
    }
    let org = open();
    let next = org.lead("Next");
    assert!(next > gone, "ids go on where they stopped");
    assert_eq!(org.post("/sobjects/Lead", json!({"LastName": "K", "Company": "Y", "Extra__c": "E"})).code(), "DUPLICATE_VALUE");
}

#[test]
fn ten_thousand_rows_are_no_matter() {
    let org = Org::new();
    let clock = crm_sync::host::SystemClock::new();
    for round in 0..2 {
        for batch in 0..50 {
            let records: Vec<Value> = (0..200)
                .map(|n| {
                    let key = batch * 200 + n;
                    json!({"attributes": {"type": "Lead"}, "LastName": format!("L{key}"), "Company": "Acme", "Email": format!("{key}@x.org"),
                        "External_Id__c": format!("k{key}"), "Title": format!("round {round}")})
                })
                .collect();
            let answer = org.patch("/composite/sobjects/Lead/External_Id__c", json!({"records": records}));
            assert_eq!(answer.body[199]["success"], true);
        }
    }
    assert_eq!(org.query("SELECT COUNT() FROM Lead").body["totalSize"], 10_000);
    assert_eq!(org.column("SELECT Title FROM Lead WHERE Email = '9999@x.org'", "Title"), ["round 1"]);
    println!("20,000 upserts took {:?}", crm_sync::host::Clock::monotonic(&clock));
}

/// The same function over a socket: keep-alive, many connections in one future, drops and shutdown.
#[test]
fn serves_over_loopback() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let sandbox = Sandbox::new(Host::tokio(), 1);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let token = sandbox.salesforce("").access_token;
        let talk = async {
            let request = format!("GET /services/data/v68.0/limits HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
            let mut streams = Vec::new();
            for _ in 0..8 {
                streams.push(tokio::net::TcpStream::connect(address).await.unwrap());
            }
            for stream in streams.iter_mut().chain([]) {
                for _ in 0..2 {
                    stream.write_all(request.as_bytes()).await.unwrap();
                    let mut head = vec![0; 4096];
                    let read = stream.read(&mut head).await.unwrap();
                    assert!(String::from_utf8_lossy(&head[..read]).starts_with("HTTP/1.1 200"), "keep-alive");
                }
            }
            sandbox.fault(Fault::new(FaultKind::DropAfter));
            streams[0].write_all(request.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let read = streams[0].read_to_end(&mut rest).await;
            assert!(read.is_err() || rest.is_empty(), "no answer after a drop");
            sandbox.fault(Fault::new(FaultKind::Truncate));
            streams[1].write_all(request.as_bytes()).await.unwrap();
            let mut rest = Vec::new();
            let _ = streams[1].read_to_end(&mut rest).await;
            assert!(rest.starts_with(b"HTTP/1.1 200") && !rest.ends_with(b"}"), "half an answer");
            stop.send(()).unwrap();
        };
        let (served, ()) = futures_util::future::join(sandbox.serve(listener, stopped), talk).await;
        served.unwrap();
    });
    assert!(runtime.metrics().num_alive_tasks() == 0);
}
