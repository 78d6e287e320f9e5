//! A change of a record, as a feed, a webhook or the host reports it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::entity::Entity;
use crate::model::fields::Fields;
use crate::model::record::{RecordId, Version, text_newtype};

text_newtype! {
    /// The sender's id of an event, to drop what was seen before.
    EventId
}

/// What happened to the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChangeKind {
    /// It is new.
    Created,
    /// It was deleted, or merged away.
    Deleted,
    /// It came back from the recycle bin.
    Restored,
    /// Something about it changed; `fields` may hold only what did.
    Updated,
}

/// Who made the change, as far as the CRM tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Origin {
    /// The client id the writer announced (Salesforce: `Sforce-Call-Options: client=`), or the door it came
    /// through (Pipedrive: `api`, which is every client of the API, or `app`).
    pub client: Option<String>,
    /// The CRM user.
    pub user: Option<String>,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// The record's kind.
    pub entity: Entity,
    /// The record's id.
    pub id: RecordId,
    /// What happened.
    pub kind: ChangeKind,
    /// The fields known with the change; empty for deletions and bare notifications.
    pub fields: Fields,
    /// When, by the CRM's clock.
    pub at: Option<Timestamp>,
    /// The record's version after the change.
    pub version: Option<Version>,
    /// The sender's event id.
    pub event: Option<EventId>,
    /// Who did it.
    #[serde(default)]
    pub origin: Origin,
}

impl Change {
    /// A change with nothing known but the record.
    pub fn new(entity: Entity, id: RecordId, kind: ChangeKind) -> Self {
        Self { entity, id, kind, fields: Fields::new(), at: None, version: None, event: None, origin: Origin::default() }
    }
}
