//! The contract of a store.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::error::Result;
use crate::store::batch::{Batch, Row};
use crate::store::key::Key;

/// What a store promises beyond the contract.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoreCapabilities {
    /// An acknowledged commit survives the end of the process, however it ends.
    pub durable: bool,
    /// An acknowledged commit also survives a power cut. Implies `durable`.
    pub survives_power_loss: bool,
    /// Several processes may use it at once.
    pub shared: bool,
}

/// Remembers rows. One method changes anything: [`Store::commit`].
///
/// The trait is object-safe; hold a store as `Arc<dyn Store>`. A future that is dropped leaves the batch either wholly done
/// or not begun, and nobody knows which; the preconditions make the repeat safe.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Checks every precondition of `batch`, then does every mutation; all or nothing, and isolated from other commits.
    /// Answers the versions of the puts, in their order.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Conflict`] naming the first key (in the order of the preconditions) whose precondition
    /// failed, with a [`crate::store::Conflict`] as source; nothing was changed then.
    /// [`crate::error::ErrorKind::Store`] if the store failed; `may_have_applied()` tells whether the batch may be done.
    async fn commit(&self, batch: Batch) -> Result<Vec<u64>>;

    /// The rows under `keys`, in the same order; `None` for absent and expired ones. One consistent state.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Store`] if the store failed.
    async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>>;

    /// The row under `key`.
    ///
    /// # Errors
    /// As [`Store::load_many`].
    async fn load(&self, key: &Key) -> Result<Option<Row>> {
        Ok(self.load_many(std::slice::from_ref(key)).await?.pop().flatten())
    }

    /// At most `limit` live rows whose key starts with `prefix` and is greater than `after`, in key order. Fewer than
    /// `limit` rows mean that there are no more.
    ///
    /// # Errors
    /// As [`Store::load_many`].
    async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>>;

    /// Store time, which decides about expiry. All users of one store agree on it as well as the store can make them.
    ///
    /// # Errors
    /// As [`Store::load_many`].
    async fn now(&self) -> Result<Timestamp>;

    /// What it promises.
    fn capabilities(&self) -> StoreCapabilities;
}

macro_rules! forward {
    ($($(#[$meta:meta])* $target:ty),+) => {$(
        $(#[$meta])*
        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<S: Store + ?Sized> Store for $target {
            async fn commit(&self, batch: Batch) -> Result<Vec<u64>> {
                (**self).commit(batch).await
            }

            async fn load_many(&self, keys: &[Key]) -> Result<Vec<Option<Row>>> {
                (**self).load_many(keys).await
            }

            async fn load(&self, key: &Key) -> Result<Option<Row>> {
                (**self).load(key).await
            }

            async fn scan(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Result<Vec<(Key, Row)>> {
                (**self).scan(prefix, after, limit).await
            }

            async fn now(&self) -> Result<Timestamp> {
                (**self).now().await
            }

            fn capabilities(&self) -> StoreCapabilities {
                (**self).capabilities()
            }
        }
    )+};
}

forward!(Arc<S>, Box<S>, &S);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trait_is_object_safe() {
        fn takes(_: Option<&dyn Store>) {}
        takes(None);
    }
}
