//! Tokens, limits, faults and persistence of the Pipedrive face, spoken to in raw HTTP.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use crate::pipedrive_http;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crm_sync::host::Host;
use crm_sync::http::HttpErrorKind;
use crm_sync::model::RecordId;
use crm_sync::sandbox::{Fault, FaultKind, PipedrivePlan, Sandbox};
use pipedrive_http::{Answer, Company};
use serde_json::{Value, json};

fn basic(company: &Company) -> Company {
    let value = format!("Basic {}", STANDARD.encode(format!("{}:{}", company.access.client_id, company.access.client_secret)));
    company.with(&[("authorization", &value)])
}

fn bearer(company: &Company, token: &str) -> Company {
    company.with(&[("authorization", &format!("Bearer {token}"))])
}

#[test]
fn tokens_are_shown_as_documented() {
    let company = Company::new();
    assert_eq!(company.get("/v1/users/me").status, 200);
    assert_eq!(company.get("/pipedrive/api/v2/persons").status, 200);
    let nobody = company.with(&[]).get("/persons");
    nobody.refused(401, "unauthorized access");
    assert_eq!((&nobody.body["errorCode"], nobody.header("x-401-by-gw")), (&json!(401), "true"));
    assert!(!nobody.header("x-correlation-id").is_empty());
    company.with(&[("x-api-token", "wrong")]).get("/persons").refused(401, "unauthorized");
    bearer(&company, &company.access.api_token).get("/persons").refused(401, "unauthorized");
    company.with(&[("authorization", "nonsense")]).get("/persons").refused(400, "malformed");
    assert_eq!(bearer(&company, &company.access.access_token).get("/persons").status, 200);
    let query = format!("/persons?api_token={}", company.access.api_token);
    assert_eq!(company.with(&[]).get(&query).status, 200);
    company.sandbox.set_pipedrive_options(|options| options.query_token = false).unwrap();
    assert_eq!(company.with(&[]).get(&query).status, 401);
    let fresh = company.send("POST", "/_sandbox/pipedrive/api_token", None).body["api_token"].as_str().unwrap().to_owned();
    assert_eq!((company.get("/persons").status, company.with(&[("x-api-token", &fresh)]).get("/persons").status), (401, 200));
    let shown = format!("{:?}", company.access);
    assert!(!shown.contains(&company.access.api_token) && !shown.contains(&company.access.client_secret));
    assert!(company.access.access_token.len() > 255);
}

