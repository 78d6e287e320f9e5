//! The worker of a queue: merging, order, waiting, dead letters, shutdown, and random histories with deaths at any step.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use crate::support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crm_sync::error::{Error, ErrorKind, Result};
use crm_sync::layer::{Call, LayerExt, Middleware};
use crm_sync::model::Fields;
use crm_sync::queue::{Claim, Enqueued, MemoryQueue, Parked, ParkedFilter, ParkedPage, Queue, Settle};
use crm_sync::salesforce::{Salesforce, SalesforceConfig};
use crm_sync::sandbox::{DuplicateRule, Fault, FaultKind, RuleAction, Sandbox};
use crm_sync::store::Store;
use crm_sync::sync::{Engine, Report, WorkItem, Worker};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join};
use serde_json::json;

use support::mortal_queue::MortalQueue;
use support::org::{KEYED, Org, PROBED, People, Person, people};
use support::pausing::Pausing;
use support::{Death, Life, MortalStore, MortalTransport};

static OPS: AtomicU64 = AtomicU64::new(0);

fn item(person: &Person) -> WorkItem {
    WorkItem::new(Fields::from_value(json!({"firstName": person.first, "lastName": person.last, "score": person.score})).unwrap())
}

async fn put(queue: &dyn Queue, engine: &Engine, id: &str, item: &WorkItem) {
    let op = format!("op {}", OPS.fetch_add(1, Ordering::SeqCst));
    let outcomes = queue.enqueue(vec![item.entry(engine, id, op).unwrap()]).await.unwrap();
    assert!(matches!(outcomes.as_slice(), [Enqueued::New(_)]), "{outcomes:?}");
}

struct Bench {
    org: Org,
    queue: Arc<dyn Queue>,
    key: &'static str,
}

impl Bench {
    async fn new(seed: u64, key: &'static str) -> Self {
        let org = Org::new(seed).await;
        org.sandbox.clear_requests();
        let queue = Arc::new(MemoryQueue::new(org.host.clone()));
        Self { org, queue, key }
    }

    fn worker_of(&self, engine: Engine, queue: Arc<dyn Queue>) -> Worker {
        Worker::builder(queue, self.org.host.clone()).engine(engine).build().unwrap()
    }

    fn worker(&self) -> Worker {
        self.worker_of(self.org.engine(self.key), Arc::clone(&self.queue))
    }

    async fn put_all(&self, people: &People) {
        let engine = self.org.engine(self.key);
        for (id, person) in people {
            put(&*self.queue, &engine, id, &item(person)).await;
        }
    }

    /// Rounds until nothing waits; the reports that were not idle.
    async fn drain(&self, worker: &Worker, context: &str) -> Vec<Report> {
        let mut reports = Vec::new();
        for _ in 0..2_000 {
            let report = worker.step().await.unwrap_or_else(|error| panic!("{context}: {error:?}"));
            let idle = report.is_idle();
            if !idle {
                reports.push(report);
            } else if self.queue.stats().await.unwrap().entries == 0 {
                return reports;
            } else {
                self.org.host.sleep(Duration::from_secs(1)).await;
            }
        }
        panic!("{context}: the queue does not get empty: {:?}", self.queue.stats().await.unwrap());
    }

    async fn parked(&self) -> Vec<Parked> {
        self.queue.parked(&ParkedPage::new(ParkedFilter::all(), 1_000)).await.unwrap()
    }
}

#[tokio::test]
async fn what_waits_is_written_once_in_calls_of_many() {
    for key in [KEYED, PROBED] {
        let bench = Bench::new(1, key).await;
        let mut people = people(12);
        bench.put_all(&people).await;
        let reports = bench.drain(&bench.worker(), key).await;
        assert_eq!(reports.iter().map(|report| report.created).sum::<usize>(), 12, "{reports:?}");
        bench.org.assert_whole(key, &people, key);
        assert_eq!(bench.org.writes(), 4, "12 records in calls of 3");

        // The same again writes nothing; a change of one field is an update of it.
        bench.org.sandbox.clear_requests();
        bench.put_all(&people).await;
        people.get_mut("lead-3").unwrap().score = Some(77);
        put(&*bench.queue, &bench.org.engine(key), "lead-3", &WorkItem::new([("score", 77)].into_iter().collect())).await;
        let reports = bench.drain(&bench.worker(), key).await;
        assert_eq!(reports.iter().map(|report| (report.updated, report.unchanged)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1)), (1, 11));
        bench.org.assert_whole(key, &people, key);
        assert_eq!(bench.org.writes(), 1);
    }
}

