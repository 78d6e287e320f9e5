//! One batch of lanes: resolve, plan, apply, and how each lane is settled.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use crate::error::{Error, ErrorKind, Result};
use crate::observe::{self, Event};
use crate::pace::Jitter;
use crate::queue::{Cause, Lease, LeaseToken, Settle, Then};
use crate::store::ledger;
use crate::store::overtaken::Overtaken;
use crate::sync::api::{self, Incoming};
use crate::sync::engine::Engine;
use crate::sync::guarantee::Guarantee;
use crate::sync::plan::Action;
use crate::sync::worker::aside::{self, Change, Ended};
use crate::sync::worker::item::WorkItem;
use crate::sync::worker::report::Report;
use crate::sync::worker::shared::Inner;

/// Lanes of one engine.
pub(super) struct Job {
    pub(super) engine: Engine,
    pub(super) leases: Vec<Lease>,
    /// Only the head of each lane, so that an entry that kills its worker is found.
    pub(super) alone: bool,
}

/// What a job led to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) settles: Vec<Settle>,
    pub(super) tokens: Vec<LeaseToken>,
    pub(super) lost: usize,
    counts: Report,
    ended: Vec<Ended>,
}

impl Outcome {
    /// Every lane is given back.
    pub(super) fn released(leases: &[Lease]) -> Self {
        let settles = leases.iter().map(|lease| Settle::release(lease.token.clone())).collect();
        Self { settles, counts: Report { released: leases.len(), ..Report::default() }, ..Self::default() }
    }

    pub(super) fn add_to(self, report: &mut Report) {
        let counts = self.counts;
        report.created += counts.created;
        report.updated += counts.updated;
        report.unchanged += counts.unchanged;
        report.done += counts.done;
        report.parked += counts.parked;
        report.retried += counts.retried;
        report.deferred += counts.deferred;
        report.released += counts.released;
        report.lost += self.lost;
        if report.error.is_none() {
            report.error = counts.error;
        }
    }

    fn done(&mut self, held: &Held) {
        self.counts.done += held.changes.len();
        self.settles.push(Settle::done(held.token.clone(), held.changes.len()));
        if held.marked {
            self.ended.push(Ended { local: held.token.lane.record.clone(), changes: held.changes.clone(), aside: false });
        }
    }

    fn park(&mut self, held: &Held, cause: Cause, freeze: bool) {
        let entries = held.changes.len();
        self.counts.parked += entries;
        self.settles.push(Settle::new(held.token.clone(), Then::Park { entries, cause, freeze }));
        if !freeze {
            self.ended.push(Ended { local: held.token.lane.record.clone(), changes: held.changes.clone(), aside: true });
        }
    }

    fn defer(&mut self, held: &Held, wait: Duration) {
        self.counts.deferred += 1;
        self.settles.push(Settle::new(held.token.clone(), Then::Defer { wait }));
    }
}

/// A lane and the record its entries make.
#[derive(Clone)]
struct Held {
    token: LeaseToken,
    scope: String,
    attempts: u32,
    /// Those of its entries that are in the record.
    changes: Vec<Change>,
    /// Changes of this record are set aside: what is written now overtakes them.
    marked: bool,
    incoming: Incoming,
}

