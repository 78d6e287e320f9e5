//! The queue as a whole.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{join, join_all};
use futures_util::{FutureExt, StreamExt};

use crate::conformance::queue::api::{LONG, QueueBench, claim, entry, only, ops, put, settle, want};
use crate::conformance::report::{Broken, Check, ensure};
use crate::queue::{Cause, Enqueued, Lease, ParkedFilter, ParkedPage, Queue, Settle, Settled, Then};

/// The numbers are those of the entries, lanes and scopes.
///
/// # Errors
/// What is wrong.
pub async fn statistics_count(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let before = queue.now().await?;
    let empty = queue.stats().await?;
    ensure!(
        (empty.entries, empty.lanes, empty.parked, empty.oldest) == (0, 0, 0, None) && empty.scopes.is_empty(),
        "an empty queue: {empty:?}"
    );
    put(&*queue, vec![entry("a", "1"), entry("a", "2"), entry("b", "3").scope("x"), entry("c", "4").scope("x")]).await?;
    let leases = queue.claim(&want().lanes(2).entries(1)).await?;
    let [_, b] = leases.as_slice() else { return Err(Broken::new("two lanes are due")) };
    settle(&*queue, Settle::new(b.token.clone(), Then::Park { entries: 1, cause: Cause::new("x", "x"), freeze: false })).await?;
    let stats = queue.stats().await?;
    let counts = (stats.entries, stats.lanes, stats.leased, stats.frozen, stats.parked);
    ensure!(counts == (3, 2, 1, 0, 1), "entries, lanes, leased, frozen, parked: {counts:?}");
    ensure!(stats.oldest.is_some_and(|oldest| oldest >= before && oldest <= stats.now), "the oldest is of {:?}", stats.oldest);
    let scopes: Vec<_> = stats.scopes.iter().map(|scope| (scope.scope.as_str(), scope.entries, scope.oldest.is_some())).collect();
    ensure!(scopes == [("test", 2, true), ("x", 1, true)], "the scopes are {scopes:?}");
    Ok(())
}

/// A queue that promises wake-ups gives one after something was enqueued.
///
/// # Errors
/// What is wrong.
pub async fn wakeups_come(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let (promised, stream) = (queue.capabilities().notify, queue.wakeups());
    ensure!(promised == stream.is_some(), "it promises wake-ups: {promised}; it gives them: {}", stream.is_some());
    let Some(mut stream) = stream else { return Ok(()) };
    // Spurious ones are allowed, so what was there before is taken out.
    while stream.next().now_or_never().is_some() {}
    for at in 0..200 {
        if at % 50 == 0 {
            put(&*queue, vec![entry("a", &at.to_string())]).await?;
        }
        if let Some(item) = stream.next().now_or_never() {
            ensure!(item.is_some(), "the stream of wake-ups has ended");
            return Ok(());
        }
        bench.pass(Duration::from_millis(10)).await;
    }
    Err(Broken::new("nothing was heard of an enqueued entry"))
}

/// Several workers and producers at once: each entry is finished once, in the order of its lane.
///
/// # Errors
/// What is wrong.
pub async fn workers_side_by_side_lose_and_repeat_nothing(bench: &dyn QueueBench) -> Check {
    const PRODUCERS: usize = 3;
    const EACH: usize = 60;
    let queue = bench.queue().await?;
    let finished: Arc<Mutex<BTreeMap<String, Vec<String>>>> = Arc::default();
    let produce = |producer: usize| {
        let queue = Arc::clone(&queue);
        async move {
            for chunk in 0..EACH / 5 {
                let entries = (0..5).map(|step| {
                    let at = chunk * 5 + step;
                    entry(&format!("{producer}.{}", at % 7), &format!("{producer}.{at:03}"))
                });
                // An impatient producer sends everything twice.
                let entries: Vec<_> = entries.collect();
                queue.enqueue(entries.clone()).await?;
                let again = queue.enqueue(entries).await?;
                ensure!(again.iter().all(|outcome| *outcome == Enqueued::Duplicate), "what was sent twice is there twice: {again:?}");
            }
            Ok(())
        }
    };
    let work = |worker: usize| {
        let (queue, finished) = (Arc::clone(&queue), Arc::clone(&finished));
        async move { drain(&*queue, worker, &finished, PRODUCERS * EACH).await }
    };
    let producers = join_all((0..PRODUCERS).map(produce));
    let workers = join_all((0..4).map(work));
    let (produced, worked) = join(producers, workers).await;
    for outcome in produced.into_iter().chain(worked) {
        outcome?;
    }
    let finished = finished.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let count: usize = finished.values().map(Vec::len).sum();
    ensure!(count == PRODUCERS * EACH, "{count} entries were finished instead of {}", PRODUCERS * EACH);
    for (lane, ops) in &finished {
        ensure!(ops.is_sorted() && ops.windows(2).all(|pair| pair.first() != pair.last()), "the lane {lane} was worked as {ops:?}");
    }
    ensure!(queue.stats().await?.entries == 0, "entries are left");
    Ok(())
}

