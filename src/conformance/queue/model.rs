//! Random histories against the queue in memory.

use std::collections::BTreeMap;

use crate::conformance::queue::api::{LONG, QueueBench, entry, want};
use crate::conformance::report::{Broken, Check, ensure};
use crate::host::{Entropy, Host, SeededEntropy};
use crate::queue::{
    Cause, Coalesce, Enqueued, EntryId, Lease, LeaseToken, MemoryQueue, Merge, Parked, ParkedFilter, ParkedPage, Priority, Queue, Settle,
    Subject, Then,
};

const SEED: u64 = 20_260_101;
const ROUNDS: usize = 300;

/// A lease or dead letter without what differs between queues: ids, fences, times.
#[derive(Debug, PartialEq)]
struct Seen {
    record: String,
    ops: Vec<(String, Vec<u8>, Priority)>,
    counts: (u32, u32),
}

/// Over some hundred random calls without waits the queue answers as the queue in memory does.
///
/// # Errors
/// What is wrong, with the round.
pub async fn random_histories_match_the_model(bench: &dyn QueueBench) -> Check {
    let queue = bench.queue().await?;
    let model = MemoryQueue::new(Host::manual(1));
    let joins = queue.capabilities().coalesces;
    let random = SeededEntropy::new(SEED);
    let below = |limit: usize| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % limit as u64).unwrap_or(0)
    };
    // The tokens of the same leases here and there; spent ones stay, to be tried again.
    let mut leases: Vec<(Lease, Lease)> = Vec::new();
    let mut ids: BTreeMap<EntryId, EntryId> = BTreeMap::new();
    for round in 0..ROUNDS {
        match below(10) {
            0..=3 => {
                let entries: Vec<_> = (0..=below(5))
                    .map(|_| {
                        let priority = Priority::from_rank(u8::try_from(below(4)).unwrap_or(0));
                        let new = entry(&format!("r{}", below(5)), &format!("op{}", below(400)));
                        let new = new.priority(priority).scope(if below(2) == 0 { "s" } else { "t" });
                        if joins && below(3) == 0 {
                            new.coalesce(Coalesce::new("k", if below(2) == 0 { Merge::KeepOld } else { Merge::TakeNew }))
                        } else {
                            new
                        }
                    })
                    .collect();
                let (here, there) = (queue.enqueue(entries.clone()).await?, model.enqueue(entries).await?);
                ensure!(here.len() == there.len(), "round {round}: {} outcomes instead of {}", here.len(), there.len());
                for (here, there) in here.iter().zip(&there) {
                    match (here, there) {
                        (Enqueued::New(here), Enqueued::New(there)) => {
                            ids.insert(*there, *here);
                        }
                        (Enqueued::Coalesced(here), Enqueued::Coalesced(there)) if ids.get(there) == Some(here) => {}
                        (Enqueued::Duplicate, Enqueued::Duplicate) => {}
                        _ => return Err(Broken::new(format!("round {round}: the queue says {here:?}, the model {there:?}"))),
                    }
                }
            }
            4..=5 => {
                let mut want = want().lanes(1 + below(3)).entries(1 + below(4));
                if below(4) == 0 {
                    want = want.skip_scopes(["t"]);
                }
                let (here, there) = (queue.claim(&want).await?, model.claim(&want).await?);
                let (seen, expected): (Vec<_>, Vec<_>) = (here.iter().map(leased).collect(), there.iter().map(leased).collect());
                ensure!(seen == expected, "round {round}: claimed was {seen:?} instead of {expected:?}");
                leases.extend(here.into_iter().zip(there));
            }
            6..=7 => {
                let (mut here, mut there) = (Vec::new(), Vec::new());
                for _ in 0..=below(3) {
                    if leases.is_empty() {
                        break;
                    }
                    let at = below(leases.len());
                    let Some((mine, models)) = leases.get(at) else { break };
                    let (done, then) = outcome(&below);
                    here.push(Settle::done(mine.token.clone(), done).then(then.clone()));
                    there.push(Settle::done(models.token.clone(), done).then(then));
                    if below(4) != 0 {
                        leases.swap_remove(at);
                    }
                }
                let (here, there) = (queue.settle(here).await?, model.settle(there).await?);
                ensure!(here == there, "round {round}: settled was {here:?} instead of {there:?}");
            }
            8 => {
                let filter = match below(3) {
                    0 => ParkedFilter::all().group("a"),
                    1 => ParkedFilter::all().record(format!("r{}", below(5))),
                    _ => ParkedFilter::all(),
                };
                let (here, there) = if below(3) == 0 {
                    (queue.discard(&filter).await?, model.discard(&filter).await?)
                } else {
                    (queue.replay(&filter).await?, model.replay(&filter).await?)
                };
                ensure!(here == there, "round {round}: {here} dead letters were taken instead of {there}");
            }
            _ => {
                if below(6) == 0 {
                    let subject = Subject::new(format!("r{}", below(5)));
                    let (here, there) = (queue.purge(&subject).await?, model.purge(&subject).await?);
                    ensure!(here == there, "round {round}: {here} entries were erased instead of {there}");
                }
                let tokens = |of: fn(&(Lease, Lease)) -> &LeaseToken| leases.iter().map(of).cloned().collect::<Vec<_>>();
                let here = queue.extend(&tokens(|pair| &pair.0.token), LONG).await?.len();
                let there = model.extend(&tokens(|pair| &pair.1.token), LONG).await?.len();
                ensure!(here == there, "round {round}: extending lost {here} leases instead of {there}");
            }
        }
        let page = ParkedPage::new(ParkedFilter::all(), 1_000);
        let (here, there) = (queue.parked(&page).await?, model.parked(&page).await?);
        let (seen, expected): (Vec<_>, Vec<_>) = (here.iter().map(dead).collect(), there.iter().map(dead).collect());
        ensure!(seen == expected, "round {round}: the dead letters are {seen:?} instead of {expected:?}");
        let (here, there) = (queue.stats().await?, model.stats().await?);
        let counts = |stats: &crate::queue::QueueStats| (stats.entries, stats.lanes, stats.leased, stats.frozen, stats.parked);
        ensure!(counts(&here) == counts(&there), "round {round}: it counts {:?} instead of {:?}", counts(&here), counts(&there));
    }
    ensure!(ids.len() > 100, "the test itself is lopsided: only {} entries", ids.len());
    Ok(())
}

fn outcome(below: &impl Fn(usize) -> usize) -> (usize, Then) {
    let then = match below(6) {
        0 => Then::Park { entries: 1 + below(2), cause: Cause::new(if below(2) == 0 { "a" } else { "b" }, "x"), freeze: below(3) == 0 },
        1 => Then::Retry { wait: std::time::Duration::ZERO },
        _ => Then::Release,
    };
    (below(4), then)
}

fn leased(lease: &Lease) -> Seen {
    Seen {
        record: lease.token.lane.record.clone(),
        ops: lease.entries.iter().map(|entry| (entry.op.clone(), entry.payload.to_vec(), entry.priority)).collect(),
        counts: (lease.deliveries, lease.attempts),
    }
}

fn dead(parked: &Parked) -> Seen {
    Seen {
        record: parked.lane.record.clone(),
        ops: vec![(parked.entry.op.clone(), parked.entry.payload.to_vec(), parked.entry.priority)],
        counts: (u32::from(parked.froze), parked.attempts),
    }
}
