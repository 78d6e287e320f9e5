//! Carrying a plan out on both sides, and remembering what came of it.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::adapter::{BulkOp, WriteOptions};
use crate::error::{Error, ErrorKind, Result, chain};
use crate::model::{Fields, Link, Record, RecordId, same};
use crate::observe::Event;
use crate::store::audit::{self, AuditEntry, AuditField, Kept, Wrote};
use crate::store::base::Base;
use crate::store::gone::{self, End, Tombstone};
use crate::store::lanes::{self, Lane, Turn};
use crate::store::pending::{self, Noted, Side};
use crate::store::salt::Salt;
use crate::store::{Batch, StoreExt, base, links, own};
use crate::sync::api::Outcome;
use crate::sync::decide::FieldChange;
use crate::sync::merge::{Flow, alike};
use crate::sync::plan::{Action, Cost, Plan, PlanRow, Way};
use crate::sync::planner::fingerprint;
use crate::sync::records::{LocalRecord, LocalWrite};
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::plan::{Settled, Step, TwoWayPlan, TwoWayReport, TwoWayRow};

/// Rows remembered in one commit.
const PAGE: usize = 50;

/// What became of one row.
#[derive(Default)]
struct Done {
    /// The CRM was to be written: it was.
    out: Option<bool>,
    /// The host was to be written: it was.
    into: Option<bool>,
    local: Option<LocalRecord>,
    read_back: Option<Record>,
    remote: Option<RecordId>,
    failed: Option<String>,
    /// A side moved: look again at once.
    moved: bool,
    status: Option<ErrorKind>,
}

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
        let mut done: Vec<Done> = plan.rows.iter().map(|_| Done::default()).collect();
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
        if report.next.is_none() && report.wrote_remote + report.wrote_local > 0 {
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
                for row in rows {
                    if let Some(done) = places.get(row.local.as_str()).and_then(|at| done.get_mut(*at)) {
                        done.out = Some(false);
                        done.failed = Some("the CRM was not written".to_owned());
                    }
                }
                let (applied, fatal) = inner.write(&shell, way, rows).await?;
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
                if let Err(error) = outcome {
                    (done.status, done.failed) = (Some(error.kind()), Some(chain(&error)));
                }
            }
        }
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

    /// One commit for some rows. Notes that were made anew meanwhile stay.
    async fn remember(&self, salt: &Salt, rows: &[(&TwoWayRow, &Done)]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        for attempt in 0..5 {
            let now = inner.store.now().await?;
            let notes: Vec<Noted> = rows.iter().flat_map(|(row, _)| row.work.notes.iter().cloned()).collect();
            let versions = pending::versions(self.store(), inner.connection(), &inner.entity, &notes).await?;
            let fresh: HashMap<(Side, &str), bool> =
                notes.iter().zip(versions).map(|(note, version)| ((note.side, note.id.as_str()), version == Some(note.version))).collect();
            let mut batch = Batch::new();
            for (row, done) in rows {
                self.remember_row(&mut batch, salt, now, row, done, &fresh).await?;
            }
            if batch.is_empty() {
                return Ok(());
            }
            match self.store().commit(batch).await {
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Conflict && attempt < 4 => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn remember_row(
        &self,
        batch: &mut Batch,
        salt: &Salt,
        now: Timestamp,
        row: &TwoWayRow,
        done: &Done,
        fresh: &HashMap<(Side, &str), bool>,
    ) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let (connection, entity) = (inner.connection(), &inner.entity);
        let mut again = done.moved;
        let local = done.local.as_ref().map(|local| local.id.clone()).or_else(|| row.local.clone());
        let remote = done.remote.clone().or_else(|| row.remote.clone());
        match (row.step, &local, &remote) {
            (Step::Update | Step::Agree | Step::CreateRemote | Step::CreateLocal | Step::Review, Some(local), Some(remote))
                if !row.work.merged.is_empty() || done.out == Some(true) || done.into == Some(true) =>
            {
                let (base, more) = self.base(row, done, now).await?;
                again |= more;
                if !row.work.linked && done.out != Some(true) {
                    links::put(batch, connection, &Link { local: local.clone(), entity: entity.clone(), remote: remote.clone() })?;
                }
                if done.out != Some(false) {
                    if row.step == Step::CreateLocal && more && !row.work.before.is_empty() {
                        own::put(batch, connection, entity, local, &row.work.before, now)?;
                    } else {
                        own::remove(batch, connection, entity, local);
                    }
                    base::put(batch, connection, entity, local, &base)?;
                } else if done.into == Some(true) {
                    // The CRM was not written: what the engine remembers of that stays, and the record is looked at again.
                    again = true;
                }
                let lane = self.turn(salt, now, row, done, local);
                if lane != row.work.lane {
                    lanes::put(batch, connection, entity, local, &lane)?;
                }
            }
            (Step::DeleteLocal | Step::DeleteRemote, Some(local), Some(remote)) if done.out != Some(false) && done.into != Some(false) => {
                self.end(batch, salt, (local, remote), Some(Tombstone { end: End::Deleted, at: now })).await?;
            }
            (Step::Unlink, Some(local), Some(remote)) => {
                let end = if row.reason.contains("let be") { End::LetBe } else { End::Deleted };
                let tombstone = row.work.again.is_none().then_some(Tombstone { end, at: now });
                self.end(batch, salt, (local, remote), tombstone).await?;
                match row.work.again {
                    Some(Side::Local) => pending::put(batch, connection, entity, Side::Local, local, &note(row, 0, None))?,
                    Some(Side::Remote) => pending::put(batch, connection, entity, Side::Remote, remote.as_str(), &note(row, 0, None))?,
                    None => {}
                }
            }
            _ => {}
        }
        if let Some(LocalWrite::Create { key, .. }) = row.work.into.as_ref().filter(|_| done.into == Some(true)) {
            own::remove(batch, connection, entity, key);
        }
        if let (Step::CreateLocal, Some(true), Some(remote)) = (row.step, done.into, &remote) {
            gone::remove(batch, salt, (connection, entity), Side::Remote, remote.as_str());
        }
        self.audit(batch, salt, now, row, done, (local.as_deref(), remote.as_ref()))?;

        let waits = done.failed.is_some() || matches!(row.step, Step::Invalid) || (row.step == Step::Review && row.work.merged.is_empty());
        for noted in &row.work.notes {
            if row.work.again == Some(noted.side) || fresh.get(&(noted.side, noted.id.as_str())) != Some(&true) {
                continue;
            }
            pending::settle(batch, connection, entity, noted);
            if waits && !again {
                let wait = Duration::from_secs(30 << noted.note.attempts.min(7));
                let note = pending::Note {
                    attempts: noted.note.attempts.saturating_add(1),
                    not_before: Some(self.deadline(now, wait)),
                    ..noted.note.clone()
                };
                pending::put(batch, connection, entity, noted.side, &noted.id, &note)?;
            }
        }
        if again
            && let Some(remote) = &remote
            && fresh.get(&(Side::Remote, remote.as_str())) != Some(&false)
        {
            pending::put(batch, connection, entity, Side::Remote, remote.as_str(), &note(row, 0, None))?;
        } else if again
            && let Some(local) = &local
            && fresh.get(&(Side::Local, local.as_str())) != Some(&false)
        {
            pending::put(batch, connection, entity, Side::Local, local, &note(row, 0, None))?;
        }
        Ok(())
    }

    /// What is agreed now, and whether there is news that this row did not speak of.
    async fn base(&self, row: &TwoWayRow, done: &Done, now: Timestamp) -> Result<(Base, bool)> {
        let inner = &*self.parts.engine.inner;
        let mut fields = row.work.agreed.clone();
        let mut local = row.work.agreed_local.clone();
        let mut news = false;
        let back = done.read_back.as_ref().map(|record| &record.fields);
        // What the host's record came to after it was written.
        let host = match &done.local {
            Some(record) => self.outward(&record.fields, now).await?.ok(),
            None => None,
        };
        let said = host.as_ref().unwrap_or(&row.work.mapped);
        let created: Vec<crate::sync::merge::Merged> = match (row.step, &row.work.out) {
            (Step::CreateRemote, Some(out)) => (out.fields.iter())
                .map(|(name, value)| crate::sync::merge::Merged { field: name.to_owned(), flow: Flow::Out(value.clone()), conflict: false })
                .collect(),
            (Step::CreateLocal, _) => (row.work.remote_fields.iter())
                .map(|(name, value)| crate::sync::merge::Merged { field: name.to_owned(), flow: Flow::In(value.clone()), conflict: false })
                .collect(),
            _ => Vec::new(),
        };
        let mut sent = Fields::new();
        for field in row.work.merged.iter().chain(&created) {
            let name = field.field.as_str();
            let kind = self.kind(name);
            let mut agree = |theirs: &crate::model::Value, ours: Option<&crate::model::Value>| {
                fields.insert(name, theirs.clone());
                match ours.filter(|ours| !same(ours, theirs, &kind)) {
                    Some(ours) => local.insert(name, ours.clone()),
                    None => local.remove(name),
                };
            };
            match &field.flow {
                Flow::Out(value) | Flow::Both(value) if done.out == Some(true) => {
                    sent.insert(name, value.clone());
                    match back.and_then(|back| back.get(name)) {
                        Some(returned) if alike(returned, value, &kind) => agree(returned, Some(value)),
                        // The CRM made something else of it: that is its change, and comes in next.
                        Some(_) => {
                            agree(value, Some(value));
                            news = true;
                        }
                        None => agree(value, Some(value)),
                    }
                }
                Flow::In(value) => {
                    let told = row.work.into.is_none() || done.into == Some(true);
                    if told {
                        match said.get(name) {
                            // It was there already: which of both is newer is for the next look.
                            Some(ours) if row.step == Step::CreateLocal && !alike(ours, value, &kind) => news = true,
                            Some(ours) if done.into == Some(true) && !alike(ours, value, &kind) => {
                                agree(value, None);
                                news = true;
                            }
                            ours => agree(value, ours),
                        }
                    }
                }
                Flow::Agreed => {
                    if let Some(value) = row.work.remote_fields.get(name) {
                        agree(value, row.work.mapped.get(name));
                    }
                }
                _ => {}
            }
        }
        // What the CRM's automations changed beside what was sent.
        if let Some(back) = back {
            for (name, value) in back {
                let kind = self.kind(name);
                let before = fields.get(name);
                if sent.get(name).is_none() && self.way(name).is_some_and(|way| super::planner::returns(Some(way))) {
                    news |= match before {
                        Some(before) => !same(before, value, &kind),
                        None => !same(value, &crate::model::Value::Null, &kind),
                    };
                }
            }
        }
        let version = match &done.read_back {
            Some(record) => record.version.clone(),
            None => row.work.remote_version.clone(),
        };
        let base = Base {
            fields,
            local,
            version: version.filter(|_| !news && done.failed.is_none()),
            mapping: inner.mapping.version().to_owned(),
            source_hash: fingerprint(said, inner.mapping.version()),
            checked_at: now,
        };
        Ok((base, news))
    }

    /// How often fields went back and forth, and conflicts that wait.
    fn turn(&self, salt: &Salt, now: Timestamp, row: &TwoWayRow, done: &Done, local: &str) -> Lane {
        let mut lane = row.work.lane.clone();
        let since = now.checked_sub(self.parts.flip_window).unwrap_or(Timestamp::MIN);
        let mut flipped = Vec::new();
        for field in &row.work.merged {
            let (inward, value) = match &field.flow {
                Flow::Out(value) if done.out == Some(true) => (false, value),
                Flow::In(value) if done.into == Some(true) => (true, value),
                Flow::Review => {
                    lane.conflicts.entry(field.field.clone()).or_insert(now);
                    continue;
                }
                _ => continue,
            };
            lane.answers.remove(&field.field);
            lane.conflicts.remove(&field.field);
            let turns = lane.turns.entry(field.field.clone()).or_default();
            turns.retain(|turn| turn.at >= since);
            turns.push(Turn { inward, mark: self.mark(salt, &field.field, value), at: now });
            let most = self.parts.flips * 4;
            if turns.len() > most {
                turns.drain(..turns.len() - most);
            }
            let flips =
                turns.iter().zip(turns.iter().skip(1)).filter(|(one, two)| one.inward != two.inward && one.mark != two.mark).count();
            let values = turns.iter().map(|turn| turn.mark.as_str()).collect::<std::collections::BTreeSet<_>>().len();
            if flips >= self.parts.flips && values < turns.len() {
                flipped.push(field.field.clone());
            }
        }
        let agreed: Vec<String> =
            row.work.merged.iter().filter(|field| field.flow == Flow::Agreed).map(|field| field.field.clone()).collect();
        for field in agreed {
            lane.conflicts.remove(&field);
            lane.answers.remove(&field);
        }
        if !flipped.is_empty() {
            let inner = &*self.parts.engine.inner;
            self.parts.observer.on(&Event::Frozen { entity: &inner.entity, local, fields: &flipped });
            lane.frozen = Some((now, flipped));
        }
        lane
    }

    /// Ends a record: link, base and all that hangs on it go.
    pub(super) async fn end(
        &self,
        batch: &mut Batch,
        salt: &Salt,
        (local, remote): (&str, &RecordId),
        tombstone: Option<Tombstone>,
    ) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let (connection, entity) = (inner.connection(), &inner.entity);
        links::unlink(self.store(), batch, connection, entity, &[local]).await?;
        base::remove(batch, connection, entity, local);
        own::remove(batch, connection, entity, local);
        lanes::remove(batch, connection, entity, local);
        if let Some(tombstone) = tombstone {
            gone::put(batch, salt, (connection, entity), Side::Local, local, tombstone)?;
            gone::put(batch, salt, (connection, entity), Side::Remote, remote.as_str(), tombstone)?;
        }
        Ok(())
    }

    fn audit(
        &self,
        batch: &mut Batch,
        salt: &Salt,
        now: Timestamp,
        row: &TwoWayRow,
        done: &Done,
        (local, remote): (Option<&str>, Option<&RecordId>),
    ) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let Some(local) = local else { return Ok(()) };
        for (wrote, written, changes) in [(Wrote::Crm, done.out, &row.outward), (Wrote::Host, done.into, &row.inward)] {
            let Some(written) = written else { continue };
            let action = match row.step {
                Step::CreateLocal | Step::CreateRemote => "create",
                Step::DeleteLocal | Step::DeleteRemote => "delete",
                _ => "update",
            };
            let entry = AuditEntry {
                at: now,
                wrote,
                action: action.to_owned(),
                remote: remote.cloned(),
                reason: row.reason.clone(),
                cause: row.cause.clone(),
                event: row.work.notes.iter().find_map(|noted| noted.note.event.clone()),
                mapping: inner.mapping.version().to_owned(),
                status: match (written, done.status) {
                    (true, _) => "ok".to_owned(),
                    (false, Some(kind)) => kind.as_str().to_owned(),
                    (false, None) => "not written".to_owned(),
                },
                fields: changes.iter().map(|change| self.kept(salt, change)).collect(),
            };
            let id = inner.host.new_id();
            audit::append(batch, (inner.connection(), &inner.entity, local), &id, &entry, self.parts.audit_keep)?;
        }
        Ok(())
    }

    fn kept(&self, salt: &Salt, change: &FieldChange) -> AuditField {
        let keep = |value: &crate::model::Value| match self.parts.audit_values {
            true => Kept::Value(value.clone()),
            false => Kept::Hash(salt.hash(&["audit", &value.to_string()])),
        };
        AuditField { field: change.field.clone(), from: change.from.as_ref().map(keep), to: keep(&change.to) }
    }
}

fn note(row: &TwoWayRow, attempts: u32, not_before: Option<Timestamp>) -> pending::Note {
    pending::Note {
        cause: format!("seen after: {}", row.cause.trim_start_matches("seen after: ")),
        attempts,
        not_before,
        ..pending::Note::default()
    }
}
