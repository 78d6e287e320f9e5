//! API v2 of the Pipedrive face, spoken to in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::pipedrive_http;

use pipedrive_http::{Company, lacking};
use serde_json::{Value, json};

#[test]
fn a_person_lives_their_life() {
    let company = Company::new();
    let made = company.post(
        "/persons",
        json!({"name": "Eva van der Berg", "emails": [{"value": "eva@acme.example"}, {"value": "e@home.example", "label": "home"}],
               "phones": [{"value": "+49 30 1", "primary": true, "label": "mobile"}], "label_ids": [1]}),
    );
    assert_eq!(made.status, 200);
    let person = made.data().clone();
    assert_eq!(person["first_name"], "Eva");
    assert_eq!(person["last_name"], "van der Berg");
    assert_eq!(
        person["emails"],
        json!([{"value": "eva@acme.example", "primary": true, "label": "work"}, {"value": "e@home.example", "primary": false, "label": "home"}])
    );
    assert_eq!(person["owner_id"], company.access.user_id);
    assert_eq!(person["add_time"], "2026-01-01T00:00:00Z");
    assert_eq!(person["visible_to"], 3);
    assert_eq!((&person["org_id"], &person["is_deleted"]), (&Value::Null, &json!(false)));
    assert!(person.get("notes").is_none() && person.get("email").is_none());
    let id = made.id();
    company.wait(61);
    let changed = company.patch(&format!("/persons/{id}"), json!({"name": "Eva Berg", "emails": []}));
    assert_eq!(changed.data()["update_time"], "2026-01-01T00:01:01Z");
    assert_eq!((&changed.data()["last_name"], &changed.data()["emails"]), (&json!("Berg"), &json!([])));
    assert_eq!(changed.data()["phones"][0]["label"], "mobile");
    company.send("PUT", &format!("/persons/{id}"), Some(json!({}))).refused(405, "Method Not Allowed");
    company.wait(1);
    assert_eq!(company.delete(&format!("/persons/{id}")).body, json!({"success": true, "data": {"id": id}}));
    let gone = company.get(&format!("/persons/{id}"));
    assert_eq!((&gone.data()["is_deleted"], &gone.data()["update_time"]), (&json!(true), &json!("2026-01-01T00:01:02Z")));
    company.delete(&format!("/persons/{id}")).refused(404, "not found");
    company.patch(&format!("/persons/{id}"), json!({"name": "x"})).refused(404, "Person not found");
    assert!(company.get("/persons").ids().is_empty());
    company.wait(31 * 86_400);
    assert_eq!(company.get(&format!("/persons/{id}")).status, 404);
}

