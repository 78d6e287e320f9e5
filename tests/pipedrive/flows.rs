//! The person sync: whatever moment the process dies at, one organization, one person, one deal, its notes and activities.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::needless_pass_by_value,
    clippy::field_reassign_with_default,
    reason = "a test may panic, and writes what it means"
)]

use crate::account;
use crate::support;

use std::sync::Arc;
use std::time::Duration;

use account::{Account, CHOICE};
use crm_sync::host::Host;
use crm_sync::pipedrive::flows::{Ensured, MarketingActivity, MarketingLead, PersonSync};
use crm_sync::pipedrive::{PipedriveConfig, PipedriveSettings};
use crm_sync::store::{MemoryStore, Store};
use serde_json::json;
use support::{Death, Life, MortalStore, MortalTransport};

fn settings(config: PipedriveConfig) -> PipedriveConfig {
    let settings: PipedriveSettings = serde_json::from_value(json!({
        "customFields": {"person": {"temperature": "Temperature"}},
        "pipeline": {"defaultPipelineId": 1, "currency": "USD", "stages": {"new": 1, "qualified": "Qualified", "won": 5, "lost": 6}}
    }))
    .unwrap();
    config.settings(settings)
}

fn host() -> Host {
    let (host, clock) = Host::manual_with_clock(3);
    clock.set_wall("2026-11-24T09:00:00Z".parse().unwrap());
    host
}

fn lead() -> MarketingLead {
    let mut lead = MarketingLead::new("lead-1", "Jane", "Doe");
    lead.email = Some("jane@example.com".to_owned());
    lead.phone = Some("+32 2 555 12 34".to_owned());
    lead.company = Some("Acme".to_owned());
    lead.qualified = true;
    lead.stage = Some("qualified".to_owned());
    lead.value = serde_json::from_str("1000").ok();
    lead.fields.insert("temperature", "Hot");
    lead.attribution = Some("<p>first touch: ads</p>".to_owned());
    lead.history = Some("<p>read the newsletter</p>".to_owned());
    for id in ["a1", "a2"] {
        let mut activity = MarketingActivity::new(id, "webinar");
        activity.date = Some("2026-11-20".to_owned());
        activity.time = Some("14:30".to_owned());
        activity.duration = Some("01:00".to_owned());
        lead.activities.push(activity);
    }
    lead
}

fn whole(account: &Account) {
    let rows = |table: &str| account.rows(table);
    let (organizations, persons, deals) = (rows("organizations"), rows("persons"), rows("deals"));
    assert_eq!((organizations.len(), persons.len(), deals.len()), (1, 1, 1));
    let (person, deal) = (&persons[0], &deals[0]);
    assert_eq!(person["org_id"], organizations[0]["id"]);
    assert_eq!(person["custom_fields"][CHOICE], 1);
    assert_eq!(person["emails"], json!([{"value": "jane@example.com", "primary": true, "label": "work"}]));
    assert_eq!((&deal["title"], &deal["pipeline_id"], &deal["stage_id"]), (&json!("Acme - Jane Doe"), &json!(1), &json!(2)));
    assert_eq!((&deal["value"], &deal["currency"], &deal["person_id"]), (&json!(1000), &json!("USD"), &person["id"]));
    let notes = rows("notes");
    assert_eq!(notes.len(), 2);
    let pinned: Vec<_> = notes.iter().filter(|note| note.get("pinned_to_deal_flag") == Some(&json!(1))).collect();
    assert!(pinned.len() == 1 && pinned[0]["deal_id"] == deal["id"] && pinned[0]["content"].as_str().unwrap().contains("first touch"));
    let activities = rows("activities");
    assert_eq!(activities.len(), 2);
    for activity in &activities {
        assert_eq!((&activity["done"], &activity["type"], &activity["deal_id"]), (&json!(true), &json!("call"), &deal["id"]));
        assert_eq!(activity["participants"], json!([{"person_id": person["id"], "primary": true}]));
        assert_eq!((&activity["due_time"], &activity["duration"]), (&json!("14:30"), &json!("01:00")));
    }
}

