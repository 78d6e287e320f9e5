//! Servers of shapes unlike one another, each described by a small definition: what a real API of that kind asks for arrives, and
//! what it answers is understood.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::fake;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crm_sync::adapter::{BulkOp, ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::custom::{Custom, Definition};
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::model::{Entity, ExternalKey, RecordId};
use crm_sync::query::{Criteria, Query};
use fake::{body, custom, fields, query, run, with_host};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

fn ids(crm: &Custom, query: Query) -> Vec<String> {
    run(crm.search_all(query).map_ok(|record| record.id.into_string()).try_collect()).unwrap()
}

/// Criteria in a text, 204 for an empty list, statuses inside of a 200, dates with an offset, changes by a header.
#[test]
fn records_in_lists_with_a_status_each() {
    let yaml = include_str!("../../examples/custom/list-envelope.yaml");
    let (builder, _) = custom(yaml, |request| {
        assert_eq!(request.headers()["authorization"], "Zoho-oauthtoken t");
        match (request.method().as_str(), request.uri().path()) {
            ("GET", "/crm/v8/Leads/search") => match query(request, "criteria").unwrap().as_str() {
                "(Email:equals:a@b.c)and(City:equals:x)" => {
                    (200, vec![], json!({"data": [{"id": "7", "Email": "a@b.c"}], "info": {"more_records": false}}))
                }
                "(Email:equals:none)" => (204, vec![], Value::Null),
                other => panic!("{other}"),
            },
            ("GET", "/crm/v8/Leads/9") => (204, vec![], Value::Null),
            ("POST", "/crm/v8/Leads") => {
                let sent = body(request);
                if sent["data"].as_array().unwrap().len() == 2 {
                    let made = json!({"code": "SUCCESS", "status": "success", "details": {"id": "11"}});
                    let refused = json!({"code": "DUPLICATE_DATA", "status": "error", "message": "duplicate", "details": {"id": "7"}});
                    return (207, vec![], json!({"data": [made, refused]}));
                }
                assert_eq!(sent, json!({"data": [{"Email": "n@b.c", "Since": "2026-11-24T10:00:00+00:00"}]}));
                (201, vec![], json!({"data": [{"code": "SUCCESS", "status": "success", "details": {"id": "10"}}]}))
            }
            ("PUT", "/crm/v8/Leads/7") => {
                let refused = json!({"code": "INVALID_DATA", "status": "error", "message": "no", "details": {"api_name": "Email"}});
                (200, vec![], json!({"data": [refused]}))
            }
            ("DELETE", "/crm/v8/Leads/7") => (200, vec![], json!({"data": [{"code": "SUCCESS", "status": "success"}]})),
            ("GET", "/crm/v8/Leads") => {
                assert_eq!(request.headers()["if-modified-since"], "2026-11-24T10:00:00+00:00");
                (304, vec![], Value::Null)
            }
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("token", "t".to_owned()).build().unwrap();
    let leads = Entity::from_static("Leads");
    let options = WriteOptions::new();
    let both = Criteria::parse("Email = 'a@b.c' AND City = 'x'").unwrap();
    assert_eq!(ids(&crm, Query::new(leads.clone()).filter(both)), ["7"]);
    assert!(ids(&crm, Query::new(leads.clone()).filter(Criteria::eq("Email", "none"))).is_empty());
    assert_eq!(run(crm.get(&leads, &RecordId::new("9"), &[])).unwrap(), None);
    let made = run(crm.create(&leads, &fields(json!({"Email": "n@b.c", "Since": "2026-11-24T10:00:00Z"})), &options)).unwrap();
    assert_eq!(made.id.as_str(), "10");
    let error = run(crm.update(&leads, &RecordId::new("7"), &fields(json!({"Email": "x"})), &options)).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Validation, Some("INVALID_DATA")));
    run(crm.delete(&leads, &RecordId::new("7"), &options)).unwrap();
    let new = |email: &str| BulkOp::Create { fields: fields(json!({"Email": email})) };
    let outcomes = run(crm.bulk(&leads, &[new("o@b.c"), new("a@b.c")], &options)).unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().id.as_str(), "11");
    assert_eq!(outcomes[1].as_ref().unwrap_err().code(), Some("DUPLICATE_DATA"));
    let feed = ChangeFeed::new(leads, Since::At("2026-11-24T10:00:00Z".parse().unwrap()));
    assert!(run(crm.changes(&feed)).unwrap().items.is_empty());
}