#[test]
fn bodies_are_strict() {
    let company = Company::new();
    let key = "a".repeat(40);
    company.post("/persons", json!({"name": "x", "email": "a@b.c"})).invalid("Parameter 'email' is not allowed for this request");
    company.post("/persons", json!({"name": "x", &key: "y"})).invalid(&format!("Parameter '{key}' is not allowed"));
    company.post("/persons", json!({"name": "x", "custom_fields": {&key: 1}})).invalid(&key);
    company.post("/persons", json!({})).invalid("name: Required");
    company.post("/persons", json!({"name": " "})).invalid("name: String must contain");
    company.post("/persons", json!({"name": "x", "owner_id": "1"})).invalid("owner_id: Expected 'integer', received 'string'");
    company.post("/persons", json!({"name": "x", "org_id": 99})).invalid("organization with id '99' does not exist");
    company.post("/persons", json!({"name": "x", "emails": "a@b.c"})).invalid("emails: Expected 'array'");
    company.post("/persons", json!({"name": "x", "emails": ["a@b.c"]})).invalid("emails[0]: Expected 'object'");
    company
        .post("/persons", json!({"name": "x", "emails": [{"value": "a", "primary": 1}]}))
        .invalid("emails[0].primary: Expected 'boolean'");
    let twice = json!([{"value": "a", "primary": true}, {"value": "b", "primary": true}]);
    company.post("/persons", json!({"name": "x", "emails": twice})).invalid("Only one item can be primary");
    company.post("/persons", json!({"name": "x", "visible_to": "3"})).invalid("visible_to");
    company.post("/persons", json!({"name": "x", "visible_to": 2})).invalid("visible_to: must be one of 1, 3, 5, 7");
    company.post("/persons", json!({"name": "x", "label_ids": [999]})).invalid("label_ids");
    company.post("/persons", json!({"name": "x", "label_ids": "1,2"})).invalid("label_ids: Expected 'array'");
    company.post("/persons", json!({"name": 7, "phone": "1"})).invalid("; ");
    company.post("/persons", json!({"name": "x", "notes": "hi"})).refused(403, "contact sync");
    company.post("/persons", json!({"name": "x", "custom_fields": {"custom_fields": {}}})).refused(500, "ERR_UNKNOWN");
    company.post("/persons", json!([])).invalid("body");
    let form = company.form("/api/v2/persons", &[("name", "x")]);
    form.invalid("application/json");
    let both = company.post("/persons", json!({"first_name": "Ada", "last_name": "Byron"}));
    assert_eq!(both.data()["name"], "Ada Byron");
    let id = both.id();
    company.patch(&format!("/persons/{id}"), json!({"add_time": "2026-01-01T00:00:00Z"})).invalid("add_time");
    let early = company.post("/persons", json!({"name": "x", "add_time": "2020-01-01T00:00:00Z"}));
    assert_eq!(early.data()["add_time"], "2020-01-01T00:00:00Z");
    company.post("/activities", json!({"subject": "x", "done": 1})).invalid("done: Expected 'boolean'");
    company.sandbox.set_pipedrive_options(|options| options.contact_sync = true).unwrap();
    let synced = company.post("/persons", json!({"name": "x", "notes": "hi", "birthday": "2000-12-31"}));
    assert_eq!((&synced.data()["notes"], &synced.data()["im"]), (&json!("hi"), &Value::Null));
    assert_eq!(company.get("/persons/abc").status, 400);
    assert_eq!(company.get("/pipedrive/v2/persons").status, 404);
    assert_eq!(company.get("/nothing").status, 404);
}

