//! A rate limit as arithmetic on clock values (GCRA, the token bucket without a counter).

use std::time::Duration;

/// "At most `limit` calls in any `per`".
///
/// A plain token bucket that holds `limit` tokens and refills `limit` per window lets twice the limit through in one window:
/// the full bucket, and the refill. Vendors count both. So the burst is part of the limit here: `burst` calls may go at once,
/// and the rest of the limit is spread over the window, such that **no** window of length `per`, wherever it begins, sees more
/// than `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    limit: u32,
    per: Duration,
    burst: u32,
}

impl Window {
    /// At most `limit` calls in any `per`, a tenth of them (at least one) at once. A limit of 0 counts as 1, and a `per` of
    /// zero as one nanosecond.
    pub fn new(limit: u32, per: Duration) -> Self {
        let limit = limit.max(1);
        Self { limit, per: per.max(Duration::from_nanos(1)), burst: (limit / 10).max(1) }
    }

    /// At most `limit` a second.
    pub fn per_second(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(1))
    }

    /// At most `limit` a day.
    pub fn per_day(limit: u32) -> Self {
        Self::new(limit, Duration::from_secs(24 * 60 * 60))
    }

    /// How many calls may go at once, from 1 to the limit. A larger burst makes the calls after it slower.
    #[must_use]
    pub fn burst(mut self, burst: u32) -> Self {
        self.burst = burst.clamp(1, self.limit);
        self
    }

    /// The limit.
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// How many calls may go at once.
    pub fn most_at_once(&self) -> u32 {
        self.burst
    }

    /// The length of the window.
    pub fn per(&self) -> Duration {
        self.per
    }

    /// Nanoseconds between two calls once the burst is spent: a window that opens with a full burst holds `burst` calls plus
    /// one for each interval that begins and ends inside it.
    fn interval(&self) -> u128 {
        self.per.as_nanos().div_ceil(u128::from(self.limit - self.burst + 1))
    }
}

/// Several windows at once, on the host's monotonic clock.
///
/// `now` is [`Host::monotonic`](crate::host::Host::monotonic). Answers are waits from `now`.
///
/// ```
/// # use std::time::Duration;
/// # use crm_sync::pace::{Bucket, Window};
/// let mut bucket = Bucket::new([Window::per_second(10).burst(1)]);
/// let now = Duration::from_secs(7);
/// assert_eq!(bucket.reserve(now, 1), Duration::ZERO);
/// assert_eq!(bucket.reserve(now, 1), Duration::from_millis(100));
/// assert_eq!(bucket.reserve(now, 1), Duration::from_millis(200));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Bucket {
    lanes: Vec<Lane>,
    /// Nothing goes before this mark, in nanoseconds.
    paused_until: u128,
    /// What the CRM says is left of an allowance, and the mark at which it is renewed.
    allowance: Option<(u64, u128)>,
}

#[derive(Clone, Copy, Debug)]
struct Lane {
    window: Window,
    /// The theoretical arrival time: when this lane would be idle again.
    idle_at: u128,
}

impl Lane {
    /// The earliest mark, from `from` on, at which `cost` conforms.
    fn earliest(&self, from: u128, cost: u32) -> u128 {
        let interval = self.window.interval();
        let after = self.idle_at.max(from) + interval * u128::from(cost);
        after.saturating_sub(interval * u128::from(self.window.burst)).max(from)
    }

    fn take(&mut self, at: u128, cost: u32) {
        self.idle_at = self.idle_at.max(at) + self.window.interval() * u128::from(cost);
    }
}

impl Bucket {
    /// A bucket that keeps every one of `windows`; without a window it never waits.
    pub fn new(windows: impl IntoIterator<Item = Window>) -> Self {
        let lanes = windows.into_iter().map(|window| Lane { window, idle_at: 0 }).collect();
        Self { lanes, paused_until: 0, allowance: None }
    }

    /// A bucket of `windows` of which so much is reserved already, as [`Bucket::reserved`] told; a window without a mark is idle.
    pub fn resumed(windows: impl IntoIterator<Item = Window>, reserved: &[Duration]) -> Self {
        let mut bucket = Self::new(windows);
        for (lane, mark) in bucket.lanes.iter_mut().zip(reserved) {
            lane.idle_at = mark.as_nanos();
        }
        bucket
    }

    /// For each window the mark at which it is idle again: all that has to be kept of it.
    pub fn reserved(&self) -> Vec<Duration> {
        self.lanes.iter().map(|lane| nanos(lane.idle_at)).collect()
    }

    /// How long a call of `cost` would have to wait. Takes nothing.
    ///
    /// A cost above a window's burst waits until its share has gathered, and keeps the limit too as long as it is not above the
    /// limit itself.
    pub fn wait(&self, now: Duration, cost: u32) -> Duration {
        let now = now.as_nanos();
        nanos(self.earliest(now, cost.max(1)).saturating_sub(now))
    }

    /// Takes `cost` (0 counts as 1) and says how long to wait before the call. What is reserved stays taken, even if the call
    /// is then given up: the limit is kept, a little of it is lost.
    pub fn reserve(&mut self, now: Duration, cost: u32) -> Duration {
        let (now, cost) = (now.as_nanos(), cost.max(1));
        let at = self.earliest(now, cost);
        for lane in &mut self.lanes {
            lane.take(at, cost);
        }
        if let Some((left, renewed)) = &mut self.allowance {
            if at >= *renewed {
                self.allowance = None;
            } else {
                *left = left.saturating_sub(u64::from(cost));
            }
        }
        nanos(at.saturating_sub(now))
    }

