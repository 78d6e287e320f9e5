//! Rolling windows, the daily quota, and the bodies of 429 answers.

use std::collections::{HashMap, VecDeque};

use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::sandbox::call::{Content, Reply};
use crate::sandbox::hubspot::options::HubSpotOptions;

const DAY: i64 = 86_400_000;

/// HubSpot's own refusals, for scripted trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "trouble", rename_all = "snake_case")]
#[non_exhaustive]
pub enum HubSpotTrouble {
    /// 429 with policy `DAILY`.
    DailyLimit,
    /// 423: others are writing heavily to the account.
    Locked,
    /// 477: the account moves to another data centre.
    Migrating {
        /// Seconds in `Retry-After`.
        retry_after: u64,
    },
    /// 429 in plain text, as the edge answers.
    PlainLimit,
    /// 429 without a policy, as searches are refused.
    SecondlyLimit,
    /// 429 with policy `TEN_SECONDLY_ROLLING`.
    TenSecondlyLimit,
}

impl HubSpotTrouble {
    pub(crate) fn reply(&self, correlation: &str, app: u64) -> Reply {
        match self {
            Self::DailyLimit => daily(correlation, app),
            Self::Locked => {
                let message = "The resource is locked by a high volume of writes. Wait at least two seconds before the next call.";
                Reply::json(StatusCode::LOCKED, json!({"status": "error", "message": message, "correlationId": correlation}))
            }
            Self::Migrating { retry_after } => {
                let status = StatusCode::from_u16(477).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                let message = "This account is being migrated between data hosting locations.";
                Reply::json(
                    status,
                    json!({"status": "error", "message": message, "correlationId": correlation, "category": "MIGRATION_IN_PROGRESS"}),
                )
                .header("retry-after", retry_after.to_string())
            }
            Self::PlainLimit => {
                let body = Content::Html("error code: 1015".to_owned());
                Reply { status: StatusCode::TOO_MANY_REQUESTS, headers: Vec::new(), body }
                    .header("content-type", "text/plain; charset=UTF-8")
            }
            Self::SecondlyLimit => secondly(correlation),
            Self::TenSecondlyLimit => ten_secondly(correlation, app),
        }
    }
}

pub(crate) fn ten_secondly(correlation: &str, app: u64) -> Reply {
    Reply::json(
        StatusCode::TOO_MANY_REQUESTS,
        json!({"status": "error", "message": "You have reached your ten_secondly_rolling limit.", "errorType": "RATE_LIMIT",
               "correlationId": correlation, "policyName": "TEN_SECONDLY_ROLLING", "groupName": format!("publicapi:app:{app}"),
               "requestId": correlation}),
    )
}

pub(crate) fn daily(correlation: &str, app: u64) -> Reply {
    Reply::json(
        StatusCode::TOO_MANY_REQUESTS,
        json!({"status": "error", "message": "You have reached your daily limit.", "errorType": "RATE_LIMIT", "correlationId": correlation,
               "policyName": "DAILY", "groupName": format!("publicapi:app:{app}")}),
    )
}

/// The body recorded from searches: no policy, no `Retry-After`.
pub(crate) fn secondly(correlation: &str) -> Reply {
    Reply::json(
        StatusCode::TOO_MANY_REQUESTS,
        json!({"status": "error", "message": "You have reached your secondly limit.", "correlationId": correlation, "category": "RATE_LIMITS"}),
    )
}

/// What has been used.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    windows: HashMap<&'static str, VecDeque<i64>>,
    day: i64,
    used: u64,
    blocked: i64,
}

impl Limits {
    /// Takes a call out of a rolling window, and tells how many are left.
    pub(crate) fn take(&mut self, window: &'static str, now: Timestamp, millis: i64, limit: usize) -> Option<usize> {
        let now = now.as_millisecond();
        let calls = self.windows.entry(window).or_default();
        while calls.front().is_some_and(|at| *at <= now - millis) {
            calls.pop_front();
        }
        if calls.len() >= limit {
            return None;
        }
        calls.push_back(now);
        Some(limit - calls.len())
    }

    /// Refuses everything that asks for [`Limits::is_blocked`] for a while.
    pub(crate) fn block(&mut self, now: Timestamp, millis: i64) {
        self.blocked = now.as_millisecond() + millis;
    }

    pub(crate) fn is_blocked(&self, now: Timestamp) -> bool {
        now.as_millisecond() < self.blocked
    }

    /// Takes a call out of the day's quota, which begins anew at midnight of the account, and tells how many are left.
    pub(crate) fn take_daily(&mut self, now: Timestamp, options: &HubSpotOptions) -> Option<u64> {
        self.turn(now, options);
        if self.used >= options.daily_limit {
            return None;
        }
        self.used += 1;
        Some(options.daily_limit - self.used)
    }

    fn turn(&mut self, now: Timestamp, options: &HubSpotOptions) {
        let day = (now.as_millisecond() + i64::from(options.utc_offset_minutes) * 60_000).div_euclid(DAY);
        if day != self.day {
            self.day = day;
            self.used = 0;
        }
    }

    /// Calls of the day, and when the next one begins in milliseconds since 1970.
    pub(crate) fn today(&mut self, now: Timestamp, options: &HubSpotOptions) -> (u64, i64) {
        self.turn(now, options);
        (self.used, (self.day + 1) * DAY - i64::from(options.utc_offset_minutes) * 60_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn the_window_rolls() {
        let mut limits = Limits::default();
        assert_eq!(limits.take("x", at(0), 1_000, 2), Some(1));
        assert_eq!(limits.take("x", at(600), 1_000, 2), Some(0));
        assert_eq!(limits.take("x", at(999), 1_000, 2), None);
        assert_eq!(limits.take("x", at(1_000), 1_000, 2), Some(0));
        assert_eq!(limits.take("x", at(1_500), 1_000, 2), None);
    }

    #[test]
    fn the_day_ends_at_the_accounts_midnight() {
        let mut limits = Limits::default();
        let options = HubSpotOptions { daily_limit: 1, ..HubSpotOptions::default() };
        let five = 5 * 3_600_000;
        assert_eq!(limits.take_daily(at(five), &options), Some(0));
        assert_eq!(limits.take_daily(at(five + DAY - 1), &options), None);
        assert_eq!(limits.today(at(five + 1), &options), (1, five + DAY));
        assert_eq!(limits.take_daily(at(five + DAY), &options), Some(0));
    }
}
