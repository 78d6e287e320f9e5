//! The bench, and what the tests share.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::conformance::report::{Broken, Check, ensure};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Batch, Conflict, Family, Key, Store};

/// Makes stores for the tests.
#[async_trait]
pub trait StoreBench: Debug + Send + Sync {
    /// A new store that is empty and ready for use.
    ///
    /// # Errors
    /// Whatever keeps the store from being made.
    async fn store(&self) -> Result<Arc<dyn Store>>;

    /// Returns when `time` has passed in store time: moves a manual clock, or waits.
    async fn pass(&self, time: Duration);

    /// The same data seen by a store that is opened anew, after the old one is gone; `None` if there is no such thing.
    ///
    /// # Errors
    /// Whatever keeps the store from being opened.
    async fn reopen(&self, store: Arc<dyn Store>) -> Result<Option<Arc<dyn Store>>> {
        drop(store);
        Ok(None)
    }
}

pub(super) fn key(name: &str) -> Key {
    Key::new(Family::Base, &["test", name])
}

pub(super) async fn put(store: &dyn Store, name: &str, value: &'static str) -> Result<u64, Broken> {
    let mut batch = Batch::new();
    batch.put(key(name), value);
    only(&store.commit(batch).await?)
}

pub(super) fn only(versions: &[u64]) -> Result<u64, Broken> {
    match versions {
        [version] => Ok(*version),
        other => Err(Broken::new(format!("one put, but {} versions", other.len()))),
    }
}

pub(super) fn batch(fill: impl FnOnce(&mut Batch) -> &mut Batch) -> Batch {
    let mut batch = Batch::new();
    fill(&mut batch);
    batch
}

/// The commit must have been refused because of `culprit`.
pub(super) fn refused(outcome: Result<Vec<u64>, Error>, culprit: &str) -> Check {
    let Err(error) = outcome else {
        return Err(Broken::new(format!("a batch whose precondition on {} fails was done", key(culprit))));
    };
    ensure!(error.kind() == ErrorKind::Conflict, "a failed precondition is no conflict but: {error}");
    ensure!(!error.may_have_applied(), "a conflict claims that the batch may be done");
    ensure!(error.message().contains(&key(culprit).to_string()), "the conflict does not name {}: {error}", key(culprit));
    ensure!(
        Conflict::of(&error).is_some_and(|conflict| conflict.key == key(culprit)),
        "the conflict has no source naming {}",
        key(culprit)
    );
    Ok(())
}
