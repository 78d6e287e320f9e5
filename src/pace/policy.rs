//! When to try again: a pure function of the error, the attempt, the time spent and a random number.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Retry};
use crate::pace::schedule::Schedule;

/// How randomness spreads a wait, so that clients that failed together do not come back together.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Jitter {
    /// The wait, plus up to this share of it: `0.3` adds up to 30 %.
    Added(f64),
    /// Half the wait, plus up to the other half. Right for throttling: it never comes near zero.
    Equal,
    /// Anything from zero to the wait. The least work for a CRM that has failed under load.
    Full,
    /// The wait itself.
    None,
}

impl Jitter {
    /// `wait`, spread by `random` (in `0.0..1.0`; anything else is clamped).
    pub fn apply(self, wait: Duration, random: f64) -> Duration {
        let random = if random.is_finite() { random.clamp(0.0, 1.0) } else { 0.0 };
        match self {
            Self::Added(share) => {
                let share = if share.is_finite() { share.clamp(0.0, 10.0) } else { 0.0 };
                wait.saturating_add(scaled(wait, random * share))
            }
            Self::Equal => wait / 2 + scaled(wait / 2, random),
            Self::Full => scaled(wait, random),
            Self::None => wait,
        }
    }
}

/// `wait * factor`; `factor` is finite, not negative and small, and so the product fits unless the wait fills the type.
fn scaled(wait: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(wait.as_secs_f64() * factor).unwrap_or(wait)
}

/// Whether a failed call is worth another attempt, and after what wait.
///
/// The default is one second, doubling, capped at sixty, plus up to 30 % jitter, five attempts in all.
///
/// | the error | the answer |
/// | --- | --- |
/// | [`Retry::Never`], [`Retry::Reauthenticate`] | no attempt: somebody must change something (tokens are renewed below this) |
/// | [`Error::may_have_applied`], and the call is not repeatable | no attempt: it might be done twice |
/// | [`Retry::After`] up to [`RetryPolicy::longest_hint`] | never before the CRM's time; a little after it |
/// | [`Retry::After`] beyond it | no attempt: park the work until then, spending no attempt |
/// | [`Retry::Backoff`] | the schedule, with jitter |
///
/// ```
/// # use std::time::Duration;
/// # use crm_sync::error::{Error, ErrorKind};
/// # use crm_sync::pace::RetryPolicy;
/// let policy = RetryPolicy::default();
/// let error = Error::new(ErrorKind::Unavailable, "the CRM is overloaded");
/// assert_eq!(policy.next_wait(&error, 1, Duration::ZERO, 0.0), Some(Duration::from_secs(1)));
/// assert_eq!(policy.next_wait(&error, 3, Duration::ZERO, 0.5), Some(Duration::from_millis(4_600)));
/// assert_eq!(policy.next_wait(&error, 5, Duration::ZERO, 0.5), None);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    initial: Duration,
    multiplier: f64,
    cap: Duration,
    attempts: u32,
    jitter: Jitter,
    throttle_jitter: Option<Jitter>,
    longest_hint: Duration,
    time_limit: Option<Duration>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(1),
            multiplier: 2.0,
            cap: Duration::from_secs(60),
            attempts: 5,
            jitter: Jitter::Added(0.3),
            throttle_jitter: None,
            longest_hint: Duration::from_secs(60),
            time_limit: None,
        }
    }
}

impl RetryPolicy {
    /// The default policy.
    pub fn new() -> Self {
        Self::default()
    }

    /// A policy that never tries again.
    pub fn never() -> Self {
        Self::default().attempts(1)
    }

    /// Full jitter after faults and equal jitter after throttling: the least load on a CRM that is struggling.
    pub fn full_jitter() -> Self {
        Self::default().jitter(Jitter::Full).throttle_jitter(Jitter::Equal)
    }

    /// The first wait.
    #[must_use]
    pub fn initial(mut self, initial: Duration) -> Self {
        self.initial = initial;
        self
    }

