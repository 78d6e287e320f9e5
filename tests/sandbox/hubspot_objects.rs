//! Batches, associations, search and definitions of the HubSpot face, in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::portal;

use portal::{Answer, Portal};
use serde_json::{Value, json};

fn ids(answer: &Answer) -> Vec<&str> {
    answer.results().iter().map(|one| one["id"].as_str().unwrap()).collect()
}

#[test]
fn batch_results_come_in_another_order() {
    let portal = Portal::new();
    let inputs: Vec<Value> =
        (0..20).map(|at| json!({"objectWriteTraceId": format!("row-{at}"), "properties": {"email": format!("c{at}@x.test")}})).collect();
    let made = portal.post("/crm/v3/objects/contacts/batch/create", json!({"inputs": inputs})).expect(201);
    assert_eq!(made.text("/status"), "COMPLETE");
    assert!(made.body.get("requestedAt").is_none() && made.body.get("links").is_none() && made.body.get("numErrors").is_none());
    let traces: Vec<&str> = made.results().iter().map(|one| one["objectWriteTraceId"].as_str().unwrap()).collect();
    let order: Vec<String> = (0..20).map(|at| format!("row-{at}")).collect();
    assert_ne!(traces, order);
    let mut sorted: Vec<String> = traces.iter().map(|one| (*one).to_owned()).collect();
    sorted.sort_by_key(|one| one[4..].parse::<u32>().unwrap());
    assert_eq!(sorted, order);
    for one in made.results() {
        let at = one["objectWriteTraceId"].as_str().unwrap().strip_prefix("row-").unwrap();
        assert_eq!(one["properties"]["email"], format!("c{at}@x.test"));
    }
    let too_many: Vec<Value> = (0..101).map(|_| json!({"properties": {}})).collect();
    portal.post("/crm/v3/objects/contacts/batch/create", json!({"inputs": too_many})).expect(400);
    portal.post("/crm/v3/objects/contacts/batch/create", json!({"inputs": []})).expect(400);
}

#[test]
fn without_trace_ids_a_batch_is_all_or_nothing() {
    let portal = Portal::new();
    let id = portal.contact("a@x.test");
    let bad = |trace: bool, late: bool| {
        let input = |at: usize, email: &str| match trace {
            true => json!({"objectWriteTraceId": format!("t{at}"), "properties": {"email": email}}),
            false => json!({"properties": {"email": email}}),
        };
        let inputs = [input(0, "b@x.test"), input(1, "a@x.test"), input(2, "nonsense"), input(3, "c@x.test")];
        let version = if late { "2026-09" } else { "2026-03" };
        portal.post(&format!("/crm/objects/{version}/contacts/batch/create"), json!({"inputs": inputs}))
    };
    let refused = bad(false, false).expect(409);
    assert_eq!(refused.text("/message"), format!("Contact already exists. Existing ID: {id}"));
    assert_eq!(portal.get("/crm/v3/objects/contacts").results().len(), 1, "nothing was done");
    let partial = bad(true, false).expect(207);
    assert_eq!((partial.results().len(), &partial.body["numErrors"]), (2, &json!(2)));
    let mut named: Vec<&str> =
        partial.body["errors"].as_array().unwrap().iter().map(|one| one["context"]["objectWriteTraceId"][0].as_str().unwrap()).collect();
    named.sort_unstable();
    assert_eq!(named, ["t1", "t2"]);
    // From 2026-09 on the same stands in a plain answer; a client must look.
    let late = bad(true, true).expect(201);
    assert_eq!((late.results().len(), &late.body["numErrors"]), (0, &json!(4)));
    portal.set(|options| options.unattributed = true);
    assert!(bad(true, false).expect(207).body["errors"][0].get("context").is_none());
    portal.set(|options| options.partial_as_success = Some(true));
    bad(true, false).expect(201);
}

