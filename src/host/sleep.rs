//! Waiting, as the host's runtime does it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::host::clock::ManualClock;

/// Waits without blocking the thread.
pub trait Sleep: Debug + Send + Sync {
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// Sleeps on tokio's timer; must be polled inside a tokio runtime with time enabled.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioSleep;

#[cfg(feature = "tokio")]
impl Sleep for TokioSleep {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Sleeps by moving the manual clock: the wait is over at the first poll.
#[derive(Clone, Debug)]
pub struct ManualSleep {
    clock: Arc<ManualClock>,
}

impl ManualSleep {
    /// A sleep that moves `clock`.
    pub fn new(clock: Arc<ManualClock>) -> Self {
        Self { clock }
    }
}

impl Sleep for ManualSleep {
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let clock = Arc::clone(&self.clock);
        // The clock moves when the future is polled, not when it is made: a sleep that is dropped has not happened.
        Box::pin(async move { clock.advance(duration) })
    }
}
