//! What the clock does to jobs: batches of uploaded rows written to the tables.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::bulk::csv::{self, Record};
use crate::sandbox::salesforce::bulk::job::{Done, Job, Kind, State};
use crate::sandbox::salesforce::bulk::query;
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::schema::{FieldKind, ObjectDef};
use crate::sandbox::salesforce::validate::coerce;
use crate::sandbox::salesforce::write::{Assign, Write};

/// Triggers see so many rows at a time; within them an external id stands once.
const CHUNK: usize = 200;
/// Limits on uploaded CSV (Bulk API 2.0, limits).
const LONGEST_HEADER: usize = 32_000;
const MOST_COLUMNS: usize = 5_000;
const LONGEST_CELL: usize = 131_072;
const LONGEST_RECORD: usize = 400_000;

/// What a column means.
#[derive(Debug)]
enum Column {
    Field(String),
    /// Lookup, relationship, type of the parent if it was named, and the parent's field.
    Parent(String, String, Option<String>, String),
}

/// Between 0 and `most`, by the seed.
fn chance(seed: u64, turn: u64, most: u64) -> u64 {
    let mut z = (seed ^ turn.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    (z ^ (z >> 31)) % most.saturating_add(1)
}

fn shuffle(seed: u64, done: &mut [Done]) {
    for at in (1..done.len()).rev() {
        let turn = u64::try_from(at).unwrap_or(0);
        done.swap(at, usize::try_from(chance(seed, turn, turn)).unwrap_or(at));
    }
}

impl Salesforce {
    /// Does the next thing that is due in a job, and says how many rows that were; `None` if nothing is due. A batch at a time, so
    /// that each can be kept by itself.
    pub(crate) fn step_jobs(&mut self, now: Timestamp) -> Option<usize> {
        let millis = now.as_millisecond();
        self.jobs.expire(millis);
        let mut job = self.jobs.due(millis).cloned()?;
        // What comes late is not dated back behind what has been read since.
        let due = job.due.unwrap_or(millis).max(self.jobs.horizon);
        let before = job.processed;
        match job.state {
            State::UploadComplete => {
                job.enter(State::InProgress, due);
                job.due = Some(due.saturating_add_unsigned(self.batch_time(&mut job)));
                if job.kind == Kind::Ingest
                    && let Err(message) = self.columns(&job)
                {
                    job.fail(due, message);
                }
            }
            State::InProgress => match job.kind {
                Kind::Ingest => self.write_batch(&mut job, due),
                Kind::Query => query::run(self, &mut job, due),
            },
            _ => job.due = None,
        }
        let rows = job.processed - before;
        self.jobs.add(job);
        Some(rows)
    }

    fn batch_time(&self, job: &mut Job) -> u64 {
        let bulk = &self.options.bulk;
        let created = u64::try_from(job.created).unwrap_or(0);
        let time = bulk.batch_millis + chance(self.seed() ^ created, job.batches, bulk.jitter_millis);
        job.spent += time;
        time
    }

    /// The upload's columns, or why the job fails.
    fn columns(&self, job: &Job) -> Result<(Arc<ObjectDef>, Vec<Column>, usize), String> {
        let text = job.upload.as_deref().unwrap_or_default();
        let object = self.schema.object(&job.object).cloned().ok_or("InvalidBatch : the object is gone")?;
        let Some(header) = csv::record(text, 0, job.delimiter.byte()) else { return Ok((object, Vec::new(), text.len())) };
        let crlf = text.get(header.to..header.next) == Some("\r\n");
        if header.next > header.to && crlf != job.crlf {
            let setting = if job.crlf { "CRLF" } else { "LF" };
            return Err(format!("ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is {setting}"));
        }
        if header.fault.is_some() {
            return Err("ClientInputError : the header row is not valid CSV".to_owned());
        }
        if header.to - header.from > LONGEST_HEADER || header.cells.len() > MOST_COLUMNS {
            return Err("InvalidBatch : the header row is longer than 32,000 characters or has more than 5,000 fields".to_owned());
        }
        let mut seen = HashSet::new();
        let mut columns = Vec::with_capacity(header.cells.len());
        for cell in &header.cells {
            if !seen.insert(cell.to_lowercase()) {
                return Err(format!("InvalidBatch : Duplicate field name found : {cell}"));
            }
            let column = self.column(&object, cell).ok_or_else(|| format!("InvalidBatch : Field name not found : {cell}"))?;
            columns.push(column);
        }
        let only_id = matches!(columns.as_slice(), [Column::Field(name)] if name == "Id");
        if matches!(job.operation.as_str(), "delete" | "hardDelete") && !only_id {
            return Err(format!("InvalidBatch : The '{}' batch must contain only ids", job.operation));
        }
        Ok((object, columns, header.next))
    }

    fn column(&self, object: &ObjectDef, name: &str) -> Option<Column> {
        let Some((relation, field)) = name.split_once('.') else {
            return object.field(name).map(|field| Column::Field(field.name.clone()));
        };
        let (kind, relation) = match relation.split_once(':') {
            Some((kind, relation)) => (Some(kind), relation),
            None => (None, relation),
        };
        let lookup = object.relation(relation)?;
        let target = match kind {
            Some(kind) => lookup.refs.iter().find(|target| target.eq_ignore_ascii_case(kind))?,
            None if lookup.polymorphic() => return None,
            None => lookup.refs.first()?,
        };
        let field = self.schema.object(target)?.field(field).filter(|field| field.id_lookup)?;
        let kind = lookup.polymorphic().then(|| target.clone());
        Some(Column::Parent(lookup.name.clone(), lookup.relationship.clone()?, kind, field.name.clone()))
    }

    /// Writes the next batch, or ends the job.
    fn write_batch(&mut self, job: &mut Job, due: i64) {
        let (object, columns, first) = match self.columns(job) {
            Ok(known) => known,
            Err(message) => return job.fail(due, message),
        };
        let text = Arc::clone(job.upload.get_or_insert_with(|| Arc::from("")));
        let now = Timestamp::from_millisecond(due).unwrap_or(Timestamp::UNIX_EPOCH);
        self.jobs.batches.count(now, 0);
        job.at = job.at.max(first);
        if csv::record(&text, job.at, job.delimiter.byte()).is_none() {
            return job.enter(State::JobComplete, due);
        }
        if self.jobs.batches.calls >= self.options.bulk.daily_batches {
            return job.fail(due, "ExceededQuota : the batches of the last 24 hours are used up");
        }
        self.jobs.batches.count(now, 1);
        let write = Write {
            user: job.user.clone(),
            now,
            allow_duplicates: false,
            details: false,
            system: false,
            locked: false,
            version: format!("v{}.0", job.number),
            assign: job.assignment.clone().map_or(Assign::Off, Assign::Rule),
        };
        self.events.begin_job(now, &job.user, job.number, job.client.as_deref());
        let mut done = Vec::new();
        let mut keys = HashSet::new();
        let most = self.options.bulk.batch_rows.max(1);
        while done.len() < most {
            if self.options.bulk.fail_after.is_some_and(|rows| job.processed >= rows) {
                break;
            }
            let Some(record) = csv::record(&text, job.at, job.delimiter.byte()) else { break };
            if done.len() % CHUNK == 0 {
                keys.clear();
            }
            let write = Write { locked: self.options.bulk.locked_rows.contains(&job.processed), ..write.clone() };
            let mark = self.tables.mark();
            let result = self.uploaded(job, &write, &object, &columns, &record, &mut keys);
            if result.is_err() {
                self.tables.rollback(mark);
            }
            job.processed += 1;
            let (from, to) = (record.from, record.to);
            done.push(match result {
                Ok((id, created)) => Done { from, to, id, created, error: None },
                Err((id, error)) => {
                    job.failed += 1;
                    Done { from, to, id, created: false, error: Some(described(&error)) }
                }
            });
            job.at = record.next;
        }
        job.batches += 1;
        job.enter(State::InProgress, due);
        if self.options.bulk.shuffle {
            shuffle(self.seed() ^ job.batches, &mut done);
        }
        if !done.is_empty() {
            job.done.push(Arc::from(done));
        }
        if self.options.bulk.fail_after.is_some_and(|rows| job.processed >= rows) {
            job.fail(due, "TooManyLockFailure : Too many lock failures while trying to get an exclusive lock");
        } else if csv::record(&text, job.at, job.delimiter.byte()).is_none() {
            job.enter(State::JobComplete, due);
        } else {
            job.due = Some(due.saturating_add_unsigned(self.batch_time(job)));
        }
    }

    fn uploaded(
        &mut self,
        job: &Job,
        write: &Write,
        object: &Arc<ObjectDef>,
        columns: &[Column],
        record: &Record<'_>,
        keys: &mut HashSet<String>,
    ) -> Result<(String, bool), (String, ApiError)> {
        let bare = |error: ApiError| (String::new(), error);
        if let Some(fault) = record.fault {
            return Err(bare(ApiError::field("CLIENT_INPUT_ERROR", fault, &[])));
        }
        if record.cells.len() != columns.len() {
            let message = format!("the row has {} values where the header has {}", record.cells.len(), columns.len());
            return Err(bare(ApiError::field("CLIENT_INPUT_ERROR", message, &[])));
        }
        let long = record.to - record.from > LONGEST_RECORD || record.cells.iter().any(|cell| cell.len() > LONGEST_CELL);
        if long {
            return Err(bare(ApiError::field("STRING_TOO_LONG", "a value or the whole record is too long", &[])));
        }
        let mut body = fields(object, columns, record).map_err(bare)?;
        let given = |body: &Map<String, Value>| body.get("Id").and_then(Value::as_str).map(str::to_owned);
        match job.operation.as_str() {
            "insert" => self.insert(write, object, &body).map(|id| (id, true)).map_err(bare),
            "upsert" => {
                let field = job.external.as_deref().and_then(|name| object.field(name)).cloned();
                let field = field.ok_or_else(|| bare(ApiError::not_found()))?;
                let key = body.get(&field.name).and_then(Value::as_str).map(|key| key.trim().to_owned()).filter(|key| !key.is_empty());
                match key {
                    None if field.name == "Id" => self.insert(write, object, &body).map(|id| (id, true)).map_err(bare),
                    None => Err(bare(ApiError::field("MISSING_ARGUMENT", format!("{} not specified", field.name), &[]))),
                    Some(key) if !keys.insert(key.to_lowercase()) => {
                        let message = format!("Duplicate external id specified: {key}");
                        Err(bare(ApiError::field("DUPLICATE_VALUE", message, &[field.name.as_str()])))
                    }
                    Some(key) => self.upsert(write, object, &field, &key, &body, false).map_err(bare),
                }
            }
            operation => {
                let missing = || ApiError::field("MISSING_ARGUMENT", format!("Id not specified in {operation} call"), &[]);
                let id = given(&body).ok_or_else(|| bare(missing()))?;
                let id = Self::id_of(object, id.trim()).map_err(bare)?;
                body.remove("Id");
                let result = match operation {
                    "update" => self.update(write, object, &id, &body),
                    _ => self.remove(write, object, &id),
                };
                result.map_err(|error| (id.clone(), error))?;
                if operation == "hardDelete" {
                    self.tables.put(&object.name, &id, None);
                }
                Ok((id, false))
            }
        }
    }
}

/// An empty cell leaves the field alone, `#N/A` makes it null.
fn fields(object: &ObjectDef, columns: &[Column], record: &Record<'_>) -> Result<Map<String, Value>, ApiError> {
    let mut body = Map::new();
    for (column, cell) in columns.iter().zip(&record.cells) {
        if cell.is_empty() {
            continue;
        }
        let null = cell == "#N/A";
        match column {
            Column::Field(name) => {
                let value = if null { Value::Null } else { json!(cell) };
                if let Some(field) = object.field(name) {
                    let value = boolean(field.kind, value);
                    // A text that is not of the field's type is the row's fault here, not the parser's.
                    if coerce(field, &value).is_err_and(|error| error.code == "JSON_PARSER_ERROR") {
                        let message = format!("{}: value not of required type: {cell}", field.label);
                        return Err(ApiError::field("INVALID_TYPE_ON_FIELD_IN_RECORD", message, &[name.as_str()]));
                    }
                    body.insert(name.clone(), value);
                }
            }
            Column::Parent(lookup, ..) if null => _ = body.insert(lookup.clone(), Value::Null),
            Column::Parent(_, relation, kind, field) => {
                let mut nested = Map::new();
                if let Some(kind) = kind {
                    nested.insert("attributes".to_owned(), json!({"type": kind}));
                }
                nested.insert(field.clone(), json!(cell));
                body.insert(relation.clone(), Value::Object(nested));
            }
        }
    }
    Ok(body)
}

/// `1`, `0`, `yes` and `no` pass for booleans in CSV.
fn boolean(kind: FieldKind, value: Value) -> Value {
    match value.as_str() {
        Some(text) if kind == FieldKind::Boolean => match text.to_ascii_lowercase().as_str() {
            "1" | "yes" => json!(true),
            "0" | "no" => json!(false),
            _ => value,
        },
        _ => value,
    }
}

/// `CODE:message:fields --`.
fn described(error: &ApiError) -> String {
    match error.fields.as_deref().unwrap_or_default() {
        [] => format!("{}:{}:--", error.code, error.message),
        fields => format!("{}:{}:{} --", error.code, error.message, fields.join(",")),
    }
}
