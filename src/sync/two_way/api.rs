//! Putting a two-way sync together, and telling it what changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::error::{ErrorKind, Result};
use crate::mapping::Direction;
use crate::model::{Change, ChangeKind, FieldType, Fields, Origin, Record, RecordId, Value};
use crate::observe::{Ignore, Observer};
use crate::store::pending::{self, Note, Side};
use crate::store::salt::{self, Salt};
use crate::store::{Batch, Store, cursors};
use crate::sync::engine::Engine;
use crate::sync::merge::{Policies, Policy, Rules, spelling};
use crate::sync::reader::Reader;
use crate::sync::records::Records;
use crate::sync::rules::SyncDirection;

/// Most rows of a reader that wait in memory for the plan that looks at them.
const BROUGHT: usize = 5_000;

/// Keeps the host's records and those of one entity of a CRM in step. Cheap to clone; all state is in the store.
///
/// One history it cannot tell apart: a record was made, the answer to that was lost, and somebody deleted the new record before
/// this sync looked for it. Nobody remembers then that it was there, and it is made again.
#[derive(Clone, Debug)]
pub struct TwoWay {
    pub(super) parts: Arc<Parts>,
}

#[derive(Debug)]
pub(super) struct Parts {
    pub(super) engine: Engine,
    pub(super) records: Arc<dyn Records>,
    pub(super) policies: Policies,
    pub(super) rules: Rules,
    pub(super) own_writes: bool,
    pub(super) flips: usize,
    pub(super) flip_window: Duration,
    pub(super) guard: (usize, f64),
    pub(super) audit_values: bool,
    pub(super) audit_keep: Option<Duration>,
    pub(super) match_on: Option<(String, String)>,
    pub(super) limit: usize,
    pub(super) lease: Duration,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) ours: Vec<Origin>,
    /// Rows that a reader brought and no plan has looked at.
    brought: Mutex<HashMap<RecordId, Record>>,
}

impl Parts {
    pub(super) fn brought(&self) -> MutexGuard<'_, HashMap<RecordId, Record>> {
        self.brought.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the newest row of each record; rows beyond the bound are read when they are looked at.
    fn bring(&self, change: Change) {
        let mut brought = self.brought();
        if change.kind == ChangeKind::Deleted || change.version.is_none() {
            brought.remove(&change.id);
        } else if brought.len() < BROUGHT || brought.contains_key(&change.id) {
            let mut record = Record::new(change.entity, change.id.clone(), change.fields);
            (record.version, record.modified_at) = (change.version, change.at);
            brought.insert(change.id, record);
        }
    }
}

impl TwoWay {
    /// A two-way sync over an engine's adapter, mapping, store and key.
    pub fn builder(engine: Engine, records: Arc<dyn Records>) -> TwoWayBuilder {
        let mut policies = Policies::all(Policy::Remote);
        for target in engine.inner.mapping.targets() {
            if let Some(owner) = target.owner {
                policies.fields.insert(target.name.clone(), owner.into());
            }
        }
        TwoWayBuilder {
            parts: Parts {
                engine,
                records,
                policies,
                rules: Rules::default(),
                own_writes: true,
                flips: 6,
                flip_window: Duration::from_secs(3600),
                guard: (10, 0.2),
                audit_values: false,
                audit_keep: None,
                match_on: None,
                limit: 500,
                lease: Duration::from_secs(120),
                observer: Arc::new(Ignore),
                ours: Vec::new(),
                brought: Mutex::default(),
            },
        }
    }

    /// Notes changes of the CRM in `batch`, so that a reader's cursor moves in the same commit. The changes are hints: what
    /// counts is what the CRM says when the record is looked at.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] if a note does not serialise.
    pub fn stage(&self, batch: &mut Batch, changes: &[Change]) -> Result<()> {
        let inner = &*self.parts.engine.inner;
        for change in changes.iter().filter(|change| change.entity == inner.entity) {
            let said: Fields = (change.fields.iter())
                .filter(|(name, _)| self.way(name).is_some())
                .map(|(name, value)| (name.to_owned(), value.clone()))
                .collect();
            let note = Note {
                cause: format!("the CRM's record was {}", word(change.kind)),
                deleted: change.kind == ChangeKind::Deleted,
                version: change.version.clone(),
                at: change.at,
                event: change.event.clone(),
                successor: change.successor.clone(),
                said: (!said.is_empty()).then_some(said),
                own: self.parts.ours.iter().any(|ours| ours.covers(&change.origin)),
                ..Note::default()
            };
            pending::put(batch, inner.connection(), &inner.entity, Side::Remote, change.id.as_str(), &note)?;
        }
        Ok(())
    }

