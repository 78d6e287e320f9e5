//! Dead letters.

use crate::conformance::queue::api::{LONG, OVER, QueueBench, SHORT, claim, entry, lane, lost, nothing, only, ops, put, settle, want};
use crate::conformance::report::{Broken, Check, ensure};
use crate::queue::{Cause, Enqueued, Parked, ParkedFilter, ParkedPage, Queue, Settle, Subject, Then};

fn park(entries: usize, cause: &Cause, freeze: bool) -> Then {
    Then::Park { entries, cause: cause.clone(), freeze }
}

fn refusal() -> Cause {
    Cause::new("validation", "the CRM refused it").code("BAD_PICKLIST").fields(["Rating"])
}

async fn all_parked(queue: &dyn Queue) -> Result<Vec<Parked>, Broken> {
    Ok(queue.parked(&ParkedPage::new(ParkedFilter::all(), 100)).await?)
}

fn parked_ops(parked: &[Parked]) -> Vec<&str> {
    parked.iter().map(|parked| parked.entry.op.as_str()).collect()
}

/// Parked entries are whole in the dead letters, once, and their lane goes on without them.
///
/// # Errors
/// What is wrong.
pub async fn parked_entries_leave_their_lane(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let first = entry("a", "1").kind("record").mapping("v1").scope("s");
    put(&*queue, vec![first, entry("a", "2"), entry("a", "3"), entry("a", "4"), entry("a", "5")]).await?;
    let lease = only(&*queue, &want()).await?;
    settle(&*queue, Settle::new(lease.token, Then::Retry { wait: SHORT })).await?;
    bench.pass(OVER).await;
    let before = queue.now().await?;
    let lease = only(&*queue, &want().entries(4)).await?;
    settle(&*queue, Settle::new(lease.token, park(1, &refusal(), false))).await?;
    let lease = only(&*queue, &want().entries(3)).await?;
    ensure!(ops(&lease) == ["2", "3", "4"] && lease.attempts == 0, "after its head was parked the lane is {lease:?}");
    settle(&*queue, Settle::done(lease.token, 1).then(park(9, &Cause::new("poison", "x"), false))).await?;
    let parked = all_parked(&*queue).await?;
    ensure!(parked_ops(&parked) == ["1", "3", "4"], "the dead letters are {:?}", parked_ops(&parked));
    let one = parked.first().ok_or_else(|| Broken::new("no dead letter"))?;
    ensure!(one.lane == lane("a") && one.cause == refusal() && !one.froze, "the dead letter is {one:?}");
    ensure!(one.attempts == 1, "the attempts before are {}", one.attempts);
    ensure!(one.at >= before && one.at <= queue.now().await?, "parked at {}", one.at);
    let entry = &one.entry;
    ensure!(
        entry.payload == "1" && (entry.kind.as_str(), entry.mapping.as_str(), entry.scope.as_str()) == ("record", "v1", "s"),
        "a part of the parked entry is another one: {entry:?}"
    );
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["5"], "after them the lane is {:?}", ops(&lease));
    // With nothing left of the lease there is nothing to park.
    settle(&*queue, Settle::done(lease.token, 1).then(park(1, &refusal(), true))).await?;
    ensure!(all_parked(&*queue).await?.len() == 3, "something was parked that was done");
    put(&*queue, vec![super::api::entry("a", "6")]).await?;
    ensure!(claim(&*queue).await?.len() == 1, "the lane does not go on");
    Ok(())
}

