//! The listener and what it hears.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::error::Error;
use crate::model::{Entity, RecordId};

/// Hears what happens.
///
/// Called in the middle of the work, on whichever thread polls it: count, send to a channel, write to a log facade; do not
/// block. It is object-safe, and implemented for `Arc<T>`, `Box<T>`, `&T` and for pairs, which hear both.
pub trait Observer: Debug + Send + Sync {
    /// Hears one event.
    fn on(&self, event: &Event<'_>);
}

/// One thing that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A write whose outcome is unknown was put aside.
    Ambiguous {
        /// The kind of record.
        entity: &'a Entity,
        /// The host's id of the record.
        local: &'a str,
        /// Why it is unknown.
        error: &'a Error,
    },
    /// A breaker changed its state.
    Breaker {
        /// The adapter's name.
        adapter: &'a str,
        /// What it does now.
        step: BreakerStep,
    },
    /// An adapter call ended.
    Call {
        /// The adapter's name.
        adapter: &'a str,
        /// `create`, `search`, ...
        operation: &'static str,
        /// The kind of record, if the call has one.
        entity: Option<&'a Entity>,
        /// How many records the call carries; 1 for a single one.
        records: usize,
        /// From first try to last answer, waits included, as far as the observing layer sees them.
        elapsed: Duration,
        /// The error, if it failed.
        error: Option<&'a Error>,
    },
    /// Both sides changed the same fields.
    Conflict {
        /// The kind of record.
        entity: &'a Entity,
        /// The record's id in the CRM.
        record: &'a RecordId,
        /// The fields, in the CRM's spelling.
        fields: &'a [String],
    },
    /// Fields of a record went back and forth between both sides; it is no longer written until it is freed.
    Frozen {
        /// The kind of record.
        entity: &'a Entity,
        /// The host's id of the record.
        local: &'a str,
        /// The fields, in the CRM's spelling.
        fields: &'a [String],
    },
    /// A log of changes has a hole: it no longer keeps the place where a reader stands, or says itself that it left something out.
    /// What it did not tell is read again from the CRM.
    LogLost {
        /// The adapter's name.
        adapter: &'a str,
        /// The kind of record.
        entity: &'a Entity,
        /// From when on it is read again, by the CRM's clock; `None` from the first record.
        since: Option<Timestamp>,
    },
    /// So many records are missing, or are said to be deleted, that the source is in doubt and not the records: none is taken as
    /// deleted until a person has looked. Told again by each look that finds it so.
    MassDelete {
        /// The adapter's name.
        adapter: &'a str,
        /// The kind of record.
        entity: &'a Entity,
        /// How many are missing.
        missing: usize,
        /// How many are linked.
        known: usize,
    },
    /// A record has likely counterparts in the CRM.
    Duplicate {
        /// The kind of record.
        entity: &'a Entity,
        /// The host's id of the record.
        local: &'a str,
        /// The counterparts, best first.
        candidates: &'a [RecordId],
    },
    /// A change came back that was our own write; it, or its fields that were, are dropped.
    Echo {
        /// The kind of record.
        entity: &'a Entity,
        /// The record's id in the CRM.
        record: &'a RecordId,
        /// How many fields were our own.
        fields: usize,
        /// True if nothing else was in the change.
        whole: bool,
    },
    /// A call is about to be tried again.
    Retry {
        /// The adapter's name.
        adapter: &'a str,
        /// `create`, `search`, ...
        operation: &'static str,
        /// The kind of record, if the call has one.
        entity: Option<&'a Entity>,
        /// How many attempts were made.
        attempt: u32,
        /// The wait before the next.
        wait: Duration,
        /// Why the last one failed.
        error: &'a Error,
    },
    /// A record went through a pipeline.
    Synced {
        /// The kind of record.
        entity: &'a Entity,
        /// `create`, `update`, `delete`, `skip`, ...
        operation: &'static str,
        /// How it ended.
        outcome: Outcome,
        /// The time it took.
        elapsed: Duration,
    },
    /// A call waits for its turn under a rate limit.
    Throttle {
        /// The adapter's name.
        adapter: &'a str,
        /// `create`, `search`, ...
        operation: &'static str,
        /// The kind of record, if the call has one.
        entity: Option<&'a Entity>,
        /// The wait.
        wait: Duration,
    },
    /// A credential was renewed, or could not be.
    Token {
        /// The connection's name.
        adapter: &'a str,
        /// What happened to it.
        step: TokenStep,
    },
    /// A webhook arrived.
    Webhook {
        /// The sender's name.
        source: &'a str,
        /// What became of it.
        outcome: WebhookOutcome,
        /// How many changes it carried.
        changes: usize,
    },
}

