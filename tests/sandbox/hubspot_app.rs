//! Tokens, limits, faults, timeline, forms, webhooks and journal of the HubSpot face, in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::portal;

use std::sync::Mutex;

use base64::Engine as _;
use bytes::Bytes;
use crm_sync::http::{Body, HttpError, HttpErrorKind, HttpTransport};
use crm_sync::sandbox::{Fault, FaultKind, HubSpotDelivery, HubSpotTrouble};
use futures_util::FutureExt;
use portal::{Answer, Portal};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

fn refused(answer: &Answer) -> (u16, &str, &str) {
    (answer.status, answer.text("/status"), answer.text("/error"))
}

#[test]
fn tokens_are_renewed_and_revoked() {
    let portal = Portal::new();
    let first = portal.refresh("/oauth/2026-03/token", &portal.access.refresh_token).expect(200);
    assert_eq!(
        (&first.body["expires_in"], first.text("/token_type"), &first.body["hub_id"]),
        (&json!(1_800), "bearer", &json!(portal.access.portal_id))
    );
    assert_eq!(first.text("/refresh_token"), portal.access.refresh_token);
    let old = portal.refresh("/oauth/v1/token", &portal.access.refresh_token).expect(200);
    assert!(old.body.get("hub_id").is_none());
    let client = portal.with_token(first.text("/access_token"));
    client.get("/crm/v3/objects/contacts").expect(200);
    let info = portal.get(&format!("/oauth/v1/access-tokens/{}", client.token)).expect(200);
    assert_eq!((&info.body["hub_id"], &info.body["app_id"]), (&json!(portal.access.portal_id), &json!(portal.access.app_id)));
    portal.pass(1_801);
    let expired = client.get("/crm/v3/objects/contacts").expect(401);
    assert_eq!(
        (expired.text("/category"), expired.text("/message")),
        ("EXPIRED_AUTHENTICATION", "The OAuth token used to make this call expired 1 second(s) ago.")
    );
    assert!(expired.body["context"]["expire time"].is_array());
    assert_eq!(portal.with_token("nonsense").get("/crm/v3/objects/contacts").expect(401).text("/category"), "INVALID_AUTHENTICATION");
    assert_eq!(portal.with_token("").get("/crm/v3/objects/contacts").status, 401);
    let key = portal.with_token("").get("/crm/v3/objects/contacts?hapikey=x").expect(401);
    assert!(key.text("/message").contains("2022"), "{}", key.body);
    // Revoked, our configuration, and the app gone from the account.
    assert_eq!(refused(&portal.refresh("/oauth/v1/token", "nonsense")), (400, "BAD_REFRESH_TOKEN", "invalid_grant"));
    let with = |name: &str, value: &str| {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("client_id", portal.access.client_id.as_str()),
            ("client_secret", portal.access.client_secret.as_str()),
            ("refresh_token", portal.access.refresh_token.as_str()),
        ];
        form.retain(|(known, _)| *known != name);
        form.push((name, value));
        let answer = portal.form("/oauth/2026-09/token", &form);
        (answer.status, answer.text("/status").to_owned(), answer.text("/error").to_owned())
    };
    assert_eq!(with("client_id", "x"), (400, "BAD_CLIENT_ID".to_owned(), "invalid_client".to_owned()));
    assert_eq!(with("client_secret", "x"), (400, "BAD_CLIENT_SECRET".to_owned(), "invalid_client".to_owned()));
    assert_eq!(with("grant_type", "password").1, "BAD_GRANT_TYPE");
    assert_eq!(portal.post("/oauth/2026-03/token", json!({})).status, 415);
    let live = portal.oauth();
    live.delete("/appinstalls/2026-03/external-install").expect(204);
    assert_eq!(live.get("/crm/v3/objects/contacts").status, 401);
    assert_eq!(portal.refresh("/oauth/2026-03/token", &portal.access.refresh_token).text("/status"), "BAD_REFRESH_TOKEN");
    portal.get("/crm/v3/objects/contacts").expect(200);
}

