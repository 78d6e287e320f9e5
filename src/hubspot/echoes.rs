//! Our own writes, told back to us.
//!
//! Nothing in a webhook says for sure that it is the echo of one's own write: the source may be missing, and two apps of one
//! vendor look alike. So what was written is remembered for a while, as hashes, and a change that says the same is dropped. A
//! change that says something else besides keeps that.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::hubspot::entity::canonical;
use crate::hubspot::values::encode;
use crate::model::{Change, ChangeKind, Entity, Fields};
use crate::observe::{Event, Ignore, Observer};
use crate::store::{Batch, Family, Key, Store};
use crate::webhook::signature::hex;

type Mark = [u8; 16];

#[derive(Default)]
struct Marks {
    /// When a value was written last.
    at: HashMap<Mark, i64>,
    order: VecDeque<(Mark, i64)>,
}

/// Marks of one's own writes, in memory and bounded. Hand one to
/// [`HubSpot::with_own_writes`](crate::hubspot::HubSpot::with_own_writes), and what webhooks or the journal bring to
/// [`OwnWrites::filter`].
///
/// A restart forgets the marks, and other processes do not have them, unless they are [kept in a store](OwnWrites::kept_in). An
/// echo without a mark counts as a change, which a comparison with the record finds to be none.
pub struct OwnWrites {
    window: Duration,
    most: usize,
    marks: Mutex<Marks>,
    kept: Option<(Arc<dyn Store>, String)>,
    observer: Arc<dyn Observer>,
}

impl fmt::Debug for OwnWrites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnWrites").field("window", &self.window).field("most", &self.most).finish_non_exhaustive()
    }
}

impl Default for OwnWrites {
    fn default() -> Self {
        Self::new(Duration::from_secs(600), 100_000)
    }
}

impl OwnWrites {
    /// Marks that live for `window`, and of which the newest `most` are kept. Default: ten minutes and 100,000 values.
    pub fn new(window: Duration, most: usize) -> Self {
        Self { window, most: most.max(1), marks: Mutex::default(), kept: None, observer: Arc::new(Ignore) }
    }

    /// Who hears of [`Event::Echo`].
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    fn tell(&self, change: &Change, before: usize) {
        let fields = before.saturating_sub(change.fields.len());
        if fields > 0 {
            let whole = change.fields.is_empty();
            self.observer.on(&Event::Echo { entity: &change.entity, record: &change.id, fields, whole });
        }
    }

    /// Keeps the marks of `connection` in `store` too, as hashes and no longer than the window: they survive a restart, and what
    /// one process wrote another one knows. One commit for each request that writes, one read for each [`OwnWrites::filter`]. A
    /// mark is made after the write: a process that dies between the two, or a store that fails, leaves an echo that counts as a
    /// change.
    #[must_use]
    pub fn kept_in(mut self, store: Arc<dyn Store>, connection: impl Into<String>) -> Self {
        self.kept = Some((store, connection.into()));
        self
    }

    /// Remembers writes; those of one request.
    pub(super) async fn remember(&self, entity: &Entity, writes: &[(&str, &Map<String, Value>)], now: Timestamp) {
        for (id, properties) in writes {
            self.sent(entity, id, properties, now);
        }
        let Some((store, connection)) = &self.kept else { return };
        let expires = now.checked_add(self.window).unwrap_or(Timestamp::MAX);
        let mut batch = Batch::new();
        for (id, properties) in writes {
            for (name, value) in *properties {
                batch.put_until(key(connection, mark(entity, id, name, value)), now.as_millisecond().to_string(), expires);
            }
        }
        if !batch.is_empty() {
            // The write is done: that it could not be marked is no reason to call it failed.
            let _ = store.commit(batch).await;
        }
    }

