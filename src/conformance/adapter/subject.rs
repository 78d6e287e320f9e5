//! What the checks work with.

use std::fmt;
use std::time::Duration;

use crate::host::Host;
use crate::model::{Entity, Fields};

pub(super) type Sample = Box<dyn Fn(u64) -> Fields + Send + Sync>;

/// What the checks work with: one entity of the CRM, and how to make records of it.
pub struct Subject {
    pub(super) entity: Entity,
    pub(super) text: String,
    pub(super) sample: Sample,
    pub(super) clearable: Option<String>,
    pub(super) number: Option<String>,
    pub(super) key: Option<String>,
    pub(super) first: u64,
    pub(super) lag: Option<(Host, Duration)>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("entity", &self.entity).field("text", &self.text).finish_non_exhaustive()
    }
}

impl Subject {
    /// Records of `entity`. `sample(n)` gives fields that a create accepts; two different `n` differ in the field `text`, a
    /// searchable text of at least eight characters that a search finds again.
    pub fn new(entity: Entity, text: impl Into<String>, sample: impl Fn(u64) -> Fields + Send + Sync + 'static) -> Self {
        Self { entity, text: text.into(), sample: Box::new(sample), clearable: None, number: None, key: None, first: 1, lag: None }
    }

    /// A field of the samples that is filled, and may be emptied.
    #[must_use]
    pub fn clearable(mut self, field: impl Into<String>) -> Self {
        self.clearable = Some(field.into());
        self
    }

    /// A searchable number among the fields of the samples; `sample(n)` holds a larger one for a larger `n`.
    #[must_use]
    pub fn number(mut self, field: impl Into<String>) -> Self {
        self.number = Some(field.into());
        self
    }

    /// A unique field of the samples by which an upsert finds its record. Needed if the adapter claims `upsert`.
    #[must_use]
    pub fn key(mut self, field: impl Into<String>) -> Self {
        self.key = Some(field.into());
        self
    }

    /// The `n` of the first sample (default 1); some dozens are used. Take another one for each run against an account that
    /// keeps what earlier runs left.
    #[must_use]
    pub fn starting_at(mut self, n: u64) -> Self {
        self.first = n;
        self
    }

    /// How long to wait before a search, for adapters that do not find at once what was written.
    #[must_use]
    pub fn search_lag(mut self, host: Host, lag: Duration) -> Self {
        self.lag = Some((host, lag));
        self
    }
}
