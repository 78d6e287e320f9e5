//! Lists straight into types of the host's.

#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::replay::{Replay, reply};

use std::sync::Arc;

use crm_sync::host::Host;
use crm_sync::pipedrive::{Kind, ListQuery, Pipedrive, PipedriveConfig};
use futures_util::StreamExt;
use serde::Deserialize;

#[derive(Deserialize)]
struct Person {
    id: u64,
    name: Option<String>,
}

#[tokio::test]
async fn pages_become_the_hosts_records() {
    let replay = Replay::new(vec![
        reply(200, r#"{"success":true,"data":[{"id":1,"name":"a","custom_fields":{}}],"additional_data":{"next_cursor":"c"}}"#),
        reply(200, r#"{"success":true,"data":null,"additional_data":{"next_cursor":null}}"#),
        reply(200, r#"{"success":false,"error":"no","data":null}"#),
    ]);
    let config = PipedriveConfig::with_api_token("https://one.example", "T".to_owned().into());
    let crm = Pipedrive::new(config, Arc::clone(&replay) as _, Host::manual(1)).unwrap();
    let mut rows = crm.list_as::<Person>(Kind::Person, ListQuery::new().limit(500));
    let first = rows.next().await.unwrap().unwrap();
    assert_eq!((first.id, first.name.as_deref()), (1, Some("a")));
    assert_eq!(replay.left(), 2, "the second page is not read before it is needed");
    assert!(rows.next().await.is_none());
    assert_eq!(replay.lines(), ["GET /api/v2/persons?limit=500", "GET /api/v2/persons?limit=500&cursor=c"]);
    assert!(crm.list_as::<Person>(Kind::Person, ListQuery::new()).next().await.unwrap().is_err());
}
