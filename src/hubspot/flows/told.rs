//! How a contact's dealings with an email are told.
//!
//! HubSpot has no standard object for "an email was opened": apps tell it on the timeline, others as a note.

use jiff::Timestamp;

use crate::error::Result;
use crate::hubspot::client::HubSpot;
use crate::hubspot::engagements::Engagement;
use crate::hubspot::entity::CONTACTS;
use crate::hubspot::timeline::{AppEvent, TemplateEvent, Whose};
use crate::model::RecordId;

/// What a contact did with one email.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmailEngagement {
    /// The host's id of this state of things: it is told once. Take a new one when the counts grow.
    pub id: String,
    /// The email's subject.
    pub subject: String,
    /// How often it was opened.
    pub opens: u64,
    /// How often a link in it was followed.
    pub clicks: u64,
    /// When.
    pub at: Timestamp,
}

impl EmailEngagement {
    /// An engagement.
    pub fn new(id: impl Into<String>, subject: impl Into<String>, opens: u64, clicks: u64, at: Timestamp) -> Self {
        Self { id: id.into(), subject: subject.into(), opens, clicks, at }
    }
}

/// Where engagements are told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Telling {
    /// As events of a type of the app's own, by its full name.
    AppEvent(String),
    /// As notes; the text names a unique property that the account has on notes, which holds the engagement's id.
    Note(String),
    /// As events of a template, by its number; only apps that have templates can.
    Template(String),
}

impl Telling {
    /// Tells one engagement; true if it is new, as far as HubSpot says.
    pub(super) async fn tell(&self, client: &HubSpot, contact: &RecordId, engagement: &EmailEngagement) -> Result<bool> {
        let EmailEngagement { id, subject, opens, clicks, at } = engagement;
        let whose = Whose::Record(contact.clone());
        match self {
            Self::AppEvent(kind) => {
                let event = AppEvent::new(kind, id, whose).at(*at);
                let event = event.property("emailSubject", subject.as_str()).property("openCount", *opens).property("clickCount", *clicks);
                client.tell_app_event(&event).await
            }
            Self::Template(number) => {
                let event = TemplateEvent::new(number, id, whose).at(*at);
                let event = event.token("emailSubject", subject.as_str()).token("openCount", *opens).token("clickCount", *clicks);
                client.tell(&event).await
            }
            Self::Note(property) => {
                let escaped = subject.replace('&', "&amp;").replace('<', "&lt;");
                let note = Engagement::note(format!("{escaped}: opened {opens} times, {clicks} clicks"), *at);
                let note = note.about(CONTACTS, contact.clone()).mark(property, id);
                client.log(&note).await.map(|row| row.new.unwrap_or(true))
            }
        }
    }
}
