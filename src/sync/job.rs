//! Writes that go to the CRM as a job.
//!
//! A job is handed over first and begins later. In between its ticket is committed with the intents of its records, so that
//! whoever comes after a crash finds the job and its outcomes instead of guessing.

use std::collections::BTreeMap;

use crate::adapter::{BulkOp, BulkOutcome, JobTicket, WriteOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{Fields, Link};
use crate::store::{Batch, base, ledger, links};
use crate::sync::api::{Outcome, Resolved};
use crate::sync::apply::{Sent, State, note, success};
use crate::sync::engine::Inner;
use crate::sync::plan::{Action, PlanRow, Way};
use crate::sync::planner::doubt;

impl Inner {
    /// The way for `count` writes. `left` is what remains of the allowance of calls, if known: where single calls or batches would
    /// take more than that, a job is chosen although it is slower.
    pub(super) fn way(&self, action: Action, count: usize, left: Option<u64>) -> Way {
        let direct = if self.adapter.capabilities().bulk { Way::Batches { size: self.batch_size } } else { Way::Rows };
        let operation = match action {
            Action::Update => "update",
            // Without a key the outcomes of a job could not be told apart.
            _ if self.guarantee.is_keyed() => "upsert",
            _ => return direct,
        };
        let Some(terms) = self.adapter.job_terms(&self.entity, operation) else { return direct };
        let job = Way::Jobs { size: terms.most.max(1), calls: terms.calls };
        let from = self.jobs_from.unwrap_or(terms.from);
        let spent = |way: Way| left.is_some_and(|left| way.calls(count) > left);
        let never = self.jobs_from == Some(usize::MAX);
        if count > 0 && !never && (count >= from || (spent(direct) && !spent(job) && job.calls(count) < direct.calls(count))) {
            job
        } else {
            direct
        }
    }

    /// Sends the rows as one job. What the job did not reach, or does not speak of, is sent again in calls.
    pub(super) async fn send_job(&self, sent: &mut Vec<(&PlanRow, ledger::Intent)>) -> Result<Sent> {
        let count = sent.len();
        let mut states: Vec<State> = sent.iter().map(|_| State::Waiting).collect();
        let mut unsure = vec![false; count];
        let ops = sent.iter().map(|(row, _)| self.op(row)).collect::<Result<Vec<_>>>()?;
        let options = WriteOptions::new();
        let opened = self.reading(|| self.adapter.open_job(&self.entity, &ops, &options)).await;
        let ticket = match opened {
            Ok(ticket) => ticket,
            // Nothing was begun, so nothing was written.
            Err(error) => return Ok(Sent { states, unsure, fatal: Some(error.not_applied()) }),
        };
        let mut batch = Batch::default();
        for (_, intent) in sent.iter_mut() {
            intent.job = Some(ticket.as_str().to_owned());
            ledger::mark_job(&mut batch, self.connection(), intent, ticket.as_str())?;
        }
        self.store.commit(batch).await?;

        let outcomes = match self.reading(|| self.adapter.run_job(&self.entity, &ticket, &ops, true)).await {
            Ok(outcomes) if outcomes.len() == count => outcomes,
            // The job goes on without us; `resolve` finds it by its ticket.
            failed => {
                let error = failed.err().unwrap_or_else(|| {
                    Error::decode(format!("a job of {count} operations came back with another number of outcomes")).during("run_job")
                });
                for state in &mut states {
                    *state = State::Done(Outcome::Ambiguous(error.echo().ambiguous()));
                }
                return Ok(Sent { states, unsure: vec![true; count], fatal: Some(error) });
            }
        };
        let mut again: Vec<usize> = Vec::new();
        for (at, (outcome, (row, _))) in outcomes.into_iter().zip(sent.iter()).enumerate() {
            if outcome.as_ref().is_err_and(Error::may_have_applied) {
                note(&mut unsure, at);
            }
            let state = match outcome {
                Ok(written) => State::Done(success(row.action, written)),
                Err(error) if error.is_retryable() || error.may_have_applied() => {
                    again.push(at);
                    State::Waiting
                }
                Err(error) => State::Done(Outcome::Failed(error)),
            };
            if let Some(slot) = states.get_mut(at) {
                *slot = state;
            }
        }
        for part in again.chunks(self.batch_size) {
            let rows: Vec<(&PlanRow, ledger::Intent)> = part.iter().filter_map(|at| sent.get(*at)).cloned().collect();
            let rest = self.send(&rows).await?;
            for ((at, state), doubtful) in part.iter().zip(rest.states).zip(rest.unsure) {
                if doubtful {
                    note(&mut unsure, *at);
                }
                if let Some(slot) = states.get_mut(*at) {
                    *slot = state;
                }
            }
            if rest.fatal.is_some() {
                return Ok(Sent { states, unsure, fatal: rest.fatal });
            }
        }
        Ok(Sent { states, unsure, fatal: None })
    }

    /// Answers the intents that are part of jobs by what became of the jobs. A job that never began is given up: its values may
    /// be of long ago. Returns the intents that remain: those of no job, and those of jobs the CRM does not know any more.
    pub(super) async fn resolve_jobs(&self, intents: Vec<ledger::Intent>, resolved: &mut Resolved) -> Result<Vec<ledger::Intent>> {
        let mut rest = Vec::new();
        let mut jobs: BTreeMap<String, Vec<ledger::Intent>> = BTreeMap::new();
        for intent in intents {
            match intent.job.clone().filter(|_| operation(&intent).is_some()) {
                Some(ticket) => jobs.entry(ticket).or_default().push(intent),
                None => rest.push(intent),
            }
        }
        for (ticket, intents) in jobs {
            let ticket = JobTicket::new(ticket);
            let ops: Vec<BulkOp> = intents.iter().filter_map(operation).collect();
            let outcomes = match self.reading(|| self.adapter.run_job(&self.entity, &ticket, &ops, false)).await {
                Ok(outcomes) if outcomes.len() == ops.len() => outcomes,
                Ok(_) => return Err(Error::decode("a job came back with another number of outcomes").during("run_job").on(&self.entity)),
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => {
                    rest.extend(intents);
                    continue;
                }
                // As long as the job may write, nobody else should.
                Err(error) => return Err(error),
            };
            let mut outcomes = outcomes.into_iter();
            for intents in intents.chunks(self.batch_size) {
                let outcomes: Vec<BulkOutcome> = outcomes.by_ref().take(intents.len()).collect();
                self.settle_jobs(intents, outcomes, resolved, &mut rest).await?;
            }
        }
        Ok(rest)
    }

    async fn settle_jobs(
        &self,
        intents: &[ledger::Intent],
        outcomes: Vec<BulkOutcome>,
        resolved: &mut Resolved,
        rest: &mut Vec<ledger::Intent>,
    ) -> Result<()> {
        let now = self.store.now().await?;
        let locals: Vec<&str> = intents.iter().map(|intent| intent.local.as_str()).collect();
        let linked = links::by_local(&*self.store, self.connection(), &self.entity, &locals).await?;
        let bases = base::get_many(&*self.store, self.connection(), &self.entity, &locals).await?;
        let mut batch = Batch::default();
        for (((intent, outcome), linked), old) in intents.iter().zip(outcomes).zip(linked).zip(bases) {
            if outcome.as_ref().is_err_and(Error::may_have_applied) {
                rest.push(intent.clone());
                continue;
            }
            // The host may have moved on since, so the next plan reads the record, if there is one.
            let mut exists = linked.is_some();
            match outcome {
                Ok(written) => {
                    if !exists {
                        let link = Link { local: intent.local.clone(), entity: self.entity.clone(), remote: written.id };
                        links::put(&mut batch, self.connection(), &link)?;
                        exists = true;
                    }
                    resolved.applied += 1;
                }
                Err(_) => resolved.not_applied += 1,
            }
            if exists {
                base::put(&mut batch, self.connection(), &self.entity, &intent.local, &doubt(intent, old.as_ref(), now))?;
            }
            ledger::close(&mut batch, self.connection(), intent)?;
        }
        self.store.commit(batch).await?;
        Ok(())
    }
}

/// The operation of a job that an intent stands for, without its fields.
fn operation(intent: &ledger::Intent) -> Option<BulkOp> {
    match intent.kind {
        ledger::IntentKind::Update => Some(BulkOp::Update { id: intent.remote.clone()?, fields: Fields::new() }),
        ledger::IntentKind::Upsert => Some(BulkOp::Upsert { key: intent.key.clone()?, fields: Fields::new() }),
        ledger::IntentKind::Create | ledger::IntentKind::Delete => None,
    }
}
