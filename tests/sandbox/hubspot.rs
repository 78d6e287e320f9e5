//! Records, lists, merges and refusals of the HubSpot face, in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::portal;

use crm_sync::host::Host;
use crm_sync::sandbox::Sandbox;
use portal::Portal;
use serde_json::{Value, json};

#[test]
fn a_contact_lives_through_every_version_of_the_path() {
    let portal = Portal::new();
    for (at, base) in
        ["/crm/v3/objects/contacts", "/crm/objects/2026-03/contacts", "/crm/objects/2026-09/0-1", "/hubspot/crm/v3/objects/contact"]
            .iter()
            .enumerate()
    {
        let made = portal
            .post(base, json!({"properties": {"email": format!("Ada{at}@X.test"), "firstname": "Ada", "numemployees": "1-5"}}))
            .expect(201);
        let id = made.id();
        assert!(id.parse::<u64>().unwrap() > u64::from(u32::MAX), "ids exceed 32 bits");
        let properties = made.body["properties"].as_object().unwrap();
        assert!(properties.values().all(|value| value.is_string() || value.is_null()), "{properties:?}");
        assert_eq!(properties["email"], format!("ada{at}@x.test"));
        assert_eq!(properties["lastname"], Value::Null);
        assert_eq!(properties["hs_object_id"], id.as_str());
        assert!(properties["createdate"].is_string() && properties["lastmodifieddate"].is_string());
        assert_eq!(made.body["archived"], false);
        let changed = portal.patch(&format!("{base}/{id}"), json!({"properties": {"lastname": "L", "firstname": ""}})).expect(200);
        assert_eq!((changed.text("/properties/lastname"), &changed.body["properties"]["firstname"]), ("L", &Value::Null));
        let read = portal.get(&format!(
            "{base}/ADA{at}%40x.test?idProperty=email&properties=lastname,phone&properties=company&properties=nonsense&archived=false"
        ));
        let read = read.expect(200);
        assert_eq!(read.id(), id);
        let names: Vec<&String> = read.body["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["company", "createdate", "hs_object_id", "lastmodifieddate", "lastname", "phone"]);
        assert_eq!(portal.delete(&format!("{base}/{id}")).status, 204);
        assert_eq!(portal.delete(&format!("{base}/{id}")).status, 204);
        assert_eq!(portal.get(&format!("{base}/{id}")).expect(404).text("/category"), "OBJECT_NOT_FOUND");
        let archived = portal.get(&format!("{base}/{id}?archived=true")).expect(200);
        assert!(archived.body["archived"] == true && archived.body["archivedAt"].is_string());
    }
    assert_eq!(portal.get("/crm/v3/objects/contacts?archived=true").results().len(), 4);
}

#[test]
fn a_taken_address_is_409_with_the_id() {
    let portal = Portal::new();
    let id = portal.contact("a@x.test");
    let again = portal.post("/crm/v3/objects/contacts", json!({"properties": {"email": "A@x.test"}})).expect(409);
    assert_eq!(again.text("/message"), format!("Contact already exists. Existing ID: {id}"));
    assert_eq!(again.text("/category"), "CONFLICT");
    assert_eq!(again.text("/correlationId"), again.header("x-hubspot-correlation-id"));
    let other = portal.contact("b@x.test");
    portal.patch(&format!("/crm/v3/objects/contacts/{other}"), json!({"properties": {"email": "a@x.test"}})).expect(409);
    // Companies are not unique by domain.
    portal.create("companies", json!({"domain": "x.test"}));
    portal.create("companies", json!({"domain": "x.test"}));
    portal.unique_key();
    portal.patch(&format!("/crm/v3/objects/contacts/{id}"), json!({"properties": {"sync_key": "K"}})).expect(200);
    let taken = portal.patch(&format!("/crm/v3/objects/contacts/{other}"), json!({"properties": {"sync_key": "K"}})).expect(400);
    assert!(taken.text("/message").contains(&format!("{id} already has that value")), "{}", taken.body);
    assert_eq!(portal.get("/crm/v3/objects/contacts/K?idProperty=sync_key").expect(200).id(), id);
    assert_eq!(portal.get("/crm/v3/objects/contacts/Ada?idProperty=firstname").status, 400);
}

#[test]
fn refused_values_stand_inside_the_message() {
    let portal = Portal::new();
    let wrong = |object: &str, properties: Value| {
        let answer = portal.post(&format!("/crm/v3/objects/{object}"), json!({"properties": properties})).expect(400);
        assert_eq!(answer.text("/category"), "VALIDATION_ERROR");
        let list = answer.text("/message").strip_prefix("Property values were not valid: ").map(str::to_owned);
        let list: Vec<Value> = serde_json::from_str(&list.unwrap_or_else(|| panic!("{}", answer.body))).unwrap();
        (list[0]["error"].as_str().unwrap().to_owned(), list[0]["name"].as_str().unwrap().to_owned(), answer.body["errors"].is_array())
    };
    assert_eq!(wrong("contacts", json!({"nonsense": "1"})), ("PROPERTY_DOESNT_EXIST".to_owned(), "nonsense".to_owned(), true));
    assert_eq!(wrong("contacts", json!({"lastmodifieddate": "1"})), ("READ_ONLY_VALUE".to_owned(), "lastmodifieddate".to_owned(), false));
    for (object, properties, code) in [
        ("contacts", json!({"email": "not an address"}), "INVALID_EMAIL"),
        ("contacts", json!({"lifecyclestage": "Lead"}), "INVALID_OPTION"),
        ("contacts", json!({"hubspot_owner_id": "9586504"}), "INVALID_OWNER_ID"),
        ("contacts", json!({"firstname": null}), "INVALID_VALUE"),
        ("contacts", json!({"firstname": {"a": 1}}), "INVALID_VALUE"),
        ("companies", json!({"name": "A", "annualrevenue": "1,000"}), "INVALID_INTEGER"),
        ("deals", json!({"dealname": "D", "dealstage": "Closed Won"}), "INVALID_OPTION"),
        ("deals", json!({"dealname": "D", "dealstage": "closedwon", "closedate": "soon"}), "INVALID_DATE"),
    ] {
        assert_eq!(wrong(object, properties).0, code);
    }
    portal.create("contacts", json!({"hubspot_owner_id": "41629779", "hs_buying_role": ";CHAMPION;LEGAL_AND_COMPLIANCE"}));
    let date = json!({"name": "birthday", "label": "Birthday", "type": "date", "fieldType": "date", "groupName": "contactinformation"});
    portal.post("/crm/v3/properties/contacts", date).expect(201);
    assert_eq!(wrong("contacts", json!({"birthday": "1772236800001"})).0, "INVALID_DATE");
    let made = portal.post("/crm/v3/objects/contacts", json!({"properties": {"birthday": "1772236800000"}})).expect(201);
    assert_eq!(made.text("/properties/birthday"), "2026-02-28");
    // What must be there.
    for (object, properties) in [
        ("deals", json!({"dealname": "D"})),
        ("companies", json!({"city": "X"})),
        ("notes", json!({"hs_note_body": "x"})),
        ("tickets", json!({"subject": "x"})),
        ("emails", json!({"hs_timestamp": "0"})),
    ] {
        let answer = portal.post(&format!("/crm/v3/objects/{object}"), json!({"properties": properties})).expect(400);
        assert!(answer.text("/message").contains("required properties were not set"), "{}", answer.body);
    }
}

#[test]
fn bodies_and_paths_are_taken_at_their_word() {
    let portal = Portal::new();
    let create = "/crm/v3/objects/contacts";
    assert_eq!(portal.post(create, json!({"properties": {}, "nonsense": 1})).status, 400);
    assert_eq!(portal.post(create, json!({"email": "a@x.test"})).status, 400);
    assert_eq!(portal.post(create, json!({"properties": []})).status, 400);
    assert_eq!(portal.raw("POST", create, Some("text/plain"), "{}").unwrap().status, 415);
    assert_eq!(portal.raw("POST", create, Some("application/json"), "{nonsense").unwrap().status, 400);
    assert_eq!(portal.raw("POST", create, Some("application/json"), "").unwrap().status, 400);
    for (method, path, status) in [
        ("PUT", create, 405),
        ("GET", "/crm/v3/objects/contacts/batch/read", 405),
        ("PUT", "/crm/v3/objects/contacts/1", 405),
        ("GET", "/crm/v3/objects/contacts/search", 405),
        ("DELETE", "/crm/v3/owners/", 405),
        ("GET", "/crm/v3/nonsense", 404),
        ("GET", "/crm/objects/2024-01/contacts", 404),
        ("GET", "/crm/v3/objects/nonsense", 400),
        ("GET", "/automation/v4/flows", 404),
        ("GET", "/crm/v3/objects/contacts?limit=101", 400),
        ("GET", "/crm/v3/objects/contacts?limit=0", 400),
        ("GET", "/crm/v3/objects/contacts?limit=51&propertiesWithHistory=email", 400),
        ("GET", "/crm/v3/objects/contacts?after=x", 400),
    ] {
        let answer = portal.send(method, path, None);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert_eq!(answer.text("/status"), "error");
    }
    let long: Vec<String> = (0..900).map(|at| format!("a_property_with_a_long_name_{at}")).collect();
    assert_eq!(portal.get(&format!("{create}?properties={}", long.join(","))).status, 414);
}

#[test]
fn a_list_is_walked_by_after_and_its_link_is_of_the_old_version() {
    let portal = Portal::new();
    let ids: Vec<String> = (0..25).map(|at| portal.contact(&format!("c{at}@x.test"))).collect();
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = portal.get(&format!("/crm/objects/2026-03/contacts?limit=10&after={after}&archived=false")).expect(200);
        seen.extend(page.results().iter().map(|one| one["id"].as_str().unwrap().to_owned()));
        match page.body.pointer("/paging/next") {
            Some(next) => {
                assert!(next["link"].as_str().unwrap().contains("/crm/v3/objects/contacts"));
                after = next["after"].as_str().unwrap().to_owned();
            }
            None => break,
        }
    }
    assert_eq!(seen, ids);
    // A crafted one resumes anywhere.
    let after: u64 = ids[20].parse::<u64>().unwrap() + 1;
    assert_eq!(portal.get(&format!("/crm/v3/objects/contacts?after={after}")).results().len(), 4);
}

