//! The door to the jobs.

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::model::Entity;
use crate::rest::Call;
use crate::salesforce::bulk::ingest::Ingest;
use crate::salesforce::bulk::ingest_job::IngestJob;
use crate::salesforce::bulk::job::{Delimiter, IngestOperation, JobInfo, JobTicket, LineEnding};
use crate::salesforce::bulk::open::{jobs_path, open_ingest};
use crate::salesforce::bulk::query_job::QueryJob;
use crate::salesforce::client::Salesforce;

/// Bulk API 2.0 over a connection. Cloning is cheap.
///
/// Unlike the rest of the client it waits (by the host's clock) where a job must be waited for, and it repeats what is safe to
/// repeat: looks at a job, pages of results, uploads to a job that was never started.
#[derive(Clone, Debug)]
pub struct Bulk {
    client: Salesforce,
}

impl Salesforce {
    /// Bulk API 2.0 over this connection.
    pub fn bulk(&self) -> Bulk {
        Bulk { client: self.clone() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewQuery<'a> {
    operation: &'static str,
    query: &'a str,
    column_delimiter: Delimiter,
    line_ending: LineEnding,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Jobs {
    done: bool,
    #[serde(default)]
    records: Vec<JobInfo>,
    #[serde(default, alias = "nextRecordUrl")]
    next_records_url: Option<String>,
}

impl Bulk {
    /// Writes many rows of `entity`: set its form, then [`Ingest::run`] it.
    pub fn ingest(&self, entity: &Entity, operation: IngestOperation) -> Ingest {
        Ingest::new(self.client.clone(), entity.clone(), operation)
    }

    /// An ingest job that exists, by its ticket or id.
    pub fn job(&self, ticket: impl Into<JobTicket>) -> IngestJob {
        IngestJob::new(self.client.clone(), ticket.into())
    }

    /// Makes an empty ingest job, for a host that has a CSV file of its own: [`IngestJob::upload`] it in one piece of at most
    /// 100 MB, [`IngestJob::start`], [`IngestJob::wait`], [`IngestJob::results`].
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn create_job(
        &self,
        entity: &Entity,
        operation: &IngestOperation,
        delimiter: Delimiter,
        ending: LineEnding,
    ) -> Result<IngestJob> {
        Ok(self.job(open_ingest(&self.client, entity, operation, delimiter, ending, None).await?))
    }

    /// Starts a query as a job. Not allowed in it: GROUP BY, OFFSET, TYPEOF, aggregates, child subqueries, compound fields. ORDER
    /// BY and LIMIT make it slow.
    ///
    /// Making one twice does no harm but counts against the day's 10,000 query jobs.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn query(&self, soql: &str) -> Result<QueryJob> {
        self.start_query("query", soql).await
    }

    /// As [`Bulk::query`], with deleted and archived rows.
    ///
    /// # Errors
    /// See [`Salesforce`].
    pub async fn query_all(&self, soql: &str) -> Result<QueryJob> {
        self.start_query("queryAll", soql).await
    }

    async fn start_query(&self, operation: &'static str, soql: &str) -> Result<QueryJob> {
        let body = NewQuery { operation, query: soql, column_delimiter: Delimiter::Comma, line_ending: LineEnding::Lf };
        // Nothing of the org's data changes, so an unknown outcome is no trouble.
        let call = Call::post("bulk query", self.client.path("/jobs/query")).read_only().json(&body)?;
        let info: JobInfo = self.client.send(call, &HeaderMap::new()).await?.json()?;
        let mut ticket = JobTicket::from(&info);
        ticket.api_version.get_or_insert(self.client.api_version());
        ticket.delimiter.get_or_insert(Delimiter::Comma);
        Ok(self.query_job(ticket))
    }

    /// A query job that exists, by its ticket or id.
    pub fn query_job(&self, ticket: impl Into<JobTicket>) -> QueryJob {
        QueryJob::new(self.client.clone(), ticket.into())
    }

    /// The org's ingest jobs of the last seven days, those of other clients and of Bulk API 1.0 included, page by page.
    pub fn ingest_jobs(&self) -> BoxStream<'static, Result<JobInfo>> {
        self.list("ingest")
    }

    /// The org's query jobs of the last seven days, page by page.
    pub fn query_jobs(&self) -> BoxStream<'static, Result<JobInfo>> {
        self.list("query")
    }

    fn list(&self, kind: &'static str) -> BoxStream<'static, Result<JobInfo>> {
        let client = self.client.clone();
        let start = Some(client.path(&format!("/jobs/{kind}")));
        let pages = stream::try_unfold(start, move |path| {
            let client = client.clone();
            async move {
                let Some(path) = path else { return Ok::<_, Error>(None) };
                let jobs: Jobs = client.send(Call::get("bulk jobs", path.as_str()), &HeaderMap::new()).await?.json()?;
                let next = match jobs.next_records_url.filter(|_| !jobs.done) {
                    Some(next) => Some(jobs_path(&client, &next, kind).await?),
                    None if jobs.done => None,
                    None => return Err(Error::decode("the list of jobs is not done and names no next page").during("bulk jobs")),
                };
                if next.as_ref() == Some(&path) {
                    return Err(Error::decode("the next page of the jobs is the page just read").during("bulk jobs"));
                }
                Ok(Some((stream::iter(jobs.records.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten().boxed()
    }
}