#[test]
fn a_user_comes_back_with_a_code() {
    let portal = Portal::new();
    portal.set(|options| options.redirect_uris = vec!["https://app.test/back".to_owned()]);
    let challenge = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(Sha256::digest("verifier"));
    let authorize = |redirect: &str| {
        portal.get(&format!("/oauth/authorize?client_id={}&redirect_uri={redirect}&scope=oauth%20crm.objects.contacts.read&state=s&code_challenge={challenge}&code_challenge_method=S256",
            portal.access.client_id))
    };
    assert_eq!(authorize("https://evil.test/back").status, 400);
    let back = authorize("https%3A%2F%2Fapp.test%2Fback").expect(302);
    let location = url::Url::parse(back.header("location")).unwrap();
    let get = |name: &str| location.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned()).unwrap();
    assert_eq!(get("state"), "s");
    let exchange = |code: &str, verifier: &str, redirect: &str| {
        portal.form(
            "/oauth/2026-03/token",
            &[
                ("grant_type", "authorization_code"),
                ("client_id", &portal.access.client_id),
                ("client_secret", &portal.access.client_secret),
                ("redirect_uri", redirect),
                ("code", code),
                ("code_verifier", verifier),
            ],
        )
    };
    let tokens = exchange(&get("code"), "verifier", "https://app.test/back").expect(200);
    assert_eq!(tokens.body["scopes"], json!(["oauth", "crm.objects.contacts.read"]));
    assert_eq!(exchange(&get("code"), "verifier", "https://app.test/back").text("/status"), "BAD_AUTH_CODE");
    let client = portal.with_token(tokens.text("/access_token"));
    client.get("/crm/v3/objects/contacts").expect(200);
    let missing = client.post("/crm/v3/objects/contacts", json!({"properties": {}})).expect(403);
    assert_eq!(missing.text("/category"), "MISSING_SCOPES");
    assert_eq!(missing.body["errors"][0]["context"]["requiredGranularScopes"], json!(["crm.objects.contacts.write"]));
    client.post("/crm/v3/objects/contacts/search", json!({})).expect(200);
    client.get("/crm/v3/objects/deals").expect(403);
    for (verifier, redirect, status) in
        [("other", "https://app.test/back", "BAD_CODE_VERIFIER"), ("verifier", "https://app.test/", "BAD_REDIRECT_URI")]
    {
        let back = authorize("https%3A%2F%2Fapp.test%2Fback").expect(302);
        let code = url::Url::parse(back.header("location")).unwrap().query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
        assert_eq!(exchange(&code, verifier, redirect).text("/status"), status);
    }
    let introspected = portal.form(
        "/oauth/2026-03/token/introspect",
        &[("client_id", &portal.access.client_id), ("client_secret", &portal.access.client_secret), ("token", &client.token)],
    );
    assert_eq!((&introspected.body["active"], introspected.text("/token_use")), (&json!(true), "access_token"));
    let refresh = tokens.text("/refresh_token");
    portal
        .form(
            "/oauth/2026-03/token/revoke",
            &[("client_id", &portal.access.client_id), ("client_secret", &portal.access.client_secret), ("token", refresh)],
        )
        .expect(200);
    assert_eq!(portal.refresh("/oauth/2026-03/token", refresh).text("/status"), "BAD_REFRESH_TOKEN");
    client.get("/crm/v3/objects/contacts").expect(200);
    portal.set(|options| options.deny_authorization = true);
    assert!(authorize("https%3A%2F%2Fapp.test%2Fback").header("location").contains("error=access_denied"));
}

