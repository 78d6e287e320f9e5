//! What goes in.

use crate::conformance::queue::api::{LEAD, QueueBench, claim, entry, lane, nothing, only, ops, put, settle, want};
use crate::conformance::report::{Broken, Check, ensure};
use crate::error::{ErrorKind, Retry};
use crate::queue::{Cause, Coalesce, Enqueued, Lane, MAX_PAYLOAD, MAX_TEXT, Merge, NewEntry, Priority, QueueError, Settle, Then};

/// Every part of an entry comes back, odd and large ones too.
///
/// # Errors
/// What is wrong.
pub async fn entries_come_back(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let before = queue.now().await?;
    let odd = Lane::new("a/b%", LEAD, "né\u{1}/|:*>. \u{10FFFF}");
    let large: Vec<u8> = (0..MAX_PAYLOAD).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect();
    let full =
        NewEntry::new(odd.clone(), "op/1", large.clone()).kind("refetch").priority(Priority::Webhook).scope("budget of a").mapping("v7");
    put(&*queue, vec![full, NewEntry::new(lane("x"), "op 2", Vec::new()), NewEntry::new(lane("X"), "op 3", vec![0u8, 255, 0])]).await?;
    let leases = claim(&*queue).await?;
    ensure!(leases.len() == 3, "3 lanes, but {} leases", leases.len());
    let found = |wanted: &Lane| {
        let lease = leases.iter().find(|lease| lease.token.lane == *wanted);
        lease.and_then(|lease| lease.entries.first()).ok_or_else(|| Broken::new(format!("{wanted:?} did not come back")))
    };
    let first = found(&odd)?;
    ensure!(first.payload == large, "a payload of the largest size is another one");
    ensure!(
        (first.op.as_str(), first.kind.as_str(), first.scope.as_str(), first.mapping.as_str(), first.priority)
            == ("op/1", "refetch", "budget of a", "v7", Priority::Webhook),
        "a part of the entry is another one: {first:?}"
    );
    ensure!(first.enqueued_at >= before && first.enqueued_at <= queue.now().await?, "enqueued at {}", first.enqueued_at);
    let second = found(&lane("x"))?;
    ensure!(second.payload.is_empty() && second.priority == Priority::Incremental && second.scope == "test", "{second:?}");
    ensure!(found(&lane("X"))?.payload == [0u8, 255, 0].as_slice(), "lanes that differ in case are mixed up");
    Ok(())
}

/// What is too large or has no op id is refused with a typed error, and nothing of the call is enqueued.
///
/// # Errors
/// What is wrong.
pub async fn bad_entries_are_refused(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let large = NewEntry::new(lane("b"), "large", vec![0u8; MAX_PAYLOAD + 1]);
    for (bad, what) in [
        (large, "a payload over the limit"),
        (entry("c", ""), "no op id"),
        (entry("d", "long").scope("x".repeat(MAX_TEXT + 1)), "a long scope"),
    ] {
        let Err(error) = queue.enqueue(vec![entry("a", "good"), bad]).await else {
            return Err(Broken::new(format!("an entry with {what} was enqueued")));
        };
        ensure!(error.kind() == ErrorKind::Queue && error.retry() == Retry::Never, "{what} is not refused for good: {error:?}");
        ensure!(!error.may_have_applied(), "{what}: the refusal claims that something may be enqueued");
        let typed = std::error::Error::source(&error).is_some_and(|source| source.downcast_ref::<QueueError>().is_some());
        ensure!(typed, "{what}: the error has no QueueError as source");
    }
    nothing(&*queue, "every call was refused").await?;
    ensure!(queue.enqueue(Vec::new()).await?.is_empty(), "an empty call has outcomes");
    ensure!(queue.settle(Vec::new()).await?.is_empty(), "an empty settle has outcomes");
    put(&*queue, vec![entry("a", "good")]).await
}

/// An op id is enqueued once: within a call, over calls, and also after its entry was finished or parked.
///
/// # Errors
/// What is wrong.
pub async fn op_ids_are_enqueued_once(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let outcomes = queue.enqueue(vec![entry("a", "1"), entry("b", "1"), entry("a", "2")]).await?;
    ensure!(
        matches!(outcomes.as_slice(), [Enqueued::New(one), Enqueued::Duplicate, Enqueued::New(two)] if one < two),
        "within a call: {outcomes:?}"
    );
    let again = queue.enqueue(vec![entry("a", "2"), entry("a", "1"), entry("a", "3")]).await?;
    ensure!(matches!(again.as_slice(), [Enqueued::Duplicate, Enqueued::Duplicate, Enqueued::New(_)]), "over calls: {again:?}");
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["1", "2", "3"], "the lane holds {:?}", ops(&lease));
    let park = Then::Park { entries: 1, cause: Cause::new("validation", "x"), freeze: false };
    settle(&*queue, Settle::done(lease.token, 2).then(park)).await?;
    let late = queue.enqueue(vec![entry("a", "1"), entry("a", "2"), entry("a", "3")]).await?;
    ensure!(late == [Enqueued::Duplicate; 3], "after they were settled: {late:?}");
    nothing(&*queue, "everything was settled").await
}

