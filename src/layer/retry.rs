//! Tries again.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use crate::error::Result;
use crate::host::Host;
use crate::layer::api::{Call, Middleware};
use crate::observe::{Event, Ignore, Observer};
use crate::pace::{RetryBudget, RetryPolicy};

/// Repeats failed calls as a [`RetryPolicy`] says, sleeping in between.
///
/// A write that may have been applied is repeated only if the call is idempotent. The error that comes out in the end says
/// "may have been applied" if any of the attempts did. Rows that fail inside a `bulk` are outcomes, not errors: they are not
/// repeated here. Dropping the future between two attempts leaves nothing behind.
#[derive(Clone, Debug)]
pub struct Retry {
    host: Host,
    policy: RetryPolicy,
    budget: Option<RetryBudget>,
    observer: Arc<dyn Observer>,
}

impl Retry {
    /// Retries by `policy`, without a shared budget.
    pub fn new(host: Host, policy: RetryPolicy) -> Self {
        Self { host, policy, budget: None, observer: Arc::new(Ignore) }
    }

    /// Retries only while `budget` lasts. Share one budget between all layers that lead to the same CRM.
    #[must_use]
    pub fn budget(mut self, budget: RetryBudget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Who hears of [`Event::Retry`].
    #[must_use]
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }
}

impl Middleware for Retry {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let started = self.host.monotonic();
        let mut attempt = 1;
        let mut ambiguous = false;
        let mut paid = None;
        loop {
            let error = match run().await {
                Ok(value) => {
                    if let Some(budget) = &self.budget {
                        budget.give_back(paid.unwrap_or(1));
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            ambiguous |= error.may_have_applied();
            let elapsed = self.host.monotonic().saturating_sub(started);
            let random = self.host.random();
            let wait = if call.idempotent {
                self.policy.next_wait_repeatable(&error, attempt, elapsed, random)
            } else {
                self.policy.next_wait(&error, attempt, elapsed, random)
            };
            let cost = wait.and_then(|_| match &self.budget {
                Some(budget) => budget.spend(&error),
                None => Some(0),
            });
            let (Some(wait), Some(cost)) = (wait, cost) else {
                return Err(if ambiguous { error.ambiguous() } else { error });
            };
            paid = Some(cost);
            self.observer.on(&Event::Retry {
                adapter: call.adapter,
                operation: call.operation,
                entity: call.entity,
                attempt,
                wait,
                error: &error,
            });
            drop(error);
            self.host.sleep(wait).await;
            attempt += 1;
        }
    }
}
