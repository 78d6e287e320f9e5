//! Carrying a plan out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use crate::adapter::{BulkOp, WriteOptions, Written};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{ExternalKey, Fields, Link, RecordId};
use crate::store::{Batch, base, ledger, links, own, parked};
use crate::sync::api::{Applied, Outcome};
use crate::sync::engine::{Engine, Inner};
use crate::sync::guarantee::Guarantee;
use crate::sync::plan::{Action, Plan, PlanRow, Way};
use crate::sync::planner::{doubt, seen};

impl Engine {
    /// Writes what the plan says, as a stream with one item per record written (creates first, then updates).
    ///
    /// Each chunk is: intents into the store, one write call (or one job of the CRM, whose ticket is stored before it begins),
    /// results into the store. A record the CRM refuses is an item of
    /// the stream; what concerns all of them (no credential, no connection, no allowance, no store) is the stream's last item,
    /// as an error, and what was not sent by then stays for the next run (with several calls in flight, those under way are
    /// still reported). Dropping the stream is safe at any time: a write that was under way is an open intent, which
    /// [`Engine::resolve`] answers.
    ///
    /// Rows whose record was written by somebody else since the plan was made come back as [`Outcome::Moved`].
    pub fn apply<'a>(&'a self, plan: &'a Plan) -> BoxStream<'a, Result<Applied>> {
        let inner = &*self.inner;
        let of = |action: Action| plan.rows.iter().filter(move |row| row.action == action).collect::<Vec<_>>();
        let mut chunks: Vec<(Way, Vec<&PlanRow>)> = Vec::new();
        for (way, rows) in [(plan.creates, of(Action::Create)), (plan.updates, of(Action::Update))] {
            chunks.extend(rows.chunks(way.size().max(1)).map(|rows| (way, rows.to_vec())));
        }
        let known = of(Action::Skip).into_iter().filter(|row| !row.hash.is_empty()).collect::<Vec<_>>();
        let remember = stream::once(async move { inner.remember(plan, &known).await }).map_ok(|()| (Vec::new(), None));
        // Once a chunk has failed no other one is begun, even if the stream is polled on.
        let failed = Arc::new(AtomicBool::new(false));
        let begin = Arc::clone(&failed);
        let write = stream::iter(chunks)
            .take_while(move |_| std::future::ready(!begin.load(Ordering::Relaxed)))
            .map(move |(way, rows)| async move { inner.write(plan, way, &rows).await })
            .buffered(inner.in_flight);
        remember
            .chain(write)
            .inspect(move |chunk| {
                if !matches!(chunk, Ok((_, None))) {
                    failed.store(true, Ordering::Relaxed);
                }
            })
            .map_ok(|(applied, fatal): Chunk| stream::iter(applied.into_iter().map(Ok).chain(fatal.map(Err))))
            .try_flatten()
            .boxed()
    }
}

/// What was done, and the error that ends the run.
type Chunk = (Vec<Applied>, Option<Error>);

/// The state of one record of a chunk.
pub(super) enum State {
    Done(Outcome),
    Waiting,
}

/// What sending a chunk led to, row by row.
pub(super) struct Sent {
    pub(super) states: Vec<State>,
    /// A try got no answer, so the CRM may hold what was sent although the row was not done.
    pub(super) unsure: Vec<bool>,
    /// Trouble that concerns every record.
    pub(super) fatal: Option<Error>,
}

