//! The trait.

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::adapter::bulk::{BulkOp, BulkOutcome};
use crate::adapter::capabilities::Capabilities;
use crate::adapter::job::{JobTerms, JobTicket};
use crate::adapter::quota::{Price, Quota};
use crate::adapter::write::{WriteOptions, Written};
use crate::error::{Error, Result};
use crate::model::{Change, Entity, EntitySchema, ExternalKey, Fields, Record, RecordId};
use crate::query::{Criteria, Cursor, Page, Query};

/// Who we are to the CRM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// The CRM's id of the user.
    pub user: Option<String>,
    /// The CRM's id of the account, portal or organisation.
    pub account: Option<String>,
    /// The version of the API that is spoken.
    pub api_version: Option<String>,
}

impl Identity {
    /// An identity with nothing known.
    pub fn new() -> Self {
        Self::default()
    }
}

/// A tie between two records of the CRM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// From.
    pub from: (Entity, RecordId),
    /// To.
    pub to: (Entity, RecordId),
    /// The CRM's name of the relation: a field, a label or a type id.
    pub relation: String,
}

/// Where a change feed starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Since {
    /// From a time, by the CRM's clock.
    At(Timestamp),
    /// Where the last page ended.
    Cursor(Cursor),
    /// From the first record.
    Start,
}

/// A request for what changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ChangeFeed {
    /// Of which entity.
    pub entity: Entity,
    /// Fields to return with each change; empty asks for the adapter's default set.
    pub select: Vec<String>,
    /// From where.
    pub since: Since,
    /// Deletions too.
    pub deletes: bool,
}

impl ChangeFeed {
    /// Changes of `entity` from `since` on, without deletions.
    pub fn new(entity: Entity, since: Since) -> Self {
        Self { entity, select: Vec::new(), since, deletes: false }
    }
}

/// A CRM.
///
/// Every call is a bounded, documented number of HTTP calls (normally one), so that limits and retries at this level are
/// honest; an adapter does not retry. It does not sleep either, with two exceptions that say so: [`CrmAdapter::run_job`], and an
/// adapter whose one call is requests to several of the CRM's limits, which may wait for a turn under them (HubSpot's and
/// Pipedrive's, which can be told not to). Implementations map the vendor's failures to [`Error`], and set
/// [`Error::ambiguous`] on writes whose outcome is unknown.
///
/// The trait is object-safe and implemented for `Arc<T>`, `Box<T>` and `&T`.
#[async_trait]
pub trait CrmAdapter: Debug + Send + Sync {
    /// A stable label of this connection, e.g. `salesforce:acme`: it stands in errors, metrics and links.
    fn name(&self) -> &str;

    /// What this CRM can do.
    fn capabilities(&self) -> &Capabilities;

    /// Proves that the credentials work.
    #[doc(alias = "validateConnection")]
    async fn authenticate(&self) -> Result<Identity>;

    /// One page of the records that match.
    #[doc(alias = "searchEntity")]
    async fn search(&self, query: &Query) -> Result<Page<Record>>;

    /// Makes a record.
    #[doc(alias = "createEntity")]
    async fn create(&self, entity: &Entity, fields: &Fields, options: &WriteOptions) -> Result<Written>;

    /// Changes the given fields of a record; null clears a field, absent leaves it alone.
    #[doc(alias = "updateEntity")]
    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written>;

    /// Deletes a record. One that is gone already is deleted: that is success.
    #[doc(alias = "deleteEntity")]
    async fn delete(&self, entity: &Entity, id: &RecordId, options: &WriteOptions) -> Result<()>;

    /// One record, or `None` if it does not exist or is not visible. By default a search by the field `Id`.
    ///
    /// `select` as in [`Query::select`].
    async fn get(&self, entity: &Entity, id: &RecordId, select: &[String]) -> Result<Option<Record>> {
        let query = Query::new(entity.clone())
            .select(select.iter().cloned())
            .filter(Criteria::eq(self.capabilities().id_field.as_ref(), id.as_str()))
            .limit(1);
        Ok(self.search(&query).await?.items.into_iter().next())
    }

