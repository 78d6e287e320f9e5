//! What people did: notes, tasks, calls, emails and meetings, tied to the records they are about.

use jiff::Timestamp;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::associations::NewAssociation;
use crate::hubspot::client::HubSpot;
use crate::hubspot::entity::{CALLS, EMAILS, MEETINGS, NOTES, TASKS};
use crate::hubspot::record::HubSpotRecord;
use crate::model::{Entity, Fields, RecordId};

/// The way an email went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmailDirection {
    /// A forwarded one.
    Forwarded,
    /// From the contact.
    Incoming,
    /// To the contact.
    Outgoing,
}

/// One activity. Notes, tasks, calls, emails and meetings have no natural key: repeat a write only with a
/// [`mark`](Engagement::mark).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Engagement {
    /// Its object.
    pub kind: Entity,
    /// Its properties.
    pub fields: Fields,
    /// What it is about.
    pub about: Vec<(Entity, RecordId)>,
    /// A unique property of the account's own on this object, and its value.
    pub mark: Option<(String, String)>,
}

impl Engagement {
    fn of(kind: Entity, at: Timestamp) -> Self {
        let mut fields = Fields::new();
        fields.insert("hs_timestamp", at.to_string());
        Self { kind, fields, about: Vec::new(), mark: None }
    }

    /// A note; at most 65,536 characters.
    pub fn note(body: impl Into<Value>, at: Timestamp) -> Self {
        Self::of(NOTES, at).field("hs_note_body", body)
    }

    /// A task that is due at `due`, not started.
    pub fn task(subject: impl Into<Value>, due: Timestamp) -> Self {
        Self::of(TASKS, due).field("hs_task_subject", subject).field("hs_task_status", "NOT_STARTED")
    }

    /// A call.
    pub fn call(title: impl Into<Value>, at: Timestamp) -> Self {
        Self::of(CALLS, at).field("hs_call_title", title)
    }

    /// An email that was sent or came in.
    pub fn email(subject: impl Into<Value>, direction: EmailDirection, at: Timestamp) -> Self {
        let direction = match direction {
            EmailDirection::Forwarded => "FORWARDED_EMAIL",
            EmailDirection::Incoming => "INCOMING_EMAIL",
            EmailDirection::Outgoing => "EMAIL",
        };
        Self::of(EMAILS, at).field("hs_email_direction", direction).field("hs_email_status", "SENT").field("hs_email_subject", subject)
    }

    /// A meeting.
    pub fn meeting(title: impl Into<Value>, start: Timestamp, end: Timestamp) -> Self {
        let meeting = Self::of(MEETINGS, start).field("hs_meeting_title", title);
        meeting.field("hs_meeting_start_time", start.to_string()).field("hs_meeting_end_time", end.to_string())
    }

    /// Sets a property.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name, value);
        self
    }

    /// Sets the owner: an owner's id, not a user's.
    #[must_use]
    pub fn owner(self, id: impl Into<Value>) -> Self {
        self.field("hubspot_owner_id", id)
    }

    /// Ties it to a record.
    #[must_use]
    pub fn about(mut self, entity: Entity, id: impl Into<RecordId>) -> Self {
        self.about.push((entity, id.into()));
        self
    }

    /// Makes it repeatable: `property` is a unique property that the account has on this object, `value` the host's id of the
    /// activity. HubSpot then keeps one of each.
    #[must_use]
    pub fn mark(mut self, property: impl Into<String>, value: impl Into<String>) -> Self {
        self.mark = Some((property.into(), value.into()));
        self
    }
}

impl HubSpot {
    /// Logs an activity. Without a mark: one request, not repeatable. With one: an upsert, then one request for each record it is
    /// about, all repeatable. Ties to custom objects are read from the account first.
    ///
    /// # Errors
    /// See [`HubSpot::create`]; [`ErrorKind::Config`] if the account has no type of association between the two objects.
    pub async fn log(&self, engagement: &Engagement) -> Result<HubSpotRecord> {
        let kind = &engagement.kind;
        let Some((property, value)) = &engagement.mark else {
            let mut ties = Vec::with_capacity(engagement.about.len());
            for (entity, id) in &engagement.about {
                ties.push(match NewAssociation::plain(kind, entity, id.clone()) {
                    Ok(tie) => tie,
                    Err(_) => {
                        let types = self.association_types(kind, entity).await?;
                        let plain = types.into_iter().find(|kind| kind.label.is_none());
                        let none = || Error::new(ErrorKind::Config, "the account has no plain association between these objects");
                        NewAssociation::new(id.clone(), vec![plain.ok_or_else(|| none().during("log").on(kind))?])
                    }
                });
            }
            return self.create_associated(kind, &engagement.fields, &ties).await.map_err(|error| error.during("log"));
        };
        let row = self.upsert_by(kind, property, value, &engagement.fields).await.map_err(|error| error.during("log"))?;
        let id = RecordId::new(row.id.as_str());
        for (entity, other) in &engagement.about {
            self.associate_default((kind, &id), (entity, other)).await.map_err(|error| error.during("log"))?;
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_what_hubspot_requires() {
        let at: Timestamp = "2026-03-01T10:00:00Z".parse().unwrap();
        let email = Engagement::email("Hi", EmailDirection::Incoming, at).about(Entity::from_static("contacts"), "7").owner("9");
        assert_eq!(email.fields.text("hs_email_direction"), Some("INCOMING_EMAIL"));
        assert_eq!((email.about.len(), email.fields.text("hubspot_owner_id")), (1, Some("9")));
        for one in
            [email, Engagement::note("x", at), Engagement::task("x", at), Engagement::call("x", at), Engagement::meeting("x", at, at)]
        {
            assert_eq!(one.fields.text("hs_timestamp"), Some("2026-03-01T10:00:00Z"), "{}", one.kind);
        }
    }
}
