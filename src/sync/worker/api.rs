//! The worker and its rounds.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::{BoxFuture, Either, FutureExt, select};
use futures_util::stream::{self, BoxStream, StreamExt};

use crate::error::{Error, Result};
use crate::model::Entity;
use crate::queue::{Claim, Lease, LeaseToken, ParkedFilter, ParkedPage, Settle, Settled, Then};
use crate::sync::worker::item::WorkItem;
use crate::sync::worker::job::{Job, Outcome};
use crate::sync::worker::report::Report;
use crate::sync::worker::shared::Inner;

/// A lane nobody here has an engine for waits so long for a worker that has one.
const FOREIGN: Duration = Duration::from_secs(30);

/// Brings what waits in a queue to the CRM.
///
/// A round claims lanes, merges the changes of each record, puts records of many lanes into one write call, and settles each
/// lane by what the CRM said. Writes go through [`crate::sync::Engine::plan`] and [`crate::sync::Engine::apply`], so that they
/// are as safe as those: an intent is in the store before each write, and what got no answer is resolved before its record is
/// written again.
///
/// | what happened | what follows |
/// | --- | --- |
/// | written, or nothing to write | done |
/// | refused by the CRM, or not mappable | parked with cause and fields; the lane goes on |
/// | one record locked or busy | tried again by the policy, an attempt spent; parked when there are none left, its lane frozen until it is replayed |
/// | rate limit, quota, outage | the lanes wait and their scope is skipped, no attempt spent; never before the CRM's time |
/// | credential refused | the same, for [`crate::sync::WorkerBuilder::credential_pause`] or until [`Worker::resume`] |
/// | no answer to a create | the lane waits and the resolver looks; without a guarantee it is parked as `ambiguous` and frozen |
/// | a whole call refused | halved until the record at fault stands alone |
/// | handed out again and again | worked alone; parked as `poison` after [`crate::sync::WorkerBuilder::deliveries`] |
///
/// Nothing is spawned: several workers, in one process or many, are several values. A dropped round leaves leases that end by
/// themselves and intents that the next holder resolves.
#[derive(Clone, Debug)]
pub struct Worker {
    pub(super) inner: Arc<Inner>,
}

impl Worker {
    /// One round: claim, work, settle. An idle report if there was nothing to claim.
    ///
    /// # Errors
    /// Those of the queue. What was claimed by then comes back when its leases end.
    pub async fn step(&self) -> Result<Report> {
        self.round(&AtomicBool::new(false)).await
    }

    /// One round, in which no write is begun once `stopping` is set.
    async fn round(&self, stopping: &AtomicBool) -> Result<Report> {
        let inner = &*self.inner;
        let (limit, skipped) = {
            let gate = inner.gate();
            (gate.limit(), gate.paused(inner.host.monotonic()))
        };
        let batch = inner.engines.values().map(|engine| engine.inner.batch_size).max().unwrap_or(1);
        let want = Claim::new(inner.name.clone())
            .lanes(limit.saturating_mul(batch).min(crate::queue::MAX_BATCH))
            .entries(inner.entries)
            .ttl(inner.ttl)
            .skip_scopes(skipped.iter().cloned())
            .kinds([WorkItem::KIND]);
        let leases = inner.queue.claim(&want).await?;
        let mut report = Report { lanes: leases.len(), entries: leases.iter().map(|lease| lease.entries.len()).sum(), ..Report::default() };
        let mut out: HashSet<LeaseToken> = leases.iter().map(|lease| lease.token.clone()).collect();
        let (jobs, foreign) = self.jobs(leases);
        self.settle_foreign(foreign, &mut out, &mut report).await?;
        let mut running = pin!(stream::iter(jobs).map(|job| self.work(job, stopping)).buffer_unordered(limit));
        let mut next = running.next();
        loop {
            // The work is polled first: while it goes on at once no time passes.
            match select(next, inner.host.sleep(inner.ttl / 3).boxed()).await {
                Either::Left((Some(outcome), _)) => {
                    let outcome = outcome?;
                    out.retain(|token| !outcome.tokens.contains(token));
                    outcome.add_to(&mut report);
                    next = running.next();
                }
                Either::Left((None, _)) => break,
                Either::Right(((), still)) => {
                    let tokens: Vec<LeaseToken> = out.iter().cloned().collect();
                    // What was lost is told when it is settled.
                    inner.queue.extend(&tokens, inner.ttl).await?;
                    next = still;
                }
            }
        }
        let gate = inner.gate();
        report.concurrency = gate.limit();
        report.paused = gate.paused(inner.host.monotonic());
        Ok(report)
    }

