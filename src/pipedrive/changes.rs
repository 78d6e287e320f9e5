//! What changed, by polling `updated_since`.
//!
//! Times have whole seconds and the start is inclusive, so a poll begins with the second the last one ended in, and leaves out
//! what it had read of it. Each page goes on by the time of the last row, not by Pipedrive's cursor or offset: rows that change
//! while they are read move to the end, and an offset would then pass over others. Within one second the cursor goes on.
//!
//! A poll that begins a minute or more after the last one reaches back a minute behind it, since transactions may be seen late:
//! rows may come twice then, none is left out. Polls in quick succession end.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::adapter::{ChangeFeed, Since};
use crate::error::{Error, Result};
use crate::model::{Change, ChangeKind, Fields, parse_datetime};
use crate::pipedrive::client::{Pipedrive, row_id};
use crate::pipedrive::list::{ListQuery, MOST, is_deleted};
use crate::pipedrive::record::record;
use crate::pipedrive::resource::Kind;
use crate::query::{Cursor, Page};

/// How far a new poll reaches back behind the newest second it has seen.
const OVERLAP: SignedDuration = SignedDuration::from_secs(60);
/// A poll this long after the last one is a new one.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);
/// Pages read by one call while they hold nothing new.
const MOST_PAGES: usize = 10;
/// Rows of one second that are remembered; more are told again by the next new poll.
const REMEMBERED: usize = 2_000;

/// Where the feed stands; the text of a cursor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Position {
    /// The second to begin with; none from the first record.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    /// The newest second that was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    second: Option<Timestamp>,
    /// Ids of the newest second, which were told already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    seen: Vec<String>,
    /// Where Pipedrive goes on, while its pages lie in one second.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// When the last row was read, by the host's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    read: Option<Timestamp>,
}

impl Position {
    /// Behind a page: its first and newest second, the ids of the newest, and where Pipedrive would go on.
    fn behind(mut self, first: Option<Timestamp>, newest: Option<(Timestamp, Vec<String>)>, place: Option<String>) -> Self {
        let Some((second, ids)) = newest else {
            self.next = place;
            return self;
        };
        if self.second != Some(second) {
            (self.second, self.seen) = (Some(second), Vec::new());
        }
        for id in ids {
            if !self.seen.contains(&id) {
                self.seen.push(id);
            }
        }
        // A page within one second leads nowhere by its time: only Pipedrive's own place does, for the same question.
        self.next = place.filter(|_| first == Some(second));
        if self.next.is_none() {
            self.from = Some(second);
        }
        self
    }
}

impl Pipedrive {
    pub(crate) async fn changes_page(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let kind = Kind::of(&feed.entity)?;
        if !kind.has_changes() {
            return Err(Error::unsupported(format!("{kind} cannot be asked for changes; read the list again")));
        }
        if feed.deletes && kind != Kind::Deal {
            let message = "only deals can be asked for deletions; take a delete webhook, or Pipedrive::missing for known ids";
            return Err(Error::unsupported(message));
        }
        let now = self.host.now();
        let mut position = match &feed.since {
            Since::Start => Position::default(),
            Since::At(at) => Position { from: Some(whole(*at)), ..Position::default() },
            Since::Cursor(cursor) => {
                serde_json::from_str(cursor.as_str()).map_err(|_| Error::config("the cursor is not one of this feed"))?
            }
        };
        let old = position.clone();
        if position.next.is_none() && position.read.is_some_and(|read| now.duration_since(read) >= PAUSE) {
            position.from = position.from.map(|from| from.checked_sub(OVERLAP).unwrap_or(from));
            (position.second, position.seen) = (None, Vec::new());
        }
        let map = self.names(kind, feed.select.iter().map(String::as_str)).await?;
        let mut changes = Vec::new();
        let mut next = position;
        for _ in 0..MOST_PAGES {
            let mut query = ListQuery::new().sort("update_time", false).limit(MOST);
            if let Some(from) = next.from {
                query = query.updated_since(from);
            }
            if feed.deletes {
                query = query.filter("status", "open,won,lost,deleted");
            }
            if let Some(place) = &next.next {
                query = query.after(place.clone());
            }
            let page = self.list_rows(kind, &query).await?;
            let mut first = None;
            let mut newest: Option<(Timestamp, Vec<String>)> = None;
            for row in &page.rows {
                let at = moment(row);
                let second = at.map(whole);
                first = first.or(second);
                let id = row_id(row).map(|id| id.into_string()).unwrap_or_default();
                let told = second.is_some() && second == next.second && next.seen.contains(&id);
                match (&mut newest, second) {
                    (Some((time, ids)), Some(second)) if *time == second => ids.push(id),
                    (Some((time, _)), Some(second)) if *time > second => {}
                    (_, Some(second)) => newest = Some((second, vec![id])),
                    (_, None) => {}
                }
                if !told {
                    changes.push(change(kind, row, feed, at, &map)?);
                }
            }
            let more = page.next.is_some();
            next = next.behind(first, newest, page.next);
            // A page of what was told already is not the end.
            if !changes.is_empty() || !more {
                break;
            }
        }
        next.read = Some(now);
        if next.seen.len() > REMEMBERED && next.next.is_none() {
            // Too many to remember: go on behind this second; what is seen late in it, the next new poll finds.
            next.from = next.from.map(|from| from.checked_add(SignedDuration::from_secs(1)).unwrap_or(from));
            (next.second, next.seen) = (None, Vec::new());
        }
        // Nothing new: the cursor stands still, so that whoever reads until it does comes to an end.
        if changes.is_empty() && (next.from, &next.seen, &next.next) == (old.from, &old.seen, &old.next) {
            next.read = old.read.or(Some(now));
        }
        let text = serde_json::to_string(&next).map_err(|_| Error::internal("a position could not be written"))?;
        Ok(Page::new(changes, Some(Cursor::new(text)), None))
    }

    /// Which of these records are gone or hidden: the way to find deletions that no list tells. A call for each 100.
    ///
    /// # Errors
    /// See [`Pipedrive`]; [`crate::error::ErrorKind::Unsupported`] for kinds whose list takes no ids.
    pub async fn missing(&self, kind: Kind, ids: &[crate::model::RecordId]) -> Result<Vec<crate::model::RecordId>> {
        if !kind.multi_get() {
            return Err(Error::unsupported("the list of this kind takes no ids").on(&kind.entity()));
        }
        let there: Vec<_> = self.rows_by_id(kind, ids).await?.iter().filter_map(row_id).collect();
        Ok(ids.iter().filter(|id| !there.contains(id)).cloned().collect())
    }
}

fn moment(row: &Map<String, Value>) -> Option<Timestamp> {
    ["update_time", "add_time"].iter().find_map(|name| parse_datetime(row.get(*name)?.as_str()?))
}

fn whole(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}

fn change(
    kind: Kind,
    row: &Map<String, Value>,
    feed: &ChangeFeed,
    at: Option<Timestamp>,
    map: &crate::pipedrive::field_map::FieldMap,
) -> Result<Change> {
    let record = record(kind, row, &feed.select, map)?;
    let text = |name: &str| row.get(name).and_then(Value::as_str);
    let what = if is_deleted(kind, row) {
        ChangeKind::Deleted
    } else if text("update_time").is_none() || text("update_time") == text("add_time") {
        // The two are the same until somebody touches the record.
        ChangeKind::Created
    } else {
        ChangeKind::Updated
    };
    let mut change = Change::new(kind.entity(), record.id, what);
    change.fields = if what == ChangeKind::Deleted { Fields::new() } else { record.fields };
    change.at = at;
    change.version = record.version;
    Ok(change)
}
