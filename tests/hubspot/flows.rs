//! The contact flow against the sandbox: nothing twice, and nothing at all if nothing changed.

#![cfg(feature = "hubspot")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::portal;

use crm_sync::adapter::CrmAdapter;
use crm_sync::error::ErrorKind;
use crm_sync::host::Host;
use crm_sync::hubspot::HubSpot;
use crm_sync::hubspot::entity::{COMPANIES, CONTACTS};
use crm_sync::hubspot::flows::{ContactSync, EmailEngagement, MarketingContact, Telling};
use crm_sync::model::{FieldType, Fields};
use portal::Portal;
use serde_json::{Value, json};

fn connect() -> (HubSpot, Portal) {
    let host = Host::manual(1);
    let portal = Portal::new(host, 1);
    (portal.client(), portal)
}

fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

#[tokio::test]
async fn a_contact_is_made_changed_and_left_alone() {
    let (client, portal) = connect();
    let (acme, other) = (portal.put("companies", None, &[("name", "Acme")]), portal.put("companies", None, &[("name", "Other")]));
    let at = "2026-01-01T10:00:00Z".parse().unwrap();
    let flow = ContactSync::new(&client).telling(Telling::Note("crm_sync_id".into()));
    let contact = MarketingContact::new("Ann@b.test", fields(json!({"firstname": "Ann", "score": 5, "jobtitle": null})))
        .about(COMPANIES, acme.to_string())
        .email_engagement(EmailEngagement::new("mail-1", "Spring & <b>more", 2, 1, at));
    let done = flow.sync(&contact).await.unwrap();
    assert_eq!((done.created, done.associated, done.told), (true, 1, 1));
    assert_eq!((portal.count("contacts"), portal.count("notes")), (1, 1));

    // The same again: the note is upserted by its mark, and no second one is there.
    let again = flow.sync(&contact).await.unwrap();
    assert_eq!((again.id.clone(), again.created, again.changed.len(), again.associated, again.told), (done.id.clone(), false, 0, 0, 0));
    assert_eq!((portal.count("contacts"), portal.count("notes")), (1, 1));

    // Without engagements nothing at all is written.
    let bare = MarketingContact::new(" ann@B.test", fields(json!({"firstname": "Ann", "score": 5.0, "jobtitle": ""})))
        .about(COMPANIES, acme.to_string());
    let before = portal.writes();
    flow.sync(&bare).await.unwrap();
    assert_eq!(portal.writes(), before);

    let changed = MarketingContact::new("ann@b.test", fields(json!({"firstname": "Anna", "score": 5}))).about(COMPANIES, other.to_string());
    let done = flow.sync(&changed).await.unwrap();
    assert_eq!((done.changed, done.associated), (vec!["firstname".to_owned()], 1));
    assert!(portal.bodies().iter().any(|body| body == r#"{"properties":{"firstname":"Anna"}}"#), "what differs and nothing else");
    assert_eq!(portal.log().iter().filter(|line| line.contains("/search")).count(), 0, "found without a search");
}

#[tokio::test]
async fn what_cannot_work_is_said_before_anything_is_sent() {
    let (client, portal) = connect();
    let at = "2026-01-01T10:00:00Z".parse().unwrap();
    let mute = ContactSync::new(&client);
    let told = MarketingContact::new("a@b.test", Fields::new()).email_engagement(EmailEngagement::new("m", "x", 1, 0, at));
    assert_eq!(mute.sync(&told).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(mute.sync(&MarketingContact::new(" ", Fields::new())).await.unwrap_err().kind(), ErrorKind::Config);
    let mut schema = client.describe(&CONTACTS).await.unwrap();
    assert_eq!(schema.field_type("score"), FieldType::Decimal { scale: None });
    let before = portal.log().len();
    schema.fields.iter_mut().filter(|field| field.name == "score").for_each(|field| field.updatable = false);
    let error = mute.schema(schema).sync(&MarketingContact::new("a@b.test", fields(json!({"score": 1})))).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("score"), "{error}");
    assert_eq!(portal.log().len(), before);
}
