//! The change feed misses nothing: lag, ties, the ceiling, deletions.

#![cfg(feature = "hubspot")]
#![allow(clippy::indexing_slicing, clippy::panic, clippy::print_stdout, clippy::unwrap_used, reason = "a test that fails should stop")]

use crate::portal;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crm_sync::adapter::{ChangeFeed, CrmAdapter, Since};
use crm_sync::host::{Host, ManualClock};
use crm_sync::hubspot::HubSpot;
use crm_sync::hubspot::entity::CONTACTS;
use crm_sync::model::{Change, ChangeKind};
use portal::Portal;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::json;

fn connect(seed: u64) -> (HubSpot, Portal, Host, Arc<ManualClock>) {
    let (host, clock) = Host::manual_with_clock(seed);
    let portal = Portal::new(host.clone(), seed);
    (portal.client(), portal, host, clock)
}

/// Reads until a page is empty.
async fn drain(client: &HubSpot, feed: &mut ChangeFeed) -> Vec<Change> {
    let mut changes = Vec::new();
    for _ in 0..1_000 {
        let page = client.changes(feed).await.unwrap();
        feed.since = Since::Cursor(page.next.unwrap());
        if page.items.is_empty() {
            return changes;
        }
        changes.extend(page.items);
    }
    panic!("the feed does not come to rest");
}

#[derive(Clone, Debug)]
enum Step {
    Poll(u64),
    Remove(usize),
    Write { count: usize, same: usize, wait: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..400).prop_map(Step::Poll),
        1 => (0_usize..50).prop_map(Step::Remove),
        3 => (1_usize..6, 0_usize..3, 0_u64..90_000).prop_map(|(count, same, wait)| Step::Write { count, same, wait }),
        1 => (210_usize..230, 0_usize..3, 0_u64..20_000).prop_map(|(count, same, wait)| Step::Write { count, same, wait }),
    ]
}

/// The seed is printed, and can be given: `PROPTEST_RNG_SEED`.
fn seeded(cases: u32) -> ProptestConfig {
    let given = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| std::hash::RandomState::new().build_hasher().finish());
    println!("PROPTEST_RNG_SEED={seed}");
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(seed), ..ProptestConfig::default() }
}

/// Whatever happens in these steps, the feed tells every record's last state, and every deletion.
async fn tell_all(seed: u64, lag: u64, steps: Vec<Step>) {
    let (client, portal, _, clock) = connect(seed);
    portal.lag(lag);
    let mut feed = ChangeFeed::new(CONTACTS, Since::Start);
    feed.select = vec!["score".to_owned()];
    feed.deletes = true;
    let mut wanted: BTreeMap<u64, u64> = BTreeMap::new();
    let mut gone: BTreeSet<u64> = BTreeSet::new();
    let mut told: BTreeMap<u64, u64> = BTreeMap::new();
    let mut told_gone: BTreeSet<u64> = BTreeSet::new();
    let mut stamp = 0;
    let mut hear = |changes: Vec<Change>, told: &mut BTreeMap<u64, u64>| {
        for change in changes {
            let id: u64 = change.id.as_str().parse().unwrap();
            if change.kind == ChangeKind::Deleted {
                told_gone.insert(id);
            } else {
                let score: u64 = change.fields.text("score").unwrap().parse().unwrap();
                let known = told.entry(id).or_default();
                *known = (*known).max(score);
            }
        }
    };
    for step in steps {
        match step {
            Step::Poll(seconds) => {
                clock.advance(Duration::from_secs(seconds));
                hear(drain(&client, &mut feed).await, &mut told);
            }
            Step::Remove(nth) => {
                if let Some(id) = wanted.keys().nth(nth).copied() {
                    portal.remove("contacts", id);
                    wanted.remove(&id);
                    gone.insert(id);
                }
            }
            Step::Write { count, same, wait } => {
                clock.advance(Duration::from_millis(wait));
                for n in 0..count {
                    stamp += 1;
                    let id = wanted.keys().nth(n).copied().filter(|_| n < same);
                    let id = portal.put("contacts", id, &[("score", &stamp.to_string())]);
                    wanted.insert(id, stamp);
                }
            }
        }
    }
    // At rest, some polls later.
    for _ in 0..4 {
        clock.advance(Duration::from_secs(301));
        hear(drain(&client, &mut feed).await, &mut told);
    }
    for (id, stamp) in &wanted {
        assert_eq!(told.get(id), Some(stamp), "record {id}");
    }
    assert!(told_gone.is_superset(&gone), "{gone:?} {told_gone:?}");
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(seeded(24))]

    #[test]
    fn every_last_state_and_every_deletion_is_told(seed in any::<u64>(), lag in 0_u64..60_000, steps in prop::collection::vec(step(), 1..14)) {
        run(tell_all(seed, lag, steps));
    }
}

