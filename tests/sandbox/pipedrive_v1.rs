//! API v1 of the Pipedrive face, and its webhooks, spoken to in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::pipedrive_http;

use crm_sync::sandbox::WebhookDelivery;
use pipedrive_http::{Company, lacking};
use serde_json::{Value, json};

#[test]
fn notes_are_pinned_by_numbers_and_read_as_booleans() {
    let company = Company::new();
    let person = company.person("Eva", "eva@x.example");
    let deal = company.post("/deals", json!({"title": "Big", "person_id": person})).id();
    company.post("/v1/notes", json!({"content": "x"})).refused(400, "deal_id, person_id, org_id, lead_id");
    company.post("/v1/notes", json!({"deal_id": deal})).refused(400, "content");
    company.post("/v1/notes", json!({"content": "x", "deal_id": deal, "pinned_to_deal_flag": true})).refused(400, "pinned_to_deal_flag");
    company.post("/v1/notes", json!({"content": "x", "person_id": person, "pinned_to_deal_flag": 1})).refused(400, "needs deal_id");
    company.post("/v1/notes", json!({"content": "x", "deal_id": 99})).refused(400, "deal_id");
    let made = company.post("/api/v1/notes", json!({"content": "<b>hi</b><script>x</script>", "deal_id": deal, "pinned_to_deal_flag": 1}));
    let note = made.data();
    assert_eq!(
        (&note["content"], &note["pinned_to_deal_flag"], &note["pinned_to_person_flag"]),
        (&json!("<b>hi</b>"), &json!(true), &json!(false))
    );
    assert_eq!(
        (&note["deal"]["title"], &note["add_time"], &note["active_flag"]),
        (&json!("Big"), &json!("2026-01-01 00:00:00"), &json!(true))
    );
    assert_eq!((&note["person"], &note["user"]["is_you"]), (&Value::Null, &json!(true)));
    assert_eq!(lacking("note", note), Vec::<String>::new());
    // A form brings texts.
    let id = deal.to_string();
    let form = company
        .form("/v1/notes", &[("content", "form"), ("deal_id", &id), ("pinned_to_deal_flag", "0"), ("add_time", "2025-05-06 07:08:09")]);
    assert_eq!(form.data()["add_time"], "2025-05-06 07:08:09");
    let changed = company.put(&format!("/v1/notes/{}", made.id()), json!({"content": "new"}));
    assert_eq!((&changed.data()["content"], &changed.data()["pinned_to_deal_flag"]), (&json!("new"), &json!(true)));
    assert_eq!(company.get(&format!("/v1/notes?deal_id={deal}&pinned_to_deal_flag=1")).ids(), [made.id()]);
    assert_eq!(company.get(&format!("/v1/notes?deal_id={deal}&sort=add_time%20ASC")).ids(), [form.id(), made.id()]);
    company.get("/v1/notes?updated_since=2026-01-01%2000:00:00").refused(400, "updated_since");
    let comment = company.post(&format!("/v1/notes/{}/comments", made.id()), json!({"content": "yes"}));
    assert_eq!(comment.data()["add_time"], "2026-01-01T00:00:00.000Z");
    assert_eq!(company.get(&format!("/v1/notes/{}/comments", made.id())).data().as_array().unwrap().len(), 1);
    assert_eq!(company.delete(&format!("/v1/notes/{}", made.id())).body, json!({"success": true, "data": true}));
    assert_eq!(company.get(&format!("/v1/notes/{}", made.id())).status, 404);
    assert_eq!(company.get("/v1/notes?person_id=999").body["data"], Value::Null, "an empty list of v1 is null");
    company.get("/api/v2/notes").refused(404, "");
}