    /// Notes changes of the CRM, as of a webhook, in a commit of their own.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn note(&self, changes: &[Change]) -> Result<()> {
        let mut batch = Batch::new();
        self.stage(&mut batch, changes)?;
        if !batch.is_empty() {
            self.store().commit(batch).await?;
        }
        Ok(())
    }

    /// Notes all that a reader has to tell, each page in the commit that moves its cursor. Returns how many changes there were.
    ///
    /// # Errors
    /// Those of the reader and of the store.
    pub async fn pull(&self, reader: &Reader) -> Result<usize> {
        let mut told = 0;
        while let Some(page) = reader.next().await? {
            let mut batch = Batch::new();
            self.stage(&mut batch, &page.changes)?;
            page.checkpoint.stage(&mut batch)?;
            self.store().commit(batch).await?;
            told += page.changes.len();
            let at_rest = page.at_rest;
            page.changes
                .into_iter()
                .filter(|change| change.entity == self.parts.engine.inner.entity)
                .for_each(|change| self.parts.bring(change));
            if at_rest {
                break;
            }
        }
        Ok(told)
    }

    /// Notes what changed in the host, and moves the host's position in the same commit. Returns how many records it was told.
    ///
    /// # Errors
    /// Those of the host's records and of the store.
    pub async fn read_host(&self) -> Result<usize> {
        let inner = &*self.parts.engine.inner;
        let feed = format!("two-way/{}", inner.entity);
        let mut told = 0;
        loop {
            let cursor = cursors::load::<String>(self.store(), inner.connection(), &feed).await?;
            let position = cursor.as_ref().map(|cursor| cursor.position.as_str());
            let changes = self.parts.records.changed(position).await?;
            let mut batch = Batch::new();
            for (ids, deleted) in [(&changes.changed, false), (&changes.deleted, true)] {
                let cause = format!("the host's record was {}", if deleted { "deleted" } else { "changed" });
                for id in ids {
                    let note = Note { cause: cause.clone(), deleted, ..Note::default() };
                    pending::put(&mut batch, inner.connection(), &inner.entity, Side::Local, id, &note)?;
                    told += 1;
                }
            }
            if position != Some(changes.position.as_str()) {
                cursors::advance(
                    &mut batch,
                    inner.connection(),
                    &feed,
                    cursor.as_ref().map(|cursor| cursor.generation),
                    &changes.position,
                )?;
            }
            if !batch.is_empty() {
                match self.store().commit(batch).await {
                    Ok(_) => {}
                    // Another process was told the same.
                    Err(error) if error.kind() == ErrorKind::Conflict => continue,
                    Err(error) => return Err(error),
                }
            }
            if !changes.more {
                return Ok(told);
            }
        }
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.parts.engine.inner.store
    }

    pub(super) async fn salt(&self) -> Result<Salt> {
        let inner = &*self.parts.engine.inner;
        salt::of(&*inner.store, &inner.host, inner.connection()).await
    }

    /// Which way the engine's rules let records go.
    pub(super) fn goes(&self) -> SyncDirection {
        self.parts.engine.rules().map(|rules| rules.direction).unwrap_or_default()
    }

    /// Which way a field of the CRM goes; `None` if neither mapping nor rules carry it.
    pub(super) fn way(&self, field: &str) -> Option<Direction> {
        let mapping = &self.parts.engine.inner.mapping;
        let target = mapping.targets().iter().find(|target| target.name == field)?;
        // What cannot be read back into the host goes out only.
        let lost = target.direction == Direction::Both && mapping.one_way().contains(&target.host.as_str());
        let way = if lost { Direction::Out } else { target.direction };
        match (self.goes(), way) {
            (SyncDirection::FromCrm, Direction::Out) | (SyncDirection::ToCrm, Direction::In) => None,
            (SyncDirection::FromCrm, _) => Some(Direction::In),
            (SyncDirection::ToCrm, _) => Some(Direction::Out),
            (_, way) => Some(way),
        }
    }

    pub(super) fn kind(&self, field: &str) -> FieldType {
        self.parts.engine.inner.field_type(field)
    }

    /// The mark of a value: equal for values that are the same but for their spelling.
    pub(super) fn mark(&self, salt: &Salt, field: &str, value: &Value) -> String {
        salt.hash(&[field, &spelling(value, &self.kind(field))])
    }

    pub(super) fn deadline(&self, now: Timestamp, after: Duration) -> Timestamp {
        now.checked_add(after).unwrap_or(Timestamp::MAX)
    }
}

