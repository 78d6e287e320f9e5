//! Round after round, at the interval of the sync rules.

use std::time::Duration;

use futures_util::{Stream, stream};

use crate::error::Result;
use crate::sync::reader::Reader;
use crate::sync::two_way::api::TwoWay;
use crate::sync::two_way::plan::TwoWayReport;

impl TwoWay {
    /// Both sides tell what changed, and it is settled: one round. What the engine's rules
    /// ([`EngineBuilder::rules`](crate::sync::EngineBuilder::rules)) do not read is not asked for.
    ///
    /// # Errors
    /// Those of [`TwoWay::read_host`], [`TwoWay::pull`] and [`TwoWay::settle`].
    pub async fn round(&self, reader: &Reader) -> Result<TwoWayReport> {
        if self.goes().writes() {
            self.read_host().await?;
        }
        if self.goes().reads() {
            self.pull(reader).await?;
        }
        self.settle().await
    }

    /// Rounds for ever, one for each item, the first one at once. Between two of them it waits by the host's clock for the rules'
    /// `syncInterval` ([`Engine::interval`](crate::sync::Engine::interval)), and less if a record is due earlier. An error is an
    /// item too; the next round comes after the interval.
    ///
    /// Nothing happens while the host does not poll it, and it may be dropped at any time, as [`TwoWay::settle`].
    pub fn rounds<'a>(&'a self, reader: &'a Reader) -> impl Stream<Item = Result<TwoWayReport>> + Send + 'a {
        let host = &self.parts.engine.inner.host;
        let interval = self.parts.engine.interval();
        stream::unfold(Duration::ZERO, move |wait| async move {
            if !wait.is_zero() {
                host.sleep(wait).await;
            }
            let done = self.round(reader).await;
            let wait = match &done {
                Ok(report) => match report.next {
                    Some(next) => self.until(next).await.min(interval),
                    None => interval,
                },
                Err(_) => interval,
            };
            Some((done, wait))
        })
    }

    /// How long it is until an instant of store time.
    async fn until(&self, at: jiff::Timestamp) -> Duration {
        match self.store().now().await {
            Ok(now) => Duration::try_from(at.duration_since(now)).unwrap_or_default(),
            Err(_) => Duration::MAX,
        }
    }
}