#[test]
fn consent_gives_a_code_and_the_code_tokens() {
    let company = Company::new();
    let visit = |extra: &str| {
        company.get(&format!(
            "/oauth/authorize?client_id={}&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&state=s1{extra}",
            company.access.client_id
        ))
    };
    let code = |answer: &Answer| {
        assert_eq!(answer.status, 302);
        let url = url::Url::parse(answer.header("location")).unwrap();
        assert!(url.query_pairs().any(|(name, value)| name == "state" && value == "s1"));
        url.query_pairs().find(|(name, _)| name == "code").map(|(_, value)| value.into_owned())
    };
    let app = basic(&company);
    let first = code(&visit("")).unwrap();
    let exchange = |code: &str, redirect: &str| {
        app.form("/oauth/token", &[("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect)])
    };
    exchange(&first, "https://other.example").refused(400, "redirect_uri");
    exchange(&first, "https://app.example/cb").refused(400, "authorization_code is invalid");
    let second = code(&visit("")).unwrap();
    company.form("/oauth/token", &[("grant_type", "authorization_code"), ("code", &second)]).refused(400, "client credentials");
    let tokens = exchange(&second, "https://app.example/cb").body;
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"], &tokens["api_domain"]),
        (&json!("Bearer"), &json!(3599), &json!("http://localhost"))
    );
    assert!(tokens["scope"].as_str().unwrap().contains("deals:full"));
    let third = code(&visit("")).unwrap();
    company.wait(301);
    exchange(&third, "https://app.example/cb").refused(400, "expired");
    app.form("/oauth/token", &[("grant_type", "password")]).refused(400, "not supported");
    app.form("/oauth/token", &[]).refused(400, "grant_type is missing");
    app.post("/oauth/token", json!({"grant_type": "refresh_token"})).refused(400, "Content-Type");
    assert_eq!(app.form("/oauth/token/", &[("grant_type", "refresh_token")]).status, 301);
    company.sandbox.set_pipedrive_options(|options| options.deny_consent = true).unwrap();
    assert!(visit("").header("location").contains("error=user_denied"));
}

#[test]
fn refresh_tokens_stay_the_same_and_die_after_sixty_days() {
    let company = Company::new();
    let app = basic(&company);
    let refresh = |token: &str| app.form("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", token)]);
    company.wait(3600);
    bearer(&company, &company.access.access_token).get("/persons").refused(401, "unauthorized");
    let renewed = refresh(&company.access.refresh_token).body;
    assert_eq!(renewed["refresh_token"], company.access.refresh_token);
    let access = renewed["access_token"].as_str().unwrap().to_owned();
    assert_eq!(bearer(&company, &access).get("/persons").status, 200);
    company.wait(59 * 86_400);
    assert_eq!(refresh(&company.access.refresh_token).status, 200);
    company.wait(59 * 86_400);
    assert_eq!(refresh(&company.access.refresh_token).status, 200, "each use begins the sixty days anew");
    company.sandbox.set_pipedrive_options(|options| options.rotate_refresh_tokens = true).unwrap();
    let rotated = refresh(&company.access.refresh_token).body["refresh_token"].as_str().unwrap().to_owned();
    refresh(&company.access.refresh_token).refused(400, "refresh_token is invalid");
    company.wait(61 * 86_400);
    refresh(&rotated).refused(400, "refresh_token is invalid");
}

#[test]
fn revoking_and_scopes() {
    let company = Company::new();
    let app = basic(&company);
    company.sandbox.set_pipedrive_options(|options| options.scopes = Some("base,contacts:read".to_owned())).unwrap();
    let tokens = app.form("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", &company.access.refresh_token)]).body;
    let narrow = bearer(&company, tokens["access_token"].as_str().unwrap());
    assert_eq!(narrow.get("/persons").status, 200);
    narrow.post("/persons", json!({"name": "x"})).refused(403, "Scope and URL mismatch");
    narrow.get("/deals").refused(403, "Scope and URL mismatch");
    assert_eq!(narrow.get("/v1/users/me").status, 200);
    // The official Node client encodes the access token twice.
    let twice: String = url::form_urlencoded::byte_serialize(company.access.access_token.as_bytes()).collect();
    assert_eq!(app.form("/oauth/revoke", &[("token", &twice), ("token_type_hint", "access_token")]).status, 200);
    assert_eq!(bearer(&company, &company.access.access_token).get("/persons").status, 401);
    assert_eq!(narrow.get("/persons").status, 200);
    let ended = app.form("/oauth/revoke", &[("token", &company.access.refresh_token), ("token_type_hint", "refresh_token")]);
    assert_eq!(ended.status, 200);
    assert_eq!(narrow.get("/persons").status, 401);
    app.form("/oauth/token", &[("grant_type", "refresh_token"), ("refresh_token", &company.access.refresh_token)])
        .refused(400, "refresh_token is invalid");
}

