//! The reader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream;
use jiff::{SignedDuration, Timestamp};

use crate::adapter::CrmAdapter;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::model::{Change, ChangeKind, Entity};
use crate::observe::{Event, Ignore, Observer};
use crate::store::{Batch, Store, cursors};
use crate::sync::reader::api::{Checkpoint, ReadPage};
use crate::sync::reader::log::{ChangeLog, LogItem};
use crate::sync::reader::position::{Joined, Position};

/// Pages without anything new that one call reads.
const DRY: usize = 50;

/// Reads the changes of one entity.
///
/// What is promised: once the CRM comes to rest and the settle time has passed, the last state of every record has been told.
/// States in between may be left out, and a record may be told twice: at least once, never "only if all goes well".
#[derive(Debug)]
pub struct Reader {
    pub(super) adapter: Arc<dyn CrmAdapter>,
    pub(super) store: Arc<dyn Store>,
    pub(super) host: Host,
    pub(super) entity: Entity,
    pub(super) select: Vec<String>,
    pub(super) page_size: u32,
    feed: String,
    settle: SignedDuration,
    deletes_every: Option<SignedDuration>,
    since: Option<Timestamp>,
    stamp: Option<String>,
    log: Option<Arc<dyn ChangeLog>>,
    observer: Arc<dyn Observer>,
    /// A page that was the last is committed: the next call need not ask again.
    rest: AtomicBool,
}

/// Puts a [`Reader`] together.
#[derive(Debug)]
#[must_use]
pub struct ReaderBuilder {
    reader: Reader,
    deletes: Option<Duration>,
}

impl ReaderBuilder {
    /// The fields that come with each change. Default: the adapter's own set.
    pub fn select(mut self, fields: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.reader.select = fields.into_iter().map(Into::into).collect();
        self
    }

    /// The name of the cursor, for two readers of one entity that must not share one. Default: `{entity}/changes`.
    pub fn feed(mut self, name: impl Into<String>) -> Self {
        self.reader.feed = name.into();
        self
    }

    /// How late a row may become visible, counted from its own stamp: that much is read again. Default: 5 minutes, the longest
    /// reported for Salesforce.
    pub fn settle(mut self, settle: Duration) -> Self {
        self.reader.settle = SignedDuration::try_from(settle).unwrap_or(SignedDuration::MAX);
        self
    }

    /// Asks the feed for deletions too, at most this often. Default: not at all. Feeds that have none (see
    /// [`crate::adapter::Capabilities::tells_deletes`]) need [`Reader::reconcile`].
    pub fn deletions(mut self, every: Duration) -> Self {
        self.deletes = Some(every);
        self
    }

    /// Leaves out what changed before. Default: from the first record.
    pub fn since(mut self, at: Timestamp) -> Self {
        self.reader.since = Some(at);
        self
    }

    /// Reads by searches ordered by this field, the time of the last change, even if the adapter has a feed. Needed where it has
    /// none; the field and the id must be sortable and comparable.
    pub fn by_search(mut self, modified_field: impl Into<String>) -> Self {
        self.reader.stamp = Some(modified_field.into());
        self
    }

    /// Rows of one page of [`ReaderBuilder::by_search`]. Default: 200.
    pub fn page_size(mut self, rows: u32) -> Self {
        self.reader.page_size = rows.max(1);
        self
    }

    /// Goes on by a log once the snapshot is whole.
    pub fn log(mut self, log: Arc<dyn ChangeLog>) -> Self {
        self.reader.log = Some(log);
        self
    }

    /// Who hears of [`Event::LogLost`] and [`Event::MassDelete`].
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.reader.observer = observer;
        self
    }

    /// The reader.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the CRM cannot be read that way.
    pub fn build(mut self) -> Result<Reader> {
        let can = self.reader.adapter.capabilities();
        if self.reader.stamp.is_none() && !can.changes {
            return Err(Error::config(format!(
                "{} has no change feed; name the field that holds the time of the last change (by_search)",
                self.reader.adapter.name()
            )));
        }
        if self.reader.stamp.is_some() && !can.search_with_order {
            return Err(Error::config(format!("{} cannot order a search, so it cannot be read by one", self.reader.adapter.name())));
        }
        if let Some(every) = self.deletes {
            if self.reader.stamp.is_some() || !can.tells_deletes(&self.reader.entity) {
                return Err(Error::config("this feed tells no deletions; compare with Reader::reconcile instead"));
            }
            self.reader.deletes_every = Some(SignedDuration::try_from(every).unwrap_or(SignedDuration::MAX));
        }
        Ok(self.reader)
    }
}

