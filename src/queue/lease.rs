//! What a worker asks for, and what it is handed.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::queue::entry::Entry;
use crate::queue::lane::Lane;

/// The longest lease that is given; a longer wish is cut to it: 24 hours.
pub const MAX_TTL: Duration = Duration::from_secs(24 * 3600);

/// What a worker asks for.
///
/// A lane can be claimed if all of this holds at the store's time:
/// * it has an entry, it is not frozen, and no lease of it is out (an expired lease is not out);
/// * its head (its oldest entry) is due: its `not_before` has come, and so has the time of the last
///   [`crate::queue::Then::Retry`] or [`crate::queue::Then::Defer`];
/// * the head's scope is not in [`Claim::skip_scopes`] and its kind is in [`Claim::kinds`].
///
/// Lanes come in the order of their heads: higher priority first, then the older entry (smaller id) first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Claim {
    /// Who asks: random per worker, for people to read. Nothing depends on it.
    pub worker: String,
    /// At most so many lanes. Default: 100.
    pub lanes: usize,
    /// At most so many entries of each lane, from the head on without a gap. Default: 20. 0 counts as 1.
    pub entries: usize,
    /// How long the leases last. Default: 60 s. At most [`MAX_TTL`].
    pub ttl: Duration,
    /// Budget scopes that must not be handed out now, because their allowance is spent. Default: none.
    pub skip_scopes: Vec<String>,
    /// Only entries of these kinds; empty means all. Default: empty.
    pub kinds: Vec<String>,
}

impl Claim {
    /// A claim by `worker` with the defaults.
    pub fn new(worker: impl Into<String>) -> Self {
        Self { worker: worker.into(), lanes: 100, entries: 20, ttl: Duration::from_secs(60), skip_scopes: Vec::new(), kinds: Vec::new() }
    }

    /// Sets [`Claim::lanes`].
    #[must_use]
    pub fn lanes(mut self, lanes: usize) -> Self {
        self.lanes = lanes;
        self
    }

    /// Sets [`Claim::entries`].
    #[must_use]
    pub fn entries(mut self, entries: usize) -> Self {
        self.entries = entries;
        self
    }

    /// Sets [`Claim::ttl`].
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets [`Claim::skip_scopes`].
    #[must_use]
    pub fn skip_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.skip_scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Sets [`Claim::kinds`].
    #[must_use]
    pub fn kinds<S: Into<String>>(mut self, kinds: impl IntoIterator<Item = S>) -> Self {
        self.kinds = kinds.into_iter().map(Into::into).collect();
        self
    }

    /// Whether an entry of this scope and kind may be handed out.
    pub fn wants(&self, scope: &str, kind: &str) -> bool {
        !self.skip_scopes.iter().any(|skipped| skipped == scope)
            && (self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind))
    }
}

/// Proves that one holds a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeaseToken {
    /// The lane that is leased.
    pub lane: Lane,
    /// The fencing number: each lease of a lane has a greater one than any lease of that lane before, for ever (also after the
    /// lane was empty, and over restarts of the queue).
    pub fence: u64,
}

/// Head entries of one lane, handed to one holder until it settles or the time is over.
///
/// While it is out nobody else is handed the lane. When its time is over it simply can be claimed again: there is no reaper and
/// no heartbeat of workers. What is enqueued into the lane meanwhile waits behind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The proof.
    pub token: LeaseToken,
    /// When it ends, in store time.
    pub expires: Timestamp,
    /// How often in a row, this time included, the lane was handed out without the lease being settled: 1 normally. More means
    /// that earlier holders died or were too slow; an entry that kills its worker shows here.
    pub deliveries: u32,
    /// How often the head was settled with [`crate::queue::Then::Retry`] so far: 0 at first.
    pub attempts: u32,
    /// The entries, oldest first, never empty: the longest prefix of the lane of at most [`Claim::entries`] entries which are
    /// all due and wanted ([`Claim::wants`]).
    pub entries: Vec<Entry>,
}

impl Lease {
    /// A lease, for those who write a queue.
    pub fn new(token: LeaseToken, expires: Timestamp, deliveries: u32, attempts: u32, entries: Vec<Entry>) -> Self {
        Self { token, expires, deliveries, attempts, entries }
    }

    /// Its lane.
    pub fn lane(&self) -> &Lane {
        &self.token.lane
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_wants_what_it_names() {
        let claim = Claim::new("w").skip_scopes(["a"]).kinds(["record"]);
        assert!(claim.wants("b", "record") && !claim.wants("a", "record") && !claim.wants("b", "other"));
        assert!(Claim::new("w").wants("a", "other"));
    }
}