impl Job {
    /// # Errors
    /// Those of the store, about changes that are set aside; nothing is to be settled then.
    pub(super) async fn run(self, worker: &Inner) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let engine = self.engine.clone();
        let locals: Vec<&str> = self.leases.iter().map(|lease| lease.lane().record.as_str()).collect();
        let rows = aside::known(&engine, &locals).await?;
        let held = self.read(worker, &rows, &mut outcome);
        let held = resolve(worker, &engine, held, &mut outcome).await;
        write(worker, &engine, held, &mut outcome).await;
        aside::note(&engine, &outcome.ended).await?;
        Ok(outcome)
    }

    /// The records that the entries make.
    fn read(self, worker: &Inner, rows: &HashMap<String, Overtaken>, outcome: &mut Outcome) -> Vec<Held> {
        let mut held = Vec::with_capacity(self.leases.len());
        for lease in self.leases {
            let Some(head) = lease.entries.first() else { continue };
            let record = &lease.lane().record;
            let row = rows.get(record);
            let mut one = Held {
                token: lease.token.clone(),
                scope: head.scope.clone(),
                attempts: lease.attempts,
                changes: vec![Change::new(head, None)],
                marked: row.is_some(),
                incoming: Incoming::new(record.clone(), crate::model::Fields::new()),
            };
            if lease.deliveries > worker.deliveries {
                let message = format!("it was handed out {} times and nobody came to an end with it", lease.deliveries - 1);
                outcome.park(&one, Cause::new("poison", message), false);
                continue;
            }
            let mut items = Vec::with_capacity(lease.entries.len());
            let mut changes = Vec::with_capacity(lease.entries.len());
            let mut stripped = false;
            let mut broken = None;
            for entry in lease.entries.iter().take(if self.alone { 1 } else { usize::MAX }) {
                match WorkItem::read(entry) {
                    Ok(mut item) => {
                        stripped |= aside::strip(&mut item, entry, row);
                        changes.push(Change::new(entry, Some(&item)));
                        items.push(item);
                    }
                    // Those before it are worked; it is the head then.
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                }
            }
            if let (true, Some(error)) = (items.is_empty(), broken) {
                outcome.park(&one, Cause::of(&error), false);
                continue;
            }
            one.changes = changes;
            one.incoming = WorkItem::merged(record, items);
            if stripped && one.incoming.fields.is_empty() {
                // Every field of it was written anew since.
                outcome.counts.unchanged += 1;
                outcome.done(&one);
            } else {
                held.push(one);
            }
        }
        held
    }
}

/// What an earlier holder left unanswered is answered first. The lanes that can go on.
async fn resolve(worker: &Inner, engine: &Engine, held: Vec<Held>, outcome: &mut Outcome) -> Vec<Held> {
    match resolve_open(worker, engine, &held, outcome).await {
        Ok(free) => held.into_iter().zip(free).filter(|(_, free)| *free).map(|(one, _)| one).collect(),
        Err(error) => {
            let settled: HashSet<&LeaseToken> = outcome.settles.iter().map(|settle| &settle.token).collect();
            let left: Vec<Held> = held.into_iter().filter(|one| !settled.contains(&one.token)).collect();
            fatal(worker, error, &left, outcome);
            Vec::new()
        }
    }
}

async fn resolve_open(worker: &Inner, engine: &Engine, held: &[Held], outcome: &mut Outcome) -> Result<Vec<bool>> {
    let inner = &*engine.inner;
    let locals: Vec<&str> = held.iter().map(|one| one.incoming.id.as_str()).collect();
    let open = ledger::by_local(&*inner.store, inner.connection(), &inner.entity, &locals).await?;
    if open.iter().all(Option::is_none) {
        return Ok(vec![true; held.len()]);
    }
    let now = inner.store.now().await?;
    let mut free = Vec::with_capacity(held.len());
    let mut old = Vec::new();
    for (one, intent) in held.iter().zip(&open) {
        let Some(intent) = intent else {
            free.push(true);
            continue;
        };
        // Whoever opened it may still be about to send it, until his lease must have ended.
        // A moment that has not come yet is one before the clock was set back.
        let age = Duration::try_from(now.duration_since(intent.opened_at)).unwrap_or(Duration::MAX);
        let known = intent.state == ledger::IntentState::Ambiguous;
        match worker.ttl.checked_sub(age).filter(|_| !known) {
            Some(wait) => {
                outcome.defer(one, wait + Duration::from_millis(1));
                free.push(false);
            }
            None => {
                old.push(one.incoming.id.as_str());
                free.push(true);
            }
        }
    }
    if old.is_empty() {
        return Ok(free);
    }
    engine.resolve_records(&old).await?;
    let open = ledger::by_local(&*inner.store, inner.connection(), &inner.entity, &locals).await?;
    for ((one, free), intent) in held.iter().zip(&mut free).zip(open) {
        if *free && intent.is_some() {
            let message =
                "an earlier create got no answer and nobody can tell whether it happened; answer it with Engine::answer, then replay";
            outcome.park(one, Cause::new("ambiguous", message), true);
            *free = false;
        }
    }
    Ok(free)
}

/// Plans and applies; halves what is refused as a whole.
fn write<'a>(worker: &'a Inner, engine: &'a Engine, held: Vec<Held>, outcome: &'a mut Outcome) -> BoxFuture<'a, ()> {
    Box::pin(async move {
        if held.is_empty() {
            return;
        }
        let (left, error) = match write_once(worker, engine, held, outcome).await {
            Ok(()) => return,
            Err(failed) => failed,
        };
        if !is_about_a_record(&error) {
            fatal(worker, error, &left, outcome);
            return;
        }
        if let [one] = left.as_slice() {
            failed(worker, one, &error, outcome);
            return;
        }
        let mut left = left;
        let second = left.split_off(left.len() / 2);
        write(worker, engine, left, outcome).await;
        write(worker, engine, second, outcome).await;
    })
}

