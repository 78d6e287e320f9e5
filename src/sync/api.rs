//! What goes into the pipeline and what comes out.

use crate::error::Error;
use crate::model::{Fields, RecordId};
use crate::sync::plan::Action;

/// A record of the host.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Incoming {
    /// The host's id; never reused for another record.
    pub id: String,
    /// The host's fields, in the host's words.
    pub fields: Fields,
    /// Ids of records that were found to be the same as this one: a link of any of them is this one's link.
    pub aliases: Vec<String>,
    /// Why a person should look at it first; such a record is planned as [`crate::sync::Action::Review`] and not written.
    pub hold: Option<String>,
}

impl Incoming {
    /// A record on its own.
    pub fn new(id: impl Into<String>, fields: Fields) -> Self {
        Self { id: id.into(), fields, aliases: Vec::new(), hold: None }
    }

    /// Adds the ids of the records it stands for.
    #[must_use]
    pub fn aliases(mut self, aliases: Vec<String>) -> Self {
        self.aliases = aliases;
        self
    }

    /// Holds it back for review.
    #[must_use]
    pub fn hold(mut self, reason: impl Into<String>) -> Self {
        self.hold = Some(reason.into());
        self
    }
}

/// What became of one planned write.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Nobody knows whether the write happened, and it is not safe to repeat. The intent stays open; [`crate::sync::Engine::resolve`]
    /// answers it where the guarantee allows.
    Ambiguous(Error),
    /// The record is new in the CRM.
    Created(RecordId),
    /// The CRM refused it.
    Failed(Error),
    /// The record was synced by somebody else since the plan was made; plan again.
    Moved,
    /// Nothing was to be written ([`crate::sync::Engine::batch`] only).
    NotWritten {
        /// Skip, review or invalid.
        action: Action,
        /// Why.
        reason: String,
    },
    /// The record was changed.
    Updated(RecordId),
}

/// One planned write, done or not.
#[derive(Debug)]
#[non_exhaustive]
pub struct Applied {
    /// The host's id.
    pub local: String,
    /// What became of it.
    pub outcome: Outcome,
}

/// What [`crate::sync::Engine::resolve`] found out about writes that got no answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolved {
    /// Writes that had happened: now linked.
    pub applied: usize,
    /// Writes that had not happened: the next plan has them again.
    pub not_applied: usize,
    /// Writes that still nobody can tell.
    pub unknown: usize,
    /// Searches made.
    pub read_calls: u64,
}
