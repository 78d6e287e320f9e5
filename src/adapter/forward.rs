//! The trait for pointers to an adapter.

use std::sync::Arc;

use async_trait::async_trait;

use crate::adapter::api::{Association, ChangeFeed, CrmAdapter, Identity};
use crate::adapter::bulk::{BulkOp, BulkOutcome};
use crate::adapter::capabilities::Capabilities;
use crate::adapter::job::{JobTerms, JobTicket};
use crate::adapter::quota::{Price, Quota};
use crate::adapter::write::{WriteOptions, Written};
use crate::error::Result;
use crate::model::{Change, Entity, EntitySchema, ExternalKey, Fields, Record, RecordId};
use crate::query::{Page, Query};

macro_rules! forward {
    ($pointer:ty) => {
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<A: CrmAdapter + ?Sized> CrmAdapter for $pointer {
            fn name(&self) -> &str {
                (**self).name()
            }

            fn capabilities(&self) -> &Capabilities {
                (**self).capabilities()
            }

            async fn authenticate(&self) -> Result<Identity> {
                (**self).authenticate().await
            }

            async fn search(&self, query: &Query) -> Result<Page<Record>> {
                (**self).search(query).await
            }

            async fn create(&self, entity: &Entity, fields: &Fields, options: &WriteOptions) -> Result<Written> {
                (**self).create(entity, fields, options).await
            }

            async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
                (**self).update(entity, id, fields, options).await
            }

            async fn delete(&self, entity: &Entity, id: &RecordId, options: &WriteOptions) -> Result<()> {
                (**self).delete(entity, id, options).await
            }

            async fn get(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
                (**self).get(entity, id, select).await
            }

            async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, options: &WriteOptions) -> Result<Written> {
                (**self).upsert(entity, key, fields, options).await
            }

            async fn bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
                (**self).bulk(entity, ops, options).await
            }

            fn job_terms(&self, entity: &Entity, operation: &str) -> Option<JobTerms> {
                (**self).job_terms(entity, operation)
            }

            async fn open_job(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<JobTicket> {
                (**self).open_job(entity, ops, options).await
            }

            async fn run_job(&self, entity: &Entity, ticket: &JobTicket, ops: &[BulkOp], begin: bool) -> Result<Vec<BulkOutcome>> {
                (**self).run_job(entity, ticket, ops, begin).await
            }

            async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
                (**self).changes(feed).await
            }

            async fn associate(&self, link: &Association) -> Result<()> {
                (**self).associate(link).await
            }

            async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
                (**self).describe(entity).await
            }

            fn call_price(&self, entity: &Entity, operation: &str) -> Option<Price> {
                (**self).call_price(entity, operation)
            }

            async fn quota(&self) -> Result<Option<Quota>> {
                (**self).quota().await
            }
        }
    };
}

forward!(&A);
forward!(Arc<A>);
forward!(Box<A>);