/// A lane that a parked entry stops is not handed out until the entry is replayed or discarded; others go on.
///
/// # Errors
/// What is wrong.
pub async fn frozen_lanes_stand_still(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1"), entry("a", "2"), entry("b", "3"), entry("b", "4"), entry("c", "5")]).await?;
    let leases = queue.claim(&want().entries(1)).await?;
    ensure!(leases.len() == 3, "3 lanes, but {} leases", leases.len());
    for lease in leases {
        let then = if lease.token.lane.record == "c" { Then::Release } else { park(1, &refusal(), true) };
        settle(&*queue, Settle::new(lease.token, then)).await?;
    }
    put(&*queue, vec![entry("a", "6")]).await?;
    ensure!(queue.stats().await?.frozen == 2, "the frozen lanes are not counted");
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["5"], "while two lanes are frozen came {:?}", ops(&lease));
    ensure!(queue.replay(&ParkedFilter::all().record("a")).await? == 1, "one entry is replayed");
    ensure!(queue.discard(&ParkedFilter::all().record("b")).await? == 1, "one entry is discarded");
    let leases = claim(&*queue).await?;
    let held: Vec<_> = leases.iter().map(ops).collect();
    ensure!(held == [vec!["1", "2", "6"], vec!["4"]], "after the thaw came {held:?}");
    ensure!(queue.stats().await?.frozen == 0, "thawed lanes are counted as frozen");
    Ok(())
}

/// A replayed entry comes before the younger ones of its lane, with no attempt counted, and once; a lease that is out stays.
///
/// # Errors
/// What is wrong.
pub async fn replayed_entries_take_their_place(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, (1..=4).map(|at| entry("a", &at.to_string())).collect()).await?;
    let lease = only(&*queue, &want()).await?;
    settle(&*queue, Settle::new(lease.token, park(2, &refusal(), false))).await?;
    let out = only(&*queue, &want().entries(1)).await?;
    ensure!(ops(&out) == ["3"], "the lane is {:?}", ops(&out));
    ensure!(queue.replay(&ParkedFilter::all().group("another")).await? == 0, "a group without entries was replayed");
    ensure!(queue.replay(&ParkedFilter::all().group(refusal().group())).await? == 2, "two entries are replayed");
    ensure!(queue.replay(&ParkedFilter::all()).await? == 0, "entries were replayed twice");
    ensure!(all_parked(&*queue).await?.is_empty(), "replayed entries are still dead letters");
    ensure!(queue.enqueue(vec![entry("a", "1")]).await? == [Enqueued::Duplicate], "a replayed entry is enqueued again");
    nothing(&*queue, "the lane is leased").await?;
    settle(&*queue, Settle::done(out.token, 1)).await?;
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["1", "2", "4"] && lease.attempts == 0, "after the replay the lane is {lease:?}");
    settle(&*queue, Settle::done(lease.token, 3)).await?;
    nothing(&*queue, "everything was done").await
}