    /// Makes the record that has this key, or changes it. By default unsupported.
    async fn upsert(&self, entity: &Entity, key: &ExternalKey, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        let _ = (key, fields, options);
        Err(Error::unsupported(format!("{} has no upsert by an external key", self.name())).during("upsert").on(entity))
    }

    /// Carries out several operations. The answer has one outcome per operation, in the same order; a failure of one does not
    /// stop the others. By default one call after the other.
    ///
    /// # Errors
    /// Only if no outcome can be told for any operation; [`Error::may_have_applied`] then speaks of all of them.
    async fn bulk(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        let mut outcomes = Vec::with_capacity(ops.len());
        for op in ops {
            outcomes.push(match op {
                BulkOp::Create { fields } => self.create(entity, fields, options).await,
                BulkOp::Update { id, fields } => self.update(entity, id, fields, options).await,
                BulkOp::Upsert { key, fields } => self.upsert(entity, key, fields, options).await,
                BulkOp::Delete { id } => self.delete(entity, id, options).await.map(|()| Written::new(id.clone())),
            });
        }
        Ok(outcomes)
    }

    /// Whether writes by `operation` (`update`, `upsert` or `delete`) can be a job of the CRM, and from how many on. `None`, the
    /// default: never, be it that the CRM has no jobs or that one would not do the same as [`CrmAdapter::bulk`].
    fn job_terms(&self, entity: &Entity, operation: &str) -> Option<JobTerms> {
        let _ = (entity, operation);
        None
    }

    /// Hands operations of one kind (updates, upserts by one field, or deletions) to the CRM as a job that has not begun: nothing
    /// is written before [`CrmAdapter::run_job`]. Keep the ticket first, and no crash can make a write happen twice. By default
    /// unsupported.
    ///
    /// # Errors
    /// None of them has written anything.
    async fn open_job(&self, entity: &Entity, ops: &[BulkOp], options: &WriteOptions) -> Result<JobTicket> {
        let _ = (ops, options);
        Err(Error::unsupported(format!("{} has no jobs", self.name())).during("open_job").on(entity))
    }

    /// Waits until the job has ended and gives one outcome per operation, in the order of `ops`, which are known by their id or
    /// key alone: their fields are not read. Repeatable, in another process too. By default unsupported.
    ///
    /// `begin` begins a job that has not begun; without it such a job is given up, and its operations come back as
    /// [not applied](Error::may_have_applied), for a later plan. An operation the job's answer does not name is an error that
    /// [may have been applied](Error::may_have_applied).
    ///
    /// Unlike the other calls this one takes as long as the job does: it looks at the job's state from time to time, by the
    /// host's clock. Dropping it leaves the job to run.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::NotFound`] for a job the CRM does not keep any more; otherwise the job goes on, and calling
    /// again finds it.
    async fn run_job(&self, entity: &Entity, ticket: &JobTicket, ops: &[BulkOp], begin: bool) -> Result<Vec<BulkOutcome>> {
        let _ = (ticket, ops, begin);
        Err(Error::unsupported(format!("{} has no jobs", self.name())).during("run_job").on(entity))
    }

    /// One page of changes; the last page's `next` is the place to go on later. By default unsupported.
    async fn changes(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        Err(Error::unsupported(format!("{} has no change feed", self.name())).during("changes").on(&feed.entity))
    }

    /// Ties two records. By default unsupported.
    async fn associate(&self, link: &Association) -> Result<()> {
        Err(Error::unsupported(format!("{} has no associations", self.name())).during("associate").on(&link.from.0))
    }

    /// The entity's fields, as this user sees them. By default unsupported.
    async fn describe(&self, entity: &Entity) -> Result<EntitySchema> {
        Err(Error::unsupported(format!("{} does not describe its entities", self.name())).during("describe").on(entity))
    }

    /// What one call by `operation` (`create`, `update`, `upsert` or `delete`) takes of the allowance that [`CrmAdapter::quota`]
    /// tells, for CRMs whose calls have prices. `None`, the default: a call takes one.
    fn call_price(&self, entity: &Entity, operation: &str) -> Option<Price> {
        let _ = (entity, operation);
        None
    }

    /// What is left of the call allowances, as last heard. By default unknown.
    async fn quota(&self) -> Result<Option<Quota>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_safe() {
        fn takes(_: Option<&dyn CrmAdapter>) {}
        takes(None);
    }
}