#[test]
fn lists_page_by_cursor_sort_and_filter() {
    let company = Company::new();
    let ids: Vec<i64> = (0..7)
        .map(|at| {
            company.wait(10);
            company.person(&format!("Person {at}"), &format!("p{at}@x.example"))
        })
        .collect();
    let mut seen = Vec::new();
    let mut path = "/persons?limit=3&sort_by=update_time&sort_direction=desc".to_owned();
    loop {
        let page = company.get(&path);
        seen.extend(page.ids());
        let Some(cursor) = page.body["additional_data"]["next_cursor"].as_str() else { break };
        path = format!("/persons?limit=3&sort_by=update_time&sort_direction=desc&cursor={cursor}");
    }
    let mut newest = ids.clone();
    newest.reverse();
    assert_eq!(seen, newest);
    let first = company.get("/persons?limit=3");
    let cursor = first.body["additional_data"]["next_cursor"].as_str().unwrap().to_owned();
    company.get(&format!("/persons?cursor={cursor}&sort_by=add_time")).invalid("cursor");
    company.get("/persons?cursor=nonsense").invalid("cursor");
    for (query, problem) in [
        ("limit=501", "limit"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("sort_by=name", "sort_by"),
        ("sort_direction=up", "sort_direction"),
        ("updated_since=2026-01-01T00:00:00.000Z", "not a valid datetime"),
        ("updated_since=2026-01-01%2000:00:00", "not a valid datetime"),
        ("organization_id=1", "Parameter 'organization_id' is not allowed"),
        ("ids=a", "ids"),
        ("include_fields=nothing", "include_fields"),
        ("start=0", "Parameter 'start' is not allowed"),
        ("include_labels=1", "include_labels"),
    ] {
        company.get(&format!("/persons?{query}")).invalid(problem);
    }
    // From the second on, until before the fourth.
    let between = company.get("/persons?updated_since=2026-01-01T00:00:20Z&updated_until=2026-01-01T00:00:40Z");
    assert_eq!(between.ids(), &ids[1..3]);
    let some = company.get(&format!("/persons?ids={},999,{}", ids[4], ids[0]));
    assert_eq!(some.ids(), [ids[0], ids[4]]);
    let many: Vec<String> = (1..=101).map(|id: i64| id.to_string()).collect();
    company.get(&format!("/persons?ids={}", many.join(","))).invalid("at most 100");
    company.get("/pipelines?updated_since=2026-01-01T00:00:00Z").invalid("Parameter 'updated_since' is not allowed");
    company.get("/stages?updated_since=2026-01-01T00:00:00Z").invalid("updated_since");
    company.get("/products?updated_until=2026-01-01T00:00:00Z").invalid("updated_until");
    assert_eq!(company.get("/stages?pipeline_id=1&sort_by=order_nr").ids(), [1, 2, 3, 4, 5]);
    assert_eq!(company.get("/persons?filter_id=77").status, 404);
    let counted = company.get(&format!("/persons/{}?include_fields=notes_count,smart_bcc_email", ids[0]));
    assert_eq!(counted.data()["notes_count"], 0);
    assert!(counted.data()["smart_bcc_email"].as_str().unwrap().contains('@'));
    let labelled = company.post("/persons", json!({"name": "L", "label_ids": [2]})).id();
    let shown = company.get(&format!("/persons/{labelled}?include_labels=true"));
    assert_eq!(shown.data()["labels"], json!([{"id": 2, "label": "Hot lead", "color": "red"}]));
}

#[test]
fn deals_are_won_lost_and_deleted() {
    let company = Company::new();
    company.post("/deals", json!({"value": 3})).invalid("title: Required");
    let made = company.post("/deals", json!({"title": "Big", "value": 100, "currency": "USD", "origin": "mine", "channel_id": "spring"}));
    let deal = made.data();
    assert_eq!((&deal["stage_id"], &deal["pipeline_id"], &deal["status"]), (&json!(1), &json!(1), &json!("open")));
    assert_eq!((&deal["origin"], &deal["channel_id"], &deal["won_time"]), (&json!("API"), &json!("spring"), &Value::Null));
    let path = format!("/deals/{}", made.id());
    company.patch(&path, json!({"origin": "x"})).invalid("origin");
    company.patch(&path, json!({"is_deleted": true})).invalid("is_deleted");
    company.patch(&path, json!({"lost_reason": "x"})).invalid("lost_reason");
    company.patch(&path, json!({"won_time": "2026-01-01T00:00:00Z"})).invalid("won_time");
    company.patch(&path, json!({"status": "deleted"})).invalid("status");
    company.patch(&path, json!({"stage_id": 99})).invalid("stage_id");
    company.patch(&path, json!({"currency": "euro"})).invalid("currency");
    company.wait(60);
    let won = company.patch(&path, json!({"status": "won"}));
    assert_eq!((&won.data()["stage_id"], &won.data()["won_time"]), (&json!(1), &json!("2026-01-01T00:01:00Z")));
    assert_eq!((&won.data()["close_time"], &won.data()["local_won_date"]), (&json!("2026-01-01T00:01:00Z"), &json!("2026-01-01")));
    let lost = company.patch(&path, json!({"status": "lost", "lost_reason": "price"}));
    assert_eq!((&lost.data()["won_time"], &lost.data()["lost_reason"]), (&Value::Null, &json!("price")));
    let open = company.patch(&path, json!({"status": "open"}));
    assert_eq!((&open.data()["lost_reason"], &open.data()["close_time"]), (&Value::Null, &Value::Null));
    // A stage brings its pipeline, a pipeline its first stage.
    let pipeline = company.post("/pipelines", json!({"name": "Second"})).id();
    company.post("/deals", json!({"title": "x", "pipeline_id": pipeline})).invalid("no stage");
    company.post("/stages", json!({"name": "A"})).invalid("pipeline_id: Required");
    company.post("/stages", json!({"name": "A", "pipeline_id": pipeline, "order_nr": 3})).invalid("order_nr");
    let stage = company.post("/stages", json!({"name": "A", "pipeline_id": pipeline})).id();
    let moved = company.patch(&path, json!({"stage_id": stage}));
    assert_eq!(moved.data()["pipeline_id"], pipeline);
    assert_eq!(company.patch(&path, json!({"pipeline_id": 1})).data()["stage_id"], 1);
    assert_eq!(company.get("/deals?status=open,won").ids().len(), 1);
    company.get("/deals?status=closed").invalid("status");
    assert_eq!(company.get("/deals?filter_id=1&status=lost").ids().len(), 1);
    company.delete(&path);
    assert!(company.get("/deals").ids().is_empty());
    let deleted = company.get("/deals?status=deleted");
    assert_eq!((&deleted.data()[0]["is_deleted"], &deleted.data()[0]["status"]), (&json!(true), &json!("deleted")));
    company.wait(31 * 86_400);
    assert!(company.get("/deals?status=deleted").ids().is_empty());
    // Archived ones are elsewhere and cannot be edited.
    let old = company.post("/deals", json!({"title": "Old", "is_archived": true, "archive_time": "2026-01-02 03:04:05"}));
    assert_eq!(old.data()["archive_time"], "2026-01-02T03:04:05Z");
    assert_eq!(company.get("/deals/archived").ids(), [old.id()]);
    assert!(company.get("/deals").ids().is_empty());
    company.patch(&format!("/deals/{}", old.id()), json!({"title": "New"})).refused(403, "Archived");
    company.sandbox.set_pipedrive_options(|options| options.open_deals_limit = Some(0)).unwrap();
    company.post("/deals", json!({"title": "x"})).refused(403, "feature_capping_deals_limit");
}

#[test]
fn activities_link_persons_by_participants() {
    let company = Company::new();
    let person = company.person("Eva", "eva@x.example");
    company.post("/activities", json!({"subject": "x", "person_id": person})).invalid("Parameter 'person_id' is not allowed");
    company.post("/activities", json!({"subject": "x", "type": "dance"})).invalid("activity type 'dance'");
    company.post("/activities", json!({"subject": "x", "due_time": "9am"})).invalid("due_time");
    let body = json!({"subject": "Call Eva", "type": "call", "participants": [{"person_id": person, "primary": true}], "due_date": "2026-02-01",
                      "due_time": "09:30", "duration": "00:15", "done": false, "note": "<b>x</b>", "location": {"value": "Berlin"}});
    let made = company.post("/activities", body);
    let activity = made.data();
    assert_eq!(
        (&activity["person_id"], &activity["due_time"], &activity["duration"]),
        (&json!(person), &json!("09:30:00"), &json!("00:15:00"))
    );
    assert_eq!((&activity["location"]["value"], &activity["location"]["country"]), (&json!("Berlin"), &Value::Null));
    assert!(activity.get("custom_fields").is_none() && activity.get("attendees").is_none());
    assert_eq!(activity["marked_as_done_time"], Value::Null);
    let done = company.patch(&format!("/activities/{}", made.id()), json!({"done": true}));
    assert_eq!(done.data()["marked_as_done_time"], "2026-01-01T00:00:00Z");
    assert_eq!(company.get(&format!("/activities?person_id={person}&done=true")).ids(), [made.id()]);
    assert!(company.get("/activities?done=false").ids().is_empty());
    company.get("/activities?custom_fields=x").invalid("custom_fields");
    assert_eq!(company.get("/activities?include_fields=attendees").data()[0]["attendees"], Value::Null);
    assert_eq!(company.post("/activities", json!({})).data()["subject"], "Call");
}

#[test]
fn custom_fields_of_every_type_are_nested_and_strict() {
    let company = Company::new();
    let (text, _) = company.field("person", "varchar", &[]);
    let (money, _) = company.field("person", "monetary", &[]);
    let (one, ones) = company.field("person", "enum", &["A", "B"]);
    let (many, set) = company.field("person", "set", &["X", "Y", "Z"]);
    let (day, _) = company.field("person", "date", &[]);
    let (days, _) = company.field("person", "daterange", &[]);
    let (time, _) = company.field("person", "time", &[]);
    let (times, _) = company.field("person", "timerange", &[]);
    let (place, _) = company.field("person", "address", &[]);
    let (user, _) = company.field("person", "user", &[]);
    let (double, _) = company.field("person", "double", &[]);
    assert_eq!(text.len(), 40);
    assert_ne!(text, money);
    company.post("/personFields", json!({"field_name": "x", "field_type": "enum"})).invalid("options");
    company.post("/personFields", json!({"field_name": "x", "field_type": "url"})).invalid("field_type");
    let id = company.person("Eva", "eva@x.example");
    let path = format!("/persons/{id}");
    for (key, value, problem) in [
        (&text, json!(1), "Expected 'string'"),
        (&text, json!("x".repeat(256)), "at most 255"),
        (&money, json!(5), "Expected 'object'"),
        (&money, json!({"value": "5", "currency": "EUR"}), "value"),
        (&money, json!({"value": 5}), "currency"),
        (&one, json!("1"), "Expected 'number' as value for single option custom field"),
        (&one, json!(9999), "does not exist"),
        (&many, json!([]), "at least 1"),
        (&many, json!("1,2"), "Expected 'array'"),
        (&day, json!("01.02.2026"), "date"),
        (&days, json!({"from": "2026-01-01"}), "Parameter 'from' is not allowed"),
        (&time, json!("09:00"), "Expected 'object'"),
        (&user, json!(5), "does not exist"),
        (&place, json!("Berlin"), "Expected 'object'"),
        (&place, json!({"country": "DE"}), "value: Required"),
    ] {
        let refused = company.patch(&path, json!({"custom_fields": {key: value}}));
        refused.invalid(problem);
        assert!(refused.error().contains(key.as_str()), "the key is named: {}", refused.body);
    }
    let all = json!({&text: "t", &money: {"value": 5.5, "currency": "USD"}, &one: ones[1], &many: [set[0], set[2]], &day: "2026-02-03",
        &days: {"value": "2026-01-01", "until": "2026-01-31"}, &time: {"value": "09:30", "timezone_name": "Europe/Tallinn"},
        &times: {"value": "09:00:00", "until": "10:00:00", "timezone_name": "UTC"}, &place: {"value": "Berlin", "country": "Germany"},
        &user: company.access.user_id, &double: 1.25});
    let written = company.patch(&path, json!({"custom_fields": all.clone()}));
    let custom = &written.data()["custom_fields"];
    assert_eq!((&custom[&money], &custom[&many], &custom[&one]), (&all[&money], &all[&many], &all[&one]));
    assert_eq!((&custom[&time]["value"], &custom[&time]["timezone_name"]), (&json!("09:30:00"), &json!("Europe/Tallinn")));
    assert_eq!((&custom[&place]["country"], &custom[&place]["locality"]), (&json!("Germany"), &Value::Null));
    // Other keys are left alone; null clears.
    let cleared = company.patch(&path, json!({"custom_fields": {&many: null}}));
    assert_eq!((&cleared.data()["custom_fields"][&many], &cleared.data()["custom_fields"][&text]), (&Value::Null, &json!("t")));
    let some = company.get(&format!("{path}?custom_fields={text},{one}&include_option_labels=true"));
    assert_eq!(some.data()["custom_fields"], json!({&text: "t", &one: {"id": ones[1], "label": "B"}}));
    let keys: Vec<String> = (0..16).map(|at| format!("k{at}")).collect();
    company.get(&format!("{path}?custom_fields={}", keys.join(","))).invalid("at most 15");
    // Nothing at all clears everything.
    let emptied = company.patch(&path, json!({"custom_fields": {}}));
    assert_eq!(emptied.data()["custom_fields"][&text], Value::Null);
    // Options change all or nothing; a deleted field is not allowed any more.
    company
        .send("PATCH", &format!("/personFields/{one}/options"), Some(json!([{"id": ones[0], "label": "New"}, {"id": 9999, "label": "x"}])))
        .refused(404, "9999");
    assert_eq!(company.get(&format!("/personFields/{one}")).data()["options"][0]["label"], "A");
    let added = company.post(&format!("/personFields/{one}/options"), json!([{"label": "C"}]));
    assert_eq!(added.data()[0]["label"], "C");
    company.send("DELETE", &format!("/personFields/{one}/options"), Some(json!([{"id": ones[1]}])));
    company.patch(&path, json!({"custom_fields": {&one: ones[1]}})).invalid("does not exist");
    assert_eq!(company.delete(&format!("/personFields/{text}")).data()["field_code"], text);
    company.patch(&path, json!({"custom_fields": {&text: "x"}})).invalid("is not allowed");
    let listed = company.get("/personFields?limit=5");
    assert_eq!(listed.data().as_array().unwrap().len(), 5);
    assert!(listed.body["additional_data"]["next_cursor"].is_string());
    let built_in = company.get("/dealFields/status");
    assert_eq!((&built_in.data()["options"][0]["id"], &built_in.data()["is_custom_field"]), (&json!("open"), &json!(false)));
}

#[test]
fn addresses_are_whole_and_products_have_prices() {
    let company = Company::new();
    company.post("/organizations", json!({"name": "A", "address": {"country": "DE"}})).invalid("address: value: Required");
    company.post("/organizations", json!({"name": "A", "address": "Berlin"})).invalid("address: Expected 'object'");
    let org = company
        .post("/organizations", json!({"name": "A", "address": {"value": "Berlin", "country": "DE"}, "industry": 9, "employee_count": 5}));
    assert_eq!(org.data()["address"]["country"], "DE");
    let moved = company.patch(&format!("/organizations/{}", org.id()), json!({"address": {"value": "Bonn"}}));
    assert_eq!(moved.data()["address"]["country"], Value::Null);
    let body = json!({"name": "Pen", "category": 15, "prices": [{"currency": "EUR", "price": 5}]});
    let product = company.post("/products", body);
    assert_eq!((product.status, &product.data()["prices"][0]["product_id"]), (201, &json!(product.id())));
    company.post("/products", json!({"name": "Pen", "prices": [{"currency": "EUR"}, {"currency": "EUR"}]})).invalid("only one price");
    let again = company.patch(&format!("/products/{}", product.id()), json!({"prices": [{"currency": "USD", "price": 6}]}));
    assert_eq!(again.data()["prices"].as_array().unwrap().len(), 1);
    let deal = company.post("/deals", json!({"title": "D", "currency": "EUR"})).id();
    company.post(&format!("/deals/{deal}/products"), json!({"product_id": product.id()})).invalid("item_price: Required");
    let line = company
        .post(&format!("/deals/{deal}/products"), json!({"product_id": product.id(), "item_price": 10, "quantity": 3, "discount": 10}));
    assert_eq!((line.status, &line.data()["sum"]), (201, &json!(27.0)));
    let many: Vec<Value> = (0..3).map(|_| json!({"product_id": product.id(), "item_price": 1, "quantity": 1})).collect();
    assert_eq!(company.post(&format!("/deals/{deal}/products/bulk"), json!({"data": many})).data().as_array().unwrap().len(), 3);
    assert_eq!(company.get(&format!("/deals/products?deal_ids={deal}")).ids().len(), 4);
    assert_eq!(company.delete(&format!("/deals/{deal}/products")).data()["ids"].as_array().unwrap().len(), 4);
    assert!(company.get(&format!("/deals/{deal}/products")).ids().is_empty());
    let user = company.access.user_id;
    assert_eq!(company.post(&format!("/deals/{deal}/followers"), json!({"user_id": user})).status, 201);
    company.post(&format!("/deals/{deal}/followers"), json!({"user_id": user})).invalid("follows");
    assert_eq!(company.delete(&format!("/deals/{deal}/followers/{user}")).data()["user_id"], user);
}

#[test]
fn search_is_partial_unless_it_is_exact() {
    let company = Company::new();
    let (note, _) = company.field("person", "varchar", &[]);
    let eva = company.person("Eva", "self@example.com");
    let ada = company.person("Ada", "myself@example.com");
    let plus =
        company.post("/persons", json!({"name": "Plus", "emails": [{"value": "a+b@example.com"}], "custom_fields": {&note: "Ext-7"}})).id();
    let partial = company.get("/persons/search?term=self@example.com&fields=email");
    assert_eq!(partial.found(), [eva, ada]);
    let exact = company.get("/persons/search?term=SELF@example.com&fields=email&exact_match=true");
    assert_eq!(exact.found(), [eva]);
    let item = &exact.data()["items"][0];
    assert!(item["result_score"].is_number());
    assert_eq!(
        (&item["item"]["emails"], &item["item"]["owner"]["id"], &item["item"]["organization"]),
        (&json!(["self@example.com"]), &json!(company.access.user_id), &Value::Null)
    );
    assert!(company.get("/persons/search?term=a+b@example.com&fields=email&exact_match=true").found().is_empty(), "a plus is a space");
    assert_eq!(company.get("/persons/search?term=a%2Bb@example.com&fields=email&exact_match=true").found(), [plus]);
    assert_eq!(company.get("/persons/search?term=ext-7&fields=custom_fields&exact_match=true").found(), [plus]);
    company.get("/persons/search?term=a").invalid("at least 2");
    assert_eq!(company.get("/persons/search?term=a&exact_match=true").status, 200);
    company.get("/persons/search?term=ab&fields=title").invalid("fields");
    company.get("/persons/search?term=ab&org_id=1").invalid("Parameter 'org_id' is not allowed");
    company.get("/itemSearch?term=ab&limit=101").invalid("limit");
    let all = company.get("/itemSearch?term=example&item_types=person&limit=2");
    assert_eq!(all.found().len(), 2);
    let cursor = all.body["additional_data"]["next_cursor"].as_str().unwrap();
    assert_eq!(company.get(&format!("/itemSearch?term=example&item_types=person&limit=2&cursor={cursor}")).found().len(), 1);
    // By field: case counts.
    let by_field =
        |term: &str, how: &str| company.get(&format!("/itemSearch/field?entity_type=person&field={note}&term={term}&match={how}"));
    assert_eq!(by_field("Ext-7", "exact").ids(), [plus]);
    assert!(by_field("ext-7", "exact").ids().is_empty());
    assert_eq!(by_field("Ext", "beginning").ids(), [plus]);
    assert_eq!(by_field("xt-", "middle").ids(), [plus]);
    company.get("/itemSearch/field?entity_type=person&field=nothing&term=xy").invalid("field");
    company.delete(&format!("/persons/{ada}"));
    assert_eq!(company.get("/persons/search?term=self@example.com").found(), [eva]);
}

#[test]
fn search_lags_behind_writes() {
    let company = Company::new();
    company.sandbox.set_pipedrive_options(|options| options.search_lag_millis = 3_000).unwrap();
    let id = company.person("Eva", "eva@example.com");
    let find = |email: &str| company.get(&format!("/persons/search?term={email}&exact_match=true&fields=email")).found();
    assert!(find("eva@example.com").is_empty());
    assert_eq!(company.get("/persons").ids(), [id], "a list knows at once");
    company.wait(3);
    assert_eq!(find("eva@example.com"), [id]);
    company.patch(&format!("/persons/{id}"), json!({"emails": [{"value": "new@example.com"}]}));
    assert_eq!((find("eva@example.com"), find("new@example.com")), (vec![id], vec![]));
    company.wait(3);
    assert_eq!((find("eva@example.com"), find("new@example.com")), (vec![], vec![id]));
}

#[test]
fn answers_have_what_the_official_examples_have() {
    let company = Company::new();
    company.sandbox.set_pipedrive_options(|options| options.contact_sync = true).unwrap();
    let org = company.post("/organizations", json!({"name": "Acme"})).id();
    let person = company.post("/persons", json!({"name": "Jane Doe", "org_id": org})).id();
    company.post("/deals", json!({"title": "Acme deal", "person_id": person}));
    company.post("/activities", json!({"subject": "Call"}));
    company.post("/products", json!({"name": "Acme pencil"}));
    company.post("/v1/leads", json!({"title": "Acme lead", "person_id": person}));
    // An organization has no organization, whatever the example says.
    for (path, shape, known) in [
        ("/persons", "person", vec![]),
        ("/organizations", "organization", vec!["org_id"]),
        ("/deals?include_fields=source_lead_id", "deal", vec![]),
        ("/activities?include_fields=attendees", "activity", vec![]),
        ("/products", "product", vec![]),
        ("/pipelines", "pipeline", vec![]),
        ("/stages", "stage", vec![]),
        ("/personFields?include_fields=ui_visibility,important_fields,required_fields", "personField", vec![]),
    ] {
        assert_eq!(lacking(shape, &company.get(path).data()[0]), known, "{path}");
    }
    for (path, shape) in [
        ("/persons/search?term=jane", "person_search"),
        ("/organizations/search?term=acme", "organization_search"),
        ("/deals/search?term=acme", "deal_search"),
        ("/products/search?term=acme", "product_search"),
        ("/leads/search?term=acme", "lead_search"),
    ] {
        assert_eq!(lacking(shape, &company.get(path).data()["items"][0]["item"]), Vec::<String>::new(), "{path}");
    }
}
