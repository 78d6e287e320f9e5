//! Clocks that jump: nothing is lost, nothing is settled under a lease that is not held, and work goes on.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::sync::Arc;
use std::time::Duration;

use crm_sync::host::{Host, ManualClock};
use crm_sync::model::Entity;
use crm_sync::queue::{Claim, Enqueued, Lane, MemoryQueue, NewEntry, Queue, Settle, Settled, SqliteQueue, Then};

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
