//! A valid token when one is asked for, renewed once however many callers wait.
//!
//! # How a renewal happens
//! 1. Callers of one process queue on a lock that needs no runtime. Whoever comes after a renewal takes its result: a token
//!    newer than the caller's counts as renewed.
//! 2. Processes exclude each other by [`TokenCache::try_lock`]; after taking it the cache is read again.
//! 3. The answer is saved **before** its access token is handed out, since a rotated refresh token exists only once. If saving
//!    fails, the answer is kept in memory and saved again at the next call; nothing is handed out until that works.
//! 4. On `invalid_grant` the cache is read once more: another process without a working lock may have rotated.
//!
//! # Lost answers
//! If a renewal was sent and no answer came, the same call never sends it again. A later call reads the cache first, under the
//! lock, and only if nobody saved a newer token presents the old one once more; if the CRM refuses it then, the answer was
//! lost for good and a person has to authorize again.
//!
//! # Cancellation
//! The running exchange belongs to the [`Renewable`], not to the caller's future. Dropping the caller (a timeout, a `select!`)
//! leaves the exchange where it was, and the next caller goes on with it; an answer is lost only if the `Renewable` itself is
//! dropped, or nobody asks again before the server gives up.

use std::fmt::{self, Debug};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::lock::Mutex;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};

use crate::auth::cache::{CachedToken, MemoryTokenCache, StoredToken, TokenCache};
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::host::Host;

/// How long a process may hold the lock of a renewal; longer than any transport waits for the answer.
const LOCK_TTL: Duration = Duration::from_secs(150);
/// How long a process waits for another one's renewal before it reports that the CRM cannot be used just now.
const LOCK_WAIT: Duration = Duration::from_secs(30);
const LOCK_POLL: Duration = Duration::from_millis(250);
/// A token this close to its end is renewed before it is used.
const EXPIRY_MARGIN: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// A token as it is sent. Clones share it.
#[derive(Clone)]
pub struct AccessToken(Arc<Held>);

struct Held {
    secret: SecretString,
    instance_url: Option<String>,
    generation: u64,
    /// The secret as it stood in the first header, with what came before it there.
    header: OnceLock<(&'static str, HeaderValue)>,
}

impl AccessToken {
    /// A token; `generation` grows with each renewal.
    pub fn new(secret: SecretString, instance_url: Option<String>, generation: u64) -> Self {
        Self(Arc::new(Held { secret, instance_url, generation, header: OnceLock::new() }))
    }

    /// What is sent.
    pub fn secret(&self) -> &SecretString {
        &self.0.secret
    }

    /// The secret in a header, behind `scheme`; made once.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if it holds characters that cannot stand there.
    pub(crate) fn header(&self, scheme: &'static str) -> Result<HeaderValue> {
        if let Some((_, value)) = self.0.header.get().filter(|(made_for, _)| *made_for == scheme) {
            return Ok(value.clone());
        }
        let mut value = HeaderValue::try_from(format!("{scheme}{}", self.0.secret.expose_secret()))
            .map_err(|_| Error::config("the access token holds characters that cannot stand in a header"))?;
        value.set_sensitive(true);
        // Another scheme may have been there first.
        let _kept = self.0.header.set((scheme, value.clone()));
        Ok(value)
    }

    /// Where the API answers, if the token names it.
    pub fn instance_url(&self) -> Option<&str> {
        self.0.instance_url.as_deref()
    }

    /// The count of renewals behind it.
    pub fn generation(&self) -> u64 {
        self.0.generation
    }

    fn of(cached: &CachedToken) -> Self {
        Self::new(SecretString::from(cached.token.access_token.clone()), cached.token.instance_url.clone(), cached.generation)
    }
}

/// Never the credential.
impl Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("instance_url", &self.0.instance_url)
            .field("generation", &self.0.generation)
            .finish_non_exhaustive()
    }
}

