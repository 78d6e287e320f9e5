//! The webhooks journal as the log behind a snapshot.

use async_trait::async_trait;

use crate::error::Result;
use crate::hubspot::journal::HubSpotJournal;
use crate::sync::{ChangeLog, LogItem, LogPage};

/// Files without anything of ours that one call passes over.
const MOST_FILES: usize = 50;

/// The journal of an app as the [`ChangeLog`] of a [`Reader`](crate::sync::Reader): the reader takes the snapshot by the account's
/// own feed and goes on by the journal, which costs none of the account's calls. Entries are kept for three days; a place that is no
/// longer kept makes the reader read the hole anew.
///
/// What it tells depends on the app's subscriptions ([`HubSpotJournal::ensure_subscription`]): only subscribed objects, and of an
/// update only the subscribed properties that changed.
#[derive(Clone, Debug)]
pub struct JournalLog {
    journal: HubSpotJournal,
    portal: Option<u64>,
}

impl JournalLog {
    /// The entries of the account `portal`, or of all accounts the app is installed in.
    pub fn new(journal: HubSpotJournal, portal: Option<u64>) -> Self {
        Self { journal, portal }
    }
}

#[async_trait]
impl ChangeLog for JournalLog {
    /// The offset of the newest file; an empty text while there is none, which is the beginning.
    async fn mark(&self) -> Result<String> {
        Ok(self.journal.latest().await?.map(|file| file.offset).unwrap_or_default())
    }

    async fn read(&self, mark: &str) -> Result<LogPage> {
        let mut next = mark.to_owned();
        for _ in 0..MOST_FILES {
            let Some(page) = self.journal.next(Some(next.as_str()).filter(|offset| !offset.is_empty())).await? else { break };
            let items: Vec<LogItem> = page.changes(self.portal).into_iter().map(LogItem::Change).collect();
            next = page.offset;
            if !items.is_empty() {
                return Ok(LogPage::new(items, next));
            }
        }
        Ok(LogPage::new(Vec::new(), next))
    }
}