impl Reader {
    /// A reader of `entity`.
    pub fn builder(adapter: Arc<dyn CrmAdapter>, store: Arc<dyn Store>, host: Host, entity: Entity) -> ReaderBuilder {
        let reader = Self {
            feed: format!("{entity}/changes"),
            adapter,
            store,
            host,
            entity,
            select: Vec::new(),
            page_size: 200,
            settle: SignedDuration::from_mins(5),
            deletes_every: None,
            since: None,
            stamp: None,
            log: None,
            observer: Arc::new(Ignore),
            rest: AtomicBool::new(false),
        };
        ReaderBuilder { reader, deletes: None }
    }

    /// The entity that is read.
    pub fn entity(&self) -> &Entity {
        &self.entity
    }

    /// The next changes, or `None` if there is nothing new: ask again later. Until [`Reader::commit`] (or a commit of a batch
    /// with the page's checkpoint) the same place is read again, by this reader or another.
    ///
    /// Dropping it leaves nothing behind. A first read of a large entity goes on after a crash where the last commit was.
    ///
    /// # Errors
    /// Those of the adapter and of the store; the same place is read by the next call.
    pub async fn next(&self) -> Result<Option<ReadPage>> {
        if self.rest.swap(false, Ordering::Relaxed) {
            return Ok(None);
        }
        let name = self.adapter.name();
        let (kept, expected) = match cursors::load::<Position>(self.store.as_ref(), name, &self.feed).await? {
            Some(kept) => (kept.position, Some(kept.generation)),
            None => (Position::default(), None),
        };
        let mut position = kept.clone();
        if let (Some(log), None) = (&self.log, &position.log) {
            position.log = Some(Joined { place: log.mark().await?, taken: self.host.now(), whole: false });
        }
        for _ in 0..DRY {
            let (changes, drained) = match (&self.log, &position.log) {
                (Some(log), Some(joined)) if joined.whole && position.round.is_none() => {
                    self.log_step(log.as_ref(), joined.clone(), &mut position).await?
                }
                _ => self.step(&mut position).await?,
            };
            if changes.is_empty() && drained {
                if position != kept {
                    self.settle_down(expected, &position).await?;
                }
                return Ok(None);
            }
            if !changes.is_empty() {
                return Ok(Some(self.page(changes, drained, expected, position)));
            }
        }
        Ok(Some(self.page(Vec::new(), false, expected, position)))
    }

    fn page(&self, changes: Vec<Change>, at_rest: bool, expected: Option<u64>, position: Position) -> ReadPage {
        let (connection, feed) = (self.adapter.name().to_owned(), self.feed.clone());
        ReadPage { changes, at_rest, checkpoint: Checkpoint { connection, feed, expected, position } }
    }

    /// Keeps a watermark that moved although nothing was told. If another reader moved the cursor, that one is right.
    async fn settle_down(&self, expected: Option<u64>, position: &Position) -> Result<()> {
        let mut batch = Batch::new();
        cursors::advance(&mut batch, self.adapter.name(), &self.feed, expected, position)?;
        match self.store.commit(batch).await {
            Err(error) if error.kind() != ErrorKind::Conflict => Err(error),
            _ => Ok(()),
        }
    }

    /// A page of a round. True if nothing more is there.
    async fn step(&self, position: &mut Position) -> Result<(Vec<Change>, bool)> {
        // Behind a log, what was deleted while the log told nothing is told by the feed, if it can.
        let behind = position.log.as_ref().is_some_and(|joined| !joined.whole) && position.watermark.is_some();
        let hole = behind && self.stamp.is_none() && self.adapter.capabilities().tells_deletes(&self.entity);
        let mut round = position.take_round(self.host.now(), self.deletes_every, self.since, hole);
        let (changes, drained) = match &self.stamp {
            Some(stamp) => self.scan_step(stamp, &mut round).await?,
            None => self.feed_step(&mut round).await?,
        };
        let fresh = position.fresh(changes, &round, self.host.now(), self.settle);
        if drained {
            position.end(&round, self.settle);
            if let Some(joined) = &mut position.log {
                joined.whole = round.begun.duration_since(joined.taken) >= self.settle;
            }
        } else {
            position.round = Some(round);
        }
        Ok((fresh, drained))
    }

