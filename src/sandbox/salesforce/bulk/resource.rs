//! `/jobs/ingest` and `/jobs/query`.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use crate::sandbox::call::{Call, Reply, param};
use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::bulk::job::{Delimiter, Job, Kind, State};
use crate::sandbox::salesforce::bulk::{csv, multipart, query};
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::events;
use crate::sandbox::salesforce::ids;
use crate::sandbox::salesforce::rest::Ctx;

/// 150 MB once encoded as base64 (Bulk API 2.0, limits).
const LARGEST_ENCODED: usize = 150 * 1024 * 1024;
/// The most characters of CSV in the one-call form.
const LARGEST_INLINE: usize = 100_000;
/// Jobs on a page of the list.
const PAGE: usize = 1000;
/// Addresses on a page of `resultPages`.
const PAGE_ADDRESSES: usize = 5;

fn job_state(job: &Job, wanted: &str) -> ApiError {
    ApiError::bad("INVALIDJOBSTATE", format!("Object State: {}. {wanted}", job.state.word()))
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::bad("INVALIDJOB", message)
}

fn locator(row: usize) -> String {
    STANDARD_NO_PAD.encode(row.to_string())
}

fn located(text: &str) -> Result<usize, ApiError> {
    let bytes = STANDARD_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let row = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).and_then(|digits| digits.parse().ok());
    row.ok_or_else(|| ApiError::bad("INVALID_LOCATOR", "the locator was not made by this job"))
}

/// The members of the body, each a known one.
fn members<'a>(body: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, ApiError> {
    let Value::Object(map) = body else { return Err(ApiError::json("a job is an object")) };
    match map.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(ApiError::json(format!("Unrecognized field \"{name}\" (class JobInfo), not marked as ignorable"))),
        None => Ok(map),
    }
}

fn word<'a>(map: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, ApiError> {
    match map.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ApiError::json(format!("{name} is a text"))),
    }
}

impl Salesforce {
    /// Everything below `/jobs/`.
    pub(crate) fn jobs(&mut self, ctx: &Ctx, method: &Method, path: &[&str], call: &Call) -> Result<Reply, ApiError> {
        let (kind, rest) = match path {
            ["ingest", rest @ ..] => (Kind::Ingest, rest),
            ["query", rest @ ..] => (Kind::Query, rest),
            _ => return Err(ApiError::not_found()),
        };
        if ctx.number < if kind == Kind::Ingest { 41 } else { 47 } {
            return Err(ApiError::not_found());
        }
        let refused = |allowed: &str| Err(ApiError::method(method, allowed));
        match rest {
            [] if *method == Method::GET => self.list_jobs(ctx, kind, call),
            [] if *method == Method::POST => self.create_job(ctx, kind, call),
            [] => refused("HEAD,GET,POST"),
            [id] if *method == Method::GET => self.jobs.find(kind, id).map(|job| Reply::ok(job.show(true))),
            [id] if *method == Method::PATCH => self.change_job(ctx, kind, id, call),
            [id] if *method == Method::DELETE => self.delete_job(kind, id),
            [_] => refused("HEAD,GET,PATCH,DELETE"),
            [id, "batches"] if kind == Kind::Ingest => {
                if *method == Method::PUT {
                    self.upload(ctx, id, call)
                } else {
                    refused("PUT")
                }
            }
            [id, what] => {
                let what = what.to_ascii_lowercase();
                match (kind, what.as_str()) {
                    (Kind::Ingest, "successfulresults" | "failedresults" | "unprocessedrecords")
                    | (Kind::Query, "results" | "resultpages")
                        if *method != Method::GET =>
                    {
                        refused("HEAD,GET")
                    }
                    (Kind::Ingest, "successfulresults") => self.ingest_results(id, Some(true)),
                    (Kind::Ingest, "failedresults") => self.ingest_results(id, Some(false)),
                    (Kind::Ingest, "unprocessedrecords") => self.ingest_results(id, None),
                    (Kind::Query, "results") => self.query_results(ctx, id, call),
                    (Kind::Query, "resultpages") if ctx.number >= 58 => self.query_pages(ctx, id, call),
                    _ => Err(ApiError::not_found()),
                }
            }
            _ => Err(ApiError::not_found()),
        }
    }

