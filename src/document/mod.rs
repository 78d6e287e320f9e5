//! Configuration as a document: YAML, JSON or TOML read into one tree that remembers where each piece stood, Rust values out of
//! it, and what is wrong with it, in words, with line and column.
//!
//! It knows nothing of what is configured: mappings and definitions of APIs stand upon it.

pub(crate) mod code;
pub(crate) mod diagnostic;
pub(crate) mod node;
pub(crate) mod read;
pub(crate) mod source;
pub(crate) mod suggest;
#[cfg(feature = "custom")]
pub(crate) mod tree;
