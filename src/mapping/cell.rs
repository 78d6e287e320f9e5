//! A value that is JSON before it is a value: most of a record is copied from text to text.

use std::ops::Range;

use serde_json::Value;

/// The value of one CRM field, as text.
#[derive(Clone, Debug, Default)]
pub(crate) enum Cell<'a> {
    /// Not here; perhaps among the values.
    #[default]
    Empty,
    /// JSON made when the mapping was compiled.
    Ready(&'a [u8]),
    /// A number or boolean as it stands in the record.
    Plain(&'a str),
    /// A text without escapes as it stands in the record; quotes are to be put around it.
    Text(&'a str),
    /// JSON made on the way.
    Made(Range<usize>),
}

impl Cell<'_> {
    pub(crate) fn to_value(&self, scratch: &[u8]) -> Option<Value> {
        match self {
            Self::Empty => None,
            Self::Ready(json) => serde_json::from_slice(json).ok(),
            Self::Plain(json) => serde_json::from_str(json).ok(),
            Self::Text(text) => Some(Value::String((*text).to_owned())),
            Self::Made(range) => serde_json::from_slice(scratch.get(range.clone())?).ok(),
        }
    }
}
