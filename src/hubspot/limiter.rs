//! How fast: the allowances of an account and of an app in it.
//!
//! Burst is counted for each app, searches and the day's requests for the account (developer guide, "Usage guidelines").
//! Search answers carry no rate headers, so their bucket goes by its own count. A turn that is dropped while it waits is used up.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::pace::{Bucket, Window};

/// Which allowance a request counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Everything else.
    Api,
    /// Associations, which have a rolling window of their own.
    Associations,
    /// Submissions of forms: ten refusals within a second block the address for a minute.
    Forms,
    /// The webhooks journal: no daily allowance.
    Journal,
    /// The journal's snapshots: 10 a second.
    Snapshots,
    /// The journal's subscriptions: 50 a second.
    Subscriptions,
    /// Searches of all apps together.
    Search,
}

impl Lane {
    pub(super) fn of(path: &str) -> Self {
        let path = path.split('?').next().unwrap_or_default();
        if path.ends_with("/search") && path.starts_with("/crm/") && path.contains("objects") {
            Self::Search
        } else if path.starts_with("/webhooks-journal/snapshots/") {
            Self::Snapshots
        } else if path.starts_with("/webhooks-journal/subscriptions/") {
            Self::Subscriptions
        } else if path.starts_with("/webhooks-journal/") {
            Self::Journal
        } else if path.starts_with("/submissions/") {
            Self::Forms
        } else if path.starts_with("/crm/") && path.split('/').any(|part| part == "associations") {
            Self::Associations
        } else {
            Self::Api
        }
    }
}

/// A rolling window whose size the answers tell.
struct Rolling {
    bucket: Bucket,
    limit: u32,
}

impl Rolling {
    fn new(limit: u32) -> Self {
        Self { bucket: burst(limit), limit }
    }
}

struct App {
    api: Rolling,
    associations: Rolling,
    forms: Bucket,
    journal: Bucket,
    snapshots: Bucket,
    subscriptions: Bucket,
}

impl App {
    fn bucket(&mut self, lane: Lane) -> Option<&mut Bucket> {
        Some(match lane {
            Lane::Api => &mut self.api.bucket,
            Lane::Associations => &mut self.associations.bucket,
            Lane::Forms => &mut self.forms,
            Lane::Journal => &mut self.journal,
            Lane::Snapshots => &mut self.snapshots,
            Lane::Subscriptions => &mut self.subscriptions,
            Lane::Search => return None,
        })
    }
}

struct Account {
    search: Bucket,
    searches: u32,
    /// Until when the day's allowance is spent, by the monotonic clock.
    spent_until: Duration,
}

/// The pace of the requests of one app to one account. Clones share it, as do the clones of a client; give it to each client of
/// the same app and account ([`HubSpot::with_limiter`](crate::hubspot::HubSpot::with_limiter)), and
/// [`HubSpotLimiter::other_app`] to those of another app.
#[derive(Clone)]
pub struct HubSpotLimiter {
    host: Host,
    app: Arc<Mutex<App>>,
    account: Arc<Mutex<Account>>,
    longest_wait: Duration,
}

impl fmt::Debug for HubSpotLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubSpotLimiter").field("longest_wait", &self.longest_wait).finish_non_exhaustive()
    }
}

const TEN_SECONDS: Duration = Duration::from_secs(10);

/// A fifth of the allowance may go at once.
fn burst(limit: u32) -> Bucket {
    Bucket::new([Window::new(limit, TEN_SECONDS).burst(limit / 5)])
}

fn searches(limit: u32) -> Bucket {
    Bucket::new([Window::per_second(limit).burst(1)])
}