#[test]
fn offsets_page_v1() {
    let company = Company::new();
    let deal = company.post("/deals", json!({"title": "Big"})).id();
    for at in 0..5 {
        company.post("/v1/notes", json!({"content": format!("n{at}"), "deal_id": deal}));
    }
    let first = company.get("/v1/notes?limit=2");
    let pagination = json!({"start": 0, "limit": 2, "more_items_in_collection": true, "next_start": 2});
    assert_eq!(first.body["additional_data"]["pagination"], pagination);
    let last = company.get("/v1/notes?limit=2&start=4");
    assert_eq!(last.body["additional_data"]["pagination"], json!({"start": 4, "limit": 2, "more_items_in_collection": false}));
    assert_eq!(last.ids().len(), 1);
}

#[test]
fn leads_are_flat_and_have_uuids() {
    let company = Company::new();
    let person = company.person("Eva", "eva@x.example");
    let (text, _) = company.field("deal", "varchar", &[]);
    let (money, _) = company.field("deal", "monetary", &[]);
    let (one, ones) = company.field("deal", "enum", &["A", "B"]);
    let (many, set) = company.field("deal", "set", &["X", "Y"]);
    company.post("/v1/leads", json!({"person_id": person})).refused(400, "title");
    company.post("/v1/leads", json!({"title": "L"})).refused(400, "organization_id");
    company.post("/v1/leads", json!({"title": "L", "org_id": 1})).refused(400, "organization_id");
    company.post("/v1/leads", json!({"title": "L", "person_id": person, "value": {"amount": 5}})).refused(400, "currency");
    company.post("/v1/leads", json!({"title": "L", "person_id": person, "visible_to": 3})).refused(400, "visible_to");
    company.form("/v1/leads", &[("title", "L"), ("person_id", "1")]).refused(400, "application/json");
    let body = json!({"title": "L", "person_id": person, "value": {"amount": 5, "currency": "EUR"}, &text: "t", &money: 7, format!("{money}_currency"): "USD",
                      &one: ones[1], &many: format!("{},{}", set[0], set[1]), "b".repeat(40): "nobody's"});
    let made = company.post("/v1/leads", body);
    assert_eq!(made.status, 201);
    let lead = made.data().clone();
    let id = lead["id"].as_str().unwrap().to_owned();
    assert_eq!(id.len(), 36);
    assert_eq!((&lead["visible_to"], &lead["add_time"], &lead["origin"]), (&json!("3"), &json!("2026-01-01T00:00:00.000Z"), &json!("API")));
    assert_eq!((&lead[&text], &lead[&money], &lead[format!("{money}_currency")]), (&json!("t"), &json!(7), &json!("USD")));
    assert_eq!((&lead[&one], &lead[&many]), (&json!(ones[1].to_string()), &json!(format!("{},{}", set[0], set[1]))));
    assert!(lead.get("custom_fields").is_none() && lead.get("b".repeat(40)).is_none());
    assert_eq!(lacking("lead", &lead), Vec::<String>::new());
    let path = format!("/v1/leads/{id}");
    let cleared = company.patch(&path, json!({&text: null, "value": null}));
    assert!(cleared.data().get(&text).is_none() && cleared.data()["value"].is_null());
    company.patch(&path, json!({"is_archived": true}));
    company.patch(&path, json!({"title": "x"})).refused(403, "Archived");
    assert_eq!(company.get("/v1/leads").body["data"], json!([]));
    assert_eq!(company.get("/v1/leads/archived").data()[0]["id"], id);
    company.patch(&path, json!({"is_archived": false}));
    let label = company.get("/v1/leadLabels").data()[0].clone();
    assert_eq!(lacking("leadLabel", &label), Vec::<String>::new());
    assert_eq!(company.patch(&path, json!({"label_ids": [label["id"]]})).data()["label_ids"][0], label["id"]);
    company.patch(&path, json!({"label_ids": [1]})).refused(400, "label_ids");
    assert_eq!(company.delete(&path).data()["id"], id);
    company.get(&path).refused(404, "requested lead not found");
    assert_eq!(lacking("leadField", &company.get("/v1/leadFields").data()[0]), Vec::<String>::new());
    company.sandbox.set_pipedrive_options(|options| options.generic_host = true).unwrap();
    assert_eq!((company.get("/api/v1/leads").status, company.get("/v1/leads").status), (404, 200));
}

