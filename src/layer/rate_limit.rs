//! Takes turns.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;
use crate::layer::api::{Call, Middleware};
use crate::observe::{Event, Ignore, Observer};
use crate::pace::{Bucket, Window};

/// Keeps the calls of one connection within the CRM's limits, by waiting before each.
///
/// A call costs 1, and a `bulk` costs as many as it carries where the CRM has no bulk call. When the CRM names a time
/// ([`Retry::After`]), nothing goes out before it, whichever call was told. Clones share the limit; limits of several processes
/// add up, so give each its share. A call that is dropped while it waits has still used up its turn.
#[derive(Clone, Debug)]
pub struct RateLimit {
    host: Host,
    buckets: Arc<Mutex<Buckets>>,
    longest_wait: Duration,
    observer: Arc<dyn Observer>,
}

#[derive(Debug)]
struct Buckets {
    /// For every call.
    all: Bucket,
    /// For calls of one operation, before the one for all.
    operations: Vec<(&'static str, Bucket)>,
}

impl Buckets {
    fn of(&mut self, operation: Option<&str>) -> Option<&mut Bucket> {
        match operation {
            None => Some(&mut self.all),
            Some(operation) => self.operations.iter_mut().find(|(name, _)| *name == operation).map(|(_, bucket)| bucket),
        }
    }
}

impl RateLimit {
    /// Every window holds for all calls together.
    pub fn new(host: Host, windows: impl IntoIterator<Item = Window>) -> Self {
        let buckets = Buckets { all: Bucket::new(windows), operations: Vec::new() };
        let longest_wait = Duration::from_secs(60);
        Self { host, buckets: Arc::new(Mutex::new(buckets)), longest_wait, observer: Arc::new(Ignore) }
    }

    /// Windows that hold for one operation besides, e.g. HubSpot's five searches a second. Set before the limit is shared.
    #[must_use]
    pub fn operation(self, operation: &'static str, windows: impl IntoIterator<Item = Window>) -> Self {
        self.lock().operations.push((operation, Bucket::new(windows)));
        self
    }

    /// The longest wait for a turn; a call that would wait longer fails with [`ErrorKind::RateLimited`] and the time, and takes
    /// no turn. Default: sixty seconds.
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

    /// Corrects the limit by what the CRM says: `left` calls until the allowance is renewed in `renewed_in`.
    pub fn allow(&self, left: u64, renewed_in: Duration) {
        let now = self.host.monotonic();
        self.lock().all.allow(now, left, renewed_in);
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wait for a turn, which is taken.
    fn reserve(&self, operation: Option<&str>, cost: u32) -> Result<Duration, Duration> {
        let now = self.host.monotonic();
        let mut buckets = self.lock();
        let Some(bucket) = buckets.of(operation) else { return Ok(Duration::ZERO) };
        let wait = bucket.wait(now, cost);
        if wait > self.longest_wait {
            return Err(wait);
        }
        Ok(bucket.reserve(now, cost))
    }

    async fn turn(&self, call: Call<'_>, operation: Option<&str>, cost: u32) -> Result<()> {
        let wait = match self.reserve(operation, cost) {
            Ok(wait) if wait.is_zero() => return Ok(()),
            Ok(wait) => wait,
            Err(wait) => {
                let message = format!("the rate limit of {} has no turn within {} s", call.adapter, self.longest_wait.as_secs());
                let error = Error::new(ErrorKind::RateLimited, message).retrying(Retry::After(wait)).during(call.operation);
                return Err(match call.entity {
                    Some(entity) => error.on(entity),
                    None => error,
                });
            }
        };
        self.observer.on(&Event::Throttle { adapter: call.adapter, operation: call.operation, entity: call.entity, wait });
        self.host.sleep(wait).await;
        Ok(())
    }
}

impl Middleware for RateLimit {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, run: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let one_by_one = call.operation == "bulk" && !call.capabilities.bulk;
        let cost = if one_by_one { u32::try_from(call.records).unwrap_or(u32::MAX) } else { 1 };
        // The narrow limit first: a turn of the wide one that waits for it would be lost to the others.
        self.turn(call, Some(call.operation), cost).await?;
        self.turn(call, None, cost).await?;
        let result = run().await;
        if let Err(error) = &result
            && let Some(wait) = error.retry_after()
        {
            let now = self.host.monotonic();
            self.lock().all.pause(now, wait);
        }
        result
    }
}
