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

impl Origin {
    /// Nobody is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// A writer that announces this client id: Salesforce's `Sforce-Call-Options: client=`, HubSpot's `sourceId`.
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.client = Some(client.into());
        self
    }

    /// This user of the CRM.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Whether all that is known of `self` is said of `other` too, and something is. Ids of Salesforce's records are the same with
    /// 15 and with 18 characters.
    pub fn covers(&self, other: &Self) -> bool {
        let same = |one: &Option<String>, two: &Option<String>| match (one, two) {
            (None, _) => true,
            (Some(one), Some(two)) => one == two || (one.len() + two.len() == 33 && one.get(..15) == two.get(..15)),
            (Some(_), None) => false,
        };
        (self.client.is_some() || self.user.is_some()) && same(&self.client, &other.client) && same(&self.user, &other.user)
    }
}

/// The record that goes on for one that ended: of the same entity the winner of a merge, of another one what a lead became.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Successor {
    /// Its kind.
    pub entity: Entity,
    /// Its id.
    pub id: RecordId,
}

impl Successor {
    /// This record.
    pub fn new(entity: Entity, id: RecordId) -> Self {
        Self { entity, id }
    }
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
    /// The record that goes on for this one, if it was merged away or converted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<Successor>,
}

impl Change {
    /// A change with nothing known but the record.
    pub fn new(entity: Entity, id: RecordId, kind: ChangeKind) -> Self {
        Self { entity, id, kind, fields: Fields::new(), at: None, version: None, event: None, origin: Origin::default(), successor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_covers_what_says_the_same_and_more() {
        let ours = Origin::new().client("sync");
        assert!(ours.covers(&Origin::new().client("sync").user("005")));
        assert!(!ours.covers(&Origin::new().client("other")));
        assert!(!ours.covers(&Origin::new().user("005")));
        assert!(!Origin::new().covers(&Origin::new()), "nobody is not everybody");
        assert!(Origin::new().user("005000000000001").covers(&Origin::new().user("005000000000001AAA")));
        assert!(!Origin::new().user("005000000000001").covers(&Origin::new().user("005000000000002AAA")));
    }
}
