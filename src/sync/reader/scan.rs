//! A step by search, for CRMs whose adapter has no change feed: ordered by the time of change and then by id, going on behind the
//! last row by both. No offsets: rows that change while they are read move to the end, and an offset would pass over others.

use jiff::Timestamp;

use crate::error::{Error, Result};
use crate::model::{Change, ChangeKind, Record};
use crate::query::{Criteria, Operator, Query};
use crate::sync::reader::engine::Reader;
use crate::sync::reader::position::{Place, Round};

impl Reader {
    /// One page; true if nothing more is there.
    pub(super) async fn scan_step(&self, stamp: &str, round: &mut Round) -> Result<(Vec<Change>, bool)> {
        let id = self.adapter.capabilities().id_field.as_ref();
        let filter = match (&round.place, round.since) {
            (Place::Keyset { at, id: last, tie: true }, _) => {
                Criteria::eq(stamp, at.to_string()).and(Criteria::compare(id, Operator::Gt, last.as_str()))
            }
            (Place::Keyset { at, .. }, _) => Criteria::compare(stamp, Operator::Gt, at.to_string()),
            (_, Some(since)) => Criteria::compare(stamp, Operator::Gte, since.to_string()),
            (_, None) => Criteria::always(),
        };
        let inside = matches!(round.place, Place::Keyset { tie: true, .. });
        let mut query = Query::new(self.entity.clone()).filter(filter).page_size(self.page_size);
        query.select.clone_from(&self.select);
        if !query.select.is_empty() && !query.select.iter().any(|name| name == stamp) {
            query.select.push(stamp.to_owned());
        }
        if !inside {
            query = query.order_by(stamp, false);
        }
        let query = query.order_by(id, false);
        let mut page = self.adapter.search(&query).await?;
        // A page may be empty, or short, and not the last.
        while page.items.is_empty()
            && let Some(next) = page.next.take()
        {
            page = self.adapter.search(&query.clone().after(next)).await?;
        }
        let full = page.next.is_some();
        let last =
            page.items.last().map(|record| Ok::<_, Error>((self.stamp(record, stamp)?, record.id.as_str().to_owned()))).transpose()?;
        let before = round.place.clone();
        round.place = match (last, &before) {
            (Some((at, last)), _) => Place::Keyset { at, id: last, tie: true },
            (None, Place::Keyset { at, id, tie: true }) => Place::Keyset { at: *at, id: id.clone(), tie: false },
            (None, _) => return Ok((Vec::new(), true)),
        };
        if inside && !full {
            if let Place::Keyset { tie, .. } = &mut round.place {
                *tie = false;
            }
        } else if round.place == before || (!inside && !full) {
            // The last page ends the round.
            let changes = self.changes_of(page.items, stamp)?;
            return Ok((changes, true));
        }
        Ok((self.changes_of(page.items, stamp)?, false))
    }

    fn changes_of(&self, records: Vec<Record>, stamp: &str) -> Result<Vec<Change>> {
        records
            .into_iter()
            .map(|mut record| {
                let at = self.stamp(&record, stamp)?;
                let kind = if record.deleted { ChangeKind::Deleted } else { ChangeKind::Updated };
                if !self.select.is_empty() && !self.select.iter().any(|name| name == stamp) {
                    record.fields.remove(stamp);
                }
                let mut change = Change::new(self.entity.clone(), record.id, kind);
                if !record.deleted {
                    change.fields = record.fields;
                }
                change.at = Some(at);
                change.version = record.version;
                Ok(change)
            })
            .collect()
    }

    fn stamp(&self, record: &Record, field: &str) -> Result<Timestamp> {
        let told = record.fields.text(field).and_then(crate::model::parse_datetime).or(record.modified_at);
        told.ok_or_else(|| {
            Error::decode(format!("a record came without the time {field} of its last change; reading on could skip others"))
                .during("read")
                .on(&self.entity)
                .record_id(&record.id)
        })
    }
}