#[test]
fn a_merge_makes_a_new_id_and_old_ones_lead_to_it() {
    let portal = Portal::new();
    let (a, b) = (
        portal.create("contacts", json!({"email": "a@x.test", "firstname": "A"})),
        portal.create("contacts", json!({"email": "b@x.test", "lastname": "B"})),
    );
    let company = portal.create("companies", json!({"name": "C"}));
    portal.put(&format!("/crm/v4/objects/contacts/{b}/associations/default/companies/{company}"), json!(null)).expect(200);
    let merged = portal.post("/crm/v3/objects/contacts/merge", json!({"primaryObjectId": a, "objectIdToMerge": b})).expect(200);
    let new = merged.id();
    assert!(new != a && new != b);
    for id in [&a, &b] {
        let read = portal
            .get(&format!("/crm/v3/objects/contacts/{id}?properties=firstname,lastname,email,hs_merged_object_ids,hs_additional_emails"))
            .expect(200);
        assert_eq!(read.id(), new);
        assert_eq!(
            (read.text("/properties/firstname"), read.text("/properties/lastname"), read.text("/properties/email")),
            ("A", "B", "a@x.test")
        );
        assert_eq!(read.text("/properties/hs_merged_object_ids"), format!("{a};{b}"));
        assert_eq!(read.text("/properties/hs_additional_emails"), "b@x.test");
        portal.patch(&format!("/crm/v3/objects/contacts/{id}"), json!({"properties": {"city": "X"}})).expect(200);
    }
    // The second address is still the contact's.
    assert_eq!(portal.get("/crm/v3/objects/contacts/b@x.test?idProperty=email").expect(200).id(), new);
    portal.post("/crm/v3/objects/contacts", json!({"properties": {"email": "b@x.test"}})).expect(409);
    // Batch updates do not follow.
    let batch =
        portal.post("/crm/v3/objects/contacts/batch/update", json!({"inputs": [{"id": a, "properties": {"city": "Y"}}]})).expect(207);
    assert_eq!(batch.body["errors"][0]["context"]["ids"], json!([a]));
    let linked = portal.get(&format!("/crm/v4/objects/contacts/{new}/associations/companies"));
    assert_eq!(linked.results().len(), 1);
    assert_eq!(portal.get("/crm/v3/objects/contacts").results().len(), 1);
    portal.set(|options| options.merge_new_id = false);
    let other = portal.contact("c@x.test");
    let merged = portal.post("/crm/v3/objects/contacts/merge", json!({"primaryObjectId": new, "objectIdToMerge": other})).expect(200);
    assert_eq!(merged.id(), new);
    assert_eq!(portal.get(&format!("/crm/v3/objects/contacts/{other}")).expect(200).id(), new);
    portal.post("/crm/v3/objects/notes/merge", json!({"primaryObjectId": "1", "objectIdToMerge": "2"})).expect(400);
}

