//! What the engine needs to recognise a record by all its signs.

use std::fmt;

use crate::dedup::{Deduper, Distinct, Role};

/// How records that are new to the engine are recognised in the CRM by all their signs, for
/// [`EngineBuilder::duplicates`](crate::sync::EngineBuilder::duplicates).
#[derive(Clone)]
pub struct DuplicateCheck {
    pub(crate) deduper: Deduper,
    pub(crate) fields: Vec<(Role, String)>,
    pub(crate) distinct: Distinct,
}

impl DuplicateCheck {
    /// Compares by `fields`: the CRM's fields and what they hold. Fields that the mapping does not write are read from the CRM's
    /// records but are not known of the host's.
    pub fn new(deduper: Deduper, fields: impl IntoIterator<Item = (Role, impl Into<String>)>) -> Self {
        Self { deduper, fields: fields.into_iter().map(|(role, field)| (role, field.into())).collect(), distinct: Distinct::new() }
    }

    /// What was decided before: pairs of ids, the host's or the CRM's, that are not one.
    #[must_use]
    pub fn distinct(mut self, distinct: Distinct) -> Self {
        self.distinct = distinct;
        self
    }
}

impl fmt::Debug for DuplicateCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DuplicateCheck").field("fields", &self.fields).field("distinct", &self.distinct).finish_non_exhaustive()
    }
}
