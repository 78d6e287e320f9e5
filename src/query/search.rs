//! One search.

use serde::{Deserialize, Serialize};

use crate::model::Entity;
use crate::query::criteria::Criteria;
use crate::query::page::Cursor;

/// A field to sort by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The field.
    pub field: String,
    /// Largest first.
    #[serde(default)]
    pub descending: bool,
}

/// A search for records of one entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Query {
    /// What is searched.
    pub entity: Entity,
    /// Fields to return; empty asks for the adapter's default set.
    pub select: Vec<String>,
    /// Which records.
    pub filter: Criteria,
    /// In which order; empty leaves it to the CRM.
    pub order: Vec<Order>,
    /// At most so many records over all pages.
    pub limit: Option<u64>,
    /// A wish for the size of a page; CRMs may give less.
    pub page_size: Option<u32>,
    /// Where to go on: the `next` of the page before, for the same query.
    pub cursor: Option<Cursor>,
    /// Filter here what the CRM's language cannot say, instead of [`crate::error::ErrorKind::Unsupported`].
    #[serde(default)]
    pub residual: bool,
}

impl Query {
    /// Every record of `entity`.
    pub fn new(entity: Entity) -> Self {
        Self {
            entity,
            select: Vec::new(),
            filter: Criteria::always(),
            order: Vec::new(),
            limit: None,
            page_size: None,
            cursor: None,
            residual: false,
        }
    }

    /// Sets the fields to return.
    #[must_use]
    pub fn select(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.select = fields.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the condition.
    #[must_use]
    pub fn filter(mut self, filter: Criteria) -> Self {
        self.filter = filter;
        self
    }

    /// Adds a field to sort by.
    #[must_use]
    pub fn order_by(mut self, field: impl Into<String>, descending: bool) -> Self {
        self.order.push(Order { field: field.into(), descending });
        self
    }

    /// Sets the largest number of records.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the wished page size.
    #[must_use]
    pub fn page_size(mut self, size: u32) -> Self {
        self.page_size = Some(size);
        self
    }

    /// Goes on from `cursor`.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.cursor = Some(cursor);
        self
    }

    /// Tells the cursors of this query from those of another: a short hash of all but cursor and page size.
    pub fn fingerprint(&self) -> String {
        use sha2::{Digest, Sha256};
        let mut bare = self.clone();
        bare.cursor = None;
        bare.page_size = None;
        let text = serde_json::to_vec(&bare).unwrap_or_default();
        Sha256::digest(text).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Allows the rest of the condition to be filtered here.
    #[must_use]
    pub fn allow_residual(mut self) -> Self {
        self.residual = true;
        self
    }
}