/// After the window an op id is new again.
///
/// # Errors
/// What is wrong.
pub async fn op_ids_are_forgotten_after_their_window(bench: &dyn QueueBench) -> Check {
    let Some(window) = bench.op_window() else { return Ok(()) };
    let queue = bench.queue().await?;
    let promised = queue.capabilities().op_window;
    ensure!(promised <= window, "it promises to remember op ids for {promised:?}, but the bench's queues do for {window:?}");
    put(&*queue, vec![entry("a", "1")]).await?;
    let lease = only(&*queue, &want()).await?;
    settle(&*queue, Settle::done(lease.token, 1)).await?;
    bench.pass(window / 2).await;
    ensure!(queue.enqueue(vec![entry("a", "1")]).await? == [Enqueued::Duplicate], "an op id was forgotten at half its time");
    bench.pass(window / 2 + std::time::Duration::from_secs(1)).await;
    put(&*queue, vec![entry("a", "1")]).await?;
    ensure!(queue.enqueue(vec![entry("a", "1")]).await? == [Enqueued::Duplicate], "an op id that came anew is not remembered");
    Ok(())
}

/// An entry joins the newest one of its lane if both say so and that one is not in a lease; a queue that promises no joining
/// keeps each by itself.
///
/// # Errors
/// What is wrong.
pub async fn entries_join_as_they_say(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let joining = |op: &str, key: &str, merge| entry("a", op).coalesce(Coalesce::new(key, merge));
    put(&*queue, vec![joining("1", "k", Merge::TakeNew).mapping("v1").priority(Priority::Backfill)]).await?;
    let outcomes = queue
        .enqueue(vec![
            joining("2", "k", Merge::TakeNew).mapping("v2").priority(Priority::Webhook),
            joining("3", "k", Merge::KeepOld).priority(Priority::Incremental),
            joining("4", "other", Merge::TakeNew),
            entry("a", "5"),
            joining("6", "other", Merge::TakeNew),
            joining("7", "other", Merge::TakeNew).kind("refetch"),
            joining("8", "other", Merge::TakeNew).kind("refetch").scope("elsewhere"),
        ])
        .await?;
    if !queue.capabilities().coalesces {
        ensure!(outcomes.iter().all(|outcome| matches!(outcome, Enqueued::New(_))), "it joins without promising it: {outcomes:?}");
        return Ok(());
    }
    ensure!(
        matches!(outcomes.as_slice(), [Enqueued::Coalesced(a), Enqueued::Coalesced(b), Enqueued::New(c), ..] if a == b && b < c)
            && outcomes.iter().skip(2).all(|outcome| matches!(outcome, Enqueued::New(_))),
        "who joins whom: {outcomes:?}"
    );
    ensure!(
        queue.enqueue(vec![joining("3", "k", Merge::TakeNew)]).await? == [Enqueued::Duplicate],
        "the op id of a joined entry is forgotten"
    );
    let lease = only(&*queue, &want().entries(3)).await?;
    ensure!(ops(&lease) == ["1", "4", "5"], "the lane holds {:?}", ops(&lease));
    let first = lease.entries.first().ok_or_else(|| Broken::new("a lease without entries"))?;
    ensure!(first.payload == "2" && first.mapping == "v2", "the newest payload is not there: {first:?}");
    ensure!(first.priority == Priority::Webhook, "the more urgent priority is not kept: {first:?}");
    settle(&*queue, Settle::done(lease.token, 3)).await?;

    // What is in a lease has been read: it is not changed any more.
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["6", "7", "8"], "the lane holds {:?}", ops(&lease));
    let late = joining("9", "other", Merge::TakeNew).kind("refetch").scope("elsewhere");
    let outcome = queue.enqueue(vec![late]).await?;
    ensure!(matches!(outcome.as_slice(), [Enqueued::New(_)]), "an entry joined a leased one: {outcome:?}");
    settle(&*queue, Settle::release(lease.token)).await?;
    let freed = joining("10", "other", Merge::KeepOld).kind("refetch").scope("elsewhere");
    let outcome = queue.enqueue(vec![freed]).await?;
    ensure!(matches!(outcome.as_slice(), [Enqueued::Coalesced(_)]), "an entry did not join a released one: {outcome:?}");
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["6", "7", "8", "9"], "the lane holds {:?}", ops(&lease));
    ensure!(lease.entries.last().is_some_and(|entry| entry.payload == "9"), "KeepOld took the new payload");
    Ok(())
}

/// Some thousand entries in one call, in one claim, in one settle.
///
/// # Errors
/// What is wrong.
pub async fn large_batches_work(bench: &dyn QueueBench) -> Check {
    const LANES: usize = 600;
    let queue = bench.queue().await?;
    let entries = (0..LANES * 3).map(|at| entry(&format!("r{}", at % LANES), &format!("op{at}"))).collect();
    put(&*queue, entries).await?;
    let leases = queue.claim(&want().lanes(LANES + 10)).await?;
    ensure!(leases.len() == LANES, "{} lanes instead of {LANES}", leases.len());
    ensure!(leases.iter().all(|lease| lease.entries.len() == 3), "a lane has not its 3 entries");
    let done = leases.into_iter().map(|lease| Settle::done(lease.token, 3)).collect();
    let settled = queue.settle(done).await?;
    ensure!(settled.len() == LANES && settled.iter().all(|one| *one == crate::queue::Settled::Applied), "not every lane was settled");
    ensure!(queue.stats().await?.entries == 0, "entries are left");
    nothing(&*queue, "everything was settled").await
}
