//! Forgetting one person everywhere.

use crate::error::Result;
use crate::queue::{Queue, Subject};
use crate::store::gone::{self, End, Tombstone};
use crate::store::pending::{self, Side};
use crate::store::{Batch, Family, Key, Row, base, lanes, ledger, links, overtaken, own, parked};
use crate::sync::two_way::api::TwoWay;

/// Rows read at once.
const PAGE: usize = 1_000;

/// What was forgotten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Erased {
    /// The record was linked.
    pub linked: bool,
    /// Lines of the audit and of the journal.
    pub lines: usize,
    /// Entries of the queue, waiting and parked.
    pub queued: u64,
}

impl TwoWay {
    /// Removes all that is kept of one record of the host: link, base, open writes, marks, conflicts, notes, refusals, audit,
    /// its lines in the journal, and its entries in `queue`. What stays is a tombstone of salted hashes of both ids: no late event
    /// and no change in the host brings it back into this sync. The records themselves, in the host and in the CRM, are not
    /// touched: delete them first, as their owners' rules say.
    ///
    /// May be called again after a crash; a second call finds nothing. Cursors of webhooks seen hold ids of events only, and end by
    /// themselves.
    ///
    /// # Errors
    /// Those of the store and of the queue.
    pub async fn erase(&self, local: &str, queue: Option<&dyn Queue>) -> Result<Erased> {
        let inner = &*self.parts.engine.inner;
        let (connection, entity) = (inner.connection(), &inner.entity);
        let salt = self.salt().await?;
        let now = inner.store.now().await?;
        let mut erased = Erased::default();
        if let Some(queue) = queue {
            let subject = |record: &str| Subject::new(record).connection(connection).entity(entity.clone());
            erased.queued += queue.purge(&subject(local)).await?;
        }
        let mut batch = Batch::new();
        let links = links::unlink(self.store(), &mut batch, connection, entity, &[local]).await?;
        let tombstone = Tombstone { end: End::Erased, at: now };
        gone::put(&mut batch, &salt, (connection, entity), Side::Local, local, tombstone)?;
        for link in &links {
            erased.linked = true;
            gone::put(&mut batch, &salt, (connection, entity), Side::Remote, link.remote.as_str(), tombstone)?;
            pending::remove(self.store(), &mut batch, connection, entity, Side::Remote, link.remote.as_str()).await?;
            if let Some(queue) = queue {
                let subject = Subject::new(link.remote.as_str()).connection(connection).entity(entity.clone());
                erased.queued += queue.purge(&subject).await?;
            }
        }
        for intent in ledger::by_local(self.store(), connection, entity, &[local]).await?.into_iter().flatten() {
            ledger::close(&mut batch, connection, &intent)?;
        }
        base::remove(&mut batch, connection, entity, local);
        own::remove(&mut batch, connection, entity, local);
        lanes::remove(&mut batch, connection, entity, local);
        parked::remove(&mut batch, connection, entity, local);
        overtaken::remove(&mut batch, connection, entity, local);
        pending::remove(self.store(), &mut batch, connection, entity, Side::Local, local).await?;
        for prefix in [Key::new(Family::Audit, &[connection, entity.as_str(), local])] {
            erased.lines += self.delete_rows(&mut batch, &prefix, |_| true).await?;
        }
        let journal = Key::new(Family::Journal, &[connection]);
        for link in &links {
            // A line of the journal names the record in its own field, as JSON.
            let needle = serde_json::to_string(link.remote.as_str()).unwrap_or_default();
            let names = |row: &Row| String::from_utf8_lossy(&row.value).contains(&needle);
            erased.lines += self.delete_rows(&mut batch, &journal, names).await?;
        }
        self.store().commit(batch).await?;
        Ok(erased)
    }

    async fn delete_rows(&self, batch: &mut Batch, prefix: &Key, which: impl Fn(&Row) -> bool + Send + Sync) -> Result<usize> {
        let mut after: Option<Key> = None;
        let mut count = 0;
        loop {
            let rows = self.store().scan(prefix, after.as_ref(), PAGE).await?;
            let more = rows.len() == PAGE;
            for (key, row) in rows {
                if which(&row) {
                    batch.delete(key.clone());
                    count += 1;
                }
                after = Some(key);
            }
            if !more {
                return Ok(count);
            }
        }
    }
}
