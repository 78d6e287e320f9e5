//! A transport that counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::http::{Body, HttpError, HttpTransport};
use futures_util::StreamExt;

/// Requests sent, and bytes of the bodies both ways.
#[derive(Debug)]
pub(crate) struct Counting<T> {
    inner: T,
    pub(crate) counted: Arc<Counted>,
}

#[derive(Debug, Default)]
pub(crate) struct Counted {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Counted {
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl<T> Counting<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, counted: Arc::default() }
    }
}

#[async_trait]
impl<T: HttpTransport> HttpTransport for Counting<T> {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Body>, HttpError> {
        self.counted.requests.fetch_add(1, Ordering::Relaxed);
        self.counted.bytes.fetch_add(request.body().len() as u64, Ordering::Relaxed);
        let (head, body) = self.inner.send(request).await?.into_parts();
        let counted = Arc::clone(&self.counted);
        let chunks = body.into_stream().inspect(move |chunk| {
            let length = chunk.as_ref().map_or(0, Bytes::len);
            counted.bytes.fetch_add(length as u64, Ordering::Relaxed);
        });
        Ok(http::Response::from_parts(head, Body::from_stream(chunks.boxed())))
    }
}
