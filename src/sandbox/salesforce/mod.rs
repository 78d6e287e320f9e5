//! The Salesforce face.

mod collections;
mod composite;
mod derive;
mod describe;
mod errors;
mod ids;
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

pub use options::{DuplicateRule, Options, RuleAction};
pub use schema::{FieldDef, FieldKind, ObjectDef};
pub(crate) use state::Salesforce;
