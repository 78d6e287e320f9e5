//! Bulk API 2.0: ingest jobs and query jobs, moved by the world's clock.

mod csv;
mod ingest;
mod job;
mod log;
mod multipart;
mod query;
mod resource;

pub(crate) use job::Jobs;
pub(crate) use log::{JobLines, OwnedJobLines};
