//! An adapter that fails as told, and then works.

#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use crm_sync::adapter::{Association, BulkOp, BulkOutcome, Capabilities, CrmAdapter, Identity, WriteOptions, Written};
use crm_sync::error::{Error, Result};
use crm_sync::model::{Entity, ExternalKey, Fields, Record, RecordId};
use crm_sync::query::{Page, Query};

#[derive(Debug)]
pub(crate) struct Scripted {
    capabilities: Capabilities,
    errors: Mutex<VecDeque<Error>>,
    calls: Mutex<Vec<&'static str>>,
}

#[allow(dead_code, reason = "each test uses its part")]
impl Scripted {
    /// Gives these errors, one a call, and then answers.
    pub(crate) fn failing(errors: Vec<Error>) -> Self {
        Self::with(Capabilities::basic("Id"), errors)
    }

    pub(crate) fn with(capabilities: Capabilities, errors: Vec<Error>) -> Self {
        Self { capabilities, errors: Mutex::new(errors.into()), calls: Mutex::default() }
    }

    pub(crate) fn calls(&self) -> usize {
        self.calls.lock().unwrap().len()
    }

    pub(crate) fn operations(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    /// Forgets the errors that are left.
    pub(crate) fn forget(&self) {
        self.errors.lock().unwrap().clear();
    }

    fn answer<T>(&self, operation: &'static str, value: T) -> Result<T> {
        self.calls.lock().unwrap().push(operation);
        match self.errors.lock().unwrap().pop_front() {
            Some(error) => Err(error),
            None => Ok(value),
        }
    }
}

#[async_trait]
impl CrmAdapter for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn authenticate(&self) -> Result<Identity> {
        self.answer("authenticate", Identity::new())
    }

    async fn search(&self, _query: &Query) -> Result<Page<Record>> {
        self.answer("search", Page::last(Vec::new()))
    }

    async fn create(&self, _entity: &Entity, _fields: &Fields, _options: &WriteOptions) -> Result<Written> {
        self.answer("create", Written::new(RecordId::new("new")).created(true))
    }

    async fn update(&self, _entity: &Entity, id: &RecordId, _fields: &Fields, _options: &WriteOptions) -> Result<Written> {
        self.answer("update", Written::new(id.clone()).created(false))
    }

    async fn delete(&self, _entity: &Entity, _id: &RecordId, _options: &WriteOptions) -> Result<()> {
        self.answer("delete", ())
    }

    async fn upsert(&self, _entity: &Entity, _key: &ExternalKey, _fields: &Fields, _options: &WriteOptions) -> Result<Written> {
        self.answer("upsert", Written::new(RecordId::new("keyed")))
    }

    async fn bulk(&self, _entity: &Entity, ops: &[BulkOp], _options: &WriteOptions) -> Result<Vec<BulkOutcome>> {
        self.answer("bulk", ops.iter().map(|_| Ok(Written::new(RecordId::new("row")))).collect())
    }

    async fn associate(&self, _link: &Association) -> Result<()> {
        self.answer("associate", ())
    }
}
