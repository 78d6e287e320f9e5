//! Comforts on every store: locks with a time limit, whole scans, JSON.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result, Retry};
use crate::store::api::Store;
use crate::store::batch::{Batch, Row};
use crate::store::key::{Family, Key};
use crate::store::value::{decode, encode};

const FORMAT: u32 = 1;
/// Rows per call of a whole scan.
const PAGE: usize = 1000;

#[derive(Serialize, Deserialize)]
struct Held {
    owner: String,
}

/// Proof of a held lock.
///
/// A lock with a time limit does not keep its former holder from going on after the limit; the token does, if the holder
/// puts [`LockToken::guard`] into every batch it commits under the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockToken {
    name: String,
    owner: String,
    fence: u64,
    expires: Timestamp,
}

impl LockToken {
    /// The lock.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Who holds it.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Grows with every taking of this lock, for ever; for guarding things outside the store.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// When it ends, in store time.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Makes `batch` happen only while this token holds the lock.
    pub fn guard(&self, batch: &mut Batch) {
        batch.require_version(lock_key(&self.name), self.fence);
    }
}

impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lock {} #{}", self.name, self.fence)
    }
}

/// What every store can do on top of [`Store`].
#[async_trait]
pub trait StoreExt: Store {
    /// Takes the lock `name` for `ttl` of store time. `None` if somebody holds it; the same owner asking again counts as
    /// somebody too (see [`StoreExt::renew`]).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if `ttl` is below a microsecond; [`ErrorKind::Store`] if the store fails.
    async fn lock(&self, name: &str, owner: &str, ttl: Duration) -> Result<Option<LockToken>> {
        let mut batch = Batch::new();
        batch.require_absent(lock_key(name));
        hold(self, batch, name, owner, ttl).await
    }

    /// Holds a lock for another `ttl` from now. `None` if it was lost in between. The old token ends with the new one.
    ///
    /// # Errors
    /// As [`StoreExt::lock`].
    async fn renew(&self, token: &LockToken, ttl: Duration) -> Result<Option<LockToken>> {
        let mut batch = Batch::new();
        token.guard(&mut batch);
        hold(self, batch, &token.name, &token.owner, ttl).await
    }

    /// As [`StoreExt::lock`], but the same owner asking again holds it for another `ttl` from now. Right only if `owner` names
    /// one holder: two tasks of one name are not kept apart.
    ///
    /// # Errors
    /// As [`StoreExt::lock`].
    async fn lock_again(&self, name: &str, owner: &str, ttl: Duration) -> Result<Option<LockToken>> {
        if let Some(token) = self.lock(name, owner, ttl).await? {
            return Ok(Some(token));
        }
        let key = lock_key(name);
        let mut batch = Batch::new();
        match self.load(&key).await? {
            Some(row) if decode::<Held>(&key, FORMAT, &row)?.owner == owner => batch.require_version(key, row.version),
            Some(_) => return Ok(None),
            // It ended just now.
            None => batch.require_absent(key),
        };
        hold(self, batch, name, owner, ttl).await
    }

    /// Gives the lock back. False if it was lost before; nothing is changed then.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the store fails.
    async fn unlock(&self, token: &LockToken) -> Result<bool> {
        let mut batch = Batch::new();
        token.guard(&mut batch);
        batch.delete(lock_key(&token.name));
        Ok(unless_conflict(self.commit(batch).await)?.is_some())
    }

    /// Gives back the lock `name` if `owner` holds it; for those who cannot keep the token. False if not.
    ///
    /// # Errors
    /// As [`StoreExt::unlock`].
    async fn unlock_owned(&self, name: &str, owner: &str) -> Result<bool> {
        let key = lock_key(name);
        let Some(row) = self.load(&key).await? else { return Ok(false) };
        if decode::<Held>(&key, FORMAT, &row)?.owner != owner {
            return Ok(false);
        }
        let mut batch = Batch::new();
        batch.require_version(key.clone(), row.version).delete(key);
        Ok(unless_conflict(self.commit(batch).await)?.is_some())
    }

    /// Every live row below `prefix`, in key order, read in pages: rows that come or go meanwhile may or may not be seen.
    ///
    /// # Errors
    /// As [`Store::scan`].
    async fn scan_all(&self, prefix: &Key) -> Result<Vec<(Key, Row)>> {
        let mut rows: Vec<(Key, Row)> = Vec::new();
        loop {
            let page = self.scan(prefix, rows.last().map(|(key, _)| key), PAGE).await?;
            let last = page.len() < PAGE;
            rows.extend(page);
            if last {
                return Ok(rows);
            }
        }
    }

    /// The value under `key`, written by [`Batch::put_json`], and its version.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the store fails or the value does not fit.
    async fn load_json<T: DeserializeOwned + Send>(&self, key: &Key) -> Result<Option<(T, u64)>> {
        let Some(row) = self.load(key).await? else { return Ok(None) };
        let value = serde_json::from_slice(&row.value).map_err(|error| {
            Error::store(format!("the row {key} does not fit the type asked for ({:?} error)", error.classify())).retrying(Retry::Never)
        })?;
        Ok(Some((value, row.version)))
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

async fn hold<S: Store + ?Sized>(store: &S, mut batch: Batch, name: &str, owner: &str, ttl: Duration) -> Result<Option<LockToken>> {
    if ttl < Duration::from_micros(1) {
        return Err(Error::config(format!("the lock {name} needs a time limit of at least a microsecond")));
    }
    let key = lock_key(name);
    let expires = store.now().await?.checked_add(ttl).unwrap_or(Timestamp::MAX);
    let value = encode(&key, FORMAT, &Held { owner: owner.to_owned() })?;
    batch.put_until(key, value, expires);
    let Some(versions) = unless_conflict(store.commit(batch).await)? else { return Ok(None) };
    let fence = versions.first().copied().ok_or_else(|| Error::internal("the store answered no version for a put"))?;
    Ok(Some(LockToken { name: name.to_owned(), owner: owner.to_owned(), fence, expires }))
}

fn unless_conflict<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(None),
        Err(error) => Err(error),
    }
}

fn lock_key(name: &str) -> Key {
    Key::new(Family::Locks, &[name])
}
