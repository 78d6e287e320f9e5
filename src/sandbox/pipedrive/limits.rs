//! The two limits: requests in two seconds for a token, tokens in a day for the company (Pipedrive docs, Rate limiting).

use std::collections::{BTreeMap, VecDeque};

use http::StatusCode;
use jiff::Timestamp;

use crate::sandbox::call::Reply;
use crate::sandbox::pipedrive::errors;
use crate::sandbox::pipedrive::options::PipedriveOptions;

/// The rolling window.
const WINDOW: i64 = 2_000;

#[derive(Debug, Default)]
struct Bucket {
    /// Milliseconds since 1970 of the requests let through.
    passed: VecDeque<i64>,
}

impl Bucket {
    fn forget(&mut self, now: i64) {
        while self.passed.front().is_some_and(|at| at.saturating_add(WINDOW) <= now) {
            self.passed.pop_front();
        }
    }

    /// Seconds until the oldest request leaves the window.
    fn reset(&self, now: i64) -> i64 {
        let until = self.passed.front().map_or(0, |at| at.saturating_add(WINDOW).saturating_sub(now));
        until.max(0).saturating_add(999) / 1000
    }
}

#[derive(Debug, Default)]
struct Client {
    all: Bucket,
    searches: Bucket,
    refused: u32,
    blocked_until: i64,
}

/// Not kept on disk: after a restart nobody has asked anything.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    clients: BTreeMap<String, Client>,
    /// Days since 1970, in the server's zone, which is UTC here.
    day: i64,
    pub(crate) spent: u64,
}

/// The headers of an answer that was let through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    limit: usize,
    remaining: usize,
    reset: i64,
    daily: u64,
    left: u64,
}

impl Standing {
    pub(crate) fn on(self, reply: Reply) -> Reply {
        reply
            .header("x-ratelimit-limit", self.limit.to_string())
            .header("x-ratelimit-remaining", self.remaining.to_string())
            .header("x-ratelimit-reset", self.reset.to_string())
            .header("x-daily-ratelimit-token-limit", self.daily.to_string())
            .header("x-daily-ratelimit-token-remaining", self.left.to_string())
    }
}

impl Limits {
    /// Lets a request through and counts it, or refuses it.
    pub(crate) fn admit(
        &mut self,
        options: &PipedriveOptions,
        token: &str,
        oauth: bool,
        search: bool,
        price: u64,
        now: Timestamp,
    ) -> Result<Standing, Reply> {
        let now = now.as_millisecond();
        let today = now.div_euclid(86_400_000);
        if today != self.day {
            self.day = today;
            self.spent = 0;
        }
        let daily = options.daily();
        let client = self.clients.entry(token.to_owned()).or_default();
        if now < client.blocked_until {
            return Err(errors::blocked());
        }
        let limit = if search { options.search_burst } else { options.burst.unwrap_or_else(|| options.plan.burst(oauth)) };
        let bucket = if search { &mut client.searches } else { &mut client.all };
        bucket.forget(now);
        let left = daily.saturating_sub(self.spent);
        if left == 0 || bucket.passed.len() >= limit {
            let remaining = limit.saturating_sub(bucket.passed.len());
            let standing = Standing { limit, remaining, reset: bucket.reset(now), daily, left };
            client.refused += 1;
            // OAuth apps are not blocked that way.
            if !oauth && client.refused > options.block_after {
                client.refused = 0;
                client.blocked_until = now.saturating_add_unsigned(options.block_seconds.saturating_mul(1000));
                return Err(errors::blocked());
            }
            return Err(standing.on(errors::too_many()));
        }
        bucket.passed.push_back(now);
        client.refused = 0;
        self.spent = self.spent.saturating_add(price);
        let remaining = limit.saturating_sub(bucket.passed.len());
        Ok(Standing { limit, remaining, reset: bucket.reset(now), daily, left: daily.saturating_sub(self.spent) })
    }

    /// What a script answers instead of a limit that was really hit.
    pub(crate) fn scripted(&self, options: &PipedriveOptions, day_is_spent: bool) -> Reply {
        let limit = options.burst.unwrap_or_else(|| options.plan.burst(false));
        let daily = options.daily();
        let (remaining, left) = if day_is_spent { (limit, 0) } else { (0, daily.saturating_sub(self.spent)) };
        let mut reply = Standing { limit, remaining, reset: 2, daily, left }.on(errors::too_many());
        reply.status = StatusCode::TOO_MANY_REQUESTS;
        reply
    }
}