impl Inner {
    /// Links and bases of records that need no write, where the store still is what the plan was made on.
    async fn remember(&self, plan: &Plan, rows: &[&PlanRow]) -> Result<()> {
        for chunk in rows.chunks(self.batch_size) {
            let mut again = true;
            while let Err(error) = self.remember_chunk(plan, chunk).await {
                // Another process remembers the same rows; the second look leaves out what it has done.
                if error.kind() != ErrorKind::Conflict || !std::mem::take(&mut again) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn remember_chunk(&self, plan: &Plan, rows: &[&PlanRow]) -> Result<()> {
        let now = self.store.now().await?;
        let locals: Vec<&str> = rows.iter().map(|row| row.local.as_str()).collect();
        let bases = base::get_many(&*self.store, self.connection(), &self.entity, &locals).await?;
        let known = links::by_local(&*self.store, self.connection(), &self.entity, &locals).await?;
        let mut batch = Batch::default();
        for ((row, base), link) in rows.iter().zip(bases).zip(known) {
            let Some(remote) = &row.remote else { continue };
            if base.as_ref().map(seen) == row.seen && link.is_some() == row.linked {
                self.keep(&mut batch, plan, row, (remote, base.as_ref()), now)?;
            }
        }
        if !batch.is_empty() {
            self.store.commit(batch).await?;
        }
        Ok(())
    }

    /// Puts link and base of a written row into `batch`.
    ///
    /// Fields of the base that the row does not speak of stay: the CRM still holds what was agreed about them.
    fn keep(
        &self,
        batch: &mut Batch,
        plan: &Plan,
        row: &PlanRow,
        (remote, old): (&RecordId, Option<&base::Base>),
        now: jiff::Timestamp,
    ) -> Result<()> {
        if !row.linked {
            let link = Link { local: row.local.clone(), entity: self.entity.clone(), remote: remote.clone() };
            links::put(batch, self.connection(), &link)?;
        }
        let mut fields = row.mapped.clone();
        let mut local = Fields::new();
        if let Some(old) = old {
            for (name, value) in &old.fields {
                if fields.get(name).is_none() {
                    fields.insert(name, value.clone());
                    if let Some(said) = old.local.get(name) {
                        local.insert(name, said.clone());
                    }
                }
            }
        }
        let kept =
            base::Base { fields, local, version: None, mapping: plan.mapping.clone(), source_hash: row.hash.clone(), checked_at: now };
        base::put(batch, self.connection(), &self.entity, &row.local, &kept)
    }

    /// Commits an intent for each row. A row that somebody else is writing is left out, as moved.
    async fn open<'p>(&self, plan: &Plan, rows: &[&'p PlanRow]) -> Result<(Vec<(&'p PlanRow, ledger::Intent)>, Vec<Applied>)> {
        let (store, connection) = (&*self.store, self.connection());
        let mut rows = rows.to_vec();
        let mut moved = Vec::new();
        while !rows.is_empty() {
            let now = store.now().await?;
            let mut opened = Vec::with_capacity(rows.len());
            let mut batch = Batch::default();
            for row in &rows {
                let intent = self.intent(plan, row, now)?;
                ledger::open(&mut batch, connection, &intent)?;
                if !row.marks.is_empty() {
                    own::put(&mut batch, connection, &self.entity, &row.local, &row.marks, now)?;
                }
                opened.push((*row, intent));
            }
            let error = match store.commit(batch).await {
                Ok(_) => return Ok((opened, moved)),
                Err(error) => error,
            };
            let Some(blocked) = ledger::blocked_by(&error).filter(|local| rows.iter().any(|row| row.local == *local)) else {
                return Err(error);
            };
            let locals: Vec<&str> = rows.iter().map(|row| row.local.as_str()).collect();
            let open = ledger::by_local(store, connection, &self.entity, &locals).await?;
            let free = rows.iter().zip(open).filter(|(row, open)| open.is_none() && row.local != blocked).map(|(row, _)| *row).collect();
            for row in std::mem::replace(&mut rows, free) {
                if !rows.iter().any(|kept| kept.local == row.local) {
                    moved.push(Applied { local: row.local.clone(), outcome: Outcome::Moved });
                }
            }
        }
        Ok((Vec::new(), moved))
    }

    pub(super) async fn write(&self, plan: &Plan, way: Way, rows: &[&PlanRow]) -> Result<Chunk> {
        let (store, connection) = (&*self.store, self.connection());
        let (opened, mut applied) = self.open(plan, rows).await?;
        if opened.is_empty() {
            return Ok((applied, None));
        }

        // While our intents are open nobody else writes these records: what is read now holds until they are closed.
        let locals: Vec<&str> = opened.iter().map(|(row, _)| row.local.as_str()).collect();
        let bases = base::get_many(store, connection, &self.entity, &locals).await?;
        let known = links::by_local(store, connection, &self.entity, &locals).await?;
        let mut sent: Vec<(&PlanRow, ledger::Intent)> = Vec::with_capacity(rows.len());
        let mut olds: Vec<Option<base::Base>> = Vec::with_capacity(rows.len());
        let mut batch = Batch::default();
        for (((row, intent), base), link) in opened.into_iter().zip(bases).zip(known) {
            if base.as_ref().map(seen) == row.seen && link.is_some() == row.linked {
                sent.push((row, intent));
                olds.push(base);
            } else {
                ledger::close(&mut batch, connection, &intent)?;
                applied.push(Applied { local: row.local.clone(), outcome: Outcome::Moved });
            }
        }
        if !batch.is_empty() {
            store.commit(batch).await?;
        }
        if sent.is_empty() {
            return Ok((applied, None));
        }

        let Sent { states, unsure, fatal } = match way {
            Way::Jobs { .. } => self.send_job(&mut sent).await?,
            Way::Batches { .. } | Way::Rows => self.send(&sent).await?,
        };

        let now = store.now().await?;
        let mut batch = Batch::default();
        for ((((row, intent), old), state), unsure) in sent.iter().zip(&olds).zip(states).zip(unsure) {
            if unsure && !matches!(state, State::Done(Outcome::Created(_) | Outcome::Updated(_))) {
                // What the store knows may be older than the record now.
                base::put(&mut batch, connection, &self.entity, &row.local, &doubt(intent, old.as_ref(), now))?;
            }
            let outcome = match state {
                State::Done(outcome) => outcome,
                // Nothing was written: the next plan has the row again.
                State::Waiting => {
                    ledger::close(&mut batch, connection, intent)?;
                    continue;
                }
            };
            match &outcome {
                Outcome::Created(id) | Outcome::Updated(id) => {
                    self.keep(&mut batch, plan, row, (id, old.as_ref()), now)?;
                    if row.action == Action::Create && matches!(outcome, Outcome::Updated(_)) {
                        // The record was there already, perhaps with fields that were not sent now.
                        base::put(&mut batch, connection, &self.entity, &row.local, &doubt(intent, old.as_ref(), now))?;
                    }
                    ledger::close(&mut batch, connection, intent)?;
                    parked::remove(&mut batch, connection, &self.entity, &row.local);
                }
                Outcome::Ambiguous(_) => ledger::mark_ambiguous(&mut batch, connection, intent)?,
                Outcome::Failed(error) => {
                    ledger::close(&mut batch, connection, intent)?;
                    if !error.is_retryable() {
                        // Asking again with the same data gets the same answer; the plan shows it as a row for review. So it is with
                        // a record that was deleted in the CRM: it is not brought back, a person decides.
                        let refusal = parked::Parked {
                            source_hash: row.hash.clone(),
                            kind: error.kind().as_str().to_owned(),
                            code: error.code().map(str::to_owned),
                            fields: error.fields().iter().map(|field| field.field.clone()).collect(),
                            at: now,
                        };
                        parked::put(&mut batch, connection, &self.entity, &row.local, &refusal)?;
                    }
                }
                Outcome::Moved | Outcome::NotWritten { .. } => ledger::close(&mut batch, connection, intent)?,
            }
            applied.push(Applied { local: row.local.clone(), outcome });
        }
        store.commit(batch).await?;
        Ok((applied, fatal))
    }

    fn intent(&self, plan: &Plan, row: &PlanRow, now: jiff::Timestamp) -> Result<ledger::Intent> {
        let key = match &self.guarantee {
            Guarantee::None => None,
            other => other.field().map(|field| ExternalKey::new(field, row.local.as_str())).transpose()?,
        };
        Ok(ledger::Intent {
            op: self.host.new_id(),
            entity: self.entity.clone(),
            local: row.local.clone(),
            kind: match (row.action, self.guarantee.is_keyed()) {
                (Action::Update, _) => ledger::IntentKind::Update,
                (_, true) => ledger::IntentKind::Upsert,
                (_, false) => ledger::IntentKind::Create,
            },
            key,
            remote: row.remote.clone(),
            fields_hash: row.hash.clone(),
            mapping: plan.mapping.clone(),
            opened_at: now,
            state: ledger::IntentState::Open,
            job: None,
        })
    }

    pub(super) fn op(&self, row: &PlanRow) -> Result<BulkOp> {
        if let (Action::Update, Some(id)) = (row.action, &row.remote) {
            let mut fields = row.fields.clone();
            // A record that was not ours carries our key from now on.
            if !row.linked
                && let Some(key) = self.guarantee.field()
            {
                fields.insert(key, row.local.as_str());
            }
            return Ok(BulkOp::Update { id: id.clone(), fields });
        }
        Ok(match &self.guarantee {
            Guarantee::Keyed { field } => {
                BulkOp::Upsert { key: ExternalKey::new(field.as_str(), row.local.as_str())?, fields: row.fields.clone() }
            }
            Guarantee::Probed { field } | Guarantee::ProbedWithLag { field } => {
                let mut fields: Fields = row.fields.clone();
                fields.insert(field, row.local.as_str());
                BulkOp::Create { fields }
            }
            Guarantee::None => BulkOp::Create { fields: row.fields.clone() },
        })
    }

    /// Sends the rows, repeating what may be repeated. An error is one that concerns every record.
    pub(super) async fn send(&self, sent: &[(&PlanRow, ledger::Intent)]) -> Result<Sent> {
        let mut states: Vec<State> = sent.iter().map(|_| State::Waiting).collect();
        let mut unsure = vec![false; states.len()];
        let started = self.host.monotonic();
        let mut attempt = 1;
        loop {
            let waiting: Vec<usize> =
                states.iter().enumerate().filter(|(_, state)| matches!(state, State::Waiting)).map(|(at, _)| at).collect();
            let rows: Vec<&PlanRow> = waiting.iter().filter_map(|at| sent.get(*at)).map(|(row, _)| *row).collect();
            let Some(first) = rows.first() else { return Ok(Sent { states, unsure, fatal: None }) };
            // Updates write absolute values and keyed creates name their record: both may be repeated.
            let repeatable = first.action == Action::Update || self.guarantee.is_keyed();
            let ops = rows.iter().map(|row| self.op(row)).collect::<Result<Vec<_>>>()?;
            let guarded = rows.iter().any(|row| row.expected.is_some());
            let answer = if guarded {
                self.send_guarded(&rows, &ops).await
            } else {
                self.adapter.bulk(&self.entity, &ops, &WriteOptions::new()).await
            };
            let answer = answer.and_then(|outcomes| {
                if outcomes.len() == ops.len() {
                    Ok(outcomes)
                } else {
                    let message = format!("{} outcomes came for {} operations", outcomes.len(), ops.len());
                    Err(Error::decode(message).during("bulk").on(&self.entity).ambiguous())
                }
            });
            let mut wait: Option<Duration> = None;
            let mut fatal: Option<Error> = None;
            let elapsed = self.host.monotonic().saturating_sub(started);
            let random = self.host.random();
            // One call more is one retry, however many rows are in it.
            let mut paid: Option<bool> = None;
            let mut again = |error: &Error| {
                let wait = if repeatable {
                    self.policy.next_wait_repeatable(error, attempt, elapsed, random)
                } else {
                    self.policy.next_wait(error, attempt, elapsed, random)
                }?;
                let pay = || self.budget.as_ref().is_none_or(|budget| budget.spend(error).is_some());
                paid.get_or_insert_with(pay).then_some(wait)
            };
            match answer {
                Ok(outcomes) => {
                    if let Some(budget) = &self.budget {
                        budget.give_back(1);
                    }
                    for (at, outcome) in waiting.iter().zip(outcomes) {
                        if outcome.as_ref().is_err_and(Error::may_have_applied) {
                            note(&mut unsure, *at);
                        }
                        let next = match outcome {
                            Ok(written) => State::Done(success(first.action, written)),
                            // Somebody wrote the record since it was read.
                            Err(error) if guarded && error.kind() == ErrorKind::Conflict => State::Done(Outcome::Moved),
                            Err(error) => match again(&error).or_else(|| lost_race(&error, repeatable, attempt)) {
                                Some(needed) => {
                                    wait = Some(wait.map_or(needed, |longest| longest.max(needed)));
                                    State::Waiting
                                }
                                None if error.may_have_applied() && !repeatable => State::Done(Outcome::Ambiguous(error)),
                                None if concerns_all(&error) => {
                                    fatal = Some(error);
                                    State::Waiting
                                }
                                None => State::Done(Outcome::Failed(error)),
                            },
                        };
                        if let Some(state) = states.get_mut(*at) {
                            *state = next;
                        }
                    }
                    match (fatal, wait) {
                        (None, Some(wait)) => self.host.sleep(wait).await,
                        (fatal, _) => return Ok(Sent { states, unsure, fatal }),
                    }
                }
                Err(error) => {
                    if error.may_have_applied() {
                        waiting.iter().for_each(|at| note(&mut unsure, *at));
                    }
                    match again(&error) {
                        Some(wait) => self.host.sleep(wait).await,
                        None if error.may_have_applied() && !repeatable => {
                            for at in waiting {
                                if let Some(state) = states.get_mut(at) {
                                    *state = State::Done(Outcome::Ambiguous(error.echo()));
                                }
                            }
                            return Ok(Sent { states, unsure, fatal: None });
                        }
                        None => return Ok(Sent { states, unsure, fatal: Some(error) }),
                    }
                }
            }
            attempt += 1;
        }
    }
}

impl Inner {
    /// One call for each row, refused by the CRM if the record no longer has the version that was read.
    async fn send_guarded(&self, rows: &[&PlanRow], ops: &[BulkOp]) -> Result<Vec<Result<Written>>> {
        let mut outcomes = Vec::with_capacity(ops.len());
        for (row, op) in rows.iter().zip(ops) {
            outcomes.push(match (op, &row.expected) {
                (BulkOp::Update { id, fields }, Some(version)) => {
                    self.adapter.update(&self.entity, id, fields, &WriteOptions::new().if_version(version.clone())).await
                }
                (op, _) => {
                    let one = self.adapter.bulk(&self.entity, std::slice::from_ref(op), &WriteOptions::new()).await;
                    one.and_then(|mut one| {
                        one.pop().unwrap_or_else(|| Err(Error::decode("no outcome came for an operation").during("bulk")))
                    })
                }
            });
        }
        Ok(outcomes)
    }
}

pub(super) fn note(unsure: &mut [bool], at: usize) {
    if let Some(unsure) = unsure.get_mut(at) {
        *unsure = true;
    }
}

pub(super) fn success(action: Action, written: Written) -> Outcome {
    match (action, written.created) {
        (Action::Create, Some(false)) | (Action::Update, _) => Outcome::Updated(written.id),
        _ => Outcome::Created(written.id),
    }
}

/// True for trouble that is not about the record: the next record would meet it too, and none of them is at fault.
fn concerns_all(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Authentication
        | ErrorKind::Cancelled
        | ErrorKind::Config
        | ErrorKind::Decode
        | ErrorKind::Internal
        | ErrorKind::Network
        | ErrorKind::QuotaExhausted
        | ErrorKind::Store
        | ErrorKind::Timeout => true,
        // Within an answer of 2xx it is one row that was locked or busy.
        ErrorKind::RateLimited | ErrorKind::Unavailable => error.status().is_some_and(|status| !status.is_success()),
        _ => false,
    }
}

/// Two first upserts of one key race; the loser is told that the value is taken, and updates when it tries again.
fn lost_race(error: &Error, repeatable: bool, attempt: u32) -> Option<Duration> {
    (repeatable && attempt == 1 && error.kind() == ErrorKind::Duplicate).then_some(Duration::ZERO)
}