    fn list_jobs(&self, ctx: &Ctx, kind: Kind, call: &Call) -> Result<Reply, ApiError> {
        let params = call.params();
        let from = param(&params, "queryLocator").map(located).transpose()?.unwrap_or(0);
        let wanted = param(&params, "jobType").unwrap_or_default();
        let own = if kind == Kind::Ingest { "V2Ingest" } else { "V2Query" };
        if !["", "Classic", "BigObjectIngest", "V2Ingest", "V2Query"].contains(&wanted) {
            return Err(invalid(format!("jobType {wanted} is not known")));
        }
        let mut found: Vec<&Job> = self.jobs.all.values().filter(|job| job.kind == kind).collect();
        if !wanted.is_empty() && wanted != own {
            found.clear();
        }
        let records: Vec<Value> = found
            .iter()
            .skip(from)
            .take(PAGE)
            .map(|job| {
                let mut value = job.show(false);
                if let Value::Object(map) = &mut value {
                    map.insert("jobType".to_owned(), json!(own));
                }
                value
            })
            .collect();
        let to = from + records.len();
        let done = to >= found.len();
        let next = format!("/services/data/{}/jobs/{}?queryLocator={}", ctx.version, kind.path(), locator(to));
        let next = if done { Value::Null } else { json!(next) };
        Ok(Reply::ok(json!({"done": done, "records": records, "nextRecordsUrl": next})))
    }

    fn create_job(&mut self, ctx: &Ctx, kind: Kind, call: &Call) -> Result<Reply, ApiError> {
        let content_type = call.header("content-type").unwrap_or("application/json");
        let not_utf8 = || ApiError::bad("CLIENTINPUTERROR", "the body is not UTF-8");
        let body = std::str::from_utf8(&call.body).map_err(|_| not_utf8())?;
        let (text, content) = match multipart::boundary(content_type).filter(|_| kind == Kind::Ingest) {
            Some(boundary) => {
                let missing = |name: &str| invalid(format!("the multipart body has no part called {name}"));
                let job = multipart::part(body, boundary, "job").ok_or_else(|| missing("job"))?;
                let content = multipart::part(body, boundary, "content").ok_or_else(|| missing("content"))?;
                if content.chars().count() > LARGEST_INLINE {
                    return Err(invalid("a multipart job takes at most 100,000 characters of CSV; upload them to /batches instead"));
                }
                (job, Some(content))
            }
            None if content_type.to_ascii_lowercase().starts_with("application/json") => (body, None),
            None => {
                let shown = content_type.split(';').next().unwrap_or_default();
                let message = format!("Content-Type '{shown}' not supported.");
                return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
            }
        };
        let value: Value = serde_json::from_str(text)
            .map_err(|error| ApiError::json(format!("Unexpected character in the job: line {}", error.line())))?;
        let mut job = match kind {
            Kind::Ingest => self.new_ingest(ctx, &value)?,
            Kind::Query => self.new_query(ctx, &value)?,
        };
        if let Some(content) = content {
            job.upload = Some(Arc::from(content));
            self.submit(&mut job, ctx);
        } else if kind == Kind::Query {
            self.submit(&mut job, ctx);
        }
        let answer = job.show(false);
        self.jobs.add(job);
        Ok(Reply::ok(answer))
    }