impl Event<'_> {
    /// A stable lower-case word for the kind of event, for labels.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ambiguous { .. } => "ambiguous",
            Self::Breaker { .. } => "breaker",
            Self::Call { .. } => "call",
            Self::Conflict { .. } => "conflict",
            Self::Duplicate { .. } => "duplicate",
            Self::Frozen { .. } => "frozen",
            Self::LogLost { .. } => "log_lost",
            Self::MassDelete { .. } => "mass_delete",
            Self::Echo { .. } => "echo",
            Self::Retry { .. } => "retry",
            Self::Synced { .. } => "synced",
            Self::Throttle { .. } => "throttle",
            Self::Token { .. } => "token",
            Self::Webhook { .. } => "webhook",
        }
    }

    /// The kind of record concerned.
    pub fn entity(&self) -> Option<&Entity> {
        match self {
            Self::Ambiguous { entity, .. }
            | Self::Conflict { entity, .. }
            | Self::Duplicate { entity, .. }
            | Self::Frozen { entity, .. }
            | Self::LogLost { entity, .. }
            | Self::MassDelete { entity, .. }
            | Self::Echo { entity, .. }
            | Self::Synced { entity, .. } => Some(entity),
            Self::Call { entity, .. } | Self::Retry { entity, .. } | Self::Throttle { entity, .. } => *entity,
            Self::Breaker { .. } | Self::Token { .. } | Self::Webhook { .. } => None,
        }
    }
}

/// How a record's way through a pipeline ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It failed.
    Failed,
    /// It waits for a person or a later time.
    Parked,
    /// There was nothing to do.
    Skipped,
    /// It was carried out.
    Succeeded,
}

impl Outcome {
    /// A stable lower-case word, for labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Parked => "parked",
            Self::Skipped => "skipped",
            Self::Succeeded => "succeeded",
        }
    }
}

/// What a breaker does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BreakerStep {
    /// Calls go out again.
    Closed,
    /// No call goes out.
    Opened,
    /// One call goes out, to see.
    Probing,
}

/// What happened to a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenStep {
    /// It could not be renewed.
    Refused,
    /// It was renewed.
    Renewed,
}

/// What became of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WebhookOutcome {
    /// It was verified and handed on.
    Accepted,
    /// It was seen before.
    Repeated,
    /// Its signature was refused.
    Refused,
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ignore;

impl Observer for Ignore {
    fn on(&self, _event: &Event<'_>) {}
}

impl<T: Observer + ?Sized> Observer for Arc<T> {
    fn on(&self, event: &Event<'_>) {
        (**self).on(event);
    }
}

impl<T: Observer + ?Sized> Observer for Box<T> {
    fn on(&self, event: &Event<'_>) {
        (**self).on(event);
    }
}

impl<T: Observer + ?Sized> Observer for &T {
    fn on(&self, event: &Event<'_>) {
        (**self).on(event);
    }
}

impl<A: Observer, B: Observer> Observer for (A, B) {
    fn on(&self, event: &Event<'_>) {
        self.0.on(event);
        self.1.on(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn object_safe() {
        fn takes(_: &dyn Observer) {}
        takes(&Ignore);
        takes(&(Arc::new(Ignore) as Arc<dyn Observer>));
    }
}