#[test]
fn leads_become_deals_and_deals_leads() {
    let company = Company::new();
    company.sandbox.set_pipedrive_options(|options| options.conversion_millis = 5_000).unwrap();
    let person = company.person("Eva", "eva@x.example");
    let (text, _) = company.field("deal", "varchar", &[]);
    let lead =
        company.post("/v1/leads", json!({"title": "L", "person_id": person, "value": {"amount": 5, "currency": "USD"}, &text: "kept"}));
    let lead = lead.data()["id"].as_str().unwrap().to_owned();
    company.post(&format!("/leads/{lead}/convert/deal"), json!({"stage_id": 1, "pipeline_id": 1})).invalid("stage_id");
    let begun = company.post(&format!("/leads/{lead}/convert/deal"), json!({"stage_id": 2}));
    let conversion = begun.data()["conversion_id"].as_str().unwrap().to_owned();
    let status = || company.get(&format!("/leads/{lead}/convert/status/{conversion}"));
    assert_eq!(status().data()["status"], "running");
    company.wait(5);
    let done = status();
    assert_eq!(done.data()["status"], "completed");
    let deal = company.get(&format!("/deals/{}?include_fields=source_lead_id", done.data()["deal_id"]));
    assert_eq!((&deal.data()["title"], &deal.data()["value"], &deal.data()["currency"]), (&json!("L"), &json!(5), &json!("USD")));
    assert_eq!(
        (&deal.data()["stage_id"], &deal.data()["source_lead_id"], &deal.data()["custom_fields"][&text]),
        (&json!(2), &json!(lead), &json!("kept"))
    );
    assert_eq!(company.get(&format!("/v1/leads/{lead}")).status, 404);
    company.post(&format!("/leads/{lead}/convert/deal"), json!({})).refused(404, "Entity was not found");
    let back = company.post(&format!("/deals/{}/convert/lead", deal.id()), json!({}));
    company.wait(5);
    let status = company.get(&format!("/deals/{}/convert/status/{}", deal.id(), back.data()["conversion_id"].as_str().unwrap()));
    assert_eq!(company.get(&format!("/v1/leads/{}", status.data()["lead_id"].as_str().unwrap())).data()["title"], "L");
}

#[test]
fn merging_keeps_the_record_that_is_named() {
    let company = Company::new();
    let gone =
        company.post("/persons", json!({"name": "Eva Old", "emails": [{"value": "old@x.example"}], "phones": [{"value": "1"}]})).id();
    let kept = company.person("Eva New", "new@x.example");
    let deal = company.post("/deals", json!({"title": "Big", "person_id": gone})).id();
    company.put(&format!("/v1/persons/{gone}/merge"), json!({"merge_with_id": gone})).refused(400, "itself");
    company.put(&format!("/v1/persons/{gone}/merge"), json!({})).refused(400, "merge_with_id");
    company.put(&format!("/v1/persons/{gone}/merge"), json!({"merge_with_id": 999})).refused(404, "not found");
    let merged = company.put(&format!("/v1/persons/{gone}/merge"), json!({"merge_with_id": kept}));
    let survivor = merged.data();
    assert_eq!(lacking("merged_person", survivor), Vec::<String>::new());
    assert_eq!((&survivor["id"], &survivor["name"], &survivor["merge_what_id"]), (&json!(kept), &json!("Eva New"), &json!(gone)));
    assert_eq!((&survivor["visible_to"], &survivor["update_time"]), (&json!("3"), &json!("2026-01-01 00:00:00")));
    let person = company.get(&format!("/persons/{kept}"));
    assert_eq!(
        (&person.data()["emails"][1], &person.data()["phones"][0]["value"]),
        (&json!({"value": "old@x.example", "primary": false, "label": "work"}), &json!("1"))
    );
    assert_eq!(company.get(&format!("/persons/{gone}")).status, 404);
    assert_eq!(company.get(&format!("/deals/{deal}")).data()["person_id"], kept);
    let (a, b) = (company.post("/organizations", json!({"name": "A"})).id(), company.post("/organizations", json!({"name": "B"})).id());
    assert_eq!(
        company.put(&format!("/v1/organizations/{a}/merge"), json!({"merge_with_id": b})).body,
        json!({"success": true, "data": {"id": b}})
    );
    let other = company.post("/deals", json!({"title": "Other"})).id();
    let deals = company.put(&format!("/v1/deals/{other}/merge"), json!({"merge_with_id": deal}));
    assert_eq!(lacking("merged_deal", deals.data()), Vec::<String>::new());
    assert_eq!((&deals.data()["title"], &deals.data()["active"], &deals.data()["deleted"]), (&json!("Big"), &json!(true), &json!(false)));
    assert!(company.get("/deals?status=deleted").ids().is_empty());
}