    fn blank(&mut self, ctx: &Ctx, kind: Kind, map: &Map<String, Value>) -> Result<Job, ApiError> {
        if word(map, "contentType")?.is_some_and(|kind| kind != "CSV") {
            return Err(invalid("contentType is CSV"));
        }
        if word(map, "concurrencyMode")?.is_some_and(|mode| mode != "Parallel") {
            return Err(invalid("concurrencyMode is Parallel"));
        }
        let delimiter = word(map, "columnDelimiter")?.map_or(Some(Delimiter::Comma), Delimiter::named);
        let delimiter = delimiter.ok_or_else(|| invalid("columnDelimiter is one of BACKQUOTE, CARET, COMMA, PIPE, SEMICOLON and TAB"))?;
        let crlf = match word(map, "lineEnding")? {
            None | Some("LF") => false,
            Some("CRLF") => true,
            Some(_) => return Err(invalid("lineEnding is LF or CRLF")),
        };
        let now = ctx.now.as_millisecond();
        Ok(Job {
            id: self.new_id("750"),
            kind,
            operation: word(map, "operation")?.unwrap_or_default().to_owned(),
            object: String::new(),
            external: None,
            assignment: None,
            delimiter,
            crlf,
            soql: None,
            user: self.user.clone(),
            client: ctx.header("sforce-call-options").and_then(events::client),
            number: ctx.number,
            state: State::Open,
            created: now,
            modified: now,
            due: None,
            at: 0,
            processed: 0,
            failed: 0,
            batches: 0,
            spent: 0,
            error: None,
            revision: 1,
            upload: None,
            done: Vec::new(),
            file: None,
        })
    }

    fn new_ingest(&mut self, ctx: &Ctx, value: &Value) -> Result<Job, ApiError> {
        let known = [
            "object",
            "operation",
            "externalIdFieldName",
            "contentType",
            "columnDelimiter",
            "lineEnding",
            "assignmentRuleId",
            "concurrencyMode",
        ];
        let map = members(value, &known)?;
        let mut job = self.blank(ctx, Kind::Ingest, map)?;
        if !["insert", "update", "upsert", "delete", "hardDelete"].contains(&job.operation.as_str()) {
            return Err(invalid("operation is one of insert, update, upsert, delete and hardDelete"));
        }
        if job.operation == "hardDelete" && !self.options.bulk.hard_delete {
            return Err(ApiError::bad("FEATURENOTENABLED", "hardDelete needs the permission Bulk API Hard Delete"));
        }
        let name = word(map, "object")?.ok_or_else(|| invalid("a job names its object"))?;
        let Some(object) = self.schema.object(name).cloned() else {
            return Err(invalid(format!("InvalidEntity : Entity '{name}' is not supported by the Bulk API.")));
        };
        job.object.clone_from(&object.name);
        let external = word(map, "externalIdFieldName")?.filter(|field| !field.is_empty());
        if job.operation == "upsert" {
            let field = external
                .ok_or_else(|| invalid(format!("External ID was blank for {name}. An External ID must be specified for upsert.")))?;
            let field =
                object.field(field).filter(|field| field.external_id || field.name == "Id" || field.id_lookup).ok_or_else(|| {
                    invalid(format!(
                        "Field name provided, {field} does not match an External ID, Salesforce Id, or indexed field for {name}"
                    ))
                })?;
            job.external = Some(field.name.clone());
        } else if external.is_some() {
            return Err(invalid("externalIdFieldName goes with upsert only"));
        }
        if let Some(rule) = word(map, "assignmentRuleId")?.filter(|rule| !rule.is_empty()) {
            let row = ids::normalize(rule).and_then(|id| self.tables.live("AssignmentRule", &id));
            let fits = row.is_some_and(|row| row.text("SobjectType") == Some(&object.name));
            if !fits || !["Lead", "Case"].contains(&object.name.as_str()) || ctx.number < 49 {
                return Err(ApiError::bad("INVALID_ASSIGNMENT_RULE", format!("{rule} is not an assignment rule for {}", object.name)));
            }
            job.assignment = ids::normalize(rule);
        }
        Ok(job)
    }

    fn new_query(&mut self, ctx: &Ctx, value: &Value) -> Result<Job, ApiError> {
        let map = members(value, &["operation", "query", "contentType", "columnDelimiter", "lineEnding", "concurrencyMode"])?;
        self.jobs.queries.count(ctx.now, 0);
        if self.jobs.queries.calls >= self.options.bulk.daily_query_jobs {
            return Err(ApiError::bad("EXCEEDEDQUOTA", "ExceededQuota : the query jobs of the last 24 hours are used up"));
        }
        let mut job = self.blank(ctx, Kind::Query, map)?;
        if !["query", "queryAll"].contains(&job.operation.as_str()) {
            return Err(invalid("operation is query or queryAll"));
        }
        let soql = word(map, "query")?.ok_or_else(|| invalid("a query job has a query"))?;
        let (object, _) = query::checked(self, soql, ctx.now)?;
        job.object = object;
        job.soql = Some(soql.to_owned());
        self.jobs.queries.count(ctx.now, 1);
        Ok(job)
    }

