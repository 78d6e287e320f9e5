//! What changed, by the time a record says.
//!
//! Times tie, and rows become visible late: a new reading begins a while (`overlap`) before the newest record of the last one,
//! and repeats are removed by the reader, by (id, version). Within one reading pages follow the list's own paging.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::adapter::{ChangeFeed, Since};
use crate::custom::codec;
use crate::custom::connection::Custom;
use crate::custom::listing::{Listing, Place};
use crate::custom::pointer::plain;
use crate::custom::wire::WireFormat;
use crate::error::{Error, Result};
use crate::model::{Change, ChangeKind, EventId, Fields, ShapeCache};
use crate::query::{Cursor, Page};

/// A reading this long after the last one is a new one, and reaches back.
const PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// The text of a feed's cursor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Where this reading began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// The newest record seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest: Option<Timestamp>,
    /// The next page of this reading; none when it is at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    place: Option<Place>,
    /// When it ended, by the host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
}

impl Custom {
    pub(super) async fn changes_page(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let entity = &feed.entity;
        let spec = self.spec(entity)?;
        let (Some(op), Some(list)) = (&spec.changes, &spec.search) else {
            return Err(Error::unsupported("the definition says no way to read changes"));
        };
        let now = self.shared.host.now();
        let format = op.format.or(spec.modified_format).unwrap_or_default();
        let mut position = match &feed.since {
            Since::Start => Position::default(),
            Since::At(at) => Position { since: Some(*at), ..Position::default() },
            Since::Cursor(cursor) => {
                let read = serde_json::from_str::<Position>(cursor.as_str());
                read.map_err(|_| Error::config("the cursor is not one of this feed"))?
            }
        };
        let standing = position.clone();
        if position.place.is_none()
            && let Some(newest) = position.newest
        {
            let overlap = Duration::from_secs(op.overlap.unwrap_or(60));
            // Read again at once, only the newest moment itself is repeated: so reading until nothing is new ends.
            let again = position.ended.is_some_and(|ended| now.duration_since(ended) >= PAUSE);
            position.since = Some(if again { newest.checked_sub(overlap).unwrap_or(newest) } else { newest });
        }
        let mut params: Vec<(String, String)> = Vec::new();
        if let Some(since) = position.since {
            let from = if op.inclusive.unwrap_or(true) { since } else { since.checked_sub(step(format)).unwrap_or(since) };
            params.push((op.since.clone(), plain(&codec::written(from, format)).unwrap_or_default()));
        }
        let mut list = list.clone();
        list.query.extend(op.query.clone());
        let listing = Listing {
            operation: "changes",
            entity,
            spec,
            op: &list,
            path: op.path.as_deref(),
            params,
            document: None,
            page_size: None,
            place: position.place.take(),
        };
        let listed = self.list(listing).await?;
        let mut cache = ShapeCache::default();
        let mut changes = Vec::with_capacity(listed.items.len());
        let mut fresh = false;
        for value in listed.items {
            let record = self.record(entity, spec, value, None, &mut cache)?;
            if let Some(at) = record.modified_at {
                fresh |= standing.newest.is_none_or(|newest| at > newest);
                position.newest = position.newest.max(Some(at));
            }
            if record.deleted && !feed.deletes {
                continue;
            }
            let mut change = Change::new(entity.clone(), record.id, if record.deleted { ChangeKind::Deleted } else { ChangeKind::Updated });
            change.at = record.modified_at;
            change.event = record.version.as_ref().map(|version| EventId::new(format!("{}@{}", change.id.as_str(), version.as_str())));
            change.version = record.version;
            change.fields = if record.deleted { Fields::new() } else { record.fields };
            if !feed.select.is_empty() {
                change.fields.retain(|name, _| feed.select.iter().any(|wanted| wanted == name));
            }
            changes.push(change);
        }
        position.place = listed.next;
        if position.place.is_none() {
            position.ended = Some(now);
        }
        // Nothing but what was seen before: the cursor stands still, so that whoever reads on knows that it is at the end.
        let still = position.place.is_none() && standing.place.is_none() && standing.newest.is_some() && !fresh;
        let next = if still { Position { ended: standing.ended, ..standing } } else { position };
        let next = serde_json::to_string(&next).map_err(|_| Error::internal("a position could not be written"))?;
        Ok(Page::new(changes, Some(Cursor::new(next)), None))
    }
}

/// The smallest step of a form.
fn step(format: WireFormat) -> Duration {
    match format {
        WireFormat::Date => Duration::from_secs(24 * 60 * 60),
        WireFormat::EpochMilliseconds | WireFormat::Rfc3339 => Duration::from_millis(1),
        WireFormat::EpochSeconds | WireFormat::Rfc3339Seconds | WireFormat::Sql => Duration::from_secs(1),
    }
}