    /// Takes `cost` if the call may go now.
    ///
    /// # Errors
    /// The wait, if it may not; nothing is taken then.
    pub fn try_take(&mut self, now: Duration, cost: u32) -> Result<(), Duration> {
        let wait = self.wait(now, cost);
        if wait.is_zero() {
            self.reserve(now, cost);
            return Ok(());
        }
        Err(wait)
    }

    /// Lets nothing go for `wait` from `now` on: the CRM said so (`Retry-After`). A shorter pause does not end a longer one.
    pub fn pause(&mut self, now: Duration, wait: Duration) {
        self.paused_until = self.paused_until.max(now.as_nanos().saturating_add(wait.as_nanos()));
    }

    /// Corrects the bucket by what the CRM says is left of an allowance that is renewed in `renewed_in`. Calls beyond `left`
    /// wait until then. Other clients spend the same allowance, so say it again whenever an answer tells.
    pub fn allow(&mut self, now: Duration, left: u64, renewed_in: Duration) {
        self.allowance = Some((left, now.as_nanos().saturating_add(renewed_in.as_nanos())));
    }

    /// Forgets what was taken and what was left: the CRM says that there is plenty. A pause stands.
    pub fn renew(&mut self) {
        self.allowance = None;
        self.lanes.iter_mut().for_each(|lane| lane.idle_at = 0);
    }

    fn earliest(&self, now: u128, cost: u32) -> u128 {
        let mut at = now.max(self.paused_until);
        if let Some((left, renewed)) = self.allowance
            && left < u64::from(cost)
        {
            at = at.max(renewed);
        }
        // One lane can push the call later, which no lane minds: an idle lane stays idle.
        self.lanes.iter().fold(at, |at, lane| lane.earliest(at, cost))
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_a_steady_pace() {
        let mut bucket = Bucket::new([Window::per_second(10).burst(6)]);
        let waits: Vec<_> = (0..9).map(|_| bucket.reserve(SECOND, 1).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 200, 400, 600]);
    }

    #[test]
    fn a_bucket_goes_on_where_it_was_kept() {
        let windows = [Window::per_second(10).burst(6), Window::per_day(1_000)];
        let mut whole = Bucket::new(windows);
        let mut kept = Vec::new();
        for _ in 0..40 {
            let mut again = Bucket::resumed(windows, &kept);
            assert_eq!(again.reserve(SECOND, 1), whole.reserve(SECOND, 1));
            kept = again.reserved();
        }
    }

    #[test]
    fn a_limit_of_one_still_refills() {
        let mut bucket = Bucket::new([Window::new(1, SECOND)]);
        assert_eq!(bucket.reserve(SECOND, 1), Duration::ZERO);
        assert_eq!(bucket.try_take(SECOND, 1), Err(SECOND));
        assert_eq!(bucket.try_take(SECOND * 2, 1), Ok(()));
    }

    #[test]
    fn the_slowest_window_decides() {
        let mut bucket = Bucket::new([Window::per_second(100), Window::new(4, SECOND * 60).burst(2)]);
        assert_eq!(bucket.reserve(SECOND, 2), Duration::ZERO);
        assert_eq!(bucket.reserve(SECOND, 1), SECOND * 20);
    }

    #[test]
    fn a_pause_holds_everything_and_only_grows() {
        let mut bucket = Bucket::new([]);
        bucket.pause(SECOND, SECOND * 30);
        bucket.pause(SECOND, SECOND * 5);
        assert_eq!(bucket.wait(SECOND * 11, 1), SECOND * 20);
        assert_eq!(bucket.wait(SECOND * 31, 1), Duration::ZERO);
    }

    #[test]
    fn the_allowance_is_spent_and_renewed() {
        let mut bucket = Bucket::new([]);
        bucket.allow(SECOND, 2, SECOND * 60);
        assert_eq!(bucket.reserve(SECOND, 1), Duration::ZERO);
        assert_eq!(bucket.reserve(SECOND, 1), Duration::ZERO);
        assert_eq!(bucket.wait(SECOND, 1), SECOND * 60);
        assert_eq!(bucket.reserve(SECOND, 1), SECOND * 60);
        assert_eq!(bucket.reserve(SECOND * 61, 1), Duration::ZERO);
    }

    proptest! {
        /// The promise of the type: whatever arrives when, no window anywhere holds more than the limit.
        #[test]
        fn no_window_holds_more_than_its_limit(
            limit in 1u32..40, per in 1u64..2_000, burst in 1u32..40,
            calls in proptest::collection::vec((0u64..300, 1u32..40), 1..150), dear in any::<bool>(),
        ) {
            let per = Duration::from_millis(per);
            let mut bucket = Bucket::new([Window::new(limit, per).burst(burst)]);
            let mut now = Duration::from_secs(5);
            let mut sent = Vec::new();
            for (gap, cost) in calls {
                now += Duration::from_millis(gap);
                let cost = if dear { cost.min(limit) } else { 1 };
                sent.push((now + bucket.reserve(now, cost), cost));
            }
            prop_assert!(sent.windows(2).all(|pair| pair[0].0 <= pair[1].0));
            for (from, (start, _)) in sent.iter().enumerate() {
                let held: u32 = sent.iter().skip(from).take_while(|(at, _)| *at < *start + per).map(|(_, cost)| cost).sum();
                prop_assert!(held <= limit, "{held} in one window of {limit}");
            }
        }

        #[test]
        fn looking_takes_nothing(cost in 1u32..5, times in 1usize..20) {
            let mut bucket = Bucket::new([Window::per_second(7).burst(5)]);
            bucket.reserve(SECOND, 5);
            let first = bucket.wait(SECOND, cost);
            for _ in 0..times { prop_assert_eq!(bucket.wait(SECOND, cost), first); }
            prop_assert_eq!(bucket.reserve(SECOND, cost), first);
        }
    }
}
