//! One run of the list: the records it makes, and the words in which checks speak.

use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::adapter::{CrmAdapter, WriteOptions};
use crate::conformance::adapter::subject::Subject;
use crate::error::{Error, Result, chain};
use crate::model::{Entity, Fields, Record, RecordId};
use crate::query::{Criteria, Query};

/// No page sequence of the checks is longer.
pub(super) const MOST_PAGES: usize = 200;
/// A field no CRM has.
pub(super) const NO_FIELD: &str = "no_such_field_zq9";

/// Why a check ended early.
pub(super) enum Stop {
    Fail(String),
    Skip(String),
}

pub(super) type Done = std::result::Result<(), Stop>;
pub(super) type Checked<T> = std::result::Result<T, Stop>;

pub(super) fn fail<T>(reason: impl Into<String>) -> Checked<T> {
    Err(Stop::Fail(reason.into()))
}

pub(super) fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Done {
    if holds { Ok(()) } else { fail(otherwise()) }
}

pub(super) fn needs(holds: bool, what: &str) -> Done {
    if holds { Ok(()) } else { Err(Stop::Skip(what.to_owned())) }
}

/// An error where there should be none.
pub(super) fn did<T>(what: &str, result: Result<T>) -> Checked<T> {
    result.map_err(|error| Stop::Fail(format!("{what} failed: {}", chain(&error))))
}

pub(super) struct Run<'a> {
    pub(super) adapter: &'a dyn CrmAdapter,
    pub(super) subject: &'a Subject,
    next: Mutex<u64>,
    made: Mutex<Vec<RecordId>>,
}

impl<'a> Run<'a> {
    pub(super) fn new(adapter: &'a dyn CrmAdapter, subject: &'a Subject) -> Self {
        Self { adapter, subject, next: Mutex::new(subject.first), made: Mutex::new(Vec::new()) }
    }

    pub(super) fn entity(&self) -> &Entity {
        &self.subject.entity
    }

    pub(super) fn text(&self) -> &str {
        &self.subject.text
    }

    pub(super) fn sample(&self) -> Checked<Fields> {
        let n = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next - 1
        };
        let fields = (self.subject.sample)(n);
        match fields.text(self.text()) {
            Some(text) if text.len() >= 8 => Ok(fields),
            _ => fail(format!("the samples need a text of at least eight characters in {}", self.text())),
        }
    }

    pub(super) fn note(&self, id: &RecordId) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).push(id.clone());
    }

    pub(super) async fn made(&self) -> Checked<(RecordId, Fields)> {
        needs(self.adapter.capabilities().create, "the adapter does not claim create")?;
        let fields = self.sample()?;
        let written = did("create", self.adapter.create(self.entity(), &fields, &WriteOptions::new()).await)?;
        self.note(&written.id);
        ensure(!written.id.as_str().is_empty(), || "create answered an empty id".to_owned())?;
        ensure(written.created != Some(false), || "create said that the record is not new".to_owned())?;
        Ok((written.id, fields))
    }

    pub(super) async fn several(&self, count: usize) -> Checked<Vec<(RecordId, Fields)>> {
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            all.push(self.made().await?);
        }
        Ok(all)
    }

    pub(super) async fn get(&self, id: &RecordId, select: &[String]) -> Checked<Option<Record>> {
        did("get", self.adapter.get(self.entity(), id, select).await)
    }

    pub(super) async fn record(&self, id: &RecordId, like: &Fields) -> Checked<Record> {
        let select: Vec<String> = like.names().map(str::to_owned).collect();
        match self.get(id, &select).await? {
            Some(record) => Ok(record),
            None => fail("get does not find a record that exists"),
        }
    }

    /// An id that has the right form and names nothing.
    pub(super) async fn gone(&self) -> Checked<RecordId> {
        needs(self.adapter.capabilities().delete, "the adapter does not claim delete")?;
        let (id, _) = self.made().await?;
        did("delete", self.adapter.delete(self.entity(), &id, &WriteOptions::new()).await)?;
        Ok(id)
    }

    pub(super) async fn settle(&self) {
        if let Some((host, lag)) = &self.subject.lag {
            host.sleep(*lag).await;
        }
    }

    /// All pages.
    pub(super) async fn found(&self, mut query: Query) -> Result<Vec<Record>> {
        let mut all = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = self.adapter.search(&query).await?;
            all.extend(page.items);
            match page.next {
                Some(next) => query = query.after(next),
                None => return Ok(all),
            }
        }
        Err(Error::decode(format!("the search did not end after {MOST_PAGES} pages")))
    }

    pub(super) fn query(&self, filter: Criteria) -> Query {
        Query::new(self.entity().clone()).select([self.text()]).filter(filter)
    }

    /// Just these records, by their texts.
    pub(super) fn these(&self, records: &[(RecordId, Fields)]) -> Criteria {
        Criteria::one_of(self.text(), records.iter().filter_map(|(_, fields)| fields.text(self.text())))
    }

    pub(super) async fn clean_up(&self) {
        let made = std::mem::take(&mut *self.made.lock().unwrap_or_else(PoisonError::into_inner));
        for id in made {
            // What cannot be deleted stays: the checks have said already that delete does not work.
            let _ = self.adapter.delete(self.entity(), &id, &WriteOptions::new()).await;
        }
    }
}

/// Whether the CRM gives back what was written, in whatever dress.
pub(super) fn holds(record: &Record, field: &str, value: &Value) -> bool {
    Criteria::eq(field, value.clone()).matches(&record.fields)
}

pub(super) fn alike(record: &Record, wanted: &Fields) -> Done {
    for (name, value) in wanted {
        ensure(holds(record, name, value), || format!("field {name} is not what was written"))?;
    }
    Ok(())
}

pub(super) fn ids(records: &[Record]) -> Vec<&str> {
    let mut ids: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
    ids.sort_unstable();
    ids
}

pub(super) fn same_ids<'a>(found: &[Record], wanted: impl IntoIterator<Item = &'a RecordId>, what: &str) -> Done {
    let mut wanted: Vec<&str> = wanted.into_iter().map(RecordId::as_str).collect();
    wanted.sort_unstable();
    let found = ids(found);
    ensure(found == wanted, || format!("{what} found {} records, should have found these {}", found.len(), wanted.len()))
}

pub(super) fn one(fields: &Fields, name: &str) -> Value {
    fields.get(name).cloned().unwrap_or(Value::Null)
}
