//! What comes out of mapping a record, and what may go wrong with one.

use std::fmt;

use serde_json::Value;

use crate::error::{Error, ErrorKind, FieldError};
use crate::model::Fields;

/// What the CRM is asked to do with the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// A new record: defaults apply, required fields must have a value, emptied fields are left out.
    Create,
    /// An existing record: what is absent stays as it is, what is null is emptied.
    Update,
}

/// A mapped record.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Mapped {
    /// The fields of the other side.
    pub fields: Fields,
    /// References that somebody has to resolve before the record can be written.
    pub lookups: Vec<Lookup>,
    /// What was changed on the way: cut texts, rounded numbers, dropped values.
    pub warnings: Vec<Problem>,
}

/// A record that is named by one of its values and wanted by its id.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Lookup {
    /// The host field.
    pub host: String,
    /// The CRM field the id goes to.
    pub field: String,
    /// The entity to look in, as the host calls it.
    pub entity: Option<String>,
    /// The CRM field to look by.
    pub by: Option<String>,
    /// The value to look for.
    pub value: Value,
}

/// Without the value.
impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Lookup");
        out.field("host", &self.host)
            .field("field", &self.field)
            .field("entity", &self.entity)
            .field("by", &self.by)
            .finish_non_exhaustive()
    }
}

/// Something about one field of one record. Never holds the value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Problem {
    /// The host field; empty if none is mapped there.
    pub host: String,
    /// The CRM field; empty if there is none.
    pub field: String,
    /// A stable lower-case word: `required`, `too_long`, `wrong_type`, `wrong_format`, `picklist_unmapped`, `picklist_value`,
    /// `no_currency`, `not_nullable`, `out_of_range`, `no_zone`, `formula_…`; in warnings `truncated`, `rounded`, `dropped`, `not_writable`, `kept_as_text`.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.host.is_empty(), self.field.is_empty()) {
            (false, false) => write!(f, "{} -> {}", self.host, self.field)?,
            (false, true) => write!(f, "{}", self.host)?,
            _ => write!(f, "{}", self.field)?,
        }
        write!(f, ": {} ({})", self.reason, self.code)
    }
}

/// A record that cannot be mapped: all of its problems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingError {
    problems: Vec<Problem>,
    skips: bool,
}

impl MappingError {
    pub(crate) fn new(problems: Vec<Problem>, skips: bool) -> Self {
        Self { problems, skips }
    }

    /// True if each problem is of a field with `on_error: skip_record`: the record is to be left out and counts as no failure.
    pub fn skips_record(&self) -> bool {
        self.skips
    }

    /// The problems, in the order of the mapping.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for MappingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the record cannot be mapped: ")?;
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for MappingError {}

impl From<MappingError> for Error {
    fn from(error: MappingError) -> Self {
        let fields = error
            .problems
            .iter()
            .map(|problem| {
                let name = if problem.field.is_empty() { &problem.host } else { &problem.field };
                FieldError::new(name.clone(), Some(problem.code.to_owned()))
            })
            .collect();
        Self::new(ErrorKind::Mapping, error.to_string()).with_fields(fields).with_source(error)
    }
}
