//! Making a plan for both directions.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use crate::error::{Result, chain};
use crate::mapping::{Direction, Mode};
use crate::model::{Fields, Record, RecordId, Value, same};
use crate::store::gone::{self, End, Tombstone};
use crate::store::lanes::{self, Answer};
use crate::store::own::{self, Marks};
use crate::store::pending::{self, Side};
use crate::store::salt::Salt;
use crate::store::{base, links};
use crate::sync::api::Incoming;
use crate::sync::decide::FieldChange;
use crate::sync::merge::{Fate, Flow, Pick, Presence, Sides, alike, merge};
use crate::sync::plan::{Action, PlanRow};
use crate::sync::planner::{fingerprint, seen};
use crate::sync::records::{LocalRecord, LocalWrite};
use crate::sync::references::Reference;
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::plan::{Step, TwoWayPlan, TwoWayRow, Work};

/// The cause of notes that a person's answer leads to.
pub(super) const TENDED: &str = "a person decided";

/// One record on its way into the plan.
struct Pair {
    row: TwoWayRow,
    told_deleted: bool,
    /// The newest note of the CRM is of the version that was read back.
    known: bool,
    marks: Marks,
    local: Option<LocalRecord>,
    remote: Option<Record>,
    tomb: Option<Tombstone>,
}

impl Pair {
    fn decided(&mut self, step: Step, reason: impl Into<String>) {
        (self.row.step, self.row.reason) = (step, reason.into());
    }
}

impl TwoWay {
    /// What has to be written on both sides for the records that are noted. Writes nothing.
    ///
    /// Both sides are read now: the host's records in one call, the CRM's in one search per few hundred (one read each where a
    /// search lags behind). Records of which nothing new was told since they were read back are not read.
    ///
    /// # Errors
    /// Those of the store, of the host's records and of the CRM. A record that cannot be mapped is a row, not an error.
    pub async fn plan(&self) -> Result<TwoWayPlan> {
        let inner = &*self.parts.engine.inner;
        let (connection, entity) = (inner.connection(), &inner.entity);
        let now = inner.store.now().await?;
        let salt = self.salt().await?;
        let (notes, next) = pending::due(self.store(), connection, entity, now, self.parts.limit).await?;

        let mut pairs = self.pairs(notes).await?;
        self.recall(&mut pairs, &salt).await?;
        self.read_sides(&mut pairs).await?;
        self.relate(&mut pairs).await?;
        for pair in pairs.iter_mut().filter(|pair| pair.row.step == Step::Skip && pair.row.reason.is_empty()) {
            self.decide(pair, &salt, now).await?;
        }
        self.create_remote(&mut pairs, &salt, now).await?;
        self.guard(&mut pairs).await?;
        let rows = pairs.into_iter().map(|pair| pair.row).collect();
        Ok(TwoWayPlan {
            connection: connection.to_owned(),
            entity: entity.clone(),
            mapping: inner.mapping.version().to_owned(),
            rows,
            next,
        })
    }

    /// Notes of both sides of one record become one pair.
    async fn pairs(&self, notes: Vec<pending::Noted>) -> Result<Vec<Pair>> {
        let inner = &*self.parts.engine.inner;
        let (connection, entity) = (inner.connection(), &inner.entity);
        let locals: Vec<&str> = notes.iter().filter(|note| note.side == Side::Local).map(|note| note.id.as_str()).collect();
        let remotes: Vec<RecordId> =
            notes.iter().filter(|note| note.side == Side::Remote).map(|note| RecordId::new(note.id.as_str())).collect();
        let mut by_local: HashMap<String, RecordId> = HashMap::new();
        for link in links::by_local(self.store(), connection, entity, &locals).await?.into_iter().flatten() {
            by_local.insert(link.local, link.remote);
        }
        let mut by_remote: HashMap<RecordId, String> = HashMap::new();
        let ids: Vec<&RecordId> = remotes.iter().collect();
        for link in links::by_remote(self.store(), connection, entity, &ids).await?.into_iter().flatten() {
            by_remote.insert(link.remote, link.local);
        }
        let mut places: HashMap<(Option<String>, Option<RecordId>), usize> = HashMap::new();
        let mut pairs: Vec<Pair> = Vec::new();
        for noted in notes {
            let (local, remote) = match noted.side {
                Side::Local => (Some(noted.id.clone()), by_local.get(&noted.id).cloned()),
                Side::Remote => {
                    let remote = RecordId::new(noted.id.as_str());
                    (by_remote.get(&remote).cloned(), Some(remote))
                }
            };
            let linked = local.is_some() && remote.is_some();
            let at = *places.entry((local.clone(), remote.clone())).or_insert(pairs.len());
            if at == pairs.len() {
                let row = TwoWayRow {
                    local,
                    remote,
                    step: Step::Skip,
                    outward: Vec::new(),
                    inward: Vec::new(),
                    conflicts: Vec::new(),
                    reason: String::new(),
                    cause: noted.note.cause.clone(),
                    work: Work { linked, ..Work::default() },
                };
                pairs.push(Pair { row, told_deleted: false, known: true, marks: Marks::new(), local: None, remote: None, tomb: None });
            }
            if let Some(pair) = pairs.get_mut(at) {
                pair.told_deleted |= noted.side == Side::Remote && noted.note.deleted;
                pair.row.work.notes.push(noted);
            }
        }
        Ok(pairs)
    }

