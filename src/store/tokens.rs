//! Access tokens in the store, so that all processes of a host share one and only one of them renews it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::auth::{CachedToken, StoredToken, TokenCache};
use crate::error::Result;
use crate::store::api::Store;
use crate::store::batch::{Batch, Conflict, Row};
use crate::store::ext::StoreExt;
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;

/// A [`TokenCache`] over a store.
///
/// Tokens are stored as they are, refresh tokens included: whoever reads the store can use them. `SqliteStore`
/// makes its file readable by its owner alone; wrap the cache to encrypt them.
#[derive(Clone, Debug)]
pub struct StoreTokens {
    store: Arc<dyn Store>,
}

#[derive(Serialize, Deserialize)]
struct Kept {
    generation: u64,
    token: StoredToken,
}

impl StoreTokens {
    /// A cache over `store`.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    async fn kept(&self, key: &Key) -> Result<Option<(Kept, Row)>> {
        let Some(row) = self.store.load(key).await? else { return Ok(None) };
        Ok(Some((decode(key, FORMAT, &row)?, row)))
    }
}

#[async_trait]
impl TokenCache for StoreTokens {
    async fn load(&self, key: &str) -> Result<Option<CachedToken>> {
        let kept = self.kept(&token_key(key)).await?;
        Ok(kept.map(|(kept, _)| CachedToken { generation: kept.generation, token: kept.token }))
    }

    async fn save(&self, key: &str, expected: Option<u64>, token: &StoredToken) -> Result<u64> {
        let key = token_key(key);
        let found = self.kept(&key).await?;
        if found.as_ref().map(|(kept, _)| kept.generation) != expected {
            return Err(Conflict::new(key).into());
        }
        let generation = expected.unwrap_or(0) + 1;
        let mut batch = Batch::new();
        match found {
            Some((_, row)) => batch.require_version(key.clone(), row.version),
            None => batch.require_absent(key.clone()),
        };
        let value = encode(&key, FORMAT, &Kept { generation, token: token.clone() })?;
        batch.put(key, value);
        self.store.commit(batch).await?;
        Ok(generation)
    }

    async fn try_lock(&self, key: &str, owner: &str, ttl: Duration) -> Result<bool> {
        Ok(self.store.lock_again(&lock_name(key), owner, ttl).await?.is_some())
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<()> {
        self.store.unlock_owned(&lock_name(key), owner).await.map(drop)
    }
}

fn token_key(key: &str) -> Key {
    Key::new(Family::Tokens, &[key])
}

fn lock_name(key: &str) -> String {
    format!("token:{key}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::host::Host;
    use crate::store::memory::MemoryStore;

    fn token(text: &str) -> StoredToken {
        StoredToken {
            access_token: text.to_owned(),
            refresh_token: Some(format!("refresh {text}")),
            instance_url: None,
            issued_at: None,
            expires_at: None,
        }
    }

    #[tokio::test]
    async fn a_save_needs_the_newest_generation() {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new(Host::manual(1)));
        let (here, there) = (StoreTokens::new(Arc::clone(&store)), StoreTokens::new(store));
        assert!(here.load("acme").await.unwrap().is_none());
        assert_eq!(here.save("acme", Some(1), &token("a")).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(here.save("acme", None, &token("a")).await.unwrap(), 1);
        assert_eq!(there.save("acme", None, &token("b")).await.unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(there.save("acme", Some(1), &token("c")).await.unwrap(), 2);
        let error = here.save("acme", Some(1), &token("d")).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Conflict && !format!("{error} {error:?}").contains("refresh"), "{error:?}");
        let loaded = here.load("acme").await.unwrap().unwrap();
        assert_eq!((loaded.generation, loaded.token.access_token.as_str()), (2, "c"));
        assert_eq!(loaded.token.refresh_token.as_deref(), Some("refresh c"));
        assert!(here.load("beta").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_lock_is_one_owners_until_it_ends() {
        let (host, clock) = Host::manual_with_clock(1);
        let cache = StoreTokens::new(Arc::new(MemoryStore::new(host)));
        let ttl = Duration::from_secs(30);
        assert!(cache.try_lock("acme", "a", ttl).await.unwrap());
        assert!(cache.try_lock("acme", "a", ttl).await.unwrap());
        assert!(!cache.try_lock("acme", "b", ttl).await.unwrap());
        assert!(cache.try_lock("beta", "b", ttl).await.unwrap());
        cache.unlock("acme", "b").await.unwrap();
        assert!(!cache.try_lock("acme", "b", ttl).await.unwrap());
        cache.unlock("acme", "a").await.unwrap();
        assert!(cache.try_lock("acme", "b", ttl).await.unwrap());
        clock.advance(ttl);
        assert!(cache.try_lock("acme", "a", ttl).await.unwrap());
        assert!(!cache.try_lock("acme", "b", ttl).await.unwrap());
    }
}
