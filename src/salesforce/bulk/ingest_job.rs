//! An ingest job: its file, its start, its end, its results.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue};
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::rest::Call;
use crate::rest::percent_encode;
use crate::salesforce::bulk::awaited::Places;
use crate::salesforce::bulk::file::Sealed;
use crate::salesforce::bulk::job::{Delimiter, JobInfo, JobState, JobTicket};
use crate::salesforce::bulk::outcome::{IngestEvent, IngestReport, RowOutcome, RowResult, Sent};
use crate::salesforce::bulk::polling::{self, Polling};
use crate::salesforce::bulk::reader::CsvReader;
use crate::salesforce::bulk::rows::{ResultColumns, ResultFile};
use crate::salesforce::client::Salesforce;

/// A handle on an ingest job, new or met again by its [`JobTicket`].
#[derive(Clone, Debug)]
pub struct IngestJob {
    client: Salesforce,
    ticket: JobTicket,
    polling: Polling,
}

#[derive(Serialize)]
struct State {
    state: JobState,
}

impl IngestJob {
    pub(super) fn new(client: Salesforce, ticket: JobTicket) -> Self {
        Self { client, ticket, polling: Polling::default() }
    }

    /// How often [`IngestJob::wait`] looks.
    #[must_use]
    pub fn polling(mut self, polling: Polling) -> Self {
        self.polling = polling;
        self
    }

    /// What finds the job again.
    pub fn ticket(&self) -> &JobTicket {
        &self.ticket
    }

    /// The resources of a job are those of the version it was made with.
    fn path(&self, tail: &str) -> String {
        let version = self.ticket.api_version.unwrap_or_else(|| self.client.api_version());
        format!("/services/data/v{version}/jobs/ingest/{}{tail}", percent_encode(&self.ticket.id))
    }

    /// The job as it is now.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::NotFound`] for a job that is gone (they are kept for seven days).
    pub async fn info(&self) -> Result<JobInfo> {
        polling::look(&self.client, &self.path("")).await
    }

