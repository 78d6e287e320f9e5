//! What changed, by polling `SystemModstamp`.
//!
//! `SystemModstamp` moves with every change, also with those of the system, and is indexed. Two things make a naive poll lose
//! rows: many rows may share one second, and a transaction that commits late writes an earlier time than rows already read. So
//! the feed goes on exactly behind the last row by (time, id), and a poll that begins a minute or more after the last one
//! reaches back two minutes behind where that one ended: rows may come twice, none is left out. Remove repeats by (id, version).
//! Polls in quick succession do not reach back, so that reading until a page is empty, or until the cursor stands still, ends.

use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::adapter::{ChangeFeed, Since};
use crate::error::{Error, Result};
use crate::model::{Change, ChangeKind, Entity, Fields, RecordId, Successor, parse_datetime};
use crate::query::{Criteria, Cursor, Operator, Page};
use crate::salesforce::client::Salesforce;
use crate::salesforce::entity::CONTACT;
use crate::salesforce::record::record;
use crate::salesforce::select::Soql;
use crate::salesforce::soql::datetime;

/// How far a poll reaches back behind the newest row it has seen.
const OVERLAP: SignedDuration = SignedDuration::from_mins(2);
/// Rows of one page.
const PAGE: u64 = 2000;

/// A poll this long after the last one is a new one, and reaches back.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// Where the feed stands; the text of a cursor.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Position {
    /// The time of the last row read.
    at: Timestamp,
    /// The last row read; none before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// When it was read, by the host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    read: Option<Timestamp>,
}

impl Salesforce {
    pub(super) async fn changes_page(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let position = match &feed.since {
            Since::Start => None,
            Since::At(at) => Some(Position { at: *at, id: None, read: None }),
            Since::Cursor(cursor) => {
                Some(serde_json::from_str::<Position>(cursor.as_str()).map_err(|_| Error::config("the cursor is not one of this feed"))?)
            }
        };
        let mut columns = self.columns(&feed.entity, &feed.select).await?;
        if feed.deletes {
            columns.push("IsDeleted".to_owned());
        }
        let successors = successors(&feed.entity, feed.deletes);
        columns.extend(successors.iter().map(|(column, _)| (*column).to_owned()));
        columns.push("CreatedDate".to_owned());
        let mut seen: Vec<String> = Vec::new();
        columns.retain(|column| {
            let fresh = !seen.iter().any(|known| known.eq_ignore_ascii_case(column));
            seen.push(column.clone());
            fresh
        });
        let stamp = "SystemModstamp";
        let now = self.now();
        let reach_back = |read: &Timestamp| now.duration_since(*read) >= PAUSE;
        let filter = match &position {
            None => Criteria::always(),
            Some(Position { at, id: Some(id), read }) if !read.as_ref().is_some_and(reach_back) => Criteria::compare(
                stamp,
                Operator::Gt,
                datetime(*at),
            )
            .or(Criteria::eq(stamp, datetime(*at)).and(Criteria::compare("Id", Operator::Gt, id.as_str()))),
            Some(Position { at, id, .. }) => {
                let from = if id.is_some() { at.checked_sub(OVERLAP).unwrap_or(*at) } else { *at };
                Criteria::compare(stamp, Operator::Gte, datetime(from))
            }
        };
        let soql = Soql::select(columns).from(feed.entity.as_str()).filter(&filter).order_by(stamp, false).order_by("Id", false);
        let soql = soql.limit(PAGE).build()?;
        let page = self.fields_page(self.query_path(&soql, feed.deletes)?, &HeaderMap::new()).await?;
        let mut changes = Vec::with_capacity(page.records.len());
        let mut newest: Option<(Timestamp, RecordId)> = None;
        for row in page.records {
            let created = row.text("CreatedDate").map(ToOwned::to_owned);
            let successor = successors.iter().find_map(|(column, entity)| {
                let id = row.text(column).filter(|id| !id.is_empty())?;
                Some(Successor::new(entity.clone(), RecordId::new(id)))
            });
            let record = record(&feed.entity, row, &feed.select)?;
            let at = record.modified_at.ok_or_else(|| Error::decode("a row came without its SystemModstamp"))?;
            newest = Some((at, record.id.clone()));
            let kind = match &created {
                _ if record.deleted => ChangeKind::Deleted,
                // The times of a new record are the same until somebody touches it.
                Some(created) if parse_datetime(created) == Some(at) => ChangeKind::Created,
                _ => ChangeKind::Updated,
            };
            let mut fields = if record.deleted { Fields::new() } else { record.fields };
            if !feed.select.is_empty() {
                for name in ["CreatedDate", "IsDeleted"].into_iter().chain(successors.iter().map(|(column, _)| *column)) {
                    if !feed.select.iter().any(|column| column.eq_ignore_ascii_case(name)) {
                        fields.remove(name);
                    }
                }
            }
            let mut change = Change::new(feed.entity.clone(), record.id, kind);
            change.fields = fields;
            change.at = Some(at);
            change.version = record.version;
            change.successor = successor;
            changes.push(change);
        }
        let next = match (newest, position) {
            (Some((at, id)), _) => Position { at, id: Some(id.into_string()), read: Some(now) },
            (None, Some(position)) => position,
            (None, None) => Position { at: Timestamp::UNIX_EPOCH, id: None, read: None },
        };
        let next = serde_json::to_string(&next).map_err(|_| Error::internal("a position could not be written"))?;
        Ok(Page::new(changes, Some(Cursor::new(next)), None))
    }
}

/// Columns that name the record that goes on for this one. The loser of a merge is a deleted row (Object Reference: Account, Contact,
/// Lead: `MasterRecordId`); a converted lead stays, read-only (Lead: `ConvertedContactId`).
fn successors(entity: &Entity, deletes: bool) -> Vec<(&'static str, Entity)> {
    let mut columns = Vec::new();
    let name = entity.as_str();
    if deletes && ["Account", "Contact", "Lead"].iter().any(|merged| merged.eq_ignore_ascii_case(name)) {
        columns.push(("MasterRecordId", entity.clone()));
    }
    if name.eq_ignore_ascii_case("Lead") {
        columns.push(("ConvertedContactId", CONTACT));
    }
    columns
}