    /// A page of the log. True if nothing more is there.
    async fn log_step(&self, log: &dyn ChangeLog, mut joined: Joined, position: &mut Position) -> Result<(Vec<Change>, bool)> {
        let page = match log.read(&joined.place).await {
            Ok(page) => page,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // The hole begins at the watermark: rounds read it, once the log has a new mark.
                self.lost(position.watermark);
                position.log = Some(Joined { place: log.mark().await?, taken: self.host.now(), whole: false });
                return Ok((Vec::new(), false));
            }
            Err(error) => return Err(error),
        };
        let (empty, now) = (page.items.is_empty(), self.host.now());
        let mut changes = Vec::with_capacity(page.items.len());
        for item in page.items {
            match item {
                LogItem::Change(change) => {
                    if let Some(at) = change.at
                        && position.newest.is_none_or(|newest| at > newest)
                    {
                        (position.newest, position.heard) = (Some(at), Some(now));
                    }
                    if change.entity == self.entity && position.tell(&change) {
                        changes.push(change);
                    }
                }
                LogItem::RereadRecords(ids) => {
                    for id in ids {
                        changes.push(match self.adapter.get(&self.entity, &id, &self.select).await? {
                            Some(record) if !record.deleted => {
                                let mut change = Change::new(self.entity.clone(), id, ChangeKind::Updated);
                                (change.fields, change.at, change.version) = (record.fields, record.modified_at, record.version);
                                change
                            }
                            _ => Change::new(self.entity.clone(), id, ChangeKind::Deleted),
                        });
                    }
                }
                LogItem::RereadSince(at) => {
                    joined.whole = false;
                    position.watermark = position.watermark.map(|watermark| watermark.min(at));
                    self.lost(position.watermark);
                }
                LogItem::RereadAll => {
                    joined.whole = false;
                    position.watermark = None;
                    self.lost(None);
                }
            }
        }
        position.prune(self.settle);
        joined.place = page.next;
        if empty && let Some(newest) = position.newest {
            // The log told everything up to here: a hole that opens later is no longer than from here on.
            let settled = newest.saturating_sub(self.settle).unwrap_or(Timestamp::MIN);
            position.watermark = position.watermark.max(Some(settled));
            position.deletes_from = position.deletes_from.max(Some(settled));
        }
        if !joined.whole {
            joined.taken = now;
        }
        position.log = Some(joined);
        Ok((changes, empty))
    }

    fn lost(&self, since: Option<Timestamp>) {
        self.tell(&Event::LogLost { adapter: self.adapter.name(), entity: &self.entity, since });
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        self.observer.on(event);
    }

    /// Does the work of a page and moves the cursor behind it, in one commit.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if another reader moved the cursor, or a precondition of `batch` failed: nothing is done.
    /// [`ErrorKind::Store`] if the store failed.
    pub async fn commit(&self, page: ReadPage, mut batch: Batch) -> Result<()> {
        page.checkpoint.stage(&mut batch)?;
        self.store.commit(batch).await?;
        self.rest.store(page.at_rest, Ordering::Relaxed);
        Ok(())
    }

    /// Forgets the cursor in `batch`: the entity is read from the start.
    pub fn restart(&self, batch: &mut Batch) {
        cursors::reset(batch, self.adapter.name(), &self.feed);
    }

    /// Pages as they come, for ever; with nothing new, or after an error, it waits for `interval` by the host's clock. Commit each
    /// page before asking for the next one, which otherwise is the same again.
    pub fn stream(&self, interval: Duration) -> impl Stream<Item = Result<ReadPage>> + Send + '_ {
        stream::unfold(false, move |failed| async move {
            if failed {
                self.host.sleep(interval).await;
            }
            loop {
                match self.next().await {
                    Ok(Some(page)) => return Some((Ok(page), false)),
                    Ok(None) => self.host.sleep(interval).await,
                    Err(error) => return Some((Err(error), true)),
                }
            }
        })
    }
}
