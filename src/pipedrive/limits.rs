//! What may be called how often: bursts, searches, the daily budget of tokens, and the two stops.
//!
//! Two limits are independent ("Rate limiting"). Per token: so many calls in a rolling 2 s, and 10 searches in 2 s on every
//! plan. Per company: `30 000 × plan × seats` tokens a day, shared by all its apps and users; each call has a price. A day that
//! is spent answers 429 until midnight of the server's zone, and who goes on after 429s gets a 403 with a web page: after
//! either, nothing more is sent from here.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::pipedrive::burst::Bursts;
use crate::pipedrive::tokens::Scheme;

/// How long a spent day is believed before one more call may ask: the time of the reset is not told.
const SPENT_FOR: Duration = Duration::from_secs(15 * 60);

/// A plan of Pipedrive. The API does not tell it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Plan {
    /// 20 calls in 2 s with a user's token, 80 as an OAuth app; budget × 1.
    #[default]
    Lite,
    /// 40 and 160; × 2.
    Growth,
    /// 100 and 400; × 5.
    Premium,
    /// 120 and 480; × 7.
    Ultimate,
}

impl Plan {
    /// Calls in 2 s with a user's token; an OAuth app has four times as many.
    pub fn burst(self) -> u32 {
        match self {
            Self::Lite => 20,
            Self::Growth => 40,
            Self::Premium => 100,
            Self::Ultimate => 120,
        }
    }

    /// Tokens a day for a company with this many seats, without top-ups.
    pub fn daily_tokens(self, seats: u32) -> u64 {
        let multiplier = match self {
            Self::Lite => 1,
            Self::Growth => 2,
            Self::Premium => 5,
            Self::Ultimate => 7,
        };
        30_000 * multiplier * u64::from(seats)
    }

    pub(crate) fn calls(self, scheme: Scheme) -> u32 {
        if scheme == Scheme::Bearer { self.burst() * 4 } else { self.burst() }
    }
}

/// What is known of the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens left today, by the newest answer that told.
    pub tokens_left: Option<u64>,
    /// Tokens a day, by the newest answer that told.
    pub tokens_max: Option<u64>,
    /// Calls in 2 s, by the newest answer that told; of a search, searches.
    pub burst_max: Option<u64>,
    /// Calls left in the running 2 s.
    pub burst_left: Option<u64>,
    /// Tokens that this client's calls cost since it was made, by the published prices.
    pub spent: u64,
}

#[derive(Debug, Default)]
struct State {
    usage: Usage,
    /// The mark on the monotonic clock until which the day counts as spent.
    spent_until: Option<Duration>,
    stopped: bool,
}

/// The gate every call goes through.
#[derive(Debug)]
pub(crate) struct Gate {
    host: Host,
    pub(crate) bursts: Bursts,
    state: Mutex<State>,
}

impl Gate {
    pub(crate) fn new(host: Host, bursts: Bursts) -> Self {
        Self { host, bursts, state: Mutex::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn usage(&self) -> Usage {
        self.with(|state| state.usage)
    }

    /// Refuses what must not be sent.
    pub(crate) fn open(&self) -> Result<()> {
        let now = self.host.monotonic();
        self.with(|state| {
            if state.stopped {
                return Err(stopped());
            }
            match state.spent_until {
                Some(until) if now < until => return Err(spent()),
                Some(_) => state.spent_until = None,
                None => {}
            }
            Ok(())
        })
    }

    /// As [`Gate::open`]; counts the price of what may be sent.
    pub(crate) fn enter(&self, price: u32) -> Result<()> {
        self.open()?;
        self.with(|state| state.usage.spent = state.usage.spent.saturating_add(u64::from(price)));
        Ok(())
    }

    /// Reads the headers of an answer; old accounts leave some out.
    pub(crate) fn observe(&self, headers: &HeaderMap) {
        let read = |name: &str| number(headers, name);
        let (left, max) = (read("x-daily-ratelimit-token-remaining"), read("x-daily-ratelimit-token-limit"));
        let (burst, most) = (read("x-ratelimit-remaining"), read("x-ratelimit-limit"));
        if let Some(most) = most {
            self.bursts.told(most);
        }
        self.with(|state| {
            state.usage.tokens_left = left.or(state.usage.tokens_left);
            state.usage.tokens_max = max.or(state.usage.tokens_max);
            state.usage.burst_max = most.or(state.usage.burst_max);
            state.usage.burst_left = burst.or(state.usage.burst_left);
        });
    }

    /// The day is spent; nothing is sent for a while.
    pub(crate) fn day_is_spent(&self, told: Option<Duration>) -> Error {
        let until = self.host.monotonic().saturating_add(told.unwrap_or(SPENT_FOR));
        self.with(|state| state.spent_until = Some(until));
        spent()
    }

    /// Pipedrive's front has shut the door; nothing is sent until somebody has looked.
    pub(crate) fn stop(&self) -> Error {
        self.with(|state| state.stopped = true);
        stopped()
    }

    pub(crate) fn resume(&self) {
        self.with(|state| (state.stopped, state.spent_until) = (false, None));
    }
}

/// A whole number in a header; names are compared without regard to case.
pub(crate) fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?.trim();
    text.parse::<u64>()
        .ok()
        .or_else(|| text.parse::<f64>().ok().filter(|number| (0.0..1e15).contains(number)).map(|number| number.ceil() as u64))
}

fn spent() -> Error {
    let message = "the company's daily token budget is spent; it is renewed at midnight of Pipedrive's server, or buy a top-up";
    Error::new(ErrorKind::QuotaExhausted, message).retrying(Retry::Never).with_code("DAILY_BUDGET_SPENT")
}

fn stopped() -> Error {
    let message = "pipedrive's front refused the token (403 with a web page), as it does after ignored rate limits; \
                   nothing more is sent until the client is told to resume";
    Error::new(ErrorKind::Permission, message).retrying(Retry::Never).with_code("BLOCKED")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_by_the_published_table() {
        assert_eq!((Plan::Lite.burst(), Plan::Ultimate.burst()), (20, 120));
        assert_eq!((Plan::Premium.calls(Scheme::Bearer), Plan::Growth.calls(Scheme::ApiToken)), (400, 40));
        assert_eq!(Plan::Ultimate.daily_tokens(10), 2_100_000);
    }

    #[test]
    fn a_spent_day_and_a_shut_door() {
        let (host, clock) = Host::manual_with_clock(1);
        let gate = Gate::new(host.clone(), Bursts::new(host, 20, true));
        gate.enter(20).unwrap();
        gate.enter(5).unwrap();
        assert_eq!(gate.usage().spent, 25);
        let error = gate.day_is_spent(None);
        assert_eq!((error.kind(), error.retry()), (ErrorKind::QuotaExhausted, Retry::Never));
        assert_eq!(gate.enter(1).unwrap_err().code(), Some("DAILY_BUDGET_SPENT"));
        clock.advance(SPENT_FOR);
        gate.enter(1).unwrap();
        gate.stop();
        clock.advance(SPENT_FOR * 100);
        assert_eq!(gate.enter(1).unwrap_err().kind(), ErrorKind::Permission);
        gate.resume();
        gate.enter(1).unwrap();
        assert_eq!(gate.usage().spent, 27);
    }
}
