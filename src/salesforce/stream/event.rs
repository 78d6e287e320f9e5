//! What a stream gives.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

use crate::model::{Change, ChangeKind, Entity, EventId, Origin, RecordId};
use crate::salesforce::stream::health::StreamHealth;
use crate::salesforce::stream::position::Position;

/// One item of a stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum StreamEvent {
    /// A record changed.
    Change(StreamChange),
    /// The connection changed its state. Says nothing about records.
    Health(StreamHealth),
    /// A platform or generic event, or any other message of a channel.
    Message(StreamMessage),
    /// Nothing happened up to here (Pub/Sub): keep it like the position of an event.
    Position(Position),
    /// Records must be read again: the event does not say enough, or events were lost.
    Reread(Reread),
}

impl StreamEvent {
    /// The place to keep once this item's work is done; `None` for items that have none.
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Change(change) => change.position.as_ref(),
            Self::Message(message) => message.position.as_ref(),
            Self::Position(position) => Some(position),
            Self::Reread(reread) => reread.position.as_ref(),
            Self::Health(_) => None,
        }
    }

    /// The change, if it is one.
    pub fn into_change(self) -> Option<StreamChange> {
        match self {
            Self::Change(change) => Some(change),
            _ => None,
        }
    }
}

/// The transaction an event belongs to. Events come in commit order; the group that shares `transaction` was committed together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Commit {
    /// The transaction's key.
    pub transaction: Option<String>,
    /// The event's number within it, from 1. Numbers are missing where objects are not selected.
    pub sequence: Option<u64>,
    /// The commit's number. Not unique across migrations of an org.
    pub number: Option<i64>,
    /// When it was committed, by Salesforce's clock, in milliseconds.
    pub at: Option<Timestamp>,
}

/// A record's change.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct StreamChange {
    /// The change. Its fields carry the names of the record's own fields (`BillingCity`, not `BillingAddress.City`); a null says
    /// that the field was cleared, and what did not change is absent. A creation and a restoration hold all fields that are not
    /// empty. An event of a PushTopic holds the fields of its query as they are now.
    pub change: Change,
    /// The names of the fields that changed, where the event tells. Fields an event was enriched with are not among them.
    pub changed: Option<Vec<String>>,
    /// True if the writer announced the name of this connection (see [`StreamOptions::own_client`]). Triggers and flows that ran
    /// within such a write are part of the same event: compare before you drop it.
    ///
    /// [`StreamOptions::own_client`]: crate::salesforce::stream::StreamOptions::own_client
    pub own: bool,
    /// The transaction; empty for a PushTopic.
    pub commit: Commit,
    /// Where the event stands; `None` where the server has no replay.
    pub position: Option<Position>,
}

/// Why records must be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RereadReason {
    /// Salesforce could not write the event (`GAP_…`): it names the records, not what changed.
    Gap,
    /// The event holds a part of the change only: a long text came as a diff, or a compound field as nothing at all.
    Incomplete,
    /// The same change of several records was told by one event.
    ManyRecords,
    /// More than 100,000 changes in one transaction (`GAP_OVERFLOW`): everything of the entity may have changed.
    Overflow,
    /// Events were lost: the place to resume from was refused, or there was none.
    ReplayLost,
    /// The event cannot be read.
    Undecodable,
    /// The event stands for all records of the entity (`001*`).
    Wildcard,
}

/// Which records.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RereadScope {
    /// All of the entity.
    All,
    /// These.
    Records(Vec<RecordId>),
    /// Those that changed at or after this instant. Salesforce's clock and the host's may differ: begin a little earlier.
    Since(Timestamp),
}

/// An order to read again.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reread {
    /// The entity; `None` if the channel carries several and the event does not say which.
    pub entity: Option<Entity>,
    /// Which of its records. On a channel that carries no records (platform and generic events) lost events cannot be read again.
    pub scope: RereadScope,
    /// Why.
    pub reason: RereadReason,
    /// What happened to the records, where the event tells.
    pub kind: Option<ChangeKind>,
    /// Who did it, where the event tells.
    pub origin: Origin,
    /// As [`StreamChange::own`].
    pub own: bool,
    /// The sender's event id.
    pub event: Option<EventId>,
    /// The transaction, where the event tells.
    pub commit: Commit,
    /// The channel it came by.
    pub channel: String,
    /// Where the event stands; `None` if there was no event.
    pub position: Option<Position>,
}

impl Reread {
    /// An order with nothing known but its channel.
    pub(super) fn new(channel: &str, entity: Option<Entity>, scope: RereadScope, reason: RereadReason) -> Self {
        Self {
            entity,
            scope,
            reason,
            kind: None,
            origin: Origin::default(),
            own: false,
            event: None,
            commit: Commit::default(),
            channel: channel.to_owned(),
            position: None,
        }
    }
}

/// A platform or generic event.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct StreamMessage {
    /// The channel.
    pub channel: String,
    /// The event's name (`Order_Placed__e`), where it is told or the channel is named by it.
    pub name: Option<String>,
    /// What was published: an object of fields for a platform event, a text for a generic one.
    pub payload: Value,
    /// The sender's event id.
    pub event: Option<EventId>,
    /// When it was published.
    pub at: Option<Timestamp>,
    /// Where the event stands; `None` where the server has no replay.
    pub position: Option<Position>,
}

/// Never the payload.
impl fmt::Debug for StreamMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamMessage")
            .field("channel", &self.channel)
            .field("name", &self.name)
            .field("event", &self.event)
            .field("at", &self.at)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