#[test]
fn the_window_of_ten_seconds_shows_in_headers() {
    let portal = Portal::strict();
    portal.set(|options| options.burst_limit = 3);
    let path = "/crm/v3/objects/contacts";
    let first = portal.get(path).expect(200);
    let header = |name: &str| first.header(&format!("x-hubspot-ratelimit-{name}")).to_owned();
    assert_eq!((header("max"), header("remaining"), header("interval-milliseconds")), ("3".to_owned(), "2".to_owned(), "10000".to_owned()));
    assert_eq!((header("daily"), header("daily-remaining")), ("625000".to_owned(), "624999".to_owned()));
    portal.get(path);
    portal.get(path);
    let limited = portal.get(path).expect(429);
    assert_eq!((limited.text("/policyName"), limited.text("/errorType")), ("TEN_SECONDLY_ROLLING", "RATE_LIMIT"));
    assert!(limited.headers.get("retry-after").is_none());
    // The OAuth app has a window of its own, and no daily pair.
    let oauth = portal.oauth().get(path).expect(200);
    assert_eq!((oauth.header("x-hubspot-ratelimit-max"), oauth.header("x-hubspot-ratelimit-daily")), ("110", ""));
    portal.pass(10);
    portal.get(path).expect(200);
}

#[test]
fn searches_have_a_limit_of_their_own_and_no_headers() {
    let portal = Portal::strict();
    let (path, oauth) = ("/crm/v3/objects/contacts/search", portal.oauth());
    for at in 0..5 {
        let client = if at % 2 == 0 { &portal } else { &oauth };
        let answer = client.post(path, json!({})).expect(200);
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("x-hubspot-ratelimit")));
    }
    let limited = oauth.post(path, json!({})).expect(429);
    let mut body = limited.body.clone();
    body["correlationId"] = json!("");
    assert_eq!(
        body,
        json!({"status": "error", "message": "You have reached your secondly limit.", "correlationId": "", "category": "RATE_LIMITS"})
    );
    portal.get("/crm/v3/objects/contacts").expect(200);
    portal.pass(1);
    portal.post(path, json!({})).expect(200);
}

#[test]
fn the_day_ends_at_midnight_of_the_account() {
    let portal = Portal::strict();
    portal.set(|options| options.daily_limit = 1);
    portal.get("/crm/v3/owners").expect(200);
    let limited = portal.get("/crm/v3/owners").expect(429);
    assert_eq!((limited.text("/policyName"), limited.text("/message")), ("DAILY", "You have reached your daily limit."));
    portal.pass(10);
    portal.get("/crm/v3/owners").expect(429);
    // The manual clock began at midnight UTC: five hours before New York's.
    portal.pass(5 * 3_600);
    portal.get("/crm/v3/owners").expect(200);
}

#[test]
fn faults_speak_as_hubspot_does() {
    let portal = Portal::new();
    let path = "/crm/v3/objects/contacts";
    let trouble = |trouble: HubSpotTrouble| portal.sandbox.fault(Fault::new(FaultKind::HubSpot(trouble)));
    trouble(HubSpotTrouble::Locked);
    assert_eq!(portal.get(path).status, 423);
    trouble(HubSpotTrouble::Migrating { retry_after: 86_400 });
    let moved = portal.get(path);
    assert_eq!((moved.status, moved.header("retry-after")), (477, "86400"));
    trouble(HubSpotTrouble::PlainLimit);
    let plain = portal.get(path).expect(429);
    assert_eq!((plain.header("content-type"), plain.body.as_str()), ("text/plain; charset=UTF-8", Some("error code: 1015")));
    trouble(HubSpotTrouble::DailyLimit);
    assert_eq!(portal.get(path).expect(429).text("/policyName"), "DAILY");
    trouble(HubSpotTrouble::SecondlyLimit);
    assert_eq!(portal.get(path).expect(429).text("/category"), "RATE_LIMITS");
    portal.sandbox.fault(Fault::new(FaultKind::TooManyRequests { retry_after: Some("3".to_owned()) }));
    let limited = portal.get(path).expect(429);
    assert_eq!((limited.text("/policyName"), limited.header("retry-after")), ("TEN_SECONDLY_ROLLING", "3"));
    // Executed, and then no answer.
    portal.sandbox.fault(Fault::new(FaultKind::DropAfter).method("POST"));
    let create = serde_json::to_vec(&json!({"properties": {"email": "a@x.test"}})).unwrap();
    assert_eq!(portal.raw("POST", path, Some("application/json"), create).err(), Some(HttpErrorKind::Sent));
    portal.get(&format!("{path}/a@x.test?idProperty=email")).expect(200);
    portal.post("/_sandbox/faults", json!({"kind": "hubspot", "trouble": "migrating", "retry_after": 5, "contains": "/crm/"})).expect(201);
    assert_eq!(portal.get(path).status, 477);
    let client = portal.oauth();
    portal.sandbox.fault(Fault::new(FaultKind::ExpireToken));
    assert_eq!(client.get(path).expect(401).text("/category"), "EXPIRED_AUTHENTICATION");
}