#[tokio::test]
async fn changes_of_one_record_are_merged_before_they_are_sent() {
    let bench = Bench::new(1, KEYED).await;
    let engine = bench.org.engine(KEYED);
    let mut person = Person { first: None, last: "L".to_owned(), score: None };
    for score in 0..15 {
        person.score = Some(score);
        put(&*bench.queue, &engine, "hot", &item(&person)).await;
    }
    let reports = bench.drain(&bench.worker(), "merged").await;
    assert_eq!((reports.len(), reports[0].entries, reports[0].created, reports[0].done), (1, 15, 1, 15), "{reports:?}");
    assert_eq!(bench.org.writes(), 1);
    bench.org.assert_whole(KEYED, &[("hot".to_owned(), person)].into(), "merged");
}

#[tokio::test]
async fn a_refused_record_is_parked_once_and_replayed_after_the_rule_is_gone() {
    let bench = Bench::new(1, KEYED).await;
    let rule = DuplicateRule { action: RuleAction::Block, ..DuplicateRule::new("Same_Name", "Lead", &["LastName"]) };
    bench.org.sandbox.set_options(|options| options.duplicate_rules = vec![rule]).unwrap();
    let mut people = people(4);
    people.get_mut("lead-2").unwrap().last = "L0".to_owned();
    bench.put_all(&people).await;
    let worker = bench.worker();
    bench.drain(&worker, "refused").await;
    let parked = bench.parked().await;
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!((parked[0].lane.record.as_str(), parked[0].cause.kind.as_str()), ("lead-2", "duplicate"), "{parked:?}");
    let group = bench.queue.causes().await.unwrap().remove(0).group;

    // Replayed too early it is parked again, once.
    assert_eq!(worker.replay(&ParkedFilter::all().group(&*group)).await.unwrap(), 1);
    bench.drain(&worker, "refused again").await;
    assert_eq!(bench.parked().await.len(), 1);

    bench.org.sandbox.set_options(|options| options.duplicate_rules.clear()).unwrap();
    assert_eq!(worker.replay(&ParkedFilter::all().group(&*group)).await.unwrap(), 1);
    bench.drain(&worker, "replayed").await;
    assert!(bench.parked().await.is_empty());
    bench.org.assert_whole(KEYED, &people, "replayed");
}

#[tokio::test]
async fn after_a_429_no_call_is_made_before_its_time() {
    for seed in 0..20 {
        let bench = Bench::new(seed, KEYED).await;
        let people = people(20);
        bench.put_all(&people).await;
        let seconds = 3 + i64::try_from(seed).unwrap() % 50;
        let storm = FaultKind::TooManyRequests { retry_after: Some(seconds.to_string()) };
        bench.org.sandbox.fault(Fault::new(storm).skip(seed % 4).times(6));
        let reports = bench.drain(&bench.worker(), &format!("seed {seed}")).await;
        let requests = bench.org.sandbox.requests();
        assert_eq!(requests.iter().filter(|request| request.status == 429).count(), 6, "seed {seed}");
        for pair in requests.windows(2).filter(|pair| pair[0].status == 429) {
            let waited = pair[1].at.duration_since(pair[0].at).as_secs();
            assert!(waited >= seconds, "seed {seed}: a call {waited} s after a 429 that asked for {seconds}");
        }
        assert!(bench.parked().await.is_empty() && reports.iter().all(|report| report.retried == 0), "seed {seed}: an attempt was spent");
        bench.org.assert_whole(KEYED, &people, &format!("seed {seed}"));
    }
}

