//! Searches and the paging of children, spoken to in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::raw_http;

use raw_http::{Answer, Org, enc};
use serde_json::{Value, json};

fn search(org: &Org, sosl: &str) -> Answer {
    org.get(&format!("/search?q={}", enc(sosl)))
}

fn found(answer: &Answer, field: &str) -> Vec<String> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    let rows = answer.body["searchRecords"].as_array().unwrap();
    rows.iter().map(|row| row[field].as_str().unwrap_or("").to_owned()).collect()
}

fn people() -> Org {
    let org = Org::new();
    for (kind, first, last, email) in [
        ("Lead", "Ann", "Archer", "ann@acme.example"),
        ("Lead", "Bob", "Barker", "bob@acme.example"),
        ("Contact", "Ann", "Cole", "cole@other.example"),
    ] {
        let mut fields = json!({"FirstName": first, "LastName": last, "Email": email, "Phone": "(415) 555-0100"});
        if kind == "Lead" {
            fields["Company"] = json!("O'Neill & Sons");
        }
        assert_eq!(org.post(&format!("/sobjects/{kind}"), fields).status, 201);
    }
    org
}

#[test]
fn a_search_finds_words_in_the_fields_of_its_group() {
    let org = people();
    let rows = search(&org, "FIND {ann} IN NAME FIELDS RETURNING Lead(Id, LastName), Contact(Id, LastName)");
    assert_eq!(found(&rows, "LastName"), ["Archer", "Cole"]);
    let first = &rows.body["searchRecords"][0];
    assert_eq!(first["attributes"]["type"], "Lead");
    assert!(first["attributes"]["url"].as_str().unwrap().starts_with("/services/data/v68.0/sobjects/Lead/00Q"));
    assert_eq!(found(&search(&org, "find {bob@acme.example} in email fields returning Lead(LastName)"), "LastName"), ["Barker"]);
    assert!(found(&search(&org, "FIND {bob@acme.example} IN NAME FIELDS RETURNING Lead(LastName)"), "LastName").is_empty());
    assert_eq!(found(&search(&org, r"FIND {O\'Neill} RETURNING Lead(LastName ORDER BY LastName DESC)"), "LastName"), ["Barker", "Archer"]);
    assert_eq!(found(&search(&org, r#"FIND {"\(415\) 555\-0100"} IN PHONE FIELDS RETURNING Contact(LastName)"#), "LastName"), ["Cole"]);
    let filtered = search(&org, "FIND {ar* OR ba*} RETURNING Lead(LastName WHERE LastName != 'Archer' LIMIT 5) LIMIT 10");
    assert_eq!(found(&filtered, "LastName"), ["Barker"]);
    // Rows are counted after the words are looked for.
    assert_eq!(found(&search(&org, "FIND {barker} RETURNING Lead(LastName ORDER BY LastName LIMIT 1)"), "LastName"), ["Barker"]);
    // Without RETURNING: ids of everything.
    let all = search(&org, "FIND {ann}");
    assert_eq!(found(&all, "Id").len(), 2);
    assert!(all.body["searchRecords"][0].get("LastName").is_none());
    assert_eq!(org.get(&format!("/services/data/v36.0/search?q={}", enc("FIND {ann}"))).body.as_array().unwrap().len(), 2);
    assert!(org.get("").body["search"].as_str().unwrap().ends_with("/search"));
}

#[test]
fn a_deleted_row_is_not_found() {
    let org = people();
    let id = found(&search(&org, "FIND {barker} RETURNING Lead"), "Id").remove(0);
    org.delete(&format!("/sobjects/Lead/{id}"));
    assert!(found(&search(&org, "FIND {barker} RETURNING Lead"), "Id").is_empty());
}

#[test]
fn searches_that_cannot_be_read_are_refused() {
    let org = people();
    for bad in ["FIND {a}", "FIND {O'Neill}", "FIND {a-b}", "FIND ann", "FIND {ann} RETURNING Lead(", "FIND {ann AND}", "ann", ""] {
        let answer = search(&org, bad);
        assert_eq!((answer.status, answer.code()), (400, "MALFORMED_SEARCH"), "{bad}: {}", answer.body);
    }
    assert_eq!(search(&org, "FIND {ann} RETURNING Nothing(Id)").code(), "INVALID_TYPE");
    assert_eq!(search(&org, "FIND {ann} RETURNING Lead(Nothing)").code(), "INVALID_FIELD");
    assert_eq!(org.get("/search").code(), "MALFORMED_SEARCH");
    assert_eq!(org.post("/search", json!({"q": "FIND {ann}"})).status, 405);
}

#[test]
fn one_object_alone_answers_with_250_rows() {
    let org = Org::new();
    let records: Vec<Value> =
        (0..200).map(|n| json!({"attributes": {"type": "Lead"}, "LastName": format!("Many {n}"), "Company": "Acme"})).collect();
    for _ in 0..2 {
        org.post("/composite/sobjects", json!({"records": records}));
    }
    assert_eq!(found(&search(&org, "FIND {many} RETURNING Lead(Id)"), "Id").len(), 250);
    assert_eq!(found(&search(&org, "FIND {many} RETURNING Lead(Id LIMIT 300)"), "Id").len(), 300);
    assert_eq!(found(&search(&org, "FIND {many} RETURNING Lead(Id WHERE Company = 'Acme'), Contact"), "Id").len(), 400);
    assert_eq!(found(&search(&org, "FIND {many} RETURNING Lead(Id LIMIT 300) LIMIT 7"), "Id").len(), 7);
}

#[test]
fn parameterized_searches_by_body_and_by_url() {
    let org = people();
    let body = json!({"q": "acme", "in": "EMAIL", "fields": ["Id", "LastName"], "overallLimit": 100, "defaultLimit": 20,
                      "sobjects": [{"name": "Lead", "where": "LastName != 'Archer'", "orderBy": "LastName", "limit": 20}, {"name": "Contact"}]});
    assert_eq!(found(&org.post("/parameterizedSearch", body), "LastName"), ["Barker"]);
    let second = json!({"q": "acme", "sobjects": [{"name": "Lead", "fields": ["LastName"], "orderBy": "LastName"}], "offset": 1});
    assert_eq!(found(&org.post("/parameterizedSearch", second), "LastName"), ["Barker"]);
    let by_url = "/parameterizedSearch?q=ann&sobject=Lead&sobject=Contact&Lead.fields=Id,LastName&Contact.fields=LastName&in=NAME";
    assert_eq!(found(&org.get(by_url), "LastName"), ["Archer", "Cole"]);
    assert_eq!(found(&org.get(&format!("{by_url}&Lead.limit=0&overallLimit=1")), "LastName"), ["Cole"]);
    assert_eq!(org.get("/parameterizedSearch").code(), "MALFORMED_SEARCH");
    assert_eq!(org.post("/parameterizedSearch", json!([])).code(), "JSON_PARSER_ERROR");
    assert_eq!(org.delete("/parameterizedSearch").status, 405);
    let many = json!({"q": "ann", "overallLimit": 5000});
    assert_eq!(org.post("/parameterizedSearch", many).code(), "MALFORMED_SEARCH");
}

#[test]
fn children_have_pages_of_their_own() {
    let org = Org::new();
    let account = org.post("/sobjects/Account", json!({"Name": "Acme"})).id();
    for batch in 0..3 {
        let records: Vec<Value> = (0..200)
            .map(|n| json!({"attributes": {"type": "Contact"}, "LastName": format!("{}", batch * 200 + n), "AccountId": account}))
            .collect();
        assert_eq!(org.post("/composite/sobjects", json!({"records": records})).status, 200);
    }
    let other = org.post("/sobjects/Account", json!({"Name": "Beta"})).id();
    let small = org.with("sforce-query-options", "batchSize=250");
    let soql = "SELECT Id, (SELECT LastName FROM Contacts ORDER BY LastName) FROM Account ORDER BY Name";
    let page = small.query(soql);
    let mut children = page.body["records"][0]["Contacts"].clone();
    let mut names = Vec::new();
    loop {
        assert_eq!(children["totalSize"], 600);
        let rows = children["records"].as_array().unwrap();
        assert!(rows.len() <= 250);
        names.extend(rows.iter().map(|row| row["LastName"].as_str().unwrap().to_owned()));
        let Some(next) = children["nextRecordsUrl"].as_str().map(str::to_owned) else { break };
        assert_eq!(children["done"], false);
        children = small.get(&next).body;
    }
    assert_eq!(children["done"], true);
    let mut wanted: Vec<String> = (0..600).map(|n| n.to_string()).collect();
    wanted.sort();
    assert_eq!(names, wanted);
    // The children fill the first page, so the second parent is on the next.
    assert_eq!((page.body["records"].as_array().unwrap().len(), &page.body["done"]), (1, &json!(false)));
    let next = small.get(page.body["nextRecordsUrl"].as_str().unwrap()).body;
    assert_eq!((&next["records"][0]["Id"], &next["records"][0]["Contacts"], &next["done"]), (&json!(other), &Value::Null, &json!(true)));
    // A page takes 2,000 rows if nothing else is said.
    let whole = org.query(soql).body;
    assert_eq!((&whole["done"], &whole["records"][0]["Contacts"]["done"]), (&json!(true), &json!(true)));
    assert!(whole["records"][0]["Contacts"].get("nextRecordsUrl").is_none());
}
