//! What the parts of a worker share.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::host::Host;
use crate::model::Entity;
use crate::observe::Observer;
use crate::pace::RetryPolicy;
use crate::queue::Queue;
use crate::sync::engine::Engine;
use crate::sync::worker::gate::Gate;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) host: Host,
    pub(super) engines: HashMap<(String, Entity), Engine>,
    pub(super) policy: RetryPolicy,
    pub(super) ttl: Duration,
    pub(super) deliveries: u32,
    pub(super) credential_pause: Duration,
    pub(super) name: String,
    pub(super) entries: usize,
    pub(super) poll: Duration,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) gate: Mutex<Gate>,
}

impl Inner {
    pub(super) fn gate(&self) -> MutexGuard<'_, Gate> {
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