    /// From here on the clock moves the job.
    fn submit(&self, job: &mut Job, ctx: &Ctx) {
        let now = ctx.now.as_millisecond();
        job.enter(State::UploadComplete, now);
        job.due = Some(now.saturating_add_unsigned(self.options.bulk.queue_millis));
    }

    fn upload(&mut self, ctx: &Ctx, id: &str, call: &Call) -> Result<Reply, ApiError> {
        let mut job = self.jobs.find(Kind::Ingest, id)?.clone();
        let kind = call.header("content-type").unwrap_or("text/csv").to_ascii_lowercase();
        if !kind.starts_with("text/csv") && !kind.starts_with("application/octet-stream") {
            let message = format!("Content-Type '{}' not supported.", kind.split(';').next().unwrap_or_default());
            return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
        }
        if job.state != State::Open {
            return Err(job_state(&job, "Data can be uploaded to a job that is Open."));
        }
        if job.upload.is_some() {
            return Err(job_state(&job, "A job takes one upload; abort this one and begin another."));
        }
        if call.body.len().div_ceil(3).saturating_mul(4) > LARGEST_ENCODED {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "EXCEEDED_MAX_SIZE_REQUEST",
                "an upload has at most 150 MB once encoded as base64",
            ));
        }
        let text = std::str::from_utf8(&call.body).map_err(|_| ApiError::bad("CLIENTINPUTERROR", "the CSV is not UTF-8"))?;
        job.upload = Some(Arc::from(text.strip_prefix('\u{feff}').unwrap_or(text)));
        job.enter(State::Open, ctx.now.as_millisecond());
        self.jobs.add(job);
        Ok(Reply::empty(StatusCode::CREATED))
    }

    fn change_job(&mut self, ctx: &Ctx, kind: Kind, id: &str, call: &Call) -> Result<Reply, ApiError> {
        let mut job = self.jobs.find(kind, id)?.clone();
        let body: Value = serde_json::from_slice(&call.body).map_err(|_| ApiError::json("a change of a job is an object with state"))?;
        let map = members(&body, &["state"])?;
        match word(map, "state")? {
            Some("UploadComplete") if kind == Kind::Ingest => {
                if job.state != State::Open {
                    return Err(job_state(&job, "Only a job that is Open can be closed."));
                }
                self.submit(&mut job, ctx);
            }
            Some("Aborted") => {
                if job.state.is_final() {
                    return Err(job_state(&job, "A job that has ended cannot be aborted."));
                }
                job.enter(State::Aborted, ctx.now.as_millisecond());
            }
            _ => return Err(ApiError::bad("INVALIDJOBSTATE", "state is UploadComplete or Aborted")),
        }
        let answer = job.show(false);
        self.jobs.add(job);
        Ok(Reply::ok(answer))
    }

    fn delete_job(&mut self, kind: Kind, id: &str) -> Result<Reply, ApiError> {
        let job = self.jobs.find(kind, id)?;
        let allowed = job.state.is_final() || (kind == Kind::Ingest && job.state == State::UploadComplete);
        if !allowed {
            return Err(match kind {
                Kind::Ingest => job_state(job, "A job that is Open or InProgress cannot be deleted; abort it first."),
                Kind::Query => {
                    ApiError::bad("API_ERROR", format!("a query job that is {} cannot be deleted; abort it first", job.state.word()))
                }
            });
        }
        let id = job.id.clone();
        self.jobs.remove(&id);
        Ok(Reply::empty(StatusCode::NO_CONTENT))
    }

    /// The successful rows, the failed ones, or those nobody came to (`None`).
    fn ingest_results(&self, id: &str, good: Option<bool>) -> Result<Reply, ApiError> {
        let job = self.jobs.find(Kind::Ingest, id)?;
        if !job.state.is_final() {
            return Err(job_state(job, "The job has no results yet."));
        }
        let text = job.upload.as_deref().unwrap_or_default();
        let end = job.line_ending();
        let header = csv::record(text, 0, job.delimiter.byte());
        let columns = header.as_ref().and_then(|header| text.get(header.from..header.to)).unwrap_or_default();
        let delimiter = char::from(job.delimiter.byte());
        let mut out = String::new();
        match good {
            None => {
                out.push_str(columns);
                out.push_str(end);
                let first = header.map_or(0, |header| header.next).max(job.at);
                out.push_str(text.get(first..).filter(|_| job.state != State::JobComplete).unwrap_or_default());
            }
            Some(good) => {
                let second = if good { "sf__Created" } else { "sf__Error" };
                out.push_str(&format!("\"sf__Id\"{delimiter}\"{second}\"{delimiter}{columns}{end}"));
                for done in job.done.iter().flat_map(|batch| batch.iter()).filter(|done| done.error.is_none() == good) {
                    csv::quote(&mut out, &done.id);
                    out.push(delimiter);
                    match &done.error {
                        Some(error) => csv::quote(&mut out, error),
                        None => csv::quote(&mut out, if done.created { "true" } else { "false" }),
                    }
                    out.push(delimiter);
                    out.push_str(text.get(done.from..done.to).unwrap_or_default());
                    out.push_str(end);
                }
            }
        }
        Ok(Reply::csv(out))
    }

    fn finished_query(&self, ctx: &Ctx, id: &str) -> Result<&Job, ApiError> {
        let job = self.jobs.find(Kind::Query, id)?;
        if job.number != ctx.number {
            let message = format!("the job was created with API version {}.0; its results are read with the same version", job.number);
            return Err(ApiError::new(StatusCode::CONFLICT, "INVALIDVERSION", message));
        }
        if job.state != State::JobComplete {
            return Err(job_state(job, "The job has no results yet."));
        }
        Ok(job)
    }

    fn query_results(&self, ctx: &Ctx, id: &str, call: &Call) -> Result<Reply, ApiError> {
        let job = self.finished_query(ctx, id)?;
        let params = call.params();
        let from = param(&params, "locator").filter(|text| !text.is_empty()).map(located).transpose()?.unwrap_or(0);
        let wanted = match param(&params, "maxRecords") {
            None => usize::MAX,
            Some(digits) => digits
                .parse()
                .ok()
                .filter(|count| *count > 0)
                .ok_or_else(|| ApiError::bad("CLIENTINPUTERROR", "maxRecords is a number above 0"))?,
        };
        let empty = Arc::default();
        let file = job.file.as_ref().unwrap_or(&empty);
        if from > file.starts.len() {
            return Err(ApiError::bad("INVALID_LOCATOR", "the locator points behind the last row"));
        }
        let (text, count) = file.page(from, wanted.min(self.options.bulk.page_rows.max(1)));
        // The word "null" stands for the end.
        let next = if from + count >= file.starts.len() { "null".to_owned() } else { locator(from + count) };
        Ok(Reply::csv(text).header("sforce-locator", next).header("sforce-numberofrecords", count.to_string()))
    }

    fn query_pages(&self, ctx: &Ctx, id: &str, call: &Call) -> Result<Reply, ApiError> {
        let job = self.finished_query(ctx, id)?;
        let params = call.params();
        let from = param(&params, "locator").map(located).transpose()?.unwrap_or(0);
        let rows = job.file.as_ref().map_or(0, |file| file.starts.len());
        let step = self.options.bulk.page_rows.max(1);
        let base = format!("/services/data/{}/jobs/query/{}", ctx.version, job.id);
        let starts: Vec<usize> = (from..rows.max(1)).step_by(step).take(PAGE_ADDRESSES).collect();
        let pages: Vec<Value> =
            starts.iter().map(|row| json!({"resultUrl": format!("{base}/results?locator={}", locator(*row))})).collect();
        let next = from + step * PAGE_ADDRESSES;
        let done = next >= rows;
        let mut answer = json!({"resultPages": pages, "done": done});
        if let Value::Object(map) = &mut answer
            && !done
        {
            map.insert("nextRecordsUrl".to_owned(), json!(format!("{base}/resultPages?locator={}", locator(next))));
        }
        Ok(Reply::ok(answer))
    }
}
