//! The host's words and the CRM's, translated. Pure.
//!
//! A [`MappingSet`] is read from a file, [`Mapping::compile`] checks one entity of it against the CRM's schema, and the
//! [`Mapping`] translates records both ways. It stops there: nothing is sent, and a reference that must be looked up comes
//! back as a [`Lookup`].

mod cell;
mod check;
pub mod code;
mod compile;
mod config;
mod diff;
mod email;
mod encode;
mod explain;
mod field;
pub mod formula;
mod inbound;
mod json;
mod long_form;
mod outbound;
mod path;
mod picklist;
mod plan;
mod record;
mod resolve;
mod scan;
#[cfg(feature = "json-schema")]
mod schema;
mod words;

pub use crate::document::diagnostic::{Diagnostic, Diagnostics, Severity};
pub use config::{MappingConfig, MappingSet};
pub use diff::{FieldTypes, diff};
pub use encode::Profile;
pub use explain::Explained;
pub use field::{Blank, Direction, FieldConfig, OnError, OnNull, OnTooLong, Owner, PicklistConfig, SplitAt, Transform, Unmapped};
pub use json::{JsonError, JsonMapped};
pub use plan::{Mapping, Target};
pub use record::{Lookup, Mapped, MappingError, Mode, Problem};