/// Hands out valid tokens. It is object-safe.
#[async_trait]
pub trait TokenSource: Debug + Send + Sync {
    /// A token that should work now.
    ///
    /// # Errors
    /// [`ErrorKind::Authentication`] with [`Retry::Never`] if a person has to act; otherwise why it could not be had just now.
    async fn token(&self) -> Result<AccessToken>;

    /// A token newer than `stale`, which the CRM has refused.
    ///
    /// # Errors
    /// As [`TokenSource::token`].
    async fn refresh(&self, stale: &AccessToken) -> Result<AccessToken>;
}

#[async_trait]
impl<T: TokenSource + ?Sized> TokenSource for Arc<T> {
    async fn token(&self) -> Result<AccessToken> {
        (**self).token().await
    }

    async fn refresh(&self, stale: &AccessToken) -> Result<AccessToken> {
        (**self).refresh(stale).await
    }
}

/// A token the host brings. It cannot be renewed here.
#[derive(Clone, Debug)]
pub struct StaticToken {
    token: AccessToken,
}

impl StaticToken {
    /// `secret` as it is, for `instance_url` if the CRM has instances.
    pub fn new(secret: SecretString, instance_url: Option<String>) -> Self {
        Self { token: AccessToken::new(secret, instance_url, 0) }
    }
}

#[async_trait]
impl TokenSource for StaticToken {
    async fn token(&self) -> Result<AccessToken> {
        Ok(self.token.clone())
    }

    async fn refresh(&self, _stale: &AccessToken) -> Result<AccessToken> {
        let message = "the access token was refused and there is no grant to renew it; configure a new token or a refresh token";
        Err(Error::new(ErrorKind::Authentication, message).retrying(Retry::Never))
    }
}

/// Buys a token. [`crate::auth::OAuthGrant`] is the ready one; a host may bring another (a vault, a token broker).
#[async_trait]
pub trait Exchange: Debug + Send + Sync {
    /// Presents `refresh_token` (the newest one known, if the grant has them) and returns what was answered. An answer without
    /// a refresh token means that the presented one stays valid.
    ///
    /// # Errors
    /// [`ErrorKind::Authentication`] with [`Retry::Never`] if the grant is dead; [`Error::may_have_applied`] if it was
    /// presented and no answer came.
    async fn exchange(&self, refresh_token: Option<&SecretString>) -> Result<StoredToken>;

    /// The refresh token to begin with, while the cache holds none.
    fn initial_refresh_token(&self) -> Option<SecretString> {
        None
    }
}

/// A [`TokenSource`] over an [`Exchange`] and a [`TokenCache`].
pub struct Renewable {
    shared: Arc<Shared>,
    state: Mutex<State>,
    /// Counts finished renewals, so that callers who waited for one that failed get its error instead of trying again.
    finished: AtomicU64,
}

struct Shared {
    exchange: Arc<dyn Exchange>,
    cache: Arc<dyn TokenCache>,
    key: String,
    owner: String,
    host: Host,
}

#[derive(Default)]
struct State {
    current: Option<CachedToken>,
    running: Option<BoxFuture<'static, Outcome>>,
    /// Answered by the CRM but not saved yet.
    unsaved: Option<Unsaved>,
    failure: Option<Error>,
    /// The last exchange was sent and its answer lost.
    lost: bool,
}

struct Unsaved {
    expected: Option<u64>,
    token: StoredToken,
}

struct Outcome {
    result: Result<CachedToken>,
    unsaved: Option<Unsaved>,
    lost: bool,
}

impl Renewable {
    /// Tokens of `key` in `cache`, renewed by `exchange`. The key must tell apart whatever has a chain of tokens of its own:
    /// CRM, login host, client id and the grant.
    pub fn new(exchange: Arc<dyn Exchange>, cache: Arc<dyn TokenCache>, key: impl Into<String>, host: Host) -> Self {
        let owner = host.new_id();
        Self {
            shared: Arc::new(Shared { exchange, cache, key: key.into(), owner, host }),
            state: Mutex::default(),
            finished: AtomicU64::new(0),
        }
    }

