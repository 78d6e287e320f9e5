//! One rate budget for all processes: calls are borrowed from a store, a few at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::pace::{Bucket, Window};
use crate::queue::Priority;
use crate::store::api::Store;
use crate::store::batch::Batch;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;
/// How often a change is made anew because another process was faster. Each time somebody has got on.
const TRIES: usize = 64;
/// An allowance of at most this length is a rate, not a quota.
const SHORT: Duration = Duration::from_secs(3600);
/// What is left of an allowance to those who are not in a hurry, as parts of the whole on top of the share.
const FLOORS: [f64; 4] = [0.0, 0.02, 0.05, 0.15];

/// The calls that all processes together may make to one account.
///
/// A borrowed call has a time: it may go out from then on for [`Budget::valid`], and is lost after. The times of all processes
/// make one sequence that keeps every window, so that no process needs to know of the others and the store is asked once per
/// block of calls. Times are those of the store.
///
/// What the CRM itself says ([`Budget::report`]) corrects it: of a daily allowance a share stays for the customer's other apps,
/// and the less urgent a call is, the earlier it has to stop: backfills at 15 % of the allowance above the share, the everyday
/// sync at 5 %, events at 2 %.
///
/// A store clock that is set back moves the budget with it. One that is set forward opens the windows early, once.
#[derive(Clone, Debug)]
pub struct Budget {
    store: Arc<dyn Store>,
    scope: String,
    windows: Vec<Window>,
    share: f64,
    slack: f64,
    reports: Arc<Mutex<Vec<Report>>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    name: String,
    left: u64,
    max: u64,
    /// Nanoseconds; 0 if unknown.
    window: u64,
}

/// What the processes share. Marks are nanoseconds of store time since 1970.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Cell {
    reserved: Vec<u64>,
    paused_until: u64,
    /// The store's time at the last change, to notice when it was set back.
    seen_at: u64,
    allowances: Vec<(Report, u64)>,
}

/// Borrowed calls.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// How long from now on (the end of the borrowing) each call has to wait at least, the shortest first. Never empty.
    pub waits: Vec<Duration>,
}

impl Budget {
    /// The budget `scope` (one per account of a CRM) in `store`. Every process gives the same windows. A window's burst may go
    /// at once; with a burst of 1 a busy budget uses all of the window but the slack.
    pub fn new(store: Arc<dyn Store>, scope: impl Into<String>, windows: impl IntoIterator<Item = Window>) -> Self {
        Self { store, scope: scope.into(), windows: windows.into_iter().collect(), share: 0.0, slack: 0.02, reports: Arc::default() }
    }

    /// The part (0 to 1) of every window and allowance that is left to the customer's other apps. Default: none.
    #[must_use]
    pub fn share(mut self, kept: f64) -> Self {
        self.share = if kept.is_finite() { kept.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// The part of a window by which a call may go out late: the busy computer, the network. It costs as much of the limit, and
    /// what arrives later than that may be one too many. Default: 0.02.
    #[must_use]
    pub fn slack(mut self, part: f64) -> Self {
        self.slack = if part.is_finite() { part.clamp(0.0, 1.0) } else { 0.0 };
        self
    }

    /// The account.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// How long after its time a borrowed call may still go out.
    pub fn valid(&self) -> Duration {
        self.windows.iter().map(|window| window.per().mul_f64(self.slack)).min().unwrap_or(Duration::MAX)
    }

    /// Borrows at least one call and at most `calls`: beyond the first one only those whose wait is at most `hold` longer.
    /// Waits for nothing.
    ///
    /// # Errors
    /// [`ErrorKind::RateLimited`] with the time if the first call would have to wait longer than `longest`;
    /// [`ErrorKind::QuotaExhausted`] if what is left of an allowance is for the more urgent, or for others; nothing is taken
    /// then. [`ErrorKind::Store`] if the store fails.
    pub async fn borrow(&self, priority: Priority, calls: u32, hold: Duration, longest: Duration) -> Result<Grant> {
        let windows: Vec<Window> = self.windows.iter().map(|window| self.narrowed(*window)).collect();
        self.change(|cell, now| {
            let spendable = cell.spendable(now, self.share, priority).map_err(|name| {
                let message = format!("what is left of {name} of {} is kept for more urgent calls and for other apps", self.scope);
                Error::new(ErrorKind::QuotaExhausted, message).retrying(Retry::After(Duration::from_secs(300)))
            })?;
            let marks: Vec<Duration> = cell.reserved.iter().map(|mark| Duration::from_nanos(*mark)).collect();
            let mut bucket = Bucket::resumed(windows.iter().copied(), &marks);
            bucket.pause(now, Duration::from_nanos(cell.paused_until).saturating_sub(now));
            let first = bucket.wait(now, 1);
            if first > longest {
                let message = format!("the shared budget of {} has no call within {} s", self.scope, longest.as_secs());
                return Err(Error::new(ErrorKind::RateLimited, message).retrying(Retry::After(first)));
            }
            let most = u64::from(calls.max(1)).min(spendable.max(1));
            let mut waits = Vec::new();
            while (waits.len() as u64) < most && (waits.is_empty() || bucket.wait(now, 1) <= first.saturating_add(hold)) {
                waits.push(bucket.reserve(now, 1));
            }
            cell.reserved = bucket.reserved().iter().map(|mark| nanos(*mark)).collect();
            for (allowance, _) in &mut cell.allowances {
                allowance.left = allowance.left.saturating_sub(waits.len() as u64);
            }
            Ok(Grant { waits })
        })
        .await
    }

    /// The CRM asked for a pause: no process borrows a call for an earlier time. Calls that were borrowed before may still go.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the store fails.
    pub async fn pause(&self, wait: Duration) -> Result<()> {
        self.change(|cell, now| {
            cell.paused_until = cell.paused_until.max(nanos(now.saturating_add(wait)));
            Ok(())
        })
        .await
    }

    /// What the CRM says of one of its allowances: `left` of `max` calls. It is put down with the next borrowing. An allowance
    /// of at most an hour is a rate: only when it is used up, a tenth of it is waited for.
    pub fn report(&self, name: impl Into<String>, left: u64, max: u64, window: Option<Duration>) {
        let report = Report { name: name.into(), left, max, window: window.map_or(0, nanos) };
        let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.retain(|known| known.name != report.name);
        reports.push(report);
    }

    /// A window for us alone, and longer by what may come late.
    fn narrowed(&self, window: Window) -> Window {
        // At most the limit, which is a u32.
        let limit = (f64::from(window.limit()) * (1.0 - self.share)) as u32;
        Window::new(limit, window.per().mul_f64(1.0 + self.slack)).burst(window.most_at_once())
    }

    async fn change<T>(&self, change: impl FnMut(&mut Cell, Duration) -> Result<T>) -> Result<T> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let answer = self.change_with(&reports, change).await?;
        // What was put down now; a newer word stays for the next time.
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).retain(|report| !reports.contains(report));
        Ok(answer)
    }

