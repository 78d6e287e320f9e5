//! The definitions in `examples/custom` are read, are what the JSON Schema for editors allows, and lead to the requests they
//! describe.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::fake;
#[cfg(feature = "json-schema")]
use crate::schema;

use crm_sync::adapter::{ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::custom::Definition;
use crm_sync::error::ErrorKind;
use crm_sync::model::{ChangeKind, Entity, RecordId};
use crm_sync::query::{Criteria, Query};
use fake::{body, custom, fields, query, run};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

fn examples() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/custom");
    let mut found: Vec<(String, String)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(&path).unwrap()))
        .collect();
    found.sort();
    assert!(found.len() >= 12, "{} definitions", found.len());
    found
}

#[test]
fn every_example_is_read() {
    for (name, text) in examples() {
        Definition::from_yaml(&text, &name).unwrap_or_else(|error| panic!("{}", error.message()));
    }
}

#[test]
fn the_guides_crm_takes_ten_lines() {
    let text = include_str!("../../examples/custom/guide.yaml");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).count();
    assert!(lines <= 10, "{lines}");
}

/// The same text as YAML, JSON and TOML is the same definition.
#[test]
fn three_notations_one_definition() {
    for (name, text) in examples() {
        let yaml = Definition::from_yaml(&text, &name).unwrap();
        let tree: Value = as_json(&text);
        assert_eq!(Definition::from_json(&tree.to_string(), "x.json").unwrap(), yaml, "{name}");
    }
    let toml = "name = \"x\"\nbase_url = \"https://x.io\"\n[auth]\ntype = \"bearer\"\nsecret = \"k\"\n[entities.a.create]\n";
    let yaml = "name: x\nbase_url: https://x.io\nauth: {type: bearer, secret: k}\nentities: {a: {create: {}}}\n";
    assert_eq!(Definition::from_toml(toml, "x.toml").unwrap(), Definition::from_yaml(yaml, "x.yaml").unwrap());
}

/// YAML by way of a definition's own reader is not at hand here; a second parser reads it.
fn as_json(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).unwrap()
}

#[cfg(feature = "json-schema")]
#[test]
fn the_schema_for_editors_accepts_what_is_right_and_refuses_a_typo() {
    let schema = Definition::json_schema();
    for (name, text) in examples() {
        let problem = schema::misfit(&schema, &schema, &as_json(&text), "");
        assert_eq!(problem, None, "{name}");
    }
    let guide = as_json(include_str!("../../examples/custom/guide.yaml"));
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut tree = guide.clone();
        change(&mut tree);
        tree
    };
    for (what, tree) in [
        ("a key of the whole", wrong(&|tree| tree["bse_url"] = json!("x"))),
        ("a key of the login", wrong(&|tree| tree["auth"] = json!({"type": "bearer", "secrt": "k"}))),
        ("a kind of login", wrong(&|tree| tree["auth"]["type"] = json!("beaerer"))),
        ("a key of an operation", wrong(&|tree| tree["defaults"]["create"]["pth"] = json!("/x"))),
        ("an operator", wrong(&|tree| tree["defaults"]["search"]["filter"]["operators"]["eqq"] = json!("x"))),
        ("a missing base URL", wrong(&|tree| drop(tree.as_object_mut().unwrap().remove("base_url")))),
    ] {
        assert!(schema::misfit(&schema, &schema, &tree, "").is_some(), "{what} was accepted");
        assert!(Definition::from_json(&tree.to_string(), "x.json").is_err(), "{what} was read");
    }
}

