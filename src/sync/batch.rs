//! Plan and apply in one stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};

use crate::error::Result;
use crate::sync::api::{Applied, Incoming, Outcome};
use crate::sync::engine::Engine;
use crate::sync::plan::Action;

/// Records planned at once.
const CHUNK: usize = 2_000;

impl Engine {
    /// Syncs a stream of records of any length in bounded memory: 2,000 at a time are planned and applied. Every record gives
    /// one item, those that need no write too ([`Outcome::NotWritten`]).
    ///
    /// An id that comes again in a later chunk is an update of the record. The first error is the last item; what was not
    /// reached by then is untouched. As [`Engine::apply`] it may be dropped at any time.
    pub fn batch<'a>(&'a self, incoming: impl Stream<Item = Incoming> + Send + 'a) -> BoxStream<'a, Result<Applied>> {
        let failed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&failed);
        incoming
            .chunks(CHUNK)
            .take_while(move |_| std::future::ready(!seen.load(Ordering::Relaxed)))
            .then(move |records| {
                let failed = Arc::clone(&failed);
                async move {
                    let items = self.chunk(&records).await;
                    if items.last().is_some_and(Result::is_err) {
                        failed.store(true, Ordering::Relaxed);
                    }
                    stream::iter(items)
                }
            })
            .flatten()
            .boxed()
    }

    async fn chunk(&self, records: &[Incoming]) -> Vec<Result<Applied>> {
        let plan = match self.plan(records).await {
            Ok(plan) => plan,
            Err(error) => return vec![Err(error)],
        };
        let mut items: Vec<Result<Applied>> = plan
            .rows
            .iter()
            .filter(|row| !matches!(row.action, Action::Create | Action::Update))
            .map(|row| {
                let outcome = Outcome::NotWritten { action: row.action, reason: row.reason.clone() };
                Ok(Applied { local: row.local.clone(), outcome })
            })
            .collect();
        items.extend(self.apply(&plan).collect::<Vec<_>>().await);
        items
    }
}