    async fn change_with<T>(&self, reports: &[Report], mut change: impl FnMut(&mut Cell, Duration) -> Result<T>) -> Result<T> {
        let key = Key::new(Family::Budget, &[&self.scope]);
        let mut tries = TRIES;
        loop {
            let row = self.store.load(&key).await?;
            let now = since_epoch(self.store.now().await?);
            let mut cell: Cell = row.as_ref().map(|row| decode(&key, FORMAT, row)).transpose()?.unwrap_or_default();
            cell.notice(now);
            for report in reports {
                cell.take(report, now, self.share);
            }
            let answer = change(&mut cell, now)?;
            let mut batch = Batch::new();
            match row {
                Some(row) => batch.require_version(key.clone(), row.version),
                None => batch.require_absent(key.clone()),
            };
            let value = encode(&key, FORMAT, &cell)?;
            batch.put(key.clone(), value);
            tries -= 1;
            match self.store.commit(batch).await {
                Ok(_) => return Ok(answer),
                Err(error) if error.kind() == ErrorKind::Conflict && tries > 0 => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Cell {
    /// A clock that was set back takes every mark with it.
    fn notice(&mut self, now: Duration) {
        let back = self.seen_at.saturating_sub(nanos(now));
        if back > 0 {
            let marks = self.reserved.iter_mut().chain([&mut self.paused_until]);
            marks.chain(self.allowances.iter_mut().map(|(_, at)| at)).for_each(|mark| *mark = mark.saturating_sub(back));
        }
        self.seen_at = nanos(now);
    }

    fn take(&mut self, report: &Report, now: Duration, share: f64) {
        let window = Duration::from_nanos(report.window);
        if report.window > 0 && window <= SHORT {
            if report.left as f64 <= report.max as f64 * share {
                self.paused_until = self.paused_until.max(nanos(now + window / 10));
            }
            return;
        }
        self.allowances.retain(|(known, _)| known.name != report.name);
        self.allowances.push((report.clone(), nanos(now)));
    }

    /// How many calls the allowances leave to this priority, or the name of the one that leaves none. What was said long ago
    /// is forgotten, so that a call finds out anew.
    fn spendable(&mut self, now: Duration, share: f64, priority: Priority) -> Result<u64, String> {
        let old = |window: u64| if window == 0 { SHORT } else { (Duration::from_nanos(window) / 24).max(Duration::from_secs(300)) };
        self.allowances.retain(|(report, at)| now.saturating_sub(Duration::from_nanos(*at)) < old(report.window));
        let floor = share + FLOORS.get(usize::from(priority.rank())).copied().unwrap_or_default();
        let mut most = u64::MAX;
        for (report, _) in &self.allowances {
            // Not negative, and at most `max`.
            let kept = (report.max as f64 * floor.min(1.0)).ceil() as u64;
            match report.left.checked_sub(kept) {
                None | Some(0) => return Err(report.name.clone()),
                Some(left) => most = most.min(left),
            }
        }
        Ok(most)
    }
}

fn nanos(mark: Duration) -> u64 {
    u64::try_from(mark.as_nanos()).unwrap_or(u64::MAX)
}

fn since_epoch(at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(Timestamp::UNIX_EPOCH)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::store::memory::MemoryStore;

    const HOLD: Duration = Duration::from_secs(2);
    const LONGEST: Duration = Duration::from_secs(60);

    fn millis(grant: &Grant) -> Vec<u128> {
        grant.waits.iter().map(Duration::as_millis).collect()
    }

    fn budget(host: &Host, windows: impl IntoIterator<Item = Window>) -> Budget {
        Budget::new(Arc::new(MemoryStore::new(host.clone())), "acme", windows).slack(0.0)
    }

    #[tokio::test]
    async fn two_processes_take_turns_in_one_sequence() {
        let host = Host::manual(1);
        let one = budget(&host, [Window::per_second(10).burst(1)]);
        let two = one.clone();
        assert_eq!(millis(&one.borrow(Priority::Incremental, 3, HOLD, LONGEST).await.unwrap()), [0, 100, 200]);
        assert_eq!(millis(&two.borrow(Priority::Incremental, 2, HOLD, LONGEST).await.unwrap()), [300, 400]);
        // No block reaches further than the hold.
        assert_eq!(one.borrow(Priority::Incremental, 100, HOLD, LONGEST).await.unwrap().waits.len(), 21);
        let error = two.borrow(Priority::Incremental, 1, HOLD, Duration::from_secs(2)).await.unwrap_err();
        assert_eq!((error.kind(), error.retry_after()), (ErrorKind::RateLimited, Some(Duration::from_millis(2600))));
    }

    #[tokio::test]
    async fn a_share_is_kept_and_the_urgent_go_on_longest() {
        let host = Host::manual(1);
        let budget = budget(&host, [Window::new(1_000, Duration::from_secs(1)).burst(1)]).share(0.2);
        assert_eq!(budget.borrow(Priority::Backfill, 9_999, Duration::from_secs(1), LONGEST).await.unwrap().waits.len(), 801);
        budget.report("Daily", 340, 1_000, Some(Duration::from_secs(86_400)));
        // 340 left, 200 kept, 150 above it are not for backfills.
        let error = budget.borrow(Priority::Backfill, 1, HOLD, LONGEST).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::QuotaExhausted);
        assert!(error.to_string().contains("Daily"), "{error}");
        assert_eq!(budget.borrow(Priority::Incremental, 500, HOLD, LONGEST).await.unwrap().waits.len(), 90);
        assert_eq!(budget.borrow(Priority::Incremental, 1, HOLD, LONGEST).await.unwrap_err().kind(), ErrorKind::QuotaExhausted);
        assert_eq!(budget.borrow(Priority::Webhook, 500, HOLD, LONGEST).await.unwrap().waits.len(), 30);
        assert_eq!(budget.borrow(Priority::Interactive, 500, HOLD, LONGEST).await.unwrap().waits.len(), 20);
        assert_eq!(budget.borrow(Priority::Interactive, 1, HOLD, LONGEST).await.unwrap_err().kind(), ErrorKind::QuotaExhausted);
        // An hour later nobody knows, and one call asks.
        host.sleep(Duration::from_secs(3_600)).await;
        assert!(budget.borrow(Priority::Backfill, 1, HOLD, LONGEST).await.is_ok());
    }

    #[tokio::test]
    async fn a_pause_is_everybodys() {
        let host = Host::manual(1);
        let one = budget(&host, [Window::per_second(10)]);
        let two = one.clone();
        one.pause(Duration::from_secs(7)).await.unwrap();
        assert_eq!(millis(&two.borrow(Priority::Interactive, 1, HOLD, LONGEST).await.unwrap()), [7_000]);
        host.sleep(Duration::from_secs(8)).await;
        two.report("TenSeconds", 0, 100, Some(Duration::from_secs(10)));
        assert_eq!(millis(&two.borrow(Priority::Interactive, 1, HOLD, LONGEST).await.unwrap()), [1_000]);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_stop_it() {
        let (host, clock) = Host::manual_with_clock(1);
        let budget = budget(&host, [Window::per_second(1).burst(1)]);
        budget.borrow(Priority::Incremental, 3, HOLD, LONGEST).await.unwrap();
        budget.pause(Duration::from_secs(20)).await.unwrap();
        clock.set_wall(host.now() - Duration::from_secs(86_400));
        assert_eq!(millis(&budget.borrow(Priority::Incremental, 1, HOLD, LONGEST).await.unwrap()), [20_000]);
        clock.set_wall(host.now() + Duration::from_secs(86_400 * 2));
        assert_eq!(millis(&budget.borrow(Priority::Incremental, 1, HOLD, LONGEST).await.unwrap()), [0]);
    }
}
