//! What a two-way sync does by rule, against a table in memory that plays the CRM: ends of all kinds, guards, own marks, and how
//! little it reads.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that fails should stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::adapter::{Capabilities, ChangeFeed, CrmAdapter, Identity, Since, WriteOptions, Written};
use crm_sync::error::{Error, ErrorKind, Result};
use crm_sync::host::{Host, ManualClock};
use crm_sync::mapping::{Mapping, MappingSet};
use crm_sync::model::{
    Change, ChangeKind, Entity, EntitySchema, FieldSchema, FieldType, Fields, Origin, Record, RecordId, Successor, Value, Version,
};
use crm_sync::observe::{Event, Observer};
use crm_sync::query::{Cursor, Page, Query};
use crm_sync::store::{MemoryStore, Store};
use crm_sync::sync::{
    Engine, Fate, MemoryRecords, OnDelete, OnDeleteAndEdit, Presence, Reader, Rules, Step, SyncRules, TwoWay, TwoWayBuilder, TwoWayReport,
    WriteGuard,
};
use jiff::Timestamp;
use serde_json::json;

pub(super) const ROW: Entity = Entity::from_static("row");
const CARD: Entity = Entity::from_static("card");

#[derive(Clone)]
pub(super) struct Row {
    fields: Fields,
    version: u64,
    at: Timestamp,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) rows: BTreeMap<String, Row>,
    by_time: BTreeSet<(Timestamp, String)>,
    /// Told by nobody yet.
    pub(super) log: Vec<Change>,
    made: u64,
    writes: usize,
}

/// A CRM in memory. What people do in it is told by its log.
pub(super) struct Table {
    can: Capabilities,
    host: Host,
    /// Texts are trimmed.
    trims: bool,
    /// Each write of a record makes its title this.
    title: Mutex<Option<&'static str>>,
    state: Mutex<State>,
    reads: AtomicUsize,
    pub(super) pages: AtomicUsize,
    /// So many reads of the feed fail.
    pub(super) fails: AtomicUsize,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Table")
    }
}

pub(super) fn fields(value: Value) -> Fields {
    Fields::from_value(value).unwrap()
}

fn empty() -> Fields {
    fields(json!({"Name": null, "Title": null}))
}

impl Table {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    #[allow(clippy::needless_pass_by_value, reason = "the tests write their rows in place")]
    pub(super) fn put(&self, id: &str, change: Fields, kind: ChangeKind) -> Change {
        self.put_as(id, &change, kind, self.host.now())
    }

    /// A record that shows from then on.
    #[allow(clippy::needless_pass_by_value, reason = "the tests write their rows in place")]
    pub(super) fn put_at(&self, id: &str, change: Fields, at: Timestamp) {
        self.put_as(id, &change, ChangeKind::Created, at);
    }

    /// Changes a record without a stamp or an event.
    pub(super) fn quiet(&self, id: &str, change: Fields) {
        self.state().rows.get_mut(id).unwrap().fields.merge(change);
    }

    fn put_as(&self, id: &str, change: &Fields, kind: ChangeKind, now: Timestamp) -> Change {
        let mut state = self.state();
        let row = state.rows.entry(id.to_owned()).or_insert_with(|| Row { fields: empty(), version: 0, at: now });
        let before = (row.at, id.to_owned());
        for (name, value) in change {
            let value = value.as_str().filter(|_| self.trims).map_or_else(|| value.clone(), |text| json!(text.trim()));
            row.fields.insert(name, value);
        }
        (row.version, row.at) = (row.version + 1, now);
        let row = row.clone();
        state.by_time.remove(&before);
        state.by_time.insert((now, id.to_owned()));
        let mut told = change_of(id, &row);
        told.kind = kind;
        state.log.push(told.clone());
        told
    }

    /// A person edits a record.
    pub(super) fn edit(&self, id: &str, change: Value) {
        self.put(id, fields(change), ChangeKind::Updated);
    }