/// Everything is a POST, ids are numbers, answers are bare lists, and paging is in the body.
#[test]
fn methods_instead_of_resources() {
    let yaml = include_str!("../../examples/custom/methods.yaml");
    let (builder, _) = custom(yaml, |request| {
        let sent = body(request);
        let answer = match request.uri().path() {
            "/json/2/res.partner/search_read" => {
                assert_eq!((&sent["domain"], &sent["fields"]), (&json!([["email", "=", "a@b.c"]]), &json!(["email", "id"])));
                let offset = sent["offset"].as_u64().unwrap();
                let rows: Vec<Value> = (offset..(offset + 2).min(3)).map(|id| json!({"id": id, "email": "a@b.c"})).collect();
                json!(rows)
            }
            "/json/2/res.partner/read" if sent["ids"] == json!([7]) => json!([{"id": 7, "email": "a@b.c"}]),
            "/json/2/res.partner/read" => json!([]),
            "/json/2/res.partner/create" => {
                assert_eq!(sent["vals_list"], json!([{"email": "n@b.c", "parent_id": 3}]));
                json!([8])
            }
            "/json/2/res.partner/write" => {
                assert_eq!(sent, json!({"ids": [7], "vals": {"email": "x@b.c"}}));
                json!(true)
            }
            "/json/2/res.partner/unlink" => return (404, vec![], json!({"name": "MissingError", "message": "gone"})),
            other => panic!("{other}"),
        };
        (200, vec![], answer)
    });
    let crm = builder.secret("key", "k".to_owned()).build().unwrap();
    let partners = Entity::from_static("res.partner");
    let options = WriteOptions::new();
    let all = Query::new(partners.clone()).filter(Criteria::eq("email", "a@b.c")).select(["email"]).page_size(2);
    assert_eq!(ids(&crm, all), ["0", "1", "2"]);
    assert!(run(crm.get(&partners, &RecordId::new("7"), &[])).unwrap().is_some());
    assert_eq!(run(crm.get(&partners, &RecordId::new("9"), &[])).unwrap(), None);
    assert_eq!(run(crm.create(&partners, &fields(json!({"email": "n@b.c", "parent_id": "3"})), &options)).unwrap().id.as_str(), "8");
    run(crm.update(&partners, &RecordId::new("7"), &fields(json!({"email": "x@b.c"})), &options)).unwrap();
    run(crm.delete(&partners, &RecordId::new("7"), &options)).unwrap();
}

/// JSON:API: attributes beside id and type, relationships, its own content type.
#[test]
fn attributes_and_relationships() {
    let yaml = include_str!("../../examples/custom/json-api.yaml");
    let (builder, _) = custom(yaml, |request| match (request.method().as_str(), request.uri().path()) {
        ("GET", "/contacts") => {
            assert_eq!(query(request, "filter[email]").as_deref(), Some("a@b.c"));
            let next = query(request, "page[after]")
                .is_none()
                .then_some("https://api.crm.example/contacts?filter%5Bemail%5D=a@b.c&page%5Bafter%5D=1");
            let id = if next.is_some() { "1" } else { "2" };
            (200, vec![], json!({"data": [{"type": "contacts", "id": id, "attributes": {"email": "a@b.c"}}], "links": {"next": next}}))
        }
        ("GET", "/contacts/1") => {
            let account = json!({"data": {"type": "accounts", "id": "5"}});
            (
                200,
                vec![],
                json!({"data": {"type": "contacts", "id": "1", "attributes": {"email": "a@b.c"}, "relationships": {"account": account}}}),
            )
        }
        ("POST", "/contacts") => {
            assert_eq!(request.headers()["content-type"], "application/vnd.api+json");
            let account = json!({"data": {"type": "accounts", "id": "5"}});
            let wanted = json!({"data": {"type": "contacts", "attributes": {"email": "n@b.c"}, "relationships": {"account": account}}});
            assert_eq!(body(request), wanted);
            (201, vec![], json!({"data": {"type": "contacts", "id": "3", "attributes": {}}}))
        }
        ("PATCH", "/contacts/1") => {
            assert_eq!(body(request), json!({"data": {"type": "contacts", "id": "1", "attributes": {"email": "x"}}}));
            let source = json!({"title": "invalid", "code": "E1", "source": {"pointer": "/data/attributes/email"}});
            (422, vec![], json!({"errors": [source]}))
        }
        ("DELETE", "/contacts/1") => (204, vec![], Value::Null),
        other => panic!("{other:?}"),
    });
    let crm = builder.secret("token", "t".to_owned()).build().unwrap();
    let contacts = Entity::from_static("contacts");
    let options = WriteOptions::new();
    assert_eq!(ids(&crm, Query::new(contacts.clone()).filter(Criteria::eq("email", "a@b.c"))), ["1", "2"]);
    let record = run(crm.get(&contacts, &RecordId::new("1"), &[])).unwrap().unwrap();
    assert_eq!((record.fields.get("email"), record.fields.get("account")), (Some(&json!("a@b.c")), Some(&json!("5"))));
    let made = run(crm.create(&contacts, &fields(json!({"email": "n@b.c", "account": "5"})), &options)).unwrap();
    assert_eq!(made.id.as_str(), "3");
    let error = run(crm.update(&contacts, &RecordId::new("1"), &fields(json!({"email": "x"})), &options)).unwrap_err();
    assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Validation, "/data/attributes/email"));
    run(crm.delete(&contacts, &RecordId::new("1"), &options)).unwrap();
}

