//! Jobs: many writes that the CRM carries out in its own time.

use serde::{Deserialize, Serialize};

/// What finds a job of the CRM again, in another process too: plain data that only the adapter reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobTicket(String);

impl JobTicket {
    /// A ticket of what the adapter needs to find the job.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What the adapter wrote.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// When a job is the better way for writes of one kind, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobTerms {
    /// From how many operations on a job is meant to be used.
    pub from: usize,
    /// The most operations of one job.
    pub most: usize,
    /// About how many API calls one job takes, looks at its state included.
    pub calls: usize,
}

impl JobTerms {
    /// Jobs of `from` to `most` operations at about `calls` calls each.
    pub const fn new(from: usize, most: usize, calls: usize) -> Self {
        Self { from, most, calls }
    }
}
