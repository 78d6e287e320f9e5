//! Exponential waits. The one file that names the `backoff` crate, so that it can be replaced here alone.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff;

/// A cap above this is lowered to it: the arithmetic below works in nanoseconds of a double.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Endless waits: `initial`, then each `multiplier` times the one before, never above `cap`. Without jitter.
///
/// ```
/// # use std::time::Duration;
/// # use crm_sync::pace::Schedule;
/// let waits: Vec<u64> = Schedule::new(Duration::from_secs(1), 2.0, Duration::from_secs(5)).take(4).map(|wait| wait.as_secs()).collect();
/// assert_eq!(waits, [1, 2, 4, 5]);
/// ```
#[derive(Clone, Debug)]
pub struct Schedule {
    inner: ExponentialBackoff,
    cap: Duration,
}

impl Schedule {
    /// The waits that start with `initial`. A multiplier below 1 (or no number) counts as 1; a cap above thirty days counts as
    /// thirty days; an `initial` above the cap counts as the cap.
    pub fn new(initial: Duration, multiplier: f64, cap: Duration) -> Self {
        let cap = cap.min(LONGEST);
        let initial = initial.min(cap);
        let inner = ExponentialBackoff {
            current_interval: initial,
            initial_interval: initial,
            // Jitter and the time limit are the policy's, from the host's randomness and clock, so that runs repeat.
            randomization_factor: 0.0,
            multiplier: if multiplier.is_finite() && multiplier >= 1.0 { multiplier } else { 1.0 },
            max_interval: cap,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        Self { inner, cap }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let wait = self.inner.next_backoff()?;
        // The crate adds up to one nanosecond of noise even at factor 0; whole microseconds take it away.
        let micros = u64::try_from(wait.as_nanos() / 1_000).unwrap_or(u64::MAX);
        Some(Duration::from_micros(micros).min(self.cap))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn doubles_to_the_cap_and_stays() {
        let waits: Vec<_> = Schedule::new(Duration::from_secs(1), 2.0, Duration::from_secs(60)).take(2_000).collect();
        let seconds: Vec<_> = waits.iter().take(8).map(Duration::as_secs).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert!(waits.iter().skip(6).all(|wait| *wait == Duration::from_secs(60)));
    }

    #[test]
    fn odd_settings_are_tamed() {
        let first = |initial, multiplier, cap| Schedule::new(initial, multiplier, cap).nth(1).unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(first(second, f64::NAN, second * 9), second);
        assert_eq!(first(second, -3.0, second * 9), second);
        assert_eq!(first(second * 20, 2.0, second * 9), second * 9);
        assert_eq!(first(Duration::ZERO, 2.0, second), Duration::ZERO);
        assert_eq!(Schedule::new(Duration::MAX, 2.0, Duration::MAX).nth(3).unwrap(), LONGEST);
    }

    proptest! {
        #[test]
        fn never_shrinks_and_never_passes_the_cap(initial in 0u64..100_000, multiplier in 1.0f64..10.0, cap in 1u64..1_000_000) {
            let cap = Duration::from_millis(cap);
            let waits: Vec<_> = Schedule::new(Duration::from_millis(initial), multiplier, cap).take(50).collect();
            prop_assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
            prop_assert!(waits.iter().all(|wait| *wait <= cap));
        }
    }
}