#[tokio::test]
async fn a_refused_credential_pauses_and_nothing_is_lost() {
    let bench = Bench::new(1, KEYED).await;
    let people = people(5);
    bench.put_all(&people).await;
    let body = json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]);
    bench.org.sandbox.fault(Fault::new(FaultKind::Status { status: 401, body }).times(2));
    let worker = bench.worker();
    let report = worker.step().await.unwrap();
    assert!(report.deferred > 0 && report.error.is_some_and(|error| error.kind() == ErrorKind::Authentication));
    assert_eq!(report.paused, ["salesforce:test"]);
    let before = bench.org.sandbox.requests().len();
    for _ in 0..100 {
        assert!(worker.step().await.unwrap().is_idle(), "a paused connection was called");
        bench.org.host.sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(bench.org.sandbox.requests().len(), before);
    bench.drain(&worker, "credential").await;
    assert!(bench.parked().await.is_empty());
    bench.org.assert_whole(KEYED, &people, "credential");
}

#[tokio::test]
async fn an_entry_that_kills_its_worker_is_parked_and_the_others_flow() {
    let bench = Bench::new(1, KEYED).await;
    let people = people(3);
    bench.put_all(&people).await;
    // Workers claim and die.
    for _ in 0..5 {
        let leases = bench.queue.claim(&Claim::new("dies").lanes(1)).await.unwrap();
        assert_eq!(leases[0].token.lane.record, "lead-0");
        bench.org.host.sleep(Duration::from_secs(61)).await;
    }
    bench.drain(&bench.worker(), "poison").await;
    let parked = bench.parked().await;
    assert_eq!(parked.len(), 1);
    assert_eq!((parked[0].lane.record.as_str(), parked[0].cause.kind.as_str()), ("lead-0", "poison"));
    assert_eq!(bench.org.sandbox.records("Lead").len(), 2);
}

#[tokio::test]
async fn a_payload_that_is_no_record_is_parked_and_the_lane_goes_on() {
    let bench = Bench::new(1, KEYED).await;
    let people = people(1);
    let engine = bench.org.engine(KEYED);
    let mut broken = item(&people["lead-0"]).entry(&engine, "lead-0", "broken").unwrap();
    broken.payload = "not a record".into();
    bench.put_all(&people).await;
    bench.queue.enqueue(vec![broken]).await.unwrap();
    bench.put_all(&people).await;
    bench.drain(&bench.worker(), "broken").await;
    let parked = bench.parked().await;
    assert_eq!((parked.len(), parked[0].entry.op.as_str(), parked[0].cause.kind.as_str()), (1, "broken", "decode"));
    bench.org.assert_whole(KEYED, &people, "broken");
}

/// Refuses every call of several records, and the second one of a single record.
#[derive(Debug, Default)]
struct Whole(AtomicU64);

impl Middleware for Whole {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        if call.operation == "bulk" && (call.records > 1 || self.0.fetch_add(1, Ordering::SeqCst) == 1) {
            return Err(Error::new(ErrorKind::Validation, "something in it is wrong"));
        }
        run().await
    }
}

#[tokio::test]
async fn a_call_refused_as_a_whole_is_halved_until_the_record_at_fault_stands_alone() {
    let bench = Bench::new(1, KEYED).await;
    let people = people(3);
    bench.put_all(&people).await;
    let access = bench.org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into()).name("salesforce:test");
    let crm = Salesforce::new(config, bench.org.sandbox.transport(), bench.org.host.clone()).unwrap().layer(Whole::default());
    let engine = bench.org.engine_of(KEYED, Arc::new(crm), Arc::clone(&bench.org.store));
    bench.drain(&bench.worker_of(engine, Arc::clone(&bench.queue)), "halved").await;
    let parked = bench.parked().await;
    assert_eq!((parked.len(), parked[0].cause.kind.as_str()), (1, "validation"), "{parked:?}");
    assert_eq!(bench.org.sandbox.records("Lead").len(), 2);
}

#[tokio::test]
async fn after_shutdown_nothing_is_begun_and_every_lane_is_free() {
    let bench = Bench::new(1, KEYED).await;
    bench.put_all(&people(30)).await;
    let worker = bench.worker();
    let stop = Arc::new(tokio::sync::Notify::new());
    let mut stream = worker.run(async {
        stop.notified().await;
    });
    let first = stream.next().await.unwrap();
    assert!(first.created > 0 && first.error.is_none());
    stop.notify_one();
    let rest: Vec<Report> = stream.collect().await;
    assert!(rest.len() <= 1, "{rest:?}");
    let stats = bench.queue.stats().await.unwrap();
    let created = first.created + rest.iter().map(|report| report.created).sum::<usize>();
    assert_eq!((stats.leased, stats.entries), (0, 30 - created as u64));
    assert_eq!(bench.org.sandbox.records("Lead").len(), created);
    // What ended was that run: rounds by hand, and runs of clones, go on.
    let report = worker.step().await.unwrap();
    assert!(report.created > 0 && report.released == 0, "{report:?}");
    let runs = worker.clone();
    let mut stream = runs.run(std::future::pending());
    while bench.queue.stats().await.unwrap().entries > 0 {
        assert_eq!(stream.next().await.unwrap().released, 0);
    }
    assert_eq!(bench.org.sandbox.records("Lead").len(), 30);
}