fn word(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Created => "created",
        ChangeKind::Deleted => "deleted",
        ChangeKind::Restored => "restored",
        ChangeKind::Updated => "changed",
    }
}

/// Puts a [`TwoWay`] together.
#[derive(Debug)]
#[must_use]
pub struct TwoWayBuilder {
    parts: Parts,
}

impl TwoWayBuilder {
    /// Who wins a conflict where the field has no policy of its own. Default: [`Policy::Remote`]. A mapping's `owner` is a policy of
    /// its field.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.parts.policies.default = policy;
        self
    }

    /// Who wins a conflict of one field of the CRM, over the mapping's `owner`.
    pub fn field_policy(mut self, field: impl Into<String>, policy: Policy) -> Self {
        self.parts.policies.fields.insert(field.into(), policy);
        self
    }

    /// What deletions do.
    pub fn rules(mut self, rules: Rules) -> Self {
        self.parts.rules = rules;
        self
    }

    /// A record of the CRM that is not linked is the host's record with the same value: `host` is the host's field, `crm` the
    /// CRM's. One hit is taken for it, several are for a person. Default: none, each becomes a new record.
    pub fn match_on(mut self, host: impl Into<String>, crm: impl Into<String>) -> Self {
        self.parts.match_on = Some((host.into(), crm.into()));
        self
    }

    /// Whether what was sent is remembered until it has been read back (default). Without it, a write whose answer was lost
    /// passes for a change made in the CRM, and may win over a newer one of the host.
    pub fn own_writes(mut self, remembered: bool) -> Self {
        self.parts.own_writes = remembered;
        self
    }

    /// How the CRM marks what this connection writes: the client id it announces, the user it logs in as, or both. A change with
    /// this mark that tells of nothing but what was read back is not read again; one that holds anything else is looked at as any
    /// other. It is a hint, so that another program with the same mark does no harm. May be given more than once.
    pub fn own_origin(mut self, origin: Origin) -> Self {
        self.parts.ours.push(origin);
        self
    }

    /// A record one of whose fields goes back and forth so often within `window` is frozen. Default: 6 times in an hour.
    pub fn freeze_after(mut self, flips: usize, window: Duration) -> Self {
        (self.parts.flips, self.parts.flip_window) = (flips.max(2), window);
        self
    }

    /// Deletions are held back for a person if there are more than `at_least` of them and they are more than `share` (0 to 1) of
    /// the linked records. Default: 10 and 0.2.
    pub fn mass_delete_guard(mut self, at_least: usize, share: f64) -> Self {
        self.parts.guard = (at_least, share);
        self
    }

    /// Keeps the values themselves in the audit, not their hashes.
    pub fn audit_values(mut self, values: bool) -> Self {
        self.parts.audit_values = values;
        self
    }

    /// How long the audit is kept. Default: until the record is erased.
    pub fn audit_keep(mut self, keep: Duration) -> Self {
        self.parts.audit_keep = Some(keep);
        self
    }

    /// Most records looked at by one plan. Default: 500.
    pub fn limit(mut self, records: usize) -> Self {
        self.parts.limit = records.max(1);
        self
    }

    /// How long the lock on the entity outlives a process that died holding it. Default: two minutes.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.parts.lease = lease;
        self
    }

    /// Hears of conflicts, freezes and mass deletions.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.parts.observer = observer;
        self
    }

    /// The sync.
    pub fn build(self) -> TwoWay {
        TwoWay { parts: Arc::new(self.parts) }
    }
}
