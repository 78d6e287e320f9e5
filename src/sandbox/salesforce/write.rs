//! Under which circumstances a record is written.

use jiff::Timestamp;

/// Which assignment rule a write runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Assign {
    /// The active one of the object.
    Active,
    Off,
    /// The one with this id.
    Rule(String),
}

/// Under which circumstances a write happens.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) user: String,
    pub(crate) now: Timestamp,
    /// `Sforce-Duplicate-Rule-Header: allowSave=true`.
    pub(crate) allow_duplicates: bool,
    /// `includeRecordDetails=true`.
    pub(crate) details: bool,
    /// Read-only fields and duplicate rules do not apply: the org itself writes.
    pub(crate) system: bool,
    /// Somebody else holds the row.
    pub(crate) locked: bool,
    /// `v68.0`, for URLs.
    pub(crate) version: String,
    pub(crate) assign: Assign,
}
