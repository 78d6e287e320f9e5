//! What happened, in order, for as long as it is kept.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Platform events and change events are kept 72 hours, PushTopic and generic events 24 (Streaming API Developer Guide,
/// message durability).
const LONG: i64 = 72 * 3_600_000;
const SHORT: i64 = 24 * 3_600_000;

/// A log longer than this loses its oldest events early.
const MOST: usize = 100_000;

/// A change event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) entity: String,
    pub(crate) ids: Vec<String>,
    /// `CREATE`, `GAP_UPDATE` and so on.
    pub(crate) kind: String,
    pub(crate) origin: String,
    pub(crate) transaction: String,
    /// From 1 within the transaction.
    pub(crate) sequence: u32,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) number: i64,
    pub(crate) user: String,
    /// In the event's names: `BillingAddress.City`.
    pub(crate) changed: Vec<String>,
    pub(crate) nulled: Vec<String>,
    pub(crate) diffs: Vec<String>,
    /// Compounds nested; of an update only what has changed, cleared fields as null.
    pub(crate) fields: Map<String, Value>,
}

/// What an event tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Payload {
    Change(Box<Change>),
    /// A push to a generic channel.
    Generic {
        channel: String,
        payload: Value,
        users: Vec<String>,
    },
    /// Nothing; it holds a place for the position of a quiet subscription.
    Mark,
    Platform {
        event: String,
        fields: Map<String, Value>,
    },
    Topic {
        topic: String,
        kind: String,
        sobject: Map<String, Value>,
    },
}

/// An event at its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Event {
    pub(crate) replay: u64,
    /// Milliseconds since 1970.
    pub(crate) at: i64,
    pub(crate) uuid: String,
    #[serde(flatten)]
    pub(crate) payload: Payload,
}

impl Event {
    fn kept(&self, now: i64) -> bool {
        let life = match self.payload {
            Payload::Topic { .. } | Payload::Generic { .. } => SHORT,
            _ => LONG,
        };
        now < self.at.saturating_add(life)
    }
}

/// The kept events. Replay ids grow, with gaps, and say nothing else.
#[derive(Debug)]
pub(crate) struct EventLog {
    seed: u64,
    /// Grows with each reset.
    epoch: u64,
    last: u64,
    events: VecDeque<Event>,
    /// So many at the end are not stored yet.
    fresh: usize,
}

