//! Leases and their tokens.

use std::time::Duration;

use crate::conformance::queue::api::{LONG, OVER, QueueBench, SHORT, claim, entry, lost, nothing, only, ops, put, settle, want};
use crate::conformance::report::{Check, ensure};
use crate::queue::{Cause, ParkedFilter, ParkedPage, Settle, Then};

/// While a lease is out nobody else gets the lane, and what is enqueued meanwhile waits.
///
/// # Errors
/// What is wrong.
pub async fn one_lease_per_lane(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1"), entry("a", "2"), entry("a", "3")]).await?;
    let before = queue.now().await?;
    let lease = only(&*queue, &want().entries(2)).await?;
    let after = queue.now().await?;
    ensure!(ops(&lease) == ["1", "2"], "a lease holds {:?}", ops(&lease));
    ensure!(
        (lease.deliveries, lease.attempts) == (1, 0),
        "a first lease has {} deliveries and {} attempts",
        lease.deliveries,
        lease.attempts
    );
    ensure!(
        lease.expires >= before.saturating_add(LONG).unwrap_or(before) && lease.expires <= after.saturating_add(LONG).unwrap_or(after),
        "a lease of {LONG:?} that began between {before} and {after} ends at {}",
        lease.expires
    );
    put(&*queue, vec![entry("a", "4")]).await?;
    nothing(&*queue, "its only lane is leased").await?;
    settle(&*queue, Settle::done(lease.token, 2)).await?;
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["3", "4"], "after it came {:?}", ops(&lease));
    Ok(())
}

/// A lease whose time is over can be claimed again, with the same entries and one delivery more.
///
/// # Errors
/// What is wrong.
pub async fn leases_end_by_themselves(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1"), entry("a", "2")]).await?;
    let mut last = 0;
    for delivery in 1..=3 {
        let lease = only(&*queue, &want().ttl(SHORT)).await?;
        ensure!(ops(&lease) == ["1", "2"], "delivery {delivery} holds {:?}", ops(&lease));
        ensure!((lease.deliveries, lease.attempts) == (delivery, 0), "delivery {delivery} says {} of {}", lease.attempts, lease.deliveries);
        ensure!(lease.token.fence > last, "the fence {} does not grow over {last}", lease.token.fence);
        last = lease.token.fence;
        nothing(&*queue, "the lease is out").await?;
        bench.pass(OVER).await;
    }
    let lease = only(&*queue, &want()).await?;
    settle(&*queue, Settle::release(lease.token)).await?;
    let lease = only(&*queue, &want()).await?;
    ensure!(lease.deliveries == 1, "a settle does not begin the deliveries anew: {}", lease.deliveries);
    Ok(())
}

/// A lease that is extended in time does not end; one that has ended cannot be extended, and is named.
///
/// # Errors
/// What is wrong.
pub async fn extended_leases_hold(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1"), entry("b", "2")]).await?;
    let leases = queue.claim(&want().ttl(SHORT * 2)).await?;
    let tokens: Vec<_> = leases.iter().map(|lease| lease.token.clone()).collect();
    ensure!(tokens.len() == 2, "2 lanes, but {} leases", tokens.len());
    ensure!(queue.extend(tokens.get(..1).unwrap_or_default(), LONG).await?.is_empty(), "a lease that is out was lost");
    bench.pass(SHORT * 2 + Duration::from_millis(100)).await;
    let gone = queue.extend(&tokens, LONG).await?;
    ensure!(gone == tokens.get(1..).unwrap_or_default(), "of two leases, one of them over, extending lost {gone:?}");
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["2"], "after the time came {:?}", ops(&lease));
    // Shorter is possible too.
    ensure!(queue.extend(tokens.get(..1).unwrap_or_default(), SHORT).await?.is_empty(), "a lease that is out was lost");
    bench.pass(OVER).await;
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["1"] && lease.deliveries == 2, "a lease that was cut short is still out");
    Ok(())
}

/// The token of a lease that has ended, was settled or never was changes nothing.
///
/// # Errors
/// What is wrong.
pub async fn stale_tokens_change_nothing(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1"), entry("a", "2")]).await?;
    let park = Then::Park { entries: 2, cause: Cause::new("validation", "x"), freeze: true };
    let everything = |token: &crate::queue::LeaseToken| {
        [
            Settle::done(token.clone(), 2),
            Settle::new(token.clone(), Then::Retry { wait: LONG }),
            Settle::new(token.clone(), Then::Defer { wait: LONG }),
            Settle::new(token.clone(), park.clone()),
            Settle::release(token.clone()),
        ]
    };
    let first = only(&*queue, &want().ttl(SHORT)).await?;
    bench.pass(OVER).await;
    for outcome in everything(&first.token) {
        lost(&*queue, outcome, "the holder of a lease that has ended").await?;
    }
    ensure!(queue.extend(std::slice::from_ref(&first.token), LONG).await? == [first.token.clone()], "a lease that has ended was extended");
    let second = only(&*queue, &want()).await?;
    ensure!(ops(&second) == ["1", "2"] && second.attempts == 0, "a stale token has changed the lane: {second:?}");
    for outcome in everything(&first.token) {
        lost(&*queue, outcome, "a former holder").await?;
    }
    ensure!(queue.extend(std::slice::from_ref(&first.token), SHORT).await? == [first.token.clone()], "a former holder extended the lease");
    nothing(&*queue, "the lane is leased").await?;
    let mut guessed = second.token.clone();
    guessed.fence += 1;
    lost(&*queue, Settle::done(guessed, 2), "somebody with a made-up token").await?;

    settle(&*queue, Settle::done(second.token.clone(), 1)).await?;
    for outcome in everything(&second.token) {
        lost(&*queue, outcome, "a holder who has settled").await?;
    }
    let page = ParkedPage::new(ParkedFilter::all(), 10);
    ensure!(queue.parked(&page).await?.is_empty(), "a stale token has parked something");
    let third = only(&*queue, &want()).await?;
    ensure!(ops(&third) == ["2"], "a stale token has changed the lane: {:?}", ops(&third));
    Ok(())
}

/// Each lease of a lane has a greater fence than any before, also after the lane was empty.
///
/// # Errors
/// What is wrong.
pub async fn fences_grow_for_ever(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let mut last = 0;
    for round in 0..5 {
        put(&*queue, vec![entry("a", &format!("{round}")), entry(&format!("other {round}"), &format!("o{round}"))]).await?;
        for step in ["released", "done"] {
            let leases = claim(&*queue).await?;
            for lease in leases {
                if lease.token.lane.record == "a" {
                    ensure!(lease.token.fence > last, "round {round}, {step}: fence {} after {last}", lease.token.fence);
                    last = lease.token.fence;
                }
                settle(&*queue, Settle::done(lease.token, usize::from(step == "done"))).await?;
            }
        }
    }
    Ok(())
}
