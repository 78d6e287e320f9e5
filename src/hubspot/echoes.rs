//! Our own writes, told back to us.
//!
//! Nothing in a webhook says for sure that it is the echo of one's own write: the source may be missing, and two apps of one
//! vendor look alike. So what was written is remembered for a while, as hashes, and a change that says the same is dropped. A
//! change that says something else besides keeps that.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rust_decimal::Decimal;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::hubspot::entity::canonical;
use crate::hubspot::values::encode;
use crate::model::{Change, ChangeKind, Entity, Fields};

type Mark = [u8; 16];

#[derive(Default)]
struct Marks {
    /// When a value was written last.
    at: HashMap<Mark, i64>,
    order: VecDeque<(Mark, i64)>,
}

/// Marks of one's own writes, in memory and bounded. Hand one to
/// [`HubSpot::with_own_writes`](crate::hubspot::HubSpot::with_own_writes), and what webhooks or the journal bring to
/// [`OwnWrites::without_echoes`].
///
/// A restart forgets the marks: an echo then counts as a change, which a comparison with the record finds to be none.
pub struct OwnWrites {
    window: Duration,
    most: usize,
    marks: Mutex<Marks>,
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
        Self { window, most: most.max(1), marks: Mutex::default() }
    }

    /// Remembers a write.
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

    /// The change without what we wrote ourselves, or `None` if nothing is left of it. Deletions, restorations and bare
    /// notifications are never taken for echoes.
    pub fn without_echoes(&self, mut change: Change, now: Timestamp) -> Option<Change> {
        if !matches!(change.kind, ChangeKind::Created | ChangeKind::Updated) || change.fields.is_empty() {
            return Some(change);
        }
        let (entity, id) = (change.entity.clone(), change.id.clone());
        change.fields.retain(|name, value| !self.knows(mark(&entity, id.as_str(), name, value), now));
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
        assert!(own.without_echoes(change("0-1", json!({"email": "a@b.test", "score": "5", "phone": ""})), now).is_none());
        let kept = own.without_echoes(change("contacts", json!({"score": "5", "city": "Oslo"})), now).unwrap();
        assert_eq!(kept.fields, Fields::from_value(json!({"city": "Oslo"})).unwrap());
        assert!(own.without_echoes(change("contacts", json!({"score": "6"})), now).is_some());
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