/// A queue that dies with its process.
/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// A change of some field of some record, enqueued as it happens; the first one of a record is whole.
async fn edit(dice: &mut Dice, bench: &Bench, people: &mut People) {
    let engine = bench.org.engine(bench.key);
    for _ in 0..=dice.below(6) {
        // One lane is hot.
        let id = if dice.below(2) == 0 { "lead-0".to_owned() } else { format!("lead-{}", dice.below(8)) };
        let known = people.contains_key(&id);
        let person = people.entry(id.clone()).or_insert_with(|| Person { first: None, last: "L0".to_owned(), score: None });
        let part = match dice.below(3) {
            0 => {
                person.first = (dice.below(3) > 0).then(|| format!("F{}", dice.below(2)));
                json!({"firstName": person.first})
            }
            1 => {
                person.last = format!("L{}", dice.below(3));
                json!({"lastName": person.last})
            }
            _ => {
                person.score = (dice.below(3) > 0).then(|| i64::try_from(dice.below(3)).unwrap());
                json!({"score": person.score})
            }
        };
        let change = if known && dice.below(2) == 0 { WorkItem::new(Fields::from_value(part).unwrap()) } else { item(person) };
        put(&*bench.queue, &engine, &id, &change).await;
    }
}

fn trouble(dice: &mut Dice, bench: &Bench) {
    bench.org.sandbox.clear_faults();
    for _ in 0..dice.below(4) {
        let kind = match dice.below(8) {
            0 => FaultKind::DropAfter,
            1 => FaultKind::DropBefore,
            2 => FaultKind::TooManyRequests { retry_after: (dice.below(2) == 0).then(|| "7".to_owned()) },
            3 => FaultKind::Unavailable { html: dice.below(2) == 0, retry_after: None },
            4 => FaultKind::RowLock { rows: vec![usize::try_from(dice.below(3)).unwrap()] },
            5 => FaultKind::RequestLimit { concurrent: dice.below(2) == 0 },
            6 => FaultKind::Status { status: 401, body: json!([{"message": "x", "errorCode": "INVALID_SESSION_ID"}]) },
            _ => FaultKind::Truncate,
        };
        bench.org.sandbox.fault(Fault::new(kind).skip(dice.below(4)).times(1 + dice.below(5)));
    }
}

