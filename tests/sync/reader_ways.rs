//! What a reader can be told to do: deletions, a beginning, polling for ever, and logs that order a second look.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that fails should stop"
)]

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::adapter::CrmAdapter;
use crm_sync::error::{Error, ErrorKind, Result};
use crm_sync::host::Host;
use crm_sync::model::{Change, ChangeKind, Link, RecordId};
use crm_sync::observe::{Event, Observer};
use crm_sync::salesforce::{Salesforce, SalesforceConfig, entity::LEAD};
use crm_sync::sandbox::Sandbox;
use crm_sync::store::{Batch, MemoryStore, Store, links};
use crm_sync::sync::{ChangeLog, LogItem, LogPage, MassDelete, Reader, ReaderBuilder};
use futures_util::StreamExt;
use jiff::Timestamp;
use serde_json::json;

use super::two_way_rules::{ROW, World, fields};

async fn drain(reader: &Reader) -> Vec<Change> {
    let mut told = Vec::new();
    while let Some(page) = reader.next().await.unwrap() {
        told.extend(page.changes.clone());
        reader.commit(page, Batch::new()).await.unwrap();
    }
    told
}

fn reader(world: &World) -> ReaderBuilder {
    Reader::builder(world.table.clone(), Arc::clone(&world.store), world.host.clone(), ROW)
}

fn ids(changes: &[Change]) -> Vec<&str> {
    changes.iter().map(|change| change.id.as_str()).collect()
}

#[tokio::test]
async fn deletions_are_asked_for_at_most_so_often_and_told_once() {
    let (host, clock) = Host::manual_with_clock(2);
    let sandbox = Sandbox::new(host.clone(), 2);
    let access = sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(access.instance_url, access.access_token.into());
    let crm: Arc<dyn CrmAdapter> = Arc::new(Salesforce::new(config, sandbox.transport(), host.clone()).unwrap());
    let store: Arc<dyn Store> = Arc::new(MemoryStore::new(host.clone()));
    let lead = |n: usize| sandbox.create("Lead", &fields(json!({"LastName": format!("L{n}"), "Company": "Acme"}))).unwrap();
    let leads: Vec<RecordId> = (0..4).map(lead).collect();
    let reader = Reader::builder(crm, store, host.clone(), LEAD).deletions(Duration::from_secs(3_600)).build().unwrap();
    clock.advance(Duration::from_secs(600));
    let made = drain(&reader).await;
    assert!(leads.iter().all(|id| made.iter().any(|change| change.id == *id && change.kind != ChangeKind::Deleted)));

    let mut told = Vec::new();
    sandbox.delete("Lead", &leads[1]).unwrap();
    for round in 0..30 {
        clock.advance(Duration::from_secs(600));
        if round == 12 {
            sandbox.delete("Lead", &leads[2]).unwrap();
        }
        sandbox.clear_requests();
        let found = drain(&reader).await;
        told.extend(found.into_iter().map(|change| (round, change.id, change.kind)));
    }
    let deleted: Vec<(i32, RecordId)> =
        told.iter().filter(|(.., kind)| *kind == ChangeKind::Deleted).map(|(round, id, _)| (*round, id.clone())).collect();
    println!("{deleted:?}");
    assert_eq!(deleted.iter().map(|(_, id)| id).collect::<Vec<_>>(), [&leads[1], &leads[2]], "each once");
    // Within an hour and the settle time of the deletion, not at once.
    assert!(deleted[0].0 <= 7 && (12..=19).contains(&deleted[1].0), "{deleted:?}");
    assert_eq!(told.len(), 2, "nothing else is told again: {told:?}");

    let world = World::new(|_| {});
    let error = self::reader(&world).deletions(Duration::from_secs(60)).build().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("reconcile"), "{error}");
}

