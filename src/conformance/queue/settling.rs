//! How leases end.

use crate::conformance::queue::api::{LONG, OVER, QueueBench, SHORT, claim, entry, nothing, only, ops, put, settle, want};
use crate::conformance::report::{Broken, Check, ensure};
use crate::queue::{Settle, Settled, Then};

/// The finished entries are gone, the others of the lease are free; more than all counts as all.
///
/// # Errors
/// What is wrong.
pub async fn done_prefixes_are_gone(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, (1..=5).map(|at| entry("a", &at.to_string())).collect()).await?;
    let lease = only(&*queue, &want().entries(4)).await?;
    settle(&*queue, Settle::done(lease.token, 2)).await?;
    let lease = only(&*queue, &want().entries(2)).await?;
    ensure!(ops(&lease) == ["3", "4"], "after two were done came {:?}", ops(&lease));
    settle(&*queue, Settle::done(lease.token, 99)).await?;
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["5"], "more than all took an entry that was not leased: {:?}", ops(&lease));
    settle(&*queue, Settle::done(lease.token, 1)).await?;
    nothing(&*queue, "everything was done").await?;
    ensure!(queue.stats().await?.entries == 0, "entries are left");
    Ok(())
}

/// A released lane is free at once, and nothing is counted.
///
/// # Errors
/// What is wrong.
pub async fn released_lanes_are_free(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1"), entry("b", "2")]).await?;
    for round in 0..3 {
        let leases = claim(&*queue).await?;
        let held: Vec<_> = leases.iter().map(|lease| (ops(lease), lease.attempts, lease.deliveries)).collect();
        ensure!(held == [(vec!["1"], 0, 1), (vec!["2"], 0, 1)], "round {round}: {held:?}");
        for lease in leases {
            settle(&*queue, Settle::release(lease.token)).await?;
        }
    }
    Ok(())
}

/// A head that is tried again keeps its place, waits, and counts an attempt; the count ends with the head.
///
/// # Errors
/// What is wrong.
pub async fn retries_keep_their_place(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1"), entry("a", "2"), entry("b", "3")]).await?;
    let retry = |wait| Then::Retry { wait };
    for attempt in 0..3 {
        let leases = claim(&*queue).await?;
        let a = leases.iter().find(|lease| lease.token.lane.record == "a").ok_or_else(|| Broken::new("the lane did not come back"))?;
        ensure!(ops(a) == ["1", "2"], "attempt {attempt}: the lane is {:?}", ops(a));
        ensure!((a.attempts, a.deliveries) == (attempt, 1), "attempt {attempt}: counted are {} and {}", a.attempts, a.deliveries);
        settle(&*queue, Settle::new(a.token.clone(), retry(SHORT))).await?;
        for lease in leases.into_iter().filter(|lease| lease.token.lane.record == "b") {
            settle(&*queue, Settle::release(lease.token)).await?;
        }
        // The others do not wait with it.
        let other = only(&*queue, &want()).await?;
        ensure!(ops(&other) == ["3"], "while one lane waits came {:?}", ops(&other));
        settle(&*queue, Settle::release(other.token)).await?;
        bench.pass(OVER).await;
    }
    let leases = claim(&*queue).await?;
    let [a, b] = leases.as_slice() else { return Err(Broken::new("two lanes are due")) };
    ensure!(a.attempts == 3, "3 retries count {}", a.attempts);
    // The head is done and the next one fails: its first attempt.
    settle(&*queue, Settle::done(a.token.clone(), 1).then(retry(SHORT))).await?;
    // Nothing is left to try again.
    settle(&*queue, Settle::done(b.token.clone(), 1).then(retry(LONG))).await?;
    bench.pass(OVER).await;
    let a = only(&*queue, &want()).await?;
    ensure!(ops(&a) == ["2"] && a.attempts == 1, "after its head was done the lane is {:?} with {} attempts", ops(&a), a.attempts);
    settle(&*queue, Settle::done(a.token, 1)).await?;
    put(&*queue, vec![entry("a", "4"), entry("b", "5")]).await?;
    let held: Vec<_> = claim(&*queue).await?.iter().map(|lease| (lease.token.lane.record.clone(), lease.attempts)).collect();
    ensure!(held == [("a".to_owned(), 0), ("b".to_owned(), 0)], "a lane that was empty still counts or waits: {held:?}");
    Ok(())
}

/// A deferred lane waits, and no attempt is counted.
///
/// # Errors
/// What is wrong.
pub async fn deferrals_count_no_attempt(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1"), entry("a", "2"), entry("b", "3"), entry("b", "4")]).await?;
    let leases = queue.claim(&want().entries(1)).await?;
    let [a, b] = leases.as_slice() else { return Err(Broken::new("two lanes are due")) };
    settle(&*queue, Settle::new(a.token.clone(), Then::Defer { wait: SHORT })).await?;
    // With its whole lease done, what is behind it waits too.
    settle(&*queue, Settle::done(b.token.clone(), 1).then(Then::Defer { wait: SHORT })).await?;
    put(&*queue, vec![entry("a", "5")]).await?;
    nothing(&*queue, "both lanes are deferred").await?;
    bench.pass(OVER).await;
    let leases = claim(&*queue).await?;
    let held: Vec<_> = leases.iter().map(|lease| (ops(lease), lease.attempts, lease.deliveries)).collect();
    ensure!(held == [(vec!["1", "2", "5"], 0, 1), (vec!["4"], 0, 1)], "after the deferral came {held:?}");
    Ok(())
}

/// A call with good and stale tokens does the good ones, and answers in order.
///
/// # Errors
/// What is wrong.
pub async fn rows_settle_one_by_one(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, ["a", "b", "c", "d"].into_iter().map(|record| entry(record, record)).collect()).await?;
    let leases = claim(&*queue).await?;
    let [a, b, c, d] = leases.as_slice() else { return Err(Broken::new("four lanes are due")) };
    settle(&*queue, Settle::done(b.token.clone(), 1)).await?;
    let outcomes = vec![
        Settle::done(a.token.clone(), 1),
        Settle::done(b.token.clone(), 1),
        Settle::release(c.token.clone()),
        // The same lease a second time within the call.
        Settle::done(c.token.clone(), 1),
        Settle::new(d.token.clone(), Then::Defer { wait: LONG }),
    ];
    let settled = queue.settle(outcomes).await?;
    let expected = [Settled::Applied, Settled::LeaseLost, Settled::Applied, Settled::LeaseLost, Settled::Applied];
    ensure!(settled == expected, "the rows came out as {settled:?}");
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["c"], "then came {:?}", ops(&lease));
    Ok(())
}