#[test]
fn timeline_events_have_templates_and_happen_once() {
    let portal = Portal::new();
    let key = &portal.access.developer_api_key;
    let templates = format!("/integrators/timeline/v3/{}/event-templates", portal.access.app_id);
    let template = json!({"name": "Email opened", "objectType": "contacts", "headerTemplate": "Opened {{subject}}",
        "tokens": [{"name": "subject", "label": "Subject", "type": "string"}, {"name": "count", "label": "Count", "type": "number"},
                   {"name": "job", "label": "Job", "type": "string", "objectPropertyName": "jobtitle"}]});
    assert_eq!(portal.post(&templates, template.clone()).status, 403);
    let id = portal.with_token("").post(&format!("{templates}?hapikey={key}"), template).expect(201).id();
    let event =
        json!({"eventTemplateId": id, "id": "e1", "email": "new@x.test", "tokens": {"subject": "Hello", "count": "2", "job": "CTO"}});
    assert_eq!(portal.post("/integrators/timeline/v3/events", event.clone()).status, 403, "private apps cannot");
    let app = portal.oauth();
    let made = app.post("/integrators/timeline/v3/events", event.clone()).expect(201);
    let contact = portal.get("/crm/v3/objects/contacts/new@x.test?idProperty=email&properties=jobtitle").expect(200);
    assert_eq!((contact.id().as_str(), contact.text("/properties/jobtitle")), (made.text("/objectId"), "CTO"));
    app.post("/integrators/timeline/v3/events", event).expect(409);
    assert_eq!(app.get(&format!("/integrators/timeline/v3/events/{id}/e1/render")).expect(200).body, json!("Opened Hello"));
    for bad in [
        json!({"eventTemplateId": "email_opened", "email": "a@x.test", "tokens": {}}),
        json!({"eventTemplateId": id, "tokens": {}}),
        json!({"eventTemplateId": id, "email": "a@x.test", "tokens": {"nonsense": "1"}}),
        json!({"eventTemplateId": id, "email": "a@x.test", "tokens": {"count": 2}}),
        json!({"eventTemplateId": id, "email": "a@x.test", "tokens": {"count": "many"}}),
    ] {
        app.post("/integrators/timeline/v3/events", bad).expect(400);
    }
    let batch = json!({"inputs": [{"eventTemplateId": id, "id": "b1", "email": "new@x.test", "tokens": {}}, {"eventTemplateId": id, "id": "e1", "email": "new@x.test", "tokens": {}}]});
    let answer = app.post("/integrators/timeline/v3/events/batch/create", batch).expect(207);
    assert_eq!((answer.results().len(), &answer.body["errors"][0]["context"]["id"]), (1, &json!(["e1"])));
    // App events are another model.
    let named =
        app.post("/integrators/timeline/2026-03/types/projects", json!({"projectName": "My-App", "developerSymbol": "opened"})).expect(200);
    let event =
        json!({"eventTypeName": named.text("/fullyQualifiedName"), "id": "a1", "email": "new@x.test", "properties": {"subject": "Hi"}});
    app.post("/integrators/timeline/2026-03/events", event.clone()).expect(201);
    app.post("/integrators/timeline/2026-03/events", event.clone()).expect(200);
    let mut other = event;
    other["properties"]["subject"] = json!("Other");
    app.post("/integrators/timeline/2026-03/events", other).expect(409);
}

