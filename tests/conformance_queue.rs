//! The queues of this crate pass the common list, and a queue that breaks a rule does not.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::conformance::queue::{self, QueueBench};
use crm_sync::error::Result;
use crm_sync::host::{Host, ManualClock};
use crm_sync::queue::{
    Claim, Enqueued, Lane, Lease, LeaseToken, MemoryQueue, NewEntry, OP_WINDOW, Parked, ParkedFilter, ParkedPage, Queue, QueueCapabilities,
    QueueStats, Settle, Settled, Subject, Then,
};
use jiff::Timestamp;

#[derive(Debug)]
struct Memory {
    host: Host,
    clock: Arc<ManualClock>,
    fault: Option<Fault>,
}

impl Memory {
    fn new(fault: Option<Fault>) -> Self {
        let (host, clock) = Host::manual_with_clock(1);
        Self { host, clock, fault }
    }
}

#[async_trait]
impl QueueBench for Memory {
    async fn queue(&self) -> Result<Arc<dyn Queue>> {
        let inner = MemoryQueue::new(self.host.clone());
        Ok(match self.fault {
            None => Arc::new(inner),
            Some(fault) => Arc::new(Broken { inner, fault, held: Mutex::default(), count: AtomicU64::new(0) }),
        })
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }

    fn op_window(&self) -> Option<Duration> {
        Some(OP_WINDOW)
    }
}

#[tokio::test]
async fn the_memory_queue_passes() {
    let report = queue::all(&Memory::new(None)).await;
    assert!(report.is_ok() && report.skipped.is_empty(), "{report}");
    println!("{report}");
}

/// One rule broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    AttemptsOfDeferrals,
    DeliversBeforeTime,
    DropsDeadLetters,
    FencesBeginAnew,
    ForgetsOpIds,
    ForgetsPriority,
    HandsOutSkippedScopes,
    JoinsNothing,
    KindsMixedUp,
    LosesLastOfBatch,
    LosesOrder,
    LosesPayload,
    NeverFreezes,
    NeverLetsGo,
    PurgeKeepsDeadLetters,
    ReplaysAtTheEnd,
    SaysExtended,
    SettlesWithoutToken,
    SilentAboutWakeups,
    StatisticsOfNothing,
    TakesAnySize,
    TwoLeases,
}

/// The queue in memory with a fault.
#[derive(Debug)]
struct Broken {
    inner: MemoryQueue,
    fault: Fault,
    held: Mutex<HashMap<Lane, LeaseToken>>,
    count: AtomicU64,
}

impl Broken {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

#[async_trait]
impl Queue for Broken {
    async fn enqueue(&self, mut entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        let count = entries.len();
        for entry in &mut entries {
            match self.fault {
                Fault::ForgetsOpIds => entry.op = format!("{}#{}", entry.op, self.count.fetch_add(1, Ordering::SeqCst)),
                Fault::ForgetsPriority => entry.priority = Default::default(),
                Fault::DeliversBeforeTime => entry.not_before = None,
                Fault::LosesPayload => entry.payload = entry.payload.slice(..entry.payload.len().min(1000)),
                Fault::TakesAnySize => entry.payload.truncate(100),
                Fault::JoinsNothing => entry.coalesce = None,
                Fault::KindsMixedUp => entry.kind = String::new(),
                _ => {}
            }
        }
        if self.is(Fault::LosesLastOfBatch) && count > 1 {
            entries.pop();
        }
        let mut outcomes = self.inner.enqueue(entries).await?;
        outcomes.extend(outcomes.last().copied().filter(|_| outcomes.len() < count));
        Ok(outcomes)
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        let mut want = want.clone();
        if self.is(Fault::HandsOutSkippedScopes) {
            want.skip_scopes.clear();
        }
        if self.is(Fault::NeverLetsGo) {
            want.ttl = Duration::from_secs(3600);
        }
        if self.is(Fault::TwoLeases) {
            want.ttl = Duration::ZERO;
        }
        let mut leases = self.inner.claim(&want).await?;
        for lease in &mut leases {
            self.held.lock().unwrap().insert(lease.token.lane.clone(), lease.token.clone());
            match self.fault {
                Fault::LosesOrder => lease.entries.reverse(),
                Fault::FencesBeginAnew => lease.token.fence = 1,
                _ => {}
            }
        }
        Ok(leases)
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        let lost = self.inner.extend(leases, ttl).await?;
        Ok(if self.is(Fault::SaysExtended) { Vec::new() } else { lost })
    }