#[tokio::test]
async fn a_lead_comes_in_once_and_changes_are_told() {
    let host = host();
    let account = Account::new(host.clone(), Duration::from_secs(3));
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host));
    let sync = PersonSync::new(account.client(settings), Arc::clone(&store)).activity_type("webinar", "Call");
    let first = sync.sync(&lead()).await.unwrap();
    assert_eq!((first.person_was, first.deal_was), (Ensured::Created, Some(Ensured::Created)));
    assert!(first.activities.iter().all(Result::is_ok));
    whole(&account);
    let writes = |account: &Account| account.log().iter().filter(|line| !line.starts_with("GET")).count();
    let before = writes(&account);
    let again = sync.sync(&lead()).await.unwrap();
    assert_eq!((again.person, again.person_was), (first.person.clone(), Ensured::Known));
    assert_eq!(writes(&account), before, "nothing to write");
    // News: a second address, a colder heart, a new history. The name somebody corrected stays.
    let mut news = lead();
    news.first_name = "Janet".to_owned();
    news.email = Some("jane@home.example".to_owned());
    news.fields.insert("temperature", "Cold");
    news.history = Some("<p>bought</p>".to_owned());
    sync.sync(&news).await.unwrap();
    let person = account.rows("persons").remove(0);
    assert_eq!((&person["name"], &person["custom_fields"][CHOICE]), (&json!("Jane Doe"), &json!(2)));
    assert_eq!(person["emails"][0]["value"], "jane@example.com");
    assert_eq!(person["emails"][1], json!({"value": "jane@home.example", "primary": false, "label": "work"}));
    assert_eq!(account.rows("notes").len(), 2);
    assert!(account.rows("notes").iter().any(|note| note["content"].as_str().unwrap().contains("bought")));
    assert_eq!(writes(&account), before + 2);
}

#[tokio::test]
async fn won_is_a_status_and_an_unknown_type_fails_alone() {
    let host = host();
    let account = Account::new(host.clone(), Duration::ZERO);
    let sync = PersonSync::new(account.client(settings), Arc::new(MemoryStore::new(host))).activity_type("webinar", "Call");
    let mut lead = lead();
    lead.stage = Some("Won".to_owned());
    lead.activities[0].kind = "dance".to_owned();
    let synced = sync.sync(&lead).await.unwrap();
    let deal = account.rows("deals").remove(0);
    assert_eq!((&deal["status"], deal.get("stage_id")), (&json!("won"), None));
    assert!(synced.activities[0].is_err() && synced.activities[1].is_ok());
    assert_eq!(account.rows("activities").len(), 1);
}

/// Dies at each step in turn, before it or after it, and starts again with the same store.
#[tokio::test]
async fn whenever_the_process_dies_nothing_is_made_twice() {
    let mut deaths = 0;
    for at in 0.. {
        let mut ended = true;
        for death in [Death::Before(at), Death::After(at)] {
            let host = host();
            let account = Account::new(host.clone(), Duration::from_secs(30));
            let kept: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
            let life = Life::new(Some(death));
            let transport = Arc::new(MortalTransport { inner: Arc::clone(&account) as _, life: Arc::clone(&life) });
            let store = Arc::new(MortalStore { inner: Arc::clone(&kept), life: Arc::clone(&life) });
            let sync = PersonSync::new(account.client_over(transport, settings), store).activity_type("webinar", "Call");
            let died = sync.sync(&lead()).await.is_err();
            if died {
                (ended, deaths) = (false, deaths + 1);
            }
            // The next life, at once: what may still be under way is waited for, as long as the error says.
            let sync = PersonSync::new(account.client(settings), kept).activity_type("webinar", "Call");
            let mut tries = 0;
            while let Err(error) = sync.sync(&lead()).await {
                tries += 1;
                assert!(tries < 4, "{death:?}: {error:?}");
                host.sleep(error.retry_after().unwrap_or_else(|| panic!("{death:?}: {error:?}"))).await;
            }
            whole(&account);
        }
        if ended {
            break;
        }
    }
    assert!(deaths > 40, "{deaths}");
}
