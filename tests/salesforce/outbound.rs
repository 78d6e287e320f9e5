//! Outbound messages as the pretend org sends them, through verifier, router and answer.

#![cfg(feature = "outbound-messages")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use crate::bayeux;
use crate::raw_http;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bayeux::script;
use crm_sync::salesforce::webhook::{OutboundFormat, OutboundMessage, OutboundVerifier, ack};
use crm_sync::webhook::{EventFormat, RawRequest, Router, SignatureError, Verifier};
use http::{HeaderMap, Method};
use jiff::Timestamp;
use raw_http::Org;
use serde_json::json;

#[tokio::test]
async fn a_message_is_believed_handled_and_acknowledged() {
    let org = Org::new();
    let url = "http://receiver/hooks/s3cret";
    script(&org, json!({"do": "outbound", "entity": "Lead", "fields": ["LastName", "Email"], "url": url}));
    let id = org.lead("A & <B>");
    org.lead("C");
    let due = org.sandbox.deliveries("http://localhost/").unwrap();
    let organization = org.sandbox.salesforce("http://localhost").organization_id;
    let headers = HeaderMap::new();
    let request = |url| RawRequest { method: &Method::POST, url, headers: &headers, body: due[0].envelope.as_bytes() };
    let verifier = OutboundVerifier::new(&organization[..15]).unwrap().path_secret("2026", String::from("s3cret")).unwrap();
    let verified = verifier.verify(&request(url), Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(verified.receipt().secret, "2026");
    let forged = verifier.verify(&request("http://receiver/hooks/other"), Timestamp::UNIX_EPOCH);
    assert_eq!(forged.unwrap_err(), SignatureError::WrongSignature);
    let message = OutboundMessage::parse(verified.body()).unwrap();
    let other = verifier.clone().action("04k000000000001AAA").unwrap().verify(&request(url), Timestamp::UNIX_EPOCH);
    assert_eq!(other.unwrap_err(), SignatureError::WrongSender);
    assert!(verifier.action(&message.action_id).unwrap().verify(&request(url), Timestamp::UNIX_EPOCH).is_ok());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let router = Router::new().on("outbound_message.Lead", |event| {
        let seen = Arc::clone(&seen);
        async move {
            let change = event.change.unwrap();
            seen.lock().unwrap().push((change.id.into_string(), change.fields.text("LastName").unwrap().to_owned()));
            Ok(())
        }
    });
    for event in OutboundFormat.events(&verified).unwrap() {
        router.dispatch(event).await.unwrap();
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!((seen.len(), &seen[0]), (2, &(id, "A & <B>".to_owned())));
    assert!(!org.sandbox.delivered(&due[0], 200, ack(false)).unwrap());
    org.clock.advance(Duration::from_secs(60));
    let again = org.sandbox.deliveries("http://localhost").unwrap();
    let retried = OutboundMessage::parse(again[0].envelope.as_bytes()).unwrap();
    assert_eq!(retried.notifications[0].id, message.notifications[0].id, "dropped by the id of the notification");
    assert!(org.sandbox.delivered(&again[0], 200, ack(true)).unwrap());
    org.clock.advance(Duration::from_secs(3600));
    assert!(org.sandbox.deliveries("http://localhost").unwrap().is_empty());
}
