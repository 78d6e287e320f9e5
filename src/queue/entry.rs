//! What goes into a queue.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Retry};
use crate::queue::lane::Lane;

/// The largest payload, in bytes: 256 KiB. What is larger belongs into the host's store, with its key in the payload.
pub const MAX_PAYLOAD: usize = 256 * 1024;

/// The longest text of an entry (op id, kind, scope, mapping version, coalescing key, each part of the lane), in bytes.
pub const MAX_TEXT: usize = 512;

/// The most entries of one `enqueue`, and the most outcomes of one `settle`.
pub const MAX_BATCH: usize = 10_000;

/// How long op ids are remembered unless a queue is made with another time: 7 days.
pub const OP_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// The place of an entry: of two entries of one lane the older one has the smaller id. Given by the queue, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EntryId(pub u64);

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How urgent an entry is; the most urgent first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Priority {
    /// Somebody is waiting for it.
    Interactive,
    /// An event that just came in.
    Webhook,
    /// The everyday sync.
    #[default]
    Incremental,
    /// A first load, a repair.
    Backfill,
}

impl Priority {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 4] = [Self::Interactive, Self::Webhook, Self::Incremental, Self::Backfill];

    /// 0 for the most urgent, 3 for the least.
    pub fn rank(self) -> u8 {
        match self {
            Self::Interactive => 0,
            Self::Webhook => 1,
            Self::Incremental => 2,
            Self::Backfill => 3,
        }
    }

    /// The priority of a rank; a rank beyond the last counts as the last.
    pub fn from_rank(rank: u8) -> Self {
        match rank {
            0 => Self::Interactive,
            1 => Self::Webhook,
            2 => Self::Incremental,
            _ => Self::Backfill,
        }
    }
}

/// How an entry joins one that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Merge {
    /// The waiting entry stays as it is: the new one says nothing more ("record X may have changed").
    KeepOld,
    /// The waiting entry takes the payload and the mapping version of the new one ("record X is now this").
    TakeNew,
}

/// Lets an entry join the one before it.
///
/// It joins the newest entry of its lane if that entry is not in a lease that is out and has the same kind, the same scope and
/// the same coalescing key. The joined entry keeps its id, its op id, its
/// place, its `enqueued_at`; its priority becomes the more urgent and its `not_before` the earlier of the two. The op id of the
/// entry that joined is remembered as well.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Coalesce {
    /// Entries with the same key join.
    pub key: String,
    /// Whose payload stays.
    pub merge: Merge,
}

impl Coalesce {
    /// Entries of `key` join as `merge` says.
    pub fn new(key: impl Into<String>, merge: Merge) -> Self {
        Self { key: key.into(), merge }
    }
}

/// An entry to enqueue.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewEntry {
    /// Where it queues.
    pub lane: Lane,
    /// The id of the operation, unique over the whole queue: an entry whose op id the queue remembers is not enqueued again.
    pub op: String,
    /// What sort of work it is; [`crate::queue::Claim::kinds`] selects by it. Default: empty.
    pub kind: String,
    /// How urgent. Default: [`Priority::Incremental`].
    pub priority: Priority,
    /// Not before this moment of store time; the entries behind it in its lane wait with it. Default: at once.
    pub not_before: Option<Timestamp>,
    /// The budget it is paid from; [`crate::queue::Claim::skip_scopes`] skips by it. Default: the connection.
    pub scope: String,
    /// The work, at most [`MAX_PAYLOAD`] bytes.
    pub payload: Bytes,
    /// The version of the mapping that made the payload. Default: empty.
    pub mapping: String,
    /// Whether it may join the entry before it. Default: never.
    pub coalesce: Option<Coalesce>,
}

impl NewEntry {
    /// An entry with the defaults.
    pub fn new(lane: Lane, op: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            scope: lane.connection.clone(),
            lane,
            op: op.into(),
            kind: String::new(),
            priority: Priority::default(),
            not_before: None,
            payload: payload.into(),
            mapping: String::new(),
            coalesce: None,
        }
    }

    /// Sets [`NewEntry::kind`].
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Sets [`NewEntry::priority`].
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets [`NewEntry::not_before`].
    #[must_use]
    pub fn not_before(mut self, at: Timestamp) -> Self {
        self.not_before = Some(at);
        self
    }

    /// Sets [`NewEntry::scope`].
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Sets [`NewEntry::mapping`].
    #[must_use]
    pub fn mapping(mut self, version: impl Into<String>) -> Self {
        self.mapping = version.into();
        self
    }

    /// Sets [`NewEntry::coalesce`].
    #[must_use]
    pub fn coalesce(mut self, coalesce: Coalesce) -> Self {
        self.coalesce = Some(coalesce);
        self
    }
}

/// Sizes, not contents.
impl fmt::Debug for NewEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewEntry")
            .field("lane", &self.lane)
            .field("op", &self.op)
            .field("kind", &self.kind)
            .field("priority", &self.priority)
            .field("not_before", &self.not_before)
            .field("scope", &self.scope)
            .field("bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

/// An entry of a queue.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its place.
    pub id: EntryId,
    /// The id of the operation.
    pub op: String,
    /// What sort of work it is.
    pub kind: String,
    /// How urgent.
    pub priority: Priority,
    /// The budget it is paid from.
    pub scope: String,
    /// The work.
    pub payload: Bytes,
    /// The version of the mapping that made the payload.
    pub mapping: String,
    /// When it was enqueued, in store time.
    pub enqueued_at: Timestamp,
}