/// A key as the user of Basic; custom fields in a list; a filter that is always a list; ids in a header.
#[test]
fn custom_fields_in_a_list() {
    let yaml = r#"
name: lists
base_url: https://x.io/api
auth: {type: basic, user: "{secret}", password: X, secret: key}
defaults:
  wrap: "person"
  record: person
  records: people
  fields:
    email: {path: emails.0.email, also: {emails.0.category: work}}
    region: {path: "custom_fields[custom_field_definition_id=12].value"}
  search:
    method: POST
    path: /people/search
    filter: {style: json, document: {filter_rule: "{parts}"}, operators: {eq: {attribute: "{field}", operator: is_in, value: "{value}"}}}
    sort: {param: sort, target: body, ascending: {by: "{field}", direction: asc}, descending: {by: "{field}", direction: desc}}
    paging: {type: cursor, target: body, param: offset, next: {path: next_offset}, last: -1, size_param: max, size: 1}
  create: {id_header: X-Entity}
  update: {style: replace, method: PUT}
entities: {people: {}}
"#;
    let person = json!({"id": 4, "emails": [{"email": "a@b.c", "category": "work"}], "custom_fields": [
        {"custom_field_definition_id": 11, "value": "keep"}, {"custom_field_definition_id": 12, "value": "EU"}]});
    let (builder, _) = custom(yaml, move |request| {
        assert_eq!(request.headers()["authorization"], "Basic azNZOlg=");
        match (request.method().as_str(), request.uri().path()) {
            ("POST", "/api/people/search") => {
                let sent = body(request);
                assert_eq!(sent["filter_rule"], json!([{"attribute": "city", "operator": "is_in", "value": "x"}]));
                assert_eq!(sent["sort"], json!([{"by": "name", "direction": "desc"}]));
                let next = if sent.get("offset").is_none() { 1 } else { -1 };
                (200, vec![], json!({"people": [person], "next_offset": next}))
            }
            ("POST", "/api/people") => {
                let email = json!([{"email": "n@b.c", "category": "work"}]);
                let region = json!([{"custom_field_definition_id": 12, "value": "US"}]);
                assert_eq!(body(request), json!({"person": {"emails": email, "custom_fields": region}}));
                (204, vec![("x-entity", "https://x.io/api/people(77)".to_owned())], Value::Null)
            }
            ("GET", "/api/people/4") => (200, vec![], json!({"person": person})),
            ("PUT", "/api/people/4") => {
                let list = &body(request)["person"]["custom_fields"];
                assert_eq!(
                    list,
                    &json!([{"custom_field_definition_id": 11, "value": "keep"}, {"custom_field_definition_id": 12, "value": "US"}])
                );
                (200, vec![], json!({"person": {"id": 4}}))
            }
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("key", "k3Y".to_owned()).build().unwrap();
    let people = Entity::from_static("people");
    let wanted = Query::new(people.clone()).filter(Criteria::eq("city", "x")).order_by("name", true);
    let found: Vec<_> = run(crm.search_all(wanted).try_collect()).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].fields.get("email"), found[0].fields.get("region")), (Some(&json!("a@b.c")), Some(&json!("EU"))));
    let options = WriteOptions::new();
    assert_eq!(run(crm.create(&people, &fields(json!({"email": "n@b.c", "region": "US"})), &options)).unwrap().id.as_str(), "77");
    run(crm.update(&people, &RecordId::new("4"), &fields(json!({"region": "US"})), &options)).unwrap();
}

