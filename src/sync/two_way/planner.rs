//! Making a plan for both directions.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::mapping::Mode;
use crate::model::{Record, RecordId, Successor, Value, same};
use crate::observe::Event;
use crate::store::gone::{self, End};
use crate::store::own::{self, Marks};
use crate::store::pending::{self, Side};
use crate::store::salt::Salt;
use crate::store::{base, lanes, links};
use crate::sync::planner::fingerprint;
use crate::sync::records::LocalRecord;
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::pair::{Pair, TENDED};
use crate::sync::two_way::plan::{Step, TwoWayPlan, TwoWayRow, Work, WriteGuard};

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
        self.merges(&mut pairs);
        self.guard(&mut pairs).await?;
        let rows = pairs.into_iter().map(|pair| pair.row).collect();
        Ok(TwoWayPlan {
            connection: connection.to_owned(),
            entity: entity.clone(),
            guard: self.write_guard(),
            mapping: inner.mapping.version().to_owned(),
            rows,
            next,
        })
    }

    /// Notes of both sides of one record become one pair.
    pub(super) async fn pairs(&self, notes: Vec<pending::Noted>) -> Result<Vec<Pair>> {
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
                pairs.push(Pair {
                    row,
                    told_deleted: false,
                    known: true,
                    marks: Marks::new(),
                    local: None,
                    remote: None,
                    tomb: None,
                    successor: None,
                });
            }
            if let Some(pair) = pairs.get_mut(at) {
                pair.told_deleted |= noted.side == Side::Remote && noted.note.deleted;
                if noted.side == Side::Remote && noted.note.successor.is_some() {
                    pair.successor.clone_from(&noted.note.successor);
                }
                pair.row.work.notes.push(noted);
            }
        }
        Ok(pairs)
    }

    /// What the store knows of them.
    pub(super) async fn recall(&self, pairs: &mut [Pair], salt: &Salt) -> Result<()> {
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
            // What a person decided is looked at in any case.
            let tended = pair.row.work.notes.iter().any(|noted| noted.note.cause == TENDED);
            pair.known = marks.is_empty()
                && !tended
                && confirmed.is_some()
                && pair.row.work.notes.iter().filter(|noted| noted.side == Side::Remote).all(|noted| {
                    let ended = noted.note.deleted || noted.note.successor.is_some();
                    !ended && confirmed.is_some_and(|base| self.is_echo(&noted.note, base))
                });
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
    pub(super) async fn read_sides(&self, pairs: &mut [Pair]) -> Result<()> {
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
        let mut records = self.fresh(pairs, &remotes);
        let unread: Vec<RecordId> = remotes.into_iter().filter(|id| !records.contains_key(id)).collect();
        let (read, winners) = self.read_followed(&unread).await?;
        records.extend(read);
        for pair in pairs.iter_mut().filter(open) {
            let Some(id) = &pair.row.remote else { continue };
            if let Some(winner) = winners.get(id) {
                pair.told_deleted = true;
                pair.successor.get_or_insert_with(|| Successor::new(inner.entity.clone(), winner.clone()));
            }
            pair.remote = records.remove(id).filter(|record| !record.deleted);
        }
        Ok(())
    }

    pub(super) async fn read_remote(&self, ids: &[RecordId]) -> Result<HashMap<RecordId, Record>> {
        Ok(self.read_followed(ids).await?.0)
    }

    /// The records as they are now, and the winners of those that a read answers with another record: they were merged.
    async fn read_followed(&self, ids: &[RecordId]) -> Result<(HashMap<RecordId, Record>, HashMap<RecordId, RecordId>)> {
        let mut winners = HashMap::new();
        if ids.is_empty() {
            return Ok((HashMap::new(), winners));
        }
        let (mut records, _) = self.parts.engine.inner.find_ids(ids).await?;
        records.retain(|id, record| {
            if *id != record.id {
                winners.insert(id.clone(), record.id.clone());
            }
            *id == record.id
        });
        Ok((records, winners))
    }

    /// Rows that a reader brought along with the change: as good as read, if they have all that a read would bring, and nothing
    /// newer was told since.
    fn fresh(&self, pairs: &[Pair], ids: &[RecordId]) -> HashMap<RecordId, Record> {
        let inner = &*self.parts.engine.inner;
        let wanted: HashSet<&RecordId> = ids.iter().collect();
        let mut brought = self.parts.brought();
        let mut found = HashMap::new();
        for pair in pairs {
            let Some(id) = pair.row.remote.as_ref().filter(|id| wanted.contains(id)) else { continue };
            let Some(record) = brought.remove(id) else { continue };
            let mut notes = pair.row.work.notes.iter().filter(|noted| noted.side == Side::Remote);
            let newest = notes.all(|noted| noted.note.version == record.version && !noted.note.deleted);
            let names = inner.mapping.targets().iter().map(|target| target.name.as_str()).chain(inner.guarantee.field());
            if newest && pair.marks.is_empty() && names.into_iter().all(|name| record.fields.get(name).is_some()) {
                found.insert(id.clone(), record);
            }
        }
        found
    }

    /// Whether a change speaks of nothing but what was read back: of that version, or made by us as the CRM says. Neither is taken
    /// alone: versions are times in many CRMs, and two writes within one of their ticks have the same; and another program may
    /// write with our mark.
    fn is_echo(&self, note: &pending::Note, base: &base::Base) -> bool {
        let ours = note.own || (note.version.is_some() && note.version == base.version);
        let known = |name: &str, value: &Value| same(base.fields.get(name).unwrap_or(&Value::Null), value, &self.kind(name));
        ours && note.said.as_ref().is_some_and(|said| said.iter().all(|(name, value)| known(name, value)))
    }

    pub(super) fn write_guard(&self) -> WriteGuard {
        if self.parts.engine.inner.adapter.capabilities().update_with_version { WriteGuard::Version } else { WriteGuard::ReadAgain }
    }

    /// A winner that the host's record of the loser goes on with is not made in the host, and goes to one record only.
    fn merges(&self, pairs: &mut [Pair]) {
        let mut winners: HashSet<RecordId> = HashSet::new();
        for pair in pairs.iter_mut() {
            if let Some(winner) = pair.row.work.relink.clone()
                && !winners.insert(winner)
            {
                pair.row.work.relink = None;
                pair.row.work.again = None;
                pair.decided(Step::Review, "another record of the host goes on with the same winner: looked at once that is done");
            }
        }
        for pair in pairs.iter_mut().filter(|pair| pair.row.step == Step::CreateLocal) {
            if pair.row.remote.as_ref().is_some_and(|id| winners.contains(id)) {
                (pair.row.work.into, pair.row.work.marks) = (None, Marks::new());
                pair.row.inward.clear();
                pair.decided(Step::Skip, "the host's record of one that was merged goes on with it");
            }
        }
    }

    /// Many deletions at once are more likely a mistake than meant.
    pub(super) async fn guard(&self, pairs: &mut [Pair]) -> Result<()> {
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
                let (adapter, entity) = (inner.connection(), &inner.entity);
                self.parts.observer.on(&Event::MassDelete { adapter, entity, missing: told, known: linked });
                for pair in pairs.iter_mut().filter(|pair| pair.row.step == step) {
                    pair.row.work.into = None;
                    pair.decided(Step::Review, format!("{told} of {linked} records are to be deleted: held back as a mass deletion"));
                }
            }
        }
        Ok(())
    }
}
