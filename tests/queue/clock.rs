//! Clocks that jump: nothing is lost, nothing is settled under a lease that is not held, and work goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use crate::support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::host::{Host, ManualClock};
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::model::{Entity, Fields};
use crm_sync::queue::{Claim, Enqueued, Lane, MemoryQueue, NewEntry, ParkedFilter, ParkedPage, Queue, Settle, Settled, SqliteQueue, Then};
use crm_sync::sandbox::{Fault, FaultKind};
use crm_sync::sync::{WorkItem, Worker};
use futures_util::future::join;
use serde_json::json;

use support::org::{KEYED, Org, PROBED, people};

const DAY: Duration = Duration::from_secs(86_400);

fn entries(from: usize, to: usize) -> Vec<NewEntry> {
    let lane = |number: usize| Lane::new("acme", Entity::from_static("Lead"), (number % 7).to_string());
    (from..to).map(|number| NewEntry::new(lane(number), format!("op {number}"), "x")).collect()
}

async fn queues() -> Vec<(&'static str, Arc<dyn Queue>, Host, Arc<ManualClock>)> {
    let (host, clock) = Host::manual_with_clock(1);
    let memory: Arc<dyn Queue> = Arc::new(MemoryQueue::new(host.clone()));
    let (other, other_clock) = Host::manual_with_clock(1);
    let sqlite = SqliteQueue::open(":memory:", other.clone()).unwrap();
    sqlite.migrate().await.unwrap();
    vec![("memory", memory, host, clock), ("sqlite", Arc::new(sqlite), other, other_clock)]
}

/// Everything that waits, settled as done; time passes by minutes.
async fn drain(name: &str, queue: &dyn Queue, host: &Host) -> Vec<String> {
    let mut done = Vec::new();
    for _ in 0..5_000 {
        let leases = queue.claim(&Claim::new("drain")).await.unwrap();
        if leases.is_empty() {
            if queue.stats().await.unwrap().entries == 0 {
                return done;
            }
            host.sleep(Duration::from_secs(60)).await;
        }
        done.extend(leases.iter().flat_map(|lease| lease.entries.iter().map(|entry| entry.op.clone())));
        let settled = queue.settle(leases.into_iter().map(|lease| Settle::done(lease.token, lease.entries.len())).collect()).await.unwrap();
        assert!(settled.iter().all(|settled| *settled == Settled::Applied), "{name}");
    }
    panic!("{name}: it does not get empty");
}

#[tokio::test]
async fn a_jump_ahead_ends_leases_and_loses_nothing() {
    for (name, queue, host, clock) in queues().await {
        queue.enqueue(entries(0, 14)).await.unwrap();
        let leases = queue.claim(&Claim::new("one")).await.unwrap();
        clock.set_wall(host.now() + DAY);
        // Whoever comes now may be handed the lanes; the former holder then settles nothing.
        let again = queue.claim(&Claim::new("two")).await.unwrap();
        let settled = queue.settle(leases.into_iter().map(|lease| Settle::done(lease.token, 2)).collect()).await.unwrap();
        let lost = settled.iter().filter(|settled| **settled == Settled::LeaseLost).count();
        assert_eq!((settled.len(), lost), (7, again.len()), "{name}");
        for lease in again {
            queue.settle(vec![Settle::release(lease.token)]).await.unwrap();
        }
        assert_eq!(drain(name, &*queue, &host).await.len(), lost * 2, "{name}");
    }
}

#[tokio::test]
async fn a_clock_that_is_set_back_stops_nothing_that_is_not_waiting() {
    for (name, queue, host, clock) in queues().await {
        queue.enqueue(entries(0, 7)).await.unwrap();
        let leases = queue.claim(&Claim::new("one").lanes(3)).await.unwrap();
        clock.set_wall(host.now() - DAY);
        // The holder still holds, what waits is handed out, what comes is taken in, and old op ids are still known.
        let settled = queue.settle(leases.into_iter().map(|lease| Settle::done(lease.token, 1)).collect()).await.unwrap();
        assert_eq!(settled, [Settled::Applied; 3], "{name}");
        assert_eq!(queue.enqueue(entries(0, 1)).await.unwrap(), [Enqueued::Duplicate], "{name}");
        queue.enqueue(entries(7, 14)).await.unwrap();
        let began = host.monotonic();
        assert_eq!(drain(name, &*queue, &host).await.len(), 11, "{name}");
        assert_eq!(host.monotonic(), began, "{name}: it waited");
    }
}

