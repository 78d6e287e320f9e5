//! More servers of shapes unlike one another, after services that are in use: what they ask for arrives, what they answer is
//! understood, and what they call their failures is one of ours.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::fake;

use std::sync::atomic::{AtomicUsize, Ordering};

use crm_sync::adapter::{ChangeFeed, CrmAdapter, CrmAdapterExt, Since, WriteOptions};
use crm_sync::custom::Custom;
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::model::{Entity, ExternalKey, RecordId, Version};
use crm_sync::query::{Criteria, Query};
use fake::{body, custom, fields, query, run, with_host};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

const CONTACTS: Entity = Entity::from_static("contacts");

fn ids(crm: &Custom, query: Query) -> Vec<String> {
    run(crm.search_all(query).map_ok(|record| record.id.into_string()).try_collect()).unwrap()
}

fn id(text: &str) -> RecordId {
    RecordId::new(text)
}

/// Dataverse: a create and an update without a body, the id in a header of its own, a version that must match.
#[test]
fn odata_that_answers_no_body() {
    let yaml = include_str!("../../examples/custom/odata.yaml")
        .replace("create: {headers: {Prefer: return=representation}}", "create: {id_header: OData-EntityId}")
        .replace(", headers: {Prefer: return=representation}}", "}");
    let (builder, _) = custom(&yaml, |request| match (request.method().as_str(), request.uri().path()) {
        ("POST", "/acme/oauth2/v2.0/token") => (200, vec![], json!({"access_token": "t", "expires_in": 3599})),
        ("POST", "/api/data/v9.2/leads") => {
            (204, vec![("odata-entityid", "https://acme.crm.example/api/data/v9.2/leads(7eb682f1-0c2a-4b7e)".to_owned())], Value::Null)
        }
        ("PATCH", "/api/data/v9.2/leads(7eb682f1-0c2a-4b7e)") => {
            match request.headers().get("if-match").map(|value| value.to_str().unwrap()) {
                Some("W/\"7\"") => (204, vec![], Value::Null),
                Some(_) => (412, vec![], json!({"error": {"code": "0x80060882", "message": "the version differs"}})),
                None => panic!("no If-Match"),
            }
        }
        ("GET", "/api/data/v9.2/leads") => {
            assert_eq!(query(request, "$filter").as_deref(), Some("revenue ge 5 and companyname eq 'O''Neil'"));
            let next = query(request, "$skiptoken").is_none().then(|| {
                "https://acme.crm.example/api/data/v9.2/leads?$filter=revenue%20ge%205%20and%20companyname%20eq%20'O''Neil'&$skiptoken=x".to_owned()
            });
            let lead = json!({"@odata.etag": "W/\"7\"", "leadid": if next.is_some() { "a" } else { "b" }});
            let mut page = json!({"value": [lead]});
            if let Some(next) = next {
                page["@odata.nextLink"] = next.into();
            }
            (200, vec![], page)
        }
        other => panic!("{other:?}"),
    });
    let crm = builder.secret("client_secret", "s".to_owned()).build().unwrap();
    let leads = Entity::from_static("leads");
    let made = run(crm.create(&leads, &fields(json!({"companyname": "x"})), &WriteOptions::new())).unwrap();
    assert_eq!(made.id.as_str(), "7eb682f1-0c2a-4b7e");
    let mut options = WriteOptions::new();
    options.if_version = Some(Version::new("W/\"7\""));
    run(crm.update(&leads, &made.id, &fields(json!({"companyname": "y"})), &options)).unwrap();
    options.if_version = Some(Version::new("W/\"6\""));
    let error = run(crm.update(&leads, &made.id, &fields(json!({"companyname": "y"})), &options)).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, Some("0x80060882")));
    let both = Criteria::parse("companyname = 'O\\'Neil' AND revenue >= 5").unwrap();
    assert_eq!(ids(&crm, Query::new(leads).filter(both)), ["a", "b"]);
}

