//! A log of events, joined to the snapshot.
//!
//! The log's mark is taken before the snapshot is read, so that what happens meanwhile is told by the log. The snapshot is read
//! again once the settle time has passed since then: rows its index hid in the first pass were logged before the mark. A log that
//! no longer keeps the mark (Salesforce and HubSpot: three days) is joined anew, and the hole is read from the watermark on.

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::Result;
use crate::model::{Change, RecordId};

/// One entry of a log.
#[allow(clippy::large_enum_variant, reason = "nearly every entry is a change")]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum LogItem {
    /// A record changed.
    Change(Change),
    /// All of the entity must be read again.
    RereadAll,
    /// These records must be read again: the log tells that they changed, not how.
    RereadRecords(Vec<RecordId>),
    /// What changed at or after this time, by the CRM's clock, must be read again.
    RereadSince(Timestamp),
}

/// Some entries.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LogPage {
    /// The entries, oldest first; none if nothing is new.
    pub items: Vec<LogItem>,
    /// Where reading goes on.
    pub next: String,
}

impl LogPage {
    /// A page.
    pub fn new(items: Vec<LogItem>, next: impl Into<String>) -> Self {
        Self { items, next: next.into() }
    }
}

/// The events of one entity, kept by the CRM for a while and read by marks. HubSpot's is the `JournalLog` of its module, Salesforce's
/// the `StreamLog` of its streams; Pipedrive has none.
#[async_trait]
pub trait ChangeLog: Debug + Send + Sync {
    /// A mark from which on all that happens after this call is told. Entries from before may be told too.
    ///
    /// # Errors
    /// Those of the call.
    async fn mark(&self) -> Result<String>;

    /// The entries behind `mark`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::NotFound`] if the log does not keep this place any more; others are those of the call.
    async fn read(&self, mark: &str) -> Result<LogPage>;
}

#[cfg(test)]
mod object_safety {
    use super::*;

    #[test]
    fn the_trait_is_object_safe() {
        fn takes(_: Option<&dyn ChangeLog>) {}
        takes(None);
    }
}