#[test]
fn a_contact_deleted_for_privacy_is_gone() {
    let portal = Portal::new();
    let id = portal.contact("a@x.test");
    portal.post("/crm/v3/objects/contacts/gdpr-delete", json!({"objectId": "a@x.test", "idProperty": "email"})).expect(204);
    assert_eq!(portal.get(&format!("/crm/v3/objects/contacts/{id}?archived=true")).status, 404);
    assert_eq!(portal.post("/crm/v3/objects/companies/gdpr-delete", json!({"objectId": id})).status, 404);
}

#[test]
fn values_have_their_history_and_stages_go_forward() {
    let portal = Portal::new();
    let id = portal.create("contacts", json!({"lifecyclestage": "customer", "phone": "+49 30 123"}));
    let path = format!("/crm/v3/objects/contacts/{id}");
    portal.pass(1);
    portal.patch(&path, json!({"properties": {"lifecyclestage": "lead", "phone": "030 456"}})).expect(200);
    let read = portal
        .get(&format!("{path}?properties=lifecyclestage,hs_searchable_calculated_phone_number&propertiesWithHistory=phone"))
        .expect(200);
    assert_eq!(read.text("/properties/lifecyclestage"), "customer");
    assert_eq!(read.text("/properties/hs_searchable_calculated_phone_number"), "30456");
    assert_eq!(read.body["propertiesWithHistory"]["phone"].as_array().unwrap().len(), 2);
    assert_eq!(read.text("/propertiesWithHistory/phone/0/sourceType"), "INTEGRATION");
    portal.patch(&path, json!({"properties": {"lifecyclestage": ""}})).expect(200);
    portal.patch(&path, json!({"properties": {"lifecyclestage": "lead"}})).expect(200);
    assert_eq!(portal.get(&format!("{path}?properties=lifecyclestage")).text("/properties/lifecyclestage"), "lead");
    let before = portal.get(&path).text("/updatedAt").to_owned();
    portal.pass(5);
    portal.patch(&path, json!({"properties": {"phone": "030 456"}})).expect(200);
    assert_eq!(portal.get(&path).text("/updatedAt"), before, "an equal value changes nothing");
}