/// The lanes that were not settled, and why.
type Failed = (Vec<Held>, Error);

async fn write_once(worker: &Inner, engine: &Engine, held: Vec<Held>, outcome: &mut Outcome) -> std::result::Result<(), Failed> {
    let scopes = scopes_of(&held);
    let told = Told { worker, engine, began: worker.host.monotonic() };
    let incoming: Vec<Incoming> = held.iter().map(|one| one.incoming.clone()).collect();
    let mut plan = match engine.plan(&incoming).await {
        Ok(plan) => plan,
        Err(error) => return Err((held, error)),
    };
    // Whoever holds the lane after the plan was made is the one the plan is good for: a later holder moves the base, which
    // `apply` sees.
    let tokens: Vec<LeaseToken> = held.iter().map(|one| one.token.clone()).collect();
    let lost = match worker.queue.extend(&tokens, worker.ttl).await {
        Ok(lost) => lost,
        Err(error) => return Err((held, error)),
    };
    let mut waiting: HashMap<String, (Held, Action)> = HashMap::with_capacity(held.len());
    let mut kept = Vec::with_capacity(held.len());
    let mut reviews = Vec::new();
    for (row, one) in plan.rows.drain(..).zip(held) {
        if lost.contains(&one.token) {
            outcome.lost += 1;
            continue;
        }
        match row.action {
            Action::Create | Action::Update => drop(waiting.insert(row.local.clone(), (one, row.action))),
            Action::Skip => {
                outcome.counts.unchanged += 1;
                outcome.done(&one);
                told.synced("skip", observe::Outcome::Skipped);
            }
            Action::Invalid => {
                outcome.park(&one, Cause::new("mapping", row.reason.clone()), false);
                told.synced("map", observe::Outcome::Parked);
            }
            Action::Review => reviews.push((row.reason.clone(), one)),
        }
        kept.push(row);
    }
    plan.rows = kept;
    if let Err(error) = review(engine, reviews, outcome).await {
        return Err((waiting.into_values().map(|(one, _)| one).collect(), error));
    }
    let mut failed = None;
    let mut stream = engine.apply(&plan);
    while let Some(item) = stream.next().await {
        match item {
            Ok(applied) => {
                if let Some((one, action)) = waiting.remove(&applied.local) {
                    told.applied(&applied, action);
                    settle(worker, engine, &one, applied.outcome, outcome);
                }
            }
            Err(error) => failed = Some(error),
        }
    }
    drop(stream);
    let left: Vec<Held> = waiting.into_values().map(|(one, _)| one).collect();
    match failed {
        Some(error) => Err((left, error)),
        None => {
            // Not reached: nothing is known to be wrong with them.
            for one in left {
                outcome.counts.released += 1;
                outcome.settles.push(Settle::release(one.token));
            }
            worker.gate().answered(&scopes);
            Ok(())
        }
    }
}

/// Tells the observer how records ended.
struct Told<'a> {
    worker: &'a Inner,
    engine: &'a Engine,
    began: Duration,
}

impl Told<'_> {
    fn synced(&self, operation: &'static str, outcome: observe::Outcome) {
        let elapsed = self.worker.host.monotonic().saturating_sub(self.began);
        self.worker.observer.on(&Event::Synced { entity: self.engine.entity(), operation, outcome, elapsed });
    }

    fn applied(&self, applied: &api::Applied, action: Action) {
        let operation = if action == Action::Create { "create" } else { "update" };
        match &applied.outcome {
            api::Outcome::Created(_) | api::Outcome::Updated(_) => self.synced(operation, observe::Outcome::Succeeded),
            api::Outcome::NotWritten { .. } => self.synced("skip", observe::Outcome::Skipped),
            // Planned anew: it has not ended.
            api::Outcome::Moved => {}
            api::Outcome::Ambiguous(error) => {
                self.worker.observer.on(&Event::Ambiguous { entity: self.engine.entity(), local: &applied.local, error });
                self.synced(operation, observe::Outcome::Failed);
            }
            api::Outcome::Failed(_) => self.synced(operation, observe::Outcome::Failed),
        }
    }
}