#[test]
fn recents_show_changes_in_the_old_shapes_and_reach_a_month_back() {
    let company = Company::new();
    let person = company.post("/persons", json!({"name": "Eva"})).id();
    company.get("/v1/recents").refused(400, "since_timestamp");
    company.get("/v1/recents?since_timestamp=2026-01-01T00:00:00Z").refused(400, "since_timestamp");
    let recent = company.get("/v1/recents?since_timestamp=2020-01-01%2000:00:00&items=person,deal");
    let row = &recent.data()[0];
    assert_eq!(
        (&row["item"], &row["id"], &row["data"]["email"]),
        (&json!("person"), &json!(person), &json!([{"value": "", "primary": true}]))
    );
    assert_eq!((&row["data"]["visible_to"], &row["data"]["active_flag"]), (&json!("3"), &json!(true)));
    assert_eq!(recent.body["additional_data"]["last_timestamp_on_page"], "2026-01-01 00:00:00");
    company.delete(&format!("/persons/{person}"));
    let deleted = company.get("/v1/recents?since_timestamp=2020-01-01%2000:00:00&items=person");
    assert_eq!(deleted.data()[0]["data"]["active_flag"], false);
    company.wait(40 * 86_400);
    assert_eq!(company.get("/v1/recents?since_timestamp=2020-01-01%2000:00:00&items=person").body["data"], Value::Null);
}

#[test]
fn a_company_has_users_types_and_currencies() {
    let company = Company::new();
    let me = company.get("/v1/users/me");
    assert_eq!((&me.data()["company_domain"], &me.data()["is_you"]), (&json!(company.access.company_domain), &json!(true)));
    for (path, shape) in
        [("/v1/users", "user"), ("/v1/activityTypes", "activityType"), ("/v1/currencies", "currency"), ("/v1/filters", "filter")]
    {
        assert_eq!(lacking(shape, &company.get(path).data()[0]), Vec::<String>::new(), "{path}");
    }
    assert_eq!(lacking("me", me.data()), Vec::<String>::new());
    let made = company.post("/v1/activityTypes", json!({"name": "Video call", "icon_key": "camera"}));
    assert_eq!(made.data()["key_string"], "video_call");
    assert_eq!(company.post("/activities", json!({"subject": "x", "type": "video_call"})).status, 200);
    company.delete(&format!("/v1/activityTypes/{}", made.id()));
    company.post("/activities", json!({"subject": "x", "type": "video_call"})).invalid("video_call");
    assert_eq!(company.get("/v1/users/find?term=otto").data().as_array().unwrap().len(), 1);
    let (key, _) = company.field("person", "enum", &["A"]);
    let fields = company.get("/v1/personFields?limit=500");
    let field = fields.data().as_array().unwrap().iter().find(|one| one["key"] == key.as_str()).unwrap().clone();
    assert_eq!((&field["edit_flag"], &field["field_type"]), (&json!(true), &json!("enum")));
    assert!(fields.data().as_array().unwrap().iter().any(|one| one["key"] == "email"));
}

