//! An adapter in the host's own words.

use async_trait::async_trait;

use crate::adapter::api::{Association, ChangeFeed, CrmAdapter, Identity};
use crate::adapter::bulk::{BulkOp, BulkOutcome};
use crate::adapter::capabilities::Capabilities;
use crate::adapter::dictionary::{Dictionary, Entry};
use crate::adapter::job::{JobTerms, JobTicket};
use crate::adapter::quota::{Price, Quota};
use crate::adapter::write::{WriteOptions, Written};
use crate::error::{Error, ErrorKind, Result};
use crate::mapping::{Lookup, Mapped, Mode};
use crate::model::{Change, Entity, EntitySchema, ExternalKey, Fields, Record, RecordId};
use crate::query::{Criteria, Order, Page, Query};

/// An adapter whose entities, fields and values are the host's. Made by [`CrmAdapterExt::mapped`](crate::adapter::CrmAdapterExt::mapped).
///
/// It costs what the adapter inside costs; a reference that the mapping looks up by a value adds one search each. Ids, versions,
/// cursors and capabilities are the CRM's own, and [`Capabilities::id_field`] may be used in conditions as it is. An empty
/// `select` asks for every field that the mapping can read.
#[derive(Clone, Debug)]
pub struct MappedAdapter<A> {
    inner: A,
    words: Dictionary,
}

impl<A: CrmAdapter> MappedAdapter<A> {
    /// `inner` in these words.
    pub fn new(inner: A, words: Dictionary) -> Self {
        Self { inner, words }
    }

    /// The adapter inside, which speaks the CRM's words.
    pub fn inner(&self) -> &A {
        &self.inner
    }

    /// The host's fields as the CRM's, with references looked up.
    async fn outbound(&self, entry: &Entry, fields: &Fields, mode: Mode) -> Result<Fields> {
        let mapped = match self.words.now() {
            Some(now) => entry.mapping.outbound_at(fields, mode, now),
            None => entry.mapping.outbound(fields, mode),
        };
        let Mapped { mut fields, lookups, .. } = mapped?;
        for lookup in lookups {
            let id = self.referred(&lookup).await?;
            fields.insert(&lookup.field, id.as_str());
        }
        Ok(fields)
    }

    /// The record that a value refers to.
    async fn referred(&self, lookup: &Lookup) -> Result<RecordId> {
        let unknown = |why: &str| Error::new(ErrorKind::Mapping, format!("the reference in {} cannot be looked up: {why}", lookup.host));
        let entity = lookup.entity.as_ref().ok_or_else(|| unknown("the mapping names no entity"))?;
        let by = lookup.by.as_ref().ok_or_else(|| unknown("the mapping does not say by which field"))?;
        let entry = self.words.entry(&Entity::new(entity.clone()))?;
        let filter = Criteria::eq(by, lookup.value.clone());
        let id_field = self.inner.capabilities().id_field.to_string();
        let found = self.inner.search(&Query::new(entry.theirs.clone()).select([id_field]).filter(filter).limit(2)).await?;
        match found.items.as_slice() {
            [one] => Ok(one.id.clone()),
            [] => Err(unknown("no record has that value")),
            _ => Err(unknown("several records have that value")),
        }
    }

    /// The CRM's fields for a selection of the host's. The CRM's id may be among them: each record has it anyhow.
    fn select(&self, entry: &Entry, select: &[String]) -> Result<Vec<String>> {
        let id_field = self.inner.capabilities().id_field.as_ref();
        let own: Vec<String> = select.iter().filter(|name| *name != id_field || entry.mapping.field_for(name).is_ok()).cloned().collect();
        if own.is_empty() && !select.is_empty() { Ok(vec![id_field.to_owned()]) } else { entry.mapping.fields_for(&own) }
    }

    fn key(&self, entry: &Entry, key: &ExternalKey) -> Result<ExternalKey> {
        let id_field = self.inner.capabilities().id_field.as_ref();
        if key.field == id_field && entry.mapping.field_for(&key.field).is_err() {
            return Ok(key.clone());
        }
        // A key is compared, so it is translated as a condition is.
        let condition = Criteria::eq(&key.field, key.value.as_str());
        match entry.mapping.criteria(&condition, &[], self.words.now())? {
            Criteria::Compare { field, value, .. } => {
                let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                ExternalKey::new(field, text)
            }
            _ => Err(Error::unsupported(format!("the field {} is no key of the CRM's: it goes into several fields", key.field))),
        }
    }

    async fn ops(&self, entry: &Entry, ops: &[BulkOp]) -> Result<Vec<BulkOp>> {
        let mut theirs = Vec::with_capacity(ops.len());
        for op in ops {
            if let BulkOp::Create { fields } | BulkOp::Update { fields, .. } | BulkOp::Upsert { fields, .. } = op {
                known(entry, fields)?;
            }
            theirs.push(self.op(entry, op).await?);
        }
        Ok(theirs)
    }

