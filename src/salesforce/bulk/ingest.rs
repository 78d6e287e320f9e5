//! From a stream of rows to jobs, and from jobs to one outcome a row.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};

use crate::error::{Error, Result};
use crate::model::{Entity, EntitySchema, Fields};
use crate::pace::Schedule;
use crate::salesforce::bulk::cells::Encoding;
use crate::salesforce::bulk::file::{Form, JobFile, Sealed};
use crate::salesforce::bulk::ingest_job::{IngestJob, one_by_one};
use crate::salesforce::bulk::job::{Delimiter, IngestOperation, LineEnding};
use crate::salesforce::bulk::open::open_ingest;
use crate::salesforce::bulk::outcome::{IngestEvent, RowOutcome, RowResult};
use crate::salesforce::bulk::polling::Polling;
use crate::salesforce::client::Salesforce;

/// 150 MB once encoded is the most a job takes, which leaves 100 MB of CSV (Bulk API 2.0 Developer Guide, "Upload Job Data").
pub(super) const MOST_BYTES: usize = 100_000_000;
/// One job's file is held in memory until its outcomes are in: 10,000 rows of 300 bytes are
/// one of the org's internal batches.
const DEFAULT_BYTES: usize = 3 << 20;
/// Fifteen of the org's internal batches of 10,000.
const DEFAULT_ROWS: u64 = 150_000;
/// A file whose upload fails of passing trouble is sent so often, each time to a new job.
const UPLOADS: u32 = 3;

/// An ingest to be: what is written, in what form. [`Ingest::run`] starts it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Ingest {
    client: Salesforce,
    entity: Entity,
    operation: IngestOperation,
    encoding: Encoding,
    form: Form,
    columns: Vec<String>,
    key: Option<String>,
    assignment_rule: Option<String>,
    polling: Polling,
    in_flight: usize,
}

impl Ingest {
    pub(super) fn new(client: Salesforce, entity: Entity, operation: IngestOperation) -> Self {
        let form = Form { delimiter: Delimiter::Comma, ending: LineEnding::Lf, bytes: DEFAULT_BYTES, rows: DEFAULT_ROWS };
        Self {
            client,
            entity,
            encoding: Encoding::new(operation.clone()),
            key: operation.required().map(ToOwned::to_owned),
            operation,
            form,
            columns: Vec::new(),
            assignment_rule: None,
            polling: Polling::default(),
            in_flight: 1,
        }
    }

    /// The column outcomes are matched by; its values should differ from row to row. Default: the external id of an upsert, `Id`
    /// for updates and deletes. An insert has none: without one a row is known by all its cells.
    pub fn key(mut self, column: impl Into<String>) -> Self {
        self.key = Some(column.into());
        self
    }

    /// The columns, where they are known beforehand. Otherwise they are those of the first row, and a row with another column
    /// begins another job.
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The object's fields: instants are then written as a job reads them, whichever of the org's forms they are in.
    pub fn typed(mut self, schema: &EntitySchema) -> Self {
        self.encoding.typed(schema);
        self
    }

    /// The assignment rule of new leads or cases. The `Sforce-Auto-Assign` header does not exist here.
    pub fn assignment_rule(mut self, id: impl Into<String>) -> Self {
        self.assignment_rule = Some(id.into());
        self
    }

    /// What stands between columns. Default: a comma.
    pub fn delimiter(mut self, delimiter: Delimiter) -> Self {
        self.form.delimiter = delimiter;
        self
    }

    /// What ends a line. Default: a line feed.
    pub fn line_ending(mut self, ending: LineEnding) -> Self {
        self.form.ending = ending;
        self
    }

    /// The longest file of one job, in bytes: at most 100 MB, which is as much as a job takes. Default: 3 MiB. Memory is about
    /// this much for each job in flight, and one more.
    pub fn job_bytes(mut self, bytes: usize) -> Self {
        self.form.bytes = bytes.clamp(1, MOST_BYTES);
        self
    }

    /// The most rows of one job. Default: 150,000, as a few dozen bytes are kept for each until its outcome is known.
    pub fn job_rows(mut self, rows: u64) -> Self {
        self.form.rows = rows.max(1);
        self
    }

    /// How often jobs are looked at.
    pub fn polling(mut self, polling: Polling) -> Self {
        self.polling = polling;
        self
    }

    /// Jobs at work at once. Default: 1. Jobs that touch children of the same parents lock each other out: sort by parent, or
    /// stay with one.
    pub fn in_flight(mut self, jobs: usize) -> Self {
        self.in_flight = jobs.max(1);
        self
    }