#[test]
fn forms_take_what_their_definition_has() {
    let portal = Portal::new();
    let (account, form) = (portal.access.portal_id, portal.access.form_id.clone());
    let public = portal.with_token("");
    let path = format!("/submissions/v3/integration/submit/{account}/{form}");
    let field = |name: &str, value: &str| json!({"objectTypeId": "0-1", "name": name, "value": value});
    let sent = public
        .post(&path, json!({"fields": [field("email", "a@x.test"), field("firstname", "Ada")], "context": {"pageUri": "https://x.test/p"}}))
        .expect(200);
    assert!(sent.body["inlineMessage"].is_string());
    let contact = portal
        .get("/crm/v3/objects/contacts/a@x.test?idProperty=email&properties=firstname,hs_object_source,num_conversion_events")
        .expect(200);
    assert_eq!((contact.text("/properties/firstname"), contact.text("/properties/hs_object_source")), ("Ada", "FORM"));
    public.post(&path, json!({"fields": [field("email", "a@x.test")]})).expect(200);
    assert_eq!(
        portal
            .get("/crm/v3/objects/contacts/a@x.test?idProperty=email&properties=num_conversion_events")
            .text("/properties/num_conversion_events"),
        "2"
    );
    let good = json!([field("email", "a@x.test")]);
    for (body, code) in [
        (json!({"fields": [field("email", "nonsense")]}), "INVALID_EMAIL"),
        (json!({"fields": [field("firstname", "x")]}), "REQUIRED_FIELD"),
        (json!({"fields": [field("email", "a@x.test"), field("website", "x")]}), "FIELD_NOT_IN_FORM_DEFINITION"),
        (json!({"fields": good, "context": {"hutk": ""}}), "INVALID_HUTK"),
        (json!({"fields": good, "context": {"ipAddress": ""}}), "INVALID_IP_ADDRESS"),
        (json!({"fields": good, "submittedAt": "1"}), "INVALID_METADATA"),
        (
            json!({"fields": good, "legalConsentOptions": {"consent": {"consentToProcess": false, "text": "x"}}}),
            "MISSING_PROCESSING_CONSENT",
        ),
        (json!({"fields": good, "legalConsentOptions": {}}), "INVALID_LEGAL_OPTION_FORMAT"),
    ] {
        let answer = public.post(&path, body).expect(400);
        assert_eq!((answer.text("/message"), answer.text("/errors/0/errorType")), ("The request is not valid", code));
    }
    assert_eq!(public.post(&format!("/submissions/v3/integration/submit/{account}/nonsense"), json!({"fields": []})).status, 404);
    let secure = format!("/submissions/v3/integration/secure/submit/{account}/{form}");
    assert_eq!(public.post(&secure, json!({"fields": good})).status, 401);
    portal.post(&secure, json!({"fields": good})).expect(200);
    let seen = portal.get(&format!("/form-integrations/v1/submissions/forms/{form}?limit=2")).expect(200);
    assert_eq!((seen.results().len(), seen.body.pointer("/paging/next/after").is_some()), (2, true));
    assert_eq!(portal.get("/marketing/v3/forms/?formTypes=hubspot").results().len(), 1);
}

#[test]
fn who_keeps_submitting_is_locked_out() {
    let portal = Portal::strict().with_token("");
    portal.set(|options| options.form_burst_limit = 2);
    let path = format!("/submissions/v3/integration/submit/{}/{}", portal.access.portal_id, portal.access.form_id);
    let send = || portal.post(&path, json!({"fields": [{"name": "email", "value": "a@x.test"}]}));
    send().expect(200);
    send().expect(200);
    for _ in 0..9 {
        assert_eq!(send().expect(429).text("/policyName"), "TEN_SECONDLY_ROLLING");
    }
    assert_eq!(send().expect(429).body, json!("error code: 1015"));
    portal.pass(11);
    send().expect(429);
    portal.pass(50);
    send().expect(200);
}

fn events(deliveries: &[HubSpotDelivery]) -> Vec<Value> {
    deliveries.iter().flat_map(|one| serde_json::from_str::<Vec<Value>>(&one.body).unwrap()).collect()
}

