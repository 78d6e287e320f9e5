//! Carrying a plan out on both sides.

use std::collections::HashMap;

use crate::adapter::{BulkOp, WriteOptions};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::model::{RecordId, Value, same};
use crate::observe::Event;
use crate::store::{Batch, StoreExt, own};
use crate::sync::api::Outcome;
use crate::sync::plan::{Action, Cost, Plan, PlanRow, Way};
use crate::sync::records::LocalWrite;
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::plan::{Settled, Step, TwoWayPlan, TwoWayReport, TwoWayRow, WriteGuard};
use crate::sync::two_way::remember::Done;

/// Rows remembered in one commit.
const PAGE: usize = 50;

impl TwoWay {
    /// Looks at all that is noted and due, and writes what has to be written on both sides. Call it again until
    /// [`TwoWayReport::next`] lies in the future: what a CRM makes of a write is looked at in the round after it.
    ///
    /// Writes that got no answer in an earlier life are resolved first. Dropping the future is safe at any time: a note goes only
    /// with the commit that remembers what was done.
    ///
    /// # Errors
    /// Those of the store, of the host's records, and those of the CRM that concern all records.
    pub async fn settle(&self) -> Result<TwoWayReport> {
        let inner = &*self.parts.engine.inner;
        let name = format!("two-way/{}/{}", inner.connection(), inner.entity);
        let Some(lock) = self.store().lock(&name, &inner.host.new_id(), self.parts.lease).await? else {
            return Ok(TwoWayReport { busy: true, ..TwoWayReport::default() });
        };
        let done = async {
            self.parts.engine.resolve().await?;
            let plan = self.plan().await?;
            self.apply(&plan).await
        }
        .await;
        self.store().unlock(&lock).await?;
        done
    }

    /// Carries a plan out: first the CRM, then the host, then what both came to is remembered. Rows whose record moved since the
    /// plan was made are left, and looked at again.
    ///
    /// # Errors
    /// As [`TwoWay::settle`]; what was written by then is remembered.
    pub async fn apply(&self, plan: &TwoWayPlan) -> Result<TwoWayReport> {
        let inner = &*self.parts.engine.inner;
        // What is not reached, as an error ends it all, is not done.
        let mut done: Vec<Done> = plan.rows.iter().map(Done::to_do).collect();
        let fatal = self.write_remote(plan, &mut done).await.err();
        let ids: Vec<RecordId> = done.iter().filter_map(|done| done.remote.clone()).collect();
        let mut records = self.read_remote(&ids).await?;
        for done in &mut done {
            done.read_back = done.remote.as_ref().and_then(|id| records.remove(id));
        }
        self.write_local(plan, &mut done).await?;

        let salt = self.salt().await?;
        let rows: Vec<(&TwoWayRow, &Done)> = plan.rows.iter().zip(&done).collect();
        for rows in rows.chunks(PAGE) {
            self.remember(&salt, rows).await?;
        }
        if let Some(error) = fatal {
            return Err(error);
        }
        let mut report = TwoWayReport { next: plan.next, ..TwoWayReport::default() };
        for (row, done) in rows {
            report.wrote_remote += usize::from(done.out == Some(true));
            report.wrote_local += usize::from(done.into == Some(true));
            if !row.conflicts.is_empty()
                && let Some(remote) = &row.remote
            {
                self.parts.observer.on(&Event::Conflict { entity: &inner.entity, record: remote, fields: &row.conflicts });
            }
            if row.step != Step::Skip {
                let (local, remote) = (done.local.as_ref().map(|local| local.id.clone()), done.remote.clone());
                report.rows.push(Settled {
                    local: local.or_else(|| row.local.clone()),
                    remote: remote.or_else(|| row.remote.clone()),
                    step: row.step,
                    failed: done.failed.clone(),
                });
            }
        }
        let again = plan.rows.iter().any(|row| row.work.again.is_some()) || done.iter().any(|done| done.moved);
        if again || (report.next.is_none() && report.wrote_remote + report.wrote_local > 0) {
            report.next = Some(inner.store.now().await?);
        }
        Ok(report)
    }