    /// Writes the rows: cuts them into jobs, uploads each job's file in one request, waits by the host's clock, reads the three
    /// result files. Every row gives exactly one [`IngestEvent::Row`]; each job ends with [`IngestEvent::Finished`].
    ///
    /// An upload that fails of passing trouble is given up with its job and sent to a new one, three times in all; a job that was
    /// never started has written nothing. If it fails for good, the rows of its file come back as [`RowResult::Unprocessed`] and
    /// the error follows; no further row is then asked for, and jobs in flight are still reported.
    ///
    /// An error after [`IngestEvent::Uploaded`] is about the looking, not the job: [`IngestJob::resume`] goes on with its ticket.
    ///
    /// Dropping the stream leaves a job in the org as it stands: before [`IngestEvent::Uploaded`] and the poll after it nothing
    /// happens to any record (an open job is deleted by the org after seven days), from then on the job runs to its end.
    pub fn run<'a>(self, rows: impl Stream<Item = Fields> + Send + 'a) -> BoxStream<'a, Result<IngestEvent>> {
        let failed = Arc::new(AtomicBool::new(false));
        let file = JobFile::new(self.form, self.columns.clone(), self.key.clone());
        let filler = Filler { rows: rows.boxed(), encoding: self.encoding.clone(), file, stop: Arc::clone(&failed) };
        let in_flight = self.in_flight;
        let ingest = Arc::new(self);
        let events = stream::unfold(filler, |mut filler| async move { filler.next().await.map(|filled| (filled, filler)) })
            .map(move |filled| {
                let failed = Arc::clone(&failed);
                let events = match filled {
                    Filled::Refused(row) => stream::iter([Ok(vec![IngestEvent::Row(row)])]).boxed(),
                    Filled::File(file) => Arc::clone(&ingest).write(file),
                    Filled::Returned(file) => stream::iter([returned(file)]).boxed(),
                };
                events.inspect_err(move |_| failed.store(true, Ordering::Relaxed))
            })
            .flatten_unordered(in_flight);
        one_by_one(events)
    }

    /// One job, from its creation to its report.
    fn write(self: Arc<Self>, file: Sealed) -> BoxStream<'static, Result<Vec<IngestEvent>>> {
        let uploaded = async move {
            match self.upload(&file).await {
                Ok(job) => {
                    let told = IngestEvent::Uploaded(job.ticket().clone());
                    let rest = async move {
                        job.start().await?;
                        Ok::<_, Error>(job.finish(Some(file)))
                    };
                    stream::iter([Ok(vec![told])]).chain(stream::once(rest).try_flatten()).boxed()
                }
                Err(error) => stream::iter([returned(file), Err(error)]).boxed(),
            }
        };
        stream::once(uploaded).flatten().boxed()
    }

    /// A job that has the file and is not started.
    async fn upload(&self, file: &Sealed) -> Result<IngestJob> {
        let host = self.client.host().clone();
        let mut pauses: Schedule = self.polling.schedule();
        let mut attempt = 1;
        loop {
            let error = match self.try_upload(file).await {
                Ok(job) => return Ok(job),
                Err(error) => error,
            };
            // Nothing was started, so nothing was written.
            let error = error.not_applied().during("bulk ingest").on(&self.entity);
            if attempt >= UPLOADS || !error.is_retryable() {
                return Err(error);
            }
            attempt += 1;
            let pause = pauses.next().unwrap_or_default();
            host.sleep(error.retry_after().map_or(pause, |asked| asked.max(pause))).await;
        }
    }

    async fn try_upload(&self, file: &Sealed) -> Result<IngestJob> {
        let mut ticket = open_ingest(
            &self.client,
            &self.entity,
            &self.operation,
            self.form.delimiter,
            self.form.ending,
            self.assignment_rule.as_deref(),
        )
        .await?;
        ticket.rows = Some(file.rows);
        ticket.key.clone_from(&self.key);
        let job = IngestJob::new(self.client.clone(), ticket).polling(self.polling);
        match job.upload(file.body.clone()).await {
            Ok(()) => Ok(job),
            Err(error) => {
                // Left open it would only wait for its end; whether this succeeds changes nothing.
                let _left_open = job.abort().await;
                Err(error)
            }
        }
    }
}

/// The rows of a file that was not sent.
fn returned(file: Sealed) -> Result<Vec<IngestEvent>> {
    let event = |(key, fields)| IngestEvent::Row(RowOutcome::of(key, fields, RowResult::Unprocessed));
    Ok(file.unsettled()?.into_iter().map(event).collect())
}

/// Rows go in, files come out.
struct Filler<'a> {
    rows: BoxStream<'a, Fields>,
    encoding: Encoding,
    file: JobFile,
    stop: Arc<AtomicBool>,
}

enum Filled {
    File(Sealed),
    Refused(RowOutcome),
    /// Rows that were taken and are not sent any more.
    Returned(Sealed),
}

impl Filler<'_> {
    async fn next(&mut self) -> Option<Filled> {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(row) = self.rows.next().await else { break };
            match self.file.push_row(&self.encoding, &row) {
                Ok(None) => {}
                Ok(Some(full)) => return Some(Filled::File(full)),
                Err(error) => {
                    let result = RowResult::Failed { id: None, error };
                    return Some(Filled::Refused(RowOutcome::of(None, row, result)));
                }
            }
        }
        if self.file.is_empty() {
            return None;
        }
        let last = self.file.seal();
        Some(if self.stop.load(Ordering::Relaxed) { Filled::Returned(last) } else { Filled::File(last) })
    }
}