/// A record that somebody is writing just now waits; the others are for a person to look at.
async fn review(engine: &Engine, rows: Vec<(String, Held)>, outcome: &mut Outcome) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let inner = &*engine.inner;
    let locals: Vec<&str> = rows.iter().map(|(_, one)| one.incoming.id.as_str()).collect();
    // On an error they are not settled: their leases end by themselves.
    let open = ledger::by_local(&*inner.store, inner.connection(), &inner.entity, &locals).await?;
    for ((reason, one), open) in rows.iter().zip(open) {
        match open {
            Some(_) => outcome.defer(one, Duration::from_secs(1)),
            None => outcome.park(one, Cause::new("review", reason.clone()), false),
        }
    }
    Ok(())
}

fn settle(worker: &Inner, engine: &Engine, one: &Held, done: api::Outcome, outcome: &mut Outcome) {
    match done {
        api::Outcome::Created(_) => {
            outcome.counts.created += 1;
            outcome.done(one);
        }
        api::Outcome::Updated(_) => {
            outcome.counts.updated += 1;
            outcome.done(one);
        }
        api::Outcome::NotWritten { .. } => outcome.done(one),
        // Somebody else wrote the record since: the next round plans anew.
        api::Outcome::Moved => outcome.defer(one, Duration::from_secs(1)),
        api::Outcome::Ambiguous(error) => match engine.inner.guarantee {
            Guarantee::None => outcome.park(one, Cause { kind: "ambiguous".to_owned(), ..Cause::of(&error) }, true),
            _ => outcome.defer(one, engine.inner.search_lag.min(worker.ttl)),
        },
        api::Outcome::Failed(error) => failed(worker, one, &error, outcome),
    }
}

/// Tried again by the policy, or set aside.
fn failed(worker: &Inner, one: &Held, error: &Error, outcome: &mut Outcome) {
    let attempt = one.attempts.saturating_add(1);
    match worker.policy.next_wait_repeatable(error, attempt, Duration::ZERO, worker.host.random()) {
        Some(wait) => {
            outcome.counts.retried += 1;
            outcome.settles.push(Settle::new(one.token.clone(), Then::Retry { wait }));
        }
        // What may pass stops its lane: the changes behind it would meet the same.
        None => outcome.park(one, Cause::of(error), error.is_retryable()),
    }
}

/// Trouble of all: the lanes wait without an attempt spent, and their scopes are skipped.
fn fatal(worker: &Inner, error: Error, left: &[Held], outcome: &mut Outcome) {
    let scopes: Vec<String> = scopes_of(left);
    let mut gate = worker.gate();
    let failures = gate.failures(&scopes).saturating_add(1);
    let credential = matches!(error.kind(), ErrorKind::Authentication | ErrorKind::Permission | ErrorKind::Config);
    let wait = match error.kind() {
        _ if credential => worker.credential_pause,
        _ => match error.retry_after() {
            // Never earlier than the CRM's time; a little later, so that not all come at once.
            Some(hint) => hint.saturating_add(Jitter::Full.apply((hint / 10).min(Duration::from_secs(5)), worker.host.random())),
            None if error.kind() == ErrorKind::QuotaExhausted => worker.credential_pause,
            None => Jitter::Equal.apply(worker.policy.scheduled(failures), worker.host.random()),
        },
    };
    if matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::QuotaExhausted | ErrorKind::Unavailable) {
        gate.throttled();
    }
    gate.pause(&scopes, worker.host.monotonic().saturating_add(wait));
    drop(gate);
    for one in left {
        if credential {
            // Free, but skipped by this worker until its pause is over or it is told to resume.
            outcome.counts.deferred += 1;
            outcome.settles.push(Settle::release(one.token.clone()));
        } else {
            outcome.defer(one, wait);
        }
    }
    outcome.counts.error.get_or_insert(error);
}

/// True if one record of a call may be at fault for the refusal of all.
fn is_about_a_record(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Conflict
            | ErrorKind::Decode
            | ErrorKind::Duplicate
            | ErrorKind::Internal
            | ErrorKind::Mapping
            | ErrorKind::NotFound
            | ErrorKind::Validation
    )
}

fn scopes_of(held: &[Held]) -> Vec<String> {
    held.iter().map(|one| one.scope.clone()).collect::<BTreeSet<_>>().into_iter().collect()
}
