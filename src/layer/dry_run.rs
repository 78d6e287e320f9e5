//! Reads for real and only notes what would be written.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::adapter::{
    Association, BulkOp, BulkOutcome, Capabilities, ChangeFeed, CrmAdapter, Identity, JobTerms, JobTicket, Price, Quota, WriteOptions,
    Written,
};
use crate::error::{Error, Result};
use crate::model::{Change, Entity, EntitySchema, ExternalKey, Fields, Record, RecordId};
use crate::query::{Page, Query};

/// A write that was noted instead of sent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Planned {
    /// A tie between two records.
    Associate(Association),
    /// A write of one record; the operations of a `bulk` are noted one by one.
    Write {
        /// The kind of record.
        entity: Entity,
        /// The write.
        op: BulkOp,
    },
}

/// An adapter that reads through and answers writes itself.
///
/// Creates and upserts answer made-up ids (`dry-run-1`, `dry-run-2`, ...), under which nothing can be read. What the CRM would
/// have refused is not found out.
#[derive(Debug)]
pub struct DryRun<A> {
    inner: A,
    planned: Mutex<Vec<Planned>>,
}

impl<A: CrmAdapter> DryRun<A> {
    /// Around `inner`, with nothing noted.
    pub fn new(inner: A) -> Self {
        Self { inner, planned: Mutex::new(Vec::new()) }
    }

    /// What would have been written so far, in order.
    pub fn planned(&self) -> Vec<Planned> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, planned: Planned) -> Written {
        let mut all = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        let made_up = RecordId::new(format!("dry-run-{}", all.len() + 1));
        let written = match &planned {
            Planned::Write { op: BulkOp::Update { id, .. } | BulkOp::Delete { id }, .. } => Written::new(id.clone()).created(false),
            Planned::Write { op: BulkOp::Create { .. }, .. } => Written::new(made_up).created(true),
            _ => Written::new(made_up),
        };
        all.push(planned);
        written
    }

    fn write(&self, entity: &Entity, op: BulkOp) -> Written {
        self.note(Planned::Write { entity: entity.clone(), op })
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: CrmAdapter> CrmAdapter for DryRun<A> {
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
        self.inner.search(query).await
    }

    async fn create(&self, entity: &Entity, fields: &Fields, _options: &WriteOptions) -> Result<Written> {
        Ok(self.write(entity, BulkOp::Create { fields: fields.clone() }))
    }

    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, _options: &WriteOptions) -> Result<Written> {
        Ok(self.write(entity, BulkOp::Update { id: id.clone(), fields: fields.clone() }))
    }

    async fn delete(&self, entity: &Entity, id: &RecordId, _options: &WriteOptions) -> Result<()> {
        self.write(entity, BulkOp::Delete { id: id.clone() });
        Ok(())
    }

    async fn get(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
        self.inner.get(entity, id, select).await
    }

    async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, _options: &WriteOptions) -> Result<Written> {
        Ok(self.write(entity, BulkOp::Upsert { key: key.clone(), fields: fields.clone() }))
    }

    async fn bulk(&self, entity: &Entity, ops: &[BulkOp], _options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        Ok(ops.iter().map(|op| Ok(self.write(entity, op.clone()))).collect())
    }

    /// None: what a job would write is noted as a `bulk`.
    fn job_terms(&self, _entity: &Entity, _operation: &str) -> Option<JobTerms> {
        None
    }

    async fn open_job(&self, entity: &Entity, _ops: &[BulkOp], _options: &WriteOptions) -> Result<JobTicket> {
        Err(Error::unsupported("a dry run opens no jobs; use bulk").during("open_job").on(entity))
    }

    async fn run_job(&self, entity: &Entity, _ticket: &JobTicket, _ops: &[BulkOp], _begin: bool) -> Result<Vec<BulkOutcome>> {
        Err(Error::unsupported("a dry run runs no jobs; use bulk").during("run_job").on(entity))
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        self.inner.changes(feed).await
    }

    async fn associate(&self, link: &Association) -> Result<()> {
        self.note(Planned::Associate(link.clone()));
        Ok(())
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        self.inner.describe(entity).await
    }

    fn call_price(&self, entity: &Entity, operation: &str) -> Option<Price> {
        self.inner.call_price(entity, operation)
    }

    async fn quota(&self) -> Result<Option<Quota>> {
        self.inner.quota().await
    }
}
