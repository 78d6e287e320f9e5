//! Several writes at once.

use crate::adapter::write::Written;

use crate::model::{ExternalKey, Fields, RecordId};

/// One write of a bulk call.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum BulkOp {
    /// Makes a record.
    Create {
        /// Its fields.
        fields: Fields,
    },
    /// Deletes a record.
    Delete {
        /// Which.
        id: RecordId,
    },
    /// Changes a record.
    Update {
        /// Which.
        id: RecordId,
        /// The fields to change.
        fields: Fields,
    },
    /// Makes or changes the record with a key.
    Upsert {
        /// The key; its field is not repeated in `fields`.
        key: ExternalKey,
        /// The fields.
        fields: Fields,
    },
}

impl BulkOp {
    /// The adapter operation it stands for.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Delete { .. } => "delete",
            Self::Update { .. } => "update",
            Self::Upsert { .. } => "upsert",
        }
    }
}

/// What became of one operation. Partial success is the normal case.
pub type BulkOutcome = crate::error::Result<Written>;
