//! The Salesforce face.

mod assign;
mod automation;
mod bulk;
mod collections;
mod composite;
mod convert;
mod derive;
mod describe;
mod errors;
mod events;
mod ids;
mod jwt;
mod members;
mod oauth;
mod options;
mod org;
mod query;
mod replicate;
mod rest;
mod router;
mod rows;
mod rules;
mod schema;
mod search;
mod shown;
mod soql;
mod sosl;
mod state;
mod validate;
mod write;

pub use automation::{Automation, AutomationKind};
pub use convert::{Conversion, Converted};
pub(crate) use events::acknowledges;
#[cfg(feature = "sandbox-pubsub")]
pub(crate) use events::{Change, Channel, EventField, KINDS, Payload, Shape, uuid};
pub(crate) use events::{Ended, Held, Polled};
pub use events::{EventScript, OutboundDelivery};
pub use options::{AssignmentEntry, BulkOptions, DuplicateRule, Options, RuleAction};
pub use schema::{FieldDef, FieldKind, ObjectDef};
pub(crate) use state::Salesforce;
#[cfg(feature = "sandbox-pubsub")]
pub(crate) use validate::stamp_millis;