#[test]
fn odata_by_its_definition() {
    let rows = |from: usize, next: bool| {
        let rows: Vec<Value> = (from..from + 2)
            .map(|n| json!({"leadid": n.to_string(), "@odata.etag": "W/\"1\"", "name": "x", "modifiedon": "2026-01-01T00:00:00Z"}))
            .collect();
        let mut body = json!({"value": rows});
        if next {
            body["@odata.nextLink"] = json!("https://acme.crm.example/api/data/v9.2/leads?$skiptoken=2");
        }
        body
    };
    let (builder, log) = custom(include_str!("../../examples/custom/odata.yaml"), move |request| {
        if request.uri().host() == Some("login.example") {
            assert!(std::str::from_utf8(request.body()).unwrap().contains("grant_type=client_credentials"));
            return (200, vec![], json!({"access_token": "t", "expires_in": 3600}));
        }
        assert_eq!(request.headers()["odata-version"], "4.0");
        match (request.method().as_str(), request.uri().path()) {
            ("GET", "/api/data/v9.2/leads") if query(request, "$skiptoken").is_some() => (200, vec![], rows(2, false)),
            ("GET", "/api/data/v9.2/leads") => {
                if let Some(filter) = query(request, "$filter") {
                    assert_eq!(filter, "(name eq 'O''Neil' or score gt 5) and contains(city,'x')");
                }
                (200, vec![], rows(0, true))
            }
            ("GET", "/api/data/v9.2/leads(7)") => (200, vec![], json!({"leadid": "7", "@odata.etag": "W/\"3\""})),
            ("PATCH", "/api/data/v9.2/leads(7)") => {
                assert_eq!(request.headers()["if-match"], "W/\"3\"");
                (412, vec![], json!({"error": {"code": "0x80060882", "message": "the version does not match"}}))
            }
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("client_secret", "s3".to_owned()).build().unwrap();
    let leads = Entity::from_static("leads");
    let condition = Criteria::parse("(name = 'O\\'Neil' OR score > 5) AND city LIKE '%x%'").unwrap();
    let all: Vec<_> = run(crm.search_all(Query::new(leads.clone()).filter(condition)).try_collect()).unwrap();
    assert_eq!(all.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    let record = run(crm.get(&leads, &RecordId::new("7"), &[])).unwrap().unwrap();
    let options = WriteOptions::new().if_version(record.version.unwrap());
    let error = run(crm.update(&leads, &record.id, &fields(json!({"name": "y"})), &options)).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, Some("0x80060882")));
    assert_eq!(log.lock().unwrap().len(), 5);
}

#[test]
fn graphql_by_its_definition() {
    let (builder, _) = custom(include_str!("../../examples/custom/graphql.yaml"), |request| {
        assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/graphql/"));
        let sent = body(request);
        let text = sent["query"].as_str().unwrap();
        let variables = &sent["variables"];
        let answer = if text.starts_with("query($where") {
            assert_eq!(variables["first"], 100);
            if variables.get("after").is_none() {
                assert_eq!(variables["where"], json!({"OR": [{"email": {"eq": "a@b.c"}}, {"name": {"in": ["x", "y"]}}]}));
                json!({"contacts": {"nodes": [{"id": "1"}], "pageInfo": {"endCursor": "c1", "hasNextPage": true}}})
            } else {
                json!({"contacts": {"nodes": [{"id": "2"}], "pageInfo": {"endCursor": "c2", "hasNextPage": false}}})
            }
        } else if text.starts_with("query($id") {
            let code = if variables["id"] == "9" { "NOT_FOUND" } else { "THROTTLED" };
            return (200, vec![], json!({"data": null, "errors": [{"message": "no", "extensions": {"code": code}}]}));
        } else {
            assert_eq!(text, "mutation($input: ContactInput!) { createContact(input: $input) { id } }");
            assert_eq!(variables["input"], json!({"email": "n@b.c"}));
            json!({"createContact": {"id": "3"}})
        };
        (200, vec![], json!({"data": answer}))
    });
    let crm = builder.secret("token", "t".to_owned()).build().unwrap();
    let contacts = Entity::from_static("contacts");
    let condition = Criteria::eq("email", "a@b.c").or(Criteria::one_of("name", ["x", "y"]));
    let all: Vec<_> = run(crm.search_all(Query::new(contacts.clone()).filter(condition)).try_collect()).unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(run(crm.create(&contacts, &fields(json!({"email": "n@b.c"})), &WriteOptions::new())).unwrap().id.as_str(), "3");
    assert_eq!(run(crm.get(&contacts, &RecordId::new("9"), &[])).unwrap(), None);
    let error = run(crm.get(&contacts, &RecordId::new("8"), &[])).unwrap_err();
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(std::time::Duration::from_secs(2))));
}

