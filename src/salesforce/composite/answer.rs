//! What became of the parts.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::model::RecordId;
use crate::rest::{Dialect, Failure};
use crate::salesforce::dialect::{Complaint, SalesforceDialect, row_error};
use crate::salesforce::ids;

/// A part that was carried out. `Debug` shows no content.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Part {
    /// Its status.
    pub status: StatusCode,
    /// What it answered; null for a 204 or 304.
    pub body: Value,
    /// Its headers, e.g. `Location`.
    pub headers: BTreeMap<String, String>,
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Part {
    /// The record that was made, changed by external id, or read.
    pub fn id(&self) -> Option<RecordId> {
        let id = self.body.get("id").or_else(|| self.body.get("Id"))?;
        id.as_str().map(ids::record_id)
    }

    /// Whether an upsert made the record, where Salesforce says so.
    pub fn created(&self) -> Option<bool> {
        self.body.get("created").and_then(Value::as_bool).or_else(|| (self.status == StatusCode::CREATED).then_some(true))
    }

    /// What it answered, as `T`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Decode`] if it does not fit.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        T::deserialize(&self.body).map_err(|_| Error::decode("a part of a composite answer does not fit").with_status(self.status))
    }
}

/// What became of one graph.
#[derive(Debug)]
#[non_exhaustive]
pub struct GraphOutcome {
    /// Its name.
    pub name: String,
    /// Whether it was saved.
    pub saved: bool,
    /// Its nodes by name, in order.
    pub parts: Vec<(String, Result<Part>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CompositeAnswer {
    pub(super) composite_response: Vec<Answered>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GraphsAnswer {
    pub(super) graphs: Vec<GraphAnswer>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GraphAnswer {
    pub(super) graph_id: String,
    pub(super) graph_response: CompositeAnswer,
    #[serde(default)]
    pub(super) is_successful: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answered {
    #[serde(default)]
    pub(super) body: Value,
    #[serde(default)]
    pub(super) http_headers: Option<BTreeMap<String, Value>>,
    pub(super) http_status_code: u16,
    pub(super) reference_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchAnswer {
    pub(super) results: Vec<BatchResult>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BatchResult {
    pub(super) status_code: u16,
    #[serde(default)]
    pub(super) result: Value,
}

/// The outcomes in the order of `references`. With `whole`, one failure means that nothing was saved.
pub(super) fn outcomes(
    dialect: &SalesforceDialect,
    references: impl ExactSizeIterator<Item = String>,
    answered: Vec<Answered>,
    whole: bool,
) -> Result<Vec<(String, Result<Part>)>> {
    let wrong = || Error::decode("salesforce answered other parts than were sent").ambiguous();
    if answered.len() != references.len() {
        return Err(wrong());
    }
    let mut by_name: BTreeMap<String, Answered> = answered.into_iter().map(|part| (part.reference_id.clone(), part)).collect();
    let mut outcomes = Vec::with_capacity(by_name.len());
    for name in references {
        let part = by_name.remove(&name).ok_or_else(wrong)?;
        let outcome = judge(dialect, part.http_status_code, part.body, part.http_headers);
        outcomes.push((name, outcome));
    }
    if whole && outcomes.iter().any(|(_, outcome)| outcome.is_err()) {
        for (_, outcome) in &mut outcomes {
            // What is called a success here was undone with the rest.
            if outcome.is_ok() {
                *outcome = Err(row_error(&[Complaint::of("ALL_OR_NONE_OPERATION_ROLLED_BACK")]));
            }
        }
    }
    Ok(outcomes)
}

/// One part by the same rules as a request by itself. It was carried out or not: nothing about it is unknown.
pub(super) fn judge(dialect: &SalesforceDialect, status: u16, body: Value, headers: Option<BTreeMap<String, Value>>) -> Result<Part> {
    let status = StatusCode::from_u16(status).map_err(|_| Error::decode("a part of a composite answer has no HTTP status"))?;
    let headers: BTreeMap<String, String> = headers
        .into_iter()
        .flatten()
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)))
        .collect();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(Part { status, body, headers });
    }
    let map: HeaderMap =
        headers.iter().filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))).collect();
    let bytes = Bytes::from(if body.is_null() { Vec::new() } else { serde_json::to_vec(&body).unwrap_or_default() });
    Err(dialect.classify(Failure { status, headers: &map, body: &bytes }))
}
