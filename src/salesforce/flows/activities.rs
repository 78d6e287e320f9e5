//! What people did, as Tasks: one record for each, never a text that is read, lengthened and written back.

use jiff::civil::Date;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::model::{Entity, ExternalKey, Fields, RecordId};
use crate::query::Criteria;
use crate::salesforce::client::{Salesforce, Upserted};
use crate::salesforce::entity::TASK;
use crate::salesforce::flows::people::{Person, resolve};
use crate::salesforce::ids;
use crate::salesforce::limits::COLLECTION_LIMIT;
use crate::salesforce::select::Soql;

/// Something a person did.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Activity {
    /// The host's id of it: it is logged once.
    pub mark: String,
    /// Who did it. A converted lead stands for its contact.
    pub person: Person,
    /// What it was, in a line of at most 255 characters.
    pub subject: String,
    /// When.
    pub on: Option<Date>,
    /// More fields of Task (`Description`, `WhatId`, `Type`, custom ones).
    pub fields: Fields,
}

impl Activity {
    /// An activity.
    pub fn new(mark: impl Into<String>, person: Person, subject: impl Into<String>) -> Self {
        Self { mark: mark.into(), person, subject: subject.into(), on: None, fields: Fields::new() }
    }

    /// Sets [`Activity::on`].
    #[must_use]
    pub fn on(mut self, day: Date) -> Self {
        self.on = Some(day);
        self
    }

    /// Sets [`Activity::fields`].
    #[must_use]
    pub fn fields(mut self, fields: Fields) -> Self {
        self.fields = fields;
        self
    }
}

/// Logs activities as completed Tasks. `marker` is a custom field of Task (they are made on Activity) that holds the host's id of
/// the activity; best an external id field, as then it cannot be logged twice even by two processes at once.
#[derive(Clone, Debug)]
pub struct Activities {
    client: Salesforce,
    marker: String,
}

impl Activities {
    /// Activities marked by the field `marker`.
    pub fn new(client: &Salesforce, marker: impl Into<String>) -> Self {
        Self { client: client.clone(), marker: marker.into() }
    }

    /// Logs activities; one outcome each, in order. Those logged before are found by their mark: with an external id field they are
    /// written again as they are, otherwise left alone. For each 200: one request for the leads among their people, one or two for
    /// the tasks, and once per connection the description of Task.
    ///
    /// # Errors
    /// See [`Salesforce`]. Safe to repeat.
    pub async fn log(&self, activities: &[Activity]) -> Result<Vec<Result<Upserted>>> {
        let schema = self.client.schema(&TASK).await?;
        let Some(marker) = schema.field(&self.marker) else {
            return Err(Error::config(format!("Task has no field {}, or this user may not see it", self.marker)));
        };
        let mut outcomes = Vec::with_capacity(activities.len());
        for batch in activities.chunks(COLLECTION_LIMIT) {
            let people: Vec<&Person> = batch.iter().map(|activity| &activity.person).collect();
            let resolved = resolve(&self.client, &people).await?;
            let mut rows: Vec<(ExternalKey, Fields)> = Vec::new();
            let mut slots: Vec<Result<usize>> = Vec::with_capacity(batch.len());
            for (activity, person) in batch.iter().zip(resolved) {
                slots.push(person.and_then(|person| {
                    let key = ExternalKey::new(marker.name.as_str(), activity.mark.as_str())?;
                    // One collection must not name a record twice; of a mark that comes again the last one counts.
                    let row = row(activity, &person);
                    match rows.iter().position(|(other, _)| *other == key) {
                        Some(at) => {
                            if let Some(slot) = rows.get_mut(at) {
                                slot.1 = row;
                            }
                            Ok(at)
                        }
                        None => {
                            rows.push((key, row));
                            Ok(rows.len() - 1)
                        }
                    }
                }));
            }
            let written =
                if marker.external_id { self.upsert(&marker.name, &rows).await? } else { self.create(&marker.name, &rows).await? };
            for slot in slots {
                outcomes.push(slot.and_then(|at| match written.get(at) {
                    Some(Ok(task)) => Ok(task.clone()),
                    Some(Err(error)) => Err(error.echo()),
                    None => Err(Error::internal("an activity got no outcome").on(&TASK)),
                }));
            }
        }
        Ok(outcomes)
    }