impl Entry {
    /// An entry, for those who write a queue.
    pub fn new(id: EntryId, op: impl Into<String>, payload: impl Into<Bytes>, enqueued_at: Timestamp) -> Self {
        Self {
            id,
            op: op.into(),
            kind: String::new(),
            priority: Priority::default(),
            scope: String::new(),
            payload: payload.into(),
            mapping: String::new(),
            enqueued_at,
        }
    }

    /// Sets [`Entry::kind`].
    #[must_use]
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// Sets [`Entry::priority`].
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// Sets [`Entry::scope`].
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = scope.into();
        self
    }

    /// Sets [`Entry::mapping`].
    #[must_use]
    pub fn mapping(mut self, version: impl Into<String>) -> Self {
        self.mapping = version.into();
        self
    }
}

/// Sizes, not contents.
impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("id", &self.id)
            .field("op", &self.op)
            .field("kind", &self.kind)
            .field("priority", &self.priority)
            .field("scope", &self.scope)
            .field("bytes", &self.payload.len())
            .field("enqueued_at", &self.enqueued_at)
            .finish_non_exhaustive()
    }
}

/// What became of one enqueued entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enqueued {
    /// It joined this waiting entry (see [`Coalesce`]).
    Coalesced(EntryId),
    /// Its op id was enqueued before, perhaps in the same call: nothing was done.
    Duplicate,
    /// It waits.
    New(EntryId),
}

/// Why entries are refused; the source of the [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueueError {
    /// More than [`MAX_BATCH`] at once.
    #[error("{count} at once are more than {MAX_BATCH}")]
    BatchTooLarge {
        /// How many.
        count: usize,
    },
    /// An entry without an op id.
    #[error("entry {at} has no op id")]
    NoOp {
        /// Which one of the call, from 0.
        at: usize,
    },
    /// A payload over [`MAX_PAYLOAD`].
    #[error("the payload of entry {at} has {bytes} bytes, more than {MAX_PAYLOAD}")]
    PayloadTooLarge {
        /// Which one of the call, from 0.
        at: usize,
        /// Its size.
        bytes: usize,
    },
    /// A text over [`MAX_TEXT`].
    #[error("the {what} of entry {at} has {bytes} bytes, more than {MAX_TEXT}")]
    TextTooLong {
        /// Which one of the call, from 0.
        at: usize,
        /// Which text.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
}

impl From<QueueError> for Error {
    fn from(error: QueueError) -> Self {
        let message = match error {
            QueueError::PayloadTooLarge { .. } => {
                format!("the queue refused the call: {error}; keep the data in a store and enqueue its key")
            }
            _ => format!("the queue refused the call: {error}"),
        };
        Self::new(ErrorKind::Queue, message).retrying(Retry::Never).with_source(error)
    }
}

/// What every queue checks before it settles anything: at most [`MAX_BATCH`] outcomes.
///
/// # Errors
/// [`QueueError::BatchTooLarge`].
pub fn check_outcomes(count: usize) -> Result<(), QueueError> {
    if count > MAX_BATCH { Err(QueueError::BatchTooLarge { count }) } else { Ok(()) }
}

/// What every queue checks before it enqueues anything.
///
/// # Errors
/// The first [`QueueError`].
pub fn check_batch(entries: &[NewEntry]) -> Result<(), QueueError> {
    if entries.len() > MAX_BATCH {
        return Err(QueueError::BatchTooLarge { count: entries.len() });
    }
    for (at, entry) in entries.iter().enumerate() {
        if entry.op.is_empty() {
            return Err(QueueError::NoOp { at });
        }
        if entry.payload.len() > MAX_PAYLOAD {
            return Err(QueueError::PayloadTooLarge { at, bytes: entry.payload.len() });
        }
        let coalesce = entry.coalesce.as_ref().map_or("", |coalesce| coalesce.key.as_str());
        for (what, text) in [
            ("op id", entry.op.as_str()),
            ("kind", entry.kind.as_str()),
            ("scope", entry.scope.as_str()),
            ("mapping version", entry.mapping.as_str()),
            ("coalescing key", coalesce),
            ("connection", entry.lane.connection.as_str()),
            ("entity", entry.lane.entity.as_str()),
            ("record key", entry.lane.record.as_str()),
        ] {
            if text.len() > MAX_TEXT {
                return Err(QueueError::TextTooLong { at, what, bytes: text.len() });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Entity;

    fn entry() -> NewEntry {
        NewEntry::new(Lane::new("sf", Entity::from_static("Lead"), "1"), "op", "secret-payload")
    }

    #[test]
    fn what_is_too_large_is_named() {
        assert_eq!(check_batch(&[entry()]), Ok(()));
        let mut large = entry();
        large.payload = Bytes::from(vec![0; MAX_PAYLOAD + 1]);
        let error = Error::from(check_batch(&[entry(), large]).unwrap_err());
        assert!(error.to_string().contains("entry 1") && error.to_string().contains("262145") && !error.is_retryable(), "{error}");
        let mut nameless = entry();
        nameless.op.clear();
        assert_eq!(check_batch(&[nameless]), Err(QueueError::NoOp { at: 0 }));
        let long = entry().scope("x".repeat(MAX_TEXT + 1));
        assert!(matches!(check_batch(&[long]), Err(QueueError::TextTooLong { what: "scope", .. })));
    }

    #[test]
    fn debug_shows_no_payload() {
        let kept = Entry::new(EntryId(1), "op", "secret-payload", Timestamp::UNIX_EPOCH);
        let text = format!("{:?} {kept:?}", entry());
        assert!(!text.contains("secret") && text.contains("14"), "{text}");
    }

    #[test]
    fn ranks_come_back() {
        for priority in Priority::ALL {
            assert_eq!(Priority::from_rank(priority.rank()), priority);
        }
        assert!(Priority::Interactive < Priority::Backfill);
    }
}
