//! What all clones of a connection share.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use crate::adapter::{Capabilities, QuotaWindow};
use crate::auth::TokenSource;
use crate::custom::definition::Definition;
use crate::custom::hooks::Hooks;
use crate::host::Host;
use crate::http::HttpTransport;

/// What all clones share.
pub(super) struct Shared {
    pub(super) definition: Definition,
    pub(super) variables: BTreeMap<String, String>,
    /// The user of Basic, its variables filled in.
    pub(super) user: Option<String>,
    pub(super) base: Url,
    pub(super) transport: Arc<dyn HttpTransport>,
    pub(super) tokens: Arc<dyn TokenSource>,
    pub(super) host: Host,
    pub(super) hooks: Arc<dyn Hooks>,
    pub(super) capabilities: Capabilities,
    pub(super) webhook_secret: Option<SecretString>,
    pub(super) usage: Mutex<Usage>,
}

/// What answers told of the allowance.
#[derive(Debug, Default)]
pub(super) struct Usage {
    window: Option<QuotaWindow>,
    /// The monotonic mark before which the API asked not to be called.
    paused: Option<Duration>,
}

/// Never a secret.
impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.definition.name).field("host", &self.base.host_str()).finish_non_exhaustive()
    }
}

impl Shared {
    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn observed(&self, window: QuotaWindow) {
        self.usage().window = Some(window);
    }

    pub(super) fn window(&self) -> Option<QuotaWindow> {
        self.usage().window.clone()
    }

    /// What is left at `now` of the pause the API asked for.
    pub(super) fn pause_left(&self, now: Duration) -> Option<Duration> {
        self.usage().paused.and_then(|mark| mark.checked_sub(now)).filter(|wait| !wait.is_zero())
    }

    pub(super) fn pause_until(&self, mark: Duration) {
        let mut usage = self.usage();
        usage.paused = usage.paused.max(Some(mark));
    }
}
