//! What is handed out, and in what order.

use crate::conformance::queue::api::{OVER, QueueBench, SHORT, claim, entry, nothing, only, ops, put, records, settle, want};
use crate::conformance::report::{Broken, Check, ensure};
use crate::queue::{Priority, Settle};

/// Entries of one lane come out in the order they went in, however many are taken at a time and whatever their priority.
///
/// # Errors
/// What is wrong.
pub async fn lanes_keep_their_order(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let mut expected = Vec::new();
    for round in 0..6 {
        let mut entries = Vec::new();
        for step in 0..4 {
            let op = format!("{round}.{step}");
            let priority = if step % 2 == 0 { Priority::Backfill } else { Priority::Interactive };
            entries.push(entry("a", &op).priority(priority));
            entries.push(entry("b", &format!("b{op}")));
            expected.push(op);
        }
        put(&*queue, entries).await?;
    }
    let mut found = Vec::new();
    for size in [1, 3, 2, 5, 1, 4, 20, 20] {
        let leases = queue.claim(&want().entries(size)).await?;
        for lease in leases {
            if lease.token.lane.record == "a" {
                ensure!(lease.entries.len() <= size, "{} entries came although {size} were asked for", lease.entries.len());
                ensure!(lease.entries.is_sorted_by_key(|entry| entry.id), "the ids of a lane do not grow");
                found.extend(lease.entries.iter().map(|entry| entry.op.clone()));
                let count = lease.entries.len();
                settle(&*queue, Settle::done(lease.token, count)).await?;
            } else {
                settle(&*queue, Settle::release(lease.token)).await?;
            }
        }
    }
    ensure!(found == expected, "the order of the lane is {found:?}");
    Ok(())
}

/// The head with the higher priority first, then the older one; no more lanes than asked for.
///
/// # Errors
/// What is wrong.
pub async fn claims_come_by_priority_then_age(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(
        &*queue,
        vec![
            entry("backfill", "1").priority(Priority::Backfill),
            entry("old", "2"),
            entry("young", "3").scope("another"),
            entry("event", "4").priority(Priority::Webhook).kind("refetch"),
            entry("person", "5").priority(Priority::Interactive).scope("another"),
            // What stands behind a head does not count.
            entry("backfill", "6").priority(Priority::Interactive),
        ],
    )
    .await?;
    let first = queue.claim(&want().lanes(2)).await?;
    ensure!(records(&first) == ["person", "event"], "first came {:?}", records(&first));
    let second = queue.claim(&want().lanes(10)).await?;
    ensure!(records(&second) == ["old", "young", "backfill"], "then came {:?}", records(&second));
    ensure!(queue.claim(&want().lanes(0)).await?.is_empty(), "a claim of no lane has a lease");
    Ok(())
}

/// Lanes whose head belongs to a skipped scope stay, and a lease ends before an entry of a skipped scope.
///
/// # Errors
/// What is wrong.
pub async fn scopes_are_skipped(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(
        &*queue,
        vec![
            entry("a", "1").scope("spent").priority(Priority::Interactive),
            entry("b", "2").scope("free"),
            entry("b", "3").scope("spent"),
            entry("b", "4").scope("free"),
        ],
    )
    .await?;
    let lease = only(&*queue, &want().skip_scopes(["spent", "unknown"])).await?;
    ensure!(ops(&lease) == ["2"], "a lease holds {:?}", ops(&lease));
    settle(&*queue, Settle::done(lease.token, 1)).await?;
    ensure!(queue.claim(&want().skip_scopes(["spent"])).await?.is_empty(), "a lane was handed out though its head's scope is skipped");
    let all = claim(&*queue).await?;
    ensure!(records(&all) == ["a", "b"], "with budget came {:?}", records(&all));
    Ok(())
}

/// Only entries of the wanted kinds are handed out, and a lease ends before another one.
///
/// # Errors
/// What is wrong.
pub async fn kinds_are_selected(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1").kind("x"), entry("a", "2").kind("y"), entry("b", "3").kind("y"), entry("c", "4")]).await?;
    let lease = only(&*queue, &want().kinds(["x"])).await?;
    ensure!(ops(&lease) == ["1"], "a lease holds {:?}", ops(&lease));
    ensure!(queue.claim(&want().kinds(["z"])).await?.is_empty(), "a kind that nobody has was handed out");
    let both = queue.claim(&want().kinds(["y", ""])).await?;
    ensure!(records(&both) == ["b", "c"], "of two kinds came {:?}", records(&both));
    settle(&*queue, Settle::done(lease.token, 1)).await?;
    let rest = only(&*queue, &want().kinds(["x", "y"])).await?;
    ensure!(ops(&rest) == ["2"], "a lease holds {:?}", ops(&rest));
    Ok(())
}

/// An entry waits for its time, and what is behind it in its lane waits too; a lease ends before it; other lanes go on.
///
/// # Errors
/// What is wrong.
pub async fn entries_wait_for_their_time(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let now = queue.now().await?;
    let soon = now.checked_add(SHORT).map_err(|_| Broken::new("store time is at its end"))?;
    put(
        &*queue,
        vec![
            entry("a", "1").not_before(soon),
            entry("a", "2"),
            entry("b", "3"),
            entry("b", "4").not_before(soon),
            entry("c", "5").not_before(now),
        ],
    )
    .await?;
    let leases = claim(&*queue).await?;
    ensure!(records(&leases) == ["b", "c"], "before the time came {:?}", records(&leases));
    let [b, c] = leases.as_slice() else { return Err(Broken::new("two lanes are due")) };
    ensure!(ops(b) == ["3"] && ops(c) == ["5"], "a lease holds an entry before its time: {:?}", ops(b));
    for lease in leases {
        settle(&*queue, Settle::done(lease.token, 1)).await?;
    }
    nothing(&*queue, "the time has not come").await?;
    bench.pass(OVER).await;
    let leases = claim(&*queue).await?;
    let held: Vec<_> = leases.iter().map(ops).collect();
    ensure!(held == [vec!["1", "2"], vec!["4"]], "after the time came {held:?}");
    Ok(())
}
