//! What became of the rows of an ingest.

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::Error;
use crate::model::{Fields, RecordId};
use crate::salesforce::bulk::block::Block;
use crate::salesforce::bulk::job::{JobInfo, JobTicket};
use crate::salesforce::bulk::sent::SentColumns;

/// What became of one row.
#[derive(Debug)]
#[non_exhaustive]
pub enum RowResult {
    /// It was refused; the record is as it was. Without a vendor code it was refused here, before any upload.
    Failed {
        /// The record, where Salesforce says which.
        id: Option<RecordId>,
        /// Why; [`Error::is_retryable`] tells whether sending it again may help (a lock, a busy org).
        error: Error,
    },
    /// None of the job's files names it, though the job was at work. Look the record up, or repeat the upsert.
    Missing,
    /// It was saved, or deleted.
    Saved {
        /// The record.
        id: RecordId,
        /// Whether it is new.
        created: Option<bool>,
    },
    /// It was not reached; it can be sent again as it is.
    Unprocessed,
}

/// One row and what became of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct RowOutcome {
    /// Its key: the cell of the ingest's [key column](crate::salesforce::bulk::Ingest::key).
    pub key: Option<String>,
    /// What became of it.
    pub result: RowResult,
    pub(super) sent: Sent,
}

/// The row itself. Most rows are saved and never looked at again, so that a row of a result file stays as it came until then.
#[derive(Debug)]
pub(super) enum Sent {
    Fields(Fields),
    Record(Arc<SentColumns>, Arc<Block>, usize),
}

impl RowOutcome {
    pub(super) fn of(key: Option<String>, fields: Fields, result: RowResult) -> Self {
        Self { key, result, sent: Sent::Fields(fields) }
    }

    /// The row as it was sent, so that it can be sent again: texts, null for `#N/A`, relations under their dotted names. A row
    /// refused here is handed back as it came.
    pub fn into_fields(self) -> Fields {
        match self.sent {
            Sent::Fields(fields) => fields,
            Sent::Record(columns, block, row) => columns.fields(block.record(row)),
        }
    }

    /// As [`RowOutcome::into_fields`], of a row that is looked at again.
    pub fn fields(&self) -> Cow<'_, Fields> {
        match &self.sent {
            Sent::Fields(fields) => Cow::Borrowed(fields),
            Sent::Record(columns, block, row) => Cow::Owned(columns.fields(block.record(*row))),
        }
    }
}

/// What an ingest tells while it runs.
#[derive(Debug)]
#[non_exhaustive]
pub enum IngestEvent {
    /// A job has nothing more to tell. Comes after all its rows.
    Finished(Box<IngestReport>),
    /// The outcome of one row; they come in any order.
    Row(RowOutcome),
    /// A job's file is with the org and the job not yet started: that happens when the stream is asked for its next item. Keep
    /// the ticket first, and no crash can make an upload happen twice.
    Uploaded(JobTicket),
}

impl IngestEvent {
    /// The row, if it is one.
    pub fn into_row(self) -> Option<RowOutcome> {
        match self {
            Self::Row(row) => Some(row),
            _ => None,
        }
    }
}

/// The end of a job, with its counts.
#[derive(Debug)]
#[non_exhaustive]
pub struct IngestReport {
    /// The job.
    pub ticket: JobTicket,
    /// The job as the org described it last.
    pub info: JobInfo,
    /// Rows saved.
    pub saved: u64,
    /// Rows refused.
    pub failed: u64,
    /// Rows not reached.
    pub unprocessed: u64,
    /// Rows of which nobody knows anything: named by no file. Where the rows are at hand each is an item of its own too.
    pub missing: u64,
    /// Rows the files name that were not sent, or more often than they were sent.
    pub unexpected: u64,
    /// Why the job ended early, if it did.
    pub error: Option<Error>,
}

impl IngestReport {
    /// True if the job ran to its end and each row has exactly one outcome. Rows may have failed.
    pub fn is_complete(&self) -> bool {
        self.error.is_none() && self.missing == 0 && self.unexpected == 0
    }
}