    /// The changes without what we wrote ourselves: by the marks in memory, and by those of the store if there is one.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the store fails.
    pub async fn filter(&self, changes: Vec<Change>, now: Timestamp) -> Result<Vec<Change>> {
        let left: Vec<Change> = changes.into_iter().filter_map(|change| self.without_echoes(change, now)).collect();
        let kept = self.kept_marks(&left, now).await?;
        let whole = |(mut change, ours): (Change, Vec<String>)| {
            if ours.is_empty() {
                return Some(change);
            }
            let before = change.fields.len();
            change.fields.retain(|name, _| !ours.iter().any(|own| own == name));
            self.tell(&change, before);
            (!change.fields.is_empty()).then_some(change)
        };
        Ok(left.into_iter().zip(kept).filter_map(whole).collect())
    }

    /// The changes, all of them, those that hold a value of ours with `client` as the client of their [origin](Change::origin).
    ///
    /// For a [`TwoWay`](crate::sync::TwoWay) that was told so by
    /// [`own_origin`](crate::sync::TwoWayBuilder::own_origin): it compares such a change with what was read back, and costs no read if
    /// that is all it says. Unlike [`OwnWrites::filter`] it keeps a person's return to a value that we wrote.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the store fails.
    pub async fn claim(&self, mut changes: Vec<Change>, client: &str, now: Timestamp) -> Result<Vec<Change>> {
        let kept = self.kept_marks(&changes, now).await?;
        for (change, kept) in changes.iter_mut().zip(kept) {
            let known = |(name, value): (&str, &Value)| self.knows(mark(&change.entity, change.id.as_str(), name, value), now);
            if may_be_echo(change) && (!kept.is_empty() || change.fields.iter().any(known)) {
                change.origin.client = Some(client.to_owned());
            }
        }
        Ok(changes)
    }

    /// The fields of each change that the store says are ours; none without a store.
    async fn kept_marks<'a>(&self, changes: &'a [Change], now: Timestamp) -> Result<Vec<Vec<String>>> {
        let mut ours = vec![Vec::new(); changes.len()];
        let Some((store, connection)) = &self.kept else { return Ok(ours) };
        let fields = || {
            let may_be = |(at, change)| may_be_echo(change).then_some((at, change));
            let each = |(at, change): (usize, &'a Change)| change.fields.iter().map(move |(name, value)| (at, change, name, value));
            changes.iter().enumerate().filter_map(may_be).flat_map(each)
        };
        let keys: Vec<Key> =
            fields().map(|(_, change, name, value)| key(connection, mark(&change.entity, change.id.as_str(), name, value))).collect();
        if keys.is_empty() {
            return Ok(ours);
        }
        let window = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        let rows = store.load_many(&keys).await?;
        for ((at, _, name, _), row) in fields().zip(rows) {
            let written = row.and_then(|row| std::str::from_utf8(&row.value).ok()?.parse::<i64>().ok());
            if written.is_some_and(|written| now.as_millisecond().saturating_sub(written) <= window)
                && let Some(ours) = ours.get_mut(at)
            {
                ours.push(name.to_owned());
            }
        }
        Ok(ours)
    }

    /// Remembers a write, in memory.
    pub fn wrote(&self, entity: &Entity, id: &str, fields: &Fields, now: Timestamp) {
        if let Ok(properties) = encode(fields) {
            self.sent(entity, id, &properties, now);
        }
    }

    pub(super) fn sent(&self, entity: &Entity, id: &str, properties: &Map<String, Value>, now: Timestamp) {
        let now = now.as_millisecond();
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in properties {
            let mark = mark(entity, id, name, value);
            marks.at.insert(mark, now);
            marks.order.push_back((mark, now));
        }
        while marks.order.len() > self.most {
            let Some((mark, at)) = marks.order.pop_front() else { break };
            if marks.at.get(&mark) == Some(&at) {
                marks.at.remove(&mark);
            }
        }
    }

    fn knows(&self, mark: Mark, now: Timestamp) -> bool {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let window = i64::try_from(self.window.as_millis()).unwrap_or(i64::MAX);
        marks.at.get(&mark).is_some_and(|at| now.as_millisecond().saturating_sub(*at) <= window)
    }

    /// The change without what this process wrote itself, or `None` if nothing is left of it. Deletions, restorations and bare
    /// notifications are never taken for echoes.
    pub fn without_echoes(&self, mut change: Change, now: Timestamp) -> Option<Change> {
        if !may_be_echo(&change) {
            return Some(change);
        }
        let (entity, id) = (change.entity.clone(), change.id.clone());
        let before = change.fields.len();
        change.fields.retain(|name, value| !self.knows(mark(&entity, id.as_str(), name, value), now));
        self.tell(&change, before);
        (!change.fields.is_empty()).then_some(change)
    }
}

