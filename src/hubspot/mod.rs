//! HubSpot: a client for its CRM objects, and the adapter over it.
//!
//! [`HubSpot`] is the connection; it is a [`CrmAdapter`](crate::adapter::CrmAdapter). Property values travel as texts or null,
//! which is how HubSpot answers every property. Paths are built for one version of the API, see [`ApiVersion`].
//!
//! Beside the records there are associations with named types ([`AssociationType`]), definitions that are checked before they are
//! sent ([`Property`], [`ObjectSchema`], [`Pipeline`]), engagements ([`Engagement`]), timeline events ([`AppEvent`],
//! [`TemplateEvent`], [`HubSpotTemplates`]), forms ([`FormSubmission`], [`FormDefinition`]), webhooks ([`HubSpotVerifier`]) and the journal ([`HubSpotJournal`]). Whole
//! journeys are in [`flows`].
//!
//! # Pace
//! Each client keeps to HubSpot's limits by a [`HubSpotLimiter`], which its clones share and which other clients of the account
//! should be given. It is the one thing here that waits, up to a minute, for a turn; nothing here retries.
//!
//! # Limits worth knowing
//! 100 inputs for each batch; a search has 5 groups of 6 filters, 18 in all, 3,000 characters and 10,000 results, and its index
//! lags behind writes; the list of an object has no ceiling.

mod adapter;
mod associations;
mod batch;
mod capabilities;
mod changes;
mod client;
mod config;
mod dialect;
mod echoes;
mod engagements;
pub mod entity;
mod filter;
pub mod flows;
mod form_definitions;
mod forms;
mod journal;
mod journal_log;
mod limiter;
mod limits;
mod objects;
mod owners;
mod paths;
mod pipelines;
mod portions;
mod properties;
mod record;
mod schemas;
mod search;
mod subscriptions;
mod templates;
mod ties;
mod timeline;
mod token;
mod typed;
pub mod types;
mod values;
mod webhook;

pub use associations::{Associated, AssociationType, NewAssociation};
pub use client::HubSpot;
pub use config::HubSpotConfig;
pub use dialect::{HubSpotDialect, RateWindow};
pub use echoes::OwnWrites;
pub use engagements::{EmailDirection, Engagement};
pub use form_definitions::{FormDefinition, FormField};
pub use forms::{FormEntry, FormSubmission, FormValue};
pub use journal::{HubSpotJournal, JournalEvent, JournalFile, JournalPage};
pub use journal_log::JournalLog;
pub use limiter::HubSpotLimiter;
pub use limits::BATCH_LIMIT;
pub use objects::ReadOptions;
pub use owners::Owner;
pub use paths::ApiVersion;
pub use pipelines::{Pipeline, Stage};
pub use properties::{Property, PropertyOption};
pub use record::HubSpotRecord;
pub use schemas::{ObjectLabels, ObjectSchema, Provisioned};
pub use subscriptions::{JournalCondition, JournalFilter, JournalSubscribed, JournalSubscription};
pub use templates::{EventTemplate, HubSpotTemplates, TemplateToken};
pub use ties::Tie;
pub use timeline::{AppEvent, TemplateEvent, Whose};
pub use typed::TypedRecord;
pub use values::{check_dates, decode, encode};
pub use webhook::{HubSpotEvents, HubSpotVerifier};
