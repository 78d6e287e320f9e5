//! The contract of a queue.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use jiff::Timestamp;

use crate::error::Result;
use crate::queue::entry::{Enqueued, NewEntry};
use crate::queue::lease::{Claim, Lease, LeaseToken};
use crate::queue::parked::{CauseCount, Parked, ParkedFilter, ParkedPage, Subject};
use crate::queue::settle::{Settle, Settled};
use crate::queue::stats::QueueStats;

/// What a queue promises beyond the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueCapabilities {
    /// What was acknowledged survives the end of the process, however it ends.
    pub durable: bool,
    /// What was acknowledged also survives a power cut. Implies `durable`.
    pub survives_power_loss: bool,
    /// Several processes may use it at once.
    pub shared: bool,
    /// An `enqueue` that fails has enqueued nothing. Without this promise a part may be in; repeating the call with the same op
    /// ids enqueues the rest.
    pub atomic_enqueue: bool,
    /// A store on the same database can commit and settle in one transaction.
    pub atomic_with_store: bool,
    /// Entries join as [`crate::queue::Coalesce`] says. Without this promise each stays by itself.
    pub coalesces: bool,
    /// [`Queue::wakeups`] gives a stream.
    pub notify: bool,
    /// How long an op id is remembered at least, in store time, from the moment its entry is enqueued. It is written in the
    /// transaction of the enqueue, so that an event whose op id is known within this time has been enqueued, and once. Zero is no
    /// promise.
    pub op_window: Duration,
}

/// Lanes of entries, handed out under leases.
///
/// Everything is batch-first: a call about some hundred entries costs little more than one about a single entry. Store time is
/// the queue's own clock; leases, waits and remembered op ids are measured by it alone, never by a worker's clock. Nothing
/// blocks: a call answers what there is.
///
/// Op ids are remembered for a window of store time that begins when the entry is enqueued (7 days, unless the queue is made
/// with another one), whatever becomes of the entry.
///
/// Rules about order: of the entries of one lane the next one is handed out only after the one before it was settled as done or
/// parked, or in the same lease behind it. No outcome changes the order of a lane. Between lanes see [`Claim`].
///
/// Rules about leases: at most one lease of a lane is out. A token works until its lease is settled or has ended in store time
/// (a lease ends at its expiry, also if nobody has claimed the lane since); afterwards it changes nothing, for ever.
///
/// The trait is object-safe; hold a queue as `Arc<dyn Queue>`. A future that is dropped leaves its call wholly done or not
/// begun, and nobody knows which; a repeated enqueue is a duplicate, a lost claim ends with its time, a repeated settle is
/// [`Settled::LeaseLost`].
///
/// Errors of all methods: [`crate::error::ErrorKind::Queue`] if the queue failed (`may_have_applied()` tells whether the call
/// may be done), [`crate::error::ErrorKind::Config`] if its tables are missing or of another version. Lost data is an error,
/// never an empty answer.
#[async_trait]
pub trait Queue: Debug + Send + Sync {
    /// Puts entries at the end of their lanes, in the order of the call; answers what became of each, in the same order.
    ///
    /// # Errors
    /// With a [`crate::queue::QueueError`] as source, if [`crate::queue::check_batch`] refuses the call; nothing is enqueued
    /// then.
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>>;

    /// Hands out head entries of lanes; an empty answer if none can be claimed. See [`Claim`] for which, and in what order they
    /// stand in the answer.
    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>>;

    /// Lets leases end `ttl` from now on (at most [`crate::queue::MAX_TTL`]), also if that is earlier than before. Their tokens
    /// stay the same. Answers those that have ended already: nothing is changed about them.
    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>>;

    /// Ends leases; answers what became of each, in the same order. A stale token is [`Settled::LeaseLost`] for its row alone
    /// and changes nothing. All rows are done, or none if the call fails.
    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>>;

    /// One page of dead letters, in the order of their ids. Fewer than the limit mean that there are no more.
    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>>;

    /// The dead letters by group, in the order of the names. By default every page is read.
    async fn causes(&self) -> Result<Vec<CauseCount>> {
        let mut groups: BTreeMap<String, CauseCount> = BTreeMap::new();
        let mut page = ParkedPage::new(ParkedFilter::all(), 1_000);
        loop {
            let found = self.parked(&page).await?;
            let last = found.len() < page.limit;
            page.after = found.last().map(|parked| parked.entry.id);
            for parked in found {
                let group = parked.cause.group();
                let known = groups.entry(group.clone()).or_insert_with(|| CauseCount::new(group, 0, parked.at, parked.cause.clone()));
                known.count += 1;
                known.oldest = known.oldest.min(parked.at);
            }
            if last {
                return Ok(groups.into_values().collect());
            }
        }
    }

    /// Puts dead letters back into their lanes, each at its old place (by its id, so before younger entries), with no attempts
    /// counted; thaws lanes that nothing freezes any more. A lane that is leased keeps its lease; what comes back before the
    /// leased entries is handed out after them. Answers how many.
    async fn replay(&self, which: &ParkedFilter) -> Result<u64>;

    /// Throws dead letters away; thaws lanes that nothing freezes any more. Answers how many.
    async fn discard(&self, which: &ParkedFilter) -> Result<u64>;

    /// How it stands. May take time in proportion to the number of lanes.
    async fn stats(&self) -> Result<QueueStats>;

    /// Erases a subject: the waiting, leased and parked entries of its lanes; leases of them are lost. Op ids stay remembered, so
    /// that a late event does not bring it back. Answers how many entries.
    async fn purge(&self, subject: &Subject) -> Result<u64>;

    /// Store time.
    async fn now(&self) -> Result<Timestamp>;

    /// What it promises.
    fn capabilities(&self) -> QueueCapabilities;

    /// A stream with an item when something may have been enqueued, released or come due. A hint: items may be missing or
    /// spurious; polling stays the truth. By default there is none.
    fn wakeups(&self) -> Option<BoxStream<'static, ()>> {
        None
    }
}

macro_rules! forward {
    ($($(#[$meta:meta])* $target:ty),+) => {$(
        $(#[$meta])*
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<Q: Queue + ?Sized> Queue for $target {
            async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
                (**self).enqueue(entries).await
            }

            async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
                (**self).claim(want).await
            }

            async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
                (**self).extend(leases, ttl).await
            }

            async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
                (**self).settle(outcomes).await
            }

            async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
                (**self).parked(page).await
            }

            async fn causes(&self) -> Result<Vec<CauseCount>> {
                (**self).causes().await
            }

            async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
                (**self).replay(which).await
            }

            async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
                (**self).discard(which).await
            }

            async fn stats(&self) -> Result<QueueStats> {
                (**self).stats().await
            }

            async fn purge(&self, subject: &Subject) -> Result<u64> {
                (**self).purge(subject).await
            }

            async fn now(&self) -> Result<Timestamp> {
                (**self).now().await
            }

            fn capabilities(&self) -> QueueCapabilities {
                (**self).capabilities()
            }

            fn wakeups(&self) -> Option<BoxStream<'static, ()>> {
                (**self).wakeups()
            }
        }
    )+};
}

forward!(&Q, Arc<Q>, Box<Q>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_safe() {
        fn takes(_: Option<&dyn Queue>) {}
        takes(None);
    }
}
