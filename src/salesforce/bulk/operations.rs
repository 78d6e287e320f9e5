//! The operations of a pipeline as one ingest job.

use std::collections::{HashMap, VecDeque};

use futures_util::TryStreamExt;

use crate::adapter::{self, BulkOp, BulkOutcome, JobTerms, Written};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::model::{Entity, Fields};
use crate::salesforce::bulk::cells::Encoding;
use crate::salesforce::bulk::file::{Form, JobFile, Sealed};
use crate::salesforce::bulk::ingest::MOST_BYTES;
use crate::salesforce::bulk::ingest_job::one_by_one;
use crate::salesforce::bulk::job::{Delimiter, IngestOperation, JobState, JobTicket, LineEnding};
use crate::salesforce::bulk::open::open_ingest;
use crate::salesforce::bulk::outcome::{IngestEvent, RowResult};
use crate::salesforce::client::Salesforce;
use crate::salesforce::config::AutoAssign;
use crate::salesforce::ids;
use crate::salesforce::route::CALLS_OF_A_JOB;

/// One of the org's internal batches. The rows of a job are in memory while its file is made and while its results are read.
const MOST_OPERATIONS: usize = 10_000;

/// Objects whose owner an assignment rule may decide.
const ASSIGNED: [&str; 3] = ["Account", "Case", "Lead"];

impl Salesforce {
    pub(in crate::salesforce) fn terms(&self, entity: &Entity, operation: &str) -> Option<JobTerms> {
        if self.config.all_or_none || self.config.duplicate_rule.is_some() {
            return None;
        }
        let assigned = ASSIGNED.iter().any(|name| name.eq_ignore_ascii_case(entity.as_str()));
        let possible = match operation {
            "delete" => true,
            // Single calls and collections run the active rule unless told otherwise; jobs run none but a named one, and that
            // for leads and cases only ("assignmentRuleId").
            "update" | "upsert" => match &self.config.auto_assign {
                AutoAssign::Default => !assigned,
                AutoAssign::Off => true,
                AutoAssign::Rule(_) => !entity.as_str().eq_ignore_ascii_case("Account"),
            },
            _ => false,
        };
        let calls = usize::try_from(CALLS_OF_A_JOB).unwrap_or(usize::MAX);
        possible.then(|| JobTerms::new(self.config.volume.bulk_writes_above.saturating_add(1), MOST_OPERATIONS, calls))
    }

    /// A job that has its file and has not begun.
    pub(in crate::salesforce) async fn open_operations(&self, entity: &Entity, ops: &[BulkOp]) -> Result<adapter::JobTicket> {
        let operation = kind(ops)?;
        let rule = match &self.config.auto_assign {
            AutoAssign::Rule(id) if !operation.deletes() && assignable(entity) => Some(id.as_str()),
            _ => None,
        };
        let file = self.file(entity, &operation, ops)?;
        let bulk = Salesforce::bulk(self);
        let mut ticket = open_ingest(self, entity, &operation, Delimiter::Comma, LineEnding::Lf, rule).await?;
        ticket.rows = Some(file.rows);
        let job = bulk.job(ticket);
        if let Err(error) = job.upload(file.body).await {
            // Left open it would only wait for its end; whether this succeeds changes nothing.
            let _left_open = job.abort().await;
            return Err(error);
        }
        let text =
            serde_json::to_string(job.ticket()).map_err(|error| Error::internal("a ticket does not serialise").with_source(error))?;
        Ok(adapter::JobTicket::new(text))
    }

