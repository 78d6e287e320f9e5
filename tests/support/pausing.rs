//! A store and a transport whose every call is pending once before and once after the work, and polling by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a test may panic")]

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::error::Result;
use crm_sync::http::{Body, HttpError, HttpTransport};
use crm_sync::store::{Batch, Key, Row, Store, StoreCapabilities};
use futures_util::task::noop_waker_ref;
use jiff::Timestamp;

async fn pause() {
    let mut paused = false;
    poll_fn(|context| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[derive(Debug)]
pub struct Pausing<T: ?Sized>(pub Arc<T>);

#[async_trait]
impl HttpTransport for Pausing<dyn HttpTransport> {
    async fn send(&self, request: http::Request<Bytes>) -> std::result::Result<http::Response<Body>, HttpError> {
        pause().await;
        let answer = self.0.send(request).await;
        pause().await;
        answer
    }
}

#[async_trait]
impl Store for Pausing<dyn Store> {
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
        pause().await;
        let answer = self.0.commit(batch).await;
        pause().await;
        answer
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        pause().await;
        let answer = self.0.load_many(keys).await;
        pause().await;
        answer
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
        pause().await;
        let answer = self.0.scan(prefix, after, limit).await;
        pause().await;
        answer
    }

    async fn now(&self) -> Result<Timestamp> {
        pause().await;
        self.0.now().await
    }

    fn capabilities(&self) -> StoreCapabilities {
        self.0.capabilities()
    }
}

/// Polls `future` at most `polls` times, then drops it; what it returned, if it came to that.
pub fn polled<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(noop_waker_ref());
    for _ in 0..polls {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return Some(value);
        }
    }
    None
}
