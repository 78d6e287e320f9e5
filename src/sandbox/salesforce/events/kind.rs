//! What happened to a record, as change events name it.

use crate::sandbox::store::Row;

/// What a commit did to a row, or nothing that anybody is told of.
pub(crate) fn kind_of(old: Option<&Row>, new: Option<&Row>) -> Option<&'static str> {
    match (old, new) {
        (None, Some(new)) if !new.deleted => Some("CREATE"),
        (Some(old), Some(new)) if !old.deleted && !new.deleted => Some("UPDATE"),
        (Some(old), new) if !old.deleted && new.is_none_or(|new| new.deleted) => Some("DELETE"),
        (Some(old), Some(new)) if old.deleted && !new.deleted => Some("UNDELETE"),
        // Made and removed at once, or emptied from the recycle bin.
        _ => None,
    }
}