async fn history(seed: u64, key: &'static str) {
    let context = format!("seed {seed}, {key}");
    let mut dice = Dice(seed);
    let bench = Bench::new(seed, key).await;
    let mut people = People::new();
    for _ in 0..3 + dice.below(4) {
        edit(&mut dice, &bench, &mut people).await;
        trouble(&mut dice, &bench);
        // Two processes; either may die at any step of queue, store or CRM, and either may be slow.
        let workers: Vec<Worker> = (0..2)
            .map(|_| {
                let at = dice.below(25);
                let life = Life::new(match dice.below(4) {
                    0 => Some(Death::Before(at)),
                    1 => Some(Death::After(at)),
                    _ => None,
                });
                let mut transport: Arc<dyn crm_sync::http::HttpTransport> =
                    Arc::new(MortalTransport { inner: bench.org.sandbox.transport(), life: Arc::clone(&life) });
                let mut store: Arc<dyn Store> = Arc::new(MortalStore { inner: Arc::clone(&bench.org.store), life: Arc::clone(&life) });
                if dice.below(2) == 0 {
                    transport = Arc::new(Pausing(transport));
                    store = Arc::new(Pausing(store));
                }
                let queue = Arc::new(MortalQueue { inner: Arc::clone(&bench.queue), life });
                bench.worker_of(bench.org.engine_over(key, transport, store), queue)
            })
            .collect();
        let steps = dice.below(6);
        let rounds = async |worker: &Worker| {
            for _ in 0..steps {
                if worker.step().await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        join(rounds(&workers[0]), rounds(&workers[1])).await;
        bench.org.host.sleep(Duration::from_secs(dice.below(100))).await;
    }
    bench.org.sandbox.clear_faults();
    let worker = bench.worker();
    bench.drain(&worker, &context).await;
    // What ran out of attempts in the storm is replayed; it is in the dead letters once, so it succeeds once.
    worker.replay(&ParkedFilter::all()).await.unwrap();
    bench.drain(&worker, &context).await;
    assert!(bench.parked().await.is_empty(), "{context}: {:?}", bench.parked().await);
    // What a late holder overwrote, if any, is repaired by the whole state, as a nightly run does; there is nothing to repair.
    bench.org.assert_whole(key, &people, &context);
    bench.org.sandbox.clear_requests();
    bench.put_all(&people).await;
    bench.drain(&worker, &context).await;
    assert_eq!(bench.org.writes(), 0, "{context}: unchanged records were written");
}

#[tokio::test]
async fn keyed_histories_lose_nothing_and_double_nothing() {
    for seed in 0..220 {
        Box::pin(history(seed, KEYED)).await;
    }
}

#[tokio::test]
async fn probed_histories_lose_nothing_and_double_nothing() {
    for seed in 0..220 {
        Box::pin(history(seed, PROBED)).await;
    }
}

#[tokio::test]
async fn a_refused_change_that_comes_back_does_not_undo_what_was_written_since() {
    for freed in [false, true] {
        let bench = Bench::new(1, KEYED).await;
        let rule = DuplicateRule { action: RuleAction::Block, ..DuplicateRule::new("Same_Name", "Lead", &["LastName"]) };
        bench.org.sandbox.set_options(|options| options.duplicate_rules = vec![rule]).unwrap();
        let engine = bench.org.engine(KEYED);
        let change = |value: serde_json::Value| WorkItem::new(Fields::from_value(value).unwrap());
        let worker = bench.worker();
        put(&*bench.queue, &engine, "a", &change(json!({"lastName": "Taken"}))).await;
        put(&*bench.queue, &engine, "b", &change(json!({"firstName": "F", "lastName": "Taken", "score": 1}))).await;
        bench.drain(&worker, "refused").await;
        assert_eq!(bench.parked().await.len(), 1);
        // Two younger changes go through; the second writes what the CRM has already.
        put(&*bench.queue, &engine, "b", &change(json!({"lastName": "Free", "score": 2}))).await;
        bench.drain(&worker, "younger").await;
        put(&*bench.queue, &engine, "b", &change(json!({"score": 2}))).await;
        bench.drain(&worker, "the same").await;

        let person = |first: Option<&str>| Person { first: first.map(str::to_owned), last: "Free".to_owned(), score: Some(2) };
        if freed {
            bench.org.sandbox.set_options(|options| options.duplicate_rules.clear()).unwrap();
        }
        assert_eq!(worker.replay(&ParkedFilter::all()).await.unwrap(), 1);
        bench.drain(&worker, "replayed").await;
        assert!(bench.parked().await.is_empty(), "what it still has to say is allowed: {:?}", bench.parked().await);
        let taken = Person { first: None, last: "Taken".to_owned(), score: None };
        bench.org.assert_whole(KEYED, &[("a".to_owned(), taken), ("b".to_owned(), person(Some("F")))].into(), "replayed");
    }
}

#[tokio::test]
async fn a_renewed_credential_lets_the_lanes_go_on_at_once() {
    let bench = Bench::new(1, KEYED).await;
    let people = people(5);
    bench.put_all(&people).await;
    let body = json!([{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]);
    bench.org.sandbox.fault(Fault::new(FaultKind::Status { status: 401, body }).times(1));
    let worker = bench.worker();
    let report = worker.step().await.unwrap();
    assert_eq!((report.paused.as_slice(), report.retried), (["salesforce:test".to_owned()].as_slice(), 0));
    assert!(worker.step().await.unwrap().is_idle());
    let began = bench.org.host.now();
    assert!(worker.resume("salesforce:test") && !worker.resume("salesforce:test"));
    while !worker.step().await.unwrap().is_idle() {}
    assert_eq!(bench.org.host.now(), began, "it waited");
    bench.org.assert_whole(KEYED, &people, "resumed");
}

/// The process stands still in the middle of its first write.
#[derive(Debug)]
struct Stalls {
    host: crm_sync::host::Host,
    queue: Arc<dyn Queue>,
    stalled: AtomicU64,
}

impl Middleware for Stalls {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let answer = run().await;
        if call.operation == "bulk" && self.stalled.fetch_add(1, Ordering::SeqCst) == 0 {
            self.host.sleep(Duration::from_secs(61)).await;
            // Somebody else has the lanes meanwhile.
            let leases = self.queue.claim(&Claim::new("other")).await?;
            assert_eq!(leases.len(), 2);
            let back = leases.into_iter().map(|lease| Settle::release(lease.token)).collect();
            self.queue.settle(back).await?;
        }
        answer
    }
}

#[tokio::test]
async fn a_lease_that_was_lost_during_a_write_is_noticed() {
    let bench = Bench::new(1, KEYED).await;
    let people = people(2);
    bench.put_all(&people).await;
    let access = bench.org.sandbox.salesforce(Sandbox::IN_PROCESS_URL);
    let config = SalesforceConfig::with_access_token(&access.instance_url, access.access_token.into()).name("salesforce:test");
    let stalls = Stalls { host: bench.org.host.clone(), queue: Arc::clone(&bench.queue), stalled: AtomicU64::new(0) };
    let crm = Salesforce::new(config, bench.org.sandbox.transport(), bench.org.host.clone()).unwrap().layer(stalls);
    let engine = bench.org.engine_of(KEYED, Arc::new(crm), Arc::clone(&bench.org.store));
    let worker = bench.worker_of(engine, Arc::clone(&bench.queue));
    let report = worker.step().await.unwrap();
    assert_eq!((report.created, report.lost), (2, 2), "{report:?}");
    assert_eq!(bench.queue.stats().await.unwrap().entries, 2, "a lost lease settled something");
    let reports = bench.drain(&worker, "lost").await;
    assert_eq!(reports.iter().map(|report| (report.created, report.unchanged)).collect::<Vec<_>>(), [(0, 2)]);
    bench.org.assert_whole(KEYED, &people, "lost");
}

#[tokio::test]
async fn a_call_is_repeated_at_most_once_and_only_for_pay() {
    // An outage of the whole CRM: rounds repeat, calls hardly.
    for (budget, calls) in [(500, 2), (13, 1), (0, 1)] {
        let bench = Bench::new(1, KEYED).await;
        bench.put_all(&people(3)).await;
        bench.org.sandbox.fault(Fault::new(FaultKind::Unavailable { html: false, retry_after: None }).method("POST").always());
        bench.org.sandbox.fault(Fault::new(FaultKind::Unavailable { html: false, retry_after: None }).method("PATCH").always());
        let builder = Worker::builder(Arc::clone(&bench.queue), bench.org.host.clone()).engine(bench.org.engine(KEYED));
        let worker = builder.retry_budget(crm_sync::pace::RetryBudget::new(budget)).build().unwrap();
        let report = worker.step().await.unwrap();
        assert_eq!((bench.org.writes(), report.retried, report.deferred), (calls, 0, 3), "a budget of {budget}: {report:?}");
    }
}

#[tokio::test]
async fn a_refused_field_is_named_in_the_dead_letter() {
    let bench = Bench::new(1, KEYED).await;
    let body = json!([{"message": "Email: invalid email address", "errorCode": "INVALID_EMAIL_ADDRESS", "fields": ["Email"]}]);
    bench.org.sandbox.fault(Fault::new(FaultKind::Status { status: 400, body }).method("PATCH").always());
    bench.org.sandbox.fault(
        Fault::new(FaultKind::Status {
            status: 400,
            body: json!([{"message": "Email: invalid email address", "errorCode": "INVALID_EMAIL_ADDRESS", "fields": ["Email"]}]),
        })
        .method("POST")
        .always(),
    );
    bench.put_all(&people(1)).await;
    bench.drain(&bench.worker(), "refused").await;
    let parked = bench.parked().await;
    assert_eq!(parked[0].cause.group(), "validation:INVALID_EMAIL_ADDRESS[Email]", "{parked:?}");
}
