//! Stable codes of texts that are no documents at all.

/// The text is not YAML, JSON or TOML.
pub const SYNTAX: &str = "M001";
/// The same key twice in one map.
pub const DUPLICATE_KEY: &str = "M002";