    /// What each wait is multiplied by. Below 1 counts as 1.
    #[must_use]
    pub fn multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// The longest scheduled wait, before jitter.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    /// How many attempts in all, the first included; 0 counts as 1.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The jitter.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The jitter after [`ErrorKind::RateLimited`] without a hint. Default: the same as for every other error.
    #[must_use]
    pub fn throttle_jitter(mut self, jitter: Jitter) -> Self {
        self.throttle_jitter = Some(jitter);
        self
    }

    /// The longest wait asked for by the CRM that is waited out in place. Default: sixty seconds.
    #[must_use]
    pub fn longest_hint(mut self, longest: Duration) -> Self {
        self.longest_hint = longest;
        self
    }

    /// The longest time from the first attempt to the end of a wait. Default: none.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = Some(limit);
        self
    }

    /// How many attempts in all.
    pub fn max_attempts(&self) -> u32 {
        self.attempts
    }

    /// The scheduled wait after attempt number `attempt` (the first is 1), without jitter.
    pub fn scheduled(&self, attempt: u32) -> Duration {
        // After a thousand steps even a timid multiplier has met its cap.
        let steps = attempt.saturating_sub(1).min(1_000) as usize;
        Schedule::new(self.initial, self.multiplier, self.cap).nth(steps).unwrap_or(self.cap)
    }

    /// The wait before the next attempt, or `None` if there should be none.
    ///
    /// `attempt` is how many attempts were made (1 after the first), `elapsed` the time since the first began, `random` a
    /// number in `0.0..1.0`. A write that may have been applied is never repeated; see [`RetryPolicy::next_wait_repeatable`].
    pub fn next_wait(&self, error: &Error, attempt: u32, elapsed: Duration, random: f64) -> Option<Duration> {
        if error.may_have_applied() {
            return None;
        }
        self.next_wait_repeatable(error, attempt, elapsed, random)
    }

    /// As [`RetryPolicy::next_wait`], for a call that does no harm when it is done twice: a read, an update to absolute values,
    /// a delete, a write addressed by an external key.
    pub fn next_wait_repeatable(&self, error: &Error, attempt: u32, elapsed: Duration, random: f64) -> Option<Duration> {
        if attempt >= self.attempts {
            return None;
        }
        let wait = match error.retry() {
            Retry::Never | Retry::Reauthenticate => return None,
            Retry::After(hint) if hint > self.longest_hint => return None,
            Retry::After(hint) => {
                // All clients were told the same moment; a tenth of the hint, at most five seconds, spreads them behind it.
                let spread = (hint / 10).min(Duration::from_secs(5));
                hint.saturating_add(Jitter::Full.apply(spread, random))
            }
            Retry::Backoff => {
                let throttled = error.kind() == ErrorKind::RateLimited;
                let jitter = if throttled { self.throttle_jitter.unwrap_or(self.jitter) } else { self.jitter };
                jitter.apply(self.scheduled(attempt), random)
            }
        };
        match self.time_limit {
            Some(limit) if elapsed.saturating_add(wait) > limit => None,
            _ => Some(wait),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn fault() -> Error {
        Error::new(ErrorKind::Network, "connection refused")
    }

    #[test]
    fn the_default_formula() {
        let policy = RetryPolicy::default();
        let low: Vec<_> = (1..=5).map(|attempt| policy.next_wait(&fault(), attempt, secs(0), 0.0)).collect();
        assert_eq!(low, [Some(secs(1)), Some(secs(2)), Some(secs(4)), Some(secs(8)), None]);
        let long = RetryPolicy::default().attempts(100);
        assert_eq!(long.next_wait(&fault(), 50, secs(0), 0.0), Some(secs(60)));
        assert_eq!(long.next_wait(&fault(), 50, secs(0), 1.0), Some(secs(78)));
        assert_eq!(long.scheduled(u32::MAX), secs(60));
        assert_eq!(long.scheduled(0), secs(1));
    }

    #[test]
    fn verdicts_are_kept() {
        let policy = RetryPolicy::default();
        for kind in
            [ErrorKind::Validation, ErrorKind::Authentication, ErrorKind::QuotaExhausted, ErrorKind::NotFound, ErrorKind::Unsupported]
        {
            assert_eq!(policy.next_wait(&Error::new(kind, "x"), 1, secs(0), 0.5), None, "{kind}");
        }
        assert_eq!(RetryPolicy::never().next_wait(&fault(), 1, secs(0), 0.5), None);
    }

    #[test]
    fn an_ambiguous_write_is_repeated_only_if_repeatable() {
        let error = Error::new(ErrorKind::Timeout, "no answer").ambiguous();
        let policy = RetryPolicy::default();
        assert_eq!(policy.next_wait(&error, 1, secs(0), 0.0), None);
        assert_eq!(policy.next_wait_repeatable(&error, 1, secs(0), 0.0), Some(secs(1)));
    }

    #[test]
    fn a_hint_is_a_lower_bound_and_a_long_one_defers() {
        let policy = RetryPolicy::default();
        let hinted = |seconds| Error::new(ErrorKind::RateLimited, "slow down").retrying(Retry::After(secs(seconds)));
        assert_eq!(policy.next_wait(&hinted(30), 1, secs(0), 0.0), Some(secs(30)));
        assert_eq!(policy.next_wait(&hinted(30), 1, secs(0), 1.0), Some(secs(33)));
        assert_eq!(policy.next_wait(&hinted(60), 1, secs(0), 1.0), Some(secs(65)));
        assert_eq!(policy.next_wait(&hinted(61), 1, secs(0), 0.0), None);
        assert_eq!(policy.clone().longest_hint(secs(90)).next_wait(&hinted(61), 1, secs(0), 0.0), Some(secs(61)));
        assert_eq!(policy.next_wait(&hinted(0), 1, secs(0), 0.9), Some(secs(0)));
    }

    #[test]
    fn throttling_may_have_a_jitter_of_its_own() {
        let policy = RetryPolicy::full_jitter();
        let throttled = Error::new(ErrorKind::RateLimited, "slow down");
        assert_eq!(policy.next_wait(&fault(), 1, secs(0), 0.0), Some(secs(0)));
        assert_eq!(policy.next_wait(&throttled, 1, secs(0), 0.0), Some(Duration::from_millis(500)));
    }

    #[test]
    fn the_time_limit_counts_the_wait() {
        let policy = RetryPolicy::default().time_limit(secs(10));
        assert_eq!(policy.next_wait(&fault(), 1, secs(9), 0.0), Some(secs(1)));
        assert_eq!(policy.next_wait(&fault(), 2, secs(9), 0.0), None);
    }

    proptest! {
        #[test]
        fn never_earlier_than_the_hint(millis in 0u64..60_000, random in 0.0f64..1.0, attempt in 1u32..5) {
            let hint = Duration::from_millis(millis);
            let error = Error::new(ErrorKind::Unavailable, "x").retrying(Retry::After(hint));
            for policy in [RetryPolicy::default(), RetryPolicy::full_jitter()] {
                let wait = policy.next_wait(&error, attempt, Duration::ZERO, random).unwrap();
                prop_assert!(wait >= hint && wait <= hint + secs(5));
            }
        }

        #[test]
        fn jitter_stays_in_its_range(millis in 0u64..10_000_000, random in any::<f64>()) {
            let wait = Duration::from_millis(millis);
            prop_assert!(Jitter::Full.apply(wait, random) <= wait);
            let equal = Jitter::Equal.apply(wait, random);
            prop_assert!(equal <= wait && equal >= wait / 2);
            let added = Jitter::Added(0.3).apply(wait, random);
            prop_assert!(added >= wait && added <= wait + wait * 3 / 10 + Duration::from_micros(1));
        }
    }
}