async fn drain(queue: &dyn Queue, worker: usize, finished: &Mutex<BTreeMap<String, Vec<String>>>, all: usize) -> Check {
    // The limit is for a queue that hands nothing out.
    for round in 0..20_000usize {
        let done: usize = finished.lock().unwrap_or_else(PoisonError::into_inner).values().map(Vec::len).sum();
        if done >= all {
            return Ok(());
        }
        let leases = queue.claim(&want().lanes(3).entries(1 + (worker + round) % 3)).await?;
        let outcomes: Vec<(Lease, Settle)> = leases
            .into_iter()
            .enumerate()
            .map(|(at, lease)| {
                let done = if (at + round) % 4 == 0 { 0 } else { lease.entries.len() };
                let settle = Settle::done(lease.token.clone(), done);
                (lease, settle)
            })
            .collect();
        if outcomes.is_empty() {
            yield_once().await;
            continue;
        }
        // Noted before the lane is free for others.
        {
            let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
            for (lease, settle) in &outcomes {
                let ops = lease.entries.iter().take(settle.done).map(|entry| entry.op.clone());
                finished.entry(lease.token.lane.record.clone()).or_default().extend(ops);
            }
        }
        let settled = queue.settle(outcomes.into_iter().map(|(_, settle)| settle).collect()).await?;
        ensure!(settled.iter().all(|one| *one == Settled::Applied), "a lease of {LONG:?} was lost: {settled:?}");
    }
    Err(Broken::new("the queue does not get empty"))
}

async fn yield_once() {
    let mut yielded = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return std::task::Poll::Ready(());
        }
        context.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// A queue that says it is durable has everything after it was opened anew: entries, leases, dead letters, op ids; and its ids
/// and fences go on.
///
/// # Errors
/// What is wrong.
pub async fn durable_means_durable(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let promises = queue.capabilities();
    ensure!(promises.durable || !promises.survives_power_loss, "a queue cannot survive power cuts without being durable");
    put(&*queue, vec![entry("a", "1"), entry("a", "2"), entry("b", "3"), entry("c", "4"), entry("c", "5")]).await?;
    let leases = queue.claim(&want().entries(1)).await?;
    let [a, b, c] = leases.as_slice() else { return Err(Broken::new("three lanes are due")) };
    let (a, fence) = (a.token.clone(), c.token.fence);
    settle(&*queue, Settle::done(b.token.clone(), 1)).await?;
    settle(&*queue, Settle::new(c.token.clone(), Then::Park { entries: 1, cause: Cause::new("x", "y"), freeze: true })).await?;
    let Some(queue) = bench.reopen(queue).await? else {
        ensure!(!promises.durable, "the queue says it is durable, but the bench cannot open it anew");
        return Ok(());
    };
    ensure!(claim(&*queue).await?.is_empty(), "after opening it anew a leased or frozen lane is handed out");
    ensure!(queue.enqueue(vec![entry("b", "3")]).await? == [Enqueued::Duplicate], "op ids were forgotten");
    settle(&*queue, Settle::done(a, 1)).await?;
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["2"] && lease.token.fence > fence, "after opening it anew came {lease:?}, after fence {fence}");
    let parked = queue.parked(&ParkedPage::new(ParkedFilter::all(), 10)).await?;
    ensure!(parked.len() == 1, "{} dead letters after opening it anew", parked.len());
    ensure!(queue.replay(&ParkedFilter::all()).await? == 1, "the dead letter cannot be replayed");
    put(&*queue, vec![entry("c", "6")]).await?;
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["4", "5", "6"], "the lane is {:?}", ops(&lease));
    Ok(())
}
