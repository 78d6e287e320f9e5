//! Pipedrive: a typed client over both of its APIs, and the adapter over it.
//!
//! [`Pipedrive`] is the connection. Persons, organizations, deals, activities, products, pipelines and stages live in API v2;
//! leads, notes, users, activity types, webhooks and merges never left v1. [`Records`] is the same for both: cursors and offsets
//! are hidden, custom fields are read by key, name or the host's word for them ([`FieldMap`]), and nothing unknown is ever sent,
//! since v2 refuses a whole record for one unknown member. It is a [`CrmAdapter`](crate::adapter::CrmAdapter).
//!
//! # Limits worth knowing
//! Calls have a price in tokens of a daily budget ([`Kind::price`], [`Usage`]; a plan of the engine says its price), and there are two
//! burst limits, under which a call waits for its turn ([`PipedriveConfig::pace`]). When the day is spent, or Pipedrive's front shuts the door, nothing more is sent.
//!
//! # What there is not
//! No upsert, no external id, no batch, no conditional write, no signature on webhooks, and no lasting feed of deletions but
//! that of deals ([`Pipedrive::recents`] reaches back a month). Creates are as safe as a search allows: [`Pipedrive::resolve_create`].

mod adapter;
mod archived;
mod body;
mod builtin;
mod burst;
mod capabilities;
mod catalog;
mod changes;
mod client;
mod config;
mod convert;
mod custom;
mod dialect;
pub mod entity;
mod envelope;
mod field_map;
mod filter;
pub mod flows;
mod labels;
mod limits;
mod list;
mod merge;
mod page;
mod provision;
mod recents;
mod record;
mod records;
mod resolve;
mod resource;
mod schema;
mod search;
mod subscriptions;
mod tokens;
mod typed;
pub mod types;
mod webhook;

pub use catalog::Place;
pub use client::Pipedrive;
pub use config::{PipedriveConfig, PipedriveSettings, PipelineSettings, StageRef};
pub use convert::{Conversion, ConversionState};
pub use custom::{CustomType, CustomValue};
pub use dialect::PipedriveDialect;
pub use envelope::{AdditionalData, Envelope, Pagination};
pub use field_map::{FieldInfo, FieldMap, FieldOption};
pub use limits::{Plan, Usage};
pub use list::ListQuery;
pub use merge::Merged;
pub use records::Records;
pub use resolve::{CreateOutcome, SEARCH_LAG};
pub use resource::{ApiVersion, Kind, Op};
pub use subscriptions::{MOST_WEBHOOKS, NewSubscription, Subscription};
pub use webhook::{PipedriveEvents, WebhookMeta, WebhookPayload};