#[test]
fn activities_have_dates_and_what_follows_from_them() {
    let portal = Portal::new();
    let contact = portal.contact("a@x.test");
    let to = |type_id: u64| json!([{"to": {"id": contact}, "types": [{"associationCategory": "HUBSPOT_DEFINED", "associationTypeId": type_id}]}]);
    for (object, type_id, properties) in [
        ("notes", 202, json!({"hs_timestamp": "1772236800000", "hs_note_body": "x"})),
        ("tasks", 204, json!({"hs_timestamp": "2026-02-28T00:00:00Z", "hs_task_subject": "x", "hs_task_status": "NOT_STARTED"})),
        ("calls", 194, json!({"hs_timestamp": "1772236800000", "hs_call_disposition": "f240bbac-87c9-4f6e-bf70-924b57d47db7"})),
        ("meetings", 200, json!({"hs_timestamp": "1772236800000", "hs_meeting_title": "x"})),
    ] {
        let body = json!({"properties": properties, "associations": to(type_id)});
        let made = portal.post(&format!("/crm/objects/2026-03/{object}"), body).expect(201);
        assert_eq!(made.text("/properties/hs_timestamp"), "2026-02-28T00:00:00Z");
        assert!(made.body["properties"]["hs_createdate"].is_string() && made.body["properties"]["hs_lastmodifieddate"].is_string());
        let linked = portal.get(&format!("/crm/v4/objects/contacts/{contact}/associations/{object}"));
        assert_eq!(linked.results()[0]["toObjectId"].as_u64().unwrap().to_string(), made.id());
        assert_eq!(linked.results()[0]["associationTypes"][0]["typeId"], type_id - 1);
        let wrong = json!({"properties": {"hs_timestamp": "0"}, "associations": to(1)});
        portal.post(&format!("/crm/v3/objects/{object}"), wrong).expect(400);
    }
    let headers =
        json!({"from": {"email": "f@x.test", "firstName": "F"}, "to": [{"email": "a@x.test"}, {"email": "b@x.test"}]}).to_string();
    let mail = portal.create("emails", json!({"hs_timestamp": "0", "hs_email_direction": "EMAIL", "hs_email_headers": headers}));
    let read = portal.get(&format!("/crm/v3/objects/emails/{mail}?properties=hs_email_from_email,hs_email_to_email"));
    assert_eq!(
        (read.text("/properties/hs_email_from_email"), read.text("/properties/hs_email_to_email")),
        ("f@x.test", "a@x.test;b@x.test")
    );
}

