//! One page of results and the way to the next.

use serde::{Deserialize, Serialize};

/// Where the next page starts. Opaque; belongs to the query that gave it; may be stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(String);

impl Cursor {
    /// From an adapter's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The adapter's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Some of the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// The results; may be fewer than asked for, even none, while there is a next page.
    pub items: Vec<T>,
    /// The way to the next page; `None` at the end.
    pub next: Option<Cursor>,
    /// How many match in all, if the CRM says.
    pub total: Option<u64>,
}

impl<T> Page<T> {
    /// A page.
    pub fn new(items: Vec<T>, next: Option<Cursor>, total: Option<u64>) -> Self {
        Self { items, next, total }
    }

    /// The last page, of `items`.
    pub fn last(items: Vec<T>) -> Self {
        Self { items, next: None, total: None }
    }
}
