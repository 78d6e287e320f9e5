//! Takes turns with other processes.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::adapter::Quota;
use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;
use crate::layer::api::{Call, Middleware};
use crate::layer::line::{Line, Next, Place};
use crate::observe::{Event, Ignore, Observer};
use crate::queue::Priority;
use crate::store::Budget;

/// Keeps the calls of all processes together within the CRM's limits: each call is paid from a [`Budget`].
///
/// It is put where [`crate::layer::RateLimit`] would be, which is its kin for one process. Requests are counted, not jobs: every
/// attempt pays, and a `bulk` pays for as many requests as it carries where the CRM has no bulk call. Calls are borrowed in
/// blocks; within a process the most urgent caller goes first ([`SharedBudget::priority`]), and waits at most for what the
/// processes have borrowed already.
///
/// When the CRM names a time ([`crate::error::Retry::After`]), all processes wait for it. When its quota is asked for, which
/// every plan of an engine does, what it says corrects the budget.
///
/// A call that is dropped while it waits has taken nothing. Clones share the line.
#[derive(Clone, Debug)]
pub struct SharedBudget {
    shared: Arc<Shared>,
    priority: Priority,
    block: u32,
    hold: Duration,
    longest_wait: Duration,
    observer: Arc<dyn Observer>,
}

#[derive(Debug)]
struct Shared {
    host: Host,
    budget: Budget,
    line: Mutex<Line>,
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SharedBudget {
    /// Calls are paid from `budget`.
    pub fn new(host: Host, budget: Budget) -> Self {
        let shared = Arc::new(Shared { host, budget, line: Mutex::new(Line::new()) });
        Self {
            shared,
            priority: Priority::default(),
            block: 20,
            hold: Duration::from_secs(2),
            longest_wait: Duration::from_secs(60),
            observer: Arc::new(Ignore),
        }
    }

    /// The same line at another priority, for the adapter of another kind of work. Default: [`Priority::Incremental`].
    #[must_use]
    pub fn priority(mut self, priority: Priority) -> Self {
        self.priority = priority;
        self
    }

    /// At most so many calls are borrowed at once, for at most `hold` after the first of them. Default: 20 for two seconds.
    #[must_use]
    pub fn block(mut self, calls: u32, hold: Duration) -> Self {
        (self.block, self.hold) = (calls.max(1), hold);
        self
    }

    /// The longest wait for a turn; a call that would wait longer fails with [`ErrorKind::RateLimited`] and the time. Default:
    /// sixty seconds.
    #[must_use]
    pub fn longest_wait(mut self, longest: Duration) -> Self {
        self.longest_wait = longest;
        self
    }

    /// Who hears of [`Event::Throttle`].
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// The budget.
    pub fn budget(&self) -> &Budget {
        &self.shared.budget
    }

    async fn turn(&self, call: Call<'_>) -> Result<()> {
        let shared = &*self.shared;
        let began = shared.host.monotonic();
        let place = Waiting::new(shared, self.priority);
        let mut told = false;
        loop {
            let now = shared.host.monotonic();
            let next = shared.line().next(place.place, now, shared.budget.valid(), self.block);
            match next {
                Next::Go => return Ok(()),
                Next::Sleep(wait) => {
                    if !std::mem::replace(&mut told, true) {
                        let Call { adapter, operation, entity, .. } = call;
                        self.observer.on(&Event::Throttle { adapter, operation, entity, wait });
                    }
                    shared.host.sleep(wait).await;
                }
                Next::Borrow(calls) => {
                    let borrowing = Borrowing(shared);
                    let waited = now.saturating_sub(began);
                    let longest = self.longest_wait.saturating_sub(waited);
                    let grant = shared.budget.borrow(self.priority, calls, self.hold, longest).await;
                    let grant = grant.map_err(|error| Self::about(error, call))?;
                    // The store told its time before now, so no call goes too early.
                    let now = shared.host.monotonic();
                    shared.line().borrowed(grant.waits.iter().map(|wait| now.saturating_add(*wait)));
                    drop(borrowing);
                }
                Next::Wait => place.turn().await,
            }
        }
    }

    fn about(error: Error, call: Call<'_>) -> Error {
        let error = error.during(call.operation);
        match call.entity {
            Some(entity) => error.on(entity),
            None => error,
        }
    }
}

impl Middleware for SharedBudget {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        // It is known from the answers; no request is made for it.
        if call.operation == "quota" {
            return run().await;
        }
        let one_by_one = call.operation == "bulk" && !call.capabilities.bulk;
        for _ in 0..if one_by_one { call.records } else { 1 } {
            self.turn(call).await?;
        }
        let result = run().await;
        if let Err(error) = &result
            && matches!(error.kind(), ErrorKind::RateLimited | ErrorKind::QuotaExhausted | ErrorKind::Unavailable)
            && let Some(wait) = error.retry_after()
        {
            self.shared.line().forget();
            // The answer is the caller's, whether or not the others can be told.
            let _ = self.shared.budget.pause(wait).await;
        }
        result
    }

    fn quota(&self, quota: &Quota) {
        for window in &quota.windows {
            self.shared.budget.report(window.name.as_str(), window.left(), window.max, window.window);
        }
    }
}

/// A place in the line; it is left with the value.
struct Waiting<'a> {
    shared: &'a Shared,
    place: Place,
}

impl<'a> Waiting<'a> {
    fn new(shared: &'a Shared, priority: Priority) -> Self {
        let place = shared.line().enter(priority.rank());
        Self { shared, place }
    }

    /// Completes when this place is the first one.
    async fn turn(&self) {
        poll_fn(|context| {
            let mut line = self.shared.line();
            if line.is_turn(self.place) {
                return Poll::Ready(());
            }
            line.listen(self.place, context.waker());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.line().leave(self.place);
    }
}

/// Nobody else borrows meanwhile.
struct Borrowing<'a>(&'a Shared);

impl Drop for Borrowing<'_> {
    fn drop(&mut self) {
        self.0.line().end_borrowing();
    }
}
