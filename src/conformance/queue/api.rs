//! The bench, and what the tests share.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::conformance::report::{Broken, Check, ensure};
use crate::error::Result;
use crate::model::Entity;
use crate::queue::{Claim, Enqueued, Lane, Lease, NewEntry, Queue, Settle, Settled};

/// Makes queues for the tests.
#[async_trait]
pub trait QueueBench: Debug + Send + Sync {
    /// A new queue that is empty and ready for use.
    ///
    /// # Errors
    /// Whatever keeps the queue from being made.
    async fn queue(&self) -> Result<Arc<dyn Queue>>;

    /// Returns when `time` has passed in store time: moves a manual clock, or waits. The tests pass a few seconds in all, apart
    /// from [`QueueBench::op_window`].
    async fn pass(&self, time: Duration);

    /// How long the queues remember op ids, if so much time can be passed; `None` leaves out the test of it.
    fn op_window(&self) -> Option<Duration> {
        None
    }

    /// The same data seen by a queue that is opened anew, after the old one is gone; `None` if there is no such thing.
    ///
    /// # Errors
    /// Whatever keeps the queue from being opened.
    async fn reopen(&self, queue: Arc<dyn Queue>) -> Result<Option<Arc<dyn Queue>>> {
        drop(queue);
        Ok(None)
    }
}

pub(super) const LEAD: Entity = Entity::from_static("Lead");

/// Longer than any test takes on a slow machine.
pub(super) const LONG: Duration = Duration::from_secs(600);
/// The shortest lease and wait that the tests let run out.
pub(super) const SHORT: Duration = Duration::from_secs(1);
/// After it, [`SHORT`] is over.
pub(super) const OVER: Duration = Duration::from_millis(1_100);

pub(super) fn lane(record: &str) -> Lane {
    Lane::new("test", LEAD, record)
}

/// An entry of the lane `record` with the op id `op`, which is its payload too.
pub(super) fn entry(record: &str, op: &str) -> NewEntry {
    NewEntry::new(lane(record), op, op.to_owned())
}

pub(super) async fn put(queue: &dyn Queue, entries: Vec<NewEntry>) -> Check {
    let count = entries.len();
    let outcomes = queue.enqueue(entries).await?;
    ensure!(outcomes.len() == count, "{count} entries, but {} outcomes", outcomes.len());
    match outcomes.iter().position(|outcome| !matches!(outcome, Enqueued::New(_))) {
        None => Ok(()),
        Some(at) => Err(Broken::new(format!("entry {at} is new, but the queue says {:?}", outcomes.get(at)))),
    }
}

pub(super) fn want() -> Claim {
    Claim::new("test").ttl(LONG)
}

pub(super) async fn claim(queue: &dyn Queue) -> Result<Vec<Lease>, Broken> {
    Ok(queue.claim(&want()).await?)
}

/// The one lease that can be had.
pub(super) async fn only(queue: &dyn Queue, want: &Claim) -> Result<Lease, Broken> {
    let mut leases = queue.claim(want).await?;
    match (leases.pop(), leases.len()) {
        (Some(lease), 0) => Ok(lease),
        (lease, more) => Err(Broken::new(format!("one lane can be claimed, but {} came", more + usize::from(lease.is_some())))),
    }
}

pub(super) async fn nothing(queue: &dyn Queue, why: &str) -> Check {
    let leases = claim(queue).await?;
    ensure!(leases.is_empty(), "{} lanes were handed out although {why}", leases.len());
    Ok(())
}

pub(super) fn ops(lease: &Lease) -> Vec<&str> {
    lease.entries.iter().map(|entry| entry.op.as_str()).collect()
}

pub(super) fn records(leases: &[Lease]) -> Vec<&str> {
    leases.iter().map(|lease| lease.token.lane.record.as_str()).collect()
}

/// Settles one lease, which must work.
pub(super) async fn settle(queue: &dyn Queue, settle: Settle) -> Check {
    let settled = queue.settle(vec![settle.clone()]).await?;
    ensure!(settled == [Settled::Applied], "the holder could not settle: {settled:?} for {settle:?}");
    Ok(())
}

/// Settles one lease, which must not work.
pub(super) async fn lost(queue: &dyn Queue, settle: Settle, whose: &str) -> Check {
    let settled = queue.settle(vec![settle]).await?;
    ensure!(settled == [Settled::LeaseLost], "{whose} could settle: {settled:?}");
    Ok(())
}
