//! How a queue stands.

use jiff::Timestamp;

/// A queue in numbers, at one moment of store time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueStats {
    /// Store time.
    pub now: Timestamp,
    /// Entries that are not settled, leased ones included; without the parked ones.
    pub entries: u64,
    /// Lanes with such entries.
    pub lanes: u64,
    /// Lanes with a lease that has not ended.
    pub leased: u64,
    /// Lanes that a parked entry stops.
    pub frozen: u64,
    /// Entries in the dead letters.
    pub parked: u64,
    /// When the oldest entry that is not settled was enqueued.
    pub oldest: Option<Timestamp>,
    /// The same by scope, in the order of the names; scopes without entries are left out.
    pub scopes: Vec<ScopeStats>,
}

impl QueueStats {
    /// An empty queue at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { now, entries: 0, lanes: 0, leased: 0, frozen: 0, parked: 0, oldest: None, scopes: Vec::new() }
    }
}

/// One scope in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScopeStats {
    /// Its name.
    pub scope: String,
    /// Entries that are not settled.
    pub entries: u64,
    /// When the oldest of them was enqueued.
    pub oldest: Option<Timestamp>,
}

impl ScopeStats {
    /// A scope.
    pub fn new(scope: impl Into<String>, entries: u64, oldest: Option<Timestamp>) -> Self {
        Self { scope: scope.into(), entries, oldest }
    }
}
