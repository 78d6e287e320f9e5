//! What changed lately, of several kinds in one list: `GET /recents` of v1.
//!
//! It tells deletions too, which the lists of persons, organizations, activities and products do not, and reaches back a month at
//! most whatever it is asked (since December 2024). Its rows are v1's and incomplete, and their data may be missing: a row says
//! that something happened to a record, and the record has to be read.

use jiff::tz::Offset;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::adapter::Since;
use crate::error::{Error, Result};
use crate::model::{Change, ChangeKind, Entity, Version, parse_datetime};
use crate::pipedrive::client::{Pipedrive, id_of};
use crate::pipedrive::envelope::rows_with_place;
use crate::pipedrive::list::MOST;
use crate::pipedrive::resource::{ApiVersion, Kind};
use crate::query::{Cursor, Page};
use crate::rest::Call;

/// How far back it reaches.
const REACH: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Tokens of a page (OpenAPI documents, `x-token-cost`).
const PRICE: u32 = 20;

/// Where the list goes on; the text of a cursor.
#[derive(Debug, Serialize, Deserialize)]
struct Position {
    since: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start: Option<String>,
}

impl Pipedrive {
    /// One page of what happened to records of these kinds since a time within the last 30 days, oldest first, deletions among
    /// it. The changes carry no fields: read the record again. Price: 20 a page of 500.
    ///
    /// The last page's `next` begins with the newest second that was told, which comes again: leave out what is known by id and
    /// version. A page whose `next` is the cursor it was asked with holds nothing new.
    ///
    /// # Errors
    /// See [`Pipedrive`]. [`crate::error::ErrorKind::Unsupported`] for leads, their labels and webhooks, which the list does not
    /// know, for no kind at all, and for an older time: the list would leave out what lies between without a word.
    pub async fn recents(&self, kinds: &[Kind], since: &Since) -> Result<Page<Change>> {
        let named = |error: Error| error.during("recents");
        let unknown = |kind: &&Kind| matches!(kind, Kind::Lead | Kind::LeadLabel | Kind::Webhook);
        if let Some(kind) = kinds.iter().find(unknown) {
            return Err(named(Error::unsupported(format!("recent changes of {kind} are not listed"))));
        }
        if kinds.is_empty() {
            return Err(named(Error::unsupported("name the kinds whose recent changes are wanted")));
        }
        let position = match since {
            Since::At(at) => Position { since: *at, start: None },
            Since::Cursor(cursor) => {
                serde_json::from_str(cursor.as_str()).map_err(|_| named(Error::config("the cursor is not one of this list")))?
            }
            Since::Start => return Err(named(Error::unsupported("recent changes have no start: name a time within the last 30 days"))),
        };
        if self.host.now().duration_since(position.since) > REACH {
            let message = "recent changes reach back 30 days; read the lists and compare what is known with Pipedrive::missing";
            return Err(named(Error::unsupported(message)));
        }
        let words: Vec<&str> = kinds.iter().map(|kind| kind.singular()).collect();
        let mut pairs = vec![("since_timestamp", old_time(position.since)), ("items", words.join(",")), ("limit", MOST.to_string())];
        pairs.extend(position.start.clone().map(|start| ("start", start)));
        let call = Call::get("recents", self.path(ApiVersion::V1, "recents", "", &pairs));
        let answer = self.send(&call, PRICE).await.map_err(named)?;
        let (page, place) = rows_with_place(&answer).map_err(named)?;
        let next = match page.next {
            Some(next) if position.start.as_ref() == Some(&next) => {
                return Err(named(Error::decode("the next page is the page just read")));
            }
            Some(start) => Position { since: position.since, start: Some(start) },
            None => {
                let last = place.get("last_timestamp_on_page").and_then(Value::as_str).and_then(parse_datetime);
                Position { since: last.unwrap_or(position.since), start: None }
            }
        };
        let changes = page.rows.iter().filter_map(change).collect();
        let text = serde_json::to_string(&next).map_err(|_| Error::internal("a position could not be written"))?;
        Ok(Page::new(changes, Some(Cursor::new(text)), None))
    }
}

/// v1's form of a time: UTC without a zone.
fn old_time(at: Timestamp) -> String {
    Offset::UTC.to_datetime(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `{item, id, data}` as a change; `None` for what this client does not know.
fn change(row: &Map<String, Value>) -> Option<Change> {
    let kind = Kind::of(&Entity::new(row.get("item")?.as_str()?)).ok()?;
    let id = row.get("id").and_then(id_of)?;
    // Single rows are seen wrapped in a list.
    let data = match row.get("data") {
        Some(Value::Object(data)) => Some(data),
        Some(Value::Array(list)) => list.first().and_then(Value::as_object),
        _ => None,
    };
    let text = |name: &str| data.and_then(|data| data.get(name)).and_then(Value::as_str);
    let flag = |name: &str| data.and_then(|data| data.get(name)).and_then(Value::as_bool);
    let deleted = text("status") == Some("deleted")
        || flag("deleted") == Some(true)
        || flag("is_deleted") == Some(true)
        // Users and activity types that are switched off are still there.
        || (!matches!(kind, Kind::User | Kind::ActivityType) && (flag("active_flag") == Some(false) || flag("active") == Some(false)));
    let what = if deleted {
        ChangeKind::Deleted
    } else if text("add_time").is_some() && text("add_time") == text("update_time") {
        ChangeKind::Created
    } else {
        ChangeKind::Updated
    };
    let mut change = Change::new(kind.entity(), id, what);
    let stamp = text("update_time").or_else(|| text("modified")).or_else(|| text("add_time"));
    change.at = stamp.and_then(parse_datetime);
    change.version = stamp.map(Version::new);
    Some(change)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_row_says() {
        let read = |row: Value| change(row.as_object().unwrap());
        let kind = |row: Value| read(row).map(|change| (change.entity.as_str().to_owned(), change.kind));
        let data =
            |flag: bool| json!({"id": 7, "active_flag": flag, "add_time": "2026-01-01 10:00:00", "update_time": "2026-01-02 10:00:00"});
        let row = |item: &str, data: Value| json!({"item": item, "id": 7, "data": data});
        assert_eq!(kind(row("person", data(true))), Some(("persons".to_owned(), ChangeKind::Updated)));
        assert_eq!(kind(row("person", data(false))), Some(("persons".to_owned(), ChangeKind::Deleted)));
        assert_eq!(kind(row("user", data(false))), Some(("users".to_owned(), ChangeKind::Updated)));
        assert_eq!(kind(row("deal", json!({"status": "deleted"}))), Some(("deals".to_owned(), ChangeKind::Deleted)));
        // The data may be missing, or what the row is about may be unknown.
        assert_eq!(kind(row("note", Value::Null)), Some(("notes".to_owned(), ChangeKind::Updated)));
        assert_eq!(kind(row("file", data(true))), None);
        let at = read(row("person", data(true))).unwrap().at.unwrap();
        assert_eq!(at, "2026-01-02T10:00:00Z".parse().unwrap());
        assert_eq!(old_time(at), "2026-01-02 10:00:00");
    }
}