    async fn write_remote(&self, plan: &TwoWayPlan, done: &mut [Done]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let way = Way::Batches { size: inner.batch_size };
        let shell = Plan {
            connection: plan.connection.clone(),
            entity: plan.entity.clone(),
            guarantee: inner.guarantee.clone(),
            mapping: plan.mapping.clone(),
            creates: way,
            updates: way,
            rows: Vec::new(),
            cost: Cost::default(),
        };
        let places: HashMap<&str, usize> =
            plan.rows.iter().enumerate().filter_map(|(at, row)| Some((row.work.out.as_ref()?.local.as_str(), at))).collect();
        for action in [Action::Create, Action::Update] {
            let rows: Vec<&PlanRow> = plan.rows.iter().filter_map(|row| row.work.out.as_ref()).filter(|out| out.action == action).collect();
            for rows in rows.chunks(inner.batch_size) {
                let mut rows = rows.to_vec();
                if action == Action::Update && plan.guard == WriteGuard::ReadAgain {
                    self.leave_moved(plan, &places, &mut rows, done).await?;
                }
                if rows.is_empty() {
                    continue;
                }
                let (applied, fatal) = inner.write(&shell, way, &rows).await?;
                for applied in applied {
                    let Some(done) = places.get(applied.local.as_str()).and_then(|at| done.get_mut(*at)) else { continue };
                    match applied.outcome {
                        Outcome::Created(id) | Outcome::Updated(id) => {
                            (done.out, done.remote, done.failed) = (Some(true), Some(id), None);
                        }
                        Outcome::Moved => done.moved = true,
                        Outcome::Failed(error) | Outcome::Ambiguous(error) => {
                            done.status = Some(error.kind());
                            done.failed = Some(chain(&error));
                        }
                        Outcome::NotWritten { .. } => {}
                    }
                }
                if let Some(error) = fatal {
                    return Err(error);
                }
            }
        }
        let deletions: Vec<usize> =
            (0..plan.rows.len()).filter(|at| plan.rows.get(*at).is_some_and(|row| row.step == Step::DeleteRemote)).collect();
        for places in deletions.chunks(inner.batch_size) {
            let ops: Vec<BulkOp> =
                places.iter().filter_map(|at| Some(BulkOp::Delete { id: plan.rows.get(*at)?.remote.clone()? })).collect();
            let outcomes = inner.reading(|| async { inner.adapter.bulk(&inner.entity, &ops, &WriteOptions::new()).await }).await?;
            for (at, outcome) in places.iter().zip(outcomes) {
                let Some(done) = done.get_mut(*at) else { continue };
                done.out = Some(outcome.is_ok());
                (done.status, done.failed) = match outcome {
                    Ok(_) => (None, None),
                    Err(error) => (Some(error.kind()), Some(chain(&error))),
                };
            }
        }
        Ok(())
    }

    /// Reads the records once more, and leaves those of which a field that would be written has moved since the plan was made.
    async fn leave_moved(
        &self,
        plan: &TwoWayPlan,
        places: &HashMap<&str, usize>,
        rows: &mut Vec<&PlanRow>,
        done: &mut [Done],
    ) -> Result<()> {
        let ids: Vec<RecordId> = rows.iter().filter_map(|row| row.remote.clone()).collect();
        let now = self.read_remote(&ids).await?;
        let nothing = Value::Null;
        rows.retain(|row| {
            let place = places.get(row.local.as_str());
            let Some(planned) = place.and_then(|at| plan.rows.get(*at)) else { return false };
            let seen = &planned.work.remote_fields;
            let same = row.remote.as_ref().and_then(|id| now.get(id)).is_some_and(|record| {
                let moved =
                    |name: &str| !same(record.fields.get(name).unwrap_or(&nothing), seen.get(name).unwrap_or(&nothing), &self.kind(name));
                !record.deleted && !row.fields.names().any(moved)
            });
            if let Some(done) = place.and_then(|at| done.get_mut(*at)).filter(|_| !same) {
                done.moved = true;
                done.failed = Some("the CRM's record was changed since it was read".to_owned());
            }
            same
        });
        Ok(())
    }

    async fn write_local(&self, plan: &TwoWayPlan, done: &mut [Done]) -> Result<()> {
        let (places, writes): (Vec<usize>, Vec<LocalWrite>) =
            plan.rows.iter().enumerate().filter_map(|(at, row)| Some((at, row.work.into.clone()?))).unzip();
        if writes.is_empty() {
            return Ok(());
        }
        // What the host is told must not pass for its own change if we die before it is remembered.
        let inner = &*self.parts.engine.inner;
        let now = inner.store.now().await?;
        let mut batch = Batch::new();
        for row in plan.rows.iter().filter(|row| !row.work.marks.is_empty()) {
            let holder = match &row.work.into {
                Some(LocalWrite::Create { key, .. }) => key,
                Some(LocalWrite::Update { id, .. }) => id,
                _ => continue,
            };
            let marks = row.work.out.as_ref().map_or(&row.work.marks, |out| &out.marks);
            own::put(&mut batch, inner.connection(), &inner.entity, holder, marks, now)?;
        }
        if !batch.is_empty() {
            self.store().commit(batch).await?;
        }
        let outcomes = self.parts.records.write(&writes).await?;
        if outcomes.len() != writes.len() {
            return Err(Error::internal(format!("the host gave {} outcomes for {} writes", outcomes.len(), writes.len())));
        }
        for (at, outcome) in places.into_iter().zip(outcomes) {
            let Some(done) = done.get_mut(at) else { continue };
            done.into = Some(outcome.is_ok());
            match outcome {
                Ok(record) => done.local = record,
                Err(error) => {
                    done.moved |= error.kind() == ErrorKind::Conflict;
                    done.status = Some(error.kind());
                    done.failed = Some(chain(&error));
                }
            }
        }
        Ok(())
    }
}
