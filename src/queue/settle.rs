//! How a lease ends.

use std::time::Duration;

use crate::queue::lease::LeaseToken;
use crate::queue::parked::Cause;

/// What happens with the entry after those that are done, and with the lane.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Then {
    /// The next `entries` entries go to the dead letters with `cause`; each keeps its place, for a replay. At least 1.
    ///
    /// With `freeze` the lane is not handed out until every entry that froze it was replayed or discarded; without, it goes on.
    Park {
        /// How many entries, from the first one that is not done. 0 counts as 1.
        entries: usize,
        /// Why.
        cause: Cause,
        /// Whether the lane stops.
        freeze: bool,
    },
    /// The lane waits so long from now on, in store time. No attempt is counted: the entry is not at fault (budget,
    /// credential, outage).
    Defer {
        /// How long.
        wait: Duration,
    },
    /// The lane is free at once. No attempt is counted.
    Release,
    /// The head has failed and is tried again after so long, in store time: one attempt more is counted, and it keeps its place
    /// at the head of its lane.
    Retry {
        /// How long.
        wait: Duration,
    },
}

/// The end of one lease: the first `done` entries are finished and gone; then.
///
/// `done` beyond the number of leased entries counts as that number. With nothing left of the lease, [`Then::Park`] and
/// [`Then::Retry`] are as [`Then::Release`]; [`Then::Defer`] still holds the lane's further entries back. Every applied settle
/// gives the lease back: its token is of no use afterwards. It sets the lane's deliveries to 0, and if the head has changed its
/// attempts too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settle {
    /// The lease.
    pub token: LeaseToken,
    /// How many of its entries, from the first one on, are finished.
    pub done: usize,
    /// What happens with the rest.
    pub then: Then,
}

impl Settle {
    /// The first `done` entries are finished; the rest is released.
    pub fn done(token: LeaseToken, done: usize) -> Self {
        Self { token, done, then: Then::Release }
    }

    /// Nothing was done; the lane is free at once.
    pub fn release(token: LeaseToken) -> Self {
        Self::done(token, 0)
    }

    /// Nothing is finished, and `then`.
    pub fn new(token: LeaseToken, then: Then) -> Self {
        Self { token, done: 0, then }
    }

    /// Sets [`Settle::then`].
    #[must_use]
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

/// What became of one settle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// It was done.
    Applied,
    /// The lease has ended in between, or was settled already: nothing was changed. Somebody else has the lane, or will.
    LeaseLost,
}
