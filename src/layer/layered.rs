//! An adapter with a middleware around it: the one place that forwards the whole trait through one.

use async_trait::async_trait;

use crate::adapter::{
    Association, BulkOp, BulkOutcome, Capabilities, ChangeFeed, CrmAdapter, Identity, JobTerms, JobTicket, Price, Quota, WriteOptions,
    Written,
};
use crate::error::Result;
use crate::layer::api::{Call, Middleware};
use crate::model::{Change, Entity, EntitySchema, ExternalKey, Fields, Record, RecordId};
use crate::query::{Page, Query};

/// An adapter whose every call goes through a middleware. Made by [`LayerExt::layer`].
#[derive(Clone, Debug)]
pub struct Layered<A, M> {
    inner: A,
    middleware: M,
}

impl<A: CrmAdapter, M: Middleware> Layered<A, M> {
    /// `middleware` around `inner`.
    pub fn new(inner: A, middleware: M) -> Self {
        Self { inner, middleware }
    }

    /// The adapter inside, whose calls pass the middleware by.
    pub fn inner(&self) -> &A {
        &self.inner
    }

    /// The middleware.
    pub fn middleware(&self) -> &M {
        &self.middleware
    }

    fn call<'a>(&'a self, operation: &'static str, entity: Option<&'a Entity>) -> Call<'a> {
        Call { entity, ..Call::new(self.inner.name(), self.inner.capabilities(), operation) }
    }

    /// A write; `repeatable` if it sets absolute values. Under a version condition no write is: the repeat of one that was
    /// applied would meet its own new version and report a conflict.
    fn write<'a>(&'a self, operation: &'static str, entity: &'a Entity, options: &WriteOptions, repeatable: bool) -> Call<'a> {
        let conditional = options.if_version.is_some();
        Call { idempotent: repeatable && !conditional, conditional, ..self.call(operation, Some(entity)) }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: CrmAdapter, M: Middleware> CrmAdapter for Layered<A, M> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn authenticate(&self) -> Result<Identity> {
        self.middleware.around(self.call("authenticate", None), || self.inner.authenticate()).await
    }

    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        let call = Call { query: Some(query), ..self.call("search", Some(&query.entity)) };
        self.middleware.around(call, || self.inner.search(query)).await
    }

    async fn create(&self, entity: &Entity, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let call = self.write("create", entity, options, false);
        self.middleware.around(call, || self.inner.create(entity, fields, options)).await
    }

    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let call = self.write("update", entity, options, true);
        self.middleware.around(call, || self.inner.update(entity, id, fields, options)).await
    }

    async fn delete(&self, entity: &Entity, id: &RecordId, options: &WriteOptions) -> Result<()> {
        let call = self.write("delete", entity, options, true);
        self.middleware.around(call, || self.inner.delete(entity, id, options)).await
    }

    async fn get(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
        self.middleware.around(self.call("get", Some(entity)), || self.inner.get(entity, id, select)).await
    }

    async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let call = self.write("upsert", entity, options, true);
        self.middleware.around(call, || self.inner.upsert(entity, key, fields, options)).await
    }

    async fn bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        let repeatable = ops.iter().all(|op| !matches!(op, BulkOp::Create { .. }));
        let call = Call { records: ops.len(), ..self.write("bulk", entity, options, repeatable) };
        self.middleware.around(call, || self.inner.bulk(entity, ops, options)).await
    }

    fn job_terms(&self, entity: &Entity, operation: &str) -> Option<JobTerms> {
        self.inner.job_terms(entity, operation)
    }

    async fn open_job(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<JobTicket> {
        // A job that never begins does nothing, so that opening another one does no harm.
        let call = Call { records: ops.len(), ..self.call("open_job", Some(entity)) };
        self.middleware.around(call, || self.inner.open_job(entity, ops, options)).await
    }

    async fn run_job(&self, entity: &Entity, ticket: &JobTicket, ops: &[BulkOp], begin: bool) -> Result<Vec<BulkOutcome>> {
        let call = Call { records: ops.len(), ..self.call("run_job", Some(entity)) };
        self.middleware.around(call, || self.inner.run_job(entity, ticket, ops, begin)).await
    }

    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        self.middleware.around(self.call("changes", Some(&feed.entity)), || self.inner.changes(feed)).await
    }

    async fn associate(&self, link: &Association) -> Result<()> {
        // Some CRMs keep a tie as a record of its own, which a repeat would double.
        let call = Call { idempotent: false, ..self.call("associate", Some(&link.from.0)) };
        self.middleware.around(call, || self.inner.associate(link)).await
    }

    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        self.middleware.around(self.call("describe", Some(entity)), || self.inner.describe(entity)).await
    }

    fn call_price(&self, entity: &Entity, operation: &str) -> Option<Price> {
        self.inner.call_price(entity, operation)
    }

    async fn quota(&self) -> Result<Option<Quota>> {
        let quota = self.middleware.around(self.call("quota", None), || self.inner.quota()).await?;
        if let Some(quota) = &quota {
            self.middleware.quota(quota);
        }
        Ok(quota)
    }
}

/// Layers for every adapter.
pub trait LayerExt: CrmAdapter + Sized {
    /// This adapter with `middleware` around it.
    fn layer<M: Middleware>(self, middleware: M) -> Layered<Self, M> {
        Layered::new(self, middleware)
    }
}

impl<A: CrmAdapter> LayerExt for A {}