    /// As [`Renewable::new`], with a cache in memory.
    pub fn in_memory(exchange: Arc<dyn Exchange>, key: impl Into<String>, host: Host) -> Self {
        Self::new(exchange, Arc::new(MemoryTokenCache::new(host.clone())), key, host)
    }

    /// `stale`: the generation that is not good enough any more.
    async fn newer_than(&self, stale: Option<u64>) -> Result<AccessToken> {
        let arrived = self.finished.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if self.finished.load(Ordering::Acquire) != arrived
            && let Some(error) = &state.failure
        {
            return Err(copy(error));
        }
        if let Some(token) = self.usable(&state, stale) {
            return Ok(token);
        }
        let mut lost_before = state.lost;
        if state.running.is_none() && state.unsaved.is_none() {
            state.current = self.shared.cache.load(&self.shared.key).await?;
            if let Some(token) = self.usable(&state, stale) {
                state.lost = false;
                return Ok(token);
            }
        } else {
            lost_before = false;
        }
        let outcome = {
            let state = &mut *state;
            let running = state.running.get_or_insert_with(|| {
                let (shared, unsaved) = (Arc::clone(&self.shared), state.unsaved.take());
                let known = state.current.as_ref().map(|cached| cached.generation);
                // What counts as news to the cache is news to the caller as well.
                let stale = stale.or(known);
                Box::pin(async move { shared.renew(stale, unsaved).await })
            });
            running.await
        };
        state.running = None;
        state.unsaved = outcome.unsaved;
        state.lost = outcome.lost;
        self.finished.fetch_add(1, Ordering::AcqRel);
        match outcome.result {
            Ok(cached) => {
                state.failure = None;
                let token = AccessToken::of(&cached);
                state.current = Some(cached);
                Ok(token)
            }
            Err(error) => {
                let error = if lost_before && error.kind() == ErrorKind::Authentication {
                    let message =
                        "the answer to an earlier token renewal was lost and the CRM refuses the old refresh token; authorize again";
                    copy_with(&error, message)
                } else {
                    error
                };
                state.failure = Some(copy(&error));
                Err(error)
            }
        }
    }

    fn usable(&self, state: &State, stale: Option<u64>) -> Option<AccessToken> {
        let cached = state.current.as_ref()?;
        // A running renewal or an unsaved answer means that this token is already replaced.
        if stale.is_some_and(|stale| cached.generation <= stale) || state.unsaved.is_some() || expired(&cached.token, &self.shared.host) {
            return None;
        }
        Some(AccessToken::of(cached))
    }
}

fn expired(token: &StoredToken, host: &Host) -> bool {
    token.expires_at.is_some_and(|at| at.duration_since(host.now()) <= EXPIRY_MARGIN)
}

impl Shared {
    /// One renewal, from the lock to the saved token.
    async fn renew(&self, stale: Option<u64>, unsaved: Option<Unsaved>) -> Outcome {
        if let Some(unsaved) = unsaved {
            return self.save(unsaved.expected, unsaved.token).await;
        }
        let cached = match self.lock(stale).await {
            Ok(Locked::Ours(cached)) => cached,
            Ok(Locked::Renewed(cached)) => return Outcome { result: Ok(cached), unsaved: None, lost: false },
            Err(error) => return Outcome { result: Err(error), unsaved: None, lost: false },
        };
        let outcome = self.exchange(cached).await;
        // A lock that is not given back expires; the token matters more than the tidy end.
        let _expires_by_itself = self.cache.unlock(&self.key, &self.owner).await;
        outcome
    }

