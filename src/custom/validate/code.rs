//! Stable codes of what can be wrong with a definition.

/// A key that is unknown, missing, or holds what it cannot.
pub(in crate::custom) const SHAPE: &str = "D001";
/// A template, path or name that cannot be right.
pub(in crate::custom) const CONTENT: &str = "D002";
