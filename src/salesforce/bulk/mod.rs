//! Bulk API 2.0: jobs over CSV, for more rows than collections are made for.
//!
//! [`Bulk`] is reached by [`Salesforce::bulk`](crate::salesforce::Salesforce::bulk). [`Bulk::ingest`] takes a stream of rows of
//! any length and gives one outcome for each; [`Bulk::query`] runs a query as a job and streams its rows. [`Route`] says when a
//! job is the cheaper way.
//!
//! Nothing here can be undone, and nothing runs by itself: a job that was started goes on in the org when a stream is dropped,
//! and its [`JobTicket`] finds it again, in another process too.
//!
//! The rules are those of the "Bulk API 2.0 and Bulk API Developer Guide".

mod api;
mod awaited;
mod block;
mod cells;
mod file;
mod ingest;
mod ingest_job;
mod job;
mod layout;
mod open;
mod operations;
mod outcome;
mod polling;
mod query_job;
mod reader;
mod rows;
mod sent;

pub use crate::salesforce::route::{Route, Volume};
pub use api::Bulk;
pub use ingest::Ingest;
pub use ingest_job::IngestJob;
pub use job::{Delimiter, IngestOperation, JobInfo, JobState, JobTicket, LineEnding};
pub use outcome::{IngestEvent, IngestReport, RowOutcome, RowResult};
pub use polling::Polling;
pub use query_job::{QueryJob, ResultPage};