fn app() -> Arc<Mutex<App>> {
    let forms = Bucket::new([Window::new(50, TEN_SECONDS).burst(5)]);
    let second = |limit: u32| Bucket::new([Window::per_second(limit).burst(limit / 5)]);
    let (journal, snapshots, subscriptions) = (second(100), second(10), second(50));
    Arc::new(Mutex::new(App { api: Rolling::new(100), associations: Rolling::new(100), forms, journal, snapshots, subscriptions }))
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HubSpotLimiter {
    /// 100 requests in ten seconds, and 100 for associations, which is the smallest allowance there is, until an answer names a
    /// larger one; 5 searches a second; 50 form submissions in ten seconds; a second, 100 reads of the journal, 50 calls about its
    /// subscriptions and 10 for snapshots.
    pub fn new(host: Host) -> Self {
        let account = Account { search: searches(5), searches: 5, spent_until: Duration::ZERO };
        Self { host, app: app(), account: Arc::new(Mutex::new(account)), longest_wait: Duration::from_secs(60) }
    }

    /// The pace of another app in the same account: searches and the day are shared.
    #[must_use]
    pub fn other_app(&self) -> Self {
        Self { app: app(), ..self.clone() }
    }

    /// The longest wait for a turn; a request that would wait longer is not sent and fails with the time. Default: a minute.
    #[must_use]
    pub fn longest_wait(mut self, longest: Duration) -> Self {
        self.longest_wait = longest;
        self
    }

    /// The searches a second that are left to this process, from 1 to 5: what other processes do is not known here.
    #[must_use]
    pub fn searches_per_second(self, limit: u32) -> Self {
        let limit = limit.clamp(1, 5);
        {
            let mut account = lock(&self.account);
            (account.searches, account.search) = (limit, searches(limit));
        }
        self
    }

    /// The app's requests in ten seconds, where they are known before the first answer names them.
    #[must_use]
    pub fn requests_in_ten_seconds(self, limit: u32) -> Self {
        lock(&self.app).api = Rolling::new(limit.max(1));
        self
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`ErrorKind::QuotaExhausted`] while the day's allowance is spent, [`ErrorKind::RateLimited`] if the turn is further off
    /// than [`HubSpotLimiter::longest_wait`]; each with the time, and nothing was sent.
    pub(super) async fn turn(&self, lane: Lane) -> Result<()> {
        let now = self.host.monotonic();
        if matches!(lane, Lane::Api | Lane::Associations | Lane::Search) {
            let left = lock(&self.account).spent_until.saturating_sub(now);
            if !left.is_zero() {
                let message = "the account's daily allowance is spent; it comes back at its midnight";
                return Err(Error::new(ErrorKind::QuotaExhausted, message).with_code("DAILY").retrying(Retry::After(left)));
            }
        }
        let mine = lock(&self.app).bucket(lane).map(|bucket| self.take(bucket, now));
        let wait = mine.unwrap_or_else(|| self.take(&mut lock(&self.account).search, now));
        match wait {
            Ok(wait) if wait.is_zero() => Ok(()),
            Ok(wait) => {
                self.host.sleep(wait).await;
                Ok(())
            }
            Err(wait) => {
                let message = format!("no turn within {} s under hubspot's rate limits", self.longest_wait.as_secs());
                Err(Error::new(ErrorKind::RateLimited, message).retrying(Retry::After(wait)))
            }
        }
    }

    fn take(&self, bucket: &mut Bucket, now: Duration) -> Result<Duration, Duration> {
        let wait = bucket.wait(now, 1);
        if wait > self.longest_wait { Err(wait) } else { Ok(bucket.reserve(now, 1)) }
    }

    /// What an answer's headers said of the lane's rolling window.
    pub(super) fn told(&self, lane: Lane, max: u64, remaining: u64, window: Duration) {
        let now = self.host.monotonic();
        let mut app = lock(&self.app);
        let rolling = match lane {
            Lane::Api => &mut app.api,
            Lane::Associations => &mut app.associations,
            _ => return,
        };
        let max = u32::try_from(max).unwrap_or(u32::MAX).max(1);
        if max != rolling.limit && window == TEN_SECONDS {
            *rolling = Rolling::new(max);
        }
        // Others spend it too: near its end their share counts. Far from it nobody has to wait, whatever was counted here.
        if remaining <= u64::from(max / 10) {
            rolling.bucket.allow(now, remaining, window);
        } else if remaining >= u64::from(max / 2) {
            rolling.bucket.renew();
        }
    }

    /// What a refusal means for those that come after it.
    pub(super) fn refused(&self, lane: Lane, error: &Error) {
        let now = self.host.monotonic();
        let (status, Some(wait)) = (error.status().map_or(0, |status| status.as_u16()), error.retry_after()) else { return };
        if error.kind() == ErrorKind::QuotaExhausted {
            let mut account = lock(&self.account);
            account.spent_until = account.spent_until.max(now + wait);
            return;
        }
        match (status, lane) {
            (429, Lane::Search) => {
                let mut account = lock(&self.account);
                // Other apps search too; four, then three, leave them room.
                account.searches = account.searches.saturating_sub(1).max(1);
                account.search = searches(account.searches);
                account.search.pause(now, wait);
            }
            (429, lane) => {
                if let Some(bucket) = lock(&self.app).bucket(lane) {
                    bucket.pause(now, wait);
                }
            }
            // The whole account waits.
            (423 | 477, _) => {
                let mut app = lock(&self.app);
                app.api.bucket.pause(now, wait);
                app.associations.bucket.pause(now, wait);
                lock(&self.account).search.pause(now, wait);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use http::StatusCode;

    fn turns(limiter: &HubSpotLimiter, lane: Lane, count: usize) -> Vec<u128> {
        let start = limiter.host.monotonic();
        (0..count)
            .map(|_| {
                limiter.turn(lane).now_or_never().unwrap().unwrap();
                (limiter.host.monotonic() - start).as_millis()
            })
            .collect()
    }

    #[test]
    fn paths_count_against_their_lane() {
        for (path, lane) in [
            ("/crm/objects/2026-03/contacts/search", Lane::Search),
            ("/crm/v3/objects/0-1/search?x=1", Lane::Search),
            ("/crm/objects/2026-03/contacts/batch/read", Lane::Api),
            ("/crm/objects/2026-03/contacts/7/associations/companies", Lane::Associations),
            ("/crm/v4/associations/contacts/companies/batch/read", Lane::Associations),
            ("/crm/v3/objects/contacts/7?associations=companies", Lane::Api),
            ("/webhooks-journal/journal/2026-03/earliest", Lane::Journal),
            ("/webhooks-journal/subscriptions/2026-03/filters", Lane::Subscriptions),
            ("/webhooks-journal/snapshots/2026-03/crm", Lane::Snapshots),
            ("/submissions/v3/integration/submit/1/g", Lane::Forms),
        ] {
            assert_eq!(Lane::of(path), lane, "{path}");
        }
    }

    #[test]
    fn searches_are_five_a_second_for_all_apps() {
        let limiter = HubSpotLimiter::new(Host::manual(1));
        assert_eq!(turns(&limiter, Lane::Search, 4), [0, 200, 400, 600]);
        assert_eq!(turns(&limiter.other_app(), Lane::Search, 2), [200, 400], "the account's, not the app's");
        assert_eq!(turns(&limiter, Lane::Api, 1), [0], "another bucket");
    }

    #[test]
    fn headers_and_refusals_set_the_pace() {
        let limiter = HubSpotLimiter::new(Host::manual(1));
        limiter.told(Lane::Api, 190, 180, TEN_SECONDS);
        limiter.told(Lane::Associations, 150, 149, TEN_SECONDS);
        {
            let app = lock(&limiter.app);
            assert_eq!((app.api.limit, app.associations.limit), (190, 150), "each its own");
        }
        limiter.told(Lane::Api, 190, 0, TEN_SECONDS);
        assert_eq!(turns(&limiter, Lane::Associations, 1), [0]);
        assert!(turns(&limiter, Lane::Api, 1)[0] >= 10_000);
        let busy = Error::new(ErrorKind::RateLimited, "x").with_status(StatusCode::TOO_MANY_REQUESTS);
        limiter.refused(Lane::Search, &busy.retrying(Retry::After(Duration::from_secs(1))));
        assert_eq!(turns(&limiter, Lane::Search, 2), [1000, 1250], "four a second from now on");
    }

    #[test]
    fn a_spent_day_parks_the_account_and_not_the_journal() {
        let limiter = HubSpotLimiter::new(Host::manual(1));
        let spent = Error::new(ErrorKind::QuotaExhausted, "x").with_status(StatusCode::TOO_MANY_REQUESTS);
        limiter.refused(Lane::Api, &spent.retrying(Retry::After(Duration::from_secs(7_200))));
        let error = limiter.other_app().turn(Lane::Search).now_or_never().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::QuotaExhausted, Some(Duration::from_secs(7_200))));
        assert_eq!(turns(&limiter, Lane::Journal, 1), [0]);
        limiter.host.sleep(Duration::from_secs(7_200)).now_or_never().unwrap();
        assert_eq!(turns(&limiter, Lane::Api, 1), [0]);
    }
}
