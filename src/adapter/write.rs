//! Options and results of writes.

use serde::{Deserialize, Serialize};

use crate::model::{Fields, RecordId, Version};

/// Options of a write. The default asks for nothing special.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct WriteOptions {
    /// Write only if the record still has this version ([`crate::error::ErrorKind::Conflict`] otherwise).
    pub if_version: Option<Version>,
    /// A key that makes the call repeatable, where the CRM knows such keys.
    pub idempotency_key: Option<String>,
    /// The vendor's own switches (an assignment rule, an owner rotation), by the names its adapter documents.
    pub native: Fields,
}

impl WriteOptions {
    /// No option set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`WriteOptions::if_version`].
    #[must_use]
    pub fn if_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Sets [`WriteOptions::idempotency_key`].
    #[must_use]
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Sets one of [`WriteOptions::native`].
    #[must_use]
    pub fn native(mut self, name: &str, value: impl Into<serde_json::Value>) -> Self {
        self.native.insert(name, value);
        self
    }
}

/// What the CRM said of a write that succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Written {
    /// The record.
    pub id: RecordId,
    /// Whether it is new; `None` if the CRM does not say.
    pub created: Option<bool>,
    /// Its version after the write, if the CRM says.
    pub version: Option<Version>,
}

impl Written {
    /// A write of `id`, nothing else known.
    pub fn new(id: RecordId) -> Self {
        Self { id, created: None, version: None }
    }

    /// Says whether the record is new.
    #[must_use]
    pub fn created(mut self, created: bool) -> Self {
        self.created = Some(created);
        self
    }
}
