//! The CometD face of the sandbox, spoken to in raw HTTP.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::bayeux;
use crate::raw_http;

use std::time::Duration;

use bayeux::{Comet, now, post, script, shake};
use futures_util::FutureExt;
use raw_http::Org;
use serde_json::{Value, json};

const INVALID: &str = "you provided was invalid. Please provide a valid ID, -2 to replay all events, or -1 to replay only new events.";

#[test]
fn a_handshake_needs_a_token_a_version_and_long_polling() {
    let org = Org::new();
    let good = shake(&org);
    assert_eq!(good.body[0]["supportedConnectionTypes"], json!(["long-polling"]));
    assert_eq!(good.body[0]["ext"], json!({"replay": true, "payload.format": true}));
    assert_eq!(good.body[0]["id"], "1");
    let cookie = good.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("Path=/; HttpOnly") && !cookie.contains("Secure"), "{cookie}");
    for (token, reason) in [("", "401::Request requires authentication"), ("nonsense", "401::Authentication invalid")] {
        let org = Org { token: token.to_owned(), ..Org::new() };
        let reply = shake(&org).body[0].clone();
        assert_eq!(reply["error"], "403::Handshake denied");
        assert_eq!(reply["ext"]["sfdc"]["failureReason"], reason);
        assert_eq!(reply["advice"]["reconnect"], "none");
        assert!(reply.get("clientId").is_none());
    }
    for message in [
        json!({"channel": "/meta/handshake", "version": "2.0", "supportedConnectionTypes": ["long-polling"]}),
        json!({"channel": "/meta/handshake", "version": "1.0", "supportedConnectionTypes": ["websocket"]}),
        json!({"channel": "/meta/handshake", "version": "1.0"}),
    ] {
        assert_eq!(now(&org, "", &json!([message])).body[0]["successful"], false);
    }
}

