//! What the host knows about a lead.

use std::fmt;

use serde_json::Number;

use crate::model::Fields;

/// A lead of the host. Texts of notes are HTML; Pipedrive cleans them.
#[derive(Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct MarketingLead {
    /// The host's id; it must not change.
    pub id: String,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// E-mail address, by which the person is found.
    pub email: Option<String>,
    /// Phone number.
    pub phone: Option<String>,
    /// The company's name.
    pub company: Option<String>,
    /// True if there should be a deal.
    pub qualified: bool,
    /// The host's name of the deal's stage; default `new`. `won` and `lost` become the deal's status.
    pub stage: Option<String>,
    /// What the deal is worth.
    pub value: Option<Number>,
    /// Its currency; default: the configured one, else the user's.
    pub currency: Option<String>,
    /// Custom fields of the person (score, source, campaign), by any of their names.
    pub fields: Fields,
    /// Custom fields of the deal.
    pub deal_fields: Fields,
    /// The attribution, for a note that is pinned to the deal.
    pub attribution: Option<String>,
    /// The marketing history, for a note on the person: the person's own `notes` exist only with Contact Sync.
    pub history: Option<String>,
    /// What the person did.
    pub activities: Vec<MarketingActivity>,
}

/// Id and what is there, never the values.
impl fmt::Debug for MarketingLead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarketingLead")
            .field("id", &self.id)
            .field("qualified", &self.qualified)
            .field("activities", &self.activities.len())
            .finish_non_exhaustive()
    }
}

impl MarketingLead {
    /// A lead of this name.
    pub fn new(id: impl Into<String>, first_name: impl Into<String>, last_name: impl Into<String>) -> Self {
        Self { id: id.into(), first_name: first_name.into(), last_name: last_name.into(), ..Self::default() }
    }

    pub(super) fn name(&self) -> String {
        format!("{} {}", self.first_name.trim(), self.last_name.trim()).trim().to_owned()
    }

    pub(super) fn company(&self) -> Option<&str> {
        self.company.as_deref().map(str::trim).filter(|name| !name.is_empty())
    }

    pub(super) fn email(&self) -> Option<&str> {
        self.email.as_deref().map(str::trim).filter(|email| !email.is_empty())
    }

    pub(super) fn phone(&self) -> Option<&str> {
        self.phone.as_deref().map(str::trim).filter(|phone| !phone.is_empty())
    }

    pub(super) fn title(&self) -> String {
        match self.company() {
            Some(company) => format!("{company} - {}", self.name()),
            None => self.name(),
        }
    }
}

/// Something a person did, which is over.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MarketingActivity {
    /// The host's id; it must not change.
    pub id: String,
    /// The host's type; see [`PersonSync::activity_type`](super::PersonSync::activity_type).
    pub kind: String,
    /// What people see; default: the type.
    pub subject: Option<String>,
    /// The day, `2026-01-31`.
    pub date: Option<String>,
    /// The time of day in UTC, `14:30`.
    pub time: Option<String>,
    /// How long, `00:30`.
    pub duration: Option<String>,
    /// HTML.
    pub description: Option<String>,
}

/// Id and type, never the texts.
impl fmt::Debug for MarketingActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MarketingActivity").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl MarketingActivity {
    /// An activity of this type.
    pub fn new(id: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { id: id.into(), kind: kind.into(), ..Self::default() }
    }
}
