//! What comes of encoding a value: its form, a note about what was lost, or a refusal. None of them shows the value.

use serde_json::Value;

use crate::model::kind_of;

/// An encoded value and what was lost.
pub(crate) type Encoded = (Value, Option<Note>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) code: &'static str,
    pub(crate) reason: &'static str,
}

pub(crate) const ROUNDED: Note = Note { code: "rounded", reason: "the number has more digits than the field keeps" };

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: &'static str,
    pub(crate) reason: String,
}

pub(super) fn refused<T>(code: &'static str, reason: impl Into<String>) -> Result<T, Refused> {
    Err(Refused { code, reason: reason.into() })
}

pub(super) fn wrong<T>(wanted: &str, value: &Value) -> Result<T, Refused> {
    refused("wrong_type", format!("the field takes {wanted}, and this is {}", kind_of(value)))
}
