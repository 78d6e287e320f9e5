//! Deletions by comparison: which linked records does the CRM not have any more?

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::model::{Change, ChangeKind, RecordId};
use crate::observe::Event;
use crate::query::Query;
use crate::store::links;
use crate::sync::reader::engine::Reader;

/// When so many records are missing that the listing, not the records, is in doubt.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MassDelete {
    /// Missing records up to this number are always believed. Default: 10.
    pub always: usize,
    /// The largest part of the known records that may be missing, 0.0 to 1.0. Default: 0.1.
    pub fraction: f64,
}

impl Default for MassDelete {
    fn default() -> Self {
        Self { always: 10, fraction: 0.1 }
    }
}

impl MassDelete {
    /// Believes `always` missing records, and more up to `fraction` of those known.
    pub fn new(always: usize, fraction: f64) -> Self {
        Self { always, fraction }
    }

    /// Whether `missing` of `known` records may be believed.
    pub fn allows(&self, missing: usize, known: usize) -> bool {
        missing <= self.always || missing as f64 <= self.fraction.clamp(0.0, 1.0) * known as f64
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Reconciled {
    /// Records the CRM listed.
    pub listed: u64,
    /// Records with a link.
    pub known: usize,
    /// The deletions, each confirmed by asking for the record itself. Without a time: the CRM does not tell it.
    pub deleted: Vec<Change>,
}

impl Reader {
    /// Lists the ids of the whole entity, compares them with the links, and tells which linked records are gone. Moves nothing:
    /// a deletion is found again until its link is removed.
    ///
    /// Costs a search per page, and a read per record that seems to be missing. Holds 16 bytes per listed record.
    ///
    /// # Errors
    /// Those of search and store; [`ErrorKind::Conflict`], never retryable, if more is missing than the guard allows: nothing is
    /// told as deleted then.
    pub async fn reconcile(&self, guard: MassDelete) -> Result<Reconciled> {
        let id = self.adapter.capabilities().id_field.as_ref();
        let mut query = Query::new(self.entity.clone()).select([id]);
        let mut listed = HashSet::new();
        let mut found = Reconciled::default();
        loop {
            let page = self.adapter.search(&query).await?;
            found.listed += page.items.len() as u64;
            listed.extend(page.items.iter().filter(|record| !record.deleted).map(|record| short(&record.id)));
            match page.next {
                Some(next) if Some(&next) != query.cursor.as_ref() => query = query.after(next),
                _ => break,
            }
        }
        // Links are read after the listing: a record made meanwhile is linked and not listed, and the question below clears it.
        let links = links::all(self.store.as_ref(), self.adapter.name(), &self.entity).await?;
        found.known = links.len();
        let missing: Vec<RecordId> = links.into_iter().map(|link| link.remote).filter(|id| !listed.contains(&short(id))).collect();
        if !guard.allows(missing.len(), found.known) {
            let (adapter, entity) = (self.adapter.name(), &self.entity);
            self.tell(&Event::MassDelete { adapter, entity, missing: missing.len(), known: found.known });
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "{} of {} linked {} records are not listed by {}; more than the mass-delete guard allows, so none is taken as deleted: check the user's rights and the listing, or raise the guard",
                    missing.len(),
                    found.known,
                    self.entity,
                    self.adapter.name()
                ),
            )
            .retrying(Retry::Never)
            .during("reconcile")
            .on(&self.entity));
        }
        let select = [id.to_owned()];
        for id in missing {
            if self.adapter.get(&self.entity, &id, &select).await?.is_none_or(|record| record.deleted) {
                found.deleted.push(Change::new(self.entity.clone(), id, ChangeKind::Deleted));
            }
        }
        Ok(found)
    }
}

fn short(id: &RecordId) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().zip(Sha256::digest(id.as_str().as_bytes())) {
        *to = from;
    }
    out
}