fn subscribed(portal: &Portal, subscriptions: &[Value]) {
    let (app, key) = (portal.access.app_id, &portal.access.developer_api_key);
    let settings = |most: u64| json!({"targetUrl": "https://hook.test/in?x=%3A", "throttling": {"maxConcurrentRequests": most}});
    portal.put(&format!("/webhooks/v3/{app}/settings?hapikey={key}"), settings(5)).expect(400);
    portal.put(&format!("/webhooks/v3/{app}/settings?hapikey={key}"), settings(10)).expect(200);
    for subscription in subscriptions {
        portal.post(&format!("/webhooks/v3/{app}/subscriptions?hapikey={key}"), subscription.clone()).expect(201);
    }
}

#[test]
fn webhooks_are_signed_retried_and_shuffled() {
    let portal = Portal::new();
    subscribed(
        &portal,
        &[
            json!({"eventType": "contact.creation", "active": true}),
            json!({"eventType": "contact.propertyChange", "propertyName": "city", "active": true}),
            json!({"eventType": "contact.deletion", "active": false}),
        ],
    );
    let inputs: Vec<Value> = (0..100).map(|at| json!({"properties": {"email": format!("c{at}@x.test")}})).collect();
    let made = portal.post("/crm/v3/objects/contacts/batch/create", json!({"inputs": inputs})).expect(201);
    let id = made.results()[0]["id"].as_str().unwrap().to_owned();
    portal.patch(&format!("/crm/v3/objects/contacts/{id}"), json!({"properties": {"city": "X", "zip": "1"}})).expect(200);
    portal.delete(&format!("/crm/v3/objects/contacts/{id}")).expect(204);
    let deliveries = portal.sandbox.hubspot_deliveries();
    let sizes: Vec<usize> = deliveries.iter().map(|one| serde_json::from_str::<Vec<Value>>(&one.body).unwrap().len()).collect();
    assert_eq!(sizes, [100, 1]);
    let all = events(&deliveries);
    let change = all.iter().find(|event| event["subscriptionType"] == "contact.propertyChange").unwrap();
    assert_eq!((&change["propertyName"], &change["propertyValue"], &change["attemptNumber"]), (&json!("city"), &json!("X"), &json!(0)));
    assert_eq!((&change["changeSource"], &change["sourceId"]), (&json!("INTEGRATION"), &json!(portal.access.app_id.to_string())));
    assert!(change["objectId"].is_u64() && change["occurredAt"].is_i64());
    let order: Vec<u64> = all.iter().filter_map(|event| event["objectId"].as_u64()).collect();
    assert!(!order.is_sorted(), "webhooks have no order");
    let first = &deliveries[0];
    let header = |name: &str| first.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap();
    let digest = Sha256::digest(format!("{}{}", portal.access.client_secret, first.body));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((header("X-HubSpot-Signature"), header("X-HubSpot-Signature-Version")), (hex, "v1".to_owned()));
    assert!(!header("X-HubSpot-Signature-v3").is_empty() && header("X-HubSpot-Request-Timestamp").parse::<i64>().is_ok());
    assert!(portal.sandbox.hubspot_delivered(first, 204).unwrap());
    assert!(!portal.sandbox.hubspot_delivered(&deliveries[1], 500).unwrap());
    assert!(portal.sandbox.hubspot_deliveries().is_empty());
    portal.pass(100);
    let again = portal.sandbox.hubspot_deliveries();
    assert_eq!(events(&again)[0]["attemptNumber"], 1);
    let mut tries = 1;
    loop {
        let due = portal.sandbox.hubspot_deliveries();
        match due.first() {
            Some(one) => {
                tries += 1;
                portal.sandbox.hubspot_delivered(one, 500).unwrap();
            }
            None if portal.get("/_sandbox/hubspot/webhooks").body["waiting"] == json!([]) => break,
            None => portal.pass(3_600),
        }
    }
    assert_eq!(tries, 11, "the first and ten more");
}