#[test]
fn the_old_endpoints_are_gone_unless_they_still_answer() {
    let company = Company::new();
    let (money, _) = company.field("person", "monetary", &[]);
    company.get("/v1/persons").refused(410, "no longer available");
    company.sandbox.set_pipedrive_options(|options| options.deprecated_v1 = true).unwrap();
    let org = company.post("/organizations", json!({"name": "Acme"})).id();
    let body =
        json!({"name": "Eva", "email": "eva@x.example", "org_id": org, &money: 5, format!("{money}_currency"): "USD", "c".repeat(40): 1});
    let made = company.post("/v1/persons", body);
    assert_eq!(
        (made.status, &made.data()["org_id"]["value"], &made.data()["email"][0]["value"]),
        (201, &json!(org), &json!("eva@x.example"))
    );
    assert_eq!((&made.data()[&money], &made.data()[format!("{money}_currency")]), (&json!(5), &json!("USD")));
    assert_eq!(company.get(&format!("/persons/{}", made.id())).data()["custom_fields"][&money], json!({"value": 5, "currency": "USD"}));
    let changed = company.put(&format!("/v1/persons/{}", made.id()), json!({"name": "Eva B"}));
    assert_eq!(changed.data()["last_name"], "B");
    assert_eq!(company.get("/v1/persons").body["additional_data"]["pagination"]["more_items_in_collection"], false);
    assert_eq!(company.delete(&format!("/v1/persons/{}", made.id())).data()["id"], made.id());
}

fn hook(company: &Company, extra: &Value) -> i64 {
    let mut body = json!({"subscription_url": "https://example.org/hook", "event_action": "*", "event_object": "*", "name": "test"});
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let made = company.post("/v1/webhooks", body);
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(lacking("webhook", made.data()), Vec::<String>::new());
    made.id()
}

fn parsed(delivery: &WebhookDelivery) -> Value {
    serde_json::from_str(&delivery.body).unwrap()
}

#[test]
fn webhooks_are_registered_strictly() {
    let company = Company::new();
    let with = |change: Value| {
        let mut body = json!({"subscription_url": "https://example.org/hook", "event_action": "*", "event_object": "*", "name": "test"});
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        company.post("/v1/webhooks", body)
    };
    for url in ["http://example.org", "https://acme.pipedrive.com/x", "nonsense"] {
        let refused = with(json!({"subscription_url": url}));
        assert_eq!(
            refused.body,
            json!({"status": "error", "success": false, "errors": {"subscription_url": ["invalid or non-reachable URL"]}})
        );
        assert_eq!(refused.status, 400);
    }
    with(json!({"name": null})).refused(400, "name");
    with(json!({"event_action": "updated"})).refused(400, "event_action");
    with(json!({"event_object": "company"})).refused(400, "event_object");
    let id = hook(&company, &json!({}));
    let listed = company.get("/v1/webhooks");
    assert_eq!((&listed.body["status"], &listed.data()[0]["version"]), (&json!("ok"), &json!("2.0")));
    assert_eq!(company.delete(&format!("/v1/webhooks/{id}")).body, json!({"status": "ok", "success": true}));
    company.delete(&format!("/v1/webhooks/{id}")).refused(404, "not found");
    for _ in 0..40 {
        hook(&company, &json!({}));
    }
    with(json!({})).refused(422, "limit");
}

