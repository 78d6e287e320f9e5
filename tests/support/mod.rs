//! A store and a transport that die at a chosen moment, as a process does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking, like the tests"
)]
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part of this module")]

pub mod mortal_queue;
pub mod org;
pub mod pausing;
pub mod virtual_time;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use crm_sync::error::{Error, Result};
use crm_sync::http::{Body, HttpError, HttpErrorKind, HttpTransport};
use crm_sync::store::{Batch, Key, Row, Store, StoreCapabilities};
use jiff::Timestamp;

/// Where in the history the process dies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Death {
    /// Before the step is done.
    Before(u64),
    /// After it is done, before anybody hears of it.
    After(u64),
}

/// Counts the steps of one life: commits to the store and requests to the CRM.
#[derive(Debug)]
pub struct Life {
    death: Option<Death>,
    steps: AtomicU64,
    dead: AtomicU64,
}

impl Life {
    pub fn new(death: Option<Death>) -> Arc<Self> {
        Arc::new(Self { death, steps: AtomicU64::new(0), dead: AtomicU64::new(0) })
    }

    pub fn is_dead(&self) -> bool {
        self.dead.load(Ordering::SeqCst) != 0
    }

    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::SeqCst)
    }

    /// Whether the next step is done, and whether its caller hears of it.
    pub fn step(&self) -> (bool, bool) {
        if self.is_dead() {
            return (false, false);
        }
        let step = self.steps.fetch_add(1, Ordering::SeqCst);
        match self.death {
            Some(Death::Before(at)) if at == step => {
                self.dead.store(1, Ordering::SeqCst);
                (false, false)
            }
            Some(Death::After(at)) if at == step => {
                self.dead.store(1, Ordering::SeqCst);
                (true, false)
            }
            _ => (true, true),
        }
    }
}

#[derive(Debug)]
pub struct MortalStore {
    pub inner: Arc<dyn Store>,
    pub life: Arc<Life>,
}

fn dead() -> Error {
    // Nothing retries: the process is gone.
    Error::store("the process died").retrying(crm_sync::error::Retry::Never)
}

#[async_trait]
impl Store for MortalStore {
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
        match self.life.step() {
            (true, true) => self.inner.commit(batch).await,
            (true, false) => {
                self.inner.commit(batch).await?;
                Err(dead())
            }
            (false, _) => Err(dead()),
        }
    }

    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
        if self.life.is_dead() { Err(dead()) } else { self.inner.load_many(keys).await }
    }

    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
        if self.life.is_dead() { Err(dead()) } else { self.inner.scan(prefix, after, limit).await }
    }

    async fn now(&self) -> Result<Timestamp> {
        if self.life.is_dead() { Err(dead()) } else { self.inner.now().await }
    }

    fn capabilities(&self) -> StoreCapabilities {
        self.inner.capabilities()
    }
}

#[derive(Debug)]
pub struct MortalTransport {
    pub inner: Arc<dyn HttpTransport>,
    pub life: Arc<Life>,
}

#[async_trait]
impl HttpTransport for MortalTransport {
    async fn send(&self, request: http::Request<Bytes>) -> std::result::Result<http::Response<Body>, HttpError> {
        let gone = || HttpError::new(HttpErrorKind::Request, "the process died");
        match self.life.step() {
            (true, true) => self.inner.send(request).await,
            (true, false) => {
                let _ = self.inner.send(request).await;
                Err(gone())
            }
            (false, _) => Err(gone()),
        }
    }
}