/// PostgREST: operators in values, writes by a condition, an upsert by a column.
#[test]
fn tables_over_http() {
    let yaml = include_str!("../../examples/custom/postgrest.yaml");
    let (builder, _) = custom(yaml, |request| match (request.method().as_str(), request.uri().path(), query(request, "id").as_deref()) {
        ("GET", "/people", None) => {
            assert_eq!(query(request, "email").as_deref(), Some("eq.a@b.c"));
            assert_eq!(query(request, "limit").as_deref(), Some("100"));
            let from: u64 = query(request, "offset").unwrap().parse().unwrap();
            (200, vec![], (from..(from + 100).min(101)).map(|id| json!({"id": id})).collect())
        }
        ("GET", "/people", Some("eq.9")) => (200, vec![], json!([])),
        ("POST", "/people", None) if query(request, "on_conflict").is_some() => {
            assert_eq!(body(request), json!({"email": "a@b.c", "name": "n"}));
            (200, vec![], json!([{"id": 5, "email": "a@b.c"}]))
        }
        ("PATCH", "/people", Some("eq.9")) => (200, vec![], json!([])),
        ("DELETE", "/people", Some("eq.9")) => (200, vec![], json!([])),
        other => panic!("{other:?}"),
    });
    let crm = builder.secret("key", "k".to_owned()).build().unwrap();
    let people = Entity::from_static("people");
    let options = WriteOptions::new();
    assert_eq!(ids(&crm, Query::new(people.clone()).filter(Criteria::eq("email", "a@b.c"))).len(), 101);
    assert_eq!(run(crm.get(&people, &RecordId::new("9"), &[])).unwrap(), None);
    let key = ExternalKey::new("email", "a@b.c").unwrap();
    assert_eq!(run(crm.upsert(&people, &key, &fields(json!({"name": "n"})), &options)).unwrap().id.as_str(), "5");
    let error = run(crm.update(&people, &RecordId::new("9"), &fields(json!({"name": "n"})), &options)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    run(crm.delete(&people, &RecordId::new("9"), &options)).unwrap();
}

/// Airtable: fields below a member, a formula that is a function of its parts, one batch per kind of write.
#[test]
fn formulas_and_batches_per_kind() {
    let yaml = include_str!("../../examples/custom/formula.yaml");
    let (builder, log) = custom(yaml, |request| match (request.method().as_str(), request.uri().path()) {
        ("GET", "/v0/base1/Leads") => {
            assert_eq!(query(request, "filterByFormula").as_deref(), Some("AND({Email}='a@b.c',OR({City}='x',{City}='it\\'s'))"));
            (200, vec![], json!({"records": [{"id": "rec1", "createdTime": "2026-01-01T00:00:00Z", "fields": {"Email": "a@b.c"}}]}))
        }
        ("POST", "/v0/base1/Leads") => {
            let sent = body(request);
            assert_eq!(sent["records"][0], json!({"fields": {"Email": "1"}}));
            (200, vec![], json!({"records": [{"id": "rec2"}, {"id": "rec3"}]}))
        }
        ("PATCH", "/v0/base1/Leads") => {
            assert_eq!(body(request), json!({"records": [{"id": "rec1", "fields": {"Email": "2"}}]}));
            (200, vec![], json!({"records": [{"id": "rec1"}]}))
        }
        other => panic!("{other:?}"),
    });
    let crm = builder.secret("token", "t".to_owned()).build().unwrap();
    let leads = Entity::from_static("Leads");
    let wanted = Criteria::parse("Email = 'a@b.c' AND City IN ('x', 'it\\'s')").unwrap();
    let found = run(crm.search(&Query::new(leads.clone()).filter(wanted))).unwrap();
    assert_eq!((found.items[0].id.as_str(), found.items[0].fields.get("Email")), ("rec1", Some(&json!("a@b.c"))));
    let ops = [
        BulkOp::Create { fields: fields(json!({"Email": "1"})) },
        BulkOp::Create { fields: fields(json!({"Email": "2"})) },
        BulkOp::Update { id: RecordId::new("rec1"), fields: fields(json!({"Email": "2"})) },
    ];
    let made: Vec<String> =
        run(crm.bulk(&leads, &ops, &WriteOptions::new())).unwrap().into_iter().map(|done| done.unwrap().id.into_string()).collect();
    assert_eq!(made, ["rec2", "rec3", "rec1"]);
    assert_eq!(log.lock().unwrap().len(), 3);
}

/// Keys take turns; one that is too busy rests, and the request goes out with the next.
#[test]
fn a_pool_of_keys() {
    let yaml = "name: x\nbase_url: https://x.io\nauth: {type: pool, secrets: [a, b], header: X-Key}\ndefaults: {search: {}}\n";
    let (host, clock) = Host::manual_with_clock(1);
    let seen = std::sync::Arc::new(Mutex::new(Vec::new()));
    let used = std::sync::Arc::clone(&seen);
    let (builder, _) = with_host(yaml, host, move |request| {
        let key = request.headers()["x-key"].to_str().unwrap().to_owned();
        used.lock().unwrap().push(key.clone());
        let busy = key == "ka" && used.lock().unwrap().len() < 6;
        if busy { (429, vec![("retry-after", "30".to_owned())], Value::Null) } else { (200, vec![], json!([])) }
    });
    let crm = builder.secret("a", "ka".to_owned()).secret("b", "kb".to_owned()).build().unwrap();
    let ask = || run(crm.search(&Query::new(Entity::from_static("a")))).map(drop);
    for _ in 0..3 {
        ask().unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), ["ka", "kb", "kb", "kb"]);
    clock.advance(Duration::from_secs(31));
    ask().unwrap();
    ask().unwrap();
    assert!(seen.lock().unwrap().iter().filter(|key| *key == "ka").count() >= 2);
    assert!(!format!("{crm:?}").contains("ka"));
}