#[test]
fn webhooks_tell_changes_in_their_own_shape() {
    let company = Company::new();
    let (one, ones) = company.field("person", "enum", &["A"]);
    let (days, _) = company.field("person", "daterange", &[]);
    hook(&company, &json!({"http_auth_user": "u", "http_auth_password": "p", "event_object": "person"}));
    let body = json!({"name": "Eva", "custom_fields": {&one: ones[0], &days: {"value": "2026-01-01", "until": "2026-01-02"}}});
    let id = company.post("/persons", body).id();
    company.patch(&format!("/persons/{id}"), json!({"name": "Eva B", "custom_fields": {&one: null}}));
    company.delete(&format!("/persons/{id}"));
    company.post("/deals", json!({"title": "not told"}));
    let due = company.sandbox.pipedrive_deliveries();
    assert_eq!(due.len(), 3);
    assert_eq!(due[0].authorization.as_deref(), Some("Basic dTpw"));
    let created = parsed(&due[0]);
    let meta = &created["meta"];
    assert_eq!(
        (&meta["action"], &meta["entity"], &meta["entity_id"], &meta["change_source"]),
        (&json!("create"), &json!("person"), &json!(id.to_string()), &json!("api"))
    );
    assert_eq!(
        (&meta["user_id"], &meta["attempt"], &meta["version"]),
        (&json!(company.access.user_id.to_string()), &json!(1), &json!("2.0"))
    );
    assert_eq!(meta["timestamp"], "2026-01-01T00:00:00.000Z");
    assert_eq!((&created["data"]["visible_to"], &created["previous"]), (&json!("3"), &Value::Null));
    assert_eq!(created["data"]["custom_fields"][&one], json!({"type": "enum", "id": ones[0]}));
    assert_eq!(created["data"]["custom_fields"][&days], json!({"type": "daterange", "from": "2026-01-01", "until": "2026-01-02"}));
    let changed = parsed(&due[1]);
    assert_eq!(changed["data"]["custom_fields"][&one], Value::Null);
    assert_eq!(changed["previous"]["custom_fields"], json!({&one: {"type": "enum", "id": ones[0]}}));
    assert_eq!((&changed["previous"]["name"], &changed["previous"].get("visible_to")), (&json!("Eva"), &None));
    let deleted = parsed(&due[2]);
    assert_eq!(
        (&deleted["meta"]["action"], &deleted["data"], &deleted["previous"]["name"]),
        (&json!("delete"), &Value::Null, &json!("Eva B"))
    );
    assert!(!format!("{due:?}").contains("Basic"));
}

#[test]
fn a_merge_is_a_delete_and_a_change() {
    let company = Company::new();
    let (gone, kept) = (company.person("Old", "old@x.example"), company.person("New", "new@x.example"));
    hook(&company, &json!({}));
    company.sandbox.pipedrive_merge("person", gone, kept).unwrap();
    let told: Vec<Value> = company.sandbox.pipedrive_deliveries().iter().map(parsed).collect();
    assert_eq!((&told[0]["meta"]["action"], &told[0]["meta"]["merged_to_id"]), (&json!("delete"), &json!(kept.to_string())));
    assert_eq!((&told[1]["meta"]["action"], &told[1]["meta"]["merged_from_id"]), (&json!("change"), &json!(gone.to_string())));
    assert_eq!((&told[1]["meta"]["change_source"], told.len()), (&json!("app"), 2));
    assert_ne!(told[0]["meta"]["user_id"], company.access.user_id.to_string());
}

#[test]
fn old_webhooks_have_the_old_payload() {
    let company = Company::new();
    hook(&company, &json!({"version": "1.0", "event_object": "deal"}));
    let id = company.post("/deals", json!({"title": "Big"})).id();
    company.patch(&format!("/deals/{id}"), json!({"status": "won"}));
    let told: Vec<Value> = company.sandbox.pipedrive_deliveries().iter().map(parsed).collect();
    assert_eq!((&told[0]["event"], &told[0]["previous"], &told[0]["retry"]), (&json!("added.deal"), &Value::Null, &json!(0)));
    assert_eq!(
        (&told[1]["event"], &told[1]["previous"]["status"], &told[1]["current"]["status"]),
        (&json!("updated.deal"), &json!("open"), &json!("won"))
    );
    assert_eq!((&told[1]["meta"]["id"], &told[1]["current"]["visible_to"]), (&json!(id), &json!("3")));
}

