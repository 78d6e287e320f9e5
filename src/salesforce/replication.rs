//! Which records were changed or deleted within a span of time (`updated` and `deleted`).
//!
//! Spans are whole minutes (Salesforce cuts the seconds off), longer than one minute and at most 30 days old. A span with too
//! many ids (about 600,000) is halved until it fits. The next span begins at `covered`, not at the end asked for: transactions
//! that were still open are told later (SOAP API Developer Guide, "Data Replication").

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Entity, RecordId, parse_datetime};
use crate::rest::Call;
use crate::rest::percent_encode;
use crate::salesforce::client::Salesforce;
use crate::salesforce::ids;
use crate::salesforce::soql::identifier;

/// How far back `updated` reads. `deleted` reads as far as the recycle bin, 15 days by default.
const WINDOW: SignedDuration = SignedDuration::from_hours(30 * 24);
const MINUTE: i64 = 60;

/// Records made or changed within a span.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpdatedRecords {
    /// The records, each once; some may be deleted by now.
    pub ids: Vec<RecordId>,
    /// Up to when the answer is complete: the start of the next span.
    pub covered: Timestamp,
}

/// Records deleted within a span.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeletedRecords {
    /// The records and when they went, each once.
    pub records: Vec<(RecordId, Option<Timestamp>)>,
    /// Up to when the answer is complete: the start of the next span.
    pub covered: Timestamp,
    /// How far back deletions are known. A span that begins before has a hole.
    pub earliest: Option<Timestamp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Updated {
    ids: Vec<String>,
    latest_date_covered: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deleted {
    deleted_records: Vec<DeletedRecord>,
    #[serde(default)]
    earliest_date_available: Option<String>,
    latest_date_covered: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeletedRecord {
    id: String,
    #[serde(default)]
    deleted_date: Option<String>,
}

impl Salesforce {
    /// The records of `entity` made or changed from `start` to `end`, both cut to the minute. One request, more if the span holds
    /// too many.
    ///
    /// # Errors
    /// See [`Salesforce`]; [`ErrorKind::Config`] for a span that is too short or too old: read the records by a query instead.
    pub async fn updated(&self, entity: &Entity, start: Timestamp, end: Timestamp) -> Result<UpdatedRecords> {
        if self.now().duration_since(start) > WINDOW {
            let message = "updated reads 30 days back at most; read older changes by a query on SystemModstamp";
            return Err(Error::config(message).during("updated").on(entity));
        }
        let mut ids = Vec::new();
        let mut known = std::collections::HashSet::new();
        let covered = self
            .spans::<Updated>(entity, "updated", start, end, |answer| {
                for id in &answer.ids {
                    let id = ids::record_id(id);
                    if known.insert(id.clone()) {
                        ids.push(id);
                    }
                }
                parse_datetime(&answer.latest_date_covered)
            })
            .await?;
        Ok(UpdatedRecords { ids, covered })
    }

    /// The records of `entity` deleted from `start` to `end`, both cut to the minute, also those that have left the recycle bin.
    /// One request, more if the span holds too many.
    ///
    /// # Errors
    /// As [`Salesforce::updated`].
    pub async fn deleted(&self, entity: &Entity, start: Timestamp, end: Timestamp) -> Result<DeletedRecords> {
        let mut records = Vec::new();
        let mut known = std::collections::HashSet::new();
        let mut earliest: Option<Timestamp> = None;
        let covered = self
            .spans::<Deleted>(entity, "deleted", start, end, |answer| {
                for record in &answer.deleted_records {
                    let id = ids::record_id(&record.id);
                    if known.insert(id.clone()) {
                        records.push((id, record.deleted_date.as_deref().and_then(parse_datetime)));
                    }
                }
                earliest = answer.earliest_date_available.as_deref().and_then(parse_datetime).or(earliest);
                parse_datetime(&answer.latest_date_covered)
            })
            .await?;
        Ok(DeletedRecords { records, covered, earliest })
    }

    /// Reads a span, in halves where it holds too much, in order; returns up to when it is complete.
    async fn spans<T: serde::de::DeserializeOwned>(
        &self,
        entity: &Entity,
        operation: &'static str,
        start: Timestamp,
        end: Timestamp,
        mut take: impl FnMut(&T) -> Option<Timestamp>,
    ) -> Result<Timestamp> {
        let (start, end) = (start.as_second().div_euclid(MINUTE), end.as_second().div_euclid(MINUTE));
        if end - start < 2 {
            let message = "the span must be longer than a minute, seconds not counted; wait and ask for more at once";
            return Err(Error::config(message).during(operation).on(entity));
        }
        // Minutes; the earliest span is the last of the list.
        let mut open = vec![(start, end)];
        let mut covered = at(start)?;
        while let Some((from, to)) = open.pop() {
            let stamp = |minute: i64| Ok::<_, Error>(percent_encode(&at(minute)?.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string()));
            let tail = format!("/sobjects/{}/{operation}/?start={}&end={}", identifier(entity.as_str())?, stamp(from)?, stamp(to)?);
            match self.send_on(Call::get(operation, self.path(&tail)), &HeaderMap::new(), entity).await {
                Ok(answer) => {
                    let answer: T = answer.json().map_err(|error| error.on(entity))?;
                    let told = take(&answer);
                    covered = told.ok_or_else(|| Error::decode("latestDateCovered is no date").during(operation).on(entity))?;
                    // A part that is not complete yet must not be skipped by the parts after it.
                    if covered < at(to)? && !open.is_empty() {
                        break;
                    }
                }
                Err(error) if error.code() == Some("EXCEEDED_ID_LIMIT") && to - from >= 4 => {
                    let middle = from + (to - from) / 2;
                    open.push((middle, to));
                    open.push((from, middle));
                }
                Err(error) if error.code() == Some("EXCEEDED_ID_LIMIT") => {
                    let message = "more records within two minutes than salesforce lists; read them by a query on SystemModstamp";
                    return Err(Error::new(ErrorKind::Unsupported, message).with_code("EXCEEDED_ID_LIMIT").during(operation).on(entity));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(covered)
    }
}

fn at(minute: i64) -> Result<Timestamp> {
    Timestamp::from_second(minute * MINUTE).map_err(|_| Error::config("the span leaves the calendar"))
}