/// Spreads a number over all of `u64`, the same way every time.
pub(crate) fn spread(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A UUID that the same seed and words make again.
pub(crate) fn uuid(seed: u64, what: &str, number: u64) -> String {
    let digest = Sha256::digest(format!("{seed}:{what}:{number}"));
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest.iter()).for_each(|(to, from)| *to = *from);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

impl EventLog {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, epoch: 0, last: 1_000_000 + spread(seed, 0) % 9_000_000, events: VecDeque::new(), fresh: 0 }
    }

    /// The id of the newest event.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.events.front().map(|event| event.replay)
    }

    pub(crate) fn append(&mut self, now: Timestamp, payload: Payload) -> u64 {
        let step = match spread(self.seed, self.last) % 8 {
            0..=4 => 1,
            some => some * 3,
        };
        self.last += step;
        let uuid = uuid(self.seed, "event", self.epoch << 48 | self.last);
        self.events.push_back(Event { replay: self.last, at: now.as_millisecond(), uuid, payload });
        self.fresh += 1;
        if self.events.len() > MOST + self.fresh {
            self.events.pop_front();
        }
        self.last
    }

    /// Forgets what is too old.
    pub(crate) fn purge(&mut self, now: Timestamp) {
        let now = now.as_millisecond();
        while self.events.len() > self.fresh && self.events.front().is_some_and(|event| !event.kept(now) && now >= event.at + LONG) {
            self.events.pop_front();
        }
    }

    /// Kept events after a position, oldest first.
    pub(crate) fn after(&self, replay: u64, now: Timestamp) -> impl Iterator<Item = &Event> {
        let from = self.events.partition_point(|event| event.replay <= replay);
        let now = now.as_millisecond();
        self.events.range(from..).filter(move |event| event.kept(now))
    }

    /// Whether a subscription can start after `replay`: it is the id of an event that is still kept.
    pub(crate) fn knows(&self, replay: u64, now: Timestamp) -> bool {
        let at = self.events.binary_search_by_key(&replay, |event| event.replay);
        at.ok().and_then(|at| self.events.get(at)).is_some_and(|event| event.kept(now.as_millisecond()))
    }

    /// A position that can be resumed from for some days yet: the newest event, or a new place after it.
    #[cfg_attr(not(feature = "sandbox-pubsub"), allow(dead_code, reason = "only the Pub/Sub face asks"))]
    pub(crate) fn position(&mut self, now: Timestamp) -> u64 {
        let recent = self.events.back().is_some_and(|event| {
            let durable = !matches!(event.payload, Payload::Topic { .. } | Payload::Generic { .. });
            durable && now.as_millisecond() < event.at + 3_600_000
        });
        if recent { self.last } else { self.append(now, Payload::Mark) }
    }

    /// Everything kept so far is too old from now on, and ids of it are refused.
    pub(crate) fn expire(&mut self) {
        self.events.clear();
        self.fresh = 0;
        self.last += 1 + spread(self.seed, self.last) % 50;
    }

    /// Numbering begins anew, below where it was, as after a migration or a sandbox refresh.
    pub(crate) fn reset(&mut self) {
        self.epoch += 1;
        self.events.clear();
        self.fresh = 0;
        self.last = 1_000 * self.epoch + spread(self.seed, self.epoch) % 500;
    }

    /// What is not stored yet.
    pub(crate) fn unsaved(&self) -> impl Iterator<Item = &Event> {
        self.events.range(self.events.len().saturating_sub(self.fresh)..)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Event> {
        self.events.iter()
    }

    pub(crate) fn has_fresh(&self) -> bool {
        self.fresh > 0
    }

    pub(crate) fn saved(&mut self) {
        self.fresh = 0;
    }

    /// Unsaved events have not happened. Their ids stay unused.
    pub(crate) fn discard(&mut self) {
        self.events.truncate(self.events.len().saturating_sub(self.fresh));
        self.fresh = 0;
    }

    /// As it was stored: where numbering stands, and more events.
    pub(crate) fn restore(&mut self, epoch: u64, last: u64, cleared: bool, events: Vec<Event>) {
        if cleared {
            self.events.clear();
        }
        self.epoch = epoch;
        self.last = last;
        self.events.extend(events);
        while self.events.len() > MOST {
            self.events.pop_front();
        }
        self.fresh = 0;
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + hours * 3600).unwrap()
    }

    fn topic() -> Payload {
        Payload::Topic { topic: "T".to_owned(), kind: "created".to_owned(), sobject: Map::new() }
    }

    #[test]
    fn ids_grow_with_gaps_and_repeat_with_the_seed() {
        let (mut a, mut b) = (EventLog::new(7), EventLog::new(7));
        let ids: Vec<u64> = (0..50).map(|_| a.append(at(0), Payload::Mark)).collect();
        assert_eq!(ids, (0..50).map(|_| b.append(at(0), Payload::Mark)).collect::<Vec<_>>());
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.windows(2).any(|pair| pair[0] + 1 < pair[1]));
        assert_ne!(EventLog::new(8).last(), EventLog::new(7).last());
    }

    #[test]
    fn events_are_kept_a_day_or_three() {
        let mut log = EventLog::new(1);
        let (short, long) = (log.append(at(0), topic()), log.append(at(0), Payload::Mark));
        assert!(log.knows(short, at(23)) && !log.knows(short, at(24)));
        assert!(log.knows(long, at(71)) && !log.knows(long, at(72)));
        assert!(!log.knows(long + 1, at(0)) && !log.knows(0, at(0)));
        assert_eq!(log.after(0, at(30)).count(), 1);
        log.saved();
        log.purge(at(72));
        assert_eq!(log.len(), 0);
        assert_eq!(log.last(), long);
        let place = log.position(at(72));
        assert!(place > long && log.knows(place, at(73)));
    }

    #[test]
    fn a_reset_starts_below() {
        let mut log = EventLog::new(1);
        let old = log.append(at(0), Payload::Mark);
        log.reset();
        let new = log.append(at(0), Payload::Mark);
        assert!(new < old && !log.knows(old, at(0)) && log.knows(new, at(0)));
    }

    #[test]
    fn a_discard_takes_back_what_was_not_saved() {
        let mut log = EventLog::new(1);
        let kept = log.append(at(0), Payload::Mark);
        log.saved();
        let lost = log.append(at(0), Payload::Mark);
        log.discard();
        assert!(log.knows(kept, at(0)) && !log.knows(lost, at(0)));
        assert!(log.append(at(0), Payload::Mark) > lost);
    }
}