#[test]
fn an_older_service_by_its_definition() {
    let (builder, log) = custom(include_str!("../../examples/custom/session.yaml"), |request| {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(request.body()).into_owned().collect();
        let has = |name: &str, value: &str| form.iter().any(|(key, text)| key == name && text == value);
        match (request.method().as_str(), request.uri().path()) {
            ("POST", "/rest/login") => {
                assert!(has("user", "sync") && has("password", "p4ss"));
                (200, vec![], json!({"session": {"id": "s1", "next": "r1", "seconds": 600}}))
            }
            ("GET", "/rest/contacts") => {
                assert_eq!(
                    (request.headers()["range"].to_str().unwrap(), query(request, "filter[score][from]").as_deref()),
                    ("items=0-199", Some("5"))
                );
                (206, vec![("content-range", "items 0-0/1".to_owned())], json!([{"id": 1}]))
            }
            ("GET", "/rest/contacts/2") => (403, vec![], json!({"code": "FORBIDDEN"})),
            ("POST", "/rest/contacts") => (200, vec![], json!({"success": "false", "message": "no"})),
            ("DELETE", "/rest/contacts/2") => (403, vec![], json!({"code": "FORBIDDEN"})),
            ("POST", "/rest/contacts/1") => (503, vec![("content-type", "text/html".to_owned())], json!("<html>maintenance</html>")),
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("password", "p4ss".to_owned()).build().unwrap();
    let contacts = Entity::from_static("contacts");
    let filter = Criteria::compare("score", crm_sync::query::Operator::Gte, 5);
    assert_eq!(run(crm.search(&Query::new(contacts.clone()).filter(filter))).unwrap().items.len(), 1);
    assert_eq!(run(crm.get(&contacts, &RecordId::new("2"), &[])).unwrap(), None);
    let options = WriteOptions::new();
    assert_eq!(run(crm.create(&contacts, &fields(json!({"a": 1})), &options)).unwrap_err().kind(), ErrorKind::Validation);
    run(crm.delete(&contacts, &RecordId::new("2"), &options)).unwrap();
    let error = run(crm.update(&contacts, &RecordId::new("1"), &fields(json!({"a": 1})), &options)).unwrap_err();
    assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(60)));
    assert!(error.may_have_applied());
    assert_eq!(log.lock().unwrap().iter().filter(|line| line.ends_with("/login")).count(), 1);
}

#[test]
fn signed_tokens_revisions_and_a_list_of_the_deleted() {
    let (builder, log) = custom(include_str!("../../examples/custom/signed.yaml"), |request| {
        let token = request.headers()["authorization"].to_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned();
        assert_eq!(token.split('.').count(), 3);
        match (request.method().as_str(), request.uri().path()) {
            ("POST", "/v2/contacts") => {
                assert_eq!(request.headers()["idempotency-key"], "k1");
                (201, vec![], json!({"id": 1, "revision": 4}))
            }
            ("PATCH", "/v2/contacts/1") => {
                assert_eq!(body(request), json!({"name": "x", "revision": 4}));
                (204, vec![], Value::Null)
            }
            ("GET", "/v2/contacts/1") => (200, vec![], json!({"id": 1, "revision": 5})),
            ("GET", "/v2/contacts") => {
                let rows = json!([{"id": 1, "revision": 5, "updated_at": "2026-01-02T00:00:00Z"}]);
                (200, vec![], json!({"items": rows, "more": false}))
            }
            ("GET", "/v2/contacts/deleted") => {
                let since = query(request, "deleted_since");
                let rows = if since.is_some_and(|since| since.as_str() > "2026-01-03T12") {
                    json!([])
                } else {
                    json!([{"id": 2, "deleted_at": "2026-01-03T00:00:00Z"}])
                };
                (200, vec![], json!({"items": rows, "more": false}))
            }
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("signing_key", "sh4red".to_owned()).build().unwrap();
    let contacts = Entity::from_static("contacts");
    let made = run(crm.create(&contacts, &fields(json!({"name": "a"})), &WriteOptions::new().idempotency_key("k1"))).unwrap();
    let guarded = WriteOptions::new().if_version(made.version.unwrap());
    let written = run(crm.update(&contacts, &made.id, &fields(json!({"name": "x"})), &guarded)).unwrap();
    // The answer was empty: the new revision was read.
    assert_eq!(written.version.unwrap().as_str(), "5");
    let mut feed = ChangeFeed::new(contacts, Since::At("2026-01-01T00:00:00Z".parse().unwrap()));
    feed.deletes = true;
    let mut told = Vec::new();
    for turn in 0.. {
        assert!(turn < 10, "the feed does not stand still: {:?}", log.lock().unwrap());
        let page = run(crm.changes(&feed)).unwrap();
        told.extend(page.items.into_iter().map(|change| (change.id.into_string(), change.kind)));
        let next = Since::Cursor(page.next.unwrap());
        if next == feed.since {
            break;
        }
        feed.since = next;
    }
    assert_eq!(told[..2], [("1".to_owned(), ChangeKind::Updated), ("2".to_owned(), ChangeKind::Deleted)]);
    let asked = log.lock().unwrap();
    assert!(
        asked.iter().any(|line| line.contains("/contacts/deleted?") && line.contains("deleted_since=2026-01-01T00%3A00%3A00.000Z")),
        "{asked:?}"
    );
}