#[test]
fn merges_and_associations_are_told_as_well() {
    let portal = Portal::new();
    subscribed(
        &portal,
        &[
            json!({"eventType": "contact.merge", "active": true}),
            json!({"eventType": "contact.associationChange", "active": true}),
            json!({"eventType": "object.creation", "objectTypeId": "0-2", "active": true}),
            json!({"eventType": "contact.privacyDeletion", "active": true}),
        ],
    );
    let take = || {
        let due = portal.sandbox.hubspot_deliveries();
        due.iter().for_each(|one| assert!(portal.sandbox.hubspot_delivered(one, 200).unwrap()));
        events(&due)
    };
    let (a, b) = (portal.contact("a@x.test"), portal.contact("b@x.test"));
    let company = portal.create("companies", json!({"name": "C"}));
    assert_eq!(take()[0]["objectTypeId"], "0-2");
    portal.put(&format!("/crm/v4/objects/contacts/{a}/associations/default/companies/{company}"), json!(null)).expect(200);
    let linked = take();
    assert_eq!(
        (linked.len(), &linked[0]["associationType"], &linked[0]["associationRemoved"]),
        (1, &json!("CONTACT_TO_COMPANY"), &json!(false))
    );
    let new = portal.post("/crm/v3/objects/contacts/merge", json!({"primaryObjectId": a, "objectIdToMerge": b})).expect(200).id();
    let merged: Vec<Value> = take().into_iter().filter(|event| event["subscriptionType"] == "contact.merge").collect();
    assert_eq!(merged.len(), 1);
    assert_eq!(
        (merged[0]["primaryObjectId"].to_string(), merged[0]["newObjectId"].to_string(), &merged[0]["mergedObjectIds"]),
        (a, new.clone(), &json!([b.parse::<u64>().unwrap()]))
    );
    portal.set(|options| options.webhook_duplicate_every = 1);
    portal.post("/crm/v3/objects/contacts/gdpr-delete", json!({"objectId": new})).expect(204);
    let gone: Vec<Value> = take().into_iter().filter(|event| event["subscriptionType"] == "contact.privacyDeletion").collect();
    assert_eq!((gone.len(), &gone[0]), (2, &gone[1]), "duplicates");
}

#[test]
fn the_journal_is_read_by_offset_for_three_days() {
    let portal = Portal::new();
    let app = portal.app();
    let base = "/webhooks-journal/journal/2026-03";
    assert_eq!(portal.get(&format!("{base}/earliest")).status, 403);
    assert_eq!(app.get("/crm/v3/objects/contacts").status, 403);
    assert_eq!(app.get(&format!("{base}/earliest")).status, 204);
    let subscription = json!({"subscriptionType": "OBJECT", "portalId": portal.access.portal_id, "objectTypeId": "0-1", "actions": ["CREATE", "UPDATE", "DELETE"],
        "properties": ["email", "city"], "objectIds": []});
    app.post("/webhooks-journal/subscriptions/2026-03", subscription.clone()).expect(200);
    let mut bad = subscription;
    bad["actions"] = json!(["EXPLODE"]);
    app.post("/webhooks-journal/subscriptions/2026-03", bad).expect(400);
    let id = portal.contact("a@x.test");
    portal.pass(86_400);
    portal.patch(&format!("/crm/v3/objects/contacts/{id}"), json!({"properties": {"zip": "1"}})).expect(200);
    portal.patch(&format!("/crm/v3/objects/contacts/{id}"), json!({"properties": {"city": "X", "zip": "2"}})).expect(200);
    portal.delete(&format!("/crm/v3/objects/contacts/{id}"));
    let app = portal.app();
    let file = |answer: &Answer| {
        let path = answer.text("/url").strip_prefix("http://localhost").unwrap().to_owned();
        let file = portal.with_token("").get(&path).expect(200);
        assert_eq!(file.text("/offset"), answer.text("/currentOffset"));
        file.body["journalEvents"].as_array().unwrap().clone()
    };
    let first = app.get(&format!("{base}/earliest")).expect(200);
    assert_eq!(file(&first)[0]["action"], "CREATE");
    assert_eq!(file(&first)[0]["propertyChanges"], json!({"email": "a@x.test"}));
    let second = app.get(&format!("{base}/offset/{}/next", first.text("/currentOffset"))).expect(200);
    assert_eq!(file(&second)[0]["propertyChanges"], json!({"city": "X"}));
    let batch = app.get(&format!("{base}/batch/{}/next/100", first.text("/currentOffset"))).expect(200);
    assert_eq!(batch.results().len(), 2);
    let last = app.get("/webhooks-journal/journal-local/v4/latest?installPortalId=1").expect(200);
    assert_eq!(file(&last)[0]["action"], "DELETE");
    assert_eq!(app.get(&format!("{base}/offset/{}/next", last.text("/currentOffset"))).status, 204);
    assert_eq!(app.get(&format!("{base}/offset/nonsense/next")).status, 400);
    let link = last.text("/url").strip_prefix("http://localhost").unwrap().to_owned();
    portal.pass(301);
    assert_eq!(portal.with_token("").get(&link).status, 403, "the link lives five minutes");
    let other = portal.contact("b@x.test");
    let snapshot = json!({"snapshotRequests": [{"portalId": portal.access.portal_id, "objectTypeId": "0-1", "objectId": other.parse::<u64>().unwrap(), "properties": ["email"]}]});
    let asked = app.post("/webhooks-journal/snapshots/2026-03/crm", snapshot).expect(200);
    let status = asked.text("/snapshotResponses/0/snapshotStatusId").to_owned();
    assert_eq!(app.get(&format!("{base}/status/{status}")).expect(200).text("/status"), "COMPLETED");
    assert_eq!(file(&app.get(&format!("{base}/latest")))[0]["action"], "SNAPSHOT");
    portal.pass(3 * 86_400);
    assert_eq!(portal.app().get(&format!("{base}/earliest")).status, 204);
}

