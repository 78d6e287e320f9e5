//! One method around every call.

use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::adapter::Capabilities;
use crate::error::Result;
use crate::model::Entity;
use crate::query::Query;

/// The call a middleware stands around.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Call<'a> {
    /// The adapter's name.
    pub adapter: &'a str,
    /// What the adapter can do.
    pub capabilities: &'a Capabilities,
    /// The method: `authenticate`, `search`, `create`, `update`, `delete`, `get`, `upsert`, `bulk`, `open_job`,
    /// `run_job`, `changes`, `associate`, `describe`, `quota`.
    pub operation: &'static str,
    /// The kind of record, if the call is about one.
    pub entity: Option<&'a Entity>,
    /// How many records the call carries: the operations of a `bulk` or a job, 1 otherwise.
    pub records: usize,
    /// Doing it twice does no harm: reads, and writes of absolute values to a known record or key without a version condition.
    /// A create is never idempotent, nor a bulk that holds one.
    pub idempotent: bool,
    /// The write asks for a version ([`crate::adapter::WriteOptions::if_version`]).
    pub conditional: bool,
    /// The query of a `search`.
    pub query: Option<&'a Query>,
}

impl<'a> Call<'a> {
    /// An idempotent call of one record; what differs is set after.
    pub fn new(adapter: &'a str, capabilities: &'a Capabilities, operation: &'static str) -> Self {
        Self { adapter, capabilities, operation, entity: None, records: 1, idempotent: true, conditional: false, query: None }
    }

    /// True if the call changes something in the CRM.
    pub fn is_write(&self) -> bool {
        matches!(self.operation, "create" | "update" | "delete" | "upsert" | "bulk" | "open_job" | "run_job" | "associate")
    }
}

/// What stands around the calls of an adapter.
///
/// ```
/// use crm_sync::error::{Error, ErrorKind, Result};
/// use crm_sync::layer::{Call, Middleware};
/// use futures_util::future::BoxFuture;
///
/// /// Refuses to delete.
/// #[derive(Debug)]
/// struct Keep;
///
/// impl Middleware for Keep {
///     async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
///     where
///         T: Send + 'a,
///         F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
///     {
///         if call.operation == "delete" {
///             return Err(Error::new(ErrorKind::Permission, "nothing is deleted here").during("delete"));
///         }
///         run().await
///     }
/// }
/// ```
pub trait Middleware: Debug + Send + Sync {
    /// Makes the call by `run`, as often as it likes; not at all, if it has an error to give instead.
    fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a;
}

/// A middleware that is shared by several adapters, such as one rate limit for two connections to the same account.
impl<M: Middleware> Middleware for Arc<M> {
    fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> impl Future<Output = Result<T>> + Send + 'a
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        (**self).around(call, run)
    }
}
