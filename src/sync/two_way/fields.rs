//! What is written to each side: the merged fields of records that both have, and records that one of them lacks.

use jiff::Timestamp;

use crate::error::{Result, chain};
use crate::mapping::Direction;
use crate::model::{Fields, RecordId};
use crate::store::own::{self, Marks};
use crate::store::salt::Salt;
use crate::sync::api::Incoming;
use crate::sync::decide::FieldChange;
use crate::sync::merge::{Flow, Merged};
use crate::sync::plan::{Action, PlanRow};
use crate::sync::planner::{fingerprint, seen};
use crate::sync::records::LocalWrite;
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::pair::Pair;
use crate::sync::two_way::plan::{Step, WriteGuard};

impl TwoWay {
    /// Both directions of a record that is there on both sides.
    pub(super) fn fields(&self, pair: &mut Pair, merged: Vec<Merged>, salt: &Salt, now: Timestamp) {
        let inner = &*self.parts.engine.inner;
        let row = &mut pair.row;
        let mut outward = Fields::new();
        let mut inward = Fields::new();
        for field in &merged {
            match &field.flow {
                Flow::Out(value) | Flow::Both(value) => {
                    outward.insert(&field.field, value.clone());
                    let from = row.work.remote_fields.get(&field.field).cloned();
                    row.outward.push(FieldChange { field: field.field.clone(), from, to: value.clone() });
                }
                _ => {}
            }
            if let Flow::In(value) | Flow::Both(value) = &field.flow {
                inward.insert(&field.field, value.clone());
            }
            if field.conflict {
                row.conflicts.push(field.field.clone());
            }
        }
        let waiting: Vec<&str> = merged.iter().filter(|field| field.flow == Flow::Review).map(|field| field.field.as_str()).collect();
        let mut reason = String::new();
        if let Some(local) = pair.local.as_ref().filter(|_| !inward.is_empty()) {
            // What the host has for the agreed values, and for these instead: the difference is what it is told.
            let mut before: Fields = row.work.agreed.clone();
            for (name, value) in &row.work.remote_fields {
                if before.get(name).is_none() && inward.get(name).is_none() {
                    before.insert(name, value.clone());
                }
            }
            let mut after = before.clone();
            after.merge(inward.clone());
            let old = inner.mapping.inbound_at(&before, now).map(|mapped| mapped.fields).unwrap_or_default();
            match inner.mapping.inbound_at(&after, now) {
                Err(error) => {
                    (row.step, row.reason) = (Step::Invalid, chain(&error));
                    return;
                }
                Ok(new) => {
                    let mut told = Fields::new();
                    for (name, value) in &new.fields {
                        if old.get(name) != Some(value) && local.fields.get(name) != Some(value) {
                            told.insert(name, value.clone());
                            row.inward.push(FieldChange {
                                field: name.to_owned(),
                                from: local.fields.get(name).cloned(),
                                to: value.clone(),
                            });
                        }
                    }
                    if !told.is_empty() {
                        row.work.marks = self.marks(salt, &pair.marks, &inward, true);
                        row.work.into = Some(LocalWrite::Update { id: local.id.clone(), fields: told, expected: local.version.clone() });
                    }
                }
            }
        }
        let local = row.local.clone().unwrap_or_default();
        if !outward.is_empty() {
            // What is agreed once the CRM has taken it; what the host has yet to hear is not.
            let mut mapped = row.work.agreed.clone();
            for field in merged.iter().filter(|field| field.flow == Flow::Agreed) {
                if let Some(value) = row.work.remote_fields.get(&field.field) {
                    mapped.insert(&field.field, value.clone());
                }
            }
            mapped.merge(outward.clone());
            row.work.out = Some(PlanRow {
                local: local.clone(),
                action: Action::Update,
                remote: row.remote.clone(),
                changes: row.outward.clone(),
                reason: String::new(),
                marks: self.marks(salt, if row.work.marks.is_empty() { &pair.marks } else { &row.work.marks }, &outward, false),
                fields: outward,
                mapped,
                // Not read back yet.
                hash: String::new(),
                linked: row.work.linked,
                seen: row.work.stored.as_ref().map(seen),
                expected: row.work.remote_version.clone().filter(|_| self.write_guard() == WriteGuard::Version),
            });
        }
        for (what, changes) in [("to the CRM", &row.outward), ("to the host", &row.inward)] {
            if !changes.is_empty() {
                let names: Vec<&str> = changes.iter().map(|change| change.field.as_str()).collect();
                reason = format!("{reason}{}{} {what}", if reason.is_empty() { "" } else { "; " }, names.join(", "));
            }
        }
        if !waiting.is_empty() {
            reason = format!("{reason}{}both sides changed {}", if reason.is_empty() { "" } else { "; " }, waiting.join(", "));
        }
        let hash = fingerprint(&row.work.mapped, inner.mapping.version());
        let version = pair.remote.as_ref().and_then(|record| record.version.clone());
        let remembered = row.work.linked
            && pair.marks.is_empty()
            && row.work.stored.as_ref().is_some_and(|base| base.source_hash == hash && base.version == version && !base.mapping.is_empty());
        row.step = if row.work.out.is_some() || row.work.into.is_some() {
            Step::Update
        } else if !waiting.is_empty() {
            Step::Review
        } else if remembered {
            Step::Skip
        } else {
            Step::Agree
        };
        row.reason = if reason.is_empty() { "both sides have the same".to_owned() } else { reason };
        row.work.merged = merged;
    }