    /// Uploads the job's file, once: a job takes one. If the outcome is [unknown](Error::may_have_applied), abort the job and make
    /// another one.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn upload(&self, csv: impl Into<Bytes>) -> Result<()> {
        let call = Call::new("bulk upload", http::Method::PUT, self.path("/batches"));
        let call = call.body(HeaderValue::from_static("text/csv"), csv);
        self.client.send(call, &HeaderMap::new()).await?;
        Ok(())
    }

    /// Says that the file is complete; the org begins. Repeatable: a job that was started already is left alone.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn start(&self) -> Result<JobInfo> {
        match self.change(JobState::UploadComplete).await {
            Ok(info) => Ok(info),
            // Started or not? The job knows.
            Err(error) if error.may_have_applied() || error.kind() == ErrorKind::Conflict => match self.info().await {
                Ok(info) if info.state == JobState::Open => self.change(JobState::UploadComplete).await,
                Ok(info) => Ok(info),
                Err(_) => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    /// Gives the job up. What was saved stays saved.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Conflict`] if it has ended already.
    pub async fn abort(&self) -> Result<()> {
        self.change(JobState::Aborted).await.map(|_| ())
    }

    /// Deletes a job that has ended, and its result files; false if it was gone.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn delete(&self) -> Result<bool> {
        delete(&self.client, self.path("")).await
    }

    /// Waits until the job has ended, however. Dropping the future stops the looking, not the job.
    ///
    /// # Errors
    /// See [`Salesforce`]. A job that failed is no error here: see [`JobInfo::error`].
    pub async fn wait(&self) -> Result<JobInfo> {
        polling::wait(&self.client, &self.path(""), self.polling).await
    }

    /// The outcomes of an ended job's rows, as the org's files tell them: saved ones, failed ones, then those not reached. In no
    /// order within a file. Memory is a piece of a file, which its rows share. Three API calls.
    pub fn results(&self) -> BoxStream<'static, Result<RowOutcome>> {
        let rows = self.batches(false).map_ok(|batch| stream::iter(batch.events.into_iter().filter_map(IngestEvent::into_row).map(Ok)));
        rows.try_flatten().boxed()
    }

    /// Goes on with a job whose file is uploaded, wherever it stands: starts it if need be, waits, and gives all its rows and the
    /// report. Nothing is uploaded again. Without the file's rows at hand, rows no file names are only counted.
    pub fn resume(&self) -> BoxStream<'static, Result<IngestEvent>> {
        let job = self.clone();
        let ready = async move {
            let info = job.info().await?;
            if info.state == JobState::Open {
                job.start().await?;
            }
            let mut job = job;
            job.ticket.delimiter = job.ticket.delimiter.or(info.column_delimiter);
            job.ticket.key = job.ticket.key.or(info.external_id_field_name);
            Ok::<_, Error>(job.finish(None))
        };
        one_by_one(stream::once(ready).try_flatten())
    }

    /// Waits, then gives rows, rows that nobody named, and the report.
    pub(super) fn finish(self, file: Option<Sealed>) -> BoxStream<'static, Result<Vec<IngestEvent>>> {
        let ended = async move {
            let info = self.wait().await?;
            // Of a job that did not run to its end not every file need exist.
            let batches = self.batches(matches!(info.state, JobState::Aborted | JobState::Failed));
            let tally = Tally { job: self, info, file, saved: 0, failed: 0, unprocessed: 0, unexpected: 0 };
            Ok::<_, Error>(tally.count(batches))
        };
        stream::once(ended).try_flatten().boxed()
    }

    /// The records of the three files, as they arrive. `lenient` takes a file that does not exist for an empty one.
    fn batches(&self, lenient: bool) -> BoxStream<'static, Result<Arrived>> {
        let job = self.clone();
        stream::iter(ResultFile::ALL)
            .then(move |file| {
                let job = job.clone();
                async move {
                    match job.open(file).await {
                        Ok(reader) => Ok(job.read(file, reader)),
                        Err(error) if lenient && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Conflict) => {
                            Ok(stream::empty().boxed())
                        }
                        Err(error) => Err(error),
                    }
                }
            })
            .try_flatten()
            .boxed()
    }

    async fn open(&self, file: ResultFile) -> Result<CsvReader> {
        let path = self.path(&format!("/{}", file.path()));
        let call = Call::get("bulk results", path).header(http::header::ACCEPT, HeaderValue::from_static("text/csv"));
        let delimiter = match self.ticket.delimiter {
            Some(delimiter) => delimiter,
            None => self.info().await?.column_delimiter.unwrap_or(Delimiter::Comma),
        };
        let answer = self.client.open(call).await?;
        Ok(CsvReader::new(answer.into_body(), delimiter))
    }

    fn read(&self, file: ResultFile, reader: CsvReader) -> BoxStream<'static, Result<Arrived>> {
        let key = self.ticket.key.clone();
        let batches = stream::try_unfold((reader, None::<(ResultColumns, Arc<[String]>)>), move |(mut reader, known)| {
            let key = key.clone();
            async move {
                let Some(block) = reader.records().await? else { return Ok::<_, Error>(None) };
                let new = || (ResultColumns::new(file, reader.header(), key.as_deref()), Arc::from(reader.header()));
                let (columns, header) = known.unwrap_or_else(new);
                let block = Arc::new(block);
                let event = |row| columns.outcome(&block, row).map(IngestEvent::Row);
                let events = (0..block.len()).map(event).collect::<Result<Vec<_>>>()?;
                let batch = Arrived { header: Arc::clone(&header), events };
                Ok(Some((batch, (reader, Some((columns, header))))))
            }
        });
        batches.boxed()
    }

    async fn change(&self, state: JobState) -> Result<JobInfo> {
        let call = Call::patch("bulk job", self.path("")).json(&State { state })?;
        self.client.send(call, &HeaderMap::new()).await?.json()
    }
}