#[tokio::test]
async fn what_changed_before_the_beginning_is_left_out() {
    let world = World::new(|_| {});
    let mut half = None;
    for n in 0..10 {
        world.table.put(&format!("{n}"), fields(json!({"Name": format!("N{n}")})), ChangeKind::Created);
        half = half.or((n == 5).then(|| world.host.now()));
        world.clock.advance(Duration::from_secs(60));
    }
    let late = reader(&world).since(half.unwrap()).feed("late").build().unwrap();
    assert_eq!(ids(&drain(&late).await), ["5", "6", "7", "8", "9"]);
    let all = reader(&world).build().unwrap();
    assert_eq!(drain(&all).await.len(), 10, "another cursor begins where it is told");
    // An old record that is changed counts.
    world.clock.advance(Duration::from_secs(600));
    world.table.edit("1", json!({"Name": "again"}));
    assert_eq!(ids(&drain(&late).await), ["1"]);
}

#[tokio::test]
async fn a_stream_polls_at_its_interval_and_outlives_an_error() {
    let world = World::new(|_| {});
    let start = world.host.now();
    world.table.put("a", fields(json!({"Name": "A"})), ChangeKind::Created);
    // Visible when its time has come.
    world.table.put_at("b", fields(json!({"Name": "B"})), start + Duration::from_secs(150));
    let reader = reader(&world).build().unwrap();
    let interval = Duration::from_secs(60);
    let mut pages = pin!(reader.stream(interval));
    let page = pages.next().await.unwrap().unwrap();
    assert_eq!((ids(&page.changes), world.host.now()), (vec!["a"], start));
    reader.commit(page, Batch::new()).await.unwrap();
    let page = pages.next().await.unwrap().unwrap();
    assert_eq!((ids(&page.changes), world.host.now()), (vec!["b"], start + interval * 3));
    // Not committed: it is the same again, at once.
    let same = pages.next().await.unwrap().unwrap();
    assert_eq!((&same.changes, world.host.now()), (&page.changes, start + interval * 3));
    reader.commit(same, Batch::new()).await.unwrap();
    world.table.fails.store(2, Ordering::Relaxed);
    let (first, second) = (pages.next().await.unwrap(), pages.next().await.unwrap());
    assert!(first.is_err() && second.is_err());
    world.table.put("c", fields(json!({"Name": "C"})), ChangeKind::Created);
    let page = pages.next().await.unwrap().unwrap();
    assert_eq!(ids(&page.changes), ["c"]);
    assert!(world.host.now() >= start + interval * 5, "an error is waited out");
}

/// A log whose pages are written down.
#[derive(Debug, Default)]
struct Script {
    pages: Mutex<VecDeque<Result<Vec<LogItem>>>>,
    marks: Mutex<usize>,
}

#[async_trait]
impl ChangeLog for Script {
    async fn mark(&self) -> Result<String> {
        *self.marks.lock().unwrap() += 1;
        Ok("mark".to_owned())
    }

    async fn read(&self, mark: &str) -> Result<LogPage> {
        let page = self.pages.lock().unwrap().pop_front();
        Ok(LogPage::new(page.transpose()?.unwrap_or_default(), mark))
    }
}

#[derive(Debug, Default)]
pub(super) struct Heard(pub(super) Mutex<Vec<(String, Option<Timestamp>)>>);

impl Observer for Heard {
    fn on(&self, event: &Event<'_>) {
        let told = match event {
            Event::LogLost { entity, since, .. } => (format!("{} of {entity}", event.name()), *since),
            Event::MassDelete { missing, known, .. } => (format!("{}: {missing} of {known}", event.name()), None),
            _ => return,
        };
        self.0.lock().unwrap().push(told);
    }
}

