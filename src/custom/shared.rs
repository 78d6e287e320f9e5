//! What all clones of a connection share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::adapter::{Capabilities, QuotaWindow};
use crate::auth::TokenSource;
use crate::custom::auth::AuthSpec;
use crate::custom::definition::Definition;
use crate::custom::hooks::Hooks;
use crate::custom::limits::{RateSpec, Spent};
use crate::error::{Error, ErrorKind, Retry};
use crate::host::Host;
use crate::http::HttpTransport;
use crate::model::EntitySchema;
use crate::rest::Call;

/// Descriptions that are kept at most.
const MOST_DESCRIBED: usize = 200;

/// What all clones share.
pub(super) struct Shared {
    pub(super) definition: Definition,
    pub(super) variables: BTreeMap<String, String>,
    /// The way to log in, chosen where there are several.
    pub(super) auth: AuthSpec,
    pub(super) base: Url,
    pub(super) transport: Arc<dyn HttpTransport>,
    /// At least one; several for a pool of keys.
    pub(super) keys: Vec<Key>,
    /// The key whose turn it is.
    pub(super) turn: AtomicUsize,
    pub(super) host: Host,
    pub(super) hooks: Arc<dyn Hooks>,
    pub(super) capabilities: Capabilities,
    pub(super) webhook_secret: Option<SecretString>,
    /// Descriptions, and the monotonic mark until which each is good.
    pub(super) described: Mutex<BTreeMap<String, (Duration, EntitySchema)>>,
}

/// A credential with an allowance of its own.
pub(super) struct Key {
    pub(super) tokens: Arc<dyn TokenSource>,
    usage: Mutex<Usage>,
}

/// What answers told of the allowance, and what was spent of the limits known beforehand.
#[derive(Debug)]
struct Usage {
    window: Option<QuotaWindow>,
    /// The monotonic mark before which the API asked not to be called.
    paused: Option<Duration>,
    /// The monotonic mark before which the key is not tried, because it was refused.
    refused: Option<Duration>,
    spent: Spent,
}

/// Never a secret.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.definition.name).field("host", &self.base.host_str()).finish_non_exhaustive()
    }
}

impl Key {
    pub(super) fn new(tokens: Arc<dyn TokenSource>, rate: &RateSpec) -> Self {
        Self { tokens, usage: Mutex::new(Usage { window: None, paused: None, refused: None, spent: Spent::new(rate) }) }
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn observed(&self, window: QuotaWindow) {
        self.usage().window = Some(window);
    }

    pub(super) fn pause_until(&self, mark: Duration) {
        let mut usage = self.usage();
        usage.paused = usage.paused.max(Some(mark));
    }

    pub(super) fn refuse_until(&self, mark: Duration) {
        self.usage().refused = Some(mark);
    }

    fn is_refused(&self, now: Duration) -> bool {
        self.usage().refused.is_some_and(|mark| mark > now)
    }
}

impl Shared {
    /// The allowance of all keys together, as far as it was told.
    pub(super) fn window(&self) -> Option<QuotaWindow> {
        let mut told = self.keys.iter().filter_map(|key| key.usage().window.clone());
        let mut all = told.next()?;
        for window in told {
            all.used = all.used.saturating_add(window.used);
            all.max = all.max.saturating_add(window.max);
        }
        Some(all)
    }

    /// The key that sends `call` at `now`, of those that are not in `tried`; it is counted.
    ///
    /// # Errors
    /// [`ErrorKind::RateLimited`] with the shortest wait, if none may.
    pub(super) fn take(&self, call: &Call, now: Duration, tried: &[usize]) -> Result<usize, Error> {
        let count = self.keys.len().max(1);
        let first = if count == 1 { 0 } else { self.turn.fetch_add(1, Ordering::Relaxed) };
        let mut soonest: Option<(Duration, &'static str)> = None;
        // Where every key was refused, each is tried again: somebody may have put it right.
        let none_is_good = self.keys.iter().all(|key| key.is_refused(now));
        for at in (0..count).map(|step| (first.wrapping_add(step)) % count).filter(|at| !tried.contains(at)) {
            let Some(key) = self.keys.get(at).filter(|key| none_is_good || !key.is_refused(now)) else { continue };
            let mut usage = key.usage();
            let paused = usage.paused.and_then(|mark| mark.checked_sub(now)).filter(|wait| !wait.is_zero());
            let (wait, why) = match paused {
                Some(wait) => (wait, "the API asked for a pause that is not over"),
                None => match usage.spent.take(&self.definition.rate, call, now) {
                    Ok(()) => return Ok(at),
                    Err(wait) => (wait, "a limit of the definition is reached"),
                },
            };
            if soonest.is_none_or(|(known, _)| wait < known) {
                soonest = Some((wait, why));
            }
        }
        let (wait, why) = soonest.unwrap_or((Duration::ZERO, "every key was tried"));
        Err(Error::new(ErrorKind::RateLimited, why).retrying(Retry::After(wait)))
    }

    /// The description of an entity that is still good at `now`.
    pub(super) fn kept(&self, entity: &str, now: Duration) -> Option<EntitySchema> {
        let described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        described.get(entity).filter(|(until, _)| *until > now).map(|(_, schema)| schema.clone())
    }

    /// Keeps a description until `until`.
    pub(super) fn keep(&self, entity: &str, until: Duration, schema: EntitySchema) {
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        if described.len() >= MOST_DESCRIBED && !described.contains_key(entity) {
            let oldest = described.iter().min_by_key(|(_, (until, _))| *until).map(|(name, _)| name.clone());
            described.remove(&oldest.unwrap_or_default());
        }
        described.insert(entity.to_owned(), (until, schema));
    }
}
