//! Turns under the two burst limits ("Rate limiting"): so many calls of a token in a rolling 2 s, and 10 calls of the search
//! endpoints, which are counted apart.
//!
//! The plan decides the first one and the API does not tell the plan; `x-ratelimit-limit` of an answer can only raise it, since
//! an answer of a search may speak of searches.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;

/// The window of both limits, and a little more: requests do not arrive as evenly as they were sent.
const WINDOW: Duration = Duration::from_millis(2_100);
/// Searches in 2 s, on every plan.
const SEARCHES: usize = 10;
/// A turn further off than this is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The marks of the newest turns, some of which may be yet to come.
#[derive(Debug)]
struct Rolling {
    most: usize,
    turns: VecDeque<Duration>,
}

impl Rolling {
    fn new(most: usize) -> Self {
        Self { most: most.max(1), turns: VecDeque::new() }
    }

    /// The mark of the next turn, `from` at the earliest.
    fn next(&mut self, now: Duration, from: Duration) -> Duration {
        while self.turns.front().is_some_and(|turn| turn.saturating_add(WINDOW) <= now) {
            self.turns.pop_front();
        }
        let blocking = self.turns.len().checked_sub(self.most).and_then(|at| self.turns.get(at));
        let free = blocking.map_or(now, |turn| turn.saturating_add(WINDOW));
        // Turns are given in order, so that the marks stay sorted.
        let last = self.turns.back().copied().unwrap_or_default();
        free.max(from).max(last)
    }
}

#[derive(Debug)]
struct State {
    all: Rolling,
    searches: Rolling,
    /// Nothing goes before this mark.
    paused_until: Duration,
}

/// Both limits of one token.
#[derive(Debug)]
pub(crate) struct Bursts {
    host: Host,
    on: bool,
    state: Mutex<State>,
}

impl Bursts {
    /// `calls` in 2 s to begin with; `on` false waits for nothing.
    pub(crate) fn new(host: Host, calls: u32, on: bool) -> Self {
        let all = Rolling::new(usize::try_from(calls).unwrap_or(usize::MAX));
        Self { host, on, state: Mutex::new(State { all, searches: Rolling::new(SEARCHES), paused_until: Duration::ZERO }) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`ErrorKind::RateLimited`] with the time, if the turn is more than a minute off; nothing is taken then.
    pub(crate) async fn turn(&self, search: bool) -> Result<()> {
        if !self.on {
            return Ok(());
        }
        let now = self.host.monotonic();
        let wait = {
            let mut state = self.lock();
            let paused = state.paused_until;
            let rolling = if search { &mut state.searches } else { &mut state.all };
            let at = rolling.next(now, paused);
            let wait = at.saturating_sub(now);
            if wait <= LONGEST_WAIT {
                rolling.turns.push_back(at.max(now));
            }
            wait
        };
        if wait > LONGEST_WAIT {
            let message = format!("no turn within {} s under pipedrive's burst limits", LONGEST_WAIT.as_secs());
            return Err(Error::new(ErrorKind::RateLimited, message).retrying(Retry::After(wait)));
        }
        if !wait.is_zero() {
            self.host.sleep(wait).await;
        }
        Ok(())
    }

    /// An answer named a limit.
    pub(crate) fn told(&self, limit: u64) {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut state = self.lock();
        state.all.most = state.all.most.max(limit);
    }

    /// An answer asked for a pause.
    pub(crate) fn pause(&self, wait: Duration) {
        let until = self.host.monotonic().saturating_add(wait);
        let mut state = self.lock();
        state.paused_until = state.paused_until.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    /// The marks at which so many calls go, one after the other.
    fn marks(bursts: &Bursts, search: bool, count: usize) -> Vec<Duration> {
        let mark = |_| {
            bursts.turn(search).now_or_never().unwrap().unwrap();
            bursts.host.monotonic()
        };
        (0..count).map(mark).collect()
    }

    #[test]
    fn no_two_seconds_see_more_than_the_limit() {
        let bursts = Bursts::new(Host::manual(1), 20, true);
        let marks = marks(&bursts, false, 90);
        assert_eq!(marks[19], marks[0], "a burst goes at once");
        for (first, next) in marks.iter().zip(marks.iter().skip(20)) {
            assert!(*next - *first >= Duration::from_secs(2), "{first:?} {next:?}");
        }
        assert!(marks[89] - marks[0] < Duration::from_secs(9));
    }

    #[test]
    fn searches_are_counted_apart_and_never_raised() {
        let bursts = Bursts::new(Host::manual(1), 20, true);
        bursts.told(80);
        let start = bursts.host.monotonic();
        assert_eq!(marks(&bursts, false, 80)[79], start);
        let searches = marks(&bursts, true, 11);
        assert_eq!(searches[9], start);
        assert!(searches[10] - start >= Duration::from_secs(2));
        // The answer of a search speaks of searches.
        bursts.told(10);
        assert_eq!(bursts.lock().all.most, 80);
    }

    #[test]
    fn a_pause_holds_for_all_and_a_long_one_is_not_waited_for() {
        let bursts = Bursts::new(Host::manual(1), 20, true);
        let start = bursts.host.monotonic();
        bursts.pause(Duration::from_secs(5));
        assert!(marks(&bursts, true, 1)[0] - start >= Duration::from_secs(5));
        bursts.pause(Duration::from_secs(100));
        let error = bursts.turn(false).now_or_never().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_secs(100))));
        let free = Bursts::new(Host::manual(1), 1, false);
        free.pause(Duration::from_secs(100));
        let start = free.host.monotonic();
        assert_eq!(marks(&free, false, 50)[49], start);
    }
}
