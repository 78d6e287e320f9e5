//! The webhooks journal as the log behind a snapshot.

use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, ErrorKind, Result};
use crate::hubspot::journal::HubSpotJournal;
use crate::sync::{ChangeLog, LogItem, LogPage};

/// Files without anything of ours that one call passes over.
const MOST_FILES: usize = 50;
/// Files are kept for three days (developer guide, "Webhooks journal"). An offset that is gone is not refused: reading goes on with
/// the first file that is left. So a mark knows until when all was told, and is given up a little before that.
const KEPT: SignedDuration = SignedDuration::from_hours(3 * 24 - 2);
/// An older mark is written anew although nothing was told, so that a quiet journal is not taken for a lost one.
const STALE: Duration = Duration::from_secs(3_600);

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

/// How far the journal was read.
struct Mark<'a> {
    /// What happened until then was told.
    read: Timestamp,
    /// Empty before the first file.
    offset: &'a str,
}

impl<'a> Mark<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (read, offset) = text.split_once(' ')?;
        Some(Self { read: read.parse().ok()?, offset })
    }

    fn text(read: Timestamp, offset: &str) -> String {
        format!("{read} {offset}")
    }
}

#[async_trait]
impl ChangeLog for JournalLog {
    /// Now, and the offset of the newest file; no offset while there is none, which is the beginning.
    async fn mark(&self) -> Result<String> {
        let now = self.journal.host.now();
        let offset = self.journal.latest().await?.map(|file| file.offset).unwrap_or_default();
        Ok(Mark::text(now, &offset))
    }

    async fn read(&self, mark: &str) -> Result<LogPage> {
        let now = self.journal.host.now();
        let Some(known) = Mark::parse(mark) else {
            return Err(Error::decode("the kept place of the journal is not a time and an offset").during("journal"));
        };
        // A clock that went back by days proves as little as one that went on.
        let age = now.duration_since(known.read);
        if age.abs() > KEPT {
            let message = "the journal was not read for so long that files may be gone that nobody saw";
            return Err(Error::new(ErrorKind::NotFound, message).during("journal"));
        }
        let mut next = known.offset.to_owned();
        for _ in 0..MOST_FILES {
            let Some(page) = self.journal.next(Some(next.as_str()).filter(|offset| !offset.is_empty())).await? else { break };
            let changes = page.changes(self.portal);
            next = page.offset;
            if !changes.is_empty() {
                // Younger files may still wait: what is known to have been read is what happened up to this one.
                let told = changes.iter().filter_map(|change| change.at).max().unwrap_or(known.read);
                let items = changes.into_iter().map(LogItem::Change).collect();
                return Ok(LogPage::new(items, Mark::text(told.max(known.read).min(now), &next)));
            }
        }
        if next == known.offset && age.unsigned_abs() < STALE {
            return Ok(LogPage::new(Vec::new(), mark));
        }
        Ok(LogPage::new(Vec::new(), Mark::text(now, &next)))
    }
}