    async fn upsert(&self, marker: &str, rows: &[(ExternalKey, Fields)]) -> Result<Vec<Result<Upserted>>> {
        let all: Vec<(&ExternalKey, &Fields)> = rows.iter().map(|(key, row)| (key, row)).collect();
        let mut outcomes = self.client.upsert_collection(&TASK, marker, &all).await?;
        let lost = |outcome: &Result<_>| matches!(outcome, Err(error) if Error::kind(error) == ErrorKind::Duplicate);
        let again: Vec<usize> = outcomes.iter().enumerate().filter(|(_, outcome)| lost(outcome)).map(|(at, _)| at).collect();
        if !again.is_empty() {
            // Another process logged them at the same moment.
            let rows: Vec<(&ExternalKey, &Fields)> = again.iter().filter_map(|at| all.get(*at).copied()).collect();
            for (at, outcome) in again.iter().zip(self.client.upsert_collection(&TASK, marker, &rows).await?) {
                if let Some(slot) = outcomes.get_mut(*at) {
                    *slot = outcome;
                }
            }
        }
        Ok(outcomes.into_iter().map(|outcome| outcome.map(|row| Upserted { id: row.id, created: row.created.unwrap_or(false) })).collect())
    }

    async fn create(&self, marker: &str, rows: &[(ExternalKey, Fields)]) -> Result<Vec<Result<Upserted>>> {
        let known = self.logged(marker, rows).await?;
        let is_known = |key: &ExternalKey| known.iter().find(|(mark, _)| *mark == key.value).map(|(_, id)| id.clone());
        let mut fresh: Vec<Fields> = Vec::new();
        let mut outcomes: Vec<Option<Result<Upserted>>> = Vec::with_capacity(rows.len());
        for (key, row) in rows {
            outcomes.push(is_known(key).map(|id| Ok(Upserted { id, created: false })));
            if outcomes.last().is_some_and(Option::is_none) {
                let mut row = row.clone();
                row.insert(marker, key.value.as_str());
                fresh.push(row);
            }
        }
        let task = TASK;
        let fresh: Vec<(&Entity, &Fields)> = fresh.iter().map(|row| (&task, row)).collect();
        let mut made = self.client.create_collection(&fresh).await.map_err(|error| error.on(&TASK))?.into_iter();
        let missing = || Error::internal("an activity got no outcome").on(&TASK);
        Ok(outcomes
            .into_iter()
            .map(|outcome| {
                outcome.unwrap_or_else(|| made.next().unwrap_or_else(|| Err(missing())).map(|row| Upserted { id: row.id, created: true }))
            })
            .collect())
    }

    /// Marks are the host's and may be long, so a query takes as many as a request line holds.
    async fn logged(&self, marker: &str, rows: &[(ExternalKey, Fields)]) -> Result<Vec<(String, RecordId)>> {
        let mut known = Vec::new();
        let mut rest = rows;
        while !rest.is_empty() {
            let mut room = 8_000usize;
            let fits = rest.iter().take_while(|(key, _)| {
                // Three bytes a byte in a URL at worst, and quotes around.
                let needed = key.value.len() * 3 + 9;
                let fits = room >= needed;
                room = room.saturating_sub(needed);
                fits
            });
            let (now, later) = rest.split_at(fits.count().max(1));
            rest = later;
            let filter = Criteria::one_of(marker, now.iter().map(|(key, _)| Value::from(key.value.as_str())));
            let soql = Soql::select(["Id", marker]).from(TASK.as_str()).filter(&filter);
            let schema = self.client.schema(&TASK).await?;
            let mut page = self.client.query_fields(&soql.typed(&schema).build()?).await.map_err(|error| error.on(&TASK))?;
            loop {
                known.extend(page.records.iter().filter_map(|row| Some((row.text(marker)?.to_owned(), ids::record_id(row.text("Id")?)))));
                match page.next {
                    Some(next) => page = self.client.query_fields_more(&next).await.map_err(|error| error.on(&TASK))?,
                    None => break,
                }
            }
        }
        Ok(known)
    }
}

fn row(activity: &Activity, person: &Person) -> Fields {
    let mut row = activity.fields.clone();
    if !row.contains("Status") {
        row.insert("Status", "Completed");
    }
    row.insert("WhoId", person.id().as_str());
    row.insert("Subject", activity.subject.as_str());
    if let Some(day) = activity.on {
        row.insert("ActivityDate", day.to_string());
    }
    row
}
