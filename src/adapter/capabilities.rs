//! What a CRM can do, as data.

use std::borrow::Cow;

use crate::model::Entity;

/// What an adapter can do. The conformance list and the guard layer read it; nothing guesses.
///
/// Naming: a boolean is named for the method it is about, then `_with_` and the extra (`search_with_or`); a limit is named for
/// the method and then the thing counted (`bulk_max_ops`). A limit of 0 means that there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The field that holds a record's id, for searches (`Id`, `hs_object_id`, `id`).
    pub id_field: Cow<'static, str>,
    /// `search` works.
    pub search: bool,
    /// `search` understands OR.
    pub search_with_or: bool,
    /// `search` understands NOT.
    pub search_with_not: bool,
    /// `search` can sort.
    pub search_with_order: bool,
    /// `search` tells upper from lower case: it may miss what differs in nothing else.
    pub search_case_sensitive: bool,
    /// `search` finds a record as soon as it is written.
    pub search_read_your_writes: bool,
    /// Comparisons in one search.
    pub search_max_clauses: usize,
    /// Values in one IN list.
    pub search_max_in: usize,
    /// `create` works.
    pub create: bool,
    /// `update` works.
    pub update: bool,
    /// `update` honours `if_version`.
    pub update_with_version: bool,
    /// `delete` works.
    pub delete: bool,
    /// `upsert` works.
    pub upsert: bool,
    /// `bulk` is cheaper than single calls.
    pub bulk: bool,
    /// Operations in one `bulk` call.
    pub bulk_max_ops: usize,
    /// `changes` works.
    pub changes: bool,
    /// `changes` tells of deletions, whatever the entity.
    pub changes_with_deletes: bool,
    /// The entities, by all their names, whose `changes` tells of deletions where not every entity's does.
    pub changes_with_deletes_of: Vec<Cow<'static, str>>,
    /// `associate` works.
    pub associate: bool,
    /// `describe` works.
    pub describe: bool,
}

impl Capabilities {
    /// The seven required methods and nothing more, with records found as soon as they are written.
    pub const fn basic(id_field: &'static str) -> Self {
        Self {
            id_field: Cow::Borrowed(id_field),
            search: true,
            search_with_or: false,
            search_with_not: false,
            search_with_order: false,
            search_case_sensitive: false,
            search_read_your_writes: true,
            search_max_clauses: 0,
            search_max_in: 0,
            create: true,
            update: true,
            update_with_version: false,
            delete: true,
            upsert: false,
            bulk: false,
            bulk_max_ops: 0,
            changes: false,
            changes_with_deletes: false,
            changes_with_deletes_of: Vec::new(),
            associate: false,
            describe: false,
        }
    }

    /// True if `changes` of this entity tells of deletions.
    pub fn tells_deletes(&self, entity: &Entity) -> bool {
        self.changes_with_deletes || self.changes_with_deletes_of.iter().any(|name| name == entity.as_str())
    }
}