    /// Rounds until `shutdown` completes, one report each, idle ones too; between idle rounds it waits for a wake-up of the
    /// queue or for [`crate::sync::WorkerBuilder::poll`]. After `shutdown` no write is begun: calls under way are finished and settled, the
    /// other lanes are given back, and the stream ends. An error of the queue is a report too; the next round waits.
    #[must_use = "nothing is done unless the stream is polled"]
    pub fn run<'a>(&'a self, shutdown: impl Future<Output = ()> + Send + 'a) -> BoxStream<'a, Report> {
        struct Life<'a> {
            shutdown: BoxFuture<'a, ()>,
            wakeups: Option<BoxStream<'static, ()>>,
            stopping: Arc<AtomicBool>,
            idle: bool,
            over: bool,
        }
        let life =
            Life { shutdown: shutdown.boxed(), wakeups: self.inner.queue.wakeups(), stopping: Arc::default(), idle: false, over: false };
        stream::unfold(life, move |mut life| async move {
            if life.over {
                return None;
            }
            if life.idle {
                let mut waking = async {
                    match &mut life.wakeups {
                        Some(wakeups) => wakeups.next().map(drop).await,
                        None => std::future::pending().await,
                    }
                }
                .boxed();
                let wait = select(&mut waking, self.inner.host.sleep(self.inner.poll).boxed());
                if let Either::Left(_) = select(&mut life.shutdown, wait).await {
                    return None;
                }
            }
            let stopping = Arc::clone(&life.stopping);
            let mut step = self.round(&stopping).boxed();
            let outcome = match select(&mut life.shutdown, &mut step).await {
                Either::Left(_) => {
                    life.over = true;
                    stopping.store(true, Ordering::SeqCst);
                    step.await
                }
                Either::Right((outcome, _)) => outcome,
            };
            let report = outcome.unwrap_or_else(|error| Report { error: Some(error), ..Report::default() });
            life.idle = report.is_idle();
            Some((report, life))
        })
        .boxed()
    }

    /// Puts dead letters back into their lanes, and lets the engines forget that the CRM refused those records, so that they are
    /// tried again although nothing about them has changed. Answers how many entries.
    ///
    /// A refused entry whose lane went on is an older change than what was written since: replayed, it writes only the fields
    /// that no younger change of its lane has spoken of.
    ///
    /// # Errors
    /// Those of the queue and the stores.
    pub async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        let mut page = ParkedPage::new(which.clone(), 1_000);
        loop {
            let parked = self.inner.queue.parked(&page).await?;
            for ((connection, entity), engine) in &self.inner.engines {
                let of = parked.iter().map(|parked| &parked.lane);
                let locals: Vec<&str> =
                    of.filter(|lane| lane.connection == *connection && lane.entity == *entity).map(|lane| lane.record.as_str()).collect();
                if !locals.is_empty() {
                    engine.unpark(Some(&locals)).await?;
                }
            }
            page.after = parked.last().map(|parked| parked.entry.id);
            if parked.len() < page.limit {
                return self.inner.queue.replay(which).await;
            }
        }
    }

    /// The lanes of a connection go on at once, whatever made them wait: call it when a credential was renewed. Other workers
    /// go on when their pause is over, or are told so too. True if they did wait.
    pub fn resume(&self, scope: &str) -> bool {
        self.inner.gate().resume(scope)
    }

    /// Lanes by engine, in calls of what the CRM takes. Lanes that were handed out before without an end stand alone.
    fn jobs(&self, leases: Vec<Lease>) -> (Vec<Job>, Vec<Lease>) {
        let mut foreign = Vec::new();
        let mut jobs = Vec::new();
        let mut open: HashMap<(String, Entity), Job> = HashMap::new();
        for lease in leases {
            let key = (lease.lane().connection.clone(), lease.lane().entity.clone());
            let Some(engine) = self.inner.engines.get(&key) else {
                foreign.push(lease);
                continue;
            };
            if lease.deliveries > 1 {
                jobs.push(Job { engine: engine.clone(), leases: vec![lease], alone: true });
                continue;
            }
            let job = open.entry(key.clone()).or_insert_with(|| Job { engine: engine.clone(), leases: Vec::new(), alone: false });
            job.leases.push(lease);
            if job.leases.len() >= engine.inner.batch_size
                && let Some(full) = open.remove(&key)
            {
                jobs.push(full);
            }
        }
        jobs.extend(open.into_values());
        (jobs, foreign)
    }

    async fn settle_foreign(&self, leases: Vec<Lease>, out: &mut HashSet<LeaseToken>, report: &mut Report) -> Result<()> {
        let Some(first) = leases.first() else { return Ok(()) };
        let lane = first.lane();
        let message =
            format!("no engine of this worker is for {} of {}; its lanes wait for a worker that has one", lane.entity, lane.connection);
        report.error = Some(Error::config(message));
        report.deferred += leases.len();
        out.retain(|token| !leases.iter().any(|lease| lease.token == *token));
        let outcomes = leases.into_iter().map(|lease| Settle::new(lease.token, Then::Defer { wait: FOREIGN })).collect();
        self.inner.queue.settle(outcomes).await.map(drop)
    }

    /// Works one job and settles it.
    async fn work(&self, job: Job, stopping: &AtomicBool) -> Result<Outcome> {
        let inner = &*self.inner;
        let tokens: Vec<LeaseToken> = job.leases.iter().map(|lease| lease.token.clone()).collect();
        // Another job of this round may have been told to wait.
        let paused = inner.gate().paused(inner.host.monotonic());
        let waits = job.leases.iter().flat_map(|lease| &lease.entries).any(|entry| paused.contains(&entry.scope));
        let mut outcome = if waits || stopping.load(Ordering::SeqCst) { Outcome::released(&job.leases) } else { job.run(inner).await? };
        outcome.tokens = tokens;
        let settled = inner.queue.settle(std::mem::take(&mut outcome.settles)).await?;
        outcome.lost += settled.iter().filter(|settled| **settled == Settled::LeaseLost).count();
        Ok(outcome)
    }
}
