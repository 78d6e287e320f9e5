//! A query job and the pages of its rows.

use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use http::{HeaderMap, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::model::{EntitySchema, Fields};
use crate::query::Cursor;
use crate::rest::Call;
use crate::rest::percent_encode;
use crate::salesforce::bulk::ingest_job::delete;
use crate::salesforce::bulk::job::{Delimiter, JobInfo, JobState, JobTicket};
use crate::salesforce::bulk::open::jobs_path;
use crate::salesforce::bulk::polling::{self, Polling};
use crate::salesforce::bulk::reader::CsvReader;
use crate::salesforce::bulk::rows::QueryColumns;
use crate::salesforce::client::Salesforce;

/// Rows of a page; a page that breaks off is read again from its start.
const PAGE: u32 = 50_000;
/// A page is asked for so often before its trouble is the stream's.
const TRIES: u32 = 4;

/// A handle on a query job, new or met again by its [`JobTicket`]. Its results live for seven days.
#[derive(Clone, Debug)]
pub struct QueryJob {
    client: Salesforce,
    ticket: JobTicket,
    polling: Polling,
    page_rows: u32,
    typed: bool,
}

/// One page of rows, whole in memory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ResultPage {
    /// The rows; relations stand under their dotted names (`Owner.Name`).
    pub rows: Vec<Fields>,
    /// Where the next page is; `None` on the last one. Keep it to go on later: it is good as long as the job.
    pub next: Option<Cursor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultPages {
    #[serde(default)]
    result_pages: Vec<ResultLink>,
    #[serde(default, alias = "nextRecordUrl")]
    next_records_url: Option<String>,
    #[serde(default)]
    done: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultLink {
    result_url: String,
}

impl QueryJob {
    pub(super) fn new(client: Salesforce, ticket: JobTicket) -> Self {
        Self { client, ticket, polling: Polling::default(), page_rows: PAGE, typed: true }
    }

    /// How often [`QueryJob::wait`] looks.
    #[must_use]
    pub fn polling(mut self, polling: Polling) -> Self {
        self.polling = polling;
        self
    }

    /// Rows of one page. Default: 50,000.
    #[must_use]
    pub fn page_rows(mut self, rows: u32) -> Self {
        self.page_rows = rows.max(1);
        self
    }

    /// Leaves every cell a text and does not read the object's description, which otherwise costs two calls, once.
    #[must_use]
    pub fn untyped(mut self) -> Self {
        self.typed = false;
        self
    }

    /// What finds the job again.
    pub fn ticket(&self) -> &JobTicket {
        &self.ticket
    }

    /// Results must be read with the version the job was made with, or the answer is a 409.
    fn path(&self, tail: &str) -> String {
        let version = self.ticket.api_version.unwrap_or_else(|| self.client.api_version());
        format!("/services/data/v{version}/jobs/query/{}{tail}", percent_encode(&self.ticket.id))
    }

    /// The job as it is now.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::NotFound`] for a job that is gone.
    pub async fn info(&self) -> Result<JobInfo> {
        polling::look(&self.client, &self.path("")).await
    }

    /// Waits until the job has its rows. Dropping the future stops the looking, not the job.
    ///
    /// # Errors
    /// See [`Salesforce`]; the error of a job that [failed or was aborted](JobInfo::error).
    pub async fn wait(&self) -> Result<JobInfo> {
        let info = polling::wait(&self.client, &self.path(""), self.polling).await?;
        match info.error() {
            Some(error) => Err(error.during("bulk query")),
            None => Ok(info),
        }
    }

    /// Gives the job up.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Conflict`] if it has ended already.
    pub async fn abort(&self) -> Result<()> {
        #[derive(Serialize)]
        struct State {
            state: JobState,
        }
        let call = Call::patch("bulk job", self.path("")).json(&State { state: JobState::Aborted })?;
        self.client.send(call, &HeaderMap::new()).await.map(|_| ())
    }

    /// Deletes a job that has ended, and its rows; false if it was gone.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn delete(&self) -> Result<bool> {
        delete(&self.client, self.path("")).await
    }

    /// One page of an ended job, from `from` or from the start. Memory is the page.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Decode`] for a page that is not whole: nothing of it was handed out, ask again.
    pub async fn page(&self, from: Option<&Cursor>) -> Result<ResultPage> {
        let schema = self.schema().await?;
        self.whole(self.page_path(from), schema).await
    }

    /// All rows of an ended job, streamed: memory is a piece of a page. A page that breaks off is asked for again and goes on
    /// behind the last row that was handed out, three times; the pauses are by the host's clock.
    ///
    /// To be able to go on after a crash read by [`QueryJob::page`], or by [`QueryJob::pages`], and keep each page's cursor.
    pub fn rows(&self) -> BoxStream<'static, Result<Fields>> {
        self.rows_from(None)
    }

    /// As [`QueryJob::rows`], from a page's cursor on.
    pub fn rows_from(&self, from: Option<Cursor>) -> BoxStream<'static, Result<Fields>> {
        let reader = Rows { job: self.clone(), schema: None, from, given: 0, failures: 0, page: None, done: false };
        let batches = stream::try_unfold(reader, |mut reader| async move {
            Ok::<_, Error>(reader.next().await?.map(|rows| (stream::iter(rows.into_iter().map(Ok)), reader)))
        });
        batches.try_flatten().boxed()
    }

    /// As [`QueryJob::rows`], each row as `T`.
    pub fn rows_as<T: DeserializeOwned + Send + 'static>(&self) -> BoxStream<'static, Result<T>> {
        self.rows().map(|row| row?.parse()).boxed()
    }

    /// The pages one after the other, each whole in memory.
    pub fn pages(&self, from: Option<Cursor>) -> BoxStream<'static, Result<ResultPage>> {
        let job = self.clone();
        stream::try_unfold(Some(from), move |from| {
            let job = job.clone();
            async move {
                let Some(from) = from else { return Ok::<_, Error>(None) };
                let page = job.page(from.as_ref()).await?;
                let next = page.next.clone().map(Some);
                Ok(Some((page, next)))
            }
        })
        .boxed()
    }

    /// All rows of an ended job, with up to `at_once` pages read at the same time; the order is that of the pages. Memory is so
    /// many pages, each as long as the org makes them. Needs API version 58.0.
    pub fn rows_parallel(&self, at_once: usize) -> BoxStream<'static, Result<Fields>> {
        let job = self.clone();
        let reader = self.clone();
        let schema = async move { Ok::<_, Error>((job.schema().await?, job)) };
        let rows = stream::once(schema).map_ok(move |(schema, job)| {
            let reader = reader.clone();
            job.result_links()
                .map(move |link| {
                    let (reader, schema) = (reader.clone(), schema.clone());
                    async move { reader.whole(link?, schema).await }
                })
                .buffered(at_once.max(1))
                .map_ok(|page| stream::iter(page.rows.into_iter().map(Ok)))
                .try_flatten()
        });
        rows.try_flatten().boxed()
    }

    /// The paths of all pages, five to a request.
    fn result_links(&self) -> BoxStream<'static, Result<String>> {
        let job = self.clone();
        let start = Some(self.path("/resultPages"));
        let lists = stream::try_unfold(start, move |path| {
            let job = job.clone();
            async move {
                let Some(path) = path else { return Ok::<_, Error>(None) };
                let pages: ResultPages = job.client.send(Call::get("bulk query", path.as_str()), &HeaderMap::new()).await?.json()?;
                let mut links = Vec::with_capacity(pages.result_pages.len());
                for page in &pages.result_pages {
                    links.push(Ok(jobs_path(&job.client, &page.result_url, "query").await?));
                }
                let next = match (pages.done, pages.next_records_url) {
                    (Some(true), _) | (None, None) => None,
                    (Some(false), None) => return Err(Error::decode("the list of result pages is not done and names no next one")),
                    (_, Some(next)) => Some(jobs_path(&job.client, &next, "query").await?),
                };
                if next.as_ref() == Some(&path) {
                    return Err(Error::decode("the next list of result pages is the list just read").during("bulk query"));
                }
                Ok(Some((stream::iter(links), next)))
            }
        });
        lists.try_flatten().boxed()
    }

    fn page_path(&self, from: Option<&Cursor>) -> String {
        let mut path = self.path(&format!("/results?maxRecords={}", self.page_rows));
        if let Some(from) = from {
            path.push_str("&locator=");
            path.push_str(&percent_encode(from.as_str()));
        }
        path
    }

    async fn schema(&self) -> Result<Option<Arc<EntitySchema>>> {
        if !self.typed {
            return Ok(None);
        }
        let Some(object) = self.info().await?.object else { return Ok(None) };
        match self.client.schema(&object).await {
            Ok(schema) => Ok(Some(schema)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Permission) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn open(&self, path: String) -> Result<OpenPage> {
        let delimiter = match self.ticket.delimiter {
            Some(delimiter) => delimiter,
            None => self.info().await?.column_delimiter.unwrap_or(Delimiter::Comma),
        };
        let call = Call::get("bulk query", path).header(http::header::ACCEPT, HeaderValue::from_static("text/csv"));
        let answer = self.client.open(call).await?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let next = match header("sforce-locator") {
            // The end is the word "null"; a missing header is none.
            Some("null") => None,
            Some(locator) if !locator.is_empty() => Some(Cursor::new(locator)),
            _ => return Err(Error::decode("a page of a bulk query came without its Sforce-Locator header; rows would be lost")),
        };
        let promised = header("sforce-numberofrecords").and_then(|count| count.parse().ok());
        Ok(OpenPage { next, promised, read: 0, columns: None, reader: CsvReader::new(answer.into_body(), delimiter) })
    }

    async fn whole(&self, path: String, schema: Option<Arc<EntitySchema>>) -> Result<ResultPage> {
        let mut page = self.open(path).await?;
        let mut rows = Vec::new();
        while let Some(more) = page.rows(schema.as_deref()).await? {
            rows.extend(more);
        }
        Ok(ResultPage { rows, next: page.next })
    }
}

/// A page while it arrives.
#[derive(Debug)]
struct OpenPage {
    next: Option<Cursor>,
    promised: Option<u64>,
    read: u64,
    columns: Option<QueryColumns>,
    reader: CsvReader,
}

impl OpenPage {
    /// The next rows; `None` at the end, if all that were promised have come.
    async fn rows(&mut self, schema: Option<&EntitySchema>) -> Result<Option<Vec<Fields>>> {
        let Some(records) = self.reader.records().await? else {
            return match self.promised {
                Some(promised) if promised != self.read => {
                    let message = format!("a page of a bulk query has {} rows instead of {promised}", self.read);
                    Err(Error::decode(message).retrying(Retry::Backoff).during("bulk query"))
                }
                _ => Ok(None),
            };
        };
        self.read += records.len() as u64;
        let columns = self.columns.get_or_insert_with(|| QueryColumns::new(self.reader.header(), schema));
        Ok(Some(records.records().map(|record| columns.row(record)).collect()))
    }
}

/// Reads page after page.
#[derive(Debug)]
struct Rows {
    job: QueryJob,
    schema: Option<Option<Arc<EntitySchema>>>,
    from: Option<Cursor>,
    /// Rows of the current page that were handed out.
    given: u64,
    failures: u32,
    page: Option<OpenPage>,
    done: bool,
}

impl Rows {
    async fn next(&mut self) -> Result<Option<Vec<Fields>>> {
        loop {
            if self.done {
                return Ok(None);
            }
            match self.step().await {
                Ok(rows) if rows.is_empty() => {}
                Ok(rows) => return Ok(Some(rows)),
                Err(error) => {
                    self.failures += 1;
                    if self.failures >= TRIES || !matches!(error.retry(), Retry::Backoff | Retry::After(_)) {
                        return Err(error);
                    }
                    self.page = None;
                    let pause = self.job.polling.schedule().nth(self.failures as usize - 1).unwrap_or_default();
                    self.job.client.host().sleep(error.retry_after().map_or(pause, |asked| asked.max(pause))).await;
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Vec<Fields>> {
        let schema = match &self.schema {
            Some(schema) => schema.clone(),
            None => self.schema.insert(self.job.schema().await?).clone(),
        };
        let page = match &mut self.page {
            Some(page) => page,
            None => {
                let path = self.job.page_path(self.from.as_ref());
                self.page.insert(self.job.open(path).await?)
            }
        };
        let before = page.read;
        match page.rows(schema.as_deref()).await? {
            Some(mut rows) => {
                // A page that is read again begins with rows that were handed out before.
                let known = self.given.saturating_sub(before);
                rows.drain(..rows.len().min(usize::try_from(known).unwrap_or(usize::MAX)));
                self.given = self.given.max(page.read);
                if !rows.is_empty() {
                    self.failures = 0;
                }
                Ok(rows)
            }
            None => {
                let next = page.next.take();
                if next.is_some() && next == self.from {
                    return Err(Error::decode("the next page of the bulk query is the page just read").during("bulk query"));
                }
                self.done = next.is_none();
                (self.from, self.given, self.page) = (next, 0, None);
                Ok(Vec::new())
            }
        }
    }
}