    pub(super) fn end(&self, id: &str, successor: Option<Successor>) {
        let mut state = self.state();
        let row = state.rows.remove(id).unwrap();
        state.by_time.remove(&(row.at, id.to_owned()));
        let mut told = Change::new(ROW, RecordId::new(id), ChangeKind::Deleted);
        told.successor = successor;
        state.log.push(told);
    }

    pub(super) fn of(&self, name: &str) -> Option<(String, Fields)> {
        let state = self.state();
        state.rows.iter().find(|(_, row)| row.fields.text("Name") == Some(name)).map(|(id, row)| (id.clone(), row.fields.clone()))
    }

    pub(super) fn text(&self, id: &str, field: &str) -> Option<String> {
        self.state().rows.get(id).and_then(|row| row.fields.text(field).map(str::to_owned))
    }
}

pub(super) fn change_of(id: &str, row: &Row) -> Change {
    let mut change = Change::new(ROW, RecordId::new(id), ChangeKind::Updated);
    (change.fields, change.at, change.version) = (row.fields.clone(), Some(row.at), Some(Version::new(row.version.to_string())));
    change
}

#[async_trait]
impl CrmAdapter for Table {
    fn name(&self) -> &str {
        "table"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.can
    }

    async fn authenticate(&self) -> Result<Identity> {
        Ok(Identity::new())
    }

    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let state = self.state();
        let hits = state.rows.iter().filter(|(_, row)| query.filter.matches(&row.fields));
        Ok(Page::last(hits.map(|(id, row)| Record::new(ROW, RecordId::new(id.as_str()), row.fields.clone())).collect()))
    }

    async fn get(&self, _: &Entity, id: &RecordId, _: &[String]) -> Result<Option<Record>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(self.state().rows.get(id.as_str()).map(|row| {
            let mut record = Record::new(ROW, id.clone(), row.fields.clone());
            (record.version, record.modified_at) = (Some(Version::new(row.version.to_string())), Some(row.at));
            record
        }))
    }

    async fn create(&self, _: &Entity, fields: &Fields, _: &WriteOptions) -> Result<Written> {
        let id = {
            let mut state = self.state();
            (state.made, state.writes) = (state.made + 1, state.writes + 1);
            format!("c{}", state.made)
        };
        self.put(&id, fields.clone(), ChangeKind::Created);
        Ok(Written::new(RecordId::new(id)).created(true))
    }

    async fn update(&self, _: &Entity, id: &RecordId, change: &Fields, options: &WriteOptions) -> Result<Written> {
        {
            let mut state = self.state();
            let Some(row) = state.rows.get(id.as_str()) else {
                return Err(Error::new(ErrorKind::NotFound, "no such row").during("update"));
            };
            if options.if_version.as_ref().is_some_and(|wanted| wanted.as_str() != row.version.to_string()) {
                return Err(Error::new(ErrorKind::Conflict, "the row has another version").during("update"));
            }
            state.writes += 1;
        }
        let mut change = change.clone();
        if let Some(title) = *self.title.lock().unwrap() {
            change.insert("Title", title);
        }
        self.put(id.as_str(), change, ChangeKind::Updated);
        Ok(Written::new(id.clone()).created(false))
    }

    async fn delete(&self, _: &Entity, id: &RecordId, _: &WriteOptions) -> Result<()> {
        self.state().writes += 1;
        if self.state().rows.contains_key(id.as_str()) {
            self.end(id.as_str(), None);
        }
        Ok(())
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        if self.fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(Error::new(ErrorKind::Network, "the feed is away").during("changes"));
        }
        self.pages.fetch_add(1, Ordering::Relaxed);
        let now = self.host.now();
        let from: (Timestamp, String) = match &feed.since {
            Since::Cursor(cursor) => serde_json::from_str(cursor.as_str()).unwrap(),
            Since::At(at) => (*at, String::new()),
            _ => (Timestamp::UNIX_EPOCH, String::new()),
        };
        let state = self.state();
        let page: Vec<&(Timestamp, String)> =
            state.by_time.range(from.clone()..).filter(|key| **key != from && key.0 <= now).take(1_000).collect();
        let next = serde_json::to_string(page.last().copied().unwrap_or(&from)).unwrap();
        let changes = page.iter().map(|(_, id)| change_of(id, &state.rows[id])).collect();
        Ok(Page::new(changes, Some(Cursor::new(next)), None))
    }
}

