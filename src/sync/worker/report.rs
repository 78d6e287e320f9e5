//! What a round did.

use crate::error::Error;

/// One round of a worker, in numbers of entries unless it says otherwise.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Lanes that were claimed.
    pub lanes: usize,
    /// Entries that were claimed.
    pub entries: usize,
    /// Records made in the CRM.
    pub created: usize,
    /// Records changed in the CRM.
    pub updated: usize,
    /// Records that needed no write.
    pub unchanged: usize,
    /// Entries that are finished.
    pub done: usize,
    /// Entries that went to the dead letters.
    pub parked: usize,
    /// Lanes that are tried again, an attempt spent.
    pub retried: usize,
    /// Lanes that wait, without an attempt spent.
    pub deferred: usize,
    /// Lanes that were given back.
    pub released: usize,
    /// Lanes whose lease had ended: somebody else works them.
    pub lost: usize,
    /// Write batches that may be under way at once in the next round.
    pub concurrency: usize,
    /// Scopes that are skipped for now.
    pub paused: Vec<String>,
    /// The first trouble that was about more than one record; what it concerned waits.
    pub error: Option<Error>,
}

impl Report {
    /// True if nothing was claimed.
    pub fn is_idle(&self) -> bool {
        self.lanes == 0
    }
}