/// SugarCRM: a login whose refresh token rotates, a filter in the body of a POST, an offset that ends at -1.
#[test]
fn a_rotating_login_and_a_filter_in_a_body() {
    let yaml = r#"
name: sugar
base_url: https://x.io/rest/v11
variables: {user: ann}
auth:
  type: session
  login: {path: /oauth2/token, body: {grant_type: password, client_id: sugar, username: "{user}", password: "{secret:password}", platform: crm_sync}}
  refresh: {path: /oauth2/token, body: {grant_type: refresh_token, client_id: sugar, refresh_token: "{refresh_token}", platform: crm_sync}}
  inject: {header: OAuth-Token}
error_body: {code: error, message: error_message}
defaults:
  records: records
  modified: date_modified
  search:
    method: POST
    path: "/{entity}/filter"
    filter: {style: json, document: {filter: "{parts}"}, target: {body: ""}, operators: {eq: {"{field}": {$equals: "{value}"}}, gte: {"{field}": {$gte: "{value}"}}}}
    select: {param: fields, target: body}
    paging: {type: cursor, target: body, param: offset, next: {path: next_offset}, last: -1, size_param: max_num, size: 2}
  create: {}
  update: {method: PUT}
  delete: {}
  changes: {field: date_modified}
entities: {Leads: {}}
"#;
    let logins = AtomicUsize::new(0);
    let (builder, log) = custom(yaml, move |request| {
        let sent = body(request);
        match (request.method().as_str(), request.uri().path()) {
            ("POST", "/rest/v11/oauth2/token") => {
                let turn = logins.fetch_add(1, Ordering::SeqCst);
                let expected = if turn == 0 { json!("p") } else { json!(format!("r{}", turn - 1)) };
                assert_eq!(if turn == 0 { &sent["password"] } else { &sent["refresh_token"] }, &expected);
                (200, vec![], json!({"access_token": format!("t{turn}"), "refresh_token": format!("r{turn}"), "expires_in": 3600}))
            }
            // The first two tokens are taken back at once.
            _ if request.headers()["oauth-token"] != "t2" && request.uri().path() == "/rest/v11/Leads" => {
                (401, vec![], json!({"error": "invalid_grant", "error_message": "The access token provided is invalid."}))
            }
            ("POST", "/rest/v11/Leads/filter") => {
                assert_eq!((&sent["filter"], &sent["fields"]), (&json!([{"email": {"$equals": "a@b.c"}}]), &json!("email,id")));
                let offset = sent["offset"].as_i64().unwrap_or(0);
                let next = if offset == 0 { 2 } else { -1 };
                (200, vec![], json!({"next_offset": next, "records": [{"id": format!("l{offset}"), "email": "a@b.c"}]}))
            }
            ("POST", "/rest/v11/Leads") => (200, vec![], json!({"id": "new"})),
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("password", "p".to_owned()).build().unwrap();
    let leads = Entity::from_static("Leads");
    let wanted = || Query::new(leads.clone()).filter(Criteria::eq("email", "a@b.c")).select(["email"]);
    assert_eq!(ids(&crm, wanted()), ["l0", "l2"]);
    let create = || run(crm.create(&leads, &fields(json!({"email": "n"})), &WriteOptions::new()));
    assert_eq!(create().unwrap_err().kind(), ErrorKind::Authentication);
    assert_eq!(create().unwrap().id.as_str(), "new");
    assert_eq!(log.lock().unwrap().iter().filter(|line| line.ends_with("/oauth2/token")).count(), 3);
}

/// Freshsales: a key behind two words, wrappers, numbered pages with their number in all.
#[test]
fn a_key_behind_words_and_numbered_pages() {
    let yaml = r#"
name: fresh
base_url: https://acme.x.io/crm/sales/api
auth: {type: api_key, secret: key, header: Authorization, prefix: "Token token="}
error_body: {message: errors.message.0, code: errors.code}
defaults:
  id_type: integer
  search:
    method: POST
    path: "/filtered_search/{entity}"
    records: contacts
    total: meta.total
    filter: {style: json, document: {filter_rule: "{parts}"}, target: {body: ""}, operators: {eq: {attribute: "{field}", operator: is_in, value: "{value}"}}}
    paging: {type: page_number, size: 25, pages: meta.total_pages}
  record: contact
  wrap: contact
  create: {}
  update: {method: PUT}
  delete: {}
entities:
  contacts: {fields: {external: {path: custom_field.cf_external}}}
"#;
    let (builder, _) = custom(yaml, |request| {
        assert_eq!(request.headers()["authorization"], "Token token=k");
        match (request.method().as_str(), request.uri().path()) {
            ("POST", "/crm/sales/api/filtered_search/contacts") => {
                assert_eq!(
                    body(request),
                    json!({"filter_rule": [{"attribute": "custom_field.cf_external", "operator": "is_in", "value": "e1"}]})
                );
                let page: u64 = query(request, "page").unwrap().parse().unwrap();
                // The second page is empty: this user may not see what is on it.
                let rows = if page == 2 { json!([]) } else { json!([{"id": page, "custom_field": {"cf_external": "e1"}}]) };
                (200, vec![], json!({"contacts": rows, "meta": {"total_pages": 3, "total": 2}}))
            }
            ("POST", "/crm/sales/api/contacts") => {
                assert_eq!(body(request), json!({"contact": {"custom_field": {"cf_external": "e2"}}}));
                (400, vec![], json!({"errors": {"code": 400, "message": ["The email has already been taken."]}}))
            }
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("key", "k".to_owned()).build().unwrap();
    let found: Vec<_> = run(crm.search_all(Query::new(CONTACTS).filter(Criteria::eq("external", "e1"))).try_collect()).unwrap();
    assert_eq!(found.iter().map(|record| record.id.as_str()).collect::<Vec<_>>(), ["1", "3"]);
    assert_eq!(found[0].fields.get("external"), Some(&json!("e1")));
    let error = run(crm.create(&CONTACTS, &fields(json!({"external": "e2"})), &WriteOptions::new())).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Validation, Some("400")));
}

/// Close: the key is the user and there is no password; records are skipped; `has_more` is believed, also on an empty page.
#[test]
fn a_key_without_a_password() {
    let yaml = r#"
name: close
base_url: https://x.io/api/v1
auth: {type: basic, user: "{secret}", secret: key}
error_body: {message: [error, errors.0], fields: {list: field-errors}}
defaults:
  records: data
  search:
    path: /lead/
    filter: {style: query, target: {param: query}, operators: {eq: '{field}:"{value}"'}, and: " "}
    select: {param: _fields}
    total: total_results
    paging: {type: offset, param: _skip, size_param: _limit, size: 2, has_more: has_more}
  get: {path: "/lead/{id}/"}
  create: {path: /lead/}
  update: {method: PUT, path: "/lead/{id}/"}
  delete: {path: "/lead/{id}/"}
entities: {leads: {}}
"#;
    let (builder, log) = custom(yaml, |request| {
        // base64 of "api_k:".
        assert_eq!(request.headers()["authorization"], "Basic YXBpX2s6");
        match (request.method().as_str(), request.uri().path()) {
            ("GET", "/api/v1/lead/") => {
                assert_eq!(query(request, "query").as_deref(), Some("email:\"a\\\"b\" city:\"x\""));
                let skip: u64 = query(request, "_skip").unwrap().parse().unwrap();
                let rows: Vec<Value> = if skip == 2 { vec![] } else { vec![json!({"id": format!("lead_{skip}")})] };
                (200, vec![], json!({"data": rows, "has_more": skip < 3, "total_results": 9}))
            }
            ("PUT", "/api/v1/lead/lead_0/") => (400, vec![], json!({"errors": [], "field-errors": {"status_id": "Unknown."}})),
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("key", "api_k".to_owned()).build().unwrap();
    let leads = Entity::from_static("leads");
    let both = Criteria::parse("email = 'a\"b' AND city = 'x'").unwrap();
    assert_eq!(ids(&crm, Query::new(leads.clone()).filter(both)), ["lead_0", "lead_1", "lead_4"]);
    assert_eq!(log.lock().unwrap().len(), 4);
    let error = run(crm.update(&leads, &id("lead_0"), &fields(json!({"status_id": "?"})), &WriteOptions::new())).unwrap_err();
    assert_eq!((error.kind(), error.fields()[0].field.as_str()), (ErrorKind::Validation, "status_id"));
}

/// Zendesk Sell: an envelope for each record, lists of errors, a next page that is there or not.
#[test]
fn items_in_envelopes_of_their_own() {
    let yaml = include_str!("../../examples/custom/items-with-meta.yaml");
    let (builder, _) = custom(yaml, |request| match (request.method().as_str(), request.uri().path()) {
        ("GET", "/v2/leads") => {
            assert_eq!(query(request, "per_page").as_deref(), Some("100"));
            let page: u64 = query(request, "page").unwrap().parse().unwrap();
            let links = if page == 1 { json!({"next_page": "https://api.crm.example/v2/leads?page=2"}) } else { json!({}) };
            let lead = json!({"data": {"id": page, "email": "a@b.c", "updated_at": "2026-11-24T10:00:00Z"}, "meta": {"type": "lead"}});
            (200, vec![], json!({"items": [lead], "meta": {"type": "collection", "count": 1, "links": links}}))
        }
        ("POST", "/v2/leads") => match body(request)["data"]["email"].as_str().unwrap() {
            "new" => (200, vec![], json!({"data": {"id": 7}, "meta": {"type": "lead"}})),
            taken => {
                let code = if taken == "taken" { "unique" } else { "blank" };
                let error =
                    json!({"error": {"resource": "lead", "field": "email", "code": code, "message": "no"}, "meta": {"type": "error"}});
                (422, vec![], json!({"errors": [error], "meta": {"type": "errors", "http_status": "422"}}))
            }
        },
        other => panic!("{other:?}"),
    });
    let crm = builder.secret("token", "t".to_owned()).build().unwrap();
    let leads = Entity::from_static("leads");
    assert_eq!(ids(&crm, Query::new(leads.clone())), ["1", "2"]);
    let create = |email: &str| run(crm.create(&leads, &fields(json!({"email": email})), &WriteOptions::new()));
    assert_eq!(create("new").unwrap().id.as_str(), "7");
    let error = create("taken").unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Duplicate, Some("unique")));
    let error = create("").unwrap_err();
    let refused = &error.fields()[0];
    assert_eq!((error.kind(), refused.field.as_str(), refused.code.as_deref()), (ErrorKind::Validation, "email", Some("blank")));
}

/// ActiveCampaign: what belongs to a record stands beside it.
#[test]
fn fields_beside_the_record() {
    let yaml = include_str!("../../examples/custom/sideloaded.yaml");
    let (builder, _) = custom(yaml, |request| {
        assert_eq!(request.headers()["api-token"], "t");
        match (request.method().as_str(), request.uri().path()) {
            ("GET", "/api/3/contacts/5") => {
                let values = json!([{"id": "9", "field": "1", "value": "EU"}, {"id": "10", "field": "2", "value": "g"}]);
                (200, vec![], json!({"contact": {"id": "5", "email": "a@b.c"}, "fieldValues": values, "deals": []}))
            }
            ("GET", "/api/3/contacts") => {
                assert_eq!(query(request, "email").as_deref(), Some("a@b.c"));
                (200, vec![], json!({"contacts": [{"id": "5", "email": "a@b.c"}], "meta": {"total": "1"}}))
            }
            ("PUT", "/api/3/contacts/5") => {
                let value = json!([{"field": 2, "value": "s"}]);
                assert_eq!(body(request), json!({"contact": {"fieldValues": value}}));
                (200, vec![], json!({"contact": {"id": "5"}}))
            }
            other => panic!("{other:?}"),
        }
    });
    let crm = builder.secret("token", "t".to_owned()).build().unwrap();
    let found = run(crm.get(&CONTACTS, &id("5"), &[])).unwrap().unwrap();
    let of = |name: &str| found.fields.get(name).cloned();
    assert_eq!((of("region"), of("tier"), of("email")), (Some(json!("EU")), Some(json!("Gold")), Some(json!("a@b.c"))));
    assert_eq!(of("fieldValues"), None);
    assert_eq!(ids(&crm, Query::new(CONTACTS).filter(Criteria::eq("email", "a@b.c"))), ["5"]);
    run(crm.update(&CONTACTS, &id("5"), &fields(json!({"tier": "Silver"})), &WriteOptions::new())).unwrap();
}

/// JSON-RPC: a cookie is the session, failures hide in a 200, one of them means that the session is over.
#[test]
fn calls_of_methods_with_a_cookie() {
    let yaml = include_str!("../../examples/custom/json-rpc.yaml");
    let (builder, log) = custom(yaml, |request| {
        let sent = body(request);
        let params = &sent["params"];
        let failed = |code: u64, name: &str| json!({"jsonrpc": "2.0", "error": {"code": code, "message": "Odoo Server Error", "data": {"name": name, "message": "no"}}});
        let answer = match request.uri().path() {
            "/web/session/authenticate" => {
                assert_eq!((&params["db"], &params["password"]), (&json!("prod"), &json!("p")));
                let first = request.headers().get("cookie").is_none();
                assert!(first);
                static LOGINS: AtomicUsize = AtomicUsize::new(0);
                let cookie = format!(
                    "session_id=s{}; Expires=Wed, 25 Nov 2026 10:00:00 GMT; HttpOnly; Path=/",
                    LOGINS.fetch_add(1, Ordering::SeqCst)
                );
                return (
                    200,
                    vec![("set-cookie", "frontend_lang=en; Path=/".to_owned()), ("set-cookie", cookie)],
                    json!({"result": {"uid": 2}}),
                );
            }
            // The first session is over before anything was done with it.
            _ if request.headers()["cookie"] == "session_id=s0" => failed(100, "odoo.http.SessionExpiredException"),
            "/web/dataset/call_kw/res.partner/search_read" => {
                assert_eq!(params["args"], json!([[["email", "=", "a@b.c"]]]));
                assert_eq!((&params["kwargs"]["fields"], &params["kwargs"]["limit"]), (&json!(["email", "id"]), &json!(2)));
                let offset = params["kwargs"]["offset"].as_u64().unwrap();
                json!({"jsonrpc": "2.0", "result": (offset..(offset + 2).min(3)).map(|id| json!({"id": id + 1})).collect::<Vec<_>>()})
            }
            "/web/dataset/call_kw/res.partner/read" if params["args"] == json!([[9]]) => failed(200, "odoo.exceptions.MissingError"),
            "/web/dataset/call_kw/res.partner/read" => json!({"result": [{"id": 7, "active": true}]}),
            "/web/dataset/call_kw/res.partner/create" => {
                assert_eq!(params["args"], json!([{"email": "n@b.c"}]));
                json!({"result": 8})
            }
            "/web/dataset/call_kw/res.partner/write" => {
                assert_eq!(params["args"], json!([[7], {"email": "x"}]));
                failed(200, "odoo.exceptions.AccessError")
            }
            "/web/dataset/call_kw/res.partner/unlink" => failed(200, "odoo.exceptions.MissingError"),
            other => panic!("{other}"),
        };
        (200, vec![], answer)
    });
    let crm = builder.secret("password", "p".to_owned()).build().unwrap();
    let partners = Entity::from_static("res.partner");
    let options = WriteOptions::new();
    let wanted = Query::new(partners.clone()).filter(Criteria::eq("email", "a@b.c")).select(["email"]).page_size(2);
    assert_eq!(ids(&crm, wanted), ["1", "2", "3"]);
    assert_eq!(log.lock().unwrap().iter().filter(|line| line.contains("authenticate")).count(), 2);
    assert_eq!(run(crm.get(&partners, &id("7"), &[])).unwrap().unwrap().fields.get("active"), Some(&json!(true)));
    assert_eq!(run(crm.get(&partners, &id("9"), &[])).unwrap(), None);
    assert_eq!(run(crm.create(&partners, &fields(json!({"email": "n@b.c"})), &options)).unwrap().id.as_str(), "8");
    let error = run(crm.update(&partners, &id("7"), &fields(json!({"email": "x"})), &options)).unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Permission, Some("odoo.exceptions.AccessError")));
    run(crm.delete(&partners, &id("9"), &options)).unwrap();
}

/// Ids that are made of two members.
#[test]
fn ids_of_two_members() {
    let yaml = include_str!("../../examples/custom/composite-ids.yaml");
    let item = json!({"SalesOrder": "17", "SalesOrderItem": "3", "RequestedQuantity": "2.500", "CreationDate": "/Date(1795523405000)/"});
    let (builder, _) = custom(yaml, move |request| match (request.method().as_str(), request.uri().path()) {
        ("GET", "/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrderItem") => {
            assert_eq!(query(request, "$filter").as_deref(), Some("SalesOrder eq '17'"));
            assert_eq!(query(request, "$select").as_deref(), Some("RequestedQuantity,SalesOrder,SalesOrderItem"));
            (200, vec![], json!({"d": {"results": [item.clone()]}}))
        }
        ("GET", "/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrderItem(SalesOrder='17',SalesOrderItem='3')") => {
            (200, vec![], json!({"d": item.clone()}))
        }
        ("PATCH", "/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrderItem(SalesOrder='17',SalesOrderItem='3')") => {
            assert_eq!(body(request), json!({"RequestedQuantity": "4.000"}));
            (204, vec![], Value::Null)
        }
        ("DELETE", "/sap/opu/odata/sap/API_SALES_ORDER_SRV/A_SalesOrderItem(SalesOrder='17',SalesOrderItem='3')") => {
            (204, vec![], Value::Null)
        }
        ("POST", _) => (201, vec![], json!({"d": {"SalesOrder": "17", "SalesOrderItem": "4-5"}})),
        other => panic!("{other:?}"),
    });
    let crm = builder.secret("password", "p".to_owned()).build().unwrap();
    let items = Entity::from_static("A_SalesOrderItem");
    let options = WriteOptions::new();
    let wanted = Query::new(items.clone()).filter(Criteria::eq("SalesOrder", "17")).select(["RequestedQuantity"]);
    assert_eq!(ids(&crm, wanted), ["17-3"]);
    let found = run(crm.get(&items, &id("17-3"), &[])).unwrap().unwrap();
    assert_eq!((found.id.as_str(), found.fields.get("CreationDate")), ("17-3", Some(&json!("2026-11-24T12:30:05Z"))));
    // The id as a condition is a read by it.
    assert_eq!(ids(&crm, Query::new(items.clone()).filter(Criteria::eq("id", "17-3"))), ["17-3"]);
    run(crm.update(&items, &id("17-3"), &fields(json!({"RequestedQuantity": "4.000"})), &options)).unwrap();
    run(crm.delete(&items, &id("17-3"), &options)).unwrap();
    // An id that does not come apart, and one that would not come apart again.
    let error = run(crm.get(&items, &id("17"), &[])).unwrap_err();
    assert!(error.message().contains("id.1"), "{error}");
    let error = run(crm.create(&items, &fields(json!({"x": 1})), &options)).unwrap_err();
    assert!(error.message().contains("SalesOrder and SalesOrderItem") && error.may_have_applied(), "{error}");
}

/// Values as services write them: numbers and UUIDs as ids, times since 1970, truth as a text, dates as objects.
#[test]
fn values_of_many_kinds() {
    let yaml = r#"
name: values
base_url: https://x.io
defaults:
  modified: changed
  modified_format: epoch_milliseconds
  fields:
    active: {type: boolean, booleans: ["1", "0"]}
    plain: {type: boolean}
    seen: {type: datetime, format: epoch_seconds}
    born: {type: date, format: {object: {year: y, month: m, day: d}}}
    due: {type: datetime, format: {object: {value: date, format: sql, zone: timezone, also: {timezone_type: 3}}}}
  search: {filter: {style: params, operators: {eq: "{field}", gte: "min_{field}"}}}
  create: {}
  update: {}
  changes: {since: since, inclusive: false}
"#;
    let (builder, log) = custom(yaml, |request| match request.method().as_str() {
        "GET" => {
            let due = json!({"date": "2026-11-24 12:30:05.000000", "timezone_type": 1, "timezone": "+01:00"});
            let row = json!({"id": 7, "active": 1, "plain": "0", "seen": "1795523405", "born": {"y": 1980, "m": 2, "d": 29}, "due": due, "changed": 1795523405123_u64});
            (200, vec![], json!([row, {"id": "2c1b5f5e-7a53-4f0e-9a9c-0a4f3f0f2b11", "active": "0", "changed": "1795523405124"}]))
        }
        "POST" => {
            let wanted = json!({
                "active": "1", "plain": true, "seen": 1795523405, "born": {"y": 1980, "m": 2, "d": 29},
                "due": {"date": "2026-11-24 12:30:05", "timezone": "UTC", "timezone_type": 3}
            });
            assert_eq!(body(request), wanted);
            (201, vec![], json!({"id": 8}))
        }
        other => panic!("{other}"),
    });
    let crm = builder.build().unwrap();
    let things = Entity::from_static("things");
    let found: Vec<_> = run(crm.search_all(Query::new(things.clone()).filter(Criteria::eq("active", true))).try_collect()).unwrap();
    let first = |name: &str| found[0].fields.get(name).cloned();
    assert_eq!((first("active"), first("plain")), (Some(json!(true)), Some(json!(false))));
    assert_eq!((first("seen"), first("born")), (Some(json!("2026-11-24T12:30:05Z")), Some(json!("1980-02-29"))));
    assert_eq!(first("due"), Some(json!("2026-11-24T11:30:05Z")));
    assert_eq!(found[0].modified_at.unwrap().to_string(), "2026-11-24T12:30:05.123Z");
    assert_eq!((found[0].id.as_str(), found[1].id.as_str()), ("7", "2c1b5f5e-7a53-4f0e-9a9c-0a4f3f0f2b11"));
    assert_eq!(found[1].fields.get("active"), Some(&json!(false)));
    let record =
        json!({"active": true, "plain": true, "seen": "2026-11-24T12:30:05Z", "born": "1980-02-29", "due": "2026-11-24T12:30:05Z"});
    run(crm.create(&things, &fields(record), &WriteOptions::new())).unwrap();
    run(crm.changes(&ChangeFeed::new(things, Since::At("2026-11-24T12:30:05.123Z".parse().unwrap())))).unwrap();
    let log = log.lock().unwrap();
    assert_eq!((log[0].as_str(), log[2].as_str()), ("GET /things?active=1", "GET /things?since=1795523405122"));
}

/// A page without records that names the next one, as services do that hide what a user may not see.
#[test]
fn an_empty_page_is_not_the_end() {
    for (paging, next) in [
        ("{type: next_link, next: {path: next}}", "https://x.io/a?page="),
        ("{type: cursor, param: page, next: {path: next}}", ""),
        ("{type: page_number, size: 2, has_more: next}", ""),
    ] {
        let yaml = format!("name: x\nbase_url: https://x.io\ndefaults: {{records: data, search: {{paging: {paging}}}}}\n");
        let (builder, _) = custom(&yaml, move |request| {
            let page: u64 = query(request, "page").map_or(1, |page| page.parse().unwrap());
            let rows = if page == 2 { json!([]) } else { json!([{"id": page}]) };
            let next = if page < 3 { json!(format!("{next}{}", page + 1)) } else { Value::Null };
            (200, vec![], json!({"data": rows, "next": next}))
        });
        assert_eq!(ids(&builder.build().unwrap(), Query::new(Entity::from_static("a"))), ["1", "3"], "{paging}");
    }
}

/// A 201 without a body whose address tells the id, a create by PUT under an id of the host's choice.
#[test]
fn creates_by_address_and_by_put() {
    let yaml = r#"
name: x
base_url: https://x.io/v1
entities:
  notes: {create: {}}
  rows: {create: {headers: {Prefer: return=headers-only}}}
  docs:
    client_id: true
    create: {method: PUT, path: "/{entity}/{id}", create_only: true}
    update: {style: replace}
    delete: {}
"#;
    let (builder, log) = custom(yaml, |request| match (request.method().as_str(), request.uri().path()) {
        ("POST", "/v1/notes") => (201, vec![("location", "/v1/notes/n-1".to_owned())], Value::Null),
        ("POST", "/v1/rows") => (201, vec![("location", "/rows?id=eq.12".to_owned())], Value::Null),
        ("PUT", "/v1/docs/a%20b") if request.headers().contains_key("if-none-match") => {
            assert_eq!(body(request), json!({"id": "a b", "title": "t"}));
            (201, vec![], Value::Null)
        }
        ("PUT", "/v1/docs/a%20b") => {
            assert_eq!(body(request), json!({"title": "u"}));
            (204, vec![], Value::Null)
        }
        other => panic!("{other:?}"),
    });
    let crm = builder.build().unwrap();
    let options = WriteOptions::new();
    let create = |entity: &'static str, value: Value| run(crm.create(&Entity::from_static(entity), &fields(value), &options));
    assert_eq!(create("notes", json!({"x": 1})).unwrap().id.as_str(), "n-1");
    assert_eq!(create("rows", json!({"x": 1})).unwrap().id.as_str(), "12");
    let made = create("docs", json!({"id": "a b", "title": "t"})).unwrap();
    assert_eq!((made.id.as_str(), made.created), ("a b", Some(true)));
    // Without the id there is no address: nothing is sent.
    let sent = log.lock().unwrap().len();
    assert!(create("docs", json!({"title": "t"})).unwrap_err().message().contains("\"id\""));
    assert_eq!(log.lock().unwrap().len(), sent);
    let key = ExternalKey::new("id", "a b").unwrap();
    run(crm.upsert(&Entity::from_static("docs"), &key, &fields(json!({"title": "u"})), &options)).unwrap();
}

/// A key that was taken back is passed over, tried again later, and the others go on.
#[test]
fn a_refused_key_of_a_pool_is_passed_over() {
    let yaml = "name: x\nbase_url: https://x.io\nauth: {type: pool, secrets: [a, b], header: X-Key}\ndefaults: {search: {}, create: {}}\n";
    let (host, clock) = Host::manual_with_clock(1);
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let all_bad = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (used, bad) = (std::sync::Arc::clone(&seen), std::sync::Arc::clone(&all_bad));
    let (builder, _) = with_host(yaml, host, move |request| {
        let key = request.headers()["x-key"].to_str().unwrap().to_owned();
        let refused = key == "ka" || bad.load(Ordering::SeqCst);
        used.lock().unwrap().push(key);
        if refused { (401, vec![], Value::Null) } else { (200, vec![], json!([])) }
    });
    let crm = builder.secret("a", "ka".to_owned()).secret("b", "kb".to_owned()).build().unwrap();
    let ask = || run(crm.search(&Query::new(Entity::from_static("a")))).map(drop);
    for _ in 0..4 {
        ask().unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), ["ka", "kb", "kb", "kb", "kb"]);
    clock.advance(std::time::Duration::from_secs(301));
    ask().unwrap();
    ask().unwrap();
    assert_eq!(seen.lock().unwrap().iter().filter(|key| *key == "ka").count(), 2, "tried once more after the pause");
    // Where none is good the credentials are at fault, again and again: nobody is told to wait.
    all_bad.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        assert_eq!(ask().unwrap_err().kind(), ErrorKind::Authentication);
    }
    all_bad.store(false, Ordering::SeqCst);
    ask().unwrap();
}