    fn file(&self, entity: &Entity, operation: &IngestOperation, ops: &[BulkOp]) -> Result<Sealed> {
        let mut encoding = Encoding::new(operation.clone());
        if let Some(schema) = self.known_schema(entity) {
            encoding.typed(&schema);
        }
        let rows = ops.iter().map(row).collect::<Result<Vec<_>>>()?;
        // A row no file can hold comes back without an outcome; what speaks to one record at a time says why.
        let cells: Vec<_> = rows.iter().filter_map(|row| encoding.cells(row).ok()).collect();
        // All columns stand in the header from the start, so that one file holds rows with different fields.
        let mut columns: Vec<String> = Vec::new();
        for (name, _) in cells.iter().flatten() {
            if !columns.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                columns.push(name.clone().into_owned());
            }
        }
        let form = Form { delimiter: Delimiter::Comma, ending: LineEnding::Lf, bytes: MOST_BYTES, rows: u64::MAX };
        let mut file = JobFile::new(form, columns, operation.required().map(ToOwned::to_owned));
        for cells in &cells {
            match file.push(cells) {
                Ok(None) | Err(_) => {}
                Ok(Some(_)) => {
                    let message = "the operations take more than the 100 MB of one bulk job; send fewer at once";
                    return Err(Error::new(ErrorKind::Validation, message));
                }
            }
        }
        if file.is_empty() {
            return Err(Error::new(ErrorKind::Validation, "none of the operations fits into the file of a bulk job"));
        }
        Ok(file.seal())
    }

    pub(in crate::salesforce) async fn run_operations(
        &self,
        entity: &Entity,
        ticket: &adapter::JobTicket,
        ops: &[BulkOp],
        begin: bool,
    ) -> Result<Vec<BulkOutcome>> {
        let mut ticket: JobTicket =
            serde_json::from_str(ticket.as_str()).map_err(|_| Error::config("the ticket is not one of a salesforce bulk job"))?;
        ticket.key = ticket.key.or(kind(ops)?.required().map(ToOwned::to_owned));
        let job = Salesforce::bulk(self).job(ticket);
        if job.info().await?.state == JobState::Open {
            if !begin {
                job.abort().await?;
                return Ok(ops.iter().map(|op| Err(unreached().during(op.operation()).on(entity))).collect());
            }
            job.start().await?;
        }
        let mut told: HashMap<String, VecDeque<RowResult>> = HashMap::with_capacity(ops.len());
        let mut trouble = None;
        let mut idle = false;
        let mut events = one_by_one(job.finish(None));
        while let Some(event) = events.try_next().await? {
            match event {
                IngestEvent::Row(row) => {
                    if let Some(key) = row.key {
                        told.entry(key).or_default().push_back(row.result);
                    }
                }
                IngestEvent::Finished(report) => {
                    // A job that ended before it began has done nothing to any record.
                    idle = report.error.is_some() && report.info.number_records_processed.unwrap_or(0) == 0 && told.is_empty();
                    trouble = report.error;
                }
                IngestEvent::Uploaded(_) => {}
            }
        }
        let outcome = |op: &BulkOp| match key(op).and_then(|key| told.get_mut(key.as_ref())).and_then(VecDeque::pop_front) {
            Some(RowResult::Saved { id, created }) => {
                let written = Written::new(id);
                match (op, created) {
                    (BulkOp::Upsert { .. }, Some(created)) => Ok(written.created(created)),
                    (BulkOp::Upsert { .. }, None) => Ok(written),
                    _ => Ok(written.created(false)),
                }
            }
            // Gone already is deleted.
            Some(RowResult::Failed { error, .. }) => match op {
                BulkOp::Delete { id } if error.kind() == ErrorKind::NotFound => Ok(Written::new(ids::record_id(id.as_str()))),
                _ => Err(error),
            },
            Some(RowResult::Unprocessed) => Err(unreached()),
            Some(RowResult::Missing) | None => Err(match &trouble {
                Some(trouble) if idle => trouble.echo().not_applied(),
                _ => Error::new(
                    ErrorKind::Unavailable,
                    "the files of the bulk job do not name the row; look the record up, or write it again",
                )
                .retrying(Retry::Backoff)
                .ambiguous(),
            }),
        };
        let outcomes = ops.iter().map({
            let mut outcome = outcome;
            move |op| outcome(op).map_err(|error| error.during(op.operation()).on(entity))
        });
        Ok(outcomes.collect())
    }
}

fn unreached() -> Error {
    Error::new(ErrorKind::Unavailable, "the bulk job did not reach the row, which can be written again")
        .retrying(Retry::Backoff)
        .not_applied()
}

fn assignable(entity: &Entity) -> bool {
    ["Case", "Lead"].iter().any(|name| name.eq_ignore_ascii_case(entity.as_str()))
}

/// The one operation all of them are.
fn kind(ops: &[BulkOp]) -> Result<IngestOperation> {
    let mut kinds = ops.iter().map(|op| match op {
        BulkOp::Update { .. } => Ok(IngestOperation::Update),
        BulkOp::Delete { .. } => Ok(IngestOperation::Delete),
        BulkOp::Upsert { key, .. } => Ok(IngestOperation::upsert(key.field.as_str())),
        BulkOp::Create { .. } => {
            Err(Error::unsupported("creates without a key are not sent as a job: their outcomes could not be told apart"))
        }
    });
    let first = kinds.next().unwrap_or_else(|| Err(Error::config("a job needs at least one operation")))?;
    for kind in kinds {
        if kind? != first {
            return Err(Error::config("the operations of a job must be of one kind, upserts by one field"));
        }
    }
    Ok(first)
}

/// What the operation's row is known by, as it stands in the file.
fn key(op: &BulkOp) -> Option<std::borrow::Cow<'_, str>> {
    match op {
        BulkOp::Update { id, .. } | BulkOp::Delete { id } => Some(ids::record_id(id.as_str()).as_str().to_owned().into()),
        BulkOp::Upsert { key, .. } => Some(key.value.as_str().into()),
        BulkOp::Create { .. } => None,
    }
}

fn row(op: &BulkOp) -> Result<Fields> {
    let known = |field: &str, fields: Option<&Fields>| {
        let mut row = Fields::new();
        row.insert(field, key(op).unwrap_or_default().into_owned());
        for (name, value) in fields.into_iter().flatten().filter(|(name, _)| !name.eq_ignore_ascii_case(field)) {
            row.insert(name, value.clone());
        }
        row
    };
    match op {
        BulkOp::Update { fields, .. } => Ok(known("Id", Some(fields))),
        BulkOp::Delete { .. } => Ok(known("Id", None)),
        BulkOp::Upsert { key, fields } => Ok(known(&key.field, Some(fields))),
        BulkOp::Create { .. } => kind(std::slice::from_ref(op)).map(|_| Fields::new()),
    }
}