#[test]
fn deliveries_are_repeated_banned_and_given_up() {
    let company = Company::new();
    let id = hook(&company, &json!({"event_object": "person"}));
    company.person("Eva", "eva@x.example");
    let mut ids = Vec::new();
    for (pause, attempt) in [(0, 1), (3, 2), (30, 3), (150, 4)] {
        company.wait(pause);
        let due = company.sandbox.pipedrive_deliveries();
        assert_eq!((due.len(), due[0].attempt), (1, attempt));
        let body = parsed(&due[0]);
        assert_eq!(body["meta"]["attempt"], attempt);
        ids.push(body["meta"]["id"].clone());
        assert!(!company.sandbox.pipedrive_delivered(&due[0], if attempt == 1 { 0 } else { 500 }).unwrap());
        assert!(company.sandbox.pipedrive_deliveries().is_empty());
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    company.wait(3600);
    assert!(company.sandbox.pipedrive_deliveries().is_empty());
    // Nine more first attempts that fail, and nothing is sent for half an hour.
    for at in 0..9 {
        company.person(&format!("P{at}"), "p@x.example");
        let due = company.sandbox.pipedrive_deliveries();
        let first = due.iter().find(|delivery| delivery.attempt == 1).unwrap();
        company.sandbox.pipedrive_delivered(first, 500).unwrap();
    }
    company.person("Banned", "b@x.example");
    company.wait(29 * 60);
    assert!(company.sandbox.pipedrive_deliveries().is_empty());
    company.wait(61);
    let due = company.sandbox.pipedrive_deliveries();
    assert!(!due.is_empty() && due.iter().all(|delivery| delivery.attempt == 2), "what was told during the ban is lost");
    assert!(company.sandbox.pipedrive_delivered(&due[0], 204).unwrap());
    assert_eq!(company.get("/v1/webhooks").data()[0]["last_http_status"], 204);
    company.wait(3 * 86_400);
    company.person("Late", "l@x.example");
    let due = company.sandbox.pipedrive_deliveries();
    company.sandbox.pipedrive_delivered(due.last().unwrap(), 500).unwrap();
    assert_eq!(company.get("/v1/webhooks").data(), &json!([]), "webhook {id} is deleted after three days without a success");
}

#[test]
fn filters_are_saved_in_v1_and_used_in_v2() {
    let company = Company::new();
    let first = company.get("/v1/filters/1");
    assert_eq!((&first.data()["name"], &first.data()["type"]), (&json!("All open deals"), &json!("deals")));
    let fields = company.get("/v1/dealFields?limit=500");
    let number = |code: &str| fields.data().as_array().unwrap().iter().find(|field| field["key"] == code).unwrap()["id"].to_string();
    let dear = company.post("/deals", json!({"title": "Dear", "value": 900})).id();
    let cheap = company.post("/deals", json!({"title": "Cheap", "value": 20})).id();
    let lost = company.post("/deals", json!({"title": "Dear too", "value": 1000, "status": "lost"})).id();
    let condition = |code: &str, operator: &str, value: Value| json!({"object": "deal", "field_id": number(code), "operator": operator, "value": value, "extra_value": null});
    let group = |and: Value, or: Value| json!({"glue": "and", "conditions": [{"glue": "and", "conditions": and}, {"glue": "or", "conditions": or}]});
    let body = |conditions: Value| json!({"name": "Dear", "type": "deals", "conditions": conditions});
    let made = company.post("/v1/filters", body(group(json!([condition("value", ">", json!("100"))]), json!([]))));
    let id = made.id();
    assert!(made.data().get("conditions").is_none());
    assert_eq!(company.get(&format!("/deals?filter_id={id}")).ids(), [dear, lost]);
    // It overrides every other parameter that selects.
    assert_eq!(company.get(&format!("/deals?filter_id={id}&status=open&ids={cheap}")).ids(), [dear, lost]);
    assert_eq!(company.get("/deals?filter_id=1").ids(), [dear, cheap]);
    let either = group(json!([]), json!([condition("title", "LIKE '$%'", json!("cheap")), condition("value", "=", json!(1000))]));
    company.put(&format!("/v1/filters/{id}"), json!({"conditions": either})).data();
    assert_eq!(company.get(&format!("/deals?filter_id={id}")).ids(), [cheap, lost]);
    assert_eq!(company.get(&format!("/v1/filters/{id}")).data()["conditions"]["conditions"][1]["conditions"].as_array().unwrap().len(), 2);
    assert_eq!(company.get("/v1/filters?type=people").data(), &json!([]));
    company.post("/v1/filters", body(json!({"glue": "and", "conditions": []}))).refused(400, "two groups");
    company.post("/v1/filters", body(group(json!([condition("value", "~", json!(1))]), json!([])))).refused(400, "operator");
    company.post("/v1/filters", json!({"name": "x", "type": "cars", "conditions": group(json!([]), json!([]))})).refused(400, "type");
    let many: Vec<Value> = (0..17).map(|n| condition("value", "!=", json!(n))).collect();
    company.post("/v1/filters", body(group(json!(many), json!([])))).refused(400, "16");
    company.get(&format!("/persons?filter_id={id}")).refused(404, "Filter not found");
    company.delete(&format!("/v1/filters/{id}")).data();
    company.get(&format!("/deals?filter_id={id}")).refused(404, "Filter not found");
    company.get("/v1/filters/helpers").data();
}

#[test]
fn changes_of_fields_are_logged() {
    let company = Company::new();
    let (motto, _) = company.field("person", "varchar", &[]);
    let person = company.person("Eva", "eva@x.example");
    assert_eq!(company.get(&format!("/v1/persons/{person}/changelog")).data(), &json!([]));
    company.patch(&format!("/persons/{person}"), json!({"name": "Eve"}));
    company.wait(5);
    company.patch(&format!("/persons/{person}"), json!({"custom_fields": {&motto: "x"}}));
    let log = company.get(&format!("/v1/persons/{person}/changelog"));
    let newest = &log.data()[0];
    assert_eq!((&newest["field_key"], &newest["old_value"], &newest["new_value"]), (&json!(motto), &Value::Null, &json!("x")));
    assert_eq!((&newest["change_source"], &newest["time"]), (&json!("api"), &json!("2026-01-01 00:00:05")));
    let named = log.data().as_array().unwrap().iter().find(|one| one["field_key"] == "name").unwrap();
    assert_eq!((&named["old_value"], &named["new_value"]), (&json!("Eva"), &json!("Eve")));
    // By a cursor, although it is v1.
    let page = company.get(&format!("/v1/persons/{person}/changelog?limit=1"));
    let next = page.body["additional_data"]["next_cursor"].as_str().unwrap().to_owned();
    let rest = company.get(&format!("/v1/persons/{person}/changelog?cursor={next}"));
    assert_eq!(page.data().as_array().unwrap().len() + rest.data().as_array().unwrap().len(), log.data().as_array().unwrap().len());
    company.post("/v1/notes", json!({"content": "x", "person_id": person}));
    let flow = company.get(&format!("/v1/persons/{person}/flow"));
    let objects: Vec<&str> = flow.data().as_array().unwrap().iter().map(|one| one["object"].as_str().unwrap()).collect();
    assert!(objects.contains(&"note") && objects.contains(&"personChange"), "{objects:?}");
    company.get("/v1/persons/999/changelog").refused(404, "Not found");
}