    /// What the store knows of them.
    async fn recall(&self, pairs: &mut [Pair], salt: &Salt) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let (connection, entity) = (inner.connection(), &inner.entity);
        let locals: Vec<String> = pairs.iter().map(|pair| pair.row.local.clone().unwrap_or_default()).collect();
        let locals: Vec<&str> = locals.iter().map(String::as_str).collect();
        let bases = base::get_many(self.store(), connection, entity, &locals).await?;
        let marks = own::get_many(self.store(), connection, entity, &locals).await?;
        let lanes = lanes::get_many(self.store(), connection, entity, &locals).await?;
        let ends: Vec<(Side, String)> = pairs
            .iter()
            .map(|pair| match (&pair.row.local, &pair.row.remote) {
                (_, Some(remote)) => (Side::Remote, remote.as_str().to_owned()),
                (local, None) => (Side::Local, local.clone().unwrap_or_default()),
            })
            .collect();
        let ends: Vec<(Side, &str)> = ends.iter().map(|(side, id)| (*side, id.as_str())).collect();
        let tombs = gone::get_many(self.store(), salt, (connection, entity), &ends).await?;
        for ((((pair, stored), marks), lane), tomb) in pairs.iter_mut().zip(bases).zip(marks).zip(lanes).zip(tombs) {
            let confirmed = stored.as_ref().filter(|base| !base.mapping.is_empty() && !base.source_hash.is_empty());
            let version = confirmed.and_then(|base| base.version.as_ref());
            // What a person decided is looked at in any case.
            let tended = pair.row.work.notes.iter().any(|noted| noted.note.cause == TENDED);
            pair.known = marks.is_empty()
                && !tended
                && confirmed.is_some()
                && pair
                    .row
                    .work
                    .notes
                    .iter()
                    .filter(|noted| noted.side == Side::Remote)
                    .all(|noted| !noted.note.deleted && noted.note.version.is_some() && noted.note.version.as_ref() == version);
            pair.row.work.stored = stored;
            pair.row.work.lane = lane;
            pair.marks = marks;
            pair.tomb = tomb;
            if pair.tomb.is_some_and(|tomb| tomb.end == End::Erased) {
                pair.decided(Step::Skip, "it was erased, and stays so");
            } else if let Some((since, fields)) = &pair.row.work.lane.frozen {
                let reason = format!("frozen since {since}: {} went back and forth", fields.join(", "));
                pair.decided(Step::Frozen, reason);
            }
        }
        Ok(())
    }

    /// Both sides as they are now.
    async fn read_sides(&self, pairs: &mut [Pair]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let open = |pair: &&mut Pair| pair.row.reason.is_empty();
        let ids: Vec<String> = pairs.iter().filter(|pair| pair.row.reason.is_empty()).filter_map(|pair| pair.row.local.clone()).collect();
        let asked: Vec<&str> = ids.iter().map(String::as_str).collect();
        let mut found: HashMap<String, LocalRecord> = HashMap::new();
        for record in self.parts.records.read(&asked).await?.into_iter().flatten() {
            found.insert(record.id.clone(), record);
        }
        for pair in pairs.iter_mut().filter(open) {
            pair.local = pair.row.local.as_ref().and_then(|id| found.remove(id));
            // Neither side has news: what was written came back to us.
            if let (true, Some(local), Some(stored)) = (pair.known, &pair.local, &pair.row.work.stored)
                && let Ok(mapped) = inner.mapping.outbound_at(&local.fields, Mode::Update, inner.host.now())
                && mapped.lookups.is_empty()
                && fingerprint(&mapped.fields, inner.mapping.version()) == stored.source_hash
            {
                pair.decided(Step::Skip, "nothing new since it was read back");
            }
        }
        self.adopt(pairs).await?;
        let remotes: Vec<RecordId> =
            pairs.iter().filter(|pair| pair.row.reason.is_empty()).filter_map(|pair| pair.row.remote.clone()).collect();
        let mut records = self.read_remote(&remotes).await?;
        for pair in pairs.iter_mut().filter(open) {
            pair.remote = pair.row.remote.as_ref().and_then(|id| records.remove(id)).filter(|record| !record.deleted);
        }
        Ok(())
    }

    /// Records that we made in the host for one of the CRM's, and died before the link was kept.
    async fn adopt(&self, pairs: &mut [Pair]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let prefix = format!("{}/{}/", inner.connection(), inner.entity);
        let lost = |pair: &Pair| {
            let local = pair.local.as_ref().filter(|_| pair.row.reason.is_empty() && pair.row.remote.is_none())?;
            Some((local.clone(), RecordId::new(local.key.as_deref()?.strip_prefix(&prefix)?)))
        };
        let lost: Vec<(usize, LocalRecord, RecordId)> =
            pairs.iter().enumerate().filter_map(|(at, pair)| lost(pair).map(|(local, remote)| (at, local, remote))).collect();
        for (at, local, remote) in lost {
            let linked = links::by_remote(self.store(), inner.connection(), &inner.entity, &[&remote]).await?;
            if linked.into_iter().flatten().next().is_some() {
                continue;
            }
            let other = pairs.iter().position(|pair| pair.row.remote.as_ref() == Some(&remote));
            if let Some(pair) = pairs.get_mut(at).filter(|_| other.is_some()) {
                pair.decided(Step::Skip, "it is matched with a record of the CRM");
            }
            if let Some(pair) = pairs.get_mut(other.unwrap_or(at)) {
                pair.row.local = Some(local.id.clone());
                pair.row.remote = Some(remote);
                let key = local.key.clone().unwrap_or_default();
                pair.marks =
                    own::get_many(self.store(), inner.connection(), &inner.entity, &[key.as_str()]).await?.pop().unwrap_or_default();
                pair.local = Some(local);
            }
        }
        Ok(())
    }

    /// Records of the CRM that carry the host's id, and whose link was lost or is not kept yet.
    async fn relate_by_key(&self, pairs: &mut [Pair]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let Some(key) = inner.guarantee.field() else { return Ok(()) };
        let carried: Vec<(usize, String)> = pairs
            .iter()
            .enumerate()
            .filter(|(_, pair)| pair.row.reason.is_empty() && pair.row.local.is_none())
            .filter_map(|(at, pair)| Some((at, pair.remote.as_ref()?.fields.text(key)?.to_owned())))
            .collect();
        if carried.is_empty() {
            return Ok(());
        }
        let ids: Vec<&str> = carried.iter().map(|(_, id)| id.as_str()).collect();
        let found = self.parts.records.read(&ids).await?;
        let linked = links::by_local(self.store(), inner.connection(), &inner.entity, &ids).await?;
        let marks = own::get_many(self.store(), inner.connection(), &inner.entity, &ids).await?;
        let bases = base::get_many(self.store(), inner.connection(), &inner.entity, &ids).await?;
        for (((((at, _), local), linked), marks), stored) in carried.into_iter().zip(found).zip(linked).zip(marks).zip(bases) {
            let Some(pair) = pairs.get_mut(at) else { continue };
            match (local, linked) {
                (Some(_), Some(_)) => pair.decided(Step::Review, "it carries the id of a record of the host that is linked to another one"),
                (Some(local), None) => {
                    pair.row.local = Some(local.id.clone());
                    (pair.local, pair.marks, pair.row.work.stored) = (Some(local), marks, stored);
                }
                (None, _) => {}
            }
        }
        Ok(())
    }

    pub(super) async fn read_remote(&self, ids: &[RecordId]) -> Result<HashMap<RecordId, Record>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let (records, _) = self.parts.engine.inner.find_ids(ids).await?;
        // A read that follows a merge answers another record.
        Ok(records.into_iter().filter(|(id, record)| *id == record.id).collect())
    }

    /// Records of the CRM that are not linked: are they one of the host's?
    async fn relate(&self, pairs: &mut [Pair]) -> Result<()> {
        self.relate_by_key(pairs).await?;
        if let Some((field, crm)) = &self.parts.match_on {
            self.relate_by_value(pairs, field, crm).await?;
        }
        // The host's side of it was noted too: one row is enough.
        let matched: HashSet<String> = pairs
            .iter()
            .filter(|pair| !pair.row.work.linked && pair.row.remote.is_some())
            .filter_map(|pair| pair.row.local.clone())
            .collect();
        for pair in pairs.iter_mut().filter(|pair| pair.row.remote.is_none() && pair.row.reason.is_empty()) {
            if pair.row.local.as_ref().is_some_and(|local| matched.contains(local)) {
                pair.decided(Step::Skip, "it is matched with a record of the CRM");
            }
        }
        Ok(())
    }

    async fn relate_by_value(&self, pairs: &mut [Pair], field: &str, crm: &str) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let places: Vec<usize> = (0..pairs.len())
            .filter(|at| pairs.get(*at).is_some_and(|pair| pair.row.reason.is_empty() && pair.row.local.is_none() && pair.remote.is_some()))
            .collect();
        let values: Vec<Value> = places
            .iter()
            .map(|at| pairs.get(*at).and_then(|pair| pair.remote.as_ref()?.fields.get(crm).cloned()).unwrap_or(Value::Null))
            .collect();
        if values.is_empty() {
            return Ok(());
        }
        let hits = self.parts.records.find(field, &values).await?;
        let mut taken: HashSet<String> =
            pairs.iter().filter(|pair| pair.row.remote.is_some()).filter_map(|pair| pair.row.local.clone()).collect();
        for ((at, hits), value) in places.into_iter().zip(hits).zip(values) {
            let Some(pair) = pairs.get_mut(at).filter(|_| !value.is_null()) else { continue };
            match hits.as_slice() {
                [] => {}
                [one] => {
                    let links = links::by_local(self.store(), inner.connection(), &inner.entity, &[one]).await?;
                    if links.into_iter().flatten().next().is_some() || !taken.insert(one.clone()) {
                        pair.decided(Step::Review, "the matching record of the host is linked to another record already");
                    } else {
                        pair.local = self.parts.records.read(&[one]).await?.pop().flatten();
                        pair.row.local = pair.local.as_ref().map(|record| record.id.clone());
                    }
                }
                several => pair.decided(Step::Review, format!("{} records of the host have the same {field}", several.len())),
            }
        }
        Ok(())
    }

    /// What becomes of one record.
    async fn decide(&self, pair: &mut Pair, salt: &Salt, now: Timestamp) -> Result<()> {
        let work = &mut pair.row.work;
        // As far as it is agreed: what is known to be our own write is.
        let stored = work.stored.clone();
        let (mut agreed, mut agreed_local) = stored.as_ref().map(|base| (base.fields.clone(), base.local.clone())).unwrap_or_default();
        let mapped = match &pair.local {
            None => Fields::new(),
            Some(local) => match self.outward(&local.fields, now).await? {
                Ok(mapped) => mapped,
                Err((step, reason)) => {
                    pair.decided(step, reason);
                    return Ok(());
                }
            },
        };
        let remote = pair.remote.as_ref().map(|record| record.fields.clone()).unwrap_or_default();
        let unread = stored.as_ref().is_some_and(|base| base.source_hash.is_empty());
        for (field, value) in &remote {
            let kind = self.kind(field);
            let ours = pair.marks.get(field).is_some_and(|marks| marks.contains(&self.mark(salt, field, value)));
            let respelled = unread && agreed.get(field).is_some_and(|base| !same(base, value, &kind) && alike(base, value, &kind));
            if ours || respelled {
                if let Some(sent) = agreed.get(field).filter(|_| respelled) {
                    agreed_local.insert(field, sent.clone());
                }
                agreed.insert(field, value.clone());
                if ours {
                    agreed_local.insert(field, value.clone());
                }
            } else if agreed.get(field).is_none()
                && let Some(said) = mapped.get(field)
                && pair.marks.get(field).is_some_and(|marks| marks.contains(&self.mark(salt, field, said)))
            {
                agreed.insert(field, said.clone());
            }
        }

        let picks: BTreeMap<String, Pick> = work
            .lane
            .answers
            .iter()
            .map(|(field, answer)| {
                let pick = match answer {
                    Answer::Local => Pick::Local,
                    Answer::Remote => Pick::Remote,
                    Answer::Value(value) => Pick::Value(value.clone()),
                };
                (field.clone(), pick)
            })
            .collect();
        let sides = Sides {
            base: &agreed,
            base_local: &agreed_local,
            local: &mapped,
            remote: &remote,
            local_at: pair.local.as_ref().and_then(|record| record.modified_at),
            remote_at: pair.remote.as_ref().and_then(|record| record.modified_at),
        };
        let merged = merge(&sides, &self.parts.policies, &picks, &|field| self.way(field), &|field| self.kind(field));
        let moved_out = merged.iter().any(|field| matches!(field.flow, Flow::Out(_) | Flow::Both(_) | Flow::Review));
        let moved_in = merged.iter().any(|field| matches!(field.flow, Flow::In(_) | Flow::Both(_) | Flow::Review));
        work.agreed = agreed;
        work.agreed_local = agreed_local;
        work.mapped = mapped;
        work.remote_fields = remote;
        work.remote_version = pair.remote.as_ref().and_then(|record| record.version.clone());

        let here = match &pair.local {
            None => Presence::Gone,
            Some(_) if moved_out => Presence::Changed,
            Some(_) => Presence::Same,
        };
        let there = match &pair.remote {
            None if pair.told_deleted => Presence::Gone,
            None => Presence::Hidden,
            Some(_) if moved_in => Presence::Changed,
            Some(_) => Presence::Same,
        };
        if !work.linked {
            match (&pair.local, &pair.remote) {
                (Some(_), Some(_)) => {}
                // The engine looks whether the CRM has it already, with all others of its kind.
                (Some(_), None) if pair.row.remote.is_none() => return Ok(()),
                (None, Some(_)) if pair.row.local.is_none() => {
                    match pair.tomb {
                        Some(tomb) if tomb.end == End::LetBe || !self.parts.rules.restore => {
                            pair.decided(Step::Skip, "it ended here and was let be there");
                        }
                        _ => self.create_local(pair, salt).await?,
                    }
                    return Ok(());
                }
                _ => {
                    pair.decided(Step::Skip, "it is gone");
                    return Ok(());
                }
            }
        }
        let fate = if pair.row.work.linked { self.parts.rules.fate(here, there) } else { Fate::Merge };
        match fate {
            Fate::Merge => self.fields(pair, merged, salt, now),
            Fate::DeleteRemote => pair.decided(Step::DeleteRemote, "the host deleted it"),
            Fate::DeleteLocal => {
                if let Some(local) = &pair.local {
                    pair.row.work.into = Some(LocalWrite::Delete { id: local.id.clone(), expected: local.version.clone() });
                }
                pair.decided(Step::DeleteLocal, "the CRM deleted it");
            }
            // A record that is gone is made again under another id: first the link goes, then it is a new record.
            Fate::CreateLocal => {
                pair.row.work.again = Some(Side::Remote);
                pair.decided(Step::Unlink, "the host deleted it and the CRM changed it: it is made again");
            }
            Fate::CreateRemote => {
                pair.row.work.again = Some(Side::Local);
                pair.decided(Step::Unlink, "the CRM deleted it and the host changed it: it is made again");
            }
            Fate::Forget => pair.decided(Step::Unlink, "it is gone on both sides"),
            Fate::LetBe => pair.decided(Step::Unlink, "it was deleted on one side and is let be on the other"),
            Fate::Review if there == Presence::Hidden => {
                pair.decided(Step::Review, "the CRM does not show it, and nobody told that it was deleted");
            }
            Fate::Review => pair.decided(Step::Review, "one side deleted it and the other one changed it"),
            Fate::Skip => pair.decided(Step::Skip, "nothing to do"),
        }
        Ok(())
    }

    /// The host's record in the CRM's words, references filled in.
    pub(super) async fn outward(&self, fields: &Fields, now: Timestamp) -> Result<std::result::Result<Fields, (Step, String)>> {
        let inner = &*self.parts.engine.inner;
        let mapped = match inner.mapping.outbound_at(fields, Mode::Update, now) {
            Ok(mapped) => mapped,
            Err(error) => return Ok(Err((if error.skips_record() { Step::Skip } else { Step::Invalid }, chain(&error)))),
        };
        let mut out = mapped.fields;
        if !mapped.lookups.is_empty() {
            let (answers, _) = inner.references(&mapped.lookups).await?;
            for (lookup, answer) in mapped.lookups.iter().zip(answers) {
                match answer {
                    Reference::Known(id) => {
                        out.insert(&lookup.field, id.as_str());
                    }
                    Reference::Missing(reason) => return Ok(Err((Step::Invalid, reason))),
                    Reference::Unclear(reason) => return Ok(Err((Step::Review, reason))),
                }
            }
        }
        Ok(Ok(out))
    }

    /// Both directions of a record that is there on both sides.
    fn fields(&self, pair: &mut Pair, merged: Vec<crate::sync::merge::Merged>, salt: &Salt, now: Timestamp) {
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
                        row.work.marks = self.marks(salt, &pair.marks, &inward);
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
                marks: self.marks(salt, if row.work.marks.is_empty() { &pair.marks } else { &row.work.marks }, &outward),
                fields: outward,
                mapped,
                // Not read back yet.
                hash: String::new(),
                linked: row.work.linked,
                seen: row.work.stored.as_ref().map(seen),
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

    fn marks(&self, salt: &Salt, old: &Marks, fields: &Fields) -> Marks {
        let mut marks = old.clone();
        if self.parts.own_writes {
            for (name, value) in fields {
                let mark = self.mark(salt, name, value);
                let marks = marks.entry(name.to_owned()).or_default();
                if !marks.contains(&mark) {
                    marks.push(mark);
                }
            }
        }
        marks
    }

    async fn create_local(&self, pair: &mut Pair, salt: &Salt) -> Result<()> {
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
                pair.row.work.marks = if before.is_empty() { self.marks(salt, &before, &record.fields) } else { before.clone() };
                pair.row.work.before = before;
                pair.row.work.into = Some(LocalWrite::Create { key, fields: mapped.fields });
                pair.decided(Step::CreateLocal, "not in the host yet");
            }
        }
        Ok(())
    }

    /// New records of the host: the engine knows how to find out whether the CRM has them.
    async fn create_remote(&self, pairs: &mut [Pair], salt: &Salt, now: Timestamp) -> Result<()> {
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
                    found.marks = self.marks(salt, &pair.marks, &found.fields);
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

    /// Many deletions at once are more likely a mistake than meant.
    async fn guard(&self, pairs: &mut [Pair]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        let (at_least, share) = self.parts.guard;
        for (step, side) in [(Step::DeleteLocal, Side::Remote), (Step::DeleteRemote, Side::Local)] {
            if pairs.iter().all(|pair| pair.row.step != step) {
                continue;
            }
            let told = pending::deletions(self.store(), inner.connection(), &inner.entity, side).await?;
            if told <= at_least {
                continue;
            }
            let linked = links::all(self.store(), inner.connection(), &inner.entity).await?.len();
            #[allow(clippy::cast_precision_loss, reason = "a share of counts")]
            if told as f64 > share * linked as f64 {
                for pair in pairs.iter_mut().filter(|pair| pair.row.step == step) {
                    pair.row.work.into = None;
                    pair.decided(Step::Review, format!("{told} of {linked} records are to be deleted: held back as a mass deletion"));
                }
            }
        }
        Ok(())
    }
}

/// Whether a field may be read back into the host.
pub(super) fn returns(way: Option<Direction>) -> bool {
    matches!(way, Some(Direction::Both | Direction::In))
}