    async fn op(&self, entry: &Entry, op: &BulkOp) -> Result<BulkOp> {
        Ok(match op {
            BulkOp::Create { fields } => BulkOp::Create { fields: self.outbound(entry, fields, Mode::Create).await? },
            BulkOp::Delete { id } => BulkOp::Delete { id: id.clone() },
            BulkOp::Update { id, fields } => BulkOp::Update { id: id.clone(), fields: self.outbound(entry, fields, Mode::Update).await? },
            BulkOp::Upsert { key, fields } => {
                BulkOp::Upsert { key: self.key(entry, key)?, fields: self.outbound(entry, fields, Mode::Update).await? }
            }
        })
    }
}

/// A field that is not mapped would be left out in silence by the mapping.
fn known(entry: &Entry, fields: &Fields) -> Result<()> {
    for name in fields.names() {
        let whole = entry.mapping.host_fields().any(|known| known == name || known.split('.').next() == Some(name));
        if !whole && !entry.mapping.reads(name) {
            entry.mapping.field_for(name).map_err(|error| error.on(&entry.ours))?;
        }
    }
    Ok(())
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: CrmAdapter> CrmAdapter for MappedAdapter<A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn authenticate(&self) -> Result<Identity> {
        self.inner.authenticate().await
    }

    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        let entry = self.words.entry(&query.entity).map_err(|error| error.during("search"))?;
        let now = self.words.now();
        let translated = || -> Result<Query> {
            let id_field = self.inner.capabilities().id_field.as_ref();
            let mut theirs = query.clone();
            theirs.entity = entry.theirs.clone();
            theirs.filter = entry.mapping.criteria(&query.filter, &[id_field], now)?;
            theirs.select = self.select(entry, &query.select)?;
            theirs.order = query.order.iter().map(|order| ordered(entry, order)).collect::<Result<_>>()?;
            Ok(theirs)
        };
        let theirs = translated().map_err(|error| error.during("search").on(&query.entity))?;
        let page = self.inner.search(&theirs).await.map_err(|error| entry.reworded(error))?;
        let records = page.items.into_iter().map(|record| entry.record(record, &query.select, now));
        let records = records.collect::<Result<_>>().map_err(|error| error.during("search"))?;
        Ok(Page::new(records, page.next, page.total))
    }

    async fn create(&self, entity: &Entity, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let entry = self.words.entry(entity).map_err(|error| error.during("create"))?;
        known(entry, fields).map_err(|error| error.during("create"))?;
        let theirs = self.outbound(entry, fields, Mode::Create).await.map_err(|error| error.during("create").on(entity))?;
        self.inner.create(&entry.theirs, &theirs, options).await.map_err(|error| entry.reworded(error))
    }

    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let entry = self.words.entry(entity).map_err(|error| error.during("update"))?;
        known(entry, fields).map_err(|error| error.during("update").record_id(id))?;
        let theirs = self.outbound(entry, fields, Mode::Update).await;
        let theirs = theirs.map_err(|error| error.during("update").on(entity).record_id(id))?;
        self.inner.update(&entry.theirs, id, &theirs, options).await.map_err(|error| entry.reworded(error))
    }

    async fn delete(&self, entity: &Entity, id: &RecordId, options: &WriteOptions) -> Result<()> {
        let entry = self.words.entry(entity).map_err(|error| error.during("delete"))?;
        self.inner.delete(&entry.theirs, id, options).await.map_err(|error| entry.reworded(error))
    }

    async fn get(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
        let entry = self.words.entry(entity).map_err(|error| error.during("get"))?;
        let theirs = self.select(entry, select).map_err(|error| error.during("get").on(entity))?;
        let found = self.inner.get(&entry.theirs, id, &theirs).await.map_err(|error| entry.reworded(error))?;
        let ours = found.map(|record| entry.record(record, select, self.words.now())).transpose();
        ours.map_err(|error| error.during("get"))
    }

    async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let entry = self.words.entry(entity).map_err(|error| error.during("upsert"))?;
        if !self.inner.capabilities().upsert {
            return self.inner.upsert(&entry.theirs, key, fields, options).await.map_err(|error| entry.reworded(error));
        }
        known(entry, fields).map_err(|error| error.during("upsert"))?;
        let theirs_key = self.key(entry, key).map_err(|error| error.during("upsert").on(entity))?;
        let theirs = self.outbound(entry, fields, Mode::Update).await.map_err(|error| error.during("upsert").on(entity))?;
        self.inner.upsert(&entry.theirs, &theirs_key, &theirs, options).await.map_err(|error| entry.reworded(error))
    }

    /// What cannot be translated fails alone; the rest is one call of the adapter inside.
    async fn bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        let entry = self.words.entry(entity).map_err(|error| error.during("bulk"))?;
        let mut sent = Vec::with_capacity(ops.len());
        let mut failed: Vec<Option<Error>> = Vec::with_capacity(ops.len());
        for op in ops {
            let fields = match op {
                BulkOp::Create { fields } | BulkOp::Update { fields, .. } | BulkOp::Upsert { fields, .. } => known(entry, fields),
                BulkOp::Delete { .. } => Ok(()),
            };
            let theirs = match fields {
                Ok(()) => self.op(entry, op).await,
                Err(error) => Err(error),
            };
            match theirs {
                Ok(op) => {
                    sent.push(op);
                    failed.push(None);
                }
                Err(error) => failed.push(Some(error.during(op.operation()).on(entity))),
            }
        }
        let outcomes = if sent.is_empty() {
            Vec::new()
        } else {
            self.inner.bulk(&entry.theirs, &sent, options).await.map_err(|error| entry.reworded(error))?
        };
        let mut outcomes = outcomes.into_iter();
        let missing = || Err(Error::decode("the adapter gave fewer outcomes than it was given writes").on(entity).ambiguous());
        Ok(failed
            .into_iter()
            .map(|failed| match failed {
                Some(error) => Err(error),
                None => outcomes.next().unwrap_or_else(missing).map_err(|error| entry.reworded(error)),
            })
            .collect())
    }

    fn job_terms(&self, entity: &Entity, operation: &str) -> Option<JobTerms> {
        self.inner.job_terms(&self.words.entry(entity).ok()?.theirs, operation)
    }

    /// One write that cannot be translated keeps the job from being opened.
    async fn open_job(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<JobTicket> {
        let entry = self.words.entry(entity).map_err(|error| error.during("open_job"))?;
        let theirs = self.ops(entry, ops).await.map_err(|error| error.during("open_job").on(entity))?;
        self.inner.open_job(&entry.theirs, &theirs, options).await.map_err(|error| entry.reworded(error))
    }

    async fn run_job(&self, entity: &Entity, ticket: &JobTicket, ops: &[BulkOp], begin: bool) -> Result<Vec<BulkOutcome>> {
        let entry = self.words.entry(entity).map_err(|error| error.during("run_job"))?;
        let theirs = self.ops(entry, ops).await.map_err(|error| error.during("run_job").on(entity))?;
        let outcomes = self.inner.run_job(&entry.theirs, ticket, &theirs, begin).await.map_err(|error| entry.reworded(error))?;
        Ok(outcomes.into_iter().map(|outcome| outcome.map_err(|error| entry.reworded(error))).collect())
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let entry = self.words.entry(&feed.entity).map_err(|error| error.during("changes"))?;
        let mut theirs = feed.clone();
        theirs.entity = entry.theirs.clone();
        theirs.select = self.select(entry, &feed.select).map_err(|error| error.during("changes").on(&feed.entity))?;
        let page = self.inner.changes(&theirs).await.map_err(|error| entry.reworded(error))?;
        let now = self.words.now();
        let ours = page.items.into_iter().map(|mut change| {
            if !change.fields.is_empty() {
                let fields = entry.inbound(&change.fields, &feed.select, now);
                change.fields = fields.map_err(|error| error.during("changes").on(&feed.entity).record_id(&change.id))?;
            }
            change.entity = entry.ours.clone();
            Ok(change)
        });
        Ok(Page::new(ours.collect::<Result<_>>()?, page.next, page.total))
    }

    /// The relation may be a host field; any other name is the CRM's.
    async fn associate(&self, link: &Association) -> Result<()> {
        let (from, to) = (self.words.entry(&link.from.0)?, self.words.entry(&link.to.0)?);
        let relation = from.mapping.relation(&link.relation).unwrap_or(&link.relation).to_owned();
        let theirs = Association { from: (from.theirs.clone(), link.from.1.clone()), to: (to.theirs.clone(), link.to.1.clone()), relation };
        self.inner.associate(&theirs).await.map_err(|error| from.reworded(error))
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        let entry = self.words.entry(entity).map_err(|error| error.during("describe"))?;
        let theirs = self.inner.describe(&entry.theirs).await.map_err(|error| entry.reworded(error))?;
        Ok(EntitySchema::new(entity.clone(), theirs.label.clone(), entry.mapping.described(&theirs)))
    }

    fn call_price(&self, entity: &Entity, operation: &str) -> Option<Price> {
        self.inner.call_price(&self.words.entry(entity).ok()?.theirs, operation)
    }

    async fn quota(&self) -> Result<Option<Quota>> {
        self.inner.quota().await
    }
}

fn ordered(entry: &Entry, order: &Order) -> Result<Order> {
    let field = entry.mapping.field_for(&order.field)?;
    let field =
        field.ok_or_else(|| Error::unsupported(format!("the field {} gives no order: it is no single field there", order.field)))?;
    Ok(Order { field: field.to_owned(), descending: order.descending })
}