#[test]
fn the_endpoint_minds_its_http() {
    let org = Org::new();
    let send = |path: &str, body: &[u8]| post(&org, path, "", body.to_vec()).now_or_never().unwrap().status;
    let hello = br#"[{"channel":"/meta/handshake","version":"1.0","supportedConnectionTypes":["long-polling"]}]"#;
    assert_eq!(send("/cometd/68.0", hello), 200);
    assert_eq!(send("/cometd/68.0/", hello), 200);
    assert_eq!(send("/cometd/37.0/handshake", hello), 200);
    assert_eq!(send("/cometd/36.0", hello), 404);
    assert_eq!(send("/cometd/69.0", hello), 404);
    assert_eq!(send("/cometd/68.0/nothing", hello), 404);
    assert_eq!(send("/cometd/68.0", &hello[1..hello.len() - 1]), 200);
    assert_eq!(send("/cometd/68.0", b"[]"), 400);
    assert_eq!(send("/cometd/68.0", b"nonsense"), 400);
    assert_eq!(send("/cometd/68.0", br#"[{"id":"1"}]"#), 400);
    let large = json!([{"channel": "/x", "data": "x".repeat(32_768)}]).to_string();
    assert_eq!(send("/cometd/68.0", large.as_bytes()), 413);
    assert_eq!(org.send("GET", "/salesforce/cometd/68.0", None).status, 405);
    let upgrade = org.with("connection", "Upgrade").with("upgrade", "websocket").send("GET", "/salesforce/cometd/68.0", None);
    assert_eq!(upgrade.status, 400);
}

#[tokio::test]
async fn a_connect_waits_its_time_and_a_silent_client_is_forgotten() {
    let org = Org::new();
    let comet = Comet::open(&org);
    let before = org.clock_now();
    let answer = comet.connect().await;
    assert_eq!(answer.body, json!([{"channel": "/meta/connect", "id": "c", "clientId": comet.id, "successful": true}]));
    assert_eq!(org.clock_now() - before, 110);
    org.clock.advance(Duration::from_secs(39));
    assert!(comet.events().is_empty());
    org.clock.advance(Duration::from_secs(40));
    let reply = comet.one(comet.connect_message());
    assert_eq!(reply["error"], "403::Unknown client");
    assert_eq!(reply["advice"], json!({"reconnect": "handshake", "interval": 0}));
    assert_eq!(comet.subscribe("/data/ChangeEvents", Some(-1))["error"], "403::Unknown client");
}

#[tokio::test]
async fn an_event_ends_the_wait() {
    let org = Org::new();
    let comet = Comet::open(&org);
    comet.listen("/data/LeadChangeEvent", -1);
    let before = org.clock_now();
    let write = async {
        tokio::task::yield_now().await;
        org.lead("Müller")
    };
    let (answer, id) = tokio::join!(comet.connect(), write);
    assert!(org.clock_now() - before < 60);
    assert_eq!(answer.body.as_array().unwrap().len(), 2);
    assert_eq!(answer.body[0]["data"]["payload"]["ChangeEventHeader"]["recordIds"], json!([id]));
    assert_eq!(answer.body[1]["channel"], "/meta/connect");
    assert!(comet.events().is_empty());
}

#[test]
fn without_the_cookie_a_client_is_not_believed() {
    let org = Org::new();
    let comet = Comet::open(&org);
    for cookie in ["", "wrong"] {
        let reply = now(&org, cookie, &json!([comet.connect_message()])).body[0].clone();
        let error = format!("400::Client {} has established a session, but no BAYEUX_BROWSER cookie present", comet.id);
        assert_eq!(reply["error"], error);
    }
}

#[test]
fn a_batch_with_a_connect_is_answered_at_once() {
    let org = Org::new();
    let comet = Comet::open(&org);
    org.lead("A");
    let batch = json!([
        comet.connect_message(),
        {"channel": "/meta/subscribe", "id": "s", "clientId": comet.id, "subscription": ["/data/LeadChangeEvent", "/data/ChangeEvents"],
         "ext": {"replay": {"/data/LeadChangeEvent": -2, "/data/ChangeEvents": -1}}},
    ]);
    let answer = now(&org, &comet.cookie, &batch);
    assert_eq!(answer.body.as_array().unwrap().len(), 2);
    assert!(answer.body.as_array().unwrap().iter().all(|reply| reply["successful"] == true));
    let events = comet.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["channel"], "/data/LeadChangeEvent");
    org.lead("B");
    let channels: Vec<Value> = comet.events().iter().map(|event| event["channel"].clone()).collect();
    assert_eq!(channels, ["/data/LeadChangeEvent", "/data/ChangeEvents"]);
    let gone = comet.one(json!({"channel": "/meta/unsubscribe", "clientId": comet.id, "subscription": "/data/ChangeEvents"}));
    assert_eq!(gone["successful"], true);
    org.lead("C");
    assert_eq!(comet.events().len(), 1);
    assert_eq!(comet.one(json!({"channel": "/meta/disconnect", "clientId": comet.id}))["successful"], true);
    assert_eq!(comet.one(comet.connect_message())["error"], "403::Unknown client");
}

#[test]
fn channels_that_do_not_exist_and_publishing_are_refused() {
    let org = Org::new();
    let comet = Comet::open(&org);
    for channel in ["/data/leadchangeevent", "/data/NothingChangeEvent", "/topic/None", "/event/None__e", "/u/none", "/data/None__chn"] {
        let error = format!("400::The channel you requested to subscribe to does not exist {{{channel}}}");
        assert_eq!(comet.subscribe(channel, Some(-1))["error"], error);
    }
    assert_eq!(comet.subscribe("/other/x", None)["error"], "404::Unknown channel");
    assert_eq!(comet.subscribe("/data/*", None)["error"], "403::Restricted channel");
    let published = comet.one(json!({"channel": "/data/LeadChangeEvent", "clientId": comet.id, "data": {}}));
    assert_eq!((published["successful"].clone(), published["error"].clone()), (json!(false), json!("403::Restricted channel")));
}

#[test]
fn replay_ids_are_known_or_refused() {
    let org = Org::new();
    org.lead("A");
    org.lead("B");
    let comet = Comet::open(&org);
    comet.listen("/data/LeadChangeEvent", -2);
    let ids = comet.replays();
    assert_eq!(ids.len(), 2);
    comet.listen("/data/LeadChangeEvent", ids[0]);
    assert_eq!(comet.replays(), ids[1..]);
    comet.listen("/data/LeadChangeEvent", -1);
    assert!(comet.events().is_empty());
    assert_eq!(comet.subscribe("/data/LeadChangeEvent", None)["successful"], true);
    assert!(comet.events().is_empty());
    for wrong in [4711, ids[1] + 1, 0, -3] {
        let error = comet.subscribe("/data/LeadChangeEvent", Some(wrong))["error"].clone();
        assert_eq!(error, format!("400::The replayId {{{wrong}}} {INVALID}"));
    }
    org.clock.advance(Duration::from_secs(71 * 3600));
    org.lead("C");
    let comet = Comet::open(&org);
    comet.listen("/data/LeadChangeEvent", ids[1]);
    assert_eq!(comet.events().len(), 1);
    org.clock.advance(Duration::from_secs(3600));
    let comet = Comet::open(&org);
    assert!(comet.subscribe("/data/LeadChangeEvent", Some(ids[1]))["error"].as_str().unwrap().ends_with(INVALID));
    comet.listen("/data/LeadChangeEvent", -2);
    assert_eq!(comet.events().len(), 1);
}

#[tokio::test]
async fn a_second_connect_closes_the_first() {
    let org = Org::new();
    let comet = Comet::open(&org);
    let first = comet.connect();
    let second = async {
        tokio::task::yield_now().await;
        comet.connect().await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, 408);
    assert_eq!((second.status, second.body[0]["successful"].clone()), (200, json!(true)));
}

#[tokio::test]
async fn a_session_outlives_its_token_but_not_its_revocation() {
    let org = Org::new();
    org.sandbox.set_options(|options| options.token_lifetime = Some(60)).unwrap();
    let access = org.sandbox.salesforce("http://localhost");
    let fresh = org.form(
        "/services/oauth2/token",
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", &access.refresh_token),
            ("client_id", &access.client_id),
            ("client_secret", &access.client_secret),
        ],
    );
    let org = Org { token: fresh.body["access_token"].as_str().unwrap().to_owned(), ..org };
    let comet = Comet::open(&org);
    assert_eq!(comet.connect().await.body[0]["successful"], true);
    let refused = comet.subscribe("/data/ChangeEvents", None);
    assert_eq!((refused["error"].clone(), refused["advice"]["reconnect"].clone()), (json!("401::Authentication invalid"), json!("none")));
    let revoke = async {
        tokio::task::yield_now().await;
        org.delete("/_sandbox/tokens");
    };
    let (held, ()) = tokio::join!(comet.connect(), revoke);
    assert_eq!(held.body[0]["error"], "401::Authentication invalid");
    assert_eq!(held.body[0]["advice"]["reconnect"], "none");
}

