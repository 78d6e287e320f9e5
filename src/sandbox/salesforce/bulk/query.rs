//! Query jobs: what Bulk refuses of SOQL, and the result as CSV.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::sandbox::salesforce::Salesforce;
use crate::sandbox::salesforce::bulk::csv;
use crate::sandbox::salesforce::bulk::job::{Job, ResultFile, State};
use crate::sandbox::salesforce::errors::ApiError;
use crate::sandbox::salesforce::soql::day;
use crate::sandbox::salesforce::soql::{self, Column, Plan};

/// The object a query reads and its plan, if Bulk takes it.
pub(crate) fn checked(org: &Salesforce, text: &str, now: Timestamp) -> Result<(String, (Plan, Vec<Column>)), ApiError> {
    let query = soql::parse(text)?;
    let scope = org.scope("v68.0", day(now));
    let plan = soql::plan(&query, text, &scope)?;
    let columns = soql::columns(&query, text, &scope)?;
    if let Some(what) = query.not_for_bulk() {
        return Err(ApiError::bad("API_ERROR", format!("{what} not supported in Bulk Query")));
    }
    if columns.iter().any(Column::is_compound) {
        return Err(ApiError::bad("API_ERROR", "Selecting compound data not supported in Bulk Query"));
    }
    Ok((plan.object.name.clone(), (plan, columns)))
}

/// Reads the rows and ends the job.
pub(crate) fn run(org: &Salesforce, job: &mut Job, due: i64) {
    let now = Timestamp::from_millisecond(due).unwrap_or(Timestamp::UNIX_EPOCH);
    let text = job.soql.clone().unwrap_or_default();
    let (plan, columns) = match checked(org, &text, now) {
        Ok((_, known)) => known,
        Err(error) => return job.fail(due, format!("InvalidBatch : Failed to process query: {}", error.message)),
    };
    let scope = org.scope("v68.0", day(now));
    let end = job.line_ending();
    let delimiter = char::from(job.delimiter.byte());
    let mut file = ResultFile::default();
    line(&mut file.header, columns.iter().map(|column| column.name.clone()), delimiter, end);
    for id in plan.ids(&scope, job.operation == "queryAll") {
        let Some(row) = scope.tables.get(&plan.object.name, &id) else { continue };
        file.starts.push(file.rows.len());
        let cells = columns.iter().map(|column| match &*scope.value(row, &column.key, &[]) {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        line(&mut file.rows, cells, delimiter, end);
    }
    job.processed = file.starts.len();
    job.file = Some(Arc::new(file));
    job.enter(State::JobComplete, due);
}

fn line(out: &mut String, cells: impl Iterator<Item = String>, delimiter: char, end: &str) {
    for (at, cell) in cells.enumerate() {
        if at > 0 {
            out.push(delimiter);
        }
        csv::quote(out, &cell);
    }
    out.push_str(end);
}
