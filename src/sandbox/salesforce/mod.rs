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
mod schema;
mod search;
mod soql;
mod sosl;
mod state;
mod validate;

pub use automation::{Automation, AutomationKind};
pub use convert::{Conversion, Converted};
pub use options::{AssignmentEntry, BulkOptions, DuplicateRule, Options, RuleAction};
pub use schema::{FieldDef, FieldKind, ObjectDef};
pub(crate) use state::Salesforce;