#[test]
fn missing_records_are_named() {
    let portal = Portal::new();
    let (a, b) = (portal.contact("a@x.test"), portal.contact("b@x.test"));
    let read = portal.post(
        "/crm/v3/objects/contacts/batch/read",
        json!({"properties": ["email", "city"], "inputs": [{"id": a}, {"id": "9"}, {"id": b}, {"id": "10"}]}),
    );
    let read = read.expect(207);
    assert_eq!(read.results().len(), 2);
    assert_eq!(read.results()[0]["properties"]["city"], Value::Null);
    assert_eq!(
        read.body["errors"],
        json!([{"status": "error", "category": "OBJECT_NOT_FOUND", "context": {"ids": ["9", "10"]},
        "message": "Could not get some CONTACT objects, they may be deleted or not exist. Check that ids are valid."}])
    );
    let by_mail =
        portal.post("/crm/v3/objects/contacts/batch/read", json!({"idProperty": "email", "inputs": [{"id": "B@x.test"}]})).expect(200);
    assert_eq!(ids(&by_mail), [b.as_str()]);
    let update = |inputs: Value| portal.post("/crm/v3/objects/contacts/batch/update", json!({"inputs": inputs}));
    let changed = update(json!([{"id": a, "properties": {"city": "X"}}, {"id": "9", "properties": {"city": "X"}}])).expect(207);
    assert_eq!((ids(&changed), &changed.body["errors"][0]["context"]["ids"]), (vec![a.as_str()], &json!(["9"])));
    update(json!([{"id": a, "properties": {}}, {"id": a, "properties": {}}])).expect(400);
    update(json!([{"id": a, "properties": {"city": "Y"}}, {"id": b, "properties": {"nonsense": "1"}}])).expect(400);
    assert_eq!(portal.get(&format!("/crm/v3/objects/contacts/{a}?properties=city")).text("/properties/city"), "X");
    portal.post("/crm/v3/objects/contacts/batch/archive", json!({"inputs": [{"id": a}, {"id": b}, {"id": "9"}]})).expect(204);
    assert!(portal.get("/crm/v3/objects/contacts").results().is_empty());
}

#[test]
fn an_upsert_goes_by_a_unique_property() {
    let portal = Portal::new();
    portal.unique_key();
    let upsert = |inputs: Value| portal.post("/crm/v3/objects/contacts/batch/upsert", json!({"inputs": inputs}));
    let first = upsert(json!([{"id": "K1", "idProperty": "sync_key", "properties": {"email": "a@x.test", "city": "X"}}])).expect(200);
    assert_eq!((&first.results()[0]["new"], &first.results()[0]["properties"]["email"]), (&json!(true), &json!("a@x.test")));
    let id = first.results()[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(portal.get("/crm/v3/objects/contacts/K1?idProperty=sync_key").expect(200).id(), id);
    let again = upsert(json!([{"id": "K1", "idProperty": "sync_key", "properties": {"city": "Y"}}])).expect(200);
    assert_eq!((&again.results()[0]["new"], again.results()[0]["id"].as_str()), (&json!(false), Some(id.as_str())));
    // By e-mail what is left out is refused for a contact that has it.
    let partial = upsert(json!([{"id": "a@x.test", "idProperty": "email", "properties": {"city": "Z"}}])).expect(400);
    assert!(partial.text("/message").contains("Partial upserts are not supported"), "{}", partial.body);
    upsert(json!([{"id": "a@x.test", "idProperty": "email", "properties": {"city": "Z", "sync_key": "K1"}}])).expect(200);
    portal.set(|options| options.partial_email_upsert = true);
    upsert(json!([{"id": "a@x.test", "idProperty": "email", "properties": {"city": "W"}}])).expect(200);
    for bad in [
        json!([{"id": "x", "properties": {}}]),
        json!([{"id": "x", "idProperty": "firstname", "properties": {}}]),
        json!([{"id": "x", "idProperty": "sync_key", "properties": {}, "associations": []}]),
        json!([{"id": "x", "idProperty": "sync_key", "properties": {}}, {"id": "x", "idProperty": "sync_key", "properties": {}}]),
    ] {
        upsert(bad).expect(400);
    }
}

#[test]
fn a_company_is_associated_twice_over() {
    let portal = Portal::new();
    let contact = portal.contact("a@x.test");
    let (first, second) = (portal.create("companies", json!({"name": "A"})), portal.create("companies", json!({"name": "B"})));
    let primary = json!([{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 1}]);
    let pair = |company: &str| format!("/crm/objects/2026-03/contacts/{contact}/associations/companies/{company}");
    let types = |company: &str| -> Vec<u64> {
        let all = portal.get(&format!("/crm/v4/objects/contacts/{contact}/associations/companies")).expect(200);
        let one = all.results().iter().find(|one| one["toObjectId"].as_u64().unwrap().to_string() == company).cloned().unwrap_or_default();
        one["associationTypes"].as_array().into_iter().flatten().map(|one| one["typeId"].as_u64().unwrap()).collect()
    };
    portal.put(&pair(&first), primary.clone()).expect(201);
    assert_eq!(types(&first), [1, 279]);
    let read = portal.get(&format!("/crm/v3/objects/contacts/{contact}?associations=companies")).expect(200);
    assert_eq!(
        read.body["associations"]["companies"]["results"],
        json!([{"id": first, "type": "contact_to_company"}, {"id": first, "type": "contact_to_company_unlabeled"}])
    );
    // Another primary company takes its place.
    portal.put(&pair(&second), primary).expect(201);
    assert_eq!((types(&first), types(&second)), (vec![279], vec![1, 279]));
    // A label list replaces the pair's, the primary one too.
    let labels = portal.post(
        "/crm/v4/associations/contacts/companies/labels",
        json!({"label": "Advisor", "name": "advisor", "inverseLabel": "Advised by"}),
    );
    let label = labels.expect(200).body["results"][0]["typeId"].as_u64().unwrap();
    let set = portal.put(&pair(&second), json!([{"associationCategory": "USER_DEFINED", "associationTypeId": label}])).expect(201);
    assert_eq!(set.body["labels"], json!(["Advisor"]));
    assert!(!types(&second).contains(&1) && types(&second).contains(&label) && types(&second).contains(&279));
    let back = portal.get(&format!("/crm/v4/objects/companies/{second}/associations/contacts")).expect(200);
    assert!(back.results()[0]["associationTypes"].as_array().unwrap().iter().any(|one| one["label"] == "Advised by"));
    // Without the unlabelled type nothing is left.
    let archive = json!({"inputs": [{"from": {"id": contact}, "to": {"id": second}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}]}]});
    portal.post("/crm/v4/associations/contacts/companies/batch/labels/archive", archive).expect(204);
    assert!(types(&second).is_empty());
    portal.delete(&pair(&first)).expect(204);
    assert!(types(&first).is_empty());
    portal.put(&pair(&first), json!([{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}])).expect(400);
    portal.put(&pair("9"), json!([{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 279}])).expect(404);
}

