//! Changes that are set aside, and those written over them.

use std::collections::HashMap;

use crate::error::{ErrorKind, Result};
use crate::queue::Entry;
use crate::store::Batch;
use crate::store::overtaken::{self, Overtaken};
use crate::sync::engine::Engine;
use crate::sync::worker::item::WorkItem;

/// Records noted in one commit.
const PAGE: usize = 200;
/// How often a note is made anew because another worker noted something about the same record.
const TRIES: usize = 8;

/// A change of a lane, without its values.
#[derive(Clone, Debug)]
pub(super) struct Change {
    op: String,
    place: u64,
    fields: Vec<String>,
}

impl Change {
    pub(super) fn new(entry: &Entry, item: Option<&WorkItem>) -> Self {
        let fields = item.map(|item| item.fields.iter().map(|(name, _)| name.to_owned()).collect()).unwrap_or_default();
        Self { op: entry.op.clone(), place: entry.id.0, fields }
    }
}

/// How the changes of one record ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) local: String,
    pub(super) changes: Vec<Change>,
    /// They went to the dead letters and the lane goes on; otherwise the CRM has them.
    pub(super) aside: bool,
}

/// What is set aside of these records.
pub(super) async fn known(engine: &Engine, locals: &[&str]) -> Result<HashMap<String, Overtaken>> {
    let inner = &*engine.inner;
    let rows = overtaken::get_many(&*inner.store, inner.connection(), &inner.entity, locals).await?;
    Ok(locals.iter().zip(rows).filter_map(|(local, row)| Some(((*local).to_owned(), row?.0))).collect())
}

/// Takes out of a change that comes back what younger ones have written since. True if anything was.
pub(super) fn strip(item: &mut WorkItem, entry: &Entry, row: Option<&Overtaken>) -> bool {
    let Some(change) = row.and_then(|row| row.of(&entry.op)).filter(|change| !change.fields.is_empty()) else { return false };
    item.fields.retain(|name, _| !change.fields.contains(name));
    true
}

/// Puts down how changes ended; before their lanes are settled, so that a crash in between repeats them.
pub(super) async fn note(engine: &Engine, ended: &[Ended]) -> Result<()> {
    for page in ended.chunks(PAGE) {
        let mut left = TRIES;
        while let Err(error) = note_page(engine, page).await {
            left -= 1;
            if error.kind() != ErrorKind::Conflict || left == 0 {
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn note_page(engine: &Engine, page: &[Ended]) -> Result<()> {
    let inner = &*engine.inner;
    let locals: Vec<&str> = page.iter().map(|ended| ended.local.as_str()).collect();
    let rows = overtaken::get_many(&*inner.store, inner.connection(), &inner.entity, &locals).await?;
    let mut batch = Batch::default();
    for (ended, row) in page.iter().zip(rows) {
        let (before, version) = row.map_or((Overtaken::default(), None), |(row, version)| (row, Some(version)));
        let mut after = before.clone();
        for change in &ended.changes {
            if ended.aside {
                after.set_aside(&change.op, change.place);
            } else {
                after.written(&change.op, change.place, &change.fields);
            }
        }
        if after != before {
            overtaken::put(&mut batch, inner.connection(), &inner.entity, &ended.local, &after, version)?;
        }
    }
    if batch.is_empty() { Ok(()) } else { inner.store.commit(batch).await.map(drop) }
}
