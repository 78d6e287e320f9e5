//! Tells of every call.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::error::Result;
use crate::host::Host;
use crate::layer::api::{Call, Middleware};
use crate::observe::{Event, Observer};

/// Emits one [`Event::Call`] when a call ends; a call that is dropped before has no event.
#[derive(Clone, Debug)]
pub struct Observe {
    host: Host,
    observer: Arc<dyn Observer>,
}

impl Observe {
    /// Tells `observer`; the host's clock measures.
    pub fn new(host: Host, observer: impl Observer + 'static) -> Self {
        Self { host, observer: Arc::new(observer) }
    }
}

impl Middleware for Observe {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let started = self.host.monotonic();
        let result = run().await;
        self.observer.on(&Event::Call {
            adapter: call.adapter,
            operation: call.operation,
            entity: call.entity,
            records: call.records,
            elapsed: self.host.monotonic().saturating_sub(started),
            error: result.as_ref().err(),
        });
        result
    }
}