/// A receiver that answers with its status and remembers what came.
#[derive(Debug)]
struct Hook {
    status: u16,
    seen: Mutex<Vec<http::Request<Bytes>>>,
}

#[async_trait::async_trait]
impl HttpTransport for Hook {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        self.seen.lock().unwrap().push(request);
        Ok(http::Response::builder().status(self.status).body(Body::from_bytes(Bytes::new())).unwrap())
    }
}

#[test]
fn webhooks_go_out_through_a_transport() {
    let portal = Portal::new();
    subscribed(&portal, &[json!({"eventType": "contact.creation", "active": true})]);
    portal.contact("a@x.test");
    let deaf = Hook { status: 400, seen: Mutex::default() };
    assert_eq!(portal.sandbox.send_webhooks(&deaf).now_or_never().unwrap().unwrap(), 0);
    assert_eq!(portal.sandbox.send_webhooks(&deaf).now_or_never().unwrap().unwrap(), 0);
    assert_eq!(deaf.seen.lock().unwrap().len(), 1, "not again at once");
    portal.pass(100);
    let hook = Hook { status: 200, seen: Mutex::default() };
    assert_eq!(portal.sandbox.send_webhooks(&hook).now_or_never().unwrap().unwrap(), 1);
    let seen = hook.seen.lock().unwrap();
    assert_eq!((seen[0].method().as_str(), seen[0].uri().to_string().as_str()), ("POST", "https://hook.test/in?x=%3A"));
    assert_eq!(seen[0].headers()["content-type"], "application/json");
    assert!(seen[0].headers().contains_key("x-hubspot-signature-v3"));
    portal.pass(86_400);
    assert!(portal.sandbox.hubspot_deliveries().is_empty());
}

#[test]
fn nothing_secret_is_printed() {
    let portal = Portal::new();
    subscribed(&portal, &[json!({"eventType": "contact.creation", "active": true})]);
    portal.contact("a@x.test");
    let printed = format!("{:?} {:?} {:?}", portal.access, portal.sandbox.hubspot_deliveries(), portal.sandbox);
    let access = &portal.access;
    for secret in [&access.access_token, &access.client_secret, &access.refresh_token, &access.developer_api_key] {
        assert!(!secret.is_empty() && !printed.contains(secret.as_str()));
    }
    assert!(!printed.contains("contact.creation"));
}