#[tokio::test]
async fn whatever_the_clock_does_each_entry_is_done_once_and_in_order() {
    for (name, queue, host, clock) in queues().await {
        for seed in 0..30_u64 {
            let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut below = |n: u64| {
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                dice % n
            };
            let mut new = entries(0, 28);
            new.iter_mut().for_each(|entry| entry.op = format!("{seed} {:02}", entry.op[3..].parse::<u32>().unwrap()));
            queue.enqueue(new).await.unwrap();
            let mut done: Vec<String> = Vec::new();
            for _ in 0..12 {
                let jump = Duration::from_secs(below(1_200));
                clock.set_wall(if below(2) == 0 { host.now() + jump } else { host.now() - jump });
                host.sleep(Duration::from_secs(below(90))).await;
                for lease in queue.claim(&Claim::new("one").lanes(3).entries(2)).await.unwrap() {
                    let ops: Vec<String> = lease.entries.iter().map(|entry| entry.op.clone()).collect();
                    let outcome = match below(4) {
                        0 => continue,
                        1 => Settle::new(lease.token, Then::Defer { wait: Duration::from_secs(30) }),
                        2 => Settle::new(lease.token, Then::Retry { wait: Duration::from_secs(30) }),
                        _ => Settle::done(lease.token, ops.len()),
                    };
                    let whole = outcome.done;
                    if queue.settle(vec![outcome]).await.unwrap() == [Settled::Applied] {
                        done.extend(ops.into_iter().take(whole));
                    }
                }
            }
            done.extend(drain(name, &*queue, &host).await);
            let lane = |op: &String| op[op.len() - 2..].parse::<u32>().unwrap() % 7;
            for number in 0..7 {
                let of: Vec<&String> = done.iter().filter(|op| lane(op) == number).collect();
                assert_eq!(of.len(), 4, "{name}, seed {seed}: {of:?}");
                assert!(of.is_sorted(), "{name}, seed {seed}: {of:?}");
            }
        }
    }
}

/// The jumps an administrator, a bad time server or a thawed machine makes.
fn set_somewhere(host: &Host, clock: &ManualClock, number: u64) {
    let (hour, now) = (Duration::from_secs(3_600), host.now());
    clock.set_wall(match number % 6 {
        0 => now + hour * 2,
        1 => now - hour * 2,
        2 => now + DAY * 3,
        3 => now - DAY * 3,
        4 => now - Duration::from_millis(1),
        _ => now - Duration::from_secs(45),
    });
}

/// A network during whose calls the clock jumps, a few times in all.
#[derive(Debug)]
struct Jumping {
    inner: Arc<dyn HttpTransport>,
    host: Host,
    clock: Arc<ManualClock>,
    left: Mutex<u32>,
}

impl Jumping {
    fn maybe_jump(&self) {
        let mut left = self.left.lock().unwrap();
        if *left > 0 && self.host.random() < 0.25 {
            *left -= 1;
            set_somewhere(&self.host, &self.clock, (self.host.random() * 6.0) as u64);
        }
    }
}

/// Lets others go on; it wakes itself, as time passes in no time here.
async fn elsewhere() {
    let mut gone = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut gone, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

#[async_trait]
impl HttpTransport for Jumping {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        self.maybe_jump();
        let answer = self.inner.send(request).await;
        elsewhere().await;
        self.maybe_jump();
        answer
    }
}

