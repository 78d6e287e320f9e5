//! One field of a mapping: where it goes, how its value comes to be, and what odd values do.

use serde_json::Value;

use crate::document::source::Span;

/// Which way a field goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Direction {
    /// Both ways.
    #[default]
    Both,
    /// From the CRM only.
    In,
    /// To the CRM only.
    Out,
}

/// Who wins when both sides changed the field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Owner {
    /// The later change.
    Latest,
    /// The host.
    Ours,
    /// The CRM.
    Theirs,
}

/// What a blank text (empty, or white space only) does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blank {
    /// Empties the CRM field.
    #[default]
    Clear,
    /// Is written as it stands.
    Keep,
    /// Leaves the CRM field alone.
    Skip,
}

/// What null does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnNull {
    /// Empties the CRM field.
    #[default]
    Clear,
    /// Leaves the CRM field alone.
    Skip,
}

/// What a text over the field's length does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnTooLong {
    /// The record is not written.
    #[default]
    Error,
    /// The text is cut between characters.
    Truncate,
}

/// What a formula that fails does; `SkipRecord` is for any value that cannot be mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnError {
    /// The field takes its default.
    Default,
    /// The record is not written.
    #[default]
    Error,
    /// The field counts as null.
    Null,
    /// The record is left out, which is no failure: see
    /// [`MappingError::skips_record`](crate::mapping::MappingError::skips_record).
    SkipRecord,
}

/// What a value does that the picklist does not list.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Unmapped {
    /// It becomes this value.
    Default(Value),
    /// The field is left out.
    Drop,
    /// The record is not written.
    #[default]
    Error,
    /// The field is emptied.
    Null,
    /// It goes through as it is.
    Pass,
}

/// A picklist's table.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PicklistConfig {
    /// Host value, CRM value. The host value `*` catches the rest, `~` is null.
    pub mapping: Vec<(String, Value)>,
    /// CRM value, older spellings of it that are read as well.
    pub aliases: Vec<(String, Vec<String>)>,
    /// CRM value, the host value it is read as, where several stand for it.
    pub preferred: Vec<(String, String)>,
    /// Outbound policy for other values.
    pub unmapped: Unmapped,
    /// Inbound policy for other values.
    pub unmapped_in: Unmapped,
    /// True if upper and lower case are not told apart.
    pub ignore_case: bool,
    pub(crate) spans: Vec<Span>,
}

/// Where a text is cut in two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SplitAt {
    /// At the first blank: "Anna | Maria Smith".
    FirstBlank,
    /// At the last blank: "Anna Maria | Smith".
    #[default]
    LastBlank,
}

/// How a value comes to be.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Transform {
    /// An object of parts (street, city, ...) and the components of a compound field.
    Compound,
    /// A formula.
    Computed {
        /// The formula.
        formula: String,
    },
    /// Always the same value.
    Constant {
        /// The value.
        value: Value,
    },
    /// A copy.
    #[default]
    Direct,
    /// Several host fields in one CRM field.
    Join {
        /// The host fields.
        from: Vec<String>,
        /// What stands between them.
        separator: String,
        /// How to take it apart inbound; one-way without.
        split: Option<SplitAt>,
    },
    /// The id of a record that is named by another value; resolved by the pipeline.
    Lookup {
        /// The entity to look in, as the host calls it.
        entity: Option<String>,
        /// The CRM field to look by.
        by: Option<String>,
    },
    /// A table of values.
    Picklist(PicklistConfig),
    /// One host field in two CRM fields.
    Split {
        /// The CRM fields of the first and the second part.
        into: [String; 2],
        /// Where to cut.
        at: SplitAt,
    },
}

/// One field of a mapping, the long form.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct FieldConfig {
    /// The host field; may be a path (`utm.source`, `emails[0].value`).
    pub host: String,
    /// The CRM field.
    pub field: Option<String>,
    /// How the value comes to be.
    pub transform: Transform,
    /// Which way.
    pub direction: Direction,
    /// Written by a create when the host has no value.
    pub default: Option<Value>,
    /// True if a create without a value is refused.
    pub required: bool,
    /// A formula; the field is left out unless it is true.
    pub when: Option<String>,
    /// What a blank text does.
    pub blank: Blank,
    /// What null does.
    pub on_null: OnNull,
    /// Longest text in characters, if shorter than the CRM's.
    pub max: Option<u32>,
    /// What a longer text does.
    pub on_too_long: OnTooLong,
    /// What a failing formula does.
    pub on_error: OnError,
    /// True if texts are read as the number or boolean the field wants.
    pub lenient: bool,
    /// The zone of civil times: `UTC` or an offset such as `+02:00`.
    pub zone: Option<String>,
    /// Another spelling of dates: a pattern of strftime (`%d.%m.%Y`), `epoch_s` or `epoch_ms`. On a date, datetime or time
    /// field it is the host's spelling, on any other the CRM's.
    pub format: Option<String>,
    /// The currency of amounts that come without one, a code of three capitals (Pipedrive).
    pub currency: Option<String>,
    /// True if the members of a multi-select are added to those the CRM has and none is taken away (HubSpot).
    pub append: bool,
    /// Who wins a conflict.
    pub owner: Option<Owner>,
    pub(crate) span: Span,
    pub(crate) spans: Vec<(&'static str, Span)>,
}

impl FieldConfig {
    /// A copy of the host field `host`; set the rest on the public fields.
    pub fn new(host: impl Into<String>) -> Self {
        Self { host: host.into(), ..Self::default() }
    }

    /// Where a key's value stood; else the field.
    pub(crate) fn span_of(&self, key: &str) -> &Span {
        self.spans.iter().find(|(name, _)| *name == key).map_or(&self.span, |(_, span)| span)
    }
}
