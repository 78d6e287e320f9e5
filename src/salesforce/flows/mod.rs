//! Whole journeys over the typed client: leads, their conversion, campaigns with their members, activities.
//!
//! Each flow may be repeated: what is done already is recognised and not done again, and each returns what it did. None of them
//! waits or retries; a call of many records says what became of each.

mod activities;
mod campaigns;
mod leads;
mod lifecycle;
mod members;
mod people;

pub use activities::{Activities, Activity};
pub use campaigns::{Campaigns, EnsuredCampaign, MemberStatus};
pub use leads::{LeadFlow, LeadWrite, SyncedLead};
pub use lifecycle::{ConvertedOpportunity, LeadConverted, LeadDisqualified, LeadLifecycle, LifecycleWatch, Watched};
pub use members::{Member, MemberWrite, SyncedMember};
pub use people::Person;