proptest! {
    #![proptest_config(seeded(3))]

    /// The same with one instant that holds more than a search gives, somewhere in the middle.
    #[test]
    fn every_last_state_is_told_past_the_ceiling(
        (seed, lag) in (any::<u64>(), 0_u64..60_000),
        steps in prop::collection::vec(step(), 1..6),
        (at, count, wait) in (0_usize..6, 10_001_usize..10_300, 0_u64..90_000),
    ) {
        let mut steps = steps;
        steps.insert(at.min(steps.len()), Step::Write { count, same: 2, wait });
        run(tell_all(seed, lag, steps));
    }
}

/// What a reader does that trusts the index: what changed after the newest it knows, a page at a time.
fn naive(portal: &Portal, newest: &mut String) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let body = json!({"filterGroups": [{"filters": [{"propertyName": "lastmodifieddate", "operator": "GT", "value": newest}]}],
            "sorts": [{"propertyName": "lastmodifieddate", "direction": "ASCENDING"}], "limit": 200});
        let page = portal.raw("POST", "/crm/v3/objects/contacts/search", &body);
        let rows = page["results"].as_array().unwrap();
        let Some(last) = rows.last() else { return heard };
        heard.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        last["properties"]["lastmodifieddate"].as_str().unwrap().clone_into(newest);
    }
}

/// Otherwise the tests here would prove nothing.
#[tokio::test]
async fn a_naive_reader_misses_late_rows_and_ties() {
    let (client, portal, _, clock) = connect(3);
    portal.set(|options| options.search_per_second = 100);
    portal.lag(58_000);
    let mut heard: BTreeSet<String> = BTreeSet::new();
    let mut newest = "0".to_owned();
    for n in 0..80 {
        if n < 60 {
            portal.put("contacts", None, &[("score", &n.to_string())]);
        }
        clock.advance(Duration::from_secs(10));
        heard.extend(naive(&portal, &mut newest));
    }
    assert!(heard.len() < 60, "the naive reader heard {} of 60", heard.len());
    portal.lag(0);
    portal.set(|options| options.search_lag_millis = 0);
    clock.advance(Duration::from_secs(10));
    naive(&portal, &mut newest);
    for n in 0..450 {
        portal.put("contacts", None, &[("score", &n.to_string())]);
    }
    assert!(naive(&portal, &mut newest).len() < 450, "of more than a page on one stamp the rest is lost");
    clock.advance(Duration::from_secs(600));
    let mut feed = ChangeFeed::new(CONTACTS, Since::Start);
    let all: BTreeSet<String> = drain(&client, &mut feed).await.into_iter().map(|change| change.id.to_string()).collect();
    assert_eq!(all.len(), 510);
}

#[tokio::test]
async fn a_late_row_is_found_though_the_feed_is_polled_every_ten_seconds() {
    let (client, portal, _, clock) = connect(3);
    let mut feed = ChangeFeed::new(CONTACTS, Since::Start);
    feed.select = vec!["score".to_owned()];
    portal.lag(58_000);
    let mut heard: BTreeSet<String> = BTreeSet::new();
    for n in 0..60 {
        portal.put("contacts", None, &[("score", &n.to_string())]);
        clock.advance(Duration::from_secs(10));
        heard.extend(drain(&client, &mut feed).await.into_iter().map(|change| change.id.to_string()));
    }
    for _ in 0..20 {
        clock.advance(Duration::from_secs(10));
        heard.extend(drain(&client, &mut feed).await.into_iter().map(|change| change.id.to_string()));
    }
    assert_eq!(heard.len(), 60);
}

#[tokio::test]
async fn an_instant_of_more_than_ten_thousand_is_read_by_id() {
    let (client, portal, _, clock) = connect(4);
    for n in 0..10_301 {
        portal.put("contacts", None, &[("score", &n.to_string())]);
    }
    clock.advance(Duration::from_secs(1_000));
    let mut feed = ChangeFeed::new(CONTACTS, Since::Start);
    feed.select = vec!["score".to_owned()];
    let heard: BTreeSet<String> = drain(&client, &mut feed).await.into_iter().map(|change| change.id.to_string()).collect();
    assert_eq!(heard.len(), 10_301);
    assert!(drain(&client, &mut feed).await.is_empty(), "nothing new");
}

#[tokio::test]
async fn a_feed_at_rest_is_silent() {
    let (client, portal, _, clock) = connect(5);
    portal.put("contacts", None, &[("score", "1")]);
    let mut feed = ChangeFeed::new(CONTACTS, Since::Start);
    clock.advance(Duration::from_secs(3_600));
    assert_eq!(drain(&client, &mut feed).await.len(), 1);
    for _ in 0..5 {
        clock.advance(Duration::from_secs(120));
        assert!(drain(&client, &mut feed).await.is_empty());
    }
    let kind = |change: &Change| change.kind;
    let id = portal.put("contacts", None, &[("score", "2")]);
    clock.advance(Duration::from_secs(30));
    assert_eq!(drain(&client, &mut feed).await.iter().map(kind).collect::<Vec<_>>(), [ChangeKind::Created]);
    portal.put("contacts", Some(id), &[("score", "3")]);
    clock.advance(Duration::from_secs(600));
    assert_eq!(drain(&client, &mut feed).await.iter().map(kind).next_back(), Some(ChangeKind::Updated));
}
