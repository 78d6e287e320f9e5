//! What changed, by the time a record says.
//!
//! Times tie, and rows become visible late: a new reading begins a while (`overlap`) before the newest record of the last one,
//! and repeats are removed by the reader, by (id, version). Within one reading pages follow the list's own paging. Where deleted
//! records have a list of their own, the call that comes to the end of the first reads the first page of the second: two requests.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::adapter::{ChangeFeed, Since};
use crate::custom::connection::Custom;
use crate::custom::definition::EntitySpec;
use crate::custom::filter::{FilterTarget, Wire};
use crate::custom::listing::{Listing, Place};
use crate::custom::operation::{ChangesSpec, RemovedSpec, SearchOp};
use crate::custom::paging::PageTarget;
use crate::custom::pointer::{Paths, plain};
use crate::custom::wire::WireFormat;
use crate::error::{Error, Result};
use crate::model::{Change, ChangeKind, Entity, EventId, Fields, Record, RecordId, ShapeCache};
use crate::query::{Criteria, Cursor, Operator, Page};

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
    /// The size of its pages, where they had to become smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u32>,
    /// The list of deleted records is being read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    removed: bool,
    /// This reading has met something new already.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    fresh: bool,
    /// When it ended, by the host's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ended: Option<Timestamp>,
}

impl Custom {
    pub(super) async fn changes_page(&self, feed: &ChangeFeed) -> Result<Page<Change>> {
        let spec = self.spec(&feed.entity)?;
        let (Some(op), Some(list)) = (&spec.changes, &spec.search) else {
            return Err(Error::unsupported("the definition says no way to read changes"));
        };
        let now = self.shared.host.now();
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
            && !position.removed
            && let Some(newest) = position.newest
        {
            let overlap = Duration::from_secs(op.overlap.unwrap_or(60));
            // Read again at once, only the newest moment itself is repeated: so reading until nothing is new ends.
            let again = position.ended.is_some_and(|ended| now.duration_since(ended) >= PAUSE);
            position.since = Some(if again { newest.checked_sub(overlap).unwrap_or(newest) } else { newest });
        }
        let removed = op.removed.as_ref().filter(|_| feed.deletes);
        let mut reading = Reading { position, changes: Vec::new(), before: standing.newest };
        self.read_changes(feed, spec, op, list, removed.filter(|_| standing.removed), &mut reading).await?;
        if let Some(removed) = removed
            && !standing.removed
            && reading.position.place.is_none()
        {
            // The list of what lives is at its end: that of what was deleted follows at once.
            reading.position.removed = true;
            self.read_changes(feed, spec, op, list, Some(removed), &mut reading).await?;
        }
        let Reading { mut position, changes, .. } = reading;
        let at_start = standing.place.is_none() && !standing.removed;
        let quiet = !position.fresh && standing.newest.is_some();
        if position.place.is_none() {
            // Where nothing was new the end stays the old one: whoever reads until the cursor stands still comes to an end.
            position.ended = if quiet { standing.ended.or(Some(now)) } else { Some(now) };
            (position.removed, position.fresh) = (false, false);
        }
        let still = position.place.is_none() && at_start && quiet;
        let next = if still { standing } else { position };
        let next = serde_json::to_string(&next).map_err(|_| Error::internal("a position could not be written"))?;
        Ok(Page::new(changes, Some(Cursor::new(next)), None))
    }

    /// One page of one of the two lists.
    async fn read_changes(
        &self,
        feed: &ChangeFeed,
        spec: &EntitySpec,
        op: &ChangesSpec,
        list: &SearchOp,
        gone: Option<&RemovedSpec>,
        reading: &mut Reading,
    ) -> Result<()> {
        let entity = &feed.entity;
        let format = op.format.clone().or_else(|| spec.modified_format.clone()).unwrap_or_default();
        let position = &mut reading.position;
        let mut list = list.clone();
        let (params, document) = self.since(spec, op, gone, &list, position.since, &format)?;
        list.query.extend(op.query.clone());
        if let (Some(name), Some(since)) = (&op.since_header, position.since) {
            let from = if op.inclusive.unwrap_or(true) { since } else { since.checked_sub(format.step()).unwrap_or(since) };
            list.headers.insert(name.clone(), plain(&format.write(from)).unwrap_or_default());
            list.success.extend(list.success.is_empty().then_some([200, 203, 204, 206]).into_iter().flatten());
            list.success.push(304);
        }
        let (params, members) = match op.target {
            PageTarget::Query => (params, Vec::new()),
            PageTarget::Body => (Vec::new(), params.into_iter().map(|(name, text)| (name, Value::String(text))).collect()),
        };
        if let Some(records) = gone.and_then(|gone| gone.records.clone()) {
            list.records = Some(records);
        }
        let listing = Listing {
            operation: "changes",
            entity,
            spec,
            op: &list,
            path: gone.map(|gone| gone.path.as_str()).or(op.path.as_deref()),
            params,
            members,
            document,
            page_size: None,
            shrunk: position.size,
            place: position.place.take(),
        };
        let listed = self.list(listing).await?;
        let mut cache = ShapeCache::default();
        for value in listed.items {
            let change = match gone {
                Some(gone) => self.gone(entity, spec, gone, &value, &format)?,
                None => {
                    let record = self.record(entity, spec, value, None, &mut cache)?;
                    if op.client_side && record.modified_at.zip(position.since).is_some_and(|(at, since)| at < since) {
                        continue;
                    }
                    changed(record, &feed.select)
                }
            };
            if let Some(at) = change.at {
                position.fresh |= reading.before.is_none_or(|before| at > before);
                position.newest = position.newest.max(Some(at));
            }
            if feed.deletes || change.kind != ChangeKind::Deleted {
                reading.changes.push(change);
            }
        }
        position.size = listed.shrunk.filter(|_| listed.next.is_some());
        position.place = listed.next;
        Ok(())
    }

