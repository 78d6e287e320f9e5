//! Where tokens are kept between runs and shared between processes.
//!
//! Salesforce and HubSpot may rotate the refresh token: each refresh answers a new one and kills the old one. Two processes
//! that refresh with the same token at once make Salesforce revoke the whole family, so a refresh is serialised by
//! [`TokenCache::try_lock`] and its result saved under a generation before anybody uses it.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::host::Host;

/// A token as it is kept. It is a credential: a cache that writes to disk should encrypt it or guard the file.
#[derive(Clone, Serialize, Deserialize)]
pub struct StoredToken {
    /// Sent with each request.
    pub access_token: String,
    /// Buys the next access token, for grants that have one.
    pub refresh_token: Option<String>,
    /// Where the API answers, if the token names it (Salesforce); may change with any refresh.
    pub instance_url: Option<String>,
    /// When it was issued, by the server's clock.
    pub issued_at: Option<Timestamp>,
    /// When it stops working, if the server said so.
    pub expires_at: Option<Timestamp>,
}

/// Never the credentials.
impl Debug for StoredToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredToken")
            .field("access_token", &"[redacted]")
            .field("refresh_token", &self.refresh_token.as_ref().map(|_| "[redacted]"))
            .field("instance_url", &self.instance_url)
            .field("issued_at", &self.issued_at)
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// A token and the number of times its key was saved.
#[derive(Clone, Debug)]
pub struct CachedToken {
    /// Grows with each save, starting at 1.
    pub generation: u64,
    /// The token.
    pub token: StoredToken,
}

/// Keeps tokens by key, with compare-and-set and a lock that expires. It is object-safe.
#[async_trait]
pub trait TokenCache: Debug + Send + Sync {
    /// The token of `key`, if one was saved.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the cache cannot be read.
    async fn load(&self, key: &str) -> Result<Option<CachedToken>>;

    /// Saves `token` if the stored generation is still `expected` (`None`: nothing is stored), and returns the new generation.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if the stored generation is another one; [`ErrorKind::Store`] if the cache cannot be written.
    async fn save(&self, key: &str, expected: Option<u64>, token: &StoredToken) -> Result<u64>;

    /// Takes the lock of `key` for `owner`, for at most `ttl`; true if `owner` holds it now. Taking it again prolongs it.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the cache cannot be written.
    async fn try_lock(&self, key: &str, owner: &str, ttl: Duration) -> Result<bool>;

    /// Gives the lock back. Nothing happens if `owner` does not hold it.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the cache cannot be written.
    async fn unlock(&self, key: &str, owner: &str) -> Result<()>;
}

/// A cache in memory: it serialises refreshes within one process and forgets everything with it.
#[derive(Debug)]
pub struct MemoryTokenCache {
    host: Host,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    tokens: HashMap<String, CachedToken>,
    /// Owner and the monotonic mark at which the lock expires.
    locks: HashMap<String, (String, Duration)>,
}

impl MemoryTokenCache {
    /// An empty cache; locks expire by the clock of `host`.
    pub fn new(host: Host) -> Self {
        Self { host, state: Mutex::default() }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl TokenCache for MemoryTokenCache {
    async fn load(&self, key: &str) -> Result<Option<CachedToken>> {
        Ok(self.with(|state| state.tokens.get(key).cloned()))
    }

    async fn save(&self, key: &str, expected: Option<u64>, token: &StoredToken) -> Result<u64> {
        self.with(|state| {
            let stored = state.tokens.get(key).map(|cached| cached.generation);
            if stored != expected {
                return Err(Error::new(ErrorKind::Conflict, "the token was saved by somebody else in between; load it again"));
            }
            let generation = stored.unwrap_or(0) + 1;
            state.tokens.insert(key.to_owned(), CachedToken { generation, token: token.clone() });
            Ok(generation)
        })
    }

    async fn try_lock(&self, key: &str, owner: &str, ttl: Duration) -> Result<bool> {
        let now = self.host.monotonic();
        Ok(self.with(|state| match state.locks.get(key) {
            Some((holder, until)) if holder != owner && *until > now => false,
            _ => {
                state.locks.insert(key.to_owned(), (owner.to_owned(), now.saturating_add(ttl)));
                true
            }
        }))
    }

    async fn unlock(&self, key: &str, owner: &str) -> Result<()> {
        self.with(|state| {
            if state.locks.get(key).is_some_and(|(holder, _)| holder == owner) {
                state.locks.remove(key);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn token(access: &str) -> StoredToken {
        StoredToken {
            access_token: access.into(),
            refresh_token: Some("secret-refresh".into()),
            instance_url: None,
            issued_at: None,
            expires_at: None,
        }
    }

    #[test]
    fn object_safe() {
        fn takes(_: Option<&dyn TokenCache>) {}
        takes(None);
    }

    #[test]
    fn debug_hides_the_credentials() {
        let text = format!("{:?}", CachedToken { generation: 1, token: token("secret-access") });
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn saves_compare_the_generation() {
        let cache = MemoryTokenCache::new(Host::manual(1));
        let save = |expected, text: &str| cache.save("k", expected, &token(text)).now_or_never().unwrap();
        assert_eq!(save(Some(1), "a").unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(save(None, "a").unwrap(), 1);
        assert_eq!(save(None, "b").unwrap_err().kind(), ErrorKind::Conflict);
        assert_eq!(save(Some(1), "b").unwrap(), 2);
        let cached = cache.load("k").now_or_never().unwrap().unwrap().unwrap();
        assert_eq!((cached.generation, cached.token.access_token.as_str()), (2, "b"));
    }

    #[test]
    fn locks_exclude_and_expire() {
        let (host, clock) = Host::manual_with_clock(1);
        let cache = MemoryTokenCache::new(host);
        let lock = |owner: &str| cache.try_lock("k", owner, Duration::from_secs(10)).now_or_never().unwrap().unwrap();
        assert!(lock("a"));
        assert!(lock("a"));
        assert!(!lock("b"));
        cache.unlock("k", "b").now_or_never().unwrap().unwrap();
        assert!(!lock("b"), "only the holder can unlock");
        clock.advance(Duration::from_secs(10));
        assert!(lock("b"), "an abandoned lock expires");
        cache.unlock("k", "b").now_or_never().unwrap().unwrap();
        assert!(lock("a"));
    }
}