/// Numbers come back in another spelling, texts with blanks cut off, addresses in lower case; null and empty are the same.
pub(super) fn comparable(name: &str, value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        Value::Array(items) => items.iter().map(|item| comparable(name, item)).collect::<Vec<_>>().join(";"),
        other => other.to_string(),
    };
    match text.parse::<Decimal>() {
        Ok(number) => number.normalize().to_string(),
        Err(_) if name == "email" => text.to_lowercase(),
        Err(_) => text,
    }
}

fn may_be_echo(change: &Change) -> bool {
    matches!(change.kind, ChangeKind::Created | ChangeKind::Updated) && !change.fields.is_empty()
}

fn key(connection: &str, mark: Mark) -> Key {
    Key::new(Family::Ledger, &["echo", connection, &hex(&mark)])
}

fn mark(entity: &Entity, id: &str, name: &str, value: &Value) -> Mark {
    let text = comparable(name, value);
    let mut hash = Sha256::new();
    for part in [canonical(entity.as_str()).as_str(), id, name, &text] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    let mut mark = Mark::default();
    mark.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    mark
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordId;
    use crate::observe::Counts;
    use serde_json::json;

    fn change(entity: &str, fields: Value) -> Change {
        let mut change = Change::new(Entity::new(entity), RecordId::new("7"), ChangeKind::Updated);
        change.fields = Fields::from_value(fields).unwrap();
        change
    }

    #[test]
    fn an_echo_is_dropped_and_a_real_change_kept() {
        let own = OwnWrites::default();
        let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
        let contacts = Entity::from_static("contacts");
        own.wrote(&contacts, "7", &Fields::from_value(json!({"email": "A@b.test", "score": 5.0, "phone": null})).unwrap(), now);
        let counts = Counts::new();
        let own = own.observer(counts.clone());
        assert!(own.without_echoes(change("0-1", json!({"email": "a@b.test", "score": "5", "phone": ""})), now).is_none());
        let kept = own.without_echoes(change("contacts", json!({"score": "5", "city": "Oslo"})), now).unwrap();
        assert_eq!(kept.fields, Fields::from_value(json!({"city": "Oslo"})).unwrap());
        assert!(own.without_echoes(change("contacts", json!({"score": "6"})), now).is_some());
        // One whole, one in part; other values and other records are no echoes.
        assert_eq!(counts.tally().echoes, 2);
        assert!(own.without_echoes(change("companies", json!({"score": "5"})), now).is_some());
        let later = now + Duration::from_secs(601);
        assert!(own.without_echoes(change("contacts", json!({"score": "5"})), later).is_some());
        assert!(own.without_echoes(Change::new(contacts, RecordId::new("7"), ChangeKind::Deleted), now).is_some());
    }

    #[test]
    fn only_the_newest_are_kept() {
        let own = OwnWrites::new(Duration::from_secs(60), 3);
        let now: Timestamp = "2026-11-24T09:00:00Z".parse().unwrap();
        for n in 0..10 {
            own.wrote(&Entity::from_static("deals"), "7", &Fields::from_value(json!({ "amount": n })).unwrap(), now);
        }
        let known = (0..10).filter(|n| own.without_echoes(change("deals", json!({ "amount": n })), now).is_none()).count();
        assert_eq!(known, 3);
    }
}
