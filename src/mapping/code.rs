//! Stable codes of [`Diagnostic`](crate::mapping::Diagnostic)s.

use crate::document::diagnostic::{Diagnostics, Severity};
use crate::error::{Error, ErrorKind};

pub use crate::document::code::{DUPLICATE_KEY, SYNTAX};

/// A key the long form does not know.
pub const UNKNOWN_KEY: &str = "M003";
/// A `type:` that does not exist.
pub const UNKNOWN_TYPE: &str = "M004";
/// A value that its key cannot take.
pub const BAD_VALUE: &str = "M005";
/// A key is missing that the `type:` needs.
pub const MISSING_KEY: &str = "M006";
/// A formula that cannot be read.
pub const FORMULA_SYNTAX: &str = "M010";
/// A function that does not exist.
pub const UNKNOWN_FUNCTION: &str = "M011";
/// A field the CRM does not have, or does not show to this user.
pub const UNKNOWN_FIELD: &str = "M012";
/// A field the CRM computes itself.
pub const READ_ONLY: &str = "M013";
/// No CRM field is named and none can be found by the host's name.
pub const NO_TARGET: &str = "M014";
/// Two host fields write the same CRM field.
pub const TARGET_TWICE: &str = "M015";
/// A picklist value the CRM's restricted list does not have.
pub const PICKLIST_VALUE: &str = "M016";
/// A function with too few or too many arguments.
pub const ARGUMENT_COUNT: &str = "M017";
/// Formulas that need each other's results.
pub const CYCLE: &str = "M018";
/// A constant or default that does not fit the CRM field.
pub const BAD_CONSTANT: &str = "M019";
/// A CRM or entity the set does not have.
pub const UNKNOWN_ENTITY: &str = "M020";
/// A formula whose types cannot fit, whatever the record.
pub const FORMULA_TYPE: &str = "M021";
/// A formula names a table that is no picklist of this mapping.
pub const UNKNOWN_TABLE: &str = "M022";
/// A required CRM field that nothing fills.
pub const REQUIRED_NOT_MAPPED: &str = "M030";
/// A picklist value that an open list of the CRM does not have yet.
pub const PICKLIST_NEW_VALUE: &str = "M031";
/// A computed field that has no CRM field to go to.
pub const NOT_WRITTEN: &str = "M032";
/// Several host values stand for one CRM value.
pub const AMBIGUOUS_INVERSE: &str = "M033";
/// A name that is both a host field and a CRM field.
pub const AMBIGUOUS_NAME: &str = "M034";
/// A name in a formula that looks like a slip of the finger.
pub const SUSPICIOUS_NAME: &str = "M035";
/// A value of a dependent picklist that no mapped value of its controlling field goes with.
pub const DEPENDENT_VALUE: &str = "M036";

impl From<Diagnostics> for Error {
    fn from(diagnostics: Diagnostics) -> Self {
        let errors: Vec<_> = diagnostics.iter().filter(|item| item.severity == Severity::Error).collect();
        let first = errors.first().map_or_else(String::new, |first| {
            format!(": {}:{}:{}: [{}] {}", first.origin, first.line, first.column, first.code, first.message)
        });
        let more = if errors.len() > 1 { format!(" and {} more", errors.len() - 1) } else { String::new() };
        Self::new(ErrorKind::Config, format!("the mapping does not compile{first}{more}")).with_source(diagnostics)
    }
}
