//! Lists straight into types of the host's.

#![cfg(feature = "hubspot")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::hubspot::{client, reply};

use crm_sync::error::ErrorKind;
use crm_sync::hubspot::entity::CONTACTS;
use futures_util::StreamExt;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Person {
    email: Option<String>,
}

#[tokio::test]
async fn pages_become_the_hosts_records() {
    let (crm, replay) = client(vec![
        reply(
            200,
            r#"{"results":[{"id":"1","properties":{"email":"a@b.c","phone":null},"archived":false}],"paging":{"next":{"after":"1"}}}"#,
        ),
        reply(200, r#"{"results":[{"id":"2","properties":{"email":null}},{"id":"3","properties":{"email":7}}]}"#),
    ]);
    let mut rows = crm.list_as::<Option<Person>>(&CONTACTS, &["email".to_owned()]);
    let first = rows.next().await.unwrap().unwrap();
    assert_eq!((first.id.as_str(), first.properties.unwrap().email.as_deref()), ("1", Some("a@b.c")));
    assert_eq!(replay.left(), 1, "the second page is not read before it is needed");
    assert_eq!(rows.next().await.unwrap().unwrap_err().kind(), ErrorKind::Decode);
    assert!(rows.next().await.is_none(), "an error ends the stream");
    let lines = replay.lines();
    assert!(lines[0].ends_with("?limit=100&properties=email"), "{lines:?}");
    assert!(lines[1].ends_with("?limit=100&after=1&properties=email"), "{lines:?}");
}

#[tokio::test]
async fn more_names_than_a_request_line_holds_are_refused() {
    let (crm, replay) = client(Vec::new());
    let names: Vec<String> = (0..2_000).map(|n| format!("property_{n}")).collect();
    assert_eq!(crm.list_as::<Person>(&CONTACTS, &names).next().await.unwrap().unwrap_err().kind(), ErrorKind::Config);
    assert!(replay.lines().is_empty());
}
