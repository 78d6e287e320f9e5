//! What changed: a search by the time of change, and a pass over the recycle bin for deletions.
//!
//! Each page asks for records changed at or after the last one seen, in that order, and leaves out those seen at that instant:
//! no offsets, so that neither the ceiling of 10,000 nor rows that move while they are read lose any. An instant that fills a
//! whole page is read by id. The index lags behind writes, so a change may show up behind the last one read. Where reading came
//! within three minutes of now is kept, and once a minute the feed goes back there: rows may come several times. Remove repeats
//! by (id, version).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::adapter::{ChangeFeed, Since};
use crate::error::{Error, Result};
use crate::hubspot::client::HubSpot;
use crate::hubspot::entity::{created_property, modified_property};
use crate::hubspot::filter::{Filter, Group};
use crate::hubspot::record::HubSpotRecord;
use crate::hubspot::search::ID;
use crate::model::{Change, ChangeKind, Version, parse_datetime};
use crate::query::{Cursor, Page};

const PAGE: u64 = 200;
/// The index lags by up to a minute or so; clocks differ.
const HORIZON: i64 = 180_000;
/// Milliseconds between two looks back.
const PAUSE: i64 = 60_000;
/// Milliseconds between two passes over the recycle bin: its list is by id, so each pass reads all of it.
const BIN_PAUSE: i64 = 300_000;
/// Searches in one call while nothing new is found; into an instant and out of it takes two.
const STEPS: usize = 4;
/// Pages of the recycle bin read in one call while nothing new is found.
const BIN_PAGES: usize = 10;

/// Where the feed stands; the text of a cursor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Position {
    /// Milliseconds since 1970 of the last row.
    at: i64,
    /// Ids of rows seen at that instant.
    seen: Vec<String>,
    /// Inside an instant: the last id read.
    inside: Option<String>,
    /// Everything there was has been read.
    drained: bool,
    /// From here on something may have been hidden by the lag.
    risk: Option<i64>,
    /// Since when, by the host's clock.
    back: Option<i64>,
    /// Deletions are told from this time on.
    deleted_from: i64,
    /// The pass over the recycle bin: its token; empty at its start.
    bin: Option<String>,
    /// When the last pass began.
    passed: Option<i64>,
}

impl HubSpot {
    pub(super) async fn changes_page(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let now = self.host.now().as_millisecond();
        let start = |at: i64| Position { at, deleted_from: at, ..Position::default() };
        let mut position = match &feed.since {
            Since::Start => start(0),
            Since::At(at) => start(at.as_millisecond()),
            Since::Cursor(cursor) => {
                serde_json::from_str::<Position>(cursor.as_str()).map_err(|_| Error::config("the cursor is not one of this feed"))?
            }
        };
        let mut changes = Vec::new();
        if feed.deletes && position.bin.is_some() {
            self.bin(feed, &mut position, &mut changes).await?;
            return page(changes, &position);
        }
        let ago = |then: Option<i64>, pause: i64| then.is_none_or(|then| now.saturating_sub(then) >= pause);
        if let Some(risk) = position.risk.filter(|_| position.drained && ago(position.back, PAUSE)) {
            position.at = position.at.min(risk);
            position.seen.clear();
            position.risk = None;
        }
        for _ in 0..STEPS {
            let before = position.at;
            position.drained = self.scan(feed, &mut position, &mut changes).await?;
            if position.risk.is_none() && position.at >= now - HORIZON {
                (position.risk, position.back) = (Some(before.max(now - HORIZON)), Some(now));
            }
            if position.drained || !changes.is_empty() {
                break;
            }
        }
        if feed.deletes && position.drained && ago(position.passed, BIN_PAUSE) {
            position.passed = Some(now);
            position.bin = Some(String::new());
            if changes.is_empty() {
                self.bin(feed, &mut position, &mut changes).await?;
            }
        }
        page(changes, &position)
    }