#[tokio::test]
async fn a_log_that_orders_a_second_look_gets_it_and_a_hole_is_told() {
    let world = World::new(|_| {});
    let start = world.host.now();
    for id in ["a", "b", "c", "d"] {
        world.table.put(id, fields(json!({"Name": id})), ChangeKind::Created);
    }
    world.clock.advance(Duration::from_secs(1_000));
    let (log, heard) = (Arc::new(Script::default()), Arc::new(Heard::default()));
    let reader = reader(&world).log(log.clone()).observer(heard.clone()).build().unwrap();
    let settle = async || {
        let mut told = drain(&reader).await;
        for _ in 0..2 {
            world.clock.advance(Duration::from_secs(400));
            told.extend(drain(&reader).await);
        }
        told
    };
    assert_eq!(settle().await.len(), 4);
    let order = |page: Result<Vec<LogItem>>| log.pages.lock().unwrap().push_back(page);
    // An edit that no stamp tells of: only the order of the log leads to it.
    let quiet = |id: &str| world.table.quiet(id, fields(json!({"Title": "new"})));
    world.table.pages.store(0, Ordering::Relaxed);
    quiet("a");
    assert!(drain(&reader).await.is_empty() && world.table.pages.load(Ordering::Relaxed) == 0, "the log alone is read");

    order(Ok(vec![LogItem::RereadRecords(vec![RecordId::new("a"), RecordId::new("gone")])]));
    let told = drain(&reader).await;
    assert_eq!((ids(&told), told[0].kind, told[1].kind), (vec!["a", "gone"], ChangeKind::Updated, ChangeKind::Deleted));
    assert_eq!((told[0].fields.text("Title"), world.table.pages.load(Ordering::Relaxed)), (Some("new"), 0));
    assert!(heard.0.lock().unwrap().is_empty(), "two records are no hole");

    quiet("b");
    order(Ok(vec![LogItem::RereadSince(start)]));
    let told = settle().await;
    let find = |told: &[Change], id: &str| {
        told.iter().find(|change| change.id.as_str() == id).and_then(|change| change.fields.text("Title").map(str::to_owned))
    };
    assert_eq!((find(&told, "b").as_deref(), find(&told, "c")), (Some("new"), None));

    quiet("c");
    order(Ok(vec![LogItem::RereadAll]));
    assert_eq!(find(&settle().await, "c").as_deref(), Some("new"));

    // The log no longer keeps the place: what the table was told meanwhile is read, and the log is joined anew.
    world.table.edit("d", json!({"Title": "new"}));
    let marks = *log.marks.lock().unwrap();
    order(Err(Error::new(ErrorKind::NotFound, "the log is not kept that long")));
    assert_eq!(find(&settle().await, "d").as_deref(), Some("new"));
    assert_eq!(*log.marks.lock().unwrap(), marks + 1);
    let heard = heard.0.lock().unwrap();
    println!("{heard:?}");
    let lost = "log_lost of row".to_owned();
    assert_eq!(heard.iter().map(|(name, _)| name).collect::<Vec<_>>(), [&lost; 3]);
    assert_eq!(
        heard[..2].iter().map(|(_, since)| *since).collect::<Vec<_>>(),
        [Some(start), None].map(|since| since.map(|at: Timestamp| at.min(start)))
    );
    assert!(heard[2].1.is_some_and(|since| since <= world.host.now()));
}

#[tokio::test]
async fn a_listing_that_is_suddenly_short_is_told() {
    let world = World::new(|_| {});
    let mut batch = Batch::new();
    for n in 0..20 {
        links::put(&mut batch, "table", &Link { local: format!("l{n}"), entity: ROW, remote: RecordId::new(format!("{n}")) }).unwrap();
    }
    world.store.commit(batch).await.unwrap();
    world.table.put("0", fields(json!({"Name": "0"})), ChangeKind::Created);
    let heard = Arc::new(Heard::default());
    let reader = reader(&world).observer(heard.clone()).build().unwrap();
    assert_eq!(reader.reconcile(MassDelete::default()).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(*heard.0.lock().unwrap(), [("mass_delete: 19 of 20".to_owned(), None)]);
    assert_eq!(reader.reconcile(MassDelete::new(20, 1.0)).await.unwrap().deleted.len(), 19);
    assert_eq!(heard.0.lock().unwrap().len(), 1);
}