    async fn lock(&self, stale: Option<u64>) -> Result<Locked> {
        let deadline = self.host.monotonic().saturating_add(LOCK_WAIT);
        loop {
            let ours = self.cache.try_lock(&self.key, &self.owner, LOCK_TTL).await?;
            // Read after the lock: whoever held it may have renewed.
            let cached = match self.cache.load(&self.key).await {
                Ok(cached) => cached,
                Err(error) => {
                    if ours {
                        let _expires_by_itself = self.cache.unlock(&self.key, &self.owner).await;
                    }
                    return Err(error);
                }
            };
            let news = cached
                .as_ref()
                .is_some_and(|cached| stale.is_none_or(|stale| cached.generation > stale) && !expired(&cached.token, &self.host));
            match (cached, news) {
                (Some(cached), true) => {
                    if ours {
                        let _expires_by_itself = self.cache.unlock(&self.key, &self.owner).await;
                    }
                    return Ok(Locked::Renewed(cached));
                }
                (cached, _) if ours => return Ok(Locked::Ours(cached)),
                _ => {}
            }
            if self.host.monotonic() >= deadline {
                let message = "another process has been renewing the token for too long; try again later";
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            self.host.sleep(LOCK_POLL).await;
        }
    }

    async fn exchange(&self, cached: Option<CachedToken>) -> Outcome {
        let generation = cached.as_ref().map(|cached| cached.generation);
        let presented =
            cached.and_then(|cached| cached.token.refresh_token).map(SecretString::from).or_else(|| self.exchange.initial_refresh_token());
        match self.exchange.exchange(presented.as_ref()).await {
            Ok(mut token) => {
                if token.refresh_token.is_none() {
                    token.refresh_token = presented.map(|presented| presented.expose_secret().to_owned());
                }
                self.save(generation, token).await
            }
            Err(error) => {
                let lost = error.may_have_applied();
                // The caller's own request was not sent: it cannot have been applied.
                let error = error.not_applied();
                if error.kind() == ErrorKind::Authentication
                    && let Ok(Some(newer)) = self.cache.load(&self.key).await
                    && generation.is_none_or(|generation| newer.generation > generation)
                    && !expired(&newer.token, &self.host)
                {
                    return Outcome { result: Ok(newer), unsaved: None, lost: false };
                }
                Outcome { result: Err(error), unsaved: None, lost }
            }
        }
    }

    async fn save(&self, mut expected: Option<u64>, token: StoredToken) -> Outcome {
        // A conflict means that somebody saved without our lock; what the CRM answered last is what works.
        for _ in 0..4 {
            match self.cache.save(&self.key, expected, &token).await {
                Ok(generation) => return Outcome { result: Ok(CachedToken { generation, token }), unsaved: None, lost: false },
                Err(error) if error.kind() == ErrorKind::Conflict => match self.cache.load(&self.key).await {
                    Ok(Some(other)) if other.token.issued_at > token.issued_at && token.issued_at.is_some() => {
                        return Outcome { result: Ok(other), unsaved: None, lost: false };
                    }
                    Ok(other) => expected = other.map(|other| other.generation),
                    Err(error) => return Outcome { result: Err(error), unsaved: Some(Unsaved { expected, token }), lost: false },
                },
                Err(error) => return Outcome { result: Err(error), unsaved: Some(Unsaved { expected, token }), lost: false },
            }
        }
        let error = Error::store("the renewed token could not be saved: others keep saving the same key");
        Outcome { result: Err(error), unsaved: Some(Unsaved { expected, token }), lost: false }
    }
}

enum Locked {
    Ours(Option<CachedToken>),
    Renewed(CachedToken),
}

/// The same failure for another caller who waited for it.
fn copy(error: &Error) -> Error {
    copy_with(error, error.message())
}

fn copy_with(error: &Error, message: &str) -> Error {
    let mut copy = Error::new(error.kind(), message).retrying(error.retry());
    if let Some(status) = error.status() {
        copy = copy.with_status(status);
    }
    if let Some(code) = error.code() {
        copy = copy.with_code(code);
    }
    copy
}

/// Never a token.
impl Debug for Renewable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Renewable").field("exchange", &self.shared.exchange).field("cache", &self.shared.cache).finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenSource for Renewable {
    async fn token(&self) -> Result<AccessToken> {
        self.newer_than(None).await
    }

    async fn refresh(&self, stale: &AccessToken) -> Result<AccessToken> {
        self.newer_than(Some(stale.generation())).await
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