pub(super) struct World {
    pub(super) host: Host,
    pub(super) clock: Arc<ManualClock>,
    pub(super) table: Arc<Table>,
    pub(super) store: Arc<dyn Store>,
    pub(super) people: MemoryRecords,
}

impl World {
    pub(super) fn new(shape: impl FnOnce(&mut Table)) -> Self {
        let (host, clock) = Host::manual_with_clock(1);
        let mut can = Capabilities::basic("id");
        (can.changes, can.search) = (true, false);
        let mut table = Table {
            can,
            host: host.clone(),
            trims: false,
            title: Mutex::new(None),
            state: Mutex::default(),
            reads: AtomicUsize::new(0),
            pages: AtomicUsize::new(0),
            fails: AtomicUsize::new(0),
        };
        shape(&mut table);
        let store = Arc::new(MemoryStore::new(host.clone()));
        let people = MemoryRecords::new(host.clone());
        Self { host, clock, table: Arc::new(table), store, people }
    }

    pub(super) fn builder(&self) -> TwoWayBuilder {
        self.builder_of(None)
    }

    pub(super) fn builder_of(&self, rules: Option<SyncRules>) -> TwoWayBuilder {
        let names = ["id", "Name", "Title"];
        let schema = EntitySchema::new(ROW, "Row", names.map(|name| FieldSchema::new(name, FieldType::Text)).to_vec());
        let set = MappingSet::from_json(r#"{"table": {"row": {"name": "Name", "title": "Title"}}}"#, "mapping.json").unwrap();
        let mapping = Mapping::compile(set.require("table", "row").unwrap(), Some(&schema)).unwrap();
        let mut engine = Engine::builder(self.table.clone(), Arc::clone(&self.store), self.host.clone(), schema, mapping);
        if let Some(rules) = rules {
            engine = engine.rules("row", rules);
        }
        let engine = engine.build().unwrap();
        TwoWay::builder(engine, Arc::new(self.people.clone()))
    }

    /// Both sides tell what changed, and it is settled.
    pub(super) async fn round(&self, sync: &TwoWay) -> TwoWayReport {
        self.clock.advance(Duration::from_secs(120));
        sync.read_host().await.unwrap();
        let told = std::mem::take(&mut self.table.state().log);
        sync.note(&told).await.unwrap();
        sync.settle().await.unwrap()
    }

    /// Rounds until one writes nothing; how many wrote.
    pub(super) async fn rest(&self, sync: &TwoWay) -> usize {
        for rounds in 0..6 {
            let report = self.round(sync).await;
            let due = report.next.is_some_and(|at| at <= self.host.now());
            if report.wrote_remote + report.wrote_local == 0 && !due {
                return rounds;
            }
        }
        panic!("not at rest");
    }

    pub(super) async fn linked(&self, sync: &TwoWay, count: usize) {
        for n in 0..count {
            self.people.put(&format!("h{n}"), fields(json!({"name": format!("N{n}"), "title": "t"})));
        }
        self.rest(sync).await;
        assert_eq!(self.table.state().rows.len(), count);
    }

    pub(super) fn id(&self, name: &str) -> String {
        self.table.of(name).unwrap().0
    }

    pub(super) fn ours(&self, id: &str) -> Option<Fields> {
        self.people.all().into_iter().find(|(local, _)| local == id).map(|(_, fields)| fields)
    }

    pub(super) fn title(&self, id: &str) -> Option<String> {
        self.ours(id).and_then(|fields| fields.text("title").map(str::to_owned))
    }
}

#[test]
fn the_rules_are_a_table() {
    use Presence::{Changed, Gone, Hidden, Same};
    let let_be = Rules { local_deleted: OnDelete::LetBe, remote_deleted: OnDelete::LetBe, ..Rules::default() };
    let with = |deleted_and_changed| Rules { deleted_and_changed, ..Rules::default() };
    let all = [
        ("default", Rules::default()),
        ("let be", let_be),
        ("delete wins", with(OnDeleteAndEdit::DeleteWins)),
        ("edit wins", with(OnDeleteAndEdit::EditWins)),
    ];
    println!("{:<8} {:<8} {}", "host", "CRM", all.map(|(name, _)| format!("{name:<13}")).join(" "));
    let mut table = Vec::new();
    for host in [Same, Changed, Gone] {
        for crm in [Same, Changed, Gone, Hidden] {
            let fates = all.map(|(_, rules)| rules.fate(host, crm));
            println!(
                "{:<8} {:<8} {}",
                format!("{host:?}"),
                format!("{crm:?}"),
                fates.map(|fate| format!("{:<13}", format!("{fate:?}"))).join(" ")
            );
            table.push(fates);
        }
    }
    use Fate::{CreateLocal, CreateRemote, DeleteLocal, DeleteRemote, Forget, LetBe, Merge, Review};
    let wanted = [
        [Merge; 4],
        [Merge; 4],
        [DeleteLocal, LetBe, DeleteLocal, DeleteLocal],
        [Review; 4],
        [Merge; 4],
        [Merge; 4],
        [Review, Review, DeleteLocal, CreateRemote],
        [Review; 4],
        [DeleteRemote, LetBe, DeleteRemote, DeleteRemote],
        [Review, Review, DeleteRemote, CreateLocal],
        [Forget; 4],
        [Review; 4],
    ];
    assert_eq!(table, wanted);
}

#[tokio::test]
async fn a_run_over_a_hundred_thousand_unchanged_records_reads_the_pages_and_writes_nothing() {
    const COUNT: usize = 100_000;
    let world = World::new(|_| {});
    {
        let mut state = world.table.state();
        let from = world.host.now() - Duration::from_secs(COUNT as u64 * 60);
        for n in 0..COUNT {
            let (id, at) = (format!("{n:06}"), from + Duration::from_secs(n as u64 * 60));
            state.by_time.insert((at, id.clone()));
            state.rows.insert(id, Row { fields: fields(json!({"Name": format!("N{n}"), "Title": "t"})), version: 1, at });
        }
    }
    let sync = world.builder().limit(5_000).build();
    let reader = |feed: &str| {
        let reader = Reader::builder(world.table.clone(), Arc::clone(&world.store), world.host.clone(), ROW);
        reader.feed(feed).build().unwrap()
    };
    world.clock.advance(Duration::from_secs(700));
    assert_eq!(sync.pull(&reader("first")).await.unwrap(), COUNT);
    while world.people.all().len() < COUNT {
        sync.settle().await.unwrap();
    }
    // What was made in the host is told by the host too.
    sync.read_host().await.unwrap();
    while sync.settle().await.unwrap().next.is_some() {}

    world.table.reads.store(0, Ordering::Relaxed);
    world.table.pages.store(0, Ordering::Relaxed);
    let (host_writes, crm_writes) = (world.people.writes(), world.table.state().writes);
    assert_eq!(host_writes, COUNT as u64);
    // Everything is told once more, by both sides.
    let told = sync.pull(&reader("again")).await.unwrap();
    assert_eq!(told, COUNT);
    for n in (0..COUNT).step_by(10) {
        world.people.put(&format!("host-{}", n + 1), Fields::new());
    }
    sync.read_host().await.unwrap();
    while sync.settle().await.unwrap().next.is_some() {}
    let (reads, pages) = (world.table.reads.load(Ordering::Relaxed), world.table.pages.load(Ordering::Relaxed));
    println!("{COUNT} unchanged records: {pages} pages, {reads} other reads, 0 writes");
    assert_eq!((reads, world.people.writes(), world.table.state().writes), (0, host_writes, crm_writes));
    assert!(pages <= COUNT / 1_000 + 2, "{pages} pages");
}

#[tokio::test]
async fn rows_that_a_reader_brought_are_not_read_again() {
    let world = World::new(|_| {});
    for n in 0..50 {
        world.table.put(&format!("{n:02}"), fields(json!({"Name": format!("N{n}"), "Title": "t"})), ChangeKind::Created);
    }
    let sync = world.builder().build();
    let reader = Reader::builder(world.table.clone(), Arc::clone(&world.store), world.host.clone(), ROW).build().unwrap();
    world.clock.advance(Duration::from_secs(700));
    assert_eq!(sync.pull(&reader).await.unwrap(), 50);
    sync.settle().await.unwrap();
    assert_eq!((world.people.all().len(), world.table.reads.load(Ordering::Relaxed)), (50, 0));
    world.table.edit("07", json!({"Title": "new"}));
    world.clock.advance(Duration::from_secs(700));
    sync.pull(&reader).await.unwrap();
    sync.settle().await.unwrap();
    assert_eq!(world.people.all().iter().filter(|(_, row)| row.text("title") == Some("new")).count(), 1);
    assert_eq!(world.table.reads.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_write_never_goes_over_a_change_that_the_plan_did_not_see() {
    for versions in [true, false] {
        let world = World::new(|table| table.can.update_with_version = versions);
        let sync = world.builder().build();
        world.linked(&sync, 2).await;
        let (same, other) = (world.id("N0"), world.id("N1"));
        world.people.put("h0", fields(json!({"title": "mine"})));
        world.people.put("h1", fields(json!({"title": "mine"})));
        sync.read_host().await.unwrap();
        let plan = sync.plan().await.unwrap();
        println!("{plan}");
        assert_eq!(plan.guard, if versions { WriteGuard::Version } else { WriteGuard::ReadAgain });
        assert!(plan.to_string().contains(if versions { "its version is still the same" } else { "read again right before" }));
        assert_eq!(plan.count(Step::Update), 2);
        // Meanwhile, in the CRM: the same field of one record, another field of the other.
        world.table.edit(&same, json!({"Title": "theirs"}));
        world.table.edit(&other, json!({"Name": "Renamed"}));
        let report = sync.apply(&plan).await.unwrap();
        assert_eq!(world.table.text(&same, "Title").as_deref(), Some("theirs"));
        // A version speaks of the whole record, a second look of the field.
        assert_eq!(report.wrote_remote, usize::from(!versions));
        world.rest(&sync).await;
        // By default the CRM wins where both changed a field.
        assert_eq!(world.title("h0").as_deref(), Some("theirs"));
        assert_eq!(world.table.text(&other, "Title").as_deref(), Some("mine"));
        assert_eq!(world.ours("h1").unwrap().text("name"), Some("Renamed"));
    }
}

#[tokio::test]
async fn many_deletions_at_once_wait_for_a_person_on_either_side() {
    for in_crm in [true, false] {
        let world = World::new(|_| {});
        let sync = world.builder().build();
        world.linked(&sync, 20).await;
        for n in 0..15 {
            if in_crm {
                world.table.end(&world.id(&format!("N{n}")), None);
            } else {
                world.people.remove(&format!("h{n}"));
            }
        }
        // One that has nothing to do with it goes on.
        world.people.put("h19", fields(json!({"title": "on"})));
        for _ in 0..3 {
            world.round(&sync).await;
        }
        assert_eq!(world.table.of("N19").unwrap().1.text("Title"), Some("on"));
        let left = if in_crm { world.people.all().len() } else { world.table.state().rows.len() };
        assert_eq!(left, 20, "a mass deletion was carried out");
        let plan = {
            world.clock.advance(Duration::from_secs(4_000));
            sync.plan().await.unwrap()
        };
        assert_eq!((plan.count(Step::Review), plan.writes()), (15, (0, 0)));
        assert!(plan.rows[0].reason.contains("15 of 20"), "{}", plan.rows[0].reason);
        // A person looked at it: they are meant.
        let meant = world.builder().mass_delete_guard(15, 1.0).build();
        meant.settle().await.unwrap();
        world.rest(&meant).await;
        assert_eq!((world.people.all().len(), world.table.state().rows.len()), (5, 5));
    }
}

#[tokio::test]
async fn a_merge_in_the_crm_leaves_one_record_on_each_side() {
    for rule in [OnDelete::Follow, OnDelete::LetBe, OnDelete::Review] {
        let world = World::new(|_| {});
        let sync = world.builder().rules(Rules { remote_merged: rule, ..Rules::default() }).build();
        world.linked(&sync, 2).await;
        let (winner, loser) = (world.id("N0"), world.id("N1"));
        world.table.end(&loser, Some(Successor::new(ROW, RecordId::new(winner.as_str()))));
        world.table.edit(&winner, json!({"Title": "of both"}));
        world.rest(&sync).await;
        assert_eq!(world.title("h0").as_deref(), Some("of both"));
        assert_eq!(world.ours("h1").is_some(), rule != OnDelete::Follow, "{rule:?}");
        // What is let be stays away from the CRM, and what waits stays as it is.
        if rule != OnDelete::Follow {
            world.people.put("h1", fields(json!({"title": "late"})));
        }
        world.rest(&sync).await;
        assert_eq!(world.table.state().rows.len(), 1, "{rule:?}");
    }
}

#[tokio::test]
async fn the_hosts_record_goes_on_with_a_winner_that_is_new() {
    let world = World::new(|_| {});
    let sync = world.builder().build();
    world.linked(&sync, 1).await;
    let loser = world.id("N0");
    // As HubSpot does it: the winner of a merge is a new record.
    world.table.end(&loser, Some(Successor::new(ROW, RecordId::new("w"))));
    world.table.put("w", fields(json!({"Name": "N0", "Title": "won"})), ChangeKind::Created);
    world.rest(&sync).await;
    assert_eq!(world.people.all().len(), 1, "one person, not two");
    assert_eq!(world.title("h0").as_deref(), Some("won"));
    world.people.put("h0", fields(json!({"title": "after"})));
    world.rest(&sync).await;
    assert_eq!(world.table.text("w", "Title").as_deref(), Some("after"));
    // An old event of the loser does no harm.
    sync.note(&[Change::new(ROW, RecordId::new(loser), ChangeKind::Updated)]).await.unwrap();
    assert_eq!(world.rest(&sync).await, 0);
    assert_eq!((world.people.all().len(), world.table.state().rows.len()), (1, 1));
}

#[tokio::test]
async fn a_converted_record_ends_by_its_rule() {
    for rule in [OnDelete::LetBe, OnDelete::Follow, OnDelete::Review] {
        let world = World::new(|_| {});
        let sync = world.builder().rules(Rules { remote_converted: rule, ..Rules::default() }).build();
        world.linked(&sync, 1).await;
        let id = world.id("N0");
        let mut converted = world.table.put(&id, fields(json!({"Title": "customer"})), ChangeKind::Updated);
        converted.successor = Some(Successor::new(CARD, RecordId::new("k1")));
        world.table.state().log = vec![converted.clone()];
        world.rest(&sync).await;
        assert_eq!(world.ours("h0").is_some(), rule != OnDelete::Follow, "{rule:?}");
        let writes = world.table.state().writes;
        if rule != OnDelete::Follow {
            world.people.put("h0", fields(json!({"title": "ours"})));
        }
        if rule != OnDelete::Review {
            // Told again, it neither comes back nor is written.
            world.table.state().log = vec![converted];
            assert_eq!(world.rest(&sync).await, 0);
            assert_eq!(world.table.state().writes, writes, "{rule:?}: a converted record was written");
            assert_eq!(world.people.all().len(), usize::from(rule == OnDelete::LetBe));
        }
        assert_eq!(world.table.state().rows.len(), 1);
    }
}

#[tokio::test]
async fn what_was_deleted_comes_back_only_when_it_is_restored() {
    for restore in [true, false] {
        let world = World::new(|_| {});
        let sync = world.builder().rules(Rules { restore, ..Rules::default() }).build();
        world.linked(&sync, 2).await;
        let id = world.id("N0");
        world.table.end(&id, None);
        world.rest(&sync).await;
        assert!(world.ours("h0").is_none());
        // Late events of a record that is gone.
        for kind in [ChangeKind::Updated, ChangeKind::Created, ChangeKind::Restored] {
            sync.note(&[Change::new(ROW, RecordId::new(id.as_str()), kind)]).await.unwrap();
        }
        assert_eq!((world.rest(&sync).await, world.people.all().len()), (0, 1));
        world.table.put(&id, fields(json!({"Name": "N0", "Title": "back"})), ChangeKind::Restored);
        world.rest(&sync).await;
        assert_eq!(world.people.all().len(), if restore { 2 } else { 1 }, "restore: {restore}");
        assert_eq!(world.table.state().rows.len(), 2);
    }
}

#[tokio::test]
async fn an_echo_marked_as_ours_costs_no_read_and_a_mixed_event_keeps_the_real_change() {
    let world = World::new(|_| {});
    let sync = world.builder().own_origin(Origin::new().client("this-sync")).build();
    world.linked(&sync, 1).await;
    let id = world.id("N0");
    let event = |title: &str, client: &str| {
        let mut change = Change::new(ROW, RecordId::new(id.as_str()), ChangeKind::Updated);
        change.fields = fields(json!({"Name": "N0", "Title": title}));
        (change.version, change.origin) = (Some(Version::new("77")), Origin::new().client(client));
        change
    };
    for (title, client, reads) in [("t", "this-sync", 0), ("t", "another", 1), ("real", "this-sync", 1)] {
        if title == "real" {
            // Our echo and a person's change, in one event.
            world.table.edit(&id, json!({"Title": "real"}));
            world.table.state().log.clear();
        }
        world.table.reads.store(0, Ordering::Relaxed);
        sync.note(&[event(title, client)]).await.unwrap();
        sync.settle().await.unwrap();
        assert_eq!(world.table.reads.load(Ordering::Relaxed), reads, "{title} of {client}");
        assert_eq!(world.title("h0").as_deref(), Some(title));
    }
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn on(&self, event: &Event<'_>) {
        if let Event::Frozen { local, fields, .. } = event {
            self.0.lock().unwrap().push(format!("{local}: {}", fields.join(", ")));
        }
    }
}

#[tokio::test]
async fn an_automation_that_flaps_freezes_one_record_with_an_event_and_trimming_rests_at_once() {
    let world = World::new(|table| table.trims = true);
    let heard = Arc::new(Heard::default());
    let sync = world.builder().freeze_after(4, Duration::from_secs(36_000)).observer(heard.clone()).build();
    world.people.put("h0", fields(json!({"name": "  N0 ", "title": " Boss"})));
    assert!(world.rest(&sync).await <= 2);
    assert_eq!(world.ours("h0").unwrap().text("title"), Some(" Boss"), "a trimmed value is no change of the CRM");
    world.people.put("h1", fields(json!({"name": "N1", "title": "x"})));
    assert!(world.rest(&sync).await <= 2);
    *world.table.title.lock().unwrap() = Some("Hot");
    for _ in 0..12 {
        world.people.put("h0", fields(json!({"title": "Cold"})));
        world.round(&sync).await;
        world.round(&sync).await;
    }
    assert_eq!(*heard.0.lock().unwrap(), ["h0: Title"]);
    let writes = world.table.state().writes;
    world.people.put("h0", fields(json!({"title": "Colder"})));
    world.people.put("h1", fields(json!({"name": "N1 too"})));
    world.rest(&sync).await;
    assert_eq!(world.table.state().writes, writes + 1, "only the other record is written");
    assert!(world.table.of("N1 too").is_some());
}