/// Dead letters come in the order of their ids, page by page, by filter and by group.
///
/// # Errors
/// What is wrong.
pub async fn dead_letters_come_in_pages_and_groups(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, (0..25).map(|at| entry(&format!("r{at}"), &format!("{at:02}"))).collect()).await?;
    let (usual, other) = (refusal(), Cause::new("poison", "it killed its worker"));
    let mut leases = claim(&*queue).await?;
    // Not in the order of their ids.
    leases.reverse();
    for (at, lease) in leases.into_iter().enumerate() {
        settle(&*queue, Settle::new(lease.token, park(1, if at % 5 == 0 { &other } else { &usual }, false))).await?;
    }
    let mut page = ParkedPage::new(ParkedFilter::all(), 10);
    let mut found = Vec::new();
    let mut sizes = Vec::new();
    for _ in 0..4 {
        let parked = queue.parked(&page).await?;
        sizes.push(parked.len());
        page.after = parked.last().map(|parked| parked.entry.id).or(page.after);
        found.extend(parked.into_iter().map(|parked| parked.entry.op));
    }
    let expected: Vec<String> = (0..25).map(|at| format!("{at:02}")).collect();
    ensure!(sizes == [10, 10, 5, 0], "the pages have {sizes:?} entries");
    ensure!(found == expected, "the pages hold {found:?}");

    let causes = queue.causes().await?;
    let counts: Vec<_> = causes.iter().map(|cause| (cause.group.as_str(), cause.count, cause.example.clone())).collect();
    ensure!(counts == [("poison", 5, other.clone()), ("validation:BAD_PICKLIST[Rating]", 20, refusal())], "the groups are {counts:?}");
    let of = async |filter: ParkedFilter| queue.parked(&ParkedPage::new(filter, 100)).await;
    let poison = of(ParkedFilter::all().group("poison")).await?;
    ensure!(poison.len() == 5 && poison.iter().all(|parked| parked.cause == other), "by group came {:?}", parked_ops(&poison));
    let one = of(ParkedFilter::all().connection("test").entity(super::api::LEAD).record("r7")).await?;
    ensure!(parked_ops(&one) == ["07"], "by record came {:?}", parked_ops(&one));
    let id = one.first().map(|parked| parked.entry.id).ok_or_else(|| Broken::new("no dead letter"))?;
    ensure!(parked_ops(&of(ParkedFilter::all().ids([id])).await?) == ["07"], "by id came another one");
    ensure!(of(ParkedFilter::all().ids([])).await?.is_empty(), "without an id came one");
    let now = queue.now().await?;
    ensure!(of(ParkedFilter::all().until(now.saturating_add(LONG).unwrap_or(now))).await?.len() == 25, "by time came fewer");
    ensure!(of(ParkedFilter::all().since(now.saturating_add(LONG).unwrap_or(now))).await?.is_empty(), "by time came one of the future");
    ensure!(of(ParkedFilter::all().connection("tes")).await?.is_empty(), "another connection's came");

    ensure!(queue.discard(&ParkedFilter::all().group("poison")).await? == 5, "five are discarded");
    ensure!(queue.replay(&ParkedFilter::all().ids([id])).await? == 1, "one is replayed");
    ensure!(all_parked(&*queue).await?.len() == 19, "not 19 are left");
    let lease = only(&*queue, &want()).await?;
    ensure!(ops(&lease) == ["07"], "replayed was {:?}", ops(&lease));
    Ok(())
}

/// Of an erased subject nothing is left, neither waiting nor leased nor parked, and it does not come back by a known op id.
///
/// # Errors
/// What is wrong.
pub async fn subjects_are_erased(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    put(&*queue, vec![entry("a", "1"), entry("a", "2"), entry("a", "3"), entry("b", "4")]).await?;
    let leases = queue.claim(&want().entries(1)).await?;
    for lease in leases {
        let then = if lease.token.lane.record == "a" { park(1, &refusal(), true) } else { Then::Release };
        settle(&*queue, Settle::new(lease.token, then)).await?;
    }
    ensure!(queue.purge(&Subject::new("a").connection("elsewhere")).await? == 0, "another connection's subject was erased");
    ensure!(queue.purge(&Subject::new("a").connection("test").entity(super::api::LEAD)).await? == 3, "three entries are erased");
    ensure!(all_parked(&*queue).await?.is_empty(), "a dead letter of the subject is left");
    let held = only(&*queue, &want()).await?;
    ensure!(ops(&held) == ["4"], "after the erasure came {:?}", ops(&held));
    ensure!(queue.enqueue(vec![entry("a", "2")]).await? == [Enqueued::Duplicate], "a late event brought the subject back");
    // The lane may live anew.
    put(&*queue, vec![entry("a", "5")]).await?;
    let anew = only(&*queue, &want()).await?;
    ensure!(ops(&anew) == ["5"], "the lane is still frozen, or holds {:?}", ops(&anew));
    ensure!(queue.purge(&Subject::new("b")).await? == 1, "a leased entry was not erased");
    lost(&*queue, Settle::done(held.token, 1), "the holder of an erased lane").await?;
    let stats = queue.stats().await?;
    ensure!((stats.entries, stats.parked) == (1, 0), "the queue still counts {stats:?}");
    Ok(())
}