#[test]
fn bursts_are_limited_per_token_in_two_seconds() {
    let company = Company::new();
    company
        .sandbox
        .set_pipedrive_options(|options| {
            options.plan = PipedrivePlan::Lite;
            options.burst = None;
            options.search_burst = 10;
            options.block_after = 3;
        })
        .unwrap();
    let first = company.get("/persons");
    assert_eq!(
        (first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining"), first.header("x-ratelimit-reset")),
        ("20", "19", "2")
    );
    for _ in 0..19 {
        assert_eq!(company.get("/persons").status, 200);
    }
    let over = company.get("/persons");
    over.refused(429, "Request over limit");
    assert_eq!((over.header("x-ratelimit-remaining"), over.header("x-ratelimit-reset"), over.header("retry-after")), ("0", "2", ""));
    assert_ne!(over.header("x-daily-ratelimit-token-remaining"), "0");
    let app = bearer(&company, &company.access.access_token);
    assert_eq!(app.get("/persons").header("x-ratelimit-limit"), "80");
    // Searches have their own bucket.
    for _ in 0..10 {
        assert_eq!(company.get("/persons/search?term=ab").status, 200);
    }
    assert_eq!(company.get("/persons/search?term=ab").status, 429);
    company.wait(2);
    assert_eq!(company.get("/persons").status, 200);
    // Who does not listen is blocked with a page, and waiting helps.
    for _ in 0..19 {
        company.get("/persons");
    }
    for _ in 0..3 {
        assert_eq!(company.get("/persons").status, 429);
    }
    let blocked = company.get("/persons");
    assert_eq!(blocked.status, 403);
    assert!(blocked.body.as_str().unwrap().contains("Cloudflare") && blocked.header("content-type").starts_with("text/html"));
    company.wait(30);
    assert_eq!(company.get("/persons").status, 403);
    company.wait(31);
    assert_eq!(company.get("/persons").status, 200);
}

#[test]
fn the_day_has_a_budget_of_tokens() {
    let company = Company::new();
    company.sandbox.set_pipedrive_options(|options| options.daily_budget = Some(40)).unwrap();
    let left = |answer: &Answer| answer.header("x-daily-ratelimit-token-remaining").to_owned();
    assert_eq!(left(&company.get("/persons")), "30");
    assert_eq!(left(&company.post("/persons", json!({"name": "x"}))), "25");
    assert_eq!(left(&company.get("/persons/1")), "24");
    assert_eq!(left(&company.get("/persons/search?term=ab")), "4");
    let last = company.get("/v1/leads");
    assert_eq!((last.status, left(&last).as_str(), last.header("x-daily-ratelimit-token-limit")), (200, "0", "40"));
    let spent = company.get("/persons/1");
    spent.refused(429, "Request over limit");
    assert_eq!(left(&spent), "0");
    company.wait(12 * 3600);
    assert_eq!(company.get("/persons/1").status, 429);
    company.wait(12 * 3600);
    assert_eq!(left(&company.get("/persons/1")), "39");
    company
        .sandbox
        .set_pipedrive_options(|options| {
            options.daily_budget = None;
            options.plan = PipedrivePlan::Growth;
            options.seats = 3;
        })
        .unwrap();
    assert_eq!(company.get("/persons/1").header("x-daily-ratelimit-token-limit"), "180000");
}

#[test]
fn faults_strike_in_pipedrives_words() {
    let company = Company::new();
    let sandbox = &company.sandbox;
    sandbox.fault(Fault::new(FaultKind::DropAfter).method("POST").path("/api/v2/persons"));
    let lost = company.try_send("POST", "/persons", Some(json!({"name": "Eva"})));
    assert_eq!(lost.err(), Some(HttpErrorKind::Sent));
    assert_eq!(company.get("/persons").ids().len(), 1, "executed, then the answer was lost");
    sandbox.fault(Fault::new(FaultKind::DropBefore));
    assert!(company.try_send("POST", "/persons", Some(json!({"name": "Eva"}))).is_err());
    assert_eq!(company.get("/persons").ids().len(), 1);
    sandbox.fault(Fault::new(FaultKind::TooManyRequests { retry_after: Some("3".to_owned()) }));
    let limited = company.get("/persons");
    limited.refused(429, "Request over limit");
    assert_eq!((limited.header("retry-after"), limited.header("x-ratelimit-reset")), ("3", "2"));
    sandbox.fault(Fault::new(FaultKind::RequestLimit { concurrent: false }));
    assert_eq!(company.get("/persons").header("x-daily-ratelimit-token-remaining"), "0");
    sandbox.fault(Fault::new(FaultKind::ExpireToken));
    let app = bearer(&company, &company.access.access_token);
    assert_eq!((app.get("/persons").status, app.get("/persons").status), (401, 401));
    sandbox.fault(Fault::new(FaultKind::Status { status: 402, body: json!({"success": false}) }));
    assert_eq!(company.get("/persons").status, 402);
}

#[test]
fn others_edit_through_the_sandbox() {
    let company = Company::new();
    let id = company.sandbox.pipedrive_create("person", &json!({"name": "Eva"})).unwrap();
    company.sandbox.pipedrive_update("person", &id, &json!({"name": "Eva B"})).unwrap();
    assert_ne!(company.get(&format!("/persons/{id}")).data()["owner_id"], company.access.user_id);
    assert!(company.sandbox.pipedrive_create("person", &json!({"email": "x"})).is_err());
    assert!(company.sandbox.pipedrive_create("planet", &json!({})).is_err());
    let made = company.post("/_sandbox/pipedrive/records/lead", json!({"title": "L", "person_id": id.as_str().parse::<i64>().unwrap()}));
    let lead = RecordId::new(made.body["id"].as_str().unwrap());
    company.sandbox.pipedrive_delete("lead", &lead).unwrap();
    assert!(company.sandbox.pipedrive_records("lead").is_empty());
    assert_eq!(company.send("DELETE", &format!("/_sandbox/pipedrive/records/person/{id}"), None).status, 204);
    assert_eq!(company.get("/_sandbox/pipedrive/records/person").body, json!([]));
    assert_eq!(company.post("/_sandbox/pipedrive/options", json!({"search_lag_millis": 5})).status, 204);
    assert_eq!(company.sandbox.pipedrive_options().search_lag_millis, 5);
    assert_eq!(company.send("DELETE", "/_sandbox/pipedrive/tokens", None).status, 204);
    assert_eq!(bearer(&company, &company.access.access_token).get("/persons").status, 401);
    let state = company.sandbox.state();
    assert!(state["pipedrive"]["person"].is_array() && !state.to_string().contains("http_auth_password"));
    company.sandbox.reset().unwrap();
    assert!(company.sandbox.pipedrive_records("person").is_empty());
}

#[test]
fn the_company_is_kept_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let open = || {
        let (host, clock) = Host::manual_with_clock(7);
        Company::over(Sandbox::open(host, 7, dir.path()).unwrap(), clock)
    };
    let (key, person, hook) = {
        let company = open();
        let (key, _) = company.field("person", "varchar", &[]);
        let hook = company
            .post(
                "/v1/webhooks",
                json!({"subscription_url": "https://example.org/h", "event_action": "*", "event_object": "*", "name": "n"}),
            )
            .id();
        let person = company.post("/persons", json!({"name": "Eva", "custom_fields": {&key: "kept"}})).id();
        let label = company.get("/v1/leadLabels").data()[0]["id"].as_str().unwrap().to_owned();
        company.delete(&format!("/v1/leadLabels/{label}"));
        (key, person, hook)
    };
    for _ in 0..2 {
        let company = open();
        assert_eq!(company.get(&format!("/persons/{person}")).data()["custom_fields"][&key], "kept");
        assert_eq!(company.get("/v1/leadLabels").data().as_array().unwrap().len(), 2);
        let due = company.sandbox.pipedrive_deliveries();
        assert_eq!((due.len(), due[0].webhook_id), (1, hook));
    }
    let company = open();
    assert_eq!(company.delete(&format!("/v1/webhooks/{hook}")).status, 200);
    assert_eq!(company.post("/persons", json!({"name": "Next"})).id(), person + 1);
    drop(company);
    assert_eq!(open().get("/v1/webhooks").data(), &json!([]));
}

#[test]
fn the_same_seed_makes_the_same_company() {
    let run = |seed: u64| -> Vec<Value> {
        let (host, clock) = Host::manual_with_clock(1);
        let company = Company::over(Sandbox::new(host, seed), clock);
        let (key, _) = company.field("deal", "varchar", &[]);
        let person = company.person("Eva", "eva@x.example");
        let lead = company.post("/v1/leads", json!({"title": "L", "person_id": person}));
        vec![json!(key), lead.body["data"].clone(), json!(company.access.api_token), json!(company.access.company_id)]
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3)[0], run(4)[0]);
}