    pub(super) fn marks(&self, salt: &Salt, old: &Marks, fields: &Fields, inward: bool) -> Marks {
        let mut marks = old.clone();
        if self.parts.own_writes {
            for (name, value) in fields {
                let mark = self.mark(salt, name, value);
                let marks = marks.entry(if inward { told(name) } else { name.to_owned() }).or_default();
                if !marks.contains(&mark) {
                    marks.push(mark);
                }
            }
        }
        marks
    }

    pub(super) async fn create_local(&self, pair: &mut Pair, salt: &Salt) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let Some(record) = &pair.remote else { return Ok(()) };
        match inner.mapping.inbound_at(&record.fields, inner.host.now()) {
            Err(error) => pair.decided(Step::Invalid, chain(&error)),
            Ok(mapped) => {
                let key = format!("{}/{}/{}", inner.connection(), inner.entity, record.id);
                for (name, value) in &mapped.fields {
                    pair.row.inward.push(FieldChange { field: name.to_owned(), from: None, to: value.clone() });
                }
                // An earlier try may have made it, with the values of then.
                let before =
                    own::get_many(self.store(), inner.connection(), &inner.entity, &[key.as_str()]).await?.pop().unwrap_or_default();
                pair.row.work.marks = if before.is_empty() { self.marks(salt, &before, &record.fields, true) } else { before.clone() };
                pair.row.work.before = before;
                pair.row.work.into = Some(LocalWrite::Create { key, fields: mapped.fields });
                pair.decided(Step::CreateLocal, "not in the host yet");
            }
        }
        Ok(())
    }

    /// New records of the host: the engine knows how to find out whether the CRM has them.
    pub(super) async fn create_remote(&self, pairs: &mut [Pair], salt: &Salt, now: Timestamp) -> Result<()> {
        let new = |pair: &Pair| pair.row.reason.is_empty() && pair.row.remote.is_none() && pair.local.is_some();
        let places: Vec<usize> = (0..pairs.len()).filter(|at| pairs.get(*at).is_some_and(new)).collect();
        let incoming: Vec<Incoming> = places
            .iter()
            .filter_map(|at| pairs.get(*at)?.local.as_ref())
            .map(|local| Incoming::new(local.id.clone(), local.fields.clone()))
            .collect();
        if incoming.is_empty() {
            return Ok(());
        }
        let plan = self.parts.engine.plan(&incoming).await?;
        let ids: Vec<RecordId> = plan.rows.iter().filter_map(|row| row.remote.clone()).collect();
        let mut records = self.read_remote(&ids).await?;
        for (at, mut found) in places.into_iter().zip(plan.rows) {
            let Some(pair) = pairs.get_mut(at) else { continue };
            match (found.action, found.remote.as_ref().and_then(|id| records.remove(id))) {
                (Action::Create, _) => {
                    for (name, value) in &found.fields {
                        pair.row.outward.push(FieldChange { field: name.to_owned(), from: None, to: value.clone() });
                    }
                    found.marks = self.marks(salt, &pair.marks, &found.fields, false);
                    found.hash = String::new();
                    found.seen = pair.row.work.stored.as_ref().map(seen);
                    pair.row.work.out = Some(found);
                    pair.decided(Step::CreateRemote, "not in the CRM yet");
                }
                (Action::Update | Action::Skip, Some(record)) => {
                    pair.row.remote = Some(record.id.clone());
                    pair.remote = Some(record);
                    self.decide(pair, salt, now).await?;
                }
                (Action::Invalid, _) => pair.decided(Step::Invalid, found.reason),
                (Action::Skip, None) => pair.decided(Step::Skip, found.reason),
                _ => pair.decided(Step::Review, found.reason),
            }
        }
        Ok(())
    }
}

/// Whether a field may be read back into the host.
pub(super) fn returns(way: Option<Direction>) -> bool {
    matches!(way, Some(Direction::Both | Direction::In))
}

/// Where the marks of what the host is told of a field stand, beside those of what is sent to the CRM: a value that was to be told
/// is no write of ours as long as only the CRM has it.
pub(super) fn told(field: &str) -> String {
    format!("<{field}")
}
