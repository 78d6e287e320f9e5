//! A queue that dies at a chosen moment, as a process does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, like the tests"
)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use crm_sync::error::{Error, ErrorKind, Result, Retry};
use crm_sync::queue::{
    Claim, Enqueued, Lease, LeaseToken, NewEntry, Parked, ParkedFilter, ParkedPage, Queue, QueueCapabilities, QueueStats, Settle, Settled,
    Subject,
};
use jiff::Timestamp;

use super::Life;

#[derive(Debug)]
pub struct MortalQueue {
    pub inner: Arc<dyn Queue>,
    pub life: Arc<Life>,
}

fn dead() -> Error {
    Error::new(ErrorKind::Queue, "the process died").retrying(Retry::Never)
}

macro_rules! mortal {
    ($self:ident, $call:expr) => {
        match $self.life.step() {
            (true, true) => $call.await,
            (true, false) => {
                $call.await?;
                Err(dead())
            }
            (false, _) => Err(dead()),
        }
    };
}

#[async_trait]
impl Queue for MortalQueue {
    async fn enqueue(&self, entries: Vec<NewEntry>) -> Result<Vec<Enqueued>> {
        mortal!(self, self.inner.enqueue(entries))
    }

    async fn claim(&self, want: &Claim) -> Result<Vec<Lease>> {
        mortal!(self, self.inner.claim(want))
    }

    async fn extend(&self, leases: &[LeaseToken], ttl: Duration) -> Result<Vec<LeaseToken>> {
        mortal!(self, self.inner.extend(leases, ttl))
    }

    async fn settle(&self, outcomes: Vec<Settle>) -> Result<Vec<Settled>> {
        mortal!(self, self.inner.settle(outcomes))
    }

    async fn parked(&self, page: &ParkedPage) -> Result<Vec<Parked>> {
        self.inner.parked(page).await
    }

    async fn replay(&self, which: &ParkedFilter) -> Result<u64> {
        self.inner.replay(which).await
    }

    async fn discard(&self, which: &ParkedFilter) -> Result<u64> {
        self.inner.discard(which).await
    }

    async fn stats(&self) -> Result<QueueStats> {
        self.inner.stats().await
    }

    async fn purge(&self, subject: &Subject) -> Result<u64> {
        self.inner.purge(subject).await
    }

    async fn now(&self) -> Result<Timestamp> {
        self.inner.now().await
    }

    fn capabilities(&self) -> QueueCapabilities {
        self.inner.capabilities()
    }
}
