//! Wall time and a monotonic mark.

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Tells the time. Waits and deadlines use [`Clock::monotonic`], which wall-clock jumps do not move.
pub trait Clock: Debug + Send + Sync {
    /// The wall clock.
    fn now(&self) -> Timestamp;
    /// Time since some fixed point; never goes back.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic mark starts now.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the real clock")]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the real clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that moves when told to.
#[derive(Debug)]
pub struct ManualClock {
    at: Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self { at: Mutex::new((now, Duration::ZERO)) }
    }

    /// Moves both hands forward. A wall clock at the end of jiff's range stays there.
    pub fn advance(&self, by: Duration) {
        let mut at = self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        at.0 = at.0.checked_add(by).unwrap_or(Timestamp::MAX);
        at.1 = at.1.saturating_add(by);
    }

    /// Sets the wall clock alone, as an administrator or a bad time server does.
    pub fn set_wall(&self, now: Timestamp) {
        self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0 = now;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Duration {
        self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner).1
    }
}