/// Two workers at once, the clock jumping between their rounds and in the middle of their calls, a rate limit and an outage on
/// the way: the CRM ends as the host is, with nothing doubled, nothing parked and nothing left waiting.
#[tokio::test]
async fn a_worker_whose_clock_jumps_loses_nothing_and_doubles_nothing() {
    for (seed, key, durable) in (0..16).map(|seed| (seed, if seed % 2 == 0 { KEYED } else { PROBED }, seed % 4 < 2)) {
        let (host, clock) = Host::manual_with_clock(seed);
        let org = Org::on(host.clone(), seed).await;
        let queue: Arc<dyn Queue> = if durable {
            let queue = SqliteQueue::open(":memory:", host.clone()).unwrap();
            queue.migrate().await.unwrap();
            Arc::new(queue)
        } else {
            Arc::new(MemoryQueue::new(host.clone()))
        };
        let network: Arc<dyn HttpTransport> =
            Arc::new(Jumping { inner: org.sandbox.transport(), host: host.clone(), clock: Arc::clone(&clock), left: Mutex::new(8) });
        let worker = || {
            let engine = org.engine_over(key, Arc::clone(&network), Arc::clone(&org.store));
            Worker::builder(Arc::clone(&queue), host.clone()).engine(engine).deliveries(100).build().unwrap()
        };
        let (one, other) = (worker(), worker());
        org.sandbox.fault(Fault::new(FaultKind::TooManyRequests { retry_after: Some("7".to_owned()) }).skip(3).times(1));
        org.sandbox.fault(Fault::new(FaultKind::DropAfter).skip(6).times(1));

        let mut people = people(9);
        let engine = org.engine(key);
        for version in 0..3 {
            let mut entries = Vec::new();
            for (id, person) in &mut people {
                person.score = person.score.map(|score| score + 100);
                let fields =
                    Fields::from_value(json!({"firstName": person.first, "lastName": person.last, "score": person.score})).unwrap();
                entries.push(WorkItem::new(fields).entry(&engine, id, format!("{id} {version}")).unwrap());
            }
            queue.enqueue(entries).await.unwrap();
            let (first, second) = join(one.step(), other.step()).await;
            assert!(first.is_ok() && second.is_ok(), "seed {seed}: {first:?} {second:?}");
            set_somewhere(&host, &clock, seed + version);
        }
        let mut rounds = 0;
        while queue.stats().await.unwrap().entries > 0 {
            rounds += 1;
            assert!(rounds < 5_000, "seed {seed}: it does not get empty: {:?}", queue.stats().await.unwrap());
            let (first, second) = join(one.step(), other.step()).await;
            if first.unwrap().is_idle() && second.unwrap().is_idle() {
                host.sleep(DAY / 4).await;
            }
        }
        let parked = queue.parked(&ParkedPage::new(ParkedFilter::all(), 10)).await.unwrap();
        assert!(parked.is_empty(), "seed {seed}: {parked:?}");
        org.assert_whole(key, &people, &format!("seed {seed}"));
    }
}

/// What a CRM asked for is waited by a clock that nobody sets.
#[tokio::test]
async fn a_jump_ahead_shortens_no_wait_the_crm_asked_for() {
    let (host, clock) = Host::manual_with_clock(5);
    let org = Org::on(host.clone(), 5).await;
    let queue: Arc<dyn Queue> = Arc::new(MemoryQueue::new(host.clone()));
    let engine = org.engine(KEYED);
    let worker = Worker::builder(Arc::clone(&queue), host.clone()).engine(engine.clone()).build().unwrap();
    let fields = Fields::from_value(json!({"lastName": "Lovelace", "score": 1})).unwrap();
    queue.enqueue(vec![WorkItem::new(fields).entry(&engine, "lead-1", "op".to_owned()).unwrap()]).await.unwrap();
    org.sandbox.fault(Fault::new(FaultKind::TooManyRequests { retry_after: Some("60".to_owned()) }).times(1));
    let report = worker.step().await.unwrap();
    assert_eq!((report.done, report.deferred), (0, 1), "{report:?}");
    let told = host.monotonic();
    clock.set_wall(host.now() + DAY * 3);
    org.sandbox.clear_requests();
    while worker.step().await.unwrap().is_idle() {
        assert!(org.sandbox.requests().is_empty(), "asked {:?} after it was told to wait 60 s", host.monotonic() - told);
        host.sleep(Duration::from_secs(1)).await;
        assert!(host.monotonic() - told < Duration::from_secs(120), "it waits on");
    }
    assert!(host.monotonic() - told >= Duration::from_secs(60), "{:?}", host.monotonic() - told);
    assert_eq!(org.sandbox.records("Lead").len(), 1);
}