/// The way to log in by a variable; only its secrets are asked for.
#[test]
fn a_login_by_configuration() {
    let yaml = "name: x\nbase_url: https://x.io\nvariables: {login: key}\nauth:\n  type: choose\n  by: login\n  ways:\n    key: {type: api_key, secret: key, header: X-Key}\n    user: {type: basic, user: ann, secret: password}\ndefaults: {search: {}}\n";
    let answer = |request: &http::Request<bytes::Bytes>| {
        let basic = request.headers().get("authorization").is_some_and(|value| value == "Basic YW5uOnA=");
        (if basic || request.headers().contains_key("x-key") { 200 } else { 401 }, vec![], json!([]))
    };
    let list = Query::new(Entity::from_static("a"));
    run(custom(yaml, answer).0.secret("key", "k".to_owned()).build().unwrap().search(&list)).unwrap();
    let by_user = custom(yaml, answer).0.variable("login", "user").secret("password", "p".to_owned()).build().unwrap();
    run(by_user.search(&list)).unwrap();
    let error = custom(yaml, answer).0.variable("login", "usr").build().unwrap_err();
    assert!(error.message().contains("did you mean \"user\"?"), "{error}");
    let wrong = yaml.replace("{login: key}", "{login: kye}");
    let error = Definition::from_yaml(&wrong, "x.yaml").unwrap_err();
    assert!(error.message().contains("x.yaml:3:20") && error.message().contains("did you mean \"key\"?"), "{error}");
    let wrong = yaml.replace("{type: api_key, secret: key, header: X-Key}", "{type: api_key, secret: key, haeder: X-Key}");
    let error = Definition::from_yaml(&wrong, "x.yaml").unwrap_err();
    assert!(error.message().contains("x.yaml:8:") && error.message().contains("did you mean \"header\"?"), "{error}");
}

/// A list whose pages are too large is read by smaller ones, each record once.
#[test]
fn pages_become_smaller() {
    for paging in ["{type: page_number, size_param: limit, size: 40}", "{type: offset, size: 40}"] {
        let yaml = format!(
            "name: x\nbase_url: https://x.io\nerrors: [{{status: [504], operations: [search], class: page_too_large}}]\ndefaults: {{search: {{paging: {paging}}}}}\n"
        );
        let (builder, _) = custom(&yaml, |request| {
            let limit: u64 = query(request, "limit").unwrap().parse().unwrap();
            let page = query(request, "page").map(|page| (page.parse::<u64>().unwrap() - 1) * limit);
            let from = page.unwrap_or_else(|| query(request, "offset").unwrap().parse().unwrap());
            if limit > 40 || (from >= 40 && limit > 10) {
                return (504, vec![], Value::Null);
            }
            (200, vec![], (from.min(95)..(from + limit).min(95)).map(|id| json!({"id": id})).collect())
        });
        let crm = builder.build().unwrap();
        let all = ids(&crm, Query::new(Entity::from_static("a")));
        assert_eq!(all, (0..95).map(|id: u64| id.to_string()).collect::<Vec<_>>(), "{paging}");
    }
    // Where even one record is too much, the error is the API's.
    let yaml = "name: x\nbase_url: https://x.io\ndefaults: {search: {paging: {type: offset, size: 8}}}\n";
    let (builder, log) = custom(yaml, |_| (413, vec![], Value::Null));
    let error = run(builder.build().unwrap().search(&Query::new(Entity::from_static("a")))).unwrap_err();
    assert_eq!((error.kind(), log.lock().unwrap().len()), (ErrorKind::Unavailable, 4));
}

