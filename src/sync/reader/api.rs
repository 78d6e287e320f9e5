//! What a reader gives.

use crate::error::Result;
use crate::model::Change;
use crate::store::{Batch, cursors};
use crate::sync::reader::position::Position;

/// Where a reader stands once a page's work is done. Opaque.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(super) connection: String,
    pub(super) feed: String,
    pub(super) expected: Option<u64>,
    pub(super) position: Position,
}

impl Checkpoint {
    /// Adds the move of the cursor to `batch`. The commit is refused with a conflict if another reader moved it since this page
    /// was read; then nothing of the batch is done, and the page belongs to the other.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Internal`] if the position does not serialise.
    pub fn stage(&self, batch: &mut Batch) -> Result<()> {
        cursors::advance(batch, &self.connection, &self.feed, self.expected, &self.position)
    }
}

/// Some changes, and where reading goes on once they are dealt with.
#[derive(Clone, Debug)]
#[non_exhaustive]
#[must_use = "a page that is not committed is read again"]
pub struct ReadPage {
    /// The changes, oldest first within the page; none for a page that only moves the cursor. A record may come again in a later
    /// page, each time in its then current state.
    pub changes: Vec<Change>,
    /// True if nothing more was there when it was read.
    pub at_rest: bool,
    /// Moves the cursor behind this page.
    pub checkpoint: Checkpoint,
}
