//! Remembering what a plan came to on both sides.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::{ErrorKind, Result};
use crate::model::{Fields, Link, Record, RecordId, Value, same};
use crate::observe::Event;
use crate::store::audit::{self, AuditEntry, AuditField, Kept, Wrote};
use crate::store::base::Base;
use crate::store::gone::{self, End, Tombstone};
use crate::store::lanes::{self, Lane, Turn};
use crate::store::pending::{self, Noted, Side};
use crate::store::salt::Salt;
use crate::store::{Batch, Key, base, links, own};
use crate::sync::decide::FieldChange;
use crate::sync::merge::{Flow, Merged, alike};
use crate::sync::planner::fingerprint;
use crate::sync::records::{LocalRecord, LocalWrite};
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::fields::returns;
use crate::sync::two_way::plan::{Step, TwoWayRow};

/// What became of one row.
#[derive(Default)]
pub(super) struct Done {
    /// The CRM was to be written: it was.
    pub(super) out: Option<bool>,
    /// The host was to be written: it was.
    pub(super) into: Option<bool>,
    pub(super) local: Option<LocalRecord>,
    pub(super) read_back: Option<Record>,
    pub(super) remote: Option<RecordId>,
    pub(super) failed: Option<String>,
    /// A side moved: look again at once.
    pub(super) moved: bool,
    pub(super) status: Option<ErrorKind>,
}

impl Done {
    /// Nothing is written yet.
    pub(super) fn to_do(row: &TwoWayRow) -> Self {
        let out = row.work.out.is_some() || row.step == Step::DeleteRemote;
        Self { out: out.then_some(false), failed: out.then(|| "the CRM was not written".to_owned()), ..Self::default() }
    }
}

impl TwoWay {
    /// One commit for some rows. Notes that were made anew meanwhile stay.
    pub(super) async fn remember(&self, salt: &Salt, rows: &[(&TwoWayRow, &Done)]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        for attempt in 0..5 {
            let now = inner.store.now().await?;
            let notes: Vec<Noted> = rows.iter().flat_map(|(row, _)| row.work.notes.iter().cloned()).collect();
            let versions = pending::versions(self.store(), &notes).await?;
            let fresh: HashMap<&Key, bool> =
                notes.iter().zip(versions).map(|(note, version)| (note.key(), version == Some(note.version))).collect();
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
        fresh: &HashMap<&Key, bool>,
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
                self.end(batch, salt, (local, remote), Some(Tombstone { end: row.work.end.unwrap_or(End::Deleted), at: now })).await?;
            }
            (Step::Relink, Some(local), Some(remote)) => {
                if let Some(winner) = row.work.relink.clone() {
                    let link = Link { local: local.clone(), entity: entity.clone(), remote: winner };
                    links::relink(self.store(), batch, connection, &link).await?;
                    base::remove(batch, connection, entity, local);
                    own::remove(batch, connection, entity, local);
                    let tombstone = Tombstone { end: End::Merged, at: now };
                    gone::put(batch, salt, (connection, entity), Side::Remote, remote.as_str(), tombstone)?;
                    pending::put(batch, connection, entity, Side::Local, local, &note(row, 0, None))?;
                }
            }
            (Step::Unlink, Some(local), Some(remote)) => {
                let end = row.work.end.unwrap_or(End::Deleted);
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
            let taken = row.work.again == Some(noted.side) && noted.is_bare();
            if taken || fresh.get(noted.key()) != Some(&true) {
                continue;
            }
            pending::settle(batch, noted);
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
        let replaced = |side: Side| {
            (row.work.notes.iter()).any(|noted| noted.side == side && noted.is_bare() && fresh.get(noted.key()) == Some(&false))
        };
        if again
            && let Some(remote) = &remote
            && !replaced(Side::Remote)
        {
            pending::put(batch, connection, entity, Side::Remote, remote.as_str(), &note(row, 0, None))?;
        } else if again
            && let Some(local) = &local
            && !replaced(Side::Local)
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
        let created: Vec<Merged> = match (row.step, &row.work.out) {
            (Step::CreateRemote, Some(out)) => (out.fields.iter())
                .map(|(name, value)| Merged { field: name.to_owned(), flow: Flow::Out(value.clone()), conflict: false })
                .collect(),
            (Step::CreateLocal, _) => (row.work.remote_fields.iter())
                .map(|(name, value)| Merged { field: name.to_owned(), flow: Flow::In(value.clone()), conflict: false })
                .collect(),
            _ => Vec::new(),
        };
        let mut sent = Fields::new();
        for field in row.work.merged.iter().chain(&created) {
            let name = field.field.as_str();
            let kind = self.kind(name);
            let mut agree = |theirs: &Value, ours: Option<&Value>| {
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
                if sent.get(name).is_none() && self.way(name).is_some_and(|way| returns(Some(way))) {
                    news |= match before {
                        Some(before) => !same(before, value, &kind),
                        None => !same(value, &Value::Null, &kind),
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
                // A person's or a closure's value of its own: the conflict is over.
                Flow::Both(_) if done.out == Some(true) && done.into == Some(true) => {
                    lane.answers.remove(&field.field);
                    lane.conflicts.remove(&field.field);
                    continue;
                }
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
        let keep = |value: &Value| match self.parts.audit_values {
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
