//! Where blocking work (SQLite, hashing a large file) runs.

use std::fmt::Debug;

use futures_util::future::BoxFuture;

/// Runs blocking closures.
pub trait Offload: Debug + Send + Sync {
    /// Runs `work` and completes when it is done.
    fn offload(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// Runs the work where it is polled. Right for short work (a WAL commit takes tens of microseconds) and for tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct InPlace;

impl Offload for InPlace {
    fn offload(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }
}

/// Runs the work on tokio's blocking pool. The closure finishes even if the future is dropped.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioBlocking;

#[cfg(feature = "tokio")]
impl Offload for TokioBlocking {
    fn offload(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let Err(error) = tokio::task::spawn_blocking(work).await
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        })
    }
}