    /// How the time to begin at is said.
    fn since(
        &self,
        spec: &EntitySpec,
        op: &ChangesSpec,
        gone: Option<&RemovedSpec>,
        list: &SearchOp,
        since: Option<Timestamp>,
        format: &WireFormat,
    ) -> Result<Said> {
        let mut params: Vec<(String, String)> = Vec::new();
        let mut document = None;
        let text = |at: Timestamp| plain(&format.write(at)).unwrap_or_default();
        if let Some(name) = &op.until {
            params.push((name.clone(), text(self.shared.host.now())));
        }
        let Some(since) = since else { return Ok((params, document)) };
        let from = if op.inclusive.unwrap_or(true) { since } else { since.checked_sub(format.step()).unwrap_or(since) };
        let own = gone.and_then(|gone| gone.since.as_ref());
        if let Some(name) = own.or_else(|| Some(&op.since).filter(|name| !name.is_empty())) {
            params.push((name.clone(), text(from)));
        } else if let Some(field) = &op.field {
            // A field the definition describes is encoded as it says, any other as the feed does.
            let value = if spec.fields.contains_key(field) { Value::String(from.to_string()) } else { format.write(from) };
            let posts = list.method.as_deref().is_some_and(|method| !method.eq_ignore_ascii_case("GET"));
            let lowered = list.filter.lower(&Criteria::compare(field, Operator::Gte, value), &Bare(spec), posts)?;
            if lowered.residual.is_some() {
                return Err(Error::config("the filter of search cannot say >=, which the change feed needs"));
            }
            params.extend(lowered.params);
            document = lowered.document;
        }
        Ok((params, document))
    }

    fn gone(&self, entity: &Entity, spec: &EntitySpec, gone: &RemovedSpec, value: &Value, format: &WireFormat) -> Result<Change> {
        let told = || gone.id.as_ref().map_or_else(|| spec.id_told(), Paths::told);
        let id = gone.id.as_ref().map_or_else(|| spec.id_of(value), |path| path.text(value));
        let id = id.ok_or_else(|| Error::decode(format!("a deleted record has no id at {}", told())))?;
        let mut change = Change::new(entity.clone(), RecordId::new(id), ChangeKind::Deleted);
        let at = gone.at.as_ref().or(spec.modified.as_ref()).and_then(|path| path.find(value));
        change.at = at.and_then(|value| format.read(value));
        change.event = change.at.map(|at| EventId::new(format!("{}@deleted {at}", change.id.as_str())));
        Ok(change)
    }
}

/// A call of the feed in the making.
struct Reading {
    position: Position,
    changes: Vec<Change>,
    /// The newest record that was seen before this reading.
    before: Option<Timestamp>,
}

fn changed(record: Record, select: &[String]) -> Change {
    let kind = if record.deleted { ChangeKind::Deleted } else { ChangeKind::Updated };
    let mut change = Change::new(record.entity, record.id, kind);
    change.at = record.modified_at;
    change.event = record.version.as_ref().map(|version| EventId::new(format!("{}@{}", change.id.as_str(), version.as_str())));
    change.version = record.version;
    change.fields = if record.deleted { Fields::new() } else { record.fields };
    if !select.is_empty() {
        change.fields.retain(|name, _| select.iter().any(|wanted| wanted == name));
    }
    change
}

type Said = (Vec<(String, String)>, Option<(FilterTarget, Value)>);

/// The feed's own field need not be among those a strict entity names.
struct Bare<'a>(&'a EntitySpec);

impl Wire for Bare<'_> {
    fn name(&self, field: &str) -> String {
        self.0.name(field)
    }

    fn value(&self, field: &str, value: &Value) -> Result<Value> {
        if self.0.fields.contains_key(field) { self.0.value(field, value) } else { Ok(value.clone()) }
    }
}