#[test]
fn the_directory_keeps_the_account() {
    let dir = tempfile::tempdir().unwrap();
    let (host, clock) = Host::manual_with_clock(1);
    let (id, refreshed, state) = {
        let portal = Portal::over(Sandbox::open(host.clone(), 1, dir.path()).unwrap(), clock.clone());
        portal.unique_key();
        let id = portal.create("contacts", json!({"email": "a@x.test", "sync_key": "K"}));
        portal.set(|options| options.daily_limit = 7);
        (id, portal.oauth().token, portal.sandbox.state())
    };
    let portal = Portal::over(Sandbox::open(host, 1, dir.path()).unwrap(), clock);
    assert_eq!(portal.sandbox.state(), state);
    assert_eq!(portal.sandbox.hubspot_options().daily_limit, 7);
    assert_eq!(portal.with_token(&refreshed).get("/crm/v3/objects/contacts/K?idProperty=sync_key").expect(200).id(), id);
    let next = portal.contact("b@x.test");
    assert!(next > id, "ids go on");
    portal.sandbox.reset().unwrap();
    assert_eq!(portal.get("/crm/v3/objects/contacts").results().len(), 0);
}

#[test]
fn the_same_seed_makes_the_same_account() {
    let run = || {
        let portal = Portal::new();
        for at in 0..5 {
            portal.contact(&format!("c{at}@x.test"));
        }
        let inputs: Vec<Value> = (0..5).map(|at| json!({"properties": {"email": format!("d{at}@x.test")}})).collect();
        let batch = portal.post("/crm/v3/objects/contacts/batch/create", json!({"inputs": inputs}));
        (portal.sandbox.state(), batch.body, portal.access.access_token)
    };
    assert_eq!(run(), run());
}

#[test]
fn the_sandbox_itself_edits_as_a_person() {
    let portal = Portal::new();
    let id = portal.post("/_sandbox/hubspot/records/contacts", json!({"email": "a@x.test"})).expect(201).id();
    portal.patch(&format!("/_sandbox/hubspot/records/contacts/{id}"), json!({"city": "X"})).expect(204);
    let read = portal.get(&format!("/crm/v3/objects/contacts/{id}?properties=city,hs_object_source"));
    assert_eq!((read.text("/properties/city"), read.text("/properties/hs_object_source")), ("X", "CRM_UI"));
    portal.delete(&format!("/_sandbox/hubspot/records/contacts/{id}")).expect(204);
    assert!(portal.sandbox.hubspot_records("contacts").is_empty());
    portal.post(&format!("/_sandbox/hubspot/restore/contacts/{id}"), json!({})).expect(204);
    assert_eq!(portal.get("/_sandbox/hubspot/records/contacts").body.as_array().unwrap().len(), 1);
    portal.post("/_sandbox/hubspot/options", json!({"search_lag_millis": 9})).expect(204);
    assert_eq!(portal.get("/_sandbox/hubspot/options").body["search_lag_millis"], 9);
    assert_eq!(portal.post("/_sandbox/hubspot/records/contacts", json!({"nonsense": "1"})).status, 400);
    assert_eq!(portal.get("/_sandbox/hubspot/nonsense").status, 404);
}