#[tokio::test]
async fn trouble_comes_when_it_is_scripted() {
    let org = Org::new();
    let comet = Comet::open(&org);
    comet.listen("/data/ChangeEvents", -1);
    script(&org, json!({"do": "refuse", "channel": "/meta/subscribe", "error": "403::Subscription limit exceeded for this topic"}));
    assert_eq!(comet.subscribe("/data/ChangeEvents", None)["error"], "403::Subscription limit exceeded for this topic");
    assert_eq!(comet.subscribe("/data/ChangeEvents", None)["successful"], true);
    script(&org, json!({"do": "stall"}));
    org.lead("Silent");
    let mut held = Box::pin(comet.connect());
    for _ in 0..2000 {
        assert!(futures_util::poll!(held.as_mut()).is_pending());
    }
    script(&org, json!({"do": "stall", "on": false}));
    assert_eq!(held.await.body.as_array().unwrap().len(), 2);
    let cut = async {
        tokio::task::yield_now().await;
        script(&org, json!({"do": "cut"}));
    };
    let request = http::Request::post("http://localhost/cometd/68.0")
        .header("authorization", format!("Bearer {}", org.token))
        .header("cookie", format!("BAYEUX_BROWSER={}", comet.cookie))
        .body(bytes::Bytes::from(json!([comet.connect_message()]).to_string()))
        .unwrap();
    let (broken, ()) = tokio::join!(org.transport.send(request), cut);
    assert!(broken.is_err());
    script(&org, json!({"do": "unknown_client"}));
    assert_eq!(comet.one(comet.connect_message())["error"], "403::Unknown client");
    script(&org, json!({"do": "clients", "most": 1}));
    let _one = Comet::open(&org);
    let second = shake(&org).body[0].clone();
    assert_eq!(second["ext"]["sfdc"]["failureReason"], "403::Organization concurrent user limit exceeded");
    assert_eq!(org.post("/_sandbox/events", json!({"do": "dance"})).status, 400);
    assert_eq!(org.post("/_sandbox/events", json!({"do": "overflow", "entity": "Nothing"})).status, 400);
}

#[test]
fn expiry_and_reset_make_old_ids_worthless() {
    let org = Org::new();
    org.lead("A");
    let comet = Comet::open(&org);
    comet.listen("/data/ChangeEvents", -2);
    let old = comet.replays()[0];
    script(&org, json!({"do": "expire"}));
    assert!(comet.subscribe("/data/ChangeEvents", Some(old))["error"].as_str().unwrap().ends_with(INVALID));
    comet.listen("/data/ChangeEvents", -2);
    assert!(comet.events().is_empty());
    org.lead("B");
    let newer = comet.replays()[0];
    assert!(newer > old);
    script(&org, json!({"do": "reset"}));
    comet.listen("/data/ChangeEvents", -2);
    org.lead("C");
    assert!(comet.replays()[0] < old);
    assert!(comet.subscribe("/data/ChangeEvents", Some(newer))["error"].as_str().unwrap().ends_with(INVALID));
}
