//! An adapter of your own: seven methods, less than sixty lines, and the library's list of checks says whether it keeps the contract.
//!
//! `cargo run --example your_own_adapter`

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program of its own, not the library")]

use std::sync::Mutex;

use async_trait::async_trait;
use crm_sync::adapter::{Capabilities, CrmAdapter, Identity, WriteOptions, Written};
use crm_sync::conformance::adapter::{Subject, check};
use crm_sync::error::{Error, ErrorKind, Result};
use crm_sync::model::{Entity, Fields, Record, RecordId};
use crm_sync::query::{Page, Query};
use serde_json::Value;

const FIELDS: [&str; 4] = ["id", "title", "note", "pages"];

/// A CRM that knows nothing but books, and lives in this process. All hits come in one page.
#[derive(Debug)]
struct Shelf {
    can: Capabilities,
    /// The place is the id. Nothing stands where a book was deleted, so that its id is not given again.
    rows: Mutex<Vec<Option<Fields>>>,
}

/// What this CRM refuses. It names the field, never a value.
fn accept(fields: &Fields, options: &WriteOptions) -> Result<()> {
    match fields.names().find(|name| !FIELDS.contains(name)) {
        Some(name) => Err(Error::new(ErrorKind::Validation, format!("the shelf has no field {name}"))),
        None if options.if_version.is_some() => Err(Error::unsupported("the shelf keeps no versions: write without if_version")),
        None => Ok(()),
    }
}

#[async_trait]
impl CrmAdapter for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }
    fn capabilities(&self) -> &Capabilities {
        &self.can
    }
    async fn authenticate(&self) -> Result<Identity> {
        Ok(Identity::new())
    }
    async fn search(&self, query: &Query) -> Result<Page<Record>> {
        if !query.order.is_empty() {
            return Err(Error::unsupported("the shelf cannot sort").during("search").on(&query.entity));
        }
        let mut hits: Vec<Fields> = self.rows.lock().unwrap().iter().flatten().filter(|row| query.filter.matches(row)).cloned().collect();
        hits.truncate(query.limit.map_or(usize::MAX, |limit| limit as usize));
        let record = |mut row: Fields| {
            let id = RecordId::new(row.text("id").unwrap_or_default());
            row.retain(|name, _| query.select.is_empty() || query.select.iter().any(|wanted| wanted == name));
            Record::new(query.entity.clone(), id, row)
        };
        Ok(Page::new(hits.into_iter().map(record).collect(), None, None))
    }
    async fn create(&self, entity: &Entity, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        accept(fields, options).map_err(|error| error.during("create").on(entity))?;
        let mut rows = self.rows.lock().unwrap();
        let mut row: Fields = FIELDS.iter().map(|name| (*name, Value::Null)).collect();
        row.merge(fields.clone());
        row.insert("id", rows.len().to_string());
        rows.push(Some(row));
        Ok(Written::new(RecordId::new((rows.len() - 1).to_string())).created(true))
    }
    async fn update(&self, entity: &Entity, id: &RecordId, fields: &Fields, options: &WriteOptions) -> Result<Written> {
        accept(fields, options).map_err(|error| error.during("update").on(entity))?;
        let mut rows = self.rows.lock().unwrap();
        let row = id.as_str().parse().ok().and_then(|at: usize| rows.get_mut(at)?.as_mut());
        let gone = || Error::new(ErrorKind::NotFound, "there is no such book").during("update").on(entity).record_id(id);
        row.ok_or_else(gone)?.merge(fields.clone());
        Ok(Written::new(id.clone()).created(false))
    }
    async fn delete(&self, _: &Entity, id: &RecordId, _: &WriteOptions) -> Result<()> {
        id.as_str().parse().ok().and_then(|at: usize| self.rows.lock().unwrap().get_mut(at)?.take());
        Ok(())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let sample = |n: u64| {
        let mut fields = Fields::new();
        fields.insert("title", format!("conformance book {n}"));
        fields.insert("note", "a note");
        fields.insert("pages", 100 + n);
        fields
    };
    let subject = Subject::new(Entity::from_static("Book"), "title", sample).clearable("note").number("pages");
    let mut can = Capabilities::basic("id");
    can.search_with_or = true;
    can.search_with_not = true;
    let report = check(&Shelf { can, rows: Mutex::default() }, &subject).await;
    println!("{report}");
    report.into_result()?;
    Ok(())
}