#[test]
fn associations_in_batches() {
    let portal = Portal::new();
    let contacts: Vec<String> = (0..3).map(|at| portal.contact(&format!("c{at}@x.test"))).collect();
    let deal = portal.create("deals", json!({"dealname": "D", "dealstage": "closedwon"}));
    let base = "/crm/associations/2026-03/contacts/deals";
    let types = json!([{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 4}]);
    let inputs = json!([{"from": {"id": contacts[0]}, "to": {"id": deal}, "types": types}, {"from": {"id": "9"}, "to": {"id": deal}, "types": types}]);
    let made = portal.post(&format!("{base}/batch/create"), json!({"inputs": inputs})).expect(207);
    assert_eq!((made.results().len(), &made.body["errors"][0]["context"]["fromObjectId"]), (1, &json!(["9"])));
    let late = portal.post(
        "/crm/associations/2026-09/contacts/deals/batch/create",
        json!({"inputs": [{"from": {"id": contacts[1]}, "to": {"id": deal}, "types": types}]}),
    );
    late.expect(200);
    let read = portal.post(&format!("{base}/batch/read"), json!({"inputs": [{"id": contacts[0]}, {"id": contacts[2]}]})).expect(207);
    assert_eq!(read.results().len(), 1);
    assert!(read.text("/errors/0/message").contains("is associated with"));
    let default = portal
        .post(&format!("{base}/batch/associate/default"), json!({"inputs": [{"from": {"id": contacts[2]}, "to": {"id": deal}}]}))
        .expect(200);
    assert_eq!(default.results().len(), 2, "one for each direction");
    let v3 = portal.post("/crm/v3/associations/deals/contacts/batch/read", json!({"inputs": [{"id": deal}]})).expect(200);
    assert_eq!(v3.results()[0]["to"].as_array().unwrap().len(), 3);
    assert_eq!(v3.results()[0]["to"][0]["type"], "deal_to_contact");
    portal.post(&format!("{base}/batch/archive"), json!({"inputs": [{"from": {"id": contacts[2]}, "to": [{"id": deal}]}]})).expect(200);
    let page = portal.get(&format!("/crm/v4/objects/deals/{deal}/associations/contacts?limit=1")).expect(200);
    let after = page.text("/paging/next/after").to_owned();
    let next = portal.get(&format!("/crm/v4/objects/deals/{deal}/associations/contacts?limit=1&after={after}")).expect(200);
    assert!(next.body.get("paging").is_none() && next.results()[0] != page.results()[0]);
    // Limits of a type.
    let limit = json!({"inputs": [{"category": "HUBSPOT_DEFINED", "typeId": 3, "maxToObjectIds": 2}]});
    portal.post("/crm/associations/2026-03/definitions/configurations/deals/contacts/batch/create", limit).expect(201);
    portal.put(&format!("/crm/v4/objects/deals/{deal}/associations/default/contacts/{}", contacts[2]), json!(null)).expect(400);
    portal
        .put(
            &format!("/crm/v4/objects/deals/{deal}/associations/contacts/{}", contacts[2]),
            json!([{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": 3}]),
        )
        .expect(400);
    assert_eq!(portal.get("/crm/associations/2026-03/definitions/configurations/all").results().len(), 1);
}

#[test]
fn searches_filter_sort_and_page() {
    let portal = Portal::new();
    for (at, name) in ["Acme Corp", "acme labs", "Bolt", "Core"].iter().enumerate() {
        portal.create("companies", json!({"name": name, "annualrevenue": (at * 10).to_string(), "domain": format!("d{at}.test")}));
        portal.pass(1);
    }
    let search = |body: Value| portal.post("/crm/v3/objects/companies/search", body);
    let names = |filter: Value| -> Vec<String> {
        let found = search(json!({"filterGroups": [{"filters": [filter]}], "properties": ["name"]})).expect(200);
        found.results().iter().map(|one| one["properties"]["name"].as_str().unwrap().to_owned()).collect()
    };
    for (operator, value, expected) in [
        ("EQ", "bolt", vec!["Bolt"]),
        ("NEQ", "bolt", vec!["Acme Corp", "acme labs", "Core"]),
        ("CONTAINS_TOKEN", "acme", vec!["Acme Corp", "acme labs"]),
        ("CONTAINS_TOKEN", "*or*", vec!["Acme Corp", "Core"]),
        ("NOT_CONTAINS_TOKEN", "acme", vec!["Bolt", "Core"]),
        ("GT", "bolt", vec!["Core"]),
    ] {
        assert_eq!(names(json!({"propertyName": "name", "operator": operator, "value": value})), expected, "{operator} {value}");
    }
    assert_eq!(
        names(json!({"propertyName": "annualrevenue", "operator": "BETWEEN", "value": "9", "highValue": 20})),
        ["acme labs", "Bolt"]
    );
    assert_eq!(names(json!({"propertyName": "annualrevenue", "operator": "IN", "values": ["0", "30"]})), ["Acme Corp", "Core"]);
    // The values of IN on a text must be in lower case.
    assert_eq!(names(json!({"propertyName": "name", "operator": "IN", "values": ["Bolt", "core"]})), ["Core"]);
    assert_eq!(names(json!({"propertyName": "phone", "operator": "NOT_HAS_PROPERTY"})).len(), 4);
    assert!(names(json!({"propertyName": "phone", "operator": "NEQ", "value": "1"})).is_empty());
    let all = search(json!({"sorts": [{"propertyName": "annualrevenue", "direction": "DESCENDING"}], "limit": 3})).expect(200);
    assert_eq!((&all.body["total"], all.text("/results/0/properties/name"), all.text("/paging/next/after")), (&json!(4), "Core", "3"));
    let rest =
        search(json!({"sorts": [{"propertyName": "annualrevenue", "direction": "DESCENDING"}], "limit": 3, "after": "3"})).expect(200);
    assert_eq!((rest.results().len(), rest.body.get("paging")), (1, None));
    assert_eq!(search(json!({"query": "acm"})).expect(200).body["total"], 2);
    assert_eq!(search(json!({"filters": [{"propertyName": "name", "operator": "EQ", "value": "core"}]})).expect(200).body["total"], 1);
    let filter = json!({"propertyName": "name", "operator": "EQ", "value": "x"});
    let group = |count: usize| json!({"filters": vec![filter.clone(); count]});
    for (what, bad) in [
        ("groups", json!({"filterGroups": vec![group(1); 6]})),
        ("filters", json!({"filterGroups": [group(7)]})),
        ("in all", json!({"filterGroups": vec![group(4); 5]})),
        ("sorts", json!({"sorts": ["name", "domain"]})),
        ("limit", json!({"limit": 201})),
        ("length", json!({"query": "x".repeat(3_000)})),
        ("operator", json!({"filters": [{"propertyName": "name", "operator": "LIKE", "value": "x"}]})),
        ("ceiling", json!({"after": "9999", "limit": 2})),
        ("property", json!({"filters": [{"propertyName": "nonsense", "operator": "EQ", "value": "x"}]})),
        ("member", json!({"where": 1})),
        ("value", json!({"filters": [{"propertyName": "annualrevenue", "operator": "GT", "value": "many"}]})),
        ("missing", json!({"filters": [{"propertyName": "name", "operator": "EQ"}]})),
    ] {
        assert_eq!(search(bad).status, 400, "{what}");
    }
    search(json!({"filterGroups": [group(6), group(6), group(6)]})).expect(200);
    let contact = portal.contact("a@x.test");
    let company = names(json!({"propertyName": "name", "operator": "EQ", "value": "core"}));
    assert_eq!(company, ["Core"]);
    let id = search(json!({"query": "core"})).results()[0]["id"].as_str().unwrap().to_owned();
    portal.put(&format!("/crm/v4/objects/contacts/{contact}/associations/default/companies/{id}"), json!(null)).expect(200);
    assert_eq!(names(json!({"propertyName": "associations.contact", "operator": "EQ", "value": contact})), ["Core"]);
}

#[test]
fn a_query_ends_at_its_ceiling() {
    let portal = Portal::new();
    portal.set(|options| options.search_ceiling = 30);
    for at in 0..40 {
        portal.contact(&format!("c{at}@x.test"));
    }
    let page = |after: usize| portal.post("/crm/v3/objects/contacts/search", json!({"limit": 10, "after": after.to_string()}));
    let last = page(20).expect(200);
    assert_eq!((&last.body["total"], last.text("/paging/next/after")), (&json!(40), "30"));
    assert_eq!(page(30).status, 400);
    assert_eq!(page(25).status, 400);
    // A window by id goes on where the last one ended.
    let id = last.results()[9]["id"].clone();
    let rest = portal.post(
        "/crm/v3/objects/contacts/search",
        json!({"limit": 10, "filters": [{"propertyName": "hs_object_id", "operator": "GT", "value": id}]}),
    );
    assert_eq!(rest.expect(200).body["total"], 10);
}

#[test]
fn the_index_follows_writes_late() {
    let portal = Portal::new();
    portal.set(|options| options.search_lag_millis = 5_000);
    let found = |email: &str| {
        let body = json!({"filters": [{"propertyName": "email", "operator": "EQ", "value": email}]});
        portal.post("/crm/v3/objects/contacts/search", body).expect(200).results().len()
    };
    let id = portal.contact("a@x.test");
    assert_eq!(found("a@x.test"), 0);
    assert_eq!(portal.get("/crm/v3/objects/contacts/a@x.test?idProperty=email").status, 200);
    portal.pass(5);
    assert_eq!(found("a@x.test"), 1);
    portal.patch(&format!("/crm/v3/objects/contacts/{id}"), json!({"properties": {"email": "b@x.test"}})).expect(200);
    assert_eq!((found("a@x.test"), found("b@x.test")), (1, 0));
    portal.pass(5);
    assert_eq!((found("a@x.test"), found("b@x.test")), (0, 1));
    portal.delete(&format!("/crm/v3/objects/contacts/{id}"));
    assert_eq!(found("b@x.test"), 1);
    portal.pass(5);
    assert_eq!(found("b@x.test"), 0);
}

#[test]
fn properties_are_defined_changed_and_archived() {
    let portal = Portal::new();
    let base = "/crm/properties/2026-03/contacts";
    let good = json!({"name": "colour", "label": "Colour", "type": "enumeration", "fieldType": "select", "groupName": "contactinformation",
                      "options": [{"label": "Red", "value": "red"}, {"label": "Blue", "value": "blue"}]});
    let made = portal.post(base, good.clone()).expect(201);
    assert_eq!(
        (made.text("/name"), &made.body["modificationMetadata"]["readOnlyValue"], &made.body["archived"]),
        ("colour", &json!(false), &json!(false))
    );
    portal.post(base, good.clone()).expect(409);
    for (name, value) in [
        ("name", json!("Colour")),
        ("type", json!("text")),
        ("fieldType", json!("date")),
        ("groupName", json!("nonsense")),
        ("options", json!([])),
        ("label", json!("")),
        ("nonsense", json!(1)),
        ("options", json!([{"label": "A", "value": "a"}, {"label": "B", "value": "a"}])),
    ] {
        let mut bad = good.clone();
        bad["name"] = json!("other");
        bad[name] = value.clone();
        assert_eq!(portal.post(base, bad).status, 400, "{name} {value}");
    }
    let id = portal.create("contacts", json!({"colour": "red"}));
    // Options are replaced as a whole.
    let changed = portal.patch(&format!("{base}/colour"), json!({"options": [{"label": "Green", "value": "green"}]})).expect(200);
    assert_eq!(changed.body["options"].as_array().unwrap().len(), 1);
    portal.patch(&format!("/crm/v3/objects/contacts/{id}"), json!({"properties": {"colour": "blue"}})).expect(400);
    assert_eq!(portal.patch(&format!("{base}/firstname"), json!({"label": "X"})).status, 400);
    assert_eq!(portal.delete(&format!("{base}/firstname")).status, 400);
    portal.delete(&format!("{base}/colour")).expect(204);
    assert_eq!(portal.get(&format!("{base}/colour")).status, 404);
    portal.get(&format!("{base}/colour?archived=true")).expect(200);
    portal.post(base, good).expect(409);
    let read =
        portal.post(&format!("{base}/batch/read"), json!({"archived": false, "inputs": [{"name": "email"}, {"name": "gone"}]})).expect(207);
    assert_eq!(read.results()[0]["hasUniqueValue"], true);
    portal.post(&format!("{base}/groups"), json!({"name": "own", "label": "Own"})).expect(201);
    portal.post(&format!("{base}/groups"), json!({"name": "own", "label": "Own"})).expect(409);
    portal.delete(&format!("{base}/groups/own")).expect(204);
    let all = portal.get(base).expect(200);
    assert!(all.results().iter().any(|one| one["name"] == "lastmodifieddate" && one["modificationMetadata"]["readOnlyValue"] == true));
}

#[test]
fn a_custom_object_is_made_used_and_deleted() {
    let portal = Portal::new();
    let base = "/crm-object-schemas/2026-03/schemas";
    let mut schema = json!({"name": "marketing_campaign", "labels": {"singular": "Campaign", "plural": "Campaigns"},
        "primaryDisplayProperty": "campaign_name", "secondaryDisplayProperties": ["status"], "searchableProperties": ["campaign_name"],
        "requiredProperties": ["campaign_name"], "associatedObjects": ["CONTACT", "0-3"],
        "properties": [{"name": "campaign_name", "label": "Name"}, {"name": "code", "label": "Code", "type": "string", "fieldType": "text", "hasUniqueValue": true}]});
    // Every name in a list must be one of the properties.
    let refused = portal.post(base, schema.clone()).expect(400);
    assert_eq!(refused.body["context"]["propertyName"], json!(["status"]));
    schema["secondaryDisplayProperties"] = json!(["code"]);
    let made = portal.post(base, schema.clone()).expect(201);
    let (id, full) = (made.text("/objectTypeId").to_owned(), made.text("/fullyQualifiedName").to_owned());
    assert!(id.starts_with("2-") && full == format!("p{}_marketing_campaign", portal.access.portal_id));
    assert!(made.body["associations"].as_array().unwrap().iter().all(|one| one["createdAt"].is_null()));
    portal.post(base, schema).expect(409);
    portal.post(&format!("/crm/v3/objects/{full}"), json!({"properties": {"code": "X"}})).expect(400);
    let record = portal.create(&id, json!({"campaign_name": "Spring", "code": "C1"}));
    assert_eq!(portal.get("/crm/v3/objects/p_marketing_campaign/C1?idProperty=code").expect(200).id(), record);
    let contact = portal.contact("a@x.test");
    portal.put(&format!("/crm/v4/objects/{id}/{record}/associations/default/contacts/{contact}"), json!(null)).expect(200);
    let labels = portal.get(&format!("/crm/v4/associations/{id}/contacts/labels")).expect(200);
    assert_eq!(labels.results()[0]["category"], "USER_DEFINED");
    assert_eq!(portal.post(&format!("/crm/v3/objects/{id}/search"), json!({"query": "spring"})).expect(200).body["total"], 1);
    portal.patch(&format!("{base}/{id}"), json!({"requiredProperties": ["nonsense"]})).expect(400);
    portal.patch(&format!("{base}/{id}"), json!({"labels": {"singular": "C", "plural": "Cs"}})).expect(200);
    portal.delete(&format!("{base}/{id}")).expect(400);
    portal.delete(&format!("/crm/v3/objects/{id}/{record}"));
    portal.delete(&format!("{base}/{id}")).expect(204);
    assert_eq!(portal.get(&format!("/crm/v3/objects/{id}")).status, 400);
    portal.delete(&format!("{base}/{id}?archived=true")).expect(204);
    assert!(portal.get(&format!("{base}?archived=true")).results().is_empty());
}

#[test]
fn pipelines_keep_their_used_stages() {
    let portal = Portal::new();
    let base = "/crm/pipelines/2026-09/deals";
    let stage = |label: &str, at: usize| json!({"label": label, "displayOrder": at, "metadata": {"probability": "0.5"}});
    let made = portal.post(base, json!({"label": "Own", "displayOrder": 1, "stages": [stage("A", 0), stage("B", 1)]})).expect(201);
    let (pipeline, first) = (made.id(), made.text("/stages/0/id").to_owned());
    portal
        .post(
            base,
            json!({"label": "X", "displayOrder": 1, "stages": [{"label": "A", "displayOrder": 0, "metadata": {"probability": "0.55"}}]}),
        )
        .expect(400);
    portal
        .post(
            base,
            json!({"label": "X", "displayOrder": 1, "stages": [{"label": "A", "displayOrder": 0, "metadata": {"probability": 0.5}}]}),
        )
        .expect(400);
    let deal = portal.create("deals", json!({"dealname": "D", "pipeline": pipeline, "dealstage": first}));
    portal.post("/crm/v3/objects/deals", json!({"properties": {"dealname": "D", "dealstage": first}})).expect(400);
    let used = portal.delete(&format!("{base}/{pipeline}/stages/{first}")).expect(400);
    assert_eq!(used.body["context"]["objectIds"], json!([deal]));
    assert!(used.text("/subCategory").contains("STAGE_ID_IN_USE"));
    portal.delete(&format!("{base}/{pipeline}")).expect(400);
    let more = portal.post(&format!("{base}/{pipeline}/stages"), stage("C", 2)).expect(201).id();
    portal.patch(&format!("{base}/{pipeline}/stages/{more}"), json!({"label": "D"})).expect(200);
    portal.delete(&format!("{base}/{pipeline}/stages/{more}")).expect(204);
    portal.delete(&format!("{base}/{pipeline}?validateReferencesBeforeDelete=false")).expect(204);
    assert_eq!(portal.get("/crm/v3/pipelines/deals").results().len(), 1);
    assert_eq!(portal.get("/crm/v3/pipelines/tickets/0/stages").results().len(), 4);
    let won = portal.create("deals", json!({"dealname": "W", "dealstage": "closedwon"}));
    let read = portal.get(&format!("/crm/v3/objects/deals/{won}?properties=hs_is_closed_won,pipeline"));
    assert_eq!((read.text("/properties/hs_is_closed_won"), read.text("/properties/pipeline")), ("true", "default"));
}

#[test]
fn owners_and_the_account() {
    let portal = Portal::new();
    let owners = portal.get("/crm/owners/2026-03?limit=1").expect(200);
    assert_eq!((owners.results().len(), owners.text("/paging/next/after")), (1, owners.text("/results/0/id")));
    assert_eq!(portal.get("/crm/v3/owners/?email=sam%40sandbox.example&archived=false").results()[0]["id"], "41629780");
    let gone = portal.get("/crm/v3/owners?archived=true").expect(200);
    assert!(gone.results()[0]["userId"].is_null());
    assert_eq!(portal.get("/crm/v3/owners/9586504?idProperty=userId").expect(200).id(), "41629779");
    let details = portal.get("/account-info/2026-03/details").expect(200);
    assert_eq!(
        (details.text("/timeZone"), details.text("/utcOffset"), &details.body["portalId"]),
        ("US/Eastern", "-05:00", &json!(portal.access.portal_id))
    );
    assert_eq!(portal.get("/account-info/v3/api-usage/daily/private-apps").expect(200).results()[0]["currentUsage"], 6);
    assert_eq!(portal.get("/crm/limits/2026-03/custom-object-types").expect(200).body["usage"], 0);
}