    async fn settle(&self, mut outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        for outcome in &mut outcomes {
            match (self.fault, &mut outcome.then) {
                (Fault::SettlesWithoutToken | Fault::FencesBeginAnew, _) => {
                    if let Some(token) = self.held.lock().unwrap().get(&outcome.token.lane) {
                        outcome.token = token.clone();
                    }
                }
                (Fault::NeverFreezes, Then::Park { freeze, .. }) => *freeze = false,
                (Fault::AttemptsOfDeferrals, Then::Defer { wait }) => outcome.then = Then::Retry { wait: *wait },
                (Fault::DropsDeadLetters, Then::Park { entries, .. }) => {
                    outcome.done += *entries;
                    outcome.then = Then::Release;
                }
                _ => {}
            }
        }
        self.inner.settle(outcomes).await
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        self.inner.parked(page).await
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        if !self.is(Fault::ReplaysAtTheEnd) {
            return self.inner.replay(which).await;
        }
        let parked = self.inner.parked(&ParkedPage::new(which.clone(), 1000)).await?;
        self.inner.discard(which).await?;
        let count = parked.len() as u64;
        let again = parked.into_iter().map(|parked| {
            let op = format!("{}#{}", parked.entry.op, self.count.fetch_add(1, Ordering::SeqCst));
            NewEntry::new(parked.lane, op, parked.entry.payload)
        });
        self.inner.enqueue(again.collect()).await?;
        Ok(count)
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        self.inner.discard(which).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        let stats = self.inner.stats().await?;
        Ok(if self.is(Fault::StatisticsOfNothing) { QueueStats::new(stats.now) } else { stats })
    }

    async fn purge(&self, subject: &Subject) -> Result<u64> {
        if self.is(Fault::PurgeKeepsDeadLetters) {
            return Ok(0);
        }
        self.inner.purge(subject).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }

    fn wakeups(&self) -> Option<futures_util::stream::BoxStream<'static, ()>> {
        let stream = self.inner.wakeups()?;
        Some(if self.is(Fault::SilentAboutWakeups) { Box::pin(futures_util::stream::pending()) } else { stream })
    }
}

#[tokio::test]
async fn a_queue_that_breaks_a_rule_fails_the_test_of_that_rule() {
    let cases = [
        (Fault::AttemptsOfDeferrals, "deferrals_count_no_attempt"),
        (Fault::DeliversBeforeTime, "entries_wait_for_their_time"),
        (Fault::DropsDeadLetters, "parked_entries_leave_their_lane"),
        (Fault::FencesBeginAnew, "fences_grow_for_ever"),
        (Fault::ForgetsOpIds, "op_ids_are_enqueued_once"),
        (Fault::ForgetsPriority, "claims_come_by_priority_then_age"),
        (Fault::HandsOutSkippedScopes, "scopes_are_skipped"),
        (Fault::JoinsNothing, "entries_join_as_they_say"),
        (Fault::KindsMixedUp, "kinds_are_selected"),
        (Fault::LosesLastOfBatch, "large_batches_work"),
        (Fault::LosesOrder, "lanes_keep_their_order"),
        (Fault::LosesPayload, "entries_come_back"),
        (Fault::NeverFreezes, "frozen_lanes_stand_still"),
        (Fault::NeverLetsGo, "leases_end_by_themselves"),
        (Fault::PurgeKeepsDeadLetters, "subjects_are_erased"),
        (Fault::ReplaysAtTheEnd, "replayed_entries_take_their_place"),
        (Fault::SaysExtended, "extended_leases_hold"),
        (Fault::SettlesWithoutToken, "stale_tokens_change_nothing"),
        (Fault::SilentAboutWakeups, "wakeups_come"),
        (Fault::StatisticsOfNothing, "statistics_count"),
        (Fault::TakesAnySize, "bad_entries_are_refused"),
        (Fault::TwoLeases, "one_lease_per_lane"),
    ];
    for (fault, test) in cases {
        let report = queue::all(&Memory::new(Some(fault))).await;
        assert!(report.has_failed(test), "{fault:?} was not found by {test}: {report}");
    }
}
