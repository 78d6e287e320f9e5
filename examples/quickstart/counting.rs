//! Counts the calls that really go out, whatever the library says of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::http::{Body, HttpError, HttpTransport};

#[derive(Debug, Default)]
pub(crate) struct Calls {
    reads: AtomicU64,
    writes: AtomicU64,
}

impl Calls {
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(crate) struct Counting<T> {
    inner: T,
    calls: Arc<Calls>,
}

impl<T> Counting<T> {
    pub(crate) fn new(inner: T) -> (Self, Arc<Calls>) {
        let calls = Arc::new(Calls::default());
        (Self { inner, calls: Arc::clone(&calls) }, calls)
    }
}

#[async_trait]
impl<T: HttpTransport> HttpTransport for Counting<T> {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        // Tokens are not API calls.
        if !request.uri().path().contains("/services/oauth2/") {
            let counter = if request.method() == http::Method::GET { &self.calls.reads } else { &self.calls.writes };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.send(request).await
    }
}