/// Events travel by the piece until here: each layer of streams costs a step for every item.
pub(super) fn one_by_one<'a>(events: impl Stream<Item = Result<Vec<IngestEvent>>> + Send + 'a) -> BoxStream<'a, Result<IngestEvent>> {
    events.map_ok(|events| stream::iter(events.into_iter().map(Ok))).try_flatten().boxed()
}

/// Rows of a result file.
struct Arrived {
    header: Arc<[String]>,
    /// A row each.
    events: Vec<IngestEvent>,
}

pub(super) async fn delete(client: &Salesforce, path: String) -> Result<bool> {
    match client.send(Call::delete("bulk job", path), &HeaderMap::new()).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Counts rows as they pass, and knows at the end which are missing.
struct Tally {
    job: IngestJob,
    info: JobInfo,
    file: Option<Sealed>,
    saved: u64,
    failed: u64,
    unprocessed: u64,
    unexpected: u64,
}

impl Tally {
    fn count(self, batches: BoxStream<'static, Result<Arrived>>) -> BoxStream<'static, Result<Vec<IngestEvent>>> {
        let steps = stream::try_unfold(Some((self, batches)), |step| async move {
            let Some((mut tally, mut batches)) = step else { return Ok::<_, Error>(None) };
            Ok(Some(match batches.next().await.transpose()? {
                Some(batch) => (tally.note(batch), Some((tally, batches))),
                None => (tally.end()?, None),
            }))
        });
        steps.boxed()
    }

    fn note(&mut self, batch: Arrived) -> Vec<IngestEvent> {
        let places = &self.file.as_ref().map_or_else(|| Places::Each(Vec::new()), |file| file.places(&batch.header));
        for event in &batch.events {
            let IngestEvent::Row(row) = event else { continue };
            match &row.result {
                RowResult::Saved { .. } => self.saved += 1,
                RowResult::Failed { .. } => self.failed += 1,
                RowResult::Missing | RowResult::Unprocessed => self.unprocessed += 1,
            }
            if let (Some(file), Sent::Record(_, block, at)) = (&mut self.file, &row.sent)
                && !file.settle(places, block.record(*at))
            {
                self.unexpected += 1;
            }
        }
        batch.events
    }

    /// The rows no file named, and the report.
    fn end(mut self) -> Result<Vec<IngestEvent>> {
        let told = self.saved + self.failed + self.unprocessed;
        let processed = self.info.number_records_processed.unwrap_or(0);
        let mut events = Vec::new();
        let mut missing = 0;
        match self.file.take() {
            None => {
                let sent = self.job.ticket.rows.unwrap_or(processed).max(processed);
                missing = sent.saturating_sub(told);
                self.unexpected = told.saturating_sub(sent);
            }
            // Rows known by all their cells may come back in another dress; then only their number tells.
            Some(file) if file.key.is_none() && file.rows == told => self.unexpected = 0,
            Some(file) => {
                // A job that ended before it began has done nothing to any row.
                let idle = self.info.state != JobState::JobComplete && processed == 0 && told == 0;
                let (keyed, sent) = (file.key.is_some(), file.rows);
                let rows = file.unsettled()?;
                missing = rows.len() as u64;
                if !keyed && missing != sent.saturating_sub(told) {
                    missing = sent.saturating_sub(told);
                    self.unexpected = told.saturating_sub(sent);
                } else {
                    events.extend(rows.into_iter().map(|(key, fields)| {
                        let result = if idle { RowResult::Unprocessed } else { RowResult::Missing };
                        IngestEvent::Row(RowOutcome::of(key, fields, result))
                    }));
                }
                if idle {
                    self.unprocessed += std::mem::take(&mut missing);
                }
            }
        }
        events.push(IngestEvent::Finished(Box::new(IngestReport {
            error: self.info.error(),
            ticket: self.job.ticket,
            info: self.info,
            saved: self.saved,
            failed: self.failed,
            unprocessed: self.unprocessed,
            missing,
            unexpected: self.unexpected,
        })));
        Ok(events)
    }
}