/// Statuses of success beyond the usual, limits known beforehand, descriptions that are kept.
#[test]
fn statuses_limits_and_kept_descriptions() {
    let yaml = r#"
name: x
base_url: https://x.io
rate:
  limits: [{calls: 2, seconds: 60, burst: 2, operations: [create]}]
defaults:
  create: {success: [201]}
  update: {success: [200, 409]}
  schema: {path: "/{entity}/fields", cache: 60, name: name}
entities: {a: {}}
"#;
    let (host, clock) = Host::manual_with_clock(1);
    let made = AtomicUsize::new(0);
    let (builder, log) = with_host(yaml, host, move |request| match request.method().as_str() {
        "POST" => (if made.fetch_add(1, Ordering::SeqCst) == 0 { 201 } else { 202 }, vec![], json!({"id": 1})),
        "PATCH" => (409, vec![], json!({"id": 1})),
        _ => (200, vec![], json!([{"name": "email"}])),
    });
    let crm = builder.build().unwrap();
    let (a, options) = (Entity::from_static("a"), WriteOptions::new());
    let create = || run(crm.create(&a, &fields(json!({"x": 1})), &options));
    create().unwrap();
    let error = create().unwrap_err();
    assert!(error.message().contains("answered 202") && error.may_have_applied(), "{error}");
    let error = create().unwrap_err();
    assert_eq!((error.kind(), error.may_have_applied()), (ErrorKind::RateLimited, false));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    run(crm.update(&a, &RecordId::new("1"), &fields(json!({"x": 1})), &options)).unwrap();
    let before = log.lock().unwrap().len();
    for _ in 0..3 {
        run(crm.describe(&a)).unwrap();
    }
    assert_eq!(log.lock().unwrap().len(), before + 1);
    clock.advance(Duration::from_secs(61));
    run(crm.describe(&a)).unwrap();
    assert_eq!(log.lock().unwrap().len(), before + 2);
}

/// What the new keys cannot hold is refused at load, with its line.
#[test]
fn wrong_definitions_name_the_line() {
    let with = |line: &str| format!("name: x\nbase_url: https://x.io\n{line}\ndefaults: {{create: {{}}}}\n");
    for (text, said) in [
        (with("auth: {type: pool, secrets: [a]}"), "x.yaml:3:20: [D002] a pool has at least two keys"),
        (with("auth: {type: choose, by: way, ways: {a: {type: none}}}"), "{way} stands for nothing here"),
        (with("rate: {limits: [{calls: 0, seconds: 1}]}"), "x.yaml:3:17: [D002] a limit of no calls lets nothing through"),
        (with("rate: {prices: [{price: 2, path: search}]}"), "the pattern of a path begins with a slash"),
        (with("rate: {limits: [{calls: 1, secs: 1}]}"), "unknown key \"secs\""),
        (with("webhook: {style: query, secret: s}"), "the query parameter to look at is missing"),
        (with("webhook: {style: path, secret: s, path: /hooks}"), "the path needs exactly one step {secret}"),
        (
            "name: x\nbase_url: https://x.io\ndefaults:\n  fields: {a: {type: date, format: {pattern: '%H'}}}\n  create: {}\n".to_owned(),
            "x.yaml:4:",
        ),
        ("name: x\nbase_url: https://x.io\ndefaults:\n  create: {success: [2000]}\n".to_owned(), "a status of success is a number"),
        ("name: x\nbase_url: https://x.io\ndefaults:\n  concurrency: 0\n  create: {}\n".to_owned(), "x.yaml:4:16"),
    ] {
        let error = Definition::from_yaml(&text, "x.yaml").expect_err(&text);
        assert!(error.message().contains(said), "expected «{said}» of\n{text}\ngot: {}", error.message());
    }
}