    /// One search; true if nothing is left.
    async fn scan(&self, feed: &ChangeFeed, position: &mut Position, changes: &mut Vec<Change>) -> Result<bool> {
        let stamp = modified_property(&feed.entity);
        let mut select = feed.select.clone();
        if !select.is_empty() {
            select.extend(
                [stamp.to_owned(), created_property(&feed.entity).to_owned()].into_iter().filter(|name| !feed.select.contains(name)),
            );
        }
        let (filters, sort) = match &position.inside {
            None => (vec![Filter::new(stamp, "GTE", position.at.to_string())], stamp),
            Some(id) => {
                let mut filters = vec![Filter::new(stamp, "EQ", position.at.to_string())];
                if !id.is_empty() {
                    filters.push(Filter::new(ID, "GT", id.clone()));
                }
                (filters, ID)
            }
        };
        let listing = self.search_raw(&feed.entity, &[Group { filters }], Some((sort, false)), &select, PAGE, None).await?;
        let full = listing.results.len() as u64 >= PAGE || listing.total.is_some_and(|total| total > listing.results.len() as u64);
        if position.inside.is_some() {
            if let Some(last) = listing.results.last() {
                position.inside = Some(last.id.clone());
            }
            for row in listing.results {
                changes.push(change(feed, row, ChangeKind::Updated)?);
            }
            if !full {
                position.inside = None;
                position.at += 1;
                position.seen.clear();
            }
            return Ok(false);
        }
        let time = |row: &HubSpotRecord| {
            row.modified().map(Timestamp::as_millisecond).ok_or_else(|| Error::decode("a row came without the time of its last change"))
        };
        let (first, last) = match (listing.results.first(), listing.results.last()) {
            (Some(first), Some(last)) => (time(first)?, time(last)?),
            _ => return Ok(true),
        };
        if full && first == last {
            (position.at, position.inside) = (first, Some(String::new()));
            position.seen.clear();
            return Ok(false);
        }
        for row in listing.results {
            let at = time(&row)?;
            if at == position.at && position.seen.contains(&row.id) {
                continue;
            }
            if at != position.at {
                position.at = at;
                position.seen.clear();
            }
            position.seen.push(row.id.clone());
            changes.push(change(feed, row, ChangeKind::Updated)?);
        }
        Ok(!full)
    }

    /// Reads on in the recycle bin until something new is found, up to [`BIN_PAGES`] pages.
    async fn bin(&self, feed: &ChangeFeed, position: &mut Position, changes: &mut Vec<Change>) -> Result<()> {
        let from = position.deleted_from.saturating_sub(HORIZON);
        for _ in 0..BIN_PAGES {
            let Some(after) = position.bin.clone() else { return Ok(()) };
            let page = self.list(&feed.entity, &[], Some(after.as_str()).filter(|after| !after.is_empty()), 100, true).await?;
            for row in page.items {
                let at = row.archived_at.as_deref().and_then(parse_datetime);
                // Without a time, better twice than never.
                if at.is_none_or(|at| at.as_millisecond() >= from) {
                    let mut change = change(feed, row, ChangeKind::Deleted)?;
                    change.at = at.or(change.at);
                    changes.push(change);
                }
            }
            position.bin = page.next.map(|next| next.as_str().to_owned());
            if position.bin.is_none() {
                position.deleted_from = position.passed.unwrap_or(position.deleted_from);
            }
            if !changes.is_empty() {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn page(changes: Vec<Change>, position: &Position) -> Result<Page<Change>> {
    let next = serde_json::to_string(position).map_err(|_| Error::internal("a position could not be written"))?;
    Ok(Page::new(changes, Some(Cursor::new(next)), None))
}

fn change(feed: &ChangeFeed, row: HubSpotRecord, kind: ChangeKind) -> Result<Change> {
    let created = row.created_at.as_deref().and_then(parse_datetime);
    let modified = row.modified();
    let archived_at = row.archived_at.clone();
    let record = row.into_record(&feed.entity, &feed.select)?;
    let kind = if kind == ChangeKind::Updated && created.is_some() && created == modified { ChangeKind::Created } else { kind };
    let mut change = Change::new(feed.entity.clone(), record.id, kind);
    if kind != ChangeKind::Deleted {
        change.fields = record.fields;
    }
    change.at = modified;
    change.version = if kind == ChangeKind::Deleted { archived_at.map(Version::new) } else { record.version };
    Ok(change)
}
